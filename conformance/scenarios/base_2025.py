"""What holds of every message of a session (2025-11-25): envelopes, notifications, progress, cancellation.

Most of it the monitor judges wherever it is seen; here are the exchanges in which it is sure to be seen.
"""

from __future__ import annotations

import trio

from mcp_tasks.testing import Frame

from ..client_session import ClientSession
from ..hosting import Host
from ..scenario import Errand, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import Session

_STRANGE = {"com.example/colour": ["blue", {"depth": 7}], "com.example/empty": None, "unprefixed-and-unknown": 0.5}
_TOLD = {
    "notifications/message": ("logging",),
    "notifications/tools/list_changed": ("tools", "listChanged"),
    "notifications/prompts/list_changed": ("prompts", "listChanged"),
    "notifications/resources/list_changed": ("resources", "listChanged"),
    "notifications/resources/updated": ("resources", "subscribe"),
}
"""What a server may tell of by itself, and what it has to have announced for that."""
_GIVING_UP_SECONDS = 3.0
_WITHDRAWN_SECONDS = 1.0
"""How long after its cancellation a request may still be answered, if it is."""


def _strays(s: Session) -> list[Frame]:
    """What came as an answer to nothing that was asked. Over HTTP a refusal may explain itself in its body."""
    found = []
    for frame in s.wire.frames:
        if frame.sender is s.wire.side or not frame.is_response or frame.id is not None:
            continue
        refused = frame.status is not None and frame.status >= 400 and frame.error is not None
        if not refused:
            found.append(frame)
    return found


def _skip_unseen(s: Session, why: str, *ids: str) -> None:
    """Skip what the monitor had nothing to judge by."""
    seen = {finding.id for finding in s.judged()}
    for id in ids:
        if id not in seen:
            s.skip(id, why)


async def _flush(s: Session) -> Frame:
    """Wait until what was sent before has been taken in: two pings, one after the other."""
    await s.call("ping")
    return await s.call("ping")


@scenario("C25-015", "C25-177", leg="both", era="2025-11-25")
async def session_with_idle_notifications(s: Session) -> None:
    """Notifications that mean nothing to anybody: the connection goes on, and nothing is said of them."""
    await s.notify("notifications/nothing-of-the-kind", {"what": "ever"})
    await s.notify("notifications/progress", {"progressToken": "nobody-gave-this", "progress": 1})
    if isinstance(s, ServerSession):
        await s.notify("notifications/roots/list_changed")
    await _flush(s)
    strays = _strays(s)
    s.judge("C25-015", not strays, "a notification is not answered", next(iter(strays), None))
    done = await s.call("ping")
    await s.notify("notifications/cancelled", {"requestId": done.id, "reason": "it is answered already"})
    await s.notify("notifications/cancelled", {"requestId": "nobody-asked-this"})
    await s.notify("notifications/cancelled", {"requestId": 987_654_321})
    await s.notify("notifications/cancelled", {"reason": "of nothing"})
    await s.notify("notifications/cancelled", {"requestId": None})
    await s.notify("notifications/cancelled", {"requestId": {"not": "an id"}})
    last = await _flush(s)
    strays = _strays(s)
    s.judge("C25-015", not strays, "a notification is not answered", next(iter(strays), None))
    quiet = not strays and "result" in last.object
    s.judge("C25-177", quiet, "a cancellation of nothing is passed over", strays[0] if strays else last)


@scenario("C25-034", leg="both", era="2025-11-25")
async def session_with_foreign_meta(s: Session) -> None:
    """Keys in ``_meta`` that nobody knows, in requests, notifications and results."""
    answer = await s.call("ping", {"_meta": _STRANGE})
    s.judge("C25-034", "result" in answer.object, "a ping with unknown _meta keys is answered", answer)
    await s.notify("notifications/progress", {"progressToken": "none", "progress": 1, "_meta": _STRANGE})
    if s.profile.find("quick") is not None:
        method, params = s.request_for("quick")
        answer = await s.call(method, {**params, "_meta": _STRANGE})
        s.judge("C25-034", "result" in answer.object, f"{method} with unknown _meta keys is answered", answer)
    if not isinstance(s, ClientSession):
        return
    call = await s.called()
    await s.answer_call(call, "marked", _meta=_STRANGE)
    printed = await s.printed()
    if isinstance(printed, dict) and "text" in printed:
        told = printed.get("text") == "marked"
        s.judge("C25-034", told, f"a result with unknown _meta keys reaches the caller, not {printed!r}", call)


@scenario("C25-007", "C25-008", "C25-010", "C25-012", "C25-013", leg="both", era="2025-11-25")
async def session_of_pings_and_a_refusal(s: Session) -> None:
    """One request that succeeds and one that cannot; ids are strings and numbers."""
    for id in ("a string", 4711, "4711"):
        await s.call("ping", id=id)
    refused = await s.call("conformance/no-such-method", {"what": "ever"}, id=815)
    why = "an unknown method is not answered with an error" if refused.error is None else "it was not seen"
    _skip_unseen(s, why, "C25-007", "C25-008", "C25-010", "C25-012", "C25-013")


@scenario("C25-160", "C25-163", "C25-167", leg="both", needs="progress")
async def progress_of_a_plain_request(s: Session) -> None:
    """A plain request with a token for its progress."""
    method, params = s.request_for("progress")
    if not s.announces("tools" if method == "tools/call" else method.partition("/")[0]):
        raise NotApplicable(f"the program does not announce what {method} needs")
    request = await s.begin(method, {**params, "_meta": {"progressToken": "how-far"}})
    await s.outcome(request)
    await _flush(s)
    _skip_unseen(s, "it tells of no progress", "C25-160", "C25-163", "C25-167")


