"""What the fixture server offers to the official suite, in memory: every name the suite calls, and what it looks at."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import trio

from conformance.fixtures import suite
from conformance.fixtures.everything import peer
from mcp_tasks import Context, Peer
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams
from mcp_tasks.wire.content import AudioContent, EmbeddedResource, ImageContent, TextContent
from mcp_tasks.wire.server_features import PromptReference

CALLS = {
    "test_simple_text": ["text"],
    "test_image_content": ["image"],
    "test_audio_content": ["audio"],
    "test_embedded_resource": ["resource"],
    "test_multiple_content_types": ["text", "image", "resource"],
    "test_reconnection": ["text"],  # in memory there is no stream to drop
}


@pytest.mark.parametrize("tool", CALLS)
async def test_content(autojump_clock: object, tool: str) -> None:
    async with peer_pair(server=peer) as pair:
        result = await pair.client.call_tool(tool)
    assert not result.is_error
    assert [block.type for block in result.content] == CALLS[tool]
    for block in result.content:
        match block:
            case ImageContent():
                assert (block.mime_type, block.to_bytes()) == ("image/png", suite.PICTURE)
            case AudioContent():
                assert (block.mime_type, block.to_bytes()) == ("audio/wav", suite.SOUND)
            case EmbeddedResource():
                assert block.resource.text  # type: ignore[union-attr]


async def test_an_error() -> None:
    async with peer_pair(server=peer) as pair:
        result = await pair.client.call_tool("test_error_handling")
    assert result.is_error
    assert result.text == "This tool never works."


async def test_log_messages(autojump_clock: object) -> None:
    client = Peer("client", "0")
    logged: list[tuple[float, str, Any]] = []

    @client.on("notifications/message")
    async def told(connection: object, params: Any) -> None:
        logged.append((round(trio.current_time() - begun, 3), params.level, params.data))

    async with peer_pair(client, peer) as pair:
        await pair.client.set_logging_level("debug")
        begun = trio.current_time()
        await pair.client.call_tool("test_tool_with_logging")
    assert logged == [(0, "info", "begun"), (0.05, "info", "half way"), (0.1, "info", "done")]


async def test_progress(autojump_clock: object) -> None:
    seen: list[tuple[float, float | None]] = []
    async with peer_pair(server=peer) as pair:
        await pair.client.call_tool(
            "test_tool_with_progress", on_progress=lambda said: seen.append((said.progress, said.total))
        )
    assert seen == [(0, 100), (50, 100), (100, 100)]


async def test_sampling() -> None:
    client = Peer("client", "0")

    @client.sampling
    async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        assert params.max_tokens == 100
        return CreateMessageResult(role="assistant", content=TextContent(text="a reply"), model="m")

    async with peer_pair(client, peer) as pair:
        result = await pair.client.call_tool("test_sampling", {"prompt": "hello"})
    assert result.text == "the model said: a reply"


async def asked(tool: str, arguments: dict[str, Any], answer: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The form that a tool asks the user to fill in, and what it makes of the answer."""
    client = Peer("client", "0")
    forms: list[dict[str, Any]] = []

    @client.elicitation
    async def fill_in(ctx: Context, form: ElicitFormParams) -> dict[str, Any]:
        forms.append(form.requested_schema)
        return answer

    async with peer_pair(client, peer) as pair:
        result = await pair.client.call_tool(tool, arguments)
    assert not result.is_error, result.text
    return forms[0], result.text


async def test_elicitation() -> None:
    form, said = await asked("test_elicitation", {"message": "?"}, {"username": "ada", "email": "ada@example.org"})
    assert form["required"] == ["username", "email"]
    assert {name: field["type"] for name, field in form["properties"].items()} == {
        "username": "string",
        "email": "string",
    }
    assert "accept" in said
    assert "ada@example.org" in said


async def test_a_default_for_every_kind_of_field() -> None:
    form, said = await asked("test_elicitation_sep1034_defaults", {}, {})
    fields = form["properties"]
    assert {name: field["type"] for name, field in fields.items()} == {
        "name": "string",
        "age": "integer",
        "score": "number",
        "status": "string",
        "verified": "boolean",
    }
    assert {name: field["default"] for name, field in fields.items()} == {
        "name": "John Doe",
        "age": 30,
        "score": 95.5,
        "status": "active",
        "verified": True,
    }
    assert sorted(fields["status"]["enum"]) == ["active", "inactive", "pending"]
    assert "required" not in form
    assert "95.5" in said


