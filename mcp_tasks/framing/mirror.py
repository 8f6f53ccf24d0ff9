"""What the headers of a request repeat of its body: its method, whom it is for, and arguments that a tool wants seen.

Whoever stands between client and server can route a request by its headers and need not read its body. That is safe
only if the server refuses a request whose headers say something else than its body: `objection` is that comparison,
and `request_fields` the client's side of it. Which arguments a tool wants seen is in its input schema, under
``x-mcp-header``.

Pure: nothing here knows of connections or of sessions. ``MCP-Protocol-Version`` repeats the body too, but decides who
reads it, so it has been looked at before.

Spec: 2026-07-28 basic/transports/streamable-http "Request Metadata" (C26-175 to C26-206), server/tools "x-mcp-header";
the tasks extension, "Streamable HTTP: Routing Headers" (X26-102 to X26-104).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset
from ..errors import InvalidShape, LocalProtocolError

__all__ = ["NAMED", "Mirrored", "decode_value", "encode_value", "mirrored_arguments", "objection", "request_fields"]

NAMED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""The methods that have ``Mcp-Name``, and which of their params it repeats."""

_MARK = "x-mcp-header"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_TYPES = ("string", "integer", "boolean")

# What holds names that the author chose, with a schema each, and what holds no schemas at all: in neither is a member
# called x-mcp-header a mark. Any other keyword, known or not, may hold schemas.
_NAMES = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"))
_DATA = frozenset(("const", "enum", "default", "examples"))
_DEPTH = 128
_PLACES = 100_000

_PREFIX, _SUFFIX = "=?base64?", "?="
_SAFE_INTEGER = 2**53 - 1
_DIGITS = 400  # no float has more, and with so many int() and str() are cheap
_INTEGER = re.compile(rf"(-?[0-9]{{1,{_DIGITS}}})(?:\.0+)?")
_SHOWN = 80


@frozen(eq=False, repr=False)
class Mirrored(Shape):
    """An argument that a tool wants repeated in a header."""

    header: str
    """As declared, such as ``Region``."""
    path: tuple[str, ...]
    """Where it is in the arguments."""

    @property
    def name(self) -> str:
        """The name of the header, such as ``Mcp-Param-Region``."""
        return f"Mcp-Param-{self.header}"


# --- what a tool declares ---------------------------------------------------------------------------------------------


def mirrored_arguments(input_schema: JSONObject) -> tuple[Mirrored, ...]:
    """The arguments that a tool wants repeated in headers, those at the top first.

    Raises `InvalidShape` where a rule for ``x-mcp-header`` is broken (C26-180 to C26-186), and for a schema that is too
    deep or too large to be looked through. A client over HTTP does without such a tool (C26-187).
    """
    found: dict[str, Mirrored] = {}
    for schema, steps, path in _schemas(input_schema):
        if _MARK not in schema:
            continue
        header, kind, where = schema[_MARK], schema.get("type"), _place(*steps, _MARK)
        if not path:
            # "An x-mcp-header annotation anywhere else makes the annotation — and thus the tool definition — invalid"
            raise InvalidShape(where, "only a property that nothing but 'properties' leads to can be in a header")
        if not isinstance(header, str):
            raise InvalidShape(where, "expected the name of a header")
        if not _TOKEN.fullmatch(header):
            raise InvalidShape(where, f"{_shown(header)} cannot be part of a header's name")
        if not isinstance(kind, str) or kind not in _TYPES:
            # A list of types is none of the three, nor is a type that only follows from something else: the official
            # SDKs do without such a tool too.
            raise InvalidShape(where, f"only {', '.join(_TYPES)} can be in a header, and 'type' has to say which")
        other = found.setdefault(header.lower(), Mirrored(header, path))
        if other.path != path:
            # "MUST be case-insensitively unique among all x-mcp-header values in the inputSchema"
            raise InvalidShape(where, f"{_shown(header)} is the header of {'.'.join(other.path)!r} already")
    return tuple(found.values())


def _schemas(root: JSONObject) -> Iterator[tuple[JSONObject, tuple[str | int, ...], tuple[str, ...] | None]]:
    # Every schema in a schema, breadth first, and the steps to it; then its path in the arguments, None if the steps
    # are not all properties. References are not followed: what they lead to is looked at where it stands.
    pending: list[tuple[JSON, tuple[str | int, ...], tuple[str, ...] | None]] = [(root, (), ())]
    for value, steps, path in pending:  # which grows
        if len(steps) > _DEPTH:
            raise InvalidShape(_place(), f"nested deeper than {_DEPTH} levels")
        if len(pending) > _PLACES:
            raise InvalidShape(_place(), f"more than {_PLACES} schemas in one")
        if isinstance(value, list):
            pending += [(each, (*steps, at), None) for at, each in enumerate(value) if isinstance(each, (dict, list))]
            continue
        yield value, steps, path
        for keyword, below in value.items():
            if not isinstance(below, (dict, list)) or keyword in _DATA:
                continue
            if keyword in _NAMES and isinstance(below, dict):
                reachable = path if keyword == "properties" else None
                for name, each in below.items():
                    if isinstance(each, (dict, list)):
                        arguments = None if reachable is None else (*reachable, name)
                        pending.append((each, (*steps, keyword, name), arguments))
            else:
                pending.append((below, (*steps, keyword), None))


def _place(*steps: str | int) -> str:
    return "$.inputSchema" + "".join(
        f".{step}" if isinstance(step, str) and step.replace("-", "_").isidentifier() else f"[{step!r}]"
        for step in steps
    )


# --- values in headers ------------------------------------------------------------------------------------------------


