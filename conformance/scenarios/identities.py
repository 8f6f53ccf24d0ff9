"""Whose a task is, in both eras: what somebody else sees of it, who has its id, or a cursor, or the id of a session.

With two identities (``--auth``) the tasks of one are looked for as the other. Without, a second connection looks for
them, which is of nobody in particular like the first.
"""

from __future__ import annotations

from typing import Any

from mcp_tasks.testing import Frame, HttpClientWire

from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import TERMINAL
from .belonging_2025 import ids_in, pages_of_tasks, tasks_in_pages


def _nobodys(task_id: str) -> str:
    """An id that looks like this one, and is of no task: its last letter or digit is another."""
    for place in range(len(task_id) - 1, -1, -1):
        letter = task_id[place]
        if letter.isascii() and letter.isalnum():
            first, second = ("0", "1") if letter.isdigit() else ("a", "b") if letter.islower() else ("A", "B")
            return task_id[:place] + (second if letter == first else first) + task_id[place + 1 :]
    return f"{task_id}0"


def _shown(answer: Frame, id: str) -> tuple[Any, ...]:
    """All that an answer says, whatever id it was about."""
    error = answer.error or {}
    said = {name: str(value).replace(id, "ID") for name, value in error.items()}
    return answer.status, said, "result" in answer.object


# --- 2025-11-25 -------------------------------------------------------------------------------------------------------


@scenario("T25-137", "T25-142", "T25-143", leg="server", needs="slow", principals=True)
async def a_task_of_somebody_else(s: ServerSession) -> None:
    """Somebody else has got hold of the id of a task, and then of the id of the session, too."""
    made = await s.make_task("slow")
    nobodys = _nobodys(made.id)
    methods = ["tasks/get", "tasks/result"] + (["tasks/cancel"] if s.announces("tasks", "cancel") else [])
    async with s.other() as t:
        for method in methods:
            foreign = await t.call(method, {"taskId": made.id})
            unknown = await t.call(method, {"taskId": nobodys})
            s.judge("T25-142", "result" not in foreign.object, f"{method} is refused to somebody else", foreign)
            code = foreign.code
            alike = code == -32602 and _shown(foreign, made.id) == _shown(unknown, nobodys)
            s.judge("T25-143", alike, f"{method} tells a task of somebody else from none at all by nothing", foreign)
        if isinstance(t.wire, HttpClientWire) and isinstance(s.wire, HttpClientWire) and s.wire.session_id is not None:
            own, t.wire.session_id = t.wire.session_id, s.wire.session_id
            stolen = await t.call("tasks/get", {"taskId": made.id})
            t.wire.session_id = own
            s.judge("T25-142", "result" not in stolen.object, "the id of a session makes nobody its owner", stolen)
        shown = await s.get(made.id)
        status = shown.result.get("status")
        s.judge("T25-137", status not in (None, "cancelled"), "the task is still there for who made it", shown)
        if s.announces("tasks", "cancel") and status not in TERMINAL:
            await s.call("tasks/cancel", {"taskId": made.id})
        await t.result_of("ping")
        told = [message for message in t.received if (message.get("params") or {}).get("taskId") == made.id]
        frame = t.frame_of(told[0]) if told else None
        s.judge("T25-137", not told, "nobody else is told of the task", frame)
    async with s.again() as again:
        shown = await again.get(made.id)
        s.judge("T25-137", shown.error is None, "the task is there in another session of who made it", shown)


