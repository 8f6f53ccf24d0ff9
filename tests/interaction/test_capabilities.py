"""What each side announces, exactly; and that nothing is sent or served without it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import CapabilityMissing, Connection, Context, LocalProtocolError, Peer, RequestFailed, Sample, Side
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import ToolChoice
from mcp_tasks.wire.server_features import PromptReference, Tool

MakePeer = Callable[..., Peer]
Register = Callable[[Peer], Any]


# --- what a peer registers --------------------------------------------------------------------------------------------


def nothing(peer: Peer) -> None: ...


def tool(peer: Peer, **options: Any) -> None:
    peer.tool(name=f"t{len(peer.table.requests)}-{len(options)}", **options)(lambda: "x")


def resource(peer: Peer) -> None:
    peer.resource("a:b", name="r")(lambda: "x")


def prompt(peer: Peer) -> None:
    peer.prompt(lambda: "x", name="p")


def completion(peer: Peer) -> None:
    peer.completion(prompt="p")(lambda name, value, known: [])


def sampling(peer: Peer, **options: Any) -> None:
    @peer.sampling(**options)
    async def sample(ctx: Context, params: Any) -> Any:
        return {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}


def elicitation(peer: Peer, **options: Any) -> None:
    @peer.elicitation(**options)
    async def elicit(ctx: Context, params: Any) -> Any:
        return {}


def roots(peer: Peer) -> None:
    peer.roots = ["file:///a"]


def with_options(register: Callable[..., None], **options: Any) -> Register:
    return lambda peer: register(peer, **options)


def both(*registers: Register) -> Register:
    return lambda peer: [register(peer) for register in registers]


TASK_TOOL = with_options(tool, task="optional")
TASKS = {"list": {}, "cancel": {}}
LOGGING: dict[str, Any] = {"logging": {}}

SERVER_TABLE = [
    (nothing, LOGGING),
    (tool, {**LOGGING, "tools": {"listChanged": True}}),
    (resource, {**LOGGING, "resources": {"subscribe": True, "listChanged": True}}),
    (prompt, {**LOGGING, "prompts": {"listChanged": True}}),
    (both(prompt, completion), {**LOGGING, "prompts": {"listChanged": True}, "completions": {}}),
    (
        TASK_TOOL,
        {
            **LOGGING,
            "tools": {"listChanged": True},
            "tasks": {**TASKS, "requests": {"tools": {"call": {}}}},
        },
    ),
    (
        both(tool, with_options(tool, task="required")),
        {
            **LOGGING,
            "tools": {"listChanged": True},
            "tasks": {**TASKS, "requests": {"tools": {"call": {}}}},
        },
    ),
    (
        both(tool, resource, prompt, completion),
        {
            **LOGGING,
            "tools": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "prompts": {"listChanged": True},
            "completions": {},
        },
    ),
    (lambda peer: peer.experimental(teleport={"range": 3}), {**LOGGING, "experimental": {"teleport": {"range": 3}}}),
    # what only a client offers does not show
    (both(with_options(sampling, task="optional"), elicitation, roots), LOGGING),
]


@pytest.mark.requirement("C25-044", "C25-057", "C25-180", "C25-212", "C25-213", "C25-227", "C25-239", "C25-251")
@pytest.mark.parametrize(("register", "capabilities"), SERVER_TABLE)
async def test_what_a_server_announces(make_peer: MakePeer, register: Register, capabilities: Any) -> None:
    peer = make_peer()
    register(peer)
    assert await announced_by_server(peer, "2025-11-25") == capabilities


async def announced_by_server(peer: Peer, revision: str) -> Any:
    async with scripted(peer, handshake=False) as remote:
        opening = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "c", "version": "0"}}
        return (await remote.request("initialize", opening))["capabilities"]


CLIENT_TABLE = [
    (nothing, {}),
    (sampling, {"sampling": {}}),
    (with_options(sampling, tools=True), {"sampling": {"tools": {}}}),
    (with_options(sampling, tools=True, context=True), {"sampling": {"tools": {}, "context": {}}}),
    (elicitation, {"elicitation": {"form": {}}}),
    (with_options(elicitation, url=True), {"elicitation": {"form": {}, "url": {}}}),
    (with_options(elicitation, form=False, url=True), {"elicitation": {"url": {}}}),
    (roots, {"roots": {"listChanged": True}}),
    (
        with_options(sampling, task="optional"),
        {"sampling": {}, "tasks": {**TASKS, "requests": {"sampling": {"createMessage": {}}}}},
    ),
    (
        with_options(elicitation, task="required"),
        {"elicitation": {"form": {}}, "tasks": {**TASKS, "requests": {"elicitation": {"create": {}}}}},
    ),
    (
        both(with_options(sampling, task="optional"), with_options(elicitation, task="optional"), roots),
        {
            "sampling": {},
            "elicitation": {"form": {}},
            "roots": {"listChanged": True},
            "tasks": {**TASKS, "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}}},
        },
    ),
    (lambda peer: peer.experimental(x={}), {"experimental": {"x": {}}}),
    # what only a server offers does not show
    (both(TASK_TOOL, resource, prompt, completion), {}),
]


@pytest.mark.requirement("C25-043", "C25-059", "C25-269", "C25-271", "C25-300", "C25-301", "C25-302", "C25-351")
@pytest.mark.parametrize(("register", "capabilities"), CLIENT_TABLE)
async def test_what_a_client_announces(make_peer: MakePeer, register: Register, capabilities: Any) -> None:
    peer = make_peer()
    register(peer)
    assert await announced_by_client(peer, "2025-11-25") == capabilities


async def announced_by_client(peer: Peer, revision: str) -> Any:
    async with scripted(peer, side=Side.CLIENT, handshake=False, revision=revision) as remote:
        return (await remote.expect("initialize"))["params"]["capabilities"]


ALL_SERVER = both(TASK_TOOL, resource, prompt, completion)
ALL_CLIENT = both(
    with_options(sampling, task="optional", tools=True, context=True),
    with_options(elicitation, task="optional", url=True),
    roots,
)
OLD_SERVER = {
    **LOGGING,
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
}


@pytest.mark.requirement("C25-055", "C25-056")
@pytest.mark.parametrize(
    ("revision", "server", "client"),
    [
        (
            "2025-06-18",
            {**OLD_SERVER, "completions": {}},
            {"sampling": {}, "elicitation": {}, "roots": {"listChanged": True}},
        ),
        ("2025-03-26", {**OLD_SERVER, "completions": {}}, {"sampling": {}, "roots": {"listChanged": True}}),
        ("2024-11-05", OLD_SERVER, {"sampling": {}, "roots": {"listChanged": True}}),
    ],
)
async def test_older_revisions_announce_what_they_have(
    make_peer: MakePeer, revision: str, server: Any, client: Any
) -> None:
    peer = make_peer()
    ALL_SERVER(peer)
    ALL_CLIENT(peer)
    assert await announced_by_server(peer, revision) == server
    assert await announced_by_client(peer, revision) == client


async def test_a_tool_that_is_replaced_by_hand_announces_what_the_hand_says(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("tools/call", task="optional")
    async def call(ctx: Context, params: Any) -> Any:
        return {"content": []}

    capabilities = await announced_by_server(peer, "2025-11-25")
    assert capabilities["tools"] == {"listChanged": True}
    assert capabilities["tasks"]["requests"] == {"tools": {"call": {}}}


# --- nothing is sent that was not announced ---------------------------------------------------------------------------

Verb = Callable[[Connection], Any]


async def drain(pages: Any) -> None:
    async for _ in pages:
        pass


CLIENT_VERBS: list[tuple[str, Verb]] = [
    ("tools", lambda c: drain(c.list_tools())),
    ("tools", lambda c: c.call_tool("x")),
    ("tools", lambda c: c.call("tools/call", {"name": "x"})),
    ("resources", lambda c: drain(c.list_resources())),
    ("resources", lambda c: drain(c.list_resource_templates())),
    ("resources", lambda c: c.read_resource("a:b")),
    ("resources.subscribe", lambda c: c.subscribe("a:b")),
    ("resources.subscribe", lambda c: c.unsubscribe("a:b")),
    ("prompts", lambda c: drain(c.list_prompts())),
    ("prompts", lambda c: c.get_prompt("x")),
    ("completions", lambda c: c.complete(PromptReference(name="x"), "a", "b")),
    ("logging", lambda c: c.set_logging_level("info")),
    ("tasks.list", lambda c: drain(c.list_tasks())),
    ("tasks", lambda c: c.get_task("x")),
    ("tasks.cancel", lambda c: c.cancel_task("x")),
    ("roots.list_changed", lambda c: c.notify("notifications/roots/list_changed")),
]


@pytest.mark.requirement("C25-056", "C25-237")
@pytest.mark.parametrize(("gate", "verb"), CLIENT_VERBS)
async def test_a_client_sends_nothing_that_was_not_announced(make_peer: MakePeer, gate: str, verb: Verb) -> None:
    async with scripted(make_peer(), side=Side.CLIENT, capabilities={}) as remote:
        assert remote.connection is not None
        with pytest.raises(CapabilityMissing, match=rf"has not announced {gate}\b"):
            await verb(remote.connection)
        await remote.quiet()
        assert remote.unread() == []


SERVER_VERBS: list[tuple[str, Verb]] = [
    ("sampling", lambda c: c.create_message(Sample("hi"))),
    ("sampling", lambda c: c.call("sampling/createMessage", {"messages": [], "maxTokens": 1})),
    ("elicitation", lambda c: c.call("elicitation/create", {"message": "x", "requestedSchema": {}})),
    ("roots", lambda c: c.list_roots()),
    ("tasks.list", lambda c: drain(c.list_tasks())),
    ("tasks", lambda c: c.get_task("x")),
]


@pytest.mark.requirement("C25-056", "C25-303", "C25-358")
@pytest.mark.parametrize(("gate", "verb"), SERVER_VERBS)
async def test_a_server_sends_nothing_that_was_not_announced(make_peer: MakePeer, gate: str, verb: Verb) -> None:
    async with scripted(make_peer(), capabilities={}) as remote:
        assert remote.connection is not None
        with pytest.raises(CapabilityMissing, match=rf"has not announced {gate}\b"):
            await verb(remote.connection)
        await remote.quiet()
        assert remote.unread() == []


SAMPLE = {"messages": [], "maxTokens": 1}
FORM = {"message": "x", "requestedSchema": {"type": "object", "properties": {}}}
URL = {"mode": "url", "message": "x", "url": "https://e.com", "elicitationId": "1"}
TOOL = Tool(name="t", input_schema={"type": "object"})


@pytest.mark.requirement("C25-270", "C25-301", "C25-303")
@pytest.mark.parametrize(
    ("capabilities", "method", "params", "allowed"),
    [
        ({"elicitation": {}}, "elicitation/create", FORM, True),
        ({"elicitation": {"form": {}}}, "elicitation/create", FORM, True),
        ({"elicitation": {"url": {}}}, "elicitation/create", FORM, False),
        ({"elicitation": {"form": {}, "url": {}}}, "elicitation/create", FORM, True),
        ({"elicitation": {}}, "elicitation/create", URL, False),
        ({"elicitation": {"form": {}}}, "elicitation/create", URL, False),
        ({"elicitation": {"url": {}}}, "elicitation/create", URL, True),
        ({"sampling": {}}, "sampling/createMessage", Sample("x").params(), True),
        ({"sampling": {}}, "sampling/createMessage", Sample("x", tools=[TOOL]).params(), False),
        ({"sampling": {}}, "sampling/createMessage", Sample("x", tool_choice=ToolChoice()).params(), False),
        ({"sampling": {"tools": {}}}, "sampling/createMessage", Sample("x", tools=[TOOL]).params(), True),
    ],
)
async def test_parts_of_a_capability(
    make_peer: MakePeer, capabilities: Any, method: str, params: Any, allowed: bool
) -> None:
    async with scripted(make_peer(), capabilities=capabilities) as remote:
        assert remote.connection is not None
        if allowed:
            remote.connection.nursery.start_soon(remote.connection.call, method, params)
            request = await remote.expect(method)
            await remote.reply(request, {})
        else:
            with pytest.raises(CapabilityMissing):
                await remote.connection.call(method, params)
            await remote.quiet()
            assert remote.unread() == []


@pytest.mark.requirement("C25-273")
@pytest.mark.parametrize("context", ["thisServer", "allServers"])
async def test_context_is_not_asked_for_without_the_capability(
    make_peer: MakePeer, context: Any, autojump_clock: trio.testing.MockClock
) -> None:
    async with scripted(make_peer(), capabilities={"sampling": {}}) as remote:
        assert remote.connection is not None
        with trio.fail_after(1), pytest.raises(CapabilityMissing):
            await remote.connection.create_message(Sample("x", include_context=context))
        assert remote.unread() == []


@pytest.mark.requirement("C25-273")
@pytest.mark.parametrize(
    ("revision", "capability", "context"),
    [
        ("2025-11-25", {}, "none"),
        ("2025-11-25", {"context": {}}, "thisServer"),
        ("2025-06-18", {}, "thisServer"),  # there was no such capability yet
    ],
)
async def test_context_is_asked_for_with_the_capability(
    make_peer: MakePeer, revision: str, capability: Any, context: Any
) -> None:
    async with scripted(make_peer(), revision=revision, capabilities={"sampling": capability}) as remote:
        assert remote.connection is not None
        sample = Sample("x", include_context=context)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.connection.create_message, sample)
            request = await remote.expect("sampling/createMessage")
            assert request["params"]["includeContext"] == context
            content = {"type": "text", "text": "y"}
            await remote.reply(request, {"role": "assistant", "content": content, "model": "m"})


@pytest.mark.parametrize(
    ("revision", "side", "method"),
    [
        ("2025-11-25", Side.SERVER, "tools/list"),
        ("2025-11-25", Side.SERVER, "initialize"),
        ("2025-11-25", Side.CLIENT, "roots/list"),
        ("2025-11-25", Side.CLIENT, "sampling/createMessage"),
        ("2025-06-18", Side.CLIENT, "tasks/get"),
        ("2025-06-18", Side.SERVER, "tasks/get"),
        ("2025-03-26", Side.SERVER, "elicitation/create"),
        ("2025-11-25", Side.CLIENT, "notifications/message"),
    ],
)
async def test_what_does_not_go_that_way_is_not_sent(
    make_peer: MakePeer, revision: str, side: Side, method: str
) -> None:
    async with scripted(make_peer(), side=side, revision=revision) as remote:
        assert remote.connection is not None
        send = remote.connection.notify if method.startswith("notifications/") else remote.connection.call
        with pytest.raises(LocalProtocolError, match=f"{method} does not go to a {side.other.value} in revision"):
            await send(method, {})
        await remote.quiet()
        assert remote.unread() == []


# --- nothing is served that was not announced -------------------------------------------------------------------------

CLIENT_REQUESTS: list[tuple[str, Any]] = [
    ("tools/list", {}),
    ("tools/call", {"name": "x"}),
    ("resources/list", {}),
    ("resources/templates/list", {}),
    ("resources/read", {"uri": "a:b"}),
    ("resources/subscribe", {"uri": "a:b"}),
    ("resources/unsubscribe", {"uri": "a:b"}),
    ("prompts/list", {}),
    ("prompts/get", {"name": "x"}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}}),
]
SERVER_REQUESTS: list[tuple[str, Any]] = [
    ("sampling/createMessage", SAMPLE),
    ("elicitation/create", FORM),
    ("roots/list", {}),
]


@pytest.mark.requirement("C25-018", "C25-243", "C25-354")
@pytest.mark.parametrize(
    ("side", "method", "params"),
    [(Side.SERVER, *one) for one in CLIENT_REQUESTS + SERVER_REQUESTS]
    + [(Side.CLIENT, *one) for one in SERVER_REQUESTS + CLIENT_REQUESTS],
)
async def test_what_is_not_offered_is_not_found(make_peer: MakePeer, side: Side, method: str, params: Any) -> None:
    async with scripted(make_peer(), side=side) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, params)
        assert (caught.value.code, caught.value.message) == (-32601, f"Method not found: {method}")


@pytest.mark.parametrize(("method", "params"), SERVER_REQUESTS)
async def test_a_server_is_not_asked_what_its_client_half_offers(make_peer: MakePeer, method: str, params: Any) -> None:
    peer = make_peer()
    ALL_CLIENT(peer)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, params)
        assert caught.value.code == -32601


@pytest.mark.requirement("C25-274", "C25-301", "C25-306", "C25-326")
@pytest.mark.parametrize(
    ("register", "method", "params", "code"),
    [
        (sampling, "sampling/createMessage", {"messages": [], "maxTokens": 1, "tools": []}, -32602),
        (sampling, "sampling/createMessage", {"messages": [], "maxTokens": 1, "toolChoice": {}}, -32602),
        (sampling, "sampling/createMessage", {"messages": [], "maxTokens": 1}, None),
        (with_options(sampling, tools=True), "sampling/createMessage", {**SAMPLE, "tools": []}, None),
        (elicitation, "elicitation/create", URL, -32602),
        (elicitation, "elicitation/create", FORM, None),
        (elicitation, "elicitation/create", {**FORM, "mode": "form"}, None),
        (with_options(elicitation, form=False, url=True), "elicitation/create", FORM, -32602),
        (with_options(elicitation, form=False, url=True), "elicitation/create", {**FORM, "mode": "form"}, -32602),
        (elicitation, "elicitation/create", {**FORM, "mode": "mind"}, -32602),
    ],
)
async def test_what_a_client_did_not_announce_is_refused(
    make_peer: MakePeer, register: Register, method: str, params: Any, code: int | None
) -> None:
    peer = make_peer()
    register(peer)
    async with scripted(peer, side=Side.CLIENT) as remote:
        response = await remote.response(await remote.ask(method, params))
        assert response.get("error", {}).get("code") == code, json.dumps(response)


# --- changes while connected ------------------------------------------------------------------------------------------


async def test_a_tool_added_to_an_open_connection_is_served_but_cannot_be_announced(make_peer: MakePeer) -> None:
    """Capabilities are stated once. The client's gate stays shut; a client that asks all the same is answered."""
    server = make_peer("s")
    async with peer_pair(make_peer("c"), server) as pair:
        tool(server)
        with pytest.raises(CapabilityMissing):
            await drain(pair.client.list_tools())
    async with scripted(server) as remote:
        assert len((await remote.request("tools/list"))["tools"]) == 1
