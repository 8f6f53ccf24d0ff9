"""What a replay looks at: the recorded messages as steps of one side or the other, and what a frame is.

Nothing here sends or waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, evolve

from .._unset import JSON, UNSET, JSONObject, RequestId
from ..dialects.base import Side
from ..testing import Frame
from ._matching import body_of

__all__ = [
    "OPTIONAL",
    "VERDICTS",
    "Step",
    "compare_status",
    "is_garbage",
    "is_poll",
    "not_yet",
    "said",
    "steps_of",
    "task_in",
    "what_happened",
    "without",
]

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
VERDICTS = frozenset({"accepted", "refused"})
"""What an HTTP exchange came to that had no message for an answer."""


@define(eq=False)
class Step:
    """One recorded message, and what has become of it."""

    frame: Frame
    ours: bool
    answers: Step | None = None
    """The request that it is the answer to; of an ``accepted`` or ``refused``, whatever opened its exchange."""
    done: bool = False
    skipped: bool = False
    again: RequestId | None = None
    """The id with which it was asked again, of an answer to a poll of ours."""
    live: Frame | None = None

    @property
    def optional(self) -> bool:
        """Whether the other side may leave it out."""
        return not self.ours and self.answers is None and (self.frame.method in OPTIONAL or is_garbage(self.frame))

    @property
    def waits(self) -> bool:
        """Whether the other side has yet to say it."""
        return not self.ours and not self.done and not self.skipped

    @property
    def exact(self) -> bool:
        """Whether it is not this if it is not the same."""
        return self.optional and (not self.frame.is_request or self.frame.method == "tasks/get")

    @property
    def unasked(self) -> bool:
        """Whether it is our answer to what was not asked, and so far need not be."""
        asked = self.answers
        return self.ours and asked is not None and (asked.skipped or (asked.waits and asked.optional))


def said(frame: Frame) -> JSON:
    """What is compared of a frame."""
    if isinstance(frame.message, dict):
        return body_of(frame)
    return frame.raw.decode("latin-1") if frame.message is UNSET else frame.message


def is_garbage(frame: Frame) -> bool:
    """Whether it is no message, though it came where one should have been."""
    if frame.message is not UNSET:
        return not isinstance(frame.message, dict)
    return bool(frame.raw and not frame.event) or frame.event.startswith(("a line of", "an event of"))


def what_happened(frame: Frame) -> str:
    """What happened to a channel, in one word."""
    return "ended" if frame.event.startswith("broken") else frame.event


def compare_status(recorded: Frame, live: Frame) -> list[str]:
    """How the HTTP statuses of two frames differ, if both have one."""
    was, now = recorded.status, live.status
    return [] if None in (was, now) or was == now else [f"status: was {was}, is {now}"]


def without(frame: Frame, members: Iterable[str]) -> Frame:
    """A response without some members of its result."""
    result = {name: value for name, value in frame.result.items() if name not in members}
    return evolve(frame, message={**frame.object, "result": result})


def task_in(message: JSONObject) -> JSONObject | None:
    """The task that a message tells of, as an answer to ``tasks/get`` has it; None if it tells of none."""
    if message.get("method") in ("notifications/tasks", "notifications/tasks/status"):
        found = message.get("params")
    else:
        found = message.get("result")
        if isinstance(found, dict) and isinstance(found.get("task"), dict):
            found = found["task"]
    if not isinstance(found, dict) or not isinstance(found.get("taskId"), str) or "status" not in found:
        return None
    task = {name: value for name, value in found.items() if name not in ("_meta", "resultType")}
    return {"resultType": "complete", **task} if "ttlMs" in task else task


def is_poll(step: Step) -> bool:
    """Whether it is the answer to a poll of a task."""
    return step.answers is not None and step.answers.frame.method == "tasks/get"


def not_yet(step: Step, live: Frame) -> bool:
    """Whether a task that we have polled is not where it was then, and may still get there."""
    was, now = step.frame.result.get("status"), live.result.get("status")
    return is_poll(step) and was not in ("working", None) and now in ("working", "input_required") and was != now


def steps_of(frames: Iterable[Frame], side: Side, *, http: bool) -> list[Step]:
    """What is to be said, and what is to come. `http`: we are a client over HTTP, where more happens than messages."""
    frames = list(frames)
    asked: dict[tuple[Side, RequestId], Step] = {}
    exchanges: dict[str, Step] = {}
    found: list[Step] = []
    resumed = _resumed(frames) if http else []
    for frame in frames:
        step = Step(frame, frame.sender is side)
        if frame.event in VERDICTS:
            if step.ours or not http or frame.channel not in exchanges:
                continue
            step.answers = exchanges[frame.channel]
        elif step.ours and http and frame.event in ("asked", "closed"):
            pass
        elif frame.message is UNSET and not is_garbage(frame) and frame not in resumed:
            continue
        if frame.is_request and frame.id is not None:
            asked[frame.sender, frame.id] = step
        elif frame.is_response and frame.id is not None:
            step.answers = asked.get((frame.sender.other, frame.id))
        if step.ours and frame.channel:
            exchanges.setdefault(frame.channel, step)
        found.append(step)
    return found


def _resumed(frames: Sequence[Frame]) -> list[Frame]:
    """What came, besides messages, by a stream before its rest was asked for: what has to come before we ask."""
    found: list[Frame] = []
    for place, frame in enumerate(frames):
        last = frame.headers.get("last-event-id") if frame.verb == "GET" and frame.event == "asked" else None
        channel = next((one.channel for one in frames[:place] if one.event_id == last), None)
        if last is not None and channel is not None:
            of_channel = [one for one in frames[:place] if one.channel == channel and one.sender is not frame.sender]
            found += [one for one in of_channel if one.event_id == last or what_happened(one) == "ended"]
    return found
