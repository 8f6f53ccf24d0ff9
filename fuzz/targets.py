"""What must hold whatever bytes come: plain functions that take them, and raise if it does not.

They are run by `tests/unit/transports/http/test_fuzz_http.py` with what Hypothesis makes of the seeds, and by `run.py`
with what libFuzzer does. Nothing here needs either. Each function begins with its invariant.

Where bytes travel, they do so in pieces: the places of the cuts are made from the bytes themselves, so that whatever
was found can be run again.
"""

from __future__ import annotations

import json
import logging
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import trio
import trio.testing

from mcp_tasks import Context, Peer
from mcp_tasks.abc import Inbound, Unanswered
from mcp_tasks.codec.messages import MessageCodec
from mcp_tasks.errors import ConnectionClosed, LocalProtocolError
from mcp_tasks.framing.http import BodyEnd, Broken, RememberedHeads, RequestHead, RequestReader
from mcp_tasks.framing.lines import Oversized
from mcp_tasks.framing.sse import Event, EventDecoder
from mcp_tasks.jsonrpc.events import Refused
from mcp_tasks.jsonrpc.session import Session
from mcp_tasks.limits import HttpClientLimits, HttpLimits, Limits
from mcp_tasks.transports.http.auth import parse_challenges
from mcp_tasks.transports.http.carrier import Carrier
from mcp_tasks.transports.http.client import HttpClientTransport
from mcp_tasks.transports.http.endpoint import Endpoint
from mcp_tasks.transports.http.hosts import HostRules
from mcp_tasks.transports.http.pool import HttpPool, Url
from mcp_tasks.transports.http.server import HttpServer
from mcp_tasks.transports.http.streams import parse_event_id
from mcp_tasks.wire.jsonrpc import ErrorResponse, Malformed, Notification, Request, Response

__all__ = ["SEEDS", "TARGETS", "TOKENS"]

CONNECTION = b"\xff\xfe\xfd"
"""Separates what is said on one connection from what is said on the next."""
SESSION = b"@SESSION@"
"""Stands for the id of a session that whoever sends the bytes has begun."""

_CODEC = MessageCodec()
_HEADER_BYTES = 1 << 20  # beyond what is fed: a head that comes whole is not refused where one in pieces would be


def cut(data: bytes) -> list[bytes]:
    """The same bytes in pieces, always at the same places."""
    random_places = random.Random(zlib.crc32(data))
    places = sorted(random_places.randrange(len(data) + 1) for _ in range(random_places.randrange(6)))
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


# --- framing ----------------------------------------------------------------------------------------------------------


def requests(data: bytes) -> None:
    """HTTP is read the same in pieces as whole, by known heads as by h11; nothing follows what is broken."""
    whole = _requests_in([data], RememberedHeads())
    heads = RememberedHeads()
    for pieces in (cut(data), [data], [data], cut(data)):
        assert _requests_in(pieces, heads) == whole


def _requests_in(pieces: list[bytes], heads: RememberedHeads) -> list[object]:
    reader = RequestReader(_HEADER_BYTES, heads)
    waiting = [piece for piece in pieces if piece]
    found: list[object] = []
    request: RequestHead | None = None
    body = b""
    while True:
        event = reader.next()
        if isinstance(event, RequestHead):
            assert request is None
            request, body = event, b""
        elif isinstance(event, bytes):
            assert event, "a piece of a body is not empty"
            body += event
        elif isinstance(event, BodyEnd):
            assert request is not None
            found.append((request.method, request.target, request.headers, request.keeps_alive, request.chunks, body))
            request = None
            reader.restart()
        elif isinstance(event, Broken):
            assert 400 <= event.status < 600
            assert isinstance(reader.next(), Broken), "nothing can follow"
            return [*found, event.status]
        elif reader.ended:
            return found
        else:
            reader.feed(waiting.pop(0) if waiting else b"")


def events(data: bytes) -> None:
    """Events are the same in pieces as whole; none is longer than the limit, and no more than that is kept."""
    whole, pieces = EventDecoder(1 << 20), EventDecoder(1 << 20)
    first = [event for piece in cut(data) for event in pieces.feed(piece)]
    assert whole.feed(data) == first
    assert (whole.last_id, whole.retry_ms) == (pieces.last_id, pieces.retry_ms)
    small = EventDecoder(32)
    for piece in cut(data):
        for event in small.feed(piece):
            assert isinstance(event, Oversized) or len(event.data) <= 32
    assert small.feed(b"\n\ndata:!\n\n")[-1] == Event(b"!"), "it finds its way back"
    resumed = whole.resumed()
    assert (resumed.last_id, resumed.retry_ms) == (whole.last_id, whole.retry_ms)


