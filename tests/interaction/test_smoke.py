import pytest
import trio

from mcp_tasks import *
from mcp_tasks.testing import *
from mcp_tasks.transports.memory import memory_transport_pair


async def test_unknown_key(autojump_clock):
    peer = Peer("sut", "0")

    @peer.tool(task="required")
    async def greet(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", {"name": str})
        return f"hi {answer.content['name']}"

    async with scripted(peer) as remote:
        created = await remote.request("tools/call", {"name": "greet", "task": {}})
        task_id = created["task"]["taskId"]
        question = await remote.expect("elicitation/create")
        await remote.quiet()
        assert (await remote.request("tasks/get", {"taskId": task_id}))["status"] == "input_required"
        await remote.reply(question, {"action": "accept", "content": {"name": "Ada"}})
        await remote.quiet()
        print(await remote.request("tasks/result", {"taskId": task_id}))
    check_leaks(peer)


async def test_client(autojump_clock):
    peer = Peer("sut", "0")
    async with scripted(peer, side=Side.CLIENT) as remote, trio.open_nursery() as n:

        @n.start_soon
        async def f():
            print(await remote.connection.call("tools/call", {"name": "x"}))

        r = await remote.expect("tools/call")
        await remote.reply(r, {"content": []})
    check_leaks(peer)


async def test_pair(autojump_clock):
    async with peer_pair() as pair:
        await pair.client.ping()
        await pair.server.ping()


async def test_value_error(autojump_clock):
    with pytest.raises(ValueError):
        async with peer_pair() as pair:
            raise ValueError
    with pytest.raises(ValueError):
        async with scripted(Peer("a", "0")) as pair:
            raise ValueError
    with pytest.raises(ValueError):
        async with scripted(Peer("a", "0"), side=Side.CLIENT) as pair:
            raise ValueError


async def test_transport():
    async def make():
        return memory_transport_pair()

    await check_transport(make)


async def test_store():
    async def make():
        return MemoryTaskStore()

    await check_task_store(make)
