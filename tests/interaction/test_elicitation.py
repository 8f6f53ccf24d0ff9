"""Elicitation: forms and URLs, their answers, and the error that asks for a URL first."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import pytest
import trio

from mcp_tasks import (
    Context,
    Elicit,
    ElicitUrl,
    LocalProtocolError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Side,
    UrlElicitationRequired,
)
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import ElicitFormParams, ElicitResult, ElicitUrlParams

MakePeer = Callable[..., Peer]
METHOD = "elicitation/create"
COMPLETE = "notifications/elicitation/complete"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 2, "maxLength": 9},
        "mail": {"type": "string", "format": "email", "default": "a@b.ch"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 3},
        "score": {"type": "number", "default": 0.5},
        "ok": {"type": "boolean", "default": False},
        "size": {"type": "string", "enum": ["s", "l"], "enumNames": ["small", "large"], "default": "l"},
        "colour": {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}]},
        "days": {"type": "array", "items": {"type": "string", "enum": ["mo", "tu"]}, "default": ["mo"]},
        "tags": {"type": "array", "items": {"anyOf": [{"const": "x", "title": "X"}, {"const": "y", "title": "Y"}]}},
    },
    "required": ["name"],
}
FORM = {"message": "Who?", "requestedSchema": SCHEMA}
URL = {"mode": "url", "message": "Pay", "url": "https://pay.example.com/1", "elicitationId": "e-1"}
OVERRIDING = {"name": "Ada", "age": 36, "days": []}
CHOSEN = {"name": "Ada", "colour": "b", "tags": ["x", "y"]}
DEFAULTS = {"mail": "a@b.ch", "age": 3, "score": 0.5, "ok": False, "size": "l", "days": ["mo"]}


def answering(peer: Peer, answer: Any, **options: Any) -> list[Any]:
    """A peer whose user gives this answer; returns what is asked."""
    asked: list[Any] = []

    @peer.elicitation(**options)
    async def ask(ctx: Context, params: Any) -> Any:
        asked.append(params)
        return answer

    return asked


# --- the client's side ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-305", "C25-306", "C25-308", "C25-309", "C25-324")
@pytest.mark.parametrize("mode", [{}, {"mode": "form"}])
@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"name": "Ada"}, {"action": "accept", "content": {**DEFAULTS, "name": "Ada"}}),
        (OVERRIDING, {"action": "accept", "content": {**DEFAULTS, **OVERRIDING}}),
        (ElicitResult(action="accept", content=CHOSEN), {"action": "accept", "content": {**DEFAULTS, **CHOSEN}}),
        (ElicitResult(action="decline"), {"action": "decline"}),
        (ElicitResult(action="cancel"), {"action": "cancel"}),
    ],
    ids=["minimal", "overriding", "result", "decline", "cancel"],
)
async def test_a_form_is_answered(make_peer: MakePeer, mode: Any, answer: Any, result: Any) -> None:
    peer = make_peer()
    asked = answering(peer, answer)
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert await remote.request(METHOD, {**FORM, **mode}) == result
    (params,) = asked
    assert isinstance(params, ElicitFormParams)
    assert (params.message, params.requested_schema) == ("Who?", SCHEMA)


@pytest.mark.requirement("C25-348")
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"name": "x"},
        {"name": "Ada", "age": -1},
        {"name": "Ada", "size": "m"},
        {"name": "Ada", "tags": "x"},
        "Ada",
        None,
        ElicitResult(action="accept"),
    ],
    ids=repr,
)
async def test_an_answer_that_does_not_fit_the_form_is_not_sent(make_peer: MakePeer, answer: Any) -> None:
    peer = make_peer()
    answering(peer, answer)
    async with scripted(peer, side=Side.CLIENT) as remote:
        response = await remote.response(await remote.ask(METHOD, FORM))
    assert response["error"]["code"] == -32603
    assert "result" not in response


@pytest.mark.requirement("C25-310", "C25-324")
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_a_url_is_answered(make_peer: MakePeer, action: Any) -> None:
    peer = make_peer()
    asked = answering(peer, ElicitResult(action=action), url=True)
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert await remote.request(METHOD, URL) == {"action": action}
    (params,) = asked
    assert isinstance(params, ElicitUrlParams)
    assert (params.url, params.elicitation_id) == ("https://pay.example.com/1", "e-1")


async def test_a_url_is_not_answered_with_a_form(make_peer: MakePeer) -> None:
    peer = make_peer()
    answering(peer, {"name": "Ada"}, url=True)
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert (await remote.response(await remote.ask(METHOD, URL)))["error"]["code"] == -32603


@pytest.mark.requirement("C25-304", "C25-307", "C25-310")
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "$.params.message: required"),
        ({"message": "x"}, "$.params.requestedSchema: required"),
        ({"message": 3, "requestedSchema": SCHEMA}, "$.params.message: expected string, got integer"),
        ({"message": "x", "requestedSchema": "y"}, "$.params.requestedSchema: expected object, got string"),
        ({"mode": "url", "message": "x", "url": "https://e.com"}, "$.params.elicitationId: required"),
        ({"mode": "url", "message": "x", "elicitationId": "1"}, "$.params.url: required"),
        ({"mode": "voice", "message": "x"}, "$.params.mode: "),
        ({"mode": 3, "message": "x"}, "$.params.mode: "),
    ],
)
async def test_a_malformed_request_says_where(make_peer: MakePeer, params: Any, complaint: str) -> None:
    peer = make_peer()
    answering(peer, {}, url=True)
    async with scripted(peer, side=Side.CLIENT) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(METHOD, params)
        assert caught.value.code == -32602
        assert caught.value.message.startswith(complaint)


@pytest.mark.requirement("C25-314", "C25-316", "C25-317")
async def test_a_client_hears_that_a_url_is_done_and_ignores_what_it_does_not_know(make_peer: MakePeer) -> None:
    peer, heard = make_peer(), []

    @peer.on(COMPLETE)
    async def complete(connection: Any, params: Any) -> None:
        heard.append(params.elicitation_id)

    async with scripted(peer, side=Side.CLIENT) as remote:
        await remote.notify(COMPLETE, {"elicitationId": "e-1"})
        await remote.notify(COMPLETE, {"elicitationId": 5})
        await remote.notify(COMPLETE, {})
        await remote.notify(COMPLETE, {"elicitationId": "unknown"})
        assert await remote.request("ping") == {}
        await remote.quiet()
        assert remote.unread() == []
    assert heard == ["e-1", "unknown"]


# --- the server's side ------------------------------------------------------------------------------------------------


async def elicited(remote: Any, question: Any, result: Any) -> tuple[Any, Any]:
    """What a server's question comes to, and the params it sent."""
    got: list[Any] = []

    async def run() -> None:
        try:
            got.append(await remote.connection.elicit(question))
        except (RequestFailed, RemoteProtocolError) as error:
            got.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        request = await remote.expect(METHOD)
        await remote.reply(request, result)
    return got[0], request["params"]


