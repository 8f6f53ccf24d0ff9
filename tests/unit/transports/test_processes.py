"""Processes that behave, that do not, and that outlive whom they should not; all of them real.

The programs tell when they are ready, and a death is awaited on a pidfd, so no test depends on speed. Where a
shutdown is short, the process would never have gone by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import mcp_tasks
from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.limits import Limits
from mcp_tasks.transports.processes import ProcessTransport, Shutdown, describe, open_process
from mcp_tasks.wire.jsonrpc import Malformed, Notification, Request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches deaths by pidfd and /proc")

PRELUDE = """
import json, os, signal, subprocess, sys
def say(method, **params):
    print(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}), flush=True)
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def wait():
    while True:
        signal.pause()
def child(source, **more):
    # What it says goes to our stdout.
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", os.environ["PRELUDE"] + source], **more)
"""

IMPATIENT = Shutdown(close_seconds=0.05, terminate_seconds=0.05, kill_seconds=20)
PATIENT = Shutdown(close_seconds=30, terminate_seconds=30, kill_seconds=30)

ECHO = "say('ready')\nfor line in sys.stdin: print(line, end='', flush=True)"


@asynccontextmanager
async def started(source: str, *, env: dict[str, str] | None = None, **more: Any) -> AsyncIterator[ProcessTransport]:
    """A process that runs `source`."""
    command = [sys.executable, "-I", "-S", "-c", PRELUDE + source]
    with trio.fail_after(60):
        async with open_process(command, env={"PRELUDE": PRELUDE, **(env or {})}, **more) as transport:
            yield transport


class Heard:
    """What a process says, one message at a time."""

    def __init__(self, transport: ProcessTransport) -> None:
        self._transport = transport
        self._waiting: list[Any] = []

    async def next(self) -> Any:
        while not self._waiting:
            self._waiting += await self._transport.receive()
        return self._waiting.pop(0)

    async def params(self, method: str = "ready") -> Any:
        message = await self.next()
        assert isinstance(message, Notification), message
        assert message.method == method
        return message.params


@contextmanager
def watching(*pids: int) -> Iterator[list[int]]:
    """Pidfds: a pidfd is readable when its process is dead, and never means another one."""
    pidfds = [os.pidfd_open(pid) for pid in pids]
    try:
        yield pidfds
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


async def all_dead(pidfds: list[int]) -> None:
    with trio.fail_after(30):
        for pidfd in pidfds:
            await trio.lowlevel.wait_readable(pidfd)


def children() -> set[int]:
    """Our children, zombies included."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                found.add(int(name))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No child, dead or alive, and no descriptor."""
    before = children(), set(os.listdir("/proc/self/fd"))
    yield
    assert (children(), set(os.listdir("/proc/self/fd"))) == before


# --- orderly --------------------------------------------------------------------------------------------------------


async def test_closing_stdin_suffices() -> None:
    async with started(ECHO, shutdown=PATIENT) as transport:
        heard = Heard(transport)
        await heard.params()
        transport.send(Request(1, "m", {"text": "ä"}))
        transport.send(Request(2, "m"))
        await transport.flush()
        assert await heard.next() == Request(1, "m", {"text": "ä"})
        assert await heard.next() == Request(2, "m")
        assert transport.returncode is None
    assert transport.returncode == 0
    await transport.aclose()
    with pytest.raises(ConnectionClosed, match="closed"):
        await transport.receive()


async def test_what_it_still_writes_does_not_hold_it_up() -> None:
    """More than a pipe holds, written after the end of its stdin, with nobody receiving."""
    source = "say('ready'); sys.stdin.read(); sys.stdout.write('x' * 5_000_000); sys.stdout.flush(); sys.exit(7)"
    async with started(source, shutdown=PATIENT) as transport:
        await Heard(transport).params()
    assert transport.returncode == 7


async def test_closing_twice_at_once_and_under_a_receiver() -> None:
    async with started(ECHO, shutdown=PATIENT) as transport:
        await Heard(transport).params()

        async def receive() -> None:
            with pytest.raises(ConnectionClosed, match="has been closed"):
                await transport.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            nursery.start_soon(transport.aclose)
            nursery.start_soon(transport.aclose)
        assert transport.returncode == 0


async def test_the_users_error_comes_out_as_it_was() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with started(ECHO, stderr="capture") as transport:
            raise error
    assert caught.value is error
    assert transport.returncode is not None


