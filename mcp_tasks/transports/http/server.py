"""The HTTP server: it accepts connections, keeps their time, and shuts down within a bound.

One clock looks after all connections and sessions, so that a request costs no timer of its own.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import trio

from ...framing.http import RememberedHeads, head
from ...limits import HttpLimits
from .connection import HttpConnection
from .endpoint import Endpoint

__all__ = ["HttpServer", "keep_time"]

logger = logging.getLogger("mcp_tasks.http")

_LAST_SECONDS = 1.0  # for what is written at the very end


class HttpServer:
    """Serves endpoints, by their paths, on streams. Made within a nursery that all of its tasks live in."""

    def __init__(self, endpoints: Mapping[bytes, Endpoint], nursery: trio.Nursery, limits: HttpLimits) -> None:
        self.endpoints = endpoints
        self.connections: set[HttpConnection] = set()
        """Those that are open now."""
        self.address: tuple[str, int] = ("", 0)
        """Where it listens: host and port."""
        self.url = ""
        """Where its first endpoint is."""
        self._heads = RememberedHeads()
        self._shaking = 0  # connections that have not got as far as HTTP
        self._limits = limits
        self._nursery = nursery
        self._accepting = trio.CancelScope()
        self._emptied = trio.lowlevel.ParkingLot()
        self._closed = trio.Event()

    async def listen(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[HttpServer] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections until the server is closed; the listeners are closed then."""
        host, port = listeners[0].socket.getsockname()[:2]
        self.address = (host, port)
        shown = f"[{host}]" if ":" in host else host
        path = next(iter(self.endpoints), b"/").decode()
        self.url = f"{'http' if ssl_context is None else 'https'}://{shown}:{port}{path}"
        task_status.started(self)
        with self._accepting:
            await trio.serve_listeners(
                partial(self._accept, ssl_context), list(listeners), handler_nursery=self._nursery
            )
        await self._closed.wait()

    async def _accept(self, ssl_context: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
        if ssl_context is None:
            await self.serve_stream(stream, _name(stream))
            return
        if len(self.connections) + self._shaking >= self._limits.connections:
            await trio.aclose_forcefully(stream)
            return
        secured = trio.SSLStream(stream, ssl_context, server_side=True, https_compatible=True)
        shaken = False
        self._shaking += 1
        try:
            with trio.move_on_after(self._limits.request_seconds):
                await secured.do_handshake()
                shaken = True
        except (trio.BrokenResourceError, OSError) as error:
            logger.debug("%s: no TLS: %r", _name(stream), error)
        finally:
            self._shaking -= 1
        if shaken:
            await self.serve_stream(secured, _name(stream))
        else:
            await trio.aclose_forcefully(stream)

    async def serve_stream(self, stream: trio.abc.Stream, client: str = "?") -> None:
        """Serve one client's stream until it ends."""
        if len(self.connections) >= self._limits.connections:
            logger.warning("%s: refused: %d connections are open", client, len(self.connections))
            with trio.move_on_after(_LAST_SECONDS):
                try:
                    await stream.send_all(head(503, [(b"Retry-After", b"10")], length=0, keeps_alive=False))
                except (trio.BrokenResourceError, OSError):
                    pass
            await trio.aclose_forcefully(stream)
            return
        connection = HttpConnection(
            stream, self.endpoints.get, self._nursery, self._limits, heads=self._heads, client=client
        )
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._emptied.unpark_all()

    async def keep_time(self) -> None:
        """End what has taken too long; runs until it is cancelled."""
        await keep_time(self.endpoints.values(), self._limits, self.connections)

    async def wait_closed(self) -> None:
        """Wait until it has been closed."""
        await self._closed.wait()

    async def aclose(self, grace: float | None = None) -> None:
        """Shut down: accept nothing more, let what is being served be answered for `grace` seconds, end the rest.

        Sessions end too, and with them the tasks of requestors that cannot come back. Takes no longer than `grace`
        and what the sessions need to close, a few seconds. May be called twice.
        """
        grace = self._limits.grace_seconds if grace is None else grace
        self._accepting.cancel()
        for endpoint in self.endpoints.values():
            endpoint.closing = True
        with trio.CancelScope(shield=True):
            try:
                with trio.move_on_after(grace):
                    for endpoint in self.endpoints.values():
                        await endpoint.settle()
            finally:
                for endpoint in self.endpoints.values():
                    endpoint.end_sessions("the server is shutting down")
                for connection in list(self.connections):
                    connection.wind_up()
                with trio.move_on_after(_LAST_SECONDS):
                    while self.connections:
                        await self._emptied.park()
                for connection in list(self.connections):
                    connection.close()
                self._closed.set()


async def keep_time(
    endpoints: Collection[Endpoint], limits: HttpLimits, connections: Collection[HttpConnection] = ()
) -> None:
    """End what has taken too long; runs until it is cancelled."""
    shortest = min(
        limits.request_seconds,
        limits.idle_seconds,
        limits.stall_seconds,
        limits.session_idle_seconds,
        limits.resume_seconds,
        limits.keep_alive_seconds,
    )
    while True:
        await trio.sleep(min(shortest / 4, 5.0))
        now = trio.current_time()
        for connection in list(connections):
            if connection.deadline <= now:
                _end(connection.time_out)
        for endpoint in endpoints:
            _end(partial(endpoint.tick, now))


def _end(what: Callable[[], None]) -> None:
    try:
        what()
    except Exception:  # what goes wrong with one must not let the others live for ever
        logger.exception("something that took too long could not be ended")


def _name(stream: trio.SocketStream) -> str:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "?"
    return f"{host}:{port}"
