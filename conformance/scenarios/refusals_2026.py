"""What a server with the tasks extension refuses (2026-07-28): the undeclared, the unknown, the abolished."""

from __future__ import annotations

import base64
from typing import Any

from mcp_tasks.testing import Frame, HttpClientWire

from ..extension import LEGACY, UNKNOWN, WITHOUT, declare, names_the_extension, otherwise, some_task
from ..names import TASKS
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import CLIENT_2026, ServerSession
from ..session import result_in

_OPERATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tasks/get", {}),
    ("tasks/update", {"inputResponses": {}}),
    ("tasks/cancel", {}),
)
_NAMED = "data.requiredCapabilities.extensions has " + TASKS
_TTL_MS = 54_321


# --- those who do not know tasks --------------------------------------------------------------------------------------


@scenario("X26-012", "X26-107", "X26-125", leg="server")
async def operations_without_the_extension(s: ServerSession) -> None:
    """Who does not say that they know tasks is refused, though there is such a task."""
    made = await some_task(s)
    for id, capabilities in (("X26-107", WITHOUT), ("X26-125", LEGACY)):
        declare(s, capabilities)
        for method, more in _OPERATIONS:
            answer = await s.call(method, {"taskId": made.id, **more})
            s.judge(id, answer.code == -32021, f"{method} is refused with -32021", answer)
            if answer.code == -32021:
                s.judge("X26-012", names_the_extension(answer), _NAMED, answer)
    otherwise(s, "X26-012", "nothing was refused with -32021")


@scenario("X26-008", "X26-125", leg="server")
async def a_call_without_the_extension(s: ServerSession) -> None:
    """What was a task for one request is none for another that does not declare the extension."""
    made = await some_task(s, "quick", "many", "is_error", "progress", "required", "slow")
    method = made.request.method or ""
    params = {name: value for name, value in made.request.params.items() if name in ("name", "arguments")}
    for id, capabilities in (("X26-008", WITHOUT), ("X26-125", LEGACY)):
        declare(s, capabilities)
        answer = await s.through(await s.begin(method, params))
        ordinary = answer.result.get("resultType") != "task" and "taskId" not in answer.result
        s.judge(id, ordinary, "a request that does not declare the extension becomes no task", answer)


@scenario("X26-011", "X26-012", "X26-013", "X26-125", leg="server", needs="required")
async def work_that_is_always_a_task(s: ServerSession) -> None:
    """What can only be a task is refused to those who do not know tasks."""
    made = await s.make_task("required")
    method, params = s.request_for("required")
    for id, capabilities in (("X26-011", WITHOUT), ("X26-125", LEGACY)):
        declare(s, capabilities)
        answer = await s.call(method, params)
        if answer.result.get("resultType") in ("complete", "input_required"):
            raise NotApplicable("`required` can be had without a task")
        s.judge(id, answer.code == -32021, "the call is refused with -32021", answer)
        if answer.error is None or answer.code != -32021:
            continue
        s.judge("X26-012", names_the_extension(answer), _NAMED, answer)
        example = answer.error.get("message") == "Missing required client capability"
        s.judge("X26-013", not example, f"the message is {answer.error.get('message')!r}", answer)
    for id in ("X26-012", "X26-013"):
        otherwise(s, id, "nothing was refused with -32021")
    declare(s, CLIENT_2026)
    await s.settled(made.id)


# --- tasks that nobody knows ------------------------------------------------------------------------------------------


@scenario("X26-074", "X26-083", "X26-105", "X26-108", leg="server")
async def an_unknown_task_by_name(s: ServerSession) -> None:
    """Nobody knows the task, or it has no name that a task could have."""
    s.require("extensions", TASKS)
    for id, (method, more) in zip(("X26-105", "X26-074", "X26-083"), _OPERATIONS, strict=True):
        answer = await s.call(method, {"taskId": UNKNOWN, **more})
        s.judge(id, answer.code == -32602, f"{method} of an unknown task is refused with -32602", answer)
        _informs(s, answer)
    odd: list[Any] = ["../tasks"]
    if s.transport != "http":
        odd += ["no such task \N{SNOWMAN}", 7, None, {}]  # over HTTP there is a header that goes with it, or could not
    for wrong in odd:
        answer = await s.call("tasks/get", {"taskId": wrong})
        s.judge("X26-105", answer.code == -32602, f"tasks/get of {wrong!r} is refused with -32602", answer)
        _informs(s, answer)
    otherwise(s, "X26-108", "nothing was refused")


