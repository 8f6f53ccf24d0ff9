"""A transcript is replayed as either side: against the same program nothing differs, against another one it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from mcp_tasks import ConnectionClosed, Context, LineTransport, Peer
from mcp_tasks.recording import Replayed, Transcript, parse_transcript, replay
from mcp_tasks.testing import Frame, LineWire, Side, scripted
from mcp_tasks.wire.client_features import ElicitFormParams

ERAS = ["2025-11-25", "2026-07-28"]


def server(name: str = "Ada", *, extra: bool = False) -> Peer:
    peer = Peer("server", "1.0")

    @peer.tool(task="optional", grace=0)
    async def build(ctx: Context) -> str:
        await trio.sleep(1)
        answer = await ctx.elicit("Build what?", {"target": str})
        if extra:
            await ctx.elicit("Really?", {"sure": str})
        return f"{name} built {answer['target']}"

    return peer


def client(target: str = "a boat") -> Peer:
    peer = Peer("client", "1.0")

    @peer.elicitation
    async def ask(ctx: Context, form: ElicitFormParams) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return dict.fromkeys(form.requested_schema["properties"], target)

    return peer


async def call(connection: Any) -> str:
    return (await connection.call_tool("build")).text


@asynccontextmanager
async def served(peer: Peer) -> AsyncIterator[LineWire]:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, LineTransport(theirs, theirs))
        yield LineWire(Side.CLIENT, ours, ours, nursery)
        nursery.cancel_scope.cancel()


async def recorded(revision: str) -> Transcript:
    """A call of a tool that asks midway, as a proxy would have seen it."""
    frames: list[Frame] = []
    there, back = memory_stream_pair(), memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server().serve, LineTransport(there[1], there[1]))
        to_server = LineWire(Side.CLIENT, there[0], there[0], nursery)
        to_client = LineWire(Side.SERVER, back[0], back[0], nursery)

        async def carry(source: LineWire, target: LineWire) -> None:
            with suppress(ConnectionClosed):
                while True:
                    frame = await source.receive()
                    frames.append(frame)
                    await target.send(frame.message)

        nursery.start_soon(carry, to_server, to_client)
        nursery.start_soon(carry, to_client, to_server)
        async with (
            client().connect(LineTransport(back[1], back[1]), revision=revision) as connection,
            connection.start("tools/call", {"name": "build", "arguments": {}}) as task,
        ):
            assert "Ada built a boat" in str(await task.result())
        nursery.cancel_scope.cancel()
    return parse_transcript(Transcript(frames).text())


@pytest.mark.parametrize("revision", ERAS)
async def test_as_the_client_against_the_same_server(revision: str, autojump_clock: object) -> None:
    transcript = await recorded(revision)
    async with served(server()) as wire:
        found = await replay(transcript, wire)
    assert found.same, found.differences
    assert found.sent >= 4
    assert found.matched >= 3


@pytest.mark.parametrize("revision", ERAS)
async def test_as_the_client_against_another_server(revision: str, autojump_clock: object) -> None:
    transcript = await recorded(revision)
    async with served(server("Bob")) as wire:
        found = await replay(transcript, wire)
    assert found.differences
    for difference in found.differences:  # in the later era the result is pushed besides
        assert difference.what == "differs"
        assert any("'Ada built a boat', is 'Bob built a boat'" in detail for detail in difference.details)
    assert "then:" in str(difference)
    assert "now:" in str(difference)


@pytest.mark.parametrize("revision", ERAS)
async def test_a_server_that_asks_more_than_it_did(revision: str, autojump_clock: object) -> None:
    transcript = await recorded(revision)
    async with served(server(extra=True)) as wire:
        found = await replay(transcript, wire)
    assert not found.same


async def as_server(transcript: Transcript, peer: Peer, revision: str) -> tuple[Replayed, str]:
    ours, theirs = memory_stream_pair()
    results: list[Any] = []
    async with trio.open_nursery() as nursery:
        wire = LineWire(Side.SERVER, ours, ours, nursery)

        async def run() -> None:
            async with (
                peer.connect(LineTransport(theirs, theirs), revision=revision) as connection,
                connection.start("tools/call", {"name": "build", "arguments": {}}) as task,
            ):
                results.append(await task.result())

        nursery.start_soon(run)
        found = await replay(transcript, wire)
    return found, str(results)


@pytest.mark.parametrize("revision", ERAS)
async def test_as_the_server_against_the_same_client(revision: str, autojump_clock: object) -> None:
    found, result = await as_server(await recorded(revision), client(), revision)
    assert found.same, found.differences
    assert "Ada built a boat" in result


@pytest.mark.parametrize("revision", ERAS)
async def test_as_the_server_against_another_client(revision: str, autojump_clock: object) -> None:
    found, _ = await as_server(await recorded(revision), client("a plane"), revision)
    assert any("is 'a plane'" in detail for difference in found.differences for detail in difference.details)


async def test_a_server_that_is_gone(autojump_clock: object) -> None:
    transcript = await recorded("2025-11-25")
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    async with trio.open_nursery() as nursery:
        found = await replay(transcript, LineWire(Side.CLIENT, ours, ours, nursery))
    assert {difference.what for difference in found.differences} == {"did not come"}


async def test_a_script_can_be_recorded(make_peer: Any, autojump_clock: object) -> None:
    peer = server()
    async with scripted(peer) as remote:
        assert "tools" in await remote.request("tools/list")
        transcript = Transcript(remote.wire.frames)
    async with served(server()) as wire:
        assert (await replay(transcript, wire)).same
