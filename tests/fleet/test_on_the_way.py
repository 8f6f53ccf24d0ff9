"""What the work of a fleet says on its way, and what clients take along from one front end to another."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from mcp_tasks import (
    Context,
    JSONObject,
    Peer,
    RequestId,
    StoreFailed,
    TaskId,
)
from mcp_tasks.testing import Remote

pytest.importorskip("glide", reason="the extra valkey is not installed")

from mcp_tasks.tasks.engine import open_engine
from mcp_tasks.tasks.valkey import ValkeyTaskStore

from ._fleet import LEASE, NAMED, OLD, Fleet, client, requirement, until, with_fleet

# --- questions that a client takes along ------------------------------------------------------------------------------


async def take_along(remote: Remote) -> JSONObject:
    """The parameters that answer the question of a plain request."""
    params: JSONObject = {"name": "plain", "arguments": {"what": "a lamp"}}
    asked = await remote.request("tools/call", params)
    return {
        **params,
        "requestState": asked["requestState"],
        "inputResponses": dict.fromkeys(asked["inputRequests"], NAMED),
    }


async def under_way_at_two(fleet: Fleet, first: Remote, second: Remote) -> tuple[JSONObject, RequestId]:
    """What was taken along from the first is being worked on at the second: its parameters, and the request there."""
    params = await take_along(first)
    id = await second.ask("tools/call", params)
    while fleet.log[-1] != ("two", "begun"):
        await trio.lowlevel.checkpoint()
    return params, id


async def brought(remote: Remote, params: JSONObject) -> JSONObject:
    return await remote.response(await remote.ask("tools/call", params))


def is_refused(response: JSONObject) -> bool:
    return "error" in response and "not a state of this request" in response["error"]["message"]


async def accepted(remote: Remote, params: JSONObject) -> str:
    """What comes of it, once it is not refused any more."""
    while is_refused(response := await brought(remote, params)):
        pass
    return str(response["result"]["content"][0]["text"])


@requirement("C26-263")
@with_fleet
async def test_what_a_client_brings_back_is_good_for_one_answer_wherever(fleet: Fleet) -> None:
    """Not before the request is over, either; unless it is called off."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    async with client(one) as first, client(two) as second:
        params, under_way = await under_way_at_two(fleet, first, second)
        assert is_refused(await brought(first, params))
        await second.notify("notifications/cancelled", {"requestId": under_way})
        while fleet.log[-1] != ("two", "left"):
            await trio.lowlevel.checkpoint()
        fleet.go.set()
        assert await accepted(first, params) == "a lamp for Ada, receipt"
        assert is_refused(await brought(first, params))
        assert is_refused(await brought(second, params))
    assert fleet.who("paid") == ["one"]


@requirement("C26-263")
@with_fleet
async def test_whoever_dies_with_a_state_lets_others_have_it(fleet: Fleet) -> None:
    """And keeps it for as long as it lives."""
    fleet.lease_seconds = LEASE
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    store, beats = two.tasks.shared, 0
    assert isinstance(store, ValkeyTaskStore)
    claim = store.claim

    async def counted(name: str, seconds: float) -> bool:
        nonlocal beats
        beats += 1
        return await claim(name, seconds)

    store.claim = counted  # type: ignore[method-assign]
    async with client(one) as first, client(two) as second:
        params = await take_along(first)
        under_way = await second.ask("tools/call", params)
        while beats < 6:  # the lease it began with is over by then
            await trio.lowlevel.checkpoint()
        assert is_refused(await brought(first, params))
        fleet.dead.add("two")
        fleet.go.set()
        await second.response(under_way)
        assert await accepted(first, params) == "a lamp for Ada, receipt"
        fleet.dead.discard("two")


