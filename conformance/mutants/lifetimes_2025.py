"""Mutants of how long tasks of 2025-11-25 last, and of what they say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field

from mcp_tasks.testing import Frame

from . import Edit, Known, Mutant, drop, late, put, task


@define
class _Undead(Edit):
    """Shows tasks that are gone, if `which` is true of what they were and how often they were asked for."""

    which: Callable[[dict[str, Any], int], bool]
    _made: dict[Any, dict[str, Any]] = field(factory=dict)
    _asked: Counter[Any] = field(factory=Counter)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        request = known.requests.get(frame.id)
        if request is None or not frame.is_response:
            return (frame,)
        if isinstance(made := frame.result.get("task"), dict):
            self._made[made["taskId"]] = dict(made)
        id = request.params.get("taskId")
        if request.method == "tasks/get" and isinstance(id, str) and id in self._made:
            self._asked[id] += 1
            if frame.error is not None and self.which(self._made[id], self._asked[id]):
                shown = {**self._made[id], "status": "completed"}
                frame.message = {"jsonrpc": "2.0", "id": frame.id, "result": shown}
        return (frame,)


@define
class _Forgetful(Edit):
    """Knows a task no more once it was asked for three times."""

    _asked: Counter[Any] = field(factory=Counter)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        request = known.requests.get(frame.id)
        if request is not None and request.method == "tasks/get" and frame.is_response:
            self._asked[request.params.get("taskId")] += 1
            if self._asked[request.params.get("taskId")] > 3:
                gone = {"code": -32602, "message": "There is no such task"}
                frame.message = {"jsonrpc": "2.0", "id": frame.id, "error": gone}
        return (frame,)


def _is_result(frame: Frame, known: Known) -> bool:
    return frame.is_response and known.method_of(frame) == "tasks/result"


_HERE = "lifetimes_that_end"

MUTANTS = [
    Mutant("T25-080", task(put(createdAt="yesterday at noon"))),
    Mutant("T25-080", task(put(lastUpdatedAt=1_790_000_000)), note="a number"),
    Mutant("T25-081", task(lambda found: found.update(createdAt=found["lastUpdatedAt"])), note="createdAt moves"),
    Mutant("T25-081", task(lambda found: found.update(lastUpdatedAt=found["createdAt"])), note="lastUpdatedAt stays"),
    Mutant("T25-083", task(drop("ttl"), where="tasks/get")),
    Mutant("T25-085", _Forgetful, only=_HERE, note="too early"),
    Mutant("T25-093", lambda: late(_is_result, lambda frame, known: False), only=_HERE, note="nobody is told"),
    Mutant("T25-122", task(drop("status"), where="tasks/get")),
    Mutant("T25-147", task(put(ttl=None))),
    Mutant("T25-147", task(put(ttl=lambda old: max(old, 86_400_000) * 3_650 if old > 3_600_000 else old)), note="all"),
    Mutant("T25-148", lambda: _Undead(lambda made, asked: True), only=_HERE),
    Mutant("T25-148", lambda: _Undead(lambda made, asked: asked > 3), only=_HERE, note="from the last access"),
    Mutant("T25-148", lambda: _Undead(lambda made, asked: made["ttl"] == 4_000), only=_HERE, note="from completion"),
]
