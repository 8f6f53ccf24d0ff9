"""A baseline: what is known to fail of a program, so that the suite can be run at every change before all is well.

It is TOML, with a reason for each. A requirement stands for every transport, or for the one after ``@``:

    [failures]
    "T25-066" = "tasks are kept for ever; issue 12"
    "C26-041@http" = { why = "depends on who is first; issue 15", flaky = true }

A failure that is not in it fails the run, and so does an entry that no longer fails, or a baseline would only ever
grow. What is ``flaky`` may do either.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from .ledger import Row
from .report import Report

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Baseline", "BaselineError", "Entry", "load_baseline", "parse_baseline", "write_baseline"]

TRANSPORTS = ("stdio", "http")


class BaselineError(Exception):
    """A baseline is not as it should be; the message says where."""


@frozen
class Entry:
    """A failure that is known."""

    key: str
    why: str
    flaky: bool = False

    def covers(self, id: str, transport: str) -> bool:
        """Whether it is about this requirement over this transport."""
        of, _, over = self.key.partition("@")
        return of == id and over in ("", transport)


@frozen
class Baseline:
    """All that is known to fail."""

    entries: Mapping[str, Entry]

    def find(self, id: str, transport: str) -> Entry | None:
        """The entry for a requirement; one for the very transport goes before one for all."""
        return self.entries.get(f"{id}@{transport}") or self.entries.get(id)

    def applied(self, report: Report) -> Report:
        """The report with what is known marked, and what should have failed and did not."""
        results = []
        used: set[str] = set()
        for one in report.results:
            entry = self.find(one.id, one.transport) if one.fails else None
            if entry is not None:
                used.add(entry.key)
                one = evolve(one, known=entry.why)
            results.append(one)
        return evolve(report, results=results, stale=[key for key in self._stale(report) if key not in used])

    def _stale(self, report: Report) -> list[str]:
        # Nothing is known of what was not played. A requirement that should fail and is not even among the results
        # has no place in a run of everything.
        found = []
        for entry in self.entries.values():
            if entry.flaky:
                continue
            transport = entry.key.partition("@")[2]
            if transport and transport not in report.transports:
                continue
            looked_at = any(entry.covers(one.id, one.transport) for one in report.results)
            if looked_at or (report.whole and _of(entry, report)):
                found.append(entry.key)
        return found


def _of(entry: Entry, report: Report) -> bool:
    # One file may be for both eras, of which a run may be of one.
    from .ledger import era_of

    return era_of(entry.key) in report.eras


def parse_baseline(text: str, rows: Mapping[str, Row], source: str = "baseline") -> Baseline:
    """A baseline from TOML. Raises `BaselineError`, for a requirement that does not exist too."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BaselineError(f"{source}: {error}") from None
    failures = found.pop("failures", {})
    if found or not isinstance(failures, dict):
        raise BaselineError(f"{source}: there is a table [failures] in a baseline, and nothing else")
    return Baseline({key: _entry(key, value, rows, source) for key, value in failures.items()})


def _entry(key: str, value: Any, rows: Mapping[str, Row], source: str) -> Entry:
    where = f"{source}: failures.{json.dumps(key)}"
    id, at, transport = key.partition("@")
    if id not in rows:
        raise BaselineError(f"{where}: there is no requirement {id}")
    if at and transport not in TRANSPORTS:
        raise BaselineError(f"{where}: after @ comes {' or '.join(TRANSPORTS)}")
    if isinstance(value, str):
        value = {"why": value}
    if not isinstance(value, dict) or value.keys() - {"why", "flaky"} or not isinstance(value.get("why"), str):
        raise BaselineError(f"{where}: expected a reason, or a table with `why` and perhaps `flaky`")
    if not value["why"].strip():
        raise BaselineError(f"{where}: there is no reason")
    if not isinstance(value.get("flaky", False), bool):
        raise BaselineError(f"{where}.flaky: expected true or false")
    return Entry(key, value["why"], value.get("flaky", False))


def load_baseline(path: Path, rows: Mapping[str, Row]) -> Baseline:
    """A baseline from a file. Raises `BaselineError`, OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BaselineError(f"{path}: not UTF-8: {error.reason}") from None
    return parse_baseline(text, rows, str(path))


def write_baseline(report: Report, old: Baseline | None = None) -> str:
    """A baseline of what fails in a report, as TOML. Reasons that an old one gives are kept."""
    lines = [
        f"# What is known to fail of {' '.join(report.title.split())}, as a {report.leg}. Give the reason for each.",
        "",
        "[failures]",
    ]
    for key, entry in sorted(_entries(report, old).items()):
        value = _string(entry.why)
        if entry.flaky:
            value = f"{{ why = {value}, flaky = true }}"
        lines.append(f"{_string(key)} = {value}")
    return "\n".join(lines) + "\n"


def _entries(report: Report, old: Baseline | None) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for one in report.results:
        if one.fails:
            entry = None if old is None else old.find(one.id, one.transport)
            if entry is None:
                entry = Entry(one.key, f"not looked into yet: {one.why}", one.verdict == "flaky")
            found[entry.key] = entry
    if old is not None:
        # What this run says nothing of stays, and so does what fails only now and then.
        stale = set(old.applied(report).stale)
        for key, entry in old.entries.items():
            if key not in stale:
                found.setdefault(key, entry)
    return found


def _string(text: str) -> str:
    escaped = json.dumps(" ".join(text.split()), ensure_ascii=False)
    return escaped.replace("\x7f", "\\u007f").encode("utf-8", "replace").decode()