async def test_every_kind_of_choice() -> None:
    answer = {
        "untitledSingle": "option1",
        "titledSingle": "value1",
        "legacyEnum": "opt1",
        "untitledMulti": ["option1", "option2"],
        "titledMulti": ["value1", "value2"],
    }
    form, _ = await asked("test_elicitation_sep1330_enums", {}, answer)
    assert form == suite.CHOICES
    assert set(form["properties"]) == set(answer)


async def test_who_cannot_be_asked_is_told_so() -> None:
    async with peer_pair(server=peer) as pair:
        for tool, arguments in (("test_sampling", {"prompt": "?"}), ("test_elicitation", {"message": "?"})):
            assert (await pair.client.call_tool(tool, arguments)).is_error


async def test_a_schema_arrives_as_it_was_written() -> None:
    async with scripted(peer) as client:
        listed = (await client.request("tools/list"))["tools"]
    (tool,) = [tool for tool in listed if tool["name"] == "json_schema_2020_12_tool"]
    assert tool["inputSchema"] == suite.PARCEL


@pytest.mark.parametrize(
    ("parcel", "right"),
    [
        ({"to": {"town": "Ulm"}, "grams": 5}, True),
        ({"to": {"town": "Ulm"}, "size": "S", "insured": True, "value": 3}, True),
        ({"to": {"town": "Ulm"}, "size": "S", "insured": True}, False),
        ({"to": {"town": "Ulm"}, "grams": 5, "value": 3}, False),
        ({"to": {"town": "Ulm"}}, False),
        ({"to": {"street": "Hirschstr."}, "grams": 5}, False),
        ({"to": {"town": "Ulm"}, "back": {"street": "Hirschstr."}, "grams": 5}, False),
        ({"to": {"town": "Ulm"}, "grams": 5, "stamps": 3}, False),
    ],
)
async def test_a_schema_means_what_it_says(parcel: dict[str, Any], right: bool) -> None:
    assert jsonschema_rs.validator_for(suite.PARCEL).is_valid(parcel) is right
    async with peer_pair(server=peer) as pair:
        result = await pair.client.call_tool("json_schema_2020_12_tool", parcel)
    assert bool(result.is_error) is not right


async def test_resources() -> None:
    async with peer_pair(server=peer) as pair:
        client = pair.client
        (text,) = (await client.read_resource("test://static-text")).contents
        (blob,) = (await client.read_resource("test://static-binary")).contents
        (data,) = (await client.read_resource("test://template/123/data")).contents
        assert (text.mime_type, bool(text.text)) == ("text/plain", True)  # type: ignore[union-attr]
        assert (blob.mime_type, blob.to_bytes()) == ("image/png", suite.PICTURE)  # type: ignore[union-attr]
        assert "123" in data.text  # type: ignore[union-attr]

        await client.subscribe("test://watched-resource")
        assert pair.server.subscriptions == {"test://watched-resource"}
        await client.unsubscribe("test://watched-resource")
        assert pair.server.subscriptions == set()


async def test_prompts() -> None:
    async with peer_pair(server=peer) as pair:
        client = pair.client
        (simple,) = (await client.get_prompt("test_simple_prompt")).messages
        filled = await client.get_prompt("test_prompt_with_arguments", {"arg1": "salt", "arg2": "pepper"})
        embedded = await client.get_prompt("test_prompt_with_embedded_resource", {"resourceUri": "test://any"})
        picture = await client.get_prompt("test_prompt_with_image")
        typed = await client.complete(PromptReference("test_prompt_with_arguments"), "arg1", "te")
    assert simple.role == "user"
    assert filled.messages[0].content.text == "Compare 'salt' with 'pepper'."  # type: ignore[union-attr]
    assert embedded.messages[0].content.resource.uri == "test://any"  # type: ignore[union-attr]
    assert picture.messages[0].content.to_bytes() == suite.PICTURE  # type: ignore[union-attr]
    assert typed.values == ["tea", "test", "text"]


async def test_everything_listed_is_described() -> None:
    async with scripted(peer) as client:
        for method, member in (("tools/list", "tools"), ("resources/list", "resources"), ("prompts/list", "prompts")):
            listed = (await client.request(method))[member]
            assert [entry["name"] for entry in listed if not entry.get("description")] == []
