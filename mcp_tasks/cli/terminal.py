"""The person at the keyboard: one question at a time, and one that may push to the front.

Input is read where the terminal says that there is a line, not in a thread: a thread that waits for a line cannot be
called back, and would swallow the answer to the next question.
"""

from __future__ import annotations

import os
import sys

import trio

from .display import Display, clean

__all__ = ["Terminal"]

_MAX_BYTES = 64 * 1024


class Terminal:
    """Asks questions on stderr and reads answers from stdin, if that is a terminal."""

    def __init__(self, display: Display) -> None:
        self.interactive = sys.stdin is not None and sys.stdin.isatty()
        """Whether there is anybody to ask."""
        self._display = display
        self._keyboard = trio.Lock()
        self._asking: trio.CancelScope | None = None
        self._urgent = False
        self._settled = trio.lowlevel.ParkingLot()

    async def ask(self, prompt: str) -> str | None:
        """The line that was typed; None for Ctrl-D. Asked again after an urgent question. One caller at a time."""
        while True:
            while self._urgent:
                await self._settled.park()
            with trio.CancelScope() as self._asking:
                try:
                    return await self._line(prompt)
                finally:
                    self._asking = None

    async def ask_at_once(self, prompt: str) -> str | None:
        """As `ask`, but a question that waits for its answer has to stand back."""
        self._urgent = True
        if self._asking is not None:
            self._asking.cancel()
        try:
            return await self._line(prompt)
        finally:
            self._urgent = False
            self._settled.unpark_all()

    def tell(self, *lines: str) -> None:
        """Show something that goes with a question."""
        for line in lines:
            self._display.note(clean(line))

    async def _line(self, prompt: str) -> str | None:
        async with self._keyboard:
            with self._display.paused():
                print(clean(prompt), end="", file=sys.stderr, flush=True)
                keyboard = sys.stdin.fileno()
                try:
                    await trio.lowlevel.wait_readable(keyboard)
                except trio.Cancelled:
                    print(file=sys.stderr, flush=True)
                    raise
                typed = os.read(keyboard, _MAX_BYTES)
                if not typed:
                    print(file=sys.stderr, flush=True)
                    return None
                return typed.decode("utf-8", "replace").rstrip("\r\n")
