"""Our client and servers on the official SDKs: what there is over HTTP alone.

Answers that are JSON and answers that are streams, streams that a client comes back to, sessions that the server ends
or forgets, and servers that go away. What has nothing to do with the transport is in test_sdk_servers.py.
"""

from __future__ import annotations

import http.client
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import trio

from mcp_tasks import Connection, HttpClientLimits, MCPError, Peer, Progress, RequestFailed, open_http
from mcp_tasks.wire.tasks import TaskStatus

from ._programs import HttpServer, SdkServer, http_server, sdk_server

Connect: TypeAlias = "Callable[..., AbstractAsyncContextManager[Connection]]"

CONFIRM = {"name": "confirm_delete", "arguments": {"filename": "a.txt"}}
LONG = {"name": "slow_compute", "arguments": {"seconds": 600}}
SHORT = {"name": "slow_compute", "arguments": {"seconds": 0.2}}
SECONDS = 60
IMPATIENT = HttpClientLimits(resume_attempts=2, retry_seconds=0.05)

JSON = ["python-http-json", "npm-http-json", "python23-http-json"]
RESUMABLE = ["python-http-resumable", "npm-http-resumable", "python23-http-resumable"]


@pytest.fixture
def sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    return sdk_server(peers, request.param)


def text_of(result: Any) -> str:
    (block,) = result["content"] if isinstance(result, dict) else result.content
    return str(block["text"] if isinstance(block, dict) else block.text)


