"""A server that is restarted under its clients: what was in flight fails in words, what comes later recovers."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

import mcp_tasks
from mcp_tasks import (
    Connection,
    ConnectionClosed,
    Context,
    HttpClientLimits,
    HttpError,
    HttpLimits,
    HttpServer,
    MCPError,
    Peer,
    RequestFailed,
)

from ._wire import Asked, connected, faking, line_from, proxying, serving, settled, text_of, until

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(retry_seconds=0.01)


@define
class Count:
    """What the servers did."""

    begun: int = 0
    ended: int = 0
    go: trio.Event = field(factory=trio.Event)


def offering(make_peer: MakePeer, count: Count | None = None) -> Peer:
    peer = make_peer()
    count = Count() if count is None else count

    @peer.tool
    async def wait(ctx: Context, stream: bool) -> str:
        count.begun += 1
        if stream:
            await ctx.log("info", "begun")
        await count.go.wait()
        count.ended += 1
        return "waited"

    @peer.tool
    async def echo(text: str) -> str:
        return text

    return peer


async def echo(connection: Connection, text: str = "on") -> str:
    return text_of(await connection.call("tools/call", {"name": "echo", "arguments": {"text": text}}))


@define
class Failing:
    """Calls of one connection that are expected to fail."""

    connection: Connection
    said: list[MCPError] = field(factory=list)

    async def call(self, stream: bool) -> None:
        try:
            await self.connection.call("tools/call", {"name": "wait", "arguments": {"stream": stream}})
        except MCPError as error:
            self.said.append(error)
        else:
            raise AssertionError("the call was answered")


@pytest.mark.requirement("C25-129", "C25-130")
async def test_restarted(make_peer: MakePeer) -> None:
    """Cancelled and begun again on the same port, with calls in flight; three times."""
    async with trio.open_nursery() as nursery:
        count = Count()
        async with serving(offering(make_peer, count)) as server:
            url, port = server.url, server.address[1]
            connection = await nursery.start(client, url)
            failing = Failing(connection)
            nursery.start_soon(failing.call, False)
            nursery.start_soon(failing.call, True)
            await until(lambda: count.begun == 2)
        await until(lambda: len(failing.said) == 2)
        for error in failing.said:
            assert isinstance(error, (ConnectionClosed, HttpError, RequestFailed)), error
            assert re.search("session|connection|stream", str(error)), error
        with pytest.raises(ConnectionClosed, match=r"127\.0\.0\.1:\d+ cannot be reached"):
            await echo(connection)
        for n in range(3):
            async with serving(offering(make_peer), port=port) as server:
                assert await echo(connection, str(n)) == str(n)
                assert await echo(connection, "again") == "again"
        assert count.ended == 0
        nursery.cancel_scope.cancel()


async def client(url: str, *, task_status: trio.TaskStatus[Connection], **options: Any) -> None:
    async with connected(url, http_limits=QUICK, **options) as connection:
        task_status.started(connection)
        await trio.sleep_forever()


@pytest.mark.requirement("C25-112", "C25-130")
@pytest.mark.parametrize("calls", [True, False], ids=["with a call", "by itself"])
async def test_the_stream_of_get_comes_back(make_peer: MakePeer, calls: bool) -> None:
    """Whoever only listens must begin anew too: the GET that comes back gets the 404 that says so."""
    heard: list[str] = []
    listener = make_peer("listener")

    @listener.on("notifications/tools/list_changed")
    async def told(connection: Connection, params: object) -> None:
        heard.append("changed")

    async with trio.open_nursery() as nursery:
        async with serving(offering(make_peer)) as server:
            url, port = server.url, server.address[1]
            connection = await nursery.start(partial(client, url, peer=listener))
            await listens(server)
        second = offering(make_peer)
        async with serving(second, port=port) as server:
            if calls:
                await echo(connection)
            with trio.move_on_after(5):
                await listens(server)
            for each in second.connections:
                each.announce("notifications/tools/list_changed")
            await settled()
            assert heard == ["changed"]
            assert len(second.connections) == 1
            nursery.cancel_scope.cancel()


async def listens(server: HttpServer) -> None:
    """Wait until somebody listens."""
    [endpoint] = server.endpoints.values()
    await until(lambda: any(stream.attached for session in endpoint.sessions.values() for stream in session._listening))


@pytest.mark.requirement("C25-129", "C25-130")
async def test_calls_at_once_begin_one_session(make_peer: MakePeer) -> None:
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:

        @server.on("tools/call")
        async def forgetful(asked: Asked) -> None:
            if asked.headers["mcp-session-id"] == "session-1":
                await asked.answer(404)
            else:
                await asked.result({"content": [{"type": "text", "text": "fine"}]})

        done: list[str] = []

        async def call() -> None:
            done.append(text_of(await connection.call("tools/call", {"name": "x", "arguments": {}})))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
        assert done == ["fine"] * 10
        assert server.handshakes == 2
        assert len(server.seen("notifications/initialized")) == 2
        opening = server.seen("initialize")
        assert "mcp-session-id" not in opening[1].headers
        assert opening[0].message["params"] == opening[1].message["params"]
        assert len(server.seen("tools/call")) == 20


@pytest.mark.requirement("C25-130")
@pytest.mark.parametrize("failure", ["reset", "503", "deadline", "refused"])
async def test_beginning_anew_fails_at_first(failure: str) -> None:
    """The next call tries again; a session that is lost is not a connection that is lost."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:
        hanging = trio.Event()

        @server.on("tools/call")
        async def forgetful(asked: Asked) -> None:
            if asked.headers.get("mcp-session-id") == "session-1":
                await asked.answer(404)
            elif "mcp-session-id" not in asked.headers:
                await asked.answer(400, b"Mcp-Session-Id is missing")
            else:
                await asked.result({"content": [{"type": "text", "text": "fine"}]})

        @server.on("initialize")
        async def fail(asked: Asked) -> None:
            if failure == "reset":
                await asked.reset()
            elif failure == "503":
                await asked.answer(503, b"Starting")
            elif failure == "refused":
                body = b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Not now"}}'
                await asked.answer(400, body, Content_Type="application/json")
            else:
                hanging.set()
                await trio.sleep_forever()

        async def call() -> str:
            return text_of(await connection.call("tools/call", {"name": "x", "arguments": {}}))

        if failure == "deadline":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await hanging.wait()
                nursery.cancel_scope.cancel()
        else:
            with pytest.raises((ConnectionClosed, HttpError)) as caught:
                await call()
            assert "Session-Id" not in str(caught.value)
        del server.behaviours["initialize"]
        assert await call() == "fine"
        assert await call() == "fine"


