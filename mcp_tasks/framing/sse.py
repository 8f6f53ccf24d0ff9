"""Server-sent events: bytes to events and back, sans-IO.

The decoder never raises: an event that is too long is skipped as it arrives and reported once in its place. It keeps
what a client needs to come back: the last event id, and the pause that the server asked for.

Spec: WHATWG HTML "Server-sent events"; basic/transports "Streamable HTTP" (C25-093 to C25-097, C25-116).
"""

from __future__ import annotations

import re

from attrs import frozen

from .._shape import Shape
from .lines import Oversized

__all__ = ["COMMENT", "Event", "EventDecoder", "encode_event", "encode_retry"]

COMMENT = b":\n\n"
"""A comment: keeps a connection alive, and is no event."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MAX_FIELD = 8 * 1024  # bytes of any other line than data
_MAX_RETRY_MS = 24 * 3600 * 1000


@frozen(eq=False, repr=False)
class Event(Shape):
    """One event: its data without the last newline, and its type."""

    data: bytes
    type: bytes = b"message"


def encode_event(data: bytes | bytearray, id: str | None = None) -> bytes:
    """An event, with an id where it can be come back to. `data` has no line break in it; it may be empty."""
    if id is None:
        return b"data: " + data + b"\n\n"
    return b"id: " + id.encode() + b"\ndata: " + data + b"\n\n"


def encode_retry(milliseconds: int) -> bytes:
    """Ask the client to wait that long before it comes back; no event."""
    return b"retry: %d\n\n" % milliseconds


class EventDecoder:
    """Cuts a stream into events of at most `limit` bytes of data."""

    def __init__(self, limit: int) -> None:
        self.last_id: str | None = None
        """The id of the last event that was complete, for ``Last-Event-ID``."""
        self.ids: list[str | None] = []
        """What `last_id` was at each of the events that the latest `feed` has returned."""
        self.retry_ms: int | None = None
        """How long the server wants us to wait before we come back, if it said so."""
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0  # how much of the buffer has no line end in it
        self._first = True
        self._after_cr = False
        self._data: bytes | bytearray | None = None
        self._size = 0
        self._type = b""
        self._id: str | None = None
        self._skipping = False  # this event is too long
        self._cut = False  # and so is this line

    def feed(self, data: bytes) -> list[Event | Oversized]:
        """Take the next bytes; return the events they complete, in order."""
        buffer = self._buffer
        buffer += data
        self.ids = []
        if self._first:
            if len(buffer) < 3 and b"\xef\xbb\xbf".startswith(buffer):
                return []
            self._first = False
            if buffer.startswith(b"\xef\xbb\xbf"):
                del buffer[:3]
        if self._after_cr and buffer:
            self._after_cr = False
            if buffer[0] == 0x0A:
                del buffer[:1]
        events: list[Event | Oversized] = []
        start = 0
        while (found := _LINE_END.search(buffer, max(start, self._scanned))) is not None:
            line = bytes(buffer[start : found.start()])
            start = found.end()
            self._after_cr = found.group() == b"\r" and start == len(buffer)
            if self._cut:
                self._cut = False  # the rest of a line that was too long
            elif line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
                self.ids.append(self.last_id)
        del buffer[:start]
        self._scanned = len(buffer)
        if self._too_long(buffer):
            self._cut = True
            buffer.clear()
            self._scanned = 0
        return events

    def _too_long(self, line: bytearray) -> bool:
        # Whether the line that has come in part need not be waited for.
        if self._cut:
            return True
        if not line.startswith(b"data:"):
            return len(line) > _MAX_FIELD  # a comment, or a field that nobody can mean
        if self._skipping:
            return True
        if self._size + len(line) - len(b"data: ") > self._limit:
            self._skip()
            return True
        return False

    def resumed(self) -> EventDecoder:
        """A decoder for the next connection of the same stream."""
        fresh = EventDecoder(self._limit)
        fresh.last_id, fresh.retry_ms = self.last_id, self.retry_ms
        return fresh

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            if self._skipping:
                return
            self._size += len(value) + 1
            if self._size > self._limit + 1:
                self._skip()
            elif self._data is None:
                self._data = value
            else:
                if type(self._data) is bytes:
                    self._data = bytearray(self._data)
                self._data += b"\n" + value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"event":
            self._type = value
        elif name == b"retry" and value.isdigit():
            self.retry_ms = min(int(value[:12]), _MAX_RETRY_MS)

    def _skip(self) -> None:
        self._skipping = True
        self._data = None
        self._size = 0

    def _dispatch(self) -> Event | Oversized | None:
        if self._id is not None:
            self.last_id = self._id
        data, skipping, kind = self._data, self._skipping, self._type
        self._data, self._size, self._skipping, self._type = None, 0, False, b""
        if skipping:
            return Oversized(self._limit)
        if data is None:
            return None
        return Event(bytes(data), kind or b"message")
