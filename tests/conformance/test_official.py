"""Judging what the official suite leaves behind, without the suite."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from conformance import official
from conformance.official import EXPECTED, Trouble, examine, judge, served

GOOD: dict[str, Any] = {"id": "works", "status": "SUCCESS", "description": "It works"}
BAD: dict[str, Any] = {"id": "works", "status": "FAILURE", "description": "It works", "errorMessage": "it does not"}


def record(results: Path, name: str, checks: list[dict[str, Any]], *, said: str = "", erred: str = "") -> None:
    folder = results / f"{name}-2026-11-22T10-20-30-400Z"
    folder.mkdir(parents=True)
    (folder / "checks.json").write_text(json.dumps(checks))
    (folder / "stdout.txt").write_text(said)
    (folder / "stderr.txt").write_text(erred)


def test_a_scenario_that_passes(tmp_path: Path) -> None:
    record(tmp_path, "server-ping", [GOOD, {"id": "seen", "status": "INFO", "description": "?"}, GOOD])
    record(tmp_path, "server-ping-more", [BAD])
    assert judge("server", "ping", tmp_path) == ([], 2)


@pytest.mark.parametrize("status", ["FAILURE", "WARNING", "SKIPPED"])
def test_a_check_that_does_not_succeed(tmp_path: Path, status: str) -> None:
    record(tmp_path, "server-ping", [GOOD, {**BAD, "status": status}])
    assert judge("server", "ping", tmp_path) == ([f"works: {status.lower()}: it does not"], 1)


def test_why_it_does_not(tmp_path: Path) -> None:
    skipped = {"id": "a", "status": "SKIPPED", "description": "?", "details": {"message": "no session"}}
    record(tmp_path, "server-ping", [GOOD, skipped, {"id": "b", "status": "WARNING", "description": "Be quick"}])
    assert judge("server", "ping", tmp_path)[0] == ["a: skipped: no session", "b: warning: Be quick"]


def test_nothing_checked_is_not_passed(tmp_path: Path) -> None:
    record(tmp_path, "server-ping", [{**GOOD, "status": "INFO"}])
    assert judge("server", "ping", tmp_path) == (["nothing was found to be right"], 0)
    assert judge("server", "pong", tmp_path) == (["it left no record: see suite.log"], 0)


def test_a_scenario_that_is_content_too_soon(tmp_path: Path) -> None:
    record(tmp_path, "server-server-sse-polling", [GOOD])
    assert judge("server", "server-sse-polling", tmp_path) == (
        ["server-sse-disconnect-resume: not put to the test"],
        1,
    )


def test_a_client_has_to_play_to_the_end(tmp_path: Path) -> None:
    record(tmp_path, "tools_call", [GOOD], said="played tools_call\n")
    record(tmp_path, "sse-retry", [GOOD], erred="Traceback\nOops: broken\n")
    assert judge("client", "tools_call", tmp_path) == ([], 1)
    assert judge("client", "sse-retry", tmp_path) == (
        ["the client did not play to the end; it said: Oops: broken"],
        1,
    )


def test_only_authorization_may_fail() -> None:
    lines = [line.strip() for line in EXPECTED.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert lines[0] == "client:"
    assert all(line.startswith("- auth/") for line in lines[1:])


@frozen
class FakeSuite:
    """A suite that leaves the records it is given."""

    folder: Path
    outcomes: dict[str, list[dict[str, Any]]]
    code: int = 0

    def read_yaml(self, path: Path) -> dict[str, Any]:
        if path == EXPECTED:
            return {"client": ["auth/basic", "auth/extra"]}
        unscored = [{"scenario": "auth/extra", "leg": "client"}, {"scenario": "late", "leg": "client"}]
        return {"server": [], "client": ["auth/basic", "first"], "not_scored": unscored}

    def command(self, *arguments: str) -> list[str]:
        results = Path(arguments[arguments.index("--output-dir") + 1])
        for name, checks in self.outcomes.items():
            record(results, name, checks, said=f"played {name}")
        return [sys.executable, "-c", f"raise SystemExit({self.code})"]


AS_KNOWN = {"auth/basic": [BAD], "auth/extra": [BAD], "first": [GOOD], "late": [GOOD]}


def test_all_as_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(FakeSuite(tmp_path, AS_KNOWN), ["server", "client"], None, tmp_path)  # type: ignore[arg-type]
    assert capsys.readouterr().out.endswith("4 scenarios: 2 passed, 2 failed as known, 0 not as expected\n")


@pytest.mark.parametrize(
    ("different", "told"),
    [
        ({"first": [BAD]}, "FAILED"),
        ({"late": [BAD]}, "FAILED"),
        ({"auth/basic": [GOOD]}, "PASSED, though it should fail"),
        ({"auth/extra": [GOOD]}, "PASSED, though it should fail"),
    ],
)
def test_not_as_known(tmp_path: Path, capsys: pytest.CaptureFixture[str], different: dict[str, Any], told: str) -> None:
    suite = FakeSuite(tmp_path, {**AS_KNOWN, **different}, code=1)
    assert not examine(suite, ["client"], None, tmp_path)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert told in said
    assert "1 not as expected" in said


def test_the_suite_has_a_complaint_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not examine(FakeSuite(tmp_path, AS_KNOWN, code=1), ["client"], None, tmp_path)  # type: ignore[arg-type]
    assert "ended with code 1" in capsys.readouterr().out


def test_one_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = FakeSuite(tmp_path, {"first": [GOOD]})
    assert examine(suite, ["server", "client"], "first", tmp_path)  # type: ignore[arg-type]
    assert "1 scenarios: 1 passed" in capsys.readouterr().out
    with pytest.raises(Trouble, match="'second'"):
        examine(suite, ["server", "client"], "second", tmp_path)  # type: ignore[arg-type]


# --- our server, as the suite is given it -----------------------------------------------------------------------------

SAYS = "print('made up: x is served at http://127.0.0.1:1/mcp', file=sys.stderr, flush=True)"


def program(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(["import signal, sys", *lines])]


def test_where_the_server_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))"
    monkeypatch.setattr(official, "SERVER", program(stops, SAYS, "signal.pause()"))
    with served(tmp_path / "log") as url:
        assert url == "http://127.0.0.1:1/mcp"


def test_a_server_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "SERVER", program("sys.exit('out of order')"))
    with pytest.raises(Trouble, match="out of order"), served(tmp_path / "log"):
        pytest.fail("it does not run")


def test_a_server_that_ends_badly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = "signal.signal(signal.SIGTERM, lambda *_: sys.exit('gave up'))"
    monkeypatch.setattr(official, "SERVER", program(stops, SAYS, "signal.pause()"))
    with pytest.raises(Trouble, match="gave up"), served(tmp_path / "log"):
        pass
