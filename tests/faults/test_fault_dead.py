"""The other side is dead, or half dead: servers that never answer, or are not there; clients that only listen."""

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
    Peer,
    RemoteProtocolError,
    open_http,
)

from ._wire import (
    Asked,
    connected,
    endpoint_of,
    faking,
    listening,
    scripting,
    serving,
    settled,
    text_of,
    until,
)

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(
    retry_seconds=0.01,
    listen_seconds=0.2,
    close_seconds=0.05,
    notify_seconds=0.05,
    connect_seconds=0.2,
    resume_attempts=3,
)


async def connect(url: str) -> None:
    async with connected(url, http_limits=QUICK):
        raise AssertionError("there is nobody")


# --- servers ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-104")
async def test_a_call_that_is_never_answered() -> None:
    """The caller's deadline ends it: the POST is closed, the server is told, and others go on."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:
        closed = trio.Event()

        @server.on("tools/call")
        async def never(asked: Asked) -> None:
            assert await asked.stream.receive_some(100) == b""
            closed.set()

        with trio.move_on_after(0.05) as waited:
            await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert waited.cancelled_caught
        await closed.wait()
        await until(lambda: server.seen("notifications/cancelled"))
        [call], [told] = server.seen("tools/call"), server.seen("notifications/cancelled")
        assert told.message["params"]["requestId"] == call.message["id"]
        assert told.headers["mcp-session-id"] == "session-1"
        assert await connection.call("ping") == {"content": [{"type": "text", "text": "fine"}]}


@pytest.mark.requirement("C25-104")
async def test_a_call_that_is_cancelled_while_its_stream_is_come_back_to() -> None:
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:
        came_back = trio.Event()

        @server.on("tools/call")
        async def cut(asked: Asked) -> None:
            await asked.begin()
            await asked.event("", "s-1")
            await asked.end()

        @server.on("GET")
        async def hang(asked: Asked) -> None:
            if "last-event-id" not in asked.headers:
                await asked.answer(405)
                return
            came_back.set()
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.call, "tools/call", {"name": "x", "arguments": {}})
            await came_back.wait()
            nursery.cancel_scope.cancel()
        await until(lambda: server.seen("notifications/cancelled"))


@pytest.mark.requirement("C25-104")
async def test_our_server_stops_what_the_client_no_longer_waits_for(make_peer: MakePeer) -> None:
    peer = make_peer()
    ended: list[str] = []

    @peer.tool
    async def work(ctx: Context, stream: bool) -> str:
        if stream:
            await ctx.log("info", "begun")
        try:
            await trio.sleep_forever()
        finally:
            ended.append("ended")
        raise AssertionError

    async with serving(peer) as server, connected(server.url, http_limits=QUICK) as connection:
        for stream in (False, True):
            with trio.move_on_after(0.1):
                await connection.call("tools/call", {"name": "work", "arguments": {"stream": stream}})
        await until(lambda: len(ended) == 2)
        assert endpoint_of(server).sessions
        assert await connection.call("ping") == {}


async def test_a_server_that_accepts_and_never_answers() -> None:
    """The handshake has the caller's deadline; leaving is bounded too."""
    accepted = trio.Event()
    ended = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        accepted.set()
        async with stream:
            while await stream.receive_some(1000):
                pass
        ended.set()

    async with listening(silent) as url:
        with trio.move_on_after(0.1) as waited:
            await connect(url)
        assert waited.cancelled_caught
        await accepted.wait()
        await ended.wait()


async def test_a_server_that_dies_silently_after_the_handshake() -> None:
    """Whatever is left to say when the connection is closed, the end of the session included, is bounded."""
    async with faking() as server:
        dead = trio.Event()

        async def die(asked: Asked) -> None:
            dead.set()
            await trio.sleep_forever()

        async with connected(server.url, http_limits=QUICK) as connection:
            await until(lambda: server.seen("GET"))
            for key in ("DELETE", "GET", "tools/call", "notifications/cancelled"):
                server.behaviours[key] = die
            with trio.move_on_after(0.05):
                await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert dead.is_set()
        assert server.seen("DELETE")


async def test_nobody_listens() -> None:
    """ECONNREFUSED, in words, with the address; for the handshake as for anything later."""
    async with faking() as server:
        url = server.url
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match=r"127\.0\.0\.1:\d+ cannot be reached: .*refused"):
            await connect(url)


async def test_a_server_that_goes_away_between_calls() -> None:
    """Listening socket and connections; a call then fails, the next fails, and the connection is not closed by it."""
    async with trio.open_nursery() as nursery:
        async with faking() as server:
            connection = await nursery.start(stay_connected, server.url)
            await connection.call("ping")
        for _ in range(3):
            with pytest.raises(ConnectionClosed, match="cannot be reached"):
                await connection.call("ping")
        assert not connection.closed
        nursery.cancel_scope.cancel()


