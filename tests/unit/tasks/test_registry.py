"""The registry against a simple model, on a store that takes its time; and many parties at once."""

import math
import random

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_tasks._unset import Principal, TaskId
from mcp_tasks._workers import Workers
from mcp_tasks.clock import Clock
from mcp_tasks.errors import LocalProtocolError, RequestFailed, TaskAlreadySettled, TaskExpired, TaskNotFound
from mcp_tasks.limits import Limits
from mcp_tasks.tasks.model import Call, Question, Raised, Returned, Stopped, TaskRecord, TaskWish
from mcp_tasks.tasks.registry import TaskRegistry
from mcp_tasks.tasks.state import TaskState
from mcp_tasks.tasks.store import MemoryTaskStore

OWNERS = [Principal("ada"), Principal("bob")]
QUESTION = Question("elicitation/create", {})


class SlowStore(MemoryTaskStore):
    """Lets others run before and after each commit, as a disk would."""

    async def create(self, record, room=None):
        await trio.lowlevel.checkpoint()
        await super().create(record, room)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def get(self, id):
        await trio.lowlevel.checkpoint()
        found = await super().get(id)
        await trio.lowlevel.checkpoint()
        return found

    async def replace(self, new):
        await trio.lowlevel.checkpoint()
        done = await super().replace(new)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return done

    async def remove(self, *ids):
        await trio.lowlevel.checkpoint()
        await super().remove(*ids)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def page(self, principal, after, limit):
        await trio.lowlevel.checkpoint()
        return await super().page(principal, after, limit)

    async def due(self, now, limit):
        await trio.lowlevel.checkpoint()
        return await super().due(now, limit)


@define(eq=False)
class Known:
    """What the model knows of one task."""

    record: TaskRecord
    history: list[TaskRecord] = field(factory=list)
    state: TaskState = TaskState.WORKING
    questions: set[str] = field(factory=set)
    used: set[str] = field(factory=set)
    waiters: list["Waiter"] = field(factory=list)
    told: trio.Event = field(factory=trio.Event)
    end: object = None
    gone: bool = False
    work_over: bool = False

    async def work(self) -> dict:
        try:
            await self.told.wait()
            if isinstance(self.end, Exception):
                raise self.end
            return self.end  # type: ignore[return-value]
        finally:
            self.work_over = True

    @property
    def settled(self) -> bool:
        return self.state not in (TaskState.WORKING, TaskState.INPUT_REQUIRED)


@define(eq=False)
class Waiter:
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    found: object = None
    given_up: bool = False