def encode_value(value: str | int | bool) -> str:
    """A value as a header says it: as it is, or in Base64 where it would not come through as it is.

    Raises `LocalProtocolError` for an integer that is not exact everywhere (C26-184), and for half a surrogate pair.
    """
    if isinstance(value, str):
        if _is_plain(value) and not (value.startswith(_PREFIX) and value.endswith(_SUFFIX)):
            return value
        try:
            return f"{_PREFIX}{b64encode(value.encode()).decode()}{_SUFFIX}"
        except UnicodeEncodeError:
            raise LocalProtocolError("half a surrogate pair cannot be sent") from None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        raise LocalProtocolError("an integer in a header is within 2**53 - 1 of zero")
    return str(int(value))


def decode_value(text: str) -> str:
    """What the value of a header stands for. Raises ValueError where it should be Base64 and is not.

    `text` has no white space around it. The marks have to be just so: ``=?BASE64?`` begins a value like any other.
    """
    if not text.startswith(_PREFIX) or not text.endswith(_SUFFIX) or len(text) < len(_PREFIX) + len(_SUFFIX):
        return text
    payload = text[len(_PREFIX) : -len(_SUFFIX)]
    data = b64decode(payload, validate=True)
    if b64encode(data).decode() != payload:  # which Pythons let pass to different degrees
        raise ValueError("not the Base64 that an encoder makes")
    return data.decode()


def _is_plain(text: str) -> bool:
    # Whether a header says it as it is. A tab inside would come through, but it is a control character.
    return text.isascii() and text.isprintable() and text.strip(" ") == text


# --- the headers of a request -----------------------------------------------------------------------------------------


def request_fields(method: str, params: JSONObject | Unset, mirrored: Sequence[Mirrored] = ()) -> list[tuple[str, str]]:
    """The header fields of a request: ``Mcp-Method``, ``Mcp-Name`` where the method has one, and ``Mcp-Param-*``.

    What is absent or null has no header (C26-196), and what can be none of the three types has none either: it will be
    refused for what it is. Raises `LocalProtocolError` where there is no header for a value, or for the method.
    """
    if not _is_plain(method):
        raise LocalProtocolError(f"{method!r} cannot be in a header, where every method has to be")
    fields = [("Mcp-Method", method)]
    if params is UNSET:
        return fields
    member = NAMED.get(method)
    if member is not None and isinstance(name := params.get(member), str):
        fields.append(("Mcp-Name", encode_value(name)))
    for argument in mirrored:
        value = _mirrorable(params, argument.path)
        if value is not None:
            try:
                fields.append((argument.name, encode_value(value)))
            except LocalProtocolError as wrong:
                raise LocalProtocolError(f"argument {'.'.join(argument.path)!r}: {wrong}") from None
    return fields


def objection(
    method: str, params: JSONObject | Unset, headers: Mapping[bytes, bytes], mirrored: Sequence[Mirrored] = ()
) -> str | None:
    """Why the headers of a request do not say what its body says; None if they do.

    `headers` has lower-case names, and several headers of one name joined by ", ", so that one sent twice says neither.
    A header for what is not in the body is no contradiction; if we know the header, it has to be well-formed still.
    """
    # "Servers MUST reject requests where the values specified in the headers do not match the corresponding values"
    given = headers.get(b"mcp-method")
    if given is None:
        return _missing("Mcp-Method")
    try:
        if (said := _text(given)) != method:
            return _mismatch("Mcp-Method", said, method)
    except ValueError:
        return _malformed("Mcp-Method")
    if params is UNSET:
        return None
    member = NAMED.get(method)
    if member is not None:
        name = params.get(member)
        if b"mcp-name" not in headers and member == "taskId":
            return None  # released clients of the tasks extension leave it out, whose duty only they have (X26-102)
        found = _object("Mcp-Name", headers.get(b"mcp-name"), name if isinstance(name, str) else None)
        if found is not None:
            return found
    for argument in mirrored:
        given = headers.get(b"mcp-param-" + argument.header.lower().encode())
        found = _object(argument.name, given, _mirrorable(params, argument.path))
        if found is not None:
            return found
    return None


def _object(header: str, given: bytes | None, value: str | int | None) -> str | None:
    if given is None:
        return None if value is None else _missing(header)  # "Client omits header but value is in body"
    try:
        said = decode_value(_text(given))
    except ValueError:
        return _malformed(header)
    if value is None or said == value:
        return None  # "Server MUST NOT expect the header", but nor need it mind
    if isinstance(value, str):
        return _mismatch(header, said, value)
    number = _INTEGER.fullmatch(said)
    if number is not None and int(number[1]) == value:
        return None  # "42.0 and 42 are considered equal"
    return _mismatch(header, said, str(value) if abs(value) < 10**_SHOWN else "...")


def _mirrorable(params: JSONObject, path: tuple[str, ...]) -> str | int | None:
    # An argument if it is of a type that goes into a header, be it the one that the schema wants or not.
    value = params.get("arguments")
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    if isinstance(value, bool):
        return encode_value(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 42.0 is an integer to a schema, so it would otherwise go by unchecked
    return value if isinstance(value, (str, int)) else None


def _text(given: bytes) -> str:
    # Raises ValueError for what a header may not have: anything but visible ASCII, spaces, and tabs.
    text = given.decode("ascii").strip(" \t")  # not all servers below us strip it (RFC 9110 section 5.5)
    if not text.isprintable() and not text.replace("\t", " ").isprintable():
        raise ValueError("a control character")
    return text


def _missing(header: str) -> str:
    return f"Header mismatch: there is no {header}, which repeats what is in the body"


def _malformed(header: str) -> str:
    return f"Header mismatch: {header} has characters that are not allowed, or is not the Base64 it says it is"


def _mismatch(header: str, said: str, value: str) -> str:
    return f"Header mismatch: {header} is {_shown(said)}, but the body has {_shown(value)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
