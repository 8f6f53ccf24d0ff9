"""What SERVER means on the command line: a command, a URL, or a name from a file of `mcpServers`; and connecting to it.

The file is the one that MCP hosts share: ``{"mcpServers": {NAME: {"command": ..., "args": [...], "env": {...}, "cwd":
...}}}`` or ``{NAME: {"url": ..., "headers": {...}}}``, with ``${VAR}`` and ``${VAR:-default}`` taken from our
environment. A command that somebody has just typed
inherits that environment, as it would from a shell; one from a file gets only harmless names and what its `env` says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from ..abc import Transport
from ..errors import RequestFailed
from ..peer._wait import servants
from ..peer.connection import Connection
from ..peer.peer import Peer
from ..serve import open_stdio
from ..transports.stdio import DEFAULT_ENV
from .display import Display
from .exits import Exit, Trouble

__all__ = ["ServerCommand", "ServerUrl", "connected", "expand", "find_server"]

HANDSHAKE_SECONDS = 30.0
"""How long a server may take to start and shake hands."""

_LAST_WORDS_SECONDS = 0.5
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@frozen(kw_only=True)
class ServerCommand:
    """How to start a server. `inherit_env` is None for all of our environment."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(factory=dict)
    cwd: str | None = None
    inherit_env: Collection[str] | None = None


@frozen(kw_only=True)
class ServerUrl:
    """Where a server is on the web."""

    name: str
    url: str
    headers: Mapping[str, str] = field(factory=dict)


def find_server(given: str, config: Path | None = None) -> ServerCommand | ServerUrl:
    """The server that was meant: a name from a file, else a URL, else a command line. Raises `Trouble`."""
    for path in [config] if config is not None else _usual_files():
        servers = _servers(path)
        if given in servers:
            return _configured(given, servers[given], path)
    if given.startswith(("http://", "https://")):
        return ServerUrl(name=given, url=given)
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise Trouble(f"SERVER is no command line: {error}: {given}", Exit.USAGE) from None
    if not words:
        raise Trouble("SERVER is empty", Exit.USAGE)
    return ServerCommand(name=given, command=words)


def _usual_files() -> list[Path]:
    usual = [Path(".mcp.json"), Path("mcp.json")]
    if named := os.environ.get("MCP_CONFIG"):
        usual.append(Path(named))
    return [path for path in usual if path.is_file()]


def _servers(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}", Exit.USAGE) from None
    except ValueError as error:
        raise Trouble(f"{path} is no JSON: {error}", Exit.USAGE) from None
    servers = content.get("mcpServers", {}) if isinstance(content, dict) else None
    if not isinstance(servers, dict):
        raise Trouble(f"{path}: $.mcpServers: expected an object of servers", Exit.USAGE)
    return servers


def _configured(name: str, entry: Any, path: Path) -> ServerCommand | ServerUrl:
    where = f"{path}: $.mcpServers.{name}"
    if not isinstance(entry, dict):
        raise Trouble(f"{where}: expected an object", Exit.USAGE)

    def expanded(text: str) -> str:
        try:
            return expand(text, os.environ)
        except KeyError as missing:
            raise Trouble(f"{where}: the environment has no {missing.args[0]}", Exit.USAGE) from None

    if "url" in entry and "command" not in entry:
        url, headers = entry["url"], entry.get("headers")
        headers = {} if headers is None else headers
        if not isinstance(url, str) or not url:
            raise Trouble(f"{where}.url: expected a string", Exit.USAGE)
        if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
            raise Trouble(f"{where}.headers: expected an object of strings", Exit.USAGE)
        return ServerUrl(name=name, url=expanded(url), headers={key: expanded(value) for key, value in headers.items()})
    command, args, env, cwd = (entry.get(key) for key in ("command", "args", "env", "cwd"))
    args = [] if args is None else args
    env = {} if env is None else env
    if not isinstance(command, str) or not command:
        raise Trouble(f"{where}.command: expected a string", Exit.USAGE)
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise Trouble(f"{where}.args: expected a list of strings", Exit.USAGE)
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise Trouble(f"{where}.env: expected an object of strings", Exit.USAGE)
    if not (cwd is None or isinstance(cwd, str)):
        raise Trouble(f"{where}.cwd: expected a string", Exit.USAGE)
    return ServerCommand(
        name=name,
        command=[expanded(command), *map(expanded, args)],
        env={key: expanded(value) for key, value in env.items()},
        cwd=None if cwd is None else expanded(cwd),
        inherit_env=DEFAULT_ENV,
    )


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`text` with ``${VAR}`` and ``${VAR:-default}`` filled in, not looked at again. Raises KeyError."""

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if default is not None:
            return environment.get(name) or default
        return environment[name]

    return _VARIABLE.sub(value, text)


@asynccontextmanager
async def connected(
    peer: Peer, server: ServerCommand | ServerUrl, display: Display, *, revision: str | None = None
) -> AsyncIterator[Connection]:
    """Connect to a server, after starting it if it is a command; it is asked what it speaks unless that is told.

    Raises `Trouble` if there is no handshake in `HANDSHAKE_SECONDS`, and what `Peer.connect` raises.
    """
    starting = trio.CancelScope(deadline=trio.current_time() + HANDSHAKE_SECONDS)
    with starting:
        try:
            async with (
                _transport(server, display) as transport,
                peer.connect(transport, revision=revision) as connection,
            ):
                starting.deadline = float("inf")
                yield connection
        except RequestFailed as refused:
            if starting.deadline == float("inf"):
                raise
            raise Trouble(f"{server.name} refused the handshake: {refused}", Exit.SERVER) from refused
    if starting.cancelled_caught:
        raise Trouble(f"{server.name} did not answer within {HANDSHAKE_SECONDS:g} seconds", Exit.TIMEOUT)


@asynccontextmanager
async def _transport(server: ServerCommand | ServerUrl, display: Display) -> AsyncIterator[Transport]:
    if isinstance(server, ServerUrl):
        from ..http import open_http  # not before it is needed: it takes its time

        async with open_http(server.url, headers=server.headers) as transport:
            yield transport
        return
    # Its stderr is shown in dim on a terminal, else it is ours.
    async with (
        _stderr(display) as stderr,
        open_stdio(
            server.command, env=server.env, inherit_env=server.inherit_env, cwd=server.cwd, stderr=stderr
        ) as process,
    ):
        yield process


@asynccontextmanager
async def _stderr(display: Display) -> AsyncIterator[Any]:
    if not display.terminal:
        yield "forward"
        return
    read, write = os.pipe()
    finished = trio.Event()

    async def show() -> None:
        rest = b""
        async with trio.lowlevel.FdStream(read) as stream:
            async for chunk in stream:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    display.said(line.decode("utf-8", "replace"))
        if rest:
            display.said(rest.decode("utf-8", "replace"))
        finished.set()

    async with servants() as nursery:
        nursery.start_soon(show)
        try:
            with os.fdopen(write, "wb"):
                yield write
        finally:
            # The server is gone, so what it had to say is in the pipe; or it left somebody behind who holds the end.
            with trio.move_on_after(_LAST_WORDS_SECONDS):
                await finished.wait()
