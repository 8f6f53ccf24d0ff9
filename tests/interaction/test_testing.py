"""The testing helpers themselves, as far as the other tests do not use them in passing."""

import pytest
import trio

from mcp_tasks import Context, Peer, Side, memory_transport_pair
from mcp_tasks.testing import LeakError, NothingCame, check_leaks, check_transport, peer_pair, scripted


async def test_the_transport_in_memory_keeps_the_contract(autojump_clock):
    async def make():
        return memory_transport_pair()

    await check_transport(make)


async def test_both_ends_of_a_pair_are_open(make_peer, autojump_clock):
    async with peer_pair(make_peer(), make_peer()) as pair:
        await pair.client.ping()
        await pair.server.ping()


@pytest.mark.parametrize("side", [None, *Side])
async def test_an_exception_of_the_block_leaves_as_it_is(make_peer, side, autojump_clock):
    entered = peer_pair(make_peer(), make_peer()) if side is None else scripted(make_peer(), side=side)
    with pytest.raises(ValueError, match=r"^mine$"):
        async with entered:
            raise ValueError("mine")


@pytest.mark.parametrize("side", Side)
async def test_a_script_that_waits_for_nothing_fails(make_peer, side, autojump_clock):
    async with scripted(make_peer(), side=side) as remote:
        with pytest.raises(NothingCame, match="a never/sent, in vain; nothing else came"):
            await remote.expect("never/sent")


async def test_a_leak_is_found(autojump_clock):
    peer = Peer("leaky", "1.0")

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with scripted(peer) as remote:
        await remote.request("tools/call", {"name": "work", "task": {}})
        with pytest.raises(LeakError, match="1 tasks are live"):
            check_leaks(peer)
    check_leaks(peer)
