"""What a report holds. Every kind of report is made from this and from nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from mcp_tasks.testing import Frame, dump_frame, parse_frame, show_frame

from ..ledger import ERAS, Row
from ..scenario import Scenario
from ..verdicts import Finding, Play, Verdict, verdicts_of

__all__ = ["Apart", "Found", "Judged", "Played", "Report", "area_of", "called", "excerpt", "make_report", "plain"]

FORMAT = "mcp-tasks-conformance/1"
"""What a report in JSON says of itself."""

_AREAS = {
    "basic/index": "base protocol",
    "basic/patterns/index": "base protocol",
    "basic/patterns/mrtr": "multi round-trip requests",
    "basic/transports/streamable-http": "streamable http",
    "server/discover": "discovery",
}


@frozen
class Apart:
    """Where a finding points at a frame that its play does not have, from a connection beside it."""

    frame: Mapping[str, Any]


@frozen
class Found:
    """One look at one requirement, in one play."""

    id: str
    kept: bool | None
    expected: str
    play: int
    """The place of the play in `Report.plays`."""
    frame: int | None = None
    """The place of the frame it rests on, in that play."""
    apart: Apart | None = None


@frozen
class Played:
    """One play of one scenario, with everything that was said."""

    scenario: str
    says: str
    transport: str
    era: str
    number: int
    seconds: float
    trouble: str | None
    stderr: str
    findings: list[Found]
    frames: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """What the play is called."""
        return f"{self.scenario} ({self.transport})" + (f" #{self.number + 1}" if self.number else "")

    def frame(self, at: int) -> Frame:
        """A frame of it."""
        return parse_frame(self.frames[at])


@frozen
class Judged:
    """The verdict on one requirement over one transport."""

    id: str
    transport: str
    verdict: str
    level: str
    era: str
    area: str
    role: str
    says: str
    link: str
    why: str
    findings: list[Found]
    """Those that the verdict rests on."""
    known: str | None = None
    """Why a failure was expected, where a baseline says so."""

    @property
    def fails(self) -> bool:
        """Whether a MUST was not kept, always or now and then."""
        return self.verdict == Verdict.FAIL.value or (
            self.verdict == Verdict.FLAKY.value and self.level.startswith("MUST")
        )

    @property
    def warns(self) -> bool:
        """Whether a SHOULD was not followed, always or now and then."""
        return not self.fails and self.verdict in (Verdict.WARN.value, Verdict.FLAKY.value)

    @property
    def key(self) -> str:
        """What a baseline calls it."""
        return f"{self.id}@{self.transport}"


@frozen
class Report:
    """One run of the suite against one program."""

    subject: str
    """What the program is called in reports."""
    program: dict[str, str]
    """Its name and version, in its own words; empty where it said neither."""
    leg: str
    eras: list[str]
    transports: list[str]
    profile: str
    suite: str
    """The version of the suite."""
    whole: bool
    """Whether everything was played that there is, not only what was asked for."""
    results: list[Judged]
    plays: list[Played]
    unjudged: dict[str, str]
    """Requirements of this leg that cannot be judged from outside, and why."""
    stale: list[str] = field(factory=list)
    """What a baseline expects to fail and did not."""
    format: str = FORMAT

    def counts(self, transport: str | None = None) -> Counter[str]:
        """How many requirements have each verdict, over one transport or all."""
        return Counter(one.verdict for one in self.results if transport in (None, one.transport))

    @property
    def failures(self) -> list[Judged]:
        """Requirements that were not kept and are not known not to be."""
        return [one for one in self.results if one.fails and one.known is None]

    @property
    def known(self) -> list[Judged]:
        """Requirements that were not kept, as a baseline says."""
        return [one for one in self.results if one.fails and one.known is not None]

    @property
    def warnings(self) -> list[Judged]:
        """Requirements that should have been followed."""
        return [one for one in self.results if one.warns]

    @property
    def infos(self) -> list[Judged]:
        """Which way each MAY was taken."""
        return [one for one in self.results if one.verdict == Verdict.INFO.value]

    @property
    def blanks(self) -> list[Judged]:
        """What did not come up."""
        return [one for one in self.results if one.verdict == Verdict.NOT_APPLICABLE.value]

    @property
    def ok(self) -> bool:
        """Whether nothing failed that was not expected to, and all failed that was."""
        return not self.failures and not self.stale

    @property
    def title(self) -> str:
        """The program in a few words."""
        name, version = self.program.get("name", ""), self.program.get("version", "")
        if name in ("", self.subject):
            return f"{self.subject} {version}".strip()
        return f"{self.subject} ({name} {version})".replace(" )", ")")


def area_of(row: Row) -> str:
    """What a requirement is about: the page it is from, in a word or two."""
    if row.id.startswith("X26"):
        return "tasks extension"
    page = row.link.partition("#")[0].partition(f"/{row.era}/")[2].rstrip("/")
    return _AREAS.get(page, page.rpartition("/")[2] or "elsewhere")


def make_report(
    subject: str,
    leg: str,
    eras: Sequence[str],
    profile: str,
    plays: Sequence[Play],
    rows: Mapping[str, Row],
    scenarios: Iterable[Scenario],
    *,
    suite: str,
    whole: bool = True,
    wanted: tuple[str, ...] = (),
) -> Report:
    """The report on what was played. With `wanted`, only on requirements whose id begins so.

    Where not everything was played, a requirement that nobody looked at is left out.
    """
    says = {one.name: one.says for one in scenarios if one.leg == leg}
    places = {id(play): number for number, play in enumerate(plays)}
    order = list(ERAS.values())
    return Report(
        subject=subject,
        program=called(plays, leg),
        leg=leg,
        eras=sorted(eras, key=order.index),
        transports=sorted({play.transport for play in plays}, reverse=True),
        profile=profile,
        suite=suite,
        whole=whole,
        results=[
            _judged(result.row, leg, result.transport, result.verdict, result.findings, places)
            for result in verdicts_of(rows, leg, plays)
            if (not wanted or result.row.id.startswith(wanted)) and (whole or result.findings)
        ],
        plays=[_played(play, number, says.get(play.scenario, "")) for number, play in enumerate(plays)],
        unjudged={
            row.id: row.unjudged[leg]
            for row in rows.values()
            if leg in row.legs and leg in row.unjudged and row.era in eras and whole
        },
    )


def _judged(
    row: Row,
    leg: str,
    transport: str,
    verdict: Verdict,
    findings: Sequence[tuple[Play, Finding]],
    places: Mapping[int, int],
) -> Judged:
    found = [_found(play, finding, places[id(play)]) for play, finding in findings]
    why = found[0].expected if found else row.unjudged.get(leg, "it did not come up in any scenario that was played")
    return Judged(
        row.id,
        transport,
        verdict.value,
        row.level,
        row.era,
        area_of(row),
        row.role,
        row.says,
        row.link,
        why,
        found,
    )


def _found(play: Play, finding: Finding, place: int) -> Found:
    at: int | None = None
    apart: Apart | None = None
    if finding.frame is not None:
        at = next((number for number, frame in enumerate(play.frames) if frame is finding.frame), None)
        if at is None:
            apart = Apart(dump_frame(finding.frame))
    return Found(finding.id, finding.kept, finding.expected, place, at, apart)


def _played(play: Play, place: int, says: str) -> Played:
    return Played(
        play.scenario,
        says,
        play.transport,
        play.era,
        play.number,
        round(play.seconds, 3),
        play.trouble,
        play.stderr,
        [_found(play, finding, place) for finding in play.findings],
        [dump_frame(frame) for frame in play.frames],
    )


def called(plays: Iterable[Play], leg: str) -> dict[str, str]:
    """What the program under test calls itself, where it has said so."""
    for play in plays:
        for frame in play.frames:
            if frame.sender.value != leg:
                continue
            member = f"{leg}Info"
            for holder, name in (
                (frame.result, member),
                (frame.params, member),
                (frame.meta, f"io.modelcontextprotocol/{member}"),
            ):
                info = holder.get(name)
                if isinstance(info, dict):
                    said = {part: info[part] for part in ("name", "version") if isinstance(info.get(part), str)}
                    if said:
                        return said
    return {}


_LINE = 1000
"""How long the line of one frame may be."""


def excerpt(played: Played, at: int | None, *, before: int = 3, after: int = 2) -> list[tuple[int | None, str]]:
    """The frames around one, as lines, each with its place; None and a count stand for frames that are left out.

    The request that a response answers is shown, however long ago it was. Without a place, it is how the play ended.
    """
    if not played.frames:
        return []
    if at is None:
        at, after = len(played.frames) - 1, 0
    chosen = set(range(max(0, at - before), min(len(played.frames), at + after + 1)))
    offending = played.frame(at)
    if offending.is_response:
        for place in range(at - 1, -1, -1):
            frame = played.frame(place)
            if frame.is_request and frame.id == offending.id and frame.sender is not offending.sender:
                chosen.add(place)
                break
    lines: list[tuple[int | None, str]] = []
    previous = -1
    for place in sorted(chosen):
        if left := place - previous - 1:
            lines.append((None, f"{left} more"))
        lines.append((place, plain(show_frame(played.frame(place), width=_LINE))))
        previous = place
    if left := len(played.frames) - previous - 1:
        lines.append((None, f"{left} more"))
    return lines


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def plain(text: str) -> str:
    """`text` without what a terminal, an XML parser or a reader's eye would stumble over; lines and tabs stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
