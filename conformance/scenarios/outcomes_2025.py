"""How tasks end (2025-11-25): what their results are, what became of those that failed, and how they are cancelled."""

from __future__ import annotations

import re
from typing import Any

import trio

from mcp_tasks.testing import Frame

from ..answers import answer_to
from ..names import RELATED
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import Session, related_to, result_in
from .receiver_2025 import unless_over

_INVALID_PARAMS = -32602
_ODD_IDS: tuple[dict[str, Any], ...] = (
    {},
    {"taskId": None},
    {"taskId": 7},
    {"taskId": ["no-such-task-4f1c"]},
    {"taskId": ""},
    {"taskId": "no-such-task-4f1c"},
    {"taskId": "../no-such-task-4f1c"},
    {"taskId": "__proto__"},
    {"taskId": "4f1c" * 1_000},
)
_SAYS_NOTHING = {
    "",
    "error",
    "failed",
    "internal error",
    "internal server error",
    "invalid params",
    "invalid parameters",
    "invalid request",
    "unknown error",
}
_SLOW_IS_OVER_SECONDS = 3.2


# --- results ----------------------------------------------------------------------------------------------------------


@scenario("T25-091", "T25-133", leg="both", needs="quick")
async def the_same_either_way(s: Session) -> None:
    """The same request is made as a task and without one."""
    made = await s.make_task("quick")
    await s.settled(made.id)
    as_task = await s.call("tasks/result", {"taskId": made.id})
    method, params = s.request_for("quick")
    plain, again = await s.call(method, params), await s.call(method, params)
    code = plain.code
    said = "the plain request is answered" if code is None else f"the plain request is refused with {code}"
    s.judge("T25-133", code == -32600, said, plain)
    support = s.task_support(params.get("name", "")) if isinstance(s, ServerSession) else None
    if plain.error is not None:
        s.skip("T25-091", said)
    elif support == "required":
        s.skip("T25-091", "the tool of `quick` cannot be called plainly")
    elif plain.result.get("isError") is True and as_task.result.get("isError") is not True:
        s.skip("T25-091", "the plain request is answered with an error of the tool")
    elif _bare(plain) != _bare(again):
        s.skip("T25-091", "two plain requests do not give the same either")
    else:
        s.judge("T25-091", _bare(as_task) == _bare(plain), "tasks/result gives what the plain request gives", as_task)


def _bare(answer: Frame) -> dict[str, Any]:
    return {name: value for name, value in answer.result.items() if name != "_meta"}


@scenario("T25-123", "T25-124", "T25-127", "T25-129", leg="both", needs="fails")
async def an_error_as_outcome(s: Session) -> None:
    """The request of a task ends with an error of the protocol."""
    made = await s.make_task("fails")
    task = await s.settled(made.id)
    shown = s.wire.frames[-1]
    s.judge("T25-124", task.get("status") == "failed", "a task that ended with an error is failed", shown)
    s.judge("T25-123", "statusMessage" in task, f"statusMessage is {task.get('statusMessage')!r}", shown)
    told = isinstance(message := task.get("statusMessage"), str) and bool(message.strip())
    s.judge("T25-129", told, "statusMessage says why the task has failed", shown)
    answer = await s.call("tasks/result", {"taskId": made.id})
    s.judge("T25-127", answer.error is not None, "tasks/result gives the error that the request ended with", answer)
    method, params = s.request_for("fails")
    plain, again = await s.call(method, params), await s.call(method, params)
    if plain.error is not None and plain.error == again.error:
        s.judge("T25-127", answer.error == plain.error, "it is the error that the plain request gets", answer)


@scenario("T25-125", "T25-126", "T25-129", leg="server", needs="is_error")
async def a_tool_error_as_outcome(s: ServerSession) -> None:
    """The tool of a task ends with a result that says it is an error."""
    made = await s.make_task("is_error")
    task = await s.settled(made.id)
    shown = s.wire.frames[-1]
    s.judge("T25-125", task.get("status") == "failed", "a task whose result has isError is failed", shown)
    if task.get("status") == "failed":
        told = isinstance(message := task.get("statusMessage"), str) and bool(message.strip())
        s.judge("T25-129", told, "statusMessage says why the task has failed", shown)
    else:
        s.skip("T25-129", f"the task is {task.get('status')}")
    answer = await s.call("tasks/result", {"taskId": made.id})
    s.judge("T25-126", answer.result.get("isError") is True, "tasks/result gives the result with isError", answer)


# --- cancelling -------------------------------------------------------------------------------------------------------


