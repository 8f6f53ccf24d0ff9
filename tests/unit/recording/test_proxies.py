"""The proxies: everything goes through as it came, and who hangs up is seen to hang up."""

from __future__ import annotations

import base64
import gzip
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trustme

from mcp_tasks import Context, HttpServer, Peer, open_http, serve_http
from mcp_tasks.recording import _proxy_stdio, record_http, record_stdio
from mcp_tasks.testing import Frame, HttpClientWire, Monitor, Side, script_server
from mcp_tasks.transports.processes import Shutdown, open_process

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
    assert [frame.event.split(":")[0] for frame in frames] == ["", "broken"]
    assert frames[0].method == "ping"


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


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "nonsense", "http://127.0.0.1:99999/mcp", "http://[::1/mcp"])
async def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a server"):
        await record_http(url, lambda frame: None)


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def by_hand(
    handler: Handler, tell: Callable[[Frame], None], target: str = "/mcp", user: str = ""
) -> AsyncIterator[tuple[str, trio.SocketStream]]:
    """A server that a test plays with its own hands; the proxy's URL, and a connection to it."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        url: str = await nursery.start(record_http, f"http://{user}127.0.0.1:{port}{target}", tell)
        with trio.fail_after(10):
            async with await dialled(url) as stream:
                yield url, stream
        nursery.cancel_scope.cancel()


async def dialled(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2].split("/")[0]))


def post(body: bytes = PING, *headers: str) -> bytes:
    lines = ["POST /mcp HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answer(body: bytes, kind: str = "application/json", *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        data = bytes(await stream.receive_some())
        assert data, found
        found += data
    return found


RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'


async def answering(stream: trio.SocketStream) -> None:
    """A server that answers one ping, and hangs up when it is told to in its turn."""
    await read_until(stream, PING)
    await stream.send_all(answer(RESULT))
    await stream.receive_some()
    await stream.aclose()


async def test_what_tell_raises_ends_no_connection() -> None:
    frames: list[Frame] = []

    def tell(frame: Frame) -> None:
        frames.append(frame)
        raise ValueError("no room")

    async with by_hand(answering, tell) as (_, client):
        await client.send_all(post())
        assert (await read_until(client, RESULT)).startswith(b"HTTP/1.1 200")
    assert len(frames) >= 2


async def test_a_server_that_hangs_up_between_requests() -> None:
    """The client sees it, as it would without us, instead of losing its next request."""
    frames: list[Frame] = []

    async def once(stream: trio.SocketStream) -> None:
        await read_until(stream, PING)
        await stream.send_all(answer(RESULT))
        await stream.aclose()

    async with by_hand(once, frames.append) as (url, client):
        await client.send_all(post())
        await read_until(client, RESULT)
        assert await client.receive_some() == b""
        async with await dialled(url) as another:
            await another.send_all(post())
            await read_until(another, RESULT)
    assert [frame.sender for frame in frames if frame.message] == [Side.CLIENT, Side.SERVER] * 2


async def test_a_server_that_hangs_up_at_a_request() -> None:
    """What it made of the request nobody can say: it is recorded, and not sent again."""
    frames: list[Frame] = []
    asked = 0

    async def rude(stream: trio.SocketStream) -> None:
        nonlocal asked
        await read_until(stream, PING)
        await stream.send_all(answer(RESULT))
        await read_until(stream, PING)
        asked += 1
        await stream.aclose()

    async with by_hand(rude, frames.append) as (_, client):
        await client.send_all(post())
        await read_until(client, RESULT)
        await client.send_all(post())
        assert b"502 Bad Gateway" in await read_until(client, b"\r\n\r\n")
    assert asked == 1
    assert [frame.event for frame in frames[:4]] == ["", "", "", "broken: no answer"]
    assert frames[2].method == "ping"


async def test_an_answer_may_come_before_the_request_is_complete() -> None:
    frames: list[Frame] = []

    async def full(stream: trio.SocketStream) -> None:
        await read_until(stream, b"\r\n\r\nsome")
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await stream.receive_some()

    async with by_hand(full, frames.append) as (_, client):
        await client.send_all(post(b"x" * 1000)[:-1000] + b"some")
        assert b"413" in await read_until(client, b"\r\n\r\n")
    assert (frames[0].event, frames[0].raw) == ("cut 4 bytes into its body", b"some")
    assert (frames[1].event, frames[1].status) == ("refused", 413)


@pytest.mark.parametrize("said", [post(b"x" * 1000)[:-1], post() + post()], ids=["within a body", "pipelined"])
async def test_a_client_that_leaves_in_the_middle(said: bytes) -> None:
    frames: list[Frame] = []
    left = trio.Event()
    begun = trio.Event()

    async def mute(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        begun.set()
        while await stream.receive_some():
            pass
        left.set()

    async with by_hand(mute, frames.append) as (_, client):
        await client.send_all(said)
        await begun.wait()
        await client.aclose()
        await left.wait()
    assert [frame.event for frame in frames][1:] == ["closed"]


async def test_the_head_as_the_server_gets_it() -> None:
    """With the query, and the user of the URL; without compression, in which no rule would find a secret."""
    frames: list[Frame] = []
    heads: list[bytes] = []
    packed = gzip.compress(RESULT)

    async def packing(stream: trio.SocketStream) -> None:
        heads.append(await read_until(stream, PING))
        await stream.send_all(answer(packed, "application/json", "Content-Encoding: gzip"))
        await stream.receive_some()

    async with by_hand(packing, frames.append, "/mcp?key=a&b=c", "bob:hunter%402@") as (url, client):
        assert url.endswith("/mcp?key=a&b=c")
        await client.send_all(post(PING, "Accept-Encoding: gzip").replace(b"/mcp", b"/mcp?key=a&b=c"))
        assert await read_until(client, packed)
        async with await dialled(url) as another:
            await another.send_all(post(PING, "Authorization: Bearer mine"))
            await read_until(another, packed)
    first, second = (head.lower().split(b"\r\n") for head in heads)
    assert first[0] == b"post /mcp?key=a&b=c http/1.1"
    assert b"authorization: basic " + base64.b64encode(b"bob:hunter@2").lower() in first
    assert [line for line in first if line.startswith(b"accept-encoding")] == [b"accept-encoding: identity"]
    assert [line for line in second if line.startswith(b"authorization")] == [b"authorization: bearer mine"]
    assert (frames[1].event, frames[1].raw) == (f"{len(packed)} bytes in the coding gzip", b"")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_each_event_has_its_own_id(end: str) -> None:
    """However many come at once; for the proxy, and for a script's wire."""
    frames: list[Frame] = []
    lines = ["id: 1", 'data: {"a":1}', "", "id: 2", 'data: {"a":2}', "", 'data: {"a":3}', "", "id: 4", "data:", "", ""]

    async def streaming(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer(end.join(lines).encode(), "text/event-stream"))

    async with by_hand(streaming, frames.append) as (url, _), trio.open_nursery() as nursery:
        wire = HttpClientWire(url, nursery)
        exchange = wire.post(json.loads(PING))
        await exchange.ended.wait()
        for seen in (frames, wire.frames):
            assert [frame.event_id for frame in seen if frame.event_id] == ["1", "2", "2", "4"]
        assert exchange.last_event_id == "4"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_server_with_tls(trusted: bool) -> None:
    """Its connection is kept; and one that we do not trust is a bad gateway."""
    frames: list[Frame] = []
    connections: list[object] = []
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        connections.append(stream)
        try:
            while (await stream.receive_some()) != b"":
                await stream.send_all(answer(RESULT))
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, server_context, host="127.0.0.1"))
        port = listeners[0].transport_listener.socket.getsockname()[1]
        record = partial(record_http, f"https://localhost:{port}/mcp", frames.append, ssl_context=context)
        url: str = await nursery.start(record)
        async with await dialled(url) as client:
            with trio.fail_after(10):
                await client.send_all(b"GET /mcp HTTP/1.1\r\nHost: here\r\n\r\n")
                if trusted:
                    await read_until(client, RESULT)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    await client.send_all(b"GET /mcp HTTP/1.1\r\nHost: here\r\n\r\n")
                    await read_until(client, RESULT)
                    assert len(connections) == 1
                else:
                    assert b"502" in await read_until(client, b"\r\n\r\n")
                    assert "certificate" in frames[1].event
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_in_use() -> None:
    async with by_hand(answering, lambda frame: None) as (url, _):
        with pytest.raises(OSError, match="in use"):
            await record_http("http://127.0.0.1:9/", lambda frame: None, port=int(url.split(":")[2].split("/")[0]))


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


