"""What the two benchmarks share: peers, figures, the interleaved run, and the tables.

`run.py` measures over stdio and `run_http.py` over HTTP.  Both call cells, functions that start a
process and return figures, in the same order and show them in the same form; what a cell does, and
how the wire looks, is theirs.
"""

import argparse
import os
import platform
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from child import PeerStopped
from loadgen import WrongAnswer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
README = HERE / "README.md"
PEERS_DIR = Path(os.environ.get("MCP_TASKS_PEERS") or ROOT / ".peers").expanduser()


@dataclass
class Program:
    """A program to measure; `can` has the names of what it is able to do."""

    name: str
    title: str
    argv: list[str]
    can: frozenset[str]
    env: dict[str, str] | None = None

    def runtime(self) -> str:
        """Ask its interpreter what it is, as `Python 3.11.7`."""
        said = subprocess.run([self.argv[0], "--version"], capture_output=True, text=True).stdout.strip()
        return said if said.startswith("Python") else f"Node.js {said}"


def python_of(environment: str) -> str:
    return str(PEERS_DIR / environment / "bin" / "python")


def with_repository() -> dict[str, str]:
    """The environment in which ours is imported from this repository, installed or not."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path}


@dataclass
class Figure:
    """A row of a table."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = False
    digits: int = 0

    def show(self, values: list[float]) -> str:
        middle, low, high = (f"{v:,.{self.digits}f}" for v in (statistics.median(values), min(values), max(values)))
        return middle if len(values) == 1 else f"{middle} ({low}..{high})"


@dataclass
class Cell:
    """`run(program)` returns figures; `fits(program)` says whether the program has what it takes."""

    name: str
    run: Callable[..., dict[str, float]]
    fits: Callable[..., bool]


# What programs can do, and the tools they need for it.
SESSION = "session"  # revision 2025-11-25, opened by a handshake
TASKS = "tasks"  # those of that revision
STATELESS = "stateless"  # revision 2026-07-28
ROUNDS = "rounds"  # questions in that revision: the request is made again with the answers
POLLED = "polled"  # the tasks extension
TOOLS = {SESSION: {"echo", "big"}, TASKS: {"job"}, STATELESS: {"echo"}, ROUNDS: {"ask"}, POLLED: {"work"}}


def missing_tools(program: Program, listed: Sequence[dict], abilities: Sequence[str]) -> str | None:
    """A complaint about tools that are not listed though they are needed for those of the abilities that it has."""
    needed = set().union(*(TOOLS[ability] for ability in abilities if ability in program.can))
    missing = sorted(needed - {tool["name"] for tool in listed})
    return f"has no tool {', '.join(missing)}" if missing else None


Values = dict[str, dict[str, list[float]]]  # program -> figure -> one value per round


def interleaved(programs: Sequence, cells: Sequence[Cell], rounds: int) -> Values:
    """For every round, for every cell, let each program take its turn; who goes first moves on by one."""
    values: Values = {program.name: {} for program in programs}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        for turn, cell in enumerate(cells):
            shift = (number + turn) % len(programs)
            for program in (*programs[shift:], *programs[:shift]):
                if cell.fits(program):
                    note(values[program.name], program, cell)
    return values


def note(found: dict[str, list[float]], program, cell: Cell) -> None:
    """Run one cell for one program and keep its figures; a wrong answer ends everything."""
    began = time.perf_counter()
    try:
        figures = cell.run(program)
    except (PeerStopped, WrongAnswer) as error:
        raise SystemExit(f"{program.title}, {cell.name}: {error}\n{notes_of(error)}") from error
    for key, value in figures.items():
        found.setdefault(key, []).append(value)
    shown = ", ".join(f"{key} {value:,.1f}" for key, value in figures.items())
    took = time.perf_counter() - began
    print(f"  {cell.name:<10} {program.title:<11} {shown}   [{took:.1f} s]", file=sys.stderr)


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", []))


def summary(error: BaseException) -> str:
    """One line about an error and the last thing its program complained of."""
    notes = notes_of(error).strip().splitlines()
    return f"{error}{'; ' + notes[-1] if notes else ''}"


def present(programs: Sequence, wanted: Sequence[str], trouble: Callable[..., str | None]) -> list:
    """The wanted programs without those that `trouble` says something about, which is printed."""
    found = []
    for program in programs:
        if program.name not in wanted:
            continue
        if reason := trouble(program):
            print(f"{program.title} is left out: {reason}", file=sys.stderr)
        else:
            found.append(program)
    if not found:
        print("nobody to measure; bench/install.py installs the others", file=sys.stderr)
    return found


# -- tables -----------------------------------------------------------------------------------


