"""The client's transport without a session: what goes with each POST, and what is made of each answer."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from mcp_tasks import Connection, Peer, TaskCancelled
from mcp_tasks.abc import Inbound, Unanswered
from mcp_tasks.errors import (
    Challenge,
    ConnectionClosed,
    Forbidden,
    HttpError,
    InvalidShape,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    RequestFailed,
    Unauthorized,
)
from mcp_tasks.limits import HttpClientLimits, Limits
from mcp_tasks.transports.http.client import HttpClientTransport
from mcp_tasks.transports.http.pool import HttpPool, Url
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Message, Notification, Request, Response

from ._wire import BOTH, Asked, Network, ServerEnd, raw_answer

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

URL = "http://server.example:8080/mcp"
NEW = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASKS = "io.modelcontextprotocol/tasks"
META = {VERSION: NEW, CAPABILITIES: {}}
NOTE = Notification("notifications/progress", {"progressToken": 1, "progress": 1})
DONE = {"resultType": "complete", "content": []}


def ask(method: str = "tools/list", id: Any = 1, **params: Any) -> Request:
    return Request(id, method, {**params, "_meta": META})


def call(id: Any = 1, name: str = "work", **arguments: Any) -> Request:
    return ask("tools/call", id, name=name, arguments=arguments)


class Call:
    """A request that has reached the server, to be answered."""

    def __init__(self, end: ServerEnd, asked: Asked) -> None:
        self.end = end
        self.asked = asked
        self.left = trio.Event()
        """Set when the client has closed the connection."""

    @property
    def headers(self) -> dict[str, str]:
        return self.asked.headers

    @property
    def body(self) -> Any:
        return json.loads(self.asked.body)

    async def answer(self, **result: Any) -> None:
        await self.end.reply(200, Response(self.body["id"], result))

    async def refuse(self, status: int, code: int, message: str = "so it is", **options: Any) -> None:
        error = {"code": code, "message": message, **options}
        body = json.dumps({"jsonrpc": "2.0", "id": self.body["id"], "error": error}).encode()
        await self.end.reply(status, body, content_type="application/json")


class Server:
    """The scripted server: every request on every connection, in the order in which they come."""

    def __init__(self, network: Network, nursery: trio.Nursery) -> None:
        self.network = network
        self.calls: list[Call] = []
        self._nursery = nursery
        self._arrived = trio.lowlevel.ParkingLot()
        self._taken = 0
        nursery.start_soon(self._accept)

    async def _accept(self) -> None:
        while True:
            self._nursery.start_soon(self._read, await self.network.accept())

    async def _read(self, end: ServerEnd) -> None:
        found: Call | None = None
        while (asked := await end.request()) is not None:
            found = Call(end, asked)
            self.calls.append(found)
            self._arrived.unpark_all()
        if found is not None:
            found.left.set()

    async def next(self, rpc: str | None = None) -> Call:
        """The next request, which is a POST."""
        with trio.fail_after(86_400):
            while len(self.calls) == self._taken:
                await self._arrived.park()
        found = self.calls[self._taken]
        self._taken += 1
        assert found.asked.method == "POST"
        if rpc is not None:
            assert found.body["method"] == rpc, found.body
        return found

    async def quiet(self) -> bool:
        """Whether nothing more comes in no time."""
        await wait_all_tasks_blocked()
        return len(self.calls) == self._taken


class Client:
    """A transport, and everything that has come out of it."""

    def __init__(self, server: Server, nursery: trio.Nursery, **options: Any) -> None:
        self.server = server
        url = Url(options.pop("url", URL))
        limits = HttpClientLimits(**{name: options.pop(name) for name in list(options) if name in LIMITS})
        pool = HttpPool(url, ssl_context=None, limits=limits)
        self.transport = HttpClientTransport(url, pool, nursery, http_limits=limits, **options)
        self.transport.speaks(NEW)
        self.inbox: list[Inbound] = []
        self.transport.push_to(self.inbox.append)

    async def send(self, message: Message) -> Call:
        """Send something, and wait for it on the other side."""
        self.transport.send(message)
        return await self.server.next()

    async def failure(self) -> MCPError:
        """Why the request that was sent last will not be answered."""
        await wait_all_tasks_blocked()
        [message] = self.inbox
        assert isinstance(message, Unanswered), message
        return message.failure


LIMITS = {attribute.name for attribute in HttpClientLimits.__attrs_attrs__}


@pytest.fixture
def server(network: Network, nursery: trio.Nursery) -> Server:
    return Server(network, nursery)


@pytest.fixture
def make_client(server: Server, nursery: trio.Nursery) -> Callable[..., Client]:
    def make(**options: Any) -> Client:
        return Client(server, nursery, **options)

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


# --- what is sent -----------------------------------------------------------------------------------------------------


@requirement("C26-145", "C26-146", "C26-147", "C26-148", "C26-168", "C26-169", "C26-175", "X26-103")
@pytest.mark.parametrize("method", ["tools/list", "server/discover", "subscriptions/listen", "com.example/x"])
async def test_each_request_is_a_post_with_its_headers(client: Client, method: str) -> None:
    found = await client.send(ask(method))
    assert found.asked.target == "/mcp"
    assert found.asked.message == ask(method)
    assert found.headers == {
        "host": "server.example:8080",
        "accept": BOTH,
        "content-type": "application/json",
        "content-length": str(len(found.asked.body)),
        "mcp-protocol-version": NEW,
        "mcp-method": method,
    }


def b64(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@requirement("C26-176", "C26-177", "C26-191", "C26-192", "C26-193", "X26-102")
@pytest.mark.parametrize(
    ("method", "member"),
    [
        ("tools/call", "name"),
        ("prompts/get", "name"),
        ("resources/read", "uri"),
        ("tasks/get", "taskId"),
        ("tasks/update", "taskId"),
        ("tasks/cancel", "taskId"),
    ],
)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain", "plain"),
        ("with a space", "with a space"),
        (" x", b64(" x")),
        ("x ", b64("x ")),
        ("é", b64("é")),
        ("a\r\nX-Evil: 1", b64("a\r\nX-Evil: 1")),
        ("=?base64?eA==?=", b64("=?base64?eA==?=")),
        ("=?BASE64?eA==?=", "=?BASE64?eA==?="),
        ("\U0001f600", b64("\U0001f600")),
    ],
)
async def test_whom_it_is_for_is_a_header_too(client: Client, method: str, member: str, name: str, said: str) -> None:
    found = await client.send(ask(method, **{member: name}))
    assert found.headers["mcp-name"] == said
    assert found.headers["mcp-method"] == method
    assert "x-evil" not in found.headers


async def test_a_name_that_is_none_has_no_header(client: Client) -> None:
    for message in (ask("tools/call", name=5), ask("tools/call", 2), ask("tools/list", 3, name="x")):
        assert "mcp-name" not in (await client.send(message)).headers


SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "loud": {"type": "boolean", "x-mcp-header": "Loud"},
        "where": {"type": "object", "properties": {"x": {"type": "string", "x-mcp-header": "X"}}},
        "plain": {"type": "string"},
    },
}


@requirement("C26-179", "C26-190", "C26-191", "C26-195", "C26-196")
@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, {}),
        ({"region": "eu", "count": -5, "loud": False, "where": {"x": "é"}, "plain": "no"}, {
            "region": "eu", "count": "-5", "loud": "false", "x": b64("é"),
        }),
        ({"region": None, "count": None, "where": {}}, {}),
        ({"region": "", "count": 2**53 - 1, "loud": True}, {"region": "", "count": str(2**53 - 1), "loud": "true"}),
        ({"region": 7, "count": "x"}, {"region": "7", "count": "x"}),
        ({"region": ["eu"], "where": 5}, {}),
    ],
    ids=str,
)  # fmt: skip
async def test_arguments_that_the_tool_wants_in_headers(client: Client, arguments: Any, headers: Any) -> None:
    client.transport.learn("work", SCHEMA)
    found = await client.send(call(**arguments))
    assert {k[10:]: v for k, v in found.headers.items() if k.startswith("mcp-param-")} == headers
    other = await client.send(call(2, "other", region="eu"))
    assert not [name for name in other.headers if name.startswith("mcp-param-")]


@requirement("C26-184")
@pytest.mark.parametrize("count", [2**53, -(2**53), 10**30])
async def test_an_integer_that_is_not_exact_everywhere_is_not_sent(client: Client, count: int) -> None:
    client.transport.learn("work", SCHEMA)
    client.transport.send(call(count=count))
    failure = await client.failure()
    assert isinstance(failure, LocalProtocolError)
    assert "count" in str(failure)
    assert await client.server.quiet()


@requirement("C26-197")
async def test_a_definition_that_has_changed(client: Client) -> None:
    client.transport.learn("work", SCHEMA)
    client.transport.learn("work", {"type": "object"})
    assert "mcp-param-region" not in (await client.send(call(region="eu"))).headers
    client.transport.learn("work", SCHEMA)
    wrong = {"type": "object", "properties": {"x": {"type": "number", "x-mcp-header": "X"}}}
    with pytest.raises(InvalidShape):
        client.transport.learn("work", wrong)
    assert "mcp-param-region" not in (await client.send(call(2, region="eu"))).headers, "it is not what it was"


async def test_headers_and_tokens_go_with_every_request(make_client: Callable[..., Client]) -> None:
    count = 0

    async def token() -> str:
        nonlocal count
        await trio.lowlevel.checkpoint()
        count += 1
        return f"t{count}"

    client = make_client(headers={"X-Api": "k"}, auth=token)
    for n in range(3):
        found = await client.send(ask(id=n))
        assert (found.headers["authorization"], found.headers["x-api"]) == (f"Bearer t{n + 1}", "k")


@requirement("C26-213", "C26-214", "C26-164", "C26-145")
async def test_there_is_no_session_and_nothing_but_posts(client: Client) -> None:
    """Whatever a server says of sessions."""
    first = await client.send(ask())
    await first.end.reply(200, Response(1, {}), Mcp_Session_Id="s-1")
    await wait_all_tasks_blocked()
    second = await client.send(ask(id=2))
    assert "mcp-session-id" not in second.headers
    await second.end.begin(Mcp_Session_Id="s-2")
    await second.end.event(Response(2, {}), id="e-1", retry=1)
    await second.end.finish()
    await wait_all_tasks_blocked()
    assert client.transport.session_id is None
    await client.transport.aclose()
    assert await client.server.quiet()
    assert [one.asked.method for one in client.server.calls] == ["POST", "POST"]


@requirement("C26-006", "C26-032")
async def test_ten_requests_side_by_side(client: Client) -> None:
    """Each on a connection of its own while it lasts; the answers come as they come."""
    for n in range(10):
        client.transport.send(ask(id=n))
    calls = {(found := await client.server.next()).body["id"]: found for _ in range(10)}
    assert len({id(found.end) for found in calls.values()}) == 10
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    for n in order:
        await calls[n].answer(n=n)
        await wait_all_tasks_blocked()
    assert client.inbox == [Response(n, {"n": n}) for n in order]


async def test_not_more_at_once_than_wanted(make_client: Callable[..., Client]) -> None:
    """A stream does not count: what it waits for may be asked for by us."""
    client = make_client(requests=2)
    for n in range(4):
        client.transport.send(ask(id=n))
    calls = [await client.server.next() for _ in range(2)]
    assert await client.server.quiet()
    await calls[0].end.begin()
    calls.append(await client.server.next())
    assert await client.server.quiet()
    await calls[1].answer()
    calls.append(await client.server.next())
    assert sorted(found.body["id"] for found in calls) == [0, 1, 2, 3]


# --- answers ----------------------------------------------------------------------------------------------------------


@requirement("C26-153", "C26-154")
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
async def test_an_answer_as_json(client: Client, kind: str) -> None:
    found = await client.send(ask())
    await found.end.reply(200, Response(1, {"ok": True}), content_type=kind)
    await wait_all_tasks_blocked()
    assert client.inbox == [Response(1, {"ok": True})]


@requirement("C26-154", "C26-156", "C26-162", "C26-163")
async def test_an_answer_as_events(client: Client) -> None:
    """What comes before it is handed on at once; comments and what is empty are passed over."""
    found = await client.send(ask())
    await found.end.begin()
    await found.end.chunk(b": keep-alive\n\n:\n\n")
    await found.end.event(b"", id="ignored")
    await found.end.event(NOTE)
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE]
    await found.end.chunk(b"event: other\ndata: {}\n\n")
    await found.end.event(Response(1, {}))
    await found.end.finish()
    await wait_all_tasks_blocked()
    assert client.inbox == [NOTE, Response(1, {})]
    again = await client.send(ask(id=2))
    assert again.end is found.end, "the connection is as good as new"


@requirement("C26-159")
async def test_a_stream_that_goes_on_after_the_answer(client: Client, autojump_clock: MockClock) -> None:
    found = await client.send(ask())
    await found.end.begin()
    await found.end.event(Response(1, {}))
    await found.left.wait()
    assert client.inbox == [Response(1, {})]
    assert trio.current_time() < 1


@requirement("C26-070", "C26-164")
@pytest.mark.parametrize("how", ["finish", "close", "reset"])
@pytest.mark.parametrize("before", [b"", b"id: e-1\nretry: 1\ndata:\n\n"], ids=["plain", "with ids"])
async def test_a_stream_that_is_cut_is_lost(client: Client, how: str, before: bytes, autojump_clock: MockClock) -> None:
    """It cannot be come back to, whatever ids its events have."""
    found = await client.send(ask())
    await found.end.begin()
    if before:
        await found.end.chunk(before)
    await found.end.event(NOTE, id="e-2" if before else None)
    await wait_all_tasks_blocked()
    await getattr(found.end, how)()
    await wait_all_tasks_blocked()
    note, lost = client.inbox
    assert note == NOTE
    assert isinstance(lost, Unanswered)
    assert isinstance(lost.failure, ConnectionClosed)
    await trio.sleep(3600)
    assert await client.server.quiet(), "neither asked again nor come back for"
    assert len(client.inbox) == 2


@requirement("C26-211", "C26-172", "C26-171", "C26-060")
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, -32020), (400, -32021), (400, -32022), (400, -32602), (404, -32601), (200, -32603), (500, -32603)],
)
async def test_an_error_with_a_status_is_an_answer(client: Client, status: int, code: int) -> None:
    found = await client.send(ask())
    await found.refuse(status, code, data={"k": 1})
    await wait_all_tasks_blocked()
    assert client.inbox == [ErrorResponse(1, ErrorObject(code, "so it is", {"k": 1}))]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_one_that_says_that_nobody_looked_is_none(client: Client, status: int) -> None:
    found = await client.send(ask())
    await found.refuse(status, -32603, "not now")
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert (failure.status, failure.message) == (status, "not now")


@requirement("C26-016", "C26-206")
@pytest.mark.parametrize("id", ["absent", None, 99], ids=repr)
async def test_so_is_one_that_does_not_say_for_what(client: Client, id: Any) -> None:
    found = await client.send(ask())
    message = {"jsonrpc": "2.0", "error": {"code": -32020, "message": "no"}} | ({} if id == "absent" else {"id": id})
    await found.end.reply(400, json.dumps(message).encode(), content_type="application/json")
    await wait_all_tasks_blocked()
    assert client.inbox == [ErrorResponse(1, ErrorObject(-32020, "no"))]


@requirement("C26-210")
@pytest.mark.parametrize("status", [400, 404, 405, 406, 413, 415, 429, 500, 502, 503])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", None),
        (b"go away", "text/plain"),
        (b"<h1>go away</h1>", "text/html"),
        (b'{"error": "go away"}', "application/json"),
        (b'{"jsonrpc": "2.0", "id": 1, "res', "application/json"),
    ],
)
async def test_any_other_status_is_a_failure(client: Client, status: int, body: bytes, kind: str | None) -> None:
    found = await client.send(ask())
    await found.end.reply(status, body, **({} if kind is None else {"content_type": kind}))
    failure = await client.failure()
    assert isinstance(failure, HttpError)
    assert failure.status == status
    assert not body or "go away" in failure.message or "jsonrpc" in failure.message


@requirement("C26-519", "C26-525")
@pytest.mark.parametrize("body", [b"", b'{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"who?"}}'])
@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
async def test_who_we_are_is_another_matter(client: Client, status: int, kind: type[HttpError], body: bytes) -> None:
    found = await client.send(ask())
    await found.end.reply(status, body, content_type="application/json", WWW_Authenticate='Bearer scope="a b"')
    failure = await client.failure()
    assert isinstance(failure, kind)
    assert failure.challenges == [Challenge("Bearer", {"scope": "a b"})]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (raw_answer(200, b"<html>", Content_Type="text/html"), "text/html"),
        (raw_answer(200, b""), "type"),
        (raw_answer(200, b"{", Content_Type="application/json"), "no response"),
        (raw_answer(200, b"[]", Content_Type="application/json"), "no response"),
        (raw_answer(200, b'{"jsonrpc":"2.0","id":9,"result":{}}', Content_Type="application/json"), "no answer"),
        (raw_answer(200, b'{"jsonrpc":"2.0","method":"n"}', Content_Type="application/json"), "no answer"),
    ],
)
async def test_an_answer_that_is_none(client: Client, answer: bytes, expected: str) -> None:
    found = await client.send(ask())
    await found.end.send(answer)
    await wait_all_tasks_blocked()
    [lost] = [one for one in client.inbox if isinstance(one, Unanswered)]
    assert isinstance(lost.failure, RemoteProtocolError)
    assert expected in str(lost.failure)


# --- taking it back ---------------------------------------------------------------------------------------------------


@requirement("C26-155", "C26-221", "C26-224")
@pytest.mark.parametrize("streams", [True, False])
async def test_to_stop_waiting_is_to_close_the_stream(client: Client, streams: bool) -> None:
    found = await client.send(ask())
    if streams:
        await found.end.begin()
        await wait_all_tasks_blocked()
    assert client.transport.abandon(1), "and nothing is to be said about it"
    await found.left.wait()
    assert client.inbox == []
    assert await client.server.quiet()
    assert not client.transport.abandon(1)


async def test_what_was_never_sent_is_not_sent(make_client: Callable[..., Client]) -> None:
    client = make_client(requests=1)
    first = await client.send(ask())
    client.transport.send(ask(id=2))
    assert await client.server.quiet()
    assert client.transport.abandon(2)
    await first.answer()
    await wait_all_tasks_blocked()
    assert await client.server.quiet()
    assert client.inbox == [Response(1, {})]


async def test_closing_closes_all(client: Client) -> None:
    calls = [await client.send(ask(id=n)) for n in range(3)]
    await calls[0].end.begin()
    await client.transport.aclose()
    for found in calls:
        await found.left.wait()
    assert client.inbox == []
    with pytest.raises(ConnectionClosed):
        client.transport.send(ask(id=9))
    await client.transport.aclose()
    assert await client.server.quiet()


@requirement("C26-107", "C26-149")
async def test_a_notification_is_a_post_of_its_own(client: Client) -> None:
    """None is defined; one of an extension goes out all the same, and says its revision."""
    found = await client.send(Notification("com.example/x", {"k": 1}))
    assert found.headers["mcp-protocol-version"] == NEW
    await found.end.reply(202)
    assert await client.server.quiet()


# --- a whole client ---------------------------------------------------------------------------------------------------


@define
class Outcome:
    """What something that runs beside the test has come to."""

    result: Any = None
    failure: Exception | None = None
    over: trio.Event = field(factory=trio.Event)
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def run(self, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self.scope:
                self.result = await call()
        except Exception as failure:
            self.failure = failure
        finally:
            self.over.set()

    async def get(self) -> Any:
        with trio.fail_after(86_400):
            await self.over.wait()
        if self.failure is not None:
            raise self.failure
        return self.result


@pytest.fixture
def begin(nursery: trio.Nursery) -> Callable[..., Outcome]:
    """Calls something beside the test."""

    def start(call: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Outcome:
        outcome = Outcome()
        nursery.start_soon(outcome.run, lambda: call(*arguments, **options))
        return outcome

    return start


Begin = Callable[..., Outcome]


@asynccontextmanager
async def connected(
    make_client: Callable[..., Client], peer: Peer, begin: Begin, **options: Any
) -> AsyncIterator[Connection]:
    """Our client, connected to a server that has tools and tasks."""
    client = make_client(limits=peer.limits, **options)
    over, opened = trio.Event(), Outcome()

    async def connect() -> None:
        async with peer.connect(client.transport) as connection:
            opened.result = connection
            opened.over.set()
            await over.wait()

    outcome = begin(connect)
    probe = await client.server.next("server/discover")
    await probe.answer(
        resultType="complete",
        supportedVersions=[NEW],
        capabilities={"tools": {"listChanged": True}, "extensions": {TASKS: {}}},
        ttlMs=0,
        cacheScope="private",
        _meta={SERVER: {"name": "fake", "version": "0"}},
    )
    yield await opened.get()
    over.set()
    await outcome.get()


@requirement("C26-187", "C26-188", "C26-180", "C26-181", "C26-182", "C26-183", "C26-185", "C26-186")
async def test_tools_that_cannot_be_followed_are_left_out(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
) -> None:
    caplog.set_level(logging.WARNING, "mcp_tasks")

    def tool(name: str, **properties: Any) -> dict[str, Any]:
        return {"name": name, "inputSchema": {"type": "object", "properties": properties}}

    tools = [
        tool("plain", a={"type": "string"}),
        tool("good", a={"type": "string", "x-mcp-header": "A"}),
        tool("empty", a={"type": "string", "x-mcp-header": ""}),
        tool("token", a={"type": "string", "x-mcp-header": "a b"}),
        tool("twice", a={"type": "string", "x-mcp-header": "A"}, b={"type": "string", "x-mcp-header": "a"}),
        tool("number", a={"type": "number", "x-mcp-header": "A"}),
        tool("deep", a={"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}),
        tool("last"),
    ]
    async with connected(make_client, make_peer(), begin) as connection:

        async def listed() -> list[str]:
            return [one.name async for one in connection.list_tools()]

        outcome = begin(listed)
        await (await server.next("tools/list")).answer(tools=tools, ttlMs=0, cacheScope="private")
        assert await outcome.get() == ["plain", "good", "last"]
    for name in ("empty", "token", "twice", "number", "deep"):
        assert f"'{name}' is left out" in caplog.text


@requirement("C26-179", "C26-195", "C26-197")
async def test_a_tool_is_called_with_the_headers_that_its_definition_wants(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """And with others, once the server says that they are not right any more."""

    def listing(header: str) -> dict[str, Any]:
        properties = {"region": {"type": "string", "x-mcp-header": header}}
        tool = {"name": "work", "inputSchema": {"type": "object", "properties": properties}}
        return {"tools": [tool], "ttlMs": 3_600_000, "cacheScope": "public"}

    async with connected(make_client, make_peer(), begin) as connection:
        outcome = begin(connection.call_tool, "work", {"region": "eu"})
        await (await server.next("tools/list")).answer(**listing("Old"))
        first = await server.next("tools/call")
        assert first.headers["mcp-param-old"] == "eu"
        await first.refuse(400, -32020, "there is no Mcp-Param-New")
        await (await server.next("tools/list")).answer(**listing("New"))
        second = await server.next("tools/call")
        assert second.headers["mcp-param-new"] == "eu"
        assert "mcp-param-old" not in second.headers
        await second.answer(**DONE)
        assert (await outcome.get()).content == []


@requirement("C26-155", "C26-218", "C26-221")
async def test_a_call_that_is_given_up_says_nothing(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        outcome = begin(connection.call, "tools/call", {"name": "work"})
        found = await server.next("tools/call")
        outcome.scope.cancel()
        await found.left.wait()
        assert await server.quiet()
    assert await server.quiet()


CREATED = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2026-08-01T07:00:00Z",
    "lastUpdatedAt": "2026-08-01T07:00:00Z",
    "ttlMs": 600_000,
    "pollIntervalMs": 1000,
}


class Polled:
    """A server with one task: refuses to be listened to, and answers each poll as it is told to, the last for ever."""

    def __init__(self, server: Server, *steps: Any) -> None:
        self.server = server
        self.steps = list(steps)
        self.polls = 0
        self.cancels = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            found = await self.server.next()
            method = found.body["method"]
            if method == "tools/call":
                await found.answer(resultType="task", **CREATED)
            elif method == "subscriptions/listen":
                await found.refuse(404, -32601)
            elif method == "tasks/cancel":
                self.cancels += 1
                await self.step(found, {"resultType": "complete"})
            else:
                assert method == "tasks/get"
                assert found.headers["mcp-name"] == "t-1"
                self.polls += 1
                await self.step(found, self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])

    async def step(self, found: Call, what: Any) -> None:
        if isinstance(what, dict):
            await found.answer(**what)
        elif isinstance(what, int):
            await found.end.reply(what)
        else:
            await getattr(found.end, what)()


WORKING = {"resultType": "complete", **CREATED}
COMPLETED = {**WORKING, "status": "completed", "result": DONE}


@requirement("X26-047", "X26-064", "C26-070")
@pytest.mark.parametrize("trouble", ["close", "reset", 500, 502, 503, 429])
async def test_a_poll_that_is_lost_is_not_the_task(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    nursery: trio.Nursery,
    trouble: Any,
    autojump_clock: MockClock,
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        polled = Polled(server, WORKING, trouble, trouble, WORKING, trouble, COMPLETED)
        await nursery.start(polled.run)
        assert await connection.call("tools/call", {"name": "work"}) == DONE
        assert (polled.polls, polled.cancels) == (6, 0)
        assert trio.current_time() >= 6


@requirement("X26-047")
@pytest.mark.parametrize(("trouble", "kind"), [("close", ConnectionClosed), (503, HttpError)])
async def test_one_that_is_lost_again_and_again_is(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    nursery: trio.Nursery,
    trouble: Any,
    kind: type[MCPError],
    autojump_clock: MockClock,
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        polled = Polled(server, trouble)
        await nursery.start(polled.run)
        with pytest.raises(kind):
            await connection.call("tools/call", {"name": "work"})
        assert 3 <= polled.polls <= 10
        assert polled.cancels == 1


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden), (404, HttpError)])
async def test_one_that_is_refused_is_at_once(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    nursery: trio.Nursery,
    status: int,
    kind: type[MCPError],
    autojump_clock: MockClock,
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        polled = Polled(server, status)
        await nursery.start(polled.run)
        with pytest.raises(kind):
            await connection.call("tools/call", {"name": "work"})
        assert polled.polls <= 2


async def test_what_goes_wrong_on_leaving_does_not_hide_why(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    """The block of a task is left for a reason; that the server cannot cancel it just now is not it."""

    class OursError(Exception):
        pass

    async with connected(make_client, make_peer(), begin) as connection:

        async def start() -> None:
            async with connection.start("tools/call", {"name": "work"}):
                raise OursError

        outcome = begin(start)
        await (await server.next("tools/call")).answer(resultType="task", **CREATED)
        await (await server.next("tasks/cancel")).end.reply(503, b"later")
        with pytest.raises(OursError):
            await outcome.get()


@requirement("X26-055", "X26-080", "C26-155")
async def test_a_task_is_told_of_on_a_stream_that_stays_open(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        outcome = begin(connection.call, "tools/call", {"name": "work"})
        await (await server.next("tools/call")).answer(resultType="task", **CREATED)
        listen = await server.next("subscriptions/listen")
        assert "mcp-name" not in listen.headers
        await listen.end.begin()
        told = {"_meta": {SUBSCRIPTION: listen.body["id"]}}
        acknowledged = {**told, "notifications": {"taskIds": ["t-1"]}}
        await listen.end.event(Notification("notifications/subscriptions/acknowledged", acknowledged))
        await (await server.next("tasks/get")).answer(**WORKING)
        await listen.end.event(Notification("notifications/tasks", {**CREATED, **told, "status": "cancelled"}))
        with pytest.raises(TaskCancelled):
            await outcome.get()
        await listen.left.wait()
        assert await server.quiet(), "it says so by closing the stream"


@requirement("C26-291", "C26-133", "C26-164")
async def test_a_subscription_whose_stream_is_cut_is_made_again(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:
        heard: list[str] = []

        async def listen() -> None:
            async with connection.listen(tools=True) as listening:
                async for told in listening:
                    heard.append(told.method)

        outcome = begin(listen)
        ids = []
        for how in ("close", "reset", "finish", None):
            found = await server.next("subscriptions/listen")
            assert "last-event-id" not in found.headers
            ids.append(found.body["id"])
            told = {"_meta": {SUBSCRIPTION: found.body["id"]}}
            await found.end.begin()
            acknowledged = {**told, "notifications": {"toolsListChanged": True}}
            await found.end.event(Notification("notifications/subscriptions/acknowledged", acknowledged))
            await found.end.event(Notification("notifications/tools/list_changed", told), id="e-1")
            await wait_all_tasks_blocked()
            if how is not None:
                await getattr(found.end, how)()
        assert heard == ["notifications/tools/list_changed"] * 4
        assert len(set(ids)) == 4
        outcome.scope.cancel()
        await found.left.wait()
        assert await server.quiet()


@requirement("C26-291", "C26-306")
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_server_that_is_away_for_a_moment_is_listened_to_again(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    status: int,
    autojump_clock: MockClock,
) -> None:
    """One that shuts down says so, ends each subscription, and takes none until it is back."""
    async with connected(make_client, make_peer(), begin) as connection:
        heard: list[str] = []

        async def listen() -> None:
            async with connection.listen(tools=True) as listening:
                async for told in listening:
                    heard.append(told.method)

        outcome = begin(listen)
        for n in range(2):
            found = await server.next("subscriptions/listen")
            told = {"_meta": {SUBSCRIPTION: found.body["id"]}}
            await found.end.begin()
            acknowledged = {**told, "notifications": {"toolsListChanged": True}}
            await found.end.event(Notification("notifications/subscriptions/acknowledged", acknowledged))
            await found.end.event(Notification("notifications/tools/list_changed", told))
            await wait_all_tasks_blocked()
            if n == 0:
                await found.end.event(Response(found.body["id"], {"resultType": "complete", **told}))
                await found.end.finish()
                for _ in range(5):
                    await (await server.next("subscriptions/listen")).end.reply(status, b"later")
        assert heard == ["notifications/tools/list_changed"] * 2
        outcome.scope.cancel()
        await found.left.wait()


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_one_that_never_took_the_subscription_is_not(
    make_client: Callable[..., Client],
    server: Server,
    make_peer: MakePeer,
    begin: Begin,
    status: int,
    autojump_clock: MockClock,
) -> None:
    async with connected(make_client, make_peer(), begin) as connection:

        async def listen() -> None:
            async with connection.listen(tools=True):
                pass

        outcome = begin(listen)
        await (await server.next("subscriptions/listen")).end.reply(status)
        with pytest.raises(HttpError):
            await outcome.get()
        await trio.sleep(600)
        assert await server.quiet()


async def test_limits_of_messages_hold_for_answers(
    make_client: Callable[..., Client], server: Server, make_peer: MakePeer, begin: Begin, autojump_clock: MockClock
) -> None:
    async with connected(make_client, make_peer(limits=Limits(message_bytes=2000)), begin) as connection:
        for streams in (True, False):
            outcome = begin(connection.call, "tools/call", {"name": "work"})
            found = await server.next("tools/call")
            large = Response(found.body["id"], {"text": "x" * 3000})
            if streams:
                await found.end.begin()
                await found.end.event(large)
            else:
                await found.end.reply(200, large)
            with pytest.raises(RemoteProtocolError):
                await outcome.get()
        again = begin(connection.call, "tools/call", {"name": "work"})
        await (await server.next("tools/call")).refuse(200, -5)
        with pytest.raises(RequestFailed):
            await again.get()
