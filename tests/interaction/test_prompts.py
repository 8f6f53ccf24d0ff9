"""Prompts, and completion for their arguments and for resource templates."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import trio

from mcp_tasks import Context, LocalProtocolError, Peer, RequestFailed, Side
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.content import (
    AudioContent,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from mcp_tasks.wire.server_features import (
    Completion,
    GetPromptResult,
    PromptMessage,
    PromptReference,
    ResourceTemplateReference,
)

MakePeer = Callable[..., Peer]


def message(content: Any, role: str = "user") -> Any:
    return {"role": role, "content": content}


def text(said: str, role: str = "user") -> Any:
    return message({"type": "text", "text": said}, role)


async def test_a_prompt_is_listed_with_everything_that_is_known_of_it(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.prompt(title="Review", icons=[Icon(src="https://e.com/i")], meta={"a/b": 1})
    async def review(ctx: Context, code: str, style: Literal["terse", "long"] = "terse") -> str:
        """Review code.

        Args:
            code: what to look at
        """
        return code

    async with scripted(peer) as remote:
        assert await remote.request("prompts/list") == {
            "prompts": [
                {
                    "name": "review",
                    "title": "Review",
                    "description": "Review code.",
                    "arguments": [
                        {"name": "code", "description": "what to look at", "required": True},
                        {"name": "style"},
                    ],
                    "icons": [{"src": "https://e.com/i"}],
                    "_meta": {"a/b": 1},
                }
            ]
        }


RESOURCE = EmbeddedResource(resource=TextResourceContents(uri="a:b", text="t"))


@pytest.mark.requirement("C25-230", "C25-231", "C25-232")
@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("hi", [text("hi")]),
        (["a", "b"], [text("a"), text("b")]),
        ([PromptMessage(role="assistant", content=TextContent(text="x"))], [text("x", "assistant")]),
        (
            ImageContent.from_bytes(b"\0", "image/png"),
            [message({"type": "image", "data": "AA==", "mimeType": "image/png"})],
        ),
        ([AudioContent.from_bytes(b"\0", "a/w")], [message({"type": "audio", "data": "AA==", "mimeType": "a/w"})]),
        (RESOURCE, [message({"type": "resource", "resource": {"uri": "a:b", "text": "t"}})]),
        (ResourceLink(uri="a:b", name="n"), [message({"type": "resource_link", "uri": "a:b", "name": "n"})]),
        ([], []),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_function_returns_becomes_messages(make_peer: MakePeer, value: Any, messages: Any) -> None:
    peer = make_peer()
    peer.prompt(name="p", description="d")(lambda: value)
    async with scripted(peer) as remote:
        assert await remote.request("prompts/get", {"name": "p"}) == {"messages": messages, "description": "d"}


async def test_a_ready_result_is_passed_on(make_peer: MakePeer) -> None:
    peer = make_peer()
    ready = GetPromptResult(messages=[], description="mine", meta={"a/b": 1})
    peer.prompt(name="p")(lambda: ready)
    async with scripted(peer) as remote:
        assert await remote.request("prompts/get", {"name": "p"}) == {
            "messages": [],
            "description": "mine",
            "_meta": {"a/b": 1},
        }


@pytest.mark.requirement("C25-229", "C25-233", "C25-235")
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"name": "nope"}, "$.params.name: there is no prompt 'nope'"),
        ({}, "$.params.name: required"),
        ({"name": "p"}, "$.params.arguments: object missing required field a"),
        ({"name": "p", "arguments": {}}, "$.params.arguments: object missing required field a"),
        ({"name": "p", "arguments": {"a": "x", "c": "y"}}, "$.params.arguments: object contains unknown field c"),
        ({"name": "p", "arguments": {"a": 1}}, "$.params.arguments.a: expected string, got integer"),
        ({"name": "p", "arguments": {"a": "x", "b": "z"}}, "$.params.arguments.b: invalid enum value 'z'"),
    ],
)
async def test_wrong_requests_say_where(make_peer: MakePeer, params: Any, complaint: str) -> None:
    peer = make_peer()

    @peer.prompt
    async def p(a: str, b: Literal["x", "y"] = "x") -> str:
        return a + b

    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("prompts/get", params)
        assert (caught.value.code, caught.value.message) == (-32602, complaint)
        assert (await remote.request("prompts/get", {"name": "p", "arguments": {"a": "q"}}))["messages"] == [text("qx")]


@pytest.mark.requirement("C25-234")
@pytest.mark.parametrize("value", [5, None, [object()], {}])
async def test_what_is_no_message_is_an_internal_error(make_peer: MakePeer, value: Any) -> None:
    peer = make_peer()
    peer.prompt(name="p")(lambda: value)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("prompts/get", {"name": "p"})
        assert caught.value.code == -32603


def test_declarations_that_are_wrong(make_peer: MakePeer) -> None:
    peer = make_peer()

    def counted(n: int) -> str:
        return "x"

    with pytest.raises(LocalProtocolError, match="has to be text"):
        peer.prompt(counted)
    peer.prompt(name="p")(lambda: "x")
    with pytest.raises(LocalProtocolError, match="already"):
        peer.prompt(name="p")(lambda: "x")
    with pytest.raises(KeyError):
        peer.remove_prompt("q")
    for wrong in ({}, {"prompt": "p", "resource": "a:b"}):
        with pytest.raises(LocalProtocolError, match="a completer is for"):
            peer.completion(**wrong)(lambda *_: [])


@pytest.mark.requirement("C25-228")
async def test_who_is_connected_is_told_of_changes(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.prompt(name="a")(lambda: "x")
    async with scripted(peer) as remote:
        for change in (lambda: peer.prompt(name="b")(lambda: "x"), lambda: peer.remove_prompt("a")):
            change()
            assert (await remote.expect("notifications/prompts/list_changed")).keys() == {"jsonrpc", "method"}
        assert [prompt["name"] for prompt in (await remote.request("prompts/list"))["prompts"]] == ["b"]


# --- completion -------------------------------------------------------------------------------------------------------


def completing(peer: Peer) -> list[Any]:
    asked: list[Any] = []

    @peer.completion(prompt="p")
    async def for_prompt(argument: str, value: str, known: dict[str, str]) -> list[str]:
        asked.append((argument, value, known))
        return [value + suffix for suffix in "abc"]

    @peer.completion(resource="a:{b}")
    def for_template(argument: str, value: str, known: dict[str, str]) -> list[str]:
        return [f"{argument}{number}" for number in range(int(value))]

    return asked


def ask(ref: Any, value: str, **members: Any) -> Any:
    return {"ref": ref, "argument": {"name": "arg", "value": value}, **members}


PROMPT = {"type": "ref/prompt", "name": "p"}
TEMPLATE = {"type": "ref/resource", "uri": "a:{b}"}


@pytest.mark.requirement("C25-240", "C25-242")
async def test_completing_an_argument(make_peer: MakePeer) -> None:
    peer = make_peer()
    asked = completing(peer)
    async with scripted(peer) as remote:
        first = await remote.request("completion/complete", ask(PROMPT, "x"))
        assert first == {"completion": {"values": ["xa", "xb", "xc"], "total": 3, "hasMore": False}}
        await remote.request("completion/complete", ask(PROMPT, "", context={"arguments": {"other": "v"}}))
        await remote.request("completion/complete", ask(PROMPT, "", context={}))
    assert asked == [("arg", "x", {}), ("arg", "", {"other": "v"}), ("arg", "", {})]


@pytest.mark.requirement("C25-241")
@pytest.mark.parametrize(
    ("found", "given", "more"), [(0, 0, False), (99, 99, False), (100, 100, False), (101, 100, True)]
)
async def test_no_more_than_a_hundred(make_peer: MakePeer, found: int, given: int, more: bool) -> None:
    peer = make_peer()
    completing(peer)
    async with scripted(peer) as remote:
        (completion,) = (await remote.request("completion/complete", ask(TEMPLATE, str(found)))).values()
    assert len(completion["values"]) == given
    assert (completion["total"], completion["hasMore"]) == (found, more)


@pytest.mark.requirement("C25-241")
@pytest.mark.parametrize("many", [100, 150])
async def test_a_ready_completion_is_passed_on_within_the_limit(make_peer: MakePeer, many: int) -> None:
    peer = make_peer()

    @peer.completion(prompt="p")
    async def ready(argument: str, value: str, known: Any) -> Completion:
        return Completion(values=["v"] * many, total=1000)

    async with scripted(peer) as remote:
        (completion,) = (await remote.request("completion/complete", ask(PROMPT, ""))).values()
    assert completion == {"values": ["v"] * 100, "total": 1000} | ({"hasMore": True} if many > 100 else {})


@pytest.mark.requirement("C25-244", "C25-245", "C25-248")
@pytest.mark.parametrize(
    ("params", "code"),
    [
        (ask({"type": "ref/prompt", "name": "nope"}, ""), -32602),
        (ask({"type": "ref/resource", "uri": "no:thing"}, ""), -32602),
        (ask({"type": "ref/tool", "name": "p"}, ""), -32602),
        (ask({"type": "ref/prompt"}, ""), -32602),
        ({"ref": PROMPT}, -32602),
        ({"ref": PROMPT, "argument": {"name": "a"}}, -32602),
        ({"ref": PROMPT, "argument": {"name": "a", "value": 1}}, -32602),
        ({}, -32602),
        (ask(TEMPLATE, "not a number"), -32603),
    ],
)
async def test_wrong_completions(make_peer: MakePeer, params: Any, code: int) -> None:
    peer = make_peer()
    completing(peer)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("completion/complete", params)
        assert caught.value.code == code


# --- both sides -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-229", "C25-240")
async def test_a_client_uses_prompts(make_peer: MakePeer) -> None:
    server = make_peer("s")

    @server.prompt
    def greet(name: str, tone: str = "warm") -> list[Any]:
        return [f"Greet {name}", PromptMessage(role="assistant", content=TextContent(text=tone))]

    asked = completing(server)
    async with peer_pair(make_peer("c"), server) as pair:
        assert [prompt.name async for prompt in pair.client.list_prompts()] == ["greet"]
        result = await pair.client.get_prompt("greet", {"name": "Ada"})
        assert [(one.role, one.content.text) for one in result.messages] == [  # type: ignore[union-attr]
            ("user", "Greet Ada"),
            ("assistant", "warm"),
        ]
        completion = await pair.client.complete(PromptReference(name="p"), "arg", "v", {"a": "b"})
        assert completion.values == ["va", "vb", "vc"]
        assert asked == [("arg", "v", {"a": "b"})]
        more = await pair.client.complete(ResourceTemplateReference(uri="a:{b}"), "x", "2")
        assert more.values == ["x0", "x1"]


async def test_the_oldest_revision_completes_without_a_capability(make_peer: MakePeer) -> None:
    server = make_peer("s")
    completing(server)
    async with peer_pair(make_peer("c"), server, revision="2024-11-05") as pair:
        assert (await pair.client.complete(PromptReference(name="p"), "a", "v")).values == ["va", "vb", "vc"]


@pytest.mark.requirement("C25-229")
async def test_a_prompts_arguments_are_sent_as_they_are(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        nursery.start_soon(remote.connection.get_prompt, "p", {"a": "1"})
        request = await remote.expect("prompts/get")
        assert request["params"] == {"name": "p", "arguments": {"a": "1"}}
        await remote.reply(request, {"messages": []})
