"""What a receiver of tasks has announced, and keeps to (2025-11-25): capabilities, and what a tool says of itself."""

from __future__ import annotations

from ..scenario import NotApplicable, scenario
from ..server_session import ServerSession
from ..session import Session

_NOT_FOUND = -32601
_IMMEDIATE = "io.modelcontextprotocol/model-immediate-response"


@scenario("T25-001", "T25-013", leg="both")
async def what_is_not_announced(s: Session) -> None:
    """Operations that were not announced are not there."""
    hosts = s.announces("tasks")
    s.judge("T25-001", hosts, "it runs tasks for the other side" if hosts else "it runs no tasks for the other side")
    missing = [name for name in ("list", "cancel") if not s.announces("tasks", name)]
    if not missing:
        s.skip("T25-013", "tasks.list and tasks.cancel are both announced")
    for name in missing:
        params = {"taskId": "no-such-task-4f1c"} if name == "cancel" else {}
        answer = await s.call(f"tasks/{name}", params)
        code = answer.code
        s.judge("T25-013", code == _NOT_FOUND, f"without tasks.{name}, tasks/{name} is {_NOT_FOUND}", answer)


@scenario("T25-011", "T25-012", "T25-053", leg="both", needs="quick")
async def what_is_announced(s: Session) -> None:
    """Who runs tasks answers for them, by every operation that was announced."""
    made = await s.make_task("quick")
    await s.settled(made.id)
    missing = []
    for method, id in (("tasks/get", ""), ("tasks/result", ""), ("tasks/list", "T25-011"), ("tasks/cancel", "T25-012")):
        name = method.partition("/")[2]
        if id and not s.announces("tasks", name):
            s.skip(id, f"tasks.{name} is not announced")
            continue
        answer = await s.call(method, {} if method == "tasks/list" else {"taskId": made.id})
        there = answer.is_response and (answer.code != _NOT_FOUND)
        if not there:
            missing.append(answer)
        if id:
            s.judge(id, there, f"tasks.{name} is announced, so there is {method}", answer)
    s.judge("T25-053", not missing, "whoever runs a task serves it", missing[0] if missing else None)


@scenario("T25-010", "T25-056", leg="both")
async def what_cannot_be_a_task(s: Session) -> None:
    """A request of a kind that is not among tasks.requests runs as ever, whatever it says of tasks."""
    methods = ["ping"]
    if isinstance(s, ServerSession) and s.announces("tools"):
        methods.append("tools/list")
    for method in methods:
        answer = await s.call(method, {"task": {}})
        s.judge("T25-056", "result" in answer.object, f"{method} runs normally, and `task` is disregarded", answer)
        s.judge("T25-010", "task" not in answer.result, f"{method} does not become a task", answer)


@scenario("T25-004", leg="both", needs="quick")
async def a_task_unannounced(s: Session) -> None:
    """Who did not announce tasks does not run any, even if they are asked for."""
    method, params = s.request_for("quick")
    announced = s.announces("tasks", "requests", *method.split("/"))
    if not announced and method != "tools/call" and method.partition("/")[0] not in s.capabilities:
        raise NotApplicable(f"the program does not take {method} at all")
    answer = await s.call(method, {**params, "task": {}})
    runs = isinstance(answer.result.get("task"), dict)
    s.judge("T25-004", announced or not runs, f"who runs {method} as a task says so in the handshake", answer)


@scenario("T25-021", "T25-033", "T25-057", leg="server", needs="quick")
async def an_optional_tool(s: ServerSession) -> None:
    """A tool that may be a task can be called either way."""
    method, params = s.request_for("quick")
    s.require("tasks", "requests", "tools", "call")
    _needs_support(s, "quick", "optional")
    plain = await s.call(method, params)
    kept = plain.error is None and "result" in plain.object and "task" not in plain.result
    s.judge("T25-021", kept, "a plain call of an optional tool gets the plain result", plain)
    _judge_forcing(s, plain.error is not None)
    made = await s.call(method, {**params, "task": {}})
    kept = isinstance(made.result.get("task"), dict)
    s.judge("T25-021", kept, "a call of an optional tool that wants a task gets one", made)
    says = _IMMEDIATE in made.meta
    s.judge("T25-033", says, f"a new task {'has' if says else 'does not have'} something for the model at once", made)


@scenario("T25-057", leg="client", needs="quick")
async def a_plain_request(s: Session) -> None:
    """A request that could have been a task does not ask to be one."""
    method, params = s.request_for("quick")
    s.require("tasks", "requests", *method.split("/"))
    answer = await s.call(method, params)
    _judge_forcing(s, answer.code in (-32600, _NOT_FOUND))


def _judge_forcing(s: Session, refused: bool) -> None:
    says = "are refused, to have them come as tasks" if refused else "are run as they come"
    s.judge("T25-057", refused, f"plain requests {says}")


@scenario("T25-019", leg="server", needs="forbidden")
async def a_forbidden_tool(s: ServerSession) -> None:
    """A tool that is no task is asked to be one."""
    method, params = s.request_for("forbidden")
    s.require("tasks", "requests", "tools", "call")
    _needs_support(s, "forbidden", "forbidden")
    answer = await s.call(method, {**params, "task": {}})
    code = answer.code
    s.judge("T25-019", code == _NOT_FOUND, f"it is refused with {_NOT_FOUND}", answer)


@scenario("T25-023", leg="server", needs="required")
async def a_required_tool(s: ServerSession) -> None:
    """A tool that can be nothing but a task is called plainly."""
    method, params = s.request_for("required")
    s.require("tasks", "requests", "tools", "call")
    _needs_support(s, "required", "required")
    answer = await s.call(method, params)
    code = answer.code
    s.judge("T25-023", code == _NOT_FOUND, f"it is refused with {_NOT_FOUND}", answer)


def _needs_support(s: ServerSession, ability: str, support: str) -> None:
    """Raises `NotApplicable` unless the tool of an ability says this of itself; saying nothing is to forbid it."""
    name = s.need(ability).tool
    if name not in s.tools:
        raise NotApplicable(f"there is no tool {name!r}")
    execution = s.tools[name].get("execution")
    found = execution.get("taskSupport", "forbidden") if isinstance(execution, dict) else "forbidden"
    if found != support:
        raise NotApplicable(f"the tool {name!r} says that tasks are {found}, not {support}")
