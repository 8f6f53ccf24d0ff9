"""Connections that are cut at random, all the time, under many calls at once.

No run is like another, but what has to hold does in each: a call ends with its result or with an error that says
why; nothing it was told is missing, doubled or out of order; afterwards everything is as usable as it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from attrs import define, field

from mcp_tasks import Connection, ConnectionClosed, Context, HttpClientLimits, HttpError, Limits, Peer, Progress
from mcp_tasks.wire.client_features import ElicitFormParams, ElicitResult

from ._wire import Proxy, connected, proxying, serving, settled, text_of, until

MakePeer = Callable[..., Peer]
LIMITS = HttpClientLimits(retry_seconds=0.005, listen_seconds=0.2)
STEPS = 25
CALLS = 10


@define
class Run:
    """One call, as its caller saw it."""

    key: str
    told: list[float] = field(factory=list)
    result: str | None = None
    failure: Exception | None = None

    def tell(self, progress: Progress) -> None:
        self.told.append(progress.progress)


def offering(make_peer: MakePeer) -> Peer:
    peer = make_peer(limits=Limits(poll_interval_ms=10))

    @peer.tool(task="optional")
    async def work(ctx: Context, key: str) -> str:
        answers = []
        for n in range(STEPS):
            await ctx.progress(n + 1)
            answer = await ctx.elicit(f"{key} {n}", {"text": str})
            answers.append(answer.content["text"])
        return " ".join(answers)

    @peer.tool
    async def echo(text: str) -> str:
        return text

    return peer


async def run(connection: Connection, run: Run, as_task: bool) -> None:
    params = {"name": "work", "arguments": {"key": run.key}}
    try:
        if as_task:
            async with connection.start(
                "tools/call", params, on_progress=lambda p: run.told.append(p.progress)
            ) as task:
                run.result = text_of(await task.result())
        else:
            run.result = text_of(await connection.call("tools/call", params, on_progress=run.tell))
    except (ConnectionClosed, HttpError) as failure:
        run.failure = failure


async def cut_now_and_then(proxy: Proxy, choice: random.Random) -> None:
    while True:
        await trio.sleep(choice.random() * 0.01)
        pairs = sorted(proxy.pairs, key=id)
        if pairs:
            proxy.made += 1
            proxy.resets = choice.random() < 0.5
            await proxy._cut(*choice.choice(pairs))


@pytest.mark.requirement("C25-095", "C25-105", "C25-115", "C25-119", "C25-120")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("as_task", [False, True], ids=["calls", "tasks"])
async def test_chaos(make_peer: MakePeer, seed: int, as_task: bool) -> None:
    server_peer, client_peer = offering(make_peer), make_peer("client")
    asked: list[str] = []

    @client_peer.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"text": params.message})

    runs = [Run(f"r{n}") for n in range(CALLS)]
    async with (
        serving(server_peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, client_peer, http_limits=LIMITS) as connection,
    ):
        async with trio.open_nursery() as chaos:
            chaos.start_soon(cut_now_and_then, proxy, random.Random(seed))
            async with trio.open_nursery() as nursery:
                for each in runs:
                    nursery.start_soon(run, connection, each, as_task)
            chaos.cancel_scope.cancel()
        for each in runs:
            assert len(each.told) == len(set(each.told)), each
            if not as_task:  # the reports of a task go by whichever stream is there, and streams have no order
                assert each.told == sorted(each.told), each
            if each.failure is None:
                assert each.result == " ".join(f"{each.key} {n}" for n in range(STEPS))
                assert as_task or each.told == list(range(1, STEPS + 1)), each
            else:
                assert str(each.failure)
        assert not connection.closed
        result = await connection.call("tools/call", {"name": "echo", "arguments": {"text": "usable"}})
        assert text_of(result) == "usable"
    # A question may be heard again where it could have been lost; each is first heard in its turn.
    for each in runs:
        mine = [message for message in asked if message.startswith(f"{each.key} ")]
        assert list(dict.fromkeys(mine)) == sorted(set(mine), key=lambda message: int(message.split()[1]))
    await until(lambda: not server.connections)


@pytest.mark.requirement("C25-103")
async def test_cut_and_left(make_peer: MakePeer) -> None:
    """Clients that come, call, and are cut off in the middle, fifty times: nothing of them is left."""
    peer = offering(make_peer)
    async with serving(peer) as server:
        choice = random.Random(1)
        for _ in range(50):
            async with proxying(server) as proxy:
                with trio.move_on_after(choice.random() * 0.02):
                    async with connected(proxy.url, http_limits=HttpClientLimits(close_seconds=0.05)) as connection:
                        await connection.call("tools/call", {"name": "work", "arguments": {"key": "x"}})
        await until(lambda: not server.connections)
        await settled()
