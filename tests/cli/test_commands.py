"""The commands with nobody at the keyboard: what they print where, and how they exit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_tasks.cli.calls import parse_arguments
from mcp_tasks.cli.exits import Exit, Trouble
from mcp_tasks.cli.serving import load_peer
from mcp_tasks.wire.server_features import Tool

from ._run import COMMAND, EVERYTHING, SECONDS, json_lines, run

SESSION = ["--revision", "2025-11-25"]


def test_demo() -> None:
    done = run("demo")
    assert done.returncode == Exit.OK, done.stderr
    assert "=> built a bell in 4 steps" in done.stdout
    assert "=> the bell is called Emmanuel" in done.stdout
    assert done.stdout.endswith("All is as it should be.\n")
    assert done.stderr == ""


def test_demo_json() -> None:
    done = run("demo", "--json")
    assert done.returncode == Exit.OK, done.stderr
    events = json_lines(done.stdout)
    assert [event["number"] for event in events if event["event"] == "done"] == [1, 2, 3, 4, 5]
    assert events[-1] == {"event": "finished", "ok": True}


def test_demo_asks_nobody() -> None:
    assert run("demo", "--ask").returncode == Exit.USAGE


def test_tools() -> None:
    done = run("tools", EVERYTHING)
    assert done.returncode == Exit.OK, done.stderr
    assert "slow_compute seconds [label]\n    Take a while." in done.stdout  # the server decides what is a task
    done = run("tools", EVERYTHING, *SESSION)
    assert "slow_compute seconds [label]  (task: optional)\n    Take a while." in done.stdout
    listed = json_lines(
        run("tools", "--json", "--", *COMMAND, "serve", "--stdio", "conformance.fixtures.everything:peer").stdout
    )
    assert [tool["name"] for tool in listed][:2] == ["greet", "slow_compute"]
    assert listed[0]["inputSchema"]["required"] == ["name"]


def test_a_name_from_the_configuration(tmp_path: Path) -> None:
    entry = {"command": COMMAND[0], "args": [*COMMAND[1:], "serve", "mine:peer", "--stdio"], "cwd": "${HERE}"}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"mine": entry}}))
    (tmp_path / "mine.py").write_text(
        "from mcp_tasks import Peer\npeer = Peer('mine', '1')\n"
        "@peer.tool\nasync def hi() -> str:\n    print('not a message')\n    return 'hi'\n"
    )
    here = str(Path.cwd())
    env = {"PATH": "/usr/bin:/bin", "HERE": str(tmp_path), "PYTHONPATH": here}
    entry["env"] = {"PYTHONPATH": "${PYTHONPATH}"}
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"mine": entry}}))
    done = run("call", "mine", "hi", "--config", str(tmp_path / "servers.json"), env=env)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.OK, "hi\n", "not a message\n")


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["greet", "name=5"], Exit.OK, "Hello, 5!\n", ""),
        (["greet", "--args", '{"name": "Ada"}'], Exit.OK, "Hello, Ada!\n", ""),
        (["greet"], Exit.FAILED, "", "$.params.arguments"),
        (["greet", "name=Ada", "--task", *SESSION], Exit.FAILED, "", "cannot be run as a task"),
        (["greet", "name=Ada", "--task"], Exit.OK, "Hello, Ada!\n", ""),
        (["confirm_delete", "filename=x", *SESSION, "--yes"], Exit.OK, "deleted x\n", "accept confirm=True"),
        (["failing_job"], Exit.FAILED, "", "the job failed"),
        (["protocol_error_job"], Exit.FAILED, "", "The job is out of order (-32000)"),
        (["protocol_error_job", "--task"], Exit.FAILED, "", "The job is out of order (-32000)"),
        (["progress_job", "steps=2"], Exit.OK, "took 2 steps\n", "2/2"),
        (["progress_job", "steps=2", "--ttl", "60", *SESSION], Exit.OK, "took 2 steps\n", "completed"),
        (["confirm_delete", "filename=x"], Exit.OK, "kept x\n", "decline"),
        (["confirm_delete", "filename=x", "--yes"], Exit.OK, "deleted x\n", "accept confirm=True"),
        (["confirm_delete", "filename=x", "-y", "--task"], Exit.OK, "deleted x\n", "completed"),
        (["drive_elicitation", "message=x", *SESSION], Exit.OK, "no answer: decline\n", "asks: x"),
        (["drive_sampling", "prompt=x", *SESSION], Exit.FAILED, "", "There is nobody to answer"),
        (["slow_compute", "seconds=60", "--timeout", "1"], Exit.TIMEOUT, "", "longer than 1 seconds"),
        (["slow_compute", "seconds=60", "--timeout", "1", "--task"], Exit.TIMEOUT, "", "longer than 1 seconds"),
        (["nothing"], Exit.USAGE, "", "no tool 'nothing'"),
        (["greet", "Ada"], Exit.USAGE, "", "not of the form name=value"),
        (["greet", "--args", "["], Exit.USAGE, "", "--args is no JSON"),
        (["greet", "--what"], Exit.USAGE, "", "--what"),
    ],
)
def test_call(arguments: list[str], code: Exit, out: str, err: str) -> None:
    done = run("call", EVERYTHING, *arguments)
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    assert err in done.stderr
    assert "Traceback" not in done.stderr


def test_call_json() -> None:
    done = run("call", EVERYTHING, "confirm_delete", "filename=x", "--task", "--yes", "--json")
    events = json_lines(done.stdout)
    assert [event["event"] for event in events if event["event"] != "status"] == ["question", "answer", "result"]
    assert events[-1]["result"]["content"] == [{"type": "text", "text": "deleted x"}]
    assert [event["status"] for event in events if event["event"] == "status"][-1] == "completed"
    failed = json_lines(run("call", EVERYTHING, "protocol_error_job", "--json").stdout)
    assert failed[-1]["event"] == "error"
    assert (failed[-1]["code"], failed[-1]["exit"]) == (-32000, Exit.FAILED)


@pytest.mark.parametrize(
    ("server", "err"),
    [
        ("no-such-program-anywhere", "cannot start"),
        (f"{COMMAND[0]} -c 'import sys; sys.exit(3)'", "exited with status 3"),
    ],
)
def test_no_server(server: str, err: str) -> None:
    done = run("tools", server)
    assert done.returncode == Exit.SERVER
    assert err in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tasks(tmp_path: Path) -> None:
    assert run("tasks", "list", EVERYTHING).stdout == ""
    for command in ("get", "result", "cancel", "resume"):
        done = run("tasks", command, EVERYTHING, "nonesuch")
        assert done.returncode == Exit.FAILED, done.stderr
        assert "Task not found" in done.stderr
    assert run("tasks", "resume", EVERYTHING).returncode == Exit.USAGE
    saved = tmp_path / "saved"
    saved.write_text("{}")
    assert run("tasks", "resume", "--file", str(saved)).returncode == Exit.USAGE
    saved.write_text(json.dumps({"peer": "other 1", "revision": "2025-11-25", "id": "x", "method": "tools/call"}))
    done = run("tasks", "resume", EVERYTHING, "--file", str(saved))
    assert done.returncode == Exit.USAGE
    assert "the task is one of 'other 1'" in done.stderr


def test_interrupted() -> None:
    with subprocess.Popen(
        [*COMMAND, "call", EVERYTHING, "slow_compute", "seconds=60", "--task", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "working"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == Exit.INTERRUPTED


def test_help_has_the_exit_codes() -> None:
    done = run("--help")
    assert done.returncode == Exit.OK
    assert "Exit codes" in done.stdout
    assert run("nonsense").returncode == Exit.USAGE


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("conformance", "not of the form module:attribute"),
        ("no.such:peer", "there is no module 'no'"),
        ("conformance.nothing:peer", "there is no module 'conformance.nothing'"),
        ("conformance:peer", "no attribute 'peer'"),
        ("json:dumps", "is no Peer"),
    ],
)
def test_serve_what_is_not_there(target: str, said: str) -> None:
    done = run("serve", target, "--stdio")
    assert done.returncode == Exit.USAGE
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_serve_a_broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_peer.py").write_text("import no_such_thing_at_all")
    (tmp_path / "failing_peer.py").write_text("1/0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(Trouble, match="'no_such_thing_at_all', which 'broken_peer' imports"):
        load_peer("broken_peer:peer")
    with pytest.raises(Trouble, match="cannot import 'failing_peer': ZeroDivisionError"):
        load_peer("failing_peer:peer")


def test_serve_starts_without_the_extra() -> None:
    program = (
        "import sys, runpy; sys.modules['cyclopts'] = sys.modules['rich'] = None;"
        "sys.argv = ['mcp-tasks', *sys.argv[1:]]; runpy.run_module('mcp_tasks', run_name='__main__')"
    )
    command = [sys.executable, "-c", program]
    served = subprocess.run(
        [*command, "serve", "conformance.fixtures.everything:peer", "--stdio"],
        input=b"", capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (served.returncode, served.stderr) == (Exit.OK, b"")
    other = subprocess.run([*command, "tools", "x"], capture_output=True, timeout=SECONDS, check=False)
    assert other.returncode == 1
    assert b"pip install 'mcp-tasks[cli]'" in other.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(number: signal.Signals) -> None:
    opening = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
    }  # fmt: skip
    with subprocess.Popen(
        [*COMMAND, "serve", "conformance.fixtures.everything:peer", "--stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(opening).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number


def test_arguments() -> None:
    tool = Tool(name="t", input_schema={"properties": {"name": {"type": "string"}, "n": {"type": "integer"}}})
    words = ["name=5", "n=5", "other=[1]", "plain=a=b"]
    assert parse_arguments(words, '{"n": 1, "m": 2}', tool) == {
        "name": "5",
        "n": 5,
        "m": 2,
        "other": [1],
        "plain": "a=b",
    }
    assert parse_arguments(["name=5"], None, None) == {"name": 5}
    with pytest.raises(Trouble):
        parse_arguments([], "[]", tool)
