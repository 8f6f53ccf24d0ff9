"""Tasks that a client listens to (2026-07-28): what is agreed, what is pushed, and what is not."""

from __future__ import annotations

from typing import Any

import trio

from mcp_tasks.testing import Frame

from ..extension import (
    UNKNOWN,
    WITHOUT,
    answers_to,
    asking_task,
    bare,
    declare,
    names_the_extension,
    otherwise,
    some_task,
)
from ..names import TASKS
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import TERMINAL, result_in

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_NOISE = ("notifications/progress", "notifications/message")


async def _listen(s: ServerSession, *ids: str) -> tuple[Frame, bool]:
    """Listen to tasks: the acknowledgement, or the answer of a server that does not agree to it, and which it is."""
    request = await s.begin("subscriptions/listen", {"notifications": {"taskIds": list(ids)}})
    await s.until(lambda: s.unread(_ACKNOWLEDGED) or s.has_come(request), _ACKNOWLEDGED)
    if s.unread(_ACKNOWLEDGED):
        return await s.come(_ACKNOWLEDGED), True
    return await s.outcome(request), False


def _agreed(acknowledged: Frame) -> Any:
    filters = acknowledged.params.get("notifications")
    return filters.get("taskIds") if isinstance(filters, dict) else None


async def _heard(s: ServerSession, *ids: str) -> Frame:
    """The acknowledgement of a server that can be listened to. Raises `NotApplicable`."""
    acknowledged, heard = await _listen(s, *ids)
    if not heard:
        raise NotApplicable(f"the server cannot be listened to: {acknowledged.code or acknowledged.status}")
    return acknowledged


@scenario("X26-090", "X26-092", "X26-094", "X26-096", "X26-099", leg="server", needs="slow")
async def changes_of_a_task(s: ServerSession) -> None:
    """There are two tasks, and one of them is listened to."""
    s.require("extensions", TASKS)
    one, two = await s.make_task("slow"), await s.make_task("slow")
    acknowledged = await _heard(s, one.id)
    agreed = _agreed(acknowledged)
    status = result_in(await s.get(one.id), "tasks/get").get("status")
    for made in (two, one):
        await s.call("tasks/cancel", {"taskId": made.id})
    end = await s.settled(one.id)
    await s.settled(two.id)
    if agreed:
        fits = isinstance(agreed, list) and set(map(str, agreed)) <= {one.id}
        s.judge("X26-092", fits, "what is agreed is among what was wished for", acknowledged)
        if status in TERMINAL:
            raise NotApplicable("the task of `slow` was over too soon")
        try:
            last = await s.come("notifications/tasks", {"taskId": one.id, "status": end["status"]})
        except Broken:
            s.judge("X26-092", False, "the changes of a task that was agreed on are pushed", acknowledged)
            raise NotApplicable("nothing was pushed") from None
        s.judge("X26-090", True, "changes are pushed", last)
        s.judge("X26-094", await _shows(s, last), "what is pushed is what tasks/get shows", last)
        typed = "resultType" in last.params
        s.judge("X26-099", not typed, "there is a resultType" if typed else "there is no resultType", last)
    else:
        await trio.sleep(0.3)
    pushed = s.unread("notifications/tasks")
    other = [message for message in pushed if (message.get("params") or {}).get("taskId") != one.id]
    s.judge("X26-096", not other, "nothing is pushed of a task that nobody listens to", _frame(s, other))
    if not agreed:
        s.judge("X26-092", not pushed, "what is not agreed on is not pushed", acknowledged)
        s.judge("X26-090", False, "the server does not agree to push", acknowledged)
        raise NotApplicable("the server does not agree to push")


@scenario("X26-094", leg="server", needs="asks")
async def a_question_that_is_pushed(s: ServerSession) -> None:
    """A task that asks is listened to; a push that says that it asks says what."""
    s.require("extensions", TASKS)
    made, task = await asking_task(s, "asks")
    acknowledged = await _heard(s, made.id)
    if not _agreed(acknowledged):
        raise NotApplicable("the server does not agree to push")
    await s.result_of("tasks/update", {"taskId": made.id, "inputResponses": answers_to(task)})
    await s.settled(made.id)
    try:
        last = await s.come("notifications/tasks", {"taskId": made.id, "status": lambda status: status in TERMINAL})
    except Broken:
        raise NotApplicable("nothing was pushed") from None
    s.judge("X26-094", await _shows(s, last), "what is pushed is what tasks/get shows", last)


@scenario("X26-098", leg="server")
async def an_unknown_task_is_listened_to(s: ServerSession) -> None:
    """Nobody knows the task that the client wants to hear of."""
    s.require("extensions", TASKS)
    answer, heard = await _listen(s, UNKNOWN)
    if answer.code == -32601:
        raise NotApplicable("the server cannot be listened to")
    left_out = heard and UNKNOWN not in (_agreed(answer) or ())
    how = "left out" if left_out else ("agreed on" if heard else f"refused with {answer.code}")
    s.judge("X26-098", left_out, f"an id that nobody knows is {how}", answer)


@scenario("X26-012", "X26-093", leg="server")
async def listening_without_the_extension(s: ServerSession) -> None:
    """Who does not say that they know tasks cannot listen to one."""
    s.require("extensions", TASKS)
    made = await some_task(s)
    await _heard(s, made.id)
    declare(s, WITHOUT)
    answer, heard = await _listen(s, made.id)
    s.judge("X26-093", not heard and answer.code == -32021, "to listen to a task is refused with -32021", answer)
    if answer.code == -32021:
        named = names_the_extension(answer)
        s.judge("X26-012", named, f"data.requiredCapabilities.extensions has {TASKS}", answer)
    otherwise(s, "X26-012", "nothing was refused with -32021")


@scenario("X26-100", "X26-101", leg="server", needs="progress")
async def no_progress_of_a_task(s: ServerSession) -> None:
    """The call asks for progress and logs; once it is a task there are none."""
    made = await s.make_task("progress", **{"progressToken": "of-a-task", "io.modelcontextprotocol/logLevel": "debug"})
    listening = s.announces("extensions", TASKS) and bool((await _listen(s, made.id))[1])
    await s.settled(made.id)
    final = await s.get(made.id)
    since = s.wire.frames.index(made.frame)
    noise = [frame for frame in s.wire.frames[since:] if frame.method in _NOISE]
    s.judge("X26-101", not noise, "a task has neither progress nor logs", noise[0] if noise else final)
    if not listening:
        raise NotApplicable("the server cannot be listened to")
    s.judge("X26-100", not noise, "neither progress nor logs come by a listen stream", noise[0] if noise else final)


async def _shows(s: ServerSession, pushed: Frame) -> bool:
    """Whether a push of a task that is over is what tasks/get shows of it."""
    one, two = [await s.get(pushed.params["taskId"]) for _ in range(2)]
    moving = [] if bare(one.result) == bare(two.result) else ["lastUpdatedAt"]
    return bare(pushed.params, *moving) == bare(one.result, *moving)


def _frame(s: ServerSession, messages: list[dict[str, Any]]) -> Frame | None:
    return s.frame_of(messages[0]) if messages else None
