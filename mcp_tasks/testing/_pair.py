"""Two peers, joined in memory and through with the handshake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from ..dialects.select import LATEST_HANDSHAKE
from ..peer._wait import servants
from ..peer.connection import Connection
from ..peer.peer import Peer
from ..transports.lines import LineTransport
from ..transports.memory import PIPE_BYTES, MemoryPipe, MemoryReader

__all__ = ["Pair", "peer_pair"]


@frozen
class Pair:
    """Both ends of one connection: each is how that side talks to the other."""

    client: Connection
    server: Connection


@asynccontextmanager
async def peer_pair(
    client: Peer | None = None,
    server: Peer | None = None,
    *,
    revision: str = LATEST_HANDSHAKE.revision,
    client_principal: str | None = None,
    server_principal: str | None = None,
    tap: Callable[[bytes], list[bytes]] | None = None,
    pipe_bytes: int = PIPE_BYTES,
) -> AsyncIterator[Pair]:
    """Join two peers over real frames in memory; both ends are open and have shaken hands.

    A peer that is left out is an empty one. `tap` sees all bytes of both directions and says in which pieces they
    travel; `client_principal` is whom the server takes the client to be, and the reverse. Both ends are closed when the
    block ends; its exception leaves as it is.
    """
    client = Peer("test-client", "0") if client is None else client
    server = Peer("test-server", "0") if server is None else server
    there, back = MemoryPipe(size=pipe_bytes, tap=tap), MemoryPipe(size=pipe_bytes, tap=tap)
    ours = LineTransport(there, MemoryReader(back), limits=client.limits)
    theirs = LineTransport(back, MemoryReader(there), limits=server.limits)
    async with servants() as nursery:
        started: Connection = await nursery.start(_serve, server, theirs, client_principal)
        async with client.connect(ours, revision=revision, principal=server_principal) as connection:
            if not connection.dialect.stateless:
                await started.wait_ready()
            yield Pair(connection, started)
        await started.wait_closed()


async def _serve(
    peer: Peer, transport: object, principal: str | None, *, task_status: trio.TaskStatus[Connection]
) -> None:
    await peer.serve(transport, principal=principal, task_status=task_status)  # type: ignore[arg-type]
