"""Byte streams over file descriptors: pipes, sockets, terminals, files.

`FdReader` and `FdWriter` do what `trio.lowlevel.FdStream` does, each for one direction, in 60 % of its time for a bare
round trip between two processes: the reader waits first and reads then, instead of one round through the scheduler and
one read in vain; the writer writes first and waits only if it must. `ThreadReader` and `ThreadWriter` are for what no
event loop can wait for: regular files and ``/dev/null`` (epoll refuses them), and every pipe on Windows.

Nothing here knows of messages or of processes. Each stream owns its descriptor and closes it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable
from operator import index
from typing import NoReturn, TypeVar

import trio

__all__ = [
    "FdReader",
    "FdWriter",
    "ThreadReader",
    "ThreadWriter",
    "enlarge_pipe",
    "open_reader",
    "open_writer",
    "private_copy",
]

T = TypeVar("T")

PIPE_BYTES = 1024 * 1024
"""What a pipe is asked to hold: a large message then costs a few switches between the processes, not dozens."""

# One read. Larger buffers come from mmap and cost 14 us each, which is half of a small message's round trip.
_READ_BYTES = 64 * 1024


class FdReader(trio.abc.ReceiveStream):
    """The reading half over `fd`, which must be something the event loop can wait for.

    The descriptor is made non-blocking, and put back when the stream is closed: the mode belongs to the open file,
    which other processes may share.
    """

    def __init__(self, fd: int) -> None:
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        self._fd = fd

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and return them; empty at the end of the stream.

        Raises `trio.ClosedResourceError` when the stream is or gets closed, `trio.BrokenResourceError` when it
        breaks, `trio.BusyResourceError` when another task is reading. A checkpoint; cancelled, it has taken nothing.
        """
        if max_bytes is None:
            max_bytes = _READ_BYTES
        elif index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        while True:
            if self._fd < 0:
                raise trio.ClosedResourceError("the stream is closed")
            await trio.lowlevel.wait_readable(self._fd)
            # The descriptor may have been closed between the wake-up and now, so it is not kept in a variable.
            try:
                data = os.read(self._fd, min(max_bytes, _READ_BYTES))
            except BlockingIOError:
                continue
            except OSError as error:
                _raise(error)
            return data if len(data) < _READ_BYTES else self._read_on(data, max_bytes)

    def _read_on(self, data: bytes, max_bytes: int) -> bytes:
        """Take what else is there of a large message, without a round through the scheduler for each piece."""
        pieces, size = [data], len(data)
        while size < max_bytes:
            try:
                piece = os.read(self._fd, min(max_bytes - size, _READ_BYTES))
            except OSError:  # nothing more, or broken: the next call will see it
                break
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def detach(self) -> FdReader:
        """Close this stream, but not its descriptor: that goes on in a new stream. Wakes a task that is reading."""
        if self._fd < 0:
            raise trio.ClosedResourceError("the stream is closed")
        fd, self._fd = self._fd, -1
        trio.lowlevel.notify_closing(fd)
        heir = FdReader(fd)
        heir._was_blocking = self._was_blocking
        return heir

    async def aclose(self) -> None:
        """Close; a task that is reading gets `trio.ClosedResourceError`. A checkpoint, closed even when cancelled."""
        self._fd = _close(self._fd, self._was_blocking)
        await trio.lowlevel.checkpoint()


class FdWriter(trio.abc.SendStream):
    """The writing half over `fd`, which must be something the event loop can wait for. See `FdReader`."""

    def __init__(self, fd: int) -> None:
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        self._fd = fd
        self._busy = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, waiting where the other end does not read.

        Raises `trio.ClosedResourceError` when the stream is or gets closed, `trio.BrokenResourceError` when nobody
        reads any more, `trio.BusyResourceError` when another task is writing. It can always be cancelled, but lets
        other tasks run only if it has to wait. Cancelled, a part may have been written.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._busy:
            raise trio.BusyResourceError("another task is writing to this stream")
        sent = self._write(data)
        if sent == len(data):
            return
        self._busy = True
        try:
            with memoryview(data) as view:
                while sent < len(view):
                    await trio.lowlevel.wait_writable(self._fd)
                    with view[sent:] as rest:
                        sent += self._write(rest)
        finally:
            self._busy = False

    def write_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Write what there is room for, and return how many bytes that was. Raises as `send_all` does."""
        if self._busy:
            raise trio.BusyResourceError("another task is writing to this stream")
        return self._write(data)

    def _write(self, data: bytes | bytearray | memoryview) -> int:
        if self._fd < 0:
            raise trio.ClosedResourceError("the stream is closed")
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            _raise(error)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room. Raises as `send_all` does. A checkpoint."""
        if self._busy:
            raise trio.BusyResourceError("another task is writing to this stream")
        if self._fd < 0:
            raise trio.ClosedResourceError("the stream is closed")
        self._busy = True
        try:
            await trio.lowlevel.wait_writable(self._fd)
        finally:
            self._busy = False

    async def aclose(self) -> None:
        """Close; a task that is writing gets `trio.ClosedResourceError`. A checkpoint, closed even when cancelled."""
        self._fd = _close(self._fd, self._was_blocking)
        await trio.lowlevel.checkpoint()


