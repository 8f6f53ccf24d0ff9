"""A thread that does what many trio tasks ask of it, all that waits in one batch.

A disk commits many changes in the time of one. Whoever asks while a batch is being done waits for the next, which takes
all that has come by then; so a lone caller pays for one commit, and many share theirs. Where a batch costs much however
little is in it, the first to come waits for those who are about to: they were all woken by the batch before.

An errand that was begun is not cancelled, one that was not is dropped: which of the two it is, is settled by who takes
its only ticket.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import trio

from ..errors import StoreFailed

__all__ = ["Batches", "Errand"]

logger = logging.getLogger("mcp_tasks.tasks")

T = TypeVar("T")


class Errand(Generic[T]):
    """Something to be done by the thread, for one trio task that waits."""

    __slots__ = ("_ticket", "failure", "result", "task", "token", "what")

    def __init__(self, what: object) -> None:
        self.what: Any = what
        self.result: T
        self.failure: Exception | None = None
        self.task = trio.lowlevel.current_task()
        self.token = trio.lowlevel.current_trio_token()
        self._ticket = [True]

    def take(self) -> bool:
        """Whether it is the caller who has it now: the first one, in whichever thread."""
        try:
            return self._ticket.pop()
        except IndexError:
            return False

    def abort(self, _: object) -> trio.lowlevel.Abort:
        """Its task is being cancelled."""
        return trio.lowlevel.Abort.SUCCEEDED if self.take() else trio.lowlevel.Abort.FAILED


class Batches:
    """The thread. `run` does a batch, and leaves a result or a failure with each errand; it raises nothing.

    If it `gathers`, it begins a turn of the scheduler after the first errand has come.
    """

    def __init__(self, run: Callable[[Sequence[Errand[Any]]], None], name: str, *, gathers: bool = False) -> None:
        self._run = run
        self._gathers = gathers
        self._gathered: list[Errand[Any]] = []
        self._queue: SimpleQueue[Sequence[Errand[Any]] | None] = SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def do(self, what: object) -> Any:
        """Have something done, and return or raise what came of it.

        Cancelled before it was begun, it is never done; once begun, it is waited for, and what came of it is returned.
        Raises RuntimeError once closed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        errand: Errand[Any] = Errand(what)
        with self._lock:
            if self._closed:
                raise RuntimeError("the store is closed")
            if not self._gathers:
                self._queue.put((errand,))
            else:
                if not self._gathered or self._gathered[-1].token is not errand.token:
                    errand.token.run_sync_soon(self._send)
                self._gathered.append(errand)
        await trio.lowlevel.wait_task_rescheduled(errand.abort)
        if errand.failure is not None:
            raise errand.failure
        return errand.result

    def _send(self) -> None:
        with self._lock:
            if self._gathered:
                self._queue.put(self._gathered)
                self._gathered = []

    def close(self) -> None:
        """Do what was asked before, and end. Blocks until then."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(self._gathered)  # in whichever thread we are, nothing comes after this
                self._gathered = []
                self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        going_on = True
        while going_on:
            came = [self._queue.get()]
            try:
                while True:
                    came.append(self._queue.get_nowait())
            except Empty:
                pass
            going_on = None not in came
            batch = [errand for some in came if some is not None for errand in some if errand.take()]
            if batch:
                try:
                    self._run(batch)
                except BaseException as error:  # nobody may wait for ever
                    logger.exception("a batch has failed")
                    for errand in batch:
                        errand.failure = StoreFailed()
                        errand.failure.__cause__ = error
                _deliver(batch)


def _deliver(batch: Sequence[Errand[Any]]) -> None:
    # Usually they are all of one trio run.
    for token in {id(errand.token): errand.token for errand in batch}.values():
        theirs = [errand for errand in batch if errand.token is token]
        try:
            token.run_sync_soon(_wake, theirs)
        except trio.RunFinishedError:
            logger.debug("%d errands of a run that is over", len(theirs))


def _wake(errands: Sequence[Errand[Any]]) -> None:
    for errand in errands:
        trio.lowlevel.reschedule(errand.task)
