"""Revision 2025-11-25, and the three older ones that shake hands: words, numbers and gates.

One class speaks all four, because they differ by what is missing: an older revision is this one with a narrower
vocabulary, and what is not in its tables cannot be said. Tasks (SEP-1686) exist in 2025-11-25 alone. Nothing of
2026-07-28 is known here.

Spec: the pages of revision 2025-11-25; basic/utilities/tasks above all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Final

from .._unset import JSON, UNSET, JSONObject, ProgressToken, RequestId, TaskId, Unset
from ..clock import timestamp
from ..codec.messages import json_type
from ..codec.shapes import ShapeCodec
from ..errors import (
    InternalError,
    InvalidParams,
    InvalidShape,
    LocalProtocolError,
    MethodNotFound,
    Refusal,
    RequestFailed,
    ResourceNotFound,
    TaskCancelled,
    UrlElicitationRequired,
)
from ..tasks.model import Await, Call, Cancel, Get, List, Page, Raised, Returned, Stopped, TaskRecord, TaskWish
from ..wire import capabilities as caps
from ..wire import v2025_11_25 as wire
from ..wire.client_features import ElicitFormParams
from ..wire.jsonrpc import ErrorObject, Notification, Request
from ..wire.server_features import (
    CallToolResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    Prompt,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    Tool,
)
from ..wire.tasks import Task
from ._common import (
    NUMBERS,
    QUESTION_GATES,
    SERVER_GATES,
    announced,
    check_asked,
    check_elicitation,
    check_sampling,
    first_text,
    lower_error,
    missing,
    only_if,
    status_of,
)
from .base import (
    Capabilities,
    Dialect,
    Incoming,
    Initialized,
    Notice,
    Offers,
    Open,
    Ping,
    Progressed,
    Report,
    Side,
    TaskChanged,
    Told,
    Withdrawn,
)

__all__ = ["HANDSHAKE", "V2024_11_05", "V2025_03_26", "V2025_06_18", "V2025_11_25", "HandshakeDialect"]

_NUMBERS: Final[Mapping[type[Refusal], int]] = {
    **NUMBERS,
    ResourceNotFound: -32002,
    UrlElicitationRequired: -32042,
}

# What the other side must have announced before it may be sent a method: a path into its capabilities.
_GATES: Final[Mapping[str, tuple[str, ...]]] = {
    **SERVER_GATES,
    **QUESTION_GATES,
    "resources/subscribe": ("resources", "subscribe"),
    "resources/unsubscribe": ("resources", "subscribe"),
    "logging/setLevel": ("logging",),
    "tasks/get": ("tasks",),
    "tasks/result": ("tasks",),
    "tasks/list": ("tasks", "list"),
    "tasks/cancel": ("tasks", "cancel"),
    "notifications/roots/list_changed": ("roots", "list_changed"),
}

# Which requests can be tasks at all, and where that is announced.
_TASK_GATES: Final[Mapping[str, tuple[str, ...]]] = {
    "tools/call": ("tasks", "requests", "tools", "call"),
    "sampling/createMessage": ("tasks", "requests", "sampling", "create_message"),
    "elicitation/create": ("tasks", "requests", "elicitation", "create"),
}

_KNOWN: Final = frozenset(wire.REQUEST_PARAMS) | wire.NOTIFICATION_PARAMS.keys()
_ANNOUNCED_WITH_TASKS: Final = frozenset({"tasks/list", "tasks/cancel"})  # the others need no announcement (T25-014)

# Fields that came later, with the next era.
_SINCE_2026_07_28: Final[Mapping[type, Collection[str]]] = dict.fromkeys(
    (ListToolsResult, ListPromptsResult, ListResourcesResult, ListResourceTemplatesResult, ReadResourceResult),
    ("ttl_ms", "cache_scope"),
)
# Fields that came later. Older peers would ignore most of them, but strict ones exist.
_SINCE_2025_11_25: Final[Mapping[type, Collection[str]]] = {
    **_SINCE_2026_07_28,
    Tool: ("execution", "icons"),
    Resource: ("icons",),
    ResourceTemplate: ("icons",),
    Prompt: ("icons",),
    caps.Implementation: ("icons", "description", "website_url"),
    ElicitFormParams: ("mode",),
}
_SINCE_2025_06_18: Final[Mapping[type, Collection[str]]] = {
    **_SINCE_2025_11_25,
    Tool: ("execution", "icons", "title", "output_schema"),
    Resource: ("icons", "title"),
    ResourceTemplate: ("icons", "title"),
    Prompt: ("icons", "title"),
    caps.Implementation: ("icons", "description", "website_url", "title"),
    CallToolResult: ("structured_content",),
}


class HandshakeDialect(Dialect):
    """A revision with sessions: one of `HANDSHAKE`."""

    def __init__(self, revision: str, omit: Mapping[type, Collection[str]]) -> None:
        self.revision = revision
        self._has_tasks = revision == wire.REVISION
        self._omit = omit
        words = wire.VOCABULARIES[revision]
        self._requests = {Side.SERVER: words.client_requests, Side.CLIENT: words.server_requests}
        self._notifications = {Side.SERVER: words.client_notifications, Side.CLIENT: words.server_notifications}
        # By who receives: what this protocol has somewhere, but not here.
        self._strange = {side: _KNOWN - methods for side, methods in self._requests.items()}
        self._verbs: dict[str, Callable[[TaskId], Get | Await | Cancel]] = {
            "tasks/get": Get,
            "tasks/result": Await,
            "tasks/cancel": Cancel,
        }

    @cached_property
    def _codec(self) -> ShapeCodec:  # made when it is first needed: most processes speak one revision
        return ShapeCodec(renames=wire.RENAMES, omit=self._omit, narrow=wire.NARROWED)

    # --- lifting --------------------------------------------------------------------------------------------------

    def lift_request(self, request: Request, side: Side, task_methods: AbstractSet[str]) -> Incoming:
        method, params = request.method, request.params
        if params is UNSET:
            params = {}
        if method in self._strange[side]:
            raise MethodNotFound(f"Method not found: {method}")
        meta = params.get("_meta")
        if meta is None:
            meta = {}
        elif type(meta) is not dict:
            raise InvalidParams(f"$.params._meta: expected object, got {json_type(meta)}")
        if method[:6] == "tasks/" and method in _KNOWN:
            if not task_methods and method in _ANNOUNCED_WITH_TASKS:
                raise MethodNotFound(f"Method not found: {method}")  # T25-013
            if verb := self._verbs.get(method):
                # Related-task metadata is ignored here: `taskId` alone says which task is meant (T25-101, T25-103).
                return verb(TaskId(self._member(params, "taskId")))
            return List(self._member(params, "cursor") if "cursor" in params else None)
        if method == "ping":
            return Ping()
        if method == "initialize":
            opening = self.lift_params(method, params)
            return Open(opening.protocol_version, opening.capabilities, opening.client_info)
        token = meta.get("progressToken")
        if token is not None and type(token) is not int and type(token) is not str:
            raise InvalidParams(f"$.params._meta.progressToken: expected string or integer, got {json_type(token)}")
        wish = None
        if "task" in params and method in task_methods:  # where it was not announced it is disregarded (T25-056)
            wish = self._wish(params["task"])
        return Call(method, params, wish, token, meta, _related_to(meta) if meta else None)

    def lift_params(self, method: str, params: JSONObject) -> Any:
        shape = wire.REQUEST_PARAMS.get(method)
        if shape is None:
            return params
        try:
            return self._codec.lift(params, shape, "$.params")
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None

    def lift_notification(self, notification: Notification, side: Side) -> Notice | None:
        method = notification.method
        params: JSONObject = {} if notification.params is UNSET else notification.params
        if method not in self._notifications[side]:
            return None if method in _KNOWN else Told(method, params)
        if method == "notifications/tasks/status":
            params = _with_ttl(params)
        said = self._codec.lift(params, wire.NOTIFICATION_PARAMS[method], "$.params")
        match method:
            case "notifications/cancelled":
                # Without an id there is nothing to cancel: such a notification is for tasks elsewhere, and ignored.
                return None if said.request_id is UNSET else Withdrawn(said.request_id, said.reason or "")
            case "notifications/progress":
                total = None if said.total is UNSET else said.total
                return Progressed(said.progress_token, said.progress, total, said.message or None)
            case "notifications/tasks/status":
                return TaskChanged(Report(said))
            case "notifications/initialized":
                return Initialized()
        return Told(method, said)

    def lift_result(self, method: str, result: JSONObject) -> Any:
        shape = wire.RESULTS.get(method)
        return result if shape is None else self._codec.lift(result, shape, "$.result")

    def lift_created(self, result: JSONObject) -> Task | None:
        # Settled by the member that only this result has; a result of the plain kind may have been sent instead.
        if self._has_tasks and "task" in result:
            return self._codec.lift(_with_ttl(result["task"]), Task, "$.result.task")
        return None

    def lift_immediate(self, result: JSONObject) -> str | None:
        meta = result.get("_meta")
        immediate = meta.get(wire.MODEL_IMMEDIATE_RESPONSE) if isinstance(meta, dict) else None
        return immediate if isinstance(immediate, str) else None

    def lift_task(self, result: JSONObject) -> Report:
        return Report(self.lift_cancelled(result))

    def lift_cancelled(self, result: JSONObject) -> Task:
        return self._codec.lift(_with_ttl(result), Task, "$.result")

    def lift_tasks(self, result: JSONObject) -> tuple[list[Task], str | None]:
        if isinstance(tasks := result.get("tasks"), list):
            result = {**result, "tasks": [_with_ttl(task) for task in tasks]}
        page = self._codec.lift(result, wire.ListTasksResult, "$.result")
        return page.tasks, None if page.next_cursor is UNSET else page.next_cursor

    def lift_answer(self, result: JSONObject) -> JSONObject:
        meta = result.get("_meta")
        if not isinstance(meta, dict) or wire.RELATED_TASK not in meta:
            return result
        rest = {name: value for name, value in meta.items() if name != wire.RELATED_TASK}
        bare = {name: value for name, value in result.items() if name != "_meta"}
        return {**bare, "_meta": rest} if rest else bare

    def lift_outcome(self, result: JSONObject) -> JSONObject:
        return result

    def _wish(self, task: JSON) -> TaskWish:
        if type(task) is not dict:
            raise InvalidParams(f"$.params.task: expected object, got {json_type(task)}")
        if "ttl" not in task:
            return TaskWish()
        ttl = task["ttl"]
        if type(ttl) is not int and type(ttl) is not float:
            raise InvalidParams(f"$.params.task.ttl: expected number, got {json_type(ttl)}")
        if ttl < 0:
            raise InvalidParams(f"$.params.task.ttl: expected milliseconds from 0 up, got {ttl}")
        return TaskWish(math.ceil(ttl))

    def _member(self, params: JSONObject, name: str) -> str:
        value = params.get(name)
        if type(value) is not str:
            missing = name not in params
            raise InvalidParams(
                f"$.params.{name}: " + ("required" if missing else f"expected string, got {json_type(value)}")
            )
        return value

    # --- lowering -------------------------------------------------------------------------------------------------

    def lower_call(
        self,
        params: Any,
        *,
        ttl_ms: int | Unset | None = UNSET,
        token: ProgressToken | None = None,
        related: TaskId | None = None,
        stamp: JSONObject | None = None,
    ) -> JSONObject | Unset:
        if ttl_ms is UNSET and token is None and related is None and not stamp:
            if params is None:
                return UNSET
            return params if type(params) is dict else self._codec.lower(params)
        wired: JSONObject = {}
        if params is not None and params is not UNSET:
            wired.update(params if type(params) is dict else self._codec.lower(params))
        if ttl_ms is not UNSET:
            wired["task"] = {} if ttl_ms is None else {"ttl": ttl_ms}
        if token is not None or related is not None or stamp:
            meta = {**(stamp or {}), **(wired.get("_meta") or {})}
            if token is not None:
                meta["progressToken"] = token
            if related is not None:
                meta[wire.RELATED_TASK] = {"taskId": related}
            wired["_meta"] = meta
        return wired

    def lower_result(self, method: str, result: Any, related: TaskId | None = None) -> JSONObject:
        wired: JSONObject
        if result is None:
            wired = {}
        elif type(result) is dict:
            shape = wire.RESULTS.get(method)
            if shape is not None:
                self._codec.lift(result, shape, "$.result")
            wired = result
        else:
            wired = self._codec.lower(result)
            if type(wired) is not dict:
                raise InvalidShape("$.result", f"expected object, got {json_type(wired)}")
        return wired if related is None else _related(wired, related)

    def lower_error(self, error: Refusal | RequestFailed) -> ErrorObject:
        if isinstance(error, UrlElicitationRequired) and not self._has_tasks:
            error = InternalError(error.message, error.data)  # its number came with URL mode, in the revision of tasks
        return lower_error(error, _NUMBERS)

    def lower_created(self, record: TaskRecord, immediate: str | None) -> JSONObject:
        meta: JSONObject = {wire.RELATED_TASK: {"taskId": record.id}}
        if immediate is not None:
            meta[wire.MODEL_IMMEDIATE_RESPONSE] = immediate
        return {"task": self.lower_task(record), "_meta": meta}

    def lower_task(self, record: TaskRecord) -> JSONObject:
        status, message = _status(record)
        created = timestamp(record.created_at)
        task: JSONObject = {
            "taskId": record.id,
            "status": status,
            "createdAt": created,
            "lastUpdatedAt": created if record.updated_at == record.created_at else timestamp(record.updated_at),
            "ttl": record.ttl_ms,
        }
        if record.poll_interval_ms is not None:
            task["pollInterval"] = record.poll_interval_ms
        if message is not None:
            task["statusMessage"] = message
        return task

    def lower_page(self, page: Page) -> JSONObject:
        wired: JSONObject = {"tasks": [self.lower_task(record) for record in page.records]}
        if page.next_cursor is not None:
            wired["nextCursor"] = page.next_cursor
        return wired

    def lower_outcome(self, record: TaskRecord) -> JSONObject:
        match record.outcome:
            case Returned(result):
                return _related(result, record.id)
            case Raised(error):
                raise error.with_traceback(None)  # the same object at each read: it must not grow
            case Stopped(reason):
                raise TaskCancelled(record.id, reason)
        raise InternalError(f"Task {record.id} has no outcome")

    def task_notification(self, record: TaskRecord, subscription: RequestId | None = None) -> Notification:
        return Notification("notifications/tasks/status", self.lower_task(record))

    def progress_notification(
        self, token: ProgressToken, progress: float, total: float | None, message: str | None, related: TaskId | None
    ) -> Notification:
        params: JSONObject = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        return Notification("notifications/progress", params if related is None else _related(params, related))

    def log_notification(self, level: str, data: Any, logger: str | None, related: TaskId | None) -> Notification:
        params: JSONObject = {"level": level, "data": data}
        if logger is not None:
            params["logger"] = logger
        return Notification("notifications/message", params if related is None else _related(params, related))

    def cancel_notification(self, id: RequestId, reason: str) -> Notification:
        return Notification("notifications/cancelled", {"requestId": id, "reason": reason})

    def get_task(self, id: str) -> tuple[str, JSONObject]:
        return "tasks/get", {"taskId": id}

    def await_task(self, id: str) -> tuple[str, JSONObject]:
        return "tasks/result", {"taskId": id}

    def cancel_task(self, id: str) -> tuple[str, JSONObject]:
        return "tasks/cancel", {"taskId": id}

    def list_tasks(self, cursor: str | None) -> tuple[str, JSONObject]:
        return "tasks/list", {} if cursor is None else {"cursor": cursor}

    # --- rules ----------------------------------------------------------------------------------------------------

    def capabilities(self, offers: Offers, side: Side) -> Capabilities:
        has = offers.methods & self._requests[side]
        tasks = self._tasks_capability(offers, side)
        if side is Side.CLIENT:
            url: JSONObject | Unset = {} if offers.elicit_url and self._has_tasks else UNSET
            return caps.ClientCapabilities(
                sampling=only_if(
                    "sampling/createMessage" in has,
                    caps.SamplingCapability(
                        tools={} if offers.sampling_tools and self._has_tasks else UNSET,
                        context={} if offers.sampling_context and self._has_tasks else UNSET,
                    ),
                ),
                elicitation=only_if(
                    "elicitation/create" in has,
                    caps.ElicitationCapability(form={} if offers.elicit_form and self._has_tasks else UNSET, url=url),
                ),
                roots=only_if("roots/list" in has, caps.RootsCapability(list_changed=True)),
                tasks=tasks,
                experimental=offers.experimental,
            )
        changes = True  # a handler table may be added to at any time, and says so to whoever is connected
        return caps.ServerCapabilities(
            tools=only_if("tools/call" in has, caps.ToolsCapability(list_changed=changes)),
            resources=only_if(
                "resources/read" in has,
                caps.ResourcesCapability(
                    subscribe=True if "resources/subscribe" in has else UNSET, list_changed=changes
                ),
            ),
            prompts=only_if("prompts/get" in has, caps.PromptsCapability(list_changed=changes)),
            completions=only_if("completion/complete" in has and self.revision != "2024-11-05", {}),
            logging=only_if("logging/setLevel" in has, {}),
            tasks=tasks,
            experimental=offers.experimental,
        )

    def announced_tasks(self, offers: Offers, side: Side) -> AbstractSet[str]:
        if not self._has_tasks:
            return frozenset()
        return offers.task_methods & _TASK_GATES.keys() & self._requests[side] & offers.methods

    def _tasks_capability(self, offers: Offers, side: Side) -> caps.TasksCapability | Unset:
        can = self.announced_tasks(offers, side)
        if not can:
            return UNSET
        return caps.TasksCapability(
            list=only_if(offers.list_tasks, {}),
            cancel={},
            requests=caps.TaskRequestsCapability(
                tools=only_if("tools/call" in can, caps.TaskToolsCapability(call={})),
                sampling=only_if("sampling/createMessage" in can, caps.TaskSamplingCapability(create_message={})),
                elicitation=only_if("elicitation/create" in can, caps.TaskElicitationCapability(create={})),
            ),
        )

    def require(self, method: str, params: Any, theirs: Capabilities, side: Side, *, as_task: bool = False) -> None:
        receiver = side.other
        if method not in self._requests[receiver] and method not in self._notifications[receiver]:
            if method in _KNOWN:
                raise LocalProtocolError(f"{method} does not go to a {receiver.value} in revision {self.revision}")
            return
        gate = _GATES.get(method)
        if gate is not None and not announced(theirs, gate) and not self._always(method):
            missing(method, receiver, gate)
        if as_task:
            gate = _TASK_GATES.get(method)
            if gate is None or not self._has_tasks:
                raise LocalProtocolError(f"{method} cannot be a task in revision {self.revision}")
            if not announced(theirs, gate):
                missing(f"{method} as a task", receiver, gate)
        if method == "sampling/createMessage":
            check_sampling(self._ours(method, params), theirs, gates_context=self._has_tasks)
        elif method == "elicitation/create":
            check_elicitation(self._ours(method, params), theirs)

    def takes_tasks(self, method: str, theirs: Capabilities) -> bool:
        gate = _TASK_GATES.get(method)
        return self._has_tasks and gate is not None and announced(theirs, gate)

    def _always(self, method: str) -> bool:
        # The oldest revision has completion but no capability to announce it by.
        return method == "completion/complete" and self.revision == "2024-11-05"

    def _ours(self, method: str, params: Any) -> Any:
        if type(params) is not dict:
            return params
        try:
            return self._codec.lift(params, wire.REQUEST_PARAMS[method], "$.params")
        except InvalidShape as wrong:
            raise LocalProtocolError(str(wrong)) from None

    def check_asked(self, call: Call, ours: Capabilities) -> None:
        check_asked(call.method, call.params, lambda: self.lift_params(call.method, call.params), ours)

    def check_question(self, method: str, params: JSONObject, theirs: Capabilities, side: Side) -> None:
        self.require(method, params, theirs, side)


def _status(record: TaskRecord) -> tuple[str, str | None]:
    if (
        record.method == "tools/call"
        and isinstance(record.outcome, Returned)
        and record.outcome.result.get("isError") is True
    ):
        return "failed", first_text(record.outcome.result) or record.message  # T25-125, T25-129
    return status_of(record), record.message


def _with_ttl(task: Any) -> Any:
    # Receivers of released SDKs leave out a ttl that is null; what they mean is plain (T25-084).
    return {**task, "ttl": None} if isinstance(task, dict) and "ttl" not in task else task


def _related_to(meta: JSONObject) -> TaskId | None:
    related = meta.get(wire.RELATED_TASK)
    id = related.get("taskId") if isinstance(related, dict) else None
    return TaskId(id) if isinstance(id, str) else None


def _related(members: JSONObject, id: TaskId) -> JSONObject:
    return {**members, "_meta": {**(members.get("_meta") or {}), wire.RELATED_TASK: {"taskId": id}}}


V2025_11_25: Final = HandshakeDialect("2025-11-25", _SINCE_2026_07_28)
V2025_06_18: Final = HandshakeDialect("2025-06-18", _SINCE_2025_11_25)
V2025_03_26: Final = HandshakeDialect("2025-03-26", _SINCE_2025_06_18)
V2024_11_05: Final = HandshakeDialect("2024-11-05", _SINCE_2025_06_18)

HANDSHAKE: Final[Mapping[str, HandshakeDialect]] = {
    dialect.revision: dialect for dialect in (V2025_11_25, V2025_06_18, V2025_03_26, V2024_11_05)
}
"""The revisions that begin with ``initialize``, newest first."""
