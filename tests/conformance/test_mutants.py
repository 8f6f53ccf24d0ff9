"""The judge is judged: it passes the healthy programs, and notices every mutant of them."""

from __future__ import annotations

from functools import cache, partial

import pytest
import trio
from trio.testing import MockClock

from conformance.coverage import gaps
from conformance.fixtures import errands, healthy
from conformance.ledger import load_ledger
from conformance.mutants import Mutant, all_mutants
from conformance.mutation import TOKENS, fates_of, hunt, subject_of
from conformance.runner import play_all
from conformance.scenario import all_scenarios
from conformance.verdicts import Result, Verdict, verdicts_of

ROWS = load_ledger()
SCENARIOS = all_scenarios()
ERAS = ["2025-11-25", "2026-07-28"]
HUNTS = [(mutant, leg) for mutant in all_mutants() for leg in fates_of(mutant, ROWS)]


def name_of(hunted: object) -> str:
    return hunted if isinstance(hunted, str) else f"{getattr(hunted, 'id', hunted)}-{getattr(hunted, 'note', '')}"


def clock_for(transport: str) -> MockClock | None:
    return MockClock(autojump_threshold=0) if transport == "stdio" else None


@cache
def healthy_results(leg: str, transport: str) -> list[Result]:
    """The verdicts on a healthy program."""
    profile = healthy.PROFILE if leg == "server" else errands.PROFILE
    run = partial(play_all, leg=leg, eras=ERAS)  # type: ignore[arg-type]
    plays = trio.run(run, subject_of(leg, transport), SCENARIOS, profile, clock=clock_for(transport))  # type: ignore[arg-type]
    if (leg, transport) == ("server", "http"):
        whose = [scenario for scenario in SCENARIOS if scenario.principals]
        subject = subject_of("server", "http", principals=True)
        plays += trio.run(partial(run, tokens=TOKENS), subject, whose, profile)
    assert [(play.name, play.trouble) for play in plays if play.trouble] == []
    return verdicts_of(ROWS, leg, plays)


@pytest.mark.parametrize("leg", ["server", "client"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_healthy_program_keeps_everything(leg: str, transport: str) -> None:
    """Every MUST and SHOULD, and no scenario comes to grief."""
    results = healthy_results(leg, transport)
    bad = [
        f"{result.verdict.value} {result.row.id}: {result.why}"
        for result in results
        if result.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.FLAKY)
    ]
    assert bad == []


NOT_SHOWN = {
    "T25-013@client": "our client announces both; mutants show the check at work",
}


@pytest.mark.parametrize("leg", ["server", "client"])
def test_the_healthy_program_shows_everything(leg: str) -> None:
    """Every MUST and SHOULD that is judged is passed over one of the transports at least, and is not just left out."""
    passed = {
        result.row.id
        for transport in ("stdio", "http")
        for result in healthy_results(leg, transport)
        if result.verdict is Verdict.PASS
    }
    wanted = {row.id for row in ROWS.values() if row.judged_in(leg) and row.level != "MAY"}
    assert sorted(f"{id}@{leg}" for id in wanted - passed) == sorted(id for id in NOT_SHOWN if id.endswith(leg))


@pytest.mark.parametrize(("mutant", "leg"), HUNTS, ids=name_of)
def test_a_mutant_is_noticed(mutant: Mutant, leg: str) -> None:
    clock = clock_for(mutant.transport)
    kill = trio.run(hunt, mutant, leg, ROWS[mutant.id], SCENARIOS, clock=clock)  # type: ignore[arg-type]
    assert kill.by is not None, f"nobody noticed {mutant.id} {mutant.note}"


def test_every_row_has_a_check_and_every_check_a_mutant() -> None:
    unchecked, unbroken = gaps(ROWS)
    assert unchecked == []
    assert unbroken == []
