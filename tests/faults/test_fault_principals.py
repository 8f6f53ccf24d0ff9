"""Two principals on one server, each of whom knows the other's ids: of tasks, sessions, streams, and pages.

What is somebody else's looks exactly as if it did not exist: answers differ in nothing but the id that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define

from mcp_tasks import BearerAuth, Context, HttpServer, Identity, Limits, Peer, Principal

from ._wire import Reply, Script, request_bytes, scripting, serving, settled, text_of, until

MakePeer = Callable[..., Peer]
TOKENS = {"token-of-ada": "ada", "token-of-bob": "bob"}
SECRET = "a secret of ada's"


@define
class Scene:
    """A server, and two who are connected to it."""

    server: HttpServer
    peer: Peer
    ada: Script
    bob: Script
    go: trio.Event
    ended: list[str]


async def verify(token: str) -> Identity | None:
    name = TOKENS.get(token)
    return None if name is None else Identity(Principal(name))


@asynccontextmanager
async def scene(make_peer: MakePeer) -> AsyncIterator[Scene]:
    peer = make_peer(limits=Limits(page_size=2))
    go, ended = trio.Event(), list[str]()

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await ctx.progress(1, message=SECRET)
        try:
            await go.wait()
        except trio.Cancelled:
            ended.append("cancelled")
            raise
        ended.append("finished")
        return SECRET

    @peer.tool(task="optional")
    async def ask(ctx: Context) -> str:
        return (await ctx.elicit(SECRET, {"name": str})).content["name"]

    async with (
        serving(peer, auth=BearerAuth(verify, realm="test")) as server,
        scripting(server.url, token="token-of-ada") as ada,
        scripting(server.url, token="token-of-bob") as bob,
    ):
        yield Scene(server, peer, ada, bob, go, ended)


async def task_of(script: Script, tool: str = "work") -> str:
    """Start a task; returns its id."""
    params = {"name": tool, "arguments": {}, "task": {"ttl": 60_000}}
    reply = await script.ask("tools/call", params)
    id: str = reply.json["result"]["task"]["taskId"]
    return id


def made_up(id: str) -> str:
    """An id of the same kind that nobody has."""
    return "".join("0123456789abcdef"[(int(letter, 16) + 7) % 16] for letter in id)


def faceless(reply: Reply, id: str) -> tuple[Any, ...]:
    """An answer without the id that was asked for, and without the time."""
    headers = {name: value for name, value in reply.headers.items() if name != "date"}
    return reply.status, headers, reply.body.replace(id.encode(), b"ID")


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("T25-137", "T25-142", "T25-143", "C25-142")
@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
@pytest.mark.parametrize("settled_first", [False, True], ids=["working", "completed"])
async def test_a_task_of_somebody_else(make_peer: MakePeer, method: str, settled_first: bool) -> None:
    async with scene(make_peer) as at:
        id = await task_of(at.ada)
        if settled_first:
            at.go.set()
            await at.ada.ask("tasks/result", {"taskId": id})
        foreign = await at.bob.ask(method, {"taskId": id}, id="x")
        nobodys = await at.bob.ask(method, {"taskId": made_up(id)}, id="x")
        assert faceless(foreign, id) == faceless(nobodys, made_up(id))
        assert foreign.json["error"]["code"] == -32602
        assert SECRET.encode() not in foreign.body
        own = await at.ada.ask("tasks/get", {"taskId": id})
        assert own.json["result"]["status"] == ("completed" if settled_first else "working")
        assert not at.ended or at.ended == ["finished"]


@pytest.mark.requirement("T25-142", "T25-143", "T25-144")
async def test_lists_have_ones_own_only(make_peer: MakePeer) -> None:
    async with scene(make_peer) as at:
        mine: dict[Any, set[str]] = {at.ada: set(), at.bob: set()}
        for script, tasks in mine.items():
            for _ in range(5):
                tasks.add(await task_of(script))
        for script, ids in mine.items():
            found: list[str] = []
            cursor: dict[str, Any] = {}
            while True:
                page = (await script.ask("tasks/list", cursor)).json["result"]
                found += [task["taskId"] for task in page["tasks"]]
                if "nextCursor" not in page:
                    break
                cursor = {"cursor": page["nextCursor"]}
            assert set(found) == ids
            assert len(found) == 5


@pytest.mark.requirement("T25-142", "T25-144")
async def test_a_cursor_of_somebody_else(make_peer: MakePeer) -> None:
    async with scene(make_peer) as at:
        for _ in range(3):
            await task_of(at.ada)
            await task_of(at.bob)
        page = (await at.ada.ask("tasks/list")).json["result"]
        cursor = page["nextCursor"]
        foreign = await at.bob.ask("tasks/list", {"cursor": cursor}, id="x")
        wrong = await at.bob.ask("tasks/list", {"cursor": cursor[::-1]}, id="x")
        assert faceless(foreign, cursor) == faceless(wrong, cursor[::-1])
        assert foreign.json["error"]["code"] == -32602
        assert len((await at.ada.ask("tasks/list", {"cursor": cursor})).json["result"]["tasks"]) == 1


@pytest.mark.requirement("T25-142", "T25-143")
async def test_a_question_of_somebody_elses_task(make_peer: MakePeer) -> None:
    """Asking for the result, by which questions travel, does not draw them away from their owner."""
    async with scene(make_peer) as at:
        id = await task_of(at.ada, "ask")
        line = await at.ada.begin("tasks/result", {"taskId": id})
        await line.head()
        question = await line.message()
        assert question["params"]["message"] == SECRET
        stolen = await at.bob.ask("tasks/result", {"taskId": id})
        assert "error" in stolen.json
        answer = {"action": "accept", "content": {"name": "of bob's"}}
        assert (await at.bob.reply(question, answer)).status == 202  # an answer to nothing, in his own session
        await settled()
        assert (await at.ada.ask("tasks/get", {"taskId": id})).json["result"]["status"] == "input_required"
        await at.ada.reply(question, {"action": "accept", "content": {"name": "of ada's"}})
        while "result" not in (message := await line.message()):
            assert message["method"] == "notifications/tasks/status"
        assert text_of(message["result"]) == "of ada's"


# --- sessions ---------------------------------------------------------------------------------------------------------


def thief(at: Scene, session_id: str | None) -> Script:
    """Bob, naming a session that is not his."""
    script = Script(at.server.url, token="token-of-bob")
    script.session_id = session_id
    script.lines = at.bob.lines  # closed with his own
    return script


@pytest.mark.requirement("C25-129", "C25-142", "C25-143", "C25-145")
@pytest.mark.parametrize(
    "act",
    [
        lambda script: script.ask("ping", id="x"),
        lambda script: script.ask("tools/call", {"name": "work", "arguments": {}}, id="x"),
        lambda script: script.ask("initialize", {"protocolVersion": "2025-11-25"}, id="x"),
        lambda script: script.tell("notifications/cancelled", {"requestId": "w"}),
        lambda script: script.say({"jsonrpc": "2.0", "id": 1, "result": {"action": "decline"}}),
        lambda script: script.say({"jsonrpc": "2.0", "id": 1, "result": 7}),
        lambda script: script.say([]),
        lambda script: script.delete(),
    ],
    ids=["ping", "call", "initialize", "cancel", "response", "wrong response", "malformed", "delete"],
)
async def test_a_session_of_somebody_else(make_peer: MakePeer, act: Callable[[Script], Any]) -> None:
    async with scene(make_peer) as at:
        assert at.ada.session_id is not None
        going_on = await at.ada.begin("tools/call", {"name": "ask", "arguments": {}}, id="w")
        await going_on.head()
        question = await going_on.message()
        foreign = await act(thief(at, at.ada.session_id))
        nobodys = await act(thief(at, made_up(at.ada.session_id)))
        assert faceless(foreign, at.ada.session_id) == faceless(nobodys, made_up(at.ada.session_id))
        assert foreign.status in (400, 404)
        await settled()
        assert (await at.ada.ask("ping")).status == 200
        await at.ada.reply(question, {"action": "accept", "content": {"name": "undisturbed"}})
        assert text_of((await going_on.message())["result"]) == "undisturbed"


@pytest.mark.requirement("C25-129", "C25-143")
async def test_streams_of_a_session_of_somebody_else(make_peer: MakePeer) -> None:
    """Neither a new one nor one that is named; and the one that is open is not taken over."""
    async with scene(make_peer) as at:
        assert at.ada.session_id is not None
        open_one = await at.ada.listen()
        first = await open_one.event()
        for last_event_id in (None, first.id):
            foreign = await (await thief(at, at.ada.session_id).get(last_event_id)).answer()
            nobodys = await (await thief(at, made_up(at.ada.session_id)).get(last_event_id)).answer()
            assert faceless(foreign, at.ada.session_id) == faceless(nobodys, made_up(at.ada.session_id))
            assert foreign.status == 404
        for connection in list(at.peer.connections):
            if connection.principal == "ada":
                connection.announce("notifications/tools/list_changed")
        assert (await open_one.message())["method"] == "notifications/tools/list_changed"


@pytest.mark.requirement("C25-117", "C25-121")
async def test_event_ids_of_somebody_else(make_peer: MakePeer) -> None:
    """In a session of one's own they name nothing, or something of one's own."""
    async with scene(make_peer) as at:
        call = {"name": "work", "arguments": {}, "_meta": {"progressToken": "p"}}
        line = await at.ada.begin("tools/call", call)
        await line.head()
        ids = [(await line.event()).id for _ in range(2)]
        at.go.set()
        ids.append((await line.event()).id)
        for id in ids:
            assert id is not None
            foreign = await (await at.bob.get(id)).answer()
            nobodys = await (await at.bob.get(id + "9")).answer()
            assert faceless(foreign, id) == faceless(nobodys, id + "9")
            assert foreign.status == 400
            # Even where bob has a stream of that name.
            own = await at.bob.begin("tools/call", {"name": "ask", "arguments": {}})
        await own.head()
        await own.message()
        for id in ids:
            line = await at.bob.get(id)
            await settled()
            heard = await line.stream.receive_some(65536)
            assert heard.startswith(b"HTTP/1.1 ")
            assert b"notifications/progress" not in heard
            assert b"result" not in heard
        # And in another session of ada's own, nothing of the first is replayed.
        async with scripting(at.server.url, token="token-of-ada") as second:
            for id in ids:
                assert (await (await second.get(id)).answer()).status == 400


@pytest.mark.requirement("C25-115")
async def test_the_same_ids_and_tokens(make_peer: MakePeer) -> None:
    """Both use request id 1 and progress token p: neither hears of the other's, nor cancels it."""
    async with scene(make_peer) as at:
        call = {"name": "work", "arguments": {}, "_meta": {"progressToken": "p"}}
        lines = {}
        for script in (at.ada, at.bob):
            lines[script] = await script.begin("tools/call", call, id=1)
            await lines[script].head()
            assert (await lines[script].message())["params"]["progress"] == 1
        await at.bob.tell("notifications/cancelled", {"requestId": 1})
        await until(lambda: at.ended)
        assert at.ended == ["cancelled"]
        at.go.set()
        assert text_of((await lines[at.ada].message())["result"]) == SECRET
        with pytest.raises(EOFError):
            await lines[at.bob].message()


