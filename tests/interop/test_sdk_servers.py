"""Our client drives servers on the official SDKs, over stdio and over HTTP.

They are PyPI mcp 1.30.0 and npm @modelcontextprotocol/sdk 1.32.2: the same tests for both. PyPI mcp 2.3.0, which has no
tasks for our revision, takes part in what concerns none.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest
import trio

from mcp_tasks import (
    UNSET,
    CapabilityMissing,
    Connection,
    ConnectionClosed,
    Peer,
    Progress,
    RequestFailed,
    TaskCancelled,
    open_stdio,
)
from mcp_tasks.wire.tasks import Task, TaskStatus

Connect: TypeAlias = "Callable[..., AbstractAsyncContextManager[Connection]]"

RELATED = "io.modelcontextprotocol/related-task"
WORKING = TaskStatus.WORKING
INPUT_REQUIRED = TaskStatus.INPUT_REQUIRED
COMPLETED = TaskStatus.COMPLETED
FAILED = TaskStatus.FAILED
CANCELLED = TaskStatus.CANCELLED

CONFIRM = {"name": "confirm_delete", "arguments": {"filename": "a.txt"}}
LONG = {"name": "slow_compute", "arguments": {"seconds": 600}}
SHORT = {"name": "slow_compute", "arguments": {"seconds": 0.2}}
BROKEN = {"name": "protocol_error_job", "arguments": {}}


def text_of(result: Any) -> str:
    (block,) = result["content"] if isinstance(result, dict) else result.content
    return str(block["text"] if isinstance(block, dict) else block.text)


def collapsed(tasks: list[Task]) -> list[TaskStatus]:
    """The statuses, each once in a row: some servers tell everything twice, some leave it to polling."""
    statuses: list[TaskStatus] = []
    for task in tasks:
        if statuses[-1:] != [task.status]:
            statuses.append(task.status)
    return statuses


# --- without tasks ----------------------------------------------------------------------------------------------------


async def test_the_handshake(any_sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, any_sdk) as connection:
        assert connection.revision == "2025-11-25"
        assert connection.peer_name == f"{any_sdk.name} 1"
        await connection.ping()
        tasks = connection.their_capabilities.tasks
        if any_sdk.drives:
            assert (tasks.list, tasks.cancel, tasks.requests.tools.call) == ({}, {}, {})
            with pytest.raises(CapabilityMissing):
                await connection.call("resources/list")
            with pytest.raises(CapabilityMissing):
                await connection.set_logging_level("debug")
        else:
            assert tasks is UNSET
            with pytest.raises(CapabilityMissing):
                await connection.call_tool("greet", {"name": "Ada"}, task=True)


async def test_the_tools_are_listed(any_sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, any_sdk) as connection:
        support = {
            tool.name: tool.execution.task_support if tool.execution else None async for tool in connection.list_tools()
        }
    everywhere = {
        "greet": "forbidden",
        "failing_job": "required",
        "protocol_error_job": "optional",
        "confirm_delete": "optional",
        "multi_input": "optional",
        "sample_job": "optional",
        "progress_job": "optional",
        "announce": "forbidden",
        "drop_stream": "forbidden",
    }
    if any_sdk.drives:
        concerns_tasks = {"slow_compute": "optional", "drive_sampling": "forbidden", "drive_elicitation": "forbidden"}
        assert support == everywhere | concerns_tasks
    else:
        assert support == dict.fromkeys(everywhere)


async def test_plain_calls(any_sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, any_sdk) as connection:
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"
        assert text_of(await connection.call_tool("confirm_delete", {"filename": "a.txt"})) == "deleted a.txt"
        assert text_of(await connection.call_tool("multi_input")) == "Ada is 36"
        assert text_of(await connection.call_tool("sample_job", {"prompt": "hi"})) == "sampled: hi"
        told: list[Progress] = []
        assert text_of(await connection.call_tool("progress_job", {"steps": 3}, on_progress=told.append)) == "3 steps"
        assert told == [Progress(step, 3, f"step {step}") for step in (1, 2, 3)]
    assert user.related == [None, None, None, None]


async def test_plain_calls_that_fail(any_sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, any_sdk) as connection:
        with pytest.raises(RequestFailed) as failed:
            await connection.call("tools/call", BROKEN)
        assert (failed.value.code, failed.value.message) == (-32000, "the job broke")
        assert failed.value.data == {"reason": "broken on purpose"}
        for params in ({"name": "nothing"}, {"name": "greet", "arguments": {}}):
            with pytest.raises(RequestFailed) as failed:
                await connection.call("tools/call", params)
            assert failed.value.code == -32602


async def test_a_call_that_is_withdrawn(any_sdk: Any, connect: Connect, client: Peer) -> None:
    """The Python SDK answers it all the same, with error 0; the answer is dropped, and all goes on."""
    async with connect(client, any_sdk) as connection:
        with trio.CancelScope() as scope:
            await connection.call_tool("progress_job", {"steps": 10_000}, on_progress=lambda _: scope.cancel())
        assert scope.cancelled_caught
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"


async def test_a_notification_of_its_own_accord(any_sdk: Any, connect: Connect, make_peer: Any) -> None:
    """It belongs to no request: over HTTP it comes on the stream that a GET has opened."""
    peer = make_peer("interop-client")
    changed = trio.Event()

    @peer.on("notifications/tools/list_changed")
    async def told(connection: Connection, params: Any) -> None:
        changed.set()

    async with connect(peer, any_sdk) as connection:
        assert text_of(await connection.call_tool("announce")) == "announced"
        await changed.wait()


# --- the life of a task -----------------------------------------------------------------------------------------------


async def test_a_task_from_start_to_result(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", SHORT, ttl=60) as task:
            assert task.task is not None
            assert task.task.status is WORKING
            assert task.task.ttl_ms == 60_000
            assert task.task.poll_interval_ms == sdk.poll_interval_ms
            assert not task.settled
            assert (await task.status()).task_id == task.id
            assert collapsed([update async for update in task.updates()]) == [WORKING, COMPLETED]
            assert task.settled
            result = await task.result()
            assert text_of(result) == "done"
            assert result["_meta"][RELATED] == {"taskId": task.id}
            assert await task.result() == result
            assert text_of(await task.value()) == "done"
        seen = await connection.get_task(task.id)
        assert seen.status is COMPLETED
        assert [listed.task_id async for listed in connection.list_tasks()] == [task.id]


async def test_a_result_is_waited_for_without_looking_at_the_status(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", SHORT, ttl=60) as task:
        assert text_of(await task.value()) == "done"


async def test_a_task_that_is_kept_for_ever(sdk: Any, connect: Connect, client: Peer) -> None:
    """Without a limit npm says ``ttl: null``, and Python nothing at all."""
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", SHORT) as task:
            assert task.task is not None
            assert task.task.ttl_ms is None
            assert collapsed([update async for update in task.updates()]) == [WORKING, COMPLETED]
        (listed,) = [listed async for listed in connection.list_tasks()]
        assert (listed.task_id, listed.status, listed.ttl_ms) == (task.id, COMPLETED, None)


async def test_many_tasks_are_listed(sdk: Any, connect: Connect, client: Peer) -> None:
    """More than a page of the npm SDK, which is 10; Python lists all at once."""
    async with connect(client, sdk) as connection:
        made = []
        for _ in range(23):
            async with connection.start("tools/call", SHORT, ttl=60) as task:
                made.append(task.detach().id)
        assert sorted([task.task_id async for task in connection.list_tasks()]) == sorted(made)


async def test_a_task_is_detached_and_taken_up_again(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", SHORT, ttl=60) as task:
            saved = task.detach()
        assert saved.peer == f"{sdk.name} 1"
        async with connection.resume(saved) as task:
            assert text_of(await task.value()) == "done"


async def test_the_wrong_way_to_call_a_tool(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        with pytest.raises(RequestFailed) as failed:
            await connection.call("tools/call", {"name": "failing_job", "arguments": {}})
        assert failed.value.code == -32601
        with pytest.raises(RequestFailed) as failed:
            async with connection.start("tools/call", {"name": "greet", "arguments": {"name": "Ada"}}):
                pass
        assert failed.value.code == -32601
        # `call_tool` knows that before it asks.
        with pytest.raises(CapabilityMissing):
            await connection.call_tool("failing_job", task=False)
        with pytest.raises(CapabilityMissing):
            await connection.call_tool("greet", {"name": "Ada"}, task=True)


async def test_call_tool_hides_the_task(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, sdk) as connection:
        result = await connection.call_tool("failing_job")
        assert result.is_error
        assert text_of(result) == "the job failed"
        assert text_of(await connection.call_tool("confirm_delete", {"filename": "a"}, task=True)) == "deleted a"
        made = [task.task_id async for task in connection.list_tasks()]
        assert len(made) == 2
        assert user.related[0] in made


async def test_two_tasks_at_once(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    user.together = 2
    async with (
        connect(client, sdk) as connection,
        connection.start("tools/call", CONFIRM) as one,
        connection.start("tools/call", CONFIRM) as other,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.value)
            nursery.start_soon(other.value)
        assert sorted(user.related) == sorted([one.id, other.id])


async def test_unknown_tasks(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        for operation in (connection.get_task, connection.await_task, connection.cancel_task):
            with pytest.raises(RequestFailed) as failed:
                await operation("no-such-task")
            assert failed.value.code == -32602
            assert failed.value.message.startswith("MCP error -32602: ") == sdk.echoes_prefix


async def test_a_task_expires(sdk: Any, connect: Connect, client: Peer) -> None:
    """It is gone then, for both."""
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", LONG, ttl=0.3) as task:
            with pytest.raises(RequestFailed) as failed:
                async for _ in task.updates():
                    pass
            assert failed.value.code == -32602
            with pytest.raises(RequestFailed) as failed:
                await task.result()
            assert failed.value.code == -32602
        assert [listed async for listed in connection.list_tasks()] == []


# --- the end of the connection ----------------------------------------------------------------------------------------


async def test_the_connection_ends_before_the_task(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", LONG, ttl=60) as task:
        task.detach()
    assert connection.closed
    for operation in (task.status, task.result, task.result, task.cancel, connection.ping):
        with pytest.raises(ConnectionClosed):
            await operation()


@pytest.mark.parametrize("sdk", ["python-stdio", "npm-stdio"], indirect=True)
async def test_the_server_is_killed_while_a_result_is_waited_for(sdk: Any, client: Peer) -> None:
    with trio.fail_after(60):
        async with open_stdio(sdk.command, stderr="capture") as transport, client.connect(transport) as connection:
            async with connection.start("tools/call", LONG, ttl=60) as task:

                async def wait() -> None:
                    with pytest.raises(ConnectionClosed, match="was killed by SIGKILL"):
                        await task.result()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    await task.status()  # by now the request for the result has been sent
                    os.kill(transport.pid, signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                await connection.ping()


# --- waiting for one task in several ways -----------------------------------------------------------------------------


async def test_several_requests_for_one_result(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", SHORT, ttl=60) as task:
        found: list[Any] = []

        async def fetch() -> None:
            found.append(await connection.await_task(task.id))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fetch)
        assert [text_of(result) for result in found] == ["done", "done", "done"]
        assert text_of(await task.result()) == "done"


async def test_several_waits_for_one_result(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", SHORT, ttl=60) as task:
        found: list[Any] = []

        async def wait() -> None:
            found.append(await task.result())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        assert [text_of(result) for result in found] == ["done", "done", "done"]


async def test_updates_are_followed_while_the_result_is_waited_for(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", CONFIRM, ttl=60) as task:
        seen: list[Task] = []
        found: list[Any] = []

        async def follow() -> None:
            seen.extend([update async for update in task.updates()])

        async def wait() -> None:
            found.append(await task.result())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            nursery.start_soon(wait)
        assert [text_of(result) for result in found] == ["deleted a.txt"]
        assert seen[-1].status is COMPLETED


async def test_a_wait_is_given_up_and_the_task_goes_on(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    user.together = 2  # the first question has to wait
    async with connect(client, sdk) as connection, connection.start("tools/call", CONFIRM, ttl=60) as task:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task.result)
                await user.asked.wait()
                scope.cancel()
        assert (await task.status()).status is INPUT_REQUIRED
        user.enough.set()
        assert text_of(await task.value()) == "deleted a.txt"


async def test_a_result_after_the_block_was_left(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", LONG, ttl=60) as task:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(task.result)
                    await task.status()
                    scope.cancel()
        with pytest.raises(TaskCancelled):
            await task.result()


# --- cancelling -------------------------------------------------------------------------------------------------------


async def test_a_task_is_cancelled(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", LONG, ttl=60) as task:
            assert (await task.cancel()).status is CANCELLED
            assert (await task.status()).status is CANCELLED
            with pytest.raises(RequestFailed) as failed:
                await task.cancel()
            assert failed.value.code == -32602
            # Python: a result of nothing. npm: -32603 "Task ID has no result stored".
            with pytest.raises(TaskCancelled):
                await task.value()
            assert [update.status async for update in task.updates()] == [CANCELLED]
        assert (await connection.get_task(task.id)).status is CANCELLED


async def test_the_raw_result_of_a_cancelled_task(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", LONG, ttl=60) as task:
        await task.cancel()
        with pytest.raises(TaskCancelled):
            await task.result()


async def test_a_task_is_cancelled_while_its_result_is_waited_for(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", LONG, ttl=60) as task:

        async def wait() -> None:
            with pytest.raises(TaskCancelled):
                await task.value()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await task.status()  # by now the request for the result has been sent
            await task.cancel()


async def test_a_task_is_cancelled_while_a_question_is_open(
    sdk: Any, connect: Connect, client: Peer, user: Any
) -> None:
    user.together = 2
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", CONFIRM, ttl=60) as task:

            async def wait() -> None:
                with pytest.raises(TaskCancelled):
                    await task.value()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await user.asked.wait()
                assert (await task.cancel()).status is CANCELLED
                user.enough.set()
        assert (await connection.get_task(task.id)).status is CANCELLED
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"


async def test_leaving_the_block_cancels_the_task(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", LONG, ttl=60) as task:
            pass
        assert (await connection.get_task(task.id)).status is CANCELLED


# --- questions midway -------------------------------------------------------------------------------------------------


async def test_a_question_midway(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", CONFIRM, ttl=60) as task:
            seen = collapsed([update async for update in task.updates()])
            assert seen in ([WORKING, INPUT_REQUIRED, COMPLETED], [WORKING, INPUT_REQUIRED, WORKING, COMPLETED])
            assert text_of(await task.value()) == "deleted a.txt"
        assert user.related == [task.id]
        assert [form.message for form in user.forms] == ["Delete a.txt?"]


async def test_a_question_while_the_result_is_waited_for(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    user.declines = True
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", CONFIRM, ttl=60) as task:
            assert text_of(await task.value()) == "kept a.txt"
        assert user.related == [task.id]


async def test_two_questions_midway(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    user.together = 2
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", {"name": "multi_input", "arguments": {}}, ttl=60) as task:
            assert text_of(await task.value()) == "Ada is 36"
        assert user.related == [task.id, task.id]
        assert sorted(form.message for form in user.forms) == ["Your age?", "Your name?"]


async def test_sampling_midway(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, sdk) as connection:
        async with connection.start("tools/call", {"name": "sample_job", "arguments": {"prompt": "hi"}}) as task:
            assert text_of(await task.value()) == "sampled: hi"
        assert user.related == [task.id]
        (asked,) = user.samples
        assert asked.max_tokens == 100


async def test_a_question_that_is_refused(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    user.refuses = True
    async with connect(client, sdk) as connection, connection.start("tools/call", CONFIRM, ttl=60) as task:
        with pytest.raises(RequestFailed) as failed:
            await task.value()
        assert failed.value.code == -1
        assert failed.value.message.endswith("the user said no")
        assert (await task.status()).status is FAILED


# --- failing ----------------------------------------------------------------------------------------------------------


async def test_a_task_ends_in_a_result_with_is_error(sdk: Any, connect: Connect, client: Peer) -> None:
    params = {"name": "failing_job", "arguments": {}}
    async with connect(client, sdk) as connection, connection.start("tools/call", params, ttl=60) as task:
        assert collapsed([update async for update in task.updates()])[-1] is FAILED
        result = await task.value()
        assert result.is_error
        assert text_of(result) == "the job failed"


async def test_a_task_ends_in_a_protocol_error(sdk: Any, connect: Connect, client: Peer) -> None:
    async with connect(client, sdk) as connection, connection.start("tools/call", BROKEN, ttl=60) as task:
        for wait in (task.result, task.value, task.result):
            with pytest.raises(RequestFailed) as failed:
                await wait()
            assert (failed.value.code, failed.value.message) == (-32000, "the job broke")
            assert failed.value.data == {"reason": "broken on purpose"}
        last = await task.status()
        assert last.status is FAILED
        assert last.status_message == "the job broke"


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["value", "updates"])
async def test_progress_of_a_task(by: str, sdk: Any, connect: Connect, client: Peer) -> None:
    """All of it comes after the answer that says there is a task."""
    told: list[Progress] = []
    params = {"name": "progress_job", "arguments": {"steps": 5}}
    async with (
        connect(client, sdk) as connection,
        connection.start("tools/call", params, ttl=60, on_progress=told.append) as task,
    ):
        assert told == []
        if by == "updates":
            assert collapsed([update async for update in task.updates()]) == [WORKING, COMPLETED]
        assert text_of(await task.value()) == "5 steps"
    assert told == [Progress(step, 5, f"step {step}") for step in (1, 2, 3, 4, 5)]


# --- our client as the receiver of tasks ------------------------------------------------------------------------------


async def test_the_client_hosts_a_sampling_task(sdk: Any, connect: Connect, hosting_client: Peer, user: Any) -> None:
    async with connect(hosting_client, sdk) as connection:
        assert text_of(await connection.call_tool("drive_sampling", {"prompt": "hi"})) == "sampled: hi"
    assert user.hosted == [True]


async def test_the_client_hosts_an_elicitation_task(
    sdk: Any, connect: Connect, hosting_client: Peer, user: Any
) -> None:
    async with connect(hosting_client, sdk) as connection:
        result = await connection.call_tool("drive_elicitation", {"message": "ok?"})
        assert text_of(result) == 'accept {"confirm":true}'
    assert user.hosted == [True]
    (form,) = user.forms
    assert form.message == "ok?"


async def test_the_client_hosts_a_declined_elicitation_task(
    sdk: Any, connect: Connect, hosting_client: Peer, user: Any
) -> None:
    user.declines = True
    async with connect(hosting_client, sdk) as connection:
        assert text_of(await connection.call_tool("drive_elicitation", {"message": "ok?"})) == "decline null"
    assert user.hosted == [True]


async def test_the_client_hosts_a_task_that_fails(sdk: Any, connect: Connect, hosting_client: Peer, user: Any) -> None:
    user.refuses = True
    async with connect(hosting_client, sdk) as connection:
        with pytest.raises(RequestFailed) as failed:
            await connection.call_tool("drive_sampling", {"prompt": "hi"})
    code, end = sdk.refused_task
    assert failed.value.code == code
    assert failed.value.message.endswith(end)
    assert user.hosted == [True]


async def test_a_client_that_hosts_tasks_still_answers_plain_questions(
    sdk: Any, connect: Connect, hosting_client: Peer, user: Any
) -> None:
    async with connect(hosting_client, sdk) as connection:
        assert text_of(await connection.call_tool("confirm_delete", {"filename": "a"})) == "deleted a"
        async with connection.start("tools/call", CONFIRM, ttl=60) as task:
            assert text_of(await task.value()) == "deleted a.txt"
    assert user.hosted == [False, False]
    assert user.related == [None, task.id]


async def test_a_client_without_tasks_is_not_driven(sdk: Any, connect: Connect, client: Peer, user: Any) -> None:
    async with connect(client, sdk) as connection:
        with pytest.raises(RequestFailed):
            await connection.call_tool("drive_elicitation", {"message": "ok?"})
        assert text_of(await connection.call_tool("greet", {"name": "Ada"})) == "hello Ada"
