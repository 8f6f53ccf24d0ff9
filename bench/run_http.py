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
from common import HERE, PEERS_DIR, POLLED, ROUNDS, SESSION, STATELESS, TASKS, Cell, Figure, Program
from http_loadgen import (
    Calls,
    HttpServer,
    Lifecycles,
    PolledLifecycles,
    Rounds,
    Session,
    Stateless,
    expect_alive,
    open_sessions,
)
from loadgen import REVISION, STATELESS_REVISION, WrongAnswer, percentile

SERVERS, CLIENTS = HERE / "servers", HERE / "clients"


@dataclass
class Peer(Program):
    """A server over HTTP, and the client of the same SDK; `sdk` is false for what is no MCP engine."""

    client: list[str] = field(default_factory=list)
    stateless_argv: list[str] = field(default_factory=list)  # where it is not the same server
    sdk: bool = True

    def open(self, session: bool = True) -> HttpServer:
        return HttpServer(self.argv if session else self.stateless_argv or self.argv, self.env)


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
    Figure("stateless1_rate", "stateless tools/call, 1 connection", "calls/s", True),
    Figure("stateless1_p50", "- latency p50", "µs"),
    Figure("stateless1_p99", "- latency p99", "µs"),
    Figure("stateless32_rate", "stateless tools/call, 32 connections", "calls/s", True),
    Figure("stateless32_p50", "- latency p50", "µs"),
    Figure("stateless32_p99", "- latency p99", "µs"),
    Figure("rounds1_rate", "stateless rounds, 1 connection", "cycles/s", True),
    Figure("rounds1_p50", "- latency p50", "µs"),
    Figure("rounds1_p99", "- latency p99", "µs"),
    Figure("rounds32_rate", "stateless rounds, 32 connections", "cycles/s", True),
    Figure("polled1_rate", "tasks extension life cycles, 1 connection", "tasks/s", True),
    Figure("polled1_created_p50", "- time to CreateTaskResult p50", "µs"),
    Figure("polled1_created_p99", "- time to CreateTaskResult p99", "µs"),
    Figure("polled1_polls", "- tasks/get per task", "requests", digits=1),
    Figure("polled32_rate", "tasks extension life cycles, 32 connections", "tasks/s", True),
    Figure("polled32_polls", "- tasks/get per task", "requests", digits=1),
    Figure("cold", "cold start", "ms"),
    Figure("idle", "idle memory", "MB", digits=1),
    Figure("sessions", "1,000 idle sessions, each with a connection", "MB", digits=1),
    Figure("sessions_bare", "1,000 idle sessions, without", "MB", digits=1),
    Figure("client1_rate", "client: tools/call, 1 in flight", "calls/s", True),
    Figure("client1_cpu", "- processor time per call", "µs"),
    Figure("client32_rate", "client: tools/call, 32 in flight", "calls/s", True),
    Figure("client32_cpu", "- processor time per call", "µs"),
    Figure("stateless_client1_rate", "client: stateless tools/call, 1 in flight", "calls/s", True),
    Figure("stateless_client1_cpu", "- processor time per call", "µs"),
    Figure("stateless_client32_rate", "client: stateless tools/call, 32 in flight", "calls/s", True),
    Figure("stateless_client32_cpu", "- processor time per call", "µs"),
]
STATELESS_CLIENT = "stateless client"


# -- cells: each starts a process, and returns figures -----------------------------------------


