"""Anything at all, thrown at a server that is asked without a session.

While a request is under way, a script sends requests that are right, or nearly: with terms, states, tasks and answers
of which some are real. Each is answered once, in the words of its era and with no number of another; what was under way
ends as if nothing had happened, and nothing is left over. The runs are reproducible and on a mock clock.
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

from mcp_tasks import Context, Elicit, Limits, Peer
from mcp_tasks.testing import check_leaks, scripted

FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors],
)
NEW = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
LEVEL = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASKS = "io.modelcontextprotocol/tasks"
STAMP = {
    VERSION: NEW,
    CAPABILITIES: {"elicitation": {}, "roots": {}, "extensions": {TASKS: {}}},
    CLIENT: {"name": "script", "version": "0"},
}
ASKS = {"tools/call", "prompts/get", "resources/read"}
STATE, TASK = "$STATE", "$TASK"
"""Stand for a state and a task that are real."""


@pytest.fixture(autouse=True)
def _quiet_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="mcp_tasks")


# --- the peer under test ----------------------------------------------------------------------------------------------


def everything() -> Peer:
    """A peer that offers something of each kind."""
    peer = Peer("sut", "1", limits=Limits(page_size=2, json_depth=40, message_bytes=20_000))

    @peer.tool(name="a")
    async def quick(ctx: Context, n: int = 0) -> dict[str, int]:
        await ctx.progress(1)
        return {"n": n}

    @peer.tool(name="b", task="optional")
    async def slow(ctx: Context) -> str:
        await trio.sleep(60)
        return "b"

    @peer.tool(name="c", task="optional")
    async def asking(ctx: Context) -> str:
        first = await ctx.elicit("A?", {"x": int})
        await trio.sleep(60)
        return str(first.action)

    @peer.tool(name="d", task="required")
    async def task(ctx: Context) -> str:
        return str((await ctx.elicit("A?", {"x": int})).action)

    @peer.tool(name="e", rerun=False)
    async def once(ctx: Context) -> str:
        return str((await ctx.ask("q", Elicit("A?", {"x": int}))).action)

    @peer.resource("r:x", name="x")
    async def fixed() -> str:
        return "x"

    @peer.resource("t:{v}", name="t")
    async def template(ctx: Context, v: str) -> str:
        return str((await ctx.elicit("A?", {"x": int})).action)

    @peer.prompt
    async def p(ctx: Context, a: str = "") -> str:
        return f"{a} {(await ctx.elicit('A?', {'x': int})).action}"

    @peer.completion(prompt="p")
    async def complete(name: str, value: str, known: Any) -> list[str]:
        return [value]

    return peer


async def under_fire(messages: Sequence[Any], piece: int | None) -> list[dict[str, Any]]:
    """Send these while a request is under way; returns what was said meanwhile."""
    peer, go_on = everything(), trio.Event()

    @peer.handle("x/hold")
    async def hold(ctx: Context, params: Any) -> Any:
        await go_on.wait()
        return {"held": True}

    def tap(data: bytes) -> list[bytes]:
        size = piece or len(data) or 1
        return [data[start : start + size] for start in range(0, len(data), size)]

    async with scripted(peer, revision=NEW, tap=tap) as remote:
        await remote.ask("x/hold", id="hold")
        real = {
            STATE: (await remote.request("tools/call", {"name": "c"}))["requestState"],
            TASK: (await remote.request("tools/call", {"name": "d"}))["taskId"],
        }
        await remote.quiet()
        before = len(remote.received)
        for message in messages:
            await remote.send_raw(json.dumps(replaced(message, real)).encode() + b"\n")
        await remote.quiet()
        await trio.sleep(70)  # what takes a minute is over, whether it became a task or not
        said = remote.received[before:]
        assert not remote.answered("hold")
        go_on.set()
        assert (await remote.answer("hold"))["held"] is True
        found = await remote.request("server/discover")
        assert found["supportedVersions"][0] == NEW
        listened = len(peer.subscriptions)
        change = remote.received[:]
        peer.remove_prompt("p")
        await remote.quiet()
        told = [one for one in remote.received[len(change) :] if SUBSCRIPTION in one.get("params", {}).get("_meta", {})]
        assert len(told) <= listened
    assert peer.subscriptions == set()
    check_leaks(peer)
    return said


def replaced(value: Any, real: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: replaced(inner, real) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, real) for inner in value]
    return real.get(value, value) if isinstance(value, str) else value


def fire(messages: Sequence[Any], piece: int | None = None) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = trio.run(
        under_fire, messages, piece, clock=trio.testing.MockClock(autojump_threshold=0)
    )
    for one in said:
        assert one["jsonrpc"] == "2.0"
        assert ("method" in one) + ("result" in one) + ("error" in one) == 1
        assert not ("method" in one and "id" in one), "a server asks nothing"
        if "error" in one:
            assert type(one["error"]["code"]) is int
            assert type(one["error"]["message"]) is str
    return said


# --- what is sent -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["jsonrpc", "id", "method", "params", "_meta", "name", "task", "inputResponses", "requestState", VERSION, LEVEL]
) | st.text(max_size=4)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["2.0", NEW, "2025-11-25", STATE, TASK])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=10
)
ANSWER = {"action": "accept", "content": {"x": 1}}
FILTER = {
    "toolsListChanged": True,
    "promptsListChanged": True,
    "resourcesListChanged": False,
    "resourceSubscriptions": ["r:x"],
    "taskIds": [TASK, "t"],
}
VALID: list[tuple[str, dict[str, Any]]] = [
    ("server/discover", {}),
    ("tools/list", {"cursor": "x"}),
    ("tools/list", {}),
    ("tools/call", {"name": "a", "arguments": {"n": 1}, "task": {"ttl": 1000}}),
    ("tools/call", {"name": "b"}),
    ("tools/call", {"name": "c"}),
    ("tools/call", {"name": "c", "requestState": STATE, "inputResponses": {"elicit-1": ANSWER}}),
    ("tools/call", {"name": "c", "inputResponses": {"elicit-1": {"action": "decline"}}}),
    ("tools/call", {"name": "d"}),
    ("tools/call", {"name": "e"}),
    ("resources/list", {}),
    ("resources/templates/list", {"cursor": "AAAA"}),
    ("resources/read", {"uri": "r:x"}),
    ("resources/read", {"uri": "t:1", "inputResponses": {"elicit-1": ANSWER}}),
    ("prompts/list", {}),
    ("prompts/get", {"name": "p", "arguments": {"a": "x"}}),
    ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "v"}}),
    ("subscriptions/listen", {"notifications": FILTER}),
    ("tasks/get", {"taskId": TASK}),
    ("tasks/update", {"taskId": TASK, "inputResponses": {"elicit-1": ANSWER}}),
    ("tasks/cancel", {"taskId": TASK}),
    ("tasks/result", {"taskId": TASK}),
    ("ping", {}),
    ("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "0"}}),
]


@st.composite
def mangled(draw: st.DrawFn, value: dict[str, Any]) -> Any:
    """A valid value, in which something may be missing, other, or too much; here or further in."""
    value = dict(value)
    for key in list(value):
        match draw(st.integers(0, 11)):
            case 0:
                del value[key]
            case 1:
                value[key] = draw(VALUES)
            case 2 | 3 if isinstance(value[key], dict):
                value[key] = draw(mangled(value[key]))
    if draw(st.integers(0, 5)) == 0:
        value[draw(NAMES)] = draw(VALUES)
    return value


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A request that is right, or nearly."""
    method, params = draw(st.sampled_from(VALID))
    meta = {**STAMP, **draw(st.sampled_from([{}, {}, {"progressToken": 3}, {LEVEL: "debug"}]))}
    if draw(st.integers(0, 4)) == 0:
        meta = draw(mangled(meta))
    if draw(st.integers(0, 2)) == 0:
        params = draw(mangled(params))
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": draw(st.integers(-10, 10) | st.text(max_size=3))}
    message |= {"method": method, "params": {**params, "_meta": meta}}
    return draw(mangled(message)) if draw(st.integers(0, 9)) == 0 else message


