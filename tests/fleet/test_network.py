"""The network fails between a part of a fleet and the engine; a part, or the engine, stands still for a while.

Each front end and each worker has a way of its own to the engine, so that faults strike one part. Whoever is struck has
little patience (`HASTY`) and says so soon; nobody else is to notice. Leases are short where one is to run out, and it
does while the consequence is waited for.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import pytest
import trio
from attrs import define, evolve, field

from mcp_tasks import Context, JSONObject, Limits, Peer, RequestFailed, RequestId, StoreFailed, TaskId, TaskRecord
from mcp_tasks.testing import Remote
from tests.crashes._history import Created, Seen
from tests.crashes._world import ERAS, SEED, Client, Slot, World, judge

pytest.importorskip("glide", reason="the extra valkey is not installed")

from mcp_tasks.tasks.engine import open_engine
from mcp_tasks.tasks.valkey import ValkeyTaskStore, open_valkey

from ._faults import Fate, Network, Way, open_network
from ._fleet import NAMED, NEW, OLD, Fleet, client, gives
from .conftest import Redis
from .test_valkey_store import record

HASTY = 0.3
SHORT = 1.0
AWAY = "the store has failed"
ENGINE, NEWS, WORK = b"EVALSHA", b"XREVRANGE", b"XREADGROUP"  # what comes early on each connection of a part
CHANGE = b":running:"  # what is in each request that creates or changes a task
FAULTS = int(os.environ.get("MCP_TASKS_FAULTS", "8"))
T = TypeVar("T")

Strike: TypeAlias = Callable[[Way], None]
PARTED: dict[str, Strike] = {
    "late": lambda way: way.part(Fate.LATE),
    "lost": lambda way: way.part(Fate.LOST),
    "refused": Way.refuse,
}
ONE_WAY: dict[str, Strike] = {
    "requests-lost": lambda way: way.strike(requests=Fate.LOST),
    "answers-lost": lambda way: way.strike(answers=Fate.LOST),
}


def strikes(*kinds: dict[str, Strike]) -> pytest.MarkDecorator:
    """Have a test run once for each of these faults."""
    every = {name: strike for kind in kinds for name, strike in kind.items()}
    return pytest.mark.parametrize("strike", every.values(), ids=every.keys())


@define
class Torn(Fleet):
    """A fleet whose parts have ways of their own to the engine, which fail on demand."""

    network: Network = field(kw_only=True)
    lease_seconds: float = 5.0
    patience: dict[str, float] = field(factory=dict)
    """In seconds, of whoever has little."""
    ways: dict[str, Way] = field(factory=dict)
    gates: dict[str, trio.Event] = field(factory=dict)
    """What a step of a handler waits for, there."""

    async def end(self) -> None:
        for way in self.ways.values():
            way.heal()
        await super().end()

    async def _run(self, name: str, works: bool, *, task_status: trio.TaskStatus[Peer]) -> None:
        way = self.ways[name] = self.network.way()
        self.gates[name] = trio.Event()
        seconds = self.patience.get(name, 5.0)
        opening = open_valkey(way.url, prefix=self.prefix, lease_seconds=self.lease_seconds, answer_seconds=seconds)
        async with opening as store, self._peer(name, store, works) as peer:
            task_status.started(peer)
            await self.leaving[name].wait()
        self.gone[name].set()

    def _peer(self, name: str, store: ValkeyTaskStore, works: bool) -> Peer:
        peer = Peer(name, "1.0", limits=self.limits)
        peer.use_store(store, works=works)
        self.peers.append(peer)

        async def order(ctx: Context, steps: list[str]) -> str:
            said: dict[str, str] = {}

            async def pay() -> str:
                self.log.append((name, "paid"))
                return f"paid by {name}"

            async def pay_slowly() -> str:
                self.log.append((name, "paying"))
                await self.gates[name].wait()
                return await pay()

            async def ask() -> None:
                said["who"] = f"for {(await ctx.elicit('For whom?', {'name': str}, key='who'))['name']}"

            self.log.append((name, "begun"))
            try:
                async with trio.open_nursery() as nursery:
                    for step in steps:
                        match step:
                            case "asking":
                                nursery.start_soon(ask)
                            case "ask":
                                await ask()
                            case "pay":
                                said["paid"] = await ctx.once("pay", pay)
                            case "pay slowly":
                                said["paid"] = await ctx.once("pay", pay_slowly)
                            case "wait":
                                await ctx.report("waiting")
                                await self.gates[name].wait()
                            case _:
                                await ctx.report(step)
                        self.log.append((name, step))
                return ", ".join([*sorted(said.values()), f"sent by {name}"])
            finally:
                self.log.append((name, "left"))

        peer.tool(task="required", restartable=True)(order)
        peer.tool(task="required", name="fragile")(order)
        return peer


@gives
@asynccontextmanager
async def with_faults(redis: Redis, prefix: str) -> AsyncIterator[Torn]:
    with open_network(redis.port) as network:
        async with trio.open_nursery() as nursery:
            yield Torn(redis, prefix, nursery, network=network)


def call(remote: Remote, *steps: str, name: str = "order") -> JSONObject:
    params: JSONObject = {"name": name, "arguments": {"steps": list(steps)}}
    return {**params, "task": {}} if remote.stamp is None else params


async def begin(remote: Remote, *steps: str, name: str = "order") -> str:
    """Make a task; again, if the store is away."""
    created = await patiently(partial(remote.request, "tools/call", call(remote, *steps, name=name)))
    return str(created["task"]["taskId"] if remote.stamp is None else created["taskId"])


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the store is there."""
    while True:
        try:
            return await ask()
        except RequestFailed as failed:
            if AWAY not in str(failed):
                raise
            await trio.lowlevel.checkpoint()


