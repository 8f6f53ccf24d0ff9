"""A replay against other sides that are scripts: it ends, answers what comes, and sees what is not as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from mcp_tasks import MCPError, RequestFailed
from mcp_tasks.recording import Replayed, Transcript, replay
from mcp_tasks.testing import Frame, HttpClientWire, LineWire, NothingCame, Remote, Side, open_http_server_wire

C, S = Side.CLIENT, Side.SERVER
Other = Callable[[Remote], Awaitable[None]]


def asks(id: Any, method: str, params: Any = None, side: Side = C, at: float = 0.0) -> Frame:
    return Frame(side, {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}, at=at)


def answers(id: Any, result: Any, side: Side = S, at: float = 0.0) -> Frame:
    return Frame(side, {"jsonrpc": "2.0", "id": id, "result": result}, at=at)


def tells(method: str, params: Any = None, side: Side = S) -> Frame:
    return Frame(side, {"jsonrpc": "2.0", "method": method, "params": params or {}})


def task(status: str = "working", id: str = "K1", **more: Any) -> dict[str, Any]:
    now = "2026-08-01T07:00:00Z"
    return {"taskId": id, "status": status, "createdAt": now, "lastUpdatedAt": now, "ttl": None, **more}


CALL = [asks(1, "tools/call", {"name": "x", "task": {}}), answers(1, {"task": task()})]
POLLED = [*CALL, asks(2, "tasks/get", {"taskId": "K1"}), answers(2, task("completed"), at=30.0)]


async def played(frames: list[Frame], side: Side, other: Other, *, patience: float = 4.0) -> Replayed:
    """A replay against a script of the other side, which must end."""
    ours, theirs = memory_stream_pair()
    with trio.fail_after(100 * patience):
        async with trio.open_nursery() as nursery:
            remote = Remote(LineWire(side.other, theirs, theirs, nursery), nursery, patience=50 * patience)

            async def run() -> None:
                with suppress(MCPError, NothingCame):
                    await other(remote)

            nursery.start_soon(run)
            found = await replay(Transcript(frames), LineWire(side, ours, ours, nursery), patience=patience)
            await ours.aclose()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    return found


def whats(found: Replayed) -> list[str]:
    return [difference.what for difference in found.differences]


# --- it ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [20, 3_600_000, pytest.param(10**400, id="huge"), -1, "soon"])
async def test_a_task_that_never_gets_there(interval: Any, autojump_clock: object) -> None:
    async def never(remote: Remote) -> None:
        remote.on("tools/call", {"task": task(id="L1")})
        remote.on("tasks/get", task(id="L1", pollInterval=interval))

    began = trio.current_time()
    assert whats(await played(POLLED, C, never)) == ["did not come"]
    assert 34 <= trio.current_time() - began < 36  # the time that it took then, and our patience


async def test_a_task_may_take_the_time_that_it_took_then(autojump_clock: object) -> None:
    async def slow(remote: Remote) -> None:
        began = trio.current_time()
        remote.on("tools/call", {"task": task(id="L1")})
        remote.on("tasks/get", lambda _: task("completed" if trio.current_time() - began > 25 else "working", "L1"))

    assert (await played(POLLED, C, slow)).same


async def test_a_server_that_leaves_between_polls(autojump_clock: object) -> None:
    async def leaves(remote: Remote) -> None:
        remote.on("tools/call", {"task": task(id="L1")})
        await remote.reply(await remote.expect("tasks/get"), task(id="L1"))
        await remote.wire.aclose()

    assert whats(await played(POLLED, C, leaves)) == ["did not come"]


async def test_what_may_not_come_is_not_waited_for_in_vain(autojump_clock: object) -> None:
    status = tells("notifications/tasks/status", task("completed"))
    frames = [*CALL, status, asks(2, "tasks/result", {"taskId": "K1"}), answers(2, {"content": []})]

    async def silent(remote: Remote) -> None:
        remote.on("tools/call", {"task": task(id="L1")})
        remote.on("tasks/result", {"content": []})

    assert (await played(frames, C, silent)).same


# --- what was not recorded is answered --------------------------------------------------------------------------------

SERVED = [asks(1, "tools/call", {"name": "x"}), answers(1, {"task": task()}), asks(2, "tasks/result", {"taskId": "K1"})]


async def test_polls_pings_and_probes_are_answered(autojump_clock: object) -> None:
    heard: list[Any] = []

    async def client(remote: Remote) -> None:
        with pytest.raises(RequestFailed) as probe:
            await remote.request("server/discover")
        heard.append(probe.value.code)
        heard.append(await remote.request("ping"))
        await remote.request("tools/call", {"name": "x"})
        heard.append((await remote.request("tasks/get", {"taskId": "K1"}))["status"])
        await remote.request("tasks/result", {"taskId": "K1"})

    found = await played([*SERVED, answers(2, {"content": []})], S, client)
    assert found.same, found.differences
    assert heard == [-32601, {}, "working"]


async def test_whatever_else_was_not_recorded_is_refused(autojump_clock: object) -> None:
    codes: list[int] = []

    async def client(remote: Remote) -> None:
        for method in ("tools/list", "prompts/get"):
            with pytest.raises(RequestFailed, match="is not in the transcript") as refused:
                await remote.request(method)
            codes.append(refused.value.code)
        await remote.request("tools/call", {"name": "x"})

    found = await played(SERVED[:2], S, client)
    assert whats(found) == ["was not there"] * 2
    assert codes == [-32603] * 2


async def test_what_comes_too_early_and_never_has_its_time_is_refused(autojump_clock: object) -> None:
    codes: list[int] = []

    async def client(remote: Remote) -> None:
        with pytest.raises(RequestFailed) as refused:
            await remote.request("tasks/result", {"taskId": "K1"})
        codes.append(refused.value.code)

    assert whats(await played([*SERVED, answers(2, {})], S, client)) == ["did not come"] * 2 + ["was not there"]
    assert codes == [-32603]


async def test_a_subscription_has_todays_name(autojump_clock: object) -> None:
    name = "io.modelcontextprotocol/subscriptionId"
    frames = [
        asks(1, "subscriptions/listen"),
        tells("notifications/subscriptions/acknowledged", {"_meta": {name: 1}}),
        answers(1, {"_meta": {name: 1}}),
    ]
    named: list[Any] = []

    async def listens(remote: Remote) -> None:
        await remote.ask("subscriptions/listen", {}, id="live")
        named.append((await remote.expect("notifications/subscriptions/acknowledged"))["params"]["_meta"][name])
        named.append((await remote.response("live"))["result"]["_meta"][name])

    assert (await played(frames, S, listens)).same
    assert named == ["live", "live"]


# --- what is not as it was --------------------------------------------------------------------------------------------


async def test_a_poll_that_fails_now(autojump_clock: object) -> None:
    def gone(_: Any) -> Any:
        raise RequestFailed(-32602, "no such task")

    async def fails(remote: Remote) -> None:
        remote.on("tools/call", {"task": task(id="L1")})
        remote.on("tasks/get", gone)

    frames = [*CALL, asks(2, "tasks/get", {"taskId": "K1"}), answers(2, task())]
    assert whats(await played(frames, C, fails)) == ["differs"]


@pytest.mark.parametrize(("status", "same"), [("working", True), ("completed", True), ("odd", False), (None, False)])
async def test_a_poll_may_find_a_task_further(status: Any, same: bool, autojump_clock: object) -> None:
    async def further(remote: Remote) -> None:
        remote.on("tools/call", {"task": task(id="L1")})
        remote.on("tasks/get", task(status, "L1", statusMessage="quick"))

    frames = [*CALL, asks(2, "tasks/get", {"taskId": "K1"}), answers(2, task(statusMessage="slow"))]
    assert (await played(frames, C, further)).same is same


async def test_garbage_and_second_answers(autojump_clock: object) -> None:
    async def noisy(remote: Remote) -> None:
        asked = await remote.expect("x")
        await remote.send_raw(b"DEBUG\n")
        await remote.send([1, 2])
        await remote.reply(asked, {"a": 1})
        await remote.reply(asked, {"a": 2})

    frames = [asks(1, "x"), Frame(S, raw=b"DEBUG"), answers(1, {"a": 1})]
    found = await played(frames, C, noisy)
    assert [difference.live.message for difference in found.differences if difference.live] == [
        [1, 2],
        {"jsonrpc": "2.0", "id": 1, "result": {"a": 2}},
    ]


async def test_progress_more_often_than_it_was(autojump_clock: object) -> None:
    def progress(value: float) -> Frame:
        return tells("notifications/progress", {"progressToken": 1, "progress": value})

    async def more(remote: Remote) -> None:
        asked = await remote.expect("x")
        for value in (0.25, 0.5, 0.75, 1):
            await remote.send(progress(value).message)
        await remote.reply(asked, {})

    frames = [asks(1, "x", {"_meta": {"progressToken": 1}}), progress(0.5), progress(1), answers(1, {})]
    found = await played(frames, C, more)
    assert found.same
    assert found.matched == 3


# --- over HTTP --------------------------------------------------------------------------------------------------------


async def over_http(frames: list[Frame], server: Callable[[Any], Awaitable[None]]) -> Replayed:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, open_http_server_wire(nursery) as wire:

            async def run() -> None:
                with suppress(MCPError):
                    await server(wire)

            nursery.start_soon(run)
            client = HttpClientWire(wire.url, nursery)
            found = await replay(Transcript(frames, "http"), client, patience=50)
            await client.aclose()
            nursery.cancel_scope.cancel()
    return found


def posted(frame: Frame, number: int, **more: Any) -> Frame:
    return Frame(frame.sender, frame.message, f"POST {number}", verb="POST", **more)


async def test_an_answer_that_came_by_resumption() -> None:
    frames = [
        posted(asks(1, "x"), 1),
        Frame(S, channel="POST 1", event="primed", event_id="then", status=200, verb="POST"),
        Frame(S, channel="POST 1", event="ended"),
        Frame(C, channel="GET 2", event="asked", verb="GET", headers={"last-event-id": "then"}),
        Frame(S, answers(1, {}).message, "GET 2", event_id="e2"),
    ]

    async def resuming(wire: Any) -> None:
        visit = wire.visit((await wire.receive()).channel)
        await visit.begin()
        await visit.event(b"", id="now")
        await visit.end()
        asked = await wire.receive()
        assert asked.headers["last-event-id"] == "now"
        await wire.visit(asked.channel).event(b'{"jsonrpc":"2.0","id":1,"result":{}}', id="e")

    found = await over_http(frames, resuming)
    assert found.same, found.differences


async def test_a_client_that_hung_up() -> None:
    frames = [
        posted(asks(1, "x"), 1),
        Frame(S, channel="POST 1", event="stream", status=200, verb="POST"),
        Frame(C, channel="POST 1", event="closed", verb="POST", at=40.0),
        posted(tells("notifications/tasks", {"taskId": "crossed the hang-up"}), 1, status=200),
        posted(answers(1, {}), 1, status=200),
        posted(asks(2, "y"), 2),
        posted(answers(2, {}), 2, status=200),
    ]
    events: list[str] = []

    async def server(wire: Any) -> None:
        await wire.visit((await wire.receive()).channel).begin()
        while len(events) < 2:
            frame = await wire.receive()
            events.append(frame.event or frame.method)
            if frame.method == "y":
                second = frame
        await wire.send(answers(2, {}).message, channel=second.channel)

    found = await over_http(frames, server)
    assert found.same, found.differences
    assert sorted(events) == ["closed", "y"]


@pytest.mark.parametrize("then", [200, 404])
@pytest.mark.parametrize("now", [200, 404])
async def test_the_status_of_an_answer(then: int, now: int) -> None:
    async def server(wire: Any) -> None:
        await wire.refuse(wire.visit((await wire.receive()).channel), now, answers(1, {}).message)

    found = await over_http([posted(asks(1, "x"), 1), posted(answers(1, {}), 1, status=then)], server)
    assert [difference.details for difference in found.differences] == (
        [] if then == now else [(f"status: was {then}, is {now}",)]
    )


@pytest.mark.parametrize("then", [202, 400])
@pytest.mark.parametrize("now", [202, 400])
async def test_the_status_of_what_has_no_answer(then: int, now: int) -> None:
    async def server(wire: Any) -> None:
        wire.accepts = False
        await wire.refuse(wire.visit((await wire.receive()).channel), now)

    event = "accepted" if then == 202 else "refused"
    verdict = Frame(S, channel="POST 1", event=event, status=then, verb="POST")
    found = await over_http([posted(tells("n", side=C), 1), verdict], server)
    assert whats(found) == ([] if then == now else ["differs"])


async def test_an_answer_that_is_a_refusal_now() -> None:
    async def server(wire: Any) -> None:
        await wire.refuse(wire.visit((await wire.receive()).channel), 500)

    found = await over_http([posted(asks(1, "x"), 1), posted(answers(1, {}), 1, status=200)], server)
    assert [difference.details for difference in found.differences] == [
        ("was answered, is refused", "status: was 200, is 500")
    ]
