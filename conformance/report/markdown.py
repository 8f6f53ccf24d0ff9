"""A report as Markdown: a summary, and what was not as it should be, to be pasted where people talk about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mcp_tasks.testing import parse_frame, show_frame

from .model import Judged, Report, excerpt, plain
from .summary import COLUMNS, blanks_by_reason, summary

__all__ = ["markdown"]

_FINDINGS = 2


def markdown(reports: Sequence[Report]) -> str:
    """The reports, one after the other."""
    return "\n".join(line for report in reports for line in _report(report)) + "\n"


def _report(report: Report) -> Iterator[str]:
    yield f"# {_text(report.title)}, as a {report.leg}"
    yield ""
    over = " and ".join(report.transports)
    yield f"Judged over {over} by mcp-tasks {report.suite}; it speaks {' and '.join(report.eras)}. {_verdict(report)}"
    yield ""
    yield f"| | {' | '.join(COLUMNS)} |"
    yield f"|---|{'--:|' * len(COLUMNS)}"
    for line in summary(report):
        counts = " | ".join(str(line.counts[name] or "") for name in COLUMNS)
        yield f"| {line.era} {line.area}, {line.transport} | {counts} |"
    yield ""
    for title, results in (
        ("Failures", report.failures),
        ("Known failures", report.known),
        ("Warnings", report.warnings),
    ):
        if results:
            yield f"## {title}"
            yield ""
            for one in results:
                yield from _result(report, one)
    if report.stale:
        yield "## Expected to fail, and did not"
        yield ""
        yield from (f"- {key}" for key in report.stale)
        yield ""
    if report.infos:
        yield "## What is left open"
        yield ""
        for one in report.infos:
            yield f"- [{one.id}]({one.link}) ({one.transport}): {_text(one.says)}. *{_text(one.why)}*"
        yield ""
    if report.blanks:
        yield "## Not applicable"
        yield ""
        for why, keys in blanks_by_reason(report):
            yield f"- {_text(why)}: {', '.join(keys)}"
        yield ""


def _verdict(report: Report) -> str:
    if report.ok and not report.known:
        return "Nothing that has to be kept was broken."
    parts = [f"{len(report.failures)} failed"]
    if report.known:
        parts.append(f"{len(report.known)} failed as expected")
    if report.stale:
        parts.append(f"{len(report.stale)} did not fail as expected")
    return ", ".join(parts) + "."


def _result(report: Report, one: Judged) -> Iterator[str]:
    yield f"### [{one.id}]({one.link}) over {one.transport}: {_text(one.says)}"
    yield ""
    yield f"{one.level}, {one.verdict}." + (f" Known: {_text(one.known)}." if one.known is not None else "")
    yield ""
    for found in one.findings[:_FINDINGS]:
        play = report.plays[found.play]
        yield f"In `{play.name}`: {_text(found.expected)}"
        yield ""
        lines = [
            f"... {line}" if at is None else f"{'>' if at == found.frame else ' '} {line}"
            for at, line in excerpt(play, found.frame)
        ]
        if found.apart is not None:
            lines.append(f"> {plain(show_frame(parse_frame(found.apart.frame)))}")
        if lines:
            # A fence longer than any that is in what was said.
            ticks = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
            fence = "`" * max(3, ticks + 1)
            yield from [fence, *lines, fence, ""]
    if len(one.findings) > _FINDINGS:
        yield f"And {len(one.findings) - _FINDINGS} more."
        yield ""


def _text(text: str) -> str:
    """Words that others may have chosen, with nothing in them that Markdown takes for its own; `code` stays."""
    return re.sub(r"([\\*_<>\[\]|#])", r"\\\1", " ".join(plain(text).split()))
