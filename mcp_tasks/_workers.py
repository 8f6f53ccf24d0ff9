"""Trio tasks that do one job after the other.

Starting a task and a cancel scope for each request costs more than serving a quick one. So a task that has done a job
takes the next; only a job that has to wait keeps its task, and the rest go on in another. The rule that makes it work:
whoever begins a job while more are queued first sees to it that a second worker is about to run. If the first never
waits, it has done them all by then; if it does, the second carries on.

To a handler this looks like a task of its own. A worker ends instead of going on when its cancel scope was used, or
when a handler has left a context variable changed behind.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Job", "Workers"]

logger = logging.getLogger("mcp_tasks.peer")

_MOST_IDLE = 64  # more than this would only hold memory after a burst
_WRITTEN_TOGETHER = 16  # jobs; with more, the other side would wait for answers that are ready
_AT_A_STRETCH = 64  # jobs that one worker does before it lets others run


class Job(ABC):
    """Something to be done once, and until then something to be cancelled."""

    __slots__ = ("cancelled", "scope")

    def __init__(self) -> None:
        self.cancelled = False
        self.scope: trio.CancelScope | None = None

    @abstractmethod
    async def do(self) -> None:
        """Do it. Raises nothing but cancellation. Not called if it was cancelled before."""

    def cancel(self) -> None:
        """Stop it: at its next checkpoint, or before it begins."""
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel()


def _nothing() -> None:
    pass


async def _do(job: Job) -> None:
    # The last wall: one job that fails must not end the tasks of others. Cancellation passes, and what is no Exception.
    try:
        await job.do()
    except BaseExceptionGroup as group:
        # A handler whose cleanup failed while it was cancelled.
        cancelled, failures = group.split(trio.Cancelled)
        if failures is not None and not isinstance(failures, Exception):
            raise
        if failures is not None:
            logger.error("a job failed while it was cancelled", exc_info=failures)
        if cancelled is not None:
            raise cancelled from None
    except Exception:
        logger.exception("a job failed")


def _differs(context: Context) -> bool:
    try:
        return copy_context() != context
    except Exception:  # from comparing what users keep in their variables
        return True


class Workers:
    """Does jobs in `nursery`, in the order in which they come as long as none of them waits.

    What a job sends need not be written at once: `write_now` is called when there is nothing more to do, and before a
    last job begins, since that may have to wait. Jobs that come from several parties are not `shared`: each then has a
    task to itself, in the context of whoever put it.
    """

    def __init__(self, nursery: trio.Nursery, *, write_now: Callable[[], None] = _nothing, shared: bool = True) -> None:
        self._nursery = nursery
        self._write_now = write_now
        self._shared = shared
        self._queue: deque[Job] = deque()
        self._idle: list[trio.lowlevel.Task] = []
        self._coming = False  # whether a worker has been woken or started, and has not yet looked at the queue

    def put(self, job: Job) -> None:
        """Have a job done soon. Not a checkpoint."""
        if self._shared:
            self._queue.append(job)
            self._call_one()
        else:
            self._nursery.start_soon(self._alone, job)

    def _call_one(self) -> None:
        if not self._coming:
            self._coming = True
            if self._idle:
                trio.lowlevel.reschedule(self._idle.pop())
            else:
                self._nursery.start_soon(self._run)

    async def _alone(self, job: Job) -> None:
        if not job.cancelled:
            with trio.CancelScope() as job.scope:
                await _do(job)
        self._write_now()

    async def _run(self) -> None:
        context = copy_context()
        try:
            with trio.CancelScope() as scope:
                while True:
                    self._coming = False
                    if not await self._serve(scope, context):
                        return
                    self._write_now()
                    if len(self._idle) >= _MOST_IDLE:
                        return
                    await self._rest()
        finally:
            # Also when the nursery is being cancelled: each job that waits is begun, and ends at its first checkpoint.
            if self._queue:
                self._call_one()
            self._write_now()

    async def _serve(self, scope: trio.CancelScope, context: Context) -> bool:
        # Whether this worker can go on: not once its scope was used, or its context is no longer as it was.
        queue, count = self._queue, 0
        while queue:
            job = queue.popleft()
            if job.cancelled:
                continue
            if queue:
                self._call_one()
            else:
                self._write_now()
            job.scope = scope
            try:
                await _do(job)
            finally:
                job.scope = None
            if job.cancelled or _differs(context):
                return False
            count += 1
            if count % _WRITTEN_TOGETHER == 0:
                self._write_now()
            if count % _AT_A_STRETCH == 0:
                await trio.lowlevel.checkpoint()
        return True

    async def _rest(self) -> None:
        task = trio.lowlevel.current_task()
        self._idle.append(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._idle.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