def headers(data: bytes) -> None:
    """What other headers say is read or not, and never raised about; whoever is not known is not let in."""
    text = data.decode("latin-1")
    for challenge in parse_challenges(text):
        assert challenge.scheme
    named = parse_event_id(text)
    assert named is None or text == f"{named[0]}-{text.rpartition('-')[2]}"
    for rules in (
        HostRules("127.0.0.1"),
        HostRules("0.0.0.0", hosts=["known.example"], origins=["http://known.example"]),
    ):
        rules.objection(data, data)
        if b"known" not in data.lower():
            # A known name in the midst of something else is something else.
            assert rules.objection(b"x" + data.lower() + b".evil.example", None) is not None
    try:
        url = Url(text)
    except LocalProtocolError:
        return
    assert Url(str(url)).origin == url.origin
    assert url.target.startswith("/")


# --- messages ---------------------------------------------------------------------------------------------------------


def messages(data: bytes) -> None:
    """Whatever is decoded can be encoded again and means the same; a session owes an answer to requests alone."""
    session: Session[str, str] = Session()
    session.called(session.mint(), "call")
    for line in data.split(b"\n"):
        message = _CODEC.decode(line)
        if not isinstance(message, Malformed):
            again = _CODEC.decode(_CODEC.encode(message))
            assert again == message, (message, again)
        owed = set(session.served)
        event = session.receive(message)
        if isinstance(event, Request):
            assert event is message
            assert set(session.served) == owed | {event.id}
        else:
            assert set(session.served) == owed
        if isinstance(event, Refused):
            json.loads(_CODEC.encode(event.answer))
    calls, _ = session.close()
    assert calls in (["call"], [])
    assert session.served == {}


# --- the server -------------------------------------------------------------------------------------------------------


def endpoint(data: bytes) -> None:
    """Whatever some connections say, the server goes on: another client's call, under way meanwhile, is answered.

    Nothing is logged as our mistake, what is said is HTTP, and when the time has come no connection is left.
    """
    with _no_mistake_logged():
        trio.run(_endpoint, data, clock=trio.testing.MockClock(autojump_threshold=0))


async def _endpoint(data: bytes) -> None:
    peer = Peer("fuzz", "0", limits=Limits(message_bytes=100_000))
    gate = trio.Event()

    @peer.tool
    async def wait() -> str:
        await gate.wait()
        return "done"

    @peer.tool
    async def echo(text: str = "") -> str:
        return text

    @peer.tool
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("?", {"name": str})).action

    @peer.tool(task="required")
    async def long(ctx: Context) -> str:
        return (await ctx.elicit("?", {"name": str})).action

    async def serve(session: Carrier) -> None:
        await peer.serve(session, principal="somebody")

    limits = HttpLimits(request_seconds=10, idle_seconds=20, stall_seconds=10, keep_alive_seconds=30)
    async with peer, trio.open_nursery() as nursery:
        hosts = HostRules("127.0.0.1")
        served = Endpoint(serve, nursery, hosts=hosts, limits=peer.limits, http_limits=limits)
        server = HttpServer({b"/mcp": served}, nursery, limits)
        nursery.start_soon(server.keep_time)
        good = _Client(server, nursery)
        await good.open()
        await good.send(_post(Request(1, "tools/call", {"name": "wait", "arguments": {}}), good.session))
        other = _Client(server, nursery)
        await other.open()
        for part in data.split(CONNECTION):
            bad = _Client(server, nursery)
            for piece in cut(part.replace(SESSION, other.session)):
                if not await bad.send(piece):
                    break
                await trio.testing.wait_all_tasks_blocked()
            await bad.finish()
            said = await bad.rest()
            assert not said or said.startswith(b"HTTP/1.1 "), said[:100]
        gate.set()
        answer = await good.answer()
        assert answer.get("id") == 1, answer
        assert answer["result"]["content"] == [{"type": "text", "text": "done"}], answer
        await good.send(_post(Request(2, "ping"), good.session))
        assert await good.answer() == {"jsonrpc": "2.0", "id": 2, "result": {}}
        await trio.sleep(60)
        assert not server.connections, "whoever says no more is let go"
        await server.aclose(1)
        assert not served.sessions
        assert all(carrier.settled for carrier in served.carriers.values())
        nursery.cancel_scope.cancel()


