"""The receiver of tasks: lists, owners, and limits."""

import pytest
import trio

from mcp_tasks import Limits, RequestFailed

requirement = pytest.mark.requirement


async def listed(remote) -> list[list[str]]:
    """The ids in the list, page by page."""
    pages = []
    params: dict = {}
    while True:
        page = await remote.request("tasks/list", params)
        assert page.keys() <= {"tasks", "nextCursor"}
        pages.append([task["taskId"] for task in page["tasks"]])
        if "nextCursor" not in page:
            return pages
        params = {"cursor": page["nextCursor"]}


# --- listing ----------------------------------------------------------------------------------------------------------


@requirement("T25-054", "T25-109", "T25-110", "T25-112")
@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
async def test_the_list_comes_in_pages_with_every_task_once(receiving, count, sizes, autojump_clock):
    receiver = receiving(limits=Limits(page_size=3))
    async with receiver.connect() as remote:
        ids = [(await receiver.create(remote))["taskId"] for _ in range(count)]
        pages = await listed(remote)
        assert [len(page) for page in pages] == sizes
        assert [id for page in pages for id in page] == ids


@requirement("T25-054", "T25-112")
async def test_the_list_has_tasks_of_every_status_as_get_words_them(receiver, autojump_clock):
    async with receiver.connect() as remote:
        tasks = [await receiver.create(remote) for _ in range(4)]
        receiver.jobs[1].finish(receiver.result)
        receiver.jobs[2].fail(RequestFailed(-1, "no"))
        await receiver.cancel(remote, tasks[3])
        await remote.quiet()
        found = (await remote.request("tasks/list"))["tasks"]
        assert [task["status"] for task in found] == ["working", "completed", "failed", "cancelled"]
        assert found == [await receiver.get(remote, task) for task in tasks]


@requirement("T25-110", "T25-112")
async def test_a_cursor_stays_right_while_tasks_come_and_go(receiving, autojump_clock):
    receiver = receiving(limits=Limits(page_size=2))
    async with receiver.connect() as remote:
        ids = [(await receiver.create(remote, ttl=ttl))["taskId"] for ttl in (1000, 1000, 9000, 9000, 9000)]
        first = await remote.request("tasks/list")
        assert [task["taskId"] for task in first["tasks"]] == ids[:2]
        await trio.sleep(2)
        ids.append((await receiver.create(remote))["taskId"])
        second = await remote.request("tasks/list", {"cursor": first["nextCursor"]})
        third = await remote.request("tasks/list", {"cursor": second["nextCursor"]})
        assert [task["taskId"] for task in second["tasks"] + third["tasks"]] == ids[2:]
        assert "nextCursor" not in third


@requirement("T25-131", "T25-134")
@pytest.mark.parametrize("cursor", ["", "0", "made-up", "é", "AAAA" * 8, 7, None, {}])
async def test_a_cursor_of_nobodys_making_is_refused(receiver, cursor, autojump_clock):
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed, match=r"\$\.params\.cursor") as caught:
            await remote.request("tasks/list", {"cursor": cursor})
        assert caught.value.code == -32602


@requirement("T25-131")
async def test_an_edited_cursor_is_refused(receiving, autojump_clock):
    receiver = receiving(limits=Limits(page_size=1))
    async with receiver.connect() as remote:
        for _ in range(2):
            await receiver.create(remote)
        cursor = (await remote.request("tasks/list"))["nextCursor"]
        assert len((await remote.request("tasks/list", {"cursor": cursor}))["tasks"]) == 1
        for place in range(len(cursor) - 1):
            edited = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
            with pytest.raises(RequestFailed):
                await remote.request("tasks/list", {"cursor": edited})


# --- owners -----------------------------------------------------------------------------------------------------------


@requirement("T25-137", "T25-142", "T25-143", "T25-144")
async def test_a_task_is_its_owners_alone_and_to_others_is_as_if_it_were_not(receiver, autojump_clock):
    async with (
        receiver.peer,
        receiver.connect(principal="ada") as ada,
        receiver.connect(principal="bob") as bob,
    ):
        hers, his = await receiver.create(ada), await receiver.create(bob)
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            foreign, unknown = {"taskId": hers["taskId"]}, {"taskId": "no-such-task"}
            errors = [(await bob.response(await bob.ask(method, params)))["error"] for params in (foreign, unknown)]
            assert errors[0]["code"] == errors[1]["code"] == -32602
            assert errors[0]["message"].replace(hers["taskId"], "") == errors[1]["message"].replace("no-such-task", "")
            assert errors[0].keys() == errors[1].keys()
        assert [await listed(remote) for remote in (ada, bob)] == [[[hers["taskId"]]], [[his["taskId"]]]]
        assert (await receiver.get(ada, hers))["status"] == "working"


