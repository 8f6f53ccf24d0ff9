"""Ten megabytes in one message: either way, as JSON and as an event, as argument, result, question and answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import (
    ConnectionClosed,
    Context,
    HttpClientLimits,
    HttpError,
    Limits,
    MCPError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
)
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult
from mcp_tasks.wire.content import TextContent

from ._wire import TEN_MB, Asked, connected, faking, scripting, serving, settled, text_of

MakePeer = Callable[..., Peer]
TEXT = "x" * TEN_MB
QUICK = HttpClientLimits(retry_seconds=0.01)


def offering(make_peer: MakePeer, **options: Any) -> Peer:
    peer = make_peer(**options)

    @peer.tool
    async def echo(ctx: Context, text: str) -> str:
        await ctx.progress(1)  # makes an event stream of the answer, if progress is wanted
        return text

    @peer.tool(task="optional")
    async def sample(ctx: Context, size: int) -> int:
        result = await ctx.sample("x" * size)
        assert isinstance(result.content, TextContent)
        return len(result.content.text)

    return peer


def model(make_peer: MakePeer) -> Peer:
    """A client whose model repeats what it is told."""
    peer = make_peer("model")

    @peer.sampling
    async def repeat(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        content = params.messages[0].content
        assert isinstance(content, TextContent)
        return CreateMessageResult(role="assistant", content=content, model="parrot")

    return peer


@pytest.mark.requirement("C25-091", "C25-092")
@pytest.mark.parametrize("events", [False, True], ids=["json", "events"])
async def test_argument_and_result(make_peer: MakePeer, events: bool) -> None:
    async with serving(offering(make_peer)) as server, connected(server.url) as connection:
        for _ in range(2):
            params = {"name": "echo", "arguments": {"text": TEXT}}
            on_progress = (lambda progress: None) if events else None
            result = await connection.call("tools/call", params, on_progress=on_progress)
            assert text_of(result) == TEXT


@pytest.mark.requirement("C25-099")
@pytest.mark.parametrize("as_task", [False, True], ids=["call", "task"])
async def test_a_question_and_its_answer(make_peer: MakePeer, as_task: bool) -> None:
    """From the server to the client's model, and back."""
    server_peer, client_peer = offering(make_peer), model(make_peer)
    async with serving(server_peer) as server, connected(server.url, client_peer) as connection:
        params = {"name": "sample", "arguments": {"size": TEN_MB}}
        if as_task:
            async with connection.start("tools/call", params) as task:
                result = await task.result()
        else:
            result = await connection.call("tools/call", params)
        assert result["structuredContent"] == {"result": TEN_MB}


