"""Both ends of HTTP for tests of faults: raw connections that misbehave, a scripted client, and a scripted server.

Everything is a real socket on the loopback interface. Whatever is waited for is a fact: bytes that came, a socket that
closed, a condition that `until` looks at again and again.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import h11
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from mcp_tasks import Connection, HttpServer, Peer, open_http, serve_http
from mcp_tasks.peer._wait import servants

REVISION = "2025-11-25"
ACCEPT = ("Accept", "application/json, text/event-stream")
JSON = ("Content-Type", "application/json")
TEN_MB = 10 * 1024 * 1024
CAPABILITIES = {"elicitation": {}, "sampling": {}, "roots": {}}
_LOOKS = 20_000
_QUIET_SECONDS = 0.004  # the same for all who wait for quiet: the shortest is woken first, and is a disturbance itself


async def until(condition: Callable[[], Any]) -> Any:
    """Look until `condition` is true, and return what it is. Each look comes when nobody has anything to do."""
    for _ in range(_LOOKS):
        if value := condition():
            return value
        await wait_all_tasks_blocked(_QUIET_SECONDS)
    raise AssertionError(f"still not: {condition!r}")


async def settled() -> None:
    """Wait until nobody has had anything to do for a while, what the kernel carries from socket to socket included."""
    for _ in range(5):
        await wait_all_tasks_blocked(_QUIET_SECONDS)


def thaw() -> None:
    """Let a clock that stands still go on: the test is over, or has failed, and closing may take its time."""
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, MockClock):
        clock.rate = 1.0


# --- a raw connection -------------------------------------------------------------------------------------------------


@define
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        return self.headers.get("content-type", "")


@define
class Event:
    """A server-sent event, or what else ends with an empty line."""

    id: str | None = None
    data: str | None = None
    retry: int | None = None

    @property
    def message(self) -> Any:
        return json.loads(self.data or "null")


def request_bytes(method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes | None = None) -> bytes:
    """A request as it should be; the body, if there is one, is announced."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers)]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


