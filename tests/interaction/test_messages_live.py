"""JSON-RPC on a connection at work, as server and as client: what is answered, with what, and what never is."""

# ruff: noqa: PT012  (what fails is a whole exchange)
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio

from mcp_tasks import (
    ConnectionClosed,
    Context,
    InternalError,
    InvalidParams,
    InvalidRequest,
    LimitReached,
    Limits,
    LocalProtocolError,
    MethodNotFound,
    Peer,
    Refusal,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
    ResourceNotFound,
    Side,
    UrlElicitationRequired,
)
from mcp_tasks.testing import Remote, peer_pair, scripted

MakePeer = Callable[..., Peer]
Make = Callable[..., Any]


class Echo:
    """A peer that serves ``x/echo``, and ``x/wait`` until it is told to go on."""

    def __init__(self, peer: Peer, side: Side) -> None:
        self.peer = peer
        self.side = side
        self.go_on = trio.Event()
        self.waiting = 0
        peer.handle("x/echo")(self.echo)
        peer.handle("x/wait")(self.wait)

    async def echo(self, ctx: Context, params: Any) -> Any:
        return params

    async def wait(self, ctx: Context, params: Any) -> Any:
        self.waiting += 1
        try:
            await self.go_on.wait()
            return {"waited": True}
        finally:
            self.waiting -= 1

    def connect(self, **options: Any) -> Any:
        return scripted(self.peer, side=self.side, **options)


@pytest.fixture(params=[Side.SERVER, Side.CLIENT], ids=["server", "client"])
def echoing(request: pytest.FixtureRequest, make_peer: MakePeer) -> Make:
    return lambda **options: Echo(make_peer(**options), request.param)


@pytest.fixture
def echo(echoing: Make) -> Echo:
    return echoing()


async def works(remote: Remote) -> None:
    """The connection is as good as new."""
    assert await remote.request("x/echo", {"still": "here"}) == {"still": "here"}


def stray(remote: Remote) -> list[dict[str, Any]]:
    """Whatever has come that was no answer to a request of the script."""
    return remote.unread()


# --- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-010", "C25-011", "C25-013", "C25-018", "C25-071")
@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b'{"jsonrpc":"2.0","id":1,"method":"x/echo"',
        b'{"jsonrpc":"2.0","id":1,"method":"x/echo\xff"}',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"x/echo"}',
        b'{"jsonrpc":"2.0","id":1,"method":"x/echo"}{"jsonrpc":"2.0","id":2,"method":"x/echo"}',
        b" ",
    ],
)
async def test_a_parse_error_has_no_id_and_the_next_line_is_fine(echo: Echo, line: bytes) -> None:
    async with echo.connect() as remote:
        await remote.send_raw(line + b"\n")
        await works(remote)
        (error,) = stray(remote)
        assert error.keys() == {"jsonrpc", "error"}
        assert error["error"]["code"] == -32700
        assert error["error"]["message"].startswith("Parse error: ")


@pytest.mark.requirement("C25-010", "C25-014", "C25-017", "C25-018")
@pytest.mark.parametrize(
    ("message", "id", "reason"),
    [
        ({"jsonrpc": "2.0", "id": "a"}, "a", "$.method: required"),
        ({"jsonrpc": "2.0", "id": "a", "method": 1}, "a", "$.method: expected string, got integer"),
        (
            {"jsonrpc": "2.0", "id": "a", "method": "x/echo", "params": [1]},
            "a",
            "$.params: expected object, got array",
        ),
        ({"jsonrpc": "1.0", "id": "a", "method": "x/echo"}, "a", '$.jsonrpc: expected "2.0"'),
        ({"id": 7, "method": "x/echo"}, 7, '$.jsonrpc: expected "2.0"'),
        (
            {"jsonrpc": "2.0", "id": None, "method": "x/echo"},
            None,
            "$.id: expected string or integer, got null",
        ),
        (
            {"jsonrpc": "2.0", "id": 1.5, "method": "x/echo"},
            None,
            "$.id: expected string or integer, got number",
        ),
        ([{"jsonrpc": "2.0", "id": 1, "method": "x/echo"}], None, "$: batches are not supported"),
        ([], None, "$: batches are not supported"),
        ("text", None, "$: expected object, got string"),
        (None, None, "$: expected object, got null"),
    ],
)
async def test_an_invalid_request_is_answered_once(echo: Echo, message: Any, id: Any, reason: str) -> None:
    expected = {"jsonrpc": "2.0", "error": {"code": -32600, "message": f"Invalid request: {reason}"}}
    if id is not None:
        expected["id"] = id
    async with echo.connect() as remote:
        before = len(remote.received)
        await remote.send(message)
        await works(remote)
        assert remote.received[before] == expected
        assert len(remote.received) == before + 2


