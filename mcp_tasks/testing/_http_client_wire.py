"""The client's end of Streamable HTTP, by hand: every exchange has a connection of its own, which a test may cut.

It does what a client has to do unless it is told otherwise: the headers of each era, the session id it was given. All
of that can be left out, changed or made wrong for one exchange, and everything that comes back is a frame.

Spec: basic/transports "Streamable HTTP".
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import h11
import trio

from .._unset import JSON, UNSET, JSONObject
from ..dialects.base import Side
from ..errors import ConnectionClosed, LocalProtocolError
from ..framing.mirror import request_fields
from ..framing.sse import EventDecoder
from ..wire.v2026_07_28 import PROTOCOL_VERSION
from ._frames import Frame
from ._wires import Wire, read_body, read_event

__all__ = ["Exchange", "HttpClientWire"]

_CHUNK = 64 * 1024
_EVENT_BYTES = 256 * 1024 * 1024


class Exchange:
    """One HTTP request of ours and what comes of it."""

    def __init__(self, channel: str, verb: str, scope: trio.CancelScope) -> None:
        self.channel = channel
        self.verb = verb
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.answered = trio.Event()
        """Set when the head of the answer is there, or none can come any more."""
        self.ended = trio.Event()
        """Set when nothing more comes."""
        self.last_event_id: str | None = None
        self.retry_ms: int | None = None
        self.request: Frame
        """What we sent."""
        self._scope = scope

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def cut(self) -> None:
        """Close its connection, whatever is on its way."""
        self._scope.cancel()


class HttpClientWire(Wire):
    """A client of the endpoint at `url`. Exchanges run in `nursery`."""

    def __init__(
        self,
        url: str,
        nursery: trio.Nursery,
        *,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(Side.CLIENT)
        where = urlsplit(url)
        if where.scheme not in ("http", "https") or not where.hostname:
            raise ValueError(f"{url!r} is not the URL of an endpoint")
        self.url = url
        self.headers: dict[str, str] = dict(headers or {})
        """Sent with every request, on top of what the protocol wants; a test may change it."""
        self.session_id: str | None = None
        self.revision: str | None = None
        """What goes into ``MCP-Protocol-Version`` where the message does not say it in its ``_meta``."""
        self.exchanges: list[Exchange] = []
        self.label = ""
        """What the names of its channels begin with, where there are several such wires."""
        self._where = where
        self._ssl = ssl_context
        self._nursery = nursery

    # --- sending --------------------------------------------------------------------------------------------------

    async def send(self, message: JSON, *, channel: str | None = None) -> Frame:
        """POST a message. Requests run on; for anything else the head of the answer is waited for."""
        exchange = self.post(message)
        if not (isinstance(message, dict) and "method" in message and "id" in message):
            await exchange.answered.wait()
        else:
            await trio.lowlevel.checkpoint()
        return exchange.request

    async def send_raw(self, data: bytes, *, channel: str | None = None) -> None:
        """POST a body that need not be JSON."""
        await self.exchange("POST", data).answered.wait()

    def post(self, message: JSON, *, headers: Mapping[str, str | None] | None = None) -> Exchange:
        """POST a message and do not wait. `headers` are set on top; those that are None are left out."""
        found = {**self.fields(message), **(headers or {})}
        return self.exchange("POST", json.dumps(message).encode(), headers=found, message=message)

    def listen(self, last_event_id: str | None = None, *, headers: Mapping[str, str | None] | None = None) -> Exchange:
        """GET a stream, or the rest of one, and do not wait."""
        found: dict[str, str | None] = {"accept": "text/event-stream", **self._session(), **(headers or {})}
        if last_event_id is not None:
            found["last-event-id"] = last_event_id
        return self.exchange("GET", b"", headers=found)

    def delete(self) -> Exchange:
        """End the session, and do not wait."""
        return self.exchange("DELETE", b"", headers=self._session())

    def exchange(
        self,
        verb: str,
        body: bytes,
        *,
        headers: Mapping[str, str | None] | None = None,
        message: JSON = UNSET,
    ) -> Exchange:
        """Any HTTP request at all. Without `headers`, it has those of a POST in this session."""
        if self._over is not None:
            raise ConnectionClosed(self._over)
        given = {**self._post_fields(), **self._session()} if headers is None else headers
        found = {name: value for name, value in {**given, **self.headers}.items() if value is not None}
        exchange = Exchange(f"{self.label}{verb} {len(self.exchanges) + 1}", verb, trio.CancelScope())
        self.exchanges.append(exchange)
        frame = Frame(Side.CLIENT, message, exchange.channel, verb=verb, headers=found)
        if message is UNSET:
            frame.event, frame.raw = "" if body else "asked", body
        exchange.request = self.show(frame)
        self._nursery.start_soon(self._run, exchange, self._request(verb, found, body))
        return exchange

    def fields(self, message: JSON) -> dict[str, str | None]:
        """The headers that a client sends with this message."""
        found: dict[str, str | None] = dict(self._post_fields())
        method = message.get("method") if isinstance(message, dict) else None
        params = message.get("params") if isinstance(message, dict) else None
        meta = params.get("_meta") if isinstance(params, dict) else None
        version = meta.get(PROTOCOL_VERSION) if isinstance(meta, dict) else None
        if isinstance(version, str) and isinstance(method, str):
            found["mcp-protocol-version"] = version
            try:
                found.update((name.lower(), value) for name, value in request_fields(method, params or UNSET))
            except LocalProtocolError:
                pass  # a script may send what has no header
            return found
        if method != "initialize":
            found.update(self._session())
        return found

    def _post_fields(self) -> JSONObject:
        return {"accept": "application/json, text/event-stream", "content-type": "application/json"}

    def _session(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        if self.session_id is not None:
            found["mcp-session-id"] = self.session_id
        if self.revision is not None:
            found["mcp-protocol-version"] = self.revision
        return found

    def _request(self, verb: str, headers: Mapping[str, str], body: bytes) -> bytes:
        target = self._where.path or "/"
        if self._where.query:
            target += f"?{self._where.query}"
        lines = [f"{verb} {target} HTTP/1.1"]
        if "host" not in headers:
            lines.append(f"host: {self._where.netloc.rpartition('@')[2]}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or verb == "POST":
            lines.append(f"content-length: {len(body)}")
        return "\r\n".join([*lines, "connection: close", "", ""]).encode("utf-8") + body

    # --- receiving ------------------------------------------------------------------------------------------------

    async def _run(self, exchange: Exchange, request: bytes) -> None:
        try:
            with exchange._scope:
                try:
                    await self._converse(exchange, request)
                except (OSError, trio.BrokenResourceError, ssl.SSLError) as error:
                    self._happened(exchange, f"broken: {error or type(error).__name__}")
                except h11.RemoteProtocolError as error:
                    self._happened(exchange, f"broken: {error}")
        finally:
            exchange.answered.set()
            exchange.ended.set()

    async def _converse(self, exchange: Exchange, request: bytes) -> None:
        port = self._where.port or (443 if self._where.scheme == "https" else 80)
        stream: trio.abc.Stream = await trio.open_tcp_stream(self._where.hostname or "", port)
        if self._where.scheme == "https":
            context = ssl.create_default_context() if self._ssl is None else self._ssl
            stream = trio.SSLStream(stream, context, server_hostname=self._where.hostname, https_compatible=True)
        try:
            await stream.send_all(request)
            await self._answer(exchange, stream)
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, exchange: Exchange, stream: trio.abc.Stream) -> None:
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reader.send(h11.Request(method=exchange.verb, target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        events = EventDecoder(_EVENT_BYTES)
        body = bytearray()
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(bytes(await stream.receive_some(_CHUNK)))
            elif isinstance(event, h11.Response):
                exchange.status = event.status_code
                exchange.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
                if "mcp-session-id" in exchange.headers:
                    self.session_id = exchange.headers["mcp-session-id"]
                if exchange.streams:
                    self._happened(exchange, "stream")
                exchange.answered.set()
            elif isinstance(event, h11.Data):
                if exchange.streams:
                    items = events.feed(bytes(event.data))
                    exchange.retry_ms = events.retry_ms
                    for item, id in zip(items, events.ids, strict=True):
                        exchange.last_event_id = id
                        self.arrived(read_event(self._frame(exchange), item, id))
                else:
                    body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, (h11.InformationalResponse, h11.ConnectionClosed)), event
                if isinstance(event, h11.ConnectionClosed):
                    break
        if exchange.streams:
            self._happened(exchange, "ended")
            return
        frame = read_body(self._frame(exchange), bytes(body))
        if frame.message is UNSET:
            frame.event = "accepted" if exchange.status is not None and exchange.status < 300 else "refused"
        self.arrived(frame)

    def _happened(self, exchange: Exchange, event: str) -> None:
        frame = self._frame(exchange)
        frame.event = event
        self.arrived(frame)

    def _frame(self, exchange: Exchange) -> Frame:
        return Frame(
            Side.SERVER, channel=exchange.channel, status=exchange.status, verb=exchange.verb, headers=exchange.headers
        )

    async def aclose(self) -> None:
        for exchange in self.exchanges:
            exchange.cut()
        self.over("the wire has been closed")
        await trio.lowlevel.checkpoint()
