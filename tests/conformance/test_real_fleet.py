"""Our suite judges a fleet as it does a single server: two front ends behind a proxy, and two workers, on Redis.

A request of 2026-07-28 arrives at either front end, whichever saw the one before it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

pytest.importorskip("glide", reason="the extra valkey is not installed")

from ._round_robin import RoundRobin

COMMAND = [sys.executable, "-m", "mcp_tasks"]
HEALTHY = "conformance.fixtures.healthy:peer"
JUDGE = [*COMMAND, "conformance", "server", "--profile", "mcp-tasks-server"]
REDIS = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
SECONDS = 120


@asynccontextmanager
async def running(name: str, command: Sequence[str], ready: str) -> AsyncIterator[str]:
    """A part of the fleet, once it has said `ready`; gives the rest of that line. If it ends before us, that raises.

    What else it says is shown if the test fails.
    """
    said, waited_for, started = b"", re.compile(rb"%s(.*)\n" % ready.encode()), trio.Event()

    async def read(process: trio.Process) -> None:
        nonlocal said
        assert process.stdout is not None
        async for data in process.stdout:
            said += data
            if waited_for.search(said):
                started.set()
        assert started.is_set(), f"{name} has ended"

    try:
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            nursery.start_soon(read, await nursery.start(run))
            await started.wait()
            found = waited_for.search(said)
            assert found is not None
            yield found[1].decode().strip()
            nursery.cancel_scope.cancel()
    finally:
        print(f"--- {name}\n{said.decode(errors='replace')}")


@asynccontextmanager
async def running_fleet() -> AsyncIterator[list[int]]:
    """Gives the ports of the front ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    store = ["--store", f"redis://127.0.0.1:{port}/0"]
    front = [*COMMAND, "serve", HEALTHY, "--http", "127.0.0.1:0", "--front", *store]
    worker = [*COMMAND, "worker", HEALTHY, *store]
    async with (
        running("Redis", [*REDIS, "--port", port], "Ready to accept connections"),
        running("front end 1", front, "healthy is served at http://127.0.0.1:") as one,
        running("front end 2", front, "healthy is served at http://127.0.0.1:") as two,
        running("worker 1", worker, "healthy works"),
        running("worker 2", worker, "healthy works"),
    ):
        yield [int(one.removesuffix("/mcp")), int(two.removesuffix("/mcp"))]


@pytest.mark.parametrize(("revision", "kept"), [("2025-11-25", 122), ("2026-07-28", 131)])
async def test_every_requirement_is_kept(revision: str, kept: int) -> None:
    if shutil.which("redis-server") is None:
        assert "CI" not in os.environ, "CI has redis-server"
        pytest.skip("there is no redis-server here")
    with trio.fail_after(SECONDS):
        async with running_fleet() as ports, trio.open_nursery() as nursery:
            proxy = RoundRobin(ports)
            (listener,) = await nursery.start(partial(trio.serve_tcp, proxy.carry, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/mcp"
            judge = [*JUDGE, url, "--revision", revision]
            done = await trio.run_process(judge, check=False, capture_stdout=True, capture_stderr=True)
            nursery.cancel_scope.cancel()
    said = done.stdout.decode()
    assert done.returncode == 0, said + done.stderr.decode()
    found = re.search(r"\n0 failed, 0 warnings, (\d+) passed\n$", said)
    assert found, said
    assert int(found[1]) >= kept, "none has become not applicable"
    assert min(map(proxy.taken.count, ports)) > 100, "both front ends were spoken to"