@pytest.mark.requirement("C25-018")
@pytest.mark.parametrize(
    "method", ["x/nope", "", "tools/Call", "rpc.discover", "tasks/update", "notifications/cancelled"]
)
async def test_an_unknown_method_is_not_found(echo: Echo, method: str) -> None:
    async with echo.connect() as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request(method, {})
        assert (caught.value.code, caught.value.message) == (-32601, f"Method not found: {method}")
        await works(remote)


@pytest.mark.requirement("C25-004", "C25-007", "C25-008")
@pytest.mark.parametrize("id", [0, 1, -1, 2**53 + 1, "", "1", "ü\n", "x" * 1000])
async def test_an_answer_repeats_the_id(echo: Echo, id: Any) -> None:
    async with echo.connect() as remote:
        await remote.request("x/echo", {}, id=id)
        assert remote.received[-1] == {"jsonrpc": "2.0", "id": id, "result": {}}
        assert type(remote.received[-1]["id"]) is type(id)


async def test_one_and_the_text_one_are_two_requests(echo: Echo) -> None:
    async with echo.connect() as remote:
        await remote.ask("x/wait", {}, id=1)
        await remote.ask("x/echo", {"n": "text"}, id="1")
        assert await remote.answer("1") == {"n": "text"}
        assert not remote.answered(1)
        echo.go_on.set()
        assert await remote.answer(1) == {"waited": True}


@pytest.mark.requirement("C25-006", "C25-018")
async def test_an_id_in_use_is_refused_and_the_first_request_goes_on(echo: Echo) -> None:
    async with echo.connect() as remote:
        await remote.ask("x/wait", {}, id="same")
        await remote.ask("x/echo", {}, id="same")
        await remote.quiet()
        (error,) = stray(remote)
        assert error["error"]["code"] == -32600
        assert "id" not in error
        assert not remote.answered("same")
        echo.go_on.set()
        assert await remote.answer("same") == {"waited": True}
        await works(remote)


async def test_an_id_may_be_used_again_by_whoever_insists(echo: Echo) -> None:
    """Senders must not, but there is no harm in serving it."""
    async with echo.connect() as remote:
        for number in range(3):
            assert await remote.request("x/echo", {"n": number}, id=5) == {"n": number}


async def test_answers_come_as_they_are_ready(echo: Echo) -> None:
    async with echo.connect() as remote:
        slow = await remote.ask("x/wait", {})
        assert await remote.request("x/echo", {}) == {}
        assert not remote.answered(slow)
        echo.go_on.set()
        await remote.answer(slow)


# --- what never is ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-015")
@pytest.mark.parametrize(
    "message",
    [
        {"method": "notifications/nope"},
        {"method": "x/echo"},
        {"method": "x/echo", "params": {"a": 1}},
        {"method": "ping"},
        {"method": "tools/call", "params": {"name": "x"}},
        {"method": "initialize", "params": {}},
        {"method": "x/echo", "params": [1]},
        {"method": "notifications/progress", "params": {}},
        {"method": "notifications/progress", "params": {"progressToken": None, "progress": "x"}},
        {"method": "notifications/cancelled", "params": {"requestId": {}}},
        {"method": "notifications/tasks/status", "params": {"taskId": 3}},
        {"method": "notifications/message", "params": {}},
        {"method": "notifications/initialized", "params": {"_meta": 3}},
    ],
)
async def test_a_notification_is_never_answered(echo: Echo, message: dict[str, Any]) -> None:
    async with echo.connect() as remote:
        before = len(remote.received)
        await remote.send({"jsonrpc": "2.0", **message})
        await works(remote)
        assert len(remote.received) == before + 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"id": 99, "result": {}}, "no request of ours"),
        ({"id": "99", "result": {"x": 1}}, "no request of ours"),
        ({"id": 99, "error": {"code": 1, "message": "m"}}, "no request of ours"),
        ({"error": {"code": -32700, "message": "what?"}}, "an error without an id: what?"),
        ({"id": None, "error": {"code": -32700, "message": "what?"}}, "an error without an id: what?"),
        ({"id": 99, "result": 5}, "$.result: expected object, got integer"),
        ({"id": 99, "result": {}, "error": {"code": 1, "message": "m"}}, "both result and error"),
        ({"id": 99, "error": {}}, "$.error.code"),
    ],
)
async def test_a_stray_response_is_dropped_and_logged(
    echo: Echo, caplog: pytest.LogCaptureFixture, message: dict[str, Any], said: str
) -> None:
    async with echo.connect() as remote:
        before = len(remote.received)
        await remote.send({"jsonrpc": "2.0", **message})
        await works(remote)
        assert len(remote.received) == before + 1
    (record,) = [record for record in caplog.records if record.name.startswith("mcp_tasks")]
    assert record.levelno == logging.WARNING
    assert said in record.getMessage()


