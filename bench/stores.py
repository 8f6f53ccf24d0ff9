"""What it costs to keep tasks: in memory, in a file, and in a file by the barest loop there is.

    python bench/stores.py               # 5 rounds, some minutes; writes the tables in README.md
    python bench/stores.py --quick       # to see that it works; writes nothing

A *create* is one record, acknowledged; a *lifecycle* is a create, a status message, a question, its answer, a result,
and a look at it. So many trio tasks do that at the same time. The bare loop inserts the same bytes, as many rows in a
transaction as there are tasks in flight, into one table with one key. Rounds take turns, so that whatever else the
machine does strikes them all; a ratio is of the same round.
"""

import argparse
import gc
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from attrs import evolve
from child import no_collection
from common import write_readme

from mcp_tasks import MemoryTaskStore, Principal, Question, Returned, SQLiteTaskStore, TaskRecord, TaskState, TaskStore
from mcp_tasks.tasks.kept import encode, keep_head

IN_FLIGHT = (1, 32, 256)
ADA = Principal("ada")
ORIGIN = {
    "revision": "2026-07-28",
    "side": "server",
    "params": {"name": "build", "arguments": {"target": "a boat", "parts": 3}, "_meta": {"traceparent": "0" * 55}},
    "capabilities": {"elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
}
QUESTION = Question("elicitation/create", {"message": "For whom?", "requestedSchema": {"type": "object"}})
RESULT = {"content": [{"type": "text", "text": "built a boat for Ada"}]}


def fresh() -> TaskRecord:
    return TaskRecord(
        id=os.urandom(16).hex(),
        principal=ADA,
        method="tools/call",
        created_at=1_760_000_000.0,
        updated_at=1_760_000_000.0,
        ttl_ms=3_600_000,
        poll_interval_ms=1000,
        origin=ORIGIN,
    )


async def create(store: TaskStore) -> None:
    await store.create(fresh())


async def lifecycle(store: TaskStore) -> None:
    record = fresh()
    await store.create(record)
    for edits in (
        {"message": "building"},
        {"state": TaskState.INPUT_REQUIRED, "questions": {"who": QUESTION}},
        {"state": TaskState.WORKING, "questions": {}, "answers": {"who": {"action": "accept"}}},
        {"state": TaskState.RETURNED, "outcome": Returned(RESULT)},
    ):
        record = evolve(record, version=record.version + 1, **edits)
        if not await store.replace(record):
            raise AssertionError("nobody else changes it")
    if await store.get(record.id) is None:
        raise AssertionError("it is there")


def rate(store: TaskStore, do: Callable[[TaskStore], Awaitable[None]], in_flight: int, seconds: float) -> float:
    """How often a second."""
    done = 0

    async def main() -> float:
        async def work() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await do(store)
                done += 1
                await trio.lowlevel.checkpoint()

        begin = time.perf_counter()
        end = begin + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                nursery.start_soon(work)
        return time.perf_counter() - begin

    with no_collection():
        took = trio.run(main)
    return done / took


def bare(folder: Path, in_flight: int, seconds: float) -> float:
    """Rows a second, so many in a transaction, with the durability of the store."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE tasks(id TEXT PRIMARY KEY, head BLOB, origin BLOB)")
    done, begin = 0, time.perf_counter()
    with no_collection():
        while time.perf_counter() < begin + seconds:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(in_flight):
                record = fresh()
                row = (record.id, encode(keep_head(record)), encode(record.origin))
                connection.execute("INSERT INTO tasks VALUES(?, ?, ?)", row)
            connection.execute("COMMIT")
            done += in_flight
    took = time.perf_counter() - begin
    connection.close()
    return done / took


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[TaskStore]:
    if kind == "memory":
        yield MemoryTaskStore()
        return
    with SQLiteTaskStore(folder / "tasks.db", key=bytes(32) if kind == "sealed" else None) as store:
        yield store


def compared(rounds: int, seconds: float) -> list[str]:
    """The table of creates and lifecycles."""
    found: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(rounds):
        for in_flight in IN_FLIGHT:
            for kind in ("bare", "memory", "file", "sealed"):
                for name, do in (("create", create), ("lifecycle", lifecycle)):
                    if kind == "bare" and name == "lifecycle":
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        if kind == "bare":
                            value = bare(Path(folder), in_flight, seconds)
                        else:
                            with opened(kind, Path(folder)) as store:
                                value = rate(store, do, in_flight, seconds)
                    found.setdefault((kind, name, in_flight), []).append(value)
    lines = [
        "| in flight | | bare loop | file | of the bare loop | encrypted | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for in_flight in IN_FLIGHT:
        floor = found["bare", "create", in_flight]
        for name in ("create", "lifecycle"):
            values = [found[kind, name, in_flight] for kind in ("file", "sealed", "memory")]
            of_it = [value / at for value, at in zip(values[0], floor, strict=True)]
            ratio = show(of_it, 2) if name == "create" else ""
            cells = [show(floor) if name == "create" else "", show(values[0]), ratio, show(values[1]), show(values[2])]
            lines.append(f"| {in_flight} | {name}s/s | " + " | ".join(cells) + " |")
    return lines


def show(values: list[float], digits: int = 0) -> str:
    middle, low, high = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def growing(most: int) -> list[str]:
    """The table of what it costs as retained tasks grow; each kind of store in a process of its own."""
    lines = [
        "| retained | store | create | get of a finished one | page of 100 | reopened in | memory | file |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("file", "memory"):
        command = [sys.executable, __file__, "--grow", kind, "--retained", str(most)]
        lines += subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return lines


def grow(kind: str, most: int) -> None:
    """Fill one store, step by step, and print what it costs at each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory = MemoryTaskStore() if kind == "memory" else None
        ids: list[str] = []
        for step in [step for step in (1_000, 10_000, 100_000, 1_000_000) if step <= most]:
            begin = time.perf_counter()
            with opened(kind, folder) if memory is None else nothing(memory) as store:
                reopened = time.perf_counter() - begin
                trio.run(fill, store, ids, step)
                gc.collect()
                times = [trio.run(timed, store, ids) for _ in range(3)]
                size = sum(file.stat().st_size for file in folder.iterdir())
                cells = [f"{1e6 * statistics.median(one):,.0f} µs" for one in zip(*times, strict=True)]
                of_file = f"{size / 2**20:,.0f} MiB" if memory is None else ""
                again = f"{1e3 * reopened:.0f} ms" if memory is None else ""
                held = f"{resident() / 2**20:,.0f} MiB"
                print(f"| {step:,} | {kind} | " + " | ".join([*cells, again, held, of_file]) + " |", flush=True)


@contextmanager
def nothing(store: TaskStore) -> Iterator[TaskStore]:
    yield store


def resident() -> int:
    """Bytes that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def fill(store: TaskStore, ids: list[str], count: int) -> None:
    async def more() -> None:
        while len(ids) < count:
            record = fresh()
            ids.append(record.id)
            await store.create(record)
            done = evolve(record, version=1, state=TaskState.RETURNED, outcome=Returned(RESULT))
            await store.replace(done)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for _ in range(256):
            nursery.start_soon(more)


async def timed(store: TaskStore, ids: list[str]) -> tuple[float, float, float]:
    """Seconds of one create, one get and one page, one after the other; of what was created nothing stays."""
    created = [fresh() for _ in range(300)]
    begin = time.perf_counter()
    for record in created:
        await store.create(record)
    creating = (time.perf_counter() - begin) / len(created)
    await store.remove(*(record.id for record in created))
    picked = [ids[number * 7919 % len(ids)] for number in range(1000)]
    begin = time.perf_counter()
    for id in picked:
        await store.get(id)
    getting = (time.perf_counter() - begin) / len(picked)
    begin, after = time.perf_counter(), 0
    for _ in range(20):
        page = await store.page(ADA, after, 100)
        after = page[-1][0] if page else 0
    return creating, getting, (time.perf_counter() - begin) / 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--retained", type=int, default=1_000_000, help="how many tasks to grow to")
    parser.add_argument("--grow", choices=("file", "memory"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.grow:
        grow(given.grow, given.retained)
        return
    if given.quick:
        given.rounds, given.seconds, given.retained = 1, 0.2, 1_000
    table = compared(given.rounds, given.seconds)
    print("\n".join(table))
    growth = growing(given.retained)
    print("\n".join(growth))
    if not given.quick:
        on = f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
        of = f"{given.rounds} rounds of {given.seconds:g} s: the middle, and from the least to the most."
        write_readme("stores", f"{on}, {of}\n\n" + "\n".join(table))
        write_readme("retained", "\n".join(growth))


if __name__ == "__main__":
    main()
