"""What each method, header and body is answered with, whoever carries the bytes; sessions and whose they are."""

from __future__ import annotations

import logging
import string
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mcp_tasks._unset import Principal
from mcp_tasks.abc import Inbound
from mcp_tasks.errors import Challenge, Forbidden, Unauthorized
from mcp_tasks.limits import HttpLimits, Limits
from mcp_tasks.transports.http.auth import Authenticator, BearerAuth, Identity
from mcp_tasks.transports.http.exchange import HttpRequest
from mcp_tasks.transports.http.hosts import HostRules
from mcp_tasks.transports.http.profile import PROFILES, STATELESS
from mcp_tasks.transports.http.session import HttpSession
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response

from ._wire import BOTH, CODEC, LATEST, FakeExchange, Site, lowered, opened, opening

MakeSite = Callable[..., Site]

PING = Request(1, "ping")
NOTE = Notification("n")
RIGHT = {"host": "localhost", "content-type": "application/json", "accept": BOTH}


class Browser:
    """Hands exchanges to an endpoint as a connection does."""

    def __init__(self, site: Site, **headers: str) -> None:
        self.site = site
        self.headers = {**RIGHT, **headers}

    async def do(
        self, method: str, body: bytes | Message = b"", principal: str | None = None, **headers: str | None
    ) -> FakeExchange:
        """Make a request and let whatever can happen happen. A header's name has underscores; None leaves one out."""
        fields: dict[str, str | None] = {**self.headers}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        exchange = FakeExchange(method, {name: value for name, value in fields.items() if value is not None})
        endpoint = self.site.endpoint
        owner = None if principal is None else Principal(principal)
        if owner is None:
            owner = await endpoint.admit(exchange)
        elif endpoint._check(exchange):
            endpoint._check_headers(exchange, owner)
        if not exchange.finished:
            endpoint.handle(exchange, owner, body if isinstance(body, bytes) else CODEC.encode(body))
        await wait_all_tasks_blocked()
        return exchange

    async def post(self, message: bytes | Message, **options: Any) -> FakeExchange:
        return await self.do("POST", message, **options)

    async def open(self, revision: str = LATEST, **options: Any) -> str:
        """Begin a session and name it in all that follows; returns its id."""
        exchange = await self.post(opening(revision), **options)
        assert exchange.status == 200, exchange.body
        self.headers["mcp-session-id"] = exchange.head["mcp-session-id"]
        return self.headers["mcp-session-id"]


@pytest.fixture
def browser(site: Site) -> Browser:
    return Browser(site)


def error_of(exchange: FakeExchange) -> str:
    """The message of a refusal; it has no id (C25-082)."""
    assert exchange.head["content-type"] == "application/json"
    assert exchange.json.keys() == {"jsonrpc", "error"}
    message: str = exchange.json["error"]["message"]
    return message


# --- before the body --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-079", "C25-108")
@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("POST", 202),
        ("GET", 200),
        ("DELETE", 204),
        ("OPTIONS", 204),
        ("HEAD", 405),
        ("PUT", 405),
        ("PATCH", 405),
        ("BREW", 405),
        ("get", 405),
    ],
)
async def test_methods(browser: Browser, method: str, status: int) -> None:
    await browser.open()
    exchange = await browser.do(method, NOTE)
    assert exchange.status == status
    if status == 405:
        assert exchange.head["allow"] == "GET, POST, DELETE, OPTIONS"
        assert method in error_of(exchange)
    if method == "OPTIONS":
        assert exchange.head["allow"] == "GET, POST, DELETE, OPTIONS"


@pytest.mark.requirement("C25-080", "C25-081", "C25-082")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "OPTIONS", "HEAD", "PUT"])
@pytest.mark.parametrize("bad", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"host": None}])
async def test_strange_pages_get_nothing_whatever_they_do(browser: Browser, method: str, bad: dict[str, Any]) -> None:
    await browser.open()
    exchange = await browser.do(method, PING, **bad)
    assert exchange.status == 403
    assert error_of(exchange)
    assert not [name for name in exchange.head if name.startswith("access-control")]
    assert browser.site.script.inbox == []
    assert len(browser.site.endpoint.sessions) == 1