class Fields(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=2, description="yours")]
    kind: Literal["a", "b"]
    count: int = 3
    ratio: float = 0.5
    sure: bool = False
    days: list[Literal["mo", "tu"]] = []


@pytest.mark.requirement("C25-304", "C25-307", "C25-308")
@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"name": str}, {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}),
        (SCHEMA, SCHEMA),
        (
            Fields,
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 2, "description": "yours"},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "count": {"type": "integer", "default": 3},
                    "ratio": {"type": "number", "default": 0.5},
                    "sure": {"type": "boolean", "default": False},
                    "days": {"type": "array", "items": {"type": "string", "enum": ["mo", "tu"]}, "default": []},
                },
                "required": ["name", "kind"],
            },
        ),
    ],
    ids=["mapping", "schema", "class"],
)
async def test_a_server_asks_by_form(make_peer: MakePeer, fields: Any, schema: Any) -> None:
    async with scripted(make_peer()) as remote:
        got, params = await elicited(remote, Elicit("Who?", fields), {"action": "cancel"})
        assert params == {"mode": "form", "message": "Who?", "requestedSchema": schema}
        assert got == ElicitResult(action="cancel")


@pytest.mark.requirement("C25-305")
async def test_an_older_revision_hears_of_no_mode(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), revision="2025-06-18", capabilities={"elicitation": {}}) as remote:
        _, params = await elicited(remote, Elicit("Who?", {}), {"action": "cancel"})
        assert params == {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}


@pytest.mark.requirement("C25-308")
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "object"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": "null"}}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": True}},
    ],
    ids=repr,
)
async def test_a_form_that_is_none_is_not_sent(make_peer: MakePeer, schema: Any) -> None:
    async with scripted(make_peer()) as remote:
        assert remote.connection is not None
        with pytest.raises(LocalProtocolError, match=r"\$\.params\.requestedSchema"):
            await remote.connection.elicit(Elicit("Who?", schema))
        await remote.quiet()
        assert remote.unread() == []


@pytest.mark.requirement("C25-324", "C25-349")
@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({"action": "accept", "content": {"name": "Ada"}}, None),
        ({"action": "decline"}, None),
        ({"action": "cancel", "content": {"ignored": 1}}, None),
        ({"action": "accept", "content": {"name": 3}}, "does not fit the form: $.result.content.name"),
        ({"action": "accept", "content": {}}, "does not fit the form: $.result.content"),
        ({"action": "accept"}, "does not fit the form: $.result.content"),
        ({"action": "agree"}, "$.result.action: "),
        ({}, "$.result.action: required"),
        ({"action": "accept", "content": [1]}, "$.result.content: expected object, got array"),
    ],
)
async def test_an_answer_is_checked(make_peer: MakePeer, result: Any, complaint: str | None) -> None:
    async with scripted(make_peer()) as remote:
        got, _ = await elicited(remote, Elicit("Who?", {"name": str}), result)
        if complaint is None:
            assert got.action == result["action"]
        else:
            assert isinstance(got, RemoteProtocolError)
            assert complaint in str(got)


