"""What a server owes to a call while it runs, and when its client gives it up (2026-07-28): progress, cancellation.

Spec: basic/patterns/progress, basic/patterns/cancellation, basic/transports.
"""

from __future__ import annotations

from itertools import pairwise

import trio

from mcp_tasks.testing import Frame, HttpClientWire

from ..odd_requests import exchanged, http_wire, told
from ..scenario import NotApplicable, scenario
from ..server_session import CLIENT_2026, ServerSession
from ..session import result_in

_PLAIN = {name: value for name, value in CLIENT_2026.items() if name != "extensions"}
_BEGUN = 0.3
"""Seconds after which a call is taken to run; what is called `slow` takes two at least."""
_AFTERWARDS = 3.2
"""Seconds in which a call that was given up would have come to its end."""


@scenario("C26-241", "C26-244", "C26-247", leg="server", needs="progress", declares=_PLAIN)
async def progress_of_a_call(s: ServerSession) -> None:
    """Two calls that report progress run together, with tokens of different types; it all comes before the answers."""
    method, params = s.request_for("progress")
    tokens: tuple[int | str, ...] = (11, "11")
    calls = [await s.begin(method, {**params, "_meta": {"progressToken": token}}) for token in tokens]
    answers = [await s.outcome(call) for call in calls]
    await s.call("server/discover")
    theirs = [frame for frame in s.wire.frames if frame.method == "notifications/progress"]
    if not theirs:
        raise NotApplicable("no progress was reported")
    for call, answer, token in zip(calls, answers, tokens, strict=True):
        mine = [frame for frame in theirs if _same(frame.params.get("progressToken"), token)]
        values = [frame.params.get("progress") for frame in mine]
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        grows = len(numbers) == len(values) and all(one < two for one, two in pairwise(numbers))
        s.judge("C26-241", grows, f"the progress of {call.id} grows: {values}", mine[-1] if mine else None)
        late = [frame for frame in mine if _after(s, frame, answer)]
        s.judge("C26-247", not late, "there is no progress behind the answer", late[0] if late else answer)
    stray = [one for one in theirs if not any(_same(one.params.get("progressToken"), token) for token in tokens)]
    s.judge("C26-244", not stray, "the token is one that was given, of the same type", stray[0] if stray else theirs[0])


@scenario("C26-247", leg="server", needs="progress")
async def progress_of_a_task(s: ServerSession) -> None:
    """A call that reports progress becomes a task: with its handle, progress is over."""
    made = await s.make_task("progress", progressToken="of-a-task")
    await s.settled(made.id)
    theirs = [frame for frame in s.wire.frames if frame.method == "notifications/progress"]
    late = [frame for frame in theirs if _after(s, frame, made.frame)]
    s.judge("C26-247", not late, "there is no progress behind the handle of the task", late[0] if late else made.frame)


@scenario("C26-127", "C26-230", leg="server", needs="slow", transports=("stdio",), declares=_PLAIN)
async def a_call_that_is_cancelled(s: ServerSession) -> None:
    """A call runs and is cancelled: nothing more comes of it, and the server goes on."""
    method, params = s.request_for("slow")
    call = await s.begin(method, {**params, "_meta": {"progressToken": "of-the-cancelled"}})
    await trio.sleep(_BEGUN)
    if s.has_come(call):
        raise NotApplicable("the call of `slow` was over too soon")
    await s.notify("notifications/cancelled", {"requestId": call.id, "reason": "the judge has lost interest"})
    result_in(await s.call("server/discover"), "server/discover")
    behind = len(s.wire.frames)
    await trio.sleep(_AFTERWARDS)
    result_in(await s.call("server/discover"), "server/discover")
    answered = s.has_come(call)
    s.judge("C26-230", not answered, "a cancelled request has no answer", call)
    more = [frame for frame in s.wire.frames[behind:] if _is_of(frame, call)]
    s.judge("C26-127", not answered and not more, "nothing more is sent for it", more[0] if more else call)


@scenario("C26-165", "C26-167", leg="server", needs=("slow", "quick"), transports=("http",), declares=_PLAIN)
async def a_stream_that_is_closed(s: ServerSession) -> None:
    """The stream of a call is closed: its id is free again, and nothing more comes of the call by any other stream."""
    wire = http_wire(s)
    method, params = s.request_for("slow")
    call = await s.begin(method, {**params, "_meta": {"progressToken": "of-the-closed"}})
    await trio.sleep(_BEGUN)
    if s.has_come(call):
        raise NotApplicable("the call of `slow` was over too soon")
    listening = wire.post(_listen(s))
    next(exchange for exchange in wire.exchanges if exchange.channel == call.channel).cut()
    behind = len(s.wire.frames)
    assert s.stamp is not None
    assert call.id is not None
    # What was cancelled is over: its id may be given to another request, which is answered for itself.
    answer = await told(s, "server/discover", {"_meta": dict(s.stamp)}, id=call.id)
    own = "supportedVersions" in answer.result
    s.judge("C26-165", own, "another request of the same id gets its own answer", answer)
    await trio.sleep(_AFTERWARDS)
    method, params = s.request_for("quick")
    result_in(await exchanged(s, (await s.begin(method, params)).channel, method), method)
    more = [frame for frame in s.wire.frames[behind:] if frame is not answer and _is_of(frame, call)]
    s.judge("C26-167", not more, "nothing more is sent for it", more[0] if more else call)
    listening.cut()


def _listen(s: ServerSession) -> dict[str, object]:
    params = {"notifications": {"toolsListChanged": True}, "_meta": s.stamp}
    return {"jsonrpc": "2.0", "id": "beside", "method": "subscriptions/listen", "params": params}


def _is_of(frame: Frame, request: Frame) -> bool:
    """Whether a frame of the server's is an answer to a request, or tells of its progress."""
    if frame.sender is request.sender:
        return False
    if frame.is_response:
        return _same(frame.object.get("id"), request.object["id"])
    token = request.meta.get("progressToken")
    return frame.method == "notifications/progress" and _same(frame.params.get("progressToken"), token)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _after(s: ServerSession, frame: Frame, answer: Frame) -> bool:
    frames = s.wire.frames
    if isinstance(s.wire, HttpClientWire) and frame.channel != answer.channel:
        return False  # nobody knows which of two streams was written to first
    return frames.index(frame) > frames.index(answer)
