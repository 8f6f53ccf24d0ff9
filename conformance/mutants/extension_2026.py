"""Mutants of a server with the tasks extension (2026-07-28): how it announces itself, what it makes a task, and how it
shows one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define

from mcp_tasks.testing import Frame

from ..names import CAPABILITIES, TASKS
from . import Change, Edit, Known, Mutant, also, drop, early, meta, put, result, task

TASK = {
    "taskId": "8f14e45f-ceea-467f-9d2b-6b1d3c1f0a77",
    "status": "working",
    "createdAt": "2026-07-28T00:00:00Z",
    "lastUpdatedAt": "2026-07-28T00:00:00Z",
    "ttlMs": None,
}
FAULT = {"code": -32603, "message": "it went wrong"}


def at(*statuses: str, do: Change) -> Change:
    """Change tasks that have one of these statuses."""

    def change(holder: dict[str, Any]) -> Any:
        return do(holder) if holder.get("status") in statuses else None

    return change


def becoming(new: Mapping[str, Any], *without: str) -> Change:
    """Set members and leave others out."""

    def change(holder: dict[str, Any]) -> None:
        drop(*without)(holder)
        holder.update(copy.deepcopy(dict(new)))

    return change


def announcing(change: Change) -> Edit:
    """Change what the server announces."""
    return result("server/discover", lambda found: change(found["capabilities"]))


def created(change: Change) -> Edit:
    """Change each CreateTaskResult."""
    return result("tools/call", change, when=lambda found: found.get("resultType") == "task")


def undeclared(params: Mapping[str, Any]) -> bool:
    """Whether a request does not declare the extension."""
    capabilities = params.get("_meta", {}).get(CAPABILITIES, {})
    return TASKS not in capabilities.get("extensions", {})


def legacy(params: Mapping[str, Any]) -> bool:
    """Whether a request declares the tasks of the older era."""
    return undeclared(params) and "tasks" in params.get("_meta", {}).get(CAPABILITIES, {})


def refusing(code: int, when: Callable[[Mapping[str, Any], Known], Any] = lambda params, known: True) -> Any:
    """What `early` makes: an error, where `when` says so."""

    def make(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
        return {"error": {"code": code, "message": "not like that"}} if when(params, known) else None

    return make


def granting(answer: Mapping[str, Any], when: Callable[[Mapping[str, Any], Known], Any]) -> Any:
    """What `early` makes: a result, where `when` says so."""

    def make(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
        return {"result": dict(answer)} if when(params, known) else None

    return make


def nth(number: int) -> Callable[[Mapping[str, Any], Known], bool]:
    """Of all requests for one task, the one with this number."""

    def count(params: Mapping[str, Any], known: Known) -> bool:
        counts = known.memory.setdefault("asked", {})
        counts[params["taskId"]] = counts.get(params["taskId"], 0) + 1
        return bool(counts[params["taskId"]] == number)

    return count


@define
class _Again(Edit):
    """Changes what is shown of a task each time but the first that it has this status."""

    status: str
    change: Change
    _seen: set[str]

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        found = frame.result
        if known.method_of(frame) == "tasks/get" and found.get("status") == self.status:
            if found["taskId"] in self._seen:
                self.change(found)
            self._seen.add(found["taskId"])
        return (frame,)


@define
class _Counting(Edit):
    """Hands out ids one after the other."""

    name: str
    _next: int = 100

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.result.get("resultType") == "task":
            self._next += 1
            frame.result["taskId"] = self.name.format(self._next)
        return (frame,)


def _renamed(capabilities: dict[str, Any]) -> None:
    capabilities["extensions"] = {"io.modelcontextprotocol/Tasks": {}}


def _nested(found: dict[str, Any]) -> dict[str, Any]:
    return {"resultType": "task", "task": {name: value for name, value in found.items() if name != "resultType"}}


def _instead(found: dict[str, Any]) -> dict[str, Any] | None:
    return {**copy.deepcopy(TASK), "resultType": "task"} if "content" in found else None


def _no_error(holder: dict[str, Any]) -> None:
    if isinstance(holder.get("result"), dict):
        holder["result"].pop("isError", None)


def _failing(holder: dict[str, Any]) -> None:
    if isinstance(holder.get("result"), dict) and holder["result"].get("isError"):
        becoming({"status": "failed", "error": FAULT, "statusMessage": "it went wrong"}, "result")(holder)


def _text(holder: dict[str, Any]) -> None:
    if isinstance(holder.get("result"), dict):
        holder["result"] = {"content": [{"type": "text", "text": "something else"}]}


def _always(params: Mapping[str, Any], known: Known) -> bool:
    return True


def _is_task(frame: Frame, known: Known) -> bool:
    return frame.result.get("resultType") == "task"


def _old_status(frame: Frame, known: Known) -> dict[str, Any]:
    params = {name: value for name, value in frame.result.items() if name != "resultType"}
    return {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params}


def _progress(frame: Frame, known: Known) -> dict[str, Any]:
    params = {"progressToken": "of-a-task", "progress": known.memory.setdefault("progress", 100)}
    known.memory["progress"] += 1
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


MUTANTS = [
    # how it announces itself
    Mutant("X26-001", announcing(_renamed), legs=("server",)),
    Mutant("X26-003", announcing(drop("extensions"))),
    Mutant("X26-004", announcing(put(extensions={TASKS: {"list": True}})), legs=("server",)),
    Mutant("X26-118", result("tools/list", meta(tasks={})), legs=("server",)),
    Mutant("X26-118", announcing(put(experimental={TASKS: {}})), legs=("server",), note="an experiment"),
    Mutant("X26-129", announcing(drop("extensions"))),
    Mutant("X26-130", announcing(put(tasks={"cancel": {}, "requests": {"tools": {"call": {}}}}))),
    # what it makes a task
    Mutant("X26-008", result("tools/call", _instead)),
    Mutant("X26-014", result("tools/list", lambda found: {**copy.deepcopy(TASK), "resultType": "task"})),
    Mutant("X26-016", created(put(resultType="complete"))),
    Mutant("X26-016", created(drop("resultType")), note="without any"),
    Mutant("X26-017", result("tools/list", put(resultType="task"))),
    Mutant("X26-117", result("tools/list", put(resultType="task")), legs=("server",)),
    Mutant("X26-038", created(_nested)),
    Mutant("X26-043", created(put(requestState="more to come"))),
    Mutant("X26-041", lambda: early("tasks/get", refusing(-32602, nth(1)))),
    Mutant("X26-042", lambda: early("tasks/get", refusing(-32602, nth(2)))),
    Mutant("X26-128", lambda: early("tools/call", refusing(-32602, lambda params, known: "task" in params))),
    Mutant(
        "X26-128",
        lambda: early("tools/call", granting({"task": TASK}, lambda params, known: "task" in params)),
        note="the old answer",
    ),
    # the task object
    Mutant("X26-018", task(drop("createdAt"))),
    Mutant("X26-018", task(drop("lastUpdatedAt"), where="tasks/get"), note="only when asked"),
    Mutant("X26-019", task(put(taskId=lambda old: f"{old}-2"), where="tasks/get")),
    Mutant("X26-019", created(put(taskId=TASK["taskId"])), only="many_ids", note="the same for all"),
    Mutant("X26-020", task(at("working", do=put(status="submitted")))),
    Mutant("X26-021", task(put(createdAt=1_785_196_800))),
    Mutant("X26-021", task(put(lastUpdatedAt="yesterday")), note="in words"),
    Mutant("X26-022", task(drop("ttlMs"))),
    Mutant("X26-022", task(put(ttlMs="60000")), note="a string"),
    Mutant("X26-022", task(put(ttlMs=1500.5)), note="a fraction"),
    Mutant("X26-120", lambda: _Counting("{}"), only="many_ids"),
    Mutant("X26-120", lambda: _Counting("task-of-this-server-{}"), only="many_ids", note="a long prefix"),
    # what goes with a status
    Mutant("X26-032", task(at("working", do=put(result={"content": []})), where="tasks/get")),
    Mutant("X26-051", task(at("working", do=put(error=FAULT)), where="tasks/get")),
    Mutant("X26-052", task(at("input_required", do=drop("inputRequests")))),
    Mutant("X26-054", task(at("completed", do=drop("result")))),
    Mutant("X26-055", task(at("cancelled", do=put(error=FAULT)))),
    Mutant("X26-056", task(at("failed", do=drop("error")))),
    Mutant("X26-057", result("tasks/get", put(resultType="task"))),
    Mutant("X26-057", result("tasks/get", drop("resultType")), note="without any"),
    Mutant("X26-036", lambda: _Again("completed", becoming({"status": "working"}, "result"), set())),
    Mutant("X26-050", lambda: _Again("completed", put(result={"content": []}), set())),
    Mutant("X26-050", lambda: _Again("completed", put(lastUpdatedAt="2038-01-19T03:14:07Z"), set()), note="the time"),
    # how it ends
    Mutant("X26-028", task(_failing)),
    Mutant("X26-029", task(_failing)),
    Mutant("X26-113", task(_no_error)),
    Mutant("X26-033", task(put(result=lambda old: {"text": "slept"} if old else old), where="tasks/get")),
    Mutant("X26-034", task(at("failed", do=put(error={"code": "E1", "message": "it broke"})))),
    Mutant("X26-034", task(at("failed", do=put(error={"code": -32000}))), note="no message"),
    Mutant("X26-110", task(at("failed", do=becoming({"status": "completed", "result": {"content": []}}, "error")))),
    Mutant("X26-111", task(at("failed", do=drop("statusMessage")))),
    Mutant("X26-112", task(at("failed", do=drop("error")))),
    Mutant("X26-114", task(at("failed", do=put(error=FAULT)))),
    Mutant("X26-114", task(at("failed", do=lambda holder: drop("data")(holder["error"]))), note="without its data"),
    Mutant("X26-115", task(_text)),
    # what there is no more, and never was
    Mutant("X26-101", also(lambda frame, known: known.method_of(frame) == "tasks/get", _progress)),
    Mutant("X26-116", also(_is_task, _old_status), legs=("server",)),
    Mutant("X26-123", lambda: early("tasks/list", granting({"resultType": "complete", "tasks": []}, _always))),
    Mutant("X26-127", lambda: early("tasks/result", granting({"resultType": "complete", "content": []}, _always))),
]
