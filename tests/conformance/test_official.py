"""Judging what the official suite leaves behind, without the suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from conformance import official
from conformance.official import EXPECTED, REVISIONS, Trouble, examine, judge, plan, served

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


def test_a_scenario_that_tests_nothing(tmp_path: Path) -> None:
    (name,) = official.EMPTY
    record(tmp_path, f"server-{name}", [{**GOOD, "status": "SKIPPED"}])
    assert judge("server", name, tmp_path) == ([], 0)


@pytest.mark.parametrize("checks", [[GOOD], [BAD], [{**GOOD, "status": "SKIPPED"}, GOOD], []])
def test_a_scenario_that_no_longer_tests_nothing(tmp_path: Path, checks: list[dict[str, Any]]) -> None:
    (name,) = official.EMPTY
    record(tmp_path, f"server-{name}", checks)
    assert judge("server", name, tmp_path) == (["it is not empty any more"], 0)


@pytest.mark.parametrize(
    ("status", "name", "problems"),
    [
        ("SKIPPED", "ClientMcpMethodHeader_initialize", 0),
        ("FAILURE", "ClientMcpMethodHeader_initialize", 1),
        ("SKIPPED", "ClientMcpMethodHeader_tools_call", 1),
    ],
)
def test_a_request_that_the_revision_does_not_have(tmp_path: Path, status: str, name: str, problems: int) -> None:
    skipped = {"id": "headers", "name": name, "status": status, "description": "?"}
    record(tmp_path, "http-standard-headers", [GOOD, skipped], said="played http-standard-headers")
    assert len(judge("client", "http-standard-headers", tmp_path)[0]) == problems


def test_only_authorization_may_fail() -> None:
    lines = [line for line in EXPECTED.read_text().splitlines() if not line.lstrip().startswith("#")]
    known = [line.strip() for line in lines]
    assert [line for line in known if not line.startswith("- auth/")] == [
        line for revision in REVISIONS for line in (f'"{revision}":', "client:")
    ]
    assert all(line.startswith(("    - ", "  client:", '"')) for line in lines)


OLD, NEW = REVISIONS


@frozen
class FakeSuite:
    """A suite that leaves the records it is given."""

    folder: Path
    outcomes: dict[str, list[dict[str, Any]]]
    code: int = 0
    newer: dict[str, list[dict[str, Any]]] | None = None
    """What comes out of the newer revision, if it is something else."""
    commands: list[tuple[str, ...]] = field(factory=list)

    def read_yaml(self, path: Path) -> dict[str, Any]:
        if path == EXPECTED:
            return {OLD: {"client": ["auth/basic", "auth/extra"]}, NEW: {"client": ["auth/basic"]}}
        if path.name == f"{OLD}.yaml":
            unscored = [{"scenario": "auth/extra", "leg": "client"}, {"scenario": "late", "leg": "client"}]
            return {"server": ["ping"], "client": ["auth/basic", "first"], "not_scored": unscored}
        unscored = [{"scenario": name, "leg": "server"} for name in ("tasks-lifecycle", *official.EMPTY)]
        return {"server": ["ping"], "client": ["auth/basic", "first"], "not_scored": unscored}

    def command(self, *arguments: str) -> list[str]:
        self.commands.append(arguments)
        results = Path(arguments[arguments.index("--output-dir") + 1])
        outcomes = self.newer if self.newer is not None and NEW in arguments else self.outcomes
        for name, checks in outcomes.items():
            record(results, name, checks, said=f"played {name}")
        return [sys.executable, "-c", f"raise SystemExit({self.code})"]

    def examine(self, results: Path, *legs: str, revisions: Sequence[str] = (OLD,), only: str | None = None) -> bool:
        return examine(self, plan(self, revisions, legs, only), only, results)  # type: ignore[arg-type]


AS_KNOWN = {"auth/basic": [BAD], "auth/extra": [BAD], "first": [GOOD], "late": [GOOD]}
NEWER = {"auth/basic": [BAD], "first": [GOOD]}
ON_SERVER = {
    "server-ping": [GOOD],
    "server-tasks-lifecycle": [GOOD],
    **{f"server-{name}": [{**GOOD, "status": "SKIPPED"}] for name in official.EMPTY},
}


@pytest.fixture
def served_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server that tells this file whenever it is started."""
    log = tmp_path / "started"
    tells = f"print('here', file=open({str(log)!r}, 'a'), flush=True)"
    stops = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))"
    monkeypatch.setattr(official, "SERVER", program(stops, tells, SAYS, "signal.pause()"))
    return log


