#!/usr/bin/env python3
"""Measure mcp_tasks beside the official SDKs, in one interleaved run.

For every round, for every cell, every peer takes its turn in a fresh process, and who goes first
moves on by one each time.  So a slow minute of the machine falls on everybody, and the ratio of
two peers is taken within a round.  See README.md for what each figure is.
"""

import json
import os
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import common
import loadgen
from child import PeerStopped, time_limit
from common import HERE, PEERS_DIR, POLLED, SESSION, STATELESS, TASKS, Cell, Figure, Program
from loadgen import Calls, Lifecycles, PolledLifecycles, Server, WrongAnswer, percentile, stateless

HOUR_MS = 3_600_000


@dataclass
class Peer(Program):
    """A server over stdio."""

    def start(self) -> Server:
        return Server(self.argv, self.env)

    def open(self, handshake: bool = True) -> Server:
        server = self.start()
        if not handshake:
            return server
        try:
            with time_limit(30):
                server.initialize()
        except BaseException as error:
            server.__exit__(type(error), error, None)
            raise
        return server


@dataclass
class Settings:
    """How long and how much."""

    seconds: float = 1.5
    warm_up: float = 0.5
    call_warm_up: float = 1.5  # of calls; it takes node that long to have compiled what npm 2.4.0 runs
    starts: int = 3
    memory_tasks: int = 10_000
    retained: tuple[int, int] = (100, 100_000)
    doomed: int = 20_000


FIGURES = [
    Figure("calls1_rate", "tools/call, 1 in flight", "calls/s", True),
    Figure("calls1_p50", "- latency p50", "µs"),
    Figure("calls1_p99", "- latency p99", "µs"),
    Figure("calls32_rate", "tools/call, 32 in flight", "calls/s", True),
    Figure("calls32_p50", "- latency p50", "µs"),
    Figure("calls32_p99", "- latency p99", "µs"),
    Figure("life1_rate", "task life cycles, 1 in flight", "tasks/s", True),
    Figure("created_p50", "- time to CreateTaskResult p50", "µs"),
    Figure("created_p99", "- time to CreateTaskResult p99", "µs"),
    Figure("life32_rate", "task life cycles, 32 in flight", "tasks/s", True),
    Figure("stateless1_rate", "stateless tools/call, 1 in flight", "calls/s", True),
    Figure("stateless1_p50", "- latency p50", "µs"),
    Figure("stateless1_p99", "- latency p99", "µs"),
    Figure("stateless32_rate", "stateless tools/call, 32 in flight", "calls/s", True),
    Figure("stateless32_p50", "- latency p50", "µs"),
    Figure("stateless32_p99", "- latency p99", "µs"),
    Figure("polled1_rate", "tasks extension life cycles, 1 in flight", "tasks/s", True),
    Figure("polled1_created_p50", "- time to CreateTaskResult p50", "µs"),
    Figure("polled1_created_p99", "- time to CreateTaskResult p99", "µs"),
    Figure("polled1_polls", "- tasks/get per task", "requests", digits=1),
    Figure("polled32_rate", "tasks extension life cycles, 32 in flight", "tasks/s", True),
    Figure("polled32_polls", "- tasks/get per task", "requests", digits=1),
    Figure("big1_rate", "1 MB results, 1 in flight", "MB/s", True),
    Figure("big4_rate", "1 MB results, 4 in flight", "MB/s", True),
    Figure("cold", "cold start", "ms"),
    Figure("idle", "idle memory", "MB", digits=1),
    Figure("memory", "memory per 10,000 retained tasks", "MB", digits=1),
]
RETENTION_FIGURES = [
    Figure("get_p50", "tasks/get p50", "µs"),
    Figure("get_p99", "tasks/get p99", "µs"),
    Figure("list_p50", "tasks/list page p50", "µs"),
    Figure("list_p99", "tasks/list page p99", "µs"),
    Figure("list_page", "tasks in a page", "tasks"),
    Figure("expiry", "expiry, processor time per task", "µs", digits=2),
    Figure("stall", "longest ping during the expiry", "ms", digits=1),
]


# -- cells: each starts a process, and returns figures -----------------------------------------


