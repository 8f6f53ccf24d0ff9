"""Writing the file of a `SQLiteTaskStore`: what many have asked for, in one transaction.

First it is worked out what becomes of each record, in the order in which it was asked, on what is known of the rows
that are being changed; whatever has to be refused is refused there, and touches nobody else. Then all of it is written
by a few statements with many rows each. That matters: each statement lets go of the interpreter and has to get it back,
from a thread that may be busy. If SQLite itself refuses something, all is undone and done again one by one.

The writer is alone with its file, so what it knows of a row stays true: it keeps that for unfinished tasks.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from attrs import define, frozen

from .._unset import TaskId
from ..errors import LocalProtocolError, MCPError
from .batches import Errand
from .boxes import Box
from .model import TaskRecord
from .packing import Packer, microseconds
from .reading import explained
from .store import Room

__all__ = ["Create", "Remove", "Replace", "Writer"]

logger = logging.getLogger("mcp_tasks.tasks")

_CHUNK_BYTES: Final = 256 * 1024
_FREE_PAGES: Final = 256  # how many may lie idle in the file, and how many are given back at once
_MOST_KNOWN: Final = 100_000  # rows, and accounts


@frozen(eq=False)
class Create:
    """Insert a record, if there is room."""

    record: TaskRecord
    room: Room | None


@frozen(eq=False)
class Replace:
    """Put a record in the place of the version before it."""

    record: TaskRecord


@frozen(eq=False)
class Remove:
    """Delete records."""

    ids: Sequence[TaskId]


Wish: TypeAlias = Create | Replace | Remove


@define(eq=False)
class _Account:
    """What a principal has. `number` is None while it is not in the file."""

    number: int | None = None
    retained: int = 0
    running: int = 0


@define(eq=False)
class _Row:
    """What is known of a record, as it is or is about to be."""

    number: int
    principal: str
    version: int
    settled: bool
    notes: int
    chunks: int
    kept: int = 0
    """The version that is in the file."""
    new: bool = False


class _Unsure(Exception):
    """What was worked out for many may be wrong: it has to be done one by one."""


class _Plan:
    """What is to be written by one transaction.

    With many in it, it is left to SQLite to find an id that exists already; one alone is looked at more `careful`ly.
    """

    def __init__(self, *, careful: bool = True) -> None:
        self.careful = careful
        self.rows: dict[TaskId, _Row | None] = {}
        """Of all records that are touched; None for one that is not there, or not any more."""
        self.accounts: dict[str, _Account] = {}
        self.parts: dict[TaskId, tuple[Any, ...]] = {}
        """The columns of rows that are new or changed, from `ends` on."""
        self.origins: dict[TaskId, bytes | None] = {}
        self.notes: list[tuple[int, int, bytes]] = []
        self.chunks: list[tuple[int, int, bytes]] = []
        self.gone: list[_Row] = []
        self.rewritten: list[int] = []
        self.last = 0


class Writer:
    """Changes the file, a batch of errands in one transaction."""

    def __init__(self, connection: sqlite3.Connection, box: Box) -> None:
        self.connection = connection
        self._box = box
        self._packer = Packer(box)
        self._rows: dict[TaskId, _Row] = {}
        self._accounts: dict[str, _Account] = {}
        self._last: int | None = None  # the number of the latest task

    def run(self, batch: Sequence[Errand[Any]]) -> None:
        """Do a batch of errands. One that fails takes none of the others with it."""
        try:
            gone = self._commit(batch)
        except Exception as error:
            self._undo()
            if len(batch) == 1 or _is_busy(error):
                for errand in batch:
                    errand.failure = explained(error)
            else:
                for errand in batch:
                    errand.failure = None
                    self.run([errand])
        else:
            if gone:
                self.give_back()

    def do(self, wish: Wish) -> None:
        """Do one thing, in a transaction of its own. Raises whatever goes wrong, which then has not happened."""
        try:
            self._write(plan := _Plan(), lambda: self._apply(plan, wish))
        except BaseException:
            self._undo()
            raise

    def _commit(self, batch: Sequence[Errand[Any]]) -> bool:
        # Whether something was removed.
        plan = _Plan(careful=len(batch) == 1)

        def apply() -> None:
            for errand in batch:
                try:
                    errand.result = self._apply(plan, errand.what)
                except (MCPError, TypeError, ValueError, RecursionError) as refusal:  # before it has changed anything
                    errand.failure = refusal

        self._write(plan, apply)
        return bool(plan.gone)

    def _undo(self) -> None:
        self._rows.clear()
        self._accounts.clear()
        self._last = None
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            logger.exception("the task store cannot undo what it has begun")

    # --- working it out -------------------------------------------------------------------------------------------

    def _apply(self, plan: _Plan, wish: Wish) -> bool:
        match wish:
            case Create(record, room):
                self._create(plan, record, room)
            case Replace(record):
                return self._replace(plan, record)
            case Remove(ids):
                for id in ids:
                    self._remove(plan, id)
        return True

    def _create(self, plan: _Plan, record: TaskRecord, room: Room | None) -> None:
        id = record.id
        name = self._box.name(record.principal)
        account = self._account(plan, name)
        if room is not None:
            room.check(account.running, account.retained)
        if (self._row(plan, id) if plan.careful else plan.rows.get(id)) is not None:
            raise LocalProtocolError(f"there is a task {id} already")
        parts, chunks = self._parts(record)
        notes, origin = self._packer.notes(record, 0), self._packer.origin(record)
        # Never below the time in microseconds: what was handed out as a cursor stays behind what comes, though the
        # tasks before it are gone and the file is closed and opened again.
        plan.last = number = max(plan.last + 1, microseconds(record.created_at))
        row = _Row(number, name, record.version, record.settled, len(notes), len(chunks), new=True)
        plan.rows[id], plan.parts[id], plan.origins[id] = row, parts, origin
        self._add(plan, number, 0, notes, chunks)
        account.retained += 1
        account.running += not row.settled

    def _replace(self, plan: _Plan, new: TaskRecord) -> bool:
        id, row = new.id, self._row(plan, new.id)
        if row is None or row.version != new.version - 1:
            return False
        self._be_sure(plan, row)
        parts, chunks = self._parts(new)
        notes = self._packer.notes(new, row.notes)
        account = self._account(plan, row.principal)
        self._add(plan, row.number, row.notes, notes, chunks)
        account.running -= new.settled and not row.settled
        row.version, row.settled = new.version, new.settled
        row.notes += len(notes)
        if row.chunks:
            plan.rewritten.append(row.number)
        row.chunks = len(chunks)
        plan.parts[id] = parts
        return True

    def _remove(self, plan: _Plan, id: TaskId) -> None:
        row = self._row(plan, id)
        if row is None:
            return
        self._be_sure(plan, row)
        account = self._account(plan, row.principal)
        account.retained -= 1
        account.running -= not row.settled
        plan.rows[id] = None
        plan.parts.pop(id, None)
        plan.gone.append(row)

    def _be_sure(self, plan: _Plan, row: _Row) -> None:
        # What is being created may exist already, which is found when it is written; nothing may be built on it before.
        if row.new and not plan.careful:
            raise _Unsure("it was created in the same batch")

    def _parts(self, record: TaskRecord) -> tuple[tuple[Any, ...], Sequence[bytes]]:
        # The end of its time, its head, its outcome as far as it is in the row; and the rest of that.
        ends = None if record.expires_at is None else microseconds(record.expires_at)
        outcome, large = self._packer.outcome(record)
        chunks: Sequence[bytes] = ()
        if large is not None:
            chunks = [self._box.put(record.id, f"chunk {at}", piece) for at, piece in enumerate(_pieces(large))]
        return (ends, self._packer.head(record), outcome), chunks

    def _add(self, plan: _Plan, number: int, known: int, notes: Sequence[bytes], chunks: Sequence[bytes]) -> None:
        plan.notes += ((number, at, note) for at, note in enumerate(notes, known))
        plan.chunks += ((number, at, data) for at, data in enumerate(chunks))

    def _row(self, plan: _Plan, id: TaskId) -> _Row | None:
        if id in plan.rows:
            return plan.rows[id]
        row = self._rows.get(id)
        if row is None:
            found = self.connection.execute(
                "SELECT t.number, name, version, settled, notes, chunks FROM tasks t"
                " JOIN principals p ON p.number = principal WHERE id = ?",
                (id,),
            ).fetchone()
            if found is not None:
                number, name, version, settled, notes, chunks = found
                row = _Row(number, name, version, bool(settled), notes, chunks, kept=version)
        plan.rows[id] = row
        return row

    def _account(self, plan: _Plan, name: str) -> _Account:
        account = plan.accounts.get(name) or self._accounts.get(name)
        if account is None:
            found = self.connection.execute(
                "SELECT number, retained, running FROM principals WHERE name = ?", (name,)
            ).fetchone()
            account = _Account() if found is None else _Account(*found)
        plan.accounts[name] = account
        return account

    # --- writing it -----------------------------------------------------------------------------------------------

    def _write(self, plan: _Plan, apply: Callable[[], object]) -> None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        if self._last is None:
            self._last = execute("SELECT max(number) FROM tasks").fetchone()[0] or 0
        plan.last = self._last
        apply()
        new, changed = [], []
        self._open_accounts(plan)
        for id, parts in plan.parts.items():
            row = plan.rows[id]
            assert row is not None
            if row.new:
                of = plan.accounts[row.principal].number
                columns = (row.number, id, of, row.version, row.settled, row.notes, row.chunks)
                new.append((*columns, *parts, plan.origins[id]))
            else:
                changed.append((row.version, row.settled, row.notes, row.chunks, *parts, row.number, row.kept))
        many = self.connection.executemany
        many("INSERT INTO tasks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
        if many(_UPDATE, changed).rowcount != len(changed) and changed:
            raise _Unsure("a row is not what it was taken for")
        many("INSERT INTO notes VALUES(?, ?, ?)", plan.notes)
        many("DELETE FROM chunks WHERE task = ?", [(number,) for number in plan.rewritten])
        many("INSERT INTO chunks VALUES(?, ?, ?)", plan.chunks)
        self._delete(plan.gone)
        self._close_accounts(plan)
        execute("COMMIT")
        self._remember(plan)

    def _delete(self, gone: Sequence[_Row]) -> None:
        for table, column, wanted in (
            ("notes", "task", lambda row: row.notes),
            ("chunks", "task", lambda row: row.chunks),
            ("tasks", "number", lambda row: not row.new),
        ):
            numbers = [(row.number,) for row in gone if wanted(row)]
            self.connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", numbers)

    def _open_accounts(self, plan: _Plan) -> None:
        for name, account in plan.accounts.items():
            if account.number is None and account.retained:
                insert = "INSERT INTO principals VALUES(NULL, ?, 0, 0)"
                account.number = self.connection.execute(insert, (name,)).lastrowid

    def _close_accounts(self, plan: _Plan) -> None:
        kept = [(a.retained, a.running, a.number) for a in plan.accounts.values() if a.retained]
        self.connection.executemany("UPDATE principals SET retained = ?, running = ? WHERE number = ?", kept)
        for account in plan.accounts.values():
            if not account.retained and account.number is not None:
                self.connection.execute("DELETE FROM principals WHERE number = ?", (account.number,))
                account.number = None

    def _remember(self, plan: _Plan) -> None:
        self._last = plan.last
        if len(self._rows) > _MOST_KNOWN:
            self._rows.clear()
        if len(self._accounts) > _MOST_KNOWN:
            self._accounts.clear()
        self._accounts.update(plan.accounts)
        for id, row in plan.rows.items():
            if row is None or row.settled:
                self._rows.pop(id, None)
            else:
                row.new, row.kept = False, row.version
                self._rows[id] = row

    def give_back(self) -> None:
        """Give space back that nothing is in: a little after each removal, so that it never takes long."""
        try:
            (free,) = self.connection.execute("PRAGMA freelist_count").fetchone()
            if free > _FREE_PAGES:
                # By a script, since `execute` would step once.
                self.connection.executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")
        except sqlite3.Error:
            logger.warning("the task store cannot give back space now", exc_info=True)


_UPDATE: Final = (
    "UPDATE tasks SET version = ?, settled = ?, notes = ?, chunks = ?, ends = ?, head = ?, outcome = ?"
    " WHERE number = ? AND version = ?"
)


def _is_busy(error: Exception) -> bool:
    # Somebody else holds the file, which is not going to be better for the next errand.
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _pieces(whole: bytes) -> Iterator[bytes]:
    for start in range(0, len(whole), _CHUNK_BYTES):
        yield whole[start : start + _CHUNK_BYTES]
