"""Serving HTTP with either generation of the Python SDK, in the way that suits the tests.

The server listens on a free port of the loopback interface, and prints its URL on stdout; it prints
"DELETE 200" for each DELETE that it answered; it ends when its stdin does.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import anyio
import uvicorn
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

RETRY_INTERVAL_MS = 100
TRANSPORTS = ("stdio", "http", "http-json", "http-resumable")


class MemoryEventStore(EventStore):
    """Keeps everything, and replays each event to its own stream alone.

    The SDK names streams by request ids, which are those of all sessions: this is for one session.
    """

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Keep an event; ids count from 1."""
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: Any) -> str | None:
        """Send again what came later on the same stream."""
        last = int(last_event_id)
        stream_id = self.events[last - 1][0]
        for number, (other, message) in enumerate(list(self.events), 1):
            if number > last and other == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


async def serve_http(server: Any, transport: str) -> None:
    """Serve an SDK's server until stdin ends or SIGTERM comes."""
    resumable = transport == "http-resumable"
    manager = StreamableHTTPSessionManager(
        server,
        json_response=transport == "http-json",
        event_store=MemoryEventStore() if resumable else None,
        retry_interval=RETRY_INTERVAL_MS if resumable else None,
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                print(f"DELETE {message['status']}", flush=True)

        await manager.handle_request(scope, receive, tell if scope["method"] == "DELETE" else send)

    async with manager.run():
        await serve_app(app, lifespan=False)


async def serve_app(app: Any, *, lifespan: bool) -> None:
    """Serve an ASGI application until stdin ends or SIGTERM comes; `lifespan` says whether it is to be told of both."""
    config = uvicorn.Config(app, lifespan="on" if lifespan else "off", log_level="warning", timeout_graceful_shutdown=1)
    http = uvicorn.Server(config)

    async def end_with_stdin() -> None:
        while True:
            await anyio.wait_readable(sys.stdin)
            if not os.read(sys.stdin.fileno(), 4096):
                http.should_exit = True
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
        async with anyio.create_task_group() as group:
            group.start_soon(end_with_stdin)
            await http.serve([listener])
            group.cancel_scope.cancel()
