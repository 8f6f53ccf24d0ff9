"""The trace of a request goes to its handler and to what that asks, in both eras; OpenTelemetry makes spans of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from mcp_tasks import Context, Peer, ToolError
from mcp_tasks.telemetry import instrument
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.trace import current_trace, tracing

MakePeer = Callable[..., Peer]

TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "baggage": "user=ada",
}
REVISIONS = ["2025-11-25", "2026-07-28"]


def asking(make_peer: MakePeer, seen: list[Any]) -> Peer:
    peer = make_peer("server")

    @peer.tool(task="optional")
    async def ask(ctx: Context) -> str:
        seen.append(dict(current_trace()))
        answer = await ctx.elicit("Who?", {"name": str})
        return f"hi {answer['name']}"

    @peer.tool
    async def fail() -> str:
        raise ToolError("no")

    return peer


@pytest.mark.requirement("C26-065")
@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("task", [False, True])
async def test_from_the_caller_to_the_handler_to_what_it_asks(
    make_peer: MakePeer, revision: str, task: bool, autojump_clock: object
) -> None:
    seen: list[Any] = []
    client = make_peer("client")

    @client.elicitation
    async def answer(ctx: Context, form: Any) -> dict[str, str]:
        seen.append({name: ctx.meta.get(name) for name in TRACE})
        seen.append(dict(current_trace()))
        return {"name": "Ada"}

    async with peer_pair(client, asking(make_peer, seen), revision=revision) as pair:
        with tracing(TRACE):
            assert (await pair.client.call_tool("ask", task=task)).text == "hi Ada"
        assert (await pair.client.call_tool("fail")).is_error
    assert len(seen) >= 3
    assert all(trace == TRACE for trace in seen)


@pytest.mark.requirement("C26-052", "C26-065")
async def test_what_is_no_trace_is_let_be(make_peer: MakePeer) -> None:
    seen: list[Any] = []
    async with scripted(asking(make_peer, seen), revision="2026-07-28") as remote:
        meta = {"traceparent": 5, "tracestate": None, "com.example/x": "y"}
        await remote.request("tools/call", {"name": "ask", "_meta": meta})
    assert seen == [{}]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_spans(make_peer: MakePeer, revision: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client, server = make_peer("client"), asking(make_peer, [])
    for peer in (client, server):
        instrument(peer, provider)

    @client.elicitation
    async def answer(ctx: Context, form: Any) -> dict[str, str]:
        return {"name": "Ada"}

    async with peer_pair(client, server, revision=revision) as pair:
        exporter.clear()
        await pair.client.call("tools/call", {"name": "ask"})
        spans = exporter.get_finished_spans()
        by_id = {span.context.span_id: span for span in spans}
        for span in spans:
            above = None if span.parent is None else by_id[span.parent.span_id]
            if span.kind is SpanKind.SERVER and span.name == "tools/call ask":
                assert (above.kind, above.name) == (SpanKind.CLIENT, "tools/call ask")
                assert span.attributes["gen_ai.tool.name"] == "ask"
                assert span.attributes["mcp.protocol.version"] == revision
        served = [span for span in spans if span.kind is SpanKind.SERVER]
        assert [span.name for span in served if span.name.startswith("elicitation")] == ["elicitation/create"]
        assert len({span.context.trace_id for span in spans if span.parent is not None}) <= 2

        exporter.clear()
        await pair.client.call("tools/call", {"name": "fail"})
        (failed,) = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
        assert failed.status.status_code is StatusCode.ERROR


async def test_how_tasks_are_doing(make_peer: MakePeer, autojump_clock: object) -> None:
    reader = InMemoryMetricReader()
    server = make_peer("server")

    @server.tool(task="required")
    async def wait() -> None:
        await trio.sleep_forever()

    instrument(server, meter_provider=MeterProvider([reader]), seconds=5)
    assert measured(reader) == {}, "it is not open"
    async with server, scripted(server, revision="2026-07-28", principal="ada") as client:
        id = (await client.request("tools/call", {"name": "wait", "arguments": {}}))["taskId"]
        await trio.sleep(7)
        now = {"running": 1, "running.here": 1, "queued": 0, "overdue": 0, "oldest.age": 5, "lease.losses": 0}
        assert measured(reader) == {f"mcp_tasks.{name}": value for name, value in now.items()}
        await client.request("tasks/cancel", {"taskId": id})
        await trio.sleep(5)
        assert measured(reader) == {f"mcp_tasks.{name}": 0 for name in now}
    assert measured(reader) == {}


def measured(reader: InMemoryMetricReader) -> dict[str, float]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    metrics = [one for of in data.resource_metrics for scope in of.scope_metrics for one in scope.metrics]
    return {one.name: point.value for one in metrics for point in one.data.data_points}  # type: ignore[union-attr]
