"""A handler changes for how long its task is kept and how often to look: seen in both eras, and followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from mcp_tasks import Context, Limits, Peer
from mcp_tasks.testing import scripted

MakePeer = Callable[..., Peer]


def adjusting(make_peer: MakePeer, **limits: Any) -> Peer:
    peer = make_peer(limits=Limits(**limits))

    @peer.tool(task="required")
    async def work(ctx: Context, ttl: float | None = None, poll: float | None = None) -> str:
        await ctx.adjust(ttl=ttl, poll_interval=poll)
        await trio.sleep_forever()
        return "never"

    @peer.tool
    async def plain(ctx: Context) -> str:
        await ctx.adjust(ttl=5, poll_interval=5)
        return "done"

    return peer


async def begun(peer: Peer, revision: str, **arguments: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The task as it was created, and as it is then."""
    call = {"name": "work", "arguments": arguments}
    async with scripted(peer, revision=revision) as remote:
        if revision == "2026-07-28":
            created = await remote.request("tools/call", call)
        else:
            created = (await remote.request("tools/call", {**call, "task": {}}))["task"]
        await remote.quiet()
        return created, await remote.request("tasks/get", {"taskId": created["taskId"]})


@pytest.mark.requirement("X26-023", "X26-024")
async def test_without_a_session(make_peer: MakePeer) -> None:
    created, task = await begun(adjusting(make_peer), "2026-07-28", ttl=60, poll=0.25)
    assert (created["ttlMs"], created["pollIntervalMs"]) == (3_600_000, 1_000)
    assert (task["ttlMs"], task["pollIntervalMs"]) == (60_000, 250)


async def test_in_a_session(make_peer: MakePeer) -> None:
    created, task = await begun(adjusting(make_peer), "2025-11-25", ttl=60, poll=0.25)
    assert (created["ttl"], created["pollInterval"]) == (3_600_000, 1_000)
    assert (task["ttl"], task["pollInterval"]) == (60_000, 250)


@pytest.mark.requirement("X26-023")
async def test_up_to_the_limit(make_peer: MakePeer) -> None:
    _, task = await begun(adjusting(make_peer, max_ttl_ms=5_000_000), "2026-07-28", ttl=1e9)
    assert task["ttlMs"] == 5_000_000


@pytest.mark.requirement("X26-026", "X26-059")
@pytest.mark.parametrize("ttl", [10, 100_000])
async def test_the_lifetime_ends_when_it_says(make_peer: MakePeer, autojump_clock: MockClock, ttl: float) -> None:
    """Shortened and prolonged alike."""
    peer = adjusting(make_peer, default_ttl_ms=1_000_000, max_ttl_ms=200_000_000)
    async with scripted(peer, revision="2026-07-28") as remote:
        await remote.request("tools/call", {"name": "work", "arguments": {"ttl": ttl}})
        await trio.sleep(ttl - 1)
        assert peer.tasks.live == 1
        await trio.sleep(2)
        assert peer.tasks.live == 0


async def test_a_plain_request_has_neither(make_peer: MakePeer) -> None:
    async with scripted(adjusting(make_peer), revision="2026-07-28") as remote:
        result = await remote.request("tools/call", {"name": "plain"})
        assert result["content"][0]["text"] == "done"


@pytest.mark.parametrize("arguments", [{"ttl": 0}, {"ttl": -1}, {"poll": 0}, {"poll": -5}])
async def test_nonsense(make_peer: MakePeer, arguments: dict[str, float], caplog: pytest.LogCaptureFixture) -> None:
    _, task = await begun(adjusting(make_peer), "2026-07-28", **arguments)
    assert task["result"]["isError"] is True
    assert "seconds above 0" in caplog.text
