"""HTTP/1.1 as a client: connections to one origin, kept and used again, with h11 on trio's streams.

A connection that was idle is looked at before it is used: if the server has closed it, a new one is made, for a
request that was half sent cannot safely be sent twice. TLS is verified. Proxies are those of the environment.
"""

from __future__ import annotations

import base64
import selectors
import socket
import ssl
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11
import trio

from ...errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError
from ...limits import HttpClientLimits

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Answer", "HttpPool", "Url"]

_CHUNK = 64 * 1024
_CODINGS = {"Last-Event-ID": "utf-8"}  # as the HTML standard has it
_SAFE = "/?%:@!$&'()*+,;=~-._"
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)  # for a single look, the cheapest
_PORTS = {"http": 80, "https": 443}
_KEEP_ALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class Url:
    """An http or https URL, taken apart. Raises `LocalProtocolError` if it is none; the error does not quote it."""

    def __init__(self, url: str) -> None:
        try:
            parts: SplitResult = urlsplit(url)
            self.port = parts.port or _PORTS.get(parts.scheme, 0)
            self.host = (parts.hostname or "").encode("idna").decode() if not _is_ip6(parts) else parts.hostname or ""
        except ValueError as error:  # UnicodeError is one
            raise LocalProtocolError(f"that is no URL: {error}") from None
        if parts.scheme not in _PORTS or not self.host:
            raise LocalProtocolError(f"that is no http or https URL: {parts.scheme}://{self.host}")
        self.scheme = parts.scheme
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.address = f"{name}:{self.port}"
        """Host and port."""
        self.authority = name if self.port == _PORTS[self.scheme] else self.address
        """The same as the ``Host`` header has them, without a port that goes without saying."""
        query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
        self.target = quote(parts.path or "/", safe=_SAFE) + query
        self.user = parts.username
        self.password = parts.password

    @property
    def origin(self) -> tuple[str, str, int]:
        """What has to be the same for a redirect to be followed."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


class _Wire:
    """One connection: a stream and where HTTP is on it."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.SocketStream, header_bytes: int) -> None:
        self.stream = stream
        self.h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=header_bytes)
        self.idle_since = 0.0
        self.answering = False
        """Whether an answer has begun."""
        self._socket = socket

    @property
    def stale(self) -> bool:
        """Whether something came while nothing was asked: in all likelihood the end."""
        try:
            readable = _Selector()
            with readable:
                readable.register(self._socket.socket.fileno(), selectors.EVENT_READ)
                return bool(readable.select(0))
        except (OSError, ValueError):
            return True

    async def next_event(self) -> h11.Event:
        """The next event from the server. Raises `ConnectionClosed`, `RemoteProtocolError`."""
        while True:
            try:
                event = self.h11.next_event()
            except h11.RemoteProtocolError as error:
                if self.h11.their_state is h11.ERROR and not self.h11.trailing_data[1]:
                    raise RemoteProtocolError(f"the server does not speak HTTP: {error}") from None
                where = "in the middle of" if self.answering else "without"
                raise ConnectionClosed(f"the server closed the connection {where} an answer") from None
            if event is h11.NEED_DATA:
                try:
                    data = await self.stream.receive_some(_CHUNK)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise ConnectionClosed(f"the connection broke: {_reason(error)}") from None
                self.h11.receive_data(bytes(data))
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionClosed("the server closed the connection without an answer")
            else:
                return event  # type: ignore[return-value]


