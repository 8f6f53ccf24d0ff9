"""A fleet of ours beside fastmcp-tasks on Docket, over the same Redis server; and our store in it as it grows.

    python bench/fleet.py                # 5 rounds and a million tasks, ten minutes; writes the tables in README.md
    python bench/fleet.py --quick        # to see that it works; writes nothing

Both are spoken to over HTTP by the load generator of `run_http.py`, in the revision and with the tasks that both have:
2026-07-28 and its extension. A *create* is a tools/call that has become a task; a *lifecycle* goes on with tasks/get,
one after the other, until that has the text. The older revision has tasks/result, which waits: ours is measured by that
as well. Each program takes its turn with each number of workers, in processes and a database of its own.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import common
import trio
from child import Child, PeerStopped, clock, no_collection, time_limit
from common import HERE, Cell, Program, Values, write_readme
from http_loadgen import Connection, HttpServer, Lifecycles, PolledLifecycles, raise_socket_limit
from loadgen import SAMPLE, Load, WrongAnswer, percentile
from stores import fill, show, timed

from mcp_tasks.tasks.valkey import open_valkey

WORKERS = (1, 2, 4)
IN_FLIGHT = 32
LOOKED_AT = 16  # of the tasks that were only created
PATIENCE = 60.0  # until a process says that it is ready

# The leanest that its documentation shows: arguments and results are plain texts.
FASTMCP = '''
from fastmcp import FastMCP
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension

server = FastMCP("bench", version="1.0")
server.add_extension(TasksExtension())


@server.tool(task=TaskConfig(mode="required"), output_schema=None)
async def work(text: str) -> str:
    """Return the text, as a task."""
    return text


if __name__ == "__main__":
    from asgi import serve

    serve(server.http_app(path="/mcp", json_response=True))
'''


# -- processes -------------------------------------------------------------------------------


class Process(Child):
    """A process of a fleet, which ends with this one whatever happens to it; all that it says is in one place."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None):
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        super().__init__([*tied, "sh", "-c", 'exec "$0" "$@" >&2', *argv], env)

    def wait_for(self, words: bytes) -> bytes:
        """Wait until it has said such words, and return them."""
        end = clock() + PATIENCE
        while clock() < end and self.process.poll() is None:
            # Read at a place of our own: the process writes where the file is.
            if found := re.search(words, os.pread(self.stderr.fileno(), 1 << 16, 0)):
                return found[0]
            time.sleep(0.01)
        raise PeerStopped(f"never said {words!r}")


