"""The file: how a transcript is written while it grows, what is left out of it, and how it is read.

The first line is an object with ``transcript`` (the format's version), ``transport`` and ``by``. Every other line is
one frame: ``at`` (seconds since the beginning), ``from`` (``client`` or ``server``), and what the frame has of
``channel`` (one HTTP exchange), ``verb``, ``status``, ``headers``, ``event`` (what happened where there was no
message), ``message`` (the JSON value) and ``raw`` (bytes that were no JSON, as Latin-1). A file that was cut off is
good up to there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import define, field, frozen

from .._unset import JSON
from .._version import __version__
from ..errors import MCPError
from ..testing import Frame, dump_frame, parse_frame

__all__ = ["Redaction", "Transcript", "TranscriptError", "TranscriptWriter", "load_transcript", "parse_transcript"]

FORMAT = 1
HIDDEN = "[redacted]"
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"})
_SECRET_NAMES = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|api[-_]?key|private[-_]?key|credential|authorization|bearer"
    r"|(access|refresh|id|auth|session)[-_]?token)\Z"
)
_SECRET_VALUES = re.compile(
    r"(?i)\bbearer\s+[\w.~+/-]{8,}=*|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|\b(sk|ghp|gho|xox[abp])[-_][\w-]{16,}"
)


class TranscriptError(MCPError):
    """A file is no transcript; the message says in which line."""


@frozen
class Redaction:
    """What is left out of a transcript: secret headers, members with telling names, and whatever looks like a token.

    `more` are expressions besides: what they find in a string is left out. `names` and `values` switch the usual off.
    """

    more: Sequence[re.Pattern[str]] = ()
    names: bool = True
    values: bool = True

    def frame(self, frame: Frame) -> Frame:
        """The same frame without its secrets."""
        headers = {
            name: HIDDEN if self.names and name.lower() in _SECRET_HEADERS else self._text(value)
            for name, value in frame.headers.items()
        }
        raw = self._text(frame.raw.decode("latin-1")).encode("latin-1", "replace") if frame.raw else frame.raw
        return Frame(
            frame.sender,
            self.value(frame.message),
            frame.channel,
            frame.event,
            frame.status,
            frame.verb,
            headers,
            frame.event_id,
            raw,
            frame.at,
        )

    def value(self, value: JSON) -> JSON:
        """The same JSON value without its secrets."""
        if isinstance(value, dict):
            return {
                name: HIDDEN if self._secret(name) and isinstance(part, str) else self.value(part)
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self._text(value) if isinstance(value, str) else value

    def _secret(self, name: str) -> bool:
        return self.names and _SECRET_NAMES.search(name) is not None

    def _text(self, text: str) -> str:
        for expression in (*([_SECRET_VALUES] if self.values else []), *self.more):
            text = expression.sub(HIDDEN, text)
        return text


class TranscriptWriter:
    """Writes a transcript while it grows: each frame is in the file when `write` returns."""

    def __init__(self, file: IO[str], transport: str, redaction: Redaction | None = None) -> None:
        self._file = file
        self._redaction = Redaction() if redaction is None else redaction
        self._put({"transcript": FORMAT, "transport": transport, "by": f"mcp-tasks {__version__}"})

    def write(self, frame: Frame) -> None:
        """Add a frame."""
        self._put(dump_frame(self._redaction.frame(frame)))

    def _put(self, value: Any) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()


@define
class Transcript:
    """What was said on one connection."""

    frames: list[Frame] = field(factory=list)
    transport: str = "stdio"

    def text(self) -> str:
        """The file."""
        head = {"transcript": FORMAT, "transport": self.transport, "by": f"mcp-tasks {__version__}"}
        lines = [head, *(dump_frame(frame) for frame in self.frames)]
        return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)

    def messages(self) -> list[Frame]:
        """The frames that have a message, or bytes that were none."""
        return [frame for frame in self.frames if isinstance(frame.message, dict) or frame.raw]

    def without(self, frames: Iterable[Frame]) -> Transcript:
        """The same without some frames."""
        gone = {id(frame) for frame in frames}
        return Transcript([frame for frame in self.frames if id(frame) not in gone], self.transport)


def parse_transcript(text: str, source: str = "transcript") -> Transcript:
    """A transcript from its text. Raises `TranscriptError`; a last line that was cut off is left out."""
    lines = text.split("\n")
    if lines and lines[-1]:
        lines.pop()
    try:
        head = json.loads(lines[0]) if lines else None
    except ValueError:
        head = None
    if not isinstance(head, dict) or "transcript" not in head:
        raise TranscriptError(f"{source}: the first line is not the head of a transcript")
    if head["transcript"] != FORMAT:
        raise TranscriptError(f"{source}: format {head['transcript']} is not known, only {FORMAT} is")
    found = Transcript(transport=str(head.get("transport", "stdio")))
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            found.frames.append(parse_frame(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TranscriptError(f"{source}, line {number}: no frame: {type(error).__name__}: {error}") from None
    return found


def load_transcript(path: Path) -> Transcript:
    """A transcript from a file. Raises `TranscriptError`, OSError."""
    return parse_transcript(path.read_text(encoding="utf-8"), str(path))
