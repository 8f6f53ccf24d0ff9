"""Revision 2026-07-28 and the tasks extension (SEP-2663): their own words, and which method carries which shape.

Tables and shapes, not behaviour. There is no handshake: what used to be agreed once is a `RequestMeta` in every
request. Only clients ask; what a server needs to know goes back inside a result (`InputRequiredResult`) or a task.
`OMITTED` and `NARROWED` are for the codec: what is not there in this revision, or typed in its own way. Nothing of the
handshake revisions may be known here.

Spec: basic/index, basic/patterns, server/discover, the schema of this revision; the tasks extension's specification.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset
from .capabilities import ClientCapabilities, Implementation, RootsCapability, ServerCapabilities
from .client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitParams,
    ElicitResult,
    ElicitUrlParams,
    ListRootsResult,
)
from .content import Number
from .server_features import (
    CacheScope,
    CallToolParams,
    CallToolResult,
    CompleteParams,
    CompleteResult,
    GetPromptParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceParams,
    ReadResourceResult,
    ResourceUpdatedParams,
    Tool,
)
from .tasks import Task
from .utilities import (
    CancelledParams,
    EmptyResult,
    LoggingLevel,
    LogParams,
    NotificationParams,
    PaginatedParams,
    ProgressParams,
    RequestParams,
)

__all__ = [
    "CACHED",
    "CLIENT_CAPABILITIES",
    "CLIENT_INFO",
    "CLIENT_NOTIFICATIONS",
    "CLIENT_REQUESTS",
    "EMBEDDED_PARAMS",
    "EMBEDDED_REQUESTS",
    "RETIRED",
    "RETIRED_NOTIFICATIONS",
    "HEADER_MISMATCH",
    "INPUT_METHODS",
    "LOG_LEVEL",
    "MISSING_CAPABILITY",
    "NOTIFICATION_PARAMS",
    "OMITTED",
    "PROTOCOL_VERSION",
    "RENAMES",
    "REQUEST_PARAMS",
    "RESULTS",
    "REVISION",
    "SERVER_INFO",
    "SERVER_NOTIFICATIONS",
    "SUBSCRIPTION_ID",
    "TASKS_EXTENSION",
    "UNSUPPORTED_VERSION",
    "AcknowledgedParams",
    "DetailedTask",
    "DiscoverResult",
    "InputRequest",
    "InputRequiredResult",
    "ListenParams",
    "RequestMeta",
    "SubscriptionFilter",
    "TaskIdParams",
    "UpdateTaskParams",
]

REVISION: Final = "2026-07-28"

PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022


@frozen(eq=False, repr=False)
class RequestMeta(Shape):
    """What every request says of whoever sends it; the codec is told how the members are spelled."""

    protocol_version: str
    client_capabilities: ClientCapabilities
    client_info: Implementation | Unset = UNSET
    log_level: LoggingLevel | Unset = UNSET


# -- discovery


@frozen(eq=False, repr=False)
class DiscoverResult(Shape):
    """What a server speaks and can do; who it is stands in `meta`."""

    supported_versions: list[str]
    capabilities: ServerCapabilities
    instructions: str | Unset = UNSET
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


# -- questions inside results and tasks


@frozen(eq=False, repr=False)
class InputRequest(Shape):
    """A question to the client: a request without an envelope."""

    method: str
    params: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class InputRequiredResult(Shape):
    """A server's answer that it first has to know more: ask these, and repeat the request with the answers."""

    input_requests: dict[str, InputRequest] | Unset = UNSET
    request_state: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


# -- subscriptions


@frozen(eq=False, repr=False)
class SubscriptionFilter(Shape):
    """What a client wants to be told of; also, in the acknowledgement, what it will be."""

    tools_list_changed: bool | Unset = UNSET
    prompts_list_changed: bool | Unset = UNSET
    resources_list_changed: bool | Unset = UNSET
    resource_subscriptions: list[str] | Unset = UNSET
    task_ids: list[str] | Unset = UNSET


@frozen(eq=False, repr=False)
class ListenParams(Shape):
    """The parameters of ``subscriptions/listen``."""

    notifications: SubscriptionFilter
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class AcknowledgedParams(Shape):
    """The first message of a subscription."""

    notifications: SubscriptionFilter
    meta: JSONObject | Unset = UNSET


# -- the tasks extension


