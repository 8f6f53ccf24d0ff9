"""What the tests of HTTP are made of: a fake exchange, a raw client of our server, and a scripted server of our client.

Everything travels through memory, so that time is the test's own.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import trio
import trio.testing
from attrs import define, field

from mcp_tasks.abc import Inbound
from mcp_tasks.codec.messages import MessageCodec
from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.framing.http import Headers
from mcp_tasks.framing.sse import Event, EventDecoder
from mcp_tasks.limits import HttpLimits, Limits
from mcp_tasks.transports.http.auth import Authenticator
from mcp_tasks.transports.http.endpoint import Endpoint
from mcp_tasks.transports.http.exchange import Exchange
from mcp_tasks.transports.http.hosts import HostRules
from mcp_tasks.transports.http.profile import PROFILES
from mcp_tasks.transports.http.server import HttpServer
from mcp_tasks.transports.http.session import HttpSession
from mcp_tasks.wire.jsonrpc import Malformed, Message, Notification, Request, Response

LATEST = "2025-11-25"
BOTH = "application/json, text/event-stream"
CODEC = MessageCodec()


def lowered(message: Message) -> dict[str, Any]:
    """A message as JSON."""
    found: dict[str, Any] = json.loads(CODEC.encode(message))
    return found


def opening(revision: str = LATEST, id: int | str = 0) -> Request:
    """The request that a session begins with."""
    info = {"name": "script", "version": "0"}
    return Request(id, "initialize", {"protocolVersion": revision, "capabilities": {}, "clientInfo": info})


def opened(revision: str = LATEST) -> dict[str, Any]:
    """The result that it is answered with."""
    return {"protocolVersion": revision, "capabilities": {}, "serverInfo": {"name": "script", "version": "0"}}


def events_in(stream: bytes) -> list[Event]:
    """The events of a whole stream, empty ones included."""
    return [event for event in EventDecoder(2**30).feed(stream) if isinstance(event, Event)]


# --- a fake exchange --------------------------------------------------------------------------------------------------


class FakeExchange(Exchange):
    """Takes down what it is answered with. With `slow`, nothing is written before `drain`."""

    def __init__(
        self,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        *,
        slow: bool = False,
    ) -> None:
        self.method = method.encode()
        self.path = b"/mcp"
        self.headers = {name.lower().encode(): value.encode("latin-1") for name, value in (headers or {}).items()}
        self.status: int | None = None
        self.head: dict[str, str] = {}
        self.body = b""
        self.begun = False
        self.finished = False
        self.gone = False
        self.flushes = 0
        self._slow = slow
        self._backlog = 0

    @property
    def client(self) -> str:
        return "test:1"

    @property
    def open(self) -> bool:
        return not self.finished and not self.gone

    @property
    def backlog(self) -> int:
        return self._backlog

    def respond(self, status: int, headers: Headers, body: bytes | bytearray = b"") -> None:
        assert self.status is None, "answered twice"
        self._take_head(status, headers)
        self._take(bytes(body))
        self.finished = True
        self.lost = None

    def begin(self, headers: Headers) -> None:
        assert self.status is None, "answered twice"
        self._take_head(200, headers)
        self.begun = True

    def write(self, data: bytes) -> None:
        assert self.begun
        assert not self.finished, "nothing follows the end"
        self._take(data)

    def end(self) -> None:
        assert self.begun
        assert not self.finished, "ended twice"
        self.finished = True
        self.lost = None

    def flush(self) -> None:
        self.flushes += 1

    def _take_head(self, status: int, headers: Headers) -> None:
        self.status = status
        self.head = {name.decode().lower(): value.decode("latin-1") for name, value in (*headers, *self.extra)}

    def _take(self, data: bytes) -> None:
        if not self.gone:
            self.body += data
            if self._slow:
                self._backlog += len(data)

    # --- for the test ---------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """The client goes away."""
        self.gone = True
        self._backlog = 0
        if not self.finished and self.lost is not None:
            lost, self.lost = self.lost, None
            lost()
        self._drained()

    def drain(self) -> None:
        """The client has read everything."""
        self._backlog = 0
        self._drained()

    def _drained(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None:
            drained()

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Event]:
        """The events that were written, empty ones included."""
        return events_in(self.body)

    @property
    def ids(self) -> list[str]:
        """The ids of the events that were written."""
        return [line[4:].decode() for line in self.body.split(b"\n") if line.startswith(b"id: ")]

    @property
    def messages(self) -> list[Inbound]:
        """What the events say."""
        return [CODEC.decode(event.data) for event in self.events if event.data]


# --- our server, and a raw client -------------------------------------------------------------------------------------


class Script:
    """Serves one session: shakes hands by itself, and keeps what else comes."""

    def __init__(self, session: HttpSession) -> None:
        self.session = session
        self.inbox: list[Inbound] = []
        self.over = False

    async def run(self) -> None:
        self.session.push_to(self._take)
        try:
            await self.session.receive()
        except ConnectionClosed:
            pass
        finally:
            self.over = True
            await self.session.aclose()

    def _take(self, message: Inbound) -> None:
        if isinstance(message, Request) and message.method == "initialize":
            assert isinstance(message.params, dict)
            wanted = message.params["protocolVersion"]
            revision = wanted if wanted in PROFILES else LATEST
            self.session.speaks(revision)
            self.say(Response(message.id, opened(revision)))
        else:
            self.inbox.append(message)

    def say(self, message: Message, related_to: int | str | None = None) -> None:
        """Send a message and write it as far as that goes."""
        self.session.send(message, related_to=related_to)
        self.session.try_flush()

    def answer(self, id: int | str, **result: Any) -> None:
        """Answer a request."""
        self.say(Response(id, result))


def request(
    method: str = "POST",
    body: bytes | Message = b"",
    headers: Mapping[str, str | None] | None = None,
    *,
    path: str = "/mcp",
    version: str = "1.1",
) -> bytes:
    """The bytes of a request that is right in every way; a header of None is left out."""
    if not isinstance(body, bytes):
        body = CODEC.encode(body)
    fields: dict[str, str | None] = {"host": "localhost", "accept": BOTH}
    if method == "POST" or body:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + body


@define
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of the JSON-RPC error."""
        assert "id" not in self.json
        message: str = self.json["error"]["message"]
        return message

    @property
    def session(self) -> str:
        """The id of the session that was begun."""
        return self.headers["mcp-session-id"]

    @property
    def closes(self) -> bool:
        """Whether the server says that it will close the connection."""
        return self.headers.get("connection") == "close"

    @property
    def streams(self) -> bool:
        return self.headers["content-type"] == "text/event-stream"


