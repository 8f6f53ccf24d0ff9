"""A task record as JSON that can be kept, and back: the same for every store that outlives the process.

A record comes in parts, since they change at different times: the *head* with each change, the *journal* by a note at
a time, the *outcome* once, the *origin* never. Errors keep their class by name, and what they know of themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from .. import errors
from .._unset import JSON, UNSET, JSONObject, Principal, TaskId
from ..errors import InternalError, Refusal, RequestFailed
from .model import EMPTY, Outcome, Question, Raised, Returned, Stopped, TaskRecord
from .state import TaskState

__all__ = ["brief", "decode", "encode", "keep_head", "keep_outcome", "lift_head", "lift_outcome"]

encode: Final = msgspec.json.Encoder().encode
"""JSON as bytes. Raises TypeError, ValueError or RecursionError."""
decode: Final = msgspec.json.Decoder().decode
"""The JSON value of such bytes."""


def keep_head(record: TaskRecord) -> JSONObject:
    """What changes of a record, but for its journal and its outcome."""
    head: JSONObject = {
        "principal": record.principal,
        "method": record.method,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "ttl_ms": record.ttl_ms,
        "poll_interval_ms": record.poll_interval_ms,
        "state": record.state.name,
        "runs": record.runs,
    }
    if record.runner is not None:
        head["runner"] = record.runner
    if record.forgiven:
        head["forgiven"] = record.forgiven
    if record.restartable:
        head["restartable"] = True
    if record.message is not None:
        head["message"] = record.message
    if record.questions:
        head["questions"] = {key: [asked.method, asked.params] for key, asked in record.questions.items()}
    return head


def lift_head(
    id: TaskId,
    version: int,
    head: Mapping[str, Any],
    *,
    outcome: Outcome | None,
    answers: Mapping[str, JSON],
    origin: JSONObject | None,
) -> TaskRecord:
    """The record that these are the parts of."""
    questions = head.get("questions")
    return TaskRecord(
        id=id,
        principal=Principal(head["principal"]),
        method=head["method"],
        created_at=head["created_at"],
        updated_at=head["updated_at"],
        ttl_ms=head["ttl_ms"],
        poll_interval_ms=head["poll_interval_ms"],
        state=TaskState[head["state"]],
        message=head.get("message"),
        outcome=outcome,
        questions={key: Question(*asked) for key, asked in questions.items()} if questions else EMPTY,
        answers=answers,
        version=version,
        runs=head["runs"],
        runner=head.get("runner"),
        forgiven=head.get("forgiven", 0),
        restartable=head.get("restartable", False),
        origin=origin,
    )


def keep_outcome(outcome: Outcome) -> JSON:
    """An outcome as JSON."""
    match outcome:
        case Returned(result):
            return ["returned", result]
        case Stopped(reason):
            return ["stopped", reason]
        case Raised(RequestFailed() as error):
            return ["failed", error.code, error.message, *([] if error.data is UNSET else [error.data])]
        case Raised(error):
            # A subclass of somebody's own is kept as the one of ours that it is.
            kind = next(one for one in type(error).__mro__ if one.__module__ == errors.__name__)
            known = _known_to(kind)
            knows = {name: value for name, value in vars(error).items() if name in known and value is not UNSET}
            return ["raised", kind.__name__, knows]
    raise AssertionError(outcome)


@lru_cache(maxsize=64)
def _known_to(kind: type) -> frozenset[str]:
    # What an error of a class of ours is made of; what a subclass adds may be anything.
    return frozenset(inspect.signature(kind.__init__).parameters) | {"message", "data"}  # type: ignore[misc]


def lift_outcome(kept: JSON) -> Outcome:
    """The outcome that was kept. An error whose class is not known any more is an internal one."""
    match kept:
        case ["returned", result]:
            return Returned(result)
        case ["stopped", reason]:
            return Stopped(reason)
        case ["failed", code, message, *data]:
            return Raised(RequestFailed(code, message, data[0] if data else UNSET))
        case ["raised", name, knows]:
            kind = getattr(errors, name, None)
            if not (isinstance(kind, type) and issubclass(kind, Refusal)):
                kind = InternalError
            error = kind.__new__(kind)
            Refusal.__init__(error, knows["message"], knows.get("data", UNSET))
            vars(error).update(knows)
            return Raised(error)
    raise ValueError(f"no outcome: {kept!r}")


def brief(outcome: Outcome) -> Outcome:
    """An outcome as a list needs it: of a result, the members that are true, false, null or a number."""
    if not isinstance(outcome, Returned):
        return outcome
    small = {name: value for name, value in outcome.result.items() if value is None or isinstance(value, (int, float))}
    return Returned(small)
