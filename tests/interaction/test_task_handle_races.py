"""The requestor's handle when answers and pushed statuses cross, and when several tasks wait for one result.

A pushed status is taken in when it is read, an answer when the task that waits for it runs: of two messages in one
chunk the second may be known before the first.
"""

import json

import pytest
import trio

from mcp_tasks import ConnectionClosed, TaskCancelled
from mcp_tasks.wire.tasks import TaskStatus

STATUS = "notifications/tasks/status"
EARLY, LATE = "2025-11-25T10:30:01Z", "2025-11-25T10:30:02Z"


def line(**members):
    return json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"


def as_json(task):
    return task.status, task.last_updated_at


@pytest.mark.parametrize("pushed", ["completed", "input_required"])
async def test_a_status_pushed_right_behind_an_older_answer_stays(pushed, requestor, autojump_clock):
    async with requestor.connect() as remote:
        found = []

        async def ask():
            async with remote.connection.start(requestor.method, requestor.params) as task:
                task.detach()
                found.append(await task.status())
                found.append(task.task)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await requestor.accept(remote)
            get = await remote.expect("tasks/get")
            await remote.send_raw(
                line(id=get["id"], result=requestor.task(lastUpdatedAt=EARLY))
                + line(method=STATUS, params=requestor.task(pushed, lastUpdatedAt=LATE))
            )
        assert [as_json(task) for task in found] == 2 * [(TaskStatus(pushed), LATE)]


async def test_an_answer_newer_than_what_was_pushed_before_it_counts(requestor, autojump_clock):
    async with requestor.connect() as remote:
        found = []

        async def ask():
            async with remote.connection.start(requestor.method, requestor.params) as task:
                task.detach()
                found.append(await task.status())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await requestor.accept(remote)
            get = await remote.expect("tasks/get")
            await remote.send_raw(
                line(method=STATUS, params=requestor.task("input_required", lastUpdatedAt=EARLY))
                + line(id=get["id"], result=requestor.task("completed", lastUpdatedAt=LATE))
            )
        assert [as_json(task) for task in found] == [(TaskStatus.COMPLETED, LATE)]


async def test_a_result_right_behind_an_older_status_is_no_contradiction(requestor, autojump_clock):
    async with requestor.connect() as remote:
        seen = []

        async def follow():
            async with remote.connection.start(requestor.method, requestor.params) as task:
                seen.extend([update.status async for update in task.updates()])
                seen.append(await task.result())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await requestor.accept(remote, "input_required")  # which makes it ask for the result
            fetch = await remote.expect("tasks/result")
            get = await remote.expect("tasks/get")
            await remote.send_raw(
                line(id=get["id"], result=requestor.task("input_required"))
                + line(id=fetch["id"], result=requestor.result)
            )
            await remote.reply(await remote.expect("tasks/get"), requestor.task("completed"))
        assert seen == [TaskStatus.INPUT_REQUIRED, TaskStatus.COMPLETED, requestor.result]


async def test_many_wait_for_one_result_and_others_follow_the_status(requestor, autojump_clock):
    async with requestor.connect() as remote:
        found, seen = [], []
        async with trio.open_nursery() as outer:

            @outer.start_soon
            async def run():
                async with remote.connection.start(requestor.method, requestor.params) as task:

                    async def wait():
                        found.append(await task.result())

                    async def follow():
                        seen.append([update.status async for update in task.updates()])

                    async with trio.open_nursery() as nursery:
                        for _ in range(3):
                            nursery.start_soon(wait)
                            nursery.start_soon(follow)

            await requestor.accept(remote)
            fetch = await remote.expect("tasks/result")
            await remote.quiet()
            await remote.notify(STATUS, requestor.task("input_required"))
            await remote.quiet()
            await remote.notify(STATUS, requestor.task("completed"))
            await remote.quiet()
            await remote.reply(fetch, requestor.result)
            await remote.quiet()
            assert remote.unread("tasks/result") == []  # one request is enough for all
        assert found == 3 * [requestor.result]
        assert seen == 3 * [[TaskStatus.WORKING, TaskStatus.INPUT_REQUIRED, TaskStatus.COMPLETED]]


async def test_a_result_that_was_being_fetched_when_the_block_was_left_is_fetched_again(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run():
            async with remote.connection.start(requestor.method, requestor.params) as task:
                with trio.move_on_after(5):
                    await task.result()
            with pytest.raises(TaskCancelled):
                await task.result()

        await requestor.accept(remote)
        await remote.expect("tasks/result")
        await remote.reply(await remote.expect("tasks/cancel"), requestor.task("cancelled"))
        await remote.refuse(await remote.expect("tasks/result"), -32603, "There is no result")
        await remote.reply(await remote.expect("tasks/get"), requestor.task("cancelled"))


async def test_an_empty_result_of_a_cancelled_task_is_none(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run():
            async with remote.connection.start(requestor.method, requestor.params) as task:
                with pytest.raises(TaskCancelled):
                    await task.result()

        await requestor.accept(remote)
        await remote.reply(await remote.expect("tasks/result"), {"_meta": {}})
        await remote.reply(await remote.expect("tasks/get"), requestor.task("cancelled"))


async def test_a_result_that_was_not_fetched_before_the_connection_ended(requestor, autojump_clock):
    async with requestor.connect() as remote:
        connection = remote.connection
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requestor.accept, remote)
            async with connection.start(requestor.method, requestor.params) as task:
                task.detach()
    for _ in range(2):
        with pytest.raises(ConnectionClosed):
            await task.result()
