"""What a handler is given: who asks, how to say how far it is, and how to ask back.

A `Context` is the same for a plain request and for a task; a *delivery* behind it knows the difference. In a live
request a question is a request on the same connection. In a task it is also a fact of the task's record: the task is
`input_required` while it is open, and the answer goes into its journal. Keys make that work: every question and every
`once` has one, derived from its kind and order unless it is given, and a key is used once. A handler that runs again
after a crash, or in an era that runs it anew for each answer, finds what was answered under the same keys.

Spec: 2025-11-25 basic/utilities/tasks "Input Required Status", basic/utilities/progress, server/utilities/logging.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from .._unset import JSON, UNSET, JSONObject, Principal, ProgressToken, TaskId
from ..dialects.base import Side
from ..errors import (
    DeprecatedFeature,
    InvalidShape,
    LocalProtocolError,
    RemoteProtocolError,
    TaskAlreadySettled,
)
from ..tasks.model import Call
from ..wire.client_features import CreateMessageResult, ElicitResult, Root, SamplingMessage
from ..wire.utilities import LEVELS, LoggingLevel
from ._wait import gather
from .deliveries import Delivery
from .questions import Ask, Elicit, ElicitUrl, Roots, Sample

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Context"]

logger = logging.getLogger("mcp_tasks.peer")

T = TypeVar("T")

_NOTE_SECONDS = 5.0  # how long keeping what was done may hold up a cancellation


class Context:
    """What a handler knows of the request it serves, and how it talks to whoever asked.

    Everything that awaits here is a checkpoint; cancelling it withdraws what was asked.
    """

    __slots__ = ("_call", "_counts", "_delivery", "_last_progress", "_used", "principal")

    def __init__(self, call: Call, principal: Principal, delivery: Delivery) -> None:
        self.principal = principal
        """Whom the request comes from."""
        self._call = call
        self._delivery = delivery
        self._last_progress: float | None = None
        self._counts: dict[str, int] = {}
        self._used: set[str] = set()

    @property
    def method(self) -> str:
        """The method that was asked for."""
        return self._call.method

    @property
    def params(self) -> JSONObject:
        """Its parameters, as they came."""
        return self._call.params

    @property
    def meta(self) -> JSONObject:
        """The ``_meta`` of the request; empty if there is none."""
        return self._call.meta

    @property
    def progress_token(self) -> ProgressToken | None:
        """What the requestor wants progress under; None if it wants none."""
        return self._call.progress_token

    @property
    def task_id(self) -> TaskId | None:
        """The task this runs in; None for a plain request."""
        return self._delivery.task_id

    @property
    def revision(self) -> str:
        """The revision in which it was asked."""
        return self._delivery.terms.dialect.revision

    @property
    def stateless(self) -> bool:
        """Whether that is one in which the request stands for itself, and no session is behind it."""
        return self._delivery.terms.dialect.stateless

    @property
    def connection(self) -> Connection:
        """The connection to the requestor. Raises `ConnectionClosed` while there is none."""
        return self._delivery.connection

    # --- telling --------------------------------------------------------------------------------------------------

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the request has come; `progress` has to grow (C25-160).

        Nothing is sent if nobody asked for it or the request is over. Raises `LocalProtocolError` if it does not grow.
        """
        if self._last_progress is not None and progress <= self._last_progress:
            raise LocalProtocolError(f"progress has to grow: {progress} after {self._last_progress}")
        self._last_progress = progress
        await trio.lowlevel.checkpoint()
        token, delivery = self._call.progress_token, self._delivery
        dialect = delivery.terms.dialect
        if token is None or not delivery.active() or (dialect.stateless and self.task_id is not None):
            return  # there is no progress of tasks without a session (X26-101)
        await delivery.tell(dialect.progress_notification(token, progress, total, message, self.task_id), progress)

    async def report(self, message: str) -> None:
        """Say in words what is going on: as the status message of a task, or else as a server's log message.

        A plain request to a client has no place for it; it is then only logged here.
        """
        if await self._delivery.report(message):
            await trio.lowlevel.checkpoint()
            return
        if self._delivery.side is Side.SERVER and (not self.stateless or self._delivery.terms.log_level):
            await self.relay_log("info", message)
        else:
            logger.info("%s: %s", self.method, message)

    async def adjust(self, *, ttl: float | None = None, poll_interval: float | None = None) -> None:
        """Change for how many seconds the task is kept, from its creation, and how often its requestor is to look.

        A lifetime is granted up to the limit. Does nothing for a plain request, which has neither.
        """
        for given in (ttl, poll_interval):
            if given is not None and not given > 0:
                raise ValueError(f"seconds above 0, not {given!r}")
        await self._delivery.adjust(
            UNSET if ttl is None else round(ttl * 1000),
            UNSET if poll_interval is None else max(1, round(poll_interval * 1000)),
        )

    async def log(self, level: LoggingLevel, data: JSON, logger: str | None = None) -> None:
        """Send a log message, if the requestor wants messages of this level (C25-253).

        Raises `LocalProtocolError` on a connection on which we are not the server.
        """
        if self._delivery.side is Side.SERVER:
            self._deprecated("logging")
        await self.relay_log(level, data, logger)

    async def relay_log(self, level: LoggingLevel, data: JSON, logger: str | None = None) -> None:
        """The same for what somebody else has logged, who was told by then that logging is deprecated."""
        await trio.lowlevel.checkpoint()
        delivery = self._delivery
        if delivery.side is not Side.SERVER:
            raise LocalProtocolError("log messages go from a server to a client")
        if level not in LEVELS:
            raise LocalProtocolError(f"{level!r} is no logging level: {', '.join(LEVELS)}")
        if self.stateless and not delivery.active():
            return  # C26-127, C26-411
        wanted = delivery.log_level
        if wanted is not None and LEVELS.index(level) >= LEVELS.index(wanted):
            await delivery.tell(delivery.terms.dialect.log_notification(level, data, logger, self.task_id))

    async def drop_stream(self, retry: float | None = None) -> None:
        """End the HTTP connection that is to carry the answer; the client comes back for it after `retry` seconds.

        For long work: nobody holds a connection open meanwhile, and nothing is lost (C25-094 to C25-096). Does nothing
        where there is no such connection, or the client does not know how to come back.
        """
        related_to, connection = self._delivery.related_to, self._delivery.latest
        if related_to is not None and connection is not None and not connection.closed:
            connection.transport.drop_stream(related_to, None if retry is None else round(retry * 1000))
        await trio.lowlevel.checkpoint()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def ask(self, key: str, question: Ask[T]) -> T:
        """Ask the other side, under a key that this handler uses for nothing else.

        Raises `CapabilityMissing` if they cannot be asked that, `RequestFailed` if they answered with an error,
        `RemoteProtocolError` for an answer that is none, `ConnectionClosed` if they are gone for good. Where a question
        ends the handler, which then runs again, whoever asks from a shielded scope, or from a task that is not the
        handler's own, gets `LocalProtocolError` instead of being cancelled; the client is asked all the same.
        """
        self._use(key)
        journal = self._delivery.journal()
        answer = journal[key] if key in journal else await self._delivery.ask(key, question)
        try:
            return question.read(self._lifted(question.method, answer))
        except RemoteProtocolError as wrong:
            raise self._delivery.wrong(key, wrong) from None

    def _lifted(self, method: str, answer: JSONObject) -> Any:
        try:
            return self._delivery.terms.dialect.lift_result(method, answer)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"{method}: {wrong}") from None

    async def ask_all(self, questions: Mapping[str, Ask[Any]]) -> dict[str, Any]:
        """Ask several things at once, each under its key; returns the answers by key, once all are there.

        They go out together, and where each would cost a round, they cost one. Raises as `ask` does.
        """
        await self._delivery.ask_ahead(questions)
        return await gather({key: partial(self.ask, key, question) for key, question in questions.items()})

    async def elicit(self, message: str, fields: Mapping[str, Any] | type, *, key: str | None = None) -> ElicitResult:
        """Ask the user to fill in a form; see `Elicit` for `fields`, and `ask` for what is raised."""
        return await self.ask(key or self._derive("elicit"), Elicit(message, fields))

    async def elicit_url(self, message: str, url: str, *, key: str | None = None) -> ElicitResult:
        """Ask the user to visit a page; returns once they agreed or not, which is before they are done there."""
        return await self.ask(key or self._derive("elicit-url"), ElicitUrl(message, url))

    async def sample(
        self, messages: Sequence[SamplingMessage | str] | str, *, key: str | None = None, **params: Any
    ) -> CreateMessageResult:
        """Have the other side's model say something; `params` are the fields of `Sample`."""
        self._deprecated("sampling")
        return await self.ask(key or self._derive("sample"), Sample(messages, **params))

    async def roots(self, *, key: str | None = None) -> list[Root]:
        """The other side's roots."""
        self._deprecated("roots")
        return await self.ask(key or self._derive("roots"), Roots())

    async def once(self, key: str, effect: Callable[[], Awaitable[T]]) -> T:
        """Do something that must not be done twice, and keep what it returned, which has to be JSON.

        A handler that runs again finds the value in its journal and does not call `effect`. It is kept after
        `effect` has returned: a crash in between is the one moment at which it may happen twice. In a fleet, a worker
        that was not heard of for too long first makes sure that nobody has followed it.
        """
        self._use(key)
        journal = self._delivery.journal()
        if key in journal:
            return journal[key]  # type: ignore[no-any-return]
        await self._delivery.confirm()
        value = await effect()
        try:
            await self._delivery.note(key, value)
        except trio.Cancelled:
            # It has happened: whoever is being cancelled must find it when it runs again.
            grace = trio.CancelScope(shield=True, deadline=trio.current_time() + _NOTE_SECONDS)
            with grace, suppress(TaskAlreadySettled):
                if key not in self._delivery.journal():
                    await self._delivery.note(key, value)
            raise
        return value

    def _derive(self, kind: str) -> str:
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        return f"{kind}-{count}"

    def _use(self, key: str) -> None:
        if key in self._used:
            raise LocalProtocolError(f"the key {key!r} was used before in this handler")
        self._used.add(key)

    def _deprecated(self, feature: str) -> None:
        if self.stateless:
            warnings.warn(f"{feature}: deprecated from revision {self.revision} on", DeprecatedFeature, stacklevel=3)
