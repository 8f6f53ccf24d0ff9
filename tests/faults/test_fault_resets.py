"""Connections that are reset: in the middle of a body, of an event and of a chunk, by either side.

A reset connection is no cancellation and no end of a session: the handler goes on, the rest is undisturbed, and what
can be come back to is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
import trio
from attrs import define, field

from mcp_tasks import Connection, ConnectionClosed, Context, HttpClientLimits, HttpLimits, Peer
from mcp_tasks.wire.client_features import ElicitResult

from ._wire import (
    REVISION,
    STREAM_HEAD,
    TEN_MB,
    Asked,
    FakeServer,
    Line,
    Script,
    connected,
    endpoint_of,
    event_chunk,
    faking,
    listening,
    proxying,
    request_bytes,
    scripting,
    serving,
    settled,
    text_of,
    until,
)

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(retry_seconds=0.01)
KEEPS_ALL = HttpLimits(replay_bytes=4 * TEN_MB)


@define
class Work:
    """A tool that is told when to end, and tells how it did."""

    begun: trio.Event = field(factory=trio.Event)
    go: trio.Event = field(factory=trio.Event)
    ended: list[str] = field(factory=list)
    over: trio.Event = field(factory=trio.Event)


def offering(make_peer: MakePeer) -> tuple[Peer, Work]:
    """A peer with tools that take their time and tools that do not."""
    peer, work = make_peer(), Work()

    async def work_on(told: str) -> str:
        try:
            await work.go.wait()
            work.ended.append("finished")
            return told
        except trio.Cancelled:
            work.ended.append("cancelled")
            raise
        finally:
            work.over.set()

    @peer.tool
    async def wait() -> str:
        work.begun.set()
        return await work_on("waited")

    @peer.tool
    async def talk(ctx: Context, size: int) -> str:
        """Says much, and then waits."""
        await ctx.progress(1, message="x" * size)
        work.begun.set()
        return await work_on("talked")

    @peer.tool
    async def large(size: int) -> str:
        return "x" * size

    @peer.tool
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("Who?", {"name": str})).content["name"]

    @peer.tool
    async def echo(text: str) -> str:
        return text

    return peer, work


WITH_PROGRESS = {"_meta": {"progressToken": "p"}}


# --- the client resets ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-085")
@pytest.mark.parametrize("framing", ["length", "chunk"])
async def test_in_the_middle_of_a_request_body(make_peer: MakePeer, framing: str) -> None:
    peer, work = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken, scripting(server.url) as other:
        body = json.dumps(broken.request("tools/call", {"name": "wait", "arguments": {}})).encode()
        line = await broken.dial()
        if framing == "length":
            await line.send(broken.request_bytes("POST", body=body)[:-10])
        else:
            await line.send(request_bytes("POST", "/mcp", broken.headers(("Transfer-Encoding", "chunked"))))
            await line.send(b"%x\r\n%b" % (len(body), body[:-10]))
        await until(lambda: any(connection._arriving for connection in server.connections))
        await line.reset()
        await until(lambda: not server.connections)
        assert not work.begun.is_set()
        assert text_of(await other.tool("echo", text="on")) == "on"
        assert text_of(await broken.tool("echo", text="on")) == "on"


@pytest.mark.requirement("C25-103")
async def test_while_an_answer_is_due(make_peer: MakePeer) -> None:
    peer, work = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken, scripting(server.url) as other:
        line = await broken.begin("tools/call", {"name": "wait", "arguments": {}})
        await work.begun.wait()
        await line.reset()
        await until(lambda: not server.connections)
        assert text_of(await other.tool("echo", text="on")) == "on"
        assert not work.ended
        work.go.set()
        await work.over.wait()
        assert work.ended == ["finished"]
        assert text_of(await broken.tool("echo", text="on")) == "on"


@pytest.mark.requirement("C25-103", "C25-105", "C25-119", "C25-120")
@pytest.mark.parametrize("read", [1, 10_000], ids=["in the first chunk", "in a chunk"])
async def test_in_the_middle_of_an_event(make_peer: MakePeer, read: int) -> None:
    """The handler goes on, and the client can come back for the event and for the answer."""
    peer, work = offering(make_peer)
    async with (
        serving(peer, http_limits=KEEPS_ALL) as server,
        scripting(server.url) as broken,
        scripting(server.url) as other,
    ):
        params = {"name": "talk", "arguments": {"size": TEN_MB}, **WITH_PROGRESS}
        line = await broken.begin("tools/call", params, receive_buffer=4096)
        await line.head()
        first = await line.event()
        assert first.id is not None
        seen = 0
        while seen < read:
            seen += len(await line.piece())
        await line.reset()
        await until(lambda: not server.connections)
        assert not work.ended
        assert text_of(await other.tool("echo", text="on")) == "on"

        again = await broken.listen(first.id)
        assert len((await again.message())["params"]["message"]) == TEN_MB
        work.go.set()
        assert text_of((await again.message())["result"]) == "talked"
        with pytest.raises(EOFError):
            await again.event()
        assert work.ended == ["finished"]


@pytest.mark.requirement("C25-105", "C25-112")
async def test_a_stream_of_get(make_peer: MakePeer) -> None:
    """Also while more is being written than the client reads."""
    peer, _ = offering(make_peer)
    async with (
        serving(peer, http_limits=KEEPS_ALL) as server,
        scripting(server.url) as broken,
        scripting(server.url) as other,
    ):
        line = await broken.listen(receive_buffer=4096)
        first = await line.event()
        [connection] = [c for c in peer.connections if c.transport._listening]
        await connection.send_log("info", "x" * TEN_MB)
        await line.piece()
        await line.reset()
        await until(lambda: not server.connections)
        assert text_of(await other.tool("echo", text="on")) == "on"
        again = await broken.listen(first.id)
        assert len((await again.message())["params"]["data"]) == TEN_MB


@pytest.mark.requirement("C25-103")
async def test_while_a_large_answer_is_written(make_peer: MakePeer) -> None:
    """The session has to be whole afterwards: answers, questions and notifications go on."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken:
        params = {"name": "large", "arguments": {"size": TEN_MB}}
        line = await broken.begin("tools/call", params, receive_buffer=4096)
        await line.head()
        await line.reset()
        await until(lambda: not server.connections)
        await still_asks(broken)


