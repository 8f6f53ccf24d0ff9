"""Connections on the server's side: what is said on the wire, what a connection goes on after, and what time ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mcp_tasks._unset import Principal
from mcp_tasks.framing.http import LAST_CHUNK
from mcp_tasks.limits import HttpLimits, Limits
from mcp_tasks.transports.http.auth import Authenticator, BearerAuth, Identity
from mcp_tasks.transports.http.exchange import HttpRequest
from mcp_tasks.wire.jsonrpc import Notification, Request, Response

from ._wire import CODEC, LATEST, RawClient, Site, events_in, lowered, opening, request

MakeSite = Callable[..., Site]

PING = Request(1, "ping")
NOTE = Notification("n", {"text": "é"})

CARRIERS = pytest.mark.parametrize("sockets", [False, True], ids=["memory", "sockets"])
"""Both ways of writing: by a task of its own, as over TLS, and straight to the socket."""


def connect(site: Site, sockets: bool) -> RawClient:
    return site.connect_socket() if sockets else site.connect()


TIMES = HttpLimits(request_seconds=30, idle_seconds=75, stall_seconds=60, keep_alive_seconds=15)


async def until(site: Site, count: int) -> None:
    """Wait until the session has taken so many messages, within no time."""
    await wait_all_tasks_blocked()
    assert len(site.script.inbox) == count


# --- one request after the other --------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-079", "C25-085")
async def test_a_connection_carries_request_after_request(site: Site) -> None:
    client, headers, script = await site.joined()
    for number in range(3):
        await client.send(request("POST", Request(number, "ping"), headers))
        await until(site, 2 * number + 1)
        script.answer(number, n=number)
        answer = await client.answer()
        assert (answer.status, answer.json) == (200, lowered(Response(number, {"n": number})))
        assert (await client.ask("POST", NOTE, headers)).status == 202
    assert len(site.server.connections) == 1
    assert (await client.ask("DELETE", headers=headers)).status == 204
    assert (await client.ask("POST", NOTE, headers)).status == 404


async def test_each_answer_has_what_HTTP_wants_of_it(site: Site) -> None:
    client, headers, _ = await site.joined()
    for method, status in (("POST", 202), ("GET", 406), ("PUT", 405), ("HEAD", 405)):
        answer = await client.ask(method, NOTE, {**headers, **({"accept": "text/html"} if method == "GET" else {})})
        assert answer.status == status
        assert answer.headers["date"].endswith(" GMT")
        assert "transfer-encoding" not in answer.headers
        assert answer.headers["content-length"].isdigit()
        assert not answer.closes


async def test_requests_in_a_row_are_answered_in_a_row(site: Site) -> None:
    client, headers, script = await site.joined()
    asked = b"".join(request("POST", Request(number, "ping"), headers) for number in range(5))
    await client.send(asked + request("POST", NOTE, headers) + request("GET", path="/nowhere"))
    await until(site, 1)
    for number in range(5):
        script.answer(number)
        await wait_all_tasks_blocked()
    assert [(await client.answer()).json["id"] for _ in range(5)] == list(range(5))
    assert (await client.answer()).status == 202
    assert (await client.answer()).status == 404


async def test_byte_by_byte(site: Site) -> None:
    client, headers, script = await site.joined()
    for byte in request("POST", NOTE, headers) * 2:
        await client.send(bytes([byte]))
        await wait_all_tasks_blocked()
    assert [(await client.answer()).status for _ in range(2)] == [202, 202]
    assert script.inbox == [NOTE, NOTE]


async def test_chunked_bodies(site: Site) -> None:
    client, headers, script = await site.joined()
    body = CODEC.encode(NOTE)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + LAST_CHUNK
    await client.send(
        request("POST", b"", {**headers, "content-length": None, "transfer-encoding": "chunked"}) + chunks
    )
    assert (await client.answer()).status == 202
    assert script.inbox == [NOTE]
    assert (await client.ask("POST", NOTE, headers)).status == 202


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/mcp", 202),
        ("/mcp?a=b", 202),
        ("http://localhost/mcp", 202),
        ("http://localhost:8000/mcp?a=/b", 202),
        ("HTTP://LOCALHOST/mcp", 202),
        ("/", 404),
        ("/mcp/", 404),
        ("//mcp", 404),
        ("/mcp/../mcp", 404),
        ("/MCP", 404),
        ("/?/mcp", 404),
        ("http://localhost", 404),
        ("http://localhost/x?/mcp", 404),
        ("*", 404),
        ("mcp", 404),
    ],
)
async def test_targets(site: Site, path: str, status: int) -> None:
    client, headers, script = await site.joined()
    assert (await client.ask("POST", NOTE, headers, path=path)).status == status
    assert len(script.inbox) == (status == 202)
    assert (await client.ask("POST", NOTE, headers)).status == 202, "the connection goes on"


@pytest.mark.requirement("C25-080")
async def test_the_host_of_an_absolute_target_counts(site: Site) -> None:
    """RFC 9112 section 3.2.2: the Host header must then be ignored."""
    client, headers, script = await site.joined()
    assert (await client.ask("POST", NOTE, headers, path="http://evil.example/mcp")).status == 403
    assert script.inbox == []


@pytest.mark.parametrize("method", ["HEAD", "GET", "OPTIONS", "DELETE", "POST", "PUT"])
async def test_nothing_is_anywhere_else(site: Site, method: str) -> None:
    client = site.connect()
    answer = await client.ask(method, path="/nowhere")
    assert answer.status == 404
    assert int(answer.headers["content-length"]) > 0
    assert bool(answer.body) is (method != "HEAD")
    assert (await client.ask("OPTIONS")).status == 204


# What a request is answered with, and whether the connection goes on after it.
REFUSED: list[tuple[str, dict[str, Any], int, bool]] = [
    ("a page from elsewhere", {"headers": {"origin": "http://evil.example"}}, 403, True),
    ("another host", {"headers": {"host": "evil.example"}}, 403, True),
    ("no content type", {"headers": {"content-type": None}}, 415, True),
    ("another content type", {"headers": {"content-type": "text/plain"}}, 415, True),
    ("accepts nothing of ours", {"headers": {"accept": "text/html"}}, 406, True),
    ("an unknown version", {"headers": {"mcp-protocol-version": "2000-01-01"}}, 400, True),
    ("no session", {"headers": {"mcp-session-id": None}}, 400, True),
    ("an unknown session", {"headers": {"mcp-session-id": "x"}}, 404, True),
    ("no JSON", {"body": b"{"}, 400, True),
    ("another method", {"method": "PATCH"}, 405, True),
    ("another path", {"path": "/other"}, 404, True),
    ("a head that is too long", {"headers": {"x": "x" * 5000}}, 431, False),
    ("a body that is too long", {"body": b"x" * 2000}, 413, False),
    ("an encoding", {"headers": {"content-length": None, "transfer-encoding": "gzip"}}, 501, False),
    ("no host", {"headers": {"host": None}}, 400, False),
    ("two lengths", {"headers": {"content-length": "3, 4"}}, 400, False),
    ("a NUL", {"headers": {"x": "a\0b"}}, 400, False),
    ("a version of the future", {"version": "1.x"}, 400, False),
]


@pytest.mark.parametrize(("wrong", "status", "goes_on"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_what_is_refused(make_site: MakeSite, wrong: dict[str, Any], status: int, goes_on: bool) -> None:
    site = make_site(HttpLimits(header_bytes=4096), message_limits=Limits(message_bytes=1000))
    client, headers, script = await site.joined()
    wrong = {"method": "POST", "body": CODEC.encode(NOTE), **wrong, "headers": {**headers, **wrong.get("headers", {})}}
    data = request(wrong.pop("method"), wrong.pop("body"), wrong.pop("headers"), **wrong)
    await client.send(data)
    answer = await client.answer()
    assert answer.status == status
    assert answer.error
    assert answer.headers["content-type"] == "application/json"
    assert answer.closes is not goes_on
    if goes_on:
        assert (await client.ask("POST", NOTE, headers)).status == 202
    else:
        assert await client.at_end()
    assert script.inbox == [NOTE] * goes_on
    assert len(site.endpoint.sessions) == 1


async def test_nothing_that_comes_after_what_is_broken_is_served(site: Site) -> None:
    client, headers, script = await site.joined()
    broken = request("POST", NOTE, {**headers, "content-length": "3, 4"})
    await client.send(broken + request("POST", NOTE, headers) * 3)
    assert (await client.answer()).status == 400
    assert await client.at_end()
    assert script.inbox == []


# --- how large --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
async def test_how_large_a_body_may_be(make_site: MakeSite, chunked: bool) -> None:
    site = make_site(message_limits=Limits(message_bytes=1000))
    client, headers, script = await site.joined()
    largest = Notification("n", {"x": "y" * (1000 - len(CODEC.encode(Notification("n", {"x": ""}))))})
    for message, status in ((largest, 202), (Notification("n", {"x": largest.params["x"] + "y"}), 413)):  # type: ignore[index,operator]
        body = CODEC.encode(message)
        if chunked:
            fields = {**headers, "content-length": None, "transfer-encoding": "chunked"}
            await client.send(request("POST", b"", fields) + b"%x\r\n%b\r\n" % (len(body), body) + LAST_CHUNK)
        else:
            await client.send(request("POST", message, headers))
        assert (await client.answer()).status == status
    assert script.inbox == [largest]
    assert await client.at_end()


async def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(make_site: MakeSite) -> None:
    site = make_site(message_limits=Limits(message_bytes=1000))
    client, headers, _ = await site.joined()
    await client.send(request("POST", b"", {**headers, "content-length": "1001"}))
    answer = await client.answer()
    assert (answer.status, answer.closes) == (413, True)
    assert "1000" in answer.error
    assert await client.at_end()


async def test_a_refused_body_is_passed_over(site: Site) -> None:
    client, headers, script = await site.joined()
    half = b"x" * 1000
    await client.send(request("POST", half, {**headers, "content-length": "2000"}, path="/nowhere"))
    answer = await client.answer()
    assert (answer.status, answer.closes) == (404, False), "at once"
    await client.send(half + request("POST", NOTE, headers))
    assert (await client.answer()).status == 202
    assert script.inbox == [NOTE]


@pytest.mark.parametrize(
    "fields",
    [
        {"content-length": str(10**6)},
        {"content-length": None, "transfer-encoding": "chunked"},
        {"expect": "100-continue"},
    ],
    ids=["large", "chunked", "continue"],
)
async def test_a_body_that_is_not_passed_over_ends_the_connection(site: Site, fields: dict[str, str | None]) -> None:
    """RFC 9112 section 9.6: and the answer says so."""
    client = site.connect()
    await client.send(request("POST", b"", fields, path="/nowhere"))
    answer = await client.answer()
    assert answer.status == 404
    assert await client.at_end()
    assert answer.closes


@pytest.mark.parametrize("size", [5_000, 500_000])
async def test_a_refusal_is_seen_although_the_body_was_not_read(
    make_site: MakeSite, size: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Closed at once, the kernel would reset the connection, and throw the answer away."""
    site = make_site(message_limits=Limits(message_bytes=1000))
    client = site.connect_socket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("POST", b"x" * size))
        await wait_all_tasks_blocked()
        answer = await client.answer()
    assert (answer.status, answer.closes) == (413, True)
    start = trio.current_time()
    assert await client.at_end()
    assert trio.current_time() - start < 1, "that nothing follows is said at once"


