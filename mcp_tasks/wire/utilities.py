"""What requests, notifications and results have in common, and the small messages that keep a connection going.

Ping, progress, cancellation, logging and pagination. Parameter shapes ignore members they do not know, and have no
field for task augmentation, which is the dialect's business; result shapes keep unknown members in `extra`. This
module may not know the methods' names, revisions or the codec.

Spec: basic/index ("_meta"), basic/utilities/{cancellation,ping,progress}, server/utilities/{logging,pagination}.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, Cursor, JSONObject, ProgressToken, RequestId, Unset
from .content import Number

__all__ = [
    "CancelledParams",
    "EmptyResult",
    "LogParams",
    "LEVELS",
    "LoggingLevel",
    "NotificationParams",
    "PaginatedParams",
    "ProgressParams",
    "RequestParams",
    "SetLevelParams",
]

LoggingLevel: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
LEVELS: Final = get_args(LoggingLevel)
"""From the least to the most urgent."""
"""The severities of syslog (RFC 5424), mildest first."""


@frozen(eq=False, repr=False)
class RequestParams(Shape):
    """The parameters of a request that has none of its own (``ping``, ``roots/list``)."""

    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class NotificationParams(Shape):
    """The parameters of a notification that has none of its own (``notifications/initialized``, say)."""

    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class PaginatedParams(Shape):
    """Where in a list to go on; without a cursor, at its start."""

    cursor: Cursor | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class EmptyResult(Shape):
    """Success, and nothing to say. Whatever else the result has is in `extra`."""

    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ProgressParams(Shape):
    """How far a request has come; `progress` only ever grows."""

    progress_token: ProgressToken
    progress: Number
    total: Number | Unset = UNSET
    message: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class CancelledParams(Shape):
    """The sender no longer wants the answer to its request. Tasks are cancelled by a request of their own instead."""

    request_id: RequestId | Unset = UNSET
    reason: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class SetLevelParams(Shape):
    """The mildest severity that the client wants to hear of."""

    level: LoggingLevel
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class LogParams(Shape):
    """A log message; `data` is any JSON, null included."""

    level: LoggingLevel
    data: JSON
    logger: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
