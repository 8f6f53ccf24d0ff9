"""What a review by a fresh pair of eyes has found in serving, each finding as a test named after what must hold."""

import contextvars
import os
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import ConnectionClosed, Context, InvalidParams, Limits, Peer, RequestFailed
from mcp_tasks.tasks.model import TaskRecord
from mcp_tasks.tasks.store import MemoryTaskStore, Room
from mcp_tasks.testing import Remote, check_leaks, peer_pair, scripted
from mcp_tasks.transports.lines import LineTransport
from mcp_tasks.transports.memory import MemoryPipe, MemoryReader, memory_transport_pair

MakePeer = Callable[..., Peer]

NO_UTF8 = "no file " + os.fsdecode(b"\xff")  # as the name of a file may be; it holds a lone surrogate


async def create(remote: Remote, name: str, **wish: Any) -> str:
    """Have a tool called as a task; returns the task's id once the work had every chance to begin."""
    created = await remote.request("tools/call", {"name": name, "task": wish})
    await remote.quiet()
    return created["task"]["taskId"]


async def status(remote: Remote, id: str) -> str:
    return (await remote.request("tasks/get", {"taskId": id}))["status"]


# --- one failing job ends no other (b_group, d_surrogate, w_tapcancel) ------------------------------------------------


def add_bad_cleanup(peer: Peer) -> None:
    async def fails_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("cleanup failed")

    @peer.tool(task="optional")
    async def work() -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_when_cancelled)
            await trio.sleep_forever()
        return "never"


async def test_a_cleanup_that_raises_when_a_request_is_cancelled_leaves_the_connection_alone(
    make_peer: MakePeer,
) -> None:
    peer = make_peer()
    add_bad_cleanup(peer)
    async with scripted(peer) as remote:
        id = await remote.ask("tools/call", {"name": "work"})
        await remote.quiet()
        await remote.notify("notifications/cancelled", {"requestId": id})
        await remote.quiet()
        assert await remote.request("ping") == {}


async def test_a_cleanup_that_raises_when_a_task_is_cancelled_leaves_the_connection_alone(make_peer: MakePeer) -> None:
    peer = make_peer()
    add_bad_cleanup(peer)
    async with scripted(peer) as remote:
        id = await create(remote, "work")
        await remote.request("tasks/cancel", {"taskId": id})
        await remote.quiet()
        assert await status(remote, id) == "cancelled"


async def test_a_cleanup_that_raises_when_a_task_at_home_is_cancelled_leaves_the_peer_alone(
    make_peer: MakePeer,
) -> None:
    peer = make_peer()
    add_bad_cleanup(peer)
    async with peer:
        async with scripted(peer, principal="ada") as remote:
            id = await create(remote, "work")
            await remote.request("tasks/cancel", {"taskId": id})
            await remote.quiet()
        async with scripted(peer, principal="ada") as remote:
            assert await status(remote, id) == "cancelled"


@pytest.mark.parametrize("task", [False, True], ids=["plain", "task"])
async def test_a_cleanup_that_raises_when_the_connection_ends_is_not_the_connections_error(
    make_peer: MakePeer, task: bool
) -> None:
    peer = make_peer()
    add_bad_cleanup(peer)
    async with scripted(peer) as remote:
        await remote.ask("tools/call", {"name": "work"} | ({"task": {}} if task else {}))
        await remote.quiet()


