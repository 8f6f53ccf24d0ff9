"""The client's transport against a scripted server: what it sends, what it makes of answers, and how it comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mcp_tasks.abc import Inbound, Unanswered
from mcp_tasks.errors import (
    Challenge,
    ConnectionClosed,
    Forbidden,
    HttpError,
    MCPError,
    RemoteProtocolError,
    Unauthorized,
)
from mcp_tasks.limits import HttpClientLimits, Limits
from mcp_tasks.transports.http.client import HttpClientTransport
from mcp_tasks.transports.http.pool import HttpPool, Url
from mcp_tasks.transports.http.profile import PROFILES
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Message, Notification, Request, Response

from ._wire import BOTH, CODEC, LATEST, Asked, Network, ServerEnd, opened, opening, raw_answer

URL = "http://server.example:8080/mcp"
READY = Notification("notifications/initialized")
NOTE = Notification("n")
WORK = Request(1, "tools/call")
DONE = Response(1, {"ok": True})


class Call:
    """A request that has reached the server, to be answered."""

    def __init__(self, end: ServerEnd, asked: Asked) -> None:
        self.end = end
        self.asked = asked
        self.left = trio.Event()
        """Set when the client has closed the connection."""

    def __repr__(self) -> str:
        return f"<{self.asked.method} {self.asked.headers} {self.asked.body[:60]!r}>"

    @property
    def headers(self) -> dict[str, str]:
        return self.asked.headers

    @property
    def session(self) -> str | None:
        return self.headers.get("mcp-session-id")

    async def accept(self) -> None:
        await self.end.reply(202)

    async def answer(self, message: Message, **headers: str) -> None:
        await self.end.reply(200, message, **headers)


class Server:
    """The scripted server: every request on every connection, in the order in which they come."""

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self.network = network
        self.calls: list[Call] = []
        """All that came."""
        self._nursery = nursery
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = 0
        nursery.start_soon(self._accept)

    async def _accept(self) -> None:
        while True:
            self._nursery.start_soon(self._read, await self.network.accept())

    async def _read(self, end: ServerEnd) -> None:
        call: Call | None = None
        while (asked := await end.request()) is not None:
            call = Call(end, asked)
            self.calls.append(call)
            self._arrived.unpark_all()
        if call is not None:
            call.left.set()

    async def next(self, method: str = "POST", rpc: str | None = None) -> Call:
        """The next request, which is of that kind."""
        if len(self.calls) == self._taken:
            with trio.fail_after(86_400):
                while len(self.calls) == self._taken:
                    await self._arrived.park()
        call = self.calls[self._taken]
        self._taken += 1
        assert call.asked.method == method, call
        if rpc is not None:
            assert call.asked.rpc_method == rpc, call
        return call

    async def quiet(self) -> bool:
        """Whether nothing more comes in no time."""
        await wait_all_tasks_blocked()
        return len(self.calls) == self._taken


class Client:
    """A transport, and everything that has come out of it."""

    def __init__(self, server: Server, nursery: trio.Nursery, **options: Any) -> None:
        self.server = server
        self.url = Url(options.pop("url", URL))
        self.limits = HttpClientLimits(**{name: options.pop(name) for name in list(options) if name in LIMITS})
        self.pool = HttpPool(self.url, ssl_context=None, limits=self.limits)
        self.transport = HttpClientTransport(self.url, self.pool, nursery, http_limits=self.limits, **options)
        self.inbox: list[Inbound] = []
        self.transport.push_to(self.inbox.append)

    def send(self, message: Message) -> None:
        self.transport.send(message)

    async def shake(self, session: str | None = "s-1", revision: str = LATEST, *, listen: bool = False) -> Call | None:
        """Go through the handshake; returns the stream of the server's own, if it offers one."""
        self.send(opening(revision))
        call = await self.server.next("POST", "initialize")
        await call.answer(Response(0, opened(revision)), **({} if session is None else {"Mcp_Session_Id": session}))
        await wait_all_tasks_blocked()
        self.transport.speaks(revision)
        self.send(READY)
        await (await self.server.next("POST", READY.method)).accept()
        stream = await self.server.next("GET")
        if listen:
            await stream.end.begin()
        else:
            await stream.end.reply(405)
        assert await self.server.quiet()
        assert self.inbox == [Response(0, opened(revision))]
        self.inbox.clear()
        return stream if listen else None

    async def failure(self, id: int | str = 1) -> MCPError:
        """Why the request that was sent last will not be answered."""
        await wait_all_tasks_blocked()
        [message] = self.inbox
        assert isinstance(message, Unanswered), message
        assert message.id == id
        return message.failure


LIMITS = {attribute.name for attribute in HttpClientLimits.__attrs_attrs__}


@pytest.fixture
def server(network: Network, nursery: trio.Nursery) -> Server:
    return Server(network, nursery)


@pytest.fixture
def make_client(server: Server, nursery: trio.Nursery) -> Callable[..., Client]:
    def make(**options: Any) -> Client:
        return Client(server, nursery, **options)

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


# --- what is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-085", "C25-086", "C25-087")
async def test_the_first_request(client: Client, server: Server, network: Network) -> None:
    client.send(opening())
    call = await server.next()
    assert (call.asked.target, call.asked.message) == ("/mcp", opening())
    assert call.headers.keys() == {"host", "accept", "content-type", "content-length"}
    assert call.headers["accept"] == BOTH
    assert call.headers["content-type"] == "application/json"
    assert network.addresses == {("server.example", 8080)}


@pytest.mark.requirement("C25-126", "C25-133", "C25-134", "C25-107", "C25-131")
@pytest.mark.parametrize("revision", PROFILES)
@pytest.mark.parametrize("session", ["s-1", None])
async def test_every_later_request_names_session_and_revision(
    client: Client, server: Server, revision: str, session: str | None
) -> None:
    await client.shake(session, revision)
    client.send(WORK)
    work = await server.next("POST", "tools/call")
    await work.end.begin()
    await work.end.event(NOTE, id="e-1", retry=0)
    await work.end.close()
    resumed = await server.next("GET")
    await resumed.end.begin()
    await resumed.end.event(DONE)
    await resumed.end.finish()
    for message in (NOTE, Response(9, {}), ErrorResponse(8, ErrorObject(-1, "x"))):
        client.send(message)
        await (await server.next()).accept()
    await wait_all_tasks_blocked()
    await client.transport.aclose() if session is None else await closed(client, server)
    later = server.calls[1:]
    assert len(later) == 7 + (session is not None)
    for call in later:
        assert call.session == session, call
        assert call.headers.get("mcp-protocol-version") == (revision if revision >= "2025-06-18" else None), call
        if call.asked.method != "DELETE":
            assert call.headers["accept"] == ("text/event-stream" if call.asked.method == "GET" else BOTH), call


