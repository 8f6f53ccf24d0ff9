"""Where the requestor of a task can be reached now.

A task outlives the connection that made it, if its requestor can come back: whichever connection of the same principal
last asked for the task's result is where its questions go, and on that connection they go along with that request,
which over HTTP has a stream of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define

from .._unset import RequestId
from ..errors import ConnectionClosed

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Link", "look_again"]


@define(eq=False)
class _Asking:
    """A question on its way: as which request of ours, and how to call it back."""

    connection: Connection
    scope: trio.CancelScope
    id: RequestId | None = None

    def minted(self, id: RequestId) -> None:
        """It goes out as this request."""
        self.id = id

    def lost(self) -> bool:
        """Whether it went where nobody reads any more."""
        return self.connection.closed or (self.id is not None and not self.connection.transport.reaches(self.id))


class Link:
    """The way from one task to its requestor.

    `connection` is the one that made it, or None for a task whose requestor has to come back first. `reachable` is
    false where the requestor cannot be sent requests, and comes to look for questions instead.
    """

    __slots__ = ("_asking", "_attached", "_connection", "_reachable", "_routes", "progress")

    def __init__(self, connection: Connection | None, *, reachable: bool = True) -> None:
        self._connection = connection
        self._reachable = reachable
        self._attached: trio.lowlevel.ParkingLot | None = None
        self._routes: list[tuple[Connection, RequestId]] = []  # who waits for the result, the latest last
        self._asking: list[_Asking] = []
        self.progress = -math.inf
        """How far its work has come, as its requestor was told."""

    @property
    def connection(self) -> Connection:
        """The latest connection. Raises `ConnectionClosed` if it has ended."""
        connection = self._open()
        if connection is None:
            raise ConnectionClosed("the requestor is not connected")
        return connection

    @property
    def latest(self) -> Connection | None:
        """The latest connection, ended or not."""
        return self._connection

    @property
    def related_to(self) -> RequestId | None:
        """The request of theirs that waits for the task's result on the latest connection, if one does."""
        return next((id for connection, id in reversed(self._routes) if connection is self._connection), None)

    def _open(self) -> Connection | None:
        connection = self._connection
        away = not self._reachable or connection is None or connection.closed or connection.half_closed
        return None if away else connection

    def attach(self, connection: Connection, id: RequestId) -> None:
        """Go by this connection, and by this request for the result, from now on.

        A question that went where nobody can read it any more is asked again here.
        """
        self._routes.append((connection, id))
        self._reachable = True
        self._go_by(connection)

    def detach(self, connection: Connection, id: RequestId) -> None:
        """That request for the result is over; another one that still waits is gone by then."""
        self._routes.remove((connection, id))
        if self._routes and not any(other is self._connection for other, _ in self._routes):
            self._go_by(self._routes[-1][0])
        elif self._connection is not None:
            self._go_by(self._connection)

    def further(self, progress: float | None) -> bool:
        """Whether that is to be told: progress has to grow, whichever process says it (C25-160)."""
        if progress is not None:
            if progress <= self.progress:
                return False
            self.progress = progress
        return True

    @property
    def used(self) -> bool:
        """Whether anybody waits for the result."""
        return bool(self._routes)

    def look_again(self, connection: Connection) -> None:
        """Something of that connection broke: ask again what went there, if somebody waits for the result."""
        if connection is self._connection and self.related_to is not None:
            self._go_by(connection)

    def _go_by(self, connection: Connection) -> None:
        self._connection = connection
        if self._attached is not None:
            self._attached.unpark_all()
        for asking in self._asking:
            if asking.connection is not connection or asking.lost():
                asking.scope.cancel()

    async def wait(self) -> Connection:
        """The connection, as soon as there is one that is open."""
        while (connection := self._open()) is None:
            await self.moved()
        return connection

    async def moved(self) -> None:
        """Wait until it goes by another connection, or by the same anew."""
        if self._attached is None:
            self._attached = trio.lowlevel.ParkingLot()
        await self._attached.park()

    @contextmanager
    def asking(self) -> Iterator[Callable[[RequestId], None]]:
        """A block that asks by `connection` and `related_to`; it is left early if the question has to go elsewhere.

        What it gives is to be called with the id that the question goes out under.
        """
        with trio.CancelScope() as scope:
            asking = _Asking(self.connection, scope)
            self._asking.append(asking)
            try:
                yield asking.minted
            finally:
                self._asking.remove(asking)


def look_again(connection: Connection) -> None:
    """Have each task whose requestor is there look whether its questions still reach them."""
    for link in list(connection.peer.links.values()):
        link.look_again(connection)
