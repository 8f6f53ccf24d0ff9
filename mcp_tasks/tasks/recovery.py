"""After an interruption: what an earlier process has left unfinished is run again, or has failed; and before one.

It is done before the first request is answered, and many at a time, so that they share commits. Work that is begun
again is counted in the record before it runs; one that is interrupted every time may be what ends its process.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import trio

from .._unset import TaskId
from .._workers import Workers
from ..errors import InternalError, TaskAlreadySettled
from .live import Live, Revived, nobody
from .model import Raised, TaskRecord

if TYPE_CHECKING:
    from .registry import TaskRegistry

__all__ = ["Revive", "drain", "recover", "take_up"]

logger = logging.getLogger("mcp_tasks.tasks")

_TAKEN_UP_AT_ONCE = 256
Revive: TypeAlias = Callable[[TaskRecord], "Revived | None"]
"""Says what is to be done for a record; None, or an exception, is nothing."""

_NOT_HERE = "The task cannot be run: nobody here knows how"
_NOT_AGAIN = "The task was interrupted: its receiver has ended under it, and it is not one that is run again"


async def recover(registry: TaskRegistry, revive: Revive, home: Workers) -> None:
    """Take up what an earlier process has left unfinished: have it run again at `home`, or fail.

    `revive` says what is to be done for a record; what it has nothing for, or raises for, has failed. To be called
    before anything else. Raises whatever the store raises.
    """
    await registry.lifetimes.look_ahead()
    await registry.lifetimes.expire()
    after = 0
    while found := await registry.store.unfinished(after, _TAKEN_UP_AT_ONCE):
        for failure in (await take_up(registry, [record for _, record in found], revive, home)).values():
            raise failure
        after = found[-1][0]


async def take_up(
    registry: TaskRegistry, records: Iterable[TaskRecord], revive: Revive, home: Workers
) -> Mapping[TaskId, Exception]:
    """Begin the work of unfinished tasks here, as their next run, or settle them as failed; pass over what is here.

    Of several processes that try on the same record, one does it; to the others nothing happens. Returns what was
    raised, by task.
    """
    failures: dict[TaskId, Exception] = {}

    async def tried(record: TaskRecord) -> None:
        # A handler that was here before is not to act for the one that would be begun now.
        if record.id in registry.lives or record.id in registry.unwinding:
            return
        try:
            await _take_up(registry, record, revive, home)
        except Exception as failure:
            failures[record.id] = failure

    async with trio.open_nursery() as nursery:  # together, so that they share commits
        for record in records:
            nursery.start_soon(tried, record)
    return failures


async def _take_up(registry: TaskRegistry, record: TaskRecord, revive: Revive, home: Workers) -> None:
    revived, why = None, _NOT_AGAIN if record.runs else _NOT_HERE
    if (crashes := record.runs - record.forgiven) >= registry.limits.task_runs:
        why = f"The task was interrupted {crashes} times, which is too often to run it once more"
    else:
        try:
            revived = revive(record)
        except Exception:
            logger.exception("task %s cannot be run again", record.id)
    live = registry.lives[record.id] = Live(registry, record, nobody if revived is None else revived.on_change)
    live.runner = secrets.token_hex(8)  # before that is known to anybody: our own news are not to be taken for others'
    begun = False
    try:
        if revived is None:
            await registry.settle(live, Raised(InternalError(why)))
            return
        taken = await registry.advance(
            live, lambda old: (None, {"runs": record.runs + 1, "runner": live.runner, "updated_at": old.updated_at})
        )
        live.inherited.update(taken.questions)  # not of the record as it was read: more may have been asked since
        registry.start(record.id, revived.work, home)
        begun = True
        logger.info("task %s is run here, for the %s. time", record.id, record.runs + 1)
    except TaskAlreadySettled:
        pass  # another process has it, or its lifetime ended meanwhile
    finally:
        if not begun:
            registry.drop(live)
            if revived is not None:
                revived.dismiss()


async def drain(registry: TaskRegistry) -> None:
    """Begin no more work, leave to others what they can go on with, and wait until the rest is over.

    Cancelled, what is not over goes on.
    """
    registry.draining = True
    room = registry.others.room
    room.unpark_all()
    for live in list(registry.lives.values()):
        if registry.goes_on(live.record):
            live.leave()
    while registry.lives:
        await room.park()
