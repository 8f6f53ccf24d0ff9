"""Tools: what is listed, what is checked on the way in and out, and how failures are told."""

import json
import threading
from collections.abc import Callable
from typing import Any, Literal, TypedDict

import attrs
import pytest
import trio
import trio.testing

from mcp_tasks import (
    Context,
    InvalidParams,
    LocalProtocolError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Side,
    ToolError,
)
from mcp_tasks.testing import Remote, peer_pair, scripted
from mcp_tasks.wire.content import (
    Annotations,
    AudioContent,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from mcp_tasks.wire.server_features import CallToolResult, ToolAnnotations

MakePeer = Callable[..., Peer]


@attrs.frozen
class Weather:
    city: str
    degrees: float
    wind: str | None = None


class Report(TypedDict):
    text: str
    count: int


async def call(remote: Remote, name: str, arguments: Any = None, **params: Any) -> Any:
    given = {"name": name} if arguments is None else {"name": name, "arguments": arguments}
    return await remote.request("tools/call", {**given, **params})


async def refused(remote: Remote, method: str, params: Any) -> tuple[int, str]:
    with pytest.raises(RequestFailed) as caught:
        await remote.request(method, params)
    return caught.value.code, caught.value.message


def text(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": one} for one in texts]


# --- listing ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-181", "C25-183", "C25-184", "C25-186", "C25-188")
async def test_a_tool_is_listed_with_everything_that_is_known_of_it(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(
        name="get.weather-1_a",
        title="Weather",
        annotations=ToolAnnotations(title="W", read_only_hint=True, destructive_hint=False, open_world_hint=True),
        icons=[Icon(src="data:image/png;base64,AA==", mime_type="image/png", sizes=["16x16"], theme="dark")],
        meta={"com.example/cost": 3},
        task="optional",
    )
    async def weather(ctx: Context, city: str, unit: Literal["C", "F"] = "C") -> Weather:
        """Tell the weather.

        Args:
            city: where
        """
        return Weather(city, 20.5)

    async with scripted(peer) as remote:
        listed = await remote.request("tools/list")
    assert listed == {
        "tools": [
            {
                "name": "get.weather-1_a",
                "title": "Weather",
                "description": "Tell the weather.",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "where"},
                        "unit": {"enum": ["C", "F"], "default": "C"},
                    },
                    "required": ["city"],
                    "additionalProperties": False,
                },
                "outputSchema": {
                    "title": "Weather",
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "degrees": {"type": "number"},
                        "wind": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
                    },
                    "required": ["city", "degrees"],
                },
                "annotations": {
                    "title": "W",
                    "readOnlyHint": True,
                    "destructiveHint": False,
                    "openWorldHint": True,
                },
                "execution": {"taskSupport": "optional"},
                "icons": [
                    {"src": "data:image/png;base64,AA==", "mimeType": "image/png", "sizes": ["16x16"], "theme": "dark"}
                ],
                "_meta": {"com.example/cost": 3},
            }
        ]
    }


