"""Servers with their tasks in a file, killed at any moment: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from ._world import ERAS, SEED, Client, World, judge, kills_wanted

KILLS = kills_wanted(300)


@pytest.mark.patience(180 + KILLS)
async def test_a_server_is_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 while clients of both eras create, answer, cancel and read; also while it takes up what was left."""
    print(f"MCP_TASKS_SEED={SEED} MCP_TASKS_KILLS={KILLS}")
    world = World(tmp_path, random.Random(SEED))
    slot = world.slot("alone", str(tmp_path / "tasks.db"))
    async with trio.open_nursery() as nursery:
        await nursery.start(slot.live)
        async with trio.open_nursery() as clients:
            for revision in ERAS:
                await clients.start(Client(world, slot, revision).run)
            await world.kill(KILLS)
        nursery.cancel_scope.cancel()
    judge(world, KILLS)
