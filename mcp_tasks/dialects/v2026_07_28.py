"""Revision 2026-07-28 and its tasks extension (SEP-2663): words, numbers and gates.

There is no handshake: every request says on what terms it comes. Only clients ask; what a server has to know goes back
inside a result, or stands open in a task. A task is made where the server sees fit, for clients that declare the
extension, and its outcome is part of what it looks like. Nothing of the handshake revisions is known here.

Spec: the pages of revision 2026-07-28, and the specification of the tasks extension.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Final

from .._unset import JSON, UNSET, JSONObject, ProgressToken, RequestId, TaskId, Unset
from ..clock import timestamp
from ..codec.messages import json_type
from ..codec.shapes import ShapeCodec
from ..errors import (
    CapabilityMissing,
    CapabilityRequired,
    InvalidParams,
    InvalidShape,
    LocalProtocolError,
    MethodNotFound,
    Refusal,
    RequestFailed,
    ResourceNotFound,
    UnsupportedRevision,
)
from ..tasks.model import Answer, Call, Cancel, Get, Page, Question, Raised, Returned, TaskRecord
from ..wire import capabilities as caps
from ..wire import v2026_07_28 as wire
from ..wire.jsonrpc import ErrorObject, Notification, Request
from ..wire.tasks import Task
from ._common import (
    NUMBERS,
    QUESTION_GATES,
    SERVER_GATES,
    announced,
    check_asked,
    check_elicitation,
    check_sampling,
    lower_error,
    missing,
    only_if,
    status_of,
)
from .base import (
    Acknowledged,
    Asked,
    Cache,
    Capabilities,
    Dialect,
    Discover,
    Incoming,
    Listen,
    Notice,
    Offers,
    Progressed,
    Report,
    Side,
    TaskChanged,
    Terms,
    Told,
    Topics,
    Withdrawn,
)

__all__ = ["V2026_07_28", "StatelessDialect"]

_NUMBERS: Final[Mapping[type[Refusal], int]] = {
    **NUMBERS,
    ResourceNotFound: NUMBERS[InvalidParams],
    CapabilityRequired: wire.MISSING_CAPABILITY,
    UnsupportedRevision: wire.UNSUPPORTED_VERSION,
}
# Numbers that other revisions have and this one forbids (C26-025), and what they are here.
_FORBIDDEN: Final[Mapping[int, int]] = {-32002: -32602, -32042: -32603}

_ONLY_TO_A_CLIENT = wire.SERVER_NOTIFICATIONS - wire.CLIENT_NOTIFICATIONS
_NOT_TO_A_SERVER: Final = wire.RETIRED | wire.RETIRED_NOTIFICATIONS | _ONLY_TO_A_CLIENT
_TASK_REQUESTS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
_WITH_TASKS: Final[JSONObject] = {"extensions": {wire.TASKS_EXTENSION: {}}}


class StatelessDialect(Dialect):
    """The revision without sessions."""

    revision = wire.REVISION
    stateless = True
    takes_input = wire.INPUT_METHODS
    augmentable = frozenset({"tools/call"})
    cached = wire.CACHED
    awaits = False

    @cached_property
    def _codec(self) -> ShapeCodec:  # made when it is first needed: most processes speak one revision
        return ShapeCodec(renames=wire.RENAMES, omit=wire.OMITTED)

    # --- lifting --------------------------------------------------------------------------------------------------

    def lift_terms(self, request: Request) -> Terms:
        params = request.params
        meta = None if params is UNSET else params.get("_meta")
        if type(meta) is not dict:
            raise InvalidParams(f"$.params._meta: {'required' if meta is None else 'expected object'}")
        try:
            said = self._codec.lift(meta, wire.RequestMeta, "$.params._meta")
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None
        return Terms(
            dialect=self,
            capabilities=said.client_capabilities,
            info=None if said.client_info is UNSET else said.client_info,
            log_level=None if said.log_level is UNSET else said.log_level,
        )

    def lift_request(self, request: Request, side: Side, task_methods: AbstractSet[str]) -> Incoming:
        method = request.method
        params: JSONObject = {} if request.params is UNSET else request.params
        if side is Side.CLIENT or method in wire.RETIRED:
            raise MethodNotFound(f"Method not found: {method}")
        if method[:6] == "tasks/":
            if method not in _TASK_REQUESTS or not task_methods:
                raise MethodNotFound(f"Method not found: {method}")
            said = self.lift_params(method, params)
            if method == "tasks/update":
                return Answer(TaskId(said.task_id), said.input_responses)
            return (Get if method == "tasks/get" else Cancel)(TaskId(said.task_id))
        if method == "server/discover":
            return Discover()
        if method == "subscriptions/listen":
            return Listen(_topics(self.lift_params(method, params).notifications))
        meta = params.get("_meta") or {}
        token = meta.get("progressToken")
        if token is not None and type(token) is not int and type(token) is not str:
            raise InvalidParams(f"$.params._meta.progressToken: expected string or integer, got {json_type(token)}")
        if method in wire.INPUT_METHODS and ("inputResponses" in params or "requestState" in params):
            answers, state = _brought_back(params)
            return Call(method, params, None, token, meta, answers=answers, state=state)
        return Call(method, params, None, token, meta)  # a `task` member means nothing here (X26-128)

    def lift_params(self, method: str, params: JSONObject) -> Any:
        shape = wire.REQUEST_PARAMS.get(method) or _QUESTION_PARAMS.get(method)
        if shape is None:
            return params
        try:
            return self._codec.lift(params, shape, "$.params")
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None

    def lift_notification(self, notification: Notification, side: Side) -> Notice | None:
        method = notification.method
        params: JSONObject = {} if notification.params is UNSET else notification.params
        shape = wire.NOTIFICATION_PARAMS.get(method)
        if shape is None:
            return Told(method, params)
        if side is Side.SERVER and method not in wire.CLIENT_NOTIFICATIONS:
            return None
        said = self._codec.lift(params, shape, "$.params")
        match method:
            case "notifications/cancelled":
                return None if said.request_id is UNSET else Withdrawn(said.request_id, said.reason or "")
            case "notifications/progress":
                total = None if said.total is UNSET else said.total
                return Progressed(said.progress_token, said.progress, total, said.message or None)
            case "notifications/tasks":
                return TaskChanged(self._report(said))
            case "notifications/subscriptions/acknowledged":
                return Acknowledged(_topics(said.notifications))
        return Told(method, said)

    def lift_result(self, method: str, result: JSONObject) -> Any:
        shape = wire.RESULTS.get(method)
        return result if shape is None else self._codec.lift(result, shape, "$.result")

    def lift_asked(self, result: JSONObject) -> Asked | None:
        kind = result.get("resultType", "complete")  # older servers leave it out (C26-015)
        if kind in ("complete", "task"):
            return None
        if kind != "input_required":
            raise InvalidShape("$.result.resultType", f"unknown result type {kind!r}")  # C26-014
        said = self._codec.lift(result, wire.InputRequiredResult, "$.result")
        state = None if said.request_state is UNSET else said.request_state
        if said.input_requests is UNSET and state is None:
            raise InvalidShape("$.result", "required: 'inputRequests' or 'requestState'")  # C26-264
        return Asked(_questions(said.input_requests), state)

    def lift_created(self, result: JSONObject) -> Task | None:
        if result.get("resultType") == "task":
            return self._codec.lift(result, Task, "$.result")
        return None

    def lift_immediate(self, result: JSONObject) -> str | None:
        return None

    def lift_task(self, result: JSONObject) -> Report:
        return self._report(self._codec.lift(result, wire.DetailedTask, "$.result"))

    def _report(self, said: wire.DetailedTask) -> Report:
        outcome: JSONObject | RequestFailed | None = None if said.result is UNSET else said.result
        if said.error is not UNSET:
            code, message = said.error.get("code"), said.error.get("message")
            if type(code) is not int or type(message) is not str:
                raise InvalidShape("$.result.error", "expected an error object with a code and a message")
            outcome = RequestFailed(code, message, said.error.get("data", UNSET))
        return Report(said, _questions(said.input_requests), outcome)

    def lift_tasks(self, result: JSONObject) -> tuple[list[Task], str | None]:
        raise self._unknown("a list of tasks")

    def lift_outcome(self, result: JSONObject) -> JSONObject:
        raise self._unknown("waiting for a task's result")

    def lift_discovered(
        self, result: JSONObject
    ) -> tuple[list[str], Capabilities, caps.Implementation | None, str | None]:
        said = self._codec.lift(result, wire.DiscoverResult, "$.result")
        meta = {} if said.meta is UNSET else said.meta
        info = None
        if wire.SERVER_INFO in meta:
            info = self._codec.lift(meta[wire.SERVER_INFO], caps.Implementation, f"$.result._meta.{wire.SERVER_INFO}")
        instructions = None if said.instructions is UNSET else said.instructions
        return said.supported_versions, said.capabilities, info, instructions

    def subscription_of(self, members: JSONObject | Unset) -> RequestId | None:
        meta = None if members is UNSET else members.get("_meta")
        id = meta.get(wire.SUBSCRIPTION_ID) if type(meta) is dict else None
        return id if type(id) is int or type(id) is str else None

    # --- lowering -------------------------------------------------------------------------------------------------

    def lower_stamp(
        self, capabilities: Capabilities, info: caps.Implementation, *, log_level: str | None
    ) -> JSONObject:
        stamp: JSONObject = {
            wire.PROTOCOL_VERSION: self.revision,
            wire.CLIENT_CAPABILITIES: self._codec.lower(capabilities),
            wire.CLIENT_INFO: self._codec.lower(info),
        }
        if log_level is not None:
            stamp[wire.LOG_LEVEL] = log_level
        return stamp

    def lower_info(self, info: caps.Implementation) -> JSONObject:
        return self._codec.lower(info)  # type: ignore[no-any-return]

    def lower_call(
        self,
        params: Any,
        *,
        ttl_ms: int | Unset | None = UNSET,
        token: ProgressToken | None = None,
        related: TaskId | None = None,
        stamp: JSONObject | None = None,
    ) -> JSONObject | Unset:
        # `ttl_ms` is for those who may ask for a task: here only the server decides (X26-006).
        if params is None or params is UNSET:
            wired: JSONObject = {}
        else:
            wired = params if type(params) is dict else self._codec.lower(params)
        meta: JSONObject = {} if stamp is None else stamp
        if token is not None or wired.get("_meta"):
            meta = {**(wired.get("_meta") or {}), **meta}
            if token is not None:
                meta["progressToken"] = token
        return {**wired, "_meta": meta} if meta else wired or UNSET

    def lower_retry(
        self, params: JSONObject | Unset, answers: Mapping[str, JSONObject], state: str | None
    ) -> JSONObject:
        wired = {} if params is UNSET else {k: v for k, v in params.items() if k not in _BROUGHT_BACK}
        if answers:
            wired["inputResponses"] = dict(answers)
        if state is not None:
            wired["requestState"] = state
        return wired

    def lower_asked(self, questions: Mapping[str, Question], state: str | None) -> JSONObject:
        wired: JSONObject = {"resultType": "input_required"}
        if questions:
            wired["inputRequests"] = {key: _lower_question(question) for key, question in questions.items()}
        if state is not None:
            wired["requestState"] = state
        return wired

    def complete(self, method: str, result: JSONObject, info: JSONObject | None, cache: Cache | None) -> JSONObject:
        wired: JSONObject = {"resultType": "complete", **result}
        if info is not None:
            wired["_meta"] = {wire.SERVER_INFO: info, **(result.get("_meta") or {})}
        if method in wire.CACHED and wired["resultType"] == "complete":
            hint = _NOT_KEPT if cache is None else cache
            wired.setdefault("ttlMs", round(hint.ttl * 1000))
            wired.setdefault("cacheScope", hint.scope)
        return wired

    def lower_result(self, method: str, result: Any, related: TaskId | None = None) -> JSONObject:
        if result is None:
            return {}
        if type(result) is dict:
            shape = wire.RESULTS.get(method)
            if shape is not None:
                self._codec.lift(result, shape, "$.result")
            return result
        wired = self._codec.lower(result)
        if type(wired) is not dict:
            raise InvalidShape("$.result", f"expected object, got {json_type(wired)}")
        return wired

    def lower_discovered(
        self, supported: Sequence[str], capabilities: Capabilities, instructions: str | None
    ) -> JSONObject:
        assert isinstance(capabilities, caps.ServerCapabilities)
        told = wire.DiscoverResult(
            supported_versions=list(supported),
            capabilities=capabilities,
            instructions=UNSET if instructions is None else instructions,
        )
        return self._codec.lower(told)  # type: ignore[no-any-return]

    def lower_error(self, error: Refusal | RequestFailed) -> ErrorObject:
        said = lower_error(error, _NUMBERS)
        number = _FORBIDDEN.get(said.code)
        return said if number is None else ErrorObject(number, said.message, said.data)

    def lower_created(self, record: TaskRecord, immediate: str | None) -> JSONObject:
        return {"resultType": "task", **_lower_task(record)}

    def lower_task(self, record: TaskRecord) -> JSONObject:
        wired = _lower_task(record)
        if record.questions:
            wired["inputRequests"] = {key: _lower_question(asked) for key, asked in record.questions.items()}
        match record.outcome:
            case Returned(result):
                wired["result"] = self.complete(record.method, result, None, None)
            case Raised(error):
                said = self.lower_error(error)
                wired["error"] = {"code": said.code, "message": said.message}
                if said.data is not UNSET:
                    wired["error"]["data"] = said.data
        return wired

    def lower_cancelled(self, record: TaskRecord) -> JSONObject:
        return {}

    def lower_page(self, page: Page) -> JSONObject:
        raise self._unknown("a list of tasks")

    def lower_outcome(self, record: TaskRecord) -> JSONObject:
        raise self._unknown("waiting for a task's result")

    def task_notification(self, record: TaskRecord, subscription: RequestId | None = None) -> Notification:
        if subscription is None:
            raise self._unknown("a task's status without a subscription")
        return self.tagged("notifications/tasks", self.lower_task(record), subscription)

    def lower_acknowledged(self, topics: Topics, subscription: RequestId) -> Notification:
        said = {"notifications": _lower_topics(topics)}
        return self.tagged("notifications/subscriptions/acknowledged", said, subscription)

    def lower_listened(self, subscription: RequestId) -> JSONObject:
        return {"_meta": {wire.SUBSCRIPTION_ID: subscription}}

    def tagged(self, method: str, params: JSONObject, subscription: RequestId) -> Notification:
        return Notification(method, {"_meta": {wire.SUBSCRIPTION_ID: subscription}, **params})

    def progress_notification(
        self, token: ProgressToken, progress: float, total: float | None, message: str | None, related: TaskId | None
    ) -> Notification:
        params: JSONObject = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        return Notification("notifications/progress", params)

    def log_notification(self, level: str, data: Any, logger: str | None, related: TaskId | None) -> Notification:
        params: JSONObject = {"level": level, "data": data}
        if logger is not None:
            params["logger"] = logger
        return Notification("notifications/message", params)

    def cancel_notification(self, id: RequestId, reason: str) -> Notification:
        return Notification("notifications/cancelled", {"requestId": id, "reason": reason})

    def get_task(self, id: str) -> tuple[str, JSONObject]:
        return "tasks/get", {"taskId": id}

    def await_task(self, id: str) -> tuple[str, JSONObject]:
        raise self._unknown("waiting for a task's result")

    def cancel_task(self, id: str) -> tuple[str, JSONObject]:
        return "tasks/cancel", {"taskId": id}

    def list_tasks(self, cursor: str | None) -> tuple[str, JSONObject]:
        raise self._unknown("a list of tasks")

    def update_task(self, id: str, answers: Mapping[str, JSONObject]) -> tuple[str, JSONObject]:
        return "tasks/update", {"taskId": id, "inputResponses": dict(answers)}

    def listen(self, topics: Topics) -> tuple[str, JSONObject]:
        return "subscriptions/listen", {"notifications": _lower_topics(topics)}

    def discover(self) -> tuple[str, JSONObject]:
        return "server/discover", {}

    # --- rules ----------------------------------------------------------------------------------------------------

    def capabilities(self, offers: Offers, side: Side) -> Capabilities:
        has = offers.methods
        extensions: JSONObject = {} if offers.extensions is UNSET else dict(offers.extensions)
        if side is Side.CLIENT:
            extensions[wire.TASKS_EXTENSION] = {}  # whoever calls a tool here can follow a task
            return caps.ClientCapabilities(
                sampling=only_if(
                    "sampling/createMessage" in has,
                    caps.SamplingCapability(
                        tools={} if offers.sampling_tools else UNSET, context={} if offers.sampling_context else UNSET
                    ),
                ),
                elicitation=only_if(
                    "elicitation/create" in has,
                    caps.ElicitationCapability(
                        form={} if offers.elicit_form else UNSET, url={} if offers.elicit_url else UNSET
                    ),
                ),
                roots=only_if("roots/list" in has, caps.RootsCapability()),
                experimental=offers.experimental,
                extensions=extensions,
            )
        if self.announced_tasks(offers, side):
            extensions[wire.TASKS_EXTENSION] = {}
        return caps.ServerCapabilities(
            tools=only_if("tools/call" in has, caps.ToolsCapability(list_changed=True)),
            resources=only_if(
                "resources/read" in has,
                caps.ResourcesCapability(subscribe=True if "resources/subscribe" in has else UNSET, list_changed=True),
            ),
            prompts=only_if("prompts/get" in has, caps.PromptsCapability(list_changed=True)),
            completions=only_if("completion/complete" in has, {}),
            logging=only_if("logging/setLevel" in has, {}),
            experimental=offers.experimental,
            extensions=extensions or UNSET,
        )

    def announced_tasks(self, offers: Offers, side: Side) -> AbstractSet[str]:
        if side is Side.CLIENT:
            return frozenset()
        return offers.task_methods & offers.methods & self.augmentable

    def require(self, method: str, params: Any, theirs: Capabilities, side: Side, *, as_task: bool = False) -> None:
        if side is Side.SERVER:
            if method in wire.SERVER_NOTIFICATIONS:
                return
            if method in wire.REQUEST_PARAMS or method in wire.RETIRED:
                raise LocalProtocolError(f"{method}: a server asks nothing in revision {self.revision}")
            if method in wire.RETIRED_NOTIFICATIONS:
                raise LocalProtocolError(f"{method} does not go to a client in revision {self.revision}")
            return
        if method in _NOT_TO_A_SERVER:
            raise LocalProtocolError(f"{method} does not go to a server in revision {self.revision}")
        gate = SERVER_GATES.get(method)
        if gate is not None and not announced(theirs, gate):
            missing(method, Side.SERVER, gate)
        if (as_task or method in _TASK_REQUESTS) and not self.runs_tasks_for(theirs):
            raise CapabilityMissing(f"{method}: the server has not announced the extension {wire.TASKS_EXTENSION}")
        if as_task and method not in self.augmentable:
            raise LocalProtocolError(f"{method} cannot be a task in revision {self.revision}")

    def takes_tasks(self, method: str, theirs: Capabilities) -> bool:
        return method in self.augmentable and self.runs_tasks_for(theirs)

    def runs_tasks_for(self, theirs: Capabilities) -> bool:
        return theirs.extensions is not UNSET and wire.TASKS_EXTENSION in theirs.extensions

    def require_tasks(self, what: str, theirs: Capabilities) -> None:
        if not self.runs_tasks_for(theirs):
            raise CapabilityRequired(
                f"{what}: the client has not declared the extension {wire.TASKS_EXTENSION}", _WITH_TASKS
            )

    def check_question(self, method: str, params: JSONObject, theirs: Capabilities, side: Side) -> None:
        gate = QUESTION_GATES.get(method)
        if gate is None:
            raise LocalProtocolError(f"a client cannot be asked for {method}")
        if not announced(theirs, gate):
            missing(method, Side.CLIENT, gate)
        if method == "sampling/createMessage":
            check_sampling(self._ours(method, params), theirs, gates_context=True)
        elif method == "elicitation/create":
            check_elicitation(self._ours(method, params), theirs)

    def _ours(self, method: str, params: JSONObject) -> Any:
        try:
            return self._codec.lift(params, _QUESTION_PARAMS[method], "$.params")
        except InvalidShape as wrong:
            raise LocalProtocolError(str(wrong)) from None

    def check_asked(self, call: Call, ours: Capabilities) -> None:
        check_asked(call.method, call.params, lambda: self.lift_params(call.method, call.params), ours)

    def check_answers(self, answers: Mapping[str, JSONObject], questions: Mapping[str, str], path: str) -> None:
        for key, method in questions.items():
            if key in answers:
                try:
                    self._codec.lift(answers[key], wire.RESULTS.get(method, dict), f"{path}.{key}")
                except InvalidShape as wrong:
                    raise InvalidParams(str(wrong)) from None


_BROUGHT_BACK: Final[Collection[str]] = ("inputResponses", "requestState")
_NOT_KEPT: Final = Cache()
_QUESTION_PARAMS: Final[Mapping[str, Any]] = wire.EMBEDDED_PARAMS


def _brought_back(params: JSONObject) -> tuple[Mapping[str, JSONObject], str | None]:
    answers: JSON = params.get("inputResponses", {})
    if type(answers) is not dict:
        raise InvalidParams(f"$.params.inputResponses: expected object, got {json_type(answers)}")
    for key, answer in answers.items():
        if type(answer) is not dict:
            raise InvalidParams(f"$.params.inputResponses.{key}: expected object, got {json_type(answer)}")
    state: JSON = params.get("requestState")
    if type(state) is not str and "requestState" in params:
        raise InvalidParams(f"$.params.requestState: expected string, got {json_type(state)}")
    return answers, state


def _questions(requests: Mapping[str, wire.InputRequest] | Unset) -> Mapping[str, Question]:
    if requests is UNSET:
        return {}
    return {
        key: Question(asked.method, {} if asked.params is UNSET else asked.params) for key, asked in requests.items()
    }


def _lower_question(question: Question) -> JSONObject:
    # A question that a task asked in the other era may have a member that this one lacks (C26-464).
    params = {name: value for name, value in question.params.items() if name not in ("elicitationId", "task")}
    return {"method": question.method, "params": params}


def _lower_task(record: TaskRecord) -> JSONObject:
    created = timestamp(record.created_at)
    wired: JSONObject = {
        "taskId": record.id,
        "status": status_of(record),
        "createdAt": created,
        "lastUpdatedAt": created if record.updated_at == record.created_at else timestamp(record.updated_at),
        "ttlMs": record.ttl_ms,
    }
    if record.poll_interval_ms is not None:
        wired["pollIntervalMs"] = record.poll_interval_ms
    if record.message is not None:
        wired["statusMessage"] = record.message
    return wired


def _topics(said: wire.SubscriptionFilter) -> Topics:
    return Topics(
        tools=said.tools_list_changed is True,
        prompts=said.prompts_list_changed is True,
        resources=said.resources_list_changed is True,
        uris=frozenset(() if said.resource_subscriptions is UNSET else said.resource_subscriptions),
        tasks=frozenset(() if said.task_ids is UNSET else map(TaskId, said.task_ids)),
    )


def _lower_topics(topics: Topics) -> JSONObject:
    wired: JSONObject = {}
    if topics.tools:
        wired["toolsListChanged"] = True
    if topics.prompts:
        wired["promptsListChanged"] = True
    if topics.resources:
        wired["resourcesListChanged"] = True
    if topics.uris:
        wired["resourceSubscriptions"] = sorted(topics.uris)
    if topics.tasks:
        wired["taskIds"] = sorted(topics.tasks)
    return wired


V2026_07_28: Final = StatelessDialect()