async def test_a_page_that_is_served_may_read_what_it_is_told(browser: Browser) -> None:
    origin = "http://localhost:3000"
    begun = await browser.post(opening(), origin=origin)
    refused = await browser.post(PING, origin=origin)
    odd = await browser.do("PUT", origin=origin)
    for exchange in (begun, refused, odd):
        assert exchange.head["access-control-allow-origin"] == origin
        assert exchange.head["vary"] == "Origin"
        assert exchange.head["access-control-expose-headers"] == "Mcp-Session-Id"
    assert (begun.status, refused.status, odd.status) == (200, 400, 405)
    plain = await browser.post(opening())
    assert not [name for name in plain.head if name.startswith("access-control")]


async def test_a_preflight(browser: Browser) -> None:
    exchange = await browser.do("OPTIONS", origin="http://localhost:3000", access_control_request_method="POST")
    assert (exchange.status, exchange.body) == (204, b"")
    assert {"GET", "POST", "DELETE"} <= set(exchange.head["access-control-allow-methods"].split(", "))
    allowed = {name.lower() for name in exchange.head["access-control-allow-headers"].split(", ")}
    assert allowed >= {
        "authorization",
        "content-type",
        "accept",
        "last-event-id",
        "mcp-session-id",
        "mcp-protocol-version",
    }
    assert exchange.head["access-control-allow-origin"] == "http://localhost:3000"
    plain = await browser.do("OPTIONS")
    assert not [name for name in plain.head if name.startswith("access-control")]


async def test_a_preflight_needs_no_token(make_site: MakeSite) -> None:
    """Browsers send none with it."""
    browser = Browser(make_site(auth=Doorman()))
    assert (await browser.do("OPTIONS", origin="http://localhost:3000")).status == 204


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("Application/JSON ;charset=x", 202),
        (None, 415),
        ("", 415),
        ("text/plain", 415),
        ("application/json-seq", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 415),
        ("text/plain; application/json", 415),
    ],
)
async def test_content_types(browser: Browser, kind: str | None, status: int) -> None:
    """What a form in a page can send without asking first is not among them."""
    await browser.open()
    assert (await browser.post(NOTE, content_type=kind)).status == status
    assert len(browser.site.script.inbox) == (status == 202)


@pytest.mark.requirement("C25-091")
@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (BOTH, "application/json"),
        ("text/event-stream, application/json", "application/json"),
        ("APPLICATION/JSON;q=0.5 , Text/Event-Stream", "application/json"),
        ("application/json", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("application/*", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        (None, "application/json"),
    ],
)
async def test_what_a_post_accepts(browser: Browser, accept: str | None, answer: str) -> None:
    await browser.open()
    exchange = await browser.post(PING, accept=accept)
    browser.site.script.answer(1)
    assert (exchange.status, exchange.head["content-type"]) == (200, answer)


@pytest.mark.parametrize("accept", ["text/html", "application/jsonx", "", "image/*", "text/plain, application/xml"])
async def test_what_cannot_be_answered(browser: Browser, accept: str) -> None:
    await browser.open()
    exchange = await browser.post(PING, accept=accept)
    assert exchange.status == 406
    assert "application/json" in error_of(exchange)
    assert browser.site.script.inbox == []


@pytest.mark.requirement("C25-107", "C25-108")
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/event-stream", 200),
        ("text/*", 200),
        ("*/*", 200),
        (None, 200),
        (BOTH, 200),
        ("application/json", 406),
        ("text/html", 406),
    ],
)
async def test_what_a_get_accepts(browser: Browser, accept: str | None, status: int) -> None:
    await browser.open()
    exchange = await browser.do("GET", accept=accept)
    assert exchange.status == status
    assert exchange.open is (status == 200)


