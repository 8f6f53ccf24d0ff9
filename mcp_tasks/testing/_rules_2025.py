"""What holds of the tasks of revision 2025-11-25, wherever one is seen.

Spec: 2025-11-25 basic/utilities/tasks.
"""

from __future__ import annotations

import re

from .._unset import JSON, JSONObject
from ..dialects.base import Side
from ..wire.v2025_11_25 import MODEL_IMMEDIATE_RESPONSE as _IMMEDIATE
from ..wire.v2025_11_25 import RELATED_TASK as RELATED
from ._frames import Frame
from ._monitor import STATUSES, TASKS_OF_2025, TERMINAL, Conversation, WatchedTask, objects, rule
from ._rules_core import is_time

_OPERATIONS = ("tasks/get", "tasks/result", "tasks/cancel")
_LEAVES = {
    Side.SERVER: {"list", "cancel", "requests.tools.call"},
    Side.CLIENT: {"list", "cancel", "requests.sampling.createMessage", "requests.elicitation.create"},
}
_BRANCHES = {"requests", "requests.tools", "requests.sampling", "requests.elicitation"}


def _old(talk: Conversation, frame: Frame) -> bool:
    return talk.revision == TASKS_OF_2025 and not talk.modern(frame)


def is_number(value: JSON) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- capabilities -----------------------------------------------------------------------------------------------------


@rule("frame")
def task_capability(talk: Conversation, frame: Frame) -> None:
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
    talk.check(id, not unknown, f"tasks has none but {', '.join(sorted(leaves))}", frame)
    flat = [path for path, value in paths.items() if not isinstance(value, dict)]
    talk.check("T25-007", isinstance(tasks, dict) and not flat, "each member of tasks is an object", frame)


def _paths(value: JSON, prefix: str) -> list[tuple[str, JSON]]:
    found: list[tuple[str, JSON]] = []
    for name, part in value.items() if isinstance(value, dict) else ():
        path = f"{prefix}{name}"
        found.append((path, part))
        if path in _BRANCHES:
            found += _paths(part, f"{path}.")
    return found


