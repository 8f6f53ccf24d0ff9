"""Streams that are cut, and come back to: nothing is lost, nothing comes twice, and everything comes in order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from attrs import define, field

from mcp_tasks import ConnectionClosed, Context, HttpClientLimits, HttpError, HttpLimits, Peer, Progress
from mcp_tasks.wire.client_features import ElicitFormParams, ElicitResult

from ._wire import Asked, FakeServer, connected, faking, proxying, scripting, serving, settled, text_of, until

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(retry_seconds=0.01)
ROUNDS = 8


@define
class Diary:
    """What a client was told and asked, in order."""

    told: list[float] = field(factory=list)
    asked: list[str] = field(factory=list)

    def progress(self, told: Progress) -> None:
        self.told.append(told.progress)


QUESTIONS = [f"question {n}" for n in range(ROUNDS)]
REPORTS = list(range(1, 3 * ROUNDS + 1))


def offering(make_peer: MakePeer) -> tuple[Peer, list[str]]:
    """A tool that reports and asks, by numbers."""
    peer = make_peer()
    answers: list[str] = []

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        if ctx.task_id is not None:
            await ctx.elicit("first", {"name": str})  # from now on the client waits for the result
        for n in range(ROUNDS):
            await ctx.progress(3 * n + 1)
            await ctx.progress(3 * n + 2)
            answer = await ctx.elicit(f"question {n}", {"name": str})
            answers.append(answer.content["name"])
            await ctx.progress(3 * n + 3)
        return "worked"

    @peer.tool
    async def drop(ctx: Context, retry: float) -> str:
        for n in range(5):
            await ctx.progress(3 * n + 1)
            await ctx.drop_stream(retry=retry)
            await ctx.progress(3 * n + 2)
            answer = await ctx.elicit(f"question {n}", {"name": str})
            answers.append(answer.content["name"])
        await ctx.drop_stream(retry=retry)
        return "dropped"

    return peer, answers


def clerk(make_peer: MakePeer, diary: Diary) -> Peer:
    peer = make_peer("clerk")

    @peer.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        if params.message != "first":
            diary.asked.append(params.message)
        return ElicitResult(action="accept", content={"name": params.message})

    return peer


@pytest.mark.requirement("C25-095", "C25-098", "C25-099", "C25-105", "C25-116", "C25-118", "C25-119", "C25-120")
@pytest.mark.parametrize("resets", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("after", [30, 200, 1000])
async def test_a_call_that_is_cut_five_times(make_peer: MakePeer, after: int, resets: bool) -> None:
    peer, answers = offering(make_peer)
    diary = Diary()
    async with (
        serving(peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, clerk(make_peer, diary), http_limits=QUICK) as connection,
    ):
        await settled()  # the stream of GET is open, and is not the one that is cut
        proxy.after, proxy.cuts, proxy.resets = after, 5, resets
        result = await connection.call("tools/call", {"name": "work", "arguments": {}}, on_progress=diary.progress)
        assert text_of(result) == "worked"
        assert proxy.made == 5
    assert diary.told == REPORTS
    assert diary.asked == answers == QUESTIONS


@pytest.mark.requirement("C25-095", "C25-105", "C25-119", "C25-120", "T25-049")
@pytest.mark.parametrize("after", [30, 200, 1000])
async def test_a_task_that_is_cut_five_times(make_peer: MakePeer, after: int) -> None:
    peer, answers = offering(make_peer)
    diary = Diary()
    async with (
        serving(peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, clerk(make_peer, diary), http_limits=QUICK) as connection,
    ):
        await settled()
        proxy.after, proxy.cuts = after, 5
        params = {"name": "work", "arguments": {}}
        async with connection.start("tools/call", params, on_progress=diary.progress) as task:
            assert text_of(await task.result()) == "worked"
        assert proxy.made == 5
    assert diary.told == REPORTS
    assert diary.asked == answers == QUESTIONS


@pytest.mark.requirement("C25-112", "C25-113", "C25-119", "C25-121")
@pytest.mark.parametrize("after", [30, 250])
async def test_what_nobody_asked_for(make_peer: MakePeer, after: int) -> None:
    """On the stream of GET, cut five times."""
    peer = make_peer()
    heard: list[int] = []
    listener = make_peer("listener")

    @listener.on("notifications/message")
    async def told(connection: object, params: Any) -> None:
        heard.append(params.data)

    @peer.tool
    async def nothing() -> None: ...

    async with (
        serving(peer) as server,
        proxying(server, after=after, cuts=5) as proxy,
        connected(proxy.url, listener, http_limits=QUICK),
    ):
        await until(lambda: peer.connections)
        [connection] = peer.connections
        for n in range(25):
            await connection.send_log("info", n)
            await settled()
        await until(lambda: len(heard) >= 25)
        await settled()
        assert proxy.made == 5
    assert heard == list(range(25))


@pytest.mark.requirement("C25-094", "C25-095", "C25-096", "C25-097")
async def test_dropped_by_the_server_five_times(make_peer: MakePeer) -> None:
    peer, answers = offering(make_peer)
    diary = Diary()
    async with (
        serving(peer) as server,
        connected(server.url, clerk(make_peer, diary), http_limits=QUICK) as connection,
    ):
        params = {"name": "drop", "arguments": {"retry": 0}}
        result = await connection.call("tools/call", params, on_progress=diary.progress)
        assert text_of(result) == "dropped"
    assert diary.told == [1, 2, 4, 5, 7, 8, 10, 11, 13, 14]
    assert diary.asked == answers == QUESTIONS[:5]


@pytest.mark.requirement("C25-093", "C25-094", "C25-096", "C25-102", "C25-118", "C25-120")
async def test_what_a_dropped_stream_looks_like(make_peer: MakePeer) -> None:
    """An empty event with an id, when to come back, the end; and then the rest, from whichever id."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        params = {"name": "drop", "arguments": {"retry": 0.25}, "_meta": {"progressToken": "p"}}
        line = await script.begin("tools/call", params)
        assert (await line.head()).status == 200
        primer, report, retry = [await line.event() for _ in range(3)]
        assert (primer.data, report.message["params"]["progress"], retry.retry) == ("", 1, 250)
        with pytest.raises(EOFError):
            await line.event()
        ids = [primer.id, report.id]
        for n in range(5):
            line = await script.listen(ids[-1])
            replayed, question = await line.event(), await line.event()
            assert replayed.message["params"]["progress"] == 3 * n + 2
            assert question.message["params"]["message"] == f"question {n}"
            ids += [replayed.id, question.id]
            answer = {"action": "accept", "content": {"name": "x"}}
            assert (await script.reply(question.message, answer)).status == 202
            if n < 4:
                report = await line.event()
                assert report.message["params"]["progress"] == 3 * n + 4
                ids.append(report.id)
            assert (await line.event()).retry == 250
            with pytest.raises(EOFError):
                await line.event()
        for _ in range(2):  # the answer can be had again, should it have been lost
            line = await script.listen(ids[-1])
            last = await line.event()
            assert text_of(last.message["result"]) == "dropped"
            with pytest.raises(EOFError):
                await line.event()
        line = await script.listen(ids[0])
        again = [(await line.event()).id for _ in range(len(ids))]
        assert again == [*ids[1:], last.id]
        assert len(set(again)) == len(again)


