"""Launching a server as a process, and getting rid of it again, whatever happens to it or to us.

`open_process` is the way in. The process gets a session and process group of its own, an environment of names that
are on a list, and a bounded end: its stdin is closed, then the group is asked (SIGTERM), then made (SIGKILL) to go.
Nothing here knows of messages; lines are `LineTransport`'s.

Two dangers shape the code. A *zombie* is a process that nobody has waited for; a *reused number* is a group id that
we still hold while the group is gone and the number belongs to strangers. The kernel gives no number away while it is
the id of an unreaped process or of a group with a member. So the leader is watched without being reaped (a pidfd, or
waitid with WNOWAIT) until the first signal has gone to the group; after that, every signal follows at once on a look
that found a member. And if we are killed, nobody is left to do any of this: see `guardian`.

A process that has left the group (``setsid``, a daemon) is out of reach on purpose.

Spec: basic/lifecycle "Shutdown", stdio.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import IO, Any, Literal, TypeAlias

import trio
from attrs import field, frozen
from attrs.validators import ge, gt

from ..abc import Inbound
from ..errors import ConnectionClosed
from ..limits import Limits
from .descriptors import FdReader, enlarge_pipe, open_reader, open_writer
from .guardian import Guardian
from .lines import LineTransport

__all__ = ["DEFAULT_ENV", "ProcessTransport", "Shutdown", "Stderr", "open_process"]

logger = logging.getLogger(__name__)

Stderr: TypeAlias = "Literal['forward', 'capture'] | int | IO[Any]"

if sys.platform == "win32":
    DEFAULT_ENV: Collection[str] = (
        *("APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE"),
        *("PROGRAMDATA", "PROGRAMFILES", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME", "USERPROFILE"),
    )
else:
    DEFAULT_ENV = ("HOME", "LANG", "LANGUAGE", "LC_*", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""What a process inherits of our environment by default: no secrets. A name may end in ``*``."""

_TAIL_BYTES = 64 * 1024
# How long the last line of stderr and the exit status may come after the end of stdout.
_LAST_WORDS_SECONDS = 0.5
_POLL_SECONDS = 0.01


@frozen(kw_only=True)
class Shutdown:
    """How long a process may take to go, in seconds; all three together bound `ProcessTransport.aclose`."""

    close_seconds: float = field(default=2.0, validator=ge(0))
    """After its stdin was closed, before it gets SIGTERM."""
    terminate_seconds: float = field(default=2.0, validator=ge(0))
    """After SIGTERM, before it gets SIGKILL."""
    kill_seconds: float = field(default=2.0, validator=gt(0))
    """After SIGKILL, before we give up on it: the kernel may keep a process that waits for a disk."""


@asynccontextmanager
async def open_process(
    command: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    inherit_env: Collection[str] | None = DEFAULT_ENV,
    cwd: str | os.PathLike[str] | None = None,
    stderr: Stderr = "forward",
    limits: Limits | None = None,
    shutdown: Shutdown | None = None,
) -> AsyncIterator[ProcessTransport]:
    """Start `command` and talk to it over its stdin and stdout; leaving the block ends it and all of its group.

    Its environment is what `inherit_env` lists of ours (None: everything) and `env` on top. Its stderr is ours
    (``forward``), kept for `ProcessTransport.stderr_tail` (``capture``), or the given file.

    Raises OSError, naming the command, if it cannot be started. What is raised in the block comes out as it was.
    Leaving takes as long as `shutdown` says at most, cancelled or not.
    """
    if isinstance(command, (str, bytes)) or not command:
        raise TypeError("the command must be a sequence of strings: the program and its arguments")
    shutdown = Shutdown() if shutdown is None else shutdown
    # In a thread because exec may have to wait for a disk; it ends in a moment or with an error, cancelled or not.
    child = await trio.to_thread.run_sync(
        _spawn, [os.fspath(word) for word in command], _environment(inherit_env, env), cwd, stderr, shutdown
    )
    transport = ProcessTransport(child, limits=limits, shutdown=shutdown)
    try:
        yield transport
    finally:
        await transport.aclose()


