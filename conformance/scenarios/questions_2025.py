"""What a server owes its client when a task has questions (2025-11-25).

What a client's task would need of a server are ordinary requests, which nothing but their ``_meta`` tells from others.
"""

from __future__ import annotations

from typing import Any

import trio

from mcp_tasks.testing import Frame, NothingCame

from ..answers import answer_to
from ..names import RELATED
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import TERMINAL, result_in

_ELICIT = "elicitation/create"
_SOON_SECONDS = 2.0


@scenario("T25-073", "T25-074", "T25-076", leg="server", needs="asks")
async def a_task_that_asks(s: ServerSession) -> None:
    """A task has a question: it says that it waits, asks in its own name, and goes on when it has the answer."""
    with s.holding(_ELICIT) as held:
        made = await s.make_task("asks")
        shown = await _asking(s, made.id, held)
        waits = shown.result.get("status") == "input_required"
        s.judge("T25-073", waits, "while it needs an answer it is input_required", shown)
        waiting = await s.begin("tasks/result", {"taskId": made.id})
        question = await _question(s, held, 1)
        related = question.meta.get(RELATED)
        named = isinstance(related, dict) and related.get("taskId") == made.id
        s.judge("T25-074", named, f"_meta has {RELATED} with the taskId {made.id}", question)
    shown = await s.get(made.id)
    deadline = trio.current_time() + s.patience / 2
    while shown.result.get("status") == "input_required" and trio.current_time() < deadline:
        await trio.sleep(0.05)
        shown = await s.get(made.id)
    if waits:
        left = shown.result.get("status") != "input_required"
        s.judge("T25-076", left, "with its answer it is no longer input_required", shown)
    else:
        s.skip("T25-076", "it never was input_required")
    await s.outcome(waiting)


@scenario("T25-077", leg="server", needs="asks_both")
async def a_task_that_asks_two_things(s: ServerSession) -> None:
    """A task has two questions at once, and gets one answer."""
    with s.holding(_ELICIT) as held:
        made = await s.make_task("asks_both")
        await _asking(s, made.id, held)
        waiting = await s.begin("tasks/result", {"taskId": made.id})
        await _question(s, held, 1)
        try:
            with trio.fail_after(_SOON_SECONDS):
                await _question(s, held, 2)
        except trio.TooSlowError:
            raise NotApplicable("the second question does not come before the first is answered") from None
        before = await s.get(made.id)
        if before.result.get("status") != "input_required":
            raise NotApplicable("the task does not say that it is input_required")
        first = held.pop(0)
        meta = {"_meta": {RELATED: {"taskId": made.id}}}
        await s.reply(first, {**answer_to(_ELICIT, first.get("params") or {}), **meta})
        for _ in range(4):
            shown = await s.get(made.id)
            if shown.result.get("status") != "input_required":
                break
            await trio.sleep(0.05)
        waits = shown.result.get("status") == "input_required"
        s.judge("T25-077", waits, "while a question is open it is input_required", shown)
    await s.outcome(waiting)


@scenario("T25-069", "T25-071", leg="server", needs="asks", transports=("http",))
async def a_question_over_http(s: ServerSession) -> None:
    """A task has a question, which goes by one stream or another."""
    with s.holding(_ELICIT) as held:
        made = await s.make_task("asks")
        await _asking(s, made.id, held)
        waiting = await s.begin("tasks/result", {"taskId": made.id})
        question = await _question(s, held, 1)
    await s.outcome(waiting)
    by_result = question.channel == waiting.channel
    says = f"questions {'are' if by_result else 'are not'} sent by the stream of tasks/result"
    s.judge("T25-071", by_result, says, question)
    by_another = question.verb == "POST" and not by_result
    says = f"messages of a task {'are sent by the stream' if by_another else 'go by no stream'} of another answer"
    s.judge("T25-069", by_another, says, question)


async def _asking(s: ServerSession, task_id: str, held: list[dict[str, Any]]) -> Frame:
    """Poll until the task says that it waits; if it does not, though its question is there, return what it says."""
    deadline = trio.current_time() + s.patience / 2
    asked: float | None = None
    while True:
        shown = await s.get(task_id)
        status = result_in(shown, "tasks/get").get("status")
        now = trio.current_time()
        if status == "input_required":
            return shown
        if status in TERMINAL:
            raise Broken(f"the task is {status} without an answer to its question")
        if held and asked is None:
            asked = now
        if now > deadline or (asked is not None and now > asked + _SOON_SECONDS / 2):
            return shown
        await trio.sleep(0.05)


async def _question(s: ServerSession, held: list[dict[str, Any]], count: int) -> Frame:
    """The question that came last of so many. Raises `Broken`."""
    try:
        await s.until(lambda: len(held) >= count, f"question {count}")
    except NothingCame:
        raise Broken(f"question {count} of the task did not come within {s.patience:g} seconds") from None
    return s.frame_of(held[count - 1])
