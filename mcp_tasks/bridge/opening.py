"""Opening a bridge: the client that it is to its server, and the peer that it is to everybody else.

``async with bridge(transport) as peer`` is a client of one server, and gives a `Peer` that is that server over again,
to be served to anybody: with its tools, resources, prompts and completion, its tasks and its questions. A peer of ours
speaks both eras to its clients, so what the server cannot speak is spoken for it.

The bridge is one client to its server, whoever its own clients are: they share what that one may see and do.

Not translated: extensions other than tasks, experimental features, a task's provisional result for the model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from .._unset import JSONObject
from .._version import __version__
from ..abc import Transport
from ..errors import LocalProtocolError, MethodNotFound
from ..limits import Limits
from ..peer._wait import servants
from ..peer.connection import Connection
from ..peer.contexts import Context
from ..peer.peer import Peer
from ..wire.client_features import ElicitationCompleteParams
from ..wire.server_features import ResourceUpdatedParams
from ..wire.utilities import LogParams
from .bridged import Bridged

__all__ = ["Upstream", "bridge"]


class Upstream(Peer):
    """The client end of a bridge. It announces all that a client can be asked, and asks the bridge's clients."""

    def __init__(self, name: str = "mcp-tasks-bridge", version: str = __version__, **options: Any) -> None:
        # Nothing is kept here: the clients keep what they were told they may.
        super().__init__(name, version, **{"limits": Limits(cached_results=0), **options})
        self.bridged: Bridged | None = None
        """Whose clients are asked and told; set by `bridge`."""
        self.handle("sampling/createMessage", task="optional")(self._asked)
        self.handle("elicitation/create", task="optional")(self._asked)
        self.handle("roots/list")(self._asked)
        self.table.sampling_tools = self.table.sampling_context = self.table.elicit_url = True
        for kind in ("tools", "prompts", "resources"):
            self.on(f"notifications/{kind}/list_changed")(partial(self._list_has_changed, kind))
        self.on("notifications/resources/updated")(self._updated)
        self.on("notifications/message")(self._logged)
        self.on("notifications/elicitation/complete")(self._completed)

    async def _asked(self, ctx: Context, params: JSONObject) -> Any:
        if self.bridged is None:
            raise MethodNotFound(f"{ctx.method}: there is nobody to ask")
        return await self.bridged.ask(ctx, params)

    async def _list_has_changed(self, kind: str, connection: Connection, params: Any) -> None:
        if self.bridged is not None:
            await self.bridged.list_has_changed(kind)

    async def _updated(self, connection: Connection, params: ResourceUpdatedParams) -> None:
        if self.bridged is not None:
            await self.bridged.interest.updated(params.uri)

    async def _logged(self, connection: Connection, params: LogParams) -> None:
        if self.bridged is not None:
            await self.bridged.logged(params)

    async def _completed(self, connection: Connection, params: ElicitationCompleteParams) -> None:
        if self.bridged is not None:
            self.bridged.completed(params.elicitation_id)


@asynccontextmanager
async def bridge(source: Transport | Connection, *, limits: Limits | None = None) -> AsyncIterator[Peer]:
    """Be a client of a server, and give a peer that is the same server to clients of both eras.

    `source` leads to the server: a transport, or a connection of an `Upstream`. The peer is served as any other, by
    `serve_stdio`, `serve_http` or `Peer.serve`, within the block, and `limits` are its own. Calls that are still under
    way when the block ends are withdrawn. Raises what `Peer.connect` does. An exception of the block leaves as it is.
    """
    async with AsyncExitStack() as stack:
        if isinstance(source, Connection):
            connection = source
        else:
            connection = await stack.enter_async_context(Upstream().connect(source))
        upstream = connection.peer
        if not isinstance(upstream, Upstream) or upstream.bridged is not None:
            raise LocalProtocolError("a bridge needs a connection of an Upstream that has no other bridge")
        nursery = await stack.enter_async_context(servants())
        peer = upstream.bridged = Bridged(connection, nursery, limits)
        try:
            await peer.interest.listen(stack)
            await peer.learn_tools()
            nursery.start_soon(peer.interest.keep)
            yield peer
        finally:
            upstream.bridged = None
