"""The client's connections: what goes over them, which are used again, what fails how, and proxies."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from mcp_tasks.errors import ConnectionClosed, LocalProtocolError, RemoteProtocolError
from mcp_tasks.limits import HttpClientLimits
from mcp_tasks.transports.http.pool import HttpPool, Url

from ._wire import Network, ServerEnd, raw_answer

URL = "http://server.example:8080/mcp"


def pool_of(
    url: str = URL, *, trust_env: bool = True, context: ssl.SSLContext | None = None, **limits: Any
) -> HttpPool:
    return HttpPool(Url(url), ssl_context=context, limits=HttpClientLimits(**limits), trust_env=trust_env)


class Caller:
    """Makes requests in the background and keeps what came of them."""

    def __init__(self, pool: HttpPool, nursery: trio.Nursery) -> None:
        self.pool = pool
        self.done: list[tuple[int, bytes]] = []
        self.failed: list[Exception] = []
        self._nursery = nursery
        self._over = trio.lowlevel.ParkingLot()

    def ask(self, body: bytes = b"x", limit: int = 10**9) -> None:
        self._nursery.start_soon(self._ask, body, limit)

    async def _ask(self, body: bytes, limit: int) -> None:
        try:
            async with self.pool.request("POST", "/mcp", [], body) as answer:
                self.done.append((answer.status, bytes(await answer.read(limit))))
        except Exception as error:
            self.failed.append(error)
        self._over.unpark_all()

    async def result(self) -> tuple[int, bytes]:
        """What the oldest request was answered with."""
        if not self.done and not self.failed:
            await self._over.park()
        assert not self.failed, self.failed
        return self.done.pop(0)

    async def failure(self) -> Exception:
        """What the oldest request failed with."""
        if not self.done and not self.failed:
            await self._over.park()
        assert not self.done, self.done
        return self.failed.pop(0)


@pytest.fixture
def calling(network: Network, nursery: trio.Nursery) -> Callable[..., Caller]:
    def make(**options: Any) -> Caller:
        return Caller(pool_of(**options), nursery)

    return make


@pytest.fixture
def caller(calling: Callable[..., Caller]) -> Caller:
    return calling()


async def served(end: ServerEnd, answer: bytes = b"ok") -> None:
    """Answer the next request of a connection."""
    assert await end.request() is not None
    await end.reply(200, answer)


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin", "authority", "target"),
    [
        ("http://h", ("http", "h", 80), "h", "/"),
        ("http://h/mcp", ("http", "h", 80), "h", "/mcp"),
        ("https://h/mcp", ("https", "h", 443), "h", "/mcp"),
        ("http://h:80/", ("http", "h", 80), "h", "/"),
        ("https://h:80/", ("https", "h", 80), "h:80", "/"),
        ("http://h:8000/a/b?c=d&e", ("http", "h", 8000), "h:8000", "/a/b?c=d&e"),
        ("http://h?x", ("http", "h", 80), "h", "/?x"),
        ("http://h/mcp#there", ("http", "h", 80), "h", "/mcp"),
        ("HTTP://Host.Example/Mcp", ("http", "host.example", 80), "host.example", "/Mcp"),
        ("http://[::1]:8000/mcp", ("http", "::1", 8000), "[::1]:8000", "/mcp"),
        ("http://[::1]/mcp", ("http", "::1", 80), "[::1]", "/mcp"),
        ("http://user:secret@h/mcp", ("http", "h", 80), "h", "/mcp"),
    ],
)
def test_urls(url: str, origin: tuple[str, str, int], authority: str, target: str) -> None:
    found = Url(url)
    assert (found.origin, found.authority, found.target) == (origin, authority, target)
    assert str(found) == f"{origin[0]}://{authority}{target}"
    assert Url(str(found)).origin == origin
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mcp",
        "/mcp",
        "//h/mcp",
        "ftp://h",
        "ws://h",
        "file:///mcp",
        "http://",
        "http:///mcp",
        "http://:80",
        "http://h:port",
        "http://h:99999",
        "http://[::1",
        "h:80",
        "http:h",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(LocalProtocolError, match="URL"):
        Url(url)


# --- one request ------------------------------------------------------------------------------------------------------


async def test_what_is_sent(caller: Caller, network: Network) -> None:
    caller.ask(b"hello")
    end, asked = await network.request()
    assert end.address == ("server.example", 8080)
    assert (asked.method, asked.target, asked.body) == ("POST", "/mcp", b"hello")
    assert asked.headers == {"host": "server.example:8080", "content-length": "5"}
    await end.reply(200, b"ok")
    assert await caller.result() == (200, b"ok")


async def test_a_request_without_a_body(network: Network, nursery: trio.Nursery) -> None:
    async def get(method: str) -> None:
        async with pool_of().request(method, "/x?y", [("A", "b")]) as answer:
            assert answer.status == 204

    for method in ("GET", "DELETE"):
        nursery.start_soon(get, method)
        end, asked = await network.request()
        assert (asked.method, asked.target) == (method, "/x?y")
        assert asked.headers == {"host": "server.example:8080", "a": "b"}
        await end.send(b"HTTP/1.1 204 No Content\r\n\r\n")


ANSWERS = [
    ("a length", raw_answer(200, b"hello"), b"hello", False),
    ("no body", raw_answer(200), b"", False),
    (
        "chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n",
        b"hello",
        False,
    ),
    ("until it closes", b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello", True),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", True),
    (
        "after others",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n" + raw_answer(200, b"hello"),
        b"hello",
        False,
    ),
    ("without a reason", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
]


@pytest.mark.requirement("C25-092")
@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("data", "body", "closes"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_answers(
    caller: Caller, network: Network, data: bytes, body: bytes, closes: bool, bytewise: bool
) -> None:
    caller.ask()
    end, _ = await network.request()
    for piece in [bytes([byte]) for byte in data] if bytewise else [data]:
        await end.send(piece)
        await wait_all_tasks_blocked()
    if closes:
        assert not caller.done
        await end.close()
    assert await caller.result() == (200, body)


async def test_headers_of_an_answer(network: Network, nursery: trio.Nursery) -> None:
    found: list[Any] = []

    async def ask() -> None:
        async with pool_of().request("GET", "/", []) as answer:
            found.extend([answer.headers, answer.kind])

    nursery.start_soon(ask)
    end, _ = await network.request()
    await end.send(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-TYPE: Application/JSON ; charset=x\r\n"
        b"www-authenticate: Bearer a=\xe9\r\nContent-Length: 0\r\n\r\n"
    )
    await wait_all_tasks_blocked()
    headers, kind = found
    assert headers["www-authenticate"] == "Basic, Bearer a=\xe9"
    assert kind == "application/json"


async def test_that_it_has_been_written_is_told_before_the_answer_is_there(
    network: Network, nursery: trio.Nursery
) -> None:
    sent: list[str] = []

    async def ask() -> None:
        async with pool_of().request("POST", "/", [], b"x", sent=lambda: sent.append("sent")):
            sent.append("answered")

    nursery.start_soon(ask)
    end, _ = await network.request()
    await wait_all_tasks_blocked()
    assert sent == ["sent"]
    await end.reply(202)
    await wait_all_tasks_blocked()
    assert sent == ["sent", "answered"]


# --- connections that are used again ----------------------------------------------------------------------------------


async def test_a_connection_is_used_again(caller: Caller, network: Network) -> None:
    caller.ask()
    end = await network.accept()
    await served(end)
    await caller.result()
    for _ in range(3):
        caller.ask()
        await served(end)
        assert await caller.result() == (200, b"ok")
    assert len(network.made) == 1


async def test_not_by_two_at_once(caller: Caller, network: Network) -> None:
    caller.ask(b"one")
    one, asked = await network.request()
    assert asked.body == b"one"
    caller.ask(b"two")
    two, asked = await network.request()
    assert asked.body == b"two"
    await two.reply(200, b"2")
    await one.reply(200, b"1")
    assert sorted([await caller.result(), await caller.result()]) == [(200, b"1"), (200, b"2")]


async def test_not_after_the_server_has_closed_it(caller: Caller, network: Network) -> None:
    caller.ask()
    end = await network.accept()
    await served(end)
    await caller.result()
    await end.close()
    caller.ask()
    fresh = await network.accept()
    await served(fresh)
    assert await caller.result() == (200, b"ok"), "and nobody has noticed"
    assert end.near.closed


@pytest.mark.parametrize("more", [b"x", raw_answer(200, b"evil"), b"\r\n"])
async def test_not_after_the_server_has_said_more_than_it_was_asked(
    caller: Caller, network: Network, more: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """What comes unasked would be taken for the next answer."""
    caller.ask()
    end, _ = await network.request()
    await end.send(raw_answer(200, b"ok") + more)
    assert await caller.result() == (200, b"ok")
    caller.ask()
    with trio.fail_after(5):
        fresh = await network.accept()
    await served(fresh, b"good")
    assert await caller.result() == (200, b"good")


@pytest.mark.parametrize(
    "answer",
    [raw_answer(200, b"ok", Connection="close"), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ids=["close", "HTTP/1.0"],
)
async def test_not_if_the_server_does_not_want_it(caller: Caller, network: Network, answer: bytes) -> None:
    caller.ask()
    end, _ = await network.request()
    await end.send(answer)
    assert await caller.result() == (200, b"ok")
    await wait_all_tasks_blocked()
    assert end.near.closed


async def test_not_if_the_answer_was_not_read(network: Network, nursery: trio.Nursery) -> None:
    pool = pool_of()

    async def look() -> None:
        async with pool.request("GET", "/", []) as answer:
            assert answer.status == 200

    nursery.start_soon(look)
    end, _ = await network.request()
    await end.reply(200, b"some body")
    await wait_all_tasks_blocked()
    assert end.near.closed
    nursery.start_soon(look)
    await network.request()


async def test_not_if_it_was_idle_for_too_long(
    calling: Callable[..., Caller], network: Network, autojump_clock: trio.testing.MockClock
) -> None:
    caller = calling(idle_seconds=30)
    caller.ask()
    end = await network.accept()
    await served(end)
    await caller.result()
    await trio.sleep(29)
    caller.ask()
    await served(end)
    await caller.result()
    await trio.sleep(31)
    caller.ask()
    await served(await network.accept())
    assert await caller.result() == (200, b"ok")
    assert end.near.closed


async def test_those_that_are_not_needed_are_closed_in_time(
    calling: Callable[..., Caller], network: Network, autojump_clock: trio.testing.MockClock
) -> None:
    """A burst leaves many: they go even though one of them is used all the time."""
    caller = calling(idle_seconds=30)
    ends = []
    for _ in range(3):
        caller.ask()
        ends.append((await network.request())[0])
    for end in ends:
        await end.reply(200, b"ok")
        await caller.result()
    for _ in range(10):
        await trio.sleep(10)
        caller.ask()
        await served(ends[-1])
        await caller.result()
    assert [end.near.closed for end in ends] == [True, True, False]


async def test_no_more_are_kept_than_wanted(calling: Callable[..., Caller], network: Network) -> None:
    caller = calling(idle_connections=2)
    ends = []
    for _ in range(5):
        caller.ask()
        ends.append((await network.request())[0])
    for end in ends:
        await end.reply(200, b"ok")
        await caller.result()
    await wait_all_tasks_blocked()
    assert sum(not end.near.closed for end in ends) == 2


async def test_a_request_that_is_cancelled_costs_its_connection(network: Network, nursery: trio.Nursery) -> None:
    pool = pool_of()
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            async with pool.request("GET", "/", []) as answer:
                await answer.read(100)

    nursery.start_soon(ask)
    end, _ = await network.request()
    await end.begin()
    await wait_all_tasks_blocked()
    scope.cancel()
    assert await end.left()
    assert end.near.closed


async def test_closing(caller: Caller, network: Network) -> None:
    caller.ask()
    caller.ask()
    idle, _ = await network.request()
    busy, _ = await network.request()
    await idle.reply(200, b"ok")
    await caller.result()
    await caller.pool.aclose()
    assert (idle.near.closed, busy.near.closed) == (True, False)
    await busy.reply(200, b"ok")
    assert await caller.result() == (200, b"ok")
    await wait_all_tasks_blocked()
    assert busy.near.closed


async def test_the_kernel_is_asked_to_notice_a_dead_server(caller: Caller, network: Network) -> None:
    caller.ask()
    end, _ = await network.request()
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in end.near.socket.options


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_nobody_is_there(caller: Caller, network: Network) -> None:
    network.refuses = True
    caller.ask()
    failure = await caller.failure()
    assert isinstance(failure, ConnectionClosed)
    assert "server.example:8080" in str(failure)
    assert "refused" in str(failure)


async def test_nobody_answers_the_door(
    calling: Callable[..., Caller], network: Network, autojump_clock: trio.testing.MockClock
) -> None:
    network.hangs = True
    caller = calling(connect_seconds=30)
    start = trio.current_time()
    caller.ask()
    failure = await caller.failure()
    assert isinstance(failure, ConnectionClosed)
    assert "within 30 seconds" in str(failure)
    assert trio.current_time() - start == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        raw_answer(200, b"hello")[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
    ids=["at once", "in the first line", "in the head", "before the answer", "in the body", "in a chunk"],
)
async def test_the_server_leaves(caller: Caller, network: Network, said: bytes, reset: bool) -> None:
    caller.ask()
    end, _ = await network.request()
    await end.send(said)
    await wait_all_tasks_blocked()
    await (end.reset() if reset else end.close())
    assert isinstance(await caller.failure(), ConnectionClosed)
    assert end.near.closed
    assert len(network.made) == 1, "what may have been served is not asked again"


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example ESMTP\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nA\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    ],
    ids=["mail", "TLS", "two lengths", "an encoding", "a bad chunk", "a bad header", "101", "a long head"],
)
async def test_the_server_does_not_speak_http(caller: Caller, network: Network, said: bytes) -> None:
    caller.ask()
    end, _ = await network.request()
    await end.send(said)
    failure = await caller.failure()
    assert isinstance(failure, RemoteProtocolError)
    assert end.near.closed


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_that_is_too_large(caller: Caller, network: Network, chunked: bool) -> None:
    caller.ask(limit=1000)
    end, _ = await network.request()
    if chunked:
        await end.begin()
        for _ in range(101):
            await end.chunk(b"x" * 10)
    else:
        await end.send(raw_answer(200, b"x" * 1001))
    failure = await caller.failure()
    assert isinstance(failure, RemoteProtocolError)
    assert "1000" in str(failure)
    assert end.near.closed


async def test_an_answer_of_just_that_size(caller: Caller, network: Network) -> None:
    caller.ask(limit=1000)
    end, _ = await network.request()
    await end.begin()
    for _ in range(100):
        await end.chunk(b"x" * 10)
    await end.finish()
    assert await caller.result() == (200, b"x" * 1000)


async def test_an_answer_before_the_request_was_taken(caller: Caller, network: Network) -> None:
    """A server that refuses a body closes without reading it: its answer counts."""
    caller.ask(b"x" * 1000)
    end = await network.accept()
    await end.send(raw_answer(413, b"too much", Connection="close"))
    await end.reset()
    assert await caller.result() == (413, b"too much")


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", [("A", "b\r\nC: d")]),
        ("GET", "/", [("A", "b\0")]),
        ("GET", "/", [("A b", "c")]),
        ("GET", "/", [("", "c")]),
        ("GET", "/a b", []),
        ("GET", "/\r\nX: y", []),
        ("GE T", "/", []),
        ("GET", "/", [("Authorization", "Bearer é€")]),
        ("GET", "/é", []),
        ("GET", "/", [("é", "c")]),
    ],
)
async def test_what_cannot_be_sent_is_not(
    network: Network, method: str, target: str, headers: list[tuple[str, str]]
) -> None:
    with pytest.raises(LocalProtocolError):
        async with pool_of().request(method, target, headers):
            pass
    assert network.made == [], "no connection was made for it"


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(network: Network, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_to(**names: str) -> None:
        for name, value in names.items():
            monkeypatch.setenv(name, value)

    return set_to


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["http://proxy.example:3128", "http://proxy.example:3128/", "proxy.example:3128"])
async def test_an_http_proxy(
    calling: Callable[..., Caller], network: Network, environment: Callable[..., None], name: str, proxy: str
) -> None:
    environment(**{name: proxy})
    caller = calling()
    caller.ask(b"hello")
    end, asked = await network.request()
    assert end.address == ("proxy.example", 3128)
    assert (asked.method, asked.target) == ("POST", "http://server.example:8080/mcp")
    assert asked.headers == {"host": "server.example:8080", "content-length": "5"}
    await end.reply(200, b"ok")
    assert await caller.result() == (200, b"ok")


async def test_a_proxy_that_wants_a_password(
    calling: Callable[..., Caller], network: Network, environment: Callable[..., None]
) -> None:
    environment(http_proxy="http://user:p%40ss@proxy.example:3128")
    calling().ask()
    _, asked = await network.request()
    assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()


@pytest.mark.parametrize(
    "names",
    [
        {"https_proxy": "http://proxy.example"},
        {"http_proxy": "http://proxy.example", "no_proxy": "server.example"},
        {"http_proxy": "http://proxy.example", "NO_PROXY": ".example"},
        {"http_proxy": "http://proxy.example", "no_proxy": "server.example:8080"},
        {"http_proxy": "http://proxy.example", "no_proxy": "*"},
        {"http_proxy": ""},
    ],
)
async def test_a_proxy_that_is_not_for_us(
    calling: Callable[..., Caller], network: Network, environment: Callable[..., None], names: dict[str, str]
) -> None:
    environment(**names)
    calling().ask()
    end, asked = await network.request()
    assert (end.address, asked.target) == (("server.example", 8080), "/mcp")


async def test_the_environment_need_not_be_trusted(
    calling: Callable[..., Caller], network: Network, environment: Callable[..., None]
) -> None:
    environment(http_proxy="http://proxy.example:3128")
    calling(trust_env=False).ask()
    assert (await network.request())[0].address == ("server.example", 8080)


def test_a_proxy_that_we_cannot_use(environment: Callable[..., None]) -> None:
    environment(http_proxy="socks5://proxy.example:1080")
    with pytest.raises(LocalProtocolError, match="socks5"):
        pool_of()


# --- TLS, and tunnels -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def secured(end: ServerEnd, authority: trustme.CA, name: str) -> AsyncIterator[ServerEnd]:
    """The server's end of the same connection, over TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    stream = trio.SSLStream(end.stream, context, server_side=True, https_compatible=True)
    yield ServerEnd(stream, end.near, end.address)


