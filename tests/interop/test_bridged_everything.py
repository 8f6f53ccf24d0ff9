"""npm's server-everything, which knows sessions only, behind our bridge: for a client of 2026-07-28, over HTTP.

Its research tool has to be run as a task there, and asks a question midway; over here the client neither asks for a
task nor knows that there are sessions.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Peer, RequestFailed, TaskCancelled, open_http
from mcp_tasks.wire.client_features import ElicitResult
from mcp_tasks.wire.tasks import TaskStatus

from ._programs import http_server
from .conftest import SECONDS

RESEARCH = "simulate-research-query"
BRIDGE = [sys.executable, "-m", "mcp_tasks", "bridge", "--http", "127.0.0.1:0"]


@pytest.fixture(params=["stdio", "http"])
def everything(request: pytest.FixtureRequest, peers: ModuleType) -> Any:
    """Connects a client to a bridge to server-everything, which is reached over stdio or over HTTP."""

    @asynccontextmanager
    async def server() -> AsyncIterator[str]:
        command = peers.everything_command(request.param)
        if request.param == "stdio":
            yield shlex.join(command)
            return
        async with http_server(command) as process:
            yield process.url
            assert process.process.stdin is not None
            await process.process.stdin.aclose()
            await process.end()

    @asynccontextmanager
    async def connected(client: Peer) -> AsyncIterator[Connection]:
        with trio.fail_after(SECONDS):
            async with server() as behind, http_server([*BRIDGE, behind], tells_on="stderr") as bridge:
                async with open_http(bridge.url) as transport, client.connect(transport) as connection:
                    assert connection.revision == "2026-07-28"
                    yield connection
                bridge.process.send_signal(signal.SIGTERM)
                assert await bridge.end() == 128 + signal.SIGTERM
                assert "Traceback" not in bridge.said

    return connected


def texts_of(result: Any) -> str:
    return "\n".join(block["text"] for block in result["content"])


async def test_plain_calls(everything: Any, client: Peer, user: Any) -> None:
    user.answers["name"] = "Ada"
    async with everything(client) as connection:
        assert connection.peer_name.startswith("mcp-servers/everything")
        assert connection.takes_tasks("tools/call")
        assert (await connection.call_tool("echo", {"message": "hi"})).text == "Echo: hi"
        assert "5" in (await connection.call_tool("get-sum", {"a": 2, "b": 3})).text
        assert (await connection.call_tool("nothing", {})).is_error
        assert [resource async for resource in connection.list_resources()]
        assert [prompt async for prompt in connection.list_prompts()]


async def test_questions_outside_of_a_task(everything: Any, client: Peer, user: Any) -> None:
    user.answers["name"] = "Ada"
    async with everything(client) as connection:
        await until_there(connection, "trigger-elicitation-request")
        sampled = await connection.call_tool("trigger-sampling-request", {"prompt": "p"})
        assert "sampled: " in sampled.text
        assert "Ada" in (await connection.call_tool("trigger-elicitation-request", {})).text


async def test_the_question_of_a_task(everything: Any, make_peer: Callable[..., Peer]) -> None:
    """Behind `call_tool`, in the open, and with a user who does not answer."""
    peer = make_peer("interop-client")
    asked: list[str] = []

    @peer.elicitation
    async def elicit(ctx: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        if "python" in params.message:
            return ElicitResult(action="accept", content={"interpretation": "snake"})
        return ElicitResult(action="decline")

    async with everything(peer) as connection, trio.open_nursery() as nursery:
        await until_there(connection, RESEARCH)

        @nursery.start_soon
        async def hidden() -> None:
            result = await connection.call_tool(RESEARCH, {"topic": "python", "ambiguous": True})
            assert result.text.startswith("# Research Report: python (snake)")

        @nursery.start_soon
        async def shown() -> None:
            params = {"name": RESEARCH, "arguments": {"topic": "pythons", "ambiguous": True}}
            async with connection.start("tools/call", params) as task:
                updates = [update async for update in task.updates()]
                assert TaskStatus.INPUT_REQUIRED in [update.status for update in updates]
                assert updates[-1].status is TaskStatus.COMPLETED
                said = {str(update.status_message).partition(".")[0] for update in updates}
                assert said & {"Gathering sources", "Analyzing content", "Synthesizing findings", "Generating report"}
                assert texts_of(await task.result()).startswith("# Research Report: pythons (snake)")

        @nursery.start_soon
        async def declined() -> None:
            result = await connection.call_tool(RESEARCH, {"topic": "xyz", "ambiguous": True})
            assert result.text.startswith("# Research Report: xyz")

    assert len(asked) == 3


async def test_a_task_is_cancelled(everything: Any, client: Peer) -> None:
    async with everything(client) as connection:
        await until_there(connection, RESEARCH)
        async with connection.start("tools/call", {"name": RESEARCH, "arguments": {"topic": "x"}}) as task:
            assert (await task.cancel()).status is TaskStatus.CANCELLED
            with pytest.raises(TaskCancelled):
                await task.value()
        assert (await connection.call_tool("echo", {"message": "hi"})).text == "Echo: hi"


async def test_what_the_client_cannot_be_asked(everything: Any, make_peer: Callable[..., Peer]) -> None:
    async with everything(make_peer("poor")) as connection:
        await until_there(connection, "trigger-elicitation-request")
        try:
            result = await connection.call_tool("trigger-elicitation-request", {})
        except RequestFailed as refused:
            said = refused.message
        else:
            assert result.is_error
            said = result.text
        assert "the client has not announced elicitation" in said


async def until_there(connection: Connection, name: str) -> None:
    """Wait until the server has a tool; it offers some only once it knows that its client is ready."""
    while name not in [tool.name async for tool in connection.list_tools()]:  # noqa: ASYNC110 - nothing tells us earlier
        await trio.sleep(0.05)
