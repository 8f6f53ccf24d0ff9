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
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from ..errors import StoreFailed, StoreUnusable
from ..peer._wait import servants
from ..peer.peer import Peer
from ..serve import serve_stdio
from ..tasks.store import TaskStore
from .exits import Exit, Trouble

if TYPE_CHECKING:
    from ..http import HttpServer

__all__ = ["load_peer", "opened_store", "parse_address", "read_key", "serve", "serve_until_signal"]

_KEY_BYTES: Final = 32


def serve(
    target: str,
    *,
    http: str | None = None,
    store: str | None = None,
    store_key: str | None = None,
    debug: bool = False,
) -> int:
    """Serve the peer that ``module:attribute`` names; returns the exit code.

    On stdin and stdout, or over HTTP where `http` says (``HOST:PORT``; port 0 picks one), which is then told on stderr.
    Ends well when the client closes its end. SIGINT and SIGTERM end it too, with every task's cleanup done. Tasks are
    kept in the file `store`, if there is one, encrypted with the key in the file `store_key`.
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, stream=sys.stderr)
    try:
        peer = load_peer(target)
        address = None if http is None else parse_address(http)
        with opened_store(store, store_key) as kept:
            if kept is not None:
                peer.use_store(kept)
            return trio.run(serve_until_signal, peer, address)
    except (Trouble, OSError, StoreUnusable, StoreFailed) as error:
        if debug:
            raise
        print(f"mcp-tasks serve: {error}", file=sys.stderr)
        return error.exit if isinstance(error, Trouble) else Exit.SERVER


@contextmanager
def opened_store(where: str | None, key_file: str | None) -> Iterator[TaskStore | None]:
    """The store that `where` names: a file's path; None if nothing does. Raises `Trouble`, `StoreUnusable`."""
    if where is None:
        if key_file is not None:
            raise Trouble("--store-key is for a --store", Exit.USAGE)
        yield None
        return
    from ..tasks.sqlite import SQLiteTaskStore

    with SQLiteTaskStore(where, key=None if key_file is None else read_key(key_file)) as store:
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


async def serve_until_signal(peer: Peer, address: tuple[str, int] | None) -> int:
    """Serve a peer on the standard streams, or over HTTP at an address; returns the exit code."""
    code = int(Exit.OK)

    async def stop_on_signal() -> None:
        nonlocal code
        async for number in signals:
            code = 128 + number
            if server is not None and not stopping.is_set():
                stopping.set()
                nursery.start_soon(server.aclose)  # a second signal does not wait for it
            else:
                serving.cancel()

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
