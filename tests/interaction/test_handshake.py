"""Opening a connection: who says what first, which revision is spoken, and what has to wait until then."""

# ruff: noqa: PT012  (a connection that fails is a block that raises)
from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import (
    HANDSHAKE,
    Connection,
    ConnectionClosed,
    Context,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Side,
    memory_transport_pair,
)
from mcp_tasks.testing import Remote, peer_pair, scripted
from mcp_tasks.wire.content import Icon
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Request

REVISIONS = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
NEWEST = REVISIONS[0]
INFO = {"name": "script", "version": "0"}
MakePeer = Callable[..., Peer]


def opening(revision: Any = NEWEST, **members: Any) -> dict[str, Any]:
    return {"protocolVersion": revision, "capabilities": {}, "clientInfo": INFO, **members}


def answer(revision: Any = NEWEST, **members: Any) -> dict[str, Any]:
    return {"protocolVersion": revision, "capabilities": {}, "serverInfo": INFO, **members}


async def refused(remote: Remote, method: str, params: Any = None, *, id: Any = None) -> tuple[int, str]:
    """The error that a request is answered with."""
    with pytest.raises(RequestFailed) as caught:
        await remote.request(method, {} if params is None else params, id=id)
    return caught.value.code, caught.value.message


def only_connection(peer: Peer) -> Connection:
    (connection,) = peer.connections
    return connection


# --- as the server ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-042", "C25-044", "C25-050", "C25-055")
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_server_speaks_the_revision_it_is_asked_for(make_peer: MakePeer, revision: str) -> None:
    peer = make_peer()
    async with scripted(peer, handshake=False) as remote:
        result = await remote.request("initialize", opening(revision))
        assert result["protocolVersion"] == revision
        assert result["serverInfo"] == {"name": "sut", "version": "1.0"}
        assert result.keys() == {"protocolVersion", "capabilities", "serverInfo"}
        assert remote.connection is not None
        assert remote.connection.revision == revision


@pytest.mark.requirement("C25-051", "C25-052")
@pytest.mark.parametrize("revision", ["2099-01-01", "1.0", "", "2025-11-26", "DRAFT"])
async def test_a_server_counters_an_unknown_revision_with_its_newest(make_peer: MakePeer, revision: str) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        assert (await remote.request("initialize", opening(revision)))["protocolVersion"] == NEWEST


def test_the_revisions_that_shake_hands() -> None:
    assert list(HANDSHAKE) == REVISIONS


@pytest.mark.requirement("C25-060", "C25-061")
async def test_a_server_says_who_it_is(make_peer: MakePeer) -> None:
    told: dict[str, Any] = {
        "title": "The Peer",
        "description": "It is under test",
        "website_url": "https://example.com",
        "icons": [Icon(src="https://example.com/i.png", sizes=["48x48"])],
    }
    async with scripted(make_peer(instructions="Be kind.", **told), handshake=False) as remote:
        result = await remote.request("initialize", opening())
    assert result["instructions"] == "Be kind."
    assert result["serverInfo"] == {
        "name": "sut",
        "version": "1.0",
        "title": "The Peer",
        "description": "It is under test",
        "websiteUrl": "https://example.com",
        "icons": [{"src": "https://example.com/i.png", "sizes": ["48x48"]}],
    }


@pytest.mark.parametrize(
    ("revision", "known"),
    [
        ("2025-11-25", {"name", "version", "title", "description", "icons", "websiteUrl"}),
        ("2025-06-18", {"name", "version", "title"}),
        ("2025-03-26", {"name", "version"}),
        ("2024-11-05", {"name", "version"}),
    ],
)
async def test_an_older_revision_hears_only_what_it_knows(make_peer: MakePeer, revision: str, known: set[str]) -> None:
    peer = make_peer(title="t", description="d", website_url="https://e.com", icons=[Icon(src="https://e.com/i")])
    async with scripted(peer, handshake=False) as remote:
        result = await remote.request("initialize", opening(revision))
    assert result["serverInfo"].keys() == known


