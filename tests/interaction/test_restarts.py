"""Tasks that outlive their process: what is run again and how, what has failed, what stays as it was.

The same over a real file, real processes and real kills is in tests/faults.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, evolve, field

from mcp_tasks import (
    Clock,
    Context,
    JSONObject,
    Limits,
    LocalProtocolError,
    MemoryTaskStore,
    Peer,
    Principal,
    RequestFailed,
    Side,
    StoreFailed,
    TaskAlreadySettled,
    TaskId,
    TaskRecord,
    TaskState,
)
from mcp_tasks.testing import Remote, scripted

from ._disk import Disk

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

EPOCH = 1_760_000_000.0
OLD, NEW = "2025-11-25", "2026-07-28"
ADA = "ada"
INTERRUPTED = "The task was interrupted: its receiver has ended under it, and it is not one that is run again"
NAMED = {"action": "accept", "content": {"name": "Ada"}}


@define
class Log:
    """What the handlers have done, over all processes."""

    done: list[str] = field(factory=list)
    go: trio.Event = field(factory=trio.Event)


def forge(make_peer: MakePeer, disk: MemoryTaskStore, log: Log, **options: Any) -> Peer:
    """A server with one tool that is run again, and one that is not."""
    peer = make_peer(store=disk, clock=Clock(EPOCH), **options)

    async def paid() -> str:
        log.done.append("paid")
        return "receipt"

    async def order(ctx: Context) -> str:
        log.done.append("begun")
        receipt = await ctx.once("pay", paid)
        await ctx.report("paid")
        form = await ctx.elicit("For whom?", {"name": str})
        log.done.append(f"for {form['name']}")
        await log.go.wait()
        return f"{receipt} for {form['name']}"

    peer.tool(task="required", restartable=True)(order)
    peer.tool(task="required", name="fragile")(order)
    return peer


@asynccontextmanager
async def served(peer: Peer, revision: str) -> AsyncIterator[Remote]:
    async with peer, scripted(peer, revision=revision, principal=ADA) as remote:
        yield remote


async def begin(remote: Remote, name: str = "order") -> str:
    params: JSONObject = {"name": name}
    if remote.stamp is None:
        params["task"] = {}
    created = await remote.request("tools/call", params)
    await remote.quiet()
    return str(created["task"]["taskId"] if remote.stamp is None else created["taskId"])


async def state_of(remote: Remote, id: str) -> str:
    return str((await remote.request("tasks/get", {"taskId": id}))["status"])


async def text_of(remote: Remote, id: str) -> str:
    """The result, once it is there."""
    if remote.stamp is None:
        result = await remote.request("tasks/result", {"taskId": id})
    else:
        result = (await remote.request("tasks/get", {"taskId": id}))["result"]
    return str(result["content"][0]["text"])


async def answer(remote: Remote, id: str, *, waiting: bool = False) -> None:
    """Answer the question of a task: when it comes, or where it stands."""
    if remote.stamp is None:
        if waiting:
            await remote.ask("tasks/result", {"taskId": id})
        await remote.reply(await remote.expect("elicitation/create"), NAMED)
    else:
        (key,) = (await remote.request("tasks/get", {"taskId": id}))["inputRequests"]
        await remote.request("tasks/update", {"taskId": id, "inputResponses": {key: NAMED}})
    await remote.quiet()


# --- run again --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [OLD, NEW])
@pytest.mark.parametrize("before", [OLD, NEW])
@pytest.mark.parametrize("crashes", [1, 3])
async def test_it_goes_on_where_its_journal_ends(
    make_peer: MakePeer, before: str, after: str, crashes: int, autojump_clock: Any
) -> None:
    """Asked before the crash and answered after it, in whichever era: nothing is asked or done twice."""
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), before) as remote:
        id = await begin(remote)
        assert await state_of(remote, id) == "input_required"
        disk = await disk.after_a_crash()
    for _ in range(crashes - 1):
        async with forge(make_peer, disk, log):
            await trio.testing.wait_all_tasks_blocked()
            disk = await disk.after_a_crash()
    async with served(forge(make_peer, disk, log), after) as remote:
        assert await state_of(remote, id) == "input_required"
        await answer(remote, id, waiting=True)
        assert await state_of(remote, id) == "working"
        disk = await disk.after_a_crash()
    async with served(forge(make_peer, disk, log), after) as remote:
        await remote.quiet()
        assert await state_of(remote, id) == "working"
        log.go.set()
        await remote.quiet()
        assert await text_of(remote, id) == "receipt for Ada"
        assert await state_of(remote, id) == "completed"
        assert [m for m in remote.received if m.get("method") == "elicitation/create"] == [], "it was answered before"
    assert log.done == ["begun", "paid", *["begun"] * crashes, "for Ada", "begun", "for Ada"]


async def test_an_answer_counts_before_the_work_has_come_to_the_question_again(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    """A client that has seen a question answers it once, perhaps to a server that has just come back."""
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote)
        disk = await disk.after_a_crash()
    peer = make_peer(store=disk, clock=Clock(EPOCH))
    slow = trio.Event()

    @peer.tool(task="required", restartable=True)
    async def order(ctx: Context) -> str:
        await slow.wait()
        form = await ctx.elicit("For whom?", {"name": str})
        return f"for {form['name']}"

    async with served(peer, NEW) as remote:
        await answer(remote, id)
        assert await state_of(remote, id) == "working"
        slow.set()
        await remote.quiet()
        assert await text_of(remote, id) == "for Ada"


async def test_a_question_is_not_another_one_the_second_time(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote)
        disk = await disk.after_a_crash()
    peer = make_peer(store=disk, clock=Clock(EPOCH))

    @peer.tool(task="required", restartable=True)
    async def order(ctx: Context) -> str:
        await ctx.sample("A name?", key="elicit-1")
        return "never"

    async with served(peer, NEW) as remote:
        await remote.quiet()
        assert "reference" in await text_of(remote, id)


async def test_a_client_runs_its_tasks_again_too(make_peer: MakePeer, autojump_clock: Any) -> None:
    """The mirror: a sample that a server has asked for as a task."""
    log: list[str] = []

    def oracle(disk: Disk, go: trio.Event) -> Peer:
        peer = make_peer(store=disk, clock=Clock(EPOCH))

        @peer.sampling(task="optional", restartable=True)
        async def sample(ctx: Context, params: Any) -> JSONObject:
            log.append(params.messages[0].content.text)
            await go.wait()
            return {"role": "assistant", "content": {"type": "text", "text": "42"}, "model": "m"}

        return peer

    disk = Disk()
    asked = {"messages": [{"role": "user", "content": {"type": "text", "text": "six by nine"}}], "maxTokens": 9}
    peer = oracle(disk, trio.Event())
    async with peer, scripted(peer, side=Side.CLIENT, principal="deep thought") as remote:
        created = await remote.request("sampling/createMessage", {**asked, "task": {}})
        await remote.quiet()
        disk = await disk.after_a_crash()
    go = trio.Event()
    peer = oracle(disk, go)
    async with peer, scripted(peer, side=Side.CLIENT, principal="deep thought") as remote:
        waiting = await remote.ask("tasks/result", {"taskId": created["task"]["taskId"]})
        await remote.quiet()
        go.set()
        assert (await remote.answer(waiting))["content"]["text"] == "42"
    assert log == ["six by nine", "six by nine"]


async def test_it_is_not_run_again_for_ever(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    limits = Limits(task_runs=3)
    async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
        id = await begin(remote)
        disk = await disk.after_a_crash()
    for _ in range(4):
        async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
            await remote.quiet()
            disk = await disk.after_a_crash()
            task = await remote.request("tasks/get", {"taskId": id})
    assert log.done.count("begun") == 3
    assert (task["status"], task["statusMessage"]) == (
        "failed",
        "The task was interrupted 3 times, which is too often to run it once more",
    )


# --- not run again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_what_is_not_restartable_has_failed_before_anybody_asks(
    make_peer: MakePeer, revision: str, autojump_clock: Any
) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), revision) as remote:
        ids = [await begin(remote, "fragile") for _ in range(3)]
        disk = await disk.after_a_crash()
    async with forge(make_peer, disk, log) as peer:
        records = disk.records()
        assert [record.state for record in records] == [TaskState.RAISED] * 3, "with no checkpoint in between"
        async with scripted(peer, revision=revision, principal=ADA) as remote:
            for id in ids:
                task = await remote.request("tasks/get", {"taskId": id})
                assert (task["status"], task["statusMessage"]) == ("failed", INTERRUPTED)
                if revision == OLD:
                    with pytest.raises(RequestFailed, match="The task was interrupted") as caught:
                        await remote.request("tasks/result", {"taskId": id})
                    assert caught.value.code == -32603
                else:
                    assert task["error"] == {"code": -32603, "message": INTERRUPTED}
    assert log.done == ["begun", "paid"] * 3


async def test_what_cannot_be_run_any_more_has_failed(
    make_peer: MakePeer, caplog: pytest.LogCaptureFixture, autojump_clock: Any
) -> None:
    """Its tool has gone with the new version of the server, or is no longer one that may be run again."""
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote)
        disk = await disk.after_a_crash()
    without = make_peer(store=await disk.after_a_crash(), clock=Clock(EPOCH))
    without.tool(task="required", name="other")(lambda: "x")
    changed = make_peer(store=await disk.after_a_crash(), clock=Clock(EPOCH))
    changed.tool(task="required", name="order")(lambda: "x")
    nothing = make_peer(store=await disk.after_a_crash(), clock=Clock(EPOCH))
    for peer in (without, changed, nothing):
        async with peer:
            record = await peer.tasks.get(id, Principal(ADA))  # type: ignore[arg-type]
            assert (record.state, record.message) == (TaskState.RAISED, INTERRUPTED)
    assert caplog.text.count("cannot be run again") == 1


async def test_what_was_over_stays_as_it_was(make_peer: MakePeer, autojump_clock: Any) -> None:
    """Its result can be read until its lifetime is over, and not after."""
    log, disk = Log(), Disk()
    log.go.set()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote)
        await answer(remote, id)
        before = await remote.request("tasks/get", {"taskId": id})
        disk = await disk.after_a_crash()
    peer = forge(make_peer, disk, log)
    async with served(peer, NEW) as remote:
        assert await remote.request("tasks/get", {"taskId": id}) == before
        assert log.done.count("begun") == 1
        await trio.sleep(3600)
        with pytest.raises(RequestFailed, match="Task not found"):
            await remote.request("tasks/get", {"taskId": id})
    assert disk.records() == []


async def test_a_lifetime_that_ended_while_nobody_was_there(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        await begin(remote)
        disk = await disk.after_a_crash()
    late = make_peer(store=disk, clock=Clock(EPOCH + 3600))
    async with late:
        assert disk.records() == []


async def test_tasks_of_who_cannot_come_back_are_not_run_again(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    peer = forge(make_peer, disk, log)
    async with peer, scripted(peer, revision=NEW) as remote:
        await begin(remote)
        disk = await disk.after_a_crash()
    async with forge(make_peer, disk, log):
        [record] = disk.records()
        assert (record.state, record.message) == (TaskState.RAISED, INTERRUPTED)
    assert log.done.count("begun") == 1


# --- an orderly end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["order", "fragile"])
async def test_an_orderly_end_leaves_what_is_run_again_and_stops_the_rest(
    make_peer: MakePeer, name: str, autojump_clock: Any
) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote, name)
    [record] = disk.records()
    expected = TaskState.INPUT_REQUIRED if name == "order" else TaskState.STOPPED
    assert record.state is expected
    if name == "order":
        log.go.set()
        async with served(forge(make_peer, disk, log), NEW) as remote:
            await answer(remote, id)
            assert await text_of(remote, id) == "receipt for Ada"


async def test_a_question_that_is_given_up_is_withdrawn_all_the_same(make_peer: MakePeer, autojump_clock: Any) -> None:
    disk = Disk()
    peer = make_peer(store=disk, clock=Clock(EPOCH))

    @peer.tool(task="required", restartable=True)
    async def impatient(ctx: Context) -> str:
        with trio.move_on_after(10):
            await ctx.elicit("For whom?", {"name": str})
        await trio.sleep(10)
        return "nobody"

    async with served(peer, NEW) as remote:
        id = await begin(remote, "impatient")
        assert await state_of(remote, id) == "input_required"
        await trio.sleep(10.5)
        assert await state_of(remote, id) == "working"
        await trio.sleep(10)
        assert await text_of(remote, id) == "nobody"


async def test_a_cancelled_task_does_not_come_back(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        id = await begin(remote)
        await remote.request("tasks/cancel", {"taskId": id})
    async with served(forge(make_peer, disk, log), NEW) as remote:
        assert await state_of(remote, id) == "cancelled"
    assert log.done.count("begun") == 1


async def test_what_is_interrupted_can_be_cancelled_by_its_owner(make_peer: MakePeer, autojump_clock: Any) -> None:
    """While the peer is closed and its connection is not."""
    log, disk = Log(), Disk()
    peer = forge(make_peer, disk, log)
    async with peer:
        record = None
        async with scripted(peer, revision=NEW, principal=ADA) as remote:
            id = await begin(remote)
    record = await peer.tasks.cancel(id, Principal(ADA))  # type: ignore[arg-type]
    assert record.state is TaskState.STOPPED


# --- what else survives -----------------------------------------------------------------------------------------------


async def test_cursors_and_states_are_good_for_the_next_process(make_peer: MakePeer, autojump_clock: Any) -> None:
    disk = Disk()

    def server() -> Peer:
        peer = make_peer(store=disk, clock=Clock(EPOCH), limits=Limits(page_size=1))

        @peer.tool
        async def greet(ctx: Context) -> str:
            return f"hello {(await ctx.elicit('Who?', {'name': str}))['name']}"

        peer.tool(name="other")(lambda: "x")
        return peer

    async with served(server(), NEW) as remote:
        cursor = (await remote.request("tools/list"))["nextCursor"]
        asked = await remote.request("tools/call", {"name": "greet"})
    async with served(server(), NEW) as remote:
        assert [tool["name"] for tool in (await remote.request("tools/list", {"cursor": cursor}))["tools"]] == ["other"]
        (key,) = asked["inputRequests"]
        retry = {"name": "greet", "requestState": asked["requestState"], "inputResponses": {key: NAMED}}
        assert (await remote.request("tools/call", retry))["content"][0]["text"] == "hello Ada"


async def test_keys_of_ones_own_come_first(make_peer: MakePeer) -> None:
    disk = Disk()
    one = make_peer(store=disk, cursor_secret=b"c" * 32, state_keys=[b"k" * 32])
    other = make_peer(store=disk)
    assert one.seal._sealing != other.seal._sealing
    assert one._cursors._secret == b"c" * 32


# --- wrong use --------------------------------------------------------------------------------------------------------


async def test_a_peer_with_a_durable_store_works_when_it_is_open(make_peer: MakePeer) -> None:
    peer = make_peer(store=Disk())
    with pytest.raises(LocalProtocolError, match="async with peer"):
        async with scripted(peer):
            pass
    async with peer:
        with pytest.raises(LocalProtocolError, match="at work"):
            peer.use_store(MemoryTaskStore())
    peer.use_store(MemoryTaskStore())
    async with scripted(peer):
        pass


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"task": "optional", "rerun": False}, "must not run twice"),
        ({}, "never a task"),
        ({"task": "forbidden"}, "never"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(make_peer: MakePeer, options: dict[str, Any], why: str) -> None:
    peer = make_peer()
    with pytest.raises(LocalProtocolError, match=why):
        peer.tool(name="x", restartable=True, **options)(lambda: "x")
    with pytest.raises(LocalProtocolError, match=why):
        peer.handle("x/y", restartable=True, **options)


@pytest.mark.parametrize("offer", ["sampling", "elicitation"])
def test_the_same_for_what_a_client_offers(make_peer: MakePeer, offer: str) -> None:
    with pytest.raises(LocalProtocolError, match="never a task"):
        getattr(make_peer(), offer)(restartable=True)(lambda ctx, params: None)


async def test_a_store_that_fails_at_the_start_is_said_so(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        await begin(remote)
        disk = await disk.after_a_crash()

    async def broken(new: Any) -> bool:
        raise OSError("disk full")

    disk.replace = broken  # type: ignore[method-assign]
    peer = forge(make_peer, disk, log)
    with pytest.raises(OSError, match="disk full"):
        async with peer:
            raise AssertionError("it is not open")
    assert peer.home is None
    assert peer.tasks.live == 0


async def test_a_record_of_a_version_that_came_after_is_not_run(make_peer: MakePeer, autojump_clock: Any) -> None:
    """An origin that is broken harms nobody else."""
    log, disk = Log(), Disk()
    async with served(forge(make_peer, disk, log), NEW) as remote:
        good, bad = await begin(remote), await begin(remote)
        disk = await disk.after_a_crash()
    broken = Disk()
    for record in disk.records():
        origin = {"revision": "2031-01-01", "side": "server", "params": {}} if record.id == bad else record.origin
        await broken.create(evolve(record, origin=origin))
    async with served(forge(make_peer, broken, log), NEW) as remote:
        assert await state_of(remote, good) == "input_required"
        assert await state_of(remote, bad) == "failed"


# --- what a review has found ------------------------------------------------------------------------------------------


async def test_an_effect_that_was_done_is_kept_though_everything_is_ending(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    """It cannot be stopped in the midst, and the peer is closed meanwhile."""
    disk, paid = SlowDisk(), []

    def shop() -> Peer:
        peer = make_peer(store=disk, clock=Clock(EPOCH))

        async def pay() -> str:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
                paid.append("paid")
                return "receipt"

        @peer.tool(task="required", restartable=True)
        async def order(ctx: Context) -> str:
            return await ctx.once("pay", pay)

        return peer

    async with served(shop(), NEW) as remote:
        id = await begin(remote)
        await trio.sleep(1)
    async with served(shop(), NEW) as remote:
        await trio.sleep(10)
        assert await text_of(remote, id) == "receipt"
    assert paid == ["paid"]


class SlowDisk(Disk):
    """Takes a while, and can be cancelled before it begins."""

    async def replace(self, new: TaskRecord) -> bool:
        await trio.sleep(0.1)
        return await super().replace(new)


class Unsure(Disk):
    """Does what it is asked to, and once says that it has failed."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = 0
        self.late = 0.0

    async def replace(self, new: TaskRecord) -> bool:
        done = await super().replace(new)
        if new.settled and self.fails:
            self.fails -= 1
            raise StoreFailed
        if new.settled:
            await trio.sleep(self.late)
        return done


