"""How an HTTP server ends: in peace, by being cancelled, by a signal; and that several peers share one until then."""

from __future__ import annotations

import json
import os
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
from mcp_tasks import Context, HttpLimits, HttpServer, Peer, serve_http

from ._wire import TEN_MB, Script, connected, dial, line_from, scripting, serving, settled, text_of, until

MakePeer = Callable[..., Peer]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers and clients that do not end are waited for a second; these here never would."""
    monkeypatch.setattr("mcp_tasks.peer.connection._GRACE_SECONDS", 0.05)
    monkeypatch.setattr("mcp_tasks.transports.http.server._LAST_SECONDS", 0.1)


@define
class Work:
    """A tool that is told when to end."""

    begun: int = 0
    ended: list[str] = field(factory=list)
    go: trio.Event = field(factory=trio.Event)


def offering(make_peer: MakePeer, name: str = "sut") -> tuple[Peer, Work]:
    peer, work = make_peer(name), Work()

    @peer.tool(task="optional")
    async def wait(ctx: Context, stream: bool = False) -> str:
        if stream:
            await ctx.log("info", "begun")
        work.begun += 1
        try:
            await work.go.wait()
            work.ended.append("finished")
        except trio.Cancelled:
            work.ended.append("cancelled")
            raise
        return "waited"

    @peer.tool
    async def large(size: int) -> str:
        return "x" * size

    @peer.tool
    async def who() -> str:
        return name

    return peer, work


@asynccontextmanager
async def ending(peer: Peer, **options: Any) -> AsyncIterator[tuple[HttpServer, trio.Event]]:
    """A server that is to end by itself; the event says that `serve_http` has returned."""
    returned = trio.Event()

    async def serve(task_status: trio.TaskStatus[HttpServer]) -> None:
        await serve_http(peer, task_status=task_status, **options)
        returned.set()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        yield server, returned
        await returned.wait()
    assert not server.connections
    assert not any(endpoint.sessions for endpoint in server.endpoints.values())


WAIT = {"name": "wait", "arguments": {}}
WAIT_ON_A_STREAM = {"name": "wait", "arguments": {"stream": True}}


# --- in peace ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-091", "C25-098", "C25-102")
async def test_what_is_in_flight_is_answered(make_peer: MakePeer) -> None:
    peer, work = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script, trio.open_nursery() as nursery:
        plain = await script.begin("tools/call", WAIT)
        stream = await script.begin("tools/call", WAIT_ON_A_STREAM)
        await until(lambda: work.begun == 2)
        nursery.start_soon(server.aclose, 60)
        await settled()
        assert not returned.is_set()
        with pytest.raises(OSError, match="refused"):
            await dial(server.url)
        work.go.set()
        assert text_of((await plain.answer()).json["result"]) == "waited"
        await stream.head()
        assert (await stream.message())["method"] == "notifications/message"
        assert text_of((await stream.message())["result"]) == "waited"
        with pytest.raises(EOFError):
            await stream.event()
        assert work.ended == ["finished"] * 2
        await returned.wait()
        assert await plain.closed() == b""
        assert await stream.closed() == b""


async def test_new_sessions_are_refused(make_peer: MakePeer) -> None:
    """By connections that are there already; sessions that are there go on."""
    peer, work = offering(make_peer)
    async with ending(peer) as (server, _), scripting(server.url) as script, trio.open_nursery() as nursery:
        kept = await script.dial()
        going_on = await script.begin("tools/call", WAIT)
        await until(lambda: work.begun == 1 and len(server.connections) == 2)
        nursery.start_soon(server.aclose, 60)
        await settled()
        new = Script(server.url)
        hello = new.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}},
        )
        await kept.send(new.request_bytes("POST", body=json.dumps(hello).encode()))
        refused = await kept.answer()
        assert refused.status == 503
        assert "shutting down" in refused.json["error"]["message"]
        assert "mcp-session-id" not in refused.headers
        await kept.send(script.request_bytes("POST", body=json.dumps(script.request("ping")).encode()))
        assert (await kept.answer()).json["result"] == {}
        work.go.set()
        assert (await going_on.answer()).status == 200


@pytest.mark.requirement("C25-101", "C25-112")
async def test_what_is_idle_is_closed(make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept connections and streams of GET; not by running out of time."""
    monkeypatch.setattr("mcp_tasks.transports.http.server._LAST_SECONDS", 30.0)
    peer, _ = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        silent = await script.dial()
        kept = await script.begin("ping")
        await kept.answer()
        listening = [await script.listen() for _ in range(3)]
        await until(lambda: len(server.connections) == 5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose, 60)
            with trio.move_on_after(10):
                await returned.wait()
            assert returned.is_set(), f"{len(server.connections)} connections are still open"
        assert await silent.closed() == b""
        assert await kept.closed() == b""
        for line in listening:
            await line.event()
            with pytest.raises(EOFError):
                await line.event()
            assert await line.closed() == b""


