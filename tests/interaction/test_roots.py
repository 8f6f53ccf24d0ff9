"""Roots: what a client lets a server know of its file system."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import CapabilityMissing, Context, LocalProtocolError, Peer, RemoteProtocolError, RequestFailed, Side
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import Root

MakePeer = Callable[..., Peer]
CHANGED = "notifications/roots/list_changed"


@pytest.mark.requirement("C25-353")
async def test_a_client_lists_its_roots(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.roots = ["file:///a", Root(uri="file:///b%20c", name="B", meta={"x/y": 1})]
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert await remote.request("roots/list") == {
            "roots": [{"uri": "file:///a"}, {"uri": "file:///b%20c", "name": "B", "_meta": {"x/y": 1}}]
        }
        assert await remote.request("roots/list", {"_meta": {"a/b": 1}}) != {}
    assert [root.uri for root in peer.roots] == ["file:///a", "file:///b%20c"]


async def test_no_roots_at_all_and_an_empty_list(make_peer: MakePeer) -> None:
    peer = make_peer()
    assert peer.roots == ()
    async with scripted(peer, side=Side.CLIENT) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("roots/list")
        assert caught.value.code == -32601
    peer.roots = []
    async with scripted(peer, side=Side.CLIENT) as remote:
        assert await remote.request("roots/list") == {"roots": []}


@pytest.mark.requirement("C25-353")
@pytest.mark.parametrize("uri", ["/a", "https://e.com", "file:/a", "", "FILE"])
def test_a_root_is_a_file_uri(make_peer: MakePeer, uri: str) -> None:
    peer = make_peer()
    with pytest.raises(LocalProtocolError, match="file:// URI"):
        peer.roots = ["file:///good", uri]
    assert peer.roots == ()


@pytest.mark.requirement("C25-352")
async def test_servers_are_told_of_changes(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.roots = ["file:///a"]
    async with (
        scripted(peer, side=Side.CLIENT) as remote,
        scripted(peer, side=Side.CLIENT) as other,
        scripted(peer, side=Side.SERVER) as client,
    ):
        peer.roots = ["file:///b"]
        for one in (remote, other):
            assert (await one.expect(CHANGED)).keys() == {"jsonrpc", "method"}
            assert (await one.request("roots/list"))["roots"] == [{"uri": "file:///b"}]
        await client.quiet()
        assert client.unread() == []  # there we are the server, and have no roots


async def test_roots_that_were_not_announced_change_in_silence(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with scripted(peer, side=Side.CLIENT) as remote:
        peer.roots = ["file:///a"]
        await remote.quiet()
        assert remote.unread() == []


@pytest.mark.requirement("C25-351", "C25-352", "C25-358", "C25-359")
async def test_a_server_asks_and_hears_of_changes(make_peer: MakePeer) -> None:
    client, server = make_peer("c"), make_peer("s")
    client.roots = ["file:///a"]
    seen: list[list[str]] = []

    @server.on(CHANGED)
    async def changed(connection: Any, params: Any) -> None:
        seen.append([root.uri for root in await connection.list_roots()])

    @server.tool
    async def where(ctx: Context) -> list[str]:
        return [root.uri for root in await ctx.roots()]

    async with peer_pair(client, server) as pair:
        assert [root.uri for root in await pair.server.list_roots()] == ["file:///a"]
        client.roots = ["file:///b", "file:///c"]
        result = await pair.client.call_tool("where")
        assert result.structured_content == {"result": ["file:///b", "file:///c"]}
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [["file:///b", "file:///c"]]
    async with peer_pair(make_peer("without"), server) as pair:
        with pytest.raises(CapabilityMissing):
            await pair.server.list_roots()


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        ({}, "$.result.roots: required"),
        ({"roots": [{"name": "x"}]}, "$.result.roots[0].uri: required"),
        ({"roots": {}}, "$.result.roots: expected array, got object"),
    ],
)
async def test_a_malformed_answer_says_where(make_peer: MakePeer, result: Any, complaint: str) -> None:
    async with scripted(make_peer()) as remote, trio.open_nursery() as nursery:
        failed: list[str] = []

        async def ask() -> None:
            assert remote.connection is not None
            try:
                await remote.connection.list_roots()
            except RemoteProtocolError as error:
                failed.append(str(error))

        nursery.start_soon(ask)
        await remote.reply(await remote.expect("roots/list"), result)
        await remote.quiet()
        assert failed == [f"roots/list: {complaint}"]
