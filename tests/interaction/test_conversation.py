"""A client without a session: what each request says, how questions are answered, and what is kept of results."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from mcp_tasks import (
    CapabilityMissing,
    ConnectionClosed,
    Context,
    DeprecatedFeature,
    Limits,
    LocalProtocolError,
    Peer,
    Progress,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    Side,
)
from mcp_tasks.testing import Remote, scripted
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams, ElicitResult
from mcp_tasks.wire.content import TextContent

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
LEVEL = "io.modelcontextprotocol/logLevel"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASKS = "io.modelcontextprotocol/tasks"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"

CALL = {"name": "work", "arguments": {"n": 1}}
DONE = {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
MESSAGE = {"role": "user", "content": {"type": "text", "text": "hi"}}


def form(message: str = "Who?") -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": SCHEMA}}


def questions(**asked: Any) -> dict[str, Any]:
    return {"resultType": "input_required", "inputRequests": asked}


@asynccontextmanager
async def client(peer: Peer, **options: Any) -> AsyncIterator[Remote]:
    async with scripted(peer, side=Side.CLIENT, revision=NEW, **options) as remote:
        yield remote


@define
class Outcome:
    """What a call has come to."""

    result: Any = None
    failure: Exception | None = None
    over: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def run(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self.scope:
                self.result = await call()
        except Exception as failure:
            self.failure = failure
        finally:
            self.over.set()

    async def get(self) -> Any:
        with trio.fail_after(86_400):
            await self.over.wait()
        if self.failure is not None:
            raise self.failure
        return self.result


Begin = Callable[..., Outcome]


@pytest.fixture
def begin(nursery: trio.Nursery) -> Begin:
    """Calls something beside the test."""

    def start(call: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Outcome:
        outcome = Outcome()
        nursery.start_soon(outcome.run, lambda: call(*arguments, **options))
        return outcome

    return start


@pytest.fixture
def user(make_peer: MakePeer) -> Peer:
    """A peer whose user answers every form with what it says, in capitals."""
    return with_user(make_peer())


def with_user(peer: Peer) -> Peer:
    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        return {"name": params.message.upper()}

    return peer


def accepted(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


# --- what each request says -------------------------------------------------------------------------------------------


@requirement("C26-053", "C26-054", "C26-057", "C26-004", "C26-006", "X26-001", "X26-002", "X26-004", "X26-049")
async def test_each_request_says_on_what_terms_it_comes(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with client(make_peer("app", "3", title="The app")) as remote:
        connection = remote.connection
        assert connection is not None
        requests: list[tuple[str, Any]] = [
            ("tools/call", CALL),
            ("tools/list", None),
            ("prompts/get", {"name": "p"}),
            ("resources/read", {"uri": "a:b"}),
            (
                "completion/complete",
                {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "x", "value": ""}},
            ),
            ("tasks/get", {"taskId": "t"}),
            ("tasks/cancel", {"taskId": "t"}),
            ("tasks/update", {"taskId": "t", "inputResponses": {}}),
            ("com.example/extra", {"_meta": {"com.example/k": 1}}),
        ]
        ids = set()
        for method, params in requests:
            outcome = begin(connection.call, method, params)
            request = await remote.expect(method)
            ids.add(request["id"])
            given = {} if params is None else dict(params)
            meta = given.pop("_meta", {})
            assert {k: v for k, v in request["params"].items() if k != "_meta"} == given
            assert request["params"]["_meta"] == {
                VERSION: NEW,
                CAPABILITIES: {"extensions": {TASKS: {}}},
                CLIENT: {"name": "app", "version": "3", "title": "The app"},
                **meta,
            }
            await remote.refuse(request, -32000, "enough")
            with pytest.raises(RequestFailed, match="enough"):
                await outcome.get()
        assert len(ids) == len(requests)


@requirement("C26-426", "C26-428", "C26-453", "C26-454", "C26-455", "C26-493", "X26-130")
async def test_what_it_can_do_is_part_of_that(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    peer = make_peer()

    @peer.elicitation(url=True, task="optional")
    async def ask(ctx: Context, params: Any) -> Any:
        raise AssertionError

    @peer.sampling(tools=True, context=True, task="optional")
    async def sample(ctx: Context, params: Any) -> Any:
        raise AssertionError

    peer.roots = ["file:///here"]
    peer.extension("com.example/sums", {"k": 1})
    async with client(peer) as remote:
        begin(remote.connection.call, "tools/call", CALL)
        meta = (await remote.expect("tools/call"))["params"]["_meta"]
        assert meta[CAPABILITIES] == {
            "elicitation": {"form": {}, "url": {}},
            "sampling": {"tools": {}, "context": {}},
            "roots": {},
            "extensions": {"com.example/sums": {"k": 1}, TASKS: {}},
        }


@requirement("C26-239", "C26-240")
async def test_progress_of_two_calls_at_once(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        told: dict[int, list[Progress]] = {1: [], 2: []}
        tokens = []
        for number in told:
            begin(remote.connection.call, "tools/call", CALL, on_progress=told[number].append)
            request = await remote.expect("tools/call")
            tokens.append(request["params"]["_meta"]["progressToken"])
            assert request["params"]["_meta"][VERSION] == NEW
        assert tokens[0] != tokens[1]
        await remote.notify("notifications/progress", {"progressToken": tokens[1], "progress": 1, "message": "half"})
        await remote.notify("notifications/progress", {"progressToken": "other", "progress": 1})
        await remote.quiet()
        assert (told[1], [one.message for one in told[2]]) == ([], ["half"])


@requirement("C26-410", "C26-411", "C26-407")
async def test_the_level_of_logs_is_said_in_each_request_from_then_on(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    heard: list[Any] = []

    @peer.on("notifications/message")
    async def hear(connection: object, params: Any) -> None:
        heard.append((params.level, params.data))

    async with client(peer) as remote:
        connection = remote.connection
        levels: list[Any] = []
        for level in (None, "debug", "error"):
            if level is not None:
                with pytest.warns(DeprecatedFeature, match="logging"):
                    await connection.set_logging_level(level)
            assert remote.unread() == [], "nothing is sent for it"
            begin(connection.call, "tools/call", CALL)
            request = await remote.expect("tools/call")
            levels.append(request["params"]["_meta"].get(LEVEL))
            await remote.notify("notifications/message", {"level": "error", "data": level})
            await remote.reply(request, DONE)
        await remote.quiet()
        assert levels == [None, "debug", "error"]
        assert heard == [("error", None), ("error", "debug"), ("error", "error")]


@requirement("C26-069", "X26-123", "X26-127", "C26-155")
@pytest.mark.parametrize(
    "method",
    [
        "ping",
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    ],
)
async def test_what_there_is_no_more_is_not_sent(make_peer: MakePeer, method: str, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        with pytest.raises(LocalProtocolError, match=method):
            await remote.connection.call(method, {"uri": "a:b", "taskId": "t", "level": "info"})
        with pytest.raises(LocalProtocolError, match=method):
            async with remote.connection.start(method, {"taskId": "t"}):
                pass
        await remote.quiet()
        assert remote.unread() == []


@requirement("C26-155")
@pytest.mark.parametrize(
    "method",
    [
        "notifications/initialized",
        "notifications/roots/list_changed",
        "notifications/elicitation/complete",
        "notifications/tasks/status",
        "notifications/tasks",
        "notifications/progress",
        "notifications/message",
        "notifications/tools/list_changed",
        "notifications/subscriptions/acknowledged",
    ],
)
async def test_nor_are_notifications_that_no_client_sends(
    make_peer: MakePeer, method: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote:
        with pytest.raises(LocalProtocolError, match=method):
            await remote.connection.notify(method, {})
        await remote.quiet()
        assert remote.unread() == []


@requirement("X26-123", "X26-127")
async def test_verbs_of_sessions_say_so(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        connection = remote.connection
        with pytest.raises(LocalProtocolError):
            await connection.ping()
        with pytest.raises(LocalProtocolError):
            [task async for task in connection.list_tasks()]
        with pytest.raises(LocalProtocolError):
            await connection.await_task("t")
        with pytest.raises(LocalProtocolError):
            await connection.send_log("info", "x")
        assert remote.unread() == []


async def test_roots_that_change_are_told_to_nobody(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """Whoever needs them asks, and a request says that there are some."""
    peer = make_peer()
    peer.roots = ["file:///a"]
    async with client(peer) as remote:
        peer.roots = ["file:///b"]
        await remote.quiet()
        assert remote.unread() == []
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), questions(where={"method": "roots/list"}))
        retry = await remote.expect("tools/call")
        assert retry["params"]["inputResponses"] == {"where": {"roots": [{"uri": "file:///b"}]}}
        await remote.reply(retry, DONE)
        assert await outcome.get() == DONE


@requirement("C26-068")
@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("tools/call", "tools"),
        ("tools/list", "tools"),
        ("prompts/get", "prompts"),
        ("resources/read", "resources"),
        ("completion/complete", "completions"),
        ("tasks/get", TASKS),
        ("tasks/cancel", TASKS),
    ],
)
async def test_what_the_server_has_not_announced_is_not_sent(
    make_peer: MakePeer, method: str, needs: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer(), capabilities={}) as remote:
        with pytest.raises(CapabilityMissing, match=needs):
            await remote.connection.call(method, {"taskId": "t"})
        assert remote.unread() == []


@requirement("C26-107", "C26-113", "C26-114", "C26-122")
@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": form()["params"]},
        {"jsonrpc": "2.0", "id": 7, "method": "ping"},
        {"jsonrpc": "2.0", "id": 7, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 7, "method": "nonsense", "params": []},
        {"jsonrpc": "2.0", "id": 7},
    ],
    ids=str,
)
async def test_a_server_that_asks_by_a_request_gets_no_response(
    user: Peer, begin: Begin, message: Any, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        await remote.send(message)
        await remote.quiet()
        assert [one for one in remote.received if "method" not in one] == []
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), DONE)
        assert await outcome.get() == DONE


# --- questions --------------------------------------------------------------------------------------------------------


@requirement("C26-268", "C26-271", "C26-272", "C26-274", "C26-249", "C26-329", "C26-460")
@pytest.mark.parametrize(
    ("method", "params", "result"),
    [
        ("tools/call", CALL, DONE),
        ("prompts/get", {"name": "p", "arguments": {"x": "y"}}, {"messages": []}),
        ("resources/read", {"uri": "a:b"}, {"contents": []}),
    ],
)
async def test_the_answers_come_with_the_same_request_again(
    user: Peer, begin: Begin, method: str, params: Any, result: Any, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, method, params)
        first = await remote.expect(method)
        await remote.reply(first, questions(who=form()))
        second = await remote.expect(method)
        assert second["id"] != first["id"]
        assert second["params"] == {**first["params"], "inputResponses": {"who": accepted("WHO?")}}
        await remote.reply(second, result)
        assert await outcome.get() == result
        assert remote.unread() == []


@requirement("C26-268", "C26-250", "C26-266")
async def test_several_questions_are_put_side_by_side(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    asked: list[str] = []
    ready = {"elicit": trio.Event(), "sample": trio.Event()}

    @peer.elicitation
    async def ask(ctx: Context, params: Any) -> ElicitResult:
        asked.append(params.message)
        await ready["elicit"].wait()
        return ElicitResult(action="decline")

    @peer.sampling
    async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        asked.append("sample")
        await ready["sample"].wait()
        return CreateMessageResult(role="assistant", content=TextContent(text="hm"), model="m")

    peer.roots = ["file:///here"]
    async with client(peer) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        sampling = {"method": "sampling/createMessage", "params": {"messages": [MESSAGE], "maxTokens": 5}}
        wanted = questions(b=form("one"), s=sampling, a=form("two"), r={"method": "roots/list", "params": {}})
        await remote.reply(await remote.expect("tools/call"), wanted)
        await remote.quiet()
        assert sorted(asked) == ["one", "sample", "two"]
        for which in ("sample", "elicit"):
            assert remote.unread() == [], "not before all are answered"
            ready[which].set()
            await remote.quiet()
        retry = await remote.expect("tools/call")
        assert retry["params"]["inputResponses"] == {
            "b": {"action": "decline"},
            "s": {"role": "assistant", "content": {"type": "text", "text": "hm"}, "model": "m"},
            "a": {"action": "decline"},
            "r": {"roots": [{"uri": "file:///here"}]},
        }
        await remote.reply(retry, DONE)
        assert await outcome.get() == DONE


STATES = ["", " ", "eyJ4IjoxfQ==", '{"a": [1]}', 'é\u2028\\"\n\0', "\U0001f600", "x" * 100_000, "null"]


@requirement("C26-270")
@pytest.mark.parametrize("state", STATES, ids=lambda state: repr(state)[:20])
async def test_state_is_brought_back_as_it_is(user: Peer, begin: Begin, state: str, autojump_clock: MockClock) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        first = await remote.expect("tools/call")
        await remote.reply(first, {**questions(who=form()), "requestState": state})
        retry = await remote.expect("tools/call")
        assert retry["params"]["requestState"] == state
        assert retry["params"] == {
            **first["params"],
            "inputResponses": {"who": accepted("WHO?")},
            "requestState": state,
        }
        await remote.reply(retry, DONE)
        assert await outcome.get() == DONE


@requirement("C26-269", "C26-254")
@pytest.mark.parametrize("asked", [{}, {"inputRequests": {}}], ids=str)
async def test_state_alone_is_brought_back_at_once(
    make_peer: MakePeer, begin: Begin, asked: Any, autojump_clock: MockClock
) -> None:
    """A server that sheds load; there is nothing to ask, so that whoever has no user can do it too."""
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        first = await remote.expect("tools/call")
        await remote.reply(first, {"resultType": "input_required", "requestState": "later", **asked})
        retry = await remote.expect("tools/call")
        assert retry["id"] != first["id"]
        assert retry["params"] == {**first["params"], "requestState": "later"}
        await remote.reply(retry, DONE)
        assert await outcome.get() == DONE


@requirement("C26-267", "C26-271", "C26-273", "C26-274", "X26-044")
async def test_a_round_brings_its_own_answers_and_state_and_no_others(
    user: Peer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        request = first = await remote.expect("tools/call")
        rounds = [
            ({"a": form("a")}, "s1"),
            ({"b": form("b")}, None),
            ({"a": form("again")}, "s3"),
            ({}, "s4"),
            ({"c": form("c"), "d": form("d")}, None),
        ]
        ids = [request["id"]]
        for asked, state in rounds:
            answer: dict[str, Any] = {"resultType": "input_required"}
            answer |= {"inputRequests": asked} if asked else {}
            answer |= {} if state is None else {"requestState": state}
            await remote.reply(request, answer)
            request = await remote.expect("tools/call")
            ids.append(request["id"])
            expected = dict(first["params"])
            if asked:
                expected["inputResponses"] = {
                    key: accepted(one["params"]["message"].upper()) for key, one in asked.items()
                }
            if state is not None:
                expected["requestState"] = state
            assert request["params"] == expected
        await remote.reply(request, DONE)
        assert await outcome.get() == DONE
        assert len(set(ids)) == len(ids)


@requirement("C26-273")
async def test_calls_at_once_do_not_mix_what_they_bring(user: Peer, begin: Begin, autojump_clock: MockClock) -> None:
    async with client(user) as remote:
        outcomes = [begin(remote.connection.call, "tools/call", {"name": name}) for name in "abc"]
        requests = [await remote.expect("tools/call") for _ in outcomes]
        for request in requests:
            name = request["params"]["name"]
            await remote.reply(request, {**questions(**{name: form(name)}), "requestState": f"state of {name}"})
        for _ in outcomes:
            retry = await remote.expect("tools/call")
            name = retry["params"]["name"]
            assert retry["params"]["inputResponses"] == {name: accepted(name.upper())}
            assert retry["params"]["requestState"] == f"state of {name}"
            await remote.reply(retry, {**DONE, "structuredContent": {"name": name}})
        assert [(await one.get())["structuredContent"]["name"] for one in outcomes] == list("abc")


async def test_progress_in_each_round_comes_under_its_own_token(
    user: Peer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        told: list[Progress] = []
        outcome = begin(remote.connection.call, "tools/call", CALL, on_progress=told.append)
        tokens: list[Any] = []
        for answer in (questions(who=form()), DONE):
            request = await remote.expect("tools/call")
            for token in (*tokens, request["params"]["_meta"]["progressToken"]):
                await remote.notify("notifications/progress", {"progressToken": token, "progress": len(told) + 1})
            tokens.append(request["params"]["_meta"]["progressToken"])
            await remote.reply(request, answer)
        await outcome.get()
        assert len(set(tokens)) == 2
        assert len(told) == 2


@requirement("C26-267")
@pytest.mark.parametrize("rounds", [1, 3, 16])
async def test_a_server_that_asks_again_and_again(
    make_peer: MakePeer, begin: Begin, rounds: int, autojump_clock: MockClock
) -> None:
    peer = with_user(make_peer(limits=Limits(rounds=rounds)))
    async with client(peer) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        for _ in range(rounds + 1):
            await remote.reply(await remote.expect("tools/call"), questions(who=form()))
        with pytest.raises(RemoteProtocolError, match=f"{rounds} times"):
            await outcome.get()
        await remote.quiet()
        assert remote.unread() == []


@requirement("C26-265", "C26-256", "C26-431")
@pytest.mark.parametrize(
    "question",
    [
        {"method": "sampling/createMessage", "params": {"messages": [MESSAGE], "maxTokens": 5}},
        {"method": "roots/list"},
        {"method": "elicitation/create", "params": {"mode": "url", "message": "Pay", "url": "https://x.example"}},
        {"method": "tools/list"},
        {"method": "ping"},
        {"method": "com.example/ask", "params": {}},
        {"method": "elicitation/create", "params": {"message": "?"}},
        {"method": "elicitation/create", "params": {"message": 5, "requestedSchema": SCHEMA}},
        {"method": "elicitation/create"},
    ],
    ids=str,
)
async def test_a_question_that_is_not_for_us_is_not_answered(
    user: Peer, begin: Begin, question: Any, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), questions(who=form(), other=question))
        with pytest.raises(RemoteProtocolError, match="asks what it cannot"):
            await outcome.get()
        await remote.quiet()
        assert remote.unread() == []
        assert not remote.connection.closed


@requirement("C26-431")
@pytest.mark.parametrize("member", [{"tools": []}, {"toolChoice": {"mode": "auto"}}], ids=str)
async def test_sampling_with_tools_has_to_be_declared(
    make_peer: MakePeer, begin: Begin, member: Any, autojump_clock: MockClock
) -> None:
    peer = make_peer()

    @peer.sampling
    async def sample(ctx: Context, params: Any) -> Any:
        raise AssertionError

    async with client(peer) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        params = {"messages": [MESSAGE], "maxTokens": 5, **member}
        asked = questions(s={"method": "sampling/createMessage", "params": params})
        await remote.reply(await remote.expect("tools/call"), asked)
        with pytest.raises(RemoteProtocolError, match=r"sampling\.tools"):
            await outcome.get()
        assert remote.unread() == []


class OursError(Exception):
    """Something of the application's own."""


