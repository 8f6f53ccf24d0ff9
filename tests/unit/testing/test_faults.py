"""What a fault makes of bytes; and a peer that survives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import memory_stream_pair

from mcp_tasks import ConnectionClosed, Peer
from mcp_tasks.testing import (
    Cut,
    Duplicate,
    Fault,
    Faults,
    FaultyStream,
    Garbage,
    Reorder,
    Side,
    Split,
    Stall,
    scripted,
)

LINES = b"one\ntwo\nthree\n"


async def through(fault: Fault, *writes: bytes) -> tuple[list[bytes], bool]:
    """What arrives of some writes, piece by piece, and whether the stream broke."""
    pieces: list[bytes] = []

    class Kept(trio.abc.SendStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.lowlevel.checkpoint()
            pieces.append(bytes(data))

        async def wait_send_all_might_not_block(self) -> None: ...

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    stream = FaultyStream(Kept(), fault)
    try:
        for data in writes:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        return pieces, True
    return pieces, False


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (lambda: Split(1), [b"a", b"b", b"c"]),
        (lambda: Split(2), [b"ab", b"c"]),
        (lambda: Faults(), [b"abc"]),
    ],
)
async def test_pieces(fault: Callable[[], Fault], arrives: list[bytes]) -> None:
    assert await through(fault(), b"abc") == (arrives, False)


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (lambda: Duplicate(), b"one\none\ntwo\ntwo\nthree\nthree\n"),
        (lambda: Duplicate(2), b"one\ntwo\ntwo\nthree\n"),
        (lambda: Duplicate(which=lambda line: b"t" in line), b"one\ntwo\ntwo\nthree\nthree\n"),
        (lambda: Reorder(), b"two\none\n"),
        (lambda: Garbage(2, b"?\n"), b"one\n?\ntwo\nthree\n"),
        (lambda: Faults(Duplicate(3), Split(4)), b"one\ntwo\nthree\nthree\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
async def test_lines(fault: Callable[[], Fault], arrives: bytes, size: int) -> None:
    """However they are written."""
    writes = [LINES[start : start + size] for start in range(0, len(LINES), size)]
    pieces, broken = await through(fault(), *writes)
    assert b"".join(pieces) == arrives
    assert not broken


@pytest.mark.parametrize("after", range(5))
async def test_a_cut(after: int) -> None:
    pieces, broken = await through(Cut(after), b"ab", b"cd", b"ef")
    assert b"".join(pieces) == b"abcdef"[:after]
    assert broken


async def test_a_stall() -> None:
    ours, theirs = memory_stream_pair()
    fault = Stall(3)
    stream = FaultyStream(ours, fault)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"abcde")
        await trio.testing.wait_all_tasks_blocked()
        assert bytes(await theirs.receive_some()) == b"abc"
        fault.release()
        await trio.testing.wait_all_tasks_blocked()
        assert bytes(await theirs.receive_some()) == b"de"
        await stream.send_all(b"f")
        assert bytes(await theirs.receive_some()) == b"f"


@pytest.mark.requirement("C25-073")
@pytest.mark.parametrize("side", Side)
async def test_a_peer_survives_garbage_and_pieces(side: Side, autojump_clock: object) -> None:
    peer = Peer("mine", "1.0")
    async with scripted(peer, side=side, fault=Faults(Garbage(every=2), Split(1))) as script:
        assert await script.request("ping") == {}


async def test_a_peer_whose_other_side_is_cut_off(autojump_clock: object) -> None:
    peer = Peer("mine", "1.0")
    fault = Cut(10_000)
    async with scripted(peer, fault=fault) as script:
        assert await script.request("ping") == {}
        fault.left = 5
        with pytest.raises(ConnectionClosed):
            await script.request("ping")
        await script.ended()