async def test_a_client_that_resets_the_connection(site: Site) -> None:
    client = site.connect_socket()
    headers = await site.open(client)
    await client.send(request("POST", PING, headers))
    await until(site, 1)
    site.script.say(NOTE, related_to=1)  # it does not read that: closing now is a reset
    await client.leave()
    await wait_all_tasks_blocked()
    assert not site.server.connections
    site.script.say(NOTE, related_to=1)
    site.script.answer(1)
    assert site.script.session.backlog == 0


# --- 100 Continue -----------------------------------------------------------------------------------------------------


async def test_whoever_waits_is_told_to_go_on(site: Site) -> None:
    client, headers, script = await site.joined()
    data = request("POST", NOTE, {**headers, "expect": "100-continue"})
    head, _, body = data.partition(b"\r\n\r\n")
    await client.send(head + b"\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.headers) == (100, {})
    assert await client.nothing_yet()
    await client.send(body)
    assert (await client.answer()).status == 202
    assert script.inbox == [NOTE]
    assert (await client.ask("POST", NOTE, headers)).status == 202


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"authorization": "Bearer bad"}, 401),
        ({"content-length": "5000"}, 413),
    ],
)
async def test_whoever_is_refused_is_not_told_to_go_on(make_site: MakeSite, wrong: dict[str, str], status: int) -> None:
    site = make_site(message_limits=Limits(message_bytes=1000), auth=BearerAuth(one_token))
    client = site.connect()
    await client.send(
        request("POST", b"", {"authorization": "Bearer good", "content-length": "5", "expect": "100-continue", **wrong})
    )
    assert (await client.answer()).status == status
    assert await client.at_end()


