"""The requestor's view of a task: status, updates, result, cancel, detach, save.

A `TaskHandle` follows one task of the other side. It polls at the pace the receiver asks for and takes pushed statuses
as they come, never relying on them. In a session, when the task needs input, it asks for the result at once, since that
is the channel questions come by; without one, see `following`. Leaving its block early cancels the task there, unless
it was detached.

Spec: 2025-11-25 basic/utilities/tasks (T25-040 to T25-052, T25-075, T25-157); SEP-2663.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import trio
from attrs import field, fields, frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject, ProgressToken, RequestId, TaskId
from ..dialects.base import Report
from ..errors import (
    ConnectionClosed,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    TaskCancelled,
)
from ..wire.tasks import Task, TaskStatus
from ._wait import OnProgress, ProgressInbox, SharedBell
from .conversation import ask
from .following import TERMINAL, follow

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["SavedTask", "TaskHandle"]

logger = logging.getLogger("mcp_tasks.peer")

CANCEL_SECONDS = 5.0
"""How long leaving a block may take to cancel the task on the other side."""

_DEFAULT_POLL_SECONDS = 1.0
_ASKED_AGAIN = 3  # times, for a result whose request was lost on the way
_SLOW_SECONDS = 15.0  # for the result of what is over; twice as long each time it is asked for again
_MIN_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 60.0


def _keys(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(keys)


@frozen(eq=False, repr=False)
class SavedTask(Shape):
    """What another process needs to take a task up again: all of it is JSON.

    `peer` names the other side, so that an id is not taken to somebody else; `token` is what its progress comes under.
    """

    peer: str
    revision: str
    id: str
    method: str
    token: ProgressToken | None = None
    answered: tuple[str, ...] = field(default=(), converter=_keys)
    """The keys of its questions that have been answered."""


class TaskHandle:
    """One task of the other side; from `Connection.start` or `Connection.resume`.

    Made by ``async with``. Where the receiver answered at once instead of making a task, it is settled already and
    `task` is None.
    """

    def __init__(
        self,
        connection: Connection,
        method: str,
        params: Any,
        *,
        ttl_ms: int | None,
        on_progress: OnProgress | None,
        resume: SavedTask | None = None,
        task: Task | None = None,
    ) -> None:
        self.method = method
        """The method of the request."""
        self.immediate: str | None = None
        """A provisional result for the model, if the receiver sent one."""
        self._connection = connection
        self._params = params
        self._ttl_ms = ttl_ms
        self._resume = resume
        self._bell = SharedBell()
        limit = connection.limits.progress_backlog
        self._inbox = None if on_progress is None else ProgressInbox(on_progress, limit)
        self._on_progress = on_progress
        self._token: ProgressToken | None = None
        self._task = task
        self._seen = 0  # counts the changes of `_task`
        self._outcome: JSONObject | Exception | None = None
        self.report: Report | None = None
        """All that was last said of the task."""
        self.answered: set[str] = set()
        """The keys of its questions that we have answered."""
        self.on_report: Callable[[], None] = lambda: None
        """Called when there is a new report."""
        self._fetching: trio.CancelScope | None = None
        self._patience = trio.CancelScope()
        self._slow_seconds = _SLOW_SECONDS
        self._detached = False
        self._entered = False

    def __repr__(self) -> str:
        status = "unsent" if self._task is None else self._task.status.value
        return f"<TaskHandle {self.method} {'' if self._task is None else self._task.task_id} {status}>"

    # --- the block ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> TaskHandle:
        """Send the request and wait for the task.

        Raises as `Connection.call` does, and `CapabilityMissing` where the other side has not announced tasks for
        the method. Cancelled before the answer came, it takes the request back; should a task come of it all the
        same, it is cancelled.
        """
        if self._entered:
            raise LocalProtocolError("a task handle is entered once")
        self._entered = True
        connection = self._connection
        if self._resume is not None:
            await self._take_up(self._resume)
            return self
        if self._task is not None:
            connection.handles[self._task.task_id] = self
            return self
        if connection.dialect.stateless:
            await self._call()
            return self
        token: RequestId | None = None
        if self._inbox is not None:
            # A token of its own, which stays reserved until the task is over (T25-162).
            self._token = token = connection.mint_token()
            connection.caller.follow(token, self._inbox, self._bell)
        try:
            result = await connection.request_task(
                self.method, self._params, ttl_ms=self._ttl_ms, token=token, orphaned=self._orphaned
            )
            self._task = connection.lift_created(self.method, result)
        except BaseException:
            self._release()
            raise
        if self._task is None:
            self._outcome = result
            self._release()
        else:
            self.immediate = connection.dialect.lift_immediate(result)
            connection.handles[self._task.task_id] = self
        return self

    async def _call(self) -> None:
        # Where the server decides whether it is a task.
        connection = self._connection
        await connection.may_ask()
        connection.dialect.require(self.method, self._params, connection.their_capabilities, connection.side)
        wired = connection.dialect.lower_call(self._params)
        result = await ask(connection, self.method, wired, on_progress=self._on_progress, orphaned=self._orphaned)
        self._task = connection.lift_created(self.method, result)
        if self._task is None:
            self._outcome = result
        else:
            connection.handles[self._task.task_id] = self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = self._task
        try:
            # An error is no proof that the task is over: asking for its result may itself have been refused.
            over = self.settled and not (isinstance(self._outcome, Exception) and task and task.status not in TERMINAL)
            if task is not None and not self._detached and not over and not self._connection.closed:
                with trio.move_on_after(CANCEL_SECONDS, shield=True):
                    try:
                        await self._connection.ask_to_cancel(task.task_id)
                    except MCPError as failure:
                        logger.debug("task %s was not cancelled: %s", task.task_id, failure)
        finally:
            self._release()
            if self._fetching is not None:
                self._fetching.cancel()

    def _release(self) -> None:
        if self._token is not None:
            self._connection.caller.unfollow(self._token)
        if self._task is not None:
            self._connection.handles.pop(self._task.task_id, None)

    async def _take_up(self, saved: SavedTask) -> None:
        connection = self._connection
        if connection.peer_name != saved.peer:
            raise LocalProtocolError(f"the task is one of {saved.peer!r}, this is {connection.peer_name!r}")
        self.answered.update(saved.answered)
        self.take(await connection.look_at(saved.id))
        connection.handles[saved.id] = self
        if self._inbox is not None and saved.token is not None:
            self._token = saved.token
            connection.caller.follow(saved.token, self._inbox, self._bell)

    def _orphaned(self, result: JSONObject) -> None:
        connection = self._connection
        try:
            task = connection.lift_created(self.method, result)
        except MCPError:
            return
        if task is not None:
            connection.cancel_quietly(task.task_id)

    # --- looking --------------------------------------------------------------------------------------------------

    @property
    def task(self) -> Task | None:
        """What is known of the task now; None if the receiver made none."""
        return self._task

    @property
    def id(self) -> TaskId:
        """The task's id. Raises `LocalProtocolError` if there is none."""
        if self._task is None:
            raise LocalProtocolError("the receiver has made no task of this request")
        return TaskId(self._task.task_id)

    @property
    def settled(self) -> bool:
        """Whether it is over, as far as is known here."""
        return self._outcome is not None or (self._task is not None and self._task.status in TERMINAL)

    async def status(self) -> Task:
        """Ask how the task is. Raises as `Connection.call` does."""
        seen = self._seen
        report = await self._connection.look_at(self.id)
        assert self._task is not None
        # What was pushed meanwhile is here already, though it may have been sent after the answer.
        if seen == self._seen or not self._is_newer(report.task):
            self.take(report)
        return self._task

    async def updates(self) -> AsyncGenerator[Task, None]:
        """The task as it is now, then each change that is seen, the terminal one last.

        Polls at the receiver's interval, between 10 ms and 60 s, and takes pushed statuses when they come. What
        `status` raises is raised here. Progress is delivered meanwhile.
        """
        if self._task is None:
            return
        yield self._task
        seen = self._seen
        if not self._connection.dialect.awaits:
            while True:
                if seen != self._seen:
                    seen = self._seen
                    yield self._task
                elif self._task.status in TERMINAL:
                    return
                elif isinstance(self._outcome, Exception):
                    raise self._outcome.with_traceback(None)
                else:
                    self._fetch()
                    await self._bell.wait()
        due = trio.current_time() + self.interval()
        while self._task.status not in TERMINAL:
            if self._task.status is TaskStatus.INPUT_REQUIRED:
                self._fetch()
            with trio.move_on_at(due) as waited:
                if seen == self._seen and self._outcome is None:
                    await self._bell.wait()
            await self._deliver()
            over = self._outcome is not None
            if seen == self._seen and (waited.cancelled_caught or over):
                await self.status()
                due = trio.current_time() + self.interval()
                if over and self._task.status not in TERMINAL:
                    raise RemoteProtocolError(f"task {self.id} has a result, yet its status is {self._task.status}")
            if seen != self._seen:
                seen = self._seen
                yield self._task
                due = trio.current_time() + self.interval()
        await self._deliver()
        if seen != self._seen:  # the loop's own body has cancelled it, say
            yield self._task

    async def result(self) -> JSONObject:
        """Wait for the result: the object that a plain request would have been answered with.

        May be called again, by several tasks at once too, and gives the same again. Raises `RequestFailed` with the
        error the request ended in, `TaskCancelled` if it was cancelled, and what `Connection.call` raises. Cancelled,
        it only stops waiting.
        """
        while self._outcome is None:
            self._fetch()
            await self._bell.wait()
            await self._deliver()
        await self._deliver()
        if isinstance(self._outcome, Exception) and not isinstance(self._outcome, MCPError):
            raise self._outcome  # what our own handler raised
        if isinstance(self._outcome, MCPError):
            raise (await self._explained(self._outcome)).with_traceback(None)  # the same object at each read
        if self._task is not None and self._connection.dialect.awaits and not self._outcome.keys() - {"_meta"}:
            # A receiver may answer for a cancelled task with an object that has nothing in it.
            explained = await self._explained(RemoteProtocolError("the result has nothing in it"))
            if isinstance(explained, TaskCancelled):
                raise explained
        return self._outcome

    async def value(self) -> Any:
        """The result as the shape that the method promises. Raises as `result` does, and `RemoteProtocolError`."""
        result = await self.result()
        try:
            return self._connection.lift_result(self.method, result)
        except RemoteProtocolError as wrong:
            raise await self._explained(wrong) from None

    # --- doing ----------------------------------------------------------------------------------------------------

    async def cancel(self) -> Task:
        """Cancel the task there. Raises `RequestFailed` if it is over already, in a session; `CapabilityMissing`."""
        task = await self._connection.ask_to_cancel(self.id)
        if task is None:
            return await self.status()  # there it is only acknowledged, and may yet end otherwise
        self._changed(task)
        assert self._task is not None
        return self._task

    def detach(self) -> SavedTask:
        """Let the task go on when the block is left; what is returned takes it up again."""
        self._detached = True
        return self.save()

    def save(self) -> SavedTask:
        """What another process needs to take the task up again."""
        connection = self._connection
        answered = tuple(sorted(self.answered))
        return SavedTask(connection.peer_name, connection.revision, self.id, self.method, self._token, answered)

    # --- inside ---------------------------------------------------------------------------------------------------

    def pushed(self, report: Report) -> None:
        """Take in a status that came by itself."""
        if self._task is None or self._task.status not in TERMINAL:
            self.take(report)
            self._bell.ring()

    def take(self, report: Report) -> None:
        """Take in what is said of the task. Raises `RemoteProtocolError` for a terminal status that changes."""
        self._changed(report.task)
        if self.report != report:
            self.report = report
            self.on_report()

    def _changed(self, task: Task) -> None:
        if self._task is not None and self._task.status in TERMINAL:
            if task.status is not self._task.status:
                raise RemoteProtocolError(
                    f"task {task.task_id} was {self._task.status} and now is {task.status}: a terminal status is final"
                )
            return
        if self._task is None or not _alike(task, self._task):
            self._task = task
            self._seen += 1
            self._lose_patience()
            self._bell.ring()

    def _is_newer(self, than: Task) -> bool:
        task = self._task
        return task is not None and (task.status in TERMINAL or task.last_updated_at >= than.last_updated_at)

    def interval(self) -> float:
        """How many seconds the receiver wants between two looks at the task."""
        assert self._task is not None
        given = self._task.poll_interval_ms
        if given is UNSET:
            return _DEFAULT_POLL_SECONDS
        return max(
            min(given, _MAX_POLL_SECONDS * 1000) / 1000, _MIN_POLL_SECONDS
        )  # any number may be given, 10**400 too

    async def _deliver(self) -> None:
        if self._inbox is not None:
            await self._inbox.deliver()

    def _fetch(self) -> None:
        if self._fetching is not None or self._outcome is not None:
            return
        if self._connection.closed:
            self._outcome = ConnectionClosed("the connection was closed before the task had a result")
            self._bell.ring()
        else:
            self._fetching = trio.CancelScope()
            self._connection.nursery.start_soon(self._fetch_outcome, self._fetching)

    async def _fetch_outcome(self, scope: trio.CancelScope) -> None:
        try:
            with scope:
                self._outcome = await self._asked_for_outcome()
        except Exception as failure:
            self._outcome = failure
        finally:
            self._fetching = None  # if it was given up, whoever still wants the result asks anew
            self._bell.ring()

    async def _asked_for_outcome(self) -> JSONObject:
        if not self._connection.dialect.awaits:
            return await follow(self._connection, self)
        # A result can be asked for again: what was lost was one question, or its answer, not the task.
        for attempt in range(_ASKED_AGAIN + 1):
            self._patience = trio.CancelScope()
            self._slow_seconds = _SLOW_SECONDS * 2**attempt
            self._lose_patience()
            try:
                with self._patience:
                    return await self._connection.await_task(self.id)
                logger.info("task %s is over, but its result does not come: asking again", self.id)
                continue
            except ConnectionClosed:
                if self._connection.closed or attempt == _ASKED_AGAIN:
                    raise
            await trio.sleep(self.interval())
        raise RemoteProtocolError(f"task {self.id} is over, but its result is not given")

    def _lose_patience(self) -> None:
        # Once the task is over there is nothing to wait for, yet receivers have been seen that never woke whoever did.
        if self._task is not None and self._task.status in TERMINAL:
            self._patience.deadline = min(self._patience.deadline, trio.current_time() + self._slow_seconds)

    async def _explained(self, failure: MCPError) -> MCPError:
        task = self._task
        if task is None or isinstance(failure, ConnectionClosed):
            return failure
        if task.status not in TERMINAL:
            try:
                task = await self.status()
            except MCPError:
                return failure
        if task.status is TaskStatus.CANCELLED:
            message = task.status_message
            return TaskCancelled(self.id) if message is UNSET else TaskCancelled(self.id, message)
        return failure


def _alike(one: Task, other: Task) -> bool:
    # What is said of it beside the task itself, such as its questions, makes no other task.
    return all(getattr(one, name) == getattr(other, name) for name in _TOLD)


_TOLD = tuple(field.name for field in fields(Task) if field.name not in ("meta", "extra"))
