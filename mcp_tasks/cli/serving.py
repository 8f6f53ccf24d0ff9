"""`mcp-tasks serve`: find a peer in a module, and be a server with it, on the standard streams or over HTTP.

Hosts start this for every conversation, so it imports neither cyclopts nor rich.
"""

from __future__ import annotations

import base64
import importlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from ..peer._wait import servants
from ..peer.peer import Peer
from ..serve import serve_stdio
from ..tasks.store import SharedTaskStore, TaskStore
from .exits import Exit, Trouble, reported

if TYPE_CHECKING:
    from ..http import HttpServer

__all__ = [
    "DRAIN_SECONDS",
    "load_peer",
    "opened_store",
    "parse_address",
    "read_key",
    "serve",
    "serve_until_signal",
    "work",
]

_KEY_BYTES: Final = 32
DRAIN_SECONDS: Final = 10.0
"""How long SIGTERM waits for tasks that cannot be left to another process."""


def serve(
    target: str,
    *,
    http: str | None = None,
    store: str | None = None,
    store_key: str | None = None,
    front: bool = False,
    drain: float = DRAIN_SECONDS,
    debug: bool = False,
) -> int:
    """Serve the peer that ``module:attribute`` names; returns the exit code.

    On stdin and stdout, or over HTTP where `http` says (``HOST:PORT``; port 0 picks one), which is then told on stderr.
    Ends well when the client closes its end. SIGINT and SIGTERM end it too, with every task's cleanup done; SIGTERM
    waits up to `drain` seconds for tasks that no other process can go on with. Tasks are kept in `store`, if there is
    one: a file, or the URL of a Valkey or Redis server; encrypted with the key in the file `store_key`. One that is
    only `front` has workers do them.
    """

    async def main(peer: Peer) -> int:
        address = None if http is None else parse_address(http)
        async with opened_store(store, store_key) as kept:
            if front and not isinstance(kept, SharedTaskStore):
                raise Trouble("--front is for a --store that workers share", Exit.USAGE)
            if kept is not None:
                peer.use_store(kept, works=not front)
            return await serve_until_signal(peer, address, drain=drain)

    return _run("serve", target, main, debug=debug)


def work(
    target: str,
    *,
    store: str,
    store_key: str | None = None,
    at_once: int | None = None,
    drain: float = DRAIN_SECONDS,
    debug: bool = False,
) -> int:
    """Do the work of tasks that servers with the same `store` have made, until a signal; returns the exit code.

    SIGTERM leaves to others what they can go on with, and waits up to `drain` seconds for the rest; another signal ends
    it at once.
    """

    async def main(peer: Peer) -> int:
        code = int(Exit.OK)

        async def stop_on_signal() -> None:
            nonlocal code
            async for number in signals:
                code = 128 + number
                if number == signal.SIGTERM and not peer.tasks.draining:
                    nursery.start_soon(drain_and_stop)
                else:
                    working.cancel()

        async def drain_and_stop() -> None:
            await peer.drain(drain)
            working.cancel()

        async with opened_store(store, store_key) as kept:
            if not isinstance(kept, SharedTaskStore):
                raise Trouble("a worker needs a --store that others share: redis://... or valkey://...", Exit.USAGE)
            peer.use_store(kept)
            if at_once is not None:
                peer.limits = evolve(peer.limits, tasks_at_once=at_once)
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as working:
                async with servants() as nursery, peer:
                    nursery.start_soon(stop_on_signal)
                    print(f"mcp-tasks: {peer.info.name} works", file=sys.stderr, flush=True)
                    await trio.sleep_forever()
        return code

    return _run("worker", target, main, debug=debug)


def _run(command: str, target: str, main: Callable[[Peer], Awaitable[int]], *, debug: bool) -> int:
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, stream=sys.stderr)
    return reported(command, lambda: trio.run(main, load_peer(target)), debug=debug)


@asynccontextmanager
async def opened_store(where: str | None, key_file: str | None) -> AsyncIterator[TaskStore | None]:
    """The store that `where` names: a file, or a server's URL. Raises `Trouble`, `StoreUnusable`."""
    if where is None:
        if key_file is not None:
            raise Trouble("--store-key is for a --store", Exit.USAGE)
        yield None
        return
    key = None if key_file is None else read_key(key_file)
    if "://" in where:
        try:
            from ..tasks.valkey import open_valkey
        except ModuleNotFoundError as missing:
            raise Trouble(f"{missing.name} is not installed: pip install 'mcp-tasks[valkey]'", Exit.USAGE) from None
        async with open_valkey(where, key=key) as shared:
            yield shared
        return
    from ..tasks.sqlite import SQLiteTaskStore

    with SQLiteTaskStore(where, key=key) as store:
        yield store


def read_key(file: str) -> bytes:
    """The key in a file: 32 bytes as they are, or in base64. Raises `Trouble`."""
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise Trouble(f"{file}: {error.strerror}", Exit.USAGE) from None
    if len(data) == _KEY_BYTES:
        return data
    try:
        key = base64.b64decode(data.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Trouble(f"{file} is no key: {_KEY_BYTES} random bytes, as they are or in base64", Exit.USAGE)
    return key


async def serve_until_signal(peer: Peer, address: tuple[str, int] | None, *, drain: float = DRAIN_SECONDS) -> int:
    """Serve a peer on the standard streams, or over HTTP at an address; returns the exit code."""
    code = int(Exit.OK)

    async def stop_on_signal() -> None:
        nonlocal code
        async for number in signals:
            code = 128 + number
            if server is not None and not stopping.is_set():
                stopping.set()
                nursery.start_soon(stop, server, number)  # a second signal does not wait for it
            else:
                serving.cancel()

    async def stop(server: HttpServer, number: int) -> None:
        if number == signal.SIGTERM:
            await peer.drain(drain)
        await server.aclose()

    server: HttpServer | None = None
    stopping = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as serving:
        async with servants() as nursery:
            nursery.start_soon(stop_on_signal)
            async with peer:
                if address is None:
                    await serve_stdio(peer)
                else:
                    from ..http import serve_http  # not before it is needed: it takes its time

                    host, port = address
                    server = await nursery.start(partial(serve_http, peer, host=host, port=port))
                    print(f"mcp-tasks: {peer.info.name} is served at {server.url}", file=sys.stderr, flush=True)
                    await server.wait_closed()
    return code


def parse_address(given: str) -> tuple[str, int]:
    """The parts of ``HOST:PORT``. Raises `Trouble`."""
    host, colon, port = given.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 65536):
        raise Trouble(f"{given!r} is not of the form HOST:PORT", Exit.USAGE)
    return host.strip("[]") or "127.0.0.1", int(port)


def load_peer(target: str) -> Peer:
    """The peer that ``module:attribute`` names; modules of the current directory count. Raises `Trouble`."""
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise Trouble(f"{target!r} is not of the form module:attribute", Exit.USAGE)
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        value = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        because = "" if (module_name + ".").startswith(missing + ".") else f", which {module_name!r} imports"
        raise Trouble(f"there is no module {missing!r}{because}", Exit.USAGE) from error
    except Exception as error:
        raise Trouble(f"cannot import {module_name!r}: {type(error).__name__}: {error}", Exit.USAGE) from error
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise Trouble(f"{module_name!r} has no attribute {path!r}", Exit.USAGE) from None
    if not isinstance(value, Peer):
        raise Trouble(f"{target} is no Peer but of type {type(value).__name__}", Exit.USAGE)
    return value
