"""The programs on other people's SDKs that the suite is run against, by name.

A server is a command line and a profile, a client is a command line that does errands: README.md tells how to add one.
Most servers are those of the interoperability tests (tests/peers); what is here besides are servers that are made as an
SDK's own documentation says, and the errand clients.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from attrs import frozen

from ..profile import Profile, load_profile

__all__ = ["HERE", "ClientSide", "PeerProgram", "ServerSide", "all_peers", "profile_of"]

HERE = Path(__file__).resolve().parent
OLD, NEW = "2025-11-25", "2026-07-28"


@frozen
class ServerSide:
    """A server under test."""

    command: Callable[[str], list[str]]
    """The command line, for "stdio" or "http"; by the latter it prints its URL first, and ends with its stdin."""
    profile: str
    """The name of a file in conformance/profiles, without its suffix."""
    eras: tuple[str, ...]
    transports: tuple[str, ...] = ("stdio", "http")
    fresh: bool = False
    """Whether each scenario has to have a process of its own over HTTP, because sessions of one disturb each other."""


@frozen
class ClientSide:
    """A client under test, which does errands."""

    command: list[str]
    eras: tuple[str, ...]
    profile: str = "errands"
    transports: tuple[str, ...] = ("stdio", "http")


@frozen
class PeerProgram:
    """What is judged under one name."""

    name: str
    says: str
    """What it is, in a line."""
    servers: tuple[ServerSide, ...] = ()
    clients: tuple[ClientSide, ...] = ()


def profile_of(side: ServerSide | ClientSide) -> Profile:
    """What it can be brought to show. Raises `ProfileError`, OSError."""
    return load_profile(HERE.parent / "profiles" / f"{side.profile}.toml")


def all_peers(sdks: ModuleType) -> list[PeerProgram]:
    """All of them, ours first; `sdks` is tests/peers/install.py."""
    node, modules = sdks.node(), str(sdks.peers_dir())

    def script(name: str, *arguments: str) -> list[str]:
        return [node, str(HERE / name), *arguments]

    def stock_python(transport: str) -> list[str]:
        return [str(sdks.python_130()), str(HERE / "python_stock_server.py"), transport]

    def stock_npm(transport: str) -> list[str]:
        return script("npm_stock_server.mjs", transport, modules)

    def python(interpreter: Path, name: str) -> list[str]:
        return [str(interpreter), str(HERE / name)]

    return [
        PeerProgram(
            "mcp-tasks",
            "this project",
            (ServerSide(_ours, "mcp-tasks-server", (OLD, NEW)),),
            (ClientSide([sys.executable, "-m", "conformance.fixtures.errands"], (OLD, NEW), "mcp-tasks-client"),),
        ),
        PeerProgram(
            "mcp-1.30.0",
            "Python SDK 1.30.0, by someone who goes around its faults",
            (ServerSide(sdks.python_server_command, "mcp-1.30.0", (OLD,)),),
            (ClientSide(python(sdks.python_130(), "python_errands.py"), (OLD,)),),
        ),
        PeerProgram(
            "stock-mcp-1.30.0",
            "Python SDK 1.30.0, as its documentation has it",
            (ServerSide(stock_python, "stock-mcp-1.30.0", (OLD,), fresh=True),),
        ),
        PeerProgram(
            "npm-1.32.2",
            "TypeScript SDK 1.32.2, the low-level Server",
            (ServerSide(sdks.npm_server_command, "npm-1.32.2", (OLD,)),),
            (ClientSide(script("npm_errands.mjs", modules), (OLD,)),),
        ),
        PeerProgram(
            "stock-npm-1.32.2",
            "TypeScript SDK 1.32.2, McpServer as its documentation has it",
            (ServerSide(stock_npm, "stock-npm-1.32.2", (OLD,)),),
        ),
        PeerProgram(
            "server-everything",
            "npm server-everything 2026.8.31, on SDK 1.32.2",
            (ServerSide(sdks.everything_command, "server-everything", (OLD,)),),
        ),
        PeerProgram(
            "mcp-2.3.0",
            "Python SDK 2.3.0, which has no tasks",
            (
                ServerSide(sdks.python23_server_command, "mcp-2.3.0", (OLD,)),
                ServerSide(sdks.modern_python_server_command, "modern-mcp-2.3.0", (NEW,)),
            ),
            (ClientSide(python(sdks.python_23(), "python23_errands.py"), (OLD, NEW)),),
        ),
        PeerProgram(
            "npm-2.4.0",
            "TypeScript SDK 2.4.0, which has no tasks",
            (ServerSide(sdks.modern_npm_server_command, "modern-npm-2.4.0", (OLD, NEW)),),
            (ClientSide(script("npm24_errands.mjs", modules), (OLD, NEW)),),
        ),
        PeerProgram(
            "fastmcp-4.1.4",
            "fastmcp 4.1.4 with fastmcp-tasks 4.1.4",
            (ServerSide(sdks.modern_fastmcp_server_command, "fastmcp-4.1.4", (OLD, NEW)),),
            (ClientSide(python(sdks.python_fastmcp(), "fastmcp_errands.py"), (NEW,)),),
        ),
    ]


def _ours(transport: str) -> list[str]:
    where = ["--stdio"] if transport == "stdio" else ["--http", "127.0.0.1:0"]
    return [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.healthy:peer", *where]
