"""What the work of a task asks its requestor, and what becomes of that: asked, answered, refused, given up.

A key names one question for ever. The work adds questions and gives them up; answers come from wherever the requestor
is, and the first counts. Each of these is a change of the record, made by `advance` like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import trio

from .._unset import JSON, UNSET, TaskId
from .._workers import Job
from ..errors import LocalProtocolError, RequestFailed, StoreFailed, TaskAlreadySettled
from .live import REFUSED, Change, Fresh, Live, closed, is_used
from .model import Question, TaskRecord
from .state import TaskInput

__all__ = ["Questions"]

_COMMIT_SECONDS = 5.0  # how long a commit may hold up a cancellation
_RETRY_SECONDS = 1.0


class Questions(ABC):
    """The part of a registry that deals with questions."""

    lives: dict[TaskId, Live]

    @abstractmethod
    def living(self, id: TaskId) -> Live:
        """A task whose work is here. Raises `TaskAlreadySettled`."""

    @abstractmethod
    async def found(self, id: TaskId) -> Live:
        """A task, wherever its work is. Raises `TaskAlreadySettled` if it is gone."""

    @abstractmethod
    async def advance(self, live: Live, change: Callable[[TaskRecord], Change | None]) -> TaskRecord:
        """Commit a change to a task, on whatever it is by then, and tell of it. Raises `TaskAlreadySettled`."""

    @abstractmethod
    def goes_on(self, record: TaskRecord) -> bool:
        """Whether another process will run it again, so that its end with this one is none."""

    async def ask(self, id: TaskId, key: str, question: Question) -> None:
        """Record that the work waits for the answer to a question. Raises `TaskAlreadySettled`.

        Raises `LocalProtocolError` if the key was used before: a key names one question for ever. Work that was begun
        again comes to its questions anew; one that is still open then stays as the requestor has seen it.
        """
        live, fresh = self.living(id), Fresh(key)

        def change(record: TaskRecord) -> Change | None:
            asked = record.questions.get(key)
            if asked is not None and key in live.inherited:
                if asked.method != question.method:
                    raise LocalProtocolError(f"task {id}: {key!r} was asked as {asked.method} before its interruption")
                return None
            if fresh.done(record):
                return None
            return TaskInput.ASK, {"questions": {**record.questions, key: question}}

        await self.advance(live, change)
        live.inherited.discard(key)

    async def ask_ahead(self, id: TaskId, questions: Mapping[str, Question]) -> None:
        """Record that the work is about to ask all of these, so that they are seen together. Raises as `ask` does.

        Each has yet to be asked, without a checkpoint in between.
        """
        live = self.living(id)

        def change(record: TaskRecord) -> Change | None:
            new = {key: question for key, question in questions.items() if not is_used(record, key)}
            return (TaskInput.ASK, {"questions": {**record.questions, **new}}) if new else None

        await self.advance(live, change)
        live.inherited.update(key for key in questions if key in live.record.questions)

    async def answer(self, id: TaskId, answers: Mapping[str, JSON]) -> None:
        """Record answers; when the last that was due has come, the task works again. Raises `TaskAlreadySettled`.

        A key under which nothing is being asked (any more) is passed over: the first answer counts.
        """

        def change(record: TaskRecord) -> Change | None:
            return closed(record, {key: value for key, value in answers.items() if key in record.questions})

        await self.advance(await self.found(id), change)

    async def answered(self, id: TaskId, key: str) -> JSON:
        """Wait for the answer to a question, whoever brings it.

        Raises `TaskAlreadySettled`, and `RequestFailed` if another process was told that there will be none.
        """
        while key not in (live := self.living(id)).record.answers:
            if (refused := live.record.answers.get(REFUSED + key)) is not None:
                raise RequestFailed(*refused)
            await live.change()
        return live.record.answers[key]

    async def refuse(self, id: TaskId, key: str, error: RequestFailed) -> None:
        """Record that a question is not answered but with an error, for the process that waits for it."""
        refused = [error.code, error.message, *([] if error.data is UNSET else [error.data])]

        def change(record: TaskRecord) -> Change | None:
            if key not in record.questions:
                return None
            given, edits = closed(record, {}, [key]) or (None, {})
            return given, {**edits, "answers": {**record.answers, REFUSED + key: refused}}

        await self.advance(await self.found(id), change)

    async def give_up(self, id: TaskId, key: str) -> None:
        """Record that a question will not be answered. Does nothing if it was, or if the task is over."""
        live = self.lives.get(id)
        if live is None:
            return
        if live.home is not None and self.goes_on(live.record):
            # It may be the whole process that ends: then nothing is given up, and the next one finds it open.
            live.home.put(_Withdrawal(self, live, key))
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _COMMIT_SECONDS):
            await self.withdraw(live, key)

    async def withdraw(self, live: Live, key: str) -> None:
        """Commit that a question is given up."""

        def change(record: TaskRecord) -> Change | None:
            return closed(record, {}, [key]) if key in record.questions else None

        try:
            await self.advance(live, change)
        except TaskAlreadySettled:
            pass


class _Withdrawal(Job):
    """Gives up a question, unless everything is ending, or its work goes on elsewhere."""

    __slots__ = ("_key", "_live", "_registry")

    def __init__(self, registry: Questions, live: Live, key: str) -> None:
        super().__init__()
        self._registry = registry
        self._live = live
        self._key = key

    async def do(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._live.left:
            try:
                await self._registry.withdraw(self._live, self._key)
            except StoreFailed:
                await trio.sleep(_RETRY_SECONDS)  # nobody else will say that it is not asked any more
            else:
                return
