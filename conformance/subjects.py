"""How the program under test is reached: a server that is a command, a URL or a peer in memory; a client likewise.

A subject opens wires, as many as it is asked for; each is a connection of its own. What it is, and in which language it
was written, is nobody's business here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio
import trio.testing
from attrs import asdict, define, field

from mcp_tasks import Authenticator, HttpServer, LineTransport, Peer, open_http, serve_http
from mcp_tasks.testing import (
    HttpClientWire,
    LineWire,
    Side,
    Wire,
    open_http_server_wire,
    open_program,
    open_relayed_wire,
)

from .scenario import Errand
from .secrets import of_headers, of_url

__all__ = [
    "ClientProgram",
    "ClientSubject",
    "Command",
    "InMemory",
    "InMemoryClient",
    "LocalHttp",
    "LocalHttpClient",
    "Served",
    "ServerSubject",
    "Url",
]


_LAST_WORDS_SECONDS = 2.0


@define
class Served:
    """A connection with a server under test, or with a client."""

    wire: Wire
    stderr: Callable[[], str] = lambda: ""
    """What the program has written there so far."""
    finished: Callable[[], Awaitable[str]] | None = None
    """Wait until a client has ended, and return what it printed."""
    another: Callable[[str | None], AbstractAsyncContextManager[Served]] | None = None
    """Open one more connection with the same server, for whom a token names; None where there can be none."""


class ServerSubject(ABC):
    """A server under test."""

    transport: str

    @abstractmethod
    def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AbstractAsyncContextManager[Served]:
        """A new connection, with that identity where there are several."""

    def secrets(self, tokens: Collection[str] | None) -> set[str]:
        """What says who we are, and must not get into reports."""
        return set(tokens or ())


@define
class Command(ServerSubject):
    """A server over stdio; each connection is a process of its own."""

    command: Sequence[str]
    env: Mapping[str, str] = field(factory=dict)
    cwd: str | None = None
    transport: str = "stdio"

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AsyncIterator[Served]:
        async with open_program(self.command, nursery, env=self.env, cwd=self.cwd) as (wire, process):
            yield Served(wire, lambda: process.stderr_tail)


@define
class Url(ServerSubject):
    """A server over Streamable HTTP that is already running."""

    url: str
    headers: Mapping[str, str] = field(factory=dict)
    transport: str = "http"

    def secrets(self, tokens: Collection[str] | None) -> set[str]:
        return {*(tokens or ()), *of_headers(self.headers), *of_url(self.url)}

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AsyncIterator[Served]:
        wire = HttpClientWire(self.url, nursery, headers={**self.headers, **_bearer(token)})
        try:
            yield Served(wire, another=lambda other: self.open(nursery, token=other))
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(2):
                if wire.session_id is not None:
                    await wire.delete().ended.wait()
            await wire.aclose()


@define
class InMemory(ServerSubject):
    """A peer of ours in this process. Each connection serves a new one."""

    make: Callable[[], Peer]
    break_it: Callable[[Wire], None] = lambda wire: None
    transport: str = "stdio"

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AsyncIterator[Served]:
        peer = self.make()
        ours, theirs = trio.testing.memory_stream_pair()
        transport = LineTransport(theirs, theirs, limits=peer.limits)
        async with trio.open_nursery() as inner:
            inner.start_soon(peer.serve, transport)
            wire = LineWire(Side.CLIENT, ours, ours, inner)
            try:
                self.break_it(wire)
                yield Served(wire)
            finally:
                inner.cancel_scope.cancel()


@define
class LocalHttp(ServerSubject):
    """A peer of ours in this process, over real HTTP on this machine. Each connection serves a new one."""

    make: Callable[[], Peer]
    break_it: Callable[[Wire], None] = lambda wire: None
    transport: str = "http"
    auth: Authenticator | None = None
    """How it tells its clients apart; None for one that cannot."""

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AsyncIterator[Served]:
        async with trio.open_nursery() as inner:
            server: HttpServer = await inner.start(partial(serve_http, self.make(), auth=self.auth))

            @asynccontextmanager
            async def another(token: str | None) -> AsyncIterator[Served]:
                wire = HttpClientWire(server.url, inner, headers=_bearer(token))
                self.break_it(wire)
                try:
                    yield Served(wire, another=another)
                finally:
                    await wire.aclose()

            try:
                async with another(token) as served:
                    yield served
            finally:
                inner.cancel_scope.cancel()


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"authorization": f"Bearer {token}"}


class ClientSubject(ABC):
    """A client under test, which is started once for each errand."""

    transport: str

    @abstractmethod
    def open(self, nursery: trio.Nursery, errand: Errand, era: str) -> AbstractAsyncContextManager[Served]:
        """Start it, and be its server."""


@define
class ClientProgram(ClientSubject):
    """A client that is a command, started with its server's URL, or command, as the last arguments.

    Its environment says in ``MCP_CONFORMANCE`` what it is to do, as JSON: the members of `Errand`, and ``revision``. It
    ends by itself when that is done, with status 0, and prints the result of the call as its last line of JSON.
    """

    command: Sequence[str]
    transport: str = "stdio"
    env: Mapping[str, str] = field(factory=dict)
    cwd: str | None = None

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, errand: Errand, era: str) -> AsyncIterator[Served]:
        told = json.dumps({**asdict(errand), "revision": era})
        env = {**os.environ, **self.env, "MCP_CONFORMANCE": told}
        if self.transport == "http":
            async with (
                open_http_server_wire(nursery) as wire,
                _running([*self.command, wire.url], env, self.cwd, nursery) as (said, finished),
            ):
                yield Served(wire, said, finished)
            return
        async with (
            open_relayed_wire(nursery) as relayed,
            _running([*self.command, "--", *relayed.command], env, self.cwd, nursery) as (said, finished),
        ):
            yield Served(relayed, said, finished)


@asynccontextmanager
async def _running(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None, nursery: trio.Nursery
) -> AsyncIterator[tuple[Callable[[], str], Callable[[], Awaitable[str]]]]:
    """A client program; gives what it wrote to stderr so far, and what waits for its end and returns what it printed.

    It and all that it started are killed when the block ends.
    """
    printed, complaints = bytearray(), bytearray()
    over = trio.Event()
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
    )

    async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
        async for data in stream:
            into += data

    async def watch() -> None:
        try:
            async with trio.open_nursery() as inner:
                assert process.stdout is not None
                assert process.stderr is not None
                inner.start_soon(read, process.stdout, printed)
                inner.start_soon(read, process.stderr, complaints)
                await process.wait()
                # What it started may hold the other ends for as long as it likes.
                inner.cancel_scope.deadline = trio.current_time() + _LAST_WORDS_SECONDS
        finally:
            over.set()

    async def finished() -> str:
        await over.wait()
        return printed.decode(errors="replace")

    def said() -> str:
        status = process.returncode
        last = f"\n(it ended with status {status})" if status else ""
        return complaints.decode(errors="replace") + last

    nursery.start_soon(watch)
    try:
        yield said, finished
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
                with trio.move_on_after(_LAST_WORDS_SECONDS):
                    await process.wait()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # the group is its own, and lives for as long as anybody in it
            await process.wait()


@define
class LocalHttpClient(ClientSubject):
    """A client in this process, over real HTTP on this machine."""

    run: Callable[[Any, Errand, str], Awaitable[str]]
    break_it: Callable[[Wire], None] = lambda wire: None
    transport: str = "http"

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, errand: Errand, era: str) -> AsyncIterator[Served]:
        printed: list[str] = []
        over = trio.Event()
        async with trio.open_nursery() as inner, open_http_server_wire(inner) as wire:
            self.break_it(wire)

            async def run() -> None:
                try:
                    async with open_http(wire.url, trust_env=False) as transport:
                        printed.append(await self.run(transport, errand, era))
                finally:
                    over.set()

            async def finished() -> str:
                await over.wait()
                return "".join(printed)

            inner.start_soon(run)
            try:
                yield Served(wire, finished=finished)
            finally:
                inner.cancel_scope.cancel()


@define
class InMemoryClient(ClientSubject):
    """A client in this process: `run` is given a transport, the errand and the era, and returns the result as JSON."""

    run: Callable[[Any, Errand, str], Awaitable[str]]
    break_it: Callable[[Wire], None] = lambda wire: None
    transport: str = "stdio"

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, errand: Errand, era: str) -> AsyncIterator[Served]:
        ours, theirs = trio.testing.memory_stream_pair()
        printed: list[str] = []
        over = trio.Event()

        async def run() -> None:
            try:
                printed.append(await self.run(LineTransport(theirs, theirs), errand, era))
            finally:
                over.set()

        async def finished() -> str:
            await over.wait()
            return "".join(printed)

        async with trio.open_nursery() as inner:
            inner.start_soon(run)
            wire = LineWire(Side.SERVER, ours, ours, inner)
            try:
                self.break_it(wire)
                yield Served(wire, finished=finished)
            finally:
                inner.cancel_scope.cancel()
