"""The programs on the other side: what they are, and how one that serves HTTP is started, heard and ended."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import IO

import trio
from attrs import define, frozen

ROOT = Path(__file__).parents[2]


@frozen(kw_only=True)
class Program:
    """A server that our client is to talk to."""

    command: list[str]
    transport: str = "stdio"
    """Or "http", "http-json", "http-resumable"."""
    exits: bool = True
    """Whether it ends by itself when its client is gone."""

    @property
    def over_http(self) -> bool:
        return self.transport != "stdio"


@frozen(kw_only=True)
class SdkServer(Program):
    """A server on an official SDK with the tools of tests/peers/README.md, and how it differs from the other one."""

    name: str
    poll_interval_ms: int = 0
    """What it asks for. The Python SDK has no choice here."""
    echoes_prefix: bool = False
    """Whether its error messages begin with "MCP error CODE: "; those of tasks that failed do not."""
    refused_task: tuple[int, str] = (0, "")
    """How a call fails that had the client run a task, which ended in -1 "the user said no": code, end of message."""
    drives: bool = True
    """Whether it has tasks."""


def sdk_server(peers: ModuleType, name: str) -> SdkServer:
    """The server that a name like "npm-http" is for."""
    sdk, _, transport = name.partition("-")
    match sdk:
        case "python":
            return SdkServer(
                command=peers.python_server_command(transport),
                transport=transport,
                name="mcp-tasks-python-peer",
                poll_interval_ms=500,
                refused_task=(-1, "the user said no"),
            )
        case "npm":
            return SdkServer(
                command=peers.npm_server_command(transport),
                transport=transport,
                name="mcp-tasks-npm-peer",
                poll_interval_ms=100,
                echoes_prefix=True,
                refused_task=(-32603, " failed"),
            )
        case _:
            return SdkServer(
                command=peers.python23_server_command(transport),
                transport=transport,
                name="mcp-tasks-python23-peer",
                drives=False,
            )


def modern_sdk_server(peers: ModuleType, name: str) -> SdkServer:
    """The server for revision 2026-07-28 that a name like "npm-http" is for."""
    sdk, _, transport = name.partition("-")
    command = getattr(peers, f"modern_{sdk}_server_command")(transport)
    return SdkServer(command=command, transport=transport, name=f"mcp-tasks-modern-{sdk}-peer", drives=sdk == "fastmcp")


# --- programs that serve HTTP -----------------------------------------------------------------------------------------


@define(eq=False)
class HttpServer:
    """A process that serves HTTP: where, and what it has said."""

    process: trio.Process
    url: str
    said: str
    """On the stream on which it told its URL."""
    _voice: trio.abc.ReceiveStream
    _rest: IO[bytes]

    async def hear(self, pattern: str) -> re.Match[str]:
        """Wait until it has said something."""
        while (match := re.search(pattern, self.said)) is None:
            more = await self._voice.receive_some()
            assert more, f"it ended, and had said: {self.said!r} {self.whispered()!r}"
            self.said += more.decode()
        return match

    async def end(self) -> int:
        """Wait until it has ended, and hear it out; returns its exit code."""
        async for more in self._voice:
            self.said += more.decode()
        return await self.process.wait()

    def whispered(self) -> str:
        """What it has said on its other stream."""
        self._rest.seek(0)
        return self._rest.read().decode()


@asynccontextmanager
async def http_server(command: list[str], *, tells_on: str = "stdout") -> AsyncIterator[HttpServer]:
    """Start a program that says where it serves HTTP. It is killed at the end, if it is still there."""
    with tempfile.TemporaryFile() as rest:
        outputs = {"stdout": rest, "stderr": rest, tells_on: subprocess.PIPE}
        process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, cwd=ROOT, **outputs)
        voice = process.stdout or process.stderr
        assert voice is not None
        assert process.stdin is not None
        server = HttpServer(process, "", "", voice, rest)
        try:
            server.url = (await server.hear(r"http://\S+(?=\s)"))[0]
            yield server
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
                await process.stdin.aclose()
                await voice.aclose()


COMMAND_LINE = ["mcp_tasks", "serve", "conformance.fixtures.everything:peer", "--http", "127.0.0.1:0"]
WITH_TOKENS = ["tests.interop._our_server"]


@asynccontextmanager
async def our_http_server(module: list[str] = COMMAND_LINE) -> AsyncIterator[str]:
    """Our server, as the command line runs it unless it is to be another one; the value is its URL."""
    async with http_server([sys.executable, "-m", *module], tells_on="stderr") as server:
        yield server.url
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 128 + signal.SIGTERM
        assert server.said == f"mcp-tasks: everything is served at {server.url}\n"
        assert server.whispered() == ""


MODERN = [sys.executable, "-m", "tests.interop._our_modern_server"]


@asynccontextmanager
async def our_modern_http_server() -> AsyncIterator[str]:
    """Our server with the tools for clients of 2026-07-28; the value is its URL."""
    async with http_server(MODERN, tells_on="stderr") as server:
        yield server.url
        server.process.send_signal(signal.SIGTERM)
        assert await server.end() == 128 + signal.SIGTERM
        assert server.said == f"mcp-tasks: mcp-tasks-modern is served at {server.url}\n"
        assert server.whispered() == ""
