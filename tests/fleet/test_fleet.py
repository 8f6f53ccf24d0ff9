"""Several processes on one store: front ends that are spoken to, workers that run the handlers, and one that dies.

Here each is a peer of its own in this process, with connections of its own to a real server. Real processes are killed
in tests/crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import trio
from attrs import evolve

from mcp_tasks import (
    Context,
    Limits,
    Peer,
    Principal,
    RequestFailed,
    Stopped,
    StoreFailed,
    TaskAlreadySettled,
    TaskId,
    TaskRecord,
    TaskState,
)

pytest.importorskip("glide", reason="the extra valkey is not installed")

from mcp_tasks.tasks.engine import open_engine
from mcp_tasks.tasks.valkey import ValkeyTaskStore

from ._fleet import ADA, LEASE, NAMED, NEW, OLD, Fleet, answer, begin, client, requirement, until, with_fleet

# --- any front end, any worker ----------------------------------------------------------------------------------------


@with_fleet
async def test_a_worker_runs_what_a_front_end_was_asked_for(fleet: Fleet) -> None:
    """Made at one front end, looked at and answered at another, in the newer era."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    async with client(one) as first, client(two) as second:
        id = await begin(first)
        await answer(second, id)
        assert (await until(first, id, "working"))["statusMessage"] == "paid"
        fleet.go.set()
        for remote in (first, second):
            task = await until(remote, id, "completed")
            assert task["result"]["content"][0]["text"] == "a lamp for Ada, receipt"
    assert fleet.log == [("worker", "begun"), ("worker", "paid"), ("worker", "left")]


@requirement("T25-075", "T25-076")
@pytest.mark.parametrize("waits_at", ["one", "two"])
@with_fleet
async def test_a_question_reaches_whoever_waits_for_the_result(fleet: Fleet, waits_at: str) -> None:
    """In a session: whichever front end it is connected to."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    fleet.go.set()
    async with client(one, OLD) as first, client(two, OLD) as second:
        id = await begin(first)
        remote = first if waits_at == "one" else second
        waiting = await remote.ask("tasks/result", {"taskId": id})
        question = await remote.expect("elicitation/create")
        assert question["params"]["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": id}
        await remote.reply(question, NAMED)
        assert (await remote.answer(waiting))["content"][0]["text"] == "a lamp for Ada, receipt"
        assert (await second.request("tasks/result", {"taskId": id}))["content"][0]["text"].startswith("a lamp")
        statuses = [m["params"]["status"] for m in first.received if m.get("method") == "notifications/tasks/status"]
        assert statuses[-1] == "completed", "who made it is told how it goes"


@pytest.mark.parametrize("what", ["a wait for the result", "a subscription"])
@with_fleet
async def test_a_look_that_comes_late_is_not_the_latest(fleet: Fleet, what: str) -> None:
    """A change is heard of after the record was read, and told before that was looked at: answers may overtake."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    worker = await fleet.join("worker", works=True)
    now, store = trio.Event(), two.tasks.store
    get = store.get

    async def late(id: TaskId) -> TaskRecord | None:
        record = await get(id)
        if id in two.tasks.watched and not now.is_set():
            now.set()
            while id not in two.tasks.others.told:
                await trio.lowlevel.checkpoint()
        return record

    @worker.tool(task="required", restartable=True)
    async def both(ctx: Context) -> str:
        await now.wait()
        form = await ctx.elicit("For whom?", {"name": str})
        return f"for {form['name']}"

    for peer in (one, two):
        peer.tool(task="required", restartable=True)(both)
    async with client(one) as first, client(two, OLD if "wait" in what else NEW) as second:
        id = await begin(first, "both")
        while not worker.tasks.live:
            await trio.lowlevel.checkpoint()
        store.get = late  # type: ignore[method-assign]
        if "wait" in what:
            waiting = await second.ask("tasks/result", {"taskId": id})
            await second.reply(await second.expect("elicitation/create"), NAMED)
            assert (await second.answer(waiting))["content"][0]["text"] == "for Ada"
        else:
            await second.ask("subscriptions/listen", {"notifications": {"taskIds": [id]}})
            assert (await second.expect("notifications/tasks"))["params"]["status"] == "input_required"
            await second.quiet()
            told = [m["params"]["status"] for m in second.received if m.get("method") == "notifications/tasks"]
            assert told == ["input_required"], "and not what it was before"
            await answer(first, id)
            await until(first, id, "completed")


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
@with_fleet
async def test_a_question_that_is_refused(fleet: Fleet, again: bool) -> None:
    """Its handler is told so; and if it is run again, it is told so again, and the user is not asked."""
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    async with client(front, OLD) as remote:
        id = await begin(remote)
        waiting = await remote.ask("tasks/result", {"taskId": id})
        question = await remote.expect("elicitation/create")
        await remote.refuse(question, -1, "not at home")
        await until(remote, id, "working")
        if again:
            await fleet.leave("worker")
            await fleet.join("second", works=True)
        fleet.go.set()
        result = await remote.answer(waiting)
        assert (result["isError"], result["content"][0]["text"]) == (True, "nobody says: not at home -1")
        assert [m for m in remote.received if m.get("method") == "elicitation/create"] == [question]
    assert fleet.who("begun") == ["worker", *["second"] * again]


