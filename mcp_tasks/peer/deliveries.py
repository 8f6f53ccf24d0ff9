"""How a handler's words reach the other side, and where its journal is: one class for each situation.

A *live* request is asked back on its connection. A *task* keeps its questions in its record, where whoever asks for it
finds them, or has them sent to its requestor. A *round* is a request of an era in which servers ask nothing: the first
question ends the handler, the answer to its request says what has to be known, and the repeated request runs it again
with the answers. A handler sees none of this.

Spec: 2025-11-25 basic/utilities/tasks "Input Required Status"; 2026-07-28 basic/patterns/mrtr.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSON, JSONObject, RequestId, TaskId, Unset
from ..dialects.base import Side, Terms
from ..errors import (
    CapabilityMissing,
    ConnectionClosed,
    InvalidParams,
    LocalProtocolError,
    MCPError,
    RequestFailed,
    TaskAlreadySettled,
)
from ..tasks.model import EMPTY, Question
from ..tasks.registry import TaskRegistry
from ..trace import current_trace
from ..wire.jsonrpc import Notification
from .questions import Ask

if TYPE_CHECKING:
    from .connection import Connection
    from .links import Link

__all__ = ["Delivery", "LiveDelivery", "OutOfReach", "RoundDelivery", "TaskDelivery", "WrongAnswer"]

logger = logging.getLogger("mcp_tasks.peer")

_TOGETHER = 3  # turns of the scheduler in which questions count as asked at once


class OutOfReach(LocalProtocolError):
    """A question ends the handler, but not whoever asked it: shielded, or a task that is not the handler's own.

    The client is asked nevertheless, and finds the answer in the journal when the handler runs again.
    """


class WrongAnswer(InvalidParams):
    """What the client has brought does not answer what was asked. It may try again with the same state."""


class Delivery(ABC):
    """How a handler's words reach the other side, and where its journal is."""

    task_id: TaskId | None = None
    terms: Terms
    """The terms on which the request came."""
    side: Side
    """Which side we are to the requestor."""

    @property
    @abstractmethod
    def connection(self) -> Connection:
        """The connection to the requestor. Raises `ConnectionClosed` while there is none."""

    @property
    @abstractmethod
    def latest(self) -> Connection | None:
        """The last connection to the requestor, open or not; None if it has not been seen by this process."""

    @property
    @abstractmethod
    def related_to(self) -> RequestId | None:
        """The request of theirs with which what we say goes along, if there is one now."""

    @property
    @abstractmethod
    def log_level(self) -> str | None:
        """The least level of log messages to be sent; None if none are."""

    @abstractmethod
    async def tell(self, said: Notification, progress: float | None = None) -> None:
        """Send a notification, of how much `progress` if of any. It is lost if nobody is there to read it."""

    @abstractmethod
    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        """Ask, and return the answer as JSON."""

    async def ask_ahead(self, questions: Mapping[str, Ask[Any]]) -> None:
        """Let it be known that all of these are about to be asked, so that they are seen together."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    def journal(self) -> Mapping[str, JSON]:
        """What was answered or noted before, by key."""

    @abstractmethod
    async def confirm(self) -> None:
        """Make sure that the handler is still to go on, before a step that nobody can take back."""

    @abstractmethod
    async def note(self, key: str, value: JSON) -> None:
        """Add to the journal."""

    @abstractmethod
    async def report(self, message: str) -> bool:
        """Make `message` the status message; False where there is no such thing."""

    async def adjust(self, ttl_ms: int | Unset, poll_interval_ms: int | Unset) -> None:
        """Change for how long a task is kept, and how often to ask for it; does nothing where there is none."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    def active(self) -> bool:
        """Whether the request or task is still going on; nothing is said about it afterwards."""

    def wrong(self, key: str, error: MCPError) -> MCPError:
        """What a handler gets to see where an answer is none."""
        return error


class LiveDelivery(Delivery):
    """A plain request, answered on the connection it came by."""

    def __init__(self, connection: Connection, id: RequestId, terms: Terms) -> None:
        self.terms = terms
        self.side = connection.side
        self._connection = connection
        self._id = id
        self._job = connection.serving(id)
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

    @property
    def log_level(self) -> str | None:
        terms = self.terms
        return terms.log_level if terms.dialect.stateless else self._connection.log_level

    async def tell(self, said: Notification, progress: float | None = None) -> None:
        try:
            await self._connection.tell(said, self._id)
        except ConnectionClosed:
            logger.debug("%s is lost: nobody is connected", said.method)

    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        answer = await self._connection.call(question.method, question.params(), related_to=self._id)
        self._journal[key] = answer
        return answer

    def journal(self) -> Mapping[str, JSON]:
        return self._journal

    async def confirm(self) -> None:
        pass  # nobody else has the request

    async def note(self, key: str, value: JSON) -> None:
        self._journal[key] = value

    async def report(self, message: str) -> bool:
        return False

    def active(self) -> bool:
        # The id may be another request's by now.
        return self._job is not None and self._connection.serving(self._id) is self._job


