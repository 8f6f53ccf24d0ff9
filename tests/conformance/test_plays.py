"""What our client plays for the official suite: against servers as the suite has them, and against wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from conformance.fixtures.plays import PLAYS, Surprise, party, play
from mcp_tasks import HANDSHAKE, V2025_11_25, V2026_07_28, Context, Peer, ToolError, serve_http
from mcp_tasks.testing import peer_pair
from mcp_tasks.wire.server_features import CallToolResult

SCHEMA = {"type": "object", "$defs": {"address": {"$anchor": "here"}}, "if": {}, "then": {}, "allOf": [{"anyOf": [{}]}]}
FORM = {
    "type": "object",
    "properties": {"name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30}},
    "required": [],
}


def adding(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    @server.tool
    async def add_numbers(a: float, b: float) -> str:
        told.append((a, b))
        return f"that makes {a + b:g}"

    return server


def asking(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    @server.tool
    async def test_client_elicitation_defaults(ctx: Context) -> str:
        answer = await ctx.elicit("Go on?", FORM)
        told.append(answer.content)
        return str(answer.content)

    return server


def dropping(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    @server.tool
    async def test_reconnection(ctx: Context) -> str:
        told.append("called")
        await ctx.drop_stream(retry=0.01)
        return "here you are"

    return server


def echoing(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    @server.tool(input_schema=SCHEMA)
    async def json_schema_2020_12_tool(ctx: Context, arguments: dict[str, Any]) -> str:
        return "ok"

    @server.tool
    async def json_schema_echo(schema: dict[str, Any]) -> str:
        told.append(schema)
        return "echoed"

    return server


def referring(told: list[Any]) -> Peer:
    return listing(
        told, {"name": "lookup_user", "inputSchema": {"type": "object", "$ref": "http://127.0.0.1:9/schema"}}
    )


def asking_in_rounds(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Go on?", {"confirmed": bool | None})
        told.append(answer.action)
        return "echo-state-ok, no-state-ok"

    async def answer() -> str:
        return "unrelated-ok, no-result-type-test-ok"

    for name in ("test_mrtr_echo_state", "test_mrtr_no_state"):
        server.tool(name=name)(ask)
    for name in ("test_mrtr_unrelated", "test_mrtr_no_result_type"):
        server.tool(name=name)(answer)
    return server


def of_every_kind(told: list[Any]) -> Peer:
    server = Peer("mock", "0")

    async def tool() -> str:
        told.append("tool")
        return "done"

    server.tool(name="test_headers")(tool)
    server.tool(name="my-hyphenated-tool")(tool)

    @server.resource("file:///path/to/file%20name.txt")
    async def resource() -> str:
        told.append("resource")
        return "text"

    @server.prompt
    async def test_prompt() -> str:
        told.append("prompt")
        return "text"

    return server


def mirroring(told: list[Any]) -> Peer:
    marked = {"type": "string", "x-mcp-header": "Region"}
    schema = {"type": "object", "properties": {"region": marked, "verbose": {"type": "boolean"}}}
    return listing(told, {"name": "test_custom_headers", "inputSchema": schema})


def valid(told: list[Any]) -> Peer:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    return listing(told, {"name": "valid_tool", "inputSchema": schema})


def listing(told: list[Any], *tools: dict[str, Any]) -> Peer:
    """A server of tools that are none of ours: nobody checks their schemas, or arguments against them."""
    server = Peer("mock", "0")

    @server.handle("tools/list")
    async def listed(ctx: Context, params: object) -> dict[str, Any]:
        return {"tools": list(tools)}

    @server.handle("tools/call")
    async def called(ctx: Context, params: dict[str, Any]) -> dict[str, Any]:
        told.append(params["arguments"])
        return {"content": [{"type": "text", "text": "done"}]}

    return server


CONTEXT = {"toolCalls": [{"name": "test_custom_headers", "arguments": {"region": "south", "verbose": None}}]}
SERVERS: dict[str, tuple[Callable[[list[Any]], Peer], list[Any]]] = {
    "initialize": (lambda told: Peer("mock", "0"), []),
    "tools_call": (adding, [(5, 3)]),
    "elicitation-sep1034-client-defaults": (asking, [{"name": "John Doe", "age": 30}]),
    "sse-retry": (dropping, ["called"]),
    "json-schema-2020-12-preservation": (echoing, [SCHEMA]),
    "json-schema-ref-no-deref": (referring, []),
    "request-metadata": (lambda told: Peer("mock", "0"), []),
    "sep-2322-client-request-state": (asking_in_rounds, ["accept", "accept"]),
    "http-standard-headers": (of_every_kind, ["tool", "tool", "resource", "prompt"]),
    "http-custom-headers": (mirroring, [{"region": "south", "verbose": None}]),
    "http-invalid-tool-headers": (valid, [{"region": "anywhere"}]),
}
OF_SESSIONS = ["initialize", "elicitation-sep1034-client-defaults", "sse-retry"]
"""Scenarios that the suite has in revisions with a handshake only."""


def in_every_revision(scenarios: Iterable[str]) -> list[tuple[str, str]]:
    revisions = (V2025_11_25.revision, V2026_07_28.revision)
    return [(name, each) for name in scenarios for each in revisions if name not in OF_SESSIONS or each in HANDSHAKE]


@pytest.mark.parametrize(("scenario", "revision"), in_every_revision(PLAYS))
async def test_a_scenario(scenario: str, revision: str) -> None:
    make, expected = SERVERS[scenario]
    told: list[Any] = []
    async with peer_pair(party(), make(told), revision=revision) as pair:
        await PLAYS[scenario](pair.client, CONTEXT)
    assert told == expected


@asynccontextmanager
async def served(scenario: str, told: list[Any]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_http, SERVERS[scenario][0](told)))
        yield server.url
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("scenario", "revision"), in_every_revision(PLAYS))
async def test_a_scenario_over_http(scenario: str, revision: str) -> None:
    told: list[Any] = []
    async with served(scenario, told) as url:
        await play(scenario, url, revision, CONTEXT)
    assert told == SERVERS[scenario][1]


@pytest.mark.parametrize(
    ("scenario", "revision"), [("tools_call", V2025_11_25.revision), ("http-custom-headers", V2026_07_28.revision)]
)
async def test_a_scenario_as_the_suite_has_it_played(
    scenario: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_CONFORMANCE_SCENARIO", scenario)
    monkeypatch.setenv("MCP_CONFORMANCE_PROTOCOL_VERSION", revision)
    if scenario == "http-custom-headers":
        monkeypatch.setenv("MCP_CONFORMANCE_CONTEXT", json.dumps({"name": scenario, **CONTEXT}))
    told: list[Any] = []
    async with served(scenario, told) as url:
        done = await trio.run_process([sys.executable, "-m", "conformance.fixtures.client", url], capture_stdout=True)
    assert done.stdout == f"played {scenario}\n".encode()
    assert told == SERVERS[scenario][1]


async def test_a_server_that_does_not_speak_the_revision() -> None:
    async with served("tools_call", []) as url:
        with pytest.raises(Surprise, match="not 2031-01-01"):
            await play("tools_call", url, "2031-01-01")


@pytest.mark.parametrize("scenario", ["tools_call", "elicitation-sep1034-client-defaults", "sse-retry"])
async def test_a_tool_that_fails_is_no_success(scenario: str) -> None:
    server = Peer("mock", "0")

    async def fail(ctx: Context, arguments: object) -> CallToolResult:
        raise ToolError("no")

    for name in ("add_numbers", "test_client_elicitation_defaults", "test_reconnection"):
        server.tool(name=name, description=name, input_schema={"type": "object"})(fail)
    async with peer_pair(party(), server) as pair:
        with pytest.raises(Surprise, match="'no'"):
            await PLAYS[scenario](pair.client, {})


async def test_a_tool_that_is_not_there() -> None:
    server = Peer("mock", "0")
    server.tool(_nothing)
    async with peer_pair(party(), server) as pair:
        with pytest.raises(Surprise, match="add_numbers"):
            await PLAYS["tools_call"](pair.client, {})


async def test_tools_that_should_not_be_listed() -> None:
    wrong = {"type": "object", "properties": {"region": {"type": "null", "x-mcp-header": "Region"}}}
    server = listing([], {"name": "wrong", "inputSchema": wrong})  # in memory there are no headers, so it is no matter
    async with peer_pair(party(), server) as pair:
        with pytest.raises(Surprise, match="the tools are wrong"):
            await PLAYS["http-invalid-tool-headers"](pair.client, {})


async def _nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize(("scenario", "code"), [("auth/dpop", 1), ("", 2)])
def test_what_is_not_played(scenario: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_CONFORMANCE_SCENARIO", scenario)
    command = [sys.executable, "-X", "importtime", "-m", "conformance.fixtures.client", "http://127.0.0.1:9/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout == ""
    assert "mcp_tasks.peer" not in done.stderr  # it costs no time: all clients of a set are started at once