class Redis(Process):
    """A Redis server on loopback that keeps nothing on a disk."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", tempfile.gettempdir()]
        super().__init__(["redis-server", *where, "--save", "", "--appendonly", "no"])
        try:
            self.wait_for(b"Ready to accept connections")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, command: str) -> str:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection,
            connection.makefile("rwb") as to,
        ):
            to.write(f"{command}\r\n".encode())
            to.flush()
            first = to.readline().decode().strip()
            return to.read(int(first[1:])).decode() if first[0] == "$" else first

    def flush(self) -> None:
        if (said := self.ask("FLUSHALL SYNC")) != "+OK":
            raise PeerStopped(f"redis-server: {said}")

    def used(self) -> int:
        """Bytes that it has taken for what it keeps."""
        return int(re.search(r"used_memory:(\d+)", self.ask("INFO memory"))[1])


class Front(HttpServer):
    """A server that runs, at a URL; whoever has started it ends it."""

    def __init__(self, url: str):
        raise_socket_limit()
        self.heads, self.connections, self.started = {}, [], clock()
        self.last_id = 1_000_000
        self.url = url
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.lines = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        ).encode()

    def complaint(self) -> str:
        return ""

    def close(self, patience: float = 0.0) -> None:
        self.disconnect()


# What to run, in which environment, and what it says when it is ready.
Command = tuple[list[str], dict[str, str], bytes]
URL = rb"http://[\w.:]+/mcp"


@dataclass
class Fleet(Program):
    """A program, and the commands that make a fleet of it: a server, which says its URL, and so many workers."""

    commands: Callable[[str, int], list[Command]] = lambda url, workers: []
    waits: bool = False
    """Whether it has tasks/result."""

    @contextmanager
    def opened(self, redis: Redis, workers: int) -> Iterator[tuple[Front, list[Process]]]:
        """Where it is spoken to, and its processes, the server first."""
        redis.flush()
        with ExitStack() as stack:
            commands = self.commands(redis.url, workers)
            processes = [stack.enter_context(Process(argv, env)) for argv, env, _ in commands]
            said = [process.wait_for(ready) for process, (_, _, ready) in zip(processes, commands, strict=True)]
            yield stack.enter_context(Front(said[0].decode())), processes


def ours(url: str, workers: int) -> list[Command]:
    """One front end, and workers that have nothing else to do."""
    command, store = [sys.executable, "-m", "mcp_tasks"], ["--store", url]
    env = {"PYTHONPATH": os.pathsep.join([common.with_repository()["PYTHONPATH"], str(HERE / "servers")])}
    front = [*command, "serve", "ours:peer", "--http", "127.0.0.1:0", "--front", *store]
    worker = [*command, "worker", "ours:peer", *store]
    return [(front, env, URL), *[(worker, env, b"bench works")] * workers]


def theirs(program: Path, url: str, workers: int) -> list[Command]:
    """One server, which always is a worker, too, and one worker less besides."""
    python = common.python_of("fastmcp414")
    env = {
        "PYTHONPATH": str(HERE / "servers"),
        "FASTMCP_CHECK_FOR_UPDATES": "off",
        "FASTMCP_ENV_FILE": os.devnull,
        "FASTMCP_LOG_LEVEL": "WARNING",
        "FASTMCP_DOCKET_URL": url,
        # As many as our workers take at once. With ten, its default, a worker that has its hands full sleeps for 50 ms
        # before it looks again; with these it never has. It waits for new ones inside of Redis, without a pause.
        "FASTMCP_DOCKET_CONCURRENCY": "100",
    }
    worker = [python, "-m", "fastmcp_tasks.worker_cli", "worker", f"{program}:server"]
    return [([python, str(program)], env, URL), *[(worker, env, b"Starting worker")] * (workers - 1)]


# -- loads -----------------------------------------------------------------------------------


class Creates(PolledLifecycles):
    """A tools/call of `work`, of which the server makes a task, and the next one; some are looked at in the end."""

    def run(self, seconds: float) -> Load:
        load = Load()
        server, create, new = self.server, self.create, self.new
        made: list[tuple[bytes, bytes]] = []  # of each task its id and that of its call
        began = clock()
        until = began + seconds

        def start(connection: Connection) -> bytes:
            server.last_id += 1
            connection.stage = request_id = b"%d" % server.last_id
            return request_id.join(create)

        def answered(connection: Connection, line: bytes, now: float) -> bytes | None:
            request_id = connection.stage
            at = line.find(b'"taskId":"') + 10
            task_id = line[at : line.find(b'"', at)]
            alike = at > 9 and new in line and b'"id":' + request_id in line and b'"error":' not in line
            if not alike or not int(request_id) & SAMPLE:
                task_id = self.read_new(line, request_id)["taskId"].encode()
            made.append((task_id, request_id))
            if now >= until:
                return None
            load.latencies.append(now - connection.sent)
            load.seconds = now - began
            return start(connection)

        self.traffic.drive(seconds, seconds + 20, start, answered)
        if len({task_id for task_id, _ in made}) != len(made):
            raise WrongAnswer("tasks share an id")
        for task_id, call_id in made[:: max(1, len(made) // LOOKED_AT)]:
            request_id = b"%d" % server.new_id()
            with time_limit(20):
                _, line = self.traffic.connections[0].exchange(self.fetch_request(request_id, task_id))
            self.read_outcome(line, request_id, b"text-" + call_id, task_id)  # at work or done, and nothing else
        return load


@dataclass
class Settings:
    """How long."""

    seconds: float = 3.0
    warm_up: float = 1.0


def loaded(workers: int, settings: Settings, redis: Redis, fleet: Fleet) -> dict[str, float]:
    """Everything that is measured of one fleet, one load after the other."""
    figures: dict[str, float] = {}
    with fleet.opened(redis, workers) as (front, processes):
        measured = [*processes, redis]

        def under(name: str, kind: type[Lifecycles]) -> None:
            try:
                with time_limit(30):
                    load = kind(front, IN_FLIGHT)
                load.run(settings.warm_up)
                before = [process.cpu() for process in measured]
                done = load.run(settings.seconds)
                used = [process.cpu() - was for process, was in zip(measured, before, strict=True)]
                figures[name] = done.rate
            except (PeerStopped, WrongAnswer) as error:
                error.add_note(f"this was measured: {name}")
                raise
            front.disconnect()
            figures[f"{name}_p50"] = percentile(done.latencies, 0.5) * 1e3
            if done.created:  # of a lifecycle; the last of each connection ended after the time, and is not among them
                each = 1e3 / (len(done.latencies) + IN_FLIGHT)
                figures[f"{name}_cpu"] = sum(used) * each
                figures[f"{name}_cpu_server"] = used[0] * each
                figures[f"{name}_cpu_redis"] = used[-1] * each
                figures[f"{name}_asked"] = done.fetches / len(done.latencies)

        if fleet.waits:
            under("waited", Lifecycles)
        under("polled", PolledLifecycles)
        under("created", Creates)  # the last one: it leaves more to do than is done meanwhile
    return {f"{key}{workers}": value for key, value in figures.items()}


# -- tables ----------------------------------------------------------------------------------


ROWS = [  # a title, the figure of ours, the one of theirs that it is compared with, and how many digits of it are shown
    ("creates/s", "created", "created", 0),
    ("- p50, ms", "created_p50", "created_p50", 1),
    ("lifecycles/s, tasks/get", "polled", "polled", 0),
    ("- p50, ms", "polled_p50", "polled_p50", 1),
    ("- processor time, ms", "polled_cpu", "polled_cpu", 1),
    ("- tasks/get per task", "polled_asked", "polled_asked", 1),
    ("lifecycles/s, tasks/result", "waited", "polled", 0),
    ("- p50, ms", "waited_p50", "polled_p50", 1),
    ("- processor time, ms", "waited_cpu", "polled_cpu", 1),
]


def table(counts: Sequence[int], values: Values) -> list[str]:
    """The table of creates and lifecycles; what only ours has is compared with what theirs does instead."""
    lines = [
        "| workers | | mcp-tasks | fastmcp-tasks 4.1.4 | ours / theirs | ours / theirs at its best |",
        "|---|---|---:|---:|---:|---:|",
    ]
    ours_, theirs_ = values.get("ours", {}), values.get("fastmcp414", {})
    for count in counts:
        for title, mine, their, digits in ROWS:
            left, right = ours_.get(f"{mine}{count}", []), theirs_.get(f"{their}{count}", [])
            cells = [show(left, digits) if left else "-", show(right, digits) if right and mine == their else "-"]
            both = bool(left and right)
            cells.append(show([a / b for a, b in zip(left, right, strict=True)], 2) if both else "-")
            # Of the same round, with as many workers as suit it best: few, where there are no cores for more.
            field = zip(*(theirs_[f"{their}{other}"] for other in counts), strict=True) if both else ()
            best = [a / max(b) for a, b in zip(left, field, strict=True)] if both else []
            cells.append(show(best, 2) if best and title.partition(",")[0].endswith("/s") else "-")
            lines.append(f"| {count} | {title} | " + " | ".join(cells) + " |")
    return lines


# -- as retained tasks grow ------------------------------------------------------------------


def growing(redis: Redis, most: int) -> list[str]:
    """The table of what it costs to keep so many tasks."""
    lines = [
        "| retained | create | get of a finished one | page of 100 | memory of redis-server | of each task |",
        "|---|---|---|---|---|---|",
    ]
    redis.flush()
    empty = redis.used()

    async def grow() -> None:
        ids: list[str] = []
        async with open_valkey(redis.url) as store:
            for step in [step for step in (1_000, 10_000, 100_000, 1_000_000) if step <= most]:
                began = clock()
                with no_collection():
                    await fill(store, ids, step)
                print(f"{step:,} retained after {clock() - began:.1f} s", file=sys.stderr)
                times = [await timed(store, ids) for _ in range(3)]
                cells = [f"{1e6 * statistics.median(one):,.0f} µs" for one in zip(*times, strict=True)]
                used = redis.used() - empty
                cells += [f"{used / 2**20:,.0f} MiB", f"{used / len(ids):,.0f} bytes"]
                lines.append(f"| {step:,} | " + " | ".join(cells) + " |")

    trio.run(grow)
    redis.flush()
    return lines


# -- the run ---------------------------------------------------------------------------------


def trouble(fleet: Fleet, redis: Redis) -> str | None:
    """Try a little of everything with one worker; say what fails."""
    try:
        with fleet.opened(redis, 1) as (front, _):
            if fleet.waits:
                Lifecycles(front, 1).run(count=2, limit=20)
            PolledLifecycles(front, 1).run(count=2, limit=20)
            Creates(front, 1).run(0.1)
    except (PeerStopped, WrongAnswer, OSError) as error:
        return common.summary(error)
    return None


def facts(present: Sequence[Fleet], rounds: int, settings: Settings, redis: Redis) -> list[str]:
    where, _ = common.facts(present, rounds, settings.seconds, "")
    version = re.search(r"redis_version:(\S+)", redis.ask("INFO server"))[1]
    of = f"{rounds} round{'s' * (rounds != 1)} of {settings.seconds:g} s a load after {settings.warm_up:g} s"
    return [f"{where} Redis {version}.", f"{of}, interleaved: the middle, and from the least to the most."]


def all_fleets(folder: Path) -> list[Fleet]:
    program = folder / "bench_server.py"
    program.write_text(FASTMCP)
    peer = [common.python_of("fastmcp414")]
    return [
        Fleet("ours", "mcp-tasks", [sys.executable], frozenset(), commands=ours, waits=True),
        Fleet("fastmcp414", "fastmcp-tasks", peer, frozenset(), commands=partial(theirs, program)),
    ]


def stop(number: int, frame: object) -> None:
    sys.exit(128 + number)  # and so the processes are ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a timed load")
    parser.add_argument("--only", metavar="PROGRAM", help="ours or fastmcp414")
    parser.add_argument("--workers", metavar="COUNT,...", default=",".join(map(str, WORKERS)))
    parser.add_argument("--retained", type=int, default=1_000_000, help="how many tasks to grow to")
    parser.add_argument("--part", choices=("load", "grow"), help="one of the two tables")
    parser.add_argument("--write", action="store_true", help="update README.md from a partial run")
    given = parser.parse_args()
    settings = Settings(given.seconds)
    if given.quick:
        given.rounds, given.retained, settings = 1, 1_000, Settings(1.5, 0.5)
    counts = [int(count) for count in given.workers.split(",")]
    if shutil.which("redis-server") is None:
        parser.error("there is no redis-server here")
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory() as folder, Redis() as redis:
        if given.part != "grow":
            fleets = all_fleets(Path(folder))
            wanted = [given.only] if given.only else [fleet.name for fleet in fleets]
            present = common.present(fleets, wanted, partial(trouble, redis=redis))
            cells = [
                Cell(f"{count} worker{'s' * (count > 1)}", partial(loaded, count, settings, redis), lambda fleet: True)
                for count in counts
            ]
            values = common.interleaved(present, cells, given.rounds)
            text = "\n".join([*facts(present, given.rounds, settings, redis), "", *table(counts, values)])
            print(text)
            if given.write or (not given.quick and len(present) == len(fleets) and counts == list(WORKERS)):
                write_readme("fleet", text)
        if given.part != "load":
            text = "\n".join(growing(redis, given.retained))
            print(text)
            if given.write or not given.quick:
                write_readme("fleet-retained", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