class RoundDelivery(LiveDelivery):
    """A request in an era in which servers ask nothing: one round of it.

    `scope` is to be around the handler. `journal` is what earlier rounds brought, and `volunteered` are answers to
    what may never have been asked: good for a question under that key, and for nothing that was noted. `no_asking`, if
    not empty, says why there can be no questions. One that must not run twice has `repeats` unset: its first question
    calls for a task, as does whoever finds that it takes long; `promoted` then tells of the task's own delivery.
    """

    def __init__(
        self,
        connection: Connection,
        id: RequestId,
        terms: Terms,
        journal: Mapping[str, JSON],
        *,
        volunteered: Mapping[str, JSONObject] = EMPTY,
        repeats: bool = True,
        no_asking: str = "",
    ) -> None:
        super().__init__(connection, id, terms)
        self._journal.update(journal)
        self._volunteered = volunteered
        self.scope = trio.CancelScope()
        self.asked: dict[str, Question] = {}
        """What has to be known before the handler can go on."""
        self.turn = trio.Event()
        """Set when something has to be decided: it is over, or has to become a task."""
        self._repeats = repeats
        self._no_asking = no_asking
        self._promoting = False
        self._promoted = trio.Event()
        self._declined: Exception = LocalProtocolError("it has not become a task")
        self._task: TaskDelivery | None = None

    async def decided(self) -> None:
        """Wait, some turns at most, until a question either ends the handler or was given up by it."""
        while self.asked and not self.scope.cancel_called:
            await trio.lowlevel.checkpoint()

    # A task that is being made of it takes over everything.

    def promote(self) -> None:
        """A task is about to be made of it: what is asked and noted from now on waits for that."""
        self._promoting = True

    def promoted(self, task: TaskDelivery) -> None:
        """It is a task now."""
        self._task = task
        self._promoted.set()

    def declined(self, failure: Exception) -> None:
        """It could not become one, and goes on as a plain request; what must not run twice cannot ask."""
        self._promoting = False
        self._declined = failure
        self._promoted.set()

    @property
    def ends_with_questions(self) -> bool:
        """Whether a question can be the answer: not where there are none, in what must not run twice, or in a task."""
        return not self._no_asking and self._repeats and not self._promoting

    async def _later(self) -> TaskDelivery | None:
        if self._promoting:
            await self._promoted.wait()
        return self._task

    @property
    def task_id(self) -> TaskId | None:  # type: ignore[override]
        return None if self._task is None else self._task.task_id

    @property
    def connection(self) -> Connection:
        return self._connection if self._task is None else self._task.connection

    @property
    def related_to(self) -> RequestId | None:  # type: ignore[override]
        return self._id if self._task is None else self._task.related_to

    @property
    def log_level(self) -> str | None:
        return super().log_level if self._task is None else self._task.log_level

    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        lowered = _lowered(self.terms, question, self._connection.side)
        if self._no_asking:
            raise LocalProtocolError(self._no_asking)
        if key in self._volunteered:
            self.terms.dialect.check_answers(self._volunteered, {key: question.method}, "$.params.inputResponses")
            await self.note(key, self._volunteered[key])
            return self._volunteered[key]
        if not self._repeats:
            self.terms.dialect.require_tasks("a handler that cannot run twice has a question", self.terms.capabilities)
            self.turn.set()
            await self._promoted.wait()
            if self._task is None:
                raise self._declined
        task = await self._later()
        if task is not None:
            return await task.ask(key, question)
        self.asked[key] = lowered
        try:
            for _ in range(_TOGETHER):
                await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            if not self.scope.cancel_called:
                del self.asked[key]  # the handler itself has changed its mind
            raise
        self.scope.cancel()
        if trio.current_effective_deadline() > -math.inf:
            raise OutOfReach(f"{question.method}: the handler is run again once the client has answered {key!r}")
        await trio.sleep_forever()
        raise AssertionError("unreachable")

    async def ask_ahead(self, questions: Mapping[str, Ask[Any]]) -> None:
        if self._task is None:
            await super().ask_ahead(questions)
        else:
            await self._task.ask_ahead(questions)

    async def confirm(self) -> None:
        if self._task is not None:
            await self._task.confirm()

    async def note(self, key: str, value: JSON) -> None:
        task = await self._later()
        if task is None:
            self._journal[key] = value
        else:
            await task.note(key, value)

    def journal(self) -> Mapping[str, JSON]:
        return self._journal if self._task is None else self._task.journal()

    async def report(self, message: str) -> bool:
        return False if self._task is None else await self._task.report(message)

    async def adjust(self, ttl_ms: int | Unset, poll_interval_ms: int | Unset) -> None:
        if self._task is None:
            await super().adjust(ttl_ms, poll_interval_ms)
        else:
            await self._task.adjust(ttl_ms, poll_interval_ms)

    def active(self) -> bool:
        return super().active() if self._task is None else self._task.active()

    def wrong(self, key: str, error: MCPError) -> MCPError:
        return WrongAnswer(f"$.params.inputResponses.{key}: {error}") if self._task is None else error


