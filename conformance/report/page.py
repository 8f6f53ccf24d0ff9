"""Reports as one page of HTML that needs nothing else: a matrix of requirements and programs, with filters.

What was said is folded under each cell. The verdicts are in the markup, so that the page can be read without scripts;
the exchanges are beside it as JSON, as text and never as markup, whatever the program under test has sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mcp_tasks import UNSET
from mcp_tasks.testing import Frame, Side, parse_frame

from .model import Judged, Played, Report, plain
from .summary import COLUMNS

__all__ = ["page"]

_FRAMES, _FRAMES_OF_A_PASS = 120, 40
"""How many frames of one exchange the page has at most, and of one that nothing is wrong with."""
_CHARACTERS = 6000
"""How much of one message."""
_FINDINGS = 5
"""How many findings of one verdict."""
SYMBOLS = {"pass": "✓", "fail": "✗", "warn": "!", "flaky": "≈", "info": "i", "not applicable": "\N{EN DASH}"}
_SHORT = {"not applicable": "n/a"}


@frozen
class _Column:
    """One program in one leg over one transport."""

    number: int
    report: Report
    place: int
    """Which of the reports it is of."""
    transport: str

    @property
    def counts(self) -> dict[str, int]:
        counts = self.report.counts(self.transport)
        return {name: counts[name] for name in COLUMNS}


@frozen
class _Cell:
    column: _Column
    judged: Judged | None

    @property
    def verdict(self) -> str:
        return "" if self.judged is None else self.judged.verdict

    @property
    def label(self) -> str:
        return _SHORT.get(self.verdict, self.verdict)

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.verdict, "")


@frozen
class _Row:
    """One requirement, across all columns."""

    first: Judged
    legs: str
    cells: list[_Cell]

    @property
    def verdicts(self) -> str:
        """For the filter: each verdict that it has anywhere, and `known` where a failure was expected."""
        found = {cell.verdict.replace(" ", "-") for cell in self.cells if cell.verdict}
        return " ".join(sorted(found))


@frozen
class _Area:
    era: str
    name: str
    rows: list[_Row] = field(factory=list)


def page(reports: Sequence[Report]) -> str:
    """The page. Programs stand in the order of the reports, and requirements in that of the ledger."""
    columns: list[_Column] = []
    for place, report in enumerate(reports):
        for transport in report.transports:
            columns.append(_Column(len(columns), report, place, transport))
    # Self-contained: what is put into it is escaped, and no address but those of the specification is in it.
    environment = Environment(
        loader=PackageLoader("conformance", "report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["coded"] = _coded
    areas = _areas(columns)
    return environment.get_template("page.html.j2").render(
        columns=columns,
        areas=areas,
        verdicts=COLUMNS,
        symbols=SYMBOLS,
        short=_SHORT,
        eras=sorted({area.era for area in areas}),
        legs=sorted({column.report.leg for column in columns}, reverse=True),
        levels=[level for level in ("MUST", "SHOULD", "MAY") if _has(areas, level)],
        suite=", ".join(sorted({report.suite for report in reports})),
        plain=plain,
        data=_embedded(_data(reports, columns)),
    )


def _coded(text: str) -> Markup:
    """A sentence of ours, with what stands between backticks as code."""
    parts = plain(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def _has(areas: Sequence[_Area], level: str) -> bool:
    return any(row.first.level.startswith(level) for area in areas for row in area.rows)


def _areas(columns: Sequence[_Column]) -> list[_Area]:
    found: dict[str, list[Judged | None]] = {}
    for column in columns:
        for one in column.report.results:
            if one.transport == column.transport:
                found.setdefault(one.id, [None] * len(columns))[column.number] = one
    areas: dict[tuple[str, str], _Area] = {}
    for id in sorted(found):
        judged = [one for one in found[id] if one is not None]
        legs = sorted({columns[at].report.leg for at, one in enumerate(found[id]) if one is not None})
        cells = [_Cell(column, one) for column, one in zip(columns, found[id], strict=True)]
        first = judged[0]
        area = areas.setdefault((first.era, first.area), _Area(first.era, first.area))
        area.rows.append(_Row(first, " ".join(legs), cells))
    return sorted(areas.values(), key=lambda area: (area.era, -len(area.rows)))


def _data(reports: Sequence[Report], columns: Sequence[_Column]) -> dict[str, Any]:
    """What the script shows under a cell: the findings, and the plays that they point at."""
    cells: dict[str, Any] = {}
    wanted: dict[tuple[int, int], set[int]] = {}
    for column in columns:
        for one in column.report.results:
            if one.transport != column.transport:
                continue
            findings = []
            for found in one.findings[:_FINDINGS]:
                frames = wanted.setdefault((column.place, found.play), set())
                if found.frame is not None and (one.fails or one.warns):
                    frames.add(found.frame)
                findings.append(
                    {
                        "play": f"{column.place}.{found.play}",
                        "expected": plain(found.expected),
                        "frame": found.frame,
                        "apart": None if found.apart is None else _line(parse_frame(found.apart.frame), 0),
                    }
                )
            cells[f"{one.id}.{column.number}"] = {
                "why": plain(one.why),
                "known": None if one.known is None else plain(one.known),
                "more": max(0, len(one.findings) - _FINDINGS),
                "findings": findings,
            }
    plays = {
        f"{place}.{number}": _play(reports[place].plays[number], frames) for (place, number), frames in wanted.items()
    }
    return {"cells": cells, "plays": plays}


def _play(played: Played, pointed_at: set[int]) -> dict[str, Any]:
    shown = set(range(len(played.frames)))
    most = _FRAMES if pointed_at or played.trouble is not None else _FRAMES_OF_A_PASS
    if len(shown) > most:
        near = {at + step for at in sorted(pointed_at)[:5] for step in range(-8, 5)}
        shown &= near | set(range(most // 2)) | set(range(len(played.frames) - 10, len(played.frames)))
    return {
        "name": played.name,
        "says": played.says,
        "seconds": played.seconds,
        "trouble": None if played.trouble is None else plain(played.trouble),
        "stderr": plain(played.stderr[-_CHARACTERS:]),
        "of": len(played.frames),
        "frames": [_line(played.frame(at), at) for at in sorted(shown)],
    }


def _line(frame: Frame, at: int) -> dict[str, Any]:
    said = [part for part in (frame.channel, str(frame.status or ""), frame.event) if part]
    if frame.object:
        text = json.dumps(frame.object, ensure_ascii=False, separators=(",", ":"))
        brief = _brief(frame)
    elif frame.raw:
        text = brief = repr(frame.raw)
    elif frame.message is UNSET:
        text = brief = ""
    else:
        text = brief = json.dumps(frame.message, ensure_ascii=False)
    if len(text) > _CHARACTERS:
        text = f"{text[:_CHARACTERS]}\n... {len(text) - _CHARACTERS} more characters"
    return {
        "n": at,
        "at": f"{frame.at:.3f}",
        "from": "client" if frame.sender is Side.CLIENT else "server",
        "how": plain(" ".join(said)),
        "brief": plain(brief[:200]),
        "text": plain(text),
    }


def _brief(frame: Frame) -> str:
    if frame.method is not None:
        return frame.method + ("" if frame.id is None else f"  id {frame.id}")
    if frame.error is not None:
        return f"error {frame.error.get('code')}: {frame.error.get('message')}  id {frame.id}"
    status = frame.result.get("status") or frame.result.get("resultType") or ""
    return f"result  id {frame.id}" + (f"  {status}" if isinstance(status, str) and status else "")


def _embedded(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it can end that, or begin another."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
