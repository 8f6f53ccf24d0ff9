"""Comparing what is said now with what was recorded: some names are made anew every time, and stand for each other.

Ids of requests and tasks, tokens, cursors, keys of questions and sealed state differ from run to run, but each of the
recorded ones has one that plays its part now. A `Matcher` learns those pairs where such names are first seen, expects
them from then on, and puts them into what it sends. Times and the like are not compared at all.

Names are known by where they stand: the members listed here, and the keys of question maps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .._unset import JSON, JSONObject
from ..testing import Frame

__all__ = ["IGNORED", "NAMES", "Matcher", "body_of"]

NAMES = frozenset(
    {
        "taskId",
        "cursor",
        "nextCursor",
        "requestState",
        "progressToken",
        "requestId",
        "elicitationId",
        "io.modelcontextprotocol/subscriptionId",
    }
)
"""Members whose value is a name that somebody made up."""
_KEYED = frozenset({"inputRequests", "inputResponses"})
_LISTS = frozenset({"taskIds"})
IGNORED = frozenset(
    {
        "createdAt",
        "lastUpdatedAt",
        "timestamp",
        "traceparent",
        "tracestate",
        "baggage",
        "io.modelcontextprotocol/serverInfo",
        "io.modelcontextprotocol/clientInfo",
        "serverInfo",
        "clientInfo",
    }
)
"""Members that are not compared."""
_REDACTED = "[redacted]"


class Matcher:
    """Which of today's names plays the part of which recorded one; `ignored` are more members not to compare."""

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self._ignored = IGNORED | ignored
        self._live: dict[Any, Any] = {}  # recorded -> live
        self._recorded: dict[Any, Any] = {}  # live -> recorded

    def pair(self, recorded: JSON, live: JSON) -> bool:
        """Have two names stand for each other; False if one of them stands for another already."""
        a, b = _key(recorded), _key(live)
        if a in self._live or b in self._recorded:
            return bool(self._live.get(a) == b and self._recorded.get(b) == a)
        self._live[a], self._recorded[b] = b, a
        return True

    def matches(self, recorded: JSON, live: JSON) -> bool:
        """Whether two messages are the same but for their names; the pairs that follow are learnt only if they are."""
        return not self.differences(recorded, live, learn=True)

    def differences(self, recorded: JSON, live: JSON, *, learn: bool = False) -> list[str]:
        """How a message differs from the recorded one, each with its path. Pairs are learnt if it does not."""
        trial = copy.copy(self)
        trial._live, trial._recorded = dict(self._live), dict(self._recorded)
        found: list[str] = []
        trial._compare(recorded, live, "$", found)
        if learn and not found:
            self._live, self._recorded = trial._live, trial._recorded
        return found

    def accept(self, recorded: JSON, live: JSON) -> list[str]:
        """The same, for messages that belong to each other however they differ: their names are paired all the same."""
        found: list[str] = []
        self._compare(recorded, live, "$", found)
        return found

    def today(self, recorded: JSON) -> JSON:
        """A recorded message with today's names; those that were not seen yet stay as they were."""
        return self._rename(recorded, None)

    # --- comparing ------------------------------------------------------------------------------------------------

    def _compare(self, recorded: JSON, live: JSON, path: str, found: list[str], name: str | None = None) -> None:
        if name in self._ignored or recorded == _REDACTED:
            return
        if name in NAMES and _is_name(recorded) and _is_name(live):
            if not self.pair(recorded, live):
                found.append(f"{path}: {live!r} does not play the part of {recorded!r}")
        elif isinstance(recorded, dict) and isinstance(live, dict):
            if name in _KEYED:
                self._compare_keyed(recorded, live, path, found)
                return
            for member in recorded.keys() | live.keys():
                if member in self._ignored:
                    continue
                where = f"{path}.{member}"
                if member not in live:
                    found.append(f"{where}: was {recorded[member]!r}, is not there")
                elif member not in recorded:
                    found.append(f"{where}: was not there, is {live[member]!r}")
                else:
                    self._compare(recorded[member], live[member], where, found, member)
        elif isinstance(recorded, list) and isinstance(live, list):
            if len(recorded) != len(live):
                found.append(f"{path}: had {len(recorded)} items, has {len(live)}")
            inner = "taskId" if name in _LISTS else None
            for number, (one, other) in enumerate(zip(recorded, live, strict=False)):
                self._compare(one, other, f"{path}[{number}]", found, inner)
        elif (recorded != live or isinstance(recorded, bool) != isinstance(live, bool)) and not (
            _is_name(recorded) and _is_name(live) and self._live.get(_key(recorded)) == _key(live)
        ):
            found.append(f"{path}: was {recorded!r}, is {live!r}")

    def _compare_keyed(self, recorded: Mapping[str, Any], live: Mapping[str, Any], path: str, found: list[str]) -> None:
        # Keys were made up, too; those that are not known yet are told by what they ask, in order.
        left = [key for key in live if _key(key) not in self._recorded]
        for key, part in recorded.items():
            known = self._live.get(_key(key))
            alike = (one for one in left if self._alike(part, live[one]))
            other = known[1] if known is not None else next(alike, key if key in left else None)
            if other is None or other not in live:
                found.append(f"{path}.{key}: is not there")
                continue
            if other in left:
                left.remove(other)
            self.pair(key, other)
            self._compare(part, live[other], f"{path}.{key}", found)
        found += [f"{path}.{key}: was not there" for key in left]

    def _alike(self, recorded: JSON, live: JSON) -> bool:
        return not self.differences(recorded, live)

    # --- renaming -------------------------------------------------------------------------------------------------

    def _rename(self, value: JSON, name: str | None) -> JSON:
        if isinstance(value, dict):
            return {
                (self._of(member) if name in _KEYED else member): self._rename(part, member)
                for member, part in value.items()
            }
        if isinstance(value, list):
            return [self._rename(part, "taskId" if name in _LISTS else None) for part in value]
        if _is_name(value) and (name in NAMES or isinstance(value, str)):
            return self._of(value)
        return value

    def _of(self, value: JSON) -> JSON:
        found = self._live.get(_key(value))
        return value if found is None else found[1]


def _key(name: JSON) -> tuple[bool, Any]:
    return isinstance(name, str), name  # 1 and "1" are two names


def _is_name(value: JSON) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def body_of(frame: Frame) -> JSONObject:
    """What is compared of a message: without its id, which is JSON-RPC's."""
    return {name: value for name, value in frame.object.items() if name not in ("id", "jsonrpc")}
