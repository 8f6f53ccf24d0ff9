"""One peer on one transport: the pump, and what both halves of a connection share.

A connection has no client end and no server end of its own: it reads messages, hands answers to the `Caller` and
requests to the `Service`, and writes what both queue. One task reads and one writes, in a nursery that ends with the
connection. Closing is decided in one place, `_end`: it fails every pending call and stops every handler at once.

Back-pressure: whoever sends waits while the other side leaves more than `backlog_bytes` unread. Requests, which cost
answers, are then read slowly too, so that a peer that asks and never reads costs little; but not while we wait for
answers ourselves, since they lie behind requests. Two peers that both send much thus cannot block each other.

Spec: basic/lifecycle, basic/utilities.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSON, UNSET, JSONObject, Principal, ProgressToken, RequestId, TaskId, Unset
from .._workers import Workers
from ..abc import Inbound, Transport
from ..codec.messages import MessageCodec
from ..dialects.base import (
    Capabilities,
    Dialect,
    Initialized,
    Offers,
    Open,
    Progressed,
    Side,
    TaskChanged,
    Told,
    Withdrawn,
)
from ..dialects.select import LATEST_HANDSHAKE, accept, negotiate
from ..dialects.v2025_11_25 import HANDSHAKE
from ..errors import (
    ConnectionClosed,
    InvalidRequest,
    InvalidShape,
    LocalProtocolError,
    RemoteProtocolError,
)
from ..jsonrpc.events import Answered, Failed, Lost, Refused
from ..jsonrpc.session import Session
from ..limits import Limits
from ..wire.capabilities import ClientCapabilities, Implementation, InitializeParams, InitializeResult
from ..wire.jsonrpc import Message, Notification, Request, Response
from ..wire.tasks import Task
from ..wire.utilities import LEVELS, LoggingLevel
from ._wait import Bell, OnProgress
from .calls import Caller, Pending
from .handles import SavedTask, TaskHandle
from .links import look_again
from .notices import Notices
from .service import Served, Service
from .verbs import Verbs

if TYPE_CHECKING:
    from .peer import Peer

__all__ = ["Connection"]

logger = logging.getLogger("mcp_tasks.peer")

_PAUSE_SECONDS = 1.0  # how long reading may pause before it looks again
_FORGET_SECONDS = 5.0  # how long closing waits for the store
_FLUSH_SECONDS = 1.0  # how long closing waits for the other side to read what is queued
_GRACE_SECONDS = 1.0  # how long handlers may go on when the other side has stopped sending


class Connection(Verbs):
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
        super().__init__()
        self.peer = peer
        self.side = side
        self.principal = principal
        """Whom we take the other side to be, as the owner of tasks."""
        self.identified = identified
        """Whether that tells requestors apart, so that tasks may be listed."""
        self.limits: Limits = peer.limits
        self.nursery = nursery
        self.session: Session[Pending, Served] = Session()
        self.dialect: Dialect = LATEST_HANDSHAKE
        """What is spoken; the newest revision until the handshake says otherwise."""
        self.opened = False
        """Whether the handshake has been answered."""
        self.capabilities: Capabilities = ClientCapabilities()
        """What we have announced."""
        self.task_methods: AbstractSet[str] = frozenset()
        """The methods for which we have announced tasks."""
        self.their_capabilities: Capabilities = ClientCapabilities()
        """What the other side has announced."""
        self.their_info: Implementation | None = None
        """Who the other side says it is."""
        self.instructions: str | None = None
        """What the server tells the model about itself."""
        self.handles: dict[str, TaskHandle] = {}
        self.subscriptions: set[str] = set()
        self.caller = Caller(self)
        self._transient = transient
        self.transport = transport
        """What carries the messages; ours, and closed with the connection."""
        self.workers = Workers(nursery, write_now=self.write_now)
        """Who does what the other side asks for."""
        self._service = Service(self)
        self._keeps_time = False
        self._ready = trio.Event()
        self._ended = trio.Event()
        self._why = "the connection is closed"
        self._closing = False
        self.half_closed = False
        """Whether the other side has stopped sending: it may still read answers, and gives none."""
        self._idle = Bell()
        self._dirty = Bell()
        self._drained = trio.lowlevel.ParkingLot()
        self._notices = Notices(self)
        self.log_level: LoggingLevel = "info"
        """From which level on log messages are sent."""

    def __repr__(self) -> str:
        other = "?" if self.their_info is None else self.their_info.name
        return f"<Connection as {self.side.value} to {other!r}, {self.dialect.revision}>"

    # --- its life -------------------------------------------------------------------------------------------------

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
        self.nursery.start_soon(self._write)
        self.nursery.start_soon(self._notices.run)
        self.transport.push_to(self._take)
        self.transport.renewed = self._renewed
        self.transport.cut = partial(look_again, self)
        try:
            while not self.closed:
                batch = await self.transport.receive()
                for message in batch:
                    self._take(message)
                if self.crowded() and any(isinstance(message, Request) for message in batch):
                    await self._pause()
        except ConnectionClosed as closed:
            self._why = str(closed)
        await self._finish()

    async def handshake(self, revision: str) -> None:
        """As a client, open the connection. Raises `RequestFailed`, `RemoteProtocolError`, `ConnectionClosed`."""
        if revision not in HANDSHAKE:
            raise LocalProtocolError(f"{revision!r} is no revision to shake hands in: {', '.join(HANDSHAKE)}")
        self.dialect = HANDSHAKE[revision]
        self._announce()
        assert isinstance(self.capabilities, ClientCapabilities)
        opening = InitializeParams(
            protocol_version=revision, capabilities=self.capabilities, client_info=self.peer.info
        )
        result = await self.caller.call("initialize", opening, cancellable=False)
        try:
            answer: InitializeResult = self.dialect.lift_result("initialize", result)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"initialize: {wrong}") from None
        self.dialect = accept(answer.protocol_version)
        # What was announced stands, but the revision they chose may not have all of it.
        self.task_methods &= self.dialect.announced_tasks(self._offers(), self.side)
        self.their_capabilities = answer.capabilities
        self.their_info = answer.server_info
        self.instructions = None if answer.instructions is UNSET else answer.instructions
        self.opened = True
        self.transport.speaks(self.dialect.revision)
        self._ready.set()
        await self.notify("notifications/initialized")

    def open(self, asked: Open) -> JSONObject:
        """As a server, answer the handshake. Raises `InvalidRequest` for a second one."""
        if self.opened or self.side is Side.CLIENT:
            raise InvalidRequest("initialize: the connection has been initialized")
        self.dialect = negotiate(asked.revision)
        self.their_capabilities = asked.capabilities
        self.their_info = asked.info
        self._announce()
        self.opened = True
        self.transport.speaks(self.dialect.revision)
        return self.dialect.lower_result(
            "initialize",
            InitializeResult(
                protocol_version=self.dialect.revision,
                capabilities=self.capabilities,  # type: ignore[arg-type]
                server_info=self.peer.info,
                instructions=UNSET if self.peer.instructions is None else self.peer.instructions,
            ),
        )

    def _offers(self) -> Offers:
        return self.peer.table.offers(list_tasks=self.identified)

    def _announce(self) -> None:
        offers = self._offers()
        self.capabilities = self.dialect.capabilities(offers, self.side)
        self.task_methods = self.dialect.announced_tasks(offers, self.side)

    def _renewed(self) -> None:
        self.forget_tools()
        self.nursery.start_soon(self.ask_again)

    async def _finish(self) -> None:
        # The other side sends no more. What it asked last may still be answered, for it may still be reading; what we
        # asked cannot be.
        self.half_closed = True
        self._fail_calls()
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
        self._end(why)
        with trio.CancelScope(shield=True):
            try:
                if self._transient:
                    await self._forget_tasks()
                with trio.move_on_after(_FLUSH_SECONDS):
                    await self._flush_rest()
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

    async def _flush_rest(self) -> None:
        while self.transport.backlog:
            try:
                await self.transport.flush()
            except trio.BusyResourceError:
                await self._drained.park()  # the writer is at it
            except ConnectionClosed:
                return

    def _end(self, why: str) -> None:
        if self.closed:
            return
        self._why = why
        calls, serving = self.session.close()
        self.caller.lost(calls, why)
        for job in serving:
            job.cancel()
        self._drained.unpark_all()
        self._dirty.ring()
        self._ready.set()
        self.peer.connections.discard(self)

    def _fail_calls(self) -> None:
        calls = list(self.session.calls.values())
        self.session.calls.clear()
        self.caller.lost(calls, self._why)

    # --- writing --------------------------------------------------------------------------------------------------

    def crowded(self, related_to: RequestId | None = None) -> bool:
        """Whether the other side has left so much unread that senders wait; on one stream, where there are several."""
        return self.transport.backlog_of(related_to) > self.limits.backlog_bytes

    def post(self, message: Message, related_to: RequestId | None = None, *, written: bool = True) -> None:
        """Queue a message. Raises `ConnectionClosed`, and TypeError or ValueError for what is no JSON.

        It is written soon, unless `written` is false: then whoever posts calls `write_now` or `write_soon`.
        """
        if self.session.closed:
            raise ConnectionClosed(self._why)
        self.transport.send(message, related_to=related_to)
        if written:
            self._dirty.ring()
        if self.transport.backlog > self.limits.max_backlog_bytes:
            logger.warning("%r: the other side does not read: %d bytes wait", self, self.transport.backlog)
            self._end("the other side does not read")
            self.nursery.start_soon(self.aclose)

    def write_now(self) -> None:
        """Write what is queued as far as that goes without waiting, and the rest soon."""
        if self.transport.backlog and not self.transport.try_flush():
            self._dirty.ring()

    def write_soon(self) -> None:
        """Have the writer write what is queued, once it runs."""
        if self.transport.backlog:
            self._dirty.ring()

    async def drained(self, related_to: RequestId | None = None) -> None:
        """Wait until the other side has read enough, or the connection has ended."""
        if self.crowded(related_to):
            self.write_soon()
            while self.crowded(related_to) and not self.closed:
                await self._drained.park()

    async def _write(self) -> None:
        try:
            while not self.closed:
                await self._dirty.wait()
                while self.transport.backlog:
                    try:
                        await self.transport.flush()
                    finally:
                        self._drained.unpark_all()
        except ConnectionClosed as closed:
            await self.aclose(str(closed))
        except trio.BusyResourceError:
            pass  # whoever closes the connection is writing the rest

    async def _pause(self) -> None:
        if not self.session.calls:
            with trio.move_on_after(_PAUSE_SECONDS):
                await self._drained.park()

    # --- reading --------------------------------------------------------------------------------------------------

    def _take(self, message: Inbound) -> None:
        if self.session.closed:
            return
        event = self.session.receive(message)
        if isinstance(event, Request):
            self._service.accept(event)
        elif isinstance(event, Answered):
            self.caller.answered(event)
        elif isinstance(event, Notification):
            self._take_notification(event)
        elif isinstance(event, (Failed, Lost)):
            self.caller.failed(event)
        elif isinstance(event, Refused):
            logger.warning("%r: refused: %s", self, event.answer.error.message)
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
            case Withdrawn(id, reason):
                job = self.session.abandon(id)
                self.transport.leave(id)
                if job is not None:
                    logger.debug("%r: request %r was cancelled: %s", self, id, reason)
                    job.cancel()
            case TaskChanged(task):
                if (handle := self.handles.get(task.task_id)) is not None:
                    try:
                        handle.pushed(task)
                    except RemoteProtocolError as wrong:
                        logger.warning("%r: dropped a status: %s", self, wrong)
                self._tell(Told(notification.method, task))
            case Initialized():
                if self.opened:
                    self._ready.set()
                self._tell(Told(notification.method, {}))
            case Told():
                self._tell(notice)

    def _tell(self, notice: Told) -> None:
        if notice.method == "notifications/tools/list_changed":
            self.forget_tools()
        self._notices.put(notice)

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

        `on_progress` is called in this task with each `Progress`. Raises `LocalProtocolError` or `CapabilityMissing`
        before anything is sent, `RequestFailed` for an error, `RemoteProtocolError` for an answer that is none,
        `ConnectionClosed`. Cancelled, it withdraws the request; how long to wait is up to trio's deadlines.
        """
        await self._may_ask()
        self.dialect.require(method, params, self.their_capabilities, self.side)
        return await self.caller.call(
            method, params, on_progress=on_progress, related_task=related_task, related_to=related_to, on_mint=on_mint
        )

    async def _may_ask(self) -> None:
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

        `ttl` is how many seconds the receiver is asked to keep the task, from its creation; None leaves it to them.
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

    def prepare(self, method: str, params: Any) -> JSONObject:
        """The parameters as JSON, once it is clear that they may be sent. Raises as `call` does before it sends."""
        self.dialect.require(method, params, self.their_capabilities, self.side)
        lowered = self.dialect.lower_call(params)
        return {} if isinstance(lowered, Unset) else lowered

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
        await self._may_ask()
        self.dialect.require(method, params, self.their_capabilities, self.side, as_task=True)
        wired = self.dialect.lower_call(params, ttl_ms=ttl_ms, token=token)
        return await self.caller.call(method, wired, orphaned=orphaned)

    def lift_created(self, result: JSONObject) -> Task | None:
        """The task that was made, if one was. Raises `RemoteProtocolError`."""
        try:
            return self.dialect.lift_created(result)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"the new task: {wrong}") from None

    def mint_token(self) -> ProgressToken:
        """A progress token that no request of ours uses."""
        return f"task-{self.session.mint()}"

    # --- for the service and for contexts -------------------------------------------------------------------------

    def is_serving(self, id: RequestId) -> bool:
        """Whether that request of theirs still wants an answer."""
        return id in self.session.served

    def task_home(self) -> Workers:
        """Where the tasks of this connection's requestor live: as long as the requestor can come back."""
        if not self._transient and self.peer.home is not None:
            return self.peer.home
        if not self._keeps_time:
            self._keeps_time = True
            self.nursery.start_soon(self.peer.tasks.keep_time)
        return self.workers

    def check_json(self, value: JSON) -> None:
        """Check that a value can be sent. Raises TypeError, ValueError or RecursionError."""
        _CODEC.encode(Response(0, value))

    async def send_progress(
        self,
        token: ProgressToken,
        progress: float,
        total: float | None,
        message: str | None,
        related: TaskId | None,
        related_to: RequestId | None,
    ) -> None:
        """Tell how far a request of theirs has come."""
        await self.drained(related_to)
        self.post(self.dialect.progress_notification(token, progress, total, message, related), related_to)

    async def send_log(
        self,
        level: LoggingLevel,
        data: JSON,
        logger: str | None,
        related: TaskId | None,
        related_to: RequestId | None,
    ) -> None:
        """Send a log message if its level is wanted. Raises `LocalProtocolError` if we are not the server."""
        if self.side is not Side.SERVER:
            raise LocalProtocolError("log messages go from a server to a client")
        if level not in LEVELS:
            raise LocalProtocolError(f"{level!r} is no logging level: {', '.join(LEVELS)}")
        if LEVELS.index(level) < LEVELS.index(self.log_level):
            return
        await self.drained(related_to)
        self.post(self.dialect.log_notification(level, data, logger, related), related_to)


_CODEC = MessageCodec()
_OWN = frozenset({"notifications/roots/list_changed"})  # gated by what we announced ourselves
