"""A client of tasks without a session: asking how they are, being told, answering what they ask, and letting go."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from mcp_tasks import (
    UNSET,
    CapabilityMissing,
    ConnectionClosed,
    Context,
    LocalProtocolError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    SavedTask,
    Side,
    TaskCancelled,
    TaskHandle,
)
from mcp_tasks.testing import Remote, scripted
from mcp_tasks.wire.client_features import ElicitFormParams

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW = "2026-07-28"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
CALL = {"name": "work", "arguments": {"n": 1}}
RESULT = {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def task(status: str = "working", **members: Any) -> dict[str, Any]:
    """A task as the script words it; a member of None is left out, unless it may be null."""
    found = {
        "taskId": "t-1",
        "status": status,
        "createdAt": "2026-08-01T07:00:00Z",
        "lastUpdatedAt": "2026-08-01T07:00:00Z",
        "ttlMs": 600_000,
        "pollIntervalMs": 1000,
        **members,
    }
    return {name: value for name, value in found.items() if value is not None or name == "ttlMs"}


def asking(**messages: str) -> dict[str, Any]:
    """A task with questions that are forms, by their keys."""
    forms = {
        key: {"method": "elicitation/create", "params": {"message": message, "requestedSchema": SCHEMA}}
        for key, message in messages.items()
    }
    return task("input_required", inputRequests=forms)


def accepted(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


COMPLETED = task("completed", result=RESULT)


class Server:
    """The script, as a server with one task."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        assert remote.connection is not None
        self.connection = remote.connection
        self.subscription: Any = None

    async def accept(self, created: Any = None) -> Any:
        """Wait for the call, and make a task of it."""
        call = await self.remote.expect("tools/call")
        assert "task" not in call["params"]
        await self.remote.reply(call, {"resultType": "task", **(task() if created is None else created)})
        return call

    async def polled(self, now: Any) -> float:
        """Wait until it is asked how the task is, and say so; returns when that was."""
        request = await self.remote.expect("tasks/get")
        when = trio.current_time()
        assert request["params"]["taskId"] == now["taskId"]
        await self.remote.reply(request, {"resultType": "complete", **now})
        return when

    async def listened(self, *, acknowledge: bool = True) -> Any:
        """Wait for the subscription; returns the request."""
        request = await self.remote.expect("subscriptions/listen")
        assert request["params"]["notifications"] == {"taskIds": ["t-1"]}
        self.subscription = request["id"]
        if acknowledge:
            await self.tell(ACKNOWLEDGED, {"notifications": {"taskIds": ["t-1"]}})
        return request

    async def push(self, now: Any) -> None:
        """Say how the task is, unasked."""
        await self.tell("notifications/tasks", now)
        await self.remote.quiet()

    async def tell(self, method: str, params: Any) -> None:
        await self.remote.notify(method, {"_meta": {SUBSCRIPTION: self.subscription}, **params})

    async def updated(self) -> Any:
        """Wait for answers, and acknowledge them; returns them."""
        request = await self.remote.expect("tasks/update")
        await self.remote.reply(request, {"resultType": "complete"})
        assert request["params"]["taskId"] == "t-1"
        return request["params"]["inputResponses"]

    async def cancelled(self) -> None:
        """Wait until the task is cancelled, and acknowledge it."""
        request = await self.remote.expect("tasks/cancel")
        assert {key: value for key, value in request["params"].items() if key != "_meta"} == {"taskId": "t-1"}
        await self.remote.reply(request, {"resultType": "complete"})

    async def finish(self, outcome: "Outcome", now: Any) -> None:
        """Say how the task is and take its being cancelled, until that outcome is there; now of None: there is none."""

        async def serve(method: str, result: Any) -> None:
            while True:
                request = await self.remote.expect(method)
                if now is None:
                    await self.remote.refuse(request, -32602, "Task not found")
                else:
                    await self.remote.reply(request, {"resultType": "complete", **result})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, "tasks/get", now)
            nursery.start_soon(serve, "tasks/cancel", {})
            with trio.fail_after(3600):
                await outcome.over.wait()
            nursery.cancel_scope.cancel()

    def count(self, method: str) -> int:
        """How many of a kind have come."""
        return len([one for one in self.remote.received if one.get("method") == method])

    async def nothing_more(self, *methods: str) -> None:
        """For an hour nothing of these methods is sent; of none, where none are named."""
        await trio.sleep(3600)
        left = self.remote.unread()
        assert [one for one in left if not methods or one["method"] in methods] == []


@asynccontextmanager
async def serving(peer: Peer, **options: Any) -> AsyncIterator[Server]:
    async with scripted(peer, side=Side.CLIENT, revision=NEW, **options) as remote:
        yield Server(remote)


