"""The life of a task, written as data.

Two rules. Everything that decides what may happen to a task next stands in `TRANSITIONS`; code that moves a task calls
`advance` and nothing else. And this file does not know which side we are, nor which era is spoken: it records how a
task ended (it returned, it raised, it was stopped) and leaves it to a dialect whether that is worded "completed",
"failed" or "cancelled".

A state without a row of its own is terminal: nothing leads out of it, so a task settles exactly once however many
parties try.

Spec: 2025-11-25 basic/utilities/tasks "Task Status Lifecycle" (T25-061 to T25-064); SEP-2663 has the same moves.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["TERMINAL", "TRANSITIONS", "IllegalTransition", "TaskInput", "TaskState", "advance"]


class TaskState(enum.Enum):
    """Where a task is."""

    __hash__ = object.__hash__  # members are unique; hashing their names is what these tables would cost most

    WORKING = "working"
    INPUT_REQUIRED = "input required"
    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"


class TaskInput(enum.Enum):
    """What can happen to a task."""

    __hash__ = object.__hash__

    ASK = "ask"  # the work needs something from the requestor
    ANSWER = "answer"  # the last open question was answered or given up
    RETURN = "return"  # the work has a result
    RAISE = "raise"  # the work ended in an error
    STOP = "stop"  # somebody ended it: the requestor, its lifetime, or our shutting down


_FROM_ANYWHERE: Final = {
    TaskInput.RETURN: TaskState.RETURNED,
    TaskInput.RAISE: TaskState.RAISED,
    TaskInput.STOP: TaskState.STOPPED,
}

TRANSITIONS: Final[Mapping[TaskState, Mapping[TaskInput, TaskState]]] = MappingProxyType(
    {
        TaskState.WORKING: MappingProxyType({TaskInput.ASK: TaskState.INPUT_REQUIRED, **_FROM_ANYWHERE}),
        TaskState.INPUT_REQUIRED: MappingProxyType(
            {
                TaskInput.ASK: TaskState.INPUT_REQUIRED,  # a second question while the first is open
                TaskInput.ANSWER: TaskState.WORKING,
                **_FROM_ANYWHERE,
            }
        ),
    }
)

TERMINAL: Final = frozenset(TaskState) - TRANSITIONS.keys()


class IllegalTransition(Exception):
    """`given` cannot happen to a task in `state`."""

    def __init__(self, state: TaskState, given: TaskInput) -> None:
        super().__init__(f"{given.value} is not possible when {state.value}")
        self.state = state
        self.given = given


def advance(state: TaskState, given: TaskInput) -> TaskState:
    """The state after `given`. Raises `IllegalTransition` where the table has no such move."""
    moves = TRANSITIONS.get(state)
    if moves is None or given not in moves:
        raise IllegalTransition(state, given)
    return moves[given]
