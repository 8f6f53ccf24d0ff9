"""Mutants of how tasks of 2025-11-25 end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame

from ..names import RELATED
from . import Edit, Known, Mutant, drop, early, error, late, notice, put, request, response, result, task


@define
class _After(Edit):
    """Once a task was cancelled, change how ``tasks/get`` shows it; `which` may narrow that to some tasks."""

    change: Callable[[dict[str, Any]], Any]
    which: Callable[[Known], bool] = lambda known: True
    _cancelled: set[Any] = field(factory=set)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        asked = known.requests.get(frame.id)
        if asked is not None and frame.is_response and "taskId" in frame.result:
            id = frame.result["taskId"]
            if asked.method == "tasks/cancel":
                self._cancelled.add(id)
            elif asked.method == "tasks/get" and id in self._cancelled and self.which(known):
                self.change(frame.result)
        return (frame,)


def _fails(code: int, message: str = "It went wrong") -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        found.pop("result", None)
        found["error"] = {"code": code, "message": message}

    return change


def _succeeds(found: dict[str, Any]) -> None:
    if found.pop("error", None) is not None:
        found["result"] = {"content": [{"type": "text", "text": "it broke"}]}


def _cancels(found: dict[str, Any]) -> None:
    if found.pop("error", None) is not None:
        found["result"] = {
            "taskId": "a-task-that-was-over",
            "status": "cancelled",
            "createdAt": "2025-11-25T00:00:00Z",
            "lastUpdatedAt": "2025-11-25T00:00:00Z",
            "ttl": None,
        }


def _odd(params: Mapping[str, Any], known: Known) -> dict[str, Any] | None:
    if isinstance(params.get("taskId"), str):
        return None
    return {"error": {"code": -32000, "message": "'int' object has no attribute 'encode'"}}


@define
class _Stubborn(Edit):
    """Does not cancel a task that has a question."""

    _asking: bool = False

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        self._asking = self._asking or frame.method == "elicitation/create"
        if self._asking and frame.is_response and known.method_of(frame) == "tasks/cancel":
            _fails(-32602, "The task waits for an answer")(frame.object)
        return (frame,)


@define
class _Answers(Edit):
    """Answers ``tasks/result`` as soon as it has a question."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if frame.method != "elicitation/create":
            return (frame,)
        waiting = [id for id, asked in known.requests.items() if asked.method == "tasks/result"]
        said = [{"jsonrpc": "2.0", "id": id, "result": {"content": [], "_meta": dict(frame.meta)}} for id in waiting]
        return (*(Frame(frame.sender, message, frame.channel) for message in said), frame)


def _is_result(frame: Frame, known: Known) -> bool:
    return frame.is_response and known.method_of(frame) == "tasks/result"


def _never(frame: Frame, known: Known) -> bool:
    return False


MUTANTS = [
    Mutant("T25-088", lambda: late(_is_result, _never), only="a_quick_task", note="nothing comes"),
    Mutant("T25-090", _Answers, legs=("server",)),
    Mutant("T25-091", result("tasks/result", put(content=[{"type": "text", "text": "another"}]))),
    Mutant("T25-091", result("tasks/result", put(taskId="0f3c5a9e7b2d4c18a6e0d1f29b3c7a55")), note="one member more"),
    Mutant("T25-092", lambda: late(_is_result, _never), only="a_cancelled_task"),
    Mutant("T25-097", request("elicitation/create", put(_meta={RELATED: {"taskId": "another"}})), legs=("server",)),
    Mutant("T25-113", response("tasks/cancel", _cancels), only="cancelled_for_good"),
    Mutant("T25-113", error("tasks/cancel", put(code=-32600)), note="another code"),
    Mutant("T25-115", result("tasks/cancel", put(status="working"))),
    Mutant("T25-116", lambda: _After(put(status="completed"))),
    Mutant("T25-117", _Stubborn, legs=("server",)),
    Mutant("T25-117", response("tasks/cancel", _fails(-32602)), legs=("client",)),
    Mutant("T25-118", lambda: _After(put(status="working")), legs=("server",), only="cancelled_while_it_asks"),
    Mutant("T25-124", task(put(status="completed"), where="tasks/get")),
    Mutant("T25-125", task(put(status="completed"), where="tasks/get"), legs=("server",)),
    Mutant("T25-126", response("tasks/result", _fails(-32603)), legs=("server",)),
    Mutant("T25-126", result("tasks/result", drop("isError")), legs=("server",), note="only the flag"),
    Mutant("T25-127", response("tasks/result", _succeeds)),
    Mutant("T25-127", error("tasks/result", put(code=-32603, message="Internal error")), note="another error"),
    Mutant("T25-127", error("tasks/result", drop("data")), note="without its data"),
    Mutant("T25-128", response("tasks/result", _fails(-32603))),
    Mutant("T25-129", task(drop("statusMessage"))),
    Mutant("T25-130", lambda: early("tasks/cancel", _odd), note="malformed"),
    Mutant("T25-134", error("", put(message="Invalid params"))),
    Mutant("T25-134", error("", put(message="")), note="nothing at all"),
    Mutant("T25-158", notice("notifications/cancelled", drop("requestId")), legs=("server",)),
]