class ProcessTransport(LineTransport):
    """A transport to a process that we have started. `open_process` makes these."""

    def __init__(self, child: Child, *, limits: Limits | None, shutdown: Shutdown) -> None:
        self._child = child
        self._shutdown = shutdown
        self._tail = None if child.stderr is None else _Tail(child.stderr)
        self._closing: trio.Event | None = None
        super().__init__(open_writer(child.stdin), open_reader(child.stdout), limits=limits)

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group too. After `aclose` the number may belong to others."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._child.returncode

    @property
    def stderr_tail(self) -> str:
        """The last 64 KiB of its captured stderr; empty if it is not captured."""
        return "" if self._tail is None else self._tail.text

    async def receive(self) -> Sequence[Inbound]:
        try:
            return await super().receive()
        except ConnectionClosed as closed:
            raise ConnectionClosed(await self.last_words(closed)) from None

    async def flush(self) -> None:
        try:
            await super().flush()
        except ConnectionClosed as closed:
            raise ConnectionClosed(await self.last_words(closed)) from None

    @property
    def streams(self) -> tuple[trio.abc.SendStream, trio.abc.ReceiveStream]:
        """Its stdin and stdout, for who speaks by them in place of this transport; `aclose` ends them all the same."""
        return self._send_stream, self._receive_stream

    async def last_words(self, closed: ConnectionClosed) -> str:
        """Why the process does not talk to us any more, as far as can be known in a moment."""
        if self._closing is not None:
            return "the transport to the process has been closed"
        with trio.move_on_after(_LAST_WORDS_SECONDS):
            await self._child.wait()
            if self._tail is not None:
                await self._tail.finished.wait()
        status = self.returncode
        if status is None:
            return f"{closed}, but the process is still running"
        last_words = "" if self._tail is None else self._tail.last_line
        return f"the process {describe(status)}" + (f": {last_words}" if last_words else "")

    async def aclose(self) -> None:
        """End the process and everything in its group, and wait until that has happened.

        Takes what `Shutdown` says at most, and is not cancelled. A process that is still writing can do so until the
        end: it is read, and thrown away. The second call waits for the first.
        """
        if self._closing is not None:
            # No checkpoint without need: it could put a Cancelled in the place of what the block has raised.
            if not self._closing.is_set():
                await self._closing.wait()
            return
        self._closing = trio.Event()
        try:
            with trio.CancelScope(shield=True):
                await self._stop()
        finally:
            self._closing.set()

    async def _stop(self) -> None:
        # Whoever is still receiving gets ConnectionClosed.
        if isinstance(self._receive_stream, FdReader):
            rest: trio.abc.ReceiveStream = self._receive_stream.detach()
        else:
            rest = self._receive_stream
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_discard, rest)
            await self._send_stream.aclose()
            await self._child.stop(self._shutdown)
            # All that the group has written is in the pipe by now, but somebody outside it may hold the other end.
            if self._tail is not None:
                with trio.move_on_after(_LAST_WORDS_SECONDS):
                    await self._tail.finished.wait()
                await self._tail.aclose()
            nursery.cancel_scope.cancel()
        await rest.aclose()


