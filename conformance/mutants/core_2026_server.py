"""Mutants of a server's plain duties of 2026-07-28: messages, envelopes, headers, calls, rounds and subscriptions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define

from mcp_tasks.testing import Frame

from ..names import CAPABILITIES, SUBSCRIPTION, VERSION
from . import (
    Edit,
    Known,
    Mutant,
    also,
    any_message,
    drop,
    early,
    error,
    header,
    instead,
    late,
    meta,
    notice,
    put,
    response,
    result,
    retort,
)

_SERVER = ("server",)
_UNKNOWN = "judge/no-such-method"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_DONE = {"result": {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}}
_NOTHING = {"result": {"resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private"}}
_REFUSED = {"error": {"code": -32602, "message": "No"}}
_QUESTION = {
    "method": "elicitation/create",
    "params": {"mode": "form", "message": "Name?", "requestedSchema": {"type": "object", "properties": {}}},
}
_ASKED = {"result": {"resultType": "input_required", "inputRequests": {"name": _QUESTION}}}


# --- what they are made of --------------------------------------------------------------------------------------------


def _when(members: dict[str, Any], holds: Callable[[Mapping[str, Any]], Any]) -> Callable[..., dict[str, Any] | None]:
    """Answer with these members if something is true of the params."""
    return lambda params, known: copy.deepcopy(members) if holds(params) else None


def _said(params: Mapping[str, Any], name: str) -> Any:
    return (params.get("_meta") or {}).get(name)


def _answers(method: str) -> Callable[[Frame, Known], bool]:
    return lambda frame, known: frame.is_response and known.method_of(frame) == method


def _is(method: str) -> Callable[[Frame, Known], bool]:
    return lambda frame, known: frame.method == method


def _message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def _questions(change: Callable[[dict[str, Any]], Any]) -> Edit:
    """Change the questions that a call is answered with."""

    def changed(found: dict[str, Any]) -> None:
        change(found["inputRequests"])

    return result("tools/call", changed, when=lambda found: found.get("inputRequests"))


def _status(code: int, status: int) -> Edit:
    """Send an error of this code with another HTTP status."""

    def change(frame: Frame) -> None:
        if (frame.error or {}).get("code") == code:
            frame.status = status

    return header(change)


def _headers(holds: Callable[[Frame], Any], **more: str) -> Edit:
    """Set headers of an answer."""

    def change(frame: Frame) -> None:
        if holds(frame):
            found = {**frame.headers, **{name.replace("_", "-"): value for name, value in more.items()}}
            frame.headers = {name: value for name, value in found.items() if value}

    return header(change)


def _coded(old: int, new: Any) -> Edit:
    return error("", lambda found: put(code=new)(found) if found.get("code") == old else None)


def _takes(code: int, members: dict[str, Any], holds: Callable[[Frame], Any]) -> Edit:
    """Take requests that are refused with this code, if something is true of the request."""

    def which(frame: Frame, known: Known) -> bool:
        found = known.requests.get(frame.id)
        return (frame.error or {}).get("code") == code and found is not None and bool(holds(found))

    return instead(which, lambda frame, known: {"jsonrpc": "2.0", "id": frame.id, **copy.deepcopy(members)})


def _minds(holds: Callable[[Frame], Any]) -> Edit:
    """Refuse requests for their headers, if something is true of the request."""

    def which(frame: Frame, known: Known) -> bool:
        found = known.requests.get(frame.id)
        return frame.is_response and found is not None and bool(holds(found))

    mismatch = {"code": -32020, "message": "Header mismatch"}
    return instead(which, lambda frame, known: {"jsonrpc": "2.0", "id": frame.id, "error": dict(mismatch)})


@define
class _Twice(Edit):
    """Remembers ids for ever: a request whose id was seen before gets a refusal, or brings up what was before."""

    stray: dict[str, Any] | None = None
    """What comes besides its answer; None for the refusal."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.is_response and frame.id in known.memory.get("again", ()):
            if self.stray is None:
                frame.object.pop("result", None)
                frame.object["error"] = {"code": -32600, "message": "The id is taken"}
                return (frame,)
            return (frame, Frame(frame.sender, copy.deepcopy(self.stray), frame.channel, status=frame.status))
        return (frame,)

    def saw(self, frame: Frame, known: Known, wire: object) -> None:
        if frame.is_request:
            seen, again = known.memory.setdefault("seen", set()), known.memory.setdefault("again", set())
            (again if frame.id in seen else seen).add(frame.id)