def numbered(messages: list[Any]) -> list[Any]:
    """The same messages, but no id twice and none that is taken."""
    result = []
    for number, message in enumerate(messages):
        if isinstance(message, dict) and usable(message.get("id")):
            id = 7_000_000 + number if type(message["id"]) is int else f"{number} {message['id']}"
            message = {**message, "id": id}
        result.append(message)
    return result


def usable(id: Any) -> bool:
    return type(id) is int or type(id) is str


def is_request(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and message.get("jsonrpc") == "2.0"
        and type(message.get("method")) is str
        and usable(message.get("id"))
    )


def version_of(message: Any) -> Any:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta.get(VERSION) if isinstance(meta, dict) else None


def check(messages: list[Any], said: list[dict[str, Any]], cancelled: Sequence[Any] = ()) -> None:
    answers = {repr(one["id"]): one for one in said if "method" not in one and "id" in one}
    counts = Counter(repr(one["id"]) for one in said if "method" not in one and "id" in one)
    assert all(count == 1 for count in counts.values())
    open_now = {
        repr(one["params"]["_meta"][SUBSCRIPTION])
        for one in said
        if one.get("method") == "notifications/subscriptions/acknowledged"
    }
    asked = {repr(message["id"]): message for message in messages if is_request(message)}
    for id, message in asked.items():
        if id in open_now:
            assert message["method"] == "subscriptions/listen"
            assert id not in answers
        elif message["id"] not in cancelled:
            assert id in answers, message
        if id in answers:
            check_answer(message, answers[id])


