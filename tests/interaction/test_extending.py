"""What users add: methods and notifications of their own, middleware, and effects that happen once."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import (
    ConnectionClosed,
    Context,
    InvalidParams,
    LocalProtocolError,
    Peer,
    RequestFailed,
    Roots,
    Side,
)
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.server_features import CallToolParams, CallToolResult

MakePeer = Callable[..., Peer]


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return request.param  # type: ignore[no-any-return]


# --- methods of one's own ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-058", "C25-059")
async def test_a_method_of_an_extension(make_peer: MakePeer, side: Side) -> None:
    peer = make_peer()

    @peer.handle("com.example/double")
    async def double(ctx: Context, params: Any) -> Any:
        if "n" not in params:
            raise InvalidParams("$.params.n: required")
        return {"n": params["n"] * 2, "from": ctx.connection.peer_name, "task": ctx.task_id}

    async with scripted(peer, side=side) as remote:
        assert await remote.request("com.example/double", {"n": 4}) == {"n": 8, "from": "script 0", "task": None}
        with pytest.raises(RequestFailed) as caught:
            await remote.request("com.example/double")
        assert (caught.value.code, caught.value.message) == (-32602, "$.params.n: required")


async def test_a_plain_function_serves_in_a_thread(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.handle("x/plain")(lambda ctx, params: {"method": ctx.method})
    async with scripted(peer) as remote:
        assert await remote.request("x/plain") == {"method": "x/plain"}


async def test_a_handler_of_a_known_method_gets_the_params_as_they_came(make_peer: MakePeer) -> None:
    peer, seen = make_peer(), []

    @peer.handle("tools/call")
    async def call(ctx: Context, params: Any) -> Any:
        seen.append(params)
        return CallToolResult(content=[TextContent(text="raw")], extra={"more": 1})

    async with scripted(peer) as remote:
        params = {"name": "any", "arguments": {"x": 1}, "unknown": [1], "task": {"ignored": True}}
        assert await remote.request("tools/call", params) == {"content": [{"type": "text", "text": "raw"}], "more": 1}
        assert seen == [params]
        with pytest.raises(RequestFailed) as caught:
            await remote.request("tools/call", {"name": 5})
        assert caught.value.code == -32602
    assert len(seen) == 1


async def test_shapes_may_be_sent_where_json_may(make_peer: MakePeer) -> None:
    server = make_peer("s")
    server.tool(name="t")(lambda: "x")
    async with peer_pair(make_peer("c"), server) as pair:
        for params in ({"name": "t"}, CallToolParams(name="t")):
            result = await pair.client.call("tools/call", params)
            assert result == {"content": [{"type": "text", "text": "x"}]}


async def test_a_method_may_be_added_while_connected(make_peer: MakePeer, side: Side) -> None:
    peer = make_peer()
    async with scripted(peer, side=side) as remote:
        with pytest.raises(RequestFailed):
            await remote.request("x/later")
        peer.handle("x/later")(lambda ctx, params: {"here": 1})
        assert await remote.request("x/later") == {"here": 1}


async def test_notifications_of_ones_own(make_peer: MakePeer) -> None:
    client, server = make_peer("c"), make_peer("s")
    heard: list[Any] = []

    for peer in (client, server):

        @peer.on("com.example/tell")
        async def told(connection: Any, params: Any) -> None:
            heard.append((connection.side, params))

    async with peer_pair(client, server) as pair:
        await pair.client.notify("com.example/tell", {"n": 1})
        await pair.server.notify("com.example/tell", {"n": 2})
        await pair.client.notify("com.example/tell")
        await pair.client.ping()
        await pair.server.ping()
    assert sorted(heard, key=str) == sorted(
        [(Side.SERVER, {"n": 1}), (Side.SERVER, {}), (Side.CLIENT, {"n": 2})], key=str
    )


# --- middleware -------------------------------------------------------------------------------------------------------


async def test_middleware_is_around_everything_that_is_handled(make_peer: MakePeer) -> None:
    peer, log = make_peer(), []

    def around(name: str) -> Any:
        async def layer(ctx: Context, proceed: Any) -> Any:
            log.append(f"{name} in {ctx.method}")
            try:
                return await proceed()
            finally:
                log.append(f"{name} out")

        return layer

    peer.middleware(around("outer"))
    peer.middleware(around("inner"))
    peer.tool(name="t")(lambda: log.append("work") or "x")
    async with scripted(peer) as remote:
        await remote.request("tools/call", {"name": "t"})
        assert log == ["outer in tools/call", "inner in tools/call", "work", "inner out", "outer out"]
        log.clear()
        await remote.request("tools/list")
        assert log[0] == "outer in tools/list"
        log.clear()
        await remote.request("ping")
        with pytest.raises(RequestFailed):
            await remote.request("x/unknown")
        assert log == []


async def test_middleware_may_answer_itself_change_answers_and_refuse(make_peer: MakePeer, side: Side) -> None:
    peer = make_peer()

    @peer.middleware
    async def guard(ctx: Context, proceed: Any) -> Any:
        if ctx.params.get("refuse"):
            raise InvalidParams("not you")
        if ctx.params.get("shortcut"):
            return {"from": "guard"}
        result = await proceed()
        return {**result, "seen": True}

    peer.handle("x/work")(lambda ctx, params: {"from": "work"})
    async with scripted(peer, side=side) as remote:
        assert await remote.request("x/work", {}) == {"from": "work", "seen": True}
        assert await remote.request("x/work", {"shortcut": 1}) == {"from": "guard"}
        with pytest.raises(RequestFailed) as caught:
            await remote.request("x/work", {"refuse": 1})
        assert (caught.value.code, caught.value.message) == (-32602, "not you")


async def test_middleware_may_try_again(make_peer: MakePeer) -> None:
    peer, tries = make_peer(), []

    @peer.middleware
    async def again(ctx: Context, proceed: Any) -> Any:
        for _ in range(3):
            try:
                return await proceed()
            except OSError:
                continue
        raise AssertionError("not reached")

    @peer.handle("x/flaky")
    async def flaky(ctx: Context, params: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return {"tries": len(tries)}

    async with scripted(peer) as remote:
        assert await remote.request("x/flaky") == {"tries": 3}


async def test_middleware_that_fails_is_an_internal_error(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.middleware
    async def broken(ctx: Context, proceed: Any) -> Any:
        raise ValueError("secret")

    peer.handle("x/work")(lambda ctx, params: {})
    async with scripted(peer) as remote:
        response = await remote.response(await remote.ask("x/work"))
        assert response["error"]["code"] == -32603
        assert "secret" not in response["error"]["message"]


async def test_middleware_has_a_time_limit_of_its_own(
    make_peer: MakePeer, autojump_clock: trio.testing.MockClock
) -> None:
    peer = make_peer()

    @peer.middleware
    async def limit(ctx: Context, proceed: Any) -> Any:
        with trio.move_on_after(5):
            return await proceed()
        raise RequestFailed(-32000, "too slow")

    async def forever(ctx: Context, params: Any) -> Any:
        await trio.sleep_forever()

    peer.handle("x/slow")(forever)
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed, match="too slow"):
            await remote.request("x/slow")


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_an_effect_happens_once(make_peer: MakePeer) -> None:
    peer, effects = make_peer(), []

    async def effect() -> Any:
        effects.append(1)
        return {"paid": len(effects)}

    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        first = await ctx.once("pay", effect)
        try:
            await ctx.once("pay", effect)
        except LocalProtocolError as error:
            return {"first": first, "again": str(error)}
        raise AssertionError("not reached")

    async with scripted(peer) as remote:
        again = "the key 'pay' was used before in this handler"
        assert await remote.request("x/work") == {"first": {"paid": 1}, "again": again}
        assert await remote.request("x/work") == {"first": {"paid": 2}, "again": again}


async def test_an_effect_that_fails_is_not_kept(make_peer: MakePeer) -> None:
    peer = make_peer()

    async def effect() -> Any:
        raise RequestFailed(-32000, "no")

    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        await ctx.once("pay", effect)
        raise AssertionError("not reached")

    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed, match="no"):
            await remote.request("x/work")


async def test_keys_are_shared_by_questions_and_effects(make_peer: MakePeer) -> None:
    client, server = make_peer("c"), make_peer("s")
    client.roots = ["file:///a"]
    failed: list[str] = []

    async def effect() -> Any:
        return 1

    @server.tool
    async def work(ctx: Context) -> str:
        roots = await ctx.ask("key", Roots())
        try:
            await ctx.once("key", effect)
        except LocalProtocolError as error:
            failed.append(str(error))
        await ctx.roots()
        await ctx.roots()  # without a key each has its own
        return roots[0].uri

    async with peer_pair(client, server) as pair:
        result = await pair.client.call_tool("work")
    assert result.content == [TextContent(text="file:///a")]
    assert failed == ["the key 'key' was used before in this handler"]


async def test_a_context_knows_its_request(make_peer: MakePeer) -> None:
    peer, seen = make_peer(), []

    @peer.handle("x/look")
    async def look(ctx: Context, params: Any) -> Any:
        seen.append((ctx.principal, ctx.method, ctx.params, ctx.meta, ctx.progress_token, ctx.task_id))
        return {}

    async with scripted(peer, principal="ada") as remote:
        await remote.request("x/look", {"a": 1, "_meta": {"progressToken": "t", "x/y": 2}})
    params = {"a": 1, "_meta": {"progressToken": "t", "x/y": 2}}
    assert seen == [("ada", "x/look", params, params["_meta"], "t", None)]


async def test_a_context_whose_connection_has_ended(
    make_peer: MakePeer, autojump_clock: trio.testing.MockClock
) -> None:
    peer, kept = make_peer(), []

    @peer.handle("x/look")
    async def look(ctx: Context, params: Any) -> Any:
        kept.append(ctx)
        return {}

    async with scripted(peer) as remote:
        await remote.request("x/look", {"_meta": {"progressToken": 1}})
    (ctx,) = kept
    await ctx.progress(1)
    await ctx.log("error", "nobody hears it")
    with pytest.raises(ConnectionClosed):
        await ctx.roots()
