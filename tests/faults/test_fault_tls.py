"""TLS on both ends: that it carries what plain HTTP does, and that its failures are as clear."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from mcp_tasks import (
    ConnectionClosed,
    Context,
    HttpClientLimits,
    HttpLimits,
    Limits,
    MCPError,
    Peer,
    Progress,
    RemoteProtocolError,
)
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams, ElicitResult

from ._wire import (
    TEN_MB,
    connected,
    dial,
    listening,
    proxying,
    request_bytes,
    scripting,
    serving,
    settled,
    text_of,
    until,
)

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(retry_seconds=0.01, connect_seconds=5, listen_seconds=0.2)
TEXT = "x" * TEN_MB


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def offering(make_peer: MakePeer, **options: Any) -> Peer:
    peer = make_peer(**options)

    @peer.tool
    async def echo(ctx: Context, text: str) -> str:
        await ctx.progress(1)
        return text

    @peer.tool
    async def sample(ctx: Context, size: int) -> int:
        return len((await ctx.sample("x" * size)).content.text)  # type: ignore[union-attr]

    @peer.tool
    async def rounds(ctx: Context) -> str:
        names = []
        for n in range(5):
            await ctx.progress(n)
            names.append((await ctx.elicit(f"{n}", {"name": str})).content["name"])
        return "".join(names)

    return peer


async def echo(connection: Any, text: str = "on") -> str:
    return text_of(await connection.call("tools/call", {"name": "echo", "arguments": {"text": text}}))


# --- as it should be --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-079", "C25-091")
async def test_the_url_says_https(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with serving(offering(make_peer), ssl_context=server_context(authority)) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with connected(server.url, ssl_context=client_context(authority)) as connection:
            assert await echo(connection) == "on"
            assert await echo(connection, "again") == "again"


async def test_ten_megabytes(make_peer: MakePeer, authority: trustme.CA) -> None:
    """As argument and result, as JSON and as events, as a question and its answer."""
    client_peer = make_peer("model")

    @client_peer.sampling
    async def repeat(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=params.messages[0].content, model="parrot")  # type: ignore[arg-type]

    async with (
        serving(offering(make_peer), ssl_context=server_context(authority)) as server,
        connected(server.url, client_peer, ssl_context=client_context(authority)) as connection,
    ):
        params = {"name": "echo", "arguments": {"text": TEXT}}
        assert text_of(await connection.call("tools/call", params)) == TEXT
        progress: list[Progress] = []
        assert text_of(await connection.call("tools/call", params, on_progress=progress.append)) == TEXT
        assert len(progress) == 1
        result = await connection.call("tools/call", {"name": "sample", "arguments": {"size": TEN_MB}})
        assert result["structuredContent"] == {"result": TEN_MB}


@pytest.mark.requirement("C25-095", "C25-119")
@pytest.mark.parametrize("resets", [True, False], ids=["reset", "closed"])
async def test_cut(make_peer: MakePeer, authority: trustme.CA, resets: bool) -> None:
    """Every connection, each time a question arrives: the streams are come back to, and the answers are not lost."""
    client_peer = make_peer("client")
    cutting: list[Any] = []
    asked: list[str] = []

    @client_peer.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        asked.append(params.message)
        await cutting[0].cut()
        return ElicitResult(action="accept", content={"name": params.message})

    async with (
        serving(offering(make_peer), ssl_context=server_context(authority)) as server,
        proxying(server, resets=resets) as proxy,
    ):
        cutting.append(proxy)
        url = proxy.url.replace("http:", "https:")
        async with connected(url, client_peer, ssl_context=client_context(authority), http_limits=QUICK) as connection:
            told: list[float] = []
            params = {"name": "rounds", "arguments": {}}
            result = await connection.call("tools/call", params, on_progress=lambda p: told.append(p.progress))
            assert text_of(result) == "01234"
    assert asked == list("01234")
    assert told == [0, 1, 2, 3, 4]


# --- clients that are wrong -------------------------------------------------------------------------------------------


async def fails(url: str, expected: str, **options: Any) -> None:
    with pytest.raises(MCPError, match=expected) as caught:
        async with connected(url, http_limits=QUICK, **options):
            raise AssertionError("it is connected")
    assert isinstance(caught.value, (ConnectionClosed, RemoteProtocolError))


async def test_an_authority_that_is_not_trusted(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with serving(offering(make_peer), ssl_context=server_context(authority)) as server:
        await fails(server.url, "(?i)no TLS with 127.0.0.1:.*certificate")
        await fails(server.url, "(?i)certificate", ssl_context=client_context(trustme.CA()))
        async with connected(server.url, ssl_context=client_context(authority)) as connection:
            assert await echo(connection) == "on"


async def test_a_certificate_for_somebody_else(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with serving(offering(make_peer), ssl_context=server_context(authority, "example.org")) as server:
        await fails(server.url, "(?i)certificate|mismatch", ssl_context=client_context(authority))


async def test_plain_http_to_a_port_with_tls(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with serving(offering(make_peer), ssl_context=server_context(authority)) as server:
        await fails(server.url.replace("https:", "http:"), "closed the connection|broke|does not speak HTTP")
        await until(lambda: not server.connections)


async def test_tls_to_a_plain_port(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with serving(offering(make_peer)) as server:
        url = server.url.replace("http:", "https:")
        await fails(url, "no TLS with 127.0.0.1:", ssl_context=client_context(authority))
        await until(lambda: not server.connections)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"hello\r\n"], ids=["nothing", "half a record", "no TLS"])
async def test_a_server_that_fails_in_the_handshake(authority: trustme.CA, said: bytes) -> None:
    async def fail(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(said)

    async with listening(fail) as url:
        await fails(url.replace("http:", "https:"), "no TLS with 127.0.0.1:", ssl_context=client_context(authority))


async def test_a_server_that_never_shakes_hands(authority: trustme.CA) -> None:
    """`connect_seconds` are for TLS too."""

    async def silent(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some(65536):
                pass

    async with listening(silent) as url:
        with pytest.raises(ConnectionClosed, match=r"could not be reached within 0\.05 seconds"):
            async with connected(
                url.replace("http:", "https:"),
                ssl_context=client_context(authority),
                http_limits=HttpClientLimits(connect_seconds=0.05),
            ):
                raise AssertionError("it is connected")


async def test_a_server_that_cuts_in_the_middle(authority: trustme.CA) -> None:
    """Without saying goodbye: what came so far is not taken for the whole."""
    context = server_context(authority)

    async def cut(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        data = b""
        while b"initialize" not in data and (piece := await secured.receive_some(65536)):
            data += piece
        body = b'{"jsonrpc": "2.0", "id": 1, "result": {}}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        await secured.send_all(head + body)
        await trio.aclose_forcefully(secured)

    async with listening(cut) as url:
        await fails(
            url.replace("http:", "https:"),
            "in the middle of an answer|broke",
            ssl_context=client_context(authority),
        )


# --- clients that are wrong, slow, or gone ----------------------------------------------------------------------------


async def test_connections_without_a_handshake(
    make_peer: MakePeer, authority: trustme.CA, mock_clock: MockClock
) -> None:
    """That say nothing, something else, half of it, or leave: none stays, and others are served."""
    limits = HttpLimits(request_seconds=30)
    async with serving(offering(make_peer), ssl_context=server_context(authority), http_limits=limits) as server:
        tasks = trio.lowlevel.current_statistics().tasks_living
        silent, half = await dial(server.url), await dial(server.url)
        await half.send(b"\x16\x03\x01\x02\x00\x01")
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 70_000):
            line = await dial(server.url)
            try:
                await line.send(said)
            except trio.BrokenResourceError:
                pass
            await line.closed()
            await line.aclose()
        gone = await dial(server.url)
        await gone.send(b"\x16\x03\x01\x02\x00\x01")
        await settled()
        await gone.reset()
        async with scripting(server.url, ssl_context=client_context(authority)) as script:
            assert (await script.ask("ping")).status == 200
        mock_clock.jump(40)
        for line in (silent, half):
            assert await line.closed() == b""
            await line.aclose()
        await until(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks + SESSION_TASKS)
        assert not server.connections


SESSION_TASKS = 8  # what one open session may need


async def test_refusals_are_seen(make_peer: MakePeer, authority: trustme.CA, mock_clock: MockClock) -> None:
    """413, 431 and 408, as without TLS."""
    peer = offering(make_peer, limits=Limits(message_bytes=1000))
    limits = HttpLimits(request_seconds=30)
    async with (
        serving(peer, ssl_context=server_context(authority), http_limits=limits) as server,
        scripting(server.url, ssl_context=client_context(authority)) as script,
    ):
        line = await script.dial()
        await line.send(request_bytes("POST", "/mcp", script.headers(("Content-Length", "1001"))))
        assert (await line.answer()).status == 413
        line = await script.dial()
        await line.send(b"POST /mcp HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert (await line.answer()).status == 431
        line = await script.dial()
        await line.send(script.request_bytes("POST", body=b"{" * 100)[:-50])
        await until(lambda: any(connection._arriving for connection in server.connections))
        await settled()
        mock_clock.jump(40)
        assert (await line.answer()).status == 408


async def test_one_that_does_not_read(make_peer: MakePeer, authority: trustme.CA, mock_clock: MockClock) -> None:
    peer = offering(make_peer)
    limits = HttpLimits(stall_seconds=60)
    async with (
        serving(peer, ssl_context=server_context(authority), http_limits=limits) as server,
        scripting(server.url, ssl_context=client_context(authority)) as script,
    ):
        line = await script.dial(receive_buffer=4096)
        call = script.request("tools/call", {"name": "echo", "arguments": {"text": TEXT}})
        await line.send(script.request_bytes("POST", body=json.dumps(call).encode()))
        await until(lambda: any(connection.unwritten for connection in server.connections))
        await settled()
        mock_clock.jump(70)
        await until(lambda: not server.connections)
        assert (await script.ask("ping")).status == 200


async def test_resets(make_peer: MakePeer, authority: trustme.CA) -> None:
    """In the middle of a body, of an answer, and of a stream."""
    peer = offering(make_peer)
    async with (
        serving(peer, ssl_context=server_context(authority)) as server,
        scripting(server.url, ssl_context=client_context(authority)) as script,
    ):
        line = await script.dial()
        await line.send(script.request_bytes("POST", body=b"{" * 100)[:-50])
        await until(lambda: any(connection._arriving for connection in server.connections))
        await line.reset()
        await until(lambda: not server.connections)
        line = await script.begin("tools/call", {"name": "echo", "arguments": {"text": TEXT}}, receive_buffer=4096)
        await line.head()
        await line.reset()
        await until(lambda: not server.connections)
        line = await script.listen()
        await line.event()
        await line.reset()
        await until(lambda: not server.connections)
        assert (await script.ask("ping")).json["result"] == {}


async def test_many_at_once(make_peer: MakePeer, authority: trustme.CA) -> None:
    async with (
        serving(offering(make_peer), ssl_context=server_context(authority)) as server,
        connected(server.url, ssl_context=client_context(authority)) as connection,
    ):
        found: list[str] = []

        async def call(n: int) -> None:
            found.append(await echo(connection, f"{n}" * 100_000))

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(call, n)
        assert sorted(found) == [f"{n}" * 100_000 for n in range(10)]