@requirement("T25-144")
async def test_a_cursor_is_its_owners_alone(receiving, autojump_clock):
    receiver = receiving(limits=Limits(page_size=1))
    async with (
        receiver.peer,
        receiver.connect(principal="ada") as ada,
        receiver.connect(principal="bob") as bob,
    ):
        for remote in (ada, ada, bob, bob):
            await receiver.create(remote)
        cursor = (await ada.request("tasks/list"))["nextCursor"]
        with pytest.raises(RequestFailed) as caught:
            await bob.request("tasks/list", {"cursor": cursor})
        assert caught.value.code == -32602


@requirement("T25-137", "T25-144")
async def test_without_a_principal_each_connection_is_an_owner(receiver, autojump_clock):
    async with receiver.connect() as one, receiver.connect() as other:
        task = await receiver.create(one)
        with pytest.raises(RequestFailed, match="not found"):
            await receiver.get(other, task)
        assert await listed(other) == [[]]
        assert await listed(one) == [[task["taskId"]]]


@requirement("T25-112", "T25-137")
async def test_an_owner_finds_the_same_tasks_on_every_connection(receiver, autojump_clock):
    async with (
        receiver.peer,
        receiver.connect(principal="ada") as one,
        receiver.connect(principal="ada") as other,
    ):
        task = await receiver.create(one)
        assert await receiver.get(other, task) == task
        assert await listed(other) == [[task["taskId"]]]
        id = await receiver.begin_fetch(other, task)
        receiver.jobs[0].finish(receiver.result)
        assert (await other.answer(id)).items() >= receiver.result.items()


# --- limits -----------------------------------------------------------------------------------------------------------


@requirement("T25-146", "T25-134")
async def test_unfinished_tasks_are_limited_for_each_requestor(receiving, autojump_clock):
    receiver = receiving(limits=Limits(running_tasks=2))
    async with (
        receiver.peer,
        receiver.connect(principal="ada") as ada,
        receiver.connect(principal="bob") as bob,
    ):
        for _ in range(2):
            await receiver.create(ada)
        with pytest.raises(RequestFailed, match="limit is 2") as caught:
            await receiver.create(ada)
        assert (caught.value.code, caught.value.data) == (-32603, {"limit": "running_tasks", "value": 2})
        await receiver.create(bob)
        receiver.jobs[0].finish(receiver.result)
        await ada.quiet()
        await receiver.create(ada)
        assert len(receiver.jobs) == 4


@requirement("T25-146")
async def test_many_at_once_cannot_pass_the_limit(receiving, autojump_clock):
    receiver = receiving(limits=Limits(running_tasks=3))
    async with receiver.connect() as remote:
        ids = [await remote.ask(receiver.method, {**receiver.params, "task": {}}) for _ in range(10)]
        responses = [await remote.response(id) for id in ids]
        assert ["result" in response for response in responses] == [True] * 3 + [False] * 7
        await remote.quiet()
        assert len(receiver.jobs) == 3


@requirement("T25-146", "T25-148")
async def test_retained_tasks_are_limited_until_their_time_is_over(receiving, autojump_clock):
    receiver = receiving(limits=Limits(retained_tasks=2))
    async with receiver.connect() as remote:
        for number in range(2):
            await receiver.create(remote, ttl=5000)
            receiver.jobs[number].finish(receiver.result)
        await remote.quiet()
        with pytest.raises(RequestFailed, match="limit is 2"):
            await receiver.create(remote)
        await trio.sleep(5)
        await receiver.create(remote)


@requirement("T25-145")
async def test_requests_at_once_are_limited(receiving, autojump_clock):
    """No rate, but a bound: who floods us with waits gets errors, and everybody else is served."""
    receiver = receiving(limits=Limits(in_flight=5))
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        waiting = [await receiver.begin_fetch(remote, task) for _ in range(5)]
        with pytest.raises(RequestFailed, match="limit is 5") as caught:
            await receiver.fetch(remote, task)
        assert caught.value.data == {"limit": "in_flight", "value": 5}
        await remote.notify("notifications/cancelled", {"requestId": waiting[0]})
        await remote.request("ping")
        assert await receiver.get(remote, task) == task


@requirement("T25-148")
async def test_expired_tasks_go_without_being_asked_for(receiver, autojump_clock):
    async with receiver.connect() as remote:
        for ttl in (3000, 1000, 2000):
            await receiver.create(remote, ttl=ttl)
        store = receiver.peer.tasks.store
        kept = [len(store)]
        for _ in range(3):
            await trio.sleep(1)
            await remote.quiet()
            kept.append(len(store))
        assert kept == [3, 2, 1, 0]
        assert all(job.over for job in receiver.jobs)