@scenario("X26-108", leg="server")
async def nonsense_about_a_task(s: ServerSession) -> None:
    """The task is there, what is said of it makes no sense; that is refused with a reason, or passed over."""
    made = await some_task(s)
    nonsense: tuple[Any, ...] = ("yes", ["yes"], {"no-such-key": 7}, {"no-such-key": {"action": {"accept": []}}})
    for wrong in nonsense:
        answer = await s.call("tasks/update", {"taskId": made.id, "inputResponses": wrong})
        _informs(s, answer)
    otherwise(s, "X26-108", "nothing was refused")


def _informs(s: ServerSession, answer: Frame) -> None:
    if answer.error is not None:
        message = answer.error.get("message")
        said = isinstance(message, str) and len(message.split()) > 1
        s.judge("X26-108", said, "the message of an error says what was wrong", answer)


# --- what there was in 2025-11-25 -------------------------------------------------------------------------------------


@scenario("X26-123", "X26-127", leg="server")
async def methods_that_are_gone(s: ServerSession) -> None:
    """Tasks are not listed, and nobody waits for their results."""
    s.require("extensions", TASKS)
    try:
        id = (await some_task(s)).id
    except NotApplicable:
        id = UNKNOWN
    answer = await s.call("tasks/list")
    s.judge("X26-123", answer.code == -32601, "tasks/list is refused with -32601", answer)
    answer = await s.call("tasks/result", {"taskId": id})
    s.judge("X26-127", answer.code == -32601, "tasks/result is refused with -32601", answer)


@scenario("X26-128", leg="server", needs="quick")
async def the_old_wish_for_a_task(s: ServerSession) -> None:
    """A call says in the words of 2025-11-25 that it wants to be a task; nobody minds, and nobody does it."""
    s.require("extensions", TASKS)
    method, params = s.request_for("quick")
    plain = await s.through(await s.begin(method, params))
    result_in(plain, method)
    for wish in ({"ttl": _TTL_MS}, {}, "yes"):
        answer = await s.through(await s.begin(method, {**params, "task": wish}))
        nested = isinstance(answer.result.get("task"), dict)
        s.judge("X26-128", answer.error is None and not nested, "`task` makes no difference to the answer", answer)
        if answer.result.get("resultType") == "task":
            granted = answer.result.get("ttlMs") == _TTL_MS
            s.judge("X26-128", not granted, "the ttl in `task` is not taken for a wish", answer)
    declare(s, WITHOUT)
    method, params = s.request_for("forbidden" if s.profile.find("forbidden") is not None else "quick")
    plain = await s.through(await s.begin(method, params))
    answer = await s.through(await s.begin(method, {**params, "task": {"ttl": _TTL_MS}}))
    alike = plain.code == answer.code and plain.result.get("resultType") == answer.result.get("resultType")
    s.judge("X26-128", alike, "the call is answered as it is without `task`", answer)


# --- over HTTP --------------------------------------------------------------------------------------------------------


@scenario("X26-104", leg="server", transports=("http",))
async def the_name_in_the_header(s: ServerSession) -> None:
    """``Mcp-Name`` says for which task a request is, plainly or in Base64; of another task it is refused."""
    made = await some_task(s)
    encoded = f"=?base64?{base64.b64encode(made.id.encode()).decode()}?="
    other = f"=?base64?{base64.b64encode(UNKNOWN.encode()).decode()}?="
    for method, more in _OPERATIONS[:2]:
        answer = await _named(s, method, {"taskId": made.id, **more}, encoded)
        s.judge("X26-104", answer.error is None, f"{method}: the Base64 form stands for the taskId", answer)
    for method, more in _OPERATIONS:
        for name in (UNKNOWN, other):
            answer = await _named(s, method, {"taskId": made.id, **more}, name)
            refused = answer.status == 400 and answer.code == -32020
            s.judge("X26-104", refused, f"{method}: an Mcp-Name of another task is refused with 400 and -32020", answer)


async def _named(s: ServerSession, method: str, params: dict[str, Any], name: str) -> Frame:
    """The answer to a request with this ``Mcp-Name``."""
    wire = s.wire
    if not isinstance(wire, HttpClientWire):
        raise Broken("a header wants HTTP")
    message = {
        "jsonrpc": "2.0",
        "id": f"named-{len(wire.exchanges)}",
        "method": method,
        "params": {**params, "_meta": s.stamp},
    }
    exchange = wire.post(message, headers={"mcp-name": name})
    return await s.outcome(next(one for one in reversed(wire.frames) if one.channel == exchange.channel and one.verb))