async def test_tls(calling: Callable[..., Caller], network: Network, authority: trustme.CA) -> None:
    caller = calling(url="https://server.example/mcp", context=trusting(authority))
    caller.ask(b"hello")
    end = await network.accept()
    assert end.address == ("server.example", 443)
    async with secured(end, authority, "server.example") as inside:
        asked = await inside.request()
        assert asked is not None
        assert asked.headers["host"] == "server.example"
        await inside.reply(200, b"ok")
        assert await caller.result() == (200, b"ok")
        caller.ask()
        await served(inside)
        assert await caller.result() == (200, b"ok")


@pytest.mark.parametrize(("name", "trusted"), [("other.example", True), ("server.example", False)])
async def test_a_server_that_is_not_who_it_says(
    calling: Callable[..., Caller],
    network: Network,
    authority: trustme.CA,
    name: str,
    trusted: bool,
) -> None:
    caller = calling(url="https://server.example/mcp", context=trusting(authority if trusted else trustme.CA()))
    caller.ask()
    end = await network.accept()
    async with secured(end, authority, name) as inside:
        assert await inside.request() is None, "it hears nothing from us"
    failure = await caller.failure()
    assert isinstance(failure, ConnectionClosed)
    assert "TLS" in str(failure)
    assert end.near.closed


