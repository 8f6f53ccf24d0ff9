"""The exception tree. Exceptions carry meaning; the dialects know the numbers.

::

    MCPError
     +-- ProtocolError
     |    +-- LocalProtocolError       we were asked to do what the protocol forbids
     |    |    +-- CapabilityMissing   the other side has not announced what that needs
     |    +-- RemoteProtocolError      the other side broke the protocol
     +-- ConnectionClosed              there is nobody to talk to any more
     +-- HttpError                     an HTTP status that is no answer
     |    +-- Unauthorized             401, with what the server wants to see
     |    +-- Forbidden                403, likewise
     +-- StoreUnusable                 a task store that cannot be opened
     +-- RequestFailed                 the other side answered with an error
     +-- InvalidShape                  a JSON value is not of the shape it should have, with its path
     +-- ToolError                     a tool's own failure, told to the caller as a result with isError
     +-- Refusal                       a handler's answer that is an error; each era has its number
          +-- InvalidRequest, MethodNotFound, InvalidParams, InternalError
          +-- ResourceNotFound, RequestRejected, UrlElicitationRequired
          +-- CapabilityRequired, UnsupportedRevision
          +-- LimitReached
          +-- StoreFailed
          +-- TaskRefusal
               +-- TaskNotFound, TaskExpired, TaskAlreadySettled, TaskCancelled, InvalidCursor
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from ._shape import Shape
from ._unset import JSON, UNSET, JSONObject, TaskId, Unset

__all__ = [
    "CapabilityMissing",
    "CapabilityRequired",
    "Challenge",
    "ConnectionClosed",
    "DeprecatedFeature",
    "Forbidden",
    "HttpError",
    "InternalError",
    "InvalidCursor",
    "InvalidParams",
    "InvalidRequest",
    "InvalidShape",
    "LimitReached",
    "LocalProtocolError",
    "MCPError",
    "MethodNotFound",
    "ProtocolError",
    "Refusal",
    "RemoteProtocolError",
    "RequestFailed",
    "RequestRejected",
    "ResourceNotFound",
    "StoreFailed",
    "StoreUnusable",
    "TaskAlreadySettled",
    "TaskCancelled",
    "TaskExpired",
    "TaskNotFound",
    "TaskRefusal",
    "ToolError",
    "Unauthorized",
    "UnsupportedRevision",
    "UrlElicitationRequired",
]


class DeprecatedFeature(DeprecationWarning):
    """Something that revision 2026-07-28 still has and will lose: roots, sampling, logging. It works all the same."""


class MCPError(Exception):
    """The root of everything this package raises on purpose."""


class ProtocolError(MCPError):
    """Somebody broke the protocol; the subclass says who."""


class LocalProtocolError(ProtocolError):
    """We were asked to do something the protocol forbids. Nothing has been sent."""


class CapabilityMissing(LocalProtocolError):
    """The other side has not announced what this message needs. Nothing has been sent.

    `required` is what it would have had to announce, as a capability object; empty where that is not known.
    """

    def __init__(self, message: str, required: JSONObject | None = None) -> None:
        super().__init__(message)
        self.required: JSONObject = {} if required is None else required


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol forbids."""


class ConnectionClosed(MCPError):
    """The connection has ended; whatever was pending on it has failed."""


_FOR_NOW = frozenset({408, 409, 425, 429})  # refusals that may be over in a moment, as those from 500 on


class HttpError(MCPError):
    """An HTTP status that is no answer to a request; the request may not have been served.

    `status` is the number, `message` what the server said about it, shortened.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered in a moment."""
        return self.status >= 500 or self.status in _FOR_NOW

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.message}"


@frozen(eq=False, repr=False)
class Challenge(Shape):
    """What a server wants to see, from ``WWW-Authenticate``: a scheme such as ``Bearer``, and its parameters.

    Parameter names are lower case; ``resource_metadata`` and ``scope`` are the ones that matter to MCP.
    """

    scheme: str
    params: Mapping[str, str] = field(factory=dict)


class Unauthorized(HttpError):
    """The server wants to know who we are, and does not (401).

    On the server's side an authenticator raises it to say so.
    """

    def __init__(self, message: str, challenges: Sequence[Challenge] = ()) -> None:
        super().__init__(401, message)
        self.challenges = list(challenges)