@requirement("C26-263")
@with_fleet
async def test_that_a_state_was_used_is_said_later_if_the_engine_is_away(fleet: Fleet) -> None:
    fleet.lease_seconds = LEASE
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    async with client(one) as first, client(two) as second:
        params, under_way = await under_way_at_two(fleet, first, second)
        fleet.dead.add("two")
        fleet.go.set()
        await second.answer(under_way)
        fleet.dead.discard("two")
        while two.tasks.others._claims:
            await trio.lowlevel.checkpoint()
        store = one.tasks.shared
        assert isinstance(store, ValkeyTaskStore)
        async with open_engine(fleet.redis.url) as engine:
            (key,) = await engine.do("KEYS", f"{{{fleet.prefix}}}:claim:*")
            assert await engine.do("PTTL", key) > 60_000
        assert is_refused(await brought(first, params))


@with_fleet
async def test_a_state_is_not_lost_because_the_engine_is_away(fleet: Fleet) -> None:
    front = await fleet.join("front", works=False)
    fleet.go.set()
    async with client(front) as remote:
        params = await take_along(remote)
        fleet.dead.add("front")
        response = await brought(remote, params)
        assert response["error"]["message"] == "dead"
        fleet.dead.discard("front")
        assert (await remote.request("tools/call", params))["content"][0]["text"] == "a lamp for Ada, receipt"


# --- what is said on the way ------------------------------------------------------------------------------------------


def talking(fleet: Fleet, peer: Peer) -> None:
    @peer.tool(task="required", restartable=True)
    async def talk(ctx: Context, steps: int) -> str:
        for step in range(1, steps + 1):
            await ctx.progress(step, total=3)
            await ctx.log("debug", f"in detail, {step}")
            await ctx.log("warning", f"beware, {step}")
        fleet.log.append((peer.info.name, "said"))
        await fleet.go.wait()
        await ctx.log("debug", "at last")
        await ctx.progress(3, total=3)
        return "said"


async def begin_to_talk(remote: Remote, steps: int = 2) -> str:
    params = {"name": "talk", "arguments": {"steps": steps}, "task": {}, "_meta": {"progressToken": "far"}}
    return str((await remote.request("tools/call", params))["task"]["taskId"])


async def waits(peer: Peer, id: str, users: int = 1) -> None:
    """Until requests for the result have looked at the record, and wait for news."""
    while (link := peer.awaited.get(TaskId(id)) or peer.links.get(TaskId(id))) is None or len(link._routes) < users:
        await trio.lowlevel.checkpoint()


def heard(remote: Remote) -> list[Any]:
    """What came of the way, in order: how far it is, words, and statuses."""
    seen: list[Any] = []
    for message in remote.received:
        params = message.get("params", {})
        match message.get("method"):
            case "notifications/progress":
                assert (params["progressToken"], params["total"]) == ("far", 3)
                seen.append(params["progress"])
            case "notifications/message":
                seen.append(params["data"])
            case "notifications/tasks/status":
                seen.append(params["status"])
                continue
            case _:
                continue
        assert "taskId" in params["_meta"]["io.modelcontextprotocol/related-task"]
    return seen