def calls(window: int, handshake: bool = True):
    name = f"calls{window}" if handshake else f"stateless{window}"

    def cell(peer: Peer, settings: Settings) -> dict[str, float]:
        with peer.open(handshake) as server:
            load = Calls(server, window, handshake=handshake)
            load.run(settings.call_warm_up)
            done = load.run(settings.seconds)
            return {
                f"{name}_rate": done.rate,
                f"{name}_p50": percentile(done.latencies, 0.50) * 1e6,
                f"{name}_p99": percentile(done.latencies, 0.99) * 1e6,
            }

    return cell


def lifecycles(window: int):
    def cell(peer: Peer, settings: Settings) -> dict[str, float]:
        with peer.open() as server:
            load = Lifecycles(server, window)
            load.run(settings.warm_up)
            done = load.run(settings.seconds)
            figures = {f"life{window}_rate": done.rate}
            if window == 1:
                figures["created_p50"] = percentile(done.created, 0.50) * 1e6
                figures["created_p99"] = percentile(done.created, 0.99) * 1e6
            return figures

    return cell


def polled(window: int):
    def cell(peer: Peer, settings: Settings) -> dict[str, float]:
        with peer.open(handshake=False) as server:
            load = PolledLifecycles(server, window)
            load.run(settings.warm_up)
            # Longer than elsewhere: there are peers that need a third of a second until the first 32 tasks are over.
            done = load.run(max(1.0, 2 * settings.seconds))
            figures = {f"polled{window}_rate": done.rate, f"polled{window}_polls": done.fetches / len(done.latencies)}
            if window == 1:
                figures["polled1_created_p50"] = percentile(done.created, 0.50) * 1e6
                figures["polled1_created_p99"] = percentile(done.created, 0.99) * 1e6
            return figures

    return cell


def big(window: int):
    def cell(peer: Peer, settings: Settings) -> dict[str, float]:
        with peer.open() as server:
            loadgen.big_calls(server, window, settings.warm_up)
            done = loadgen.big_calls(server, window, settings.seconds)
            return {f"big{window}_rate": done.rate * len(loadgen.BIG_TEXT) / 1e6}

    return cell


def start(peer: Peer, settings: Settings) -> dict[str, float]:
    cold, idle = [], []
    for _ in range(settings.starts):
        with peer.open() as server:
            cold.append(server.ready_after * 1e3)
            server.request("tools/list")
            time.sleep(0.1)
            idle.append(server.rss() / 1e6)
    return {"cold": statistics.median(cold), "idle": statistics.median(idle)}


