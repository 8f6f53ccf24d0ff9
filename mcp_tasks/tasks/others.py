"""Other processes that share the store: hearing of what they do, and waiting for what they have in hand.

News only say which task has changed; what it has changed to is read, for many at once. Whoever waits lets that be
known before it reads, so that no news are lost in between. A task whose work is here and that another process has begun
again is theirs from then on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import trio

from .._unset import JSONObject, Principal, TaskId
from .._workers import Workers
from ..errors import StoreFailed, TaskAlreadySettled, TaskExpired, TaskNotFound
from .live import Elsewhere, Live
from .model import TaskRecord
from .recovery import Revive, take_up
from .state import TaskState
from .store import News, SharedTaskStore, log_failure

if TYPE_CHECKING:
    from .registry import TaskRegistry

__all__ = ["Others"]

logger = logging.getLogger("mcp_tasks.tasks")

_RETRY_SECONDS = 1.0
_BEATS = 3  # in the time of a lease
_PROMPT = 6  # in that time, an engine that is well could answer
_AT_ONCE = 100  # abandoned tasks that are asked for, at the most
_LOOKED_AT_ONCE = 50  # records that are read after news, at the most
_AFTER_SECONDS = 0.01  # the end of a lifetime, so that it is over by any reckoning


def _nothing() -> None:
    pass


class Others:
    """What one registry knows of the others."""

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        self._elsewhere: dict[TaskId, Elsewhere] = {}
        self.told: dict[TaskId, int] = {}
        """Of what is watched here, the version that observers have been told of."""
        self._given: dict[TaskId, Callable[[], None]] = {}  # what was made here and left to others; for when it is gone
        self._heard = True
        self._silent_until = -math.inf
        self._claims: dict[str, float] = {}  # when others may have what we have; infinity while that is not known
        self.room = trio.lowlevel.ParkingLot()
        """Where those wait who want there to be less to do here."""

    @property
    def _store(self) -> SharedTaskStore:
        store = self._registry.shared
        assert store is not None, "there are no others"
        return store

    async def settled(self, id: TaskId, principal: Principal, looked: Callable[[TaskRecord], object]) -> TaskRecord:
        """Wait until a task is over whose work is in another process; `looked` is told what it is if it is not.

        Raises `TaskNotFound`, `TaskExpired`.
        """
        there = self._elsewhere.setdefault(id, Elsewhere())
        there.users += 1
        try:
            record = await self._registry.get(id, principal)
            if not record.settled:
                looked(record)
            while not record.settled:
                end = record.expires_at
                over = math.inf if end is None else self._registry.clock.deadline(end) + _AFTER_SECONDS
                with trio.move_on_at(over) as waiting:
                    record = await there.after(record)
                if waiting.cancelled_caught:
                    record = await self._still(id, principal)
            return record
        finally:
            there.users -= 1
            if not there.users:
                del self._elsewhere[id]

    async def _still(self, id: TaskId, principal: Principal) -> TaskRecord:
        # Whoever waits has patience with a store that is away, while it may have to do with the work as well.
        deadline = trio.current_time() + self._store.lease_seconds
        while True:
            try:
                return await self._registry.get(id, principal)
            except TaskNotFound:
                raise TaskExpired(id) from None
            except StoreFailed:
                if trio.current_time() >= deadline:
                    raise
                await trio.sleep(_RETRY_SECONDS)

    async def follow(self, heard: Callable[[TaskId, Callable[[], JSONObject]], None]) -> None:
        """Take in what other processes do to tasks that somebody here waits for; runs until it is cancelled.

        `heard` is called with what any of them says about any task, as a function that gives it.
        """
        registry = self._registry
        due: dict[TaskId, None] = {}
        bell = trio.Event()

        def changed(news: News | None) -> bool:
            if news is None:
                due.update(dict.fromkeys([*registry.lives, *registry.watched, *self._elsewhere]))
            elif self._is_news(news):
                due[news.id] = None
            else:
                return False
            bell.set()
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._store.follow, changed, heard)
            at_once = _LOOKED_AT_ONCE
            while True:
                await bell.wait()
                bell = trio.Event()
                while due:
                    ids = list(islice(due, at_once))
                    for id in ids:
                        del due[id]
                    try:
                        await self._look_again(*ids)
                        at_once = min(at_once * 2, _LOOKED_AT_ONCE)
                    except Exception as failure:
                        log_failure(failure, "%d tasks cannot be looked at; trying again in a moment", len(ids))
                        due.update(dict.fromkeys(ids))
                        at_once = max(at_once // 2, 1)  # it may have been too much at once
                        await trio.sleep(_RETRY_SECONDS)

    def _is_news(self, news: News) -> bool:
        # Whether anybody here has yet to hear of it.
        if news.over and news.id in self._elsewhere:
            return True
        live = self._registry.lives.get(news.id)
        if live is not None:
            return news.version > live.record.version or news.version < 0
        # Whoever watches sees nothing of whose work it is.
        known = news.version if news.begun else self.told.get(news.id, -1)
        return news.id in self._registry.watched and (news.version > known or news.version < 0)

    async def say(self, id: TaskId, said: JSONObject) -> None:
        """Let those hear who follow. It is lost while the store is away, which is found out now and then."""
        await trio.lowlevel.checkpoint()
        if trio.current_time() >= self._silent_until:
            try:
                await self._store.say(id, said)
            except StoreFailed:
                self._silent_until = trio.current_time() + self._store.lease_seconds / _BEATS

    def watch(self, id: TaskId, on_change: Callable[[TaskRecord], None], on_gone: Callable[[TaskId], object]) -> None:
        """Tell of the changes of a task whose work is elsewhere, until it is over or gone."""

        def told(record: TaskRecord) -> None:
            if record.settled:
                self._given.pop(id, None)
                self._registry.unwatch(id, told)
            on_change(record)

        def gone() -> None:
            self._registry.unwatch(id, told)
            on_gone(id)

        self._given[id] = gone
        self._registry.watched.setdefault(id, []).append(told)

    def forget(self) -> None:
        """Nothing is heard from others any more."""
        for gone in list(self._given.values()):
            gone()
        self._given.clear()

    # --- who does what --------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """Say again and again what is being done here; runs until it is cancelled."""
        registry = self._registry
        while True:
            await trio.sleep(self._store.lease_seconds / _BEATS)
            try:
                await self._beat(list(registry.lives.values()))
                for name in list(self._claims):
                    await self._say_claim(name)
            except Exception as failure:
                log_failure(failure, "nobody could be told what is being done here")

    async def _beat(self, lives: Sequence[Live]) -> None:
        # Whoever is heard and hears nothing must not keep what it cannot end: after a silence it asks before it speaks.
        if not self._heard:
            await self._store.next_due()
        self._heard = False
        begun = trio.current_time()
        lost = await self._store.beat({live.record.id: live.record.runs for live in lives})
        self._heard = True
        for live in lives:
            if live.record.id not in lost:
                live.leased_at = begun
        lost = list(lost)
        while lost:
            await self._look_again(*lost[:_LOOKED_AT_ONCE])
            del lost[:_LOOKED_AT_ONCE]

    async def confirm(self, live: Live) -> None:
        """Make sure that work is still ours to do, having looked at the clock. A checkpoint only if that is in doubt.

        Waits while the store is away. Raises `TaskAlreadySettled` if it is not.
        """
        while trio.current_time() >= live.leased_at + self._store.lease_seconds / 2:
            try:
                await self._beat([live])
            except StoreFailed:
                await trio.sleep(self._store.lease_seconds / _BEATS)
            if self._registry.lives.get(live.record.id) is not live:
                raise TaskAlreadySettled(live.record.id, "run by another process")

    async def leave(self, record: TaskRecord) -> None:
        """Leave a task's work to others, at once."""
        store = self._registry.shared
        if store is not None:
            try:
                await store.release({record.id: record.runs})
            except Exception as failure:
                log_failure(failure, "task %s could not be left; it is taken over when its lease is over", record.id)

    async def rescue(self, revive: Revive, home: Workers, *, works: bool) -> None:
        """Look after tasks whose process has gone: begin them again here, or settle them; runs until it is cancelled.

        Without `works`, what is to be begun again is left to those who do. They take all of it, however much they have
        to do: it was begun once, and is to go on within the time that is stated for that.
        """
        registry, lease = self._registry, self._store.lease_seconds
        well_since = -math.inf
        many = _AT_ONCE
        while True:
            await trio.sleep(lease / _BEATS)
            left, seen = 0, many
            try:
                while seen == many:
                    asked = trio.current_time()
                    abandoned = await self._store.abandoned(left, many)
                    if trio.current_time() > asked + lease / _PROMPT:
                        raise StoreFailed("it took too long to answer")
                    if asked < well_since + lease:
                        break
                    ours = self._saved_here(abandoned.values(), works and not registry.draining)
                    failures = await take_up(registry, ours, revive, home)
                    for id, failure in failures.items():
                        if isinstance(failure, StoreFailed):
                            raise failure
                        log_failure(failure, "task %s could not be looked after", id)
                    seen = len(abandoned)
                    left += seen - len(ours) + len(failures)
                else:
                    many = min(many * 2, _AT_ONCE)  # only once all were looked after: else it is soon too many again
            except Exception as failure:
                log_failure(failure, "tasks that were abandoned could not be looked after")
                many = max(many // 4, 1)  # it may have been so many that took so long, and not the engine
                # Nobody could say that work goes on: whoever lives is first to have time to say so again.
                well_since = trio.current_time()

    def _saved_here(self, abandoned: Iterable[TaskRecord | None], works: bool) -> list[TaskRecord]:
        here = self._registry.lives.keys() | self._registry.unwinding
        others = (record for record in abandoned if record is not None and record.id not in here)
        return [record for record in others if works or not record.restartable]

    async def work(self, worker: str, revive: Revive, home: Workers, *, at_once: int) -> None:
        """Begin tasks that wait, while fewer than `at_once` have something to do here; until drained, or cancelled."""
        registry = self._registry
        try:
            while not registry.draining:
                # What waits for an answer takes no room: whoever is to give it may be waiting for what is in the queue.
                busy = sum(live.record.state is not TaskState.INPUT_REQUIRED for live in registry.lives.values())
                if busy >= at_once:
                    await self.room.park()
                    continue
                try:
                    given = await self._store.wait_for_work(worker, at_once - busy)
                    if registry.draining:
                        return
                    waiting = [record for record in given.values() if record is not None]
                    failures = await take_up(registry, waiting, revive, home)
                    for id, failure in failures.items():
                        log_failure(failure, "task %s is begun when its lease is over, not now", id)
                    await self._store.took(worker, given.keys() - failures.keys())
                except Exception as failure:
                    log_failure(failure, "no work can be had now; trying again in a moment")
                    await trio.sleep(_RETRY_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await self._store.give_back(worker)
                except Exception:
                    logger.info("what was not begun is taken over when its lease is over", exc_info=True)

    # --- what one has at a time -----------------------------------------------------------------------------------

    async def claim(self, name: str) -> bool:
        """Have something until it is `let_go`, or this process is not heard of any more; False if another has it."""
        if not await self._store.claim(name, self._store.lease_seconds):
            return False
        self._claims[name] = math.inf
        return True

    async def let_go(self, name: str, seconds: float) -> None:
        """Others may have it then: in so many seconds, or now. If the store is away that is said when it is back."""
        self._claims[name] = trio.current_time() + seconds
        with trio.CancelScope(shield=True):
            try:
                await self._say_claim(name)
            except StoreFailed:
                logger.info("that others may have %s is said later", name)

    async def _say_claim(self, name: str) -> None:
        until = self._claims.get(name)
        if until is None:
            return
        left = until - trio.current_time()
        if left == math.inf:
            await self._store.claim(name, self._store.lease_seconds)
            return
        if left > 0:
            await self._store.claim(name, left)
        else:
            await self._store.unclaim(name)
        if self._claims.get(name) == until:  # and not ours again
            del self._claims[name]

    # --- news -----------------------------------------------------------------------------------------------------

    async def _look_again(self, *ids: TaskId) -> None:
        found = await self._store.records(ids)
        for id in ids:
            there = self._elsewhere.get(id) or Elsewhere()
            if id not in found:
                there.failed(StoreFailed(f"Task {id} cannot be read"))
            elif (record := found[id]) is None:
                there.failed(TaskExpired(id))
                self._gone(id)
            else:
                there.seen(record)
                self._see(record)

    def _gone(self, id: TaskId) -> None:
        live = self._registry.lives.get(id)
        if live is None:
            self._given.pop(id, _nothing)()
        else:
            live.expired = True
            self._registry.drop(live)
            live.changed()
            live.cancel()

    def _see(self, record: TaskRecord) -> None:
        live = self._registry.lives.get(record.id)
        if live is None:
            if record.version > self.told.get(record.id, -1):
                self._registry.tell(record)
        elif record.version < live.record.version:
            pass  # read before our last change, and looked at after it
        elif live.lost(record):
            self._registry.lose(live)
        else:
            self._registry.adopt(live, record)
            if record.settled:
                live.cancel()
