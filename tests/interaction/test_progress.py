"""Progress, in both directions: tokens, growth, order, and what nobody asked for."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import Context, Limits, LocalProtocolError, Peer, Progress, RequestFailed, Side
from mcp_tasks.testing import Remote, peer_pair, scripted

MakePeer = Callable[..., Peer]


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return request.param  # type: ignore[no-any-return]


def reporting(peer: Peer, *reports: tuple[Any, ...]) -> Peer:
    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        for report in reports:
            await ctx.progress(*report)
        return {"token": ctx.progress_token}

    return peer


# --- we report --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-159", "C25-161", "C25-167")
@pytest.mark.parametrize("token", ["abc", "", 0, 7, -1])
async def test_progress_is_sent_under_the_token_and_before_the_answer(
    make_peer: MakePeer, side: Side, token: Any
) -> None:
    peer = reporting(make_peer(), (0, 10), (2.5, 10, "quarter"), (10, 10.5))
    async with scripted(peer, side=side) as remote:
        before = len(remote.received)
        await remote.request("x/work", {"_meta": {"progressToken": token}})
        *reports, answer = remote.received[before:]
        assert [report["method"] for report in reports] == ["notifications/progress"] * 3
        assert [report["params"] for report in reports] == [
            {"progressToken": token, "progress": 0, "total": 10},
            {"progressToken": token, "progress": 2.5, "total": 10, "message": "quarter"},
            {"progressToken": token, "progress": 10, "total": 10.5},
        ]
        assert all(type(report["params"]["progressToken"]) is type(token) for report in reports)
        assert answer["result"] == {"token": token}


@pytest.mark.requirement("C25-163", "C25-164")
async def test_without_a_token_nothing_is_sent(make_peer: MakePeer, side: Side) -> None:
    peer = reporting(make_peer(), (1,), (2,))
    async with scripted(peer, side=side) as remote:
        before = len(remote.received)
        assert await remote.request("x/work", {}) == {"token": None}
        assert await remote.request("x/work", {"_meta": {"progressToken": None}}) == {"token": None}
        assert len(remote.received) == before + 2


@pytest.mark.requirement("C25-157")
@pytest.mark.parametrize("token", [1.5, True, {}, []])
async def test_a_token_that_is_none_is_refused(make_peer: MakePeer, side: Side, token: Any) -> None:
    async with scripted(reporting(make_peer()), side=side) as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("x/work", {"_meta": {"progressToken": token}})
        assert caught.value.code == -32602
        assert caught.value.message.startswith("$.params._meta.progressToken: expected string or integer, got ")


@pytest.mark.requirement("C25-160")
@pytest.mark.parametrize("reports", [[(1,), (1,)], [(5,), (4.5,)], [(0,), (-1,)], [(1.0,), (1,)]])
@pytest.mark.parametrize("wanted", [True, False])
async def test_progress_has_to_grow(make_peer: MakePeer, reports: Any, wanted: bool) -> None:
    caught: list[str] = []
    peer = make_peer()

    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        await ctx.progress(*reports[0])
        try:
            await ctx.progress(*reports[1])
        except LocalProtocolError as error:
            caught.append(str(error))
        return {}

    async with scripted(peer) as remote:
        await remote.request("x/work", {"_meta": {"progressToken": 1} if wanted else {}})
        assert len(remote.unread("notifications/progress")) == wanted
    assert caught == [f"progress has to grow: {reports[1][0]} after {reports[0][0]}"]


@pytest.mark.requirement("C25-163", "C25-167")
async def test_nothing_is_reported_once_the_request_is_over(make_peer: MakePeer, side: Side) -> None:
    peer = make_peer()
    kept: list[Context] = []

    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        kept.append(ctx)
        if params.get("wait"):
            await trio.sleep_forever()
        return {}

    async with scripted(peer, side=side) as remote:
        await remote.request("x/work", {"_meta": {"progressToken": 1}})
        await remote.ask("x/work", {"_meta": {"progressToken": 2}, "wait": True}, id="w")
        await remote.quiet()
        await remote.notify("notifications/cancelled", {"requestId": "w"})
        await remote.quiet()
        for ctx in kept:
            await ctx.progress(1)
        await remote.quiet()
        assert remote.unread() == []


# --- they report ------------------------------------------------------------------------------------------------------


class Call:
    """A call of the peer under test that wants progress."""

    def __init__(self, remote: Remote, nursery: trio.Nursery) -> None:
        assert remote.connection is not None
        self.remote, self.connection = remote, remote.connection
        self.heard: list[Progress] = []
        self.result: Any = None
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        self.result = await self.connection.call("x/ask", on_progress=self.heard.append)

    async def request(self) -> Any:
        return await self.remote.expect("x/ask")


async def report(remote: Remote, token: Any, progress: Any, **members: Any) -> None:
    await remote.notify("notifications/progress", {"progressToken": token, "progress": progress, **members})


def token_of(request: Any) -> Any:
    return request["params"]["_meta"]["progressToken"]


@pytest.mark.requirement("C25-157", "C25-159", "C25-161")
async def test_the_caller_hears_of_progress_in_order(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        call = Call(remote, nursery)
        request = await call.request()
        token = token_of(request)
        assert type(token) in (int, str)
        await report(remote, token, 1)
        await report(remote, token, 1.5, total=3, message="half way")
        await remote.quiet()
        assert call.heard == [Progress(1), Progress(1.5, 3, "half way")]
        await report(remote, token, 2, total=3)
        await remote.reply(request, {"ok": 1})
        await remote.quiet()
        assert call.heard[2:] == [Progress(2, 3)]
        assert call.result == {"ok": 1}


@pytest.mark.requirement("C25-158")
async def test_tokens_are_unique_among_active_requests(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        calls = [Call(remote, nursery) for _ in range(10)]
        requests = [await remote.expect("x/ask") for _ in calls]
        tokens = [token_of(request) for request in requests]
        assert len(set(map(repr, tokens))) == 10
        for number, token in enumerate(tokens):
            await report(remote, token, number)
        for request in requests:
            await remote.reply(request, {})
        await remote.quiet()
        heard = [call.heard for call in calls]
        assert sorted(progress.progress for (progress,) in heard) == list(range(10))


async def test_no_token_is_sent_where_nobody_listens(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        nursery.start_soon(remote.connection.call, "x/ask")
        request = await remote.expect("x/ask")
        assert "params" not in request
        await remote.reply(request, {})


@pytest.mark.requirement("C25-165")
@pytest.mark.parametrize("token", ["unknown", 10**6, -1])
async def test_progress_under_an_unknown_token_is_ignored(make_peer: MakePeer, side: Side, token: Any) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        call = Call(remote, nursery)
        request = await call.request()
        before = len(remote.received)
        await report(remote, token, 1)
        await report(remote, str(token_of(request)) + "x", 1)
        await remote.quiet()
        assert call.heard == []
        assert len(remote.received) == before
        await remote.reply(request, {})


@pytest.mark.requirement("C25-165")
async def test_progress_after_the_answer_is_ignored(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        call = Call(remote, nursery)
        request = await call.request()
        await remote.reply(request, {})
        await remote.quiet()
        await report(remote, token_of(request), 1)
        assert await remote.request("ping") == {}
        assert call.heard == []


@pytest.mark.parametrize("params", [{}, {"progress": 1}, {"progress": "1"}, {"progress": None}, {"progress": True}])
async def test_malformed_progress_is_dropped(make_peer: MakePeer, side: Side, params: Any) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        call = Call(remote, nursery)
        request = await call.request()
        if params != {"progress": 1}:
            params = {**params, "progressToken": token_of(request)}
        await remote.notify("notifications/progress", params)
        await remote.quiet()
        assert call.heard == []
        await remote.reply(request, {})


async def test_a_slow_listener_loses_the_oldest(make_peer: MakePeer) -> None:
    heard: list[float] = []
    go_on = trio.Event()

    async def slow(progress: Progress) -> None:
        await go_on.wait()
        heard.append(progress.progress)

    async with scripted(make_peer(limits=Limits(progress_backlog=3))) as remote, trio.open_nursery() as nursery:
        connection = remote.connection
        assert connection is not None

        async def call() -> None:
            await connection.call("x/ask", on_progress=slow)

        nursery.start_soon(call)
        request = await remote.expect("x/ask")
        await report(remote, token_of(request), 0)
        await remote.quiet()
        for number in range(1, 8):
            await report(remote, token_of(request), number)
        await remote.reply(request, {})
        await remote.quiet()
        go_on.set()
    assert heard == [0, 5, 6, 7]


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-160")
@pytest.mark.parametrize("server_works", [True, False], ids=["to-server", "to-client"])
async def test_progress_from_end_to_end(make_peer: MakePeer, server_works: bool) -> None:
    steps = [(number, 20, f"step {number}") for number in range(1, 21)]
    client, server = reporting(make_peer("c"), *steps), reporting(make_peer("s"), *steps)
    async with peer_pair(client, server) as pair:
        caller = pair.client if server_works else pair.server
        heard: list[Progress] = []
        await caller.call("x/work", on_progress=heard.append)
    assert heard == [Progress(*step) for step in steps]


async def test_a_tool_reports_progress(make_peer: MakePeer) -> None:
    server = make_peer("s")

    @server.tool
    async def count(ctx: Context, to: int) -> int:
        for number in range(1, to + 1):
            await ctx.progress(number, to)
        return to

    heard: list[Progress] = []

    async def hear(progress: Progress) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(progress)

    async with peer_pair(make_peer("c"), server) as pair:
        result = await pair.client.call_tool("count", {"to": 3}, on_progress=hear)
    assert result.structured_content == {"result": 3}
    assert heard == [Progress(1, 3), Progress(2, 3), Progress(3, 3)]
