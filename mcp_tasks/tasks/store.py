"""Where task records are kept.

A store keeps facts and hands them out; it decides nothing. Each change replaces a whole record, on condition that
nobody else changed it meanwhile, so that the state machine has the last word even when several parties write. All
stores pass the one test body in `mcp_tasks.testing.check_task_store`.
"""

from __future__ import annotations

import heapq
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from attrs import frozen
from sortedcontainers import SortedDict

from .._shape import Shape
from .._unset import JSONObject, Principal, TaskId
from ..errors import LimitReached, LocalProtocolError, StoreFailed
from .model import TaskRecord

__all__ = ["FleetStats", "MemoryTaskStore", "News", "Room", "SharedTaskStore", "TaskStore", "log_failure"]

logger = logging.getLogger("mcp_tasks.tasks")


def log_failure(failure: Exception, message: str, *args: object) -> None:
    """Log what could not be done, and why: a store that is away by a line, anything else with where it was raised."""
    if isinstance(failure, StoreFailed):
        why = failure.__cause__ or failure
        logger.warning(f"{message}: %s", *args, " ".join(str(why).split()) or type(why).__name__)
    else:
        logger.error(message, *args, exc_info=failure)


@frozen(kw_only=True, eq=False, repr=False)
class Room(Shape):
    """How many tasks one principal may have: unfinished ones, and all that are kept."""

    running: int
    retained: int

    def check(self, running: int, retained: int) -> None:
        """Raise `LimitReached` if one more than these is too many."""
        if running >= self.running:
            raise LimitReached(
                f"Too many unfinished tasks: {running}, the limit is {self.running}", "running_tasks", self.running
            )
        if retained >= self.retained:
            raise LimitReached(
                f"Too many retained tasks: {retained}, the limit is {self.retained}", "retained_tasks", self.retained
            )