class Answer:
    """The answer to one request: its head, and its body as it comes."""

    def __init__(self, wire: _Wire, response: h11.Response) -> None:
        self.status = response.status_code
        self.headers: dict[str, str] = {}
        for name, value in response.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        self._wire = wire
        self._over = False

    @property
    def kind(self) -> str:
        """The media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def chunk(self) -> bytes:
        """Some more of the body; empty at its end. Raises `ConnectionClosed`, `RemoteProtocolError`."""
        while not self._over:
            event = await self._wire.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._over = True
        return b""

    async def read(self, limit: int) -> bytes | bytearray:
        """The whole body. Raises `RemoteProtocolError` if it is larger than `limit`, and as `chunk` does."""
        body: bytes | bytearray = b""
        while piece := await self.chunk():
            if not body:
                body = piece
            else:
                if type(body) is bytes:
                    body = bytearray(body)
                body += piece
            if len(body) > limit:
                raise RemoteProtocolError(f"the answer is larger than {limit} bytes")
        return body


def _nothing() -> None:
    pass


class HttpPool:
    """The connections to one origin."""

    def __init__(
        self, url: Url, *, ssl_context: ssl.SSLContext | None, limits: HttpClientLimits, trust_env: bool = True
    ) -> None:
        self._url = url
        self._limits = limits
        self._idle: deque[_Wire] = deque()
        self._closed = False
        self._ssl = ssl_context
        if url.scheme == "https" and ssl_context is None:
            self._ssl = ssl.create_default_context()
        self._proxy = _proxy_for(url) if trust_env else None

    def check(self, headers: Iterable[tuple[str, str]]) -> None:
        """Raises `LocalProtocolError` for headers that cannot be sent."""
        self._request("GET", "/", headers)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: bytes = b"",
        *,
        sent: Callable[[], None] = _nothing,
    ) -> AsyncIterator[Answer]:
        """Send a request; the block has the answer. What of it is left unread costs the connection.

        `sent` is called when the request has been written.

        Raises `ConnectionClosed` if there is no connection or it breaks, `RemoteProtocolError`, `LocalProtocolError`
        for headers that are none.
        """
        fields = [*headers]
        if body or method == "POST":
            fields.append(("Content-Length", str(len(body))))
        if self._proxy is not None and self._url.scheme == "http":
            target = f"http://{self._url.authority}{target}"
            fields += _proxy_headers(self._proxy)
        head = self._request(method, target, fields)
        wire = await self._wire()
        try:
            data = wire.h11.send(head) or b""
            if body:
                data += wire.h11.send(h11.Data(data=body)) or b""
            data += wire.h11.send(h11.EndOfMessage()) or b""
            try:
                await wire.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it may have answered before it closed
            sent()
            event = await wire.next_event()
            while isinstance(event, h11.InformationalResponse):
                event = await wire.next_event()
            assert isinstance(event, h11.Response)
            wire.answering = True
            yield Answer(wire, event)
        finally:
            if not self._release(wire):
                await _close_quietly(wire.stream)

    def _request(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> h11.Request:
        try:
            fields = [
                (name.encode("ascii"), value.encode(_CODINGS.get(name, "latin-1")))
                for name, value in (("Host", self._url.authority), *headers)
            ]
            return h11.Request(method=method, target=target, headers=fields)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise LocalProtocolError(f"the request cannot be sent: {error}") from None

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed when it is done with."""
        self._closed = True
        while self._idle:
            await _close_quietly(self._idle.pop().stream)

    async def _wire(self) -> _Wire:
        oldest = trio.current_time() - self._limits.idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            await _close_quietly(self._idle.popleft().stream)
        while self._idle:
            wire = self._idle.pop()
            if not wire.stale:
                return wire
            await _close_quietly(wire.stream)
        seconds = self._limits.connect_seconds
        with trio.move_on_after(seconds):
            return await self._connect()
        raise ConnectionClosed(f"{self._url.authority} could not be reached within {seconds:g} seconds")

    def _release(self, wire: _Wire) -> bool:
        # Whether the connection is kept for another request.
        if wire.h11.our_state is not h11.DONE or wire.h11.their_state is not h11.DONE:
            return False
        if wire.h11.trailing_data[0]:
            return False  # more than was asked for, and whatever comes next would be taken for an answer
        if self._closed or len(self._idle) >= self._limits.idle_connections:
            return False
        wire.h11.start_next_cycle()
        wire.answering = False
        wire.idle_since = trio.current_time()
        self._idle.append(wire)
        return True

    # --- connecting -----------------------------------------------------------------------------------------------

    async def _connect(self) -> _Wire:
        url, proxy = self._url, self._proxy
        near = url if proxy is None else proxy
        try:
            plain = await trio.open_tcp_stream(near.host, near.port)
        except (OSError, UnicodeError) as error:
            raise ConnectionClosed(f"{near.authority} cannot be reached: {_reason(error)}") from None
        try:
            _notice_death(plain)
            stream: trio.abc.Stream = plain
            if proxy is not None and proxy.scheme == "https":
                stream = await _secure(stream, proxy, ssl.create_default_context())
            if proxy is not None and url.scheme == "https":
                await self._tunnel(stream, proxy)
            if self._ssl is not None and url.scheme == "https":
                stream = await _secure(stream, url, self._ssl)
            return _Wire(stream, plain, self._limits.header_bytes)
        except BaseException:
            await trio.aclose_forcefully(plain)
            raise

    async def _tunnel(self, stream: trio.abc.Stream, proxy: Url) -> None:
        target = self._url.address
        connection = h11.Connection(h11.CLIENT)
        head = h11.Request(method="CONNECT", target=target, headers=[("Host", target), *_proxy_headers(proxy)])
        try:
            await stream.send_all((connection.send(head) or b"") + (connection.send(h11.EndOfMessage()) or b""))
            while (event := connection.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
                if event is h11.NEED_DATA:
                    connection.receive_data(bytes(await stream.receive_some(_CHUNK)))
        except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosed(f"the proxy {proxy.authority} did not answer: {_reason(error)}") from None
        if not isinstance(event, h11.Response) or event.status_code // 100 != 2:
            said = f"HTTP {event.status_code}" if isinstance(event, h11.Response) else "it closed the connection"
            raise ConnectionClosed(f"the proxy {proxy.authority} refused: {said}")


async def _secure(stream: trio.abc.Stream, url: Url, context: ssl.SSLContext) -> trio.abc.Stream:
    secured = trio.SSLStream(stream, context, server_hostname=url.host, https_compatible=True)
    try:
        await secured.do_handshake()
    except (trio.BrokenResourceError, OSError) as error:
        raise ConnectionClosed(f"no TLS with {url.authority}: {_reason(error)}") from None
    return secured


async def _close_quietly(stream: trio.abc.Stream) -> None:
    with trio.move_on_after(1.0, shield=True):
        await trio.aclose_forcefully(stream)


def _notice_death(stream: trio.SocketStream) -> None:
    # A server whose machine has vanished says nothing; the kernel asks, so that calls do not wait for ever.
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            stream.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _proxy_for(url: Url) -> Url | None:
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    try:
        return Url(found if "://" in found else f"http://{found}")
    except LocalProtocolError as error:
        raise LocalProtocolError(f"the environment's proxy cannot be used: {error}") from None


def _proxy_headers(proxy: Url) -> list[tuple[str, str]]:
    if proxy.user is None:
        return []
    pair = f"{unquote(proxy.user)}:{unquote(proxy.password or '')}".encode()
    return [("Proxy-Authorization", "Basic " + base64.b64encode(pair).decode())]


def _reason(error: BaseException) -> str:
    # The first of the real ones: trio tries several addresses, and puts what went wrong into a group.
    cause = error.__cause__ if error.__cause__ is not None else error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _is_ip6(parts: SplitResult) -> bool:
    return ":" in (parts.hostname or "")
