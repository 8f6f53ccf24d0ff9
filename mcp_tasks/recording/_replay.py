"""Replaying a transcript: we are one side of it again, and see whether the other side says what it said then.

The replay is driven by what comes: our next message goes out when all that preceded it has come. Within a stretch in
which the other side alone spoke, its order does not count. What may come more or less often than it did (`OPTIONAL`:
polls, pings, progress, status pushes) is passed over where it does not come, or is not exactly what came then, and
answered from the transcript where it comes again. Every other request that was not recorded is answered with an error,
and is a difference. Where we poll, and a task has not come as far as it had then, we poll again.

Time counts only where something does not come: each step of the other side has `patience`, which polls, pings and
pushes do not renew, and a task that is polled has besides what it took then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio
from attrs import define, field, frozen

from .._unset import JSON, UNSET, JSONObject
from ..dialects.base import Side
from ..errors import ConnectionClosed
from ..testing import Frame, HttpClientWire, LineWire, Wire, show_frame
from ._matching import Matcher, body_of
from ._steps import (
    OPTIONAL,
    VERDICTS,
    Step,
    compare_status,
    is_garbage,
    is_poll,
    not_yet,
    said,
    steps_of,
    task_in,
    what_happened,
    without,
)
from ._transcript import Transcript

__all__ = ["OPTIONAL", "Difference", "Replayed", "replay"]

_STATUSES = frozenset({"working", "input_required", "completed", "failed", "cancelled"})
_LINGER = 0.1
"""Seconds in which what comes after the end is still heard."""
_METHOD_NOT_FOUND, _INTERNAL_ERROR = -32601, -32603


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


async def replay(
    transcript: Transcript,
    wire: Wire,
    *,
    patience: float = 10.0,
    ignored: Iterable[str] = (),
) -> Replayed:
    """Play the part of `wire.side` in a transcript; `ignored` are members not to compare.

    Ends when all was said, when something that has to come has not come for `patience` seconds, or when the other side
    has left. Never raises `ConnectionClosed`.
    """
    return await _Replay(transcript, wire, patience, Matcher(frozenset(ignored))).run()


class _Replay:
    def __init__(self, transcript: Transcript, wire: Wire, patience: float, matcher: Matcher) -> None:
        self._wire = wire
        self._side = wire.side
        self._patience = patience
        self._since = trio.current_time()  # when something was said, or came, that was said or came then
        self._allowance = 0.0  # what is waited besides our patience
        self._matcher = matcher
        self._steps = steps_of(transcript.frames, wire.side, http=isinstance(wire, HttpClientWire))
        self._at = 0
        self._early: deque[Frame] = deque()
        self._found = Replayed()
        self._channels: dict[str, str] = {}  # recorded -> live
        self._events: dict[str, str] = {}  # recorded -> live
        self._tasks: dict[str, JSONObject] = {}  # as we have said last how they are, by their live names
        self._again: tuple[Step, Frame] | None = None
        self._polls = 0

    async def run(self) -> Replayed:
        while True:
            waiting = await self._advance()
            if self._again is not None:
                await self._poll_again(*self._again)
            patience = self._patience + self._allowance if waiting else min(self._patience, _LINGER)
            live = await self._next_live(self._since + patience)
            if live is not None:
                if not self._take(live):
                    await self._unexpected(live)
            elif not waiting or not self._pass_over():
                break
        for step in self._steps:
            if step.waits and not step.optional:
                self._found.differences.append(Difference("did not come", step.frame, None))
        for frame in self._early:
            self._report_extra(frame)
            if frame.is_request:
                await self._refuse(frame, _INTERNAL_ERROR)
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
            elif step.waits:
                if not step.optional or not self._is_late(step):
                    return any(not one.done and not one.skipped and not one.optional for one in self._rest())
                step.skipped = True
            self._at += 1
        return False

    def _rest(self) -> list[Step]:
        return [
            one for one in self._steps[self._at :] if not (one.ours and one.answers is not None and one.answers.skipped)
        ]

    def _went_on(self) -> None:
        self._since, self._allowance = trio.current_time(), 0.0

    def _is_late(self, step: Step) -> bool:
        """Whether all has come that had to come before our next message, and some of it was after `step` then."""
        stretch: list[Step] = []
        for one in self._steps[self._steps.index(step) + 1 :]:
            if one.ours and not one.unasked:
                break
            stretch.append(one)
        return any(one.done for one in stretch) and not any(one.waits and not one.optional for one in stretch)

    def _pass_over(self) -> bool:
        """Do without what may not come, if that is all that our next message waits for; else False."""
        passed = []
        for step in self._steps[self._at :]:
            if step.waits and not step.optional:
                return False
            if step.waits:
                passed.append(step)
            elif step.ours and not step.done and not step.unasked:
                for one in passed:
                    one.skipped = True
                self._went_on()
                return bool(passed)
        return False

    async def _say(self, step: Step) -> None:
        frame = step.frame
        was_said = True
        if isinstance(frame.message, dict):
            body = self._matcher.today(body_of(frame), by=self._side)
            # What keeps its name stands for itself from now on.
            self._matcher.accept(body_of(frame), body, by=self._side)
            if frame.is_request:
                self._matcher.pair_requests(self._side, frame.id, frame.id)
            message = {**frame.message, **body}
            channel = None
            if step.answers is not None and step.answers.live is not None:
                message["id"] = step.answers.live.object.get("id")
                channel = step.answers.live.channel or None
            elif self._side is Side.SERVER:
                channel = self._channels.get(frame.channel)
            was_said = await self._send(message, channel, recorded=frame)
        elif frame.message is not UNSET:
            was_said = await self._send(frame.message, None, recorded=frame)
        elif frame.raw:
            was_said = await self._send(UNSET, None, recorded=frame)
        elif isinstance(self._wire, HttpClientWire):
            await self._exchange(self._wire, step)
            was_said = False
        self._found.sent += was_said
        self._went_on()

    async def _send(self, message: JSON, channel: str | None, *, recorded: Frame | None = None) -> bool:
        """Send a message, or the bytes that were recorded; False if the other side takes nothing any more."""
        try:
            with trio.move_on_after(self._patience) as scope:
                if message is UNSET:
                    assert recorded is not None
                    end = b"\n" if isinstance(self._wire, LineWire) else b""
                    await self._wire.send_raw(recorded.raw + end, channel=channel)
                    return True
                sent = await self._wire.send(message, channel=channel)
                if recorded is not None and recorded.channel and sent.channel:
                    self._channels[recorded.channel] = sent.channel
        except (ConnectionClosed, KeyError):
            return False
        if isinstance(message, dict) and (task := task_in(message)) is not None:
            self._tasks[task["taskId"]] = task
        return not scope.cancelled_caught

    async def _exchange(self, wire: HttpClientWire, step: Step) -> None:
        """What a client does over HTTP besides sending messages."""
        frame = step.frame
        if frame.event == "closed":
            exchange = next((one for one in wire.exchanges if one.channel == self._channels.get(frame.channel)), None)
            if exchange is None:
                return
            # Hanging up on what has not come there yet would be nothing at all: it is given the time that it had then.
            before = self._steps[: self._steps.index(step)]
            asked = next((one.frame.at for one in before if one.frame.channel == frame.channel), frame.at)
            with trio.move_on_after(min(max(frame.at - asked, _LINGER), self._patience)):
                await exchange.answered.wait()
            exchange.cut()
            for late in self._steps[self._at :]:  # what crossed the hang-up then has nothing to come by now
                late.skipped = late.skipped or (late.waits and late.frame.channel == frame.channel)
            return
        try:
            if frame.verb == "GET":
                last = frame.headers.get("last-event-id")
                exchange = wire.listen(None if last is None else self._events.get(last, last))
            elif frame.verb == "DELETE":
                exchange = wire.delete()
            else:
                return
        except ConnectionClosed:
            return
        self._channels[frame.channel] = exchange.channel

    async def _poll_again(self, step: Step, live: Frame) -> None:
        self._again = None
        self._polls += 1
        assert step.answers is not None
        request = step.answers.frame
        if step.again is None:  # a task may take the time that it took then
            task = request.params.get("taskId")
            told = (one.frame for one in self._steps if (task_in(one.frame.object) or {}).get("taskId") == task)
            self._allowance = max(0.0, step.frame.at - next(told, step.frame).at)
        interval = live.result.get("pollInterval", live.result.get("pollIntervalMs"))
        hint = interval if isinstance(interval, (int, float)) else 100
        await trio.sleep(min(max(20, hint), self._patience * 250) / 1000)  # several polls, whatever they ask for
        step.again = f"again-{self._polls}"
        message = {**request.object, **self._matcher.today(body_of(request), by=self._side), "id": step.again}
        await self._send(message, None, recorded=request)

    # --- their part -----------------------------------------------------------------------------------------------

    async def _next_live(self, deadline: float) -> Frame | None:
        with trio.move_on_at(deadline):
            try:
                return await self._wire.receive()
            except ConnectionClosed:
                return None
        return None

    def _take(self, live: Frame) -> bool:
        """Find what this was then; False if it was nothing that may come now."""
        for exact in (True, False):
            for step in self._candidates(live):
                if step.answers is not None:
                    if not_yet(step, live):
                        self._again = step, live
                        return True
                    details = self._compare_answers(step, live)
                elif exact:
                    if not self._matcher.matches(said(step.frame), said(live), by=live.sender):
                        continue
                    details = []
                elif step.exact:
                    continue
                else:
                    details = self._matcher.accept(said(step.frame), said(live), by=live.sender)
                self._settle(step, live, details)
                return True
        return False

    def _compare_answers(self, step: Step, live: Frame) -> list[str]:
        then, now = step.frame, live
        if then.event in VERDICTS or now.event in VERDICTS:
            was, by = then.event or "answered", now.event or "answered"
            return compare_status(then, now) if was == by else [f"was {was}, is {by}", *compare_status(then, now)]
        if is_poll(step) and then.result.get("status") == "working" and now.result.get("status") in _STATUSES:
            # A task that is further than it was then has been quicker, and nothing else.
            free = ("statusMessage", *(then.result if now.result["status"] != "working" else ()))
            then, now = (without(frame, {*free} - {"taskId"}) for frame in (then, now))
        return [
            *self._matcher.accept(body_of(then), body_of(now), by=live.sender),
            *compare_status(step.frame, live),
        ]

    def _candidates(self, live: Frame) -> list[Step]:
        """Their steps that this could be: up to the first that has to come before what we say next."""
        found: list[Step] = []
        required = crossed = False
        for step in self._steps[self._at :]:
            if step.ours:
                crossed = crossed or not (step.answers is not None and step.answers.skipped)
                if crossed and required:
                    break
                continue
            if not step.waits:
                continue
            if self._could_be(step, live):
                found.append(step)
            required = required or not step.optional
        return found

    def _could_be(self, step: Step, live: Frame) -> bool:
        """Whether this is of the kind that the step is of, whatever it says."""
        asked = step.answers
        if live.is_response:
            if asked is None:
                return step.frame.is_response and step.frame.id is None and live.id is None
            if live.id is None:
                return self._is_channel(asked.frame, live)
            return live.id == (asked.frame.id if step.again is None else step.again)
        if live.event in VERDICTS:
            return asked is not None and self._is_channel(asked.frame, live)
        if is_garbage(live):
            return is_garbage(step.frame)
        if live.method is None:
            return (
                what_happened(live) != ""
                and what_happened(live) == what_happened(step.frame)
                and self._is_channel(step.frame, live)
            )
        return asked is None and step.frame.method == live.method and step.frame.is_request == live.is_request

    def _is_channel(self, recorded: Frame, live: Frame) -> bool:
        return live.channel != "" and self._channels.get(recorded.channel) == live.channel

    def _settle(self, step: Step, live: Frame, details: list[str]) -> None:
        step.done, step.live = True, live
        self._found.matched += bool(live.object)
        self._went_on()
        if live.is_request:
            self._matcher.pair_requests(live.sender, step.frame.id, live.id)
        if self._side is Side.SERVER and step.frame.channel and live.channel:
            self._channels[step.frame.channel] = live.channel
        if step.frame.event_id is not None and live.event_id is not None:
            self._events[step.frame.event_id] = live.event_id
        if details:
            self._found.differences.append(Difference("differs", step.frame, live, tuple(details)))
        # What was optional and lies before it, on the other side of something we said, is not coming any more.
        place = self._steps.index(step)
        block = next((n for n in range(place, self._at, -1) if self._steps[n].ours), self._at)
        for earlier in self._steps[self._at : block]:
            if earlier.waits and earlier.optional:
                earlier.skipped = True
        if isinstance(self._wire, HttpClientWire) and isinstance(version := live.result.get("protocolVersion"), str):
            self._wire.revision = version

    def _retry_early(self) -> bool:
        for live in list(self._early):
            if self._take(live):
                self._early.remove(live)
                return True
        return False

    async def _unexpected(self, live: Frame) -> None:
        """Keep what may have its time later, answer what wants an answer, pass over what may come at any time."""
        id = live.object.get("id")
        if live.is_request and (answer := self._answer(live)) is not None:
            await self._send({"jsonrpc": "2.0", "id": id, **answer}, live.channel or None)
        elif any(step.waits and not step.exact and self._could_be(step, live) for step in self._steps):
            self._early.append(live)
        elif live.is_request:
            if live.method == "server/discover":  # whoever probes has to be told that it is another era
                await self._refuse(live, _METHOD_NOT_FOUND)
            else:
                await self._refuse(live, _INTERNAL_ERROR)
                self._report_extra(live)
        elif live.method not in OPTIONAL:
            self._report_extra(live)

    def _answer(self, live: Frame) -> JSONObject | None:
        """How the transcript answers a poll, a ping or a list that came once more; None if it does not."""
        if live.method == "ping":
            return {"result": {}}
        if live.method == "tasks/get":
            task = self._tasks.get(str(live.params.get("taskId")))
            return None if task is None else {"result": task}
        if live.method not in OPTIONAL:
            return None
        matcher = self._matcher.ignoring("progressToken")
        given = [step for step in self._steps[: self._at] if step.ours]
        for step in (*reversed(given), *self._steps[self._at :]):  # what was said last, else what comes next
            asked = step.answers.frame if step.ours and step.answers is not None else None
            if asked is not None and asked.method == live.method:
                if matcher.differences(body_of(asked), body_of(live), by=live.sender):
                    continue
                found: JSONObject = self._matcher.today(body_of(step.frame), by=self._side)
                return found
        return None

    async def _refuse(self, live: Frame, code: int) -> None:
        why = "Method not found" if code == _METHOD_NOT_FOUND else f"{live.method} is not in the transcript"
        error = {"code": code, "message": why}
        await self._send({"jsonrpc": "2.0", "id": live.object.get("id"), "error": error}, live.channel or None)

    def _report_extra(self, live: Frame) -> None:
        if live.object or is_garbage(live) or live.event == "refused":
            self._found.differences.append(Difference("was not there", None, live))