async def test_the_memory_of_accept_headers_is_bounded(browser: Browser) -> None:
    await browser.open()
    for number in range(600):
        assert (await browser.post(NOTE, accept=f"text/x-{number}, application/json")).status == 202
        assert (await browser.post(NOTE, accept=f"text/x-{number}")).status == 406
        assert len(browser.site.endpoint._accepts) <= 256


@pytest.mark.requirement("C25-136")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    "version", ["", "1.0", "2025-11-26", "2099-01-01", "2025-11-25 ", "2025-11-25, 2025-06-18", "é"]
)
async def test_a_version_that_nobody_speaks(browser: Browser, method: str, version: str) -> None:
    await browser.open()
    exchange = await browser.do(method, PING, mcp_protocol_version=version)
    assert exchange.status == 400
    error = exchange.json["error"]
    assert "MCP-Protocol-Version" in error["message"]
    assert LATEST in error["message"]
    if method == "POST":  # with the code that the newest revision has for it
        assert (exchange.json["id"], error["code"]) == (PING.id, -32022)
        assert error["data"] == {"supported": list(PROFILES), "requested": version}
    assert browser.site.script.inbox == []
    assert browser.site.endpoint.sessions


@pytest.mark.parametrize("message", [NOTE, Response(5, {})])
async def test_a_version_that_nobody_speaks_and_no_request(browser: Browser, message: Message) -> None:
    await browser.open()
    exchange = await browser.post(message, mcp_protocol_version="2099-01-01")
    assert exchange.status == 400
    assert LATEST in error_of(exchange)
    assert browser.site.script.inbox == []


@pytest.mark.requirement("C25-133", "C25-135", "C25-136")
@pytest.mark.parametrize("revision", sorted(PROFILES.keys() - STATELESS))
async def test_versions_that_we_speak(browser: Browser, revision: str) -> None:
    """The session says what is spoken; the header need not be there."""
    await browser.open(revision)
    for version in (None, *sorted(PROFILES.keys() - STATELESS)):
        assert (await browser.post(NOTE, mcp_protocol_version=version)).status == 202
    exchange = await browser.post(PING)
    browser.site.script.say(NOTE, related_to=1)
    assert bool(exchange.events[0].data) is (revision != LATEST)


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-088")
@pytest.mark.parametrize("message", [NOTE, Response(5, {}), ErrorResponse(5, ErrorObject(-1, "x"))])
async def test_what_wants_no_answer(browser: Browser, message: Message) -> None:
    await browser.open()
    exchange = await browser.post(message)
    assert (exchange.status, exchange.body) == (202, b"")
    assert "content-type" not in exchange.head
    assert browser.site.script.inbox == [message]


