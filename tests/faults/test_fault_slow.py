"""Clients that read slowly, or not at all, and clients that send slowly, or without end.

Most run on a clock that stands still until the test moves it, on real sockets: what a slow client costs is looked at
while it is slow, and its time is over when the test says so.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from mcp_tasks import Connection, Context, HttpLimits, HttpServer, Limits, Peer

from ._wire import (
    TEN_MB,
    Line,
    Script,
    dial,
    endpoint_of,
    request_bytes,
    scripting,
    serving,
    settled,
    text_of,
    until,
)

MakePeer = Callable[..., Peer]
SMALL = 4096
KERNEL_BYTES = 12 * 1024 * 1024  # what sockets may hold of what nobody reads


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    """A clock that stands still."""
    return mock_clock


@define
class Talk:
    """How far the talkative tool is."""

    said: int = 0
    stop: bool = False
    ended: trio.Event = field(factory=trio.Event)


def offering(make_peer: MakePeer, **options: Any) -> tuple[Peer, Talk]:
    peer, talk = make_peer(**options), Talk()

    @peer.tool
    async def large(size: int) -> str:
        return "x" * size

    @peer.tool
    async def endless(ctx: Context) -> str:
        """Reports progress, a kilobyte each time, until it is told to stop."""
        try:
            while not talk.stop:
                talk.said += 1
                await ctx.progress(talk.said, message="x" * 1024)
        finally:
            talk.ended.set()
        return "stopped"

    @peer.tool
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("Who?", {"name": str})).content["name"]

    @peer.tool
    async def echo(text: str) -> str:
        return text

    return peer, talk


def connection_of(peer: Peer, script: Script) -> Connection:
    """The server's end of a scripted client's session."""
    [found] = [c for c in peer.connections if c.transport.id.decode() == script.session_id]
    return found


def unwritten(server: HttpServer) -> int:
    return sum(connection.unwritten for connection in server.connections)


ENDLESS = {"name": "endless", "arguments": {}, "_meta": {"progressToken": "p"}}


# --- slow readers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_ten_megabytes_a_byte_at_a_time(make_peer: MakePeer, clock: MockClock, accept: str) -> None:
    """A client that reads something now and then is not stalled, and gets all of it."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as slow, scripting(server.url) as other:
        line = await slow.dial(receive_buffer=SMALL)
        call = slow.request("tools/call", {"name": "large", "arguments": {"size": TEN_MB}})
        headers = [(n, accept if n == "Accept" else v) for n, v in slow.headers()]
        await line.send(request_bytes("POST", "/mcp", headers, json.dumps(call).encode()))
        await until(lambda: unwritten(server))
        before = unwritten(server)
        for _ in range(300):
            line.raw += await line.stream.receive_some(1)
        assert unwritten(server) <= before < TEN_MB * 1.1
        assert text_of(await other.tool("echo", text="on")) == "on"
        while len(line.raw) < TEN_MB:
            line.raw += await line.stream.receive_some(SMALL * 16)
        await until(lambda: not unwritten(server))
        assert connection_of(peer, slow).transport.backlog == 0


async def test_one_that_reads_slowly_but_steadily_is_not_stalled(make_peer: MakePeer, clock: MockClock) -> None:
    """`stall_seconds` is how long a client may read nothing, not how long 256 KB of ours may take."""
    peer, _ = offering(make_peer)
    limits = HttpLimits(stall_seconds=60)
    async with serving(peer, http_limits=limits) as server, scripting(server.url) as slow:
        line = await slow.begin("tools/call", {"name": "large", "arguments": {"size": TEN_MB}}, receive_buffer=SMALL)
        await until(lambda: unwritten(server))
        await settled()
        [connection] = server.connections
        read = 0
        for _ in range(20):  # some 2.5 KB a second for ten minutes
            target = read + 75_000
            while read < target:
                read += len(await line.stream.receive_some(min(SMALL, target - read)))
            await settled()
            clock.jump(30)
            await settled()
            assert not connection.gone, f"dropped after {read} bytes were read"


