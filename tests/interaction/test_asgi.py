"""The endpoint in somebody's ASGI application, on a real Hypercorn; and what the adapter says to other servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import hypercorn.config
import hypercorn.trio
import pytest
import trio

from mcp_tasks import (
    BearerAuth,
    ConnectionClosed,
    Context,
    HttpError,
    HttpLimits,
    Identity,
    Limits,
    LocalProtocolError,
    Peer,
    Progress,
    Unauthorized,
    asgi_app,
    open_http,
)

MakePeer = Callable[..., Peer]
SECONDS = 30


def workshop(make_peer: MakePeer) -> Peer:
    peer = make_peer("workshop")

    @peer.tool
    async def greet(name: str) -> str:
        return f"hello {name}"

    @peer.tool(task="optional")
    async def build(ctx: Context) -> str:
        await ctx.progress(1, 2)
        answer = await ctx.elicit("Build what?", {"what": str})
        return f"built {answer['what']}"

    return peer


def customer(make_peer: MakePeer) -> Peer:
    peer = make_peer("customer")

    @peer.elicitation
    async def answer(ctx: Context, form: Any) -> dict[str, str]:
        return {"what": "a boat"}

    return peer


@asynccontextmanager
async def hosted(app: Any) -> AsyncIterator[str]:
    """Run an application on Hypercorn; shut down at the end, by its lifespan events."""
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "ERROR"
    over = trio.Event()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=over.wait)
            (address,) = await nursery.start(serve)
            yield address
            over.set()


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_calls_progress_and_tasks(make_peer: MakePeer, revision: str) -> None:
    client = customer(make_peer)
    seen: list[Progress] = []
    async with (
        hosted(asgi_app(workshop(make_peer))) as address,
        open_http(address + "/mcp") as transport,
        client.connect(transport, revision=revision) as connection,
    ):
        assert (await connection.call_tool("greet", {"name": "Ada"})).text == "hello Ada"
        assert (await connection.call_tool("build", on_progress=seen.append)).text == "built a boat"
        assert (await connection.call_tool("build", task=True)).text == "built a boat"
    # Without a session the tool runs once more with the answer to its question, and says again how far it is.
    assert seen == [Progress(1, 2)] * (1 if revision == "2025-11-25" else 2)


async def test_under_a_prefix_with_tokens(make_peer: MakePeer) -> None:
    """As frameworks mount it: the prefix is in the path and in root_path."""

    async def verify(token: str) -> Identity | None:
        return Identity("ada") if token == "right" else None

    inner = asgi_app(workshop(make_peer), auth=BearerAuth(verify, resource_metadata="https://example.org/meta"))

    async def outer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/tools"} if scope["type"] == "http" else scope, receive, send)

    client = customer(make_peer)
    async with hosted(outer) as address:
        async with (
            open_http(address + "/tools/mcp", auth="right") as transport,
            client.connect(transport) as connection,
        ):
            assert (await connection.call_tool("greet", {"name": "Ada"})).text == "hello Ada"
        with pytest.raises(Unauthorized) as refused:
            async with open_http(address + "/tools/mcp", auth="wrong") as transport, client.connect(transport):
                raise AssertionError("the token is wrong")
    (challenge,) = refused.value.challenges
    assert challenge.params == {"resource_metadata": "https://example.org/meta", "error": "invalid_token"}


async def test_shutting_down_waits_for_answers_within_a_bound(make_peer: MakePeer) -> None:
    peer, client = make_peer("server"), make_peer("client")
    begun, failed = trio.Event(), trio.Event()

    @peer.tool
    async def hang() -> str:
        begun.set()
        await trio.sleep_forever()
        return "never"

    async def call(address: str) -> None:
        async with open_http(address + "/mcp") as transport, client.connect(transport) as connection:
            with pytest.raises((ConnectionClosed, HttpError)):
                await connection.call_tool("hang")
            failed.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            async with hosted(asgi_app(peer, http_limits=HttpLimits(grace_seconds=0.05))) as address:
                nursery.start_soon(call, address)
                await begun.wait()
            await failed.wait()


# --- without a server -------------------------------------------------------------------------------------------------


async def asked(app: Any, messages: list[dict[str, Any]], **scope: Any) -> list[dict[str, Any]]:
    """What an application sends for one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await trio.sleep_forever()
        raise AssertionError

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    headers = [(b"Host", b"localhost"), (b"Content-Type", b"application/json")]
    await app({"type": "http", "method": "POST", "path": "/mcp", "headers": headers, **scope}, receive, send)
    return sent


async def living(app: Any, use: Callable[[], Awaitable[None]]) -> list[str]:
    """Run the application's lifespan around `use`; what it said about it."""
    said: list[str] = []
    ready, over = trio.Event(), trio.Event()
    told = iter((ready, over))

    async def receive() -> dict[str, Any]:
        if next(told) is over:
            await over.wait()
            return {"type": "lifespan.shutdown"}
        return {"type": "lifespan.startup"}

    async def send(event: dict[str, Any]) -> None:
        said.append(event["type"])
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan"}, receive, send)
        await ready.wait()
        await use()
        over.set()
    return said


async def test_without_a_lifespan_it_says_what_is_missing(make_peer: MakePeer) -> None:
    start, body = await asked(asgi_app(make_peer()), [])
    assert start["status"] == 503
    assert b"lifespan" in body["body"]


async def test_refusals(make_peer: MakePeer) -> None:
    app = asgi_app(make_peer(limits=Limits(message_bytes=10)))
    found: list[int] = []

    async def use() -> None:
        for messages, scope in (
            ([], {"path": "/elsewhere"}),
            ([], {"method": "PUT"}),
            ([], {"headers": [(b"host", b"evil.example")]}),
            (
                [
                    {"type": "http.request", "body": b"x" * 6, "more_body": True},
                    {"type": "http.request", "body": b"x" * 6},
                ],
                {},
            ),
            ([{"type": "http.request", "body": b"{", "more_body": False}], {}),
        ):
            start, _ = await asked(app, messages, **scope)
            found.append(start["status"])

    assert await living(app, use) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert found == [404, 405, 403, 413, 400]


async def test_a_client_that_leaves_before_its_body_is_forgotten(make_peer: MakePeer) -> None:
    app = asgi_app(make_peer())

    async def use() -> None:
        assert await asked(app, [{"type": "http.disconnect"}]) == []

    await living(app, use)


async def test_other_protocols_are_refused(make_peer: MakePeer) -> None:
    with pytest.raises(LocalProtocolError, match="websocket"):
        await asgi_app(make_peer())({"type": "websocket"}, None, None)  # type: ignore[arg-type]
