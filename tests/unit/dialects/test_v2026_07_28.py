"""Revision 2026-07-28: its words are those of the official schema, and what is lowered is lifted again as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_tasks import (
    UNSET,
    V2026_07_28,
    CapabilityMissing,
    CapabilityRequired,
    InternalError,
    InvalidCursor,
    InvalidParams,
    InvalidRequest,
    InvalidShape,
    JSONObject,
    LimitReached,
    LocalProtocolError,
    MethodNotFound,
    Principal,
    Question,
    Raised,
    Refusal,
    RequestFailed,
    RequestRejected,
    ResourceNotFound,
    Returned,
    Side,
    Stopped,
    TaskAlreadySettled,
    TaskCancelled,
    TaskExpired,
    TaskId,
    TaskNotFound,
    TaskRecord,
    TaskState,
    Topics,
    UnsupportedRevision,
    UrlElicitationRequired,
)
from mcp_tasks.dialects.base import (
    Acknowledged,
    Asked,
    Cache,
    Discover,
    Listen,
    Offers,
    Progressed,
    TaskChanged,
    Told,
    Withdrawn,
)
from mcp_tasks.tasks.model import Answer, Call, Cancel, Get, Page
from mcp_tasks.wire import v2026_07_28 as v
from mcp_tasks.wire.capabilities import (
    ClientCapabilities,
    ElicitationCapability,
    Implementation,
    SamplingCapability,
    ServerCapabilities,
    ToolsCapability,
)
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.jsonrpc import Notification, Request
from mcp_tasks.wire.server_features import CallToolParams, CallToolResult, Tool, ToolExecution
from mcp_tasks.wire.tasks import Task

requirement = pytest.mark.requirement
DIALECT = V2026_07_28
TASKS = frozenset({"tools/call"})
WITH_TASKS = ClientCapabilities(extensions={v.TASKS_EXTENSION: {}})
INFO = Implementation(name="me", version="1")


def lifted(method: str, params: JSONObject | Any = UNSET, *, tasks: frozenset[str] = TASKS) -> Any:
    return DIALECT.lift_request(Request(1, method, params), Side.SERVER, tasks)


def record(**members: Any) -> TaskRecord:
    return TaskRecord(
        id=TaskId("t"),
        principal=Principal("ada"),
        method="tools/call",
        created_at=1_760_000_000.0,
        updated_at=1_760_000_001.5,
        ttl_ms=5000,
        **{"poll_interval_ms": 1000, **members},
    )


# --- words ------------------------------------------------------------------------------------------------------------


@requirement("C26-069", "X26-123", "X26-127")
def test_the_requests_are_those_of_the_schema_and_of_the_extension() -> None:
    schema = {
        "server/discover",
        "completion/complete",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "subscriptions/listen",
        "tools/call",
        "tools/list",
    }
    extension = {"tasks/get", "tasks/update", "tasks/cancel"}
    assert schema | extension == v.CLIENT_REQUESTS
    assert {"sampling/createMessage", "roots/list", "elicitation/create"} == v.EMBEDDED_REQUESTS
    assert v.REQUEST_PARAMS.keys() | v.EMBEDDED_PARAMS.keys() == v.RESULTS.keys()


def test_the_notifications_are_those_of_the_schema_and_of_the_extension() -> None:
    schema = {
        "notifications/cancelled",
        "notifications/progress",
        "notifications/message",
        "notifications/resources/updated",
        "notifications/resources/list_changed",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/subscriptions/acknowledged",
    }
    assert schema | {"notifications/tasks"} == v.SERVER_NOTIFICATIONS
    assert {"notifications/cancelled"} == v.CLIENT_NOTIFICATIONS


@requirement("C26-024", "X26-001")
def test_the_names_and_numbers_are_those_of_the_schema() -> None:
    assert (v.HEADER_MISMATCH, v.MISSING_CAPABILITY, v.UNSUPPORTED_VERSION) == (-32020, -32021, -32022)
    assert v.REVISION == DIALECT.revision == "2026-07-28"
    assert v.TASKS_EXTENSION == "io.modelcontextprotocol/tasks"
    names = (v.PROTOCOL_VERSION, v.CLIENT_CAPABILITIES, v.CLIENT_INFO, v.LOG_LEVEL, v.SERVER_INFO, v.SUBSCRIPTION_ID)
    assert names == tuple(
        f"io.modelcontextprotocol/{name}"
        for name in (
            "protocolVersion",
            "clientCapabilities",
            "clientInfo",
            "logLevel",
            "serverInfo",
            "subscriptionId",
        )
    )


@requirement("C26-252", "C26-294", "X26-014")
def test_which_requests_are_special() -> None:
    assert DIALECT.takes_input == {"tools/call", "prompts/get", "resources/read"}
    assert DIALECT.augmentable == {"tools/call"}
    assert DIALECT.cached == {
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    }
    assert DIALECT.stateless
    assert not DIALECT.awaits


@requirement("C26-069", "C26-068", "X26-123", "X26-127", "X26-135")
@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "tasks/x",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
    ],
)
def test_what_is_gone(method: str) -> None:
    with pytest.raises(MethodNotFound):
        lifted(method, {"taskId": "t"})


@requirement("C26-113")
@pytest.mark.parametrize("method", [*sorted(v.CLIENT_REQUESTS), "ping", "roots/list", "x/own"])
def test_a_client_is_asked_nothing(method: str) -> None:
    with pytest.raises(MethodNotFound):
        DIALECT.lift_request(Request(1, method), Side.CLIENT, frozenset())


def test_without_tasks_there_are_no_methods_for_them() -> None:
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        with pytest.raises(MethodNotFound):
            lifted(method, {"taskId": "t", "inputResponses": {}}, tasks=frozenset())


def test_a_method_of_no_era_is_a_call() -> None:
    call = lifted("x/own", {"a": 1})
    assert isinstance(call, Call)
    assert call.params == {"a": 1}


# --- requests ---------------------------------------------------------------------------------------------------------


@requirement("C26-055", "C26-413")
def test_terms_are_what_a_stamp_says() -> None:
    theirs = ClientCapabilities(sampling=SamplingCapability(tools={}), extensions={v.TASKS_EXTENSION: {}})
    for level in (None, "error"):
        stamp = DIALECT.lower_stamp(theirs, INFO, log_level=level)
        terms = DIALECT.lift_terms(Request(1, "x", {"_meta": stamp}))
        assert terms.dialect is DIALECT
        assert terms.capabilities == theirs
        assert terms.info == INFO
        assert terms.log_level == level


@requirement("C26-055")
@pytest.mark.parametrize("params", [UNSET, {}, {"_meta": None}, {"_meta": 3}, {"_meta": {}}])
def test_terms_that_are_not_said(params: Any) -> None:
    with pytest.raises(InvalidParams, match=r"\$\.params\._meta"):
        DIALECT.lift_terms(Request(1, "x", params))


@requirement("X26-130", "X26-135")
def test_a_stamp_has_no_word_of_another_era() -> None:
    from mcp_tasks.wire.capabilities import RootsCapability, TasksCapability

    theirs = ClientCapabilities(roots=RootsCapability(list_changed=True), tasks=TasksCapability(list={}))
    assert DIALECT.lower_stamp(theirs, INFO, log_level=None)[v.CLIENT_CAPABILITIES] == {"roots": {}}
    said = {v.PROTOCOL_VERSION: v.REVISION, v.CLIENT_CAPABILITIES: {"tasks": {"list": {}}}}
    lifted_terms = DIALECT.lift_terms(Request(1, "x", {"_meta": said}))
    assert not DIALECT.runs_tasks_for(lifted_terms.capabilities)


def test_a_call_is_lifted_as_it_was_lowered() -> None:
    params = CallToolParams(name="work", arguments={"n": 1})
    wired = DIALECT.lower_call(params, token="p", stamp={"a": 1}, ttl_ms=5)
    assert wired == {"name": "work", "arguments": {"n": 1}, "_meta": {"a": 1, "progressToken": "p"}}
    call = lifted("tools/call", wired)
    assert isinstance(call, Call)
    assert (call.progress_token, call.wish, call.related, call.state, dict(call.answers)) == ("p", None, None, None, {})
    assert DIALECT.lift_params("tools/call", call.params) == evolve(params, meta=call.meta)


@pytest.mark.parametrize("params", [None, UNSET, {}])
def test_a_call_without_parameters(params: Any) -> None:
    assert DIALECT.lower_call(params) is UNSET
    assert DIALECT.lower_call(params, stamp={"a": 1}) == {"_meta": {"a": 1}}


@requirement("X26-128", "X26-006")
def test_a_wish_for_a_task_is_no_wish() -> None:
    for task in ({}, {"ttl": 3}, None, 3):
        call = lifted("tools/call", {"name": "x", "task": task})
        assert isinstance(call, Call)
        assert call.wish is None


def test_a_retry_is_lifted_as_it_was_lowered() -> None:
    first = {"name": "work", "inputResponses": {"old": {}}, "requestState": "old"}
    answers: dict[str, JSONObject] = {"a": {"action": "accept"}}
    for state in ("s", None):
        for given_ in (answers, {}):
            wired = DIALECT.lower_retry(first, given_, state)
            assert wired.keys() == {"name"} | ({"requestState"} if state else set()) | (
                {"inputResponses"} if given_ else set()
            )
            call = lifted("tools/call", wired)
            assert isinstance(call, Call)
            assert (dict(call.answers), call.state) == (given_, state)
    assert DIALECT.lower_retry(UNSET, {}, "s") == {"requestState": "s"}


def test_answers_are_brought_back_where_there_are_questions() -> None:
    params = {"requestState": 3, "inputResponses": 3}
    for method in DIALECT.takes_input:
        with pytest.raises(InvalidParams):
            lifted(method, params)
    call = lifted("completion/complete", params)
    assert isinstance(call, Call)
    assert (call.state, dict(call.answers)) == (None, {})


def test_what_is_asked_about_tasks() -> None:
    answers: dict[str, JSONObject] = {"a": {"action": "accept"}}
    assert lifted(*DIALECT.get_task("t")) == Get(TaskId("t"))
    assert lifted(*DIALECT.cancel_task("t")) == Cancel(TaskId("t"))
    assert lifted(*DIALECT.update_task("t", answers)) == Answer(TaskId("t"), answers)


def test_discovery_is_asked_for() -> None:
    assert isinstance(lifted(*DIALECT.discover()), Discover)


TOPICS = [
    Topics(),
    Topics(tools=True),
    Topics(prompts=True, resources=True),
    Topics(uris=frozenset("ab"), tasks=frozenset({TaskId("t"), TaskId("")})),
    Topics(tools=True, prompts=True, resources=True, uris=frozenset("a"), tasks=frozenset({TaskId("t")})),
]


@requirement("C26-281", "C26-284", "C26-286")
@pytest.mark.parametrize("topics", TOPICS)
def test_topics_are_lifted_as_they_were_lowered(topics: Topics) -> None:
    listen = lifted(*DIALECT.listen(topics))
    assert isinstance(listen, Listen)
    assert listen.topics == topics
    said = DIALECT.lower_acknowledged(topics, "sub")
    assert DIALECT.subscription_of(said.params) == "sub"
    notice = DIALECT.lift_notification(said, Side.CLIENT)
    assert isinstance(notice, Acknowledged)
    assert notice.topics == topics


@pytest.mark.parametrize("id", [1, "1", 0, ""])
def test_a_subscription_is_known_by_its_id(id: Any) -> None:
    said = DIALECT.tagged("notifications/tools/list_changed", {"a": 1}, id)
    assert said.params == {"a": 1, "_meta": {v.SUBSCRIPTION_ID: id}}
    assert DIALECT.subscription_of(DIALECT.lower_listened(id)) == id
    assert type(DIALECT.subscription_of(said.params)) is type(id)


@pytest.mark.parametrize("id", [None, 1.5, True, [], {}])
def test_what_is_no_id_names_no_subscription(id: Any) -> None:
    assert DIALECT.subscription_of({"_meta": {v.SUBSCRIPTION_ID: id}}) is None
    assert DIALECT.subscription_of({"_meta": id}) is None
    assert DIALECT.subscription_of({}) is None
    assert DIALECT.subscription_of(UNSET) is None


# --- results ----------------------------------------------------------------------------------------------------------


@requirement("C26-010", "C26-011", "C26-061", "C26-294", "C26-295", "X26-017")
def test_a_result_is_completed() -> None:
    info = DIALECT.lower_info(INFO)
    result: JSONObject = {"tools": [], "_meta": {"a": 1}}
    kept = {"ttlMs": 1500, "cacheScope": "public"}
    signed = {"resultType": "complete", "tools": [], "_meta": {v.SERVER_INFO: {"name": "me", "version": "1"}, "a": 1}}
    assert DIALECT.complete("tools/list", result, info, Cache(1.5, "public")) == {**signed, **kept}
    assert DIALECT.complete("tools/list", result, info, None) == {**signed, "ttlMs": 0, "cacheScope": "private"}
    assert DIALECT.complete("tools/call", result, info, Cache(1.5)) == signed
    assert DIALECT.complete("x", {}, None, None) == {"resultType": "complete"}
    own = {"ttlMs": 7, "cacheScope": "private", "contents": []}
    assert DIALECT.complete("resources/read", own, None, Cache(1.5, "public")) == {"resultType": "complete", **own}
    asked = {"resultType": "input_required", "requestState": "s"}
    assert DIALECT.complete("resources/read", asked, None, Cache(1.5)) == asked
    assert result == {"tools": [], "_meta": {"a": 1}}, "what was given stays as it is"


QUESTIONS = {
    "a": Question("elicitation/create", {"message": "m", "requestedSchema": {"type": "object", "properties": {}}}),
    "b": Question("roots/list", {}),
}


@requirement("C26-250", "C26-264", "C26-254", "C26-257")
@pytest.mark.parametrize(("questions", "state"), [(QUESTIONS, "s"), (QUESTIONS, None), ({}, "s")])
def test_questions_are_lifted_as_they_were_lowered(questions: Any, state: str | None) -> None:
    wired = DIALECT.lower_asked(questions, state)
    assert wired["resultType"] == "input_required"
    asked = DIALECT.lift_asked(wired)
    assert asked == Asked(questions, state)
    for question in wired.get("inputRequests", {}).values():
        assert question.keys() == {"method", "params"}


@requirement("C26-264", "C26-014")
def test_results_that_are_none() -> None:
    for result in ({"resultType": "input_required"}, {"resultType": "other"}, {"resultType": None}, {"resultType": []}):
        with pytest.raises(InvalidShape):
            DIALECT.lift_asked(result)
    for result in ({}, {"resultType": "complete", "inputRequests": 3}, {"resultType": "task"}):
        assert DIALECT.lift_asked(result) is None


@requirement("C26-464")
def test_members_of_another_era_are_left_out_of_questions() -> None:
    params = {"mode": "url", "message": "m", "url": "u", "elicitationId": "e", "task": {}}
    wired = DIALECT.lower_asked({"a": Question("elicitation/create", params)}, None)
    assert wired["inputRequests"]["a"]["params"] == {"mode": "url", "message": "m", "url": "u"}


RECORDS = [
    (record(), "working", None),
    (record(message="half way", poll_interval_ms=None), "working", None),
    (record(state=TaskState.INPUT_REQUIRED, questions=QUESTIONS), "input_required", None),
    (record(state=TaskState.RETURNED, outcome=Returned({"content": []})), "completed", {"content": []}),
    (
        record(state=TaskState.RETURNED, outcome=Returned({"content": [], "isError": True})),
        "completed",
        {"content": [], "isError": True},
    ),
    (
        record(state=TaskState.RAISED, outcome=Raised(RequestFailed(7, "no", {"a": 1})), message="no"),
        "failed",
        RequestFailed(7, "no", {"a": 1}),
    ),
    (record(state=TaskState.RAISED, outcome=Raised(TaskNotFound("x"))), "failed", RequestFailed(-32602, "")),
    (record(state=TaskState.STOPPED, outcome=Stopped("why"), message="why"), "cancelled", None),
]


@requirement("X26-018", "X26-020", "X26-028", "X26-032", "X26-033", "X26-034", "X26-113", "X26-115")
@pytest.mark.parametrize(("task", "status", "outcome"), RECORDS)
def test_a_task_is_lifted_as_it_was_lowered(task: TaskRecord, status: str, outcome: Any) -> None:
    wired = DIALECT.lower_task(task)
    assert json.loads(json.dumps(wired)) == wired
    assert ("inputRequests" in wired, "result" in wired, "error" in wired) == (
        status == "input_required",
        status == "completed",
        status == "failed",
    )
    report = DIALECT.lift_task(wired)
    assert report.task.status == status
    assert (report.task.task_id, report.task.ttl_ms) == ("t", 5000)
    assert report.task.created_at == "2025-10-09T08:53:20.000Z"
    assert report.task.last_updated_at == "2025-10-09T08:53:21.500Z"
    assert report.task.poll_interval_ms == (UNSET if task.poll_interval_ms is None else 1000)
    assert report.task.status_message == (UNSET if task.message is None else task.message)
    assert dict(report.questions) == dict(task.questions)
    if isinstance(outcome, RequestFailed):
        assert isinstance(report.outcome, RequestFailed)
        assert report.outcome.code == outcome.code
        if outcome.message:
            assert (report.outcome.message, report.outcome.data) == (outcome.message, outcome.data)
    elif outcome is None:
        assert report.outcome is None
    else:
        assert report.outcome == {"resultType": "complete", **outcome}


@requirement("X26-094", "X26-095", "X26-099")
@pytest.mark.parametrize(("task", "status", "outcome"), RECORDS)
def test_a_task_is_told_as_it_is_looked_at(task: TaskRecord, status: str, outcome: Any) -> None:
    said = DIALECT.task_notification(task, 3)
    assert said.method == "notifications/tasks"
    assert said.params == {**DIALECT.lower_task(task), "_meta": {v.SUBSCRIPTION_ID: 3}}
    notice = DIALECT.lift_notification(said, Side.CLIENT)
    assert isinstance(notice, TaskChanged)
    assert notice.task.status == status


@requirement("X26-016", "X26-038", "X26-039")
@pytest.mark.parametrize(("task", "status", "outcome"), RECORDS)
def test_a_new_task_is_flat_and_has_no_outcome(task: TaskRecord, status: str, outcome: Any) -> None:
    wired = DIALECT.lower_created(task, "meanwhile")
    assert wired["resultType"] == "task"
    assert not wired.keys() & {"task", "inputRequests", "result", "error", "ttl", "pollInterval"}
    made = DIALECT.lift_created(wired)
    assert isinstance(made, Task)
    assert (made.task_id, made.status) == ("t", status)
    assert DIALECT.lift_immediate(wired) is None


def test_a_result_is_no_task() -> None:
    assert DIALECT.lift_created({"resultType": "complete", "taskId": "t"}) is None
    assert DIALECT.lift_created({"content": []}) is None
    with pytest.raises(InvalidShape):
        DIALECT.lift_created({"resultType": "task", "task": {}})


@requirement("X26-081")
def test_a_cancel_is_merely_acknowledged() -> None:
    assert DIALECT.lower_cancelled(record()) == {}
    assert DIALECT.lift_cancelled({"resultType": "complete"}) is None


@requirement("C26-102", "C26-103")
@pytest.mark.parametrize("instructions", [None, "", "Be kind."])
def test_discovery_is_lifted_as_it_was_lowered(instructions: str | None) -> None:
    ours = ServerCapabilities(tools=ToolsCapability(list_changed=True), extensions={"a.b/c": {"d": 1}})
    wired = DIALECT.lower_discovered(["x", "y"], ours, instructions)
    complete = DIALECT.complete("server/discover", wired, DIALECT.lower_info(INFO), None)
    assert DIALECT.lift_discovered(complete) == (["x", "y"], ours, INFO, instructions)
    assert DIALECT.lift_discovered(wired)[2] is None


def test_results_of_handlers() -> None:
    assert DIALECT.lower_result("tools/call", None) == {}
    given_ = {"content": [], "other": 1}
    assert DIALECT.lower_result("tools/call", given_) is given_
    result = CallToolResult(content=[TextContent(text="t")])
    wired = DIALECT.lower_result("tools/call", result)
    assert wired == {"content": [{"type": "text", "text": "t"}]}
    assert DIALECT.lift_result("tools/call", wired) == result
    assert DIALECT.lift_result("x/own", {"a": 1}) == {"a": 1}
    for method, wrong in (("tools/call", {"content": 3}), ("prompts/get", {}), ("x/own", [1])):
        with pytest.raises(InvalidShape):
            DIALECT.lower_result(method, wrong)


@requirement("C26-333")
def test_a_tool_says_nothing_of_tasks() -> None:
    from mcp_tasks.wire.server_features import ListToolsResult

    tool = Tool(name="a", input_schema={"type": "object"}, execution=ToolExecution(task_support="required"))
    wired = DIALECT.lower_result("tools/list", ListToolsResult(tools=[tool]))
    assert wired == {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]}


# --- errors -----------------------------------------------------------------------------------------------------------


@requirement("C26-023", "C26-024", "C26-025", "C26-018", "C26-372", "X26-105", "X26-106")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("m"), -32600),
        (MethodNotFound("m"), -32601),
        (InvalidParams("m"), -32602),
        (InternalError("m"), -32603),
        (ResourceNotFound("r:x"), -32602),
        (RequestRejected("m"), -1),
        (UrlElicitationRequired([]), -32603),
        (CapabilityRequired("m", {}), -32021),
        (UnsupportedRevision("x", ["y"]), -32022),
        (LimitReached("m", "n", 3), -32603),
        (TaskNotFound("t"), -32602),
        (TaskExpired(TaskId("t")), -32602),
        (TaskAlreadySettled(TaskId("t"), "over"), -32602),
        (TaskCancelled(TaskId("t")), -32603),
        (InvalidCursor(), -32602),
        (RequestFailed(-32002, "m", {"a": 1}), -32602),
        (RequestFailed(-32042, "m"), -32603),
        (RequestFailed(5, "m"), 5),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_each_error_has_a_number_of_this_era(error: Any, code: int) -> None:
    said = DIALECT.lower_error(error)
    assert (said.code, said.message, said.data) == (code, error.message, error.data)


def test_every_refusal_has_one() -> None:
    def kinds(kind: type[Refusal]) -> set[type[Refusal]]:
        return {kind}.union(*map(kinds, kind.__subclasses__()))

    for kind in kinds(Refusal):
        error = kind.__new__(kind)
        error.message, error.data = "m", UNSET
        assert DIALECT.lower_error(error).code not in (-32002, -32042)


# --- notifications ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "message"), [(None, None), (3, None), (None, "m"), (3.5, "m")])
def test_progress(total: float | None, message: str | None) -> None:
    said = DIALECT.progress_notification("p", 1.5, total, message, TaskId("t"))
    assert "_meta" not in (said.params or {})
    assert DIALECT.lift_notification(said, Side.CLIENT) == Progressed("p", 1.5, total, message)
    assert DIALECT.lift_notification(said, Side.SERVER) is None


def test_logs() -> None:
    said = DIALECT.log_notification("error", {"a": 1}, "x", None)
    notice = DIALECT.lift_notification(said, Side.CLIENT)
    assert isinstance(notice, Told)
    assert (notice.params.level, notice.params.data, notice.params.logger) == ("error", {"a": 1}, "x")
    assert "logger" not in (DIALECT.log_notification("error", None, None, None).params or {})


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("id", [1, "1"])
def test_cancellations_go_both_ways(side: Side, id: Any) -> None:
    assert DIALECT.lift_notification(DIALECT.cancel_notification(id, "why"), side) == Withdrawn(id, "why")


def test_notifications_that_are_not_for_us() -> None:
    for method in v.SERVER_NOTIFICATIONS - v.CLIENT_NOTIFICATIONS:
        assert DIALECT.lift_notification(Notification(method, {"nonsense": 1}), Side.SERVER) is None
    for side in Side:
        own = DIALECT.lift_notification(Notification("x/own", {"a": 1}), side)
        assert own == Told("x/own", {"a": 1})


# --- what there is not ------------------------------------------------------------------------------------------------


@requirement("X26-123", "X26-127")
def test_there_is_no_such_thing() -> None:
    attempts: list[Any] = [
        lambda: DIALECT.lift_tasks({"tasks": []}),
        lambda: DIALECT.lift_outcome({}),
        lambda: DIALECT.lower_page(Page([], None)),
        lambda: DIALECT.lower_outcome(record()),
        lambda: DIALECT.await_task("t"),
        lambda: DIALECT.list_tasks(None),
        lambda: DIALECT.task_notification(record()),
    ]
    for attempt in attempts:
        with pytest.raises(LocalProtocolError, match="2026-07-28"):
            attempt()


# --- rules ------------------------------------------------------------------------------------------------------------

SERVED = {"tools/call", "resources/read", "prompts/get", "completion/complete", "logging/setLevel"}


@requirement("X26-003", "X26-004", "X26-129", "X26-130", "C26-409", "C26-396")
def test_what_a_server_announces() -> None:
    offers = Offers(methods=SERVED | {"resources/subscribe"}, task_methods=SERVED, list_tasks=True)
    wired = DIALECT.lower_discovered([], DIALECT.capabilities(offers, Side.SERVER), None)["capabilities"]
    assert wired == {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "completions": {},
        "logging": {},
        "extensions": {v.TASKS_EXTENSION: {}},
    }
    assert DIALECT.announced_tasks(offers, Side.SERVER) == {"tools/call"}
    assert DIALECT.announced_tasks(Offers(task_methods=SERVED), Side.SERVER) == frozenset()
    nothing = DIALECT.capabilities(Offers(), Side.SERVER)
    assert DIALECT.lower_discovered([], nothing, None)["capabilities"] == {}


@requirement("X26-002", "X26-135")
def test_what_a_client_announces() -> None:
    offers = Offers(
        methods=v.EMBEDDED_REQUESTS,
        task_methods=v.EMBEDDED_REQUESTS,
        sampling_tools=True,
        elicit_url=True,
        extensions={"a.b/c": {}},
    )
    wired = DIALECT.lower_stamp(DIALECT.capabilities(offers, Side.CLIENT), INFO, log_level=None)
    assert wired[v.CLIENT_CAPABILITIES] == {
        "sampling": {"tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "roots": {},
        "extensions": {"a.b/c": {}, v.TASKS_EXTENSION: {}},
    }
    assert DIALECT.announced_tasks(offers, Side.CLIENT) == frozenset()
    assert offers.extensions == {"a.b/c": {}}


@requirement("C26-113", "C26-124")
@pytest.mark.parametrize("method", sorted(v.CLIENT_REQUESTS | v.EMBEDDED_REQUESTS | {"ping", "initialize"}))
def test_a_server_asks_nothing(method: str) -> None:
    with pytest.raises(LocalProtocolError):
        DIALECT.require(method, {}, ClientCapabilities(), Side.SERVER)


def test_what_a_client_may_send() -> None:
    everything = DIALECT.capabilities(Offers(methods=SERVED, task_methods=SERVED), Side.SERVER)
    for method in v.CLIENT_REQUESTS | {"x/own", "notifications/cancelled"}:
        DIALECT.require(method, {}, everything, Side.CLIENT)
    for method in ("ping", "tasks/list", "roots/list", "notifications/progress", "notifications/tasks"):
        with pytest.raises(LocalProtocolError):
            DIALECT.require(method, {}, everything, Side.CLIENT)
    for method in v.CLIENT_REQUESTS - {"server/discover", "subscriptions/listen"}:
        with pytest.raises(CapabilityMissing):
            DIALECT.require(method, {}, ServerCapabilities(), Side.CLIENT)
    with pytest.raises(LocalProtocolError):
        DIALECT.require("prompts/get", {}, everything, Side.CLIENT, as_task=True)
    DIALECT.require("tools/call", {}, everything, Side.CLIENT, as_task=True)


@requirement("X26-011", "X26-012", "X26-107", "X26-125")
def test_who_knows_tasks() -> None:
    assert DIALECT.runs_tasks_for(WITH_TASKS)
    DIALECT.require_tasks("tasks", WITH_TASKS)
    for theirs in (ClientCapabilities(), ClientCapabilities(extensions={"a.b/c": {}})):
        assert not DIALECT.runs_tasks_for(theirs)
        with pytest.raises(CapabilityRequired) as caught:
            DIALECT.require_tasks("tasks", theirs)
        assert caught.value.data == {"requiredCapabilities": {"extensions": {v.TASKS_EXTENSION: {}}}}


FORM = {"message": "m", "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}}


@requirement("C26-265", "C26-454", "C26-456", "C26-461", "C26-432", "C26-433")
def test_what_may_be_asked() -> None:
    forms = ClientCapabilities(elicitation=ElicitationCapability())
    DIALECT.check_question("elicitation/create", FORM, forms, Side.SERVER)
    for method in ("ping", "tools/call", "x/own"):
        with pytest.raises(LocalProtocolError):
            DIALECT.check_question(method, {}, forms, Side.SERVER)
    url = {"mode": "url", "message": "m", "url": "https://a.b"}
    with pytest.raises(CapabilityMissing) as caught:
        DIALECT.check_question("elicitation/create", url, forms, Side.SERVER)
    assert caught.value.required == {"elicitation": {"url": {}}}
    with pytest.raises(CapabilityMissing) as caught:
        DIALECT.check_question("roots/list", {}, forms, Side.SERVER)
    assert caught.value.required == {"roots": {}}
    nested = {"type": "object", "properties": {"a": {"type": "object"}}}
    with pytest.raises(LocalProtocolError, match="requestedSchema"):
        DIALECT.check_question("elicitation/create", {**FORM, "requestedSchema": nested}, forms, Side.SERVER)
    use = {"role": "assistant", "content": {"type": "tool_use", "id": "1", "name": "x", "input": {}}}
    model = ClientCapabilities(sampling=SamplingCapability(tools={}))
    with pytest.raises(LocalProtocolError, match="tool use"):
        DIALECT.check_question("sampling/createMessage", {"messages": [use], "maxTokens": 1}, model, Side.SERVER)


@requirement("C26-275", "C26-277")
def test_answers_are_checked_by_what_was_asked() -> None:
    asked = {"a": "elicitation/create", "b": "roots/list"}
    DIALECT.check_answers({"a": {"action": "decline"}, "c": {"nonsense": 1}}, asked, "$")
    DIALECT.check_answers({}, asked, "$")
    with pytest.raises(InvalidParams, match=r"^\$\.x\.b\.roots"):
        DIALECT.check_answers({"b": {}}, asked, "$.x")


# --- anything at all --------------------------------------------------------------------------------------------------

FUZZ = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
WORDS = [
    *(v.PROTOCOL_VERSION, v.CLIENT_CAPABILITIES, v.CLIENT_INFO, v.LOG_LEVEL, v.SUBSCRIPTION_ID, v.SERVER_INFO),
    *("_meta", "progressToken", "notifications", "taskId", "taskIds", "inputResponses", "requestState", "resultType"),
    *("inputRequests", "method", "params", "result", "error", "code", "message", "status", "createdAt", "ttlMs"),
    *("lastUpdatedAt", "supportedVersions", "capabilities", "extensions", "elicitation", "requestId", "progress"),
    *("toolsListChanged", "resourceSubscriptions", "name", "version", "arguments", "uri", "cursor", "level", "data"),
]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["2026-07-28", "task", "complete", "input_required", "working", "failed", "debug"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), VALUES, max_size=8)
METHODS = sorted(
    v.CLIENT_REQUESTS | v.SERVER_NOTIFICATIONS | v.EMBEDDED_REQUESTS | {"initialize", "tasks/list", "x/own"}
)


@FUZZ
@given(params=st.just(UNSET) | OBJECTS, meta=VALUES)
def test_terms_are_refused_and_nothing_else(params: Any, meta: Any) -> None:
    for given_ in (params, {"_meta": meta}):
        try:
            said = str(type(DIALECT.lift_terms(Request(1, "x", given_)).capabilities))
        except Refusal as refusal:
            said = str(refusal)
        assert said.startswith("$.params._meta") or said == str(ClientCapabilities)


@FUZZ
@given(
    method=st.sampled_from(METHODS), params=st.just(UNSET) | OBJECTS, side=st.sampled_from(Side), tasks=st.booleans()
)
def test_requests_are_refused_and_nothing_else(method: str, params: Any, side: Side, tasks: bool) -> None:
    if params is not UNSET and type(params.get("_meta", {})) is not dict:
        del params["_meta"]  # whoever lifts a request has lifted its terms
    try:
        asked = DIALECT.lift_request(Request(1, method, params), side, TASKS if tasks else frozenset())
        if isinstance(asked, Call):
            DIALECT.lift_params(method, asked.params)
            DIALECT.check_answers(asked.answers, dict.fromkeys(asked.answers, "elicitation/create"), "$")
    except Refusal:
        pass


@FUZZ
@given(method=st.sampled_from(METHODS), params=st.just(UNSET) | OBJECTS, side=st.sampled_from(Side))
def test_notifications_are_wrong_and_nothing_else(method: str, params: Any, side: Side) -> None:
    try:
        DIALECT.lift_notification(Notification(method, params), side)
    except InvalidShape:
        pass
    assert DIALECT.subscription_of(params) is None or params is not UNSET


@FUZZ
@given(method=st.sampled_from(METHODS), result=OBJECTS)
def test_results_are_wrong_and_nothing_else(method: str, result: Any) -> None:
    for lift in (
        lambda: DIALECT.lift_result(method, result),
        lambda: DIALECT.lift_asked(result),
        lambda: DIALECT.lift_created(result),
        lambda: DIALECT.lift_task(result),
        lambda: DIALECT.lift_cancelled(result),
        lambda: DIALECT.lift_discovered(result),
        lambda: DIALECT.lift_immediate(result),
    ):
        path = "$.result"
        try:
            lift()
        except InvalidShape as wrong:
            path = wrong.path
        assert path.startswith("$.result")
