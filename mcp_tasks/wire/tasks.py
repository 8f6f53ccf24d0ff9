"""What a task looks like from outside, in words both generations of tasks share.

Fields are named by meaning and unit; what a revision calls them on the wire (``ttl`` or ``ttlMs``) is told to the
codec by that revision's module. The life cycle is not here: these are only the words for it. This module may not know
methods, revisions or the codec.

Spec: basic/utilities/tasks ("Data Types") of 2025-11-25; SEP-2663 for the later words.
"""

from __future__ import annotations

import enum

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset
from .content import Number

__all__ = ["Task", "TaskMetadata", "TaskStatus"]


class TaskStatus(str, enum.Enum):
    """A task's state as the wire has it; the last three never change."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


@frozen(eq=False, repr=False)
class Task(Shape):
    """A task as its receiver tells of it; a `ttl_ms` of None means that it is kept for ever.

    It is met nested in a result, in a list, and flat as a result or a notification of its own; `meta` and `extra`
    belong to the last two.
    """

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: Number | None
    poll_interval_ms: Number | Unset = UNSET
    status_message: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TaskMetadata(Shape):
    """What a requestor wishes of the task it asks for: how long to keep it, counted from its creation."""

    ttl_ms: Number | Unset = UNSET
