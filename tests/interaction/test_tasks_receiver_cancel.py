"""The receiver of tasks: cancelling, and what comes too late."""

import json

import pytest
import trio

from mcp_tasks import Context, RequestFailed

STATUS = "notifications/tasks/status"
requirement = pytest.mark.requirement


@requirement("T25-055")
async def test_a_cancel_is_answered_with_the_whole_task_flat(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote, ttl=60000)
        await trio.sleep(1)
        cancelled = await receiver.cancel(remote, task)
        assert cancelled["status"] == "cancelled"
        assert cancelled == await receiver.get(remote, task)
        assert cancelled.keys() == task.keys() | {"statusMessage"}
        assert cancelled["createdAt"] == task["createdAt"] < cancelled["lastUpdatedAt"]


@requirement("T25-115")
async def test_the_status_flips_before_the_cancel_is_answered(receiver, autojump_clock):
    """Also where the work takes its time to stop."""

    async def work(ctx: Context, params: dict) -> dict:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        assert (await receiver.cancel(remote, task))["status"] == "cancelled"
        assert trio.current_time() == 0
        methods = [message.get("method", "answer") for message in remote.received]
        assert methods[-2:] == [STATUS, "answer"]
        assert (await receiver.get(remote, task))["status"] == "cancelled"


@requirement("T25-115")
async def test_a_cancel_stops_the_work_and_its_cleanup_runs(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        await receiver.cancel(remote, task)
        await remote.quiet()
        assert receiver.jobs[0].over


@requirement("T25-113", "T25-134")
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_a_task_that_is_over_cannot_be_cancelled(receiver, how, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        if how == "completed":
            receiver.jobs[0].finish(receiver.result)
        elif how == "failed":
            receiver.jobs[0].fail(RequestFailed(-1, "no"))
        else:
            await receiver.cancel(remote, task)
        await remote.quiet()
        before = await receiver.get(remote, task)
        with pytest.raises(RequestFailed, match=f"{task['taskId']} is already") as caught:
            await receiver.cancel(remote, task)
        assert caught.value.code == -32602
        assert await receiver.get(remote, task) == before


@requirement("T25-116", "T25-064", "T25-067")
@pytest.mark.parametrize("late", ["result", "error", "message", "question"])
async def test_a_cancelled_task_stays_cancelled_whatever_the_work_does(receiver, late, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                if late == "message":
                    await ctx.report("not yet")
                if late == "question":
                    await ctx.ask("q", receiver.question)
                if late == "error":
                    raise RequestFailed(-1, "too late") from None
                return receiver.result

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        cancelled = await receiver.cancel(remote, task)
        await trio.sleep(1)
        assert await receiver.get(remote, task) == cancelled
        assert receiver.statuses(remote) == ["cancelled"]
        assert remote.unread(receiver.question.method) == []
        with pytest.raises(RequestFailed, match="cancelled"):
            await receiver.fetch(remote, task)


@requirement("T25-117", "T25-118")
async def test_a_task_that_waits_for_input_is_cancelled_like_any_other(receiver, autojump_clock):
    """Its question is withdrawn, and an answer that comes all the same is disregarded."""
    asked = []

    async def work(ctx: Context, params: dict) -> dict:
        asked.append(await ctx.ask("q", receiver.question))
        return receiver.result

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        question = await remote.expect(receiver.question.method)
        assert (await receiver.cancel(remote, task))["status"] == "cancelled"
        withdrawn = await remote.expect("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == question["id"]
        await remote.reply(question, receiver.answer)
        await remote.quiet()
        assert asked == []
        assert (await receiver.get(remote, task))["status"] == "cancelled"
        assert receiver.statuses(remote) == ["input_required", "cancelled"]


@requirement("T25-119", "T25-135")
async def test_a_cancelled_task_is_kept_until_its_lifetime_is_over(receiver, autojump_clock):
    """It might be deleted at once; we keep the rule for all tasks simple."""
    async with receiver.connect() as remote:
        task = await receiver.create(remote, ttl=10_000)
        await receiver.cancel(remote, task)
        await trio.sleep(9.999)
        assert (await receiver.get(remote, task))["status"] == "cancelled"
        await trio.sleep(0.001)
        with pytest.raises(RequestFailed, match="not found"):
            await receiver.get(remote, task)


@requirement("T25-157")
async def test_cancelled_notifications_do_not_cancel_tasks(receiver, autojump_clock):
    """The request has been answered with its task; its id means nothing any more."""
    async with receiver.connect() as remote:
        created = await remote.request(receiver.method, {**receiver.params, "task": {}}, id="mine")
        await remote.notify("notifications/cancelled", {"requestId": "mine"})
        await remote.quiet()
        assert (await receiver.get(remote, created["task"]))["status"] == "working"
        assert not receiver.jobs[0].over


@requirement("T25-158")
async def test_a_cancelled_notification_without_an_id_cancels_nothing(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        plain = await remote.ask(receiver.method, receiver.params)
        await remote.notify("notifications/cancelled", {"reason": "which?"})
        await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == "working"
        receiver.jobs[1].finish(receiver.result)
        assert await remote.answer(plain) == receiver.result


async def test_a_request_withdrawn_before_its_task_was_answered_leaves_no_task_at_work(receiver, autojump_clock):
    """The specification leaves this race open; nobody can know the task, so it is cancelled (design, section 5)."""
    async with receiver.connect() as remote:
        ask = {"jsonrpc": "2.0", "id": 1, "method": receiver.method, "params": {**receiver.params, "task": {}}}
        withdraw = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        lines = f"{json.dumps(ask)}\n{json.dumps(withdraw)}\n"
        await remote.send_raw(lines.encode())
        await remote.quiet()
        assert not remote.answered(1)
        tasks = (await remote.request("tasks/list"))["tasks"]
        assert [task["status"] for task in tasks] in ([], ["cancelled"])
        assert receiver.peer.tasks.live == 0
        assert receiver.jobs == []
