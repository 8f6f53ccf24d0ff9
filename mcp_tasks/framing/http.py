"""HTTP/1.1 as a server sees it, sans-IO: bytes to requests by h11, and answers to bytes.

What comes from outside is parsed by h11 alone. What we write is so little, an answer of known length or a chunked
stream, that it is put together here: a third of the time of a small answer would otherwise go into having h11 check
headers that we have just made. Nothing here knows of MCP.

Spec: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias

import h11
from attrs import define, frozen

from .._shape import Shape
from ..errors import LocalProtocolError

__all__ = ["CONTINUE", "LAST_CHUNK", "BodyEnd", "Broken", "Headers", "RequestHead", "RequestReader", "chunk", "head"]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@define(eq=False, repr=False)
class RequestHead(Shape):
    """The beginning of a request. Header names are lower case; several headers of one name are joined by commas."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    keeps_alive: bool
    """Whether the client lets the connection be used again."""
    chunks: bool
    """Whether the client understands a chunked answer, as HTTP/1.0 does not."""


@frozen(eq=False, repr=False)
class BodyEnd(Shape):
    """The request is complete."""


@frozen(eq=False, repr=False)
class Broken(Shape):
    """What came is no HTTP, or too much of it; nothing can follow. `status` is what to answer."""

    status: int
    reason: str


_END: Final = BodyEnd()


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self, header_bytes: int) -> None:
        self._header_bytes = header_bytes
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=header_bytes)

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes; none means that no more come."""
        try:
            self._h11.receive_data(bytes(data))
        except RuntimeError:
            pass  # more after the end: h11 has it on record that the connection is over

    def next(self) -> RequestHead | bytes | BodyEnd | Broken | None:
        """What comes next: a head, pieces of its body, its end; None if that has not arrived."""
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            return Broken(error.error_status_hint, str(error))
        kind = type(event)
        if kind is h11.Request:
            return _request(event)  # type: ignore[arg-type]
        if kind is h11.Data:
            return bytes(event.data)  # type: ignore[union-attr]
        if kind is h11.EndOfMessage:
            return _END
        return None

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits to be told that it may send the body."""
        return self._h11.they_are_waiting_for_100_continue

    @property
    def ended(self) -> bool:
        """Whether the client sends nothing more."""
        return self._h11.trailing_data[1]

    @property
    def unread(self) -> int:
        """How many bytes came after the request that is being served."""
        return len(self._h11.trailing_data[0])

    def restart(self) -> None:
        """Go on to the next request; this one was read to its end."""
        data, ended = self._h11.trailing_data
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self._header_bytes)
        if data:
            self._h11.receive_data(data)
        if ended:
            self._h11.receive_data(b"")


def _request(event: h11.Request) -> RequestHead:
    headers: dict[bytes, bytes] = {}
    for name, value in event.headers:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    modern = event.http_version >= b"1.1"
    options = headers.get(b"connection")
    closes = not modern or (options is not None and b"close" in options.lower())
    return RequestHead(event.method, event.target, headers, not closes, modern)


# --- answers ----------------------------------------------------------------------------------------------------------

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class _Date:
    """The ``Date`` header, made anew once a second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        """The header line with its end."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._line = b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self._line


_DATE = _Date()


def head(status: int, headers: Headers, *, length: int | None, keeps_alive: bool, chunks: bool = True) -> bytes:
    """The beginning of an answer, of `length` bytes or, if that is None, a stream.

    Raises `LocalProtocolError` if a header would break out of its line.
    """
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"")), _DATE.line()]
    for name, value in headers:
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise LocalProtocolError(f"the header {name.decode()} has a line break in it")
        lines.append(b"%b: %b\r\n" % (name, value))
    if length is not None:
        if status != 204:
            lines.append(b"Content-Length: %d\r\n" % length)
    elif chunks:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if not keeps_alive:
        lines.append(b"Connection: close\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(data: bytes) -> bytes:
    """One chunk of a stream; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
