"""The ledger: one row for each requirement that the suite judges, and for each that it cannot, with the reason.

The rows are data, in the TOML files beside this module. An id is one of ours; the sentence is in our own words, and the
link leads to the page that says it. A row that cannot be judged from outside, in one leg or in any, stands under
``[unjudged]`` with the reason; all others have a check, which `tests/conformance/test_ledger.py` holds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import resources
from typing import Literal, TypeAlias

from attrs import frozen

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ERAS", "Leg", "Level", "Row", "era_of", "load_ledger"]

Leg: TypeAlias = Literal["server", "client"]
"""Which program is under test."""
Level: TypeAlias = Literal["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY"]

ERAS: Mapping[str, str] = {"T25": "2025-11-25", "C25": "2025-11-25", "X26": "2026-07-28", "C26": "2026-07-28"}
"""The revision that a requirement is of, by what its id begins with."""


def era_of(id: str) -> str:
    """The revision that a requirement is of."""
    return ERAS[id[:3]]


@frozen
class Row:
    """One requirement."""

    id: str
    level: Level
    role: str
    """Whose duty it is: ``server``, ``client``, ``receiver`` or ``requestor`` of a task, or ``both``."""
    legs: tuple[Leg, ...]
    """Which programs it can be judged of."""
    says: str
    link: str
    transports: tuple[str, ...] = ("stdio", "http")
    unjudged: Mapping[str, str] = {}
    """Why it is not judged from outside, by leg."""

    @property
    def era(self) -> str:
        """The revision it is of."""
        return era_of(self.id)

    def judged_in(self, leg: str) -> bool:
        """Whether there has to be a check for it in this leg."""
        return leg in self.legs and leg not in self.unjudged


def load_ledger() -> dict[str, Row]:
    """All rows, by id. Raises ValueError for a file that is not as it should be."""
    rows: dict[str, Row] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml"):
            continue
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        reasons: dict[str, dict[str, str]] = {}
        for key, why in found.get("unjudged", {}).items():
            id, _, leg = key.partition("@")
            reasons.setdefault(id, {}).update({leg: why} if leg else {"server": why, "client": why})
        for entry in found["rows"]:
            row = Row(
                **{
                    **entry,
                    "legs": tuple(entry["legs"]),
                    "transports": tuple(entry.get("transports", ("stdio", "http"))),
                    "unjudged": reasons.pop(entry["id"], {}),
                }
            )
            if row.id in rows:
                raise ValueError(f"{file.name}: {row.id} stands twice")
            rows[row.id] = row
        if reasons:
            raise ValueError(f"{file.name}: no row for {', '.join(sorted(reasons))}")
    return rows