async def test_the_users_error_in_a_cancelled_scope() -> None:
    async def fail(scope: trio.CancelScope) -> None:
        async with started(ECHO) as transport:
            await transport.aclose()
            scope.cancel()
            raise ValueError("mine")

    with trio.CancelScope() as scope, pytest.raises(ValueError, match="mine"):
        await fail(scope)
    # Had a Cancelled taken its place, the scope would have swallowed that before pytest could complain.
    assert not scope.cancelled_caught


async def test_cancelled_in_the_middle_of_a_call() -> None:
    """The shutdown is still an orderly one: a process that would need a signal would not return 0."""
    with trio.CancelScope() as scope:
        async with started(ECHO, shutdown=PATIENT) as transport:
            await Heard(transport).params()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.receive)
                await wait_all_tasks_blocked()
                scope.cancel()
    assert scope.cancelled_caught
    assert transport.returncode == 0


# --- disorderly -----------------------------------------------------------------------------------------------------


async def test_one_that_ignores_the_end_of_stdin() -> None:
    async with started("say('ready'); wait()", shutdown=Shutdown(close_seconds=0.05)) as transport:
        await Heard(transport).params()
    assert transport.returncode == -signal.SIGTERM


async def test_one_that_cleans_up_when_asked() -> None:
    source = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); say('ready'); wait()"
    shutdown = Shutdown(close_seconds=0.05, terminate_seconds=30)
    async with started(source, shutdown=shutdown) as transport:
        await Heard(transport).params()
    assert transport.returncode == 5


async def test_one_that_ignores_signals() -> None:
    async with started("deaf(); say('ready'); wait()", shutdown=IMPATIENT) as transport:
        await Heard(transport).params()
    assert transport.returncode == -signal.SIGKILL


async def test_one_that_is_stopped() -> None:
    async with started("say('ready'); wait()", shutdown=IMPATIENT) as transport:
        await Heard(transport).params()
        os.kill(transport.pid, signal.SIGSTOP)
    assert transport.returncode == -signal.SIGKILL


async def test_no_time_at_all() -> None:
    none = Shutdown(close_seconds=0, terminate_seconds=0, kill_seconds=20)
    async with started("deaf(); say('ready'); wait()", shutdown=none) as transport:
        await Heard(transport).params()
    assert transport.returncode == -signal.SIGKILL


GRANDCHILD = "deaf(); say('grandchild', pid=os.getpid()); wait()"


@pytest.mark.parametrize("leader", ["deaf(); say('ready'); wait()", "say('ready'); sys.stdin.read()"])
async def test_the_whole_group_goes(leader: str) -> None:
    async with started(f"child({GRANDCHILD!r})\n{leader}", shutdown=IMPATIENT) as transport:
        heard = Heard(transport)
        said = [await heard.next(), await heard.next()]
        [pid] = [message.params["pid"] for message in said if message.method == "grandchild"]
        with watching(pid) as pidfds:
            await transport.aclose()
            await all_dead(pidfds)


async def test_the_group_goes_even_if_the_leader_went_first() -> None:
    async with started(f"child({GRANDCHILD!r})", shutdown=IMPATIENT) as transport:
        pid = (await Heard(transport).params("grandchild"))["pid"]
        await transport._child.wait()
        assert transport.returncode == 0
        with watching(pid) as pidfds:
            await transport.aclose()
            await all_dead(pidfds)


async def test_one_that_left_the_group_does_not_hold_us_up() -> None:
    """It has our pipes, and is none of our business; nobody waits for it."""
    source = f"child({GRANDCHILD!r}, start_new_session=True)\nsys.stdin.read()"
    async with started(source, stderr="capture", shutdown=PATIENT) as transport:
        pid = (await Heard(transport).params("grandchild"))["pid"]
    assert transport.returncode == 0
    with watching(pid) as pidfds:
        os.kill(pid, signal.SIGKILL)
        await all_dead(pidfds)


async def test_reaped_by_somebody_else() -> None:
    async with started("say('ready'); sys.exit(3)", shutdown=IMPATIENT) as transport:
        await Heard(transport).params()
        await trio.to_thread.run_sync(os.waitpid, transport.pid, 0)
        with pytest.raises(ConnectionClosed):
            await transport.receive()


# --- our own death --------------------------------------------------------------------------------------------------