async def closed(client: Client, server: Server) -> None:
    """Close the transport; the server agrees."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.transport.aclose)
        await (await server.next("DELETE")).end.reply(204)


async def test_headers_and_tokens_go_with_every_request(make_client: Callable[..., Client], server: Server) -> None:
    count = 0

    async def token() -> str:
        nonlocal count
        await trio.lowlevel.checkpoint()
        count += 1
        return f"t{count}"

    client = make_client(headers={"X-Api": "k"}, auth=token)
    await client.shake()
    client.send(WORK)
    await (await server.next()).answer(DONE)
    await wait_all_tasks_blocked()
    await closed(client, server)
    assert [call.headers["authorization"] for call in server.calls] == [f"Bearer t{n}" for n in range(1, 6)]
    assert {call.headers["x-api"] for call in server.calls} == {"k"}


async def test_a_fixed_token(make_client: Callable[..., Client], server: Server) -> None:
    client = make_client(auth="secret")
    await client.shake()
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer secret"}
    assert "secret" not in repr(client.transport)


async def test_a_session_id_that_is_none(client: Client, server: Server) -> None:
    """C25-124; it is not repeated either."""
    client.send(opening(id=1))
    call = await server.next()
    await call.answer(Response(1, opened()), Mcp_Session_Id="a b")
    assert isinstance(await client.failure(), RemoteProtocolError)
    assert client.transport.session_id is None


async def test_what_is_no_json_is_refused(client: Client, server: Server) -> None:
    for message in (Request(1, "m", {"x": object()}), Notification("n", {"x": object()}), Response(1, {"x": object()})):
        with pytest.raises(TypeError):
            client.send(message)
    assert client.transport.backlog == 0
    assert await server.quiet()


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-092")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
async def test_an_answer_in_json(client: Client, server: Server, kind: str, bytewise: bool) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    data = raw_answer(200, CODEC.encode(DONE), Content_Type=kind)
    for piece in [bytes([byte]) for byte in data] if bytewise else [data]:
        await call.end.send(piece)
        await wait_all_tasks_blocked()
    assert client.inbox == [DONE]


@pytest.mark.requirement("C25-092", "C25-099")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
async def test_an_answer_in_events(client: Client, server: Server, bytewise: bool) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    stream = (
        b"id: 1\ndata: \n\n: comment\n\nevent: message\ndata: " + CODEC.encode(NOTE) + b"\n\n"
        b"event: other\ndata: {}\n\nid: 2\r\ndata: "
        + CODEC.encode(Request(70, "ping"))
        + b"\r\n\r\ndata: "
        + CODEC.encode(DONE)
        + b"\n\n"
    )
    data = raw_answer(200, stream, Content_Type="text/event-stream; charset=utf-8")
    for piece in [bytes([byte]) for byte in data] if bytewise else [data]:
        await call.end.send(piece)
        await wait_all_tasks_blocked()
    assert client.inbox == [NOTE, Request(70, "ping"), DONE]
    client.send(Request(2, "ping"))
    assert (await server.next()).end is call.end, "the connection is used again"


async def test_messages_are_handed_on_as_they_come(client: Client, server: Server) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    await call.end.begin()
    for number in range(3):
        await call.end.event(Notification("n", {"number": number}))
        await wait_all_tasks_blocked()
        assert len(client.inbox) == number + 1


async def test_whoever_does_not_take_them_receives_them(
    server: Server, nursery: trio.Nursery, network: Network
) -> None:
    url = Url(URL)
    transport = HttpClientTransport(url, HttpPool(url, ssl_context=None, limits=HttpClientLimits()), nursery)
    transport.send(opening())
    call = await server.next()
    await call.end.begin()
    await call.end.event(NOTE)
    assert await transport.receive() == [NOTE]
    await call.end.event(NOTE)
    await call.end.event(Response(0, {}))
    await wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        await transport.receive()
    assert scope.cancelled_caught
    assert await transport.receive() == [NOTE, Response(0, {})]
    async with trio.open_nursery() as inner:
        inner.start_soon(ended, transport)
        await wait_all_tasks_blocked()
        await transport.aclose()


async def ended(transport: HttpClientTransport) -> None:
    with pytest.raises(ConnectionClosed):
        await transport.receive()


async def test_a_server_that_goes_on_after_the_answer(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    await call.end.begin()
    await call.end.event(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE], "nobody waits for the end of the stream"
    await trio.sleep(1)
    assert call.left.is_set(), "it is not waited for for long"


# What a POST is answered with, and what that is to whoever has asked.
REFUSED: list[tuple[str, bytes, type[MCPError], str]] = [
    ("202", raw_answer(202), HttpError, "202"),
    ("204", b"HTTP/1.1 204 No\r\n\r\n", HttpError, "204"),
    ("404", raw_answer(404, b"no such page", Content_Type="text/plain"), HttpError, "no such page"),
    ("405", raw_answer(405), HttpError, "no reason given"),
    ("500", raw_answer(500, b"<html>" + b"x" * 10_000), HttpError, "<html>"),
    ("503, cut", raw_answer(503, b"hello")[:-1], HttpError, "503"),
    ("no type", raw_answer(200, CODEC.encode(DONE)), RemoteProtocolError, "type ''"),
    ("HTML", raw_answer(200, b"<html>", Content_Type="text/html"), RemoteProtocolError, "text/html"),
    ("no JSON", raw_answer(200, b"{", Content_Type="application/json"), RemoteProtocolError, "Parse error"),
    ("an empty body", raw_answer(200, b"", Content_Type="application/json"), RemoteProtocolError, "Parse error"),
    ("a batch", raw_answer(200, b"[]", Content_Type="application/json"), RemoteProtocolError, "batches"),
    (
        "another's answer",
        raw_answer(200, CODEC.encode(Response(9, {})), Content_Type="application/json"),
        RemoteProtocolError,
        "no answer",
    ),
    (
        "no answer at all",
        raw_answer(200, CODEC.encode(NOTE), Content_Type="application/json"),
        RemoteProtocolError,
        "no answer",
    ),
    (
        "a stream without it",
        raw_answer(200, b"data: \n\n", Content_Type="text/event-stream"),
        ConnectionClosed,
        "ended",
    ),
    ("nothing", b"", ConnectionClosed, "closed"),
    ("half a head", b"HTTP/1.1 200 OK\r\nCont", ConnectionClosed, "closed"),
    ("half a body", raw_answer(200, b"{}", Content_Type="application/json")[:-1], ConnectionClosed, "closed"),
    ("half an event", raw_answer(200, b"data: {", Content_Type="text/event-stream")[:-1], ConnectionClosed, "ended"),
    ("no HTTP", b"220 mail.example\r\n\r\n", RemoteProtocolError, "HTTP"),
]


@pytest.mark.parametrize(("said", "kind", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_what_is_no_answer(client: Client, server: Server, said: bytes, kind: type[MCPError], text: str) -> None:
    await client.shake(None)
    client.send(WORK)
    client.send(Request(2, "ping"))
    calls = {call.asked.id: call for call in (await server.next(), await server.next())}
    await calls[1].end.send(said)
    await wait_all_tasks_blocked()
    await calls[1].end.close()
    await wait_all_tasks_blocked()
    client.inbox[:] = [message for message in client.inbox if message not in (NOTE, Response(9, {}))]
    failure = await client.failure()
    assert type(failure) is kind
    assert text in str(failure)
    assert len(str(failure)) < 700
    client.inbox.clear()
    await calls[2].answer(Response(2, {}))
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(2, {})], "others are not concerned"
    assert len(server.calls) == 5, "nothing was asked again"


@pytest.mark.parametrize("status", [400, 409, 422, 500, 503])
async def test_an_error_in_the_body_is_the_answer(client: Client, server: Server, status: int) -> None:
    await client.shake()
    for error_id in (1, None):
        client.send(WORK)
        await (await server.next()).end.reply(status, ErrorResponse(error_id, ErrorObject(-32602, "no", {"a": 1})))
        await wait_all_tasks_blocked()
        assert client.inbox == [ErrorResponse(1, ErrorObject(-32602, "no", {"a": 1}))]
        client.inbox.clear()


@pytest.mark.parametrize("in_events", [False, True])
async def test_an_error_without_an_id_is_that_of_its_request(client: Client, server: Server, in_events: bool) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    error = ErrorResponse(None, ErrorObject(-32600, "no"))
    if in_events:
        await call.end.begin()
        await call.end.event(error)
    else:
        await call.answer(error)
    await wait_all_tasks_blocked()
    assert client.inbox == [ErrorResponse(1, ErrorObject(-32600, "no"))]


@pytest.mark.requirement("C25-361", "C25-379")
@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
@pytest.mark.parametrize("first", [True, False])
async def test_who_we_are(client: Client, server: Server, status: int, kind: type[HttpError], first: bool) -> None:
    if not first:
        await client.shake()
    client.send(opening(id=1) if first else WORK)
    challenge = 'Bearer realm="mcp", resource_metadata="https://x/y", scope="a b", error="invalid_token"'
    body = ErrorResponse(None, ErrorObject(-32600, "who are you?"))
    await (await server.next()).end.reply(status, body, WWW_Authenticate=challenge)
    failure = await client.failure()
    assert type(failure) is kind
    assert (failure.status, failure.message) == (status, "who are you?")  # type: ignore[attr-defined]
    assert failure.challenges == [  # type: ignore[attr-defined]
        Challenge(
            "Bearer", {"realm": "mcp", "resource_metadata": "https://x/y", "scope": "a b", "error": "invalid_token"}
        )
    ]


async def test_an_answer_that_is_too_large(make_client: Callable[..., Client], server: Server) -> None:
    client = make_client(limits=Limits(message_bytes=1000))
    await client.shake()
    big = Response(1, {"x": "y" * 1000})
    client.send(WORK)
    await (await server.next()).answer(big)
    assert isinstance(await client.failure(), RemoteProtocolError)
    client.inbox.clear()
    client.send(WORK)
    call = await server.next()
    await call.end.begin()
    await call.end.event(big)
    failure = await client.failure()
    assert isinstance(failure, RemoteProtocolError)
    assert "1000" in str(failure)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"jsonrpc":"2.0","method":"n","params":[]}',
        b'{"jsonrpc":"2.0","method":7}',
        b'{"jsonrpc":"2.0","id":9,"result":1}',
    ],
    ids=["a notification", "a method", "another's answer"],
)
async def test_a_broken_message_before_the_answer_is_not_the_answer(
    client: Client, server: Server, broken: bytes
) -> None:
    """On any other transport it would be dropped, and the call go on."""
    await client.shake()
    client.send(WORK)
    call = await server.next()
    await call.end.begin()
    await call.end.event(broken)
    await call.end.event(DONE)
    await call.end.finish()
    await wait_all_tasks_blocked()
    assert DONE in client.inbox
    assert not any(isinstance(message, Unanswered) for message in client.inbox)


# --- the server's own stream ------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-106", "C25-107", "C25-109", "C25-114")
async def test_it_listens_once_the_handshake_is_over(client: Client, server: Server) -> None:
    stream = await client.shake(listen=True)
    assert stream is not None
    await stream.end.event(NOTE)
    client.send(WORK)
    call = await server.next()
    await stream.end.event(Request(70, "ping"))
    await call.answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE, Request(70, "ping"), DONE]


@pytest.mark.requirement("C25-095", "C25-119", "C25-097")
async def test_it_comes_back_to_the_servers_own_stream(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    stream = await client.shake(listen=True)
    assert stream is not None
    for number in range(12):
        await stream.end.event(Notification("n", {"number": number}), id=f"e-{number}", retry=5000)
        await wait_all_tasks_blocked()
        await stream.end.close()
        start = trio.current_time()
        stream = await server.next("GET")
        assert trio.current_time() - start == pytest.approx(5, abs=0.01)
        assert stream.headers["last-event-id"] == f"e-{number}"
        await stream.end.begin()
    assert len(client.inbox) == 12


async def test_it_goes_on_trying_ever_more_slowly(
    client: Client, server: Server, network: Network, autojump_clock: trio.testing.MockClock
) -> None:
    stream = await client.shake(listen=True)
    assert stream is not None
    await stream.end.event(NOTE, id="e-1")
    await wait_all_tasks_blocked()
    network.refuses = True
    await stream.end.close()
    await trio.sleep(3600)
    network.refuses = False
    start = trio.current_time()
    stream = await server.next("GET")
    assert trio.current_time() - start <= 61, "once a minute at least"
    assert stream.headers["last-event-id"] == "e-1"


async def test_a_stream_that_cannot_be_come_back_to_is_begun_anew(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    stream = await client.shake(listen=True)
    assert stream is not None
    await stream.end.event(NOTE, id="e-1")
    await wait_all_tasks_blocked()
    await stream.end.close()
    late = await server.next("GET")
    assert late.headers["last-event-id"] == "e-1"
    await late.end.reply(400, ErrorResponse(None, ErrorObject(-32600, "too late")))
    fresh = await server.next("GET")
    assert "last-event-id" not in fresh.headers
    await fresh.end.begin()
    await fresh.end.event(NOTE)
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE, NOTE]


@pytest.mark.requirement("C25-108")
@pytest.mark.parametrize("status", [404, 405, 400, 401, 501])
async def test_a_server_that_offers_none(
    client: Client,
    server: Server,
    status: int,
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.send(opening())
    await (await server.next()).answer(Response(0, opened()))
    await wait_all_tasks_blocked()
    client.transport.speaks(LATEST)
    client.send(READY)
    await (await server.next()).accept()
    await (await server.next("GET")).end.reply(status)
    client.send(WORK)
    await (await server.next()).answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox[-1] == DONE
    if status < 500:
        await trio.sleep(1000)
        assert await server.quiet(), "it is not asked again"
    if status == 405:
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_server_whose_own_stream_never_begins_is_not_waited_for(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    client.send(opening())
    await (await server.next()).answer(Response(0, opened()))
    await wait_all_tasks_blocked()
    client.transport.speaks(LATEST)
    client.send(READY)
    client.send(WORK)
    await (await server.next()).accept()
    await server.next("GET")
    assert await server.quiet()
    start = trio.current_time()
    work = await server.next("POST", "tools/call")
    assert trio.current_time() - start == pytest.approx(2, abs=0.01)
    await work.answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox[-1] == DONE


# --- a stream that is cut ---------------------------------------------------------------------------------------------


async def cut(
    client: Client, server: Server, *events: tuple[bytes | Message, str | None], retry: int | None = None
) -> None:
    """A call whose stream says these things and is cut."""
    client.send(WORK)
    call = await server.next("POST", "tools/call")
    await call.end.begin()
    for data, id in events:
        await call.end.event(data, id=id, retry=retry)
    await wait_all_tasks_blocked()
    await call.end.close()


@pytest.mark.requirement("C25-094", "C25-095", "C25-119")
@pytest.mark.parametrize("how", ["cut", "ended"])
async def test_it_comes_back_for_the_answer(
    client: Client, server: Server, how: str, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    await call.end.begin()
    await call.end.event(b"", id="e-1")
    await call.end.event(NOTE, id="e-2")
    await wait_all_tasks_blocked()
    await (call.end.close() if how == "cut" else call.end.finish())
    again = await server.next("GET")
    assert again.headers["last-event-id"] == "e-2"
    assert again.headers["accept"] == "text/event-stream"
    await again.end.begin()
    await again.end.event(DONE, id="e-3")
    await again.end.finish()
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE, DONE]
    await trio.sleep(100)
    assert await server.quiet(), "it has what it came for"


@pytest.mark.requirement("C25-097")
@pytest.mark.parametrize(("retry", "seconds"), [(None, 1.0), (0, 0.0), (40, 0.04), (1500, 1.5), (7_200_000, 7200.0)])
async def test_it_waits_as_long_as_the_server_wants(
    client: Client, server: Server, retry: int | None, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    await cut(client, server, (b"", "e-1"), retry=retry)
    start = trio.current_time()
    await server.next("GET")
    assert trio.current_time() - start == pytest.approx(seconds, abs=0.01)


async def test_it_comes_back_as_often_as_it_gets_on(
    make_client: Callable[..., Client], server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    client = make_client(resume_attempts=3)
    await client.shake()
    await cut(client, server, (b"", "e-0"))
    for number in range(1, 20):
        again = await server.next("GET")
        await again.end.begin()
        await again.end.event(NOTE, id=f"e-{number}")
        await wait_all_tasks_blocked()
        await again.end.close()
    again = await server.next("GET")
    assert again.headers["last-event-id"] == "e-19"
    await again.end.begin()
    await again.end.event(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE] * 19 + [DONE]


@pytest.mark.parametrize("how", ["refused", "500", "closed"])
async def test_it_does_not_come_back_for_ever(
    make_client: Callable[..., Client],
    server: Server,
    network: Network,
    how: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    client = make_client(resume_attempts=4)
    await client.shake()
    await cut(client, server, (b"", "e-1"), (NOTE, "e-2"))
    client.inbox.clear()
    start = trio.current_time()
    pauses = []
    if how == "refused":
        network.refuses = True
        await trio.sleep(100)
    else:
        for _ in range(4):
            again = await server.next("GET")
            pauses.append(round(trio.current_time() - start))
            start = trio.current_time()
            assert again.headers["last-event-id"] == "e-2"
            await (again.end.close() if how == "closed" else again.end.reply(500))
        assert pauses == [1, 2, 4, 8]
    failure = await client.failure()
    assert isinstance(failure, ConnectionClosed)
    assert "tools/call" in str(failure)
    await trio.sleep(1000)
    assert await server.quiet()


async def test_a_server_that_wants_us_back_at_once_is_not_asked_without_end(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    """Its stream begins each time, and says nothing: a pause of nothing would be a busy loop."""
    await client.shake()
    await cut(client, server, (b"", "e-1"), retry=0)
    start = trio.current_time()
    for _ in range(50):
        again = await server.next("GET")
        await again.end.begin()
        await again.end.close()
    assert trio.current_time() - start >= 1


@pytest.mark.parametrize("status", [400, 405, 410])
async def test_a_server_that_has_forgotten_the_stream(
    client: Client, server: Server, status: int, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    await cut(client, server, (b"", "e-1"))
    await (await server.next("GET")).end.reply(status)
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert failure.status == status


async def test_without_an_id_there_is_nothing_to_come_back_to(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    await cut(client, server, (NOTE, None))
    client.inbox.clear()
    assert isinstance(await client.failure(), ConnectionClosed)
    await trio.sleep(100)
    assert await server.quiet()


async def test_an_empty_id_is_none(client: Client, server: Server, autojump_clock: trio.testing.MockClock) -> None:
    """A GET without an id would open another stream, where the answer never comes."""
    await client.shake()
    await cut(client, server, (NOTE, "e-1"), (NOTE, ""))
    client.inbox.clear()
    assert isinstance(await client.failure(), ConnectionClosed)
    await trio.sleep(100)
    assert await server.quiet()


@pytest.mark.parametrize("id", ["é", "日本", "a\tb", "a\x01b", "x" * 5000, " a "])
async def test_ids_of_any_kind(client: Client, server: Server, id: str, autojump_clock: trio.testing.MockClock) -> None:
    """Whatever a server has as an id, it is repeated as it was, or the call fails; nothing else does."""
    await client.shake()
    await cut(client, server, (NOTE, id))
    client.inbox.clear()
    await trio.sleep(10)
    if not await server.quiet():
        again = await server.next("GET")
        assert again.headers["last-event-id"].strip().encode("latin-1") in (
            id.strip().encode(),
            id.strip().encode("utf-8"),
        )
    else:
        await client.failure()
    client.inbox.clear()
    client.send(Request(2, "ping"))
    await (await server.next()).answer(Response(2, {}))
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(2, {})]


async def test_what_has_begun_is_abandoned_while_it_waits_to_come_back(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    await cut(client, server, (b"", "e-1"), retry=5000)
    await wait_all_tasks_blocked()
    assert not client.transport.abandon(1)
    await trio.sleep(100)
    assert await server.quiet()
    assert client.inbox == []


# --- a session that is forgotten --------------------------------------------------------------------------------------

GONE = ErrorResponse(None, ErrorObject(-32001, "There is no such session"))


async def renewed(server: Server, session: str = "s-2", *, revision: str = LATEST, listen: bool = False) -> None:
    """Begin another session, as the client wants it."""
    call = await server.next("POST", "initialize")
    assert call.asked.message == opening(revision)
    assert call.session is None
    assert "mcp-protocol-version" not in call.headers
    await call.answer(Response(0, opened(revision)), Mcp_Session_Id=session)
    ready = await server.next("POST", READY.method)
    assert ready.session == session
    await ready.accept()
    stream = await server.next("GET")
    assert stream.session == session
    if listen:
        await stream.end.begin()
    else:
        await stream.end.reply(405)


@pytest.mark.requirement("C25-130", "C25-126")
async def test_a_forgotten_session_is_begun_anew(client: Client, server: Server) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    assert call.session == "s-1"
    await call.end.reply(404, GONE)
    await renewed(server)
    again = await server.next("POST", "tools/call")
    assert (again.session, again.asked.message) == ("s-2", WORK)
    await again.answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE], "nobody has noticed"
    assert client.transport.session_id == "s-2"


@pytest.mark.requirement("C25-130")
async def test_its_answer_may_come_in_events(client: Client, server: Server) -> None:
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(404, b"")
    call = await server.next("POST", "initialize")
    await call.end.begin(Mcp_Session_Id="s-2")
    await call.end.event(b"", id="e-1")
    await call.end.event(Response(0, opened()))
    await (await server.next("POST", READY.method)).accept()
    await (await server.next("GET")).end.reply(405)
    await (await server.next("POST", "tools/call")).answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE]


async def test_once_for_all_who_miss_it(client: Client, server: Server) -> None:
    await client.shake()
    for number in (1, 2, 3):
        client.send(Request(number, "tools/call"))
    calls = [await server.next() for _ in range(3)]
    for call in calls:
        await call.end.reply(404, GONE)
    await renewed(server)
    again = [await server.next("POST", "tools/call") for _ in range(3)]
    assert {call.session for call in again} == {"s-2"}
    for call in again:
        await call.answer(Response(call.asked.id, {}))
    await wait_all_tasks_blocked()
    assert len(client.inbox) == 3


async def test_a_second_time_is_a_failure(client: Client, server: Server) -> None:
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(404, GONE)
    await renewed(server)
    await (await server.next("POST", "tools/call")).end.reply(404, GONE)
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert failure.status == 404
    assert await server.quiet()


async def test_whoever_asks_meanwhile_waits_for_the_new_session(client: Client, server: Server) -> None:
    """Without a session it would be refused (C25-127)."""
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(404, GONE)
    call = await server.next("POST", "initialize")
    client.send(Request(2, "tools/call"))
    await wait_all_tasks_blocked()
    for other in server.calls[server.calls.index(call) + 1 :]:
        assert other.session is not None
        await other.end.reply(404, GONE)
    server._taken = len(server.calls)
    await call.answer(Response(0, opened()), Mcp_Session_Id="s-2")
    await (await server.next("POST", READY.method)).accept()
    await wait_all_tasks_blocked()
    for other in server.calls[server._taken :]:
        if other.asked.method == "GET":
            await other.end.reply(405)
    await wait_all_tasks_blocked()
    work = [other for other in server.calls[server._taken :] if other.asked.method == "POST"]
    assert {other.asked.id for other in work} == {1, 2}
    assert {other.session for other in work} == {"s-2"}


@pytest.mark.parametrize("how", ["503", "closed", "another revision", "no answer", "not ready"])
async def test_a_session_that_cannot_be_begun_anew_may_be_later(client: Client, server: Server, how: str) -> None:
    """A call that fails leaves the connection as it is: the next may do better."""
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(404, GONE)
    call = await server.next("POST", "initialize")
    if how == "503":
        await call.end.reply(503, b"too many sessions")
    elif how == "closed":
        await call.end.close()
    elif how == "another revision":
        await call.answer(Response(0, opened("2025-03-26")), Mcp_Session_Id="s-x")
    elif how == "no answer":
        await call.answer(NOTE)
    else:
        await call.answer(Response(0, opened()), Mcp_Session_Id="s-x")
        await (await server.next("POST", READY.method)).end.reply(500)
    assert isinstance(await client.failure(), (HttpError, ConnectionClosed, RemoteProtocolError))
    client.inbox.clear()
    server._taken = len(server.calls)
    client.send(Request(2, "tools/call"))
    call = await server.next("POST")
    assert (call.asked.rpc_method, call.session) == ("tools/call", "s-1")
    await call.end.reply(404, GONE)
    await renewed(server)
    await (await server.next("POST", "tools/call")).answer(Response(2, {}))
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(2, {})]


@pytest.mark.requirement("C25-130")
async def test_a_notification_that_finds_no_session(client: Client, server: Server) -> None:
    await client.shake()
    client.send(NOTE)
    await (await server.next()).end.reply(404, GONE)
    await renewed(server)
    again = await server.next("POST", "n")
    assert again.session == "s-2"
    await again.accept()
    client.send(NOTE)
    await (await server.next("POST", "n")).accept()


async def test_an_answer_that_finds_no_session_is_nobodys(client: Client, server: Server) -> None:
    """Whoever asked was in the session that is gone: its id may be another's in the new one."""
    await client.shake()
    client.send(Response(70, {}))
    await (await server.next()).end.reply(404, GONE)
    await renewed(server)
    assert await server.quiet()


