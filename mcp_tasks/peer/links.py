"""Where the requestor of a task can be reached now.

A task outlives the connection that made it, if its requestor can come back: whichever connection of the same principal
last asked for the task's result is where its questions go, and on that connection they go along with that request,
which over HTTP has a stream of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define

from .._unset import RequestId
from ..errors import ConnectionClosed

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Link"]


@define(eq=False)
class _Asking:
    """A question on its way: by which request of theirs, and how to call it back."""

    connection: Connection
    related_to: RequestId | None
    scope: trio.CancelScope

    def lost(self) -> bool:
        """Whether it went where nobody reads any more."""
        if self.related_to is None:
            return False
        return self.connection.closed or not self.connection.transport.reaches(self.related_to)


class Link:
    """The way from one task to its requestor."""

    __slots__ = ("_asking", "_attached", "_connection", "_routes")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._attached: trio.lowlevel.ParkingLot | None = None
        self._routes: list[RequestId] = []
        self._asking: list[_Asking] = []

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

    @property
    def related_to(self) -> RequestId | None:
        """The request of theirs that waits for the task's result on the latest connection, if one does."""
        return self._routes[-1] if self._routes else None

    def _away(self) -> bool:
        return self._connection.closed or self._connection.half_closed

    def attach(self, connection: Connection, id: RequestId) -> None:
        """Go by this connection, and by this request for the result, from now on.

        A question that went where nobody can read it any more is asked again here.
        """
        moved = connection is not self._connection
        if moved:
            self._connection = connection
            self._routes.clear()
        self._routes.append(id)
        if self._attached is not None:
            self._attached.unpark_all()
        for asking in self._asking:
            if moved or asking.lost():
                asking.scope.cancel()

    def detach(self, connection: Connection, id: RequestId) -> None:
        """That request for the result is over."""
        if connection is self._connection and id in self._routes:
            self._routes.remove(id)

    async def wait(self) -> Connection:
        """The connection, as soon as there is one that is open."""
        while self._away():
            if self._attached is None:
                self._attached = trio.lowlevel.ParkingLot()
            await self._attached.park()
        return self._connection

    @contextmanager
    def asking(self) -> Iterator[None]:
        """A block that asks by `connection` and `related_to`; it is left early if the question has to go elsewhere."""
        with trio.CancelScope() as scope:
            asking = _Asking(self._connection, self.related_to, scope)
            self._asking.append(asking)
            try:
                yield
            finally:
                self._asking.remove(asking)