@frozen(eq=False, repr=False)
class TaskIdParams(Shape):
    """The parameters of ``tasks/get`` and ``tasks/cancel``."""

    task_id: str
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class UpdateTaskParams(Shape):
    """Answers to questions of a task, by their keys."""

    task_id: str
    input_responses: dict[str, JSONObject]
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class DetailedTask(Task):
    """A task with whatever goes with its status: open questions, its result, or its error."""

    input_requests: dict[str, InputRequest] | Unset = UNSET
    result: JSONObject | Unset = UNSET
    error: JSONObject | Unset = UNSET


# -- what a method carries

REQUEST_PARAMS: Final[dict[str, Any]] = {
    "server/discover": RequestParams,
    "completion/complete": CompleteParams,
    "prompts/get": GetPromptParams,
    "prompts/list": PaginatedParams,
    "resources/list": PaginatedParams,
    "resources/templates/list": PaginatedParams,
    "resources/read": ReadResourceParams,
    "subscriptions/listen": ListenParams,
    "tools/call": CallToolParams,
    "tools/list": PaginatedParams,
    "tasks/get": TaskIdParams,
    "tasks/update": UpdateTaskParams,
    "tasks/cancel": TaskIdParams,
}

RESULTS: Final[dict[str, Any]] = {
    "server/discover": DiscoverResult,
    "completion/complete": CompleteResult,
    "prompts/get": GetPromptResult,
    "prompts/list": ListPromptsResult,
    "resources/list": ListResourcesResult,
    "resources/templates/list": ListResourceTemplatesResult,
    "resources/read": ReadResourceResult,
    "subscriptions/listen": EmptyResult,
    "tools/call": CallToolResult,
    "tools/list": ListToolsResult,
    "tasks/get": DetailedTask,
    "tasks/update": EmptyResult,
    "tasks/cancel": EmptyResult,
    # inside results and tasks
    "elicitation/create": ElicitResult,
    "sampling/createMessage": CreateMessageResult,
    "roots/list": ListRootsResult,
}

EMBEDDED_PARAMS: Final[dict[str, Any]] = {
    "elicitation/create": ElicitParams,
    "sampling/createMessage": CreateMessageParams,
    "roots/list": RequestParams,
}
"""What a server can ask, inside a result or a task."""

NOTIFICATION_PARAMS: Final[dict[str, Any]] = {
    "notifications/cancelled": CancelledParams,
    "notifications/progress": ProgressParams,
    "notifications/message": LogParams,
    "notifications/resources/updated": ResourceUpdatedParams,
    "notifications/resources/list_changed": NotificationParams,
    "notifications/tools/list_changed": NotificationParams,
    "notifications/prompts/list_changed": NotificationParams,
    "notifications/subscriptions/acknowledged": AcknowledgedParams,
    "notifications/tasks": DetailedTask,
}

# -- who may send it

CLIENT_REQUESTS: Final = frozenset(REQUEST_PARAMS)
EMBEDDED_REQUESTS: Final = frozenset(EMBEDDED_PARAMS)

# Methods of this protocol that are none in this revision, whoever has a handler for them (C26-069, X26-123, X26-127).
RETIRED: Final = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/result",
        "tasks/list",
        *EMBEDDED_REQUESTS,
    }
)
RETIRED_NOTIFICATIONS: Final = frozenset(
    {
        "notifications/initialized",
        "notifications/roots/list_changed",
        "notifications/elicitation/complete",
        "notifications/tasks/status",
    }
)
CLIENT_NOTIFICATIONS: Final = frozenset({"notifications/cancelled"})
SERVER_NOTIFICATIONS: Final = frozenset(NOTIFICATION_PARAMS)
INPUT_METHODS: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests that may be answered with an `InputRequiredResult`."""
CACHED: Final = frozenset(
    {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
)
"""The requests whose results say how long they may be kept."""

# -- what the codec has to know

RENAMES: Final[Mapping[type, Mapping[str, str]]] = {
    RequestMeta: {
        "protocol_version": PROTOCOL_VERSION,
        "client_capabilities": CLIENT_CAPABILITIES,
        "client_info": CLIENT_INFO,
        "log_level": LOG_LEVEL,
    },
}

OMITTED: Final[Mapping[type, Collection[str]]] = {
    ClientCapabilities: ("tasks",),
    ServerCapabilities: ("tasks",),
    RootsCapability: ("list_changed",),
    Tool: ("execution",),
    ElicitUrlParams: ("elicitation_id",),
}
"""Fields that this revision does not have."""
