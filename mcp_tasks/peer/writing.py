"""The writing half of a connection: queueing, flushing, and making senders wait.

Back-pressure: whoever sends waits while the other side leaves more than `backlog_bytes` unread. Requests, which cost
answers, are then read slowly too, so that a peer that asks and never reads costs little; but not while we wait for
answers ourselves, since they lie behind requests. Two peers that both send much thus cannot block each other.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

import trio

from .._unset import RequestId
from ..abc import Transport
from ..errors import ConnectionClosed
from ..limits import Limits
from ..wire.jsonrpc import Message
from ._wait import Bell

__all__ = ["Writing"]

logger = logging.getLogger("mcp_tasks.peer")

_PAUSE_SECONDS = 1.0  # how long reading may pause before it looks again


class Writing(ABC):
    """What a connection does to be read."""

    def __init__(self, transport: Transport, *, limits: Limits, nursery: trio.Nursery) -> None:
        self.transport = transport
        """What carries the messages; ours, and closed with the connection."""
        self.limits = limits
        self.nursery = nursery
        self._why = "the connection is closed"
        self._dirty = Bell()
        self._drained = trio.lowlevel.ParkingLot()

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the connection has ended."""

    @abstractmethod
    def end(self, why: str) -> None:
        """Fail every call, and stop every handler; closing follows."""

    @abstractmethod
    async def aclose(self, why: str = "the connection was closed") -> None:
        """End the connection."""

    def crowded(self, related_to: RequestId | None = None) -> bool:
        """Whether the other side has left so much unread that senders wait; on one stream, where there are several."""
        return self.transport.backlog_of(related_to) > self.limits.backlog_bytes

    def post(self, message: Message, related_to: RequestId | None = None, *, written: bool = True) -> None:
        """Queue a message. Raises `ConnectionClosed`, and TypeError or ValueError for what is no JSON.

        It is written soon, unless `written` is false: then whoever posts calls `write_now` or `write_soon`.
        """
        if self.closed:
            raise ConnectionClosed(self._why)
        self.transport.send(message, related_to=related_to)
        if written:
            self._dirty.ring()
        if self.transport.overflows(self.limits.max_backlog_bytes):
            logger.warning("%r: the other side does not read: %d bytes wait", self, self.transport.backlog)
            self.end("the other side does not read")
            self.nursery.start_soon(self.aclose)

    def write_now(self) -> None:
        """Write what is queued as far as that goes without waiting, and the rest soon."""
        if self.transport.backlog and not self.transport.try_flush():
            self._dirty.ring()

    def write_soon(self) -> None:
        """Have the writer write what is queued, once it runs."""
        if self.transport.backlog:
            self._dirty.ring()

    async def drained(self, related_to: RequestId | None = None) -> None:
        """Wait until the other side has read enough, or the connection has ended."""
        if self.crowded(related_to):
            self.write_soon()
            while self.crowded(related_to) and not self.closed:
                await self._drained.park()

    async def write(self) -> None:
        """Write what is queued, until the connection ends."""
        try:
            while not self.closed:
                await self._dirty.wait()
                while self.transport.backlog:
                    try:
                        await self.transport.flush()
                    finally:
                        self._drained.unpark_all()
        except ConnectionClosed as closed:
            await self.aclose(str(closed))
        except trio.BusyResourceError:
            pass  # whoever closes the connection is writing the rest

    async def flush_rest(self) -> None:
        """Write all that is still queued, if there is anybody to read it."""
        while self.transport.backlog:
            try:
                await self.transport.flush()
            except trio.BusyResourceError:
                await self._drained.park()  # the writer is at it
            except ConnectionClosed:
                return

    async def pause(self) -> None:
        """Wait a moment for the other side to read something."""
        with trio.move_on_after(_PAUSE_SECONDS):
            await self._drained.park()

    def stop_writing(self) -> None:
        """The connection has ended: nobody waits any more."""
        self._drained.unpark_all()
        self._dirty.ring()