async def one_token(token: str) -> Identity | None:
    return Identity(Principal("ada")) if token == "good" else None


@CARRIERS
async def test_a_body_that_was_asked_for_is_not_waited_for_longer(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    client = connect(make_site(TIMES), sockets)
    await client.send(request("POST", b"", {"content-length": "5", "expect": "100-continue"}))
    start = trio.current_time()
    assert (await client.answer()).status == 100
    with trio.fail_after(1000):
        assert (await client.answer()).status == 408
    assert trio.current_time() - start <= 36


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"connection": "close"}, {"connection": "x, Close"}])
async def test_whoever_says_close_is_closed(site: Site, headers: dict[str, str]) -> None:
    client, fields, script = await site.joined()
    await client.send(request("POST", PING, {**fields, **headers}) + request("POST", NOTE, fields))
    await until(site, 1)
    assert await client.nothing_yet()
    script.answer(1)
    answer = await client.answer()
    assert (answer.status, answer.closes) == (200, True)
    assert await client.at_end()
    assert script.inbox == [PING], "nothing is served after that"


async def test_a_stream_on_a_connection_that_closes(site: Site) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, {**headers, "connection": "close"}))
    await until(site, 1)
    script.say(NOTE, related_to=1)
    script.answer(1)
    head = await client.head()
    assert head.closes
    assert [await client.message() for _ in range(3)] == [NOTE, Response(1, {}), None]
    assert await client.at_end()


