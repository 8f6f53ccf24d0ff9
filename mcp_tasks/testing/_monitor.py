"""A monitor: it looks on at a connection, keeps what it needs to know of it, and says which requirement was broken.

It takes no part. Whoever has the frames of a connection shows them to it: a scripted wire, a recorder's proxy, or the
fixture that taps a transport. The rules are in the modules `_rules_*`, each a small function for one kind of moment;
what they need to know of the past is here. Nothing is judged that was not seen from its beginning.

A rule names what it holds by the id of a requirement, and is *counted* each time it had something to look at, so that
silence is not taken for obedience.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

from attrs import define, field, frozen

from .._unset import JSON, JSONObject, RequestId
from ..dialects.base import Side
from ._frames import Frame, show_frame

__all__ = ["Monitor", "Violation", "WatchedTask"]

TASKS = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
MODERN = "2026-07-28"
TASKS_OF_2025 = "2025-11-25"
TERMINAL = frozenset({"completed", "failed", "cancelled"})
STATUSES = TERMINAL | {"working", "input_required"}


@frozen
class Violation:
    """A requirement that was broken: by whom, where, and what should have been."""

    id: str
    blamed: Side
    expected: str
    frame: Frame

    def __str__(self) -> str:
        return f"{self.id}: {self.expected}\n    {show_frame(self.frame)}"


@define(eq=False)
class WatchedTask:
    """A task as far as it was seen."""

    id: str
    owner: Side
    """Who runs it."""
    modern: bool
    request: Frame | None = None
    """What it was created for; None if that was not seen."""
    statuses: list[str] = field(factory=list)
    """Each status that was told, in order, repeated ones left out."""
    created_at: JSON = None
    updated_at: JSON = None
    asked: dict[str, JSON] = field(factory=dict)
    """Every question it ever had, by key."""
    answered: set[str] = field(factory=set)
    """The keys for which an answer went out."""
    told: str | None = None
    """The latest status that its owner has sent."""
    over: Frame | None = None
    """The first frame that told it to be over."""

    @property
    def terminal(self) -> bool:
        """Whether it was told to be over."""
        return bool(self.statuses) and self.statuses[-1] in TERMINAL


class Monitor:
    """Looks on at one connection, from its first frame. `judges` narrows whose conduct counts."""

    def __init__(self, *, judges: Side | None = None) -> None:
        for name in ("_rules_core", "_rules_2025", "_rules_2026"):
            import_module(f".{name}", __package__)  # which put themselves on the lists; they know the monitor
        self.judges = judges
        self.violations: list[Violation] = []
        self.counts: Counter[tuple[str, Side]] = Counter()
        """How often each requirement had something to look at, by whom it was about."""
        self.revision: str | None = None
        """What the connection speaks, once that is settled."""
        self.capabilities: dict[Side, JSONObject] = {}
        """What either side announced when it shook hands."""
        self.ready = False
        self.tools: dict[str, JSONObject] = {}
        self.tasks: dict[tuple[Side, str], WatchedTask] = {}
        self.open: dict[Side, dict[RequestId, Frame]] = {side: {} for side in Side}
        """Requests without an answer, by who sent them."""
        self.used: dict[Side, set[RequestId]] = {side: set() for side in Side}
        self.withdrawn: dict[Side, set[RequestId]] = {side: set() for side in Side}
        """Ids of requests whose sender has withdrawn them."""
        self.answered: dict[Side, set[RequestId]] = {side: set() for side in Side}
        self.repeated: dict[Side, set[RequestId]] = {side: set() for side in Side}
        """Ids that their sender used for a second request before the first had its answer: who is answered is open."""
        self.progress: dict[tuple[Side, JSON], float] = {}
        """The latest progress by the token's owner and the token."""
        self.tokens: dict[tuple[Side, JSON], Frame] = {}
        """The request that each progress token came with."""
        self.acknowledged: set[RequestId] = set()
        """The ids of the listen requests whose subscription was acknowledged (2026-07-28)."""

    # --- what comes in --------------------------------------------------------------------------------------------

    def see(self, frame: Frame) -> None:
        """Look at the next frame."""
        for rule in _RULES["frame"]:
            rule(self, frame)
        if not isinstance(frame.message, dict):
            return
        if frame.is_request:
            self._request(frame)
        elif frame.is_notification:
            self._notification(frame)
        elif frame.is_response:
            self._response(frame)

    def check(self, id: str, ok: object, expected: str, frame: Frame, *, blamed: Side | None = None) -> None:
        """Judge one requirement at one frame; `expected` says what should have been."""
        blamed = frame.sender if blamed is None else blamed
        if self.judges not in (None, blamed):
            return
        self.counts[id, blamed] += 1
        if not ok:
            self.violations.append(Violation(id, blamed, expected, frame))

    # --- what the rules want to know ------------------------------------------------------------------------------

    def modern(self, frame: Frame) -> bool:
        """Whether a frame belongs to the stateless revision."""
        holder = frame if "method" in frame.object else self.question_of(frame)
        if holder is not None and holder.method == "initialize":
            return False  # a server may be asked in one era after the other
        return (holder is not None and VERSION in holder.meta) or self.revision == MODERN

    def question_of(self, response: Frame) -> Frame | None:
        """The open request that a response answers."""
        return None if response.id is None else self.open[response.sender.other].get(response.id)

    def announced(self, side: Side, *path: str) -> bool:
        """Whether a side announced a capability when it shook hands."""
        found: Any = self.capabilities.get(side, {})
        for name in path:
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return True

    def runs_as_task(self, request: Frame) -> bool:
        """Whether the other side announced that it runs requests of this kind as tasks (2025-11-25)."""
        return self.announced(request.sender.other, "tasks", "requests", *(request.method or "").split("/"))

    def task_of(self, frame: Frame) -> WatchedTask | None:
        """The task that ``_meta`` says a message belongs to; whoever runs it."""
        related = frame.meta.get(RELATED)
        id = related.get("taskId") if isinstance(related, dict) else None
        return next((task for (_, other), task in self.tasks.items() if other == id), None)

    # --- state ----------------------------------------------------------------------------------------------------

    def _request(self, frame: Frame) -> None:
        for rule in _RULES["request"]:
            rule(self, frame)
        if frame.id is not None:
            if frame.id in self.open[frame.sender]:
                self.repeated[frame.sender].add(frame.id)
            self.open[frame.sender][frame.id] = frame
            self.used[frame.sender].add(frame.id)
            self.answered[frame.sender].discard(frame.id)
        if frame.method == "initialize":
            self.capabilities[frame.sender] = _object(frame.params.get("capabilities"))
        token = frame.meta.get("progressToken")
        if isinstance(token, (int, str)):
            self.tokens[frame.sender, token] = frame
            self.progress.pop((frame.sender, token), None)
        if frame.method == "tasks/update":
            task = self.tasks.get((frame.sender.other, str(frame.params.get("taskId"))))
            if task is not None:
                task.answered.update(_object(frame.params.get("inputResponses")))

    def _notification(self, frame: Frame) -> None:
        for rule in _RULES["notification"]:
            rule(self, frame)
        if frame.method == "notifications/initialized":
            self.ready = True
        elif frame.method == "notifications/cancelled":
            id = frame.params.get("requestId")
            if isinstance(id, (int, str)):
                self.withdrawn[frame.sender].add(id)
        elif frame.method == "notifications/progress":
            token, progress = frame.params.get("progressToken"), frame.params.get("progress")
            if isinstance(token, (int, str)) and isinstance(progress, (int, float)):
                self.progress[frame.sender.other, token] = progress
        elif frame.method in ("notifications/tasks/status", "notifications/tasks"):
            self._task(frame, frame.params, None)

    def _response(self, frame: Frame) -> None:
        request = self.question_of(frame)
        for rule in _RULES["response"]:
            rule(self, frame, request)
        if request is None or frame.id is None:
            return
        del self.open[frame.sender.other][frame.id]
        self.answered[frame.sender.other].add(frame.id)
        if frame.error is not None:
            return
        result = frame.result
        if request.method == "initialize":
            self.revision = result.get("protocolVersion")
            self.capabilities[frame.sender] = _object(result.get("capabilities"))
        elif request.method == "server/discover":
            self.revision = self.revision or MODERN
            self.capabilities[frame.sender] = _object(result.get("capabilities"))
        elif request.method == "tools/list":
            for tool in result.get("tools") or ():
                if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                    self.tools[tool["name"]] = tool
        for task in _tasks_in(request, result):
            self._task(frame, task, request)

    def _task(self, frame: Frame, task: JSONObject, request: Frame | None) -> None:
        id = task.get("taskId")
        if not isinstance(id, str):
            for rule in _RULES["task"]:
                rule(self, frame, task, request, None)
            return
        key = frame.sender, id
        watched = self.tasks.get(key)
        if watched is None:
            watched = WatchedTask(id, frame.sender, self.modern(frame) or "ttlMs" in task)
        overtaken = False
        if watched.request is None and request is not None and not (request.method or "").startswith("tasks/"):
            watched.request = request
            overtaken = bool(watched.statuses)  # notices of it came first
        for rule in _RULES["task"]:
            rule(self, frame, task, request, watched)
        self.tasks[key] = watched
        if overtaken:
            return
        status = task.get("status")
        if isinstance(status, str) and watched.statuses[-1:] != [status]:
            watched.statuses.append(status)
            if status in TERMINAL and watched.over is None:
                watched.over = frame
        watched.created_at = task.get("createdAt", watched.created_at)
        watched.updated_at = task.get("lastUpdatedAt", watched.updated_at)
        for name, question in _object(task.get("inputRequests")).items():
            watched.asked.setdefault(name, question)


def _object(value: JSON) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _tasks_in(request: Frame, result: JSONObject) -> Iterator[JSONObject]:
    """The task objects in the result of a request, of either generation."""
    if request.method in ("tasks/get", "tasks/cancel"):
        if "taskId" in result or "status" in result:
            yield result
    elif request.method == "tasks/list":
        yield from (task for task in result.get("tasks") or () if isinstance(task, dict))
    elif result.get("resultType") == "task":
        yield result
    elif isinstance(result.get("task"), dict) and "task" in request.params:
        yield result["task"]


# --- rules ------------------------------------------------------------------------------------------------------------

Rule: TypeAlias = Callable[..., None]
_RULES: dict[str, list[Rule]] = {"frame": [], "request": [], "notification": [], "response": [], "task": []}
R = TypeVar("R", bound=Rule)


def rule(moment: str) -> Callable[[R], R]:
    """Have a function look at each ``frame``, ``request``, ``notification``, ``response`` or ``task``, before the
    monitor takes note of it. It is called with the monitor, the frame, and for a response the request (None if there is
    none), for a task the object, the request and what was known of it."""

    def add(function: R) -> R:
        _RULES[moment].append(function)
        return function

    return add
