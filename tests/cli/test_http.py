"""The commands over HTTP: the same server, found under a URL, where tasks outlive the command that made them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_tasks.cli.exits import Exit

from ._run import COMMAND, SECONDS, Keyboard, json_lines, run

CTRL_C = "\x03"
CHOICE = "(w)ait on? "
SERVE = [*COMMAND, "serve", "conformance.fixtures.everything:peer", "--http"]


@pytest.fixture
def url() -> Iterator[str]:
    with subprocess.Popen([*SERVE, "127.0.0.1:0"], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        yield server.stderr.readline().split()[-1]
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 128 + signal.SIGTERM
        assert server.stderr.read() == ""


def test_tools(url: str) -> None:
    done = run("tools", url)
    assert done.returncode == Exit.OK, done.stderr
    assert "greet" in done.stdout


def test_call(url: str) -> None:
    done = run("call", url, "greet", "name=Ada")
    assert (done.returncode, done.stdout, done.stderr) == (Exit.OK, "Hello, Ada!\n", "")


def test_a_server_from_a_file(url: str, tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {"url": url, "headers": {"X-From": "a test"}}}}))
    done = run("call", "far", "greet", "name=Ada", "--config", str(config))
    assert (done.returncode, done.stdout) == (Exit.OK, "Hello, Ada!\n")


def test_a_task_with_a_question(url: str) -> None:
    done = run("call", url, "confirm_delete", "filename=x", "--task", "--yes", "--json")
    assert done.returncode == Exit.OK, done.stderr
    statuses = [event["status"] for event in json_lines(done.stdout) if event["event"] == "status"]
    assert statuses[0] == "working"
    assert statuses[-1] == "completed"


def test_a_task_outlives_the_command(url: str, tmp_path: Path) -> None:
    """Detached from one process, resumed by another; over stdio the task would have ended with the first."""
    saved = tmp_path / "task.json"
    keyboard = Keyboard(["call", url, "confirm_delete", "filename=bell", "--task", "--save", str(saved)])
    keyboard.expect("confirm (yes or no): ")
    keyboard.type(CTRL_C)
    keyboard.expect(CHOICE)
    keyboard.type("d\n")
    assert keyboard.finish() == Exit.DETACHED
    id = json.loads(saved.read_text())["id"]
    shown = run("tasks", "get", url, id, "--json")
    assert json_lines(shown.stdout)[-1]["status"] == "input_required"
    resumed = run("tasks", "resume", url, "--file", str(saved), "--yes")
    assert resumed.returncode == Exit.OK, resumed.stderr
    assert "deleted bell" in resumed.stdout


def test_nobody_is_there() -> None:
    done = run("tools", "http://127.0.0.1:1/mcp")
    assert done.returncode == Exit.SERVER
    assert "127.0.0.1:1 cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x", "127.0.0.1:70000", ":"])
def test_wrong_addresses(address: str) -> None:
    done = run(*SERVE[3:], address)
    assert done.returncode == Exit.USAGE
    assert "HOST:PORT" in done.stderr


def test_an_address_in_use(url: str) -> None:
    done = run(*SERVE[3:], url.split("/")[2])
    assert done.returncode == Exit.SERVER
    assert "in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1
