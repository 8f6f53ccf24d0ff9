"""The store in a file keeps the contract, plain and encrypted; what it refuses, what it costs, what it gives back."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_tasks import (
    InternalError,
    InvalidParams,
    LimitReached,
    LocalProtocolError,
    MemoryTaskStore,
    Principal,
    Question,
    Raised,
    Refusal,
    Returned,
    Room,
    SQLiteTaskStore,
    StoreFailed,
    StoreUnusable,
    TaskId,
    TaskRecord,
    TaskState,
    TaskStore,
)
from mcp_tasks.tasks import tables
from mcp_tasks.tasks.batches import Errand
from mcp_tasks.tasks.boxes import SealedBox
from mcp_tasks.tasks.kept import decode, encode, keep_outcome, lift_outcome
from mcp_tasks.tasks.writing import Remove
from mcp_tasks.testing import check_task_store

KEY = bytes(range(32))
ADA = Principal("ada")


def record(name: str, *, principal: Principal = ADA, ttl_ms: int | None = 1000, **fields: Any) -> TaskRecord:
    return TaskRecord(
        id=TaskId(name),
        principal=principal,
        method="tools/call",
        created_at=100.0,
        updated_at=100.0,
        ttl_ms=ttl_ms,
        poll_interval_ms=None,
        **fields,
    )


def returned(old: TaskRecord, result: dict[str, Any]) -> TaskRecord:
    return evolve(old, state=TaskState.RETURNED, outcome=Returned(result), version=old.version + 1)


def size_of(path: Path | str) -> int:
    return os.stat(path).st_size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteTaskStore]:
    with SQLiteTaskStore(path) as store:
        yield store


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
async def test_it_keeps_the_contract(tmp_path: Path, key: bytes | None) -> None:
    stores: list[SQLiteTaskStore] = []
    numbers = itertools.count()

    async def make() -> SQLiteTaskStore:
        stores.append(SQLiteTaskStore(tmp_path / f"{next(numbers)}.db", key=key))
        return stores[-1]

    try:
        await check_task_store(make)
    finally:
        for store in stores:
            store.close()


# --- the same as in memory --------------------------------------------------------------------------------------------

NARROW = Room(running=2, retained=3)
NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, st.sampled_from(["ada", "bob"]), st.sampled_from([None, 1000, 5000])),
        st.tuples(st.just("note"), NAMES),
        st.tuples(st.just("ask"), NAMES),
        st.tuples(st.just("settle"), NAMES, st.sampled_from([1, 5_000, 600_000])),
        st.tuples(st.just("stale"), NAMES),
        st.tuples(st.just("remove"), NAMES, NAMES),
        st.tuples(st.just("reopen")),
    ),
    max_size=30,
)


async def _step(store: TaskStore, step: tuple[Any, ...], number: int, room: Room | None = NARROW) -> object:
    try:
        match step:
            case ("create", name, principal, ttl_ms):
                new = record(name, principal=Principal(principal), ttl_ms=ttl_ms, answers={"first": number})
                await store.create(new, room)
            case ("remove", *names):
                await store.remove(*names)
            case (change, name, *size) if (old := await store.get(name)) is not None:
                if old.settled:
                    return "settled"
                edits: dict[str, Any] = {"version": old.version + 1, "updated_at": 100.0 + number}
                if change == "note":
                    edits["answers"] = {**old.answers, f"n{number}": ["x", number]}
                elif change == "ask":
                    edits |= {"questions": {"q": Question("m", {"n": number})}, "state": TaskState.INPUT_REQUIRED}
                elif change == "settle":
                    edits |= {"state": TaskState.RETURNED, "outcome": Returned({"text": "x" * size[0]})}
                else:
                    edits["version"] = old.version + 3
                return await store.replace(evolve(old, **edits))
    except (LimitReached, LocalProtocolError) as refused:
        return str(refused)
    return None


async def _seen(store: TaskStore) -> object:
    pages = [[(r.id, r.version, r.state) for _, r in await store.page(Principal(p), 0, 9)] for p in ("ada", "bob")]
    due = [await store.due(now, 9) for now in (100.5, 101.0, 105.0)]
    whole = [await store.get(TaskId(name)) for name in "abcd"]
    return (
        pages,
        [sorted(ids) for ids in due],
        whole,
        await store.next_due(),
        [r for _, r in await store.unfinished(0, 9)],
    )


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, key=st.sampled_from([None, KEY]))
def test_whatever_is_done_it_holds_what_the_store_in_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]], key: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("walk") / "tasks.db"

    async def walk() -> None:
        model, store = MemoryTaskStore(), SQLiteTaskStore(path, key=key)
        try:
            for number, step in enumerate(steps):
                if step[0] == "reopen":
                    store.close()
                    store = SQLiteTaskStore(path, key=key)
                else:
                    assert await _step(store, step, number) == await _step(model, step, number)
                assert await _seen(store) == await _seen(model)
        finally:
            store.close()

    trio.run(walk)


# --- what survives ----------------------------------------------------------------------------------------------------


async def test_what_was_committed_is_there_for_the_next(path: Path) -> None:
    old = record("a", answers={"k": 1}, origin={"params": {}})
    with SQLiteTaskStore(path) as store:
        await store.create(old)
        secret = store.secret
    with SQLiteTaskStore(path) as store:
        assert await store.get(TaskId("a")) == old
        assert store.secret == secret
        await store.create(record("b"))
        assert [r.id for _, r in await store.page(ADA, 0, 9)] == ["a", "b"]


def test_one_store_serves_one_run_after_the_other(store: SQLiteTaskStore) -> None:
    trio.run(store.create, record("a"))
    assert trio.run(store.get, TaskId("a")) == record("a")


def test_a_run_that_ended_in_the_midst_holds_up_none_that_follows(store: SQLiteTaskStore) -> None:
    """Whoever was waiting went down with it; what was asked may have been done or not."""

    async def crash() -> None:
        store._writing._gathered.append(Errand(Remove(())))  # asked, and the run ends before it is sent

    trio.run(crash)
    trio.run(store.create, record("a"))
    assert trio.run(store.get, TaskId("a")) == record("a")


async def test_nothing_can_be_asked_of_a_closed_one(path: Path) -> None:
    store = SQLiteTaskStore(path)
    store.close()
    store.close()
    with pytest.raises(RuntimeError, match="closed"):
        await store.get(TaskId("a"))


async def test_closing_waits_for_what_was_asked(path: Path) -> None:
    store = SQLiteTaskStore(path)
    done: list[int] = []

    async def create(number: int) -> None:
        await store.create(record(f"t{number}"))
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(create, number)
        await trio.testing.wait_all_tasks_blocked()
        store.close()
    assert len(done) == 50
    with SQLiteTaskStore(path) as store:
        assert len(await store.page(ADA, 0, 100)) == 50


# --- commits ----------------------------------------------------------------------------------------------------------


class Held:
    """The writer, standing still in its next transaction until it is let go; what it commits is counted."""

    def __init__(self, store: SQLiteTaskStore) -> None:
        self.commits = 0
        self.begun, self._go = threading.Event(), threading.Event()
        store._writer.connection.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self.begun.set()
            self._go.wait()
        self.commits += statement == "COMMIT"

    def let_go(self) -> None:
        self._go.set()


async def test_many_at_once_share_one_commit(store: SQLiteTaskStore) -> None:
    held = Held(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.create, record("first"))
        await trio.to_thread.run_sync(held.begun.wait)
        for number in range(256):
            nursery.start_soon(store.create, record(f"t{number}"))
        await trio.testing.wait_all_tasks_blocked()
        held.let_go()
    assert held.commits == 2, "one for who was first, one for all who came meanwhile"
    assert len(await store.page(ADA, 0, 1000)) == 257


async def test_what_was_not_begun_can_be_cancelled_and_what_was_is_waited_for(store: SQLiteTaskStore) -> None:
    held = Held(store)
    ended: list[str] = []

    async def hold() -> None:
        with trio.CancelScope() as begun_scope:
            scopes.append(begun_scope)
            await store.create(record("first"))
            ended.append("begun")

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await trio.to_thread.run_sync(held.begun.wait)
        with trio.move_on_after(0):
            await store.create(record("never"))
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert ended == []
        held.let_go()
    assert ended == ["begun"], "it has happened, and says so"
    assert await store.get(TaskId("never")) is None


async def test_what_cannot_be_kept_takes_nothing_else_with_it(store: SQLiteTaskStore) -> None:
    """A value that is no JSON, an id that exists, no room: in one batch with what is right."""
    await store.create(record("there"))
    failed: list[tuple[str, str]] = []

    async def create(new: TaskRecord, room: Room | None = None) -> None:
        try:
            await store.create(new, room)
        except (TypeError, LocalProtocolError, LimitReached) as error:
            failed.append((new.id, type(error).__name__))

    held = Held(store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.create, record("first"))
        await trio.to_thread.run_sync(held.begun.wait)
        nursery.start_soon(create, record("one"))
        nursery.start_soon(create, record("wrong", answers={"k": object()}))
        nursery.start_soon(create, record("there"))
        nursery.start_soon(create, record("full"), Room(running=1, retained=9))
        nursery.start_soon(create, record("two"))
        await trio.testing.wait_all_tasks_blocked()
        held.let_go()
    assert sorted(failed) == [("full", "LimitReached"), ("there", "LocalProtocolError"), ("wrong", "TypeError")]
    assert {r.id for _, r in await store.page(ADA, 0, 9)} == {"first", "there", "one", "two"}


async def test_a_full_disk_is_said_and_passes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteTaskStore(path) as store:
        (pages,) = store._writer.connection.execute("PRAGMA page_count").fetchone()
        store._writer.connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        large = record("large", answers={"k": "x" * 1_000_000})
        outcome: list[object] = []

        async def create(new: TaskRecord) -> None:
            try:
                await store.create(new)
            except StoreFailed as failure:
                outcome.append(str(failure))
            else:
                outcome.append(new.id)

        async with trio.open_nursery() as nursery:
            for new in (record("a"), large, record("b")):
                nursery.start_soon(create, new)
        assert sorted(map(str, outcome)) == ["Tasks cannot be kept or found now: the store has failed", "a", "b"]
        assert "full" in caplog.text
        store._writer.connection.execute("PRAGMA max_page_count = 1000000")
        await store.create(large)
    with SQLiteTaskStore(path) as store:
        assert await store.get(large.id) == large
        assert len(await store.page(ADA, 0, 9)) == 3


async def test_a_file_that_is_broken_is_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteTaskStore(path) as store:
        await store.create(record("a"))
        store._writer.connection.execute("UPDATE tasks SET head = x'00'")
        with pytest.raises(StoreFailed, match=r"^Task a cannot be read"):
            await store.get(TaskId("a"))
    assert "cannot be read" in caplog.text


class Flaky:
    """The writer's connection, some of whose statements fail."""

    def __init__(self, connection: sqlite3.Connection, fails: Callable[[str], bool]) -> None:
        self._connection = connection
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        if name not in ("execute", "executemany", "executescript"):
            return method

        def run(statement: str, *args: Any) -> Any:
            if self._fails(statement):
                raise sqlite3.OperationalError("planted")
            return method(statement, *args)

        return run


