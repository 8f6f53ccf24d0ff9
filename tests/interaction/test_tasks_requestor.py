"""The requestor of tasks, either side: what it asks for, and of whom."""

import pytest
import trio

from mcp_tasks import CapabilityMissing, LocalProtocolError, RemoteProtocolError, RequestFailed, Side
from mcp_tasks.testing import scripted

RELATED = "io.modelcontextprotocol/related-task"
requirement = pytest.mark.requirement

ALL_BUT_TASKS = {"tools": {}, "sampling": {}, "elicitation": {}}


async def result_of(requestor, remote, found: list, **options) -> None:
    async with remote.connection.start(requestor.method, requestor.params, **options) as handle:
        found.append(await handle.result())


# --- capabilities -----------------------------------------------------------------------------------------------------


@requirement("T25-008", "T25-009", "T25-010")
@pytest.mark.parametrize(
    "tasks",
    [
        {},
        {"tasks": {}},
        {"tasks": {"list": {}, "cancel": {}}},
        {"tasks": {"requests": {}}},
        {"tasks": {"requests": {"tools": {}, "sampling": {}, "elicitation": {}}}},
    ],
    ids=str,
)
async def test_no_task_is_asked_of_who_did_not_announce_them(requestor, tasks, autojump_clock):
    async with requestor.connect(capabilities={**ALL_BUT_TASKS, **tasks}) as remote:
        with pytest.raises(CapabilityMissing, match=f"{requestor.method} as a task"):
            async with remote.connection.start(requestor.method, requestor.params):
                pass
        await remote.quiet()
        assert remote.unread() == []


@requirement("T25-008", "T25-010")
async def test_a_client_is_asked_for_exactly_what_it_announced(make_peer, autojump_clock):
    peer = make_peer()
    theirs = {**ALL_BUT_TASKS, "tasks": {"requests": {"sampling": {"createMessage": {}}}}}
    async with scripted(peer, capabilities=theirs) as remote:
        with pytest.raises(CapabilityMissing, match="elicitation/create as a task"):
            async with remote.connection.start("elicitation/create", {"message": "?", "requestedSchema": {}}):
                pass
        assert remote.unread() == []


@requirement("T25-011", "T25-012")
async def test_list_and_cancel_are_used_only_where_they_were_announced(requestor, autojump_clock):
    requests = {"tools": {"call": {}}, "sampling": {"createMessage": {}}, "elicitation": {"create": {}}}
    async with requestor.connect(capabilities={**ALL_BUT_TASKS, "tasks": {"requests": requests}}) as remote:
        with pytest.raises(CapabilityMissing, match=r"tasks\.list"):
            async for _ in remote.connection.list_tasks():
                pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requestor.accept, remote)
            async with remote.connection.start(requestor.method, requestor.params) as handle:
                with pytest.raises(CapabilityMissing, match=r"tasks\.cancel"):
                    await handle.cancel()
        await remote.quiet()
        assert remote.unread() == []


# --- tools ------------------------------------------------------------------------------------------------------------


def tool(support: str | None) -> dict:
    return {"name": "t", "inputSchema": {"type": "object"}} | (
        {} if support is None else {"execution": {} if support == "" else {"taskSupport": support}}
    )


async def call_tool(remote, support: str | None, found: list, **options) -> dict:
    """Have `call_tool` run, with the script listing that tool; the call it makes is returned."""

    async def run() -> None:
        found.append(await remote.connection.call_tool("t", {}, **options))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await remote.reply(await remote.expect("tools/list"), {"tools": [tool(support)]})
        call = await remote.expect("tools/call")
        if "task" in call["params"]:
            await remote.reply(call, {"task": TASK})
            call_for_result = await remote.expect("tasks/result")
            await remote.reply(call_for_result, {"content": []})
        else:
            await remote.reply(call, {"content": []})
    return call


TASK = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:30:00Z",
    "ttl": 60000,
}


@requirement("T25-017", "T25-018", "T25-020", "T25-022")
@pytest.mark.parametrize(
    ("support", "choice", "as_task"),
    [
        (None, None, False),
        ("", None, False),
        ("forbidden", None, False),
        ("optional", None, False),
        ("optional", True, True),
        ("optional", False, False),
        ("required", None, True),
        ("required", True, True),
    ],
)
async def test_a_tool_is_called_as_its_definition_allows(make_peer, support, choice, as_task, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT) as remote:
        found: list = []
        call = await call_tool(remote, support, found, task=choice)
        assert ("task" in call["params"]) is as_task
        assert [result.content for result in found] == [[]]
        await remote.quiet()
        assert remote.unread("tasks/cancel") == remote.unread("notifications/cancelled") == []