DRIVER = """
import json, sys, trio
from mcp_tasks.transports.processes import Shutdown, open_process

async def main():
    command, env = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    short = Shutdown(close_seconds=0.1, terminate_seconds=0.1)
    async with open_process(command, env=env, shutdown=short) as transport:
        said = []
        while len(said) < 2:
            said += await transport.receive()
        [pid] = [message.params["pid"] for message in said if message.method == "grandchild"]
        print(json.dumps([transport.pid, pid, transport._child._guardian.pid]), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize(
    ("leader", "grandchild"),
    [
        ("deaf(); say('ready'); wait()", GRANDCHILD),
        ("say('ready'); sys.stdin.read()", GRANDCHILD),
        ("say('ready'); sys.stdin.read()", "say('grandchild', pid=os.getpid()); sys.stdin.read()"),
    ],
    ids=["deaf", "deaf grandchild", "well behaved"],
)
async def test_nothing_outlives_us_when_we_are_killed(leader: str, grandchild: str) -> None:
    command = [sys.executable, "-I", "-S", "-c", PRELUDE + f"child({grandchild!r})\n{leader}"]
    driver = [sys.executable, "-c", DRIVER, json.dumps(command), json.dumps({"PRELUDE": PRELUDE})]
    env = {**os.environ, "PYTHONPATH": str(Path(mcp_tasks.__file__).parents[1])}
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, driver, stdout=subprocess.PIPE, env=env, check=False)
        process: trio.Process = await nursery.start(run)
        with trio.fail_after(60):
            assert process.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
            # The child, the grandchild, and the guardian itself.
            with watching(*json.loads(line)) as pidfds:
                process.kill()
                await all_dead(pidfds)
    await process.stdout.aclose()


async def test_without_a_shell_there_is_no_guardian(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def no_shell(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        if command[0] == "/bin/sh":
            raise FileNotFoundError(2, "No such file or directory", "/bin/sh")
        return real(command, **more)

    monkeypatch.setattr(subprocess, "Popen", no_shell)
    async with started(ECHO, shutdown=PATIENT) as transport:
        await Heard(transport).params()
        assert transport._child._guardian.pid is None
    assert transport.returncode == 0


async def test_without_a_guardian_that_somebody_has_killed() -> None:
    async with started(ECHO, shutdown=PATIENT) as transport:
        await Heard(transport).params()
        pid = transport._child._guardian.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert transport.returncode == 0


async def test_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other systems, and old kernels: a thread waits."""

    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    async with started("deaf(); say('ready'); wait()", shutdown=IMPATIENT) as transport:
        await Heard(transport).params()
    assert transport.returncode == -signal.SIGKILL


# --- what is said when it dies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sys.exit(3)", "the process exited with status 3"),
        ("sys.stderr.write('first\\n\\nboom\\n\\n'); sys.exit(3)", "the process exited with status 3: boom"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "the process was killed by SIGKILL"),
    ],
)
async def test_why_it_is_over(source: str, message: str) -> None:
    async with started(source, stderr="capture") as transport:
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as caught:
                await transport.receive()
            assert str(caught.value) == message
        transport.send(Request(1, "x"))
        with pytest.raises(ConnectionClosed) as caught:
            await transport.flush()
        assert str(caught.value) == message


async def test_why_it_is_over_if_it_lives_on() -> None:
    async with started("os.close(1); wait()", shutdown=IMPATIENT) as transport:
        with pytest.raises(ConnectionClosed, match="but the process is still running"):
            await transport.receive()


def test_return_codes_in_words() -> None:
    assert describe(0) == "exited with status 0"
    assert describe(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert describe(-signal.SIGRTMIN - 1) == f"was killed by signal {signal.SIGRTMIN + 1}"


# --- starting -------------------------------------------------------------------------------------------------------


async def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError, match="cannot start the process 'no-such-command'"):
        async with open_process(["no-such-command"]):
            pytest.fail("it does")


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        async with open_process([sys.executable], cwd=tmp_path / "nowhere"):
            pytest.fail("it does")


async def test_a_command_that_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="cannot start the process"):
        async with open_process([tmp_path / "file"]):
            pytest.fail("it may")


@pytest.mark.parametrize("command", ["echo x", b"echo", []])
async def test_a_command_that_is_none(command: Any) -> None:
    with pytest.raises(TypeError, match="sequence of strings"):
        async with open_process(command):
            pytest.fail("it is")


async def test_its_own_session_and_directory(tmp_path: Path) -> None:
    source = "say('ready', sid=os.getsid(0), pgid=os.getpgid(0), cwd=os.getcwd())"
    async with started(source, cwd=tmp_path) as transport:
        said = await Heard(transport).params()
        assert said == {"sid": transport.pid, "pgid": transport.pid, "cwd": str(tmp_path)}


