"""The receiver of tasks: waiting for the outcome, and getting it."""

import pytest
import trio

from mcp_tasks import Context, InvalidParams, Limits, MemoryTaskStore, RequestFailed, RequestRejected
from mcp_tasks.testing import scripted

RELATED = "io.modelcontextprotocol/related-task"
requirement = pytest.mark.requirement


def tagged(result: dict, task: dict) -> dict:
    return {**result, "_meta": {**result.get("_meta", {}), RELATED: {"taskId": task["taskId"]}}}


# --- waiting ----------------------------------------------------------------------------------------------------------


@requirement("T25-088")
async def test_the_result_of_a_finished_task_is_answered_at_once(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        receiver.jobs[0].finish(receiver.result)
        await remote.quiet()
        id = await receiver.begin_fetch(remote, task)
        assert remote.answered(id)
        assert await remote.answer(id) == tagged(receiver.result, task)


@requirement("T25-089")
async def test_the_result_of_a_working_task_is_held_back_until_it_is_over(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        id = await receiver.begin_fetch(remote, task)
        await trio.sleep(100)
        assert not remote.answered(id)
        receiver.jobs[0].finish(receiver.result)
        assert await remote.answer(id) == tagged(receiver.result, task)


@requirement("T25-090")
async def test_the_result_stays_held_back_while_questions_are_exchanged(receiver, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        await ctx.ask("a", receiver.question)
        await ctx.ask("b", receiver.question)
        return receiver.result

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        id = await receiver.begin_fetch(remote, task)
        for _ in "ab":
            question = await remote.expect(receiver.question.method)
            await trio.sleep(100)
            assert not remote.answered(id)
            await remote.reply(question, receiver.answer)
        assert await remote.answer(id) == tagged(receiver.result, task)


@requirement("T25-043")
async def test_a_waiting_result_holds_up_nothing_else(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        id = await receiver.begin_fetch(remote, task)
        assert await receiver.get(remote, task) == task
        assert (await remote.request("tasks/list"))["tasks"] == [task]
        await remote.request("ping")
        assert not remote.answered(id)
        receiver.jobs[0].finish(receiver.result)
        await remote.answer(id)


@requirement("T25-089")
@pytest.mark.parametrize("how", ["finish", "fail"])
async def test_all_who_wait_are_answered(receiver, how, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        waiting = [await receiver.begin_fetch(remote, task) for _ in range(20)]
        if how == "finish":
            receiver.jobs[0].finish(receiver.result)
            assert [await remote.answer(id) for id in waiting] == [tagged(receiver.result, task)] * 20
        else:
            receiver.jobs[0].fail(InvalidParams("no"))
            responses = [await remote.response(id) for id in waiting]
            assert [response["error"] for response in responses] == [{"code": -32602, "message": "no"}] * 20


@requirement("T25-092", "T25-094")
async def test_whoever_waits_is_released_by_a_cancel(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        waiting = [await receiver.begin_fetch(remote, task) for _ in range(3)]
        await receiver.cancel(remote, task)
        for id in waiting:
            with pytest.raises(RequestFailed, match="cancelled") as caught:
                await remote.answer(id)
            assert (caught.value.code, caught.value.data) == (-32603, {"taskId": task["taskId"]})


@requirement("T25-045", "T25-047")
async def test_giving_up_a_result_ends_that_wait_alone(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        given_up, kept = [await receiver.begin_fetch(remote, task) for _ in range(2)]
        await remote.notify("notifications/cancelled", {"requestId": given_up})
        await remote.quiet()
        assert (await receiver.get(remote, task))["status"] == "working"
        again = await receiver.begin_fetch(remote, task)
        receiver.jobs[0].finish(receiver.result)
        assert await remote.answer(kept) == await remote.answer(again) == tagged(receiver.result, task)
        await remote.quiet()
        assert not remote.answered(given_up)


# --- the outcome ------------------------------------------------------------------------------------------------------


@requirement("T25-044", "T25-091", "T25-106", "T25-128")
async def test_the_result_is_that_of_the_plain_request_and_names_its_task(receiver, autojump_clock):
    own_meta = {**receiver.result, "_meta": {"example.com/k": 1}}
    async with receiver.connect() as remote:
        plain = await remote.ask(receiver.method, receiver.params)
        task = await receiver.create(remote)
        for job in receiver.jobs:
            job.finish(own_meta)
        assert await remote.answer(plain) == own_meta
        assert await receiver.fetch(remote, task) == tagged(own_meta, task)


@requirement("T25-044")
async def test_each_task_has_its_own_result(receiver, autojump_clock):
    async with receiver.connect() as remote:
        first, second = await receiver.create(remote), await receiver.create(remote)
        receiver.jobs[1].finish(receiver.other_result)
        receiver.jobs[0].finish(receiver.result)
        assert await receiver.fetch(remote, first) == tagged(receiver.result, first)
        assert await receiver.fetch(remote, second) == tagged(receiver.other_result, second)


@requirement("T25-046")
async def test_the_outcome_is_read_and_not_consumed(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        receiver.jobs[0].finish(receiver.result)
        results = [await receiver.fetch(remote, task) for _ in range(3)]
        assert results == [tagged(receiver.result, task)] * 3


@requirement("T25-088", "T25-091", "T25-124", "T25-127")
@pytest.mark.parametrize(
    "error",
    [
        RequestFailed(-32099, "very own", {"a": [1, None]}),
        RequestFailed(12345, "no data"),
        InvalidParams("not like that"),
        RequestRejected("the user said no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_is_that_of_the_plain_request(receiver, error, autojump_clock):
    async with receiver.connect() as remote:
        plain = await remote.ask(receiver.method, receiver.params)
        task = await receiver.create(remote)
        for job in receiver.jobs:
            job.fail(error)
        expected = (await remote.response(plain))["error"]
        for _ in range(2):
            id = await receiver.begin_fetch(remote, task)
            assert (await remote.response(id))["error"] == expected
        assert (await receiver.get(remote, task))["status"] == "failed"


@requirement("T25-124", "T25-132", "T25-134")
@pytest.mark.parametrize("wrong", [ZeroDivisionError("the secret"), {"content": object()}, {"role": "x"}, None])
async def test_a_handler_that_breaks_fails_its_task_and_leaks_nothing(receiver, wrong, caplog, autojump_clock):
    """A result that is none or that is no JSON is an error at this end, not a task that never ends."""
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        if isinstance(wrong, Exception):
            receiver.jobs[0].fail(wrong)
        elif wrong is None:
            receiver.jobs[0].finish(["no object"])
        else:
            receiver.jobs[0].finish(wrong)
        with pytest.raises(RequestFailed) as caught:
            await receiver.fetch(remote, task)
        assert caught.value.code == -32603
        assert "secret" not in caught.value.message
        assert (await receiver.get(remote, task))["status"] == "failed"
        assert "Traceback" in caplog.text


@requirement("T25-126", "T25-128")
async def test_a_tool_result_with_is_error_is_the_same_as_that_of_a_plain_call(make_peer, autojump_clock):
    peer = make_peer()
    result = {"content": [{"type": "text", "text": "no"}], "isError": True, "structuredContent": {"why": 7}}

    @peer.handle("tools/call", task="optional")
    async def call(ctx: Context, params: dict) -> dict:
        return result

    async with scripted(peer) as remote:
        assert await remote.request("tools/call", {"name": "t"}) == result
        task = (await remote.request("tools/call", {"name": "t", "task": {}}))["task"]
        assert await remote.request("tasks/result", {"taskId": task["taskId"]}) == tagged(result, task)


class BrokenStore(MemoryTaskStore):
    """A store that loses its disk once `broken` is set."""

    broken = False

    async def get(self, id):
        self._check()
        return await super().get(id)

    async def page(self, principal, after, limit):
        if limit != 100:  # not when the connection clears up
            self._check()
        return await super().page(principal, after, limit)

    async def create(self, record, room=None):
        self._check()
        await super().create(record, room)

    def _check(self) -> None:
        if self.broken:
            raise OSError("disk secret")


@requirement("T25-132")
async def test_a_fault_of_ours_is_an_internal_error_that_leaks_nothing(receiving, caplog, autojump_clock):
    store = BrokenStore()
    receiver = receiving(store=store, limits=Limits(page_size=7))
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        receiver.jobs[0].finish(receiver.result)
        await remote.quiet()
        store.broken = True
        params = {"taskId": task["taskId"]}
        for method in ("tasks/get", "tasks/result", "tasks/cancel", "tasks/list", receiver.method):
            with pytest.raises(RequestFailed) as caught:
                await remote.request(method, {**receiver.params, "task": {}} if method == receiver.method else params)
            assert caught.value.code == -32603, method
            assert "secret" not in caught.value.message
        store.broken = False
        assert (await receiver.get(remote, task))["status"] == "completed"
        assert len(receiver.jobs) == 1
