"""Our suite judges our server with its tasks in a file as it does with them in memory: over stdio and over HTTP."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVE = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.healthy:peer"]
JUDGE = [sys.executable, "-m", "mcp_tasks", "conformance", "server", "--profile", "mcp-tasks-server"]


@pytest.fixture
def over_http(tmp_path: Path) -> Iterator[list[str]]:
    command = [*SERVE, "--http", "127.0.0.1:0", "--store", str(tmp_path / "tasks.db")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        yield [server.stderr.readline().split()[-1]]
        server.terminate()
        server.stderr.read()


@pytest.fixture
def over_stdio(tmp_path: Path) -> list[str]:
    # Each scenario starts a server of its own, which is to find nothing.
    script = tmp_path / "serve.sh"
    fresh = f"$(mktemp -d {shlex.quote(str(tmp_path))}/XXXXXX)/tasks.db"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(SERVE)} --stdio --store "{fresh}"\n')
    script.chmod(0o700)
    return ["--", str(script)]


@pytest.mark.parametrize("way", ["over_stdio", "over_http"])
def test_every_requirement_is_kept(request: pytest.FixtureRequest, way: str) -> None:
    done = subprocess.run(
        [*JUDGE, *request.getfixturevalue(way)], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"\n0 failed, 0 warnings, (\d+) passed\n$", done.stdout)
    assert found, done.stdout
    assert int(found[1]) > 200
