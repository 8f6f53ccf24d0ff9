"""Revision 2026-07-28 over real sockets: both eras side by side, tasks that are told of, and whoever goes away."""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from attrs import define, field
from trio.testing import MockClock

import mcp_tasks
from mcp_tasks import (
    Connection,
    ConnectionClosed,
    Context,
    Elicit,
    HttpClientLimits,
    HttpError,
    HttpLimits,
    Limits,
    MemoryTaskStore,
    Peer,
    Room,
    TaskRecord,
    TaskState,
    open_http,
)
from mcp_tasks.wire.client_features import ElicitFormParams

from ._wire import (
    ACCEPT,
    JSON,
    Line,
    connected,
    dial,
    line_from,
    proxying,
    request_bytes,
    scripting,
    serving,
    settled,
    text_of,
    thaw,
    until,
)

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
META = {
    "io.modelcontextprotocol/protocolVersion": NEW,
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}},
}
CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
SELDOM = Limits(poll_interval_ms=60_000)  # so that nothing here comes of asking
PATIENCE = 30  # seconds that no test needs


@define
class Work:
    """What the server's tools are at."""

    begun: int = 0
    ended: int = 0
    go: trio.Event = field(factory=trio.Event)


def offering(peer: Peer, work: Work | None = None) -> Peer:
    work = Work() if work is None else work

    @peer.tool
    async def echo(text: str) -> str:
        return text

    @peer.tool
    async def wait(ctx: Context, stream: bool = False) -> str:
        work.begun += 1
        try:
            if stream:
                await ctx.progress(1)
            await work.go.wait()
        finally:
            work.ended += 1
        return "waited"

    @peer.tool(task="required")
    async def greet(ctx: Context) -> str:
        work.begun += 1
        try:
            answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
            await ctx.report("greeting")
            await work.go.wait()
        finally:
            work.ended += 1
        return f"hi {answer.content['name']}"

    return peer


def with_user(peer: Peer) -> Peer:
    @peer.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        return {"name": "Ada"}

    return peer


@asynccontextmanager
async def joined(url: str, peer: Peer, **options: Any) -> AsyncIterator[Connection]:
    """Our client, which finds out by itself what is spoken."""
    async with open_http(url, trust_env=False, **options) as transport, peer.connect(transport) as connection:
        assert connection.revision == NEW
        try:
            yield connection
        finally:
            thaw()


async def echo(connection: Connection, text: str = "on") -> str:
    return text_of(await connection.call("tools/call", {"name": "echo", "arguments": {"text": text}}))


def posted(method: str, id: Any = 1, **params: Any) -> bytes:
    """The bytes of a request that stands for itself."""
    body = {"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": META, **params}}
    named = params.get("name", params.get("uri", params.get("taskId")))
    headers = [ACCEPT, JSON, ("MCP-Protocol-Version", NEW), ("Mcp-Method", method)]
    headers += [("Mcp-Name", named)] if isinstance(named, str) else []
    return request_bytes("POST", "/mcp", headers, json.dumps(body).encode())


@asynccontextmanager
async def posting(url: str, method: str, id: Any = 1, **params: Any) -> AsyncIterator[Line]:
    """A request by hand; its connection is closed in the end."""
    options = {name: params.pop(name) for name in ("receive_buffer", "ssl_context") if name in params}
    line = await dial(url, **options)
    try:
        await line.send(posted(method, id, **params))
        yield line
    finally:
        await line.aclose()


# --- side by side -----------------------------------------------------------------------------------------------------


