"""The store that many processes share keeps the contract, on a real server; what it refuses, and when that is away."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from mcp_tasks import Principal, Returned, StoreFailed, StoreUnusable, TaskId, TaskRecord, TaskState
from mcp_tasks.testing import check_task_store

pytest.importorskip("glide", reason="the extra valkey is not installed")

from mcp_tasks.tasks.engine import open_engine
from mcp_tasks.tasks.valkey import ValkeyTaskStore, open_valkey

from .conftest import Redis

KEY = bytes(range(32))
ADA = Principal("ada")


def record(name: str, **fields: Any) -> TaskRecord:
    given = {"principal": ADA, "ttl_ms": 60_000, **fields}
    return TaskRecord(
        id=TaskId(name), method="tools/call", created_at=1.0, updated_at=1.0, poll_interval_ms=None, **given
    )


def returned(old: TaskRecord, result: dict[str, Any]) -> TaskRecord:
    return evolve(old, state=TaskState.RETURNED, outcome=Returned(result), version=old.version + 1)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
async def test_it_keeps_the_contract(redis: Redis, fresh_prefix: Callable[[], str], key: bytes | None) -> None:
    async with AsyncExitStack() as stack:

        async def make() -> ValkeyTaskStore:
            return await stack.enter_async_context(open_valkey(redis.url, prefix=fresh_prefix(), key=key))

        await check_task_store(make)


async def test_two_who_share_it_see_the_same(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as one, open_valkey(redis.url, prefix=prefix) as other:
        assert one.secret == other.secret
        await one.create(record("a", answers={"k": 1}))
        seen = await other.get(TaskId("a"))
        assert seen == record("a", answers={"k": 1})
        changed = evolve(seen, answers={**seen.answers, "l": 2}, version=1)
        assert await other.replace(changed)
        assert not await one.replace(evolve(seen, message="late", version=1)), "of two, one has won"
        assert await one.get(TaskId("a")) == changed


async def test_stores_of_other_names_know_nothing_of_each_other(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    async with (
        open_valkey(redis.url, prefix=fresh_prefix()) as one,
        open_valkey(redis.url, prefix=fresh_prefix()) as other,
    ):
        await one.create(record("a"))
        assert await other.get(TaskId("a")) is None
        assert one.secret != other.secret


async def test_news_of_all_changes_reach_all(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as one, open_valkey(redis.url, prefix=prefix) as other:
        send, receive = trio.open_memory_channel[Any](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.follow, send.send_nowait, lambda *said: send.send_nowait(said))
            assert await receive.receive() is None, "whoever begins has missed what was before"
            await one.create(record("a"))
            assert await one.replace(returned(record("a"), {}))
            assert await receive.receive() == ("a", 1, True, False)
            await one.remove(TaskId("a"))
            assert await receive.receive() == ("a", -1, True, False)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("key", [None, b"k" * 32])
async def test_what_is_said_reaches_all(
    redis: Redis, fresh_prefix: Callable[[], str], key: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Before later changes; but not what is too large, and what cannot be read is said in the log."""
    prefix = fresh_prefix()
    async with (
        open_valkey(redis.url, prefix=prefix, key=key) as one,
        open_valkey(redis.url, prefix=prefix, key=key) as other,
        open_engine(redis.url) as engine,
    ):
        send, receive = trio.open_memory_channel[Any](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.follow, send.send_nowait, lambda id, read: send.send_nowait((id, read())))
            assert await receive.receive() is None
            await one.create(record("a"))
            await one.say(TaskId("a"), {"word": "x" * 65_536})
            await engine.do("XADD", f"{{{prefix}}}:said", "*", "id", "a", "said", "{")
            await one.say(TaskId("a"), {"word": "secret"})
            assert await one.replace(returned(record("a"), {}))
            assert await receive.receive() == ("a", {"word": "secret"})
            assert await receive.receive() == ("a", 1, True, False)
            nursery.cancel_scope.cancel()
        kept = await engine.do("XRANGE", f"{{{prefix}}}:said", "-", "+")
        assert (b"secret" in str(kept).encode()) is (key is None)
    assert "cannot be passed on" in caplog.text


