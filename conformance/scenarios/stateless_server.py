"""What a server owes to each request that stands for itself (2026-07-28): its envelope, its version, its capabilities.

Spec: basic, basic/versioning, server/discover.
"""

from __future__ import annotations

from typing import Any

import trio

from mcp_tasks.testing import Frame, HttpClientWire

from ..names import CAPABILITIES, VERSION
from ..odd_requests import says_what_is_missing, told
from ..scenario import scenario
from ..server_session import CLIENT_2026, ServerSession

_ERA = "2026-07-28"
_PLAIN = {name: value for name, value in CLIENT_2026.items() if name != "extensions"}
_GATED = {
    "tools": ("tools/list", {}),
    "resources": ("resources/list", {}),
    "prompts": ("prompts/list", {}),
    "completions": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "any"}, "argument": {"name": "any", "value": ""}},
    ),
}
"""A request that each capability of a server allows."""
_RETIRED = {
    "ping": {},
    "logging/setLevel": {"level": "info"},
    "resources/subscribe": {"uri": "file:///judge"},
    "resources/unsubscribe": {"uri": "file:///judge"},
}
"""Requests that older revisions have."""


def _stamp(s: ServerSession) -> dict[str, Any]:
    assert s.stamp is not None
    return dict(s.stamp)


def _listing(s: ServerSession) -> str:
    return "tools/list" if s.announces("tools") else "server/discover"


@scenario("C26-055", "C26-056", leg="server")
async def a_request_without_its_envelope(s: ServerSession) -> None:
    """A request does not say in what version it is, or what its client can do."""
    whole = _stamp(s)
    method = _listing(s)
    without = {name: value for name, value in whole.items() if name != CAPABILITIES}
    answer = await told(s, method, {"_meta": without})
    s.judge("C26-055", answer.code == -32602, f"without {CAPABILITIES} it is refused with -32602", answer)
    _bad_request(s, answer)
    without = {name: value for name, value in whole.items() if name != VERSION}
    answer = await told(s, method, {"_meta": without}, headers={"mcp-protocol-version": _ERA, "mcp-method": method})
    # A header that repeats nothing is a mismatch too. To a server that also speaks an older revision, a request without
    # a version may be one of that, which it refuses as that revision has it.
    older = [version for version in s.opening.result.get("supportedVersions") or () if str(version) < _ERA]
    refused = answer.code in ((-32602, -32020) if s.transport == "http" else (-32602,))
    if not older:
        s.judge("C26-055", refused, f"without {VERSION} it is refused with -32602", answer)
        _bad_request(s, answer)
    else:
        s.judge("C26-055", answer.error is not None or answer.event, f"without {VERSION} it is refused", answer)


def _bad_request(s: ServerSession, answer: Frame) -> None:
    if s.transport == "http":
        s.judge("C26-056", answer.status == 400, "a refusal for a missing field has the HTTP status 400", answer)
    else:
        s.skip("C26-056", "there is no HTTP")


@scenario("C26-085", leg="server")
async def a_version_that_nobody_speaks(s: ServerSession) -> None:
    """A request is in a version that does not exist."""
    version = "2099-01-01"  # as of a client that is newer than the server
    answer = await told(s, _listing(s), {"_meta": {**_stamp(s), VERSION: version}})
    data = (answer.error or {}).get("data")
    data = data if isinstance(data, dict) else {}
    supported = data.get("supported")
    lists = answer.code == -32022 and isinstance(supported, list) and _ERA in supported
    s.judge("C26-085", lists, f"it is refused with -32022, and error.data.supported has {_ERA}", answer)
    s.judge("C26-085", data.get("requested") == version, f"error.data.requested is {version}", answer)
    if s.transport == "http":
        fits = lists and answer.status == 400
        s.judge("C26-171", fits, "it is refused with the HTTP status 400 and the supported versions", answer)


@scenario("C26-068", "C26-069", leg="server")
async def methods_that_it_does_not_have(s: ServerSession) -> None:
    """Requests that no server knows, that this one does not announce, or that older revisions have."""
    unknown: dict[str, dict[str, Any]] = {"judge/no-such-method": {}}
    gated = dict(call for capability, call in _GATED.items() if not s.announces(capability))
    for id, methods in (("C26-068", {**unknown, **gated}), ("C26-069", _RETIRED)):
        for method, params in methods.items():
            answer = await s.call(method, params)
            s.judge(id, answer.code == -32601, f"{method} is refused with -32601", answer)
            if s.transport == "http":
                found = answer.code == -32601 and answer.status == 404
                s.judge("C26-172", found, f"{method} is refused with the HTTP status 404 and -32601", answer)
    opening = {"protocolVersion": _ERA, "capabilities": {}, "clientInfo": {"name": "judge", "version": "1"}}
    answer = await s.call("initialize", opening)  # the last, since a server of two eras may turn to the older one
    older = answer.result.get("protocolVersion") not in (None, _ERA)
    refused = answer.error is not None or answer.event == "refused"
    s.judge("C26-069", older or refused, "initialize is refused, or begins a session of an older revision", answer)


