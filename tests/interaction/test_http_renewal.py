"""What a client told a server to remember is told again when the server has forgotten the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Context, Peer, open_http, serve_http

MakePeer = Callable[..., Peer]


@pytest.mark.requirement("C25-129", "C25-130")
async def test_subscriptions_and_the_log_level_outlive_a_session(make_peer: MakePeer) -> None:
    server, client = make_peer("server"), make_peer("client")
    updated, logged = trio.Event(), trio.Event()

    subscribed = trio.Event()
    requests: list[str] = []

    @server.middleware
    async def around(ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
        result = await proceed()
        requests.append(ctx.method)
        if requests.count("resources/subscribe") == 2 and requests.count("logging/setLevel") == 2:
            subscribed.set()
        return result

    @server.resource("news://today")
    async def news() -> str:
        return "none"

    @server.tool
    async def chatter(ctx: Context) -> str:
        await ctx.log("debug", "chatter")
        return "said"

    @client.on("notifications/resources/updated")
    async def told(connection: Connection, params: object) -> None:
        updated.set()

    @client.on("notifications/message")
    async def heard(connection: Connection, params: object) -> None:
        logged.set()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            http = await nursery.start(partial(serve_http, server))
            async with open_http(http.url) as transport, client.connect(transport, revision="2025-11-25") as connection:
                await connection.subscribe("news://today")
                await connection.set_logging_level("debug")
                first = transport.session_id
                http.endpoints[b"/mcp"].end_sessions("a test")

                assert (await connection.call_tool("chatter")).text == "said"
                assert transport.session_id not in (None, first)
                await subscribed.wait()
                await server.resource_updated("news://today")
                await updated.wait()
                await connection.call_tool("chatter")
                await logged.wait()
            nursery.cancel_scope.cancel()
