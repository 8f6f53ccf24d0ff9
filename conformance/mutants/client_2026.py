"""Mutants of a client that has its calls run as tasks (2026-07-28)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from mcp_tasks.testing import Frame

from ..names import CAPABILITIES, TASKS
from . import Edit, Known, Mutant, also, drop, header, instead, meta, put, request, retort, silent

_CLIENT = ("client",)
_FAILED = '{"error": {"message": "it makes no sense"}}'


def _is(method: str) -> Callable[[Frame, Known], bool]:
    return lambda frame, known: frame.method == method


def _again(frame: Frame, known: Known) -> Any:
    return {**copy.deepcopy(frame.object), "id": f"{frame.id} again"}


def _nothing(params: dict[str, Any]) -> bool:
    return False


def _of_extensions(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """A change of the extensions that a request declares."""

    def changed(params: dict[str, Any]) -> None:
        capabilities = params.get("_meta", {}).get(CAPABILITIES)
        if isinstance(capabilities, dict) and "extensions" in capabilities:
            change(capabilities["extensions"])

    return changed


def _misspell(extensions: dict[str, Any]) -> None:
    if TASKS in extensions:
        extensions["io.modelcontextprotocol/Tasks"] = extensions.pop(TASKS)


def _to_each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of each answer of an update."""
    return lambda answers: {key: change(answer) for key, answer in (answers or {}).items()}


def _third(frame: Frame, known: Known) -> bool:
    if frame.method == "tasks/get":
        known.memory["polls"] = known.memory.get("polls", 0) + 1
    return bool(known.memory.get("polls", 0) == 3)


def _cancels_the_call(frame: Frame, known: Known) -> Any:
    call = next(request for request in known.theirs.values() if request.method == "tools/call")
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call.object["id"]}}


def _is_seed_of_a_list(frame: Frame, known: Known) -> bool:
    asked = known.theirs.get(frame.id)
    return frame.result.get("resultType") == "task" and asked is not None and asked.method == "tools/list"


def _polls_seed(frame: Frame, known: Known) -> Any:
    said = known.theirs[frame.id].params["_meta"]
    params = {"taskId": frame.result["taskId"], "_meta": said}
    return {"jsonrpc": "2.0", "id": "poll", "method": "tasks/get", "params": params}


def _of_task(name: str, value: str | None) -> Edit:
    """Another header on what is done with tasks; none if there is no value."""

    def change(frame: Frame) -> None:
        if (frame.method or "").startswith("tasks/"):
            others = {key: said for key, said in frame.headers.items() if key != name}
            frame.headers = others if value is None else {**others, name: value}

    return header(change)


MUTANTS = [
    Mutant("X26-001", request("", _of_extensions(_misspell)), legs=_CLIENT),
    Mutant("X26-002", request("tasks/get", _of_extensions(lambda extensions: extensions.clear())), legs=_CLIENT),
    Mutant("X26-004", request("tools/call", _of_extensions(put(**{TASKS: {"poll": True}}))), legs=_CLIENT),
    Mutant("X26-006", request("tools/call", put(task={})), legs=_CLIENT),
    Mutant("X26-009", Edit(), legs=_CLIENT, prints=lambda text: _FAILED, only="an_ordinary_result", note="plain"),
    Mutant("X26-009", Edit(), legs=_CLIENT, prints=lambda text: _FAILED, only="over_from_the_start", note="task"),
    Mutant("X26-009", Edit(), legs=_CLIENT, prints=lambda text: "{}", only="a_task_that_fails", note="failed"),
    Mutant("X26-010", retort(_is_seed_of_a_list, _polls_seed), legs=_CLIENT),
    Mutant("X26-025", also(_is("tasks/get"), _again), legs=_CLIENT),
    Mutant("X26-031", request("tasks/update", _nothing), legs=_CLIENT),
    Mutant("X26-039", request("tasks/get", _nothing), legs=_CLIENT, only="over_from_the_start"),
    Mutant("X26-039", request("tasks/get", _nothing), legs=_CLIENT, only="asking_from_the_start"),
    Mutant("X26-040", request("tasks/get", put(taskId=lambda id: f"{id}0")), legs=_CLIENT),
    Mutant("X26-047", lambda: silent(_is("tasks/get"), _third), legs=_CLIENT),
    Mutant("X26-049", request("tasks/get", drop("taskId")), legs=_CLIENT),
    Mutant("X26-060", request("tasks/update", drop("inputResponses")), legs=_CLIENT),
    Mutant("X26-061", request("tasks/update", put(inputResponses=lambda given: {**given, "own": {}})), legs=_CLIENT),
    Mutant(
        "X26-062",
        request("tasks/update", put(inputResponses=_to_each(lambda answer: {"result": answer}))),
        legs=_CLIENT,
    ),
    Mutant("X26-064", lambda: silent(_is("tasks/get"), _is("tasks/update")), legs=_CLIENT),
    Mutant("X26-066", also(_is("tasks/update"), _again), legs=_CLIENT),
    Mutant("X26-075", also(_is("tasks/update"), _again), legs=_CLIENT),
    Mutant("X26-080", instead(_is("tasks/cancel"), _cancels_the_call), legs=_CLIENT),
    Mutant("X26-091", request("subscriptions/listen", put(notifications={"toolsListChanged": True})), legs=_CLIENT),
    Mutant("X26-102", _of_task("mcp-name", None), legs=_CLIENT, transport="http"),
    Mutant("X26-102", _of_task("mcp-name", "another"), legs=_CLIENT, transport="http", note="another"),
    Mutant("X26-103", _of_task("mcp-method", "tasks"), legs=_CLIENT, transport="http"),
    Mutant(
        "X26-116",
        also(_is("tools/call"), lambda frame, known: {"jsonrpc": "2.0", "method": "notifications/tasks/wanted"}),
        legs=_CLIENT,
    ),
    Mutant(
        "X26-117",
        request("tasks/update", put(inputResponses=_to_each(lambda answer: {**answer, "resultType": "task"}))),
        legs=_CLIENT,
    ),
    Mutant("X26-118", request("tools/call", meta(tasks={"wanted": True})), legs=_CLIENT),
]
