"""A report as JUnit XML, as servers for continuous integration read it: a test case for each requirement.

There is a test suite for each program and transport. A MUST that was not kept is a failure; what is known to fail is
skipped, as is what did not come up. A SHOULD that was not followed passes, with a word on standard output.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from mcp_tasks.testing import parse_frame, show_frame

from .model import Judged, Report, excerpt, plain

__all__ = ["junit"]

_FINDINGS = 3


def junit(reports: Sequence[Report]) -> str:
    """The reports as one document."""
    root = ElementTree.Element("testsuites", name="mcp-tasks conformance")
    for report in reports:
        for transport in report.transports:
            _suite(root, report, transport)
        if report.stale:
            suite = ElementTree.SubElement(root, "testsuite", name=f"{report.subject} baseline")
            for key in report.stale:
                case = ElementTree.SubElement(suite, "testcase", classname="baseline", name=key)
                text = f"{key} is expected to fail, and did not: take it out of the baseline"
                ElementTree.SubElement(case, "failure", message=text, type="stale").text = text
            _total(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, report: Report, transport: str) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=plain(f"{report.title} {report.leg} {transport}"))
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("leg", report.leg),
        ("transport", transport),
        ("revisions", " ".join(report.eras)),
        ("profile", report.profile),
        ("suite", report.suite),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=plain(value))
    for one in report.results:
        if one.transport == transport:
            _case(suite, report, one)
    _total(suite)
    seconds = sum(play.seconds for play in report.plays if play.transport == transport)
    suite.set("time", f"{seconds:.3f}")


def _total(suite: ElementTree.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", "0")
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))


def _case(suite: ElementTree.Element, report: Report, one: Judged) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"{one.era}.{one.area.replace(' ', '_')}",
        name=plain(f"{one.key} {one.says}"),
        time="0",
    )
    if one.fails and one.known is None:
        failure = ElementTree.SubElement(case, "failure", message=plain(one.why), type=f"{one.level} {one.verdict}")
        failure.text = _details(report, one)
    elif one.fails:
        ElementTree.SubElement(case, "skipped", message=plain(f"known to fail: {one.known}"))
    elif one.verdict == "not applicable":
        ElementTree.SubElement(case, "skipped", message=plain(one.why))
    elif one.verdict != "pass":
        ElementTree.SubElement(case, "system-out").text = f"{one.level} {one.verdict}: {_details(report, one)}"


def _details(report: Report, one: Judged) -> str:
    lines = [one.link]
    for found in one.findings[:_FINDINGS]:
        play = report.plays[found.play]
        lines += ["", f"{play.name}: {found.expected}"]
        for at, line in excerpt(play, found.frame):
            mark = ">" if at is not None and at == found.frame else " "
            lines.append(f"{mark} {line}" if at is not None else f"  ... {line}")
        if found.apart is not None:
            lines.append(f"> {show_frame(parse_frame(found.apart.frame))}")
    if len(one.findings) > _FINDINGS:
        lines += ["", f"and {len(one.findings) - _FINDINGS} more"]
    return plain("\n".join(lines))
