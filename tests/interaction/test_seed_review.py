"""The seed, defect by defect: what the review of rmcp's first tasks found, or somebody did later. None is here."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import trio

from mcp_tasks import Clock, Context, Limits, RequestFailed, Side
from mcp_tasks.testing import scripted

RELATED = "io.modelcontextprotocol/related-task"


@pytest.fixture
def lab(make_peer):
    """A server with one tool, `work`, which is done when `lab.done` is set, or fails with `lab.error`."""
    peer = make_peer(clock=Clock(1_760_000_000.0), limits=Limits(page_size=2))
    peer.done, peer.error, peer.cleaned = trio.Event(), None, []

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        try:
            await peer.done.wait()
            if peer.error is not None:
                raise peer.error
            return "done"
        finally:
            peer.cleaned.append(ctx.task_id)

    return peer


async def create(remote, **wish) -> dict:
    task = (await remote.request("tools/call", {"name": "work", "task": wish}))["task"]
    await remote.quiet()
    return task


async def about(remote, verb: str, task: dict) -> dict:
    return await remote.request(f"tasks/{verb}", {"taskId": task["taskId"]})


async def test_R1_timestamps_are_recorded_and_not_invented(lab, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote)
        await trio.sleep(10)
        assert await about(remote, "get", task) == task
        lab.done.set()
        await remote.quiet()
        done = await about(remote, "get", task)
        await trio.sleep(10)
        assert await about(remote, "get", task) == done
        assert (done["createdAt"], done["lastUpdatedAt"]) == ("2025-10-09T08:53:20.000Z", "2025-10-09T08:53:30.000Z")


async def test_R2_one_lifetime_and_one_result(lab, autojump_clock):
    """Finishing, cancelling and expiring in one moment give one answer and one status."""
    async with scripted(lab) as remote:
        task = await create(remote, ttl=1000)
        waiting = await remote.ask("tasks/result", {"taskId": task["taskId"]}, id="waiting")
        await trio.sleep(1)
        lab.done.set()
        await remote.ask("tasks/cancel", {"taskId": task["taskId"]})
        await remote.quiet()
        assert [message.get("id") for message in remote.received].count(waiting) == 1
        statuses = [m["params"]["status"] for m in remote.received if m.get("method") == "notifications/tasks/status"]
        assert len(statuses) == 1


async def test_R3_the_lifetime_is_watched_by_itself(lab, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote, ttl=1000)
        await trio.sleep(1)
        await remote.quiet()
        assert lab.cleaned == [task["taskId"]]
        assert len(lab.tasks.store) == lab.tasks.live == 0


async def test_R4_finished_tasks_are_bounded_and_evicted(lab, autojump_clock):
    lab.done.set()
    async with scripted(lab) as remote:
        for _ in range(100):
            await create(remote, ttl=1000)
        assert len(lab.tasks.store) == 100
        await trio.sleep(1)
        await remote.quiet()
        assert len(lab.tasks.store) == len(lab.links) == 0


async def test_R5_looking_at_tasks_takes_no_result_away(lab, autojump_clock):
    lab.done.set()
    async with scripted(lab) as remote:
        task = await create(remote)
        await about(remote, "get", task)
        await remote.request("tasks/list")
        assert (await about(remote, "result", task))["content"][0]["text"] == "done"


async def test_R6_the_list_is_whole(lab, autojump_clock):
    async with scripted(lab) as remote:
        tasks = [await create(remote, ttl=5000) for _ in range(3)]
        await about(remote, "cancel", tasks[0])
        first = await remote.request("tasks/list")
        second = await remote.request("tasks/list", {"cursor": first["nextCursor"]})
        found = first["tasks"] + second["tasks"]
        assert [task["status"] for task in found] == ["cancelled", "working", "working"]
        assert [task["ttl"] for task in found] == [5000] * 3


async def test_R7_an_id_has_nothing_to_do_with_the_request(lab, autojump_clock):
    ids = []
    for _ in range(2):
        async with scripted(lab) as remote:
            ids.append((await remote.request("tools/call", {"name": "work", "task": {}}, id=1))["task"]["taskId"])
    assert ids[0] != ids[1]
    assert all(len(id) >= 22 for id in ids)


async def test_R8_a_result_can_be_read_twice(lab, autojump_clock):
    lab.done.set()
    async with scripted(lab) as remote:
        task = await create(remote)
        assert await about(remote, "result", task) == await about(remote, "result", task)


async def test_R9_waiting_costs_nothing(lab, autojump_clock):
    """Nothing is due before the end of the task's lifetime: nobody polls."""
    async with scripted(lab) as remote:
        task = await create(remote, ttl=3_600_000)
        await remote.ask("tasks/result", {"taskId": task["taskId"]})
        await remote.quiet()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == pytest.approx(3600)


