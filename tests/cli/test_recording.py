"""`mcp-tasks record`, `replay` and `shrink` as processes: the forge is recorded, and replayed as either side."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Context, Peer, open_http, open_stdio
from mcp_tasks.cli import recording
from mcp_tasks.cli.exits import Exit
from mcp_tasks.recording import Redaction, Transcript, load_transcript
from mcp_tasks.testing import Frame, Monitor, Side

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
async def process(*arguments: str, last: bool = True) -> AsyncIterator[tuple[trio.Process, str]]:
    """A command that says on stderr where it is to be found, as the last word of a line; ended by a signal."""
    with trio.fail_after(SECONDS):
        running = await trio.lowlevel.open_process(
            [*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert running.stderr is not None
        try:
            said = b""
            while not said.endswith(b"\n"):
                said += await running.stderr.receive_some()
            yield running, said.decode().split()[-1] if last else said.decode()
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


async def test_the_exit_code_of_a_server_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    done = await trio.to_thread.run_sync(run, "record", str(tmp_path / "x.jsonl"), "--", *command)
    assert done.returncode == 128 + 9


SERVER = """
import os, sys
print(os.getpid(), flush=True)
for line in sys.stdin:
    print("read", flush=True)
"""


async def read_line(stream: trio.abc.ReceiveStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = bytes(await stream.receive_some())
        assert piece, line
        line += piece
    return line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_server_too(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "x.jsonl"
    broken = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"password":"hunter2"}}\n'
    command = [*COMMAND, "record", str(out), "--monitor", "--", sys.executable, "-c", SERVER]
    with trio.fail_after(SECONDS):
        running = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert running.stdio is not None
        assert running.stderr is not None
        async with running.stdio as stdio, running.stderr as stderr:
            try:
                server = int(await read_line(stdio))
                for _ in range(3):  # one is recorded when the next one is read, at the latest
                    await stdio.send_all(broken)
                    assert await read_line(stdio) == b"read\n"
                running.send_signal(number)
                assert await running.wait() == 128 + number
            finally:
                if running.returncode is None:
                    running.kill()
            said = b"".join([piece async for piece in stderr]).decode()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert "client: C25-006: an id is never used again" in said
    assert "Traceback" not in said
    assert "hunter2" not in said + out.read_text()


def test_what_the_monitor_cannot_take_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def see(monitor: Monitor, frame: Frame) -> None:
        raise AttributeError("of what?")

    monkeypatch.setattr(Monitor, "see", see)
    written: list[Frame] = []
    onlooker = recording._Onlooker(SimpleNamespace(write=written.append), Redaction(), True)  # type: ignore[arg-type]
    for _ in range(3):
        onlooker.tell(Frame(Side.CLIENT, {"id": 1}))
    assert onlooker.report() == Exit.FAILED
    assert len(written) == 3
    assert "the monitor misses 3 frames: AttributeError: of what?" in capsys.readouterr().err


async def test_the_url_of_a_server_is_told_without_its_secrets(tmp_path: Path) -> None:
    url = "http://bob:hunter2@127.0.0.1:9/mcp"
    async with process("record", str(tmp_path / "x"), "--url", url, "--listen", "127.0.0.1:0", last=False) as (_, said):
        assert "http://127.0.0.1:9/mcp is recorded at" in said
        assert "hunter2" not in said


async def test_a_port_that_is_in_use(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/mcp"
    async with process("record", str(tmp_path / "x"), "--url", url, "--listen", "127.0.0.1:0") as (_, proxy):
        listen = proxy.split("/")[2]
        done = await trio.to_thread.run_sync(run, "record", str(tmp_path / "y"), "--url", url, "--listen", listen)
    assert done.returncode == Exit.USAGE
    assert done.stderr == f"mcp-tasks record: cannot listen at {listen}: Address already in use\n"


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
        (["record", "OUT", "--url", "http://127.0.0.1:99999/mcp"], Exit.USAGE, "is not the URL of a server"),
        (["record", "OUT", "--url", "http://[::1/mcp"], Exit.USAGE, "is not the URL of a server"),
        (["record", "OUT", "--redact", "(", "--", "x"], Exit.USAGE, "--redact '('"),
        (["record", "OUT", "--", "/no/such/program"], Exit.SERVER, "cannot start the process"),
        (["replay", "OUT", "--as", "client"], Exit.USAGE, "say against which server"),
        (["replay", "OUT", "--as", "server", "--", "x"], Exit.USAGE, "as a server we start nobody"),
        (["replay", "NONE", "--as", "server"], Exit.SERVER, "No such file"),
        (["replay", "BINARY", "--as", "server"], Exit.SERVER, "this is no text"),
        (["shrink", "BINARY", "OUT", "--violation", "T25-064"], Exit.USAGE, "this is no text"),
        (["shrink", "OUT", "OUT"], Exit.USAGE, "say what the failure is"),
        (["shrink", "NONE", "OUT", "--violation", "T25-064"], Exit.USAGE, "No such file"),
    ],
)
def test_what_goes_wrong(arguments: list[str], code: Exit, says: str, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\n")
    words = [str(tmp_path / word.lower()) if word in ("OUT", "NONE", "BINARY") else word for word in arguments]
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
