"""Clients on the official SDKs, and on fastmcp, speak revision 2026-07-28 to our server, over stdio and over HTTP.

They are on PyPI mcp 2.3.0, npm @modelcontextprotocol/client 2.4.0 and PyPI fastmcp 4.1.4, the only one with tasks. Each
scenario asserts for itself what it wants; here is what can be seen from outside besides. What they do and want is in
tests/peers/README.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio

from ._programs import MODERN, ROOT, our_modern_http_server

Json: TypeAlias = "dict[str, Any]"
Play: TypeAlias = "Callable[..., Awaitable[Json]]"

SECONDS = 25.0
REVISION = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"

# Runs the server and keeps how it ended. The npm client launches it twice: once only to ask what it speaks.
KEEP_STATUS = ["/bin/sh", "-c", '"$@"; echo $? >> "$0"']

# What the npm client says, on stdio, of progress that comes in one chunk with the answer; it is lost.
TOO_LATE = "Received a progress notification for an unknown token"

PLAIN = ["discover", "tools", "ask", "ask_twice", "decline", "sample", "progress", "header", "features", "errors"]
CLIENTS = ["python-stdio", "npm-stdio", "fastmcp-stdio", "python-http", "npm-http", "fastmcp-http"]
LISTENERS = [name for name in CLIENTS if not name.startswith("fastmcp")]
DRIVERS = ["fastmcp-stdio", "fastmcp-http"]


def player(name: str, peers: ModuleType, scratch: Path) -> Play:
    """What has a client play a scenario against our server, and returns its report.

    Both have to end well and by themselves, and neither may have anything to complain about on stderr.
    """
    sdk, _, transport = name.partition("-")
    command_for = getattr(peers, f"modern_{sdk}_client_command")

    async def run(command: list[str]) -> Json:
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, stdin=subprocess.DEVNULL, check=False, cwd=ROOT
        )
        assert done.stderr.decode() == ""
        assert done.returncode == 0
        report: Json = json.loads(done.stdout)
        return report

    async def over_stdio(scenario: str, *options: str) -> Json:
        status = scratch / "status"
        report = await run(command_for(scenario, [*KEEP_STATUS, str(status), *MODERN, "--stdio"], *options))
        assert set(status.read_text().split()) == {"0"}
        return report

    async def over_http(scenario: str, *options: str) -> Json:
        async with our_modern_http_server() as url:
            return await run(command_for(scenario, url, *options))

    async def play(scenario: str, *options: str) -> Json:
        with trio.fail_after(SECONDS):
            by = over_stdio if transport == "stdio" else over_http
            report = await by(scenario, f"--timeout={SECONDS * 0.6}", *options)
        assert report["version"] == REVISION
        assert [said for said in report.get("complaints", []) if not said.startswith(TOO_LATE)] == []
        return report

    return play


@pytest.fixture
def play(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """The client that the test is parametrized with."""
    return player(request.param, peers, tmp_path)


def exchanges(report: Json, method: str) -> list[Json]:
    """What was exchanged over HTTP for a method; nothing over stdio."""
    return [exchange for exchange in report["http"] if exchange["rpc"] == method]


# --- scenarios --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", PLAIN)
@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_a_plain_scenario(play: Play, scenario: str) -> None:
    await play(scenario)


@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_a_call_is_withdrawn(play: Play) -> None:
    """On stdio by a notification, over HTTP by closing the stream of its answer."""
    report = await play("cancel")
    assert report["withdrawn"] is True
    assert exchanges(report, "notifications/cancelled") == []


@pytest.mark.parametrize("play", LISTENERS, indirect=True)
async def test_changes_are_listened_to(play: Play) -> None:
    report = await play("listen")
    assert report["honored"] == {"toolsListChanged": True, "resourceSubscriptions": ["peer://greeting"]}
    for exchange in exchanges(report, "subscriptions/listen"):
        assert (exchange["status"], exchange["type"]) == (200, "text/event-stream")
    # The npm client closes the stream and says so as well, under no Mcp-Method header.
    assert all(exchange["status"] == 202 for exchange in exchanges(report, "notifications/cancelled"))


@pytest.mark.parametrize("scenario", ["task", "task_ask", "task_decline", "task_cancel", "task_fail", "task_error"])
@pytest.mark.parametrize("play", DRIVERS, indirect=True)
async def test_a_task_is_driven(play: Play, scenario: str) -> None:
    """Over HTTP this client leaves out ``Mcp-Name`` where the tasks extension demands it."""
    report = await play(scenario)
    assert all(exchange["status"] == 200 for exchange in report["http"])


@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_a_client_that_does_not_ask_first(play: Play) -> None:
    report = await play("ask", f"--mode={REVISION}")
    # The npm client asks all the same; it only no longer falls back.
    assert len(exchanges(report, "server/discover")) <= 1


# --- what is seen from outside ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_what_our_server_says_of_itself(play: Play) -> None:
    report = await play("discover")
    assert REVISION in report["discover"]["supportedVersions"]
    assert report["discover"]["capabilities"]["extensions"] == {TASKS: {}}
    assert report["serverInfo"] == {"name": "mcp-tasks-modern", "version": "1"}


@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_two_questions_in_a_row(play: Play) -> None:
    report = await play("ask_twice")
    assert [request["method"] for request in report["requests"]] == 2 * ["elicitation/create"]
    if report["http"]:
        calls = exchanges(report, "tools/call")
        assert len({call["id"] for call in calls}) == len(calls) == 3
        assert [sorted(call["mrtr"].get("inputResponses", {})) for call in calls[:2]] == [[], ["name"]]
        assert all("requestState" in call["mrtr"] for call in calls[1:])


@pytest.mark.parametrize("play", CLIENTS, indirect=True)
async def test_progress_comes_on_the_stream_of_the_answer(play: Play) -> None:
    report = await play("progress")
    told = report["progress"]
    assert told == [[step, 3, f"step {step}"] for step in (1, 2, 3)][: len(told)]
    for exchange in exchanges(report, "tools/call"):
        assert exchange["type"] == "text/event-stream"


@pytest.mark.parametrize("play", [name for name in CLIENTS if name.endswith("http")], indirect=True)
async def test_an_argument_in_a_header(play: Play) -> None:
    """Who does not know the tool yet is refused, and calls again once it has listed the tools."""
    report = await play("header")
    calls = exchanges(report, "tools/call")
    sent = [call["headers"].get("mcp-param-region") for call in calls if call["status"] == 200]
    assert sent[-3:] == ["=?base64?WsO8cmljaA==?=", "=?base64?IHBhZGRlZCA=?=", "=?base64?PT9iYXNlNjQ/WlhVPT89?="]
    assert all(call["status"] == 400 for call in calls if "mcp-param-region" not in call["headers"])


@pytest.mark.parametrize("play", [name for name in CLIENTS if name.endswith("http")], indirect=True)
async def test_what_is_refused_over_http(play: Play) -> None:
    report = await play("errors")
    assert report["resource"]["error"]["code"] == -32602
    # The npm client reads errors from answers with 200 and 400, and from no others.
    assert {exchange["status"] for exchange in report["http"]} <= {200, 400}
    assert not any("mcp-session-id" in exchange["headers"] for exchange in report["http"])
    assert all(exchange["method"] == "POST" for exchange in report["http"])
