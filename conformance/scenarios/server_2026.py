"""What a server with the tasks extension owes its client (2026-07-28): how a task is made, looked at, and ends."""

from __future__ import annotations

from typing import Any

import trio

from mcp_tasks.testing import Frame

from ..extension import ANY, WITHOUT, bare, declare, plain, some_task
from ..names import TASKS
from ..scenario import NotApplicable, scenario
from ..server_session import ServerSession
from ..session import TERMINAL, result_in

_LIFETIME_MS = 3_000


@scenario(
    "X26-003",
    "X26-019",
    "X26-023",
    "X26-024",
    "X26-033",
    "X26-037",
    "X26-041",
    "X26-042",
    "X26-046",
    "X26-050",
    leg="server",
    needs="slow",
)
async def a_slow_call(s: ServerSession) -> None:
    """A call that takes long becomes a task, which is there at once and ends with the result."""
    announced = s.announces("extensions", TASKS)
    made = await s.make_task("slow")
    s.judge("X26-003", announced, f"capabilities.extensions of server/discover has {TASKS}", s.opening)
    seed = made.task.get("status")
    s.judge("X26-037", seed != "working", f"the first status is {seed}", made.frame)
    looks = [await s.get(made.id) for _ in range(3)]
    if looks[0].code != -32602 and "result" not in looks[0].object:  # so soon a look may be refused as such
        interval = made.task.get("pollIntervalMs")
        await trio.sleep(max(interval, 0) / 1000 if isinstance(interval, int) else 1)
        looks.insert(0, await s.get(made.id))
    there = looks[0].error is None and "result" in looks[0].object
    s.judge("X26-041", there, "the task can be had as soon as it was handed out", looks[0])
    lost = [look for look in looks if look.code == -32602]
    s.judge("X26-042", not lost, "the task can be had wherever one asks for it", lost[0] if lost else looks[-1])
    slowed = [look for look in looks[1:] if look.error is not None or "result" not in look.object]
    s.judge("X26-046", slowed, "polling too fast is refused" if slowed else "polling too fast is let pass", looks[1])
    task = await s.settled(made.id)
    final, again = await s.get(made.id), await s.get(made.id)
    seen = [made.frame, *looks, final, again]
    renamed = [frame for frame in seen if frame.result and frame.result.get("taskId") != made.id]
    s.judge("X26-019", not renamed, "the taskId is the same in every answer", renamed[0] if renamed else final)
    same = bare(final.result) == bare(again.result)
    s.judge("X26-050", same, "to look at a task again shows what it showed", again)
    for id, name in (("X26-023", "ttlMs"), ("X26-024", "pollIntervalMs")):
        values = {repr(frame.result.get(name)) for frame in seen if frame.result}
        s.judge(id, len(values) > 1, f"{name} was {', '.join(sorted(values))}", final)
    if task["status"] != "completed":
        s.skip("X26-033", f"the task of `slow` ended {task['status']}")
        return
    inner = task.get("result")
    shaped = isinstance(inner, dict) and isinstance(inner.get("content"), list)
    s.judge("X26-033", shaped, "the result is what tools/call has: a list of content", final)


@scenario("X26-115", leg="server")
async def the_result_of_a_plain_call(s: ServerSession) -> None:
    """What a task ends with is what the call would have been answered with."""
    for ability in ("quick", "many", "progress", "is_error", "slow"):
        try:
            made = await s.make_task(ability)
        except NotApplicable:
            continue
        break
    else:
        raise NotApplicable("the server made no task of `quick`, `progress`, `is_error` or `slow`")
    task = await s.settled(made.id)
    inner = task.get("result")
    declare(s, WITHOUT)
    method, params = s.request_for(ability)
    asked = [await s.begin(method, params) for _ in range(2)]
    answers = [await s.through(one) for one in asked]
    kinds = [answer.result.get("resultType") if answer.error is None else answer.code for answer in answers]
    if task["status"] != "completed" or kinds != ["complete", "complete"]:
        raise NotApplicable(f"the task ended {task['status']}, the plain calls {kinds[0]} and {kinds[1]}")
    if not isinstance(inner, dict):
        s.judge("X26-115", False, "a completed task has a result", made.frame)
        return
    first, second = (plain(answer.result) for answer in answers)
    if first == second:
        s.judge("X26-115", plain(inner) == first, "the result is that of the plain call", answers[0])
        return
    alike = plain(inner).keys() == first.keys() and plain(inner).get("isError") == first.get("isError")
    s.judge("X26-115", alike, "the result has the members that that of the plain call has", answers[0])