class Forbidden(HttpError):
    """We may not do that (403), perhaps for want of a scope, which the challenge then names."""

    def __init__(self, message: str, challenges: Sequence[Challenge] = ()) -> None:
        super().__init__(403, message)
        self.challenges = list(challenges)


class StoreUnusable(MCPError):
    """A task store cannot be opened: another process has it, it is none, or its key is wrong."""


class RequestFailed(MCPError):
    """The other side answered a request with a JSON-RPC error.

    A handler may raise it too: the very code, message and data then reach the requestor.
    """

    def __init__(self, code: int, message: str, data: JSON | Unset = UNSET) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class InvalidShape(MCPError):
    """A JSON value does not have the shape that was asked for.

    `path` is a JSONPath such as ``$.params.taskId``, `reason` a phrase such as ``expected string, got integer``.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ToolError(MCPError):
    """Raised by a tool to tell the model what went wrong: the text becomes a result with ``isError``."""


class Refusal(MCPError):
    """An error that is the answer to a request.

    `message` is one sentence for the requestor; `data` is optional JSON that goes with it.
    """

    def __init__(self, message: str, data: JSON | Unset = UNSET) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class InvalidRequest(Refusal):
    """The message is not a request that makes sense here."""


class MethodNotFound(Refusal):
    """There is no such method, or it is not available to this requestor."""


class InvalidParams(Refusal):
    """The parameters are wrong; the message has the path where that is known."""


class InternalError(Refusal):
    """We failed; the message leaks nothing of how."""


class ResourceNotFound(Refusal):
    """There is no resource under this URI."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"Resource not found: {uri}", {"uri": uri})
        self.uri = uri


class RequestRejected(Refusal):
    """The person or the policy behind this side said no (to sampling, for one)."""


class UrlElicitationRequired(Refusal):
    """The request has to wait until the user has been to one or more URLs.

    `elicitations` are the parameter objects of URL mode elicitations, each with an ``elicitationId``.
    """

    def __init__(self, elicitations: Sequence[JSONObject], message: str = "URL elicitation required") -> None:
        super().__init__(message, {"elicitations": list(elicitations)})
        self.elicitations = list(elicitations)


class CapabilityRequired(Refusal):
    """The request can only be served to a client that has declared certain capabilities in it."""

    def __init__(self, message: str, required: JSONObject) -> None:
        super().__init__(message, {"requiredCapabilities": required})
        self.required = required


class UnsupportedRevision(Refusal):
    """The request names a revision that is not spoken here; `data` lists those that are."""

    def __init__(self, requested: str, supported: Sequence[str]) -> None:
        super().__init__(
            f"Unsupported protocol version: {requested!r}", {"supported": list(supported), "requested": requested}
        )
        self.requested = requested
        self.supported = list(supported)


class LimitReached(Refusal):
    """A configured limit stands in the way; `data` names the limit and its value."""

    def __init__(self, message: str, limit: str, value: float) -> None:
        super().__init__(message, {"limit": limit, "value": value})
        self.limit = limit
        self.value = value


class StoreFailed(Refusal):
    """The task store could not do what it was asked to, which may have been done nevertheless; the log says why."""

    def __init__(self, message: str = "Tasks cannot be kept or found now: the store has failed") -> None:
        super().__init__(message)


class TaskRefusal(Refusal):
    """A task operation that cannot be done."""


class TaskNotFound(TaskRefusal):
    """No task of this requestor has that id. A foreign task looks exactly the same."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"Task not found: {task_id}")
        self.task_id = task_id


class TaskExpired(TaskRefusal):
    """The task's lifetime ended while somebody waited for it."""

    def __init__(self, task_id: TaskId) -> None:
        super().__init__(f"Task has expired: {task_id}")
        self.task_id = task_id


class TaskAlreadySettled(TaskRefusal):
    """The task is in a terminal state, which never changes."""

    def __init__(self, task_id: TaskId, state: str) -> None:
        super().__init__(f"Task {task_id} is already {state}")
        self.task_id = task_id
        self.state = state


class TaskCancelled(TaskRefusal):
    """The task was cancelled, so it has no result."""

    def __init__(self, task_id: TaskId, message: str = "Task was cancelled") -> None:
        super().__init__(message, {"taskId": task_id})
        self.task_id = task_id


class InvalidCursor(TaskRefusal):
    """The cursor is not one that this list has handed out."""

    def __init__(self) -> None:
        super().__init__("$.params.cursor: not a cursor of this list")
