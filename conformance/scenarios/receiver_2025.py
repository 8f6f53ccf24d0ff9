"""What a receiver of tasks owes its requestor (2025-11-25). It is played with servers and with clients alike.

Here are the life of a task and what can be had of it; beside this, `announced_2025` has what is announced and kept to,
`questions_2025` what happens when a task asks, and `task_streams_2025` how tasks are over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import trio

from mcp_tasks.testing import Frame, HttpClientWire

from ..scenario import NotApplicable, scenario
from ..session import TERMINAL, MadeTask, Session, result_in

_OURS = "00000000-chosen-by-the-judge-00000000"
_AT_ONCE_SECONDS = 2.0
"""How long something may take that does not have to wait; the work of `slow` takes no less."""
_MEMBERS = {
    "tools/call": ("content",),
    "sampling/createMessage": ("role", "content", "model"),
    "elicitation/create": ("action",),
}
"""What the results of the methods that can be tasks always have."""


@scenario(
    "T25-014", "T25-029", "T25-044", "T25-046", "T25-061", "T25-064", "T25-066", "T25-067", "T25-088", "T25-128",
    leg="both",
    needs="quick",
)  # fmt: skip
async def a_quick_task(s: Session) -> None:
    """A task that ends at once: it is made, shown, and its result can be had, as often as one likes."""
    made = await s.make_task("quick")
    s.judge("T25-029", True, "the answer is a CreateTaskResult", made.frame)
    s.judge("T25-061", made.task.get("status") == "working", "a new task is working", made.frame)
    task = await s.settled(made.id)
    status = task["status"]
    result = await s.call("tasks/result", {"taskId": made.id})
    s.judge("T25-014", result.error is None or status == "failed", "tasks/get and tasks/result work", result)
    s.judge("T25-088", result.error is None or status == "failed", "the result of a task that is over comes", result)
    method = made.request.method or ""
    if status == "completed":
        members = _MEMBERS.get(method, ())
        whole = all(member in result.result for member in members)
        s.judge("T25-044", whole, f"the result is that of {method}: it has {', '.join(members)}", result)
        s.judge("T25-066", "result" in result.object, "a completed task has an outcome that can be had", result)
        s.judge("T25-128", "result" in result.object, "tasks/result gives the result", result)
    else:
        for id in ("T25-044", "T25-066", "T25-128"):
            s.skip(id, f"the task of `quick` is {status}")
    again = await s.call("tasks/result", {"taskId": made.id})
    s.judge("T25-046", _outcome(again.object) == _outcome(result.object), "asked again, it has the same outcome", again)
    if s.announces("tasks", "cancel"):
        await s.call("tasks/cancel", {"taskId": made.id})
    shown = await s.get(made.id)
    if shown.error is not None:
        for id in ("T25-064", "T25-067"):
            s.skip(id, "the task was deleted as soon as it was over")
        return
    s.judge("T25-064", shown.result.get("status") == status, f"a task that is {status} stays so", shown)
    s.judge("T25-067", shown.result.get("status") != "cancelled", "what has ended does not become cancelled", shown)


def _outcome(response: Mapping[str, Any]) -> Any:
    """What a response says, without what may differ from one to the next."""
    if "error" in response:
        return "error", response["error"].get("code") if isinstance(response["error"], dict) else None
    result = response.get("result")
    return {name: value for name, value in result.items() if name != "_meta"} if isinstance(result, dict) else result


@scenario(
    "T25-002", "T25-030", "T25-039", "T25-047", "T25-048", "T25-050", "T25-066", "T25-068", leg="both", needs="slow"
)
async def a_slow_task(s: Session) -> None:
    """A task is left to work; that somebody gives up waiting, or says something about it, changes nothing."""
    began = trio.current_time()
    made = await s.make_task("slow")
    soon = trio.current_time() - began < _AT_ONCE_SECONDS
    shown = await s.get(made.id)
    first = result_in(shown, "tasks/get")
    s.judge("T25-039", first.get("taskId") == made.id, "the members of the task are those of the result", shown)
    working = first.get("status") not in TERMINAL
    s.judge("T25-030", soon or working, "the handle comes while the work goes on", made.frame)
    claimed = working
    if working:
        await _abandon_a_wait(s, made)
        claim = {**made.task, "taskId": made.id, "status": "failed", "statusMessage": "so says the judge"}
        await s.notify("notifications/tasks/status", claim)
    status = (await s.settled(made.id))["status"]
    if claimed:
        s.judge("T25-047", status != "cancelled", "who gives up waiting does not cancel the task")
        s.judge("T25-002", status != "failed", "whose task it is says what becomes of it, and nobody else")
    else:
        for id in ("T25-047", "T25-002"):
            s.skip(id, "the task of `slow` was over too soon")
    began = trio.current_time()
    await s.call("ping")
    pinged = trio.current_time()
    result = await s.call("tasks/result", {"taskId": made.id})
    if status == "completed":
        # However slow the link, a result that is there takes not much longer than what has nothing to do at all.
        ready = trio.current_time() - pinged < pinged - began + _AT_ONCE_SECONDS
        expected = "once it is completed, its outcome can be had"
        s.judge("T25-066", ready and "result" in result.object, expected, result)
    else:
        s.skip("T25-066", f"the task of `slow` is {status}")
    _judge_reports(s, made)


async def _abandon_a_wait(s: Session, made: MadeTask) -> None:
    """Ask for the result, and give that up: by a notice, and over HTTP by hanging up, where that is ours to do."""
    waiting = await s.begin("tasks/result", {"taskId": made.id})
    await s.get(made.id)  # who has answered this has read the other
    await s.notify("notifications/cancelled", {"requestId": waiting.id, "reason": "the judge will not wait"})
    if isinstance(s.wire, HttpClientWire):
        for exchange in s.wire.exchanges:
            if exchange.channel == waiting.channel:
                exchange.cut()


def _judge_reports(s: Session, made: MadeTask) -> None:
    """What a receiver may tell of its task unasked, and how."""
    theirs = [frame for frame in s.wire.frames if frame.sender is s.wire.side.other]
    shown = [frame.result for frame in theirs if frame.is_response and frame.result.get("taskId") == made.id]
    told = [
        frame
        for frame in theirs
        if frame.method == "notifications/tasks/status" and frame.params.get("taskId") == made.id
    ]
    says = "changes of status are told" if told else "changes of status are not told, one has to ask"
    s.judge("T25-048", told, says, told[0] if told else None)
    untold = {one.get("status") for one in shown} - {frame.params.get("status") for frame in told} - {"working"}
    says = f"nothing was told of its being {', '.join(map(str, untold))}" if untold else "every change was told"
    s.judge("T25-050", untold, says)
    refreshed = any(
        one.get("status") == two.get("status") and any(one.get(name) != two.get(name) for name in _REFRESHED)
        for one, two in pairwise(shown)
    )
    says = f"while the status stays, {'one of' if refreshed else 'none of'} {', '.join(_REFRESHED)} changes"
    s.judge("T25-068", refreshed, says)


_REFRESHED = ("statusMessage", "pollInterval", "ttl")


@scenario("T25-043", "T25-055", "T25-089", "T25-092", "T25-115", "T25-117", leg="both", needs="slow")
async def a_cancelled_task(s: Session) -> None:
    """Somebody waits for the result of a task that is then cancelled."""
    s.require("tasks", "cancel")
    made = await s.make_task("slow")
    waiting = await s.begin("tasks/result", {"taskId": made.id})
    began = trio.current_time()
    shown = await s.get(made.id)
    free = not s.has_come(waiting) or trio.current_time() - began < _AT_ONCE_SECONDS / 2
    s.judge("T25-043", free, "tasks/get is answered while tasks/result waits", shown)
    working = result_in(shown, "tasks/get").get("status")
    if working in TERMINAL:
        raise NotApplicable("the task of `slow` was over before it could be cancelled")
    s.judge("T25-089", not s.has_come(waiting), "tasks/result waits until the task is over", waiting)
    cancelled = await s.call("tasks/cancel", {"taskId": made.id})
    await unless_over(s, made.id, cancelled)
    s.judge("T25-115", cancelled.result.get("status") == "cancelled", "the answer shows it cancelled", cancelled)
    whole = cancelled.result.get("taskId") == made.id and "createdAt" in cancelled.result
    s.judge("T25-055", whole, "the answer is the task, all of it", cancelled)
    released = await s.outcome(waiting)
    s.judge("T25-092", released.is_response, "who waits for the result is released", released)
    s.judge("T25-117", cancelled.error is None, "a task can be cancelled whether it waits or works", cancelled)


async def unless_over(s: Session, task_id: str, answer: Frame) -> None:
    """Raises `NotApplicable` if a task could not be cancelled because its work had ended first."""
    if answer.code != -32602:
        return
    shown = await s.get(task_id)
    if shown.error is not None or shown.result.get("status") in ("completed", "failed"):
        raise NotApplicable("the task was over before it could be cancelled")


@scenario("T25-130", leg="both", era="2025-11-25")
async def an_unknown_task(s: Session) -> None:
    """Nobody knows the task."""
    s.require("tasks")
    wrong: list[Any] = []
    for method in ("tasks/get", "tasks/result", "tasks/cancel"):
        if method == "tasks/cancel" and not s.announces("tasks", "cancel"):
            continue
        answer = await s.call(method, {"taskId": "no-such-task-4f1c"})
        if answer.code != -32602:
            wrong.append(answer)
    s.judge("T25-130", not wrong, "an unknown taskId is -32602", wrong[0] if wrong else None)


@scenario("T25-027", "T25-059", "T25-060", leg="both", needs="quick")
async def several_tasks(s: Session) -> None:
    """Tasks are asked for with nothing said, with a lifetime, and with an id that is not the requestor's to choose."""
    method, params = s.request_for("quick")
    s.require("tasks", "requests", *method.split("/"))
    bare = await s.call(method, {**params, "task": {}})
    s.judge("T25-027", isinstance(bare.result.get("task"), dict), "an empty `task` is enough to get a task", bare)
    ids = []
    named = await s.call(method, {**params, "task": {"ttl": 60_000, "taskId": _OURS}})
    task = named.result.get("task")
    if isinstance(task, dict):
        ids.append(task.get("taskId"))
        s.judge("T25-059", task.get("taskId") != _OURS, "the id is the receiver's, whatever the requestor says", named)
    else:
        s.skip("T25-059", "a `task` with a member that it does not know is refused")
    method, params = s.request_for("many")
    for request in [await s.begin(method, {**params, "task": {}}) for _ in range(5)]:
        answer = await s.outcome(request)
        task = answer.result.get("task")
        if isinstance(task, dict):
            fresh = task.get("taskId") not in ids
            s.judge("T25-060", fresh, "no two tasks have the same id", answer)
            ids.append(task.get("taskId"))
    if len(ids) < 2:
        s.skip("T25-060", "it makes no second task")
