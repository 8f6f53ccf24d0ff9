"""Mutants of requestors: clients that call tools as tasks, servers that have a client asked by one (2025-11-25)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define

from mcp_tasks.testing import Frame, Wire

from . import Edit, Known, Mutant, also, drop, instead, meta, notice, put, request, result

_ASKED = {"client": "tools/call", "server": "sampling/createMessage"}
"""What each program asks for as a task."""


@define
class _Mute(Edit):
    """Does not say what `which` is true of, from when the judge has said what `after` is true of, if that is given."""

    which: Callable[[Frame, Known], Any]
    after: Callable[[Frame], Any] | None = None
    _begun: bool = False

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        self._begun = self._begun or (self.after is not None and bool(self.after(frame)))

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        muted = (self._begun or self.after is None) and self.which(frame, known)
        return () if muted else (frame,)


def _both(id: str, change: Any, *, only: str = "", note: str = "") -> list[Mutant]:
    # The same change of the request that may be a task, for a client and for a server.
    return [Mutant(id, request(method, change), legs=(leg,), only=only, note=note) for leg, method in _ASKED.items()]


def _aside(params: dict[str, Any]) -> None:
    params["_meta"] = {**(params.get("_meta") or {}), "task": params.pop("task", {})}


def _all_powers(params: dict[str, Any]) -> None:
    params["capabilities"]["tasks"]["requests"]["tools"] = {"call": {}}


def _edited(params: dict[str, Any]) -> None:
    if "cursor" in params:
        params["cursor"] += "="


def _asks_for_a_task() -> Edit:
    # A server that does not look at what was announced.
    params = {"messages": [], "maxTokens": 5, "task": {}}
    question = {"jsonrpc": "2.0", "id": "m-1", "method": "sampling/createMessage", "params": params}
    return also(lambda frame, known: known.method_of(frame) == "tools/call", lambda frame, known: question)


def _impatient() -> Edit:
    return also(
        lambda frame, known: frame.method == "tasks/get" and _polls(known) == 2,
        lambda frame, known: {**frame.object, "id": f"m-{frame.id}"},
    )


def _third_poll(frame: Frame, known: Known) -> bool:
    return frame.method == "tasks/get" and _polls(known) > 2


def _polls(known: Known) -> int:
    """How many polls there are, with this one."""
    known.memory["polls"] = known.memory.get("polls", 0) + 1
    return int(known.memory["polls"])


def _withdraws() -> Edit:
    def what(frame: Frame, known: Known) -> Any:
        asked = [one for one in known.theirs.values() if one.method in _ASKED.values()]
        return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked[-1].id}}

    return instead(lambda frame, known: frame.method == "tasks/cancel", what)


def _cancels() -> Edit:
    # One that does not look at what was announced: after its first poll it cancels.
    def what(frame: Frame, known: Known) -> Any:
        return {"jsonrpc": "2.0", "id": "m-1", "method": "tasks/cancel", "params": dict(frame.params)}

    return also(lambda frame, known: frame.method == "tasks/get", what)


def _answers_a_question(frame: Frame, known: Known) -> bool:
    return frame.is_response and known.method_of(frame) == "elicitation/create"


MUTANTS = [
    Mutant("T25-006", request("initialize", _all_powers)),
    Mutant("T25-008", request("tools/call", put(task={})), legs=("client",), only="tasks_for_nothing_in_particular"),
    Mutant("T25-008", _asks_for_a_task, legs=("server",), only="tasks_for_nothing_in_particular"),
    Mutant("T25-009", request("tools/call", put(task={})), legs=("client",), only="nobody_who_runs_tasks"),
    Mutant("T25-009", _asks_for_a_task, legs=("server",), only="nobody_who_runs_tasks"),
    Mutant("T25-012", _cancels, only="a_task_that_cannot_be_cancelled"),
    Mutant("T25-015", request("tools/call", put(task={}))),
    Mutant("T25-017", request("tools/call", put(task={}))),
    Mutant("T25-018", request("tools/call", put(task={})), only="a_forbidden_tool"),
    Mutant("T25-018", request("tools/call", put(task={})), only="a_tool_that_says_nothing", note="says nothing"),
    Mutant("T25-022", request("tools/call", drop("task"))),
    *_both("T25-025", _aside),
    *_both("T25-025", put(task=True), note="no object"),
    *_both("T25-028", put(task={"ttl": None})),
    *_both("T25-028", put(task={"ttl": "600000"}), note="a string"),
    Mutant("T25-040", _impatient),
    Mutant("T25-041", lambda: _Mute(_third_poll), only="a_task_that_is_polled"),
    Mutant("T25-041", lambda: _Mute(_third_poll), only="a_task_that_tells", note="while it is told"),
    Mutant(
        "T25-052",
        lambda: _Mute(
            lambda frame, known: frame.method == "tasks/get",
            lambda frame: frame.method == "notifications/tasks/status",
        ),
    ),
    Mutant("T25-070", lambda: _Mute(_answers_a_question), transport="http"),
    Mutant("T25-075", lambda: _Mute(lambda frame, known: frame.method == "tasks/result")),
    Mutant("T25-098", result("elicitation/create", drop("_meta"))),
    Mutant("T25-098", result("elicitation/create", meta(related_task={"taskId": "another"})), note="another task"),
    Mutant("T25-102", request("tasks/get", meta(related_task={"taskId": "the-same"}))),
    Mutant("T25-102", request("tasks/result", meta(related_task={"taskId": "the-same"})), note="the result"),
    Mutant("T25-111", request("tasks/list", _edited)),
    Mutant("T25-157", _withdraws),
    Mutant("T25-158", notice("notifications/cancelled", drop("requestId")), legs=("client",)),
    *_both("T25-162", put(_meta={"progressToken": "the-same"})),
]
