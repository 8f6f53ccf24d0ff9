"""How a server with the tasks extension asks while a task runs, and what it makes of the answers (2026-07-28)."""

from __future__ import annotations

from typing import Any

import trio

from ..extension import answers_to, asking_task, questions_of
from ..names import TASKS
from ..scenario import NotApplicable, scenario
from ..server_session import ServerSession
from ..session import TERMINAL, result_in

_DECLINE: dict[str, Any] = {"action": "decline"}
_UNDECLARED_SECONDS = 3.0


@scenario("X26-044", "X26-045", "X26-052", "X26-053", "X26-073", "X26-076", leg="server", needs="asks")
async def a_question_of_a_task(s: ServerSession) -> None:
    """A task asks one thing. Answers that nobody asked for are passed over; the one that was is taken."""
    made, task = await asking_task(s, "asks")
    rounds = [frame for frame in s.wire.frames if frame.result.get("resultType") == "input_required"]
    found = "was asked something before it was a task" if rounds else "was made a task at once"
    s.judge("X26-044", rounds, f"the call {found}", made.frame)
    before = {key for frame in rounds for key in frame.result.get("inputRequests") or {}}
    questions = task.get("inputRequests") or {}
    if before:
        again = sorted(before & questions.keys())
        s.judge("X26-045", again, f"keys that the call had used before: {', '.join(again) or 'none'}", made.frame)
    else:
        s.skip("X26-045", "no call asked before it was a task and while it was one")
    look = await s.get(made.id)
    asked = look.result.get("inputRequests")
    s.judge("X26-052", isinstance(asked, dict) and asked, "an input_required task has inputRequests", look)
    s.judge("X26-053", asked == questions, "each look shows every question that waits for its answer", look)
    answers = answers_to(task)

    stray = await _update(s, made.id, {"no-such-key": _DECLINE})
    look = await s.get(made.id)
    s.judge("X26-076", stray.error is None, "an answer to what was never asked is acknowledged", stray)
    s.judge("X26-076", look.result.get("inputRequests") == questions, "and what was asked is still asked", look)
    await s.result_of("tasks/update", {"taskId": made.id, "inputResponses": answers})
    look = await s.get(made.id)
    lags = look.result.get("inputRequests") == questions
    s.judge("X26-073", lags, "the acknowledgement came first" if lags else "the new state showed at once", look)
    repeated = await _update(s, made.id, dict.fromkeys(answers, _DECLINE))
    s.judge("X26-076", repeated.error is None, "a second answer to the same question is acknowledged", repeated)
    await s.settled(made.id)


@scenario("X26-067", "X26-068", "X26-069", "X26-076", leg="server", needs="asks_twice")
async def two_questions_of_a_task(s: ServerSession) -> None:
    """A task asks one thing and then another, by another key; what was answered stays answered."""
    made, task = await asking_task(s, "asks_twice")
    first = dict(task.get("inputRequests") or {})
    await s.result_of("tasks/update", {"taskId": made.id, "inputResponses": answers_to(task)})
    task = await questions_of(s, made.id, "asks_twice", but=first)
    second = dict(task.get("inputRequests") or {})
    fresh = {key for key, question in second.items() if first.get(key) != question}
    look = await s.get(made.id)
    s.judge("X26-068", not fresh & first.keys(), "a key whose answer has come is not used for another question", look)
    late = await _update(s, made.id, {key: _DECLINE for key in first if key not in fresh})
    s.judge("X26-076", late.error is None, "a late answer to what was answered before is acknowledged", late)
    look = await s.get(made.id)
    asked = look.result.get("inputRequests")
    waits = isinstance(asked, dict) and fresh <= asked.keys()
    s.judge("X26-076", waits, "and is not taken for one to what is asked now", look)
    await s.result_of("tasks/update", {"taskId": made.id, "inputResponses": answers_to(task, *fresh)})
    await s.settled(made.id)


@scenario("X26-053", "X26-078", "X26-079", leg="server", needs="asks_both")
async def an_answer_to_one_of_two(s: ServerSession) -> None:
    """A task asks two things at once, and gets the answers one by one."""
    made, task = await asking_task(s, "asks_both")
    questions = task.get("inputRequests") or {}
    if len(questions) < 2:
        raise NotApplicable("the task of `asks_both` asks one thing at a time")
    given, *rest = questions
    answer = await _update(s, made.id, answers_to(task, given))
    taken = answer.error is None
    s.judge("X26-078", taken, f"an answer to one of two is {'taken' if taken else 'refused'}", answer)
    for _ in range(3):  # the state may lag behind the acknowledgement
        look = await s.get(made.id)
        status, asked = look.result.get("status"), look.result.get("inputRequests")
        s.judge("X26-079", status == "input_required", "the task stays input_required until all is answered", look)
        listed = isinstance(asked, dict) and all(asked.get(key) == questions[key] for key in rest)
        s.judge("X26-053", listed, "what is not answered yet is still asked", look)
        await trio.sleep(0.05)
    await s.result_of("tasks/update", {"taskId": made.id, "inputResponses": answers_to(task, *rest)})
    await s.settled(made.id)


@scenario("X26-070", leg="server", declares={"extensions": {TASKS: {}}})
async def a_client_that_cannot_be_asked(s: ServerSession) -> None:
    """The client knows tasks and has neither user nor model to ask; so a task asks it nothing."""
    looked = False
    for ability in ("asks", "samples"):
        if s.profile.find(ability) is None:
            continue
        method, params = s.request_for(ability)
        answer = await s.call(method, params)
        id = answer.result.get("taskId")
        if answer.result.get("resultType") != "task" or not isinstance(id, str):
            continue
        looked = True
        with trio.move_on_after(_UNDECLARED_SECONDS):
            while True:
                look = await s.get(id)
                task = result_in(look, "tasks/get")
                s.judge("X26-070", not task.get("inputRequests"), "what the client did not declare is not asked", look)
                if task.get("status") in TERMINAL or task.get("inputRequests"):
                    break
                await trio.sleep(0.05)
        await s.call("tasks/cancel", {"taskId": id})
    if not looked:
        raise NotApplicable("the server made no task of `asks` or `samples` for a client that cannot be asked")


async def _update(s: ServerSession, id: str, answers: dict[str, Any]) -> Any:
    return await s.call("tasks/update", {"taskId": id, "inputResponses": answers})
