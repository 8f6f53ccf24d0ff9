"""The absent value, and the aliases for what JSON and JSON-RPC leave untyped.

A member that is missing and a member that is null are two different statements on this wire (a task's ``ttl`` of null
means "for ever"), so absence has a value of its own. This module knows nothing of the protocol.
"""

from __future__ import annotations

import enum
from typing import Any, Final, NewType, TypeAlias

__all__ = ["JSON", "UNSET", "Cursor", "JSONObject", "Principal", "ProgressToken", "RequestId", "TaskId", "Unset"]


class Unset(enum.Enum):
    """The type of `UNSET`; an enum, so that ``is UNSET`` narrows a union for a type checker."""

    UNSET = "UNSET"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""The member is not there at all; never written to the wire."""

JSON: TypeAlias = Any
"""Any JSON value: an object is a dict with string keys, an array a list, a number an int or a float."""

JSONObject: TypeAlias = dict[str, Any]
"""A JSON object."""

RequestId: TypeAlias = int | str
"""A JSON-RPC request id. 1 and "1" are two different ids; null is none."""

ProgressToken: TypeAlias = int | str
"""What a requestor hands out to be told of progress; unique among its active requests."""

Cursor: TypeAlias = str
"""An opaque position in a list."""

TaskId = NewType("TaskId", str)
"""A task's name, minted by its receiver."""

Principal = NewType("Principal", str)
"""Whom a message comes from, as far as ownership goes: an authenticated name, or one connection."""