@scenario("C26-052", leg="server")
async def meta_that_nobody_knows(s: ServerSession) -> None:
    """A request says more of itself than this server has heard of."""
    more = {
        "com.example.judge/mood": {"fair": True},
        "com.example.judge/ids": [1, None],
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    answer = await s.call("server/discover", {"_meta": more})
    s.judge("C26-052", "result" in answer.object, "keys of _meta that are not known do no harm", answer)
    method = _listing(s)
    answer = await s.call(method, {"_meta": more})
    s.judge("C26-052", "result" in answer.object, "keys of _meta that are not known do no harm", answer)


@scenario("C26-007", "C26-016", leg="server")
async def ids_of_every_kind(s: ServerSession) -> None:
    """Requests whose ids are numbers and strings are under way together; results and errors have the id of theirs."""
    ids: tuple[int | str, ...] = (7, "7", 0, 2**40, "the judge's \u00fc")
    asked = [await s.begin("server/discover", {}, id=id) for id in ids]
    asked += [await s.begin("judge/no-such-method", {}, id=id) for id in (8, "8")]
    for request in asked:
        answer = await s.outcome(request)
        same = type(answer.object.get("id")) is type(request.object["id"])
        judged = "C26-007" if request.method == "server/discover" else "C26-016"
        s.judge(judged, same and answer.is_response, f"the answer has the id {request.object['id']!r}", answer)


@scenario("C26-029", "C26-236", leg="server")
async def notices_are_not_answered(s: ServerSession) -> None:
    """Notifications that nobody knows, requests without an id, cancellations of nothing: to none there is an answer."""
    earlier = await s.call("server/discover")
    notices: list[tuple[str, dict[str, Any], str]] = [
        ("notifications/judge", {"of": "nothing"}, "C26-029"),
        ("notifications/judge", {}, "C26-029"),
        (_listing(s), {}, "C26-029"),
        ("notifications/cancelled", {"requestId": "never-made"}, "C26-236"),
        ("notifications/cancelled", {"requestId": earlier.id, "reason": "too late"}, "C26-236"),
        ("notifications/cancelled", {}, "C26-236"),
        ("notifications/cancelled", {"requestId": {"no": "id"}}, "C26-236"),
    ]
    for method, params, id in notices:
        answers = await _answers_to_notice(s, {"method": method, "params": {"_meta": _stamp(s), **params}})
        s.judge("C26-029", not answers, f"{method} is not answered", answers[0] if answers else None)
        if id == "C26-236":
            s.judge(id, not answers, "an invalid cancellation is ignored", answers[0] if answers else None)
    still = await s.call("server/discover")
    s.judge("C26-236", still.error is None, "the server goes on", still)


async def _answers_to_notice(s: ServerSession, message: dict[str, Any]) -> list[Frame]:
    before = len(s.wire.frames)
    if isinstance(s.wire, HttpClientWire):
        exchange = s.wire.post({"jsonrpc": "2.0", **message})
        with trio.move_on_after(s.patience):
            await exchange.ended.wait()
        channels = {exchange.channel}
    else:
        await s.send({"jsonrpc": "2.0", **message})
        channels = {""}
    asked = await s.begin("server/discover")  # what is answered in order has been answered by then
    answer = await s.outcome(asked)
    found = [frame for frame in s.wire.frames[before:] if frame.channel in channels and frame.is_response]
    # Over HTTP a notification may be refused, by a status and an error that has no id.
    return [
        frame
        for frame in found
        if frame is not answer and not (frame.channel and frame.error is not None and frame.object.get("id") is None)
    ]


@scenario("C26-059", leg="server", needs="required")
async def a_task_for_who_knows_none(s: ServerSession) -> None:
    """A tool that has to be a task is called by a client that does not know tasks."""
    s.stamp = {**_stamp(s), CAPABILITIES: _PLAIN}
    answer = await s.call(*s.request_for("required"))
    says_what_is_missing(s, answer, "extensions")