@scenario("C25-171", leg="both", needs="slow")
async def a_withdrawn_request(s: Session) -> None:
    """A plain request takes long, and is cancelled."""
    method, params = s.request_for("slow")
    if not s.announces("tools" if method == "tools/call" else method.partition("/")[0]):
        raise NotApplicable(f"the program does not announce what {method} needs")
    request = await s.begin(method, params)
    await _flush(s)
    if s.has_come(request):
        raise NotApplicable(f"{method} was answered before it could be cancelled")
    await s.notify("notifications/cancelled", {"requestId": request.id, "reason": "nobody wants it"})
    with trio.move_on_after(_WITHDRAWN_SECONDS):
        await s.until(lambda: s.has_come(request), "an answer")
    assert request.id is not None
    if not s.answered(request.id):
        s.judge("C25-171", True, "a request that was cancelled is not answered", request)
        return
    answer = await s.outcome(request)
    if answer.error is None:
        s.skip("C25-171", "the request was done before the cancellation came, or could not be cancelled")
    else:
        s.judge("C25-171", False, "a request that was cancelled is not answered", answer)


@scenario("C25-004", "C25-005", "C25-006", leg="server", needs="asks_twice")
async def a_call_with_questions(s: ServerSession) -> None:
    """A plain call asks twice: requests of the server's own."""
    method, params = s.request_for("asks_twice")
    await s.call(method, params)
    _skip_unseen(s, "it asks nothing", "C25-004", "C25-005", "C25-006")


@scenario("C25-056", leg="server", declares={}, era="2025-11-25")
async def a_client_that_can_do_nothing(s: ServerSession) -> None:
    """The judge announces nothing, and has everything done that would ask it something."""
    abilities = [name for name in ("asks", "samples", "samples_as_task") if s.profile.find(name) is not None]
    for ability in abilities:
        method, params = s.request_for(ability)
        await s.call(method, params)
    theirs = [frame for frame in s.wire.frames if frame.sender is not s.wire.side]
    wrong = [frame for frame in theirs if frame.is_request and frame.method != "ping"]
    told = [frame for frame in theirs if frame.method in _TOLD and not s.announces(*_TOLD[frame.method])]
    if not wrong and not told and not abilities:
        raise NotApplicable("needs one of the abilities `asks`, `samples` and `samples_as_task`")
    expected = "a client is asked for nothing that it has not announced"
    s.judge("C25-056", not wrong, expected, next(iter(wrong), None))
    s.judge("C25-056", not told, "a server tells of nothing that it has not announced", next(iter(told), None))


_OF_TOOLS = ("initialize", "ping", "tools/list", "tools/call")


@scenario("C25-056", leg="client", declares={"tools": {}}, errand=Errand(task=True, list_tasks=True), era="2025-11-25")
async def a_server_that_has_tools_only(s: ClientSession) -> None:
    """The judge announces tools and nothing else."""
    host = Host(s)
    await host.comes(lambda: host.asked or host.over)
    await host.end()
    wrong: list[Frame] = []
    for frame in s.wire.frames:
        if frame.is_request and frame.sender is not s.wire.side and frame.method not in _OF_TOOLS:
            wrong.append(frame)
    expected = "a server is asked for nothing that it has not announced"
    s.judge("C25-056", not wrong, expected, next(iter(wrong), None))


@scenario("C25-168", "T25-158", leg="client", errand=Errand(cancel="call"))
async def a_call_given_up(s: ClientSession) -> None:
    """The caller does not wait for the answer to a plain call."""
    host = Host(s)
    call = await host.request()
    notice = "notifications/cancelled"
    if not await host.comes(lambda: s.unread(notice), _GIVING_UP_SECONDS):
        # Nobody has to say so; what is judged is what they say.
        raise NotApplicable("the client does not give the call up, or not with a word")
    withdrawn = s.frame_of(s.unread(notice)[0])
    s.judge("T25-158", "requestId" in withdrawn.params, "there is a requestId", withdrawn)
    named = withdrawn.params.get("requestId") == call.object["id"]
    s.judge("C25-168", named, "the request is one that its sender made, and without an answer", withdrawn)
    await s.printed()


@scenario("C25-168", leg="server", needs="asks")
async def a_question_nobody_waits_for(s: ServerSession) -> None:
    """A plain call asks something, and is cancelled before there is an answer."""
    s.on("elicitation/create", None)
    method, params = s.request_for("asks")
    request = await s.begin(method, params)

    def asked() -> Frame | None:
        return next((one for one in s.wire.frames if one.method == "elicitation/create"), None)

    with trio.move_on_after(_GIVING_UP_SECONDS):
        await s.until(lambda: asked() or s.has_come(request), "a question")
    question = asked()
    if question is None:
        raise NotApplicable("it asks nothing")
    await s.notify("notifications/cancelled", {"requestId": request.id, "reason": "nobody wants it"})
    with trio.move_on_after(_WITHDRAWN_SECONDS):
        await s.until(lambda: s.unread("notifications/cancelled"), "a cancellation")
    withdrawn = [s.frame_of(one) for one in s.unread("notifications/cancelled")]
    if not withdrawn:
        s.skip("C25-168", "it does not take its question back, or not with a word")
        return
    named = all(frame.params.get("requestId") == question.object["id"] for frame in withdrawn)
    s.judge("C25-168", named, "the request is one that its sender made, and without an answer", withdrawn[0])