def facts(programs: Sequence, rounds: int, seconds: float, warm_up: str) -> list[str]:
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    runtimes = ", ".join(f"{program.title} on {program.runtime()}" for program in programs)
    usable, cores = len(os.sched_getaffinity(0)), os.cpu_count()
    limited = f" ({usable} used)" if usable != cores else ""
    return [
        f"{time.strftime('%Y-%m-%d')}; {platform.system()} on {platform.machine()}, {model}, "
        f"{cores} cores{limited}; generator on Python {platform.python_version()}; {runtimes}.",
        f"{rounds} round{'s' * (rounds != 1)}, {seconds:g} s a cell after {warm_up} of warm-up, "
        "interleaved. Median of the rounds (lowest..highest).",
    ]


def value_table(figures: Sequence[Figure], programs: Sequence, values: Values) -> list[str]:
    lines = ["| | unit | better | " + " | ".join(program.title for program in programs) + " |"]
    lines.append("|---|---|---|" + "---:|" * len(programs))
    for figure in figures:
        found = [values[program.name].get(figure.key) for program in programs]
        if not any(found):
            continue
        better = "more" if figure.higher_is_better else "less"
        shown = " | ".join(figure.show(value) if value else "-" for value in found)
        lines.append(f"| {figure.title} | {figure.unit} | {better} | {shown} |")
    return lines


def ratio_table(figures: Sequence[Figure], programs: Sequence, values: Values, rivals: Sequence[str] = ()) -> list[str]:
    """Ours divided by each other, round by round; with `rivals` also by the best of these in that round."""
    others = [program for program in programs if program.name != "ours"]
    if not others or "ours" not in values:
        return []
    heads = [f"/ {program.title}" for program in others] + ["/ best SDK"] * bool(rivals)
    lines = ["Ours divided by theirs, round by round:", "", "| | better | " + " | ".join(heads) + " |"]
    lines.append("|---|---|" + "---:|" * len(heads))
    ratio = Figure("", "", "", digits=2)
    for figure in figures:
        mine = values["ours"].get(figure.key)
        theirs = [values[program.name].get(figure.key) for program in others]
        if mine is None or not any(theirs):
            continue
        if rivals:
            pick = max if figure.higher_is_better else min
            field = [values[name][figure.key] for name in rivals if figure.key in values.get(name, ())]
            theirs.append([pick(their) for their in zip(*field, strict=True)])
        shown = []
        for their in theirs:
            pairs = list(zip(mine, their, strict=True)) if their else []
            shown.append(ratio.show([a / b for a, b in pairs if b > 0]) if pairs else "-")
        better = "above 1" if figure.higher_is_better else "below 1"
        lines.append(f"| {figure.title} | {better} | " + " | ".join(shown) + " |")
    return lines


def write_readme(section: str, text: str) -> None:
    """Put `text` between the marks of a section of README.md."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, _, rest = README.read_text().partition(begin)
    _, _, after = rest.partition(end)
    README.write_text(f"{before}{begin}\n{text}\n{end}{after}")


# -- the command line --------------------------------------------------------------------------


def parser_for(doc: str, programs: str, cells: Sequence[str]) -> argparse.ArgumentParser:
    """The options that both benchmarks have."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round, to see it works")
    parser.add_argument("--only", metavar="PEER,...", help=programs)
    parser.add_argument("--cells", metavar="CELL,...", help=", ".join(cells))
    parser.add_argument("--seconds", type=float, help="length of a timed cell")
    parser.add_argument("--wait", choices=("auto", "block", "spin"), default="auto",
                        help="how the generator waits for answers (see README.md)")  # fmt: skip
    parser.add_argument("--one-core", action="store_true", help="keep everything on one core")
    parser.add_argument("--python", default=sys.executable, help="the interpreter for ours")
    parser.add_argument("--json", metavar="FILE", help="also write every value here")
    parser.add_argument("--write", action="store_true", help="update README.md from a partial run")
    parser.add_argument("--profile", action="store_true",
                        help="profile ours (or --only) under calls32 (or --cells) instead")  # fmt: skip
    return parser


def chosen(options, parser, programs: Sequence, cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the programs and of the cells that the options ask for."""
    known = [program.name for program in programs]
    wanted = options.only.split(",") if options.only else known
    picked = options.cells.split(",") if options.cells else list(cells)
    if unknown := set(wanted) - set(known) | set(picked) - set(cells):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return wanted, picked


def profiled_cell(options, parser, known: Sequence[str]) -> str:
    """The cell whose load a program is profiled under."""
    cell = options.cells or "calls32"
    if cell not in known:
        parser.error(f"one of these can be profiled: {', '.join(known)}")
    return cell


def print_profile(program, drive: Callable[..., float]) -> None:
    """Have `drive(program)` load a Python program under cProfile and end it; print where the time goes."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "profile")
        rate = drive(replace(program, argv=[program.argv[0], "-m", "cProfile", "-o", out, *program.argv[1:]]))
        print(f"{program.title}: {rate:,.0f} a second under the profiler, 32 in flight")
        pstats.Stats(out).strip_dirs().sort_stats("tottime").print_stats(25)