@pytest.mark.requirement("C25-130")
async def test_a_listener_that_finds_no_session(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    """Nobody may call for hours: what the server has to say must not be missed until then."""
    stream = await client.shake(listen=True)
    assert stream is not None
    await stream.end.event(NOTE, id="e-1")
    await wait_all_tasks_blocked()
    await stream.end.close()
    await (await server.next("GET")).end.reply(404, GONE)
    with trio.fail_after(100):
        await renewed(server, listen=True)


async def test_without_a_session_404_is_404(client: Client, server: Server) -> None:
    await client.shake(None)
    client.send(WORK)
    await (await server.next()).end.reply(404, b"no such page")
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert (failure.status, failure.message) == (404, "no such page")
    assert await server.quiet()


async def test_a_large_404_is_a_404(client: Client, server: Server) -> None:
    """What a server says about it does not matter, nor how much."""
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(404, b"<html>" + b" " * 200_000)
    await renewed(server)
    await (await server.next("POST", "tools/call")).answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE]


async def test_the_handshake_itself_is_not_repeated(client: Client, server: Server) -> None:
    client.send(opening(id=1))
    await (await server.next()).end.reply(404, b"nothing here")
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert await server.quiet()


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [("/mcp/", "/mcp/"), ("other?x=y", "/other?x=y"), (f"{URL}/v2", "/mcp/v2"), ("//server.example:8080/x", "/x")],
)
async def test_a_redirect_is_followed(
    client: Client, server: Server, network: Network, status: int, location: str, target: str
) -> None:
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(status, b"", Location=location)
    call = await server.next("POST", "tools/call")
    assert (call.asked.target, call.session, call.asked.message) == (target, "s-1", WORK)
    await call.answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE]
    assert network.addresses == {("server.example", 8080)}


