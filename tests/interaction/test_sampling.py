"""Sampling: a server has the client's model say something, with tools or without."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import (
    Context,
    LocalProtocolError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    Sample,
    Side,
)
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ModelHint,
    ModelPreferences,
    SamplingMessage,
    ToolChoice,
)
from mcp_tasks.wire.content import AudioContent, ImageContent, TextContent, ToolResultContent, ToolUseContent
from mcp_tasks.wire.server_features import Tool

MakePeer = Callable[..., Peer]
METHOD = "sampling/createMessage"


def model(peer: Peer, **options: Any) -> list[CreateMessageParams]:
    """A peer whose model says "ok"; returns what it is asked."""
    asked: list[CreateMessageParams] = []

    @peer.sampling(**options)
    async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        asked.append(params)
        return CreateMessageResult(role="assistant", content=TextContent(text="ok"), model="m-1", stop_reason="endTurn")

    return asked


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if len(content) == 1 else list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content[0] if len(content) == 1 else list(content)}


TEXT = {"type": "text", "text": "t"}


def use(id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "t", "input": {}}


def outcome(id: str) -> dict[str, Any]:
    return {"type": "tool_result", "toolUseId": id, "content": [TEXT]}


# --- the client's side ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-276")
async def test_a_client_answers(make_peer: MakePeer) -> None:
    peer = make_peer()
    asked = model(peer)
    params = {
        "messages": [user(TEXT), assistant({"type": "image", "data": "AA==", "mimeType": "i/p"})],
        "maxTokens": 10,
        "modelPreferences": {"hints": [{"name": "big"}], "costPriority": 0.5},
        "systemPrompt": "be brief",
        "includeContext": "none",
        "temperature": 0.1,
        "stopSequences": ["\n"],
        "metadata": {"x": 1},
        "_meta": {"a/b": 1},
        "unheard": "of",
    }
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert await remote.request(METHOD, params) == {
            "role": "assistant",
            "content": {"type": "text", "text": "ok"},
            "model": "m-1",
            "stopReason": "endTurn",
        }
    assert asked == [
        CreateMessageParams(
            messages=[
                SamplingMessage(role="user", content=TextContent(text="t")),
                SamplingMessage(role="assistant", content=ImageContent(data="AA==", mime_type="i/p")),
            ],
            max_tokens=10,
            model_preferences=ModelPreferences(hints=[ModelHint(name="big")], cost_priority=0.5),
            system_prompt="be brief",
            include_context="none",
            temperature=0.1,
            stop_sequences=["\n"],
            metadata={"x": 1},
            meta={"a/b": 1},
        )
    ]


@pytest.mark.requirement("C25-275")
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "$.params.messages: required"),
        ({"messages": []}, "$.params.maxTokens: required"),
        ({"messages": [], "maxTokens": "1"}, "$.params.maxTokens: expected number, got string"),
        ({"messages": [{"role": "user"}], "maxTokens": 1}, "$.params.messages[0].content: required"),
        ({"messages": [{"role": "system", "content": TEXT}], "maxTokens": 1}, "$.params.messages[0].role: "),
        ({"messages": [user({"type": "text"})], "maxTokens": 1}, "$.params.messages[0].content.text: required"),
        ({"messages": [], "maxTokens": 1, "toolChoice": {"mode": "maybe"}}, "$.params.toolChoice.mode: "),
    ],
)
async def test_a_malformed_request_says_where(make_peer: MakePeer, params: Any, complaint: str) -> None:
    peer = make_peer()
    model(peer, tools=True)
    async with scripted(peer, side=Side.CLIENT) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(METHOD, params)
        assert caught.value.code == -32602
        assert caught.value.message.startswith(complaint)


@pytest.mark.requirement("C25-281", "C25-282", "C25-283", "C25-288", "C25-292")
@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([user(TEXT), assistant(use("a")), user(outcome("a"))], None),
        ([user(TEXT), assistant(TEXT, use("a"), use("b")), user(outcome("b"), outcome("a")), assistant(TEXT)], None),
        ([user(TEXT), assistant(use("a")), user(outcome("a")), assistant(use("b")), user(outcome("b"))], None),
        (
            [assistant(use("a")), user(outcome("a"), TEXT)],
            "$.params.messages[1].content: tool results go into a user message that holds nothing else",
        ),
        (
            [assistant(use("a")), user(TEXT)],
            "$.params.messages[1].content: expected a result for the tool use 'a'",
        ),
        (
            [assistant(use("a"), use("b")), user(outcome("a"))],
            "$.params.messages[1].content: expected a result for the tool use 'b'",
        ),
        (
            [user(outcome("a"))],
            "$.params.messages[0].content: there is no tool use 'a' in the message before",
        ),
        (
            [assistant(use("a")), user(outcome("a"), outcome("z"))],
            "$.params.messages[1].content: there is no tool use 'z' in the message before",
        ),
        (
            [assistant(use("a")), assistant(outcome("a"))],
            "$.params.messages[1].content: tool results go into a user message that holds nothing else",
        ),
        (
            [user(TEXT), assistant(use("b"), use("a"))],
            "$.params.messages: expected a result for the tool use 'a' at the end",
        ),
        ([user(use("a"))], "$.params.messages[0].content: tool uses go into an assistant message"),
    ],
)
async def test_tool_exchanges_are_checked_on_both_sides(
    make_peer: MakePeer, messages: Any, complaint: str | None
) -> None:
    client, server = make_peer("c"), make_peer("s")
    asked = model(client, tools=True)
    params = {"messages": messages, "maxTokens": 1, "tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    async with scripted(client, side=Side.CLIENT) as remote:
        response = await remote.response(await remote.ask(METHOD, params))
        if complaint is None:
            assert response["result"]["model"] == "m-1"
        else:
            assert response["error"] == {"code": -32602, "message": complaint}
            assert asked == []
    async with peer_pair(client, server) as pair:
        if complaint is None:
            await pair.server.call(METHOD, params)
        else:
            with pytest.raises(LocalProtocolError) as caught:
                await pair.server.call(METHOD, params)
            assert str(caught.value) == complaint


@pytest.mark.requirement("C25-287")
async def test_a_rejection_has_its_own_number(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.sampling
    async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        raise RequestRejected("User rejected sampling request")

    async with scripted(peer, side=Side.CLIENT) as remote:
        response = await remote.response(await remote.ask(METHOD, {"messages": [user(TEXT)], "maxTokens": 1}))
    assert response["error"] == {"code": -1, "message": "User rejected sampling request"}


@pytest.mark.requirement("C25-276")
@pytest.mark.parametrize("value", ["text", {"role": "assistant"}, {"role": "x", "content": TEXT, "model": "m"}, 5])
async def test_a_wrong_answer_of_the_model_is_an_internal_error(make_peer: MakePeer, value: Any) -> None:
    peer = make_peer()
    peer.sampling(lambda ctx, params: value)
    async with scripted(peer, side=Side.CLIENT) as remote:
        response = await remote.response(await remote.ask(METHOD, {"messages": [user(TEXT)], "maxTokens": 1}))
        assert response["error"]["code"] == -32603


# --- the server's side ------------------------------------------------------------------------------------------------


async def sampled(remote: Any, sample: Sample, result: Any) -> tuple[Any, Any]:
    """What a server's request for a sample comes to, and the params it sent."""
    got: list[Any] = []

    async def run() -> None:
        try:
            got.append(await remote.connection.create_message(sample))
        except (RequestFailed, RemoteProtocolError) as error:
            got.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        request = await remote.expect(METHOD)
        await remote.reply(request, result)
    return got[0], request["params"]


