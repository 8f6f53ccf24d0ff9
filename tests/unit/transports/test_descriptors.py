"""The streams over descriptors: trio's own checker, and what it does not look at."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import assert_checkpoints, check_one_way_stream, wait_all_tasks_blocked

from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.transports.descriptors import (
    FdReader,
    FdWriter,
    ThreadReader,
    ThreadWriter,
    enlarge_pipe,
    open_reader,
    open_writer,
    private_copy,
)
from mcp_tasks.transports.lines import LineTransport
from mcp_tasks.wire.jsonrpc import Notification

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")


@pytest.fixture(autouse=True)
def open_descriptors() -> Iterator[None]:
    """Every stream that was closed has closed its descriptor, and only that."""
    before = set(os.listdir("/dev/fd"))
    yield
    assert set(os.listdir("/dev/fd")) == before


class CheckpointingWriter(FdWriter):
    """`FdWriter` without its one liberty: if the pipe has room, its send_all does not let others run."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        await super().send_all(data)


async def test_trio_checks_the_descriptor_streams() -> None:
    async def make() -> tuple[FdWriter, FdReader]:
        read, write = os.pipe()
        return CheckpointingWriter(write), FdReader(read)

    async def make_clogged() -> tuple[FdWriter, FdReader]:
        writer, reader = await make()
        try:
            while True:
                os.write(writer._fd, b"x" * 65536)
        except BlockingIOError:
            pass
        return writer, reader

    await check_one_way_stream(make, make_clogged)


async def test_trio_checks_the_thread_streams(tmp_path: Path) -> None:
    async def make() -> tuple[ThreadWriter, ThreadReader]:
        read, write = os.pipe()
        return ThreadWriter(write), ThreadReader(read)

    writer, reader = await make()
    with assert_checkpoints():
        await writer.send_all(b"abc")
    with assert_checkpoints():
        assert await reader.receive_some(2) == b"ab"
    await writer.aclose()
    assert await reader.receive_some() == b"c"
    assert await reader.receive_some() == b""
    await reader.aclose()
    await reader.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await reader.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await writer.send_all(b"x")


@pytest.mark.parametrize("reader_type", [FdReader, ThreadReader])
async def test_cancelled_reading_has_lost_nothing(reader_type: type[FdReader | ThreadReader]) -> None:
    read, write = os.pipe()
    reader = reader_type(read)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.receive_some)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    os.write(write, b"abc")
    assert await reader.receive_some() == b"abc"
    os.write(write, b"def")
    with trio.CancelScope() as scope:
        scope.cancel()
        await reader.receive_some()
    assert scope.cancelled_caught
    assert await reader.receive_some() == b"def"
    os.close(write)
    await reader.aclose()


@pytest.mark.parametrize("reader_type", [FdReader, ThreadReader])
async def test_closing_wakes_the_reader(reader_type: type[FdReader | ThreadReader]) -> None:
    read, write = os.pipe()
    reader = reader_type(read)

    async def wait_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await reader.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_vain)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await reader.receive_some()
        await reader.aclose()
    os.close(write)
    if isinstance(reader, ThreadReader):
        async with reader._turn:  # until the thread has ended
            pass


async def test_a_descriptor_is_not_closed_under_a_threads_hands() -> None:
    """Its number could be somebody else's by the time the thread reads."""
    read, write = os.pipe()
    reader = ThreadReader(read)
    reading, may_end = trio.Event(), threading.Event()

    def operation(fd: int) -> None:
        trio.from_thread.run_sync(reading.set)
        may_end.wait(30)
        os.fstat(fd)

    async def wait_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await reader._run(operation)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_vain)
        await reading.wait()
        await reader.aclose()
    os.fstat(read)
    may_end.set()
    async with reader._turn:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(read)
    os.close(write)


@pytest.mark.parametrize("writer_type", [FdWriter, ThreadWriter])
async def test_closing_wakes_the_writer(writer_type: type[FdWriter | ThreadWriter]) -> None:
    read, write = os.pipe()
    writer = writer_type(write)

    async def write_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await writer.send_all(bytes(10_000_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_in_vain)
        await wait_all_tasks_blocked()
        # Not even if it has room by now: the bytes would land in the middle of a message.
        os.read(read, 1)
        with pytest.raises(trio.BusyResourceError):
            await writer.send_all(b"x")
        await writer.aclose()
    os.close(read)
    if isinstance(writer, ThreadWriter):
        async with writer._turn:
            pass


@pytest.mark.parametrize("writer_type", [FdWriter, ThreadWriter])
async def test_nobody_reads(writer_type: type[FdWriter | ThreadWriter]) -> None:
    read, write = os.pipe()
    writer = writer_type(write)
    os.close(read)
    with pytest.raises(trio.BrokenResourceError, match=os.strerror(errno.EPIPE)):
        await writer.send_all(b"x")
    await writer.aclose()


async def test_a_large_message_comes_in_few_pieces() -> None:
    read, write = os.pipe()
    enlarge_pipe(write)
    reader, writer = FdReader(read), FdWriter(write)
    data = os.urandom(500_000)
    pieces: list[bytes] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, data)
        while sum(map(len, pieces)) < len(data):
            pieces.append(await reader.receive_some(200_000))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 200_000
    await writer.aclose()
    await reader.aclose()