@requirement("C26-093", "C26-099", "C26-100", "C26-101", "C26-032")
async def test_both_eras_at_once(make_peer: MakePeer) -> None:
    """One server, twenty clients: ten with sessions, ten without, and scripts that use the same ids."""
    server_peer = offering(make_peer())
    done: list[str] = []

    async def old(n: int) -> None:
        async with connected(server.url) as connection:
            assert connection.revision == "2025-11-25"
            done.extend([await echo(connection, f"old {n} {m}") for m in range(5)])

    async def new(n: int) -> None:
        async with joined(server.url, Peer("new", "0")) as connection:
            done.extend([await echo(connection, f"new {n} {m}") for m in range(5)])

    async def raw(n: int) -> None:
        for m in range(5):
            async with posting(server.url, "tools/call", name="echo", arguments={"text": f"raw {n} {m}"}) as line:
                reply = await line.answer()
            assert (reply.status, reply.json["id"]) == (200, 1)
            assert "mcp-session-id" not in reply.headers
            done.append(text_of(reply.json["result"]))

    async def script(n: int) -> None:
        async with scripting(server.url) as one:
            for m in range(5):
                done.append(text_of(await one.tool("echo", text=f"script {n} {m}")))

    async with serving(server_peer) as server:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for n in range(10):
                    for kind in (old, new, raw, script):
                        nursery.start_soon(kind, n)
        assert sorted(done) == sorted(
            f"{kind} {n} {m}" for kind in ("old", "new", "raw", "script") for n in range(10) for m in range(5)
        )
        [endpoint] = server.endpoints.values()
        assert len(endpoint.carriers) == 1


@requirement("C26-100", "C26-213", "C26-164")
async def test_a_session_is_none_of_their_business(make_peer: MakePeer) -> None:
    """It ends, and those without one go on."""
    work = Work()
    async with (
        serving(offering(make_peer(), work)) as server,
        scripting(server.url) as script,
        joined(server.url, make_peer()) as connection,
        trio.open_nursery() as nursery,
    ):
        found: list[str] = []

        async def call() -> None:
            found.append(text_of(await connection.call("tools/call", {"name": "wait", "arguments": {"stream": True}})))

        nursery.start_soon(call)
        await until(lambda: work.begun == 1)
        assert (await script.delete()).status == 204
        assert (await script.ask("ping")).status == 404
        assert await echo(connection) == "on"
        work.go.set()
        await until(lambda: found)
        assert found == ["waited"]


# --- tasks ------------------------------------------------------------------------------------------------------------


@requirement("X26-009", "X26-090", "X26-094", "X26-095", "X26-102", "X26-063", "X26-031")
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_task_from_end_to_end(make_peer: MakePeer, secure: bool) -> None:
    """Made, told of, asked something, answered, and over: at a minute between polls, all of it comes by itself."""
    work = Work()
    server_peer, client_peer = offering(make_peer(limits=SELDOM), work), with_user(make_peer("client"))
    told: list[tuple[str, str | None]] = []

    @client_peer.on("notifications/tasks")
    async def tell(connection: object, changed: Any) -> None:
        told.append((changed.status.value, changed.status_message or None))
        if changed.status_message == "greeting":
            work.go.set()

    authority = trustme.CA()
    serves = {"ssl_context": server_context(authority)} if secure else {}
    asks = {"ssl_context": client_context(authority)} if secure else {}
    async with serving(server_peer, **serves) as server:
        assert server.url.startswith("https:" if secure else "http:")
        async with joined(server.url, client_peer, **asks) as connection:
            assert (await connection.call_tool("greet")).text == "hi Ada"
        statuses = [status for status, _ in told]
        assert statuses[-1] == "completed"
        assert "input_required" in statuses
        assert ("working", "greeting") in told
        await until(lambda: not server_peer.subscriptions)
    assert (work.begun, work.ended) == (1, 1)


@requirement("X26-080", "X26-088", "C26-221")
async def test_a_task_that_is_given_up(make_peer: MakePeer) -> None:
    work = Work()
    server_peer, client_peer = offering(make_peer(limits=SELDOM), work), with_user(make_peer("client"))
    greeting = trio.Event()

    @client_peer.on("notifications/tasks")
    async def tell(connection: object, changed: Any) -> None:
        if changed.status_message == "greeting":
            greeting.set()

    async with serving(server_peer) as server, joined(server.url, client_peer) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.call_tool, "greet")
            await greeting.wait()
            nursery.cancel_scope.cancel()
        await until(lambda: work.ended == 1)
        await until(lambda: not server_peer.subscriptions)
        assert await echo(connection) == "on"
        [record] = records(server_peer)
        assert record.state is TaskState.STOPPED