class TaskStore(ABC):
    """The contract. Every method may be a checkpoint; none leaves half a change when it is cancelled.

    A store that fails raises `StoreFailed`; what it was asked may have been done or not.
    """

    durable: bool = False
    """Whether records outlive the process."""
    secret: bytes | None = None
    """32 random bytes that live as long as the store, to seal what clients bring back; None if there are none."""

    @abstractmethod
    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        """Keep a new record, behind all others of its principal. Once this returns, the record is a fact.

        Cancelled, it is none; a commit that has begun is not cancelled. Raises `LocalProtocolError` if the id exists,
        and `LimitReached` if its principal has no `room` for one more, among all who ask at the same time.
        """

    @abstractmethod
    async def get(self, id: TaskId) -> TaskRecord | None:
        """The record as it was last committed, expired or not; None if there is none."""

    @abstractmethod
    async def replace(self, new: TaskRecord) -> bool:
        """Put `new` in the place of the version before it; True if that was done.

        False, and nothing is changed, if the record kept is not at ``new.version - 1`` or is gone: read it again.
        """

    @abstractmethod
    async def remove(self, *ids: TaskId) -> None:
        """Forget records; nothing happens for those that are not there."""

    @abstractmethod
    async def page(self, principal: Principal, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        """Up to `limit` records of a principal whose position is above `after`, in order, with their positions.

        Positions are above 0, grow in the order of creation, and are not used twice. What a list does not need may be
        left out: the journal, and of a large result all members but those that are true, false, null or a number.
        """

    @abstractmethod
    async def unfinished(self, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        """Up to `limit` records that are not settled, whoever's they are, in some order of positions above `after`."""

    @abstractmethod
    async def due(self, now: float, limit: int) -> Sequence[TaskId]:
        """Up to `limit` records whose lifetime has ended by `now`, by their ids, the oldest end first."""

    @abstractmethod
    async def next_due(self) -> float | None:
        """When the next lifetime ends, in seconds since the epoch; None if none will."""


class News(NamedTuple):
    """That somebody has changed a task: to which version (-1: removed), and what that means at least."""

    id: TaskId
    version: int
    over: bool
    """Whether it is settled or gone."""
    begun: bool
    """Whether its work was begun, and nothing else has changed."""


@frozen(kw_only=True, eq=False, repr=False)
class FleetStats(Shape):
    """How those who share a store are doing."""

    tasks: int
    """All that are kept."""
    unfinished: int
    queued: int
    """Of these, those that wait for a worker."""
    running: int
    overdue: int
    """Those whose worker has not been heard of for too long, or has left them, and that nobody has taken over yet."""
    lease_losses: int
    """How often nothing was heard of a worker for too long, since the store was made."""
    oldest: float | None
    """When the oldest unfinished task was created, in seconds since the epoch; None if there is none."""


class SharedTaskStore(TaskStore):
    """The contract of a store that several processes have at the same time: what they tell each other by way of it.

    Whoever begins a task's work writes so into its record, and says from then on that it goes on. A record that is
    created as its run 0 waits for a worker.
    """

    durable = True
    lease_seconds: float
    """For how long a task's work counts as going on without a word from whoever does it."""

    @abstractmethod
    async def records(self, ids: Collection[TaskId]) -> Mapping[TaskId, TaskRecord | None]:
        """Several records, as they were last committed; None for what is gone. What cannot be read is not in it."""

    @abstractmethod
    async def follow(
        self, changed: Callable[[News | None], bool], heard: Callable[[TaskId, Callable[[], JSONObject]], None]
    ) -> None:
        """Call `changed` with each change that anybody makes, ourselves included, until cancelled.

        But not that work was begun for the first time, which nobody has had before. With None, any task may have
        changed: news have been missed, as before the first. It says whether that was of interest; to whom little is,
        may be told a little later. `heard` is called with what anybody says, as a function that gives it, before it is
        told of changes that were made after that.
        """

    @abstractmethod
    async def claim(self, name: str, seconds: float) -> bool:
        """Have something for so long that one process may have at a time; False if another has it.

        Whoever has it already has it until then at least.
        """

    @abstractmethod
    async def unclaim(self, name: str) -> None:
        """Let others have it; nothing happens if it is not ours."""

    @abstractmethod
    async def say(self, id: TaskId, said: JSONObject) -> None:
        """Have all who follow now hear what is said about a task; what is too large is not said."""

    @abstractmethod
    async def beat(self, held: Mapping[TaskId, int]) -> Collection[TaskId]:
        """Say that the work of these tasks goes on, which was begun as their how manieth run; returns what is lost.

        What is lost is over, gone, or was begun by somebody else.
        """

    @abstractmethod
    async def release(self, held: Mapping[TaskId, int]) -> None:
        """Leave the work of these tasks, begun as their how manieth run, to others, for whom they wait now."""

    @abstractmethod
    async def stats(self) -> FleetStats:
        """How all are doing, at one moment."""

    @abstractmethod
    async def abandoned(self, skipped: int, limit: int) -> Mapping[TaskId, TaskRecord | None]:
        """Unfinished tasks whose work was begun, and of which nothing was heard for `lease_seconds`.

        Up to `limit` after those that were `skipped`, the longest unheard of first. As they are now; None for what is
        gone, or cannot be read.
        """

    @abstractmethod
    async def wait_for_work(self, worker: str, most: int) -> Mapping[TaskId, TaskRecord | None]:
        """Tasks that wait for somebody, `most` at most, for this worker alone; none if none come for a while.

        As they are now, or were when they began to wait; None for what is known to wait no more. All are to be named to
        `took` once they have been begun. Those that were not, because their worker died meanwhile, are given to another
        after `lease_seconds`; if it left, it says `give_back`.
        """

    @abstractmethod
    async def took(self, worker: str, ids: Collection[TaskId]) -> None:
        """These tasks, which were given to this worker, wait no more."""

    @abstractmethod
    async def give_back(self, worker: str) -> None:
        """A worker takes no more: what was given to it and not begun waits for somebody again."""


class MemoryTaskStore(TaskStore):
    """Keeps records in this process; they go with it. No method is a checkpoint.

    `get`, `create`, `replace` and `remove` cost the same however many records there are, up to a logarithm.
    """

    def __init__(self) -> None:
        self._records: dict[TaskId, TaskRecord] = {}
        self._positions: dict[TaskId, int] = {}
        self._by_principal: dict[Principal, SortedDict[int, TaskId]] = {}
        self._last_position = 0
        self._running: Counter[Principal] = Counter()
        self._ends: list[tuple[float, TaskId]] = []  # a heap; entries of removed records are skipped when they surface

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> list[TaskRecord]:
        """All records, whoever's they are."""
        return list(self._records.values())

    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        principal = record.principal
        if room is not None:
            room.check(self._running[principal], len(self._by_principal.get(principal, ())))
        if record.id in self._records:
            raise LocalProtocolError(f"there is a task {record.id} already")
        position = self._last_position = self._positions[record.id] = self._last_position + 1
        self._records[record.id] = record
        index = self._by_principal.get(principal)
        if index is None:
            index = self._by_principal[principal] = SortedDict()
        index[position] = record.id
        if not record.settled:
            self._running[principal] += 1
        end = record.expires_at
        if end is not None:
            heapq.heappush(self._ends, (end, record.id))

    async def get(self, id: TaskId) -> TaskRecord | None:
        return self._records.get(id)

    async def replace(self, new: TaskRecord) -> bool:
        current = self._records.get(new.id)
        if current is None or current.version != new.version - 1:
            return False
        self._records[new.id] = new
        if new.settled and not current.settled:
            self._finished(new.principal)
        if new.ttl_ms != current.ttl_ms and new.expires_at is not None:
            heapq.heappush(self._ends, (new.expires_at, new.id))
        return True

    def _finished(self, principal: Principal) -> None:
        self._running[principal] -= 1
        if not self._running[principal]:
            del self._running[principal]

    async def remove(self, *ids: TaskId) -> None:
        for id in ids:
            self._remove(id)

    def _remove(self, id: TaskId) -> None:
        record = self._records.pop(id, None)
        if record is None:
            return
        if not record.settled:
            self._finished(record.principal)
        index = self._by_principal[record.principal]
        del index[self._positions.pop(id)]
        if not index:
            # A principal may be one connection: nothing of it stays when its last task has gone.
            del self._by_principal[record.principal]
        if len(self._ends) > 2 * len(self._records) + 64:
            self._ends = [(r.expires_at, r.id) for r in self._records.values() if r.expires_at is not None]
            heapq.heapify(self._ends)

    async def page(self, principal: Principal, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        index = self._by_principal.get(principal)
        if index is None:
            return []
        first = index.bisect_right(after)
        return [(position, self._records[id]) for position, id in index.items()[first : first + limit]]

    async def unfinished(self, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        found = [(self._positions[id], record) for id, record in self._records.items() if not record.settled]
        return [(position, record) for position, record in found if position > after][:limit]

    async def due(self, now: float, limit: int) -> Sequence[TaskId]:
        found: dict[TaskId, float] = {}
        ends = self._ends
        while ends and ends[0][0] <= now and len(found) < limit:
            _, id = heapq.heappop(ends)
            record = self._records.get(id)
            if record is not None and record.expires_at is not None and record.expires_at <= now:
                found[id] = record.expires_at
        for id, end in found.items():
            # Still there until it is removed: a caller that is cancelled in between must find it again.
            heapq.heappush(ends, (end, id))
        return list(found)

    async def next_due(self) -> float | None:
        while self._ends:
            end, id = self._ends[0]
            record = self._records.get(id)
            if record is not None and record.expires_at == end:
                return end
            heapq.heappop(self._ends)
        return None