@define
class Outcome:
    """What something that runs beside the test has come to."""

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


class User:
    """Answers forms: a message that ends in "?" at once, any other when the test says so."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.asked: list[str] = []
        self.stopped: list[str] = []
        self.ready: dict[str, trio.Event] = {}
        peer.elicitation(self.answer)

    async def answer(self, ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        self.asked.append(params.message)
        if not params.message.endswith("?"):
            try:
                await self.ready.setdefault(params.message, trio.Event()).wait()
            except trio.Cancelled:
                self.stopped.append(params.message)
                raise
        return {"name": params.message.upper()}


@pytest.fixture
def user(make_peer: MakePeer) -> User:
    return User(make_peer())


async def called(server: Server) -> Any:
    return await server.connection.call("tools/call", CALL)


# --- at what pace -----------------------------------------------------------------------------------------------------


@requirement("X26-025", "X26-024", "X26-040", "X26-047", "X26-049")
async def test_polls_keep_the_latest_pace(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept(task(pollIntervalMs=2000))
        times = [
            await server.polled(task(pollIntervalMs=2000, statusMessage="a")),
            await server.polled(task(pollIntervalMs=500, statusMessage="b")),
            await server.polled(task(pollIntervalMs=5000, statusMessage="c")),
            await server.polled(COMPLETED),
        ]
        assert times == pytest.approx([2, 4, 4.5, 9.5])
        assert await outcome.get() == RESULT
        await server.nothing_more("tasks/get", "tasks/cancel")


@requirement("X26-025", "C26-306")
async def test_polls_become_rarer_while_nothing_changes(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        begin(called, server)
        await server.accept()
        times = [0.0] + [await server.polled(task()) for _ in range(12)]
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses[0] == pytest.approx(1)
        assert pauses == sorted(pauses)
        assert pauses[-1] == pytest.approx(4), "four times the interval, at most"
        last = await server.polled(task(lastUpdatedAt="2026-08-01T08:00:00Z"))
        assert await server.polled(task()) - last == pytest.approx(1), "something has changed"


@requirement("X26-018", "X26-025")
@pytest.mark.parametrize(
    ("interval", "seconds"), [(None, 1), (0, 0.01), (1, 0.01), (250, 0.25), (60_000, 60), (10**9, 60), (10**400, 60)]
)
async def test_an_absurd_pace_is_bounded(
    make_peer: MakePeer, begin: Begin, interval: Any, seconds: float, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept(task(pollIntervalMs=interval, ttlMs=None))
        for n in range(5):
            assert await server.polled(task(pollIntervalMs=interval, statusMessage=str(n))) == pytest.approx(
                seconds * (n + 1)
            )
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("X26-039", "X26-037")
@pytest.mark.parametrize("status", ["completed", "input_required"])
async def test_a_task_that_begins_otherwise_is_looked_at_at_once(
    user: User, begin: Begin, status: str, autojump_clock: MockClock
) -> None:
    """The handle itself says neither what it asks nor what came of it."""
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept(task(status))
        if status == "input_required":
            assert await server.polled(asking(a="who?")) == 0
            assert await server.updated() == {"a": accepted("WHO?")}
        await server.polled(COMPLETED)
        assert trio.current_time() == 0
        assert await outcome.get() == RESULT


# --- being told -------------------------------------------------------------------------------------------------------


@requirement("X26-090", "X26-091", "X26-094", "X26-097")
async def test_what_is_told_need_not_be_asked(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened()
        assert await server.polled(task()) == 1, "what came before it listened, nobody has told"
        await trio.sleep(4)
        await server.push(task(statusMessage="half"))
        assert server.remote.unread("tasks/get") == []
        await trio.sleep(5)
        await server.push(COMPLETED)
        assert await outcome.get() == RESULT
        assert trio.current_time() == 10
        withdrawn = await server.remote.expect("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == server.subscription
        await server.nothing_more()


@requirement("X26-097", "X26-064")
async def test_it_is_asked_now_and_then_all_the_same(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """What was told may have been lost."""
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened()
        times = [await server.polled(task()), await server.polled(task()), await server.polled(COMPLETED)]
        assert times == pytest.approx([1, 9, 17])
        assert await outcome.get() == RESULT


@requirement("X26-025", "X26-097")
@pytest.mark.parametrize("code", [-32601, -32602, -32603, -32021])
async def test_a_server_that_does_not_tell_is_asked(
    make_peer: MakePeer, begin: Begin, code: int, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.remote.refuse(await server.listened(acknowledge=False), code, "no such thing")
        assert await server.polled(task(statusMessage="a")) == pytest.approx(1), "and not before it is time"
        assert await server.polled(task(statusMessage="b")) == pytest.approx(2)
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT
        await server.nothing_more()


@requirement("X26-098", "C26-284", "C26-285")
async def test_a_server_that_tells_of_other_things_is_asked(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened(acknowledge=False)
        await server.tell(ACKNOWLEDGED, {"notifications": {}})
        await server.polled(task(statusMessage="a"))
        before = trio.current_time()
        assert await server.polled(task(statusMessage="b")) - before == pytest.approx(1)
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("C26-291", "X26-064")
@pytest.mark.parametrize("how", ["answer", "cancelled"])
async def test_a_server_that_stops_telling_is_asked_and_listened_to_again(
    make_peer: MakePeer, begin: Begin, how: str, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        request = await server.listened()
        await server.polled(task())
        await trio.sleep(2)
        if how == "answer":
            meta = {"_meta": {SUBSCRIPTION: server.subscription}}
            await server.remote.reply(request, {"resultType": "complete", **meta})
        else:
            await server.remote.notify("notifications/cancelled", {"requestId": request["id"]})
        assert await server.polled(task()) == pytest.approx(3), "what it missed, nobody has told"
        again = await server.listened()
        assert again["id"] != request["id"]
        assert trio.current_time() == pytest.approx(3.1)
        await server.polled(task())
        await server.push(COMPLETED)
        assert await outcome.get() == RESULT
        assert server.remote.unread("tasks/get") == []


@requirement("X26-025", "C26-306")
async def test_a_server_that_never_tells_for_long_is_not_pestered(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """It agrees, and ends it at once, each time: the pauses grow, and so do those between the polls."""
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()

        async def be_fickle() -> None:
            while True:
                request = await server.listened()
                await server.remote.reply(request, {"resultType": "complete"})

        listens: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_fickle)

            async def be_asked() -> None:
                while True:
                    listens.append(await server.polled(task()))

            nursery.start_soon(be_asked)
            await trio.sleep(600)
            nursery.cancel_scope.cancel()
        asked = [one for one in server.remote.received if one["method"] == "subscriptions/listen"]
        assert len(asked) < 25
        assert len(listens) < 600 + 25
        await server.remote.quiet()
        for request in server.remote.unread("tasks/get"):
            await server.remote.reply(request, {"resultType": "complete", **COMPLETED})
        if not outcome.over.is_set():
            await server.polled(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("X26-096", "X26-095")
async def test_what_is_told_of_other_tasks_is_not_taken_for_this_one(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened()
        await server.polled(task())
        await server.push({**COMPLETED, "taskId": "t-2"})
        assert not outcome.over.is_set()
        await server.push({name: value for name, value in COMPLETED.items() if name != "ttlMs"})  # no task at all
        assert not outcome.over.is_set()
        await server.push(COMPLETED)
        assert await outcome.get() == RESULT


async def test_handlers_are_told_as_well(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    peer = make_peer()
    told: list[Any] = []

    @peer.on("notifications/tasks")
    async def tell(connection: object, changed: Any) -> None:
        told.append((changed.task_id, changed.status.value))

    async with serving(peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened()
        await server.polled(task())
        await server.push(task(statusMessage="half"))
        await server.push(COMPLETED)
        await outcome.get()
    assert told == [("t-1", "working"), ("t-1", "completed")]


# --- what it asks -----------------------------------------------------------------------------------------------------


@requirement("X26-030", "X26-031", "X26-060", "X26-061", "X26-062", "X26-066", "X26-075")
async def test_a_question_is_put_once_however_often_it_is_seen(
    user: User, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="who?"))
        assert await server.updated() == {"a": accepted("WHO?")}
        for _ in range(3):
            await server.polled(asking(a="who?"))  # it has not got to it yet (X26-073)
        await server.polled(asking(a="who?", b="where?"))
        assert await server.updated() == {"b": accepted("WHERE?")}
        await server.polled(task())
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT
        assert user.asked == ["who?", "where?"]
        await server.nothing_more("tasks/update")


@requirement("X26-063", "X26-066", "X26-079")
async def test_answers_go_as_they_come(user: User, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(slow="slow", quick="quick?", later="later"))
        assert await server.updated() == {"quick": accepted("QUICK?")}
        await server.polled(asking(slow="slow", later="later"))
        await server.polled(asking(slow="slow", later="later"))
        assert sorted(user.asked) == ["later", "quick?", "slow"]
        for name in ("later", "slow"):
            user.ready[name].set()
            assert await server.updated() == {name: accepted(name.upper())}
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("X26-031", "X26-064", "X26-094")
async def test_a_question_that_is_told_is_answered_at_once(user: User, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.listened()
        await server.polled(task())
        await trio.sleep(2)
        await server.push(asking(a="who?"))
        assert await server.updated() == {"a": accepted("WHO?")}
        assert await server.polled(task()) == 3, "at once"
        await server.push(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("X26-061", "X26-076")
async def test_a_question_that_is_withdrawn_is_not_answered(
    user: User, begin: Begin, autojump_clock: MockClock
) -> None:
    """The user is not bothered with it any longer."""
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="never mind", b="slow"))
        await server.polled(asking(b="slow"))
        await server.remote.quiet()
        assert user.stopped == ["never mind"]
        user.ready["slow"].set()
        assert await server.updated() == {"b": accepted("SLOW")}
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT
        await server.nothing_more("tasks/update")


@requirement("X26-044", "X26-045")
async def test_keys_from_before_it_was_a_task_may_come_again(
    user: User, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        asked = asking(a="before?")["inputRequests"]
        first = await server.remote.expect("tools/call")
        await server.remote.reply(first, {"resultType": "input_required", "inputRequests": asked, "requestState": "s"})
        second = await server.accept()
        assert second["params"]["inputResponses"] == {"a": accepted("BEFORE?")}
        await server.polled(asking(a="within?"))
        assert await server.updated() == {"a": accepted("WITHIN?")}
        await server.polled(COMPLETED)
        assert await outcome.get() == RESULT


@requirement("X26-063", "X26-073", "X26-075")
async def test_an_answer_that_was_not_taken_is_sent_again(user: User, begin: Begin, autojump_clock: MockClock) -> None:
    """For as long as the task waits for it; the user is not asked again."""
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="who?"))
        for _ in range(3):
            await server.remote.refuse(await server.remote.expect("tasks/update"), -32603, "not now")
            while not server.remote.unread("tasks/update"):
                await server.polled(asking(a="who?"))
                await server.remote.quiet()
        assert await server.updated() == {"a": accepted("WHO?")}
        await server.finish(outcome, COMPLETED)
        assert await outcome.get() == RESULT
        assert user.asked == ["who?"]


@requirement("X26-075", "X26-076")
async def test_an_answer_that_had_arrived_after_all_is_not(user: User, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="who?"))
        await server.remote.refuse(await server.remote.expect("tasks/update"), -32603, "oops")
        for _ in range(3):
            await server.polled(task())
        await server.finish(outcome, COMPLETED)
        assert await outcome.get() == RESULT
        await server.nothing_more("tasks/update")


@requirement("X26-074")
@pytest.mark.parametrize("code", [-32602, -32603, -32000])
async def test_an_answer_that_is_never_taken_is_the_callers_to_know(
    user: User, begin: Begin, code: int, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="who?"))

        async def refuse() -> None:
            while True:
                request = await server.remote.expect("tasks/update")
                await server.remote.refuse(request, code, "that does not fit", {"k": 1})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            await server.finish(outcome, asking(a="who?"))
            nursery.cancel_scope.cancel()
        with pytest.raises(RequestFailed, match="does not fit") as caught:
            await outcome.get()
        assert server.count("tasks/cancel") == 1
        assert (caught.value.code, caught.value.data) == (code, {"k": 1})
        assert user.asked == ["who?"]


class OursError(Exception):
    """Something of the application's own."""


