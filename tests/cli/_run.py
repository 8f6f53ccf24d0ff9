"""Running the real command: as a subprocess, or on a pseudo-terminal with somebody who types."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

SECONDS = 60
COMMAND = [sys.executable, "-m", "mcp_tasks"]
EVERYTHING = shlex.join([*COMMAND, "serve", "conformance.fixtures.everything:peer", "--stdio"])


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command with nobody at the keyboard."""
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": SECONDS, **options}
    return subprocess.run([*COMMAND, *arguments], check=False, **options)


def json_lines(text: str) -> list[Any]:
    """The objects of ``--json`` output."""
    return [json.loads(line) for line in text.splitlines()]


# The leader of a session gets the first terminal that it opens, so that Ctrl-C reaches it as from a keyboard.
_ON_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.argv[1], sys.argv[1:])
"""


class Keyboard:
    """A command on a pseudo-terminal: wait for what it shows, type, and see how it ends."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.shown = ""
        self._read = 0
        self._deadline = time.monotonic() + SECONDS
        self._fd, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
        )
        os.close(theirs)

    def expect(self, text: str) -> str:
        """Wait until `text` is shown after what was seen before; returns all up to its end."""
        while (at := self.shown.find(text, self._read)) < 0:
            assert self._more(), f"{text!r} was not shown: {self.shown[self._read :]!r}"
        start, self._read = self._read, at + len(text)
        return self.shown[start : self._read]

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def finish(self) -> int:
        """Read to the end; returns the exit code."""
        while self._more():
            pass
        os.close(self._fd)
        return self._process.wait(SECONDS)

    def _more(self) -> bool:
        left = self._deadline - time.monotonic()
        assert select.select([self._fd], [], [], max(left, 0))[0], f"nothing happens: {self.shown!r}"
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # what Linux says at the end
            return False
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode("utf-8", "replace"))
        self.shown += text.replace("\r", "")
        return bool(data)