class TaskDelivery(Delivery):
    """A task, whose requestor may be on another connection by now, or on none."""

    def __init__(self, registry: TaskRegistry, id: TaskId, link: Link, terms: Terms, side: Side) -> None:
        self.task_id: TaskId = id
        self.terms = terms
        self.side = side
        self._registry = registry
        self._link = link

    @property
    def connection(self) -> Connection:
        return self._link.connection

    @property
    def latest(self) -> Connection | None:
        return self._link.latest

    @property
    def related_to(self) -> RequestId | None:
        return self._link.related_to

    @property
    def log_level(self) -> str | None:
        connection = self._link.latest
        if self.terms.dialect.stateless:
            return None  # C26-410, X26-101
        if self._registry.shared is not None and (connection is None or connection.closed):
            return "debug"  # another process may have the connection, and knows
        return None if connection is None else connection.log_level

    async def tell(self, said: Notification, progress: float | None = None) -> None:
        try:
            connection = self.connection
            if self._link.further(progress):
                await connection.tell(said, self.related_to)
        except ConnectionClosed:
            if self._registry.shared is None:
                logger.debug("task %s: %s is lost: nobody is connected", self.task_id, said.method)
            else:
                await self._registry.others.say(self.task_id, {"method": said.method, "params": said.params})

    async def ask(self, key: str, question: Ask[Any]) -> JSONObject:
        asked = _lowered(self.terms, question, self.side)
        await self._registry.ask(self.task_id, key, asked)
        answer: JSONObject | None = None
        failure: Exception | None = None

        async def courier() -> None:
            # To where the requestor can be sent requests, if it ever is there.
            nonlocal failure
            try:
                await self._registry.answer(self.task_id, {key: await self._carried(question)})
            except TaskAlreadySettled:
                pass
            except Exception as error:
                failure = error
                nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(courier)
                try:
                    answer = await self._registry.answered(self.task_id, key)
                except (TaskAlreadySettled, RequestFailed) as none:
                    failure = none
                nursery.cancel_scope.cancel()
        finally:
            if answer is None:
                await self._registry.give_up(self.task_id, key)
        if answer is None:
            assert failure is not None
            raise failure
        return answer

    async def ask_ahead(self, questions: Mapping[str, Ask[Any]]) -> None:
        lowered = {key: _lowered(self.terms, question, self.side) for key, question in questions.items()}
        await self._registry.ask_ahead(self.task_id, lowered)

    async def confirm(self) -> None:
        await self._registry.confirm(self.task_id)

    async def _carried(self, question: Ask[Any]) -> JSONObject:
        params = question.params()
        while True:
            connection = await self._link.wait()
            try:
                with self._link.asking() as on_mint:
                    told = await connection.call(
                        question.method,
                        params,
                        related_task=self.task_id,
                        related_to=self._link.related_to,
                        on_mint=on_mint,
                    )
                    return connection.dialect.lift_answer(told)
            except ConnectionClosed:
                continue  # the question stays open until the requestor is back or the task's time is up
            except CapabilityMissing:
                if not self.terms.dialect.stateless:
                    raise
                await self._link.moved()  # it can be answered where the task came from

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

    async def adjust(self, ttl_ms: int | Unset, poll_interval_ms: int | Unset) -> None:
        try:
            await self._registry.adjust(self.task_id, ttl_ms=ttl_ms, poll_interval_ms=poll_interval_ms)
        except TaskAlreadySettled:
            pass  # over already; the work is about to notice

    def active(self) -> bool:
        return self._registry.is_live(self.task_id)


def _lowered(terms: Terms, question: Ask[Any], side: Side) -> Question:
    params = terms.dialect.lower_call(question.params(), stamp={**current_trace()})
    lowered: JSONObject = params if isinstance(params, dict) else {}
    terms.dialect.check_question(question.method, lowered, terms.capabilities, side)
    return Question(question.method, lowered)
