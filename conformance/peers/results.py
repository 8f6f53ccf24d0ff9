"""What came of the runs, as RESULTS.md: a table, and what released SDKs do not keep, for their maintainers to act on.

The words are in findings.toml, each with the requirements, the peers and the leg that it explains; the transcripts are
from the runs.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from mcp_tasks.testing import Frame, parse_frame

from ..names import CAPABILITIES, CLIENT_INFO, RELATED, SERVER_INFO
from ..report.model import Found, Judged, Played, Report
from . import PeerProgram

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Explained", "load_findings", "minimal", "unexplained", "write_results"]

_WIDTH = 320
_ID = 8
_TEXT = 80
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|[+-]\d\d:\d\d)")
_END = 8
_NAMED = ("mcp-method", "mcp-name")
_FRAMES = 10
_DOTS = "..."


@frozen
class Explained:
    """Why some requirements are not kept, in somebody's words."""

    title: str
    says: str
    peers: tuple[str, ...]
    leg: str
    rows: tuple[str, ...]
    whose: str = "sdk"
    """Whose doing it is: the ``sdk``'s, the ``fixture``'s, or ``open`` where the specification is read both ways."""
    show: bool = True
    """Whether a transcript tells more than the words."""

    def explains(self, report: Report, one: Judged) -> bool:
        """Whether it is about this."""
        return report.subject in self.peers and report.leg == self.leg and one.id in self.rows