async def test_a_server_knows_its_client(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        client = {"name": "c", "version": "2", "title": "C"}
        await remote.request("initialize", opening(clientInfo=client, capabilities={"roots": {}}))
        assert remote.connection is not None
        assert remote.connection.peer_name == "c 2"
        assert remote.connection.their_info is not None
        assert remote.connection.their_info.title == "C"


@pytest.mark.requirement("C25-042")
@pytest.mark.parametrize(
    ("method", "params"), [("tools/list", {}), ("tools/call", {"name": "t"}), ("logging/setLevel", {"level": "info"})]
)
async def test_requests_before_the_handshake_are_refused(make_peer: MakePeer, method: str, params: Any) -> None:
    peer = make_peer()
    peer.tool(name="t")(lambda: "x")
    async with scripted(peer, handshake=False) as remote:
        assert await refused(remote, method, params) == (
            -32600,
            f"{method}: the connection has not been initialized",
        )
        await remote.request("initialize", opening())
        await remote.request(method, params)


@pytest.mark.requirement("C25-150")
async def test_a_server_answers_pings_in_any_phase(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        assert await remote.request("ping") == {}
        await remote.request("initialize", opening())
        assert await remote.request("ping", {}) == {}
        await remote.notify("notifications/initialized")
        assert await remote.request("ping", {"_meta": {"x/y": 1}}) == {}


@pytest.mark.requirement("C25-047")
async def test_a_server_serves_a_client_that_does_not_say_initialized(make_peer: MakePeer) -> None:
    """The rule is for senders (and a SHOULD); whoever breaks it is served all the same."""
    peer = make_peer()
    peer.tool(name="t")(lambda: "x")
    async with scripted(peer, handshake=False) as remote:
        await remote.request("initialize", opening())
        assert len((await remote.request("tools/list"))["tools"]) == 1


@pytest.mark.requirement("C25-042")
async def test_a_second_initialize_is_refused(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), revision="2025-06-18") as remote:
        code, message = await refused(remote, "initialize", opening(NEWEST))
        assert (code, message) == (-32600, "initialize: the connection has been initialized")
        assert remote.connection is not None
        assert remote.connection.revision == "2025-06-18"
        assert await remote.request("ping") == {}


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({}, "$.params.protocolVersion: required"),
        (opening(None), "$.params.protocolVersion: expected string, got null"),
        (opening(20251125), "$.params.protocolVersion: expected string, got integer"),
        (opening(capabilities=[]), "$.params.capabilities: expected object, got array"),
        (opening(clientInfo={"name": "x"}), "$.params.clientInfo.version: required"),
        (opening(clientInfo="x"), "$.params.clientInfo: expected object, got string"),
    ],
)
async def test_a_malformed_initialize_says_where(make_peer: MakePeer, params: Any, complaint: str) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        assert await refused(remote, "initialize", params) == (-32602, complaint)
        assert (await remote.request("initialize", opening()))["protocolVersion"] == NEWEST


@pytest.mark.requirement("C25-058", "C25-059")
async def test_unknown_capabilities_are_ignored(make_peer: MakePeer) -> None:
    capabilities = {"teleport": {"range": 3}, "experimental": {"x": {"deep": [1]}}, "roots": {"later": True}}
    async with scripted(make_peer(), handshake=False) as remote:
        await remote.request("initialize", opening(capabilities=capabilities))
        assert await remote.request("ping") == {}


