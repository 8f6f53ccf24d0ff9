"""A network that fails on demand, between each part of a fleet and the engine.

Each part has a way of its own. What goes along it in a direction passes, is late, or is lost, and that may be changed
while connections are open. It stays a TCP network: the bytes of a connection arrive in order and without a gap, or the
connection ends. So what is late arrives when the way has healed, even if whoever sent it has given up by then, and a
connection of which something was lost is reset.

All of it is in a thread of its own: a part that connects lets nothing else happen in its thread meanwhile.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TypeVar

import trio
from attrs import define, field

__all__ = ["Fate", "Network", "Way", "open_network"]

T = TypeVar("T")

_CHUNK_BYTES = 65536
_OPENING_BYTES = 4096
_RESET = struct.pack("ii", 1, 0)  # no lingering: what is closed so is reset
_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class Fate(Enum):
    """What becomes of bytes."""

    PASS = "pass"
    LATE = "late"
    LOST = "lost"


@define(eq=False)
class Way:
    """One part's way to the engine. All that may be called from outside has happened once it returns."""

    port: int
    """Where the part finds it."""
    _engine_port: int
    _listener: trio.socket.SocketType
    _nursery: trio.Nursery
    _do: Callable[[Callable[[], None]], None]
    requests: Fate = Fate.PASS
    """What becomes of what the part says."""
    answers: Fate = Fate.PASS
    """What becomes of what the engine says."""
    stopped: int = 0
    """How many pieces have not gone on at once."""
    cuts: int = 0
    """How many connections were reset."""
    lines: set[_Line] = field(factory=set)
    changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    _listens: bool = True
    _awaited: tuple[bytes, Fate, Fate] | None = None

    @property
    def url(self) -> str:
        """What the part takes for the engine."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def waits(self) -> bool:
        """Whether a fault is to begin with a request that has not come yet."""
        return self._awaited is not None

    # --- from outside ---------------------------------------------------------------------------------------------

    def strike(self, *, requests: Fate = Fate.PASS, answers: Fate = Fate.PASS, at: bytes = b"") -> None:
        """From now on this becomes of what is on the way, by connections that are open and by new ones.

        With a word, it begins with the first request that has it.
        """
        self._do(lambda: self._strike(requests, answers, at))

    def part(self, fate: Fate = Fate.LATE) -> None:
        """Nothing goes either way. Connections stay open; new ones are accepted, and silent."""
        self.strike(requests=fate, answers=fate)

    def refuse(self, word: bytes = b"") -> None:
        """Reset all connections, or those on which this word came early, and refuse new ones."""
        self._do(lambda: self._refuse(word))

    def strand(self, word: bytes = b"") -> None:
        """All connections lead nowhere, or those on which this word came early, and new ones are well."""
        self._do(lambda: self._strand(word))

    def cut(self, word: bytes = b"") -> None:
        """Reset all connections, or those on which this word came early."""
        self._do(lambda: self._cut(word))

    def cut_in_answer(self, size: int, word: bytes = b"") -> None:
        """Reset each such connection, but not before so many more bytes of answers have arrived on it."""
        self._do(lambda: self._cut_in_answer(size, word))

    def heal(self) -> None:
        """All is well again: what is late arrives now, and connections of which something was lost are reset."""
        self._do(self._heal)

    def carries(self, word: bytes) -> bool:
        """Whether there is a connection on which this word came early."""
        found: list[_Line] = []
        self._do(lambda: found.extend(self._those(word)))
        return bool(found)

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true of this way."""
        while not true():
            await trio.lowlevel.checkpoint()

    # --- in the thread of the network -----------------------------------------------------------------------------

    def _strike(self, requests: Fate, answers: Fate, at: bytes = b"") -> None:
        if at:
            self._awaited = at, requests, answers
        else:
            self._awaited = None
            self.requests, self.answers = requests, answers
            self.changed.unpark_all()

    def passes(self, data: bytes) -> None:
        """The part says this: it may be what has been waited for."""
        if self._awaited is not None and self._awaited[0] in data:
            _, requests, answers = self._awaited
            self._strike(requests, answers)

    def _those(self, word: bytes) -> list[_Line]:
        return [line for line in self.lines if word in line.opening]

    def _strand(self, word: bytes) -> None:
        for line in self._those(word):
            line.stranded = True

    def _cut(self, word: bytes) -> None:
        for line in self._those(word):
            line.reset()

    def _cut_in_answer(self, size: int, word: bytes) -> None:
        for line in self._those(word):
            line.live_for(size)

    def _refuse(self, word: bytes) -> None:
        self._listens = False
        self._listener.shutdown(socket.SHUT_RDWR)  # it stays bound, so that nobody else gets the port
        self._cut(word)

    def _heal(self) -> None:
        for line in self._those(b""):
            line.stranded = False
            if line.lossy:
                line.reset()
        if not self._listens:
            self._listens = True
            self._listener.listen()
        self._strike(Fate.PASS, Fate.PASS)

    async def run(self) -> None:
        """Carry whatever comes; runs until it is cancelled."""
        with self._listener:
            while True:
                try:
                    part, _ = await self._listener.accept()
                except OSError:
                    while not self._listens:
                        await self.changed.park()
                else:
                    self._nursery.start_soon(self._carry, trio.SocketStream(part))

    async def _carry(self, part: trio.SocketStream) -> None:
        try:
            engine = await trio.open_tcp_stream("127.0.0.1", self._engine_port)
            line = _Line(self, part, engine)
            self.lines.add(line)
            try:
                await line.run()
            finally:
                self.lines.discard(line)
        except OSError:
            pass  # there is nobody
        finally:
            _reset(part)


