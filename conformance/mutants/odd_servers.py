"""Mutants of clients that lose their head before a server that is odd."""

from __future__ import annotations

import json

from . import Edit, Mutant

_EMPTY = json.dumps({"text": None, "isError": False})
_OTHER = json.dumps({"text": "it is something else", "isError": False})
_NOTHING = ""


def _says(id: str, printed: str, only: str) -> Mutant:
    return Mutant(id, Edit(), legs=("client",), prints=lambda text: printed, only=only, note=only)


MUTANTS = [
    _says("T25-065", _EMPTY, "a_status_that_is_none"),
    _says("X26-047", _EMPTY, "a_status_that_is_none_either"),
    _says("T25-010", _EMPTY, "a_task_that_nobody_asked_for"),
    _says("C25-173", f"[{_OTHER}, {_OTHER}]", "an_answer_that_comes_twice"),
    _says("C26-232", f"[{_OTHER}, {_OTHER}]", "an_answer_that_comes_again"),
    _says("C25-173", _OTHER, "an_answer_that_comes_late"),
    _says("C26-232", _NOTHING, "an_answer_that_comes_too_late"),
]
