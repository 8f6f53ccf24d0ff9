"""The requests we receive: finding who serves them, running that, and answering once.

The receiver's half of a connection, for plain requests and for tasks. It matches on what a dialect made of a request
and never on a method. Each request is a job, which `notifications/cancelled` finds; whatever a handler raises ends up
as one error response, and only the log sees what was not meant for the other side.

Spec: 2025-11-25 basic/utilities/tasks; basic/utilities/cancellation.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from .._unset import JSONObject, RequestId, TaskId
from .._workers import Job
from ..dialects.base import Open, Ping
from ..errors import (
    InternalError,
    InvalidRequest,
    InvalidShape,
    LimitReached,
    MCPError,
    MethodNotFound,
    Refusal,
    RequestFailed,
    TaskAlreadySettled,
)
from ..tasks.model import Await, Call, Cancel, Get, List, TaskRecord, TaskVerb
from ..tasks.state import TaskState
from ..wire.jsonrpc import ErrorResponse, Request, Response
from .contexts import Context, LiveDelivery, TaskDelivery
from .handlers import Handler, Middleware
from .links import Link

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Served", "Service", "explain"]

logger = logging.getLogger("mcp_tasks.peer")


def explain(error: BaseException, what: str) -> Refusal | RequestFailed:
    """The error that an exception is answered with; one that was not meant for the other side is logged."""
    if isinstance(error, (Refusal, RequestFailed)):
        return error
    reference = secrets.token_hex(4)
    logger.error("%s: unexpected exception, reference %s", what, reference, exc_info=error)
    return InternalError(f"Internal error (reference {reference})")


class Served(Job):
    """A request on its way to its answer."""

    __slots__ = ("_service", "id", "incoming")

    def __init__(self, service: Service, id: RequestId, incoming: Call | TaskVerb) -> None:
        super().__init__()
        self._service = service
        self.id = id
        self.incoming = incoming

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

    def accept(self, request: Request) -> None:
        """Serve a request that the session has accepted. Not a checkpoint."""
        connection = self._connection
        try:
            incoming = connection.dialect.lift_request(request, connection.side, connection.task_methods)
            if not connection.opened and not isinstance(incoming, (Open, Ping)):
                raise InvalidRequest(f"{request.method}: the connection has not been initialized")
            limit = connection.limits.in_flight
            if len(self._session.served) > limit and not isinstance(incoming, Ping):
                raise LimitReached(f"Too many requests at once, the limit is {limit}", "in_flight", limit)
        except Refusal as refusal:
            self._refuse(request.id, None, refusal)
            return
        except Exception as error:
            self._refuse(request.id, None, explain(error, request.method))
            return
        if isinstance(incoming, Ping):
            self._answer(request.id, None, {})
        elif isinstance(incoming, Open):
            # At once, so that whatever follows in the same chunk finds the connection open.
            try:
                self._answer(request.id, None, connection.open(incoming))
            except Refusal as refusal:
                self._refuse(request.id, None, refusal)
        else:
            job = Served(self, request.id, incoming)
            self._session.serving(request.id, job)
            connection.workers.put(job)

    async def serve(self, job: Served) -> None:
        """Do what a request asks for, and answer it once."""
        try:
            match job.incoming:
                case Call():
                    result = await self._call(job.incoming, job)
                case Get(id):
                    result = self._dialect.lower_task(await self._registry.get(id, self._principal))
                case Await(id):
                    result = await self._await(id, job.id)
                case Cancel(id):
                    result = self._dialect.lower_task(await self._cancel(id))
                case List(cursor):
                    self._may_list()
                    result = self._dialect.lower_page(await self._registry.list(self._principal, cursor))
            if result is not None:
                self._answer(job.id, job, result)
        except Exception as error:
            self._refuse(job.id, job, explain(error, f"request {job.id!r}"))
        finally:
            # Cancelled: by the other side, and it is off the table already; or with the connection, and nobody reads.
            self._session.settle(job.id, job)
            self._connection.served_one()
        await self._connection.drained(job.id)

    @property
    def _dialect(self) -> Any:
        return self._connection.dialect

    @property
    def _principal(self) -> Any:
        return self._connection.principal

    # --- plain requests -------------------------------------------------------------------------------------------

    async def _call(self, call: Call, job: Served) -> JSONObject | None:
        connection, method = self._connection, call.method
        handler = self._table.requests.get(method)
        if handler is None:
            raise MethodNotFound(f"Method not found: {method}")
        dialect = connection.dialect
        params = dialect.lift_params(method, call.params)
        dialect.check_asked(call, connection.capabilities)
        if method in connection.task_methods:
            policy = handler.policy if isinstance(handler.policy, str) else handler.policy(params)
            if call.wish is not None:
                if policy == "forbidden":
                    raise MethodNotFound(f"{_what(call)} cannot be run as a task")
                await self._create(call, handler, params, job)
                return None
            if policy == "required":
                if callable(handler.policy):
                    raise MethodNotFound(f"{_what(call)} can only be run as a task")
                raise InvalidRequest(f"Task augmentation required for {method} requests")
        context = Context(call, connection.principal, LiveDelivery(connection, job.id))
        result = await self._run(handler, context, params if handler.lifted else call.params)
        return self._lower(method, result, call.related)

    def _lower(self, method: str, result: Any, related: TaskId | None) -> JSONObject:
        try:
            return self._connection.dialect.lower_result(method, result, related)
        except InvalidShape as wrong:
            raise TypeError(f"the handler of {method} returned a wrong result: {wrong}") from None

    def _run(self, handler: Handler, context: Context, params: Any) -> Awaitable[Any]:
        middleware = self._table.middleware
        if not middleware:
            return handler.run(context, params)
        proceed: Callable[[], Awaitable[Any]] = partial(handler.run, context, params)
        for around in reversed(middleware):
            proceed = partial(_around, around, context, proceed)
        return proceed()

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def _create(self, call: Call, handler: Handler, params: Any, job: Served) -> None:
        connection, registry = self._connection, self._registry
        link = Link(connection)
        immediate = handler.immediate(params)
        # Committed before it is announced (a store makes that whole or not at all, even when it is cancelled).
        record = await registry.create(call, connection.principal, on_change=partial(self._changed, link))
        if job.cancelled:
            await self._stop(record)
            return
        connection.peer.links[record.id] = link
        context = Context(call, connection.principal, TaskDelivery(registry, record.id, link))

        async def work() -> JSONObject:
            try:
                result = await self._run(handler, context, params if handler.lifted else call.params)
                lowered = self._lower(call.method, result, None)
                connection.check_json(lowered)
                return lowered
            except MCPError as error:
                raise explain(error, call.method) from None
            finally:
                connection.peer.links.pop(record.id, None)

        try:
            self._answer(job.id, job, connection.dialect.lower_created(record, immediate))
            registry.start(record.id, work, connection.task_home())
        except BaseException:
            await self._stop(record)
            raise

    async def _stop(self, record: TaskRecord) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._registry.cancel(record.id, record.principal, "The request was cancelled")
            except TaskAlreadySettled:
                pass

    def _changed(self, link: Link, record: TaskRecord) -> None:
        if record.settled:
            self._connection.peer.links.pop(record.id, None)
        try:
            connection = link.connection
            # A task that ended by itself did so in a worker, which writes when it has nothing more to do.
            written = record.state not in _BY_ITSELF or connection is not self._connection or bool(connection.peer.home)
            # Whoever waits for the result sees by the answer that it is over.
            related_to = None if record.settled else link.related_to
            connection.post(connection.dialect.task_notification(record), related_to, written=written)
        except MCPError:
            logger.debug("task %s: nobody to tell of %s", record.id, record.state.value)

    async def _await(self, id: TaskId, request_id: RequestId) -> JSONObject:
        link = self._connection.peer.links.get(id)
        if link is None:
            record = await self._registry.settled(id, self._principal)
        else:
            await self._registry.get(id, self._principal)  # only its owner may have its questions
            link.attach(self._connection, request_id)
            try:
                record = await self._registry.settled(id, self._principal)
            finally:
                link.detach(self._connection, request_id)
        return self._connection.dialect.lower_outcome(record)

    async def _cancel(self, id: TaskId) -> TaskRecord:
        return await self._registry.cancel(id, self._principal, "The task was cancelled by request")

    def _may_list(self) -> None:
        if not self._connection.identified:
            raise MethodNotFound("Tasks cannot be listed: requestors cannot be told apart here")

    # --- answers --------------------------------------------------------------------------------------------------

    def _answer(self, id: RequestId, job: Served | None, result: JSONObject) -> None:
        if self._session.settle(id, job):
            try:
                self._connection.post(Response(id, result), id, written=job is None)
            except (TypeError, ValueError, RecursionError) as error:
                refusal = explain(error, f"the result of request {id!r} is no JSON")
                self._connection.post(ErrorResponse(id, self._dialect.lower_error(refusal)), id)

    def _refuse(self, id: RequestId, job: Served | None, error: Refusal | RequestFailed) -> None:
        if self._session.settle(id, job):
            said = self._dialect.lower_error(error)
            try:
                self._connection.post(ErrorResponse(id, said), id, written=job is None)
            except (TypeError, ValueError, RecursionError) as wrong:
                refusal = explain(wrong, f"the error of request {id!r} is no JSON")
                self._connection.post(ErrorResponse(id, self._dialect.lower_error(refusal)), id)


_BY_ITSELF = frozenset({TaskState.RETURNED, TaskState.RAISED})


async def _around(around: Middleware, context: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
    return await around(context, proceed)


def _what(call: Call) -> str:
    name = call.params.get("name")
    return f"{call.method} of {name!r}" if isinstance(name, str) else call.method