async def test_an_endless_stream_that_is_read_slowly(make_peer: MakePeer, clock: MockClock) -> None:
    """Whoever talks waits; what waits to be read is bounded."""
    peer, talk = offering(make_peer, limits=Limits(backlog_bytes=100_000))
    async with serving(peer) as server, scripting(server.url) as slow, scripting(server.url) as other:
        line = await slow.begin("tools/call", ENDLESS, receive_buffer=SMALL)
        await settled()
        first = talk.said
        assert first * 1024 < KERNEL_BYTES + 200_000
        assert unwritten(server) < 200_000
        assert text_of(await other.tool("echo", text="on")) == "on"
        await settled()
        assert talk.said == first  # it waits, and does not go on because others do
        read = 0
        while talk.said == first:
            read += len(await line.stream.receive_some(65536))
            await settled()
        assert read > 0
        assert unwritten(server) < 200_000
        talk.stop = True
        while b'"stopped"' not in line.raw[-1000:]:
            line.raw += await line.stream.receive_some(65536)
        assert connection_of(peer, slow).transport.backlog == 0


@pytest.mark.requirement("C25-103")
async def test_one_that_does_not_read_is_dropped(make_peer: MakePeer, clock: MockClock) -> None:
    """After `stall_seconds`; the handler goes on for nobody, and the session is what it was."""
    peer, talk = offering(make_peer, limits=Limits(backlog_bytes=100_000))
    limits = HttpLimits(stall_seconds=60, replay_bytes=100_000)
    async with (
        serving(peer, http_limits=limits) as server,
        scripting(server.url) as slow,
        scripting(server.url) as other,
    ):
        await slow.begin("tools/call", ENDLESS, receive_buffer=SMALL)
        await settled()
        said = talk.said
        assert len(server.connections) == 1
        clock.jump(59)
        await settled()
        assert len(server.connections) == 1
        talk.stop = True
        clock.jump(10)
        await until(lambda: not server.connections)
        await talk.ended.wait()
        assert talk.said == said
        assert text_of(await other.tool("echo", text="on")) == "on"
        assert text_of(await slow.tool("echo", text="on")) == "on"


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_one_that_does_not_read_its_answer_is_dropped(make_peer: MakePeer, clock: MockClock, accept: str) -> None:
    peer, _ = offering(make_peer)
    limits = HttpLimits(stall_seconds=60)
    async with serving(peer, http_limits=limits) as server, scripting(server.url) as slow:
        line = await slow.dial(receive_buffer=SMALL)
        call = slow.request("tools/call", {"name": "large", "arguments": {"size": 2 * TEN_MB}})
        headers = [(n, accept if n == "Accept" else v) for n, v in slow.headers()]
        await line.send(request_bytes("POST", "/mcp", headers, json.dumps(call).encode()))
        await until(lambda: unwritten(server))
        await settled()
        clock.jump(70)
        await until(lambda: not server.connections)
        assert connection_of(peer, slow).transport.backlog == 0
        await still_asks(slow)


@pytest.mark.requirement("C25-103")
async def test_who_talks_to_a_client_that_is_gone_lets_others_live(make_peer: MakePeer) -> None:
    """There is nobody to wait for any more, and yet each report is a checkpoint."""
    peer = make_peer()
    others = trio.Event()
    outcome: list[str] = []

    @peer.tool
    async def talk(ctx: Context) -> str:
        await ctx.progress(0)
        await gone.wait()
        for n in range(1, 10_000):
            await ctx.progress(n)
            if others.is_set():
                break
        outcome.append("others ran" if others.is_set() else "nobody else ran")
        done.set()
        return ""

    gone, done = trio.Event(), trio.Event()
    async with serving(peer) as server, scripting(server.url) as script, trio.open_nursery() as nursery:
        line = await script.begin("tools/call", {"name": "talk", "arguments": {}, "_meta": {"progressToken": "p"}})
        await line.head()
        await line.message()
        await line.reset()
        await until(lambda: not server.connections)

        async def other() -> None:
            await gone.wait()
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            others.set()

        nursery.start_soon(other)
        gone.set()
        await done.wait()
    assert outcome == ["others ran"]


async def still_asks(script: Script) -> None:
    """A question of the server's reaches the client, and its answer the server."""
    line = await script.begin("tools/call", {"name": "ask", "arguments": {}})
    with trio.move_on_after(20) as waited:
        await line.head()
        question = await line.message()
    assert not waited.cancelled_caught
    assert (await script.reply(question, {"action": "accept", "content": {"name": "Ada"}})).status == 202
    assert text_of((await line.message())["result"]) == "Ada"