@with_fleet
async def test_a_question_is_asked_again_by_whoever_waits_next(fleet: Fleet) -> None:
    """The first to wait goes away without an answer."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    await fleet.join("worker", works=True)
    fleet.go.set()
    async with client(two, OLD) as second:
        async with client(one, OLD) as first:
            id = await begin(first)
            await first.ask("tasks/result", {"taskId": id})
            await first.expect("elicitation/create")
        waiting = await second.ask("tasks/result", {"taskId": id})
        await second.reply(await second.expect("elicitation/create"), NAMED)
        assert "for Ada" in (await second.answer(waiting))["content"][0]["text"]


@pytest.mark.parametrize("works", [False, True])
@with_fleet
async def test_a_task_is_cancelled_from_anywhere(fleet: Fleet, works: bool) -> None:
    one, two = await fleet.join("one", works=works), await fleet.join("two", works=False)
    if not works:
        await fleet.join("worker", works=True)
    async with client(one) as first, client(two) as second:
        id = await begin(first)
        await until(first, id, "input_required")
        await second.request("tasks/cancel", {"taskId": id})
        assert (await until(first, id, "cancelled"))["statusMessage"]
        while ("one" if works else "worker", "left") not in fleet.log:
            await trio.lowlevel.checkpoint()


@with_fleet
async def test_whoever_listens_is_told_wherever_it_happens(fleet: Fleet) -> None:
    one, two = await fleet.join("one", works=True), await fleet.join("two", works=False)
    fleet.go.set()
    async with client(one) as first, client(two) as second:
        id = await begin(first)
        await until(first, id, "input_required")
        await second.ask("subscriptions/listen", {"notifications": {"taskIds": [id]}})
        assert (await second.expect("notifications/tasks"))["params"]["status"] == "input_required"
        await answer(first, id)
        while (await second.expect("notifications/tasks"))["params"]["status"] != "completed":
            pass


@with_fleet
async def test_all_front_ends_have_one_list(fleet: Fleet) -> None:
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    async with client(one, OLD) as first, client(two, OLD) as second:
        ids = [await begin(first), await begin(second), await begin(first)]
        listed = await second.request("tasks/list")
        assert [task["taskId"] for task in listed["tasks"]] == ids
        for id in ids:
            await first.request("tasks/cancel", {"taskId": id})


@with_fleet
async def test_nothing_stays_of_what_ends_unbegun(fleet: Fleet) -> None:
    """Its lifetime is over before a worker was there: whoever has made it forgets it."""
    fleet.limits = Limits(default_ttl_ms=300)
    front = await fleet.join("front", works=False)
    async with client(front) as remote:
        id = await begin(remote)
        assert id in front.links
        while front.links or front.tasks.watched:
            await trio.lowlevel.checkpoint()
        with pytest.raises(RequestFailed, match="not found"):
            await remote.request("tasks/get", {"taskId": id})


@with_fleet
async def test_whoever_waits_for_what_is_broken_is_told_so(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    async with client(front, OLD) as remote, open_engine(fleet.redis.url) as engine:
        broken, whole = await begin(remote), await begin(remote)
        waiting = {id: await remote.ask("tasks/result", {"taskId": id}) for id in (broken, whole)}
        questions = [await remote.expect("elicitation/create") for _ in waiting]
        prefix = f"{{{fleet.prefix}}}:"
        head = await engine.do("HGET", f"{prefix}task:{broken}", "head")
        await engine.do("HSET", f"{prefix}task:{broken}", "head", "{")
        await engine.do("XADD", f"{prefix}changes", "*", "news", f"99 over {broken}")
        assert "cannot be read" in (await remote.response(waiting[broken]))["error"]["message"]
        await engine.do("HSET", f"{prefix}task:{broken}", "head", head)
        fleet.go.set()
        for question in questions:
            await remote.reply(question, NAMED)
        assert (await remote.answer(waiting[whole]))["content"][0]["text"] == "a lamp for Ada, receipt"
        await remote.request("tasks/cancel", {"taskId": broken})
    assert "cannot be read" in caplog.text


@with_fleet
async def test_an_answer_is_kept_for_an_engine_that_is_away(fleet: Fleet) -> None:
    """The user has said it once, and is not asked again."""
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    fleet.go.set()
    async with client(front, OLD) as remote:
        id = await begin(remote)
        waiting = await remote.ask("tasks/result", {"taskId": id})
        question = await remote.expect("elicitation/create")
        fleet.dead.add("front")
        await remote.reply(question, NAMED)
        await remote.quiet()
        fleet.dead.discard("front")
        assert "for Ada" in (await remote.answer(waiting))["content"][0]["text"]
        assert [m for m in remote.received if m.get("method") == "elicitation/create"] == [question]


@with_fleet
async def test_limits_hold_for_all_together(fleet: Fleet) -> None:
    fleet.limits = Limits(running_tasks=3)
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    async with client(one) as first, client(two) as second:
        ids = [await begin(first), await begin(second), await begin(first)]
        with pytest.raises(RequestFailed, match="Too many unfinished tasks: 3, the limit is 3"):
            await begin(second)
        for id in ids:
            await second.request("tasks/cancel", {"taskId": id})


@with_fleet
async def test_a_front_end_that_does_no_work_makes_a_task_of_what_may_be_one(fleet: Fleet) -> None:
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    fleet.go.set()
    async with client(front) as remote:
        id = await begin(remote, "maybe")
        await answer(remote, id)
        await until(remote, id, "completed")
    assert fleet.who("begun") == ["worker"]


@with_fleet
async def test_a_worker_takes_no_more_than_it_can_do(fleet: Fleet) -> None:
    fleet.limits = Limits(tasks_at_once=2)
    front = await fleet.join("front", works=False)
    worker = await fleet.join("worker", works=True)
    most = 0

    def holding(peer: Peer) -> None:
        @peer.tool(task="required")
        async def hold(what: str) -> str:
            nonlocal most
            most = max(most, peer.tasks.live)
            await fleet.go.wait()
            return what

    holding(front)
    holding(worker)
    async with client(front) as remote:
        ids = [await begin(remote, "hold") for _ in range(25)]
        while worker.tasks.live < 2:
            await trio.lowlevel.checkpoint()
        fleet.go.set()
        for id in ids:
            await until(remote, id, "completed")
    assert most == 2


@with_fleet
async def test_what_waits_for_an_answer_keeps_nothing_else_waiting(fleet: Fleet) -> None:
    """Whoever answers may want the last one first."""
    fleet.limits = Limits(tasks_at_once=2)
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    fleet.go.set()
    async with client(front) as remote:
        ids = [await begin(remote) for _ in range(7)]
        for id in reversed(ids):
            await answer(remote, id)
            await until(remote, id, "completed")


@with_fleet
async def test_how_all_are_doing(fleet: Fleet) -> None:
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    store = front.tasks.shared
    assert store is not None

    async def doing() -> tuple[int, ...]:
        stats = await store.stats()
        return (stats.tasks, stats.unfinished, stats.queued, stats.running, stats.overdue, stats.lease_losses)

    assert await doing() == (0, 0, 0, 0, 0, 0)
    assert (await store.stats()).oldest is None
    async with client(front) as remote:
        first, second = await begin(remote), await begin(remote, "fragile")
        assert await doing() == (2, 2, 2, 0, 0, 0)
        oldest = await front.tasks.get(TaskId(first), Principal(ADA))
        assert (await store.stats()).oldest == pytest.approx(oldest.created_at, abs=1e-3)
        await fleet.join("worker", works=True)
        for id in (first, second):
            await until(remote, id, "input_required")
        while await doing() != (2, 2, 0, 2, 0, 0):
            await trio.lowlevel.checkpoint()
        fleet.dead.add("worker")
        await until(remote, second, "failed")  # of which the front end sees to
        while await doing() != (2, 1, 0, 0, 1, 1):
            await trio.lowlevel.checkpoint()
        fleet.dead.discard("worker")
        while await doing() != (2, 1, 0, 1, 0, 2):  # it says again that it goes on
            await trio.lowlevel.checkpoint()
        await remote.request("tasks/cancel", {"taskId": first})
        assert await doing() == (2, 0, 0, 0, 0, 2)


@pytest.mark.parametrize("what", ["question", "note"])
@with_fleet
async def test_a_change_that_was_made_and_built_upon_before_that_is_known(fleet: Fleet, what: str) -> None:
    """The engine has done it and does not say so; before it is asked again, somebody has changed the task further."""
    front = await fleet.join("front", works=False)
    worker = await fleet.join("worker", works=True)
    paid = 0

    async def pay() -> str:
        nonlocal paid
        paid += 1
        return "receipt"

    @worker.tool(task="required", restartable=True)
    async def both(ctx: Context) -> str:
        async def note() -> None:
            await asked.wait()
            await ctx.once("pay", pay)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(note)
            form = await ctx.elicit("For whom?", {"name": str}, key="who")
        return f"for {form['name']}"

    front.tool(task="required", restartable=True)(both)
    asked, store = trio.Event(), worker.tasks.store
    replace = store.replace

    async def unsure(new: TaskRecord) -> bool:
        done = await replace(new)
        if new.questions:
            if ("pay" in new.answers) == (what == "note"):
                assert done
                store.replace = replace  # type: ignore[method-assign]
                await answer(remote, new.id)
                raise StoreFailed
            asked.set()
        return done

    store.replace = unsure  # type: ignore[method-assign]
    async with client(front) as remote:
        id = await begin(remote, "both")
        if what == "question":
            asked.set()
        task = await until(remote, id, "completed")
        assert task["result"]["content"][0]["text"] == "for Ada"
    assert paid == 1


# --- who dies ---------------------------------------------------------------------------------------------------------


@with_fleet
async def test_what_a_dead_worker_had_in_hand_is_taken_over(fleet: Fleet) -> None:
    """With its journal; what is not to be run again has failed. The dead one cannot write any more."""
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    async with client(front) as remote:
        order, fragile = await begin(remote), await begin(remote, "fragile")
        for id in (order, fragile):
            await until(remote, id, "input_required")
        held = first.tasks.lives[TaskId(order)]
        fleet.dead.add("first")
        await fleet.join("second", works=True)
        task = await until(remote, fragile, "failed")
        assert task["error"]["message"].startswith("The task was interrupted")
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        await answer(remote, order)
        await until(remote, order, "working")
        fleet.dead.discard("first")  # it comes back from wherever it was, and finds that it has lost
        while first.tasks.live:
            await trio.lowlevel.checkpoint()
        with pytest.raises(TaskAlreadySettled):  # what its work comes to in the end is not taken, whatever it is
            await first.tasks.settle(held, Stopped("late"))
        fleet.go.set()
        task = await until(remote, order, "completed")
        assert task["result"]["content"][0]["text"] == "a lamp for Ada, receipt"
    assert fleet.who("paid") == ["first", "first"], "once for each task"
    assert fleet.who("begun") == ["first", "first", "second"]


@with_fleet
async def test_who_was_followed_asks_in_the_last_moment(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the record was read by whoever follows it, and before that has begun: the question stays open."""
    go = {name: trio.Event() for name in ("front", "first", "second")}

    def slow(peer: Peer) -> None:
        @peer.tool(task="required", restartable=True)
        async def slow(ctx: Context) -> str:
            await go[peer.info.name].wait()
            form = await ctx.elicit("For whom?", {"name": str})
            return f"for {form['name']}, by {peer.info.name}"

    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    slow(front)
    slow(await fleet.join("first", works=True))
    async with client(front) as remote:
        id = TaskId((await remote.request("tools/call", {"name": "slow", "arguments": {}}))["taskId"])
        while not fleet.peers[1].tasks.live:
            await trio.lowlevel.checkpoint()
        slow(second := await fleet.join("second", works=True))
        store = second.tasks.shared
        assert isinstance(store, ValkeyTaskStore)
        replace = store.replace

        async def abandoned(skipped: int, limit: int) -> Mapping[TaskId, TaskRecord | None]:
            return await store.records([id])

        async def too_late(new: TaskRecord) -> bool:
            store.replace = replace  # type: ignore[method-assign]
            go["first"].set()
            await until(remote, id, "input_required")
            return await replace(new)

        monkeypatch.setattr(store, "abandoned", abandoned)
        store.replace = too_late  # type: ignore[method-assign]
        while second.tasks.live == 0 or fleet.peers[1].tasks.live:
            await trio.lowlevel.checkpoint()
        go["second"].set()
        await answer(remote, id)
        assert (await until(remote, id, "completed"))["result"]["content"][0]["text"] == "for Ada, by second"


