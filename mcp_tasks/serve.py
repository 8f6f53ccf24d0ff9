"""The front doors on this machine: serve a peer on our own standard streams, open a server that is a command.

One line each, over the transports; whoever wants something else uses `Peer.serve` and `Peer.connect` with a transport
of their own. Those of HTTP are in `mcp_tasks.http`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import trio

from .peer.connection import Connection
from .peer.peer import Peer
from .transports.stdio import open_process as open_stdio
from .transports.stdio import own_stdio

__all__ = ["open_stdio", "serve_stdio"]


OVER_STDIO: Final = "stdio"


async def serve_stdio(
    peer: Peer,
    *,
    principal: str | None = None,
    task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a server on standard input and output, until the client closes its end.

    Nothing else reaches standard output meanwhile: what is printed goes to standard error. Cancelled, it answers no
    more, cancels what runs, and gives the streams back as they were.

    `principal` names the client as the owner of its tasks. Without one they end with the connection; if the store is
    durable, the name is "stdio" then: whoever starts the server with the same store finds them again.
    """
    durable = peer.tasks.store.durable
    if principal is None and durable:
        principal = OVER_STDIO
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(own_stdio(limits=peer.limits))
        if durable and peer.home is None:
            await stack.enter_async_context(peer)
        await peer.serve(transport, principal=principal, task_status=task_status)
