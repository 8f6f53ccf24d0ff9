"""Python types to JSON Schema 2020-12 and back, and checking values against any schema.

msgspec derives the schemas and converts values, since it knows attrs classes, dataclasses, TypedDict, Literal and
Annotated constraints; jsonschema-rs checks values against schemas that somebody else wrote. Both are imported where
they are first needed: a peer that needs no schema does not pay for one.

Spec: basic/index "JSON Schema Usage" (C25-019 to C25-026), client/elicitation (C25-308).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from .._unset import JSON, JSONObject
from ..errors import InvalidShape, LocalProtocolError

if TYPE_CHECKING:
    from jsonschema_rs import Validator

__all__ = ["check_schema", "form_schema", "type_schema", "validate"]

_PRIMITIVES = ("string", "number", "integer", "boolean")


def type_schema(kind: Any) -> JSONObject:
    """The schema of a Python type, with ``$defs`` beside it where it refers to itself or others.

    Raises `LocalProtocolError` for a type that has no JSON form.
    """
    try:
        schema = msgspec.json.schema(kind, ref_template="#/$defs/{name}")
    except TypeError as error:
        raise LocalProtocolError(f"{kind!r} has no JSON Schema: {error}") from None
    reference = schema.pop("$ref", None)
    if reference is None:
        return schema
    definitions = schema["$defs"]
    name = reference.rpartition("/")[2]
    inlined: JSONObject = {**definitions[name]}
    if not _refers_to(definitions, reference):
        del definitions[name]
    if definitions:
        inlined["$defs"] = definitions
    if not inlined.get("required", True):
        del inlined["required"]
    return inlined


def _refers_to(value: JSON, reference: str) -> bool:
    if isinstance(value, dict):
        return value.get("$ref") == reference or any(_refers_to(child, reference) for child in value.values())
    return isinstance(value, list) and any(_refers_to(child, reference) for child in value)


def form_schema(fields: Mapping[str, Any] | type) -> JSONObject:
    """The flat object schema of an elicitation form, from Python types or as it is given.

    Raises `LocalProtocolError` for a field that a form cannot have.
    """
    if isinstance(fields, Mapping) and fields.get("type") == "object":
        return dict(fields)
    try:
        # A question is asked with the same fields each time, and read with them once more.
        return _form_schema(fields if isinstance(fields, type) else tuple(fields.items()))
    except TypeError:  # of something that cannot be hashed
        return _made_form(fields)


@lru_cache(maxsize=256)
def _form_schema(fields: tuple[tuple[str, Any], ...] | type) -> JSONObject:
    return _made_form(fields if isinstance(fields, type) else dict(fields))


def _made_form(fields: Mapping[str, Any] | type) -> JSONObject:
    if isinstance(fields, type):
        schema = type_schema(fields)
        definitions = schema.pop("$defs", {})
    else:
        made = msgspec.defstruct("Form", [(name, kind) for name, kind in fields.items()])
        schema = type_schema(made)
        definitions = schema.pop("$defs", {})
    properties = {name: _form_field(name, field, definitions) for name, field in schema.get("properties", {}).items()}
    required = [
        name
        for name in schema.get("required", [])
        if {"type": "null"} not in schema["properties"][name].get("anyOf", [])
    ]
    form: JSONObject = {"type": "object", "properties": properties}
    if required:
        form["required"] = required
    return form


def _form_field(name: str, field: JSONObject, definitions: JSONObject) -> JSONObject:
    if "$ref" in field:
        rest = {k: v for k, v in field.items() if k != "$ref"}
        field = {**definitions[field["$ref"].rpartition("/")[2]], **rest}
    if "anyOf" in field:
        kinds = [kind for kind in field["anyOf"] if kind != {"type": "null"}]
        if len(kinds) == 1:
            rest = {k: v for k, v in field.items() if k not in ("anyOf", "default") or (k == "default" and v)}
            return _form_field(name, {**kinds[0], **rest}, definitions)
    if "enum" in field and all(isinstance(choice, str) for choice in field["enum"]):
        return {"type": "string", **field}
    if field.get("type") == "array" and "enum" in (items := field.get("items", {})):
        return {**field, "items": {"type": "string", **items}}
    if field.get("type") in _PRIMITIVES:
        return field
    raise LocalProtocolError(f"the form field {name!r} is no string, number, boolean or choice")


def validate(schema: JSONObject, value: JSON, path: str) -> None:
    """Check a value against a schema. Raises `InvalidShape` with the path of the first thing that is wrong."""
    try:
        checker = _validator(msgspec.json.encode(schema, order="sorted"))
    except ValueError as wrong:
        raise InvalidShape(path, f"its schema cannot be used: {_first_line(wrong)}") from None
    error = next(checker.iter_errors(value), None)
    if error is not None:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        raise InvalidShape(path + where, error.message)


def check_schema(schema: JSONObject, what: str) -> None:
    """Check that a schema is one. Raises `LocalProtocolError`, also for a dialect nobody here speaks (C25-025)."""
    try:
        _validator(msgspec.json.encode(schema, order="sorted"))
    except ValueError as error:
        raise LocalProtocolError(f"{what}: {_first_line(error)}") from None


def _first_line(error: ValueError) -> str:
    return str(error).partition("\n")[0]


@lru_cache(maxsize=1024)
def _validator(schema: bytes) -> Validator:
    import jsonschema_rs

    # Without "$schema" this is 2020-12 (C25-019). References to other documents are not followed: a schema comes from
    # the other side, and what it names is nothing for us to fetch.
    return jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_no_retrieval, validate_formats=True)


def _no_retrieval(uri: str) -> JSON:
    raise ValueError(f"references to other documents are not followed: {uri}")
