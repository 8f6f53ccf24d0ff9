"""A fleet by the command line: front ends that do no work, and workers, as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from mcp_tasks import Peer, open_http

pytest.importorskip("glide", reason="the extra valkey is not installed")

from .conftest import Redis

COMMAND = [sys.executable, "-m", "mcp_tasks"]
SECONDS = 60
SHOP = """
import os
from mcp_tasks import Context, Peer

peer = Peer("shop", "1.0")

@peer.tool(task="required", restartable=True)
async def order(ctx: Context, what: str) -> str:
    form = await ctx.elicit("For whom?", {"name": str})
    return f"{what} for {form['name']}, by {os.getpid()}"

@peer.tool(task="required")
async def fragile(ctx: Context) -> str:
    form = await ctx.elicit("For whom?", {"name": str}, key="who")
    return f"{form['name']}, by {os.getpid()}"
"""


@contextmanager
def running(shop: Path, *arguments: str, told: bool = False) -> Iterator[tuple[str, int]]:
    """A command of this project, once it has said something; the last word of that, and its pid.

    In the end it is told to go, unless it was `told` already.
    """
    with subprocess.Popen([*COMMAND, *arguments], cwd=shop, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1], process.pid
        if not told:
            process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_two_front_ends_and_a_worker(shop: Path, redis: Redis, sealed: bool) -> None:
    (shop / "key").write_bytes(bytes(range(32)))
    # Stores of the command line have one name: the database tells them apart.
    store = ["--store", f"{redis.url}/{2 if sealed else 1}", *(["--store-key", "key"] if sealed else [])]
    front = ["serve", "shop:peer", "--http", "127.0.0.1:0", "--front", *store]
    with (
        running(shop, *front) as (one, _),
        running(shop, *front) as (two, _),
        running(shop, "worker", "shop:peer", *store) as (_, worker),
    ):
        assert trio.run(ordered, one, two) == f"a lamp for Ada, by {worker}"
        stats = [*COMMAND, "store", "stats", store[1], *(["--key", "key"] if sealed else []), "--json"]
        found = json.loads(subprocess.run(stats, cwd=shop, check=True, stdout=subprocess.PIPE).stdout)
        assert (found["tasks"], found["unfinished"], found["queued"], found["oldest"]) == (1, 0, 0, None)


async def test_a_worker_that_is_told_to_go_waits_for_what_only_it_can_do(shop: Path, redis: Redis) -> None:
    store, pids = ["--store", f"{redis.url}/3"], list[int]()
    peer = Peer("client", "1.0")

    @peer.elicitation
    async def answer(ctx: object, form: object) -> dict[str, str]:
        os.kill(pids[0], signal.SIGTERM)
        return {"name": "Ada"}

    front = ["serve", "shop:peer", "--http", "127.0.0.1:0", "--front", *store]
    with running(shop, *front) as (url, _), running(shop, "worker", "shop:peer", *store, told=True) as (_, worker):
        pids.append(worker)
        with trio.fail_after(SECONDS):
            async with (
                open_http(url) as transport,
                peer.connect(transport) as connection,
                connection.start("tools/call", {"name": "fragile", "arguments": {}}) as task,
            ):
                assert (await task.value()).text == f"Ada, by {worker}"


async def ordered(one: str, two: str) -> str:
    peer = Peer("client", "1.0")

    @peer.elicitation
    async def answer(ctx: object, form: object) -> dict[str, str]:
        return {"name": "Ada"}

    with trio.fail_after(SECONDS):
        async with (
            open_http(one) as transport,
            peer.connect(transport) as first,
            first.start("tools/call", {"name": "order", "arguments": {"what": "a lamp"}}) as task,
        ):
            saved = task.detach()
        async with open_http(two) as transport, peer.connect(transport) as second, second.resume(saved) as task:
            return str((await task.value()).text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "shop:peer", "--store", "tasks.db"], "a worker needs a --store that others share"),
        (["serve", "shop:peer", "--stdio", "--front"], "--front is for a --store that workers share"),
        (["serve", "shop:peer", "--stdio", "--front", "--store", "tasks.db"], "--front is for a --store"),
        (["serve", "shop:peer", "--stdio", "--store", "http://localhost"], "is no URL of a Valkey or Redis server"),
        (["worker", "shop:peer", "--store", "redis://127.0.0.1:1"], "redis://127.0.0.1:1 is not to be had: "),
    ],
)
def test_wrong_use(shop: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], cwd=shop, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode in (2, 3)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
