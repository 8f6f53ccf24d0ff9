"""Lists that are handed out a page at a time, and stay right while they change.

Spec: server/utilities/pagination (C25-261 to C25-266).
"""

from __future__ import annotations

from typing import Any

from .._unset import UNSET, Unset
from ..cursor import CursorSeal
from ..errors import InvalidCursor

__all__ = ["Pages"]


class Pages:
    """Named entries in the order in which they came, a page at a time, under cursors that survive changes."""

    def __init__(self, scope: str, seal: CursorSeal, size: int) -> None:
        self._scope = scope
        self._seal = seal
        self._size = size
        self._serial = 0
        self._entries: dict[str, tuple[int, Any]] = {}

    def put(self, name: str, entry: Any) -> None:
        """Add an entry, or put another in its place."""
        self._serial += 1
        self._entries.pop(name, None)
        self._entries[name] = self._serial, entry

    def drop(self, name: str) -> None:
        """Remove an entry. Raises KeyError."""
        del self._entries[name]

    def page(self, cursor: str | Unset) -> tuple[list[Any], str | Unset]:
        """The entries after a cursor, and the next one. Raises `InvalidCursor` (C25-266)."""
        after = 0
        if cursor is not UNSET:
            position = self._seal.open(self._scope, cursor)
            if not position.isdecimal():
                raise InvalidCursor
            after = int(position)
        rest = [(serial, entry) for serial, entry in self._entries.values() if serial > after]
        page = rest[: self._size]
        more = len(rest) > len(page)
        return [entry for _, entry in page], self._seal.seal(self._scope, str(page[-1][0])) if more else UNSET