@pytest.mark.parametrize(
    "location",
    [
        "http://evil.example/mcp",
        "https://server.example:8080/mcp",
        "http://server.example/mcp",
        "//evil.example/mcp",
        "http://server.example:8080@evil.example/mcp",
        "http://[::1]:8080/mcp",
        "file:///etc/passwd",
        "javascript:x",
        "http://[bad/mcp",
        "http://h:port/",
        "http://\xe9vil.example/mcp",
        "",
    ],
)
async def test_a_redirect_to_elsewhere_is_not(
    make_client: Callable[..., Client], server: Server, network: Network, location: str
) -> None:
    """Our token, and what we have to say, are for this server only."""
    client = make_client(auth="secret")
    await client.shake()
    client.send(WORK)
    call = await server.next()
    for _ in range(5):
        await call.end.reply(307, b"", Location=location)
        if await server.quiet():
            break
        call = await server.next()
    assert isinstance(await client.failure(), (HttpError, RemoteProtocolError))
    assert network.addresses == {("server.example", 8080)}
    client.inbox.clear()
    client.send(Request(2, "ping"))
    await (await server.next()).answer(Response(2, {}))
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(2, {})], "and nothing else is concerned"


@pytest.mark.parametrize("location", ["/\xe9", "/a b", "/\x01", "/%C3%A9"])
async def test_a_redirect_to_an_odd_path_concerns_its_request_only(
    client: Client, server: Server, location: str
) -> None:
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(307, b"", Location=location)
    if not await server.quiet():
        await (await server.next()).answer(DONE)
        await wait_all_tasks_blocked()
        assert client.inbox == [DONE]
    else:
        await client.failure()
    client.inbox.clear()
    client.send(Request(2, "ping"))
    await (await server.next()).answer(Response(2, {}))
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(2, {})]


