"""Mutants: for each requirement a program that breaks just that one, to see that the suite notices.

A mutant is a healthy program of ours and one *edit* of what it says, made on the judge's end of the wire, where nobody
can tell it from a program that was written that way. Edits are small and made of these parts:

    Mutant("T25-084", task(drop("ttl")))                         # in every task object that it sends
    Mutant("T25-106", result("tasks/result", drop("_meta")))     # in the answers to one method
    Mutant("T25-088", early("tasks/result", ...))                # said before the program could say it

The tables are in the modules beside this one; `conformance.mutation` plays them.
"""

from __future__ import annotations

import copy
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from attrs import define, field, frozen

from mcp_tasks.testing import Frame, Wire

__all__ = [
    "Change",
    "Edit",
    "Known",
    "Mutant",
    "all_mutants",
    "also",
    "any_message",
    "drop",
    "early",
    "error",
    "header",
    "instead",
    "late",
    "meta",
    "notice",
    "put",
    "request",
    "result",
    "retort",
    "silent",
    "task",
    "twice",
]

Change: TypeAlias = Callable[[dict[str, Any]], Any]
"""Changes an object in place, or returns another to put in its place; returning False takes the message away."""


@define
class Known:
    """What an edit may want to know of the connection."""

    requests: dict[Any, Frame] = field(factory=dict)
    """The judge's requests, by id."""
    theirs: dict[Any, Frame] = field(factory=dict)
    """The program's requests, by id."""
    memory: dict[str, Any] = field(factory=dict)
    """Whatever an edit wants to remember."""

    def method_of(self, frame: Frame) -> str | None:
        """The method of the request that a response answers."""
        found = self.requests.get(frame.id)
        return None if found is None else found.method


class Edit:
    """What is done to one connection. The base does nothing."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        """What becomes of a frame of the program's: itself, another, several, none. It may be changed in place."""
        return (frame,)

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        """The judge sends this. `wire.inject` answers before the program does."""


@frozen
class Mutant:
    """A requirement, and the edit that breaks it."""

    id: str
    edit: Edit | Callable[[], Edit]
    """An edit without memory of its own, or what makes a new one for each connection."""
    legs: tuple[str, ...] = ()
    """Of which programs; none for all that the ledger has."""
    transport: str = "stdio"
    only: str = ""
    """The scenario that has to notice; empty for any."""
    note: str = ""
    prints: Callable[[str], str] | None = None
    """What a client prints instead of what it printed: to its caller it says something else than it was told."""

    def break_wire(self, wire: Wire) -> None:
        """Have this wire come from the mutant."""
        edit = self.edit if isinstance(self.edit, Edit) else self.edit()
        known = Known()

        def said(frame: Frame) -> None:
            if frame.is_request:
                known.requests[frame.id] = frame
            edit.saw(frame, known, wire)

        def change(frame: Frame) -> Iterable[Frame]:
            if frame.is_request:
                known.theirs[frame.id] = frame
            return edit.edit(frame, known)

        wire.said = said
        wire.edit = change


def all_mutants() -> list[Mutant]:
    """All of them, in the order of the modules and of their tables."""
    found: list[Mutant] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        found += importlib.import_module(f"{__name__}.{module.name}").MUTANTS
    return found


# --- changes ----------------------------------------------------------------------------------------------------------


def drop(*names: str) -> Change:
    """Leave members out."""

    def change(holder: dict[str, Any]) -> None:
        for name in names:
            holder.pop(name, None)

    return change


def put(**members: Any) -> Change:
    """Set members; what is callable is called with the old value."""

    def change(holder: dict[str, Any]) -> None:
        for name, value in members.items():
            holder[name] = value(holder.get(name)) if callable(value) else copy.deepcopy(value)

    return change


def meta(**members: Any) -> Change:
    """Set members of ``_meta``; None leaves them out. Two underscores stand for a slash, and the prefix is MCP's."""

    def change(holder: dict[str, Any]) -> None:
        found = dict(holder.get("_meta") or {})
        for name, value in members.items():
            key = f"io.modelcontextprotocol/{name.replace('_', '-')}"
            if value is None:
                found.pop(key, None)
            else:
                found[key] = copy.deepcopy(value)
        holder["_meta"] = found

    return change


# --- edits of what the program says -----------------------------------------------------------------------------------


@define
class _Of(Edit):
    """Changes a part of some frames; `find` gives the parts of a frame that are meant."""

    find: Callable[[Frame, Known], list[dict[str, Any]]]
    change: Change

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if not isinstance(frame.message, dict):
            return (frame,)
        for part in self.find(frame, known):
            changed = self.change(part)
            if changed is False:
                return ()
            if isinstance(changed, dict) and changed is not part:
                part.clear()
                part.update(changed)
        return (frame,)


def task(change: Change, *, where: str = "") -> Edit:
    """Change every task object that the program sends; `where` narrows it to one method's answers, or notifications."""

    def find(frame: Frame, known: Known) -> list[dict[str, Any]]:
        if frame.method in ("notifications/tasks/status", "notifications/tasks"):
            return [frame.params] if where in ("", frame.method) else []
        method = known.method_of(frame)
        if method is None or "result" not in frame.object or (where and method != where):
            return []
        found = frame.result
        if method in ("tasks/get", "tasks/cancel"):
            return [found] if "taskId" in found else []
        if method == "tasks/list":
            return [one for one in found.get("tasks", ()) if isinstance(one, dict)]
        if isinstance(found.get("task"), dict):
            return [found["task"]]
        return [found] if found.get("resultType") == "task" else []

    return _Of(find, change)


