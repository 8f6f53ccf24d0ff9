"""Reports of every kind say what was found, and fall for nothing that a program under test has said."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve
from rich.console import Console

from conformance.report import FORMATS, Report, ReportError, excerpt, load_report, plain, write_report
from conformance.report.junit import junit
from conformance.report.markdown import markdown
from conformance.report.page import page
from conformance.report.summary import blanks_by_reason, summary
from conformance.report.terminal import print_report
from mcp_tasks.testing import Frame, Side

from ._reported import NASTY, ROWS, broken_report, finding, frames_of, make_play, report_of


def printed(report: Report, *, terminal: bool = False, verbose: bool = False, width: int = 100) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, color_system=None, width=width, highlight=False)
    print_report(report, console, verbose=verbose)
    return stream.getvalue()


# --- what a report holds ----------------------------------------------------------------------------------------------


def test_verdicts_and_counts() -> None:
    report = broken_report()
    assert [one.id for one in report.failures] == ["T25-064"]
    assert [one.id for one in report.warnings] == ["T25-073"]
    assert [one.id for one in report.infos] == ["T25-001"]
    assert report.counts()["pass"] == 1
    assert report.counts("http") == {}
    assert not report.ok
    assert report.program == {"name": "made up", "version": "1.0"}
    assert report.title == "made up 1.0"
    assert evolve(report, subject="elsewhere").title == "elsewhere (made up 1.0)"
    # Of the other era nothing was played, so there is nothing to say of it.
    assert {one.era for one in report.results} == {"2025-11-25"}


def test_what_did_not_come_up_says_why() -> None:
    report = broken_report()
    reasons = dict(blanks_by_reason(report))
    assert reasons["needs `asks`"] == ["T25-067"]
    unseen = [ids for why, ids in reasons.items() if "did not come up" in why]
    assert len(unseen) == 1
    assert len(unseen[0]) > 20


def test_part_of_a_run_tells_of_nothing_else() -> None:
    report = broken_report(whole=False)
    assert {one.id for one in report.results} == {"T25-001", "T25-004", "T25-064", "T25-067", "T25-073"}
    assert report.unjudged == {}
    assert [one.id for one in broken_report(whole=False, wanted=("T25-06",)).results] == ["T25-064", "T25-067"]


def test_what_is_kept_now_and_then_is_flaky() -> None:
    report = report_of(
        make_play(finding("T25-064", True), finding("T25-073", True)),
        make_play(finding("T25-064", False), finding("T25-073", False), number=1),
    )
    must, should = (next(one for one in report.results if one.id == id) for id in ("T25-064", "T25-073"))
    assert must.verdict == should.verdict == "flaky"
    assert (must.fails, must.warns) == (True, False)
    assert (should.fails, should.warns) == (False, True)
    assert must.findings[0].play == 1
    assert report.plays[1].name == "first (stdio) #2"


def test_a_summary_by_area() -> None:
    lines = summary(broken_report())
    assert (lines[0].era, lines[0].area, lines[0].transport) == ("2025-11-25", "tasks", "stdio")
    assert lines[0].counts["fail"] == 1
    assert sum(sum(line.counts.values()) for line in lines) == len(broken_report().results)


def test_the_exchange_around_a_frame() -> None:
    play = broken_report().plays[0]
    # The request that it answers is there, though it was long ago.
    assert [at for at, _ in excerpt(play, 9)] == [None, 2, None, 6, 7, 8, 9, 10, 11]
    assert [at for at, _ in excerpt(play, 0)] == [0, 1, 2, None]
    assert [at for at, _ in excerpt(play, None)] == [None, 8, 9, 10, 11]
    assert excerpt(evolve(play, frames=[]), None) == []


def test_plain_text() -> None:
    assert plain("a\tb\r\nc\rd\x1b[m\x9b\u202e\ud800é✓") == "a\tb\nc\ufffdd\ufffd[m\ufffd\ufffd\ufffdé✓"


def test_a_frame_of_another_connection() -> None:
    beside = Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 9, "result": {"beside": True}})
    play = make_play(finding("T25-064", False))
    play.findings = [evolve(play.findings[0], frame=beside)]
    report = report_of(play)
    found = report.failures[0].findings[0]
    assert found.frame is None
    assert found.apart is not None
    assert '"beside": true' in printed(report)
    assert '"beside": true' in markdown([report])
    assert '"beside": true' in junit([report])
    assert '"apart":{' in page([report])


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", ["hello", NASTY], ids=["plain", "nasty"])
def test_json_can_be_read_again(tmp_path: Path, says: str) -> None:
    report = broken_report(says)
    path = tmp_path / "new folder" / "report.json"
    write_report(path, report)
    assert load_report(path) == report
    raw = json.loads(path.read_text())
    assert raw["ok"] is False
    assert raw["counts"]["fail"] == 1
    assert raw["plays"][0]["frames"][0]["message"]["method"] == "initialize"


def test_files_that_are_no_reports(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("{")
    with pytest.raises(ReportError, match="no JSON"):
        load_report(path)
    path.write_text("[]")
    with pytest.raises(ReportError, match="no report of this suite"):
        load_report(path)
    write_report(path, broken_report())
    raw = json.loads(path.read_text())
    raw["results"][0]["findings"] = 7
    path.write_text(json.dumps(raw))
    with pytest.raises(ReportError, match=r"report\.json: .*results"):
        load_report(path)
    with pytest.raises(ReportError, match=r"ends in \.json, \.xml, \.md, \.html"):
        write_report(tmp_path / "report.txt", broken_report())
    with pytest.raises(ReportError, match="one program"):
        write_report(path, broken_report(), broken_report())


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_kind_can_be_written_whatever_was_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    write_report(path, broken_report(NASTY))
    text = path.read_text(encoding="utf-8")
    assert "T25-064" in text
    assert "\x1b" not in text


# --- at a terminal ----------------------------------------------------------------------------------------------------


def test_a_failure_is_shown_with_its_exchange() -> None:
    text = printed(broken_report())
    assert "made up 1.0, as a server over stdio; it speaks 2025-11-25 and 2026-07-28" in text
    assert f"FAIL T25-064 MUST NOT  {ROWS['T25-064'].says}" in text
    assert ROWS["T25-064"].link in text
    assert "expected: the answer is not hello" in text
    marked = [line for line in text.splitlines() if line.startswith("    > ")]
    assert [('"text": "hello"' in line) for line in marked] == [True, False]
    assert '"method": "tools/call"' in text
    assert "... 3 more" in text
    assert text.index("Failures") < text.index("Warnings") < text.index("Left open") < text.index("Not applicable")
    assert "needs `asks`: T25-067" in text
    assert text.rstrip().endswith("1 failed, 1 warnings, 1 passed")


def test_a_log_has_one_line_for_each_sentence_and_a_terminal_wraps_them() -> None:
    report = broken_report("hello " * 40)
    assert f"      expected: the answer is not {'hello ' * 40}".rstrip() in printed(report)
    wrapped = printed(report, terminal=True, width=60)
    assert "      expected: the answer is not hello hello" in wrapped
    assert all(len(line) < 60 for line in wrapped.splitlines() if line.startswith("      hello"))


def test_verbose_shows_what_passed_and_every_finding() -> None:
    report = report_of(
        make_play(*(finding("T25-064", False, f"number {n}") for n in range(4)), finding("T25-004", True))
    )
    assert "and 2 more (--verbose)" in printed(report)
    assert "number 3" not in printed(report)
    assert "PASS T25-004" not in printed(report)
    told = printed(report, verbose=True)
    assert "number 3" in told
    assert "PASS T25-004" in told


def test_a_terminal_obeys_nobody() -> None:
    assert "\x1b" not in printed(broken_report(NASTY), verbose=True)
    assert "[red]" in printed(broken_report("[red]"))


# --- JUnit ------------------------------------------------------------------------------------------------------------


def test_junit_has_a_case_for_each_requirement_and_transport() -> None:
    report = report_of(
        make_play(finding("T25-064", False, NASTY, 9), finding("T25-004", True), says=NASTY),
        make_play(finding("T25-064", True), transport="http"),
    )
    root = ElementTree.fromstring(junit([report]).encode(errors="strict"))
    stdio, http = sorted(root.findall("testsuite"), key=lambda suite: suite.get("name", ""), reverse=True)
    assert (stdio.get("failures"), http.get("failures")) == ("1", "0")
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(report.results)
    names = [str(case.get("name")).split()[0] for case in cases]
    assert len(set(names)) == len(names)
    (failed,) = [case for case in cases if case.find("failure") is not None]
    assert str(failed.get("name")).startswith("T25-064@stdio ")
    assert failed.get("classname") == "2025-11-25.tasks"
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("type") == "MUST NOT fail"
    assert ROWS["T25-064"].link in str(failure.text)
    assert int(stdio.get("skipped", 0)) == sum(case.find("skipped") is not None for case in stdio.findall("testcase"))


def test_junit_skips_what_is_known_and_fails_what_is_stale() -> None:
    report = broken_report()
    known = [evolve(one, known="issue 12") if one.fails else one for one in report.results]
    root = ElementTree.fromstring(junit([evolve(report, results=known, stale=["T25-004"])]))
    assert root.find("testsuite/testcase/skipped[@message='known to fail: issue 12']") is not None
    stale = root.findall("testsuite/testcase[failure]")
    assert [case.get("name") for case in stale] == ["T25-004"]


def test_junit_tells_of_warnings() -> None:
    root = ElementTree.fromstring(junit([broken_report()]))
    told = [out.text or "" for out in root.iter("system-out")]
    assert any(text.startswith("SHOULD warn: ") for text in told)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown_sums_up_and_shows_failures() -> None:
    text = markdown([broken_report()])
    assert text.startswith("# made up 1.0, as a server\n")
    assert "| 2025-11-25 tasks, stdio | 1 | 1 | 1 |" in text
    assert f"### [T25-064]({ROWS['T25-064'].link}) over stdio: " in text
    assert re.search(r"^>  +0\.000 <-- .*\"text\": \"hello\"", text, re.MULTILINE)
    assert "## Not applicable" in text
    assert "1 failed." in text
    assert "Nothing that has to be kept was broken." in markdown([report_of(make_play(finding("T25-064", True)))])


def test_markdown_is_not_broken_out_of() -> None:
    text = markdown([broken_report(NASTY)])
    inside = text.split("````")
    assert len(inside) % 2 == 1, "every fence that was opened is closed"
    assert any("</script>" in part for part in inside[1::2])
    assert not any("</script>" in part for part in inside[::2])
    assert r"\[x\](y) \|" in text


# --- the page, as far as it can be seen without a browser ---------------------------------------------------------


def test_the_page_needs_nothing_else() -> None:
    text = page([broken_report()])
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']+)""", text))
    outside = {one for one in addresses if not one.startswith(("#", "data:,"))}
    assert outside
    assert outside <= {row.link for row in ROWS.values()}
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_takes_nothing_for_markup() -> None:
    text = page([broken_report(NASTY)])
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "\x1b" not in text
    data = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert "</script><img src=x" in data["cells"]["T25-064.0"]["why"]


