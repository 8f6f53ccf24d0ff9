"""The file of a `SQLiteTaskStore`: its tables, its version, and who may open it.

One process writes a file. It holds a lock beside it for as long as it has it open, which also goes when the process is
killed; whoever comes second is told so. Reading along is free to all, as WAL allows it.

A file says in its header that it is one of these and of which version. An older one is brought up to date, a step at a
time in one transaction; a newer one is refused, for what is in it may mean what we do not know.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..errors import StoreUnusable
from .boxes import Box

__all__ = ["MIGRATIONS", "Lock", "check", "connect", "migrate", "read_secret"]

_APPLICATION_ID: Final = 0x6D637074  # "mcpt"
_CACHE_KIB: Final = 32 * 1024
_WAL_PAGES: Final = 4_000  # after how many what they hold goes into the file itself
_WAL_BYTES: Final = 64 * 1024 * 1024  # what is kept of it once it was longer
_PROBE: Final = b"mcp_tasks"


def _first_tables(connection: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE principals(
            number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, retained INTEGER NOT NULL, running INTEGER NOT NULL
        )""",
        # A task's number is its position in its principal's list, too. It grows with time, and is not used again.
        """CREATE TABLE tasks(
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, principal INTEGER NOT NULL, version INTEGER NOT NULL,
            settled INTEGER NOT NULL, notes INTEGER NOT NULL, chunks INTEGER NOT NULL, ends INTEGER,
            head BLOB NOT NULL, outcome BLOB, origin BLOB
        )""",
        "CREATE INDEX tasks_of ON tasks(principal, number, settled)",
        "CREATE INDEX tasks_ending ON tasks(ends) WHERE ends IS NOT NULL",
        """CREATE TABLE notes(
            task INTEGER NOT NULL, number INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY(task, number)
        ) WITHOUT ROWID""",
        "CREATE TABLE chunks(task INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL)",
        "CREATE UNIQUE INDEX chunks_of ON chunks(task, number)",
    ):
        connection.execute(statement)


MIGRATIONS: Sequence[Callable[[sqlite3.Connection], None]] = (_first_tables,)
"""What leads from each version to the next; version 0 is an empty file."""


class Lock:
    """The right to write a file, as a lock on a file beside it. Raises `StoreUnusable` if another has it."""

    def __init__(self, path: Path) -> None:
        # Beside it, since closing any descriptor of the file itself would drop the locks that SQLite holds on it; and
        # where it really is, since it may have other names.
        really = path.resolve()
        if not really.name or really.is_dir():
            raise StoreUnusable(f"{str(path)!r} is not the name of a file")
        where = really.with_name(really.name + ".lock")
        try:
            self._fd = os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            by = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise StoreUnusable(f"{path} is in use{f' by process {by}' if by else ''}") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give it up."""
        os.close(self._fd)


def connect(path: Path, *, writes: bool, fresh: bool = False) -> sqlite3.Connection:
    """A connection to the file, on which transactions are begun and ended by hand.

    Raises `StoreUnusable`, also for an empty file unless it may be a `fresh` one.
    """
    if fresh:
        try:
            # What was said is nobody else's business.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnusable(f"{path}: {error.strerror}") from None
    try:
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if writes else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path}: {error}") from None
    try:
        if not check(connection, path) and not fresh:  # before anything is changed
            raise StoreUnusable(f"{path} is empty")
        if writes:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is anything in it
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # what was committed survives a power cut
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        else:
            connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except sqlite3.Error as error:
        connection.close()
        raise StoreUnusable(f"{path}: {error}") from None
    except StoreUnusable:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a file up to date. Raises `StoreUnusable` for a file that is not ours."""
    try:
        version = check(connection, path)
        if version < len(MIGRATIONS):
            connection.execute("BEGIN IMMEDIATE")
            for step in MIGRATIONS[version:]:
                step(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path}: {error}") from None


def check(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a file, 0 if it is empty. Raises `StoreUnusable` for one that is not ours, or too new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != _APPLICATION_ID:
        raise StoreUnusable(f"{path} is a database, but not a task store")
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"{path} was made by a newer mcp-tasks: its version is {version}, the newest known here {len(MIGRATIONS)}"
        )
    return int(version)


def read_secret(connection: sqlite3.Connection, box: Box, path: Path) -> bytes:
    """The secret of the store, made if there is none. Raises `StoreUnusable` if `box` does not fit the file."""
    try:
        kept = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    except sqlite3.Error as error:
        raise StoreUnusable(f"{path} is no task store: {error}") from None
    if not kept:
        secret = secrets.token_bytes(32)
        connection.execute("BEGIN IMMEDIATE")
        for name, value in (("sealed", b"1" if box.sealed else b"0"), ("probe", box.put("", "probe", _PROBE))):
            connection.execute("INSERT INTO meta VALUES(?, ?)", (name, value))
        connection.execute("INSERT INTO meta VALUES(?, ?)", ("secret", box.put("", "secret", secret)))
        connection.execute("COMMIT")
        return secret
    if (kept["sealed"] == b"1") is not box.sealed:
        raise StoreUnusable(f"{path} is encrypted: its key is needed" if not box.sealed else f"{path} is not encrypted")
    try:
        box.take("", "probe", kept["probe"])
        return box.take("", "secret", kept["secret"])
    except ValueError:
        raise StoreUnusable(f"{path} is encrypted with another key") from None
