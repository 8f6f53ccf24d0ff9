"""The receiver of tasks: progress and log messages."""

import pytest
import trio

from mcp_tasks import Context
from mcp_tasks.testing import scripted

RELATED = "io.modelcontextprotocol/related-task"
PROGRESS = "notifications/progress"
requirement = pytest.mark.requirement


async def create(receiver, remote, token) -> dict:
    params = {**receiver.params, "task": {}, "_meta": {"progressToken": token}}
    task = (await remote.request(receiver.method, params))["task"]
    await remote.quiet()
    return task


@requirement("T25-095", "T25-096", "T25-099", "T25-108", "T25-159", "T25-160")
@pytest.mark.parametrize("token", ["p-1", 7, "", 0])
async def test_progress_goes_on_under_its_token_after_the_task_was_answered(receiver, token, autojump_clock):
    async with receiver.connect() as remote:
        task = await create(receiver, remote, token)
        context = receiver.jobs[0].context
        await context.progress(1, 3)
        await trio.sleep(100)
        await context.progress(2, 3, "nearly")
        await remote.quiet()
        tag = {RELATED: {"taskId": task["taskId"]}}
        assert [message["params"] for message in remote.unread(PROGRESS)] == [
            {"progressToken": token, "progress": 1, "total": 3, "_meta": tag},
            {"progressToken": token, "progress": 2, "total": 3, "message": "nearly", "_meta": tag},
        ]
        assert all(type(message["params"]["progressToken"]) is type(token) for message in remote.unread(PROGRESS))


@requirement("T25-160")
async def test_each_task_has_its_own_token(receiver, autojump_clock):
    async with receiver.connect() as remote:
        tasks = [await create(receiver, remote, token) for token in "ab"]
        for job in reversed(receiver.jobs):
            await job.context.progress(1)
        await remote.quiet()
        said = [message["params"] for message in remote.unread(PROGRESS)]
        assert [(one["progressToken"], one["_meta"][RELATED]["taskId"]) for one in said] == [
            ("b", tasks[1]["taskId"]),
            ("a", tasks[0]["taskId"]),
        ]


async def test_nothing_is_said_to_who_did_not_ask_for_progress(receiver, autojump_clock):
    async with receiver.connect() as remote:
        await receiver.create(remote)
        await receiver.jobs[0].context.progress(1)
        await remote.quiet()
        assert remote.unread(PROGRESS) == []


@requirement("T25-161")
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_no_progress_follows_the_end(receiver, how, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        try:
            return await receiver.work(ctx, params)
        finally:
            with trio.CancelScope(shield=True):
                if how == "cancelled":
                    await ctx.progress(50)

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await create(receiver, remote, "p")
        job = receiver.jobs[0]
        await job.context.progress(1)
        if how == "completed":
            job.finish(receiver.result)
        elif how == "failed":
            job.fail(ValueError("broken"))
        else:
            await receiver.cancel(remote, task)
        await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == how
        await job.context.progress(99)
        await remote.quiet()
        assert [message["params"]["progress"] for message in remote.unread(PROGRESS)] == [1]


@requirement("T25-095", "T25-099")
async def test_log_messages_of_a_task_are_tagged(make_peer, autojump_clock):
    peer = make_peer()

    @peer.tool(task="optional")
    async def build(ctx: Context) -> str:
        await ctx.log("warning", {"disk": "nearly full"})
        return "built"

    async with scripted(peer) as remote:
        task = (await remote.request("tools/call", {"name": "build", "task": {}}))["task"]
        tag = {RELATED: {"taskId": task["taskId"]}}
        logged = (await remote.expect("notifications/message"))["params"]
        assert logged == {"level": "warning", "data": {"disk": "nearly full"}, "_meta": tag}
        await remote.request("tools/call", {"name": "build"})
        assert "_meta" not in (await remote.expect("notifications/message"))["params"]
