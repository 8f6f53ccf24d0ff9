"""Python types as JSON Schema, and checking against schemas that somebody else wrote."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal, TypedDict

import attrs
import msgspec
import pytest

from mcp_tasks.errors import InvalidShape, LocalProtocolError
from mcp_tasks.peer.schemas import check_schema, form_schema, type_schema, validate


@attrs.frozen
class Attrs:
    name: str
    size: int = 3


@dataclasses.dataclass
class Data:
    name: str
    inner: Attrs


class Dict(TypedDict, total=False):
    name: str


@attrs.define
class Tree:
    value: int
    children: list[Tree]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (int, {"type": "integer"}),
        (str, {"type": "string"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (Annotated[int, msgspec.Meta(ge=1)], {"type": "integer", "minimum": 1}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (
            Attrs,
            {
                "title": "Attrs",
                "type": "object",
                "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 3}},
                "required": ["name"],
            },
        ),
        (Dict, {"title": "Dict", "type": "object", "properties": {"name": {"type": "string"}}}),
    ],
)
def test_types(kind: Any, schema: dict[str, Any]) -> None:
    assert type_schema(kind) == schema


def test_nested_types_have_definitions_beside_them() -> None:
    schema = type_schema(Data)
    assert schema["type"] == "object"
    assert schema["properties"]["inner"] == {"$ref": "#/$defs/Attrs"}
    assert set(schema["$defs"]) == {"Attrs"}


@pytest.mark.requirement("C25-019", "C25-026")
@pytest.mark.parametrize("kind", [Attrs, Data, Dict, Tree, list[Tree], Colour, dict[str, Tree]])
def test_every_schema_made_is_one(kind: Any) -> None:
    check_schema(type_schema(kind), "it")


def test_recursive_types() -> None:
    schema = type_schema(Tree)
    assert schema["type"] == "object"
    validate(schema, {"value": 1, "children": [{"value": 2, "children": []}]}, "$")
    with pytest.raises(InvalidShape) as caught:
        validate(schema, {"value": 1, "children": [{"value": "2", "children": []}]}, "$")
    assert caught.value.path == "$.children[0].value"


def test_a_type_without_a_json_form() -> None:
    with pytest.raises(LocalProtocolError, match="has no JSON Schema"):
        type_schema(object)


# --- forms ------------------------------------------------------------------------------------------------------------


class Form(TypedDict):
    name: str
    colour: Colour


@pytest.mark.requirement("C25-308")
@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({}, {"type": "object", "properties": {}}),
        ({"a": str}, {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        (
            {"a": int, "b": float, "c": bool},
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "number"}, "c": {"type": "boolean"}},
                "required": ["a", "b", "c"],
            },
        ),
        (
            {"a": Literal["x", "y"]},
            {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": ["a"]},
        ),
        (
            {"a": Annotated[str, msgspec.Meta(min_length=2, title="A", description="an a")]},
            {
                "type": "object",
                "properties": {"a": {"type": "string", "minLength": 2, "title": "A", "description": "an a"}},
                "required": ["a"],
            },
        ),
        (
            {"a": list[Literal["x", "y"]]},
            {
                "type": "object",
                "properties": {"a": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}},
                "required": ["a"],
            },
        ),
        ({"a": str | None}, {"type": "object", "properties": {"a": {"type": "string"}}}),
        (
            Attrs,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 3}},
                "required": ["name"],
            },
        ),
    ],
)
def test_forms(fields: Any, schema: dict[str, Any]) -> None:
    assert form_schema(fields) == schema


def test_an_enum_in_a_form_is_a_choice() -> None:
    colour = form_schema(Form)["properties"]["colour"]
    assert colour["type"] == "string"
    assert sorted(colour["enum"]) == ["blue", "red"]
    assert "$ref" not in colour


def test_a_ready_schema_is_taken_as_it_is() -> None:
    ready = {"type": "object", "properties": {"a": {"type": "string", "format": "email"}}}
    assert form_schema(ready) == ready


@pytest.mark.requirement("C25-308")
@pytest.mark.parametrize("kind", [list[str], dict[str, int], Attrs, int | str, Any])
def test_what_a_form_cannot_have(kind: Any) -> None:
    with pytest.raises(LocalProtocolError, match="'a'"):
        form_schema({"a": kind})


# --- checking ---------------------------------------------------------------------------------------------------------

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"name": 1}, "$.v.name"),
        ({"name": "a", "tags": ["x", 2]}, "$.v.tags[1]"),
        ({}, "$.v"),
        ([], "$.v"),
        ({"name": "a", "other": 1}, "$.v"),
    ],
)
def test_what_is_wrong_and_where(value: Any, path: str) -> None:
    with pytest.raises(InvalidShape) as caught:
        validate(PERSON, value, "$.v")
    assert caught.value.path == path


def test_what_is_right() -> None:
    validate(PERSON, {"name": "a", "tags": []}, "$")


@pytest.mark.requirement("C25-019", "C25-021")
def test_without_a_dialect_it_is_2020_12() -> None:
    schema = {"type": "array", "prefixItems": [{"type": "integer"}], "items": False}
    validate(schema, [1], "$")
    for wrong in (["a"], [1, 2]):  # draft 7 has no prefixItems: both would pass there
        with pytest.raises(InvalidShape):
            validate(schema, wrong, "$")


@pytest.mark.requirement("C25-020", "C25-024")
def test_a_declared_dialect_is_followed() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "integer"}],
        "additionalItems": False,
    }
    validate(schema, [1], "$")
    with pytest.raises(InvalidShape):
        validate(schema, [1, 2], "$")


@pytest.mark.requirement("C25-025")
def test_a_dialect_nobody_speaks_is_named_in_the_error() -> None:
    with pytest.raises(LocalProtocolError, match="the schema of 'x'") as caught:
        check_schema({"$schema": "https://example.com/mine", "type": "object"}, "the schema of 'x'")
    assert "example.com/mine" in str(caught.value)
    with pytest.raises(InvalidShape, match="its schema cannot be used"):
        validate({"$schema": "https://example.com/mine"}, 1, "$")


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"minimum": "x"}, {"properties": []}, {"pattern": "("}])
def test_schemas_that_are_none(schema: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        check_schema(schema, "it")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/s.json", "file:///etc/passwd", "other.json"])
def test_other_documents_are_not_fetched(uri: str) -> None:
    with pytest.raises(LocalProtocolError):
        check_schema({"$ref": uri}, "it")


@pytest.mark.parametrize(("format", "right", "wrong"), [("email", "a@b.ch", "a"), ("date", "2026-01-31", "31.1.")])
def test_formats_are_checked(format: str, right: str, wrong: str) -> None:
    schema = {"type": "string", "format": format}
    validate(schema, right, "$")
    with pytest.raises(InvalidShape):
        validate(schema, wrong, "$")
