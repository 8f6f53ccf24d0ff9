"""Reports: what a run found, as plain data, and what each kind of report makes of it.

A `Report` is of one program in one leg, over one transport or more. It holds frames as a transcript has them, so it can
be written as JSON and read again, by whoever wants another kind of report later, or several programs on one page. The
modules beside this one each write one kind: ``terminal``, ``markdown``, ``junit`` and ``page``.
"""

from .files import FORMATS, ReportError, load_report, write_report
from .model import Apart, Found, Judged, Played, Report, area_of, called, excerpt, make_report, plain

__all__ = [
    "FORMATS",
    "Apart",
    "Found",
    "Judged",
    "Played",
    "Report",
    "ReportError",
    "area_of",
    "called",
    "excerpt",
    "load_report",
    "make_report",
    "plain",
    "write_report",
]
