"""`mcp-tasks record`, `replay` and `shrink` as processes: the forge is recorded, and replayed as either side."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Context, Peer, open_http, open_stdio
from mcp_tasks.cli.exits import Exit
from mcp_tasks.recording import Transcript, load_transcript
from mcp_tasks.testing import Frame, Side

from ._run import COMMAND, SECONDS, run

ROOT = Path(__file__).parents[2]
FORGE = [sys.executable, "-W", "ignore::DeprecationWarning", str(ROOT / "examples" / "forge.py")]
ERAS = ["2025-11-25", "2026-07-28"]


@pytest.fixture
def client(make_peer: Callable[..., Peer]) -> Peer:
    peer = make_peer("client")

    @peer.elicitation
    async def ask(ctx: Context, form: Any) -> dict[str, str]:
        return {"target": "a boat"}

    return peer


async def session(connection: Connection) -> None:
    assert (await connection.call_tool("lint", {"path": "hull.c"})).text == "hull.c: no complaints"
    async with connection.start("tools/call", {"name": "build", "arguments": {"parts": 1}}) as task:
        assert "built a boat" in str(await task.result())


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A command that says on stderr where it is to be found; ended by a signal."""
    with trio.fail_after(SECONDS):
        running = await trio.lowlevel.open_process(
            [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert running.stderr is not None
        try:
            said = b""
            while not said.endswith(b"\n"):
                said += await running.stderr.receive_some()
            yield running, said.decode().split()[-1]
        finally:
            with trio.CancelScope(shield=True):
                if running.returncode is None:
                    running.terminate()
                await running.wait()
                await running.stderr.aclose()


async def recorded_over_stdio(client: Peer, out: Path, revision: str) -> None:
    command = [*COMMAND, "record", str(out), "--monitor", "--", *FORGE]
    with trio.fail_after(SECONDS):
        async with (
            open_stdio(command, stderr="capture") as transport,
            client.connect(transport, revision=revision) as connection,
        ):
            await session(connection)
    assert (transport.returncode, transport.stderr_tail) == (0, "")


@pytest.mark.parametrize("revision", ERAS)
async def test_over_stdio(client: Peer, tmp_path: Path, revision: str) -> None:
    out = tmp_path / "session.jsonl"
    await recorded_over_stdio(client, out, revision)
    found = load_transcript(out)
    methods = [frame.method for frame in found.frames if frame.is_request and frame.sender is Side.CLIENT]
    assert methods.count("tools/call") >= 2
    assert "built a boat" in out.read_text()

    # As the client, against the server that was recorded, and against one that is another.
    done = await trio.to_thread.run_sync(run, "replay", str(out), "--as", "client", "--", *FORGE)
    assert done.returncode == Exit.OK, done.stderr
    assert "as it was" in done.stderr
    other = tmp_path / "other.py"
    other.write_text((ROOT / "examples" / "forge.py").read_text().replace("no complaints", "complaints"))
    done = await trio.to_thread.run_sync(run, "replay", str(out), "--as", "client", "--", sys.executable, str(other))
    assert done.returncode == Exit.FAILED
    assert "was 'hull.c: no complaints', is 'hull.c: complaints'" in done.stderr

    # As the server, for the client that was recorded.
    command = [*COMMAND, "replay", str(out), "--as", "server"]
    with trio.fail_after(SECONDS):
        async with (
            open_stdio(command, stderr="capture") as transport,
            client.connect(transport, revision=revision) as connection,
        ):
            await session(connection)
    assert "as it was" in transport.stderr_tail
    assert transport.returncode == 0


@pytest.mark.parametrize("revision", ERAS)
async def test_over_http(client: Peer, tmp_path: Path, revision: str) -> None:
    out = tmp_path / "session.jsonl"
    forge = [sys.executable, "-m", "mcp_tasks", "serve", "forge:peer", "--http", "127.0.0.1:0"]
    serving = await trio.lowlevel.open_process(
        forge, cwd=str(ROOT / "examples"), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert serving.stderr is not None
    try:
        with trio.fail_after(SECONDS):
            said = b""
            while b"served at" not in said or not said.endswith(b"\n"):
                said += await serving.stderr.receive_some()
            url = said.decode().split()[-1]
            async with process("record", str(out), "--url", url, "--listen", "127.0.0.1:0") as (recorder, proxy):
                async with (
                    open_http(proxy, trust_env=False, auth="open-sesame") as transport,
                    client.connect(transport, revision=revision) as connection,
                ):
                    await session(connection)
                recorder.terminate()
                assert await recorder.wait() == 0
            text = out.read_text()
            assert "built a boat" in text
            assert "open-sesame" not in text
            assert '"authorization":"[redacted]"' in text
            done = await trio.to_thread.run_sync(run, "replay", str(out), "--as", "client", url)
            assert done.returncode == Exit.OK, done.stderr
    finally:
        serving.terminate()
        await serving.wait()
        await serving.stderr.aclose()

    async with process("replay", str(out), "--as", "server", "--http", "127.0.0.1:0") as (replaying, here):
        async with (
            open_http(here, trust_env=False) as transport,
            client.connect(transport, revision=revision) as connection,
        ):
            await session(connection)
        assert await replaying.wait() == 0


async def test_the_exit_code_is_the_servers(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit(7)"]
    done = await trio.to_thread.run_sync(run, "record", str(tmp_path / "x.jsonl"), "--", *command)
    assert done.returncode == 7


def test_shrinking(tmp_path: Path) -> None:
    frames = [Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": number, "method": "ping"}) for number in range(1, 9)]
    frames.append(Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": None, "method": "ping"}))
    whole, short = tmp_path / "whole.jsonl", tmp_path / "short.jsonl"
    whole.write_text(Transcript(frames).text())
    done = run("shrink", str(whole), str(short), "--violation", "C25-005")
    assert done.returncode == Exit.OK, done.stderr
    assert "9 messages became 1" in done.stderr
    assert [frame.object["id"] for frame in load_transcript(short).frames] == [None]

    test = shlex.join([sys.executable, "-c", "import sys; sys.exit('\"id\":5,' in open(sys.argv[1]).read())"])
    assert run("shrink", str(whole), str(short), "--test", test).returncode == Exit.OK
    assert [frame.object["id"] for frame in load_transcript(short).frames] == [5]
    assert run("shrink", str(whole), str(short), "--violation", "T25-064").returncode == Exit.FAILED


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["record", "OUT"], Exit.USAGE, "say whom: -- COMMAND..., or --url URL"),
        (["record", "OUT", "--url", "ftp://x"], Exit.USAGE, "is not the URL of a server"),
        (["record", "OUT", "--redact", "(", "--", "x"], Exit.USAGE, "--redact '('"),
        (["record", "OUT", "--", "/no/such/program"], Exit.SERVER, "cannot start the process"),
        (["replay", "OUT", "--as", "client"], Exit.USAGE, "say against which server"),
        (["replay", "OUT", "--as", "server", "--", "x"], Exit.USAGE, "as a server we start nobody"),
        (["replay", "NONE", "--as", "server"], Exit.SERVER, "No such file"),
        (["shrink", "OUT", "OUT"], Exit.USAGE, "say what the failure is"),
        (["shrink", "NONE", "OUT", "--violation", "T25-064"], Exit.USAGE, "No such file"),
    ],
)
def test_what_goes_wrong(arguments: list[str], code: Exit, says: str, tmp_path: Path) -> None:
    words = [str(tmp_path / word.lower()) if word in ("OUT", "NONE") else word for word in arguments]
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