@scenario("T25-094", "T25-113", "T25-116", "T25-119", leg="both", needs=("quick", "slow"))
async def cancelled_for_good(s: Session) -> None:
    """A task is cancelled, and once more, and so is one that has ended."""
    s.require("tasks", "cancel")
    over = await s.make_task("quick")
    ended = await s.settled(over.id)
    refused = await s.call("tasks/cancel", {"taskId": over.id})
    s.judge("T25-113", refused.code == _INVALID_PARAMS, f"to cancel a {ended['status']} task is -32602", refused)
    shown = await s.get(over.id)
    stays = shown.error is not None or shown.result.get("status") == ended["status"]
    s.judge("T25-113", stays, f"the task stays {ended['status']}", shown)

    made = await s.make_task("slow")
    began = trio.current_time()
    cancelled = await s.call("tasks/cancel", {"taskId": made.id})
    await unless_over(s, made.id, cancelled)
    if cancelled.error is not None:
        raise Broken(f"tasks/cancel was answered with the error {cancelled.code}")
    shown = await s.get(made.id)
    gone = shown.error is not None
    s.judge("T25-119", gone, f"a cancelled task is {'gone at once' if gone else 'kept'}", shown)
    again = await s.call("tasks/cancel", {"taskId": made.id})
    s.judge("T25-113", again.code == _INVALID_PARAMS, "to cancel a task twice is -32602", again)
    await trio.sleep(max(began + _SLOW_IS_OVER_SECONDS - trio.current_time(), 0))
    shown = await s.get(made.id)
    stays = shown.error is not None or shown.result.get("status") == "cancelled"
    s.judge("T25-116", stays, "a cancelled task stays cancelled when its work would have ended", shown)
    outcome = await s.call("tasks/result", {"taskId": made.id})
    code = outcome.code
    said = "an ordinary result" if code is None else f"the error {code}"
    s.judge("T25-094", code is not None, f"the result of a cancelled task is {said}", outcome)


@scenario("T25-090", "T25-097", "T25-117", "T25-118", leg="server", needs="asks")
async def cancelled_while_it_asks(s: ServerSession) -> None:
    """A task has a question, and is cancelled before that is answered; the answer comes all the same."""
    s.require("tasks", "cancel")
    s.on("elicitation/create", None)
    made = await s.make_task("asks")
    waiting = await s.begin("tasks/result", {"taskId": made.id})
    held = await s.until(lambda: _questions(s), "elicitation/create")
    question = s.frame_of(held[0])
    named = question.meta.get(RELATED) == {"taskId": made.id}
    s.judge("T25-097", named, f"the question has the taskId {made.id} in {RELATED}", question)
    shown = await _asking(s, made.id)
    if shown.result.get("status") != "input_required":
        raise NotApplicable(f"the task has a question and is {shown.result.get('status')}")
    s.judge("T25-090", not s.has_come(waiting), "tasks/result waits while the task has a question", shown)
    cancelled = await s.call("tasks/cancel", {"taskId": made.id})
    flipped = cancelled.result.get("status") == "cancelled"
    s.judge("T25-117", flipped, "a task that has a question can be cancelled", cancelled)
    answer = answer_to("elicitation/create", held[0].get("params") or {})
    await s.reply(held[0], {**answer, "_meta": related_to(made.id)})
    try:
        await s.result_of("ping")
        after = await s.get(made.id)
    except Broken as trouble:
        s.judge("T25-118", False, f"an answer to a cancelled task does no harm: {trouble}", cancelled)
        return
    kept = after.error is not None or after.result.get("status") == "cancelled"
    s.judge("T25-118", kept and len(_questions(s)) == 1, "an answer to a cancelled task changes nothing", after)


def _questions(s: Session) -> list[dict[str, Any]]:
    return [message for message in s.received if message.get("method") == "elicitation/create"]


async def _asking(s: Session, task_id: str) -> Frame:
    """The answer to ``tasks/get`` once the task shows that it asks; it may show that a moment after it has asked."""
    for _ in range(20):
        shown = await s.get(task_id)
        if result_in(shown, "tasks/get").get("status") != "working":
            break
        await trio.sleep(0.05)
    return shown


# --- errors -----------------------------------------------------------------------------------------------------------


@scenario("T25-130", "T25-134", leg="both", era="2025-11-25")
async def odd_task_ids(s: Session) -> None:
    """Tasks are asked for by ids that are none."""
    s.require("tasks")
    methods = ["tasks/get", "tasks/result", *(["tasks/cancel"] if s.announces("tasks", "cancel") else [])]
    answers: dict[tuple[str, str], Frame] = {}
    for method in methods:
        begun = [(params, await s.begin(method, params)) for params in _ODD_IDS]
        answers.update({(method, str(params)): await s.outcome(request) for params, request in begun})
    wrong = [answer for answer in answers.values() if answer.code != _INVALID_PARAMS]
    s.judge("T25-130", not wrong, "a taskId that is none is -32602", wrong[0] if wrong else None)
    unknown = answers["tasks/get", str({"taskId": "no-such-task-4f1c"})]
    s.judge("T25-134", _says_why(unknown.error), "the message says what is wrong with the taskId", unknown)


def _says_why(error: dict[str, Any] | None) -> bool:
    if error is None or not isinstance(error.get("message"), str):
        return False
    said = re.sub(r"^(mcp error)?[\s:]*-?\d+[\s:]*", "", error["message"].strip().lower()).strip(" .:!")
    return said not in _SAYS_NOTHING or bool(error.get("data"))


@scenario("T25-136", leg="both", needs="quick")
async def a_request_that_cannot_be(s: Session) -> None:
    """A task is wanted for a request that makes no sense."""
    method, params = s.request_for("quick")
    s.require("tasks", "requests", *method.split("/"))
    params = {"name": "no-such-tool-4f1c", "arguments": {}} if method == "tools/call" else {}
    answer = await s.call(method, {**params, "task": {}})
    code = answer.code
    said = "a task is made of it" if code is None else f"it is refused with {code}, and no task is made"
    s.judge("T25-136", code is not None, said, answer)
