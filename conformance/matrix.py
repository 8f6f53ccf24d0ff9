"""Run the suite against every peer that there is, and write down what came of it.

``python -m conformance.matrix [--peer NAME] [--leg LEG] [--quick]`` plays everything, over each transport and in each
revision that a peer has. Each peer's report is kept as JSON below ``.peers/matrix``; from all that are there it makes
RESULTS.md and, if it can, a page in HTML. So one peer can be run again without the others.

What a peer does not keep is explained in peers/findings.toml. The run ends with 0 only if all is as it says there: what
is new, and what is no longer so, is told.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import trio
from attrs import define

from mcp_tasks import __version__

from .install import peers as installer
from .ledger import Leg, load_ledger
from .peers import HERE, ClientSide, PeerProgram, ServerSide, all_peers, profile_of
from .peers.launching import launched
from .peers.results import load_findings, unexplained, write_results
from .report.files import ReportError, load_report, write_report
from .report.model import Report, make_report
from .runner import play_all
from .scenario import Scenario, all_scenarios
from .subjects import ClientProgram, ClientSubject, Command, ServerSubject
from .verdicts import Play

__all__ = ["main", "run_peer"]

FINDINGS = HERE / "findings.toml"
RESULTS = HERE.parent / "RESULTS.md"
LEGS: tuple[Leg, ...] = ("server", "client")
ROWS = load_ledger()


@define
class Options:
    """What of it is to be played."""

    transports: tuple[str, ...] = ("stdio", "http")
    jobs: int = 2
    patience: float = 10.0


@asynccontextmanager
async def _subject(side: ServerSide | ClientSide, transport: str) -> AsyncIterator[ServerSubject | ClientSubject]:
    if isinstance(side, ClientSide):
        yield ClientProgram(side.command, transport)
    elif transport == "stdio":
        yield Command(side.command(transport))
    else:
        async with launched(side.command(transport), fresh=side.fresh) as subject:
            yield subject


def _tell(play: Play) -> None:
    wrong = sorted(
        {finding.id for finding in play.findings if finding.kept is False and ROWS[finding.id].level != "MAY"}
    )
    print(f"    {play.seconds:5.1f} s  {play.name}  {' '.join(wrong)}", file=sys.stderr, flush=True)


async def run_peer(peer: PeerProgram, leg: Leg, scenarios: Sequence[Scenario], options: Options) -> Report | None:
    """Play one leg of one peer; None if it has no such side. Raises OSError if it cannot be started."""
    sides: Sequence[ServerSide | ClientSide] = peer.servers if leg == "server" else peer.clients
    plays: list[Play] = []
    for side in sides:
        for transport in side.transports:
            if transport not in options.transports:
                continue
            print(f"  {peer.name}, {leg}, {transport}, {' and '.join(side.eras)}", file=sys.stderr, flush=True)
            async with _subject(side, transport) as subject:
                plays += await play_all(
                    subject,
                    scenarios,
                    profile_of(side),
                    leg=leg,
                    eras=side.eras,
                    jobs=options.jobs,
                    patience=options.patience,
                    tell=_tell,
                )
    if not plays:
        return None
    eras = sorted({era for side in sides for era in side.eras})
    profile = ", ".join(dict.fromkeys(profile_of(side).name for side in sides))
    return make_report(peer.name, leg, eras, profile, plays, ROWS, scenarios, suite=__version__)


def main() -> int:
    """Run, and write; returns 1 if anything is not as the findings say."""
    parser = argparse.ArgumentParser(prog="python -m conformance.matrix")
    parser.add_argument("--peer", action="append", help="only this one, which may be given more than once")
    parser.add_argument("--leg", choices=LEGS, help="only as a server, or as a client")
    parser.add_argument("--quick", action="store_true", help="over stdio alone, and nothing is written")
    parser.add_argument("--jobs", type=int, default=2, help="how many scenarios are played at once")
    parser.add_argument("--patience", type=float, default=10.0, help="how long an answer may take (s)")
    parser.add_argument("--only", nargs="+", default=[], help="scenarios whose name begins so; nothing is written")
    parser.add_argument("--frames", action="store_true", help="show the transcript of what is not explained")
    parser.add_argument("--show", action="store_true", help="play nothing, write the results of earlier runs anew")
    options = parser.parse_args()
    try:
        sdks = installer()
        sdks.ensure()
    except FileNotFoundError:
        parser.error("this works in a checkout alone: the peers are in its tests")
    peers = all_peers(sdks)
    names = [peer.name for peer in peers]
    if unknown := set(options.peer or ()) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [] if options.show else [peer for peer in peers if not options.peer or peer.name in options.peer]
    legs = [options.leg] if options.leg else LEGS
    partly = bool(options.quick or options.only)
    scenarios = [one for one in all_scenarios() if not options.only or one.name.startswith(tuple(options.only))]
    how = Options(("stdio",) if options.quick else ("stdio", "http"), options.jobs, options.patience)
    made: list[Report] = []
    broken: list[str] = []
    for peer in chosen:
        for leg in legs:
            try:
                report = trio.run(partial(run_peer, peer, leg, scenarios, how))
            except Exception:  # it cannot be started, or a scenario is at fault: the others are played all the same
                traceback.print_exc()
                broken.append(f"{peer.name} ({leg})")
                continue
            if report is not None:
                made.append(report)
                _summary(report)
                if not partly:
                    write_report(_kept(sdks, peer.name, leg), report)
    if not partly:
        made = _write(sdks, peers)
    for name in broken:
        print(f"not played to the end: {name}")
    return max(_judge(made, whole=not partly, frames=options.frames), int(bool(broken)))


def _write(sdks: ModuleType, peers: Sequence[PeerProgram]) -> list[Report]:
    """Write the results of all runs that are there, and return their reports."""
    reports = []
    for peer in peers:
        for leg in LEGS:
            path = _kept(sdks, peer.name, leg)
            if path.exists():
                reports.append(load_report(path))
    RESULTS.write_text(write_results(reports, peers, load_findings(FINDINGS)), encoding="utf-8")
    print(f"{RESULTS.name} is written")
    page = sdks.peers_dir() / "matrix" / "matrix.html"
    try:
        write_report(page, *reports)
    except (ImportError, ReportError) as reason:
        print(f"there is no page: {reason}")
    else:
        print(f"the page is {page}")
    return reports


def _kept(sdks: ModuleType, name: str, leg: str) -> Path:
    path: Path = sdks.peers_dir() / "matrix" / f"{name}.{leg}.json"
    return path


def _summary(report: Report) -> None:
    print(f"{report.subject}, {report.leg}: {', '.join(f'{n} {name}' for name, n in report.counts().most_common())}")


def _judge(reports: Sequence[Report], *, whole: bool, frames: bool) -> int:
    fresh, stale = unexplained(reports, load_findings(FINDINGS), whole=whole, frames=frames)
    for line in fresh:
        print(f"not explained: {line}")
    for line in stale:
        print(f"explained, but not so: {line}")
    return 1 if fresh or stale else 0


if __name__ == "__main__":
    sys.exit(main())
