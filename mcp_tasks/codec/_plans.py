"""Plans: what the strict codec has to know of a shape before any code is made for it.

Which members it has and what they are called, which are required, which have one value for ever, and whether unknown
ones are kept. Here the differences between revisions (renames, narrower types, fields that do not exist) are worked in.
This module may not know cattrs, methods or revisions.
"""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import Any, Final, Union, get_args, get_origin

import attrs

from .._unset import JSONObject, Unset
from ..wire.capabilities import CAPABILITY_SHAPES

__all__ = ["Member", "Plan", "Plans", "forgive", "is_union", "union_of", "without_unset"]

_EXTRA: Final = "extra"


@attrs.frozen(eq=False, repr=False)
class Member:
    """A field of a shape and its member on the wire."""

    attribute: attrs.Attribute[Any]
    wire: str
    type: Any
    """The type of a value that is there; `Unset` has been taken away."""
    required: bool


@attrs.frozen(eq=False, repr=False)
class Plan:
    """What there is to know of a shape before any code is made."""

    cls: type
    members: tuple[Member, ...]
    constants: dict[str, str]
    """Members that every value of the shape has; the class attributes of the same name."""
    names: frozenset[str]
    open: bool
    """Unknown members are kept."""
    forgiven: tuple[str, ...]
    """Members that take a boolean for an object."""
    forgiven_maps: frozenset[str]
    """Those of them whose own members do so too."""


class Plans:
    """The plan of each shape, made when it is first asked for."""

    def __init__(
        self,
        renames: Mapping[type, Mapping[str, str]],
        omit: Mapping[type, Collection[str]],
        narrow: Mapping[type, Mapping[str, Any]],
    ) -> None:
        self._renames = renames
        self._omit = omit
        self._narrow = narrow
        self._plans: dict[type, Plan] = {}

    def __getitem__(self, cls: type) -> Plan:
        plan = self._plans.get(cls)
        if plan is None:
            plan = self._plans[cls] = self._make(cls)
        return plan

    def _make(self, cls: Any) -> Plan:
        attrs.resolve_types(cls)
        renames, narrow = self._renames.get(cls, {}), self._narrow.get(cls, {})
        omit = self._omit.get(cls, ())
        members = []
        for attribute in attrs.fields(cls):
            name = attribute.name
            required = attribute.default is attrs.NOTHING
            if name in omit:
                if required:
                    raise TypeError(f"{cls.__name__}.{name} has no default and cannot be omitted")
                continue
            if name == _EXTRA:
                continue
            type_, optional = without_unset(narrow.get(name, attribute.type))
            if name in narrow:
                required = not optional
            members.append(Member(attribute, renames.get(name) or wire_name(name), type_, required))
        constants = {name: value for name, value in vars(cls).items() if type(value) is str and name[0] != "_"}
        forgiven = [member for member in members if cls in CAPABILITY_SHAPES and is_object(member.type)]
        return Plan(
            cls,
            tuple(members),
            constants,
            frozenset(member.wire for member in members).union(constants),
            open=any(attribute.name == _EXTRA for attribute in attrs.fields(cls)),
            forgiven=tuple(member.wire for member in forgiven),
            forgiven_maps=frozenset(m.wire for m in forgiven if m.type == dict[str, JSONObject]),
        )


def wire_name(name: str) -> str:
    if name == "meta":
        return "_meta"
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)


def is_object(type_: Any) -> bool:
    return attrs.has(type_) or get_origin(type_) is dict


def union_of(options: Collection[Any]) -> Any:
    """The union of these types; of one type, that type."""
    return Union[tuple(options)]  # noqa: UP007 -- there is no | for a number of types only known now


def without_unset(type_: Any) -> tuple[Any, bool]:
    """The type without `Unset`, and whether it had it."""
    if not is_union(type_):
        return type_, False
    options = [option for option in get_args(type_) if option is not Unset]
    return union_of(options), len(options) < len(get_args(type_))


def forgive(value: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """A copy of a capability object in which a true is an empty object, and a false is not there.

    Released peers announce a capability so; tests/unit/codec/test_shapes.py::TestBooleanCapabilities.
    """
    value = dict(value)
    for name in plan.forgiven:
        member = value.get(name)
        if member is True:
            value[name] = {}
        elif member is False:
            del value[name]
        elif name in plan.forgiven_maps and isinstance(member, dict):
            value[name] = {key: {} if one is True else one for key, one in member.items() if one is not False}
    return value
