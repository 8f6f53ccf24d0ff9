"""Tasks outlive streams and sessions: whoever comes back finds the result, and is asked again what was left open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import Context, HttpClientLimits, HttpLimits, Limits, Peer
from mcp_tasks.wire.client_features import ElicitFormParams, ElicitResult

from ._wire import (
    Line,
    Script,
    connected,
    endpoint_of,
    proxying,
    scripting,
    serving,
    settled,
    text_of,
    until,
)

MakePeer = Callable[..., Peer]
QUICK = HttpClientLimits(retry_seconds=0.01)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers that do not end when their session does are waited for a second; they never would."""
    monkeypatch.setattr("mcp_tasks.peer.connection._GRACE_SECONDS", 0.05)


def offering(make_peer: MakePeer) -> tuple[Peer, trio.Event]:
    peer, go = make_peer(limits=Limits(poll_interval_ms=10)), trio.Event()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await go.wait()
        return "worked"

    @peer.tool(task="optional")
    async def ask(ctx: Context) -> str:
        first = await ctx.elicit("first?", {"name": str})
        second = await ctx.elicit("second?", {"name": str})
        return f"{first.content['name']} {second.content['name']}"

    return peer, go


async def start(script: Script, tool: str) -> str:
    reply = await script.ask("tools/call", {"name": tool, "arguments": {}, "task": {}})
    id: str = reply.json["result"]["task"]["taskId"]
    return id


async def status(script: Script, id: str) -> str:
    found: str = (await script.ask("tasks/get", {"taskId": id})).json["result"]["status"]
    return found


async def question_of(line: Line) -> Any:
    """The next question on a stream; statuses are passed over."""
    while "id" not in (message := await line.message()):
        pass
    assert message["method"] == "elicitation/create", message
    return message


async def next_question(line: Line) -> Any:
    """The question that is the first on an answer, or None if nobody has anything more to say."""
    found: list[Any] = []

    async def read() -> None:
        await line.head()
        found.append(await question_of(line))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await settled()
        nursery.cancel_scope.cancel()
    return found[0] if found else None


async def outcome(line: Line) -> str:
    while "result" not in (message := await line.message()):
        assert "id" not in message, message
    return text_of(message["result"])


