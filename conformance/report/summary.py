"""Counts by area, and what was not applicable by reason: what several kinds of report open and end with."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from .model import Report

__all__ = ["COLUMNS", "Line", "blanks_by_reason", "summary"]

COLUMNS = ("pass", "fail", "warn", "flaky", "info", "not applicable")
"""The verdicts, in the order in which they are told."""


@frozen
class Line:
    """One area over one transport."""

    era: str
    area: str
    transport: str
    counts: Counter[str]


def summary(report: Report) -> list[Line]:
    """How many requirements have each verdict, by transport, revision and area."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for one in report.results:
        found.setdefault((one.era, one.area, one.transport), Counter())[one.verdict] += 1
    order = [(era, transport) for transport in report.transports for era in report.eras]
    return [
        Line(era, area, transport, counts)
        for (era, area, transport), counts in sorted(
            found.items(), key=lambda one: (order.index((one[0][0], one[0][2])), -sum(one[1].values()))
        )
    ]


def blanks_by_reason(report: Report) -> list[tuple[str, list[str]]]:
    """What was not applicable: each reason with its requirements, the most common first."""
    found: dict[str, list[str]] = {}
    for one in report.blanks:
        name = one.key if len(report.transports) > 1 else one.id
        found.setdefault(one.why, []).append(name)
    return sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))
