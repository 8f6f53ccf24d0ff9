"""Anything at all, thrown at a connection at work.

While a call of ours and a request of theirs are under way, a script sends whatever hypothesis thinks of: bytes, JSON,
and messages that are almost right. Both still end as if nothing had happened, every request is answered exactly once,
and nothing is left over. The runs are reproducible and on a mock clock.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_tasks import Context, Limits, Peer, Side
from mcp_tasks.testing import Remote, check_leaks, scripted

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors],
)
SIDES = pytest.mark.parametrize("side", [Side.SERVER, Side.CLIENT], ids=["server", "client"])


@pytest.fixture(autouse=True)
def _quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="mcp_tasks")


# --- the peer under test ----------------------------------------------------------------------------------------------


def everything() -> Peer:
    """A peer that offers something of each kind, and nothing that waits for an answer."""
    peer = Peer("sut", "1", limits=Limits(page_size=2, json_depth=40, message_bytes=20_000))
    for name in ("a", "b", "c"):

        @peer.tool(name=name, task="optional")
        async def work(ctx: Context, n: int = 0) -> dict[str, int]:
            await ctx.progress(1)
            return {"n": n}

    @peer.resource("r:x", name="x")
    async def fixed() -> str:
        return "x"

    @peer.resource("t:{v}", name="t")
    async def template(v: str) -> str:
        return v

    @peer.prompt
    async def p(a: str = "") -> str:
        return a

    @peer.completion(prompt="p")
    async def complete(name: str, value: str, known: Any) -> list[str]:
        return [value]

    @peer.sampling(task="optional")
    async def sample(ctx: Context, params: Any) -> Any:
        return {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}

    @peer.elicitation(task="optional")
    async def elicit(ctx: Context, params: Any) -> Any:
        return {}

    peer.roots = ["file:///a"]
    return peer


async def under_fire(side: Side, chunks: Sequence[bytes], piece: int | None) -> list[dict[str, Any]]:
    """Send these while a call and a request are under way; returns what was answered to them."""
    peer, go_on = everything(), trio.Event()
    results: list[Any] = []

    @peer.handle("x/hold")
    async def hold(ctx: Context, params: Any) -> Any:
        await go_on.wait()
        return {"held": True}

    def tap(data: bytes) -> list[bytes]:
        size = piece or len(data) or 1
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def call(remote: Remote) -> None:
        assert remote.connection is not None
        results.append(await remote.connection.call("x/ask"))

    async with scripted(peer, side=side, tap=tap, principal="ada") as remote:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, remote)
            asked = await remote.expect("x/ask")
            assert asked["id"] in (1, 2)
            await remote.ask("x/hold", id="hold")
            before = len(remote.received)
            for chunk in chunks:
                await remote.send_raw(chunk)
            await remote.quiet()
            said = remote.received[before:]
            assert results == []
            assert not remote.answered("hold")
            await remote.send_raw(b"\n")
            await remote.reply(asked, {"answer": 42})
            go_on.set()
            assert await remote.answer("hold") == {"held": True}
        assert results == [{"answer": 42}]
        assert await remote.request("ping") == {}
    check_leaks(peer)
    return said


def fire(side: Side, chunks: Sequence[bytes], piece: int | None = None) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = trio.run(
        under_fire, side, chunks, piece, clock=trio.testing.MockClock(autojump_threshold=0)
    )
    for message in said:
        assert message["jsonrpc"] == "2.0"
        if "error" in message:
            assert type(message["error"]["code"]) is int
            assert type(message["error"]["message"]) is str
    return said


# --- bytes ------------------------------------------------------------------------------------------------------------

PIECES = st.none() | st.integers(1, 50)
SNIPPETS = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\u",
        b"null",
        b"1e999",
        b"-",
        b"\xff",
        b"\xc3",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\x00",
        b"\xed\xa0\x80",
        b'"jsonrpc":"2.0"',
        b'"id":',
        b'"method":"ping"',
        b"x" * 25_000,
        b"[" * 3_000,
    ]
)


@SIDES
@FUZZ
@given(chunks=st.lists(st.binary(max_size=60) | SNIPPETS, max_size=12), piece=PIECES)
def test_bytes(side: Side, chunks: list[bytes], piece: int | None) -> None:
    if piece is not None and sum(map(len, chunks)) / piece > 1000:
        piece = None
    for message in fire(side, [*chunks, b"\n"], piece):
        assert "error" in message or message.get("result") == {}


# --- JSON -------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "_meta", "name", "x"]) | st.text(
    max_size=4
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["2.0", "ping"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=10
)


def usable(id: Any) -> bool:
    return type(id) is int or type(id) is str


def numbered(messages: list[Any]) -> list[Any]:
    """The same messages, but no id twice and none that is taken."""
    result = []
    for number, message in enumerate(messages):
        if isinstance(message, dict) and usable(message.get("id")):
            id = 7_000_000 + number if type(message["id"]) is int else f"{number} {message['id']}"
            message = {**message, "id": id}
        result.append(message)
    return result


def is_request(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("jsonrpc") == "2.0"
        and type(message.get("method")) is str
        and usable(message.get("id"))
    )


def never_answered(message: Any) -> bool:
    """Notifications and responses, however malformed."""
    if not isinstance(message, dict):
        return False
    if "method" in message:
        return "id" not in message and type(message["method"]) is str
    return "result" in message or "error" in message


def check_answers(messages: list[Any], said: list[dict[str, Any]]) -> None:
    answers = Counter(repr(one["id"]) for one in said if "method" not in one and "id" in one)
    nameless = [one for one in said if "method" not in one and "id" not in one]
    asked = {repr(message["id"]) for message in messages if isinstance(message, dict) and usable(message.get("id"))}
    assert answers.keys() <= asked
    assert all(count == 1 for count in answers.values())
    for message in messages:
        if is_request(message):
            assert answers[repr(message["id"])] == 1
        elif never_answered(message) and isinstance(message, dict) and usable(message.get("id")):
            assert answers[repr(message["id"])] == 0
    assert all("error" in one for one in nameless)
    assert len(nameless) <= sum(not is_request(message) and not never_answered(message) for message in messages)


def lines(messages: list[Any]) -> list[bytes]:
    return [json.dumps(message).encode() + b"\n" for message in messages]


def is_json(message: Any) -> bool:
    """Whether it is what other languages call JSON: Python writes NaN, too, and integers of any length."""
    text = json.dumps(message)
    try:
        json.loads(text, parse_constant=lambda name: 1 / 0, parse_int=lambda digits: 1 / (len(digits) < 19))
    except ZeroDivisionError:
        return False
    return True


@SIDES
@FUZZ
@given(messages=st.lists(VALUES.filter(is_json), max_size=10), piece=PIECES)
def test_json(side: Side, messages: list[Any], piece: int | None) -> None:
    messages = numbered(messages)
    check_answers(messages, fire(side, lines(messages), piece))


@SIDES
@FUZZ
@given(messages=st.lists(st.floats() | st.integers() | VALUES, max_size=10))
def test_what_python_takes_for_json(side: Side, messages: list[Any]) -> None:
    fire(side, lines(numbered(messages)))


# --- almost valid messages --------------------------------------------------------------------------------------------

TEXT = {"type": "text", "text": "t"}
FORM = {"message": "m", "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}
SAMPLE = {"messages": [{"role": "user", "content": TEXT}], "maxTokens": 3}
VALID: dict[str, dict[str, Any]] = {
    "ping": {},
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "0"},
    },
    "tools/list": {"cursor": "x"},
    "tools/call": {"name": "a", "arguments": {"n": 1}, "task": {"ttl": 1000}, "_meta": {"progressToken": 1}},
    "resources/list": {},
    "resources/templates/list": {"cursor": "AAAA"},
    "resources/read": {"uri": "t:1"},
    "resources/subscribe": {"uri": "r:x"},
    "resources/unsubscribe": {"uri": "r:x"},
    "prompts/list": {},
    "prompts/get": {"name": "p", "arguments": {"a": "x"}},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "p"},
        "argument": {"name": "a", "value": "v"},
        "context": {"arguments": {"b": "c"}},
    },
    "logging/setLevel": {"level": "debug"},
    "sampling/createMessage": {**SAMPLE, "task": {}},
    "elicitation/create": {**FORM, "mode": "form", "_meta": {"progressToken": "t"}},
    "roots/list": {},
    "tasks/get": {"taskId": "t"},
    "tasks/result": {"taskId": "t"},
    "tasks/cancel": {"taskId": "t"},
    "tasks/list": {"cursor": "x"},
    "notifications/cancelled": {"requestId": "nobody's", "reason": "r"},
    "notifications/progress": {"progressToken": "nobody's", "progress": 1, "total": 2, "message": "m"},
    "notifications/initialized": {},
    "notifications/message": {"level": "info", "data": 1},
    "notifications/resources/updated": {"uri": "r:x"},
    "notifications/roots/list_changed": {},
    "notifications/tools/list_changed": {},
    "notifications/elicitation/complete": {"elicitationId": "e"},
    "notifications/tasks/status": {
        "taskId": "t",
        "status": "working",
        "createdAt": "2025-11-25T10:30:00Z",
        "lastUpdatedAt": "2025-11-25T10:30:00Z",
        "ttl": None,
    },
}
SAFE = VALUES.filter(is_json)


@st.composite
def mangled(draw: st.DrawFn, value: dict[str, Any]) -> Any:
    """A valid value, in which something may be missing, other, or too much; here or further in."""
    value = dict(value)
    for key in list(value):
        match draw(st.integers(0, 9)):
            case 0:
                del value[key]
            case 1:
                value[key] = draw(SAFE)
            case 2 | 3 if isinstance(value[key], dict):
                value[key] = draw(mangled(value[key]))
    if draw(st.integers(0, 4)) == 0:
        value[draw(NAMES)] = draw(SAFE)
    return value


@st.composite
def almost(draw: st.DrawFn) -> Any:
    """A message that is right, or nearly."""
    method = draw(st.sampled_from(sorted(VALID)))
    message: dict[str, Any] = {"jsonrpc": "2.0"}
    if draw(st.integers(0, 9)) < (1 if method.startswith("notifications/") else 9):
        message["id"] = draw(st.integers(-10, 10) | st.text(max_size=3))
    message["method"] = method
    match draw(st.integers(0, 7)):
        case 0:
            pass
        case 1:
            message["params"] = draw(SAFE)
        case 2 | 3:
            message["params"] = VALID[method]
        case _:
            message["params"] = draw(mangled(VALID[method]))
    if draw(st.integers(0, 7)) == 0:
        return draw(mangled(message))
    return message


@st.composite
def responses(draw: st.DrawFn) -> Any:
    """A response to something that nobody asked."""
    error = {"code": st.integers(-40000, 40000) | SAFE, "message": st.text(max_size=4) | SAFE, "data": SAFE}
    members = {"result": SAFE, "error": SAFE | st.fixed_dictionaries({}, optional=error)}
    outcome = draw(st.fixed_dictionaries({}, optional=members))
    return {"jsonrpc": "2.0", "id": draw(st.integers(0, 3) | SAFE), **outcome}


@SIDES
@FUZZ
@given(messages=st.lists(almost() | responses(), min_size=1, max_size=12), piece=PIECES)
def test_almost_valid_messages(side: Side, messages: list[Any], piece: int | None) -> None:
    messages = numbered(messages)
    check_answers(messages, fire(side, lines(messages), piece))


@SIDES
@FUZZ
@given(
    messages=st.lists(almost(), min_size=1, max_size=4),
    damage=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=2)), min_size=1, max_size=4),
)
def test_almost_valid_messages_with_damaged_bytes(
    side: Side, messages: list[Any], damage: list[tuple[int, bytes]]
) -> None:
    data = bytearray(b"".join(lines(numbered(messages))))
    for position, other in damage:
        position %= len(data)
        data[position : position + 1] = other
    fire(side, [bytes(data), b"\n"])


@pytest.mark.parametrize("method", sorted(VALID))
@SIDES
def test_the_grammar_starts_from_valid_messages(side: Side, method: str) -> None:
    """Were they refused for another reason, nothing behind that would be tested."""
    message = {"jsonrpc": "2.0", "method": method, "params": VALID[method]}
    if method.startswith("notifications/"):
        assert fire(side, lines([message])) == []
        return
    (answer,) = (one for one in fire(side, lines([{**message, "id": 9}])) if one.get("id") == 9)
    if "error" in answer:
        assert answer["error"]["code"] in (-32600, -32601, -32602)
        assert "required" not in answer["error"]["message"]
        assert "expected" not in answer["error"]["message"]