@pytest.mark.requirement("C25-103")
async def test_reset_many_times(make_peer: MakePeer) -> None:
    """With large answers on their way by several connections of one session."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken:
        params = {"name": "large", "arguments": {"size": TEN_MB}}
        for _ in range(5):
            lines = [await broken.begin("tools/call", params, receive_buffer=4096) for _ in range(4)]
            for line in lines:
                await line.head()
            for line in lines:
                await line.reset()
            await until(lambda: not server.connections)
        await still_asks(broken)


async def test_while_more_is_said(make_peer: MakePeer) -> None:
    """A reset, a message, and a write that waits, all at once and in whatever order they are noticed."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken:
        [connection] = peer.connections
        for _ in range(10):
            line = await broken.listen(receive_buffer=4096)
            await connection.send_log("info", "x" * TEN_MB)
            await until(lambda: connection.transport._busy)
            line.reset_now()
            connection.announce("notifications/tools/list_changed")
            await until(lambda: not server.connections)
            assert connection.transport.backlog == 0
        await still_asks(broken)


async def still_asks(script: Script) -> None:
    """A question of the server's reaches the client, and its answer the server."""
    line = await script.begin("tools/call", {"name": "ask", "arguments": {}})
    await line.head()
    question = await line.message()
    assert question["method"] == "elicitation/create"
    assert (await script.reply(question, {"action": "accept", "content": {"name": "Ada"}})).status == 202
    assert text_of((await line.message())["result"]) == "Ada"


