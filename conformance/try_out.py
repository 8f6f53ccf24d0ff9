"""Hold the suite against ourselves, quickly: ``python -m conformance.try_out [--mutants] [--leg L] [PATTERN...]``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from functools import partial

import trio
from trio.testing import MockClock

from .fixtures import errands, healthy
from .ledger import Leg, load_ledger
from .mutants import all_mutants
from .mutation import TOKENS, fates_of, hunt, subject_of
from .runner import play_all
from .scenario import Scenario, all_scenarios
from .verdicts import Play, Verdict, verdicts_of


def _run(leg: Leg, transport: str, scenarios: list[Scenario], *, principals: bool = False) -> list[Play]:
    profile = healthy.PROFILE if leg == "server" else errands.PROFILE
    clock = MockClock(autojump_threshold=0) if transport == "stdio" else None
    run = partial(play_all, leg=leg, eras=["2025-11-25", "2026-07-28"])
    if principals:
        run = partial(run, tokens=TOKENS)
        scenarios = [scenario for scenario in scenarios if scenario.principals]
    subject = subject_of(leg, transport, principals=principals)
    return trio.run(run, subject, scenarios, profile, clock=clock)


def main() -> int:
    """Play; returns 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leg", choices=["server", "client"])
    parser.add_argument("--mutants", action="store_true", help="hunt mutants whose id begins with a pattern")
    parser.add_argument("--frames", action="store_true", help="show what was said in plays that found something")
    parser.add_argument("patterns", nargs="*", help="scenarios whose name, or requirements whose id, begins so")
    options = parser.parse_args()
    rows, scenarios, bad = load_ledger(), all_scenarios(), 0
    patterns = tuple(options.patterns)
    legs: list[Leg] = [options.leg] if options.leg else ["server", "client"]
    if options.mutants:
        noticed: Counter[tuple[str, bool]] = Counter()
        for mutant in all_mutants():
            for leg in fates_of(mutant, rows):
                if leg in legs and (not patterns or mutant.id.startswith(patterns)):
                    clock = MockClock(autojump_threshold=0) if mutant.transport == "stdio" else None
                    kill = trio.run(hunt, mutant, leg, rows[mutant.id], scenarios, clock=clock)
                    bad += kill.by is None
                    noticed[rows[mutant.id].level.split()[0], kill.by is not None] += 1
                    print(f"{mutant.id} {leg}: {kill.by or 'SURVIVES'} {mutant.note} {' '.join(kill.others)}")
        for level in ("MUST", "SHOULD", "MAY"):
            if total := noticed[level, True] + noticed[level, False]:
                share = 100 * noticed[level, True] / total
                print(f"{level}: {noticed[level, True]} of {total} mutants noticed, {share:.4g} %")
        return 1 if bad else 0
    chosen = [
        one
        for one in scenarios
        if not patterns or one.name.startswith(patterns) or any(id.startswith(patterns) for id in one.judges)
    ]
    for leg in legs:
        for transport in ("stdio", "http"):
            plays = _run(leg, transport, chosen)
            if (leg, transport) == ("server", "http"):
                plays += _run(leg, transport, chosen, principals=True)
            results = verdicts_of(rows, leg, plays)
            print(leg, transport, dict(Counter(result.verdict.value for result in results)))
            for play in plays:
                if play.trouble:
                    print(f"  {play.name}: {play.trouble}")
                    bad += 1
            for result in results:
                if result.verdict in (Verdict.FAIL, Verdict.WARN, Verdict.FLAKY):
                    bad += 1
                    print(f"  {result.verdict.value} {result.row.id}: {result.row.says}")
                    for play, finding in result.findings[:3]:
                        print(f"      {play.name}: {finding.expected}\n        {finding.frame}")
                        for frame in play.frames if options.frames else ():
                            print(f"          {frame}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
