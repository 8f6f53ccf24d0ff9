"""What our client plays for the official suite: against servers as the suite has them, and against wrong ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from conformance.fixtures.plays import PLAYS, Surprise, party, play
from mcp_tasks import Context, Peer, ToolError, serve_http
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


SERVERS: dict[str, tuple[Callable[[list[Any]], Peer], list[Any]]] = {
    "initialize": (lambda told: Peer("mock", "0"), []),
    "tools_call": (adding, [(5, 3)]),
    "elicitation-sep1034-client-defaults": (asking, [{"name": "John Doe", "age": 30}]),
    "sse-retry": (dropping, ["called"]),
    "json-schema-2020-12-preservation": (echoing, [SCHEMA]),
}


@pytest.mark.parametrize("scenario", PLAYS)
async def test_a_scenario(scenario: str) -> None:
    make, expected = SERVERS[scenario]
    told: list[Any] = []
    async with peer_pair(party(), make(told)) as pair:
        await PLAYS[scenario](pair.client)
    assert told == expected


@asynccontextmanager
async def served(scenario: str, told: list[Any]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_http, SERVERS[scenario][0](told)))
        yield server.url
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scenario", PLAYS)
async def test_a_scenario_over_http(scenario: str) -> None:
    told: list[Any] = []
    async with served(scenario, told) as url:
        await play(scenario, url)
    assert told == SERVERS[scenario][1]


async def test_a_scenario_as_the_suite_has_it_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_CONFORMANCE_SCENARIO", "tools_call")
    monkeypatch.setenv("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    told: list[Any] = []
    async with served("tools_call", told) as url:
        done = await trio.run_process([sys.executable, "-m", "conformance.fixtures.client", url], capture_stdout=True)
    assert done.stdout == b"played tools_call\n"
    assert told == [(5, 3)]


@pytest.mark.parametrize("scenario", ["tools_call", "elicitation-sep1034-client-defaults", "sse-retry"])
async def test_a_tool_that_fails_is_no_success(scenario: str) -> None:
    server = Peer("mock", "0")

    async def fail(ctx: Context, arguments: object) -> CallToolResult:
        raise ToolError("no")

    for name in ("add_numbers", "test_client_elicitation_defaults", "test_reconnection"):
        server.tool(name=name, description=name, input_schema={"type": "object"})(fail)
    async with peer_pair(party(), server) as pair:
        with pytest.raises(Surprise, match="'no'"):
            await PLAYS[scenario](pair.client)


async def test_a_tool_that_is_not_there() -> None:
    server = Peer("mock", "0")
    server.tool(_nothing)
    async with peer_pair(party(), server) as pair:
        with pytest.raises(Surprise, match="add_numbers"):
            await PLAYS["tools_call"](pair.client)


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
