"""Our client and npm's server-everything 2026.8.31, over stdio and over HTTP.

That is: its tools as tasks, a question midway, and tasks that it has our client run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio

from mcp_tasks import Connection, Context, Peer, TaskCancelled
from mcp_tasks.wire.client_features import ElicitResult
from mcp_tasks.wire.tasks import TaskStatus

from ._programs import Program

Open: TypeAlias = "Callable[[Peer], AbstractAsyncContextManager[Connection]]"

RESEARCH = "simulate-research-query"


@pytest.fixture(params=["stdio", "http"])
def everything(request: pytest.FixtureRequest, peers: ModuleType, connect: Any) -> Open:
    """Connects a client to server-everything, and waits until it has the tools that depend on the client.

    It offers them one by one once it knows that the client is ready, and tells of each. Over HTTP nobody has to hear of
    it: that is before there can be a stream to tell it on, and it throws away what it has no stream for.
    """
    # On stdio it does not exit while a request of its own (for our roots) is unanswered.
    program = Program(command=peers.everything_command(request.param), transport=request.param, exits=False)

    @asynccontextmanager
    async def open_everything(peer: Peer) -> Any:
        changed = trio.Event()

        @peer.on("notifications/tools/list_changed")
        async def told(connection: Connection, params: Any) -> None:
            changed.set()

        async with connect(peer, program) as connection:
            if not program.over_http:
                await changed.wait()
            yield connection

    return open_everything


def texts_of(result: Any) -> str:
    content = result["content"] if isinstance(result, dict) else result.content
    return "\n".join(block["text"] if isinstance(block, dict) else block.text for block in content)


async def test_the_handshake_and_plain_calls(everything: Open, client: Peer, user: Any) -> None:
    user.answers["name"] = "Ada"
    async with everything(client) as connection:
        assert connection.revision == "2025-11-25"
        assert connection.peer_name.startswith("mcp-servers/everything")
        assert connection.their_capabilities.tasks.requests.tools.call == {}
        tools = {tool.name: tool async for tool in connection.list_tools()}
        assert tools[RESEARCH].execution.task_support == "required"
        assert tools["echo"].execution.task_support == "forbidden"
        assert texts_of(await connection.call_tool("echo", {"message": "hi"})) == "Echo: hi"
        assert "5" in texts_of(await connection.call_tool("get-sum", {"a": 2, "b": 3}))
        assert "sampled: " in texts_of(await connection.call_tool("trigger-sampling-request", {"prompt": "p"}))
        assert "Ada" in texts_of(await connection.call_tool("trigger-elicitation-request", {}))
        assert (await connection.call_tool("nothing", {})).is_error
        assert [resource async for resource in connection.list_resources()]
        assert [prompt async for prompt in connection.list_prompts()]
        await connection.set_logging_level("error")


async def test_a_tool_as_a_task(everything: Open, client: Peer) -> None:
    async with everything(client) as connection:
        params = {"name": RESEARCH, "arguments": {"topic": "x"}}
        async with connection.start("tools/call", params, ttl=60) as task:
            assert task.task is not None
            assert task.task.ttl_ms == 300_000  # whatever was asked for
            listed = [other.task_id async for other in connection.list_tasks()]
            assert listed == [task.id]
            updates = [update async for update in task.updates()]
            assert updates[-1].status is TaskStatus.COMPLETED
            said = [update.status_message for update in updates if update.status is TaskStatus.WORKING]
            stages = list(dict.fromkeys(message.partition(".")[0] for message in said))
            assert stages == ["Gathering sources", "Analyzing content", "Synthesizing findings", "Generating report"]
            assert texts_of(await task.value()).startswith("# Research Report: x")


async def test_the_question_of_a_task(everything: Open, make_peer: Callable[..., Peer]) -> None:
    """Three tasks at once: behind `call_tool`, in the open, and with a user who does not answer."""
    peer = make_peer("interop-client")
    asked: dict[str, Any] = {}

    @peer.elicitation
    async def elicit(ctx: Context, params: Any) -> ElicitResult:
        asked[ctx.meta["io.modelcontextprotocol/related-task"]["taskId"]] = params
        if "python" in params.message:
            return ElicitResult(action="accept", content={"interpretation": "snake"})
        return ElicitResult(action="decline")

    async with everything(peer) as connection, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hidden() -> None:
            result = await connection.call_tool(RESEARCH, {"topic": "python", "ambiguous": True})
            assert texts_of(result).startswith("# Research Report: python (snake)")

        @nursery.start_soon
        async def shown() -> None:
            params = {"name": RESEARCH, "arguments": {"topic": "pythons", "ambiguous": True}}
            async with connection.start("tools/call", params) as task:
                statuses = [update.status async for update in task.updates()]
                assert TaskStatus.INPUT_REQUIRED in statuses
                assert statuses[-1] is TaskStatus.COMPLETED
                assert texts_of(await task.result()).startswith("# Research Report: pythons (snake)")
                assert asked[task.id].requested_schema["required"] == ["interpretation"]

        @nursery.start_soon
        async def declined() -> None:
            result = await connection.call_tool(RESEARCH, {"topic": "xyz", "ambiguous": True})
            assert texts_of(result).startswith("# Research Report: xyz")

    assert len(asked) == 3


async def test_a_task_is_cancelled(everything: Open, client: Peer) -> None:
    async with everything(client) as connection:
        async with connection.start("tools/call", {"name": RESEARCH, "arguments": {"topic": "x"}}) as task:
            assert (await task.cancel()).status is TaskStatus.CANCELLED
            with pytest.raises(TaskCancelled):
                await task.value()
        assert texts_of(await connection.call_tool("echo", {"message": "hi"})) == "Echo: hi"


async def test_the_client_hosts_a_sampling_task(everything: Open, hosting_client: Peer, user: Any) -> None:
    async with everything(hosting_client) as connection:
        result = await connection.call_tool("trigger-sampling-request-async", {"prompt": "p", "maxTokens": 10})
        assert texts_of(result).startswith("[COMPLETED]")
        assert "sampled: " in texts_of(result)
    assert user.hosted == [True]


async def test_the_client_hosts_an_elicitation_task(everything: Open, hosting_client: Peer, user: Any) -> None:
    async with everything(hosting_client) as connection:
        result = await connection.call_tool("trigger-elicitation-request-async", {})
        assert texts_of(result).startswith("[COMPLETED]")
        assert "- Name: Ada" in texts_of(result)
    assert user.hosted == [True]


async def test_the_client_hosts_a_task_that_fails(everything: Open, hosting_client: Peer, user: Any) -> None:
    user.refuses = True
    async with everything(hosting_client) as connection:
        result = await connection.call_tool("trigger-sampling-request-async", {"prompt": "p", "maxTokens": 10})
        assert texts_of(result).startswith("[FAILED] the user said no")
    assert user.hosted == [True]


async def test_the_user_is_sent_to_a_url(everything: Open, make_peer: Callable[..., Peer]) -> None:
    peer = make_peer("interop-browser")
    visited = []

    @peer.elicitation(url=True)
    async def ask(ctx: Context, params: Any) -> ElicitResult:
        visited.append(params.url)
        return ElicitResult(action="accept")

    async with everything(peer) as connection:
        url = "https://example.com/sign-in"
        result = await connection.call_tool("trigger-url-elicitation", {"url": url})
        assert not result.is_error
        assert url in texts_of(result)
    assert visited == [url]