@define
class _Behind(Edit):
    """Once the judge has cancelled something, tell of its progress behind every later answer."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if "cancelled" not in known.memory or not frame.is_response:
            return (frame,)
        token = known.requests[known.memory["cancelled"]].meta.get("progressToken")
        told = _message("notifications/progress", progressToken=token, progress=known.memory.setdefault("step", 1))
        known.memory["step"] += 1
        return (frame, Frame(frame.sender, told, frame.channel))

    def saw(self, frame: Frame, known: Known, wire: object) -> None:
        if frame.method == "notifications/cancelled":
            known.memory["cancelled"] = frame.params.get("requestId")


@define
class _Before(Edit):
    """Tell something of a subscription before it is acknowledged, or besides."""

    method: str
    behind: bool = False

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.method != _ACKNOWLEDGED:
            return (frame,)
        told = Frame(frame.sender, _message(self.method, _meta=dict(frame.meta)), frame.channel, status=frame.status)
        return (frame, told) if self.behind else (told, frame)


def _answer_to_cancelled(frame: Frame, known: Known) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": frame.params.get("requestId"), **copy.deepcopy(_DONE)}


def _cancels(method: str) -> Callable[[Frame, Known], bool]:
    def which(frame: Frame, known: Known) -> bool:
        if frame.method != "notifications/cancelled":
            return False
        id = frame.params.get("requestId")
        found = known.requests.get(id) if isinstance(id, (int, str)) else None
        return found is not None and found.method == method

    return which


_MISMATCHED = (-32020, _DONE)


def _header_of(name: str, value: Callable[[str], Any]) -> Callable[[Frame], Any]:
    return lambda frame: value(frame.headers.get(name, ""))


# --- the table --------------------------------------------------------------------------------------------------------

MUTANTS = [
    # messages
    Mutant("C26-007", response("tools/list", put(id=lambda old: f"{old}-other")), legs=_SERVER),
    Mutant(
        "C26-007",
        response("server/discover", put(id=lambda old: str(old))),
        legs=_SERVER,
        note="a number becomes a string",
    ),
    Mutant("C26-008", response("tools/list", put(result=[])), legs=_SERVER),
    Mutant("C26-010", result("tools/list", drop("resultType")), legs=_SERVER),
    Mutant("C26-016", response(_UNKNOWN, put(id=lambda old: f"{old}-other")), legs=_SERVER),
    Mutant("C26-016", response(_UNKNOWN, put(id=lambda old: str(old))), legs=_SERVER, note="a number becomes a string"),
    Mutant("C26-017", error(_UNKNOWN, drop("message")), legs=_SERVER),
    Mutant("C26-018", error(_UNKNOWN, put(code="-32601")), legs=_SERVER),
    Mutant("C26-025", error(_UNKNOWN, put(code=-32002)), legs=_SERVER),
    Mutant("C26-025", error("tools/call", put(code=-32042)), legs=_SERVER),
    Mutant(
        "C26-029",
        retort(
            lambda frame, known: frame.is_notification and frame.method == "notifications/judge",
            lambda frame, known: {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "What?"}},
        ),
        legs=_SERVER,
    ),
    Mutant(
        "C26-236",
        retort(
            lambda frame, known: frame.method == "notifications/cancelled" and "requestId" not in frame.params,
            lambda frame, known: {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "Which?"}},
        ),
        legs=_SERVER,
    ),
    Mutant(
        "C26-030",
        any_message(lambda found: put(id=1)(found) if str(found.get("method")).startswith("notifications/") else None),
        legs=_SERVER,
    ),
    Mutant("C26-061", result("tools/list", meta(serverInfo=None)), legs=_SERVER),
    Mutant(
        "C26-113",
        also(_answers("tools/list"), lambda frame, known: {"jsonrpc": "2.0", "id": 1, "method": "ping"}),
        legs=_SERVER,
    ),
    # envelopes
    Mutant(
        "C26-052", early("server/discover", _when(_REFUSED, lambda params: _said(params, "traceparent"))), legs=_SERVER
    ),
    Mutant("C26-055", early("tools/list", _when(_NOTHING, lambda params: _said(params, CAPABILITIES) is None))),
    Mutant("C26-055", early("tools/list", _when(_NOTHING, lambda params: not _said(params, VERSION)))),
    Mutant("C26-055", error("tools/list", lambda found: put(code=-32600)(found) if found["code"] == -32602 else None)),
    Mutant("C26-056", _status(-32602, 200), transport="http"),
    Mutant("C26-058", lambda: early("tools/call", _when(_ASKED, lambda params: _said(params, CAPABILITIES) == {}))),
    Mutant("C26-059", error("tools/call", drop("data"))),
    Mutant("C26-059", _coded(-32021, -32603)),
    Mutant("C26-060", _status(-32021, 200), transport="http"),
    Mutant("C26-068", _coded(-32601, -32600)),
    Mutant("C26-069", early("ping", _when({"result": {"resultType": "complete"}}, lambda params: True))),
    Mutant("C26-085", error("tools/list", lambda found: found.get("data", {}).pop("supported", None) and None)),
    Mutant("C26-085", _coded(-32022, -32602)),
    Mutant("C26-102", result("server/discover", drop("ttlMs"))),
    Mutant("C26-103", result("server/discover", meta(serverInfo=None))),
    # HTTP: answers and headers
    Mutant("C26-153", _headers(lambda frame: frame.is_response, content_type="text/plain"), transport="http"),
    Mutant(
        "C26-158",
        also(_answers("tools/list"), lambda frame, known: {"jsonrpc": "2.0", "id": 1, "method": "ping"}),
        transport="http",
    ),
    Mutant("C26-161", _headers(lambda frame: frame.event == "stream", x_accel_buffering=""), transport="http"),
    Mutant("C26-165", lambda: _Twice(), transport="http"),
    Mutant(
        "C26-167",
        lambda: _Twice(_message("notifications/progress", progressToken="of-the-closed", progress=1)),
        transport="http",
    ),
    Mutant(
        "C26-170", _takes(*_MISMATCHED, lambda frame: _said(frame.params, VERSION) == "2025-11-25"), transport="http"
    ),
    Mutant("C26-170", _takes(*_MISMATCHED, _header_of("mcp-protocol-version", "2025-11-25".__eq__)), transport="http"),
    Mutant("C26-171", _status(-32022, 200), transport="http"),
    Mutant("C26-172", _status(-32601, 200), transport="http"),
    Mutant("C26-194", _minds(_header_of("mcp-name", lambda name: name.startswith("=?base64?"))), transport="http"),
    Mutant(
        "C26-203",
        _minds(lambda frame: "MCP-METHOD" in frame.headers),
        legs=_SERVER,
        transport="http",
        note="wants small letters",
    ),
    Mutant(
        "C26-203",
        _takes(*_MISMATCHED, lambda frame: frame.headers.get("mcp-method", "").isupper()),
        legs=_SERVER,
        transport="http",
        note="takes capital letters for small ones",
    ),
    Mutant(
        "C26-204", _takes(*_MISMATCHED, _header_of("mcp-name", lambda name: name.endswith("-not"))), transport="http"
    ),
    Mutant("C26-206", _status(-32020, 200), transport="http"),
    Mutant("C26-206", _takes(*_MISMATCHED, _header_of("mcp-name", lambda name: "%" in name)), transport="http"),
    Mutant("C26-206", _takes(*_MISMATCHED, lambda frame: "mcp-method" not in frame.headers), transport="http"),
    # calls that run
    Mutant("C26-127", lambda: _Behind()),
    Mutant("C26-230", retort(_cancels("tools/call"), _answer_to_cancelled)),
    Mutant(
        "C26-220",
        also(_answers("tools/list"), lambda frame, known: _message("notifications/cancelled", requestId=frame.id)),
    ),
    Mutant("C26-241", notice("notifications/progress", put(progress=1))),
    Mutant("C26-244", notice("notifications/progress", put(progressToken="nobody's"))),
    Mutant("C26-247", lambda: late(_is("notifications/progress"), _answers("tools/call"))),
    # rounds
    Mutant(
        "C26-248",
        also(_answers("tools/call"), lambda frame, known: {"jsonrpc": "2.0", "id": 1, **copy.deepcopy(_QUESTION)}),
        only="a_round",
    ),
    Mutant("C26-250", _questions(lambda found: [one.update(id=1, jsonrpc="2.0") for one in found.values()])),
    Mutant("C26-253", result("tools/list", put(resultType="input_required", requestState="more"))),
    Mutant("C26-255", _questions(lambda found: found.popitem() if len(found) > 1 else None)),
    Mutant("C26-256", _questions(lambda found: [one.update(method="tools/call") for one in found.values()])),
    Mutant(
        "C26-260",
        _takes(-32602, _DONE, lambda frame: frame.params.get("requestState")),
        note="takes a state that was changed",
    ),
    Mutant(
        "C26-264",
        result("tools/call", drop("inputRequests", "requestState"), when=lambda found: "inputRequests" in found),
    ),
    Mutant(
        "C26-265",
        early("tools/call", _when(_ASKED, lambda params: "elicitation" not in (_said(params, CAPABILITIES) or {}))),
    ),
    Mutant(
        "C26-277",
        early("tools/call", _when(_REFUSED, lambda params: "nobody-asked" in params.get("inputResponses", ()))),
    ),
    Mutant("C26-278", early("tools/call", _when(_REFUSED, lambda params: params.get("inputResponses") == {}))),
    Mutant(
        "C26-278",
        early("tools/call", _when(_REFUSED, lambda params: len(params.get("inputResponses", ())) == 1)),
        only="two_questions_at_once",
        note="one of two is missing",
    ),
    # subscriptions
    Mutant("C26-064", notice(_ACKNOWLEDGED, drop("_meta"))),
    Mutant("C26-219", notice("notifications/cancelled", lambda found: False)),
    Mutant("C26-280", lambda: _Before("notifications/prompts/list_changed", behind=True)),
    Mutant("C26-281", lambda: _Before("notifications/tools/list_changed")),
    Mutant("C26-282", lambda: _Before("notifications/tools/list_changed")),
    Mutant("C26-284", notice(_ACKNOWLEDGED, put(notifications={"promptsListChanged": True}))),
    Mutant("C26-284", notice(_ACKNOWLEDGED, drop("notifications")), note="says nothing of it"),
    Mutant(
        "C26-286",
        notice(_ACKNOWLEDGED, lambda found: found["_meta"].update({SUBSCRIPTION: str(found["_meta"][SUBSCRIPTION])})),
    ),
    Mutant("C26-289", response("subscriptions/listen", lambda found: False)),
    Mutant("C26-290", result("subscriptions/listen", drop("_meta"))),
    Mutant("C26-292", retort(_cancels("subscriptions/listen"), _answer_to_cancelled)),
]
