"""The requests we send: waiting for their answers, following their progress, and taking them back.

The requestor's half of a connection. A call is entered in the session's table before its message is queued and leaves
it with its answer, with the caller's being cancelled, or with the end of the connection; whichever comes first wakes
the caller, so that nobody waits for an answer that cannot come.

Spec: basic/utilities/cancellation, basic/utilities/progress.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, field

from .._unset import UNSET, JSONObject, ProgressToken, RequestId, TaskId, Unset
from ..dialects.base import Progressed
from ..errors import ConnectionClosed, MCPError, RemoteProtocolError, RequestFailed
from ..jsonrpc.events import Answered, Failed, Lost
from ..trace import current_trace, tracing
from ..wire.jsonrpc import Request
from ._wait import Bell, OnProgress, Progress, ProgressInbox

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Caller", "Calling", "Pending"]

logger = logging.getLogger("mcp_tasks.peer")

_MAX_ORPHANS = 256

Calling: TypeAlias = Callable[[str, JSONObject], AbstractContextManager[Mapping[str, str]]]
"""What is put around each request of ours: called with its method and params, it gives the trace that goes along."""


@define(eq=False)
class Pending:
    """A request of ours without an answer."""

    method: str
    inbox: ProgressInbox | None = None
    bell: Bell = field(factory=Bell)
    result: JSONObject | None = None
    failure: MCPError | None = None


class Caller:
    """Sends the requests of one connection and hands out their answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.session
        self._inboxes: dict[ProgressToken, tuple[ProgressInbox, Bell]] = {}
        # Requests for tasks that were taken back: should one be answered all the same, its task is ours to cancel.
        self._orphans: OrderedDict[RequestId, Callable[[JSONObject], None]] = OrderedDict()

    def call(self, method: str, params: Any = None, **options: Any) -> Awaitable[JSONObject]:
        """Send a request and wait for its result; `send` says with what options, and what is raised."""
        # Not a coroutine of its own, which each call would pay for.
        calling = self._connection.peer.calling
        if calling is None:
            return self.send(method, params, **options)
        return self._traced(calling, method, params, options)

    async def _traced(self, calling: Calling, method: str, params: Any, options: Mapping[str, Any]) -> JSONObject:
        wired = self._connection.dialect.lower_call(params)
        with calling(method, wired if isinstance(wired, dict) else {}) as trace, tracing(trace):
            return await self.send(method, params, **options)

    async def send(
        self,
        method: str,
        params: Any = None,
        *,
        on_progress: OnProgress | None = None,
        ttl_ms: int | Unset | None = UNSET,
        related_task: TaskId | None = None,
        related_to: RequestId | None = None,
        on_mint: Callable[[RequestId], None] | None = None,
        cancellable: bool = True,
        orphaned: Callable[[JSONObject], None] | None = None,
    ) -> JSONObject:
        """Send a request and wait for its result.

        Raises `RequestFailed`, `RemoteProtocolError` for an answer that is none, `ConnectionClosed`. Cancelled, it
        tells the other side so (C25-168); `orphaned` is then called with a result that comes all the same. `on_mint` is
        called with the request's id before it is sent.
        """
        connection, session = self._connection, self._session
        inbox = None if on_progress is None else ProgressInbox(on_progress, connection.limits.progress_backlog)
        pending = Pending(method, inbox)
        await connection.drained(related_to)
        id = session.mint()
        if on_mint is not None:
            on_mint(id)
        token = id if inbox is not None else None
        stamp = {**connection.stamp, **trace} if (trace := current_trace()) else connection.stamp
        if stamp and type(params) is dict and params.get("_meta"):
            stamp = {**stamp, **params["_meta"]}  # whoever speaks for somebody else says so in the request itself
        wired = connection.dialect.lower_call(params, ttl_ms=ttl_ms, token=token, related=related_task, stamp=stamp)
        session.called(id, pending)
        try:
            connection.post(Request(id, method, wired), related_to)
        except BaseException:
            session.withdraw(id)
            raise
        if inbox is None:
            try:
                await pending.bell.wait()
            except BaseException:
                self._take_back(id, cancellable, orphaned, related_to)
                raise
        else:
            self._inboxes[id] = inbox, pending.bell
            try:
                while pending.result is None and pending.failure is None:
                    await pending.bell.wait()
                    await inbox.deliver()
            except BaseException:
                self._take_back(id, cancellable, orphaned, related_to)
                raise
            finally:
                del self._inboxes[id]
        if pending.failure is not None:
            raise pending.failure
        assert pending.result is not None
        return pending.result

    def follow(self, token: ProgressToken, inbox: ProgressInbox, bell: Bell) -> None:
        """Have the progress under `token` put into `inbox`, and `bell` rung."""
        self._inboxes[token] = inbox, bell

    def unfollow(self, token: ProgressToken) -> None:
        """The token is free again (T25-162)."""
        self._inboxes.pop(token, None)

    def _take_back(
        self,
        id: RequestId,
        cancellable: bool,
        orphaned: Callable[[JSONObject], None] | None,
        related_to: RequestId | None,
    ) -> None:
        if not self._session.withdraw(id) or self._session.closed:
            return
        if self._connection.transport.abandon(id) or not cancellable:
            return
        if orphaned is not None:
            self._orphans[id] = orphaned
            if len(self._orphans) > _MAX_ORPHANS:
                self._orphans.popitem(last=False)
        withdrawal = self._connection.dialect.cancel_notification(id, "The requestor no longer waits")
        self._connection.post(withdrawal, related_to)

    # --- what comes in --------------------------------------------------------------------------------------------

    def answered(self, event: Answered[Pending]) -> None:
        """A call has its result."""
        event.call.result = event.result
        event.call.bell.ring()

    def failed(self, event: Failed[Pending] | Lost[Pending]) -> None:
        """A call has failed."""
        call = event.call
        if isinstance(event, Lost):
            call.failure = event.failure
        elif event.error is None:
            call.failure = RemoteProtocolError(f"{call.method}: the answer is no response: {event.reason}")
        else:
            call.failure = RequestFailed(event.error.code, event.error.message, event.error.data)
        call.bell.ring()

    def unexpected(self, id: RequestId, result: JSONObject) -> bool:
        """A result nobody waits for; True if it was that of a request for a task that had been taken back."""
        orphaned = self._orphans.pop(id, None)
        if orphaned is None:
            return False
        orphaned(result)
        return True

    def progressed(self, said: Progressed) -> None:
        """A report of progress; unknown tokens are ignored."""
        following = self._inboxes.get(said.token)
        if following is None:
            logger.debug("progress for the unknown token %r", said.token)
            return
        inbox, bell = following
        inbox.put(Progress(said.progress, said.total, said.message))
        bell.ring()

    def lost(self, calls: list[Pending], reason: str) -> None:
        """The connection has ended, and these calls with it."""
        for call in calls:
            call.failure = ConnectionClosed(f"{call.method}: {reason}")
            call.bell.ring()
        for _, bell in self._inboxes.values():
            bell.ring()
        self._orphans.clear()
