"""Two transports joined in memory, over the same bytes as a pipe.

What goes from one end to the other is encoded, framed, cut into whatever pieces a hook likes, and decoded again, so a
test in memory sees what a test over a pipe would. Each direction holds a bounded number of bytes, as a pipe does.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..limits import Limits
from .lines import LineTransport

__all__ = ["MemoryPipe", "MemoryReader", "memory_transport_pair"]

PIPE_BYTES = 64 * 1024


class MemoryPipe(trio.abc.SendStream, trio.abc.ReceiveStream):
    """One direction: bytes go in at `send_all` and come out at `receive_some`.

    `tap` sees all that is written, before it can be read, and returns the pieces to pass on: the same bytes in one
    piece, single bytes, fewer, or others. A reader that stays away makes the writer wait once `size` bytes are held.
    """

    def __init__(self, *, size: int = PIPE_BYTES, tap: Callable[[bytes], list[bytes]] | None = None) -> None:
        self._size = size
        self._tap = tap
        self._pieces: list[bytes] = []
        self._held = 0
        self._ended = False
        self._broken = False
        self._more = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write. Raises `trio.BrokenResourceError` once nobody reads, `trio.ClosedResourceError` after `aclose`."""
        await trio.lowlevel.checkpoint()
        pieces = [bytes(data)] if self._tap is None else self._tap(bytes(data))
        for piece in pieces:
            for start in range(0, len(piece), self._size):
                while self._held >= self._size and not self._broken and not self._ended:
                    await self._room.park()
                if self._ended:
                    raise trio.ClosedResourceError
                if self._broken:
                    raise trio.BrokenResourceError("nobody reads")
                part = piece[start : start + self._size]
                self._pieces.append(part)
                self._held += len(part)
                self._more.unpark_all()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await trio.lowlevel.checkpoint()
        while self._held >= self._size and not self._broken and not self._ended:
            await self._room.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Read what the next piece holds; empty at the end. Raises `trio.ClosedResourceError` after `close_reader`."""
        await trio.lowlevel.checkpoint()
        while not self._pieces and not self._ended and not self._broken:
            await self._more.park()
        if self._broken:
            raise trio.ClosedResourceError
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if max_bytes is not None and len(piece) > max_bytes:
            self._pieces.insert(0, piece[max_bytes:])
            piece = piece[:max_bytes]
        self._held -= len(piece)
        self._room.unpark_all()
        return piece

    async def aclose(self) -> None:
        """End the writing side: what is held can still be read."""
        self._ended = True
        self._wake()
        await trio.lowlevel.checkpoint()

    def close_reader(self) -> None:
        """End the reading side: what is held is lost, and writing fails."""
        self._broken = True
        self._pieces.clear()
        self._held = 0
        self._wake()

    def _wake(self) -> None:
        self._more.unpark_all()
        self._room.unpark_all()


class MemoryReader(trio.abc.ReceiveStream):
    """The reading end, whose closing is not the writing end's."""

    def __init__(self, pipe: MemoryPipe) -> None:
        self._pipe = pipe

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._pipe.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._pipe.close_reader()
        await trio.lowlevel.checkpoint()


def memory_transport_pair(
    *,
    limits: Limits | None = None,
    tap: Callable[[bytes], list[bytes]] | None = None,
    size: int = PIPE_BYTES,
) -> tuple[LineTransport, LineTransport]:
    """Two joined transports; what one sends the other receives. `tap` cuts the bytes of both directions."""
    there, back = MemoryPipe(size=size, tap=tap), MemoryPipe(size=size, tap=tap)
    return (
        LineTransport(there, MemoryReader(back), limits=limits),
        LineTransport(back, MemoryReader(there), limits=limits),
    )