async def test_no_tls_at_all(calling: Callable[..., Caller], network: Network) -> None:
    caller = calling(url="https://server.example/mcp")
    caller.ask()
    end = await network.accept()
    await end.send(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
    assert isinstance(await caller.failure(), ConnectionClosed)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://server.example/mcp", "server.example:443"),
        ("https://server.example:8443/mcp", "server.example:8443"),
        ("https://[::1]:8443/mcp", "[::1]:8443"),
    ],
)
async def test_a_tunnel(
    calling: Callable[..., Caller],
    network: Network,
    environment: Callable[..., None],
    authority: trustme.CA,
    url: str,
    target: str,
) -> None:
    environment(https_proxy="http://user:secret@proxy.example:3128")
    caller = calling(url=url, context=trusting(authority))
    caller.ask(b"hello")
    end, asked = await network.request()
    assert end.address == ("proxy.example", 3128)
    assert (asked.method, asked.target, asked.headers["host"]) == ("CONNECT", target, target)
    assert asked.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"user:secret").decode()
    await end.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    async with secured(end, authority, Url(url).host) as inside:
        request = await inside.request()
        assert request is not None
        assert (request.target, request.body) == ("/mcp", b"hello")
        assert "proxy-authorization" not in request.headers, "the server does not learn it"
        await inside.reply(200, b"ok")
        assert await caller.result() == (200, b"ok")


