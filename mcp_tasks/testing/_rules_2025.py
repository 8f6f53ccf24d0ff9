"""What holds of the tasks of revision 2025-11-25, wherever one is seen.

Spec: 2025-11-25 basic/utilities/tasks.
"""

from __future__ import annotations

import re

from .._unset import JSON, JSONObject
from ..dialects.base import Side
from ._frames import Frame
from ._monitor import RELATED, STATUSES, TASKS_OF_2025, TERMINAL, Monitor, WatchedTask, rule

_IMMEDIATE = "io.modelcontextprotocol/model-immediate-response"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")
_OPERATIONS = ("tasks/get", "tasks/result", "tasks/cancel")
_LEAVES = {
    Side.SERVER: {"list", "cancel", "requests.tools.call"},
    Side.CLIENT: {"list", "cancel", "requests.sampling.createMessage", "requests.elicitation.create"},
}
_BRANCHES = {"requests", "requests.tools", "requests.sampling", "requests.elicitation"}
_MOVES = {"working": STATUSES, "input_required": STATUSES}


def _old(monitor: Monitor, frame: Frame) -> bool:
    return monitor.revision == TASKS_OF_2025 and not monitor.modern(frame)


def is_time(value: JSON) -> bool:
    """Whether a value is a time as RFC 3339 has it."""
    return isinstance(value, str) and _TIME.match(value) is not None


def is_number(value: JSON) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- capabilities -----------------------------------------------------------------------------------------------------


@rule("frame")
def task_capability(monitor: Monitor, frame: Frame) -> None:
    opening = frame.params if frame.method == "initialize" else frame.result
    if "protocolVersion" not in opening or not isinstance(opening.get("capabilities"), dict):
        return
    tasks = opening["capabilities"].get("tasks")
    if tasks is None or opening["protocolVersion"] != TASKS_OF_2025:
        return
    paths = dict(_paths(tasks, ""))
    leaves = _LEAVES[frame.sender]
    unknown = [path for path in paths if path not in leaves and path not in _BRANCHES]
    id = "T25-005" if frame.sender is Side.SERVER else "T25-006"
    monitor.check(id, not unknown, f"tasks has none but {', '.join(sorted(leaves))}", frame)
    flat = [path for path, value in paths.items() if not isinstance(value, dict)]
    monitor.check("T25-007", isinstance(tasks, dict) and not flat, "each member of tasks is an object", frame)


def _paths(value: JSON, prefix: str) -> list[tuple[str, JSON]]:
    found: list[tuple[str, JSON]] = []
    for name, part in value.items() if isinstance(value, dict) else ():
        path = f"{prefix}{name}"
        found.append((path, part))
        if path in _BRANCHES:
            found += _paths(part, f"{path}.")
    return found


@rule("response")
def task_support(monitor: Monitor, frame: Frame, request: Frame | None) -> None:
    if request is None or request.method != "tools/list" or not _old(monitor, frame):
        return
    for tool in frame.result.get("tools") or ():
        execution = tool.get("execution") if isinstance(tool, dict) else None
        if isinstance(execution, dict) and "taskSupport" in execution:
            known = execution["taskSupport"] in ("required", "optional", "forbidden")
            expected = f"taskSupport of {tool.get('name')} is required, optional or forbidden"
            monitor.check("T25-016", known, expected, frame)


# --- what a requestor sends -------------------------------------------------------------------------------------------


@rule("request")
def augmentation(monitor: Monitor, frame: Frame) -> None:
    if not _old(monitor, frame) or frame.method not in (
        "tools/call",
        "sampling/createMessage",
        "elicitation/create",
    ):
        return
    task = frame.params.get("task")
    other = frame.sender.other
    if "task" in frame.params:
        monitor.check("T25-025", isinstance(task, dict), "params.task is an object", frame)
        monitor.check("T25-008", monitor.runs_as_task(frame), f"{frame.method} was announced for tasks", frame)
        monitor.check("T25-009", monitor.announced(other, "tasks"), "the other side announced tasks", frame)
        monitor.check("T25-010", monitor.runs_as_task(frame), f"{frame.method} is among tasks.requests", frame)
    if isinstance(task, dict) and "ttl" in task:
        monitor.check("T25-028", is_number(task["ttl"]), "ttl is a number", frame)
    if frame.method != "tools/call":
        return
    support = monitor.tools.get(str(frame.params.get("name")), {}).get("execution")
    level = support.get("taskSupport", "forbidden") if isinstance(support, dict) else "forbidden"
    if frame.params.get("name") not in monitor.tools:
        return
    if "task" in frame.params:
        monitor.check("T25-015", monitor.runs_as_task(frame), "the server announced tasks for tools/call", frame)
        monitor.check("T25-018", level != "forbidden", "the tool may be a task", frame)
        if not isinstance(support, dict) or "taskSupport" not in support:
            monitor.check("T25-017", False, "a tool that does not say so is no task", frame)
    elif monitor.runs_as_task(frame):
        monitor.check("T25-022", level != "required", "the tool can only be called as a task", frame)