def records(peer: Peer) -> list[TaskRecord]:
    store = peer.tasks.store
    assert isinstance(store, MemoryTaskStore)
    return list(store.records())


@requirement("C26-165", "C26-221", "C26-233")
@pytest.mark.parametrize("whole", [True, False], ids=["a store that cannot be stopped", "one that can"])
@pytest.mark.parametrize("resets", [True, False], ids=["reset", "closed"])
async def test_a_client_that_is_gone_before_the_handle(make_peer: MakePeer, resets: bool, whole: bool) -> None:
    """Nobody will ever know of the task: it is stopped, or never made."""
    entered, go_on = trio.Event(), trio.Event()

    class Slow(MemoryTaskStore):
        async def create(self, record: TaskRecord, room: Room | None = None) -> None:
            with trio.CancelScope(shield=whole):
                entered.set()
                await go_on.wait()
                await super().create(record, room)

    work = Work()
    server_peer = offering(make_peer(store=Slow()), work)
    async with serving(server_peer) as server:
        line = await dial(server.url)
        await line.send(posted("tools/call", name="greet", arguments={}))
        await entered.wait()
        await (line.reset() if resets else line.aclose())
        await until(lambda: not server.connections)
        await settled()
        go_on.set()
        await settled()
        assert [record.state for record in records(server_peer)] == ([TaskState.STOPPED] if whole else [])
        assert work.begun == work.ended
        async with posting(server.url, "tools/call", name="echo", arguments={"text": "on"}) as other:
            assert text_of((await other.answer()).json["result"]) == "on"


@requirement("C26-165", "C26-166", "C26-221")
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["reset", "close", "our client"])
async def test_work_whose_client_is_gone_is_cancelled(make_peer: MakePeer, how: str, stream: bool) -> None:
    work = Work()
    server_peer = offering(make_peer(), work)
    arguments = {"stream": stream}
    async with serving(server_peer) as server:
        if how == "our client":
            async with joined(server.url, make_peer("client")) as connection, trio.open_nursery() as nursery:
                params = {"name": "wait", "arguments": arguments}
                nursery.start_soon(partial(connection.call, "tools/call", params, on_progress=lambda _: None))
                await until(lambda: work.begun == 1)
                await settled()
                nursery.cancel_scope.cancel()
        else:
            meta = {**META, "progressToken": "p"}
            line = await dial(server.url)
            await line.send(posted("tools/call", name="wait", arguments=arguments, _meta=meta))
            await until(lambda: work.begun == 1)
            if stream:
                await line.head()
                assert (await line.message())["method"] == "notifications/progress"
            await (line.reset() if how == "reset" else line.aclose())
        await until(lambda: work.ended == 1)
        assert not work.go.is_set()


# --- subscriptions ----------------------------------------------------------------------------------------------------


@define
class Ear:
    """Listens to one server until the test is over, whatever becomes of that."""

    url: str
    peer: Peer
    heard: list[str] = field(factory=list)
    connection: Connection | None = None
    working: Callable[[], bool] = lambda: False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        limits = HttpClientLimits(connect_seconds=5)
        async with (
            joined(self.url, self.peer, http_limits=limits) as self.connection,
            self.connection.listen(tools=True) as listening,
        ):
            self.working = lambda: listening.working
            task_status.started()
            async for told in listening:
                self.heard.append(told.method)


def change(peer: Peer, name: str) -> None:
    @peer.tool(name=name)
    async def tool() -> str:
        return ""


