"""Checks that whoever writes a transport or a store can run over it: the contract, duty by duty.

Each raises AssertionError with the duty that was broken. Both must run inside trio; neither sleeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing
from attrs import evolve

from .._unset import JSONObject, Principal, TaskId
from ..abc import Transport
from ..errors import ConnectionClosed, LimitReached, LocalProtocolError, RequestFailed, TaskNotFound
from ..tasks.model import Question, Raised, Returned, Stopped, TaskRecord
from ..tasks.state import TaskState
from ..tasks.store import Room, TaskStore
from ..wire.jsonrpc import Message, Notification, Request, Response

__all__ = ["check_task_store", "check_transport"]


_DUTY_SECONDS = 60  # no duty takes long; one that hangs should say which it was


async def check_transport(make_pair: Callable[[], Awaitable[tuple[Transport, Transport]]]) -> None:
    """Check two joined transports, of which `make_pair` makes fresh ones for each duty."""
    for duty in (
        _carries_messages_in_order,
        _carries_large_messages,
        _batches_what_was_queued,
        _refuses_what_is_no_json,
        _loses_nothing_when_receive_is_cancelled,
        _says_when_the_other_side_is_gone,
        _can_be_closed_twice,
    ):
        for swapped in (False, True):
            ends = await make_pair()
            left, right = ends[::-1] if swapped else ends
            try:
                with trio.fail_after(_DUTY_SECONDS):
                    await duty(left, right)
            finally:
                await left.aclose()
                await right.aclose()


async def _collect(transport: Transport, count: int) -> list[object]:
    found: list[object] = []
    while len(found) < count:
        found += await transport.receive()
    return found


async def _carries_messages_in_order(left: Transport, right: Transport) -> None:
    sent: list[Message] = [
        Request(1, "a", {"text": "é\n\u2028"}),
        Notification("b"),
        Response("x", {}),
        Request("1", "c"),
    ]
    for message in sent:
        left.send(message)
    await left.flush()
    assert left.backlog == 0, "nothing is left after a flush that was read"
    assert await _collect(right, len(sent)) == sent, "messages arrive as they were sent, in order"


async def _carries_large_messages(left: Transport, right: Transport) -> None:
    message = Response(1, {"text": "x" * 3_000_000})
    async with trio.open_nursery() as nursery:
        left.send(message)
        assert left.backlog >= 3_000_000, "the backlog counts what is queued"
        nursery.start_soon(left.flush)
        assert await _collect(right, 1) == [message], "a large message arrives whole"


async def _batches_what_was_queued(left: Transport, right: Transport) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(1000):
            left.send(Notification("n", {"number": number}))
        nursery.start_soon(left.flush)
        found = await _collect(right, 1000)
    assert [message.params["number"] for message in found] == list(range(1000)), "many at once stay in order"  # type: ignore[attr-defined]


async def _refuses_what_is_no_json(left: Transport, right: Transport) -> None:
    left.send(Notification("before"))
    try:
        left.send(Response(1, {"set": object()}))
    except (TypeError, ValueError):
        pass
    else:
        raise AssertionError("a value that is no JSON is refused by send")
    left.send(Notification("after"))
    await left.flush()
    found = await _collect(right, 2)
    assert found == [Notification("before"), Notification("after")], "a refused message leaves no trace"


async def _loses_nothing_when_receive_is_cancelled(left: Transport, right: Transport) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await right.receive()
    assert scope.cancelled_caught, "receive is a checkpoint"
    left.send(Notification("kept"))
    await left.flush()
    assert await _collect(right, 1) == [Notification("kept")], "a cancelled receive loses nothing"


async def _says_when_the_other_side_is_gone(left: Transport, right: Transport) -> None:
    left.send(Notification("last"))
    await left.flush()
    await left.aclose()
    assert await _collect(right, 1) == [Notification("last")], "what was sent before the end still arrives"
    try:
        await right.receive()
    except ConnectionClosed:
        return
    raise AssertionError("receive raises ConnectionClosed at the end")


async def _can_be_closed_twice(left: Transport, right: Transport) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await left.aclose()
    await left.aclose()


async def check_task_store(make_store: Callable[[], Awaitable[TaskStore]]) -> None:
    """Check a task store, of which `make_store` makes a fresh and empty one for each duty."""
    for duty in (
        _creates_once,
        _replaces_only_what_it_saw,
        _forgets,
        _lists_in_order,
        _finds_what_is_due,
        _finds_what_is_unfinished,
        _keeps_to_the_room,
        _keeps_everything,
        _has_one_winner,
        _survives_being_cancelled,
    ):
        await duty(await make_store())


def _record(name: str, *, principal: str = "ada", ttl_ms: int | None = 1000, created_at: float = 100.0) -> TaskRecord:
    return TaskRecord(
        id=TaskId(name),
        principal=Principal(principal),
        method="tools/call",
        created_at=created_at,
        updated_at=created_at,
        ttl_ms=ttl_ms,
        poll_interval_ms=500,
    )


async def _created(store: TaskStore, record: TaskRecord) -> TaskRecord:
    await store.create(record)
    return record


async def _creates_once(store: TaskStore) -> None:
    assert await store.get(TaskId("a")) is None, "an unknown id is None"
    record = await _created(store, _record("a"))
    assert await store.get(record.id) == record, "a created record is there at once"
    try:
        await store.create(_record("a"))
    except LocalProtocolError:
        pass
    else:
        raise AssertionError("an id exists once")
    assert len(await store.page(record.principal, 0, 10)) == 1


async def _replaces_only_what_it_saw(store: TaskStore) -> None:
    record = await _created(store, _record("a"))
    done = evolve(record, state=TaskState.RETURNED, outcome=Returned({"n": 1}), version=record.version + 1)
    assert await store.replace(done), "the next version takes the place of the one before"
    assert await store.get(record.id) == done
    late = evolve(record, message="late", version=record.version + 1)
    assert not await store.replace(late), "a change to an older version is not made"
    assert await store.get(record.id) == done, "and leaves the record alone"
    assert not await store.replace(_record("b")), "what is not there is not replaced"


async def _forgets(store: TaskStore) -> None:
    record = await _created(store, _record("a"))
    [(position, _)] = await store.page(record.principal, 0, 10)
    other = await _created(store, _record("b"))
    await store.remove(record.id, other.id, TaskId("nothing"))
    await store.remove(record.id)
    await store.remove()
    assert await store.get(record.id) is None, "a removed record is gone"
    assert await store.page(record.principal, 0, 10) == []
    assert await store.next_due() is None, "and so is its end of life"
    assert not await store.replace(evolve(record, version=record.version + 1)), "and does not come back"
    await store.create(evolve(_record("c"), created_at=200.0))
    [(again, _)] = await store.page(record.principal, 0, 10)
    assert again > position, "positions are not used again"


async def _lists_in_order(store: TaskStore) -> None:
    mine = [await _created(store, _record(f"a{number}")) for number in range(7)]
    await store.create(_record("other", principal="bob"))
    ada = mine[0].principal
    first = await store.page(ada, 0, 3)
    assert [record for _, record in first] == mine[:3], "a page has the oldest first"
    after = first[-1][0]
    assert [record for _, record in await store.page(ada, after, 10)] == mine[3:], "and goes on after a position"
    await store.remove(mine[2].id, mine[4].id)
    rest = [mine[3], mine[5], mine[6]]
    assert [record for _, record in await store.page(ada, after, 10)] == rest, "also after a position that is gone"
    assert [record.id for _, record in await store.page(Principal("bob"), 0, 10)] == ["other"], "each has their own"


async def _finds_what_is_due(store: TaskStore) -> None:
    late = await _created(store, _record("late", ttl_ms=9000))
    soon = await _created(store, _record("soon", ttl_ms=1000))
    await store.create(_record("never", ttl_ms=None))
    assert await store.next_due() == 101.0
    assert await store.due(100.9, 10) == [], "not before its time"
    assert await store.due(101.0, 10) == [soon.id], "at its time"
    assert await store.due(101.0, 10) == [soon.id], "and until it is removed"
    assert await store.due(200.0, 1) == [soon.id], "the oldest end first, no more than asked for"
    await store.remove(soon.id)
    assert await store.next_due() == 109.0
    assert await store.due(200.0, 10) == [late.id]


async def _finds_what_is_unfinished(store: TaskStore) -> None:
    assert await store.unfinished(0, 10) == []
    mine = [await _created(store, _record(name, principal=name)) for name in ("d", "b", "a", "c")]
    assert await store.replace(_settled(mine[0]))
    await store.remove(TaskId("a"))
    first = await store.unfinished(0, 1)
    rest = await store.unfinished(first[-1][0], 10)
    assert (len(first), len(rest)) == (1, 1), "what is settled or gone is not among them"
    assert sorted(record.id for _, record in [*first, *rest]) == ["b", "c"], "each is met once"
    assert [record for _, record in [*first, *rest] if record not in mine] == [], "and is whole"


def _settled(record: TaskRecord, result: JSONObject | None = None) -> TaskRecord:
    outcome = Returned({} if result is None else result)
    return evolve(record, state=TaskState.RETURNED, outcome=outcome, version=record.version + 1)


async def _keeps_to_the_room(store: TaskStore) -> None:
    room = Room(running=2, retained=3)
    refused: list[str] = []

    async def create(name: str) -> None:
        try:
            await store.create(_record(name), room)
        except LimitReached as limit:
            refused.append(limit.limit)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(create, f"t{number}")
    assert refused == ["running_tasks"] * 3, "many at once do not take more room than there is"
    first, second = [record for _, record in await store.page(Principal("ada"), 0, 10)]
    assert await store.replace(_settled(first))
    await create("t5")
    assert len(refused) == 3, "what is settled makes room"
    await store.remove(second.id)
    await create("t6")
    assert len(refused) == 3, "and so does what is removed"
    await create("t7")
    assert refused[3:] == ["running_tasks"]
    assert await store.replace(_settled(_record("t6")))
    await create("t8")
    assert refused[4:] == ["retained_tasks"], "what is finished counts as retained"
    await store.create(_record("other", principal="bob"), room)
    await store.create(_record("more"))
    assert len(await store.page(Principal("ada"), 0, 10)) == 4, "without a limit there is always room"


_ODD = "\u0000\u2028 \U0001f600 '\"\\"


async def _keeps_everything(store: TaskStore) -> None:
    record = evolve(
        _record("id " + _ODD, principal=_ODD, ttl_ms=None),
        message=_ODD,
        poll_interval_ms=None,
        questions={"q": Question("elicitation/create", {"text": _ODD, "none": None})},
        answers={"a": {"b": [1, 1.5, True, None, _ODD]}, "text": "x", "none": None},
        state=TaskState.INPUT_REQUIRED,
        origin={"params": {"deep": [[[{}]]]}},
        runs=3,
    )
    await store.create(record)
    assert await store.get(record.id) == record, "nothing of a record is lost"
    record = evolve(record, answers={**record.answers, "q": {"content": {}}}, questions={}, version=1)
    record = evolve(record, state=TaskState.WORKING, updated_at=101.25, ttl_ms=5, runs=4)
    assert await store.replace(record)
    assert await store.get(record.id) == record, "nor of a change"
    assert await store.due(1000.0, 10) == [record.id]
    large = {"content": ["y" * 200_000] * 20, "flag": True, "count": 3}
    for name, outcome, state in (
        ("large", Returned(large), TaskState.RETURNED),
        ("refused", Raised(TaskNotFound("x")), TaskState.RAISED),
        ("limit", Raised(LimitReached("too many", "tasks", 3)), TaskState.RAISED),
        ("failed", Raised(RequestFailed(-32042, _ODD, {"a": 1})), TaskState.RAISED),
        ("failed without data", Raised(RequestFailed(1, "")), TaskState.RAISED),
        ("stopped", Stopped(_ODD), TaskState.STOPPED),
    ):
        ended = evolve(_record(name), state=state, outcome=outcome, version=1)
        await store.create(_record(name))
        assert await store.replace(ended)
        kept = await store.get(ended.id)
        assert kept is not None
        assert _outcome(kept) == _outcome(ended), f"an outcome is kept as it was: {name}"
    listed = {record.id: record for _, record in await store.page(Principal("ada"), 0, 100)}
    kept_large = listed[TaskId("large")].outcome
    assert isinstance(kept_large, Returned)
    assert (kept_large.result["flag"], kept_large.result["count"]) == (True, 3), "a list has what is small"


def _outcome(record: TaskRecord) -> object:
    outcome = record.outcome
    if isinstance(outcome, Raised):
        return type(outcome.error), vars(outcome.error)
    return outcome


async def _has_one_winner(store: TaskStore) -> None:
    record = await _created(store, _record("a"))
    won: list[str] = []

    async def change(message: str) -> None:
        if await store.replace(evolve(record, message=message, version=1)):
            won.append(message)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(change, str(number))
    kept = await store.get(record.id)
    assert kept is not None
    assert [kept.message] == won, "of those who change the same version, one has done it"


async def _survives_being_cancelled(store: TaskStore) -> None:
    for number in range(20):
        record = _record(f"t{number}")
        with trio.CancelScope() as scope:
            if number % 2:
                scope.cancel()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.create, record)
                for _ in range(number // 2):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        # As a whole or not at all, and not later: whoever was cancelled knows what there is.
        assert await store.get(record.id) == await store.get(record.id)
        await store.remove(record.id)
        assert await store.get(record.id) is None, "a create that was cancelled does not come later"