# --- what our own calls make of answers -------------------------------------------------------------------------------


async def outcome(remote: Remote, *raw: dict[str, Any], method: str = "x/ask") -> Any:
    """What a call of the peer under test comes to when it is answered so."""
    assert remote.connection is not None
    got: list[Any] = []

    async def call() -> None:
        try:
            got.append(await remote.connection.call(method, {"q": 1}))  # type: ignore[union-attr]
        except (RequestFailed, RemoteProtocolError) as failure:
            got.append(failure)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        request = await remote.expect(method)
        for members in raw:
            await remote.send({"jsonrpc": "2.0", "id": request["id"], **members})
    return got[0]


@pytest.mark.requirement("C25-009")
async def test_a_call_is_answered_with_its_result(echo: Echo) -> None:
    async with echo.connect() as remote:
        assert await outcome(remote, {"result": {"a": [None]}}) == {"a": [None]}


@pytest.mark.requirement("C25-012")
@pytest.mark.parametrize("data", [None, 0, "x", {"a": 1}, []])
async def test_a_call_that_is_refused_says_everything(echo: Echo, data: Any) -> None:
    async with echo.connect() as remote:
        failure = await outcome(remote, {"error": {"code": 77, "message": "no way", "data": data}})
        assert isinstance(failure, RequestFailed)
        assert (failure.code, failure.message, failure.data) == (77, "no way", data)
        assert str(failure) == "no way (77)"


@pytest.mark.parametrize(
    "members",
    [
        {"result": None},
        {"result": []},
        {"error": "x"},
        {"error": {"code": "1", "message": "m"}},
        {"result": {}, "error": {"code": 1, "message": "m"}},
    ],
)
async def test_an_answer_that_is_none_fails_the_call(echo: Echo, members: Any) -> None:
    async with echo.connect() as remote:
        failure = await outcome(remote, members)
        assert isinstance(failure, RemoteProtocolError)
        assert "x/ask: the answer is no response" in str(failure)
        await works(remote)


async def test_only_the_first_answer_counts(echo: Echo) -> None:
    async with echo.connect() as remote:
        assert await outcome(remote, {"result": {"n": 1}}, {"result": {"n": 2}}, {"error": {}}) == {"n": 1}
        await works(remote)


async def test_the_same_id_as_text_is_no_answer(echo: Echo) -> None:
    async with echo.connect() as remote:
        assert remote.connection is not None
        got: list[Any] = []

        async def call() -> None:
            got.append(await remote.connection.call("x/ask"))  # type: ignore[union-attr]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            request = await remote.expect("x/ask")
            await remote.send({"jsonrpc": "2.0", "id": str(request["id"]), "result": {"wrong": 1}})
            await remote.quiet()
            assert got == []
            await remote.reply(request, {"right": 1})
        assert got == [{"right": 1}]


@pytest.mark.requirement("C25-004", "C25-006", "C25-016")
async def test_our_ids_are_never_used_twice(echo: Echo) -> None:
    async with echo.connect() as remote:
        for _ in range(20):
            await outcome(remote, {"result": {}})
        requests = [m for m in remote.received if m.get("method") == "x/ask"]
        ids = [request["id"] for request in requests]
        assert len(set(map(repr, ids))) == 20
        assert all(type(id) in (int, str) for id in ids)


async def test_calls_cross_each_other(make_peer: MakePeer) -> None:
    """Both sides mint ids from one on: the same id on either side is no clash."""
    client, server = Echo(make_peer("c"), Side.CLIENT), Echo(make_peer("s"), Side.SERVER)
    results: dict[str, Any] = {}

    async def call(name: str, connection: Any, number: int) -> None:
        results[f"{name}{number}"] = await connection.call("x/echo", {"n": number})

    async with peer_pair(client.peer, server.peer) as pair, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(call, "c", pair.client, number)
            nursery.start_soon(call, "s", pair.server, number)
    assert results == {f"{name}{number}": {"n": number} for name in "cs" for number in range(50)}


