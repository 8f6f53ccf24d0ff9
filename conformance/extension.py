"""What scenarios of the tasks extension (2026-07-28) have in common: to get a task, to compare two, to declare less.

Which call becomes a task is for the server to say, so a scenario names the abilities that will do and takes what comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from mcp_tasks.testing import Frame

from .answers import answer_to
from .names import CAPABILITIES, TASKS
from .scenario import Broken, NotApplicable
from .server_session import CLIENT_2026, ServerSession
from .session import TERMINAL, MadeTask, result_in

__all__ = [
    "ANY",
    "LEGACY",
    "UNKNOWN",
    "WITHOUT",
    "answers_to",
    "asking_task",
    "bare",
    "declare",
    "names_the_extension",
    "otherwise",
    "plain",
    "questions_of",
    "some_task",
]

ANY = ("quick", "many", "required", "slow")
"""Abilities that may be a task, those first that are soon over."""
WITHOUT: Mapping[str, Any] = {name: value for name, value in CLIENT_2026.items() if name != "extensions"}
"""A client that does not say that it knows tasks."""
LEGACY: Mapping[str, Any] = {
    **WITHOUT,
    "tasks": {"list": {}, "cancel": {}, "requests": {"sampling": {"createMessage": {}}}},
}
"""One that says so in the words of 2025-11-25."""
UNKNOWN = "no-such-task-4f1c9a0be27d"
"""The id of no task."""


def declare(s: ServerSession, capabilities: Mapping[str, Any]) -> None:
    """From now on say this of the judge in each request."""
    assert s.stamp is not None
    s.stamp = {**s.stamp, CAPABILITIES: dict(capabilities)}


def names_the_extension(frame: Frame) -> bool:
    """Whether a refusal says that it is the tasks extension that is missing."""
    data = None if frame.error is None else frame.error.get("data")
    for name in ("requiredCapabilities", "extensions", TASKS):
        if not isinstance(data, dict) or name not in data:
            return False
        data = data[name]
    return True


def otherwise(s: ServerSession, id: str, why: str) -> None:
    """Skip a requirement of which there was nothing to see."""
    if not any(finding.id == id for finding in s.findings):
        s.skip(id, why)


# --- tasks ------------------------------------------------------------------------------------------------------------


async def some_task(s: ServerSession, *abilities: str) -> MadeTask:
    """A task of the first of these abilities that the server makes one of. Raises `NotApplicable`, `Broken`."""
    known = [ability for ability in abilities or ANY if s.profile.find(ability) is not None]
    for ability in known:
        try:
            return await s.make_task(ability)
        except NotApplicable:
            continue
    if known:
        raise NotApplicable(f"the server made no task of {', '.join(f'`{ability}`' for ability in known)}")
    raise NotApplicable(f"needs one of the abilities {', '.join(f'`{ability}`' for ability in abilities or ANY)}")


async def asking_task(s: ServerSession, ability: str) -> tuple[MadeTask, dict[str, Any]]:
    """A task that asks, and its state while it waits. Raises `NotApplicable` if it ends without having asked."""
    made = await s.make_task(ability)
    return made, await questions_of(s, made.id, ability)


async def questions_of(s: ServerSession, id: str, what: str, *, but: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The state of a task once it asks something else than `but`. Raises `NotApplicable` if it ends before."""
    old = but or {}
    deadline = trio.current_time() + s.patience
    while True:
        task = result_in(await s.get(id), "tasks/get")
        questions = task.get("inputRequests")
        if task.get("status") == "input_required" and (
            not isinstance(questions, dict) or any(old.get(key) != asked for key, asked in questions.items())
        ):
            return task
        if task.get("status") in TERMINAL:
            raise NotApplicable(f"the task of `{what}` ended without a question, or without another")
        if trio.current_time() > deadline:
            raise Broken(f"after {s.patience:g} seconds the task of `{what}` is still {task.get('status')}")
        await trio.sleep(0.03)


def answers_to(task: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Answers to the questions of a task, or to some of them. Raises `Broken` if there are none."""
    questions = task.get("inputRequests")
    if not isinstance(questions, dict) or not questions:
        raise Broken("a task is input_required and has no inputRequests")
    found = {}
    for key in keys or questions:
        question = questions[key] if isinstance(questions[key], dict) else {}
        params = question.get("params")
        found[key] = answer_to(str(question.get("method")), params if isinstance(params, dict) else {})
    return found


# --- comparing --------------------------------------------------------------------------------------------------------

_MAY_CHANGE = ("ttlMs", "pollIntervalMs", "resultType")


def bare(task: Mapping[str, Any], *but: str) -> dict[str, Any]:
    """A task without what may change from one look to the next, without what is said of the answer, and but these."""
    found = {name: value for name, value in task.items() if name not in (*_MAY_CHANGE, "_meta", *but)}
    if isinstance(found.get("result"), dict):
        found["result"] = plain(found["result"])
    return found


def plain(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without what the envelope adds; an `isError` that is not said is False."""
    found = {name: value for name, value in result.items() if name not in ("_meta", "resultType")}
    return {"isError": False, **found} if "content" in found else found
