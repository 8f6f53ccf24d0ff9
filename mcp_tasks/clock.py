"""The time of day, as the rest of the engine sees it.

One clock serves both purposes. It starts at the time of day and then follows trio's clock, so that lifetimes are
immune to somebody setting the computer's clock, and a test on trio's mock clock controls every timestamp.
"""

from __future__ import annotations

import time
from functools import lru_cache

import trio

__all__ = ["Clock", "timestamp"]


class Clock:
    """Seconds since the epoch. `epoch` is the time of day at first use; by default the computer's."""

    def __init__(self, epoch: float | None = None) -> None:
        self._epoch = epoch
        self._offset = 0.0
        self._last: float | None = None
        self._clock: trio.abc.Clock | None = None

    def now(self) -> float:
        """The time, in seconds since the epoch. Must be called within a trio run; a later run carries on."""
        clock = trio.lowlevel.current_clock()
        if clock is not self._clock:
            start = time.time() if self._epoch is None else self._epoch
            self._clock = clock
            self._offset = (start if self._last is None else max(start, self._last)) - clock.current_time()
        self._last = clock.current_time() + self._offset
        return self._last

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
