"""What a client's messages owe any server of 2026-07-28: what they say of it, their headers, how they are taken back.

Tasks lean on all of this. Where a client has to make sense of an answer, what it prints shows whether it did.
"""

from __future__ import annotations

import json
from typing import Any

from mcp_tasks import ConnectionClosed
from mcp_tasks.testing import Frame

from ..client_session import ClientSession, tool_result
from ..scenario import Errand, NotApplicable, scenario
from .questions_2026 import question_for

_META = "io.modelcontextprotocol/"
_ODD_META = {"com.example/odd": {"deep": [1, None]}, "com.example/": "odd", "odd": True}
_ODD_TOOL = "jeu à deux"
_UNSHARED = ["2099-01-01", "2098-12-31"]


@scenario("C26-004", "C26-005", "C26-052", "C26-053", "C26-054", "C26-057", leg="client")
async def unknown_meta(s: ClientSession) -> None:
    """Every answer has members in its ``_meta`` that nobody knows."""
    s.more_meta = _ODD_META
    call = await s.called()
    await s.answer_call(call, "odd but valid")
    await _got(s, "C26-052", "odd but valid", "members of _meta that are not known are let be")
    for frame in s.sent():
        if frame.is_request and frame.method != "initialize":
            said = frame.meta
            version = isinstance(said.get(f"{_META}protocolVersion"), str)
            s.judge("C26-053", version, f"_meta has {_META}protocolVersion", frame)
            declared = isinstance(said.get(f"{_META}clientCapabilities"), dict)
            s.judge("C26-054", declared, f"_meta has {_META}clientCapabilities", frame)


@scenario("C26-014", leg="client")
async def a_result_of_an_unknown_type(s: ClientSession) -> None:
    """The call is answered with what no client can make sense of."""
    call = await s.called()
    await s.reply(call.object, {"resultType": "postponed", **tool_result("not to be read")})
    # It may try again, which is no way to read the result; but not for ever.
    for _ in range(3):
        if await s.until_or_end(lambda: s.unread("tools/call"), "another call"):
            again = await s.called()
            await s.reply(again.object, {"resultType": "postponed", **tool_result("not to be read")})
    printed = await s.printed()
    read = isinstance(printed, dict) and printed.get("text") == "not to be read"
    s.judge("C26-014", not read, f"a result of an unknown resultType is an error, not {printed!r}", call)


@scenario("C26-029", "C26-114", "C26-236", leg="client")
async def strange_notifications(s: ClientSession) -> None:
    """While the call is open there are notifications that mean nothing to the client, some of them malformed."""
    call = await s.called()
    before = len(s.wire.frames)
    await s.notify("notifications/nobody-knows-this", {"odd": True})
    await s.notify("notifications/cancelled", {"requestId": "there-is-no-such-request"})
    await s.notify("notifications/cancelled", {"reason": "of nothing"})
    await s.answer_call(call, "undisturbed")
    await _got(s, "C26-236", "undisturbed", "cancellations that mean nothing are ignored")
    answers = [frame for frame in s.wire.frames[before:] if frame in s.sent() and _is_response(frame)]
    s.judge("C26-029", not answers, "notifications are not answered", answers[0] if answers else call)
    responses = [frame for frame in s.sent() if _is_response(frame)]
    s.judge("C26-114", not responses, "a client sends no responses", responses[0] if responses else call)


@scenario("C26-114", leg="client")
async def a_request_of_the_server(s: ClientSession) -> None:
    """The server makes a request, which it should not; a client has no way to answer it."""
    call = await s.called()
    if s.over_http is not None:
        await s.over_http.visit(call.channel).begin()
    try:
        await s.send({"jsonrpc": "2.0", "id": "not-allowed", "method": "ping"})  # by hand: nothing waits for an answer
        await s.answer_call(call)
    except ConnectionClosed:
        pass  # it need not talk to such a server
    await s.printed()
    responses = [frame for frame in s.sent() if _is_response(frame)]
    s.judge("C26-114", not responses, "a client sends no responses", responses[0] if responses else call)