def says(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


@pytest.mark.requirement("C25-131", "T25-040", "T25-042")
@pytest.mark.parametrize("end", ["delete", "reset", "expired"])
async def test_a_task_whose_session_ended(make_peer: MakePeer, end: str) -> None:
    peer, go = offering(make_peer)
    async with serving(peer) as server:
        async with scripting(server.url) as first:
            id = await start(first, "work")
            waiting = await first.begin("tasks/result", {"taskId": id})
            await settled()
            if end == "delete":
                assert (await first.delete()).status == 204
                assert "error" in (await waiting.answer()).json  # no answer can come by it any more
            elif end == "expired":
                endpoint_of(server).end_sessions("the session was idle for too long")
                assert "error" in (await waiting.answer()).json
            else:
                await waiting.reset()
            await settled()
        async with scripting(server.url) as second:
            assert await status(second, id) == "working"
            line = await second.begin("tasks/result", {"taskId": id})
            await settled()
            go.set()
            assert text_of((await line.answer()).json["result"]) == "worked"
            assert await status(second, id) == "completed"
        async with scripting(server.url) as third:
            assert text_of((await third.ask("tasks/result", {"taskId": id})).json["result"]) == "worked"


@pytest.mark.requirement("T25-075", "T25-076", "C25-099")
@pytest.mark.parametrize("end", ["delete", "reset"])
async def test_a_question_whose_session_ended(make_peer: MakePeer, end: str) -> None:
    """It is asked again in the session where the result is asked for, and both answers count once."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server:
        async with scripting(server.url) as first:
            id = await start(first, "ask")
            line = await first.begin("tasks/result", {"taskId": id})
            await line.head()
            lost = await question_of(line)
            await (first.delete() if end == "delete" else line.reset())
            await settled()
        async with scripting(server.url) as second:
            assert await status(second, id) == "input_required"
            line = await second.begin("tasks/result", {"taskId": id})
            await line.head()
            again = await question_of(line)
            assert again["params"]["message"] == lost["params"]["message"] == "first?"
            assert again["params"]["_meta"] == lost["params"]["_meta"]  # of the same task
            await second.reply(again, says("Ada"))
            await second.reply(await question_of(line), says("Lovelace"))
            assert await outcome(line) == "Ada Lovelace"


@pytest.mark.requirement("T25-075", "C25-099", "C25-103")
async def test_a_question_whose_stream_was_lost(make_peer: MakePeer) -> None:
    """In the same session: by the next request for the result; the lost one was withdrawn, or never heard of again."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        id = await start(script, "ask")
        for _ in range(3):
            line = await script.begin("tasks/result", {"taskId": id})
            question = await next_question(line)
            assert question, "it is not asked again"
            assert question["params"]["message"] == "first?"
            await line.reset()
            await until(lambda: not server.connections)
        line = await script.begin("tasks/result", {"taskId": id})
        await line.head()
        await script.reply(await question_of(line), says("Ada"))
        await script.reply(await question_of(line), says("Lovelace"))
        assert await outcome(line) == "Ada Lovelace"


@pytest.mark.requirement("T25-075", "C25-109")
async def test_a_question_whose_stream_of_get_was_lost(make_peer: MakePeer) -> None:
    """It went by the stream of GET, for there was no other; that one is gone, and the result is then asked for."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        line = await script.listen()
        id = await start(script, "ask")
        assert (await question_of(line))["params"]["message"] == "first?"
        await line.reset()
        await until(lambda: not server.connections)
        line = await script.begin("tasks/result", {"taskId": id})
        question = await next_question(line)
        assert question, "the question stays where nobody reads it"
        await script.reply(question, says("Ada"))
        await script.reply(await question_of(line), says("Lovelace"))
        assert await outcome(line) == "Ada Lovelace"


@pytest.mark.requirement("T25-075", "C25-099", "C25-109")
async def test_a_question_whose_stream_is_lost_while_the_result_is_waited_for(make_peer: MakePeer) -> None:
    """It went by the stream of GET; then the result was asked for; then that stream is lost, and nobody comes back."""
    peer, _ = offering(make_peer)
    async with (
        serving(peer, http_limits=HttpLimits(keep_alive_seconds=0.05)) as server,
        scripting(server.url) as script,
    ):
        listening = await script.listen()
        id = await start(script, "ask")
        assert (await question_of(listening))["params"]["message"] == "first?"
        line = await script.begin("tasks/result", {"taskId": id})
        await settled()
        await listening.reset()
        await until(lambda: len(server.connections) == 1)
        await line.head()
        question = await question_of(line)
        await script.reply(question, says("Ada"))
        await script.reply(await question_of(line), says("Lovelace"))
        assert await outcome(line) == "Ada Lovelace"


@pytest.mark.requirement("T25-075", "C25-099", "C25-109")
@pytest.mark.parametrize("by", ["tasks/result", "get"])
async def test_a_question_that_nobody_can_be_asked(make_peer: MakePeer, by: str) -> None:
    """No stream is open: it waits, the task says so, and it is delivered by whichever stream opens first."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        id = await start(script, "ask")
        await settled()
        assert await status(script, id) == "input_required"
        if by == "get":
            line = await script.listen()
            question = await question_of(line)
            result = await script.begin("tasks/result", {"taskId": id})
        else:
            line = result = await script.begin("tasks/result", {"taskId": id})
            await line.head()
            question = await question_of(line)
        assert question["params"]["message"] == "first?"
        await script.reply(question, says("Ada"))
        if by == "get":
            await result.head()
        await script.reply(await question_of(result), says("Lovelace"))
        assert await outcome(result) == "Ada Lovelace"


@pytest.mark.requirement("T25-075", "T25-077")
async def test_questions_of_many_tasks_wait(make_peer: MakePeer) -> None:
    """Each is delivered once, though they waited together and several streams open at once."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        ids = [await start(script, "ask") for _ in range(10)]
        await settled()
        lines = {id: await script.begin("tasks/result", {"taskId": id}) for id in ids}
        results: dict[str, str] = {}
        asked: list[tuple[str, str]] = []

        async def follow(id: str) -> None:
            line = lines[id]
            await line.head()
            while "result" not in (message := await line.message()):
                if "id" in message:
                    of = message["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"]
                    asked.append((of, message["params"]["message"]))
                    await script.reply(message, says(of[:4]))
            results[id] = text_of(message["result"])

        async with trio.open_nursery() as nursery:
            for id in ids:
                nursery.start_soon(follow, id)
        assert results == {id: f"{id[:4]} {id[:4]}" for id in ids}
        assert sorted(asked) == sorted((id, message) for id in ids for message in ("first?", "second?"))


@pytest.mark.requirement("T25-038", "T25-071", "C25-115")
async def test_the_end_does_not_overtake_what_was_said_before(make_peer: MakePeer) -> None:
    """It goes by the stream that the result is waited for on: by another one it could be read before the rest."""
    peer, _ = offering(make_peer)
    async with serving(peer) as server, scripting(server.url) as script:
        listening = await script.listen()
        id = await start(script, "ask")
        first = await question_of(listening)
        result = await script.begin("tasks/result", {"taskId": id})
        await settled()
        await script.reply(first, says("Ada"))
        await result.head()
        said: list[Any] = []
        while "result" not in (message := await result.message()):
            said.append(message["params"].get("status", message["method"]))
            if "id" in message:
                await script.reply(message, says("Lovelace"))
        assert said == ["working", "input_required", "elicitation/create", "working", "completed"]
        assert text_of(message["result"]) == "Ada Lovelace"


@pytest.mark.requirement("T25-040", "C25-130")
async def test_our_client_comes_back(make_peer: MakePeer) -> None:
    """Saved in one process, resumed in another, in which the question is asked that the first one died with."""
    server_peer, _ = offering(make_peer)
    asked = trio.Event()
    first, second = make_peer("first"), make_peer("first")

    @first.elicitation
    async def never(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        asked.set()
        await trio.sleep_forever()
        raise AssertionError

    @second.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": params.message})

    async with serving(server_peer) as server:
        async with connected(server.url, first) as connection, trio.open_nursery() as nursery:
            async with connection.start("tools/call", {"name": "ask", "arguments": {}}) as task:
                nursery.start_soon(task.result)
                await asked.wait()
                saved = task.detach()
            nursery.cancel_scope.cancel()
        await until(lambda: not server.connections)
        async with connected(server.url, second) as connection, connection.resume(saved) as task:
            assert text_of(await task.result()) == "first? second?"


@pytest.mark.requirement("C25-095", "C25-103", "T25-040")
async def test_all_connections_are_dropped_again_and_again(make_peer: MakePeer) -> None:
    """While a task of our client's is going on; it does not notice."""
    server_peer, _ = offering(make_peer)
    client_peer = make_peer("client")
    proxies: list[Any] = []
    asked: list[str] = []

    @client_peer.elicitation
    async def answer(ctx: Context, params: ElicitFormParams) -> ElicitResult:
        asked.append(params.message)
        for _ in range(3):
            await proxies[0].cut()
            await settled()
        return ElicitResult(action="accept", content={"name": params.message})

    async with (
        serving(server_peer) as server,
        proxying(server) as proxy,
        connected(proxy.url, client_peer, http_limits=QUICK) as connection,
    ):
        proxies.append(proxy)
        async with connection.start("tools/call", {"name": "ask", "arguments": {}}) as task:
            assert text_of(await task.result()) == "first? second?"
    assert list(dict.fromkeys(asked)) == ["first?", "second?"]  # one whose stream was lost may be asked again