async def test_a_handler_that_never_ends(make_peer: MakePeer) -> None:
    """Is cancelled when the grace is over, and whoever waits is told so."""
    peer, work = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        plain = await script.begin("tools/call", WAIT)
        stream = await script.begin("tools/call", WAIT_ON_A_STREAM)
        await until(lambda: work.begun == 2)
        await server.aclose(0.05)
        await returned.wait()
        assert work.ended == ["cancelled"] * 2
        reply = await plain.answer()
        assert "shutting down" in json.dumps(reply.json)
        await stream.closed()


@pytest.mark.parametrize("grace", [0, 0.05])
async def test_clients_that_do_not_cooperate(make_peer: MakePeer, grace: float) -> None:
    """They do not read, do not finish what they say, or say nothing: no matter."""
    peer, _ = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        stalled = {"name": "large", "arguments": {"size": 2 * TEN_MB}}
        await script.begin("tools/call", stalled, receive_buffer=4096)
        half = await script.dial()
        await half.send(script.request_bytes("POST", body=b"{" * 100)[:-50])
        quarter = await script.dial()
        await quarter.send(b"POST /mcp HTT")
        await script.dial()
        await until(lambda: any(connection.unwritten for connection in server.connections))
        await until(lambda: len(server.connections) == 4)
        await server.aclose(grace)
        await returned.wait()


async def test_closed_twice(make_peer: MakePeer) -> None:
    """At once, and once more when it is over."""
    peer, work = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        line = await script.begin("tools/call", WAIT)
        await until(lambda: work.begun == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose, 60)
            nursery.start_soon(server.aclose, 60)
            nursery.start_soon(server.wait_closed)
            await settled()
            work.go.set()
        assert (await line.answer()).status == 200
        await returned.wait()
        await server.aclose()