@scenario("T25-144", leg="server", needs="many", principals=True)
async def a_list_of_somebody_else(s: ServerSession) -> None:
    """Somebody else lists tasks, from the beginning and with a cursor that is not theirs."""
    s.require("tasks", "list")
    made, pages = await tasks_in_pages(s)
    mine = {one.id for one in made}
    cursor = pages[0].result.get("nextCursor")
    async with s.other() as t:
        theirs = await t.make_task("many")
        seen = await pages_of_tasks(t)
        wrong = [page for page in seen if mine & set(ids_in(page))]
        s.judge("T25-144", not wrong, "the list has no task of somebody else", wrong[0] if wrong else seen[0])
        if isinstance(cursor, str):
            page = await t.call("tasks/list", {"cursor": cursor})
            s.judge("T25-144", not mine & set(ids_in(page)), "nor does it with a cursor of somebody else", page)
        pages = await pages_of_tasks(s)
        wrong = [page for page in pages if theirs.id in ids_in(page)]
        s.judge("T25-144", not wrong, "and so it is the other way round", wrong[0] if wrong else pages[0])


@scenario("T25-140", "T25-141", leg="server", needs="quick")
async def a_task_of_nobody_in_particular(s: ServerSession) -> None:
    """Nobody says who they are, and a task is looked for by another connection."""
    if s.tokens is not None:
        raise NotApplicable("there are identities")
    made = await s.make_task("quick")
    async with s.again() as t:
        if not s.announces("tasks", "list"):
            s.judge("T25-141", True, "tasks.list is not announced", s.opening)
        else:
            pages = await pages_of_tasks(t)
            wrong = [page for page in pages if made.id in ids_in(page)]
            expected = "where tasks.list is announced, a session lists its own tasks"
            s.judge("T25-141", not wrong, expected, wrong[0] if wrong else s.opening)
        shown = await t.get(made.id)
        if "result" not in shown.object:
            s.skip("T25-140", "tasks are tied to their session")
            return
        ttl = shown.result.get("ttl")
        s.judge("T25-140", ttl is not None, "a task that whoever knows its id may have does not live for ever", shown)


# --- 2026-07-28 -------------------------------------------------------------------------------------------------------


@scenario("X26-121", leg="server", needs="slow", principals=True)
async def a_stateless_task_of_somebody_else(s: ServerSession) -> None:
    """Somebody else has got hold of the id of a task, and so has somebody who does not say who they are."""
    made = await s.make_task("slow")
    async with s.other() as t:
        foreign = await t.get(made.id)
        s.judge("X26-121", "result" not in foreign.object, "tasks/get is refused to somebody else", foreign)
        for method, more in (("tasks/update", {"inputResponses": {"key": {"action": "accept"}}}), ("tasks/cancel", {})):
            foreign = await t.call(method, {"taskId": made.id, **more})
            unknown = await t.call(method, {"taskId": _nobodys(made.id), **more})
            # Where an id that is unknown is not refused, this one need not be: but nothing may come of it.
            alike = "result" not in foreign.object or "result" in unknown.object
            s.judge("X26-121", alike, f"{method} is refused to somebody else", foreign)
        listening = await t.begin("subscriptions/listen", {"notifications": {"taskIds": [made.id]}})
        acknowledged = "notifications/subscriptions/acknowledged"
        await t.until(lambda: t.has_come(listening) or t.unread(acknowledged), acknowledged)
        shown = await s.get(made.id)
        status = shown.result.get("status")
        s.judge("X26-121", status not in (None, "cancelled"), "the task is as it was for who made it", shown)
        if status not in TERMINAL:
            await s.call("tasks/cancel", {"taskId": made.id})
            await s.settled(made.id)
        await t.call("server/discover")
        told = t.unread("notifications/tasks")
        s.judge("X26-121", not told, "nobody else is told of the task", t.frame_of(told[0]) if told else None)
        await _without_a_name(s, t, made.id)


async def _without_a_name(s: ServerSession, t: ServerSession, task_id: str) -> None:
    if not isinstance(t.wire, HttpClientWire):
        return
    token = t.wire.headers.pop("authorization", None)
    try:
        nameless = await t.get(task_id)
    except Broken:
        raise NotApplicable("a request without a token is not answered") from None
    finally:
        if token is not None:
            t.wire.headers["authorization"] = token
    expected = "tasks/get is refused to somebody who does not say who they are"
    s.judge("X26-121", "result" not in nameless.object, expected, nameless)
