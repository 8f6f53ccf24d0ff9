"""Questions and tasks across a bridge: each goes to whoever made the call, in the way of their era."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from mcp_tasks import (
    Context,
    Elicit,
    Limits,
    Peer,
    RequestFailed,
    RequestRejected,
    TaskCancelled,
    UrlElicitationRequired,
)
from mcp_tasks.testing import peer_pair, scripted
from mcp_tasks.wire.client_features import ElicitResult
from mcp_tasks.wire.tasks import TaskStatus

from ._bridged import EVERY_WAY, NEW, OLD, STRICT, Eras, Notes, User, bridged, make_server, text_of, through


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def server(make_peer: Callable[..., Peer], notes: Notes) -> Peer:
    return make_server(make_peer("forge", "2.0", title="The forge", instructions="Build boats."), notes)


@pytest.fixture
def user() -> User:
    return User()


@pytest.fixture
def client(make_peer: Callable[..., Peer], user: User) -> Peer:
    return user.attach(make_peer("client", "1.0"))


@pytest.fixture(params=EVERY_WAY, ids=[f"{there[:4]}-to-{here[:4]}" for there, here in EVERY_WAY])
def eras(request: pytest.FixtureRequest) -> Eras:
    """What the server speaks, and what the client speaks."""
    return request.param  # type: ignore[no-any-return]


# --- questions --------------------------------------------------------------------------------------------------------


async def test_a_question(server: Peer, client: Peer, eras: Eras, user: User, notes: Notes) -> None:
    async with through(server, client, eras) as connection:
        assert await text_of(connection, "greet") == "hello Ada"
    (form,) = user.asked
    assert (form.message, form.requested_schema["required"]) == ("Who?", ["name"])
    assert notes.ran == ["greet"] * (1 if eras[0] == OLD else 2)  # never more often than without a bridge


async def test_two_questions(server: Peer, client: Peer, eras: Eras, user: User, notes: Notes) -> None:
    async with through(server, client, eras) as connection:
        assert await text_of(connection, "greet_two") == "hello Ada and Bea"
    assert [form.message for form in user.asked] == ["Who?", "And who?"]
    assert notes.ran == ["greet_two"] * (1 if eras[0] == OLD else 3)


async def test_questions_at_once(make_peer: Callable[..., Peer], client: Peer, user: User, eras: Eras) -> None:
    peer = make_peer("quiz")

    @peer.tool
    async def both(ctx: Context) -> str:
        answers = await ctx.ask_all({"one": Elicit("One?", {"name": str}), "two": Elicit("Two?", {"name": str})})
        return " ".join(sorted(answer["name"] for answer in answers.values()))

    async with through(peer, client, eras) as connection:
        assert await text_of(connection, "both") == "Ada Bea"


async def test_a_question_is_declined(server: Peer, make_peer: Callable[..., Peer], eras: Eras) -> None:
    client = make_peer("shy")

    @client.elicitation
    async def elicit(ctx: Context, params: Any) -> ElicitResult:
        return ElicitResult(action="decline")

    async with through(server, client, eras) as connection:
        assert await text_of(connection, "greet") == "no: decline"


async def test_the_user_says_no(server: Peer, make_peer: Callable[..., Peer]) -> None:
    """An error in answer to a question reaches the server of a session, whoever the client is."""
    heard: list[Any] = []
    client = make_peer("guarded")

    @client.sampling
    async def sample(ctx: Context, params: Any) -> Any:
        raise RequestRejected("not today")

    @server.tool
    async def try_it(ctx: Context) -> str:
        try:
            await ctx.sample("a poem")
        except RequestFailed as refused:
            heard.append((refused.code, refused.message))
        return "so be it"

    async with through(server, client, (OLD, OLD)) as connection:
        assert await text_of(connection, "try_it") == "so be it"
    assert heard == [(-1, "not today")]


@pytest.mark.filterwarnings(STRICT)
async def test_sampling_roots_and_pages(server: Peer, client: Peer, eras: Eras, user: User) -> None:
    async with through(server, client, eras) as connection:
        assert await text_of(connection, "write") == "roses"
        assert (user.asked[0].max_tokens, user.asked[0].system_prompt) == (7, "be brief")
        assert await text_of(connection, "look_around") == "file:///home"
        assert await text_of(connection, "sign_in") == "accept"
        assert user.asked[1].url == "https://example.org/in"


async def test_a_prompt_and_a_resource_with_questions(
    make_peer: Callable[..., Peer], client: Peer, user: User, eras: Eras
) -> None:
    peer = make_peer("asks")

    @peer.prompt
    async def letter(ctx: Context) -> str:
        return f"write to {(await ctx.elicit('Whom?', {'name': str}))['name']}"

    @peer.resource("diary:today")
    async def diary(ctx: Context) -> str:
        return f"the diary of {(await ctx.elicit('Whose?', {'name': str}))['name']}"

    async with through(peer, client, eras) as connection:
        assert (await connection.get_prompt("letter")).messages[0].content.text == "write to Ada"
        assert (await connection.read_resource("diary:today")).contents[0].text == "the diary of Bea"


async def test_the_older_way_to_send_a_user_somewhere(
    make_peer: Callable[..., Peer], client: Peer, user: User, eras: Eras
) -> None:
    """An error in one era is a question in the other; the call is made anew after it."""
    runs: list[int] = []
    peer = make_peer("pages")

    @peer.tool
    async def secret(ctx: Context) -> str:
        runs.append(1)
        if len(runs) == 1:
            visit = {"mode": "url", "message": "sign in", "url": "https://example.org/x", "elicitationId": "e1"}
            raise UrlElicitationRequired([visit])
        return f"for {(await ctx.elicit('Who?', {'name': str}))['name']} only"

    async with through(peer, client, eras) as connection:
        if eras == (OLD, OLD):
            with pytest.raises(RequestFailed) as refused:
                await connection.call_tool("secret")
            assert refused.value.code == -32042
            return
        assert await text_of(connection, "secret") == "for Ada only"
    assert [getattr(asked, "url", None) for asked in user.asked] == ["https://example.org/x", None]


async def test_two_clients_with_questions_at_once(server: Peer, make_peer: Callable[..., Peer]) -> None:
    """A server without sessions: each is asked what concerns its own call, in either era."""
    users = {name: User(names=[name] * 4) for name in ("Ada", "Bea")}
    for here in (OLD, NEW):
        async with bridged(server, NEW) as peer, trio.open_nursery() as nursery:
            for name in users:

                @nursery.start_soon
                async def call(name: str = name, here: str = here) -> None:
                    client = users[name].attach(make_peer(name))
                    async with peer_pair(client, peer, revision=here) as pair:
                        assert await text_of(pair.client, "greet_two") == f"hello {name} and {name}"

    assert [len(user.asked) for user in users.values()] == [4, 4]


async def test_whose_question_it_is_in_a_session(
    server: Peer, make_peer: Callable[..., Peer], notes: Notes, autojump_clock: MockClock
) -> None:
    """One that names no task is put to the only client with a call under way; with several it is put to none."""
    one, two = (User().attach(make_peer(name)) for name in ("one", "two"))
    async with (
        bridged(server, OLD) as peer,
        peer_pair(one, peer, revision=OLD) as first,
        peer_pair(two, peer, revision=NEW) as second,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(first.client.call_tool, "wait")
        await notes.begun.wait()
        assert await text_of(first.client, "greet") == "hello Ada"  # both are calls of the same client
        with pytest.raises(RequestFailed, match="which of several clients"):
            await second.client.call_tool("greet")
        # A task's question names the task.
        result = await second.client.call_tool("build", {"ask": True})
        assert result.text == "a Ada boat"
        nursery.cancel_scope.cancel()


async def test_a_question_that_crosses_a_withdrawal(make_peer: Callable[..., Peer], autojump_clock: MockClock) -> None:
    """What a server asks for a call that it does not know to be withdrawn is put to no other client."""
    stubborn = make_peer("stubborn")
    asked = trio.Event()

    @stubborn.tool
    async def ask_late(ctx: Context) -> str:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True), pytest.raises(RequestFailed, match="which of several clients"):
                await ctx.connection.elicit(Elicit("Who?", {"name": str}))
            asked.set()
        return "never"

    @stubborn.tool
    async def wait() -> str:
        await trio.sleep(20)
        return "waited"

    one, two = (User().attach(make_peer(name)) for name in ("one", "two"))
    async with (
        bridged(stubborn, OLD) as peer,
        peer_pair(one, peer, revision=OLD) as first,
        peer_pair(two, peer, revision=OLD) as second,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(second.client.call_tool, "wait")
        with trio.move_on_after(1):
            await first.client.call("tools/call", {"name": "ask_late"})
        await asked.wait()


async def test_a_question_outside_of_any_call(make_peer: Callable[..., Peer], client: Peer) -> None:
    peer = make_peer("curious")

    @peer.tool
    async def echo(text: str) -> str:
        return text

    async with bridged(peer, OLD) as served:
        (to_us,) = peer.connections
        with pytest.raises(RequestFailed, match="nobody to ask"):
            await to_us.list_roots()
        async with peer_pair(client, served, revision=OLD):
            assert [root.uri for root in await to_us.list_roots()] == ["file:///home"]
        async with peer_pair(client, served, revision=NEW):
            with pytest.raises(RequestFailed, match="nobody to ask"):
                await to_us.list_roots()


async def test_the_client_never_comes_back(
    server: Peer, notes: Notes, make_peer: Callable[..., Peer], autojump_clock: MockClock
) -> None:
    """A call that waits for its answer is withdrawn when the time for that is over."""

    @server.tool
    async def hold(ctx: Context) -> str:
        try:
            await ctx.elicit("Well?", {"name": str})
        finally:
            notes.ended.append("hold")
        return "never"

    async with bridged(server, OLD, limits=Limits(state_seconds=60)) as peer, scripted(peer, revision=NEW) as remote:
        asked = await remote.request("tools/call", {"name": "hold"})
        assert asked["resultType"] == "input_required"
        await trio.sleep(59)
        assert notes.ended == []
        await trio.sleep(2)
        assert notes.ended == ["hold"]
        answers = {key: {"action": "accept", "content": {"name": "x"}} for key in asked["inputRequests"]}
        retry = {"name": "hold", "inputResponses": answers, "requestState": asked["requestState"]}
        with pytest.raises(RequestFailed, match="requestState") as refused:
            await remote.request("tools/call", retry)
        assert refused.value.code == -32602


async def test_the_call_is_over_when_the_client_comes_back(server: Peer, autojump_clock: MockClock) -> None:
    """A server that no longer wants to know: the retry gets the result all the same."""

    @server.tool
    async def impatient(ctx: Context) -> str:
        with trio.move_on_after(10):
            await ctx.elicit("Well?", {"name": str})
        return "too late"

    async with bridged(server, OLD) as peer, scripted(peer, revision=NEW) as remote:
        asked = await remote.request("tools/call", {"name": "impatient"})
        await trio.sleep(20)
        answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
        retry = {"name": "impatient", "inputResponses": answers, "requestState": asked["requestState"]}
        assert (await remote.request("tools/call", retry))["content"][0]["text"] == "too late"
        with pytest.raises(RequestFailed):
            await remote.request("tools/call", retry)


async def test_too_many_wait(server: Peer, notes: Notes) -> None:
    """The one that has waited longest makes room."""

    @server.tool
    async def hold(ctx: Context, n: int) -> str:
        try:
            return str((await ctx.elicit("Well?", {"name": str}))["name"])
        finally:
            notes.ended.append(str(n))

    async with bridged(server, OLD, limits=Limits(in_flight=2)) as peer, scripted(peer, revision=NEW) as remote:
        for n in range(3):
            last = await remote.request("tools/call", {"name": "hold", "arguments": {"n": n}})
        await remote.quiet()
        assert notes.ended == ["0"]
        answers = {key: {"action": "accept", "content": {"name": "x"}} for key in last["inputRequests"]}
        retry = {"inputResponses": answers, "requestState": last["requestState"]}
        result = await remote.request("tools/call", {"name": "hold", "arguments": {"n": 2}, **retry})
        assert result["content"][0]["text"] == "x"


# --- tasks ------------------------------------------------------------------------------------------------------------


async def test_a_task(server: Peer, client: Peer, eras: Eras, notes: Notes, autojump_clock: MockClock) -> None:
    said: list[Any] = []
    async with through(server, client, eras) as connection:
        params = {"name": "build", "arguments": {}}
        async with connection.start("tools/call", params, on_progress=said.append) as task:
            assert task.task is not None
            assert task.id not in server.tasks.lives  # it has an id of its own
            updates = [update async for update in task.updates()]
            assert updates[-1].status is TaskStatus.COMPLETED
            assert "hammering" in [update.status_message for update in updates]
            assert (await task.value()).text == "a boat"
            if eras == (OLD, OLD):
                assert [one.progress for one in said] == [1]
    assert notes.ran == ["build"]


async def test_a_question_in_a_task(
    server: Peer, client: Peer, eras: Eras, user: User, notes: Notes, autojump_clock: MockClock
) -> None:
    async with through(server, client, eras) as connection:
        params = {"name": "build", "arguments": {"ask": True}}
        async with connection.start("tools/call", params) as task:
            statuses = [update.status async for update in task.updates()]
            assert TaskStatus.INPUT_REQUIRED in statuses
            assert (await task.value()).text == "a Ada boat"
    assert notes.ran == ["build"]


async def test_a_task_is_cancelled(
    server: Peer, client: Peer, eras: Eras, notes: Notes, autojump_clock: MockClock
) -> None:
    async with through(server, client, eras) as connection:
        async with connection.start("tools/call", {"name": "wait_long"}) as task:
            await notes.begun.wait()
            assert (await task.cancel()).status is TaskStatus.CANCELLED
            with pytest.raises(TaskCancelled):
                await task.value()
        await trio.testing.wait_all_tasks_blocked()
        assert notes.ended == ["wait_long"]


async def test_the_task_of_the_server_is_cancelled(
    server: Peer, client: Peer, eras: Eras, notes: Notes, autojump_clock: MockClock
) -> None:
    async with (
        through(server, client, eras) as connection,
        connection.start("tools/call", {"name": "wait_long"}) as task,
    ):
        await notes.begun.wait()
        await trio.sleep(5)
        (theirs,) = server.tasks.lives
        owner = server.tasks.lives[theirs].record.principal
        await server.tasks.cancel(theirs, owner, "closing time")
        with pytest.raises(TaskCancelled) as cancelled:
            await task.value()
        assert cancelled.value.message == "closing time"
        assert theirs not in repr(cancelled.value)


async def test_a_task_that_fails(server: Peer, client: Peer, eras: Eras, autojump_clock: MockClock) -> None:
    @server.tool(task="optional")
    async def collapse() -> str:
        await trio.sleep(3)
        raise RequestFailed(-32050, "collapsed", [1])

    async with (
        through(server, client, eras) as connection,
        connection.start("tools/call", {"name": "collapse"}) as task,
    ):
        with pytest.raises(RequestFailed) as refused:
            await task.value()
    assert (refused.value.code, refused.value.message, refused.value.data) == (-32050, "collapsed", [1])


@pytest.mark.parametrize("here", [OLD, NEW])
async def test_a_tool_that_has_to_be_a_task(
    server: Peer, client: Peer, here: str, make_peer: Any, autojump_clock: MockClock
) -> None:
    """Where the server of a session insists, a client without tasks is served all the same, if its era lets it be."""

    @server.tool(task="required")
    async def launch(ctx: Context) -> str:
        await trio.sleep(3)
        return f"launched by {(await ctx.elicit('Who?', {'name': str}))['name']}"

    async with bridged(server, OLD) as peer:
        async with peer_pair(client, peer, revision=here) as pair:
            assert await text_of(pair.client, "launch") == "launched by Ada"
        capabilities = {"elicitation": {}}
        async with scripted(peer, revision=here, capabilities=capabilities) as remote:
            if here == OLD:
                with pytest.raises(RequestFailed) as refused:
                    await remote.request("tools/call", {"name": "launch"})
                assert refused.value.code == -32601
            else:
                asked = await remote.request("tools/call", {"name": "launch"})
                answers = {key: {"action": "accept", "content": {"name": "Eve"}} for key in asked["inputRequests"]}
                retry = {"name": "launch", "inputResponses": answers, "requestState": asked["requestState"]}
                result = await remote.request("tools/call", retry)
                assert result["content"][0]["text"] == "launched by Eve"


async def test_a_lifetime_is_handed_on(server: Peer, client: Peer, autojump_clock: MockClock) -> None:
    async with (
        through(server, client, (OLD, OLD)) as connection,
        connection.start("tools/call", {"name": "build"}, ttl=77) as task,
    ):
        await trio.testing.wait_all_tasks_blocked()
        (live,) = server.tasks.lives.values()
        assert live.record.ttl_ms == 77_000
        await task.result()
