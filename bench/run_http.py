#!/usr/bin/env python3
"""Measure mcp_tasks over HTTP beside the SDKs, as server and as client, in one interleaved run.

The order of things is that of `run.py`: for every round, for every cell, each program takes its
turn in a fresh process, and who goes first moves on by one.  See README.md for what each figure is.
"""

import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import common
import loadgen
from child import Child, PeerStopped, time_limit
from common import HERE, PEERS_DIR, Cell, Figure, Program
from http_loadgen import Calls, HttpServer, Lifecycles, Session, expect_alive, open_sessions
from loadgen import WrongAnswer, percentile

SERVERS, CLIENTS = HERE / "servers", HERE / "clients"


@dataclass
class Peer(Program):
    """A server over HTTP, and the client of the same SDK; `sdk` is false for what is no MCP engine."""

    client: list[str] = field(default_factory=list)
    sdk: bool = True

    def open(self) -> HttpServer:
        return HttpServer(self.argv, self.env)


@dataclass
class Settings:
    """How long and how much."""

    seconds: float = 1.5
    # A call over HTTP runs ten times the code of one over stdio, ten times less often: node needs three seconds
    # until it has compiled what it runs, and is two to four times slower before.
    warm_up: float = 3.0
    starts: int = 3
    sessions: int = 1_000


FIGURES = [
    Figure("calls1_rate", "tools/call, 1 connection", "calls/s", True),
    Figure("calls1_p50", "- latency p50", "µs"),
    Figure("calls1_p99", "- latency p99", "µs"),
    Figure("calls32_rate", "tools/call, 32 connections", "calls/s", True),
    Figure("calls32_p50", "- latency p50", "µs"),
    Figure("calls32_p99", "- latency p99", "µs"),
    Figure("life1_rate", "task life cycles, 1 connection", "tasks/s", True),
    Figure("created_p50", "- time to CreateTaskResult p50", "µs"),
    Figure("created_p99", "- time to CreateTaskResult p99", "µs"),
    Figure("life32_rate", "task life cycles, 32 connections", "tasks/s", True),
    Figure("cold", "cold start", "ms"),
    Figure("idle", "idle memory", "MB", digits=1),
    Figure("sessions", "1,000 idle sessions, each with a connection", "MB", digits=1),
    Figure("sessions_bare", "1,000 idle sessions, without", "MB", digits=1),
    Figure("client1_rate", "client: tools/call, 1 in flight", "calls/s", True),
    Figure("client1_cpu", "- processor time per call", "µs"),
    Figure("client32_rate", "client: tools/call, 32 in flight", "calls/s", True),
    Figure("client32_cpu", "- processor time per call", "µs"),
]


# -- cells: each starts a process, and returns figures -----------------------------------------


def calls(width: int, settings: Settings, peer: Peer) -> dict[str, float]:
    with peer.open() as server:
        load = Calls(server, width)
        load.run(settings.warm_up)
        done = load.run(settings.seconds)
        return {
            f"calls{width}_rate": done.rate,
            f"calls{width}_p50": percentile(done.latencies, 0.50) * 1e6,
            f"calls{width}_p99": percentile(done.latencies, 0.99) * 1e6,
        }


def lifecycles(width: int, settings: Settings, peer: Peer) -> dict[str, float]:
    with peer.open() as server:
        # Calls warm up most of what tasks run through, without filling the store of finished tasks.
        Calls(server, width).run(settings.warm_up)
        server.disconnect()
        load = Lifecycles(server, width)
        load.run(min(0.5, settings.warm_up))
        done = load.run(settings.seconds)
        figures = {f"life{width}_rate": done.rate}
        if width == 1:
            figures["created_p50"] = percentile(done.created, 0.50) * 1e6
            figures["created_p99"] = percentile(done.created, 0.99) * 1e6
        return figures