# --- answers that are JSON --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", JSON, indirect=True)
async def test_plain_calls_that_are_answered_with_json(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"
        with pytest.raises(RequestFailed) as failed:
            await connection.call("tools/call", {"name": "protocol_error_job", "arguments": {}})
        assert (failed.value.code, failed.value.message) == (-32000, "the job broke")
        assert [tool async for tool in connection.list_tools()]


@pytest.mark.parametrize("sdk", JSON[:2], indirect=True)
async def test_tasks_that_are_answered_with_json(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", SHORT, ttl=60) as task:
            assert [update.status async for update in task.updates()][-1] is TaskStatus.COMPLETED
            assert text_of(await task.value()) == "done"
        async with connection.start("tools/call", SHORT, ttl=60) as other:
            assert text_of(await other.value()) == "done"
        assert {listed.task_id async for listed in connection.list_tasks()} == {task.id, other.id}
        async with connection.start("tools/call", LONG, ttl=60) as task:
            assert (await task.cancel()).status is TaskStatus.CANCELLED


@pytest.mark.parametrize("sdk", JSON[:2], indirect=True)
async def test_reverse_tasks_where_answers_are_json(
    sdk: SdkServer, connect: Connect, hosting_client: Peer, user: Any
) -> None:
    """What the server asks comes on the stream that a GET has opened, and only there."""
    async with connect(hosting_client, sdk) as connection:
        assert text_of(await connection.call_tool("drive_sampling", {"prompt": "hi"})) == "sampled: hi"
    assert user.hosted == [True]


# --- streams that are come back to ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", RESUMABLE, indirect=True)
async def test_the_server_drops_the_stream_of_a_call(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """The client comes back, and gets what it has missed: each report once, and the answer."""
    told: list[Progress] = []
    async with connect(client, sdk) as connection:
        result = await connection.call_tool("drop_stream", {"steps": 3}, on_progress=told.append)
        assert text_of(result) == "dropped"
        assert told == [Progress(step, 3, f"step {step}") for step in (1, 2, 3)]
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"


@pytest.mark.parametrize("sdk", RESUMABLE, indirect=True)
async def test_many_streams_are_dropped_at_once(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:

        async def call(steps: int) -> None:
            told: list[Progress] = []
            result = await connection.call_tool("drop_stream", {"steps": steps}, on_progress=told.append)
            assert text_of(result) == "dropped"
            assert [progress.progress for progress in told] == list(range(1, steps + 1))

        async with trio.open_nursery() as nursery:
            for steps in range(1, 9):
                nursery.start_soon(call, steps)


@pytest.mark.parametrize("sdk", RESUMABLE, indirect=True)
async def test_questions_on_streams_that_could_be_come_back_to(
    sdk: SdkServer, connect: Connect, client: Peer, user: Any
) -> None:
    """Such streams begin with an event that has an id and nothing else."""
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("multi_input")) == "Ada is 36"
        assert user.related == [None, None]
        if sdk.drives:
            async with connection.start("tools/call", CONFIRM, ttl=60) as task:
                assert text_of(await task.value()) == "deleted a.txt"
            assert user.related[2:] == [task.id]


# --- much at once -----------------------------------------------------------------------------------------------------


async def test_many_calls_at_once(any_http_sdk: SdkServer, connect: Connect, client: Peer, user: Any) -> None:
    """Each has a stream of its own, on which its question comes."""
    async with connect(client, any_http_sdk) as connection:

        async def call(number: int) -> None:
            result = await connection.call_tool("confirm_delete", {"filename": f"{number}.txt"})
            assert text_of(result) == f"deleted {number}.txt"

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(call, number)
    assert len(user.forms) == 30


async def test_a_long_message_each_way(any_http_sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, any_http_sdk) as connection:
        name = "å" * 1_000_000
        assert text_of(await connection.call_tool("greet", {"name": name})) == f"hello {name}"


# --- the end of a session, and of a server ----------------------------------------------------------------------------


@asynccontextmanager
async def opened(peer: Peer, sdk: SdkServer) -> AsyncIterator[tuple[HttpServer, Any, Connection]]:
    """A server, the transport to it and the connection; how they end is up to the test."""
    with trio.fail_after(SECONDS):
        async with (
            http_server(sdk.command) as server,
            open_http(server.url, http_limits=IMPATIENT) as transport,
            peer.connect(transport) as connection,
        ):
            yield server, transport, connection


def delete(url: str, session_id: str) -> int:
    """End a session without its client; returns the status."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=SECONDS)
    try:
        connection.request("DELETE", where.path, headers={"Mcp-Session-Id": session_id})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(params=["python-http", "npm-http", "python23-http"])
def any_http_sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    """All SDKs, over HTTP."""
    return sdk_server(peers, request.param)


async def test_the_session_is_deleted_at_the_end(any_http_sdk: SdkServer, client: Peer) -> None:
    with trio.fail_after(SECONDS):
        async with http_server(any_http_sdk.command) as server:
            async with open_http(server.url) as transport, client.connect(transport) as connection:
                await connection.ping()
                id = transport.session_id
                assert id is not None
            await server.hear("DELETE 200")
            assert await trio.to_thread.run_sync(delete, server.url, id) == 404


async def test_the_server_has_forgotten_the_session(any_http_sdk: SdkServer, client: Peer) -> None:
    """A new session is begun, and what was refused is sent again."""
    async with opened(client, any_http_sdk) as (server, transport, connection):
        first = transport.session_id
        assert await trio.to_thread.run_sync(delete, server.url, first) == 200
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"
        assert transport.session_id not in (None, first)
        assert text_of(await connection.call_tool("confirm_delete", {"filename": "a.txt"})) == "deleted a.txt"


async def test_two_clients_of_one_server(any_http_sdk: SdkServer, make_peer: Any, user: Any, client: Peer) -> None:
    other = make_peer("interop-other")
    async with (
        opened(client, any_http_sdk) as (server, transport, connection),
        open_http(server.url) as other_transport,
        other.connect(other_transport) as other_connection,
    ):
        assert transport.session_id != other_transport.session_id
        assert text_of(await connection.call_tool("confirm_delete", {"filename": "a.txt"})) == "deleted a.txt"
        assert text_of(await other_connection.call_tool("greet", {"name": "Grace"})) == "hello Grace"
        assert len(user.forms) == 1


@pytest.mark.parametrize(
    "sdk", ["python-http", "npm-http", "python-http-resumable", "npm-http-resumable"], indirect=True
)
async def test_the_server_is_killed_while_a_result_is_waited_for(sdk: SdkServer, client: Peer) -> None:
    """Where streams can be come back to, the client tries that first."""
    async with (
        opened(client, sdk) as (server, _, connection),
        connection.start("tools/call", LONG, ttl=60) as task,
    ):

        async def wait() -> None:
            with pytest.raises(MCPError):
                await task.result()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await task.status()  # by now the request for the result has been sent
            server.process.kill()
        with pytest.raises(MCPError):
            await connection.ping()