@requirement("C26-070", "C26-133", "C26-291", "C26-293", "C26-311")
@pytest.mark.parametrize("graceful", [True, False], ids=["shut down", "cancelled"])
async def test_a_server_that_goes_and_comes_back_is_listened_to_again(make_peer: MakePeer, graceful: bool) -> None:
    async with trio.open_nursery() as nursery:
        first = offering(make_peer())
        async with serving(first) as server:
            ear, port = Ear(server.url, make_peer("ear")), server.address[1]
            await nursery.start(ear.run)
            change(first, "one")
            await until(lambda: ear.heard == [CHANGED])
            if graceful:
                await server.aclose(grace=1)
        await until(lambda: not ear.working())
        assert ear.connection is not None
        with pytest.raises((ConnectionClosed, HttpError)):
            await echo(ear.connection)
        for n in range(2):
            again = offering(make_peer(f"again {n}"))
            async with serving(again, port=port):
                with trio.fail_after(PATIENCE):
                    await until(lambda: ear.working())
                assert await echo(ear.connection) == "on"
                change(again, "two")
                await until(lambda n=n: len(ear.heard) == n + 2)
        assert ear.heard == [CHANGED] * 3
        nursery.cancel_scope.cancel()


@requirement("C26-070", "C26-164", "C26-291")
@pytest.mark.parametrize("resets", [True, False], ids=["reset", "closed"])
async def test_a_line_that_is_cut_is_laid_again(make_peer: MakePeer, resets: bool) -> None:
    server_peer = offering(make_peer())
    async with (
        serving(server_peer) as server,
        proxying(server, resets=resets) as proxy,
        trio.open_nursery() as nursery,
    ):
        ear = Ear(proxy.url, make_peer("ear"))
        await nursery.start(ear.run)
        for n in range(3):
            change(server_peer, f"tool-{n}")
            await until(lambda n=n: len(ear.heard) == n + 1)
            [subscription] = server_peer.subscriptions
            await proxy.cut()
            await until(lambda one=subscription: one not in server_peer.subscriptions)
            with trio.fail_after(PATIENCE):
                await until(lambda: len(server_peer.subscriptions) == 1 and ear.working())
        assert len(server_peer.connections) == 1
        nursery.cancel_scope.cancel()


@requirement("C26-219", "C26-289", "C26-290", "C26-064", "C26-161", "C26-213")
async def test_a_subscription_by_hand(make_peer: MakePeer) -> None:
    """On the wire: first what will be told, then changes, at the end the answer, and then nothing."""
    server_peer = offering(make_peer())
    async with (
        serving(server_peer) as server,
        posting(server.url, "subscriptions/listen", "sub", notifications={"toolsListChanged": True}) as line,
    ):
        head = await line.head()
        assert (head.status, head.kind) == (200, "text/event-stream")
        assert head.headers["x-accel-buffering"] == "no"
        assert "mcp-session-id" not in head.headers
        first = await line.event()
        assert first.id is first.retry is None
        assert first.message["method"] == "notifications/subscriptions/acknowledged"
        change(server_peer, "one")
        assert (await line.message())["method"] == CHANGED
        await server.aclose(grace=1)
        last = await line.message()
        assert last["id"] == "sub"
        assert last["result"]["resultType"] == "complete"
        assert last["result"]["_meta"][SUBSCRIPTION] == "sub"
        with pytest.raises(EOFError):
            await line.event()


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    """A clock that stands still."""
    return mock_clock


