"""Scripts over real pipes and real HTTP: as a client of a server, and as a server of a client."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from mcp_tasks import ConnectionClosed, Context, Peer, open_http, open_stdio, serve_http
from mcp_tasks.testing import (
    HttpClientWire,
    HttpServerWire,
    NothingCame,
    Remote,
    Reorder,
    Split,
    script_client,
    script_server,
    scripted,
)
from mcp_tasks.wire.client_features import ElicitFormParams

FORGE = [sys.executable, str(Path(__file__).parents[3] / "examples" / "forge.py")]
ERAS = ["2025-11-25", "2026-07-28"]
TOOL = {"name": "greet", "inputSchema": {"type": "object"}}
HELLO = {"content": [{"type": "text", "text": "hello"}]}


@asynccontextmanager
async def serving(make_peer: Callable[..., Peer]) -> AsyncIterator[str]:
    peer = make_peer("server")

    @peer.tool(task="optional", grace=0)
    async def build(ctx: Context) -> str:
        await ctx.progress(1, total=2)
        answer = await ctx.elicit("Build what?", {"target": str})
        return f"built {answer['target']}"

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_http, peer))
        yield server.url
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("revision", ERAS)
async def test_a_server_over_stdio(revision: str) -> None:
    async with script_server(FORGE, revision=revision) as client:
        tools = (await client.request("tools/list"))["tools"]
        assert "build" in [tool["name"] for tool in tools]


async def test_a_server_that_cannot_be_started() -> None:
    with pytest.raises(OSError, match="cannot start the process"):
        async with script_server(["/no/such/program"]):
            raise AssertionError("it could")


async def test_a_server_that_ends() -> None:
    with pytest.raises(ConnectionClosed, match="exited with status 3"):
        async with script_server([sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"]):
            raise AssertionError("it did not")


async def test_a_server_over_http_with_a_session(make_peer: Callable[..., Peer]) -> None:
    """A question comes by the stream of the call, progress before it; headers and exchanges can be looked at."""
    async with serving(make_peer) as url, script_server(url) as client:
        wire = client.wire
        assert isinstance(wire, HttpClientWire)
        assert wire.session_id is not None
        call = {"name": "build", "arguments": {}, "_meta": {"progressToken": "p"}}
        id = await client.ask("tools/call", call)
        assert (await client.expect("notifications/progress"))["params"]["progress"] == 1
        question = await client.expect("elicitation/create", {"message": str})
        frame = client.frame_of(question)
        assert (frame.status, frame.verb) == (200, "POST")
        assert frame.headers["content-type"].startswith("text/event-stream")
        await client.reply(question, {"action": "accept", "content": {"target": "a boat"}})
        assert (await client.answer(id))["content"][0]["text"] == "built a boat"
        gone = wire.delete()
        await gone.ended.wait()
        assert gone.status == 204
        refused = wire.post({"jsonrpc": "2.0", "id": 9, "method": "ping"})
        await refused.ended.wait()
        assert refused.status == 404


async def test_a_server_over_http_without_one(make_peer: Callable[..., Peer]) -> None:
    async with serving(make_peer) as url, script_server(url, revision="2026-07-28") as client:
        created = await client.request("tools/call", {"name": "build", "arguments": {}})
        assert created["resultType"] in ("task", "input_required")
        wire = client.wire
        assert isinstance(wire, HttpClientWire)
        params = {"_meta": client.stamp, "name": "build", "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}
        wrong = wire.post(message, headers={"mcp-name": "another"})
        await wrong.ended.wait()
        assert wrong.status == 400
        without = wire.post(message, headers={"mcp-method": None})
        await without.ended.wait()
        assert without.status == 400


async def test_a_stream_that_is_cut(make_peer: Callable[..., Peer]) -> None:
    async with serving(make_peer) as url, script_server(url) as client:
        assert isinstance(client.wire, HttpClientWire)
        await client.ask("tools/call", {"name": "build", "arguments": {}})
        await client.expect("elicitation/create")
        streaming = [one for one in client.wire.exchanges if one.streams and not one.ended.is_set()]
        for one in streaming:
            one.cut()
            await one.ended.wait()
        assert await client.request("ping") == {}


async def greeting(server: Remote, connect: Any, revision: str) -> None:
    cache = {"ttlMs": 0, "cacheScope": "private"}
    kind = {"resultType": "complete"} if revision == "2026-07-28" else {}
    server.on("tools/list", {"tools": [TOOL], **kind, **(cache if kind else {})})
    server.on("tools/call", {**HELLO, **kind})
    peer = Peer("mine", "1.0")

    @peer.elicitation
    async def ask(ctx: Context, form: ElicitFormParams) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {}

    async with connect() as transport, peer.connect(transport, revision=revision) as connection:
        assert (await connection.call_tool("greet")).text == "hello"
        if revision == "2025-11-25":
            await server.send({"jsonrpc": "2.0", "id": "q", "method": "ping"})
            assert (await server.response("q"))["result"] == {}


@pytest.mark.parametrize("revision", ERAS)
async def test_a_client_over_stdio(revision: str) -> None:
    async with script_client("stdio", revision=revision) as server:
        await greeting(server, lambda: open_stdio(server.command), revision)
        with pytest.raises(AttributeError):
            _ = server.url


@pytest.mark.parametrize("revision", ERAS)
@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("listens", [False, True])
async def test_a_client_over_http(revision: str, events: bool, listens: bool) -> None:
    async with script_client("http", revision=revision) as server:
        assert isinstance(server.wire, HttpServerWire)
        server.wire.events, server.wire.listens = events, listens
        if not listens and revision == "2025-11-25":
            await _asked_by_the_stream_of_a_call(server)
        else:
            await greeting(server, lambda: open_http(server.url, trust_env=False), revision)
        with pytest.raises(AttributeError):
            _ = server.command


async def _asked_by_the_stream_of_a_call(server: Remote) -> None:
    """Where nobody listens, the server's requests go along with an open one of the client's."""
    server.on("tools/list", {"tools": [TOOL]})
    async with (
        open_http(server.url, trust_env=False) as transport,
        Peer("mine", "1.0").connect(transport, revision="2025-11-25") as connection,
        trio.open_nursery() as nursery,
    ):
        texts: list[str] = []

        async def call() -> None:
            texts.append((await connection.call_tool("greet")).text)

        nursery.start_soon(call)
        request = await server.expect("tools/call")
        await server.send({"jsonrpc": "2.0", "id": "q", "method": "ping"})
        assert (await server.response("q"))["result"] == {}
        await server.reply(request, HELLO)
    assert texts == ["hello"]


async def test_what_does_not_come_in_time() -> None:
    async with script_client("stdio", patience=0.01) as server:
        with pytest.raises(NothingCame, match="waited for a tools/call"):
            await server.expect("tools/call")


async def test_what_a_target_has_no_use_for() -> None:
    for target, options in (
        (FORGE, {"headers": {}}),
        ("http://127.0.0.1:9", {"env": {}}),
        ("http://x", {"fault": Split(1)}),
    ):
        with pytest.raises(ValueError, match="are for servers that are"):
            async with script_server(target, **options):  # type: ignore[arg-type]
                raise AssertionError("it could")


@pytest.mark.parametrize("what", ["nobody starts", "nobody ends"])
async def test_patience_ends(what: str) -> None:
    async with script_client("stdio", patience=0.01) as server:
        with pytest.raises(NothingCame):
            await (server.notify("x") if what == "nobody starts" else server.ended())


async def test_a_program_that_does_not_read() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    async with script_server(command, handshake=False, patience=0.1) as client:
        with pytest.raises(NothingCame, match="somebody who takes what is sent"):
            await client.send_raw(b"x" * 10_000_000)


HALF_CLOSES = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "x"}\\n')
server.stdin.close()
print(server.stdout.readline().decode())
"""


async def test_a_client_that_says_no_more_can_still_listen() -> None:
    async with script_client("stdio") as server:
        command = [sys.executable, "-c", HALF_CLOSES.replace("\\\\n", "\\n"), *server.command]
        async with trio.open_nursery() as nursery:
            done: list[bytes] = []

            async def run() -> None:
                done.append((await trio.run_process(command, capture_stdout=True)).stdout)

            nursery.start_soon(run)
            request = await server.expect("x")
            await server.reply(request, {"heard": True})
        assert b'"heard": true' in done[0]


async def test_lines_change_places_once_hands_are_shaken(
    make_peer: Callable[..., Peer], autojump_clock: object
) -> None:
    async with scripted(make_peer(), fault=Reorder()) as client:
        first = await client.ask("ping")
        second = await client.ask("ping")
        await client.response(first)
        await client.response(second)
        assert [message["id"] for message in client.received[-2:]] == [second, first]
