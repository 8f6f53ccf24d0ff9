"""A client on PyPI mcp 1.30.0 (experimental tasks) drives our server, and hosts the tasks that our server asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio

Json: TypeAlias = "dict[str, Any]"
Play: TypeAlias = "Callable[[str], Awaitable[Json]]"

ROOT = Path(__file__).parents[2]
RELATED = "io.modelcontextprotocol/related-task"
STATUS = "notifications/tasks/status"
SERVER = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.everything:peer", "--stdio"]
SECONDS = 60.0

# Runs the server and keeps its exit status: the client, which launches it, does not tell.
KEEP_STATUS = ["/bin/sh", "-c", '"$@"; echo $? > "$0"']


@pytest.fixture
def play(peers: ModuleType, tmp_path: Path) -> Play:
    """Has the client play a scenario against our server; returns its report.

    Both have to end well and by themselves, and neither may have anything to complain about on stderr.
    """

    async def play(scenario: str) -> Json:
        status = tmp_path / "status"
        command = peers.python_client_command(scenario, [*KEEP_STATUS, str(status), *SERVER], timeout=SECONDS / 2)
        with trio.fail_after(SECONDS):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, stdin=subprocess.DEVNULL, check=False, cwd=ROOT
            )
        assert done.stderr.decode() == ""
        assert done.returncode == 0
        assert status.read_text() == "0\n"
        report: Json = json.loads(done.stdout)
        return report

    return play


def text_of(outcome: Json) -> str:
    (block,) = outcome["result"]["content"]
    return str(block["text"])


def check_created(report: Json) -> str:
    """Check the answer to a request for a task; returns the id."""
    task = report["created"]["task"]
    assert task["status"] == "working"
    assert task["ttl"] == 60000
    assert task["pollInterval"] > 0
    assert report["created"]["_meta"][RELATED] == {"taskId": task["taskId"]}
    return str(task["taskId"])


def pushed(report: Json) -> list[str]:
    """The statuses that our server told of by itself, each once in a row."""
    statuses: list[str] = []
    for said in report["notifications"]:
        if said["method"] == STATUS and statuses[-1:] != [said["params"]["status"]]:
            statuses.append(said["params"]["status"])
    return statuses


def check_ended(report: Json, status: str) -> None:
    """Check that a task ended as it should, and that its result names it."""
    id = check_created(report)
    assert report["task"]["taskId"] == id
    assert report["task"]["status"] == status
    assert report["statuses"][-1] == status
    assert pushed(report)[-1] == status
    if "result" in report["outcome"]:
        assert report["outcome"]["result"]["_meta"][RELATED] == {"taskId": id}


# --- (a) it drives our server -----------------------------------------------------------------------------------------


async def test_the_handshake_and_a_plain_call(play: Play) -> None:
    report = await play("plain")
    answer = report["initialize"]
    assert answer["protocolVersion"] == "2025-11-25"
    assert answer["serverInfo"]["name"] == "everything"
    assert answer["capabilities"]["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    assert report["tools"] == {
        "greet": None,
        "slow_compute": "optional",
        "failing_job": "required",
        "protocol_error_job": "optional",
        "confirm_delete": "optional",
        "multi_input": "optional",
        "sample_job": "optional",
        "progress_job": "optional",
        "drive_sampling": None,
        "drive_elicitation": None,
    }
    assert text_of(report["greet"]) == "hello Ada"


async def test_create_get_result_and_list(play: Play) -> None:
    report = await play("lifecycle")
    check_ended(report, "completed")
    assert report["statuses"] == ["working", "working", "completed"]
    assert text_of(report["outcome"]) == "done after 0.05"
    assert report["listed"]["result"]["tasks"] == [report["task"]]
    assert pushed(report) == ["completed"]


async def test_cancel(play: Play) -> None:
    report = await play("cancel")
    id = check_created(report)
    assert report["cancel"]["result"]["taskId"] == id
    assert report["cancel"]["result"]["status"] == "cancelled"
    assert report["get"]["result"]["status"] == "cancelled"
    assert report["cancel_again"]["error"]["code"] == -32602
    assert report["outcome"]["error"]["code"] == -32603
    assert pushed(report) == ["cancelled"]


async def test_a_question_midway(play: Play) -> None:
    report = await play("question")
    check_ended(report, "completed")
    assert text_of(report["outcome"]) == "deleted a.txt"
    assert pushed(report) == ["input_required", "working", "completed"]
    (asked,) = report["requests"]
    assert asked["method"] == "elicitation/create"
    assert asked["relatedTask"] == {"taskId": report["task"]["taskId"]}


async def test_two_questions_midway(play: Play) -> None:
    report = await play("multi")
    check_ended(report, "completed")
    assert text_of(report["outcome"]) == "Ada is 36"
    assert pushed(report) == ["input_required", "working", "completed"]
    assert [asked["relatedTask"]["taskId"] for asked in report["requests"]] == 2 * [report["task"]["taskId"]]


async def test_sampling_midway(play: Play) -> None:
    report = await play("sampling")
    check_ended(report, "completed")
    assert text_of(report["outcome"]) == "sampled: hi"
    assert pushed(report) == ["input_required", "working", "completed"]
    (asked,) = report["requests"]
    assert asked["method"] == "sampling/createMessage"
    assert asked["relatedTask"] == {"taskId": report["task"]["taskId"]}


async def test_a_result_with_is_error(play: Play) -> None:
    report = await play("is-error")
    check_ended(report, "failed")
    assert report["outcome"]["result"]["isError"] is True
    assert text_of(report["outcome"]) == report["task"]["statusMessage"]


async def test_a_protocol_error(play: Play) -> None:
    report = await play("protocol-error")
    check_ended(report, "failed")
    expected = {"code": -32000, "message": "The job is out of order", "data": {"job": "protocol_error_job"}}
    assert report["outcome"] == {"error": expected}


async def test_progress_of_a_call_and_of_a_task(play: Play) -> None:
    report = await play("progress")
    check_ended(report, "completed")
    assert report["plain_progress"] == [1, 2, 3]
    assert text_of(report["plain"]) == text_of(report["outcome"]) == "took 3 steps"
    told = [said["params"] for said in report["notifications"] if said["method"] == "notifications/progress"]
    of_the_task = [said for said in told if said["progressToken"] == "of-the-task"]
    assert [said["progress"] for said in of_the_task] == [1, 2, 3]
    assert all(said["_meta"][RELATED] == {"taskId": report["task"]["taskId"]} for said in of_the_task)


async def test_an_unknown_task(play: Play) -> None:
    report = await play("unknown-task")
    assert [report[operation]["error"]["code"] for operation in ("get", "result", "cancel")] == 3 * [-32602]


# --- (d) it hosts tasks, and our server drives those ------------------------------------------------------------------


async def test_our_server_drives_a_sampling_task_of_the_client(play: Play) -> None:
    report = await play("receive-sampling-task")
    assert text_of(report["outcome"]) == "sampled: hi"
    created, *followed = report["requests"]
    assert created["method"] == "sampling/createMessage"
    assert "task" in created["params"]
    assert "tasks/result" in {request["method"] for request in followed}


async def test_our_server_drives_an_elicitation_task_of_the_client(play: Play) -> None:
    report = await play("receive-elicitation-task")
    assert text_of(report["outcome"]) == "of course"
    created, *followed = report["requests"]
    assert created["method"] == "elicitation/create"
    assert created["params"]["mode"] == "form"
    assert "task" in created["params"]
    assert "tasks/result" in {request["method"] for request in followed}
