"""One HTTP/1.1 connection on a stream of ours: requests come in one after the other, and their answers go out.

A connection has one task, which reads. Answers are written by whoever has them, straight to the socket; only what the
socket does not take at once is left to a second task. So a request that is answered without waiting costs no task
switch besides those of its handler, and while an answer is due the reading task is there to see the client leave.

Spec: RFC 9112.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable

import trio

from ..._unset import Principal
from ...framing.http import (
    CONTINUE,
    LAST_CHUNK,
    Broken,
    Headers,
    RememberedHeads,
    RequestHead,
    RequestReader,
    chunk,
    head,
)
from ...limits import HttpLimits
from .endpoint import Endpoint
from .exchange import Exchange

__all__ = ["HttpConnection", "Route"]

logger = logging.getLogger("mcp_tasks.http")

Route = Callable[[bytes], "Endpoint | None"]

_CHUNK = 64 * 1024
_WRITE_CHUNK = 256 * 1024
_TLS_CHUNK = 16 * 1024  # one record, so that a slow reader is seen to read
_SKIPPABLE_BYTES = 64 * 1024  # a body of up to this is read though it was refused, and the connection goes on
_PIPELINED_BYTES = 16 * 1024  # of later requests, until the client has to wait
_WHOLE_BODY = 20  # times as long as nothing of it may come
_LINGER_BYTES = 1024 * 1024  # of a larger one so much is read, for the refusal to be seen
_LINGER_SECONDS = 2.0
_CLOSE_SECONDS = 1.0


class _H11Exchange(Exchange):
    """A request on a connection of ours."""

    def __init__(self, connection: HttpConnection, request: RequestHead, path: bytes) -> None:
        self.method = request.method
        self.path = path
        self.headers = request.headers
        self.begun = False
        """Whether a stream has begun."""
        self.finished = False
        """Whether the answer is complete."""
        self.keeps_alive = request.keeps_alive
        self._chunks = request.chunks
        self._connection = connection

    @property
    def client(self) -> str:
        return self._connection.client

    @property
    def open(self) -> bool:
        return not self.finished and not self._connection.gone

    @property
    def backlog(self) -> int:
        return self._connection.unwritten

    def respond(self, status: int, headers: Headers, body: bytes | bytearray = b"") -> None:
        if not self.finished:
            self._write_head(status, headers, len(body))
            if self.method != b"HEAD":
                self._connection.write(body)
            self._finish()

    def begin(self, headers: Headers) -> None:
        if not self.finished:
            self.begun = True
            if not self._chunks:
                self.keeps_alive = False  # the end of the connection is the end of the stream
            self._write_head(200, headers, None)

    def write(self, data: bytes) -> None:
        if not self.finished:
            self._connection.write(chunk(data) if self._chunks else data)

    def end(self) -> None:
        if not self.finished:
            if self._chunks:
                self._connection.write(LAST_CHUNK)
            self._finish()

    def flush(self) -> None:
        self._connection.flush()

    def _write_head(self, status: int, headers: Headers, length: int | None) -> None:
        if self._connection.closing:
            self.keeps_alive = False
        if self.extra:
            headers = (*headers, *self.extra)
        self._connection.write(head(status, headers, length=length, keeps_alive=self.keeps_alive, chunks=self._chunks))

    def _finish(self) -> None:
        self.finished = True
        self.lost = None
        self._connection.answered(self.keeps_alive)


class HttpConnection:
    """Serves one client's stream. `route` finds the endpoint for a path."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        route: Route,
        nursery: trio.Nursery,
        limits: HttpLimits,
        *,
        heads: RememberedHeads | None = None,
        client: str = "?",
    ) -> None:
        self.client = client
        self.gone = False
        """Whether nobody reads what we write."""
        self.closing = False
        """Whether the connection ends with the answer that is due."""
        self.deadline = trio.current_time() + limits.request_seconds
        """When what is going on has taken too long, in trio's time."""
        self._stream = stream
        self._route = route
        self._nursery = nursery
        self._limits = limits
        self._reader = RequestReader(limits.header_bytes, heads)
        self._fileno = _fileno(stream)
        self._queued = bytearray()
        self._writing = 0
        self._scope = trio.CancelScope()
        self._exchange: _H11Exchange | None = None
        self._arriving = False  # a request is, in part
        self._watching = False  # the task that reads only does so to see the client leave
        self._looking: trio.CancelScope | None = None  # around reading on, when the next request is here
        self._last = False  # nothing follows the answer that was given
        self._leaving = False  # whatever is being read: the connection ends when all is written
        self._parked = trio.lowlevel.ParkingLot()  # that task, when there is nothing to read

    # --- its life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the stream until it ends, and close it. Raises nothing of the client's doing."""
        try:
            with self._scope:
                while await self._served():
                    self._reader.restart()
                while self.unwritten:  # of a refusal
                    await self._parked.park()
                await self._linger()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError) as error:
            logger.debug("%s: %r", self.client, error)
        finally:
            self._lose()
            with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._stream.aclose()

    def close(self) -> None:
        """End it now, whatever is going on."""
        self._scope.cancel()

    def wind_up(self) -> None:
        """Answer what was asked, and then end it."""
        self.closing = True
        if not self._arriving and (self._exchange is None or self._exchange.finished) and not self.unwritten:
            self.close()

    def time_out(self) -> None:
        """End it because the deadline is over; whoever was sending a request is told so."""
        if self._arriving and not self.unwritten:
            self._arriving = False
            self._leaving = True
            self.deadline = trio.current_time() + _CLOSE_SECONDS
            self._refuse(Broken(408, "The request took too long to arrive"))
        else:
            self.close()

    async def _served(self) -> bool:
        # The last wall: what goes wrong with one request must not end the server, and everybody else's with it.
        try:
            return await self._serve_one()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError):
            raise
        except Exception:
            logger.exception("%s: a request failed", self.client)
            if self._exchange is None or not (self._exchange.begun or self._exchange.finished):
                self._refuse(Broken(500, "Internal error"))
            return False

    async def _serve_one(self) -> bool:
        # One request and its answer. False if nothing can follow.
        request = await self._head()
        if request is None:
            return False
        exchange = self._exchange = _H11Exchange(self, request, request.target.partition(b"?")[0])
        endpoint = self._route(exchange.path)
        principal: Principal | None = None
        can_skip = self._can_skip_body(exchange)
        exchange.keeps_alive = request.keeps_alive and can_skip  # if it is refused
        if endpoint is None:
            exchange.refuse(404, "There is nothing here")
        else:
            principal = await endpoint.admit(exchange)
        if endpoint is None or exchange.finished:
            self._arriving = False
            self.flush()
            return can_skip and await self._skip_body() and await self._written()
        exchange.keeps_alive = request.keeps_alive
        body = await self._body(exchange, endpoint.body_bytes)
        if body is None:
            return False
        self._arriving = False
        self.deadline = float("inf")
        endpoint.handle(exchange, principal, body)
        self.flush()
        if not exchange.finished:
            await self._watch(exchange)
        return await self._written()

    async def _written(self) -> bool:
        # Waits until the answer has been written, before another one is asked for; False if none can be.
        while self.unwritten:
            await self._parked.park()
        self.deadline = trio.current_time() + self._limits.idle_seconds
        return not self._last

    async def _watch(self, exchange: _H11Exchange) -> None:
        # While an answer is due: sees the client leave, and has its next request at hand.
        self._watching = True
        while not exchange.finished:
            if self._reader.ended:
                # The client sends nothing more. It may still read an answer, but it has left a stream.
                if exchange.begun or exchange.leaving_cancels:
                    self._lose()
                    self._last = True
                    return
                await self._parked.park()
            elif self._reader.unread > _PIPELINED_BYTES:
                await self._parked.park()
            elif self._reader.unread:
                # The next request is here already: its turn comes with the answer.
                with trio.CancelScope() as self._looking:
                    self._reader.feed(await self._receive())
                self._looking = None
            else:
                self._reader.feed(await self._receive())
        self._watching = False

    def answered(self, keeps_alive: bool) -> None:
        """The answer that was due is complete, though it may not have been written."""
        if not keeps_alive or self.closing:
            self._last = True
        if self._looking is not None:
            self._looking.cancel()
        self._parked.unpark_all()

    def _lose(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._queued.clear()
        self._writing = 0
        exchange = self._exchange
        if exchange is not None and not exchange.finished and exchange.lost is not None:
            lost, exchange.lost = exchange.lost, None
            lost()
        self._drained()

    # --- reading --------------------------------------------------------------------------------------------------

    async def _head(self) -> RequestHead | None:
        # The head of the next request; None if none comes.
        reader = self._reader
        while True:
            event = reader.next()
            if isinstance(event, RequestHead):
                self._arriving = True
                self.deadline = trio.current_time() + self._limits.request_seconds
                return event
            if isinstance(event, Broken):
                self._refuse(event)
                return None
            if reader.ended:
                return None
            if not self._arriving and reader.unread:
                self._arriving = True
                self.deadline = trio.current_time() + self._limits.request_seconds
            reader.feed(await self._receive())

    async def _receive(self) -> bytes | bytearray:
        # In all likelihood nothing is there yet: looking first would be a system call and an exception for nothing.
        if self._fileno is None:
            return await self._stream.receive_some(_CHUNK)
        while True:
            fd = self._fileno()
            await trio.lowlevel.wait_readable(fd)
            try:
                return os.read(fd, _CHUNK)
            except BlockingIOError:
                continue

    async def _body(self, exchange: _H11Exchange, limit: int) -> bytes | bytearray | None:
        # The body of a request; None if it could not be had, which has then been answered.
        reader = self._reader
        if _length(exchange) > limit:
            self._refuse(Broken(413, f"The body is larger than {limit} bytes"))
            return None
        if reader.wants_continue:
            self.write(CONTINUE)
            self.flush()
        body: bytes | bytearray = b""
        latest = trio.current_time() + _WHOLE_BODY * self._limits.request_seconds
        while True:
            event = reader.next()
            if type(event) is bytes:
                if not body:
                    body = event
                else:
                    if type(body) is bytes:
                        body = bytearray(body)
                    body += event
                if len(body) > limit:
                    self._refuse(Broken(413, f"The body is larger than {limit} bytes"))
                    return None
            elif event is None:
                if reader.ended:
                    return None
                reader.feed(await self._stream.receive_some(_CHUNK))
                self.deadline = min(trio.current_time() + self._limits.request_seconds, latest)
            elif isinstance(event, Broken):
                self._refuse(event)
                return None
            else:
                return body

    def _can_skip_body(self, exchange: _H11Exchange) -> bool:
        if b"transfer-encoding" in exchange.headers or self._reader.wants_continue:
            return False
        return _length(exchange) <= _SKIPPABLE_BYTES

    async def _skip_body(self) -> bool:
        # The body of a request that was refused by its head; False if it did not come.
        while True:
            event = self._reader.next()
            if event is None:
                if self._reader.ended:
                    return False
                self._reader.feed(await self._receive())
            elif type(event) is not bytes:
                return not isinstance(event, Broken)

    def _refuse(self, broken: Broken) -> None:
        # What came is not to be served, or is no HTTP: said once, and nothing can follow.
        logger.info("%s: %d: %s", self.client, broken.status, broken.reason)
        exchange = self._exchange
        if exchange is None or exchange.finished:
            exchange = self._exchange = _H11Exchange(self, RequestHead(b"", b"/", {}, False, True), b"/")
        exchange.keeps_alive = False
        exchange.refuse(broken.status, broken.reason, code=-32603 if broken.status == 500 else -32600)
        self.flush()

    async def _linger(self) -> None:
        # Closed at once, bytes of theirs that nobody has read would have the kernel reset the connection, and our
        # answer with it.
        stream = self._stream
        if not self._reader.ended and not self.gone and isinstance(stream, (trio.SocketStream, trio.SSLStream)):
            self.deadline = float("inf")
            with trio.move_on_after(_LINGER_SECONDS):
                if isinstance(stream, trio.SocketStream):
                    await stream.send_eof()
                left = _LINGER_BYTES
                while left > 0 and (data := await stream.receive_some(_CHUNK)):
                    left -= len(data)

    # --- writing --------------------------------------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """How many bytes are queued and not yet written."""
        return self._writing + len(self._queued)

    def write(self, data: bytes | bytearray) -> None:
        """Queue bytes."""
        if not self.gone:
            self._queued += data

    def flush(self) -> None:
        """Write what goes without waiting, and have the rest written soon."""
        if self._queued and not self._writing:
            written = self._write_now()
            if written < len(self._queued):
                del self._queued[:written]
                self._writing = 1
                self.deadline = trio.current_time() + self._limits.stall_seconds
                self._nursery.start_soon(self._write_rest)
            else:
                self._queued.clear()
        self._rest()

    def _rest(self) -> None:
        # What follows when all is written.
        if self.unwritten:
            return
        exchange = self._exchange
        if self._leaving or (self._last and self._watching):
            self.close()  # the task that reads has nothing to wait for
        elif self._arriving:
            self.deadline = trio.current_time() + self._limits.request_seconds
        elif exchange is None or exchange.finished:
            self.deadline = trio.current_time() + self._limits.idle_seconds
        else:
            self.deadline = float("inf")

    def _write_now(self) -> int:
        if self._fileno is not None:
            try:
                return os.write(self._fileno(), self._queued)
            except BlockingIOError:
                pass
            except OSError:
                self._lose()
                self.close()
        return 0

    async def _write_rest(self) -> None:
        queued = self._queued
        socket = self._stream.socket if isinstance(self._stream, trio.SocketStream) else None
        try:
            while queued:
                with memoryview(queued) as view:
                    data = bytes(view[: _WRITE_CHUNK if socket is not None else _TLS_CHUNK])
                self._writing = len(data)
                del queued[: len(data)]
                while data:
                    if socket is None:
                        await self._stream.send_all(data)
                        data = b""
                    else:
                        data = data[await socket.send(data) :]
                    self._writing = len(data)
                    self.deadline = trio.current_time() + self._limits.stall_seconds
        except Exception as error:
            if not isinstance(error, (trio.BrokenResourceError, trio.ClosedResourceError, OSError, ssl.SSLError)):
                logger.exception("%s: an answer could not be written", self.client)
            self._lose()
            self.close()
            return
        self._writing = 0
        self._drained()
        self._rest()

    def _drained(self) -> None:
        self._parked.unpark_all()
        exchange = self._exchange
        if exchange is not None and exchange.drained is not None:
            drained, exchange.drained = exchange.drained, None
            drained()


def _length(exchange: _H11Exchange) -> int:
    # h11 has checked that it is a number.
    return int(exchange.headers.get(b"content-length", b"0").partition(b",")[0])


def _fileno(stream: trio.abc.Stream) -> Callable[[], int] | None:
    # Where bytes can be written without waiting: a plain socket, on systems where a socket is a file.
    if os.name == "posix" and type(stream) is trio.SocketStream:
        return stream.socket.fileno
    return None