def _close(fd: int, was_blocking: bool) -> int:
    if fd >= 0:
        trio.lowlevel.notify_closing(fd)
        try:
            os.set_blocking(fd, was_blocking)
        finally:
            os.close(fd)
    return -1


def _raise(error: OSError) -> NoReturn:
    if error.errno == errno.EBADF:
        raise trio.ClosedResourceError("the stream is closed") from None
    raise trio.BrokenResourceError(error.strerror or str(error)) from error


class _SharedFd:
    """A descriptor that worker threads use. It is closed when the last of them has let go, never under their hands."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self._users = 0
        self.closed = False

    def use(self, operation: Callable[[int], T]) -> T:
        with self._lock:
            if self.closed:
                raise OSError(errno.EBADF, "the stream is closed")
            self._users += 1
        try:
            return operation(self._fd)
        finally:
            with self._lock:
                self._users -= 1
                if self.closed and not self._users:
                    os.close(self._fd)

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self.closed = True
                if not self._users:
                    os.close(self._fd)


class _ThreadStream:
    """What the two thread streams share: one worker at a time, and closing that wakes whoever waits for it."""

    def __init__(self, fd: int) -> None:
        self._shared = _SharedFd(fd)
        # An abandoned worker keeps the only token, so the next one starts when it has ended: bytes stay in order.
        self._turn = trio.CapacityLimiter(1)
        self._scope: trio.CancelScope | None = None

    async def _run(self, operation: Callable[[int], T]) -> T | None:
        if self._scope is not None:
            raise trio.BusyResourceError("another task is using this stream")
        if self._shared.closed:
            raise trio.ClosedResourceError("the stream is closed")
        try:
            with trio.CancelScope() as self._scope:
                return await trio.to_thread.run_sync(
                    self._shared.use, operation, abandon_on_cancel=True, limiter=self._turn
                )
        except OSError as error:
            _raise(error)
        finally:
            self._scope = None
        raise trio.ClosedResourceError("the stream was closed")

    async def aclose(self) -> None:
        """Close; a task that uses the stream gets `trio.ClosedResourceError`. A checkpoint, closed when cancelled."""
        self._shared.close()
        if self._scope is not None:
            self._scope.cancel()
        await trio.lowlevel.checkpoint()


class ThreadReader(_ThreadStream, trio.abc.ReceiveStream):
    """A reading half that blocks a worker thread, for what the event loop cannot wait for."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._pieces: deque[bytes] = deque()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and return them, as `FdReader.receive_some` does.

        Cancelled, it leaves a thread behind that waits for the next bytes, which the next call returns.
        """
        size = _READ_BYTES if max_bytes is None else max_bytes

        def read(fd: int) -> None:
            if not self._pieces:
                self._pieces.append(os.read(fd, size))

        await self._run(read)
        return self._pieces.popleft()


class ThreadWriter(_ThreadStream, trio.abc.SendStream):
    """A writing half that blocks a worker thread, for what the event loop cannot wait for."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`; raises as `FdWriter.send_all` does. A checkpoint.

        Cancelled, it may leave a thread behind that goes on writing; only closing may follow.
        """

        def write(fd: int) -> None:
            with memoryview(data) as view:
                sent = 0
                while sent < len(view):
                    with view[sent:] as rest:
                        sent += os.write(fd, rest)

        await self._run(write)

    async def wait_send_all_might_not_block(self) -> None:
        """A checkpoint; nobody can say."""
        await trio.lowlevel.checkpoint()


def open_reader(fd: int) -> FdReader | ThreadReader:
    """The reader that suits what `fd` is; it owns the descriptor."""
    return FdReader(fd) if _can_be_waited_for(fd) else ThreadReader(fd)


def open_writer(fd: int) -> FdWriter | ThreadWriter:
    """The writer that suits what `fd` is; it owns the descriptor."""
    return FdWriter(fd) if _can_be_waited_for(fd) else ThreadWriter(fd)


def _can_be_waited_for(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    mode = os.fstat(fd).st_mode
    # kqueue has trouble with terminals on some releases of macOS.
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (sys.platform == "linux" and os.isatty(fd))


def private_copy(fd: int) -> int:
    """A new descriptor for what `fd` refers to, which no other program inherits. Raises OSError if `fd` is not open.

    On Linux a pipe or terminal is opened anew, so that O_NONBLOCK, which belongs to the open file and not to the
    descriptor, is ours alone: a terminal's stderr keeps blocking, and there is nothing to put back if we are killed.
    """
    if sys.platform == "linux":
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and os.isatty(fd)):
            import fcntl

            access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
            try:
                return os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:  # another user's terminal, no /proc, nobody at the other end
                pass
    return os.dup(fd)


def enlarge_pipe(fd: int) -> None:
    """Ask the kernel to let the pipe hold `PIPE_BYTES`. Linux only, and only as far as it is allowed."""
    if sys.platform == "linux":
        import fcntl

        try:
            if fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # no pipe, or the user's allowance is used up
            pass
