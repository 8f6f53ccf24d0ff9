"""The receiver's side of tasks: create, ask, answer, settle once, cancel, watch, expire.

A registry belongs to a peer and knows no connection and no wire. It runs each task's work in a nursery it is given,
where it can be cancelled on its own, and commits every change to its store before anybody is told. Whatever ends
the work (a result, an error, a panic, a cancel, the end of its lifetime, the nursery's being cancelled), the record
gets exactly one terminal state, and everybody who waits is woken. Between looking and parking a waiter there is no
checkpoint, so that no wake-up is lost.

With a durable store, work that is interrupted with its process and can be run again stays unfinished, and is taken up
by `recover` of the next process; whatever else is found unfinished then has failed.

Spec: 2025-11-25 basic/utilities/tasks "Behavior Requirements".
"""

from __future__ import annotations

import logging
import math
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio

from .._unset import JSON, UNSET, Cursor, JSONObject, Principal, TaskId, Unset
from .._workers import Workers
from ..clock import Clock
from ..cursor import CursorSeal
from ..errors import (
    InternalError,
    InvalidCursor,
    Refusal,
    RequestFailed,
    StoreFailed,
    TaskAlreadySettled,
    TaskExpired,
    TaskNotFound,
)
from ..limits import Limits
from .lifetimes import Lifetimes, is_over
from .live import SETTLES, Change, Fresh, InOrder, Live, Revived, Work, nobody, sayable
from .model import EMPTY, Call, Outcome, Page, Raised, Returned, Stopped, TaskRecord
from .others import Others
from .questions import Questions
from .state import TaskState, advance
from .store import MemoryTaskStore, Room, SharedTaskStore, TaskStore

__all__ = ["Revived", "TaskRegistry", "Work", "mint_task_id"]

logger = logging.getLogger("mcp_tasks.tasks")

_COMMIT_TRIES = 100
_COMMIT_SECONDS = 5.0  # how long a commit may hold up a cancellation
_DUE_AT_ONCE = 100
_RETRY_SECONDS = 1.0
_MOST_RETRY_SECONDS = 60.0
_NO_JSON = (TypeError, ValueError, RecursionError)


def mint_task_id() -> TaskId:
    """A task id nobody can guess: 128 random bits (T25-139)."""
    return TaskId(os.urandom(16).hex())


def _newest(record: TaskRecord, told: Mapping[TaskId, TaskRecord]) -> TaskRecord:
    return max(record, told.get(record.id, record), key=lambda one: one.version)


