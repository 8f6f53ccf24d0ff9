"""Recording over HTTP: a reverse proxy that passes on each piece of a body as it comes, in both directions.

One connection of a client's is one connection to the server, so that whoever hangs up is seen to hang up. Heads are
read by h11 and written anew with the other host; nothing of what the protocol says is changed.
"""

from __future__ import annotations

import base64
import itertools
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote

import h11
import trio

from .._unset import UNSET
from ..dialects.base import Side
from ..errors import LocalProtocolError
from ..framing.sse import EventDecoder
from ..peer._wait import Bell, servants
from ..testing import Frame
from ..testing._wires import read_body, read_event, read_json
from ..transports.http.pool import Url
from ._proxy_stdio import safely

__all__ = ["record_http"]

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_EVENT_BYTES = 256 * 1024 * 1024
_HEAD_BYTES = 64 * 1024
_AHEAD_BYTES = 1024 * 1024  # of requests that come before the answer to the one before is complete
_LINGER_SECONDS = 2.0
_GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError)
_OURS = frozenset({b"host", b"expect", b"accept-encoding"})


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

    `tell` is called with every frame of either direction, after it was passed on; what it raises is logged and changes
    nothing. A user and password in `url` go to the server as Basic authorization where the client sends none. Answers
    are asked for as they are, not compressed.

    Raises ValueError if that is no URL, OSError if the address cannot be had.
    """
    try:
        where = Url(url)
    except LocalProtocolError as error:
        raise ValueError(f"this is not the URL of a server: {error}") from None
    proxy = _Proxy(where, tell, ssl_context)
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound = listeners[0].socket.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    task_status.started(f"http://{shown}:{bound}{where.target}")
    await trio.serve_listeners(proxy.serve, listeners)


class _Proxy:
    """All connections of one recording."""

    def __init__(self, where: Url, tell: Callable[[Frame], None], ssl_context: ssl.SSLContext | None) -> None:
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
        safely(self._tell, frame)

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection to its end."""
        try:
            await _Connection(self, client).run()
        except Exception:
            logger.exception("a connection has ended by our mistake")

    async def connect(self) -> trio.abc.Stream:
        """A new connection to the server."""
        stream = await trio.open_tcp_stream(self._where.host, self._where.port)
        if self._where.scheme != "https":
            return stream
        context = ssl.create_default_context() if self._ssl is None else self._ssl
        secure = trio.SSLStream(stream, context, server_hostname=self._where.host, https_compatible=True)
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(secure)
            raise
        return secure

    def begin(self, request: h11.Request) -> _Exchange:
        """Take note of a request, of which the head has come."""
        return _Exchange(request, next(self._numbers))

    def headed(self, request: h11.Request) -> h11.Request:
        """The head as the server gets it."""
        headers = [(name, value) for name, value in request.headers if name not in _OURS]
        headers = [(b"host", self._where.authority.encode()), *headers, (b"accept-encoding", b"identity")]
        if self._where.user is not None and not any(name == b"authorization" for name, _ in headers):
            user = f"{unquote(self._where.user)}:{unquote(self._where.password or '')}"
            headers.append((b"authorization", b"Basic " + base64.b64encode(user.encode())))
        return h11.Request(method=request.method, target=request.target, headers=headers)


class _Exchange:
    """A request as far as it has come."""

    def __init__(self, request: h11.Request, number: int) -> None:
        self.request = request
        self.verb = request.method.decode("latin-1")
        self.channel = f"{self.verb} {number}"
        self.pieces: list[bytes] = []
        self.whole = False
        self.more = Bell()
        """Rings when a piece has come, and when it is whole."""
        self.told = False
        self.left: str | None = None
        """How the client has left, if it has."""

    def frame(self) -> Frame:
        """What is recorded of it now."""
        found = Frame(Side.CLIENT, channel=self.channel, verb=self.verb, headers=_headers(self.request))
        body = b"".join(self.pieces)
        if self.whole and body:
            found.message = read_json(body)
        if found.message is UNSET:
            found.raw = body
            if not self.whole:
                found.event = f"cut {len(body)} bytes into its body"
            elif not body:
                found.event = "asked"
        return found

    def happened(self, side: Side, event: str) -> Frame:
        """Something that happened to it, for the record."""
        return Frame(side, channel=self.channel, verb=self.verb, event=event)


