"""Which rows of the ledger have a check, and which have a mutant: ``python -m conformance.coverage``."""

from __future__ import annotations

import re
import sys
from importlib import resources

from .ledger import Row, load_ledger
from .mutants import all_mutants
from .scenario import all_scenarios

__all__ = ["checked", "gaps", "mutated", "watched"]

_ID = re.compile(r'"((?:T25|X26|C25|C26)-\d{3})"')


def watched() -> set[str]:
    """The requirements that the monitor has rules for."""
    found: set[str] = set()
    for file in resources.files("mcp_tasks.testing").iterdir():
        if file.name.startswith("_rules_") and file.name.endswith(".py"):
            found.update(_ID.findall(file.read_text(encoding="utf-8")))
    return found


def checked() -> set[tuple[str, str]]:
    """The requirements that a scenario says it judges, by leg."""
    return {(id, scenario.leg) for scenario in all_scenarios() for id in scenario.judges}


def mutated(rows: dict[str, Row]) -> set[tuple[str, str]]:
    """The requirements that a mutant breaks, by leg."""
    return {
        (mutant.id, leg)
        for mutant in all_mutants()
        if mutant.id in rows
        for leg in (mutant.legs or rows[mutant.id].legs)
    }


def gaps(rows: dict[str, Row]) -> tuple[list[str], list[str]]:
    """What is judged and has no check, and what has no mutant, each as ``ID@leg``."""
    have_rules, have_checks, have_mutants = watched(), checked(), mutated(rows)
    unchecked, unbroken = [], []
    for row in rows.values():
        for leg in row.legs:
            if row.judged_in(leg):
                if row.id not in have_rules and (row.id, leg) not in have_checks:
                    unchecked.append(f"{row.id}@{leg}")
                if (row.id, leg) not in have_mutants and row.level != "MAY":
                    unbroken.append(f"{row.id}@{leg}")
    return unchecked, unbroken


def main() -> int:
    """Print the gaps; returns 1 if there are any. Arguments narrow it to ids that begin so, such as ``T25``."""
    rows = load_ledger()
    wanted = tuple(sys.argv[1:])
    lists = gaps(rows)
    for title, found in zip(("without a check", "without a mutant"), lists, strict=True):
        shown = [one for one in found if not wanted or one.startswith(wanted)]
        print(f"{title}: {len(shown)}")
        for one in shown:
            row = rows[one.partition("@")[0]]
            print(f"  {one:16} {row.level:10} {row.role:10} {row.says}")
    return 1 if any(lists) else 0


if __name__ == "__main__":
    sys.exit(main())