def check_answer(message: Any, answer: Any) -> None:
    method = message["method"]
    if "error" in answer:
        if version_of(message) == NEW:
            assert answer["error"]["code"] not in (-32002, -32042, -32000)
            if answer["error"]["code"] == -32021:
                assert answer["error"]["data"]["requiredCapabilities"]
        return
    result = answer["result"]
    if version_of(message) != NEW:
        assert "resultType" not in result, "only a session answers that"
        return
    assert result["resultType"] in ("complete", "input_required", "task")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "sut"
    declared = message["params"]["_meta"][CAPABILITIES]
    if result["resultType"] == "task":
        assert method == "tools/call"
        assert TASKS in declared["extensions"]
    if result["resultType"] == "input_required":
        assert method in ASKS
        assert "elicitation" in declared
        assert type(result["requestState"]) is str


PIECES = st.none() | st.integers(1, 50)


@pytest.mark.requirement("C26-010", "C26-013", "C26-025", "C26-030", "C26-113", "C26-253", "X26-008", "X26-014")
@FUZZ
@given(messages=st.lists(requests(), min_size=1, max_size=8), piece=PIECES)
def test_almost_valid_requests(messages: list[Any], piece: int | None) -> None:
    messages = numbered(messages)
    check(messages, fire(messages, piece))


@pytest.mark.requirement("C26-127", "C26-230", "C26-233")
@FUZZ
@given(messages=st.lists(requests(), min_size=1, max_size=6), places=st.lists(st.integers(0, 12), max_size=6))
def test_requests_that_are_taken_back(messages: list[Any], places: list[int]) -> None:
    messages = numbered(messages)
    ids = [message["id"] for message in messages if is_request(message)]
    sent, cancelled = list(messages), []
    for place in places:
        if ids:
            cancelled.append(ids[place % len(ids)])
            notice = {"method": "notifications/cancelled", "params": {"requestId": cancelled[-1]}}
            sent.insert(place % (len(sent) + 1), {"jsonrpc": "2.0", **notice})
    said = fire(sent)
    for id in cancelled:
        said = [
            one
            for one in said
            if one.get("id") != id and one.get("params", {}).get("_meta", {}).get(SUBSCRIPTION) != id
        ]
    check(messages, said, cancelled)


