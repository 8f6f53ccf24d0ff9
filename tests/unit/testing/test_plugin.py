"""The pytest plugin: a program that breaks the protocol fails the test, whatever the test itself looks at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        result = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "x", "version": "0"},
                  "capabilities": {"tasks": {"requests": {"tools": {"call": {}}}}}}
    elif "id" in message:
        result = {"task": {"taskId": "1", "status": "working"}}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
TEST = """
import sys

async def test_it(mcp_server):
    async with mcp_server([sys.executable, "broken.py"]) as client:
        created = await client.request("tools/call", {"name": "x", "task": {}})
        assert created["task"]["status"] == "working"
        MORE
"""


def run(folder: Path, more: str) -> subprocess.CompletedProcess[str]:
    (folder / "broken.py").write_text(BROKEN)
    (folder / "test_it.py").write_text(TEST.replace("MORE", more))
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_violations_fail_the_test(tmp_path: Path) -> None:
    done = run(tmp_path, "pass")
    assert done.returncode == 1
    assert "the program under test broke the protocol" in done.stdout
    assert "T25-122: the task has createdAt, lastUpdatedAt, ttl" in done.stdout
    assert "T25-139" in done.stdout  # an id of one character can be guessed


@pytest.mark.parametrize("more", ["client.monitor.violations.clear()"])
def test_what_the_test_has_seen_is_its_own_business(tmp_path: Path, more: str) -> None:
    done = run(tmp_path, more)
    assert done.returncode == 0, done.stdout
