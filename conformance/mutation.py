"""Plays mutants: the suite has to notice each, and to pass the healthy program it was made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import trio
from attrs import frozen

from mcp_tasks import BearerAuth, Identity

from .fixtures import errands, healthy
from .ledger import Leg, Row
from .mutants import Mutant
from .runner import play
from .scenario import Errand, Scenario
from .subjects import ClientSubject, InMemory, InMemoryClient, LocalHttp, LocalHttpClient, ServerSubject

__all__ = ["TOKENS", "Kill", "fates_of", "hunt", "subject_of"]


@frozen
class Kill:
    """What became of a mutant in one leg."""

    mutant: Mutant
    leg: Leg
    by: str | None
    """The scenario that noticed; None if none did."""
    says: str = ""
    others: tuple[str, ...] = ()
    """Other requirements that were found broken in that play: a mutant should break few."""


TOKENS = ("one-token", "another-token")
"""Two clients that `subject_of` can tell apart."""


async def _verify(token: str) -> Identity | None:
    await trio.lowlevel.checkpoint()
    return Identity(f"holder of {token}") if token in TOKENS else None


def subject_of(
    leg: Leg, transport: str, mutant: Mutant | None = None, *, principals: bool = False
) -> ServerSubject | ClientSubject:
    """A healthy program of ours, or a mutant of it; with `principals`, a server over HTTP that tells clients apart."""
    break_it = (lambda wire: None) if mutant is None else mutant.break_wire
    if leg == "server":
        if transport == "http":
            return LocalHttp(healthy.healthy, break_it, auth=BearerAuth(_verify) if principals else None)
        return InMemory(healthy.healthy, break_it)
    run = errands.run_errand if mutant is None or mutant.prints is None else _misreporting(mutant.prints)
    if transport == "http":
        return LocalHttpClient(run, break_it)
    return InMemoryClient(run, break_it)


def _misreporting(prints: Callable[[str], str]) -> Callable[[Any, Errand, str], Awaitable[str]]:
    """Our client, which prints something else than it should."""

    async def run(transport: Any, errand: Errand, revision: str) -> str:
        return prints(await errands.run_errand(transport, errand, revision))

    return run


def fates_of(mutant: Mutant, rows: Mapping[str, Row]) -> Sequence[Leg]:
    """The legs that a mutant is to be found in."""
    row = rows[mutant.id]
    return [leg for leg in row.legs if row.judged_in(leg) and (not mutant.legs or leg in mutant.legs)]


async def hunt(mutant: Mutant, leg: Leg, row: Row, scenarios: Iterable[Scenario]) -> Kill:
    """Play scenarios until one notices; those first that say they judge the requirement."""
    profile = healthy.PROFILE if leg == "server" else errands.PROFILE
    fitting = [
        scenario
        for scenario in scenarios
        if scenario.leg == leg
        and scenario.era == row.era
        and mutant.transport in scenario.transports
        and mutant.only in ("", scenario.name)
    ]
    for scenario in sorted(fitting, key=lambda scenario: mutant.id not in scenario.judges):
        subject = subject_of(leg, mutant.transport, mutant, principals=scenario.principals)
        found = await play(subject, scenario, profile, tokens=TOKENS if scenario.principals else None)
        broken = [finding for finding in found.findings if finding.kept is False]
        for finding in broken:
            if finding.id == mutant.id:
                others = tuple(sorted({one.id for one in broken} - {mutant.id}))
                return Kill(mutant, leg, scenario.name, finding.expected, others)
    return Kill(mutant, leg, None)