@requirement("C26-441", "C26-495", "C26-266")
@pytest.mark.parametrize("error", [OursError("no"), RequestRejected("the user said no"), KeyError("k")], ids=repr)
@pytest.mark.parametrize("alone", [True, False])
async def test_what_a_handler_raises_reaches_the_caller_as_it_is(
    make_peer: MakePeer, begin: Begin, error: Exception, alone: bool, autojump_clock: MockClock
) -> None:
    """No answer is sent, for there is no way to say so; whoever else is asked is stopped."""
    peer = make_peer()
    stopped = trio.Event()

    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        if params.message == "wait":
            try:
                await trio.sleep_forever()
            finally:
                stopped.set()
        raise error

    async with client(peer) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        asked = {"a": form()} if alone else {"w": form("wait"), "a": form()}
        await remote.reply(await remote.expect("tools/call"), questions(**asked))
        await outcome.over.wait()
        assert outcome.failure is error
        assert stopped.is_set() is not alone
        await remote.quiet()
        assert remote.unread() == []
        again = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), DONE)
        assert await again.get() == DONE


@requirement("C26-014", "C26-013")
@pytest.mark.parametrize("kind", ["partial", "COMPLETE", "", "com.example/other", None, 5, ["complete"], {}], ids=repr)
@pytest.mark.parametrize("method", ["tools/call", "tools/list", "tasks/get"])
async def test_an_unknown_kind_of_result_is_none(
    make_peer: MakePeer, begin: Begin, kind: Any, method: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call, method, {"name": "x", "taskId": "t"})
        await remote.reply(await remote.expect(method), {"resultType": kind, "content": [], "tools": []})
        with pytest.raises(RemoteProtocolError, match="resultType"):
            await outcome.get()
        assert not remote.connection.closed


