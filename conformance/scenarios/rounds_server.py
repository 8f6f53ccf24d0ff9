"""What a server owes to a client that it asks something: rounds of questions and answers (2026-07-28).

The client of these scenarios does not know tasks, so that a call cannot become one and has to be asked about at once.

Spec: basic/patterns/mrtr.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_tasks.testing import Frame

from ..answers import answer_to
from ..names import CAPABILITIES
from ..odd_requests import says_what_is_missing
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import CLIENT_2026, ServerSession

_PLAIN = {name: value for name, value in CLIENT_2026.items() if name != "extensions"}
_NOT_ASKED: Mapping[str, Any] = {"sampling": {"tools": {}, "context": {}}, "roots": {}}
_ASKED = ("elicitation/create", "sampling/createMessage", "roots/list")


async def _first_round(s: ServerSession, ability: str) -> Frame:
    """The questions that a call is answered with. Raises `NotApplicable`, `Broken`."""
    answer = await s.call(*s.request_for(ability))
    if answer.result.get("resultType") != "input_required":
        raise NotApplicable(f"the call of `{ability}` was not answered with a question")
    return answer


async def _asking(s: ServerSession) -> tuple[str, Frame]:
    """An ability whose call is answered with questions, and those. Raises `NotApplicable`, `Broken`."""
    for ability in ("asks", "asks_twice", "samples"):
        if s.profile.find(ability) is not None:
            answer = await s.call(*s.request_for(ability))
            if _asks(answer) and _questions(answer):
                return ability, answer
    raise NotApplicable("no call of `asks`, `asks_twice` or `samples` is answered with a question")


def _questions(answer: Frame) -> dict[str, Any]:
    found = answer.result.get("inputRequests")
    return found if isinstance(found, dict) else {}


def _answers(answer: Frame) -> dict[str, Any]:
    found = {}
    for key, question in _questions(answer).items():
        if not isinstance(question, dict):
            raise Broken(f"inputRequests.{key} is no object")
        found[key] = answer_to(str(question.get("method")), question.get("params") or {})
    return found


async def _again(
    s: ServerSession, ability: str, answer: Frame, answers: Mapping[str, Any], *, state: str | None = None
) -> Frame:
    """Repeat a call with answers, and with the state that came with the questions, or another."""
    method, params = s.request_for(ability)
    params["inputResponses"] = dict(answers)
    if "requestState" in answer.result:
        params["requestState"] = answer.result["requestState"] if state is None else state
    return await s.call(method, params)


def _asks(answer: Frame) -> bool:
    return answer.result.get("resultType") == "input_required"


def _is_done(answer: Frame) -> bool:
    return answer.result.get("resultType") == "complete" and not answer.result.get("isError")


@scenario("C26-248", "C26-250", "C26-256", "C26-264", "C26-277", "C26-278", leg="server", declares=_PLAIN)
async def a_round(s: ServerSession) -> None:
    """A call is answered with a question: it is repeated without the answer, then with that and others."""
    ability, asked = await _asking(s)
    questions = _questions(asked)
    s.judge("C26-264", True, "there are inputRequests, or a requestState, or both", asked)
    s.judge("C26-248", True, "what the client is asked comes in the result of the call", asked)
    for key, question in questions.items():
        bare = isinstance(question, dict) and "method" in question and not {"id", "jsonrpc"} & question.keys()
        s.judge("C26-250", bare, f"inputRequests.{key} has a method, and neither id nor jsonrpc", asked)
        known = isinstance(question, dict) and question.get("method") in _ASKED
        s.judge("C26-256", known, f"inputRequests.{key} is an elicitation, a sampling or a roots request", asked)
    again = await _again(s, ability, asked, {})
    if _asks(again):
        s.judge("C26-278", bool(_questions(again)), "what was not answered is asked again", again)
        asked = again
    elif _is_done(again):
        s.skip("C26-278", f"the tool of `{ability}` does without the answer")
        asked = await _first_round(s, ability)
    else:
        s.judge("C26-278", False, "what was not answered is asked again, and is no error", again)
        asked = await _first_round(s, ability)
    answers = _answers(asked)
    more = {"nobody-asked": {"action": "accept", "content": {"name": "Eve"}}, "nor-this": {"roots": []}}
    done = await _again(s, ability, asked, {**more, **answers})
    goes_on = _is_done(done) or (_asks(done) and _questions(done) != questions)
    s.judge("C26-277", goes_on, "answers to what was not asked are ignored", done)


@scenario("C26-255", leg="server", needs="asks_both", declares=_PLAIN)
async def two_questions_at_once(s: ServerSession) -> None:
    """A call is answered with two questions; one is answered, and then both."""
    asked = await _first_round(s, "asks_both")
    questions = _questions(asked)
    s.judge("C26-255", len(questions) > 1, "two questions have two keys", asked)
    if len(questions) < 2:
        return
    answers = _answers(asked)
    kept = min(answers)
    again = await _again(s, "asks_both", asked, {kept: answers[kept]})
    if _is_done(again):
        s.skip("C26-278", "the tool of `asks_both` does without the second answer")
        return
    s.judge("C26-278", _asks(again), "the question without an answer is asked again, and is no error", again)
    if not _asks(again):
        return
    missing = questions.keys() - {kept}
    methods = [question.get("method") for question in _questions(again).values()]
    wanted = all(questions[key].get("method") in methods for key in missing)
    s.judge("C26-278", wanted, "the question without an answer is asked again", again)
    # A server may keep the first answer in its state, or want both once more; either way both are there now.
    done = await _again(s, "asks_both", again, {**answers, **_answers(again)})
    s.judge("C26-278", _is_done(done), "with the missing answer the call ends", done)


@scenario("C26-260", leg="server", needs="asks_twice", declares=_PLAIN)
async def a_state_that_was_tampered_with(s: ServerSession) -> None:
    """By the second question the state holds the first answer: changed anywhere, it is not taken for good."""
    asked = await _first_round(s, "asks_twice")
    second = await _again(s, "asks_twice", asked, _answers(asked))
    if not _asks(second):
        raise NotApplicable("there is no second question")
    state = second.result.get("requestState")
    if not isinstance(state, str) or len(state) < 4:
        raise NotApplicable("the second question has no requestState")
    answers = _answers(second)
    forged = [_changed(state, len(state) * part // 4) for part in (1, 2, 3)]
    for text in (*forged, "nobody-made-this"):
        answer = await _again(s, "asks_twice", second, answers, state=text)
        s.judge("C26-260", not _is_done(answer), "a requestState that was tampered with is refused", answer)
    done = await _again(s, "asks_twice", second, answers)
    s.judge("C26-260", _is_done(done), "the requestState as it was given is taken", done)


def _changed(state: str, at: int) -> str:
    # Another character of the same kind, so that it is not refused for its form alone.
    old = state[at]
    if old.isdigit():
        new = str((int(old) + 1) % 10)
    elif old.isascii() and old.isalpha():
        new = chr((ord(old.lower()) - ord("a") + 1) % 26 + ord("a"))
        new = new.upper() if old.isupper() else new
    else:
        new = "A"
    return state[:at] + new + state[at + 1 :]


@scenario("C26-265", leg="server", needs="asks", declares=_NOT_ASKED)
async def a_client_that_has_no_user(s: ServerSession) -> None:
    """The client can be asked for roots and samplings, and not for its user."""
    answer = await s.call(*s.request_for("asks"))
    methods = [question.get("method") for question in _questions(answer).values() if isinstance(question, dict)]
    s.judge("C26-265", "elicitation/create" not in methods, "the user is not asked", answer)


@scenario("C26-265", leg="server", needs="samples", declares={"elicitation": {"form": {}}, "roots": {}})
async def a_client_that_has_no_model(s: ServerSession) -> None:
    """The client can be asked for roots and by forms, and has no model."""
    answer = await s.call(*s.request_for("samples"))
    methods = [question.get("method") for question in _questions(answer).values() if isinstance(question, dict)]
    s.judge("C26-265", "sampling/createMessage" not in methods, "the model is not asked", answer)


@scenario("C26-058", "C26-059", "C26-265", leg="server", declares=_PLAIN)
async def capabilities_of_the_request_alone(s: ServerSession) -> None:
    """A client that can be asked makes a call, and then one that cannot: the second is asked nothing."""
    ability, asked = await _asking(s)
    assert s.stamp is not None
    s.stamp = {**s.stamp, CAPABILITIES: {}}
    answer = await s.call(*s.request_for(ability))
    kind = answer.result.get("resultType")
    still = kind == "input_required" and bool(_questions(answer))
    expected = "nothing is taken for granted that this very request does not declare"
    s.judge("C26-058", not still and kind != "task", expected, answer)
    s.judge("C26-265", not still, "a client that declares nothing is asked nothing", answer)
    if answer.error is None and not answer.result.get("isError"):
        s.skip("C26-059", f"the tool of `{ability}` does without the answer, or asks all the same")
        return
    method = str(next(iter(_questions(asked).values())).get("method"))
    says_what_is_missing(s, answer, method.partition("/")[0])
