"""The pieces of a record that a store keeps, as bytes, sealed or not: the same wherever they are kept.

A record comes in pieces since they change at different times: the *head* with each change, the journal by a *note* at a
time, the *outcome* once, the *origin* never. Of an outcome that is too large for lists, a small one stands with the
record, and the whole is kept as the store likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from .._unset import TaskId
from .boxes import Box
from .kept import brief, decode, encode, keep_head, keep_outcome, lift_head, lift_outcome
from .model import EMPTY, TaskRecord

__all__ = ["Packer", "microseconds", "readable"]

logger = logging.getLogger("mcp_tasks.tasks")

_INLINE_BYTES: Final = 8 * 1024  # an outcome up to this is kept with its record


class Packer:
    """Makes pieces of records, and records of pieces.

    Packing raises TypeError, ValueError or RecursionError for what is no JSON; unpacking raises whatever shows that a
    piece is broken, was sealed with another key, or is another's.
    """

    def __init__(self, box: Box) -> None:
        self._box = box

    def head(self, record: TaskRecord) -> bytes:
        """What changes of a record, but for its journal and its outcome."""
        return self._box.put(record.id, "head", encode(keep_head(record)))

    def origin(self, record: TaskRecord) -> bytes | None:
        """What it takes to do its work elsewhere."""
        return None if record.origin is None else self._box.put(record.id, "origin", encode(record.origin))

    def notes(self, record: TaskRecord, known: int) -> list[bytes]:
        """What has come to its journal after as many as are `known`: it only grows, at its end."""
        if len(record.answers) <= known:
            return []
        added = enumerate(islice(record.answers.items(), known, None), known)
        return [self._box.put(record.id, f"note {at}", encode(note)) for at, note in added]

    def outcome(self, record: TaskRecord) -> tuple[bytes | None, bytes | None]:
        """The outcome as it is kept with the record, and the whole of it if that is more, which is not sealed."""
        if record.outcome is None:
            return None, None
        whole = encode(keep_outcome(record.outcome))
        if len(whole) <= _INLINE_BYTES:
            return self._box.put(record.id, "outcome", whole), None
        return self._box.put(record.id, "outcome", encode(keep_outcome(brief(record.outcome)))), whole

    def record(
        self,
        id: TaskId,
        version: int,
        head: bytes,
        outcome: bytes | None,
        *,
        large: bytes | None = None,
        notes: Iterable[bytes] = (),
        origin: bytes | None = None,
    ) -> TaskRecord:
        """The record that has these pieces; `large` is the whole of its outcome if that is more, unsealed."""
        whole = large if large is not None or outcome is None else self._box.take(id, "outcome", outcome)
        answers = dict(self._open(id, f"note {at}", note) for at, note in enumerate(notes))
        return lift_head(
            id,
            version,
            self._open(id, "head", head),
            outcome=None if whole is None else lift_outcome(decode(whole)),
            answers=answers or EMPTY,
            origin=None if origin is None else self._open(id, "origin", origin),
        )

    def _open(self, id: TaskId, part: str, kept: bytes) -> Any:
        return decode(self._box.take(id, part, kept))


def readable(id: TaskId, read: Callable[[], TaskRecord]) -> Iterator[TaskRecord]:
    """A record, or none if it is broken: that one hides none of the others, and goes when its time is over."""
    try:
        yield read()
    except Exception:
        logger.exception("task %s cannot be read", id)


def microseconds(seconds: float) -> int:
    """Seconds since the epoch as they are kept."""
    return round(seconds * 1_000_000)
