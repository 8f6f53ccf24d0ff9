"""How long tasks last, and what they say of it (2025-11-25): the lifetime that is granted, the times, what goes when.

A lifetime ends by the clock, so these scenarios wait: as little as shows what there is to see. A receiver may grant
another lifetime than it was asked for, and may keep a task beyond it; where it does, there is less to judge.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import trio

from mcp_tasks.testing import Frame

from ..scenario import Broken, NotApplicable, scenario
from ..session import MadeTask, Session, result_in

_SHORT_MS, _LONG_MS = 1_000, 4_000
_TEN_YEARS_MS = 315_360_000_000
_SLACK_SECONDS = 0.05
_SWEEP_SECONDS = 5.0
"""How long something may be there beyond its lifetime, until that counts as a delay."""


def time_of(value: Any) -> datetime | None:
    """The time that a timestamp says; None if it says none."""
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00").replace("z", "+00:00"))
    except (AttributeError, ValueError):
        return None


def is_gone(answer: Frame) -> bool:
    """Whether the answer to ``tasks/get`` shows no task."""
    return "result" not in answer.object


@scenario("T25-081", "T25-082", "T25-087", leg="both", needs="slow")
async def the_times_of_a_task(s: Session) -> None:
    """A task is looked at when it has begun, and when it has ended."""
    asked = 600_000
    made = await s.make_task("slow", {"ttl": asked})
    granted = made.task.get("ttl")
    s.judge("T25-082", granted != asked, f"of {asked} ms that were asked for, {granted} were granted", made.frame)
    shown = await s.get(made.id)
    early = result_in(shown, "tasks/get")
    suggests = "pollInterval" in early
    s.judge("T25-087", suggests, f"a pollInterval is {'suggested' if suggests else 'not suggested'}", shown)
    late = await s.settled(made.id)
    if early.get("status") == late.get("status"):
        s.skip("T25-081", "the task of `slow` was over too soon")
        return
    before, after = time_of(early.get("lastUpdatedAt")), time_of(late.get("lastUpdatedAt"))
    if before is None or after is None or (before.tzinfo is None) != (after.tzinfo is None):
        s.judge("T25-081", False, "lastUpdatedAt is a time, before and after", shown)
        return
    s.judge("T25-081", after > before, "lastUpdatedAt is later once the status has changed", s.wire.frames[-1])
    same = late.get("createdAt") == early.get("createdAt") == made.task.get("createdAt")
    s.judge("T25-081", same, "createdAt stays what it was", s.wire.frames[-1])


@scenario("T25-085", "T25-086", "T25-093", "T25-135", "T25-148", leg="both", needs=("quick", "slow"))
async def lifetimes_that_end(s: Session) -> None:
    """Tasks are made for a second: one is left alone, one is looked at all the time, one is waited for."""
    began = trio.current_time()
    left = await _made_for(s, "quick", _SHORT_MS)
    busy = await _made_for(s, "quick", _SHORT_MS)
    waited = await _made_for(s, "slow", _SHORT_MS)
    longer = await _made_for(s, "slow", _LONG_MS)
    made = trio.current_time()
    waiting = await s.begin("tasks/result", {"taskId": waited.id})

    await _watch(s, busy, began)
    gone_after = await _until_gone(s, left, made + _SHORT_MS / 1000)
    over = await s.get(left.id)
    s.judge("T25-148", gone_after is not None, f"it is gone {_SWEEP_SECONDS:g} seconds after its lifetime", over)
    if gone_after is None:
        for id in ("T25-085", "T25-086", "T25-093", "T25-135"):
            s.skip(id, "no task was dropped at the end of its lifetime")
        return
    code = over.code
    s.judge("T25-135", code == -32602, f"a task whose lifetime is over is answered with {code}", over)

    running = await s.get(waited.id)
    dropped = is_gone(running)
    s.judge("T25-086", dropped, f"a running task is {'dropped' if dropped else 'kept'} when its time is up", running)
    await _is_dropped(s, busy, "looking at a task does not prolong its life")
    if dropped:
        await _is_released(s, waiting)
    else:
        s.skip("T25-093", "a running task is not dropped at the end of its lifetime")

    await trio.sleep(max(made + _LONG_MS / 1000 + gone_after - trio.current_time(), 0))
    shown = await s.get(longer.id)
    if not is_gone(shown) and shown.result.get("status") in ("completed", "failed"):
        await _is_dropped(s, longer, "the lifetime of a task does not begin when its work ends")


async def _made_for(s: Session, ability: str, ttl_ms: int) -> MadeTask:
    try:
        made = await s.make_task(ability, {"ttl": ttl_ms})
    except Broken as refused:
        raise NotApplicable(f"no task can be had that lives for {ttl_ms} ms: {refused}") from None
    granted = made.task.get("ttl")
    if granted != ttl_ms:
        raise NotApplicable(f"a lifetime of {ttl_ms} ms was asked for, and {granted} granted")
    return made


async def _watch(s: Session, made: MadeTask, began: float) -> None:
    """Look at a task as long as it lives, which must not be over before it is."""
    end = began + _SHORT_MS / 1000 - _SLACK_SECONDS
    while trio.current_time() < end:
        shown = await s.get(made.id)
        if is_gone(shown) and trio.current_time() < end:
            s.judge("T25-085", False, f"the task is there for {_SHORT_MS} ms from its creation", shown)
            return
        await trio.sleep(0.1)
    s.judge("T25-085", True, "the task is there until its lifetime ends")


async def _until_gone(s: Session, made: MadeTask, end: float) -> float | None:
    """Wait until a task is gone, and return how many seconds after the end of its lifetime that was seen."""
    await trio.sleep(max(end + 0.3 - trio.current_time(), 0))
    while not is_gone(await s.get(made.id)):
        if trio.current_time() > end + _SWEEP_SECONDS:
            return None
        await trio.sleep(0.2)
    return trio.current_time() - end


async def _is_dropped(s: Session, made: MadeTask, expected: str) -> None:
    """Judge that a task whose lifetime is over is gone before long. To keep it for longer is no more than a delay."""
    end = trio.current_time() + _SWEEP_SECONDS
    while not is_gone(shown := await s.get(made.id)):
        if trio.current_time() > end:
            s.judge("T25-148", False, expected, shown)
            return
        await trio.sleep(0.1)


async def _is_released(s: Session, waiting: Frame) -> None:
    """Judge that who waits for a task that is dropped is answered, be it with an error or with what it comes to."""
    expected = "who waits for a task that is dropped gets an answer"
    try:
        answer = await s.outcome(waiting)
    except Broken as trouble:
        s.judge("T25-093", False, f"{expected}: {trouble}", waiting)
    else:
        s.judge("T25-093", answer.is_response, expected, answer)


@scenario("T25-147", leg="both", needs="quick")
async def a_lifetime_of_ten_years(s: Session) -> None:
    """Somebody wants to have a task kept for longer than anybody should."""
    method, params = s.request_for("quick")
    s.require("tasks", "requests", *method.split("/"))
    answer = await s.call(method, {**params, "task": {"ttl": _TEN_YEARS_MS}})
    if answer.error is not None:
        s.judge("T25-147", True, "a lifetime of ten years is refused", answer)
        return
    task = answer.result.get("task")
    ttl = task.get("ttl") if isinstance(task, dict) else None
    capped = isinstance(ttl, (int, float)) and ttl < _TEN_YEARS_MS
    s.judge("T25-147", capped, f"who asks for ten years is granted less, not {ttl}", answer)