@pytest.mark.parametrize("value", [object(), {1j}, "\ud800"], ids=["object", "complex", "surrogate"])
async def test_params_that_are_no_json_are_never_sent(echo: Echo, value: Any) -> None:
    async with echo.connect() as remote:
        assert remote.connection is not None
        with pytest.raises((TypeError, ValueError)):
            await remote.connection.call("x/ask", {"value": value})
        with pytest.raises((TypeError, ValueError)):
            await remote.connection.notify("x/tell", {"value": value})
        await works(remote)
        assert stray(remote) == []


# --- handlers that fail -----------------------------------------------------------------------------------------------

ELICITATION = {"mode": "url", "message": "m", "url": "https://e.com", "elicitationId": "1"}
REFUSALS: list[tuple[Exception, int, Any]] = [
    (InvalidRequest("no"), -32600, None),
    (MethodNotFound("no"), -32601, None),
    (InvalidParams("no", {"path": "$"}), -32602, {"path": "$"}),
    (InternalError("no"), -32603, None),
    (LimitReached("no", "tea", 3), -32603, {"limit": "tea", "value": 3}),
    (ResourceNotFound("a:b"), -32002, {"uri": "a:b"}),
    (RequestRejected("no"), -1, None),
    (UrlElicitationRequired([ELICITATION]), -32042, {"elicitations": [ELICITATION]}),
    (RequestFailed(1234, "mine", [1]), 1234, [1]),
    (Refusal("something else"), -32603, None),
]


@pytest.mark.requirement("C25-012", "C25-013", "C25-018", "C25-222", "C25-287", "C25-322")
@pytest.mark.parametrize(("error", "code", "data"), REFUSALS, ids=lambda value: type(value).__name__)
async def test_a_refusal_has_its_number(echo: Echo, error: Exception, code: int, data: Any) -> None:
    async def refuse(ctx: Context, params: Any) -> Any:
        raise error

    echo.peer.handle("x/refuse")(refuse)
    async with echo.connect() as remote:
        id = await remote.ask("x/refuse", {})
        said = (await remote.response(id))["error"]
        assert said["code"] == code
        assert said["message"] == error.message  # type: ignore[attr-defined]
        assert said.get("data") == data


