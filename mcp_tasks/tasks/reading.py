"""Reading the file of a `SQLiteTaskStore`: records by id, by principal, by what is due; and all of them, to look at.

Reading takes nothing from whoever writes, in this process or another. A record that cannot be read hides none of the
others: it is logged, left out of lists, and goes when its time is over.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from .._unset import Principal, TaskId
from ..errors import MCPError, StoreFailed
from .batches import Errand
from .boxes import Box
from .model import TaskRecord
from .packing import Packer, microseconds, readable

__all__ = ["Reader", "explained"]

logger = logging.getLogger("mcp_tasks.tasks")

_ROW: Final = "number, id, version, notes, chunks, head, outcome, origin"
_Row = tuple[int, TaskId, int, int, int, bytes, "bytes | None", "bytes | None"]


class Reader:
    """Reads on a connection of its own: it sees what was committed when each errand began."""

    def __init__(self, connection: sqlite3.Connection, box: Box) -> None:
        self.connection = connection
        self._box = box
        self._packer = Packer(box)

    def run(self, batch: Sequence[Errand[Any]]) -> None:
        """Do a batch of errands."""
        for errand in batch:
            try:
                self.connection.execute("BEGIN")
                try:
                    errand.result = errand.what()
                finally:
                    self.connection.execute("ROLLBACK")
            except Exception as error:
                errand.failure = explained(error)

    def get(self, id: TaskId) -> TaskRecord | None:
        """A record with all that belongs to it."""
        row = self.connection.execute(f"SELECT {_ROW} FROM tasks WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        for record in readable(row[1], partial(self._whole, row)):
            return record
        raise StoreFailed(f"Task {id} cannot be read")

    def page(self, principal: Principal, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        """Records of a principal, as a list needs them."""
        return self.all(after, limit, principal, whole=False)

    def unfinished(self, after: int, limit: int) -> Sequence[tuple[int, TaskRecord]]:
        """Whole records that are not settled."""
        # By the index, in which a million finished ones are quickly passed over; it has them by principal.
        query = (
            f"SELECT {_ROW} FROM tasks WHERE number IN (SELECT number FROM tasks INDEXED BY tasks_of"
            " WHERE NOT settled AND number > ? ORDER BY number LIMIT ?) ORDER BY number"
        )
        return self._found(
            lambda after, limit: self.connection.execute(query, (after, limit)), after, limit, self._whole
        )

    def all(
        self, after: int, limit: int, principal: Principal | None, *, whole: bool
    ) -> Sequence[tuple[int, TaskRecord]]:
        """Records in the order in which they came, behind a number, with their numbers."""
        of = "" if principal is None else "principal = (SELECT number FROM principals WHERE name = ?) AND "
        whose = () if principal is None else (self._box.name(principal),)
        query = f"SELECT {_ROW} FROM tasks WHERE {of}number > ? ORDER BY number LIMIT ?"
        read = self._whole if whole else self._listed
        return self._found(
            lambda after, limit: self.connection.execute(query, (*whose, after, limit)), after, limit, read
        )

    def _found(
        self,
        ask: Callable[[int, int], sqlite3.Cursor],
        after: int,
        limit: int,
        read: Callable[[Any], TaskRecord],
    ) -> Sequence[tuple[int, TaskRecord]]:
        # As many as were asked for, if there are as many that can be read.
        found: list[tuple[int, TaskRecord]] = []
        while len(found) < limit and (rows := ask(after, limit - len(found)).fetchall()):
            found += ((row[0], record) for row in rows for record in readable(row[1], partial(read, row)))
            after = rows[-1][0]
        return found

    def counts(self) -> tuple[int, int]:
        """How many tasks there are, and how many principals have any."""
        tasks, principals = self.connection.execute("SELECT sum(retained), count(*) FROM principals").fetchone()
        return tasks or 0, principals

    def due(self, now: float, limit: int) -> Sequence[TaskId]:
        """What has outlived its time."""
        found = self.connection.execute(
            "SELECT id FROM tasks WHERE ends <= ? ORDER BY ends LIMIT ?", (microseconds(now), limit)
        )
        return [id for (id,) in found]

    def next_due(self) -> float | None:
        """When the next is over."""
        (ends,) = self.connection.execute("SELECT min(ends) FROM tasks WHERE ends IS NOT NULL").fetchone()
        return None if ends is None else ends / 1_000_000

    def _whole(self, row: _Row) -> TaskRecord:
        number, id, version, notes, chunks, head, outcome, origin = row
        kept: list[bytes] = []
        if notes:
            found = self.connection.execute("SELECT note FROM notes WHERE task = ? ORDER BY number", (number,))
            kept = [note for (note,) in found]
        large: bytes | None = None
        if chunks:
            pieces = self.connection.execute(
                "SELECT number, data FROM chunks WHERE task = ? ORDER BY number", (number,)
            )
            large = b"".join(self._box.take(id, f"chunk {at}", data) for at, data in pieces)
        return self._packer.record(id, version, head, outcome, large=large, notes=kept, origin=origin)

    def _listed(self, row: _Row) -> TaskRecord:
        _, id, version, _, _, head, outcome, _ = row
        return self._packer.record(id, version, head, outcome)


def explained(error: Exception) -> Exception:
    """What an errand fails with for an exception: what SQLite says is for the log."""
    if isinstance(error, MCPError):
        return error
    if isinstance(error, sqlite3.Error):
        logger.error("the task store has failed", exc_info=error)
        failed = StoreFailed()
        failed.__cause__ = error
        return failed
    return error
