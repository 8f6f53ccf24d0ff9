"""The command line of the suite: what it takes, what it prints where, what it writes, and how it exits."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import REVISIONS, UnknownPattern, choose, find_profile, shipped_profiles
from conformance.drafting import Draft, Tool, arguments_for, looks_harmless, to_toml
from conformance.fixtures import errands, healthy
from conformance.ledger import load_ledger
from conformance.profile import ProfileError, parse_profile
from conformance.report import load_report
from conformance.scenario import all_scenarios
from mcp_tasks.cli.app import run as run_app

SECONDS = 120
COMMAND = [sys.executable, "-m", "mcp_tasks", "conformance"]
HEALTHY = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.healthy:peer", "--stdio"]
ERRANDS = shlex.join([sys.executable, "-m", "conformance.fixtures.errands"])
BROKEN = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "initialize":
        answer["result"] = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "broken", "version": "1"},
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}, "frobnicate": {}}}}
    elif message["method"] == "tools/list":
        answer["result"] = {"tools": []}
    else:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    print(json.dumps(answer), flush=True)
"""
"""A server that announces what there is not."""
CALLS_THEM_COMPLETED = """
import subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def up():
    for line in sys.stdin.buffer:
        server.stdin.write(line)
        server.stdin.flush()
    server.stdin.close()

threading.Thread(target=up, daemon=True).start()
for line in server.stdout:
    if b'"task":{' in line:
        line = line.replace(b'"status":"working"', b'"status":"completed"')
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
"""Stands before a server, whose new tasks it calls completed."""
BROKEN_IN = "T25-005"
ONE = next(one.name for one in all_scenarios() if one.leg == "server" and "C25-056" in one.judges)
"""A scenario that takes no time; the monitor judges T25-005 in it, as in any other."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture
def broken(tmp_path: Path) -> list[str]:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    return [sys.executable, str(path)]


# --- judging ----------------------------------------------------------------------------------------------------------


def test_a_server_that_is_well(tmp_path: Path) -> None:
    written = [tmp_path / f"report{suffix}" for suffix in (".json", ".xml", ".md", ".html")]
    reports = [word for path in written for word in ("--report", str(path))]
    done = run("server", "--profile", "mcp-tasks-server", "--only", ONE, *reports, "--", *HEALTHY)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "healthy 1.0, as a server over stdio; it speaks 2025-11-25 and 2026-07-28" in done.stdout
    assert re.search(r"\n0 failed, 0 warnings, \d+ passed\n$", done.stdout)
    assert done.stderr == ""
    assert all(path.stat().st_size > 200 for path in written)
    report = load_report(written[0])
    assert {BROKEN_IN, "C25-056"} <= {one.id for one in report.results}
    assert report.profile == "mcp-tasks"
    assert not report.whole


def test_a_server_that_is_not(tmp_path: Path, broken: list[str]) -> None:
    only = ("--only", ONE, "--revision", "2025-11-25")
    done = run("server", shlex.join(broken), *only, "--verbose")
    assert done.returncode == 1, done.stderr
    assert f"FAIL {BROKEN_IN} MUST" in done.stdout
    assert "frobnicate" in done.stdout, "the offending message is shown"
    assert "[1/" in done.stderr

    baseline = tmp_path / "baseline.toml"
    done = run("server", *only, "--write-baseline", str(baseline), "--", *broken)
    assert done.returncode == 0
    assert f'"{BROKEN_IN}@stdio" = "not looked into yet: ' in baseline.read_text()
    done = run("server", *only, "--baseline", str(baseline), "--", *broken)
    assert done.returncode == 0
    assert re.search(r"\n0 failed, \d+ known to fail", done.stdout)

    done = run("server", *only, "--baseline", str(baseline), "--json", "--", *HEALTHY)
    assert done.returncode == 1, "what no longer fails has to leave the baseline"
    *verdicts, ending = (json.loads(line) for line in done.stdout.splitlines())
    assert ("verdict", BROKEN_IN, "pass") in [(one["event"], one["id"], one["verdict"]) for one in verdicts]
    assert ending["event"] == "finished"
    assert (ending["ok"], ending["failed"]) == (False, [])
    assert f"{BROKEN_IN}@stdio" in ending["stale"]


