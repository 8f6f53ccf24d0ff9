"""Comparing what is said now with what was recorded: some names are made anew every time, and stand for each other.

Ids of requests and tasks, tokens, cursors, keys of questions and sealed state differ from run to run, but each of the
recorded ones has one that plays its part now. A `Matcher` learns those pairs where such names are first seen, expects
them from then on, and puts them into what it sends. Times and the like are not compared at all.

Names are known by where they stand: the members listed here, and the keys of question maps. That holds of what belongs
to the protocol; what a program put into arguments, content, schemas and the like is compared, and sent, as it is. A
name is one of its kind (`KINDS`): request 1 and progress token 1 have nothing to do with each other, nor have the
requests and tokens of the two sides. What was redacted, even within a string, stands for anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

from .._unset import JSON, JSONObject, RequestId
from ..dialects.base import Side
from ..testing import Frame
from ..wire.v2026_07_28 import CLIENT_INFO, SERVER_INFO
from ..wire.v2026_07_28 import SUBSCRIPTION_ID as _SUBSCRIPTION

__all__ = ["IGNORED", "KINDS", "NAMES", "Matcher", "body_of"]

KINDS: Mapping[str, str] = {
    "taskId": "task",
    "cursor": "cursor",
    "nextCursor": "cursor",
    "requestState": "state",
    "progressToken": "token",
    "requestId": "request",
    "elicitationId": "elicitation",
    _SUBSCRIPTION: "request",
}
"""Of each member whose value is a name that somebody made up, what it names."""
NAMES = frozenset(KINDS)
_KEYED = frozenset({"inputRequests", "inputResponses"})
_LISTS = {"taskIds": "taskId"}
_OPAQUE = frozenset(
    {
        "arguments",
        "content",
        "contents",
        "structuredContent",
        "messages",
        "metadata",
        "data",
        "inputSchema",
        "outputSchema",
        "requestedSchema",
        "experimental",
    }
)
"""Members below which nothing is the protocol's."""
IGNORED = frozenset(
    {
        "createdAt",
        "lastUpdatedAt",
        "timestamp",
        "traceparent",
        "tracestate",
        "baggage",
        SERVER_INFO,
        CLIENT_INFO,
        "serverInfo",
        "clientInfo",
    }
)
"""Members of the protocol that are not compared."""
_REDACTED = "[redacted]"

_Key: TypeAlias = tuple[str, Side | None, bool, Any]


@frozen
class _Body:
    """The message that is being looked at: whose names it has depends on it."""

    method: JSON
    by: Side | None

    def owner(self, member: str) -> Side | None:
        """Who made up the name that is the value of `member`; None where that makes no difference."""
        if self.by is None or KINDS[member] not in ("token", "request"):
            return None
        if member == _SUBSCRIPTION:
            return Side.CLIENT
        return self.by.other if self.method == "notifications/progress" else self.by