class RawClient:
    """Writes bytes and reads answers, one after the other, or a stream event by event."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._events: deque[Event] = deque()
        self._decoder = EventDecoder(2**30)
        self._over = False

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Send a request and read the whole answer."""
        await self.send(request(*arguments, **options))
        return await self.answer(no_body=arguments[:1] == ("HEAD",))

    async def begin(self, *arguments: Any, **options: Any) -> Answer:
        """Send a request and read the head of the stream that it is answered with."""
        await self.send(request(*arguments, **options))
        head = await self.head()
        assert head.status == 200, await self._body(head)
        assert head.streams
        return head

    async def head(self) -> Answer:
        """The head of the next answer."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            assert await self._more(), f"the connection ended before an answer, after {bytes(self._buffer)!r}"
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._decoder = EventDecoder(2**30)
        self._events.clear()
        return Answer(int(status), headers)

    async def answer(self, *, no_body: bool = False) -> Answer:
        """The next answer, whole."""
        answer = await self.head()
        if not no_body:
            answer.body = await self._body(answer)
        return answer

    async def _body(self, head: Answer) -> bytes:
        if head.status in (100, 204):
            return b""
        if head.headers.get("transfer-encoding") == "chunked":
            pieces = []
            while piece := await self.piece():
                pieces.append(piece)
            return b"".join(pieces)
        if "content-length" in head.headers:
            return await self._exactly(int(head.headers["content-length"]))
        while await self._more():
            pass
        found, self._buffer = bytes(self._buffer), bytearray()
        return found

    async def piece(self) -> bytes:
        """The next chunk of a stream; empty at its end."""
        while b"\r\n" not in self._buffer:
            assert await self._more(), "the connection ended within a stream"
        size, _, _ = bytes(self._buffer).partition(b"\r\n")
        await self._exactly(len(size) + 2)
        data = await self._exactly(int(size, 16))
        assert await self._exactly(2) == b"\r\n"
        return data

    async def event(self) -> Event | None:
        """The next event of a stream, empty ones included; None at its end."""
        while not self._events:
            piece = await self.piece()
            if not piece:
                return None
            self._events += [event for event in self._decoder.feed(piece) if isinstance(event, Event)]
        return self._events.popleft()

    async def message(self) -> Inbound | None:
        """What the next event that is not empty says; None at the end of the stream."""
        while (event := await self.event()) is not None:
            if event.data:
                return CODEC.decode(event.data)
        return None

    @property
    def last_id(self) -> str | None:
        """The id of the last event."""
        return self._decoder.last_id

    @property
    def retry_ms(self) -> int | None:
        return self._decoder.retry_ms

    async def at_end(self) -> bool:
        """Whether the server closes the connection, having said nothing more."""
        return not self._buffer and not await self._more()

    async def rest(self) -> bytes:
        """Whatever else comes until the connection ends."""
        while await self._more():
            pass
        found, self._buffer = bytes(self._buffer), bytearray()
        return found

    async def nothing_yet(self) -> bool:
        """Whether nothing comes that was not read, and not the end either, in no time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._more)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return not self._buffer and not self._over

    async def leave(self) -> None:
        """Close the connection."""
        await self.stream.aclose()

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            assert await self._more(), "the connection ended within an answer"
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _more(self) -> bool:
        if self._over:
            return False
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        self._over = not data
        self._buffer += data
        return not self._over


