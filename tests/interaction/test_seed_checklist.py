"""The seed, feature by feature: what rmcp's first tasks offered, and the mirror of it that was never merged.

One test per row of the checklist: F for the features, M for the mirror on the client's side. The defects that its
review found are in `test_seed_review`.
"""

import pytest
import trio
import trio.testing

from mcp_tasks import Context, Limits, Progress, RequestFailed, Sample, Side, TaskId
from mcp_tasks.testing import peer_pair, scripted

SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 10}
SAMPLED = {"role": "assistant", "content": {"type": "text", "text": "hello"}, "model": "m"}
TASK_FIELDS = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttl", "pollInterval"}


def add_work(peer, finished: trio.Event) -> None:
    """A tool that is done when it is told, and cannot fail."""

    @peer.tool(task="optional")
    async def work() -> str:
        await finished.wait()
        return "done"


async def create(remote, name: str = "work", **wish) -> dict:
    return (await remote.request("tools/call", {"name": name, "task": wish}))["task"]


# --- F: the features --------------------------------------------------------------------------------------------------


async def test_F1_tasks_statuses_and_shapes(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer, finished := trio.Event())

    @peer.tool(task="optional")
    async def asks(ctx: Context) -> str:
        await ctx.elicit("Who?", {"name": str})
        raise RequestFailed(-1, "no")

    async with scripted(peer) as remote:
        task, asking = await create(remote), await create(remote, "asks")
        question = await remote.expect("elicitation/create")
        cancelled = await remote.request("tasks/cancel", {"taskId": (await create(remote))["taskId"]})
        listed = (await remote.request("tasks/list"))["tasks"]
        assert [one["status"] for one in listed] == ["working", "input_required", "cancelled"]
        finished.set()
        await remote.reply(question, {"action": "decline"})
        result = await remote.request("tasks/result", {"taskId": task["taskId"]})
        assert result["content"] == [{"type": "text", "text": "done"}]
        with pytest.raises(RequestFailed):
            await remote.request("tasks/result", {"taskId": asking["taskId"]})
        listed = (await remote.request("tasks/list"))["tasks"]
        assert [one["status"] for one in listed] == ["completed", "failed", "cancelled"]
        assert all(one.keys() - {"statusMessage"} == TASK_FIELDS for one in [task, cancelled, *listed])


async def test_F2_typed_requests_reach_the_receiver(make_peer, autojump_clock):
    server = make_peer()
    add_work(server, finished := trio.Event())
    async with peer_pair(make_peer(), server) as pair, pair.client.start("tools/call", {"name": "work"}) as task:
        assert (await task.status()).status.value == "working"
        assert [one.task_id async for one in pair.client.list_tasks()] == [task.id]
        finished.set()
        assert (await task.result())["content"][0]["text"] == "done"
    async with scripted(server, revision="2025-06-18") as remote:
        for method in ("tasks/get", "tasks/result", "tasks/list", "tasks/cancel"):
            with pytest.raises(RequestFailed) as caught:
                await remote.request(method, {"taskId": "t"})
            assert caught.value.code == -32601


async def test_F3_the_task_member_routes_to_a_task_and_without_it_the_call_is_plain(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer, finished := trio.Event())
    finished.set()
    async with scripted(peer) as remote:
        assert "task" in await remote.request("tools/call", {"name": "work", "task": {}})
        assert "content" in await remote.request("tools/call", {"name": "work"})


async def test_F4_both_sides_announce_tasks_and_nobody_writes_that_by_hand(make_peer, autojump_clock):
    client, server = make_peer(), make_peer()
    add_work(server, trio.Event())

    @client.sampling(task="optional")
    async def sample(ctx: Context, params: object) -> dict:
        return SAMPLED

    async with peer_pair(client, server) as pair:
        theirs, ours = pair.client.their_capabilities.tasks, pair.server.their_capabilities.tasks
        assert theirs.requests.tools.call == theirs.list == theirs.cancel == {}
        assert ours.requests.sampling.create_message == ours.list == ours.cancel == {}


