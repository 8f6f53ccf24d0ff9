"""Rules that a shape alone cannot hold: tool exchanges in sampling, and the schemas that elicitation allows.

Pure functions over lifted shapes, shared by the dialects. They raise `InvalidShape` with a path; who is to blame is
for the caller to say.

Spec: client/sampling (C25-281 to C25-283), client/elicitation (C25-308).
"""

from __future__ import annotations

from collections.abc import Sequence

from .._unset import JSON, JSONObject
from ..codec.messages import json_type
from ..errors import InvalidShape
from ..wire.client_features import SamplingMessage
from ..wire.content import ToolResultContent, ToolUseContent

__all__ = ["check_requested_schema", "check_tool_exchange"]


def check_tool_exchange(messages: Sequence[SamplingMessage]) -> None:
    """Tool uses are answered at once, all of them, and by a message that holds nothing else."""
    asked: set[str] = set()
    for index, message in enumerate(messages):
        path = f"$.params.messages[{index}].content"
        blocks = message.content if isinstance(message.content, list) else [message.content]
        results = [block for block in blocks if isinstance(block, ToolResultContent)]
        if results and (message.role != "user" or len(results) != len(blocks)):
            raise InvalidShape(path, "tool results go into a user message that holds nothing else")
        answered = {result.tool_use_id for result in results}
        if missing := asked - answered:
            raise InvalidShape(path, f"expected a result for the tool use {min(missing)!r}")
        if unknown := answered - asked:
            raise InvalidShape(path, f"there is no tool use {min(unknown)!r} in the message before")
        asked = {block.id for block in blocks if isinstance(block, ToolUseContent)}
        if asked and message.role != "assistant":
            raise InvalidShape(path, "tool uses go into an assistant message")
    if asked:
        raise InvalidShape("$.params.messages", f"expected a result for the tool use {min(asked)!r} at the end")


_KINDS = ("string", "number", "integer", "boolean", "array")


def check_requested_schema(schema: JSONObject) -> None:
    """A form is a flat object of strings, numbers, booleans and choices."""
    path = "$.params.requestedSchema"
    if schema.get("type") != "object":
        raise InvalidShape(f"{path}.type", "expected 'object'")
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        raise InvalidShape(f"{path}.properties", "required" if properties is None else "expected object")
    for name, field in properties.items():
        _check_field(field, f"{path}.properties.{name}")


def _check_field(field: JSON, path: str) -> None:
    if not isinstance(field, dict):
        raise InvalidShape(path, f"expected object, got {json_type(field)}")
    kind = field.get("type")
    if kind not in _KINDS:
        raise InvalidShape(f"{path}.type", f"expected one of {', '.join(_KINDS)}, got {kind!r}")
    if kind == "array":
        items = field.get("items")
        if not isinstance(items, dict) or not ("enum" in items or "anyOf" in items):
            raise InvalidShape(f"{path}.items", "expected a choice: enum or anyOf")
