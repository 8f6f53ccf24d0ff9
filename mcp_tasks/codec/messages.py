"""Bytes to messages and back: the JSON-RPC envelope, decoded once.

`MessageCodec.decode` never raises: a frame that is no message becomes a `Malformed`, with the answer it deserves. It
knows nothing of methods or of how frames are cut from a stream. JSON itself is msgspec's: among the C and Rust
libraries it was the fastest on our messages (``bench/README.md``), appends to a buffer without a copy, refuses lone
surrogates and bad UTF-8, and derives JSON Schemas as well.

Spec: basic/index "Messages" (C25-003 to C25-018).
"""

from __future__ import annotations

import msgspec

from .._unset import JSON, UNSET, JSONObject, RequestId
from ..wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response

__all__ = ["INVALID_REQUEST", "PARSE_ERROR", "MessageCodec", "json_type"]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600

_JSON_TYPES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def json_type(value: JSON) -> str:
    """The JSON name of a decoded value's type, for messages."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


class MessageCodec:
    """Decodes and encodes whole messages; one instance serves any number of connections.

    `json_depth` counts nested arrays and objects, the message itself being the first.
    """

    def __init__(self, *, json_depth: int = 128) -> None:
        self._depth = json_depth
        self._decode = msgspec.json.Decoder().decode
        self._encode_into = msgspec.json.Encoder().encode_into

    def encode_into(self, message: Message, buffer: bytearray) -> None:
        """Append the JSON text of `message` to `buffer`.

        Raises TypeError, ValueError or RecursionError where a value is no JSON; the buffer is then as it was.
        """
        wire: JSONObject
        if isinstance(message, Response):
            wire = {"jsonrpc": "2.0", "id": message.id, "result": message.result}
        elif isinstance(message, Request):
            wire = {"jsonrpc": "2.0", "id": message.id, "method": message.method}
            if message.params is not UNSET:
                wire["params"] = message.params
        elif isinstance(message, Notification):
            wire = {"jsonrpc": "2.0", "method": message.method}
            if message.params is not UNSET:
                wire["params"] = message.params
        else:
            wire = _error_wire(message)
        size = len(buffer)
        try:
            self._encode_into(wire, buffer, -1)
        except BaseException:
            del buffer[size:]
            raise

    def encode(self, message: Message) -> bytes:
        """The JSON text of `message`. Raises as `encode_into` does."""
        buffer = bytearray()
        self.encode_into(message, buffer)
        return bytes(buffer)

    def decode(self, frame: bytes | bytearray) -> Message | Malformed:
        """What one frame says."""
        try:
            wire = self._decode(frame)
        except RecursionError:
            return Malformed(ErrorObject(PARSE_ERROR, "Parse error: nested too deeply"))
        except (ValueError, UnicodeDecodeError) as error:
            return Malformed(ErrorObject(PARSE_ERROR, f"Parse error: {error}"))
        if type(wire) is not dict:
            what = "batches are not supported" if type(wire) is list else f"expected object, got {json_type(wire)}"
            return _invalid(None, "$", what)
        # Cheap for the many small messages: fewer opening brackets than the limit cannot be nested beyond it.
        if (
            len(frame) > self._depth
            and frame.count(b"{") + frame.count(b"[") > self._depth
            and _deeper_than(wire, self._depth)
        ):
            return _invalid(_usable_id(wire), "$", f"nested deeper than {self._depth} levels", _wants_answer(wire))
        return _classify(wire)


def _classify(wire: JSONObject) -> Message | Malformed:
    id = wire.get("id")
    if wire.get("jsonrpc") != "2.0":
        return _invalid(_usable_id(wire), "$.jsonrpc", 'expected "2.0"', _wants_answer(wire))
    if "method" in wire:
        method = wire["method"]
        if type(method) is not str:
            return _invalid(_usable_id(wire), "$.method", f"expected string, got {json_type(method)}")
        params = wire.get("params")
        if type(params) is not dict and "params" in wire:
            return _invalid(_usable_id(wire), "$.params", f"expected object, got {json_type(params)}", "id" in wire)
        kind = type(id)
        if kind is int or kind is str:
            return Request(id, method, params) if params is not None else Request(id, method)  # type: ignore[arg-type]
        if "id" in wire:
            return _invalid(None, "$.id", f"expected string or integer, got {json_type(id)}")
        return Notification(method, params) if params is not None else Notification(method)
    if "result" in wire and "error" not in wire:
        result = wire["result"]
        if type(id) is not int and type(id) is not str:
            return _invalid(None, "$.id", f"expected string or integer, got {json_type(id)}", False)
        if type(result) is not dict:
            return _invalid(id, "$.result", f"expected object, got {json_type(result)}", False)
        return Response(id, result)
    if "error" in wire and "result" not in wire:
        return _classify_error(wire, wire["error"])
    # A request lacks a method, or a response lacks an outcome or has two: the id alone cannot tell which was meant.
    if "result" in wire:
        return _invalid(_usable_id(wire), "$", "both result and error", False)
    return _invalid(_usable_id(wire), "$.method", "required")


def _classify_error(wire: JSONObject, error: JSON) -> ErrorResponse | Malformed:
    id = _usable_id(wire)
    if type(error) is not dict:
        return _invalid(id, "$.error", f"expected object, got {json_type(error)}", False)
    code, message = error.get("code"), error.get("message")
    if type(code) is not int:
        return _invalid(id, "$.error.code", f"expected integer, got {json_type(code)}", False)
    if type(message) is not str:
        return _invalid(id, "$.error.message", f"expected string, got {json_type(message)}", False)
    if id is None and wire.get("id") is not None:
        return _invalid(None, "$.id", f"expected string or integer, got {json_type(wire['id'])}", False)
    said = ErrorObject(code, message, error["data"]) if "data" in error else ErrorObject(code, message)
    return ErrorResponse(id, said)


def _error_wire(message: ErrorResponse) -> JSONObject:
    error: JSONObject = {"code": message.error.code, "message": message.error.message}
    if message.error.data is not UNSET:
        error["data"] = message.error.data
    # Where the request's id is unknown the member is left out: the schema makes it optional, not nullable (C25-011).
    if message.id is None:
        return {"jsonrpc": "2.0", "error": error}
    return {"jsonrpc": "2.0", "id": message.id, "error": error}


def _usable_id(wire: JSONObject) -> RequestId | None:
    id = wire.get("id")
    return id if type(id) is int or type(id) is str else None


def _wants_answer(wire: JSONObject) -> bool:
    return not ("result" in wire or "error" in wire or ("method" in wire and "id" not in wire))


def _invalid(id: RequestId | None, path: str, reason: str, answerable: bool = True) -> Malformed:
    return Malformed(ErrorObject(INVALID_REQUEST, f"Invalid request: {path}: {reason}"), id, answerable)


def _deeper_than(value: JSON, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
