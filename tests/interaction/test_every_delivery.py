"""One handler, every delivery: the promise that everything else is for.

The same functions run as plain requests and as tasks, in a session and without one, in memory, over the pipes of a
process and over sockets. Whatever the delivery, the client sees the same answers and is asked the same, the journal is
the same in the end, what must not be done twice is done once, and cancelling runs the handler's cleanup.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

import mcp_tasks
from mcp_tasks import Connection, Context, Peer, open_http, open_stdio, serve_http
from mcp_tasks.testing import check_leaks, peer_pair
from mcp_tasks.wire.client_features import ElicitResult

PROGRAM = '''
import json

import trio

from mcp_tasks import Context, Elicit, Peer, serve_stdio

peer = Peer("agency", "1.0")
log = []
changed = trio.Condition()


async def say(word):
    log.append(word)
    async with changed:
        changed.notify_all()


async def pay():
    await say("paid")
    return {"receipt": log.count("paid")}


async def book(ctx: Context, nights: int) -> str:
    """Ask, do what must be done once, ask for two things more, and tell what is known in the end."""
    where = await ctx.elicit("Where to?", {"city": str})
    if not where.accepted:
        return f"no booking: {where.action}"
    receipt = await ctx.once("pay", pay)
    rest = await ctx.ask_all({"meal": Elicit("What to eat?", {"dish": str}), "view": Elicit("Sea?", {"sea": bool})})
    again = await ctx.elicit("Sure?", {"sure": bool})
    journal = {key: ctx._delivery.journal()[key] for key in sorted(ctx._delivery.journal())}
    chosen = [rest["meal"]["dish"], rest["view"]["sea"], again["sure"]]
    return json.dumps([nights, where["city"], receipt, *chosen, journal])


async def work(ctx: Context, ask: bool) -> str:
    """Work until it is cancelled, perhaps after a question; then clean up."""
    try:
        if ask:
            await ctx.elicit("Shall I?", {"yes": bool})
        await say("working")
        await trio.sleep_forever()
    finally:
        if "working" in log:
            with trio.CancelScope(shield=True):
                await say("cleaned")
    return "never"


for function in (book, work):
    peer.tool(name=function.__name__, task="optional", grace=600)(function)
    peer.tool(name=function.__name__ + "_as_a_task", task="required")(function)


@peer.tool
async def wait_for(word: str) -> list[str]:
    """Wait until something has been said; returns all that was."""
    async with changed:
        while word not in log:
            await changed.wait()
    return log


if __name__ == "__main__":
    trio.run(serve_stdio, peer)
'''

ANSWERS = {
    "Where to?": {"city": "Turin"},
    "What to eat?": {"dish": "plin"},
    "Sea?": {"sea": False},
    "Sure?": {"sure": True},
}
JOURNAL = {
    "elicit-1": {"action": "accept", "content": {"city": "Turin"}},
    "elicit-2": {"action": "accept", "content": {"sure": True}},
    "meal": {"action": "accept", "content": {"dish": "plin"}},
    "pay": {"receipt": 1},
    "view": {"action": "accept", "content": {"sea": False}},
}


@frozen
class Delivery:
    """A revision, and whether the request is a task in it."""

    revision: str
    task: bool

    def tool(self, name: str) -> str:
        """In a session the client says whether it wants a task; without one it is the tool that is or is not one."""
        return f"{name}_as_a_task" if self.task and self.revision == "2026-07-28" else name

    async def call(self, connection: Connection, name: str, arguments: dict[str, Any]) -> str:
        return (await connection.call_tool(self.tool(name), arguments, task=self.task or None)).text


DELIVERIES = [
    pytest.param(Delivery(revision, task), id=f"{revision}-{'task' if task else 'plain'}")
    for revision in ("2025-11-25", "2026-07-28")
    for task in (False, True)
]


@define
class User:
    """Answers questions, and remembers them; or hangs over one."""

    peer: Peer = field(factory=lambda: Peer("user", "0"))
    asked: list[str] = field(factory=list)
    hangs_over: str = ""
    declines: str = ""
    hanging: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.peer.elicitation(self.answer)

    async def answer(self, ctx: Context, form: Any) -> Any:
        self.asked.append(form.message)
        if form.message == self.hangs_over:
            self.hanging.set()
            await trio.sleep_forever()
        if form.message == self.declines:
            return ElicitResult(action="decline")
        return ANSWERS.get(form.message, {"yes": True})


Connect = Callable[[User, str], AbstractAsyncContextManager[Connection]]


@pytest.fixture(params=["memory", "stdio", "http"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Connects a user to the program, as it is carried."""

    @asynccontextmanager
    async def in_memory(user: User, revision: str) -> AsyncIterator[Connection]:
        names = _program()
        async with peer_pair(user.peer, names["peer"], revision=revision) as pair:
            yield pair.client
        check_leaks(user.peer, names["peer"])

    @asynccontextmanager
    async def over_stdio(user: User, revision: str) -> AsyncIterator[Connection]:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM)
        root = str(Path(mcp_tasks.__file__).parent.parent)
        env = {"PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)])}
        async with (
            open_stdio([sys.executable, path], env=env) as transport,
            user.peer.connect(transport, revision=revision) as connection,
        ):
            yield connection
        check_leaks(user.peer)

    @asynccontextmanager
    async def over_http(user: User, revision: str) -> AsyncIterator[Connection]:
        names = _program()
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_http, names["peer"]))
            async with (
                open_http(server.url, trust_env=False) as transport,
                user.peer.connect(transport, revision=revision) as connection,
            ):
                yield connection
            await server.aclose()
            nursery.cancel_scope.cancel()
        check_leaks(user.peer, names["peer"])

    return {"memory": in_memory, "stdio": over_stdio, "http": over_http}[request.param]  # type: ignore[return-value]


