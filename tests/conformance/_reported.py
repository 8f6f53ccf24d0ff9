"""Reports to test with: a made-up program, of which one requirement or other is broken, and what it said meanwhile."""

from __future__ import annotations

from typing import Any

from conformance.ledger import load_ledger
from conformance.report import Report, make_report
from conformance.scenario import Scenario
from conformance.verdicts import Finding, Play
from mcp_tasks.testing import Frame, Side

ROWS = load_ledger()
NASTY = "</script><img src=x onerror=alert(1)> \x1b[31mred\x1b[0m ``` \ud800 \u202e [x](y) | $& '\""
"""What a program may say that a report must not fall for."""


async def _nothing(session: Any) -> None:
    pass


SCENARIOS = [
    Scenario("first", _nothing, ("T25-004", "T25-064"), "server", "2025-11-25"),
    Scenario("second", _nothing, ("X26-028",), "server", "2026-07-28"),
]


def said(sender: Side, **members: Any) -> Frame:
    """A frame."""
    return Frame(sender, {"jsonrpc": "2.0", **members})


def frames_of(says: str = "hello") -> list[Frame]:
    """An exchange: the request of frame 9 is frame 2."""
    quiet = [said(Side.SERVER, method="notifications/message", params={"n": n}) for n in range(6)]
    return [
        said(Side.CLIENT, id=1, method="initialize", params={}),
        said(Side.SERVER, id=1, result={"serverInfo": {"name": "made up", "version": "1.0"}}),
        said(Side.CLIENT, id=2, method="tools/call", params={"name": "quick"}),
        *quiet,
        said(Side.SERVER, id=2, result={"content": [{"type": "text", "text": says}]}),
        said(Side.CLIENT, id=3, method="ping"),
        Frame(Side.SERVER, raw=b"no json", event="a line"),
    ]


def make_play(
    *findings: Finding, transport: str = "stdio", says: str = "hello", number: int = 0, scenario: str = "first"
) -> Play:
    """A play in which something was found; `at` of a finding is set by `finding`."""
    frames = frames_of(says)
    era = "2026-07-28" if scenario == "second" else "2025-11-25"
    placed = [
        Finding(one.id, one.kept, one.expected, frames[one.frame] if isinstance(one.frame, int) else one.frame)
        for one in findings
    ]
    return Play(scenario, transport, era, number, placed, frames, stderr=f"warning {says}\n", seconds=0.25)


def finding(id: str, kept: bool | None, expected: str = "it is so", at: int | None = None) -> Finding:
    """A finding, at the frame of that number."""
    return Finding(id, kept, expected, at)  # type: ignore[arg-type]


def report_of(*plays: Play, subject: str = "made up", whole: bool = True, wanted: tuple[str, ...] = ()) -> Report:
    """The report on these plays."""
    return make_report(
        subject,
        "server",
        ["2026-07-28", "2025-11-25"],
        "none",
        plays,
        ROWS,
        SCENARIOS,
        suite="0.1",
        whole=whole,
        wanted=wanted,
    )


def broken_report(says: str = "hello", **more: Any) -> Report:
    """One failure, one warning, one pass, one MAY, and much that did not come up."""
    return report_of(
        make_play(
            finding("T25-064", False, f"the answer is not {says}", 9),
            finding("T25-004", True),
            finding("T25-067", None, "needs `asks`"),
            finding("T25-073", False, "it says so", 4),
            finding("T25-001", True, "it does"),
            says=says,
        ),
        **more,
    )
