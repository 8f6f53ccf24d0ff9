"""What a client owes a server whose tools it runs as tasks, and one whose tools are none (2025-11-25)."""

from __future__ import annotations

from functools import partial
from typing import Any

from mcp_tasks.testing import Frame, HttpServerWire, Visit

from ..client_session import ClientSession
from ..hosting import Host
from ..names import RELATED
from ..scenario import Errand, NotApplicable, scenario

_AS_TASK = Errand(task=True)
_ANSWER_SECONDS = 2.0
_FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@scenario("T25-020", "T25-098", leg="client", errand=_AS_TASK)
async def a_nested_question(s: ClientSession) -> None:
    """The call is a task, which has a question for the user, and then a result."""
    host = Host(s)
    call = await host.request()
    found = "an optional tool is called as a task" if "task" in call.params else "an optional tool is called plainly"
    s.judge("T25-020", "task" in call.params, found, call)
    task = await host.run(call)
    if not s.announces("elicitation"):
        raise NotApplicable("the client does not announce elicitation")
    task.move("input_required")
    await host.comes(lambda: task.waits)
    answer = await s.call("elicitation/create", _question(host.related(task)))
    s.judge("T25-098", answer.meta.get(RELATED) == {"taskId": task.id}, f"_meta repeats {RELATED}", answer)
    task.move("working")
    await host.end(task)


@scenario("T25-070", leg="client", errand=_AS_TASK, transports=("http",))
async def a_question_by_another_stream(s: ClientSession) -> None:
    """The questions of a task come by the stream that the client listens on, and by that of its request."""
    host = Host(s)
    wire = s.wire
    assert isinstance(wire, HttpServerWire)
    task = await host.run(await host.request())
    if not s.announces("elicitation"):
        raise NotApplicable("the client does not announce elicitation")
    task.move("input_required")
    await host.comes(lambda: task.waits)
    streams: list[Visit] = []
    for visit in wire.open_visits():
        if (visit.verb == "GET" and visit.streams) or (task.waits and visit.id == task.waits[0].id):
            streams.append(visit)
    if not streams:
        raise NotApplicable("the client has no stream open")
    for number, visit in enumerate(streams, 1):
        id = f"by-{number}"
        question = {"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": _question(host.related(task))}
        sent = await wire.send(question, channel=visit.channel)
        answered = await host.comes(partial(s.has_come, sent), _ANSWER_SECONDS)
        s.judge("T25-070", answered, f"a question that comes by {visit.channel} is answered", sent)
        if not answered:
            break
    task.move("working")
    await host.end(task)


@scenario("T25-036", "T25-037", "T25-045", leg="client", errand=_AS_TASK, transports=("http",))
async def a_lost_stream(s: ClientSession) -> None:
    """The stream of the request for the result breaks off before the result is there."""
    host = Host(s)
    wire = s.wire
    assert isinstance(wire, HttpServerWire)
    wire.events = True
    task = await host.run(await host.request())
    if not await host.comes(lambda: task.waits, 1.0):
        task.move("input_required")  # it asks for the result now
    if not await host.comes(lambda: task.waits):
        raise NotApplicable("it does not ask for the result of a task that is not over")
    task.move("working")
    visit = next(visit for visit in wire.open_visits() if visit.id == task.waits[0].id)
    host.pending.clear()
    await visit.begin()
    await visit.event(b"", "first")
    await visit.retry(50)
    await visit.cut()
    known = {id(visit) for visit in wire.visits}

    def resumed() -> Visit | None:
        fresh = [one for one in wire.visits if id(one) not in known]
        return next((one for one in fresh if one.headers.get("last-event-id") == "first"), None)

    came_back = await host.comes(lambda: len(task.waits) >= 2 or resumed(), 3.0)
    asked = len(task.waits) >= 2
    ways = {True: "it asks for the result again", False: "it takes the stream up again" if came_back else "it does not"}
    s.judge("T25-045", asked, ways[asked], task.waits[-1])
    left = [frame for frame in wire.frames if frame.event == "closed"]
    for row, method in (("T25-036", "tasks/get"), ("T25-037", "tasks/result")):
        dropped = [frame for frame in left if _brought(wire, frame) == method]
        found = f"the client {'leaves' if dropped else 'stays on'} the stream of {method}"
        s.judge(row, dropped, found, next(iter(dropped), None))
    task.move("completed")
    task.result = host.plain_result(task.request)
    again = resumed()
    if again is not None and not asked:
        result = {**task.result, "_meta": host.related(task)}
        answer = {"jsonrpc": "2.0", "id": task.waits[0].id, "result": result}
        await wire.send(answer, channel=again.channel, event_id="second")
        await again.end()
    await host.end()


def _brought(wire: HttpServerWire, frame: Frame) -> Any:
    message = wire.visit(frame.channel).message
    return message.get("method") if isinstance(message, dict) else None


async def _plain_or_not_at_all(s: ClientSession, *ids: str) -> None:
    host = Host(s)
    await host.comes(lambda: host.asked or host.over)
    call = host.asked[0] if host.asked else None
    if call is None and not host.over:
        raise NotApplicable("the client does not call it, and does not end")
    for id in ids:
        s.judge(id, call is None or "task" not in call.params, "such a tool is not called as a task", call)
    await host.end()


@scenario("T25-018", leg="client", errand=Errand("forbidden", task=True))
async def a_forbidden_tool(s: ClientSession) -> None:
    """The tool says that it cannot be a task."""
    await _plain_or_not_at_all(s, "T25-018")


@scenario("T25-017", "T25-018", leg="client", errand=Errand("silent", task=True))
async def a_tool_that_says_nothing(s: ClientSession) -> None:
    """The tool says nothing of tasks, and so cannot be one."""
    await _plain_or_not_at_all(s, "T25-017", "T25-018")


@scenario("T25-022", leg="client", errand=Errand("required"))
async def a_required_tool(s: ClientSession) -> None:
    """The tool can be nothing but a task."""
    host = Host(s)
    await host.comes(lambda: host.asked or host.over)
    call = host.asked[0] if host.asked else None
    if call is None and not host.over:
        raise NotApplicable("the client does not call it, and does not end")
    s.judge("T25-022", call is None or "task" in call.params, "it is called as a task, or not at all", call)
    if call is not None and "task" in call.params:
        await host.end(await host.run(call))
    elif call is not None:
        await s.refuse(call.object, -32601, "This tool can only be called as a task")
        await s.printed()


def _question(meta: dict[str, Any]) -> dict[str, Any]:
    return {"message": "Your name?", "requestedSchema": _FORM, "_meta": meta}
