"""Log messages by level, and lists a page at a time."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import Context, Limits, LocalProtocolError, Peer, RemoteProtocolError, RequestFailed, Side
from mcp_tasks.testing import peer_pair, scripted

MakePeer = Callable[..., Peer]
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


# --- logging ----------------------------------------------------------------------------------------------------------


def shouting(peer: Peer) -> Peer:
    @peer.tool
    async def shout(ctx: Context) -> None:
        for level in LEVELS:
            await ctx.log(level, {"said": level}, logger="voice")  # type: ignore[arg-type]

    return peer


@pytest.mark.requirement("C25-252", "C25-253", "C25-255")
@pytest.mark.parametrize("level", LEVELS)
async def test_messages_of_a_level_and_above_are_sent(make_peer: MakePeer, level: str) -> None:
    async with scripted(shouting(make_peer())) as remote:
        assert await remote.request("logging/setLevel", {"level": level}) == {}
        await remote.request("tools/call", {"name": "shout"})
        said = [message["params"] for message in remote.unread("notifications/message")]
    wanted = LEVELS[LEVELS.index(level) :]
    assert said == [{"level": one, "logger": "voice", "data": {"said": one}} for one in wanted]


@pytest.mark.requirement("C25-254")
async def test_without_a_level_the_server_picks(make_peer: MakePeer) -> None:
    async with scripted(shouting(make_peer())) as remote:
        await remote.request("tools/call", {"name": "shout"})
        assert [one["params"]["level"] for one in remote.unread("notifications/message")] == LEVELS[1:]


async def test_the_level_is_of_one_connection(make_peer: MakePeer) -> None:
    peer = shouting(make_peer())
    async with scripted(peer) as remote, scripted(peer) as other:
        await remote.request("logging/setLevel", {"level": "alert"})
        for one, count in ((remote, 2), (other, 7)):
            await one.request("tools/call", {"name": "shout"})
            assert len(one.unread("notifications/message")) == count


@pytest.mark.requirement("C25-255", "C25-256")
@pytest.mark.parametrize("params", [{"level": "loud"}, {"level": "Info"}, {"level": 3}, {"level": None}, {}])
async def test_a_level_that_is_none(make_peer: MakePeer, params: Any) -> None:
    async with scripted(shouting(make_peer())) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("logging/setLevel", params)
        assert caught.value.code == -32602
        assert caught.value.message.startswith("$.params.level: ")


@pytest.mark.parametrize("data", ["text", 5, None, [1], {"a": {"b": 1}}, True])
async def test_a_log_message_is_any_json(make_peer: MakePeer, data: Any) -> None:
    peer = make_peer()

    @peer.tool
    async def say(ctx: Context) -> None:
        await ctx.log("error", data)

    async with scripted(peer) as remote:
        await remote.request("tools/call", {"name": "say"})
        (message,) = remote.unread("notifications/message")
    assert message["params"] == {"level": "error", "data": data}


async def test_reports_outside_a_task_are_logged(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> None:
        await ctx.report("half way")

    async with scripted(peer) as remote:
        await remote.request("tools/call", {"name": "work"})
        (message,) = remote.unread("notifications/message")
    assert message["params"] == {"level": "info", "data": "half way"}


async def test_a_level_that_is_misspelt_and_a_client_that_logs(make_peer: MakePeer) -> None:
    caught: list[str] = []

    async def log(ctx: Context, params: Any) -> Any:
        try:
            await ctx.log(params["level"], "x")
        except LocalProtocolError as error:
            caught.append(str(error))
        return {}

    client, server = make_peer("c"), make_peer("s")
    client.handle("x/log")(log)
    server.handle("x/log")(log)
    async with peer_pair(client, server) as pair:
        await pair.client.call("x/log", {"level": "loud"})
        await pair.server.call("x/log", {"level": "info"})
    assert caught[0].startswith("'loud' is no logging level")
    assert caught[1] == "log messages go from a server to a client"


async def test_a_client_hears_what_it_asked_for(make_peer: MakePeer) -> None:
    client, heard = make_peer("c"), []

    @client.on("notifications/message")
    async def message(connection: Any, params: Any) -> None:
        heard.append((params.level, params.logger, params.data))

    async with peer_pair(client, shouting(make_peer("s"))) as pair:
        await pair.client.set_logging_level("critical")
        await pair.client.call_tool("shout")
        await pair.client.ping()
    assert heard == [(level, "voice", {"said": level}) for level in LEVELS[5:]]


# --- pages ------------------------------------------------------------------------------------------------------------


def fill(peer: Peer, kind: str, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        name = f"n{number}"
        if kind == "tools":
            peer.tool(name=name)(lambda: "x")
        elif kind == "prompts":
            peer.prompt(name=name)(lambda: "x")
        elif kind == "resources":
            peer.resource(f"r:{name}", name=name)(lambda: "x")
        else:
            peer.resource(f"t:{name}:{{v}}", name=name)(lambda v: "x")


LISTS = [
    ("tools", "tools/list", "tools"),
    ("prompts", "prompts/list", "prompts"),
    ("resources", "resources/list", "resources"),
    ("templates", "resources/templates/list", "resourceTemplates"),
]
VERBS = {
    "tools": "list_tools",
    "prompts": "list_prompts",
    "resources": "list_resources",
    "templates": "list_resource_templates",
}


@pytest.mark.requirement("C25-236", "C25-262", "C25-263", "C25-264")
@pytest.mark.parametrize(("kind", "method", "member"), LISTS)
@pytest.mark.parametrize(("count", "pages"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
async def test_lists_come_in_pages(
    make_peer: MakePeer, kind: str, method: str, member: str, count: int, pages: int
) -> None:
    peer = make_peer(limits=Limits(page_size=3))
    fill(peer, kind, count)
    names: list[str] = []
    async with scripted(peer) as remote:
        params: Any = {}
        for number in range(pages):
            page = await remote.request(method, params)
            assert ("nextCursor" in page) is (number < pages - 1)
            names += [entry["name"] for entry in page[member]]
            params = {"cursor": page.get("nextCursor")}
    assert names == [f"n{number}" for number in range(count)]
    async with peer_pair(make_peer("c"), peer) as pair:
        assert [entry.name async for entry in getattr(pair.client, VERBS[kind])()] == names


@pytest.mark.requirement("C25-262", "C25-265")
async def test_a_cursor_stays_right_while_entries_come_and_go(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(page_size=2))
    fill(peer, "tools", 6)
    async with scripted(peer) as remote:
        first = await remote.request("tools/list")
        for name in ("n0", "n1", "n2"):
            peer.remove_tool(name)
        fill(peer, "tools", 1, start=6)
        second = await remote.request("tools/list", {"cursor": first["nextCursor"]})
        again = await remote.request("tools/list", {"cursor": first["nextCursor"]})
        third = await remote.request("tools/list", {"cursor": second["nextCursor"]})
    assert [tool["name"] for tool in second["tools"]] == ["n3", "n4"]
    assert second == again
    assert [tool["name"] for tool in third["tools"]] == ["n5", "n6"]


@pytest.mark.requirement("C25-018", "C25-262", "C25-266")
@pytest.mark.parametrize(("kind", "method", "member"), LISTS)
@pytest.mark.parametrize("cursor", ["", "nope", "AAAA", "ü", "=" * 30, "x" * 10_000, 0, None, {}])
async def test_a_bad_cursor_is_refused(make_peer: MakePeer, kind: str, method: str, member: str, cursor: Any) -> None:
    peer = make_peer()
    fill(peer, kind, 3)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, {"cursor": cursor})
        assert caught.value.code == -32602
        assert caught.value.message.startswith("$.params.cursor: ")
        assert len((await remote.request(method))[member]) == 3


async def test_a_cursor_is_of_one_list(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(page_size=1))
    fill(peer, "tools", 2)
    fill(peer, "prompts", 2)
    async with scripted(peer) as remote:
        cursor = (await remote.request("tools/list"))["nextCursor"]
        with pytest.raises(RequestFailed) as caught:
            await remote.request("prompts/list", {"cursor": cursor})
        assert caught.value.code == -32602


async def listing(remote: Any, pages: list[Any]) -> Any:
    """What a client makes of these pages of prompts; how it asked for each."""
    names: list[str] = []
    failure: list[str] = []

    async def walk() -> None:
        try:
            async for prompt in remote.connection.list_prompts():
                names.append(prompt.name)
        except RemoteProtocolError as error:
            failure.append(str(error))

    asked = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(walk)
        for page in pages:
            request = await remote.expect("prompts/list")
            asked.append(request.get("params", {}).get("cursor"))
            await remote.reply(request, page)
    return names, failure, asked


@pytest.mark.requirement("C25-261", "C25-263", "C25-265")
async def test_a_client_takes_pages_of_any_size_and_hands_cursors_back_as_they_are(make_peer: MakePeer) -> None:
    cursors = ["1", "", "ü\n", "x" * 1000]
    sizes = [2, 0, 5, 1, 3]
    pages = [{"prompts": [{"name": f"{number}-{index}"} for index in range(size)]} for number, size in enumerate(sizes)]
    for page, cursor in zip(pages, cursors, strict=False):
        page["nextCursor"] = cursor  # type: ignore[assignment]
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        names, failure, asked = await listing(remote, pages)
        assert len(names) == sum(sizes)
        assert failure == []
        assert asked == [None, *cursors]
        await remote.quiet()
        assert remote.unread() == []


async def test_a_list_without_an_end_is_noticed(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        pages = [{"prompts": [], "nextCursor": cursor} for cursor in "aba"]
        _, failure, asked = await listing(remote, pages)
        assert failure == ["prompts/list: the cursor 'a' comes again; the list has no end"]
        assert asked == [None, "a", "b"]


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ({}, "$.result.prompts: required"),
        ({"prompts": [{}]}, "$.result.prompts[0].name: required"),
        ({"prompts": [], "nextCursor": 3}, "$.result.nextCursor: expected string, got integer"),
        ({"prompts": [], "nextCursor": None}, "$.result.nextCursor: expected string, got null"),
    ],
)
async def test_a_malformed_page_says_where(make_peer: MakePeer, page: Any, complaint: str) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        _, failure, _ = await listing(remote, [page])
        assert failure == [f"prompts/list: {complaint}"]