class Line:
    """One connection, from the client's end: sends any bytes, reads HTTP."""

    def __init__(self, stream: trio.abc.Stream, plain: trio.SocketStream) -> None:
        self.stream = stream
        self.raw = bytearray()
        """Every byte that has come."""
        self.ended = False
        self._plain = plain
        self._h11 = _expecting(b"")
        self._text = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        await self._plain.send_eof()

    def reset_now(self) -> None:
        """Close the socket so that the other side sees a reset, whatever is on its way."""
        self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._plain.socket.close()

    async def reset(self) -> None:
        """The same, and let others notice."""
        self.reset_now()
        await self.aclose()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    async def head(self) -> Reply:
        """Wait for the head of the next answer."""
        if self._h11.their_state is h11.DONE:
            self._h11 = _expecting(self._h11.trailing_data[0])
        event = await self._event()
        assert isinstance(event, h11.Response), event
        headers: dict[str, str] = {}
        for name, value in event.headers:
            headers[name.decode()] = value.decode()
        return Reply(event.status_code, headers)

    async def answer(self) -> Reply:
        """Wait for the whole of the next answer."""
        reply = await self.head()
        body = bytearray()
        while piece := await self.piece():
            body += piece
        reply.body = bytes(body)
        return reply

    async def piece(self) -> bytes:
        """Some more of the body; empty at its end."""
        event = await self._event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def event(self) -> Event:
        """The next event of a stream; comments are passed over. Raises EOFError when the answer is over."""
        while True:
            scanned = 0
            while (end := self._text.find(b"\n\n", scanned)) < 0:
                scanned = max(0, len(self._text) - 1)
                piece = await self.piece()
                if not piece:
                    raise EOFError
                self._text += piece
            block = self._text[:end].decode()
            del self._text[: end + 2]
            found = Event()
            for line in block.split("\n"):
                name, _, value = line.partition(": ")
                if name in ("id", "data"):
                    setattr(found, name, value)
                elif name == "data:":
                    found.data = ""
                elif name == "retry":
                    found.retry = int(value)
            if found != Event():
                return found

    async def message(self) -> Any:
        """The next message of a stream."""
        while not (event := await self.event()).data:
            pass
        return event.message

    async def closed(self) -> bytes:
        """Wait until the other side has closed the connection; what came last is returned."""
        last = bytearray()
        try:
            while data := await self.stream.receive_some(65536):
                last += data
        except trio.BrokenResourceError:
            pass
        return bytes(last)

    async def _event(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            data = bytes(await self.stream.receive_some(65536))
            self.raw += data
            self._h11.receive_data(data)
        return event


def _expecting(data: bytes) -> h11.Connection:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    return connection


async def dial(url: str, *, receive_buffer: int | None = None, ssl_context: ssl.SSLContext | None = None) -> Line:
    """Connect to where `url` points; with `receive_buffer`, have the kernel take little that nobody reads."""
    where = urlsplit(url)
    one = trio.socket.socket()
    if receive_buffer is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await one.connect((where.hostname, where.port))
    except BaseException:
        one.close()
        raise
    plain = trio.SocketStream(one)
    if ssl_context is None:
        return Line(plain, plain)
    secured = trio.SSLStream(plain, ssl_context, server_hostname=where.hostname, https_compatible=True)
    return Line(secured, plain)


# --- a scripted client ------------------------------------------------------------------------------------------------


class Script:
    """A client's session by hand: each message goes by a connection of its own, which the test may mistreat."""

    def __init__(self, url: str, *, token: str | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self.url = url
        self.session_id: str | None = None
        self.lines: list[Line] = []
        self._target = urlsplit(url).path
        self._token = token
        self._ssl = ssl_context
        self._count = 0

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        found = [ACCEPT, JSON, *more]
        if self._token is not None:
            found.append(("Authorization", f"Bearer {self._token}"))
        if self.session_id is not None:
            found += [("Mcp-Session-Id", self.session_id), ("MCP-Protocol-Version", REVISION)]
        return found

    def request_bytes(self, method: str, *more: tuple[str, str], body: bytes | None = None) -> bytes:
        return request_bytes(method, self._target, self.headers(*more), body)

    async def open(self) -> None:
        """Begin a session."""
        self.session_id = None
        params = {
            "protocolVersion": REVISION,
            "capabilities": CAPABILITIES,
            "clientInfo": {"name": "script", "version": "0"},
        }
        reply = await self.ask("initialize", params)
        assert reply.status == 200, reply
        self.session_id = reply.headers["mcp-session-id"]
        assert (await self.tell("notifications/initialized")).status == 202

    async def dial(self, **options: Any) -> Line:
        line = await dial(self.url, ssl_context=self._ssl, **options)
        self.lines.append(line)
        return line

    async def post(self, message: Any, **options: Any) -> Line:
        """Post a message, and do not read the answer."""
        line = await self.dial(**options)
        await line.send(self.request_bytes("POST", body=json.dumps(message).encode()))
        return line

    def request(self, method: str, params: Any = None, *, id: Any = None) -> dict[str, Any]:
        """A request with a fresh id."""
        if id is None:
            self._count += 1
            id = self._count
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}

    async def begin(self, method: str, params: Any = None, *, id: Any = None, **options: Any) -> Line:
        """Post a request, and do not read the answer."""
        return await self.post(self.request(method, params, id=id), **options)

    async def ask(self, method: str, params: Any = None, *, id: Any = None) -> Reply:
        """Post a request and read the HTTP answer."""
        line = await self.begin(method, params, id=id)
        try:
            return await line.answer()
        finally:
            await line.aclose()

    async def tool(self, name: str, **arguments: Any) -> Any:
        """Call a tool that answers with JSON; returns the result."""
        reply = await self.ask("tools/call", {"name": name, "arguments": arguments})
        assert reply.status == 200, reply
        return reply.json["result"]

    async def tell(self, method: str, params: Any = None) -> Reply:
        """Post a notification."""
        return await self.say({"jsonrpc": "2.0", "method": method, "params": params or {}})

    async def say(self, message: Any) -> Reply:
        """Post anything and read the HTTP answer."""
        line = await self.post(message)
        try:
            return await line.answer()
        finally:
            await line.aclose()

    async def reply(self, request: Any, result: Any) -> Reply:
        """Answer a request of the server's."""
        return await self.say({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def listen(self, last_event_id: str | None = None, **options: Any) -> Line:
        """Open a stream, or come back to one; the head of the answer has been read."""
        line = await self.get(last_event_id, **options)
        reply = await line.head()
        assert (reply.status, reply.kind) == (200, "text/event-stream")
        return line

    async def get(self, last_event_id: str | None = None, **options: Any) -> Line:
        """GET, and do not read the answer."""
        line = await self.dial(**options)
        more = [] if last_event_id is None else [("Last-Event-ID", last_event_id)]
        await line.send(self.request_bytes("GET", *more))
        return line

    async def delete(self) -> Reply:
        """End the session."""
        line = await self.dial()
        await line.send(self.request_bytes("DELETE"))
        return await line.answer()

    async def aclose(self) -> None:
        for line in self.lines:
            await line.aclose()
        self.lines.clear()


@asynccontextmanager
async def scripting(url: str, **options: Any) -> AsyncIterator[Script]:
    """A scripted client with a session; its connections are closed in the end."""
    script = Script(url, **options)
    try:
        await script.open()
        yield script
    finally:
        await script.aclose()


# --- ours -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(peer: Peer | Mapping[str, Peer], **options: Any) -> AsyncIterator[HttpServer]:
    """Our server; cancelled in the end, after which it has neither connections nor sessions."""
    async with servants() as nursery:
        server: HttpServer = await nursery.start(partial(serve_http, peer, **options))
        try:
            yield server
        finally:
            thaw()
    assert not server.connections
    assert not any(endpoint.sessions for endpoint in server.endpoints.values())


@asynccontextmanager
async def connected(url: str, peer: Peer | None = None, **options: Any) -> AsyncIterator[Connection]:
    """Our client, connected."""
    peer = Peer("test-client", "0") if peer is None else peer
    async with (
        open_http(url, trust_env=False, **options) as transport,
        peer.connect(transport, revision="2025-11-25") as connection,
    ):
        try:
            yield connection
        finally:
            thaw()


def endpoint_of(server: HttpServer) -> Any:
    """The only endpoint of a server."""
    [endpoint] = server.endpoints.values()
    return endpoint


def text_of(result: Any) -> str:
    """The text of a tool's result, as JSON or as a shape."""
    content = result["content"] if isinstance(result, dict) else result.content
    [block] = content
    return block["text"] if isinstance(block, dict) else block.text  # type: ignore[no-any-return]


async def line_from(stream: trio.abc.ReceiveStream | None) -> str:
    """The next line that a process writes; nothing may follow it yet."""
    assert stream is not None
    said = b""
    while not said.endswith(b"\n"):
        data = await stream.receive_some()
        assert data, f"the end, after {said!r}"
        said += data
    return said.decode().rstrip()


# --- a scripted server ------------------------------------------------------------------------------------------------


@define
class Asked:
    """A request that a scripted server got, and the connection to misbehave on."""

    stream: trio.SocketStream
    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        return json.loads(self.body or b"null")

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)

    async def result(self, result: Any, **headers: str) -> None:
        """Answer the request with JSON."""
        await self.answer(200, self.response(result), Content_Type="application/json", **headers)

    def response(self, result: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": self.message["id"], "result": result}).encode()

    async def begin(self) -> None:
        """Begin a stream of events."""
        await self.send(STREAM_HEAD)

    async def event(self, data: bytes | str, id: str | None = None) -> None:
        """An event, as a chunk of its own."""
        await self.send(event_chunk(data, id))

    async def end(self) -> None:
        """End the stream as it should be."""
        await self.send(b"0\r\n\r\n")

    async def reset(self) -> None:
        """Close the socket so that the client sees a reset."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.stream)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event_chunk(data: bytes | str, id: str | None = None) -> bytes:
    """An event as a chunk of a stream."""
    text = data.encode() if isinstance(data, str) else data
    event = (b"" if id is None else f"id: {id}\n".encode()) + b"data: " + text + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


Behaviour = Callable[[Asked], Awaitable[None]]


@define
class FakeServer:
    """A server by hand. It shakes hands as it should; everything else is what the test says in `on`.

    The keys are methods of messages, ``response``, and the HTTP methods other than POST.
    """

    url: str = ""
    asked: list[Asked] = field(factory=list)
    handshakes: int = 0
    behaviours: dict[str, Behaviour] = field(factory=dict)

    def on(self, key: str) -> Callable[[Behaviour], Behaviour]:
        def add(behaviour: Behaviour) -> Behaviour:
            self.behaviours[key] = behaviour
            return behaviour

        return add

    def seen(self, key: str) -> list[Asked]:
        """What came under a key so far."""
        return [asked for asked in self.asked if _key(asked) == key]

    async def _serve(self, stream: trio.SocketStream) -> None:
        reader = h11.Connection(h11.SERVER)
        try:
            while (asked := await _next_request(stream, reader)) is not None:
                self.asked.append(asked)
                await self.behaviours.get(_key(asked), self._behave)(asked)
                data = reader.trailing_data[0]
                reader = h11.Connection(h11.SERVER)
                if data:
                    reader.receive_data(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _behave(self, asked: Asked) -> None:
        if asked.method == "GET":
            await asked.answer(405)
        elif asked.method == "DELETE":
            await asked.answer(204)
        elif asked.message.get("method") == "initialize":
            await self.shake_hands(asked)
        elif "id" in asked.message and "method" in asked.message:
            await asked.result({"content": [{"type": "text", "text": "fine"}]})
        else:
            await asked.answer(202)

    async def shake_hands(self, asked: Asked) -> None:
        """Answer ``initialize`` with a new session."""
        self.handshakes += 1
        result = {
            "protocolVersion": REVISION,
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": "fake", "version": "0"},
        }
        await asked.result(result, Mcp_Session_Id=f"session-{self.handshakes}")


def _key(asked: Asked) -> str:
    if asked.method != "POST":
        return asked.method
    return str(asked.message.get("method", "response"))


async def _next_request(stream: trio.SocketStream, reader: h11.Connection) -> Asked | None:
    head: h11.Request | None = None
    body = bytearray()
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
            return Asked(stream, head.method.decode(), headers, bytes(body))
        else:
            return None


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """Whatever `serve` makes of each connection; gives the URL."""
    async with servants() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"


@asynccontextmanager
async def faking() -> AsyncIterator[FakeServer]:
    """A scripted server."""
    server = FakeServer()
    async with listening(server._serve) as server.url:
        yield server


# --- a proxy that cuts ------------------------------------------------------------------------------------------------


@define
class Proxy:
    """Carries connections to a server, and cuts them.

    With `cuts`, a connection that brings a stream of events is cut after `after` bytes of it, until there have been so
    many cuts. `resets` says whether a cut is a reset or an orderly end.
    """

    target: str
    after: int = 0
    cuts: int = 0
    resets: bool = True
    url: str = ""
    made: int = 0
    """How many cuts there were."""
    pairs: set[tuple[trio.SocketStream, trio.SocketStream]] = field(factory=set)

    async def cut(self) -> None:
        """Cut everything now."""
        for near, far in list(self.pairs):
            await self._cut(near, far)

    async def _cut(self, *streams: trio.SocketStream) -> None:
        for stream in streams:
            if self.resets and stream.socket.fileno() >= 0:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(stream)

    async def serve(self, near: trio.SocketStream) -> None:
        where = urlsplit(self.target)
        try:
            far = await trio.open_tcp_stream(where.hostname or "", where.port or 0)
        except OSError:
            await trio.aclose_forcefully(near)
            return
        pair = near, far
        self.pairs.add(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, near, far, nursery.cancel_scope)
                await self._bring(near, far)
                nursery.cancel_scope.cancel()
        finally:
            self.pairs.discard(pair)
            await trio.aclose_forcefully(far)
            await trio.aclose_forcefully(near)

    async def _carry(self, near: trio.SocketStream, far: trio.SocketStream, over: trio.CancelScope) -> None:
        try:
            while data := await near.receive_some(65536):
                await far.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        over.cancel()

    async def _bring(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        left: int | None = None
        try:
            while data := await far.receive_some(65536):
                if left is None and self.made < self.cuts and b"text/event-stream" in data:
                    head, gap, body = bytes(data).partition(b"\r\n\r\n")
                    await near.send_all(head + gap)
                    data, left = body, self.after
                if left is not None and self.made < self.cuts:
                    part = bytes(data[:left])
                    left -= len(part)
                    await near.send_all(part)
                    if left == 0:
                        self.made += 1
                        await _arrived(near)
                        await self._cut(near, far)
                        return
                else:
                    await near.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


async def _arrived(stream: trio.SocketStream) -> None:
    # A reset takes with it what the other side has not read: give it the time to.
    await settled()


@asynccontextmanager
async def proxying(server: HttpServer, **options: Any) -> AsyncIterator[Proxy]:
    """A proxy before our server."""
    proxy = Proxy(server.url, **options)
    async with listening(proxy.serve) as proxy.url:
        yield proxy