@pytest.mark.parametrize(("fails", "late"), [(1, 0.0), (0, 1.0)])
async def test_an_end_that_was_kept_is_told_however_the_store_says_so(
    make_peer: MakePeer, fails: int, late: float, autojump_clock: Any
) -> None:
    """Though it says that it has failed; or says it when somebody else has seen it already."""
    disk = Unsure()
    disk.fails, disk.late = fails, late
    peer = make_peer(store=disk, clock=Clock(EPOCH))
    told = trio.Event()

    @peer.tool(task="required")
    async def order(ctx: Context) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.wait)
        return "done"

    async with served(peer, OLD) as remote:
        id = await begin(remote)
        waiting = await remote.ask("tasks/result", {"taskId": id})
        await remote.quiet()
        told.set()
        await trio.testing.wait_all_tasks_blocked()
        with contextlib.suppress(TaskAlreadySettled):
            await peer.tasks.report(TaskId(id), "late")
        assert (await remote.answer(waiting))["content"][0]["text"] == "done"
        statuses = [m["params"]["status"] for m in remote.received if m.get("method") == "notifications/tasks/status"]
        assert statuses == ["completed"]
        assert peer.tasks.live == 0


async def test_what_cannot_be_removed_takes_nothing_from_whoever_looks(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    """A full disk, and somebody else's task is due."""
    log, disk = Log(), Disk()
    peer = forge(make_peer, disk, log, limits=Limits(max_ttl_ms=10**9))
    async with peer, scripted(peer, revision=OLD, principal=ADA) as remote:
        mine = await remote.request("tools/call", {"name": "fragile", "task": {"ttl": 10**8}})
        async with scripted(peer, revision=OLD, principal="bob") as other:
            theirs = await other.request("tools/call", {"name": "fragile", "task": {"ttl": 1000}})

            async def full(*ids: Any) -> None:
                raise StoreFailed

            kept, disk.remove = disk.remove, full  # type: ignore[method-assign]
            await trio.sleep(10)
            assert await state_of(remote, mine["task"]["taskId"]) == "input_required"
            assert len((await remote.request("tasks/list"))["tasks"]) == 1
            assert (await other.request("tasks/list"))["tasks"] == [], "it counts as gone"
            with pytest.raises(RequestFailed, match="not found"):
                await state_of(other, theirs["task"]["taskId"])
            disk.remove = kept  # type: ignore[method-assign]
            await trio.sleep(10)
            assert len(disk) == 1
        await remote.request("tasks/cancel", {"taskId": mine["task"]["taskId"]})


async def test_orderly_ends_are_not_held_against_a_task(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    limits = Limits(task_runs=3)
    async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
        id = await begin(remote)
    for _ in range(10):
        async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
            await remote.quiet()
            assert await state_of(remote, id) == "input_required"
    log.go.set()
    async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
        await answer(remote, id)
        assert await text_of(remote, id) == "receipt for Ada"


@pytest.mark.parametrize("error", [ValueError("cleanup"), RequestFailed(1, "cleanup")])
async def test_a_cleanup_that_fails_at_the_end_is_no_end_of_the_task(
    make_peer: MakePeer, error: Exception, autojump_clock: Any
) -> None:
    disk = Disk()

    def shop(fails: bool) -> Peer:
        peer = make_peer(store=disk, clock=Clock(EPOCH))

        @peer.handle("tools/call", task="required", restartable=True)
        async def order(ctx: Context, params: JSONObject) -> JSONObject:
            if not fails:
                return {"content": [{"type": "text", "text": "done"}]}
            try:
                await trio.sleep_forever()
            finally:
                raise error

        return peer

    async with served(shop(True), NEW) as remote:
        id = await begin(remote)
    assert [record.state for record in disk.records()] == [TaskState.WORKING]
    async with served(shop(False), NEW) as remote:
        await remote.quiet()
        assert await text_of(remote, id) == "done"


async def test_however_many_there_are_all_are_taken_up(make_peer: MakePeer, autojump_clock: Any) -> None:
    log, disk = Log(), Disk()
    limits = Limits(running_tasks=1000)
    async with served(forge(make_peer, disk, log, limits=limits), NEW) as remote:
        for number in range(600):
            await begin(remote, "order" if number % 2 else "fragile")
        disk = await disk.after_a_crash()
    async with forge(make_peer, disk, log, limits=limits) as peer:
        states = [record.state for record in disk.records()]
        assert states.count(TaskState.RAISED) == 300
        assert peer.tasks.live == 300
