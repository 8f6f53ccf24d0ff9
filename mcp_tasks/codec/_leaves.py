"""The leaves of the strict codec: what a JSON string, number or closed set of words is, and how a fault is told.

Every hook here takes a value and a type it ignores, as cattrs has it, and hands the value back as it came or raises
`Fault`. Nothing is ever converted, but for the words of an enum. This module may not know shapes or cattrs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Any, Final, get_args

__all__ = [
    "SCALARS",
    "Fault",
    "Hook",
    "anything",
    "boolean",
    "enum_hook",
    "expected",
    "integer",
    "kind_of",
    "literal_hook",
    "null",
    "number",
    "object_",
    "one_of",
    "scalar_union_hook",
    "string",
]

Hook = Callable[[Any, Any], Any]


class Fault(Exception):
    """A value is not what it should be; `trail` leads to it from the inside out."""

    def __init__(self, reason: str, *trail: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.trail = list(trail)

    def where(self) -> str:
        return "".join(map(_step, reversed(self.trail)))


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if key.replace("-", "_").isidentifier() else f"[{key!r}]"


def kind_of(value: object) -> str:
    """What JSON calls a value of this sort."""
    if value is None:
        return "null"
    for kind, cls in _KINDS:
        if isinstance(value, cls):
            return kind
    return type(value).__name__


# A bool is an int to Python, so it has to be asked for first.
_KINDS: Final[tuple[tuple[str, type], ...]] = (
    ("boolean", bool),
    ("string", str),
    ("integer", int),
    ("number", float),
    ("array", list),
    ("object", dict),
)


def expected(what: str, value: object, *trail: str | int) -> Fault:
    return Fault(f"expected {what}, got {kind_of(value)}", *trail)


def one_of(values: Collection[object]) -> str:
    return "expected one of " + ", ".join(repr(value) for value in values)


# -- leaves


def string(value: Any, _: Any) -> Any:
    if isinstance(value, str):
        return value
    raise expected("string", value)


def boolean(value: Any, _: Any) -> Any:
    if value is True or value is False:
        return value
    raise expected("boolean", value)


def integer(value: Any, _: Any) -> Any:
    if kind_of(value) == "integer":
        return value
    raise expected("integer", value)


def number(value: Any, _: Any) -> Any:
    if kind_of(value) in ("number", "integer"):
        return value
    raise expected("number", value)


def object_(value: Any, _: Any) -> Any:
    if isinstance(value, dict):
        return value
    raise expected("object", value)


def anything(value: Any, _: Any) -> Any:
    return value


def null(value: Any, _: Any) -> Any:
    if value is None:
        return value
    raise expected("null", value)


def literal_hook(type_: Any) -> Hook:
    """A closed set of strings."""
    values = get_args(type_)
    allowed = frozenset(values)

    def lift_literal(value: Any, _: Any) -> Any:
        if isinstance(value, str):
            if value in allowed:
                return value
            raise Fault(one_of(values))
        raise expected("string", value)

    return lift_literal


def enum_hook(type_: Any) -> Hook:
    """A closed set of strings that has a class."""
    members: dict[str, enum.Enum] = {member.value: member for member in type_}

    def lift_enum(value: Any, _: Any) -> Any:
        if isinstance(value, str):
            member = members.get(value)
            if member is not None:
                return member
            raise Fault(one_of(members))
        raise expected("string", value)

    return lift_enum


SCALARS: Final[dict[Any, tuple[str, ...]]] = {
    str: ("string",),
    int: ("integer",),
    float: ("number", "integer"),
    bool: ("boolean",),
    type(None): ("null",),
}


def scalar_union_hook(types_: Collection[Any]) -> Hook:
    """One of several JSON types, kept as it came."""
    kinds = [kind for type_ in types_ for kind in SCALARS[type_]]
    if "number" in kinds:
        kinds = [kind for kind in kinds if kind != "integer"]
    what = " or ".join(dict.fromkeys(kinds))
    exact = frozenset(type_ for type_ in types_) | (frozenset({int}) if float in types_ else frozenset())
    allowed = frozenset(kinds) | (frozenset({"integer"}) if "number" in kinds else frozenset())

    def lift_scalar(value: Any, _: Any) -> Any:
        if value.__class__ in exact or kind_of(value) in allowed:
            return value
        raise expected(what, value)

    return lift_scalar