@scenario("C26-006", "C26-239", "C26-240", leg="client", errand=Errand(calls=3, progress=True))
async def several_calls_at_once(s: ClientSession) -> None:
    """Three calls are open at the same time, each of which wants to hear of its progress."""
    calls = [await s.called()]
    while len(calls) < 3 and await s.until_or_end(lambda: s.unread("tools/call"), "another call"):
        calls.append(await s.called())
    ids = [(type(call.object["id"]), call.object["id"]) for call in calls]
    s.judge("C26-006", len(set(ids)) == len(ids), "the ids of requests that are open differ", calls[-1])
    tokens = [call.meta["progressToken"] for call in calls if "progressToken" in call.meta]
    if tokens:
        fit = all(isinstance(token, (str, int)) and not isinstance(token, bool) for token in tokens)
        s.judge("C26-239", fit, "a progress token is a string or an integer", calls[-1])
        apart = all(token not in tokens[:place] for place, token in enumerate(tokens))
        s.judge("C26-240", apart, "the tokens of requests that are open differ", calls[-1])
    else:
        s.skip("C26-239", "the client does not ask for progress")
        s.skip("C26-240", "the client does not ask for progress")
    for call in calls:
        await s.answer_call(call)
    await s.printed()


@scenario("C26-086", leg="client")
async def no_version_in_common(s: ClientSession) -> None:
    """The server refuses whatever comes, for it speaks other revisions."""
    refused: list[Frame] = []

    async def refuse(frame: Frame) -> None:
        requested = frame.meta.get(f"{_META}protocolVersion")
        error = {
            "code": -32022,
            "message": "Unsupported protocol version",
            "data": {"supported": _UNSHARED, "requested": requested},
        }
        answer = {"jsonrpc": "2.0", "id": frame.object["id"], "error": error}
        if s.over_http is None:
            await s.send(answer)
        else:
            await s.over_http.refuse(s.over_http.visit(frame.channel), 400, answer)

    def take(request: dict[str, Any]) -> None:
        frame = s.frame_of(request)
        refused.append(frame)
        s._nursery.start_soon(refuse, frame)

    for method in ("server/discover", "tools/list", "tools/call", "initialize"):
        s.on(method, take)
    await s.until_or_end(lambda: len(refused) > 20, "the end")
    printed = await s.printed()
    if not refused:
        raise NotApplicable("the client asks for nothing")
    reported = not isinstance(printed, dict) or "error" in printed  # one that prints nothing has ended with it
    s.judge("C26-086", reported, f"that no version is shared is reported, not {printed!r}", refused[-1])


@scenario("C26-030", "C26-125", "C26-218", "C26-237", leg="client", transports=("stdio",), errand=Errand(cancel="call"))
async def a_call_taken_back(s: ClientSession) -> None:
    """The caller does not wait for the answer."""
    call = await s.called()

    def withdrawn() -> list[Frame]:
        return [notice for notice in s.sent("notifications/cancelled") if notice.params.get("requestId") == call.id]

    await s.until_or_end(lambda: s.sent("notifications/cancelled"), "notifications/cancelled")
    notices = s.sent("notifications/cancelled")
    s.judge("C26-218", notices, "the server is told that nobody waits for the answer", notices[0] if notices else call)
    if not notices:
        raise NotApplicable("the client takes nothing back")
    frame = (withdrawn() or notices)[0]
    s.judge("C26-125", withdrawn(), "notifications/cancelled names the id of the call", frame)
    s.judge("C26-237", "requestId" in frame.params, "notifications/cancelled has a requestId", frame)
    s.judge("C26-030", "id" not in frame.object, "a notification has no id", frame)
    await s.printed()


@scenario("C26-218", leg="client", transports=("http",), errand=Errand(cancel="call"))
async def a_call_left(s: ClientSession) -> None:
    """The caller does not wait for the answer; over HTTP its exchange is closed."""
    call = await s.called()

    def left() -> bool:
        return any(frame.event == "closed" and frame.channel == call.channel for frame in s.sent())

    await s.until_or_end(left, "the end of the exchange")
    s.judge("C26-218", left(), "the exchange of the call is closed", call)
    await s.printed()


