"""Recording over HTTP: a reverse proxy that passes on each piece of a body as it comes, in both directions.

One connection of a client's is one connection to the server, so that whoever hangs up is seen to hang up. Heads are
read by h11 and written anew with the other host; nothing of what the protocol says is changed.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from .._unset import UNSET
from ..dialects.base import Side
from ..framing.lines import Oversized
from ..framing.sse import EventDecoder
from ..peer._wait import servants
from ..testing import Frame
from ..testing._wires import read_json

__all__ = ["record_http"]

_CHUNK = 64 * 1024
_EVENT_BYTES = 256 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError)


async def record_http(
    url: str,
    tell: Callable[[Frame], None],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve at `host` and `port` what the server at `url` does, until cancelled; starts with the URL to use.

    `tell` is called with every frame of either direction, after it was passed on.
    """
    where = urlsplit(url)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise ValueError(f"{url!r} is not the URL of a server")
    proxy = _Proxy(where, tell, ssl_context)
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(_listen, proxy, host, port)
        bound = listeners[0].socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        task_status.started(f"http://{shown}:{bound}{where.path or '/'}")


async def _listen(
    proxy: _Proxy, host: str, port: int, *, task_status: trio.TaskStatus[list[trio.SocketListener]]
) -> None:
    await trio.serve_tcp(proxy.serve, port, host=host, task_status=task_status)


