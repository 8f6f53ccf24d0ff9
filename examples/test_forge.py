"""Tests: the script at the other end speaks raw wire, so that it reads like the specification and may misbehave.

`mcp_peer` is a fixture of mcp-tasks: what the peer does that no peer may, or leaves behind, fails the test.
"""

from forge import peer
from trio.testing import MockClock

from mcp_tasks.testing.plugin import Opened

CALL = {"name": "build", "arguments": {"parts": 1}}
BOAT = {"action": "accept", "content": {"target": "a boat"}}
BUILT = [{"type": "text", "text": "built a boat"}]


async def test_a_question_midway(mcp_peer: Opened, autojump_clock: MockClock) -> None:  # time passes at once
    async with mcp_peer(peer, revision="2025-11-25") as client:
        created = await client.request("tools/call", {**CALL, "task": {"ttl": 60_000}})
        task_id = created["task"]["taskId"]

        question = await client.expect("elicitation/create")
        assert (await client.request("tasks/get", {"taskId": task_id}))["status"] == "input_required"

        await client.reply(question, BOAT)
        result = await client.request("tasks/result", {"taskId": task_id})
        assert result["content"] == BUILT


async def test_the_same_without_a_session(mcp_peer: Opened, autojump_clock: MockClock) -> None:
    async with mcp_peer(peer, revision="2026-07-28") as client:
        asked = await client.request("tools/call", CALL)
        (key,) = asked["inputRequests"]

        retry = {"inputResponses": {key: BOAT}, "requestState": asked["requestState"]}
        created = await client.request("tools/call", {**CALL, **retry})
        assert created["resultType"] == "task"

        await client.ask("subscriptions/listen", {"notifications": {"taskIds": [created["taskId"]]}})
        while (task := (await client.expect("notifications/tasks"))["params"])["status"] != "completed":
            pass
        assert task["result"]["content"] == BUILT
