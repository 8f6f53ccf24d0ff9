"""Subscriptions of revision 2026-07-28, as a server: what a client is told of, in which words, and until when."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import Clock, Connection, Context, Elicit, Limits, LineTransport, MemoryTaskStore, Peer, RequestFailed
from mcp_tasks.testing import Remote, scripted
from mcp_tasks.transports.memory import MemoryPipe, MemoryReader

MakePeer = Callable[..., Peer]
Mock = trio.testing.MockClock
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LEVEL = "io.modelcontextprotocol/logLevel"
SERVER = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASKS = "io.modelcontextprotocol/tasks"
MODERN = {VERSION: NEW, CAPABILITIES: {"extensions": {TASKS: {}}}}
SUT = {"name": "sut", "version": "1.0"}
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
LISTS = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
EVERYTHING = {**dict.fromkeys(LISTS, True), "resourceSubscriptions": ["note:a"]}


@pytest.fixture
def peer(make_peer: MakePeer) -> Peer:
    """Offers one of each kind, and a tool whose call is a task that asks one question."""
    peer = make_peer(clock=Clock(1_760_000_000.0))

    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        await ctx.report("greeting")
        await trio.sleep(1)
        return f"hi {answer.content['name']}"

    @peer.resource("note:a")
    async def note() -> str:
        return "a"

    @peer.prompt
    async def greet() -> str:
        return "hi"

    return peer


@asynccontextmanager
async def client(peer: Peer, **options: Any) -> AsyncIterator[Remote]:
    async with scripted(peer, revision=NEW, **options) as remote:
        yield remote


async def listen(remote: Remote, id: Any = "sub", **topics: Any) -> dict[str, Any]:
    """Ask to be told of these; returns what was acknowledged."""
    await remote.ask("subscriptions/listen", {"notifications": topics}, id=id)
    await remote.quiet()
    first = remote.unread()[-1] if len(topics.get("taskIds", ())) == 0 else remote.unread(ACKNOWLEDGED)[-1]
    assert first["method"] == ACKNOWLEDGED
    params = first["params"]
    assert params.keys() == {"notifications", "_meta"}
    assert params["_meta"] == {SUBSCRIPTION: id}
    return params["notifications"]  # type: ignore[no-any-return]


async def refusal(remote: Remote, params: Any) -> Any:
    return (await remote.response(await remote.ask("subscriptions/listen", params)))["error"]


def told(remote: Remote) -> list[tuple[str, Any]]:
    """Method and parameters of all notifications since the acknowledgement."""
    said = [(message["method"], message.get("params")) for message in remote.received if "method" in message]
    return [one for one in said if one[0] != ACKNOWLEDGED]


def change(peer: Peer, *kinds: str) -> None:
    """Have lists change."""
    for kind in kinds or ("tools", "prompts", "resources"):
        name = f"{kind}-{len(changes)}"
        changes.append(name)
        match kind:
            case "tools":
                peer.tool(name=name)(_nothing)
            case "prompts":
                peer.prompt(name=name)(_nothing)
            case "resources":
                peer.resource(f"made:{name}")(_nothing)


async def _nothing() -> str:
    return ""


changes: list[str] = []


async def task_of(remote: Remote) -> str:
    id = (await remote.request("tools/call", {"name": "work"}))["taskId"]
    await remote.quiet()
    return id  # type: ignore[no-any-return]


async def update(remote: Remote, id: str) -> None:
    answers = {"name": {"action": "accept", "content": {"name": "Ada"}}}
    await remote.request("tasks/update", {"taskId": id, "inputResponses": answers})


# --- the acknowledgement ----------------------------------------------------------------------------------------------


@requirement("C26-281", "C26-284", "C26-286", "C26-064", "X26-092")
@pytest.mark.parametrize("id", [1, "1", 0, "", "é", 2**40])
async def test_the_first_thing_said_is_what_will_be_told(peer: Peer, id: Any) -> None:
    async with client(peer) as remote:
        assert await listen(remote, id, **EVERYTHING) == EVERYTHING
        (first,) = remote.received
        assert first.keys() == {"jsonrpc", "method", "params"}
        assert type(first["params"]["_meta"][SUBSCRIPTION]) is type(id)
        assert not remote.answered(id)


@requirement("C26-284", "C26-361")
@pytest.mark.parametrize(
    ("asked", "honoured"),
    [
        ({}, {}),
        (dict.fromkeys(LISTS, False), {}),
        ({"toolsListChanged": True, "promptsListChanged": False}, {"toolsListChanged": True}),
        ({"resourceSubscriptions": []}, {}),
        ({"resourceSubscriptions": ["b:", "a:", "b:"]}, {"resourceSubscriptions": ["a:", "b:"]}),
        ({"taskIds": []}, {}),
        ({"taskIds": ["nobody"]}, {}),
        ({"com.example/other": True, "x": 1}, {}),
    ],
)
async def test_what_is_honoured(peer: Peer, asked: Any, honoured: Any) -> None:
    async with client(peer) as remote:
        assert await listen(remote, **asked) == honoured


@requirement("C26-284", "C26-361")
async def test_what_is_not_offered_is_not_honoured(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with client(peer) as remote:
        assert await listen(remote, 1, **EVERYTHING) == {}
        change(peer, "prompts")
        assert await listen(remote, 2, **EVERYTHING) == {"promptsListChanged": True}


@requirement("C26-282", "C26-281")
async def test_nothing_is_told_before_the_acknowledgement(peer: Peer, autojump_clock: Mock) -> None:
    """Looking for the tasks takes a while, in which everything changes."""

    class SlowStore(MemoryTaskStore):
        async def get(self, id: Any) -> Any:
            await trio.sleep(1)
            return await super().get(id)

    peer.tasks.store = SlowStore()
    async with client(peer) as remote:
        id = await task_of(remote)
        before = len(remote.received)
        await remote.ask("subscriptions/listen", {"notifications": {**EVERYTHING, "taskIds": [id, "nobody"]}})
        await remote.quiet()
        change(peer)
        await peer.resource_updated("note:a")
        await trio.sleep(0.5)
        assert len(remote.received) == before
        await trio.sleep(2)
        assert [message["method"] for message in remote.received[before:]] == [ACKNOWLEDGED, "notifications/tasks"]
        assert remote.received[before]["params"]["notifications"] == {**EVERYTHING, "taskIds": [id]}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"notifications": None},
        {"notifications": []},
        {"notifications": {"toolsListChanged": "yes"}},
        {"notifications": {"resourcesListChanged": None}},
        {"notifications": {"resourceSubscriptions": "note:a"}},
        {"notifications": {"resourceSubscriptions": [1]}},
        {"notifications": {"taskIds": {}}},
        {"notifications": {"taskIds": [None]}},
    ],
    ids=json.dumps,
)
async def test_wrong_filters_are_refused(peer: Peer, params: Any) -> None:
    async with client(peer) as remote:
        error = await refusal(remote, params)
        assert error["code"] == -32602
        assert "$.params.notifications" in error["message"]
        assert await listen(remote, **EVERYTHING) == EVERYTHING


# --- what is told -----------------------------------------------------------------------------------------------------


@requirement("C26-280", "C26-286", "C26-064", "C26-330", "C26-367", "C26-385")
@pytest.mark.parametrize("topic", LISTS)
async def test_a_change_of_a_list_that_was_asked_for(peer: Peer, topic: str) -> None:
    async with client(peer) as remote:
        await listen(remote, 7, **{topic: True})
        change(peer)
        await peer.resource_updated("note:a")
        await remote.quiet()
        assert told(remote) == [(LISTS[topic], {"_meta": {SUBSCRIPTION: 7}})]


@requirement("C26-330", "C26-367", "C26-385")
async def test_what_is_removed_is_a_change_as_well(peer: Peer) -> None:
    async with client(peer) as remote:
        await listen(remote, **EVERYTHING)
        peer.remove_tool("work")
        peer.remove_prompt("greet")
        peer.remove_resource("note:a")
        await remote.quiet()
        assert [method for method, _ in told(remote)] == list(LISTS.values())


@requirement("C26-280", "C26-368", "C26-286")
async def test_a_resource_that_was_named(peer: Peer) -> None:
    async with client(peer) as remote:
        await listen(remote, resourceSubscriptions=["note:a", "note:c"])
        for uri in ("note:b", "note:a", "note:", "note:a/b", "note:c", "NOTE:a"):
            await peer.resource_updated(uri)
        change(peer)
        await remote.quiet()
        meta = {"_meta": {SUBSCRIPTION: "sub"}}
        assert told(remote) == [
            ("notifications/resources/updated", {"uri": "note:a", **meta}),
            ("notifications/resources/updated", {"uri": "note:c", **meta}),
        ]


@requirement("C26-280")
async def test_who_does_not_listen_is_told_nothing(peer: Peer) -> None:
    async with client(peer) as remote:
        await remote.request("tools/list")
        before = len(remote.received)
        change(peer)
        await peer.resource_updated("note:a")
        await remote.quiet()
        assert len(remote.received) == before


@requirement("C26-283", "C26-286", "C26-280")
async def test_two_subscriptions_on_one_pipe(peer: Peer) -> None:
    async with client(peer) as remote:
        await listen(remote, 1, toolsListChanged=True, promptsListChanged=True)
        await listen(remote, "1", toolsListChanged=True, resourceSubscriptions=["note:a"])
        change(peer, "tools", "prompts")
        await peer.resource_updated("note:a")
        await remote.quiet()
        found = [(method, params["_meta"][SUBSCRIPTION]) for method, params in told(remote)]
        assert sorted(found, key=repr) == sorted(
            [
                (LISTS["toolsListChanged"], 1),
                (LISTS["toolsListChanged"], "1"),
                (LISTS["promptsListChanged"], 1),
                ("notifications/resources/updated", "1"),
            ],
            key=repr,
        )


@requirement("C26-101", "C26-280")
async def test_a_session_and_a_subscription_on_one_pipe(peer: Peer) -> None:
    async with scripted(peer, revision=OLD) as remote:
        params = {"notifications": EVERYTHING, "_meta": MODERN}
        await remote.send({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
        await remote.quiet()
        change(peer, "tools")
        await peer.resource_updated("note:a")
        await remote.quiet()
        meta = {"_meta": {SUBSCRIPTION: 1}}
        found = told(remote)
        assert found[0][0] == LISTS["toolsListChanged"]
        assert [params for method, params in found if method == LISTS["toolsListChanged"]] in (
            [None, meta],
            [meta, None],
        )
        assert found[2:] == [("notifications/resources/updated", {"uri": "note:a", **meta})]


@requirement("C26-412", "X26-100")
@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
async def test_logs_and_progress_do_not_come_this_way(peer: Peer) -> None:
    @peer.tool(name="noisy")
    async def noisy(ctx: Context) -> str:
        await ctx.progress(1)
        await ctx.log("error", "noise")
        return ""

    async with client(peer) as remote:
        remote.stamp = {**(remote.stamp or {}), LEVEL: "debug"}
        params = {"notifications": EVERYTHING, "_meta": {"progressToken": "listening"}}
        await remote.ask("subscriptions/listen", params, id="sub")
        await remote.quiet()
        await remote.request("tools/call", {"name": "noisy", "_meta": {"progressToken": "calling"}})
        assert told(remote) == [
            ("notifications/progress", {"progressToken": "calling", "progress": 1}),
            ("notifications/message", {"level": "error", "data": "noise"}),
        ]


# --- tasks ------------------------------------------------------------------------------------------------------------


@requirement("X26-090", "X26-094", "X26-095", "X26-099", "X26-035")
async def test_a_task_is_told_as_it_is_at_each_change(peer: Peer, autojump_clock: Mock) -> None:
    async with client(peer) as remote:
        id = await task_of(remote)
        assert await listen(remote, 5, taskIds=[id]) == {"taskIds": [id]}

        async def latest(count: int) -> Any:
            await remote.quiet()
            assert [method for method, _ in told(remote)] == ["notifications/tasks"] * count
            said = dict(told(remote)[-1][1])
            assert said.pop("_meta") == {SUBSCRIPTION: 5}
            looked = await remote.request("tasks/get", {"taskId": id})
            assert (looked.pop("resultType"), looked.pop("_meta")) == ("complete", {SERVER: SUT})
            assert said == looked
            return said

        assert (await latest(1))["inputRequests"].keys() == {"name"}, "as it is now, first of all"
        await update(remote, id)
        task = await latest(3)
        assert (task["status"], task["statusMessage"]) == ("working", "greeting")
        await trio.sleep(2)
        task = await latest(4)
        assert task["status"] == "completed"
        assert task["result"]["content"][0]["text"] == "hi Ada"


@requirement("X26-094", "X26-036")
async def test_one_that_is_over_is_told_once(peer: Peer) -> None:
    async with client(peer) as remote:
        id = await task_of(remote)
        await remote.request("tasks/cancel", {"taskId": id})
        await remote.request("tasks/cancel", {"taskId": id})
        assert await listen(remote, taskIds=[id]) == {"taskIds": [id]}
        await remote.request("tasks/cancel", {"taskId": id})
        await remote.quiet()
        assert [params["status"] for _, params in told(remote)] == ["cancelled"]


@requirement("X26-094", "X26-112")
async def test_a_failure_is_told_with_its_error(peer: Peer) -> None:
    go_on = trio.Event()

    @peer.tool(task="required")
    async def fail() -> str:
        await go_on.wait()
        raise RequestFailed(7, "no", {"a": 1})

    async with client(peer) as remote:
        id = (await remote.request("tools/call", {"name": "fail"}))["taskId"]
        await listen(remote, taskIds=[id])
        go_on.set()
        await remote.quiet()
        last = told(remote)[-1][1]
        assert (last["status"], last["error"]) == ("failed", {"code": 7, "message": "no", "data": {"a": 1}})


@requirement("X26-096", "C26-280")
async def test_other_tasks_are_not_told(peer: Peer) -> None:
    async with client(peer) as remote:
        one, other = await task_of(remote), await task_of(remote)
        await listen(remote, "a", taskIds=[one])
        await listen(remote, "b", **EVERYTHING)
        for id in (one, other):
            await remote.request("tasks/cancel", {"taskId": id})
        await task_of(remote)
        assert {(params["taskId"], params["_meta"][SUBSCRIPTION]) for _, params in told(remote)} == {(one, "a")}


@requirement("X26-092", "X26-098", "X26-121")
async def test_foreign_and_unknown_tasks_are_left_out(peer: Peer) -> None:
    async with peer, client(peer, principal="ada") as ada, client(peer, principal="bob") as bob:
        hers, his = await task_of(ada), await task_of(bob)
        assert await listen(bob, taskIds=[hers, "nobody", his, ""]) == {"taskIds": [his]}
        for remote, id in ((ada, hers), (bob, his)):
            await remote.request("tasks/cancel", {"taskId": id})
        await bob.quiet()
        assert {params["taskId"] for _, params in told(bob)} == {his}
        assert told(ada) == []


@requirement("X26-093", "X26-012", "X26-125")
@pytest.mark.parametrize("capabilities", [{}, {"tasks": {"list": {}}}])
async def test_tasks_are_told_to_those_who_declare_the_extension(peer: Peer, capabilities: Any) -> None:
    async with client(peer) as remote:
        id = await task_of(remote)
        remote.stamp = {VERSION: NEW, CAPABILITIES: capabilities}
        for ids in ([id], ["nobody"]):
            error = await refusal(remote, {"notifications": {**EVERYTHING, "taskIds": ids}})
            assert error["code"] == -32021
            assert error["data"] == {"requiredCapabilities": {"extensions": {TASKS: {}}}}
        assert await listen(remote, **EVERYTHING) == EVERYTHING
        assert peer.subscriptions != set()


@requirement("X26-126", "X26-090", "X26-094")
async def test_a_task_of_a_session_is_told_too(peer: Peer, autojump_clock: Mock) -> None:
    async with peer, scripted(peer, principal="ada") as old, client(peer, principal="ada") as new:
        created = await old.request("tools/call", {"name": "work", "task": {}})
        id = created["task"]["taskId"]
        await old.quiet()
        await listen(new, taskIds=[id])
        await update(new, id)
        await trio.sleep(2)
        assert [params["status"] for _, params in told(new)] == ["input_required", "working", "working", "completed"]
        pushed = [params["status"] for method, params in told(old) if method == "notifications/tasks/status"]
        assert pushed == ["input_required", "working", "working", "completed"]


@requirement("X26-059")
async def test_a_task_that_is_past_its_time(make_peer: MakePeer, autojump_clock: Mock) -> None:
    peer = make_peer(limits=Limits(default_ttl_ms=5000))

    @peer.tool(task="required")
    async def work() -> str:
        await trio.sleep_forever()
        return ""

    async with client(peer) as remote:
        id = await task_of(remote)
        await listen(remote, taskIds=[id])
        await trio.sleep(6)
        assert [params["status"] for _, params in told(remote)] == ["working", "cancelled"]
        assert await listen(remote, "other", taskIds=[id]) == {}


# --- the end ----------------------------------------------------------------------------------------------------------


@requirement("C26-292", "C26-127", "C26-230")
async def test_a_client_that_no_longer_listens_hears_nothing_more(peer: Peer) -> None:
    async with client(peer) as remote:
        id = await task_of(remote)
        await listen(remote, "sub", **EVERYTHING, taskIds=[id])
        before = len(remote.received)
        await remote.notify("notifications/cancelled", {"requestId": "sub"})
        await remote.quiet()
        assert peer.subscriptions == set()
        change(peer)
        await peer.resource_updated("note:a")
        await remote.request("tasks/cancel", {"taskId": id})
        await remote.quiet()
        assert len(remote.received) == before + 1
        assert await listen(remote, "sub", toolsListChanged=True) == {"toolsListChanged": True}


@requirement("C26-292")
async def test_not_even_if_something_changes_in_the_same_moment(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("x/change")
    async def begin(ctx: Context, params: Any) -> Any:
        change(peer, "prompts")

    change(peer, "prompts")
    async with client(peer) as remote:
        for n in range(30):  # which of them runs first is left to chance
            await listen(remote, n, promptsListChanged=True)
            messages = (
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": n}},
                {"jsonrpc": "2.0", "id": "change", "method": "x/change", "params": {"_meta": MODERN}},
            )
            await remote.send_raw(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
            await remote.answer("change")
        await remote.quiet()
        assert told(remote) == []


@requirement("C26-289", "C26-290", "C26-219", "C26-220", "C26-286", "C26-010")
@pytest.mark.parametrize("id", [3, "3"])
async def test_a_server_that_shuts_down_says_so(peer: Peer, id: Any, autojump_clock: Mock) -> None:
    async with client(peer) as remote:
        task = await task_of(remote)
        await listen(remote, id, **EVERYTHING, taskIds=[task])
        before = len(remote.received)
        assert remote.connection is not None
        await remote.connection.aclose()
        await remote.ended()
        answer, notice = remote.received[before:]
        assert answer == {
            "jsonrpc": "2.0",
            "id": id,
            "result": {"resultType": "complete", "_meta": {SUBSCRIPTION: id, SERVER: SUT}},
        }
        assert type(answer["id"]) is type(answer["result"]["_meta"][SUBSCRIPTION]) is type(id)
        assert notice["method"] == "notifications/cancelled"
        assert notice["params"]["requestId"] == id
        assert "id" not in notice
    assert peer.subscriptions == set()


@requirement("C26-292")
async def test_shutting_down_says_nothing_to_who_has_just_gone(peer: Peer, autojump_clock: Mock) -> None:
    async with client(peer) as remote:
        await listen(remote, "sub", **EVERYTHING)
        await listen(remote, "other", **EVERYTHING)
        assert remote.connection is not None
        remote.connection.session.abandon("sub").cancel()  # as a cancellation does that was read just now
        await remote.connection.aclose()
        await remote.ended()
        assert [params["requestId"] for _, params in told(remote)] == ["other"]
        assert not remote.answered("sub")


@requirement("C26-289", "C26-219")
async def test_each_of_several_subscriptions_is_ended(peer: Peer, autojump_clock: Mock) -> None:
    async with client(peer) as one, client(peer) as other:
        await listen(one, "a", **EVERYTHING)
        await listen(one, "b", **EVERYTHING)
        await listen(other, "c", **EVERYTHING)
        assert one.connection is not None
        await one.connection.aclose()
        await one.ended()
        for id in ("a", "b"):
            assert (await one.answer(id))["_meta"][SUBSCRIPTION] == id
        ended = [params["requestId"] for method, params in told(one) if method == "notifications/cancelled"]
        assert sorted(ended) == ["a", "b"]
        assert not other.answered("c")
        change(peer, "tools")
        await other.quiet()
        assert len(told(other)) == 1


async def test_a_client_that_goes_is_forgotten(peer: Peer, autojump_clock: Mock) -> None:
    async with client(peer) as remote:
        await listen(remote, **EVERYTHING)
    assert peer.subscriptions == set()
    change(peer)
    await peer.resource_updated("note:a")


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_too_much_at_once(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(subscriptions=3))
    peer.resource("note:a")(_nothing)
    async with client(peer) as remote:
        error = await refusal(remote, {"notifications": {"resourceSubscriptions": list("abc"), "taskIds": ["d"]}})
        assert (error["code"], error["data"]) == (-32603, {"limit": "subscriptions", "value": 3})
        assert len((await listen(remote, resourceSubscriptions=list("abc")))["resourceSubscriptions"]) == 3


async def test_who_listens_does_not_keep_others_from_asking(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(in_flight=1, subscriptions=2))
    async with client(peer) as remote:
        for id in range(2):
            await listen(remote, id)
        assert (await refusal(remote, {"notifications": {}}))["data"] == {"limit": "subscriptions", "value": 2}
        await remote.notify("notifications/cancelled", {"requestId": 0})
        await listen(remote, 3)


class Deaf:
    """A client that reads when it is told to."""

    def __init__(self, send: MemoryPipe, back: MemoryPipe, connection: Connection) -> None:
        self.connection = connection
        self._send = send
        self._back = back

    async def ask(self, id: Any, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": MODERN_ASKABLE}}
        await self._send.send_all(json.dumps(message).encode() + b"\n")
        await trio.testing.wait_all_tasks_blocked()

    async def read(self) -> list[Any]:
        """All that has been said."""
        data = b""
        with trio.move_on_after(5):
            while True:
                data += await self._back.receive_some()
        return [json.loads(line) for line in data.splitlines()]


MODERN_ASKABLE = {VERSION: NEW, CAPABILITIES: {"elicitation": {}, "extensions": {TASKS: {}}}}


@asynccontextmanager
async def deaf(peer: Peer) -> AsyncIterator[Deaf]:
    there, back = MemoryPipe(), MemoryPipe(size=1)
    transport = LineTransport(back, MemoryReader(there), limits=peer.limits)
    async with trio.open_nursery() as nursery:
        connection = await nursery.start(peer.serve, transport)
        yield Deaf(there, back, connection)
        await there.aclose()


async def test_a_client_that_does_not_read_is_told_once_how_it_is_by_then(
    make_peer: MakePeer, autojump_clock: Mock
) -> None:
    peer = make_peer(limits=Limits(backlog_bytes=1, default_ttl_ms=86_400_000))
    go_on = trio.Event()
    reports = 0

    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        nonlocal reports
        while not go_on.is_set():
            await trio.sleep(100)
            reports += 1
            await ctx.report(str(reports))
        return "done"

    @peer.resource("note:{name}", name="note")
    async def note(name: str) -> str:
        return name

    async with deaf(peer) as remote:
        await remote.ask("t", "tools/call", name="work")
        (created,) = await remote.read()
        id = created["result"]["taskId"]
        topics = {"toolsListChanged": True, "resourceSubscriptions": ["note:a", "note:b"], "taskIds": [id]}
        await remote.ask(7, "subscriptions/listen", notifications=topics)
        acknowledged, first = await remote.read()
        assert (acknowledged["method"], first["method"]) == (ACKNOWLEDGED, "notifications/tasks")
        for _ in range(200):
            change(peer, "tools")
            await peer.resource_updated("note:a")
            await peer.resource_updated("note:b")
            await trio.sleep(100)
        assert remote.connection.transport.backlog < 1000
        go_on.set()
        await trio.sleep(300)
        said = await remote.read()
        assert all(message["params"]["_meta"] == {SUBSCRIPTION: 7} for message in said)
        assert len(said) <= 6
        assert {"notifications/tools/list_changed", "notifications/resources/updated"} < {one["method"] for one in said}
        updated = [one["params"]["uri"] for one in said if one["method"] == "notifications/resources/updated"]
        assert set(updated) == {"note:a", "note:b"}
        last = [one["params"] for one in said if one["method"] == "notifications/tasks"][-1]
        assert (last["status"], last["statusMessage"]) == ("completed", str(reports))
        change(peer, "tools")
        assert [one["method"] for one in await remote.read()] == ["notifications/tools/list_changed"]


async def test_a_client_that_does_not_read_keeps_it_from_nobody(peer: Peer, autojump_clock: Mock) -> None:
    async with deaf(peer) as slow, client(peer) as remote:
        await slow.ask(1, "subscriptions/listen", notifications=EVERYTHING)
        await listen(remote, **EVERYTHING)
        start = trio.current_time()
        for _ in range(50):
            change(peer)
        await remote.quiet()
        assert len(told(remote)) == 150
        assert trio.current_time() == start


async def test_shutting_down_does_not_wait_for_who_does_not_read(peer: Peer, autojump_clock: Mock) -> None:
    async with deaf(peer) as slow:
        await slow.ask(1, "subscriptions/listen", notifications=EVERYTHING)
        start = trio.current_time()
        await slow.connection.aclose()
        assert trio.current_time() - start <= 10
    assert peer.subscriptions == set()
