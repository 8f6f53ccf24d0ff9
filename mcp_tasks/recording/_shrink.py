"""Shrinking a transcript: the shortest that still shows a failure, found by leaving things out.

What belongs together goes together: a request, its answer, and what names its progress token. The way of looking is
delta debugging: ever smaller parts are left out, and whatever still fails is gone on from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from .._unset import RequestId
from ..dialects.base import Side
from ..testing import Frame
from ._transcript import Transcript

__all__ = ["exchanges", "shrink"]

_KEPT = frozenset({"initialize", "notifications/initialized", "server/discover"})


async def shrink(
    transcript: Transcript,
    fails: Callable[[Transcript], Awaitable[bool]],
    *,
    tries: int = 500,
    tell: Callable[[int, int], None] = lambda left, tried: None,
) -> Transcript:
    """The shortest transcript found for which `fails` is true; the handshake is kept.

    `fails` is called with a candidate and must be true of `transcript` itself: raises ValueError if it is not. After
    `tries` calls the best so far is returned. `tell` hears how many exchanges are left, and how often was tried.
    """
    if not await fails(transcript):
        raise ValueError("the whole transcript shows no failure")
    parts = [part for part in exchanges(transcript.frames) if not _is_kept(part)]
    tried, size = 1, max(1, len(parts) // 2)
    while parts and tried < tries:
        shorter = False
        start = 0
        while start < len(parts) and tried < tries:
            left_out = parts[start : start + size]
            candidate = transcript.without(frame for part in left_out for frame in part)
            tried += 1
            if await fails(candidate):
                transcript = candidate
                del parts[start : start + size]
                shorter = True
            else:
                start += size
            tell(len(parts), tried)
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return transcript


def exchanges(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames in groups that make no sense without each other, in the order in which the groups begin."""
    groups: list[list[Frame]] = []
    asked: dict[tuple[Side, RequestId], list[Frame]] = {}
    tokens: dict[tuple[Side, RequestId], list[Frame]] = {}
    channels: dict[str, list[Frame]] = {}
    for frame in frames:
        group = None
        if frame.is_response and frame.id is not None:
            group = asked.get((frame.sender.other, frame.id))
        elif frame.method == "notifications/progress":
            token = frame.params.get("progressToken")
            group = tokens.get((frame.sender.other, token)) if isinstance(token, (int, str)) else None
        elif frame.method == "notifications/cancelled":
            id = frame.params.get("requestId")
            group = asked.get((frame.sender, id)) if isinstance(id, (int, str)) else None
        elif frame.event and frame.channel:
            group = channels.get(frame.channel)
        if group is None:
            group = []
            groups.append(group)
        group.append(frame)
        if frame.is_request and frame.id is not None:
            asked[frame.sender, frame.id] = group
            token = frame.meta.get("progressToken")
            if isinstance(token, (int, str)):
                tokens[frame.sender, token] = group
        if frame.channel:
            channels.setdefault(frame.channel, group)
    return groups


def _is_kept(group: Sequence[Frame]) -> bool:
    return any(frame.method in _KEPT for frame in group)