@with_fleet
async def test_many_are_looked_after_at_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one that does no work, all that have failed, behind what it leaves to others; by another all of the rest."""
    monkeypatch.setattr("mcp_tasks.tasks.others._AT_ONCE", 10)
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    async with client(front) as remote:
        orders = [await begin(remote) for _ in range(22)]
        fragile = [await begin(remote, "fragile") for _ in range(13)]
        for id in (*orders, *fragile):
            await until(remote, id, "input_required")
        fleet.dead.add("first")
        for id in fragile:
            await until(remote, id, "failed")
        fleet.limits = evolve(fleet.limits, tasks_at_once=5)
        second = await fleet.join("second", works=True)
        while second.tasks.live < len(orders):  # more than it would take of what is new
            await trio.lowlevel.checkpoint()
        fleet.dead.discard("first")
        fleet.go.set()
        for id in orders:
            await answer(remote, id)
            await until(remote, id, "completed")
        while first.tasks.live:  # it finds that it has lost all of them
            await trio.lowlevel.checkpoint()


@with_fleet
async def test_many_that_take_long_to_read_are_not_an_engine_that_is_away(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would ever look after them."""
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    await fleet.join("first", works=True)
    async with client(front) as remote:
        fragile = [await begin(remote, "fragile") for _ in range(3)]
        for id in fragile:
            await until(remote, id, "input_required")
        fleet.dead.add("first")
        store = front.tasks.shared
        assert isinstance(store, ValkeyTaskStore)
        abandoned = store.abandoned

        async def slow(skipped: int, limit: int) -> Mapping[TaskId, TaskRecord | None]:
            asked = trio.current_time()
            found = await abandoned(skipped, limit)
            while limit > 1 and trio.current_time() < asked + LEASE / 5:
                await trio.lowlevel.checkpoint()
            return found

        monkeypatch.setattr(store, "abandoned", slow)
        for id in fragile:
            await until(remote, id, "failed")
        fleet.dead.discard("first")


