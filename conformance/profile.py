"""A profile: which of a program's own tools show what the suite wants to see.

No names are required of anybody. A profile maps *abilities* to a tool and its arguments; what is not in it is not
judged, and said to be so. It is TOML:

    name = "server-everything"

    [abilities.quick]
    tool = "echo"
    arguments = { message = "hello" }

For a client under test an ability is a request that the client answers, with its method and params.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ABILITIES", "Ability", "Profile", "ProfileError", "load_profile"]

ABILITIES: Mapping[str, str] = {
    "quick": "ends at once, with a result; may be a task",
    "slow": "works for two seconds at least; may be a task",
    "fails": "ends with a JSON-RPC error; may be a task",
    "is_error": "ends with a result that has isError; may be a task",
    "asks": "asks the user one thing by a form; may be a task",
    "asks_twice": "asks two things, one after the other; may be a task",
    "asks_both": "asks two things at once; may be a task",
    "samples": "has the model of the client asked; may be a task",
    "progress": "reports progress more than once; may be a task",
    "forbidden": "is no task, and says so or says nothing",
    "required": "can be nothing but a task",
    "many": "like quick, and can be had a hundred times",
    "samples_as_task": "has the client ask its model or its user by a task of the client's, and waits for its result",
    "lists_tasks": "asks which tasks the client runs for the server, all pages of them",
}
"""What a profile can have, and what it means."""


class ProfileError(Exception):
    """A profile is not as it should be; the message says where."""


@frozen
class Ability:
    """How to have a program show one thing."""

    name: str
    tool: str = ""
    arguments: Mapping[str, Any] = field(factory=dict)
    method: str = "tools/call"
    params: Mapping[str, Any] = field(factory=dict)
    """Of a method other than tools/call."""

    def request(self) -> tuple[str, dict[str, Any]]:
        """The method and params to send."""
        if self.method == "tools/call":
            return self.method, {"name": self.tool, "arguments": dict(self.arguments)}
        return self.method, dict(self.params)


@define
class Profile:
    """What is known of a program."""

    name: str = "unnamed"
    abilities: dict[str, Ability] = field(factory=dict)
    capabilities: dict[str, Any] | None = None
    """What a client under test is told that the suite's server can do, on top of the usual; None for nothing more."""

    def find(self, ability: str) -> Ability | None:
        """How to show an ability; None if the program is not known to have it."""
        found = self.abilities.get(ability)
        if found is None and ability == "many":
            return self.abilities.get("quick")
        return found


def parse_profile(text: str, source: str = "profile") -> Profile:
    """A profile from TOML. Raises `ProfileError`."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{source}: {error}") from None
    abilities: dict[str, Ability] = {}
    entries = found.get("abilities", {})
    if not isinstance(entries, dict):
        raise ProfileError(f"{source}: abilities is a table")
    for name, entry in entries.items():
        where = f"{source}: abilities.{name}"
        if name not in ABILITIES:
            raise ProfileError(f"{where}: there are {', '.join(ABILITIES)}")
        if not isinstance(entry, dict) or not ({"tool"} & entry.keys() or {"method"} & entry.keys()):
            raise ProfileError(f"{where}: a table with a tool, or with a method")
        unknown = entry.keys() - {"tool", "arguments", "method", "params"}
        if unknown:
            raise ProfileError(f"{where}: what is {', '.join(sorted(unknown))}?")
        for part, kind in (("tool", str), ("method", str), ("arguments", dict), ("params", dict)):
            if part in entry and not isinstance(entry[part], kind):
                raise ProfileError(f"{where}.{part}: expected {kind.__name__}")
        abilities[name] = Ability(name, **entry)
    return Profile(str(found.get("name", source)), abilities, found.get("capabilities"))


def load_profile(path: Path) -> Profile:
    """A profile from a file. Raises `ProfileError`, OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path}: not UTF-8: {error.reason}") from None
    return parse_profile(text, str(path))