async def test_detaching_goes_on_with_the_same_descriptor() -> None:
    read, write = os.pipe()
    reader = FdReader(read)
    heirs = []

    async def wait_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await reader.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_vain)
        await wait_all_tasks_blocked()
        heirs.append(reader.detach())
    with pytest.raises(trio.ClosedResourceError):
        reader.detach()
    await reader.aclose()
    os.write(write, b"abc")
    assert await heirs[0].receive_some() == b"abc"
    await heirs[0].aclose()
    os.close(write)


async def test_the_blocking_mode_is_put_back() -> None:
    """It belongs to the open file, which we share with whoever gave it to us."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader, writer = FdReader(os.dup(ours.fileno())), FdWriter(os.dup(theirs.fileno()))
        assert not os.get_blocking(ours.fileno())
        assert not os.get_blocking(theirs.fileno())
        await FdReader.detach(reader).aclose()
        await writer.aclose()
        assert os.get_blocking(ours.fileno())
        assert os.get_blocking(theirs.fileno())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/fd opens anew on Linux only")
async def test_a_private_copy_of_a_pipe_has_a_mode_of_its_own() -> None:
    read, write = os.pipe()
    reader, writer = FdReader(private_copy(read)), FdWriter(private_copy(write))
    assert os.get_blocking(read)
    assert os.get_blocking(write)
    await writer.send_all(b"abc")
    os.close(write)
    assert await reader.receive_some() == b"abc"
    await writer.aclose()
    assert await reader.receive_some() == b""
    await reader.aclose()
    os.close(read)


async def test_private_copy_without_anybody_at_the_other_end() -> None:
    read, write = os.pipe()
    os.close(read)
    copy = private_copy(write)
    with pytest.raises(BrokenPipeError):
        os.write(copy, b"x")
    os.close(copy)
    os.close(write)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        private_copy(write)


async def test_files_get_threads(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writer = open_writer(os.open(path, os.O_WRONLY | os.O_CREAT))
    assert isinstance(writer, ThreadWriter)
    await writer.send_all(b"x" * 100_000)
    await writer.wait_send_all_might_not_block()
    await writer.aclose()
    reader = open_reader(os.open(path, os.O_RDONLY))
    assert isinstance(reader, ThreadReader)
    assert await reader.receive_some(200_000) == b"x" * 100_000
    assert await reader.receive_some() == b""
    await reader.aclose()
    null = open_reader(os.open(os.devnull, os.O_RDONLY))
    assert await null.receive_some() == b""
    await null.aclose()


async def test_enlarging_what_is_no_pipe_does_nothing(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        enlarge_pipe(file.fileno())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
async def test_enlarging_a_pipe() -> None:
    import fcntl

    read, write = os.pipe()
    before = fcntl.fcntl(read, fcntl.F_GETPIPE_SZ)
    enlarge_pipe(write)
    assert fcntl.fcntl(read, fcntl.F_GETPIPE_SZ) >= before
    os.close(read)
    os.close(write)


async def test_writing_without_waiting() -> None:
    read, write = os.pipe()
    reader, writer = FdReader(read), FdWriter(write)
    assert writer.write_nowait(b"abc") == 3
    assert await reader.receive_some() == b"abc"
    written = writer.write_nowait(bytes(10_000_000))
    assert 0 < written < 10_000_000
    assert writer.write_nowait(b"x") == 0

    async def write_in_vain() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await writer.send_all(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_in_vain)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            writer.write_nowait(b"x")
        await writer.aclose()
    with pytest.raises(trio.ClosedResourceError):
        writer.write_nowait(b"x")
    await reader.aclose()


async def test_a_transport_flushes_what_it_can() -> None:
    """`LineTransport.try_flush`: the rest is left for `flush`, in order and whole."""
    read, write = os.pipe()
    back_read, back_write = os.pipe()
    near = LineTransport(FdWriter(write), FdReader(back_read))
    far = LineTransport(FdWriter(back_write), FdReader(read))
    small, large = Notification("small"), Notification("large", {"text": "x" * 1_000_000})
    near.send(small)
    assert near.try_flush()
    assert near.backlog == 0
    near.send(large)
    near.send(small)
    assert not near.try_flush()
    assert 0 < near.backlog < 1_000_000
    got: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.flush)
        await wait_all_tasks_blocked()
        near.send(small)
        assert not near.try_flush()  # a flush is under way
        while len(got) < 3:
            got += await far.receive()
    await near.flush()  # a flush writes what was queued when it began
    got += await far.receive()
    assert got == [small, large, small, small]
    await far.aclose()
    near.send(small)
    assert not near.try_flush()
    with pytest.raises(ConnectionClosed):
        await near.flush()
    await near.aclose()