@pytest.mark.requirement("C25-122", "C25-128")
async def test_during_the_handshake(make_peer: MakePeer) -> None:
    """A session whose client never learned of it costs a place until it has been idle for long enough."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as other:
        script = Script(server.url)
        params = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}}
        line = await script.begin("initialize", params)
        await until(lambda: len(endpoint_of(server).sessions) == 2)
        await line.reset()
        line = await script.dial()
        await line.send(script.request_bytes("POST", body=b"{" * 100)[:-50])
        await line.reset()
        await until(lambda: not server.connections)
        assert len(endpoint_of(server).sessions) == 2
        assert text_of(await other.tool("echo", text="on")) == "on"


async def test_a_hundred_resets_at_once(make_peer: MakePeer) -> None:
    peer, work = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as broken, scripting(server.url) as other:
        lines: list[Line] = []
        for _ in range(50):
            lines.append(await broken.begin("tools/call", {"name": "wait", "arguments": {}}))
            lines.append(await broken.begin("tools/call", {"name": "talk", "arguments": {"size": 10}, **WITH_PROGRESS}))
        await until(lambda: len(endpoint_posts(peer)) == 100)
        for line in lines:
            await line.reset()
        await until(lambda: not server.connections)
        work.go.set()
        await until(lambda: not endpoint_posts(peer))
        assert work.ended == ["finished"] * 100
        assert text_of(await other.tool("echo", text="on")) == "on"


def endpoint_posts(peer: Peer) -> list[object]:
    return [id for connection in peer.connections for id in connection.session.served]


# --- the server resets ------------------------------------------------------------------------------------------------


async def fails(connection: Connection) -> str:
    """Call a tool, which fails; then another, which does not: the connection stays usable. Returns what was said."""
    with pytest.raises(ConnectionClosed) as caught:
        await connection.call("tools/call", {"name": "x", "arguments": {}})
    return str(caught.value)


@pytest.mark.requirement("C25-091", "C25-092")
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Ty",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"jsonrpc"',
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1f",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1f\r\n{",
        STREAM_HEAD,
        STREAM_HEAD + b"1f\r\ndata: {",
        STREAM_HEAD + event_chunk('{"jsonrpc": "2.0", "method": "notifications/message"}'),
    ],
    ids=[
        "before the head",
        "in the head",
        "before the body",
        "in the body",
        "in the size of a chunk",
        "in a chunk",
        "before the first event",
        "in an event",
        "after an event without an id",
    ],
)
@pytest.mark.parametrize("orderly", [False, True], ids=["reset", "closed"])
async def test_an_answer_that_breaks_off(sent: bytes, orderly: bool) -> None:
    """What cannot be come back to is an error of that call alone, which says what happened."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:

        @server.on("tools/call")
        async def break_off(asked: Asked) -> None:
            await asked.send(sent)
            await settled()
            await (asked.aclose() if orderly else asked.reset())

        said = await fails(connection)
        assert "clos" in said or "broke" in said or "reset" in said or "ended" in said, said
        assert len(server.seen("tools/call")) == 1  # what may have been served is not sent twice
        del server.behaviours["tools/call"]
        assert text_of(await connection.call("tools/call", {"name": "x", "arguments": {}})) == "fine"
        assert server.handshakes == 1


@pytest.mark.requirement("C25-095", "C25-119")
@pytest.mark.parametrize("orderly", [False, True], ids=["reset", "closed"])
@pytest.mark.parametrize("half", [b"", b"id: s-2\nda", b"id: s-2\ndata: {\n"], ids=["after", "in", "late in"])
async def test_an_event_that_breaks_off(orderly: bool, half: bytes) -> None:
    """From the last event that was whole."""
    async with faking() as server:

        @server.on("tools/call")
        async def break_off(asked: Asked) -> None:
            await asked.begin()
            await asked.event("", "s-1")
            if half:
                await asked.send(b"%x\r\n%b" % (len(half) + 100, half))
            await settled()
            await (asked.aclose() if orderly else asked.reset())

        @server.on("GET")
        async def come_back(asked: Asked) -> None:
            if "last-event-id" not in asked.headers:
                await asked.answer(405)
                return
            [call] = server.seen("tools/call")
            await asked.begin()
            await asked.event(call.response({"content": [{"type": "text", "text": "late"}]}), "s-2")
            await asked.end()

        async with connected(server.url, http_limits=QUICK) as connection:
            result = await connection.call("tools/call", {"name": "x", "arguments": {}})
            assert text_of(result) == "late"
            assert [asked.headers.get("last-event-id") for asked in server.seen("GET")] == [None, "s-1"]


async def test_a_request_that_breaks_off() -> None:
    """The server resets while ten megabytes are on their way to it."""
    async with faking() as server:

        async def serve(stream: trio.SocketStream) -> None:
            data = b""
            while b"tools/call" not in data and (piece := await stream.receive_some(65536)):
                data += piece
                if b"\r\n\r\n" in data and b"tools/call" not in data:
                    await answer_some(server, stream, data)
                    data = b""
            await Asked(stream, "", {}, b"").reset()

        async with listening(serve) as url, connected(url, http_limits=QUICK) as connection:
            for _ in range(2):
                params = {"name": "echo", "arguments": {"text": "x" * TEN_MB}}
                with pytest.raises(ConnectionClosed) as caught:
                    await connection.call("tools/call", params)
                assert "broke" in str(caught.value) or "clos" in str(caught.value)
            assert await connection.call("ping") == {}


async def answer_some(server: FakeServer, stream: trio.SocketStream, data: bytes) -> None:
    """Answer whatever is no tool call; `data` is one request."""
    body = data.partition(b"\r\n\r\n")[2]
    asked = Asked(stream, data.split()[0].decode(), {}, body)
    if asked.method == "POST" and asked.message["method"] == "ping":
        await asked.result({})
    else:
        await server._behave(asked)


