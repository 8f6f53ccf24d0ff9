"""Serving our own standard streams. Each test runs a small program, for the real descriptors are what it is about."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import mcp_tasks
from mcp_tasks.transports.descriptors import FdReader, FdWriter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")

# Echoes requests as responses and tells of malformed lines, until the other side ends the stream.
ECHO = """
import os, subprocess, sys, trio
from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.limits import Limits
from mcp_tasks.transports.stdio import own_stdio
from mcp_tasks.wire.jsonrpc import Malformed, Notification, Request, Response

async def echo(transport):
    try:
        while True:
            for message in await transport.receive():
                if isinstance(message, Request):
                    transport.send(Response(message.id, {"echo": message.params}))
                elif isinstance(message, Malformed):
                    transport.send(Notification("malformed", {"text": message.error.message}))
            await transport.flush()
    except ConnectionClosed as closed:
        sys.stderr.write(f"closed: {closed}\\n")
"""

SERVE = (
    ECHO
    + """
async def main():
    async with own_stdio(limits=Limits(message_bytes=2_000_000)) as transport:
        await echo(transport)

trio.run(main)
"""
)


def program(source: str) -> list[str]:
    return [sys.executable, "-c", source]


def environment() -> dict[str, str]:
    # Not PYTHONUNBUFFERED: what Python keeps in its buffers is part of the matter.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_START") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(mcp_tasks.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}


async def run(
    source: str, data: bytes = b"", *, stdin: IO[bytes] | int | None = None, stdout: IO[bytes] | None = None
) -> tuple[bytes, str]:
    """What the program wrote to stdout and stderr."""
    command, env = program(source), environment()
    given = data if stdin is None else stdin
    with trio.fail_after(30):
        if stdout is None:
            done = await trio.run_process(command, stdin=given, capture_stdout=True, capture_stderr=True, env=env)
        else:
            done = await trio.run_process(command, stdin=given, stdout=stdout, capture_stderr=True, env=env)
    return done.stdout or b"", done.stderr.decode()


def request(number: int, text: str = "") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "m", "params": {"text": text}}).encode() + b"\n"


def messages(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def echoes(data: bytes) -> list[tuple[int, str]]:
    return [(message["id"], message["result"]["echo"]["text"]) for message in messages(data)]


class Lines:
    """Lines out of a descriptor."""

    def __init__(self, fd: int) -> None:
        self.reader = FdReader(fd)
        self._rest = b""

    async def one(self) -> bytes:
        while b"\n" not in self._rest:
            data = await self.reader.receive_some()
            assert data, "the stream ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


@asynccontextmanager
async def running(source: str, stdin: int, stdout: int, **more: Any) -> AsyncIterator[subprocess.Popen[bytes]]:
    start: partial[subprocess.Popen[bytes]] = partial(
        subprocess.Popen, program(source), stdin=stdin, stdout=stdout, env=environment(), **more
    )
    with start() as popen:
        try:
            with trio.fail_after(30):
                yield popen
                await trio.to_thread.run_sync(popen.wait, abandon_on_cancel=True)
        finally:
            popen.kill()


async def test_messages_until_the_end() -> None:
    out, err = await run(SERVE, b"".join(request(number, "ä\u2028") for number in range(1000)))
    assert echoes(out) == [(number, "ä\u2028") for number in range(1000)]
    assert err == "closed: the other side has closed the stream\n"


async def test_nothing_else_reaches_stdout() -> None:
    source = (
        ECHO
        + """
real = sys.stdout
sys.stdout.write("stray buffered\\n")

async def main():
    async with own_stdio() as transport:
        print("stray print")
        real.write("stray old object\\n")
        sys.__stdout__.write("stray __stdout__\\n")
        os.write(1, b"stray descriptor\\n")
        subprocess.run(["echo", "stray child"])
        assert sys.stdin.read() == "" and os.read(0, 1) == b""
        assert subprocess.run(["cat"], capture_output=True).stdout == b""
        await echo(transport)
        real.write("stray late\\n")
    assert sys.stdout is real
    print("after")
    os.close(1)

