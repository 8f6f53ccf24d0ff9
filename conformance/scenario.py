"""Scenarios: what the judge does to see whether requirements are kept, and the list of all of them.

A scenario is a coroutine that is given a session with the program under test. It names at its head every requirement
that it judges, and has to judge each of them or skip it with a reason; what the monitor sees on the way is judged
besides. It is played once for each transport and era that the program has, in a session of its own.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from attrs import field, frozen

from .ledger import Leg, era_of

__all__ = ["Broken", "Errand", "NotApplicable", "Scenario", "all_scenarios", "scenario"]


class Broken(Exception):
    """The scenario cannot go on, because the program did not do what it has to; what was not judged has failed."""


class NotApplicable(Exception):
    """The scenario cannot go on, and nobody is to blame; the message says what it would need."""


@frozen
class Errand:
    """What a client under test is told to do.

    It calls a tool once it has listed them, answers whatever it is asked meanwhile, and at the end prints what became
    of the call: ``{"text": ..., "isError": ...}`` for a result, with the text of its first block; ``{"error":
    {"message": ...}}`` if there was none, whatever the reason, with the ``code`` where the server gave one;
    ``{"cancelled": true}`` where it gave the call up.
    """

    tool: str = "play"
    arguments: Mapping[str, Any] = field(factory=dict)
    task: bool = False
    """Whether the call should be a task, where the server and the tool leave that open (2025-11-25). Where they do not,
    what they say goes first: it is called plainly, as a task all the same, or not at all. How a task is followed is up
    to the client; those that can do either should poll."""
    ttl: int | None = None
    """How many milliseconds it should ask a task to be kept for, if it can say so."""
    progress: bool = False
    """Whether it should ask to be told of the progress of the call."""
    list_tasks: bool = False
    """Whether it should list the tasks that it has, all pages of them, once the call has become one (2025-11-25)."""
    cancel: str | None = None
    """When it should give the call up: ``task``, as soon as it is a task; ``working``, once it was polled; ``call``,
    half a second after it was made, if there is no answer by then."""
    listen: bool = False
    """Whether it should listen for the changes of the task (2026-07-28)."""
    calls: int = 1
    """How many such calls it makes at once; it then prints a list of their results."""


@frozen
class Scenario:
    """One of them."""

    name: str
    play: Callable[[Any], Awaitable[None]]
    judges: tuple[str, ...]
    leg: Leg
    era: str
    needs: tuple[str, ...] = ()
    """Abilities without which it is not applicable."""
    transports: tuple[str, ...] = ("stdio", "http")
    declares: Mapping[str, Any] | None = None
    """What the judge announces that it can do; None for everything."""
    errand: Errand = Errand()
    """What a client is told to do meanwhile."""
    principals: bool = False
    """Whether it needs two identities."""

    @property
    def says(self) -> str:
        """What it is about, in a line."""
        return (self.play.__doc__ or self.name).strip().splitlines()[0]


_SCENARIOS: dict[tuple[Leg, str], Scenario] = {}
S: TypeAlias = Callable[[Any], Awaitable[None]]
F = TypeVar("F", bound=S)


def scenario(
    *judges: str,
    leg: Leg | Literal["both"],
    needs: tuple[str, ...] | str = (),
    transports: tuple[str, ...] = ("stdio", "http"),
    declares: Mapping[str, Any] | None = None,
    errand: Errand | None = None,
    principals: bool = False,
    era: str | None = None,
) -> Callable[[F], F]:
    """Have a coroutine be a scenario that judges these requirements, all of one era.

    What a receiver of tasks has to do is the same for a server and a client: `both` plays it with either.
    """

    def add(play: F) -> F:
        eras = {era_of(id) for id in judges} | ({era} if era else set())
        if len(eras) != 1:
            raise ValueError(f"{play.__name__}: the requirements of a scenario are of one era")
        name = play.__name__
        legs: tuple[Leg, ...] = ("server", "client") if leg == "both" else (leg,)
        for one in legs:
            if (one, name) in _SCENARIOS:
                raise ValueError(f"{name}: there is a scenario of that name")
            _SCENARIOS[one, name] = Scenario(
                name,
                play,
                judges,
                one,
                min(eras),
                (needs,) if isinstance(needs, str) else needs,
                transports,
                declares,
                errand or Errand(),
                principals,
            )
        return play

    return add


def all_scenarios() -> list[Scenario]:
    """All of them, in the order in which they stand in their modules."""
    from . import scenarios

    for module in sorted(pkgutil.iter_modules(scenarios.__path__), key=lambda module: module.name):
        importlib.import_module(f"{scenarios.__name__}.{module.name}")
    return list(_SCENARIOS.values())
