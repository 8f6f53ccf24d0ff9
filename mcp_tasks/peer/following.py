"""Following a task to its end in an era in which its outcome is part of what it looks like.

The task is asked for at the pace its server wants, more slowly while nothing changes, and hardly ever while the server
tells of its changes by itself. Its questions are put to our own handlers, each once, and answered one by one.

Spec: SEP-2663 "Task Polling", "Task Update Requests", "Notifications" (X26-025 to X26-101).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio

from .._unset import UNSET, JSONObject, TaskId
from ..dialects.base import Report, Topics
from ..errors import ConnectionClosed, HttpError, MCPError, RemoteProtocolError, RequestFailed, TaskCancelled
from ..tasks.model import Question
from ..wire.tasks import TaskStatus
from ._wait import Bell, servants
from .conversation import Listening, passing

if TYPE_CHECKING:
    from .connection import Connection
    from .handles import TaskHandle

__all__ = ["TERMINAL", "follow"]

logger = logging.getLogger("mcp_tasks.peer")

TERMINAL: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})
"""The statuses that never change."""

_SLOWER = 1.25  # each time nothing has changed
_SLOWEST = 4.0  # times the interval
_WHILE_TOLD = 8.0  # times the interval, while changes come by themselves
_LONGEST_SECONDS = 60.0
_ASKED_AGAIN = 5  # times in a row, for an answer that was lost on the way


async def follow(connection: Connection, handle: TaskHandle) -> JSONObject:
    """Wait until the task is over, and return its result.

    Raises `RequestFailed` with the error it ended in, `TaskCancelled`, what `Connection.call` raises, and what our own
    handlers raise when they are asked something, unwrapped.
    """
    async with servants() as nursery:
        follower = _Follower(connection, handle, nursery)
        return await follower.run()
    assert follower.failure is not None
    raise follower.failure  # out here, where it stays what it is


class _Follower:
    def __init__(self, connection: Connection, handle: TaskHandle, nursery: trio.Nursery) -> None:
        self._connection = connection
        self._handle = handle
        self._nursery = nursery
        self._wake = Bell()
        self._listening = Listening(connection, Topics(tasks=frozenset({handle.id})), keeps=0)
        self._slower = 1.0
        self._attempts = 0
        self._now = False
        self._looked_at = trio.current_time()
        self._told = False  # whether we have seen the task as it is since the server began to tell
        self.failure: Exception | None = None
        """What a question has come to that could not be answered."""
        self._asking: dict[str, trio.CancelScope] = {}  # what our handlers have been asked, by key

    async def run(self) -> JSONObject:
        handle = self._handle
        self._now = handle.task is not None and handle.task.status is not TaskStatus.WORKING
        handle.on_report = self._wake.ring
        self._nursery.start_soon(self._listen)
        seen: Report | None = None
        while True:
            report = handle.report
            if report is not None and report is not seen:
                if report.task.status in TERMINAL:
                    return _outcome(report)
                seen, self._slower = report, 1.0
                self._looked_at, self._told = trio.current_time(), self._listening.working
                for key, question in report.questions.items():
                    if key not in handle.answered and key not in self._asking:  # X26-066, X26-075
                        self._asking[key] = trio.CancelScope()
                        self._nursery.start_soon(self._answer, key, question, self._asking[key])
                if report.questions or report.task.status is not TaskStatus.INPUT_REQUIRED:
                    for key in self._asking.keys() - report.questions.keys():
                        self._asking.pop(key).cancel()  # withdrawn: nobody wants the answer any more (X26-061)
            if not self._now:
                with trio.move_on_at(self._looked_at + self._pause()) as waited:
                    await self._wake.wait()
                if not waited.cancelled_caught and not self._now:
                    continue
            self._now = False
            await self._poll()
            self._looked_at, self._told = trio.current_time(), self._listening.working

    def _pause(self) -> float:
        # What has changed before the server began to tell it has not told: the first look is at the usual time.
        told = self._told and self._listening.working
        pause = self._handle.interval() * (_WHILE_TOLD if told else self._slower)
        return min(pause, max(_LONGEST_SECONDS, self._handle.interval()))

    async def _poll(self) -> None:
        before = self._handle.report
        try:
            await self._handle.status()
        except (ConnectionClosed, HttpError) as failure:
            # It can be asked for again: what was lost was one question, not the task.
            self._attempts += 1
            if self._connection.closed or not passing(failure) or self._attempts > _ASKED_AGAIN:
                raise
            self._slower = min(self._slower * 2, _SLOWEST)
            return
        self._attempts = 0
        if before is not None and self._handle.report == before:
            self._slower = min(self._slower * _SLOWER, _SLOWEST)

    async def _answer(self, key: str, question: Question, asking: trio.CancelScope) -> None:
        try:
            with asking:
                answer = await self._connection.service.answer(question)
            if not asking.cancelled_caught:
                await self._hand_in(key, answer)
        except Exception as failure:
            if self.failure is None:
                self.failure = failure
            self._nursery.cancel_scope.cancel()

    async def _hand_in(self, key: str, answer: JSONObject) -> None:
        # The user has said it once; it is sent until the task does not ask for it any more (X26-066, X26-076).
        method, params = self._connection.dialect.update_task(self._handle.id, {key: answer})
        for left in reversed(range(_ASKED_AGAIN + 1)):
            self._handle.answered.add(key)
            try:
                await self._connection.call(method, params)
            except (RequestFailed, ConnectionClosed, HttpError) as failure:
                logger.info("%r: the answer %r was not taken: %s", self._handle, key, failure)
                refused = failure
            else:
                self._now = True
                self._wake.ring()
                return
            await trio.sleep(self._handle.interval())
            try:
                report = await self._handle.status()
            except (ConnectionClosed, HttpError) as failure:
                if self._connection.closed or not passing(failure):
                    raise
            else:
                if report.status is not TaskStatus.INPUT_REQUIRED or key not in self._outstanding():
                    return  # it has arrived, or comes too late
            self._handle.answered.discard(key)
            if not left or not passing(refused):
                raise refused

    def _outstanding(self) -> Mapping[str, Question]:
        return {} if self._handle.report is None else self._handle.report.questions

    async def _listen(self) -> None:
        self._listening.on_change = self._listened
        try:
            async with self._listening:
                await trio.sleep_forever()
        except MCPError as failure:
            logger.debug("%r: the server does not tell of it: %s", self._handle, failure)

    def _listened(self) -> None:
        if not self._listening.working:
            self._told = False
        self._wake.ring()


def _outcome(report: Report) -> JSONObject:
    task = report.task
    if task.status is TaskStatus.CANCELLED:
        told = task.status_message
        raise TaskCancelled(TaskId(task.task_id)) if told is UNSET else TaskCancelled(TaskId(task.task_id), told)
    if isinstance(report.outcome, RequestFailed) and task.status is TaskStatus.FAILED:
        raise report.outcome
    if report.outcome is None or isinstance(report.outcome, RequestFailed) or task.status is TaskStatus.FAILED:
        raise RemoteProtocolError(f"task {task.task_id} is {task.status}, yet it does not say how it ended")
    return report.outcome