trio.run(main)
"""
    )
    source = source.replace("    os.close(1)\n", "    sys.stdout.flush()\n")
    out, err = await run(source, request(1, "a"))
    first, second = out.splitlines()
    assert echoes(first + b"\n") == [(1, "a")]
    assert second == b"after"
    strays = [line for line in err.splitlines() if line.startswith("stray")]
    assert sorted(strays) == sorted(
        f"stray {what}" for what in ("buffered", "print", "old object", "__stdout__", "descriptor", "child", "late")
    )


async def test_everything_is_put_back() -> None:
    source = (
        ECHO
        + """
async def main():
    before = os.fstat(0), os.fstat(1), sys.stdin, sys.stdout, sorted(os.listdir("/dev/fd"))
    for _ in range(2):
        try:
            async with own_stdio() as transport:
                [message] = await transport.receive()
                transport.send(Response(message.id, {"echo": message.params}))
                await transport.flush()
                await transport.aclose()
                raise ValueError("mine")
        except ValueError as error:
            assert str(error) == "mine"
    after = os.fstat(0), os.fstat(1), sys.stdin, sys.stdout, sorted(os.listdir("/dev/fd"))
    assert [(one.st_ino, one.st_dev) for one in before[:2]] == [(one.st_ino, one.st_dev) for one in after[:2]]
    assert before[2:] == after[2:], (before, after)
    assert os.get_blocking(0) and os.get_blocking(1)

trio.run(main)
"""
    )
    read, write = os.pipe()
    back_read, back_write = os.pipe()
    lines = Lines(back_read)
    async with running(source, read, back_write) as popen:
        # One at a time: what the first transport had read would be lost to the second.
        for number in (1, 2):
            os.write(write, request(number))
            assert json.loads(await lines.one())["id"] == number
    assert popen.returncode == 0
    for fd in (read, write, back_write):
        os.close(fd)
    await lines.reader.aclose()


async def test_only_once_at_a_time() -> None:
    source = (
        ECHO
        + """
async def main():
    async with own_stdio() as transport:
        try:
            async with own_stdio():
                pass
        except RuntimeError as error:
            sys.stderr.write(str(error))
        await echo(transport)

trio.run(main)
"""
    )
    out, err = await run(source, request(1, "a"))
    assert echoes(out) == [(1, "a")]
    assert "served already" in err


@pytest.mark.parametrize(("fd", "name"), [(0, "input"), (1, "output")])
async def test_a_stream_that_is_not_open(fd: int, name: str) -> None:
    source = (
        ECHO
        + f"""
async def main():
    os.close({fd})
    try:
        async with own_stdio():
            pass
    except OSError as error:
        sys.stderr.write(str(error))

trio.run(main)
"""
    )
    _, err = await run(source)
    assert f"standard {name} is not open" in err


async def test_without_stderr() -> None:
    source = (
        ECHO
        + """
async def main():
    sys.stderr = None
    os.close(2)
    async with own_stdio() as transport:
        print("stray")
        os.write(1, b"stray")
        [message] = await transport.receive()
        transport.send(Response(message.id, {"echo": message.params}))
        await transport.flush()

trio.run(main)
"""
    )
    out, _ = await run(source, request(1, "a"))
    assert echoes(out) == [(1, "a")]


async def test_files(tmp_path: Path) -> None:
    """No event loop can wait for a regular file; a thread can."""
    (tmp_path / "in").write_bytes(b"".join(request(number, "x" * 100) for number in range(2000)))
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        _, err = await run(SERVE, stdin=stdin, stdout=stdout)
    assert echoes((tmp_path / "out").read_bytes()) == [(number, "x" * 100) for number in range(2000)]
    assert "closed" in err


async def test_dev_null() -> None:
    out, err = await run(SERVE, stdin=subprocess.DEVNULL)
    assert out == b""
    assert "closed" in err


async def test_a_cancelled_server_on_a_file_that_never_ends() -> None:
    source = (
        ECHO
        + """
async def main():
    async with own_stdio(limits=Limits(message_bytes=10)) as transport:
        with trio.move_on_after(0.01):
            await echo(transport)

