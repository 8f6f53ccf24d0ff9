"""What a server with the tasks extension makes of ``tasks/cancel``, and of what comes when a task is over."""

from __future__ import annotations

from ..extension import bare, some_task
from ..scenario import scenario
from ..server_session import ServerSession
from ..session import TERMINAL, MadeTask, result_in


@scenario("X26-077", "X26-081", "X26-082", "X26-084", "X26-085", "X26-086", "X26-087", leg="server", needs="slow")
async def a_task_cancelled_at_work(s: ServerSession) -> None:
    """A task is cancelled while it works. The server says that it has heard; what it makes of that is up to it."""
    made = await s.make_task("slow")
    before = result_in(await s.get(made.id), "tasks/get").get("status")
    cancelled = await s.call("tasks/cancel", {"taskId": made.id})
    heard = cancelled.error is None and "result" in cancelled.object
    empty = heard and not cancelled.result.keys() - {"resultType", "_meta"}
    s.judge("X26-081", empty, "tasks/cancel is answered with an empty result", cancelled)
    s.judge("X26-082", cancelled.result.get("resultType") == "complete", "resultType is complete", cancelled)
    shown = await s.get(made.id)
    status = shown.result.get("status")
    s.judge("X26-085", status not in TERMINAL, f"after the acknowledgement the task is {status}", shown)
    end = (await s.settled(made.id))["status"]
    if before in TERMINAL or status in ("completed", "failed"):
        for id in ("X26-086", "X26-087"):
            s.skip(id, "the task of `slow` was over too soon")
    else:
        s.judge("X26-086", end != "cancelled", f"the task ended {end}", shown)
        s.judge("X26-087", end != "cancelled", "the work went on" if end != "cancelled" else "the work ended", shown)
    await _over(s, made)


@scenario("X26-077", "X26-084", leg="server")
async def a_task_that_is_over(s: ServerSession) -> None:
    """The task has ended by itself; to cancel or to answer it then is acknowledged and changes nothing."""
    made = await some_task(s)
    await s.settled(made.id)
    await _over(s, made)


async def _over(s: ServerSession, made: MadeTask) -> None:
    before = await s.get(made.id)
    answer = await s.call("tasks/cancel", {"taskId": made.id})
    s.judge("X26-084", answer.error is None, "to cancel a task that is over is acknowledged", answer)
    late = {"no-such-key": {"action": "accept", "content": {}}}
    answer = await s.call("tasks/update", {"taskId": made.id, "inputResponses": late})
    s.judge("X26-077", answer.error is None, "an answer to a task that is over is acknowledged", answer)
    after = await s.get(made.id)
    if after.code == -32602:
        return  # its time was up
    same = bare(after.result, "lastUpdatedAt") == bare(before.result, "lastUpdatedAt")
    s.judge("X26-077", same, "the task stays as it ended", after)
