"""What a bridge wants to be told of by its server: all changes of lists, and the resources that its clients watch.

In a session list changes come by themselves, without one they are listened for. Which resources are watched is looked
up where it stands already: in the connections and subscriptions of the bridge's peer, whose sets ring when they change.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import trio

from .._unset import UNSET
from ..dialects.base import Topics
from ..errors import LimitReached, MCPError
from ..peer._wait import Bell
from ..peer.connection import Connection
from ..peer.contexts import Context
from ..peer.conversation import Listening
from ..peer.peer import Peer
from ..wire.capabilities import ServerCapabilities
from ..wire.server_features import SubscribeParams
from ..wire.utilities import EmptyResult

__all__ = ["Interest"]

logger = logging.getLogger("mcp_tasks.bridge")

T = TypeVar("T")


class _Noticed(set[T]):
    """A set that rings when it is added to or taken from."""

    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self._bell = bell

    def add(self, element: T) -> None:
        super().add(element)
        self._bell.ring()

    def discard(self, element: object) -> None:
        super().discard(element)
        self._bell.ring()


class Interest:
    """What the clients of `peer` want to be told of, and the server tells us.

    `list_has_changed` is called with ``tools``, ``prompts`` or ``resources``.
    """

    def __init__(
        self,
        peer: Peer,
        server: Connection,
        nursery: trio.Nursery,
        list_has_changed: Callable[[str], Awaitable[None]],
    ) -> None:
        self._peer = peer
        self._server = server
        self._nursery = nursery
        self._list_has_changed = list_has_changed
        self._held: set[str] = set()  # what we are subscribed to
        self._holding = trio.Lock()
        self._bell = Bell()
        self._was_lost = False
        peer.connections = _Noticed(self._bell)
        peer.subscriptions = _Noticed(self._bell)

    # --- lists ----------------------------------------------------------------------------------------------------

    async def listen(self, stack: AsyncExitStack) -> None:
        """Be told of changes of lists until the stack is closed. A server that does not tell is put up with."""
        theirs = self._server.their_capabilities
        if not self._server.dialect.stateless or not isinstance(theirs, ServerCapabilities):
            return
        topics = Topics(
            tools=theirs.tools is not UNSET and theirs.tools.list_changed is True,
            prompts=theirs.prompts is not UNSET and theirs.prompts.list_changed is True,
            resources=theirs.resources is not UNSET and theirs.resources.list_changed is True,
        )
        if topics:
            listening = Listening(self._server, topics, keeps=0)
            try:
                await stack.enter_async_context(listening)
            except MCPError as failure:
                logger.warning("%r does not tell of changes: %s", self._server, failure)
            else:
                listening.on_change = partial(self._heard, listening)

    def _heard(self, listening: Listening) -> None:
        if listening.working and self._was_lost:
            for kind in ("tools", "prompts", "resources"):
                if getattr(listening.topics, kind):  # it may have changed while nobody told us
                    self._nursery.start_soon(self._list_has_changed, kind)
        self._was_lost = not listening.working

    # --- resources ------------------------------------------------------------------------------------------------

    async def updated(self, uri: str) -> None:
        """Hand on that a resource has changed; it may be a part of one that somebody watches."""
        for whole in self._watched():
            if uri == whole or (uri.startswith(whole) and (whole.endswith("/") or uri[len(whole)] in "/?#")):
                await self._peer.resource_updated(whole)

    def _watched(self) -> set[str]:
        in_sessions = [connection.subscriptions for connection in self._peer.connections]
        return set().union(*in_sessions, *(subscription.topics.uris for subscription in self._peer.subscriptions))

    async def subscribe(self, ctx: Context, params: SubscribeParams) -> EmptyResult:
        """Serve ``resources/subscribe``. Raises what the server says of it."""
        mine, limit = ctx.connection.subscriptions, self._peer.limits.subscriptions
        if params.uri not in mine and len(mine) >= limit:
            raise LimitReached(f"Too many subscriptions, the limit is {limit}", "subscriptions", limit)
        async with self._holding:
            await self._hold(params.uri)
            mine.add(params.uri)
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: SubscribeParams) -> EmptyResult:
        """Serve ``resources/unsubscribe``."""
        ctx.connection.subscriptions.discard(params.uri)
        self._bell.ring()
        return EmptyResult()

    async def _hold(self, uri: str) -> None:
        if uri not in self._held:
            await self._server.subscribe(uri)
            self._held.add(uri)

    async def keep(self) -> None:
        """Be subscribed to what is watched, and to nothing else; runs until it is cancelled."""
        while True:
            await self._bell.wait()
            if "resources/subscribe" not in self._peer.table.requests:
                continue
            async with self._holding:
                watched = self._watched()
                for uri in sorted(watched - self._held):
                    try:
                        await self._hold(uri)
                    except MCPError as failure:
                        logger.warning("%r: no subscription to %s: %s", self._server, uri, failure)
                for uri in sorted(self._held - watched):
                    self._held.discard(uri)
                    try:
                        await self._server.unsubscribe(uri)
                    except MCPError as failure:
                        logger.debug("%r: still subscribed to %s: %s", self._server, uri, failure)
