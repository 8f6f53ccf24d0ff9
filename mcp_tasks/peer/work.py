"""Running a handler, and what becomes of its result: the same for a request, for a task, and for a task run again.

What is served is in the handler table; nothing here needs a connection. What a task was made of is kept with its record
as an *origin*: the parameters, which side was asked, and on what terms. With that, a later process can run its handler
again, on behalf of a requestor that may not be there yet.

Spec: 2025-11-25 basic/utilities/tasks; SEP-2663.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._unset import JSONObject, TaskId
from ..codec.messages import MessageCodec
from ..codec.shapes import ShapeCodec
from ..dialects.base import Capabilities, Dialect, Side, Terms
from ..dialects.select import DIALECTS
from ..errors import (
    CapabilityMissing,
    CapabilityRequired,
    InternalError,
    InvalidShape,
    MCPError,
    Refusal,
    RequestFailed,
)
from ..tasks.model import Call, TaskRecord
from ..tasks.registry import Revived, Work
from ..tasks.state import TaskState
from ..trace import trace_of, tracing
from ..wire.capabilities import ClientCapabilities, Implementation, ServerCapabilities
from ..wire.jsonrpc import Request, Response
from .contexts import Context
from .deliveries import TaskDelivery
from .handlers import Handler, HandlerTable, Middleware
from .links import Link

if TYPE_CHECKING:
    from .connection import Connection
    from .peer import Peer

__all__ = [
    "explain",
    "handler_work",
    "lower_returned",
    "origin_of",
    "revive",
    "run_handler",
    "task_work",
    "tell",
]

logger = logging.getLogger("mcp_tasks.peer")

_CODEC: Final = MessageCodec()
_SHAPES: Final = ShapeCodec()  # of what is kept, which no revision has a say in
_BY_ITSELF: Final = frozenset({TaskState.RETURNED, TaskState.RAISED})


def explain(error: BaseException, what: str, terms: Terms | None = None) -> Refusal | RequestFailed:
    """The error that an exception is answered with; one that was not meant for the other side is logged."""
    if isinstance(error, (Refusal, RequestFailed)):
        return error
    if isinstance(error, CapabilityMissing) and error.required and terms is not None and terms.dialect.stateless:
        return CapabilityRequired(str(error), error.required)  # C26-059
    reference = secrets.token_hex(4)
    logger.error("%s: unexpected exception, reference %s", what, reference, exc_info=error)
    return InternalError(f"Internal error (reference {reference})")


def run_handler(table: HandlerTable, handler: Handler, context: Context, params: Any) -> Awaitable[Any]:
    """Run a handler, and whatever has been put around all of them, as part of the trace that the request is."""
    if trace := trace_of(context.meta):
        return _traced(trace, table, handler, context, params)
    return _proceed(table, handler, context, params)


async def _traced(
    trace: Mapping[str, str], table: HandlerTable, handler: Handler, context: Context, params: Any
) -> Any:
    with tracing(trace):
        return await _proceed(table, handler, context, params)


def _proceed(table: HandlerTable, handler: Handler, context: Context, params: Any) -> Awaitable[Any]:
    if not table.middleware:
        return handler.run(context, params)
    proceed: Callable[[], Awaitable[Any]] = partial(handler.run, context, params)
    for around in reversed(table.middleware):
        proceed = partial(_around, around, context, proceed)
    return proceed()


async def _around(around: Middleware, context: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
    return await around(context, proceed)


def lower_returned(method: str, result: Any, related: TaskId | None, dialect: Dialect) -> JSONObject:
    """What a handler returned, as JSON. Raises TypeError if that is not what the method promises."""
    try:
        return dialect.lower_result(method, result, related)
    except InvalidShape as wrong:
        raise TypeError(f"the handler of {method} returned a wrong result: {wrong}") from None


# --- tasks ------------------------------------------------------------------------------------------------------------


def handler_work(
    table: HandlerTable, handler: Handler, call: Call, params: Any, context: Context, terms: Terms
) -> Work:
    """The work of a task that a handler is run for."""

    async def work() -> JSONObject:
        result = await run_handler(table, handler, context, params if handler.lifted else call.params)
        return lower_returned(call.method, result, None, terms.dialect)

    return work


def task_work(peer: Peer, id: TaskId, method: str, terms: Terms, work: Work) -> Work:
    """The same as the registry has it: what it ends with is what its requestor is to hear, and can be sent."""

    async def settled() -> JSONObject:
        try:
            result = await work()
            _CODEC.encode(Response(0, result))
            return result
        except MCPError as error:
            raise explain(error, method, terms) from None
        finally:
            peer.links.pop(id, None)

    return settled


def tell(peer: Peer, link: Link, record: TaskRecord, made_on: Connection | None = None) -> None:
    """Tell the requestor of a task that it has changed, if it is there to be told. `made_on` is where it was made."""
    if record.settled:
        peer.links.pop(record.id, None)
    try:
        connection = link.connection
        # A task that ended by itself did so in a worker, which writes when it has nothing more to do.
        written = record.state not in _BY_ITSELF or connection is not made_on or bool(peer.home)
        related_to = link.related_to
        if record.settled and related_to is not None and not connection.transport.began(related_to):
            related_to = None  # whoever waits for the result sees by the answer that it is over
        connection.post(connection.dialect.task_notification(record), related_to, written=written)
    except MCPError:
        logger.debug("task %s: nobody to tell of %s", record.id, record.state.value)


# --- once more --------------------------------------------------------------------------------------------------------


def origin_of(call: Call, side: Side, terms: Terms) -> JSONObject:
    """What it takes to run a call again in another process."""
    origin: JSONObject = {
        "revision": terms.dialect.revision,
        "side": side.value,
        "params": call.params,
        "capabilities": _SHAPES.lower(terms.capabilities),
    }
    if terms.info is not None:
        origin["info"] = _SHAPES.lower(terms.info)
    if terms.log_level is not None:
        origin["log_level"] = terms.log_level
    return origin


def _terms_of(origin: JSONObject, side: Side) -> Terms:
    theirs: type[Capabilities] = ClientCapabilities if side is Side.SERVER else ServerCapabilities
    info = origin.get("info")
    return Terms(
        dialect=DIALECTS[origin["revision"]],
        capabilities=_SHAPES.lift(origin["capabilities"], theirs),
        info=None if info is None else _SHAPES.lift(info, Implementation),
        log_level=origin.get("log_level"),
    )


def revive(peer: Peer, record: TaskRecord) -> Revived | None:
    """What is done for a task that another process has made or left unfinished; None if it is not to be run.

    Raises whatever shows that it cannot be: the revision is no longer spoken, say, or the tool has gone.
    """
    origin, method = record.origin, record.method
    if origin is None:
        return None
    side = Side(origin["side"])
    terms = _terms_of(origin, side)
    call = terms.dialect.lift_request(Request(0, method, origin["params"]), side, frozenset({method}))
    handler = peer.table.requests.get(method)
    if not isinstance(call, Call) or handler is None:
        return None
    params = terms.dialect.lift_params(method, call.params)
    if record.runs and not handler.restarts(params):
        return None
    link = Link(None)
    delivery = TaskDelivery(peer.tasks, record.id, link, terms, side)
    work = handler_work(peer.table, handler, call, params, Context(call, record.principal, delivery), terms)
    peer.table.made_tasks.add(method)
    peer.links[record.id] = link
    dismiss = partial(peer.links.pop, record.id, None)
    return Revived(task_work(peer, record.id, method, terms, work), partial(tell, peer, link), dismiss)
