"""The server's end of Streamable HTTP, by hand: each request that comes waits for what the script makes of it.

Left alone it does what a server has to: notifications and answers are accepted, a session is given out and deleted, a
GET becomes a stream. A request is answered when the script sends the response; whatever else the script sends goes by
the exchange it names, or the stream that the client listens on, or an open request.

Spec: basic/transports "Streamable HTTP".
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from .._unset import JSON, UNSET, RequestId
from ..dialects.base import Side
from ..errors import ConnectionClosed
from ..framing.http import LAST_CHUNK, BodyEnd, Broken, Headers, RequestHead, RequestReader, chunk, head
from ..framing.sse import encode_event, encode_retry
from ..peer._wait import servants
from ._frames import Frame
from ._wires import Wire, listening, read_json

__all__ = ["HttpServerWire", "Visit", "open_http_server_wire"]

_HEADER_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_JSON = [(b"Content-Type", b"application/json")]
_EVENTS = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-cache")]


class Visit:
    """One HTTP request of a client, until it has its answer."""

    def __init__(self, channel: str, request: RequestHead, body: bytes, stream: trio.abc.Stream) -> None:
        self.channel = channel
        self.verb = request.method.decode("latin-1")
        self.path = request.target.decode("latin-1")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
        self.message: JSON = read_json(body)
        self.streams = False
        """Whether the answer has begun, as a stream of events."""
        self.over = trio.Event()
        """Set when the answer is complete, or the client has left."""
        self._stream = stream
        self._sending = trio.Lock()

    @property
    def id(self) -> RequestId | None:
        """The id of the JSON-RPC request that it brought; None if it brought none."""
        message = self.message
        return message.get("id") if isinstance(message, dict) and "method" in message else None

    async def answer(self, status: int, body: bytes = b"", headers: Headers = ()) -> None:
        """Answer it with all at once."""
        await self.write(head(status, headers, length=len(body), keeps_alive=True) + body)
        self.over.set()

    async def begin(self, headers: Headers = ()) -> None:
        """Answer it with a stream, if that has not begun."""
        if not self.streams:
            self.streams = True
            await self.write(head(200, [*_EVENTS, *headers], length=None, keeps_alive=True))

    async def event(self, data: bytes, id: str | None = None) -> None:
        """Send one event by its stream."""
        await self.write(chunk(encode_event(data, id)))

    async def retry(self, milliseconds: int) -> None:
        """Ask the client to wait before it comes back for this stream."""
        await self.write(chunk(encode_retry(milliseconds)))

    async def end(self) -> None:
        """End its stream as it should be."""
        if not self.over.is_set():
            await self.write(LAST_CHUNK)
            self.over.set()

    async def cut(self) -> None:
        """Close its connection, whatever the client still waits for."""
        self.over.set()
        await trio.aclose_forcefully(self._stream)

    async def write(self, data: bytes) -> None:
        """Write bytes as they are. Raises `ConnectionClosed` if the client has left."""
        try:
            async with self._sending:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.over.set()
            raise ConnectionClosed(f"the client has closed {self.channel}") from None


class HttpServerWire(Wire):
    """A server at `url`. `open_http_server_wire` makes these."""

    def __init__(self) -> None:
        super().__init__(Side.SERVER)
        self.url = ""
        self.visits: list[Visit] = []
        self.session_id: str | None = "a-session-of-the-script"
        """Given out with the answer to ``initialize``; None for a server without sessions."""
        self.listens = True
        """Whether a GET gets a stream; else it is refused with 405."""
        self.events = False
        """Whether requests are answered by a stream, even where nothing comes before the response."""
        self.accepts = True
        """Whether notifications and responses of the client are accepted without being asked."""
        self._waiting: deque[tuple[Frame, bytes]] = deque()

    # --- sending --------------------------------------------------------------------------------------------------

    async def send(self, message: JSON, *, channel: str | None = None, event_id: str | None = None) -> Frame:
        """Send a message by the exchange it belongs to; if there is none yet, it waits for one."""
        frame = Frame(Side.SERVER, message, event_id=event_id)
        visit = self._route(frame, channel)
        data = json.dumps(message).encode()
        if visit is None:
            self.show(frame)
            self._waiting.append((frame, data))
            await trio.lowlevel.checkpoint()
            return frame
        frame.channel = visit.channel
        answers = frame.is_response and frame.id == visit.id
        if answers and not visit.streams and not self.events:
            frame.status = 200
            self.show(frame)
            await visit.answer(200, data, [*_JSON, *self._session(visit)])
            return frame
        self.show(frame)
        await self._event(visit, data, event_id)
        if answers:
            await visit.end()
        return frame

    async def send_raw(self, data: bytes, *, channel: str | None = None) -> None:
        """Send bytes as the data of an event, by the exchange that is named or the one that is open."""
        visit = self._route(Frame(Side.SERVER), channel)
        if visit is None:
            raise ConnectionClosed("no exchange is open")
        self.show(Frame(Side.SERVER, channel=visit.channel, raw=data))
        await self._event(visit, data, None)

    async def refuse(self, visit: Visit, status: int, message: JSON = UNSET, headers: Headers = ()) -> None:
        """Answer an exchange with a status, and a message if there is one."""
        self.show(Frame(Side.SERVER, message, visit.channel, "" if message else "refused", status))
        body = b"" if message is UNSET else json.dumps(message).encode()
        await visit.answer(status, body, [*(_JSON if body else []), *headers])

    def visit(self, channel: str) -> Visit:
        """The exchange of that name. Raises KeyError."""
        for visit in self.visits:
            if visit.channel == channel:
                return visit
        raise KeyError(channel)

    def open_visits(self) -> list[Visit]:
        """The exchanges without a complete answer, in the order in which they came."""
        return [visit for visit in self.visits if not visit.over.is_set()]

    async def _event(self, visit: Visit, data: bytes, event_id: str | None) -> None:
        await visit.begin(self._session(visit))
        await visit.event(data, event_id)

    def _session(self, visit: Visit) -> Headers:
        message = visit.message
        opening = isinstance(message, dict) and message.get("method") == "initialize"
        return [(b"Mcp-Session-Id", self.session_id.encode())] if opening and self.session_id is not None else []

    def _route(self, frame: Frame, channel: str | None) -> Visit | None:
        if channel is not None:
            return self.visit(channel)
        visits = self.open_visits()
        if frame.is_response:
            return next((visit for visit in visits if visit.id == frame.id), None)
        listening = [visit for visit in visits if visit.verb == "GET" and visit.streams]
        asking = [visit for visit in visits if visit.verb == "POST" and visit.id is not None]
        return next(reversed(listening or asking), None)

    async def _send_waiting(self) -> None:
        while self._waiting:
            frame, data = self._waiting[0]
            visit = self._route(frame, None)
            if visit is None:
                return
            self._waiting.popleft()
            frame.channel = visit.channel
            await self._event(visit, data, frame.event_id)

    # --- receiving ------------------------------------------------------------------------------------------------

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        reader = RequestReader(_HEADER_BYTES)
        try:
            while (found := await _next_request(stream, reader)) is not None:
                visit = Visit(f"{found[0].method.decode('latin-1')} {len(self.visits) + 1}", *found)
                self.visits.append(visit)
                async with servants() as nursery:
                    nursery.start_soon(self._watch, stream, reader, visit)
                    await self._begin(visit)
                    await visit.over.wait()
                reader.restart()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _begin(self, visit: Visit) -> None:
        frame = Frame(Side.CLIENT, visit.message, visit.channel, verb=visit.verb, headers=visit.headers)
        if visit.message is UNSET:
            frame.event = "asked"
        self.arrived(frame)
        if visit.verb == "GET":
            if self.listens:
                await visit.begin()
                await self._send_waiting()
            else:
                await self.refuse(visit, 405)
        elif visit.verb == "DELETE":
            await self.refuse(visit, 204)
        elif visit.id is None and self.accepts:
            self.show(Frame(Side.SERVER, channel=visit.channel, event="accepted", status=202))
            await visit.answer(202)
        else:
            await self._send_waiting()

    async def _watch(self, stream: trio.SocketStream, reader: RequestReader, visit: Visit) -> None:
        # Whoever closes a connection does not want its answer; what comes early is the next request.
        while data := await stream.receive_some(_CHUNK):
            reader.feed(data)
        reader.feed(b"")
        if not visit.over.is_set():
            self.arrived(Frame(Side.CLIENT, channel=visit.channel, verb=visit.verb, event="closed"))
            visit.over.set()

    async def aclose(self) -> None:
        for visit in self.open_visits():
            await visit.cut()
        self.over("the wire has been closed")
        await trio.lowlevel.checkpoint()


async def _next_request(
    stream: trio.SocketStream, reader: RequestReader
) -> tuple[RequestHead, bytes, trio.SocketStream] | None:
    request: RequestHead | None = None
    body = bytearray()
    while True:
        part = reader.next()
        if part is None:
            if reader.ended:
                return None
            reader.feed(bytes(await stream.receive_some(_CHUNK)))
        elif isinstance(part, RequestHead):
            request = part
        elif isinstance(part, bytes):
            body += part
        elif isinstance(part, BodyEnd):
            assert request is not None
            return request, bytes(body), stream
        else:
            assert isinstance(part, Broken)
            await stream.send_all(head(part.status, (), length=0, keeps_alive=False))
            return None


@asynccontextmanager
async def open_http_server_wire(
    nursery: trio.Nursery, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[HttpServerWire]:
    """Listen at `host`, on a free port unless one is given; the connections are cut when the block ends."""
    wire = HttpServerWire()
    async with listening(wire.serve, nursery, host=host, port=port) as bound:
        wire.url = f"http://{host}:{bound}/mcp"
        try:
            yield wire
        finally:
            with trio.CancelScope(shield=True):
                await wire.aclose()