@pytest.mark.requirement("C25-304", "C25-310", "C25-311", "C25-313")
async def test_a_server_asks_by_url(make_peer: MakePeer) -> None:
    ids = set()
    async with scripted(make_peer()) as remote:
        for _ in range(3):
            got, params = await elicited(remote, ElicitUrl("Pay", "https://p.example.com/?a=b"), {"action": "accept"})
            assert got == ElicitResult(action="accept")
            assert params.keys() == {"mode", "message", "url", "elicitationId"}
            assert (params["mode"], params["message"], params["url"]) == ("url", "Pay", "https://p.example.com/?a=b")
            ids.add(params["elicitationId"])
    assert len(ids) == 3


@pytest.mark.requirement("C25-314", "C25-315", "C25-316")
async def test_a_server_says_that_a_url_is_done_to_whom_it_was_for(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def pay(ctx: Context) -> str:
        question = ElicitUrl("Pay", "https://p.example.com")
        answer = await ctx.ask("pay", question)
        await ctx.connection.notify(COMPLETE, {"elicitationId": question.elicitation_id})
        return answer.action

    async with scripted(peer) as remote, scripted(peer) as other:
        id = await remote.ask("tools/call", {"name": "pay"})
        request = await remote.expect(METHOD)
        await remote.reply(request, {"action": "accept"})
        await remote.answer(id)
        complete = await remote.expect(COMPLETE)
        assert complete["params"] == {"elicitationId": request["params"]["elicitationId"]}
        assert other.unread() == []


@pytest.mark.requirement("C25-318", "C25-320", "C25-322", "C25-323", "C25-325")
async def test_a_tool_that_needs_a_url_first(make_peer: MakePeer) -> None:
    client, server, paid = make_peer("c"), make_peer("s"), set()
    done: list[str] = []
    answering(client, ElicitResult(action="accept"), url=True)

    @client.on(COMPLETE)
    async def complete(connection: Any, params: Any) -> None:
        done.append(params.elicitation_id)

    @server.tool
    async def download(ctx: Context) -> str:
        if ctx.principal not in paid:
            raise UrlElicitationRequired([URL], "Pay first")
        return "here"

    async with peer_pair(client, server) as pair:
        with pytest.raises(RequestFailed) as caught:
            await pair.client.call_tool("download")
        assert (caught.value.code, caught.value.message) == (-32042, "Pay first")
        (elicitation,) = caught.value.data["elicitations"]
        assert elicitation == URL
        paid.add(pair.server.principal)
        await pair.server.notify(COMPLETE, {"elicitationId": elicitation["elicitationId"]})
        assert (await pair.client.call_tool("download")).content[0].text == "here"  # type: ignore[union-attr]
    assert done == ["e-1"]


@pytest.mark.parametrize("answer", [{"name": "Ada"}, ElicitResult(action="decline")], ids=["accept", "decline"])
async def test_a_tool_asks_while_it_runs(make_peer: MakePeer, answer: Any) -> None:
    client, server = make_peer("c"), make_peer("s")
    asked = answering(client, answer)

    @server.tool
    async def greet(ctx: Context) -> str:
        first = await ctx.elicit("Who?", {"name": str})
        second = await ctx.elicit("Who else?", {"name": str})
        return f"{first.action} {first.content or None} {second.action}"

    async with peer_pair(client, server) as pair:
        result = await pair.client.call_tool("greet")
    expected = "accept {'name': 'Ada'} accept" if isinstance(answer, dict) else "decline None decline"
    assert result.content[0].text == expected  # type: ignore[union-attr]
    assert [params.message for params in asked] == ["Who?", "Who else?"]


async def test_a_key_is_used_once(make_peer: MakePeer) -> None:
    server = make_peer("s")
    client = make_peer("c")
    answering(client, {"name": "Ada"})
    failed: list[str] = []

    @server.tool
    async def greet(ctx: Context) -> str:
        await ctx.elicit("Who?", {"name": str}, key="who")
        try:
            await ctx.elicit("Who?", {"name": str}, key="who")
        except LocalProtocolError as error:
            failed.append(str(error))
        return "x"

    async with peer_pair(client, server) as pair:
        await pair.client.call_tool("greet")
    assert failed == ["the key 'who' was used before in this handler"]