async def test_F5_a_registry_runs_counts_lists_keeps_and_cancels(make_peer, autojump_clock):
    ids = iter(["a", "a", "b", "c"])
    peer = make_peer(mint_id=lambda: TaskId(next(ids)))
    add_work(peer, finished := trio.Event())
    async with scripted(peer) as remote:
        await create(remote)
        with pytest.raises(RequestFailed) as caught:
            await create(remote)
        assert caught.value.code == -32603, "an id that exists is not given out again"
        for _ in "bc":
            await create(remote)
        assert peer.tasks.live == 3
        await remote.request("tasks/cancel", {"taskId": "b"})
        assert peer.tasks.live == 2
        finished.set()
        for _ in range(2):
            assert await remote.request("tasks/result", {"taskId": "a"})
        assert [one["taskId"] for one in (await remote.request("tasks/list"))["tasks"]] == ["a", "b", "c"]
    assert peer.tasks.live == len(peer.tasks.store) == 0, "and all of them end with who asked for them"


async def test_F6_a_task_knows_its_request_and_has_a_limit_by_default(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer, trio.Event())
    async with scripted(peer, principal="ada") as remote:
        task = await create(remote)
        record = await peer.tasks.get(task["taskId"], "ada")
        assert (record.id, record.method, record.principal) == (task["taskId"], "tools/call", "ada")
        assert record.ttl_ms == Limits().default_ttl_ms


async def test_F7_one_registration_serves_all_methods_and_a_handler_can_be_replaced(make_peer, autojump_clock):
    peer = make_peer()
    add_work(peer, trio.Event())

    @peer.handle("tools/call", task="required")
    async def mine(ctx: Context, params: dict) -> dict:
        return {"content": [], "structuredContent": {"mine": params["name"]}}

    async with scripted(peer) as remote:
        task = await create(remote, "anything")
        result = await remote.request("tasks/result", {"taskId": task["taskId"]})
        assert result["structuredContent"] == {"mine": "anything"}
        for method in ("tasks/get", "tasks/list"):
            assert await remote.request(method, {"taskId": task["taskId"]})


async def test_F8_a_long_tool_from_end_to_end(make_peer, autojump_clock):
    server, reports = make_peer(), []

    @server.tool(task="required")
    async def count(ctx: Context, up_to: int) -> str:
        for number in range(1, up_to + 1):
            await trio.sleep(60)
            await ctx.progress(number, up_to)
        return f"counted to {up_to}"

    async with peer_pair(make_peer(), server) as pair:
        result = await pair.client.call_tool("count", {"up_to": 3}, on_progress=reports.append)
        assert result.content[0].text == "counted to 3"
        assert reports == [Progress(number, 3) for number in (1, 2, 3)]
        assert trio.current_time() == pytest.approx(180)


async def test_F9_tools_say_whether_they_can_be_tasks_and_status_notices_have_a_handler(make_peer, autojump_clock):
    client, server, told = make_peer(), make_peer(), []
    for policy in ("forbidden", "optional", "required"):

        async def run() -> str:
            return "done"

        server.tool(name=policy, task=policy)(run)

    @client.on("notifications/tasks/status")
    async def status(connection: object, task) -> None:
        told.append(task.status.value)

    async with peer_pair(client, server) as pair:
        tools = {tool.name: tool.execution async for tool in pair.client.list_tools()}
        assert [getattr(tools[name], "task_support", None) for name in ("optional", "required")] == [
            "optional",
            "required",
        ]
        for params in ({"name": "required"}, {"name": "forbidden", "task": {}}):
            with pytest.raises(RequestFailed) as caught:
                await pair.client.call("tools/call", params)
            assert caught.value.code == -32601
        await pair.client.call_tool("required")
        await trio.testing.wait_all_tasks_blocked()
        assert told == ["completed"]


# --- M: the mirror ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sampler(make_peer):
    """A client whose model is a task; it says hello once it may."""
    peer = make_peer()
    peer.may = trio.Event()

    @peer.handle("sampling/createMessage", task="optional")
    async def sample(ctx: Context, params: dict) -> dict:
        await peer.may.wait()
        return SAMPLED

    return peer


