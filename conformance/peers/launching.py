"""Servers over HTTP that are started for the purpose: they say where they listen, and end with their stdin."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from ..subjects import Served, ServerSubject, Url

__all__ = ["Launched", "launched"]

_START_SECONDS = 60.0
_URL = re.compile(rb"(https?://[^\s\"']+)\s")


@define
class Launched(ServerSubject):
    """A server that has been started by us, or is for each connection.

    Where one process serves all connections it is started anew once it has died.
    """

    command: Sequence[str]
    fresh: bool = False
    env: Mapping[str, str] | None = None
    transport: str = "http"
    nursery: trio.Nursery | None = None
    """In which the one process is looked after."""
    _shared: _Process | None = field(default=None, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    @asynccontextmanager
    async def open(self, nursery: trio.Nursery, *, token: str | None = None) -> AsyncIterator[Served]:
        if self.fresh:
            process = await _start(self.command, nursery, self.env)
        else:
            async with self._lock:
                if self._shared is None or self._shared.process.returncode is not None:
                    assert self.nursery is not None
                    self._shared = await _start(self.command, self.nursery, self.env)
                process = self._shared
        before = len(process.complaints)
        try:
            async with Url(process.url).open(nursery, token=token) as served:
                served.stderr = lambda: process.complaints[before:].decode(errors="replace")
                yield served
        finally:
            if self.fresh:
                await process.aclose()


@asynccontextmanager
async def launched(command: Sequence[str], *, fresh: bool = False) -> AsyncIterator[Launched]:
    """A server that is there, once it is needed, until the block ends."""
    async with trio.open_nursery() as nursery:
        subject = Launched(command, fresh, nursery=nursery)
        try:
            yield subject
        finally:
            if subject._shared is not None:
                await subject._shared.aclose()
            nursery.cancel_scope.cancel()


@define
class _Process:
    process: trio.Process
    url: str = ""
    complaints: bytearray = field(factory=bytearray)

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            assert self.process.stdin is not None
            await self.process.stdin.aclose()
            for end in (None, self.process.terminate, self.process.kill):
                if end is not None:
                    end()
                with trio.move_on_after(2):
                    await self.process.wait()
                    return


async def _start(command: Sequence[str], nursery: trio.Nursery, env: Mapping[str, str] | None) -> _Process:
    """Start a server, and wait until it has said where it is. Raises OSError."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        start_new_session=True,
    )
    found = _Process(process)
    said = trio.Event()

    async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
        # Most say on stdout where they are; some tell people, on stderr.
        async for data in stream:
            into += data
            if not found.url and (match := _URL.search(into)):
                found.url = match[1].decode()
                said.set()
        said.set()

    assert process.stdout is not None
    assert process.stderr is not None
    nursery.start_soon(read, process.stdout, bytearray())
    nursery.start_soon(read, process.stderr, found.complaints)
    with trio.move_on_after(_START_SECONDS):
        await said.wait()
    if not found.url:
        await found.aclose()
        why = found.complaints.decode(errors="replace").strip().splitlines()
        raise OSError(f"{' '.join(command)} did not say where it listens: {why[-1] if why else 'it said nothing'}")
    return found
