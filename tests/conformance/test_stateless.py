"""What the fixture server offers to the official suite from 2026-07-28 on, in memory, with a session and without."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from conformance.fixtures.everything import peer
from mcp_tasks import V2025_11_25, V2026_07_28, Context, Peer, RequestFailed
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.v2026_07_28 import CLIENT_CAPABILITIES, PROTOCOL_VERSION, SUBSCRIPTION_ID, TASKS_EXTENSION

OLD, NEW = V2025_11_25.revision, V2026_07_28.revision
ANSWERS = {"name": "Ada", "color": "blue", "ok": True, "region": "south", "context": "ships", "confirm": True}


def host(*, user: bool = True, model: bool = True, root: bool = True) -> Peer:
    """A client with what it takes to answer; its user fills in whatever the forms ask for."""
    client = Peer("host", "0")
    if root:
        client.roots = ["file:///home"]
    if user:

        @client.elicitation
        async def fill_in(ctx: Context, form: ElicitFormParams) -> dict[str, Any]:
            return {name: ANSWERS[name] for name in form.requested_schema["properties"]}

    if model:

        @client.sampling
        async def sample(ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
            return CreateMessageResult(role="assistant", content=TextContent(text="a reply"), model="m")

    return client


TELL = {
    "test_missing_capability": "the model said: a reply",
    "test_streaming_elicitation": 'accept {"ok":true}',
    "test_logging_tool": "sent a message",
    "test_input_required_result_elicitation": "Hello, Ada!",
    "test_input_required_result_sampling": "the model said: a reply",
    "test_input_required_result_list_roots": "roots: file:///home",
    "test_input_required_result_request_state": 'state-ok: accept {"ok":true}',
    "test_input_required_result_tampered_state": 'accept {"ok":true}',
    "test_input_required_result_multiple_inputs": 'a reply accept {"name":"Ada"}, 1 roots',
    "test_input_required_result_multi_round": 'step 1: accept {"name":"Ada"}; step 2: accept {"color":"blue"}',
    "test_input_required_result_capabilities": 'accept {"region":"south"}',
    "test_tool_with_task": "worked for Ada",
}


@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
@pytest.mark.parametrize("revision", [OLD, NEW])
@pytest.mark.parametrize("tool", TELL)
async def test_a_tool(autojump_clock: object, tool: str, revision: str) -> None:
    async with peer_pair(host(), peer, revision=revision) as pair:
        result = await pair.client.call_tool(tool, task=False)
    assert not result.is_error, result.text
    assert result.text == TELL[tool]


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_the_prompt(revision: str) -> None:
    async with peer_pair(host(), peer, revision=revision) as pair:
        prompt = await pair.client.get_prompt("test_input_required_result_prompt")
    assert prompt.messages[0].content.text == "Tell me of ships."  # type: ignore[union-attr]


@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_who_has_no_user_has_a_model(revision: str) -> None:
    async with peer_pair(host(user=False), peer, revision=revision) as pair:
        result = await pair.client.call_tool("test_input_required_result_capabilities")
    assert result.text == "the model said: a reply"


@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
async def test_who_has_no_model_is_told_so() -> None:
    async with peer_pair(host(model=False), peer, revision=OLD) as pair:
        assert (await pair.client.call_tool("test_missing_capability")).is_error
    async with peer_pair(host(model=False), peer, revision=NEW) as pair:
        with pytest.raises(RequestFailed) as refused:
            await pair.client.call_tool("test_missing_capability")
    assert (refused.value.code, refused.value.data) == (-32021, {"requiredCapabilities": {"sampling": {}}})


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_lists_that_change(revision: str) -> None:
    async with peer_pair(server=peer, revision=revision) as pair:
        client = pair.client
        for there in (True, False):
            await client.call_tool("test_trigger_tool_change")
            await client.call_tool("test_trigger_prompt_change")
            assert ("test_changing_tool" in [tool.name async for tool in client.list_tools()]) is there
            assert ("test_changing_prompt" in [prompt.name async for prompt in client.list_prompts()]) is there
            if there:
                assert (await client.call_tool("test_changing_tool")).text == "here I am"


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_arguments_for_headers(revision: str) -> None:
    async with peer_pair(server=peer, revision=revision) as pair:
        tools = {tool.name: tool async for tool in pair.client.list_tools()}
        result = await pair.client.call_tool("look_up", {"region": "south", "priority": 3})
    schema = tools["look_up"].input_schema
    marks = {name: field.get("x-mcp-header") for name, field in schema["properties"].items()}
    assert marks == {"region": "Region", "query": None, "priority": "Priority"}
    assert schema["required"] == ["region"]
    assert result.text == "nothing in south"


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_the_suite_fills_in_the_same_in_all_forms(autojump_clock: object, revision: str) -> None:
    client = Peer("suite", "0")

    @client.elicitation
    async def fill_in(ctx: Context, form: ElicitFormParams) -> dict[str, Any]:
        return {"name": "partial", "confirm": True}

    async with peer_pair(client, peer, revision=revision) as pair:
        assert (await pair.client.call_tool("multi_input")).text == "partial is of any age"
        assert (await pair.client.call_tool("confirm_delete", {"filename": "x"})).text == "deleted x"


# --- raw wire: what is a task, and when -------------------------------------------------------------------------------


def call(tool: str, arguments: dict[str, Any] | None = None, *, tasks: bool = True, **more: Any) -> dict[str, Any]:
    capabilities = {"elicitation": {}, "extensions": {TASKS_EXTENSION: {}} if tasks else {}}
    meta = {PROTOCOL_VERSION: NEW, CLIENT_CAPABILITIES: capabilities}
    return {"name": tool, "arguments": arguments or {}, "_meta": meta, **more}


@pytest.mark.parametrize(
    ("tool", "arguments", "quick", "slow"),
    [
        ("greet", {"name": "Ada"}, "complete", "complete"),
        ("slow_compute", {"seconds": 0}, "complete", "complete"),
        ("slow_compute", {"seconds": 1}, "complete", "task"),  # a second has to be enough
        ("protocol_error_job", {}, "", "task"),
        ("failing_job", {}, "", "task"),
        ("confirm_delete", {"filename": "x"}, "", "task"),
        ("multi_input", {}, "", "task"),
        ("test_tool_with_task", {}, "input_required", "input_required"),
    ],
)
async def test_what_becomes_a_task(
    autojump_clock: object, tool: str, arguments: dict[str, Any], quick: str, slow: str
) -> None:
    async with scripted(peer, handshake=False) as client:
        assert (await client.request("tools/call", call(tool, arguments)))["resultType"] == slow
        if quick:
            assert (await client.request("tools/call", call(tool, arguments, tasks=False)))["resultType"] == quick


async def test_a_question_and_then_a_task(autojump_clock: object) -> None:
    async with scripted(peer, handshake=False) as client:
        asked = await client.request("tools/call", call("test_tool_with_task"))
        assert list(asked["inputRequests"]) == ["user_name"]
        answer = {"user_name": {"action": "accept", "content": {"name": "Ada"}}}
        more = {"inputResponses": answer, "requestState": asked["requestState"]}
        created = await client.request("tools/call", call("test_tool_with_task", **more))
        assert created["resultType"] == "task"
        await trio.sleep(1)
        done = await client.request("tasks/get", {"taskId": created["taskId"], "_meta": call("")["_meta"]})
    assert done["result"]["content"] == [{"type": "text", "text": "worked for Ada"}]


async def test_what_the_suite_does_not_look_at_yet(autojump_clock: object) -> None:
    # tasks-status-notifications: "taskId", "status", and for terminal statuses the outcome may be inlined.
    meta = call("")["_meta"]
    async with scripted(peer, handshake=False) as client:
        created = await client.request("tools/call", call("slow_compute", {"seconds": 1}))
        task = created["taskId"]
        id = await client.ask("subscriptions/listen", {"notifications": {"taskIds": [task, "none"]}, "_meta": meta})
        acknowledged = await client.expect("notifications/subscriptions/acknowledged")
        told = [(await client.expect("notifications/tasks"))["params"] for _ in range(2)]
        assert not client.answered(id)
    assert acknowledged["params"]["notifications"] == {"taskIds": [task]}
    assert [(each["taskId"], each["status"]) for each in told] == [(task, "working"), (task, "completed")]
    assert told[1]["result"]["content"] == [{"type": "text", "text": "done after 1"}]
    for each in (acknowledged["params"], *told):
        assert each["_meta"][SUBSCRIPTION_ID] == id