async def is_away(remote: Remote, method: str, params: JSONObject) -> None:
    """Ask, and be told that the store has failed."""
    with pytest.raises(RequestFailed, match=AWAY):
        await remote.request(method, params)


async def completed(remote: Remote, id: str) -> None:
    """See that a task is completed, answering what it asks."""
    while (task := await remote.request("tasks/get", {"taskId": id}))["status"] != "completed":
        assert task["status"] in ("working", "input_required"), task
        for key in task.get("inputRequests", ()):
            await remote.request("tasks/update", {"taskId": id, "inputResponses": {key: NAMED}})


async def waiting_for(remote: Remote, id: str) -> tuple[RequestId, JSONObject]:
    """A request for a result, in a session, and the question that comes with it."""
    while True:
        waiting = await remote.ask("tasks/result", {"taskId": id})
        await remote.until(lambda: remote.answered(waiting) or remote.unread("elicitation/create"), "a question")  # noqa: B023
        if remote.unread("elicitation/create"):
            return waiting, await remote.expect("elicitation/create")
        with pytest.raises(RequestFailed, match=AWAY):
            await remote.answer(waiting)


async def result_of(remote: Remote, id: str, waiting: RequestId) -> str:
    """What comes of a result that is waited for; again, if the store is away."""
    try:
        result = await remote.answer(waiting)
    except RequestFailed as failed:
        if AWAY not in str(failed):
            raise
        result = await patiently(partial(remote.request, "tasks/result", {"taskId": id}))
    return str(result["content"][0]["text"])


async def until(remote: Remote, id: str, status: str, message: str | None = None) -> JSONObject:
    """Wait until a task is so, as long as it may still be so. While the store is away, go on asking."""
    while True:
        task = await patiently(partial(remote.request, "tasks/get", {"taskId": id}))
        if task["status"] == status and message in (None, task.get("statusMessage")):
            return task
        assert task["status"] in ("working", "input_required"), task
        await trio.lowlevel.checkpoint()


async def waits(remote: Remote, id: str) -> None:
    """Wait until the work of a task waits at its gate, whether or not it asks something meanwhile."""
    while (await remote.request("tasks/get", {"taskId": id})).get("statusMessage") != "waiting":
        await trio.lowlevel.checkpoint()


async def answer(remote: Remote, id: str) -> None:
    """Answer the question that a task has, or will have."""
    (key,) = (await until(remote, id, "input_required"))["inputRequests"]
    await patiently(partial(remote.request, "tasks/update", {"taskId": id, "inputResponses": {key: NAMED}}))


async def listed(remote: Remote) -> list[str]:
    return [str(task["taskId"]) for task in (await remote.request("tasks/list"))["tasks"]]


def text_of(task: JSONObject) -> str:
    return str(task["result"]["content"][0]["text"])


# --- a worker ---------------------------------------------------------------------------------------------------------


