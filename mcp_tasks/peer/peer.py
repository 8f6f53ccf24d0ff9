"""A peer: our party, with what it offers and the tasks it runs.

A `Peer` outlives its connections and has no side: the same one may serve over stdio and HTTP, and connect to others as
a client. Filling its tables is declaring; `connect` and `serve` put it to work.

Where tasks live: a requestor that cannot come back (whoever is at the other end of a pipe) has its tasks run in its
connection, and they end with it. A requestor with a name of its own (a `principal`) has them run in the peer, for as
long as the block ``async with peer:`` is open, whatever becomes of connections; without that block they too end with
the connection.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property, partial
from types import TracebackType
from typing import TypeVar

import trio

from .._unset import UNSET, JSONObject, Principal, TaskId
from .._workers import Workers
from ..abc import Transport
from ..clock import Clock
from ..cursor import CursorSeal
from ..dialects.base import Side
from ..errors import LocalProtocolError
from ..limits import Limits
from ..seal import StateSeal
from ..tasks.recovery import drain, recover
from ..tasks.registry import TaskRegistry, mint_task_id
from ..tasks.store import TaskStore
from ..wire.capabilities import Implementation
from ..wire.content import Icon
from ._wait import servants
from .calls import Calling
from .connection import Connection
from .couriers import pass_on
from .links import Link
from .offering import Offering
from .opening import open_connection
from .work import revive

__all__ = ["Peer"]

logger = logging.getLogger("mcp_tasks.peer")

Background = TypeVar("Background", bound=Callable[[], Awaitable[None]])


class Peer(Offering):
    """One party of the protocol.

    `instructions` is what a server tells the model about itself. `limits`, `store`, `clock`, `mint_id` and
    `cursor_secret` are how it is run; see `Limits` and `TaskStore`.

    `state_keys` seal what a client of 2026-07-28 brings back with its answers: 32 random bytes each, the first seals
    and all of them open, so that they can be changed while clients are on their way, and several processes can serve
    the same clients. Without any, this process makes its own.
    """

    def __init__(
        self,
        name: str,
        version: str,
        *,
        title: str | None = None,
        description: str | None = None,
        website_url: str | None = None,
        icons: list[Icon] | None = None,
        instructions: str | None = None,
        limits: Limits | None = None,
        store: TaskStore | None = None,
        clock: Clock | None = None,
        mint_id: Callable[[], TaskId] = mint_task_id,
        cursor_secret: bytes | None = None,
        state_keys: Sequence[bytes] = (),
    ) -> None:
        self.info = Implementation(
            name=name,
            version=version,
            title=UNSET if title is None else title,
            description=UNSET if description is None else description,
            website_url=UNSET if website_url is None else website_url,
            icons=UNSET if icons is None else icons,
        )
        """Who we say we are."""
        self.instructions = instructions
        self.limits = Limits() if limits is None else limits
        self._cursors = CursorSeal(cursor_secret)
        super().__init__(self._cursors, self.limits.page_size)
        clock = Clock() if clock is None else clock
        self._own_cursors = cursor_secret is not None
        self.tasks = TaskRegistry(clock=clock, limits=self.limits, mint_id=mint_id, seal=self._cursors)
        """The tasks that others have given us."""
        self.links: dict[TaskId, Link] = {}
        """The ways to the requestors of tasks that were made, or are worked at, here."""
        self.awaited: dict[TaskId, Link] = {}
        """Those of other tasks, while somebody here waits for their result."""
        self.verdicts: dict[str, str] = {}
        """Which revision a server speaks, by its origin."""
        self.signature: JSONObject | None = None
        """Who we are, as results say it; made when it is first needed."""
        self.calling: Calling | None = None
        """Put around every request of ours, by its method and parameters; gives the trace that goes along with it."""
        self._clock = clock
        self._state_keys = tuple(state_keys)
        self.home: Workers | None = None
        """Where tasks live that outlast connections; set within ``async with peer:``."""
        self.works = True
        """Whether tasks are run here, where others share the store."""
        self._background: list[Callable[[], Awaitable[None]]] = []
        self._stack: AsyncExitStack | None = None
        if store is not None:
            self.use_store(store)

    def __repr__(self) -> str:
        return f"<Peer {self.info.name} {self.info.version}>"

    @cached_property
    def seal(self) -> StateSeal:
        """What seals the state that clients bring back."""
        keys, secret = self._state_keys, self.tasks.store.secret
        if not keys and secret is not None:
            keys = (_derived(secret, "states"),)
        return StateSeal(keys, ttl=self.limits.state_seconds, clock=self._clock)

    def use_store(self, store: TaskStore, *, works: bool = True) -> None:
        """Keep tasks in `store` from now on. Raises `LocalProtocolError` once the peer is at work.

        With a durable one, tasks outlive this process, and so do cursors and what clients bring back, unless there are
        keys of our own for them. Such a peer works within ``async with peer:`` only. Where others share the store, one
        that does not itself do the `works` of tasks leaves them to others.
        """
        if self.home is not None or self.connections:
            raise LocalProtocolError("the peer is at work: it keeps its store")
        self.works = works
        self.tasks.store = store
        if store.secret is not None and not self._own_cursors:
            self._cursors.rekey(_derived(store.secret, "cursors"))
        self.__dict__.pop("seal", None)

    def background(self, function: Background) -> Background:
        """Run a function for as long as the peer is open, beside whatever else it does; it is cancelled at its end.

        It has begun when ``async with peer:`` has. What it raises ends the block.
        """
        self._background.append(function)
        return function

    # --- at work --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Peer:
        """Open the place where tasks live that outlast connections.

        What an earlier process has left unfinished in a durable store is run again, or has failed, once this returns.
        """
        if self.home is not None:
            raise LocalProtocolError("the peer is open already")
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(servants())
            home = Workers(nursery, shared=False)
            self.tasks.draining = False
            if self.tasks.store.durable and not self.tasks.shared:
                try:
                    await recover(self.tasks, partial(revive, self), home)
                except BaseException:
                    self.links.clear()  # of tasks that were to be run again
                    raise
            nursery.start_soon(self.tasks.keep_time)
            if self.tasks.shared:
                self._join(nursery, home)
            for function in self._background:
                nursery.start_soon(function)
            self.home = home
            self._stack = stack.pop_all()
        return self

    def _join(self, nursery: trio.Nursery, home: Workers) -> None:
        others, again = self.tasks.others, partial(revive, self)
        nursery.start_soon(others.follow, partial(pass_on, self))
        nursery.start_soon(others.beat)
        nursery.start_soon(partial(others.rescue, again, home, works=self.works))
        if self.works:
            name = f"{self.info.name} {secrets.token_hex(8)}"
            nursery.start_soon(partial(others.work, name, again, home, at_once=self.limits.tasks_at_once))

    async def drain(self, seconds: float) -> None:
        """Before an end that can wait: leave tasks to others, and wait for those that cannot be left to be over.

        Those that are run again, and new ones, are left to whoever shares the store, or to the next process. For the
        others this waits, `seconds` at most; connections are served all the while. Leaving the block then cancels what
        is still under way.
        """
        with trio.move_on_after(seconds):
            await drain(self.tasks)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Cancel what still runs there; each task is settled as stopped, or left for the next process to run again."""
        assert self._stack is not None
        self.home = None
        try:
            return await self._stack.__aexit__(kind, error, trace)
        finally:
            if self.tasks.shared:
                self.tasks.others.forget()
                self.links.clear()

    @asynccontextmanager
    async def connect(
        self,
        transport: Transport,
        *,
        revision: str | None = None,
        principal: str | None = None,
    ) -> AsyncIterator[Connection]:
        """Be the client on a transport, which is ours from now on and closed at the end.

        Without a `revision` the server is asked what it speaks, and an older one is shaken hands with; which of the two
        it was is remembered per origin. With one, that is what is asked for, whatever the server is; in a handshake it
        may answer with an older one. `principal` names the server as the owner of tasks it gives us; without it, its
        tasks end with the connection. Raises what the beginning raises: `RequestFailed`, `RemoteProtocolError`,
        `ConnectionClosed`. An exception of the block leaves as it is.
        """
        async with servants() as nursery:
            connection = self._connection(transport, Side.CLIENT, nursery, principal)
            try:
                nursery.start_soon(connection.run)
                await open_connection(connection, revision)
                yield connection
            finally:
                await connection.aclose()

    async def serve(
        self,
        transport: Transport,
        *,
        principal: str | None = None,
        identified: bool = True,
        task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be the server on a transport, until the client ends it.

        `principal` names the client as the owner of its tasks, if it can come back; `identified` says whether that
        tells clients apart, so that each may list its tasks. Cancelled, it closes the connection first.
        """
        async with servants() as nursery:
            connection = self._connection(transport, Side.SERVER, nursery, principal, identified=identified)
            try:
                task_status.started(connection)
                await connection.run()
            finally:
                await connection.aclose()

    def _connection(
        self,
        transport: Transport,
        side: Side,
        nursery: trio.Nursery,
        principal: str | None,
        *,
        identified: bool = True,
    ) -> Connection:
        if self.tasks.store.durable and self.home is None:
            raise LocalProtocolError("a peer with a durable store works within `async with peer:`")
        transient = principal is None
        connection = Connection(
            self,
            transport,
            side,
            nursery,
            principal=Principal(f"connection {secrets.token_hex(8)}" if principal is None else principal),
            transient=transient,
            identified=identified,
        )
        self.connections.add(connection)
        return connection


def _derived(secret: bytes, what: str) -> bytes:
    return hmac.digest(secret, f"mcp_tasks {what}".encode(), "sha256")
