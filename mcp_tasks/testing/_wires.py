"""One end of a connection as raw JSON: what a script holds in its hands.

A wire checks nothing. It sends any JSON value, or any bytes, and hands over as a `Frame` whatever comes, readable or
not. The other end is a peer in this process, a program on the other end of a pipe, or a server or client over HTTP
(`_http_client_wire`, `_http_server_wire`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from .._unset import JSON, UNSET
from ..dialects.base import Side
from ..errors import ConnectionClosed
from ..framing.lines import LineDecoder, Oversized
from ..framing.sse import Event
from ..transports.processes import ProcessTransport, Shutdown, open_process
from ._faults import Fault, FaultyStream
from ._frames import Frame

__all__ = ["LineWire", "Wire", "open_program"]

_LINE_BYTES = 256 * 1024 * 1024
_CHUNK = 256 * 1024
_DEPTH = 200

Tap = Callable[[Frame], None]
"""Is shown every frame of both directions, in order, when it is sent or has come, before anybody acts on it."""


class Wire(ABC):
    """One end, of the `side` that the script plays. Frames of both directions go to `frames` and to each of `taps`."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.frames: list[Frame] = []
        self.taps: list[Tap] = []
        self.edit: Callable[[Frame], Iterable[Frame]] | None = None
        """What becomes of a frame of the other side before anybody sees it: to play a program that is broken."""
        self.said: Callable[[Frame], None] | None = None
        """Is shown what we send, after the taps; it may `inject` an answer of its own."""
        self._began: float | None = None
        self._come: deque[Frame] = deque()
        self._arrival = trio.lowlevel.ParkingLot()
        self._over: str | None = None

    @abstractmethod
    async def send(self, message: JSON, *, channel: str | None = None) -> Frame:
        """Send a JSON value; `channel` names the exchange it goes by, where the script wants to say.

        Raises `ConnectionClosed` where it cannot be sent any more.
        """

    @abstractmethod
    async def send_raw(self, data: bytes, *, channel: str | None = None) -> None:
        """Send bytes as they are. Raises `ConnectionClosed`."""

    @abstractmethod
    async def aclose(self) -> None:
        """End it."""

    async def receive(self) -> Frame:
        """Wait for the next frame of the other side. Raises `ConnectionClosed` when none can come any more."""
        while not self._come:
            if self._over is not None:
                raise ConnectionClosed(self._over)
            await self._arrival.park()
        return self._come.popleft()

    def show(self, frame: Frame) -> Frame:
        """Put a frame on record."""
        now = trio.current_time()
        if self._began is None:
            self._began = now
        frame.at = now - self._began
        self.frames.append(frame)
        for tap in self.taps:
            tap(frame)
        if self.said is not None and frame.sender is self.side:
            self.said(frame)
        return frame

    def arrived(self, frame: Frame) -> None:
        """Put a frame of the other side on record, and hand it to whoever receives."""
        for found in (frame,) if self.edit is None else self.edit(frame):
            self.inject(found)

    def inject(self, frame: Frame) -> None:
        """Act as if this frame had come from the other side."""
        self._come.append(self.show(frame))
        self._arrival.unpark_all()

    def over(self, why: str) -> None:
        """Nothing comes any more."""
        if self._over is None:
            self._over = why
            self._arrival.unpark_all()