async def test_a_plain_tool_is_listed_without_what_nobody_said(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.tool(name="plain")(lambda: "x")
    async with scripted(peer) as remote:
        (tool,) = (await remote.request("tools/list"))["tools"]
    assert tool.keys() == {"name", "inputSchema"}
    assert tool["inputSchema"]["type"] == "object"


@pytest.mark.parametrize(
    ("revision", "missing"),
    [
        ("2025-11-25", set()),
        ("2025-06-18", {"icons", "execution"}),
        ("2025-03-26", {"icons", "execution", "title", "outputSchema"}),
        ("2024-11-05", {"icons", "execution", "title", "outputSchema"}),
    ],
)
async def test_older_revisions_list_what_they_know(make_peer: MakePeer, revision: str, missing: set[str]) -> None:
    peer = make_peer()

    @peer.tool(title="T", icons=[Icon(src="https://e.com/i")], task="optional")
    async def weigh(city: str) -> Weather:
        """Weigh."""
        return Weather(city, 1)

    everything = {"name", "inputSchema", "description", "title", "icons", "execution", "outputSchema"}
    async with scripted(peer, revision=revision) as remote:
        (tool,) = (await remote.request("tools/list"))["tools"]
        assert tool.keys() == everything - missing
        result = await call(remote, "weigh", {"city": "x"})
        assert ("structuredContent" in result) is ("outputSchema" in tool)
        assert json.loads(result["content"][0]["text"]) == {"city": "x", "degrees": 1, "wind": None}


@pytest.mark.requirement("C25-186", "C25-188", "C25-189")
@pytest.mark.parametrize("name", ["", "a b", "a,b", "ü", "a/b", "x" * 129])
def test_names_that_are_none(make_peer: MakePeer, name: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no tool name"):
        make_peer().tool(name=name)(lambda: "x")


@pytest.mark.requirement("C25-190")
def test_names_are_unique(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.tool(name="a")(lambda: "x")
    with pytest.raises(LocalProtocolError, match="there is a tool 'a' already"):
        peer.tool(name="a")(lambda: "y")
    peer.tool(name="A")(lambda: "y")


@pytest.mark.requirement("C25-187")
async def test_names_are_case_sensitive(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.tool(name="a")(lambda: "small")
    peer.tool(name="A")(lambda: "large")
    async with scripted(peer) as remote:
        assert (await call(remote, "a"))["content"] == text("small")
        assert (await call(remote, "A"))["content"] == text("large")


@pytest.mark.requirement("C25-183", "C25-184")
@pytest.mark.parametrize(
    "options",
    [
        {"input_schema": {"type": "string"}},
        {"input_schema": {}},
        {"input_schema": {"type": "object", "properties": 3}},
        {"input_schema": {"type": "object"}, "output_schema": {"type": "nope"}},
        {"output_schema": {"$schema": "https://example.com/x", "type": "object"}},
    ],
)
def test_schemas_that_are_none(make_peer: MakePeer, options: Any) -> None:
    with pytest.raises(LocalProtocolError):
        make_peer().tool(name="t", **options)(lambda: "x")


@pytest.mark.requirement("C25-184")
def test_an_output_schema_is_of_an_object(make_peer: MakePeer) -> None:
    with pytest.raises(LocalProtocolError):
        make_peer().tool(name="t", output_schema={"type": "array"})(list)


@pytest.mark.requirement("C25-182")
async def test_who_is_connected_is_told_of_changes(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.tool(name="a")(lambda: "x")
    async with scripted(peer) as remote, scripted(peer) as other:
        for change in (lambda: peer.tool(name="b")(lambda: "x"), lambda: peer.remove_tool("a")):
            change()
            for one in (remote, other):
                assert await one.expect("notifications/tools/list_changed") == {
                    "jsonrpc": "2.0",
                    "method": "notifications/tools/list_changed",
                }
        assert [tool["name"] for tool in (await remote.request("tools/list"))["tools"]] == ["b"]
        await remote.quiet()
        assert remote.unread() == []
    with pytest.raises(KeyError):
        peer.remove_tool("a")


async def test_who_is_not_through_with_the_handshake_is_not_told(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.tool(name="a")(lambda: "x")
    async with scripted(peer, handshake=False) as remote:
        peer.tool(name="b")(lambda: "x")
        await remote.quiet()
        assert remote.received == []


# --- results ----------------------------------------------------------------------------------------------------------

RESOURCE = TextResourceContents(uri="a:b", text="t", mime_type="text/plain")
BLOCKS: list[tuple[Any, Any]] = [
    (TextContent(text="t"), {"type": "text", "text": "t"}),
    (
        TextContent(text="t", annotations=Annotations(audience=["user"], priority=0.5), meta={"a/b": 1}),
        {"type": "text", "text": "t", "annotations": {"audience": ["user"], "priority": 0.5}, "_meta": {"a/b": 1}},
    ),
    (ImageContent.from_bytes(b"\0\1", "image/png"), {"type": "image", "data": "AAE=", "mimeType": "image/png"}),
    (AudioContent.from_bytes(b"\xff", "audio/wav"), {"type": "audio", "data": "/w==", "mimeType": "audio/wav"}),
    (ResourceLink(uri="a:b", name="n", size=3), {"type": "resource_link", "uri": "a:b", "name": "n", "size": 3}),
    (
        EmbeddedResource(resource=RESOURCE),
        {"type": "resource", "resource": {"uri": "a:b", "text": "t", "mimeType": "text/plain"}},
    ),
]


@pytest.mark.requirement("C25-191", "C25-192", "C25-193", "C25-194")
@pytest.mark.parametrize(("block", "wire"), BLOCKS, ids=lambda value: type(value).__name__)
async def test_every_kind_of_content(make_peer: MakePeer, block: Any, wire: Any) -> None:
    client, server = make_peer("c"), make_peer("s")
    server.tool(name="one")(lambda: block)
    server.tool(name="two")(lambda: [block, block])
    async with scripted(server) as remote:
        assert await call(remote, "one") == {"content": [wire]}
        assert await call(remote, "two") == {"content": [wire, wire]}
    async with peer_pair(client, server) as pair:
        assert (await pair.client.call_tool("two")).content == [block, block]


def number() -> int:
    return 5


def listing() -> list[str]:
    return ["a", "b"]


def report() -> Report:
    return {"text": "é", "count": 2}


def maybe() -> int | None:
    return None


def untyped():  # type: ignore[no-untyped-def]
    return {"free": ["form"]}


def untyped_list():  # type: ignore[no-untyped-def]
    return [1, 2]


def silent() -> None:
    return None


def said() -> str:
    return "words"


def ready() -> CallToolResult:
    return CallToolResult(content=[TextContent(text="a")], structured_content={"b": 1}, meta={"c/d": 2})


def spelled_out(result: Any) -> Any:
    """A result with the JSON in its texts decoded: how that is spaced is nobody's business."""

    def decoded(block: Any) -> Any:
        return {**block, "text": json.loads(block["text"])} if block["text"][0] in "{[" else block

    return {**result, "content": [decoded(block) for block in result["content"]]}


@pytest.mark.requirement("C25-191", "C25-196", "C25-197", "C25-198")
@pytest.mark.parametrize(
    ("function", "result"),
    [
        (number, {"content": text('{"result": 5}'), "structuredContent": {"result": 5}}),
        (listing, {"content": text('{"result": ["a", "b"]}'), "structuredContent": {"result": ["a", "b"]}}),
        (report, {"content": text('{"text": "é", "count": 2}'), "structuredContent": {"text": "é", "count": 2}}),
        (maybe, {"content": text('{"result": null}'), "structuredContent": {"result": None}}),
        (untyped, {"content": text('{"free": ["form"]}'), "structuredContent": {"free": ["form"]}}),
        (untyped_list, {"content": text("[1, 2]")}),
        (silent, {"content": []}),
        (said, {"content": text("words")}),
        (ready, {"content": text("a"), "structuredContent": {"b": 1}, "_meta": {"c/d": 2}}),
    ],
)
async def test_what_a_function_returns_becomes_a_result(make_peer: MakePeer, function: Any, result: Any) -> None:
    server = make_peer("s")
    server.tool(function)
    async with scripted(server) as remote:
        assert spelled_out(await call(remote, function.__name__)) == spelled_out(result)
    async with peer_pair(make_peer("c"), server) as pair:
        got = await pair.client.call_tool(function.__name__)
        assert got.structured_content == result.get("structuredContent", got.structured_content)


def wrong_type() -> int:
    return "five"  # type: ignore[return-value]


def wrong_shape() -> Weather:
    return {"city": 3}  # type: ignore[return-value]


def no_json() -> dict[str, Any]:
    return {"x": threading.Lock()}


@pytest.mark.requirement("C25-198")
@pytest.mark.parametrize("function", [wrong_type, wrong_shape, no_json])
async def test_a_result_that_breaks_its_own_promise_is_our_failure(
    make_peer: MakePeer, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    peer = make_peer()
    peer.tool(function)
    async with scripted(peer) as remote:
        result = await call(remote, function.__name__)
    assert result["isError"] is True
    assert "structuredContent" not in result
    assert "The tool failed unexpectedly (reference" in result["content"][0]["text"]
    assert any(record.exc_info for record in caplog.records)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}


@pytest.mark.requirement("C25-184", "C25-196", "C25-198")
async def test_a_declared_output_schema_is_kept(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(output_schema=SCHEMA)
    def declared(n: int, ready: bool = False) -> Any:
        if ready:
            return CallToolResult(content=[], structured_content={"n": n})
        return {"n": n}

    async with scripted(peer) as remote:
        (tool,) = (await remote.request("tools/list"))["tools"]
        assert tool["outputSchema"] == SCHEMA
        for as_result in (False, True):
            good = await call(remote, "declared", {"n": 3, "ready": as_result})
            assert good["structuredContent"] == {"n": 3}
            bad = await call(remote, "declared", {"n": 2, "ready": as_result})
            assert bad["isError"] is True
            assert "minimum" not in bad["content"][0]["text"]


async def test_an_error_result_need_not_fit_the_output_schema(make_peer: MakePeer) -> None:
    server = make_peer("s")

    @server.tool(output_schema=SCHEMA)
    def declared() -> Any:
        return CallToolResult(content=[TextContent(text="no")], is_error=True)

    async with peer_pair(make_peer("c"), server) as pair:
        result = await pair.client.call_tool("declared")
    assert result.is_error


# --- what goes wrong --------------------------------------------------------------------------------------------------


def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.mark.requirement("C25-200")
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"name": "nope"}, "$.params.name: there is no tool 'nope'"),
        ({"name": "Add"}, "$.params.name: there is no tool 'Add'"),
        ({}, "$.params.name: required"),
        ({"name": 3}, "$.params.name: expected string, got integer"),
        ({"name": "add", "arguments": []}, "$.params.arguments: expected object, got array"),
        ({"name": "add", "arguments": None}, "$.params.arguments: expected object, got null"),
    ],
)
async def test_a_call_that_is_none_is_a_protocol_error(make_peer: MakePeer, params: Any, complaint: str) -> None:
    peer = make_peer()
    peer.tool(add)
    async with scripted(peer) as remote:
        assert await refused(remote, "tools/call", params) == (-32602, complaint)


@pytest.mark.requirement("C25-201", "C25-204")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (None, "$.params.arguments: object missing required field a"),
        ({}, "$.params.arguments: object missing required field a"),
        ({"a": "1"}, "$.params.arguments.a: expected int, got str"),
        ({"a": 1, "c": 2}, "$.params.arguments: object contains unknown field c"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(make_peer: MakePeer, arguments: Any, complaint: str) -> None:
    peer = make_peer()
    peer.tool(add)
    async with scripted(peer) as remote:
        assert await call(remote, "add", arguments) == {"content": text(complaint), "isError": True}
        assert (await call(remote, "add", {"a": 1}))["structuredContent"] == {"result": 2}


async def test_arguments_are_checked_against_a_schema_of_ones_own(make_peer: MakePeer) -> None:
    peer, seen = make_peer(), []

    @peer.tool(input_schema=SCHEMA)
    async def own(ctx: Context, arguments: Any) -> str:
        """Mine."""
        seen.append(arguments)
        return "ok"

    async with scripted(peer) as remote:
        (tool,) = (await remote.request("tools/list"))["tools"]
        assert tool["inputSchema"] == SCHEMA
        wrong = await call(remote, "own", {"n": 1})
        assert wrong["isError"] is True
        assert wrong["content"][0]["text"].startswith("$.params.arguments.n: ")
        assert (await call(remote, "own", {"n": 4, "more": 1}))["content"] == text("ok")
    assert seen == [{"n": 4, "more": 1}]


@pytest.mark.requirement("C25-201")
async def test_a_tool_error_is_told_to_the_model(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def fails() -> str:
        raise ToolError("The kitchen is closed.")

    async with scripted(peer) as remote:
        assert await call(remote, "fails") == {"content": text("The kitchen is closed."), "isError": True}


@pytest.mark.requirement("C25-200", "C25-201", "C25-259")
async def test_a_crash_is_told_without_its_details(make_peer: MakePeer, caplog: pytest.LogCaptureFixture) -> None:
    peer = make_peer()

    @peer.tool
    async def crashes() -> str:
        raise ValueError("password 1234")

    async with scripted(peer) as remote:
        result = await call(remote, "crashes")
    assert result["isError"] is True
    said = result["content"][0]["text"]
    assert "password" not in said
    reference = said.partition("reference ")[2].rstrip(")")
    assert any(reference in record.getMessage() and record.exc_info for record in caplog.records)


@pytest.mark.parametrize("error", [InvalidParams("$.x: no"), RequestFailed(-32000, "no", {"a": 1})])
async def test_a_tool_may_answer_with_a_protocol_error(make_peer: MakePeer, error: Exception) -> None:
    peer = make_peer()

    @peer.tool
    async def refuses() -> str:
        raise error

    async with scripted(peer) as remote:
        code, message = await refused(remote, "tools/call", {"name": "refuses"})
    assert (code, message) == ((-32602, "$.x: no") if isinstance(error, InvalidParams) else (-32000, "no"))


async def test_what_the_client_cannot_be_asked_is_told_to_the_model(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def asks(ctx: Context) -> str:
        await ctx.sample("hi")
        return "no"

    async with scripted(peer, capabilities={}) as remote:
        result = await call(remote, "asks")
    assert result["isError"] is True
    assert "has not announced sampling" in result["content"][0]["text"]


# --- running ----------------------------------------------------------------------------------------------------------


async def test_plain_functions_run_in_threads_and_coroutines_do_not(make_peer: MakePeer) -> None:
    peer, ran = make_peer(), {}

    @peer.tool
    def plain() -> str:
        ran["plain"] = threading.get_ident()
        return "x"

    @peer.tool
    async def coroutine() -> str:
        ran["coroutine"] = threading.get_ident()
        return "x"

    async with scripted(peer) as remote:
        await call(remote, "plain")
        await call(remote, "coroutine")
    assert ran["coroutine"] == threading.get_ident()
    assert ran["plain"] != threading.get_ident()


async def test_a_thread_that_is_stuck_does_not_hold_up_its_cancellation(make_peer: MakePeer) -> None:
    peer = make_peer()
    running, go_on = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    @peer.tool
    def stuck() -> str:
        token.run_sync_soon(running.set)
        go_on.wait()
        return "late"

    try:
        async with scripted(peer) as remote:
            id = await remote.ask("tools/call", {"name": "stuck"})
            await running.wait()
            await remote.notify("notifications/cancelled", {"requestId": id})
            await remote.request("ping")
            assert not remote.answered(id)
    finally:
        go_on.set()


async def test_tools_run_at_the_same_time(make_peer: MakePeer) -> None:
    peer = make_peer()
    meeting = 0
    all_there = trio.Event()

    @peer.tool
    async def meet() -> int:
        nonlocal meeting
        meeting += 1
        if meeting == 10:
            all_there.set()
        await all_there.wait()
        return meeting

    async with scripted(peer) as remote:
        ids = [await remote.ask("tools/call", {"name": "meet"}) for _ in range(10)]
        for id in ids:
            assert (await remote.answer(id))["structuredContent"] == {"result": 10}


async def test_one_request_does_not_see_the_context_variables_of_another(make_peer: MakePeer) -> None:
    import contextvars

    peer = make_peer()
    variable = contextvars.ContextVar("variable", default="clean")

    @peer.tool
    async def leave() -> str:
        found = variable.get()
        variable.set("dirty")
        await trio.lowlevel.checkpoint()
        return found

    async with scripted(peer) as remote:
        ids = [await remote.ask("tools/call", {"name": "leave"}) for _ in range(10)]
        for id in ids:
            assert (await remote.answer(id))["content"] == text("clean")


# --- as the client ----------------------------------------------------------------------------------------------------


async def client_call(
    remote: Remote, tools: list[dict[str, Any]], result: Any, name: str = "t", **options: Any
) -> tuple[Any, Any]:
    """What a client's call comes to, and the params it sent."""
    assert remote.connection is not None
    got: list[Any] = []

    async def run() -> None:
        try:
            got.append(await remote.connection.call_tool(name, **options))  # type: ignore[union-attr]
        except (RemoteProtocolError, RequestFailed) as error:
            got.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await remote.reply(await remote.expect("tools/list"), {"tools": tools})
        request = await remote.expect("tools/call")
        await remote.reply(request, result)
    return got[0], request["params"]


def a_tool(**members: Any) -> dict[str, Any]:
    return {"name": "t", "inputSchema": {"type": "object"}, **members}


async def test_a_client_calls_a_tool(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        result, params = await client_call(remote, [a_tool()], {"content": text("hi")}, arguments={"a": 1})
        assert params == {"name": "t", "arguments": {"a": 1}}
        assert result.content == [TextContent(text="hi")]
        assert not result.is_error


@pytest.mark.requirement("C25-196", "C25-199")
@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({"content": [], "structuredContent": {"n": 3}}, None),
        ({"content": [], "structuredContent": {"n": 2}}, r"\$\.result\.structuredContent\.n"),
        ({"content": [], "structuredContent": {}}, r"\$\.result\.structuredContent"),
        ({"content": []}, "its result is not structured"),
        ({"content": [], "isError": True}, None),
        ({"content": [], "structuredContent": [1]}, r"\$\.result\.structuredContent: expected object, got array"),
    ],
)
async def test_a_client_checks_structured_content(make_peer: MakePeer, result: Any, complaint: str | None) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        got, _ = await client_call(remote, [a_tool(outputSchema=SCHEMA)], result)
        if complaint is None:
            assert isinstance(got, CallToolResult)
        else:
            assert isinstance(got, RemoteProtocolError)
            with pytest.raises(RemoteProtocolError, match=complaint):
                raise got


@pytest.mark.requirement("C25-025")
async def test_an_output_schema_nobody_understands_is_a_clear_error(make_peer: MakePeer) -> None:
    schema = {"$schema": "https://example.com/other", "type": "object"}
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        got, _ = await client_call(remote, [a_tool(outputSchema=schema)], {"content": [], "structuredContent": {}})
        assert isinstance(got, RemoteProtocolError)
        assert "example.com/other" in str(got)


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({}, "$.result.content: required"),
        ({"content": "x"}, "$.result.content: expected array, got string"),
        ({"content": [{"type": "text"}]}, "$.result.content[0].text: required"),
        ({"content": [], "isError": "no"}, "$.result.isError: expected boolean, got string"),
    ],
)
async def test_a_malformed_result_says_where(make_peer: MakePeer, result: Any, complaint: str) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        got, _ = await client_call(remote, [a_tool()], result)
        assert str(got) == f"tools/call: {complaint}"


async def test_the_definitions_are_fetched_once_and_again_after_a_change(make_peer: MakePeer) -> None:
    server, listed = make_peer("s"), 0

    @server.middleware
    async def count(ctx: Context, proceed: Any) -> Any:
        nonlocal listed
        listed += ctx.method == "tools/list"
        return await proceed()

    server.tool(add)
    async with peer_pair(make_peer("c"), server) as pair:
        for _ in range(3):
            await pair.client.call_tool("add", {"a": 1})
        assert listed == 1
        server.tool(number)
        await trio.testing.wait_all_tasks_blocked()
        assert (await pair.client.call_tool("number")).structured_content == {"result": 5}
        assert listed == 2


async def test_a_tool_that_is_not_listed_can_still_be_called(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        result, _ = await client_call(remote, [], {"content": text("hidden")})
        assert result.content == [TextContent(text="hidden")]


async def test_two_peers_and_an_unknown_tool(make_peer: MakePeer) -> None:
    server = make_peer("s")
    server.tool(add)
    async with peer_pair(make_peer("c"), server) as pair:
        with pytest.raises(RequestFailed) as caught:
            await pair.client.call_tool("nope")
        assert caught.value.code == -32602
        result = await pair.client.call_tool("add", {"a": "x"})
        assert result.is_error
        with pytest.raises(LocalProtocolError, match="tools/list does not go to a client"):
            await pair.server.call_tool("add")
