"""The endpoint inside somebody's ASGI application, on a server that runs trio (Hypercorn, for one).

The ASGI server reads HTTP; everything else is the same endpoint. Sessions live in a nursery that the application's
lifespan opens and closes, so a server without lifespan events cannot be used.

Spec: ASGI 3.0, HTTP and lifespan.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from ...errors import LocalProtocolError
from ...framing.http import Headers
from ...limits import HttpLimits
from .endpoint import Endpoint
from .exchange import Exchange

__all__ = ["AsgiEndpoints", "AsgiExchange"]

logger = logging.getLogger("mcp_tasks.http")

Endpoints = Mapping[bytes, Endpoint]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiExchange(Exchange):
    """A request that an ASGI server has read."""

    def __init__(self, scope: Mapping[str, Any], *, path: bytes) -> None:
        self.method = scope["method"].encode()
        self.path = path
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            name = name.lower()
            headers[name] = value if name not in headers else headers[name] + b", " + value
        self.headers = headers
        self.finished = False
        """Whether the answer is complete."""
        self.gone = False
        """Whether nobody reads it."""
        self._client = scope.get("client") or ("?", 0)
        self._queued: deque[dict[str, Any]] = deque()
        self._size = 0
        self._writing = 0
        self._more = trio.Event()

    @property
    def client(self) -> str:
        return f"{self._client[0]}:{self._client[1]}"

    @property
    def open(self) -> bool:
        return not self.finished and not self.gone

    @property
    def backlog(self) -> int:
        return self._size + self._writing

    def respond(self, status: int, headers: Headers, body: bytes | bytearray = b"") -> None:
        if not self.finished:
            self._start(status, [*headers, (b"Content-Length", b"%d" % len(body))] if status != 204 else headers)
            self._put(b"" if self.method == b"HEAD" else bytes(body), more=False)

    def begin(self, headers: Headers) -> None:
        if not self.finished:
            self._start(200, headers)

    def write(self, data: bytes) -> None:
        if not self.finished:
            self._put(data, more=True)

    def end(self) -> None:
        if not self.finished:
            self._put(b"", more=False)

    def flush(self) -> None:
        self._more.set()

    def _start(self, status: int, headers: Headers) -> None:
        fields = [(name.lower(), value) for name, value in (*headers, *self.extra)]
        self._queued.append({"type": "http.response.start", "status": status, "headers": fields})

    def _put(self, body: bytes, *, more: bool) -> None:
        self._queued.append({"type": "http.response.body", "body": body, "more_body": more})
        self._size += len(body)
        if not more:
            self.finished = True
            self.lost = None

    def lose(self) -> None:
        """The client is gone."""
        if not self.gone:
            self.gone = True
            self._queued.clear()
            self._size = 0
            if not self.finished and self.lost is not None:
                lost, self.lost = self.lost, None
                lost()
            self._writing = 0
            if self.drained is not None:
                drained, self.drained = self.drained, None
                drained()
            self._more.set()

    async def carry(self, send: Send) -> None:
        """Hand the answer to the server as it comes, until it is complete or nobody reads it."""
        while not self.gone:
            while self._queued:
                event = self._queued.popleft()
                size = len(event.get("body", b""))
                self._size -= size
                self._writing = size
                await send(event)
                self._writing = 0
            if self.drained is not None:
                drained, self.drained = self.drained, None
                drained()
            if self.finished:
                return
            self._more = trio.Event()
            await self._more.wait()


class AsgiEndpoints:
    """An ASGI application that has endpoints under their paths; 404 elsewhere. It may be mounted under a prefix.

    `opened` makes the block that the application lives in, and that has the endpoints: from startup to shutdown.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Endpoints]], limits: HttpLimits) -> None:
        self._opened = opened
        self._limits = limits
        self._endpoints: Endpoints | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise LocalProtocolError(f"there is no {scope['type']} here")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._opened() as endpoints:
                self._endpoints = endpoints
                await send({"type": "lifespan.startup.complete"})
                await receive()
                for endpoint in endpoints.values():
                    endpoint.closing = True
                with trio.move_on_after(self._limits.grace_seconds):
                    for endpoint in endpoints.values():
                        await endpoint.settle()
        except Exception as error:
            kind = "startup" if self._endpoints is None else "shutdown"
            logger.exception("the endpoint failed at %s", kind)
            await send({"type": f"lifespan.{kind}.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})
        finally:
            self._endpoints = None

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")).encode()
        exchange = AsgiExchange(scope, path=path)
        endpoint = None if self._endpoints is None else self._endpoints.get(path)
        principal = None
        if self._endpoints is None:
            exchange.refuse(503, "The application has not been started: is the server's lifespan support off?")
        elif endpoint is None:
            exchange.refuse(404, "There is nothing here")
        else:
            principal = await endpoint.admit(exchange)
        try:
            if endpoint is not None and not exchange.finished:
                body = await self._body(exchange, endpoint.body_bytes, receive)
                if body is not None:
                    endpoint.handle(exchange, principal, body)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, exchange, receive)
                try:
                    await exchange.carry(send)
                except OSError as error:  # what servers raise when the client is gone (ASGI 2.4)
                    logger.debug("%s: %r", exchange.client, error)
                nursery.cancel_scope.cancel()
        finally:
            exchange.lose()

    async def _body(self, exchange: AsgiExchange, limit: int, receive: Receive) -> bytearray | None:
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                exchange.lose()
                return None
            body += event.get("body", b"")
            if len(body) > limit:
                exchange.refuse(413, f"The body is larger than {limit} bytes")
                return None
            if not event.get("more_body", False):
                return body

    async def _watch(self, exchange: AsgiExchange, receive: Receive) -> None:
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                exchange.lose()
                return
