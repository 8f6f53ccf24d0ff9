"""Forms: what is shown for a schema, and what is made of what was typed."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_tasks import UNSET
from mcp_tasks.cli.forms import Field, default_content, fields_of

TITLED = [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]
CHOICES = [
    {"type": "string", "enum": ["r", "g"]},
    {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
    {"type": "string", "oneOf": TITLED},
]
SEVERAL = [
    {"type": "array", "items": {"type": "string", "enum": ["r", "g"]}},
    {"type": "array", "items": {"anyOf": TITLED}},
    {"type": "array", "items": {"oneOf": TITLED}},
]


def the_field(schema: dict[str, Any], *, required: bool = True) -> Field:
    (found,) = fields_of({"type": "object", "properties": {"it": schema}, "required": ["it"] if required else []})
    return found


@pytest.mark.parametrize(
    ("schema", "typed", "value"),
    [
        ({"type": "string"}, " Ada ", "Ada"),
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, '""', ""),
        ({"type": "string", "format": "email"}, "a@example.org", "a@example.org"),
        ({"type": "integer"}, "-3", -3),
        ({"type": "number"}, "3", 3),
        ({"type": "number"}, "3.5e2", 350.0),
        ({"type": "boolean"}, "Y", True),
        ({"type": "boolean"}, "no", False),
        *((choice, "g", "g") for choice in CHOICES),
        *((choice, "2", "g") for choice in CHOICES),
        *((choice, "green", "g") for choice in CHOICES[1:]),
        ({"type": "string", "enum": ["3", "2", "1"]}, "3", "3"),
        *((several, "g, 1,g", ["g", "r"]) for several in SEVERAL),
        ({"type": "string", "default": "here"}, "", "here"),
        ({"type": "integer", "default": 0}, "", 0),
        ({"type": "boolean", "default": False}, "", False),
        ({**SEVERAL[0], "default": ["r"]}, "", ["r"]),
    ],
)
def test_typed(schema: dict[str, Any], typed: str, value: object) -> None:
    parsed = the_field(schema).parse(typed)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("schema", "typed", "said"),
    [
        ({"type": "string"}, "", "needed"),
        ({"type": "string", "minLength": 3}, "ab", "shorter than 3"),
        ({"type": "string", "format": "email"}, "nobody", "email"),
        ({"type": "integer"}, "3.5", "no whole number"),
        ({"type": "integer", "maximum": 5}, "6", "maximum of 5"),
        ({"type": "number"}, "nan", "no number"),
        ({"type": "number"}, "x", "no number"),
        ({"type": "boolean"}, "maybe", "yes or no"),
        ({"type": "string", "enum": ["r"]}, "2", "none of the choices"),
        ({**SEVERAL[0], "minItems": 2}, "r", "less than 2"),
    ],
)
def test_typed_wrongly(schema: dict[str, Any], typed: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        the_field(schema).parse(typed)


def test_an_optional_field_may_be_left_out() -> None:
    assert the_field({"type": "string"}, required=False).parse("") is UNSET


def test_what_is_shown() -> None:
    age = the_field({"type": "integer", "title": "Age", "description": "In years", "minimum": 18, "default": 20})
    assert age.lines() == ["In years"]
    assert age.prompt() == "Age (a whole number, at least 18) [20]: "
    colour = the_field({**SEVERAL[1], "maxItems": 1, "default": ["r"]}, required=False)
    assert colour.lines() == ["  1. Red (r)", "  2. Green (g)"]
    assert colour.prompt() == "it (optional, several, separated by commas, at most 1 of them) [r]: "
    assert the_field({"type": "boolean", "default": True}).prompt() == "it (yes or no) [yes]: "


def test_defaults() -> None:
    fields = {"a": {"type": "string", "default": "x"}, "b": {"type": "boolean"}, "c": {"type": "string"}}
    assert default_content({"properties": fields, "required": ["a", "b"]}) == {"a": "x", "b": True}
    assert default_content({"properties": fields, "required": ["c"]}) is None
    assert default_content({}) == {}
