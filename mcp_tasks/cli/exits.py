"""How a command ends: exit codes, and one readable line for everything that may go wrong.

Imports nothing that costs time, since `serve` starts with it.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable

from ..errors import (
    ConnectionClosed,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    RequestFailed,
    StoreUnusable,
    TaskCancelled,
    TaskExpired,
)

__all__ = ["Exit", "Trouble", "reported", "trouble"]


class Exit(enum.IntEnum):
    """The documented exit codes; a signal's is 128 and its number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SERVER = 3
    TIMEOUT = 4
    CANCELLED = 5
    DETACHED = 6
    BUG = 70
    INTERRUPTED = 130


class Trouble(Exception):
    """A command cannot go on: what to say about it, and the code to exit with."""

    def __init__(self, message: str, exit: Exit) -> None:
        super().__init__(message)
        self.exit = exit


def trouble(error: Exception) -> Trouble | None:
    """What an exception means to whoever typed the command; None if it is a bug, which deserves its traceback."""
    match error:
        case Trouble():
            return error
        case TaskCancelled():
            return Trouble(str(error), Exit.CANCELLED)
        case RequestFailed() | TaskExpired():
            return Trouble(f"the server answered: {error}", Exit.FAILED)
        case ConnectionClosed():
            return Trouble(f"the server is gone: {error}", Exit.SERVER)
        case RemoteProtocolError():
            return Trouble(f"the server broke the protocol: {error}", Exit.SERVER)
        case StoreUnusable():
            return Trouble(str(error), Exit.SERVER)
        case LocalProtocolError():  # CapabilityMissing above all
            return Trouble(str(error), Exit.USAGE)
        case MCPError():
            return Trouble(str(error), Exit.SERVER)
        case ModuleNotFoundError(name="hypothesis" | "jinja2" | "tomli" as name):
            return Trouble(f"{name} is not installed: pip install 'mcp-tasks[conformance]'", Exit.USAGE)
        case OSError():
            return Trouble(error.strerror or str(error), Exit.SERVER)
        case _:
            return None


def reported(command: str, do: Callable[[], int], *, debug: bool) -> int:
    """Do what a command is for; what goes wrong and is no bug is one line on stderr, and its exit code."""
    try:
        return do()
    except Exception as error:
        known = trouble(error)
        if debug or known is None:
            raise
        print(f"mcp-tasks {command}: {known}", file=sys.stderr)
        return known.exit
