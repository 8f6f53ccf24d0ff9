"""What clients have seen of tasks while processes were killed, and what must hold of it, whatever the moment.

A history is a list of facts in the order in which one process has noted them; each is noted after it was acknowledged
or read, never before. The checker knows nothing of how it came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from attrs import define, frozen

JSONObject = dict[str, Any]

TERMINAL = frozenset({"completed", "failed", "cancelled"})
INTERRUPTED = "The task was interrupted"
ENDING = "its receiver is shutting down"


@frozen
class Created:
    """A task was acknowledged: of which tool, for which order."""

    id: str
    tool: str
    order: int


@frozen
class Seen:
    """How a task was: its status, and what it ended with or why."""

    id: str
    status: str
    outcome: str | None = None


@frozen
class Gone:
    """A task that was not found."""

    id: str


@frozen
class Asked:
    """A task has a question under this key."""

    id: str
    key: str


@frozen
class Answered:
    """An answer to it was acknowledged."""

    id: str
    key: str


@frozen
class CancelAsked:
    """Somebody is about to ask for the end of a task."""

    id: str


@frozen
class Cancelled:
    """That was acknowledged; if it was not over before, as a session would have said, that is how it has ended."""

    id: str
    for_certain: bool = False


@frozen
class Effect:
    """A step that `once` guards has been done, in whichever process."""

    order: int
    step: str


@frozen
class Kept:
    """What it returned has been kept: `once` has returned."""

    order: int
    step: str


Fact: TypeAlias = Created | Seen | Gone | Asked | Answered | CancelAsked | Cancelled | Effect | Kept


@define
class _Known:
    created: Created
    last: Seen | None = None
    cancelling: bool = False
    acknowledged: bool = False


def violations(history: Iterable[Fact], steps: Iterable[Effect | Kept] = ()) -> list[str]:
    """Everything that should not have happened. `steps` are what the servers have written down, in order."""
    found: list[str] = []
    tasks: dict[str, _Known] = {}
    answered: set[tuple[str, str]] = set()
    for fact in history:
        match fact:
            case Created(id):
                if id in tasks:
                    found.append(f"{id}: two tasks have this id")
                tasks[id] = _Known(fact)
            case Gone(id):
                found.append(f"{id}: was acknowledged, and is lost")
            case Seen(id, status):
                last = tasks[id].last
                if last is not None and last.status in TERMINAL and last != fact:
                    found.append(f"{id}: was {last.status} with {last.outcome}, then {status} with {fact.outcome}")
                else:
                    tasks[id].last = fact
            case Answered(id, key):
                answered.add((id, key))
            case Asked(id, key):
                if (id, key) in answered:
                    found.append(f"{id}: {key} was answered, and is asked again")
            case CancelAsked(id):
                tasks[id].cancelling = True
            case Cancelled(id, for_certain):
                tasks[id].acknowledged = for_certain
    for id, known in tasks.items():
        found += _wrong_ends(id, known)
    found += _doubled(steps)
    return found


def _wrong_ends(id: str, known: _Known) -> Iterable[str]:
    last, created = known.last, known.created
    if last is None or last.status not in TERMINAL:
        yield f"{id}: never came to an end: {last}"
        return
    outcome = last.outcome or ""
    if known.acknowledged and last.status != "cancelled":
        yield f"{id}: was cancelled, and is {last.status}"
    if last.status == "cancelled" and not known.cancelling and ENDING not in outcome:
        yield f"{id}: nobody has cancelled it"
    if last.status == "cancelled" and not known.cancelling and ENDING in outcome and created.tool == "order":
        yield f"{id}: order is cancelled: {outcome}"
    if last.status == "completed" and outcome != f"{created.order} for Ada":
        yield f"{id}: came to {outcome!r}, which is not what was ordered"
    if last.status == "failed" and (created.tool == "order" or INTERRUPTED not in outcome):
        yield f"{id}: {created.tool} has failed: {outcome}"


def _doubled(steps: Iterable[Effect | Kept]) -> Iterable[str]:
    kept: set[tuple[int, str]] = set()
    for step in steps:
        name = (step.order, step.step)
        if isinstance(step, Kept):
            kept.add(name)
        elif name in kept:
            yield f"order {step.order}: {step.step} was done again after it was kept"


def parse_steps(text: str) -> list[Effect | Kept]:
    """What the servers have written down."""
    kinds: Mapping[str, type[Effect] | type[Kept]] = {"effect": Effect, "kept": Kept}
    words = (line.split() for line in text.splitlines())
    return [kinds[kind](int(order), step) for kind, order, step in words]
