"""What a received message means to the session that received it.

`Request` and `Notification` are events as they stand: they were accepted. The others are named here, in the past
tense.
"""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from attrs import define

from .._shape import Shape
from ..errors import MCPError
from ..wire.jsonrpc import ErrorObject, ErrorResponse, Notification, Request

__all__ = ["Answered", "Dropped", "Event", "Failed", "Left", "Lost", "Refused"]

C = TypeVar("C")
S = TypeVar("S")


@define(eq=False, repr=False)
class Answered(Shape, Generic[C]):
    """A call of ours has its result."""

    call: C
    result: dict[str, object]


@define(eq=False, repr=False)
class Failed(Shape, Generic[C]):
    """A call of ours has failed: `error` is what they said, or `reason` tells how their answer was no answer."""

    call: C
    error: ErrorObject | None
    reason: str = ""


@define(eq=False, repr=False)
class Lost(Shape, Generic[C]):
    """A call of ours gets no answer, though the connection goes on."""

    call: C
    failure: MCPError


@define(eq=False, repr=False)
class Left(Shape, Generic[S]):
    """They no longer want the answer to a request of theirs; `by` is who was serving it, if anybody."""

    by: S | None


@define(eq=False, repr=False)
class Refused(Shape):
    """A message was not accepted, and this is the answer to it."""

    answer: ErrorResponse


@define(eq=False, repr=False)
class Dropped(Shape):
    """A message changed nothing and is not answered; `reason` is for the log.

    `late`: it answers a request of ours that is over, as happens when we have withdrawn it (C25-173).
    """

    reason: str
    late: bool = False


Event: TypeAlias = "Request | Notification | Answered[C] | Failed[C] | Lost[C] | Left[S] | Refused | Dropped"
