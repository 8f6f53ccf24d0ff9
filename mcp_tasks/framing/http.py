"""HTTP/1.1 as a server sees it, sans-IO: bytes to requests by h11, and answers to bytes.

What comes from outside is parsed by h11 alone. What we write is so little, an answer of known length or a chunked
stream, that it is put together here: a third of the time of a small answer would otherwise go into having h11 check
headers that we have just made. Nothing here knows of MCP.

Spec: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias

import h11
from attrs import define, frozen

from .._shape import Shape
from ..errors import LocalProtocolError

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "BodyEnd",
    "Broken",
    "Headers",
    "RememberedHeads",
    "RequestHead",
    "RequestReader",
    "chunk",
    "head",
]

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


class RememberedHeads:
    """What h11 made of the heads it has read, by their very bytes: a client sends the same head again and again.

    Reading one takes h11 longer than all the rest of a small call takes us. Only what is beyond doubt is remembered: a
    POST of known length on a connection that goes on.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._known: dict[bytes, tuple[RequestHead, int]] = {}

    def find(self, data: bytes) -> tuple[RequestHead, int, int] | None:
        """The head that `data` begins with, the length of its body, and where that begins; None if it is not known."""
        end = data.find(b"\r\n\r\n") + 4
        found = self._known.get(data[:end])
        return None if found is None else (found[0], found[1], end)

    def keep(self, data: bytes, request: RequestHead) -> None:
        """Remember what was made of the head that `data` begins with, if it is one of those."""
        end = data.find(b"\r\n\r\n") + 4
        headers = request.headers
        length = headers.get(b"content-length", b"")
        if request.method != b"POST" or not request.keeps_alive or not length.isdigit() or not 4 <= end <= _MEMORABLE:
            return
        if headers.keys() & _NOT_REMEMBERED or data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
            return  # with a bare line feed in it, it may have ended elsewhere for h11
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[data[:end]] = request, int(length)


_WRONG = {413: "The body is too large", 431: "The head is too long", 501: "That transfer coding is not known"}
_HEAD_END = re.compile(rb"\n\r?\n")
_BLANK = b"\r\n"
_MEMORABLE = 2048  # bytes
_NOT_REMEMBERED = {b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te"}


class RequestReader:
    """Reads the requests of one connection, one after the other."""

    def __init__(self, header_bytes: int, heads: RememberedHeads | None = None) -> None:
        self._header_bytes = header_bytes
        self._heads = RememberedHeads() if heads is None else heads
        self._h11: h11.Connection | None = None  # made when a head is not a remembered one
        self._data = b""  # what h11 has not been given
        self._left = -1  # of the body of a request whose head was remembered
        self._ended = False
        self._broken: Broken | None = None

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes; none means that no more come."""
        if not data:
            self._ended = True
        if self._h11 is None:
            self._data = self._data + data if self._data else bytes(data)
        else:
            try:
                self._h11.receive_data(bytes(data))
            except RuntimeError:
                pass  # more after the end: h11 has it on record that the connection is over

    def next(self) -> RequestHead | bytes | BodyEnd | Broken | None:
        """What comes next: a head, pieces of its body, its end; None if that has not arrived."""
        if self._broken is not None:
            return self._broken
        if self._left >= 0:
            return self._rest_of_body()
        beginning = b""
        if self._h11 is None:
            if self._data[:1] in _BLANK:
                self._data = self._data.lstrip(_BLANK)  # old clients send a line too many (RFC 9112 section 2.2)
                if not self._data:
                    return None
            found = self._heads.find(self._data)
            if found is not None:
                request, self._left, end = found
                self._data = self._data[end:]
                return request
            beginning = self._data
            self._begin()
        assert self._h11 is not None
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            # Without h11's words: they quote what came, and a token may be in it.
            return Broken(error.error_status_hint, _WRONG.get(error.error_status_hint, "That is no HTTP/1.1"))
        kind = type(event)
        if kind is h11.Request:
            blank = _HEAD_END.search(beginning)
            if blank is not None and blank.end() > self._header_bytes:
                self._broken = Broken(431, "The head is too long")  # h11 only counts what is not complete
                return self._broken
            head = _request(event)  # type: ignore[arg-type]
            self._heads.keep(beginning, head)
            return head
        if kind is h11.Data:
            return bytes(event.data)  # type: ignore[union-attr]
        if kind is h11.EndOfMessage:
            return _END
        return None

    def _begin(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self._header_bytes)
        self._h11.receive_data(self._data)
        self._data = b""
        if self._ended:
            self._h11.receive_data(b"")

    def _rest_of_body(self) -> bytes | BodyEnd | Broken | None:
        if not self._left:
            return _END
        piece, self._data = self._data[: self._left], self._data[self._left :]
        self._left -= len(piece)
        if not piece and self._ended:
            return Broken(400, "The connection ended within a body")
        return piece or None

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits to be told that it may send the body."""
        return self._h11 is not None and self._h11.they_are_waiting_for_100_continue

    @property
    def ended(self) -> bool:
        """Whether the client sends nothing more."""
        return self._ended

    @property
    def unread(self) -> int:
        """How many bytes came that nothing was made of yet."""
        return len(self._data) if self._h11 is None else len(self._h11.trailing_data[0])

    def restart(self) -> None:
        """Go on to the next request; this one was read to its end."""
        self._left = -1
        if self._h11 is not None:
            self._data, _ = self._h11.trailing_data
            self._h11 = None


def _request(event: h11.Request) -> RequestHead:
    headers: dict[bytes, bytes] = {}
    for name, value in event.headers:
        headers[name] = value if name not in headers else headers[name] + b", " + value
    modern = event.http_version >= b"1.1"
    options = headers.get(b"connection")
    closes = not modern or (options is not None and b"close" in options.lower())
    target = bytes(event.target)
    if not target.startswith(b"/") and b"://" in target:
        # The absolute form, as a proxy would have it: its host is the one that counts (RFC 9112 section 3.2.2).
        headers[b"host"], slash, path = target.partition(b"://")[2].partition(b"/")
        target = slash + path or b"/"
    return RequestHead(event.method, target, headers, not closes, modern)


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
