"""A durable store on the virtual clock: what it holds survives a crash that is only played."""

from __future__ import annotations

from mcp_tasks import MemoryTaskStore, TaskRecord
from mcp_tasks.tasks.kept import decode, encode, keep_head, keep_outcome, lift_head, lift_outcome


def through_json(record: TaskRecord) -> TaskRecord:
    """The record as a store outside of this process gives it back."""
    outcome = record.outcome
    return lift_head(
        record.id,
        record.version,
        decode(encode(keep_head(record))),
        outcome=None if outcome is None else lift_outcome(decode(encode(keep_outcome(outcome)))),
        answers=decode(encode(dict(record.answers))),
        origin=decode(encode(record.origin)),
    )


class Disk(MemoryTaskStore):
    """What is on it outlives the peer."""

    durable = True
    secret = bytes(range(32))

    async def after_a_crash(self) -> Disk:
        """What the next process finds, if this one ends now."""
        disk = Disk()
        for record in self.records():
            await disk.create(through_json(record))
        return disk
