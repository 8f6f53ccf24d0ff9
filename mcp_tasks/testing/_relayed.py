"""The server's end of stdio for a client that starts its server itself: what it starts is a relay to us."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from .._unset import JSON
from ..dialects.base import Side
from ..errors import ConnectionClosed
from ..peer._wait import servants
from ._frames import Frame
from ._wires import LineWire, Wire, listening

__all__ = ["RelayedWire", "open_relayed_wire"]

_RELAY = Path(__file__).with_name("relay.py")


class RelayedWire(Wire):
    """The server's end. A client may start its server more than once: what is sent goes to the latest start.

    `command` is what the client has to start. Frames say by their channel which start they are of, from the second on.
    """

    def __init__(self) -> None:
        super().__init__(Side.SERVER)
        self.command: list[str] = []
        self.starts = 0
        self._line: LineWire | None = None
        self._opened = trio.Event()
        self._closed = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Carry one start to its end."""
        self.starts += 1
        channel = "" if self.starts == 1 else f"start {self.starts}"
        async with servants() as nursery:
            line = LineWire(Side.SERVER, stream, stream, nursery)
            self._line = line
            self._opened.set()
            try:
                while True:
                    frame = await line.receive()
                    frame.channel = channel
                    self.arrived(frame)
            except ConnectionClosed:
                pass
            self.arrived(Frame(Side.CLIENT, channel=channel, event="closed"))
            await self._closed.wait()  # who says no more may still listen

    async def send(self, message: JSON, *, channel: str | None = None) -> Frame:
        line = await self._latest()
        frame = self.show(Frame(Side.SERVER, message))
        await line.send(message)
        return frame

    async def send_raw(self, data: bytes, *, channel: str | None = None) -> None:
        await (await self._latest()).send_raw(data)

    async def _latest(self) -> LineWire:
        await self._opened.wait()
        assert self._line is not None
        return self._line

    async def aclose(self) -> None:
        self._closed.set()
        if self._line is not None:
            await self._line.aclose()
        self.over("the wire has been closed")


@asynccontextmanager
async def open_relayed_wire(nursery: trio.Nursery) -> AsyncIterator[RelayedWire]:
    """Listen for a client that starts `RelayedWire.command`; the connection is closed when the block ends."""
    wire = RelayedWire()
    async with listening(wire.serve, nursery, host="127.0.0.1") as port:
        wire.command = [sys.executable, str(_RELAY), str(port)]
        try:
            yield wire
        finally:
            with trio.CancelScope(shield=True):
                await wire.aclose()
