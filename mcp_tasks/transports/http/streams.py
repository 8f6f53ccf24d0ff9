"""A stream of events that outlives the HTTP connections which carry it.

Every event gets an id that names its stream and its place in it, so that a client that comes back with the last id it
saw gets exactly what it missed, of exactly that stream (C25-117 to C25-121). Events are kept for that within a number
of bytes. When there are too many, those that were sent go first, the oldest first; then, while nobody is there to read
them, notifications that may be missed. Requests and answers stay.
"""

from __future__ import annotations

import re
from collections import deque

from attrs import define

from ...framing.sse import COMMENT, encode_event, encode_retry
from .exchange import Exchange

__all__ = ["STREAM_HEADERS", "EventStream", "parse_event_id"]

STREAM_HEADERS = (
    (b"Content-Type", b"text/event-stream"),
    (b"Cache-Control", b"no-cache, no-transform"),
    (b"X-Accel-Buffering", b"no"),  # asks proxies not to hold events back
)
_EVENT_ID = re.compile(r"([0-9a-z]{1,16})-([0-9]{1,12})", re.ASCII)


def parse_event_id(text: str) -> tuple[str, int] | None:
    """The stream's key and the place in it that an event id names; None if we never made such an id."""
    match = _EVENT_ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]))


@define(eq=False)
class _Kept:
    """One event: its place, its bytes, and whether it may be missed."""

    place: int
    data: bytes
    lossy: bool


class EventStream:
    """One logical stream; at most one exchange carries it at a time."""

    def __init__(self, key: str, *, keep_bytes: int, primes: bool) -> None:
        self.key = key
        self.exchange: Exchange | None = None
        """What carries it now."""
        self.over = False
        """Whether its last event has been added."""
        self.written_at = 0.0
        """When something was last written, in trio's time; set by whoever writes."""
        self.touched_at = 0.0
        """When it was last attached or detached."""
        self.kept_bytes = 0
        self._keep_bytes = keep_bytes
        self._primes = primes
        self._kept: deque[_Kept] = deque()
        self._place = 0
        self._sent = 0  # the place of the last event that was handed to an exchange
        self._gone = 0  # the place of the last event that is no longer kept

    @property
    def attached(self) -> bool:
        """Whether somebody reads it now."""
        return self.exchange is not None and self.exchange.open

    def attach(self, exchange: Exchange, after: int | None = None) -> bool:
        """Have an exchange carry it, from the event after the place `after`; whoever carried it before is let go.

        False if some of what the client has missed is no longer there.
        """
        self.let_go()
        self.exchange = exchange
        exchange.begin(STREAM_HEADERS)
        complete = True
        if after is None:
            after = self._sent
        else:
            complete = after >= self._gone
        if self._primes and not self._place:
            self._place = self._sent = self._gone = 1
            exchange.write(encode_event(b"", f"{self.key}-1"))
        for event in self._kept:
            if event.place > after:
                exchange.write(event.data)
        self._sent = self._place
        if self.over:
            exchange.end()
            self.exchange = None
        return complete

    def add(self, data: bytes | bytearray, *, lossy: bool, last: bool = False) -> int:
        """Add an event, and return its place; after the `last` one the connection that carries the stream is done."""
        self._place += 1
        event = _Kept(self._place, encode_event(data, f"{self.key}-{self._place}"), lossy)
        self._kept.append(event)
        self.kept_bytes += len(event.data)
        self.over = last
        exchange = self.exchange
        if exchange is not None and exchange.open:
            exchange.write(event.data)
            self._sent = self._place
            if last:
                exchange.end()
                self.exchange = None
        if self.kept_bytes > self._keep_bytes:
            self._trim(self._keep_bytes)
        return event.place

    def take_back(self, place: int) -> None:
        """Do not replay that event: what it said no longer holds."""
        for event in self._kept:
            if event.place == place:
                self._kept.remove(event)
                self.kept_bytes -= len(event.data)
                return

    def stay_awake(self) -> None:
        """Write a comment, so that nobody between us takes the connection for dead."""
        if self.attached:
            assert self.exchange is not None
            self.exchange.write(COMMENT)
            self.exchange.flush()

    def let_go(self, retry_ms: int | None = None) -> None:
        """End the connection that carries it, and not the stream; `retry_ms` is when the client is to come back."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None and exchange.open:
            exchange.lost = None
            if retry_ms is not None:
                exchange.write(encode_retry(retry_ms))
            exchange.end()
            exchange.flush()

    @property
    def primed(self) -> bool:
        """Whether the client has been given an id to come back with."""
        return self._sent > 0

    def ends_at(self, place: int) -> bool:
        """Whether nothing follows that place, now or later."""
        return self.over and place >= self._place

    def shed(self) -> None:
        """Keep only what may not be missed, and the last event."""
        self._trim(0)

    def _trim(self, keep_bytes: int) -> None:
        kept = self._kept
        # The last event is kept whatever its size: it may be the answer.
        while self.kept_bytes > keep_bytes and len(kept) > 1 and kept[0].place <= self._sent:
            self._forget(kept.popleft())
        if self.kept_bytes > keep_bytes and not self.attached:
            for event in [event for event in kept if event.lossy]:
                if self.kept_bytes <= keep_bytes:
                    break
                kept.remove(event)
                self._forget(event)

    def _forget(self, event: _Kept) -> None:
        self.kept_bytes -= len(event.data)
        self._gone = max(self._gone, event.place)
