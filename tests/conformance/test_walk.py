"""The random walk: healthy programs fit the model, and a broken one is shown by a short walk."""

from __future__ import annotations

import pytest

from conformance.fixtures import errands, healthy
from conformance.mutants import Mutant, early, put, result
from conformance.mutation import subject_of
from conformance.walk import Found, explain, walk

ERAS = ["2025-11-25", "2026-07-28"]


def found(leg: str, era: str, mutant: Mutant | None = None, walks: int = 40) -> Found | None:
    profile = healthy.PROFILE if leg == "server" else errands.PROFILE
    subject = subject_of(leg, "stdio", mutant)  # type: ignore[arg-type]
    return walk(subject, profile, era=era, walks=walks, seed=7, virtual=True)


@pytest.mark.parametrize(("leg", "era"), [("server", ERAS[0]), ("server", ERAS[1]), ("client", ERAS[0])])
def test_healthy_programs_fit_the_model(leg: str, era: str) -> None:
    shown = found(leg, era)
    assert shown is None, explain(shown) if shown else ""


FORGETS = Mutant("T25-046", lambda: early("tasks/result", _second_time()))
HIDES = Mutant("T25-112", result("tasks/list", put(tasks=lambda was: was[1:])))


def _second_time():  # type: ignore[no-untyped-def]
    asked: set[str] = set()

    def answer(params, known):  # type: ignore[no-untyped-def]
        if params["taskId"] in asked:
            return {"error": {"code": -32602, "message": "There is no such result"}}
        asked.add(params["taskId"])
        return None

    return answer


@pytest.mark.parametrize(
    ("mutant", "era", "most"),
    [(FORGETS, ERAS[0], 3), (HIDES, ERAS[0], 2)],
    ids=["forgets a result that was read", "hides a task"],
)
def test_a_broken_program_is_shown_by_the_shortest_walk(mutant: Mutant, era: str, most: int) -> None:
    shown = found("server", era, mutant, walks=200)
    assert shown is not None
    assert mutant.id in {finding.id for finding in shown.findings}
    assert len(shown.steps) <= most
    assert mutant.id in explain(shown)
    assert shown.frames


def test_what_is_known_to_be_broken_can_be_passed_over() -> None:
    profile = healthy.PROFILE
    subject = subject_of("server", "stdio", HIDES)
    ids = ("T25-112", "T25-110")
    assert walk(subject, profile, era=ERAS[0], walks=20, seed=7, virtual=True, ignore=ids) is None