@pytest.mark.requirement("C25-130")
async def test_a_server_that_forgets_every_session() -> None:
    """An error, and no endless attempts."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:

        @server.on("tools/call")
        async def forget(asked: Asked) -> None:
            await asked.answer(404, b"Never heard of it", Content_Type="text/plain")

        for n in range(2, 5):
            with pytest.raises(HttpError, match="Never heard of it"):
                await connection.call("tools/call", {"name": "x", "arguments": {}})
            assert server.handshakes == n


@pytest.mark.requirement("C25-130")
async def test_a_server_that_has_changed() -> None:
    """It comes back with another revision: what was agreed on is no longer so, and the caller learns that."""
    async with faking() as server, connected(server.url, http_limits=QUICK) as connection:

        @server.on("initialize")
        async def older(asked: Asked) -> None:
            result = {"protocolVersion": "2025-03-26", "capabilities": {}, "serverInfo": {"name": "x", "version": "0"}}
            await asked.result(result, Mcp_Session_Id="old")

        @server.on("tools/call")
        async def forget(asked: Asked) -> None:
            await asked.answer(404)

        with pytest.raises(MCPError, match="same handshake"):
            await connection.call("tools/call", {"name": "x", "arguments": {}})


async def test_a_call_that_was_being_served_is_not_served_again(
    make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that shuts down in the middle of a call, and another one that takes its place at once.

    A 404 says that a request was not served; whoever was at it must say something else.
    """
    monkeypatch.setattr("mcp_tasks.peer.connection._GRACE_SECONDS", 0.05)
    count = Count()
    async with (
        serving(offering(make_peer, count)) as first,
        serving(offering(make_peer, count)) as second,
        proxying(first) as proxy,
        connected(proxy.url, http_limits=QUICK) as connection,
    ):
        failing = Failing(connection)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failing.call, False)
            await until(lambda: count.begun == 1)
            proxy.target = second.url
            await first.aclose(grace=0)
            with trio.move_on_after(3):
                await until(lambda: count.begun == 2 or bool(failing.said))
            nursery.cancel_scope.cancel()
        assert count.begun == 1, "served twice"
        assert len(failing.said) == 1
        assert isinstance(failing.said[0], (ConnectionClosed, HttpError, RequestFailed))
        await settled()  # a kept connection that ends while it is being used again is an error of that call
        assert await echo(connection) == "on"


