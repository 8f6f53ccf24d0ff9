"""Our client speaks revision 2026-07-28 to servers on the official SDKs, and on fastmcp, over stdio and over HTTP.

They are on PyPI mcp 2.3.0, npm @modelcontextprotocol/server 2.4.0 and PyPI fastmcp 4.1.4, the only one with tasks. All
of them serve the handshake revisions as well. What they do and want is in tests/peers/README.md.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio

from mcp_tasks import Connection, Peer, Progress, RequestFailed, TaskCancelled, open_http, open_stdio
from mcp_tasks.wire.server_features import PromptReference
from mcp_tasks.wire.tasks import TaskStatus

from ._programs import SdkServer, http_server, modern_sdk_server

Connect: TypeAlias = "Callable[..., AbstractAsyncContextManager[Connection]]"

SECONDS = 25.0
REVISION = "2026-07-28"
OLDER = "2025-11-25"
TASKS = "io.modelcontextprotocol/tasks"

STDIO = ["python-stdio", "npm-stdio", "fastmcp-stdio"]
HTTP = ["python-http", "npm-http", "fastmcp-http"]
JSON = ["python-http-json", "npm-http-json", "fastmcp-http-json"]
SSE = ["npm-http-sse"]
ALL = [*STDIO, *HTTP, *JSON, *SSE]
LISTENED_TO = [name for name in ALL if not name.startswith("fastmcp")]
HEEDFUL = [name for name in ALL if name not in ("python-http-json", "fastmcp-http-json")]
DRIVEN = ["fastmcp-stdio", "fastmcp-http"]

SLOW = {"name": "slow", "arguments": {"seconds": 0.3}}
LONG = {"name": "slow", "arguments": {"seconds": 600}}
QUESTION = {"name": "task_ask", "arguments": {}}

pytestmark = pytest.mark.filterwarnings("ignore::mcp_tasks.errors.DeprecatedFeature")


@pytest.fixture
def sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    """The server that the test is parametrized with."""
    return modern_sdk_server(peers, request.param)


@pytest.fixture
def connect(caplog: pytest.LogCaptureFixture) -> Connect:
    """Starts a server and connects a client to it, not for long.

    At the end the server has to exit by itself, with nothing on stderr, and nothing it has sent may have been worth a
    warning in our log. There is no session to delete.
    """
    caplog.set_level(logging.WARNING, logger="mcp_tasks")

    @asynccontextmanager
    async def over_stdio(peer: Peer, sdk: SdkServer, **options: Any) -> AsyncIterator[Connection]:
        async with (
            open_stdio(sdk.command, stderr="capture") as transport,
            peer.connect(transport, **options) as connection,
        ):
            yield connection
        assert (transport.returncode, transport.stderr_tail) == (0, "")

    @asynccontextmanager
    async def over_http(peer: Peer, sdk: SdkServer, **options: Any) -> AsyncIterator[Connection]:
        async with http_server(sdk.command) as server:
            async with open_http(server.url) as transport, peer.connect(transport, **options) as connection:
                yield connection
            assert server.process.stdin is not None
            await server.process.stdin.aclose()
            assert (await server.end(), server.whispered()) == (0, "")

    @asynccontextmanager
    async def connect(peer: Peer, sdk: SdkServer, **options: Any) -> AsyncIterator[Connection]:
        with trio.fail_after(SECONDS):
            async with (over_http if sdk.over_http else over_stdio)(peer, sdk, **options) as connection:
                yield connection
        assert [record.getMessage() for record in caplog.records if record.name.startswith("mcp_tasks")] == []

    return connect


def text_of(result: Any) -> str:
    (block,) = result["content"] if isinstance(result, dict) else result.content
    return str(block["text"] if isinstance(block, dict) else block.text)


async def withdrawn(connection: Connection) -> int:
    """How many calls the server has seen being cancelled."""
    return int(text_of(await connection.call_tool("cancelled")))


async def one_more(connection: Connection, before: int) -> None:
    """Wait until the server has noticed."""
    while (after := await withdrawn(connection)) == before:  # noqa: ASYNC110 (another process is waited for)
        await trio.sleep(0.05)
    assert after == before + 1


# --- how it begins ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", ALL, indirect=True)
async def test_the_newest_revision_is_spoken(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        assert connection.revision == REVISION
        assert connection.peer_name == f"{sdk.name} 1"
        assert ("slow" in [tool.name async for tool in connection.list_tools()]) is sdk.drives


@pytest.mark.parametrize("sdk", [*STDIO, *HTTP], indirect=True)
async def test_it_is_demanded(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk, revision=REVISION) as connection:
        assert connection.revision == REVISION
        assert text_of(await connection.call_tool("ask")) == "hi Ada"


@pytest.mark.parametrize("sdk", [*STDIO, *HTTP], indirect=True)
async def test_the_older_one_is_demanded(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk, revision=OLDER) as connection:
        assert connection.revision == OLDER
        assert text_of(await connection.call_tool("progress")) == "done"


# --- plain calls ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", ALL, indirect=True)
async def test_plain_calls(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        result = await connection.call_tool("add", {"a": 1, "b": 2})
        assert result.structured_content == {"sum": 3}
        failed = await connection.call_tool("fail")
        assert failed.is_error
        assert text_of(failed) == "it failed"


@pytest.mark.parametrize("sdk", ALL, indirect=True)
async def test_questions(sdk: SdkServer, connect: Connect, client: Peer, user: Any) -> None:
    """They are answered behind the back of the caller, who calls but once."""
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("ask")) == "hi Ada"
        assert text_of(await connection.call_tool("ask_twice")) == "Ada is 36"
        assert text_of(await connection.call_tool("sample", {"prompt": "hi"})) == "sampled: hi"
        user.declines = True
        assert text_of(await connection.call_tool("ask")) == "you would not tell"
    assert [form.message for form in user.forms] == ["Your name?", "Your name?", "Ada, your age?", "Your name?"]


@pytest.mark.parametrize("sdk", [*STDIO, *HTTP, *SSE], indirect=True)
async def test_progress(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    told: list[Progress] = []
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("progress", on_progress=told.append)) == "done"
    assert told == [Progress(step, 3, f"step {step}") for step in (1, 2, 3)]


@pytest.mark.parametrize("sdk", JSON, indirect=True)
async def test_progress_where_answers_are_json(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """There is no way for it."""
    told: list[Progress] = []
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("progress", on_progress=told.append)) == "done"
    assert told == []


@pytest.mark.parametrize("place", ["eu", "Zürich", " padded ", "=?base64?ZXU=?="])
@pytest.mark.parametrize("sdk", [*STDIO, *HTTP], indirect=True)
async def test_an_argument_in_a_header(sdk: SdkServer, connect: Connect, client: Peer, place: str) -> None:
    """All of these servers compare."""
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("tagged", {"region": place})) == f"region {place}"


@pytest.mark.parametrize("sdk", [*STDIO, *HTTP], indirect=True)
async def test_resources_prompts_and_completion(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        assert [resource.uri async for resource in connection.list_resources()] == ["peer://greeting"]
        templates = [template.uri_template async for template in connection.list_resource_templates()]
        assert templates == ["peer://number/{number}"]
        read: list[Any] = [await connection.read_resource(uri) for uri in ("peer://greeting", "peer://number/7")]
        assert [result.contents[0].text for result in read] == ["good day", "I am 7"]
        assert [prompt.name async for prompt in connection.list_prompts()] == ["introduce"]
        prompt: Any = await connection.get_prompt("introduce", {"name": "Ada", "language": "french"})
        assert prompt.messages[0].content.text == "Introduce Ada in french."
        completion = await connection.complete(PromptReference(name="introduce"), "language", "e")
        assert completion.values == ["english", "esperanto"]


@pytest.mark.parametrize("sdk", [*STDIO, *HTTP], indirect=True)
async def test_what_is_not_there(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """An unknown tool is an error to npm alone; an unknown prompt is an internal one to mcp 2.3."""
    async with connect(client, sdk) as connection:
        with pytest.raises(RequestFailed) as failed:
            await connection.read_resource("peer://nothing")
        assert failed.value.code == -32602
        with pytest.raises(RequestFailed) as failed:
            await connection.get_prompt("nothing")
        assert failed.value.code == (-32603 if "python" in sdk.name else -32602)
        if "npm" in sdk.name:
            with pytest.raises(RequestFailed) as failed:
                await connection.call_tool("nothing")
            assert failed.value.code == -32602
        else:
            assert (await connection.call_tool("nothing")).is_error


@pytest.mark.parametrize("sdk", HEEDFUL, indirect=True)
async def test_a_call_is_withdrawn(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """mcp 2.3, where its answers are JSON, does not notice that its client has gone."""
    async with connect(client, sdk) as connection:
        before = await withdrawn(connection)
        with trio.move_on_after(0.5) as scope:
            await connection.call_tool("wait", {"seconds": 600})
        assert scope.cancelled_caught
        await one_more(connection, before)


# --- listening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", LISTENED_TO, indirect=True)
async def test_changes_are_listened_to(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """The stream is one of its own, even where other answers are JSON."""
    async with connect(client, sdk) as connection:
        async with connection.listen(tools=True, uris=["peer://greeting"]) as subscription:
            await connection.call_tool("announce")
            await connection.call_tool("touch")
            heard = [notice.method async for notice in _first(2, subscription)]
        assert heard == ["notifications/tools/list_changed", "notifications/resources/updated"]
        assert text_of(await connection.call_tool("announce")) == "announced"


async def _first(count: int, subscription: Any) -> AsyncIterator[Any]:
    notices = aiter(subscription)
    for _ in range(count):
        yield await anext(notices)


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_server_that_cannot_be_listened_to(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        with pytest.raises(RequestFailed) as failed:
            async with connection.listen(tools=True):
                pass
        assert failed.value.code == -32601


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_tasks_that_the_caller_does_not_see(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        assert text_of(await connection.call_tool("slow", {"seconds": 0.3})) == "waited"
        assert text_of(await connection.call_tool("task_ask")) == "hi Ada"
        failed = await connection.call_tool("task_fail")
        assert failed.is_error
        assert text_of(failed) == "it failed"
        with pytest.raises(RequestFailed) as error:
            await connection.call_tool("task_error")
        assert (error.value.code, error.value.message) == (-32000, "it broke")
        assert error.value.data == {"reason": "broken on purpose"}


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_task_is_driven(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", SLOW) as task:
        statuses = [update.status async for update in task.updates()]
        assert (statuses[0], statuses[-1]) == (TaskStatus.WORKING, TaskStatus.COMPLETED)
        assert text_of(await task.value()) == "waited"


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_task_asks(sdk: SdkServer, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", QUESTION) as task:
        assert text_of(await task.value()) == "hi Ada"
        assert (await task.status()).status is TaskStatus.COMPLETED
    assert [form.message for form in user.forms] == ["Your name?"]


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_task_is_cancelled(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        before = await withdrawn(connection)
        async with connection.start("tools/call", LONG) as task:
            await trio.sleep(0.3)
            await task.cancel()
            with pytest.raises(TaskCancelled):
                await task.value()
        await one_more(connection, before)


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_task_is_over_when_it_is_cancelled(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    """That changes nothing, and is no error."""
    async with connect(client, sdk) as connection, connection.start("tools/call", SLOW) as task:
        assert text_of(await task.value()) == "waited"
        await connection.call("tasks/cancel", {"taskId": task.id})
        assert (await task.status()).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("sdk", DRIVEN, indirect=True)
async def test_a_task_that_nobody_knows(sdk: SdkServer, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        for method, more in (("tasks/get", {}), ("tasks/update", {"inputResponses": {}}), ("tasks/cancel", {})):
            with pytest.raises(RequestFailed) as failed:
                await connection.call(method, {"taskId": "nothing", **more})
            assert failed.value.code == -32602