@scenario("X26-028", "X26-029", "X26-113", "X26-115", leg="server", needs="is_error")
async def an_error_in_the_result(s: ServerSession) -> None:
    """A tool that fails has a result all the same, and its task is completed."""
    made = await s.make_task("is_error")
    task = await s.settled(made.id)
    frame = await s.get(made.id)
    inner = task.get("result")
    s.judge("X26-028", task["status"] == "completed", "a task with a result is completed", frame)
    s.judge("X26-029", task["status"] != "failed", "a task with a result, isError or not, is not failed", frame)
    told = isinstance(inner, dict) and inner.get("isError") is True
    s.judge("X26-113", task["status"] == "completed" and told, "it is completed, with isError in the result", frame)
    s.judge("X26-115", told, "the result is that of the tool, isError included", frame)


@scenario("X26-110", "X26-114", leg="server", needs="fails")
async def an_error_of_the_protocol(s: ServerSession) -> None:
    """A call that would be answered with an error is, as a task, failed, and has that error."""
    method, params = s.request_for("fails")
    answer = await s.through(await s.begin(method, params))
    if answer.result.get("resultType") != "task":
        raise NotApplicable("the server made no task of `fails`")
    id = str(answer.result.get("taskId"))
    task = await s.settled(id)
    frame = await s.get(id)
    declare(s, WITHOUT)
    answers = [await s.through(await s.begin(method, params)) for _ in range(2)]
    codes = [answer.code for answer in answers]
    if None in codes:
        raise NotApplicable("a plain call of `fails` is not answered with an error")
    s.judge("X26-110", task["status"] == "failed", "a task whose call ends with an error is failed", frame)
    if -32021 in codes:
        s.skip("X26-114", "`fails` can only be had as a task")
        return
    first, second = (answer.error for answer in answers)
    error = task.get("error")
    if not isinstance(error, dict):
        s.judge("X26-114", False, "a failed task has the error of its call", frame)
    elif first == second:
        s.judge("X26-114", error == first, f"the error is that of the plain call, {first}", frame)
    else:
        same = error.get("code") == codes[0]
        s.judge("X26-114", same, f"the error has the code of the plain call, {codes[0]}", frame)


@scenario("X26-005", "X26-007", "X26-131", leg="server")
async def either_way(s: ServerSession) -> None:
    """A call becomes a task, or is answered as ever: that is for the server to say."""
    tasks: list[Frame] = []
    ordinary: list[Frame] = []
    for ability in ("quick", "forbidden", *ANY[1:]):
        if s.profile.find(ability) is None or (tasks and ordinary):
            continue
        method, params = s.request_for(ability)
        answer = await s.through(await s.begin(method, params))
        kind = result_in(answer, method).get("resultType")
        (tasks if kind == "task" else ordinary).append(answer)
    if not tasks and not ordinary:
        raise NotApplicable("needs one of the abilities `quick`, `forbidden`")
    s.judge("X26-005", tasks, "a call became a task" if tasks else "no call became a task", (tasks or ordinary)[0])
    found = "a call got an ordinary result" if ordinary else "every call became a task"
    s.judge("X26-007", ordinary, found, (ordinary or tasks)[0])
    s.judge("X26-131", not tasks, "tasks were made" if tasks else "no task was made", (tasks or ordinary)[0])


@scenario("X26-019", "X26-120", leg="server")
async def many_ids(s: ServerSession) -> None:
    """The ids of several tasks have nothing to do with each other."""
    made = [await some_task(s, "many", "quick", "required", "slow") for _ in range(6)]
    ids = [one.id for one in made]
    s.judge("X26-019", len(set(ids)) == len(ids), "every task has an id of its own", made[-1].frame)


@scenario("X26-026", "X26-059", "X26-109", leg="server")
async def the_end_of_a_lifetime(s: ServerSession) -> None:
    """A task whose time is up may go; only looked at where that is soon."""
    made = await some_task(s)
    ttl = made.task.get("ttlMs")
    if not isinstance(ttl, int) or ttl > _LIFETIME_MS:
        raise NotApplicable(f"the lifetime is {'unlimited' if ttl is None else f'{ttl} ms'}: too long to wait for")
    await trio.sleep(max(ttl / 1000, 0) + 0.5)
    look = await s.get(made.id)
    gone = look.code == -32602
    found = "the task is gone" if gone else "the task is still there"
    s.judge("X26-026", gone, found, look)
    s.judge("X26-109", gone, found, look)
    status = look.result.get("status")
    s.judge("X26-059", gone or status == "failed", found if gone else f"the task is {status}", look)


@scenario("X26-050", leg="server")
async def a_finished_task(s: ServerSession) -> None:
    """What a task ended with can be had again and again."""
    made = await some_task(s)
    first: Any = await s.settled(made.id)
    later = [await s.get(made.id) for _ in range(3)]
    other = [look for look in later if bare(look.result) != bare(first)]
    s.judge("X26-050", not other, f"a {first['status']} task shows the same each time", other[0] if other else later[0])
    assert first["status"] in TERMINAL
