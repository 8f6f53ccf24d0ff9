"""Looking into the file of a `SQLiteTaskStore` from outside, and tidying it up.

Looking needs no leave: it reads along with whoever has the file open. Tidying up needs the file to itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from attrs import frozen

from .._shape import Shape
from .._unset import Principal, TaskId
from ..errors import StoreUnusable
from .boxes import box_for
from .model import TaskRecord
from .reading import Reader
from .tables import Lock, connect, read_secret
from .writing import Remove, Writer

__all__ = ["StoreFile", "StoreStats", "Vacuumed", "vacuum"]

_AT_ONCE = 256


@frozen(kw_only=True, eq=False, repr=False)
class StoreStats(Shape):
    """What is in a store. Sizes are bytes, times seconds since the epoch, None where there is no task."""

    tasks: int
    unfinished: int
    waiting: int
    """Of the unfinished ones, those that wait for an answer."""
    principals: int
    oldest: float | None
    """When the oldest unfinished task was created."""
    next_end: float | None
    """When the next lifetime ends."""
    file_bytes: int
    free_bytes: int
    """Of the file, what is not used."""


class StoreFile:
    """A file to look into, whether or not a server has it open. Raises `StoreUnusable`, as the store does.

    A context manager. What it shows is what was committed when it was asked.
    """

    def __init__(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StoreUnusable(f"there is no file {self.path}")
        box = box_for(key)
        self._connection = connect(self.path, writes=False)
        try:
            read_secret(self._connection, box, self.path)
        except BaseException:
            self._connection.close()
            raise
        self._reader = Reader(self._connection, box)

    def __enter__(self) -> StoreFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, id: TaskId) -> TaskRecord | None:
        """The whole of one record; None if there is none. Raises `StoreFailed` if it cannot be read."""
        return self._reader.get(id)

    def records(self, *, principal: Principal | None = None, whole: bool = False) -> Iterator[TaskRecord]:
        """All records in the order in which they were created, of one principal or of all.

        As a list needs them, or `whole`, with journals and results.
        """
        after = 0
        while found := self._reader.all(after, _AT_ONCE, principal, whole=whole):
            yield from (record for _, record in found)
            after = found[-1][0]

    def stats(self) -> StoreStats:
        """What there is."""
        after, unfinished = 0, list[TaskRecord]()
        while found := self._reader.unfinished(after, _AT_ONCE):
            unfinished += (record for _, record in found)
            after = found[-1][0]
        tasks, principals = self._reader.counts()
        pages, free, size = (
            self._connection.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_count", "freelist_count", "page_size")
        )
        return StoreStats(
            tasks=tasks,
            unfinished=len(unfinished),
            waiting=sum(bool(record.questions) for record in unfinished),
            principals=principals,
            oldest=min((record.created_at for record in unfinished), default=None),
            next_end=self._reader.next_due(),
            file_bytes=pages * size,
            free_bytes=free * size,
        )


@frozen(eq=False, repr=False)
class Vacuumed(Shape):
    """What tidying up has come to: records that were removed, and the file's size in bytes before and after."""

    removed: int
    before: int
    after: int


def vacuum(path: str | os.PathLike[str], *, now: float) -> Vacuumed:
    """Remove what has expired by `now`, and make the file as small as it can be. Needs no key.

    Raises `StoreUnusable` if a server has it open.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreUnusable(f"there is no file {path}")
    lock = Lock(path)
    try:
        connection = connect(path, writes=True)
        try:
            before = path.stat().st_size + _size(path.with_name(path.name + "-wal"))
            reader, writer, removed = Reader(connection, box_for(None)), Writer(connection, box_for(None)), 0
            while ids := reader.due(now, _AT_ONCE):
                writer.do(Remove(ids))
                removed += len(ids)
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()
        return Vacuumed(removed, before, path.stat().st_size)
    finally:
        lock.release()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