def test_all_as_known(tmp_path: Path, served_once: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = FakeSuite(tmp_path, {**AS_KNOWN, **ON_SERVER}, newer={**NEWER, **ON_SERVER})
    assert suite.examine(tmp_path, "server", "client", revisions=REVISIONS)
    told = capsys.readouterr().out
    assert told.endswith("10 scenarios: 6 passed, 1 empty, 3 failed as known, 0 not as expected\n")
    assert "tests nothing, as known" in told
    runs = [(command[0], command[command.index("--requirements") + 1]) for command in suite.commands]
    assert runs == [("server", OLD), ("server", NEW), ("client", OLD), ("client", NEW)]


def test_one_server_answers_to_all_revisions(tmp_path: Path, served_once: Path) -> None:
    suite = FakeSuite(tmp_path, ON_SERVER)
    assert suite.examine(tmp_path, "server", revisions=REVISIONS)
    assert served_once.read_text() == "here\n"
    assert [command[command.index("--url") + 1] for command in suite.commands] == ["http://127.0.0.1:1/mcp"] * 2


def test_the_suite_is_told_what_fails_in_its_revision(tmp_path: Path) -> None:
    suite = FakeSuite(tmp_path, AS_KNOWN, newer=NEWER)
    assert suite.examine(tmp_path, "client", revisions=REVISIONS)
    told = [Path(command[command.index("--expected-failures") + 1]) for command in suite.commands]
    assert [json.loads(path.read_text()) for path in told] == [
        {"client": ["auth/basic", "auth/extra"]},
        {"client": ["auth/basic"]},
    ]


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
    assert not suite.examine(tmp_path, "client")
    said = capsys.readouterr().out
    assert told in said
    assert "1 not as expected" in said


def test_not_as_known_in_one_revision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = FakeSuite(tmp_path, AS_KNOWN, newer={**NEWER, "first": [BAD]})
    assert not suite.examine(tmp_path, "client", revisions=REVISIONS)
    said = capsys.readouterr().out
    assert [line[:10] for line in said.splitlines() if "FAILED" in line] == [NEW]
    assert "1 not as expected" in said


def test_the_suite_has_a_complaint_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not FakeSuite(tmp_path, AS_KNOWN, code=1).examine(tmp_path, "client")
    assert f"ended with code 1 on the client, {OLD}" in capsys.readouterr().out


def test_one_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = FakeSuite(tmp_path, {"first": [GOOD]})
    assert suite.examine(tmp_path, "server", "client", only="first")
    assert "1 scenarios: 1 passed" in capsys.readouterr().out
    with pytest.raises(Trouble, match="'second'"):
        suite.examine(tmp_path, "server", "client", only="second")


def test_one_scenario_of_an_extension(tmp_path: Path, served_once: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = FakeSuite(tmp_path, ON_SERVER)
    assert suite.examine(tmp_path, "server", "client", revisions=REVISIONS, only="tasks-lifecycle")
    assert "1 scenarios: 1 passed" in capsys.readouterr().out
    ((*_, scenario, name, version, revision, force, _, _, _, _),) = suite.commands
    # The suite counts extensions to no revision, and would leave it out.
    assert [scenario, name, version, revision, force] == [
        "--scenario",
        "tasks-lifecycle",
        "--spec-version",
        NEW,
        "--force",
    ]


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
