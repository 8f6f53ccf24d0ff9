"""The receiver of tasks: what it announces, and what it does with requests that fit or do not fit that."""

import pytest

from mcp_tasks import Context, RequestFailed, Side
from mcp_tasks.testing import scripted

requirement = pytest.mark.requirement

LEAVES = {
    "tools/call": {"tools": {"call": {}}},
    "sampling/createMessage": {"sampling": {"createMessage": {}}},
    "elicitation/create": {"elicitation": {"create": {}}},
}


async def announced(peer, side: Side, **options) -> dict:
    """The capabilities that `peer` announces as `side`."""
    async with scripted(peer, side=side, handshake=False, **options) as remote:
        if side is Side.SERVER:
            opening = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "script", "version": "0"},
            }
            return (await remote.request("initialize", opening))["capabilities"]
        return (await remote.expect("initialize"))["params"]["capabilities"]


def add_tools(peer, *policies: str) -> None:
    for policy in policies:

        async def run() -> str:
            return "done"

        peer.tool(name=policy, task=policy)(run)


@requirement("T25-004", "T25-005", "T25-006", "T25-007")
async def test_what_can_be_a_task_is_announced_with_objects_as_leaves(receiver, autojump_clock):
    capabilities = await announced(receiver.peer, receiver.kind.receiver)
    assert capabilities["tasks"] == {"list": {}, "cancel": {}, "requests": LEAVES[receiver.method]}


@requirement("T25-006", "T25-010")
async def test_a_client_announces_both_of_its_requests_only_if_both_can_be_tasks(make_peer, autojump_clock):
    async def handler(ctx: Context, params: dict) -> dict:
        raise NotImplementedError

    both, one = make_peer(), make_peer()
    for peer, second in ((both, "required"), (one, "forbidden")):
        peer.handle("sampling/createMessage", task="optional")(handler)
        peer.handle("elicitation/create", task=second)(handler)
    assert (await announced(both, Side.CLIENT))["tasks"]["requests"] == {
        "sampling": {"createMessage": {}},
        "elicitation": {"create": {}},
    }
    assert (await announced(one, Side.CLIENT))["tasks"]["requests"] == {"sampling": {"createMessage": {}}}


@requirement("T25-004")
async def test_who_takes_no_tasks_announces_none(receiving, autojump_clock):
    receiver = receiving(task="forbidden")
    assert "tasks" not in await announced(receiver.peer, receiver.kind.receiver)


@requirement("T25-056")
async def test_a_task_member_is_disregarded_where_tasks_were_not_announced(receiving, autojump_clock):
    """Whatever is in it, even what would be malformed."""
    receiver = receiving(task="forbidden")
    async with receiver.connect() as remote:
        for wish in ({}, {"ttl": 60000}, {"ttl": "soon"}, None, 7):
            id = await remote.ask(receiver.method, {**receiver.params, "task": wish})
            await remote.quiet()
            receiver.jobs[-1].finish(receiver.result)
            assert await remote.answer(id) == receiver.result


@requirement("T25-010", "T25-056")
async def test_a_request_that_is_not_on_the_list_runs_plainly_though_others_are(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "optional")

    @peer.prompt
    async def greet() -> str:
        return "hello"

    async with scripted(peer) as remote:
        result = await remote.request("prompts/get", {"name": "greet", "task": {}})
        assert result["messages"][0]["content"]["text"] == "hello"


@requirement("T25-056")
@pytest.mark.parametrize("revision", ["2025-06-18", "2025-03-26", "2024-11-05"])
async def test_older_revisions_have_no_tasks(make_peer, revision, autojump_clock):
    peer = make_peer()
    add_tools(peer, "optional", "required")
    async with scripted(peer, revision=revision) as remote:
        for name in ("optional", "required"):
            result = await remote.request("tools/call", {"name": name, "task": {}})
            assert result["content"] == [{"type": "text", "text": "done"}]
        for method in ("tasks/get", "tasks/result", "tasks/cancel", "tasks/list"):
            with pytest.raises(RequestFailed) as caught:
                await remote.request(method, {"taskId": "t"})
            assert caught.value.code == -32601


@requirement("T25-011", "T25-012", "T25-013")
@pytest.mark.parametrize("method", ["tasks/list", "tasks/cancel"])
async def test_list_and_cancel_are_not_there_where_they_were_not_announced(receiving, method, autojump_clock):
    receiver = receiving(task="forbidden")
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, {} if method == "tasks/list" else {"taskId": "t"})
        assert caught.value.code == -32601