# --- nobody -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-142", "C25-143", "C25-375", "C25-379")
@pytest.mark.parametrize("token", [None, "token-of-eve", "token-of-ada "[:-2]])
async def test_without_a_token_that_is_good(make_peer: MakePeer, token: str | None) -> None:
    """A session id is no proof of anything, whatever is asked."""
    async with scene(make_peer) as at:
        eve = Script(at.server.url, token=token)
        for session_id in (None, at.ada.session_id, made_up(at.ada.session_id or "")):
            eve.session_id = session_id
            for reply in (
                await eve.ask("initialize", {"protocolVersion": "2025-11-25"}),
                await eve.ask("tools/list"),
                await (await eve.get()).answer(),
                await eve.delete(),
            ):
                assert reply.status == 401
                assert reply.headers["www-authenticate"].startswith('Bearer realm="test"')
                assert "mcp-session-id" not in reply.headers
        await eve.aclose()
        assert (await at.ada.ask("ping")).status == 200


@pytest.mark.requirement("C25-142")
async def test_a_token_that_is_withdrawn(make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the midst of a session: from then on nothing goes; with a new token of the same principal all does."""
    async with scene(make_peer) as at:
        id = await task_of(at.ada)
        monkeypatch.delitem(TOKENS, "token-of-ada")
        monkeypatch.setitem(TOKENS, "another-of-ada", "ada")
        assert (await at.ada.ask("tasks/get", {"taskId": id})).status == 401
        again = Script(at.server.url, token="another-of-ada")
        again.session_id = at.ada.session_id
        reply = await again.ask("tasks/get", {"taskId": id})
        assert reply.json["result"]["status"] == "working"
        await again.aclose()


@pytest.mark.requirement("C25-142")
async def test_a_connection_that_changes_hands(make_peer: MakePeer) -> None:
    """Each request says who it is from, however many come by one connection."""
    async with scene(make_peer) as at:
        id = await task_of(at.ada)
        line = await at.ada.dial()
        for script, expected in ((at.ada, "result"), (at.bob, "error"), (at.ada, "result")):
            body = json.dumps(script.request("tasks/get", {"taskId": id})).encode()
            await line.send(request_bytes("POST", "/mcp", script.headers(), body))
            assert expected in (await line.answer()).json


@pytest.mark.requirement("T25-141")
async def test_where_nobody_is_told_apart(make_peer: MakePeer) -> None:
    """Without authentication a task is whose who knows its id, and there is no list to learn ids from."""
    peer = make_peer()

    @peer.tool(task="optional")
    async def work() -> str:
        return "worked"

    async with serving(peer) as server, scripting(server.url) as one, scripting(server.url) as other:
        id = await task_of(one)
        assert text_of((await other.ask("tasks/result", {"taskId": id})).json["result"]) == "worked"
        for script in (one, other):
            assert (await script.ask("tasks/list")).json["error"]["code"] == -32601