def test_the_page_can_be_read_without_scripts() -> None:
    text = page([broken_report()])
    row = text.split('id="T25-064"', 1)[1].split("</tr>", 1)[0]
    assert "fail" in row
    assert "<code>completed</code>" in row


def test_a_page_of_several_programs() -> None:
    first = broken_report()
    second = report_of(
        make_play(finding("T25-064", True)), make_play(finding("T25-064", True), transport="http"), subject="other"
    )
    text = page([first, second])
    assert re.findall(r'<th scope="col" class="peer".*?>([^<]+)</span>', text) == ["made up", "other", "other"]
    row = text.split('id="T25-064"', 1)[1].split("</tr>", 1)[0]
    assert re.findall(r'data-verdict="([^"]+)"', row) == ["fail", "pass", "pass"]


def test_long_exchanges_are_cut_and_keep_what_matters() -> None:
    play = make_play(finding("T25-064", False))
    play.frames = [frame for _ in range(100) for frame in frames_of()]
    play.findings = [evolve(play.findings[0], frame=play.frames[600])]
    text = page([report_of(play)])
    data = json.loads(text.split('id="data">', 1)[1].split("</script>", 1)[0])
    (shown,) = data["plays"].values()
    places = [frame["n"] for frame in shown["frames"]]
    assert shown["of"] == 1200
    assert len(places) < 130
    assert {0, 599, 600, 601, 1199} <= set(places)