async def no_words(end: ServerEnd) -> None:
    await end.close()


async def half_words(end: ServerEnd) -> None:
    await end.send(b"HTTP/1.1 20")
    await end.close()


async def reset(end: ServerEnd) -> None:
    await end.reset()


async def refusal(end: ServerEnd) -> None:
    await end.reply(407, b"who are you?", Proxy_Authenticate="Basic")


async def nonsense(end: ServerEnd) -> None:
    await end.send(b"220 mail.example\r\n\r\n")


@pytest.mark.parametrize("does", [no_words, half_words, reset, refusal, nonsense])
async def test_a_tunnel_that_is_not_made(
    calling: Callable[..., Caller],
    network: Network,
    environment: Callable[..., None],
    does: Callable[[ServerEnd], Awaitable[None]],
) -> None:
    environment(https_proxy="http://proxy.example:3128")
    caller = calling(url="https://server.example/mcp")
    caller.ask(b"hello")
    end, _ = await network.request()
    await does(end)
    failure = await caller.failure()
    assert isinstance(failure, ConnectionClosed)
    assert "proxy.example" in str(failure)
    assert end.near.closed


async def test_a_proxy_that_leaves_before_it_is_asked(
    calling: Callable[..., Caller], network: Network, environment: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(https_proxy="http://proxy.example:3128")

    async def connect(host: str, port: int) -> Any:
        stream = await network.connect(host, port)
        stream.broken = True
        return stream

    monkeypatch.setattr(trio, "open_tcp_stream", connect)
    caller = calling(url="https://server.example/mcp")
    caller.ask()
    assert isinstance(await caller.failure(), ConnectionClosed)


@pytest.mark.parametrize("url", ["http://a..b/mcp", f"http://{'a' * 64}.example/mcp"])
async def test_a_name_that_no_host_has(url: str) -> None:
    """The real thing: such a name is refused before anybody is asked for it."""
    with pytest.raises((ConnectionClosed, LocalProtocolError)):
        async with HttpPool(Url(url), ssl_context=None, limits=HttpClientLimits(), trust_env=False).request(
            "GET", "/", []
        ):
            pass
