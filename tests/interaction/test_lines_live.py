"""Bytes on a connection at work: lines that are broken, too long, too deep or cut, and the good ones after them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import Context, Limits, Peer, RemoteProtocolError, Side
from mcp_tasks.testing import peer_pair, scripted

MakePeer = Callable[..., Peer]
GOOD = b'{"jsonrpc":"2.0","id":"good","method":"x/echo","params":{"a":"\xc3\xa9"}}'


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return request.param  # type: ignore[no-any-return]


def echoing(peer: Peer) -> Peer:
    @peer.handle("x/echo")
    async def echo(ctx: Context, params: Any) -> Any:
        return params

    return peer


def bytewise(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def in_pieces(size: int) -> Callable[[bytes], list[bytes]]:
    return lambda data: [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.requirement("C25-071", "C25-073")
@pytest.mark.parametrize("tap", [None, bytewise, in_pieces(7)], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize(
    ("raw", "errors"),
    [
        (b"", 0),
        (b"\n\n\n", 0),
        (b"\r\n", 0),
        (b"junk\n", 1),
        (b"junk\r\n", 1),
        (b"\x00\xff\xfe\n", 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"x/echo","params":{"a":"\xc3"}}\n', 1),
        (b"\xef\xbb\xbf" + GOOD + b"\n", 1),
        (b'{"jsonrpc":"2.0",\n"id":1,"method":"x/echo"}\n', 2),
        (b"[" * 100_000 + b"\n", 1),
        (b"junk\n" * 50, 50),
    ],
    ids=repr,
)
async def test_a_broken_line_costs_one_answer_and_no_more(
    make_peer: MakePeer, side: Side, raw: bytes, errors: int, tap: Any
) -> None:
    if tap is bytewise and len(raw) > 10_000:
        tap = in_pieces(1000)
    async with scripted(echoing(make_peer()), side=side, tap=tap) as remote:
        before = len(remote.received)
        await remote.send_raw(raw + GOOD + b"\n")
        assert await remote.answer("good") == {"a": "é"}
        said = remote.received[before:-1]
        assert len(said) == errors
        assert all(message["error"]["code"] == -32700 and "id" not in message for message in said)


async def test_crlf_is_a_newline_too(make_peer: MakePeer, side: Side) -> None:
    async with scripted(echoing(make_peer()), side=side) as remote:
        await remote.send_raw(GOOD + b"\r\n" + GOOD.replace(b"good", b"next") + b"\r\n")
        assert await remote.answer("good") == {"a": "é"}
        assert await remote.answer("next") == {"a": "é"}
        assert remote.unread() == []


async def test_a_byte_order_mark_costs_its_line_only(make_peer: MakePeer) -> None:
    async with scripted(echoing(make_peer())) as remote:
        await remote.send_raw(b"\xef\xbb\xbf" + GOOD + b"\n")
        await remote.quiet()
        (error,) = remote.unread()
        assert error["error"]["code"] == -32700
        assert not remote.answered("good")


@pytest.mark.parametrize("tap", [None, bytewise], ids=["whole", "bytes"])
async def test_a_message_that_is_too_long_is_skipped(make_peer: MakePeer, side: Side, tap: Any) -> None:
    limit = 500
    async with scripted(echoing(make_peer(limits=Limits(message_bytes=limit))), side=side, tap=tap) as remote:

        def line(size: int, id: str) -> bytes:
            frame = json.dumps({"jsonrpc": "2.0", "id": id, "method": "x/echo", "params": {"a": ""}}).encode()
            return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')

        assert len(line(limit, "fits")) == limit
        await remote.send_raw(line(limit, "fits") + b"\n")
        await remote.answer("fits")
        await remote.send_raw(line(limit + 1, "long") + b"\n" + GOOD + b"\n")
        assert await remote.answer("good") == {"a": "é"}
        (error,) = remote.unread()
        assert error == {
            "jsonrpc": "2.0",
            "error": {"code": -32700, "message": "Parse error: a message of more than 500 bytes"},
        }
        assert not remote.answered("long")


async def test_a_message_that_is_too_deep_is_refused_by_its_id(make_peer: MakePeer, side: Side) -> None:
    async with scripted(echoing(make_peer(limits=Limits(json_depth=10))), side=side) as remote:
        deep: Any = {}
        for _ in range(20):
            deep = {"x": deep}
        response = await remote.response(await remote.ask("x/echo", deep))
        assert response["error"] == {
            "code": -32600,
            "message": "Invalid request: $: nested deeper than 10 levels",
        }
        await remote.notify("x/deep", deep)
        await remote.send({"jsonrpc": "2.0", "id": 1, "result": deep})
        await remote.send_raw(GOOD + b"\n")
        assert await remote.answer("good") == {"a": "é"}
        assert remote.unread() == []


async def test_an_answer_that_is_too_deep_fails_its_call(make_peer: MakePeer, side: Side) -> None:
    deep: Any = {}
    for _ in range(20):
        deep = {"x": deep}
    failed: list[str] = []
    async with scripted(make_peer(limits=Limits(json_depth=10)), side=side) as remote:

        async def call() -> None:
            assert remote.connection is not None
            try:
                await remote.connection.call("x/ask")
            except RemoteProtocolError as error:
                failed.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await remote.reply(await remote.expect("x/ask"), deep)
        assert await remote.request("ping") == {}
    (said,) = failed
    assert "nested deeper than 10 levels" in said


async def test_a_line_without_an_end_is_not_acted_on(make_peer: MakePeer) -> None:
    served = []
    peer = make_peer()

    @peer.handle("x/echo")
    async def echo(ctx: Context, params: Any) -> Any:
        served.append(params)
        return params

    async with scripted(peer) as remote:
        await remote.send_raw(GOOD + b"\n" + GOOD.replace(b"good", b"cut"))
        await remote.answer("good")
        await remote.close()
        await remote.ended()
        assert len(served) == 1
        assert not remote.answered("cut")
        assert all("the stream ended" in message["error"]["message"] for message in remote.unread())


@pytest.mark.requirement("C25-073")
async def test_what_is_sent_is_one_line_a_message(make_peer: MakePeer) -> None:
    lines: list[bytes] = []

    def tap(data: bytes) -> list[bytes]:
        lines.extend(data.splitlines(keepends=True) if b"\r" not in data else [data])
        return [data]

    text = "one\ntwo\r\nthree\u2028four\u0085\U0001f600"
    async with scripted(echoing(make_peer()), tap=tap) as remote:
        assert await remote.request("x/echo", {"text": text}) == {"text": text}
    for line in lines:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        json.loads(line)


@pytest.mark.parametrize("size", [1, 2, 3, 64])
async def test_two_peers_do_not_care_how_bytes_travel(make_peer: MakePeer, size: int) -> None:
    async with peer_pair(echoing(make_peer("c")), echoing(make_peer("s")), tap=in_pieces(size)) as pair:
        params = {"text": "é\n\U0001f600" * 20}
        assert await pair.client.call("x/echo", params) == params
        assert await pair.server.call("x/echo", params) == params


async def test_a_large_message_through_a_small_pipe(make_peer: MakePeer) -> None:
    async with peer_pair(echoing(make_peer("c")), echoing(make_peer("s")), pipe_bytes=512) as pair:
        params = {"text": "x" * 300_000}
        assert await pair.client.call("x/echo", params) == params
        assert await pair.server.call("x/echo", params) == params
