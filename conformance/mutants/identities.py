"""Mutants that do not care whose a task is, in both eras. They are played over HTTP, where there are identities.

Each is one edit for all connections of a play, so that it knows on one what was said on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame

from ..names import RELATED
from . import Edit, Known, Mutant, put, task


@define
class _Shared(Edit):
    """Remembers the tasks that were made by any connection, and changes the answers about those of another."""

    method: str
    change: Callable[[Frame, dict[str, Any]], None]
    """Is given the answer, and the task as it was when it was made."""
    tasks: dict[str, dict[str, Any]] = field(factory=dict)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        asked = known.requests.get(frame.id)
        if asked is None or not frame.is_response:
            return (frame,)
        found = frame.result.get("task") or (frame.result if frame.result.get("resultType") == "task" else None)
        if isinstance(found, dict):
            self.tasks[found["taskId"]] = dict(found)
            known.memory[found["taskId"]] = True
        id = asked.params.get("taskId")
        if asked.method == self.method and isinstance(id, str) and id in self.tasks and id not in known.memory:
            self.change(frame, self.tasks[id])
        return (frame,)


@define
class _SharedList(_Shared):
    """Lists the tasks of everybody to everybody."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        super().edit(frame, known)
        if known.method_of(frame) == self.method and frame.is_response:
            self.change(frame, self.tasks)
        return (frame,)


@define
class _Announced(_SharedList):
    """Does so where it cannot tell anybody from anybody else."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if known.method_of(frame) == "initialize" and "result" in frame.object:
            frame.result["capabilities"]["tasks"]["list"] = {}
        return super().edit(frame, known)


def _answer(frame: Frame, result: dict[str, Any]) -> None:
    frame.message = {"jsonrpc": "2.0", "id": frame.id, "result": result}
    frame.status = 200


def _shows(frame: Frame, task: dict[str, Any]) -> None:
    _answer(frame, {**task, "resultType": "complete"} if "resultType" in task else dict(task))


def _gives(frame: Frame, task: dict[str, Any]) -> None:
    _answer(frame, {"content": [], "_meta": {RELATED: {"taskId": task["taskId"]}}})


def _cancels(frame: Frame, task: dict[str, Any]) -> None:
    _answer(frame, {"resultType": "complete"} if "resultType" in task else {**task, "status": "cancelled"})


def _says_so(frame: Frame, task: dict[str, Any]) -> None:
    if frame.error is not None:
        frame.error["message"] = f"The task {task['taskId']} is not yours"


def _says_so_in_the_code(frame: Frame, task: dict[str, Any]) -> None:
    if frame.error is not None:
        frame.error["code"] = -32001


def _says_so_by_http(frame: Frame, task: dict[str, Any]) -> None:
    frame.status = 403


def _lists_all(frame: Frame, tasks: dict[str, Any]) -> None:
    _answer(frame, {"tasks": [dict(task) for task in tasks.values()]})


@define
class _Told(Edit):
    """Tells everybody of every task."""

    tasks: list[dict[str, Any]] = field(factory=list)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        asked = known.requests.get(frame.id)
        if isinstance(found := frame.result.get("task"), dict):
            self.tasks.append(found)
        elif self.tasks and asked is not None and asked.method == "ping":
            told = {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": dict(self.tasks[-1])}
            return Frame(frame.sender, told, frame.channel, status=frame.status), frame
        return (frame,)


MUTANTS = [
    Mutant("T25-137", _Told(), transport="http"),
    Mutant("T25-140", task(put(ttl=None)), legs=("server",), transport="http"),
    Mutant("T25-141", _Announced("tasks/list", _lists_all), transport="http"),
    Mutant("T25-142", _Shared("tasks/get", _shows), transport="http", note="shown"),
    Mutant("T25-142", _Shared("tasks/result", _gives), transport="http", note="its result"),
    Mutant("T25-142", _Shared("tasks/cancel", _cancels), transport="http", note="cancelled"),
    Mutant("T25-143", _Shared("tasks/get", _says_so), transport="http", note="by the message"),
    Mutant("T25-143", _Shared("tasks/result", _says_so_in_the_code), transport="http", note="by the code"),
    Mutant("T25-143", _Shared("tasks/cancel", _says_so_by_http), transport="http", note="by the status"),
    Mutant("T25-144", _SharedList("tasks/list", _lists_all), transport="http"),
    Mutant("X26-121", _Shared("tasks/get", _shows), transport="http"),
    Mutant("X26-121", _Shared("tasks/cancel", _cancels), transport="http", note="cancelled"),
]
