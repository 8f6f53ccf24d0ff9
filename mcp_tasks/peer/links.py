"""Where the requestor of a task can be reached now.

A task outlives the connection that made it, if its requestor can come back: whichever connection of the same principal
last asked for the task's result is where its questions go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import ConnectionClosed

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Link"]


class Link:
    """The way from one task to its requestor."""

    __slots__ = ("_attached", "_connection")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._attached: trio.lowlevel.ParkingLot | None = None

    @property
    def connection(self) -> Connection:
        """The latest connection. Raises `ConnectionClosed` if it has ended."""
        if self._away():
            raise ConnectionClosed("the requestor is not connected")
        return self._connection

    @property
    def latest(self) -> Connection:
        """The latest connection, ended or not."""
        return self._connection

    def _away(self) -> bool:
        return self._connection.closed or self._connection.half_closed

    def attach(self, connection: Connection) -> None:
        """Go by this connection from now on."""
        self._connection = connection
        if self._attached is not None:
            self._attached.unpark_all()

    async def wait(self) -> Connection:
        """The connection, as soon as there is one that is open."""
        while self._away():
            if self._attached is None:
                self._attached = trio.lowlevel.ParkingLot()
            await self._attached.park()
        return self._connection