def result(method: str, change: Change, *, when: Callable[[dict[str, Any]], Any] = lambda found: True) -> Edit:
    """Change the results of a method of the judge's; `when` says which."""

    def find(frame: Frame, known: Known) -> list[dict[str, Any]]:
        of = known.method_of(frame)
        meant = of is not None and (method in ("", of)) and isinstance(frame.object.get("result"), dict)
        return [frame.result] if meant and when(frame.result) else []

    return _Of(find, change)


def response(method: str, change: Change) -> Edit:
    """Change whole responses to a method of the judge's, errors included."""

    def find(frame: Frame, known: Known) -> list[dict[str, Any]]:
        of = known.method_of(frame)
        return [frame.object] if frame.is_response and of is not None and method in ("", of) else []

    return _Of(find, change)


def error(method: str, change: Change) -> Edit:
    """Change the errors that answer a method of the judge's."""

    def find(frame: Frame, known: Known) -> list[dict[str, Any]]:
        of = known.method_of(frame)
        return [frame.error] if frame.error is not None and of is not None and method in ("", of) else []

    return _Of(find, change)


def request(method: str, change: Change) -> Edit:
    """Change the params of a request that the program makes."""
    return _Of(
        lambda frame, known: [_params(frame)] if frame.is_request and method in ("", frame.method) else [], change
    )


def notice(method: str, change: Change) -> Edit:
    """Change the params of a notification that the program sends."""
    return _Of(
        lambda frame, known: [_params(frame)] if frame.is_notification and method in ("", frame.method) else [], change
    )


def any_message(change: Change) -> Edit:
    """Change every message, all of it."""
    return _Of(lambda frame, known: [frame.object], change)


def _params(frame: Frame) -> dict[str, Any]:
    params: dict[str, Any] = frame.object.setdefault("params", {})
    return params


@define
class header(Edit):
    """Change the headers of the program's HTTP requests, or the status and headers of its answers."""

    change: Callable[[Frame], None]

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        frame.headers = dict(frame.headers)
        self.change(frame)
        return (frame,)


@define
class twice(Edit):
    """Say everything twice that `which` is true of."""

    which: Callable[[Frame, Known], Any]

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if not self.which(frame, known):
            return (frame,)
        return frame, Frame(frame.sender, copy.deepcopy(frame.message), frame.channel, status=frame.status)


@define
class also(Edit):
    """After what `which` is true of, say something else as well."""

    which: Callable[[Frame, Known], Any]
    what: Callable[[Frame, Known], Any]
    """Makes the message."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if not self.which(frame, known):
            return (frame,)
        return frame, Frame(frame.sender, self.what(frame, known), frame.channel, status=frame.status)


@define
class early(Edit):
    """Answer a method of the judge's at once, in the program's place, whose own answer is lost."""

    method: str
    make: Callable[[Mapping[str, Any], Known], dict[str, Any] | None]
    """From the params to the members of the response, such as ``{"result": {}}``; None leaves it to the program."""
    _mine: set[Any] = field(factory=set)

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        if frame.is_request and frame.method == self.method:
            members = self.make(frame.params, known)
            if members is not None:
                self._mine.add(frame.id)
                wire.inject(Frame(wire.side.other, {"jsonrpc": "2.0", "id": frame.id, **members}, frame.channel))

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        return () if frame.is_response and frame.id in self._mine else (frame,)


@define
class late(Edit):
    """Keep what `which` is true of until something comes that `until` is true of, and say it behind that."""

    which: Callable[[Frame, Known], Any]
    until: Callable[[Frame, Known], Any]
    _kept: list[Frame] = field(factory=list)

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if self.which(frame, known):
            self._kept.append(frame)
            return ()
        if self._kept and self.until(frame, known):
            kept, self._kept = self._kept, []
            return (frame, *kept)
        return (frame,)


@define
class instead(Edit):
    """Say something else than what `which` is true of."""

    which: Callable[[Frame, Known], Any]
    what: Callable[[Frame, Known], Any]
    """Makes the message."""

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if not self.which(frame, known):
            return (frame,)
        return (Frame(frame.sender, self.what(frame, known), frame.channel, status=frame.status, verb=frame.verb),)


@define
class silent(Edit):
    """Say nothing of what `which` is true of, once something has been said that `since` is true of."""

    which: Callable[[Frame, Known], Any]
    since: Callable[[Frame, Known], Any]
    _begun: bool = False

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        if self._begun and self.which(frame, known):
            return ()
        self._begun = self._begun or bool(self.since(frame, known))
        return (frame,)


@define
class retort(Edit):
    """Whenever the judge says what `which` is true of, say something at once."""

    which: Callable[[Frame, Known], Any]
    what: Callable[[Frame, Known], Any]
    """Makes the message."""

    def saw(self, frame: Frame, known: Known, wire: Wire) -> None:
        if self.which(frame, known):
            wire.inject(Frame(wire.side.other, self.what(frame, known), frame.channel))