class Matcher:
    """Which of today's names plays the part of which recorded one; `ignored` are more members not to compare, anywhere.

    Whoever says by which side (`by`) a message was sent has the names of the two sides told apart.
    """

    def __init__(self, ignored: frozenset[str] = frozenset()) -> None:
        self._ignored = ignored
        self._live: dict[_Key, Any] = {}  # recorded -> live
        self._recorded: dict[_Key, Any] = {}  # live -> recorded

    def pair(self, member: str, recorded: JSON, live: JSON, owner: Side | None = None) -> bool:
        """Have two values of `member` stand for each other; False if one of them stands for another already."""
        return self._pair(KINDS[member], owner, recorded, live)

    def pair_requests(self, owner: Side, recorded: RequestId | None, live: RequestId | None) -> None:
        """Have the ids of two requests of one side stand for each other."""
        if recorded is not None and live is not None:
            self._pair("request", owner, recorded, live)

    def matches(self, recorded: JSON, live: JSON, *, by: Side | None = None) -> bool:
        """Whether two messages are the same but for their names; the pairs that follow are learnt only if they are."""
        return not self.differences(recorded, live, by=by, learn=True)

    def differences(self, recorded: JSON, live: JSON, *, by: Side | None = None, learn: bool = False) -> list[str]:
        """How a message differs from the recorded one, each with its path. Pairs are learnt if it does not."""
        trial = self._copy()
        found = trial.accept(recorded, live, by=by)
        if learn and not found:
            self._live, self._recorded = trial._live, trial._recorded
        return found

    def accept(self, recorded: JSON, live: JSON, *, by: Side | None = None) -> list[str]:
        """The same, for messages that belong to each other however they differ: their names are paired all the same."""
        found: list[str] = []
        self._compare(_body(recorded, by), recorded, live, "$", found)
        return found

    def today(self, recorded: JSON, *, by: Side | None = None) -> JSON:
        """A recorded message with today's names; those that were not seen yet stay as they were."""
        return self._rename(_body(recorded, by), recorded, None, False)

    def ignoring(self, *members: str) -> Matcher:
        """One that knows the same pairs, and does not compare these members either."""
        found = self._copy()
        found._ignored |= {*members}
        return found

    # --- pairs ----------------------------------------------------------------------------------------------------

    def _copy(self) -> Matcher:
        found = copy.copy(self)
        found._live, found._recorded = dict(self._live), dict(self._recorded)
        return found

    def _pair(self, kind: str, owner: Side | None, recorded: JSON, live: JSON) -> bool:
        a, b = _key(kind, owner, recorded), _key(kind, owner, live)
        if a in self._live or b in self._recorded:
            return a in self._live and _key(kind, owner, self._live[a]) == b
        self._live[a], self._recorded[b] = live, recorded
        return True

    def _owner(self, body: _Body, member: str, recorded: JSON) -> Side | None:
        owner = body.owner(member)
        if member == "requestId" and owner is not None and _key("request", owner, recorded) not in self._live:
            # A server ends a subscription by cancelling the request of the client.
            return owner.other if _key("request", owner.other, recorded) in self._live else owner
        return owner

    # --- comparing ------------------------------------------------------------------------------------------------

    def _compare(
        self,
        body: _Body,
        recorded: JSON,
        live: JSON,
        path: str,
        found: list[str],
        name: str | None = None,
        opaque: bool = False,
    ) -> None:
        if recorded == _REDACTED:
            return
        if not opaque and name in KINDS and _is_name(recorded) and _is_name(live):
            assert name is not None
            if not self.pair(name, recorded, live, self._owner(body, name, recorded)):
                found.append(f"{path}: {live!r} does not play the part of {recorded!r}")
        elif isinstance(recorded, dict) and isinstance(live, dict):
            if name in _KEYED and not opaque:
                self._compare_keyed(body, recorded, live, path, found)
                return
            for member in recorded.keys() | live.keys():
                if member in self._ignored or (not opaque and member in IGNORED):
                    continue
                where = f"{path}.{member}"
                if member not in live:
                    found.append(f"{where}: was {recorded[member]!r}, is not there")
                elif member not in recorded:
                    found.append(f"{where}: was not there, is {live[member]!r}")
                else:
                    inner = _is_opaque(member, name, opaque)
                    self._compare(body, recorded[member], live[member], where, found, member, inner)
        elif isinstance(recorded, list) and isinstance(live, list):
            if len(recorded) != len(live):
                found.append(f"{path}: had {len(recorded)} items, has {len(live)}")
            for number, (one, other) in enumerate(zip(recorded, live, strict=False)):
                self._compare(body, one, other, f"{path}[{number}]", found, _LISTS.get(name or ""), opaque)
        elif isinstance(recorded, str) and isinstance(live, str):
            if not _is_text(recorded, live):
                found.append(f"{path}: was {recorded!r}, is {live!r}")
        elif recorded != live or isinstance(recorded, bool) != isinstance(live, bool):
            found.append(f"{path}: was {recorded!r}, is {live!r}")

    def _compare_keyed(
        self, body: _Body, recorded: Mapping[str, Any], live: Mapping[str, Any], path: str, found: list[str]
    ) -> None:
        # Keys were made up, too; those that are not known yet are told by what they ask, in order.
        left = [key for key in live if _key("question", None, key) not in self._recorded]
        for key, part in recorded.items():
            alike = (one for one in left if self._alike(body, part, live[one]))
            known = self._live.get(_key("question", None, key))
            other = known if known is not None else next(alike, key if key in left else None)
            if other is None or other not in live:
                found.append(f"{path}.{key}: is not there")
                continue
            if other in left:
                left.remove(other)
            self._pair("question", None, key, other)
            self._compare(body, part, live[other], f"{path}.{key}", found)
        found += [f"{path}.{key}: was not there" for key in left]

    def _alike(self, body: _Body, recorded: JSON, live: JSON) -> bool:
        found: list[str] = []
        self._copy()._compare(body, recorded, live, "$", found)
        return not found

    # --- renaming -------------------------------------------------------------------------------------------------

    def _rename(self, body: _Body, value: JSON, name: str | None, opaque: bool) -> JSON:
        if opaque and not isinstance(value, (dict, list)):
            return value
        if isinstance(value, dict):
            if name in _KEYED and not opaque:
                return {
                    self._live.get(_key("question", None, key), key): self._rename(body, part, None, opaque)
                    for key, part in value.items()
                }
            return {
                member: self._rename(body, part, member, _is_opaque(member, name, opaque))
                for member, part in value.items()
            }
        if isinstance(value, list):
            return [self._rename(body, part, _LISTS.get(name or ""), opaque) for part in value]
        if name in KINDS and _is_name(value):
            assert name is not None
            return self._live.get(_key(KINDS[name], self._owner(body, name, value), value), value)
        return value


def _body(value: JSON, by: Side | None) -> _Body:
    return _Body(value.get("method") if isinstance(value, dict) else None, by)


def _key(kind: str, owner: Side | None, name: JSON) -> _Key:
    return kind, owner, isinstance(name, str), name  # 1 and "1" are two names


def _is_name(value: JSON) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_opaque(member: str, holder: str | None, opaque: bool) -> bool:
    """Whether what is below `member` of `holder` is no business of the protocol; `opaque` says that of the holder."""
    if opaque:  # An error says in its data which questions are to be asked at a URL.
        return (holder, member) != ("data", "elicitations")
    return member in _OPAQUE or ("/" in member and not member.startswith("io.modelcontextprotocol/"))


def _is_text(recorded: str, live: str) -> bool:
    """Whether a string is what was recorded, but for the parts of that which were redacted."""
    first, *between = recorded.split(_REDACTED)
    if not between:
        return recorded == live
    if not live.startswith(first):
        return False
    at = len(first)
    *between, last = between
    for part in between:
        at = live.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(live) - at >= len(last) and live.endswith(last)


def body_of(frame: Frame) -> JSONObject:
    """What is compared of a message: without its id, which is JSON-RPC's."""
    return {name: value for name, value in frame.object.items() if name not in ("id", "jsonrpc")}
