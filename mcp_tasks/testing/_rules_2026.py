"""What holds of the tasks extension of revision 2026-07-28, wherever one of its tasks is seen.

Spec: the tasks extension (SEP-2663), basic/patterns/subscriptions.
"""

from __future__ import annotations

from .._unset import JSON, JSONObject
from ..dialects.base import Side
from ..wire.v2026_07_28 import CLIENT_CAPABILITIES as CAPABILITIES
from ..wire.v2026_07_28 import SUBSCRIPTION_ID as _SUBSCRIPTION
from ..wire.v2026_07_28 import TASKS_EXTENSION as TASKS
from ._frames import Frame
from ._monitor import STATUSES, TERMINAL, Conversation, WatchedTask, rule
from ._rules_core import check_questions, is_time

_PAYLOAD = {"input_required": "inputRequests", "completed": "result", "failed": "error"}
_OPERATIONS = ("tasks/get", "tasks/update", "tasks/cancel")


def declares(request: Frame) -> bool:
    """Whether a request says that its client knows tasks."""
    capabilities = request.meta.get(CAPABILITIES)
    extensions = capabilities.get("extensions") if isinstance(capabilities, dict) else None
    return isinstance(extensions, dict) and TASKS in extensions


def _is_integer(value: JSON) -> bool:
    # 60000.0 is an integer in JSON, whatever a language makes of it.
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


# --- results ----------------------------------------------------------------------------------------------------------


