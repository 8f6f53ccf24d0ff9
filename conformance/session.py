"""The judge at one end of a connection: a script that judges what comes, and remembers what was said.

What is common to both legs is here; `server_session` talks to a server under test and `client_session` to a client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import trio
from attrs import frozen

from mcp_tasks import UNSET, ConnectionClosed
from mcp_tasks.testing import Frame, Monitor, NothingCame, Remote, Wire

from .answers import answer_to
from .names import RELATED
from .profile import Ability, Profile
from .scenario import Broken, NotApplicable
from .verdicts import Finding

__all__ = ["TERMINAL", "MadeTask", "Session", "related_to"]

TERMINAL = frozenset({"completed", "failed", "cancelled"})


def related_to(task_id: str) -> dict[str, Any]:
    """The ``_meta`` of what belongs to a task (2025-11-25)."""
    return {RELATED: {"taskId": task_id}}


@frozen
class MadeTask:
    """A task that the other side has made for us."""

    id: str
    task: Mapping[str, Any]
    """As it was when it was made."""
    frame: Frame
    request: Frame


class Session(Remote, ABC):
    """The judge's end. Everything the program under test sends goes past the monitor, too."""

    def __init__(
        self,
        wire: Wire,
        nursery: trio.Nursery,
        *,
        era: str,
        transport: str,
        profile: Profile,
        patience: float,
    ) -> None:
        self.era = era
        self.transport = transport
        self.profile = profile
        self.capabilities: dict[str, Any] = {}
        """What the program has announced."""
        self.findings: list[Finding] = []
        self.watching = Monitor(judges=wire.side.other)
        self._lost: dict[int | str, Frame] = {}
        self._by_channel: dict[str, int | str] = {}
        wire.taps.append(self.watching.see)
        wire.taps.append(self._follow)
        super().__init__(wire, nursery, patience=patience)
        self.monitor = self.watching

    @abstractmethod
    async def open(self) -> None:
        """Get as far as there is something to judge. Raises `Broken`, `NotApplicable`."""

    # --- judging --------------------------------------------------------------------------------------------------

    def judge(self, id: str, kept: object, expected: str, frame: Frame | None = None) -> bool:
        """Say whether a requirement was kept; `expected` says what should have been, or what was found for a MAY."""
        self.findings.append(Finding(id, bool(kept), expected, frame))
        return bool(kept)

    def skip(self, id: str, why: str) -> None:
        """Say why a requirement cannot be judged of this program."""
        self.findings.append(Finding(id, None, why))

    def judged(self) -> list[Finding]:
        """What was found, by the scenario and by the monitor."""
        side = self.wire.side.other
        passive = [
            Finding(violation.id, False, violation.expected, violation.frame) for violation in self.watching.violations
        ]
        broken = {finding.id for finding in passive}
        seen = [id for (id, blamed), count in self.watching.counts.items() if blamed is side and count]
        return [*self.findings, *passive, *(Finding(id, True, "seen") for id in seen if id not in broken)]

    def need(self, ability: str) -> Ability:
        """How to have the program show something. Raises `NotApplicable`."""
        found = self.profile.find(ability)
        if found is None:
            raise NotApplicable(f"needs the ability `{ability}`")
        return found

    # --- exchanges ------------------------------------------------------------------------------------------------

    async def begin(self, method: str, params: Any = UNSET, **more: Any) -> Frame:
        """Send a request and do not wait; returns the frame that it went out in."""
        id = await self.ask(method, params, **more)
        return next(frame for frame in reversed(self.wire.frames) if frame.id == id and frame.is_request)

    async def outcome(self, request: Frame) -> Frame:
        """Wait for the answer to a request. Over HTTP it may be a frame without a message: a bare status, or the end.

        Raises `Broken` if nothing comes, or the connection ends.
        """
        id = request.id
        assert id is not None

        def arrived() -> Frame | None:
            if self.answered(id):
                return self.frame_of(self._answers[id])
            return self._lost.get(id)

        try:
            with trio.fail_after(self.patience):  # whatever else comes meanwhile
                found = await self.until(arrived, f"the answer to {request.method}")
        except (NothingCame, trio.TooSlowError):
            raise Broken(f"no answer to {request.method} came within {self.patience:g} seconds") from None
        except ConnectionClosed as closed:
            raise Broken(f"no answer to {request.method}: {closed}") from None
        assert found is not None
        return found

    def has_come(self, request: Frame) -> bool:
        """Whether the answer to a request is there."""
        return request.id is not None and (self.answered(request.id) or request.id in self._lost)

    async def call(self, method: str, params: Any = UNSET, **more: Any) -> Frame:
        """Send a request and wait for the answer, whichever it is. Raises `Broken`."""
        return await self.outcome(await self.begin(method, params, **more))

    async def result_of(self, method: str, params: Any = UNSET) -> dict[str, Any]:
        """Send a request that has to succeed. Raises `Broken` if it does not."""
        return result_in(await self.call(method, params), method)

    async def come(self, method: str, params: Any = UNSET) -> Frame:
        """Wait for a request or notification of theirs. Raises `Broken`."""
        try:
            with trio.fail_after(self.patience):
                return self.frame_of(await self.expect(method, params))
        except (NothingCame, trio.TooSlowError):
            raise Broken(f"no {method} came within {self.patience:g} seconds") from None
        except ConnectionClosed as closed:
            raise Broken(f"no {method} came: {closed}") from None

    def wake(self) -> None:
        """Have whoever waits until something is true look again: it may have become so without anything coming."""
        self._arrived.unpark_all()

    # --- what the other side has announced, and the tasks that it runs -----------------------------------------------

    def announces(self, *path: str) -> bool:
        """Whether the program has announced a capability."""
        found: Any = self.capabilities
        for name in path:
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return True

    def require(self, *path: str) -> None:
        """Raises `NotApplicable` if the program has not announced this."""
        if not self.announces(*path):
            raise NotApplicable(f"the program does not announce {'.'.join(path)}")

    def request_for(self, ability: str) -> tuple[str, dict[str, Any]]:
        """The method and params of an ability. Raises `NotApplicable`."""
        return self.need(ability).request()

    async def make_task(self, ability: str, task: Any = None, **meta: Any) -> MadeTask:
        """Have the program make a task. Raises `NotApplicable` where it cannot, and `Broken` where it does not."""
        method, params = self.request_for(ability)
        self.require("tasks", "requests", *method.split("/"))
        if meta:
            params["_meta"] = meta
        request = await self.begin(method, {**params, "task": {} if task is None else task})
        frame = await self.outcome(request)
        found = result_in(frame, method).get("task")
        if not isinstance(found, dict) or not isinstance(found.get("taskId"), str):
            raise Broken(f"`{ability}` was not made a task")
        return MadeTask(found["taskId"], found, frame, request)

    async def get(self, task_id: str) -> Frame:
        """The answer to ``tasks/get``."""
        return await self.call("tasks/get", {"taskId": task_id})

    async def settled(self, task_id: str, *, answering: bool = True) -> dict[str, Any]:
        """Poll until the task is over, and return its last state; questions are answered meanwhile. Raises `Broken`."""
        answered: set[str] = set()
        deadline = trio.current_time() + self.patience
        while True:
            task = result_in(await self.get(task_id), "tasks/get")
            if task.get("status") in TERMINAL:
                return task
            questions = task.get("inputRequests")
            if answering and isinstance(questions, dict) and (fresh := questions.keys() - answered):
                answers = {
                    key: answer_to(questions[key].get("method", ""), questions[key].get("params") or {})
                    for key in fresh
                }
                answered |= fresh
                await self.result_of("tasks/update", {"taskId": task_id, "inputResponses": answers})
                continue
            if trio.current_time() > deadline:
                raise Broken(f"after {self.patience:g} seconds the task is still {task.get('status')}")
            interval = task.get("pollInterval", task.get("pollIntervalMs", 100))
            await trio.sleep(min(max(interval if isinstance(interval, (int, float)) else 100, 20), 500) / 1000)

    def _follow(self, frame: Frame) -> None:
        # Over HTTP a request may get no answer at all: its exchange ends, or is refused with a bare status.
        if frame.sender is self.wire.side:
            if frame.is_request and frame.id is not None and frame.channel:
                self._by_channel[frame.channel] = frame.id
            return
        if frame.is_response:
            id = self._by_channel.pop(frame.channel, None)
            if id is not None and frame.id is None:
                self._lost[id] = frame  # an error that does not say which request it is about, but for where it came
        elif frame.event and frame.event not in ("stream", "primed"):
            id = self._by_channel.pop(frame.channel, None)
            if id is not None:
                self._lost[id] = frame


def result_in(frame: Frame, what: str) -> dict[str, Any]:
    """The result that an answer has. Raises `Broken` if it has none."""
    if frame.error is not None:
        raise Broken(f"{what} was answered with the error {frame.error.get('code')}: {frame.error.get('message')}")
    if "result" not in frame.object:
        raise Broken(f"{what} was not answered: {frame.status or ''} {frame.event}".strip())
    return frame.result