@requirement("C26-441", "X26-065")
@pytest.mark.parametrize("error", [OursError("no"), RequestRejected("the user said no")], ids=repr)
async def test_what_a_handler_raises_reaches_the_caller_and_ends_the_task(
    make_peer: MakePeer, begin: Begin, error: Exception, autojump_clock: MockClock
) -> None:
    peer = make_peer()

    @peer.elicitation
    async def ask(ctx: Context, params: ElicitFormParams) -> dict[str, Any]:
        raise error

    async with serving(peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(asking(a="who?"))
        await server.finish(outcome, asking(a="who?"))
        assert outcome.failure is error
        assert server.count("tasks/cancel") == 1
        assert server.count("tasks/update") == 0
        await server.nothing_more("tasks/update", "tasks/get", "tasks/cancel")


@requirement("X26-070", "X26-065")
@pytest.mark.parametrize(
    "question",
    [
        {"method": "roots/list"},
        {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
        {"method": "elicitation/create", "params": {"mode": "url", "message": "x", "url": "https://x.example"}},
        {"method": "tools/list"},
    ],
    ids=str,
)
async def test_a_task_may_not_ask_what_we_have_not_declared(
    user: User, begin: Begin, question: Any, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.finish(outcome, task("input_required", inputRequests={"a": question}))
        assert server.count("tasks/cancel") == 1
        with pytest.raises(RemoteProtocolError, match="asks what it cannot"):
            await outcome.get()
        await server.nothing_more("tasks/update")


# --- how it ends ------------------------------------------------------------------------------------------------------


@requirement("X26-009", "X26-028", "X26-033", "X26-113", "X26-115")
@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        {"content": []},
        {"content": [], "isError": True},
        {"resultType": "complete", "content": [], "structuredContent": None, "_meta": {"k": 1}},
    ],
    ids=str,
)
async def test_a_result_is_what_a_plain_call_would_have_given(
    make_peer: MakePeer, begin: Begin, result: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(task("completed", result=result))
        assert await outcome.get() == result


@requirement("X26-034", "X26-056", "X26-112", "X26-114")
@pytest.mark.parametrize("data", [{}, {"data": {"k": [1]}}, {"data": None}], ids=str)
@pytest.mark.parametrize("pushed", [True, False])
async def test_a_failure_is_what_a_plain_call_would_have_raised(
    make_peer: MakePeer, begin: Begin, data: Any, pushed: bool, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        failed = task("failed", error={"code": -32002, "message": "gone", **data}, statusMessage="it failed")
        if pushed:
            await server.listened()
            await server.polled(task())
            await server.push(failed)
        else:
            await server.polled(failed)
        with pytest.raises(RequestFailed, match="gone") as caught:
            await outcome.get()
        assert caught.value.code == -32002
        assert ("data" in data) == (caught.value.data == data.get("data", "nothing"))
        await server.nothing_more("tasks/get", "tasks/cancel")


@requirement("X26-055")
@pytest.mark.parametrize("message", [None, "out of money"])
async def test_a_task_that_was_cancelled_there(
    make_peer: MakePeer, begin: Begin, message: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(task("cancelled", statusMessage=message))
        with pytest.raises(TaskCancelled, match="cancelled" if message is None else message) as caught:
            await outcome.get()
        assert caught.value.task_id == "t-1"
        await server.nothing_more("tasks/get", "tasks/cancel")


@requirement("X26-105", "X26-109")
async def test_a_task_that_is_gone(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.finish(outcome, None)
        with pytest.raises(RequestFailed, match="not found") as caught:
            await outcome.get()
        assert caught.value.code == -32602
        await server.nothing_more("tasks/get", "tasks/cancel")


@requirement("X26-032", "X26-034")
@pytest.mark.parametrize(
    "wrong",
    [
        task("completed"),
        task("completed", error={"code": 1, "message": "x"}),
        task("completed", result=[]),
        task("failed"),
        task("failed", result=RESULT),
        task("failed", error={"code": "1", "message": "x"}),
        task("failed", error={"code": 1}),
        task("failed", error="no"),
        task("submitted"),
        task(taskId="t-2"),
        {"taskId": "t-1", "status": "working"},
        task("input_required", inputRequests=[]),
        {},
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_a_fault_of_the_server(
    user: User, begin: Begin, wrong: Any, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.finish(outcome, wrong)
        with pytest.raises(RemoteProtocolError, match="task"):
            await outcome.get()
        assert not server.connection.closed


@requirement("X26-016", "X26-038", "X26-018", "X26-020", "X26-022")
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"task": task()},
        {**task(), "taskId": 5},
        {**task(), "status": "submitted"},
        {**task(), "ttlMs": "600"},
        {name: value for name, value in task().items() if name != "ttlMs"},
        {name: value for name, value in task().items() if name != "createdAt"},
    ],
    ids=str,
)
async def test_a_new_task_that_is_none_is_a_fault_of_the_server(
    make_peer: MakePeer, begin: Begin, members: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.remote.reply(await server.remote.expect("tools/call"), {"resultType": "task", **members})
        with pytest.raises(RemoteProtocolError, match="new task"):
            await outcome.get()


@requirement("X26-010", "X26-014")
@pytest.mark.parametrize("how", ["call", "start"])
@pytest.mark.parametrize(
    "method", ["tools/list", "prompts/get", "resources/read", "completion/complete", "tasks/get", "com.example/work"]
)
async def test_only_calls_of_tools_are_answered_with_a_task(
    make_peer: MakePeer, begin: Begin, method: str, how: str, autojump_clock: MockClock
) -> None:
    async def start(method: str, params: Any) -> None:
        async with server.connection.start(method, params):
            pass

    async with serving(make_peer()) as server:
        outcome = begin(server.connection.call if how == "call" else start, method, {"taskId": "t-1"})
        request = await server.remote.expect(method)
        await server.remote.reply(request, {"resultType": "task", **task(), "ttlMs": 60_000, "tools": []})
        with pytest.raises(RemoteProtocolError, match=f"{method}.*task"):
            await outcome.get()
        await server.nothing_more("tasks/get")


@requirement("C26-013", "X26-003")
async def test_nor_by_a_server_that_has_not_said_that_it_has_tasks(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer(), capabilities={"tools": {}}) as server:
        outcome = begin(called, server)
        await server.accept()
        with pytest.raises(RemoteProtocolError, match="task"):
            await outcome.get()
        await server.nothing_more()


@requirement("X26-036")
@pytest.mark.parametrize("seed", ["completed", "failed", "cancelled"])
@pytest.mark.parametrize("now", ["working", "completed", "failed", "cancelled"])
async def test_what_is_over_stays_as_it_is(
    make_peer: MakePeer, begin: Begin, seed: str, now: str, autojump_clock: MockClock
) -> None:
    outcomes = {"completed": {"result": RESULT}, "failed": {"error": {"code": -7, "message": "no"}}}
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept(task(seed))
        await server.polled(task(now, **outcomes.get(now, {})))
        await server.finish(outcome, task(now, **outcomes.get(now, {})))
        if seed == "cancelled":
            assert isinstance(outcome.failure, TaskCancelled)
        elif seed == now:
            assert not isinstance(outcome.failure, RemoteProtocolError)
        else:
            assert isinstance(outcome.failure, RemoteProtocolError)
            assert "final" in str(outcome.failure)


@requirement("X26-036")
async def test_what_is_told_after_the_end_changes_nothing(
    make_peer: MakePeer, begin: Begin, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING, "mcp_tasks")
    async with serving(make_peer()) as server, using(server, begin) as handle:
        results = begin(handle.result)
        await server.listened()
        await server.polled(task())
        await server.push(COMPLETED)
        assert await results.get() == RESULT
        await server.push(task("failed", error={"code": 1, "message": "x"}))
        await server.push(task())
        assert handle.task.status.value == "completed"
        assert await handle.result() == RESULT
        looking = begin(handle.status)
        await server.polled(task("cancelled"))
        with pytest.raises(RemoteProtocolError, match="final"):
            await looking.get()


async def test_a_connection_that_ends(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(task())
        await server.remote.close()
        with pytest.raises(ConnectionClosed):
            await outcome.get()


# --- what is hidden, and what is not --------------------------------------------------------------------------------


@requirement("X26-009", "X26-006", "X26-007", "X26-133")
@pytest.mark.parametrize("wish", [None, True, False])
async def test_whoever_calls_a_tool_need_not_know(
    user: User, begin: Begin, wish: Any, autojump_clock: MockClock
) -> None:
    async with serving(user.peer) as server:
        outcome = begin(server.connection.call_tool, "work", {"n": 1}, task=wish, ttl=60)
        listed = await server.remote.expect("tools/list")
        output = {"type": "object", "properties": {"x": {"type": "integer"}}}
        tool = {"name": "work", "inputSchema": {"type": "object"}, "outputSchema": output}
        await server.remote.reply(listed, {"tools": [tool], "ttlMs": 0, "cacheScope": "private"})
        call = await server.accept()
        assert call["params"].keys() == {"name", "arguments", "_meta"}
        await server.polled(asking(a="who?"))
        assert await server.updated() == {"a": accepted("WHO?")}
        result = {"content": [{"type": "text", "text": "1"}], "structuredContent": {"x": 1}}
        await server.polled(task("completed", result=result))
        found = await outcome.get()
        assert (found.text, found.structured_content, found.is_error) == ("1", {"x": 1}, UNSET)


@requirement("X26-091", "X26-003")
async def test_a_wish_for_a_task_is_refused_where_there_can_be_none(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer(), capabilities={"tools": {}}) as server:
        outcome = begin(server.connection.call_tool, "work", {}, task=True)
        await server.remote.reply(await server.remote.expect("tools/list"), {"tools": []})
        with pytest.raises(CapabilityMissing):
            await outcome.get()
        assert server.remote.unread() == []


@asynccontextmanager
async def using(server: Server, begin: Begin, *, cancels: bool = False, **options: Any) -> AsyncIterator[TaskHandle]:
    """A handle within its block; if leaving it cancels the task, that is acknowledged."""
    accepting = begin(server.accept)
    async with trio.open_nursery() as nursery, server.connection.start("tools/call", CALL, **options) as handle:
        call = await accepting.get()
        assert call["params"].keys() == {"name", "arguments", "_meta"}
        yield handle
        if cancels:
            nursery.start_soon(server.cancelled)
    await server.remote.quiet()


@requirement("X26-006", "X26-134")
async def test_its_changes_one_by_one(user: User, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(user.peer) as server, using(server, begin, ttl=60) as handle:
        seen: list[tuple[float, str, Any]] = []

        async def watch() -> None:
            async for now in handle.updates():
                seen.append((trio.current_time(), now.status.value, now.status_message or None))

        watching = begin(watch)
        await server.polled(task())
        await server.polled(task(statusMessage="half"))
        await server.polled(asking(a="who?"))
        await server.updated()
        await server.polled(task(statusMessage="half"))
        await server.polled(task("completed", result=RESULT, lastUpdatedAt="2026-08-01T08:00:00Z"))
        await watching.get()
        assert [(status, said) for _, status, said in seen] == [
            ("working", None),
            ("working", "half"),
            ("input_required", None),
            ("working", "half"),
            ("completed", None),
        ]
        assert handle.settled
        assert await handle.result() == RESULT
        assert (await handle.value()).text == "done"
        assert [now.status.value async for now in handle.updates()] == ["completed"]
        await server.nothing_more("tasks/get", "tasks/update", "tasks/cancel")


async def test_a_failure_ends_the_changes(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    """A task that fails has changed as any other does; one that cannot be looked at any more is an error."""
    async with serving(make_peer()) as server, using(server, begin, cancels=True) as handle:

        async def watch() -> list[str]:
            return [now.status.value async for now in handle.updates()]

        watching = begin(watch)
        await server.remote.refuse(await server.remote.expect("tasks/get"), -32603, "oops")
        with pytest.raises(RequestFailed, match="oops"):
            await watching.get()


@requirement("X26-007")
async def test_a_call_that_was_no_task(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async def start() -> Any:
        async with server.connection.start("tools/call", CALL, ttl=60) as handle:
            assert handle.task is None
            assert handle.settled
            assert [now async for now in handle.updates()] == []
            return await handle.result()

    async with serving(make_peer()) as server:
        outcome = begin(start)
        await server.remote.reply(await server.remote.expect("tools/call"), RESULT)
        assert await outcome.get() == RESULT
        await server.nothing_more()


async def test_several_may_wait_for_one_result(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server, using(server, begin) as handle:
        waiting = [begin(handle.result) for _ in range(3)]
        await server.remote.quiet()
        waiting[0].scope.cancel()
        await server.polled(COMPLETED)
        assert [await one.get() for one in waiting[1:]] == [RESULT, RESULT]
        assert server.remote.unread("tasks/cancel") == []


async def test_two_tasks_at_once(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        outcomes = []
        for id in ("t-1", "t-2"):
            outcomes.append(begin(called, server))
            await server.accept(task(taskId=id))
        for _ in outcomes:
            request = await server.remote.expect("tasks/get")
            id = request["params"]["taskId"]
            result = {"content": [], "structuredContent": {"id": id}}
            await server.remote.reply(request, task("completed", taskId=id, result=result))
        assert [(await one.get())["structuredContent"] for one in outcomes] == [{"id": "t-1"}, {"id": "t-2"}]


@requirement("X26-049")
async def test_looking_at_a_task_by_its_id(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server:
        looking = begin(server.connection.get_task, "t-1")
        await server.polled(asking(a="who?"))
        assert (await looking.get()).status.value == "input_required"
        cancelling = begin(server.connection.cancel_task, "t-1")
        await server.cancelled()
        await server.polled(task("completed", result=RESULT))
        assert (await cancelling.get()).status.value == "completed"
        await server.nothing_more()


# --- letting go -------------------------------------------------------------------------------------------------------


@requirement("X26-080", "X26-088", "X26-089", "X26-047")
@pytest.mark.parametrize("waits", ["result", "updates", None])
async def test_leaving_early_cancels_the_task_there(
    make_peer: MakePeer, begin: Begin, waits: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        async with using(server, begin, cancels=True) as handle:
            if waits is not None:
                waiting = begin(handle.result if waits == "result" else partial(_last, handle))
                await server.listened()
                await server.polled(task())
        withdrawn = [one["params"]["requestId"] for one in server.remote.unread("notifications/cancelled")]
        assert withdrawn == ([server.subscription] if waits else []), "that is the subscription, and not the task"
        if waits is not None:  # somebody else, who still wants to know
            await server.finish(waiting, task("cancelled"))
            if waits == "result":
                assert isinstance(waiting.failure, TaskCancelled)
            else:
                assert waiting.result.status.value == "cancelled"
        await server.nothing_more("tasks/cancel", "tasks/get")


async def _last(handle: TaskHandle) -> Any:
    return [now async for now in handle.updates()][-1]


@requirement("X26-080", "X26-089")
async def test_a_call_that_is_given_up_cancels_its_task(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        call = await server.accept()
        await server.polled(task())
        outcome.scope.cancel()
        await server.cancelled()
        await outcome.over.wait()
        withdrawn = [one["params"]["requestId"] for one in server.remote.unread("notifications/cancelled")]
        assert call["id"] not in withdrawn
        await server.nothing_more("tasks/cancel", "tasks/get")


async def test_a_server_that_does_not_answer_holds_nobody_up(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        await server.accept()
        await server.polled(task())
        outcome.scope.cancel()
        await outcome.over.wait()
        assert trio.current_time() == pytest.approx(6), "five seconds, and that is it"


@requirement("X26-085", "X26-086")
async def test_cancelling_is_a_wish(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as server, using(server, begin) as handle:
        cancelling = begin(handle.cancel)
        await server.cancelled()
        await server.polled(task(statusMessage="stopping"))
        assert (await cancelling.get()).status.value == "working"
        waiting = begin(handle.result)
        await server.polled(COMPLETED)
        assert await waiting.get() == RESULT


@requirement("X26-055", "X26-086")
async def test_a_task_that_is_cancelled_while_its_result_is_waited_for(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server, using(server, begin) as handle:
        waiting = begin(handle.result)
        await server.remote.quiet()
        cancelling = begin(handle.cancel)
        await server.cancelled()
        await server.polled(task("cancelled"))
        assert (await cancelling.get()).status.value == "cancelled"
        await server.remote.quiet()
        if server.remote.unread("tasks/get"):
            await server.polled(task("cancelled"))
        with pytest.raises(TaskCancelled):
            await waiting.get()


@requirement("X26-048", "X26-066", "X26-075")
async def test_a_task_that_is_taken_up_elsewhere(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    """What has been answered is not asked again there."""
    first, second = User(make_peer("first")), User(make_peer("second"))
    async with serving(first.peer) as server:
        async with using(server, begin) as handle:
            waiting = begin(handle.result)
            await server.polled(asking(a="who?", b="slow"))
            assert await server.updated() == {"a": accepted("WHO?")}
            saved = handle.detach()
            waiting.scope.cancel()
        assert sorted(first.asked) == ["slow", "who?"]
        await server.nothing_more("tasks/cancel")
    assert saved.answered == ("a",)
    kept = SavedTask(**json.loads(json.dumps(attrs.asdict(saved))))
    async with serving(second.peer) as server:

        async def take_up() -> Any:
            async with server.connection.resume(kept) as handle:
                assert handle.id == "t-1"
                return await handle.value()

        outcome = begin(take_up)
        await server.polled(asking(a="who?", b="where?"))
        assert await server.updated() == {"b": accepted("WHERE?")}
        await server.polled(COMPLETED)
        assert (await outcome.get()).text == "done"
        assert second.asked == ["where?"]
        await server.nothing_more("tasks/cancel")


@requirement("C26-341")
async def test_a_task_is_not_taken_to_somebody_else(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        saved = SavedTask("other 1", NEW, "t-1", "tools/call")
        with pytest.raises(LocalProtocolError, match="other 1"):
            async with server.connection.resume(saved):
                pass
        assert server.remote.unread() == []


@requirement("X26-105", "X26-109")
async def test_a_task_that_is_gone_cannot_be_taken_up(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:

        async def take_up() -> None:
            async with server.connection.resume(SavedTask("script 0", NEW, "t-1", "tools/call")):
                pass

        outcome = begin(take_up)
        await server.remote.refuse(await server.remote.expect("tasks/get"), -32602, "Task not found")
        with pytest.raises(RequestFailed, match="not found"):
            await outcome.get()
        await server.nothing_more()


@requirement("X26-080", "C26-233", "C26-222")
@pytest.mark.parametrize("how", ["call", "start", "call_tool", "round"])
async def test_a_task_that_comes_too_late_is_cancelled(
    user: User, begin: Begin, how: str, autojump_clock: MockClock
) -> None:
    """The call was taken back before the answer came, so that nobody knows of the task."""

    async def start() -> None:
        async with server.connection.start("tools/call", CALL):
            pass

    async with serving(user.peer) as server:
        outcome = begin(
            {"start": start, "call_tool": partial(server.connection.call_tool, "work")}.get(
                how, partial(called, server)
            )
        )
        if how == "call_tool":
            await server.remote.reply(await server.remote.expect("tools/list"), {"tools": []})
        if how == "round":
            asked = {"resultType": "input_required", "inputRequests": asking(a="who?")["inputRequests"]}
            await server.remote.reply(await server.remote.expect("tools/call"), asked)
        call = await server.remote.expect("tools/call")
        outcome.scope.cancel()
        withdrawn = await server.remote.expect("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == call["id"]
        await server.remote.reply(call, {"resultType": "task", **task()})
        await server.cancelled()
        await server.nothing_more()


@requirement("C26-233", "C26-232")
@pytest.mark.parametrize("late", [RESULT, {"resultType": "task"}, {"resultType": "input_required"}], ids=str)
async def test_any_other_answer_that_comes_too_late_is_dropped(
    make_peer: MakePeer, begin: Begin, late: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as server:
        outcome = begin(called, server)
        call = await server.remote.expect("tools/call")
        outcome.scope.cancel()
        await server.remote.expect("notifications/cancelled")
        await server.remote.reply(call, late)
        await server.nothing_more()
        assert not server.connection.closed