async def test_many_at_once(make_peer: MakePeer) -> None:
    """Both ways at the same time, by which two sides that only write could block each other."""
    async with serving(offering(make_peer)) as server, connected(server.url) as connection:
        sizes: list[int] = []

        async def call(n: int) -> None:
            text = "x" * (TEN_MB // 4 + n)
            result = await connection.call("tools/call", {"name": "echo", "arguments": {"text": text}})
            sizes.append(len(text_of(result)))

        async with trio.open_nursery() as nursery:
            for n in range(8):
                nursery.start_soon(call, n)
        assert sorted(sizes) == [TEN_MB // 4 + n for n in range(8)]


async def test_a_large_request_without_an_answer_yet_holds_up_nobody(make_peer: MakePeer) -> None:
    """Once the server has it, it is no backlog of ours, however long the answer takes."""
    peer = offering(make_peer)
    met, came = trio.Event(), trio.Event()

    @peer.tool
    async def wait(text: str) -> int:
        came.set()
        await met.wait()
        return len(text)

    @peer.tool
    async def meet() -> str:
        met.set()
        return "met"

    async with serving(peer) as server, connected(server.url) as connection, trio.open_nursery() as nursery:
        done: list[Any] = []

        async def call_wait() -> None:
            done.append(await connection.call("tools/call", {"name": "wait", "arguments": {"text": TEXT}}))

        async def call_meet() -> None:
            await connection.call("tools/call", {"name": "meet", "arguments": {}})

        nursery.start_soon(call_wait)
        await came.wait()
        nursery.start_soon(call_meet)
        await settled()
        try:
            assert met.is_set(), "the second call waits for the answer to the first"
        finally:
            met.set()


@pytest.mark.requirement("C25-099")
async def test_progress_of_ten_megabytes(make_peer: MakePeer) -> None:
    peer = make_peer()
    seen: list[int] = []

    @peer.tool
    async def tell(ctx: Context) -> str:
        for n in range(1, 4):
            await ctx.progress(n, message=TEXT)
        return "told"

    async with serving(peer) as server, connected(server.url) as connection:
        params = {"name": "tell", "arguments": {}}
        await connection.call("tools/call", params, on_progress=lambda p: seen.append(len(p.message or "")))
    assert seen == [TEN_MB] * 3


# --- more than the limits ---------------------------------------------------------------------------------------------

SMALL = Limits(message_bytes=100_000)


async def test_an_argument_beyond_the_servers_limit(make_peer: MakePeer) -> None:
    """The client learns why, although it was still sending when the server had enough."""
    peer = offering(make_peer, limits=SMALL)
    async with serving(peer) as server, connected(server.url) as connection:
        for _ in range(3):
            with pytest.raises((HttpError, RequestFailed)) as caught:
                await connection.call("tools/call", {"name": "echo", "arguments": {"text": TEXT}})
            assert "larger than 100000 bytes" in str(caught.value)
        result = await connection.call("tools/call", {"name": "echo", "arguments": {"text": "on"}})
        assert text_of(result) == "on"


@pytest.mark.parametrize("events", [False, True], ids=["json", "events"])
async def test_a_result_beyond_the_clients_limit(make_peer: MakePeer, events: bool) -> None:
    peer = make_peer()

    @peer.tool
    async def large(ctx: Context, size: int) -> str:
        await ctx.progress(1)
        return "x" * size

    async with serving(peer) as server, connected(server.url, limits=SMALL) as connection:
        on_progress = (lambda progress: None) if events else None
        params = {"name": "large", "arguments": {"size": TEN_MB}}
        with pytest.raises(RemoteProtocolError) as caught:
            await connection.call("tools/call", params, on_progress=on_progress)
        assert "100000 bytes" in str(caught.value)
        result = await connection.call("tools/call", {"name": "large", "arguments": {"size": 10}})
        assert text_of(result) == "x" * 10


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
    ],
    ids=["json", "event", "error", "head"],
)
async def test_an_answer_without_end(head: bytes) -> None:
    """From a server that never stops: an error of that call, in bounded memory."""
    stopped = trio.Event()
    async with faking() as server, connected(server.url, limits=SMALL, http_limits=QUICK) as connection:

        @server.on("tools/call")
        async def flood(asked: Asked) -> None:
            piece = b"x" * 10_000
            if b"chunked" in head:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            try:
                await asked.send(head)
                while True:
                    await asked.send(piece)
            except trio.BrokenResourceError:
                stopped.set()

        async def call() -> MCPError:
            with pytest.raises(MCPError) as caught:
                await connection.call("tools/call", {"name": "x", "arguments": {}})
            return caught.value

        if b"event-stream" in head:
            # One event that never ends is skipped as it comes; how long to wait for its end is up to the caller.
            with trio.move_on_after(0.3):
                await call()
        else:
            assert isinstance(await call(), (RemoteProtocolError, HttpError, ConnectionClosed))
        await stopped.wait()
        assert await connection.call("tools/list")


@pytest.mark.requirement("C25-089")
async def test_an_answer_of_ours_beyond_the_servers_limit(make_peer: MakePeer) -> None:
    """The server refuses it with 413; it must not go on waiting for an answer that was thrown away.

    There is no telling whose answer it was, so it is up to the client to say something that fits.
    """
    server_peer, client_peer = offering(make_peer, limits=SMALL), make_peer("chatty")

    @client_peer.sampling
    async def talk(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(text=TEXT), model="m")

    async with serving(server_peer) as server, connected(server.url, client_peer, http_limits=QUICK) as connection:
        with trio.move_on_after(3) as waited:
            try:
                result = await connection.call("tools/call", {"name": "sample", "arguments": {"size": 10}})
                assert result.get("isError")
            except RequestFailed:
                pass
        assert not waited.cancelled_caught, "the server waits for an answer that it has refused"


async def test_a_client_that_sends_rubbish_as_an_answer(make_peer: MakePeer) -> None:
    """The one who waits for it learns that it is none."""
    async with serving(offering(make_peer)) as server, scripting(server.url) as script:
        line = await script.begin("tools/call", {"name": "sample", "arguments": {"size": 1}})
        await line.head()
        question = await line.message()
        wrong = await script.dial()
        body = b'{"jsonrpc": "2.0", "id": %b, "result": [1]}' % json.dumps(question["id"]).encode()
        await wrong.send(script.request_bytes("POST", body=body))
        assert (await wrong.answer()).status == 400
        assert (await line.message())["result"]["isError"]