async def test_http_1_0(site: Site) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, headers, version="1.0"))
    await until(site, 1)
    script.answer(1)
    answer = await client.answer()
    assert (answer.status, answer.closes, answer.json["id"]) == (200, True, 1)
    assert await client.at_end()


async def test_a_stream_for_http_1_0_has_no_chunks_and_ends_with_the_connection(site: Site) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, headers, version="1.0"))
    await until(site, 1)
    script.say(NOTE, related_to=1)
    script.answer(1)
    answer = await client.answer()
    assert "transfer-encoding" not in answer.headers
    assert "content-length" not in answer.headers
    assert answer.closes
    assert answer.body.startswith(b"id: ")
    assert [event.data for event in events_in(answer.body)] == [b"", CODEC.encode(NOTE), CODEC.encode(Response(1, {}))]


async def test_a_client_that_sends_no_more_still_gets_its_answer(site: Site) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, headers))
    assert isinstance(client.stream, trio.StapledStream)
    await client.stream.send_stream.aclose()
    await until(site, 1)
    script.answer(1)
    assert (await client.answer()).json["id"] == 1
    assert await client.at_end()
    assert not site.server.connections


@pytest.mark.requirement("C25-103", "C25-112")
@pytest.mark.parametrize("when", ["before a stream", "in a stream"])
async def test_a_client_that_leaves_has_not_taken_its_request_back(site: Site, when: str) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, headers))
    await until(site, 1)
    last = ""
    if when == "in a stream":
        script.say(NOTE, related_to=1)
        await client.head()
        assert await client.message() == NOTE
        last = client.last_id or ""
    await client.leave()
    await wait_all_tasks_blocked()
    assert script.inbox == [PING], "nobody was told of a cancellation"
    if when == "in a stream":
        assert not site.server.connections
    script.answer(1)
    await wait_all_tasks_blocked()
    assert not site.server.connections
    again = site.connect()
    if when == "in a stream":
        await again.begin("GET", headers={**headers, "last-event-id": last})
        assert await again.message() == Response(1, {})
        assert await again.event() is None
    assert (await again.ask("POST", NOTE, headers)).status == 202


