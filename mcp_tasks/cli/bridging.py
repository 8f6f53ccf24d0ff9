"""`mcp-tasks bridge`: be a client of one server, and that server over again to clients of either era.

On standard streams stdout belongs to the protocol, so all that is said to people goes to stderr, the server's own
words included.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import trio

from ..bridge import Upstream, bridge
from ..peer._wait import servants
from .display import PlainDisplay
from .exits import Exit, Trouble, reported
from .servers import ServerCommand, ServerUrl, connected, find_server
from .serving import parse_address, serve_until_signal

__all__ = ["serve_bridge"]


def serve_bridge(
    server: str,
    *,
    http: str | None = None,
    config: Path | None = None,
    revision: str | None = None,
    debug: bool = False,
) -> int:
    """Serve a server over again, on the standard streams or at `http`; returns the exit code.

    Ends well when the client closes its end, and badly when the server does.
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, stream=sys.stderr)

    def run() -> int:
        address = None if http is None else parse_address(http)
        return trio.run(_serve, find_server(server, config), address, revision)

    return reported("bridge", run, debug=debug)


async def _serve(server: ServerCommand | ServerUrl, address: tuple[str, int] | None, revision: str | None) -> int:
    display = PlainDisplay(sys.stderr)
    code = int(Exit.OK)

    async def stop_on_signal() -> None:
        # While the server is being started or ended; in between, signals are for whoever serves.
        nonlocal code
        async for number in signals:
            code = 128 + number
            serving.cancel()

    async def stop_with_it() -> None:
        await connection.wait_closed()
        raise Trouble(f"{server.name} has ended", Exit.SERVER)

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as serving:
        async with servants() as nursery:
            nursery.start_soon(stop_on_signal)
            async with (
                connected(Upstream(), server, display, revision=revision) as connection,
                bridge(connection) as peer,
                servants() as watching,
            ):
                watching.start_soon(stop_with_it)
                return await serve_until_signal(peer, address)
    return code