async def stay_connected(url: str, *, task_status: trio.TaskStatus[Any]) -> None:
    async with connected(url, http_limits=QUICK) as connection:
        task_status.started(connection)
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "127.0.0.1"], ids=["a name that does not exist", "a port that nobody has"]
)
async def test_nobody_is_there(host: str) -> None:
    with pytest.raises(ConnectionClosed) as caught:
        await connect(f"http://{host}:1/mcp")
    assert f"{host}:1 cannot be reached" in str(caught.value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"220 mail.example.org ESMTP\r\n\r\n", "does not speak HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "does not speak HTTP|closed"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<hi>", "text/html"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n<hi>", "no response"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nNothing", "404: Nothing"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nGone", "502: Gone"),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "202"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "204"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", "302"),
        (
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
            "origin",
        ),
    ],
    ids=["mail", "tls", "nothing", "page", "page as json", "404", "502", "202", "204", "302", "307"],
)
async def test_something_else_is_there(said: bytes, expected: str) -> None:
    """A clear error, whatever it is."""

    async def other(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"initialize" not in data and (piece := await stream.receive_some(65536)):
                data += piece
            await stream.send_all(said)

    async with listening(other) as url:
        with pytest.raises((ConnectionClosed, RemoteProtocolError, HttpError), match=expected):
            await connect(url)


async def test_informational_answers_without_end() -> None:
    """Are passed over for as long as the caller waits."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:
        stopped = trio.Event()

        @server.on("tools/call")
        async def hints(asked: Asked) -> None:
            try:
                while True:
                    await asked.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100)
            except trio.BrokenResourceError:
                stopped.set()

        with trio.move_on_after(0.1) as waited:
            await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert waited.cancelled_caught
        await stopped.wait()


async def test_redirects_without_end() -> None:
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:

        @server.on("tools/call")
        async def elsewhere(asked: Asked) -> None:
            await asked.answer(307, Location="/mcp")

        with pytest.raises(HttpError, match="307"):
            await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert len(server.seen("tools/call")) < 10


async def test_cancelled_while_it_connects() -> None:
    """By whoever opens it: nothing is left, and the cancellation is theirs."""

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(1)
            await trio.sleep_forever()

    async with listening(silent) as url:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect, url)
                await settled()
                scope.cancel()
        assert scope.cancelled_caught


async def test_a_transport_that_is_never_connected() -> None:
    async with open_http("http://127.0.0.1:1/mcp", trust_env=False) as transport:
        assert transport.session_id is None


# --- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-091")
async def test_a_client_that_has_said_all_it_will(make_peer: MakePeer) -> None:
    """It shuts its sending down after the request, and still reads its answer."""
    peer = make_peer()
    begun, go = trio.Event(), trio.Event()

    @peer.tool
    async def wait() -> str:
        begun.set()
        await go.wait()
        return "waited"

    async with serving(peer) as server, scripting(server.url) as script:
        line = await script.begin("tools/call", {"name": "wait", "arguments": {}})
        await line.send_eof()
        await begun.wait()
        await settled()
        go.set()
        assert text_of((await line.answer()).json["result"]) == "waited"
        assert await line.closed() == b""
        await until(lambda: not server.connections)
        line = await script.begin("ping")
        await line.send_eof()
        assert (await line.answer()).json["result"] == {}
        assert await line.closed() == b""
        await until(lambda: not server.connections)


@pytest.mark.requirement("C25-103")
async def test_a_client_that_has_half_left_a_stream(make_peer: MakePeer) -> None:
    """Whatever the server makes of that, the answer can be had, and nothing is cancelled."""
    peer = make_peer()
    go = trio.Event()

    @peer.tool
    async def wait(ctx: Context) -> str:
        await ctx.progress(1)
        await go.wait()
        return "waited"

    async with serving(peer) as server, scripting(server.url) as script:
        params = {"name": "wait", "arguments": {}, "_meta": {"progressToken": "p"}}
        line = await script.begin("tools/call", params)
        await line.head()
        first = await line.event()
        assert (await line.message())["params"]["progress"] == 1
        await line.send_eof()
        await settled()
        go.set()
        ended = await line.closed()
        if b"waited" not in ended:
            again = await script.listen(first.id)
            assert (await again.message())["params"]["progress"] == 1
            assert text_of((await again.message())["result"]) == "waited"


async def test_a_client_that_half_closes_before_its_request_is_whole(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with serving(peer) as server, scripting(server.url) as script:
        body = json.dumps(script.request("ping")).encode()
        for cut in (10, len(body)):
            line = await script.dial()
            await line.send(script.request_bytes("POST", body=body)[:-cut])
            await line.send_eof()
            await line.closed()
            await until(lambda: not server.connections)


async def test_a_client_that_connects_and_leaves(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with serving(peer) as server, scripting(server.url) as script:
        for leave in ("eof", "close", "reset"):
            line = await script.dial()
            await until(lambda: server.connections)
            if leave == "eof":
                await line.send_eof()
                assert await line.closed() == b""
            await (line.reset() if leave == "reset" else line.aclose())
            await until(lambda: not server.connections)