def _post(message: Request | Notification, session: bytes | None = None) -> bytes:
    body = _CODEC.encode(message)
    named = b"" if session is None else b"Mcp-Session-Id: " + session + b"\r\n"
    return (
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Accept: application/json, text/event-stream\r\n%bContent-Length: %d\r\n\r\n%b" % (named, len(body), body)
    )


_OPENING = Request(
    0,
    "initialize",
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "0"}},
)


class _Client:
    """A connection to the server, over memory."""

    def __init__(self, server: HttpServer, nursery: trio.Nursery) -> None:
        self.session = b""
        self._stream, far = trio.testing.memory_stream_pair()
        self._buffer = b""
        nursery.start_soon(server.serve_stream, far, "fuzz")

    async def open(self) -> None:
        await self.send(_post(_OPENING))
        head = await self._head()
        self.session = head[b"mcp-session-id"]
        await self._body(head)
        await self.send(_post(Notification("notifications/initialized"), self.session))
        await self._body(await self._head())

    async def send(self, data: bytes) -> bool:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            return False
        return True

    async def finish(self) -> None:
        await self._stream.send_stream.aclose()

    async def answer(self) -> Any:
        """The answer to the request that was sent last, in JSON or in events."""
        head = await self._head()
        body = await self._body(head)
        if head[b"content-type"] == b"application/json":
            return json.loads(body)
        found = [event.data for event in EventDecoder(1 << 20).feed(body) if isinstance(event, Event)]
        return json.loads(found[-1])

    async def rest(self) -> bytes:
        """What comes until the end, or until nobody would wait any longer."""
        with trio.move_on_after(40):
            while await self._more():
                pass
        await self._stream.aclose()
        return self._buffer

    async def _head(self) -> dict[bytes, bytes]:
        while b"\r\n\r\n" not in self._buffer:
            assert await self._more(), "the connection ended before an answer"
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        assert first[:10] == b"HTTP/1.1 2", head
        return {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in lines}

    async def _body(self, head: dict[bytes, bytes]) -> bytes:
        if b"content-length" in head:
            return await self._exactly(int(head[b"content-length"]))
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                assert await self._more(), "the connection ended within a stream"
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            piece = await self._exactly(int(size, 16) + 2)
            if len(piece) == 2:
                return body
            body += piece[:-2]

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert await self._more(), "the connection ended within an answer"
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def _more(self) -> bool:
        try:
            data = bytes(await self._stream.receive_some(65536))
        except trio.BrokenResourceError:
            return False
        self._buffer += data
        return bool(data)


# --- the client -------------------------------------------------------------------------------------------------------


def answers(data: bytes) -> None:
    """Whatever a server says, every request has an outcome, once; nothing goes elsewhere, nothing is our mistake."""
    with _no_mistake_logged():
        trio.run(_answers, data, clock=trio.testing.MockClock(autojump_threshold=0))