async def test_a_second_redirect_goes_on_from_the_first(client: Client, server: Server) -> None:
    """RFC 9110 section 10.2.2: a Location is relative to what was asked for."""
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(307, b"", Location="/a/b/")
    await (await server.next()).end.reply(307, b"", Location="c")
    assert (await server.next()).asked.target == "/a/b/c"


async def test_not_for_ever(client: Client, server: Server) -> None:
    await client.shake()
    client.send(WORK)
    count = 0
    while not await server.quiet():
        count += 1
        assert count < 10
        await (await server.next()).end.reply(307, b"", Location=f"/{count}")
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert failure.status == 307
    assert count == 4


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_change_the_method_is_not_followed(
    client: Client, server: Server, status: int
) -> None:
    await client.shake()
    client.send(WORK)
    await (await server.next()).end.reply(status, b"", Location="/other")
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert await server.quiet()


async def test_everything_is_redirected(client: Client, server: Server, autojump_clock: trio.testing.MockClock) -> None:
    """Servers that are mounted at /mcp/ redirect whatever comes to /mcp, notifications and the DELETE too."""

    async def at_the_other_place(method: str) -> Call:
        call = await server.next(method)
        if call.asked.target == "/mcp":
            await call.end.reply(307, b"", Location="/mcp/")
            with trio.fail_after(1000):
                call = await server.next(method)
        assert call.asked.target == "/mcp/"
        return call

    client.send(opening())
    await (await at_the_other_place("POST")).answer(Response(0, opened()), Mcp_Session_Id="s-1")
    await wait_all_tasks_blocked()
    client.transport.speaks(LATEST)
    client.send(READY)
    ready = await at_the_other_place("POST")
    assert ready.asked.message == READY
    await ready.accept()
    await (await at_the_other_place("GET")).end.reply(405)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.transport.aclose)
        await (await at_the_other_place("DELETE")).end.reply(204)