async def test_a_listener_that_leaves_is_noticed_at_once(site: Site) -> None:
    client, headers, script = await site.joined()
    await client.begin("GET", headers=headers)
    await client.event()
    assert not script.session.idle
    await client.leave()
    await wait_all_tasks_blocked()
    assert script.session.idle


@pytest.mark.parametrize("cut", [1, 20, 60, -1])
async def test_a_client_that_leaves_within_a_request(site: Site, cut: int) -> None:
    client, headers, script = await site.joined()
    await client.send(request("POST", NOTE, headers)[:cut])
    await client.leave()
    await wait_all_tasks_blocked()
    assert not site.server.connections
    assert script.inbox == []


# --- time -------------------------------------------------------------------------------------------------------------


async def seconds_until_end(client: RawClient) -> float:
    start = trio.current_time()
    with trio.fail_after(100_000):
        assert await client.at_end()
    return trio.current_time() - start


async def test_a_client_that_says_nothing(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    assert 30 <= await seconds_until_end(make_site(TIMES).connect()) <= 36


@CARRIERS
@pytest.mark.parametrize("cut", [1, 30, 100])
async def test_a_head_that_does_not_come(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, cut: int, sockets: bool
) -> None:
    client = connect(make_site(TIMES), sockets)
    await trio.sleep(20)
    await client.send(request("POST", NOTE)[:cut])
    start = trio.current_time()
    answer = await client.answer()
    assert (answer.status, answer.closes) == (408, True)
    assert 30 <= trio.current_time() - start <= 36
    assert await client.at_end()


@CARRIERS
async def test_a_head_that_comes_in_drops(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    client = connect(make_site(TIMES), sockets)
    start = trio.current_time()

    async def drip() -> None:
        for byte in request("POST", NOTE, {"x": "y" * 1000}):
            await client.send(bytes([byte]))
            await trio.sleep(1)

    with pytest.raises(trio.BrokenResourceError):
        await drip()
    assert 30 <= trio.current_time() - start <= 36
    assert (await client.answer()).status == 408


@CARRIERS
async def test_a_body_that_does_not_come(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    site = make_site(TIMES)
    client = connect(site, sockets)
    headers = await site.open(client)
    await trio.sleep(50)
    await client.send(request("POST", NOTE, headers)[:-1])
    start = trio.current_time()
    assert (await client.answer()).status == 408
    assert 30 <= trio.current_time() - start <= 36
    assert await client.at_end()


async def test_a_body_may_take_its_time_as_long_as_it_comes(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    site = make_site(TIMES)
    client, headers, script = await site.joined()
    head, _, body = request("POST", NOTE, headers).partition(b"\r\n\r\n")
    await client.send(head + b"\r\n\r\n")
    for byte in body:
        await trio.sleep(570 / len(body))
        await client.send(bytes([byte]))
    assert (await client.answer()).status == 202
    assert script.inbox == [NOTE]


async def test_but_not_for_ever(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    """Drop by drop it could go on for years: twenty times as long as nothing of it may come, and no longer."""
    site = make_site(TIMES)
    client, headers, _ = await site.joined()
    start = trio.current_time()
    await client.send(request("POST", b"", {**headers, "content-length": "100000"}))

    async def drip() -> None:
        for _ in range(1000):
            await trio.sleep(20)
            await client.send(b" ")

    with pytest.raises(trio.BrokenResourceError):
        await drip()
    assert 600 <= trio.current_time() - start <= 640
    assert (await client.answer()).status == 408


async def test_a_body_behind_an_answer_that_is_read_slowly(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    """That the answer before it has been read gives the body no more time."""
    site = make_site(TIMES)
    client, headers, script = await site.joined(lockstep=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("POST", PING, headers) + request("POST", NOTE, headers)[:-1])
        await wait_all_tasks_blocked()
        script.answer(1, text="x" * 1000)
    await trio.sleep(5)
    assert (await client.answer()).json["id"] == 1
    start = trio.current_time()
    with trio.fail_after(1000):
        await client.rest()
    assert trio.current_time() - start <= 36


@CARRIERS
@pytest.mark.parametrize("late", [False, True], ids=["answered at once", "answered late"])
async def test_a_connection_between_requests(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool, late: bool
) -> None:
    site = make_site(TIMES)
    client = connect(site, sockets)
    headers = await site.open(client)
    if late:
        await client.send(request("POST", PING, headers))
        await trio.sleep(10)
        site.script.answer(1)
        assert (await client.answer()).status == 200
    else:
        assert (await client.ask("POST", NOTE, headers)).status == 202
    assert 70 <= await seconds_until_end(client) <= 81


async def test_a_request_within_that_time_starts_it_anew(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    site = make_site(TIMES)
    client, headers, _ = await site.joined()
    for _ in range(5):
        await trio.sleep(70)
        assert (await client.ask("POST", NOTE, headers)).status == 202
    assert 70 <= await seconds_until_end(client) <= 81


@CARRIERS
async def test_an_answer_may_take_any_time(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    site = make_site(TIMES)
    client = connect(site, sockets)
    headers = await site.open(client)
    await client.send(request("POST", PING, {**headers, "accept": "application/json"}))
    await trio.sleep(80_000)
    site.script.answer(1)
    assert (await client.answer()).json["id"] == 1


@pytest.mark.requirement("C25-091", "C25-093")
@CARRIERS
async def test_an_answer_that_takes_its_time_becomes_a_stream_that_stays_awake(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    site = make_site(TIMES)
    client = connect(site, sockets)
    headers = await site.open(client)
    start = trio.current_time()
    await client.begin("POST", PING, headers)
    assert 15 <= trio.current_time() - start <= 21
    event = await client.event()
    assert event is not None
    assert event.data == b""
    comments = 0
    while trio.current_time() < start + 200:
        assert await client.piece() == b":\n\n"
        comments += 1
    assert 8 <= comments <= 13
    site.script.answer(1)
    assert await client.message() == Response(1, {})
    assert await client.event() is None
    assert (await client.ask("POST", NOTE, headers)).status == 202, "and the connection goes on"


async def test_a_client_that_does_not_read(make_site: MakeSite, autojump_clock: trio.testing.MockClock) -> None:
    site = make_site(TIMES)
    client, headers, script = await site.joined(lockstep=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("GET", b"", headers))
        await wait_all_tasks_blocked()
    await client.head()
    await client.event()
    script.say(NOTE)
    start = trio.current_time()
    await trio.sleep(55)
    assert not script.session.idle
    while not script.session.idle:
        await trio.sleep(1)
        assert trio.current_time() - start <= 66
    await wait_all_tasks_blocked()
    assert not site.server.connections
    assert script.session.backlog == 0
    again = site.connect()
    await again.begin("GET", headers={**headers, "last-event-id": client.last_id or ""})
    assert await again.message() == NOTE, "it has missed nothing"


async def test_a_client_that_reads_slowly_is_waited_for(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    site = make_site(TIMES)
    client, headers, script = await site.joined(lockstep=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("GET", b"", headers))
        await wait_all_tasks_blocked()
    await client.head()
    for number in range(10):
        script.say(Notification("n", {"number": number}))
        await trio.sleep(50)
        message = await client.message()
        assert message == Notification("n", {"number": number})
    assert not script.session.idle


@CARRIERS
async def test_a_refused_request_is_answered_once(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    """The rest of its body does not come: the connection ends, but the answer was given."""
    client = connect(make_site(TIMES), sockets)
    await client.send(request("POST", b"x" * 100, {"content-length": "200"}, path="/nowhere"))
    assert (await client.answer()).status == 404
    await seconds_until_end(client)


# --- how much ---------------------------------------------------------------------------------------------------------


async def test_too_many_connections(make_site: MakeSite) -> None:
    site = make_site(HttpLimits(connections=2))
    first, second = site.connect(), site.connect()
    await wait_all_tasks_blocked()
    third = site.connect()
    answer = await third.answer()
    assert (answer.status, answer.closes, answer.headers["retry-after"]) == (503, True, "10")
    assert await third.at_end()
    assert (await first.ask("OPTIONS")).status == 204
    await second.leave()
    await wait_all_tasks_blocked()
    assert (await site.connect().ask("OPTIONS")).status == 204


async def test_the_refusal_has_todays_date(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(HttpLimits(connections=1))
    site.connect()
    await wait_all_tasks_blocked()
    monkeypatch.setattr("time.time", lambda: 784111777.0)
    assert (await site.connect().answer()).headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"


async def test_a_client_cannot_queue_requests_without_end(site: Site) -> None:
    """While an answer is due, what comes next is taken in only so far."""
    client, headers, script = await site.joined(lockstep=True)
    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("POST", PING, headers))
        await wait_all_tasks_blocked()

        async def flood() -> None:
            nonlocal sent
            for _ in range(1000):
                await client.send(request("POST", Notification("n", {"x": "y" * 10_000}), headers))
                sent += 10_000

        nursery.start_soon(flood)
        await wait_all_tasks_blocked()
        assert sent <= 256 * 1024
        assert len(script.inbox) == 1
        script.answer(1)
        assert (await client.answer()).json["id"] == 1
        for _ in range(1000):
            assert (await client.answer()).status == 202
    assert len(script.inbox) == 1001


async def test_an_answer_that_is_followed_by_another_request_is_written_some_time(site: Site) -> None:
    """The session knows when it has been read, although the connection was at its next request by then."""
    client, headers, script = await site.joined(lockstep=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send, request("POST", PING, headers) + request("POST", Request(2, "ping"), headers))
        await wait_all_tasks_blocked()
        script.answer(1, text="x" * 1000)
        await wait_all_tasks_blocked()
        assert script.session.backlog > 0
        assert (await client.answer()).json["id"] == 1
    await wait_all_tasks_blocked()
    assert script.session.backlog == 0
    assert script.session.try_flush()


@CARRIERS
async def test_large_answers(site: Site, sockets: bool) -> None:
    client = connect(site, sockets)
    headers = await site.open(client)
    text = "0123456789" * 500_000
    await client.send(request("POST", PING, headers) + request("POST", Request(2, "ping"), headers))
    await wait_all_tasks_blocked()
    site.script.answer(1, text=text)
    assert (await client.answer()).json["result"] == {"text": text}
    await wait_all_tasks_blocked()
    site.script.say(NOTE, related_to=2)
    site.script.answer(2, text=text)
    await client.head()
    assert [await client.message() for _ in range(3)] == [NOTE, Response(2, {"text": text}), None]


# --- who is asking ----------------------------------------------------------------------------------------------------


class Slow(Authenticator):
    """Takes its time."""

    async def authenticate(self, request: HttpRequest) -> Identity:
        await trio.sleep(1000)
        return Identity(Principal("ada"))


@CARRIERS
async def test_an_authenticator_that_takes_too_long(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, sockets: bool
) -> None:
    client = connect(make_site(TIMES, auth=Slow()), sockets)
    await client.send(request("POST", opening()))
    start = trio.current_time()
    assert (await client.answer()).status == 408
    assert trio.current_time() - start <= 36


@pytest.mark.requirement("C25-361", "C25-362", "C25-142")
async def test_tokens_on_the_wire(make_site: MakeSite) -> None:
    metadata = "https://mcp.example.org/.well-known/oauth-protected-resource"
    site = make_site(auth=BearerAuth(one_token, realm="mcp", resource_metadata=metadata))
    client = site.connect()
    answer = await client.ask("POST", opening())
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == f'Bearer realm="mcp", resource_metadata="{metadata}"'
    headers = await site.open(client, authorization="Bearer good")
    for token in ("Bearer bad", "Bearer", None):
        answer = await client.ask("POST", NOTE, {**headers, "authorization": token})
        assert answer.status == 401
    assert (await client.ask("POST", NOTE, headers)).status == 202
    assert site.script.inbox == [NOTE]


# --- one client's trouble is not another's ----------------------------------------------------------------------------


async def test_what_goes_wrong_for_one_goes_on_for_the_others(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last wall: a mistake of ours, met by one request, ends that connection only."""
    good, headers, script = await site.joined()
    await good.send(request("POST", PING, headers))
    await until(site, 1)

    def fail(*_: object) -> None:
        raise ValueError("a mistake of ours")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "mcp_tasks.http"):
        patched.setattr(site.endpoint, "handle", fail)
        bad = site.connect()
        await bad.send(request("POST", NOTE, headers))
        await wait_all_tasks_blocked()
    assert "a mistake of ours" in caplog.text
    script.answer(1)
    assert (await good.answer()).json["id"] == 1


# --- shutting down ----------------------------------------------------------------------------------------------------


async def test_shutting_down_answers_what_was_asked(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    site = make_site(HttpLimits(grace_seconds=10))
    client, headers, script = await site.joined()
    idle = site.connect()
    assert (await idle.ask("OPTIONS")).status == 204
    listening = site.connect()
    await listening.begin("GET", headers=headers)
    await listening.event()
    await client.send(request("POST", PING, headers))
    await until(site, 1)
    start = trio.current_time()
    nursery.start_soon(site.server.aclose)
    await wait_all_tasks_blocked()
    assert (await idle.ask("POST", opening())).status == 503, "no new session"
    await trio.sleep(5)
    script.answer(1)
    assert (await client.answer()).json["id"] == 1
    await site.server.wait_closed()
    assert 5 <= trio.current_time() - start <= 7, "no longer than it takes"
    assert await listening.event() is None
    for one in (client, idle, listening):
        assert await one.at_end()
    assert not site.server.connections
    assert script.over


async def test_shutting_down_waits_no_longer_than_it_was_told(
    make_site: MakeSite, autojump_clock: trio.testing.MockClock
) -> None:
    site = make_site(HttpLimits(grace_seconds=10))
    client, headers, script = await site.joined()
    await client.send(request("POST", PING, headers))
    stuck = site.connect()
    await stuck.send(request("POST", NOTE, headers)[:-1])
    await until(site, 1)
    start = trio.current_time()
    await site.server.aclose()
    assert 10 <= trio.current_time() - start <= 12
    answer = await client.answer()
    assert (answer.json["id"], answer.json["error"]["code"]) == (1, -32603)
    assert answer.closes, "nothing can follow"
    assert "shutting down" in answer.json["error"]["message"]
    assert await stuck.at_end()
    assert script.over
    await site.server.aclose()


async def test_shutting_down_with_no_grace(site: Site) -> None:
    client, headers, _ = await site.joined()
    await client.send(request("POST", PING, headers))
    await until(site, 1)
    await site.server.aclose(0)
    assert (await client.answer()).json["error"]["code"] == -32603


async def test_every_connection_is_closed(site: Site) -> None:
    """Also by a server that is cancelled: nothing stays open in the end."""
    closed: list[str] = []

    class Remembering(trio.abc.Stream):
        def __init__(self, name: str, stream: trio.abc.Stream) -> None:
            self._name = name
            self._stream = stream

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await self._stream.receive_some(max_bytes)

        async def aclose(self) -> None:
            closed.append(self._name)
            await self._stream.aclose()

    async with trio.open_nursery() as nursery:
        for name in ("silent", "idle", "half"):
            near, far = trio.testing.memory_stream_pair()
            nursery.start_soon(site.server.serve_stream, Remembering(name, far))
            client = RawClient(near)
            if name == "idle":
                await client.ask("OPTIONS")
            elif name == "half":
                await client.send(b"POST")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert sorted(closed) == ["half", "idle", "silent"]
    assert not site.server.connections


def test_the_rows_are_all_of_one_kind() -> None:
    """What is refused after the head can be passed over, what is no HTTP cannot."""
    assert {status for _, _, status, goes_on in REFUSED if not goes_on} == {400, 413, 431, 501}
    assert {status for _, _, status, goes_on in REFUSED if goes_on} == {400, 403, 404, 405, 406, 415}


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18"])
async def test_the_first_event_of_a_stream(site: Site, revision: str) -> None:
    client = site.connect()
    headers = await site.open(client, revision)
    await client.begin("GET", headers=headers)
    await wait_all_tasks_blocked()
    assert await client.nothing_yet() is (revision != LATEST)
