"""Clients on the official SDKs drive our server, and host the tasks that it asks for, over stdio and over HTTP.

They are on PyPI mcp 1.30.0 and npm @modelcontextprotocol/sdk 1.32.2: the same tests for both. PyPI mcp 2.3.0, which has
no tasks for our revision, takes part in what concerns none.
"""

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

from ._programs import COMMAND_LINE, ROOT, WITH_TOKENS, our_http_server

Json: TypeAlias = "dict[str, Any]"
Play: TypeAlias = "Callable[..., Awaitable[Json]]"

RELATED = "io.modelcontextprotocol/related-task"
STATUS = "notifications/tasks/status"
SERVER = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.everything:peer", "--stdio"]
SECONDS = 60.0

# Runs the server and keeps its exit status: the client, which launches it, does not tell.
KEEP_STATUS = ["/bin/sh", "-c", '"$@"; echo $? > "$0"']

TOOLS = {
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


def player(name: str, peers: ModuleType, scratch: Path) -> Play:
    """What has a client play a scenario against our server, and returns its report.

    Names are like "npm-http"; "npm-token" is HTTP, too, with a server that knows its clients by their tokens. Both have
    to end well and by themselves, and neither may have anything to complain about on stderr.
    """
    sdk, _, transport = name.partition("-")
    command_for = getattr(peers, f"{sdk}_client_command")

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
        report = await run(command_for(scenario, [*KEEP_STATUS, str(status), *SERVER], *options))
        assert status.read_text() == "0\n"
        return report

    async def over_http(scenario: str, *options: str) -> Json:
        known, program = ([], COMMAND_LINE) if transport == "http" else (["--token=token-of-ada"], WITH_TOKENS)
        async with our_http_server(program) as url:
            report = await run(command_for(scenario, url, *known, *options))
        check_session(report)
        return report

    async def play(scenario: str, *options: str) -> Json:
        with trio.fail_after(SECONDS):
            by = over_stdio if transport == "stdio" else over_http
            return await by(scenario, f"--timeout={SECONDS / 2}", *options)

    return play


@pytest.fixture(params=["python-stdio", "npm-stdio", "python-http", "npm-http"])
def play(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """The clients that know tasks. They wait until the end of their task was pushed, which may be behind its result."""
    play = player(request.param, peers, tmp_path)
    return lambda scenario, *options: play(scenario, "--await-push", *options)


@pytest.fixture(
    params=["python-stdio", "npm-stdio", "python23-stdio", "python-http", "npm-http", "python23-http"],
)
def play_plain(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """All clients, for what has nothing to do with tasks."""
    return player(request.param, peers, tmp_path)


@pytest.fixture(params=["python-stdio", "npm-stdio", "python-token", "npm-token"])
def play_listing(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """The clients that know tasks, where our server knows them."""
    return player(request.param, peers, tmp_path)


@pytest.fixture(params=["python-token", "npm-token", "python23-token"])
def play_known(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """All clients, with tokens, and tools that only the server for those has."""
    return player(request.param, peers, tmp_path)


def check_session(report: Json) -> None:
    """Check what a client did over HTTP: it opened a session, and at last deleted it, which then was gone."""
    exchanges = report["http"]
    assert (exchanges[0]["method"], exchanges[0]["status"]) == ("POST", 200)
    assert {exchange["status"] for exchange in exchanges} == {200, 202, exchanges[-1]["status"]}
    assert exchanges[-1]["method"] == "DELETE"
    assert exchanges[-1]["status"] in (200, 204)
    assert report["afterwards"] == 404


def text_of(outcome: Json) -> str:
    (block,) = outcome["result"]["content"]
    return str(block["text"])


def check_progress(report: Json) -> None:
    """Check the progress of a plain call of three steps.

    On npm 1.32.2 the caller does not learn of what comes in one chunk with the answer.
    """
    told = [said["params"] for said in report["notifications"] if said["method"] == "notifications/progress"]
    assert [said["progress"] for said in told if said["progressToken"] != "of-the-task"] == [1, 2, 3]
    assert report["plain_progress"] == [1, 2, 3][: len(report["plain_progress"])]


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


# --- without tasks ----------------------------------------------------------------------------------------------------


async def test_the_handshake_and_a_plain_call(play_plain: Play) -> None:
    report = await play_plain("plain")
    answer = report["initialize"]
    assert answer["protocolVersion"] == "2025-11-25"
    assert answer["serverInfo"]["name"] == "everything"
    # Over HTTP it does not know whose tasks to list, unless there are tokens.
    listing = {} if "http" in report else {"list": {}}
    assert answer["capabilities"]["tasks"] == {**listing, "cancel": {}, "requests": {"tools": {"call": {}}}}
    assert {name: report["tools"][name] for name in TOOLS} == TOOLS
    assert text_of(report["greet"]) == "Hello, Ada!"


async def test_resources_prompts_completion_and_logging(play_plain: Play) -> None:
    report = await play_plain("features")
    assert report["level"] == {"result": {}}
    assert report["resources"][:2] == ["everything://text", "everything://blob"]
    text, blob, missing = report["read"]
    assert text["result"]["contents"][0]["text"] == "All happy families are alike."
    assert blob["result"]["contents"][0]["mimeType"] == "image/gif"
    assert missing["error"]["code"] == -32002
    assert "everything://greetings/{name}" in report["templates"]
    assert {"simple", "introduce"} <= set(report["prompts"])
    said, _ = report["prompt"]["result"]["messages"]
    assert said["content"]["text"] == "Bonjour Ada!"
    assert report["completion"]["result"]["completion"]["values"] == ["english", "esperanto"]
    assert text_of(report["logged"]) == "took 2 steps"
    logged = [said["params"]["data"] for said in report["notifications"] if said["method"] == "notifications/message"]
    assert logged == ["step 1 of 2", "step 2 of 2"]


async def test_plain_calls_that_ask(play_plain: Play) -> None:
    report = await play_plain("plain-questions")
    assert text_of(report["confirm"]) == "deleted a.txt"
    assert text_of(report["multi"]) == "Ada is 36"
    assert text_of(report["sampling"]) == "sampled: hi"
    methods = [asked["method"] for asked in report["requests"]]
    assert methods == [*3 * ["elicitation/create"], "sampling/createMessage"]
    assert not any("relatedTask" in asked for asked in report["requests"])


async def test_plain_calls_that_fail(play_plain: Play) -> None:
    report = await play_plain("plain-errors")
    expected = {"code": -32000, "message": "The job is out of order", "data": {"job": "protocol_error_job"}}
    assert report["error"] == {"error": expected}
    assert report["unknown"]["error"]["code"] == -32602
    assert report["missing"]["result"]["isError"] is True


async def test_progress_of_a_plain_call(play_plain: Play) -> None:
    report = await play_plain("plain-progress")
    assert text_of(report["plain"]) == "took 3 steps"
    check_progress(report)


async def test_a_notification_of_its_own_accord(play_known: Play) -> None:
    """It belongs to no request: over HTTP it comes on the stream that a GET has opened."""
    report = await play_known("announced")
    assert text_of(report["outcome"]) == "announced"
    (listening,) = [exchange for exchange in report["http"] if exchange["method"] == "GET"]
    assert (listening["status"], listening["type"]) == (200, "text/event-stream")


async def test_the_stream_of_a_call_is_dropped(play_known: Play) -> None:
    """The clients come back for what they have missed."""
    report = await play_known("dropped-stream")
    assert text_of(report["plain"]) == "dropped"
    assert report["plain_progress"] == [1, 2, 3]
    assert [exchange["status"] for exchange in report["http"] if "lastEventId" in exchange] == [200]


@pytest.mark.parametrize("name", ["npm-stdio", "python23-stdio", "npm-http", "python23-http"])
async def test_a_call_that_is_withdrawn(name: str, peers: ModuleType, tmp_path: Path) -> None:
    """The client on mcp 1.30.0 cannot withdraw."""
    report = await player(name, peers, tmp_path)("withdrawn")
    assert "result" not in str(report["withdrawn"])
    assert text_of(report["greet"]) == "Hello, Ada!"


# --- they drive our server --------------------------------------------------------------------------------------------


async def test_create_get_and_result(play: Play) -> None:
    report = await play("lifecycle")
    check_ended(report, "completed")
    assert report["statuses"] == ["working", "working", "completed"]
    assert text_of(report["outcome"]) == "done after 0.05"
    assert pushed(report) == ["completed"]
    if "http" in report:
        assert "list" not in report["initialize"]["capabilities"]["tasks"]
        assert report["listed"]["error"]["code"] == -32601


async def test_a_task_that_the_sdk_drives_by_itself(play: Play) -> None:
    report = await play("driven")
    assert text_of(report["outcome"]) in ("done after 0.05", "deleted a.txt")
    assert pushed(report)[-1] == "completed"


async def test_a_task_is_listed(play_listing: Play) -> None:
    report = await play_listing("lifecycle")
    assert report["initialize"]["capabilities"]["tasks"]["list"] == {}
    assert report["listed"]["result"]["tasks"] == [report["task"]]


async def test_tasks_are_listed_over_pages(play_listing: Play) -> None:
    report = await play_listing("pages")
    assert len(report["made"]) == 120
    assert sorted(report["listed"]) == sorted(report["made"])
    assert report["pages"] == 2


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
    check_progress(report)
    assert text_of(report["plain"]) == text_of(report["outcome"]) == "took 3 steps"
    told = [said["params"] for said in report["notifications"] if said["method"] == "notifications/progress"]
    of_the_task = [said for said in told if said["progressToken"] == "of-the-task"]
    assert [said["progress"] for said in of_the_task] == [1, 2, 3]
    assert all(said["_meta"][RELATED] == {"taskId": report["task"]["taskId"]} for said in of_the_task)


async def test_an_unknown_task(play: Play) -> None:
    report = await play("unknown-task")
    assert [report[operation]["error"]["code"] for operation in ("get", "result", "cancel")] == 3 * [-32602]


# --- they host tasks, and our server drives those ---------------------------------------------------------------------


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


# --- over HTTP alone --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["python-http", "npm-http"])
def play_http(request: pytest.FixtureRequest, peers: ModuleType, tmp_path: Path) -> Play:
    """The clients that know tasks, over HTTP."""
    return player(request.param, peers, tmp_path)


async def test_what_is_pushed_comes_on_a_stream_that_a_get_has_opened(play_http: Play) -> None:
    report = await play_http("cancel", "--await-push")
    (listening,) = [exchange for exchange in report["http"] if exchange["method"] == "GET"]
    assert (listening["status"], listening["type"]) == (200, "text/event-stream")
    assert pushed(report) == ["cancelled"]


@pytest.mark.parametrize(
    ("scenario", "said", "asked"),
    [
        ("question", "deleted a.txt", "elicitation/create"),
        ("sampling", "sampled: hi", "sampling/createMessage"),
        ("driven", "", "elicitation/create"),
    ],
)
async def test_a_question_midway_comes_on_the_stream_of_the_result(
    play_http: Play, scenario: str, said: str, asked: str
) -> None:
    """There is no other: this client listens to nothing."""
    report = await play_http(scenario, "--no-get-stream")
    assert not any(exchange["method"] == "GET" for exchange in report["http"])
    assert text_of(report["outcome"]).startswith(said)
    if report["requests"]:
        (request,) = report["requests"]
        assert request["method"] == asked
        assert request["relatedTask"] == {"taskId": report["created"]["task"]["taskId"]}


@pytest.mark.parametrize("scenario", ["plain-questions", "receive-sampling-task", "receive-elicitation-task"])
async def test_what_a_call_asks_comes_on_the_stream_of_its_answer(play_http: Play, scenario: str) -> None:
    """There is no other: this client listens to nothing."""
    report = await play_http(scenario, "--no-get-stream")
    assert not any(exchange["method"] == "GET" for exchange in report["http"])
    if scenario == "plain-questions":
        assert text_of(report["confirm"]) == "deleted a.txt"
    else:
        assert text_of(report["outcome"]) in ("sampled: hi", "of course")
        assert "tasks/result" in {request["method"] for request in report["requests"]}


@pytest.mark.parametrize("sdk", ["python", "npm"])
async def test_nobody_sees_the_tasks_of_others(sdk: str, peers: ModuleType) -> None:
    command_for = getattr(peers, f"{sdk}_client_command")
    seen = []
    with trio.fail_after(SECONDS):
        async with our_http_server(WITH_TOKENS) as url:
            for name in ("ada", "ada", "grace"):
                command = command_for("lifecycle", url, f"--token=token-of-{name}")
                done = await trio.run_process(command, capture_stdout=True)
                report = json.loads(done.stdout)
                seen.append(len(report["listed"]["result"]["tasks"]))
    assert seen == [1, 2, 1]


@pytest.mark.parametrize("sdk", ["python", "python23", "npm"])
async def test_nobody_gets_in_without_a_token(sdk: str, peers: ModuleType) -> None:
    command_for = getattr(peers, f"{sdk}_client_command")
    with trio.fail_after(SECONDS):
        async with our_http_server(WITH_TOKENS) as url:
            done = await trio.run_process(
                command_for("plain", url), capture_stdout=True, capture_stderr=True, check=False
            )
    assert done.returncode != 0
    assert b"401" in done.stderr or b"Server returned an error response" in done.stderr
