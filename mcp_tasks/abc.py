"""What a transport has to do: carry messages both ways, and know nothing of what they mean.

A transport is driven by one `Connection`: one task receives, one task flushes, any task sends. Sending is
synchronous, so that a message is queued in the order in which things happened, and cancellation cannot tear a message
in half. `mcp_tasks.testing.check_transport` runs every implementation through the same list of duties.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import define

from ._shape import Shape
from ._unset import JSONObject, RequestId
from .errors import MCPError
from .wire.jsonrpc import Malformed, Message

__all__ = ["Gone", "Inbound", "Transport", "Unanswered"]


@define(eq=False, repr=False)
class Unanswered(Shape):
    """Our request with this id gets no answer, and why; the others go on. For transports with more than one stream."""

    id: RequestId
    failure: MCPError


@define(eq=False, repr=False)
class Gone(Shape):
    """They no longer want the answer to their request with this id. For transports where leaving says so."""

    id: RequestId


Inbound: TypeAlias = "Message | Malformed | Unanswered | Gone"
"""What comes out of `Transport.receive`."""


class Transport(ABC):
    """A two-way carrier of messages between us and one other side."""

    @abstractmethod
    async def receive(self) -> Sequence[Inbound]:
        """Wait for messages; return all that have come, at least one, in order.

        Raises `ConnectionClosed` when the other side has ended or broken the stream. A checkpoint. Cancelled before
        it returns, it has lost nothing: the messages come at the next call.
        """

    @abstractmethod
    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        """Queue one message; never waits.

        `related_to` is the id of the other side's request on whose behalf this goes out, for transports with more
        than one stream. Raises `ConnectionClosed` if nothing can be sent any more, and TypeError or ValueError if
        the message holds what JSON cannot; nothing is queued then.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Write what is queued now; what is queued meanwhile may be left for the next call.

        Raises `ConnectionClosed` when it cannot. Cancelled, it may have written a part: only closing may follow.
        """

    def try_flush(self) -> bool:
        """Write what can be written without waiting; True if nothing is queued then. Raises nothing.

        A transport that cannot tell need not override this: the queue is flushed in a moment anyway.
        """
        return False

    # --- what a transport with more than one stream may do besides ------------------------------------------------

    def overflows(self, limit: int) -> bool:
        """Whether so many bytes are unread that the other side counts as dead."""
        return self.backlog > limit

    def backlog_of(self, related_to: RequestId | None) -> int:
        """How much of the backlog is in the way of what goes along with that request of theirs."""
        return self.backlog

    def began(self, related_to: RequestId) -> bool:
        """Whether that request of theirs has a stream of its own, and something may have gone along with it.

        What should not come in before that has to go the same way.
        """
        return False

    def push_to(self, take: Callable[[Inbound], None]) -> bool:
        """From now on hand over each message by calling `take`, in order; `receive` then only waits for the end.

        False if this transport does not: it saves a task switch where messages come in by several tasks.
        """
        return False

    renewed: Callable[[], None] | None = None
    """Called when the other side has begun anew and forgotten what it had been asked to remember."""

    cut: Callable[[], None] | None = None
    """Called when requests of ours went where nobody has read for a while."""

    closing: Callable[[], None] | None = None
    """Called when the server is about to shut down, before it waits for requests that are being served."""

    revision: str | None = None
    """The revision that is spoken, where the transport carries but one and begins without a handshake."""

    origin: str | None = None
    """What names the other side beyond this transport, so that what was found out about it can be remembered."""

    async def identity(self) -> str | None:
        """What tells who we are to the other side, such as a token: what was said to one is not for another."""
        return None

    def name_of(self, id: RequestId) -> RequestId:
        """What the other side calls its request that came with this id."""
        return id

    def learn(self, tool: str, input_schema: JSONObject) -> None:
        """Take note of a tool, for transports that repeat some of its arguments outside the message.

        Raises `InvalidShape` if its definition cannot be followed; such a tool should not be called.
        """
        return

    def speaks(self, revision: str) -> None:
        """The handshake has settled which revision is spoken."""
        return

    def abandon(self, id: RequestId) -> bool:
        """We no longer wait for the answer to our request `id`; True if it has not left and now never will."""
        return False

    def leave(self, id: RequestId) -> None:
        """That request of theirs gets no answer, because they have withdrawn it."""
        return

    def reaches(self, id: RequestId) -> bool:
        """Whether our request `id` has gone where somebody reads, and does not wait for somebody."""
        return True

    def drop_stream(self, related_to: RequestId, retry_ms: int | None) -> None:
        """End the network connection that will carry the answer to that request, but not its stream.

        The other side is to come back for it after `retry_ms` milliseconds. Does nothing where there is no such thing.
        """
        return

    @property
    @abstractmethod
    def backlog(self) -> int:
        """How many bytes are queued and not yet taken by the other side's end."""

    @abstractmethod
    async def aclose(self) -> None:
        """End both directions, within a stated bound, even when cancelled. May be called twice."""
