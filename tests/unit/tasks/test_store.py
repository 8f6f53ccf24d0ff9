"""The store in memory keeps the contract; what it holds on to is bounded by what it holds."""

import pytest

from mcp_tasks import LocalProtocolError, MemoryTaskStore, Principal, StoreFailed, TaskId, TaskRecord
from mcp_tasks.tasks.store import log_failure
from mcp_tasks.testing import check_task_store

ADA = Principal("ada")


def record(name: str, *, ttl_ms: int | None = 1000, created_at: float = 100.0) -> TaskRecord:
    return TaskRecord(
        id=TaskId(name),
        principal=ADA,
        method="tools/call",
        created_at=created_at,
        updated_at=created_at,
        ttl_ms=ttl_ms,
        poll_interval_ms=None,
    )


async def make() -> MemoryTaskStore:
    return MemoryTaskStore()


async def test_the_store_in_memory_keeps_the_contract():
    await check_task_store(make)


class Forgetful(MemoryTaskStore):
    async def create(self, record, room=None):
        await super().create(record, room)
        self._records.pop(record.id)


class Careless(MemoryTaskStore):
    async def replace(self, new):
        self._records[new.id] = new
        return True


class Impatient(MemoryTaskStore):
    async def due(self, now, limit):
        return [r.id for r in self.records() if r.expires_at is not None][:limit]


class Generous(MemoryTaskStore):
    async def page(self, principal, after, limit):
        return await super().page(principal, after, limit + 1)


class Twice(MemoryTaskStore):
    async def create(self, record, room=None):
        try:
            await super().create(record, room)
        except LocalProtocolError:
            pass


@pytest.mark.parametrize("broken", [Forgetful, Careless, Impatient, Generous, Twice])
async def test_the_check_finds_a_store_that_breaks_the_contract(broken):
    async def make_broken():
        return broken()

    with pytest.raises((AssertionError, KeyError)):
        await check_task_store(make_broken)


async def test_nothing_stays_of_what_was_removed():
    store = MemoryTaskStore()
    for number in range(1000):
        await store.create(record(f"t{number}", ttl_ms=number + 1))
        if number >= 5:
            await store.remove(TaskId(f"t{number - 5}"))
    for number in range(995, 1000):
        await store.remove(TaskId(f"t{number}"))
    assert len(store) == 0
    sizes = {name: len(value) for name, value in vars(store).items() if name != "_last_position"}
    assert sizes.pop("_ends") <= 64
    assert set(sizes.values()) == {0}, sizes
    assert await store.next_due() is None
    assert vars(store)["_ends"] == []


async def test_positions_do_not_start_again_when_a_principal_comes_back():
    store = MemoryTaskStore()
    await store.create(record("a"))
    [(first, _)] = await store.page(ADA, 0, 1)
    await store.remove(TaskId("a"))
    await store.create(record("b", created_at=100.001))
    [(second, _)] = await store.page(ADA, 0, 1)
    assert second > first


def test_what_is_no_engine_that_is_away_is_logged_with_where_it_was(caplog):
    try:
        raise KeyError("ours")
    except KeyError as failure:
        log_failure(failure, "%d tasks", 3)
    log_failure(StoreFailed(), "%d tasks", 3)
    assert [(one.getMessage(), bool(one.exc_info)) for one in caplog.records] == [
        ("3 tasks", True),
        ("3 tasks: Tasks cannot be kept or found now: the store has failed", False),
    ]