@pytest.mark.requirement("C25-114", "C25-115")
async def test_a_stream_that_is_not_read_does_not_hold_up_the_others(make_peer: MakePeer) -> None:
    """One session, two streams: a question on the one does not wait for somebody to read the other."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        await script.listen(receive_buffer=SMALL)
        connection = connection_of(peer, script)
        await connection.send_log("info", "x" * TEN_MB)
        await until(lambda: unwritten(server))
        line = await script.begin("tools/call", {"name": "ask", "arguments": {}})
        question = await within(line)
        assert question["method"] == "elicitation/create"


async def within(line: Line) -> Any:
    """The next message of an answer that should be there: what was to come was sent before we ask."""
    result: list[Any] = []

    async def read() -> None:
        await line.head()
        result.append(await line.message())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await settled()
        nursery.cancel_scope.cancel()
    assert result, "nothing has come"
    return result[0]


async def test_requests_one_after_the_other_without_reading(make_peer: MakePeer) -> None:
    """Pipelined: the second is served while the first answer is still being written. Both answers come, in order."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        line = await script.dial(receive_buffer=SMALL)
        calls = [
            script.request("tools/call", {"name": "large", "arguments": {"size": TEN_MB}}),
            script.request("tools/call", {"name": "echo", "arguments": {"text": "second"}}),
        ]
        await line.send(b"".join(script.request_bytes("POST", body=json.dumps(call).encode()) for call in calls))
        await until(lambda: unwritten(server))
        first = await line.answer()
        second = await line.answer()
        assert len(text_of(first.json["result"])) == TEN_MB
        assert text_of(second.json["result"]) == "second"
        await settled()
        assert connection_of(peer, script).transport.backlog == 0
        question = await within(await script.begin("tools/call", {"name": "ask", "arguments": {}}))
        assert question["method"] == "elicitation/create"


# --- slow and endless senders -----------------------------------------------------------------------------------------


@asynccontextmanager
async def attacked(make_peer: MakePeer, **options: Any) -> AsyncIterator[HttpServer]:
    """A server that, when the test is over, still serves others, and has no connection left."""
    peer, _ = offering(make_peer, limits=Limits(message_bytes=200_000))
    async with serving(peer, **options) as server, scripting(server.url) as other:
        yield server
        assert text_of(await other.tool("echo", text="on")) == "on"
        await other.aclose()
        await until(lambda: not server.connections)
        assert len(endpoint_of(server).sessions) == 1


async def flood(line: Line, data: bytes, at_most: int = 64 * 1024 * 1024) -> None:
    """Send the same again and again until the server has had enough of it."""
    sent = 0
    try:
        while sent < at_most:
            await line.send(data)
            sent += len(data)
    except trio.BrokenResourceError:
        return
    raise AssertionError(f"{sent} bytes were taken")


async def refused(line: Line, data: bytes) -> int:
    """Flood, and read what is said about it; the connection then ends."""
    status: list[int] = []

    async def read() -> None:
        reply = await line.answer()
        status.append(reply.status)
        assert reply.headers["connection"] == "close"
        await line.closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await flood(line, data)
    return status[0]