@pytest.mark.requirement("C25-089", "C25-090", "C25-087")
@pytest.mark.parametrize(
    ("body", "code", "id"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff", -32700, None),
        (b"{} {}", -32700, None),
        (b"null", -32600, None),
        (b"[]", -32600, None),
        (b'[{"jsonrpc":"2.0","method":"n"}]', -32600, None),
        (b"{}", -32600, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":"a","method":7}', -32600, "a"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":99999999999999999999999999,"method":7}', -32600, 99999999999999999999999999),
        (b'{"jsonrpc":"2.0","method":"n","params":[]}', -32600, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b'{"a":' * 500 + b"1" + b"}" * 501, -32600, 1),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else str(value),
)
async def test_bodies_that_are_no_message(browser: Browser, body: bytes, code: int, id: Any) -> None:
    await browser.open()
    exchange = await browser.post(body)
    assert exchange.status == 400
    assert exchange.json["error"]["code"] == code
    assert exchange.json.get("id") == id
    assert ("id" in exchange.json) is (id is not None)
    assert all(isinstance(message, Malformed) and not message.answerable for message in browser.site.script.inbox)
    assert (await browser.post(body, mcp_session_id=None)).status == 400
    assert len(browser.site.endpoint.sessions) == 1


async def test_whoever_waits_for_an_answer_hears_that_it_is_none(browser: Browser) -> None:
    await browser.open()
    exchange = await browser.post(b'{"jsonrpc":"2.0","id":5,"result":7}')
    assert exchange.status == 400
    [message] = browser.site.script.inbox
    assert isinstance(message, Malformed)
    assert message.id == 5
    foreign: list[tuple[dict[str, Any], int]] = [
        ({"mcp_session_id": "x" * 32}, 404),
        ({"principal": "somebody else"}, 404),
        ({"mcp_session_id": None}, 400),
    ]
    for whose, status in foreign:
        assert (await browser.post(b'{"jsonrpc":"2.0","id":5,"result":7}', **whose)).status == status
    assert len(browser.site.script.inbox) == 1


async def test_how_deep_json_may_be_is_the_peers_affair(make_site: MakeSite) -> None:
    browser = Browser(make_site(message_limits=Limits(json_depth=6)))
    await browser.open()
    deep = b'{"jsonrpc":"2.0","method":"a","params":{"a":[[[[[]]]]]}}'
    assert (await browser.post(deep)).status == 400
    assert (await browser.post(deep.replace(b"[[[[[]]]]]", b"[[[[]]]]"))).status == 202


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-122", "C25-123", "C25-124", "C25-144")
async def test_session_ids(browser: Browser) -> None:
    ids = {await browser.open() for _ in range(200) if browser.headers.pop("mcp-session-id", True)}
    assert len(ids) == 200
    for id in ids:
        assert len(id) >= 32, "128 bits in hexadecimal"
        assert all("!" <= letter <= "~" for letter in id)
        assert set(id) <= set(string.hexdigits)
    for place in range(32):
        assert len({id[place] for id in ids}) > 8, "no part of it is the same in all"


async def test_the_id_comes_with_the_handshake_only(browser: Browser) -> None:
    await browser.open()
    exchange = await browser.post(PING)
    browser.site.script.answer(1)
    others = [exchange, await browser.post(NOTE), await browser.do("GET"), await browser.do("DELETE")]
    assert [other for other in others if "mcp-session-id" in other.head] == []


@pytest.mark.requirement("C25-127")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("body", [PING, NOTE, Response(1, {})])
async def test_without_a_session(browser: Browser, method: str, body: Message) -> None:
    exchange = await browser.do(method, body)
    assert exchange.status == 400
    assert "Mcp-Session-Id" in error_of(exchange)
    assert browser.site.scripts == []


@pytest.mark.requirement("C25-129")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("id", ["", "0" * 32, "x", "é", "a, b"])
async def test_a_session_that_never_was(browser: Browser, method: str, id: str) -> None:
    await browser.open()
    exchange = await browser.do(method, PING, mcp_session_id=id)
    assert (exchange.status, exchange.json["error"]["code"]) == (404, -32001)
    assert browser.site.script.inbox == []


async def test_an_id_is_the_whole_id(browser: Browser) -> None:
    id = await browser.open()
    for other in (id[:-1], id + "0", id.upper(), f" {id}", f"{id}, {id}"):
        if other != id:
            assert (await browser.post(NOTE, mcp_session_id=other)).status == 404
    assert browser.site.script.inbox == []


@pytest.mark.requirement("C25-128", "C25-129", "C25-131")
async def test_the_client_ends_its_session(browser: Browser) -> None:
    await browser.open()
    pending, listening = await browser.post(PING), await browser.do("GET")
    exchange = await browser.do("DELETE")
    assert (exchange.status, exchange.body) == (204, b"")
    assert (browser.site.script.over, browser.site.endpoint.sessions) == (True, {})
    assert (pending.status, listening.finished) == (200, True)
    for method in ("POST", "GET", "DELETE"):
        assert (await browser.do(method, PING)).status == 404


async def test_a_second_handshake_is_the_sessions_affair(browser: Browser) -> None:
    await browser.open()
    await browser.post(opening(id=5))
    assert len(browser.site.scripts) == 1


async def test_a_handshake_for_a_session_that_is_over(browser: Browser) -> None:
    """C25-130: it has to come without the id."""
    exchange = await browser.post(opening(), mcp_session_id="0" * 32)
    assert exchange.status == 404
    assert browser.site.scripts == []


@pytest.mark.requirement("C25-143", "C25-145")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(("owner", "other"), [("ada", "bob"), ("ada", None), (None, "bob"), ("ada", "ada ")])
async def test_somebody_elses_session_is_as_if_it_did_not_exist(
    browser: Browser, method: str, owner: str | None, other: str | None
) -> None:
    id = await browser.open(principal=owner)
    listening = await browser.do("GET", principal=owner)
    for body in (PING, NOTE, opening(), b"{", Response(1, {})):
        foreign = await browser.do(method, body, principal=other, last_event_id="1-1")
        missing = await browser.do(method, body, principal=other, mcp_session_id="0" * 32, last_event_id="1-1")
        assert (foreign.status, foreign.head, foreign.body) == (missing.status, missing.head, missing.body)
        assert foreign.status in (404, 400)
    assert browser.site.script.inbox == []
    assert listening.open
    assert (await browser.post(NOTE, principal=owner)).status == 202
    assert list(browser.site.endpoint.sessions) == [id.encode()]


# --- how many, and for how long ---------------------------------------------------------------------------------------


async def test_too_many_sessions(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(sessions=2)))
    await browser.open(), browser.headers.pop("mcp-session-id")
    await browser.open(), browser.headers.pop("mcp-session-id")
    exchange = await browser.post(opening())
    assert (exchange.status, exchange.head["retry-after"]) == (503, "10")
    assert "too many" in error_of(exchange)
    assert "mcp-session-id" not in exchange.head
    assert len(browser.site.endpoint.sessions) == len(browser.site.scripts) == 2