trio.run(main)
"""
    )
    zero = os.open("/dev/zero", os.O_RDONLY)
    assert (await run(source, stdin=zero))[0] == b""
    os.close(zero)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_the_blocking_mode_of_the_parents_descriptors(kind: str) -> None:
    """It belongs to the open file, which the parent may share; for pipes it never even changes on Linux."""
    if kind == "pipe":
        stdin, to_child = os.pipe()
        from_child, stdout = os.pipe()
    else:
        ours, theirs = socket.socketpair()
        stdin, to_child = theirs.detach(), ours.detach()
        stdout, from_child = os.dup(stdin), os.dup(to_child)
    lines = Lines(from_child)
    async with running(SERVE, stdin, stdout):
        os.write(to_child, request(1))
        assert json.loads(await lines.one())["id"] == 1
        if kind == "pipe" and sys.platform == "linux":
            assert os.get_blocking(stdin)
            assert os.get_blocking(stdout)
        if kind == "socket":
            with socket.socket(fileno=os.dup(to_child)) as end:
                end.shutdown(socket.SHUT_WR)
        os.close(to_child)
    assert os.get_blocking(stdin)
    assert os.get_blocking(stdout)
    os.close(stdin)
    os.close(stdout)
    await lines.reader.aclose()


async def test_a_terminal() -> None:
    import pty
    import tty

    controller, terminal = pty.openpty()
    tty.setraw(terminal)
    lines = Lines(controller)
    async with running(SERVE, terminal, terminal, stderr=subprocess.DEVNULL) as popen:
        os.write(controller, request(1, "a"))
        assert json.loads(await lines.one())["result"] == {"echo": {"text": "a"}}
        assert os.get_blocking(terminal) == (sys.platform == "linux")
        popen.terminate()
    os.close(terminal)
    await lines.reader.aclose()


# name, what is sent, which of the answers are complaints
BROKEN = [
    ("not UTF-8", b'{"jsonrpc":"2.0","id":1,"method":"\xff"}\n', "malformed"),
    ("no JSON", b"hello\n", "malformed"),
    ("oversized", request(1, "x" * 2_000_000), "more than 2000000 bytes"),
    ("CRLF", request(1).replace(b"\n", b"\r\n"), None),
    ("blank lines", b"\n\r\n" + request(1), None),
]


@pytest.mark.parametrize(("data", "complaint"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
async def test_a_broken_line_and_the_next_one(data: bytes, complaint: str | None) -> None:
    out, _ = await run(SERVE, data + request(2, "next"))
    first, second = messages(out)
    if complaint is None:
        assert first["id"] == 1
    else:
        assert first["method"] == "malformed"
        assert complaint in first["params"]["text"].lower() or complaint == "malformed"
    assert second["result"] == {"echo": {"text": "next"}}


async def test_a_byte_order_mark_harms_one_line_at_most() -> None:
    out, _ = await run(SERVE, b"\xef\xbb\xbf" + request(1) + request(2, "next"))
    assert messages(out)[-1]["result"] == {"echo": {"text": "next"}}


async def test_a_partial_last_line_is_no_message() -> None:
    out, _ = await run(SERVE, request(1, "a") + request(2, "b").rstrip(b"\n"))
    first, second = messages(out)
    assert first["id"] == 1
    assert "the stream ended" in second["params"]["text"]


async def test_a_client_that_does_not_read_and_goes() -> None:
    """The server stops reading when its answers are not taken, and ends when they cannot be."""
    stdin, to_child = os.pipe()
    from_child, stdout = os.pipe()
    err_read, err_write = os.pipe()
    writer, reader, errors = FdWriter(to_child), FdReader(from_child), Lines(err_read)

    async def send() -> None:
        for _ in range(100):
            await writer.send_all(request(1, "x" * 1_000_000))

    async def send_in_vain() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await send()

    async with running(SERVE, stdin, stdout, stderr=err_write):
        for fd in (stdin, stdout, err_write):
            os.close(fd)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_vain)
            assert await reader.receive_some()
            # A server that reads on would let us through; one that is slow lets us close a little early.
            await wait_all_tasks_blocked(0.05)
            await reader.aclose()
        assert (await errors.one()).startswith(b"closed: the stream is broken")
    await writer.aclose()
    await errors.reader.aclose()
