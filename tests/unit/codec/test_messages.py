"""The envelope, byte for byte: what each frame is taken for, and what it is answered with."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks._unset import UNSET
from mcp_tasks.codec.messages import MessageCodec, json_type
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response

CODEC = MessageCodec()


def _frame(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode()


@pytest.mark.requirement("C25-003", "C25-004", "C25-008", "C25-012")
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame(id=1, method="ping"), Request(1, "ping")),
        (_frame(id="", method=""), Request("", "")),
        (_frame(id="1", method="ping", params={}), Request("1", "ping", {})),
        (_frame(id=0, method="a", params={"x": [1, None]}), Request(0, "a", {"x": [1, None]})),
        (_frame(id=-(2**60), method="a"), Request(-(2**60), "a")),
        (_frame(id=1, method="a", result={}), Request(1, "a")),
        (_frame(id=1, method="a", other=True), Request(1, "a")),
        (_frame(method="n"), Notification("n")),
        (_frame(method="n", params={"a": 1}), Notification("n", {"a": 1})),
        (_frame(id=1, result={}), Response(1, {})),
        (_frame(id="x", result={"a": {"b": 1}}), Response("x", {"a": {"b": 1}})),
        (_frame(id=1, error={"code": -1, "message": "no"}), ErrorResponse(1, ErrorObject(-1, "no"))),
        (_frame(id=1, error={"code": 5, "message": "", "data": None}), ErrorResponse(1, ErrorObject(5, "", None))),
        (_frame(error={"code": 5, "message": "m"}), ErrorResponse(None, ErrorObject(5, "m"))),
        (_frame(id=None, error={"code": 5, "message": "m"}), ErrorResponse(None, ErrorObject(5, "m"))),
        (b' \t{"method" : "n" ,\r"jsonrpc":"2.0"} ', Notification("n")),
        (b'{"jsonrpc":"2.0","method":"\\ud83d\\ude00"}', Notification("\U0001f600")),
    ],
)
def test_messages(frame: bytes, message: Message) -> None:
    assert CODEC.decode(frame) == message


REQUEST_OR_WORSE = [
    # frame, text after "Invalid request: ", id
    (b"[]", "$: batches are not supported", None),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', "$: batches are not supported", None),
    (b"null", "$: expected object, got null", None),
    (b"true", "$: expected object, got boolean", None),
    (b"1", "$: expected object, got integer", None),
    (b"1.5", "$: expected object, got number", None),
    (b'"text"', "$: expected object, got string", None),
    (b"{}", '$.jsonrpc: expected "2.0"', None),
    (b'{"id":3,"method":"ping"}', '$.jsonrpc: expected "2.0"', 3),
    (b'{"jsonrpc":"1.0","id":"x","method":"ping"}', '$.jsonrpc: expected "2.0"', "x"),
    (b'{"jsonrpc":2.0,"id":3,"method":"ping"}', '$.jsonrpc: expected "2.0"', 3),
    (_frame(), "$.method: required", None),
    (_frame(id=3), "$.method: required", 3),
    (_frame(id=3, params={}), "$.method: required", 3),
    (_frame(id=3, method=None), "$.method: expected string, got null", 3),
    (_frame(id=3, method=7), "$.method: expected string, got integer", 3),
    (_frame(id=3, method="a", params=[]), "$.params: expected object, got array", 3),
    (_frame(id=3, method="a", params=None), "$.params: expected object, got null", 3),
    (_frame(id=3, method="a", params="x"), "$.params: expected object, got string", 3),
    (_frame(id=None, method="a"), "$.id: expected string or integer, got null", None),
    (_frame(id=1.5, method="a"), "$.id: expected string or integer, got number", None),
    (_frame(id=1.0, method="a"), "$.id: expected string or integer, got number", None),
    (_frame(id=True, method="a"), "$.id: expected string or integer, got boolean", None),
    (_frame(id={}, method="a"), "$.id: expected string or integer, got object", None),
    (_frame(id=[1], method="a"), "$.id: expected string or integer, got array", None),
]


@pytest.mark.requirement("C25-004", "C25-005", "C25-010", "C25-017", "C25-018")
@pytest.mark.parametrize(("frame", "reason", "id"), REQUEST_OR_WORSE)
def test_what_is_answered_with_invalid_request(frame: bytes, reason: str, id: object) -> None:
    assert CODEC.decode(frame) == Malformed(ErrorObject(-32600, f"Invalid request: {reason}"), id)  # type: ignore[arg-type]


@pytest.mark.requirement("C25-015")
@pytest.mark.parametrize(
    ("frame", "reason", "id"),
    [
        # malformed responses
        (_frame(id=3, result=None), "$.result: expected object, got null", 3),
        (_frame(id=3, result=[]), "$.result: expected object, got array", 3),
        (_frame(id=None, result={}), "$.id: expected string or integer, got null", None),
        (_frame(result={}), "$.id: expected string or integer, got null", None),
        (_frame(id=2.5, result={}), "$.id: expected string or integer, got number", None),
        (_frame(id=3, result={}, error={"code": 1, "message": "m"}), "$: both result and error", 3),
        (_frame(id=3, error="no"), "$.error: expected object, got string", 3),
        (_frame(id=3, error={}), "$.error.code: expected integer, got null", 3),
        (_frame(id=3, error={"code": 1.0, "message": "m"}), "$.error.code: expected integer, got number", 3),
        (_frame(id=3, error={"code": True, "message": "m"}), "$.error.code: expected integer, got boolean", 3),
        (_frame(id=3, error={"code": 1}), "$.error.message: expected string, got null", 3),
        (_frame(id=[], error={"code": 1, "message": "m"}), "$.id: expected string or integer, got array", None),
        (b'{"id":3,"result":{}}', '$.jsonrpc: expected "2.0"', 3),
        # malformed notifications
        (b'{"method":"n"}', '$.jsonrpc: expected "2.0"', None),
        (_frame(method="n", params=[1]), "$.params: expected object, got array", None),
    ],
)
def test_what_is_malformed_and_not_answered(frame: bytes, reason: str, id: object) -> None:
    expected = Malformed(ErrorObject(-32600, f"Invalid request: {reason}"), id, answerable=False)  # type: ignore[arg-type]
    assert CODEC.decode(frame) == expected


@pytest.mark.requirement("C25-018", "C25-071")
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b" ",
        b"{",
        b"nope",
        b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping",}',
        b"{'jsonrpc':'2.0'}",
        b'{"jsonrpc":"2.0","id":NaN,"method":"a"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xff"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xc3"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"a"}',
        '{"jsonrpc":"2.0","id":1,"method":"a"}'.encode("utf-16"),
        b'{"jsonrpc":"2.0","id":1,"method":"a\nb"}',
        b'{"jsonrpc":"2.0","id":1,"method":"a\x00"}',
    ],
)
def test_parse_errors(frame: bytes) -> None:
    decoded = CODEC.decode(frame)
    assert isinstance(decoded, Malformed)
    assert decoded.error.code == -32700
    assert decoded.error.message.startswith("Parse error: ")
    assert (decoded.id, decoded.answerable) == (None, True)


def _nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


@pytest.mark.parametrize(("opening", "closing", "inner"), [("[", "]", ""), ('{"a":', "}", "{}")])
def test_depth_is_limited_exactly(opening: str, closing: str, inner: str) -> None:
    codec = MessageCodec(json_depth=10)

    def frame(levels: int) -> bytes:  # so many levels with the message itself and its params
        inside = opening * (levels - 2 - bool(inner)) + inner + closing * (levels - 2 - bool(inner))
        return f'{{"jsonrpc":"2.0","id":4,"method":"a","params":{{"x":{inside}}}}}'.encode()

    assert isinstance(codec.decode(frame(10)), Request)
    assert codec.decode(frame(11)) == Malformed(
        ErrorObject(-32600, "Invalid request: $: nested deeper than 10 levels"), 4
    )


def test_brackets_in_texts_and_beside_each_other_are_no_depth() -> None:
    codec = MessageCodec(json_depth=4)
    frame = _frame(id=1, method="[" * 50, params={"a": [[]] * 50})
    assert isinstance(codec.decode(frame), Request)


@pytest.mark.parametrize(
    ("start", "id", "answerable"),
    [
        ('"id":1,"method":"a","params":{"x":', 1, True),
        ('"method":"a","params":{"x":', None, False),
        ('"id":1,"result":{"x":', 1, False),
        ('"id":null,"method":"a","params":{"x":', None, True),
    ],
)
def test_who_is_told_that_it_was_too_deep(start: str, id: object, answerable: bool) -> None:
    decoded = MessageCodec(json_depth=8).decode(f'{{"jsonrpc":"2.0",{start}{_nested(20)}}}}}'.encode())
    assert isinstance(decoded, Malformed)
    assert (decoded.error.code, decoded.id, decoded.answerable) == (-32600, id, answerable)


def test_depth_beyond_the_parser_is_a_parse_error() -> None:
    decoded = CODEC.decode(_nested(200_000).encode())
    assert decoded == Malformed(ErrorObject(-32700, "Parse error: nested too deeply"))


# --- the way out ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-005", "C25-011", "C25-016")
@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Request(1, "a"), '{"jsonrpc":"2.0","id":1,"method":"a"}'),
        (Request("1", "a", {}), '{"jsonrpc":"2.0","id":"1","method":"a","params":{}}'),
        (Notification("n"), '{"jsonrpc":"2.0","method":"n"}'),
        (Notification("n", {"a": None}), '{"jsonrpc":"2.0","method":"n","params":{"a":null}}'),
        (Response(1, {}), '{"jsonrpc":"2.0","id":1,"result":{}}'),
        (ErrorResponse(1, ErrorObject(2, "m")), '{"jsonrpc":"2.0","id":1,"error":{"code":2,"message":"m"}}'),
        (
            ErrorResponse(None, ErrorObject(2, "m", None)),
            '{"jsonrpc":"2.0","error":{"code":2,"message":"m","data":null}}',
        ),
    ],
)
def test_what_is_written(message: Message, text: str) -> None:
    assert CODEC.encode(message).decode() == text


@pytest.mark.requirement("C25-073")
def test_no_newline_is_ever_written() -> None:
    text = CODEC.encode(Response(1, {"t": "a\nb\r\n\u2028\u0085"}))
    assert b"\n" not in text
    assert b"\r" not in text
    assert CODEC.decode(text) == Response(1, {"t": "a\nb\r\n\u2028\u0085"})


def _cycle() -> dict[str, Any]:
    looped: dict[str, Any] = {}
    looped["self"] = looped
    return looped


@pytest.mark.parametrize(
    "value",
    [object(), {"a": {1j}}, "\ud800", {"deep": [[UNSET, object()]]}, _cycle()],
    ids=["object", "set", "surrogate", "deep", "cycle"],
)
def test_what_is_no_json_is_refused_and_leaves_no_trace(value: Any) -> None:
    buffer = bytearray(b"before")
    with pytest.raises((TypeError, ValueError, RecursionError)):
        CODEC.encode_into(Response(1, {"value": value, "long": "x" * 10_000}), buffer)
    assert buffer == b"before"


# --- both ways --------------------------------------------------------------------------------------------------------

# Integers beyond 64 bits and numbers that are none have no safe place in JSON; what is sent comes from Python and may
# hold neither (msgspec writes nan as null).
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
IDS = st.integers(-(2**63), 2**63) | TEXT
ERRORS = st.builds(ErrorObject, st.integers(-(2**31), 2**31), TEXT, VALUES | st.just(UNSET))
MESSAGES = st.one_of(
    st.builds(Request, IDS, TEXT, OBJECTS | st.just(UNSET)),
    st.builds(Notification, TEXT, OBJECTS | st.just(UNSET)),
    st.builds(Response, IDS, OBJECTS),
    st.builds(ErrorResponse, IDS | st.none(), ERRORS),
)


@given(MESSAGES)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert CODEC.decode(CODEC.encode(message)) == message


@given(MESSAGES)
def test_what_is_written_is_json_as_the_standard_library_reads_it(message: Message) -> None:
    wire = json.loads(CODEC.encode(message))
    assert wire["jsonrpc"] == "2.0"
    assert ("method" in wire) + ("result" in wire) + ("error" in wire) == 1


@given(st.binary(max_size=200))
def test_no_frame_makes_it_raise(frame: bytes) -> None:
    assert isinstance(CODEC.decode(frame), (Request, Notification, Response, ErrorResponse, Malformed))


MEMBERS = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error"])
ALMOST = st.dictionaries(MEMBERS, VALUES | st.just("2.0"), max_size=6)


@given(ALMOST)
def test_nothing_but_a_request_or_nonsense_is_answered(wire: dict[str, Any]) -> None:
    """A notification has no id; whatever has a result or an error is no request (C25-015)."""
    decoded = CODEC.decode(json.dumps(wire).encode())
    if isinstance(decoded, Malformed) and decoded.answerable:
        assert "id" in wire or "method" not in wire or type(wire["method"]) is not str
    if isinstance(decoded, Malformed) and decoded.id is not None:
        assert decoded.id == wire["id"]
        assert type(decoded.id) is type(wire["id"])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "object"),
        ([], "array"),
        ("", "string"),
        (True, "boolean"),
        (1, "integer"),
        (1.0, "number"),
        (None, "null"),
        (math, "module"),
    ],
)
def test_json_type(value: Any, name: str) -> None:
    assert json_type(value) == name
