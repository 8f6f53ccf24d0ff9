"""Transcripts of real connections: recorded by a proxy, replayed as either side, shrunk to what matters.

A transcript is a file of JSON lines: a head, and then the frames in the order in which they went by. What is secret is
left out before it is written, by rule.
"""

from ._matching import Matcher
from ._proxy_http import record_http
from ._proxy_stdio import record_stdio
from ._replay import Difference, Replayed, replay
from ._shrink import shrink
from ._transcript import Redaction, Transcript, TranscriptError, TranscriptWriter, load_transcript, parse_transcript

__all__ = [
    "Difference",
    "Matcher",
    "Redaction",
    "Replayed",
    "Transcript",
    "TranscriptError",
    "TranscriptWriter",
    "load_transcript",
    "parse_transcript",
    "record_http",
    "record_stdio",
    "replay",
    "shrink",
]
