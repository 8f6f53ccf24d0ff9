"""The joined pair of transports in memory: what a pipe does, it does."""

from __future__ import annotations

import pytest
import trio
from trio.testing import Sequencer, assert_checkpoints, wait_all_tasks_blocked

from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.limits import Limits
from mcp_tasks.transports.memory import MemoryPipe, memory_transport_pair
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response

MESSAGES: list[Message] = [
    Request(1, "ping"),
    Request("one", "tools/call", {"name": "x", "arguments": {"text": "zwei\nZeilen \u2028"}}),
    Notification("notifications/progress", {"progress": 0.5}),
    Response(1, {}),
    ErrorResponse(2, ErrorObject(-32602, "no", {"why": None})),
]


async def take(transport: object, count: int) -> list[object]:
    """Exactly `count` messages."""
    got: list[object] = []
    while len(got) < count:
        got += await transport.receive()  # type: ignore[attr-defined]
    return got


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    "tap",
    [None, lambda data: [bytes([byte]) for byte in data], lambda data: [data[:7], data[7:]]],
    ids=["whole", "bytes", "split"],
)
async def test_messages_arrive_in_order(swapped: bool, tap: object) -> None:
    near, far = memory_transport_pair(tap=tap)  # type: ignore[arg-type]
    if swapped:
        near, far = far, near
    for message in MESSAGES:
        near.send(message)
    await near.flush()
    assert near.backlog == 0
    assert await take(far, len(MESSAGES)) == MESSAGES


async def test_closing_ends_both_directions() -> None:
    near, far = memory_transport_pair()
    await near.aclose()
    await near.aclose()
    with pytest.raises(ConnectionClosed):
        await near.receive()
    with pytest.raises(ConnectionClosed):
        await far.receive()
    far.send(MESSAGES[0])
    with pytest.raises(ConnectionClosed):
        await far.flush()


async def test_what_was_written_before_the_end_is_read() -> None:
    near, far = memory_transport_pair()
    near.send(MESSAGES[0])
    await near.flush()
    await near.aclose()
    assert await far.receive() == MESSAGES[:1]
    with pytest.raises(ConnectionClosed):
        await far.receive()


async def test_closing_wakes_a_receiver_and_a_writer() -> None:
    near, _far = memory_transport_pair(size=10)
    near.send(Request(1, "x" * 100))

    async def closed(operation: object) -> None:
        with pytest.raises(ConnectionClosed):
            await operation()  # type: ignore[operator]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(closed, near.receive)
        nursery.start_soon(closed, near.flush)
        await wait_all_tasks_blocked()
        await near.aclose()


async def test_a_slow_reader_is_back_pressure() -> None:
    near, far = memory_transport_pair(size=100)
    near.send(Request(1, "m", {"text": "x" * 10_000}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.flush)
        await wait_all_tasks_blocked()
        assert near.backlog > 10_000
        assert (await far.receive())[0].params == {"text": "x" * 10_000}  # type: ignore[union-attr]
    assert near.backlog == 0


async def test_cancelled_receive_has_lost_nothing() -> None:
    near, far = memory_transport_pair()
    near.send(MESSAGES[0])
    await near.flush()
    with trio.CancelScope() as scope:
        scope.cancel()
        await far.receive()
    assert scope.cancelled_caught
    assert await far.receive() == MESSAGES[:1]


async def test_what_is_no_json_is_not_queued() -> None:
    near, _far = memory_transport_pair()
    with pytest.raises(TypeError):
        near.send(Request(1, "m", {"x": object()}))
    assert near.backlog == 0


async def test_malformed_lines_do_no_harm() -> None:
    good = b'{"jsonrpc":"2.0","method":"m"}\n'
    lines = [b"x" * 100 + b"\n", b"{}\n", b"\xff\n", b"\n", b"no json\n"]
    near, far = memory_transport_pair(
        limits=Limits(message_bytes=50), tap=lambda data: [part for line in lines for part in (line, good)] + [b"cut"]
    )
    near.send(Notification("m"))
    await near.flush()
    got = await take(far, 9)
    assert [type(message) for message in got] == [
        *(Malformed, Notification) * 3,
        Notification,  # a blank line is nothing
        *(Malformed, Notification),
    ]
    assert "more than 50 bytes" in got[0].error.message  # type: ignore[attr-defined]
    await near.aclose()
    [cut] = await far.receive()
    assert isinstance(cut, Malformed)
    assert "ended 3 bytes into a message" in cut.error.message
    for _ in range(2):
        with pytest.raises(ConnectionClosed):
            await far.receive()


async def test_the_pipe_itself() -> None:
    pipe = MemoryPipe(size=4)
    seq = Sequencer()

    async def write() -> None:
        async with seq(0):
            with assert_checkpoints():
                await pipe.send_all(b"abcd")
        await pipe.send_all(b"efgh")  # waits for the reader
        await pipe.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        async with seq(1):
            await wait_all_tasks_blocked()
            with assert_checkpoints():
                assert await pipe.receive_some(3) == b"abc"
        await pipe.wait_send_all_might_not_block()
        assert await pipe.receive_some() == b"d"
        assert await pipe.receive_some() == b"efgh"
        assert await pipe.receive_some() == b""
    with pytest.raises(trio.ClosedResourceError):
        await pipe.send_all(b"x")
    pipe.close_reader()
    with pytest.raises(trio.ClosedResourceError):
        await pipe.receive_some()
