"""The shortest transcript that still fails."""

from __future__ import annotations

import pytest
import trio

from mcp_tasks.recording import Transcript, shrink
from mcp_tasks.recording._shrink import exchanges
from mcp_tasks.testing import Frame, Monitor, Side


def conversation() -> Transcript:
    frames = [
        Frame(Side.CLIENT, {"id": 0, "method": "initialize", "params": {"capabilities": {}}}),
        Frame(
            Side.SERVER,
            {
                "id": 0,
                "result": {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tasks": {"requests": {"tools": {"call": {}}}}},
                },
            },
        ),
        Frame(Side.CLIENT, {"method": "notifications/initialized"}),
    ]
    for number in range(1, 30):
        method = "tasks/get" if number in (7, 19) else "ping"
        status = "completed" if number == 7 else "working"
        task = {"taskId": "t" * 20, "status": status, "createdAt": "x", "lastUpdatedAt": "x", "ttl": None}
        frames.append(Frame(Side.CLIENT, {"id": number, "method": method, "params": {"taskId": "t" * 20}}))
        frames.append(Frame(Side.SERVER, {"id": number, "result": task if method == "tasks/get" else {}}))
    return Transcript(frames)


async def flips(candidate: Transcript) -> bool:
    await trio.lowlevel.checkpoint()
    monitor = Monitor()
    for frame in candidate.frames:
        monitor.see(frame)
    return any(violation.id == "T25-064" for violation in monitor.violations)


async def test_the_shortest_that_fails() -> None:
    heard: list[tuple[int, int]] = []
    found = await shrink(conversation(), flips, tell=lambda left, tried: heard.append((left, tried)))
    assert [frame.object.get("id", "-") for frame in found.frames] == [0, 0, "-", 7, 7, 19, 19]
    assert heard[-1][0] == 2


async def test_it_gives_up_after_so_many_tries() -> None:
    found = await shrink(conversation(), flips, tries=4)
    assert await flips(found)
    assert len(found.frames) > 7


async def test_what_does_not_fail_cannot_be_shrunk() -> None:
    async def never(candidate: Transcript) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    with pytest.raises(ValueError, match="shows no failure"):
        await shrink(conversation(), never)


def test_what_belongs_together() -> None:
    frames = [
        Frame(Side.CLIENT, {"id": 1, "method": "a", "params": {"_meta": {"progressToken": "p"}}}, "POST 1"),
        Frame(Side.CLIENT, {"id": 2, "method": "b"}, "POST 2"),
        Frame(Side.SERVER, {"id": 1, "method": "c"}),
        Frame(Side.SERVER, {"method": "notifications/progress", "params": {"progressToken": "p"}}, "POST 1"),
        Frame(Side.CLIENT, {"id": 1, "result": {}}),
        Frame(Side.CLIENT, {"method": "notifications/cancelled", "params": {"requestId": 2}}),
        Frame(Side.SERVER, {"id": 1, "error": {}}, "POST 1"),
        Frame(Side.SERVER, channel="POST 2", event="ended"),
    ]
    numbered = [[frames.index(frame) for frame in group] for group in exchanges(frames)]
    assert numbered == [[0, 3, 6], [1, 5, 7], [2, 4]]
