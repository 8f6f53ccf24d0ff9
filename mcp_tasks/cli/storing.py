"""`mcp-tasks store`: look into what tasks are kept in, tidy it up, take its contents elsewhere.

It words what is kept as the engine has it, not as either era does: a task returned, raised, or was stopped.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .._unset import JSONObject, Principal, TaskId
from ..clock import timestamp
from ..tasks.inspecting import StoreFile, vacuum
from ..tasks.kept import encode, keep_outcome
from ..tasks.model import TaskRecord
from ..tasks.store import SharedTaskStore
from .display import clean
from .exits import Exit, Trouble
from .serving import opened_store, read_key

__all__ = ["export", "inspect", "stats", "tidy_up"]


@contextmanager
def _open(file: Path, key: str | None) -> Iterator[StoreFile]:
    with _said(file), StoreFile(file, key=None if key is None else read_key(key)) as store:
        yield store


@contextmanager
def _said(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise Trouble(f"{file} cannot be read: {error}", Exit.SERVER) from None
    except BrokenPipeError:
        # Whoever reads has seen enough; nothing more may be said, at the end of the process neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Trouble("nobody reads the rest", Exit.FAILED) from None


def inspect(file: Path, id: str | None, *, principal: str | None, unfinished: bool, key: str | None, json: bool) -> int:
    """List tasks, or show one; returns the exit code."""
    with _open(file, key) as store:
        if id is not None:
            record = store.get(TaskId(id))
            if record is None:
                raise Trouble(f"there is no task {id} in {file}", Exit.FAILED)
            _show(_whole(record), json=json)
            return Exit.OK
        found = store.records(principal=None if principal is None else Principal(principal))
        listed = (record for record in found if not (unfinished and record.settled))
        if json:
            for record in listed:
                _line(_summary(record))
            return Exit.OK
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("task", "state", "method", "principal", "created", "message"):
            table.add_column(title, header_style="dim", no_wrap=title != "message")
        for record in listed:
            table.add_row(*(Text(clean(str(value))) for value in _summary(record).values()))
        # Not narrower than its contents where nobody sees how wide it is.
        Console(width=None if sys.stdout.isatty() else 200).print(table)
    return Exit.OK


def stats(where: str, *, key: str | None, json: bool) -> int:
    """Say what is in a store; returns the exit code."""
    _show(trio.run(_of_fleet, where, key) if "://" in where else _of_file(Path(where), key), json=json)
    return Exit.OK


def _of_file(file: Path, key: str | None) -> JSONObject:
    with _open(file, key) as store:
        found = store.stats()
    return {
        "tasks": found.tasks,
        "unfinished": found.unfinished,
        "waiting": found.waiting,
        "principals": found.principals,
        "oldest": _time(found.oldest),
        "next_end": _time(found.next_end),
        "file_bytes": found.file_bytes,
        "free_bytes": found.free_bytes,
    }


async def _of_fleet(url: str, key: str | None) -> JSONObject:
    async with opened_store(url, key) as store:
        assert isinstance(store, SharedTaskStore)
        found = await store.stats()
    return {
        "tasks": found.tasks,
        "unfinished": found.unfinished,
        "queued": found.queued,
        "running": found.running,
        "overdue": found.overdue,
        "lease_losses": found.lease_losses,
        "oldest": _time(found.oldest),
    }


def tidy_up(file: Path) -> int:
    """Remove what has expired and give space back; returns the exit code."""
    with _said(file):
        done = vacuum(file, now=time.time())
    print(f"{done.removed} expired tasks removed; {done.before:,} bytes before, {done.after:,} now")
    return Exit.OK


def export(file: Path, *, key: str | None) -> int:
    """Write every task as a line of JSON; returns the exit code."""
    with _open(file, key) as store:
        for record in store.records(whole=True):
            _line(_whole(record))
        sys.stdout.flush()
    return Exit.OK


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


def _summary(record: TaskRecord) -> JSONObject:
    return {
        "id": record.id,
        "state": record.state.value,
        "method": record.method,
        "principal": record.principal,
        "created": timestamp(record.created_at),
        "message": record.message or "",
    }


def _whole(record: TaskRecord) -> JSONObject:
    return {
        **_summary(record),
        "updated": timestamp(record.updated_at),
        "expires": _time(record.expires_at),
        "poll_interval_ms": record.poll_interval_ms,
        "version": record.version,
        "runs": record.runs,
        "questions": {key: {"method": asked.method, "params": asked.params} for key, asked in record.questions.items()},
        "journal": dict(record.answers),
        "outcome": None if record.outcome is None else keep_outcome(record.outcome),
        "origin": record.origin,
    }


def _line(value: JSONObject) -> None:
    sys.stdout.write(encode(value).decode() + "\n")


def _show(known: JSONObject, *, json: bool) -> None:
    if json:
        _line(known)
        return
    width = max(map(len, known))
    for name, value in known.items():
        said = value if isinstance(value, str) else encode(value).decode()
        print(f"{name:<{width}}  {clean(said)}")