@pytest.mark.parametrize("seed", range(25))
def test_what_is_counted_is_what_there_is_whatever_fails(tmp_path: Path, seed: int) -> None:
    """Many at a time, statements of which fail now and then: what a principal has is never miscounted."""
    chance = random.Random(seed)
    path = tmp_path / "tasks.db"
    names = [f"t{number}" for number in range(12)]
    steps: list[tuple[Any, ...]] = []
    for _ in range(100):
        name = chance.choice(names)
        create = ("create", name, chance.choice(["ada", "bob"]), 1000)
        steps.append(chance.choice([create, create, ("note", name), ("settle", name, 1), ("remove", name)]))

    async def one(store: SQLiteTaskStore, step: tuple[Any, ...], number: int) -> None:
        try:
            await _step(store, step, number, None)
        except StoreFailed:
            pass

    async def walk() -> None:
        with SQLiteTaskStore(path) as store:
            plain = store._writer.connection
            store._writer.connection = Flaky(plain, lambda statement: chance.random() < 0.1)  # type: ignore[assignment]
            for at in range(0, len(steps), 5):
                async with trio.open_nursery() as nursery:
                    for number, step in enumerate(steps[at : at + 5]):
                        nursery.start_soon(one, store, step, at + number)
            if plain.in_transaction:  # undoing has failed, too, at the very last
                plain.execute("ROLLBACK")
            truth = plain.execute(
                "SELECT name, count(*), sum(NOT settled) FROM tasks JOIN principals p ON p.number = principal"
                " GROUP BY name"
            ).fetchall()
            counted = plain.execute("SELECT name, retained, running FROM principals").fetchall()
            assert sorted(counted) == sorted(truth)
            left = plain.execute("SELECT count(*) FROM notes WHERE task NOT IN (SELECT number FROM tasks)").fetchone()
            assert left == (0,)

    trio.run(walk)