async def test_M1_a_server_sends_all_four_task_requests(sampler, make_peer, autojump_clock):
    async with peer_pair(sampler, make_peer()) as pair:
        async with pair.server.start("sampling/createMessage", SAMPLE) as task:
            assert (await task.status()).task_id == task.id
            assert [one.task_id async for one in pair.server.list_tasks()] == [task.id]
            assert (await task.cancel()).status.value == "cancelled"
        sampler.may.set()
        async with pair.server.start("sampling/createMessage", SAMPLE) as task:
            assert (await task.result())["content"]["text"] == "hello"


async def test_M2_a_client_without_tasks_does_not_know_the_methods(make_peer, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT, revision="2025-06-18") as remote:
        for method in ("tasks/get", "tasks/result", "tasks/list", "tasks/cancel"):
            with pytest.raises(RequestFailed) as caught:
                await remote.request(method, {"taskId": "t"})
            assert caught.value.code == -32601


async def test_M3_a_clients_answers_have_the_five_shapes(sampler, autojump_clock):
    async with scripted(sampler, side=Side.CLIENT) as remote:
        created = await remote.request("sampling/createMessage", {**SAMPLE, "task": {}})
        id = {"taskId": created["task"]["taskId"]}
        assert created["task"].keys() == TASK_FIELDS
        assert (await remote.request("tasks/get", id)).keys() == TASK_FIELDS
        assert (await remote.request("tasks/list")).keys() == {"tasks"}
        sampler.may.set()
        assert (await remote.request("tasks/result", id)).items() >= SAMPLED.items()
        sampler.may = trio.Event()
        other = (await remote.request("sampling/createMessage", {**SAMPLE, "task": {}}))["task"]
        cancelled = await remote.request("tasks/cancel", {"taskId": other["taskId"]})
        assert cancelled.keys() == TASK_FIELDS | {"statusMessage"}


async def test_M4_a_client_announces_what_it_does(sampler, make_peer, autojump_clock):
    @sampler.elicitation(task="required")
    async def ask(ctx: Context, params: object) -> dict:
        return {}

    async with scripted(sampler, side=Side.CLIENT, handshake=False) as remote:
        opening = await remote.expect("initialize")
        assert opening["params"]["capabilities"]["tasks"] == {
            "list": {},
            "cancel": {},
            "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
        }


async def test_M5_a_client_is_a_receiver_in_earnest(sampler, make_peer, autojump_clock):
    """A tool of the server's waits for a task of the client's; the whole of it is in the receiver's tests."""
    server = make_peer()

    @server.tool
    async def translate(ctx: Context) -> str:
        return (await ctx.connection.create_message(Sample("hi"), task=True)).content.text

    async with peer_pair(sampler, server) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(release_after, 30, sampler.may)
        assert (await pair.client.call_tool("translate")).content[0].text == "hello"
        assert sampler.tasks.live == 0


async def release_after(seconds: float, event: trio.Event) -> None:
    await trio.sleep(seconds)
    event.set()


@pytest.mark.parametrize("method", ["tasks/delete", "tasks/create", "tasks/enqueue", "tasks/update"])
async def test_M6_there_are_no_methods_but_those_of_the_schema(sampler, method, autojump_clock):
    async with scripted(sampler, side=Side.CLIENT) as remote:
        task = (await remote.request("sampling/createMessage", {**SAMPLE, "task": {}}))["task"]
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, {"taskId": task["taskId"]})
        assert caught.value.code == -32601
        assert (await remote.request("tasks/get", {"taskId": task["taskId"]}))["status"] == "working"


async def test_M7_typed_helpers_and_a_raw_way_beside_them(sampler, make_peer, autojump_clock):
    sampler.may.set()
    async with peer_pair(sampler, make_peer()) as pair:
        assert (await pair.server.create_message(Sample("hi"), task=True)).content.text == "hello"
        created = await pair.server.call("sampling/createMessage", {**SAMPLE, "task": {"ttl": 5000}})
        assert created["task"]["ttl"] == 5000
        result = await pair.server.call("tasks/result", {"taskId": created["task"]["taskId"]})
        assert result["content"]["text"] == "hello"