# --- order ------------------------------------------------------------------------------------------------------------


async def test_nothing_overtakes_a_notification(client: Client, server: Server) -> None:
    await client.shake()
    client.send(Notification("a"))
    client.send(Response(70, {}))
    client.send(WORK)
    client.send(Notification("b"))
    client.send(Request(2, "ping"))
    first = await server.next("POST", "a")
    assert await server.quiet(), "each is accepted before the next is sent"
    await first.accept()
    second = await server.next()
    assert second.asked.message == Response(70, {})
    assert await server.quiet()
    await second.accept()
    calls = [await server.next(), await server.next()]
    assert [call.asked.message for call in calls if isinstance(call.asked.message, Request)] == [WORK]
    [b] = [call for call in calls if isinstance(call.asked.message, Notification)]
    assert await server.quiet(), "but nothing waits for the answer to a request"
    await b.accept()
    last = await server.next()
    assert last.asked.message == Request(2, "ping")


async def test_requests_go_side_by_side(client: Client, server: Server) -> None:
    await client.shake()
    for number in range(20):
        client.send(Request(number, "tools/call"))
    calls = [await server.next() for _ in range(20)]
    for call in reversed(calls):
        await call.answer(Response(call.asked.id, {}))
    await wait_all_tasks_blocked()
    assert sorted(message.id for message in client.inbox if isinstance(message, Response)) == list(range(20))


