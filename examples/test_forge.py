"""A test: the script at the other end speaks raw wire, so that it reads like the specification and may misbehave."""

from forge import peer
from trio.testing import MockClock

from mcp_tasks.testing import check_leaks, scripted


async def test_a_question_midway(autojump_clock: MockClock) -> None:  # time passes at once when nobody is busy
    async with scripted(peer) as client:
        call = {"name": "build", "arguments": {"parts": 1}, "task": {"ttl": 60_000}}
        created = await client.request("tools/call", call)
        task_id = created["task"]["taskId"]

        question = await client.expect("elicitation/create")
        assert (await client.request("tasks/get", {"taskId": task_id}))["status"] == "input_required"

        await client.reply(question, {"action": "accept", "content": {"target": "a boat"}})
        result = await client.request("tasks/result", {"taskId": task_id})
        assert result["content"] == [{"type": "text", "text": "built a boat"}]
    check_leaks(peer)
