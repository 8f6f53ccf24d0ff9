"""A symmetric Model Context Protocol engine on trio.

A `Peer` is one party. Give it tools, resources, prompts, or a model and a user to ask; then `Peer.connect` it to a
server, `Peer.serve` it to clients, or both. Either side may run the other's requests as tasks. Start with the README.
"""

from typing import TYPE_CHECKING, Any

from ._unset import JSON, UNSET, JSONObject, Principal, ProgressToken, RequestId, TaskId, Unset
from ._version import __version__
from .abc import Inbound, Transport, Unanswered
from .clock import Clock
from .dialects.base import Cache, Side, Topics
from .dialects.v2025_11_25 import HANDSHAKE, V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25
from .dialects.v2026_07_28 import V2026_07_28
from .errors import (
    CapabilityMissing,
    CapabilityRequired,
    Challenge,
    ConnectionClosed,
    DeprecatedFeature,
    Forbidden,
    HttpError,
    InternalError,
    InvalidCursor,
    InvalidParams,
    InvalidRequest,
    InvalidShape,
    LimitReached,
    LocalProtocolError,
    MCPError,
    MethodNotFound,
    ProtocolError,
    Refusal,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    ResourceNotFound,
    StoreFailed,
    StoreUnusable,
    TaskAlreadySettled,
    TaskCancelled,
    TaskExpired,
    TaskNotFound,
    TaskRefusal,
    ToolError,
    Unauthorized,
    UnsupportedRevision,
    UrlElicitationRequired,
)
from .limits import HttpClientLimits, HttpLimits, Limits
from .peer._wait import Progress
from .peer.connection import Connection
from .peer.contexts import Context
from .peer.conversation import Listening
from .peer.handles import SavedTask, TaskHandle
from .peer.peer import Peer
from .peer.questions import Ask, Elicit, ElicitUrl, Roots, Sample

try:
    from .serve import open_stdio, serve_stdio
except ImportError:
    pass
from .tasks.model import Outcome, Question, Raised, Returned, Stopped, TaskRecord
from .tasks.registry import TaskRegistry
from .tasks.state import TERMINAL, TRANSITIONS, TaskInput, TaskState
from .tasks.store import MemoryTaskStore, Room, TaskStore
from .transports.lines import LineTransport
from .transports.memory import memory_transport_pair

__all__ = [
    "HANDSHAKE",
    "JSON",
    "TERMINAL",
    "TRANSITIONS",
    "UNSET",
    "V2024_11_05",
    "V2025_03_26",
    "V2025_06_18",
    "V2025_11_25",
    "V2026_07_28",
    "Ask",
    "Authenticator",
    "BearerAuth",
    "Cache",
    "CapabilityMissing",
    "CapabilityRequired",
    "Challenge",
    "Clock",
    "Connection",
    "ConnectionClosed",
    "Context",
    "DeprecatedFeature",
    "Elicit",
    "ElicitUrl",
    "Forbidden",
    "HttpClientLimits",
    "HttpError",
    "HttpLimits",
    "HttpRequest",
    "HttpServer",
    "Identity",
    "Inbound",
    "InternalError",
    "InvalidCursor",
    "InvalidParams",
    "InvalidRequest",
    "InvalidShape",
    "JSONObject",
    "LimitReached",
    "Limits",
    "LineTransport",
    "Listening",
    "LocalProtocolError",
    "MCPError",
    "MemoryTaskStore",
    "MethodNotFound",
    "Outcome",
    "Peer",
    "Principal",
    "Progress",
    "ProgressToken",
    "ProtocolError",
    "Question",
    "Raised",
    "Refusal",
    "RemoteProtocolError",
    "RequestFailed",
    "RequestId",
    "RequestRejected",
    "ResourceNotFound",
    "Returned",
    "Room",
    "Roots",
    "SQLiteTaskStore",
    "Sample",
    "SavedTask",
    "Side",
    "Stopped",
    "StoreFailed",
    "StoreUnusable",
    "TaskAlreadySettled",
    "TaskCancelled",
    "TaskExpired",
    "TaskHandle",
    "TaskId",
    "TaskInput",
    "TaskNotFound",
    "TaskRecord",
    "TaskRefusal",
    "TaskRegistry",
    "TaskState",
    "TaskStore",
    "ToolError",
    "Topics",
    "Transport",
    "Unanswered",
    "Unauthorized",
    "Unset",
    "UnsupportedRevision",
    "UrlElicitationRequired",
    "__version__",
    "asgi_app",
    "memory_transport_pair",
    "open_http",
    "open_stdio",
    "serve_http",
    "serve_stdio",
]

if TYPE_CHECKING:
    from .http import Authenticator, BearerAuth, HttpRequest, HttpServer, Identity, asgi_app, open_http, serve_http
    from .tasks.sqlite import SQLiteTaskStore
else:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "SQLiteTaskStore":
            from .tasks.sqlite import SQLiteTaskStore

            return SQLiteTaskStore
        from . import http

        return getattr(http, name)