@requirement("C26-015")
async def test_no_kind_of_result_at_all_means_a_complete_one(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call_tool, "work", {})
        await remote.reply(await remote.expect("tools/list"), {"tools": []})
        await remote.reply(await remote.expect("tools/call"), {"content": [{"type": "text", "text": "old"}]})
        assert (await outcome.get()).text == "old"


@requirement("C26-264", "C26-255", "C26-257")
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"inputRequests": []},
        {"inputRequests": {"a": None}},
        {"inputRequests": {"a": {"params": {}}}},
        {"inputRequests": {"a": {"method": 5}}},
        {"inputRequests": {"a": {"method": "roots/list", "params": []}}},
        {"requestState": 5},
        {"requestState": None},
        {"requestState": {"k": 1}},
    ],
    ids=str,
)
async def test_questions_that_are_none(user: Peer, begin: Begin, members: Any, autojump_clock: MockClock) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), {"resultType": "input_required", **members})
        with pytest.raises(RemoteProtocolError, match=r"tools/call: \$\.result"):
            await outcome.get()
        await remote.quiet()
        assert remote.unread() == []


@requirement("C26-253")
@pytest.mark.parametrize(
    "method", ["tools/list", "prompts/list", "completion/complete", "tasks/get", "tasks/update", "com.example/x"]
)
async def test_questions_from_where_none_can_come(
    user: Peer, begin: Begin, method: str, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, method, {"taskId": "t", "inputResponses": {}})
        await remote.reply(await remote.expect(method), {**questions(who=form()), "requestState": "s"})
        with pytest.raises(RemoteProtocolError, match=f"{method}.*questions"):
            await outcome.get()
        await remote.quiet()
        assert remote.unread() == []


