"""The monitor: what it blames nobody for, what it still sees, and that it survives whatever is said."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from conformance.coverage import watched
from conformance.ledger import load_ledger
from mcp_tasks import Context, Peer
from mcp_tasks.testing import Frame, Monitor, Side, Violation, scripted
from mcp_tasks.testing import _monitor as monitors
from mcp_tasks.testing.plugin import AdviceWarning, _Watch

CLIENT, SERVER = Side.CLIENT, Side.SERVER
KEY = "io.modelcontextprotocol/"
EXTENSION: dict[str, Any] = {"extensions": {f"{KEY}tasks": {}}}
ENVELOPE = {
    f"{KEY}protocolVersion": "2026-07-28",
    f"{KEY}clientCapabilities": {"elicitation": {}, **EXTENSION},
    f"{KEY}clientInfo": {"name": "a", "version": "1"},
}
INFO = {f"{KEY}serverInfo": {"name": "s", "version": "1"}}
ID = "tk_0123456789abcdef"
EARLY, LATE = "2026-08-01T07:00:00Z", "2026-08-01T07:00:05Z"
QUESTION = {"k": {"method": "elicitation/create", "params": {}}}


# --- what is said -----------------------------------------------------------------------------------------------------


def message(side: Side, channel: str, more: dict[str, Any], **members: Any) -> Frame:
    return Frame(side, {"jsonrpc": "2.0", **members}, channel, **more)


def ask(id: Any, method: str, params: Any = None, channel: str = "", side: Side = CLIENT, **more: Any) -> Frame:
    return message(side, channel, more, id=id, method=method, params=params or {})


def stateless(id: Any, method: str, params: Any = None, channel: str = "", **more: Any) -> Frame:
    params = dict(params or {})
    params["_meta"] = {**ENVELOPE, **params.get("_meta", {})}
    if channel:
        name = params.get("taskId", params.get("name"))
        names = {} if name is None else {"mcp-name": name}
        more["verb"] = "POST"
        more["headers"] = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            **names,
        }
    return ask(id, method, params, channel, **more)


def answer(id: Any, result: Any, channel: str = "", side: Side = SERVER, **more: Any) -> Frame:
    return message(side, channel, more, id=id, result=result)


def modern(id: Any, result: Any, channel: str = "") -> Frame:
    return answer(id, {"resultType": "complete", "_meta": INFO, **result}, channel)


def error(id: Any, code: int, channel: str = "", side: Side = SERVER) -> Frame:
    return message(side, channel, {}, id=id, error={"code": code, "message": "no"})


def tell(side: Side, method: str, params: Any = None, channel: str = "", **more: Any) -> Frame:
    return message(side, channel, more, method=method, params=params or {})


def event(side: Side, channel: str, event: str, status: int | None = None) -> Frame:
    return Frame(side, channel=channel, event=event, status=status, verb="POST")


def handshake(id: Any = 0, channel: str = "", session: str | None = None) -> list[Frame]:
    """A session of 2025-11-25."""
    asked: dict[str, Any] = {"sampling": {}, "elicitation": {}, "tasks": {"requests": {"elicitation": {"create": {}}}}}
    given: dict[str, Any] = {"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}
    opening = {"protocolVersion": "2025-11-25", "capabilities": asked, "clientInfo": {"name": "c", "version": "1"}}
    opened = {"protocolVersion": "2025-11-25", "capabilities": given, "serverInfo": {"name": "s", "version": "1"}}
    headers = {} if session is None else {"mcp-session-id": session}
    return [ask(id, "initialize", opening, channel), answer(id, opened, channel, headers=headers)]


def begun() -> list[Frame]:
    """A session of 2025-11-25 with the tool ``x``, which may be a task."""
    tool = {"name": "x", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}}
    return [*handshake(), ask(90, "tools/list"), answer(90, {"tools": [tool]})]


def discovered() -> list[Frame]:
    capabilities = {"tools": {}, **EXTENSION}
    found = {"supportedVersions": ["2026-07-28"], "capabilities": capabilities, "ttlMs": 0, "cacheScope": "private"}
    return [stateless(0, "server/discover"), modern(0, found)]


def old_task(status: str = "working", *, at: str = EARLY, **more: Any) -> dict[str, Any]:
    return {"taskId": ID, "status": status, "createdAt": EARLY, "lastUpdatedAt": at, "ttl": None, **more}


def new_task(status: str = "working", *, at: str = EARLY, **more: Any) -> dict[str, Any]:
    return {"taskId": ID, "status": status, "createdAt": EARLY, "lastUpdatedAt": at, "ttlMs": None, **more}


def call_of_old(id: Any = 1, channel: str = "", token: Any = None, **task: Any) -> list[Frame]:
    meta = {} if token is None else {"_meta": {"progressToken": token}}
    request = ask(id, "tools/call", {"name": "x", "task": {}, **meta}, channel)
    return [request, answer(id, {"task": old_task(**task)}, channel)]


def call_of_new(id: Any = 1, channel: str = "", **task: Any) -> list[Frame]:
    handle = modern(id, {**new_task(**task), "resultType": "task"}, channel)
    return [stateless(id, "tools/call", {"name": "x"}, channel), handle]


def related(id: str = ID) -> dict[str, Any]:
    return {"_meta": {f"{KEY}related-task": {"taskId": id}}}


def progress(side: Side, token: Any, value: float = 1, channel: str = "", **more: Any) -> Frame:
    return tell(side, "notifications/progress", {"progressToken": token, "progress": value, **more}, channel)


def judged(*frames: Frame, judges: Side | None = None, seconds: float = 0.001) -> list[str]:
    """What a monitor blames for, of frames that come one after the other."""
    monitor = Monitor(judges=judges)
    with no_rule_failing():
        for number, frame in enumerate(frames):
            frame.at = number * seconds
            monitor.see(frame)
    return [violation.id for violation in monitor.violations]


@contextmanager
def no_rule_failing() -> Iterator[None]:
    failures: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            failures.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")

    logger, kept = logging.getLogger(monitors.__name__), Kept()
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
    assert failures == []


# --- several conversations --------------------------------------------------------------------------------------------


def session(name: str, number: int) -> list[Frame]:
    first, second = f"POST {number}", f"POST {number + 1}"
    return [
        *handshake(0, first, name),
        ask(1, "tools/list", channel=second, headers={"mcp-session-id": name}),
        answer(1, {"tools": []}, second),
    ]


def test_sessions_by_one_proxy_are_apart() -> None:
    one, two = session("a", 1), session("b", 3)
    assert judged(*one, *two) == []
    woven = [frame for pair in zip(one, two, strict=True) for frame in pair]
    assert judged(*woven) == []


def test_an_id_used_again_in_a_session_is_seen_all_the_same() -> None:
    again = ask(1, "tools/list", channel="POST 9", headers={"mcp-session-id": "a"})
    assert judged(*session("a", 1), *session("b", 3), again) == ["C25-006"]


def test_a_session_whose_id_is_first_seen_from_the_client() -> None:
    """A script that is the server does not show the headers of its answers."""
    headers = {"mcp-session-id": "a"}
    requests = [ask(1, "ping", channel="POST 2", headers=headers), answer(1, {}, "POST 2")]
    again = [ask(1, "ping", channel="POST 3", headers=headers), answer(1, {}, "POST 3")]
    assert judged(*handshake(0, "POST 1"), *requests) == []
    assert judged(*handshake(0, "POST 1"), *requests, *again) == ["C25-006"]


def test_clients_without_a_session_are_not_told_apart() -> None:
    ping = [ask(5, "ping", channel="POST 3"), answer(5, {}, "POST 3")]
    again = [ask(5, "ping", channel="POST 4"), answer(5, {}, "POST 4")]
    assert judged(*handshake(0, "POST 1"), *ping, *again) == ["C25-006"]
    assert judged(*handshake(0, "POST 1"), *handshake(0, "POST 2"), *ping, *again) == []


def test_a_session_that_was_joined_midway() -> None:
    headers = {"mcp-session-id": "a"}
    request = ask(1, "tools/call", {"name": "x", "task": {}}, "POST 1", headers=headers)
    assert judged(request, answer(1, {"task": {}}, "POST 1"), *session("b", 2)) == []


def test_a_server_that_is_started_again() -> None:
    first = [*handshake(0), ask(1, "ping"), answer(1, {})]
    # As a relayed wire shows it: only what comes from the client says which start it is of.
    second = [evolve(frame, channel="start 2") if frame.sender is CLIENT else frame for frame in first]
    assert judged(*first, *second) == []
    third = ask(1, "ping", channel="start 2")
    assert judged(*first, *second, third) == ["C25-006"]


def test_stateless_clients_have_ids_of_their_own() -> None:
    both = [stateless(1, "tools/list", channel=f"POST {n}") for n in (1, 2)]
    answers = [modern(1, {"tools": []}, f"POST {n}") for n in (1, 2)]
    assert judged(*both, *answers) == []
    assert judged(*both, *answers, judges=CLIENT) == ["C26-006"]
    assert judged(stateless(1, "tools/list"), stateless(1, "tools/list")) == ["C26-006"]


def test_each_stateless_answer_is_of_its_own_exchange() -> None:
    """Of two clients with the same id, each gets an answer to what it asked."""
    calls = [stateless(1, "tools/call", {"name": "x"}, "POST 1"), stateless(1, "tools/list", channel="POST 2")]
    questions = {"resultType": "input_required", "inputRequests": QUESTION, "_meta": INFO}
    assert judged(*calls, answer(1, questions, "POST 1"), modern(1, {"tools": []}, "POST 2")) == []


# --- requests that get no answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        event(SERVER, "POST 1", "refused", 401),
        event(SERVER, "POST 1", "broken: reset"),
        event(CLIENT, "POST 1", "closed"),
    ],
)
def test_what_got_no_answer_may_be_sent_again(end: Frame) -> None:
    opening = handshake(0, "POST 1")[0]
    assert judged(opening, end, *handshake(0, "POST 2")) == []
    lists = [stateless(1, "tools/list", channel=f"POST {n}") for n in (1, 2)]
    assert judged(lists[0], end, lists[1], judges=CLIENT) == []
    ping = [ask(1, "ping", channel=f"POST {n}", headers={"mcp-session-id": "a"}) for n in (1, 2)]
    assert judged(*handshake(0, "POST 0", "a"), ping[0], end, ping[1], answer(1, {}, "POST 2")) == []


def test_what_an_authorization_server_says_is_no_message() -> None:
    refusal = Frame(SERVER, {"error": "invalid_token", "error_description": "no"}, "POST 1", status=401, verb="POST")
    lists = [stateless(1, "tools/list", channel=f"POST {n}") for n in (1, 2)]
    assert judged(lists[0], refusal, lists[1], modern(1, {"tools": []}, "POST 2"), judges=CLIENT) == []


def test_an_answer_by_a_stream_that_was_resumed() -> None:
    call = ask(1, "tools/call", {"name": "x", "_meta": {"progressToken": 1}}, "POST 2")
    rest = [progress(SERVER, 1, channel="GET 3"), answer(1, {"content": []}, "GET 3")]
    assert judged(*handshake(0, "POST 1"), call, event(SERVER, "POST 2", "ended"), *rest) == []
    assert judged(*handshake(0, "POST 1"), call, event(SERVER, "POST 2", "ended"), *rest, rest[-1]) == ["C25-007"]


def test_answers_that_were_lost_are_given_again() -> None:
    asking = modern(2, new_task("input_required", inputRequests=QUESTION))
    poll = [stateless(2, "tasks/get", {"taskId": ID}), asking]
    given = {"taskId": ID, "inputResponses": {"k": {"action": "accept"}}}
    updates = [stateless(n, "tasks/update", given, f"POST {n}") for n in (3, 4)]
    before = [*discovered(), *call_of_new(), *poll]
    assert judged(*before, updates[0], event(SERVER, "POST 3", "broken: reset"), updates[1]) == []
    assert judged(*before, *updates) == ["X26-075"]


# --- ids that are used again ------------------------------------------------------------------------------------------


def test_an_id_of_the_stateless_revision_may_be_used_again() -> None:
    calls = [
        stateless(1, "tools/call", {"name": "x", "_meta": {"progressToken": "t"}}),
        modern(1, {"content": []}),
        stateless(1, "tools/call", {"name": "x", "_meta": {"progressToken": "u"}}),
    ]
    again = stateless(2, "tools/call", {"name": "x", "_meta": {"progressToken": "t"}})
    assert judged(*discovered(), *calls, again) == []
    assert judged(*discovered(), *calls, progress(SERVER, "t")) == ["C26-247"]  # of the one that has its answer
    taken = stateless(2, "tools/call", {"name": "x", "_meta": {"progressToken": "u"}})
    assert judged(*discovered(), *calls, taken) == ["C26-240"]


def test_a_cancellation_is_of_the_latest_with_an_id() -> None:
    cancel = tell(CLIENT, "notifications/cancelled", {"requestId": 5})
    named = [stateless(6, "tasks/get", {"taskId": ID}), modern(6, new_task())]
    before = [*discovered(), *call_of_new(5), *named]
    assert judged(*before, cancel) == ["X26-080"]
    assert judged(*before, stateless(5, "tools/call", {"name": "y"}), cancel) == []


def test_what_asked_for_the_era_is_of_no_session() -> None:
    assert judged(stateless(1, "server/discover"), error(1, -32601), *handshake(1)) == []


# --- earlier connections, and what is overtaken -----------------------------------------------------------------------


def test_tasks_of_an_earlier_connection() -> None:
    assert judged(*discovered(), stateless(1, "tasks/get", {"taskId": ID}), modern(1, new_task())) == []
    asked = ask(1, "elicitation/create", {"message": "?", **related()}, side=SERVER)
    assert judged(*handshake(), asked) == []


def test_an_id_that_is_not_the_one_that_was_given() -> None:
    wrong = [stateless(2, "tasks/get", {"taskId": f"{ID}0"}), error(2, -32602)]
    assert judged(*discovered(), *call_of_new(), *wrong) == ["X26-040"]
    known = [stateless(3, "tasks/get", {"taskId": ID}), modern(3, new_task())]
    assert judged(*discovered(), *call_of_new(), *known, *wrong) == []  # it knows the one it got: this is an older one


def test_a_question_for_the_task_of_another() -> None:
    asked = ask(7, "elicitation/create", {"message": "?", "task": {}}, side=SERVER)
    made = answer(7, {"task": old_task()}, side=CLIENT)
    nested = ask(8, "elicitation/create", {"message": "?", **related()}, side=SERVER)
    assert judged(*handshake(), asked, made, nested) == ["T25-097"]


def test_a_poll_that_a_push_has_overtaken() -> None:
    listen = stateless(2, "subscriptions/listen", {"notifications": {"taskIds": [ID]}}, "POST 3")
    said = {"_meta": {f"{KEY}subscriptionId": 2}}
    first = {"notifications": {"taskIds": [ID]}, **said}
    acknowledged = tell(SERVER, "notifications/subscriptions/acknowledged", first, "POST 3")
    done = new_task("completed", at=LATE, result={"content": []})
    pushed = tell(SERVER, "notifications/tasks", {**done, **said}, "POST 3")
    poll = [stateless(3, "tasks/get", {"taskId": ID}, "POST 4"), modern(3, new_task(), "POST 4")]
    before = [*discovered(), *call_of_new(1, "POST 2"), listen, acknowledged]
    assert judged(*before, poll[0], pushed, poll[1]) == []
    assert judged(*before, pushed, *poll) == ["X26-036"]


def test_a_poll_that_another_has_overtaken() -> None:
    polls = [ask(n, "tasks/get", {"taskId": ID}, f"POST {n}") for n in (2, 3)]
    done, working = answer(3, old_task("completed"), "POST 3"), answer(2, old_task(), "POST 2")
    before = [*begun(), *call_of_old(1, "POST 1")]
    assert judged(*before, *polls, done, working) == []  # at the same second, by their stamps
    assert judged(*before, polls[1], done, polls[0], working) == ["T25-064"]
    late = tell(SERVER, "notifications/tasks/status", old_task(), "GET 9")
    assert judged(*before, polls[1], done, late) == []


def test_progress_that_an_answer_has_overtaken() -> None:
    request = ask(1, "sampling/createMessage", {"_meta": {"progressToken": 1}}, "GET 1", side=SERVER)
    done = answer(1, {"role": "assistant"}, "POST 5", side=CLIENT)
    assert judged(*handshake(), request, done, progress(CLIENT, 1, channel="POST 4")) == []
    assert judged(*handshake(), request, done, progress(CLIENT, 1, channel="POST 4"), seconds=2) == ["C25-167"]
    assert judged(*handshake(), request, done, progress(CLIENT, 1, channel="POST 5")) == ["C25-167"]


@pytest.mark.parametrize("outcome", [answer(2, {"content": [], **related()}), error(2, -32603)])
def test_who_has_the_result_knows_that_the_task_is_over(outcome: Frame) -> None:
    again = ask(3, "tools/call", {"name": "x", "_meta": {"progressToken": 1}})
    before = [*begun(), *call_of_old(token=1)]
    assert judged(*before, ask(2, "tasks/result", {"taskId": ID}), outcome, again) == []
    assert judged(*before, again) == ["T25-162"]
    late = progress(SERVER, 1, **related())
    assert judged(*before, ask(2, "tasks/result", {"taskId": ID}), outcome, late) == ["T25-161"]


def test_a_cancellation_that_crosses_the_handle() -> None:
    cancel = tell(CLIENT, "notifications/cancelled", {"requestId": 1})
    assert judged(*begun(), *call_of_old(), cancel) == []
    assert judged(*begun(), *call_of_old(), cancel, seconds=2) == ["T25-157"]
    named = [ask(2, "tasks/get", {"taskId": ID}), answer(2, old_task())]
    assert judged(*begun(), *call_of_old(), *named, cancel) == ["T25-157"]
    assert judged(*discovered(), *call_of_new(), cancel) == []


# --- what is judged by what is known ----------------------------------------------------------------------------------


@pytest.mark.parametrize("able", ["call", "poll", None])
def test_what_is_asked_was_declared_by_the_call_or_the_poll(able: str | None) -> None:
    meta = {"_meta": {f"{KEY}clientCapabilities": EXTENSION}}
    call, handle = call_of_new()
    if able != "call":
        call = stateless(1, "tools/call", {"name": "x", **meta})
    poll = stateless(2, "tasks/get", {"taskId": ID} if able == "poll" else {"taskId": ID, **meta})
    asking = modern(2, new_task("input_required", inputRequests=QUESTION))
    assert judged(*discovered(), call, handle, poll, asking) == ([] if able else ["X26-070"])


@pytest.mark.parametrize("stamp", ["2026-08-01t07:00:00z", "2026-08-01T07:00:00.25+02:00"])
def test_times(stamp: str) -> None:
    assert judged(*begun(), *call_of_old(at=stamp)) == []
    assert judged(*begun(), *call_of_old(at=stamp[:10])) == ["T25-080"]


def test_ids_that_can_be_guessed() -> None:
    def made(*ids: str) -> list[str]:
        calls = [call_of_old(number, taskId=id) for number, id in enumerate(ids)]
        return judged(*begun(), *(frame for call in calls for frame in evolved(call)))

    def evolved(call: list[Frame]) -> list[Frame]:
        return [evolve(frame, message={**frame.object, "id": f"n{frame.id}"}) for frame in call]

    assert made("Xk3pQ9vLm2Zd", "Xk3pQ9vLm2Zf") == []
    assert made("a-task") == ["T25-139"]
    assert made("number-1000001", "number-1000900", "number-1000005") == ["T25-139"]


def test_looking_for_neighbours_among_many() -> None:
    """Each new id is looked up; it is not held against all the others."""
    monitor = Monitor()
    for frame in begun():
        monitor.see(frame)
    talk = monitor._first
    for number in range(0, 100_000, 50):
        for frame in call_of_old(f"n{number}", taskId=f"a-long-prefix-{number:015}"):
            monitor.see(frame)
    assert monitor.violations == []
    assert [len(numbers) for numbers in talk.minted.values()] == [2000]


def test_progress_of_a_task_with_the_token_of_another() -> None:
    other = ask(5, "tools/call", {"name": "x", "_meta": {"progressToken": 9}})
    before = [*begun(), *call_of_old(token=1), other]
    assert judged(*before, progress(SERVER, 1, **related())) == []
    assert judged(*before, progress(SERVER, 9, **related())) == ["T25-160"]
    waiting = ask(6, "tasks/result", {"taskId": ID, "_meta": {"progressToken": "w"}})
    assert judged(*before, waiting, progress(SERVER, "w", **related())) == []


@pytest.mark.parametrize(
    ("before", "expected"), [("working", ["T25-065", "T25-062"]), ("input_required", ["T25-065", "T25-063"])]
)
def test_a_status_that_there_is_not(before: str, expected: list[str]) -> None:
    polls = [ask(2, "tasks/get", {"taskId": ID}), answer(2, old_task(before))]
    strange = [ask(3, "tasks/get", {"taskId": ID}), answer(3, old_task("paused"))]
    assert judged(*begun(), *call_of_old(), *polls, *strange) == expected


# --- the stateless revision without server/discover -------------------------------------------------------------------


def test_the_first_request_settles_the_revision() -> None:
    strange = [
        stateless(1, "subscriptions/listen", {"notifications": {}}),
        tell(SERVER, "notifications/tools/list_changed"),
        tell(SERVER, "notifications/tasks/status"),
        tell(SERVER, "notifications/cancelled", {"requestId": 55}),
        progress(SERVER, "nobody's"),
    ]
    found = judged(*strange)
    assert found == judged(*discovered(), *strange)
    assert {"C26-064", "C26-280", "X26-116", "C26-220", "C26-244"} <= set(found)


def test_what_is_not_announced_is_not_known_without_discover() -> None:
    wish = {"notifications": {"toolsListChanged": True}}
    said = {**wish, "_meta": {f"{KEY}subscriptionId": 1}}
    acknowledged = tell(SERVER, "notifications/subscriptions/acknowledged", said)
    assert judged(stateless(1, "subscriptions/listen", wish), acknowledged) == []


def test_a_probe_settles_nothing_for_a_server_of_old() -> None:
    note = tell(SERVER, "notifications/progress", {"progressToken": "p", "progress": 1})
    call = stateless(1, "tools/call", {"name": "x", "_meta": {"progressToken": "p"}})
    assert judged(call, error(1, -32601), *handshake(2), note) == ["C25-167"]


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_are_those_of_the_ledger() -> None:
    rows = load_ledger()
    advice = {id for id in watched() if rows[id].level.startswith("SHOULD")}
    assert advice == monitors.ADVICE
    assert {rows[id].level.split()[0] for id in watched()} == {"MUST", "SHOULD"}


def test_the_plugin_fails_for_a_must_and_warns_of_a_should() -> None:
    frame = ask(1, "ping")
    must, should = (Violation(id, SERVER, "this", frame) for id in ("C26-004", "X26-111"))
    assert (must.level, should.level) == ("MUST", "SHOULD")
    watch = _Watch()
    watch.monitors.append(Monitor())
    watch.check()
    watch.monitors[0].violations.append(should)
    with pytest.warns(AdviceWarning, match="X26-111: this"):
        watch.check()
    watch.monitors[0].violations.append(must)
    with pytest.raises(pytest.fail.Exception, match="broke the protocol:\nC26-004: this"):
        watch.check()


# --- whatever is said -------------------------------------------------------------------------------------------------


def test_a_rule_that_fails_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def a_bad_rule(talk: monitors.Conversation, frame: Frame) -> None:
        raise TypeError("odd")

    monitor = Monitor()
    monkeypatch.setitem(monitors._RULES, "request", [a_bad_rule, *monitors._RULES["request"]])
    monitor.see(ask(None, "ping"))
    assert [violation.id for violation in monitor.violations] == ["C25-005"]
    assert "the rule a_bad_rule fails at" in caplog.text


@cache
def real_frames(revision: str) -> tuple[Frame, ...]:
    """A conversation with a peer of ours: a list, a task with progress that asks, and a call that fails."""
    peer = Peer("sut", "1.0")

    @peer.tool(task="required")
    async def build(ctx: Context) -> str:
        await ctx.progress(1, total=2)
        found = await ctx.elicit("Build what?", {"target": str})
        return f"built {found['target']}"

    async def main() -> tuple[Frame, ...]:
        accepted = {"action": "accept", "content": {"target": "a boat"}}
        async with scripted(peer, revision=revision) as client:
            await client.request("tools/list")
            params = {"name": "build", "arguments": {}, "_meta": {"progressToken": "p"}}
            if revision == "2025-11-25":
                made = await client.request("tools/call", {**params, "task": {}})
                task = {"taskId": made["task"]["taskId"]}
                await client.reply(await client.expect("elicitation/create"), accepted)
                await client.request("tasks/result", task)
                await client.request("tasks/list")
            else:
                client.on("notifications/tasks", None)
                task = {"taskId": (await client.request("tools/call", params))["taskId"]}
                await client.ask("subscriptions/listen", {"notifications": {"taskIds": [task["taskId"]]}})
                await client.quiet()
                (key,) = (await client.request("tasks/get", task))["inputRequests"]
                await client.request("tasks/update", {**task, "inputResponses": {key: accepted}})
            await client.quiet()
            await client.request("tasks/get", task)
            await client.ask("tasks/cancel", task)
            await client.ask("tools/call", {"name": "nobody"})
            await client.notify("notifications/cancelled", {"requestId": 77})
            await client.quiet()
            return tuple(client.wire.frames)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def by_http(frames: tuple[Frame, ...]) -> list[Frame]:
    """The same, as if it had come by HTTP: an exchange for each request."""
    channels: dict[tuple[Side, Any], str] = {}
    found = []
    for number, frame in enumerate(frames):
        channel = f"POST {number}"
        if frame.is_response:
            channel = channels.get((frame.sender.other, frame.id), channel)
        channels[frame.sender, frame.id] = channel
        found.append(evolve(frame, channel=channel, verb="POST", headers={"content-type": "application/json"}))
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    found = copy.copy(value)
    found[path[0]] = replaced(value[path[0]], path[1:], new)
    return found


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "working", "completed", ID]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "taskId", "task"]), inner),
    max_leaves=4,
)


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_what_was_really_said_breaks_nothing(revision: str) -> None:
    frames = real_frames(revision)
    methods = {frame.method for frame in frames}
    assert {"tasks/get", "tasks/cancel", "notifications/cancelled"} <= methods
    assert methods & {"notifications/progress", "notifications/tasks"}
    assert judged(*frames, judges=SERVER) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data(), revision=st.sampled_from(["2025-11-25", "2026-07-28"]), http=st.booleans())
def test_no_rule_fails_whatever_is_said(data: st.DataObject, revision: str, http: bool) -> None:
    frames = real_frames(revision)
    said = by_http(frames) if http else list(frames)
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(said) - 1))
        path = data.draw(st.sampled_from(list(places(said[number].message))))
        said[number] = evolve(said[number], message=replaced(said[number].message, path, data.draw(ANY_JSON)))
    judged(*said)


@pytest.mark.parametrize("odd", [None, 1, True, "x", [], [[]], {}, {"a": 1}, [1, {}]], ids=repr)
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_no_rule_fails_at_an_odd_value_anywhere(revision: str, odd: Any) -> None:
    frames = real_frames(revision)
    for number, frame in enumerate(frames):
        for path in places(frame.message):
            said = list(frames)
            said[number] = evolve(frame, message=replaced(frame.message, path, odd))
            judged(*said)


def test_a_member_of_the_later_revision_makes_no_task_of_it() -> None:
    """Unknown members are nobody's fault: the revision that is spoken says which generation a task is of."""
    said = [*begun(), *call_of_old(token="p", ttlMs=5), progress(SERVER, "p", **related())]
    assert judged(*said) == []