class TaskRegistry(Questions):
    """The tasks of one peer.

    `mint_id` and `clock` are injected for tests and for fleets; those who serve one list have the same `seal`.
    """

    def __init__(
        self,
        store: TaskStore | None = None,
        *,
        clock: Clock | None = None,
        limits: Limits | None = None,
        mint_id: Callable[[], TaskId] = mint_task_id,
        seal: CursorSeal | None = None,
    ) -> None:
        self.store = MemoryTaskStore() if store is None else store
        """Where the records are; not to be changed while there are any tasks."""
        self.clock = Clock() if clock is None else clock
        self.limits = limits = Limits() if limits is None else limits
        self._room = Room(running=limits.running_tasks, retained=limits.retained_tasks)
        self._mint_id = mint_id
        self._seal = CursorSeal() if seal is None else seal
        self.lives: dict[TaskId, Live] = {}
        """The tasks whose work is in this process, for the modules beside this one."""
        self.unwinding: set[TaskId] = set()
        """Tasks that were lost to others while their work was under way, and whose handlers have not come to an end."""
        self.watched: dict[TaskId, list[Callable[[TaskRecord], None]]] = {}
        """Who is told of the changes of a task."""
        self._told_meanwhile: list[dict[TaskId, TaskRecord]] = []  # by those who read
        self.others = Others(self)
        """What other processes do, where the store is shared."""
        self.lifetimes = Lifetimes(self)
        self.draining = False
        """Whether no more work is to be begun here; see `drain`."""

    @property
    def shared(self) -> SharedTaskStore | None:
        """The store, if other processes have it as well."""
        return self.store if isinstance(self.store, SharedTaskStore) else None

    @property
    def live(self) -> int:
        """How many tasks have work in this process."""
        return len(self.lives)

    def is_live(self, id: TaskId) -> bool:
        """Whether a task's work is in this process and not over."""
        return id in self.lives

    def journal(self, id: TaskId) -> Mapping[str, JSON]:
        """What has been answered and noted in a task, by key. Raises `TaskAlreadySettled` once it is over."""
        return self.living(id).record.answers

    # --- the life of a task ---------------------------------------------------------------------------------------

    async def create(
        self,
        call: Call,
        principal: Principal,
        *,
        journal: Mapping[str, JSON] = EMPTY,
        origin: JSONObject | None = None,
        restartable: bool = False,
        here: bool = True,
        on_change: Callable[[TaskRecord], None] = nobody,
        on_gone: Callable[[TaskId], object] = lambda id: None,
    ) -> TaskRecord:
        """Commit a new task for `call`; it works from now on, but nothing runs until `start`.

        `journal` is what was answered and noted before it became a task, and `origin` what it takes to run it in
        another process: where it waits to be begun if its work is not to be done `here`, or after an interruption, if
        it is `restartable`. `on_change` is called, synchronously, after each later change was committed, and `on_gone`
        if a task that is not run here was removed before it was over. Raises `LimitReached`, or whatever the store
        raises; there is no task then. Cancelled, there is none either.
        """
        now = await self.lifetimes.expire()
        record = TaskRecord(
            id=self._mint_id(),
            principal=principal,
            method=call.method,
            created_at=now,
            updated_at=now,
            ttl_ms=self._granted_ttl(call),
            poll_interval_ms=self.limits.poll_interval_ms,
            answers=journal,
            runs=1 if here else 0,
            restartable=restartable,
            origin=origin,
        )
        live = Live(self, record, on_change)
        await self.store.create(record, self._room)
        if here:
            self.lives[record.id] = live
        else:
            self.others.watch(record.id, on_change, on_gone)
        self.lifetimes.begins(record)
        logger.info("task %s created: %s for %s, ttl %s ms", record.id, call.method, principal, record.ttl_ms)
        return record

    def start(self, id: TaskId, work: Work, home: Workers) -> None:
        """Run the work of a created task. Its result or its error settles the task."""
        live = self.lives.get(id)
        if live is not None:
            live.work, live.home = work, home
            home.put(live)

    async def report(self, id: TaskId, message: str) -> None:
        """Set a task's status message. Raises `TaskAlreadySettled`."""
        message = sayable(message)
        await self.advance(self.living(id), lambda record: (None, {"message": message}))

    async def adjust(self, id: TaskId, *, ttl_ms: int | Unset = UNSET, poll_interval_ms: int | Unset = UNSET) -> None:
        """Change for how long a task is kept, from its creation, and how often to ask for it.

        A lifetime is granted up to the limit. Raises `TaskAlreadySettled`.
        """
        edits: dict[str, Any] = {}
        if ttl_ms is not UNSET:
            edits["ttl_ms"] = min(ttl_ms, self.limits.max_ttl_ms)
        if poll_interval_ms is not UNSET:
            edits["poll_interval_ms"] = poll_interval_ms
        self.lifetimes.begins(await self.advance(self.living(id), lambda record: (None, edits)))

    async def note(self, id: TaskId, key: str, value: JSON) -> None:
        """Keep a value in the task's journal. Raises `TaskAlreadySettled`, `LocalProtocolError` for a used key."""
        fresh = Fresh(key)

        def change(record: TaskRecord) -> Change | None:
            if fresh.done(record):
                return None
            return None, {"answers": {**record.answers, key: value}, "updated_at": record.updated_at}

        await self.advance(self.living(id), change)

    async def confirm(self, id: TaskId) -> None:
        """Make sure that a task's work is still to be done here, before a step that nobody can take back.

        Where others share the store, whoever was not heard of for too long may have been followed by now. Raises
        `TaskAlreadySettled`.
        """
        live = self.living(id)
        if self.shared is not None:
            await self.others.confirm(live)

    async def cancel(self, id: TaskId, principal: Principal, reason: str = "The task was cancelled") -> TaskRecord:
        """Stop a task: its record is settled first, then its work is cancelled (T25-115).

        Returns the settled record; the work's ``finally`` blocks may still run. Raises `TaskNotFound`,
        `TaskAlreadySettled`.
        """
        record = await self.get(id, principal)
        live = self.lives.get(id) or Live(self, record, nobody)
        record = await self.settle(live, Stopped(reason))
        live.cancel()
        return record

    # --- looking at tasks -----------------------------------------------------------------------------------------

    async def get(self, id: TaskId, principal: Principal) -> TaskRecord:
        """The record of a task. Raises `TaskNotFound`, for a foreign task too (T25-142, T25-143)."""
        now = await self.lifetimes.now()
        live = self.lives.get(id)
        record = await self._read(id) if live is None else live.record
        if record is None or record.principal != principal or is_over(record, now):
            raise TaskNotFound(id)
        self._noticed(record)
        return record

    async def _read(self, id: TaskId) -> TaskRecord | None:
        if id not in self.watched:
            return await self.store.get(id)
        with self._hearing() as told:
            record = await self.store.get(id)
        return record and _newest(record, told)

    @contextmanager
    def _hearing(self) -> Iterator[dict[TaskId, TaskRecord]]:
        # What observers are told while something is read must not be followed by what it was before.
        told: dict[TaskId, TaskRecord] = {}
        self._told_meanwhile.append(told)
        try:
            yield told
        finally:
            self._told_meanwhile = [other for other in self._told_meanwhile if other is not told]

    def _noticed(self, record: TaskRecord) -> None:
        # Whoever has seen that a task is over hears no more of it: its watchers are told now, not when the news come.
        if record.settled and record.id in self.watched and record.version > self.others.told.get(record.id, -1):
            self.tell(record)

    @contextmanager
    def watching(
        self, ids: Collection[TaskId], observer: Callable[[TaskRecord], None]
    ) -> Iterator[Callable[[TaskRecord], None]]:
        """A block in which `observer` is called, synchronously, after each change of these tasks was committed.

        Gives a function to call it with what was read meanwhile, which may be older than what it has been told: that it
        is not told then.
        """
        tell = InOrder(observer)
        for id in ids:
            self.watched.setdefault(id, []).append(tell)
        try:
            yield tell
        finally:
            for id in ids:
                self.unwatch(id, tell)

    def unwatch(self, id: TaskId, observer: Callable[[TaskRecord], None]) -> None:
        """Tell this observer no more; nothing happens if it was not to be told."""
        watchers = self.watched.get(id, [])
        if observer in watchers:
            watchers.remove(observer)
        if not watchers:
            self.watched.pop(id, None)
            self.others.told.pop(id, None)

    async def settled(
        self, id: TaskId, principal: Principal, looked: Callable[[TaskRecord], object] = nobody
    ) -> TaskRecord:
        """Wait until a task is over, and return its record. Any number may wait, and may give up waiting.

        `looked` is told what it is as soon as its work is in another process, and it is not over. Raises
        `TaskNotFound`, or `TaskExpired` if its lifetime ends first.
        """
        if self.shared and id not in self.lives:
            return await self.others.settled(id, principal, looked)
        record = await self.get(id, principal)
        while not record.settled:
            live = self.lives.get(id)
            if live is None:
                if self.shared:
                    return await self.others.settled(id, principal, looked)
                record = await self.get(id, principal)  # settled between the look and now
                if record.settled:
                    return record
                raise InternalError(f"Task {id} is interrupted: it goes on when its receiver is there again")
            await live.change()
            if live.expired:
                raise TaskExpired(id)
            record = live.record
        return record

    async def list(self, principal: Principal, cursor: Cursor | None) -> Page:
        """The principal's tasks, oldest first, a page at a time. Raises `InvalidCursor`."""
        now = await self.lifetimes.now()
        scope = f"tasks:{principal}"
        if cursor is None:
            after = 0
        else:
            position = self._seal.open(scope, cursor)
            if not position.isdecimal():
                raise InvalidCursor
            after = int(position)
        size = self.limits.page_size
        with self._hearing() as told:
            found = await self.store.page(principal, after, size + 1)
        newest = [_newest(record, told) for _, record in found[:size]]
        records = [record for record in newest if not is_over(record, now)]
        for record in records:
            self._noticed(record)
        if len(found) <= size:
            return Page(records, None)
        return Page(records, self._seal.seal(scope, str(found[size - 1][0])))

    async def forget(self, principal: Principal) -> None:
        """Stop and remove all tasks of a principal that cannot come back."""
        while found := await self.store.page(principal, 0, _DUE_AT_ONCE):
            if not await self.lifetimes.end([record.id for _, record in found], "The requestor has gone"):
                break

    async def keep_time(self) -> None:
        """End lifetimes when they are over; runs until it is cancelled. Several may run at once."""
        await self.lifetimes.keep()

    def _granted_ttl(self, call: Call) -> int:
        wished = UNSET if call.wish is None else call.wish.ttl_ms
        return self.limits.default_ttl_ms if wished is UNSET else min(wished, self.limits.max_ttl_ms)

    # --- changing tasks -------------------------------------------------------------------------------------------

    async def run(self, live: Live) -> None:
        """Do the work of a task and settle it, for whoever runs its jobs."""
        try:
            await self._run(live)
        finally:
            self.unwinding.discard(live.record.id)

    async def _run(self, live: Live) -> None:
        interrupted: Outcome = Stopped("The task was interrupted: its receiver is shutting down")
        outcome = interrupted
        done = False
        if self.draining and self.goes_on(live.record):
            live.leave()
        try:
            ended = await self._outcome_of(live)
            if ended is not None:
                outcome = ended
                await self._keep(live, outcome)
                done = True
        finally:
            if not done and outcome is interrupted and self.goes_on(live.record):
                await self._leave(live)
            elif not done:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _COMMIT_SECONDS):
                    try:
                        await self._settle_late(live, outcome)
                    except Exception:
                        logger.exception("task %s could not be settled", live.record.id)
                if live.record.id in self.lives:
                    # The store has failed to the last. Whoever waits looks for themselves; nobody waits for ever.
                    self.drop(live)
                    live.changed()

    async def _leave(self, live: Live) -> None:
        # In an orderly way, which is not held against it.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _COMMIT_SECONDS):
            try:
                await self.advance(
                    live, lambda record: (None, {"forgiven": record.forgiven + 1, "updated_at": record.updated_at})
                )
                await self.others.leave(live.record)
                logger.info("task %s is left to be run again", live.record.id)
            except TaskAlreadySettled:
                pass
            except Exception:
                logger.exception("task %s could not be left in an orderly way", live.record.id)
            finally:
                self.drop(live)
                live.changed()

    async def _keep(self, live: Live, outcome: Outcome) -> None:
        # What came of it is not lost because the store is away for a while; the task's lifetime is the bound.
        pause = _RETRY_SECONDS
        while True:
            try:
                return await self._settle_late(live, outcome)
            except _NO_JSON:
                logger.exception("task %s: its outcome is no JSON", live.record.id)
                outcome = Raised(InternalError("The outcome cannot be kept"))
            except Exception:
                logger.exception("task %s: its outcome cannot be kept now, trying again", live.record.id)
                await trio.sleep(pause)
                pause = min(pause * 2, _MOST_RETRY_SECONDS)

    def goes_on(self, record: TaskRecord) -> bool:
        """Whether another process will run it again, so that its end with this one is none."""
        return self.store.durable and record.restartable and not record.settled

    async def _settle_late(self, live: Live, outcome: Outcome) -> None:
        try:
            await self.settle(live, outcome)
        except TaskAlreadySettled as settled:
            # Cancelled or expired while it ran: what it came to in the end is thrown away (T25-116).
            logger.debug("task %s: late outcome dropped, %s", live.record.id, settled.state)

    async def _outcome_of(self, live: Live) -> Outcome | None:
        # None if everything is ending, and the next process is to do the work.
        assert live.work is not None
        try:
            return Returned(await live.work())
        except (Refusal, RequestFailed) as error:
            raised = Raised(error.with_traceback(None))  # a record keeps no frames alive
        except Exception:
            reference = secrets.token_hex(4)
            logger.exception("task %s: unexpected exception, reference %s", live.record.id, reference)
            raised = Raised(InternalError(f"Internal error (reference {reference})"))
        ending = not live.cancelled and trio.current_effective_deadline() == -math.inf
        return None if ending and self.goes_on(live.record) else raised

    async def settle(self, live: Live, outcome: Outcome) -> TaskRecord:
        """Commit how a task ended. Raises `TaskAlreadySettled`."""
        given = SETTLES[type(outcome)]
        edits: dict[str, Any] = {"outcome": outcome, "questions": EMPTY}
        if isinstance(outcome, Raised):
            edits["message"] = sayable(str(outcome.error.message))
        elif isinstance(outcome, Stopped):
            edits["message"] = outcome.reason
        record = await self.advance(live, lambda record: (given, edits))
        self.drop(live)
        logger.info("task %s %s", record.id, record.state.value)
        return record

    async def advance(self, live: Live, change: Callable[[TaskRecord], Change | None]) -> TaskRecord:
        """Commit a change to a task, on whatever it is by then, and tell of it. Raises `TaskAlreadySettled`."""
        for _ in range(_COMMIT_TRIES):
            old = live.record
            if live.taken:
                raise TaskAlreadySettled(old.id, "run by another process")
            if old.settled:
                raise TaskAlreadySettled(old.id, old.state.value)
            changed = change(old)
            if changed is None:
                return old
            given, edits = changed
            state = old.state if given is None else advance(old.state, given)
            new = old.changed(state, self.clock.now(), edits)
            replaced, current = await self._commit(live, new)
            if replaced:
                self.adopt(live, new)
                return new
            if current is None:
                # Its lifetime was over, and whoever saw that first has removed it.
                self.drop(live)
                live.expired = True
                live.changed()
                raise TaskAlreadySettled(old.id, "expired")
            if live.lost(current) and self.lives.get(old.id) is live:
                self.lose(live)
                raise TaskAlreadySettled(old.id, "run by another process")
            self.adopt(live, current)
        raise InternalError(f"Task {live.record.id} is changed by too many at once")

    async def _commit(self, live: Live, new: TaskRecord) -> tuple[bool, TaskRecord | None]:
        # Whether it was done, and else what the record is now. Where work is done for others to see, a store that is
        # away for a while holds it up and does not end it: nobody could tell that from an end of its own.
        pause, doubtful = _RETRY_SECONDS / 10, False
        while True:
            try:
                if await self.store.replace(new):
                    return True, new
                # Somebody else was quicker; or it was us, and we were not told.
                current = await self.store.get(new.id)
                return doubtful and current == new, current
            except StoreFailed:
                doubtful = True
                if not (self.shared and self.lives.get(new.id) is live):
                    raise
                await trio.sleep(pause)
                pause = min(pause * 2, _RETRY_SECONDS)

    def adopt(self, live: Live, record: TaskRecord) -> None:
        """A task is now as `record` has it, whoever has committed that: whoever waits or watches is told, once."""
        if record.version > live.record.version:
            live.record = record
        if record.version > live.told:
            live.told = record.version
            if record.settled:
                self.drop(live)
            elif record.state is TaskState.INPUT_REQUIRED:
                self.others.room.unpark_all()
            live.changed()
            self.tell(record, live.on_change)

    def tell(self, record: TaskRecord, *observers: Callable[[TaskRecord], None]) -> None:
        """Tell observers of a change, and whoever watches the task."""
        for told in self._told_meanwhile:
            told[record.id] = record
        watchers = self.watched.get(record.id, ())
        if watchers:
            self.others.told[record.id] = record.version
        for observer in (*observers, *watchers):
            try:
                observer(record)
            except Exception:  # whoever only watches cannot undo what is committed
                logger.exception("task %s: an observer failed", record.id)

    def lose(self, live: Live) -> None:
        """Another process has begun its work again: what is done here counts no more."""
        logger.warning("task %s is run by another process now", live.record.id)
        live.taken = True
        if live.scope is not None:
            self.unwinding.add(live.record.id)
        self.drop(live)
        live.changed()
        live.cancel()

    async def found(self, id: TaskId) -> Live:
        """A task, wherever its work is. Raises `TaskAlreadySettled` if it is gone."""
        live = self.lives.get(id)
        if live is None:
            record = await self.store.get(id)
            if record is None:
                raise TaskAlreadySettled(id, "over")
            live = self.lives.get(id) or Live(self, record, nobody)
        return live

    def living(self, id: TaskId) -> Live:
        """A task whose work is here. Raises `TaskAlreadySettled`."""
        live = self.lives.get(id)
        if live is None:
            raise TaskAlreadySettled(id, "over")
        return live

    def drop(self, live: Live) -> None:
        """Its work is not here any more."""
        if self.lives.get(live.record.id) is live:
            del self.lives[live.record.id]
            self.others.room.unpark_all()
