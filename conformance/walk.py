"""The random walk: any order of task operations, with a model of what may come of each.

Scenarios ask what somebody thought of. The walk draws operations on a handful of tasks (make, get, wait for the result,
cancel, list, answer, let time pass) and compares every answer with the model; the monitor looks on as always. When
something does not fit, hypothesis looks for the shortest walk that still shows it, and its transcript is the report.

The model knows sets of states, not one: a task may end at any moment, so only what has been *seen* narrows it down.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from mcp_tasks.testing import Frame

from .ledger import Leg
from .profile import Profile
from .runner import play
from .scenario import Broken, NotApplicable, Scenario
from .session import TERMINAL, Session
from .subjects import ClientSubject, ServerSubject
from .verdicts import Finding

__all__ = ["OPERATIONS", "Found", "Step", "Walk", "explain", "walk"]

OPERATIONS = ("make", "get", "result", "cancel", "list", "settle", "unknown", "update")
"""What a step can be; ``settle`` waits until a task is over."""
_ABILITIES = ("quick", "slow", "fails", "is_error", "asks")
_MOST_TASKS = 4


@frozen
class Step:
    """One operation, on the task made `task` steps of ``make`` ago, or with that ability."""

    what: str
    task: int = 0

    def __str__(self) -> str:
        return (
            f"{self.what} {_ABILITIES[self.task % len(_ABILITIES)]}"
            if self.what == "make"
            else f"{self.what} {self.task}"
        )


@define
class _Task:
    id: str
    ability: str
    ended: str | None = None
    """The terminal status that was seen."""
    result: str | None = None
    """What tasks/result said, with its names left out."""
    stopped: bool = False
    """Whether a cancellation was acknowledged."""


@define
class Found:
    """A walk that showed something."""

    steps: Sequence[Step]
    findings: Sequence[Finding]
    frames: Sequence[Frame]


@define
class Walk:
    """The model, while it walks."""

    session: Session
    tasks: list[_Task] = field(factory=list)
    listed: bool = True

    async def step(self, step: Step) -> None:
        """Take one step, and judge what comes of it."""
        if step.what == "make":
            if len(self.tasks) < _MOST_TASKS:
                await self._make(_ABILITIES[step.task % len(_ABILITIES)])
        elif step.what == "unknown":
            await self._unknown()
        elif step.what == "list":
            await self._list()
        elif self.tasks:
            task = self.tasks[step.task % len(self.tasks)]
            await getattr(self, f"_{step.what}")(task)

    @property
    def _modern(self) -> bool:
        return self.session.era == "2026-07-28"

    def _judge(self, old: str, new: str, kept: object, expected: str, frame: Frame) -> None:
        self.session.judge(new if self._modern else old, kept, expected, frame)

    async def _make(self, ability: str) -> None:
        try:
            made = await self.session.make_task(ability)
        except NotApplicable:
            return
        except Broken:
            if self._modern:
                return  # a call that failed at once became no task, as it may
            raise
        fresh = all(task.id != made.id for task in self.tasks)
        self._judge("T25-060", "X26-019", fresh, "the id is that of no other task", made.frame)
        self.tasks.append(_Task(made.id, ability))

    async def _get(self, task: _Task) -> None:
        shown = await self.session.get(task.id)
        self._judge("T25-014", "X26-041", shown.error is None, "a task that was made can be had", shown)
        self._saw(task, shown.result.get("status"), shown)

    def _saw(self, task: _Task, status: Any, frame: Frame) -> None:
        if task.ended is not None:
            same = status == task.ended
            self._judge("T25-064", "X26-036", same, f"a task that was {task.ended} stays {task.ended}", frame)
        if status in TERMINAL:
            task.ended = status
            if not self._modern and task.stopped:
                same = status == "cancelled"
                self.session.judge("T25-116", same, "a cancelled task stays cancelled", frame)
            if task.ability == "quick" and not task.stopped:
                self._judge("T25-128", "X26-054", status == "completed", "`quick` completes", frame)
            if task.ability == "fails" and not task.stopped:
                self._judge("T25-124", "X26-110", status == "failed", "a JSON-RPC error makes a task failed", frame)
            if task.ability == "is_error" and not task.stopped:
                wanted = "completed" if self._modern else "failed"
                self._judge("T25-125", "X26-028", status == wanted, f"isError makes a task {wanted}", frame)

    async def _settle(self, task: _Task) -> None:
        last = await self.session.settled(task.id)
        self._saw(task, last.get("status"), self.session.wire.frames[-1])

    async def _result(self, task: _Task) -> None:
        if self._modern:
            return
        if task.ended is None:
            await self._settle(task)
        answer = await self.session.call("tasks/result", {"taskId": task.id})
        said = _without_names(answer.object)
        if task.ended == "cancelled":
            self.session.judge("T25-094", answer.error is not None, "a cancelled task has no result", answer)
            return
        self.session.judge("T25-088", answer.is_response, "the outcome of a task that is over comes at once", answer)
        if task.result is not None:
            self.session.judge("T25-046", said == task.result, "the outcome can be read again", answer)
        task.result = said
        if task.ability == "fails":
            self.session.judge("T25-127", answer.error is not None, "the error is the outcome", answer)
        else:
            self.session.judge("T25-128", "result" in answer.object, "the result is the outcome", answer)

    async def _cancel(self, task: _Task) -> None:
        if not self._modern and not self.session.announces("tasks", "cancel"):
            return
        before = task.ended
        answer = await self.session.call("tasks/cancel", {"taskId": task.id})
        if self._modern:
            self.session.judge("X26-084", answer.error is None, "a cancellation is acknowledged", answer)
            task.stopped = True
        elif before is not None:
            code = answer.code
            self.session.judge("T25-113", code == -32602, f"a {before} task cannot be cancelled", answer)
        elif answer.error is None:
            self.session.judge("T25-115", answer.result.get("status") == "cancelled", "it is cancelled", answer)
            task.stopped, task.ended = True, "cancelled"

    async def _list(self) -> None:
        if self._modern or not self.session.announces("tasks", "list"):
            return
        ids: list[str] = []
        params: dict[str, Any] = {}
        for _ in range(50):
            answer = await self.session.call("tasks/list", params)
            ids += [str(task.get("taskId")) for task in answer.result.get("tasks") or () if isinstance(task, dict)]
            if answer.result.get("nextCursor") is None:
                break
            params = {"cursor": answer.result["nextCursor"]}
        missing = [task.id for task in self.tasks if task.id not in ids and not task.stopped]
        self.session.judge("T25-112", not missing, f"the list has {', '.join(missing) or 'every task'}", answer)
        self.session.judge("T25-110", len(ids) == len(set(ids)), "no task is listed twice", answer)

    async def _unknown(self) -> None:
        answer = await self.session.call("tasks/get", {"taskId": f"never-made-{len(self.tasks)}"})
        code = answer.code
        self._judge("T25-130", "X26-105", code == -32602, "an unknown task is -32602", answer)

    async def _update(self, task: _Task) -> None:
        if not self._modern:
            return
        answers = {"never-asked": {"action": "decline"}}
        answer = await self.session.call("tasks/update", {"taskId": task.id, "inputResponses": answers})
        self.session.judge("X26-076", answer.error is None, "an answer that nobody asked for is passed over", answer)


def _without_names(message: dict[str, Any]) -> str:
    body = {name: value for name, value in message.items() if name != "id"}
    if isinstance(body.get("result"), dict):
        body["result"] = {name: value for name, value in body["result"].items() if name != "_meta"}
    return json.dumps(body, sort_keys=True)


async def _walk(
    subject: ServerSubject | ClientSubject, profile: Profile, era: str, steps: Sequence[Step], patience: float
) -> Found | None:
    async def along(session: Session) -> None:
        if era != "2026-07-28":
            session.require("tasks")
        model = Walk(session)
        for step in steps:
            await model.step(step)

    leg: Leg = "server" if isinstance(subject, ServerSubject) else "client"
    played = await play(subject, Scenario("walk", along, (), leg, era), profile, patience=patience)
    broken = [finding for finding in played.findings if finding.kept is False]
    if played.trouble is not None:
        broken.append(Finding("T25-014" if era != "2026-07-28" else "X26-041", False, played.trouble))
    return Found(steps, broken, played.frames) if broken else None


def walk(
    subject: ServerSubject | ClientSubject,
    profile: Profile,
    *,
    era: str,
    walks: int = 50,
    steps: int = 15,
    seed: int | None = None,
    patience: float = 10.0,
    ignore: Sequence[str] = (),
    virtual: bool = False,
) -> Found | None:
    """Walk at random, `walks` times; the shortest walk that shows something, or None.

    `ignore` are requirements that are known to be broken; `virtual` is for programs in this process, whose time may
    jump. Needs hypothesis.
    """
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import find as look
    from hypothesis import strategies as st
    from hypothesis.errors import NoSuchExample

    last: dict[tuple[Step, ...], Found] = {}

    def shows(taken: list[Step]) -> bool:
        clock = MockClock(autojump_threshold=0) if virtual else None
        found = trio.run(partial(_walk, subject, profile, era, taken, patience), clock=clock)
        if found is not None:
            found.findings = [finding for finding in found.findings if finding.id not in ignore]
        if found is None or not found.findings:
            return False
        last[tuple(taken)] = found
        return True

    one = st.builds(Step, st.sampled_from(OPERATIONS), st.integers(0, len(_ABILITIES) - 1))
    how = settings(
        max_examples=walks,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    start = st.lists(one, min_size=1, max_size=steps).map(lambda some: [Step("make", 0), *some])
    try:
        shortest = look(start, shows, settings=how, random=random.Random(seed))
    except NoSuchExample:
        return None
    return last[tuple(shortest)]


def explain(found: Found) -> str:
    """A walk for people: its steps, what was wrong, and everything that was said."""
    lines = [f"after {', '.join(map(str, found.steps))}:"]
    lines += [f"  {finding.id}: {finding.expected}" for finding in found.findings]
    return "\n".join([*lines, *(f"    {frame}" for frame in found.frames)])