async def test_one_process_at_a_time_has_what_it_claims(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as one, open_valkey(redis.url, prefix=prefix) as other:
        assert await one.claim("a", 60)
        assert await one.claim("a", 60)
        assert not await other.claim("a", 60)
        await other.unclaim("a")
        assert not await other.claim("a", 60)
        await one.unclaim("a")
        assert await other.claim("a", 60)
        assert not await one.claim("a", 60)
        assert await other.claim("a", 0.001)
        assert not await one.claim("a", 60), "nor does one have it for less than before"
        assert await one.claim("b", 0.001)
        while not await other.claim("b", 60):
            pass


async def test_nothing_stays_of_work_that_was_taken(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    """Of what a worker was given, and of the worker; but not of what it leaves unbegun."""
    prefix = fresh_prefix()
    stream = f"{{{prefix}}}:work"
    async with open_engine(redis.url) as engine:
        async with open_valkey(redis.url, prefix=prefix) as store:
            for name in ("a", "b"):
                await store.create(record(name, runs=0))
            assert await store.wait_for_work("one", 9) == {name: record(name, runs=0) for name in ("a", "b")}
            await store.took("one", [TaskId("a")])
            assert await engine.do("XLEN", stream) == 1
            [consumer] = await engine.do("XINFO", "CONSUMERS", stream, "workers")
            assert consumer[b"pending"] == 1
        assert await engine.do("XINFO", "CONSUMERS", stream, "workers") == []
    async with open_valkey(redis.url, prefix=prefix) as store:
        assert list(await store.wait_for_work("two", 9)) == ["b"]


async def test_what_waits_no_more_is_not_in_the_queue(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    """Settled or removed before anybody had it, or meanwhile; and who leaves gives back only what still waits."""
    prefix = fresh_prefix()
    queue = f"{{{prefix}}}:work"
    async with open_engine(redis.url) as engine:
        async with open_valkey(redis.url, prefix=prefix) as store:
            for name in ("settled", "removed"):
                await store.create(record(name, runs=0))
            assert await store.replace(returned(record("settled", runs=0), {}))
            await store.remove(TaskId("removed"))
            assert await engine.do("XLEN", queue) == 0
            for name in ("a", "b", "c"):
                await store.create(record(name, runs=0))
            assert len(await store.wait_for_work("one", 9)) == 3
            assert await store.replace(evolve(record("a", runs=0), version=1, runs=1, runner="other"))
            await store.remove(TaskId("b"))
        left = await engine.do("XRANGE", queue, "-", "+")
        assert [dict(fields)[b"id"] for fields in left.values()] == [b"c"]


async def test_of_those_who_see_that_something_is_abandoned_one_takes_it(
    redis: Redis, fresh_prefix: Callable[[], str]
) -> None:
    """Whoever is quicker; nobody takes over what was just taken over by another."""
    prefix = fresh_prefix()
    async with (
        open_valkey(redis.url, prefix=prefix, lease_seconds=0.001) as one,
        open_valkey(redis.url, prefix=prefix) as other,
    ):
        await one.create(record("a", runs=1, runner="dead"))
        run = one._engine.run

        async def overtaken(*args: Any) -> Any:
            found = await run(*args)
            await other.replace(evolve(record("a"), version=1, runs=2, runner="other"))
            return found

        while not (seen := await one.abandoned(0, 9)):
            pass
        one._engine.run = overtaken  # type: ignore[method-assign]
        seen = await one.abandoned(0, 9)
        one._engine.run = run  # type: ignore[method-assign]
        old = seen[TaskId("a")]
        assert old is not None
        assert not await one.replace(evolve(old, version=old.version + 1, runs=old.runs + 1, runner="one"))


async def test_news_in_other_words_are_news(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    """From an older or a newer process: then anything may have happened."""
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as store, open_engine(redis.url) as engine:
        send, receive = trio.open_memory_channel[Any](100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.follow, send.send_nowait, lambda *said: None)
            assert await receive.receive() is None
            await engine.do("XADD", f"{{{prefix}}}:changes", "*", "id", "a", "version", "1")
            assert await receive.receive() is None
            await engine.do("XADD", f"{{{prefix}}}:said", "*", "words", "a")
            await store.create(record("b"))
            await store.remove(TaskId("b"))
            assert await receive.receive() == ("b", -1, True, False)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])
async def test_new_work_is_in_the_queue(redis: Redis, fresh_prefix: Callable[[], str], key: bytes | None) -> None:
    """The whole of it, if it is small; it leaves the queue as it is begun. Whatever else waits is looked at."""
    prefix = fresh_prefix()
    small = record("small", runs=0, origin={"params": {"text": "secret"}})
    waiting = [
        small,
        record("bare", runs=0),
        record("large", runs=0, origin={"params": "x" * 10_000}),
        record("noted", runs=0, answers={"k": 1}),
    ]
    async with open_valkey(redis.url, prefix=prefix, key=key) as store, open_engine(redis.url) as engine:
        for one in waiting:
            await store.create(one)
        queue = f"{{{prefix}}}:work"
        assert (b"secret" in str(await engine.do("XRANGE", queue, "-", "+")).encode()) is (key is None)
        looked: list[TaskId] = []
        records = store.records

        async def counted(ids: Collection[TaskId]) -> Mapping[TaskId, TaskRecord | None]:
            looked.extend(ids)
            return await records(ids)

        store.records = counted  # type: ignore[method-assign]
        given = await store.wait_for_work("one", 9)
        assert given == {one.id: one for one in waiting}
        assert looked == ["large", "noted"]
        assert await store.replace(evolve(small, version=1, runs=1, runner="one"))
        assert await engine.do("XLEN", queue) == len(waiting) - 1
        await store.took("one", given)
        assert await engine.do("XLEN", queue) == 0


async def test_what_nobody_removes_goes_by_itself(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    """What was said does not stay in the server because all who share it have gone; a minute later it is forgotten."""
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as store, open_engine(redis.url) as engine:
        new = record("a", answers={"k": 1})
        await store.create(new)
        assert await store.replace(returned(new, {"text": "x" * 100_000}))
        for kind in ("task", "notes", "result"):
            left = await engine.do("PTTL", f"{{{prefix}}}:{kind}:a")
            assert 60_000 < left <= 120_000, kind
        await store.create(record("b", ttl_ms=None))
        assert await engine.do("PTTL", f"{{{prefix}}}:task:b") == -1
        await engine.do("DEL", f"{{{prefix}}}:task:a")  # as if it had
        assert await store.page(ADA, 0, 9) == [((await store.page(ADA, 0, 9))[0][0], record("b", ttl_ms=None))]
        assert await store.due(1000.0, 9) == ["a"]
        await store.remove(TaskId("a"))
        assert await store.due(1000.0, 9) == [], "what it has left behind is cleared away"
        assert await store.next_due() is None


@pytest.mark.parametrize(
    "url", ["http://localhost", "redis://", "redis://localhost:x", "redis://localhost/one", "localhost:6379", ""]
)
async def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(StoreUnusable, match="is no URL of a Valkey or Redis server"):
        async with open_valkey(url):
            pass


async def test_nobody_answers_and_the_password_is_not_told() -> None:
    with pytest.raises(StoreUnusable, match="is not to be had") as caught:
        async with open_valkey("redis://ada:secret@127.0.0.1:1/0"):
            pass
    assert "secret" not in str(caught.value)


async def test_the_key_has_to_be_the_right_one(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    sealed, plain = fresh_prefix(), fresh_prefix()
    async with open_valkey(redis.url, prefix=sealed, key=KEY), open_valkey(redis.url, prefix=plain):
        pass
    for prefix, key, why in (
        (sealed, None, "its key is needed"),
        (sealed, KEY[::-1], "encrypted with another key"),
        (plain, KEY, "encrypted with another key, or not at all"),
    ):
        with pytest.raises(StoreUnusable, match=why):
            async with open_valkey(redis.url, prefix=prefix, key=key):
                pass


async def test_thousands_ask_while_the_server_is_busy(redis: Redis, fresh_prefix: Callable[[], str]) -> None:
    """A process may have any number of tasks, and all of them something to say at once."""
    made = [record(str(number)) for number in range(3_000)]
    async with open_valkey(redis.url, prefix=fresh_prefix()) as store:
        async with trio.open_nursery() as nursery:
            redis.signal(signal.SIGSTOP)
            try:
                for one in made:
                    nursery.start_soon(store.create, one)
                await wait_all_tasks_blocked()
            finally:
                redis.signal(signal.SIGCONT)
        assert [await store.get(one.id) for one in made] == made


async def test_a_server_that_is_away_is_said_and_comes_back(
    redis: Redis, fresh_prefix: Callable[[], str], capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_valkey(redis.url, prefix=fresh_prefix(), answer_seconds=0.3) as store:
        await store.create(record("a"))
        news: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.follow, news.append, lambda *said: None)
            while not news:
                await trio.lowlevel.checkpoint()
            redis.kill()
            for _ in range(2):
                with pytest.raises(StoreFailed):
                    await store.get(TaskId("a"))
            redis.start()
            news.clear()
            while True:
                try:
                    assert await store.get(TaskId("a")) == record("a"), "what was acknowledged is there"
                    break
                except StoreFailed:
                    pass
            await store.create(record("b"))
            while None not in news:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert capfd.readouterr().err == ""


async def test_a_server_that_stands_still_holds_up_nobody_for_ever(
    redis: Redis, fresh_prefix: Callable[[], str]
) -> None:
    async with open_valkey(redis.url, prefix=fresh_prefix(), answer_seconds=0.3) as store:
        await store.create(record("a"))
        redis.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreFailed):
                await store.replace(returned(record("a"), {}))
            with trio.move_on_after(0) as scope:
                await store.get(TaskId("a"))
            assert scope.cancelled_caught
        finally:
            redis.signal(signal.SIGCONT)
        while True:
            try:
                found = await store.get(TaskId("a"))
                break
            except StoreFailed:
                pass
        assert found in (record("a"), returned(record("a"), {})), "done or not, but nothing in between"


async def test_a_record_that_is_broken_is_said(
    redis: Redis, fresh_prefix: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    prefix = fresh_prefix()
    async with open_valkey(redis.url, prefix=prefix) as store, open_engine(redis.url) as engine:
        for name in ("a", "b"):
            await store.create(record(name))
        await engine.do("HSET", f"{{{prefix}}}:task:a", "head", "garbage")
        with pytest.raises(StoreFailed, match="Task a cannot be read"):
            await store.get(TaskId("a"))
        assert [r.id for _, r in await store.page(ADA, 0, 9)] == ["b"], "and hides no other"
        assert [r.id for _, r in await store.unfinished(0, 9)] == ["b"]