class LineWire(Wire):
    """Lines over a pair of byte streams: memory, a socket, or the pipes of a program."""

    def __init__(
        self,
        side: Side,
        send_stream: trio.abc.SendStream,
        receive_stream: trio.abc.ReceiveStream,
        nursery: trio.Nursery,
        *,
        why: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        super().__init__(side)
        self._send_stream = send_stream
        self._receive_stream = receive_stream
        self._faulty = send_stream if isinstance(send_stream, FaultyStream) else None
        self._why = why
        self._sending = trio.Lock()
        nursery.start_soon(self._read)

    async def send(self, message: JSON, *, channel: str | None = None) -> Frame:
        frame = self.show(Frame(self.side, message))
        await self.send_raw(json.dumps(message).encode() + b"\n")
        return frame

    async def send_raw(self, data: bytes, *, channel: str | None = None) -> None:
        try:
            async with self._sending:
                await self._send_stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionClosed(await self._reason()) from None

    def start_faults(self) -> None:
        """From now on whatever fault there is happens to what we send."""
        if self._faulty is not None:
            self._faulty.healthy = False

    async def end_sending(self) -> None:
        """Close our direction; the other side may go on."""
        if isinstance(self._send_stream, trio.abc.HalfCloseableStream):
            await self._send_stream.send_eof()  # one stream may be both directions
        else:
            await self._send_stream.aclose()

    async def aclose(self) -> None:
        await self._send_stream.aclose()
        await self._receive_stream.aclose()
        self.over("the wire has been closed")

    async def _read(self) -> None:
        lines = LineDecoder(_LINE_BYTES)
        try:
            while data := await self._receive_stream.receive_some(_CHUNK):
                for line in lines.feed(bytes(data)):
                    self.arrived(_frame(self.side.other, line))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        rest = lines.end()
        if rest is not None:
            self.arrived(Frame(self.side.other, event=f"ended {rest.size} bytes into a line"))
        self.over(await self._reason())

    async def _reason(self) -> str:
        return "the other side has closed its end" if self._why is None else await self._why()


def _frame(sender: Side, line: bytes | Oversized) -> Frame:
    if isinstance(line, Oversized):
        return Frame(sender, event=f"a line of more than {line.limit} bytes")
    return Frame(sender, message) if (message := read_json(line)) is not UNSET else Frame(sender, raw=line)


def read_json(data: bytes) -> JSON:
    """The JSON value that `data` is, read as JSON has it and no laxer; UNSET if it is none.

    What is nested so deeply that whoever looks at it would run out of stack is none either.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return UNSET
    return UNSET if _too_deep(value) else value


def read_event(frame: Frame, item: Event | Oversized, id: str | None) -> Frame:
    """Put into a frame what a server-sent event brought: a message, or bytes that are none, or nothing but its id."""
    frame.event_id = id
    if isinstance(item, Oversized):
        frame.event = f"an event of more than {item.limit} bytes"
        return frame
    frame.message = read_json(item.data)
    if frame.message is UNSET:
        frame.event, frame.raw = "" if item.data else "primed", item.data
    return frame


def read_body(frame: Frame, body: bytes) -> Frame:
    """Put into a frame what came as the whole body of an answer."""
    if body:
        frame.message = read_json(body)
    if frame.message is UNSET:
        frame.raw = body
    return frame


def _too_deep(value: JSON) -> bool:
    level = [value]
    for _ in range(_DEPTH):
        level = [
            part
            for one in level
            if isinstance(one, (dict, list))
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


@asynccontextmanager
async def listening(
    serve: Callable[[trio.SocketStream], Awaitable[object]], nursery: trio.Nursery, *, host: str, port: int = 0
) -> AsyncIterator[int]:
    """Serve each connection at `host`, on a free port unless one is given, until the block ends; gives the port."""
    scope = trio.CancelScope()

    async def listen(*, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        with scope:
            await trio.serve_tcp(serve, port, host=host, task_status=task_status)

    listeners: list[trio.SocketListener] = await nursery.start(listen)
    try:
        yield listeners[0].socket.getsockname()[1]
    finally:
        scope.cancel()


@asynccontextmanager
async def open_program(
    command: Sequence[str],
    nursery: trio.Nursery,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    shutdown: Shutdown | None = None,
    fault: Fault | None = None,
) -> AsyncIterator[tuple[LineWire, ProcessTransport]]:
    """Start a server that is a command, and talk to it as a client by its pipes. It ends with the block.

    The second value says how it is and what it wrote to stderr; `fault` happens to what we send. Raises OSError if it
    cannot be started.
    """
    async with open_process(command, env=env, cwd=cwd, stderr="capture", shutdown=shutdown) as process:

        async def why() -> str:
            return await process.last_words(ConnectionClosed("the program has closed its stdout"))

        stdin, stdout = process.streams
        sending = stdin if fault is None else FaultyStream(stdin, fault, healthy=True)
        yield LineWire(Side.CLIENT, sending, stdout, nursery, why=why), process
