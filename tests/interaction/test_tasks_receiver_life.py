"""The receiver of tasks: from working to the end, asking on the way, and telling of it."""

import pytest
import trio

from mcp_tasks import CapabilityMissing, Context, InvalidParams, RequestFailed, ToolError
from mcp_tasks.testing import scripted

RELATED = "io.modelcontextprotocol/related-task"
STATUS = "notifications/tasks/status"
STATUSES = {"working", "input_required", "completed", "failed", "cancelled"}
requirement = pytest.mark.requirement


def asking(receiver, count: int = 1):
    """Work that asks so many questions at once and is done when all are answered."""

    async def work(ctx: Context, params: dict) -> dict:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(ctx.ask, f"q{number}", receiver.question)
        return receiver.result

    return work


async def end(receiver, remote, task: dict, how: str) -> None:
    if how == "completed":
        receiver.jobs[0].finish(receiver.result)
    elif how == "failed":
        receiver.jobs[0].fail(InvalidParams("wrong after all"))
    else:
        await receiver.cancel(remote, task)
    await remote.quiet()


# --- statuses ---------------------------------------------------------------------------------------------------------


@requirement("T25-062", "T25-064", "T25-065", "T25-124")
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_working_leads_to_each_end_and_an_end_is_final(receiver, how, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        await end(receiver, remote, task, how)
        assert (await receiver.get(remote, task))["status"] == how
        for _ in range(2):
            with pytest.raises(RequestFailed, match="already"):
                await receiver.cancel(remote, task)
        await trio.sleep(10)
        assert (await receiver.get(remote, task))["status"] == how
        assert receiver.statuses(remote) == [how]


@requirement("T25-062", "T25-063", "T25-073", "T25-076")
async def test_a_task_that_asks_is_input_required_until_it_is_answered(receiver, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        await ctx.ask("q", receiver.question)
        return await receiver.work(ctx, params)

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        question = await remote.expect(receiver.question.method)
        assert (await receiver.get(remote, task))["status"] == "input_required"
        await remote.reply(question, receiver.answer)
        await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == "working"
        receiver.jobs[0].finish(receiver.result)
        await receiver.fetch(remote, task)
        assert receiver.statuses(remote) == ["input_required", "working", "completed"]
        assert set(receiver.statuses(remote)) <= STATUSES


@requirement("T25-063")
@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
async def test_input_required_leads_to_each_end(receiver, how, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.ask, "q", receiver.question)
            try:
                return await receiver.work(ctx, params)
            finally:
                nursery.cancel_scope.cancel()

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        await remote.expect(receiver.question.method)
        assert (await receiver.get(remote, task))["status"] == "input_required"
        await end(receiver, remote, task, how)
        last = await receiver.get(remote, task)
        # A handler that raises does so in a group here, because its nursery does.
        assert last["status"] == how


@requirement("T25-073", "T25-077")
async def test_a_task_stays_input_required_while_any_question_is_open(receiver, autojump_clock):
    receiver.does(asking(receiver, 3))
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        questions = [await remote.expect(receiver.question.method) for _ in range(3)]
        for question in questions:
            assert (await receiver.get(remote, task))["status"] == "input_required"
            await remote.reply(question, receiver.answer)
            await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == "completed"


@requirement("T25-076")
async def test_a_question_that_is_refused_is_over_too(receiver, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        with pytest.raises(RequestFailed, match="no thanks"):
            await ctx.ask("q", receiver.question)
        return await receiver.work(ctx, params)

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        await remote.refuse(await remote.expect(receiver.question.method), -1, "no thanks")
        await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == "working"


@requirement("T25-073")
async def test_what_the_requestor_cannot_be_asked_fails_in_the_handler(receiver, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        with pytest.raises(CapabilityMissing):
            await ctx.ask("q", receiver.question)
        return await receiver.work(ctx, params)

    receiver.does(work)
    async with receiver.connect(capabilities={}) as remote:
        task = await receiver.create(remote)
        assert len(receiver.jobs) == 1
        assert (await receiver.get(remote, task))["status"] == "working"
        assert remote.unread() == []


@requirement("T25-066")
async def test_completed_is_not_said_before_the_result_can_be_had(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        receiver.jobs[0].finish(receiver.result)
        while (await remote.expect(STATUS))["params"]["status"] != "completed":
            pass
        await receiver.begin_fetch(remote, task)
        assert await receiver.fetch(remote, task)
        assert trio.current_time() == 0


@requirement("T25-064", "T25-067")
async def test_a_finished_task_is_never_relabelled_cancelled(receiver, autojump_clock):
    """Not by the end of the connection either."""
    async with receiver.peer:
        async with receiver.connect(principal="ada") as remote:
            task = await receiver.create(remote)
            receiver.jobs[0].finish(receiver.result)
            await receiver.fetch(remote, task)
        async with receiver.connect(principal="ada") as remote:
            assert (await receiver.get(remote, task))["status"] == "completed"
            assert await receiver.fetch(remote, task)


# --- messages ---------------------------------------------------------------------------------------------------------


@requirement("T25-068", "T25-123")
async def test_the_status_message_may_change_without_the_status(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        for number in (1, 2):
            await trio.sleep(1)
            await receiver.jobs[0].context.report(f"step {number}")
            now = await receiver.get(remote, task)
            assert (now["status"], now["statusMessage"]) == ("working", f"step {number}")
            assert now["createdAt"] == task["createdAt"]
            assert now["lastUpdatedAt"] > task["lastUpdatedAt"]


@requirement("T25-123", "T25-124", "T25-129")
async def test_a_failure_is_explained(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        receiver.jobs[0].fail(RequestFailed(-32050, "the model is out of order"))
        await remote.quiet()
        now = await receiver.get(remote, task)
        assert (now["status"], now["statusMessage"]) == ("failed", "the model is out of order")


@requirement("T25-125", "T25-126", "T25-129")
async def test_a_tool_result_with_is_error_is_a_failure_with_a_result(make_peer, autojump_clock):
    peer = make_peer()

    @peer.tool(task="optional")
    async def doomed() -> str:
        raise ToolError("no such file")

    async with scripted(peer) as remote:
        task = (await remote.request("tools/call", {"name": "doomed", "task": {}}))["task"]
        result = await remote.request("tasks/result", {"taskId": task["taskId"]})
        assert result["isError"] is True
        assert result["content"] == [{"type": "text", "text": "no such file"}]
        now = await remote.request("tasks/get", {"taskId": task["taskId"]})
        assert (now["status"], now["statusMessage"]) == ("failed", "no such file")


@requirement("T25-048", "T25-049", "T25-050", "T25-107")
async def test_each_status_is_pushed_flat_like_the_answer_to_get(receiver, autojump_clock):
    receiver.does(asking(receiver))
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        question = await remote.expect(receiver.question.method)
        await remote.quiet()
        pushed = remote.unread(STATUS)[-1]
        assert pushed == {"jsonrpc": "2.0", "method": STATUS, "params": await receiver.get(remote, task)}
        await remote.reply(question, receiver.answer)
        await receiver.fetch(remote, task)
        assert remote.unread(STATUS)[-1]["params"] == await receiver.get(remote, task)
        assert all("_meta" not in message["params"] for message in remote.unread(STATUS))


# --- whose message it is ----------------------------------------------------------------------------------------------


@requirement("T25-074", "T25-095", "T25-096", "T25-097")
async def test_what_a_task_asks_is_tagged_with_that_task(receiver, autojump_clock):
    receiver.does(asking(receiver))
    async with receiver.connect() as remote:
        tasks = [await receiver.create(remote) for _ in range(2)]
        questions = [await remote.expect(receiver.question.method) for _ in range(2)]
        assert [question["params"]["_meta"] for question in questions] == [
            {RELATED: {"taskId": task["taskId"]}} for task in tasks
        ]
        for question in questions:
            await remote.reply(question, receiver.answer)
        for task in tasks:
            await receiver.fetch(remote, task)


@requirement("T25-074")
async def test_what_a_plain_request_asks_is_not_tagged(receiver, autojump_clock):
    receiver.does(asking(receiver))
    async with receiver.connect() as remote:
        id = await remote.ask(receiver.method, receiver.params)
        question = await remote.expect(receiver.question.method)
        assert "_meta" not in question["params"]
        await remote.reply(question, receiver.answer)
        assert await remote.answer(id) == receiver.result


@requirement("T25-104", "T25-105", "T25-107")
async def test_answers_that_name_the_task_anyway_are_not_tagged(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        answers = [
            await receiver.get(remote, task),
            await remote.request("tasks/list"),
            await receiver.cancel(remote, task),
        ]
        assert all("_meta" not in answer for answer in answers)


@requirement("T25-101", "T25-103")
@pytest.mark.parametrize("related", [{"taskId": "other"}, {"taskId": 7}, {}, "x", None])
async def test_the_tag_of_a_request_about_a_task_is_ignored(receiver, related, autojump_clock):
    async with receiver.connect() as remote:
        first, second = await receiver.create(remote), await receiver.create(remote)
        if related == {"taskId": "other"}:
            related = {"taskId": second["taskId"]}
        params = {"taskId": first["taskId"], "_meta": {RELATED: related}}
        assert (await remote.request("tasks/get", params))["taskId"] == first["taskId"]
        assert (await remote.request("tasks/cancel", params))["taskId"] == first["taskId"]
        with pytest.raises(RequestFailed) as caught:
            await remote.request("tasks/result", params)
        assert caught.value.data == {"taskId": first["taskId"]}
        assert (await receiver.get(remote, second))["status"] == "working"


@requirement("T25-039", "T25-101", "T25-130", "T25-134")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"taskId": "no-such-task"}, "Task not found: no-such-task"),
        ({"taskId": ""}, "Task not found"),
        ({"taskId": 7}, r"\$\.params\.taskId: expected string, got integer"),
        ({"taskId": None}, r"\$\.params\.taskId: expected string, got null"),
        ({"taskId": {"taskId": "t"}}, r"\$\.params\.taskId: expected string, got object"),
        ({}, r"\$\.params\.taskId: required"),
    ],
)
async def test_an_unknown_or_malformed_id_is_refused(receiver, method, params, complaint, autojump_clock):
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed, match=complaint) as caught:
            await remote.request(method, params)
        assert caught.value.code == -32602