@requirement("T25-017", "T25-018", "T25-022")
@pytest.mark.parametrize(("support", "choice"), [(None, True), ("", True), ("forbidden", True), ("required", False)])
async def test_a_tool_is_not_called_as_its_definition_forbids(make_peer, support, choice, autojump_clock):
    async with scripted(make_peer(), side=Side.CLIENT) as remote, trio.open_nursery() as nursery:
        nursery.start_soon(list_one_tool, remote, support)
        with pytest.raises(LocalProtocolError, match="task"), trio.move_on_after(1):
            await remote.connection.call_tool("t", {}, task=choice)
        await remote.quiet()
        assert remote.unread("tools/call") == []


async def list_one_tool(remote, support) -> None:
    await remote.reply(await remote.expect("tools/list"), {"tools": [tool(support)]})


@requirement("T25-015")
@pytest.mark.parametrize("support", ["optional", "required"])
async def test_no_tool_of_a_server_without_tasks_is_a_task_whatever_its_definition_says(
    make_peer, support, autojump_clock
):
    async with scripted(make_peer(), side=Side.CLIENT, capabilities={"tools": {}}) as remote:
        call = await call_tool(remote, support, [])
        assert call["params"] == {"name": "t", "arguments": {}}
        with pytest.raises(CapabilityMissing, match=r"tasks\.requests\.tools\.call"):
            await remote.connection.call_tool("t", {}, task=True)
        assert remote.unread("tools/call") == []


# --- the request ------------------------------------------------------------------------------------------------------


