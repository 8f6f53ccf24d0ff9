"""The file: how a transcript is written while it grows, what is left out of it, and how it is read.

The first line is an object with ``transcript`` (the format's version), ``transport`` and ``by``. Every other line is
one frame: ``at`` (seconds since the beginning), ``from`` (``client`` or ``server``), and what the frame has of
``channel`` (one HTTP exchange), ``verb``, ``status``, ``headers``, ``event`` (what happened where there was no
message), ``event_id`` (of the server-sent event), ``message`` (the JSON value) and ``raw`` (bytes that were no JSON, as
Latin-1). A file that was cut off is good up to there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

from attrs import define, field, frozen

from .._unset import JSON, JSONObject
from .._version import __version__
from ..errors import MCPError
from ..testing import Frame, dump_frame, parse_frame
from ._matching import NAMES

__all__ = ["Redaction", "Transcript", "TranscriptError", "TranscriptWriter", "load_transcript", "parse_transcript"]

FORMAT = 1
HIDDEN = "[redacted]"

# What a name is made of, as in "X-Api-Key", "AWS_SECRET_ACCESS_KEY" or "bearerToken".
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# The same in words, wherever they stand or at the end: a `token_endpoint` is no secret, and `max_tokens` is a number.
_SECRET_NAME = re.compile(
    r"(^|_)(password|passwd|passphrase|passcode|pwd|secrets?|jwt|cookies?|(api|private|access|auth|signing)_?keys?)(_|$)"
    r"|(^|_)(pass|token|(access|refresh|id|auth|api|bearer|session)_tokens|credentials?|authori[sz]ation|authentication"
    r"|bearer|(api|private|auth|access|refresh|csrf|bearer|session)(key|token))$"
)
_SESSION = re.compile(r"(^|_)session_?id$")
_MAX_NAME = 128
_KEYED = frozenset({"inputRequests", "inputResponses"})  # whose names are those of questions
_SCHEMAS = frozenset({"inputSchema", "outputSchema", "requestedSchema", "properties", "patternProperties", "$defs"})
_PROTOCOL = NAMES | {"taskIds"}

_PRIVATE_KEY = "PRIVATE KEY-----"
_SECRET_VALUES = re.compile(
    r"(?i:\bbearer)\s+[\w.~+/-]{8,}=*"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|\b(sk|xox[abeprs])[-_][\w-]{16,}|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"
    rf"|-----BEGIN [A-Z ]*{_PRIVATE_KEY}(?s:.*?-----END [A-Z ]*{_PRIVATE_KEY}|.*)"
    r"|(?<=://)[^\s/?#@:\"'<>]*:[^\s/?#@\"'<>]+(?=@)|(?<=://)[\w.~+-]{16,}(?=@)"
)
_BASIC = re.compile(r"(?i)\bbasic\s+([a-z0-9+/]{4,}={0,2})")
# In text and in bytes that are no JSON: `name=`, `"name": ` and what may follow, with as many backslashes as it takes.
_PAIR = re.compile(rf"""(?<![\w.-])([\w.-]{{1,{_MAX_NAME}}})(?:\\*["']\s*:\s*|\\*["']?=)""")
_PAIRED = re.compile(
    r"""(?s)(?P<open>(?P<escape>\\*)(?P<quote>["'])).*?(?<!\\)(?P<close>(?P=escape)(?P=quote))"""
    r"""|\\*["'].*|\[[^\]]{0,1000}\]|\{[^}]{0,1000}\}|[^\s&;,"'<>(){}\[\]\\]+"""
)


def _is_secret(name: str) -> bool:
    return len(name) <= _MAX_NAME and name not in _PROTOCOL and _sounds_secret(name)


@lru_cache(maxsize=1024)
def _sounds_secret(name: str) -> bool:
    return _SECRET_NAME.search(_in_words(name)) is not None


def _in_words(name: str) -> str:
    return "_".join(_WORDS.findall(name)).lower()


def _without_basic(match: re.Match[str]) -> str:
    try:
        found = b":" in base64.b64decode(match[1])
    except ValueError:
        found = False  # "basic knowledge"
    return HIDDEN if found else match[0]


def _without_pairs(text: str) -> str:
    pieces, at = [], 0
    for pair in _PAIR.finditer(text):
        if pair.start() >= at and _is_secret(pair[1]) and (value := _PAIRED.match(text, pair.end())):
            pieces += [text[at : pair.end()], value["open"] or "", HIDDEN, value["close"] or ""]
            at = value.end()
    return "".join([*pieces, text[at:]])


class TranscriptError(MCPError):
    """A file is no transcript; the message says in which line."""


@frozen
class Redaction:
    """What is left out of a transcript: headers and members with telling names, and whatever looks like a token.

    What the protocol makes anew each time (cursors, ids, ``requestState``) stays whole, since a replay needs it; so do
    schemas, whose members name things. `more` are expressions besides: what they find in any string is left out.
    `names` and `values` switch the usual off.
    """

    more: Sequence[re.Pattern[str]] = ()
    names: bool = True
    values: bool = True

    def frame(self, frame: Frame) -> Frame:
        """The same frame without its secrets. Raises RecursionError for a message that is nested too deeply."""
        raw = self.text(frame.raw.decode("latin-1")).encode("latin-1", "replace") if frame.raw else frame.raw
        return Frame(
            frame.sender,
            self.message(frame.message),
            frame.channel,
            frame.event,
            frame.status,
            frame.verb,
            self._headers(frame),
            frame.event_id,
            raw,
            frame.at,
        )

    def message(self, message: JSON) -> JSON:
        """The same message without its secrets; its id is none."""
        found = self.value(message)
        if isinstance(found, dict) and isinstance(message.get("id"), str):
            found["id"] = self._asked(message["id"])
        return found

    def value(self, value: JSON) -> JSON:
        """The same JSON value without its secrets."""
        return self._value(value, False)

    def text(self, text: str) -> str:
        """The same text without its secrets."""
        if self.values:
            text = _BASIC.sub(_without_basic, _SECRET_VALUES.sub(HIDDEN, text))
        if self.names:
            text = _without_pairs(text)
        return str(self._asked(text))

    def _headers(self, frame: Frame) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in frame.headers.items():
            plain = name.lower()
            if self.names and (_is_secret(plain.removeprefix("mcp-param-")) or _SESSION.search(_in_words(plain))):
                found[name] = HIDDEN
            elif plain == "mcp-name" and (frame.method or "").startswith("tasks/"):
                found[name] = str(self._asked(value))  # the id of a task
            else:
                found[name] = self.text(value)
        return found

    def _value(self, value: JSON, schema: bool) -> JSON:
        if isinstance(value, dict):
            return self._object(value, schema)
        if isinstance(value, list):
            return [self._value(part, schema) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def _object(self, value: JSONObject, schema: bool) -> JSONObject:
        found: JSONObject = {}
        labelled = isinstance(label := value.get("name"), str) and self._secret(label)  # {"name": ..., "value": ...}
        for name, part in value.items():
            nested = isinstance(part, (dict, list))
            if name in _PROTOCOL and (not nested or name == "taskIds"):
                found[name] = self._asked(part)
            elif name in _KEYED and isinstance(part, dict):
                found[name] = {key: self._question(key, question) for key, question in part.items()}
            elif (self._secret(name) and not (schema and nested)) or (labelled and name == "value"):
                found[name] = self._hidden(part)
            else:
                found[name] = self._value(part, schema or (name in _SCHEMAS and _names_things(part)))
        return found

    def _question(self, key: str, question: JSON) -> JSON:
        found = self.value(question)
        if isinstance(found, dict) and "content" in found and self._secret(key):
            found["content"] = self._hidden(found["content"])
        return found

    def _hidden(self, value: JSON) -> JSON:
        # Shapes stay, so that what is written can be replayed; so do true, false and null, which tell nothing.
        if isinstance(value, dict):
            return {name: self._hidden(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._hidden(part) for part in value]
        return value if value is None or isinstance(value, bool) else HIDDEN

    def _secret(self, name: str) -> bool:
        return self.names and _is_secret(name)

    def _asked(self, value: JSON) -> JSON:
        """What was asked for besides is left out of everything."""
        if isinstance(value, list):
            return [self._asked(part) for part in value]
        if isinstance(value, str):
            for expression in self.more:
                value = expression.sub(HIDDEN, value)
        return value


def _names_things(value: JSON) -> bool:
    """Whether something could be the part of a schema that names properties: there are no bare values in it."""
    return isinstance(value, dict) and (
        "type" in value or all(isinstance(part, (dict, bool)) for part in value.values())
    )


class TranscriptWriter:
    """Writes a transcript while it grows: each frame is in the file when `write` returns."""

    def __init__(self, file: IO[str], transport: str, redaction: Redaction | None = None) -> None:
        self._file = file
        self._redaction = Redaction() if redaction is None else redaction
        self._put(_line(_head(transport)))

    def write(self, frame: Frame) -> None:
        """Add a frame. Where it cannot be written, as when it is nested too deeply, a frame says so in its place.

        Raises OSError.
        """
        try:
            line = _line(dump_frame(self._redaction.frame(frame)))
        except (RecursionError, ValueError, TypeError) as error:
            event = f"a frame that cannot be written: {type(error).__name__}"
            line = _line(dump_frame(Frame(frame.sender, channel=frame.channel, event=event, at=frame.at)))
        self._put(line)

    def _put(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()


def _head(transport: str) -> JSONObject:
    return {"transcript": FORMAT, "transport": transport, "by": f"mcp-tasks {__version__}"}


def _line(value: JSONObject) -> str:
    # ASCII, because JSON may hold half of a surrogate pair, which no encoding can.
    return json.dumps(value, separators=(",", ":")) + "\n"


@define
class Transcript:
    """What was said on one connection."""

    frames: list[Frame] = field(factory=list)
    transport: str = "stdio"

    def text(self) -> str:
        """The file."""
        return "".join(map(_line, [_head(self.transport), *map(dump_frame, self.frames)]))

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
        if not line.strip():
            continue
        try:
            found.frames.append(parse_frame(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TranscriptError(f"{source}, line {number}: no frame: {type(error).__name__}: {error}") from None
    return found


def load_transcript(path: Path) -> Transcript:
    """A transcript from a file, up to its last whole line. Raises `TranscriptError`, OSError."""
    data = path.read_bytes()
    try:
        text = data[: data.rfind(b"\n") + 1].decode("utf-8")  # the cut may be within a character
    except UnicodeDecodeError as error:
        raise TranscriptError(f"{path}: this is no text: {error}") from None
    return parse_transcript(text, str(path))
