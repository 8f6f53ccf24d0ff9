"""Replaying a transcript: we are one side of it again, and see whether the other side says what it said then.

The replay is driven by what comes, never by time: our next message goes out when all that preceded it has come. Within
a stretch in which the other side alone spoke, its order does not count. What may come more or less often than it did
(`OPTIONAL`: polls, pings, progress, status pushes) is passed over where it does not come, and answered as it was
answered last where it comes again. Where we poll, and a task has not come as far as it had then, we poll again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio
from attrs import define, field, frozen

from .._unset import JSON, RequestId
from ..dialects.base import Side
from ..errors import ConnectionClosed
from ..testing import Frame, HttpClientWire, Wire, show_frame
from ._matching import Matcher, body_of
from ._transcript import Transcript

__all__ = ["OPTIONAL", "Difference", "Replayed", "replay"]

OPTIONAL = frozenset(
    {
        "ping",
        "tasks/get",
        "tasks/list",
        "tools/list",
        "server/discover",
        "notifications/progress",
        "notifications/message",
        "notifications/tasks",
        "notifications/tasks/status",
        "notifications/cancelled",
    }
)
"""Methods that may come more or less often than they did."""


@frozen
class Difference:
    """Something that is not as it was."""

    what: str
    """In one line: ``differs``, ``did not come``, ``was not there``."""
    recorded: Frame | None
    live: Frame | None
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.what]
        if self.recorded is not None:
            lines.append(f"  then: {show_frame(self.recorded)}")
        if self.live is not None:
            lines.append(f"  now:  {show_frame(self.live)}")
        return "\n".join([*lines, *(f"    {detail}" for detail in self.details)])


@define
class Replayed:
    """What came of a replay."""

    sent: int = 0
    matched: int = 0
    differences: list[Difference] = field(factory=list)

    @property
    def same(self) -> bool:
        """Whether the other side did what it had done."""
        return not self.differences


@define(eq=False)
class _Step:
    """One recorded message, and what has become of it."""

    frame: Frame
    ours: bool
    answers: _Step | None = None
    """The request that it is the answer to."""
    done: bool = False
    skipped: bool = False
    again: RequestId | None = None
    """The id with which it was asked again, of an answer to a poll of ours."""
    live: Frame | None = None

    @property
    def optional(self) -> bool:
        """Whether the other side may leave it out."""
        return self.answers is None and self.frame.method in OPTIONAL


async def replay(
    transcript: Transcript,
    wire: Wire,
    *,
    patience: float = 10.0,
    ignored: Iterable[str] = (),
) -> Replayed:
    """Play the part of `wire.side` in a transcript; `ignored` are members not to compare.

    Ends when all was said, when nothing has come for `patience` seconds, or when the other side has left.
    """
    return await _Replay(transcript, wire, patience, Matcher(frozenset(ignored))).run()


class _Replay:
    def __init__(self, transcript: Transcript, wire: Wire, patience: float, matcher: Matcher) -> None:
        self._wire = wire
        self._side = wire.side
        self._patience = patience
        self._matcher = matcher
        self._steps = _steps(transcript.frames, wire.side)
        self._at = 0
        self._early: deque[Frame] = deque()
        self._found = Replayed()
        self._channels: dict[str, str] = {}  # recorded -> live
        self._again: _Step | None = None
        self._polls = 0

    async def run(self) -> Replayed:
        while await self._advance():
            live = await self._next_live()
            if live is None:
                break
            if not self._take(live):
                self._early.append(live)
                await self._unexpected()
            if self._again is not None:
                await self._poll_again(self._again, live)
        for step in self._steps:
            if not step.ours and not step.done and not step.skipped and not step.optional:
                self._found.differences.append(Difference("did not come", step.frame, None))
        for frame in self._early:
            self._report_extra(frame)
        return self._found

    # --- our part -------------------------------------------------------------------------------------------------

    async def _advance(self) -> bool:
        """Say what is next to be said; False when there is nothing more to wait for."""
        while self._at < len(self._steps):
            step = self._steps[self._at]
            if step.ours and not step.done:
                if not (step.answers is not None and step.answers.skipped):
                    await self._say(step)
                step.done = True
                if self._retry_early():
                    continue
            elif not step.ours and not step.done and not step.skipped:
                return any(not one.done and not one.skipped and not one.optional for one in self._rest())
            self._at += 1
        return False

    def _rest(self) -> list[_Step]:
        return [
            one for one in self._steps[self._at :] if not (one.ours and one.answers is not None and one.answers.skipped)
        ]

    async def _say(self, step: _Step) -> None:
        frame = step.frame
        if frame.message is not None and isinstance(frame.message, dict):
            message = {**frame.message, **self._matcher.today(body_of(frame))}
            channel = None
            if step.answers is not None and step.answers.live is not None:
                message["id"] = step.answers.live.object.get("id")
                channel = step.answers.live.channel or None
            elif self._side is Side.SERVER:
                channel = self._channels.get(frame.channel)
            try:
                await self._wire.send(message, channel=channel)
            except (ConnectionClosed, KeyError):
                return
            self._found.sent += 1
        elif frame.raw:
            await self._wire.send_raw(frame.raw)
            self._found.sent += 1
        elif frame.event == "asked" and isinstance(self._wire, HttpClientWire):
            if frame.verb == "GET":
                self._wire.listen()
            elif frame.verb == "DELETE":
                self._wire.delete()

    async def _poll_again(self, step: _Step, live: Frame) -> None:
        self._again = None
        self._polls += 1
        assert step.answers is not None
        interval = live.result.get("pollInterval", live.result.get("pollIntervalMs", 100))
        await trio.sleep(max(0.02, interval / 1000) if isinstance(interval, (int, float)) else 0.1)
        request = step.answers.frame
        step.again = f"again-{self._polls}"
        message = {**request.object, **self._matcher.today(body_of(request)), "id": step.again}
        await self._wire.send(message)

    # --- their part -----------------------------------------------------------------------------------------------

    async def _next_live(self) -> Frame | None:
        with trio.move_on_after(self._patience):
            try:
                while True:
                    frame = await self._wire.receive()
                    if isinstance(frame.message, dict):
                        return frame
            except ConnectionClosed:
                return None
        return None

    def _take(self, live: Frame) -> bool:
        """Find what this message was then; False if it was nothing that may come now."""
        for exact in (True, False):
            for step in self._candidates(live):
                if step.answers is not None:
                    if _not_yet(step, live):
                        self._again = step
                        return True
                    details = self._compare_answers(step, live)
                elif exact:
                    if not self._matcher.matches(body_of(step.frame), body_of(live)):
                        continue
                    details = []
                else:
                    details = self._matcher.accept(body_of(step.frame), body_of(live))
                self._settle(step, live, details)
                return True
        return False

    def _compare_answers(self, step: _Step, live: Frame) -> list[str]:
        details = self._matcher.accept(body_of(step.frame), body_of(live))
        # A task that is further than it was then has been quicker, and nothing else.
        return [] if _is_poll(step) and step.frame.result.get("status") == "working" else details

    def _candidates(self, live: Frame) -> list[_Step]:
        """Their steps that this could be: up to the first that has to come before what we say next."""
        found: list[_Step] = []
        required = crossed = False
        for step in self._steps[self._at :]:
            if step.ours:
                crossed = crossed or not (step.answers is not None and step.answers.skipped)
                if crossed and required:
                    break
                continue
            if step.done or step.skipped:
                continue
            if _same_kind(step, live):
                found.append(step)
            required = required or not step.optional
        return found

    def _settle(self, step: _Step, live: Frame, details: list[str]) -> None:
        step.done, step.live = True, live
        self._found.matched += 1
        if step.frame.channel and live.channel:
            self._channels[step.frame.channel] = live.channel
        if details:
            self._found.differences.append(Difference("differs", step.frame, live, tuple(details)))
        # What was optional and lies before it, on the other side of something we said, is not coming any more.
        place = self._steps.index(step)
        block = next((n for n in range(place, self._at, -1) if self._steps[n].ours), self._at)
        for earlier in self._steps[self._at : block]:
            if not earlier.ours and not earlier.done and earlier.optional and earlier.answers is None:
                earlier.skipped = True
        if isinstance(self._wire, HttpClientWire) and isinstance(version := live.result.get("protocolVersion"), str):
            self._wire.revision = version

    def _retry_early(self) -> bool:
        for live in list(self._early):
            if self._take(live):
                self._early.remove(live)
                return True
        return False

    async def _unexpected(self) -> None:
        """Answer again what was answered before; pass over what may come at any time."""
        live = self._early[-1]
        if live.method not in OPTIONAL:
            return
        self._early.pop()
        if not live.is_request:
            return
        for step in reversed(self._steps):
            if step.done and step.ours and step.answers is not None and step.answers.frame.method == live.method:
                asked = step.answers
                if asked.live is not None and not self._matcher.differences(body_of(asked.frame), body_of(live)):
                    message = {**step.frame.object, **self._matcher.today(body_of(step.frame)), "id": live.id}
                    await self._wire.send(message, channel=live.channel or None)
                    return

    def _report_extra(self, frame: Frame) -> None:
        if frame.method not in OPTIONAL:
            self._found.differences.append(Difference("was not there", None, frame))


def _same_kind(step: _Step, live: Frame) -> bool:
    if live.is_response:
        return step.answers is not None and live.id == (step.frame.id if step.again is None else step.again)
    return step.answers is None and step.frame.method == live.method and step.frame.is_request == live.is_request


def _is_poll(step: _Step) -> bool:
    return step.answers is not None and step.answers.frame.method == "tasks/get"


def _not_yet(step: _Step, live: Frame) -> bool:
    """Whether a task that we have polled is not where it was then, and may still get there."""
    was, now = step.frame.result.get("status"), live.result.get("status")
    return _is_poll(step) and was not in ("working", None) and now in ("working", "input_required") and was != now


def _steps(frames: Iterable[Frame], side: Side) -> list[_Step]:
    asked: dict[tuple[Side, RequestId], _Step] = {}
    found: list[_Step] = []
    for frame in frames:
        ours = frame.sender is side
        message: JSON = frame.message
        if not isinstance(message, dict) and not (ours and (frame.raw or frame.event == "asked")):
            continue
        step = _Step(frame, ours)
        if frame.is_request and frame.id is not None:
            asked[frame.sender, frame.id] = step
        elif frame.is_response and frame.id is not None:
            step.answers = asked.get((frame.sender.other, frame.id))
        found.append(step)
    return found