RESULT = {"role": "assistant", "content": TEXT, "model": "m"}


@pytest.mark.requirement("C25-275", "C25-276")
async def test_a_server_samples(make_peer: MakePeer) -> None:
    async with scripted(make_peer()) as remote:
        got, params = await sampled(remote, Sample("hello"), RESULT)
        assert params == {"messages": [user({"type": "text", "text": "hello"})], "maxTokens": 1024}
        assert got == CreateMessageResult(role="assistant", content=TextContent(text="t"), model="m")


@pytest.mark.requirement("C25-285")
async def test_a_server_samples_with_everything(make_peer: MakePeer) -> None:
    tool = Tool(name="t", input_schema={"type": "object"})
    turn = [
        "question",
        SamplingMessage(role="assistant", content=[ToolUseContent(id="a", name="t", input={"x": 1})]),
        SamplingMessage(
            role="user",
            content=[ToolResultContent(tool_use_id="a", content=[TextContent(text="r")], meta={"k/l": 1})],
        ),
    ]
    sample = Sample(
        turn,
        max_tokens=5,
        system_prompt="s",
        model_preferences=ModelPreferences(hints=[ModelHint(name="m")], speed_priority=1),
        include_context="thisServer",
        temperature=1.5,
        stop_sequences=["x"],
        metadata={"a": 1},
        tools=[tool],
        tool_choice=ToolChoice(mode="required"),
    )
    content = [{"type": "tool_use", "id": "b", "name": "t", "input": {"y": 2}, "_meta": {"c/d": 1}}]
    result = {"role": "assistant", "content": content, "model": "m", "stopReason": "toolUse"}
    async with scripted(make_peer()) as remote:
        got, params = await sampled(remote, sample, result)
    assert params == {
        "messages": [
            user({"type": "text", "text": "question"}),
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "t", "input": {"x": 1}}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "toolUseId": "a",
                        "content": [{"type": "text", "text": "r"}],
                        "_meta": {"k/l": 1},
                    }
                ],
            },
        ],
        "maxTokens": 5,
        "systemPrompt": "s",
        "modelPreferences": {"hints": [{"name": "m"}], "speedPriority": 1},
        "includeContext": "thisServer",
        "temperature": 1.5,
        "stopSequences": ["x"],
        "metadata": {"a": 1},
        "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
        "toolChoice": {"mode": "required"},
    }
    assert got.stop_reason == "toolUse"
    assert got.content == [ToolUseContent(id="b", name="t", input={"y": 2}, meta={"c/d": 1})]


