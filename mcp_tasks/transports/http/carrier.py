"""What every transport of the HTTP server has in common: messages pushed in, and bytes written without waiting.

One client's messages come by many requests, and what goes out is queued on whichever exchange carries it. Exchanges
with something new are dirty until they are written, and busy while some of it has to wait.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import trio

from ..._unset import Principal
from ...abc import Inbound, Transport
from ...codec.messages import MessageCodec
from ...errors import ConnectionClosed
from ...limits import HttpLimits
from .exchange import Exchange

__all__ = ["Carrier"]


class Carrier(Transport):
    """One client's end of the server, as a transport."""

    def __init__(self, principal: Principal | None, *, codec: MessageCodec, limits: HttpLimits) -> None:
        self.principal = principal
        """Whose it is; None where nobody says who they are."""
        self.seen_at = trio.current_time()
        """When the client last was here, in trio's time."""
        self._codec = codec
        self._limits = limits
        self._take: Callable[[Inbound], None] | None = None
        self._early: list[Inbound] = []
        self._dirty: list[Exchange] = []
        self._busy: dict[Exchange, object] = {}
        self._progress = trio.lowlevel.ParkingLot()
        self._ended = trio.Event()
        self._why = "the session has ended"
        self._closed = False

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether nothing is going on."""

    @property
    @abstractmethod
    def settled(self) -> bool:
        """Whether every request has its answer."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Look after what depends on time."""

    async def settle(self) -> None:
        """Wait until every request has its answer."""
        while not self.settled:
            await self._progress.park()

    def end(self, why: str) -> None:
        """End it; whoever serves it learns of it from `receive`."""
        self._why = why
        self._ended.set()

    # --- in -------------------------------------------------------------------------------------------------------

    def deliver(self, message: Inbound) -> None:
        """Hand a message to whoever serves it."""
        if self._take is None:
            self._early.append(message)
        else:
            self._take(message)

    def push_to(self, take: Callable[[Inbound], None]) -> bool:
        self._take = take
        early, self._early = self._early, []
        for message in early:
            take(message)
        return True

    async def receive(self) -> Sequence[Inbound]:
        await self._ended.wait()
        raise ConnectionClosed(self._why)

    # --- out ------------------------------------------------------------------------------------------------------

    def try_flush(self) -> bool:
        dirty, self._dirty = self._dirty, []
        for exchange in dirty:
            self._write(exchange)
        return not self._busy

    async def flush(self) -> None:
        self.try_flush()
        if self._busy:
            await self._progress.park()

    @property
    def backlog(self) -> int:
        if not self._dirty and not self._busy:
            return 0
        return sum(exchange.backlog for exchange in {*self._busy, *self._dirty}) or 1

    def _soil(self, exchange: Exchange) -> None:
        if not self._dirty or self._dirty[-1] is not exchange:
            self._dirty.append(exchange)
            if self._busy:
                self._progress.unpark_all()  # whoever flushes waits for others: here is one more to write

    def _write(self, exchange: Exchange) -> None:
        exchange.flush()
        if exchange.backlog:
            self._busy[exchange] = None
            exchange.drained = lambda: self._written(exchange)
        else:
            self._written(exchange)

    def _written(self, exchange: Exchange) -> None:
        if self._busy.pop(exchange, self) is not self:
            self._progress.unpark_all()
