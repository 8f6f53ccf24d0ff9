"""Mutants of the tasks of 2025-11-25: of what a receiver announces, makes, shows and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame, Wire

from . import (
    Change,
    Edit,
    Known,
    Mutant,
    drop,
    early,
    error,
    header,
    late,
    meta,
    notice,
    put,
    request,
    result,
    task,
)

_TERMINAL = ("completed", "failed", "cancelled")
_CREATES = ("tools/call", "sampling/createMessage", "elicitation/create")
_SERVER, _CLIENT = ("server",), ("client",)


# --- parts ------------------------------------------------------------------------------------------------------------


@define
class _Since(Edit):
    """From the moment that somebody says something, another edit is made."""

    when: Callable[[Frame, Known], Any]
    then: Edit
    _on: bool = False

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        self._on = self._on or bool(self.when(frame, known))
        if self._on:
            self.then.saw(frame, known, wire)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if self._on:
            return self.then.edit(frame, known)
        self._on = bool(self.when(frame, known))
        return (frame,)


@define
class _Created(Edit):
    """Change every CreateTaskResult, given the request that it answers."""

    change: Callable[[dict[str, Any], Frame, Known], dict[str, Any] | None]

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        asked = known.requests.get(frame.id)
        if asked is not None and asked.method in _CREATES and isinstance(frame.result.get("task"), dict):
            frame.object["result"] = self.change(frame.result, asked, known) or frame.result
        return (frame,)


@define
class _In(Edit):
    """Change what is announced when hands are shaken; `path` leads to the object, in which it has to be."""

    path: tuple[str, ...]
    change: Change

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        opening = frame.params if frame.method == "initialize" else frame.result
        if "protocolVersion" in opening:
            found = opening["capabilities"]
            for name in self.path:
                found = found[name]
            self.change(found)
        return (frame,)


def _announced(*path: str, change: Change) -> Edit:
    return _In(path, change)


def _always_the_first() -> Callable[[Any], Any]:
    seen: list[Any] = []

    def first(old: Any) -> Any:
        seen.append(old)
        return seen[0]

    return first


def _shows(*statuses: str) -> Callable[[Frame, Known], Any]:
    """Whether the program shows a task with one of these statuses, when it is asked."""
    return lambda frame, known: known.method_of(frame) == "tasks/get" and frame.result.get("status") in statuses


def _said(method: str) -> Callable[[Frame, Known], Any]:
    """Whether the judge sends a message of this method."""
    return lambda frame, known: frame.method == method


def _answers(method: str) -> Callable[[Frame, Known], Any]:
    """Whether the program answers the judge's request of this method."""
    return lambda frame, known: frame.is_response and known.method_of(frame) == method


def _answered(frame: Frame, known: Known) -> bool:
    """Whether the judge answers a request of the program's."""
    return frame.is_response and frame.id in known.theirs


def _refusing(method: str, code: int, when: Callable[[Mapping[str, Any]], Any] = lambda params: True) -> Edit:
    failed = {"error": {"code": code, "message": "This is not to be had"}}
    return early(method, lambda params, known: failed if when(params) else None)


def _get(**members: Any) -> Edit:
    return task(put(**members), where="tasks/get")


def _wraps(found: dict[str, Any]) -> dict[str, Any]:
    return {"task": dict(found)}


def _unwraps(found: dict[str, Any], asked: Frame, known: Known) -> dict[str, Any]:
    return dict(found["task"])


def _plain(method: str | None) -> dict[str, Any]:
    text = {"type": "text", "text": "at once"}
    return {"content": [text]} if method == "tools/call" else {"role": "assistant", "content": text, "model": "m"}


def _needs_a_ttl(found: dict[str, Any], asked: Frame, known: Known) -> dict[str, Any] | None:
    return _plain(asked.method) if not asked.params["task"] else None


def _takes_the_id(found: dict[str, Any], asked: Frame, known: Known) -> None:
    found["task"]["taskId"] = asked.params["task"].get("taskId", found["task"]["taskId"])


@define
class _Blocked(Edit):
    """Answers nothing else as long as somebody waits for a result."""

    _waiting: set[Any] = field(factory=set)
    _kept: list[Frame] = field(factory=list)

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        if frame.method == "tasks/result":
            self._waiting.add(frame.id)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.is_response and frame.id in self._waiting:
            self._waiting.discard(frame.id)
            kept, self._kept = self._kept, []
            return (frame, *kept)
        if frame.is_response and self._waiting:
            self._kept.append(frame)
            return ()
        return (frame,)