@asynccontextmanager
async def pipes() -> AsyncIterator[tuple[int, int, int, int]]:
    """Two pipes: what the recorder reads, how to write it, how to read what the recorder writes, and that."""
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    try:
        yield their_in, our_out, our_in, their_out
    finally:
        for fd in (our_out, our_in):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not go when its stdin is closed is ended at once."""
    shutdown = Shutdown(close_seconds=0)
    monkeypatch.setattr(_proxy_stdio, "open_process", partial(open_process, shutdown=shutdown))
    monkeypatch.setattr(_proxy_stdio, "_SILENCE_SECONDS", 0)


STUBBORN = [sys.executable, "-c", "import signal\nprint('{}', flush=True)\nsignal.pause()"]


async def test_over_stdio_what_tell_raises_ends_nothing() -> None:
    frames: list[Frame] = []

    def tell(frame: Frame) -> None:
        frames.append(frame)
        raise RecursionError("no end")

    async with pipes() as (their_in, our_out, our_in, their_out):
        os.write(our_out, PING + b"\n" + PING + b"\n")
        os.close(our_out)
        assert await record_stdio([sys.executable, "-c", ECHO], tell, stdin=their_in, stdout=their_out) == 4
        assert os.read(our_in, 1000) == (PING + b"\n") * 2
    assert len(frames) == 6


@pytest.mark.usefixtures("hasty")
async def test_over_stdio_a_server_does_not_outlive_its_client() -> None:
    """It has closed our stdin, and the server neither ends nor says anything; the status is a shell's."""
    async with pipes() as (their_in, our_out, _, their_out):
        os.close(our_out)
        assert await record_stdio(STUBBORN, lambda frame: None, stdin=their_in, stdout=their_out) == 128 + 15


@pytest.mark.usefixtures("hasty")
async def test_over_stdio_a_server_does_not_outlive_a_cancellation() -> None:
    """That no process is left is looked at after every test."""
    async with pipes() as (their_in, _, _, their_out):
        with trio.CancelScope() as scope:
            await record_stdio(STUBBORN, lambda frame: scope.cancel(), stdin=their_in, stdout=their_out)
        assert scope.cancelled_caught


async def test_over_stdio_a_program_that_is_not_there() -> None:
    async with pipes() as (their_in, _, _, their_out):
        with pytest.raises(OSError, match="cannot start the process"):
            await record_stdio(["/no/such/program"], lambda frame: None, stdin=their_in, stdout=their_out)
        os.close(their_in)
        os.close(their_out)