async def test_what_was_committed_is_not_done_again_because_tidying_up_fails(store: SQLiteTaskStore) -> None:
    plain = store._writer.connection
    store._writer.connection = Flaky(plain, lambda statement: "freelist" in statement)  # type: ignore[assignment]
    await store.create(record("old"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.remove, TaskId("old"))
        nursery.start_soon(store.create, record("b"))
    assert await store.get(TaskId("b")) == record("b")
    store._writer.connection = plain


async def test_a_batch_that_builds_on_what_is_being_created(store: SQLiteTaskStore) -> None:
    """It may exist already: then what was asked after it concerns the one that was there."""
    held = Held(store)
    failed: list[str] = []

    async def create_again() -> None:
        try:
            await store.create(record("a"))
        except LocalProtocolError as error:
            failed.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.create, record("a"))
        await trio.to_thread.run_sync(held.begun.wait)
        nursery.start_soon(create_again)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(store.remove, TaskId("a"))
        await trio.testing.wait_all_tasks_blocked()
        held.let_go()
    assert failed == ["there is a task a already"]
    assert await store.get(TaskId("a")) is None


async def test_one_that_holds_the_file_from_outside_fails_a_batch_once(path: Path) -> None:
    with SQLiteTaskStore(path) as store:
        store._writer.connection.execute("PRAGMA busy_timeout = 50")
        outside = sqlite3.connect(path, isolation_level=None)
        outside.execute("BEGIN IMMEDIATE")
        begun: list[str] = []
        store._writer.connection.set_trace_callback(lambda said: begun.append(said) if "BEGIN" in said else None)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(_refused, store, number)
        assert len(begun) == 1
        outside.execute("ROLLBACK")
        outside.close()
        await store.create(record("a"))