def calls(width: int, session: bool, settings: Settings, peer: Peer) -> dict[str, float]:
    name = f"calls{width}" if session else f"stateless{width}"
    with peer.open(session) as server:
        load = Calls(server, width, None if session else Stateless(server))
        load.run(settings.warm_up)
        done = load.run(settings.seconds)
        return {
            f"{name}_rate": done.rate,
            f"{name}_p50": percentile(done.latencies, 0.50) * 1e6,
            f"{name}_p99": percentile(done.latencies, 0.99) * 1e6,
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


def rounds(width: int, settings: Settings, peer: Peer) -> dict[str, float]:
    with peer.open(session=False) as server:
        load = Rounds(server, width)
        load.run(settings.warm_up)
        done = load.run(settings.seconds)
        figures = {f"rounds{width}_rate": done.rate}
        if width == 1:
            figures["rounds1_p50"] = percentile(done.latencies, 0.50) * 1e6
            figures["rounds1_p99"] = percentile(done.latencies, 0.99) * 1e6
        return figures


def polled(width: int, settings: Settings, peer: Peer) -> dict[str, float]:
    with peer.open(session=False) as server:
        load = PolledLifecycles(server, width)
        load.run(min(0.5, settings.warm_up))  # enough for Python, and others have none of these
        # Longer than elsewhere: there are peers that need a third of a second until the first 32 tasks are over.
        done = load.run(max(1.0, 2 * settings.seconds))
        figures = {f"polled{width}_rate": done.rate, f"polled{width}_polls": done.fetches / len(done.latencies)}
        if width == 1:
            figures["polled1_created_p50"] = percentile(done.created, 0.50) * 1e6
            figures["polled1_created_p99"] = percentile(done.created, 0.99) * 1e6
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


def client(window: int, session: bool, settings: Settings, peer: Peer) -> dict[str, float]:
    name = f"client{window}" if session else f"stateless_client{window}"
    revision = REVISION if session else STATELESS_REVISION
    load = [str(window), str(settings.warm_up), str(settings.seconds), revision]
    with null_server(revision).open() as server, Child([*peer.client, server.url, *load], peer.env) as process:
        with time_limit(settings.warm_up + settings.seconds + 30):
            said = process.process.stdout.readline()
        busy = server.cpu() / (settings.warm_up + settings.seconds)
        if not said:
            raise PeerStopped("the client printed nothing")
        done = json.loads(said)
    return {
        f"{name}_rate": done["calls"] / done["seconds"],
        f"{name}_cpu": done["cpu"] / done["calls"] * 1e6,
        f"{name}_server": busy * 100,
    }


def null_server(*revision: str) -> Peer:
    argv = [sys.executable, str(SERVERS / "null_http.py"), *revision]
    return Peer("null", "null", argv, frozenset(), sdk=False)


def able(*abilities: str) -> Callable[[Peer], bool]:
    return lambda peer: peer.can.issuperset(abilities)


def has_sessions(peer: Peer) -> bool:
    return peer.sdk and SESSION in peer.can


CELLS: dict[str, tuple[Callable[..., dict[str, float]], Callable[[Peer], bool]]] = {
    "calls1": (partial(calls, 1, True), able(SESSION)),
    "calls32": (partial(calls, 32, True), able(SESSION)),
    "life1": (partial(lifecycles, 1), able(TASKS)),
    "life32": (partial(lifecycles, 32), able(TASKS)),
    "stateless1": (partial(calls, 1, False), able(STATELESS)),
    "stateless32": (partial(calls, 32, False), able(STATELESS)),
    "rounds1": (partial(rounds, 1), able(ROUNDS)),
    "rounds32": (partial(rounds, 32), able(ROUNDS)),
    "polled1": (partial(polled, 1), able(POLLED)),
    "polled32": (partial(polled, 32), able(POLLED)),
    "start": (start, able(SESSION)),
    "sessions": (partial(sessions, True), has_sessions),
    "bare": (partial(sessions, False), has_sessions),
    "client1": (partial(client, 1, True), lambda peer: bool(peer.client)),
    "client32": (partial(client, 32, True), lambda peer: bool(peer.client)),
    "stateless_client1": (partial(client, 1, False), able(STATELESS_CLIENT)),
    "stateless_client32": (partial(client, 32, False), able(STATELESS_CLIENT)),
}


# -- the run ---------------------------------------------------------------------------------


def all_peers(python: str, parsed: bool) -> list[Peer]:
    node = shutil.which("node") or "node"
    modern = (SESSION, STATELESS, ROUNDS, STATELESS_CLIENT)

    def on_python(name: str, title: str, *can: str) -> Peer:
        server, load = str(SERVERS / f"{name}_http.py"), str(CLIENTS / f"{name}_client.py")
        interpreter = common.python_of(name)
        return Peer(name, title, [interpreter, server], frozenset(can), client=[interpreter, load])

    def on_node(name: str, title: str, folder: Path, *can: str) -> Peer:
        server, load = str(SERVERS / f"{name}_http.mjs"), str(CLIENTS / f"{name}_client.mjs")
        more = [str(folder)] + ["parsed"] * parsed
        peer = Peer(name, title, [node, server, *more], frozenset(can), client=[node, load, str(folder)])
        if STATELESS in can:
            peer.stateless_argv = [node, str(SERVERS / f"{name}_stateless.mjs"), *more]
        return peer

    ours = [[python, str(SERVERS / "ours_http.py")], [python, str(CLIENTS / "ours_client.py")]]
    everything = frozenset((*modern, TASKS, POLLED))
    with_tasks = [common.python_of("fastmcp414"), str(SERVERS / "fastmcp_work.py"), "http"]
    echo = [python, str(SERVERS / "h11_echo.py")]
    return [
        Peer("ours", "mcp-tasks", ours[0], everything, common.with_repository(), client=ours[1]),
        on_python("mcp130", "mcp 1.30.0", SESSION, TASKS),
        on_python("mcp23", "mcp 2.3.0", *modern),
        on_python("fastmcp", "fastmcp 4.1.6", *modern),
        Peer("fastmcp414", "fastmcp 4.1.4", with_tasks, frozenset((POLLED,))),
        on_node("npm132", "npm 1.32.2", PEERS_DIR / "npm", SESSION, TASKS),
        on_node("npm24", "npm 2.4.0", PEERS_DIR / "npm24", *modern),
        Peer("h11", "bare h11", echo, frozenset((SESSION, STATELESS)), sdk=False),
    ]


def trouble(peer: Peer) -> str | None:
    """Try one call of everything (which also warms the disk cache); say what fails."""
    short = Settings(seconds=0.1, warm_up=0.1)
    try:
        if SESSION in peer.can:
            with peer.open() as server, time_limit(30):
                connection = server.connect()
                _, listed = Session(server, connection).ask(connection, "tools/list")
                if missing := common.missing_tools(peer, listed["tools"], (SESSION, TASKS)):
                    return missing
                Calls(server, 1)
                if TASKS in peer.can:
                    Lifecycles(server, 1).run(count=2, limit=20)
        if {STATELESS, POLLED} & peer.can:
            with peer.open(session=False) as server, time_limit(30):
                _, listed = Stateless(server).ask(server.connect(), "tools/list")
                if missing := common.missing_tools(peer, listed["tools"], (STATELESS, ROUNDS, POLLED)):
                    return missing
                if STATELESS in peer.can:
                    Calls(server, 1, Stateless(server))
                if ROUNDS in peer.can:
                    Rounds(server, 1).run(count=2, limit=20)
                if POLLED in peer.can:
                    PolledLifecycles(server, 1).run(count=2, limit=20)
        if peer.client:
            client(1, True, short, peer)
        if STATELESS_CLIENT in peer.can:
            client(1, False, short, peer)
    except (PeerStopped, WrongAnswer, OSError) as error:
        return common.summary(error)
    return None


def ceiling(settings: Settings) -> dict[str, float]:
    """What the generator can drive: a server that only splices bytes."""
    figures = {}
    for name in ("calls", "life", "stateless", "rounds", "polled"):
        for width in (1, 32):
            figures |= CELLS[f"{name}{width}"][0](settings, null_server())
    return figures


def table(peers: list[Peer], values: dict, top: dict, head: list[str]) -> str:
    lines = [*head, "", *common.value_table(FIGURES, peers, values)]
    rivals = [peer.name for peer in peers if peer.sdk and peer.name != "ours"]
    if ratios := common.ratio_table(FIGURES, peers, values, rivals):
        lines += ["", *ratios]
    if top:
        clients = [f"{kind}{n}_server" for kind in ("client", "stateless_client") for n in (1, 32)]
        busiest = max(max(found.get(name, [0])) for found in values.values() for name in clients)
        lines += [
            "",
            f"The generator's ceiling in the same run, against a Python process that only splices bytes: "
            f"{top['calls1_rate']:,.0f} calls/s over one connection and {top['calls32_rate']:,.0f} over 32, "
            f"{top['life1_rate']:,.0f} and {top['life32_rate']:,.0f} life cycles/s; without sessions "
            f"{top['stateless1_rate']:,.0f} and {top['stateless32_rate']:,.0f} calls/s, {top['rounds1_rate']:,.0f} "
            f"and {top['rounds32_rate']:,.0f} rounds/s, {top['polled1_rate']:,.0f} and {top['polled32_rate']:,.0f} "
            f"life cycles/s. The same process served the clients, and was at most {busiest:.0f}% busy.",
        ]
    return "\n".join(lines)


PROFILED = {
    "calls32": lambda server: Calls(server, 32),
    "life32": lambda server: Lifecycles(server, 32),
    "stateless32": lambda server: Calls(server, 32, Stateless(server)),
    "rounds32": lambda server: Rounds(server, 32),
    "polled32": lambda server: PolledLifecycles(server, 32),
}


def profiled(cell: str, settings: Settings, peer: Peer) -> float:
    with peer.open(session=cell in ("calls32", "life32")) as server:
        rate = PROFILED[cell](server).run(settings.seconds).rate
        server.interrupt()
        return rate


def main() -> int:
    cells = list(CELLS)
    parser = common.parser_for(__doc__, "ours, mcp130, mcp23, fastmcp, fastmcp414, npm132, npm24, h11", cells)
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
        cell = common.profiled_cell(options, parser, PROFILED)
        common.print_profile(peer, partial(profiled, cell, settings))
        return 0

    present = common.present(peers, wanted, trouble)
    if not present:
        return 1
    complete = len(present) == len(peers) and picked == cells
    top = ceiling(settings) if complete else {}
    chosen = [Cell(name, partial(CELLS[name][0], settings), CELLS[name][1]) for name in picked]
    values = common.interleaved(present, chosen, rounds)
    head = common.facts(present, rounds, settings.seconds, f"{settings.warm_up:g} s")
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
