"""How a client finds out what a server speaks: by a pipe, where silence is an answer too, and over HTTP."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import pytest
import trio
from attrs import define, field

from mcp_tasks import (
    Connection,
    ConnectionClosed,
    Forbidden,
    HttpClientLimits,
    HttpError,
    Limits,
    LineTransport,
    LocalProtocolError,
    MCPError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Unauthorized,
    open_http,
)
from mcp_tasks.testing import LineWire, Remote, Side
from mcp_tasks.transports.memory import MemoryPipe, MemoryReader

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
SERVER = "io.modelcontextprotocol/serverInfo"
INFO = {"name": "script", "version": "0"}


def discovered(*versions: str, **members: Any) -> dict[str, Any]:
    return {
        "resultType": "complete",
        "supportedVersions": list(versions or (NEW,)),
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {SERVER: INFO},
        **members,
    }


def initialized(version: str = OLD) -> dict[str, Any]:
    return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO}


# --- by a pipe --------------------------------------------------------------------------------------------------------


@define
class Opening:
    """A client that is about to connect, the script opposite, and what came of it."""

    remote: Remote
    connection: Connection | None = None
    failure: MCPError | None = None
    over: trio.Event = field(factory=trio.Event)

    async def settle(self) -> Connection:
        """Let it come to an end, which is a connection."""
        await self.remote.quiet()
        assert self.failure is None, self.failure
        assert self.connection is not None, "it is still at it"
        return self.connection

    async def fail(self) -> MCPError:
        await self.remote.quiet()
        assert self.failure is not None, self.connection
        return self.failure

    async def shake(self, version: str = OLD, *, asked: str = OLD) -> Connection:
        """Shake hands, as a server of an older revision does."""
        request = await self.remote.expect("initialize")
        assert request["params"]["protocolVersion"] == asked
        assert "_meta" not in request["params"]
        await self.remote.reply(request, initialized(version))
        await self.remote.expect("notifications/initialized")
        connection = await self.settle()
        assert connection.revision == version
        return connection

    @property
    def methods(self) -> list[str]:
        """What the client has said so far."""
        return [message["method"] for message in self.remote.received]


@asynccontextmanager
async def opening(peer: Peer, *, revision: str | None = None, origin: str | None = None) -> AsyncIterator[Opening]:
    there, back = MemoryPipe(), MemoryPipe()
    transport = LineTransport(back, MemoryReader(there), limits=peer.limits)
    transport.origin = origin
    async with trio.open_nursery() as nursery:
        found = Opening(Remote(LineWire(Side.SERVER, there, MemoryReader(back), nursery), nursery))
        nursery.start_soon(_connect, peer, transport, revision, found)
        yield found
        found.over.set()
        await found.remote.ended()
        nursery.cancel_scope.cancel()


async def _connect(peer: Peer, transport: LineTransport, revision: str | None, found: Opening) -> None:
    try:
        async with peer.connect(transport, revision=revision) as connection:
            found.connection = connection
            await found.over.wait()
    except MCPError as failure:
        found.failure = failure


@requirement("C26-053", "C26-054", "C26-057", "C26-089", "C26-098", "C26-105", "C26-134", "C26-135", "C26-138")
async def test_a_server_that_says_what_it_speaks_is_spoken_to(make_peer: MakePeer) -> None:
    async with opening(make_peer()) as client:
        probe = await client.remote.expect("server/discover")
        assert probe["params"].keys() == {"_meta"}
        assert probe["params"]["_meta"] == {
            VERSION: NEW,
            CAPABILITIES: {"extensions": {"io.modelcontextprotocol/tasks": {}}},
            CLIENT: {"name": "sut", "version": "1.0"},
        }
        await client.remote.reply(probe, discovered(OLD, NEW, "2099-01-01", instructions="Be kind."))
        connection = await client.settle()
        assert connection.revision == NEW
        assert connection.peer_name == "script 0"
        assert connection.instructions == "Be kind."
        await connection.wait_ready()
        assert client.methods == ["server/discover"], "nothing else is needed"


@requirement("C26-104")
@pytest.mark.parametrize("meta", [None, {}, {"x": 1}], ids=str)
async def test_a_server_need_not_say_who_it_is(make_peer: MakePeer, meta: Any) -> None:
    async with opening(make_peer()) as client:
        result = discovered()
        del result["_meta"], result["ttlMs"], result["cacheScope"], result["resultType"]
        await client.remote.reply(
            await client.remote.expect("server/discover"), result | ({} if meta is None else {"_meta": meta})
        )
        connection = await client.settle()
        assert (connection.revision, connection.peer_name) == (NEW, "")


@requirement("C26-136", "C26-137")
@pytest.mark.parametrize(
    "code", [-32601, -32602, -32600, -32603, -32700, -32002, -32042, -32000, -32001, -32023, -32099, 0, -1, 404, 2**40]
)
async def test_whatever_error_is_no_modern_one_means_an_older_server(make_peer: MakePeer, code: int) -> None:
    async with opening(make_peer()) as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), code, "what?")
        await client.shake()
        assert client.methods == ["server/discover", "initialize", "notifications/initialized"]


@requirement("C26-136")
@pytest.mark.parametrize(
    "result",
    [
        {},
        {"supportedVersions": NEW},
        {"supportedVersions": [NEW]},
        {"capabilities": {}},
        {"supportedVersions": [1], "capabilities": {}},
        {"supportedVersions": [NEW], "capabilities": []},
        {"resultType": "complete"},
        {"content": [{"type": "text", "text": "server/discover? never heard of it"}]},
        initialized(),
    ],
    ids=str,
)
async def test_a_result_that_does_not_say_what_is_spoken_means_an_older_server(
    make_peer: MakePeer, result: Any
) -> None:
    async with opening(make_peer()) as client:
        await client.remote.reply(await client.remote.expect("server/discover"), result)
        await client.shake()


@requirement("C26-136")
@pytest.mark.parametrize("answer", [{"result": []}, {"result": None}, {"error": "no"}], ids=str)
async def test_an_answer_that_is_none_means_an_older_server(make_peer: MakePeer, answer: Any) -> None:
    async with opening(make_peer()) as client:
        probe = await client.remote.expect("server/discover")
        await client.remote.send({"jsonrpc": "2.0", "id": probe["id"], **answer})
        await client.shake()


@requirement("C26-136")
@pytest.mark.parametrize("seconds", [0.25, 5.0, 60.0])
@pytest.mark.parametrize("says", [None, {"jsonrpc": "2.0", "error": {"code": -32600, "message": "?"}}], ids=str)
async def test_silence_means_an_older_server(
    make_peer: MakePeer, seconds: float, says: Any, autojump_clock: object
) -> None:
    """An error that does not say for what is as good as none."""
    async with opening(make_peer(limits=Limits(probe_seconds=seconds))) as client:
        began = trio.current_time()
        probe = await client.remote.expect("server/discover")
        if says is not None:
            await client.remote.send(says)
        await trio.sleep(seconds * 0.99)
        assert client.methods == ["server/discover"]
        connection = await client.shake()
        assert trio.current_time() - began == pytest.approx(seconds)
        await client.remote.reply(probe, discovered())  # too late
        await client.remote.quiet()
        assert connection.revision == OLD
        assert not connection.closed
        assert "notifications/cancelled" not in client.methods, "it may not know that word before the handshake"


@requirement("C26-136")
async def test_a_server_that_was_only_slow_is_spoken_to_all_the_same(
    make_peer: MakePeer, autojump_clock: object
) -> None:
    """It has taken itself for a modern one by then, and refuses the handshake, naming what it speaks."""
    async with opening(make_peer()) as client:
        await client.remote.expect("server/discover")
        data = {"supported": [NEW], "requested": OLD}
        await client.remote.refuse(await client.remote.expect("initialize"), -32022, "no handshakes", data)
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        assert (await client.settle()).revision == NEW


@requirement("C26-094", "C26-086")
@pytest.mark.parametrize("supported", [[NEW], [OLD, NEW], ["2099-01-01", NEW]], ids=str)
async def test_a_refusal_that_lists_our_revision_is_asked_again(make_peer: MakePeer, supported: Any) -> None:
    async with opening(make_peer()) as client:
        first = await client.remote.expect("server/discover")
        await client.remote.refuse(first, -32022, "unsupported", {"supported": supported, "requested": NEW})
        second = await client.remote.expect("server/discover")
        assert second["id"] != first["id"]
        assert second["params"] == first["params"]
        await client.remote.reply(second, discovered())
        assert (await client.settle()).revision == NEW


@requirement("C26-086", "C26-094")
async def test_asked_again_once_and_not_for_ever(make_peer: MakePeer) -> None:
    async with opening(make_peer()) as client:
        data = {"supported": [NEW], "requested": NEW}
        for _ in range(2):
            await client.remote.refuse(await client.remote.expect("server/discover"), -32022, "no", data)
        failure = await client.fail()
        assert isinstance(failure, RequestFailed)
        assert (failure.code, failure.data) == (-32022, data)
        assert client.methods == ["server/discover"] * 2


@requirement("C26-086", "C26-088")
@pytest.mark.parametrize(
    ("supported", "version"),
    [
        ([OLD], OLD),
        (["2025-06-18"], "2025-06-18"),
        (["2024-11-05", "2025-03-26"], "2025-03-26"),
        (["2099-01-01", None, 7, "2024-11-05"], "2024-11-05"),
    ],
    ids=str,
)
async def test_a_list_of_older_revisions_leads_to_a_handshake_in_the_newest_of_them(
    make_peer: MakePeer, supported: Any, version: str
) -> None:
    async with opening(make_peer()) as client:
        data = {"supported": supported, "requested": NEW}
        await client.remote.refuse(await client.remote.expect("server/discover"), -32022, "no", data)
        await client.shake(version, asked=version)


@requirement("C26-088")
@pytest.mark.parametrize("versions", [[OLD], ["2024-11-05", OLD, "2025-03-26"]], ids=str)
async def test_so_does_a_discovery_that_lists_only_such(make_peer: MakePeer, versions: Any) -> None:
    async with opening(make_peer()) as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered(*versions))
        await client.shake()


@requirement("C26-086", "C26-094", "C26-135")
@pytest.mark.parametrize(
    "data",
    [
        {"supported": ["2099-01-01"], "requested": NEW},
        {"supported": [], "requested": NEW},
        {"supported": NEW},
        {"supported": [[NEW]]},
        {},
        [],
        "2025-11-25",
        None,
    ],
    ids=str,
)
async def test_a_list_in_which_there_is_nothing_for_us_is_the_end(make_peer: MakePeer, data: Any) -> None:
    async with opening(make_peer()) as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), -32022, "unsupported", data)
        failure = await client.fail()
        assert isinstance(failure, RequestFailed)
        assert failure.code == -32022
        assert client.methods == ["server/discover"]


@requirement("C26-135")
async def test_so_is_a_discovery_in_which_there_is_nothing_for_us(make_peer: MakePeer) -> None:
    """Whoever says what it speaks is no older server, so that there is nothing to fall back to."""
    async with opening(make_peer()) as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered("2099-01-01", "2098-01-01"))
        failure = await client.fail()
        assert isinstance(failure, RemoteProtocolError)
        assert "2099-01-01" in str(failure)
        assert NEW in str(failure)
        assert client.methods == ["server/discover"]


@requirement("C26-094", "C26-135")
@pytest.mark.parametrize("code", [-32020, -32021])
async def test_a_modern_refusal_is_not_fallen_back_from(make_peer: MakePeer, code: int) -> None:
    async with opening(make_peer()) as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), code, "so it is", {"k": 1})
        failure = await client.fail()
        assert isinstance(failure, RequestFailed)
        assert (failure.code, failure.data) == (code, {"k": 1})
        assert client.methods == ["server/discover"]


@pytest.mark.parametrize("when", ["server/discover", "initialize"])
async def test_a_server_that_leaves(make_peer: MakePeer, when: str) -> None:
    async with opening(make_peer()) as client:
        probe = await client.remote.expect("server/discover")
        if when == "initialize":
            await client.remote.refuse(probe, -32601, "no")
            await client.remote.expect("initialize")
        await client.remote.close()
        assert isinstance(await client.fail(), ConnectionClosed)
        assert client.methods.count("initialize") == (when == "initialize")


# --- told, and not found out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [OLD, "2025-06-18", "2025-03-26", "2024-11-05"])
async def test_told_an_older_revision_it_does_not_probe(make_peer: MakePeer, revision: str) -> None:
    async with opening(make_peer(), revision=revision) as client:
        await client.shake(revision, asked=revision)
        assert client.methods == ["initialize", "notifications/initialized"]


@requirement("C26-138")
async def test_told_the_newest_it_asks_only_what_the_server_can_do(make_peer: MakePeer) -> None:
    async with opening(make_peer(), revision=NEW) as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        assert (await client.settle()).revision == NEW
        assert client.methods == ["server/discover"]


@pytest.mark.parametrize("code", [-32601, -32600, -32022])
async def test_told_the_newest_it_falls_back_to_nothing(make_peer: MakePeer, code: int) -> None:
    async with opening(make_peer(), revision=NEW) as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), code, "no", {"supported": [OLD]})
        failure = await client.fail()
        assert isinstance(failure, RequestFailed)
        assert failure.code == code
        assert client.methods == ["server/discover"]


@pytest.mark.parametrize("versions", [[OLD], ["2099-01-01"]], ids=str)
async def test_told_the_newest_of_a_server_that_does_not_speak_it(make_peer: MakePeer, versions: Any) -> None:
    async with opening(make_peer(), revision=NEW) as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered(*versions))
        failure = await client.fail()
        assert isinstance(failure, RemoteProtocolError)
        assert versions[0] in str(failure)
        assert client.methods == ["server/discover"]


@pytest.mark.parametrize("revision", ["2026-07-29", "2024-01-01", "", "latest"])
async def test_a_revision_that_nobody_speaks_is_refused_here(make_peer: MakePeer, revision: str) -> None:
    async with opening(make_peer(), revision=revision) as client:
        failure = await client.fail()
        assert isinstance(failure, LocalProtocolError)
        assert repr(revision) in str(failure)
        assert client.methods == []


# --- what is remembered -------------------------------------------------------------------------------------------


@requirement("C26-095")
async def test_an_older_server_is_remembered_by_its_origin(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with opening(peer, origin="a") as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), -32601, "no")
        await client.shake("2025-06-18")
    async with opening(peer, origin="a") as client:
        await client.shake("2025-06-18", asked="2025-06-18")
        assert client.methods == ["initialize", "notifications/initialized"]
    for origin in ("b", None):  # no one else is taken for it
        async with opening(peer, origin=origin) as client:
            await client.remote.reply(await client.remote.expect("server/discover"), discovered())
            assert (await client.settle()).revision == NEW
    async with opening(make_peer("other"), origin="a") as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        assert (await client.settle()).revision == NEW


@requirement("C26-095", "C26-096")
async def test_a_server_that_was_modern_and_no_longer_is(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with opening(peer, origin="a") as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        await client.settle()
    async with opening(peer, origin="a") as client:
        await client.remote.refuse(await client.remote.expect("server/discover"), -32601, "no")
        await client.shake()
    async with opening(peer, origin="a") as client:
        await client.shake()
        assert client.methods[0] == "initialize"


@requirement("C26-095", "C26-096")
@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -32601, "message": "Method not found: initialize"}},
        {"error": {"code": -32022, "message": "no", "data": {"supported": [NEW], "requested": OLD}}},
        {"error": {"code": -32602, "message": "$.params._meta: required"}},
        {"result": {}},
        {"result": initialized("2099-01-01")},
    ],
    ids=str,
)
async def test_a_server_that_was_older_and_no_longer_is_gets_asked_again(make_peer: MakePeer, answer: Any) -> None:
    peer = make_peer()
    peer.verdicts["a"] = OLD
    async with opening(peer, origin="a") as client:
        shaking = await client.remote.expect("initialize")
        await client.remote.send({"jsonrpc": "2.0", "id": shaking["id"], **answer})
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        assert (await client.settle()).revision == NEW
        assert client.methods == ["initialize", "server/discover"]
    assert peer.verdicts["a"] == NEW


async def test_a_failure_is_not_remembered(make_peer: MakePeer) -> None:
    peer = make_peer()
    for code in (-32021, -32601):
        async with opening(peer, origin="a") as client:
            await client.remote.refuse(await client.remote.expect("server/discover"), code, "no")
            if code == -32601:
                await client.remote.refuse(await client.remote.expect("initialize"), -32603, "down")
            await client.fail()
        assert peer.verdicts == {}


async def test_not_more_is_remembered_than_there_is_room_for(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.verdicts.update({f"old-{n}": OLD for n in range(1_000)})
    async with opening(peer, origin="new") as client:
        await client.remote.reply(await client.remote.expect("server/discover"), discovered())
        await client.settle()
    assert len(peer.verdicts) == 1_000
    assert peer.verdicts["new"] == NEW
    assert "old-0" not in peer.verdicts
    assert "old-1" in peer.verdicts


# --- over HTTP --------------------------------------------------------------------------------------------------------


@define
class Asked:
    """An HTTP request that has come, to be answered."""

    method: str
    headers: dict[str, str]
    body: Any
    stream: trio.SocketStream

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)

    async def json(self, status: int, **members: Any) -> None:
        message = {"jsonrpc": "2.0", "id": self.body.get("id"), **members}
        await self.answer(status, json.dumps(message).encode(), Content_Type="application/json")


Behaviour = Callable[[Asked], Awaitable[None]]


@define
class Fake:
    """A server by hand: `probe` and `handshake` say how it answers the two ways to begin."""

    probe: Behaviour
    handshake: Behaviour
    url: str = ""
    asked: list[Asked] = field(factory=list)

    @property
    def methods(self) -> list[str]:
        return [asked.body["method"] if asked.method == "POST" else asked.method for asked in self.asked]

    async def serve(self, stream: trio.SocketStream) -> None:
        reader = h11.Connection(h11.SERVER)
        try:
            while (asked := await _request(stream, reader)) is not None:
                self.asked.append(asked)
                await self._answer(asked)
                reader = h11.Connection(h11.SERVER)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, asked: Asked) -> None:
        match asked.body["method"] if asked.method == "POST" else asked.method:
            case "server/discover":
                await self.probe(asked)
            case "initialize":
                await self.handshake(asked)
            case "notifications/initialized":
                await asked.answer(202)
            case "DELETE":
                await asked.answer(204)
            case "GET":
                await asked.answer(405)
            case _:
                await asked.json(200, result={"tools": []})


async def _request(stream: trio.SocketStream, reader: h11.Connection) -> Asked | None:
    head, body = None, bytearray()
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            reader.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Asked(head.method.decode(), headers, json.loads(body or b"null"), stream)
        else:
            return None


async def says_what_it_speaks(asked: Asked) -> None:
    await asked.json(200, result=discovered())


async def shakes_hands(asked: Asked) -> None:
    message = {"jsonrpc": "2.0", "id": asked.body["id"], "result": initialized()}
    await asked.answer(200, json.dumps(message).encode(), Content_Type="application/json", Mcp_Session_Id="s-1")


async def never(asked: Asked) -> None:
    raise AssertionError(f"nobody should ask for {asked.body['method']}")


@asynccontextmanager
async def faking(probe: Behaviour, handshake: Behaviour = never) -> AsyncIterator[Fake]:
    fake = Fake(probe, handshake)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, fake.serve, 0, host="127.0.0.1"))
        fake.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"
        yield fake
        nursery.cancel_scope.cancel()


def refusing(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    async def refuse(asked: Asked) -> None:
        await asked.answer(status, body, **headers)

    return refuse


def failing(status: int, code: int, data: Any = None) -> Behaviour:
    async def fail(asked: Asked) -> None:
        await asked.json(status, error={"code": code, "message": "so it is"} | ({} if data is None else {"data": data}))

    return fail


@asynccontextmanager
async def joined(peer: Peer, url: str, **options: Any) -> AsyncIterator[Connection]:
    async with open_http(url, trust_env=False, **options) as transport, peer.connect(transport) as connection:
        yield connection


async def fails(peer: Peer, url: str) -> MCPError:
    try:
        async with joined(peer, url):
            pass
    except MCPError as failure:
        return failure
    raise AssertionError("it is connected")


async def list_tools(connection: Connection) -> None:
    assert [tool async for tool in connection.list_tools()] == []


@requirement("C26-095", "C26-168", "C26-209")
async def test_a_modern_server_over_http(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with faking(says_what_it_speaks) as fake:
        for _ in range(2):
            async with joined(peer, fake.url) as connection:
                assert connection.revision == NEW
                await list_tools(connection)
        assert fake.methods == ["server/discover", "tools/list"] * 2
        for asked in fake.asked:
            assert asked.headers["mcp-protocol-version"] == NEW
            assert asked.headers["mcp-method"] == asked.body["method"]
            assert asked.body["params"]["_meta"][VERSION] == NEW


@requirement("C26-209", "C26-210", "C26-211", "C26-095")
@pytest.mark.parametrize(
    "probe",
    [
        refusing(400),
        refusing(400, b"Bad Request: no valid session ID provided", Content_Type="text/plain"),
        refusing(400, b"<h1>Bad Request</h1>", Content_Type="text/html"),
        refusing(400, b"{}", Content_Type="application/json"),
        refusing(400, b'{"error": "no session"}', Content_Type="application/json"),
        refusing(400, b'{"jsonrpc": "2.0", "err', Content_Type="application/json"),
        failing(400, -32600),
        failing(400, -32000),
        failing(404, -32601),
        failing(200, -32601),
        failing(200, -32602),
        refusing(404),
        refusing(405),
        refusing(406),
        refusing(415),
        refusing(202),
        refusing(200, b"<html>", Content_Type="text/html"),
    ],
)
async def test_a_server_over_http_that_does_not_know_the_question(make_peer: MakePeer, probe: Behaviour) -> None:
    peer = make_peer()
    async with faking(probe, shakes_hands) as fake:
        async with joined(peer, fake.url) as connection:
            assert connection.revision == OLD
            await list_tools(connection)
        assert fake.methods[:3] == ["server/discover", "initialize", "notifications/initialized"]
        shaking = fake.asked[1]
        assert not {"mcp-session-id", "mcp-method", "mcp-name"} & shaking.headers.keys()
        assert shaking.headers.get("mcp-protocol-version") != NEW
        assert {asked.headers.get("mcp-session-id") for asked in fake.asked[2:]} == {"s-1"}
        assert peer.verdicts == {fake.url: OLD}
        async with joined(peer, fake.url) as connection:
            assert connection.revision == OLD
        assert fake.methods.count("server/discover") == 1, "it is known by now"


async def test_a_server_over_http_that_was_out_of_order_is_asked_again(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with faking(refusing(500, b"oops"), shakes_hands) as fake:
        async with joined(peer, fake.url) as connection:
            assert connection.revision == OLD
        assert peer.verdicts == {}


@pytest.mark.parametrize("probe", [refusing(status) for status in (429, 502, 503, 504)] + [failing(503, -32603)])
async def test_a_server_over_http_that_is_busy_says_nothing_of_what_it_speaks(
    make_peer: MakePeer, probe: Behaviour
) -> None:
    peer = make_peer()
    async with faking(probe, shakes_hands) as fake:
        assert isinstance(await fails(peer, fake.url), HttpError)
        assert fake.methods == ["server/discover"]
        assert peer.verdicts == {}


@requirement("C26-211", "C26-094")
@pytest.mark.parametrize("code", [-32020, -32021, -32022])
async def test_a_modern_refusal_over_http(make_peer: MakePeer, code: int) -> None:
    peer = make_peer()
    async with faking(failing(400, code, {"supported": ["2099-01-01"]})) as fake:
        failure = await fails(peer, fake.url)
        assert isinstance(failure, RequestFailed)
        assert failure.code == code
        assert fake.methods == ["server/discover"]
    assert peer.verdicts == {}


@requirement("C26-086", "C26-088", "C26-211")
async def test_a_list_of_older_revisions_over_http(make_peer: MakePeer) -> None:
    probe = failing(400, -32022, {"supported": ["2025-06-18", OLD]})
    async with faking(probe, shakes_hands) as fake, joined(make_peer(), fake.url) as connection:
        assert connection.revision == OLD
        assert fake.methods[:2] == ["server/discover", "initialize"]


@requirement("C26-525")
@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
async def test_who_wants_to_know_who_we_are_is_not_taken_for_an_older_server(
    make_peer: MakePeer, status: int, kind: type[Unauthorized] | type[Forbidden]
) -> None:
    peer = make_peer()
    challenge = 'Bearer resource_metadata="https://x.example/.well-known/oauth-protected-resource"'
    async with faking(refusing(status, WWW_Authenticate=challenge)) as fake:
        failure = await fails(peer, fake.url)
        assert isinstance(failure, kind)
        assert failure.challenges[0].params.keys() == {"resource_metadata"}
        assert fake.methods == ["server/discover"]
        assert peer.verdicts == {}
        fake.probe = says_what_it_speaks
        async with joined(peer, fake.url) as connection:
            assert connection.revision == NEW


async def test_nobody_is_there(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with faking(never) as fake:
        url = fake.url
    failure = await fails(peer, url)
    assert isinstance(failure, ConnectionClosed)
    assert "cannot be reached" in str(failure)
    assert peer.verdicts == {}


@requirement("C26-096")
async def test_nobody_is_there_any_more(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with faking(refusing(400), shakes_hands) as fake:
        async with joined(peer, fake.url):
            pass
        url = fake.url
    assert isinstance(await fails(peer, url), ConnectionClosed)
    assert peer.verdicts == {url: OLD}, "that it is away says nothing of what it speaks"


@requirement("C26-095", "C26-096")
@pytest.mark.parametrize(
    "handshake",
    [
        failing(404, -32601),
        failing(400, -32022, {"supported": [NEW], "requested": OLD}),
        failing(400, -32020),
        failing(400, -32602),
        refusing(400),
        refusing(404),
        failing(200, -32601),
    ],
)
async def test_a_verdict_over_http_that_proves_wrong(make_peer: MakePeer, handshake: Behaviour) -> None:
    """The server behind the URL is another one by now."""
    peer = make_peer()
    async with faking(refusing(400), shakes_hands) as fake:
        async with joined(peer, fake.url):
            pass
        fake.asked.clear()
        fake.probe, fake.handshake = says_what_it_speaks, handshake
        async with joined(peer, fake.url) as connection:
            assert connection.revision == NEW
            await list_tools(connection)
        assert fake.methods == ["initialize", "server/discover", "tools/list"]
        assert "mcp-session-id" not in fake.asked[-1].headers
        assert peer.verdicts == {fake.url: NEW}


@requirement("C26-095")
@pytest.mark.parametrize("status", [401, 403])
async def test_a_verdict_is_not_wrong_because_we_are_unknown(make_peer: MakePeer, status: int) -> None:
    peer = make_peer()
    async with faking(never, refusing(status)) as fake:
        peer.verdicts[fake.url] = OLD
        assert isinstance(await fails(peer, fake.url), (Unauthorized, Forbidden))
        assert fake.methods == ["initialize"]
        assert peer.verdicts == {fake.url: OLD}


async def test_a_server_over_http_that_says_nothing(make_peer: MakePeer) -> None:
    """Silence is an answer over HTTP too; the stream that it would have come by is closed."""
    closed = trio.Event()

    async def say_nothing(asked: Asked) -> None:
        assert await asked.stream.receive_some(1) == b""
        closed.set()
        await asked.stream.aclose()

    async with faking(say_nothing, shakes_hands) as fake:
        async with joined(make_peer(limits=Limits(probe_seconds=0.05)), fake.url) as connection:
            assert connection.revision == OLD
            await closed.wait()
        assert fake.methods[:2] == ["server/discover", "initialize"]


async def test_a_server_that_is_down_is_that_and_nothing_else(make_peer: MakePeer) -> None:
    """Neither way to begin works; what is raised is about the last."""
    limits = HttpClientLimits(retry_seconds=0.01)
    peer = make_peer()
    async with faking(refusing(503, b"down"), refusing(503, b"down")) as fake:
        with pytest.raises(HttpError, match="down"):
            async with joined(peer, fake.url, http_limits=limits):
                pass
    assert peer.verdicts == {}
