"""Writing the file of a `SQLiteTaskStore`: a batch of changes in one transaction.

Every check of an errand comes before its first change, so that one that is refused leaves nothing behind in the
transaction of the others. Whatever SQLite itself refuses undoes the batch, which is then done one by one.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from attrs import define

from .._unset import JSON, TaskId
from ..errors import LocalProtocolError, MCPError
from .batches import Errand
from .boxes import Box
from .kept import brief, encode, keep_head, keep_outcome
from .model import TaskRecord
from .reading import explained
from .store import Room

__all__ = ["Writer"]

logger = logging.getLogger("mcp_tasks.tasks")

_CHUNK_BYTES: Final = 256 * 1024
_INLINE_BYTES: Final = 8 * 1024  # an outcome up to this is kept in its record's row
_FREE_PAGES: Final = 256  # how many may lie idle in the file, and how many are given back at once
_MOST_ACCOUNTS: Final = 4096

_Change = tuple[bool, "float | None", bytes, "bytes | None", Sequence[bytes]]


@define(eq=False)
class _Account:
    """What a principal has; written at the end of each batch."""

    retained: int
    running: int
    position: int
    changed: bool = False


class Writer:
    """Changes the file, a batch of errands in one transaction."""

    def __init__(self, connection: sqlite3.Connection, box: Box) -> None:
        self.connection = connection
        self._box = box
        self._accounts: dict[str, _Account] = {}
        self._removed = False

    def run(self, batch: Sequence[Errand[Any]]) -> None:
        """Do a batch of errands. One that fails takes none of the others with it."""
        try:
            self._commit(batch)
        except Exception as error:
            self._undo()
            if len(batch) > 1:
                for errand in batch:
                    errand.failure = None
                    self.run([errand])
            else:
                batch[0].failure = explained(error)

    def _commit(self, batch: Sequence[Errand[Any]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for errand in batch:
            try:
                errand.result = errand.do()
            except (MCPError, TypeError, ValueError, RecursionError) as refusal:  # before it has changed anything
                errand.failure = refusal
        self._write_accounts()
        self.connection.execute("COMMIT")
        if self._removed:
            self._removed = False
            self._give_back()

    def _undo(self) -> None:
        self._accounts.clear()
        self._removed = False
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("the task store cannot undo what it has begun")

    def _give_back(self) -> None:
        # A little after each removal, so that it never takes long.
        (free,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        if free > _FREE_PAGES:
            self.connection.executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")  # `execute` would step once

    def create(self, record: TaskRecord, room: Room | None) -> None:
        """Insert a record."""
        execute, id = self.connection.execute, record.id
        settled, ends, head, outcome, chunks = self._change(record)
        notes = [self._note(id, at, *note) for at, note in enumerate(record.answers.items())]
        origin = None if record.origin is None else self._box.put(id, "origin", encode(record.origin))
        if execute("SELECT 1 FROM tasks WHERE id = ?", (id,)).fetchone() is not None:
            raise LocalProtocolError(f"there is a task {id} already")
        name = self._box.name(record.principal)
        account = self._account(name)
        if room is not None:
            room.check(account.running, account.retained)
        # Never below the time in microseconds: a principal that was forgotten with its last task does not start again
        # under the positions of cursors that are still about.
        account.position = max(account.position + 1, int(record.created_at * 1_000_000))
        account.retained += 1
        account.running += not settled
        account.changed = True
        number = execute(
            "INSERT INTO tasks(id, principal, position, version, settled, ends, notes, chunks, head, outcome, origin)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (id, name, account.position, record.version, settled, ends, len(notes), len(chunks), head, outcome, origin),
        ).lastrowid
        assert number is not None
        self._add(number, 0, notes, chunks)

    def replace(self, new: TaskRecord) -> bool:
        """Update a record, if it is the version before."""
        execute, id = self.connection.execute, new.id
        found = execute("SELECT number, principal, version, settled, notes FROM tasks WHERE id = ?", (id,)).fetchone()
        if found is None or found[2] != new.version - 1:
            return False
        number, name, _, was_settled, known = found
        settled, ends, head, outcome, chunks = self._change(new)
        # The journal only grows, at its end.
        notes = [self._note(id, at, *note) for at, note in enumerate(islice(new.answers.items(), known, None), known)]
        execute(
            "UPDATE tasks SET version = ?, settled = ?, ends = ?, notes = ?, chunks = ?, head = ?, outcome = ?"
            " WHERE number = ?",
            (new.version, settled, ends, known + len(notes), len(chunks), head, outcome, number),
        )
        self._add(number, known, notes, chunks)
        if settled and not was_settled:
            account = self._account(name)
            account.running -= 1
            account.changed = True
        return True

    def remove(self, ids: Iterable[TaskId]) -> None:
        """Delete records, with all that belongs to them."""
        execute = self.connection.execute
        for id in ids:
            found = execute("SELECT number, principal, settled FROM tasks WHERE id = ?", (id,)).fetchone()
            if found is None:
                continue
            number, name, settled = found
            execute("DELETE FROM notes WHERE task = ?", (number,))
            execute("DELETE FROM chunks WHERE task = ?", (number,))
            execute("DELETE FROM tasks WHERE number = ?", (number,))
            account = self._account(name)
            account.retained -= 1
            account.running -= not settled
            account.changed = True
            self._removed = True

    def _change(self, record: TaskRecord) -> _Change:
        id, put = record.id, self._box.put
        head = put(id, "head", encode(keep_head(record)))
        if record.outcome is None:
            return False, record.expires_at, head, None, ()
        whole = encode(keep_outcome(record.outcome))
        if len(whole) <= _INLINE_BYTES:
            return True, record.expires_at, head, put(id, "outcome", whole), ()
        small = put(id, "outcome", encode(keep_outcome(brief(record.outcome))))
        chunks = [put(id, f"chunk {at}", piece) for at, piece in enumerate(_pieces(whole))]
        return True, record.expires_at, head, small, chunks

    def _note(self, id: TaskId, at: int, key: str, value: JSON) -> bytes:
        return self._box.put(id, f"note {at}", encode([key, value]))

    def _add(self, number: int, known: int, notes: Sequence[bytes], chunks: Sequence[bytes]) -> None:
        if notes:
            rows = [(number, at, note) for at, note in enumerate(notes, known)]
            self.connection.executemany("INSERT INTO notes VALUES(?, ?, ?)", rows)
        if chunks:
            pieces = [(number, at, data) for at, data in enumerate(chunks)]
            self.connection.executemany("INSERT INTO chunks VALUES(?, ?, ?)", pieces)

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            found = self.connection.execute(
                "SELECT retained, running, position FROM principals WHERE name = ?", (name,)
            ).fetchone()
            account = self._accounts[name] = _Account(0, 0, 0) if found is None else _Account(*found)
        return account

    def _write_accounts(self) -> None:
        for name, account in self._accounts.items():
            if not account.changed:
                continue
            account.changed = False
            if account.retained:
                self.connection.execute(
                    "INSERT OR REPLACE INTO principals VALUES(?, ?, ?, ?)",
                    (name, account.retained, account.running, account.position),
                )
            else:
                self.connection.execute("DELETE FROM principals WHERE name = ?", (name,))
        if len(self._accounts) > _MOST_ACCOUNTS:
            self._accounts.clear()


def _pieces(whole: bytes) -> Iterator[bytes]:
    for start in range(0, len(whole), _CHUNK_BYTES):
        yield whole[start : start + _CHUNK_BYTES]