class _Connection:
    """One connection of a client's, and the one to the server that belongs to it."""

    def __init__(self, proxy: _Proxy, client: trio.SocketStream) -> None:
        self._proxy = proxy
        self._client = client
        self._outer = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._server: trio.abc.Stream | None = None
        self._inner = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    async def run(self) -> None:
        """Carry exchanges until one of the two hangs up. Closes both."""
        try:
            while (request := await self._idle()) is not None and await self._exchange(request):
                self._outer.start_next_cycle()
                self._inner.start_next_cycle()
        except _GONE:
            pass
        finally:
            with trio.CancelScope(shield=True):  # else a cancellation would leave the second one open
                await trio.aclose_forcefully(self._client)
                await self._part()

    async def _part(self) -> None:
        if self._server is not None:
            await trio.aclose_forcefully(self._server)
            self._server = None

    async def _idle(self) -> h11.Request | None:
        """Wait for a request; None if the client leaves, or if the server does, for then the client has to see that.

        If both come at once, the request stays, and gets a new connection.
        """
        lost, request = False, None

        async def watch(server: trio.abc.Stream) -> None:
            nonlocal lost
            with suppress(*_GONE):
                await server.receive_some(_CHUNK)  # nothing was asked, so whatever comes announces the end
            lost = True
            nursery.cancel_scope.cancel()

        async with servants() as nursery:
            if self._server is not None:
                nursery.start_soon(watch, self._server)
            request = await _next(self._client, self._outer)
        if lost:
            await self._part()
        return request if isinstance(request, h11.Request) else None

    async def _exchange(self, request: h11.Request) -> bool:
        """Carry one request and its answer; returns whether another may follow."""
        exchange, over = self._proxy.begin(request), False
        try:
            if self._outer.they_are_waiting_for_100_continue:
                await _send(self._client, self._outer, _continue())
            async with servants() as nursery:
                nursery.start_soon(self._listen, exchange, nursery.cancel_scope)
                over = await self._carry(exchange, nursery)
                if not exchange.whole:
                    # Who is still sending would lose the answer if we closed now.
                    with trio.move_on_after(_LINGER_SECONDS):
                        await self._client.send_eof()
                        await trio.sleep_forever()
        finally:
            self._tell(exchange)
            if exchange.left is not None and not over:
                self._proxy.say(exchange.happened(Side.CLIENT, exchange.left))
        return over and all(one.our_state is one.their_state is h11.DONE for one in (self._outer, self._inner))

    def _tell(self, exchange: _Exchange) -> None:
        if not exchange.told:
            exchange.told = True
            self._proxy.say(exchange.frame())

    # --- the request ----------------------------------------------------------------------------------------------

    async def _listen(self, exchange: _Exchange, scope: trio.CancelScope) -> None:
        # Beside the answer: it may come before the body is complete, and the client may leave at any time.
        left = "closed"
        try:
            while not isinstance(came := await _next(self._client, self._outer), h11.EndOfMessage):
                assert isinstance(came, h11.Data), came
                exchange.pieces.append(bytes(came.data))
                exchange.more.ring()
            exchange.whole = True
            exchange.more.ring()
            ahead = 0
            while data := await self._client.receive_some(_CHUNK):
                self._outer.receive_data(data)
                ahead += len(data)
                if ahead > _AHEAD_BYTES:
                    return
        except h11.RemoteProtocolError as error:
            if not self._outer.trailing_data[1]:  # it has not left, but makes no sense
                left = f"broken: {error}"
        except _GONE:
            pass
        exchange.left = left
        scope.cancel()

    async def _ask(self, exchange: _Exchange, server: trio.abc.Stream) -> None:
        with suppress(*_GONE):  # a server that does not take all of it may answer all the same
            await _send(server, self._inner, self._proxy.headed(exchange.request))
            sent = 0
            while sent < len(exchange.pieces) or not exchange.whole:
                if sent == len(exchange.pieces):
                    await exchange.more.wait()
                else:
                    await _send(server, self._inner, h11.Data(data=exchange.pieces[sent]))
                    sent += 1
            await _send(server, self._inner, h11.EndOfMessage())
            self._tell(exchange)

    async def _carry(self, exchange: _Exchange, nursery: trio.Nursery) -> bool:
        if self._server is None:
            try:
                self._server = await self._proxy.connect()
            except _GONE as error:
                while not exchange.whole:
                    await exchange.more.wait()
                await self._refuse(exchange, str(error) or str(error.__cause__ or type(error).__name__))
                return False
            self._inner = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        nursery.start_soon(self._ask, exchange, self._server)
        return await self._answer(exchange, self._server)

    # --- the answer -----------------------------------------------------------------------------------------------

    async def _refuse(self, exchange: _Exchange, why: str) -> None:
        self._tell(exchange)
        self._proxy.say(exchange.happened(Side.SERVER, f"broken: {why}"))
        headers = [("Content-Length", "0"), ("Connection", "close")]
        await _send(self._client, self._outer, h11.Response(status_code=502, headers=headers, reason=b"Bad Gateway"))
        await _send(self._client, self._outer, h11.EndOfMessage())

    async def _answer(self, exchange: _Exchange, server: trio.abc.Stream) -> bool:
        inner, client, outer, say = self._inner, self._client, self._outer, self._proxy.say
        try:
            head = await _next(server, inner)
            while isinstance(head, h11.InformationalResponse):
                head = await _next(server, inner)
        except _GONE:
            head = None
        if not isinstance(head, h11.Response):
            # It may have been acted upon, so it is not for us to send it again.
            await self._refuse(exchange, "no answer")
            return False
        await _send(client, outer, h11.Response(status_code=head.status_code, headers=head.headers, reason=head.reason))
        found = _headers(head)

        def frame(event: str = "") -> Frame:
            one = exchange.happened(Side.SERVER, event)
            one.status, one.headers = head.status_code, found
            return one

        self._tell(exchange)
        coding = found.get("content-encoding", "identity").lower()
        streams = found.get("content-type", "").startswith("text/event-stream") and coding == "identity"
        events, body = EventDecoder(_EVENT_BYTES), bytearray()
        if streams:
            say(frame("stream"))
        try:
            while not isinstance(event := await _next(server, inner), h11.EndOfMessage):
                assert isinstance(event, h11.Data), event
                await _send(client, outer, h11.Data(data=event.data))
                if not streams:
                    body += event.data
                    continue
                for item, id in zip(events.feed(bytes(event.data)), events.ids, strict=True):
                    say(read_event(frame(), item, id))
        except _GONE as error:
            say(frame(f"broken: {error}"))
            raise
        await _send(client, outer, h11.EndOfMessage())
        last = frame("ended" if streams else "")
        if body and coding != "identity":
            last.event = f"{len(body)} bytes in the coding {coding}"  # where no rule would find a secret
        elif body:
            read_body(last, bytes(body))
        elif not streams:
            last.event = "accepted" if head.status_code < 300 else "refused"
        say(last)
        return True


def _continue() -> h11.InformationalResponse:
    return h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")


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