def load_findings(path: Path) -> list[Explained]:
    """The findings. Raises ValueError if the file is not as it should be."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Explained(**{**entry, "peers": tuple(entry["peers"]), "rows": tuple(entry["rows"])})
        for entry in found.get("finding", ())
    ]


def _wrong(report: Report) -> list[Judged]:
    return [one for one in report.results if one.fails or one.warns]


def unexplained(
    reports: Sequence[Report], findings: Sequence[Explained], *, whole: bool = True, frames: bool = False
) -> tuple[list[str], list[str]]:
    """What is not explained by any finding; and, if `whole`, which explanations are of nothing that is there.

    With `frames` each is told with its transcript.
    """
    fresh, seen = [], set()
    for report in reports:
        for one in _wrong(report):
            fitting = [finding for finding in findings if finding.explains(report, one)]
            seen |= {(id(finding), report.subject, one.id) for finding in fitting}
            if not fitting:
                fresh.append(f"{report.subject} ({report.leg}) {one.verdict} {one.key}: {one.says} [{one.why}]")
                if frames and one.findings:
                    look = one.findings[0]
                    played = report.plays[look.play]
                    fresh[-1] += "".join(f"\n    {line}" for line in [played.name, *minimal(played, look)])
    if not whole:
        return fresh, []
    ran = {(report.subject, report.leg) for report in reports}
    stale = [
        f"{finding.title}: {id_} of {peer}"
        for finding in findings
        for peer in finding.peers
        for id_ in finding.rows
        if (peer, finding.leg) in ran and not any(key[0] == id(finding) and key[2] == id_ for key in seen)
    ]
    stale += [
        f"{finding.title}: nothing of it is seen of {peer}"
        for finding in findings
        for peer in finding.peers
        if (peer, finding.leg) in ran and not any(key[0] == id(finding) and key[1] == peer for key in seen)
    ]
    return fresh, list(dict.fromkeys(stale))


# --- transcripts ----------------------------------------------------------------------------------------------------


def minimal(played: Played, found: Found) -> list[str]:
    """The frames that a finding needs, and no others, as lines; the one that it rests on is marked."""
    frames = [played.frame(at) for at in range(len(played.frames))]
    if found.apart is not None:
        frames.append(parse_frame(found.apart.frame))
    at = len(frames) - 1 if found.apart is not None else _said(frames, found.frame)
    # Where nothing came that could be shown, it is how the play ended.
    wanted = set(range(max(0, len(frames) - _END), len(frames))) if at is None else {at} | _belonging(frames, at)
    lines = []
    for place in sorted(wanted)[-_FRAMES:]:
        mark = ">" if place == at else " "
        lines.append(f"{mark} {_line(frames[place])}")
    return lines


def _said(frames: Sequence[Frame], at: int | None) -> int | None:
    """Where a frame is the end of an exchange over HTTP, it is about what was said there."""
    if at is None or frames[at].event != "ended":
        return at
    places = range(at - 1, -1, -1)
    return next((one for one in places if frames[one].channel == frames[at].channel and frames[one].is_response), at)


def _belonging(frames: Sequence[Frame], at: int) -> set[int]:
    """Where the request is that a frame answers, and the one that made the task that it is about."""
    frame = frames[at]
    wanted: set[int] = set()
    request = _request(frames, at)
    if request is not None:
        wanted.add(request)
    about = _task_of(frame) or (None if request is None else _task_of(frames[request]))
    if about is None:
        return wanted
    for place, other in enumerate(frames[:at]):
        if other.is_response and _made(other) == about:
            wanted.add(place)
            maker = _request(frames, place)
            if maker is not None:
                wanted.add(maker)
            break
    return wanted


def _request(frames: Sequence[Frame], at: int) -> int | None:
    answer = frames[at]
    if not answer.is_response:
        return None
    for place in range(at - 1, -1, -1):
        frame = frames[place]
        if frame.is_request and frame.id == answer.id and frame.sender is not answer.sender:
            return place
    return None


def _task_of(frame: Frame) -> str | None:
    for holder in (frame.params, frame.result, frame.meta.get(RELATED)):
        if isinstance(holder, dict) and isinstance(holder.get("taskId"), str):
            return str(holder["taskId"])
    return _made(frame)


def _made(frame: Frame) -> str | None:
    task = frame.result.get("task")
    holder = task if isinstance(task, dict) else frame.result
    return str(holder["taskId"]) if isinstance(holder.get("taskId"), str) else None


_NOISE = (CLIENT_INFO, CAPABILITIES)


def _line(frame: Frame) -> str:
    arrow = "-->" if frame.sender.value == "client" else "<--"
    parts = [arrow]
    if frame.status is not None and frame.is_response:
        parts.append(str(frame.status))
    named = [f"{name}: {value}" for name, value in frame.headers.items() if name in _NAMED]
    if named and frame.sender.value == "client":
        parts.append(f"[{', '.join(named)}]")
    if frame.event and not frame.object:
        parts.append(f"({frame.event})")
    if frame.object or isinstance(frame.message, list):
        parts.append(json.dumps(_brief(frame.message), ensure_ascii=False))
    elif frame.raw:
        parts.append(repr(frame.raw))
    line = " ".join(parts)
    return line if len(line) <= _WIDTH else line[: _WIDTH - len(_DOTS)] + _DOTS


def _brief(value: Any, name: str = "") -> Any:
    # What every message of the stateless revision repeats about its sender says nothing here; ids and texts are long,
    # and of a moment the day does not matter.
    if isinstance(value, dict):
        return {
            part: _DOTS if part in _NOISE else _brief(inner, part)
            for part, inner in value.items()
            if part not in ("jsonrpc", SERVER_INFO)
        }
    if isinstance(value, list):
        return [_brief(part) for part in value]
    if isinstance(value, str) and (moment := _MOMENT.fullmatch(value)):
        return moment[1]
    longest = _ID if name == "taskId" else _TEXT
    return value[:longest] + _DOTS if isinstance(value, str) and len(value) > longest + len(_DOTS) else value


# --- the page ---------------------------------------------------------------------------------------------------------


def write_results(reports: Sequence[Report], peers: Sequence[PeerProgram], findings: Sequence[Explained]) -> str:
    """RESULTS.md."""
    return "\n".join(_page(reports, {peer.name: peer.says for peer in peers}, findings)) + "\n"


def _page(reports: Sequence[Report], says: Mapping[str, str], findings: Sequence[Explained]) -> Iterator[str]:
    yield "# What others make of it"
    yield ""
    yield "Made by `python -m conformance.matrix`; do not edit it. The words of the findings are in"
    yield "`peers/findings.toml`, how to add a program is in `peers/README.md`."
    yield ""
    yield "A cell counts requirements, each over each transport: how many are kept; in bold, how many MUSTs are not;"
    yield "behind a `~`, how many SHOULDs are not; in brackets, how many do not apply or cannot be brought about."
    yield ""
    for leg in ("server", "client"):
        chosen = [report for report in reports if report.leg == leg]
        if chosen:
            yield f"## As a {leg}"
            yield ""
            yield from _table(chosen, says)
    for whose, title in (
        ("sdk", "Findings in released SDKs"),
        ("open", "Where the specification is read both ways"),
        ("fixture", "What is the doing of our own fixtures"),
    ):
        told = [finding for finding in findings if finding.whose == whose]
        if told:
            yield f"## {title}"
            yield ""
            for finding in told:
                yield from _finding(finding, reports)
    fresh, _ = unexplained(reports, findings)
    if fresh:
        yield "## Not yet explained"
        yield ""
        yield from (f"- {line}" for line in fresh)
        yield ""


def _table(reports: Sequence[Report], says: Mapping[str, str]) -> Iterator[str]:
    areas: dict[tuple[str, str], int] = {}
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for report in reports:
        for one in report.results:
            if one.level == "MAY":
                continue
            kind = "fail" if one.fails else "warn" if one.warns else one.verdict
            area = (one.era, one.area)
            areas[area] = areas.get(area, 0) + 1
            counts.setdefault((report.subject, *area), Counter())[kind] += 1
    yield f"| | {' | '.join(report.subject for report in reports)} |"
    yield f"|---|{'---|' * len(reports)}"
    for area in sorted(areas, key=lambda area: (area[0], -areas[area])):
        cells = [_cell(counts.get((report.subject, *area))) for report in reports]
        yield f"| {' '.join(area)} | {' | '.join(cells)} |"
    yield ""
    yield from (f"- `{report.subject}`: {says.get(report.subject, '')}." for report in reports)
    yield ""


def _cell(counts: Counter[str] | None) -> str:
    if counts is None:
        return ""
    parts = [str(counts["pass"])] if counts["pass"] else []
    if counts["fail"]:
        parts.append(f"**{counts['fail']}**")
    if counts["warn"]:
        parts.append(f"~{counts['warn']}")
    if counts["not applicable"]:
        parts.append(f"({counts['not applicable']})")
    return " ".join(parts)


def _finding(finding: Explained, reports: Sequence[Report]) -> Iterator[str]:
    yield f"### {finding.title}"
    yield ""
    hits = [(report, one) for report in reports for one in _wrong(report) if finding.explains(report, one)]
    hits.sort(key=lambda hit: finding.rows.index(hit[1].id))
    seen: dict[str, Judged] = {}
    over: dict[str, set[str]] = {}
    for report, one in hits:
        seen.setdefault(one.id, one)
        over.setdefault(f"`{report.subject}`", set()).add(one.transport)
    where = "; ".join(f"{name} over {' and '.join(sorted(over[name], reverse=True))}" for name in over)
    yield f"As a {finding.leg}: {where or 'not seen in these runs'}."
    yield ""
    for one in seen.values():
        yield f"- [{one.id}]({one.link}), {one.level}: {one.says}."
    if seen:
        yield ""
    yield " ".join(finding.says.split())
    yield ""
    if finding.show and (lines := _shortest(hits)):
        yield from ["```", *lines, "```", ""]


def _shortest(hits: Sequence[tuple[Report, Judged]]) -> list[str]:
    """The transcript that says it in the fewest lines, of the first requirement, since the words are about that.

    One that can mark what is wrong goes before one that cannot, and a pipe before HTTP.
    """
    found: list[tuple[bool, bool, int, list[str]]] = []
    for report, one in hits:
        if one.id != hits[0][1].id:
            continue
        for look in one.findings:
            lines = minimal(report.plays[look.play], look)
            marked = any(line.startswith(">") for line in lines)
            found.append((not marked, one.transport != "stdio", len(lines), lines))
    return min(found, key=lambda one: one[:3])[3] if found else []
