"""The receiver of tasks, either side: making a task, and how tasks are worded."""

from datetime import datetime, timedelta, timezone

import pytest
import trio

from mcp_tasks import Context, Limits, RequestFailed
from mcp_tasks.testing import scripted

EPOCH_TEXT = "2025-10-09T08:53:20.000Z"
RELATED = "io.modelcontextprotocol/related-task"
requirement = pytest.mark.requirement


@requirement("T25-001", "T25-002", "T25-025", "T25-029", "T25-031", "T25-053", "T25-059", "T25-061")
async def test_a_task_member_in_params_makes_a_task_on_either_side(receiver, autojump_clock):
    async with receiver.connect() as remote:
        created = await remote.request(receiver.method, {**receiver.params, "task": {"ttl": 60000}})
        assert set(created) <= {"task", "_meta"}
        assert created["task"]["status"] == "working"
        assert await receiver.get(remote, created["task"]) == created["task"]


@requirement("T25-025")
async def test_a_task_member_in_meta_makes_no_task(receiver, autojump_clock):
    async with receiver.connect() as remote:
        id = await remote.ask(receiver.method, {**receiver.params, "_meta": {"task": {}}})
        await remote.quiet()
        assert not remote.answered(id)
        receiver.jobs[0].finish(receiver.result)
        assert await remote.answer(id) == receiver.result


@requirement("T25-027")
async def test_an_empty_task_object_is_a_complete_opt_in(receiver, autojump_clock):
    async with receiver.connect() as remote:
        assert (await receiver.create(remote))["status"] == "working"


@requirement("T25-030")
async def test_the_task_is_answered_at_once_without_waiting_for_the_work(receiver, autojump_clock):
    async with receiver.connect() as remote:
        await receiver.create(remote)
        assert trio.current_time() == 0
        assert not receiver.jobs[0].over


@requirement("T25-029", "T25-032")
async def test_the_new_task_carries_nothing_of_the_outcome_even_of_work_that_does_not_wait(receiver, autojump_clock):
    async def at_once(ctx: Context, params: dict) -> dict:
        return receiver.result

    receiver.does(at_once)
    async with receiver.connect() as remote:
        created = await remote.request(receiver.method, {**receiver.params, "task": {}})
        assert set(created) <= {"task", "_meta"}
        assert not created["task"].keys() & receiver.result.keys()
        assert created["task"]["status"] == "working"
        assert await receiver.fetch(remote, created["task"]) == {
            **receiver.result,
            "_meta": {RELATED: {"taskId": created["task"]["taskId"]}},
        }


@requirement("T25-058", "T25-059", "T25-060", "T25-139")
async def test_ids_are_the_receivers_own_unique_and_not_guessable(receiver, autojump_clock):
    async with receiver.connect() as remote:
        wishes = [{"taskId": "mine", "ttl": 60000} for _ in range(50)]
        ids = [(await receiver.create(remote, **wish))["taskId"] for wish in wishes]
        assert all(isinstance(id, str) for id in ids)
        assert len(set(ids)) == 50
        assert "mine" not in ids
        assert all(len(id) >= 22 for id in ids), "128 bits in base64"
        assert all(len({id[place] for id in ids}) > 1 for place in range(22)), "no constant part"


@requirement("T25-078", "T25-079", "T25-080", "T25-084", "T25-087", "T25-122")
async def test_every_task_object_is_complete(receiver, autojump_clock):
    async with receiver.connect() as remote:
        created = await receiver.create(remote, ttl=60000)
        expected = {
            "taskId": created["taskId"],
            "status": "working",
            "createdAt": EPOCH_TEXT,
            "lastUpdatedAt": EPOCH_TEXT,
            "ttl": 60000,
            "pollInterval": 1000,
        }
        assert created == expected
        assert await receiver.get(remote, created) == expected
        assert (await remote.request("tasks/list"))["tasks"] == [expected]
        cancelled = await receiver.cancel(remote, created)
        pushed = (await remote.expect("notifications/tasks/status"))["params"]
        for task in (cancelled, pushed):
            assert {**expected, "status": "cancelled", "statusMessage": task["statusMessage"]} == task


@requirement("T25-081")
async def test_created_at_stays_and_last_updated_at_follows_each_status(receiver, autojump_clock):
    async def work(ctx: Context, params: dict) -> dict:
        await trio.sleep(1)
        await ctx.ask("which", receiver.question)
        await trio.sleep(1)
        return receiver.result

    receiver.does(work)
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        question = await remote.expect(receiver.question.method)
        await trio.sleep(1)
        await remote.reply(question, receiver.answer)
        await receiver.fetch(remote, task)
        pushed = [message["params"] for message in remote.unread("notifications/tasks/status")]
        start = datetime.fromtimestamp(1_760_000_000, timezone.utc)
        assert {task["createdAt"] for task in pushed} == {EPOCH_TEXT}
        assert [
            (task["status"], datetime.fromisoformat(task["lastUpdatedAt"].replace("Z", "+00:00")) - start)
            for task in pushed
        ] == [
            ("input_required", timedelta(seconds=1)),
            ("working", timedelta(seconds=2)),
            ("completed", timedelta(seconds=3)),
        ]