@requirement("T25-011", "T25-012", "T25-014")
async def test_all_four_work_where_tasks_were_announced(receiver, autojump_clock):
    async with receiver.connect() as remote:
        task = await receiver.create(remote)
        assert await receiver.get(remote, task) == task
        assert await remote.request("tasks/list") == {"tasks": [task]}
        assert (await receiver.cancel(remote, await receiver.create(remote)))["status"] == "cancelled"
        receiver.jobs[0].finish(receiver.result)
        assert await receiver.fetch(remote, task)


# --- the policy of a tool or a handler --------------------------------------------------------------------------------


@requirement("T25-016", "T25-163")
async def test_the_list_of_tools_says_which_can_be_tasks(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "forbidden", "optional", "required")
    async with scripted(peer) as remote:
        tools = (await remote.request("tools/list"))["tools"]
        assert {tool["name"]: tool.get("execution") for tool in tools} == {
            "forbidden": None,
            "optional": {"taskSupport": "optional"},
            "required": {"taskSupport": "required"},
        }


@requirement("T25-019", "T25-134")
async def test_a_tool_that_cannot_be_a_task_refuses_to_be_one(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "forbidden", "optional")
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed, match="'forbidden' cannot be run as a task") as caught:
            await remote.request("tools/call", {"name": "forbidden", "task": {}})
        assert caught.value.code == -32601
        assert await remote.request("tasks/list") == {"tasks": []}
        assert "content" in await remote.request("tools/call", {"name": "forbidden"})


@requirement("T25-020", "T25-021")
async def test_what_is_optional_honours_both_styles(receiver, autojump_clock):
    async with receiver.connect() as remote:
        plain = await remote.ask(receiver.method, receiver.params)
        task = await receiver.create(remote)
        for job in receiver.jobs:
            job.finish(receiver.result)
        assert await remote.answer(plain) == receiver.result
        assert (await receiver.fetch(remote, task)).items() >= receiver.result.items()


@requirement("T25-023", "T25-134")
async def test_a_tool_that_has_to_be_a_task_refuses_a_plain_call(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "required")
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed, match="'required' can only be run as a task") as caught:
            await remote.request("tools/call", {"name": "required"})
        assert caught.value.code == -32601
        assert "task" in await remote.request("tools/call", {"name": "required", "task": {}})


@requirement("T25-057", "T25-133")
async def test_a_request_that_has_to_be_a_task_refuses_to_run_plainly(receiving, autojump_clock):
    receiver = receiving(task="required")
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed, match=f"Task augmentation required for {receiver.method}") as caught:
            await remote.request(receiver.method, receiver.params)
        assert caught.value.code == -32600
        assert receiver.jobs == []
        await receiver.create(remote)
        assert len(receiver.jobs) == 1


@requirement("T25-136")
async def test_an_unknown_tool_is_an_error_and_no_task(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "optional")
    async with scripted(peer) as remote:
        with pytest.raises(RequestFailed, match="nope") as caught:
            await remote.request("tools/call", {"name": "nope", "task": {}})
        assert caught.value.code == -32602
        assert await remote.request("tasks/list") == {"tasks": []}


@requirement("T25-136")
async def test_wrong_parameters_are_an_error_and_no_task(receiver, autojump_clock):
    async with receiver.connect() as remote:
        with pytest.raises(RequestFailed, match=r"\$\.params\.") as caught:
            await remote.request(receiver.method, {"task": {}})
        assert caught.value.code == -32602
        assert await remote.request("tasks/list") == {"tasks": []}


@requirement("T25-141")
async def test_who_cannot_tell_requestors_apart_lists_nothing(make_peer, autojump_clock):
    peer = make_peer()
    add_tools(peer, "optional")
    assert (await announced(peer, Side.SERVER, identified=False))["tasks"] == {
        "cancel": {},
        "requests": {"tools": {"call": {}}},
    }
    async with scripted(peer, identified=False) as remote:
        task = (await remote.request("tools/call", {"name": "optional", "task": {}}))["task"]
        with pytest.raises(RequestFailed) as caught:
            await remote.request("tasks/list")
        assert caught.value.code == -32601
        assert (await remote.request("tasks/get", {"taskId": task["taskId"]}))["taskId"] == task["taskId"]
