"""Elicitation forms as questions on a terminal, and what was typed as values. All of it pure.

A requested schema is a flat object of texts, numbers, booleans and choices. A choice may be spelled as ``enum``, as
``enum`` with ``enumNames``, or as ``oneOf`` of ``const`` and ``title``; several choices are an array of any of these.
What was typed is checked here, so that people get to know of a mistake before the server does.

Spec: client/elicitation "Requested Schema".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import frozen

from .._unset import JSON, UNSET, JSONObject, Unset
from ..errors import InvalidShape
from ..peer.schemas import validate

__all__ = ["Choice", "Field", "FieldKind", "default_content", "fields_of"]

FieldKind: TypeAlias = Literal["string", "number", "integer", "boolean", "choice", "choices"]

_YES = frozenset({"y", "yes", "true", "on", "1"})
_NO = frozenset({"n", "no", "false", "off", "0"})
_BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "format": "{}",
    "pattern": "like {}",
}


@frozen
class Choice:
    """One of the values that may be chosen, and what people are shown for it."""

    value: str
    title: str


@frozen
class Field:
    """One field of a form."""

    name: str
    kind: FieldKind
    schema: JSONObject
    required: bool
    choices: tuple[Choice, ...] = ()

    @property
    def default(self) -> JSON | Unset:
        """What it is if nothing is typed."""
        return self.schema.get("default", UNSET)

    def lines(self) -> list[str]:
        """What to show before it is asked: what it is about, and what may be chosen."""
        shown = [str(self.schema["description"])] if "description" in self.schema else []
        for number, choice in enumerate(self.choices, 1):
            value = "" if choice.title == choice.value else f" ({choice.value})"
            shown.append(f"  {number}. {choice.title}{value}")
        return shown

    def prompt(self) -> str:
        """The line to type after."""
        title = str(self.schema.get("title", self.name))
        notes = [] if self.required else ["optional"]
        if self.kind in ("number", "integer"):
            notes.append("a number" if self.kind == "number" else "a whole number")
        elif self.kind == "boolean":
            notes.append("yes or no")
        elif self.kind == "choices":
            notes.append("several, separated by commas")
        notes += [said.format(self.schema[bound]) for bound, said in _BOUNDS.items() if bound in self.schema]
        hint = f" ({', '.join(notes)})" if notes else ""
        default = "" if self.default is UNSET else f" [{self._shown(self.default)}]"
        return f"{title}{hint}{default}: "

    def _shown(self, value: JSON) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    def parse(self, typed: str) -> JSON | Unset:
        """The value that was typed, or UNSET to leave the field out. Raises ValueError with what is wrong with it.

        Nothing typed is the default; ``""`` is a text with nothing in it.
        """
        typed = typed.strip()
        if not typed:
            if self.default is not UNSET:
                return self.default
            if self.required:
                raise ValueError("this one is needed")
            return UNSET
        value = self._value(typed)
        try:
            validate(self.schema, value, "$")
        except InvalidShape as wrong:
            raise ValueError(wrong.reason) from None
        return value

    def _value(self, typed: str) -> JSON:
        match self.kind:
            case "boolean":
                return _boolean(typed)
            case "integer":
                return _number(typed, whole=True)
            case "number":
                return _number(typed, whole=False)
            case "choice":
                return self._chosen(typed)
            case "choices":
                return list(dict.fromkeys(self._chosen(part.strip()) for part in typed.split(",") if part.strip()))
            case _:
                return "" if typed == '""' else typed

    def _chosen(self, typed: str) -> str:
        for choice in self.choices:
            if typed == choice.value:
                return choice.value
        for choice in self.choices:
            if typed.lower() in (choice.title.lower(), choice.value.lower()):
                return choice.value
        if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= len(self.choices):
            return self.choices[int(typed) - 1].value
        raise ValueError(f"{typed!r} is none of the choices")


def fields_of(schema: JSONObject) -> list[Field]:
    """The fields of a form, in order. A kind that no form should have is asked for as text."""
    required = schema.get("required", [])
    return [_field(name, field, name in required) for name, field in schema.get("properties", {}).items()]


def default_content(schema: JSONObject) -> JSONObject | None:
    """What a form holds if nobody is asked: its defaults, and yes to what only wants a yes.

    None if a field is needed for which there is no default.
    """
    content: JSONObject = {}
    for field in fields_of(schema):
        if field.default is not UNSET:
            content[field.name] = field.default
        elif field.required and field.kind == "boolean":
            content[field.name] = True
        elif field.required:
            return None
    return content


def _field(name: str, schema: JSONObject, required: bool) -> Field:
    if schema.get("type") == "array":
        return Field(name, "choices", schema, required, _choices(schema.get("items", {})))
    if choices := _choices(schema):
        return Field(name, "choice", schema, required, choices)
    kind = schema.get("type")
    return Field(name, kind if kind in ("number", "integer", "boolean") else "string", schema, required)


def _choices(schema: Mapping[str, Any]) -> tuple[Choice, ...]:
    for spelling in ("oneOf", "anyOf"):
        titled = schema.get(spelling)
        if isinstance(titled, list) and all(isinstance(entry, dict) and "const" in entry for entry in titled):
            return tuple(Choice(entry["const"], str(entry.get("title", entry["const"]))) for entry in titled)
    values = schema.get("enum", [])
    titles = dict(zip(values, schema.get("enumNames", []), strict=False))
    return tuple(Choice(value, str(titles.get(value, value))) for value in values)


def _boolean(typed: str) -> bool:
    if typed.lower() in _YES:
        return True
    if typed.lower() in _NO:
        return False
    raise ValueError("yes or no?")


def _number(typed: str, *, whole: bool) -> int | float:
    try:
        return int(typed)
    except ValueError:
        pass
    if not whole:
        try:
            value = float(typed)
        except ValueError:
            pass
        else:
            if math.isfinite(value):  # JSON has no words for the others
                return value
    raise ValueError(f"{typed!r} is no {'whole ' if whole else ''}number")
