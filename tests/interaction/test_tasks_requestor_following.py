"""The requestor of tasks: polling, waiting, cancelling, following progress."""

import pytest
import trio

from mcp_tasks import CapabilityMissing, RemoteProtocolError, RequestFailed, TaskCancelled

STATUS = "notifications/tasks/status"
requirement = pytest.mark.requirement


async def follow(requestor, remote, seen: list) -> None:
    async with remote.connection.start(requestor.method, requestor.params) as handle:
        async for task in handle.updates():
            seen.append((trio.current_time(), task.status.value))


async def poll(requestor, remote, status: str, **members) -> float:
    """Answer the next poll; returns when it came."""
    request = await remote.expect("tasks/get")
    when = trio.current_time()
    await remote.reply(request, requestor.task(status, **members))
    return when


# --- polling ----------------------------------------------------------------------------------------------------------


@requirement("T25-040", "T25-041")
async def test_polls_keep_the_latest_pace_the_receiver_asked_for(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, seen := [])
        await requestor.accept(remote, pollInterval=2000)
        times = [
            await poll(requestor, remote, "working", pollInterval=2000),
            await poll(requestor, remote, "working", pollInterval=500),
            await poll(requestor, remote, "working", pollInterval=500),
            await poll(requestor, remote, "completed", pollInterval=500),
        ]
        assert times == pytest.approx([2, 4, 4.5, 5])
        await trio.sleep(100)
        assert remote.unread("tasks/get") == []
        assert [status for _, status in seen] == ["working", "working", "completed"]


@requirement("T25-040")
@pytest.mark.parametrize(
    ("interval", "seconds"), [(None, 1), (0, 0.01), (1, 0.01), (10**9, 60), (0.5, 0.01), (250.5, 0.2505)]
)
async def test_an_absurd_pace_is_bounded(requestor, interval, seconds, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, [])
        task = requestor.task(pollInterval=interval)
        if interval is None:
            del task["pollInterval"]
        await remote.reply(await remote.expect(requestor.method), {"task": task})
        assert await poll(requestor, remote, "completed") == pytest.approx(seconds)


@requirement("T25-041", "T25-042", "T25-075")
async def test_a_task_that_needs_input_is_asked_for_its_result_at_once_and_polled_on(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, [])
        await requestor.accept(remote)
        when = await poll(requestor, remote, "input_required")
        waiting = await remote.expect("tasks/result")
        assert trio.current_time() == when
        times = [await poll(requestor, remote, status) for status in ("input_required", "working", "completed")]
        assert times == pytest.approx([2, 3, 4])
        assert remote.unread("tasks/result") == [], "one wait is enough"
        await remote.reply(waiting, requestor.result)


@requirement("T25-075")
async def test_a_pushed_input_required_counts_too(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, [])
        await requestor.accept(remote)
        await remote.quiet()
        await remote.notify(STATUS, requestor.task("input_required"))
        waiting = await remote.expect("tasks/result")
        assert trio.current_time() == 0
        await remote.reply(waiting, requestor.result)
        await poll(requestor, remote, "completed")


@requirement("T25-052")
async def test_pushed_statuses_are_taken_and_polling_goes_on(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, seen := [])
        await requestor.accept(remote)
        await trio.sleep(0.5)
        await remote.notify(STATUS, requestor.task(statusMessage="half"))
        assert await poll(requestor, remote, "working", statusMessage="half") == pytest.approx(1.5)
        assert await poll(requestor, remote, "completed") == pytest.approx(2.5)
        await remote.quiet()
        assert seen == [(0, "working"), (0.5, "working"), (pytest.approx(2.5), "completed")]


@requirement("T25-052")
async def test_a_pushed_end_ends_it(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, seen := [])
        await requestor.accept(remote)
        await remote.quiet()
        await remote.notify(STATUS, requestor.task("completed"))
        await remote.quiet()
        assert seen == [(0, "working"), (0, "completed")]
        assert remote.unread() == []


async def test_statuses_of_unknown_tasks_are_nobodys(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, seen := [])
        await requestor.accept(remote)
        await remote.notify(STATUS, requestor.task("completed", taskId="t-2"))
        await poll(requestor, remote, "failed")
        await remote.quiet()
        assert [status for _, status in seen] == ["working", "failed"]


