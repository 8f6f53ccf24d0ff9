"""Revision 2025-11-25, and the older ones that shake hands: its task words, and which method carries which shape.

Tables, not behaviour. `REQUEST_PARAMS`, `RESULTS` and `NOTIFICATION_PARAMS` say what a method carries; the four sets
say who may send it, and `VOCABULARIES` narrows them for 2025-06-18, 2025-03-26 and 2024-11-05, which have no tasks.
`RENAMES` and `NARROWED` are for the codec: what this revision spells or types in its own way. Nothing of revision
2026-07-28 may be known here.

Spec: basic/utilities/tasks, and the schema's ClientRequest, ServerRequest, ClientNotification, ServerNotification.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, Cursor, JSONObject, Unset
from .capabilities import InitializeParams, InitializeResult
from .client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitationCompleteParams,
    ElicitParams,
    ElicitResult,
    ElicitUrlParams,
    ListRootsResult,
)
from .content import ToolResultContent
from .server_features import (
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
    SubscribeParams,
)
from .tasks import Task, TaskMetadata, TaskStatus
from .utilities import (
    CancelledParams,
    EmptyResult,
    LogParams,
    NotificationParams,
    PaginatedParams,
    ProgressParams,
    RequestParams,
    SetLevelParams,
)

__all__ = [
    "CLIENT_NOTIFICATIONS",
    "CLIENT_REQUESTS",
    "MODEL_IMMEDIATE_RESPONSE",
    "NARROWED",
    "NOTIFICATION_PARAMS",
    "RELATED_TASK",
    "RENAMES",
    "REQUEST_PARAMS",
    "RESULTS",
    "REVISION",
    "SERVER_NOTIFICATIONS",
    "SERVER_REQUESTS",
    "VOCABULARIES",
    "CreateTaskResult",
    "ListTasksResult",
    "RelatedTask",
    "Task",
    "TaskIdParams",
    "TaskMetadata",
    "TaskPayloadResult",
    "TaskStatus",
    "Vocabulary",
]

REVISION: Final = "2025-11-25"

RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
"""The ``_meta`` key that ties a message to a task; its value is a `RelatedTask`."""

MODEL_IMMEDIATE_RESPONSE: Final = "io.modelcontextprotocol/model-immediate-response"
"""The ``_meta`` key of a `CreateTaskResult` whose text the model may have while the task works."""


@frozen(eq=False, repr=False)
class RelatedTask(Shape):
    """The task that a message belongs to."""

    task_id: str


@frozen(eq=False, repr=False)
class TaskIdParams(Shape):
    """The parameters of ``tasks/get``, ``tasks/result`` and ``tasks/cancel``."""

    task_id: str
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class CreateTaskResult(Shape):
    """The answer to a request that was accepted as a task."""

    task: Task
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ListTasksResult(Shape):
    """A page of tasks."""

    tasks: list[Task]
    next_cursor: Cursor | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TaskPayloadResult(Shape):
    """The answer to ``tasks/result`` when the original method is not known: all of it is in `extra`.

    Whoever knows the method lifts the value as that method's result instead.
    """

    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen
class Vocabulary:
    """Which methods a revision has, by who may send them."""

    client_requests: frozenset[str]
    server_requests: frozenset[str]
    client_notifications: frozenset[str]
    server_notifications: frozenset[str]


# -- what a method carries

REQUEST_PARAMS: Final[dict[str, Any]] = {
    "initialize": InitializeParams,
    "ping": RequestParams,
    "completion/complete": CompleteParams,
    "logging/setLevel": SetLevelParams,
    "prompts/get": GetPromptParams,
    "prompts/list": PaginatedParams,
    "resources/list": PaginatedParams,
    "resources/templates/list": PaginatedParams,
    "resources/read": ReadResourceParams,
    "resources/subscribe": SubscribeParams,
    "resources/unsubscribe": SubscribeParams,
    "tools/call": CallToolParams,
    "tools/list": PaginatedParams,
    "sampling/createMessage": CreateMessageParams,
    "elicitation/create": ElicitParams,
    "roots/list": RequestParams,
    "tasks/get": TaskIdParams,
    "tasks/result": TaskIdParams,
    "tasks/cancel": TaskIdParams,
    "tasks/list": PaginatedParams,
}

RESULTS: Final[dict[str, Any]] = {
    "initialize": InitializeResult,
    "ping": EmptyResult,
    "completion/complete": CompleteResult,
    "logging/setLevel": EmptyResult,
    "prompts/get": GetPromptResult,
    "prompts/list": ListPromptsResult,
    "resources/list": ListResourcesResult,
    "resources/templates/list": ListResourceTemplatesResult,
    "resources/read": ReadResourceResult,
    "resources/subscribe": EmptyResult,
    "resources/unsubscribe": EmptyResult,
    "tools/call": CallToolResult,
    "tools/list": ListToolsResult,
    "sampling/createMessage": CreateMessageResult,
    "elicitation/create": ElicitResult,
    "roots/list": ListRootsResult,
    "tasks/get": Task,
    "tasks/result": TaskPayloadResult,
    "tasks/cancel": Task,
    "tasks/list": ListTasksResult,
}

NOTIFICATION_PARAMS: Final[dict[str, Any]] = {
    "notifications/cancelled": CancelledParams,
    "notifications/progress": ProgressParams,
    "notifications/initialized": NotificationParams,
    "notifications/roots/list_changed": NotificationParams,
    "notifications/message": LogParams,
    "notifications/resources/updated": ResourceUpdatedParams,
    "notifications/resources/list_changed": NotificationParams,
    "notifications/tools/list_changed": NotificationParams,
    "notifications/prompts/list_changed": NotificationParams,
    "notifications/elicitation/complete": ElicitationCompleteParams,
    "notifications/tasks/status": Task,
}

# -- who may send it

_TASK_REQUESTS = frozenset({"tasks/get", "tasks/result", "tasks/cancel", "tasks/list"})

_2024_11_05 = Vocabulary(
    client_requests=frozenset(
        {
            "initialize",
            "ping",
            "completion/complete",
            "logging/setLevel",
            "prompts/get",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "resources/read",
            "resources/subscribe",
            "resources/unsubscribe",
            "tools/call",
            "tools/list",
        }
    ),
    server_requests=frozenset({"ping", "sampling/createMessage", "roots/list"}),
    client_notifications=frozenset(
        {
            "notifications/cancelled",
            "notifications/progress",
            "notifications/initialized",
            "notifications/roots/list_changed",
        }
    ),
    server_notifications=frozenset(
        {
            "notifications/cancelled",
            "notifications/progress",
            "notifications/message",
            "notifications/resources/updated",
            "notifications/resources/list_changed",
            "notifications/tools/list_changed",
            "notifications/prompts/list_changed",
        }
    ),
)

_2025_03_26 = _2024_11_05

_2025_06_18 = Vocabulary(
    client_requests=_2025_03_26.client_requests,
    server_requests=_2025_03_26.server_requests | {"elicitation/create"},
    client_notifications=_2025_03_26.client_notifications,
    server_notifications=_2025_03_26.server_notifications,
)

_2025_11_25 = Vocabulary(
    client_requests=_2025_06_18.client_requests | _TASK_REQUESTS,
    server_requests=_2025_06_18.server_requests | _TASK_REQUESTS,
    client_notifications=_2025_06_18.client_notifications | {"notifications/tasks/status"},
    server_notifications=_2025_06_18.server_notifications
    | {"notifications/tasks/status", "notifications/elicitation/complete"},
)

VOCABULARIES: Final[dict[str, Vocabulary]] = {
    "2025-11-25": _2025_11_25,
    "2025-06-18": _2025_06_18,
    "2025-03-26": _2025_03_26,
    "2024-11-05": _2024_11_05,
}
"""Every revision that shakes hands, newest first."""

CLIENT_REQUESTS: Final = _2025_11_25.client_requests
SERVER_REQUESTS: Final = _2025_11_25.server_requests
CLIENT_NOTIFICATIONS: Final = _2025_11_25.client_notifications
SERVER_NOTIFICATIONS: Final = _2025_11_25.server_notifications

# -- what the codec has to know

RENAMES: Final[dict[type, dict[str, str]]] = {
    Task: {"ttl_ms": "ttl", "poll_interval_ms": "pollInterval"},
    TaskMetadata: {"ttl_ms": "ttl"},
}
"""Fields that this revision spells in its own way."""

NARROWED: Final[dict[type, dict[str, Any]]] = {
    CallToolResult: {"structured_content": JSONObject | Unset},
    ToolResultContent: {"structured_content": JSONObject | Unset},
    ElicitUrlParams: {"elicitation_id": str},
}
"""Fields that take less in this revision than their class allows; without `Unset`, the member is required."""