@scenario(
    "C26-146",
    "C26-168",
    "C26-169",
    "C26-175",
    "C26-176",
    "C26-177",
    "X26-102",
    "X26-103",
    leg="client",
    transports=("http",),
    declares={"tools": {}, "extensions": {f"{_META}tasks": {}}},
)
async def headers_of_a_task(s: ClientSession) -> None:
    """The call becomes a task whose id cannot stand in a header as it is; then it asks something."""
    call = await s.called()
    task = await s.run_task(call, id="tâche №7, ¡ask!")
    await s.until(lambda: task.polls, "tasks/get")
    task.questions = {"only": question_for(call, "Your name?")}
    task.move("input_required")
    await s.until(lambda: task.updates, "tasks/update")
    s.end(task)
    await s.printed()


@scenario("C26-176", "C26-177", leg="client", transports=("http",), errand=Errand(tool=_ODD_TOOL))
async def the_header_of_an_odd_tool(s: ClientSession) -> None:
    """The tool has a name that cannot stand in a header as it is."""
    s.tools[_ODD_TOOL] = {**s.tools["play"], "name": _ODD_TOOL}
    call = await s.until_or_end(lambda: s.unread("tools/call"), "tools/call")
    if not call:
        raise NotApplicable("the client does not call a tool of that name")
    await s.answer_call(await s.called(_ODD_TOOL))
    await s.printed()


@scenario("X26-102", "X26-103", leg="client", transports=("http",), errand=Errand(cancel="working"))
async def headers_of_a_cancellation(s: ClientSession) -> None:
    """The call becomes a task that is cancelled; its id looks as if it were encoded already."""
    call = await s.called()
    task = await s.run_task(call, id="=?base64?bm90IHNv?=")
    await s.until(lambda: task.cancels, "tasks/cancel")
    await s.printed()


@scenario("C26-203", leg="client", transports=("http",))
async def header_names_in_another_case(s: ClientSession) -> None:
    """The call is answered with headers whose names are written in an unusual way."""
    call = await s.called()
    await _answer_by_hand(s, call, "so to say", [(b"cOnTeNt-TyPe", b"application/json"), (b"X-ODD", b"1")])
    await _got(s, "C26-203", "so to say", "the names of headers are the same in any case")


@scenario("C26-154", leg="client", transports=("http",))
async def answers_by_stream(s: ClientSession) -> None:
    """Every answer is a stream of events, with nothing but the answer in it."""
    assert s.over_http is not None
    s.over_http.events = True
    call = await s.called()
    await s.answer_call(call, "by stream")
    await _got(s, "C26-154", "by stream", "an answer may be a stream of events")


@scenario("C26-154", leg="client", transports=("http",))
async def answers_as_json(s: ClientSession) -> None:
    """Every answer is one JSON object."""
    assert s.over_http is not None
    s.over_http.events = False
    call = await s.called()
    await s.answer_call(call, "as JSON")
    await _got(s, "C26-154", "as JSON", "an answer may be one JSON object")


async def _got(s: ClientSession, id: str, text: str, expected: str) -> None:
    # Judge by whether the caller got this result.
    printed = await s.printed()
    found = isinstance(printed, dict) and printed.get("text") == text
    s.judge(id, found, f"{expected}: the caller gets {text!r}, not {printed!r}")


async def _answer_by_hand(s: ClientSession, call: Frame, text: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert s.over_http is not None
    message = {"jsonrpc": "2.0", "id": call.object["id"], "result": s.complete(tool_result(text))}
    visit = s.over_http.visit(call.channel)
    s.over_http.show(Frame(s.wire.side, message, call.channel, status=200))
    await visit.answer(200, json.dumps(message).encode(), headers)


def _is_response(frame: Frame) -> bool:
    return frame.method is None and ("result" in frame.object or "error" in frame.object)