def expect_finished(server: Server, task_ids: list[str]) -> None:
    """The first, the middle and the last of these tasks must be there and completed."""
    for task_id in (task_ids[0], task_ids[len(task_ids) // 2], task_ids[-1]):
        task = server.request("tasks/get", {"taskId": task_id})
        if task["taskId"] != task_id or task["status"] != "completed":
            raise WrongAnswer(f"not a finished task: {task}")


def memory(peer: Peer, settings: Settings) -> dict[str, float]:
    with peer.open() as server:
        # Buffers and compiled code grow with the first thousand messages whatever they are.
        Calls(server, 32).run(settings.warm_up)
        Lifecycles(server, 32).run(count=200, limit=30)
        before = server.settled_rss()
        made = Lifecycles(server, 32, ttl_ms=HOUR_MS, fetch=False)
        made.run(count=settings.memory_tasks, limit=120)
        expect_finished(server, made.task_ids)
        grown = server.settled_rss() - before
        if made.given_ttl_ms is not None and made.given_ttl_ms < 60_000:
            raise WrongAnswer(f"the ttl was cut to {made.given_ttl_ms} ms: nothing is retained")
        return {"memory": grown / len(made.task_ids) * 10_000 / 1e6}


def pings(server: Server, seconds: float) -> tuple[float, float]:
    """Ping 50 times a second; return the processor time per second and the longest answer."""
    longest = 0.0
    used, began = server.cpu(), time.perf_counter()
    until = began + seconds
    server.wait_by(spinning=False)
    while time.perf_counter() < until:
        sent = time.perf_counter()
        with time_limit(30):
            server.request("ping")
        now = time.perf_counter()
        longest = max(longest, now - sent)
        time.sleep(max(0.0, 0.02 - (now - sent)))
    return (server.cpu() - used) / (time.perf_counter() - began), longest


def expect_gone(server: Server, task_ids: list[str]) -> None:
    """The first, the middle and the last of these tasks must be unknown."""
    for task_id in (task_ids[0], task_ids[len(task_ids) // 2], task_ids[-1]):
        try:
            task = server.request("tasks/get", {"taskId": task_id})
        except WrongAnswer as refusal:
            if "-32602" in str(refusal):
                continue
            raise
        raise WrongAnswer(f"should have expired: {task}")


def list_all(server: Server) -> list[str]:
    """Walk tasks/list to its end."""
    found, params = [], {}
    while True:
        page = server.request("tasks/list", params)
        found += [task["taskId"] for task in page["tasks"]]
        if not page.get("nextCursor"):
            return found
        params = {"cursor": page["nextCursor"]}


def retention(count: int):
    """tasks/get, tasks/list and expiry beside `count` retained tasks."""

    def cell(peer: Peer, settings: Settings) -> dict[str, float]:
        with peer.open() as server:
            kept = Lifecycles(server, 32, ttl_ms=HOUR_MS, fetch=False)
            kept.run(count=count, limit=180)
            expect_finished(server, kept.task_ids)
            asked = iter_spread(kept.task_ids)
            current = next(asked)

            def check_get(task: dict) -> dict:
                nonlocal current
                if task["taskId"] != current or task["status"] != "completed":
                    raise WrongAnswer(f"asked for {current}, got {task}")
                current = next(asked)
                return {"taskId": current}

            page_sizes = []

            def check_page(page: dict) -> dict:
                page_sizes.append(len(page["tasks"]))
                if not page["tasks"]:
                    raise WrongAnswer("an empty page")
                return {"cursor": page["nextCursor"]} if page.get("nextCursor") else {}

            seconds = settings.seconds / 2
            got = loadgen.repeated(server, "tasks/get", {"taskId": current}, seconds, check_get)
            listed = loadgen.repeated(server, "tasks/list", {}, seconds, check_page)
            figures = {
                "get_p50": percentile(got.latencies, 0.50) * 1e6,
                "get_p99": percentile(got.latencies, 0.99) * 1e6,
                "list_p50": percentile(listed.latencies, 0.50) * 1e6,
                "list_p99": percentile(listed.latencies, 0.99) * 1e6,
                "list_page": max(page_sizes),
            }
            return figures | expiry(server, settings, kept.task_ids)

    return cell


def iter_spread(items: list[str]):
    """Yield the items for ever, in an order that jumps about."""
    index = 0
    while True:
        yield items[index]
        index = (index + 7919) % len(items)


def expiry(server: Server, settings: Settings, kept: list[str]) -> dict[str, float]:
    """Let `doomed` tasks expire beside those kept, and charge the processor time to them."""
    trial = Lifecycles(server, 32, fetch=False)
    speed = trial.run(count=1000, limit=60).rate
    ttl_ms = int(settings.doomed / speed * 1500) + 2500
    doomed = Lifecycles(server, 32, ttl_ms=ttl_ms, fetch=False)
    began = time.perf_counter()
    doomed.run(count=settings.doomed, limit=120)
    made = time.perf_counter()
    if doomed.given_ttl_ms is None or doomed.given_ttl_ms > 2 * ttl_ms:
        raise WrongAnswer(f"asked for a ttl of {ttl_ms} ms, got {doomed.given_ttl_ms}")
    first_end = began + doomed.given_ttl_ms / 1e3
    last_end = made + doomed.given_ttl_ms / 1e3
    # While nothing expires: what do the pings and the retained tasks cost by themselves?
    control, _ = pings(server, max(0.5, min(1.5, first_end - time.perf_counter() - 0.2)))
    # From before the first end until a second after the last, and until the store was asked:
    # a store that cleans up only when it is asked pays here too.
    used, since = server.cpu(), time.perf_counter()
    _, longest = pings(server, last_end + 1.0 - since)
    expect_gone(server, doomed.task_ids)
    server.request("tasks/list")
    spent = server.cpu() - used - control * (time.perf_counter() - since)
    expect_finished(server, kept)
    if len(kept) <= 1000:
        left = list_all(server)
        if sorted(left) != sorted(kept + trial.task_ids):
            raise WrongAnswer(f"{len(left)} tasks are listed after the expiry")
    return {"expiry": spent / len(doomed.task_ids) * 1e6, "stall": longest * 1e3}


CELLS = {  # name -> what it runs, what a peer has to be able to do for it
    "calls1": (calls(1), SESSION),
    "calls32": (calls(32), SESSION),
    "life1": (lifecycles(1), TASKS),
    "life32": (lifecycles(32), TASKS),
    "stateless1": (calls(1, handshake=False), STATELESS),
    "stateless32": (calls(32, handshake=False), STATELESS),
    "polled1": (polled(1), POLLED),
    "polled32": (polled(32), POLLED),
    "big1": (big(1), SESSION),
    "big4": (big(4), SESSION),
    "start": (start, SESSION),
    "memory": (memory, TASKS),
}


# -- the run ---------------------------------------------------------------------------------


def all_peers(python: str) -> list[Peer]:
    servers = HERE / "servers"
    node = shutil.which("node") or "node"

    def on_python(name: str, title: str, script: str, *can: str) -> Peer:
        argv = [common.python_of(name), str(servers / script)]
        return Peer(name, title, [*argv, "stdio"] if name == "fastmcp414" else argv, frozenset(can))

    def on_node(name: str, title: str, script: str, *can: str) -> Peer:
        return Peer(name, title, [node, str(servers / script), str(PEERS_DIR / name)], frozenset(can))

    everything = frozenset((SESSION, TASKS, STATELESS, POLLED))
    return [
        Peer("ours", "mcp-tasks", [python, str(servers / "ours.py")], everything, common.with_repository()),
        on_python("mcp130", "mcp 1.30.0", "mcp130_server.py", SESSION, TASKS),
        on_python("mcp23", "mcp 2.3.0", "mcp23_server.py", SESSION, STATELESS),
        on_python("fastmcp414", "fastmcp 4.1.4", "fastmcp_work.py", POLLED),
        on_node("npm", "npm 1.32.2", "npm_server.mjs", SESSION, TASKS),
        on_node("npm24", "npm 2.4.0", "npm24_server.mjs", SESSION, STATELESS),
    ]


def trouble(peer: Peer) -> str | None:
    """Try one call of everything (which also warms the disk cache); say what fails."""
    try:
        if SESSION in peer.can:
            with peer.open() as server, time_limit(30):
                if missing := common.missing_tools(peer, server.request("tools/list")["tools"], (SESSION, TASKS)):
                    return missing
                Calls(server, 1)
                if TASKS in peer.can:
                    Lifecycles(server, 1).run(count=2, limit=20)
        if {STATELESS, POLLED} & peer.can:
            with peer.open(handshake=False) as server, time_limit(30):
                listed = server.request("tools/list", stateless({}))["tools"]
                if missing := common.missing_tools(peer, listed, (STATELESS, POLLED)):
                    return missing
                if STATELESS in peer.can:
                    Calls(server, 1, handshake=False)
                if POLLED in peer.can:
                    PolledLifecycles(server, 1).run(count=2, limit=20)
    except (PeerStopped, WrongAnswer, OSError) as error:
        return common.summary(error)
    return None


def ceiling(settings: Settings) -> dict[str, float]:
    """What the generator can drive: an echo in C, and a server that only splices bytes."""
    figures = {}
    for window in (1, 32):
        with Server(["cat"]) as server:
            load = Calls(server, window, echoed=True)
            figures[f"cat{window}_rate"] = load.run(settings.seconds).rate
    null = Peer("null", "null", [sys.executable, str(HERE / "servers" / "null_server.py")], frozenset())
    for name in CELLS:
        if name in ("start", "memory"):
            continue
        figures |= CELLS[name][0](null, settings)
    return figures


def cells_of(names: list[str], settings: Settings) -> list[Cell]:
    found = []
    for name in names:
        if name == "retention":  # only ours promises anything about many tasks
            for count in settings.retained:
                run = partial(at_count, count, settings)
                found.append(Cell(name, run, lambda peer: peer.name == "ours"))
        else:
            cell, needed = CELLS[name]
            found.append(
                Cell(
                    name,
                    lambda peer, cell=cell: cell(peer, settings),
                    lambda peer, needed=needed: needed in peer.can,
                )
            )
    return found


def at_count(count: int, settings: Settings, peer: Peer) -> dict[str, float]:
    return {f"{key}@{count}": value for key, value in retention(count)(peer, settings).items()}


# -- the table -------------------------------------------------------------------------------


def table(peers: list[Peer], values: dict, settings: Settings, top: dict, head: list[str]) -> str:
    lines = [*head, "", *common.value_table(FIGURES, peers, values)]
    if ratios := common.ratio_table(FIGURES, peers, values):
        lines += ["", *ratios]
    for name, found in values.items():
        if any("@" in key for key in found):
            counts = [f"{count:,} retained" for count in settings.retained]
            lines += ["", f"Retention, {name}:", ""]
            lines.append("| | unit | " + " | ".join(counts) + " |")
            lines.append("|---|---|" + "---:|" * len(counts))
            for figure in RETENTION_FIGURES:
                shown = [figure.show(found[f"{figure.key}@{count}"]) for count in settings.retained]
                lines.append(f"| {figure.title} | {figure.unit} | " + " | ".join(shown) + " |")
    if top:
        lines += [
            "",
            f"The generator's ceiling in the same run: {top['cat1_rate']:,.0f} calls/s one by one "
            f"and {top['cat32_rate']:,.0f} with 32 in flight against `cat`; against a Python "
            f"process that only splices bytes {top['calls1_rate']:,.0f} and "
            f"{top['calls32_rate']:,.0f} calls/s, {top['life1_rate']:,.0f} and "
            f"{top['life32_rate']:,.0f} life cycles/s, {top['stateless1_rate']:,.0f} and "
            f"{top['stateless32_rate']:,.0f} stateless calls/s, {top['polled1_rate']:,.0f} and "
            f"{top['polled32_rate']:,.0f} life cycles/s of the tasks extension, {top['big1_rate']:,.0f} and "
            f"{top['big4_rate']:,.0f} MB/s (1 and 4 in flight).",
        ]
    return "\n".join(lines)


PROFILED = {
    "calls32": lambda peer: Calls(peer, 32),
    "life32": lambda peer: Lifecycles(peer, 32),
    "stateless32": lambda peer: Calls(peer, 32, handshake=False),
    "polled32": lambda peer: PolledLifecycles(peer, 32),
}


def profiled(cell: str, seconds: float, peer: Peer) -> float:
    """Load the peer with 32 requests in flight, and let it end by itself so that it writes its profile."""
    server = peer.open(handshake=CELLS[cell][1] in (SESSION, TASKS))
    try:
        return PROFILED[cell](server).run(seconds).rate
    finally:
        server.close(patience=20)


def main() -> int:
    cells = [*CELLS, "retention"]
    parser = common.parser_for(__doc__, "ours, mcp130, mcp23, fastmcp414, npm, npm24", cells)
    options = parser.parse_args()

    settings = Settings()
    rounds = options.rounds
    if options.quick:
        rounds = 1
        settings = Settings(0.4, 0.2, 0.2, 1, 1_000, (100, 2_000), 2_000)
    if options.seconds:
        settings.seconds = options.seconds
    loadgen.WAIT = options.wait
    if options.one_core:  # children inherit it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    peers = all_peers(options.python)
    wanted, chosen = common.chosen(options, parser, peers, cells)
    if options.profile:
        peer = next(peer for peer in peers if peer.name == wanted[0])
        cell = common.profiled_cell(options, parser, PROFILED)
        common.print_profile(peer, partial(profiled, cell, settings.seconds))
        return 0

    present = common.present(peers, wanted, trouble)
    if not present:
        return 1
    top = ceiling(settings) if len(present) > 1 and chosen == cells else {}
    values = common.interleaved(present, cells_of(chosen, settings), rounds)
    warm_up = f"{settings.warm_up:g} s ({settings.call_warm_up:g} s for calls)"
    head = common.facts(present, rounds, settings.seconds, warm_up)
    text = table(present, values, settings, top, head)
    print(text)
    if options.write or (len(present) == len(peers) and chosen == cells and not options.quick):
        common.write_readme("table", text)
    if options.json:
        dump = {"facts": head, "settings": vars(settings), "ceiling": top, "values": values}
        Path(options.json).write_text(json.dumps(dump, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
