"""One peer on one transport: the pump, and what both halves of a connection share.

A connection has no client end and no server end of its own: it reads messages, hands answers to the `Caller` and
requests to the `Service`, and writes what both queue. One task reads and one writes, in a nursery that ends with the
connection. Closing is decided in one place, `end`: it fails every pending call and stops every handler at once.

Writing, and what keeps a peer that never reads from costing much, is in `writing`; how it begins is in `opening`.

Spec: basic/lifecycle, basic/utilities.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSON, UNSET, JSONObject, Principal, ProgressToken, RequestId, TaskId, Unset
from .._workers import Workers
from ..abc import Inbound, Transport
from ..codec.messages import MessageCodec
from ..dialects.base import (
    Acknowledged,
    Capabilities,
    Dialect,
    Initialized,
    Offers,
    Progressed,
    Side,
    TaskChanged,
    Terms,
    Told,
    Topics,
    Withdrawn,
)
from ..dialects.select import DIALECTS, LATEST, LATEST_HANDSHAKE
from ..errors import ConnectionClosed, InvalidShape, LocalProtocolError, MCPError, RemoteProtocolError
from ..jsonrpc.events import Answered, Failed, Left, Lost, Refused
from ..jsonrpc.session import Session
from ..wire.capabilities import ClientCapabilities, Implementation
from ..wire.jsonrpc import Notification, Request, Response
from ..wire.tasks import Task
from ..wire.utilities import LEVELS, LoggingLevel
from ._wait import Bell, OnProgress
from .cache import ResultCache
from .calls import Caller, Pending
from .conversation import Listening, StandingTopics, ask_and_answer
from .handles import CANCEL_SECONDS, SavedTask, TaskHandle
from .links import look_again
from .listening import finish_telling
from .notices import Notices
from .service import Served, Service
from .verbs import Verbs
from .writing import Writing

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Connection"]

logger = logging.getLogger("mcp_tasks.peer")

_FORGET_SECONDS = 5.0  # how long closing waits for the store
_FLUSH_SECONDS = 1.0  # how long closing waits for the other side to read what is queued
_GRACE_SECONDS = 1.0  # how long handlers may go on when the other side has stopped sending


class Connection(Writing, Verbs):
    """A peer's end of one connection; from `Peer.connect`, or `Context.connection` in a handler.

    The typed verbs are in `Verbs`. Everything that sends raises `ConnectionClosed` once the connection has ended.
    """

    def __init__(
        self,
        peer: Peer,
        transport: Transport,
        side: Side,
        nursery: trio.Nursery,
        *,
        principal: Principal,
        transient: bool,
        identified: bool,
    ) -> None:
        Verbs.__init__(self)
        Writing.__init__(self, transport, limits=peer.limits, nursery=nursery)
        self.peer = peer
        self.side = side
        self.principal = principal
        """Whom we take the other side to be, as the owner of tasks."""
        self.identified = identified
        """Whether that tells requestors apart, so that tasks may be listed."""
        self.session: Session[Pending, Served] = Session()
        stands_alone = transport.revision is not None
        self.terms = Terms(dialect=DIALECTS[transport.revision] if transport.revision is not None else LATEST_HANDSHAKE)
        """What is spoken and what the other side has announced; as a server, in what belongs to the session."""
        self.stamp: JSONObject = {}
        """What each request of ours says of us."""
        self.opened = stands_alone
        """Whether it has been settled what is spoken."""
        self.capabilities: Capabilities = ClientCapabilities()
        """What we have announced."""
        self.task_methods: AbstractSet[str] = frozenset()
        """The methods for which we have announced tasks."""
        self.instructions: str | None = None
        """What the server tells the model about itself."""
        self.handles: dict[str, TaskHandle] = {}
        self.listenings: dict[RequestId, Listening] = {}
        """Our subscriptions, by the requests that keep them open."""
        self.cache = ResultCache(
            entries=self.limits.cached_results, size_bytes=self.limits.cached_bytes, now=trio.current_time
        )
        self.listened_to = 0
        """Requests of theirs that stay open to listen."""
        self.subscriptions: set[str] = set()
        self.caller = Caller(self)
        self.transient = transient
        """Whether the other side cannot come back, so that its tasks end with the connection."""
        self.workers = Workers(nursery, write_now=self.write_now)
        """Who does what the other side asks for."""
        self.service = Service(self)
        self._keeps_time = False
        self._ready = trio.Event()
        if stands_alone:
            self._ready.set()
        self._ended = trio.Event()
        self._why = "the connection is closed"
        self._closing = False
        self.half_closed = False
        """Whether the other side has stopped sending: it may still read answers, and gives none."""
        self._idle = Bell()
        self.standing = StandingTopics(self)
        self._notices = Notices(self)
        self.log_level: LoggingLevel = "info"
        """From which level on log messages are sent in a session."""

    def __repr__(self) -> str:
        other = "?" if self.their_info is None else self.their_info.name
        return f"<Connection as {self.side.value} to {other!r}, {self.dialect.revision}>"

    # --- its life -------------------------------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect:
        """What is spoken."""
        return self.terms.dialect

    @property
    def their_capabilities(self) -> Capabilities:
        """What the other side has announced."""
        return self.terms.capabilities

    @property
    def their_info(self) -> Implementation | None:
        """Who the other side says it is."""
        return self.terms.info

    @property
    def only_asks(self) -> bool:
        """Whether the other side is asked and never answered: as a client without a session (C26-114)."""
        return self.opened and self.side is Side.CLIENT and self.dialect.stateless

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.session.closed

    @property
    def revision(self) -> str:
        """The revision that is spoken."""
        return self.dialect.revision

    @property
    def peer_name(self) -> str:
        """The other side's name and version, as it gave them."""
        info = self.their_info
        return "" if info is None else f"{info.name} {info.version}"

    async def wait_ready(self) -> None:
        """Wait until both sides have finished the handshake, or the connection has ended."""
        await self._ready.wait()

    async def wait_closed(self) -> None:
        """Wait until it has ended, from whichever side."""
        await self._ended.wait()

    async def run(self) -> None:
        """Read and write until the connection ends. Returns then; raises nothing of the other side's doing."""
        self.nursery.start_soon(self.write)
        self.nursery.start_soon(self._notices.run)
        self.transport.push_to(self._take)
        self.transport.renewed = self._renewed
        self.transport.cut = partial(look_again, self)
        self.transport.closing = partial(finish_telling, self)
        try:
            while not self.closed:
                batch = await self.transport.receive()
                for message in batch:
                    self._take(message)
                if self.crowded() and any(isinstance(message, Request) for message in batch) and not self.session.calls:
                    await self.pause()
        except ConnectionClosed as closed:
            self._why = str(closed)
        await self._finish()

    def offers(self) -> Offers:
        """What we can do for the other side."""
        return self.peer.table.offers(list_tasks=self.identified)

    def announce_ourselves(self) -> None:
        """Settle what we announce, now that it is clear in which revision."""
        offers = self.offers()
        self.capabilities = self.dialect.capabilities(offers, self.side)
        self.task_methods = self.dialect.announced_tasks(offers, self.side)
        self.restamp()

    def restamp(self, log_level: str | None = None) -> None:
        """Settle what each request of ours says of us."""
        if self.side is Side.CLIENT:
            self.stamp = self.dialect.lower_stamp(self.capabilities, self.peer.info, log_level=log_level)

    def ready(self) -> None:
        """It is settled, as a client, what is spoken: requests may go out."""
        self.opened = True
        self.transport.speaks(self.dialect.revision)
        self._ready.set()

    def signature(self, terms: Terms) -> JSONObject | None:
        """Who we are, as each result says it."""
        signature = self.peer.signature
        if signature is None:
            signature = self.peer.signature = terms.dialect.lower_info(self.peer.info)
        return signature

    def _renewed(self) -> None:
        self.forget_tools()
        self.nursery.start_soon(self.ask_again)

    async def _finish(self) -> None:
        # The other side sends no more. What it asked last may still be answered, for it may still be reading; what we
        # asked cannot be.
        self.half_closed = True
        self._fail_calls()
        finish_telling(self)  # nothing is waited for: a server ends when its input does (C26-129)
        with trio.move_on_after(_GRACE_SECONDS):
            while self.session.served and not self.closed:
                await self._idle.wait()
        await self.aclose(self._why)

    def served_one(self) -> None:
        """A request of theirs is done with."""
        if self.half_closed:
            self._fail_calls()
            self._idle.ring()

    async def aclose(self, why: str = "the connection was closed") -> None:
        """End the connection: calls fail, handlers and this connection's tasks are cancelled, the transport is closed.

        Takes as long as the store needs to forget the tasks, five seconds at most, as the other side needs to read
        what is queued, a second at most, and as the transport needs to close. Never cancelled half way.
        """
        if self._closing:
            await self._ended.wait()
            return
        self._closing = True
        finish_telling(self)
        self.end(why)
        with trio.CancelScope(shield=True):
            try:
                if self.transient:
                    await self._forget_tasks()
                with trio.move_on_after(_FLUSH_SECONDS):
                    await self.flush_rest()
            finally:
                try:
                    await self.transport.aclose()
                finally:
                    self._ended.set()

    async def _forget_tasks(self) -> None:
        try:
            with trio.move_on_after(_FORGET_SECONDS):
                await self.peer.tasks.forget(self.principal)
        except Exception:
            logger.exception("%r: its tasks could not be forgotten", self)

    def end(self, why: str) -> None:
        """Fail every call, and stop every handler; closing follows."""
        if self.closed:
            return
        self._why = why
        calls, serving = self.session.close()
        self.caller.lost(calls, why)
        for job in serving:
            job.cancel()
        self.stop_writing()
        self._ready.set()
        self.peer.connections.discard(self)

    def _fail_calls(self) -> None:
        calls = list(self.session.calls.values())
        self.session.calls.clear()
        self.caller.lost(calls, self._why)

    # --- reading --------------------------------------------------------------------------------------------------

    def _take(self, message: Inbound) -> None:
        if self.session.closed:
            return
        event = self.session.receive(message)
        if isinstance(event, Request):
            self.service.accept(event)
        elif isinstance(event, Answered):
            self.caller.answered(event)
        elif isinstance(event, Notification):
            self._take_notification(event)
        elif isinstance(event, (Failed, Lost)):
            self.caller.failed(event)
        elif isinstance(event, Left):
            if event.by is not None:
                event.by.cancel()
        elif isinstance(event, Refused):
            logger.warning("%r: refused: %s", self, event.answer.error.message)
            if not self.only_asks:
                self.post(event.answer)
        elif not (isinstance(message, Response) and self.caller.unexpected(message.id, message.result)):
            logger.log(logging.DEBUG if event.late else logging.WARNING, "%r: dropped: %s", self, event.reason)

    def _take_notification(self, notification: Notification) -> None:
        try:
            notice = self.dialect.lift_notification(notification, self.side)
        except InvalidShape as wrong:
            # A notification is never answered, not even a malformed one (C25-015).
            logger.warning("%r: dropped a %s: %s", self, notification.method, wrong)
            return
        match notice:
            case None:
                logger.debug("%r: ignored a %s", self, notification.method)
            case Progressed():
                self.caller.progressed(notice)
            case Withdrawn(id, reason) if id in self.listenings and self.side is Side.CLIENT:
                self.listenings[id].ended(reason)
            case Withdrawn(id, reason):
                job = self.session.abandon(id)
                self.transport.leave(id)
                if job is not None:
                    logger.debug("%r: request %r was cancelled: %s", self, id, reason)
                    job.cancel()
            case TaskChanged(report):
                if (handle := self.handles.get(report.task.task_id)) is not None:
                    try:
                        handle.pushed(report)
                    except RemoteProtocolError as wrong:
                        logger.warning("%r: dropped a status: %s", self, wrong)
                self._tell(Told(notification.method, report.task), notification)
            case Acknowledged(topics):
                if (listening := self._listening(notification)) is not None:
                    listening.acknowledged(topics)
            case Initialized():
                if self.opened:
                    self._ready.set()
                self._tell(Told(notification.method, {}), notification)
            case Told():
                self._tell(notice, notification)

    def _tell(self, notice: Told, notification: Notification) -> None:
        self.outdated(notice.method, notification.params)
        if (listening := self._listening(notification)) is not None:
            listening.put(notice)
        self._notices.put(notice)

    def _listening(self, notification: Notification) -> Listening | None:
        id = self.dialect.subscription_of(notification.params) if self.listenings else None
        return None if id is None else self.listenings.get(id)

    def outdated(self, method: str, params: JSONObject | Unset = UNSET) -> None:
        """What was kept of a list or a resource no longer holds, for this notification has come."""
        if method == "notifications/tools/list_changed":
            self.forget_tools()
        for listed in _LISTS.get(method, ()):
            self.cache.changed(listed)
        if method == "notifications/resources/updated" and params is not UNSET:
            self.cache.updated(str(params.get("uri")))

    # --- asking ---------------------------------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        params: Any = None,
        *,
        on_progress: OnProgress | None = None,
        related_task: TaskId | None = None,
        related_to: RequestId | None = None,
        on_mint: Callable[[RequestId], None] | None = None,
    ) -> JSONObject:
        """Send a request and wait for its result, as JSON. `params` is a JSON object, a shape, or None.

        What a server of 2026-07-28 has to know first is answered by our own handlers, and a task it makes of the
        request is followed to its end. `on_progress` is called in this task with each `Progress`. Raises
        `LocalProtocolError` or `CapabilityMissing` before anything is sent, `RequestFailed` for an error,
        `RemoteProtocolError` for an answer that is none, `ConnectionClosed`. Cancelled, it withdraws the request; how
        long to wait is up to trio's deadlines.
        """
        await self.may_ask()
        self.dialect.require(method, params, self.their_capabilities, self.side)
        if self.dialect.stateless:
            return await ask_and_answer(self, method, params, on_progress=on_progress)
        return await self.caller.call(
            method, params, on_progress=on_progress, related_task=related_task, related_to=related_to, on_mint=on_mint
        )

    async def may_ask(self) -> None:
        """Wait until requests can go out. Raises `ConnectionClosed`, and `LocalProtocolError` if they never can."""
        if self.side is Side.SERVER and not self._ready.is_set() and self.service.stateless:
            raise LocalProtocolError(f"a server asks nothing in revision {LATEST.revision}")
        if not self._ready.is_set():
            await self._ready.wait()
        if self.closed or self.half_closed:
            raise ConnectionClosed(self._why)  # an answer cannot come

    def start(
        self,
        method: str,
        params: Any = None,
        *,
        ttl: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> TaskHandle:
        """Have a request run as a task: ``async with connection.start(...) as task``.

        `ttl` is how many seconds the receiver is asked to keep the task, from its creation; None leaves it to them. In
        2026-07-28 it is up to the server whether it becomes a task, and for how long that is kept.
        """
        if ttl is not None and not ttl >= 0:
            raise ValueError(f"ttl has to be seconds from 0 up, not {ttl!r}")
        ttl_ms = None if ttl is None else round(ttl * 1000)
        return TaskHandle(self, method, params, ttl_ms=ttl_ms, on_progress=on_progress)

    def resume(self, saved: SavedTask, *, on_progress: OnProgress | None = None) -> TaskHandle:
        """Take up a task that was saved or detached: ``async with connection.resume(saved) as task``.

        Entering raises `LocalProtocolError` if the other side is not the one that has the task.
        """
        return TaskHandle(self, saved.method, None, ttl_ms=None, on_progress=on_progress, resume=saved)

    def listen(
        self,
        *,
        tools: bool = False,
        prompts: bool = False,
        resources: bool = False,
        uris: Iterable[str] = (),
        tasks: Iterable[str] = (),
    ) -> Listening:
        """Be told of changes: ``async with connection.listen(tools=True) as listening``, then iterate over it.

        The lists of tools, prompts and resources, resources by their `uris`, and tasks by their ids; what of that the
        server will tell is in `Listening.topics`. For revision 2026-07-28; `LocalProtocolError` in any other.
        """
        topics = Topics(
            tools=tools,
            prompts=prompts,
            resources=resources,
            uris=frozenset(uris),
            tasks=frozenset(TaskId(id) for id in tasks),
        )
        return Listening(self, topics)

    async def notify(self, method: str, params: Any = None) -> None:
        """Send a notification. Raises as `call` does before anything is sent."""
        self._require_notification(method, params)
        await self.drained()
        self.post(Notification(method, self.dialect.lower_call(params)))

    def announce(self, method: str, params: JSONObject | Unset = UNSET) -> None:
        """Tell the other side that something of ours has changed, if this era and this connection have such a thing.

        Never waits, so that one who does not read keeps it from nobody else.
        """
        try:
            self._require_notification(method, None)
            self.post(Notification(method, params))
        except (ConnectionClosed, LocalProtocolError) as reason:
            logger.debug("%r: %s is not sent: %s", self, method, reason)

    def _require_notification(self, method: str, params: Any) -> None:
        announced_by = self.capabilities if method in _OWN else self.their_capabilities
        self.dialect.require(method, params, announced_by, self.side)

    def lift_result(self, method: str, result: JSONObject) -> Any:
        """A result as the shape its method promises. Raises `RemoteProtocolError`."""
        try:
            return self.dialect.lift_result(method, result)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"{method}: {wrong}") from None

    def takes_tasks(self, method: str) -> bool:
        """Whether the other side has announced that it runs requests of this method as tasks."""
        return self.dialect.takes_tasks(method, self.their_capabilities)

    # --- tasks of theirs ------------------------------------------------------------------------------------------

    async def request_task(
        self, method: str, params: Any, *, ttl_ms: int | None, token: ProgressToken | None, orphaned: Any
    ) -> JSONObject:
        """Send a request that asks for a task; the raw result is returned."""
        await self.may_ask()
        self.dialect.require(method, params, self.their_capabilities, self.side, as_task=True)
        wired = self.dialect.lower_call(params, ttl_ms=ttl_ms, token=token)
        return await self.caller.call(method, wired, orphaned=orphaned)

    def lift_created(self, method: str, result: JSONObject) -> Task | None:
        """The task that was made, if one was. Raises `RemoteProtocolError`."""
        try:
            task = self.dialect.lift_created(result)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"the new task: {wrong}") from None
        if task is not None and self.dialect.stateless and not self.takes_tasks(method):
            raise RemoteProtocolError(f"{method} cannot be answered with a task")  # X26-010, C26-013
        return task

    def adopt(self, method: str, task: Task) -> TaskHandle:
        """A handle for a task that has come as an answer."""
        return TaskHandle(self, method, None, ttl_ms=None, on_progress=None, task=task)

    def cancel_orphan(self, result: JSONObject) -> None:
        """If a task was made of a request that nobody waits for any more, cancel it."""
        try:
            task = self.dialect.lift_created(result)
        except MCPError:
            return
        if task is not None:
            self.cancel_quietly(task.task_id)

    def cancel_quietly(self, id: str) -> None:
        """Have a task cancelled, without waiting for it."""
        self.nursery.start_soon(self._cancel_quietly, id)

    async def _cancel_quietly(self, id: str) -> None:
        with trio.move_on_after(CANCEL_SECONDS):
            try:
                await self.ask_to_cancel(id)
            except MCPError as failure:
                logger.debug("task %s was not cancelled: %s", id, failure)

    def mint_token(self) -> ProgressToken:
        """A progress token that no request of ours uses."""
        return f"task-{self.session.mint()}"

    # --- for the service and for contexts -------------------------------------------------------------------------

    def serving(self, id: RequestId) -> Served | None:
        """Who serves that request of theirs, if it still wants an answer."""
        return self.session.served.get(id)

    def task_home(self) -> Workers:
        """Where the tasks of this connection's requestor live: as long as the requestor can come back."""
        if not self.transient and self.peer.home is not None:
            return self.peer.home
        if not self._keeps_time:
            self._keeps_time = True
            self.nursery.start_soon(self.peer.tasks.keep_time)
        return self.workers

    async def send_log(self, level: LoggingLevel, data: JSON, logger: str | None = None) -> None:
        """Send a log message that concerns no request, if its level is wanted: as a server, in a session.

        Raises `LocalProtocolError` elsewhere.
        """
        if self.side is not Side.SERVER or self.dialect.stateless:
            raise LocalProtocolError("log messages go from a server to a client, and concern a request or a session")
        if level not in LEVELS:
            raise LocalProtocolError(f"{level!r} is no logging level: {', '.join(LEVELS)}")
        if LEVELS.index(level) >= LEVELS.index(self.log_level):
            await self.tell(self.dialect.log_notification(level, data, logger, None), None)

    async def tell(self, said: Notification, related_to: RequestId | None) -> None:
        """Send a notification that goes along with a request of theirs. Raises `ConnectionClosed`."""
        await self.drained(related_to)
        self.post(said, related_to)


_CODEC = MessageCodec()
_OWN = frozenset({"notifications/roots/list_changed"})  # gated by what we announced ourselves
_LISTS = {
    "notifications/tools/list_changed": ("tools/list",),
    "notifications/prompts/list_changed": ("prompts/list",),
    "notifications/resources/list_changed": ("resources/list", "resources/templates/list"),
}