@with_fleet
async def test_a_worker_that_was_away_too_long_begins_nothing_that_must_not_be_repeated(fleet: Fleet) -> None:
    """It has not noticed yet that another has its task; by its own clock it could have lost it, so it looks."""
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)

    def ship_with(peer: Peer) -> None:
        async def ship() -> str:
            fleet.log.append((peer.info.name, "shipped"))
            return "shipped"

        @peer.tool(task="required", restartable=True)
        async def both(ctx: Context) -> str:
            fleet.log.append((peer.info.name, "begun"))
            await fleet.go.wait()
            return await ctx.once("ship", ship)

    ship_with(front)
    ship_with(first)
    async with client(front) as remote:
        id = await begin(remote, "both")
        while "first" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        fleet.dead.add("first")
        ship_with(await fleet.join("second", works=True))
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        fleet.go.set()
        await until(remote, id, "completed")
        fleet.dead.discard("first")
        while first.tasks.live:
            await trio.lowlevel.checkpoint()
    assert fleet.who("shipped") == ["second"]


@with_fleet
async def test_what_could_not_be_kept_is_not_taken_for_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the engine is away: a handler that went on would build on what the next run does again."""
    monkeypatch.setattr("mcp_tasks.peer.contexts._NOTE_SECONDS", 0)
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)

    def ship_with(peer: Peer, effect: Callable[[], object]) -> None:
        async def ship() -> str:
            effect()
            return "shipped"

        @peer.tool(task="required", restartable=True)
        async def both(ctx: Context) -> str:
            fleet.log.append((peer.info.name, "begun"))
            shipped = await ctx.once("ship", ship)
            fleet.log.append((peer.info.name, "kept"))
            return shipped

    ship_with(front, lambda: None)
    ship_with(first, lambda: fleet.dead.add("first"))
    async with client(front) as remote:
        id = await begin(remote, "both")
        while "first" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        ship_with(await fleet.join("second", works=True), lambda: None)
        await until(remote, id, "completed")
        fleet.dead.discard("first")
        while first.tasks.live:
            await trio.lowlevel.checkpoint()
    assert fleet.who("kept") == ["second"]


@with_fleet
async def test_a_handler_that_has_lost_its_task_does_nothing_for_the_next_one(fleet: Fleet) -> None:
    """A worker loses a task and gets it back, and its first handler is still cleaning up."""
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    clean = trio.Event()

    async def tidy() -> None:
        fleet.log.append(("somebody", "tidied"))

    def tool_of(peer: Peer) -> None:
        @peer.tool(task="required", restartable=True)
        async def both(ctx: Context) -> str:
            count = len(fleet.who("begun"))
            fleet.log.append((peer.info.name, "begun"))
            try:
                form = await ctx.elicit("For whom?", {"name": str}, key="who")
                return f"for {form['name']}"
            finally:
                with trio.CancelScope(shield=count == 0):
                    await clean.wait()
                    try:
                        await ctx.once("tidy", tidy)
                    except TaskAlreadySettled:
                        fleet.log.append((peer.info.name, "refused"))

    tool_of(front)
    tool_of(first)
    async with client(front) as remote:
        id = await begin(remote, "both")
        await until(remote, id, "input_required")
        fleet.dead.add("first")
        tool_of(await fleet.join("second", works=True))
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        fleet.dead.discard("first")
        while first.tasks.live:
            await trio.lowlevel.checkpoint()
        await fleet.leave("second")
        while (await front.tasks.shared.stats()).queued:  # type: ignore[union-attr]
            await trio.lowlevel.checkpoint()
        clean.set()
        await answer(remote, id)
        await until(remote, id, "completed")
    assert [done for name, done in fleet.log if name != "second"] == ["begun", "refused", "begun", "tidied"]


@with_fleet
async def test_whoever_leaves_in_an_orderly_way_is_followed_at_once(fleet: Fleet) -> None:
    """Long before its lease is over."""
    fleet.lease_seconds = 600
    front = await fleet.join("front", works=False)
    async with client(front) as remote:
        await fleet.join("first", works=True)
        id = await begin(remote)
        await until(remote, id, "input_required")
        await fleet.leave("first")
        await fleet.join("second", works=True)
        fleet.go.set()
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        await answer(remote, id)
        await until(remote, id, "completed")
    assert fleet.who("paid") == ["first"]


@with_fleet
async def test_before_it_leaves_it_can_be_drained(fleet: Fleet) -> None:
    """What others can go on with they have at once, and what is new; what they cannot is waited for."""
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    drained = trio.Event()

    async def drain() -> None:
        await first.drain(60)
        drained.set()

    async with client(front) as remote:
        order, fragile = await begin(remote), await begin(remote, "fragile")
        for id in (order, fragile):
            await until(remote, id, "input_required")
        await fleet.join("second", works=True)
        fleet.nursery.start_soon(drain)
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        for id in (order, await begin(remote), fragile):
            assert not drained.is_set()
            await answer(remote, id)
            fleet.go.set()
            assert "for Ada" in (await until(remote, id, "completed"))["result"]["content"][0]["text"]
        await drained.wait()
    assert fleet.who("begun") == ["first", "first", "second", "second"]
    assert fleet.who("paid") == ["first", "first", "second"]


@with_fleet
async def test_whoever_waits_at_a_server_that_leaves_its_work_to_others_is_asked_by_them(fleet: Fleet) -> None:
    """It still answers; what was asked here, or said, comes from elsewhere now."""
    first = await fleet.join("first", works=True)
    async with client(first, OLD) as remote:
        id = await begin(remote)
        waiting = await remote.ask("tasks/result", {"taskId": id})
        await remote.expect("elicitation/create")
        await first.drain(9)
        question = await remote.expect("elicitation/create")  # it is still open, and somebody will want to know
        await fleet.join("second", works=True)
        while "second" not in fleet.who("begun"):
            await trio.lowlevel.checkpoint()
        fleet.go.set()
        await remote.reply(question, NAMED)
        assert (await remote.answer(waiting))["content"][0]["text"] == "a lamp for Ada, receipt"
    assert fleet.who("begun") == ["first", "second"]


@with_fleet
async def test_draining_ends_with_its_time(fleet: Fleet) -> None:
    """What is under way then ends with the process, and says why."""
    front = await fleet.join("front", works=False)
    first = await fleet.join("first", works=True)
    async with client(front) as remote:
        id = await begin(remote, "fragile")
        await until(remote, id, "input_required")
        await first.drain(0)
        assert first.tasks.live == 1
        await fleet.leave("first")
        assert "shutting down" in (await until(remote, id, "cancelled"))["statusMessage"]


@with_fleet
async def test_what_was_given_out_and_never_begun_is_given_back(fleet: Fleet) -> None:
    """A worker leaves with more than it has begun: others need not wait for the end of a lease."""
    fleet.lease_seconds = 600
    front = await fleet.join("front", works=False)

    async with client(front) as remote:
        ids = [await begin(remote) for _ in range(5)]
        first = await fleet.join("first", works=False)
        store = first.tasks.shared
        assert store is not None
        assert list(await store.wait_for_work("ghost", 9)) == ids
        await fleet.leave("first")
        fleet.go.set()
        await fleet.join("second", works=True)
        for id in ids:
            await answer(remote, id)
            await until(remote, id, "completed")
        while (await front.tasks.shared.stats()).queued:  # type: ignore[union-attr]
            await trio.lowlevel.checkpoint()
    assert fleet.who("begun") == ["second"] * 5


@with_fleet
async def test_what_nobody_has_begun_waits_for_a_worker(fleet: Fleet) -> None:
    front = await fleet.join("front", works=False)
    async with client(front) as remote:
        id = await begin(remote)
        assert (await remote.request("tasks/get", {"taskId": id}))["status"] == "working"
        record = await front.tasks.get(TaskId(id), Principal(ADA))
        assert (record.runs, record.state) == (0, TaskState.WORKING)
        await fleet.join("worker", works=True)
        fleet.go.set()
        await answer(remote, id)
        await until(remote, id, "completed")


@with_fleet
async def test_work_that_was_given_out_and_never_begun_is_given_to_another(fleet: Fleet) -> None:
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    async with client(front) as remote:
        id = await begin(remote)
        assert list(await front.tasks.store.wait_for_work("ghost", 9)) == [
            id
        ]  # and that is the last that is heard of it
        await fleet.join("second", works=True)
        fleet.go.set()
        await answer(remote, id)
        await until(remote, id, "completed")
    assert fleet.who("begun") == ["second"]


@with_fleet
async def test_the_engine_goes_and_comes_back(fleet: Fleet) -> None:
    """In the meantime there are errors that say so, and no end that is none."""
    front = await fleet.join("front", works=False)
    await fleet.join("worker", works=True)
    async with client(front) as remote:
        id = await begin(remote)
        await until(remote, id, "input_required")
        fleet.redis.kill()
        with pytest.raises(RequestFailed, match="the store has failed"):
            await remote.request("tasks/get", {"taskId": id})
        fleet.redis.start()
        while True:
            try:
                await answer(remote, id)
                break
            except RequestFailed as failed:
                if "the store has failed" not in str(failed):
                    raise
        fleet.go.set()
        while True:
            try:
                await until(remote, id, "completed")
                break
            except RequestFailed as failed:
                if "the store has failed" not in str(failed):
                    raise
    assert fleet.who("begun") == ["worker"]


@with_fleet
async def test_an_engine_that_is_away_is_a_line_in_the_log(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs a fleet is told what cannot be done and why, again and again, but not where in our code."""
    fleet.lease_seconds = LEASE
    await fleet.join("worker", works=True)
    fleet.redis.kill()
    for said in ("no work can be had now", "tasks that were abandoned could not be looked after"):
        while not any(line.startswith(said) for line in caplog.messages):
            await trio.lowlevel.checkpoint()
    fleet.redis.start()
    assert not any(one.exc_info for one in caplog.records)
    assert not any("the store has failed" in line for line in caplog.messages), "which says nothing of why"