def test_a_client(tmp_path: Path) -> None:
    path = tmp_path / "client.json"
    only = ("--only", "X26-118", "--revision", "2026-07-28")
    done = run("client", "--command", ERRANDS, "--profile", "mcp-tasks-client", *only, "--report", str(path))
    assert done.returncode == 0, done.stderr + done.stdout
    report = load_report(path)
    assert (report.leg, report.subject, report.transports) == ("client", "errands", ["stdio", "http"])
    assert [(one.key, one.verdict) for one in report.results] == [("X26-118@http", "pass"), ("X26-118@stdio", "pass")]

    page = tmp_path / "page.html"
    assert run("page", str(page), str(path), str(path)).returncode == 0
    assert page.read_text().count("errands 1.0") > 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["server"], 2, "say which server"),
        (["server", "--command", "a", "--", "b"], 2, "--command"),
        (["server", "a", "--url", "http://a", "--command", "b"], 2, "over each transport once"),
        (["server", "a", "--auth", "one", "two"], 2, "--auth is for servers over HTTP"),
        (["server", "a", "--only", "T25-999"], 2, "no scenario and no requirement of a server"),
        (["server", "a", "--only", ""], 2, "no scenario and no requirement of a server begins so"),
        (["server", "a", "--patience", "nan"], 2, "--patience is a number above 0"),
        (["server", "a", "--patience", "inf"], 2, "--patience is a number above 0"),
        (["server", "a", "--jobs", "0"], 2, "--jobs is a number above 0"),
        (["server", "a", "--report", "report.txt"], 2, "ends in .json"),
        (["server", "a", "--profile", "nowhere.toml"], 2, "mcp-tasks-server"),
        (["server", "a", "--baseline", "nowhere.toml"], 2, "No such file"),
        (["server", "a", "--revision", "2024-11-05"], 2, "2025-11-25"),
        (["page", "out.html", "nowhere.json"], 2, "No such file"),
        (["server", "--", "/nowhere/to/be/found"], 3, "/nowhere/to/be/found"),
        (["server", "http://127.0.0.1:9/mcp", "--patience", "2"], 3, "no revision that can be judged"),
        (["client", "--command", "/nowhere/to/be/found"], 3, "/nowhere/to/be/found"),
        (["profile", "--", "/nowhere/to/be/found"], 3, "/nowhere/to/be/found"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done(arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["conformance", *arguments]) == code
    printed = capsys.readouterr()
    assert says in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("hypothesis", ["walk", "--", *HEALTHY]),
        ("jinja2", ["server", "--report", "page.html", "--", *HEALTHY]),
    ],
)
def test_what_is_not_installed_is_named(
    missing: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "conformance.report.page", raising=False)
    assert run_app(["conformance", *arguments]) == 2
    said = f"mcp-tasks: {missing} is not installed: pip install 'mcp-tasks[conformance]'\n"
    assert capsys.readouterr().err == said


def test_help_tells_of_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app(["conformance", "server", "--help"]) == 0
    assert "Exit codes: 0 nothing failed" in capsys.readouterr().out


# --- what is played ---------------------------------------------------------------------------------------------------


def test_what_is_played_for_what_is_asked_for() -> None:
    rows, scenarios = load_ledger(), all_scenarios()
    everything = choose(scenarios, rows, "server", ())
    assert everything.wanted == ()
    assert {one.leg for one in everything.scenarios} == {"server"}
    some = everything.scenarios[3]
    by_name = choose(scenarios, rows, "server", (some.name,))
    assert by_name.scenarios[0].name.startswith(some.name)
    assert by_name.wanted == ()
    by_id = choose(scenarios, rows, "server", (some.judges[0],))
    assert some in by_id.scenarios
    assert by_id.wanted == (some.judges[0],)
    with pytest.raises(UnknownPattern):
        choose(scenarios, rows, "server", ("nothing_like_that",))


def test_what_only_the_monitor_sees_is_looked_for_everywhere() -> None:
    rows, scenarios = load_ledger(), all_scenarios()
    judged = {id for one in scenarios if one.leg == "server" for id in one.judges}
    watched = next(row.id for row in rows.values() if row.id not in judged and row.judged_in("server"))
    chosen = choose(scenarios, rows, "server", (watched,)).scenarios
    assert chosen == [one for one in scenarios if one.leg == "server" and one.era == rows[watched].era]


def test_revisions() -> None:
    assert REVISIONS == ("2025-11-25", "2026-07-28")


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "profile"),
    [("mcp-tasks-server", healthy.PROFILE), ("mcp-tasks-client", errands.PROFILE)],
)
def test_our_own_profiles_come_along(name: str, profile: Any) -> None:
    assert name in shipped_profiles()
    assert find_profile(name) == profile


