"""Mutants of a client's messages: their envelope, their headers, rounds of questions, and how they are taken back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from attrs import define

from mcp_tasks.testing import Frame

from . import Change, Edit, Known, Mutant, any_message, drop, header, meta, notice, put, request, retort, twice

_CLIENT = ("client",)
_FAILED = '{"error": {"message": "it makes no sense"}}'


def _misunderstands(id: str, printed: str = _FAILED, **more: Any) -> Mutant:
    """A client that can make nothing of what it is told, or makes too much of it."""
    return Mutant(id, Edit(), legs=_CLIENT, prints=lambda text: printed, **more)


def _whole(method: str, change: Change) -> Edit:
    """A change of all of a message."""
    return any_message(lambda message: change(message) if message.get("method") == method else None)


def _retry(change: Change) -> Edit:
    """A change of a call that is made again."""

    def changed(params: dict[str, Any]) -> Any:
        return change(params) if {"inputResponses", "requestState"} & params.keys() else None

    return request("tools/call", changed)


def _header(name: str, value: str | None, *methods: str) -> Edit:
    """Another header; none if there is no value."""

    def change(frame: Frame) -> None:
        if frame.verb == "POST" and (not methods or frame.method in methods):
            others = {key: said for key, said in frame.headers.items() if key != name}
            frame.headers = others if value is None else {**others, name: value}

    return header(change)


def _bare(frame: Frame) -> None:
    # What stands in the Base64 form is put as it is.
    if frame.headers.get("mcp-name", "").startswith("=?base64?"):
        frame.headers = {**frame.headers, "mcp-name": str(frame.params.get("taskId"))}


@define
class _SameId(Edit):
    """Gives every call the id of the first."""

    id: Any = None

    def edit(self, frame: Frame, known: Known) -> tuple[Frame, ...]:
        if frame.method == "tools/call":
            self.id = self.id or frame.object["id"]
            frame.object["id"] = self.id
        return (frame,)


def _one_less(answers: Any) -> Any:
    return {key: answers[key] for key in list(answers)[1:]} if isinstance(answers, dict) else {}


def _renamed(answers: Any) -> Any:
    return {f"{key}!": answer for key, answer in answers.items()} if isinstance(answers, dict) else answers


def _invent(params: dict[str, Any]) -> None:
    params.setdefault("requestState", "made up")


def _of_notification(frame: Frame, known: Known) -> bool:
    return frame.is_notification and frame.method != "notifications/subscriptions/acknowledged"


def _response_to(frame: Frame, known: Known) -> Any:
    return {"jsonrpc": "2.0", "id": frame.id or "none", "error": {"code": -32601, "message": "Method not found"}}


def _is_request(frame: Frame, known: Known) -> bool:
    return frame.is_request


def _calls(frame: Frame, known: Known) -> bool:
    return frame.method == "tools/call"


def _post(id: str, edit: Edit | Callable[[], Edit]) -> Mutant:
    return Mutant(id, edit, legs=_CLIENT, transport="http")


def _with_token(token: Any) -> Change:
    def change(params: dict[str, Any]) -> None:
        params["_meta"] = {**params.get("_meta", {}), "progressToken": copy.deepcopy(token)}

    return change


MUTANTS = [
    Mutant("C26-004", _whole("tools/call", put(id=1.5)), legs=_CLIENT),
    Mutant("C26-005", _whole("tools/call", put(id=None)), legs=_CLIENT),
    Mutant("C26-006", twice(_calls), legs=_CLIENT),
    Mutant("C26-006", _SameId, legs=_CLIENT, only="several_calls_at_once", note="of several calls"),
    _misunderstands("C26-014", '{"text": "not to be read"}'),
    Mutant("C26-029", retort(_of_notification, _response_to), legs=_CLIENT),
    Mutant("C26-030", _whole("notifications/cancelled", put(id="n1")), legs=_CLIENT),
    _misunderstands("C26-052"),
    Mutant("C26-053", request("tools/call", meta(protocolVersion=None)), legs=_CLIENT),
    Mutant("C26-053", request("", meta(protocolVersion=None)), legs=_CLIENT, note="from the first on"),
    Mutant("C26-054", request("tools/call", meta(clientCapabilities=None)), legs=_CLIENT),
    Mutant("C26-057", request("tools/call", meta(clientInfo=None)), legs=_CLIENT),
    _misunderstands("C26-086", '{"text": "as if nothing had been"}'),
    Mutant("C26-114", retort(_is_request, _response_to), legs=_CLIENT),
    Mutant("C26-125", notice("notifications/cancelled", put(requestId="another")), legs=_CLIENT),
    _post("C26-146", _header("accept", "application/json")),
    _misunderstands("C26-154", transport="http", only="answers_by_stream"),
    _misunderstands("C26-154", transport="http", only="answers_as_json"),
    _post("C26-168", _header("mcp-protocol-version", None, "tools/call")),
    _post("C26-169", _header("mcp-protocol-version", "2025-11-25", "tools/call")),
    _post("C26-175", _header("mcp-method", None, "tools/call")),
    _post("C26-176", _header("mcp-name", "another", "tools/call")),
    _post("C26-177", header(_bare)),
    _misunderstands("C26-203", transport="http"),
    Mutant("C26-218", notice("notifications/cancelled", lambda params: False), legs=_CLIENT),
    _misunderstands("C26-236"),
    Mutant("C26-237", notice("notifications/cancelled", drop("requestId")), legs=_CLIENT),
    Mutant("C26-239", request("tools/call", _with_token(1.5)), legs=_CLIENT),
    Mutant("C26-240", request("", _with_token("the same")), legs=_CLIENT),
    Mutant("C26-249", _retry(meta(protocolVersion=None)), legs=_CLIENT),
    Mutant("C26-268", _retry(put(inputResponses=_one_less)), legs=_CLIENT),
    Mutant("C26-270", _retry(put(requestState=lambda state: state and state.strip("="))), legs=_CLIENT),
    Mutant("C26-271", _retry(_invent), legs=_CLIENT),
    Mutant("C26-272", _SameId, legs=_CLIENT),
    Mutant("C26-274", _retry(put(arguments={})), legs=_CLIENT, note="other arguments"),
    Mutant("C26-274", _retry(put(inputResponses=_renamed)), legs=_CLIENT, note="other keys"),
    Mutant("C26-279", request("subscriptions/listen", drop("notifications")), legs=_CLIENT),
]