def start(settings: Settings, peer: Peer) -> dict[str, float]:
    cold, idle = [], []
    for _ in range(settings.starts):
        with peer.open() as server, time_limit(30):
            connection = server.connect()
            session = Session(server, connection)
            cold.append(session.ready_after * 1e3)
            session.ask(connection, "tools/list")
            time.sleep(0.1)
            idle.append(server.rss() / 1e6)
    return {"cold": statistics.median(cold), "idle": statistics.median(idle)}


def sessions(connected: bool, settings: Settings, peer: Peer) -> dict[str, float]:
    with peer.open() as server:
        # A few sessions load what is loaded on first use. No more than that: a heap that has served thousands of
        # calls has garbage in it, whose room the sessions would take without the process growing.
        expect_alive(server, open_sessions(server, 20, connected))
        server.disconnect()
        before = server.settled_rss()
        opened = open_sessions(server, settings.sessions, connected)
        grown = server.settled_rss() - before
        expect_alive(server, opened)
        return {"sessions" if connected else "sessions_bare": grown / len(opened) * 1_000 / 1e6}


def client(window: int, settings: Settings, peer: Peer) -> dict[str, float]:
    load = [str(window), str(settings.warm_up), str(settings.seconds)]
    with null_server().open() as server, Child([*peer.client, server.url, *load], peer.env) as process:
        with time_limit(settings.warm_up + settings.seconds + 30):
            said = process.process.stdout.readline()
        busy = server.cpu() / (settings.warm_up + settings.seconds)
        if not said:
            raise PeerStopped("the client printed nothing")
        done = json.loads(said)
    return {
        f"client{window}_rate": done["calls"] / done["seconds"],
        f"client{window}_cpu": done["cpu"] / done["calls"] * 1e6,
        f"client{window}_server": busy * 100,
    }


def null_server() -> Peer:
    return Peer("null", "null", [sys.executable, str(SERVERS / "null_http.py")], sdk=False)


CELLS: dict[str, tuple[Callable[..., dict[str, float]], Callable[[Peer], bool]]] = {
    "calls1": (partial(calls, 1), lambda peer: True),
    "calls32": (partial(calls, 32), lambda peer: True),
    "life1": (partial(lifecycles, 1), lambda peer: peer.tasks),
    "life32": (partial(lifecycles, 32), lambda peer: peer.tasks),
    "start": (start, lambda peer: True),
    "sessions": (partial(sessions, True), lambda peer: peer.sdk),
    "bare": (partial(sessions, False), lambda peer: peer.sdk),
    "client1": (partial(client, 1), lambda peer: bool(peer.client)),
    "client32": (partial(client, 32), lambda peer: bool(peer.client)),
}


# -- the run ---------------------------------------------------------------------------------


def all_peers(python: str, parsed: bool) -> list[Peer]:
    node = shutil.which("node") or "node"

    def on_python(name: str, title: str, tasks: bool = False) -> Peer:
        server, load = str(SERVERS / f"{name}_http.py"), str(CLIENTS / f"{name}_client.py")
        interpreter = common.python_of(name)
        return Peer(name, title, [interpreter, server], tasks, client=[interpreter, load])

    def on_node(name: str, title: str, folder: Path, tasks: bool = False) -> Peer:
        server, load = str(SERVERS / f"{name}_http.mjs"), str(CLIENTS / f"{name}_client.mjs")
        argv = [node, server, str(folder)] + ["parsed"] * parsed
        return Peer(name, title, argv, tasks, client=[node, load, str(folder)])

    ours = [[python, str(SERVERS / "ours_http.py")], [python, str(CLIENTS / "ours_client.py")]]
    return [
        Peer("ours", "mcp-tasks", ours[0], env=common.with_repository(), client=ours[1]),
        on_python("mcp130", "mcp 1.30.0", tasks=True),
        on_python("mcp23", "mcp 2.3.0"),
        on_python("fastmcp", "fastmcp 4.1.6"),
        on_node("npm132", "npm 1.32.2", PEERS_DIR / "npm", tasks=True),
        on_node("npm24", "npm 2.4.0", PEERS_DIR / "npm24"),
        Peer("h11", "bare h11", [python, str(SERVERS / "h11_echo.py")], tasks=False, sdk=False),
    ]