def test_every_profile_that_comes_along_can_be_read() -> None:
    for name, text in shipped_profiles().items():
        parse_profile(text, name)


def test_a_profile_that_is_not_there() -> None:
    assert find_profile(None).abilities == {}
    with pytest.raises(ProfileError, match="No such file"):
        find_profile("nowhere.toml")


def test_a_draft_by_looks_and_by_trying() -> None:
    looked = run("profile", "--", *HEALTHY)
    assert looked.returncode == 0, looked.stderr
    assert "a guess, by its name" in looked.stdout
    assert "seen:" not in looked.stdout
    tried = run("profile", "--probe", "--", *HEALTHY)
    assert tried.returncode == 0, tried.stderr
    names = {"quick", "slow", "fails", "is_error", "asks", "asks_twice", "asks_both", "samples", "progress"}
    for text in (looked.stdout, tried.stdout):
        profile = parse_profile(text)
        assert profile.name == "healthy"
        found = {name: ability.tool for name, ability in profile.abilities.items()}
        for name in (*names, "forbidden", "required"):
            assert found[name] == name
        assert profile.abilities["quick"].arguments == {"text": "hello"}


def tool(name: str, properties: dict[str, Any] | None = None, *required: str, **more: Any) -> Tool:
    schema = {"type": "object", "properties": properties or {}, "required": list(required)}
    return Tool(name, schema=schema, **more)


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        (tool("t"), {}),
        (tool("t", {"a": {"type": "string"}}), {}),
        (tool("t", {"a": {"type": "string", "minLength": 7}}, "a"), {"a": "hellooo"}),
        (tool("t", {"a": {"enum": ["x", "y"]}, "b": {"type": "integer", "minimum": 4}}, "a", "b"), {"a": "x", "b": 4}),
        (tool("t", {"a": {"type": "string", "pattern": "^x"}}, "a"), None),
        (tool("t", {"a": {"type": "object", "required": ["b"]}}, "a"), None),
        (tool("t", {}, "a"), None),
        (tool("sleep", {"seconds": {"type": "number", "default": 60}}), {"seconds": 3}),
        (tool("slow_job", {"duration_ms": {"type": "integer"}}, "duration_ms"), {"duration_ms": 3000}),
    ],
)
def test_arguments_for_a_tool(asked: Tool, arguments: dict[str, Any] | None) -> None:
    assert arguments_for(asked) == arguments


@pytest.mark.parametrize(
    ("asked", "harmless"),
    [
        (tool("echo"), True),
        (tool("delete_everything"), False),
        (tool("deleteFile"), False),
        (tool("tidy", description="Removes what nobody needs"), False),
        (tool("tidy", annotations={"destructiveHint": True}), False),
        (tool("write_report", annotations={"readOnlyHint": True}), True),
    ],
)
def test_what_looks_harmless(asked: Tool, harmless: bool) -> None:
    assert looks_harmless(asked) is harmless


def test_a_draft_is_toml_whatever_the_tools_are_called() -> None:
    nasty = 'echo "\n\x7f\ud800\\ ]'
    text = to_toml(Draft(nasty, [tool(nasty, {nasty: {"type": "string"}}, nasty, shows=["quick"], seen="did")], True))
    profile = parse_profile(text)
    assert profile.abilities["quick"].tool == nasty.replace("\ud800", "?")
    assert list(profile.abilities["quick"].arguments.values()) == ["hello"]


# --- the random walk --------------------------------------------------------------------------------------------------


def test_a_walk_with_a_healthy_server() -> None:
    done = run("walk", "--profile", "mcp-tasks-server", "--walks", "3", "--steps", "4", "--", *HEALTHY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 walks, and everything was as it should be\n"


def test_a_walk_with_one_that_is_not(tmp_path: Path) -> None:
    """It calls every task completed when it is made."""
    broken = tmp_path / "broken.py"
    broken.write_text(CALLS_THEM_COMPLETED)
    out = tmp_path / "walk.jsonl"
    arguments = ["--profile", "mcp-tasks-server", "--walks", "5", "--seed", "1", "--transcript", str(out)]
    done = run("walk", *arguments, "--", *[sys.executable, str(broken), *HEALTHY])
    assert done.returncode == 1, done.stderr
    assert "T25-061: a new task is working" in done.stdout
    assert out.read_text().startswith('{"transcript":1')


@pytest.mark.parametrize("command", [["/no/such/program"], ["true"]])
def test_a_walk_with_nobody(command: list[str]) -> None:
    done = run("walk", "--", *command)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
