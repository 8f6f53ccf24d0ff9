"""The JSON-RPC session: role-blind, era-blind, sans-IO.

Two tables and nothing else. `calls` are the requests we sent and that still want an answer: we mint those ids.
`served` are the requests we received and still owe an answer: the other side mints those, so the same id in both
tables is no clash. 1 and "1" are two ids. Whoever drives a session passes in each message as it arrives and is told
what it means; the session never sends.

What counts as done is decided here alone: an entry leaves its table before the answer is written or handed out, so
that nothing is answered twice, and `close` empties both at once.

Spec: basic/index "Messages" (C25-003 to C25-017), basic/utilities/cancellation (C25-168 to C25-177).
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from .._unset import RequestId
from ..abc import Gone, Inbound, Unanswered
from ..errors import ConnectionClosed
from ..wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Notification, Request, Response
from .events import Answered, Dropped, Event, Failed, Left, Lost, Refused

__all__ = ["Session"]

INVALID_REQUEST = -32600

C = TypeVar("C")
S = TypeVar("S")


_NOBODY: Final = object()


class Session(Generic[C, S]):
    """The bookkeeping of one connection.

    `C` is whatever the driver remembers of a call it made, `S` of a request it serves. The session only stores them.
    """

    def __init__(self) -> None:
        self.calls: dict[RequestId, C] = {}
        self.served: dict[RequestId, S | None] = {}
        self.closed = False
        self._next_id = 1

    def mint(self) -> RequestId:
        """A request id this session has never used: ids are not used again even where an era would allow it."""
        id = self._next_id
        self._next_id = id + 1
        return id

    def called(self, id: RequestId, call: C) -> None:
        """Remember a request that is being sent under a minted id. Raises `ConnectionClosed` after `close`."""
        if self.closed:
            raise ConnectionClosed("the session is closed")
        self.calls[id] = call

    def withdraw(self, id: RequestId) -> bool:
        """Stop waiting for an answer; True if one was still due. A late answer is then dropped (C25-173)."""
        return self.calls.pop(id, None) is not None

    def serving(self, id: RequestId, by: S) -> None:
        """Remember who serves an accepted request, so that a cancellation finds it."""
        self.served[id] = by

    def settle(self, id: RequestId, by: S | None) -> bool:
        """Take a request off the table that is served by `by`; True if its answer may be sent, once at most.

        After a cancellation the other side may have used the id again: then it is somebody else's to answer.
        """
        if self.served.get(id, _NOBODY) is by:
            del self.served[id]
            return True
        return False

    def abandon(self, id: RequestId) -> S | None:
        """The other side no longer wants an answer; returns who was serving it, if anybody (C25-171, C25-172)."""
        return self.served.pop(id, None)

    def receive(self, message: Inbound) -> Event[C, S]:
        """Take in one message."""
        if isinstance(message, Request):
            if message.id in self.served:
                # The first request of that id goes on undisturbed; only this one is refused.
                return Refused(_refusal(f"Invalid request: $.id: {message.id!r} is already in use", None))
            self.served[message.id] = None
            return message
        if isinstance(message, Response):
            call = self.calls.pop(message.id, None)
            if call is None:
                return self._unexpected(message.id, "a response to")
            return Answered(call, message.result)
        if isinstance(message, Notification):
            return message
        if isinstance(message, ErrorResponse):
            if message.id is None:
                return Dropped(f"an error without an id: {message.error.message} ({message.error.code})")
            call = self.calls.pop(message.id, None)
            if call is None:
                return self._unexpected(message.id, "an error for")
            return Failed(call, message.error)
        if isinstance(message, Malformed):
            return self._malformed(message)
        if isinstance(message, Gone):
            return Left(self.abandon(message.id))
        return self._unanswered(message)

    def close(self) -> tuple[list[C], list[S]]:
        """End the session; returns the calls that will never be answered and what was still being served."""
        calls = list(self.calls.values())
        served = [by for by in self.served.values() if by is not None]
        self.calls.clear()
        self.served.clear()
        self.closed = True
        return calls, served

    def _unexpected(self, id: RequestId, what: str) -> Dropped:
        if type(id) is int and 0 < id < self._next_id:
            return Dropped(f"{what} {id!r}, which is over", late=True)
        return Dropped(f"{what} {id!r}, which is no request of ours")

    def _unanswered(self, message: Unanswered) -> Event[C, S]:
        call = self.calls.pop(message.id, None)
        if call is None:
            return Dropped(f"request {message.id!r} is lost, and over: {message.failure}", late=True)
        return Lost(call, message.failure)

    def _malformed(self, message: Malformed) -> Event[C, S]:
        if message.answerable:
            # An id that is being served belongs to the request that came first.
            id = None if message.id in self.served else message.id
            return Refused(ErrorResponse(id, message.error))
        if message.id is not None and (call := self.calls.pop(message.id, None)) is not None:
            return Failed(call, None, message.error.message)
        return Dropped(message.error.message)


def _refusal(text: str, id: RequestId | None) -> ErrorResponse:
    return ErrorResponse(id, ErrorObject(INVALID_REQUEST, text))
