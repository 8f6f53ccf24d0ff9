"""The front doors on this machine: serve a peer on our own standard streams, open a server that is a command.

One line each, over the transports; whoever wants something else uses `Peer.serve` and `Peer.connect` with a transport
of their own. Those of HTTP are in `mcp_tasks.http`.
"""

from __future__ import annotations

import trio

from .peer.connection import Connection
from .peer.peer import Peer
from .transports.stdio import open_process as open_stdio
from .transports.stdio import own_stdio

__all__ = ["open_stdio", "serve_stdio"]


async def serve_stdio(peer: Peer, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED) -> None:
    """Be a server on standard input and output, until the client closes its end.

    Nothing else reaches standard output meanwhile: what is printed goes to standard error. Cancelled, it answers no
    more, cancels what runs, and gives the streams back as they were.
    """
    async with own_stdio(limits=peer.limits) as transport:
        await peer.serve(transport, task_status=task_status)