def _program() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "program"}
    exec(PROGRAM, names)
    return names


@pytest.mark.requirement("C26-267", "C26-274", "X26-044", "T25-076")
@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_the_same_answers_and_the_same_journal(connect: Connect, delivery: Delivery) -> None:
    user = User()
    async with connect(user, delivery.revision) as connection:
        said = json.loads(await delivery.call(connection, "book", {"nights": 3}))
        assert said == [3, "Turin", {"receipt": 1}, "plin", False, True, JOURNAL]
        log = json.loads((await connection.call_tool("wait_for", {"word": "paid"})).text)["result"]
    assert log == ["paid"]  # once, however often the handler ran
    assert sorted(user.asked) == sorted(ANSWERS)  # each once
    assert user.asked[0] == "Where to?"
    assert user.asked[-1] == "Sure?"


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_the_same_when_the_user_declines(connect: Connect, delivery: Delivery) -> None:
    user = User(declines="Where to?")
    async with connect(user, delivery.revision) as connection:
        assert await delivery.call(connection, "book", {"nights": 3}) == "no booking: decline"
    assert user.asked == ["Where to?"]


@pytest.mark.requirement("C26-126", "C26-165", "X26-087", "T25-116")
@pytest.mark.parametrize("ask", [False, True])
@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_cancelled_at_work(connect: Connect, delivery: Delivery, ask: bool) -> None:
    """Whoever waits gives up: the work is cancelled over there, and cleans up."""
    user = User()
    async with connect(user, delivery.revision) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delivery.call, connection, "work", {"ask": ask})
            await connection.call_tool("wait_for", {"word": "working"})
            nursery.cancel_scope.cancel()
        log = json.loads((await connection.call_tool("wait_for", {"word": "cleaned"})).text)["result"]
    assert log == ["working", "cleaned"]
    assert user.asked == (["Shall I?"] if ask else [])


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_cancelled_while_the_user_thinks(connect: Connect, delivery: Delivery) -> None:
    """The user's side is told as well, and nothing is left of either."""
    user = User(hangs_over="Shall I?")
    async with connect(user, delivery.revision) as connection:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delivery.call, connection, "work", {"ask": True})
            await user.hanging.wait()
            nursery.cancel_scope.cancel()
        assert (await connection.call_tool("book", {"nights": 1})).text  # the connection is as good as before
    assert user.asked[0] == "Shall I?"
