"""Faults on demand: what may happen to bytes between two programs, on either kind of stream.

A fault is told what somebody wrote and says what becomes of it. Several are put one behind the other:

    async with scripted(peer, fault=Faults(Garbage(every=3), Split(1))) as client: ...

Those that know lines (`Duplicate`, `Reorder`, `Garbage`) keep a line that is not complete until it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import trio

__all__ = ["Cut", "Duplicate", "Fault", "Faults", "FaultyStream", "Garbage", "Reorder", "Split", "Stall"]


class _End:
    """The connection is cut here."""


class _Wait:
    """Nothing goes on from here until the stall is over."""

    def __init__(self, over: trio.Event) -> None:
        self.over = over


class Fault(ABC):
    """One kind of fault, on one direction of one connection."""

    @abstractmethod
    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        """What becomes of bytes that somebody writes."""


class Split(Fault):
    """Bytes arrive in pieces of `size`."""

    def __init__(self, size: int = 1) -> None:
        self.size = size

    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        for start in range(0, len(data), self.size):
            yield data[start : start + self.size]


class Cut(Fault):
    """The connection breaks after so many bytes, in the middle of whatever it is."""

    def __init__(self, after: int) -> None:
        self.left = after

    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        head, self.left = data[: self.left], self.left - len(data)
        if head:
            yield head
        if self.left < 0:
            self.left = 0
            yield _End()


class Stall(Fault):
    """After so many bytes nothing gets through until `release` is called."""

    def __init__(self, after: int) -> None:
        self.left = after
        self._over = trio.Event()

    def release(self) -> None:
        """Let everything through that waits, and whatever follows."""
        self._over.set()

    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        if self._over.is_set():
            yield data
            return
        head, tail = data[: self.left], data[self.left :]
        self.left -= len(head)
        if head:
            yield head
        if tail:
            yield _Wait(self._over)
            yield tail


class _OfLines(Fault):
    def __init__(self) -> None:
        self._rest = b""

    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield from self.line(line + b"\n")

    @abstractmethod
    def line(self, line: bytes) -> Iterator[bytes]:
        """What becomes of one line."""


class Duplicate(_OfLines):
    """Every so many lines, one comes twice; `which` says which do, where it is given."""

    def __init__(self, every: int = 1, which: Callable[[bytes], bool] = lambda line: True) -> None:
        super().__init__()
        self.every = every
        self._which = which
        self._count = 0

    def line(self, line: bytes) -> Iterator[bytes]:
        yield line
        if self._which(line):
            self._count += 1
            if self._count % self.every == 0:
                yield line


class Reorder(_OfLines):
    """Lines change places, two by two."""

    def __init__(self) -> None:
        super().__init__()
        self._held: bytes | None = None

    def line(self, line: bytes) -> Iterator[bytes]:
        if self._held is None:
            self._held = line
        else:
            yield line
            yield self._held
            self._held = None


class Garbage(_OfLines):
    """Before every so many lines comes something that nobody meant."""

    def __init__(self, every: int = 1, data: bytes = b'{"jsonrpc": "2.0", \xff\n') -> None:
        super().__init__()
        self.every = every
        self.data = data
        self._count = 0

    def line(self, line: bytes) -> Iterator[bytes]:
        self._count += 1
        if self._count % self.every == 0:
            yield self.data
        yield line


class Faults(Fault):
    """Several faults, each of which sees what the one before it lets through."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults

    def pieces(self, data: bytes) -> Iterator[bytes | _End | _Wait]:
        return self._through(data, self.faults)

    def _through(self, data: bytes, faults: tuple[Fault, ...]) -> Iterator[bytes | _End | _Wait]:
        if not faults:
            yield data
            return
        for piece in faults[0].pieces(data):
            if isinstance(piece, bytes):
                yield from self._through(piece, faults[1:])
            else:
                yield piece


class FaultyStream(trio.abc.SendStream):
    """A stream on which a fault happens to what is written; while `healthy`, none does."""

    def __init__(self, stream: trio.abc.SendStream, fault: Fault, *, healthy: bool = False) -> None:
        self.healthy = healthy
        self._stream = stream
        self._fault = fault

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write, as far as the fault lets it. Raises `trio.BrokenResourceError` where it cuts the connection."""
        if self.healthy:
            await self._stream.send_all(data)
            return
        await trio.lowlevel.checkpoint()
        for piece in self._fault.pieces(bytes(data)):
            if isinstance(piece, _End):
                await self._stream.aclose()
                raise trio.BrokenResourceError("the connection was cut")
            if isinstance(piece, _Wait):
                await piece.over.wait()
            else:
                await self._stream.send_all(piece)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