async def test_an_error_that_is_no_unicode_settles_its_task(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(task="optional")
    async def work() -> str:
        raise InvalidParams(NO_UTF8)

    async with scripted(peer) as remote:
        id = await create(remote, "work")
        found = await remote.request("tasks/get", {"taskId": id})
        assert found["status"] == "failed"
        assert "no file" in found["statusMessage"]
        assert [task["taskId"] for task in (await remote.request("tasks/list"))["tasks"]] == [id]
        with pytest.raises(RequestFailed):
            await remote.request("tasks/result", {"taskId": id})
        assert await remote.request("ping") == {}


async def test_a_status_message_that_is_no_unicode_is_said_as_well_as_can_be(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await ctx.report(NO_UTF8)
        await trio.sleep_forever()
        return "never"

    async with scripted(peer) as remote:
        id = await create(remote, "work")
        found = await remote.request("tasks/get", {"taskId": id})
        assert found["status"] == "working"
        assert "no file" in found["statusMessage"]


class Ambiguous:
    """Compares as numpy's arrays do: it cannot be said whether it is equal."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous truth value")


async def test_context_variables_may_hold_what_cannot_be_compared(make_peer: MakePeer) -> None:
    peer = make_peer()
    variable: contextvars.ContextVar[Ambiguous] = contextvars.ContextVar("variable")

    @peer.handle("x/set")
    async def change(ctx: Context, params: Any) -> Any:
        variable.set(Ambiguous())
        return {}

    variable.set(Ambiguous())
    async with scripted(peer) as remote:
        for _ in range(2):
            assert await remote.request("x/set") == {}
            await remote.quiet()


# --- tasks at home (e_context, f_away, t_twice, u_resume) -------------------------------------------------------------


async def test_a_task_at_home_sees_the_context_of_its_own_requestor(make_peer: MakePeer) -> None:
    peer = make_peer()
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: list[tuple[str, str]] = []

    @peer.tool(task="optional")
    async def whoami() -> str:
        return user.get()

    async def visit(name: str) -> None:
        user.set(name)
        async with peer_pair(server=peer, client_principal=name) as pair:
            seen.append((name, (await pair.client.call_tool("whoami", task=True)).text))

    async with peer:
        for name in ("ada", "bob", "eve"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(visit, name)
    assert seen == [("ada", "ada"), ("bob", "bob"), ("eve", "eve")]


async def test_a_question_waits_for_a_requestor_who_is_away(make_peer: MakePeer) -> None:
    peer = make_peer()
    go_on = trio.Event()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await go_on.wait()
        return (await ctx.elicit("Which?", {"x": str}))["x"]

    async with peer:
        async with scripted(peer, principal="ada") as remote:
            id = await create(remote, "work")
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        async with scripted(peer, principal="ada") as remote:
            assert await status(remote, id) in ("working", "input_required")
            result = await remote.ask("tasks/result", {"taskId": id})
            question = await remote.expect("elicitation/create")
            await remote.reply(question, {"action": "accept", "content": {"x": "this"}})
            assert (await remote.answer(result))["content"][0]["text"] == "this"
            assert await status(remote, id) == "completed"


async def test_a_question_is_not_sent_twice_over_a_connection_that_ends(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        return (await ctx.elicit("Which?", {"x": str}))["x"]

    async with peer, scripted(peer, principal="ada") as remote:
        id = await create(remote, "work")
        await remote.ask("tasks/result", {"taskId": id})
        await remote.quiet()
        await remote.close()
        await remote.quiet()
        assert [m.get("method") for m in remote.received].count("elicitation/create") == 1


async def test_progress_of_a_task_that_is_taken_up_again_comes_under_its_saved_token(make_peer: MakePeer) -> None:
    peer = make_peer()
    go_on = trio.Event()
    before: list[float] = []
    after: list[float] = []

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await go_on.wait()
        await ctx.progress(1)
        await ctx.progress(2)
        return "x"

    async with peer, peer_pair(server=peer, client_principal="ada") as pair:
        start = pair.client.start("tools/call", {"name": "work"}, on_progress=lambda p: before.append(p.progress))
        async with start as handle:
            saved = handle.detach()
        async with pair.client.resume(saved, on_progress=lambda p: after.append(p.progress)) as handle:
            go_on.set()
            await handle.result()
    assert saved.token is not None
    assert (before, after) == ([], [1, 2])


# --- stores that fail or are slow, and lifetimes (r_close, l_store, v_race, c_links, m_clock) -------------------------


class Failing(MemoryTaskStore):
    """Methods fail: those named, as many times as is said."""

    def __init__(self, *methods: str, times: int = 1_000_000) -> None:
        super().__init__()
        self.methods = methods
        self.times = times
        self.failing = False

    def _may_fail(self, method: str) -> None:
        if self.failing and self.times and method in self.methods:
            self.times -= 1
            raise OSError("disk full")

    async def replace(self, new: TaskRecord) -> bool:
        self._may_fail("replace")
        return await super().replace(new)

    async def remove(self, *ids: Any) -> None:
        self._may_fail("remove")
        await super().remove(*ids)

    async def page(self, *args: Any) -> Any:
        self._may_fail("page")
        return await super().page(*args)


@pytest.mark.parametrize("methods", [["page"], ["replace"], ["remove"], ["page", "replace", "remove"]])
async def test_a_connection_ends_though_its_store_fails(methods: list[str], autojump_clock: Any) -> None:
    store = Failing(*methods)
    peer = Peer("sut", "1.0", store=store)  # not checked for leaks: what such a store kept, it keeps

    @peer.tool(task="optional")
    async def work() -> str:
        await trio.sleep_forever()
        return "never"

    async with scripted(peer) as remote:
        await create(remote, "work")
        store.failing = True
        await remote.close()
        with trio.fail_after(60):
            await remote.ended()
    assert (peer.tasks.live, len(peer.links), list(peer.connections)) == (0, 0, [])


async def test_serve_ends_though_its_store_fails(make_peer: MakePeer, autojump_clock: Any) -> None:
    store = Failing("page")
    store.failing = True
    peer = make_peer(store=store)
    ours, theirs = memory_transport_pair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve, theirs)
            await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()
    with pytest.raises(ConnectionClosed):
        await ours.receive()


@pytest.mark.parametrize("times", [1, 1_000_000], ids=["once", "always"])
async def test_a_store_that_fails_to_keep_an_outcome_leaves_the_connection_alone(
    times: int, autojump_clock: Any
) -> None:
    store = Failing("replace", times=times)
    peer = Peer("sut", "1.0", store=store, limits=Limits(running_tasks=1))

    @peer.tool(task="optional")
    async def work() -> str:
        store.failing = True
        return "x"

    async with scripted(peer) as remote:
        id = await create(remote, "work")
        await trio.sleep(100)
        assert await status(remote, id) == ("completed" if times == 1 else "working")
        store.failing = False
        await trio.sleep(100)
        assert await status(remote, id) == "completed", "what came of it is kept as soon as it can be"
        assert peer.tasks.live == 0
        await create(remote, "work")  # the first one no longer counts among the running


class Pausing(MemoryTaskStore):
    """Pauses between looking and answering, as any store may."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: dict[str, trio.Event] = {}
        self.paused = trio.Event()

    async def _pause(self, method: str) -> None:
        if method in self.pauses:
            self.paused.set()
            await self.pauses[method].wait()

    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        await self._pause("create")
        await super().create(record, room)

    async def next_due(self) -> float | None:
        found = await super().next_due()
        await self._pause("next_due")
        return found


async def test_a_lifetime_that_begins_while_the_next_end_is_looked_up_ends_in_time(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    store = Pausing()
    go_on = store.pauses["next_due"] = trio.Event()
    peer = make_peer(store=store)

    @peer.tool(task="optional")
    async def work() -> str:
        await trio.sleep_forever()
        return "never"

    async with peer, scripted(peer, principal="ada") as remote:
        await store.paused.wait()
        id = await create(remote, "work", ttl=1000)
        go_on.set()
        result = await remote.ask("tasks/result", {"taskId": id})
        await trio.sleep(2)
        assert remote.answered(result)


async def test_a_tool_removed_while_its_task_is_being_created_leaves_no_task_at_work(make_peer: MakePeer) -> None:
    store = Pausing()
    go_on = store.pauses["create"] = trio.Event()
    peer = make_peer(store=store)

    @peer.tool(task="optional")
    async def work() -> str:
        return "x"

    async with peer, scripted(peer, principal="ada") as remote:
        id = await remote.ask("tools/call", {"name": "work", "task": {}})
        await store.paused.wait()
        peer.remove_tool("work")
        go_on.set()
        await remote.response(id)
        await remote.quiet()
        assert (peer.tasks.live, len(peer.links)) == (0, 0)
        assert all(record.settled for record in store.records())


async def test_a_task_that_ends_before_its_work_began_leaves_no_link(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(task="optional")
    async def work() -> str:
        await trio.sleep_forever()
        return "never"

    async with scripted(peer) as remote:
        await remote.send_raw(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"work","task":{"ttl":0}}}\n'
            b'{"jsonrpc":"2.0","id":2,"method":"tasks/get","params":{"taskId":"x"}}\n'
            b'{"jsonrpc":"2.0","id":3,"method":"tasks/get","params":{"taskId":"x"}}\n'
        )
        await remote.quiet()
    check_leaks(peer)


def test_lifetimes_end_in_a_second_run_on_another_clock_too(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(task="optional")
    async def work() -> str:
        await trio.sleep_forever()
        return "never"

    async def visit() -> None:
        async with scripted(peer) as remote:
            id = await create(remote, "work", ttl=1000)
            assert await status(remote, id) == "working"
            await trio.sleep(10)
            with pytest.raises(RequestFailed, match="not found"):
                await status(remote, id)

    for _ in range(3):
        trio.run(visit, clock=trio.testing.MockClock(autojump_threshold=0))


# --- who writes much (q_starve, i_flood, h_backlog) -------------------------------------------------------------------


class SlowPipe(MemoryPipe):
    """Each write takes a tenth of a second."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(0.1)
        await super().send_all(data)


async def test_a_sender_that_waits_goes_on_while_others_write(make_peer: MakePeer, autojump_clock: Any) -> None:
    peer, client = make_peer(limits=Limits(backlog_bytes=10_000)), make_peer("client")
    there, back = MemoryPipe(), SlowPipe()
    done = trio.Event()

    @client.handle("x/pending")
    async def never(ctx: Context, params: Any) -> Any:
        await trio.sleep_forever()

    async def send() -> None:
        await ours.notify("x/long", {"text": "x" * 20_000})
        await ours.notify("x/waits")
        done.set()

    async with trio.open_nursery() as nursery:
        ours = await nursery.start(peer.serve, LineTransport(back, MemoryReader(there)))
        async with client.connect(LineTransport(there, MemoryReader(back)), revision="2025-11-25") as theirs:
            nursery.start_soon(ours.call, "x/pending")  # so that ours reads on, however much there is to be written
            for number in range(100):  # more often than a write takes, so there is always something left to write
                nursery.start_soon(theirs.call, "ping")
                if number == 10:
                    nursery.start_soon(send)
                await trio.sleep(0.05)
            assert done.is_set()
            nursery.cancel_scope.cancel()


async def test_two_peers_that_flood_each_other_do_not_wait_for_time_to_pass(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    async def flood(connection: Any) -> None:
        for _ in range(20):
            await connection.notify("x/note", {"text": "x" * 200_000})

    async with peer_pair(make_peer("a"), make_peer("b")) as pair:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, pair.client)
            nursery.start_soon(flood, pair.server)
        assert trio.current_time() - start < 5


async def test_a_call_that_passes_the_backlog_says_that_the_connection_is_closed(make_peer: MakePeer) -> None:
    client = make_peer(limits=Limits(max_backlog_bytes=100_000))
    async with peer_pair(client) as pair:
        with pytest.raises(ConnectionClosed):
            await pair.client.call("x/work", {"text": "x" * 300_000})