@strikes(PARTED)
@with_faults
async def test_a_worker_is_cut_off_and_others_go_on(fleet: Torn, strike: Strike) -> None:
    """When its lease is over another takes over, or the task has failed; back again, it finds that it has lost."""
    fleet.lease_seconds, fleet.patience = SHORT, {"first": HASTY}
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    async with client(front) as remote, client(front, OLD) as older:
        asking, fragile = await begin(remote, "pay", "ask"), await begin(remote, "pay", "wait", name="fragile")
        over, at_work = await begin(remote, "pay", "wait"), await begin(remote, "pay", "wait")
        mine = await begin(older, "pay", "ask")
        waiting, question = await waiting_for(older, mine)
        await until(remote, asking, "input_required")
        for id in (fragile, over, at_work):
            await waits(remote, id)

        strike(fleet.ways["first"])
        fleet.gates["first"].set()  # what it comes to now is to reach nobody
        await fleet.join("second", works=True)
        assert (await until(remote, fragile, "failed"))["error"]["message"].startswith("The task was interrupted")
        while fleet.log.count(("second", "begun")) < 4:
            await trio.lowlevel.checkpoint()
        await remote.request("tasks/cancel", {"taskId": over})
        fleet.ways["first"].heal()
        while first.tasks.live:
            await trio.lowlevel.checkpoint()

        await answer(remote, asking)
        await older.reply(question, NAMED)
        fleet.gates["second"].set()
        assert text_of(await until(remote, asking, "completed")) == "for Ada, paid by first, sent by second"
        assert await result_of(older, mine, waiting) == "for Ada, paid by first, sent by second"
        assert text_of(await until(remote, at_work, "completed")) == "paid by first, sent by second"
        assert (await until(remote, over, "cancelled"))["statusMessage"] == "The task was cancelled by request"
        assert (await until(remote, fragile, "failed"))["error"]["message"].startswith("The task was interrupted")
    assert fleet.who("paid") == ["first"] * 5, "what was kept is not done again"


@strikes(ONE_WAY)
@with_faults
async def test_a_worker_that_hears_nothing_does_not_keep_what_it_has(fleet: Torn, strike: Strike) -> None:
    """Though it may still be heard: it would never hear of an answer, and its tasks would never end."""
    fleet.lease_seconds, fleet.patience = SHORT, {"first": HASTY}
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    async with client(front) as remote:
        asking, fragile = await begin(remote, "ask"), await begin(remote, "ask", name="fragile")
        for id in (asking, fragile):
            await until(remote, id, "input_required")
        strike(fleet.ways["first"])
        await answer(remote, asking)
        await fleet.join("second", works=True)
        assert text_of(await until(remote, asking, "completed")) == "for Ada, sent by second"
        assert (await until(remote, fragile, "failed"))["error"]["message"].startswith("The task was interrupted")
        fleet.ways["first"].heal()
        while first.tasks.live:
            await trio.lowlevel.checkpoint()


LOST_CHANGES = {
    "beginning": (["pay"], False),
    "note": (["wait", "pay"], False),
    "note-and-answer": (["asking", "wait", "pay"], True),
    "report": (["wait", "said"], False),
    "report-and-answer": (["asking", "wait", "said"], True),
    "question": (["wait", "ask"], False),
    "question-and-answer": (["wait", "ask"], True),
    "end": (["wait"], False),
}


@pytest.mark.parametrize(("steps", "answered"), LOST_CHANGES.values(), ids=LOST_CHANGES.keys())
@with_faults
async def test_a_worker_is_not_told_of_its_own_change(fleet: Torn, steps: list[str], answered: bool) -> None:
    """It has reached the engine; meanwhile somebody answers. The work goes on from there, and is done once."""
    fleet.patience = {"worker": HASTY}
    front = await fleet.join("front", works=False)
    worker = await fleet.join("worker", works=True)
    way = fleet.ways["worker"]
    async with client(front) as remote:
        await until(remote, await begin(remote, "pay"), "completed")  # so that the engine knows all it is sent
        before = 0
        if "wait" in steps:
            id = await begin(remote, *steps)
            await waits(remote, id)
            if "asking" in steps:
                await until(remote, id, "input_required")
            before = (await kept(front, id)).version
        way.strike(answers=Fate.LOST, at=b"paid by" if steps[-1] == "pay" else CHANGE)
        if "wait" in steps:
            fleet.gates["worker"].set()
        else:
            id = await begin(remote, *steps)
        while (await kept(front, id)).version == before:
            await trio.lowlevel.checkpoint()
        await way.until(lambda: way.stopped)
        if answered:
            await answer(remote, id)
        way.heal()
        if "ask" in steps and not answered:
            await answer(remote, id)
        text = text_of(await until(remote, id, "completed"))
        assert ("for Ada" in text, "paid by worker" in text) == ("ask" in str(steps), "pay" in steps)
        while worker.tasks.live:
            await trio.lowlevel.checkpoint()
        fleet.gates["worker"].set()
        await until(remote, await begin(remote), "completed")
    assert fleet.log.count(("worker", "begun")) == fleet.log.count(("worker", "left")) == 3
    assert fleet.log.count(("worker", "paid")) == 1 + ("pay" in steps)


