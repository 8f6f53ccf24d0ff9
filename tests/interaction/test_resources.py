"""Resources: reading them, templates, subscriptions, and what is missing."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import Context, LocalProtocolError, Peer, RequestFailed, ResourceNotFound, Side
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.content import Annotations, BlobResourceContents, Icon, TextResourceContents
from mcp_tasks.wire.server_features import ReadResourceResult
from mcp_tasks.wire.utilities import EmptyResult

MakePeer = Callable[..., Peer]


async def read(remote: Any, uri: Any) -> Any:
    return (await remote.request("resources/read", {"uri": uri}))["contents"]


@pytest.mark.requirement("C25-219")
async def test_resources_are_listed_with_everything_that_is_known_of_them(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.resource(
        "shop://menu",
        title="Menu",
        mime_type="text/markdown",
        size=12,
        annotations=Annotations(audience=["user"], priority=1, last_modified="2025-01-12T15:00:58Z"),
        icons=[Icon(src="https://e.com/i.png")],
        meta={"a/b": 1},
    )
    def menu() -> str:
        """What there is."""
        return "# Menu"

    @peer.resource("shop://dish/{name}", name="dish", mime_type="text/plain", description="A dish")
    def dish(name: str) -> str:
        return name

    async with scripted(peer) as remote:
        assert await remote.request("resources/list") == {
            "resources": [
                {
                    "uri": "shop://menu",
                    "name": "menu",
                    "title": "Menu",
                    "description": "What there is.",
                    "mimeType": "text/markdown",
                    "size": 12,
                    "annotations": {"audience": ["user"], "priority": 1, "lastModified": "2025-01-12T15:00:58Z"},
                    "icons": [{"src": "https://e.com/i.png"}],
                    "_meta": {"a/b": 1},
                }
            ]
        }
        assert await remote.request("resources/templates/list") == {
            "resourceTemplates": [
                {"uriTemplate": "shop://dish/{name}", "name": "dish", "mimeType": "text/plain", "description": "A dish"}
            ]
        }


READY = ReadResourceResult(contents=[TextResourceContents(uri="other:uri", text="x")], meta={"a/b": 1})


@pytest.mark.requirement("C25-217", "C25-226")
@pytest.mark.parametrize(
    ("value", "contents"),
    [
        ("text", [{"uri": "r:x", "mimeType": "m/t", "text": "text"}]),
        ("", [{"uri": "r:x", "mimeType": "m/t", "text": ""}]),
        (b"\0\xff", [{"uri": "r:x", "mimeType": "m/t", "blob": "AP8="}]),
        (
            ["a", b"b"],
            [{"uri": "r:x", "mimeType": "m/t", "text": "a"}, {"uri": "r:x", "mimeType": "m/t", "blob": "Yg=="}],
        ),
        ([], []),
        (
            TextResourceContents(uri="r:x/sub", text="t", meta={"a/b": 1}),
            [{"uri": "r:x/sub", "text": "t", "_meta": {"a/b": 1}}],
        ),
        (BlobResourceContents.from_bytes("r:x", b"z", "i/p"), [{"uri": "r:x", "mimeType": "i/p", "blob": "eg=="}]),
        (READY, [{"uri": "other:uri", "text": "x"}]),
    ],
    ids=repr,
)
async def test_what_a_function_returns_becomes_contents(make_peer: MakePeer, value: Any, contents: Any) -> None:
    peer = make_peer()
    peer.resource("r:x", name="x", mime_type="m/t")(lambda: value)
    async with scripted(peer) as remote:
        assert await read(remote, "r:x") == contents


@pytest.mark.requirement("C25-223")
@pytest.mark.parametrize("value", [None, 5, object(), [None]])
async def test_what_is_no_contents_is_an_internal_error(make_peer: MakePeer, value: Any) -> None:
    peer = make_peer()
    peer.resource("r:x", name="x")(lambda: value)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await read(remote, "r:x")
        assert caught.value.code == -32603


@pytest.mark.parametrize(
    ("template", "uri", "variables"),
    [
        ("f:///{name}", "f:///a", {"name": "a"}),
        ("f:///{name}", "f:///a%20b%2Fc", {"name": "a b/c"}),
        ("f:///{name}", "f:///a/b", None),
        ("f:///{name}", "f:///", None),
        ("f:///{name}", "f:///a?x", None),
        ("f:///{+path}", "f:///a/b.txt", {"path": "a/b.txt"}),
        ("f:///{path*}", "f:///a/b.txt", {"path": "a/b.txt"}),
        ("g://{user}/r/{n}.git", "g://ada/r/x.y.git", {"user": "ada", "n": "x.y"}),
        ("g://{user}/r/{n}.git", "g://ada/r/x", None),
        ("g://{user}/a.b", "g://u/aXb", None),
        ("q://x?[{v}]", "q://x?[1]", {"v": "1"}),
    ],
)
async def test_templates(make_peer: MakePeer, template: str, uri: str, variables: Any) -> None:
    peer = make_peer()
    names = [part.split("}")[0].strip("+*") for part in template.split("{")[1:]]
    space: dict[str, Any] = {}
    exec(f"def read({', '.join(f'{name}: str' for name in names)}): return repr(locals())", space)
    peer.resource(template, name="t")(space["read"])
    async with scripted(peer) as remote:
        if variables is None:
            with pytest.raises(RequestFailed) as caught:
                await read(remote, uri)
            assert caught.value.code == -32002
        else:
            assert await read(remote, uri) == [{"uri": uri, "text": repr(variables)}]


@pytest.mark.requirement("C25-224")
async def test_variables_of_a_template_are_checked(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.resource("n://{number}/{ctx_free}")
    async def numbers(ctx: Context, number: str, ctx_free: str) -> str:
        return f"{ctx.method} {number}"

    async with scripted(peer) as remote:
        assert (await read(remote, "n://5/x"))[0]["text"] == "resources/read 5"


@pytest.mark.requirement("C25-018", "C25-222", "C25-224")
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("resources/read", {"uri": "no:thing"}, -32002),
        ("resources/read", {"uri": ""}, -32002),
        ("resources/read", {}, -32602),
        ("resources/read", {"uri": 3}, -32602),
        ("resources/subscribe", {"uri": "no:thing"}, -32002),
        ("resources/subscribe", {}, -32602),
        ("resources/unsubscribe", {"uri": None}, -32602),
    ],
)
async def test_what_is_not_there(make_peer: MakePeer, method: str, params: Any, code: int) -> None:
    peer = make_peer()
    peer.resource("r:x", name="x")(lambda: "t")
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, params)
        assert caught.value.code == code
        if code == -32002:
            assert caught.value.data == {"uri": params["uri"]}
            assert caught.value.message == f"Resource not found: {params['uri']}"


async def test_a_function_may_say_that_there_is_nothing(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.resource("d://{name}")
    def lookup(name: str) -> str:
        raise ResourceNotFound(f"d://{name}")

    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed) as caught:
            await read(remote, "d://x")
        assert (caught.value.code, caught.value.data) == (-32002, {"uri": "d://x"})


@pytest.mark.requirement("C25-221")
def test_declarations_that_are_wrong(make_peer: MakePeer) -> None:
    peer = make_peer()
    for uri in ("no-scheme", "/path", "1x:y", ""):
        with pytest.raises(LocalProtocolError, match="no URI"):
            peer.resource(uri, name="x")(lambda: "t")
    with pytest.raises(LocalProtocolError, match="has to take"):
        peer.resource("a:{b}", name="x")(lambda: "t")
    with pytest.raises(LocalProtocolError, match="has to take"):
        peer.resource("a:b", name="x")(lambda c: "t")
    peer.resource("a:b", name="x")(lambda: "t")
    with pytest.raises(LocalProtocolError, match="already"):
        peer.resource("a:b", name="x")(lambda: "t")
    with pytest.raises(KeyError):
        peer.remove_resource("a:c")


@pytest.mark.requirement("C25-214")
async def test_who_is_connected_is_told_of_changes(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.resource("a:b", name="x")(lambda: "t")
    async with scripted(peer) as remote:
        for change in (
            lambda: peer.resource("a:c", name="y")(lambda: "t"),
            lambda: peer.remove_resource("a:b"),
            lambda: peer.resource("a:{d}", name="z")(lambda d: "t"),
            lambda: peer.remove_resource("a:{d}"),
        ):
            change()
            notice = await remote.expect("notifications/resources/list_changed")
            assert notice.keys() == {"jsonrpc", "method"}
        assert [entry["uri"] for entry in (await remote.request("resources/list"))["resources"]] == ["a:c"]
        assert (await remote.request("resources/templates/list"))["resourceTemplates"] == []


@pytest.mark.requirement("C25-215", "C25-216")
async def test_updates_go_to_subscribers_only(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.resource("a:b", name="x")(lambda: "t")
    peer.resource("t:{n}", name="t")(lambda n: n)
    async with scripted(peer) as remote, scripted(peer) as other:
        assert await remote.request("resources/subscribe", {"uri": "a:b"}) == {}
        assert await remote.request("resources/subscribe", {"uri": "a:b"}) == {}
        assert await other.request("resources/subscribe", {"uri": "t:1"}) == {}
        await peer.resource_updated("a:b")
        await peer.resource_updated("t:1")
        await peer.resource_updated("t:2")
        updated = "notifications/resources/updated"
        assert (await remote.expect(updated))["params"] == {"uri": "a:b"}
        assert (await other.expect(updated))["params"] == {"uri": "t:1"}
        assert await remote.request("resources/unsubscribe", {"uri": "a:b"}) == {}
        assert await remote.request("resources/unsubscribe", {"uri": "never:subscribed"}) == {}
        await peer.resource_updated("a:b")
        await remote.quiet()
        assert remote.unread() == []
        assert other.unread() == []


async def test_a_subscription_ends_with_its_connection(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.resource("a:b", name="x")(lambda: "t")
    async with scripted(peer) as remote:
        await remote.request("resources/subscribe", {"uri": "a:b"})
        assert remote.connection is not None
        await remote.connection.aclose()
        await peer.resource_updated("a:b")
    async with scripted(peer) as again:
        await peer.resource_updated("a:b")
        await again.quiet()
        assert again.unread() == []


# --- both sides -------------------------------------------------------------------------------------------------------


async def test_a_client_reads_and_watches(make_peer: MakePeer) -> None:
    client, server = make_peer("c"), make_peer("s")
    server.resource("a:b", name="x", mime_type="image/png")(lambda: b"\x89PNG")
    server.resource("t:{n}", name="t")(lambda n: n)
    heard: list[str] = []

    @client.on("notifications/resources/updated")
    async def updated(connection: Any, params: Any) -> None:
        heard.append(params.uri)

    async with peer_pair(client, server) as pair:
        assert [entry.uri async for entry in pair.client.list_resources()] == ["a:b"]
        assert [entry.uri_template async for entry in pair.client.list_resource_templates()] == ["t:{n}"]
        (contents,) = (await pair.client.read_resource("a:b")).contents
        assert isinstance(contents, BlobResourceContents)
        assert contents.to_bytes() == b"\x89PNG"
        (text,) = (await pair.client.read_resource("t:5")).contents
        assert isinstance(text, TextResourceContents)
        assert (text.text, text.uri) == ("5", "t:5")
        await pair.client.subscribe("a:b")
        await server.resource_updated("a:b")
        await pair.client.unsubscribe("a:b")
        await server.resource_updated("a:b")
        await pair.client.ping()
    assert heard == ["a:b"]


async def test_contents_that_are_no_base64_are_seen_when_they_are_used(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        assert remote.connection is not None
        got: list[Any] = []

        async def fetch() -> None:
            got.append(await remote.connection.read_resource("a:b"))  # type: ignore[union-attr]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            request = await remote.expect("resources/read")
            assert request["params"] == {"uri": "a:b"}
            await remote.reply(request, {"contents": [{"uri": "a:b", "blob": "***"}]})
    with pytest.raises(ValueError, match="base64"):
        got[0].contents[0].to_bytes()


async def test_a_handler_of_ones_own_takes_the_place(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.resource("a:b", name="x")(lambda: "t")

    @peer.handle("resources/subscribe")
    async def subscribe(ctx: Context, params: Any) -> Any:
        return EmptyResult(meta={"a/b": params["uri"]})

    async with scripted(peer) as remote:
        assert await remote.request("resources/subscribe", {"uri": "any:thing"}) == {"_meta": {"a/b": "any:thing"}}
