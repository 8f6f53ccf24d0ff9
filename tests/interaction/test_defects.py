"""Defects of other systems, one test each: what their users suffered from must not happen here.

The numbers are those of the list we keep; what number 16 says of resuming streams needs HTTP. Where real frames matter
the server is a process of its own; nothing in it waits for time to pass.
"""

import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import mcp_tasks
from mcp_tasks import (
    ConnectionClosed,
    Context,
    Limits,
    Peer,
    RemoteProtocolError,
    RequestFailed,
    Sample,
    Side,
    TaskCancelled,
    TaskId,
    open_stdio,
)
from mcp_tasks.testing import check_leaks, peer_pair, scripted

PROGRAM = '''
import trio
from mcp_tasks import Context, Peer, serve_stdio

peer = Peer("program", "1.0")

@peer.tool(task="optional")
async def greet(ctx: Context, marker: str = "") -> str:
    """Greet whom the user names."""
    try:
        answer = await ctx.elicit("Who?", {"name": str})
        return f"hello {answer.content['name']}"
    finally:
        if marker:
            open(marker, "w").close()

if __name__ == "__main__":
    trio.run(serve_stdio, peer)
'''

PATIENCE_SECONDS = 60  # so that who waits in vain fails; no test takes that long
WORK = {"name": "work"}
TASK = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:30:00Z",
    "ttl": 60000,
    "pollInterval": 1000,
}


class User(Peer):
    """A client whose user answers once `may` is set; `asked` is set when the question is there."""

    def __init__(self) -> None:
        super().__init__("user", "1.0")
        self.may, self.asked = trio.Event(), trio.Event()

        @self.elicitation(task="optional")
        async def ask(ctx: Context, params: object) -> dict:
            self.asked.set()
            await self.may.wait()
            return {"name": "Ada"}


