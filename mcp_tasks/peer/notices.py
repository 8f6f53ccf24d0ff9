"""Notifications on their way to the user's handlers: one after the other, in the order in which they were sent."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from ..dialects.base import Told
from ._wait import Bell

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Notices"]

logger = logging.getLogger("mcp_tasks.peer")


class Notices:
    """The notifications of one connection that wait for their handlers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._handlers = connection.peer.table.notifications
        self._waiting: deque[Told] = deque()
        self._more = Bell()

    def put(self, notice: Told) -> None:
        """Have a notification handled, if anybody wants it; with too many waiting the oldest is dropped."""
        if notice.method not in self._handlers:
            return
        if len(self._waiting) >= self._connection.limits.notices:
            dropped = self._waiting.popleft()
            logger.warning("%r: its handlers are too slow: dropped a %s", self._connection, dropped.method)
        self._waiting.append(notice)
        self._more.ring()

    async def run(self) -> None:
        """Call the handlers; runs until it is cancelled. What they raise is logged."""
        while True:
            await self._more.wait()
            while self._waiting:
                notice = self._waiting.popleft()
                handler = self._handlers.get(notice.method)
                if handler is None:
                    continue
                try:
                    await handler(self._connection, notice.params)
                except Exception:
                    logger.exception("%r: the handler of %s failed", self._connection, notice.method)
