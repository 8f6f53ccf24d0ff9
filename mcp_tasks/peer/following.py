"""Following a task to its end in an era in which its outcome is part of what it looks like.

The task is asked for at the pace its server wants, more slowly while nothing changes, and hardly ever while the server
tells of its changes by itself. Its questions are put to our own handlers, each once, and answered one by one.

Spec: SEP-2663 "Task Polling", "Task Update Requests", "Notifications" (X26-025 to X26-101).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from .._unset import UNSET, JSONObject, TaskId
from ..dialects.base import Report, Topics
from ..errors import ConnectionClosed, HttpError, MCPError, RemoteProtocolError, RequestFailed, TaskCancelled
from ..tasks.model import Question
from ..wire.tasks import TaskStatus
from ._wait import Bell, servants
from .conversation import Listening

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
        return await _Follower(connection, handle, nursery).run()
    raise AssertionError("unreachable")


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
        self._asking: set[str] = set()  # the keys of questions that our handlers have before them

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
                for key, question in report.questions.items():
                    if key not in handle.answered and key not in self._asking:  # X26-066, X26-075
                        self._asking.add(key)
                        self._nursery.start_soon(self._answer, key, question)
            if not self._now:
                with trio.move_on_after(self._pause()) as waited:
                    await self._wake.wait()
                if not waited.cancelled_caught and not self._now:
                    continue
            self._now = False
            await self._poll()

    def _pause(self) -> float:
        pause = self._handle.interval() * (_WHILE_TOLD if self._listening.working else self._slower)
        return min(pause, max(_LONGEST_SECONDS, self._handle.interval()))

    async def _poll(self) -> None:
        before = self._handle.report
        try:
            await self._handle.status()
        except (ConnectionClosed, HttpError) as failure:
            # It can be asked for again: what was lost was one question, not the task.
            self._attempts += 1
            passing = not isinstance(failure, HttpError) or failure.status >= 500
            if self._connection.closed or not passing or self._attempts > _ASKED_AGAIN:
                raise
            return
        self._attempts = 0
        if before is not None and self._handle.report == before:
            self._slower = min(self._slower * _SLOWER, _SLOWEST)

    async def _answer(self, key: str, question: Question) -> None:
        answer = await self._connection.service.answer(question)
        method, params = self._connection.dialect.update_task(self._handle.id, {key: answer})
        self._handle.answered.add(key)  # a second answer would be passed over, should this one be lost
        try:
            await self._connection.call(method, params)
        except (RequestFailed, ConnectionClosed, HttpError) as failure:
            # Whether it has arrived is seen by what the task looks like next.
            logger.info("%r: the answer %r was not taken: %s", self._handle, key, failure)
        self._now = True
        self._wake.ring()

    async def _listen(self) -> None:
        self._listening.on_change = self._listened
        try:
            async with self._listening:
                await trio.sleep_forever()
        except MCPError as failure:
            logger.debug("%r: the server does not tell of it: %s", self._handle, failure)

    def _listened(self) -> None:
        # What has changed before the server began to tell, or since it stopped, nobody has told.
        self._now = True
        self._wake.ring()


def _outcome(report: Report) -> JSONObject:
    task = report.task
    if task.status is TaskStatus.CANCELLED:
        told = task.status_message
        raise TaskCancelled(TaskId(task.task_id)) if told is UNSET else TaskCancelled(TaskId(task.task_id), told)
    if isinstance(report.outcome, RequestFailed) and task.status is TaskStatus.FAILED:
        raise report.outcome
    if report.outcome is None or isinstance(report.outcome, RequestFailed):
        raise RemoteProtocolError(f"task {task.task_id} is {task.status}, yet it does not say how it ended")
    return report.outcome