async def test_R10_an_error_keeps_its_code_message_and_data(lab, autojump_clock):
    lab.error = RequestFailed(-32055, "the very error", {"detail": [1]})
    lab.done.set()
    async with scripted(lab) as remote:
        task = await create(remote)
        id = await remote.ask("tasks/result", {"taskId": task["taskId"]})
        error = (await remote.response(id))["error"]
        assert error == {"code": -32055, "message": "the very error", "data": {"detail": [1]}}


async def test_R11_a_cancelled_task_is_cancelled_and_not_failed(lab, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote)
        assert (await about(remote, "cancel", task))["status"] == "cancelled"
        await remote.quiet()
        assert (await about(remote, "get", task))["status"] == "cancelled"


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_R12_terminal_state_never_flips(lab, cancel_first, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote)
        if not cancel_first:
            lab.done.set()
        await remote.ask("tasks/cancel", {"taskId": task["taskId"]})
        lab.done.set()
        await remote.quiet()
        statuses = [m["params"]["status"] for m in remote.received if m.get("method") == "notifications/tasks/status"]
        assert len(statuses) == 1
        await trio.sleep(10)
        assert (await about(remote, "get", task))["status"] == statuses[0]


async def test_R13_a_cancel_reaches_the_work_and_its_cleanup_runs(lab, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote)
        await about(remote, "cancel", task)
        await remote.quiet()
        assert lab.cleaned == [task["taskId"]]


async def test_R14_what_was_not_announced_is_not_done(make_peer, autojump_clock):
    async with scripted(make_peer()) as remote:
        for method in ("tools/call", "tasks/list", "tasks/cancel"):
            with pytest.raises(RequestFailed) as caught:
                await remote.request(method, {"name": "work", "taskId": "t", "task": {}})
            assert caught.value.code == -32601


