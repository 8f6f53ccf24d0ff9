"""What a client makes of a server that is odd: it says what no server should, and the client has to keep its head.

The judge breaks the rules here, so little can be demanded: that the client comes to an end, that it does not take for a
result what is none, and that what comes after is not lost.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mcp_tasks import ConnectionClosed

from ..client_session import ClientSession
from ..scenario import Broken, Errand, NotApplicable, scenario

_STRANGE = "paused"
_DONE = "it is done"


def _failed(printed: Any) -> bool:
    return isinstance(printed, dict) and "error" in printed


def _right(printed: Any) -> bool:
    return isinstance(printed, dict) and printed.get("text") == _DONE and not printed.get("isError")


async def _strange_for_a_while(s: ClientSession, id: str) -> None:
    """A task has a status that is none of the five, twice, and then is completed."""
    task = await s.run_task(await s.called())
    task.move(_STRANGE)
    await s.until_or_end(lambda: len(task.polls) >= 2, "tasks/get")
    s.end(task, _DONE)
    await s.until_or_end(lambda: bool(s.unread("tasks/result")) or s.era != "2025-11-25", "tasks/result")
    await s.release(task)
    printed = await s.printed()
    expected = f"the caller gets the result of the task, or an error, not {printed!r}"
    s.judge(id, _right(printed) or _failed(printed), expected)


@scenario("T25-065", leg="client", errand=Errand(task=True))
async def a_status_that_is_none(s: ClientSession) -> None:
    """A task is paused, which no task can be, before it is completed."""
    await _strange_for_a_while(s, "T25-065")


@scenario("X26-047", leg="client")
async def a_status_that_is_none_either(s: ClientSession) -> None:
    """The same where the server decides what is a task."""
    await _strange_for_a_while(s, "X26-047")


@scenario("T25-010", leg="client")
async def a_task_that_nobody_asked_for(s: ClientSession) -> None:
    """A plain call is answered with a task, which is no result of a call."""
    call = await s.called()
    if "task" in call.params:
        raise NotApplicable("the client asks for a task where the tool forbids it")
    task = {"taskId": "0f3c5a9e7b2d4c18a6e0d1f29b3c7a55", "status": "working", "ttl": None}
    times = {"createdAt": "2025-11-25T00:00:00Z", "lastUpdatedAt": "2025-11-25T00:00:00Z"}
    await s.reply(call.object, {"task": {**task, **times}})
    printed = await s.printed()
    s.judge("T25-010", _failed(printed), f"the caller is told that this is no result, not {printed!r}")


async def _twice(s: ClientSession, id: str) -> None:
    """Both of two calls are answered, the first one twice."""
    first, second = await s.called(), await s.called()
    for text in (_DONE, "it is something else"):
        try:
            await s.reply(first.object, s.complete({"content": [{"type": "text", "text": text}]}))
        except ConnectionClosed:
            break  # over HTTP there is nothing any more that a second answer could go by
    await s.answer_call(second, _DONE)
    printed = await s.printed()
    kept = isinstance(printed, list) and len(printed) == 2 and all(map(_right, printed))
    s.judge(id, kept, f"the second answer changes nothing, and both callers get the first: {printed!r}")


@scenario("C25-173", leg="client", errand=Errand(calls=2), transports=("stdio",))
async def an_answer_that_comes_twice(s: ClientSession) -> None:
    """The answer to a request comes again."""
    await _twice(s, "C25-173")


@scenario("C26-232", leg="client", errand=Errand(calls=2), transports=("stdio",))
async def an_answer_that_comes_again(s: ClientSession) -> None:
    """The answer to a request comes again."""
    await _twice(s, "C26-232")


async def _late(s: ClientSession, id: str) -> None:
    """The call is given up, and answered all the same."""
    call = await s.called()
    try:
        await s.come("notifications/cancelled", {"requestId": call.id})
    except Broken:
        # Nobody has to say so, and who does not cannot be sent a late answer on purpose.
        raise NotApplicable("the client gives a call up without a word") from None
    with suppress(ConnectionClosed):  # a client with nothing else to do may have left at once
        await s.answer_call(call, "it is too late")
    printed = await s.printed()
    kept = isinstance(printed, dict) and printed.get("cancelled") is True
    s.judge(id, kept, f"an answer that comes late changes nothing: {printed!r}")


@scenario("C25-173", leg="client", errand=Errand(cancel="call"), transports=("stdio",))
async def an_answer_that_comes_late(s: ClientSession) -> None:
    """The answer to a request that was withdrawn comes all the same."""
    await _late(s, "C25-173")


@scenario("C26-232", leg="client", errand=Errand(cancel="call"), transports=("stdio",))
async def an_answer_that_comes_too_late(s: ClientSession) -> None:
    """The answer to a request that was withdrawn comes all the same."""
    await _late(s, "C26-232")