@requirement("T25-001", "T25-025", "T25-026", "T25-027", "T25-028")
@pytest.mark.parametrize(("ttl", "wish"), [(None, {}), (0, {"ttl": 0}), (1.5, {"ttl": 1500}), (60, {"ttl": 60000})])
async def test_the_wish_is_an_object_in_params_with_milliseconds(requestor, ttl, wish, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        found: list = []
        nursery.start_soon(lambda: result_of(requestor, remote, found, ttl=ttl))
        request = await requestor.accept(remote)
        assert request["params"] == {**requestor.params, "task": wish}
        await remote.reply(await remote.expect("tasks/result"), requestor.result)
        await remote.quiet()
        assert found == [requestor.result]


@requirement("T25-028")
@pytest.mark.parametrize("ttl", [-1, float("nan"), -0.001])
async def test_a_ttl_that_makes_no_sense_is_refused_here(requestor, ttl, autojump_clock):
    async with requestor.connect() as remote:
        with pytest.raises(ValueError, match="ttl"):
            remote.connection.start(requestor.method, requestor.params, ttl=ttl)


@requirement("T25-102", "T25-105")
async def test_requests_about_tasks_are_not_tagged(requestor, autojump_clock):
    async def drive(remote) -> None:
        async with remote.connection.start(requestor.method, requestor.params) as handle:
            await handle.status()
            assert [task.task_id async for task in remote.connection.list_tasks()] == ["t-1"]
            with trio.move_on_after(1):
                await handle.result()
            await handle.cancel()

    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        nursery.start_soon(drive, remote)
        await requestor.accept(remote)
        requests = [await remote.expect("tasks/get")]
        await remote.reply(requests[0], requestor.task())
        requests.append(await remote.expect("tasks/list"))
        await remote.reply(requests[1], {"tasks": [requestor.task()]})
        requests.append(await remote.expect("tasks/result"))
        requests.append(await remote.expect("tasks/cancel"))
        await remote.reply(requests[3], requestor.task("cancelled"))
        assert [request.get("params", {}) for request in requests] == [
            {"taskId": "t-1"},
            {},
            {"taskId": "t-1"},
            {"taskId": "t-1"},
        ]


@requirement("T25-029")
async def test_a_plain_answer_to_a_request_for_a_task_is_a_result_like_any_other(requestor, autojump_clock):
    """The receiver may not have understood; nothing is made of a task that is not there."""
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        found: list = []
        nursery.start_soon(result_of, requestor, remote, found)
        await remote.reply(await remote.expect(requestor.method), requestor.result)
        await remote.quiet()
        assert found == [requestor.result]
        assert remote.unread() == []


@requirement("T25-032", "T25-065", "T25-122")
@pytest.mark.parametrize(
    "broken",
    [
        None,
        "t-1",
        {"taskId": 7},
        {"taskId": None},
        {"status": "submitted"},
        {"status": None},
        {"createdAt": 5},
        {"ttl": "60000"},
        {"pollInterval": "fast"},
    ],
    ids=str,
)
async def test_a_task_that_is_none_is_a_fault_of_the_receiver(requestor, broken, autojump_clock):
    task = {**requestor.task(), **broken} if isinstance(broken, dict) else broken
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            with pytest.raises(RemoteProtocolError, match=r"\$\.result\.task"):
                async with remote.connection.start(requestor.method, requestor.params):
                    pass

        nursery.start_soon(drive)
        await remote.reply(await remote.expect(requestor.method), {"task": task})


@requirement("T25-136")
async def test_an_error_instead_of_a_task_is_raised_at_once(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            with pytest.raises(RequestFailed, match="no such thing") as caught:
                async with remote.connection.start(requestor.method, requestor.params):
                    pass
            assert (caught.value.code, caught.value.data) == (-32602, {"k": 1})

        nursery.start_soon(drive)
        await remote.refuse(await remote.expect(requestor.method), -32602, "no such thing", {"k": 1})


@requirement("T25-054", "T25-111")
async def test_cursors_go_back_untouched(requestor, autojump_clock):
    cursors = ["", " a b ", 'é\u2028\\"', "eyJ4IjoxfQ=="]
    async with requestor.connect() as remote, trio.open_nursery() as nursery:
        ids: list = []

        async def drive() -> None:
            ids.extend([task.task_id async for task in remote.connection.list_tasks()])

        nursery.start_soon(drive)
        for number, cursor in enumerate([*cursors, None]):
            request = await remote.expect("tasks/list")
            assert request.get("params", {}) == ({} if number == 0 else {"cursor": cursors[number - 1]})
            page = {"tasks": [requestor.task(taskId=f"t-{number}")]}
            await remote.reply(request, page if cursor is None else {**page, "nextCursor": cursor})
        await remote.quiet()
        assert ids == ["t-0", "t-1", "t-2", "t-3", "t-4"]


@requirement("T25-110")
async def test_a_list_without_end_is_noticed(requestor, autojump_clock):
    async with requestor.connect() as remote, trio.open_nursery() as nursery:

        async def drive() -> None:
            with pytest.raises(RemoteProtocolError, match="again"):
                async for _ in remote.connection.list_tasks():
                    pass

        nursery.start_soon(drive)
        for _ in range(2):
            await remote.reply(await remote.expect("tasks/list"), {"tasks": [], "nextCursor": "same"})


# --- its answers to what a task asks ----------------------------------------------------------------------------------


@requirement("T25-095", "T25-096", "T25-098")
@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create"])
async def test_the_answer_to_what_a_task_asks_names_that_task(make_peer, method, autojump_clock):
    peer = make_peer()
    result = {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}
    params: dict = {"messages": [], "maxTokens": 1}
    if method == "elicitation/create":
        result = {"action": "decline", "_meta": {"mine": 1}}
        params = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}

    @peer.handle(method)
    async def answer(ctx, params: dict) -> dict:
        return result

    async with scripted(peer, side=Side.CLIENT) as remote:
        tag = {RELATED: {"taskId": "t-9"}}
        answer = await remote.request(method, {**params, "_meta": tag})
        assert answer == {**result, "_meta": {**result.get("_meta", {}), **tag}}
        assert await remote.request(method, params) == result


@requirement("T25-053", "T25-095", "T25-098")
async def test_what_a_task_asks_may_become_a_task_on_the_other_side(make_peer, autojump_clock):
    """Two ids, two owners: the answer's tag names our task, as results of tasks do."""
    peer = make_peer()

    @peer.handle("elicitation/create", task="optional")
    async def answer(ctx, params: dict) -> dict:
        return {"action": "decline"}

    async with scripted(peer, side=Side.CLIENT) as remote:
        params = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
        params |= {"task": {}, "_meta": {RELATED: {"taskId": "theirs"}}}
        ours = (await remote.request("elicitation/create", params))["task"]["taskId"]
        assert ours != "theirs"
        result = await remote.request("tasks/result", {"taskId": ours})
        assert result == {"action": "decline", "_meta": {RELATED: {"taskId": ours}}}
