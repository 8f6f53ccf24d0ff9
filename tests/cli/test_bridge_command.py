"""`mcp-tasks bridge` as a process: the forge behind it, over stdio and over HTTP, for clients of both eras."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Context, Peer, RequestFailed, open_http, open_stdio
from mcp_tasks.cli.exits import Exit
from mcp_tasks.wire.client_features import CreateMessageResult
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.tasks import TaskStatus

from ._run import COMMAND, SECONDS, run

ROOT = Path(__file__).parents[2]
FORGE = [sys.executable, "-W", "ignore::DeprecationWarning", str(ROOT / "examples" / "forge.py")]
OLD, NEW = "2025-11-25", "2026-07-28"
EVERY_WAY = [(OLD, NEW), (NEW, OLD), (OLD, OLD), (NEW, NEW)]


@pytest.fixture
def client(make_peer: Callable[..., Peer]) -> Peer:
    peer = make_peer("client")

    @peer.elicitation
    async def ask(ctx: Context, form: Any) -> dict[str, str]:
        return {"target": "a boat"}

    @peer.sampling
    async def sample(ctx: Context, request: Any) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(text="Argo"), model="oracle-1")

    return peer


@asynccontextmanager
async def over_stdio(client: Peer, there: str, here: str) -> AsyncIterator[Connection]:
    command = [*COMMAND, "bridge", "--stdio", "--revision", there, "--", *FORGE]
    with trio.fail_after(SECONDS):
        async with (
            open_stdio(command, stderr="capture") as transport,
            client.connect(transport, revision=here) as connection,
        ):
            yield connection
    assert (transport.returncode, transport.stderr_tail) == (0, "")


@asynccontextmanager
async def over_http(client: Peer, there: str, here: str) -> AsyncIterator[Connection]:
    command = [*COMMAND, "bridge", "--http", "127.0.0.1:0", "--revision", there, "--", *FORGE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - it starts at once
        assert process.stderr is not None
        line = await trio.to_thread.run_sync(process.stderr.readline)
        assert line.startswith("mcp-tasks: forge is served at http://")
        with trio.fail_after(SECONDS):
            async with (
                open_http(line.split()[-1]) as transport,
                client.connect(transport, revision=here) as connection,
            ):
                yield connection
        process.send_signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(process.wait, SECONDS) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""


@pytest.mark.parametrize("open_bridge", [over_stdio, over_http])
@pytest.mark.parametrize(("there", "here"), EVERY_WAY)
async def test_the_forge_behind_a_bridge(client: Peer, open_bridge: Any, there: str, here: str) -> None:
    async with open_bridge(client, there, here) as connection:
        assert connection.peer_name == "forge 1.0"
        assert connection.revision == here
        assert (await connection.call_tool("lint", {"path": "hull.c"})).text == "hull.c: no complaints"
        assert (await connection.call_tool("build", {"parts": 2})).text == "built a boat"
        assert (await connection.call_tool("name_it", {"what": "a boat"})).text == "Argo"
        params = {"name": "build", "arguments": {"parts": 40}}  # two seconds, so that it becomes a task in either era
        async with connection.start("tools/call", params) as task:
            updates = [update async for update in task.updates()]
            if here == OLD:
                assert updates[-1].status is TaskStatus.COMPLETED
            assert (await task.value()).text == "built a boat"


async def test_a_bridge_found_by_name(client: Peer, tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"smithy": {"command": FORGE[0], "args": FORGE[1:]}}}))
    with trio.fail_after(SECONDS):
        async with (
            open_stdio([*COMMAND, "bridge", "smithy", "--config", str(config)]) as transport,
            client.connect(transport) as connection,
        ):
            assert (await connection.call_tool("build", {"parts": 1})).text == "built a boat"


async def test_the_server_ends(make_peer: Callable[..., Peer], tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, trio\nfrom mcp_tasks import Peer, serve_stdio\npeer = Peer('mayfly', '1')\n"
        "@peer.tool\nasync def die() -> None:\n    os._exit(3)\ntrio.run(serve_stdio, peer)\n"
    )
    command = [*COMMAND, "bridge", "--", sys.executable, str(tmp_path / "dies.py")]
    with trio.fail_after(SECONDS):
        async with (
            open_stdio(command, stderr="capture") as transport,
            make_peer("client").connect(transport) as connection,
        ):
            with pytest.raises(RequestFailed, match="The server behind the bridge"):
                await connection.call_tool("die")
            await connection.wait_closed()
    assert transport.returncode == Exit.SERVER
    assert transport.stderr_tail.endswith("has ended\n")
    assert len(transport.stderr_tail.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_server_starts(number: signal.Signals) -> None:
    silent = [sys.executable, "-c", "import sys; print('started', file=sys.stderr, flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        [*COMMAND, "bridge", "--", *silent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"started\n"
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number


@pytest.mark.parametrize(
    ("arguments", "code", "err"),
    [
        (["x", "--stdio", "--http", "127.0.0.1:0"], Exit.USAGE, "one of --stdio and --http"),
        (["x", "--http", "nowhere"], Exit.USAGE, "HOST:PORT"),
        (["no-such-program-anywhere"], Exit.SERVER, "cannot start"),
        (["http://127.0.0.1:1/mcp"], Exit.SERVER, "cannot be reached"),
    ],
)
def test_what_goes_wrong(arguments: list[str], code: Exit, err: str) -> None:
    done = run("bridge", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert err in done.stderr
    assert len(done.stderr.splitlines()) == 1
