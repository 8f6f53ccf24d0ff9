"""Reports as files: JSON, which can be read again, and the other kinds, by the end of the file's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import cattrs

from .junit import junit
from .markdown import markdown
from .model import FORMAT, Report

__all__ = ["FORMATS", "ReportError", "dump_report", "load_report", "parse_report", "write_report"]


class ReportError(Exception):
    """A report cannot be read or written; the message says why."""


def dump_report(report: Report) -> dict[str, Any]:
    """A report as a JSON object, transcripts included."""
    found = attrs.asdict(report)
    return {"format": found.pop("format"), "ok": report.ok, "counts": dict(report.counts()), **found}


def parse_report(found: Any, source: str = "the report") -> Report:
    """A report from its JSON. Raises `ReportError`."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ReportError(f"{source} is no report of this suite, of the format {FORMAT}")
    try:
        return cattrs.structure(found, Report)
    except cattrs.BaseValidationError as error:
        raise ReportError(f"{source}: {'; '.join(cattrs.transform_error(error))}") from None


def load_report(path: Path) -> Report:
    """A report from a JSON file. Raises `ReportError`, OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is no JSON: {error}") from None
    return parse_report(found, str(path))


def _json(reports: Sequence[Report]) -> str:
    if len(reports) != 1:
        raise ReportError("a report in JSON is of one program")
    # Escaped, since a transcript may have half a surrogate pair in it.
    return json.dumps(dump_report(reports[0]), indent=1) + "\n"


def _page(reports: Sequence[Report]) -> str:
    from .page import page  # not before it is needed: jinja2 is of an extra

    return page(reports)


FORMATS: Mapping[str, Callable[[Sequence[Report]], str]] = {
    ".json": _json,
    ".xml": junit,
    ".md": markdown,
    ".html": _page,
}
"""The kinds of report there are, by the end of a file's name."""


def write_report(path: Path, *reports: Report) -> None:
    """Write the kind of report that the name of the file says. Raises `ReportError`, OSError."""
    if path.suffix not in FORMATS:
        raise ReportError(f"{path}: the name of a report ends in {', '.join(FORMATS)}")
    text = FORMATS[path.suffix](reports)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