@define(eq=False)
class _Line:
    """One connection."""

    way: Way
    part: trio.SocketStream
    engine: trio.SocketStream
    opening: bytes = b""
    """What the part began with."""
    lossy: bool = False
    """Whether something was lost: nothing that comes after it may arrive."""
    stranded: bool = False
    """Whether it leads nowhere."""
    _left: int | None = None  # how many bytes of answers it may still carry
    _scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def run(self) -> None:
        """Carry both ways, until both have ended or it is reset."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry_requests)
                    nursery.start_soon(self._carry_answers)
        finally:
            _reset(self.part)
            _reset(self.engine)

    def reset(self) -> None:
        """End it, in the middle of whatever it is."""
        self.way.cuts += 1
        self.way.lines.discard(self)
        _reset(self.part)
        _reset(self.engine)
        self._scope.cancel()

    def live_for(self, size: int) -> None:
        """Reset it when so many more bytes of answers have arrived."""
        self._left = size

    async def _carry_requests(self) -> None:
        # Whether or not the part is still there: what it has said is on its way.
        lost = False
        while data := await _some(self.part):
            if len(self.opening) < _OPENING_BYTES:
                self.opening += data
            self.way.passes(data)
            lost = lost or await self._is_lost(lambda: self.way.requests)
            if not lost:
                await _send(self.engine, data)
        with suppress(*_ENDED):
            await self.engine.send_eof()

    async def _carry_answers(self) -> None:
        lost = False
        while data := await _some(self.engine):
            lost = lost or await self._is_lost(lambda: self.way.answers)
            if not lost:
                ends = self._left is not None and self._left < len(data)
                await _send(self.part, data[: self._left] if ends else data)
                if ends:
                    self.reset()
                elif self._left is not None:
                    self._left -= len(data)
        self._scope.cancel()

    async def _is_lost(self, fate: Callable[[], Fate]) -> bool:
        # Once it can go on, or cannot any more.
        if self.stranded or fate() is not Fate.PASS:
            self.way.stopped += 1
        while fate() is Fate.LATE and not self.stranded:
            await self.way.changed.park()
        lost = self.stranded or fate() is Fate.LOST
        self.lossy = self.lossy or lost
        return lost


class Network:
    """The ways from all parts to one engine; from `open_network`."""

    def __init__(self, engine_port: int) -> None:
        self._engine_port = engine_port
        self._over = trio.Event()
        self._token: Future[trio.lowlevel.TrioToken] = Future()
        self._nursery: trio.Nursery

    def way(self) -> Way:
        """Another way to the engine."""
        return self._done(self._way)

    def _way(self) -> Way:
        # A port that was asked for by its number is kept when the socket does not listen for a while.
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        listener = trio.socket.from_stdlib_socket(socket.create_server(("127.0.0.1", port)))
        way = Way(port, self._engine_port, listener, self._nursery, self._done)
        self._nursery.start_soon(way.run)
        return way

    def _done(self, do: Callable[[], T]) -> T:
        # In the thread of the network; here, nothing happens until it is done.
        done: Future[T] = Future()

        def called() -> None:
            try:
                done.set_result(do())
            except BaseException as error:
                done.set_exception(error)

        self._token.result().run_sync_soon(called)
        return done.result(60)

    def run(self) -> None:
        """Be there until the end."""
        trio.run(self._run)

    async def _run(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token.set_result(trio.lowlevel.current_trio_token())
            await self._over.wait()
            self._nursery.cancel_scope.cancel()

    def end(self) -> None:
        """Nothing is carried any more."""
        self._done(self._over.set)


@contextmanager
def open_network(engine_port: int) -> Iterator[Network]:
    """A network to the engine at this port, open until the block ends."""
    network = Network(engine_port)
    thread = threading.Thread(target=network.run, name="network")
    thread.start()
    try:
        yield network
    finally:
        network.end()
        thread.join()


async def _some(stream: trio.SocketStream) -> bytes:
    # Nothing, once it has ended, in whatever way.
    with suppress(*_ENDED):
        return bytes(await stream.receive_some(_CHUNK_BYTES))
    return b""


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with suppress(*_ENDED):
        await stream.send_all(data)


def _reset(stream: trio.SocketStream) -> None:
    if stream.socket.fileno() >= 0:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        stream.socket.close()
