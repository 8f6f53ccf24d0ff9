"""Showing what happens: as lines, as a live table of tasks, or as one JSON object per line.

A command tells a `Display` of events and of its result, and does not know which kind it has. Whatever the other side
wrote is cleaned of control characters before a terminal sees it.
"""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from attrs import define, field, frozen
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .._unset import JSONObject

__all__ = ["Display", "Event", "JsonDisplay", "LiveDisplay", "PlainDisplay", "clean", "open_display"]

_COLOURS = {
    "working": "cyan",
    "input_required": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
}
_BAR_WIDTH = 20


@frozen
class Event:
    """Something that happened.

    `text` is for people, `data` for programs. `task` is the label of the task it is about; its row in the table takes
    over the `status`, `statusMessage`, `progress` and `total` of `data`.
    """

    kind: str
    text: str
    task: str | None = None
    data: JSONObject = field(factory=dict)


def clean(text: str) -> str:
    """`text` without what a terminal would obey: control characters other than line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


class Display(ABC):
    """Where a command says what happens."""

    terminal = False
    """Whether people see it as it happens, on a terminal."""

    @abstractmethod
    def event(self, event: Event) -> None:
        """Something happened."""

    @abstractmethod
    def result(self, value: JSONObject, text: str, *, failed: bool = False) -> None:
        """What the command is for: `value` as JSON, or `text`, which goes to stderr if it says why something failed."""

    def failure(self, text: str, data: JSONObject) -> None:
        """Why the command ends badly: one line, on stderr."""
        self.note(f"mcp-tasks: {' '.join(clean(text).split())}")

    def note(self, text: str) -> None:
        """Something that only people care for."""
        print(text, file=sys.stderr, flush=True)

    def said(self, line: str) -> None:
        """A line that the server wrote to its stderr."""
        self.note(clean(line))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to somebody who asks a question."""
        yield

    def close(self) -> None:  # noqa: B027 - only one kind has anything to do
        """Leave the terminal for good."""


class JsonDisplay(Display):
    """One JSON object per line on stdout; people read stderr."""

    def event(self, event: Event) -> None:
        about = {} if event.task is None else {"task": event.task}
        _print_json({"event": event.kind, **about, **event.data})

    def result(self, value: JSONObject, text: str, *, failed: bool = False) -> None:
        _print_json(value)

    def failure(self, text: str, data: JSONObject) -> None:
        super().failure(text, data)
        _print_json({"event": "error", "message": text, **data})


def _print_json(value: JSONObject) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


class PlainDisplay(Display):
    """A line for each event, on stderr unless the events are what the command is for."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines

    def event(self, event: Event) -> None:
        label = "" if event.task is None else f"  {event.task:<18} "
        print(label + clean(event.text), file=self._lines, flush=True)

    def result(self, value: JSONObject, text: str, *, failed: bool = False) -> None:
        print(text, file=sys.stderr if failed else sys.stdout, flush=True)


@define
class _Row:
    status: str = ""
    message: str = ""
    progress: float | None = None
    total: float | None = None

    def update(self, data: JSONObject) -> None:
        self.status = data.get("status", self.status)
        self.message = clean(str(data.get("statusMessage", data.get("message", self.message))))
        self.progress = data.get("progress", self.progress)
        self.total = data.get("total", self.total)


class LiveDisplay(Display):
    """A table with a row for each task, below the lines of all other events."""

    terminal = True

    def __init__(self, lines: TextIO) -> None:
        self._console = Console(file=lines, highlight=False)
        self._rows: dict[str, _Row] = {}
        self._live: Live | None = None

    def event(self, event: Event) -> None:
        if event.task is None:
            self._console.print(Text(clean(event.text)))
            return
        self._rows.setdefault(event.task, _Row()).update(event.data)
        if event.kind not in ("status", "progress"):
            self._console.print(Text(f"  {event.task}: {clean(event.text)}"))
        self._show()

    def result(self, value: JSONObject, text: str, *, failed: bool = False) -> None:
        self.close()
        print(text, file=sys.stderr if failed else sys.stdout, flush=True)

    def note(self, text: str) -> None:
        self._console.print(Text(text))

    def said(self, line: str) -> None:
        self._console.print(Text(clean(line), style="dim"))

    @contextmanager
    def paused(self) -> Iterator[None]:
        shown = self._live is not None
        if self._live is not None:
            self._live.transient = True  # it comes back below what is typed
        self.close()
        try:
            yield
        finally:
            if shown:
                self._show()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self) -> None:
        if self._live is None:
            # Refreshed at each event and at no other time, so no thread draws while somebody types.
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("task", "status", "progress", "message"):
            table.add_column(title, header_style="dim", no_wrap=title != "message")
        for label, row in self._rows.items():
            status = Text(row.status, style=_COLOURS.get(row.status, ""))
            table.add_row(Text(clean(label)), status, _bar(row), Text(row.message))
        return table


def _bar(row: _Row) -> ProgressBar | Text:
    if row.progress is None:
        return Text("")
    if not row.total:
        return Text(f"{row.progress:g}")
    return ProgressBar(total=row.total, completed=row.progress, width=_BAR_WIDTH)


def open_display(*, json: bool, lines: TextIO | None = None) -> Display:
    """The display that fits: JSON if it is wanted, a live one on a terminal, else plain lines."""
    lines = sys.stderr if lines is None else lines
    if json:
        return JsonDisplay()
    return LiveDisplay(lines) if lines.isatty() else PlainDisplay(lines)
