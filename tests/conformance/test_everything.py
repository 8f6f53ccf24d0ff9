"""The fixture server, in memory: every tool plain and as a task, and what else it offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from conformance.fixtures.everything import PIXEL, peer
from mcp_tasks import (
    V2025_11_25,
    V2026_07_28,
    Connection,
    Context,
    MethodNotFound,
    Peer,
    RequestFailed,
    memory_transport_pair,
)
from mcp_tasks.cli.calls import render
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams, ElicitResult
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.server_features import PromptReference, ResourceTemplateReference

ANSWERS = {"confirm": True, "name": "Ada", "age": 36, "answer": "forty-two"}


class Host:
    """A client that answers everything, and remembers whether it did so in tasks of its own."""

    def __init__(self) -> None:
        self.peer = Peer("host", "1")
        self.peer.elicitation(task="optional")(self.elicit)
        self.peer.sampling(task="optional")(self.sample)
        self.declines = False
        self.hosted: list[bool] = []

    async def elicit(self, ctx: Context, params: ElicitFormParams) -> Any:
        self.hosted.append(ctx.task_id is not None)
        if self.declines:
            return ElicitResult(action="decline")
        return {name: ANSWERS[name] for name in params.requested_schema["properties"]}

    async def sample(self, ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        self.hosted.append(ctx.task_id is not None)
        return CreateMessageResult(role="assistant", content=TextContent(text="a reply"), model="m")


@asynccontextmanager
async def connected(host: Host, revision: str = V2025_11_25.revision) -> AsyncIterator[Connection]:
    ours, theirs = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, theirs)
        async with host.peer.connect(ours, revision=revision) as connection:
            yield connection


CALLS = [
    ("slow_compute", {"seconds": 2.5}, "done after 2.5"),
    ("confirm_delete", {"filename": "notes"}, "deleted notes"),
    ("multi_input", {}, "Ada is 36"),
    ("sample_job", {"prompt": "hello"}, "a reply"),
    ("progress_job", {"steps": 3}, "took 3 steps"),
]


@pytest.mark.parametrize("task", [False, True])
@pytest.mark.parametrize(("tool", "arguments", "text"), CALLS)
async def test_a_tool_that_may_be_a_task(
    autojump_clock: object, tool: str, arguments: dict[str, Any], text: str, task: bool
) -> None:
    host = Host()
    async with connected(host) as connection:
        assert render(await connection.call_tool(tool, arguments, task=task)) == text
    assert not any(host.hosted)  # a question within a task is still a plain request


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("greet", {"name": "Ada"}, "Hello, Ada!"),
        ("drive_sampling", {"prompt": "hello"}, "a reply"),
        ("drive_elicitation", {"message": "What is it?"}, "forty-two"),
    ],
)
async def test_a_tool_that_is_no_task(autojump_clock: object, tool: str, arguments: dict[str, Any], text: str) -> None:
    host = Host()
    async with connected(host) as connection:
        assert render(await connection.call_tool(tool, arguments)) == text
        with pytest.raises(RequestFailed) as refused:
            async with connection.start("tools/call", {"name": tool, "arguments": arguments}):
                pass
    assert refused.value.code == -32601
    assert all(host.hosted)  # as tasks of the client's


@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
@pytest.mark.parametrize(("tool", "arguments", "text"), CALLS)
async def test_a_tool_without_a_session(
    autojump_clock: object, tool: str, arguments: dict[str, Any], text: str
) -> None:
    host = Host()
    async with connected(host, V2026_07_28.revision) as connection:
        assert render(await connection.call_tool(tool, arguments)) == text
    assert not any(host.hosted)


async def test_a_tool_that_wants_a_session(autojump_clock: object) -> None:
    async with connected(Host(), V2026_07_28.revision) as connection:
        for tool, argument in (("drive_sampling", "prompt"), ("drive_elicitation", "message")):
            result = await connection.call_tool(tool, {argument: "?"})
            assert (result.is_error, result.text) == (True, "clients run tasks in a session only")


async def test_a_tool_that_has_to_be_a_task(autojump_clock: object) -> None:
    async with connected(Host()) as connection:
        result = await connection.call_tool("failing_job")
        assert result.is_error
        assert render(result) == "the job failed, as it always does"
        with pytest.raises(RequestFailed) as refused:
            await connection.call("tools/call", {"name": "failing_job"})
    assert refused.value.code == -32601


@pytest.mark.parametrize("task", [False, True])
async def test_a_json_rpc_error(autojump_clock: object, task: bool) -> None:
    async with connected(Host()) as connection:
        with pytest.raises(RequestFailed) as failed:
            await connection.call_tool("protocol_error_job", task=task)
    assert (failed.value.code, failed.value.data) == (-32000, {"job": "protocol_error_job"})


@pytest.mark.parametrize("task", [False, True])
async def test_a_user_who_declines(autojump_clock: object, task: bool) -> None:
    host = Host()
    host.declines = True
    async with connected(host) as connection:
        assert render(await connection.call_tool("confirm_delete", {"filename": "x"}, task=task)) == "kept x"
        assert render(await connection.call_tool("multi_input", task=task)) == "no answer"
        assert render(await connection.call_tool("drive_elicitation", {"message": "?"})) == "no answer: decline"


@pytest.mark.parametrize("task", [False, True])
async def test_the_first_failed_question_fails_the_tool(autojump_clock: object, task: bool) -> None:
    host = Host()

    @host.peer.handle("elicitation/create")
    async def refuse(ctx: Context, params: object) -> None:
        raise MethodNotFound("Not now")

    async with connected(host) as connection:
        with pytest.raises(RequestFailed, match="Not now"):
            await connection.call_tool("multi_input", task=task)


@pytest.mark.parametrize("task", [False, True])
async def test_progress(autojump_clock: object, task: bool) -> None:
    seen: list[tuple[float, float | None, str | None]] = []
    async with connected(Host()) as connection:
        await connection.call_tool(
            "progress_job",
            {"steps": 3, "seconds_per_step": 0.5},
            task=task,
            on_progress=lambda said: seen.append((said.progress, said.total, said.message)),
        )
    assert seen == [(1, 3, "step 1 of 3"), (2, 3, "step 2 of 3"), (3, 3, "step 3 of 3")]


async def test_status_messages(autojump_clock: object) -> None:
    async with connected(Host()) as connection:
        params = {"name": "progress_job", "arguments": {"steps": 2, "seconds_per_step": 1}}
        async with connection.start("tools/call", params) as handle:
            messages = [task.status_message async for task in handle.updates() if task.status_message]
    assert list(dict.fromkeys(messages)) == ["step 1 of 2", "step 2 of 2"]


async def test_everything_else(autojump_clock: object) -> None:
    async with connected(Host()) as connection:
        uris = [resource.uri async for resource in connection.list_resources()]
        assert [uri for uri in uris if uri.startswith("everything:")] == ["everything://text", "everything://blob"]
        text = (await connection.read_resource("everything://text")).contents[0]
        blob = (await connection.read_resource("everything://blob")).contents[0]
        greeting = (await connection.read_resource("everything://greetings/Ada")).contents[0]
        assert text.text.startswith("All happy")  # type: ignore[union-attr]
        assert blob.to_bytes() == PIXEL  # type: ignore[union-attr]
        assert greeting.text == "hello Ada"  # type: ignore[union-attr]
        template = ResourceTemplateReference("everything://greetings/{name}")
        assert (await connection.complete(template, "name", "a")).values == ["Ada", "Alan"]
        assert [prompt.name async for prompt in connection.list_prompts()][:2] == ["simple", "introduce"]
        introduced = await connection.get_prompt("introduce", {"name": "Ada", "language": "french"})
        assert introduced.messages[0].content.text == "Bonjour Ada!"  # type: ignore[union-attr]
        assert (await connection.complete(PromptReference("introduce"), "language", "e")).values == [
            "english",
            "esperanto",
        ]
        assert (await connection.complete(PromptReference("introduce"), "name", "e")).values == []
