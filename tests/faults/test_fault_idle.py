"""A thousand sessions that do nothing, with and without a stream open: alive, and gone when their time is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from mcp_tasks import HttpLimits, Peer

from ._wire import Line, Script, endpoint_of, scripting, serving, settled, text_of, until

MakePeer = Callable[..., Peer]
MANY = 1000
LIMITS = HttpLimits(session_idle_seconds=3600, keep_alive_seconds=15)


def offering(make_peer: MakePeer) -> Peer:
    peer = make_peer()

    @peer.tool
    async def echo(text: str) -> str:
        return text

    return peer


async def many(url: str) -> list[Script]:
    """A thousand sessions, by one connection after the other."""
    scripts = [Script(url) for _ in range(MANY)]
    for script in scripts:
        await script.open()
        await script.aclose()
    return scripts


@pytest.mark.requirement("C25-122", "C25-124", "C25-128", "C25-129")
async def test_without_streams(make_peer: MakePeer, mock_clock: MockClock) -> None:
    peer = offering(make_peer)
    async with serving(peer, http_limits=LIMITS) as server:
        endpoint = endpoint_of(server)
        tasks = trio.lowlevel.current_statistics().tasks_living
        scripts = await many(server.url)
        assert len({script.session_id for script in scripts}) == MANY
        mock_clock.jump(3000)
        await settled()
        assert len(endpoint.sessions) == len(peer.connections) == MANY
        assert all("!" <= letter <= "~" for script in scripts for letter in script.session_id or "")
        for script in scripts[::2]:
            assert text_of(await script.tool("echo", text="alive")) == "alive"
            await script.aclose()
        mock_clock.jump(700)  # those that were not used are over
        await until(lambda: len(endpoint.sessions) == MANY // 2)
        await until(lambda: len(peer.connections) == MANY // 2)
        assert (await scripts[1].ask("ping")).status == 404
        assert (await scripts[0].ask("ping")).status == 200
        mock_clock.jump(3700)
        await until(lambda: not endpoint.sessions and not peer.connections)
        assert {(await script.ask("ping")).status for script in scripts[:20]} == {404}
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)
        assert not server.connections


@pytest.mark.requirement("C25-101", "C25-106", "C25-109", "C25-129")
async def test_with_streams(make_peer: MakePeer, mock_clock: MockClock) -> None:
    """A session that listens is in use, however long; once it no longer does its time begins."""
    peer = offering(make_peer)
    async with serving(peer, http_limits=LIMITS) as server:
        endpoint = endpoint_of(server)
        tasks = trio.lowlevel.current_statistics().tasks_living
        scripts = await many(server.url)
        lines: list[Line] = [await script.listen() for script in scripts]
        for _ in range(3):
            mock_clock.jump(5000)
            await settled()
        assert len(endpoint.sessions) == len(server.connections) == MANY
        for connection in list(peer.connections):
            connection.announce("notifications/tools/list_changed")
        for line in lines:
            assert (await line.message())["method"] == "notifications/tools/list_changed"
        for script in scripts:
            await script.aclose()
        await until(lambda: not server.connections)
        assert len(endpoint.sessions) == MANY
        mock_clock.jump(3700)
        await until(lambda: not endpoint.sessions and not peer.connections)
        assert (await scripts[0].ask("ping")).status == 404
        await until(lambda: trio.lowlevel.current_statistics().tasks_living == tasks)


@pytest.mark.requirement("C25-105", "C25-128")
async def test_a_stream_that_nobody_came_back_to(make_peer: MakePeer, mock_clock: MockClock) -> None:
    """Is forgotten before its session is, and naming it is an error that says so."""
    peer = offering(make_peer)
    limits = HttpLimits(session_idle_seconds=3600, resume_seconds=300)
    async with serving(peer, http_limits=limits) as server, scripting(server.url) as script:
        line = await script.listen()
        first = await line.event()
        await line.reset()
        await until(lambda: not server.connections)
        mock_clock.jump(200)
        await settled()
        await (await script.listen(first.id)).reset()
        await until(lambda: not server.connections)
        mock_clock.jump(400)
        await settled()
        reply = await (await script.get(first.id)).answer()
        assert reply.status == 400
        assert "no such stream" in reply.json["error"]["message"]
        assert (await script.ask("ping")).status == 200


@pytest.mark.requirement("C25-128")
async def test_more_than_the_limit(make_peer: MakePeer, mock_clock: MockClock) -> None:
    """The one that has been idle for the longest time makes room, unless all are in use."""
    peer = offering(make_peer)
    async with serving(peer, http_limits=HttpLimits(sessions=3)) as server:
        scripts = [Script(server.url) for _ in range(5)]
        for script in scripts[:3]:
            await script.open()
            mock_clock.jump(1)
        refused = await scripts[3].ask(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "0"}},
        )
        assert (refused.status, refused.headers["retry-after"]) == (503, "10")
        assert (await scripts[0].ask("ping")).status == 200
        mock_clock.jump(100)
        await scripts[3].open()
        assert [(await script.ask("ping")).status for script in scripts[:4]] == [200, 404, 200, 200]
        for script in scripts:
            await script.aclose()
