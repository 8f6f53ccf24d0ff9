"""What a requestor owes whoever runs its tasks (2025-11-25): a client that calls tools, a server that asks a client.

The judge is the receiver, which a `Host` plays in either leg.
"""

from __future__ import annotations

from typing import Any

from ..client_session import OurTask
from ..hosting import Host
from ..scenario import Errand, NotApplicable, scenario
from ..session import Session

_AS_TASK = Errand(task=True)
_NO_POLLS = "it waits by tasks/result, and does not poll"
_SLOW_MS = 1500
_GIVING_UP_SECONDS = 3.0
_NOT_CANCELLING_SECONDS = 1.0
_LISTING_SECONDS = 2.0
_BLOCKED_SECONDS = 0.6
"""How long a requestor may wait by ``tasks/result`` before it is taken to be one that does not poll."""
_NO_TASKS: dict[str, Any] = {"tools": {}, "sampling": {}, "elicitation": {"form": {}}}
_OTHER_TASKS = {**_NO_TASKS, "tasks": {"list": {}, "cancel": {}}}
_TASKS_WITHOUT_CANCELLING = {
    **_NO_TASKS,
    "tasks": {
        "list": {},
        "requests": {"tools": {"call": {}}, "sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
    },
}
"""What the judge announces, be it a server or a client: neither minds what only the other can say."""


async def _polls(host: Host, task: OurTask) -> bool:
    """Whether the requestor is one that polls. Raises `NotApplicable` if it neither polls nor waits."""
    if not await host.comes(lambda: task.polls or task.waits):
        raise NotApplicable("nobody asked for the task or its result")
    return bool(task.polls) or await host.comes(lambda: task.polls, _BLOCKED_SECONDS)


@scenario("T25-025", "T25-026", "T25-028", "T25-040", "T25-041", leg="both", errand=Errand(task=True, ttl=600_000))
async def a_task_that_is_polled(s: Session) -> None:
    """The pace of polling is what the receiver says, and changes when that does."""
    host = Host(s)
    request = await host.request()
    aside = [key for key in request.meta if key.rpartition("/")[2] == "task"]
    if "task" not in request.params and not aside:
        raise NotApplicable("it does not ask for a task")
    s.judge("T25-025", isinstance(request.params.get("task"), dict), "params.task is an object", request)
    wish = request.params.get("task")
    named = isinstance(wish, dict) and "ttl" in wish
    s.judge("T25-026", named, "a ttl is asked for" if named else "no ttl is asked for", request)
    if not named:
        s.skip("T25-028", "no ttl is asked for")
    task = await host.run(request)
    if not await _polls(host, task):
        for id in ("T25-040", "T25-041"):
            s.skip(id, _NO_POLLS)
        await host.end(task)
        return

    def pace(polled: OurTask) -> None:
        polled.poll = _SLOW_MS if len(polled.polls) == 2 else 60

    host.on_poll = pace
    goes_on = await host.comes(lambda: len(task.polls) >= 3)
    s.judge("T25-041", goes_on, "a task that works is polled again", task.polls[-1])
    if goes_on:
        gap = (task.polls[2].at - task.polls[1].at) * 1000
        found = f"the poll after a pollInterval of {_SLOW_MS} ms waits as long; it came after {gap:.0f} ms"
        s.judge("T25-040", gap >= 0.8 * _SLOW_MS, found, task.polls[2])
        await host.comes(lambda: len(task.polls) >= 4)
    else:
        s.skip("T25-040", "it does not poll again")
    await host.end(task)


@scenario("T25-041", "T25-052", leg="both", errand=_AS_TASK)
async def a_task_that_tells(s: Session) -> None:
    """Statuses are pushed: they may stop any time, and so are no reason not to poll."""
    host = Host(s)
    task = await host.run(await host.request(), poll=100)
    if not await _polls(host, task):
        for id in ("T25-041", "T25-052"):
            s.skip(id, _NO_POLLS)
        await host.end(task)
        return
    await s.notify("notifications/tasks/status", {**host.shown(task), "taskId": "0000-of-somebody-else"})
    for step in range(2):
        task.message = f"step {step + 1}"
        task.move("working")
        await s.notify("notifications/tasks/status", host.shown(task))
    before = len(task.polls)
    goes_on = await host.comes(lambda: len(task.polls) >= before + 2)
    s.judge("T25-041", goes_on, "a task that works is polled again", task.polls[-1])
    s.judge("T25-052", goes_on, "it is polled although it tells of its changes", task.polls[-1])
    await host.end(task)


@scenario("T25-075", leg="both", errand=_AS_TASK)
async def a_task_that_needs_input(s: Session) -> None:
    """The task has questions, which come by way of the request for its result."""
    host = Host(s)
    task = await host.run(await host.request())
    await _polls(host, task)
    if task.waits:
        s.judge("T25-075", True, "it waits for the result before there is a question", task.waits[0])
        await host.end(task)
        return
    task.move("input_required")
    before = len(task.polls)
    # The poll that shows it is the first; one more may be on its way already.
    await host.comes(lambda: task.waits or len(task.polls) >= before + 4)
    last = (task.waits or task.polls)[-1]
    s.judge("T25-075", bool(task.waits), "tasks/result is sent when the task needs input", last)
    await host.end(task)


async def _lose_interest(s: Session, seconds: float = _GIVING_UP_SECONDS) -> tuple[Host, OurTask]:
    """Have a task wanted and then given up: a client by its errand, a server as its own call is cancelled."""
    host = Host(s)
    task = await host.run(await host.request())
    await host.comes(lambda: task.polls or task.waits or task.cancels)
    if host.trigger is not None:
        await s.notify("notifications/cancelled", {"requestId": host.trigger.id, "reason": "nobody wants it"})
    await host.comes(lambda: task.cancels or _withdrawn(s, task), seconds)
    return host, task


async def _given_up(s: Session) -> None:
    host, task = await _lose_interest(s)
    if _withdrawn(s, task):
        s.judge("T25-157", False, "a task is ended by tasks/cancel, not by notifications/cancelled", task.request)
    elif task.cancels:
        s.judge("T25-157", True, "a task is ended by tasks/cancel", task.cancels[0])
    else:
        s.skip("T25-157", "it does not give the task up")
    if host.client:
        await host.end(task)


@scenario("T25-157", leg="both", errand=Errand(task=True, cancel="working"))
async def a_task_nobody_waits_for(s: Session) -> None:
    """Whoever wanted the result loses interest while the task works."""
    await _given_up(s)


@scenario("T25-157", leg="client", errand=Errand(task=True, cancel="task"))
async def a_task_nobody_ever_waited_for(s: Session) -> None:
    """The task is given up as soon as it is one."""
    await _given_up(s)


@scenario(
    "T25-012", "T25-157", leg="both", errand=Errand(task=True, cancel="working"), declares=_TASKS_WITHOUT_CANCELLING
)
async def a_task_that_cannot_be_cancelled(s: Session) -> None:
    """Whoever wanted the result loses interest, and the judge has not announced that tasks can be cancelled."""
    host, task = await _lose_interest(s, _NOT_CANCELLING_SECONDS)
    s.judge(
        "T25-012", not task.cancels, "tasks/cancel is not sent, as it was not announced", next(iter(task.cancels), None)
    )
    unused = not _withdrawn(s, task)
    s.judge("T25-157", unused, "notifications/cancelled does not stand in for tasks/cancel", task.request)
    if host.client:
        await host.end(task)


def _withdrawn(s: Session, task: OurTask) -> bool:
    id = task.request.id
    return any((one.get("params") or {}).get("requestId") == id for one in s.unread("notifications/cancelled"))


@scenario("T25-045", leg="both", errand=_AS_TASK)
async def a_result_that_cannot_be_had(s: Session) -> None:
    """The request for the result fails though the task does not."""
    host = Host(s)
    task = await host.run(await host.request())
    await _polls(host, task)
    task.result = host.plain_result(task.request)
    if task.waits:
        waiting = host.pending.pop()
        await s.refuse(waiting.object, -32603, "The result cannot be had just now")
        task.move("completed")
    else:
        host.refusals = 1
        task.move("completed")
        await host.comes(lambda: task.waits)
    again = await host.comes(lambda: len(task.waits) >= 2, 1.0)
    s.judge("T25-045", again, "it is asked for again" if again else "it is not asked for again", None)
    await host.end(task)


@scenario("T25-111", leg="both", errand=Errand(task=True, list_tasks=True))
async def pages_of_tasks(s: Session) -> None:
    """The list of tasks has pages, and the cursors are nobody's business."""
    host = Host(s)
    cursors = ["eyJwIjoxfQ==+/ \u00fc", "2", "%7B %22 %7D"]
    host.cursors = list(cursors)
    if host.client:
        task = await host.run(await host.request())
    else:
        method, params = s.request_for("lists_tasks")
        host.trigger = await s.begin(method, params)
        task = None
    if await host.comes(lambda: host.lists, _LISTING_SECONDS):
        await host.comes(lambda: len(host.lists) > len(cursors), _LISTING_SECONDS)
    if not host.lists:
        s.skip("T25-111", "it does not list tasks")
    elif len(host.lists) == 1:
        s.skip("T25-111", "it lists the first page only")
    for cursor, frame in zip(cursors, host.lists[1:], strict=False):
        given = frame.params.get("cursor")
        s.judge("T25-111", given == cursor, f"the cursor is {cursor!r}, as it was given; it came as {given!r}", frame)
    await host.end(task)


@scenario("T25-162", leg="both", errand=Errand(task=True, progress=True, calls=2))
async def two_tasks_with_progress(s: Session) -> None:
    """Two tasks run at once, each with a token for its progress."""
    host = Host(s)
    first = await host.request(1)
    token = first.meta.get("progressToken")
    if token is None:
        raise NotApplicable("it does not ask to be told of progress")
    one = await host.run(first)
    second = await host.request(2)
    other = await host.run(second)
    differs = second.meta.get("progressToken") != token
    s.judge("T25-162", differs, "a token is not used again while its task runs", second)
    for step, task in enumerate((one, other, one, other), 1):
        told = {"progressToken": task.request.meta.get("progressToken"), "progress": step, "total": 4}
        await s.notify("notifications/progress", {**told, "_meta": host.related(task)})
    one.move("completed")
    await host.end(other)


async def _without(s: Session, *ids: str) -> None:
    host = Host(s)
    if host.client:
        ids = (*ids, "T25-015")
    else:
        await host.provoke()
    await host.comes(lambda: host.asked or host.over)
    said = [frame for frame in host.asked if "task" in frame.params]
    if not said and not host.asked and not host.over:
        raise NotApplicable("nothing was asked for that could be a task")
    frame = next(iter(said or host.asked), None)
    for id in ids:
        s.judge(id, not said, "no task is asked for, since none were announced for this", frame)
    await host.end()


@scenario("T25-008", "T25-009", leg="both", errand=_AS_TASK, declares=_NO_TASKS)
async def nobody_who_runs_tasks(s: Session) -> None:
    """The judge does not announce tasks at all."""
    await _without(s, "T25-008", "T25-009", "T25-010")


@scenario("T25-008", "T25-010", leg="both", errand=_AS_TASK, declares=_OTHER_TASKS)
async def tasks_for_nothing_in_particular(s: Session) -> None:
    """The judge has tasks, but announces no kind of request that could become one."""
    await _without(s, "T25-008", "T25-010")