async def test_the_longest_idle_session_makes_room(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(sessions=3)))
    first = await browser.open()
    await trio.sleep(10)
    ids = [await browser.open() for _ in range(2) if browser.headers.pop("mcp-session-id")]
    await trio.sleep(49)
    assert (await browser.post(opening(), mcp_session_id=None)).status == 503, "it was idle for 59 seconds only"
    assert (await browser.post(NOTE, mcp_session_id=first)).status == 202
    await trio.sleep(12)
    browser.headers.pop("mcp-session-id")
    await browser.open()
    assert (await browser.post(NOTE, mcp_session_id=ids[0])).status == 404, "idle for 61 seconds"
    assert (await browser.post(NOTE, mcp_session_id=first)).status == 202, "seen since"
    assert browser.site.scripts[1].over
    assert len(browser.site.endpoint.sessions) == 3


async def test_a_session_at_work_makes_no_room(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(sessions=2, keep_alive_seconds=10_000, session_idle_seconds=100_000)))
    await browser.open()
    await browser.post(PING)
    browser.headers.pop("mcp-session-id")
    await browser.open()
    await browser.do("GET")
    await trio.sleep(1000)
    assert (await browser.post(opening(), mcp_session_id=None)).status == 503


async def test_one_principal_may_not_have_them_all(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(sessions=10, principal_sessions=2)))
    ids = [await browser.open(principal="ada") for _ in range(2) if browser.headers.pop("mcp-session-id", True)]
    browser.headers.pop("mcp-session-id")
    assert (await browser.post(opening(), principal="ada")).status == 503
    assert (await browser.post(opening(), principal="bob")).status == 200
    await trio.sleep(61)
    assert (await browser.post(opening(), principal="ada")).status == 200, "one of their own makes room"
    assert ids[0].encode() not in browser.site.endpoint.sessions
    assert sorted(session.principal or "" for session in browser.site.endpoint.sessions.values()) == [
        "ada",
        "ada",
        "bob",
    ]


async def test_where_there_are_no_principals_they_are_not_counted(make_site: MakeSite) -> None:
    browser = Browser(make_site(HttpLimits(sessions=10, principal_sessions=2)))
    for _ in range(10):
        assert (await browser.post(opening())).status == 200
    assert (await browser.post(opening())).status == 503


