"""The trace that a piece of work belongs to, on its way from who asked for it to whom it asks.

Three members of ``_meta`` have the names and formats of W3C Trace Context and Baggage. Whoever serves a request carries
on what it came with, in a context variable, and every request made meanwhile takes it along. What it means is for
others to know, `mcp_tasks.telemetry` for one.

Spec: 2026-07-28 basic/index "_meta" (C26-065).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["TRACE_MEMBERS", "current_trace", "trace_of", "tracing"]

TRACE_MEMBERS: Final = ("traceparent", "tracestate", "baggage")

_NOTHING: Final[Mapping[str, str]] = {}
_current: ContextVar[Mapping[str, str]] = ContextVar("mcp_tasks_trace", default=_NOTHING)


def trace_of(meta: Mapping[str, Any]) -> Mapping[str, str]:
    """The trace that a request's ``_meta`` speaks of; empty if it speaks of none."""
    if not meta:
        return _NOTHING
    return {name: meta[name] for name in TRACE_MEMBERS if isinstance(meta.get(name), str)}


def current_trace() -> Mapping[str, str]:
    """The trace that is carried on here."""
    return _current.get()


@contextmanager
def tracing(trace: Mapping[str, str]) -> Iterator[None]:
    """A block that carries on this trace."""
    before = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(before)
