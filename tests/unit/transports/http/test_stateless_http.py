"""Requests that stand for themselves over HTTP: what is checked in which order, and how each is answered."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from mcp_tasks import Connection, Context, Peer
from mcp_tasks._unset import Principal
from mcp_tasks.abc import Gone, Inbound
from mcp_tasks.errors import ConnectionClosed, LocalProtocolError
from mcp_tasks.framing.mirror import Mirrored
from mcp_tasks.limits import HttpLimits, Limits
from mcp_tasks.transports.http.profile import PROFILES
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Message, Notification, Request, Response

from ._wire import BOTH, CODEC, FakeExchange, Script, Site, lowered, opening, request

MakeSite = Callable[..., Site]
MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
TASKS = "io.modelcontextprotocol/tasks"
META = {VERSION: NEW, CAPABILITIES: {"extensions": {TASKS: {}}}}
RIGHT = {"host": "localhost", "content-type": "application/json", "accept": BOTH}
NOTE = Notification("notifications/progress", {"progressToken": 1, "progress": 1})
NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


def ask(method: str = "tools/list", id: Any = 1, meta: Any = META, **params: Any) -> Request:
    return Request(id, method, {**params, **({} if meta is None else {"_meta": meta})})


def call(id: Any = 1, name: str = "work", **arguments: Any) -> Request:
    return ask("tools/call", id, name=name, arguments=arguments)


def fields(message: Message, **headers: str | None) -> dict[str, str]:
    """The headers that a message needs; a header's name has underscores, and None leaves one out."""
    found: dict[str, str | None] = {**RIGHT, "mcp-protocol-version": NEW}
    if isinstance(message, Request):
        found["mcp-method"] = message.method
        name = NAMED.get(message.method)
        if name is not None and isinstance(message.params, dict) and isinstance(message.params.get(name), str):
            found["mcp-name"] = message.params[name]
    found |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {name: value for name, value in found.items() if value is not None}


