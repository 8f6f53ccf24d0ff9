"""Lifetimes: when the next one ends, and ending it.

Whoever asks for a task ends what is over by then, and a timer does so when nobody asks. A task whose lifetime is over
counts as gone, whether or not it could be removed already.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from typing import TYPE_CHECKING

import trio

from .._unset import TaskId
from ..errors import TaskAlreadySettled
from .model import Stopped, TaskRecord
from .store import log_failure

if TYPE_CHECKING:
    from .registry import TaskRegistry

__all__ = ["Lifetimes", "is_over"]

logger = logging.getLogger("mcp_tasks.tasks")

_COMMIT_SECONDS = 5.0  # how long ending tasks may hold up a cancellation
_DUE_AT_ONCE = 100
_RETRY_SECONDS = 1.0


def is_over(record: TaskRecord, now: float) -> bool:
    """Whether a task's lifetime is over, though it may not have been removed yet."""
    return record.expires_at is not None and record.expires_at <= now


class Lifetimes:
    """Looks after the lifetimes of one registry's tasks."""

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        self.next_end = math.inf
        """No lifetime ends before this."""
        self._timers: set[trio.CancelScope] = set()

    async def keep(self) -> None:
        """End lifetimes when they are over; runs until it is cancelled. Several may run at once."""
        while True:
            try:
                await self.expire()
                await self.look_ahead()
            except Exception as failure:
                log_failure(failure, "lifetimes cannot be looked after; trying again in a moment")
                await trio.sleep(_RETRY_SECONDS)
                continue
            end = self.next_end
            deadline = math.inf if end == math.inf else self._registry.clock.deadline(end)
            if self._registry.clock.now() < end:
                # What is left may be too little to be added to trio's time, and nobody may be busy with waiting.
                deadline = max(deadline, math.nextafter(trio.current_time(), math.inf))
            with trio.CancelScope(deadline=deadline) as timer:
                self._timers.add(timer)
                try:
                    await trio.sleep_forever()
                finally:
                    self._timers.discard(timer)

    async def look_ahead(self) -> None:
        """Find out when the next lifetime ends."""
        self.next_end = math.inf  # what is created while the store is being asked lowers it
        end = await self._registry.store.next_due()
        if end is not None:
            self.next_end = min(self.next_end, end)

    def begins(self, record: TaskRecord) -> None:
        """See to it that this lifetime is ended when it is over."""
        end = record.expires_at
        if end is not None and end < self.next_end:
            self.next_end = end
            for timer in self._timers:
                timer.deadline = self._registry.clock.deadline(end)

    async def now(self) -> float:
        """The time, with lifetimes ended that are over.

        Whoever only looks is not to suffer from what cannot be removed now; it counts as gone all the same.
        """
        try:
            return await self.expire()
        except Exception as failure:
            log_failure(failure, "lifetimes cannot be ended now")
            return self._registry.clock.now()

    async def expire(self) -> float:
        """End the lifetimes that are over; returns the time."""
        now = self._registry.clock.now()
        if now < self.next_end:
            return now
        while ids := await self._registry.store.due(now, _DUE_AT_ONCE):
            if not await self.end(ids, "The task's lifetime is over"):
                break
        await self.look_ahead()
        return now

    async def end(self, ids: Collection[TaskId], reason: str) -> bool:
        """Stop and remove tasks; whether that was done in time. Raises whatever the store raises."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _COMMIT_SECONDS) as trying:
            for id in ids:
                live = self._registry.lives.get(id)
                if live is not None:
                    live.expired = True
                    try:
                        await self._registry.settle(live, Stopped(reason))
                    except TaskAlreadySettled:
                        pass
                    finally:
                        live.changed()
                        live.cancel()
            await self._registry.store.remove(*ids)
        if trying.cancelled_caught:
            logger.warning("%d tasks could not be removed in time: %s", len(ids), reason)
            return False
        for id in ids:
            logger.info("task %s removed: %s", id, reason)
        return True
