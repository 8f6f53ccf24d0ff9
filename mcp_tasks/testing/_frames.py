"""What a script, a monitor and a transcript see: frames, one for each message and for what happens around them.

A frame says who sent it and by which channel, so that one monitor can look at a pipe, at a dozen HTTP exchanges, or at
a file. A message is kept as the JSON value that came; nothing is checked and nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from .._unset import JSON, UNSET, JSONObject, RequestId
from ..dialects.base import Side

__all__ = ["Frame", "dump_frame", "parse_frame", "show_frame"]


@define(eq=False)
class Frame:
    """One message on its way, or one thing that happened to the channel it would have come by."""

    sender: Side
    message: JSON = UNSET
    """The JSON value; UNSET where nothing came that is one."""
    channel: str = ""
    """The exchange it belongs to, such as ``POST 3``; empty where there is but one channel."""
    event: str = ""
    """What happened, where that was no message: ``stream``, ``accepted``, ``refused``, ``ended``, ``broken: ...``."""
    status: int | None = None
    """The HTTP status of the answer that it is, or came by."""
    verb: str | None = None
    """The HTTP method of the request that it is, or came by."""
    headers: Mapping[str, str] = field(factory=dict)
    """The headers of that; names are in lower case."""
    event_id: str | None = None
    """The id of the server-sent event that it came in."""
    raw: bytes = b""
    """The bytes, where they are no JSON."""
    at: float = 0.0
    """Seconds since the transcript began."""

    @property
    def object(self) -> JSONObject:
        """The message, if it is an object; else an empty one."""
        return self.message if isinstance(self.message, dict) else {}

    @property
    def method(self) -> str | None:
        """The method of a request or notification."""
        method = self.object.get("method")
        return method if isinstance(method, str) else None

    @property
    def id(self) -> RequestId | None:
        """The id of a request or response; None where there is none that could be one."""
        id = self.object.get("id")
        return id if isinstance(id, (int, str)) and not isinstance(id, bool) else None

    @property
    def params(self) -> JSONObject:
        """The params, if they are an object; else an empty one."""
        params = self.object.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def meta(self) -> JSONObject:
        """The ``_meta`` of params or of a result; empty if there is none."""
        holder = self.params if "method" in self.object else self.result
        meta = holder.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def result(self) -> JSONObject:
        """The result of a response, if it is an object; else an empty one."""
        result = self.object.get("result")
        return result if isinstance(result, dict) else {}

    @property
    def error(self) -> JSONObject | None:
        """The error of a response; None if it has none that is an object."""
        error = self.object.get("error")
        return error if isinstance(error, dict) else None

    @property
    def code(self) -> JSON:
        """The code of the error that a response is; None if it is none."""
        return None if self.error is None else self.error.get("code")

    @property
    def is_request(self) -> bool:
        """Whether it asks for an answer."""
        return self.method is not None and "id" in self.object

    @property
    def is_notification(self) -> bool:
        """Whether it is told, and wants no answer."""
        return self.method is not None and "id" not in self.object

    @property
    def is_response(self) -> bool:
        """Whether it is an answer: a result or an error."""
        return "method" not in self.object and ("result" in self.object or "error" in self.object)

    def __repr__(self) -> str:
        return f"<{show_frame(self)}>"


def show_frame(frame: Frame, *, width: int = 400) -> str:
    """A frame in one line, for people."""
    arrow = "-->" if frame.sender is Side.CLIENT else "<--"
    parts = [f"{frame.at:8.3f}", arrow]
    if frame.channel:
        parts.append(f"[{frame.channel}]")
    if frame.status is not None:
        parts.append(str(frame.status))
    if frame.event:
        parts.append(f"({frame.event})")
    if frame.message is not UNSET:
        parts.append(json.dumps(frame.message, ensure_ascii=False))
    elif frame.raw:
        parts.append(repr(frame.raw))
    line = " ".join(parts)
    return line if len(line) <= width else line[: width - 3] + "..."


def dump_frame(frame: Frame) -> JSONObject:
    """A frame as a JSON object, as a transcript has it. Members that say nothing are left out."""
    found: JSONObject = {"at": round(frame.at, 6), "from": frame.sender.value}
    for name in ("channel", "event", "status", "verb", "event_id"):
        value = getattr(frame, name)
        if value not in ("", None):
            found[name] = value
    if frame.headers:
        found["headers"] = dict(frame.headers)
    if frame.message is not UNSET:
        found["message"] = frame.message
    if frame.raw:
        found["raw"] = frame.raw.decode("latin-1")
    return found


def parse_frame(found: Mapping[str, Any]) -> Frame:
    """A frame from a line of a transcript. Raises KeyError, TypeError or ValueError if it is none."""
    return Frame(
        Side(found["from"]),
        found.get("message", UNSET),
        str(found.get("channel", "")),
        str(found.get("event", "")),
        found.get("status"),
        found.get("verb"),
        {str(name): str(value) for name, value in found.get("headers", {}).items()},
        found.get("event_id"),
        str(found.get("raw", "")).encode("latin-1"),
        float(found["at"]),
    )