@rule("response")
def task_support(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or request.method != "tools/list" or not _old(talk, frame):
        return
    for tool in objects(frame.result.get("tools")):
        execution = tool.get("execution")
        if isinstance(execution, dict) and "taskSupport" in execution:
            known = execution["taskSupport"] in ("required", "optional", "forbidden")
            expected = f"taskSupport of {tool.get('name')} is required, optional or forbidden"
            talk.check("T25-016", known, expected, frame)


# --- what a requestor sends -------------------------------------------------------------------------------------------


@rule("request")
def augmentation(talk: Conversation, frame: Frame) -> None:
    if not _old(talk, frame) or frame.method not in (
        "tools/call",
        "sampling/createMessage",
        "elicitation/create",
    ):
        return
    task = frame.params.get("task")
    other = frame.sender.other
    if "task" in frame.params:
        talk.check("T25-025", isinstance(task, dict), "params.task is an object", frame)
        talk.check("T25-008", talk.runs_as_task(frame), f"{frame.method} was announced for tasks", frame)
        talk.check("T25-009", talk.announced(other, "tasks"), "the other side announced tasks", frame)
        talk.check("T25-010", talk.runs_as_task(frame), f"{frame.method} is among tasks.requests", frame)
    if isinstance(task, dict) and "ttl" in task:
        talk.check("T25-028", is_number(task["ttl"]), "ttl is a number", frame)
    if frame.method != "tools/call":
        return
    support = talk.task_support(frame)
    if support is None:
        return
    level = support.get("taskSupport", "forbidden")
    if "task" in frame.params:
        talk.check("T25-015", talk.runs_as_task(frame), "the server announced tasks for tools/call", frame)
        talk.check("T25-018", level != "forbidden", "the tool may be a task", frame)
        if "taskSupport" not in support:
            talk.check("T25-017", False, "a tool that does not say so is no task", frame)
    elif talk.runs_as_task(frame):
        talk.check("T25-022", level != "required", "the tool can only be called as a task", frame)


@rule("request")
def task_operation(talk: Conversation, frame: Frame) -> None:
    if not _old(talk, frame) or not (frame.method or "").startswith("tasks/"):
        return
    other = frame.sender.other
    if frame.method == "tasks/list":
        talk.check("T25-011", talk.announced(other, "tasks", "list"), "tasks.list was announced", frame)
        talk.check("T25-105", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
    elif frame.method == "tasks/cancel":
        talk.check("T25-012", talk.announced(other, "tasks", "cancel"), "tasks.cancel was announced", frame)
    if frame.method in _OPERATIONS:
        talk.check("T25-102", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)


@rule("request")
def nested_request(talk: Conversation, frame: Frame) -> None:
    """A request that is made for a task says so; which ones are, only what says so tells."""
    related = frame.meta.get(RELATED)
    if related is None or not _old(talk, frame):
        return
    shaped = isinstance(related, dict) and isinstance(related.get("taskId"), str)
    talk.check("T25-096", shaped, f"{RELATED} is an object with a taskId", frame)
    task = talk.task_of(frame)
    if task is not None:  # it may be one of an earlier session, too
        talk.check("T25-097", task.owner is frame.sender, "the taskId is of a task of the sender's", frame)


@rule("response")
def nested_answer(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(talk, frame):
        return
    if RELATED in request.meta and request.method in ("elicitation/create", "sampling/createMessage"):
        same = frame.meta.get(RELATED) == request.meta[RELATED]
        talk.check("T25-098", same, f"_meta repeats {RELATED} of the request", frame)


@rule("notification")
def withdrawn_task(talk: Conversation, frame: Frame) -> None:
    """Who wants to end a task says tasks/cancel: by then the request it came from has its answer."""
    if frame.method != "notifications/cancelled" or not _old(talk, frame):
        return
    if any(task.owner is not frame.sender for task in talk.made.values()):
        talk.check("T25-157", talk.task_withdrawn(frame) is None, "a task is ended by tasks/cancel", frame)


# --- what a receiver answers ------------------------------------------------------------------------------------------


@rule("response")
def created(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(talk, frame):
        return
    if "task" not in request.params or (request.method or "").startswith("tasks/"):
        if request.method in ("tools/call", "sampling/createMessage", "elicitation/create"):
            plain = not isinstance(frame.result.get("task"), dict)
            talk.check("T25-021", plain, "a plain request gets a plain result", frame)
        return
    task = frame.result.get("task")
    if not talk.runs_as_task(request):
        talk.check("T25-056", task is None, "without the capability the request runs normally", frame)
        return
    support = talk.task_support(request) or {}
    if request.method == "tools/call" and support.get("taskSupport", "forbidden") == "forbidden":
        return
    shaped = isinstance(task, dict)
    talk.check("T25-029", shaped or "taskId" in frame.result, "the answer is a CreateTaskResult", frame)
    talk.check("T25-031", shaped, "the task is under `task`", frame)
    if not isinstance(task, dict):
        return
    extra = {"content", "structuredContent", "isError", "action", "role", "model"} & frame.result.keys()
    talk.check("T25-032", not extra, f"nothing of the outcome: {', '.join(sorted(extra))}", frame)
    talk.check("T25-061", task.get("status") == "working", "a new task is working", frame)
    other = talk.task(frame.sender, task.get("taskId"))
    known = other is not None and other.request is not None  # by a notice, it may be known before it is handed out
    talk.check("T25-060", not known, "no two tasks have the same id", frame)
    if _IMMEDIATE in frame.meta:
        talk.check("T25-034", isinstance(frame.meta[_IMMEDIATE], str), f"{_IMMEDIATE} is a string", frame)


@rule("task")
def task_object(
    talk: Conversation, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask | None
) -> None:
    if not _old(talk, frame):
        return
    missing = [name for name in ("taskId", "status", "createdAt", "lastUpdatedAt", "ttl") if name not in task]
    talk.check("T25-122", not missing, f"the task has {', '.join(missing)}", frame)
    talk.check("T25-058", isinstance(task.get("taskId"), str), "taskId is a string", frame)
    status = task.get("status")
    real = isinstance(status, str) and status in STATUSES
    talk.check("T25-065", real, f"status is one of {', '.join(sorted(STATUSES))}", frame)
    talk.check("T25-078", "createdAt" in task, "there is a createdAt", frame)
    talk.check("T25-079", "lastUpdatedAt" in task, "there is a lastUpdatedAt", frame)
    times = [task[name] for name in ("createdAt", "lastUpdatedAt") if name in task]
    if times:
        talk.check("T25-080", all(map(is_time, times)), "times are as RFC 3339 has them", frame)
    ttl = task.get("ttl")
    talk.check("T25-084", "ttl" in task and (ttl is None or is_number(ttl)), "ttl is a number or null", frame)
    if request is not None and request.method == "tasks/get":
        talk.check("T25-083", "ttl" in task and (ttl is None or is_number(ttl)), "the ttl that is in force", frame)
        whole = "task" not in frame.result
        talk.check("T25-039", whole and "taskId" in frame.result, "the task is the result, not within it", frame)
    if known is None:
        return
    before = known.statuses[-1] if known.statuses else None
    if isinstance(status, str) and before is not None and not talk.overtaken(frame, task, request, known):
        # Statuses that nobody was told of may lie between two of these: a task that is not over may come to have any,
        # and only what is no status at all is not among them.
        if before in TERMINAL:
            talk.check("T25-064", status == before, f"a {before} task stays {before}", frame)
            if before == "cancelled":
                talk.check("T25-116", status == before, "a cancelled task stays cancelled", frame)
            elif status == "cancelled":
                talk.check("T25-067", False, "what has ended is not cancelled", frame)
        elif before == "working":
            talk.check("T25-062", real, "a working task moves as the diagram says", frame)
        elif before == "input_required":
            talk.check("T25-063", real, "a task with questions moves as the diagram says", frame)
    if known.created_at is not None:
        same = task.get("createdAt") == known.created_at
        talk.check("T25-081", same, "createdAt never changes", frame)


@rule("response")
def without_related_meta(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or not _old(talk, frame):
        return
    if request.method == "tasks/result":
        id = request.params.get("taskId")
        related = frame.meta.get(RELATED)
        named = isinstance(related, dict) and related.get("taskId") == id
        talk.check("T25-106", named, f"_meta has {RELATED} with the taskId {id}", frame)
    elif request.method in ("tasks/get", "tasks/cancel", "tasks/list"):
        talk.check("T25-104", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
        if request.method == "tasks/list":
            talk.check("T25-105", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)
    if request.method == "tasks/cancel":
        cancelled = frame.result.get("status") == "cancelled" and "taskId" in frame.result
        talk.check("T25-055", cancelled, "the answer is the task, cancelled", frame)
    elif request.method == "tasks/list":
        listed = isinstance(frame.result.get("tasks"), list)
        cursor = frame.result.get("nextCursor", "")
        talk.check("T25-054", listed and isinstance(cursor, str), "there are tasks, and maybe a nextCursor", frame)


@rule("notification")
def task_status(talk: Conversation, frame: Frame) -> None:
    if frame.method != "notifications/tasks/status" or not _old(talk, frame):
        return
    needed = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttl"}
    talk.check("T25-049", needed <= frame.params.keys(), "params are the whole task", frame)
    talk.check("T25-107", RELATED not in frame.meta, f"_meta has no {RELATED}", frame)


@rule("notification")
def related_notification(talk: Conversation, frame: Frame) -> None:
    """Progress for the token of a task is the task's, and has to say so."""
    if frame.method != "notifications/progress" or not _old(talk, frame):
        return
    token = frame.params.get("progressToken")
    if not isinstance(token, (int, str)):
        return
    request = talk.tokens.get((frame.sender.other, token))
    task = None if request is None else talk.made.get(request)
    if task is not None:
        related = frame.meta.get(RELATED)
        named = isinstance(related, dict) and related.get("taskId") == task.id
        talk.check("T25-099", named, f"_meta has {RELATED} with the taskId {task.id}", frame)
        talk.check("T25-095", named, f"_meta has {RELATED} with the taskId {task.id}", frame)
    said = talk.task_of(frame)
    if said is None or said.request is None or said.owner is not frame.sender:
        return
    if request is None or not (request.method or "").startswith("tasks/"):  # whose progress may be told of, too
        given = said.request.meta.get("progressToken")
        same = token == given and type(token) is type(given)
        talk.check("T25-160", same, "the token is that of the request that made the task", frame)


# --- ids --------------------------------------------------------------------------------------------------------------


@rule("task")
def unguessable(
    talk: Conversation, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask | None
) -> None:
    """An id says nothing of its entropy, but a short one has none, and one that counts up can be guessed."""
    if known is None or known.statuses:
        return
    id = "X26-120" if known.modern else "T25-139"
    expected = "the id cannot be guessed: it has eight characters or more, and is no neighbour of another"
    neighbour = _has_neighbour(talk, known)
    tied = not known.modern and known.request is not None and "authorization" in known.request.headers
    if not tied:  # where there are identities, an id of 2025-11-25 need not be a secret
        talk.check(id, len(known.id) >= 8 and not neighbour, expected, frame)
    talk.check("X26-019" if known.modern else "T25-059", bool(known.id), "the receiver makes the id", frame)


def _has_neighbour(talk: Conversation, task: WatchedTask) -> bool:
    """Whether an id is that of another task but for the number at its end, which is near; it is kept for the next."""
    end = re.search(r"\d{1,15}\Z", task.id)
    if end is None:
        return False
    number = int(end.group())
    minted = talk.minted.setdefault((task.owner, task.id[: end.start()]), {})
    minted[number] = task.id
    return any(minted.get(number + step, task.id) != task.id for step in range(-16, 17))
