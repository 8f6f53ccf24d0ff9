"""What the suite says of a requirement: the findings of one play of one scenario, and the verdict over all of them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from mcp_tasks.testing import Frame

from .ledger import Row

__all__ = ["Finding", "Play", "Result", "Verdict", "verdicts_of"]


class Verdict(enum.Enum):
    """What became of a requirement."""

    PASS = "pass"
    FAIL = "fail"
    """A MUST that was not kept."""
    WARN = "warn"
    """A SHOULD that was not followed."""
    INFO = "info"
    """A MAY: the finding says which way it was taken."""
    NOT_APPLICABLE = "not applicable"
    """The program cannot be brought to where it would show."""
    FLAKY = "flaky"
    """It was kept in one play and not in another of the same scenario."""


@frozen
class Finding:
    """One look at one requirement. `kept` is None where there was nothing to look at, and `expected` says why."""

    id: str
    kept: bool | None
    expected: str
    frame: Frame | None = None


@define
class Play:
    """One play of one scenario, over: what was found and everything that was said."""

    scenario: str
    transport: str
    era: str
    number: int = 0
    """Which repetition it is."""
    findings: list[Finding] = field(factory=list)
    frames: Sequence[Frame] = ()
    trouble: str | None = None
    """Why it did not come to its end."""
    stderr: str = ""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """What the play is called in reports."""
        return f"{self.scenario} ({self.transport})" + (f" #{self.number + 1}" if self.number else "")


@define
class Result:
    """The verdict on one requirement over one transport."""

    row: Row
    transport: str
    verdict: Verdict
    findings: list[tuple[Play, Finding]]
    """Those that the verdict rests on: for a failure, what was not kept."""

    @property
    def why(self) -> str:
        """The reason, in one line."""
        if not self.findings:
            return ""
        return self.findings[0][1].expected


def _verdict(row: Row, findings: Sequence[tuple[Play, Finding]]) -> tuple[Verdict, list[tuple[Play, Finding]]]:
    broken = [(play, finding) for play, finding in findings if finding.kept is False]
    kept = [(play, finding) for play, finding in findings if finding.kept]
    if row.level == "MAY":
        if broken or kept:
            return Verdict.INFO, kept[:1] or broken[:1]
        return Verdict.NOT_APPLICABLE, list(findings[:1])
    if broken:
        if _differs(findings):
            return Verdict.FLAKY, broken
        return (Verdict.FAIL if row.level.startswith("MUST") else Verdict.WARN), broken
    return (Verdict.PASS, kept[:1]) if kept else (Verdict.NOT_APPLICABLE, list(findings[:1]))


def _differs(findings: Sequence[tuple[Play, Finding]]) -> bool:
    # Whether one repetition of a scenario found what another did not.
    outcomes: dict[str, dict[int, bool]] = {}
    for play, finding in findings:
        if finding.kept is not None:
            of = outcomes.setdefault(play.scenario, {})
            of[play.number] = of.get(play.number, True) and finding.kept
    return any(len(set(of.values())) > 1 for of in outcomes.values())


def verdicts_of(rows: Mapping[str, Row], leg: str, plays: Iterable[Play]) -> list[Result]:
    """The verdicts on all requirements of a leg, in the order of the ledger, for each transport that was played."""
    found: dict[tuple[str, str], list[tuple[Play, Finding]]] = {}
    played: dict[str, set[str]] = {}
    for play in plays:
        played.setdefault(play.era, set()).add(play.transport)
        for finding in play.findings:
            found.setdefault((finding.id, play.transport), []).append((play, finding))
    results = []
    for row in rows.values():
        for transport in sorted(played.get(row.era, ())):
            if row.judged_in(leg) and transport in row.transports:
                verdict, findings = _verdict(row, found.get((row.id, transport), ()))
                results.append(Result(row, transport, verdict, findings))
    return results
