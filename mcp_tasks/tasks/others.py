"""Other processes that share the store: hearing of what they do, and waiting for what they have in hand.

News only say which task has changed; what it has changed to is read. Whoever waits counts the news before it reads, so
that none is lost in between. A task whose work is here and that another process has begun again is theirs from then on.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import trio

from .._unset import Principal, TaskId
from ..errors import TaskExpired, TaskNotFound
from .live import Elsewhere
from .model import TaskRecord

if TYPE_CHECKING:
    from .registry import TaskRegistry

__all__ = ["Others"]

logger = logging.getLogger("mcp_tasks.tasks")

_RETRY_SECONDS = 1.0
_AFTER_SECONDS = 0.01  # the end of a lifetime, so that it is over by any reckoning


class Others:
    """What one registry knows of the others."""

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        self._elsewhere: dict[TaskId, Elsewhere] = {}
        self.told: dict[TaskId, int] = {}
        """Of what is watched here, the version that observers have been told of."""

    async def settled(self, id: TaskId, principal: Principal) -> TaskRecord:
        """Wait until a task is over whose work is in another process. Raises `TaskNotFound`, `TaskExpired`."""
        there = self._elsewhere.setdefault(id, Elsewhere())
        there.users += 1
        first = True
        try:
            while True:
                seen = there.changes
                record = await self._registry.get(id, principal) if first else await self._still(id, principal)
                first = False
                if record.settled:
                    return record
                end = record.expires_at
                with trio.move_on_at(math.inf if end is None else self._registry.clock.deadline(end) + _AFTER_SECONDS):
                    await there.change(seen)
        finally:
            there.users -= 1
            if not there.users:
                del self._elsewhere[id]

    async def _still(self, id: TaskId, principal: Principal) -> TaskRecord:
        try:
            return await self._registry.get(id, principal)
        except TaskNotFound:
            raise TaskExpired(id) from None

    async def follow(self) -> None:
        """Take in what other processes do to tasks that somebody here waits for; runs until it is cancelled."""
        due: dict[TaskId, None] = {}
        bell = trio.Event()

        def changed(id: TaskId | None) -> None:
            nonlocal bell
            for there in self._elsewhere.values() if id is None else (self._elsewhere.get(id),):
                if there is not None:
                    there.changed()
            for one in {*self._registry.lives, *self._registry.watched} if id is None else (id,):
                if one in self._registry.lives or one in self._registry.watched:
                    due[one] = None
                    bell.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._registry.store.follow, changed)
            while True:
                await bell.wait()
                bell = trio.Event()
                while due:
                    id = next(iter(due))
                    del due[id]
                    try:
                        await self._look_again(id)
                    except Exception:
                        logger.exception("task %s cannot be looked at; trying again in a moment", id)
                        due[id] = None
                        await trio.sleep(_RETRY_SECONDS)

    async def _look_again(self, id: TaskId) -> None:
        record = await self._registry.store.get(id)
        live = self._registry.lives.get(id)
        if live is None:
            if record is not None and record.version > self.told.get(id, -1):
                self._registry.tell(record)
        elif record is None:
            live.expired = True
            self._registry.drop(live)
            live.changed()
            live.cancel()
        elif record.runs != live.record.runs:
            self._registry.lose(live)
        elif record.version > live.record.version:
            live.record = record
            if record.settled:
                self._registry.drop(live)
                live.cancel()
            live.changed()
            self._registry.tell(record, live.on_change)