class _Proxy:
    """All connections of one recording."""

    def __init__(self, where: SplitResult, tell: Callable[[Frame], None], ssl_context: ssl.SSLContext | None) -> None:
        self._where = where
        self._tell = tell
        self._ssl = ssl_context
        self._numbers = itertools.count(1)
        self._began: float | None = None

    def say(self, frame: Frame) -> None:
        """Record a frame, at this moment."""
        now = trio.current_time()
        if self._began is None:
            self._began = now
        frame.at = now - self._began
        self._tell(frame)

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection to its end."""
        server: trio.abc.Stream | None = None
        try:
            server = await self._connect()
            inner = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
            outer = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
            while await self._exchange(client, outer, server, inner):
                outer.start_next_cycle()
                inner.start_next_cycle()
        except _GONE as error:
            if server is None:
                self.say(Frame(Side.SERVER, event=f"broken: {error}"))
                with suppress(*_GONE):
                    await client.send_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            with trio.CancelScope(shield=True):  # else a cancellation would leave the second one open
                for stream in (client, server):
                    if stream is not None:
                        await trio.aclose_forcefully(stream)

    async def _connect(self) -> trio.abc.Stream:
        secure = self._where.scheme == "https"
        port = self._where.port or (443 if secure else 80)
        stream = await trio.open_tcp_stream(self._where.hostname or "", port)
        if not secure:
            return stream
        context = ssl.create_default_context() if self._ssl is None else self._ssl
        return trio.SSLStream(stream, context, server_hostname=self._where.hostname, https_compatible=True)

    async def _exchange(
        self, client: trio.SocketStream, outer: h11.Connection, server: trio.abc.Stream, inner: h11.Connection
    ) -> bool:
        """Carry one request and its answer; returns whether another may follow."""
        request = await _next(client, outer)
        if not isinstance(request, h11.Request):
            return False
        verb = request.method.decode("latin-1")
        channel = f"{verb} {next(self._numbers)}"
        over, scope = False, trio.CancelScope()

        async def watch() -> None:
            # Until the answer is complete the client has nothing to say but its next request, or that it leaves.
            if await _hung_up(client, outer):
                self.say(Frame(Side.CLIENT, channel=channel, verb=verb, event="closed"))
                scope.cancel()

        await self._ask(client, outer, server, inner, request, channel, verb)
        async with servants() as nursery:
            nursery.start_soon(watch)
            with scope:
                over = await self._answer(client, outer, server, inner, channel, verb)
        return over and all(one.our_state is one.their_state is h11.DONE for one in (outer, inner))

    async def _ask(
        self,
        client: trio.SocketStream,
        outer: h11.Connection,
        server: trio.abc.Stream,
        inner: h11.Connection,
        request: h11.Request,
        channel: str,
        verb: str,
    ) -> None:
        headers = [(name, value) for name, value in request.headers if name not in (b"host", b"expect")]
        headers.insert(0, (b"host", self._where.netloc.rpartition("@")[2].encode()))
        if outer.they_are_waiting_for_100_continue:
            await _send(client, outer, h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        await _send(server, inner, h11.Request(method=request.method, target=request.target, headers=headers))
        body = bytearray()
        while not isinstance(event := await _next(client, outer), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            body += event.data
            await _send(server, inner, h11.Data(data=event.data))
        await _send(server, inner, h11.EndOfMessage())
        frame = Frame(Side.CLIENT, channel=channel, verb=verb, headers=_headers(request))
        if body:
            frame.message = read_json(bytes(body))
        if frame.message is UNSET:
            frame.event, frame.raw = ("" if body else "asked"), bytes(body)
        self.say(frame)

    async def _answer(
        self,
        client: trio.SocketStream,
        outer: h11.Connection,
        server: trio.abc.Stream,
        inner: h11.Connection,
        channel: str,
        verb: str,
    ) -> bool:
        head = await _next(server, inner)
        while isinstance(head, h11.InformationalResponse):
            head = await _next(server, inner)
        if not isinstance(head, h11.Response):
            self.say(Frame(Side.SERVER, channel=channel, verb=verb, event="broken: no answer"))
            return False
        await _send(client, outer, h11.Response(status_code=head.status_code, headers=head.headers, reason=head.reason))
        found = _headers(head)

        def frame(event: str = "") -> Frame:
            return Frame(Side.SERVER, channel=channel, event=event, status=head.status_code, verb=verb, headers=found)

        streams = found.get("content-type", "").startswith("text/event-stream")
        events, body = EventDecoder(_EVENT_BYTES), bytearray()
        if streams:
            self.say(frame("stream"))
        try:
            while not isinstance(event := await _next(server, inner), h11.EndOfMessage):
                assert isinstance(event, h11.Data), event
                await _send(client, outer, h11.Data(data=event.data))
                if not streams:
                    body += event.data
                    continue
                for one in _events(events, bytes(event.data), frame):
                    self.say(one)
        except _GONE as error:
            self.say(frame(f"broken: {error}"))
            raise
        await _send(client, outer, h11.EndOfMessage())
        last = frame("ended" if streams else "")
        if body:
            last.message = read_json(bytes(body))
            if last.message is UNSET:
                last.raw = bytes(body)
        elif not streams:
            last.event = "accepted" if head.status_code < 300 else "refused"
        self.say(last)
        return True


def _events(events: EventDecoder, data: bytes, frame: Callable[[], Frame]) -> Iterator[Frame]:
    for item in events.feed(data):
        one = frame()
        one.event_id = events.last_id
        if isinstance(item, Oversized):
            one.event = f"an event of more than {item.limit} bytes"
        else:
            one.message = read_json(item.data)
            if one.message is UNSET:
                one.event, one.raw = ("" if item.data else "primed"), item.data
        yield one


def _headers(head: h11.Request | h11.Response) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}


async def _next(stream: trio.abc.Stream, reader: h11.Connection) -> object:
    while True:
        event = reader.next_event()
        if event is not h11.NEED_DATA:
            return event
        reader.receive_data(bytes(await stream.receive_some(_CHUNK)))


async def _send(stream: trio.abc.Stream, writer: h11.Connection, event: h11.Event) -> None:
    data = writer.send(event)
    if data:
        await stream.send_all(data)


async def _hung_up(client: trio.SocketStream, outer: h11.Connection) -> bool:
    """Wait until the client closes its connection; False if it sends more instead, which is its next request."""
    try:
        data = await client.receive_some(_CHUNK)
    except _GONE:
        return True
    outer.receive_data(data)
    return not data
