"""A task store that many processes share: Valkey or Redis, in which each change is a script.

Nothing here decides anything that another process could decide differently at the same time: versions are compared,
room is counted, and positions are given out where the records are. What of a record is kept is in
`mcp_tasks.tasks.packing`, the scripts and the keys in `mcp_tasks.tasks.scripts`.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from .._unset import JSONObject, Principal, TaskId
from ..errors import LocalProtocolError, StoreFailed, StoreUnusable
from . import scripts
from .boxes import box_for
from .engine import ANSWER_SECONDS, Engine, Script, open_engine
from .kept import decode, encode
from .model import TaskRecord
from .packing import Packer, microseconds, readable
from .store import FleetStats, News, Room, SharedTaskStore

__all__ = ["LEASE_SECONDS", "ValkeyTaskStore", "open_valkey"]

logger = logging.getLogger("mcp_tasks.tasks")

_OF_A_TASK: Final = ("task:", "notes:", "result:")
_SHARED: Final = ("unfinished", "ends", "changes", "last", "leases", "work", "lapses")
_MOST_AT_ONCE: Final = 50  # that one look for work brings
_QUEUED_BYTES: Final = 8 * 1024  # up to which the whole of a task waits in the queue
_LOOKS: Final = 3  # for what others were given and have not begun, in the time of a lease
LEASE_SECONDS: Final = 30.0
"""For how long a task's work counts as going on without a word from whoever does it."""

_SECRET_BYTES: Final = 32
_NEWS_MS: Final = "2000"  # how long the engine is asked to wait for news
_NEWS_AT_ONCE: Final = "1000"
_NEWS_PAUSE_SECONDS: Final = 0.002  # so that where there is much news, it comes together
_LONGEST_PAUSE_SECONDS: Final = 0.016  # where it is of no interest here
_AGAIN_SECONDS: Final = 0.5  # until it is asked again when it has failed
_SAID_BYTES: Final = 64 * 1024


@asynccontextmanager
async def open_valkey(
    url: str,
    *,
    prefix: str = "mcp-tasks",
    key: bytes | None = None,
    answer_seconds: float = ANSWER_SECONDS,
    lease_seconds: float = LEASE_SECONDS,
) -> AsyncIterator[ValkeyTaskStore]:
    """Open the store in a Valkey or Redis server: ``async with open_valkey("redis://localhost") as store``.

    Stores of different `prefix` know nothing of each other. With `key`, 32 random bytes that all who share it have,
    everything but ids, times and sizes is encrypted. A server that does not answer in `answer_seconds` has failed.
    The work of a task is taken over by others if nothing was heard of it for `lease_seconds`. Raises `StoreUnusable`.
    """
    async with open_engine(url, answer_seconds=answer_seconds) as engine:
        store: ValkeyTaskStore | None = None
        try:
            # Whoever waits for news holds up whatever else goes by the same connection.
            async with open_engine(url) as news, open_engine(url) as work:
                store = ValkeyTaskStore(engine, news, work, prefix=prefix, key=key, lease_seconds=lease_seconds)
                await store.open()
                yield store
        finally:
            if store is not None:
                await store.close()


