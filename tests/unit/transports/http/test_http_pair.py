"""Both ends joined: the duties of a transport that HTTP has, held by `check_transport`'s own checks.

Three of them it cannot have in every direction, since a message is not a frame on a pipe here. Requests of a client go
side by side, and overtake each other; an answer of a server's goes to the POST that asked, and nowhere if nobody did;
and a client's end outlives the server's session, since it begins another one. A server's end hands messages over and
is never read from, so it is read here through `Pushed`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mcp_tasks._unset import RequestId
from mcp_tasks.abc import Inbound, Transport
from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.limits import HttpClientLimits
from mcp_tasks.testing import _checks
from mcp_tasks.transports.http.client import HttpClientTransport
from mcp_tasks.transports.http.pool import HttpPool, Url
from mcp_tasks.transports.http.session import HttpSession
from mcp_tasks.wire.jsonrpc import Message, Notification, Request, Response

from ._wire import LATEST, FakeSocketStream, Site, opened, opening


class Pushed(Transport):
    """A transport that hands messages over, as one that is read from."""

    def __init__(self, inner: Transport, nursery: trio.Nursery) -> None:
        self._inner = inner
        self._messages: list[Inbound] = []
        self._more = trio.lowlevel.ParkingLot()
        self._why: str | None = None
        assert inner.push_to(self._take)
        nursery.start_soon(self._wait)

    def _take(self, message: Inbound) -> None:
        self._messages.append(message)
        self._more.unpark_all()

    async def _wait(self) -> None:
        try:
            await self._inner.receive()
        except ConnectionClosed as closed:
            self._why = str(closed)
            self._more.unpark_all()

    async def receive(self) -> Sequence[Inbound]:
        await trio.lowlevel.checkpoint()
        while not self._messages:
            if self._why is not None:
                raise ConnectionClosed(self._why)
            await self._more.park()
        found, self._messages = self._messages, []
        return found

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        self._inner.send(message, related_to=related_to)

    async def flush(self) -> None:
        await self._inner.flush()

    @property
    def backlog(self) -> int:
        return self._inner.backlog

    async def aclose(self) -> None:
        await self._inner.aclose()


class Pairs:
    """Makes pairs: a client's transport and a server's session, whose handshake is over and whose client listens."""

    def __init__(self, nursery: trio.Nursery, network: Any) -> None:
        self._nursery = nursery
        self._sessions: list[HttpSession] = []
        self._ended = trio.Event()
        self.site = Site(nursery, serve=self._serve)
        self._network = network

    async def _serve(self, session: HttpSession) -> None:
        self._sessions.append(session)
        try:
            await session.receive()
        except ConnectionClosed:
            await session.aclose()

    async def connect(self, host: str, port: int) -> FakeSocketStream:
        await trio.lowlevel.checkpoint()
        near, far = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.site.server.serve_stream, far)
        stream = FakeSocketStream(near)
        self._network.append(stream)
        return stream

    async def make(self) -> tuple[HttpClientTransport, Pushed]:
        url = Url("http://localhost/mcp")
        limits = HttpClientLimits()
        client = HttpClientTransport(
            url, HttpPool(url, ssl_context=None, limits=limits, trust_env=False), self._nursery, http_limits=limits
        )
        client.send(opening())
        await wait_all_tasks_blocked()
        session = self._sessions[-1]
        server = Pushed(session, self._nursery)
        assert await server.receive() == [opening()]
        session.speaks(LATEST)
        session.send(Response(0, opened()))
        assert await client.receive() == [Response(0, opened())]
        client.speaks(LATEST)
        client.send(Notification("notifications/initialized"))
        assert await server.receive() == [Notification("notifications/initialized")]
        await wait_all_tasks_blocked()
        assert not session.idle, "the client listens"
        assert client.backlog == 0
        return client, server


@pytest.fixture
async def pairs(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Any:
    streams: list[FakeSocketStream] = []
    found = Pairs(nursery, streams)
    monkeypatch.setattr(trio, "open_tcp_stream", found.connect)
    yield found
    for stream in streams:
        stream.socket.close()


DUTIES: list[Callable[[Transport, Transport], Awaitable[None]]] = [
    _checks._carries_messages_in_order,
    _checks._carries_large_messages,
    _checks._batches_what_was_queued,
    _checks._refuses_what_is_no_json,
    _checks._loses_nothing_when_receive_is_cancelled,
    _checks._says_when_the_other_side_is_gone,
    _checks._can_be_closed_twice,
]
NOT_HTTP = {
    ("_carries_messages_in_order", "client"),  # requests go side by side
    ("_carries_messages_in_order", "server"),  # an answer that nobody waits for goes nowhere
    ("_carries_large_messages", "server"),  # the same
    ("_says_when_the_other_side_is_gone", "server"),  # the client begins another session
}


FITTING = [
    pytest.param(duty, sender, id=f"{duty.__name__.strip('_')}-{sender}")
    for duty in DUTIES
    for sender in ("client", "server")
    if (duty.__name__, sender) not in NOT_HTTP
]


@pytest.mark.parametrize(("duty", "sender"), FITTING)
async def test_the_duties_of_a_transport(
    pairs: Pairs, duty: Callable[[Transport, Transport], Awaitable[None]], sender: str
) -> None:
    client, server = await pairs.make()
    left: Transport
    right: Transport
    left, right = (client, server) if sender == "client" else (server, client)
    with trio.fail_after(60):
        await duty(left, right)
    await client.aclose()
    await server.aclose()


def test_no_duty_is_left_out() -> None:
    names = {name for name in _checks.check_transport.__code__.co_names if name.startswith("_") and name.islower()}
    assert names == {duty.__name__ for duty in DUTIES}
    assert len(FITTING) == 2 * len(DUTIES) - len(NOT_HTTP)


async def take(transport: Transport, count: int) -> list[Inbound]:
    found: list[Inbound] = []
    while len(found) < count:
        found += await transport.receive()
    return found


async def test_what_the_client_says_is_in_order_but_for_its_requests(pairs: Pairs) -> None:
    client, server = await pairs.make()
    said: list[Message] = [Notification("a"), Response(1, {}), Notification("b"), Response("1", {"x": "é\n\u2028"})]
    for message in said:
        client.send(message)
    await client.flush()
    assert client.backlog == 0
    assert await take(server, 4) == said
    await client.aclose()


async def test_what_the_server_says_is_in_order(pairs: Pairs) -> None:
    client, server = await pairs.make()
    said: list[Message] = [Request(1, "a"), Notification("b"), Request("1", "c", {"x": "é\n\u2028"})]
    for message in said:
        server.send(message)
    await server.flush()
    assert server.backlog == 0
    assert await take(client, 3) == said
    await client.aclose()


async def test_large_answers_to_what_was_asked(pairs: Pairs) -> None:
    client, server = await pairs.make()
    large = {"text": "x" * 3_000_000}
    client.send(Request(1, "a", large))
    assert await take(server, 1) == [Request(1, "a", large)]
    server.send(Notification("before", large), related_to=1)
    server.send(Response(1, large))
    assert server.backlog > 0
    await server.flush()
    assert await take(client, 2) == [Notification("before", large), Response(1, large)]
    await client.aclose()


async def test_many_requests_both_ways(pairs: Pairs) -> None:
    client, server = await pairs.make()
    numbers = set(range(200))
    answered: dict[Transport, set[RequestId]] = {client: set(), server: set()}

    async def serve(transport: Transport) -> None:
        while True:
            for message in await transport.receive():
                if isinstance(message, Request):
                    transport.send(Response(message.id, {}), related_to=message.id)
                else:
                    assert isinstance(message, Response)
                    answered[transport].add(message.id)
            await transport.flush()

    async with trio.open_nursery() as nursery:
        for transport in (client, server):
            nursery.start_soon(serve, transport)
        for transport in (client, server):
            for number in numbers:
                transport.send(Request(number, "m"))
            await transport.flush()
        await wait_all_tasks_blocked()
        assert list(answered.values()) == [numbers, numbers]
        nursery.cancel_scope.cancel()
    await client.aclose()


async def test_a_session_that_the_server_ends_is_begun_anew(pairs: Pairs) -> None:
    client, server = await pairs.make()
    await server.aclose()
    await wait_all_tasks_blocked()
    client.send(Request(5, "m"))
    await wait_all_tasks_blocked()
    session = pairs._sessions[-1]
    assert len(pairs._sessions) == 2
    fresh = Pushed(session, pairs._nursery)
    assert await take(fresh, 1) == [opening()]
    session.speaks(LATEST)
    session.send(Response(0, opened()))
    assert await take(fresh, 2) == [Notification("notifications/initialized"), Request(5, "m")]
    fresh.send(Response(5, {"again": True}))
    assert await take(client, 1) == [Response(5, {"again": True})]
    await client.aclose()
    with pytest.raises(ConnectionClosed):
        await fresh.receive()