async def test_one_that_reads_its_subscription_slowly(make_peer: MakePeer, clock: MockClock) -> None:
    """What waits for it is bounded, others are served and told, and in the end it is told how everything is by then."""
    limit = 100_000
    peer = offering(make_peer(limits=Limits(backlog_bytes=limit)))
    uris = [f"note:{n:03}-{'x' * 2000}" for n in range(500)]
    for uri in uris:
        peer.resource(uri)(lambda: "x")
    heard: list[str] = []
    quick_peer = make_peer("quick")

    @quick_peer.on(UPDATED)
    async def hear(connection: object, params: Any) -> None:
        heard.append(params.uri)

    async with (
        serving(peer) as server,
        joined(server.url, quick_peer) as quick,
        quick.listen(uris=[uris[0]]),
        posting(
            server.url, "subscriptions/listen", notifications={"resourceSubscriptions": uris}, receive_buffer=4096
        ) as line,
    ):
        await line.head()
        await line.message()
        rounds = 0
        slow = next(one for one in peer.subscriptions if len(one.topics.uris) > 1)
        while not slow._missed:
            rounds += 1
            assert rounds < 100, "the kernel takes everything"
            for uri in uris:
                await peer.resource_updated(uri)
            await settled()
        for _ in range(3):
            for uri in uris:
                await peer.resource_updated(uri)
        await settled()
        assert sum(connection.unwritten for connection in server.connections) < limit + 100_000
        assert len(slow._missed) <= len(uris)
        assert await echo(quick) == "on"
        await until(lambda: len(heard) == rounds + 3)
        seen: dict[str, int] = dict.fromkeys(uris, 0)
        while slow._missed or any(connection.unwritten for connection in server.connections):
            seen[(await line.message())["params"]["uri"]] += 1
        assert sum(seen.values()) < (rounds + 3) * len(uris), "not each of them"
        await peer.resource_updated(uris[-1])
        while (said := await line.message())["params"]["uri"] != uris[-1]:
            seen[said["params"]["uri"]] += 1
        assert min(seen.values()) >= rounds - 1


async def test_one_that_never_reads_its_subscription(make_peer: MakePeer, clock: MockClock) -> None:
    """It is let go, and forgotten."""
    peer = offering(make_peer(limits=Limits(backlog_bytes=100_000)))
    uris = [f"note:{n:03}-{'x' * 2000}" for n in range(500)]
    for uri in uris:
        peer.resource(uri)(lambda: "x")
    async with (
        serving(peer, http_limits=HttpLimits(stall_seconds=60)) as server,
        posting(server.url, "subscriptions/listen", notifications={"resourceSubscriptions": uris}, receive_buffer=4096),
    ):
        await until(lambda: peer.subscriptions)
        [slow] = peer.subscriptions
        while not slow._missed:
            for uri in uris:
                await peer.resource_updated(uri)
            await settled()
        clock.jump(70)
        await until(lambda: not server.connections)
        await until(lambda: not peer.subscriptions)
        async with posting(server.url, "tools/call", name="echo", arguments={"text": "on"}) as other:
            assert text_of((await other.answer()).json["result"]) == "on"


@requirement("C26-162")
async def test_a_quiet_subscription_stays(make_peer: MakePeer, clock: MockClock) -> None:
    """With a comment now and then, and with nobody dropping it."""
    peer = offering(make_peer())
    async with (
        serving(peer, http_limits=HttpLimits(idle_seconds=75, stall_seconds=60, session_idle_seconds=100)) as server,
        posting(server.url, "subscriptions/listen", notifications={"toolsListChanged": True}) as line,
    ):
        await line.head()
        await line.message()
        before = len(line.raw)
        for _ in range(40):
            clock.jump(15)
            await settled()
        change(peer, "late")
        assert (await line.message())["method"] == CHANGED
        assert line.raw[before:].count(b"\n:") >= 20, "comments"


# --- TLS --------------------------------------------------------------------------------------------------------------


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# --- a real process ---------------------------------------------------------------------------------------------------

SERVER = """
from mcp_tasks import Context, Peer

peer = Peer("killable", "0")

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
@requirement("C26-070", "C26-131", "C26-133", "C26-291")
async def test_killed_midway_and_started_again(make_peer: MakePeer, tmp_path: Path) -> None:
    """SIGKILL, in the midst of a subscription: nobody has said goodbye."""
    async with trio.open_nursery() as nursery:
        async with process(tmp_path) as (running, url):
            port = int(url.rpartition(":")[2].partition("/")[0])
            ear = Ear(url, make_peer("ear"))
            await nursery.start(ear.run)
            running.send_signal(signal.SIGKILL)
            await running.wait()
            await until(lambda: not ear.working())
            assert ear.connection is not None
            with pytest.raises(ConnectionClosed, match="cannot be reached"):
                await echo(ear.connection)
        async with process(tmp_path, port):
            with trio.fail_after(PATIENCE):
                await until(lambda: ear.working())
            assert await echo(ear.connection) == "on"
            nursery.cancel_scope.cancel()