async def test_closing_that_is_cancelled(make_peer: MakePeer) -> None:
    """It is brought to its end all the same, within its bound."""
    peer, work = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        await script.begin("tools/call", WAIT)
        await until(lambda: work.begun == 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.aclose(0.05)
        await returned.wait()
        assert work.ended == ["cancelled"]


@pytest.mark.requirement("T25-040")
async def test_tasks_are_stopped(make_peer: MakePeer) -> None:
    """Those that run end with the server, settled; their results were waited for in vain."""
    peer, work = offering(make_peer)
    async with ending(peer) as (server, returned), scripting(server.url) as script:
        created = (await script.ask("tools/call", {**WAIT, "task": {}})).json["result"]["task"]
        waiting = await script.begin("tasks/result", {"taskId": created["taskId"]})
        await until(lambda: work.begun == 1)
        await settled()
        await server.aclose(0.05)
        await returned.wait()
        assert work.ended == ["cancelled"]
        await waiting.closed()
    [record] = peer.tasks.store.records()  # type: ignore[attr-defined]
    assert record.settled


async def test_a_peer_that_is_open_goes_on(make_peer: MakePeer) -> None:
    """Its tasks outlive this server, and are there in the next one."""
    peer, work = offering(make_peer)
    async with peer:
        async with ending(peer) as (server, returned), scripting(server.url) as script:
            created = (await script.ask("tools/call", {**WAIT, "task": {}})).json["result"]["task"]
            await until(lambda: work.begun == 1)
            await server.aclose(0)
            await returned.wait()
        assert not work.ended
        async with serving(peer) as again, scripting(again.url) as script:
            work.go.set()
            reply = await script.ask("tasks/result", {"taskId": created["taskId"]})
            assert text_of(reply.json["result"]) == "waited"


# --- at once ----------------------------------------------------------------------------------------------------------


async def test_cancelled(make_peer: MakePeer, mock_clock: object) -> None:
    """Everything ends, without any time passing: the clock of this test stands still."""
    peer, work = offering(make_peer)
    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(partial(serve_http, peer))
        script = Script(server.url)
        await script.open()
        await script.ask("tools/call", {**WAIT, "task": {}})
        script.lines.clear()
        await script.begin("tools/call", WAIT)
        await script.begin("tools/call", WAIT_ON_A_STREAM)
        await script.listen()
        await script.begin("tools/call", {"name": "large", "arguments": {"size": TEN_MB}}, receive_buffer=4096)
        half = await script.dial()
        await half.send(b"POST /mcp HTT")
        await script.dial()
        await until(lambda: work.begun == 3)
        await until(lambda: any(connection.unwritten for connection in server.connections))
        nursery.cancel_scope.cancel()
    assert work.ended == ["cancelled"] * 3
    assert not server.connections
    for line in script.lines:
        await line.closed()
    await script.aclose()


async def test_cancelled_while_it_closes(make_peer: MakePeer) -> None:
    peer, work = offering(make_peer)
    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(partial(serve_http, peer))
        script = Script(server.url)
        await script.open()
        line = await script.begin("tools/call", WAIT)
        await until(lambda: work.begun == 1)
        async with trio.open_nursery() as closing:
            closing.start_soon(server.aclose, 0.2)
            await settled()
            nursery.cancel_scope.cancel()
    assert work.ended == ["cancelled"]
    await line.closed()
    await script.aclose()


async def test_a_port_that_is_taken(make_peer: MakePeer) -> None:
    first, _ = offering(make_peer)
    second, _ = offering(make_peer)
    async with serving(first) as server:
        with pytest.raises(OSError, match="in use"):
            await serve_http(second, port=server.address[1])
        assert second.home is None


# --- by a signal ------------------------------------------------------------------------------------------------------

MODULE = """
import trio
from mcp_tasks import Peer

peer = Peer("signalled", "0")

@peer.tool
async def wait(seconds: float) -> str:
    print("begun", flush=True)
    try:
        await trio.sleep(seconds)
    finally:
        print("ended", flush=True)
    return "waited"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "times"), [("SIGTERM", 1), ("SIGINT", 1), ("SIGTERM", 2)])
async def test_a_signal(tmp_path: Path, number: str, times: int) -> None:
    """One lets what is in flight be answered; a second does not wait for that."""
    (tmp_path / "signalled.py").write_text(MODULE)
    command = [sys.executable, "-m", "mcp_tasks", "serve", "signalled:peer", "--http", "127.0.0.1:0"]
    env = {**os.environ, "PYTHONPATH": str(Path(mcp_tasks.__file__).parents[1])}
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, cwd=tmp_path, env=env, stdout=-1, stderr=-1, check=False)
        process: trio.Process = await nursery.start(run)
        assert process.stderr is not None
        assert process.stdout is not None
        try:
            url = (await line_from(process.stderr)).split()[-1]
            async with scripting(url) as script:
                await script.listen()
                seconds = 0.3 if times == 1 else 1e6
                line = await script.begin("tools/call", {"name": "wait", "arguments": {"seconds": seconds}})
                assert await line_from(process.stdout) == "begun"
                for _ in range(times):
                    process.send_signal(getattr(signal, number))
                    await closed_for_new_ones(script.url)
                if times == 1:
                    assert text_of((await line.answer()).json["result"]) == "waited"
                assert await process.wait() == 128 + getattr(signal, number)
                assert await line_from(process.stdout) == "ended"
                assert await process.stderr.receive_some() == b""
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.stdout.aclose()
            await process.stderr.aclose()


async def closed_for_new_ones(url: str) -> None:
    """Wait until nothing listens there."""
    while True:
        try:
            line = await dial(url)
        except OSError:
            return
        await line.aclose()


# --- several peers ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-079", "C25-129")
async def test_several_paths(make_peer: MakePeer) -> None:
    one, _ = offering(make_peer, "one")
    two, _ = offering(make_peer, "two")
    async with serving({"/one": one, "/deep/two": two, "/again": one}, http_limits=HttpLimits()) as server:
        base = server.url.removesuffix("/one")
        assert base.count("/") == 2
        names = {}
        for path in ("/one", "/deep/two", "/again", "/one?x=/deep/two"):
            async with connected(base + path) as connection:
                assert connection.their_info is not None
                names[path] = text_of(await connection.call("tools/call", {"name": "who", "arguments": {}}))
                assert connection.their_info.name == names[path]
        assert names == {"/one": "one", "/deep/two": "two", "/again": "one", "/one?x=/deep/two": "one"}
        await until(lambda: not server.connections)

        async with scripting(base + "/one") as script:
            for path in ("/deep/two", "/again", "/", "/one/", "/ONE", "/on", "/nowhere", "//one", "/%6fne"):
                elsewhere = Script(base + path)
                elsewhere.session_id = script.session_id
                reply = await elsewhere.ask("ping")
                assert reply.status == 404, path
                await elsewhere.aclose()
            assert (await script.ask("ping")).status == 200
            line = await script.dial()
            body = json.dumps(script.request("ping")).encode()
            for path, status in (("/one", 200), ("/deep/two", 404), ("/nowhere", 404), ("/one", 200)):
                wanted = script.request_bytes("POST", body=body).replace(b"POST /one ", f"POST {path} ".encode())
                await line.send(wanted)
                assert (await line.answer()).status == status


@pytest.mark.requirement("C25-079")
async def test_tasks_of_one_peer_under_two_paths(make_peer: MakePeer) -> None:
    """Sessions belong to a path, tasks to the peer."""
    one, work = offering(make_peer, "one")
    two, _ = offering(make_peer, "two")
    async with serving({"/a": one, "/b": one, "/c": two}) as server:
        base = server.url.removesuffix("/a")
        async with (
            scripting(base + "/a") as first,
            scripting(base + "/b") as second,
            scripting(base + "/c") as third,
        ):
            created = (await first.ask("tools/call", {**WAIT, "task": {}})).json["result"]["task"]
            id = {"taskId": created["taskId"]}
            assert (await second.ask("tasks/get", id)).json["result"]["status"] == "working"
            assert "error" in (await third.ask("tasks/get", id)).json
            work.go.set()
            assert text_of((await second.ask("tasks/result", id)).json["result"]) == "waited"


async def test_all_of_them_are_closed(make_peer: MakePeer) -> None:
    one, first = offering(make_peer, "one")
    two, second = offering(make_peer, "two")
    returned = trio.Event()

    async def serve(task_status: trio.TaskStatus[HttpServer]) -> None:
        await serve_http({"/one": one, "/two": two}, task_status=task_status)
        returned.set()

    async with trio.open_nursery() as nursery:
        server: HttpServer = await nursery.start(serve)
        base = server.url.removesuffix("/one")
        async with scripting(base + "/one") as script, scripting(base + "/two") as other:
            lines = [await each.begin("tools/call", WAIT) for each in (script, other)]
            await until(lambda: first.begun == second.begun == 1)
            nursery.start_soon(server.aclose, 60)
            await settled()
            first.go.set()
            assert (await lines[0].answer()).status == 200
            await settled()
            assert not returned.is_set()  # it waits for both
            second.go.set()
            assert (await lines[1].answer()).status == 200
            await returned.wait()
    assert one.home is None
    assert two.home is None
