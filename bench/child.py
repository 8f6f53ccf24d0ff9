"""A program under measurement as a child process: its life, its memory, its processor time.

Memory and processor time come from `/proc`, hence Linux.  How one speaks to the program is the
business of the load generators.
"""

import contextlib
import gc
import os
import signal
import subprocess
import tempfile
import time

clock = time.perf_counter


class PeerStopped(Exception):
    """The peer closed its output, or said nothing for too long."""


@contextlib.contextmanager
def time_limit(seconds: float):
    """Raise PeerStopped in the block when it takes longer; blocking reads are interrupted."""

    def expired(_signal, _frame):
        raise PeerStopped(f"nothing finished within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def no_collection():
    """Keep the generator's own garbage collection out of a measurement."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Child:
    """A child process; `ask_to_end` says how it is told that it may go."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None, stdin: int = subprocess.DEVNULL):
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.started = clock()
        self.process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            bufsize=0,
            env=None if env is None else {**os.environ, **env},
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None and hasattr(error, "add_note") and (said := self.complaint()):
            error.add_note(f"the peer's stderr ends with:\n{said}")
        self.close()

    def ask_to_end(self) -> None:
        self.process.terminate()

    def close(self, patience: float = 1.0) -> None:
        """Ask it to end, wait, then kill it."""
        self.ask_to_end()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.stderr.close()

    def complaint(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read()[-2000:].decode(errors="replace").strip()

    def rss(self) -> int:
        """Return the resident memory in bytes, its descendants' included."""
        return sum(map(rss_of, family(self.pid)))

    def settled_rss(self) -> int:
        """Return the resident memory once it has stopped moving (within 1%, at most 3 s)."""
        before = self.rss()
        for _ in range(6):
            time.sleep(0.5)
            now = self.rss()
            if abs(now - before) < before / 100:
                break
            before = now
        return now

    def cpu(self) -> float:
        """Return the processor seconds used so far by all its threads."""
        total = 0
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        children.setdefault(parent, []).append(int(name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def rss_of(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise PeerStopped("no VmRSS: the process is gone")