@pytest.mark.requirement("C25-047")
async def test_a_servers_requests_wait_for_initialized(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def ask(ctx: Context) -> str:
        return (await ctx.roots())[0].uri

    async with scripted(peer, handshake=False) as remote:
        await remote.request("initialize", opening(capabilities={"roots": {}}))
        id = await remote.ask("tools/call", {"name": "ask"})
        await remote.quiet()
        assert remote.unread() == []
        await remote.notify("notifications/initialized")
        await remote.reply(await remote.expect("roots/list"), {"roots": [{"uri": "file:///a"}]})
        assert (await remote.answer(id))["content"] == [{"type": "text", "text": "file:///a"}]


@pytest.mark.requirement("C25-047")
async def test_a_servers_calls_wait_for_the_handshake_from_the_start(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        nursery.start_soon(remote.connection.ping)
        await remote.quiet()
        assert remote.received == []
        await remote.request("initialize", opening())
        await remote.quiet()
        assert remote.unread() == []
        await remote.notify("notifications/initialized")
        await remote.reply(await remote.expect("ping"), {})


async def test_initialized_before_initialize_opens_nothing(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        await remote.notify("notifications/initialized")
        nursery.start_soon(remote.connection.ping)
        await remote.quiet()
        said = list(remote.received)
        nursery.cancel_scope.cancel()
        assert said == []


async def test_waiting_for_a_handshake_that_never_comes_ends_with_the_connection(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        assert remote.connection is not None
        failed = []

        async def call() -> None:
            try:
                await remote.connection.ping()  # type: ignore[union-attr]
            except ConnectionClosed:
                failed.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await remote.quiet()
            await remote.close()
        assert failed == [1]


async def test_everything_in_one_chunk(make_peer: MakePeer) -> None:
    """Whatever follows ``initialize`` in the same read finds the connection open."""
    peer = make_peer()
    peer.tool(name="t")(lambda: "x")
    async with scripted(peer, handshake=False) as remote:
        lines = [
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
            b'"capabilities":{},"clientInfo":{"name":"c","version":"0"}}}',
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b'{"jsonrpc":"2.0","id":2,"method":"tools/list"}',
            b'{"jsonrpc":"2.0","id":3,"method":"ping"}',
        ]
        await remote.send_raw(b"\n".join(lines) + b"\n")
        assert "capabilities" in await remote.answer(1)
        assert len((await remote.answer(2))["tools"]) == 1
        assert await remote.answer(3) == {}


# --- as the client ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-043", "C25-045", "C25-048", "C25-049", "C25-061")
async def test_a_client_opens_the_connection(make_peer: MakePeer) -> None:
    async with scripted(make_peer(title="T"), side=Side.CLIENT, handshake=False) as remote:
        request = await remote.expect("initialize")
        assert request == {
            "jsonrpc": "2.0",
            "id": request["id"],
            "method": "initialize",
            "params": {
                "protocolVersion": NEWEST,
                "capabilities": {},
                "clientInfo": {"name": "sut", "version": "1.0", "title": "T"},
            },
        }
        assert type(request["id"]) in (int, str)
        await remote.quiet()
        assert remote.unread() == []
        await remote.reply(request, answer())
        assert await remote.expect("notifications/initialized") == {
            "jsonrpc": "2.0",
            "method": "notifications/initialized",
        }


@pytest.mark.requirement("C25-055")
@pytest.mark.parametrize("asked", REVISIONS)
@pytest.mark.parametrize("offered", REVISIONS)
async def test_a_client_speaks_what_the_server_answers(make_peer: MakePeer, asked: str, offered: str) -> None:
    peer = make_peer()
    async with scripted(peer, side=Side.CLIENT, handshake=False, revision=asked) as remote:
        request = await remote.expect("initialize")
        assert request["params"]["protocolVersion"] == asked
        await remote.reply(request, answer(offered, instructions="Mind the gap."))
        await remote.expect("notifications/initialized")
        connection = only_connection(peer)
        assert connection.revision == offered
        assert connection.peer_name == "script 0"
        assert connection.instructions == "Mind the gap."


@pytest.mark.requirement("C25-053", "C25-054")
@pytest.mark.parametrize("offered", ["2099-01-01", "", "2025-11-25 "])
async def test_a_client_disconnects_from_a_revision_it_does_not_speak(make_peer: MakePeer, offered: str) -> None:
    sent: list[dict[str, Any]] = []
    with pytest.raises(RemoteProtocolError, match="we speak 2025-11-25"):
        async with scripted(make_peer(), side=Side.CLIENT, handshake=False) as remote:
            sent = remote.received
            await remote.reply(await remote.expect("initialize"), answer(offered))
            await remote.ended()
    assert [message["method"] for message in sent] == ["initialize"]


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({}, r"\$\.result\.protocolVersion: required"),
        (answer(capabilities=None), r"\$\.result\.capabilities: expected object, got null"),
        (answer(serverInfo={"name": 1, "version": "0"}), r"\$\.result\.serverInfo\.name: expected string"),
    ],
)
async def test_a_client_refuses_a_malformed_answer(make_peer: MakePeer, result: Any, complaint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=complaint):
        async with scripted(make_peer(), side=Side.CLIENT, handshake=False) as remote:
            await remote.reply(await remote.expect("initialize"), result)
            await remote.ended()


async def test_a_client_whose_initialize_is_refused_says_so_and_disconnects(make_peer: MakePeer) -> None:
    peer = make_peer()
    ours, theirs = memory_transport_pair()
    failures: list[RequestFailed] = []

    async def connect() -> None:
        try:
            async with peer.connect(ours, revision=NEWEST):
                raise AssertionError("not reached")
        except RequestFailed as failed:
            failures.append(failed)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        (request,) = await theirs.receive()
        assert isinstance(request, Request)
        data = {"supported": ["2024-11-05"], "requested": NEWEST}
        theirs.send(ErrorResponse(request.id, ErrorObject(-32602, "Unsupported protocol version", data)))
        await theirs.flush()
        with pytest.raises(ConnectionClosed):
            await theirs.receive()
    await theirs.aclose()
    assert [(failed.code, failed.data) for failed in failures] == [(-32602, data)]


@pytest.mark.requirement("C25-150")
async def test_a_client_answers_pings_in_any_phase(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT, handshake=False) as remote:
        request = await remote.expect("initialize")
        assert await remote.request("ping") == {}
        await remote.reply(request, answer())
        await remote.expect("notifications/initialized")
        assert await remote.request("ping") == {}


async def test_a_client_serves_nothing_before_the_handshake(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.roots = ["file:///a"]
    async with scripted(peer, side=Side.CLIENT, handshake=False) as remote:
        request = await remote.expect("initialize")
        code, message = await refused(remote, "roots/list")
        assert (code, message) == (-32600, "roots/list: the connection has not been initialized")
        await remote.reply(request, answer())
        await remote.expect("notifications/initialized")
        assert len((await remote.request("roots/list"))["roots"]) == 1


@pytest.mark.requirement("C25-042")
async def test_a_client_cannot_be_initialized(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        code, _ = await refused(remote, "initialize", opening())
        assert code in (-32600, -32601)


@pytest.mark.requirement("C25-169")
async def test_initialize_is_never_cancelled(make_peer: MakePeer) -> None:
    peer = make_peer()
    ours, theirs = memory_transport_pair()

    async def connect() -> None:
        async with peer.connect(ours):
            raise AssertionError("not reached")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect)
        (request,) = await theirs.receive()
        assert isinstance(request, Request)
        nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionClosed):
        await theirs.receive()  # nothing but the end follows
    await theirs.aclose()


@pytest.mark.requirement("C25-046")
async def test_a_client_can_be_called_only_once_it_is_open(make_peer: MakePeer) -> None:
    """`connect` gives the connection after the handshake: there is nothing to send a request with before."""
    peer = make_peer()
    async with scripted(peer, side=Side.CLIENT, handshake=False) as remote, trio.open_nursery() as nursery:
        request = await remote.expect("initialize")
        nursery.start_soon(only_connection(peer).ping)
        await remote.quiet()
        assert remote.unread() == []
        await remote.reply(request, answer())
        await remote.reply(await remote.expect("ping"), {})


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-001", "C25-042", "C25-055", "C25-150")
@pytest.mark.parametrize("revision", REVISIONS)
async def test_two_peers_shake_hands(make_peer: MakePeer, revision: str) -> None:
    client, server = make_peer("c"), make_peer("s", instructions="i")
    async with peer_pair(client, server, revision=revision) as pair:
        assert (pair.client.revision, pair.server.revision) == (revision, revision)
        assert (pair.client.peer_name, pair.server.peer_name) == ("s 1.0", "c 1.0")
        assert (pair.client.side, pair.server.side) == (Side.CLIENT, Side.SERVER)
        await pair.client.ping()
        await pair.server.ping()
        assert not pair.client.closed
    assert pair.client.closed
    assert pair.server.closed


@pytest.mark.parametrize("pieces", [1, 3])
async def test_the_handshake_in_small_pieces(make_peer: MakePeer, pieces: int) -> None:
    def cut(data: bytes) -> list[bytes]:
        return [data[start : start + pieces] for start in range(0, len(data), pieces)]

    async with peer_pair(make_peer(), make_peer(), tap=cut) as pair:
        await pair.client.ping()
        await pair.server.ping()