@pytest.mark.requirement("C25-320", "C25-321", "C25-322", "C25-323", "C25-325")
async def test_the_number_for_url_elicitation_is_not_used_before_its_revision(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def pay(ctx: Context) -> str:
        raise UrlElicitationRequired([ELICITATION])

    for revision, code in (("2025-11-25", -32042), ("2025-06-18", -32603)):
        async with scripted(peer, revision=revision) as remote:
            with pytest.raises(RequestFailed) as caught:
                await remote.request("tools/call", {"name": "pay"})
            assert (caught.value.code, caught.value.data) == (code, {"elicitations": [ELICITATION]})


@pytest.mark.requirement("C25-014", "C25-018", "C25-223", "C25-234", "C25-245", "C25-259")
@pytest.mark.parametrize(
    "error", [ValueError("secret 1234"), KeyError("secret"), trio.TooSlowError(), AssertionError()]
)
async def test_a_crash_is_answered_without_a_leak_and_logged(
    echo: Echo, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def crash(ctx: Context, params: Any) -> Any:
        raise error

    echo.peer.handle("x/crash")(crash)
    async with echo.connect() as remote:
        said = (await remote.response(await remote.ask("x/crash", {})))["error"]
        await works(remote)
    assert said["code"] == -32603
    assert said.keys() == {"code", "message"}
    assert "secret" not in json.dumps(said)
    assert type(error).__name__ not in json.dumps(said)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    reference = said["message"].partition("reference ")[2].rstrip(")")
    assert reference
    assert reference in record.getMessage()


@pytest.mark.parametrize("value", [object(), "\ud800", 1j], ids=["object", "surrogate", "complex"])
async def test_a_result_that_is_no_json_is_an_internal_error(
    echo: Echo, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    async def give(ctx: Context, params: Any) -> Any:
        return {"value": [value]}

    echo.peer.handle("x/give")(give)
    async with echo.connect() as remote:
        response = await remote.response(await remote.ask("x/give", {}))
        assert response["error"]["code"] == -32603
        await works(remote)
    assert any("is no JSON" in record.getMessage() for record in caplog.records)


async def test_an_error_whose_data_is_no_json_is_an_internal_error(echo: Echo) -> None:
    async def refuse(ctx: Context, params: Any) -> Any:
        raise RequestFailed(5, "five", object())

    echo.peer.handle("x/refuse")(refuse)
    async with echo.connect() as remote:
        response = await remote.response(await remote.ask("x/refuse", {}))
        assert response["error"]["code"] == -32603
        await works(remote)


@pytest.mark.parametrize("value", [5, "text", [1], True, 1.5], ids=repr)
async def test_a_result_that_is_no_object_is_an_internal_error(echo: Echo, value: Any) -> None:
    async def give(ctx: Context, params: Any) -> Any:
        return value

    echo.peer.handle("x/give")(give)
    async with echo.connect() as remote:
        response = await remote.response(await remote.ask("x/give", {}))
        assert response.get("error", {}).get("code") == -32603
        await works(remote)


async def test_no_result_is_an_empty_one(echo: Echo) -> None:
    async def give(ctx: Context, params: Any) -> Any:
        return None

    echo.peer.handle("x/give")(give)
    async with echo.connect() as remote:
        assert await remote.request("x/give") == {}


async def test_a_wrong_result_of_a_known_method_is_an_internal_error(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("tools/call")
    async def call(ctx: Context, params: Any) -> Any:
        return {"content": "text"}

    async with scripted(peer) as remote:
        response = await remote.response(await remote.ask("tools/call", {"name": "x"}))
        assert response["error"]["code"] == -32603


# --- params and _meta -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-027", "C25-028", "C25-033", "C25-034")
async def test_meta_reaches_the_handler_and_unknown_keys_are_tolerated(echo: Echo) -> None:
    seen: list[Any] = []

    async def look(ctx: Context, params: Any) -> Any:
        seen.append((ctx.method, ctx.meta, ctx.params))
        return {"_meta": {"com.example/out": 2}, "extra": 1}

    echo.peer.handle("x/look")(look)
    meta = {"com.example/in": 1, "traceparent": "00-1", "io.modelcontextprotocol/unknown": {"x": [1]}, "": None}
    async with echo.connect() as remote:
        result = await remote.request("x/look", {"a": 1, "_meta": meta})
        assert result == {"_meta": {"com.example/out": 2}, "extra": 1}
        assert seen == [("x/look", meta, {"a": 1, "_meta": meta})]
        await remote.request("x/look")
        assert seen[1] == ("x/look", {}, {})
        assert await remote.request("ping", {"_meta": meta}) == {}


@pytest.mark.parametrize("meta", [1, "x", [], True])
async def test_meta_that_is_no_object_is_refused(echo: Echo, meta: Any) -> None:
    async with echo.connect() as remote:
        with pytest.raises(RequestFailed) as caught:
            await remote.request("x/echo", {"_meta": meta})
        assert caught.value.code == -32602
        assert caught.value.message.startswith("$.params._meta: expected object")


async def test_meta_of_ours_is_sent_and_theirs_is_handed_on(echo: Echo) -> None:
    async with echo.connect() as remote:
        assert remote.connection is not None
        got: list[Any] = []

        async def call() -> None:
            assert remote.connection is not None
            params = {"_meta": {"com.example/k": 1}}
            got.append(await remote.connection.call("x/ask", params, on_progress=lambda p: None))
            assert params == {"_meta": {"com.example/k": 1}}  # the caller's own stays as it is

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            request = await remote.expect("x/ask")
            meta = request["params"]["_meta"]
            assert meta["com.example/k"] == 1
            assert meta.keys() == {"com.example/k", "progressToken"}
            await remote.reply(request, {"_meta": {"com.example/r": 2}})
        assert got == [{"_meta": {"com.example/r": 2}}]


# --- notifications ----------------------------------------------------------------------------------------------------


async def test_notifications_are_handled_in_order(echo: Echo) -> None:
    heard: list[int] = []

    @echo.peer.on("x/tell")
    async def told(connection: Any, params: Any) -> None:
        for _ in range(3 - params["n"] % 3):
            await trio.lowlevel.checkpoint()
        heard.append(params["n"])

    async with echo.connect() as remote:
        for number in range(50):
            await remote.notify("x/tell", {"n": number})
        await remote.quiet()
        assert heard == list(range(50))


async def test_a_notification_handler_that_fails_is_logged_and_the_next_one_runs(
    echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []

    @echo.peer.on("x/tell")
    async def told(connection: Any, params: Any) -> None:
        heard.append(params["n"])
        if params["n"] == 0:
            raise ValueError("oops")

    async with echo.connect() as remote:
        await remote.notify("x/tell", {"n": 0})
        await remote.notify("x/tell", {"n": 1})
        await works(remote)
        await remote.quiet()
    assert heard == [0, 1]
    assert any("the handler of x/tell failed" in record.getMessage() for record in caplog.records)


async def test_notification_handlers_that_are_too_slow_lose_the_oldest(
    echoing: Make, caplog: pytest.LogCaptureFixture
) -> None:
    echo = echoing(limits=Limits(notices=3))
    heard: list[int] = []
    go_on = trio.Event()

    @echo.peer.on("x/tell")
    async def told(connection: Any, params: Any) -> None:
        await go_on.wait()
        heard.append(params["n"])

    async with echo.connect() as remote:
        await remote.notify("x/tell", {"n": 0})
        await remote.quiet()  # being handled
        for number in range(1, 6):
            await remote.notify("x/tell", {"n": number})
        await works(remote)
        go_on.set()
        await remote.quiet()
    assert heard == [0, 3, 4, 5]
    assert any("too slow" in record.getMessage() for record in caplog.records)


async def test_a_handler_of_notifications_may_ask_back(echo: Echo) -> None:
    """It runs beside the reading, so the answer can come in."""
    answers: list[Any] = []

    @echo.peer.on("x/tell")
    async def told(connection: Any, params: Any) -> None:
        answers.append(await connection.call("x/ask"))

    async with echo.connect() as remote:
        await remote.notify("x/tell")
        await remote.reply(await remote.expect("x/ask"), {"a": 1})
        await remote.quiet()
    assert answers == [{"a": 1}]


async def test_notifications_and_requests_go_out_in_the_order_in_which_they_were_made(echo: Echo) -> None:
    async def chatter(ctx: Context, params: Any) -> Any:
        for number in range(5):
            await ctx.connection.notify("x/tell", {"n": number})
        return {"n": 5}

    echo.peer.handle("x/chatter")(chatter)
    async with echo.connect() as remote:
        before = len(remote.received)
        await remote.request("x/chatter")
        said = [message.get("params", message.get("result"))["n"] for message in remote.received[before:]]
        assert said == [0, 1, 2, 3, 4, 5]


# --- too much at once -------------------------------------------------------------------------------------------------


async def test_requests_beyond_the_limit_are_refused(echoing: Make) -> None:
    echo = echoing(limits=Limits(in_flight=3))
    async with echo.connect() as remote:
        ids = [await remote.ask("x/wait", {}) for _ in range(5)]
        await remote.quiet()
        for id in ids[3:]:
            with pytest.raises(RequestFailed) as caught:
                await remote.answer(id)
            assert caught.value.code == -32603
            assert caught.value.data == {"limit": "in_flight", "value": 3}
        assert echo.waiting == 3
        await remote.notify("notifications/cancelled", {"requestId": ids[0]})
        await works(remote)  # there is room again
        echo.go_on.set()
        for id in ids[1:3]:
            assert await remote.answer(id) == {"waited": True}


@pytest.mark.requirement("C25-150")
async def test_a_ping_is_answered_at_the_limit(echoing: Make) -> None:
    echo = echoing(limits=Limits(in_flight=1))
    async with echo.connect() as remote:
        await remote.ask("x/wait", {})
        await remote.quiet()
        assert await remote.request("ping") == {}


# --- misuse -----------------------------------------------------------------------------------------------------------


async def test_nothing_can_be_sent_on_a_connection_that_has_ended(echo: Echo) -> None:
    async with echo.connect() as remote:
        connection = remote.connection
        assert connection is not None
        await connection.aclose()
        await connection.wait_closed()
        assert connection.closed
        for verb in (connection.ping(), connection.call("x/ask"), connection.notify("x/tell")):
            with pytest.raises(ConnectionClosed):
                await verb
        await connection.aclose()


def test_a_method_has_one_handler_unless_it_is_replaced(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.roots = []
    peer.handle("roots/list")(lambda ctx, params: {"roots": []})
    with pytest.raises(LocalProtocolError):
        peer.elicitation(lambda ctx, params: {})
        peer.elicitation(lambda ctx, params: {})
