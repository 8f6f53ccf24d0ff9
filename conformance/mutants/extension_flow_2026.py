"""Mutants of a server with the tasks extension (2026-07-28): questions, cancelling, pushes, refusals, eras."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame, Wire

from ..names import SUBSCRIPTION, TASKS
from . import Edit, Known, Mutant, also, drop, early, error, header, meta, notice, put, response, result, task
from .extension_2026 import FAULT, TASK, at, becoming, granting, legacy, refusing, undeclared

_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_ENDED = ("completed", "failed", "cancelled")
_QUESTION = {"method": "elicitation/create", "params": {"message": "Well?", "requestedSchema": {"type": "object"}}}
_EMPTY = {"resultType": "complete"}
_ANNOUNCED_TASK = {**TASK, "resultType": "complete"}


@define
class _Closed(Edit):
    """Refuses one method for tasks that are over."""

    method: str
    code: int = -32602
    _over: set[str] = field(factory=set)
    _mine: set[Any] = field(factory=set)

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        if frame.method == self.method and frame.params.get("taskId") in self._over:
            self._mine.add(frame.id)
            refusal = {"code": self.code, "message": "the task is over"}
            wire.inject(Frame(wire.side.other, {"jsonrpc": "2.0", "id": frame.id, "error": refusal}, frame.channel))

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if known.method_of(frame) == "tasks/get" and frame.result.get("status") in _ENDED:
            self._over.add(frame.result["taskId"])
        return () if frame.is_response and frame.id in self._mine else (frame,)


@define
class _OneKey(Edit):
    """Calls every question of a task what the first was called."""

    _first: dict[str, str] = field(factory=dict)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        questions = frame.result.get("inputRequests")
        if known.method_of(frame) == "tasks/get" and questions:
            first = self._first.setdefault(frame.result["taskId"], next(iter(questions)))
            frame.result["inputRequests"] = {first: list(questions.values())[-1]}
        return (frame,)


@define
class _Forgetful(Edit):
    """Shows each question once."""

    _shown: set[tuple[str, str]] = field(factory=set)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        questions = frame.result.get("inputRequests")
        if known.method_of(frame) == "tasks/get" and questions:
            for key in list(questions):
                place = frame.result["taskId"], key
                if place in self._shown:
                    del questions[key]
                self._shown.add(place)
        return (frame,)


@define
class _Hasty(Edit):
    """Goes on once there was an answer, whatever is still asked."""

    _answered: set[str] = field(factory=set)

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        if frame.method == "tasks/update" and frame.params.get("inputResponses"):
            self._answered.add(frame.params["taskId"])

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        found = frame.result
        if known.method_of(frame) == "tasks/get" and found["taskId"] in self._answered and "inputRequests" in found:
            becoming({"status": "working"}, "inputRequests")(found)
        return (frame,)


def _is(method: str) -> Any:
    return lambda frame, known: frame.method == method


def _stray(params: Mapping[str, Any], known: Known) -> bool:
    return "no-such-key" in params.get("inputResponses", ())


def _repeated(params: Mapping[str, Any], known: Known) -> bool:
    answered = known.memory.setdefault("answered", set())
    keys = {(params["taskId"], key) for key in params.get("inputResponses", ())}
    again = bool(keys & answered)
    answered |= keys
    return again


def _unknown(params: Mapping[str, Any], known: Known) -> bool:
    return str(params.get("taskId")).startswith("no-such")


def _asked_all_the_same(holder: dict[str, Any]) -> None:
    becoming({"status": "input_required", "inputRequests": {"name": copy.deepcopy(_QUESTION)}}, "error", "result")(
        holder
    )


def _without_the_rest(holder: dict[str, Any]) -> None:
    if len(holder.get("inputRequests", {})) == 1:
        holder["inputRequests"] = {}


def _with_a_task(holder: dict[str, Any]) -> None:
    for question in holder.get("inputRequests", {}).values():
        question["params"]["task"] = {"ttl": 60_000}


def _of_another(frame: Frame, known: Known) -> dict[str, Any]:
    return {**frame.object, "params": {**frame.params, "taskId": TASK["taskId"]}}


def _noise(frame: Frame, known: Known) -> dict[str, Any]:
    params = {"_meta": {SUBSCRIPTION: frame.meta[SUBSCRIPTION]}, "level": "info", "data": "a step"}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}


def _agreeing(members: dict[str, Any]) -> Any:
    return put(notifications=members)


def _required(params: Mapping[str, Any], known: Known) -> bool:
    return undeclared(params) and params.get("name") == "required"


def _missing(code: int) -> Any:
    """Change the refusals of those who did not declare the extension to another code."""

    def change(holder: dict[str, Any]) -> None:
        if holder["code"] == -32021:
            holder["code"] = code

    return change


def _mismatch(code: int) -> Any:
    def change(holder: dict[str, Any]) -> None:
        if holder["code"] == -32020:
            holder["code"] = code

    return change


def _fine(frame: Frame) -> None:
    if frame.status == 400:
        frame.status = 200


def _flat_in_the_old_era(found: dict[str, Any]) -> dict[str, Any] | None:
    return {**copy.deepcopy(TASK), "resultType": "task"} if "content" in found else None


MUTANTS = [
    # questions and answers
    Mutant("X26-053", _Forgetful),
    Mutant("X26-053", task(_without_the_rest), only="an_answer_to_one_of_two", note="the second of two"),
    Mutant("X26-067", _OneKey),
    Mutant("X26-068", _OneKey),
    Mutant("X26-069", _OneKey),
    Mutant("X26-070", task(at("failed", do=_asked_all_the_same)), only="a_client_that_cannot_be_asked"),
    Mutant("X26-071", result("tasks/update", put(taskId="the-same", status="working"))),
    Mutant("X26-072", result("tasks/update", drop("resultType"))),
    Mutant("X26-072", result("tasks/update", put(resultType="task")), note="task"),
    Mutant("X26-074", lambda: early("tasks/update", granting(_EMPTY, _unknown))),
    Mutant("X26-074", error("tasks/update", put(code=-32001)), note="another code"),
    Mutant("X26-076", lambda: early("tasks/update", refusing(-32602, _stray))),
    Mutant("X26-076", lambda: early("tasks/update", refusing(-32602, _repeated)), note="repeated"),
    Mutant("X26-077", lambda: _Closed("tasks/update")),
    Mutant("X26-079", _Hasty, only="an_answer_to_one_of_two"),
    Mutant("X26-135", task(_with_a_task)),
    # cancelling
    Mutant("X26-081", result("tasks/cancel", lambda found: {**copy.deepcopy(TASK), "resultType": "complete"})),
    Mutant("X26-082", result("tasks/cancel", drop("resultType"))),
    Mutant("X26-082", result("tasks/cancel", put(resultType="task")), note="task"),
    Mutant("X26-083", lambda: early("tasks/cancel", granting(_EMPTY, _unknown))),
    Mutant("X26-083", error("tasks/cancel", put(code=-32001)), note="another code"),
    Mutant("X26-084", lambda: _Closed("tasks/cancel")),
    # pushes
    Mutant("X26-092", notice(_ACKNOWLEDGED, _agreeing({})), note="pushes all the same"),
    Mutant("X26-092", notice(_ACKNOWLEDGED, _agreeing({"taskIds": [TASK["taskId"]]})), note="another"),
    Mutant("X26-092", notice("notifications/tasks", lambda params: False), note="pushes nothing"),
    Mutant("X26-093", error("subscriptions/listen", _missing(-32600))),
    Mutant("X26-094", notice("notifications/tasks", drop("result", "inputRequests"))),
    Mutant("X26-094", notice("notifications/tasks", put(lastUpdatedAt="2026-07-28T00:00:00Z")), note="another time"),
    Mutant("X26-095", notice("notifications/tasks", meta(subscriptionId=None))),
    Mutant("X26-096", also(_is("notifications/tasks"), _of_another)),
    Mutant("X26-100", also(_is("notifications/tasks"), _noise)),
    # refusals
    Mutant("X26-011", error("tools/call", _missing(-32601))),
    Mutant("X26-011", lambda: early("tools/call", granting({"resultType": "task", **TASK}, _required)), note="a task"),
    Mutant("X26-012", error("tools/call", drop("data"))),
    Mutant("X26-012", error("tasks/get", put(data={"requiredCapabilities": [TASKS]})), note="a list"),
    Mutant("X26-105", error("tasks/get", put(code=-32002))),
    Mutant("X26-105", error("tasks/get", put(code=-32603)), note="a fault"),
    Mutant("X26-107", error("tasks/get", _missing(-32602))),
    Mutant("X26-107", error("tasks/update", _missing(-32601)), note="update"),
    Mutant("X26-107", lambda: early("tasks/cancel", granting(_EMPTY, lambda params, known: undeclared(params)))),
    Mutant("X26-108", error("tasks/get", put(message="Error"))),
    Mutant("X26-104", error("tasks/cancel", _mismatch(-32600)), transport="http"),
    Mutant("X26-104", header(_fine), transport="http", note="the status"),
    # the older era
    Mutant("X26-124", result("tools/call", _flat_in_the_old_era), only="the_extension_in_the_older_era"),
    Mutant("X26-124", lambda: early("tasks/update", granting({}, lambda params, known: True)), note="update"),
    Mutant("X26-125", lambda: early("tasks/get", granting(_ANNOUNCED_TASK, lambda params, known: legacy(params)))),
    Mutant(
        "X26-125",
        lambda: early("tools/call", granting({"resultType": "task", **TASK}, lambda params, known: legacy(params))),
        note="a call",
    ),
    Mutant("X26-126", response("tasks/cancel", becoming({"error": FAULT}, "result"))),
]
