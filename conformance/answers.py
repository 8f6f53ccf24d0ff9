"""What the judge says when it is asked: a form is filled in as its schema wants, a model says something."""

from __future__ import annotations

from typing import Any

__all__ = ["answer_to", "fill"]


def answer_to(method: Any, params: Any) -> dict[str, Any]:
    """The result of a request that a server makes of its client."""
    if method == "elicitation/create":
        schema = params.get("requestedSchema") if isinstance(params, dict) else None
        if not isinstance(schema, dict):
            return {"action": "accept"}
        return {"action": "accept", "content": fill(schema)}
    if method == "sampling/createMessage":
        text = {"type": "text", "text": "the judge has nothing to say"}
        return {"role": "assistant", "content": text, "model": "judge", "stopReason": "endTurn"}
    return {"roots": []}


def fill(schema: dict[str, Any]) -> dict[str, Any]:
    """Content that a form of this schema takes."""
    parts = schema.get("properties")
    found = parts.items() if isinstance(parts, dict) else ()
    return {name: _value(part) for name, part in found if isinstance(part, dict)}


def _value(schema: dict[str, Any]) -> Any:
    if "default" in schema:
        return schema["default"]
    if options := schema.get("enum") or [option["const"] for option in schema.get("oneOf", ()) if "const" in option]:
        return options[0]
    kind = schema.get("type", "string")
    if kind == "boolean":
        return True
    if kind in ("integer", "number"):
        low = schema.get("minimum", 36)
        return min(max(low, 36), schema.get("maximum", max(low, 36)))
    if kind == "array":
        items = schema.get("items") or {}
        options = items.get("enum") or [option["const"] for option in items.get("anyOf", ()) if "const" in option]
        return options[: max(schema.get("minItems", 1), 1)]
    formats = {
        "email": "ada@example.com",
        "uri": "https://example.com",
        "date": "2026-07-28",
        "date-time": "2026-07-28T00:00:00Z",
    }
    text = formats.get(schema.get("format", ""), "Ada")
    return text.ljust(schema.get("minLength", 0), "a")