async def test_R15_capabilities_are_objects_and_a_wrong_one_does_not_break_the_handshake(lab, autojump_clock):
    opening = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "script", "version": "0"}}
    async with scripted(lab, handshake=False) as remote:
        capabilities = {"tasks": {"list": {}, "unknown": 7, "requests": {"future/method": {}}}, "other": []}
        result = await remote.request("initialize", {**opening, "capabilities": capabilities})
        assert result["capabilities"]["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}


async def test_R16_each_method_has_its_own_shape(lab, autojump_clock):
    """A request with everything in it is still what its method says."""
    async with scripted(lab) as remote:
        task = await create(remote)
        everything = {"taskId": task["taskId"], "name": "work", "uri": "x:", "cursor": None, "task": {}}
        assert (await remote.request("tasks/get", everything))["status"] == "working"
        with pytest.raises(RequestFailed, match=r"\$\.params\.cursor"):
            await remote.request("tasks/list", everything)
        assert (await remote.request("tasks/cancel", everything))["status"] == "cancelled"
        with pytest.raises(RequestFailed, match="cancelled"):
            await remote.request("tasks/result", everything)


async def test_R17_the_wire_is_that_of_the_specification(lab, autojump_clock):
    lab.done.set()
    async with scripted(lab) as remote:
        task = await create(remote, ttl=5000)
        got = await about(remote, "get", task)
        assert got.keys() == {"taskId", "status", "createdAt", "lastUpdatedAt", "ttl", "pollInterval"}
        assert got["ttl"] == 5000
        result = await about(remote, "result", task)
        assert result == {
            "content": [{"type": "text", "text": "done"}],
            "_meta": {RELATED: {"taskId": task["taskId"]}},
        }


@pytest.mark.parametrize("verb", ["get", "result", "cancel"])
async def test_R18_an_unknown_id_is_invalid_params(lab, verb, autojump_clock):
    async with scripted(lab) as remote:
        with pytest.raises(RequestFailed) as caught:
            await about(remote, verb, {"taskId": "nobody-knows"})
        assert caught.value.code == -32602


async def test_R19_ttl_is_milliseconds_and_says_how_long_a_task_is_kept(lab, autojump_clock):
    async with scripted(lab) as remote:
        task = await create(remote, ttl=5000)
        await trio.sleep(4.999)
        lab.done.set()
        await remote.quiet()
        assert (await about(remote, "get", task))["status"] == "completed"
        await trio.sleep(0.001)
        with pytest.raises(RequestFailed, match="not found"):
            await about(remote, "get", task)


def test_R20_result_cancel_and_list_are_tested():
    """Each observable rule of tasks is cited by some test; those of streams have no stream to be seen on."""
    cited = set()
    for path in Path(__file__).parent.parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("requirement"):
                cited.update(word.value for word in node.args if isinstance(word, ast.Constant))
    assert {"T25-088", "T25-089", "T25-112", "T25-113", "T25-115", "T25-116"} <= cited
    assert len([id for id in cited if re.fullmatch(r"T25-\d{3}", id)]) >= 125


def test_R21_registering_is_plain(make_peer):
    """A decorator leaves the function alone, bare or with options; nothing needs an alias or a builder."""
    peer = make_peer()

    def plain(text: str) -> str:
        return text

    for name, decorate in {"a": peer.tool(name="a"), "b": peer.tool(name="b", task="required")}.items():
        assert decorate(plain) is plain, name
    assert peer.tool(plain) is plain
    assert list(inspect.signature(plain).parameters) == ["text"]


async def test_R22_notices_related_task_and_input_required(make_peer, autojump_clock):
    peer = make_peer()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        return str((await ctx.elicit("Who?", {"name": str})).content["name"])

    async with scripted(peer) as remote:
        task = await create(remote)
        question = await remote.expect("elicitation/create")
        assert question["params"]["_meta"] == {RELATED: {"taskId": task["taskId"]}}
        assert (await about(remote, "get", task))["status"] == "input_required"
        await remote.reply(question, {"action": "accept", "content": {"name": "Ada"}})
        assert (await about(remote, "result", task))["content"][0]["text"] == "Ada"
        statuses = [message["params"]["status"] for message in remote.unread("notifications/tasks/status")]
        assert statuses == ["input_required", "working", "completed"]


@pytest.mark.parametrize("side", Side)
async def test_still_open_in_the_seed_today(make_peer, side, caplog, autojump_clock):
    """A handler that panics, and one that asks after a cancel, both end; neither stays at work."""
    peer, method = make_peer(), "tools/call" if side is Side.SERVER else "sampling/createMessage"

    @peer.handle(method, task="optional")
    async def panic(ctx: Context, params: dict) -> dict:
        raise ZeroDivisionError

    params = {"name": "x"} if side is Side.SERVER else {"messages": [], "maxTokens": 1}
    async with scripted(peer, side=side) as remote:
        task = (await remote.request(method, {**params, "task": {}}))["task"]
        await remote.quiet()
        assert (await about(remote, "get", task))["status"] == "failed"
        assert peer.tasks.live == 0
