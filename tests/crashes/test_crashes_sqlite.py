"""Servers with their tasks in a file, killed at any moment: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import trio

from ._history import Answered, Cancelled, Created, Effect, parse_steps, violations
from ._world import Client, World

KILLS = int(os.environ.get("MCP_TASKS_KILLS", "300"))
SEED = int(os.environ.get("MCP_TASKS_SEED", "0")) or random.randrange(1, 2**32)


@pytest.mark.patience(180 + KILLS)
async def test_a_server_is_killed_at_any_moment(tmp_path: Path) -> None:
    """kill -9 while clients of both eras create, answer, cancel and read; also while it takes up what was left."""
    print(f"MCP_TASKS_SEED={SEED} MCP_TASKS_KILLS={KILLS}")
    world = World(tmp_path, random.Random(SEED))
    slot = world.slot("alone", str(tmp_path / "tasks.db"))
    async with trio.open_nursery() as nursery:
        await nursery.start(slot.live)
        async with trio.open_nursery() as clients:
            for revision in ("2026-07-28", "2026-07-28", "2025-11-25", "2025-11-25"):
                await clients.start(Client(world, slot, revision).run)
            await world.kill(KILLS)
        nursery.cancel_scope.cancel()
    steps = parse_steps(world.steps_file.read_text())
    counts = {kind.__name__: sum(isinstance(f, kind) for f in world.history) for kind in (Created, Answered, Cancelled)}
    effects = sum(isinstance(step, Effect) for step in steps)
    print(f"{world.kills} kills, {counts}, {effects} steps")
    assert violations(world.history, steps) == []
    assert world.kills >= KILLS
    assert counts["Created"] > KILLS / 4
    assert counts["Answered"]
