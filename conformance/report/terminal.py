"""A report for people at a terminal: counts, then every failure with the exchange that shows it, then the rest."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcp_tasks.testing import parse_frame, show_frame

from .model import Judged, Report, excerpt, plain
from .summary import COLUMNS, blanks_by_reason, summary

__all__ = ["STYLES", "print_report"]

STYLES = {
    "pass": "green",
    "fail": "bold red",
    "warn": "yellow",
    "flaky": "magenta",
    "info": "cyan",
    "not applicable": "dim",
}
_FINDINGS = 2
_FRAME_COLUMNS, _OFFENDING_COLUMNS = 160, 600
"""How much of a frame is shown, and of the one that it is about."""


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print a report; `verbose` shows every finding of a failure, and what passed."""
    console.print(_heading(report), soft_wrap=True)
    console.print(_table(report))
    for title, results in (("Failures", report.failures), ("Known failures", report.known)):
        if results:
            console.print(Text(f"\n{title}", style="bold"))
            for one in results:
                _put_result(console, report, one, every=verbose)
    if report.stale:
        console.print(Text("\nExpected to fail, and did not: take these out of the baseline", style="bold"))
        for key in report.stale:
            console.print(Text(f"  {key}"))
    if report.warnings:
        console.print(Text("\nWarnings", style="bold"))
        for one in report.warnings:
            _put_result(console, report, one, every=verbose)
    if report.infos:
        console.print(Text("\nLeft open by the specification", style="bold"))
        for one in report.infos:
            _put_line(console, one, report)
            _put(console, plain(one.why), 6, "dim")
    if verbose:
        console.print(Text("\nPassed", style="bold"))
        for one in report.results:
            if one.verdict == "pass":
                _put_line(console, one, report)
    _put_blanks(console, report, verbose)
    console.print(_ending(report))


def _heading(report: Report) -> Text:
    text = Text("\n")
    text.append(plain(report.title), style="bold")
    text.append(f", as a {report.leg} over {' and '.join(report.transports)}; it speaks {' and '.join(report.eras)}\n")
    return text


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("revision", header_style="dim")
    table.add_column("area", header_style="dim")
    table.add_column("over", header_style="dim")
    for name in COLUMNS:
        table.add_column("n/a" if name == "not applicable" else name, header_style="dim", justify="right")
    for line in summary(report):
        table.add_row(line.era, line.area, line.transport, *_cells(line.counts))
    table.add_row("", "", "", *_cells(report.counts()), style="bold")
    return table


def _cells(counts: dict[str, int]) -> list[Text]:
    return [Text(str(counts.get(name) or ""), style=STYLES[name]) for name in COLUMNS]


def _put(console: Console, text: str | Text, indent: int, style: str = "") -> None:
    """Print words, wrapped under themselves on a terminal, and in one line for whoever searches a log."""
    said = Text(text, style=style) if isinstance(text, str) else text
    space = " " * indent
    if not console.is_terminal:
        console.print(Text(space).append_text(said), soft_wrap=True)
        return
    for line in said.wrap(console, max(20, console.width - indent - 1)):
        line.rstrip()
        console.print(Text(space).append_text(line), soft_wrap=True)


def _put_line(console: Console, one: Judged, report: Report) -> None:
    text = Text()
    text.append(one.verdict.upper(), style=STYLES[one.verdict])
    text.append(f" {one.key if len(report.transports) > 1 else one.id}", style="bold")
    text.append(f" {one.level}  {plain(one.says)}")
    _put(console, text, 2)


def _put_result(console: Console, report: Report, one: Judged, *, every: bool) -> None:
    console.print()
    _put_line(console, one, report)
    console.print(Text(f"      {one.link}", style="dim"), soft_wrap=True)
    if one.known is not None:
        _put(console, f"known: {plain(one.known)}", 6, "dim")
    shown = one.findings if every else one.findings[:_FINDINGS]
    for found in shown:
        play = report.plays[found.play]
        _put(console, f"expected: {plain(found.expected)}", 6)
        _put(console, f"in {play.name}: {play.says}", 6, "dim")
        for at, line in excerpt(play, found.frame):
            if at is None:
                console.print(Text(f"           ... {line}", style="dim"))
            elif at == found.frame:
                console.print(Text(f"    > {_cut(line, _OFFENDING_COLUMNS)}", style="bold"), soft_wrap=True)
            else:
                console.print(Text(f"      {_cut(line, _FRAME_COLUMNS)}"), soft_wrap=True)
        if found.apart is not None:
            line = plain(show_frame(parse_frame(found.apart.frame)))
            console.print(Text(f"    > {_cut(line, _OFFENDING_COLUMNS)}", style="bold"), soft_wrap=True)
        if play.trouble is not None and play.stderr.strip():
            for said in plain(play.stderr).strip().splitlines()[-3:]:
                _put(console, f"stderr: {said}", 8, "dim")
    if left := len(one.findings) - len(shown):
        _put(console, f"and {left} more (--verbose)", 6, "dim")


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else f"{line[: columns - 3]}..."


def _put_blanks(console: Console, report: Report, verbose: bool) -> None:
    if not report.blanks:
        return
    console.print(Text("\nNot applicable", style="bold"))
    for why, keys in blanks_by_reason(report):
        _put(console, f"{plain(why)}: {_some(keys, verbose)}", 2)


def _some(keys: Sequence[str], every: bool) -> str:
    if every or len(keys) <= 8:
        return ", ".join(keys)
    return f"{', '.join(keys[:6])} and {len(keys) - 6} more"


def _ending(report: Report) -> Text:
    parts = [f"{len(report.failures)} failed"]
    if report.known:
        parts.append(f"{len(report.known)} known to fail")
    if report.stale:
        parts.append(f"{len(report.stale)} no longer fail")
    parts.append(f"{len(report.warnings)} warnings")
    parts.append(f"{report.counts()['pass']} passed")
    return Text(f"\n{', '.join(parts)}", style="bold green" if report.ok else "bold red")