@pytest.mark.parametrize(
    "endless",
    [b"X-Header: value\r\n", b"x" * 1000],
    ids=["headers", "one header"],
)
async def test_headers_without_end(make_peer: MakePeer, endless: bytes) -> None:
    async with attacked(make_peer) as server:
        line = await dial(server.url)
        await line.send(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Endless: ")
        assert await refused(line, endless * 10) == 431
        await line.aclose()


async def test_a_request_line_without_end(make_peer: MakePeer) -> None:
    async with attacked(make_peer) as server:
        line = await dial(server.url)
        await line.send(b"GET /")
        assert await refused(line, b"x" * 10_000) in (400, 414, 431)
        await line.aclose()


async def test_headers_that_come_slowly(make_peer: MakePeer, clock: MockClock) -> None:
    """A byte every ten seconds keeps nobody busy: the time is that of the whole head."""
    async with attacked(make_peer, http_limits=HttpLimits(request_seconds=30)) as server:
        line = await dial(server.url)
        for byte in b"POST":
            await line.send(bytes([byte]))
            await until(lambda: all(connection._arriving for connection in server.connections))
            await settled()
            clock.jump(10)
            await settled()
        reply = await line.answer()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert await line.closed() == b""
        await line.aclose()


async def test_one_that_says_nothing(make_peer: MakePeer, clock: MockClock) -> None:
    async with attacked(make_peer, http_limits=HttpLimits(request_seconds=30)) as server:
        line = await dial(server.url)
        await until(lambda: server.connections)
        clock.jump(29)
        await settled()
        assert server.connections
        clock.jump(10)
        assert await line.closed() == b""
        await line.aclose()


async def test_one_that_says_nothing_more(make_peer: MakePeer, clock: MockClock) -> None:
    """An idle connection is closed, without a word."""
    async with attacked(make_peer, http_limits=HttpLimits(idle_seconds=75)) as server, scripting(server.url) as script:
        line = await script.begin("ping")
        assert (await line.answer()).status == 200
        clock.jump(70)
        await settled()
        assert server.connections
        clock.jump(10)
        assert await line.closed() == b""
        await script.delete()
        await script.aclose()


async def test_a_thousand_that_say_nothing(make_peer: MakePeer, clock: MockClock) -> None:
    async with attacked(make_peer, http_limits=HttpLimits(connections=1000)) as server:
        lines = [await dial(server.url) for _ in range(1000)]
        await until(lambda: len(server.connections) == 1000)
        late = await dial(server.url)
        assert (await late.answer()).status == 503
        assert await late.closed() == b""
        await late.aclose()
        clock.jump(60)
        await until(lambda: not server.connections)
        for line in lines:
            assert await line.closed() == b""
            await line.aclose()


@pytest.mark.parametrize("size", [1, 1000, 100_000])
async def test_a_body_without_end(make_peer: MakePeer, size: int) -> None:
    """Chunk after chunk, beyond the limit for a message."""
    async with attacked(make_peer) as server, scripting(server.url) as script:
        line = await script.dial()
        await line.send(request_bytes("POST", "/mcp", script.headers(("Transfer-Encoding", "chunked"))))
        piece = b"%x\r\n%b\r\n" % (size, b" " * size)
        assert await refused(line, piece * max(1, 50_000 // size)) == 413
        await script.delete()
        await script.aclose()


async def test_a_chunk_without_end(make_peer: MakePeer) -> None:
    """Its size is announced, and far beyond the limit."""
    async with attacked(make_peer) as server, scripting(server.url) as script:
        line = await script.dial()
        await line.send(request_bytes("POST", "/mcp", script.headers(("Transfer-Encoding", "chunked"))))
        await line.send(b"ffffffffffff\r\n")
        assert await refused(line, b" " * 50_000) == 413
        await script.delete()
        await script.aclose()


@pytest.mark.parametrize("endless", [b"a" * 1000, b"X-Trailer: value\r\n"], ids=["extension", "trailers"])
async def test_what_goes_along_with_chunks_without_end(make_peer: MakePeer, endless: bytes) -> None:
    async with attacked(make_peer) as server, scripting(server.url) as script:
        line = await script.dial()
        await line.send(request_bytes("POST", "/mcp", script.headers(("Transfer-Encoding", "chunked"))))
        await line.send(b"1;" if endless.startswith(b"a") else b"2\r\n{}\r\n0\r\nX: ")
        assert await refused(line, endless * 10) in (400, 413, 431)
        await script.delete()
        await script.aclose()


async def test_a_body_that_is_announced_and_too_large(make_peer: MakePeer) -> None:
    """Refused by its length alone, and the answer is there to be read although nobody reads the body."""
    async with attacked(make_peer) as server, scripting(server.url) as script:
        line = await script.dial()
        await line.send(request_bytes("POST", "/mcp", script.headers(("Content-Length", "200001"))))
        assert (await line.answer()).status == 413
        await script.delete()
        await script.aclose()


async def test_a_body_that_stops(make_peer: MakePeer, clock: MockClock) -> None:
    async with (
        attacked(make_peer, http_limits=HttpLimits(request_seconds=30)) as server,
        scripting(server.url) as script,
    ):
        line = await script.dial()
        await line.send(script.request_bytes("POST", body=b"{" * 100)[:-50])
        await until(lambda: any(connection._arriving for connection in server.connections))
        await settled()
        clock.jump(40)
        reply = await line.answer()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert await line.closed() == b""
        await script.delete()
        await script.aclose()


async def test_a_body_that_trickles_while_an_answer_is_not_read(make_peer: MakePeer, clock: MockClock) -> None:
    """What comes in does not count as reading what goes out."""
    peer, _ = offering(make_peer)
    limits = HttpLimits(stall_seconds=60, request_seconds=30)
    async with serving(peer, http_limits=limits) as server, scripting(server.url) as script:
        line = await script.dial(receive_buffer=SMALL)
        call = script.request("tools/call", {"name": "large", "arguments": {"size": 2 * TEN_MB}})
        await line.send(script.request_bytes("POST", body=json.dumps(call).encode()))
        await until(lambda: unwritten(server))
        await line.send(script.request_bytes("POST", body=b"{" * 1000)[:-1000])
        try:
            for _ in range(30):
                await line.send(b"{")
                await settled()
                clock.jump(20)
                await settled()
        except trio.BrokenResourceError:
            pass
        assert not server.connections, "ten minutes without reading, and still there"