@pytest.mark.requirement("C25-115", "C25-121")
async def test_a_second_reader_takes_the_stream_over(make_peer: MakePeer) -> None:
    """A client may be back before the server has noticed that it was gone; nobody hears anything twice."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        call = {"name": "work", "arguments": {}, "_meta": {"progressToken": "p"}}
        first = await script.begin("tools/call", call)
        await first.head()
        events = [await first.event() for _ in range(4)]
        assert events[-1].message["method"] == "elicitation/create"
        second = await script.listen(events[-1].id)
        with pytest.raises(EOFError):
            await first.event()
        await script.reply(events[-1].message, {"action": "accept", "content": {"name": "x"}})
        assert (await second.message())["params"]["progress"] == 3


# --- clients that come back in vain -----------------------------------------------------------------------------------


def polled(server: FakeServer, times: int) -> None:
    """The answer to a tool call comes at the GET after so many; those before end without an event."""

    async def later(asked: Asked) -> None:
        await asked.send(b"b\r\nretry: 10\n\n\r\n")
        await asked.end()

    @server.on("tools/call")
    async def call(asked: Asked) -> None:
        await asked.begin()
        await asked.event("", "s-1")
        await later(asked)

    @server.on("GET")
    async def poll(asked: Asked) -> None:
        if "last-event-id" not in asked.headers:
            await asked.answer(405)
            return
        count = len(server.seen("GET")) - 1
        await asked.begin()
        if count > times:
            [call] = server.seen("tools/call")
            await asked.event(call.response({"content": [{"type": "text", "text": "at last"}]}), "s-2")
        await later(asked)


@pytest.mark.requirement("C25-094", "C25-095")
async def test_a_server_that_is_polled() -> None:
    """It answers each GET with 200, says when to come back, and ends it: that is how to wait, and no failure."""
    limits = HttpClientLimits(retry_seconds=0.01, resume_attempts=3)
    async with faking() as server, connected(server.url, http_limits=limits) as connection:
        polled(server, 10)
        result = await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert text_of(result) == "at last"


@pytest.mark.requirement("C25-095", "C25-105")
async def test_a_quiet_call_behind_a_proxy_that_cuts_often(make_peer: MakePeer) -> None:
    """More often than we come back in vain, but each time the server was there, and had nothing to say yet."""
    peer = make_peer()
    go = trio.Event()

    @peer.tool
    async def wait(ctx: Context) -> str:
        await ctx.progress(1)
        await go.wait()
        return "waited"

    limits = HttpClientLimits(retry_seconds=0.001, resume_attempts=3)
    async with (
        serving(peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, http_limits=limits) as connection,
        trio.open_nursery() as nursery,
    ):
        results: list[Any] = []

        async def call() -> None:
            params = {"name": "wait", "arguments": {}}
            results.append(await connection.call("tools/call", params, on_progress=Diary().progress))

        nursery.start_soon(call)
        for _ in range(10):
            await settled()
            await until(lambda: [c for c in server.connections if c._exchange and c._exchange.begun])
            await proxy.cut()
        await settled()
        go.set()
        await until(lambda: results)
        assert text_of(results[0]) == "waited"


@pytest.mark.parametrize("status", [404, 400, 401, 500])
async def test_a_server_that_does_not_let_us_come_back(status: int) -> None:
    """A clear error, after as many attempts as make sense; the connection stays usable."""
    limits = HttpClientLimits(retry_seconds=0.001, resume_attempts=3)
    async with faking() as server, connected(server.url, http_limits=limits) as connection:
        polled(server, 0)

        @server.on("GET")
        async def refuse(asked: Asked) -> None:
            await asked.answer(status, b"No, because", Content_Type="text/plain")

        with pytest.raises((HttpError, ConnectionClosed), match="No, because"):
            await connection.call("tools/call", {"name": "x", "arguments": {}})
        assert len([asked for asked in server.seen("GET") if "last-event-id" in asked.headers]) <= 3
        del server.behaviours["tools/call"]
        assert text_of(await connection.call("tools/call", {"name": "x", "arguments": {}})) == "fine"


@pytest.mark.requirement("C25-120")
async def test_too_late(make_peer: MakePeer) -> None:
    """What is no longer kept cannot be had, and what is there still is: the answer above all."""
    peer = make_peer()

    @peer.tool
    async def talk(ctx: Context) -> str:
        await ctx.progress(0)
        await go.wait()
        for n in range(1, 100):
            await ctx.progress(n, message="x" * 1000)
        return "talked"

    go = trio.Event()
    async with serving(peer, http_limits=HttpLimits(replay_bytes=10_000)) as server, scripting(server.url) as script:
        call = {"name": "talk", "arguments": {}, "_meta": {"progressToken": "p"}}
        line = await script.begin("tools/call", call)
        await line.head()
        first = await line.event()
        await line.message()
        await line.reset()
        await until(lambda: not server.connections)
        go.set()
        await until(lambda: not [c for c in peer.connections if c.session.served])
        line = await script.listen(first.id)
        numbers = []
        while "result" not in (message := await line.message()):
            numbers.append(message["params"]["progress"])
        assert text_of(message["result"]) == "talked"
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 99
        assert len(numbers) < 12


@pytest.mark.requirement("C25-117", "C25-119")
async def test_events_that_were_cut_are_not_taken_for_whole(make_peer: MakePeer) -> None:
    """An id that came with half an event is not where we come back to."""
    async with faking() as server:

        @server.on("tools/call")
        async def half(asked: Asked) -> None:
            await asked.begin()
            await asked.event("", "s-1")
            event = b"id: s-2\ndata: " + json.dumps({"jsonrpc": "2.0", "method": "x"}).encode() + b"\n"
            await asked.send(b"%x\r\n%b\r\n" % (len(event), event))  # the empty line is missing
            await asked.end()

        @server.on("GET")
        async def rest(asked: Asked) -> None:
            if "last-event-id" not in asked.headers:
                await asked.answer(405)
                return
            [call] = server.seen("tools/call")
            await asked.begin()
            await asked.event(call.response({"content": [{"type": "text", "text": "done"}]}), "s-3")
            await asked.end()

        async with connected(server.url, http_limits=QUICK) as connection:
            await connection.call("tools/call", {"name": "x", "arguments": {}})
            ids = [asked.headers["last-event-id"] for asked in server.seen("GET") if "last-event-id" in asked.headers]
            assert ids == ["s-1"]
