"""Requests that stand for themselves: answered at once, with questions, or with a task.

Without a session a server cannot ask. A handler's question ends it, and the answer to its request lists what has to be
known; the client repeats the request with the answers, and the handler runs again with a journal in which it finds
them. What is known so far travels with the client, sealed, so that no server has to remember it, and is good for that
request of that client alone.

Here it is the server, too, that decides what becomes a task: nothing, everything, or whatever takes longer than a
grace. Work that becomes a task midway goes on undisturbed; only its questions go another way from then on.

Spec: 2026-07-28 basic/patterns/mrtr (C26-248 to C26-278); SEP-2663 "Task Creation" (X26-005 to X26-045).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSON, JSONObject
from .._workers import Job
from ..errors import InternalError, LimitReached, UrlElicitationRequired
from ..seal import Bound, InvalidState, OpenedState
from ..tasks.model import Call, Question
from ..tasks.registry import Work
from .contexts import Context
from .deliveries import OutOfReach, RoundDelivery, TaskDelivery
from .handlers import Handler
from .questions import ElicitUrl
from .work import lower_returned, run_handler

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Served, Service

__all__ = ["Rounds"]

logger = logging.getLogger("mcp_tasks.peer")

_CLOCKS_SECONDS = 60.0  # by which the clocks of several processes may differ
_TURNS = 4  # of the scheduler, in which quick work is done and the first question asked


class _Attempt(Job):
    """A run of a handler that may become a task: it is at home where tasks are, and waited for."""

    __slots__ = ("_delivery", "_failure", "_result", "_run", "ended")

    def __init__(self, run: Work, delivery: RoundDelivery) -> None:
        super().__init__()
        self.ended = trio.Event()
        self._run = run
        self._delivery = delivery
        self._result: JSONObject | None = None
        self._failure: Exception | None = None

    async def do(self) -> None:
        try:
            self._result = await self._run()
        except Exception as failure:
            self._failure = failure
        finally:
            self._end()

    def _end(self) -> None:
        self.ended.set()
        self._delivery.turn.set()

    def cancel(self) -> None:
        super().cancel()
        if self.scope is None:
            self._end()  # it never begins

    async def stop(self) -> None:
        """Cancel it, and wait until its last ``finally`` has run."""
        self.cancel()
        with trio.CancelScope(shield=True):
            await self.ended.wait()

    async def result(self) -> JSONObject:
        """Wait for what it gives, or raise what it raises. Cancelled, it is stopped."""
        try:
            await self.ended.wait()
        except trio.Cancelled:
            await self.stop()
            raise
        if self._failure is not None:
            raise self._failure
        if self._result is None:
            raise InternalError("The work was interrupted")
        return self._result


class Rounds:
    """Serves the calls of one connection that stand for themselves."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service = service
        self._connection = connection
        self._table = connection.peer.table
        self._registry = connection.peer.tasks

    async def call(self, call: Call, job: Served) -> JSONObject | None:
        """Serve a call; the result is as it leaves, None if it has left already."""
        service, connection, terms = self._service, self._connection, job.terms
        dialect, method = terms.dialect, call.method
        handler = service.handler(method)
        params = dialect.lift_params(method, call.params)
        journal, number = self._brought(call, job)
        if job.brought is not None and self._registry.shared is not None:
            await self._claim(job.brought, call, job)
        policy = handler.policy(params) if callable(handler.policy) else handler.policy
        pace = handler.pace(params) if callable(handler.pace) else handler.pace
        can_be_task = method in dialect.augmentable
        peer, tasks = self._connection.peer, dialect.runs_tasks_for(terms.capabilities)
        # Whoever does no work leaves it to others from the beginning.
        elsewhere = policy == "optional" and tasks and not peer.works and peer.tasks.shared is not None
        if can_be_task and (policy == "required" or elsewhere):
            dialect.require_tasks(f"{method} as a task", terms.capabilities)
            await service.create(call, handler, params, job, journal=journal)
            return None
        no_asking = ""
        if method not in dialect.takes_input:
            no_asking = f"{method} cannot be answered with a question"
        elif not pace.repeats and not can_be_task:
            no_asking = f"{method} cannot be a task, and its handler must not run twice"
        delivery = RoundDelivery(
            connection,
            job.id,
            terms,
            journal,
            # Without state there is no saying whether this was asked: good for a question under that key, and no more.
            volunteered=call.answers if call.state is None else {},
            repeats=pace.repeats,
            no_asking=no_asking,
        )
        context = Context(call, connection.principal, delivery)
        attempt = partial(self._attempt, call, handler, context, params, delivery, number)
        if can_be_task and tasks and (policy == "optional" or not pace.repeats):
            grace = self._connection.limits.grace_seconds if pace.grace is None else pace.grace
            if policy == "forbidden":
                grace = math.inf  # what must not run twice becomes a task when it asks, and only then
            return await self._in_time(call, handler, params, job, delivery, _Attempt(attempt, delivery), grace)
        return service.completed(method, await attempt(), terms)

    # --- rounds ---------------------------------------------------------------------------------------------------

    async def _attempt(
        self, call: Call, handler: Handler, context: Context, params: Any, delivery: RoundDelivery, number: int
    ) -> JSONObject:
        dialect = delivery.terms.dialect
        asked: Mapping[str, Question]
        try:
            with delivery.scope:
                result = await run_handler(self._table, handler, context, params if handler.lifted else call.params)
                return lower_returned(call.method, result, None, dialect)
            asked = delivery.asked
        except OutOfReach:
            if not delivery.asked:
                raise
            asked = delivery.asked
        except UrlElicitationRequired as required:
            # The older era's way of sending the user somewhere first; here it is a question like any other.
            asked = self._visits(required, delivery)
        limit = self._connection.limits.rounds
        if number >= limit:
            raise LimitReached(f"Too many rounds of questions, the limit is {limit}", "rounds", limit)
        payload = {
            "journal": dict(delivery.journal()),
            "asked": {key: question.method for key, question in asked.items()},
            "round": number + 1,
        }
        state = self._connection.peer.seal.seal(payload, self._bound(call))
        return dialect.lower_asked(asked, state)

    def _visits(self, required: UrlElicitationRequired, delivery: RoundDelivery) -> Mapping[str, Question]:
        if not delivery.ends_with_questions:
            raise required
        dialect, capabilities = delivery.terms.dialect, delivery.terms.capabilities
        asked: dict[str, Question] = {}
        for number, one in enumerate(required.elicitations, 1):
            wired = dialect.lower_call(
                ElicitUrl(str(one.get("message", required.message)), str(one.get("url"))).params()
            )
            assert isinstance(wired, dict)
            dialect.check_question(ElicitUrl.method, wired, capabilities, self._connection.side)
            asked[f"url-{number}"] = Question(ElicitUrl.method, wired)
        return asked

    def _brought(self, call: Call, job: Served) -> tuple[Mapping[str, JSON], int]:
        # What earlier rounds brought, and how many there were. Answers to what was not asked are passed over (C26-277).
        if call.state is None:
            return {}, 0
        seal = self._connection.peer.seal
        try:
            opened = seal.open(call.state, self._bound(call))
        except InvalidState as wrong:
            logger.info("%r: the state of a %s %s", self._connection, call.method, wrong.reason)
            raise
        asked: Mapping[str, str] = opened.payload["asked"]
        job.terms.dialect.check_answers(call.answers, asked, "$.params.inputResponses")  # a slip can be mended
        seal.claim(opened)
        job.brought = opened
        answers = {key: call.answers[key] for key in asked if key in call.answers}
        return {**opened.payload["journal"], **answers}, opened.payload["round"]

    async def _claim(self, opened: OpenedState, call: Call, job: Served) -> None:
        # In this process it is ours already.
        taken = False
        try:
            taken = await self._registry.others.claim(_claimed_as(opened))
        finally:
            if not taken:
                job.brought = None
                self._connection.peer.seal.release(opened)
        if not taken:
            wrong = InvalidState("was used in another process, or is")
            logger.info("%r: the state of a %s %s", self._connection, call.method, wrong.reason)
            raise wrong

    async def done_with(self, opened: OpenedState, *, answered: bool) -> None:
        """A request that brought this is over. One that has got its answer cannot be made again (C26-263)."""
        seal = self._connection.peer.seal
        if answered:
            seal.spend(opened)
        else:
            seal.release(opened)
        if self._registry.shared is not None:
            self._connection.write_now()  # nobody waits for that
            left = opened.expires_at - self._registry.clock.now() + _CLOCKS_SECONDS if answered else 0
            await self._registry.others.let_go(_claimed_as(opened), left)

    def _bound(self, call: Call) -> Bound:
        return Bound(principal=self._connection.principal, method=call.method, params=call.params)

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def _in_time(
        self,
        call: Call,
        handler: Handler,
        params: Any,
        job: Served,
        delivery: RoundDelivery,
        attempt: _Attempt,
        grace: float,
    ) -> JSONObject | None:
        # The result if it comes soon, else a task. What asks first is asked first, and may be a task in its last round
        # (X26-043).
        connection, service = self._connection, self._service
        connection.task_home().put(attempt)
        adopted = False

        def adopt(task: TaskDelivery) -> Callable[[], Any]:
            nonlocal adopted
            adopted = True
            delivery.promoted(task)
            return attempt.result

        try:
            for _ in range(_TURNS):
                if delivery.turn.is_set() or delivery.asked:
                    break
                await trio.lowlevel.checkpoint()
            await delivery.decided()
            if not delivery.turn.is_set() and not delivery.asked:
                with trio.move_on_after(grace):
                    await delivery.turn.wait()
                await delivery.decided()
            if not attempt.ended.is_set() and not delivery.asked:
                delivery.promote()
                try:
                    await service.create(call, handler, params, job, journal=dict(delivery.journal()), adopt=adopt)
                    if not adopted:
                        await attempt.stop()
                    return None
                except Exception as failure:
                    if adopted:
                        raise
                    # No room for a task, say. What has been begun is not lost for that.
                    logger.info("%s goes on without a task: %s", call.method, failure)
                    delivery.declined(failure)
            return service.completed(call.method, await attempt.result(), job.terms)
        except BaseException:
            await attempt.stop()
            raise


def _claimed_as(opened: OpenedState) -> str:
    return f"state {opened.serial.hex()}"