async def test_not_too_many_at_once(make_client: Callable[..., Client], server: Server) -> None:
    client = make_client(requests=2)
    await client.shake()
    for number in range(1, 5):
        client.send(Request(number, "tools/call"))
    calls = [await server.next(), await server.next()]
    assert await server.quiet()
    client.send(Response(70, {}))
    assert (await server.next()).asked.message == Response(70, {}), "an answer of ours does not wait for theirs"
    await calls[0].answer(Response(calls[0].asked.id, {}))
    await server.next()
    assert await server.quiet()


async def test_a_notification_that_is_refused_holds_up_nothing(
    client: Client, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await client.shake()
    for status in (400, 401, 500):
        client.send(NOTE)
        await (await server.next()).end.reply(status, b"no thanks")
    client.send(NOTE)
    client.send(WORK)
    await (await server.next()).end.close()
    await (await server.next("POST", "tools/call")).answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE]
    assert caplog.text.count("did not take a message") == 4


async def test_an_answer_that_is_refused_is_told_as_an_error(client: Client, server: Server) -> None:
    await client.shake()
    client.send(Response(70, {"x": 1}))
    await (await server.next()).end.reply(400, b"no thanks")
    told = (await server.next()).asked.message
    assert isinstance(told, ErrorResponse)
    assert told.id == 70


async def test_an_answer_is_sent_again_if_the_connection_breaks(
    client: Client, server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    await client.shake()
    client.send(Response(70, {}))
    client.send(WORK)
    for _ in range(3):
        call = await server.next()
        assert call.asked.message == Response(70, {})
        await call.end.close()
    await (await server.next()).accept()
    await server.next("POST", "tools/call")


async def test_a_server_that_does_not_take_a_notification_is_not_waited_for_for_ever(
    make_client: Callable[..., Client], server: Server, autojump_clock: trio.testing.MockClock
) -> None:
    client = make_client(notify_seconds=30)
    await client.shake()
    client.send(NOTE)
    client.send(WORK)
    first = await server.next("POST", "n")
    start = trio.current_time()
    await server.next("POST", "tools/call")
    assert trio.current_time() - start == pytest.approx(30, abs=0.01)
    assert first.left.is_set()


# --- taking a request back --------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-104")
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_abandoned_request_is_not_waited_for(client: Client, server: Server, streaming: bool) -> None:
    await client.shake()
    client.send(WORK)
    call = await server.next()
    if streaming:
        await call.end.begin()
        await call.end.event(NOTE)
    await wait_all_tasks_blocked()
    assert not client.transport.abandon(1), "it has left: the server has to be told"
    await wait_all_tasks_blocked()
    assert call.left.is_set()
    client.send(Notification("notifications/cancelled", {"requestId": 1}))
    await (await server.next()).accept()
    assert [message for message in client.inbox if message != NOTE] == []
    assert not client.transport.abandon(1)


async def test_one_that_waits_behind_a_notification_has_not_left(client: Client, server: Server) -> None:
    await client.shake()
    client.send(NOTE)
    client.send(WORK)
    client.send(Request(2, "ping"))
    note = await server.next()
    assert client.transport.abandon(1)
    await note.accept()
    assert (await server.next()).asked.id == 2
    assert await server.quiet()
    assert client.inbox == []


async def test_one_that_waits_for_its_turn(make_client: Callable[..., Client], server: Server) -> None:
    client = make_client(requests=1)
    await client.shake()
    client.send(WORK)
    call = await server.next()
    client.send(Request(2, "ping"))
    await wait_all_tasks_blocked()
    client.transport.abandon(2)
    await call.answer(DONE)
    assert await server.quiet()
    assert client.inbox == [DONE]


# --- what is not yet written ------------------------------------------------------------------------------------------


async def test_the_backlog_is_what_has_not_been_written(client: Client, server: Server, network: Network) -> None:
    await client.shake()
    client.send(Request(1, "tools/call", {"x": "y" * 10_000}))
    assert client.transport.backlog >= 10_000
    await server.next()
    await wait_all_tasks_blocked()
    assert client.transport.backlog == 0, "the server has it; that it takes its time to answer is no backlog"
    assert client.transport.try_flush()


async def test_flush_waits_until_all_is_written(client: Client, server: Server) -> None:
    await client.shake()
    client.send(NOTE)
    client.send(NOTE)
    client.send(WORK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.transport.flush)
        for _ in range(2):
            note = await server.next()
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            await note.accept()
        await server.next("POST", "tools/call")
    assert client.transport.backlog == 0
    with trio.fail_after(1):
        await client.transport.flush()


@pytest.mark.parametrize("how", ["answered", "failed", "abandoned", "closed"])
async def test_nothing_of_a_request_is_left(client: Client, server: Server, network: Network, how: str) -> None:
    await client.shake()
    network.refuses = how == "failed"
    if how == "failed":
        await server.calls[-1].end.close()
    client.send(WORK)
    if how != "failed":
        call = await server.next()
        if how == "answered":
            await call.answer(DONE)
        elif how == "abandoned":
            client.transport.abandon(1)
        else:
            await call.end.close()
    await wait_all_tasks_blocked()
    assert client.transport.backlog == 0
    assert client.transport._posted == {}


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-131")
@pytest.mark.parametrize("status", [200, 204, 404, 405, 500])
async def test_the_session_is_ended(client: Client, server: Server, status: int) -> None:
    await client.shake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.transport.aclose)
        call = await server.next("DELETE")
        assert (call.asked.target, call.session, call.asked.body) == ("/mcp", "s-1", b"")
        await call.end.reply(status) if status != 204 else await call.end.send(b"HTTP/1.1 204 No\r\n\r\n")
    await client.transport.aclose()
    assert await server.quiet(), "once"
    with pytest.raises(ConnectionClosed):
        client.send(WORK)
    with pytest.raises(ConnectionClosed):
        await client.transport.receive()
    assert all(end.near.closed for end in server.network.made)


