"""What a client owes a server that asks before it answers: rounds of questions (2026-07-28).

A server asks only for what the client has declared that it can do, so the questions are of whatever kind that is.
"""

from __future__ import annotations

from typing import Any

from mcp_tasks.testing import Frame

from ..client_session import ClientSession
from ..names import CAPABILITIES, VERSION
from ..scenario import Errand, NotApplicable, scenario

__all__ = ["question_for"]

_STATE = 'ü\u2028 {"a": 1.0,\t"b":"\\/"}=='
_ARGUMENTS = {"text": "as before", "more": [1, {"deep": None}]}


def question_for(call: Frame, text: str) -> dict[str, Any]:
    """A question of a kind that the client can answer. Raises `NotApplicable` if it can answer none."""
    declared = call.meta.get(CAPABILITIES)
    able = declared if isinstance(declared, dict) else {}
    if "elicitation" in able and (not able["elicitation"] or "form" in able["elicitation"]):
        schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        return {
            "method": "elicitation/create",
            "params": {"mode": "form", "message": text, "requestedSchema": schema},
        }
    if "sampling" in able:
        said = {"messages": [{"role": "user", "content": {"type": "text", "text": text}}], "maxTokens": 20}
        return {"method": "sampling/createMessage", "params": said}
    if "roots" in able:
        return {"method": "roots/list"}
    raise NotApplicable("the client declares nothing that it could be asked")


@scenario(
    "C26-249",
    "C26-268",
    "C26-270",
    "C26-271",
    "C26-272",
    "C26-274",
    leg="client",
    errand=Errand(arguments=_ARGUMENTS),
)
async def rounds_of_questions(s: ClientSession) -> None:
    """A call is answered with questions and a state, then with a question alone, and at last with a result."""
    call = await s.called()
    both = {"first": question_for(call, "Your name?"), "second": question_for(call, "Your cat's name?")}
    await s.ask_back(call, both, _STATE)
    retry = await s.called()
    _judge_retry(s, call, retry, both.keys())
    answers = retry.params.get("inputResponses")
    whole = isinstance(answers, dict) and both.keys() <= answers.keys()
    s.judge("C26-268", whole, "the retry has the answers to both questions", retry)
    s.judge("C26-270", retry.params.get("requestState") == _STATE, "requestState is given back as it was", retry)
    one = {"third": question_for(call, "Your dog's name?")}
    await s.ask_back(retry, one)
    again = await s.called()
    _judge_retry(s, call, again, one.keys(), retry)
    s.judge("C26-271", "requestState" not in again.params, "no requestState was given, and none comes back", again)
    await s.answer_call(again)
    await s.printed()


@scenario("C26-249", "C26-270", "C26-272", "C26-274", leg="client", errand=Errand(arguments=_ARGUMENTS))
async def a_state_alone(s: ClientSession) -> None:
    """A call is answered with a state and no questions: the server is busy, and wants it again."""
    call = await s.called()
    await s.ask_back(call, None, _STATE)
    retry = await s.called()
    _judge_retry(s, call, retry, set())
    s.judge("C26-270", retry.params.get("requestState") == _STATE, "requestState is given back as it was", retry)
    await s.answer_call(retry)
    await s.printed()


@scenario("X26-009", "X26-031", leg="client")
async def questions_before_the_task(s: ClientSession) -> None:
    """A call is answered with a question, then it becomes a task that asks under the same key."""
    call = await s.called()
    questions = {"name": question_for(call, "Your name?")}
    await s.ask_back(call, questions, "a state")
    task = await s.run_task(await s.called(), status="input_required", questions=dict(questions))
    updates = await s.until_or_end(lambda: task.updates, "tasks/update")
    answers = updates[0].params.get("inputResponses") if updates else None
    answered = isinstance(answers, dict) and "name" in answers
    s.judge("X26-031", answered, "the task's question is answered", (updates or [task.request])[0])
    s.end(task, "twice asked")
    printed = await s.printed()
    found = isinstance(printed, dict) and printed.get("text") == "twice asked"
    s.judge("X26-009", found, f"the caller gets the result 'twice asked', not {printed!r}")


def _judge_retry(s: ClientSession, call: Frame, retry: Frame, keys: Any, before: Frame | None = None) -> None:
    said = retry.meta
    required = isinstance(said.get(VERSION), str) and isinstance(said.get(CAPABILITIES), dict)
    s.judge("C26-249", required, "the retry says its version and capabilities, as each request does", retry)
    earlier = [call.object["id"]] + ([] if before is None else [before.object["id"]])
    s.judge("C26-272", retry.object["id"] not in earlier, "the retry has an id of its own", retry)
    same = {"name", "arguments"}
    changed = [name for name in same if retry.params.get(name) != call.params.get(name)]
    if changed:
        s.judge("C26-274", False, f"the retry has the {' and '.join(sorted(changed))} of the call", retry)
        return
    answers = retry.params.get("inputResponses")
    given = set(answers) if isinstance(answers, dict) else set()
    s.judge("C26-274", given <= set(keys), f"inputResponses has the keys {', '.join(sorted(keys))}, no others", retry)
