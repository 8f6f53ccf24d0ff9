"""The proxies: everything goes through as it came, and who hangs up is seen to hang up."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from mcp_tasks import Context, HttpServer, Peer, open_http, serve_http
from mcp_tasks.recording import record_http, record_stdio
from mcp_tasks.testing import Frame, HttpClientWire, Monitor, Side, script_server

MakePeer = Callable[..., Peer]


def serving(make_peer: MakePeer) -> tuple[Peer, trio.Event]:
    peer, cancelled = make_peer("server"), trio.Event()

    @peer.tool
    async def echo(text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text

    @peer.tool
    async def wait(ctx: Context) -> str:
        try:
            await ctx.progress(1)
            await trio.sleep_forever()
        finally:
            cancelled.set()
        raise AssertionError

    return peer, cancelled


@asynccontextmanager
async def proxied(peer: Peer, frames: list[Frame]) -> AsyncIterator[tuple[str, HttpServer]]:
    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(partial(serve_http, peer))
        url: str = await nursery.start(record_http, server.url, frames.append)
        yield url, server
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_our_client_and_server_notice_nothing(make_peer: MakePeer, revision: str) -> None:
    frames: list[Frame] = []
    big = "ü" * 300_000
    peer, _ = serving(make_peer)
    async with (
        proxied(peer, frames) as (url, _),
        open_http(url, trust_env=False) as transport,
        make_peer("client").connect(transport, revision=revision) as connection,
    ):
        for text in ("a", "b", big):
            assert (await connection.call_tool("echo", {"text": text})).text == text
    calls = [frame for frame in frames if frame.method == "tools/call"]
    assert len(calls) == 3
    answers = [frame for frame in frames if frame.channel == calls[-1].channel and frame.is_response]
    assert answers[0].result["content"][0]["text"] == big
    assert [frame.at for frame in frames] == sorted(frame.at for frame in frames)
    monitor = Monitor()
    for frame in frames:
        monitor.see(frame)
    assert [str(violation) for violation in monitor.violations] == []
    assert sum(monitor.counts.values()) > 10


@pytest.mark.requirement("C26-165")
async def test_who_hangs_up_is_seen_to_hang_up(make_peer: MakePeer) -> None:
    frames: list[Frame] = []
    peer, cancelled = serving(make_peer)
    async with proxied(peer, frames) as (url, _), script_server(url, revision="2026-07-28") as client:
        assert isinstance(client.wire, HttpClientWire)
        await client.ask("tools/call", {"name": "wait", "arguments": {}, "_meta": {"progressToken": 1}})
        await client.expect("notifications/progress")
        client.wire.exchanges[-1].cut()
        with trio.fail_after(10):
            await cancelled.wait()
    assert "closed" in [frame.event for frame in frames if frame.sender is Side.CLIENT]


async def test_a_server_that_is_not_there(make_peer: MakePeer) -> None:
    frames: list[Frame] = []
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(record_http, "http://127.0.0.1:9/mcp", frames.append)
        wire = HttpClientWire(url, nursery)
        exchange = wire.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await exchange.ended.wait()
        assert exchange.status == 502
        nursery.cancel_scope.cancel()
    assert [frame.event.split(":")[0] for frame in frames] == ["broken"]


async def test_what_is_no_http(make_peer: MakePeer) -> None:
    """It ends that connection, and no other."""
    peer, _ = serving(make_peer)
    frames: list[Frame] = []
    async with proxied(peer, frames) as (url, _):
        port = int(url.split(":")[2].split("/")[0])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"nonsense\r\n\r\n")
        with trio.fail_after(10):
            while await stream.receive_some():
                pass
        await stream.aclose()
        async with script_server(url) as client:
            assert await client.request("ping") == {}


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "nonsense"])
async def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a server"):
        await record_http(url, lambda frame: None)


ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\nsys.exit(4)"


async def test_over_stdio_every_byte_goes_through() -> None:
    """Lines that are no JSON, lines in pieces, and a last one without an end."""
    frames: list[Frame] = []
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    pieces = [b'{"id": 1}\n{"id"', b": 2}\nno json\n", b'{"cut']
    came = bytearray()

    async def write() -> None:
        for piece in pieces:
            os.write(our_out, piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        os.close(our_out)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        command = [sys.executable, "-c", ECHO]
        code = await record_stdio(command, frames.append, stdin=their_in, stdout=their_out)
    while data := os.read(our_in, 65536):
        came += data
    os.close(our_in)
    assert bytes(came) == b"".join(pieces)
    assert code == 4
    for side in Side:
        said = [frame for frame in frames if frame.sender is side]
        assert [frame.message for frame in said[:2]] == [{"id": 1}, {"id": 2}]
        assert said[2].raw == b"no json"
        assert said[-1].event.startswith("ended 5 bytes into a line")