@requirement("T25-099", "T25-108", "T25-159", "T25-160", "T25-161")
@pytest.mark.parametrize("waits_at", ["one", "two"])
@with_fleet
async def test_what_a_worker_says_reaches_whoever_has_the_requestor(fleet: Fleet, waits_at: str) -> None:
    """Where the task was made, and where the result is waited for; in the level that is wanted there."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    talking(fleet, one)
    talking(fleet, await fleet.join("worker", works=True))
    async with client(one, OLD) as first, client(two, OLD) as second:
        await second.request("logging/setLevel", {"level": "debug"})
        id = await begin_to_talk(first)
        while not fleet.who("said") or "beware, 2" not in heard(first):
            await trio.lowlevel.checkpoint()
        assert heard(first) == [1, "beware, 1", 2, "beware, 2"], "nobody but the one who made it is there"
        assert heard(second) == []
        peer, remote = (one, first) if waits_at == "one" else (two, second)
        waiting = [await remote.ask("tasks/result", {"taskId": id}) for _ in range(2)]
        await waits(peer, id, 2)
        fleet.go.set()
        for one_of_them in waiting:
            assert (await remote.answer(one_of_them))["content"][0]["text"] == "said"
        while "completed" not in heard(first):
            await trio.lowlevel.checkpoint()
        assert heard(first) == [1, "beware, 1", 2, "beware, 2", 3, "completed"]
        assert heard(second)[-2:] == (["at last", 3] if waits_at == "two" else [])


@requirement("C25-160")
@with_fleet
async def test_who_goes_on_for_another_says_only_what_is_further(fleet: Fleet) -> None:
    fleet.lease_seconds = LEASE
    front = await fleet.join("front", works=False)
    talking(fleet, front)
    talking(fleet, await fleet.join("first", works=True))
    async with client(front, OLD) as remote:
        id = await begin_to_talk(remote)
        while not fleet.who("said"):
            await trio.lowlevel.checkpoint()
        fleet.dead.add("first")
        talking(fleet, await fleet.join("second", works=True))
        while len(fleet.who("said")) < 2:
            await trio.lowlevel.checkpoint()
        fleet.dead.discard("first")
        waiting = await remote.ask("tasks/result", {"taskId": id})
        await waits(front, id)
        fleet.go.set()
        await remote.answer(waiting)
        assert [said for said in heard(remote) if isinstance(said, int)] == [1, 2, 3]
    assert fleet.who("said") == ["first", "second"]


@requirement("T25-161")
@with_fleet
async def test_whoever_has_seen_that_a_task_is_over_hears_no_more_of_it(fleet: Fleet) -> None:
    """The news of the end are late, and what was said before them; the record is not."""
    front = await fleet.join("front", works=False)
    talking(fleet, front)
    talking(fleet, await fleet.join("worker", works=True))
    store = front.tasks.shared
    assert isinstance(store, ValkeyTaskStore)
    late, read = trio.Event(), store._news.do

    async def do(*command: Any) -> Any:
        found = await read(*command)
        await late.wait()
        return found

    async with client(front, OLD) as remote:
        store._news.do = do  # type: ignore[method-assign]
        fleet.go.set()
        id = await begin_to_talk(remote)
        await until(remote, id, "completed")
        said = heard(remote)
        assert said[-1] == "completed"
        late.set()
        await until(remote, await begin_to_talk(remote, steps=0), "completed")
        while "completed" not in heard(remote)[len(said) :]:
            await trio.lowlevel.checkpoint()
        assert [word for word in heard(remote)[len(said) :] if word in (1, 2)] == []


@requirement("T25-161")
@with_fleet
async def test_after_it_was_cancelled_nothing_more_is_heard_of_a_task(fleet: Fleet) -> None:
    """Where its result is waited for, and it was not made: its worker has not heard of it and talks on."""
    one, two = await fleet.join("one", works=False), await fleet.join("two", works=False)
    worker = await fleet.join("worker", works=True)
    for peer in (one, worker):
        talking(fleet, peer)
    async with client(one, OLD) as first, client(two, OLD) as second:
        id = await begin_to_talk(first)
        while not fleet.who("said"):
            await trio.lowlevel.checkpoint()
        waiting = await second.ask("tasks/result", {"taskId": id})
        await waits(two, id)
        await second.request("tasks/cancel", {"taskId": id})
        before = heard(second)
        related = {"io.modelcontextprotocol/related-task": {"taskId": id}}
        params = {"progressToken": "far", "progress": 3, "total": 3, "_meta": related}
        await worker.tasks.others.say(TaskId(id), {"method": "notifications/progress", "params": params})
        again = await begin_to_talk(first)
        while heard(first).count(2) < 2:  # so it has come by
            await trio.lowlevel.checkpoint()
        await second.request("tasks/get", {"taskId": again})
        assert "error" in await second.response(waiting)
        assert heard(second) == before
        fleet.go.set()
        await until(first, again, "completed")


@with_fleet
async def test_what_cannot_be_said_holds_up_nobody_for_long(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    async def say(*_: Any) -> None:
        nonlocal tried
        tried += 1
        raise StoreFailed

    monkeypatch.setattr(ValkeyTaskStore, "say", say)
    front = await fleet.join("front", works=False)
    talking(fleet, front)
    talking(fleet, await fleet.join("worker", works=True))
    fleet.go.set()
    async with client(front, OLD) as remote:
        await until(remote, await begin_to_talk(remote), "completed")
        assert heard(remote)[-1] == "completed"
    assert tried == 1
