"""A task store that survives its process, in one file: SQLite, in WAL mode.

One thread writes and one reads, so that nothing of a disk holds up a trio run; what many tasks ask of them at the same
time is done as one batch, and for writing that is one transaction and one fsync. A change is acknowledged when it has
been committed. Results of any size are kept in chunks beside their record, and the journal a note at a time, so that a
change costs what has changed.

The layout of the file is in `mcp_tasks.tasks.tables`, what is done to it in `reading` and `writing` beside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .._unset import Principal, TaskId
from .batches import Batches
from .boxes import box_for
from .model import TaskRecord
from .reading import Reader
from .store import Room, TaskStore
from .tables import Lock, connect, migrate, read_secret
from .writing import Create, Remove, Replace, Writer

__all__ = ["SQLiteTaskStore"]


class SQLiteTaskStore(TaskStore):
    """Keeps records in the file `path`, which is made if it is not there.

    With `key`, 32 random bytes, everything but ids, times and sizes is encrypted. To be closed, which a ``with`` block
    does; what was committed is safe without. It serves one trio run after the other. Raises `StoreUnusable` if another
    process has the file open, if it is something else, was made by a newer version, or does not go with the key.

    Every method is a checkpoint. A change that has begun to be committed is not cancelled: its method returns then.
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        self.path = Path(path)
        box = box_for(key)
        self._lock = Lock(self.path)
        try:
            self._writer = Writer(connect(self.path, writes=True, fresh=True), box)
            try:
                migrate(self._writer.connection, self.path)
                self.secret = read_secret(self._writer.connection, box, self.path)
                self._reader = Reader(connect(self.path, writes=False), box)
            except BaseException:
                self._writer.connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._writing = Batches(self._writer.run, "mcp_tasks store, writing", gathers=True)
        self._reading = Batches(self._reader.run, "mcp_tasks store, reading")
        self._closed = False

    def __repr__(self) -> str:
        return f"<SQLiteTaskStore {str(self.path)!r}>"

    def __enter__(self) -> SQLiteTaskStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Do what was asked before, and close the file. Blocks for as long as that takes."""
        if self._closed:
            return
        self._closed = True
        self._writing.close()
        self._reading.close()
        self._reader.connection.close()
        self._writer.connection.close()
        self._lock.release()

    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        await self._writing.do(Create(record, room))

    async def replace(self, new: TaskRecord) -> bool:
        return await self._writing.do(Replace(new))  # type: ignore[no-any-return]

    async def remove(self, *ids: TaskId) -> None:
        await self._writing.do(Remove(ids))

    async def get(self, id: TaskId) -> TaskRecord | None:
        return await self._reading.do(lambda: self._reader.get(id))  # type: ignore[no-any-return]

    async def page(self, principal: Principal, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        return await self._reading.do(lambda: self._reader.page(principal, after, limit))  # type: ignore[no-any-return]

    async def unfinished(self, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        return await self._reading.do(lambda: self._reader.unfinished(after, limit))  # type: ignore[no-any-return]

    async def due(self, now: float, limit: int) -> Sequence[TaskId]:
        return await self._reading.do(lambda: self._reader.due(now, limit))  # type: ignore[no-any-return]

    async def next_due(self) -> float | None:
        return await self._reading.do(self._reader.next_due)  # type: ignore[no-any-return]
