"""What a review by a fresh pair of eyes has found in asking, each finding as a test named after what must hold."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import ConnectionClosed, Context, InvalidParams, Limits, Peer, RequestFailed, Side
from mcp_tasks.tasks.model import Raised
from mcp_tasks.tasks.store import MemoryTaskStore
from mcp_tasks.testing import Remote, peer_pair, scripted

MakePeer = Callable[..., Peer]

TASK = {
    "taskId": "t",
    "status": "working",
    "createdAt": "2026-01-01T00:00:00Z",
    "lastUpdatedAt": "2026-01-01T00:00:00Z",
    "ttl": None,
    "pollInterval": 1000,
}
SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 10}
SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "ho"}, "model": "m"}


async def answer_all(remote: Remote, method: str, result: dict[str, Any]) -> None:
    """Answer every request of a method the same; runs until it is cancelled."""
    while True:
        await remote.reply(await remote.expect(method), result)


# --- requestors (j_progress, k_exit, g_tb, s_tools, o_closed, n_misc) -------------------------------------------------


async def test_updates_polls_beside_frequent_progress(make_peer: MakePeer, autojump_clock: Any) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:

        async def follow() -> None:
            start = remote.connection.start("tools/call", {"name": "work"}, on_progress=lambda progress: None)
            async with start as handle:
                async for _ in handle.updates():
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, remote, "tasks/get", TASK)
            nursery.start_soon(answer_all, remote, "tasks/cancel", {**TASK, "status": "cancelled"})
            nursery.start_soon(follow)
            request = await remote.expect("tools/call")
            await remote.reply(request, {"task": TASK})
            token = request["params"]["_meta"]["progressToken"]
            for number in range(40):
                await trio.sleep(0.5)
                await remote.notify("notifications/progress", {"progressToken": token, "progress": number})
            assert [m.get("method") for m in remote.received].count("tasks/get") >= 10
            nursery.cancel_scope.cancel()


async def test_leaving_the_block_cancels_a_task_that_works_though_its_result_was_refused(
    make_peer: MakePeer, autojump_clock: Any
) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:

        async def use() -> None:
            with pytest.raises(RequestFailed, match="Too many"):
                async with remote.connection.start("tools/call", {"name": "work"}) as handle:
                    await handle.result()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await remote.reply(await remote.expect("tools/call"), {"task": TASK})
            await remote.refuse(await remote.expect("tasks/result"), -32603, "Too many requests at once")
            await remote.reply(await remote.expect("tasks/get"), TASK)
            await remote.quiet()
            [request] = remote.unread("tasks/cancel")
            await remote.reply(request, {**TASK, "status": "cancelled"})


def frames_of(error: BaseException) -> int:
    trace, count = error.__traceback__, 0
    while trace is not None:
        trace, count = trace.tb_next, count + 1
    return count


def add_failing(peer: Peer) -> None:
    @peer.tool(task="optional")
    async def work() -> str:
        raise InvalidParams("no")


async def test_reading_an_error_many_times_does_not_make_the_kept_one_grow(make_peer: MakePeer) -> None:
    store = MemoryTaskStore()
    peer = make_peer(store=store)
    add_failing(peer)
    async with peer_pair(server=peer) as pair, pair.client.start("tools/call", {"name": "work"}) as handle:
        for _ in range(50):
            with pytest.raises(RequestFailed):
                await pair.client.await_task(handle.id)
        [record] = store.records()
        assert isinstance(record.outcome, Raised)
        assert frames_of(record.outcome.error) < 20


async def test_raising_a_handles_error_many_times_does_not_make_it_grow(make_peer: MakePeer) -> None:
    peer = make_peer()
    add_failing(peer)
    async with peer_pair(server=peer) as pair, pair.client.start("tools/call", {"name": "work"}) as handle:
        for _ in range(50):
            with pytest.raises(RequestFailed) as caught:
                await handle.result()
        assert frames_of(caught.value) < 20


async def test_a_list_that_changes_while_it_is_read_is_read_again(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:

        async def use() -> None:
            await remote.connection.call_tool("x")
            await remote.connection.call_tool("x")
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            listing = await remote.expect("tools/list")
            await remote.notify("notifications/tools/list_changed")
            await remote.quiet()
            await remote.reply(listing, {"tools": []})
            nursery.start_soon(answer_all, remote, "tools/list", {"tools": []})
            nursery.start_soon(answer_all, remote, "tools/call", {"content": []})
        assert [m.get("method") for m in remote.received].count("tools/list") >= 2
        assert [m.get("method") for m in remote.received].count("tools/call") == 2


async def test_a_call_says_that_the_connection_was_closed_before_the_handshake(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote:

        async def ask() -> None:
            with pytest.raises(ConnectionClosed):
                await remote.connection.call("roots/list")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await remote.quiet()
            await remote.close()


async def test_a_poll_interval_may_be_any_number(make_peer: MakePeer, autojump_clock: Any) -> None:
    task = {**TASK, "pollInterval": 10**400}
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        seen: list[str] = []

        async def follow() -> None:
            async with remote.connection.start("tools/call", {"name": "work"}) as handle:
                seen.extend([update.status.value async for update in handle.updates()])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await remote.reply(await remote.expect("tools/call"), {"task": task})
            await remote.reply(await remote.expect("tasks/get"), {**task, "status": "cancelled"})
        assert seen == ["working", "cancelled"]


# --- what is announced and served (y_newer, n_misc, x_subs) -----------------------------------------------------------


async def test_tasks_that_were_not_announced_are_not_made_in_a_newer_revision_either(make_peer: MakePeer) -> None:
    client = make_peer()

    @client.sampling(task="optional")
    async def sample(ctx: Context, params: Any) -> Any:
        return SAMPLED

    async with scripted(client, side=Side.CLIENT, revision="2025-06-18", handshake=False) as remote:
        opening = await remote.expect("initialize")
        assert "tasks" not in opening["params"]["capabilities"]
        server = {"name": "script", "version": "0"}
        await remote.reply(opening, {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": server})
        await remote.expect("notifications/initialized")
        response = await remote.response(await remote.ask("sampling/createMessage", {**SAMPLE, "task": {}}))
        assert "task" not in response.get("result", {})
        assert "error" in await remote.response(await remote.ask("tasks/list"))


async def test_a_tool_may_be_added_beside_a_handler_of_the_list(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("tools/list")
    async def list_tools(ctx: Context, params: Any) -> Any:
        return {"tools": []}

    @peer.tool
    async def work() -> str:
        return "x"

    async with peer_pair(server=peer) as pair:
        assert [tool async for tool in pair.client.list_tools()] == []
        assert (await pair.client.call_tool("work")).text == "x"


async def test_a_tool_may_return_a_mapping_whose_keys_are_no_strings(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work() -> dict[int, str]:
        return {1: "a"}

    async with peer_pair(server=peer) as pair:
        assert (await pair.client.call_tool("work")).text == '{"1":"a"}'


async def test_subscriptions_are_limited(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(subscriptions=3))

    @peer.resource("r://{+x}")
    async def read(x: str) -> str:
        return ""

    async with scripted(peer) as remote:
        for number in (0, 1, 2, 2):
            await remote.request("resources/subscribe", {"uri": f"r://{number}"})
        with pytest.raises(RequestFailed, match="limit"):
            await remote.request("resources/subscribe", {"uri": "r://3"})
        await remote.request("resources/unsubscribe", {"uri": "r://0"})
        await remote.request("resources/subscribe", {"uri": "r://3"})
