"""Serving over our own standard input and output.

Spec: basic/transports "stdio": the server MUST NOT write anything to its stdout that is not a valid MCP message. So
nothing else can: for as long as the transport lives, it alone holds the real stdout. The other end of it, launching a
server as a process, is `mcp_tasks.transports.processes`, whose names are here as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import trio

from ..limits import Limits
from .descriptors import enlarge_pipe, open_reader, open_writer, private_copy
from .lines import LineTransport
from .processes import DEFAULT_ENV, ProcessTransport, Shutdown, open_process

__all__ = ["DEFAULT_ENV", "ProcessTransport", "Shutdown", "open_process", "own_stdio"]

_taken = False


@asynccontextmanager
async def own_stdio(*, limits: Limits | None = None) -> AsyncIterator[LineTransport]:
    """A transport over this process's stdin and stdout, which nothing else can reach meanwhile.

    The transport works on descriptors of its own. Until the block is left, descriptor 1 and `sys.stdout` are stderr,
    so that a stray ``print``, a C library or a child process writes there; descriptor 0 is ``/dev/null``. All of it
    is put back then. Pipes, sockets, terminals, regular files and ``/dev/null`` will do.

    Raises OSError if stdin or stdout is not open, RuntimeError if they are being served already: they belong to the
    process. Leaving closes the transport and waits for nothing, so flush before; the other side sees the end of the
    stream when this process exits, for only then the real stdout is closed.
    """
    with _claimed(), ExitStack() as undo:
        for fd, name in ((0, "input"), (1, "output")):
            if not _is_open(fd):
                raise OSError(errno.EBADF, f"standard {name} is not open")
        if not _is_open(2):
            # Else the next descriptor to be opened would be number 2, and take what others write to stderr.
            undo.callback(os.close, os.open(os.devnull, os.O_WRONLY))
        real_in, real_out = os.dup(0), os.dup(1)
        undo.callback(os.close, real_in)
        undo.callback(os.close, real_out)
        reader = open_reader(private_copy(real_in))
        writer = open_writer(private_copy(real_out))
        enlarge_pipe(real_in)
        enlarge_pipe(real_out)
        transport = LineTransport(writer, reader, limits=limits)
        try:
            with _diverted(real_in, real_out):
                yield transport
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()


@contextmanager
def _claimed() -> Iterator[None]:
    global _taken
    if _taken:
        raise RuntimeError("standard input and output are being served already")
    _taken = True
    try:
        yield
    finally:
        _taken = False


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def _diverted(real_in: int, real_out: int) -> Iterator[None]:
    null = os.open(os.devnull, os.O_RDWR)
    stdout = sys.stdout
    try:
        os.dup2(2, 1)
        os.dup2(null, 0)
        sys.stdout = sys.stderr
        yield
    finally:
        # What Python still holds in its buffer, from before or from whoever kept this object, is no message either.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stdout.flush()
        if sys.stdout is sys.stderr:
            sys.stdout = stdout
        os.dup2(real_out, 1)
        os.dup2(real_in, 0)
        os.close(null)