async def test_whoever_has_most_makes_room(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(sessions=4, principal_sessions=3)))
    for principal in ("ada", "bob", "bob", "bob"):
        assert (await browser.post(opening(), principal=principal)).status == 200
    await trio.sleep(61)
    assert (await browser.post(opening(), principal="eve")).status == 200
    assert sorted(session.principal or "" for session in browser.site.endpoint.sessions.values()) == [
        "ada",
        "bob",
        "bob",
        "eve",
    ]


async def test_any_idle_session_makes_room_before_a_new_one_is_refused(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    """As `HttpLimits.sessions` says: whoever has most may be at work in all of theirs."""
    browser = Browser(make_site(HttpLimits(sessions=3, principal_sessions=3, keep_alive_seconds=10_000)))
    for _ in range(2):
        await browser.open(principal="bob")
        await browser.post(PING, principal="bob")
        browser.headers.pop("mcp-session-id")
    assert (await browser.post(opening(), principal="ada")).status == 200
    await trio.sleep(61)
    assert (await browser.post(opening(), principal="eve")).status == 200
    assert sorted(session.principal or "" for session in browser.site.endpoint.sessions.values()) == [
        "bob",
        "bob",
        "eve",
    ]


async def test_sessions_that_nobody_uses_end(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    browser = Browser(make_site(HttpLimits(session_idle_seconds=600)))
    quiet = await browser.open()
    browser.headers.pop("mcp-session-id")
    posting = await browser.open()
    browser.headers.pop("mcp-session-id")
    waiting = await browser.open()
    await browser.post(PING)
    browser.headers.pop("mcp-session-id")
    listening = await browser.open()
    stream = await browser.do("GET")
    for _ in range(7):
        await trio.sleep(100)
        assert (await browser.post(NOTE, mcp_session_id=posting)).status == 202
    assert (await browser.post(NOTE, mcp_session_id=quiet)).status == 404
    assert browser.site.scripts[0].over
    for alive in (posting, waiting, listening):
        assert (await browser.post(NOTE, mcp_session_id=alive)).status == 202
    stream.leave()
    await trio.sleep(590)
    assert listening.encode() in browser.site.endpoint.sessions
    await trio.sleep(20)
    assert listening.encode() not in browser.site.endpoint.sessions


async def test_no_new_sessions_when_the_end_is_near(browser: Browser) -> None:
    await browser.open()
    browser.site.endpoint.closing = True
    exchange = await browser.post(opening(), mcp_session_id=None)
    assert (exchange.status, exchange.head["retry-after"]) == (503, "10")
    assert "shutting down" in error_of(exchange)
    assert (await browser.post(NOTE)).status == 202, "those that are there are served"


async def test_ending_them_all(browser: Browser) -> None:
    for _ in range(3):
        await browser.open()
        browser.headers.pop("mcp-session-id")
    browser.site.endpoint.end_sessions("enough")
    assert browser.site.endpoint.sessions == {}
    await wait_all_tasks_blocked()
    assert all(script.over for script in browser.site.scripts)


async def test_settling(browser: Browser) -> None:
    await browser.open()
    await browser.post(PING)
    first = browser.site.script
    browser.headers.pop("mcp-session-id")
    await browser.open()
    await browser.post(PING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(browser.site.endpoint.settle)
        await wait_all_tasks_blocked()
        browser.site.script.answer(1)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        first.answer(1)


# --- whoever serves them ----------------------------------------------------------------------------------------------


async def test_a_session_that_fails_is_over_and_its_requests_are_answered(
    make_site: MakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(session: HttpSession) -> None:
        raise ValueError("no")

    browser = Browser(make_site(serve=fail))
    with caplog.at_level(logging.ERROR, "mcp_tasks.http"):
        exchange = await browser.post(opening())
    assert browser.site.endpoint.sessions == {}
    assert "failed" in caplog.text
    assert exchange.finished, "nobody waits for ever"
    assert exchange.json["error"]["code"] == -32603
    assert exchange.json["id"] == 0
    assert "mcp-session-id" not in exchange.head


async def test_a_session_whose_serving_ends_is_over(make_site: MakeSite) -> None:
    async def handshake_and_go(session: HttpSession) -> None:
        session.push_to(lambda message: answer(session, message))
        await session.aclose()

    def answer(session: HttpSession, message: Inbound) -> None:
        session.speaks(LATEST)
        session.send(Response(0, opened()))

    browser = Browser(make_site(serve=handshake_and_go))
    await browser.open()
    assert browser.site.endpoint.sessions == {}
    assert (await browser.post(NOTE)).status == 404


# --- who is asking ----------------------------------------------------------------------------------------------------


class Doorman(Authenticator):
    """Lets people in by name, in the header X-Name."""

    async def authenticate(self, request: HttpRequest) -> Identity:
        await trio.lowlevel.checkpoint()
        name = request.headers.get(b"x-name", b"").decode()
        if name == "mallory":
            raise Forbidden("not you", [Challenge("Bearer", {"error": "insufficient_scope"})])
        if name == "trouble":
            raise RuntimeError("the directory is away: secret")
        if not name:
            raise Unauthorized("who are you?", [Challenge("Bearer", {"realm": "x"}), Challenge("Basic")])
        return Identity(Principal(name))


@pytest.mark.requirement("C25-084", "C25-142", "C25-143")
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_every_request_is_asked_who_it_is(make_site: MakeSite, method: str) -> None:
    browser = Browser(make_site(auth=Doorman()))
    assert (await browser.post(opening())).status == 401
    id = await browser.open(x_name="ada")
    assert browser.site.endpoint.sessions[id.encode()].principal == "ada"
    for name, status in ((None, 401), ("mallory", 403), ("trouble", 500), ("bob", 404)):
        exchange = await browser.do(method, PING, x_name=name)
        assert exchange.status == status
    assert browser.site.script.inbox == []
    assert (await browser.do(method, PING, x_name="ada")).status in (None, 200, 204)


async def test_what_the_refused_are_told(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(make_site(auth=Doorman()))
    exchange = await browser.post(opening())
    assert (exchange.status, error_of(exchange)) == (401, "who are you?")
    assert exchange.head["www-authenticate"] == "Basic", "the second of two; a real answer has both"
    exchange = await browser.post(opening(), x_name="mallory")
    assert (exchange.status, error_of(exchange)) == (403, "not you")
    assert exchange.head["www-authenticate"] == 'Bearer error="insufficient_scope"'
    with caplog.at_level(logging.ERROR, "mcp_tasks.http"):
        exchange = await browser.post(opening(), x_name="trouble", origin="http://localhost")
    assert exchange.status == 500
    assert exchange.json["error"]["code"] == -32603
    assert b"secret" not in exchange.body
    assert "secret" in caplog.text
    assert exchange.head["access-control-allow-origin"] == "http://localhost"


async def test_strange_pages_are_not_even_asked(make_site: MakeSite) -> None:
    asked: list[str] = []

    async def verify(token: str) -> Identity | None:
        asked.append(token)
        return None

    browser = Browser(make_site(auth=BearerAuth(verify)))
    exchange = await browser.post(opening(), origin="http://evil.example", authorization="Bearer t")
    assert (exchange.status, asked) == (403, [])
    assert (await browser.post(opening(), authorization="Bearer t")).status == 401
    assert asked == ["t"]


async def test_any_host_if_we_are_told_so(make_site: MakeSite) -> None:
    browser = Browser(make_site(hosts=HostRules("127.0.0.1", hosts=["*"])), host="whatever.example")
    assert (await browser.post(opening())).status == 200


def test_what_is_refused_is_json() -> None:
    exchange = FakeExchange()
    exchange.refuse(400, "no", code=-32001, id="a", headers=[(b"X", b"y")])
    assert exchange.json == lowered(ErrorResponse("a", ErrorObject(-32001, "no")))
    assert (exchange.head["content-type"], exchange.head["x"]) == ("application/json", "y")
