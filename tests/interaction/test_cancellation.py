"""Taking requests back, in both directions, and the races that come with it."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import ConnectionClosed, Context, Peer, Side
from mcp_tasks.testing import Remote, peer_pair, scripted

MakePeer = Callable[..., Peer]


class Worker:
    """A peer that serves ``x/work`` until it is told to go on, and says what became of it."""

    def __init__(self, peer: Peer, side: Side) -> None:
        self.peer, self.side = peer, side
        self.go_on = trio.Event()
        self.log: list[str] = []
        peer.handle("x/work")(self.work)
        peer.handle("x/quick")(self.quick)

    async def work(self, ctx: Context, params: Any) -> Any:
        self.log.append("begun")
        try:
            await self.go_on.wait()
            self.log.append("done")
            return {"done": True}
        except trio.Cancelled:
            self.log.append("cancelled")
            raise

    async def quick(self, ctx: Context, params: Any) -> Any:
        return {"quick": True}

    def connect(self, **options: Any) -> Any:
        return scripted(self.peer, side=self.side, **options)


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def worker(request: pytest.FixtureRequest, make_peer: MakePeer) -> Worker:
    return Worker(make_peer(), request.param)


async def cancel(remote: Remote, id: Any, **members: Any) -> None:
    await remote.notify("notifications/cancelled", {"requestId": id, **members})


# --- they cancel ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-170", "C25-171")
@pytest.mark.parametrize("id", [1, "1", 0, ""])
async def test_a_cancelled_request_stops_and_is_not_answered(worker: Worker, id: Any) -> None:
    async with worker.connect() as remote:
        await remote.ask("x/work", id=id)
        await remote.quiet()
        before = len(remote.received)
        await cancel(remote, id, reason="never mind")
        await remote.quiet()
        assert worker.log == ["begun", "cancelled"]
        worker.go_on.set()
        assert await remote.request("x/quick") == {"quick": True}
        assert len(remote.received) == before + 1


@pytest.mark.requirement("C25-171")
async def test_a_request_cancelled_in_the_same_chunk_is_not_answered(worker: Worker) -> None:
    async with worker.connect() as remote:
        before = len(remote.received)
        await remote.send_raw(
            b'{"jsonrpc":"2.0","id":1,"method":"x/work"}\n'
            b'{"jsonrpc":"2.0","id":2,"method":"x/quick"}\n'
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n'
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}\n'
        )
        await remote.quiet()
        assert len(remote.received) == before
        assert "done" not in worker.log
        assert await remote.request("x/quick") == {"quick": True}


@pytest.mark.requirement("C25-172", "C25-174", "C25-177")
@pytest.mark.parametrize(
    "params",
    [
        {"requestId": "unknown"},
        {"requestId": 10**9},
        {},
        {"reason": "nothing in particular"},
        {"requestId": None},
        {"requestId": {}},
        {"requestId": 1.5},
        {"requestId": "r1", "reason": 3},
        {"requestId": ["r1"]},
    ],
)
async def test_a_cancellation_that_matches_nothing_is_ignored(worker: Worker, params: Any) -> None:
    async with worker.connect() as remote:
        await remote.ask("x/work", id="w")
        await remote.quiet()
        before = len(remote.received)
        await remote.notify("notifications/cancelled", params)
        await remote.quiet()
        assert len(remote.received) == before
        assert worker.log == ["begun"]
        worker.go_on.set()
        assert await remote.answer("w") == {"done": True}


async def test_one_and_the_text_one_are_cancelled_apart(worker: Worker) -> None:
    async with worker.connect() as remote:
        await remote.ask("x/work", id=1)
        await cancel(remote, "1")
        await remote.quiet()
        assert worker.log == ["begun"]
        worker.go_on.set()
        assert await remote.answer(1) == {"done": True}


@pytest.mark.requirement("C25-172", "C25-174")
async def test_a_cancellation_after_the_answer_is_ignored(worker: Worker) -> None:
    async with worker.connect() as remote:
        await remote.request("x/quick", id="q")
        await cancel(remote, "q")
        await cancel(remote, "q")
        assert await remote.request("x/quick", id="q2") == {"quick": True}


@pytest.mark.requirement("C25-174")
async def test_finishing_just_before_the_cancellation_is_read(worker: Worker) -> None:
    """The work is over, its answer not yet written, the cancellation is read: one of both wins, nothing breaks."""
    async with worker.connect() as remote:
        await remote.ask("x/work", id="w")
        await remote.quiet()
        worker.go_on.set()
        await cancel(remote, "w")
        await remote.quiet()
        answers = [message for message in remote.received if message.get("id") == "w"]
        assert len(answers) <= 1
        assert worker.log[0] == "begun"
        assert await remote.request("x/quick") == {"quick": True}


async def test_a_cancelled_id_may_be_used_again(worker: Worker) -> None:
    async with worker.connect() as remote:
        await remote.ask("x/work", id="w")
        await cancel(remote, "w")
        assert await remote.request("x/quick", id="w") == {"quick": True}


@pytest.mark.requirement("C25-171")
async def test_a_handler_that_answers_in_spite_of_the_cancellation_is_not_heard(worker: Worker) -> None:
    async def stubborn(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return {"too": "late"}

    async def failing(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    worker.peer.handle("x/stubborn")(stubborn)
    worker.peer.handle("x/failing")(failing)
    async with worker.connect() as remote:
        before = len(remote.received)
        for id, method in (("s", "x/stubborn"), ("f", "x/failing")):
            await remote.ask(method, id=id)
            await remote.quiet()
            await cancel(remote, id)
        await remote.quiet()
        assert len(remote.received) == before
        assert await remote.request("x/quick") == {"quick": True}


async def test_cleaning_up_takes_its_time_and_holds_up_nobody(
    worker: Worker, autojump_clock: trio.testing.MockClock
) -> None:
    cleaned = []

    async def careful(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                cleaned.append(trio.current_time())

    worker.peer.handle("x/careful")(careful)
    async with worker.connect() as remote:
        start = trio.current_time()
        await remote.ask("x/careful", id="c")
        await remote.quiet()
        await cancel(remote, "c")
        assert await remote.request("x/quick") == {"quick": True}
        assert trio.current_time() == start
        await trio.sleep(6)
        assert cleaned == [start + 5]


@pytest.mark.requirement("C25-170")
async def test_what_a_cancelled_handler_asked_is_taken_back(worker: Worker) -> None:
    async def ask_back(ctx: Context, params: Any) -> Any:
        return await ctx.connection.call("x/ask")

    worker.peer.handle("x/ask-back")(ask_back)
    async with worker.connect() as remote:
        await remote.ask("x/ask-back", id="a")
        asked = await remote.expect("x/ask")
        await cancel(remote, "a")
        taken_back = await remote.expect("notifications/cancelled")
        assert taken_back["params"]["requestId"] == asked["id"]
        await remote.quiet()
        assert not remote.answered("a")


async def test_initialize_cannot_be_cancelled_as_it_is_answered_at_once(make_peer: MakePeer) -> None:
    async with scripted(make_peer(), handshake=False) as remote:
        await remote.send_raw(
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
            b'"capabilities":{},"clientInfo":{"name":"c","version":"0"}}}\n'
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n'
        )
        assert (await remote.answer(1))["protocolVersion"] == "2025-11-25"
        assert await remote.request("ping") == {}


# --- we cancel --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-063", "C25-168")
async def test_a_cancelled_call_says_so_once_and_by_its_id(worker: Worker) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(remote.connection.call, "x/ask")
                request = await remote.expect("x/ask")
                scope.cancel()
        notice = await remote.expect("notifications/cancelled")
        assert notice.keys() == {"jsonrpc", "method", "params"}
        assert notice["params"]["requestId"] == request["id"]
        assert isinstance(notice["params"]["reason"], str)
        await remote.quiet()
        assert remote.unread() == []


@pytest.mark.requirement("C25-062", "C25-063", "C25-064", "C25-210")
async def test_a_timeout_is_a_cancellation(worker: Worker, autojump_clock: trio.testing.MockClock) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(30):
                await remote.connection.call("x/ask")
        request = await remote.expect("x/ask")
        assert (await remote.expect("notifications/cancelled"))["params"]["requestId"] == request["id"]
        assert remote.connection.session.calls == {}


@pytest.mark.requirement("C25-173", "C25-174")
@pytest.mark.parametrize(
    "answer", [{"result": {}}, {"error": {"code": 1, "message": "late"}}, {"result": 5}], ids=["ok", "error", "wrong"]
)
async def test_a_late_answer_is_dropped(worker: Worker, answer: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        with trio.move_on_after(1):
            await remote.connection.call("x/ask")
        request = await remote.expect("x/ask")
        await remote.expect("notifications/cancelled")
        await remote.send({"jsonrpc": "2.0", "id": request["id"], **answer})
        assert await remote.request("x/quick") == {"quick": True}
        assert remote.unread() == []


@pytest.mark.requirement("C25-168")
async def test_nothing_is_cancelled_that_was_answered(worker: Worker) -> None:
    """The answer has come, the caller has not run yet, and is cancelled: it is no longer theirs to stop."""
    async with worker.connect() as remote:
        assert remote.connection is not None
        connection = remote.connection
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.call, "x/ask")
                request = await remote.expect("x/ask")
                await remote.reply(request, {})
                while connection.session.calls:
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        await remote.quiet()
        assert remote.unread() == []


async def test_a_call_cancelled_before_it_is_sent_is_never_sent(worker: Worker) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        await remote.quiet()
        with trio.CancelScope() as scope:
            scope.cancel()
            await remote.connection.call("x/ask")
        await remote.quiet()
        said = [message["method"] for message in remote.unread()]
        assert said in ([], ["x/ask", "notifications/cancelled"])  # either nothing, or both
        assert scope.cancelled_caught


async def test_a_call_cancelled_while_its_progress_is_handled(worker: Worker) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        connection = remote.connection
        scope = trio.CancelScope()

        async def slow(progress: Any) -> None:
            scope.cancel()
            await trio.sleep_forever()

        with scope:
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    await connection.call("x/ask", on_progress=slow)

                nursery.start_soon(call)
                request = await remote.expect("x/ask")
                token = request["params"]["_meta"]["progressToken"]
                await remote.notify("notifications/progress", {"progressToken": token, "progress": 1})
        notice = await remote.expect("notifications/cancelled")
        assert notice["params"]["requestId"] == request["id"]


async def test_an_exception_of_the_progress_callback_takes_the_request_back(worker: Worker) -> None:
    async with worker.connect() as remote:
        assert remote.connection is not None
        connection, raised = remote.connection, []

        def fail(progress: Any) -> None:
            raise ValueError("mine")

        async def call() -> None:
            try:
                await connection.call("x/ask", on_progress=fail)
            except ValueError as error:
                raised.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            request = await remote.expect("x/ask")
            token = request["params"]["_meta"]["progressToken"]
            await remote.notify("notifications/progress", {"progressToken": token, "progress": 1})
            notice = await remote.expect("notifications/cancelled")
            assert notice["params"]["requestId"] == request["id"]
        assert raised == ["mine"]


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server_works", [True, False], ids=["to-server", "to-client"])
async def test_cancelling_here_stops_the_work_there(
    make_peer: MakePeer, server_works: bool, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = Worker(make_peer("c"), Side.CLIENT), Worker(make_peer("s"), Side.SERVER)
    async with peer_pair(client.peer, server.peer) as pair:
        caller, there = (pair.client, server) if server_works else (pair.server, client)
        with trio.move_on_after(1) as scope:
            await caller.call("x/work")
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert there.log == ["begun", "cancelled"]
        await caller.ping()


async def test_many_calls_of_which_every_other_is_cancelled(make_peer: MakePeer) -> None:
    client, server = Worker(make_peer("c"), Side.CLIENT), Worker(make_peer("s"), Side.SERVER)
    results: list[int] = []
    scopes: dict[int, trio.CancelScope] = {}

    async def call(connection: Any, number: int) -> None:
        with trio.CancelScope() as scopes[number]:
            await connection.call("x/work", {"n": number})
            results.append(number)

    async with peer_pair(client.peer, server.peer) as pair, trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(call, pair.client, number)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(0, 40, 2):
            scopes[number].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert server.log.count("cancelled") == 20
        server.go_on.set()
    assert sorted(results) == list(range(1, 40, 2))


async def test_the_end_of_the_connection_fails_calls_and_cancels_handlers(
    make_peer: MakePeer, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = Worker(make_peer("c"), Side.CLIENT), Worker(make_peer("s"), Side.SERVER)
    failed: list[str] = []

    async def call(connection: Any) -> None:
        try:
            await connection.call("x/work")
        except ConnectionClosed as closed:
            failed.append(str(closed))

    async with trio.open_nursery() as nursery, peer_pair(client.peer, server.peer) as pair:
        nursery.start_soon(call, pair.client)
        nursery.start_soon(call, pair.server)
        await trio.testing.wait_all_tasks_blocked()
        await pair.client.aclose()
    assert len(failed) == 2
    assert all(said.startswith("x/work: ") for said in failed)
    assert client.log == server.log == ["begun", "cancelled"]