class Site:
    """A server with one endpoint, `/mcp`, whose sessions are scripts."""

    def __init__(
        self,
        nursery: trio.Nursery,
        limits: HttpLimits | None = None,
        *,
        message_limits: Limits | None = None,
        auth: Authenticator | None = None,
        hosts: HostRules | None = None,
        serve: Callable[[HttpSession], Any] | None = None,
    ) -> None:
        self.limits = HttpLimits() if limits is None else limits
        self.scripts: list[Script] = []
        self.nursery = nursery
        self.sockets: list[trio.SocketStream] = []
        self.endpoint = Endpoint(
            self._serve if serve is None else serve,
            nursery,
            hosts=HostRules("127.0.0.1") if hosts is None else hosts,
            auth=auth,
            limits=message_limits,
            http_limits=self.limits,
        )
        self.server = HttpServer({b"/mcp": self.endpoint}, nursery, self.limits)
        nursery.start_soon(self.server.keep_time)

    async def _serve(self, session: HttpSession) -> None:
        script = Script(session)
        self.scripts.append(script)
        await script.run()

    @property
    def script(self) -> Script:
        """What serves the newest session."""
        return self.scripts[-1]

    def connect(self, *, lockstep: bool = False) -> RawClient:
        """A connection; with `lockstep`, nothing is written before it is read."""
        pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        near, far = pair()
        self.nursery.start_soon(self.server.serve_stream, far, "test")
        return RawClient(near)

    def connect_socket(self) -> RawClient:
        """A connection over a real socket, which the server writes to without waiting."""
        near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in socket.socketpair())
        self.sockets.append(near)
        self.nursery.start_soon(self.server.serve_stream, far, "test")
        return RawClient(near)

    async def open(self, client: RawClient, revision: str = LATEST, **headers: str) -> dict[str, str]:
        """Begin a session; returns the headers that name it."""
        answer = await client.ask("POST", opening(revision), headers)
        assert answer.status == 200, answer
        return {"mcp-session-id": answer.session, "mcp-protocol-version": revision, **headers}

    async def joined(self, **options: Any) -> tuple[RawClient, dict[str, str], Script]:
        """A connection, the headers of a session that it has begun, and what serves that."""
        client = self.connect(**options)
        headers = await self.open(client)
        return client, headers, self.script


# --- our client, and a scripted server --------------------------------------------------------------------------------


class FakeSocket:
    """What a client looks at beneath a stream: options, and whether something came while nothing was asked."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, int]] = []
        self._near, self._far = socket.socketpair()

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)  # type: ignore[arg-type]

    def fileno(self) -> int:
        return self._near.fileno()

    def make_readable(self) -> None:
        """The server has closed the connection, or said something."""
        self._far.close()

    def close(self) -> None:
        self._near.close()
        self._far.close()


class FakeSocketStream(trio.abc.Stream):
    """A client's end of a connection in memory."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.socket = FakeSocket()
        self.closed = False
        self.broken = False
        """Whether the other side has reset the connection."""
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.broken:
            raise trio.BrokenResourceError
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self.broken and not data:
            raise trio.BrokenResourceError
        return data

    async def aclose(self) -> None:
        self.closed = True
        self.socket.close()
        await self._stream.aclose()


