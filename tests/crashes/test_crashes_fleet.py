"""A fleet on one engine, any part of which is killed at any moment: front ends, workers, and the engine itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from tests.fleet.conftest import Redis, no_child_is_left, redis, redis_server

from ._world import ERAS, SEED, Client, World, judge, kills_wanted

pytest.importorskip("glide", reason="the extra valkey is not installed")

__all__ = ["no_child_is_left", "redis", "redis_server"]

KILLS = kills_wanted(300)
LEASE = 0.5


@pytest.mark.patience(180 + KILLS)
async def test_any_part_is_killed_at_any_moment(tmp_path: Path, redis: Redis) -> None:
    """kill -9 while clients of both eras, at two front ends, create, answer, cancel and read."""
    print(f"MCP_TASKS_SEED={SEED} MCP_TASKS_KILLS={KILLS}")
    world = World(tmp_path, random.Random(SEED))
    fronts = [world.slot("front", redis.url, lease=LEASE) for _ in range(2)]
    workers = [world.slot("worker", redis.url, lease=LEASE) for _ in range(2)]

    def engine() -> None:
        redis.kill()
        redis.start()

    async with trio.open_nursery() as nursery:
        for slot in (*fronts, *workers):
            await nursery.start(slot.live)
        async with trio.open_nursery() as clients:
            for number, revision in enumerate(ERAS):
                await clients.start(Client(world, fronts[number % 2], revision).run)
            await world.kill(KILLS, engine=engine)
        nursery.cancel_scope.cancel()
    judge(world, KILLS)
