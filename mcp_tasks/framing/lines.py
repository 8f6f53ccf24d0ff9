"""Lines out of a byte stream: one frame a line, as the stdio transport has it.

Sans-IO: bytes go in as they come, whole lines come out. It knows nothing of JSON. A line that is too long is thrown
away as it arrives, so that it costs no memory, and is reported once in its place; the next line is as good as any.

Spec: basic/transports "stdio" (C25-071, C25-073).
"""

from __future__ import annotations

from attrs import frozen

from .._shape import Shape

__all__ = ["LineDecoder", "Oversized", "Truncated"]


@frozen(eq=False, repr=False)
class Oversized(Shape):
    """A line of more than `limit` bytes was skipped."""

    limit: int


@frozen(eq=False, repr=False)
class Truncated(Shape):
    """The stream ended within a line of which `size` bytes had come."""

    size: int


class LineDecoder:
    """Cuts a stream into lines of at most `limit` bytes, without their newline (and without a CR before it)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []  # the unfinished line, not yet joined: joining at each chunk would be quadratic
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | Oversized]:
        """Take the next bytes; return the lines they complete, in order. Blank lines are left out."""
        if b"\n" not in data:
            self._keep(data)
            return []
        first, *lines = data.split(b"\n")
        rest = lines.pop() if lines else b""
        frames: list[bytes | Oversized] = []
        if self._skipping:
            self._skipping = False
            frames.append(Oversized(self._limit))
        elif self._parts:
            self._parts.append(first)
            lines.insert(0, b"".join(self._parts))
        else:
            lines.insert(0, first)
        self._parts.clear()
        self._size = 0
        for line in lines:
            if line[-1:] == b"\r":
                line = line[:-1]
            if len(line) > self._limit:
                frames.append(Oversized(self._limit))
            elif line:
                frames.append(line)
        if rest:
            self._keep(rest)
        return frames

    def end(self) -> Truncated | None:
        """Say that no more bytes come; what is left over was no line."""
        if self._skipping or self._size:
            size, self._size, self._skipping = self._size, 0, False
            self._parts.clear()
            return Truncated(size)
        return None

    def _keep(self, data: bytes) -> None:
        if self._skipping:
            return
        self._size += len(data)
        # One byte more for the CR that may precede the newline.
        if self._size > self._limit + 1:
            self._parts.clear()
            self._skipping = True
        elif data:
            self._parts.append(data)