async def test_what_was_going_on_ends(client: Client, server: Server) -> None:
    stream = await client.shake(listen=True)
    assert stream is not None
    client.send(WORK)
    call = await server.next()
    client.send(NOTE)
    note = await server.next()
    client.send(NOTE)
    await closed(client, server)
    await wait_all_tasks_blocked()
    for one in (stream, call, note):
        assert one.left.is_set()
    assert await server.quiet()
    assert client.inbox == []


async def test_without_a_session_there_is_nothing_to_end(client: Client, server: Server) -> None:
    await client.shake(None)
    await client.transport.aclose()
    assert await server.quiet()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_server_that_does_not_let_go(
    make_client: Callable[..., Client], server: Server, cancelled: bool, autojump_clock: trio.testing.MockClock
) -> None:
    client = make_client(close_seconds=2)
    await client.shake()
    client.send(WORK)
    client.send(Request(2, "ping"))
    for _ in range(2):
        call = await server.next()
        await call.answer(Response(call.asked.id, {}))
    await wait_all_tasks_blocked()
    assert len([end for end in server.network.made if not end.near.closed]) == 2
    start = trio.current_time()
    with trio.CancelScope() as scope:
        if cancelled:
            scope.cancel()
        await client.transport.aclose()
    assert trio.current_time() - start <= 2.1
    assert all(end.near.closed for end in server.network.made), "no connection is left open"


async def test_a_server_that_is_gone(client: Client, server: Server, network: Network) -> None:
    await client.shake()
    for end in network.made:
        await end.close()
    network.refuses = True
    await client.transport.aclose()


async def test_a_token_that_cannot_be_had_at_the_end(make_client: Callable[..., Client], server: Server) -> None:
    """Closing raises nothing, and closes."""
    fails = False

    async def token() -> str:
        if fails:
            raise OSError("the keychain is locked")
        return "t"

    client = make_client(auth=token)
    await client.shake()
    fails = True
    await client.transport.aclose()
    assert all(end.near.closed for end in server.network.made)


async def test_a_token_that_cannot_be_had(make_client: Callable[..., Client], server: Server) -> None:
    """Whoever asks is told; the others go on."""
    fails = False

    async def token() -> str:
        if fails:
            raise OSError("the keychain is locked")
        return "t"

    client = make_client(auth=token)
    await client.shake()
    client.send(WORK)
    call = await server.next()
    fails = True
    client.send(Request(2, "ping"))
    client.send(NOTE)
    await wait_all_tasks_blocked()
    [message] = client.inbox
    assert isinstance(message, Unanswered)
    assert message.id == 2
    assert "keychain" in str(message.failure)
    client.inbox.clear()
    await call.answer(DONE)
    await wait_all_tasks_blocked()
    assert client.inbox == [DONE]


# --- nowhere else -----------------------------------------------------------------------------------------------------


async def test_nothing_ever_goes_to_another_origin(
    make_client: Callable[..., Client], server: Server, network: Network, autojump_clock: trio.testing.MockClock
) -> None:
    """Whatever a server says: in links, redirects, challenges, events."""
    client = make_client(auth="secret")
    stream = await client.shake(listen=True)
    assert stream is not None
    await stream.end.chunk(b"event: endpoint\ndata: http://evil.example/messages\n\n")
    await stream.end.chunk(b"event: redirect\ndata: http://evil.example\n\nid: http://evil.example/\ndata\n\n")
    await wait_all_tasks_blocked()
    await stream.end.close()
    again = await server.next("GET")
    await again.end.reply(307, b"", Location="http://evil.example/")
    for reply in (
        raw_answer(401, b"", WWW_Authenticate='Bearer resource_metadata="http://evil.example/"'),
        raw_answer(200, b"{}", Content_Type="application/json", Link="<http://evil.example>", Refresh="0"),
        raw_answer(302, b"", Location="http://evil.example/"),
        raw_answer(308, b"", Location="http://evil.example/"),
        raw_answer(421, b"", Alt_Svc='h2="evil.example:443"'),
    ):
        client.send(WORK)
        await (await server.next()).end.send(reply)
        await wait_all_tasks_blocked()
        client.send(NOTE)
        await (await server.next()).end.send(reply)
        await wait_all_tasks_blocked()
    await closed(client, server)
    assert network.addresses == {("server.example", 8080)}


async def test_an_answer_that_is_refused_while_we_close(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody left to tell that it was refused, and that is no reason to end the user's block."""
    await client.shake()
    transport = client.transport

    async def refuse(message: object, body: bytes) -> None:
        transport._closed = True
        raise HttpError(413, "too large")

    monkeypatch.setattr(transport, "_tell_surely", refuse)
    client.send(Response(7, {}))
    await wait_all_tasks_blocked()
    assert transport.backlog == 0
    transport._closed = False
