"""`mcp-tasks serve`: find a peer in a module, and be a server with it, on the standard streams or over HTTP.

Hosts start this for every conversation, so it imports neither cyclopts nor rich.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..peer._wait import servants
from ..peer.peer import Peer
from ..serve import serve_stdio
from .exits import Exit, Trouble

if TYPE_CHECKING:
    from ..http import HttpServer

__all__ = ["load_peer", "parse_address", "serve", "serve_until_signal"]


def serve(target: str, *, http: str | None = None, debug: bool = False) -> int:
    """Serve the peer that ``module:attribute`` names; returns the exit code.

    On stdin and stdout, or over HTTP where `http` says (``HOST:PORT``; port 0 picks one), which is then told on stderr.
    Ends well when the client closes its end. SIGINT and SIGTERM end it too, with every task's cleanup done.
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, stream=sys.stderr)
    try:
        peer = load_peer(target)
        return trio.run(serve_until_signal, peer, None if http is None else parse_address(http))
    except (Trouble, OSError) as error:
        if debug:
            raise
        print(f"mcp-tasks serve: {error}", file=sys.stderr)
        return error.exit if isinstance(error, Trouble) else Exit.SERVER


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
