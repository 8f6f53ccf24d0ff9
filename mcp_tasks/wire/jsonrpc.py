"""The JSON-RPC 2.0 envelope: five things a peer can say, the same in every revision.

A closed set: whatever arrives is one of `Request`, `Notification`, `Response`, `ErrorResponse`, or else `Malformed`.
These classes hold no behaviour and know no method. They are plain (not frozen) attrs classes because one or two of
them are made for every message; nobody writes to one after it was made.

Spec: basic/index "Messages".
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import define

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, RequestId, Unset

__all__ = ["ErrorObject", "ErrorResponse", "Malformed", "Message", "Notification", "Request", "Response"]


@define(eq=False, repr=False)
class Request(Shape):
    """A question with an id; `params` is UNSET where the member is missing."""

    id: RequestId
    method: str
    params: JSONObject | Unset = UNSET


@define(eq=False, repr=False)
class Notification(Shape):
    """A statement that is never answered."""

    method: str
    params: JSONObject | Unset = UNSET


@define(eq=False, repr=False)
class Response(Shape):
    """The successful answer to the request with this id."""

    id: RequestId
    result: JSONObject


@define(eq=False, repr=False)
class ErrorObject(Shape):
    """What an error response says: an integer code, one sentence, and any JSON."""

    code: int
    message: str
    data: JSON | Unset = UNSET


@define(eq=False, repr=False)
class ErrorResponse(Shape):
    """The failed answer; `id` is None where the request was too broken to have one (the member is then left out)."""

    id: RequestId | None
    error: ErrorObject


@define(eq=False, repr=False)
class Malformed(Shape):
    """A frame that is no message.

    `error` is what to answer if it wants an answer. `id` is the id it names, if it names a usable one. `answerable`
    is false for a malformed notification or response: neither is ever answered (JSON-RPC 2.0 section 4.1).
    """

    error: ErrorObject
    id: RequestId | None = None
    answerable: bool = True


Message: TypeAlias = Request | Notification | Response | ErrorResponse
