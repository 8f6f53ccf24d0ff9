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
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from .._unset import JSON, JSONObject, Principal, ProgressToken, RequestId, TaskId
from ..dialects.base import Side
from ..errors import ConnectionClosed, LocalProtocolError, TaskAlreadySettled
from ..tasks.model import Call, Question
from ..tasks.registry import TaskRegistry
from ..wire.client_features import CreateMessageResult, ElicitResult, Root, SamplingMessage
from ..wire.utilities import LoggingLevel
from .questions import Ask, Elicit, ElicitUrl, Roots, Sample

if TYPE_CHECKING:
    from .connection import Connection
    from .links import Link

__all__ = ["Context", "Delivery", "LiveDelivery", "TaskDelivery"]

logger = logging.getLogger("mcp_tasks.peer")

T = TypeVar("T")


class Delivery(ABC):
    """How a handler's words reach the other side, and where its journal is."""

    task_id: TaskId | None = None

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """The connection to the requestor. Raises `ConnectionClosed` while there is none."""

    @property
    @abstractmethod
    def latest(self) -> Connection:
        """The last connection to the requestor, open or not."""

    @property
    @abstractmethod
    def related_to(self) -> RequestId | None:
        """The request of theirs with which what we say goes along, if there is one now."""

    @abstractmethod
    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        """Ask, and return the answer as JSON."""

    @abstractmethod
    def journal(self) -> Mapping[str, JSON]:
        """What was answered or noted before, by key."""

    @abstractmethod
    async def note(self, key: str, value: JSON) -> None:
        """Add to the journal."""

    @abstractmethod
    async def report(self, message: str) -> bool:
        """Make `message` the status message; False where there is no such thing."""

    @abstractmethod
    def active(self) -> bool:
        """Whether the request or task is still going on; nothing is said about it afterwards."""


class LiveDelivery(Delivery):
    """A plain request, answered on the connection it came by."""

    def __init__(self, connection: Connection, id: RequestId) -> None:
        self._connection = connection
        self._id = id
        self._journal: dict[str, JSON] = {}

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def latest(self) -> Connection:
        return self._connection

    @property
    def related_to(self) -> RequestId:
        return self._id

    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        answer = await self._connection.call(question.method, question.params(), related_to=self._id)
        self._journal[key] = answer
        return answer

    def journal(self) -> Mapping[str, JSON]:
        return self._journal

    async def note(self, key: str, value: JSON) -> None:
        self._journal[key] = value

    async def report(self, message: str) -> bool:
        return False

    def active(self) -> bool:
        return self._connection.is_serving(self._id)


class TaskDelivery(Delivery):
    """A task, whose requestor may be on another connection by now, or on none."""

    def __init__(self, registry: TaskRegistry, id: TaskId, link: Link) -> None:
        self.task_id: TaskId = id
        self._registry = registry
        self._link = link

    @property
    def connection(self) -> Connection:
        return self._link.connection

    @property
    def latest(self) -> Connection:
        return self._link.latest

    @property
    def related_to(self) -> RequestId | None:
        return self._link.related_to

    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        params = question.params()
        lowered = (await self._link.wait()).prepare(question.method, params)
        await self._registry.ask(self.task_id, key, Question(question.method, lowered))
        answer: JSONObject | None = None
        answered = False
        try:
            while answer is None:
                connection = await self._link.wait()
                try:
                    with self._link.asking() as on_mint:
                        answer = await connection.call(
                            question.method,
                            params,
                            related_task=self.task_id,
                            related_to=self._link.related_to,
                            on_mint=on_mint,
                        )
                except ConnectionClosed:
                    continue  # the question stays open until the requestor is back or the task's time is up
            await self._registry.answer(self.task_id, key, answer)
            answered = True
        finally:
            if not answered:
                await self._registry.give_up(self.task_id, key)
        return answer

    def journal(self) -> Mapping[str, JSON]:
        return self._registry.journal(self.task_id)

    async def note(self, key: str, value: JSON) -> None:
        await self._registry.note(self.task_id, key, value)

    async def report(self, message: str) -> bool:
        try:
            await self._registry.report(self.task_id, message)
        except TaskAlreadySettled:
            pass  # over already; the work is about to notice
        return True

    def active(self) -> bool:
        return self._registry.is_live(self.task_id)


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
        token = self._call.progress_token
        if token is None or not self._delivery.active():
            return
        try:
            await self.connection.send_progress(
                token, progress, total, message, self.task_id, self._delivery.related_to
            )
        except ConnectionClosed:
            logger.debug("progress of %s is lost: nobody is connected", self.method)

    async def report(self, message: str) -> None:
        """Say in words what is going on: as the status message of a task, or else as a server's log message.

        A plain request to a client has no place for it; it is then only logged here.
        """
        if await self._delivery.report(message):
            await trio.lowlevel.checkpoint()
            return
        if self.connection.side is Side.SERVER:
            await self.log("info", message)
        else:
            logger.info("%s: %s", self.method, message)

    async def log(self, level: LoggingLevel, data: JSON, logger: str | None = None) -> None:
        """Send a log message, if the requestor wants messages of this level (C25-253).

        Raises `LocalProtocolError` on a connection on which we are not the server.
        """
        await trio.lowlevel.checkpoint()
        try:
            await self.connection.send_log(level, data, logger, self.task_id, self._delivery.related_to)
        except ConnectionClosed:
            pass  # a log that nobody reads

    async def drop_stream(self, retry: float | None = None) -> None:
        """End the HTTP connection that is to carry the answer; the client comes back for it after `retry` seconds.

        For long work: nobody holds a connection open meanwhile, and nothing is lost (C25-094 to C25-096). Does nothing
        where there is no such connection, or the client does not know how to come back.
        """
        related_to = self._delivery.related_to
        if related_to is not None and not self._delivery.latest.closed:
            self._delivery.latest.transport.drop_stream(related_to, None if retry is None else round(retry * 1000))
        await trio.lowlevel.checkpoint()

    # --- asking ---------------------------------------------------------------------------------------------------

    async def ask(self, key: str, question: Ask[T]) -> T:
        """Ask the other side, under a key that this handler uses for nothing else.

        Raises `CapabilityMissing` if they cannot be asked that, `RequestFailed` if they answered with an error,
        `RemoteProtocolError` for an answer that is none, `ConnectionClosed` if they are gone for good.
        """
        self._use(key)
        journal = self._delivery.journal()
        answer = journal[key] if key in journal else await self._delivery.ask(key, question)
        return question.read(self._delivery.latest.lift_result(question.method, answer))

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
        return await self.ask(key or self._derive("sample"), Sample(messages, **params))

    async def roots(self, *, key: str | None = None) -> list[Root]:
        """The other side's roots."""
        return await self.ask(key or self._derive("roots"), Roots())

    async def once(self, key: str, effect: Callable[[], Awaitable[T]]) -> T:
        """Do something that must not be done twice, and keep what it returned, which has to be JSON.

        A handler that runs again finds the value in its journal and does not call `effect`. It is kept after
        `effect` has returned: a crash in between is the one moment at which it may happen twice.
        """
        self._use(key)
        journal = self._delivery.journal()
        if key in journal:
            return journal[key]  # type: ignore[no-any-return]
        value = await effect()
        await self._delivery.note(key, value)
        return value

    def _derive(self, kind: str) -> str:
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        return f"{kind}-{count}"

    def _use(self, key: str) -> None:
        if key in self._used:
            raise LocalProtocolError(f"the key {key!r} was used before in this handler")
        self._used.add(key)
