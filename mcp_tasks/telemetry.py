"""OpenTelemetry for what a peer serves and asks, and for its tasks: ``instrument(peer)``. Needs the extra ``otel``.

A request that is served gets a span whose parent is the one named in its ``_meta``; what its handler asks for gets
spans below that, whose names go along. Attributes are those of the semantic conventions for MCP.

Of its tasks there are instruments, for as long as the peer is open:

==========================  ==================  =======================================================================
``mcp_tasks.running``       gauge, {task}       tasks whose work goes on
``mcp_tasks.running.here``  gauge, {task}       of these, those in this process
``mcp_tasks.queued``        gauge, {task}       tasks that wait for a worker
``mcp_tasks.overdue``       gauge, {task}       tasks whose worker has not been heard of, and that nobody has taken over
``mcp_tasks.oldest.age``    gauge, s            how long ago the oldest unfinished task was created; 0 if there is none
``mcp_tasks.lease.losses``  counter, {loss}     how often nothing was heard of a worker for too long
==========================  ==================  =======================================================================

Where processes share a store, all but the second are of all of them together, and each process says the same. While
the store is away nothing is said.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import trio
from opentelemetry import metrics, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach, detach
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._unset import JSONObject
from ._version import __version__
from .errors import StoreFailed
from .peer.contexts import Context
from .peer.peer import Peer
from .trace import current_trace, trace_of, tracing
from .wire.server_features import CallToolResult

__all__ = ["instrument"]

logger = logging.getLogger("mcp_tasks.tasks")

_SECONDS = 10.0
_PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def instrument(
    peer: Peer,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    seconds: float = _SECONDS,
) -> None:
    """Have a peer make spans and say how its tasks are doing, by these providers or by the global ones.

    How tasks are doing is looked at every so many `seconds`. Call it once, before the peer is at work.
    """
    _trace(peer, tracer_provider)
    _measure(peer, meter_provider, seconds)


def _trace(peer: Peer, tracer_provider: TracerProvider | None) -> None:
    tracer = trace.get_tracer("mcp_tasks", __version__, tracer_provider)

    @peer.middleware
    async def serve(ctx: Context, proceed: Callable[[], Awaitable[Any]]) -> Any:
        parent = _PROPAGATOR.extract(dict(trace_of(ctx.meta)))
        attributes = _attributes(ctx.method, ctx.params) | {"mcp.protocol.version": ctx.revision}
        # Attached as a whole: a span alone would leave the baggage behind.
        token = attach(parent)
        try:
            with tracer.start_as_current_span(
                _name(ctx.method, ctx.params), kind=SpanKind.SERVER, attributes=attributes
            ) as span:
                with tracing(_carried(None)):
                    result = await proceed()
                if isinstance(result, CallToolResult) and result.is_error is True:
                    span.set_status(Status(StatusCode.ERROR))
                    span.set_attribute("error.type", "tool_error")
                return result
        finally:
            detach(token)

    @contextmanager
    def ask(method: str, params: JSONObject) -> Iterator[Mapping[str, str]]:
        span_context = trace.get_current_span().get_span_context()
        parent = None if span_context.is_valid else _PROPAGATOR.extract(dict(current_trace()))
        with tracer.start_as_current_span(
            _name(method, params), parent, kind=SpanKind.CLIENT, attributes=_attributes(method, params)
        ):
            yield _carried(None)

    peer.calling = ask


def _measure(peer: Peer, meter_provider: MeterProvider | None, seconds: float) -> None:
    meter = metrics.get_meter("mcp_tasks", __version__, meter_provider)
    latest: dict[str, float] = {}  # what is asked for by some thread, and may not be looked for there

    @peer.background
    async def look() -> None:
        try:
            while True:
                try:
                    latest.update(await _doing(peer))
                except StoreFailed:
                    logger.info("how tasks are doing cannot be said now")
                    latest.clear()
                await trio.sleep(seconds)
        finally:
            latest.clear()

    def say(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: [Observation(latest[name])] if name in latest else []

    for name, unit, what in (
        ("running", "{task}", "Tasks whose work goes on"),
        ("running.here", "{task}", "Tasks whose work goes on in this process"),
        ("queued", "{task}", "Tasks that wait for a worker"),
        ("overdue", "{task}", "Tasks whose worker has not been heard of, and that nobody has taken over"),
        ("oldest.age", "s", "How long ago the oldest unfinished task was created"),
    ):
        meter.create_observable_gauge(f"mcp_tasks.{name}", [say(name)], unit, what)
    meter.create_observable_counter(
        "mcp_tasks.lease.losses",
        [say("lease.losses")],
        "{loss}",
        "How often nothing was heard of a worker for too long",
    )


async def _doing(peer: Peer) -> dict[str, float]:
    tasks = peer.tasks
    here = tasks.live
    if tasks.shared is None:
        oldest = min((live.record.created_at for live in tasks.lives.values()), default=None)
        queued, running, overdue, losses = 0, here, 0, 0
    else:
        stats = await tasks.shared.stats()
        oldest, queued, running = stats.oldest, stats.queued, stats.running
        overdue, losses = stats.overdue, stats.lease_losses
    return {
        "running": running,
        "running.here": here,
        "queued": queued,
        "overdue": overdue,
        "oldest.age": 0.0 if oldest is None else max(0.0, tasks.clock.now() - oldest),
        "lease.losses": losses,
    }


def _carried(context: TraceContext | None) -> Mapping[str, str]:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return carrier


def _name(method: str, params: Mapping[str, Any]) -> str:
    name = params.get("name")
    return f"{method} {name}" if isinstance(name, str) else method


def _attributes(method: str, params: Mapping[str, Any]) -> dict[str, str]:
    attributes = {"mcp.method.name": method}
    name = params.get("name")
    if isinstance(name, str) and method == "tools/call":
        attributes["gen_ai.tool.name"] = name
    elif isinstance(name, str) and method == "prompts/get":
        attributes["gen_ai.prompt.name"] = name
    uri = params.get("uri")
    if isinstance(uri, str):
        attributes["mcp.resource.uri"] = uri
    return attributes