@rule("request")
def task_operation(monitor: Monitor, frame: Frame) -> None:
    if not _old(monitor, frame) or not (frame.method or "").startswith("tasks/"):
        return
    other = frame.sender.other
    if frame.method == "tasks/list":
        monitor.check("T25-011", monitor.announced(other, "tasks", "list"), "tasks.list was announced", frame)
        monitor.check("T25-105", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
    elif frame.method == "tasks/cancel":
        monitor.check("T25-012", monitor.announced(other, "tasks", "cancel"), "tasks.cancel was announced", frame)
    if frame.method in _OPERATIONS:
        monitor.check("T25-102", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)


@rule("request")
def nested_request(monitor: Monitor, frame: Frame) -> None:
    """A request that is made for a task says so; which ones are, only what says so tells."""
    related = frame.meta.get(RELATED)
    if related is None or not _old(monitor, frame):
        return
    shaped = isinstance(related, dict) and isinstance(related.get("taskId"), str)
    monitor.check("T25-096", shaped, f"{RELATED} is an object with a taskId", frame)
    task = monitor.task_of(frame)
    monitor.check("T25-097", task is not None and task.owner is frame.sender, "the taskId is of a task of ours", frame)


@rule("response")
def nested_answer(monitor: Monitor, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(monitor, frame):
        return
    if RELATED in request.meta and request.method in ("elicitation/create", "sampling/createMessage"):
        same = frame.meta.get(RELATED) == request.meta[RELATED]
        monitor.check("T25-098", same, f"_meta repeats {RELATED} of the request", frame)


@rule("notification")
def withdrawn_task(monitor: Monitor, frame: Frame) -> None:
    """Who wants to end a task says tasks/cancel: by then the request it came from has its answer."""
    if frame.method != "notifications/cancelled" or not _old(monitor, frame):
        return
    id = frame.params.get("requestId")
    made = [task for task in monitor.tasks.values() if task.request is not None and task.owner is not frame.sender]
    if made:
        named = [task for task in made if task.request is not None and task.request.id == id]
        monitor.check("T25-157", not named, "a task is ended by tasks/cancel", frame)


# --- what a receiver answers ------------------------------------------------------------------------------------------


@rule("response")
def created(monitor: Monitor, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(monitor, frame):
        return
    if "task" not in request.params or (request.method or "").startswith("tasks/"):
        if request.method in ("tools/call", "sampling/createMessage", "elicitation/create"):
            plain = not isinstance(frame.result.get("task"), dict)
            monitor.check("T25-021", plain, "a plain request gets a plain result", frame)
        return
    task = frame.result.get("task")
    if not monitor.runs_as_task(request):
        monitor.check("T25-056", task is None, "without the capability the request runs normally", frame)
        return
    if request.method == "tools/call":
        support = monitor.tools.get(str(request.params.get("name")), {}).get("execution")
        if not isinstance(support, dict) or support.get("taskSupport", "forbidden") == "forbidden":
            return
    shaped = isinstance(task, dict)
    monitor.check("T25-029", shaped or "taskId" in frame.result, "the answer is a CreateTaskResult", frame)
    monitor.check("T25-031", shaped, "the task is under `task`", frame)
    if not isinstance(task, dict):
        return
    extra = {"content", "structuredContent", "isError", "action", "role", "model"} & frame.result.keys()
    monitor.check("T25-032", not extra, f"nothing of the outcome: {', '.join(sorted(extra))}", frame)
    monitor.check("T25-061", task.get("status") == "working", "a new task is working", frame)
    id = task.get("taskId")
    other = monitor.tasks.get((frame.sender, id)) if isinstance(id, str) else None
    known = other is not None and other.request is not None  # by a notice, it may be known before it is handed out
    monitor.check("T25-060", not known, "no two tasks have the same id", frame)
    if _IMMEDIATE in frame.meta:
        monitor.check("T25-034", isinstance(frame.meta[_IMMEDIATE], str), f"{_IMMEDIATE} is a string", frame)


@rule("task")
def task_object(
    monitor: Monitor, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask | None
) -> None:
    if not _old(monitor, frame):
        return
    missing = [name for name in ("taskId", "status", "createdAt", "lastUpdatedAt", "ttl") if name not in task]
    monitor.check("T25-122", not missing, f"the task has {', '.join(missing)}", frame)
    monitor.check("T25-058", isinstance(task.get("taskId"), str), "taskId is a string", frame)
    monitor.check("T25-065", task.get("status") in STATUSES, f"status is one of {', '.join(sorted(STATUSES))}", frame)
    monitor.check("T25-078", "createdAt" in task, "there is a createdAt", frame)
    monitor.check("T25-079", "lastUpdatedAt" in task, "there is a lastUpdatedAt", frame)
    times = [task[name] for name in ("createdAt", "lastUpdatedAt") if name in task]
    if times:
        monitor.check("T25-080", all(map(is_time, times)), "times are as RFC 3339 has them", frame)
    ttl = task.get("ttl")
    monitor.check("T25-084", "ttl" in task and (ttl is None or is_number(ttl)), "ttl is a number or null", frame)
    if request is not None and request.method == "tasks/get":
        monitor.check("T25-083", "ttl" in task and (ttl is None or is_number(ttl)), "the ttl that is in force", frame)
        whole = "task" not in frame.result
        monitor.check("T25-039", whole and "taskId" in frame.result, "the task is the result, not within it", frame)
    if known is None:
        return
    status = task.get("status")
    before = known.statuses[-1] if known.statuses else None
    if isinstance(status, str) and before is not None and not _overtaken(frame, task, request, known):
        # Statuses that nobody was told of may lie between two of these: only what ends is certain, and what is none.
        if before in TERMINAL:
            monitor.check("T25-064", status == before, f"a {before} task stays {before}", frame)
            if before == "cancelled":
                monitor.check("T25-116", status == before, "a cancelled task stays cancelled", frame)
            elif status == "cancelled":
                monitor.check("T25-067", False, "what has ended is not cancelled", frame)
        elif before == "working":
            monitor.check("T25-062", status in _MOVES[before], "a working task moves as the diagram says", frame)
        elif before == "input_required":
            monitor.check("T25-063", status in _MOVES[before], "a task with questions moves as the diagram says", frame)
    if known.created_at is not None:
        same = task.get("createdAt") == known.created_at
        monitor.check("T25-081", same, "createdAt never changes", frame)


def _overtaken(frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask) -> bool:
    """Whether what is newer came first: a notice before the handle of its task, or over HTTP by another stream."""
    if request is not None and not (request.method or "").startswith("tasks/"):
        return True
    then, now = known.updated_at, task.get("lastUpdatedAt")
    return bool(frame.channel) and isinstance(then, str) and isinstance(now, str) and now < then


@rule("response")
def without_related_meta(monitor: Monitor, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(monitor, frame):
        return
    if request.method == "tasks/result":
        id = request.params.get("taskId")
        related = frame.meta.get(RELATED)
        named = isinstance(related, dict) and related.get("taskId") == id
        monitor.check("T25-106", named, f"_meta has {RELATED} with the taskId {id}", frame)
    elif request.method in ("tasks/get", "tasks/cancel", "tasks/list"):
        monitor.check("T25-104", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
        if request.method == "tasks/list":
            monitor.check("T25-105", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
    if request.method == "tasks/cancel":
        cancelled = frame.result.get("status") == "cancelled" and "taskId" in frame.result
        monitor.check("T25-055", cancelled, "the answer is the task, cancelled", frame)
    elif request.method == "tasks/list":
        listed = isinstance(frame.result.get("tasks"), list)
        cursor = frame.result.get("nextCursor", "")
        monitor.check("T25-054", listed and isinstance(cursor, str), "there are tasks, and maybe a nextCursor", frame)


@rule("notification")
def task_status(monitor: Monitor, frame: Frame) -> None:
    if frame.method != "notifications/tasks/status" or not _old(monitor, frame):
        return
    needed = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttl"}
    monitor.check("T25-049", needed <= frame.params.keys(), "params are the whole task", frame)
    monitor.check("T25-107", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)


@rule("notification")
def related_notification(monitor: Monitor, frame: Frame) -> None:
    """Progress for the token of a task is the task's, and has to say so."""
    if frame.method != "notifications/progress" or not _old(monitor, frame):
        return
    token = frame.params.get("progressToken")
    if not isinstance(token, (int, str)):
        return
    request = monitor.tokens.get((frame.sender.other, token))
    task = next((one for one in monitor.tasks.values() if one.request is request and request is not None), None)
    if task is not None:
        related = frame.meta.get(RELATED)
        named = isinstance(related, dict) and related.get("taskId") == task.id
        monitor.check("T25-099", named, f"_meta has {RELATED} with the taskId {task.id}", frame)
        monitor.check("T25-095", named, f"_meta has {RELATED} with the taskId {task.id}", frame)


# --- ids --------------------------------------------------------------------------------------------------------------


@rule("task")
def unguessable(
    monitor: Monitor, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask | None
) -> None:
    """An id says nothing of its entropy, but a short one has none, and one that counts up can be guessed."""
    if known is None or known.statuses:
        return
    id = "X26-120" if known.modern else "T25-139"
    others = [other.id for other in monitor.tasks.values() if other.owner is frame.sender and other is not known]
    expected = "the id cannot be guessed: it is long, and no neighbour of another"
    tied = not known.modern and known.request is not None and "authorization" in known.request.headers
    if not tied:  # where there are identities, an id of 2025-11-25 need not be a secret
        hard = len(known.id) >= 16 and not any(_neighbours(known.id, other) for other in others)
        monitor.check(id, hard, expected, frame)
    monitor.check("X26-019" if known.modern else "T25-059", bool(known.id), "the receiver makes the id", frame)


def _neighbours(one: str, other: str) -> bool:
    a, b = re.search(r"\d{1,15}\Z", one), re.search(r"\d{1,15}\Z", other)
    if a is None or b is None or one[: a.start()] != other[: b.start()]:
        return False
    return abs(int(a.group()) - int(b.group())) <= 16