def _over(frame: Frame, known: Known) -> bool:
    return frame.method == "notifications/tasks/status" and frame.params.get("status") in _TERMINAL


def _wants_task(params: Mapping[str, Any]) -> bool:
    return "task" in params


def _with_new_header(name: str, value: str | None) -> Callable[[Frame], None]:
    def change(frame: Frame) -> None:
        if "taskId" in frame.result:
            found = {key: one for key, one in frame.headers.items() if key != name}
            frame.headers = found if value is None else {**found, name: value}

    return change


def _accepted(frame: Frame) -> None:
    if "taskId" in frame.result:
        frame.status = 202


def _not_found(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    if str(params.get("taskId")).startswith("no-such"):
        return {"error": {"code": -32002, "message": "Not found"}}
    return None


def _sometimes(found: dict[str, Any]) -> None:
    for tool in found["tools"]:
        tool["execution"] = {"taskSupport": "sometimes"}


def _in_a_word(found: dict[str, Any]) -> None:
    for tool in found["tools"]:
        tool["execution"] = "optional"


def _makes_a_task(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    made = {"taskId": "5d0b7f3e9a1c4428", "status": "working", "ttl": None}
    return {"result": {"task": made}} if "task" in params else None


def _plainly(name: str) -> Edit:
    """A tool is run at once, whatever it says of tasks."""
    ran = {"result": _plain("tools/call")}
    return early("tools/call", lambda params, known: ran if params["name"] == name else None)


def _is_new(frame: Frame, known: Known) -> bool:
    return known.method_of(frame) in _CREATES and isinstance(frame.result.get("task"), dict)


# --- the table --------------------------------------------------------------------------------------------------------

MUTANTS = [
    # What is announced.
    Mutant("T25-002", lambda: _Since(_said("notifications/tasks/status"), _get(status="failed"))),
    Mutant("T25-004", _announced(change=drop("tasks"))),
    Mutant("T25-005", _announced("tasks", "requests", change=put(resources={"read": {}})), legs=_SERVER),
    Mutant("T25-005", _announced("tasks", change=put(get={})), legs=_SERVER),
    Mutant("T25-006", _announced("tasks", "requests", change=put(roots={"list": {}})), legs=_CLIENT),
    Mutant("T25-007", _announced("tasks", change=put(list=True))),
    Mutant("T25-007", _announced("tasks", change=put(cancel=False))),
    Mutant("T25-010", lambda: early("ping", _makes_a_task)),
    Mutant("T25-011", lambda: _refusing("tasks/list", -32601)),
    Mutant("T25-012", lambda: _refusing("tasks/cancel", -32601)),
    Mutant("T25-013", _announced("tasks", change=drop("list"))),
    Mutant("T25-013", _announced("tasks", change=drop("cancel"))),
    Mutant("T25-014", lambda: _refusing("tasks/result", -32601)),
    Mutant("T25-016", result("tools/list", _sometimes)),
    Mutant("T25-016", result("tools/list", _in_a_word), note="no object"),
    Mutant("T25-053", lambda: _refusing("tasks/get", -32601)),
    Mutant("T25-053", lambda: _refusing("tasks/result", -32601), only="what_is_announced"),
    Mutant("T25-056", lambda: _refusing("ping", -32600, _wants_task)),
    Mutant("T25-056", lambda: _refusing("tools/list", -32602, _wants_task), legs=_SERVER),
    # What a tool says of itself.
    Mutant("T25-019", error("tools/call", put(code=-32600)), note="another code"),
    Mutant("T25-019", lambda: _plainly("forbidden"), note="runs it"),
    Mutant("T25-021", lambda: _refusing("tools/call", -32601, lambda params: "task" not in params)),
    Mutant("T25-021", lambda: _plainly("quick")),
    Mutant("T25-023", error("tools/call", put(code=-32600)), note="another code"),
    Mutant("T25-023", lambda: _plainly("required"), note="runs it"),
    # What a new task is.
    Mutant("T25-027", _Created(_needs_a_ttl)),
    Mutant("T25-029", _Created(lambda found, asked, known: _plain(asked.method))),
    Mutant("T25-030", lambda: late(_is_new, _over)),
    Mutant("T25-031", _Created(_unwraps)),
    Mutant("T25-032", _Created(lambda found, asked, known: {**found, **_plain(asked.method)})),
    Mutant("T25-034", _Created(lambda found, asked, known: meta(model_immediate_response=["wait"])(found))),
    Mutant("T25-058", task(put(taskId=7))),
    Mutant("T25-059", _Created(_takes_the_id)),
    Mutant("T25-059", _Created(lambda found, asked, known: found["task"].update(taskId=""))),
    Mutant("T25-060", lambda: task(put(taskId=_always_the_first()), where="tools/call"), legs=_SERVER),
    Mutant("T25-060", lambda: task(put(taskId=_always_the_first()), where="sampling/createMessage"), legs=_CLIENT),
    Mutant("T25-061", task(put(status="completed"), where="tools/call"), legs=_SERVER),
    Mutant("T25-061", task(put(status="completed"), where="sampling/createMessage"), legs=_CLIENT),
    # What is shown of it.
    Mutant("T25-039", result("tasks/get", _wraps)),
    Mutant("T25-043", _Blocked),
    Mutant("T25-049", notice("notifications/tasks/status", drop("createdAt"))),
    Mutant("T25-049", notice("notifications/tasks/status", lambda params: {"task": dict(params)})),
    Mutant("T25-054", result("tasks/list", lambda found: {"items": found.get("tasks")})),
    Mutant("T25-054", result("tasks/list", put(nextCursor=5))),
    Mutant("T25-055", result("tasks/cancel", lambda found: {})),
    Mutant("T25-055", result("tasks/cancel", _wraps)),
    Mutant("T25-055", task(put(status="working"), where="tasks/cancel")),
    Mutant("T25-064", lambda: _Since(_shows(*_TERMINAL), _get(status="working"))),
    Mutant("T25-065", _get(status="submitted")),
    Mutant("T25-067", lambda: _Since(_shows("completed"), _get(status="cancelled"))),
    # What can be had of it.
    Mutant("T25-044", result("tasks/result", drop("content", "model"))),
    Mutant("T25-044", result("tasks/result", lambda found: {"result": dict(found), "_meta": found["_meta"]})),
    Mutant("T25-046", lambda: _Since(_answers("tasks/result"), _refusing("tasks/result", -32602)), note="is consumed"),
    Mutant("T25-047", lambda: _Since(_said("notifications/cancelled"), _get(status="cancelled"))),
    Mutant("T25-066", lambda: _refusing("tasks/result", -32603)),
    Mutant("T25-066", _get(status="completed"), only="a_slow_task", note="too soon"),
    Mutant("T25-089", lambda: early("tasks/result", lambda params, known: {"result": {"content": []}})),
    # What it asks.
    Mutant("T25-073", _get(status=lambda old: "working" if old == "input_required" else old), legs=_SERVER),
    Mutant("T25-074", request("elicitation/create", meta(related_task=None))),
    Mutant("T25-074", request("elicitation/create", meta(related_task={"taskId": "another"}))),
    Mutant("T25-076", lambda: _Since(_shows("input_required"), _get(status="input_required"))),
    Mutant("T25-077", lambda: _Since(_answered, _get(status="working"))),
    # Over HTTP.
    Mutant("T25-038", header(_accepted), legs=_SERVER, transport="http"),
    Mutant("T25-038", header(_with_new_header("content-type", "text/plain")), legs=_SERVER, transport="http"),
    Mutant("T25-038", header(_with_new_header("accept", "*/*")), legs=_CLIENT, transport="http"),
    Mutant("T25-038", header(_with_new_header("mcp-session-id", None)), legs=_CLIENT, transport="http"),
    Mutant("T25-072", header(_with_new_header("content-type", "text/event-stream")), transport="http"),
    # Of everything that it sends; more stand in the module of lifetimes.
    Mutant("T25-078", task(drop("createdAt"))),
    Mutant("T25-079", task(drop("lastUpdatedAt"))),
    Mutant("T25-084", task(drop("ttl"))),
    Mutant("T25-106", result("tasks/result", drop("_meta"))),
    Mutant("T25-130", lambda: early("tasks/get", _not_found), note="another code"),
]