async def kept(peer: Peer, id: str) -> TaskRecord:
    """The record of a task, as a part reads it that nothing has happened to."""
    found = await peer.tasks.store.get(TaskId(id))
    assert found is not None
    return found


@with_faults
async def test_what_was_done_once_is_kept_before_the_work_goes_on(fleet: Torn, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the engine is away: whoever does it again must not find that something was built on it."""
    monkeypatch.setattr("mcp_tasks.peer.contexts._NOTE_SECONDS", 0.1, raising=False)
    fleet.lease_seconds, fleet.patience = SHORT, {"first": HASTY}
    front = await fleet.join("front", works=False)
    await fleet.join("first", works=True)
    async with client(front) as remote:
        id = await begin(remote, "pay slowly")
        while ("first", "paying") not in fleet.log:
            await trio.lowlevel.checkpoint()
        fleet.ways["first"].part(Fate.LOST)
        fleet.gates["first"].set()
        await fleet.join("second", works=True)
        fleet.gates["second"].set()
        assert text_of(await until(remote, id, "completed")) == "paid by second, sent by second"
        assert ("first", "paid") in fleet.log, "which nobody can help"
        assert ("first", "pay slowly") not in fleet.log, "it was not told that this is kept"


@pytest.mark.parametrize("size", [0, 30])
@with_faults
async def test_a_worker_is_given_something_and_does_not_hear_of_it(fleet: Torn, size: int) -> None:
    """It is its own all the same, and it finds that out, long before anybody else might have it."""
    fleet.lease_seconds = 600
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["worker"]
    async with client(front) as remote:
        await until(remote, await begin(remote), "completed")
        way.cut_in_answer(size, WORK)
        await until(remote, await begin(remote), "completed")
    assert way.cuts == 1
    assert fleet.log.count(("worker", "begun")) == 2


@with_faults
async def test_a_worker_does_not_take_what_it_has_read_late_for_a_loss(fleet: Torn) -> None:
    """It begins a task, and only then gets to see what that was like before: nobody else has it."""
    front = await fleet.join("front", works=False)
    worker = await fleet.join("worker", works=True)
    store, lives = worker.tasks.shared, worker.tasks.lives
    assert store is not None
    replace, records, read = store.replace, store.records, trio.Event()

    async def begun(new: TaskRecord) -> bool:
        store.replace = replace  # type: ignore[method-assign]
        fleet.ways["worker"].cut(NEWS)  # so that it looks again at all that it has
        await read.wait()
        return await replace(new)

    async def late(ids: Collection[TaskId]) -> Mapping[TaskId, TaskRecord | None]:
        found = await records(ids)
        for id, before in found.items():
            if before is not None and not before.runs and id in lives:
                read.set()
                while id in lives and not lives[id].record.runs:
                    await trio.lowlevel.checkpoint()
        return found

    store.replace, store.records = begun, late  # type: ignore[method-assign]
    async with client(front) as remote:
        id = await begin(remote, "ask", name="fragile")
        await answer(remote, id)
        assert text_of(await until(remote, id, "completed")) == "for Ada, sent by worker"


async def test_what_comes_late_from_whoever_has_lost_changes_nothing(
    redis: Redis, fresh_prefix: Callable[[], str]
) -> None:
    """Neither the record, nor for how long it is another's."""
    prefix = fresh_prefix()
    mine = record("a", runner="first")
    theirs = evolve(mine, runs=2, runner="second", version=1)
    with trio.fail_after(60), open_network(redis.port) as network:
        way = network.way()
        async with (
            open_valkey(way.url, prefix=prefix, answer_seconds=HASTY, lease_seconds=60.0) as first,
            open_valkey(redis.url, prefix=prefix) as second,
            open_engine(redis.url) as engine,
        ):
            await second.create(mine)
            assert not await first.replace(evolve(mine, version=9))  # so that the engine knows all it is sent
            assert await first.beat({mine.id: 9}) == [mine.id]
            way.strike(requests=Fate.LATE)
            held = {mine.id: 1}
            async with trio.open_nursery() as nursery:
                for late in (
                    partial(first.replace, evolve(mine, message="late", version=1)),
                    partial(first.beat, held),
                    partial(first.release, held),
                ):
                    nursery.start_soon(fails, late)
            assert await second.replace(theirs)
            lease = ("ZSCORE", f"{{{prefix}}}:leases", mine.id)
            until_then = await engine.do(*lease)
            way.heal()
            assert await first.get(mine.id) == theirs, "what is said later comes later"
            assert await engine.do(*lease) == until_then
            assert await first.abandoned(0, 9) == {}


async def fails(do: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(StoreFailed):
        await do()


# --- a front end ------------------------------------------------------------------------------------------------------


@strikes(PARTED, ONE_WAY)
@with_faults
async def test_a_front_end_is_cut_off_and_says_so(fleet: Torn, strike: Strike) -> None:
    """To clients of both eras, soon; tasks go on, can be had at another front end, and later at this one again."""
    fleet.patience = {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    async with client(one) as newer, client(one, OLD) as older, client(two) as other, client(two, OLD) as lists:
        id, mine = await begin(newer, "ask"), await begin(older, "ask")
        waiting, question = await waiting_for(older, mine)
        (key,) = (await until(other, id, "input_required"))["inputRequests"]

        strike(fleet.ways["one"])
        async with trio.open_nursery() as nursery:
            for remote, method, params in (
                (newer, "tools/call", call(newer)),
                (newer, "tasks/get", {"taskId": id}),
                (newer, "tasks/update", {"taskId": id, "inputResponses": {key: NAMED}}),
                (newer, "tasks/cancel", {"taskId": id}),
                (older, "tools/call", call(older)),
                (older, "tasks/get", {"taskId": id}),
                (older, "tasks/result", {"taskId": id}),
                (older, "tasks/cancel", {"taskId": id}),
                (older, "tasks/list", {}),
            ):
                nursery.start_soon(is_away, remote, method, params)
        await answer(other, id)
        assert text_of(await until(other, id, "completed")) == "for Ada, sent by worker"

        fleet.ways["one"].heal()
        await older.reply(question, NAMED)
        older.on("elicitation/create", NAMED)
        assert text_of(await until(newer, id, "completed")) == "for Ada, sent by worker"
        assert await result_of(older, mine, waiting) == "for Ada, sent by worker"
        again = await begin(newer)
        made = await listed(lists)
        assert {id, mine, again} <= set(made)
        for one_of_them in made:  # those, too, of which nobody was told; some may ask, if they were made before
            await completed(other, one_of_them)


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("revision", [OLD, NEW])
@with_faults
async def test_whoever_was_not_told_of_a_new_task_makes_another(fleet: Torn, revision: str, executed: bool) -> None:
    """What was made regardless is run, is in the list, and counts until it is over."""
    fleet.limits, fleet.patience = Limits(running_tasks=2, poll_interval_ms=1), {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    async with client(one, revision) as remote, client(two, OLD) as lists:
        first = await begin(lists)  # so that the engine knows all it is sent
        await until(lists, first, "completed")
        fate = {"answers" if executed else "requests": Fate.LOST}
        fleet.ways["one"].strike(**fate)  # type: ignore[arg-type]
        await is_away(remote, "tools/call", call(remote, "ask"))
        fleet.ways["one"].heal()
        while executed and len(await listed(lists)) < 2:
            pass
        orphans = [id for id in await listed(lists) if id != first]
        assert len(orphans) == executed
        second = await begin(lists, "ask")
        if executed:
            with pytest.raises(RequestFailed, match="Too many unfinished tasks: 2"):
                await begin(remote)
        for id in (second, *orphans):
            await until(lists, id, "input_required")
            await lists.request("tasks/cancel", {"taskId": id})
        assert await begin(remote) not in (first, second, *orphans)


@with_faults
async def test_a_new_task_is_late(fleet: Torn) -> None:
    """Its requestor has given it up by then; it is run, and is in the list."""
    fleet.patience = {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    async with client(one) as remote, client(two, OLD) as lists:
        fleet.ways["one"].strike(requests=Fate.LATE)
        await is_away(remote, "tools/call", call(remote, "late"))
        assert await listed(lists) == []
        fleet.ways["one"].heal()
        again = await begin(remote)
        made = [await until(lists, id, "completed") for id in await listed(lists)]
        (late,) = [task["taskId"] for task in made if task.get("statusMessage") == "late"]
        assert late != again


@pytest.mark.parametrize("revision", [OLD, NEW])
@with_faults
async def test_a_front_end_is_not_told_that_an_answer_was_taken(fleet: Torn, revision: str) -> None:
    """The user has said it once, the work goes on with it, and nobody is asked again."""
    fleet.patience = {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["one"]
    async with client(one, revision) as remote, client(two) as other:
        id = await begin(remote, "ask")
        (key,) = (await until(other, id, "input_required"))["inputRequests"]
        if revision == NEW:
            update: JSONObject = {"taskId": id, "inputResponses": {key: NAMED}}
            way.strike(answers=Fate.LOST, at=b"Ada")
            while way.waits:
                await is_away(remote, "tasks/update", update)
        else:
            waiting, question = await waiting_for(remote, id)
            way.strike(answers=Fate.LOST, at=b"Ada")
            await remote.reply(question, NAMED)
        assert text_of(await until(other, id, "completed")) == "for Ada, sent by worker"
        way.heal()
        if revision == NEW:
            await patiently(partial(remote.request, "tasks/update", update))
            assert text_of(await until(remote, id, "completed")) == "for Ada, sent by worker"
        else:
            assert await result_of(remote, id, waiting) == "for Ada, sent by worker"
            assert [m for m in remote.received if m.get("method") == "elicitation/create"] == [question]


@with_faults
async def test_an_answer_is_not_lost_because_the_news_are_back_first(fleet: Torn) -> None:
    """The engine is away when the user answers, and whoever waits for the result looks too early: it waits on."""
    fleet.patience = {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["one"]
    async with client(one, OLD) as remote, client(two) as other:
        id = await begin(remote, "ask")
        waiting, question = await waiting_for(remote, id)
        await patiently(partial(remote.request, "tasks/get", {"taskId": id}))  # by then it has looked once
        way.strand(ENGINE)
        await remote.reply(question, NAMED)
        way.cut_in_answer(0, NEWS)
        await begin(other)
        await way.until(lambda: way.cuts and way.carries(NEWS))
        for _ in range(2):  # and by then once more
            await is_away(remote, "tasks/get", {"taskId": id})
        await until(other, id, "input_required")
        way.heal()
        assert (await remote.answer(waiting))["content"][0]["text"] == "for Ada, sent by worker"
        assert [m for m in remote.received if m.get("method") == "elicitation/create"] == [question]


@pytest.mark.parametrize("outrun", [False, True])
@pytest.mark.parametrize("what", ["answer", "cancel"])
@with_faults
async def test_what_comes_late_from_a_front_end_counts_if_it_is_the_first(fleet: Torn, what: str, outrun: bool) -> None:
    """Its requestor was told that nobody knows; somebody else may have been quicker."""
    fleet.patience = {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["one"]
    async with client(one) as remote, client(two) as other:
        id = await begin(remote, "ask")
        (key,) = (await until(other, id, "input_required"))["inputRequests"]
        bob = {"action": "accept", "content": {"name": "Bob"}}
        if what == "answer":
            method, params, word = "tasks/update", {"taskId": id, "inputResponses": {key: bob}}, b"Bob"
        else:
            method, params, word = "tasks/cancel", {"taskId": id}, CHANGE
        way.strike(requests=Fate.LATE, at=word)
        while way.waits:
            await is_away(remote, method, params)
        if outrun:
            await answer(other, id)
            await until(other, id, "completed")
        way.heal()
        if what == "cancel" and not outrun:
            await until(other, id, "cancelled")
        else:
            text = text_of(await until(remote, id, "completed"))
            assert text == f"for {'Ada' if outrun else 'Bob'}, sent by worker"


# --- news -------------------------------------------------------------------------------------------------------------

NEWS_FAULTS: dict[str, Callable[[Way], None]] = {
    "cut": lambda way: way.cut(NEWS),
    "away": lambda way: way.refuse(NEWS),
    "cut-at-once": lambda way: way.cut_in_answer(0, NEWS),
    "cut-in-answer": lambda way: way.cut_in_answer(50, NEWS),
}


@pytest.mark.parametrize("strike", NEWS_FAULTS.values(), ids=NEWS_FAULTS.keys())
@with_faults
async def test_no_change_is_missed_by_whoever_waits_for_it(fleet: Torn, strike: Strike) -> None:
    """For an answer in a worker, for a result and for changes at a front end, while news are cut off from both."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    async with client(one, OLD) as older, client(one) as newer, client(two) as other:
        id = await begin(older, "ask", "pay")
        older.on("elicitation/create", None)
        waiting = await older.ask("tasks/result", {"taskId": id})
        (key,) = (await until(other, id, "input_required"))["inputRequests"]
        await newer.ask("subscriptions/listen", {"notifications": {"taskIds": [id]}})
        await newer.expect("notifications/tasks")
        for name in ("one", "worker"):
            strike(fleet.ways[name])
        await other.request("tasks/update", {"taskId": id, "inputResponses": {key: NAMED}})
        fleet.ways["worker"].heal()
        await until(other, id, "completed")
        fleet.ways["one"].heal()
        assert (await older.answer(waiting))["content"][0]["text"] == "for Ada, paid by worker, sent by worker"
        while (await newer.expect("notifications/tasks"))["params"]["status"] != "completed":
            pass


@with_faults
async def test_an_answer_of_the_engine_is_cut_short(fleet: Torn) -> None:
    """Whoever has asked is told that the store has failed, or has what they asked for; nothing is done twice."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["one"]
    async with client(one) as remote, client(two, OLD) as lists:
        made, told = 1, [await begin(remote)]
        for size in (0, 1, 5, 11, 12, 13):
            way.cut_in_answer(size, ENGINE)
            made += 1
            answered = await remote.response(await remote.ask("tools/call", call(remote)))
            if "result" in answered:
                told.append(str(answered["result"]["taskId"]))
            else:
                assert AWAY in answered["error"]["message"]
            await patiently(partial(remote.request, "tasks/get", {"taskId": told[0]}))
        found = await listed(lists)
        assert set(told) <= set(found)
        assert len(found) <= made
        for id in found:
            await until(lists, id, "completed")
    assert fleet.log.count(("worker", "begun")) == len(found)
    assert way.cuts >= 6


# --- the engine -------------------------------------------------------------------------------------------------------


@with_faults
async def test_the_engine_stands_still_for_longer_than_a_lease(fleet: Torn) -> None:
    """Whoever asks is told so. Whoever works is still there afterwards, and nothing has ended or changed hands."""
    fleet.lease_seconds, fleet.patience = SHORT, {"one": HASTY}
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    way = fleet.ways["worker"]
    async with client(one) as newer, client(one, OLD) as older, client(two, OLD) as makes:
        order, fragile = await begin(makes, "ask"), await begin(makes, "ask", name="fragile")
        for id in (order, fragile):
            await until(newer, id, "input_required")
        fleet.redis.signal(signal.SIGSTOP)
        try:
            way.strike(requests=Fate.LATE)
            since = trio.current_time()
            while trio.current_time() < since + 2 * SHORT:
                await is_away(newer, "tasks/get", {"taskId": order})
                await is_away(older, "tasks/get", {"taskId": fragile})
        finally:
            fleet.redis.signal(signal.SIGCONT)
        await patiently(partial(newer.request, "tasks/get", {"taskId": order}))
        way.heal()  # the front ends are quicker, and one has asked already whose work is left
        for id in (order, fragile):
            await answer(newer, id)
            assert text_of(await until(newer, id, "completed")) == "for Ada, sent by worker"
    assert fleet.log.count(("worker", "begun")) == 2


@with_faults
async def test_whoever_joins_while_the_engine_is_silent_holds_up_nobody(fleet: Torn) -> None:
    """It may be called off; the same thread has other things to do."""
    way = fleet.network.way()
    way.part()
    since = trio.current_time()
    with trio.move_on_after(0.2) as scope:
        async with open_valkey(way.url, prefix=fleet.prefix):
            pytest.fail("nobody has answered")
    assert scope.cancelled_caught
    assert trio.current_time() < since + 4


# --- real processes ---------------------------------------------------------------------------------------------------

LEASE = 0.5
POLL = 0.02


def pause(slot: Slot, number: signal.Signals) -> None:
    """Have a process stand still, or go on."""
    os.kill(slot._pid, number)


@asynccontextmanager
async def emptied(redis: Redis) -> AsyncIterator[ValkeyTaskStore]:
    """The store that real processes share, with nothing in it."""
    async with open_engine(redis.url) as engine:
        await engine.do("FLUSHALL")
    async with open_valkey(redis.url) as store:
        yield store


async def all_unfinished(store: ValkeyTaskStore) -> list[TaskRecord]:
    return [record for _, record in await store.unfinished(0, 1_000_000)]


async def test_a_worker_stands_still_for_longer_than_its_lease(tmp_path: Path, redis: Redis) -> None:
    """Another takes over what it had, or it has failed; when it goes on it spoils nothing, and is of use again."""
    print(f"MCP_TASKS_SEED={SEED}")
    world = World(tmp_path, random.Random(SEED))
    front, first, second = (world.slot(role, redis.url, lease=LEASE) for role in ("front", "worker", "worker"))
    async with emptied(redis) as store, trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for slot in (front, first):
                starting.start_soon(nursery.start, slot.live)
        async with trio.open_nursery() as clients:
            for revision in ERAS:
                await clients.start(Client(world, front, revision).run)
            while True:  # it has some of both kinds in hand, which nobody is about to answer
                asking = [record for record in await all_unfinished(store) if record.questions]
                if {record.restartable for record in asking} == {True, False}:
                    break
                await trio.sleep(POLL)
            pause(first, signal.SIGSTOP)
            await nursery.start(second.live)
            held = {record.id for record in asking}
            while True:
                left = [record for record in await all_unfinished(store) if record.id in held and record.runs < 2]
                if not left:
                    break
                await trio.sleep(POLL)
            pause(first, signal.SIGCONT)
            await second.kill(signal.SIGTERM)
            seen = len(world.history)
            while True:  # what is new is done by somebody, and there is only one
                later = world.history[seen:]
                made = {fact.id for fact in later if isinstance(fact, Created)}
                if any(isinstance(fact, Seen) and fact.id in made and fact.status == "completed" for fact in later):
                    break
                await trio.sleep(POLL)
            await second.start()
            world.kills = 1
            world.over = True
            world.happened()
        nursery.cancel_scope.cancel()
    judge(world, 1)


FATES = [fate for fate in Fate if fate is not Fate.PASS]


async def strike_at_random(world: World, ways: dict[Slot, Way], redis: Redis) -> None:
    """One fault after the other, each for a moment or for longer than a lease."""
    chance = world.chance
    while world.kills < FAULTS:
        world.kills += 1
        struck = chance.sample(list(ways), chance.choice((1, 1, 1, 2, len(ways))))
        kind = chance.choice(("apart", "one-way", "refused", "cut", "in-answer", "stopped", "engine"))
        word = chance.choice((b"", ENGINE, NEWS, WORK))
        fate = chance.choice(FATES)
        print(kind, fate.value, word, [list(ways).index(slot) for slot in struck])
        for slot in struck:
            way = ways[slot]
            match kind:
                case "apart":
                    way.part(fate)
                case "one-way":
                    way.strike(**{chance.choice(("requests", "answers")): fate})  # type: ignore[arg-type]
                case "refused":
                    way.refuse(word)
                case "cut":
                    way.cut(word)
                case "in-answer":
                    way.cut_in_answer(chance.randrange(100), word)
                case "stopped":
                    pause(slot, signal.SIGSTOP)
        if kind == "engine":
            redis.signal(signal.SIGSTOP)
        try:
            await trio.sleep(chance.choice((0.05, 0.1, LEASE / 2, LEASE * 2)))
        finally:
            redis.signal(signal.SIGCONT)
            for slot in struck:
                pause(slot, signal.SIGCONT)
                ways[slot].heal()
        await trio.sleep(chance.choice((0.0, 0.05, 0.2)))
    world.over = True
    world.happened()


@pytest.mark.patience(180 + 2 * FAULTS)
async def test_the_network_fails_at_any_moment(tmp_path: Path, redis: Redis) -> None:
    """Faults of all kinds strike any part, while clients of both eras, at two front ends, create, answer and cancel."""
    print(f"MCP_TASKS_SEED={SEED} MCP_TASKS_FAULTS={FAULTS}")
    world = World(tmp_path, random.Random(SEED))
    async with emptied(redis):
        pass
    with open_network(redis.port) as network:
        ways: dict[Slot, Way] = {}
        for role in ("front", "front", "worker", "worker"):
            way = network.way()
            ways[world.slot(role, way.url, lease=LEASE)] = way
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for slot in ways:
                    starting.start_soon(nursery.start, slot.live)
            async with trio.open_nursery() as clients:
                for number, revision in enumerate(ERAS):
                    await clients.start(Client(world, list(ways)[number % 2], revision).run)
                await strike_at_random(world, ways, redis)
            nursery.cancel_scope.cancel()
    judge(world, FAULTS)