async def test_the_environment_is_an_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.setenv("LC_COLLATE", "C")
    monkeypatch.setenv("LANG", "() { echo shocking; }")
    monkeypatch.setenv("HOME", "/home/us")
    monkeypatch.setenv("TERM", "overridden")

    async def seen(**more: Any) -> dict[str, str]:
        async with started("say('ready', env=dict(os.environ))", **more) as transport:
            env: dict[str, str] = (await Heard(transport).params())["env"]
            return env

    env = await seen(env={"TERM": "dumb", "OURS": "1"})
    assert env["HOME"] == "/home/us"
    assert env["LC_COLLATE"] == "C"
    assert env["TERM"] == "dumb"
    assert env["OURS"] == "1"
    assert env["PATH"] == os.environ["PATH"]
    assert not {"SECRET", "LANG", "PYTHONPATH"} & env.keys()
    assert (await seen(inherit_env=None))["SECRET"] == "hunter2"
    assert "SECRET" in await seen(inherit_env=["SECRET"])
    # Python itself adds LC_CTYPE where no locale is set.
    assert (await seen(inherit_env=[])).keys() <= {"PRELUDE", "LC_CTYPE"}


# --- stderr ---------------------------------------------------------------------------------------------------------

NOISY = "sys.stderr.write('n\\u00f6ise\\n'); sys.stderr.flush(); say('ready'); sys.stdin.read()"


async def test_stderr_captured() -> None:
    async with started(NOISY, stderr="capture", env={"PYTHONUTF8": "1"}) as transport:
        await Heard(transport).params()
    assert transport.stderr_tail == "nöise\n"


async def test_the_end_of_much_stderr_is_kept_and_nobody_blocks() -> None:
    source = "sys.stderr.write('x' * 5_000_000 + 'end\\n'); sys.stderr.flush(); os.write(2, b'\\xff'); say('ready')"
    async with started(source, stderr="capture") as transport:
        await Heard(transport).params()
    assert len(transport.stderr_tail) == 64 * 1024
    assert transport.stderr_tail.endswith("xend\n\ufffd")


async def test_stderr_forwarded(capfd: pytest.CaptureFixture[str]) -> None:
    async with started(NOISY) as transport:
        await Heard(transport).params()
    assert transport.stderr_tail == ""
    assert "ise\n" in capfd.readouterr().err


async def test_stderr_into_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        async with started(NOISY, stderr=file) as transport:
            await Heard(transport).params()
        async with started(NOISY, stderr=file.fileno()) as transport:
            await Heard(transport).params()
    assert (tmp_path / "log").read_bytes().count(b"ise\n") == 2


# --- bytes ----------------------------------------------------------------------------------------------------------


async def test_a_megabyte_each_way() -> None:
    async with started(ECHO) as transport:
        heard = Heard(transport)
        await heard.params()
        message = Request(1, "m", {"text": "x" * 1_000_000})
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                transport.send(message)
            nursery.start_soon(transport.flush)
            for _ in range(5):
                assert await heard.next() == message


async def test_one_that_does_not_read_is_back_pressure() -> None:
    """The flush waits, the backlog stays, and reading goes on; what it gets in the end is whole."""
    source = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
say('ready')
signal.sigwait([signal.SIGUSR1])
say('read', size=len(sys.stdin.readline()))
"""
    async with started(source) as transport:
        heard = Heard(transport)
        await heard.params()
        transport.send(Notification("m", {"text": "x" * 8_000_000}))
        size = transport.backlog
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.flush)
            await wait_all_tasks_blocked()
            assert transport.backlog == size > 8_000_000
            os.kill(transport.pid, signal.SIGUSR1)
            assert (await heard.params("read"))["size"] == size
        assert transport.backlog == 0


async def test_leaving_while_a_flush_waits() -> None:
    async with started("say('ready'); wait()", shutdown=IMPATIENT) as transport:
        await Heard(transport).params()
        transport.send(Notification("m", {"text": "x" * 8_000_000}))

        async def flush() -> None:
            with pytest.raises(ConnectionClosed, match="has been closed"):
                await transport.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flush)
            await wait_all_tasks_blocked()
            await transport.aclose()


async def test_limits_hold() -> None:
    async with started("print('x' * 2000); say('ready')", limits=Limits(message_bytes=1000)) as transport:
        heard = Heard(transport)
        assert isinstance(await heard.next(), Malformed)
        await heard.params()


async def test_thirty_at_once() -> None:
    """Pipes, pidfds, guardians and numbers of many processes do not get in each other's way."""
    returncodes = []

    async def one(number: int) -> None:
        async with started(ECHO, shutdown=PATIENT) as transport:
            heard = Heard(transport)
            await heard.params()
            transport.send(Request(number, "m"))
            await transport.flush()
            assert await heard.next() == Request(number, "m")
        returncodes.append(transport.returncode)

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert returncodes == [0] * 30