class Walk:
    """Does one operation after the other to a registry and to the model, and compares."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.store = SlowStore()
        self.clock = Clock(1000.0)
        self.registry = TaskRegistry(
            self.store, clock=self.clock, limits=Limits(page_size=2, default_ttl_ms=60_000, max_ttl_ms=100_000)
        )
        self.home = Workers(nursery)
        self.tasks: list[Known] = []
        nursery.start_soon(self.registry.keep_time)

    # --- operations -----------------------------------------------------------------------------------------------

    async def create(self, number: int) -> None:
        wish = TaskWish([5_000, 20_000, 10**9, 125][number % 4])
        history: list[TaskRecord] = []
        call = Call("tools/call", {}, wish)
        record = await self.registry.create(call, OWNERS[number % 2], on_change=history.append)
        known = Known(record, history)
        self.tasks.append(known)
        self.registry.start(record.id, known.work, self.home)

    async def look(self, known: Known) -> None:
        id, owner = known.record.id, known.record.principal
        with pytest.raises(TaskNotFound):
            await self.registry.get(id, Principal("mallory"))
        if known.gone:
            with pytest.raises(TaskNotFound):
                await self.registry.get(id, owner)
        else:
            record = await self.registry.get(id, owner)
            assert record.state is known.state
            assert set(record.questions) == known.questions

    async def wait(self, known: Known) -> None:
        waiter = Waiter()
        known.waiters.append(waiter)

        async def run() -> None:
            with waiter.scope:
                try:
                    waiter.found = await self.registry.settled(known.record.id, known.record.principal)
                except (TaskNotFound, TaskExpired) as gone:
                    waiter.found = gone

        self.nursery.start_soon(run)

    async def stop_waiting(self, known: Known) -> None:
        for waiter in known.waiters:
            if waiter.found is None:
                waiter.given_up = True
                waiter.scope.cancel()
                return

    async def end(self, known: Known, how: object, state: TaskState) -> None:
        known.end = how
        known.told.set()
        if not known.settled:
            known.state, known.questions = state, set()

    async def cancel(self, known: Known) -> None:
        cancelling = self.registry.cancel(known.record.id, known.record.principal)
        if known.gone or known.settled:
            with pytest.raises(TaskNotFound if known.gone else TaskAlreadySettled):
                await cancelling
        else:
            assert (await cancelling).state is TaskState.STOPPED
            known.state, known.questions = TaskState.STOPPED, set()

    async def ask(self, known: Known, key: str) -> None:
        asking = self.registry.ask(known.record.id, key, QUESTION)
        if known.gone or known.settled:
            with pytest.raises(TaskAlreadySettled):
                await asking
        elif key in known.used | known.questions:
            with pytest.raises(LocalProtocolError, match="used before"):
                await asking
        else:
            await asking
            known.questions.add(key)
            known.state = TaskState.INPUT_REQUIRED

    async def answer(self, known: Known, key: str) -> None:
        answering = self.registry.answer(known.record.id, {key: {"action": "decline"}})
        if known.gone or known.settled:
            with pytest.raises(TaskAlreadySettled):
                await answering
        else:
            await answering  # an answer to what is not asked is passed over
            if key in known.questions:
                known.questions.discard(key)
                known.used.add(key)
                if not known.questions:
                    known.state = TaskState.WORKING

    async def report(self, known: Known) -> None:
        reporting = self.registry.report(known.record.id, "still at it")
        if known.gone or known.settled:
            with pytest.raises(TaskAlreadySettled):
                await reporting
        else:
            await reporting
            assert known.history[-1].message == "still at it"

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    # --- comparing ------------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        now = self.clock.now()
        for known in self.tasks:
            if known.record.expires_at <= now and not known.gone:
                known.gone = True
                if not known.settled:
                    known.state = TaskState.STOPPED
            for waiter in known.waiters:
                if not waiter.given_up:
                    assert (waiter.found is not None) is (known.settled or known.gone), "a wake-up was lost"
                    if isinstance(waiter.found, TaskRecord):
                        assert waiter.found.state is known.state
            ends = [record for record in known.history if record.settled]
            assert ends == known.history[-1:] if known.settled else ends == []
            assert [record.version for record in known.history] == list(range(1, len(known.history) + 1))
            assert {record.created_at for record in known.history} <= {known.record.created_at}
            if known.settled:
                assert known.work_over
                assert known.history[-1].questions == {}
        kept = [known for known in self.tasks if not known.gone]
        assert {record.id for record in self.store.records()} == {known.record.id for known in kept}
        assert self.registry.live == sum(not known.settled for known in kept)
        for owner in OWNERS:
            assert await self.listed(owner) == [k.record.id for k in kept if k.record.principal == owner]

    async def listed(self, owner: Principal) -> list[TaskId]:
        ids, cursor = [], None
        while True:
            page = await self.registry.list(owner, cursor)
            ids += [record.id for record in page.records]
            if page.next_cursor is None:
                return ids
            cursor = page.next_cursor


# All times are sums of eighths, so that adding them is exact and "at the same time" means that.
numbers = st.integers(0, 5)
operations = st.one_of(
    st.tuples(st.just("create"), numbers),
    st.tuples(st.just("create"), numbers),
    st.tuples(st.sampled_from(["look", "wait", "wait", "stop_waiting", "cancel", "report"]), numbers),
    st.tuples(st.sampled_from(["return", "raise", "panic"]), numbers),
    st.tuples(st.sampled_from(["ask", "answer"]), numbers, st.sampled_from("abc")),
    st.tuples(st.just("sleep"), st.sampled_from([0.125, 1, 4.875, 5, 20, 100])),
)
ENDINGS = {
    "return": ({"n": 1}, TaskState.RETURNED),
    "raise": (RequestFailed(-1, "no"), TaskState.RAISED),
    "panic": (ZeroDivisionError("bug"), TaskState.RAISED),
}


def run(main, *args) -> None:
    trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=40))
def test_whatever_is_done_the_registry_does_as_the_model(steps):
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            walk = Walk(nursery)
            for name, number, *rest in steps:
                if name in ("create", "sleep"):
                    await getattr(walk, name)(number)
                elif walk.tasks:
                    known = walk.tasks[number % len(walk.tasks)]
                    if name in ENDINGS:
                        await walk.end(known, *ENDINGS[name])
                    else:
                        await getattr(walk, name)(known, *rest)
                await walk.compare()
            # In the end everything has gone: no record, no task, no waiter.
            await trio.sleep(100)
            await walk.compare()
            assert len(walk.store) == walk.registry.live == 0
            assert walk.store._running == {}
            nursery.cancel_scope.cancel()

    run(main)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_of_many_who_end_a_task_at_once_one_does_and_all_who_wait_agree(seed):
    """Return, cancel, expiry and waits in any order within one moment; three ends are one."""
    shuffle = random.Random(seed)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            walk = Walk(nursery)
            await walk.create(0)
            [known] = walk.tasks
            id, owner = known.record.id, known.record.principal
            cancels: list[object] = []

            async def cancel() -> None:
                try:
                    cancels.append(await walk.registry.cancel(id, owner))
                except (TaskAlreadySettled, TaskNotFound) as late:
                    cancels.append(late)

            async def finish() -> None:
                await walk.end(known, {"n": 1}, TaskState.RETURNED)

            async def wait() -> None:
                await walk.wait(known)

            await trio.sleep(shuffle.choice([0, 4.875, 5]))
            things = [cancel, cancel, finish, *[wait] * 5]
            shuffle.shuffle(things)
            for thing in things:
                nursery.start_soon(thing)
                for _ in range(shuffle.choice([0, 0, 1, 2])):
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            ends = [record for record in known.history if record.settled]
            assert len(ends) == 1
            assert known.history[-1:] == ends
            assert sum(isinstance(cancel, TaskRecord) for cancel in cancels) <= 1
            for cancelled in cancels:
                if isinstance(cancelled, TaskRecord):
                    assert cancelled == ends[0]
            assert len(known.waiters) == 5
            for waiter in known.waiters:
                assert waiter.found == ends[0] or isinstance(waiter.found, (TaskExpired, TaskNotFound))
            assert walk.registry.live == 0
            assert known.work_over or known.end is None
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("outcome", [Returned, Raised, Stopped])
async def test_any_number_may_wait(outcome, autojump_clock):
    async with trio.open_nursery() as nursery:
        walk = Walk(nursery)
        await walk.create(0)
        [known] = walk.tasks
        for _ in range(1000):
            await walk.wait(known)
        await trio.testing.wait_all_tasks_blocked()
        for waiter in known.waiters[::2]:
            waiter.given_up = True
            waiter.scope.cancel()
        if outcome is Stopped:
            await walk.cancel(known)
        else:
            await walk.end(known, *ENDINGS["return" if outcome is Returned else "raise"])
        await walk.compare()
        assert all(isinstance(waiter.found.outcome, outcome) for waiter in known.waiters[1::2])
        nursery.cancel_scope.cancel()


async def test_shutting_down_settles_what_runs(autojump_clock):
    async with trio.open_nursery() as nursery:
        walk = Walk(nursery)
        for number in range(3):
            await walk.create(number)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [known.history[-1].state for known in walk.tasks] == [TaskState.STOPPED] * 3
    assert walk.registry.live == 0


async def test_a_create_that_is_cancelled_makes_nothing(autojump_clock):
    async with trio.open_nursery() as nursery:
        walk = Walk(nursery)
        with trio.CancelScope() as scope:
            scope.cancel()
            await walk.create(0)
        assert scope.cancelled_caught
        assert len(walk.store) == walk.registry.live == 0
        assert walk.store._running == {}
        nursery.cancel_scope.cancel()


async def test_without_lifetimes_nobody_wakes_up(autojump_clock):
    registry = TaskRegistry()
    with trio.move_on_after(10**6) as waited:
        await registry.keep_time()
    assert waited.cancelled_caught
    assert registry.lifetimes.next_end == math.inf


@pytest.mark.parametrize("epoch", [0.0, 1.76e9])
def test_times_that_do_not_add_up_make_nobody_busy(epoch):
    """A clock that is finer than trio's: the rest of a lifetime may be too small to change the time."""

    async def main(number: int) -> None:
        await trio.sleep(1e5 + number * 0.1)
        registry = TaskRegistry(clock=Clock(epoch))
        await trio.sleep(number * 0.037)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.keep_time)
            await registry.create(Call("tools/call", {}, TaskWish(1001 + number)), OWNERS[0])
            await trio.sleep(2)
            assert len(registry.store) == 0
            nursery.cancel_scope.cancel()

    for number in range(50):
        run(main, number)


class LateStore(MemoryTaskStore):
    """What was read comes late, once a change was made and told of; like that of any store that takes time."""

    change = None

    async def get(self, id):
        record = await super().get(id)
        await self.happened()
        return record

    async def page(self, principal, after, limit):
        found = await super().page(principal, after, limit)
        await self.happened()
        return found

    async def happened(self):
        change, self.change = self.change, None
        if change is not None:
            await change()


@pytest.mark.requirement("T25-064")
@pytest.mark.parametrize("how", ["get", "list"])
async def test_nobody_is_shown_what_was_before_what_was_told(how):
    registry, told = TaskRegistry(LateStore()), []
    record = await registry.create(Call("tools/call", {}), OWNERS[0])
    live = registry.lives[record.id]

    async def settled():
        await registry.settle(live, Returned({}))

    with registry.watching([record.id], told.append):
        registry.store.change = settled
        if how == "get":
            del registry.lives[record.id]  # as where its work is in another process, whose news come from there
            seen = await registry.get(record.id, OWNERS[0])
        else:
            seen = (await registry.list(OWNERS[0], None)).records[0]
    assert told == [seen]
    assert seen.state is TaskState.RETURNED
    assert registry._told_meanwhile == []