@pytest.mark.requirement("C26-031", "C26-055")
@FUZZ
@given(
    metas=st.lists(mangled(STAMP) | VALUES, min_size=1, max_size=6).filter(lambda metas: "$" not in json.dumps(metas))
)
def test_terms_of_every_kind(metas: list[Any]) -> None:
    """What a request is answered does not depend on the requests before it (C26-031)."""
    messages = [
        {"jsonrpc": "2.0", "id": number, "method": "prompts/list", "params": {"_meta": meta}}
        for number, meta in enumerate(metas)
    ]
    together = {one["id"]: one for one in fire(messages) if "id" in one}
    for message in messages:
        (alone,) = (one for one in fire([message]) if one.get("id") == message["id"])
        assert alone == together[message["id"]]


@pytest.mark.parametrize("number", range(len(VALID)), ids=lambda number: f"{number}-{VALID[number][0]}")
def test_the_grammar_starts_from_valid_requests(number: int) -> None:
    """Were they refused for another reason, nothing behind that would be tested."""
    method, params = VALID[number]
    message = {"jsonrpc": "2.0", "id": 9, "method": method, "params": {**params, "_meta": STAMP}}
    said = fire([message])
    check([message], said)
    if method == "subscriptions/listen":
        assert [one["method"] for one in said[:1]] == ["notifications/subscriptions/acknowledged"]
        return
    (answer,) = (one for one in said if one.get("id") == 9)
    expected: dict[str, int] = {"tasks/result": -32601, "ping": -32601, "initialize": -32601}
    if method in expected:
        assert answer["error"]["code"] == expected[method]
    elif "cursor" not in params:
        assert "result" in answer


# --- rounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C26-263", "C26-267", "C26-278")
@FUZZ
@given(
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    choices=st.lists(st.sets(st.integers(0, 8), max_size=5), max_size=5),
    replay=st.booleans(),
)
def test_answers_in_any_order(batches: list[int], choices: list[set[int]], replay: bool) -> None:
    """However the answers are dealt out over the rounds, the handler gets each, and the same result comes out."""
    runs = 0

    async def main() -> None:
        nonlocal runs
        peer = Peer("sut", "1", limits=Limits(rounds=20))

        @peer.tool
        async def work(ctx: Context) -> str:
            nonlocal runs
            runs += 1
            found: dict[str, Any] = {}
            for batch, size in enumerate(batches):
                questions = {f"{batch}.{n}": Elicit(f"{batch}.{n}?", {"x": str}) for n in range(size)}
                found |= await ctx.ask_all(questions)
            return ",".join(f"{key}={answer.content['x']}" for key, answer in sorted(found.items()))

        async with scripted(peer, revision=NEW, principal="ada") as remote:
            result, used, rounds = await remote.request("tools/call", {"name": "work"}), [], 0
            while result["resultType"] == "input_required":
                rounds += 1
                keys = sorted(result["inputRequests"])
                wanted = choices[rounds - 1] if rounds <= len(choices) else set(range(9))
                chosen = [key for n, key in enumerate(keys) if n in wanted]
                answers = {key: {"action": "accept", "content": {"x": key}} for key in chosen}
                retry = {"name": "work", "requestState": result["requestState"], "inputResponses": answers}
                used.append(retry)
                result = await remote.request("tools/call", retry)
                if result["resultType"] == "input_required":
                    assert not set(chosen) & result["inputRequests"].keys()
                if replay:
                    for again in used:
                        response = await remote.response(await remote.ask("tools/call", again))
                        assert response["error"]["code"] == -32602
            every = [f"{batch}.{n}" for batch, size in enumerate(batches) for n in range(size)]
            assert result["content"][0]["text"] == ",".join(f"{key}={key}" for key in sorted(every))
            assert runs == rounds + 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
