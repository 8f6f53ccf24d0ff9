"""A bridge between the eras: a server of one, served to clients of the other, and of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from mcp_tasks import (
    CapabilityMissing,
    Connection,
    Context,
    LocalProtocolError,
    Peer,
    RequestFailed,
)
from mcp_tasks.bridge import Upstream, bridge
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.server_features import CallToolResult, PromptReference

from ._bridged import EVERY_WAY, NEW, OLD, STRICT, Eras, Notes, User, bridged, make_server, text_of, through


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def server(make_peer: Callable[..., Peer], notes: Notes) -> Peer:
    return make_server(make_peer("forge", "2.0", title="The forge", instructions="Build boats."), notes)


@pytest.fixture
def user() -> User:
    return User()


@pytest.fixture
def client(make_peer: Callable[..., Peer], user: User) -> Peer:
    return user.attach(make_peer("client", "1.0"))


@pytest.fixture(params=EVERY_WAY, ids=[f"{there[:4]}-to-{here[:4]}" for there, here in EVERY_WAY])
def eras(request: pytest.FixtureRequest) -> Eras:
    """What the server speaks, and what the client speaks."""
    return request.param  # type: ignore[no-any-return]


# --- what is offered --------------------------------------------------------------------------------------------------


async def test_it_is_the_server_over_again(server: Peer, client: Peer, eras: Eras) -> None:
    async with through(server, client, eras) as connection:
        assert connection.peer_name == "forge 2.0"
        assert connection.their_info == server.info
        assert connection.instructions == "Build boats."
        tools = {tool.name: tool async for tool in connection.list_tools()}
        echo = tools["echo"]
        assert echo.title == "Echo"
        assert echo.description == "Say it again."
        assert echo.annotations.read_only_hint is True
        assert echo.meta == {"org.example/colour": "red"}
        assert echo.input_schema["required"] == ["text"]
        assert tools["add"].output_schema["properties"]["result"] == {"type": "integer"}
        assert [resource.uri async for resource in connection.list_resources()] == ["memo:one"]
        assert [one.uri_template async for one in connection.list_resource_templates()] == ["memo:{name}"]
        assert (await connection.read_resource("memo:two")).contents[0].text == "two"
        assert [prompt.name async for prompt in connection.list_prompts()] == ["rhyme"]
        filled = await connection.get_prompt("rhyme", {"word": "boat"})
        assert filled.messages[0].content.text == "what rhymes with boat?"
        found = await connection.complete(PromptReference(name="rhyme"), "word", "float")
        assert found.values == ["floating", "floated"]


@pytest.mark.parametrize("here", [OLD, NEW])
async def test_what_is_not_there_is_not_offered(make_peer: Callable[..., Peer], client: Peer, here: str) -> None:
    bare = make_peer("bare")
    del bare.table.requests["logging/setLevel"]

    @bare.prompt
    async def hello() -> str:
        return "hello"

    async with through(bare, client, (OLD, here)) as connection:
        theirs = connection.their_capabilities
        assert theirs.prompts
        assert not theirs.tools
        assert not theirs.resources
        assert not theirs.completions
        assert not theirs.logging
        with pytest.raises(CapabilityMissing):
            await connection.call_tool("echo", {"text": "x"})


@pytest.mark.parametrize(
    ("there", "here", "support"), [(OLD, OLD, "optional"), (NEW, OLD, "optional"), (OLD, NEW, None)]
)
async def test_what_is_said_of_tasks(
    server: Peer, client: Peer, there: str, here: str, support: str | None, autojump_clock: MockClock
) -> None:
    async with through(server, client, (there, here)) as connection:
        tools = {tool.name: tool async for tool in connection.list_tools()}
        build = tools["build"]
        assert (build.execution.task_support if build.execution else None) == support
        if there == OLD:
            assert not tools["echo"].execution
        assert connection.takes_tasks("tools/call")


async def test_an_older_client(server: Peer, client: Peer) -> None:
    async with bridged(server, NEW) as peer, scripted(peer, revision="2025-03-26", capabilities={}) as remote:
        tools = (await remote.request("tools/list"))["tools"]
        assert all(tool.keys() <= {"name", "description", "inputSchema", "annotations", "_meta"} for tool in tools)
        result = await remote.request("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
        assert "structuredContent" not in result


async def test_results_that_are_no_objects(make_peer: Callable[..., Peer], client: Peer) -> None:
    peer = make_peer("lists")

    @peer.handle("tools/list")
    async def list_tools(ctx: Context, params: Any) -> Any:
        schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
        return {"tools": [{"name": "numbers", "inputSchema": {"type": "object"}, "outputSchema": schema}]}

    @peer.handle("tools/call")
    async def call_tool(ctx: Context, params: Any) -> Any:
        return {"content": [], "structuredContent": [1, 2]}

    async with through(peer, client, (NEW, OLD)) as connection:
        assert (await connection.call_tool("numbers", {})).structured_content == {"result": [1, 2]}
    async with through(peer, client, (NEW, NEW)) as connection:
        assert (await connection.call_tool("numbers", {})).structured_content == [1, 2]


async def test_arguments_that_go_into_headers(make_peer: Callable[..., Peer]) -> None:
    """Over HTTP the bridge compares them as the server would."""
    peer = make_peer("routes")
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    @peer.tool(input_schema=schema)
    async def route(ctx: Context, arguments: Any) -> str:
        return str(arguments["region"])

    async with bridged(peer, OLD) as served:
        assert [mirrored.name for mirrored in served.mirrored("route")] == ["Mcp-Param-Region"]
        assert list(served.mirrored("nothing")) == []


# --- plain calls ------------------------------------------------------------------------------------------------------


async def test_calls(server: Peer, client: Peer, eras: Eras) -> None:
    async with through(server, client, eras) as connection:
        assert await text_of(connection, "echo", text="hi") == "hi"
        assert (await connection.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
        failed = await connection.call_tool("fail")
        assert (failed.is_error, failed.text) == (True, "it broke")
        with pytest.raises(RequestFailed) as refused:
            await connection.call_tool("refuse")
        assert (refused.value.code, refused.value.message) == (-32050, "out of order")
        assert refused.value.data == {"until": "noon"}


async def test_an_error_number_of_one_era(server: Peer, client: Peer, eras: Eras) -> None:
    async with through(server, client, eras) as connection:
        with pytest.raises(RequestFailed) as refused:
            await connection.read_resource("nothing:here")
        assert refused.value.code == (-32002 if eras == (OLD, OLD) else -32602)
        assert refused.value.data == {"uri": "nothing:here"}


async def test_progress(server: Peer, client: Peer, eras: Eras) -> None:
    said: list[Any] = []
    async with through(server, client, eras) as connection:
        await connection.call_tool("steps", on_progress=said.append)
    assert [(one.progress, one.total, one.message) for one in said] == [(n, 3, f"step {n}") for n in (1, 2, 3)]


@pytest.mark.filterwarnings(STRICT)
async def test_logging(server: Peer, client: Peer, eras: Eras) -> None:
    logged: list[Any] = []

    @client.on("notifications/message")
    async def heard(connection: Connection, params: Any) -> None:
        logged.append((params.level, params.data, params.logger))

    async with through(server, client, eras) as connection:
        await connection.set_logging_level("error")
        await connection.call_tool("chat")
        await trio.testing.wait_all_tasks_blocked()
        assert logged == []
        await connection.set_logging_level("warning")
        await connection.call_tool("chat")
        await trio.testing.wait_all_tasks_blocked()
        assert logged == [("warning", "about to chat", "chatter")]


async def test_a_session_hears_what_concerns_no_call(server: Peer, client: Peer) -> None:
    logged: list[Any] = []

    @client.on("notifications/message")
    async def heard(connection: Connection, params: Any) -> None:
        logged.append(params.data)

    async with through(server, client, (OLD, OLD)):
        (to_us,) = server.connections
        await to_us.send_log("info", "it rains")
        await trio.testing.wait_all_tasks_blocked()
    assert logged == ["it rains"]


async def test_meta_goes_through(make_peer: Callable[..., Peer], client: Peer, eras: Eras) -> None:
    seen: list[Any] = []
    peer = make_peer("meta")

    @peer.tool
    async def show(ctx: Context) -> CallToolResult:
        seen.append(ctx.meta)
        return CallToolResult(content=[], meta={"org.example/back": 2})

    async with through(peer, client, eras) as connection:
        params = {"name": "show", "_meta": {"traceparent": "00-1", "org.example/there": 1}}
        result = await connection.call("tools/call", params)
    assert {name: seen[0].get(name) for name in params["_meta"]} == params["_meta"]
    assert result["_meta"]["org.example/back"] == 2


async def test_the_server_is_told_what_the_very_client_can_do(server: Peer, make_peer: Callable[..., Peer]) -> None:
    """Without a session: a client that cannot be asked looks to the server as if there were no bridge."""
    poor = make_peer("poor")
    for here in (OLD, NEW):
        async with through(server, poor, (NEW, here)) as connection:
            with pytest.raises(RequestFailed) as refused:
                await connection.call_tool("greet")
            assert refused.value.code == -32021
            assert refused.value.data == {"requiredCapabilities": {"elicitation": {}}}


async def test_a_client_that_cannot_be_asked(server: Peer, make_peer: Callable[..., Peer]) -> None:
    """In a session the server thinks that everybody can be asked, and learns that it is not so."""
    poor = make_peer("poor")
    for here in (OLD, NEW):
        async with through(server, poor, (OLD, here)) as connection:
            with pytest.raises(RequestFailed) as refused:
                await connection.call("tools/call", {"name": "greet"})
            assert refused.value.code == -32601
            assert "the client has not announced elicitation" in refused.value.message


async def test_the_server_is_gone(server: Peer, client: Peer, eras: Eras) -> None:
    async with through(server, client, eras) as connection:
        (to_us,) = server.connections
        await to_us.aclose()
        for name in ("echo", "greet"):
            with pytest.raises(RequestFailed, match="The server behind the bridge") as refused:
                await connection.call("tools/call", {"name": name, "arguments": {"text": "x"}})
            assert refused.value.code == -32603


# --- withdrawing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wait", "wait_long"])
async def test_a_call_is_withdrawn(
    server: Peer, client: Peer, eras: Eras, notes: Notes, name: str, autojump_clock: MockClock
) -> None:
    async with through(server, client, eras) as connection:
        with trio.move_on_after(10):
            await connection.call("tools/call", {"name": name})
        await trio.testing.wait_all_tasks_blocked()
        assert notes.ended == [name]


async def test_the_client_is_gone(
    server: Peer, client: Peer, eras: Eras, notes: Notes, autojump_clock: MockClock
) -> None:
    there, here = eras
    async with bridged(server, there) as peer:
        async with peer_pair(client, peer, revision=here) as pair, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def call() -> None:
                with pytest.raises(Exception, match="closed"):
                    await pair.client.call("tools/call", {"name": "wait"})

            await notes.begun.wait()
            await pair.client.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert notes.ended == ["wait"]


async def test_the_bridge_ends(
    server: Peer, make_peer: Callable[..., Peer], notes: Notes, autojump_clock: MockClock
) -> None:
    async with bridged(server, OLD) as peer, scripted(peer, revision=NEW) as remote:
        await remote.request("tools/call", {"name": "greet"})
        await remote.ask("tools/call", {"name": "wait"})
        await notes.begun.wait()
    assert notes.ended == ["wait"]


async def test_a_question_is_taken_back(
    server: Peer, make_peer: Callable[..., Peer], autojump_clock: MockClock
) -> None:
    """A server that no longer wants to know: neither does the bridge."""

    @server.tool
    async def impatient(ctx: Context) -> str:
        with trio.move_on_after(10):
            await ctx.elicit("Well?", {"name": str})
        return "too late"

    async with bridged(server, OLD) as peer, scripted(peer, revision=OLD) as remote:
        call = await remote.ask("tools/call", {"name": "impatient"})
        question = await remote.expect("elicitation/create")
        withdrawn = await remote.expect("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == question["id"]
        assert (await remote.answer(call))["content"][0]["text"] == "too late"


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_lists_change(server: Peer, client: Peer, eras: Eras) -> None:
    told: list[str] = []
    for kind in ("tools", "prompts", "resources"):

        @client.on(f"notifications/{kind}/list_changed")
        async def changed(connection: Connection, params: Any, kind: str = kind) -> None:
            told.append(kind)

    @asynccontextmanager
    async def listening(connection: Connection) -> AsyncIterator[None]:
        if eras[1] == OLD:
            yield
        else:
            async with connection.listen(tools=True, prompts=True, resources=True):
                yield

    async with through(server, client, eras) as connection, listening(connection):
        await trio.testing.wait_all_tasks_blocked()
        server.remove_tool("fail")

        @server.tool(task="optional")
        async def newer() -> str:
            await trio.sleep(3)
            return "new"

        await trio.testing.wait_all_tasks_blocked()
        assert set(told) == {"tools"}
        names = [tool.name async for tool in connection.list_tools()]
        assert "fail" not in names
        async with connection.start("tools/call", {"name": "newer"}) as task:
            assert task.task is not None
            assert (await task.value()).text == "new"
        told.clear()
        server.remove_prompt("rhyme")
        server.remove_resource("memo:one")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(told) == ["prompts", "resources"]


async def test_a_resource_is_updated(server: Peer, client: Peer, eras: Eras, autojump_clock: MockClock) -> None:
    told: list[str] = []

    @client.on("notifications/resources/updated")
    async def updated(connection: Connection, params: Any) -> None:
        told.append(params.uri)

    def watched() -> set[str]:
        subscribed = {uri for connection in server.connections for uri in connection.subscriptions}
        return subscribed | {uri for subscription in server.subscriptions for uri in subscription.topics.uris}

    async with bridged(server, eras[0]) as peer:
        async with peer_pair(client, peer, revision=eras[1]) as pair:
            await pair.client.subscribe("memo:one")
            await pair.client.subscribe("memo:two")
            await trio.testing.wait_all_tasks_blocked()
            assert watched() == {"memo:one", "memo:two"}
            await server.resource_updated("memo:one")
            await server.resource_updated("memo:three")
            await trio.testing.wait_all_tasks_blocked()
            assert told == ["memo:one"]
            await pair.client.unsubscribe("memo:one")
            await trio.testing.wait_all_tasks_blocked()
            assert watched() == {"memo:two"}
        await trio.testing.wait_all_tasks_blocked()
        assert watched() == set()  # nobody is left who wants to know


async def test_a_part_of_a_resource_is_updated(server: Peer, client: Peer, autojump_clock: MockClock) -> None:
    told: list[str] = []

    @client.on("notifications/resources/updated")
    async def updated(connection: Connection, params: Any) -> None:
        told.append(params.uri)

    async with through(server, client, (OLD, NEW)) as connection:
        await connection.subscribe("memo:one")
        await trio.testing.wait_all_tasks_blocked()
        (to_us,) = server.connections
        to_us.announce("notifications/resources/updated", {"uri": "memo:one/page"})
        to_us.announce("notifications/resources/updated", {"uri": "memo:onerous"})
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["memo:one"]


async def test_a_subscription_is_refused(server: Peer, client: Peer) -> None:
    async with through(server, client, (OLD, OLD)) as connection:
        with pytest.raises(RequestFailed) as refused:
            await connection.subscribe("nothing:here")
        assert refused.value.code == -32002


async def test_roots_change(server: Peer, client: Peer) -> None:
    told: list[str] = []

    @server.on("notifications/roots/list_changed")
    async def changed(connection: Connection, params: Any) -> None:
        told.append("roots")

    async with through(server, client, (OLD, OLD)):
        client.roots = ["file:///elsewhere"]
        await trio.testing.wait_all_tasks_blocked()
    assert told == ["roots"]


async def test_a_user_has_been_there(server: Peer, client: Peer) -> None:
    """Only the client whose user was sent there is told."""
    told: list[str] = []

    @server.tool
    async def visit(ctx: Context) -> str:
        return (await ctx.elicit_url("Sign in, please", "https://example.org/in")).action

    @client.on("notifications/elicitation/complete")
    async def complete(connection: Connection, params: Any) -> None:
        told.append(params.elicitation_id)

    async with bridged(server, OLD) as peer, peer_pair(client, peer) as pair, scripted(peer) as other:
        await pair.client.call_tool("visit")
        (to_us,) = server.connections
        (known,) = peer._flights._visits  # type: ignore[attr-defined]
        to_us.announce("notifications/elicitation/complete", {"elicitationId": known})
        to_us.announce("notifications/elicitation/complete", {"elicitationId": "unheard of"})
        await trio.testing.wait_all_tasks_blocked()
        assert told == [known]
        assert other.unread("notifications/elicitation/complete") == []


# --- the bridge itself ------------------------------------------------------------------------------------------------


async def test_two_bridges_in_a_row(server: Peer, client: Peer, user: User) -> None:
    async with (
        bridged(server, OLD) as nearer,
        bridged(nearer, NEW) as farther,
        peer_pair(client, farther, revision=OLD) as pair,
    ):
        assert await text_of(pair.client, "greet_two") == "hello Ada and Bea"
        assert pair.client.peer_name == "forge 2.0"


async def test_an_upstream_has_one_bridge(server: Peer, client: Peer) -> None:
    upstream = Upstream()
    async with peer_pair(upstream, server) as pair, bridge(pair.client):
        with pytest.raises(LocalProtocolError, match="no other bridge"):
            async with bridge(pair.client):
                raise AssertionError("unreachable")
    async with peer_pair(client, server) as pair:
        with pytest.raises(LocalProtocolError, match="Upstream"):
            async with bridge(pair.client):
                raise AssertionError("unreachable")


async def test_an_exception_leaves_as_it_is(server: Peer) -> None:
    with pytest.raises(ValueError, match="mine"):
        async with bridged(server, OLD):
            raise ValueError("mine")


async def test_nothing_is_logged_that_is_no_trouble(
    server: Peer, client: Peer, eras: Eras, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING, logger="mcp_tasks")
    async with through(server, client, eras) as connection:
        await text_of(connection, "greet")
        await text_of(connection, "build")
    assert caplog.records == []
