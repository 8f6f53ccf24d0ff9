"""The judge as receiver of tasks (2025-11-25): it runs them, or says so, and looks at what the requestor does.

A requestor owes the same, whether it is a client that calls a tool or a server that has the client's model asked. So
the scenarios are the same, too, and what differs is here: how the program is brought to ask for a task, and how one
sees that it has done so. A client is sent on its errand; a server gets a call of the ability ``samples_as_task``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from mcp_tasks import ConnectionClosed, RequestFailed
from mcp_tasks.testing import Frame, NothingCame

from .answers import answer_to
from .client_session import ClientSession, OurTask, tool_result
from .scenario import NotApplicable
from .session import TERMINAL, Session, related_to

__all__ = ["Host"]

_ASKING = ("sampling/createMessage", "elicitation/create")
_NEXT_SECONDS = 3.0


class Host:
    """Runs tasks for the program at the other end of a session. It answers all task methods from now on."""

    def __init__(self, s: Session) -> None:
        self.s = s
        self.tasks: dict[str, OurTask] = {}
        self.asked: list[Frame] = []
        """The requests that may be tasks: a client's calls, or what a server asks of us."""
        self.pending: list[Frame] = []
        """Every ``tasks/result`` that waits."""
        self.lists: list[Frame] = []
        self.on_poll: Callable[[OurTask], None] = lambda task: None
        """Called at each ``tasks/get``, before it is answered."""
        self.refusals = 0
        """How many more ``tasks/result`` are refused though the task is over."""
        self.cursors: list[str] = []
        """What the next pages of ``tasks/list`` are to be asked for by."""
        self.trigger: Frame | None = None
        """The call that has a server ask us."""
        self._number = 0
        s.on("tasks/get", self._get)
        s.on("tasks/cancel", self._cancel)
        s.on("tasks/list", self._list)
        s.on("tasks/result", self._wait)
        for method in ("tools/call",) if self.client else _ASKING:
            for message in s.unread(method):
                self.asked.append(s.frame_of(message))
                s._unread.remove(message)
            s.on(method, self._take)

    @property
    def client(self) -> bool:
        """Whether the requestor is a client."""
        return isinstance(self.s, ClientSession)

    @property
    def over(self) -> bool:
        """Whether the program is done with what it was asked for."""
        if isinstance(self.s, ClientSession):
            return self.s.gone
        return self.trigger is not None and self.s.has_come(self.trigger)

    # --- bringing it there ----------------------------------------------------------------------------------------

    async def request(self, number: int = 1) -> Frame:
        """The n-th request that may be a task. Raises `NotApplicable` if it makes none."""
        if not self.client and len(self.asked) < number:
            await self.provoke()
        # They are all made at once; where the first has come, the others are not far.
        await self.comes(lambda: len(self.asked) >= number, None if number == 1 else _NEXT_SECONDS)
        if len(self.asked) < number:
            raise NotApplicable("nothing was asked for that could be a task" + (", or but once" if number > 1 else ""))
        return self.asked[number - 1]

    async def provoke(self) -> None:
        """Call the tool that has a server ask for a task. Raises `NotApplicable`."""
        method, params = self.s.request_for("samples_as_task")
        self.trigger = await self.s.begin(method, params)

    async def comes(self, condition: Callable[[], Any], seconds: float | None = None) -> bool:
        """Whether something becomes true, before the program is done and within these seconds, or our patience."""
        s = self.s
        with trio.move_on_after(s.patience if seconds is None else seconds):
            try:
                await s.until(lambda: condition() or self.over, "what it should do")
            except (NothingCame, ConnectionClosed):
                pass
        return bool(condition())

    async def end(self, task: OurTask | None = None) -> Any:
        """Complete a task, if there is one, and see the program through; returns what a client printed."""
        if task is not None and task.status not in TERMINAL:
            task.result = self.plain_result(task.request)
            task.move("completed")
        for one in self.tasks.values():
            await self.release(one)
        for frame in self.asked:
            if not self._is_answered(frame):
                await self.answer(frame)
        if isinstance(self.s, ClientSession):
            return await self.s.printed()
        if self.trigger is not None:
            await self.s.outcome(self.trigger)
        return None

    # --- what it runs ---------------------------------------------------------------------------------------------

    async def run(self, request: Frame, **state: Any) -> OurTask:
        """Answer a request with a new task. Raises `NotApplicable` if none is asked for."""
        if "task" not in request.params:
            await self.answer(request)
            raise NotApplicable("it does not ask for a task")
        self._number += 1
        task = OurTask(f"5d1e7c02f4b94a6c9b3a80e7d21c{self._number:04}", request, **{"poll": 60, **state})
        self.tasks[task.id] = task
        await self.s.reply(request.object, {"task": self.shown(task)})
        return task

    async def answer(self, request: Frame) -> None:
        """Answer a request plainly."""
        await self.s.reply(request.object, self.plain_result(request))

    async def release(self, task: OurTask) -> None:
        """Answer every ``tasks/result`` that waits for a task which is over."""
        for frame in [one for one in self.pending if one.params.get("taskId") == task.id]:
            self.pending.remove(frame)
            try:
                await self.s.reply(frame.object, self._outcome(task))
            except RequestFailed as failed:
                await self.s.refuse(frame.object, failed.code, failed.message)

    def plain_result(self, request: Frame) -> dict[str, Any]:
        """The result of what was asked for."""
        if request.method == "tools/call":
            return tool_result("done")
        return answer_to(request.method or "", request.params)

    def shown(self, task: OurTask) -> dict[str, Any]:
        """A task as ``tasks/get`` shows it."""
        found: dict[str, Any] = {
            "taskId": task.id,
            "status": task.status,
            "createdAt": _time(task.created),
            "lastUpdatedAt": _time(task.updated or task.created),
            "ttl": task.ttl,
        }
        if task.poll is not None:
            found["pollInterval"] = task.poll
        if task.message is not None:
            found["statusMessage"] = task.message
        return found

    def related(self, task: OurTask) -> dict[str, Any]:
        """The ``_meta`` of what belongs to a task."""
        return related_to(task.id)

    def _outcome(self, task: OurTask) -> dict[str, Any]:
        if task.status == "cancelled":
            raise RequestFailed(-32603, "The task was cancelled")
        if task.error is not None:
            raise RequestFailed(task.error["code"], task.error["message"])
        return {**(task.result or self.plain_result(task.request)), "_meta": related_to(task.id)}

    def _is_answered(self, request: Frame) -> bool:
        side = self.s.wire.side
        return any(
            frame.sender is side and frame.is_response and frame.id == request.id for frame in self.s.wire.frames
        )

    # --- what comes -----------------------------------------------------------------------------------------------

    def _take(self, request: dict[str, Any]) -> None:
        self.asked.append(self.s.frame_of(request))
        self.s.wake()

    def _task(self, request: dict[str, Any]) -> OurTask:
        task = self.tasks.get(str(self.s.frame_of(request).params.get("taskId")))
        if task is None:
            raise RequestFailed(-32602, "There is no such task")
        return task

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._task(request)
        task.polls.append(self.s.frame_of(request))
        self.on_poll(task)
        self.s.wake()
        return self.shown(task)

    def _wait(self, request: dict[str, Any]) -> dict[str, Any] | None:
        task = self._task(request)
        frame = self.s.frame_of(request)
        task.waits.append(frame)
        self.s.wake()
        if self.refusals:
            self.refusals -= 1
            raise RequestFailed(-32603, "The result cannot be had just now")
        if task.status in TERMINAL:
            return self._outcome(task)
        self.pending.append(frame)
        return None

    def _cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._task(request)
        task.cancels.append(self.s.frame_of(request))
        self.s.wake()
        if task.status in TERMINAL:
            raise RequestFailed(-32602, f"The task is already {task.status}")
        task.move("cancelled")
        return self.shown(task)

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        self.lists.append(self.s.frame_of(request))
        self.s.wake()
        more = {"nextCursor": self.cursors.pop(0)} if self.cursors else {}
        return {"tasks": [self.shown(task) for task in self.tasks.values()], **more}


def _time(when: Any) -> str:
    return str(when.isoformat(timespec="milliseconds")).replace("+00:00", "Z")
