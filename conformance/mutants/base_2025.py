"""Mutants of what holds of every message of a session (2025-11-25)."""

from __future__ import annotations

from typing import Any

from mcp_tasks.testing import Frame

from . import (
    Edit,
    Known,
    Mutant,
    also,
    any_message,
    drop,
    early,
    error,
    late,
    notice,
    put,
    request,
    response,
    retort,
)

_NOWHERE = "conformance/no-such-method"
_ERROR = {"code": -32600, "message": "That was not expected"}


def _answers_ping(frame: Frame, known: Known) -> bool:
    return frame.is_response and known.method_of(frame) == "ping"


def _pings_back(id: Any) -> Edit:
    return also(_answers_ping, lambda frame, known: {"jsonrpc": "2.0", "id": id, "method": "ping"})


def _asks(method: str) -> Edit:
    # A program that does not look at what was announced: a server at each call, a client when it makes one.
    def calling(frame: Frame, known: Known) -> bool:
        return frame.method == "tools/call" or (frame.is_response and known.method_of(frame) == "tools/call")

    def ask(frame: Frame, known: Known) -> Any:
        params = {"messages": [], "maxTokens": 5} if method == "sampling/createMessage" else {}
        return {"jsonrpc": "2.0", "id": f"m-{frame.id}", "method": method, "params": params}

    return also(calling, ask)


def _tells() -> Edit:
    news = {"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}
    return also(lambda frame, known: known.method_of(frame) == "tools/call", lambda frame, known: news)


def _numbered(message: dict[str, Any]) -> None:
    if str(message.get("method", "")).startswith("notifications/"):
        message["id"] = 77_000


def _no_marks(params: Any, known: Known) -> dict[str, Any] | None:
    return {"error": {"code": -32602, "message": "What is this _meta?"}} if "_meta" in params else None


def _complains(frame: Frame, known: Known) -> Any:
    return {"jsonrpc": "2.0", "id": None, "error": _ERROR}


def _cancels_the_unknown(frame: Frame, known: Known) -> Any:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "nobody-sent-this"}}


def _excused(frame: Frame, known: Known) -> Any:
    return {"jsonrpc": "2.0", "id": frame.params["requestId"], "error": {"code": 0, "message": "Request cancelled"}}


def _is_cancellation(frame: Frame, known: Known) -> bool:
    return frame.method == "notifications/cancelled"


def _last_progress(frame: Frame, known: Known) -> bool:
    return frame.method == "notifications/progress" and frame.params.get("progress") == 3


def _done(frame: Frame, known: Known) -> bool:
    return frame.is_response and known.method_of(frame) in ("tools/call", "sampling/createMessage")


MUTANTS = [
    Mutant("C25-004", _pings_back(1.5)),
    Mutant("C25-004", _pings_back(True), note="true"),
    Mutant("C25-005", _pings_back(None)),
    Mutant("C25-006", _pings_back("the-same")),
    Mutant("C25-007", response("ping", put(id="of-something-else"))),
    Mutant("C25-007", response("ping", put(id=str)), note="the number as a string"),
    Mutant("C25-008", response("ping", put(result=None))),
    Mutant("C25-010", response(_NOWHERE, put(id="of-something-else"))),
    Mutant("C25-012", error(_NOWHERE, drop("message"))),
    Mutant("C25-012", error(_NOWHERE, drop("code")), note="no code"),
    Mutant("C25-013", error(_NOWHERE, put(code="-32601"))),
    Mutant("C25-015", retort(lambda frame, known: frame.is_notification, _complains)),
    Mutant("C25-016", any_message(_numbered)),
    Mutant("C25-034", lambda: early("ping", _no_marks)),
    Mutant("C25-056", _asks("sampling/createMessage"), legs=("server",)),
    Mutant("C25-056", _tells(), legs=("server",), note="news"),
    Mutant("C25-056", _asks("resources/list"), legs=("client",)),
    Mutant("C25-056", _asks("tasks/list"), legs=("client",), note="tasks"),
    Mutant("C25-157", request("tools/call", put(_meta={"progressToken": 1.5})), legs=("client",)),
    Mutant("C25-157", request("sampling/createMessage", put(_meta={"progressToken": {}})), legs=("server",)),
    Mutant("C25-158", request("tools/call", put(_meta={"progressToken": "the-same"})), legs=("client",)),
    Mutant("C25-158", request("elicitation/create", put(_meta={"progressToken": "the-same"})), legs=("server",)),
    Mutant("C25-160", notice("notifications/progress", put(progress=1))),
    Mutant("C25-163", notice("notifications/progress", put(progressToken="nobody-gave-this"))),
    Mutant("C25-167", lambda: late(_last_progress, _done)),
    Mutant("C25-168", also(_answers_ping, _cancels_the_unknown)),
    Mutant("C25-171", retort(_is_cancellation, _excused)),
    Mutant(
        "C25-177",
        retort(
            lambda frame, known: (
                _is_cancellation(frame, known) and not isinstance(frame.params.get("requestId"), (int, str))
            ),
            _complains,
        ),
    ),
]