@define
class Asked:
    """A request that a client has sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def message(self) -> Message | Malformed:
        return CODEC.decode(self.body)

    @property
    def id(self) -> Any:
        message = self.message
        assert isinstance(message, (Request, Response)), message
        return message.id

    @property
    def rpc_method(self) -> str:
        message = self.message
        assert isinstance(message, (Request, Notification)), message
        return message.method


class ServerEnd:
    """The server's end of one connection: reads requests, writes bytes."""

    def __init__(self, stream: trio.abc.Stream, near: FakeSocketStream, address: tuple[str, int]) -> None:
        self.stream = stream
        self.near = near
        self.address = address
        self._buffer = bytearray()

    async def request(self) -> Asked | None:
        """The next request; None if the client closes the connection instead."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not await self._more():
                assert not self._buffer, "the client has left within a request"
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, version = first.split(" ")
        assert version == "HTTP/1.1"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"two headers {name}"
            headers[name.lower()] = value
        size = int(headers.get("content-length", "0"))
        while len(self._buffer) < size:
            assert await self._more(), "the client has left within a request"
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Asked(method, target, headers, body)

    async def _more(self) -> bool:
        try:
            data = await self.stream.receive_some(65536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        self._buffer += data
        return bool(data)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def reply(self, status: int = 200, body: bytes | Message = b"", **headers: str) -> None:
        """A whole answer; JSON if it is a message. A header's name is written with underscores."""
        if not isinstance(body, bytes):
            body = CODEC.encode(body)
            headers.setdefault("content_type", "application/json")
        await self.send(raw_answer(status, body, **headers))

    async def begin(self, **headers: str) -> None:
        """Begin a stream of events."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            + lines.encode("latin-1")
            + b"\r\n"
        )

    async def event(self, data: bytes | Message = b"", id: str | None = None, retry: int | None = None) -> None:
        """Add an event to the stream."""
        if not isinstance(data, bytes):
            data = CODEC.encode(data)
        text = b"" if id is None else b"id: " + id.encode() + b"\n"
        text += b"" if retry is None else b"retry: %d\n" % retry
        await self.chunk(text + b"data: " + data + b"\n\n")

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def finish(self) -> None:
        """End the stream, and not the connection."""
        await self.send(b"0\r\n\r\n")

    async def close(self) -> None:
        """Close the connection."""
        if not self.near.closed:
            self.near.socket.make_readable()
        await self.stream.aclose()

    async def reset(self) -> None:
        """Reset the connection: what the client does with it fails."""
        self.near.broken = True
        await self.close()

    async def left(self) -> bool:
        """Whether the client closes the connection without another request."""
        return await self.request() is None


def raw_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a whole answer."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode("latin-1") + body


@define
class Network:
    """What stands in for the network: every connection that is made comes out of `accept`."""

    made: list[ServerEnd] = field(factory=list)
    refuses: bool = False
    """Whether connections fail."""
    hangs: bool = False
    """Whether they take for ever."""
    _arrivals: tuple[trio.MemorySendChannel[ServerEnd], trio.MemoryReceiveChannel[ServerEnd]] = field(
        factory=lambda: trio.open_memory_channel[ServerEnd](1000)
    )

    async def connect(self, host: str, port: int, **_: Any) -> FakeSocketStream:
        """In place of `trio.open_tcp_stream`."""
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.refuses:
            raise ConnectionRefusedError(111, os.strerror(111))
        near, far = trio.testing.memory_stream_pair()
        stream = FakeSocketStream(near)
        end = ServerEnd(far, stream, (host, port))
        self.made.append(end)
        self._arrivals[0].send_nowait(end)
        return stream

    async def accept(self) -> ServerEnd:
        """The next connection that somebody makes."""
        return await self._arrivals[1].receive()

    async def request(self) -> tuple[ServerEnd, Asked]:
        """The next connection, and the first request on it."""
        end = await self.accept()
        asked = await end.request()
        assert asked is not None
        return end, asked

    @property
    def addresses(self) -> set[tuple[str, int]]:
        """Where connections were made to."""
        return {end.address for end in self.made}

    def close(self) -> None:
        for end in self.made:
            end.near.socket.close()
