"""What a review of the era without sessions has found, each as the test that showed it."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import ConnectionClosed, Context, Elicit, Limits, LocalProtocolError, Peer, RequestFailed
from mcp_tasks.dialects.base import Cache, Side
from mcp_tasks.http import Identity, open_http, serve_http
from mcp_tasks.testing import Remote, peer_pair, scripted

MakePeer = Callable[..., Peer]
Mock = trio.testing.MockClock
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASK = {
    "taskId": "t-1",
    "createdAt": "2026-08-01T07:00:00Z",
    "lastUpdatedAt": "2026-08-01T07:00:00Z",
    "ttlMs": None,
    "pollIntervalMs": 5000,
}
FORM = {"type": "object", "properties": {"x": {"type": "integer"}}}
QUESTION = {"method": "elicitation/create", "params": {"mode": "form", "message": "m", "requestedSchema": FORM}}


def text(result: Any) -> str:
    (content,) = result["content"]
    return content["text"]  # type: ignore[no-any-return]


@pytest.fixture
def client(make_peer: MakePeer) -> Peer:
    """Answers every form, with what it has counted."""
    peer = make_peer("client")
    forms = iter(range(1, 100))

    @peer.elicitation
    async def answer(ctx: Context, params: Any) -> dict[str, int]:
        return {"x": next(forms)}

    return peer


# --- questions from where the end of a round does not reach -----------------------------------------------------------


@requirement("C26-248")
@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_a_shielded_question(make_peer: MakePeer, client: Peer, revision: str, autojump_clock: Mock) -> None:
    server = make_peer()

    @server.tool
    async def ask(ctx: Context) -> str:
        with trio.CancelScope(shield=True):
            return str((await ctx.elicit("?", {"x": int})).content)

    async with peer_pair(client, server, revision=revision) as pair:
        for number in (1, 2):
            result = await pair.client.call_tool("ask")
            assert result.content[0].text == f"{{'x': {number}}}"  # type: ignore[union-attr]


@pytest.mark.parametrize("revision", [OLD, NEW])
async def test_a_question_of_another_task(
    make_peer: MakePeer, client: Peer, revision: str, autojump_clock: Mock
) -> None:
    server = make_peer()
    send, receive = trio.open_memory_channel[Any](0)
    broken_off = []

    @server.tool
    async def ask(ctx: Context) -> str:
        box: list[str] = []
        done = trio.Event()
        await send.send((ctx, box, done))
        await done.wait()
        return box[0]

    async def actor() -> None:
        async for ctx, box, done in receive:
            try:
                box.append(str((await ctx.elicit("?", {"x": int})).content))
                done.set()
            except LocalProtocolError as failure:
                broken_off.append(failure)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        async with peer_pair(client, server, revision=revision) as pair:
            for number in (1, 2):
                result = await pair.client.call_tool("ask")
                assert result.content[0].text == f"{{'x': {number}}}"  # type: ignore[union-attr]
        nursery.cancel_scope.cancel()
    assert len(broken_off) == (2 if revision == NEW else 0)


# --- what becomes a task ----------------------------------------------------------------------------------------------


async def test_what_must_not_run_twice_is_no_task_for_being_slow(make_peer: MakePeer, autojump_clock: Mock) -> None:
    peer = make_peer(limits=Limits(grace_seconds=1))

    @peer.tool(rerun=False)
    async def slow() -> str:
        await trio.sleep(1000)
        return "ok"

    async with scripted(peer, revision=NEW) as remote:
        result = await remote.request("tools/call", {"name": "slow"})
        assert (result["resultType"], text(result)) == ("complete", "ok")


async def test_what_must_not_run_twice_cannot_ask_where_there_is_no_room(
    make_peer: MakePeer, autojump_clock: Mock
) -> None:
    peer = make_peer(limits=Limits(running_tasks=1))
    runs = []

    @peer.tool(task="required")
    async def parked() -> str:
        await trio.sleep_forever()
        raise AssertionError

    @peer.tool(rerun=False)
    async def once(ctx: Context) -> str:
        runs.append(1)
        await ctx.elicit("?", {"x": int})
        raise AssertionError

    async with scripted(peer, revision=NEW) as remote:
        task = await remote.request("tools/call", {"name": "parked"})
        with pytest.raises(RequestFailed) as caught:
            await remote.request("tools/call", {"name": "once"})
        assert caught.value.data == {"limit": "running_tasks", "value": 1}
        assert runs == [1]
        await remote.request("tasks/cancel", {"taskId": task["taskId"]})


@requirement("X26-044")
async def test_a_task_outlives_its_tool(make_peer: MakePeer, autojump_clock: Mock) -> None:
    peer = make_peer()

    @peer.tool(task="required")
    async def slow() -> str:
        await trio.sleep(3)
        return "ok"

    async with scripted(peer, revision=NEW) as remote:
        task = await remote.request("tools/call", {"name": "slow"})
        peer.remove_tool("slow")
        await trio.sleep(5)
        assert text((await remote.request("tasks/get", {"taskId": task["taskId"]}))["result"]) == "ok"


@requirement("C26-263")
async def test_a_form_that_was_filled_in_wrongly_can_be_filled_in_again(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def ask(ctx: Context) -> str:
        return str((await ctx.elicit("?", {"x": int})).content)

    async with scripted(peer, revision=NEW) as remote:
        asked = await remote.request("tools/call", {"name": "ask"})
        (key,) = asked["inputRequests"]

        async def answer(x: Any) -> Any:
            answers = {key: {"action": "accept", "content": {"x": x}}}
            params = {"name": "ask", "requestState": asked["requestState"], "inputResponses": answers}
            return await remote.request("tools/call", params)

        with pytest.raises(RequestFailed) as caught:
            await answer("no number")
        assert caught.value.code == -32602
        assert text(await answer(5)) == "{'x': 5}"
        with pytest.raises(RequestFailed):
            await answer(6)


# --- following a task -------------------------------------------------------------------------------------------------


async def serve_task(remote: Remote, update: Callable[[int, Any], Any], log: list[tuple[float, str]]) -> None:
    """A server whose task asks something until `update` has answered."""
    updates, done = 0, False

    async def call(message: Any) -> None:
        await remote.reply(message, {"resultType": "task", "status": "working", **TASK})

    async def listen(message: Any) -> None:
        await remote.refuse(message, -32601, "no such thing")

    async def take(message: Any) -> None:
        nonlocal updates, done
        updates += 1
        done = await update(updates, message)

    async def cancel(message: Any) -> None:
        await remote.reply(message, {"resultType": "complete"})

    async def look(message: Any) -> None:
        task: dict[str, Any] = {"status": "input_required", "inputRequests": {"k": QUESTION}}
        if done:
            task = {"status": "completed", "result": {"content": [{"type": "text", "text": "ok"}]}}
        await remote.reply(message, {"resultType": "complete", **TASK, **task})

    async def serve(method: str, answer: Callable[[Any], Any]) -> None:
        while True:
            message = await remote.expect(method)
            log.append((trio.current_time(), method))
            await answer(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, "tools/call", call)
        nursery.start_soon(serve, "subscriptions/listen", listen)
        nursery.start_soon(serve, "tasks/update", take)
        nursery.start_soon(serve, "tasks/cancel", cancel)
        nursery.start_soon(serve, "tasks/get", look)


@requirement("X26-066", "X26-076")
async def test_an_answer_that_was_lost_is_sent_again(client: Peer, autojump_clock: Mock) -> None:
    log: list[tuple[float, str]] = []
    answers = []
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote:

        async def update(number: int, message: Any) -> bool:
            answers.append(message["params"]["inputResponses"])
            if number < 3:
                await remote.refuse(message, -32603, "not now")
                return False
            await remote.reply(message, {"resultType": "complete"})
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_task, remote, update, log)
            assert text(await remote.connection.call("tools/call", {"name": "x"})) == "ok"
            nursery.cancel_scope.cancel()
    assert answers == [{"k": {"action": "accept", "content": {"x": 1}}}] * 3, "the user is asked once"


@pytest.mark.parametrize(("code", "updates"), [(-32603, 6), (-32602, 1)])
async def test_an_answer_that_is_never_taken_ends_the_call(
    client: Peer, code: int, updates: int, autojump_clock: Mock
) -> None:
    log: list[tuple[float, str]] = []
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote:

        async def update(number: int, message: Any) -> bool:
            await remote.refuse(message, code, "no")
            return False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_task, remote, update, log)
            with pytest.raises(RequestFailed) as caught:
                await remote.connection.call("tools/call", {"name": "x"})
            assert caught.value.code == code
            nursery.cancel_scope.cancel()
    assert [method for _, method in log].count("tasks/update") == updates
    assert log[-1][1] == "tasks/cancel"


@requirement("X26-036")
async def test_a_task_is_first_asked_for_when_its_interval_is_over(client: Peer, autojump_clock: Mock) -> None:
    log: list[tuple[float, str]] = []
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote:

        async def update(number: int, message: Any) -> bool:
            await remote.reply(message, {"resultType": "complete"})
            return True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_task, remote, update, log)
            begun = trio.current_time()
            await remote.connection.call("tools/call", {"name": "x"})
            nursery.cancel_scope.cancel()
    first = next(at for at, method in log if method == "tasks/get")
    assert first - begun >= 5


@pytest.mark.parametrize("policy", ["forbidden", "required"])
async def test_two_handlers_that_fail_together(make_peer: MakePeer, policy: Any, autojump_clock: Mock) -> None:
    server, client = make_peer(), make_peer("client")

    @server.tool(task=policy)
    async def ask(ctx: Context) -> str:
        await ctx.ask_all({"a": Elicit("A", {"x": int}), "b": Elicit("B", {"x": int})})
        raise AssertionError

    both: list[trio.Event] = []

    @client.elicitation
    async def fail(ctx: Context, params: Any) -> dict[str, int]:
        both.append(trio.Event())
        if len(both) == 2:
            for event in both:
                event.set()
        await both[-1].wait()
        raise ValueError(params.message)

    async with peer_pair(client, server, revision=NEW) as pair:
        with pytest.raises(ValueError, match=r"A|B"):
            await pair.client.call_tool("ask")


# --- listening --------------------------------------------------------------------------------------------------------


async def acknowledge(remote: Remote, message: Any) -> None:
    meta = {"_meta": {SUBSCRIPTION: message["id"]}}
    said = {"notifications": message["params"]["notifications"], **meta}
    await remote.notify("notifications/subscriptions/acknowledged", said)


async def test_a_server_that_ends_every_subscription_at_once_is_spared(client: Peer, autojump_clock: Mock) -> None:
    asked = []
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote:

        async def serve() -> None:
            while True:
                message = await remote.expect("subscriptions/listen")
                asked.append(trio.current_time())
                await acknowledge(remote, message)
                await remote.reply(message, {"resultType": "complete", "_meta": {SUBSCRIPTION: message["id"]}})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with remote.connection.listen(tools=True):
                await trio.sleep(600)
            nursery.cancel_scope.cancel()
    assert len(asked) < 25
    pauses = [after - before for before, after in pairwise(asked)]
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(pauses))


async def test_a_subscription_that_was_given_up_is_made_anew_on_request(client: Peer, autojump_clock: Mock) -> None:
    asked = 0
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote:

        async def serve() -> None:
            nonlocal asked
            while True:
                message = await remote.expect("subscriptions/listen")
                asked += 1
                if asked == 2:
                    await remote.refuse(message, -32603, "not now")
                    continue
                await acknowledge(remote, message)
                if asked == 1:
                    await remote.reply(message, {"resultType": "complete", "_meta": {SUBSCRIPTION: message["id"]}})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await remote.connection.subscribe("x://y")
            await trio.sleep(100)
            assert asked == 2
            await remote.connection.subscribe("x://y")
            await trio.sleep(100)
            assert asked == 3
            nursery.cancel_scope.cancel()


async def test_a_subscription_at_a_server_that_cannot_be_reached(make_peer: MakePeer, client: Peer) -> None:
    server, scope, gone = make_peer(), trio.CancelScope(), trio.Event()

    async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
        with scope:
            await serve_http(server, port=0, task_status=task_status)
        gone.set()

    async with trio.open_nursery() as nursery:
        served = await nursery.start(serve)
        async with open_http(served.url) as transport, client.connect(transport, revision=NEW) as connection:
            scope.cancel()
            await gone.wait()
            with pytest.raises(ConnectionClosed, match="cannot be reached"):
                async with connection.listen(tools=True):
                    raise AssertionError
            with pytest.raises(ConnectionClosed, match="cannot be reached"):
                await connection.subscribe("x://y")


@requirement("C26-281")
async def test_a_subscription_that_ends_without_having_begun(client: Peer, autojump_clock: Mock) -> None:
    async with scripted(client, side=Side.CLIENT, revision=NEW) as remote, trio.open_nursery() as nursery:

        async def serve() -> None:
            await remote.reply(await remote.expect("subscriptions/listen"), {"resultType": "complete"})

        nursery.start_soon(serve)
        with pytest.raises(Exception, match="ended without having begun"):
            async with remote.connection.listen(tools=True):
                raise AssertionError


def listen_head(port: int, accept: bytes) -> bytes:
    meta = {"io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"MCP-Protocol-Version: {NEW}\r\nMcp-Method: subscriptions/listen\r\nContent-Length: {len(body)}\r\nAccept: "
    )
    return head.encode() + accept + b"\r\n\r\n" + body


async def test_who_listens_over_http_does_not_keep_others_from_asking(make_peer: MakePeer, client: Peer) -> None:
    peer = make_peer(limits=Limits(in_flight=2))

    @peer.tool
    async def hello() -> str:
        return "hello"

    async with trio.open_nursery() as nursery:
        served = await nursery.start(partial(serve_http, peer, port=0))
        port = int(served.url.split(":")[2].split("/")[0])
        streams = []
        for _ in range(5):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(listen_head(port, b"application/json, text/event-stream"))
            assert (await stream.receive_some(12)) == b"HTTP/1.1 200"
            streams.append(stream)
        async with open_http(served.url) as transport, client.connect(transport) as connection:
            assert connection.revision == NEW
            assert (await connection.call_tool("hello")).content[0].text == "hello"  # type: ignore[union-attr]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(listen_head(port, b"application/json"))
        assert (await stream.receive_some(12)) == b"HTTP/1.1 406"
        for each in [*streams, stream]:
            await each.aclose()
        nursery.cancel_scope.cancel()


# --- whose it is ------------------------------------------------------------------------------------------------------


class ByToken:
    async def authenticate(self, request: Any) -> Identity:
        return Identity(principal=request.headers[b"authorization"].decode().split()[1])


@requirement("C26-310")
async def test_what_was_kept_for_one_token_is_not_for_another(make_peer: MakePeer, client: Peer) -> None:
    server = make_peer()
    reads = []

    @server.resource("me://x", cache=Cache(600_000, "private"))
    async def me(ctx: Context) -> str:
        reads.append(ctx.principal)
        return f"secret of {ctx.principal}"

    token = "alice"

    async def auth() -> str:
        return token

    async with trio.open_nursery() as nursery:
        served = await nursery.start(partial(serve_http, server, port=0, auth=ByToken()))
        async with open_http(served.url, auth=auth) as transport, client.connect(transport) as connection:
            for token in ("alice", "alice", "bob", "bob", "alice"):
                shown = (await connection.read_resource("me://x")).contents[0]
                assert shown.text == f"secret of {token}"  # type: ignore[union-attr]
        nursery.cancel_scope.cancel()
    assert reads == ["alice", "bob"], "and each is kept"
