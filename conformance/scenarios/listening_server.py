"""What a server owes to who listens (2026-07-28): first the acknowledgment, then what was asked for, until it ends.

What changes at a server is not for its client to say, so what can be brought about is the changes of tasks; of all
else it is judged what comes by itself.

Spec: basic/patterns/subscriptions, basic/patterns/cancellation.
"""

from __future__ import annotations

from typing import Any

import trio

from mcp_tasks.testing import Frame, HttpClientWire

from ..names import SUBSCRIPTION, TASKS
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import result_in

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_EVERYTHING: dict[str, Any] = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": True,
    "resourceSubscriptions": ["file:///judge"],
}
_LEAVE_SECONDS = 3.0
"""How long a server may take to end with its input."""
_FEATURES = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
    "resourceSubscriptions": "resources",
}


async def _listen(s: ServerSession, wanted: dict[str, Any], id: int | str) -> tuple[Frame, Frame]:
    """Listen, and wait for the acknowledgment; both frames. Raises `NotApplicable`, `Broken`."""
    request = await s.begin("subscriptions/listen", {"notifications": wanted}, id=id)

    def first() -> Frame | None:
        acknowledged = [frame for frame in _of(s, request) if frame.method == _ACKNOWLEDGED]
        if acknowledged:
            return acknowledged[0]
        return request if s.has_come(request) else None

    found = await s.until(first, "the acknowledgment")
    assert found is not None
    if found is request:
        answer = await s.outcome(request)
        if answer.code == -32601:
            raise NotApplicable("the server does not know subscriptions/listen")
        raise Broken(f"subscriptions/listen was answered before it was acknowledged, with {answer.code}")
    return request, found


def _of(s: ServerSession, request: Frame) -> list[Frame]:
    """What has come for a subscription: by its id, or by its own stream."""
    found = []
    for frame in s.wire.frames:
        if frame.sender is s.wire.side or frame.object == {}:
            continue
        named = [frame.meta.get(SUBSCRIPTION)]
        if frame.is_response:
            named.append(frame.object.get("id"))
        elif frame.method == "notifications/cancelled":
            named.append(frame.params.get("requestId"))
        mine = any(_is(id, request) for id in named)
        if frame.channel == request.channel if frame.channel else mine:
            found.append(frame)
    return found


def _is(id: object, request: Frame) -> bool:
    # 1 and "1" are two ids, but a server that confuses them has to be noticed, so both are taken for ours here.
    return str(id) == str(request.object["id"])


async def _leave(s: ServerSession, request: Frame) -> None:
    if isinstance(s.wire, HttpClientWire):
        next(one for one in s.wire.exchanges if one.channel == request.channel).cut()
    else:
        await s.notify("notifications/cancelled", {"requestId": request.id})


@scenario("C26-064", "C26-281", "C26-284", "C26-286", leg="server")
async def what_is_acknowledged(s: ServerSession) -> None:
    """Two clients listen, with ids of different types: to everything, and to nothing."""
    for id, wanted in ((71, _EVERYTHING), ("71-nothing", {})):
        request, first = await _listen(s, wanted, id)
        s.judge("C26-281", _of(s, request)[0] is first, "the acknowledgment is the first message", first)
        named = first.meta.get(SUBSCRIPTION)
        s.judge("C26-064", named is not None, f"the acknowledgment has {SUBSCRIPTION}", first)
        same = named == id and type(named) is type(id)
        s.judge("C26-286", same, f"the subscription id is {id!r}, as the request has it", first)
        honoured = first.params.get("notifications")
        if not isinstance(honoured, dict):
            s.judge("C26-284", False, "the acknowledgment says in `notifications` what will be told", first)
            continue
        beyond = [name for name, value in honoured.items() if value and not wanted.get(name)]
        s.judge("C26-284", not beyond, f"nothing is promised that was not asked for: {beyond}", first)
        lacking = [name for name, feature in _FEATURES.items() if honoured.get(name) and not s.announces(feature)]
        s.judge("C26-284", not lacking, f"nothing is promised that is not announced: {lacking}", first)
        await _leave(s, request)


@scenario("C26-280", "C26-282", leg="server")
async def nothing_unasked(s: ServerSession) -> None:
    """Somebody listens to nothing, somebody to the tools, while tasks come and go: neither hears of a task."""
    nothing, _ = await _listen(s, {}, "of-nothing")
    tools, _ = await _listen(s, {"toolsListChanged": True, "promptsListChanged": False}, "of-tools")
    for ability in ("quick", "slow") if s.announces("extensions", TASKS) else ("quick",):
        if s.profile.find(ability) is not None:
            method, params = s.request_for(ability)
            await s.through(await s.begin(method, params))
    await s.call("server/discover")
    for request, kinds in ((nothing, ()), (tools, ("notifications/tools/list_changed",))):
        stray = [
            frame
            for frame in _of(s, request)
            if frame.method is not None and frame.method not in (*kinds, _ACKNOWLEDGED)
        ]
        s.judge("C26-280", not stray, "nothing comes that was not asked for", stray[0] if stray else request)
        heard = [frame for frame in _of(s, request) if frame.is_notification]
        s.judge("C26-282", heard[0].method == _ACKNOWLEDGED, "nothing comes before the acknowledgment", heard[0])
        await _leave(s, request)


@scenario("C26-292", leg="server")
async def who_listens_no_more(s: ServerSession) -> None:
    """A client listens and cancels that: nothing more comes of it, be it a change or an answer."""
    tasks = s.announces("extensions", TASKS) and s.profile.find("slow") is not None
    if tasks:
        made = await s.make_task("slow")
        request, _ = await _listen(s, {"toolsListChanged": True, "taskIds": [made.id]}, "no-more")
    else:
        request, _ = await _listen(s, {"toolsListChanged": True}, "no-more")
    await _leave(s, request)
    result_in(await s.call("server/discover"), "server/discover")  # which is answered behind the cancellation
    seen = len(_of(s, request))
    if tasks:
        await s.call("tasks/cancel", {"taskId": made.id})
        await s.settled(made.id)
    result_in(await s.call("server/discover"), "server/discover")
    more = [frame for number, frame in enumerate(_of(s, request)) if number >= seen or frame.is_response]
    s.judge(
        "C26-292", not more, "nothing more is sent for a subscription that was cancelled", more[0] if more else request
    )


@scenario("C26-219", "C26-289", "C26-290", leg="server", transports=("stdio",))
async def a_server_that_ends(s: ServerSession) -> None:
    """The server's input ends while somebody listens: how it takes leave, if it does."""
    request, _ = await _listen(s, {"toolsListChanged": True}, 72)
    await s.close()
    with trio.move_on_after(_LEAVE_SECONDS):
        await s.ended()
    said = _of(s, request)
    answers = [frame for frame in said if "result" in frame.object]  # an error is no leave, but the end of its reader
    words = [frame for frame in said if frame.method == "notifications/cancelled"]
    if not answers and not words:
        raise NotApplicable("the server ended with its input, and said nothing of the subscription")
    last = said[-1]
    s.judge("C26-219", bool(words), "notifications/cancelled names the request of the subscription", last)
    s.judge("C26-289", bool(answers), "the request of the subscription is answered", last)
    if not answers:
        s.skip("C26-290", "the request of the subscription was not answered")
    for answer in answers:
        named = answer.meta.get(SUBSCRIPTION)
        whole = answer.result.get("resultType") == "complete" and named == request.id
        whole = whole and type(named) is type(request.id)
        s.judge("C26-290", whole, f"resultType is complete, and _meta has {SUBSCRIPTION}", answer)
