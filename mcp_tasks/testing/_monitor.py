"""A monitor: it looks on at a connection, keeps what it needs to know of it, and says which requirement was broken.

It takes no part. Whoever has the frames of a connection shows them to it: a scripted wire, a recorder's proxy, or the
fixture that taps a transport. One monitor may look at a proxy through which many clients go: it keeps their
conversations apart. The rules are in the modules `_rules_*`, each a small function for one kind of moment; what they
need to know of the past is here. Nothing is judged that was not seen from its beginning.

A rule names what it holds by the id of a requirement, and is *counted* each time it had something to look at, so that
silence is not taken for obedience.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Literal, TypeAlias, TypeVar

from attrs import define, field, frozen

from .._unset import JSON, JSONObject, RequestId
from ..dialects.base import Side
from ..wire.v2025_11_25 import RELATED_TASK as RELATED
from ..wire.v2026_07_28 import PROTOCOL_VERSION as VERSION
from ._frames import Frame, show_frame

__all__ = ["Conversation", "Monitor", "Violation", "WatchedTask"]

MODERN = "2026-07-28"
TASKS_OF_2025 = "2025-11-25"
TERMINAL = frozenset({"completed", "failed", "cancelled"})
STATUSES = TERMINAL | {"working", "input_required"}
OVERTAKEN_SECONDS = 1.0
"""For how long a message may have been on its way when another, which was sent after it, has come."""
ADVICE = frozenset(
    {
        *("C26-057", "C26-061", "C26-103", "C26-161"),
        *("T25-008", "T25-009", "T25-034", "T25-102", "T25-104", "T25-105", "T25-107"),
        *("X26-043", "X26-075", "X26-111"),
    }
)
"""The requirements, of those that have a rule, that are a SHOULD or a SHOULD NOT; all others are a MUST or MUST NOT."""
_SESSION = "mcp-session-id"
_log = logging.getLogger(__name__)


@frozen
class Violation:
    """A requirement that was broken: by whom, where, and what should have been."""

    id: str
    blamed: Side
    expected: str
    frame: Frame

    @property
    def level(self) -> Literal["MUST", "SHOULD"]:
        """How strong the requirement is: SHOULD is advice, and there may be a reason not to follow it."""
        return "SHOULD" if self.id in ADVICE else "MUST"

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
    made: Frame | None = None
    """The answer that handed it out; None if that was not seen."""
    handled: bool = False
    """Whether its requestor has named it: it knows of the task."""
    statuses: list[str] = field(factory=list)
    """Each status that was told, in order, repeated ones left out; nothing follows a terminal one."""
    created_at: JSON = None
    updated_at: JSON = None
    asked: dict[str, JSON] = field(factory=dict)
    """Every question it ever had, by key."""
    answered: set[str] = field(factory=set)
    """The keys for which an answer went out, and was not lost."""
    over: Frame | None = None
    """The first frame that told it to be over: by a status, or as the answer to ``tasks/result``."""
    crossing: tuple[Frame, ...] = ()
    """The requests that had no answer when that frame came: what answers them may be older."""

    @property
    def terminal(self) -> bool:
        """Whether a status has told it to be over."""
        return bool(self.statuses) and self.statuses[-1] in TERMINAL


class Monitor:
    """Looks on at a connection, or at all that goes through a proxy, from the first frame.

    `judges` narrows whose conduct counts. Where that is the client's, there is taken to be but one.
    """

    def __init__(self, *, judges: Side | None = None) -> None:
        for name in ("_rules_core", "_rules_2025", "_rules_2026"):
            import_module(f".{name}", __package__)  # which put themselves on the lists; they know the monitor
        self.judges = judges
        self.violations: list[Violation] = []
        self.counts: Counter[tuple[str, Side]] = Counter()
        """How often each requirement had something to look at, by whom it was about."""
        self._first = self._latest = Conversation(self)
        self._by_channel: dict[str, Conversation] = {"": self._first}
        self._by_session: dict[str, Conversation] = {}

    def see(self, frame: Frame) -> None:
        """Look at the next frame. A rule that fails is logged, and the others go on."""
        self._conversation(frame).see(frame)

    def _conversation(self, frame: Frame) -> Conversation:
        """What a frame belongs to: the conversation of its exchange, or else the latest."""
        if frame.sender is Side.CLIENT:
            if frame.channel not in self._by_channel:
                self._by_channel[frame.channel] = self._entered(frame)
            return self._by_channel[frame.channel]
        found = (self._by_channel.get(frame.channel) if frame.channel else None) or self._latest
        self._name(found, frame.headers.get(_SESSION))
        return found

    def _entered(self, frame: Frame) -> Conversation:
        """What a client goes on with, or begins, by a new exchange or a new start of its server."""
        session = frame.headers.get(_SESSION)
        if VERSION in frame.meta or frame.headers.get("mcp-protocol-version") == MODERN:
            return self._first  # without sessions there is but one for all
        if session in self._by_session:
            return self._by_session[session]
        if session is not None and not self._name(self._latest, session):
            begun = Conversation(self)  # its beginning was not seen
            self._by_session[session] = begun
            return begun
        if frame.channel.startswith("start "):
            self._latest = Conversation(self)
        elif frame.method == "initialize":
            self._latest = Conversation(self, crowded=self._latest.opened and self._latest.session is None)
        return self._latest

    def _name(self, conversation: Conversation, session: str | None) -> bool:
        if session is None or not conversation.opened or conversation.session is not None:
            return False
        conversation.session = session
        self._by_session[session] = conversation
        return True


class Conversation:
    """What was seen of one conversation: of a session, of one start of a program, or of all that have no session."""

    def __init__(self, monitor: Monitor, *, crowded: bool = False) -> None:
        self._monitor = monitor
        self.crowded = crowded
        """Whether there was another before it that had no session, either: they cannot be told apart."""
        self.opened = False
        """Whether a client has sent ``initialize``."""
        self.session: str | None = None
        """The id of its session, over HTTP."""
        self.revision: str | None = None
        """What it speaks, once that is settled."""
        self.capabilities: dict[Side, JSONObject] = {}
        """What either side announced when it shook hands."""
        self.tools: dict[str, JSONObject] = {}
        self.tasks: dict[tuple[Side, str], WatchedTask] = {}
        self.made: dict[Frame, WatchedTask] = {}
        """The tasks by the request that they were made for."""
        self.minted: dict[tuple[Side, str], dict[int, str]] = {}
        """The ids of tasks that end in a number, by who made them, what comes before the number, and the number."""
        self.open: dict[Side, list[Frame]] = {side: [] for side in Side}
        """Requests without an answer, by who sent them."""
        self.lost: dict[Side, dict[RequestId, Frame]] = {side: {} for side in Side}
        """Requests whose exchange was over before their answer came. It may come yet, by a stream that is resumed."""
        self.used: dict[Side, dict[RequestId, Frame]] = {side: {} for side in Side}
        """The latest request with each id."""
        self.withdrawn: dict[Side, set[RequestId]] = {side: set() for side in Side}
        """Ids of requests whose sender has withdrawn them."""
        self.answered: dict[Side, dict[RequestId, Frame]] = {side: {} for side in Side}
        """The answers, by who asked and the id."""
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
        refused = frame.status in (401, 403) and "jsonrpc" not in frame.object  # what its body says is of HTTP
        if not refused:
            self._judge("frame", frame)
            if frame.is_request:
                self._request(frame)
            elif frame.is_notification:
                self._notification(frame)
            elif frame.is_response:
                self._response(frame)
        if refused or frame.event.startswith(_ENDS) or (frame.is_response and frame.id is None):
            self._exchange_over(frame)

    def check(self, id: str, ok: object, expected: str, frame: Frame, *, blamed: Side | None = None) -> None:
        """Judge one requirement at one frame; `expected` says what should have been."""
        blamed = frame.sender if blamed is None else blamed
        if self._monitor.judges not in (None, blamed):
            return
        self._monitor.counts[id, blamed] += 1
        if not ok:
            self._monitor.violations.append(Violation(id, blamed, expected, frame))

    def _judge(self, moment: str, frame: Frame, *more: Any) -> None:
        for rule in _RULES[moment]:
            try:
                rule(self, frame, *more)
            except Exception:
                _log.exception("the rule %s fails at %s", rule.__name__, show_frame(frame))

    # --- what the rules want to know ------------------------------------------------------------------------------

    def modern(self, frame: Frame) -> bool:
        """Whether a frame belongs to the stateless revision."""
        holder = frame if "method" in frame.object else self.question_of(frame)
        if holder is not None and holder.method == "initialize":
            return False  # a server may be asked in one era after the other
        return (holder is not None and VERSION in holder.meta) or self.revision == MODERN

    def of_one_client(self, request: Frame) -> bool:
        """Whether a stateless request is of the same client as the others: by HTTP many come, with ids of their own.

        Who judges clients is taken to look at one.
        """
        return not request.channel or self._monitor.judges is Side.CLIENT

    def open_with(self, side: Side, id: JSON) -> Frame | None:
        """The latest open request of a side with this id."""
        if not isinstance(id, (int, str)):
            return None
        return next((request for request in reversed(self.open[side]) if request.id == id), None)

    def question_of(self, response: Frame) -> Frame | None:
        """The request that a response answers: of those with its id the one of its exchange, or else the latest."""
        if response.id is None:
            return None
        side = response.sender.other
        asked = [request for request in self.open[side] if request.id == response.id]
        if response.id in self.lost[side]:
            asked.insert(0, self.lost[side][response.id])
        here = [request for request in asked if request.channel == response.channel]
        found = here or asked
        return found[-1] if found else None

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

    def task_support(self, request: Frame) -> JSONObject | None:
        """The ``execution`` of the tool that a request calls, empty if it has none; None if the tool is not known."""
        name = request.params.get("name")
        tool = self.tools.get(name) if isinstance(name, str) else None
        return None if tool is None else _object(tool.get("execution"))

    def task_of(self, frame: Frame) -> WatchedTask | None:
        """The task that ``_meta`` says a message belongs to; whoever runs it."""
        id = _object(frame.meta.get(RELATED)).get("taskId")
        return next((task for side in Side if (task := self.task(side, id)) is not None), None)

    def task(self, owner: Side, id: JSON) -> WatchedTask | None:
        """The task of that id."""
        return self.tasks.get((owner, id)) if isinstance(id, str) else None

    def overtaken(self, frame: Frame, task: JSONObject, request: Frame | None, known: WatchedTask) -> bool:
        """Whether what is newer came first: a notice before the handle of its task, or over HTTP by another stream."""
        if request is not None and not (request.method or "").startswith("tasks/"):
            return bool(known.statuses)
        if not frame.channel or known.over is None or known.over.channel == frame.channel:
            return False
        if request is not None:
            return request in known.crossing
        then, now = known.updated_at, task.get("lastUpdatedAt")
        return isinstance(then, str) and isinstance(now, str) and now <= then

    def task_withdrawn(self, cancellation: Frame) -> WatchedTask | None:
        """The task that ``notifications/cancelled`` is to end, sent by one who knows that it has become one."""
        id = cancellation.params.get("requestId")
        request = self.used[cancellation.sender].get(id) if isinstance(id, (int, str)) else None
        task = None if request is None else self.made.get(request)
        if task is None or task.made is None:
            return None
        # Until then it may have crossed the handle.
        return task if task.handled or cancellation.at > task.made.at + OVERTAKEN_SECONDS else None

    # --- state ----------------------------------------------------------------------------------------------------

    def _request(self, frame: Frame) -> None:
        if frame.method == "initialize":
            self.opened = True
            if self.revision == MODERN:
                self.revision = None
        elif self.revision is None and frame.method != "server/discover" and frame.meta.get(VERSION) == MODERN:
            self.revision = MODERN
        self._judge("request", frame)
        if frame.id is not None:
            earlier = self.open_with(frame.sender, frame.id)
            if earlier is not None and earlier.channel == frame.channel:
                self.repeated[frame.sender].add(frame.id)
            self.open[frame.sender].append(frame)
            self.used[frame.sender][frame.id] = frame
            self.lost[frame.sender].pop(frame.id, None)
            self.answered[frame.sender].pop(frame.id, None)
            self.withdrawn[frame.sender].discard(frame.id)
        if frame.method == "initialize":
            self.capabilities[frame.sender] = _object(frame.params.get("capabilities"))
        token = frame.meta.get("progressToken")
        if isinstance(token, (int, str)):
            self.tokens[frame.sender, token] = frame
            self.progress.pop((frame.sender, token), None)
        if (frame.method or "").startswith("tasks/"):
            task = self.task(frame.sender.other, frame.params.get("taskId"))
            if task is not None:
                task.handled = True
                if frame.method == "tasks/update":
                    task.answered.update(_object(frame.params.get("inputResponses")))

    def _notification(self, frame: Frame) -> None:
        self._judge("notification", frame)
        if frame.method == "notifications/cancelled":
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
        self._judge("response", frame, request)
        if request is None or frame.id is None:
            return
        side = request.sender
        if request in self.open[side]:
            self.open[side].remove(request)
        else:
            del self.lost[side][frame.id]
        self.answered[side][frame.id] = frame
        if request.method == "tasks/result":
            task = self.task(frame.sender, request.params.get("taskId"))
            if task is not None:
                self._over(task, frame)
        if frame.error is not None:
            return
        result = frame.result
        if request.method == "initialize":
            version = result.get("protocolVersion")
            self.revision = version if isinstance(version, str) else None
            self.capabilities[frame.sender] = _object(result.get("capabilities"))
        elif request.method == "server/discover":
            self.revision = self.revision or MODERN
            self.capabilities[frame.sender] = _object(result.get("capabilities"))
        elif request.method == "tools/list":
            for tool in objects(result.get("tools")):
                if isinstance(tool.get("name"), str):
                    self.tools[tool["name"]] = tool
        for found in _tasks_in(request, result):
            self._task(frame, found, request)

    def _exchange_over(self, frame: Frame) -> None:
        """Nothing more comes by an exchange: its request is not waited for, and may be sent again."""
        if not frame.channel:
            return
        for request in [request for request in self.open[Side.CLIENT] if request.channel == frame.channel]:
            assert request.id is not None
            self.open[Side.CLIENT].remove(request)
            self.lost[Side.CLIENT][request.id] = request
            task = self.task(Side.SERVER, request.params.get("taskId"))
            if request.method == "tasks/update" and task is not None:
                task.answered.difference_update(_object(request.params.get("inputResponses")))

    def _task(self, frame: Frame, task: JSONObject, request: Frame | None) -> None:
        id = task.get("taskId")
        if not isinstance(id, str):
            self._judge("task", frame, task, request, None)
            return
        key = frame.sender, id
        watched = self.tasks.get(key)
        if watched is None:
            watched = WatchedTask(id, frame.sender, self.modern(frame))
        if watched.request is None and request is not None and not (request.method or "").startswith("tasks/"):
            watched.request, watched.made = request, frame
            self.made[request] = watched
        overtaken = self.overtaken(frame, task, request, watched)
        self._judge("task", frame, task, request, watched)
        self.tasks[key] = watched
        for name, question in _object(task.get("inputRequests")).items():
            watched.asked.setdefault(name, question)
        if overtaken:
            return
        status = task.get("status")
        if isinstance(status, str) and not watched.terminal and watched.statuses[-1:] != [status]:
            watched.statuses.append(status)
            if status in TERMINAL:
                self._over(watched, frame)
        watched.created_at = task.get("createdAt", watched.created_at)
        watched.updated_at = task.get("lastUpdatedAt", watched.updated_at)

    def _over(self, task: WatchedTask, frame: Frame) -> None:
        if task.over is None:
            asked = frame.sender.other
            task.over, task.crossing = frame, (*self.open[asked], *self.lost[asked].values())


_ENDS = ("closed", "refused", "broken", "ended")
"""How an event begins after which nothing more comes by its exchange."""


def objects(value: JSON) -> list[JSONObject]:
    """The objects of a list; none if it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _object(value: JSON) -> JSONObject:
    return value if isinstance(value, dict) else {}


def _tasks_in(request: Frame, result: JSONObject) -> Iterator[JSONObject]:
    """The task objects in the result of a request, of either generation."""
    if request.method in ("tasks/get", "tasks/cancel"):
        if "taskId" in result or "status" in result:
            yield result
    elif request.method == "tasks/list":
        yield from objects(result.get("tasks"))
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
    monitor takes note of it. It is called with the conversation, the frame, and for a response the request (None if
    there is none), for a task the object, the request and what was known of it."""

    def add(function: R) -> R:
        _RULES[moment].append(function)
        return function

    return add
