"""One HTTP request and its answer, whoever reads the bytes: h11 on a socket of ours, or somebody's ASGI server.

The answer is either whole or a stream of events. Writing never waits: it queues, and what is queued is written by
whoever carries the exchange. When the client is gone, what is written is dropped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from ..._unset import JSON, UNSET, RequestId, Unset
from ...codec.messages import MessageCodec
from ...framing.http import Headers
from ...wire.jsonrpc import ErrorObject, ErrorResponse

__all__ = ["Exchange", "HttpRequest"]

_CODEC = MessageCodec()
_JSON = (b"Content-Type", b"application/json")


class HttpRequest(ABC):
    """What a client asks, without the body. Header names are lower case."""

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]

    @property
    @abstractmethod
    def client(self) -> str:
        """Where the request comes from, for the log; an address where there is one."""


class Exchange(HttpRequest):
    """A request that is being answered."""

    lost: Callable[[], None] | None = None
    """Called once if the client goes away before the answer is complete. Does not checkpoint."""
    drained: Callable[[], None] | None = None
    """Called when everything that was queued has been written, after some of it had to wait."""
    extra: Headers = ()
    """Headers that every answer to this request has."""

    leaving_cancels = False
    """Whether a client that sends nothing more has left, even if no part of an answer was on its way."""
    finished = False
    """Whether the answer is complete, as far as we are concerned."""

    @property
    @abstractmethod
    def open(self) -> bool:
        """Whether the client is there, and still wants (more of) an answer."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """How many bytes are queued and not yet written."""

    @abstractmethod
    def respond(self, status: int, headers: Headers, body: bytes | bytearray = b"") -> None:
        """Answer, once and for all."""

    @abstractmethod
    def begin(self, headers: Headers) -> None:
        """Begin a stream, with status 200."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Add to the stream."""

    @abstractmethod
    def end(self) -> None:
        """End the stream."""

    @abstractmethod
    def flush(self) -> None:
        """Write what can be written without waiting, and see to it that the rest is written soon."""

    def refuse(
        self,
        status: int,
        message: str,
        *,
        code: int = -32600,
        id: RequestId | None = None,
        data: JSON | Unset = UNSET,
        headers: Headers = (),
    ) -> None:
        """Answer with an error: the HTTP status, and a JSON-RPC error, without an id if there is none (C25-082)."""
        error = ErrorResponse(id, ErrorObject(code, message, data))
        self.respond(status, [_JSON, *headers], _CODEC.encode(error))
