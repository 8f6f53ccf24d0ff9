"""Spans of OpenTelemetry for what a peer serves and asks: ``instrument(peer)``. Needs the extra ``otel``.

A request that is served gets a span whose parent is the one named in its ``_meta``; what its handler asks for gets
spans below that, whose names go along. Attributes are those of the semantic conventions for MCP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach, detach
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._unset import JSONObject
from ._version import __version__
from .peer.contexts import Context
from .peer.peer import Peer
from .trace import current_trace, trace_of, tracing
from .wire.server_features import CallToolResult

__all__ = ["instrument"]

_PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def instrument(peer: Peer, tracer_provider: TracerProvider | None = None) -> None:
    """Have a peer make spans, of `tracer_provider` or of the global one. Call it once, before the peer is at work."""
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