async def test_an_answer_with_what_this_era_has_for_tasks_alone(
    user: Peer, begin: Begin, autojump_clock: MockClock
) -> None:
    """In a retry too an error is an error, with its code and data."""
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), questions(who=form()))
        await remote.refuse(await remote.expect("tools/call"), -32602, "wrong answer", {"k": 1})
        with pytest.raises(RequestFailed, match="wrong answer") as caught:
            await outcome.get()
        assert (caught.value.code, caught.value.data) == (-32602, {"k": 1})


# --- taking it back ---------------------------------------------------------------------------------------------------


@requirement("C26-125", "C26-222", "C26-228", "C26-237", "C26-224")
@pytest.mark.parametrize("round", [0, 1, 2])
async def test_whoever_stops_waiting_takes_back_the_latest_request(
    user: Peer, begin: Begin, round: int, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        for _ in range(round):
            await remote.reply(await remote.expect("tools/call"), questions(who=form()))
        latest = await remote.expect("tools/call")
        outcome.scope.cancel()
        cancelled = await remote.expect("notifications/cancelled")
        assert cancelled["params"]["requestId"] == latest["id"]
        assert "id" not in cancelled
        await remote.reply(latest, questions(who=form()))  # crossed it on the way
        await remote.quiet()
        assert remote.unread() == []
        assert outcome.failure is None


@requirement("C26-218", "C26-228")
async def test_whoever_stops_waiting_while_the_user_thinks_takes_back_nothing(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """The request has been answered, with a question; there is nothing under way."""
    peer = make_peer()
    stopped = trio.Event()

    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        try:
            await trio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError

    async def call() -> None:
        with trio.fail_after(10):
            await remote.connection.call("tools/call", CALL)

    async with client(peer) as remote:
        outcome = begin(call)
        await remote.reply(await remote.expect("tools/call"), questions(who=form()))
        with pytest.raises(trio.TooSlowError):
            await outcome.get()
        assert stopped.is_set()
        await trio.sleep(100)
        assert remote.unread() == []


async def test_a_server_that_leaves_while_the_user_thinks(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    thinking, go_on = trio.Event(), trio.Event()

    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        thinking.set()
        await go_on.wait()
        return {"name": "Ada"}

    async with client(peer) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.reply(await remote.expect("tools/call"), questions(who=form()))
        await thinking.wait()
        await remote.close()
        await remote.quiet()
        go_on.set()
        with pytest.raises(ConnectionClosed):
            await outcome.get()


# --- headers that no longer fit ---------------------------------------------------------------------------------------


@requirement("C26-197")
async def test_a_mismatch_of_headers_makes_it_learn_the_tools_and_ask_again(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """What has been kept of the list is not believed then."""
    async with client(make_peer()) as remote:
        listed = begin(listing, remote)
        await remote.reply(await remote.expect("tools/list"), {"tools": [], "ttlMs": 3_600_000, "cacheScope": "public"})
        assert await listed.get() == []
        outcome = begin(remote.connection.call, "tools/call", CALL)
        first = await remote.expect("tools/call")
        await remote.refuse(first, -32020, "there is no Mcp-Param-N")
        assert remote.unread("tools/call") == []
        await remote.reply(await remote.expect("tools/list"), {"tools": []})
        second = await remote.expect("tools/call")
        assert second["id"] != first["id"]
        assert second["params"] == first["params"]
        await remote.reply(second, DONE)
        assert await outcome.get() == DONE


async def listing(remote: Remote) -> list[str]:
    return [tool.name async for tool in remote.connection.list_tools()]


@requirement("C26-197")
async def test_once_and_not_for_ever(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call, "tools/call", CALL)
        await remote.refuse(await remote.expect("tools/call"), -32020, "no")
        await remote.refuse(await remote.expect("tools/list"), -32603, "no list either")
        await remote.refuse(await remote.expect("tools/call"), -32020, "still no", {"k": 1})
        with pytest.raises(RequestFailed, match="still no") as caught:
            await outcome.get()
        assert caught.value.code == -32020
        assert remote.unread() == []


@requirement("C26-197")
@pytest.mark.parametrize("method", ["prompts/get", "resources/read", "tools/list"])
async def test_elsewhere_there_is_nothing_to_learn(
    make_peer: MakePeer, begin: Begin, method: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call, method, {"name": "p", "uri": "a:b"})
        await remote.refuse(await remote.expect(method), -32020, "no")
        with pytest.raises(RequestFailed, match="no"):
            await outcome.get()
        assert remote.unread() == []


# --- what is kept -----------------------------------------------------------------------------------------------------


def kept(ttl: Any, *names: str, scope: str = "private") -> dict[str, Any]:
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    return {"resultType": "complete", "tools": tools, "ttlMs": ttl, "cacheScope": scope}


@define
class Kept:
    """Lists tools over and over."""

    remote: Remote
    begin: Begin
    asked: int = 0

    async def list(self, answer: Any = None) -> list[str] | None:
        """The names of the tools; if the server is asked, it gives this answer."""
        outcome = self.begin(listing, self.remote)
        await self.remote.quiet()
        if not outcome.over.is_set():
            assert answer is not None, "it should have been kept"
            self.asked += 1
            await self.remote.reply(await self.remote.expect("tools/list"), answer)
        found: list[str] = await outcome.get()
        return found


@requirement("C26-299", "C26-304", "C26-305", "C26-296")
@pytest.mark.parametrize("scope", ["private", "public"])
async def test_a_result_is_kept_until_it_is_stale(
    make_peer: MakePeer, begin: Begin, scope: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote:
        tools = Kept(remote, begin)
        assert await tools.list(kept(10_000, "a", scope=scope)) == ["a"]
        assert await tools.list() == ["a"]
        await trio.sleep(9.9)
        assert await tools.list() == ["a"]
        await trio.sleep(0.2)
        assert remote.unread() == [], "nobody wants it now"
        assert await tools.list(kept(10_000, "b", scope=scope)) == ["b"]
        assert await tools.list() == ["b"]
        assert tools.asked == 2


@requirement("C26-298", "C26-300", "C26-301")
@pytest.mark.parametrize("ttl", [0, -1, "60000", None, True, 1.5], ids=repr)
async def test_what_need_not_be_kept(make_peer: MakePeer, begin: Begin, ttl: Any, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        for name in "ab":
            outcome = begin(remote.connection.call, "tools/list")
            await remote.reply(await remote.expect("tools/list"), kept(ttl, name))
            assert (await outcome.get())["tools"][0]["name"] == name


@requirement("C26-296")
async def test_another_request_is_another_result(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        read = {"ttlMs": 60_000, "cacheScope": "private", "contents": []}
        for uri in ("a:1", "a:2"):
            outcome = begin(remote.connection.call, "resources/read", {"uri": uri})
            await remote.reply(await remote.expect("resources/read"), {**read, "_meta": {"of": uri}})
            await outcome.get()
        for uri in ("a:1", "a:2"):
            assert (await remote.connection.call("resources/read", {"uri": uri}))["_meta"] == {"of": uri}
        assert remote.unread() == []


async def test_what_is_kept_is_nobodys_to_change(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.call, "tools/list")
        await remote.reply(await remote.expect("tools/list"), kept(60_000, "a"))
        (await outcome.get())["tools"].clear()
        found = await remote.connection.call("tools/list")
        found["tools"].clear()
        assert [tool["name"] for tool in (await remote.connection.call("tools/list"))["tools"]] == ["a"]


@requirement("C26-296", "C26-050")
async def test_what_is_not_said_to_be_for_keeping_is_not_kept(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """A tool's result with hints of its own: it may have done something."""
    async with client(make_peer()) as remote:
        for _ in range(2):
            outcome = begin(remote.connection.call, "tools/call", CALL)
            await remote.reply(await remote.expect("tools/call"), {**DONE, "ttlMs": 60_000, "cacheScope": "public"})
            await outcome.get()


@requirement("C26-297", "C26-295")
@pytest.mark.parametrize("asked", [{"inputRequests": {"who": form()}}, {"requestState": "s"}], ids=str)
async def test_what_depends_on_answers_is_not_kept(
    user: Peer, begin: Begin, asked: Any, autojump_clock: MockClock
) -> None:
    async with client(user) as remote:
        result = {"contents": [], "ttlMs": 60_000, "cacheScope": "private"}
        for _ in range(2):
            outcome = begin(remote.connection.call, "resources/read", {"uri": "a:b"})
            await remote.reply(await remote.expect("resources/read"), {"resultType": "input_required", **asked})
            await remote.reply(await remote.expect("resources/read"), result)
            assert await outcome.get() == result
        assert remote.unread() == []


@asynccontextmanager
async def listening(remote: Remote, begin: Begin, **topics: Any) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """With a subscription; gives what tells something on it."""
    over = trio.Event()

    async def listen() -> None:
        async with remote.connection.listen(**topics):
            await over.wait()

    outcome = begin(listen)
    request = await remote.expect("subscriptions/listen")
    meta = {SUBSCRIPTION: request["id"]}

    async def tell(method: str, **params: Any) -> None:
        await remote.notify(method, {"_meta": meta, **params})
        await remote.quiet()

    await tell(ACKNOWLEDGED, notifications=request["params"]["notifications"])
    yield tell
    over.set()
    await outcome.get()


@requirement("C26-311")
@pytest.mark.parametrize(
    ("method", "member", "topic", "change"),
    [
        ("tools/list", "tools", "tools", "notifications/tools/list_changed"),
        ("prompts/list", "prompts", "prompts", "notifications/prompts/list_changed"),
        ("resources/list", "resources", "resources", "notifications/resources/list_changed"),
        ("resources/templates/list", "resourceTemplates", "resources", "notifications/resources/list_changed"),
    ],
)
async def test_a_change_that_is_told_makes_a_list_stale(
    make_peer: MakePeer, begin: Begin, method: str, member: str, topic: str, change: str, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote, listening(remote, begin, **{topic: True}) as tell:
        result = {member: [], "ttlMs": 60_000, "cacheScope": "private"}
        for _ in range(2):
            outcome = begin(remote.connection.call, method)
            await remote.reply(await remote.expect(method), result)
            assert await outcome.get() == result
            assert await remote.connection.call(method) == result
            assert remote.unread() == []
            await tell(change)


@requirement("C26-311")
@pytest.mark.parametrize(("uri", "stale"), [("note:a", True), ("note:a/part", True), ("note:b", False)])
async def test_a_resource_that_has_changed(
    make_peer: MakePeer, begin: Begin, uri: str, stale: bool, autojump_clock: MockClock
) -> None:
    async with client(make_peer()) as remote, listening(remote, begin, uris=["note:a"]) as tell:
        result = {"contents": [{"uri": "note:a", "text": "a"}], "ttlMs": 60_000, "cacheScope": "private"}
        outcome = begin(remote.connection.call, "resources/read", {"uri": "note:a"})
        await remote.reply(await remote.expect("resources/read"), result)
        await outcome.get()
        await tell("notifications/resources/updated", uri=uri)
        again = begin(remote.connection.call, "resources/read", {"uri": "note:a"})
        await remote.quiet()
        assert bool(remote.unread("resources/read")) is stale
        if stale:
            await remote.reply(await remote.expect("resources/read"), result)
        assert await again.get() == result


@requirement("C26-311")
async def test_a_change_while_it_is_asked_for(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    """The answer may be from before that, and is not kept."""
    async with client(make_peer()) as remote, listening(remote, begin, tools=True) as tell:
        tools = Kept(remote, begin)
        outcome = begin(listing, remote)
        request = await remote.expect("tools/list")
        await tell("notifications/tools/list_changed")
        await remote.reply(request, kept(60_000, "before"))
        assert await outcome.get() == ["before"]
        assert await tools.list(kept(60_000, "after")) == ["after"]
        assert await tools.list() == ["after"]


@requirement("C26-310")
async def test_what_one_connection_keeps_another_does_not_get(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    async with client(peer) as one, client(peer) as other:
        for remote, name in ((one, "for one"), (other, "for the other")):
            assert await Kept(remote, begin).list(kept(60_000, name, scope="public")) == [name]
        assert await Kept(one, begin).list() == ["for one"]


@pytest.mark.parametrize("limits", [{"cached_results": 2}, {"cached_bytes": 1500}], ids=str)
async def test_not_more_is_kept_than_there_is_room_for(
    make_peer: MakePeer, begin: Begin, limits: Any, autojump_clock: MockClock
) -> None:
    async with client(make_peer(limits=Limits(**limits))) as remote:
        fetched: list[str] = []

        async def read(name: str) -> None:
            outcome = begin(remote.connection.call, "resources/read", {"uri": f"note:{name}"})
            await remote.quiet()
            if remote.unread():
                fetched.append(name)
                contents = [{"uri": f"note:{name}", "text": "x" * 10}]
                result = {"contents": contents, "ttlMs": 60_000, "cacheScope": "private"}
                await remote.reply(await remote.expect("resources/read"), result)
            await outcome.get()

        for name in "ababcbca":
            await read(name)
        assert "".join(fetched) == "abca", "what was used last is kept"


async def test_nothing_is_kept_where_there_is_no_room(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with client(make_peer(limits=Limits(cached_results=0))) as remote:
        tools = Kept(remote, begin)
        for name in "abc":
            assert await tools.list(kept(60_000, name)) == [name]
        assert tools.asked == 3


@requirement("C26-029")
async def test_what_is_told_of_no_subscription_of_ours_is_told_all_the_same(
    make_peer: MakePeer, begin: Begin, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """A list that is said to have changed is stale, whoever was to hear it; nothing is answered."""
    caplog.set_level(logging.DEBUG, "mcp_tasks")
    async with client(make_peer()) as remote:
        tools = Kept(remote, begin)
        assert await tools.list(kept(60_000, "a")) == ["a"]
        await remote.notify("notifications/tools/list_changed", {"_meta": {SUBSCRIPTION: "nobody's"}})
        await remote.notify("notifications/resources/updated", {"uri": 5})
        await remote.notify("notifications/roots/list_changed")
        await remote.quiet()
        assert await tools.list(kept(0, "b")) == ["b"]
        assert remote.unread() == []


# --- plain answers ----------------------------------------------------------------------------------------------------


@requirement("C26-393", "C26-418", "C26-420", "C26-421", "C26-422")
@pytest.mark.parametrize("method", ["tools/list", "prompts/list"])
async def test_pages_of_any_size_under_any_cursor(
    make_peer: MakePeer, begin: Begin, method: str, autojump_clock: MockClock
) -> None:
    """An empty cursor is one like any other, and an empty page is not the last."""
    cursors = ["", " a ", 'é\u2028\\"', "null", None]
    sizes = [3, 0, 1, 7, 2]
    async with client(make_peer()) as remote:

        async def everything() -> list[str]:
            listed = remote.connection.list_tools() if method == "tools/list" else remote.connection.list_prompts()
            return [entry.name async for entry in listed]

        outcome = begin(everything)
        names: list[str] = []
        before: Any = None
        for cursor, size in zip(cursors, sizes, strict=True):
            request = await remote.expect(method)
            params = {name: value for name, value in request["params"].items() if name != "_meta"}
            assert params == ({} if not names else {"cursor": before})
            page = [f"{len(names) + n}" for n in range(size)]
            names += page
            entries = [{"name": name, "inputSchema": {"type": "object"}} for name in page]
            following = {} if cursor is None else {"nextCursor": cursor}
            await remote.reply(request, {method.partition("/")[0]: entries, **following})
            before = cursor
        assert await outcome.get() == names
        assert remote.unread() == []


@requirement("C26-022", "C26-026", "C26-374")
@pytest.mark.parametrize("code", [-32002, -32602, -32001, -32003, -32019])
async def test_an_error_is_what_the_server_says(
    make_peer: MakePeer, begin: Begin, code: int, autojump_clock: MockClock
) -> None:
    """Whatever an older server means by it: nothing is read into its number, and nothing is done about it."""
    async with client(make_peer()) as remote:
        outcome = begin(remote.connection.read_resource, "a:b")
        await remote.refuse(await remote.expect("resources/read"), code, "Resource not found", {"uri": "a:b"})
        with pytest.raises(RequestFailed, match="not found") as caught:
            await outcome.get()
        assert (caught.value.code, caught.value.data) == (code, {"uri": "a:b"})
        await trio.sleep(3600)
        assert remote.unread() == []


@requirement("C26-466", "C26-439", "C26-440")
async def test_answers_are_worded_as_results_are(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    """Content goes with an accepted form alone; any reason to stop may be given."""
    peer = make_peer()
    limits: list[Any] = []

    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> Any:
        return {"name": "Ada"} if params.message == "accept" else ElicitResult(action=params.message)  # type: ignore[arg-type]

    @peer.sampling
    async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        limits.append(params.max_tokens)
        return CreateMessageResult(role="assistant", content=TextContent(text="-"), model="m", stop_reason="bored")

    async with client(peer) as remote:
        begin(remote.connection.call, "tools/call", CALL)
        sampling = {"method": "sampling/createMessage", "params": {"messages": [MESSAGE], "maxTokens": 5}}
        asked = {message: form(message) for message in ("accept", "decline", "cancel")}
        await remote.reply(await remote.expect("tools/call"), questions(s=sampling, **asked))
        answers = (await remote.expect("tools/call"))["params"]["inputResponses"]
        assert answers.pop("s")["stopReason"] == "bored"
        assert answers == {"accept": accepted("Ada"), "decline": {"action": "decline"}, "cancel": {"action": "cancel"}}
        assert limits == [5]