def trouble(peer: Peer) -> str | None:
    """Try one call of everything (which also warms the disk cache); say what fails."""
    try:
        with peer.open() as server, time_limit(30):
            connection = server.connect()
            _, listed = Session(server, connection).ask(connection, "tools/list")
            names = {tool["name"] for tool in listed["tools"]}
            if missing := ({"echo", "big"} | ({"job"} if peer.tasks else set())) - names:
                return f"has no tool {', '.join(sorted(missing))}"
            Calls(server, 1)
            if peer.tasks:
                Lifecycles(server, 1).run(count=2, limit=20)
        if peer.client:
            client(1, Settings(seconds=0.1, warm_up=0.1), peer)
    except (PeerStopped, WrongAnswer, OSError) as error:
        return common.summary(error)
    return None


def ceiling(settings: Settings) -> dict[str, float]:
    """What the generator can drive: a server that only splices bytes."""
    figures = {}
    for cell in (calls, lifecycles):
        for width in (1, 32):
            figures |= cell(width, settings, null_server())
    return figures


def table(peers: list[Peer], values: dict, top: dict, head: list[str]) -> str:
    lines = [*head, "", *common.value_table(FIGURES, peers, values)]
    rivals = [peer.name for peer in peers if peer.sdk and peer.name != "ours"]
    if ratios := common.ratio_table(FIGURES, peers, values, rivals):
        lines += ["", *ratios]
    if top:
        busiest = max(max(found.get(f"client{n}_server", [0])) for found in values.values() for n in (1, 32))
        lines += [
            "",
            f"The generator's ceiling in the same run, against a Python process that only splices bytes: "
            f"{top['calls1_rate']:,.0f} calls/s over one connection and {top['calls32_rate']:,.0f} over 32, "
            f"{top['life1_rate']:,.0f} and {top['life32_rate']:,.0f} life cycles/s. The same process served the "
            f"clients, and was at most {busiest:.0f}% busy.",
        ]
    return "\n".join(lines)


def profiled(settings: Settings, peer: Peer) -> float:
    with peer.open() as server:
        rate = Calls(server, 32).run(settings.seconds).rate
        server.interrupt()
        return rate


def main() -> int:
    cells = list(CELLS)
    parser = common.parser_for(__doc__, "ours, mcp130, mcp23, fastmcp, npm132, npm24, h11", cells)
    parser.add_argument("--warm-up", type=float, metavar="SECONDS", help="load before each timed cell")
    parser.add_argument(
        "--parsed", action="store_true", help="read and parse bodies before the npm transports see them"
    )
    options = parser.parse_args()

    settings, rounds = Settings(), options.rounds
    if options.quick:
        settings, rounds = Settings(0.4, 0.4, 1, 100), 1
    settings.seconds = options.seconds or settings.seconds
    if options.warm_up is not None:
        settings.warm_up = options.warm_up
    loadgen.WAIT = options.wait
    if options.one_core:  # children inherit it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    peers = all_peers(options.python, options.parsed)
    wanted, picked = common.chosen(options, parser, peers, cells)
    if options.profile:
        peer = next(peer for peer in peers if peer.name == wanted[0])
        common.print_profile(peer, partial(profiled, settings))
        return 0

    present = common.present(peers, wanted, trouble)
    if not present:
        return 1
    complete = len(present) == len(peers) and picked == cells
    top = ceiling(settings) if complete else {}
    chosen = [Cell(name, partial(CELLS[name][0], settings), CELLS[name][1]) for name in picked]
    values = common.interleaved(present, chosen, rounds)
    head = common.facts(present, rounds, settings.seconds, settings.warm_up)
    text = table(present, values, top, head)
    print(text)
    if options.write or (complete and not options.quick and not options.parsed):
        common.write_readme("http", text)
    if options.json:
        dump = {"facts": head, "settings": vars(settings), "ceiling": top, "values": values}
        Path(options.json).write_text(json.dumps(dump, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
