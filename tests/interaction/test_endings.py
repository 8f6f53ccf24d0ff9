"""How connections end, and what it takes: dead peers, peers that do not read, and bounds on every wait."""

# ruff: noqa: PT012
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from mcp_tasks import (
    Connection,
    ConnectionClosed,
    Context,
    Limits,
    LineTransport,
    Peer,
    RemoteProtocolError,
    Side,
    memory_transport_pair,
)
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.jsonrpc import Notification, Request, Response

MakePeer = Callable[..., Peer]


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return request.param  # type: ignore[no-any-return]


class Failures:
    """What became of calls that run in the background, and when."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.found: list[tuple[float, str]] = []

    def call(self, connection: Connection, method: str = "x/ask") -> None:
        async def run() -> None:
            try:
                await connection.call(method)
            except ConnectionClosed as closed:
                self.found.append((trio.current_time(), str(closed)))

        self.nursery.start_soon(run)


# --- the other side goes away -----------------------------------------------------------------------------------------


async def test_a_pending_call_ends_at_once_when_the_peer_dies(
    make_peer: MakePeer, side: Side, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery, scripted(make_peer(), side=side) as remote:
        connection = remote.connection
        assert connection is not None
        failures = Failures(nursery)
        for _ in range(3):
            failures.call(connection)
            await remote.expect("x/ask")
        start = trio.current_time()
        await remote.close()
        await connection.wait_closed()
        assert failures.found == [(start, "x/ask: the other side has closed the stream")] * 3
        assert trio.current_time() == start
        assert connection.closed
        assert connection not in connection.peer.connections


async def test_a_pending_call_ends_at_once_even_while_a_handler_goes_on(
    make_peer: MakePeer, side: Side, autojump_clock: MockClock
) -> None:
    """What was asked last may still be answered, for a bounded time; our own calls have nothing to wait for."""
    peer = make_peer()

    @peer.handle("x/slow")
    async def slow(ctx: Context, params: Any) -> Any:
        await trio.sleep(0.5)
        return {"slow": True}

    async with trio.open_nursery() as nursery, scripted(peer, side=side) as remote:
        assert remote.connection is not None
        failures = Failures(nursery)
        failures.call(remote.connection)
        await remote.expect("x/ask")
        id = await remote.ask("x/slow")
        start = trio.current_time()
        await remote.close()
        await remote.quiet()
        assert [when for when, _ in failures.found] == [start]
        assert await remote.answer(id) == {"slow": True}
        await remote.ended()
        assert trio.current_time() - start == pytest.approx(0.5)


async def test_a_handler_that_goes_on_for_too_long_is_cancelled(
    make_peer: MakePeer, side: Side, autojump_clock: MockClock
) -> None:
    peer, ended = make_peer(), []

    @peer.handle("x/slow")
    async def slow(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with scripted(peer, side=side) as remote:
        await remote.ask("x/slow")
        await remote.quiet()
        start = trio.current_time()
        await remote.close()
        await remote.ended()
        assert len(ended) == 1
        assert ended[0] - start <= 2


async def test_a_handler_that_asks_back_fails_when_the_peer_dies(
    make_peer: MakePeer, side: Side, autojump_clock: MockClock
) -> None:
    peer, failed = make_peer(), []

    @peer.handle("x/ask-back")
    async def ask_back(ctx: Context, params: Any) -> Any:
        try:
            await ctx.connection.call("x/ask")
        except ConnectionClosed as closed:
            failed.append((trio.current_time(), str(closed)))
            raise
        return {}

    async with scripted(peer, side=side) as remote:
        await remote.ask("x/ask-back")
        await remote.expect("x/ask")
        start = trio.current_time()
        await remote.close()
        await remote.ended()
        assert failed == [(start, "x/ask: the other side has closed the stream")]
        assert trio.current_time() == start


async def test_whoever_waits_for_the_end_hears_of_it(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        nursery.start_soon(remote.connection.wait_closed)
        await remote.quiet()
        await remote.close()


async def test_requests_before_the_end_are_answered(make_peer: MakePeer, side: Side) -> None:
    """Somebody pipes a few requests in and closes: all answers come out."""
    peer = make_peer()

    @peer.handle("x/echo")
    async def echo(ctx: Context, params: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return params

    for _ in range(100):  # trio shuffles whatever can run, so that races show
        async with scripted(peer, side=side) as remote:
            ids = [await remote.ask("x/echo", {"n": number}) for number in range(20)]
            await remote.close()
            assert [(await remote.answer(id))["n"] for id in ids] == list(range(20))
            await remote.ended()


# --- we go away -------------------------------------------------------------------------------------------------------


async def test_leaving_the_block_fails_what_is_pending(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        failures = Failures(nursery)
        async with peer_pair(make_peer("c"), make_peer("s")) as pair:

            async def forever(ctx: Context, params: Any) -> Any:
                await trio.sleep_forever()

            pair.server.peer.handle("x/ask")(forever)
            pair.client.peer.handle("x/ask")(forever)
            failures.call(pair.client)
            failures.call(pair.server)
            await wait_all_tasks_blocked()
    assert len(failures.found) == 2


async def test_what_was_sent_before_closing_arrives(make_peer: MakePeer, side: Side) -> None:
    async with scripted(make_peer(), side=side) as remote:
        assert remote.connection is not None
        for number in range(10):
            await remote.connection.notify("x/tell", {"n": number})
        await remote.connection.aclose()
        await remote.ended()
        assert [message["params"]["n"] for message in remote.unread("x/tell")] == list(range(10))


async def test_what_is_being_written_when_it_closes_arrives(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    peer = make_peer()
    ours, theirs = memory_transport_pair(size=1024)
    async with connected(peer, ours, theirs) as connection:
        message = Notification("x/tell", {"text": "x" * 10_000})
        connection.post(message)
        await wait_all_tasks_blocked()  # the pipe is full, the writer waits for room
        got: list[Any] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.aclose)
            with pytest.raises(ConnectionClosed):
                while True:
                    got += await theirs.receive()
    await theirs.aclose()
    assert got == [message]


async def test_closing_is_bounded_when_the_other_side_does_not_read(
    make_peer: MakePeer, autojump_clock: MockClock
) -> None:
    peer = make_peer()
    ours, theirs = memory_transport_pair(size=1024)
    async with connected(peer, ours, theirs) as connection:
        await connection.notify("x/tell", {"text": "x" * 100_000})
        await wait_all_tasks_blocked()
        start = trio.current_time()
        await connection.aclose()
        assert trio.current_time() - start <= 3
        assert connection.closed
    await theirs.aclose()


async def test_closing_when_cancelled_already(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    async with scripted(make_peer()) as remote:
        assert remote.connection is not None
        with trio.CancelScope() as scope:
            scope.cancel()
            await remote.connection.aclose()
        await remote.ended()
        assert remote.connection.closed


async def test_closing_twice_at_once(make_peer: MakePeer) -> None:
    async with scripted(make_peer()) as remote, trio.open_nursery() as nursery:
        assert remote.connection is not None
        nursery.start_soon(remote.connection.aclose)
        nursery.start_soon(remote.connection.aclose)
        await remote.connection.wait_closed()


async def test_cancelling_a_server_closes_its_connection(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    peer, ended = make_peer(), []

    @peer.handle("x/slow")
    async def slow(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    ours, theirs = memory_transport_pair()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(talk, theirs, scope)
            await peer.serve(ours)
        assert scope.cancelled_caught
    assert ended == [1]
    assert peer.connections == set()
    with pytest.raises(ConnectionClosed):
        while True:
            await theirs.receive()
    await theirs.aclose()


async def talk(transport: LineTransport, scope: trio.CancelScope) -> None:
    info = {"name": "c", "version": "0"}
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    transport.send(Request(1, "initialize", opening))
    transport.send(Request(2, "x/slow"))
    await transport.flush()
    await transport.receive()
    await wait_all_tasks_blocked()
    scope.cancel()


@asynccontextmanager
async def connected(peer: Peer, ours: LineTransport, theirs: LineTransport) -> AsyncIterator[Connection]:
    """A client that has shaken hands with a bare transport, which a test may read from or not."""

    async def answer() -> None:
        (request,) = await theirs.receive()
        assert isinstance(request, Request)
        info = {"name": "s", "version": "0"}
        theirs.send(Response(request.id, {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}))
        await theirs.flush()
        await theirs.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with peer.connect(ours, revision="2025-11-25") as connection:
            await wait_all_tasks_blocked()
            yield connection


# --- peers that do not read -------------------------------------------------------------------------------------------


async def test_producers_wait_for_a_reader_that_stays_away(make_peer: MakePeer, autojump_clock: MockClock) -> None:
    peer = make_peer(limits=Limits(backlog_bytes=4096))
    ours, theirs = memory_transport_pair(size=1024)
    sent = 0

    async def produce(connection: Connection) -> None:
        nonlocal sent
        while True:
            await connection.notify("x/tell", {"text": "x" * 100})
            sent += 1

    async with connected(peer, ours, theirs) as connection:
        with trio.move_on_after(100) as scope:
            await produce(connection)
        assert scope.cancelled_caught
        assert 10 < sent < 200
        assert ours.backlog < 4096 + 1024
        before = sent
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce, connection)
            for _ in range(100):
                await theirs.receive()
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert sent > before
    await theirs.aclose()


async def test_a_server_stops_reading_when_its_answers_are_not_read(
    make_peer: MakePeer, autojump_clock: MockClock
) -> None:
    """Whoever sends requests and never reads fills its own pipe, and not our memory."""
    served = 0
    peer = make_peer(limits=Limits(backlog_bytes=4096))

    @peer.handle("x/big")
    async def big(ctx: Context, params: Any) -> Any:
        nonlocal served
        served += 1
        return {"text": "x" * 1000}

    ours, theirs = memory_transport_pair(size=2048)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.serve, ours)
        info = {"name": "c", "version": "0"}
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        theirs.send(Request(0, "initialize", opening))
        await theirs.flush()
        await theirs.receive()

        async def flood() -> None:
            for id in range(1, 2000):
                theirs.send(Request(id, "x/big"))
                await theirs.flush()

        nursery.start_soon(flood)
        await wait_all_tasks_blocked()
        stuck = served
        assert stuck < 200
        assert ours.backlog < 200_000
        answers = 0
        while answers < 1999:
            answers += len(await theirs.receive())
        assert served == 1999
        await theirs.aclose()


async def test_two_peers_that_both_send_much_do_not_block_each_other(
    make_peer: MakePeer, autojump_clock: MockClock
) -> None:
    limits = Limits(backlog_bytes=2048)
    peers = make_peer("c", limits=limits), make_peer("s", limits=limits)
    for peer in peers:

        @peer.handle("x/echo")
        async def echo(ctx: Context, params: Any) -> Any:
            return params

    done = 0

    async def call(connection: Connection, number: int) -> None:
        nonlocal done
        params = {"n": number, "text": "x" * 3000}
        assert await connection.call("x/echo", params) == params
        done += 1

    async with peer_pair(*peers, pipe_bytes=1024) as pair:
        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(call, pair.client, number)
                    nursery.start_soon(call, pair.server, number)
    assert done == 100


async def test_a_peer_that_leaves_too_much_unread_counts_as_dead(
    make_peer: MakePeer, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Producers wait; what cannot wait (answers, here) fills the backlog until it is too much."""
    peer = make_peer(limits=Limits(backlog_bytes=1000, max_backlog_bytes=10_000))

    @peer.handle("x/big")
    async def big(ctx: Context, params: Any) -> Any:
        return {"text": "x" * 6000}

    ours, theirs = memory_transport_pair(size=512)
    async with trio.open_nursery() as nursery, connected(peer, ours, theirs) as connection:
        failures = Failures(nursery)
        failures.call(connection)
        await wait_all_tasks_blocked()
        for id in range(3):
            theirs.send(Request(id, "x/big"))
        await theirs.flush()
        with trio.fail_after(5):
            await connection.wait_closed()
        assert [said for _, said in failures.found] == ["x/ask: the other side does not read"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("the other side does not read" in said for said in warnings)
    await theirs.aclose()


# --- what leaves the block --------------------------------------------------------------------------------------------


async def test_an_exception_of_the_block_leaves_as_it_is(make_peer: MakePeer) -> None:
    async def connect(error: Exception) -> None:
        async with peer_pair(make_peer("c"), make_peer("s")):
            raise error

    for error in (ValueError("mine"), RemoteProtocolError("mine"), ConnectionClosed("mine")):
        with pytest.raises(type(error), match="mine") as caught:
            await connect(error)
        assert caught.value is error


async def test_the_other_side_going_away_does_not_raise_by_itself(make_peer: MakePeer) -> None:
    """A client that does not use its connection is not thrown out of its block."""
    async with peer_pair(make_peer("c"), make_peer("s")) as pair:
        await pair.server.aclose()
        await pair.client.wait_closed()
        await trio.lowlevel.checkpoint()
        with pytest.raises(ConnectionClosed):
            await pair.client.ping()


async def test_a_peer_serves_again_after_its_connection_ended(make_peer: MakePeer) -> None:
    server = make_peer("s")
    for _ in range(3):
        async with peer_pair(make_peer("c"), server) as pair:
            await pair.client.ping()
            assert server.connections == {pair.server}
        assert server.connections == set()


async def test_one_peer_at_many_connections(make_peer: MakePeer) -> None:
    server = make_peer("s")

    @server.handle("x/who")
    async def who(ctx: Context, params: Any) -> Any:
        return {"name": ctx.connection.peer_name}

    async with (
        peer_pair(make_peer("a"), server) as first,
        peer_pair(make_peer("b"), server) as second,
    ):
        assert len(server.connections) == 2
        assert await first.client.call("x/who") == {"name": "a 1.0"}
        assert await second.client.call("x/who") == {"name": "b 1.0"}