class Browser:
    """Hands exchanges to an endpoint as a connection does."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def do(
        self,
        method: str,
        headers: dict[str, str],
        body: bytes,
        *,
        principal: str | None = None,
        slow: bool = False,
    ) -> FakeExchange:
        exchange = FakeExchange(method, headers, slow=slow)
        endpoint = self.site.endpoint
        owner = None if principal is None else Principal(principal)
        if owner is None:
            owner = await endpoint.admit(exchange)
        elif endpoint._check(exchange):
            endpoint._check_headers(exchange, owner)
        if not exchange.finished:
            endpoint.handle(exchange, owner, body)
        await wait_all_tasks_blocked()
        return exchange

    async def post(
        self, message: Message, *, principal: str | None = None, slow: bool = False, **headers: str | None
    ) -> FakeExchange:
        body = CODEC.encode(message)
        return await self.do("POST", fields(message, **headers), body, principal=principal, slow=slow)

    @property
    def script(self) -> Script:
        return self.site.script

    @property
    def inbox(self) -> list[Inbound]:
        return self.script.inbox if self.site.scripts else []

    @property
    def keys(self) -> list[Any]:
        """What the requests that came are known by."""
        return [message.id for message in self.inbox if isinstance(message, Request)]


@pytest.fixture
def browser(site: Site) -> Browser:
    return Browser(site)


def error_of(exchange: FakeExchange) -> tuple[int | None, int, Any]:
    """Status, code and id of a refusal."""
    assert exchange.head["content-type"] == "application/json"
    assert exchange.finished
    return exchange.status, exchange.json["error"]["code"], exchange.json.get("id")


@pytest.fixture
def served(make_site: MakeSite, make_peer: MakePeer) -> Callable[..., tuple[Browser, Peer]]:
    """Makes an endpoint at which a real peer serves."""

    def make(*, limits: HttpLimits | None = None) -> tuple[Browser, Peer]:
        peer = make_peer()

        @peer.tool
        async def echo(text: str) -> str:
            return text

        async def serve(session: Any) -> None:
            await peer.serve(session, principal="anybody", identified=False)

        return Browser(make_site(limits, serve=serve)), peer

    return make


# --- the order of checks ----------------------------------------------------------------------------------------------

GOOD = lowered(call(7))


def changed(**members: Any) -> dict[str, Any]:
    return {**GOOD, **members}


def with_meta(**meta: Any) -> dict[str, Any]:
    return {**GOOD["params"], "_meta": {**META, **{{"v": VERSION, "c": CAPABILITIES}[k]: v for k, v in meta.items()}}}


@requirement("C26-055", "C26-056", "C26-085", "C26-170", "C26-171", "C26-172", "C26-206", "C26-066", "C26-148")
@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        # each is wrong in every way that the next one is, and in one more, which is what it is told
        ({"mcp_protocol_version": "2098-01-01", "mcp_method": "x"}, b'{"jsonrpc', (400, -32700, None)),
        ({"mcp_protocol_version": "2098-01-01", "mcp_method": "x"}, [GOOD], (400, -32600, None)),
        ({"mcp_protocol_version": "2098-01-01", "mcp_method": "x"}, changed(jsonrpc="1.0"), (400, -32600, 7)),
        (
            {"mcp_protocol_version": "2098-01-01", "mcp_method": "x"},
            changed(params={"_meta": {VERSION: "2099-01-01"}}),
            (400, -32020, 7),
        ),
        (
            {"mcp_protocol_version": "2099-01-01", "mcp_method": "x"},
            changed(params={"_meta": {VERSION: "2099-01-01"}}),
            (400, -32022, 7),
        ),
        ({"mcp_method": "x"}, changed(method="no/such", params={"_meta": {VERSION: NEW}}), (400, -32020, 7)),
        ({"mcp_method": "no/such"}, changed(method="no/such", params={"_meta": {VERSION: NEW}}), (400, -32602, 7)),
        ({"mcp_method": "no/such"}, changed(method="no/such", params=with_meta(c={})), (404, -32601, 7)),
        (
            {"mcp_method": "subscriptions/listen"},
            changed(method="subscriptions/listen", params={**with_meta(c={}), "notifications": {"taskIds": ["x"]}}),
            (400, -32021, 7),
        ),
        ({}, changed(params={**with_meta(), "name": "work", "arguments": 5}), (200, -32602, 7)),
        ({}, changed(params={**with_meta(), "name": "work"}), (200, -32602, 7)),
    ],
    ids=str,
)
async def test_what_is_wrong_first_is_what_is_told(
    served: Callable[..., tuple[Browser, Peer]], headers: Any, body: Any, expected: Any
) -> None:
    browser, _ = served()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = await browser.do("POST", fields(call(7), **headers), data)
    assert error_of(exchange) == expected
    assert ("id" in exchange.json) == (expected[2] is not None)


async def test_size_comes_before_all(make_site: MakeSite) -> None:
    site = make_site(message_limits=Limits(message_bytes=1000))
    client = site.connect()
    answer = await client.ask("POST", b"{" * 1001, {"mcp-protocol-version": "2099-01-01"})
    assert answer.status == 413
    await client.leave()


@requirement("C26-141")
@pytest.mark.parametrize("bad", [{"origin": "http://evil.example"}, {"host": "evil.example"}], ids=str)
async def test_where_it_comes_from_does_too(browser: Browser, bad: Any) -> None:
    exchange = await browser.post(call(), **bad)
    assert error_of(exchange)[0] == 403
    assert browser.inbox == []


@requirement("C26-171", "C26-085", "C26-088")
@pytest.mark.parametrize("version", ["2099-01-01", "2024-01-01", "DRAFT", "2026-07-28 "])
async def test_a_revision_that_is_not_spoken_is_told_which_are(browser: Browser, version: str) -> None:
    message = ask(meta={**META, VERSION: version})
    exchange = await browser.post(message, mcp_protocol_version=version)
    assert error_of(exchange) == (400, -32022, 1)
    assert exchange.json["error"]["data"] == {"supported": list(PROFILES), "requested": version}
    assert browser.inbox == []


@requirement("C26-088", "C26-099")
@pytest.mark.parametrize("version", [revision for revision in PROFILES if revision != NEW])
async def test_an_older_revision_is_not_spoken_without_a_session(browser: Browser, version: str) -> None:
    exchange = await browser.post(ask(meta={**META, VERSION: version}), mcp_protocol_version=version)
    assert error_of(exchange) == (400, -32022, 1)
    assert version in exchange.json["error"]["data"]["supported"]


@requirement("C26-055", "C26-056")
@pytest.mark.parametrize(
    "meta",
    [
        None,
        {},
        {VERSION: NEW},
        {CAPABILITIES: {}},
        {VERSION: 5, CAPABILITIES: {}},
        {VERSION: None, CAPABILITIES: {}},
        "x",
        ["x"],
    ],
    ids=str,
)
async def test_what_every_request_has_to_say(browser: Browser, meta: Any) -> None:
    exchange = await browser.post(Request(1, "tools/list", {} if meta is None else {"_meta": meta}))
    assert error_of(exchange) == (400, -32602, 1)
    assert "_meta" in exchange.json["error"]["message"]
    assert browser.inbox == []


@requirement("C26-055")
async def test_a_request_without_params(browser: Browser) -> None:
    assert error_of(await browser.post(Request(1, "server/discover"))) == (400, -32602, 1)


# --- headers ----------------------------------------------------------------------------------------------------------


def b64(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@requirement("C26-168", "C26-169", "C26-170", "C26-174", "C26-206")
@pytest.mark.parametrize("version", [None, "", OLD, "2026-07-27", "2026-07-28, 2026-07-28"])
async def test_the_version_is_said_twice(browser: Browser, version: str | None) -> None:
    exchange = await browser.post(ask(), mcp_protocol_version=version)
    assert error_of(exchange) == (400, -32020, 1)
    assert "MCP-Protocol-Version" in exchange.json["error"]["message"]
    assert browser.inbox == []


@requirement("C26-175", "C26-203", "C26-204", "C26-206")
@pytest.mark.parametrize(
    "method", [None, "", "tools/call", "Tools/List", "tools/list, tools/list", "tools/list\x01", b64("tools/list")]
)
async def test_the_method_is_said_twice(browser: Browser, method: str | None) -> None:
    exchange = await browser.post(ask("tools/list"), mcp_method=method)
    assert error_of(exchange) == (400, -32020, 1)
    assert "Mcp-Method" in exchange.json["error"]["message"]
    assert browser.inbox == []


@requirement("C26-176", "C26-194", "C26-204", "C26-206", "X26-102", "X26-104")
@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("thing", True),
        (" thing\t", True),
        (b64("thing"), True),
        (None, False),
        ("", False),
        ("Thing", False),
        ("other", False),
        (b64("other"), False),
        ("=?base64?dGhpbmc?=", False),
        ("=?BASE64?dGhpbmc=?=", False),
        ("=?base64?dGhpbmc=", False),
        ("thing\x00", False),
        ("thing, thing", False),
    ],
)
async def test_the_name_is_said_twice(browser: Browser, method: str, said: str | None, right: bool) -> None:
    message = ask(method, **{NAMED[method]: "thing", "inputResponses": {}})
    exchange = await browser.post(message, mcp_name=said)
    if right or (said is None and method.startswith("tasks/")):  # which released clients leave out there
        assert browser.keys == [1]
        browser.script.answer(1)
        assert exchange.status == 200
    else:
        assert error_of(exchange) == (400, -32020, 1)
        assert "Mcp-Name" in exchange.json["error"]["message"]
        assert browser.inbox == []


@requirement("C26-194", "C26-177", "C26-193")
@pytest.mark.parametrize("name", ["é", " x", "x ", "a\nb", "=?base64?eA==?=", "\U0001f600", ""])
async def test_names_that_no_header_can_say_as_they_are(browser: Browser, name: str) -> None:
    await browser.post(ask("prompts/get", name=name), mcp_name=b64(name))
    assert browser.keys == [1]
    assert error_of(await browser.post(ask("prompts/get", 2, name=name), mcp_name=b64("other"))) == (400, -32020, 2)


async def test_a_name_that_is_none_is_for_others_to_refuse(browser: Browser) -> None:
    await browser.post(ask("tools/call", name=5), mcp_name="5")
    await browser.post(ask("tools/call", 2), mcp_name=None)
    assert browser.keys == [1, 2]


MIRRORED = (Mirrored("Region", ("region",)), Mirrored("Deep", ("where", "x")), Mirrored("Loud", ("loud",)))


@pytest.fixture
def mirroring(browser: Browser) -> Browser:
    """A tool ``work`` that wants three arguments in headers."""

    def mirrored(tool: str) -> Sequence[Mirrored]:
        return MIRRORED if tool == "work" else ()

    browser.site.endpoint._mirrored = mirrored
    return browser


@requirement("C26-194", "C26-199", "C26-200", "C26-201", "C26-202", "C26-203", "C26-205", "C26-206")
@pytest.mark.parametrize(
    ("arguments", "headers", "wrong"),
    [
        ({}, {}, None),
        ({"region": "eu", "loud": True, "where": {"x": 42}}, {"region": "eu", "loud": "true", "deep": "42"}, None),
        ({"region": "ü"}, {"region": b64("ü")}, None),
        ({"region": "eu"}, {"region": b64("eu")}, None),
        ({"where": {"x": 42}}, {"deep": "42.0"}, None),
        ({"where": {"x": 42.0}}, {"deep": "42"}, None),
        ({"region": None, "where": {}, "loud": None}, {}, None),
        ({"region": None}, {"region": "eu"}, None),
        ({"region": "eu"}, {"region": "eu", "unknown": "x"}, None),
        ({"region": "eu"}, {}, "Region"),
        ({"region": "eu"}, {"region": "EU"}, "Region"),
        ({"region": "eu"}, {"region": ""}, "Region"),
        ({"region": "eu"}, {"region": "eu\x07"}, "Region"),
        ({"region": "eu"}, {"region": "=?base64?!?="}, "Region"),
        ({}, {"region": "=?base64?!?="}, "Region"),
        ({"where": {"x": 42}}, {"deep": "42.5"}, "Deep"),
        ({"where": {"x": 42}}, {"deep": "43"}, "Deep"),
        ({"where": {"x": 42}}, {}, "Deep"),
        ({"loud": True}, {"loud": "True"}, "Loud"),
        ({"loud": False}, {"loud": "true"}, "Loud"),
        ({"loud": False}, {}, "Loud"),
    ],
    ids=str,
)
async def test_arguments_that_a_tool_wants_said_twice(
    mirroring: Browser, arguments: Any, headers: Any, wrong: str | None
) -> None:
    said = {f"mcp_param_{name}": value for name, value in headers.items()}
    exchange = await mirroring.post(call(**arguments), **said)
    if wrong is None:
        assert mirroring.keys == [1]
    else:
        assert error_of(exchange) == (400, -32020, 1)
        assert f"Mcp-Param-{wrong}" in exchange.json["error"]["message"]
        assert mirroring.inbox == []


async def test_other_tools_want_nothing(mirroring: Browser) -> None:
    await mirroring.post(call(name="play", region="eu"))
    assert mirroring.keys == [1]


@requirement("C26-213", "C26-214", "C26-164")
@pytest.mark.parametrize(
    "headers", [{"mcp_session_id": "0123456789abcdef"}, {"last_event_id": "1-1"}, {"mcp_session_id": "\x7f"}], ids=str
)
async def test_sessions_mean_nothing_here(browser: Browser, headers: Any) -> None:
    exchange = await browser.post(ask(), **headers)
    assert browser.keys == [1]
    browser.script.say(NOTE, 1)
    browser.script.answer(1, tools=[])
    assert exchange.status == 200
    assert "mcp-session-id" not in exchange.head
    assert exchange.ids == []
    assert browser.site.endpoint.sessions == {}


@requirement("C26-212", "C26-213", "C26-139")
@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("session", [None, "0123456789abcdef"])
async def test_there_is_only_post(browser: Browser, method: str, session: str | None) -> None:
    exchange = await browser.do(method, fields(NOTE, mcp_session_id=session), b"")
    assert error_of(exchange)[0] == 405
    assert exchange.head["allow"] == "POST"


@pytest.mark.parametrize(("header", "status"), [("content_type", 415), ("accept", 406)])
async def test_what_it_comes_as(browser: Browser, header: str, status: int) -> None:
    assert error_of(await browser.post(ask(), **{header: "text/html"}))[0] == status


# --- answers ----------------------------------------------------------------------------------------------------------


@requirement("C26-007", "C26-153", "C26-286")
@pytest.mark.parametrize("id", [1, 0, -5, 2**60, "1", "", "é"], ids=repr)
async def test_an_answer_that_nothing_precedes_is_json(browser: Browser, id: Any) -> None:
    exchange = await browser.post(ask(id=id))
    assert exchange.status is None
    [key] = browser.keys
    assert browser.script.session.name_of(key) == id
    browser.script.answer(key, tools=[])
    assert (exchange.status, exchange.head["content-type"]) == (200, "application/json")
    assert exchange.json == {"jsonrpc": "2.0", "id": id, "result": {"tools": []}}
    assert type(exchange.json["id"]) is type(id)


@requirement("C26-115", "C26-153", "C26-156", "C26-159", "C26-161")
async def test_something_before_the_answer_makes_it_a_stream(browser: Browser) -> None:
    exchange = await browser.post(ask(id="a"))
    browser.script.say(NOTE, 1)
    assert exchange.status == 200
    assert exchange.head["content-type"] == "text/event-stream"
    assert exchange.head["x-accel-buffering"] == "no"
    assert "no-cache" in exchange.head["cache-control"]
    assert exchange.open
    browser.script.say(NOTE, 1)
    browser.script.answer(1, tools=[])
    assert exchange.messages == [NOTE, NOTE, Response("a", {"tools": []})]
    assert exchange.finished
    assert exchange.ids == []
    assert b"retry:" not in exchange.body
    assert len(exchange.events) == 3, "none that is empty, for nobody can come back to it"


@requirement("C26-016", "C26-060", "C26-171", "C26-172", "C26-206")
@pytest.mark.parametrize(
    ("code", "status"),
    [
        (-32601, 404),
        (-32600, 400),
        (-32700, 400),
        (-32020, 400),
        (-32021, 400),
        (-32022, 400),
        (-32602, 200),
        (-32603, 200),
        (-32000, 200),
        (-1, 200),
        (7, 200),
    ],
)
async def test_an_error_has_a_status(browser: Browser, code: int, status: int) -> None:
    """Once a stream has begun, there is no choosing it any more."""
    exchange, streamed = await browser.post(ask(id="a")), await browser.post(ask(id="b"))
    browser.script.say(NOTE, 2)
    for key in (1, 2):
        browser.script.say(ErrorResponse(key, ErrorObject(code, "so it is", {"k": 1})))
    assert error_of(exchange) == (status, code, "a")
    assert exchange.json["error"]["data"] == {"k": 1}
    assert streamed.status == 200
    assert streamed.messages == [NOTE, ErrorResponse("b", ErrorObject(code, "so it is", {"k": 1}))]


@requirement("C26-153")
async def test_whoever_takes_json_only_gets_json(browser: Browser, autojump_clock: MockClock) -> None:
    exchange = await browser.post(ask(), accept="application/json")
    browser.script.say(NOTE, 1)
    await trio.sleep(60)
    assert exchange.status is None
    browser.script.answer(1, tools=[])
    assert exchange.head["content-type"] == "application/json"
    assert exchange.json["result"] == {"tools": []}


@requirement("C26-153", "C26-161")
async def test_whoever_takes_events_only_gets_events(browser: Browser) -> None:
    exchange, failing = [await browser.post(ask(id=n), accept="text/event-stream") for n in (1, 2)]
    browser.script.answer(1, tools=[])
    assert exchange.head["content-type"] == "text/event-stream"
    assert exchange.messages == [Response(1, {"tools": []})]
    assert exchange.finished
    browser.script.say(ErrorResponse(2, ErrorObject(-32601, "no")))
    assert error_of(failing) == (404, -32601, 2)


@requirement("C26-157", "C26-007", "C26-032")
async def test_clients_may_use_the_same_ids(browser: Browser) -> None:
    """And one may use an id as number and as text, and again once it is answered."""
    exchanges = [await browser.post(ask(id=id)) for id in (1, 1, "1", 1)]
    keys = browser.keys
    assert len(set(keys)) == 4
    for n in (2, 0, 3, 1):
        browser.script.say(Notification("n", {"n": n}), keys[n])
        browser.script.answer(keys[n], n=n)
    for n, exchange in enumerate(exchanges):
        id = "1" if n == 2 else 1
        assert exchange.messages == [Notification("n", {"n": n}), Response(id, {"n": n})]
    again = await browser.post(ask(id=1))
    browser.script.answer(browser.keys[-1], again=True)
    assert again.json["result"] == {"again": True}


@requirement("C26-107", "C26-113", "C26-158")
async def test_a_server_asks_nothing(browser: Browser) -> None:
    exchange = await browser.post(ask())
    with pytest.raises(LocalProtocolError, match="asks nothing"):
        browser.script.session.send(Request(5, "ping"), related_to=1)
    assert exchange.status is None


async def test_what_goes_with_no_request_goes_nowhere(browser: Browser) -> None:
    exchange = await browser.post(ask())
    for related in (None, 99):
        browser.script.say(NOTE, related)
    browser.script.say(Response(99, {}))
    assert exchange.status is None
    browser.script.answer(1)
    browser.script.answer(1)  # once more, for nobody
    assert exchange.finished


# --- what wants no answer ---------------------------------------------------------------------------------------------


@requirement("C26-150", "C26-155", "C26-029")
@pytest.mark.parametrize(
    ("meta", "version"),
    [(META, NEW), (None, NEW), ({VERSION: NEW}, NEW), ({}, NEW), (META, None), ({VERSION: NEW}, None)],
    ids=str,
)
async def test_a_notification_is_accepted(browser: Browser, meta: Any, version: str | None) -> None:
    note = Notification("notifications/com.example/x", {"k": 1} | ({} if meta is None else {"_meta": meta}))
    exchange = await browser.post(note, mcp_protocol_version=version)
    assert (exchange.status, exchange.body, exchange.finished) == (202, b"", True)
    assert browser.inbox == [note]


@requirement("C26-155")
async def test_there_is_another_way_to_cancel(browser: Browser) -> None:
    await browser.post(ask())
    exchange = await browser.post(Notification("notifications/cancelled", {"requestId": 1}))
    assert exchange.status == 202
    assert len(browser.inbox) == 1, "the id is that of whoever's request it may be"


@requirement("C26-151", "C26-152")
async def test_a_notification_in_a_revision_that_is_not_spoken(browser: Browser) -> None:
    exchange = await browser.post(Notification("n"), mcp_protocol_version="2099-01-01")
    assert exchange.status == 400
    assert "id" not in exchange.json
    assert browser.inbox == []


@requirement("C26-149", "C26-107", "C26-114")
@pytest.mark.parametrize("message", [Response(1, {}), ErrorResponse(1, ErrorObject(-1, "x"))], ids=repr)
async def test_a_response_is_refused(browser: Browser, message: Message) -> None:
    exchange = await browser.post(message)
    assert exchange.status == 400
    assert "id" not in exchange.json
    assert browser.inbox == []


# --- clients that leave -----------------------------------------------------------------------------------------------


@requirement("C26-165", "C26-167", "C26-221")
@pytest.mark.parametrize("streams", [True, False])
async def test_whoever_leaves_wants_no_answer(browser: Browser, streams: bool) -> None:
    exchange, other = await browser.post(ask()), await browser.post(ask())
    if streams:
        browser.script.say(NOTE, 1)
    before = exchange.body
    exchange.leave()
    assert browser.inbox[2:] == [Gone(1)]
    browser.script.say(NOTE, 1)
    browser.script.answer(1)
    assert exchange.body == before
    browser.script.answer(2, tools=[])
    assert other.json["result"] == {"tools": []}
    other.leave()
    assert browser.inbox[3:] == [], "it had its answer"


@requirement("C26-166", "C26-167", "C26-229", "C26-230")
async def test_its_work_is_cancelled(served: Callable[..., tuple[Browser, Peer]]) -> None:
    browser, peer = served()
    state: list[str] = []

    @peer.tool
    async def slow(ctx: Context) -> str:
        state.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            state.append("over")
        return ""

    exchange = await browser.post(call(name="slow"))
    assert state == ["begun"]
    exchange.leave()
    await wait_all_tasks_blocked()
    assert state == ["begun", "over"]
    assert exchange.body == b""
    [carrier] = browser.site.endpoint.carriers.values()
    assert carrier.idle
    [connection] = peer.connections
    assert connection.session.served == {}


async def test_one_that_does_not_read_is_in_nobodys_way(browser: Browser) -> None:
    exchange, other = await browser.post(ask(), slow=True), await browser.post(ask())
    session = browser.script.session
    browser.script.say(NOTE, 1)
    assert session.backlog_of(1) == len(exchange.body) > 0
    assert session.backlog_of(2) == session.backlog_of(None) == session.backlog_of(99) == 0
    assert session.backlog >= session.backlog_of(1)
    assert not session.overflows(0)
    browser.script.answer(2)
    assert other.finished
    exchange.drain()
    assert session.backlog == 0
    browser.script.say(NOTE, 1)
    exchange.leave()
    assert session.backlog == 0


# --- time -------------------------------------------------------------------------------------------------------------


@requirement("C26-162", "C26-161")
async def test_a_quiet_request_is_kept_awake(make_site: MakeSite, autojump_clock: MockClock) -> None:
    """It becomes a stream, of comments at first; whoever takes no stream waits in silence."""
    browser = Browser(make_site(HttpLimits(keep_alive_seconds=20)))
    exchange, silent = await browser.post(ask(id="a")), await browser.post(ask(), accept="application/json")
    await trio.sleep(15)
    assert exchange.status is None
    await trio.sleep(15)
    assert exchange.head["content-type"] == "text/event-stream"
    assert exchange.body.startswith(b":")
    comments = exchange.body.count(b":")
    browser.script.say(NOTE, 1)
    size = len(exchange.body)
    await trio.sleep(14)
    assert len(exchange.body) == size, "something has just been said"
    await trio.sleep(100)
    assert exchange.body.count(b"\n:") >= comments + 3
    browser.script.answer(1, ok=True)
    assert exchange.messages == [NOTE, Response("a", {"ok": True})]
    assert silent.status is None
    browser.script.answer(2)
    assert silent.status == 200


async def test_whoever_is_there_no_more_is_not_kept_awake(make_site: MakeSite, autojump_clock: MockClock) -> None:
    browser = Browser(make_site(HttpLimits(keep_alive_seconds=20)))
    exchange = await browser.post(ask())
    await trio.sleep(40)
    size = len(exchange.body)
    exchange.leave()
    await trio.sleep(200)
    assert len(exchange.body) == size > 0


async def test_what_nobody_uses_is_retired(make_site: MakeSite, autojump_clock: MockClock) -> None:
    browser = Browser(make_site(HttpLimits(session_idle_seconds=100)))
    endpoint = browser.site.endpoint
    exchange = await browser.post(ask())
    await trio.sleep(500)
    assert list(endpoint.carriers) == [None], "there is a request without its answer"
    browser.script.answer(1)
    assert exchange.finished
    await trio.sleep(80)
    assert not browser.script.over
    await trio.sleep(40)
    assert endpoint.carriers == {}
    assert browser.script.over
    again = await browser.post(ask(id="x"))
    assert len(browser.site.scripts) == 2
    browser.script.answer(browser.keys[0], ok=True)
    assert again.json == {"jsonrpc": "2.0", "id": "x", "result": {"ok": True}}


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_too_many_requests_at_once(make_site: MakeSite) -> None:
    browser = Browser(make_site(HttpLimits(session_posts=2)))
    exchanges = [await browser.post(ask(id=f"r{n}")) for n in range(3)]
    assert error_of(exchanges[2])[::2] == (503, "r2")
    assert [exchange.status for exchange in exchanges[:2]] == [None, None]
    assert (await browser.post(Notification("n"))).status == 202
    browser.script.answer(1)
    await browser.post(ask())
    assert len(browser.keys) == 3
    exchanges[1].leave()
    await browser.post(ask())
    assert len(browser.keys) == 4


async def test_requestors_do_not_share_what_is_theirs(make_site: MakeSite) -> None:
    browser = Browser(make_site(HttpLimits(session_posts=1)))
    for principal in ("ada", "bob"):
        assert (await browser.post(ask(), principal=principal)).status is None
        assert error_of(await browser.post(ask(), principal=principal))[0] == 503
    assert [script.session.principal for script in browser.site.scripts] == ["ada", "bob"]


async def test_too_many_requestors(make_site: MakeSite, autojump_clock: MockClock) -> None:
    """One that is idle makes room, the one that was here longest ago."""
    browser = Browser(make_site(HttpLimits(sessions=2)))
    endpoint = browser.site.endpoint
    for principal in ("ada", "bob"):
        await browser.post(ask(), principal=principal)
        await trio.sleep(1)
    refused = await browser.post(ask(id="c"), principal="cyd")
    assert refused.status == 503
    assert refused.head["retry-after"] == "10"
    for script in browser.site.scripts:
        script.answer(1)
    assert (await browser.post(ask(), principal="cyd")).status is None
    assert list(endpoint.carriers) == ["bob", "cyd"]
    assert (await browser.post(ask(), principal="ada")).status is None
    assert list(endpoint.carriers) == ["cyd", "ada"]


# --- the end ----------------------------------------------------------------------------------------------------------


@requirement("C26-219", "C26-289", "C26-290", "C26-064", "C26-070")
async def test_shutting_down_ends_what_stays_open_with_its_result(
    served: Callable[..., tuple[Browser, Peer]],
) -> None:
    browser, peer = served()
    exchange = await browser.post(ask("subscriptions/listen", "sub", notifications={"toolsListChanged": True}))
    assert exchange.head["content-type"] == "text/event-stream"
    with trio.fail_after(5):
        await browser.site.endpoint.settle()
    first, *rest = exchange.messages
    assert isinstance(first, Notification)
    assert first.method == "notifications/subscriptions/acknowledged"
    [last] = rest
    assert isinstance(last, Response)
    assert last.id == "sub"
    assert last.result["resultType"] == "complete"
    assert last.result["_meta"][SUBSCRIPTION] == "sub"
    assert exchange.finished
    assert peer.subscriptions == set()


async def test_what_is_cut_off(site: Site) -> None:
    """A stream ends without an answer, which tells the client to ask again; any other request is told so."""
    browser = Browser(site)
    streamed, pending = await browser.post(ask(id="a")), await browser.post(ask(id="b"))
    browser.script.say(NOTE, 1)
    site.endpoint.end_sessions("a test")
    await wait_all_tasks_blocked()
    assert streamed.messages == [NOTE]
    assert streamed.finished
    assert error_of(pending) == (503, -32603, "b")
    assert site.endpoint.carriers == {}
    with pytest.raises(ConnectionClosed, match="a test"):
        site.scripts[0].session.send(NOTE, related_to=1)
    await site.scripts[0].session.aclose()


async def test_nothing_new_while_it_shuts_down(browser: Browser) -> None:
    exchange = await browser.post(ask())
    browser.site.endpoint.closing = True
    assert error_of(await browser.post(ask(), principal="new"))[0] == 503
    browser.script.answer(1)
    assert exchange.status == 200


async def test_a_server_that_fails_is_looked_for_again(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "mcp_tasks.http")
    failing: list[Any] = []

    async def serve(session: Any) -> None:
        failing.append(session)
        raise RuntimeError("oops")

    browser = Browser(make_site(serve=serve))
    for n in range(2):
        assert error_of(await browser.post(ask(id=n))) == (503, -32603, n)
    assert len(failing) == 2
    assert browser.site.endpoint.carriers == {}
    assert "oops" in caplog.text


# --- both eras --------------------------------------------------------------------------------------------------------


@requirement("C26-099", "C26-100", "C26-101", "C26-093", "C26-213")
async def test_both_eras_at_one_endpoint(served: Callable[..., tuple[Browser, Peer]]) -> None:
    browser, peer = served()
    endpoint = browser.site.endpoint
    old = dict(RIGHT)
    begun = await browser.do("POST", old, CODEC.encode(opening()))
    old |= {"mcp-session-id": begun.head["mcp-session-id"], "mcp-protocol-version": OLD}
    assert (await browser.do("POST", old, CODEC.encode(Notification("notifications/initialized")))).status == 202
    arguments = {"name": "echo", "arguments": {"text": "hi"}}
    within = await browser.do("POST", old, CODEC.encode(Request(1, "tools/call", arguments)))
    alone = await browser.post(call(1, "echo", text="hi"))
    assert within.json["result"] == {
        name: value for name, value in alone.json["result"].items() if name not in ("resultType", "_meta")
    }
    assert alone.json["result"]["resultType"] == "complete"
    assert "mcp-session-id" not in alone.head
    # A request that names its revision is no part of the session, whatever header it comes with; nor the reverse.
    both = await browser.post(call(2, "echo", text="ho"), mcp_session_id=old["mcp-session-id"])
    assert both.json["result"]["resultType"] == "complete"
    pinged = await browser.do("POST", old, CODEC.encode(Request(3, "ping")))
    assert (pinged.status, pinged.json["result"]) == (200, {})
    assert error_of(await browser.post(ask("ping", 3))) == (404, -32601, 3)
    unknown = await browser.do("POST", old, CODEC.encode(Request(4, "no/such")))
    assert (unknown.status, unknown.json["error"]["code"]) == (200, -32601), "404 would say that the session is gone"
    assert (await browser.do("DELETE", old, b"")).status == 204
    assert endpoint.sessions == {}
    assert (await browser.post(call(5, "echo", text="on"))).json["result"]["resultType"] == "complete"
    connections: set[Connection] = peer.connections
    assert len(connections) == 1


@requirement("C26-087", "C26-102", "C26-139")
async def test_over_a_connection_of_bytes(site: Site) -> None:
    """Header names in any case, one request after the other, JSON and streams."""
    client = site.connect()
    headers = {"MCP-PROTOCOL-VERSION": NEW, "mcp-METHOD": "tools/list"}
    await client.send(request("POST", ask(id="a"), headers))
    await wait_all_tasks_blocked()
    site.script.answer(1, tools=[])
    assert (await client.answer()).json == {"jsonrpc": "2.0", "id": "a", "result": {"tools": []}}
    await client.send(request("POST", ask(id="b"), headers))
    await wait_all_tasks_blocked()
    site.script.say(NOTE, 2)
    head = await client.head()
    assert head.streams
    assert await client.message() == NOTE
    site.script.answer(2)
    assert await client.message() == Response("b", {})
    assert await client.event() is None
    assert (await client.ask("POST", ask(id="c"))).status == 400
    await client.leave()


@requirement("C26-165", "C26-221")
@pytest.mark.parametrize("streams", [True, False])
async def test_over_a_connection_that_is_closed(site: Site, streams: bool) -> None:
    client = site.connect()
    await client.send(request("POST", ask(), fields(ask())))
    await wait_all_tasks_blocked()
    if streams:
        site.script.say(NOTE, 1)
        await client.head()
    await client.leave()
    await wait_all_tasks_blocked()
    assert site.script.inbox[1:] == [Gone(1)]