@pytest.fixture(params=["memory", "stdio"])
def program(request, tmp_path):
    """Connects a `User` to the program: in memory, or as a process of its own."""

    @asynccontextmanager
    async def connect(user: User):
        if request.param == "memory":
            names: dict = {"__name__": "program"}
            exec(PROGRAM, names)
            async with peer_pair(user, names["peer"]) as pair:
                with trio.fail_after(PATIENCE_SECONDS):
                    yield pair.client
            check_leaks(user, names["peer"])
        else:
            path = tmp_path / "program.py"
            path.write_text(PROGRAM)
            root = str(Path(mcp_tasks.__file__).parent.parent)
            env = {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
            async with (
                open_stdio([sys.executable, path], env=env) as transport,
                user.connect(transport, revision="2025-11-25") as connection,
            ):
                with trio.fail_after(PATIENCE_SECONDS):
                    yield connection
            check_leaks(user)

    return connect


def add_work(peer: Peer, **options) -> trio.Event:
    """A tool that is done when the returned event is set."""
    done = trio.Event()

    @peer.tool(**{"task": "optional", **options})
    async def work() -> str:
        await done.wait()
        return "done"

    return done


async def create(remote, **wish) -> dict:
    task = (await remote.request("tools/call", {**WORK, "task": wish}))["task"]
    await remote.quiet()
    return task


async def test_defect_01_the_first_of_two_waiters_never_wakes(program):
    user, results = User(), []
    async with program(user) as server, server.start("tools/call", {"name": "greet"}) as task:

        async def wait() -> None:
            results.append(await server.call("tasks/result", {"taskId": task.id}))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(wait)
            await user.asked.wait()
            await wait_all_tasks_blocked()
            user.may.set()
        assert [result["content"][0]["text"] for result in results] == ["hello Ada"] * 10


async def test_defect_02_expiry_leaves_blocked_readers_behind(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer)
    async with scripted(peer) as remote:
        task = await create(remote, ttl=1000)
        waiting = [await remote.ask("tasks/result", {"taskId": task["taskId"]}) for _ in range(5)]
        await trio.sleep(1)
        await remote.quiet()
        assert all(remote.answered(id) for id in waiting)


async def test_defect_02_a_reader_that_has_gone_stays_registered(make_peer, autojump_clock):
    peer = make_peer(limits=Limits(in_flight=2))
    done = add_work(peer)
    async with scripted(peer) as remote:
        task = await create(remote)
        for _ in range(100):
            id = await remote.ask("tasks/result", {"taskId": task["taskId"]})
            await remote.notify("notifications/cancelled", {"requestId": id})
            await remote.quiet()
        done.set()
        assert await remote.request("tasks/result", {"taskId": task["taskId"]})


async def test_defect_03_a_wait_is_made_of_polls(make_peer, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            async with remote.connection.start("tools/call", WORK) as task:
                await task.result()

        nursery.start_soon(drive)
        await remote.reply(await remote.expect("tools/call"), {"task": TASK})
        await trio.sleep(1000)
        [wait] = remote.unread()
        assert wait["method"] == "tasks/result"
        await remote.reply(wait, {"content": []})


async def test_defect_03_a_ttl_of_zero_is_unlimited(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer)
    async with scripted(peer) as remote:
        await create(remote, ttl=0)
        await remote.quiet()
        assert len(peer.tasks.store) == peer.tasks.live == 0


async def test_defect_04_task_work_is_tied_to_the_scope_of_its_request(make_peer, autojump_clock):
    server, ended = make_peer(), []

    @server.tool(task="optional")
    async def work(ctx: Context) -> str:
        try:
            await trio.sleep(100)  # its request was answered long ago
            await ctx.log("warning", "still here")
            return (await ctx.sample("hi")).content.text
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ended.append(ctx.task_id)

    async with scripted(server) as remote:
        task = await create(remote)
        question = await remote.expect("sampling/createMessage")
        answer = {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}
        await remote.reply(question, answer)
        assert (await remote.request("tasks/result", {"taskId": task["taskId"]}))["content"][0]["text"] == "x"
        second = await create(remote)
    assert ended == [task["taskId"], second["taskId"]], "and the end of the session waits for its handlers"


async def test_defect_05_cancel_overwrites_an_end_or_leaves_the_work_running(make_peer, autojump_clock):
    peer, stopped = make_peer(), []

    @peer.tool(task="optional")
    async def work() -> str:
        try:
            await trio.sleep(10)
            return "done"
        except trio.Cancelled:
            stopped.append(trio.current_time())
            raise

    async with scripted(peer) as remote:
        first = await create(remote)
        await trio.sleep(10)
        with pytest.raises(RequestFailed):
            await remote.request("tasks/cancel", {"taskId": first["taskId"]})
        assert (await remote.request("tasks/get", {"taskId": first["taskId"]}))["status"] == "completed"
        second = await create(remote)
        await remote.request("tasks/cancel", {"taskId": second["taskId"]})
        await remote.quiet()
        assert stopped == [10]


async def test_defect_06_a_task_is_gone_after_a_reconnect(make_peer, autojump_clock):
    server = make_peer()

    @server.tool(task="optional")
    async def work(ctx: Context) -> str:
        return str((await ctx.elicit("Who?", {"name": str})).content["name"])

    async with server:
        async with scripted(server, principal="ada") as remote:
            task = await create(remote)
            await remote.expect("elicitation/create")
        async with scripted(server, principal="ada") as remote:
            assert (await remote.request("tasks/get", {"taskId": task["taskId"]}))["status"] == "input_required"
            id = await remote.ask("tasks/result", {"taskId": task["taskId"]})
            question = await remote.expect("elicitation/create")
            await remote.reply(question, {"action": "accept", "content": {"name": "Ada"}})
            assert (await remote.answer(id))["content"][0]["text"] == "Ada"


async def test_defect_07_capabilities_are_half_filled_so_that_nobody_uses_tasks(program):
    user = User()
    async with program(user) as server:
        assert server.their_capabilities.tasks.requests.tools.call == {}
        assert server.their_capabilities.tasks.list == server.their_capabilities.tasks.cancel == {}
        assert server.capabilities.tasks.requests.elicitation.create == {}


async def test_defect_08_a_task_for_who_did_not_ask(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer).set()
    async with scripted(peer, capabilities={}) as remote:
        assert "content" in await remote.request("tools/call", WORK)
        assert "content" in await remote.request("tools/call", {**WORK, "_meta": {"task": {}}})
        assert (await remote.request("tasks/list"))["tasks"] == []


async def test_defect_08_a_task_is_taken_for_an_empty_success(make_peer, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            with pytest.raises(RemoteProtocolError, match="tools/call"):
                await remote.connection.call_tool("work")

        nursery.start_soon(drive)
        await remote.reply(await remote.expect("tools/list"), {"tools": []})
        await remote.reply(await remote.expect("tools/call"), {"task": TASK})


async def test_defect_09_the_first_interval_is_ignored_and_deadlines_are_seen_after_a_sleep(make_peer, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:
        left = []

        async def drive() -> None:
            with trio.move_on_after(45):
                async with remote.connection.start("tools/call", WORK) as task:
                    async for _ in task.updates():
                        pass
            left.append(trio.current_time())

        nursery.start_soon(drive)
        await remote.reply(await remote.expect("tools/call"), {"task": {**TASK, "pollInterval": 30_000}})
        poll = await remote.expect("tasks/get")
        assert trio.current_time() == pytest.approx(30)
        await remote.reply(poll, {**TASK, "status": "input_required", "pollInterval": 30_000})
        await remote.reply(await remote.expect("tasks/cancel"), {**TASK, "status": "cancelled"})
        await remote.quiet()
        assert left == [pytest.approx(45)]


async def test_defect_10_nothing_is_evicted_and_side_tables_grow(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer).set()
    async with peer, scripted(peer, principal="ada") as remote:
        for _ in range(200):
            await create(remote, ttl=1000)
        assert len(peer.links) == peer.tasks.live == 0
        await trio.sleep(1)
        await remote.quiet()
        assert len(peer.tasks.store) == 0
        sizes = {name: len(table) for name, table in vars(peer.tasks).items() if isinstance(table, (dict, set, list))}
        assert all(size <= 1 for size in sizes.values()), sizes


async def test_defect_10_one_slow_task_holds_a_lock(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer, name="slow")
    add_work(peer).set()
    async with scripted(peer) as remote:
        await remote.request("tools/call", {"name": "slow", "task": {}})
        task = await create(remote)
        await remote.request("tasks/result", {"taskId": task["taskId"]})
        assert trio.current_time() == 0


async def test_defect_11_one_bad_cancel_stops_the_others(make_peer, autojump_clock):
    server = make_peer()
    done = add_work(server)
    async with (
        peer_pair(make_peer(), server) as pair,
        pair.client.start("tools/call", WORK) as first,
        pair.client.start("tools/call", WORK) as second,
        pair.client.start("tools/call", WORK) as third,
    ):
        await first.cancel()
        with pytest.raises(RequestFailed, match="already"):
            await first.cancel()
        await second.cancel()
        done.set()
        assert await third.result()
        with pytest.raises(TaskCancelled):
            await second.result()


async def test_defect_12_a_feature_works_on_one_path_only(program):
    """Plain and as a task, in memory and over a pipe, the same tool asks the same question and gives the same."""
    user = User()
    user.may.set()
    async with program(user) as server:
        for task in (False, True):
            result = await server.call_tool("greet", {}, task=task)
            assert (result.content[0].text, result.is_error or False) == ("hello Ada", False)


async def test_defect_13_no_frame_ever_reached_a_real_server(program):
    user = User()
    async with program(user) as server, server.start("tools/call", {"name": "greet"}, ttl=60) as task:
        await user.asked.wait()
        assert (await task.status()).status.value == "input_required"
        assert [one.task_id async for one in server.list_tasks()] == [task.id]
        assert (await task.cancel()).status.value == "cancelled"
        with pytest.raises(TaskCancelled):
            await task.result()


async def test_defect_14_a_session_that_was_refused_stays_registered(make_peer, autojump_clock):
    peer = make_peer()
    for opening in (b"nonsense\n", b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}\n', b""):
        async with scripted(peer, handshake=False) as remote:
            await remote.send_raw(opening)
            await remote.quiet()
        assert not peer.connections


async def test_defect_14_an_idle_timer_kills_what_is_busy(make_peer, autojump_clock):
    peer = make_peer()
    done = add_work(peer)
    async with scripted(peer) as remote:
        call = await remote.ask("tools/call", WORK)
        await trio.sleep(86_399)
        done.set()
        assert "content" in await remote.answer(call)


async def test_defect_15_cleanup_does_not_run_when_the_session_ends(program, tmp_path):
    """However the client leaves, the work's ``finally`` has run when it has left; and no process stays."""
    user, marker = User(), tmp_path / "cleaned"
    params = {"name": "greet", "arguments": {"marker": str(marker)}}
    async with program(user) as server, server.start("tools/call", params) as task:
        await user.asked.wait()
        task.detach()
    assert marker.exists()


async def test_defect_16_the_end_of_the_stream_leaves_calls_waiting(make_peer, autojump_clock):
    ended = []
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            with pytest.raises(ConnectionClosed):
                async with remote.connection.start("tools/call", WORK) as task:
                    await task.result()
            ended.append(trio.current_time())

        nursery.start_soon(drive)
        await remote.reply(await remote.expect("tools/call"), {"task": TASK})
        await remote.expect("tasks/result")
        await remote.close()
        await remote.ended()
        await remote.quiet()
        assert ended == [pytest.approx(0, abs=2)]


async def test_defect_17_a_request_before_the_way_is_open_is_dropped(make_peer, autojump_clock):
    peer = make_peer()
    async with scripted(peer, handshake=False) as remote, trio.open_nursery() as nursery:
        nursery.start_soon(remote.connection.create_message, Sample("hi"))
        await remote.quiet()
        assert remote.received == []
        opening = {"protocolVersion": "2025-11-25", "clientInfo": {"name": "script", "version": "0"}}
        await remote.request("initialize", {**opening, "capabilities": {"sampling": {}}})
        await remote.quiet()
        assert remote.unread() == [], "queued until the handshake is through"
        await remote.notify("notifications/initialized")
        question = await remote.expect("sampling/createMessage")
        answer = {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}
        await remote.reply(question, answer)


async def test_defect_18_a_task_operation_goes_to_the_first_server(make_peer, autojump_clock):
    """The same id at two servers: a handle knows which one it is of."""
    first, second = (make_peer(name, mint_id=lambda: TaskId("same")) for name in ("first", "second"))
    add_work(first)
    add_work(second)
    async with (
        peer_pair(client := make_peer(), first) as to_first,
        peer_pair(client, second) as to_second,
        to_first.client.start("tools/call", WORK) as one,
        to_second.client.start("tools/call", WORK) as two,
    ):
        assert (await two.cancel()).status.value == "cancelled"
        assert (await one.status()).status.value == "working"
        with pytest.raises(mcp_tasks.LocalProtocolError, match="first"):
            async with to_second.client.resume(one.save()):
                pass


async def test_defect_19_methods_and_fields_are_invented(make_peer, autojump_clock):
    """Every frame of a whole life, in both directions, has only words of the schema."""
    frames: list[dict] = []

    def tap(data: bytes) -> list[bytes]:
        frames.extend(json.loads(line) for line in data.splitlines())
        return [data]

    user, server = User(), make_peer()
    user.may.set()

    @server.tool(task="required")
    async def work(ctx: Context) -> str:
        await ctx.progress(1, 2, "half")
        await ctx.report("asking")
        return str((await ctx.elicit("Who?", {"name": str})).content["name"])

    async with peer_pair(user, server, tap=tap) as pair:
        await pair.client.call_tool("work", on_progress=lambda report: None)
        user.may = trio.Event()
        async with pair.client.start("tools/call", WORK) as task:
            await wait_all_tasks_blocked()
            await task.cancel()
        assert [one.task_id async for one in pair.client.list_tasks()]
    requests = {"initialize", "tools/list", "tools/call", "elicitation/create"}
    requests |= {f"tasks/{name}" for name in ("result", "cancel", "list")}
    notices = {f"notifications/{name}" for name in ("initialized", "progress", "tasks/status", "cancelled")}
    assert {frame["method"] for frame in frames if "method" in frame} == requests | notices
    members = {"taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt", "ttl", "pollInterval"}
    statuses = [frame["params"] for frame in frames if frame.get("method") == "notifications/tasks/status"]
    created = [frame["result"]["task"] for frame in frames if "task" in frame.get("result", {})]
    assert len(statuses) >= 3
    assert len(created) == 2
    assert all(task.keys() <= members for task in statuses + created)
    check_leaks(user)


async def test_defect_20_credentials_stay_in_stored_tasks(make_peer, autojump_clock):
    """What a task was called with is not in its record."""
    peer = make_peer()

    @peer.tool(task="optional")
    async def work(token: str) -> str:
        return "done"

    async with scripted(peer, principal="ada") as remote:
        params = {"name": "work", "arguments": {"token": "s3cret"}, "task": {}, "_meta": {"auth": "s3cret"}}
        await remote.request("tools/call", params)
        [record] = peer.tasks.store.records()
        assert "s3cret" not in repr(record)
