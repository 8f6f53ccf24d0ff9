"""Subscriptions of revision 2026-07-28, as a client: what is asked for, what is told, and what becomes of one."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from mcp_tasks import (
    ConnectionClosed,
    Limits,
    Listening,
    LocalProtocolError,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Side,
    Topics,
)
from mcp_tasks.testing import Remote, scripted

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
UPDATED = "notifications/resources/updated"
CHANGED = "notifications/tools/list_changed"
CANCELLED = "notifications/cancelled"


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


@asynccontextmanager
async def serving(peer: Peer, **options: Any) -> AsyncIterator[Remote]:
    async with scripted(peer, side=Side.CLIENT, revision=NEW, **options) as remote:
        yield remote


@define
class Ear:
    """Somebody who listens, and what they have heard."""

    remote: Remote
    listening: Listening | None = None
    heard: list[tuple[str, Any]] = field(factory=list)
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    id: Any = None

    async def listen(self, **topics: Any) -> None:
        assert self.remote.connection is not None
        async with self.remote.connection.listen(**topics) as self.listening:
            with self.scope:
                async for told in self.listening:
                    self.heard.append((told.method, told.params))

    def leave(self) -> None:
        self.scope.cancel()

    async def accept(self, honoured: Any = None) -> Any:
        """Wait for the subscription and acknowledge it; returns what was asked for."""
        request = await self.remote.expect("subscriptions/listen")
        self.id = request["id"]
        wanted = request["params"]["notifications"]
        await self.tell(ACKNOWLEDGED, notifications=wanted if honoured is None else honoured)
        return wanted

    async def tell(self, method: str, **params: Any) -> None:
        await self.remote.notify(method, {"_meta": {SUBSCRIPTION: self.id}, **params})
        await self.remote.quiet()

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.heard]


@requirement("C26-279", "C26-281", "C26-053", "X26-091")
@pytest.mark.parametrize(
    ("topics", "wire"),
    [
        ({"tools": True}, {"toolsListChanged": True}),
        ({"prompts": True, "tools": False}, {"promptsListChanged": True}),
        ({"resources": True}, {"resourcesListChanged": True}),
        ({"uris": ["b:2", "a:1", "b:2"]}, {"resourceSubscriptions": ["a:1", "b:2"]}),
        ({"tasks": ["t-2", "t-1"]}, {"taskIds": ["t-1", "t-2"]}),
        (
            {"tools": True, "prompts": True, "resources": True, "uris": {"a:1"}, "tasks": {"t"}},
            {
                "toolsListChanged": True,
                "promptsListChanged": True,
                "resourcesListChanged": True,
                "resourceSubscriptions": ["a:1"],
                "taskIds": ["t"],
            },
        ),
    ],
    ids=str,
)
async def test_what_is_asked_for(
    make_peer: MakePeer, begin: Begin, topics: Any, wire: Any, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        begin(ear.listen, **topics)
        await remote.quiet()
        assert ear.listening is None, "not before the server has agreed"
        assert remote.unread()[0]["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == NEW
        assert await ear.accept() == wire
        assert ear.listening is not None
        assert ear.listening.working
        assert ear.listening.topics == ear.listening.wanted


@requirement("C26-284", "C26-285")
@pytest.mark.parametrize(
    ("honoured", "topics"),
    [
        ({"toolsListChanged": True}, Topics(tools=True)),
        ({"toolsListChanged": True, "promptsListChanged": False}, Topics(tools=True)),
        ({"resourceSubscriptions": ["a:1"]}, Topics(uris=frozenset({"a:1"}))),
        ({"com.example/unknown": 5, "promptsListChanged": True}, Topics(prompts=True)),
        ({}, Topics()),
    ],
    ids=str,
)
async def test_what_the_server_will_tell_is_known(
    make_peer: MakePeer, begin: Begin, honoured: Any, topics: Topics, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        outcome = begin(ear.listen, tools=True, prompts=True, uris=["a:1", "b:2"])
        await ear.accept(honoured)
        assert ear.listening is not None
        assert ear.listening.topics == topics
        assert ear.listening.working is bool(topics)
        ear.leave()
        await outcome.get()


@requirement("C26-064", "C26-286", "C26-287", "C26-123")
async def test_what_is_told_is_heard_in_order(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    """By whoever iterates, and by the handlers too."""
    peer = make_peer()
    handled: list[str] = []

    @peer.on(CHANGED)
    async def tools(connection: object, params: object) -> None:
        handled.append(CHANGED)

    @peer.on(UPDATED)
    async def resource(connection: object, params: Any) -> None:
        handled.append(params.uri)

    async with serving(peer) as remote:
        ear = Ear(remote)
        begin(ear.listen, tools=True, uris=["a:1"])
        await ear.accept()
        await ear.tell(CHANGED)
        await ear.tell(UPDATED, uri="a:1")
        await ear.tell(UPDATED, uri="a:1/part")
        await ear.tell("com.example/odd", k=1)
        await ear.tell(CHANGED)
        assert ear.methods == [CHANGED, UPDATED, UPDATED, "com.example/odd", CHANGED]
        assert [params.uri for method, params in ear.heard if method == UPDATED] == ["a:1", "a:1/part"]
        assert handled == [CHANGED, "a:1", "a:1/part", CHANGED]


@requirement("C26-288", "C26-287", "C26-283", "C26-123")
async def test_two_subscriptions_are_told_apart(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as remote:
        one, other = Ear(remote), Ear(remote)
        begin(one.listen, tools=True)
        await one.accept()
        begin(other.listen, tools=True)
        await other.accept()
        assert one.id != other.id
        await one.tell(CHANGED)
        await remote.notify(CHANGED, {"_meta": {SUBSCRIPTION: str(one.id)}})  # which is another id
        await remote.notify(CHANGED, {"_meta": {SUBSCRIPTION: None}})
        await remote.notify(CHANGED)
        await remote.quiet()
        assert (one.methods, other.methods) == ([CHANGED], [])
        await other.tell(CHANGED)
        assert (one.methods, other.methods) == ([CHANGED], [CHANGED])


@requirement("C26-125", "C26-218", "C26-222", "C26-292")
async def test_leaving_takes_the_request_back(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        outcome = begin(ear.listen, tools=True)
        await ear.accept()
        ear.leave()
        await outcome.get()
        withdrawn = await remote.expect(CANCELLED)
        assert withdrawn["params"]["requestId"] == ear.id
        assert ear.listening is not None
        await remote.quiet()
        assert not ear.listening.working
        await ear.tell(CHANGED)  # crossed it on the way
        await remote.send({"jsonrpc": "2.0", "id": ear.id, "result": {"resultType": "complete"}})
        await trio.sleep(3600)
        assert (ear.heard, remote.unread()) == ([], [])
        assert not remote.connection.closed


async def test_so_does_giving_up_before_the_server_has_agreed(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        outcome = begin(Ear(remote).listen, tools=True)
        request = await remote.expect("subscriptions/listen")
        outcome.scope.cancel()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == request["id"]
        await trio.sleep(3600)
        assert remote.unread() == []


@requirement("C26-279")
@pytest.mark.parametrize("code", [-32601, -32602, -32603, -32021])
async def test_a_server_that_refuses(make_peer: MakePeer, begin: Begin, code: int, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as remote:
        outcome = begin(Ear(remote).listen, tools=True)
        await remote.refuse(await remote.expect("subscriptions/listen"), code, "no", {"k": 1})
        with pytest.raises(RequestFailed, match="no") as caught:
            await outcome.get()
        assert (caught.value.code, caught.value.data) == (code, {"k": 1})
        await trio.sleep(3600)
        assert remote.unread() == []


@requirement("C26-281")
async def test_a_server_that_answers_without_having_begun(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        outcome = begin(Ear(remote).listen, tools=True)
        await remote.reply(await remote.expect("subscriptions/listen"), {"resultType": "complete"})
        with pytest.raises(RemoteProtocolError, match="subscriptions/listen"):
            await outcome.get()
        await trio.sleep(3600)
        assert remote.unread() == []


async def test_a_handshake_has_no_subscriptions(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    async with scripted(make_peer(), side=Side.CLIENT, revision=OLD) as remote:
        with pytest.raises(LocalProtocolError, match=OLD):
            async with remote.connection.listen(tools=True):
                pass
        assert remote.unread() == []


# --- lost, and made again ---------------------------------------------------------------------------------------------


async def end(ear: Ear, how: str) -> None:
    """End a subscription as a server does."""
    response = {"jsonrpc": "2.0", "id": ear.id, "result": {"resultType": "complete", "_meta": {SUBSCRIPTION: ear.id}}}
    for step in how.split("+"):
        if step == "response":
            await ear.remote.send(response)
        else:
            await ear.remote.notify(CANCELLED, {"requestId": ear.id, "reason": "bye"})
    await ear.remote.quiet()


HOWS = ["response", "cancelled", "response+cancelled", "cancelled+response"]


@requirement("C26-219", "C26-289", "C26-290", "C26-291", "C26-293")
@pytest.mark.parametrize("how", HOWS)
async def test_what_the_server_has_ended_is_made_again(
    make_peer: MakePeer, begin: Begin, how: str, autojump_clock: MockClock
) -> None:
    """Whoever iterates does not notice, but for what was not told meanwhile."""
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        outcome = begin(ear.listen, tools=True)
        await ear.accept()
        await ear.tell(CHANGED)
        await trio.sleep(60)
        first = ear.id
        await end(ear, how)
        assert ear.listening is not None
        assert not ear.listening.working
        began = trio.current_time()
        assert await ear.accept() == {"toolsListChanged": True}
        assert trio.current_time() - began == pytest.approx(0.1)
        assert ear.id != first
        assert ear.listening.working
        await ear.tell(CHANGED)
        assert ear.methods == [CHANGED, CHANGED]
        ear.leave()
        await outcome.get()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == ear.id
        await trio.sleep(3600)
        assert remote.unread() == []
        assert not remote.connection.closed


@requirement("C26-306", "C26-291")
@pytest.mark.parametrize("how", HOWS)
async def test_one_that_is_ended_again_and_again_is_made_less_and_less_often(
    make_peer: MakePeer, begin: Begin, how: str, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        begin(ear.listen, tools=True)
        times: list[float] = []
        for _ in range(14):
            await ear.accept()
            times.append(trio.current_time())
            await end(ear, how)
        pauses = [after - before for before, after in pairwise(times)]
        assert pauses[0] == pytest.approx(0.1)
        assert pauses == sorted(pauses)
        assert pauses[-1] == pytest.approx(60)
        await ear.accept()
        await trio.sleep(3600)
        await end(ear, how)
        before = trio.current_time()
        await ear.accept()
        assert trio.current_time() - before == pytest.approx(0.1), "one that lasted is worth having again"


@requirement("C26-311", "C26-303")
async def test_what_may_have_been_missed_is_not_believed(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        begin(ear.listen, tools=True, uris=["a:1"])
        await ear.accept()
        asked = {
            "tools/list": (None, {"tools": []}),
            "prompts/list": (None, {"prompts": []}),
            "resources/read": ({"uri": "a:1"}, {"contents": []}),
        }

        async def fetch() -> list[str]:
            """Asks for all three; what was not kept is returned."""
            fetched = []
            for method, (params, result) in asked.items():
                outcome = begin(remote.connection.call, method, params)
                await remote.quiet()
                if remote.unread(method):
                    fetched.append(method)
                    hints = {"ttlMs": 3_600_000, "cacheScope": "private"}
                    await remote.reply(await remote.expect(method), {**result, **hints})
                await outcome.get()
            return fetched

        assert await fetch() == list(asked)
        assert await fetch() == []
        await end(ear, "response")
        await ear.accept()
        assert await fetch() == ["tools/list", "resources/read"]
        assert await fetch() == []


@requirement("C26-291")
async def test_a_refusal_to_make_it_again_is_for_good(
    make_peer: MakePeer, begin: Begin, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING, "mcp_tasks")
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        outcome = begin(ear.listen, tools=True)
        await ear.accept()
        await ear.tell(CHANGED)
        await end(ear, "response")
        await remote.refuse(await remote.expect("subscriptions/listen"), -32602, "no more")
        with pytest.raises(RequestFailed, match="no more"):
            await outcome.get()
        assert ear.methods == [CHANGED]
        await trio.sleep(3600)
        assert remote.unread() == []
    assert "no more" in caplog.text


@pytest.mark.parametrize("when", ["before", "after", "between"])
async def test_a_connection_that_ends(make_peer: MakePeer, begin: Begin, when: str, autojump_clock: MockClock) -> None:
    """There is nothing to come back to."""
    async with serving(make_peer()) as remote:
        ear = Ear(remote)
        outcome = begin(ear.listen, tools=True)
        if when != "before":
            await ear.accept()
            await ear.tell(CHANGED)
        if when == "between":
            await end(ear, "response")
        await remote.quiet()
        await remote.close()
        with pytest.raises(ConnectionClosed):
            await outcome.get()
        assert ear.methods == ([] if when == "before" else [CHANGED])
        await trio.sleep(3600)
        assert [one["method"] for one in remote.received].count("subscriptions/listen") == 1


async def test_what_had_been_told_is_heard_before_the_failure(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        ear, awake = Ear(remote), trio.Event()

        async def listen() -> list[str]:
            async with remote.connection.listen(tools=True) as listening:
                await awake.wait()
                heard = [(await anext(listening)).method for _ in range(2)]
                with pytest.raises(ConnectionClosed):
                    await anext(listening)
                return heard

        outcome = begin(listen)
        await ear.accept()
        await ear.tell(CHANGED)
        await ear.tell(CHANGED)
        await remote.close()
        await remote.quiet()
        awake.set()
        assert await outcome.get() == [CHANGED, CHANGED]


@pytest.mark.parametrize("notices", [1, 3])
async def test_not_more_is_kept_than_there_is_room_for(
    make_peer: MakePeer, begin: Begin, notices: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level(logging.WARNING, "mcp_tasks")
    async with serving(make_peer(limits=Limits(notices=notices))) as remote:
        ear, awake = Ear(remote), trio.Event()

        async def listen() -> list[str]:
            async with remote.connection.listen(uris=["a:1"]) as listening:
                await awake.wait()
                return [(await anext(listening)).params.uri for _ in range(notices)]

        outcome = begin(listen)
        await ear.accept()
        for n in range(5):
            await ear.tell(UPDATED, uri=f"a:1/{n}")
        awake.set()
        assert await outcome.get() == [f"a:1/{n}" for n in range(5 - notices, 5)]
    assert caplog.text.count("dropped") == 5 - notices


# --- subscribing as in a session --------------------------------------------------------------------------------------


async def wanted(remote: Remote, honoured: Any = None) -> tuple[Any, list[str]]:
    """Wait for a subscription to resources and acknowledge it; its id, and the resources."""
    request = await remote.expect("subscriptions/listen")
    assert request["params"]["notifications"].keys() == {"resourceSubscriptions"}
    told = {"_meta": {SUBSCRIPTION: request["id"]}, "notifications": honoured or request["params"]["notifications"]}
    await remote.notify(ACKNOWLEDGED, told)
    return request["id"], request["params"]["notifications"]["resourceSubscriptions"]


@requirement("C26-361", "C26-368", "C26-069")
async def test_resources_are_subscribed_to_by_one_subscription_at_a_time(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    told: list[str] = []

    @peer.on(UPDATED)
    async def resource(connection: object, params: Any) -> None:
        told.append(params.uri)

    async with serving(peer) as remote:
        connection = remote.connection
        first = begin(connection.subscribe, "a:1")
        id, uris = await wanted(remote)
        assert uris == ["a:1"]
        await first.get()
        await remote.notify(UPDATED, {"_meta": {SUBSCRIPTION: id}, "uri": "a:1"})
        second = begin(connection.subscribe, "a:2")
        after, uris = await wanted(remote)
        assert uris == ["a:1", "a:2"]
        await second.get()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == id, "once the other one is there"
        await connection.subscribe("a:2")
        await connection.unsubscribe("a:3")
        assert remote.unread() == []
        third = begin(connection.unsubscribe, "a:1")
        last, uris = await wanted(remote)
        assert uris == ["a:2"]
        await third.get()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == after
        await connection.unsubscribe("a:2")
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == last
        await trio.sleep(3600)
        assert remote.unread() == []
        assert told == ["a:1"]


@requirement("C26-284", "C26-285")
async def test_a_resource_that_the_server_will_not_tell_of(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """What was subscribed to before stays so."""
    async with serving(make_peer()) as remote:
        first = begin(remote.connection.subscribe, "a:1")
        kept, _ = await wanted(remote)
        await first.get()
        second = begin(remote.connection.subscribe, "a:2")
        id, uris = await wanted(remote, {"resourceSubscriptions": ["a:1"]})
        assert uris == ["a:1", "a:2"]
        with pytest.raises(RemoteProtocolError, match="a:2"):
            await second.get()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == id
        third = begin(remote.connection.subscribe, "a:3")
        _, uris = await wanted(remote)
        assert uris == ["a:1", "a:3"]
        await third.get()
        assert (await remote.expect(CANCELLED))["params"]["requestId"] == kept


async def test_many_at_once_end_with_all_of_them(make_peer: MakePeer, begin: Begin, autojump_clock: MockClock) -> None:
    async with serving(make_peer()) as remote:
        outcomes = [begin(remote.connection.subscribe, f"a:{n}") for n in range(4)]
        for _ in outcomes:
            _, uris = await wanted(remote)
        for outcome in outcomes:
            await outcome.get()
        assert uris == [f"a:{n}" for n in range(4)]


@requirement("C26-291", "C26-293")
async def test_what_was_subscribed_to_is_again_when_it_was_lost(
    make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with serving(make_peer()) as remote:
        outcome = begin(remote.connection.subscribe, "a:1")
        id, _ = await wanted(remote)
        await outcome.get()
        await remote.send({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete"}})
        _, uris = await wanted(remote)
        assert uris == ["a:1"]
