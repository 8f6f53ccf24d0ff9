"""The requests we receive: finding who serves them, running that, and answering once.

The receiver's half of a connection, for plain requests and for tasks. It matches on what a dialect made of a request
and never on a method. Each request is a job, which `notifications/cancelled` finds; whatever a handler raises ends up
as one error response, and only the log sees what was not meant for the other side.

Spec: 2025-11-25 basic/utilities/tasks; basic/utilities/cancellation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSON, JSONObject, RequestId, TaskId
from .._workers import Job
from ..dialects.base import Dialect, Discover, Listen, Open, Ping, Side, Terms
from ..dialects.select import LATEST, QUESTION_GATES, TermsReader
from ..errors import (
    InvalidRequest,
    LimitReached,
    MethodNotFound,
    Refusal,
    RemoteProtocolError,
    RequestFailed,
    TaskAlreadySettled,
    UnsupportedRevision,
)
from ..seal import OpenedState
from ..tasks.model import EMPTY, Answer, Await, Call, Cancel, Get, List, Question, TaskRecord, TaskVerb
from ..tasks.registry import Work
from ..wire.jsonrpc import ErrorResponse, Request, Response
from .contexts import Context
from .couriers import settled_anywhere
from .deliveries import LiveDelivery, TaskDelivery, WrongAnswer
from .handlers import Handler
from .links import Link
from .listening import Subscription, listen
from .opening import answer_discovery, answer_handshake
from .rounds import Rounds
from .work import explain, handler_work, lower_returned, origin_of, run_handler, task_work, tell

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Served", "Service"]

logger = logging.getLogger("mcp_tasks.peer")


class Served(Job):
    """A request on its way to its answer, on the terms that hold for it."""

    __slots__ = ("_service", "answered", "brought", "id", "incoming", "mendable", "terms")

    def __init__(self, service: Service, id: RequestId, incoming: Call | TaskVerb | Listen, terms: Terms) -> None:
        super().__init__()
        self._service = service
        self.id = id
        self.incoming = incoming
        self.terms = terms
        self.answered = False
        """Whether the answer has been sent."""
        self.mendable = False
        """Whether it was refused for an answer that the client may give anew."""
        self.brought: OpenedState | None = None
        """What the client brought back, which is good for one answer."""

    async def do(self) -> None:
        """Serve it."""
        await self._service.serve(self)


class Service:
    """Serves the requests of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.session
        self._table = connection.peer.table
        self._registry = connection.peer.tasks
        self._terms = TermsReader()
        self._rounds = Rounds(self, connection)

    def accept(self, request: Request) -> None:
        """Serve a request that the session has accepted. Not a checkpoint."""
        connection, method = self._connection, request.method
        terms = connection.terms
        if connection.only_asks:
            logger.warning("%r: dropped a %s: the server may not ask", connection, method)
            self._session.settle(request.id, None)
            return
        try:
            if connection.side is Side.SERVER:
                terms = self._terms.read(request, terms, opened=connection.opened)
            stateless = terms.dialect.stateless
            task_methods = self._task_methods(method) if stateless else connection.task_methods
            incoming = terms.dialect.lift_request(request, connection.side, task_methods)
            if not connection.opened and not stateless and not isinstance(incoming, (Open, Ping)):
                raise InvalidRequest(f"{method}: the connection has not been initialized")
            limit = connection.limits.in_flight
            # What only listens does no work; how many of those there may be is for `listen` to say.
            if len(self._session.served) - connection.listened_to > limit and not isinstance(incoming, Ping):
                raise LimitReached(f"Too many requests at once, the limit is {limit}", "in_flight", limit)
        except Refusal as refusal:
            self._refuse(request.id, None, refusal, _speaker(terms, refusal))
            return
        except Exception as error:
            self._refuse(request.id, None, explain(error, method), terms)
            return
        if isinstance(incoming, Ping):
            self._answer(request.id, None, {})
        elif isinstance(incoming, Open):
            # At once, so that whatever follows in the same chunk finds the connection open.
            try:
                self._answer(request.id, None, answer_handshake(connection, incoming))
            except Refusal as refusal:
                self._refuse(request.id, None, refusal, terms)
        elif isinstance(incoming, Discover):
            try:
                result = self.completed(method, answer_discovery(connection, terms), terms)
            except Exception as error:
                self._refuse(request.id, None, explain(error, method, terms), terms)
            else:
                self._answer(request.id, None, result)
        else:
            job = Served(self, request.id, incoming, terms)
            self._session.serving(request.id, job)
            connection.workers.put(job)

    def _task_methods(self, method: str) -> AbstractSet[str]:
        # Only where it matters: what is offered may have changed since the last request.
        return self._table.task_methods() if method[:6] == "tasks/" else frozenset()

    async def serve(self, job: Served) -> None:
        """Do what a request asks for, and answer it once."""
        terms = job.terms
        try:
            match job.incoming:
                case Call():
                    if terms.dialect.stateless:
                        result = await self._rounds.call(job.incoming, job)
                    else:
                        result = await self._call(job.incoming, job)
                case Listen(topics):
                    await listen(self._connection, topics, job)
                    result = None
                case _:
                    result = await self._look(job.incoming, job)
            if result is not None:
                self._answer(job.id, job, result)
        except Exception as error:
            job.mendable = isinstance(error, WrongAnswer)
            if job.brought is not None and job.mendable:
                await self._rounds.done_with(job.brought, answered=False)  # before it can come again
                job.brought = None
            self._refuse(job.id, job, explain(error, f"request {job.id!r}", terms), terms)
        finally:
            # Cancelled: by the other side, and it is off the table already; or with the connection, and nobody reads.
            self._session.settle(job.id, job)
            if job.brought is not None:
                await self._rounds.done_with(job.brought, answered=job.answered and not job.mendable)
            self._connection.served_one()
        await self._connection.drained(job.id)

    async def _look(self, verb: TaskVerb, job: Served) -> JSONObject:
        # What is asked about tasks.
        registry, principal, terms = self._registry, self._principal, job.terms
        dialect = terms.dialect
        dialect.require_tasks("tasks", terms.capabilities)
        match verb:
            case Get(id):
                result = dialect.lower_task(await registry.get(id, principal))
            case Await(id):
                return await self._await(id, job.id, dialect)
            case Cancel(id):
                result = dialect.lower_cancelled(await self._cancel(id, quietly=dialect.stateless))
            case Answer(id, answers):
                await self._take_answers(id, answers, dialect)
                result = {}
            case List(cursor):
                self._may_list()
                return dialect.lower_page(await registry.list(principal, cursor))
        return self.completed("", result, terms)

    def finish(self, subscription: Subscription) -> None:
        """End what a client listens to: with the answer to its request, and where requests share a stream a word more.

        C26-219, C26-289: that word alone says it in one place of the specification, the answer in another.
        """
        job, dialect = subscription.job, subscription.job.terms.dialect
        if job.cancelled:
            return  # they have withdrawn it (C26-292)
        self._answer(job.id, job, self.completed("", subscription.result, job.terms))
        said = dialect.cancel_notification(job.id, "The server has ended the subscription")
        self._connection.post(said, job.id)
        job.cancel()

    async def answer(self, question: Question) -> JSONObject:
        """Answer a question that came inside a result or a task, as if it had been a request.

        Raises `RemoteProtocolError` for one that we have not declared, and whatever the handler raises: there is no
        way to send an error (C26-441, C26-495).
        """
        connection, method = self._connection, question.method
        meta = question.params.get("_meta")
        call = Call(method, question.params, meta=meta if isinstance(meta, dict) else {})
        try:
            if method not in QUESTION_GATES:
                raise MethodNotFound(f"{method} is no question")
            handler = self.handler(method)
            connection.dialect.check_asked(call, connection.capabilities)
            params = connection.dialect.lift_params(method, question.params)
        except Refusal as wrong:
            raise RemoteProtocolError(f"the server asks what it cannot: {wrong.message}") from None
        context = Context(call, connection.principal, LiveDelivery(connection, 0, connection.terms))
        result = await run_handler(self._table, handler, context, params if handler.lifted else question.params)
        return lower_returned(method, result, None, connection.dialect)

    @property
    def stateless(self) -> bool:
        """Whether any request has come that stands for itself."""
        return self._terms.any

    def completed(self, method: str, result: JSONObject, terms: Terms) -> JSONObject:
        """A result as it leaves: with what each result of its era says besides."""
        if not terms.dialect.stateless:
            return result
        return terms.dialect.complete(method, result, self._connection.signature(terms), self._table.cache.get(method))

    @property
    def _principal(self) -> Any:
        return self._connection.principal

    # --- plain requests -------------------------------------------------------------------------------------------

    async def _call(self, call: Call, job: Served) -> JSONObject | None:
        connection, method = self._connection, call.method
        handler = self.handler(method)
        dialect = job.terms.dialect
        params = dialect.lift_params(method, call.params)
        dialect.check_asked(call, connection.capabilities)
        if method in connection.task_methods:
            policy = handler.policy if isinstance(handler.policy, str) else handler.policy(params)
            if call.wish is not None:
                if policy == "forbidden":
                    raise MethodNotFound(f"{_what(call)} cannot be run as a task")
                await self.create(call, handler, params, job)
                return None
            if policy == "required":
                if callable(handler.policy):
                    raise MethodNotFound(f"{_what(call)} can only be run as a task")
                raise InvalidRequest(f"Task augmentation required for {method} requests")
        context = Context(call, connection.principal, LiveDelivery(connection, job.id, job.terms))
        result = await run_handler(self._table, handler, context, params if handler.lifted else call.params)
        return lower_returned(method, result, call.related, dialect)

    def handler(self, method: str) -> Handler:
        """Who serves a method. Raises `MethodNotFound`."""
        handler = self._table.requests.get(method)
        if handler is None:
            raise MethodNotFound(f"Method not found: {method}")
        return handler

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def create(
        self,
        call: Call,
        handler: Handler,
        params: Any,
        job: Served,
        *,
        journal: Mapping[str, JSON] = EMPTY,
        adopt: Callable[[TaskDelivery], Work] | None = None,
    ) -> None:
        """Make a task of a request and answer with that.

        `journal` is what is known from before. Work that has been begun is adopted: `adopt` is told where it is at home
        now, and gives what waits for it.
        """
        connection, registry, terms = self._connection, self._registry, job.terms
        link = Link(connection, reachable=not terms.dialect.stateless)
        immediate = handler.immediate(params)
        changed = partial(tell, connection.peer, link, made_on=connection)
        # Where requestors cannot come back, nobody is there for a task that is run again.
        comes_back = registry.store.durable and not connection.transient
        again = comes_back and handler.restarts(params)
        works = connection.peer.works and not registry.draining
        here = works or adopt is not None or not (comes_back and registry.shared)
        origin = origin_of(call, connection.side, terms) if again or not here else None
        # Committed before it is announced (a store makes that whole or not at all, even when it is cancelled).
        record = await registry.create(
            call,
            connection.principal,
            journal=journal,
            origin=origin,
            restartable=again,
            here=here,
            on_change=changed,
            on_gone=lambda id: connection.peer.links.pop(id, None),
        )
        if job.cancelled:
            await self._stop(record)
            return
        self._table.made_tasks.add(call.method)
        connection.peer.links[record.id] = link
        delivery = TaskDelivery(registry, record.id, link, terms, connection.side)
        work: Work
        if adopt is None:
            work = handler_work(
                self._table, handler, call, params, Context(call, connection.principal, delivery), terms
            )
        else:
            work = adopt(delivery)
        try:
            created = terms.dialect.lower_created(record, immediate)
            self._answer(job.id, job, self.completed(call.method, created, terms))
            if here:
                whole = task_work(connection.peer, record.id, call.method, terms, work)
                registry.start(record.id, whole, connection.task_home())
        except BaseException:
            await self._stop(record)
            raise

    async def _stop(self, record: TaskRecord) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._registry.cancel(record.id, record.principal, "The request was cancelled")
            except TaskAlreadySettled:
                pass

    async def _await(self, id: TaskId, request_id: RequestId, dialect: Dialect) -> JSONObject:
        connection, registry = self._connection, self._registry
        if registry.shared is not None:
            return dialect.lower_outcome(await settled_anywhere(connection, id, request_id))
        # Where there are no others, its questions go by its link, and there is nothing to carry.
        record = await registry.get(id, self._principal)  # only its owner may have its questions
        if record.settled:
            return dialect.lower_outcome(record)
        link = connection.peer.links.get(id)
        if link is not None:
            link.attach(connection, request_id)
        try:
            return dialect.lower_outcome(await registry.settled(id, self._principal))
        finally:
            if link is not None:
                link.detach(connection, request_id)

    async def _cancel(self, id: TaskId, *, quietly: bool) -> TaskRecord:
        try:
            return await self._registry.cancel(id, self._principal, "The task was cancelled by request")
        except TaskAlreadySettled:
            if not quietly:
                raise
            return await self._registry.get(id, self._principal)  # X26-084

    async def _take_answers(self, id: TaskId, answers: Mapping[str, JSONObject], dialect: Dialect) -> None:
        record = await self._registry.get(id, self._principal)
        asked = {key: question.method for key, question in record.questions.items()}
        dialect.check_answers(answers, asked, "$.params.inputResponses")
        try:
            await self._registry.answer(id, answers)
        except TaskAlreadySettled:
            pass  # X26-077

    def _may_list(self) -> None:
        if not self._connection.identified:
            raise MethodNotFound("Tasks cannot be listed: requestors cannot be told apart here")

    # --- answers --------------------------------------------------------------------------------------------------

    def _answer(self, id: RequestId, job: Served | None, result: JSONObject) -> None:
        if self._session.settle(id, job):
            if job is not None:
                job.answered = True
            try:
                self._connection.post(Response(id, result), id, written=job is None)
            except (TypeError, ValueError, RecursionError) as error:
                refusal = explain(error, f"the result of request {id!r} is no JSON")
                dialect = self._connection.dialect if job is None else job.terms.dialect
                self._connection.post(ErrorResponse(id, dialect.lower_error(refusal)), id)

    def _refuse(self, id: RequestId, job: Served | None, error: Refusal | RequestFailed, terms: Terms) -> None:
        if self._session.settle(id, job):
            if job is not None:
                job.answered = True
            said = terms.dialect.lower_error(error)
            try:
                self._connection.post(ErrorResponse(id, said), id, written=job is None)
            except (TypeError, ValueError, RecursionError) as wrong:
                refusal = explain(wrong, f"the error of request {id!r} is no JSON")
                self._connection.post(ErrorResponse(id, terms.dialect.lower_error(refusal)), id)


def _speaker(terms: Terms, refusal: Refusal) -> Terms:
    # Who names no revision, or one that is not spoken, is told so in the words of the newest.
    return terms if terms.dialect.stateless or not isinstance(refusal, UnsupportedRevision) else Terms(dialect=LATEST)


def _what(call: Call) -> str:
    name = call.params.get("name")
    return f"{call.method} of {name!r}" if isinstance(name, str) else call.method
