"""A baseline lets pass what is known to fail, and nothing else; and what no longer fails has to leave it."""

from __future__ import annotations

import pytest

from conformance.baseline import BaselineError, parse_baseline, write_baseline
from conformance.report import Report

from ._reported import ROWS, broken_report, finding, make_play, report_of

KNOWN = '[failures]\n"T25-064" = "issue 12"\n'


def held_against(text: str, report: Report) -> Report:
    return parse_baseline(text, ROWS).applied(report)


@pytest.mark.parametrize("key", ["T25-064", "T25-064@stdio"])
def test_what_is_known_may_fail(key: str) -> None:
    report = held_against(f'[failures]\n"{key}" = "issue 12"\n', broken_report())
    assert report.ok
    assert report.failures == []
    assert [(one.id, one.known) for one in report.known] == [("T25-064", "issue 12")]


def test_what_is_new_may_not() -> None:
    report = held_against("", broken_report())
    assert not report.ok
    assert [one.key for one in report.failures] == ["T25-064@stdio"]


@pytest.mark.parametrize("outcome", [True, None])
def test_what_no_longer_fails_is_stale(outcome: bool | None) -> None:
    report = held_against(KNOWN, report_of(make_play(finding("T25-064", outcome))))
    assert not report.ok
    assert report.stale == ["T25-064"]


def test_for_all_transports_it_is_stale_when_it_fails_over_none() -> None:
    over_http = make_play(finding("T25-064", False), transport="http")
    fine = make_play(finding("T25-064", True))
    assert held_against(KNOWN, report_of(fine, over_http)).ok
    one_each = '[failures]\n"T25-064@http" = "issue 12"\n"T25-064@stdio" = "issue 12"\n'
    assert held_against(one_each, report_of(fine, over_http)).stale == ["T25-064@stdio"]


def test_nothing_is_known_of_what_was_not_played() -> None:
    other = '[failures]\n"T25-064@http" = "issue 12"\n"X26-028" = "issue 13"\n'
    assert held_against(other, report_of(make_play(finding("T25-064", True)))).stale == ["X26-028"]
    assert held_against(other, report_of(make_play(finding("T25-004", True)), whole=False)).stale == []


def test_flaky_may_do_either() -> None:
    flaky = '[failures]\n"T25-064" = { why = "a race", flaky = true }\n'
    assert held_against(flaky, broken_report()).ok
    assert held_against(flaky, report_of(make_play(finding("T25-064", True)))).ok


def test_a_should_is_no_failure() -> None:
    report = held_against('[failures]\n"T25-073" = "issue 12"\n', report_of(make_play(finding("T25-073", False))))
    assert report.stale == ["T25-073"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[failures", "baseline: "),
        ("[else]", "nothing else"),
        ("failures = 3", "nothing else"),
        ('[failures]\n"T25-999" = "why"', "no requirement T25-999"),
        ('[failures]\n"T25-064@carrier-pigeon" = "why"', "stdio or http"),
        ('[failures]\n"T25-064" = 3', "expected a reason"),
        ('[failures]\n"T25-064" = " "', "there is no reason"),
        ('[failures]\n"T25-064" = { flaky = true }', "expected a reason"),
        ('[failures]\n"T25-064" = { why = "w", flaky = 1 }', "true or false"),
        ('[failures]\n"T25-064" = { why = "w", since = 1 }', "expected a reason"),
    ],
)
def test_what_is_no_baseline(text: str, says: str) -> None:
    with pytest.raises(BaselineError, match=says):
        parse_baseline(text, ROWS)


def test_what_was_written_is_met() -> None:
    report = broken_report('said "\x7f\\ \n')
    text = write_baseline(report)
    assert held_against(text, report).ok
    assert list(parse_baseline(text, ROWS).entries) == ["T25-064@stdio"]


def test_reasons_are_kept_and_stale_ones_leave() -> None:
    old = parse_baseline(KNOWN + '"T25-004" = "issue 14"\n"T25-067@http" = { why = "a race", flaky = true }\n', ROWS)
    new = parse_baseline(write_baseline(broken_report(), old), ROWS)
    assert {key: entry.why for key, entry in new.entries.items()} == {"T25-064": "issue 12", "T25-067@http": "a race"}
    assert new.entries["T25-067@http"].flaky
