"""Servers that have the tasks of both eras: what is said in one means nothing in the other, and no task is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_tasks import ConnectionClosed
from mcp_tasks.testing import HttpClientWire

from ..extension import UNKNOWN
from ..names import TASKS
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import CLIENT_2025, CLIENT_2025_PLAIN, JUDGE, ServerSession
from ..session import TERMINAL, result_in
from .receiver_2025 import unless_over

_OLD = "2025-11-25"


async def _shake_hands(s: ServerSession, declares: Mapping[str, Any]) -> dict[str, Any]:
    """Go on in the older era, on the same connection; returns what is announced there. Raises `NotApplicable`."""
    s.stamp = None
    opening = {"protocolVersion": _OLD, "capabilities": dict(declares), "clientInfo": JUDGE}
    try:
        answer = await s.call("initialize", opening)
    except (Broken, ConnectionClosed) as trouble:
        raise NotApplicable(f"the server does not speak {_OLD} as well: {trouble}") from None
    if answer.result.get("protocolVersion") != _OLD:
        raise NotApplicable(f"the server does not speak {_OLD} as well")
    if isinstance(s.wire, HttpClientWire):
        s.wire.revision = _OLD
    await s.notify("notifications/initialized")
    found = answer.result.get("capabilities")
    return found if isinstance(found, dict) else {}


def _runs_calls(capabilities: dict[str, Any]) -> bool:
    found: Any = capabilities
    for name in ("tasks", "requests", "tools", "call"):
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


@scenario("X26-124", leg="server")
async def the_extension_in_the_older_era(s: ServerSession) -> None:
    """Under 2025-11-25 a client declares the extension; nothing comes of that."""
    s.require("extensions", TASKS)
    await _shake_hands(s, {**CLIENT_2025_PLAIN, "extensions": {TASKS: {}}})
    for ability in ("quick", "many", "forbidden", "slow"):
        if s.profile.find(ability) is not None:
            break
    else:
        raise NotApplicable("needs one of the abilities `quick`, `forbidden`, `slow`")
    answer = await s.call(*s.request_for(ability))
    result = answer.result
    made = result.get("resultType") == "task" or "taskId" in result or isinstance(result.get("task"), dict)
    s.judge("X26-124", not made, f"a call under {_OLD} becomes no task of the extension", answer)
    answer = await s.call("tasks/update", {"taskId": "of-no-task", "inputResponses": {}})
    s.judge("X26-124", answer.error is not None, f"there is no tasks/update under {_OLD}", answer)


@scenario("X26-129", leg="server")
async def the_old_capability_and_the_new(s: ServerSession) -> None:
    """A server that announces tasks under 2025-11-25 and has them here as well announces the extension."""
    known = (await s.call("tasks/get", {"taskId": UNKNOWN})).error
    capabilities = await _shake_hands(s, CLIENT_2025)
    if not isinstance(capabilities.get("tasks"), dict):
        raise NotApplicable(f"the server has no tasks under {_OLD}")
    announced = s.announces("extensions", TASKS)
    if not announced and known is not None and known.get("code") == -32601:
        raise NotApplicable("the server has no tasks in this era")
    s.judge("X26-129", announced, f"capabilities.extensions of server/discover has {TASKS}", s.opening)


@scenario("X26-126", leg="server")
async def a_task_of_the_older_era(s: ServerSession) -> None:
    """A server with tasks of both kinds still serves those of 2025-11-25 to the clients that know no others.

    It is asked as such a client asks, after its handshake. Whether it has to answer a request of this era that declares
    nothing but the older tasks, as one page may be read, another page denies: that is -32021 (X26-107).
    """
    s.require("extensions", TASKS)
    if not _runs_calls(await _shake_hands(s, CLIENT_2025)):
        raise NotApplicable(f"the server runs no calls as tasks under {_OLD}")
    for ability in ("slow", "quick", "many"):
        if s.profile.find(ability) is not None:
            break
    else:
        raise NotApplicable("needs one of the abilities `slow`, `quick`")
    method, params = s.request_for(ability)
    task = result_in(await s.call(method, {**params, "task": {}}), method).get("task")
    id = task.get("taskId") if isinstance(task, dict) else None
    if not isinstance(id, str):
        raise NotApplicable(f"`{ability}` was not made a task under {_OLD}")
    shown = await s.call("tasks/get", {"taskId": id})
    s.judge("X26-126", shown.result.get("taskId") == id, "the task can be had as it was before", shown)
    if shown.result.get("status") not in TERMINAL:
        cancelled = await s.call("tasks/cancel", {"taskId": id})
        await unless_over(s, id, cancelled)
        s.judge("X26-126", cancelled.error is None, "the task can be cancelled as it was before", cancelled)