@requirement("T25-064")
async def test_an_end_that_is_taken_back_is_a_fault_of_the_receiver(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            async with remote.connection.start(requestor.method, requestor.params) as handle:
                await handle.status()
                with pytest.raises(RemoteProtocolError, match="final"):
                    await handle.status()
                assert handle.task.status.value == "completed"

        nursery.start_soon(drive)
        await requestor.accept(remote)
        await poll(requestor, remote, "completed")
        await poll(requestor, remote, "working")


# --- the result -------------------------------------------------------------------------------------------------------


@requirement("T25-044", "T25-091", "T25-126")
async def test_the_result_comes_as_it_was_sent(requestor, autojump_clock):
    result = {**requestor.result, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t-1"}, "x": 1}}
    found = []

    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            found.extend([await handle.result(), await handle.result()])

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await trio.sleep(50)
        await remote.reply(await remote.expect("tasks/result"), result)
        await remote.quiet()
        assert found == [result, result]
        assert remote.unread("tasks/result") == [], "asked for once, given twice"


@requirement("T25-127")
async def test_the_error_comes_as_it_was_sent(requestor, autojump_clock):
    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            with pytest.raises(RequestFailed) as caught:
                await handle.result()
            assert (caught.value.code, caught.value.message, caught.value.data) == (-7, "no", [1])

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await remote.refuse(await remote.expect("tasks/result"), -7, "no", [1])
        await poll(requestor, remote, "failed")


@requirement("T25-094")
async def test_a_task_cancelled_elsewhere_is_told_apart_from_a_failure(requestor, autojump_clock):
    """Whatever error the receiver gives for it: the specification names none."""

    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            with pytest.raises(TaskCancelled, match="by the operator"):
                await handle.result()

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await remote.refuse(await remote.expect("tasks/result"), -32000, "whatever")
        await poll(requestor, remote, "cancelled", statusMessage="by the operator")


@requirement("T25-045", "T25-047")
async def test_giving_up_the_result_is_no_cancel_and_it_can_be_had_later(requestor, autojump_clock):
    found = []

    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            with trio.move_on_after(5) as waited:
                await handle.result()
            assert waited.cancelled_caught
            assert remote.unread("tasks/cancel") == []
            found.append(await handle.result())

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await trio.sleep(10)
        for request in remote.unread("tasks/result")[-1:]:
            await remote.reply(request, requestor.result)
        await remote.quiet()
        assert found == [requestor.result]


# --- cancelling -------------------------------------------------------------------------------------------------------


@requirement("T25-012", "T25-157")
@pytest.mark.parametrize("way", ["break", "raise", "scope"])
async def test_leaving_early_cancels_the_task_and_never_the_request(requestor, way, autojump_clock):
    async def drive(remote) -> None:
        with trio.CancelScope() as scope:
            try:
                async with remote.connection.start(requestor.method, requestor.params):
                    if way == "raise":
                        raise KeyError("mine")
                    if way == "scope":
                        scope.cancel()
                        await trio.sleep_forever()
            except KeyError:
                assert way == "raise"

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        cancel = await remote.expect("tasks/cancel")
        assert cancel["params"] == {"taskId": "t-1"}
        await remote.reply(cancel, requestor.task("cancelled"))
        await remote.quiet()
        assert remote.unread() == []


@requirement("T25-157")
async def test_a_task_that_is_detached_goes_on(requestor, autojump_clock):
    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            assert handle.detach().id == "t-1"

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await remote.quiet()
        assert remote.unread() == []


async def test_a_task_that_is_over_is_not_cancelled_on_leaving(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(follow, requestor, remote, [])
        await requestor.accept(remote)
        await poll(requestor, remote, "completed")
        await remote.quiet()
        assert remote.unread() == []


async def test_a_receiver_that_does_not_answer_the_cancel_holds_nobody_for_ever(requestor, autojump_clock):
    ended = []

    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params):
            pass
        ended.append(trio.current_time())

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await trio.sleep(60)
        assert ended == [pytest.approx(5)]


@requirement("T25-157", "T25-158")
async def test_a_request_that_has_no_task_yet_is_taken_back_with_its_id(requestor, autojump_clock):
    """There is no id to cancel by. Should a task come of it all the same, it is cancelled."""

    async def drive(remote, scope: trio.CancelScope) -> None:
        with scope:
            async with remote.connection.start(requestor.method, requestor.params):
                raise AssertionError("there is no task")

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote, scope := trio.CancelScope())
        request = await remote.expect(requestor.method)
        scope.cancel()
        withdrawn = await remote.expect("notifications/cancelled")
        assert withdrawn["params"]["requestId"] == request["id"]
        await remote.reply(request, {"task": requestor.task()})
        cancel = await remote.expect("tasks/cancel")
        assert cancel["params"] == {"taskId": "t-1"}
        await remote.reply(cancel, requestor.task("cancelled"))


@requirement("T25-113")
async def test_a_refused_cancel_is_told(requestor, autojump_clock):
    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            with pytest.raises(RequestFailed, match="terminal"):
                await handle.cancel()
            handle.detach()

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        await remote.refuse(await remote.expect("tasks/cancel"), -32602, "already in a terminal status")


async def test_leaving_is_no_trouble_where_cancel_was_not_announced(requestor, autojump_clock):
    requests = {"tools": {"call": {}}, "sampling": {"createMessage": {}}, "elicitation": {"create": {}}}
    theirs = {"tools": {}, "sampling": {}, "elicitation": {}, "tasks": {"requests": requests}}
    async with requestor.connect(capabilities=theirs) as remote, trio.open_nursery() as nursery:
        nursery.start_soon(requestor.accept, remote)
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            with pytest.raises(CapabilityMissing):
                await handle.cancel()


# --- progress ---------------------------------------------------------------------------------------------------------


@requirement("T25-108", "T25-162")
async def test_progress_is_followed_past_the_new_task_up_to_its_end(requestor, autojump_clock):
    reports, found = [], []

    async def drive(remote) -> None:
        start = remote.connection.start(requestor.method, requestor.params, on_progress=reports.append)
        async with start as handle:
            found.append(await handle.result())

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        request = await requestor.accept(remote)
        token = request["params"]["_meta"]["progressToken"]
        for step in (1, 2, 3):
            await trio.sleep(10)
            await remote.notify("notifications/progress", {"progressToken": token, "progress": step, "total": 3})
            await remote.quiet()
            assert [report.progress for report in reports] == list(range(1, step + 1))
        await remote.reply(await remote.expect("tasks/result"), requestor.result)
        await remote.quiet()
        assert found == [requestor.result]
        await remote.notify("notifications/progress", {"progressToken": token, "progress": 4})
        await remote.quiet()
        assert len(reports) == 3


@requirement("T25-162")
async def test_a_token_in_use_is_not_given_out_again(requestor, autojump_clock):
    async def drive(remote) -> None:
        start = remote.connection.start(requestor.method, requestor.params, on_progress=lambda report: None)
        async with start as handle:
            await handle.result()

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        tokens, waits = [], []
        for number in range(5):
            nursery.start_soon(drive, remote)
            request = await requestor.accept(remote, taskId=f"t-{number}")
            tokens.append(request["params"]["_meta"]["progressToken"])
            waits.append(await remote.expect("tasks/result"))
        for wait in waits:
            await remote.reply(wait, requestor.result)
        assert len(set(tokens)) == 5


# --- results that do not come -----------------------------------------------------------------------------------------


async def test_the_result_of_what_is_over_is_asked_for_again(requestor, autojump_clock):
    """A receiver that does not wake whoever waits: the in-memory store of mcp 1.30 is one, in an unlucky moment."""
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def wait() -> None:
            async with remote.connection.start(requestor.method, requestor.params) as task:
                nursery.start_soon(task.result)
                await remote.connection.wait_closed()

        nursery.start_soon(wait)
        await requestor.accept(remote)
        await remote.expect("tasks/result")
        await trio.sleep(1000)
        assert remote.unread("tasks/result") == [], "what works may take its time"
        await remote.notify(STATUS, requestor.task("completed"))
        asked = []
        for _ in range(3):
            request = await remote.expect("tasks/result")
            asked.append(trio.current_time() - 1000)
        assert asked == pytest.approx([15, 45, 105])
        await remote.reply(request, requestor.result)
        await trio.sleep(1000)
        assert remote.unread("tasks/result") == []
        await remote.close()


async def test_a_result_that_is_never_given_is_a_fault_of_the_receiver(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def wait() -> None:
            async with remote.connection.start(requestor.method, requestor.params) as task:
                with pytest.raises(RemoteProtocolError, match="its result is not given"):
                    await task.result()

        nursery.start_soon(wait)
        await requestor.accept(remote)
        await remote.expect("tasks/result")
        await remote.notify(STATUS, requestor.task("completed"))
        for _ in range(3):
            await remote.expect("tasks/result")
