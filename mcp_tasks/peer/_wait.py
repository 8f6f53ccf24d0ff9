"""Small waits that trio leaves to its users: a bell, a nursery for servants, and progress for a caller.

Nothing here knows of the protocol.
"""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import trio
from attrs import frozen

from .._shape import Shape

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Bell", "OnProgress", "Progress", "ProgressInbox", "SharedBell", "gather", "servants"]


class Bell:
    """One task waits for it, anybody rings it. Rings that nobody waits for count as one.

    Half the cost of a `trio.Event`, which cannot be used twice; there is a bell in every call.
    """

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Wake the waiting task, or the next one to wait."""
        if self._task is None:
            self._rung = True
        else:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> None:
        """Wait for a ring. A checkpoint; cancelled, it has heard none."""
        if self._rung:
            self._rung = False
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class SharedBell(Bell):
    """A bell that several tasks may wait for at once. A ring wakes those that do; who comes later looks for itself."""

    __slots__ = ("_lot",)

    def __init__(self) -> None:
        super().__init__()
        self._lot = trio.lowlevel.ParkingLot()

    def ring(self) -> None:
        if self._lot:
            self._lot.unpark_all()
        else:
            self._rung = True

    async def wait(self) -> None:
        if self._rung:
            self._rung = False
            await trio.lowlevel.checkpoint()
        else:
            await self._lot.park()


@asynccontextmanager
async def servants() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks serve the block and end with it.

    An exception of the block leaves as it is: a plain nursery would wrap it into a group. An exception of a servant
    cancels the block and leaves unwrapped too if it is the only one.
    """
    raised: BaseException | None = None
    ended: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                if not _failures(error):
                    raise  # a cancellation, and the nursery can tell whose
                raised = error
            nursery.cancel_scope.cancel()
    except BaseException as error:
        ended = error
    # Raised out here, so that the exception gets no context it did not have.
    if raised is not None:
        raise raised
    if ended is not None:
        failures = _failures(ended)
        raise failures[0] if len(failures) == 1 else ended


K = TypeVar("K")
V = TypeVar("V")


async def gather(jobs: Mapping[K, Callable[[], Awaitable[V]]]) -> dict[K, V]:
    """Do several things side by side; what they return, by key. The first failure is raised as it is, and ends all."""
    if len(jobs) == 1:
        ((key, job),) = jobs.items()
        return {key: await job()}
    done: dict[K, V] = {}
    failures: list[Exception] = []

    async def do(key: K, job: Callable[[], Awaitable[V]]) -> None:
        try:
            done[key] = await job()
        except Exception as failure:
            failures.append(failure)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for key, job in jobs.items():
            nursery.start_soon(do, key, job)
    if failures:
        raise failures[0]
    return {key: done[key] for key in jobs}


def _failures(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [failure for inner in error.exceptions for failure in _failures(inner)]
    return [] if isinstance(error, trio.Cancelled) else [error]


@frozen(eq=False, repr=False)
class Progress(Shape):
    """How far a request has come. `progress` grows; `total` and `message` are None where nothing was said."""

    progress: float
    total: float | None = None
    message: str | None = None


OnProgress: TypeAlias = Callable[[Progress], Awaitable[None] | None]
"""Called, and awaited if there is something to await, in the task of whoever waits for the result."""


class ProgressInbox:
    """Progress reports on their way to the one who waits, in order, and not more than `limit` of them."""

    __slots__ = ("_call", "_items")

    def __init__(self, call: OnProgress, limit: int) -> None:
        self._call = call
        self._items: deque[Progress] = deque(maxlen=limit)

    def put(self, item: Progress) -> None:
        """Keep a report; the oldest goes if there are too many."""
        self._items.append(item)

    async def deliver(self) -> None:
        """Hand over what has come. What the callback raises is raised here."""
        while self._items:
            waiting = self._call(self._items.popleft())
            if inspect.isawaitable(waiting):
                await waiting
