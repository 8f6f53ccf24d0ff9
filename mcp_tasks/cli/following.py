"""Following one task to its end: its status and progress as events, Ctrl-C as a choice, the handle saved on leaving."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import attrs
import trio

from .._unset import JSON, UNSET, JSONObject
from ..errors import RequestFailed
from ..peer._wait import Progress
from ..peer.connection import Connection
from ..peer.handles import SavedTask, TaskHandle
from ..wire.server_features import Tool
from ..wire.tasks import Task
from .display import Display, Event
from .exits import Exit, Trouble
from .running import Interrupts
from .terminal import Terminal

__all__ = ["Follower", "load_saved", "progress_event", "saved_json", "task_event", "wire_json"]


class Follower:
    """Shows how one task goes. `label` is its name on the screen."""

    def __init__(self, label: str, display: Display, terminal: Terminal, interrupts: Interrupts) -> None:
        self._label = label
        self._display = display
        self._terminal = terminal
        self._interrupts = interrupts
        self._leaving = trio.CancelScope()
        self.detached: SavedTask | None = None
        """The task, once the user has chosen to leave it to itself."""

    def progress(self, said: Progress) -> None:
        """Show progress; for `on_progress`."""
        self._display.event(progress_event(self._label, said))

    async def follow(self, handle: TaskHandle) -> JSONObject | None:
        """The result, as JSON; None if the user detached. Raises as `TaskHandle.result` does."""
        with self._interrupts.handled_by(partial(self._choose, handle)), self._leaving:
            async for task in handle.updates():
                self._display.event(task_event(self._label, task))
            return await handle.result()
        return None

    async def _choose(self, handle: TaskHandle) -> None:
        if not self._terminal.interactive:
            self._interrupts.end()
            return
        typed = await self._terminal.ask_at_once(f"{self._label} still runs: (c)ancel it, (d)etach, or (w)ait on? ")
        match (typed or "w").strip().lower()[:1]:
            case "c":
                try:
                    await handle.cancel()
                except RequestFailed as refused:
                    self._display.note(f"it was not cancelled: {refused}")
            case "d":
                self.detached = handle.detach()
                self._leaving.cancel()


def progress_event(label: str, said: Progress) -> Event:
    """Progress as an event."""
    data: JSONObject = {"progress": said.progress}
    if said.total is not None:
        data["total"] = said.total
    if said.message is not None:
        data["message"] = said.message
    total = "" if said.total is None else f"/{said.total:g}"
    return Event("progress", f"{f'{said.progress:g}{total}':<16}{said.message or ''}".rstrip(), label, data)


def task_event(label: str, task: Task) -> Event:
    """A task's status as an event."""
    data: JSONObject = {"taskId": task.task_id, "status": task.status.value}
    if task.status_message is not UNSET:
        data["statusMessage"] = task.status_message
    return Event("status", f"{task.status.value:<16}{task.status_message or ''}".rstrip(), label, data)


def wire_json(connection: Connection, shape: Task | Tool) -> JSONObject:
    """A task or a tool as it stands on the wire."""
    lowered = connection.dialect.lower_call(shape)
    assert lowered is not UNSET
    return lowered


def saved_json(saved: SavedTask, server: str) -> JSONObject:
    """A saved task, and the SERVER it is to be had from, as JSON."""
    return {"server": server, **attrs.asdict(saved)}


def load_saved(path: Path) -> tuple[SavedTask, str | None]:
    """What `saved_json` made, from a file. Raises `Trouble`."""
    try:
        content: JSON = json.loads(path.read_text(encoding="utf-8"))
        server = content.pop("server", None)
        return SavedTask(**content), server
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}", Exit.USAGE) from None
    except (ValueError, TypeError, AttributeError):
        raise Trouble(f"{path} holds no saved task", Exit.USAGE) from None
