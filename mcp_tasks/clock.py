"""The time of day, as the rest of the engine sees it.

One clock serves both purposes. It starts at the time of day and then follows trio's clock, so that lifetimes are
immune to somebody setting the computer's clock, and a test on trio's mock clock controls every timestamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import trio

__all__ = ["Clock", "timestamp"]


class Clock:
    """Seconds since the epoch. `epoch` is the time of day at first use; by default the computer's."""

    def __init__(self, epoch: float | None = None) -> None:
        self._epoch = epoch
        self._offset = 0.0
        self._read: Callable[[], float] | None = None

    def now(self) -> float:
        """The time, in seconds since the epoch. Must be called within a trio run, the same one each time."""
        if self._read is None:
            self._read = trio.lowlevel.current_clock().current_time
            self._offset = (time.time() if self._epoch is None else self._epoch) - self._read()
        return self._read() + self._offset

    def deadline(self, when: float) -> float:
        """The trio deadline that corresponds to `when`, in seconds since the epoch."""
        return trio.current_time() + (when - self.now())


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as the wire has them: RFC 3339, UTC, milliseconds (T25-080)."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{_second(whole)}.{thousandths:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