class ValkeyTaskStore(SharedTaskStore):
    """Keeps records in a server that others share; from `open_valkey`.

    Every method is a checkpoint. A change that was sent is waited for, until the engine's time is up; if it does not
    answer by then, nobody knows what it has done, and `StoreFailed` is raised.
    """

    def __init__(
        self, engine: Engine, news: Engine, work: Engine, *, prefix: str, key: bytes | None, lease_seconds: float
    ) -> None:
        self.lease_seconds = lease_seconds
        self._lease_ms = str(round(lease_seconds * 1000))
        self._engine = engine
        self._news = news
        self._work = work
        self._name = secrets.token_hex(8)
        self._workers: set[str] = set()
        self._looks_at = -math.inf
        self._unsure = False
        self._entries: dict[TaskId, list[bytes]] = {}  # of the stream of work, by the task that they are of
        self._prefix = f"{{{prefix}}}:"
        self._box = box_for(key)
        self._packer = Packer(self._box)
        self._owners: dict[TaskId, str] = {}
        self._create, self._replace, self._remove = (
            Script(script) for script in (scripts.CREATE, scripts.REPLACE, scripts.REMOVE)
        )
        self._get, self._page, self._unfinished, self._secret, self._claim = (
            Script(script) for script in (scripts.GET, scripts.PAGE, scripts.UNFINISHED, scripts.SECRET, scripts.CLAIM)
        )
        self._beat, self._abandoned, self._took, self._give_back, self._stats, self._say = (
            Script(script)
            for script in (scripts.BEAT, scripts.ABANDONED, scripts.TOOK, scripts.GIVE_BACK, scripts.STATS, scripts.SAY)
        )

    # --- together with others -------------------------------------------------------------------------------------

    async def beat(self, held: Mapping[TaskId, int]) -> Collection[TaskId]:
        return await self._leased(held, self._lease_ms)

    async def release(self, held: Mapping[TaskId, int]) -> None:
        await self._leased(held, "0")

    async def _leased(self, held: Mapping[TaskId, int], milliseconds: str) -> Collection[TaskId]:
        if not held:
            return ()
        words = [word for id, runs in held.items() for word in (id, str(runs))]
        lost = await self._engine.run(
            self._beat, self._of_all("leases", "lapses", "work"), [self._prefix, milliseconds, *words]
        )
        return [TaskId(id.decode()) for id in lost]

    async def abandoned(self, skipped: int, limit: int) -> Mapping[TaskId, TaskRecord | None]:
        args = [self._prefix, str(skipped), str(limit)]
        found = await self._engine.run(self._abandoned, self._of_all("leases"), args)
        rows = {TaskId(id.decode()): row for id, row in found}
        return {**dict.fromkeys(rows), **self._unpacked(rows)}

    async def wait_for_work(self, worker: str, most: int) -> Mapping[TaskId, TaskRecord | None]:
        self._workers.add(worker)
        try:
            given = await self._given(worker, str(min(most, _MOST_AT_ONCE)))
            return await self._waiting(given)
        except StoreFailed:
            self._unsure = True  # it has given us something, or may have
            raise

    async def _waiting(self, given: Mapping[bytes, Any]) -> Mapping[TaskId, TaskRecord | None]:
        waiting: dict[TaskId, int] = {}
        begun: dict[TaskId, TaskRecord | None] = {}
        for at, entry in given.items():
            if entry is not None:
                fields = dict(entry)
                id = TaskId(fields[b"id"].decode())
                waiting[id] = max(waiting.get(id, 0), int(fields[b"runs"]))
                self._entries.setdefault(id, []).append(at)
                begun[id] = self._queued(id, fields)
        unknown = [id for id, record in begun.items() if record is None or record.runs != waiting[id]]
        begun.update(dict.fromkeys(unknown))
        for id, record in (await self.records(unknown)).items():
            waits = record is not None and record.runs == waiting[id] and not record.settled
            begun[id] = record if waits else None
        return begun

    def _queued(self, id: TaskId, fields: Mapping[bytes, bytes]) -> TaskRecord | None:
        # As it was created, if that is all there is; whether it is still like that is seen when it is begun.
        head, origin = fields.get(b"head"), fields.get(b"origin") or None
        if head is None:
            return None
        record = partial(self._packer.record, id, int(fields[b"version"]), head, None, origin=origin)
        return next(readable(id, record), None)

    async def _given(self, worker: str, most: str) -> Mapping[bytes, Any]:
        stream = self._prefix + "work"
        group = (stream, scripts.GROUP)
        reading = ("XREADGROUP", "GROUP", scripts.GROUP, worker, "COUNT", most)
        if self._unsure:
            found = await self._work.do(*reading, "STREAMS", stream, "0", group=group)
            self._unsure = False
            if given := (found or {}).get(stream.encode()):
                return given  # type: ignore[no-any-return]
        if trio.current_time() >= self._looks_at:
            claiming = ("XAUTOCLAIM", stream, scripts.GROUP, worker, self._lease_ms, "0", "COUNT", most)
            found = await self._work.do(*claiming, group=group)
            if found and found[1]:
                return found[1]  # type: ignore[no-any-return]
            self._looks_at = trio.current_time() + self.lease_seconds / _LOOKS
        found = await self._work.do(*reading, "BLOCK", _NEWS_MS, "STREAMS", stream, ">", group=group)
        return (found or {}).get(stream.encode(), {})  # type: ignore[no-any-return]

    async def took(self, worker: str, ids: Collection[TaskId]) -> None:
        entries = [entry for id in ids for entry in self._entries.pop(id, ())]
        if entries:
            await self._engine.run(self._took, self._of_all("work"), entries)

    async def close(self) -> None:
        """Give back what was given to workers here in their last moment, when they could not hear of it any more."""
        with trio.CancelScope(shield=True):
            for worker in self._workers:
                try:
                    await self.give_back(worker)
                except StoreFailed:
                    return

    async def give_back(self, worker: str) -> None:
        self._entries.clear()
        await self._engine.run(self._give_back, self._of_all("work"), [self._prefix, worker])

    async def claim(self, name: str, seconds: float) -> bool:
        who = [self._name, str(max(1, round(seconds * 1000)))]
        return bool(await self._engine.run(self._claim, [f"{self._prefix}claim:{name}"], who))

    async def unclaim(self, name: str) -> None:
        await self._engine.run(self._claim, [f"{self._prefix}claim:{name}"], [self._name])

    async def stats(self) -> FleetStats:
        keys = self._of_all("unfinished", "ends", "leases", "lapses", "work")
        tasks, unfinished, queued, running, overdue, losses, oldest = await self._engine.run(self._stats, keys, [])
        return FleetStats(
            tasks=tasks,
            unfinished=unfinished,
            queued=queued,
            running=running,
            overdue=overdue,
            lease_losses=losses,
            oldest=None if oldest is None else int(oldest) / 1_000_000,
        )

    async def open(self) -> None:
        """Get what all who share the store have in common. Raises `StoreUnusable` if the key is another one."""
        made = self._box.put("", "secret", secrets.token_bytes(_SECRET_BYTES))
        kept = await self._engine.run(self._secret, [self._prefix + "secret"], [made])
        if not self._box.sealed and len(kept) != _SECRET_BYTES:
            raise StoreUnusable(f"the store {self._prefix!r} is encrypted: its key is needed")
        try:
            self.secret = self._box.take("", "secret", kept)
        except ValueError:
            raise StoreUnusable(f"the store {self._prefix!r} is encrypted with another key, or not at all") from None

    # --- changing -------------------------------------------------------------------------------------------------

    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        id = record.id
        outcome, large = self._ended(record)
        head, origin = self._packer.head(record), self._packer.origin(record) or b""
        # What waits in the queue is the whole of it, if there is no more and it is small.
        whole = not record.answers and len(head) + len(origin) <= _QUEUED_BYTES
        answer = await self._engine.run(
            self._create,
            self._keys(record),
            [
                id,
                self._box.name(record.principal),
                str(microseconds(record.created_at)),
                *_ends(record),
                str(record.version),
                str(int(record.settled)),
                head,
                origin,
                outcome,
                large,
                "" if room is None else str(room.running),
                "" if room is None else str(room.retained),
                str(record.runs),
                self._lease_ms,
                str(int(whole)),
                *self._packer.notes(record, 0),
            ],
        )
        if answer[0] == b"exists":
            raise LocalProtocolError(f"there is a task {id} already")
        if answer[0] == b"full":
            assert room is not None
            room.check(answer[1], answer[2])

    async def replace(self, new: TaskRecord) -> bool:
        outcome, large = self._ended(new)
        head, known = self._packer.head(new), len(new.answers)
        while True:
            # The journal only grows, at its end; most changes add nothing to it.
            answer = await self._engine.run(
                self._replace,
                self._keys(new),
                [
                    new.id,
                    self._box.name(new.principal),
                    *_ends(new),
                    str(new.version),
                    str(int(new.settled)),
                    head,
                    outcome,
                    large,
                    str(known),
                    str(new.runs),
                    self._lease_ms,
                    *self._packer.notes(new, known),
                ],
            )
            if answer[0] != b"notes":
                break
            known = answer[1]
        if answer[0] == b"done" and answer[1] in (entries := self._entries.get(new.id, [])):
            entries.remove(answer[1])  # that it waited is over
        return bool(answer[0] == b"done")

    async def remove(self, *ids: TaskId) -> None:
        if ids:
            # Of what the engine has forgotten by itself, whose it was is only known from when it was due.
            args = [word for id in ids for word in (id, self._owners.pop(id, ""))]
            await self._engine.run(
                self._remove,
                self._of_all("unfinished", "ends", "changes", "leases", "lapses", "work"),
                [self._prefix, *args],
            )

    # --- reading --------------------------------------------------------------------------------------------------

    async def get(self, id: TaskId) -> TaskRecord | None:
        [row] = await self._rows([id])
        if row is None:
            return None
        for record in readable(id, partial(self._whole, id, *row)):
            return record
        raise StoreFailed(f"Task {id} cannot be read")

    async def records(self, ids: Collection[TaskId]) -> Mapping[TaskId, TaskRecord | None]:
        return self._unpacked(dict(zip(ids, await self._rows(ids), strict=True)) if ids else {})

    def _unpacked(self, rows: Mapping[TaskId, Any]) -> Mapping[TaskId, TaskRecord | None]:
        found: dict[TaskId, TaskRecord | None] = {}
        for id, row in rows.items():
            if row is None:
                found[id] = None
            else:
                found.update((id, record) for record in readable(id, partial(self._whole, id, *row)))
        return found

    async def _rows(self, ids: Collection[TaskId]) -> Any:
        return await self._engine.run(self._get, [self._prefix + kind + id for id in ids for kind in _OF_A_TASK], [])

    async def page(self, principal: Principal, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        of = self._prefix + "of:" + self._box.name(principal)
        records: list[tuple[int, TaskRecord]] = []
        while len(records) < limit:  # as many as were asked for, if there are as many that can be read
            args = [self._prefix, str(after), str(limit - len(records))]
            found = await self._engine.run(self._page, [of], args)
            if not found:
                break
            for name, position, *row in found:
                id, after = TaskId(name.decode()), int(position)
                if row[0] is not None:
                    records += ((after, record) for record in readable(id, partial(self._listed, id, *row)))
        return records

    async def unfinished(self, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        records: list[tuple[int, TaskRecord]] = []
        while len(records) < limit:
            args = [self._prefix, str(after), str(limit - len(records))]
            found = await self._engine.run(self._unfinished, self._of_all("unfinished"), args)
            if not found:
                break
            after = int(found[-1][1])
            places = {TaskId(name.decode()): int(at) for name, at in found}
            whole = await self.records(places)
            records += ((places[id], record) for id, record in whole.items() if record is not None)
        return records

    async def due(self, now: float, limit: int) -> Sequence[TaskId]:
        found = await self._engine.do(
            "ZRANGEBYSCORE", self._prefix + "ends", "-inf", str(microseconds(now)), "LIMIT", "0", str(limit)
        )
        owned = [_owned(member) for member in found]
        self._owners = dict(owned)
        return list(self._owners)

    async def next_due(self) -> float | None:
        found = await self._engine.do("ZRANGE", self._prefix + "ends", "0", "0", "WITHSCORES")
        for _, ends in found.items() if isinstance(found, Mapping) else found:
            return float(ends) / 1_000_000
        return None

    async def follow(
        self, changed: Callable[[News | None], bool], heard: Callable[[TaskId, Callable[[], JSONObject]], None]
    ) -> None:
        changes, said = self._of_all("changes", "said")
        last: dict[str, bytes] = {}
        pause = _NEWS_PAUSE_SECONDS
        while True:
            heeded = False
            try:
                if not last:
                    last = {stream: await self._latest(stream) for stream in (said, changes)}
                    changed(None)  # from here on nothing is missed
                reading = ("XREAD", "BLOCK", _NEWS_MS, "COUNT", _NEWS_AT_ONCE, "STREAMS")
                found = await self._news.do(*reading, *last.keys(), *last.values()) or {}
            except StoreFailed:
                last = {}
                await trio.sleep(_AGAIN_SECONDS)
                continue
            for at, entry in found.get(said.encode(), {}).items():
                last[said] = at
                self._hear(entry, heard)
            for at, entry in found.get(changes.encode(), {}).items():
                last[changes] = at
                if changed(_news(entry)):
                    heeded = True
            if found:
                pause = _NEWS_PAUSE_SECONDS if heeded else min(pause * 2, _LONGEST_PAUSE_SECONDS)
                await trio.sleep(pause)

    async def _latest(self, stream: str) -> bytes:
        found: Mapping[bytes, Any] = await self._news.do("XREVRANGE", stream, "+", "-", "COUNT", "1") or {}
        return next(iter(found), b"0")

    def _hear(self, entry: Any, heard: Callable[[TaskId, Callable[[], JSONObject]], None]) -> None:
        try:
            fields = dict(entry)
            id, kept = TaskId(fields[b"id"].decode()), fields[b"said"]
            heard(id, lambda: decode(self._box.take(id, "said", kept)))
        except Exception:  # it is no fact, and may be lost
            logger.exception("what is said about a task cannot be passed on")

    async def say(self, id: TaskId, said: JSONObject) -> None:
        words = self._box.put(id, "said", encode(said))
        if len(words) > _SAID_BYTES:
            logger.info("what is said about task %s is too large to be passed on: %s bytes", id, len(words))
            return
        await self._engine.run(self._say, self._of_all("said"), [id, words])

    # --- parts ----------------------------------------------------------------------------------------------------

    def _keys(self, record: TaskRecord) -> list[str]:
        prefix, name = self._prefix, self._box.name(record.principal)
        own = [prefix + kind + record.id for kind in _OF_A_TASK]
        return [*own, f"{prefix}of:{name}", f"{prefix}running:{name}", *self._of_all(*_SHARED)]

    def _of_all(self, *kinds: str) -> list[str]:
        return [self._prefix + kind for kind in kinds]

    def _ended(self, record: TaskRecord) -> tuple[bytes, bytes]:
        outcome, large = self._packer.outcome(record)
        return outcome or b"", b"" if large is None else self._box.put(record.id, "result", large)

    def _whole(
        self,
        id: TaskId,
        version: bytes,
        head: bytes,
        outcome: bytes | None,
        origin: bytes | None,
        result: bytes | None,
        notes: Sequence[bytes],
    ) -> TaskRecord:
        large = None if result is None else self._box.take(id, "result", result)
        return self._packer.record(id, int(version), head, outcome, large=large, notes=notes, origin=origin)

    def _listed(self, id: TaskId, version: bytes, head: bytes, outcome: bytes | None) -> TaskRecord:
        return self._packer.record(id, int(version), head, outcome)


def _ends(record: TaskRecord) -> tuple[str, str]:
    # When its time is over, and how many milliseconds are left; by our clock, not by the engine's.
    end = record.expires_at
    if end is None:
        return "", ""
    return str(microseconds(end)), str(max(0, round((end - record.updated_at) * 1000)))


def _news(entry: Any) -> News | None:
    # None where others put it in words that we do not know: then any task may have changed.
    try:
        version, what, id = entry[0][1].decode().split(" ", 2)
        return News(TaskId(id), int(version), over=what == "over", begun=what == "begun")
    except (LookupError, ValueError):
        return None


def _owned(member: bytes) -> tuple[TaskId, str]:
    length, _, rest = member.partition(b":")
    end = int(length)
    return TaskId(rest[:end].decode()), rest[end:].decode()
