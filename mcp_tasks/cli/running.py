"""Running a command: signals, time limits, and what is raised on the way to an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from ..peer._wait import servants
from .display import Display
from .exits import Exit, Trouble, trouble

__all__ = ["Command", "Interrupts", "run_command"]

Command = Callable[["Interrupts"], Awaitable[int]]
"""A command to run; what it returns is the exit code."""


class Interrupts:
    """What Ctrl-C does: end the command, unless somebody handles it for a while. A second one always ends it."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that ended the command."""
        self.command = trio.CancelScope()
        """Around the command."""
        self._handler: Callable[[], Awaitable[None]] | None = None
        self._handling: trio.CancelScope | None = None

    def end(self, number: int = signal.SIGINT) -> None:
        """End the command, as a signal does."""
        self.number = number
        self.command.cancel()

    @contextmanager
    def handled_by(self, handler: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Have Ctrl-C call `handler`, which is cancelled when the block is left."""
        self._handler = handler
        try:
            yield
        finally:
            self._handler = None
            if self._handling is not None:
                self._handling.cancel()

    async def listen(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Heed signals. Handlers run in `nursery`."""
        async for number in signals:
            if number == signal.SIGINT and self._handler is not None and self._handling is None:
                nursery.start_soon(self._handle, self._handler)
            else:
                self.end(number)

    async def _handle(self, handler: Callable[[], Awaitable[None]]) -> None:
        try:
            with trio.CancelScope() as self._handling:
                await handler()
        finally:
            self._handling = None


def run_command(command: Command, display: Display, *, timeout: float | None = None, debug: bool = False) -> int:
    """Run a command to its end and return the exit code; errors are shown in one line, or in full to debug."""
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        code = trio.run(_supervised, command, timeout)
        display.close()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough. Nothing more can be said, and Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        display.close()
        known = trouble(error)
        if debug or known is None:
            traceback.print_exc()
        if known is None:
            display.failure(f"this is a bug: {type(error).__name__}: {error}", {"exit": int(Exit.BUG)})
            return Exit.BUG
        data = {"exit": int(known.exit)} | {
            name: getattr(error, name) for name in ("code", "data") if getattr(error, name, None)
        }
        display.failure(str(known), data)
        return known.exit
    return code


async def _supervised(command: Command, timeout: float | None) -> int:
    interrupts = Interrupts()
    limit = float("inf") if timeout is None else timeout
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        interrupts.command,
        trio.move_on_after(limit) as timing,
    ):
        async with servants() as nursery:
            nursery.start_soon(interrupts.listen, signals, nursery)
            return await command(interrupts)
    if timing.cancelled_caught:
        raise Trouble(f"it took longer than {timeout:g} seconds", Exit.TIMEOUT)
    assert interrupts.number is not None
    return 128 + interrupts.number