@pytest.mark.requirement("C25-095", "C25-112", "C25-119")
async def test_the_stream_of_get_breaks_off() -> None:
    """It is come back to, from where it was, and nothing comes twice."""
    heard: list[int] = []
    peer = Peer("client", "0")

    @peer.on("notifications/message")
    async def told(connection: Connection, params: object) -> None:
        heard.append(params.data)  # type: ignore[attr-defined]

    async with faking() as server:

        @server.on("GET")
        async def stream(asked: Asked) -> None:
            n = len(server.seen("GET"))
            await asked.begin()
            params = {"level": "info", "data": n}
            await asked.event(
                json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": params}), str(n)
            )
            await until(lambda: len(heard) == n)
            if n < 6:
                await asked.reset()

        async with connected(server.url, peer, http_limits=QUICK):
            await until(lambda: len(heard) == 6)
        assert heard == [1, 2, 3, 4, 5, 6]
        last_ids = [asked.headers.get("last-event-id") for asked in server.seen("GET")]
        assert last_ids == [None, "1", "2", "3", "4", "5"]


@pytest.mark.requirement("C25-095", "C25-106", "C25-112")
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_the_stream_of_get_is_refused_for_now(status: int) -> None:
    """Too many, too early, too slow: none of it says that there is no stream, so it is asked for again."""
    async with faking() as server:
        back = trio.Event()

        @server.on("GET")
        async def stream(asked: Asked) -> None:
            count = len(server.seen("GET"))
            if count == 1:
                await asked.begin()
                await asked.event("", "s-1")
                await asked.reset()
            elif count == 2:
                await asked.answer(status)
            else:
                await asked.begin()
                back.set()
                await trio.sleep_forever()

        async with connected(server.url, http_limits=QUICK):
            with trio.move_on_after(5):
                await back.wait()
            assert back.is_set(), "it is never asked for again"


# --- answers of ours --------------------------------------------------------------------------------------------------


def clerk() -> Peer:
    """A client that answers questions."""
    peer = Peer("clerk", "0")

    @peer.elicitation
    async def answer(ctx: Context, params: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    return peer


async def test_an_answer_of_ours_is_lost_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that breaks under our answer must not leave the server waiting for it for ever.

    Answers can be sent twice: the second is a response to nothing.
    """
    answers: list[str] = []
    with caplog.at_level(logging.CRITICAL, "mcp_tasks"):
        async with faking() as server, connected(server.url, clerk(), http_limits=QUICK) as connection:
            answered = trio.Event()

            @server.on("tools/call")
            async def ask(asked: Asked) -> None:
                await asked.begin()
                params = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
                question = {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params}
                await asked.event(json.dumps(question))
                await answered.wait()
                await asked.event(asked.response({"content": [{"type": "text", "text": "thanks"}]}))
                await asked.end()

            @server.on("response")
            async def lose(asked: Asked) -> None:
                answers.append(asked.message["result"]["action"])
                if len(answers) == 1:
                    await asked.reset()
                else:
                    await asked.answer(202)
                    answered.set()

            with trio.move_on_after(5) as waited:
                result = await connection.call("tools/call", {"name": "x", "arguments": {}})
                assert text_of(result) == "thanks"
            assert not waited.cancelled_caught, "the answer was sent once, and lost"
            assert answers == ["accept", "accept"]


@pytest.mark.requirement("C25-106")
async def test_the_end_of_the_handshake_is_lost_on_its_way() -> None:
    """The server asks nothing before it has come."""
    async with faking() as server:

        @server.on("notifications/initialized")
        async def lose(asked: Asked) -> None:
            if len(server.seen("notifications/initialized")) == 1:
                await asked.reset()
            else:
                await asked.answer(202)

        async with connected(server.url, http_limits=QUICK) as connection:
            assert text_of(await connection.call("tools/call", {"name": "x", "arguments": {}})) == "fine"
            assert len(server.seen("notifications/initialized")) == 2
            assert server.handshakes == 1


async def test_everything_is_reset_in_between(make_peer: MakePeer) -> None:
    """Idle connections that are kept break unnoticed; the next call goes by another."""
    peer, _ = offering(make_peer)
    async with (
        serving(peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, http_limits=QUICK) as connection,
    ):
        for n in range(5):
            result = await connection.call("tools/call", {"name": "echo", "arguments": {"text": str(n)}})
            assert text_of(result) == str(n)
            await settled()
            await proxy.cut()
            await settled()