async def _discard(stream: trio.abc.ReceiveStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        while await stream.receive_some():
            pass


def describe(status: int) -> str:
    """A return code in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


class _Tail:
    """Reads a process's stderr to its end, in a system task, and keeps the last of it.

    A system task because a nursery around the user's block would wrap what is raised there.
    """

    def __init__(self, fd: int) -> None:
        self._stream = open_reader(fd)
        self._kept = bytearray()
        self._scope = trio.CancelScope()
        self.finished = trio.Event()
        trio.lowlevel.spawn_system_task(self._read, name="mcp_tasks stderr")

    async def _read(self) -> None:
        try:
            with self._scope, contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while data := await self._stream.receive_some():
                    self._kept += data
                    if len(self._kept) > 2 * _TAIL_BYTES:
                        del self._kept[:-_TAIL_BYTES]
        finally:
            with trio.CancelScope(shield=True):
                await self._stream.aclose()
            self.finished.set()

    async def aclose(self) -> None:
        self._scope.cancel()
        await self.finished.wait()

    @property
    def text(self) -> str:
        return self._kept[-_TAIL_BYTES:].decode("utf-8", "replace")

    @property
    def last_line(self) -> str:
        lines = self._kept[-4096:].decode("utf-8", "replace").rstrip().splitlines()
        return lines[-1].strip() if lines else ""


# --- starting -------------------------------------------------------------------------------------------------------


def _environment(inherit: Collection[str] | None, extra: Mapping[str, str] | None) -> dict[str, str]:
    if inherit is None:
        chosen = dict(os.environ)
    else:
        exact = {name for name in inherit if not name.endswith("*")}
        prefixes = tuple(name[:-1] for name in inherit if name.endswith("*"))
        chosen = {
            name: value
            for name, value in os.environ.items()
            # A value like this is a function that an old bash would execute on sight.
            if (name in exact or name.startswith(prefixes)) and not value.startswith("()")
        }
    return {**chosen, **(extra or {})}


def _spawn(
    command: list[str],
    env: dict[str, str],
    cwd: str | os.PathLike[str] | None,
    stderr: Stderr,
    shutdown: Shutdown,
) -> Child:
    with ExitStack() as ours, ExitStack() as theirs:

        def pipe() -> tuple[int, int]:
            read, write = os.pipe()
            enlarge_pipe(write)
            return read, write

        their_in, our_in = pipe()
        theirs.callback(os.close, their_in)
        ours.callback(os.close, our_in)
        our_out, their_out = pipe()
        theirs.callback(os.close, their_out)
        ours.callback(os.close, our_out)
        our_err = None
        their_err: int | IO[Any] | None = None
        if stderr == "capture":
            our_err, their_err = os.pipe()
            theirs.callback(os.close, their_err)
            ours.callback(os.close, our_err)
        elif stderr != "forward":
            their_err = stderr
        guardian = Guardian(shutdown.close_seconds, shutdown.terminate_seconds)
        ours.callback(guardian.dismiss)
        try:
            popen = subprocess.Popen(
                command, stdin=their_in, stdout=their_out, stderr=their_err, env=env, cwd=cwd, **_detached()
            )
        except OSError as error:
            # Python names the file that is missing, which may be the directory.
            what = f"cannot start the process {command[0]!r}: {error.strerror}"
            raise OSError(error.errno, what, error.filename) from None
        guardian.watch(popen.pid)
        ours.pop_all()
        return Child(popen, guardian, our_in, our_out, our_err)


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


# --- ending ---------------------------------------------------------------------------------------------------------


class Child:
    """A process that leads a group, our ends of its pipes, and its guardian."""

    def __init__(
        self, popen: subprocess.Popen[bytes], guardian: Guardian, stdin: int, stdout: int, stderr: int | None
    ) -> None:
        self._popen = popen
        self._guardian = guardian
        self.pid = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        """The exit status, without reaping."""
        if self._popen.returncode is not None or not hasattr(os, "waitid"):
            return self._popen.poll()
        if sys.platform != "win32":
            try:
                info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:  # somebody else in this program has reaped it
                return self._popen.poll()
            if info is not None:
                return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
        return None

    async def wait(self) -> None:
        """Wait until the leader has exited, and leave it unreaped where the platform lets us. A checkpoint."""
        if self._popen.returncode is None:
            if sys.platform == "linux":
                try:
                    pidfd = os.pidfd_open(self.pid)
                except ProcessLookupError:
                    pass
                except OSError:  # an old kernel, or a sandbox
                    await self._wait_in_thread()
                else:
                    try:
                        await trio.lowlevel.wait_readable(pidfd)
                    finally:
                        os.close(pidfd)
                    return
            else:
                await self._wait_in_thread()
                return
        await trio.lowlevel.checkpoint()

    async def _wait_in_thread(self) -> None:
        limiter = trio.CapacityLimiter(1)  # the shared one could be taken by forty of these
        await trio.to_thread.run_sync(_wait_for, self._popen, abandon_on_cancel=True, limiter=limiter)

    async def stop(self, shutdown: Shutdown) -> None:
        """End the group: wait for the leader, then ask, then make it; reap the leader; dismiss the guardian.

        To be called with stdin closed, and shielded. Never fails; logs what could not be killed.
        """
        with trio.move_on_after(shutdown.close_seconds):
            await self.wait()
        # Also when the leader has gone by itself, for others may be left. It is not reaped: the number is safe.
        self._signal_group(kill=False)
        gone = await self._gone_within(shutdown.terminate_seconds)
        if not gone:
            self._signal_group(kill=True)
            gone = await self._gone_within(shutdown.kill_seconds)
        if not gone:
            logger.warning("process group %d cannot be killed", self.pid)
            self._popen.poll()
        self._guardian.dismiss()

    async def _gone_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self.wait()
            self._popen.wait()
            # They are not our children, so nothing tells us when they end.
            while self._has_members():  # noqa: ASYNC110
                await trio.sleep(_POLL_SECONDS)
            return True
        return False

    def _signal_group(self, *, kill: bool) -> None:
        if sys.platform == "win32":
            self._popen.kill() if kill else self._popen.terminate()
        elif self._popen.returncode is None or self._has_members():
            # PermissionError: macOS says so of zombies, any system of a group that has changed its user.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL if kill else signal.SIGTERM)

    def _has_members(self) -> bool:
        """Whether the group, its leader reaped, has a member that lives and may be signalled."""
        if sys.platform == "win32":
            return False
        try:
            # Where we are process 1, or a subreaper, orphans of the group are ours to reap.
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return sys.platform != "linux" or _has_living_member(self.pid)


def _wait_for(popen: subprocess.Popen[bytes]) -> None:
    if sys.platform != "win32" and hasattr(os, "waitid"):
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    else:
        # macOS before Python 3.13 cannot watch without reaping; the window for a reused number is then that between
        # this call's return and the next signal.
        popen.wait()


def _has_living_member(group: int) -> bool:
    """Whether a group has a member that is no zombie: in a container, process 1 may never reap its orphans."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return True
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The second field is a name in parentheses, which may hold anything.
                    state, _parent, its_group = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(its_group) == group and state not in b"ZX":
                return True
    return False