@requirement("T25-081")
async def test_looking_at_a_task_does_not_change_its_timestamps(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        await trio.sleep(5)
        assert await receiver.get(remote, task) == task
        assert (await remote.request("tasks/list"))["tasks"] == [task]


# --- ttl --------------------------------------------------------------------------------------------------------------


@requirement("T25-026", "T25-082", "T25-083", "T25-147")
@pytest.mark.parametrize(
    ("wish", "granted"),
    [
        ({"ttl": 1234}, 1234),
        ({"ttl": 1.5}, 2),
        ({"ttl": 0}, 0),
        ({"ttl": 5_000_000}, 2_000_000),
        ({}, 600_000),
    ],
)
async def test_the_granted_ttl_is_told(receiving, wish, granted, autojump_clock):
    """What was asked for, up to the ceiling; the default where nothing was. Zero is zero, and not "for ever"."""
    receiver = receiving(limits=Limits(default_ttl_ms=600_000, max_ttl_ms=2_000_000))
    async with receiver.connect() as remote:
        created = await remote.request(receiver.method, {**receiver.params, "task": wish})
        assert created["task"]["ttl"] == granted
        if granted:
            assert (await receiver.get(remote, created["task"]))["ttl"] == granted
        else:
            with pytest.raises(RequestFailed, match="not found"):
                await receiver.get(remote, created["task"])


@requirement("T25-140", "T25-147")
async def test_nobody_keeps_a_task_for_ever_by_default(receiver, autojump_clock):
    async with receiver.connect() as remote:
        assert (await receiver.create(remote))["ttl"] == Limits().default_ttl_ms
        assert (await receiver.create(remote, ttl=10**15))["ttl"] == Limits().max_ttl_ms


@requirement("T25-028")
@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"ttl": None}, r"\$\.params\.task\.ttl: expected number, got null"),
        ({"ttl": "60000"}, r"\$\.params\.task\.ttl: expected number, got string"),
        ({"ttl": True}, r"\$\.params\.task\.ttl: expected number, got boolean"),
        ({"ttl": -1}, r"\$\.params\.task\.ttl: .*got -1"),
        (True, r"\$\.params\.task: expected object, got boolean"),
        (None, r"\$\.params\.task: expected object, got null"),
        ([], r"\$\.params\.task: expected object, got array"),
    ],
)
async def test_a_malformed_wish_is_refused_with_its_path_and_makes_nothing(receiver, wish, complaint, autojump_clock):
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed, match=complaint) as caught:
            await remote.request(receiver.method, {**receiver.params, "task": wish})
        assert caught.value.code == -32602
        assert await remote.request("tasks/list") == {"tasks": []}
        assert receiver.jobs == []


@requirement("T25-085", "T25-086", "T25-135", "T25-148")
async def test_the_lifetime_counts_from_creation_whatever_happens_meanwhile(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote, ttl=10_000)
        await trio.sleep(9)
        receiver.jobs[0].finish(receiver.result)
        await receiver.fetch(remote, task)
        await trio.sleep(0.999)
        assert (await receiver.get(remote, task))["status"] == "completed"
        await trio.sleep(0.001)
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            with pytest.raises(RequestFailed, match="not found") as caught:
                await remote.request(method, {"taskId": task["taskId"]})
            assert caught.value.code == -32602
        assert len(receiver.peer.tasks.store) == 0


@requirement("T25-086", "T25-093", "T25-148")
async def test_a_running_task_ends_with_its_lifetime_and_whoever_waits_is_told(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote, ttl=10_000)
        waiting = [await receiver.begin_fetch(remote, task) for _ in range(3)]
        await trio.sleep(10)
        await remote.quiet()
        for id in waiting:
            assert remote.answered(id)
            with pytest.raises(RequestFailed, match="expired") as caught:
                await remote.answer(id)
            assert caught.value.code == -32602
        assert receiver.jobs[0].over
        assert len(receiver.peer.tasks.store) == 0


# --- related-task metadata, and what a model may be told meanwhile ----------------------------------------------------


@requirement("T25-095", "T25-096", "T25-100")
async def test_the_new_task_is_tagged_with_its_own_id(receiver, autojump_clock):
    """The general rule asks for it and no exception lists it; we send it."""
    async with receiver.connect() as remote:
        created = await remote.request(receiver.method, {**receiver.params, "task": {}})
        assert created["_meta"] == {RELATED: {"taskId": created["task"]["taskId"]}}


@requirement("T25-033", "T25-034")
@pytest.mark.parametrize("immediate", [None, "The build is under way."])
async def test_a_tool_may_have_something_to_say_meanwhile(make_peer, immediate, autojump_clock):
    peer = make_peer()
    options = {} if immediate is None else {"immediate": immediate}

    @peer.tool(task="optional", **options)
    async def build() -> str:
        return "built"

    async with scripted(peer) as remote:
        created = await remote.request("tools/call", {"name": "build", "task": {}})
        assert created["_meta"].get("io.modelcontextprotocol/model-immediate-response") == immediate
        assert ("io.modelcontextprotocol/model-immediate-response" in created["_meta"]) is (immediate is not None)
