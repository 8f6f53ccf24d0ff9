"""Nothing leaks: a check to run after every test.

It looks at facts, not at memory: a peer that is no longer at work has no open connection, no live task, no waiter, and
no record that would stay for ever; this process has no child left.
"""

from __future__ import annotations

import os
import sys

from ..peer.peer import Peer
from ..tasks.store import MemoryTaskStore

__all__ = ["LeakError", "check_leaks"]


class LeakError(AssertionError):
    """Something outlived its cause; the message lists what."""


def check_leaks(*peers: Peer) -> None:
    """Check peers that are done, and this process's children. Raises `LeakError`."""
    found: list[str] = []
    for peer in peers:
        found += [f"{peer!r}: {connection!r} is open" for connection in peer.connections]
        if peer.tasks.live:
            found.append(f"{peer!r}: {peer.tasks.live} tasks are live")
        if links := {**peer.links, **peer.awaited}:
            found.append(f"{peer!r}: {len(links)} links to requestors are left")
        store = peer.tasks.store
        if isinstance(store, MemoryTaskStore):
            found += [f"{peer!r}: task {r.id} has no end of life" for r in store.records() if r.expires_at is None]
            left = [record for record in store.records() if not record.settled]
            if store.durable:  # what is to be run again is left for the next process
                left = [record for record in left if record.origin is None]
            found += [f"{peer!r}: task {record.id} never settled" for record in left]
    found += [f"child process {pid} is left" for pid in _children()]
    if found:
        raise LeakError("; ".join(found))


def _children() -> list[int]:
    if sys.platform != "linux":
        return []
    # Each thread has children of its own here, and processes are started from worker threads.
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                found += [int(pid) for pid in file.read().split()]
        except OSError:
            continue  # the thread has just ended
    return found