async def _answers(data: bytes) -> None:
    parts = data.split(CONNECTION)
    opened = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "fuzz", "version": "0"}}
    asked: list[tuple[str, int]] = []
    outcomes: list[Inbound] = []
    handshake = True

    async def connect(host: str, port: int, **_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        asked.append((host, port))
        if len(asked) > 100:
            raise OSError("enough")
        near, far = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, far)
        return _Socketlike(near)

    async def serve(stream: trio.StapledStream[Any, Any]) -> None:
        said = b""
        try:
            while b"\r\n\r\n" not in said:
                data = await stream.receive_some(65536)
                if not data:
                    break
                said += data
            if handshake and b'initialize"' in said:
                body = _CODEC.encode(Response(0, opened))
                lines = b"Content-Type: application/json\r\nMcp-Session-Id: s\r\nContent-Length: %d" % len(body)
                await stream.send_all(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (lines, body))
            elif handshake:
                await stream.send_all(b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                for piece in cut(parts.pop(0)) if parts else [b""]:
                    await stream.send_all(piece)
                    await trio.testing.wait_all_tasks_blocked()
            await stream.send_stream.aclose()
        except trio.BrokenResourceError:
            pass  # the client has heard enough

    with mock.patch("trio.open_tcp_stream", connect):
        async with trio.open_nursery() as nursery:
            url = Url("http://server.example/mcp")
            limits = HttpClientLimits(resume_attempts=3)
            pool = HttpPool(url, ssl_context=None, limits=limits, trust_env=False)
            client = HttpClientTransport(
                url, pool, nursery, auth="secret", limits=Limits(message_bytes=100_000), http_limits=limits
            )
            client.push_to(outcomes.append)
            client.send(_OPENING)
            await trio.testing.wait_all_tasks_blocked()
            assert outcomes == [Response(0, opened)]
            outcomes.clear()
            client.speaks("2025-11-25")
            client.send(Notification("notifications/initialized"))
            await trio.testing.wait_all_tasks_blocked()
            handshake = False
            for id in (1, 2):
                client.send(Request(id, "tools/call"))
                client.send(Notification("n"))
                client.send(Response(70 + id, {}))
            for _ in range(20 * 24):  # the longest pause that a server may want is a day
                await trio.sleep(3600)
                ids = [one.id for one in outcomes if isinstance(one, (Response, ErrorResponse, Unanswered))]
                if {1, 2} <= set(ids):
                    break
            else:
                raise AssertionError(f"not every request has an outcome: {outcomes}")
            assert sum(isinstance(one, Unanswered) and one.id in (1, 2) for one in outcomes) <= 2
            assert client.backlog == 0
            await client.aclose()
            try:
                await client.receive()
            except ConnectionClosed:
                pass
            else:
                raise AssertionError("it has ended")
            nursery.cancel_scope.cancel()
    assert set(asked) <= {("server.example", 80)}


class _Socketlike(trio.abc.Stream):
    """A connection in memory, as far as a client looks at its socket: it is never used twice."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self._stream = stream
        self.socket = self

    def setsockopt(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return -1

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextmanager
def _no_mistake_logged() -> Iterator[None]:
    # What the walls have caught, they have logged.
    found: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    keep = Keep(logging.ERROR)
    logger = logging.getLogger("mcp_tasks")
    logger.addHandler(keep)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(keep)
    for record in found:
        if record.exc_info is not None and record.exc_info[1] is not None:
            raise AssertionError(record.getMessage()) from record.exc_info[1]
        raise AssertionError(record.getMessage())


# --- what to begin with -----------------------------------------------------------------------------------------------

TARGETS: dict[str, Callable[[bytes], None]] = {
    "requests": requests,
    "events": events,
    "headers": headers,
    "messages": messages,
    "endpoint": endpoint,
    "answers": answers,
}

_MESSAGES = [
    _CODEC.encode(message)
    for message in (
        _OPENING,
        Request(5, "ping"),
        Request("a", "tools/call", {"name": "echo", "arguments": {"text": "é"}}),
        Request(6, "tools/call", {"name": "wait", "arguments": {}, "task": {"ttl": 1000}}),
        Request(7, "tasks/list"),
        Notification("notifications/cancelled", {"requestId": "a"}),
        Notification("notifications/progress", {"progressToken": 1, "progress": 0.5}),
        Response(1, {"x": [1.5, None, True, {}]}),
    )
]
_MESSAGES += [
    b"[]",
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x","data":{}}}',
    b'{"jsonrpc":"2.0","id":1,"result":7}',
]


def _asked(body: bytes, *, session: bytes = SESSION, method: bytes = b"POST", more: bytes = b"") -> bytes:
    return (
        b"%b /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: text/event-stream, */*\r\n"
        b"Mcp-Session-Id: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (method, session, more, len(body), body)
    )


_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {
        "elicitation": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    },
}


def _alone(method: str, named: str | None = None, **params: Any) -> bytes:
    body = _CODEC.encode(Request(1, method, {**params, "_meta": _META}))
    name = b"" if named is None else b"Mcp-Name: %b\r\n" % named.encode()
    more = b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: %b\r\n%b" % (method.encode(), name)
    return _asked(body, more=more)


_STATELESS = [
    _alone("server/discover"),
    _alone("tools/call", "echo", name="echo", arguments={"text": "x"}),
    _alone("tools/call", "ask", name="ask", inputResponses={"elicit-1": {"action": "decline"}}),
    _alone("tools/call", "ask", name="ask", inputResponses={"elicit-1": 1}, requestState="AAAA"),
    _alone("tools/call", "long", name="long"),
    _alone("tasks/get", "x", taskId="x"),
    _alone("tasks/update", "x", taskId="x", inputResponses={"a": {}}),
    _alone("tasks/cancel", "x", taskId="x"),
    _alone("subscriptions/listen", notifications={"toolsListChanged": True, "taskIds": ["x"]}),
    _alone("tools/list"),
]
_CHUNKED = (
    b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"
)
_REQUESTS = [
    *_STATELESS,
    *(_asked(body) for body in _MESSAGES),
    _asked(_MESSAGES[1]) * 3,
    _asked(b"", method=b"GET"),
    _asked(b"", method=b"GET", more=b"Last-Event-ID: 1-1\r\n") + _asked(_MESSAGES[1]),
    _asked(b"", method=b"DELETE") + _asked(_MESSAGES[1]),
    _asked(b"", method=b"OPTIONS", more=b"Origin: http://localhost\r\n"),
    _asked(_MESSAGES[1], more=b"Expect: 100-continue\r\nMCP-Protocol-Version: 2025-11-25\r\n"),
    _asked(_MESSAGES[1], session=b"x", more=b"Connection: close\r\nAuthorization: Bearer x\r\n"),
    _CHUNKED + b"GET http://localhost/mcp HTTP/1.0\r\n\r\n",
    b"POST /mcp HTTP/1.1\nHost: localhost\nContent-Length: 6\n\nab\r\n\r\n" * 2,
]
_EVENTS = [
    b"id: 1\ndata: \n\n: comment\n\nid: 2\nretry: 10\ndata: " + _MESSAGES[7] + b"\n\n",
    b"\xef\xbb\xbfevent: message\r\ndata: {\r\ndata: }\r\n\r\nevent: x\rdata\r\rretry: 0\n\n",
    b"data: " + b"x" * 100 + b"\n\ndata: y\n\n",
]


def _said(body: bytes, kind: bytes = b"application/json", status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, kind, more, len(body), body)


_DONE = b'{"jsonrpc":"2.0","id":1,"result":{}}'
_ANSWERS = [
    _said(_DONE),
    _said(b"id: e\nretry: 5\ndata: \n\ndata: " + _DONE + b"\n\n", b"text/event-stream"),
    CONNECTION.join([_said(b"id: \xc3\xa9\ndata: \n\n", b"text/event-stream")] * 3 + [_said(_DONE)]),
    _said(b"", status=b"307 X", more=b"Location: /other\r\n") + CONNECTION + _said(_DONE),
    _said(b"", status=b"404 X") + CONNECTION + _said(_CODEC.encode(Response(0, {"protocolVersion": "2025-11-25"}))),
    _said(b"{}", status=b"401 X", more=b'WWW-Authenticate: Bearer realm="x", scope="a b"\r\n'),
    _said(b'{"jsonrpc":"2.0","error":{"code":-1,"message":"x"}}', status=b"400 X"),
    b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n1\r\n\n\r\n0\r\n\r\n",
]

SEEDS: dict[str, list[bytes]] = {
    "requests": _REQUESTS,
    "events": _EVENTS,
    "headers": [
        b'Bearer realm="a\\"b", scope=x, Basic dGVzdA==, Negotiate',
        b"1a-12",
        b"localhost:8000",
        b"http://user@[::1]:80/a?b#c",
        b"https://known.example",
    ],
    "messages": [*_MESSAGES, b"\n".join(_MESSAGES)],
    "endpoint": [*_REQUESTS, CONNECTION.join(_REQUESTS)],
    "answers": _ANSWERS,
}
"""For each target, bytes that go deep."""

TOKENS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b":",
        b": ",
        b"-",
        b",",
        b";",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b"0",
        b"9" * 30,
        b"\xff",
    ),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: evil.example\r\n", b"Connection: close\r\n"),
    *(b"Mcp-Session-Id: ", b"HTTP/1.1", b"HTTP/1.0", b"POST ", b"GET ", b"HEAD ", b"\r\n\r\n", CONNECTION, SESSION),
    *(b"data: ", b"id: ", b"retry: 0\n", b"event: ", b"\n\n", b"text/event-stream", b"application/json", b"*/*"),
    *(b'"id":1', b'"id":null', b'"method":"ping"', b'"result":{}', b'"error":', b'"params":', b"\\ud800", b"1e999"),
    *(b"MCP-Protocol-Version: ", b"2026-07-28", b"Mcp-Method: ", b"Mcp-Name: ", b"=?base64?", b"?=", b'"_meta":'),
    *(b"404 ", b"307 ", b"Location: //evil.example/\r\n", b"Location: /\r\n", b"200 "),
]
"""Words that mean something to somebody here."""