@rule("response")
def created(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not talk.modern(frame) or frame.sender is Side.CLIENT:
        return
    result = frame.result
    kind = result.get("resultType")
    operation = request.method in _OPERATIONS
    if request.method == "tools/call":
        if kind == "task" or not declares(request):
            talk.check("X26-008", declares(request) or kind != "task", "the request declared the extension", frame)
        if kind == "task" or "taskId" in result or _nested(result):
            talk.check("X26-016", kind == "task", "a CreateTaskResult has resultType task", frame)
            talk.check("X26-038", not _nested(result), "the task is flat, not under `task`", frame)
    whole = not operation and ("taskId" in result or _nested(result))
    for id, fits, expected in (
        ("X26-014", request.method == "tools/call" or operation, "only tools/call becomes a task"),
        ("X26-017", whole, "resultType task is that of a new task"),
        ("X26-117", request.method == "tools/call" or operation, "resultType task is that of the tasks extension"),
    ):
        if kind == "task" or talk.announced(Side.SERVER, "extensions", TASKS):
            talk.check(id, kind != "task" or fits, expected, frame)
    if request.method == "tasks/get":
        talk.check("X26-057", kind == "complete", "resultType is complete", frame)
    if kind == "task" and not operation:
        asks = {"inputRequests", "requestState"} & result.keys()
        talk.check("X26-043", not asks, f"nothing is asked any more: {', '.join(sorted(asks))}", frame)


def _nested(result: JSONObject) -> bool:
    return isinstance(result.get("task"), dict) and "taskId" in result["task"]


@rule("response")
def acknowledgement(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not talk.modern(frame):
        return
    if request.method not in ("tasks/update", "tasks/cancel"):
        return
    update = request.method == "tasks/update"
    empty = not frame.result.keys() - {"resultType", "_meta"}
    talk.check("X26-071" if update else "X26-081", empty, "the result is empty", frame)
    kind = frame.result.get("resultType")
    talk.check("X26-072" if update else "X26-082", kind == "complete", "resultType is complete", frame)


@rule("task")
def task_object(
    talk: Conversation, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask | None
) -> None:
    pushed = frame.method == "notifications/tasks"
    if frame.sender is not Side.SERVER or not (pushed or talk.modern(frame)):
        return
    missing = [name for name in ("taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs") if name not in task]
    talk.check("X26-018", not missing, f"the task has {', '.join(missing)}", frame)
    status = status if isinstance(status := task.get("status"), str) else ""
    talk.check("X26-020", status in STATUSES, f"status is one of {', '.join(sorted(STATUSES))}", frame)
    times = [task[name] for name in ("createdAt", "lastUpdatedAt") if name in task]
    if times:
        talk.check("X26-021", all(map(is_time, times)), "times are as ISO 8601 has them", frame)
    ttl = task.get("ttlMs")
    talk.check("X26-022", "ttlMs" in task and (ttl is None or _is_integer(ttl)), "ttlMs is an integer or null", frame)
    if pushed or (request is not None and request.method == "tasks/get"):
        _payload(talk, frame, task, pushed)
    if known is None:
        return
    before = known.statuses[-1] if known.statuses else None
    if before in TERMINAL:
        if not talk.overtaken(frame, task, request, known):
            talk.check("X26-036", status == before, f"a {before} task stays {before}", frame)
    elif before is not None:  # it may come to have any status: the others may not have been told of
        talk.check("X26-035", status in STATUSES, "a task moves as the diagram says", frame)
    poll = talk.open_with(Side.CLIENT, frame.meta.get(_SUBSCRIPTION)) if pushed else request
    check_questions(talk, frame, task.get("inputRequests"), "X26-070", known.request, poll)
    questions = task.get("inputRequests")
    for name, question in questions.items() if isinstance(questions, dict) else ():
        same = name not in known.asked or question == known.asked[name]
        talk.check("X26-069", same, f"the key {name!r} stands for the question it stood for", frame)
        talk.check("X26-067", same, f"the key {name!r} is unique in the task", frame)
        if known.answered:
            fresh = name not in known.answered or same
            talk.check("X26-068", fresh, f"the key {name!r}, which is answered, is not issued again", frame)


def _payload(talk: Conversation, frame: Frame, task: JSONObject, pushed: bool) -> None:
    status = task.get("status")
    wanted = _PAYLOAD.get(str(status))
    has = {name for name in _PAYLOAD.values() if name in task}
    expected = f"a {status} task has {wanted or 'no payload'}, and nothing else of the kind"
    talk.check("X26-032", has == ({wanted} if wanted else set()), expected, frame)
    if pushed:
        talk.check("X26-094", has == ({wanted} if wanted else set()), "what is pushed is the whole task", frame)
    id = {
        "working": "X26-051",
        "input_required": "X26-052",
        "completed": "X26-054",
        "cancelled": "X26-055",
        "failed": "X26-056",
    }.get(str(status))
    if id is not None and not pushed:
        talk.check(id, has == ({wanted} if wanted else set()), expected, frame)
    if status == "failed":
        error = task.get("error")
        shaped = isinstance(error, dict) and _is_integer(error.get("code")) and isinstance(error.get("message"), str)
        talk.check("X26-034", shaped, "error is a JSON-RPC error", frame)
        talk.check("X26-112", isinstance(error, dict), "a failed task has its error", frame)
        talk.check("X26-111", bool(task.get("statusMessage")), "a failed task says why in statusMessage", frame)


# --- names that are the extension's -----------------------------------------------------------------------------------


@rule("response")
def names(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or frame.sender is Side.CLIENT or not talk.modern(frame):
        return
    capabilities = frame.result.get("capabilities")
    foreign = request.method not in ("tools/call", *_OPERATIONS)
    elsewhere = {"_meta"} if foreign and TASKS in frame.meta else set()
    if request.method == "server/discover" and isinstance(capabilities, dict):
        extensions = capabilities.get("extensions")
        keys = [key for key in extensions if _resembles(key)] if isinstance(extensions, dict) else []
        if keys:
            talk.check("X26-001", TASKS in keys, f"the extension goes by the name {TASKS}", frame)
        experimental = capabilities.get("experimental")
        within = experimental if isinstance(experimental, dict) else {}
        if TASKS in capabilities or TASKS in within:
            elsewhere.add("capabilities")
    expected = f"{TASKS} names the extension and nothing else, such as in {', '.join(sorted(elsewhere))}"
    if elsewhere or request.method == "server/discover":
        talk.check("X26-118", not elsewhere, expected, frame)


def _resembles(key: str) -> bool:
    prefix, _, name = key.lower().replace("_", "-").rpartition("/")
    ours = prefix in ("", "io.modelcontextprotocol", "modelcontextprotocol.io", "modelcontextprotocol")
    return ours and name.rpartition(".")[2] in ("task", "tasks")


@rule("response")
def asked_by_a_result(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is not None and frame.sender is Side.SERVER and talk.modern(frame):
        _no_task_of_a_client(talk, frame, frame.result.get("inputRequests"))


@rule("notification")
def asked_by_a_push(talk: Conversation, frame: Frame) -> None:
    if frame.method == "notifications/tasks":
        _no_task_of_a_client(talk, frame, frame.params.get("inputRequests"))


def _no_task_of_a_client(talk: Conversation, frame: Frame, questions: JSON) -> None:
    for name, question in questions.items() if isinstance(questions, dict) else ():
        params = question.get("params") if isinstance(question, dict) else None
        plain = not (isinstance(params, dict) and "task" in params)
        talk.check("X26-135", plain, f"inputRequests.{name} does not ask to be made a task", frame)


# --- pushes -----------------------------------------------------------------------------------------------------------


@rule("notification")
def pushed(talk: Conversation, frame: Frame) -> None:
    if frame.method != "notifications/tasks":
        return
    for request in talk.open[Side.CLIENT]:
        if request.method == "subscriptions/listen" and request.id == frame.meta.get(_SUBSCRIPTION):
            filters = request.params.get("notifications")
            ids = filters.get("taskIds") if isinstance(filters, dict) else None
            wished = isinstance(ids, list) and frame.params.get("taskId") in ids
            talk.check("X26-096", wished, "the client asked for this task", frame)


@rule("notification")
def nothing_else_of_tasks(talk: Conversation, frame: Frame) -> None:
    if talk.revision != "2026-07-28" or frame.sender is not Side.SERVER:
        return
    listened = [one.channel for one in talk.open[Side.CLIENT] if one.method == "subscriptions/listen"]
    if _SUBSCRIPTION in frame.meta or (frame.channel and frame.channel in listened):
        other = frame.method not in ("notifications/progress", "notifications/message")
        talk.check("X26-100", other, "neither progress nor logs come by a listen stream", frame)
    other = not (frame.method or "").startswith("notifications/tasks/")
    talk.check("X26-116", other, "no notification begins with notifications/tasks/", frame)


# --- what a client sends ----------------------------------------------------------------------------------------------


@rule("request")
def task_operation(talk: Conversation, frame: Frame) -> None:
    if frame.sender is not Side.CLIENT or not talk.modern(frame):
        return
    if frame.method in _OPERATIONS:
        talk.check("X26-002", declares(frame), "the request declares the extension", frame)
        id = frame.params.get("taskId")
        if frame.method == "tasks/get":
            talk.check("X26-049", isinstance(id, str), "there is a taskId", frame)
        if talk.task(Side.SERVER, id) is not None:
            talk.check("X26-040", True, "", frame)
    if frame.method == "tools/call":
        talk.check("X26-006", "task" not in frame.params, "there is no `task` in params", frame)
    if frame.method != "tasks/update":
        return
    answers = frame.params.get("inputResponses")
    whole = isinstance(frame.params.get("taskId"), str) and isinstance(answers, dict)
    talk.check("X26-060", whole, "there are taskId and inputResponses", frame)
    task = talk.task(Side.SERVER, frame.params.get("taskId"))
    if task is None or not isinstance(answers, dict):
        return
    for name, answer in answers.items():
        talk.check("X26-061", name in task.asked, f"the key {name!r} was asked", frame)
        talk.check("X26-075", name not in task.answered, f"the key {name!r} is answered once", frame)
        bare = isinstance(answer, dict) and not {"jsonrpc", "id", "result", "method"} & answer.keys()
        talk.check("X26-062", bare, f"the answer to {name!r} is the bare result", frame)


@rule("response")
def unknown_task(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    """An id that was not seen may be of an earlier connection; who gets no task by it should have used what it got."""
    if request is None or request.method not in _OPERATIONS or not talk.modern(frame):
        return
    refused = frame.error is not None and frame.error.get("code") == -32602
    if refused and talk.task(Side.SERVER, request.params.get("taskId")) is None:
        waiting = [task.id for task in talk.made.values() if task.modern and not task.handled]
        if waiting:
            expected = f"the taskId is of a task that was made, such as {waiting[-1]}"
            talk.check("X26-040", False, expected, request, blamed=request.sender)


@rule("notification")
def cancelled(talk: Conversation, frame: Frame) -> None:
    if frame.method != "notifications/cancelled" or frame.sender is not Side.CLIENT or talk.revision != "2026-07-28":
        return
    if any(task.modern for task in talk.made.values()):
        talk.check("X26-080", talk.task_withdrawn(frame) is None, "a task is ended by tasks/cancel", frame)
