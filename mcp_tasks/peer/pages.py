"""Lists that are handed out a page at a time, and stay right while they change; and lists of theirs, read likewise.

Spec: server/utilities/pagination (C25-261 to C25-266).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from .._unset import UNSET, Unset
from ..cursor import CursorSeal
from ..errors import InvalidCursor, RemoteProtocolError

__all__ = ["Listing", "Pages"]

T = TypeVar("T")


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


class Listing(AsyncIterator[T], Generic[T]):
    """A list of the other side's, entry by entry; a page is fetched when the one before is used up.

    No async generator, so that a loop over it may be left at any time. Raises what `Connection.call` does, and
    `RemoteProtocolError` if the list has no end.
    """

    def __init__(self, method: str, fetch: Callable[[str | None], Awaitable[tuple[list[T], str | None]]]) -> None:
        self._method = method
        self._fetch = fetch
        self._entries: list[T] = []  # of this page, the next one last
        self._cursor: str | None = None
        self._seen: set[str | None] = set()

    async def __anext__(self) -> T:
        while not self._entries:
            if self._seen and self._cursor is None:
                raise StopAsyncIteration
            if self._cursor in self._seen:
                raise RemoteProtocolError(
                    f"{self._method}: the cursor {self._cursor!r} comes again; the list has no end"
                )
            entries, following = await self._fetch(self._cursor)
            self._seen.add(self._cursor)
            self._cursor = following
            self._entries = entries[::-1]
        return self._entries.pop()
