"""Mutants of what belongs to which task of 2025-11-25, and of the lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame

from ..names import RELATED
from . import Edit, Known, Mutant, also, drop, early, error, meta, notice, put, response, result, task


@define
class _Confused(Edit):
    """Takes the task that ``_meta`` names for the one that is meant, in the answers to one method."""

    method: str
    change: Callable[[dict[str, Any], str], None]

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        asked = known.requests.get(frame.id)
        if frame.is_response and asked is not None and asked.method == self.method:
            other = asked.meta.get(RELATED)
            if isinstance(other, dict):
                self.change(frame.object, other["taskId"])
        return (frame,)


def _shows(message: dict[str, Any], id: str) -> None:
    if "result" in message:
        message["result"]["taskId"] = id


def _gives(message: dict[str, Any], id: str) -> None:
    if "result" in message:
        message["result"]["_meta"] = {RELATED: {"taskId": id}}


def _refuses(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    if RELATED in (params.get("_meta") or {}):
        return {"error": {"code": -32602, "message": "This is no request of a task"}}
    return None


def _accepts(message: dict[str, Any]) -> None:
    if message.pop("error", None) is not None:
        message["result"] = {"tasks": []}


def _is_over(frame: Frame, known: Known) -> bool:
    return known.method_of(frame) == "tasks/get" and frame.result.get("status") in ("completed", "failed")


def _created(method: str) -> Edit:
    return result(method, meta(related_task={"taskId": "another"}), when=lambda found: "task" in found)


@define
class _Stops(Edit):
    """Reports progress until a request has become a task, and none from then on."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.method == "notifications/progress":
            return ()
        asked = known.requests.get(frame.id)
        if asked is None or "progressToken" not in asked.meta or not isinstance(frame.result.get("task"), dict):
            return (frame,)
        params = {"progressToken": asked.meta["progressToken"], "progress": 1, "total": 3}
        begun = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        return Frame(frame.sender, begun, frame.channel), frame


def _more_progress(frame: Frame, known: Known) -> dict[str, Any]:
    tokens = [asked.meta["progressToken"] for asked in known.requests.values() if "progressToken" in asked.meta]
    params = {"progressToken": tokens[0] if tokens else "?", "progress": 99}
    related = {"_meta": {RELATED: {"taskId": frame.result["taskId"]}}}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {**params, **related}}


@define
class _OnePage(Edit):
    """Lists all tasks at once."""

    _made: dict[str, Any] = field(factory=dict)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if isinstance(made := frame.result.get("task"), dict):
            self._made[made["taskId"]] = made
        if known.method_of(frame) == "tasks/list" and "result" in frame.object:
            frame.message = {"jsonrpc": "2.0", "id": frame.id, "result": {"tasks": list(self._made.values())}}
        return (frame,)


MUTANTS = [
    Mutant("T25-095", notice("notifications/progress", drop("_meta"))),
    Mutant("T25-096", result("tasks/result", meta(related_task={"taskId": 7}))),
    Mutant("T25-096", result("tasks/result", meta(related_task="a-task")), note="no object"),
    Mutant("T25-099", notice("notifications/progress", meta(related_task={"taskId": "another"}))),
    Mutant("T25-100", _created("tools/call"), legs=("server",)),
    Mutant("T25-100", _created("sampling/createMessage"), legs=("client",)),
    Mutant("T25-101", _Confused("tasks/get", _shows)),
    Mutant("T25-101", _Confused("tasks/result", _gives), note="in tasks/result"),
    Mutant("T25-103", lambda: early("tasks/get", _refuses)),
    Mutant("T25-103", lambda: early("tasks/result", _refuses), note="in tasks/result"),
    Mutant("T25-104", result("tasks/get", meta(related_task={"taskId": "this"}))),
    Mutant("T25-104", result("tasks/cancel", meta(related_task={"taskId": "this"})), note="in tasks/cancel"),
    Mutant("T25-105", result("tasks/list", meta(related_task={"taskId": "all"}))),
    Mutant("T25-107", notice("notifications/tasks/status", meta(related_task={"taskId": "this"}))),
    Mutant("T25-108", notice("notifications/progress", put(progressToken="mine"))),
    Mutant("T25-108", _Stops, note="no more once it is a task"),
    Mutant("T25-109", _OnePage),
    Mutant("T25-110", result("tasks/list", drop("nextCursor"))),
    Mutant("T25-112", result("tasks/list", lambda found: found["tasks"].pop() and None)),
    Mutant("T25-131", response("tasks/list", _accepts)),
    Mutant("T25-131", error("tasks/list", put(code=-32603)), note="another code"),
    Mutant("T25-139", task(put(taskId="task-1"), where="tools/call"), legs=("server",)),
    Mutant("T25-139", task(put(taskId="task-1"), where="sampling/createMessage"), legs=("client",)),
    Mutant("T25-159", notice("notifications/progress", put(progressToken="mine"))),
    Mutant("T25-159", _Stops, note="no more once it is a task"),
    Mutant("T25-160", notice("notifications/progress", put(progressToken="mine"))),
    Mutant("T25-161", also(_is_over, _more_progress)),
]