async def _refused(store: SQLiteTaskStore, number: int) -> None:
    with pytest.raises(StoreFailed):
        await store.create(record(f"t{number}"))


async def test_nobody_waits_for_ever_whatever_happens_in_the_thread(
    store: SQLiteTaskStore, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(batch: Any) -> None:
        raise KeyError("planted")

    kept, store._writing._run = store._writing._run, broken
    with pytest.raises(StoreFailed):
        await store.create(record("a"))
    store._writing._run = kept
    await store.create(record("a"))
    assert "planted" in caplog.text


async def test_it_may_be_closed_from_any_thread_while_it_is_asked(tmp_path: Path) -> None:
    for number in range(20):
        store = SQLiteTaskStore(tmp_path / f"{number}.db")
        refused = 0

        async def ask() -> None:
            nonlocal refused
            try:
                while True:
                    await store.remove()  # noqa: B023
            except RuntimeError:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
            await trio.lowlevel.checkpoint()
            await trio.to_thread.run_sync(store.close)
        assert refused == 10


# --- size -------------------------------------------------------------------------------------------------------------


async def test_a_result_of_many_megabytes(store: SQLiteTaskStore) -> None:
    old = record("a")
    result = {"content": [{"type": "text", "text": "é" * 10_000_000}], "isError": False}
    await store.create(old)
    assert await store.replace(returned(old, result))
    found = await store.get(old.id)
    assert found is not None
    assert found.outcome == Returned(result)
    [(_, listed)] = await store.page(ADA, 0, 9)
    assert listed.outcome == Returned({"isError": False}), "a list is not longer for it"
    largest = store._writer.connection.execute("SELECT max(length(data)) FROM chunks").fetchone()
    assert largest <= (256 * 1024,)


async def test_a_note_costs_what_it_is_long(store: SQLiteTaskStore) -> None:
    """The journal is not written again for each change."""
    new = record("a", answers={"first": "x" * 1_000_000})
    await store.create(new)
    before = size_of(f"{store.path}-wal")
    for number in range(20):
        new = evolve(new, answers={**new.answers, f"k{number}": number}, message="on", version=new.version + 1)
        assert await store.replace(new)
    assert size_of(f"{store.path}-wal") - before < 1_000_000
    assert await store.get(new.id) == new


async def test_what_was_removed_is_given_back(path: Path) -> None:
    with SQLiteTaskStore(path) as store:
        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(store.create, record(f"t{number}", answers={"k": "x" * 20_000}))
        store._writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        full = size_of(path)
        assert full > 8_000_000
        for number in range(400):
            await store.remove(TaskId(f"t{number}"))
        store._writer.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert size_of(path) < full / 4
        tables = ("tasks", "notes", "chunks", "principals")
        counts = [store._writer.connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
        assert counts == [(0,)] * 4


# --- who may open it --------------------------------------------------------------------------------------------------


def test_the_second_is_refused_and_told_who_has_it(store: SQLiteTaskStore, path: Path) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnusable, match=rf"tasks\.db is in use by process {os.getpid()}"):
            SQLiteTaskStore(path)
    program = f"from mcp_tasks import SQLiteTaskStore\nSQLiteTaskStore({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"is in use by process {os.getpid()}" in done.stderr
    trio.run(store.create, record("a"))


def test_another_name_of_the_same_file_is_the_same_file(store: SQLiteTaskStore, path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(StoreUnusable, match="is in use by process"):
        SQLiteTaskStore(tmp_path / "link.db")


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_what_is_no_name_of_a_file(name: str) -> None:
    with pytest.raises(StoreUnusable, match="is not the name of a file"):
        SQLiteTaskStore(name)


def test_what_was_said_is_nobody_elses_business(store: SQLiteTaskStore, path: Path) -> None:
    trio.run(store.create, record("a"))
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()} == dict.fromkeys(
        ("tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db.lock"), "0o600"
    )


async def test_a_record_that_cannot_be_read_hides_none_that_follow(store: SQLiteTaskStore) -> None:
    for number in range(10):
        await store.create(record(f"t{number}"))
    store._writer.connection.execute("UPDATE tasks SET head = x'00' WHERE id IN ('t1', 't2', 't3', 't4', 't5')")
    assert [r.id for _, r in await store.page(ADA, 0, 4)] == ["t0", "t6", "t7", "t8"]
    assert [r.id for _, r in await store.unfinished(0, 2)] == ["t0", "t6"]
    assert await store.due(1000.0, 99) == [f"t{number}" for number in range(10)], "all of them go in the end"


def test_who_was_killed_holds_up_nobody(path: Path) -> None:
    program = (
        "import trio, os, signal\nfrom mcp_tasks import *\n"
        f"store = SQLiteTaskStore({str(path)!r})\n"
        "record = TaskRecord(id='a', principal='ada', method='m', created_at=1.0, updated_at=1.0, ttl_ms=None,"
        " poll_interval_ms=None)\n"
        "trio.run(store.create, record)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    with SQLiteTaskStore(path) as store:
        found = trio.run(store.get, TaskId("a"))
        assert found is not None
        assert found.method == "m"


def test_others_may_look_while_it_is_open(store: SQLiteTaskStore, path: Path) -> None:
    trio.run(store.create, record("a"))
    looking = tables.connect(path, writes=False)
    assert looking.execute("SELECT id FROM tasks").fetchall() == [("a",)]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        looking.execute("DELETE FROM tasks")
    looking.close()


def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_text("not a database, and longer than a header has to be " * 10)
    with pytest.raises(StoreUnusable, match="not a database"):
        SQLiteTaskStore(path)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine(x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="is a database, but not a task store"):
        SQLiteTaskStore(path)
    assert path.read_bytes() == before


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="No such file or directory"):
        SQLiteTaskStore(tmp_path / "no" / "tasks.db")


async def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SQLiteTaskStore(path) as store:
        await store.create(record("a"))

    def second(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE tasks ADD COLUMN colour TEXT DEFAULT 'blue'")

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE tasks ADD COLUMN size TEXT")
        connection.execute("ALTER TABLE nowhere ADD COLUMN size TEXT")

    known = tables.MIGRATIONS
    monkeypatch.setattr(tables, "MIGRATIONS", [*known, second])
    with SQLiteTaskStore(path) as store:
        assert await store.get(TaskId("a")) == record("a")
        assert store._writer.connection.execute("SELECT colour FROM tasks").fetchall() == [("blue",)]
    monkeypatch.setattr(tables, "MIGRATIONS", [*known, second, broken])
    with pytest.raises(StoreUnusable, match="no such table: nowhere"):
        SQLiteTaskStore(path)
    monkeypatch.setattr(tables, "MIGRATIONS", [*known, second])
    with SQLiteTaskStore(path) as store:
        assert await store.get(TaskId("a")) == record("a"), "a step that fails changes nothing"
    monkeypatch.setattr(tables, "MIGRATIONS", known)
    with pytest.raises(StoreUnusable, match="made by a newer mcp-tasks: its version is 2, the newest known here 1"):
        SQLiteTaskStore(path)


# --- encryption -------------------------------------------------------------------------------------------------------


async def test_nothing_that_was_said_is_in_an_encrypted_file(path: Path) -> None:
    new = record(
        "a",
        principal=Principal("someone at home"),
        message="whispered",
        answers={"k": "confided"},
        origin={"params": "asked for"},
    )
    large = {"text": "disclosed " * 10_000}
    with SQLiteTaskStore(path, key=KEY) as store:
        await store.create(new)
        assert await store.replace(returned(new, large))
        await store.create(record("b", principal=Principal("someone at home")))
        found = await store.get(new.id)
        assert found is not None
        assert found.outcome == Returned(large)
        kept = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for said in (b"someone", b"whispered", b"confided", b"asked for", b"disclosed"):
        assert said not in kept
    with SQLiteTaskStore(path, key=KEY) as store:
        assert len(await store.page(Principal("someone at home"), 0, 9)) == 2


def test_the_key_has_to_be_the_right_one(path: Path, tmp_path: Path) -> None:
    SQLiteTaskStore(path, key=KEY).close()
    with pytest.raises(StoreUnusable, match="encrypted with another key"):
        SQLiteTaskStore(path, key=KEY[::-1])
    with pytest.raises(StoreUnusable, match="is encrypted: its key is needed"):
        SQLiteTaskStore(path)
    SQLiteTaskStore(tmp_path / "plain.db").close()
    with pytest.raises(StoreUnusable, match="is not encrypted"):
        SQLiteTaskStore(tmp_path / "plain.db", key=KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        SQLiteTaskStore(tmp_path / "other.db", key=b"short")
    SQLiteTaskStore(path, key=KEY).close()


async def test_what_was_moved_or_changed_is_not_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteTaskStore(path, key=KEY) as store:
        await store.create(record("a"))
        await store.create(record("b", message="of b"))
        store._writer.connection.execute("UPDATE tasks SET head = (SELECT head FROM tasks WHERE id = 'b')")
        with pytest.raises(StoreFailed, match=r"^Task a cannot be read"):
            await store.get(TaskId("a"))
        assert await store.get(TaskId("b")) == record("b", message="of b")
    assert "tampered" in caplog.text


def test_the_same_is_never_sealed_to_the_same() -> None:
    box = SealedBox(KEY)
    assert len({box.put("a", "head", b"x") for _ in range(100)}) == 100
    assert box.take("a", "head", box.put("a", "head", b"x")) == b"x"
    for id, part in (("b", "head"), ("a", "origin")):
        with pytest.raises(ValueError, match="tampered"):
            box.take(id, part, box.put("a", "head", b"x"))


# --- errors -----------------------------------------------------------------------------------------------------------


class Own(Refusal):
    """An error of a user's own."""


class OutOfStock(InvalidParams):
    """Another, which knows things that are no JSON."""

    def __init__(self) -> None:
        super().__init__("out of stock", {"left": 0})
        self.cause = ValueError()


def test_what_a_class_of_ones_own_knows_besides_is_left_out() -> None:
    found = lift_outcome(decode(encode(keep_outcome(Raised(OutOfStock())))))
    assert isinstance(found, Raised)
    assert (type(found.error), found.error.message) == (InvalidParams, "out of stock")


@pytest.mark.parametrize(
    ("error", "kind"),
    [(Own("mine", {"a": 1}), "Refusal"), (StoreFailed(), "StoreFailed"), (LimitReached("m", "l", 1), "LimitReached")],
)
def test_an_error_keeps_its_class_and_what_it_knows(error: Refusal, kind: str) -> None:
    found = lift_outcome(keep_outcome(Raised(error)))
    assert isinstance(found, Raised)
    assert type(found.error).__name__ == kind
    assert (found.error.message, found.error.data) == (error.message, error.data)
    assert vars(found.error) == vars(error)


def test_an_error_of_a_class_that_has_gone_is_an_internal_one() -> None:
    found = lift_outcome(["raised", "TooHot", {"message": "hot", "degrees": 3}])
    assert isinstance(found, Raised)
    assert type(found.error) is InternalError
    assert found.error.message == "hot"
    with pytest.raises(ValueError, match="no outcome"):
        lift_outcome(["mislaid"])