@pytest.mark.requirement("C25-117", "C25-121", "C25-130")
async def test_a_stream_of_a_session_that_is_gone(make_peer: MakePeer) -> None:
    """It is not looked for in the session that took its place, where other streams may have the same ids."""
    count, counted = Count(), Count()
    limits = HttpClientLimits(retry_seconds=0.3)
    async with (
        serving(offering(make_peer, count)) as first,
        serving(offering(make_peer, counted)) as second,
        proxying(first) as proxy,
        connected(proxy.url, http_limits=limits) as connection,
        trio.open_nursery() as nursery,
    ):
        failing = Failing(connection)
        for _ in range(3):
            nursery.start_soon(failing.call, True)
        await until(lambda: count.begun == 3)
        await settled()
        proxy.target = second.url
        await proxy.cut()
        # Others go on at once, in a session of their own, before the first three come back.
        results: list[str] = []

        async def call() -> None:
            result = await connection.call("tools/call", {"name": "wait", "arguments": {"stream": True}})
            results.append(text_of(result))

        for _ in range(3):
            nursery.start_soon(call)
        with trio.move_on_after(5):
            await until(lambda: counted.begun == 3 and len(failing.said) == 3)
        assert counted.begun == 3
        assert len(failing.said) == 3, "calls of the old session are still waiting"
        for error in failing.said:
            assert isinstance(error, (ConnectionClosed, HttpError))
        counted.go.set()
        with trio.move_on_after(5):
            await until(lambda: len(results) == 3)
        assert results == ["waited"] * 3
        nursery.cancel_scope.cancel()


@pytest.mark.requirement("C25-129", "C25-130")
async def test_a_session_that_expired(make_peer: MakePeer) -> None:
    """While its client was away; it does not notice."""
    peer = offering(make_peer)
    limits = HttpLimits(session_idle_seconds=0.05)
    async with serving(peer, http_limits=limits) as server:
        [endpoint] = server.endpoints.values()
        async with connected(server.url, http_limits=QUICK) as connection:
            first = connection.transport.session_id  # type: ignore[attr-defined]
            await until(lambda: bool(endpoint.sessions))
            endpoint.end_sessions("expired")
            assert await echo(connection) == "on"
            assert connection.transport.session_id not in (first, None)  # type: ignore[attr-defined]


# --- a real process ---------------------------------------------------------------------------------------------------

SERVER = """
import trio
from mcp_tasks import Context, Peer

peer = Peer("killable", "0")

@peer.tool
async def wait(ctx: Context, stream: bool) -> str:
    if stream:
        await ctx.log("info", "begun")
    else:
        print("begun", flush=True)
    await trio.sleep_forever()

@peer.tool
async def echo(text: str) -> str:
    return text
"""


@asynccontextmanager
async def process(folder: Path, port: int = 0) -> AsyncIterator[tuple[trio.Process, str]]:
    """``mcp-tasks serve --http`` as a process, and where it serves; killed in the end."""
    (folder / "killable_server.py").write_text(SERVER)
    command = [sys.executable, "-m", "mcp_tasks", "serve", "killable_server:peer", "--http", f"127.0.0.1:{port}"]
    env = {**os.environ, "PYTHONPATH": str(Path(mcp_tasks.__file__).parents[1])}
    options: dict[str, Any] = {"cwd": folder, "env": env, "stdout": -1, "stderr": -1, "check": False}
    async with trio.open_nursery() as nursery:
        running: trio.Process = await nursery.start(partial(trio.run_process, command, **options))
        try:
            yield running, (await line_from(running.stderr)).split()[-1]
        finally:
            running.kill()
            await running.wait()
            assert running.stdout is not None
            assert running.stderr is not None
            await running.stdout.aclose()
            await running.stderr.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.requirement("C25-129", "C25-130")
async def test_killed_and_started_again(tmp_path: Path) -> None:
    """SIGKILL, with calls in flight: nobody has said goodbye."""
    async with trio.open_nursery() as nursery:
        async with process(tmp_path) as (running, url):
            port = int(url.rpartition(":")[2].partition("/")[0])
            connection = await nursery.start(client, url)
            assert await echo(connection) == "on"
            failing = Failing(connection)
            nursery.start_soon(failing.call, False)
            nursery.start_soon(failing.call, True)
            assert await line_from(running.stdout) == "begun"
            running.send_signal(signal.SIGKILL)
            await running.wait()
            await until(lambda: len(failing.said) == 2)
            for error in failing.said:
                assert isinstance(error, ConnectionClosed), error
            with pytest.raises(ConnectionClosed, match="cannot be reached"):
                await echo(connection)
        async with process(tmp_path, port):
            assert await echo(connection) == "on"
            nursery.cancel_scope.cancel()
