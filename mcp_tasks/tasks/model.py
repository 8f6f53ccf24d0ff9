"""What is known of a task, and what can be asked of one.

Facts only. A `TaskRecord` is the receiver's truth, written once per change and never edited in place. It keeps an
*outcome* (`Returned`, `Raised`, `Stopped`), not a status, so that either era can word it. The verbs are what a
dialect makes of incoming requests; the rest of the engine matches on these classes and never on a method's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, Cursor, JSONObject, Principal, ProgressToken, TaskId, Unset
from ..errors import Refusal, RequestFailed
from .state import TaskState

__all__ = [
    "Answer",
    "Await",
    "Call",
    "Cancel",
    "Get",
    "List",
    "Outcome",
    "Page",
    "Question",
    "Raised",
    "Returned",
    "Stopped",
    "TaskRecord",
    "TaskVerb",
    "TaskWish",
]


@frozen(eq=False, repr=False)
class Returned(Shape):
    """The work gave this result: the very object that a plain request would have been answered with."""

    result: JSONObject


@frozen(eq=False, repr=False)
class Raised(Shape):
    """The work ended in this error: the very one that a plain request would have been answered with."""

    error: Refusal | RequestFailed


@frozen(eq=False, repr=False)
class Stopped(Shape):
    """The work was ended from outside before it had an outcome; `reason` is one sentence."""

    reason: str


Outcome: TypeAlias = Returned | Raised | Stopped


@frozen(eq=False, repr=False)
class Question(Shape):
    """Something the work needs to know from the requestor: a request in the other direction."""

    method: str
    params: JSONObject


EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@frozen(kw_only=True, eq=False, repr=False)
class TaskRecord(Shape):
    """One task, at one moment.

    `created_at` and `updated_at` are seconds since the epoch, recorded when it happened; `updated_at` follows the
    state and its message. `ttl_ms` counts from `created_at`, None is for ever. `version` counts the changes.
    """

    id: TaskId
    principal: Principal
    method: str
    created_at: float
    updated_at: float
    ttl_ms: int | None
    poll_interval_ms: int | None
    state: TaskState = TaskState.WORKING
    message: str | None = None
    outcome: Outcome | None = None
    questions: Mapping[str, Question] = EMPTY
    """What is asked and not answered, by key."""
    answers: Mapping[str, JSON] = EMPTY
    """The journal: what was answered, by key, and what `once` has done. A key is never used again."""
    version: int = 0
    runs: int = 1
    """How often its work was begun; whoever begins it again counts one up, and from then on it is theirs.

    0 is a task that waits for somebody to begin."""
    runner: str | None = None
    """Who has begun its latest run, as a name of its own; None for whoever made it."""
    forgiven: int = 0
    """Of those runs, how many ended because their process did, in an orderly way."""
    restartable: bool = False
    """Whether its work may be begun again."""
    origin: JSONObject | None = None
    """What it takes to do the work in another process, as whoever made the task wrote it; None if nobody else can."""

    @property
    def settled(self) -> bool:
        """Whether it is over; it then never changes again."""
        return self.outcome is not None

    def changed(self, state: TaskState, updated_at: float, edits: Mapping[str, Any]) -> TaskRecord:
        """The next version; `edits` are the other fields that change, which are all from `ttl_ms` to `forgiven`."""
        # By hand, at a third of what attrs.evolve costs: this is done several times in each task's life.
        edited = edits.get
        return TaskRecord(
            id=self.id,
            principal=self.principal,
            method=self.method,
            created_at=self.created_at,
            updated_at=edited("updated_at", updated_at),
            ttl_ms=edited("ttl_ms", self.ttl_ms),
            poll_interval_ms=edited("poll_interval_ms", self.poll_interval_ms),
            state=state,
            message=edited("message", self.message),
            outcome=edited("outcome", self.outcome),
            questions=edited("questions", self.questions),
            answers=edited("answers", self.answers),
            version=self.version + 1,
            runs=edited("runs", self.runs),
            runner=edited("runner", self.runner),
            forgiven=edited("forgiven", self.forgiven),
            restartable=self.restartable,
            origin=self.origin,
        )

    @property
    def expires_at(self) -> float | None:
        """When its lifetime ends, in seconds since the epoch."""
        return None if self.ttl_ms is None else self.created_at + self.ttl_ms / 1000


@frozen(eq=False, repr=False)
class Page(Shape):
    """A part of a list, and where the next one starts."""

    records: list[TaskRecord]
    next_cursor: Cursor | None


@frozen(eq=False, repr=False)
class TaskWish(Shape):
    """The requestor would like a task, to be kept for `ttl_ms` (UNSET: as we like)."""

    ttl_ms: int | Unset = UNSET


@frozen(eq=False, repr=False)
class Call(Shape):
    """Do what `method` stands for. `wish` is there if it is to be a task.

    `related` is a task of the requestor's side on whose behalf this is asked; the answer names it again.
    """

    method: str
    params: JSONObject
    wish: TaskWish | None = None
    progress_token: ProgressToken | None = None
    meta: JSONObject = field(factory=dict)
    related: TaskId | None = None
    answers: Mapping[str, JSONObject] = EMPTY
    """What they answer to what we asked when they asked before, by key."""
    state: str | None = None
    """What we gave them then to bring back."""


@frozen(eq=False, repr=False)
class Get(Shape):
    """Say how a task is."""

    id: TaskId


@frozen(eq=False, repr=False)
class Await(Shape):
    """Say how a task ended, once it has."""

    id: TaskId


@frozen(eq=False, repr=False)
class List(Shape):
    """Say which tasks there are."""

    cursor: Cursor | None


@frozen(eq=False, repr=False)
class Cancel(Shape):
    """End a task."""

    id: TaskId


@frozen(eq=False, repr=False)
class Answer(Shape):
    """Here is what a task wanted to know, by key."""

    id: TaskId
    answers: Mapping[str, JSONObject]


TaskVerb: TypeAlias = Get | Await | List | Cancel | Answer