@pytest.mark.requirement("C25-276")
@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({}, "$.result.role: required"),
        ({**RESULT, "model": None}, "$.result.model: expected string, got null"),
        ({**RESULT, "content": "t"}, "$.result.content: "),
        ({**RESULT, "content": [{"type": "audio"}]}, "$.result.content[0]."),
    ],
)
async def test_a_malformed_answer_says_where(make_peer: MakePeer, result: Any, complaint: str) -> None:
    async with scripted(make_peer()) as remote:
        got, _ = await sampled(remote, Sample("x"), result)
        assert isinstance(got, RemoteProtocolError)
        assert str(got).startswith(f"{METHOD}: {complaint}")


@pytest.mark.parametrize(
    "content", [TEXT, [TEXT], [TEXT, {"type": "audio", "data": "AA==", "mimeType": "a/w"}], []], ids=repr
)
async def test_content_is_one_block_or_a_list_as_it_came(make_peer: MakePeer, content: Any) -> None:
    async with scripted(make_peer()) as remote:
        got, _ = await sampled(remote, Sample("x"), {**RESULT, "content": content, "stopReason": "whatever"})
        assert isinstance(got.content, list) is isinstance(content, list)
        assert got.stop_reason == "whatever"
        if len(content) == 2 and isinstance(content, list):
            assert got.content[1] == AudioContent(data="AA==", mime_type="a/w")


async def test_a_tool_samples_while_it_runs(make_peer: MakePeer) -> None:
    client, server = make_peer("c"), make_peer("s")
    asked = model(client)

    @server.tool
    async def think(ctx: Context, about: str) -> str:
        first = await ctx.sample(about, max_tokens=7, system_prompt="short")
        await ctx.sample([about, about])
        assert isinstance(first.content, TextContent)
        return first.content.text

    async with peer_pair(client, server) as pair:
        result = await pair.client.call_tool("think", {"about": "life"})
    assert result.content == [TextContent(text="ok")]
    assert [(len(params.messages), params.max_tokens) for params in asked] == [(1, 7), (2, 1024)]
