"""Which message of a session goes on which stream; what waits, what is dropped, and what a client can come back for."""

from __future__ import annotations

from typing import TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mcp_tasks.abc import Inbound
from mcp_tasks.errors import ConnectionClosed, LimitReached
from mcp_tasks.limits import HttpLimits
from mcp_tasks.transports.http.session import HttpSession
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response

from ._wire import CODEC, LATEST, FakeExchange, lowered, opened, opening

Taken: TypeAlias = "list[Inbound]"

NOTE = Notification("notifications/message", {"level": "info", "data": "x"})
QUESTION = Request(70, "ping")


def note(number: int) -> Notification:
    return Notification("n", {"number": number})


class Client:
    """A session whose handshake is over, and what its client does."""

    def __init__(self, limits: HttpLimits | None = None, revision: str | None = LATEST) -> None:
        self.limits = HttpLimits() if limits is None else limits
        self.session = HttpSession(b"0123456789abcdef", None, codec=CODEC, limits=self.limits)
        self.taken: Taken = []
        self.session.push_to(self.taken.append)
        if revision is not None:
            self.session.speaks(revision)

    def post(self, message: Message, *, json: bool = True, events: bool = True, slow: bool = False) -> FakeExchange:
        exchange = FakeExchange(slow=slow)
        self.session.post(message, exchange, takes_json=json, takes_events=events)
        return exchange

    def ask(self, id: int | str, **options: bool) -> FakeExchange:
        return self.post(Request(id, "tools/call"), **options)

    def listen(self, last_event_id: str | None = None, *, slow: bool = False) -> FakeExchange:
        exchange = FakeExchange("GET", slow=slow)
        self.session.listen(exchange, last_event_id)
        return exchange

    def say(self, message: Message, related_to: int | str | None = None) -> None:
        self.session.send(message, related_to=related_to)
        self.session.try_flush()


# --- what the client posts --------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-088")
async def test_what_wants_no_answer_is_accepted() -> None:
    client = Client()
    said: list[Message] = [NOTE, Response(1, {}), ErrorResponse(2, ErrorObject(-1, "no"))]
    for message in said:
        exchange = client.post(message)
        assert (exchange.status, exchange.body, exchange.finished) == (202, b"", True)
    assert client.taken == said


@pytest.mark.requirement("C25-091")
async def test_an_answer_that_nothing_precedes_is_json() -> None:
    client = Client()
    exchange = client.ask(1)
    assert client.taken == [Request(1, "tools/call")]
    assert exchange.status is None
    client.say(Response(1, {"ok": True}))
    assert (exchange.status, exchange.head["content-type"]) == (200, "application/json")
    assert exchange.json == lowered(Response(1, {"ok": True}))
    assert exchange.finished


async def test_an_error_is_an_answer() -> None:
    client = Client()
    exchange = client.ask(1)
    client.say(ErrorResponse(1, ErrorObject(-32601, "no")))
    assert (exchange.status, exchange.json["error"]["code"]) == (200, -32601)


@pytest.mark.requirement("C25-091", "C25-098", "C25-099", "C25-102")
async def test_something_before_the_answer_makes_it_a_stream() -> None:
    client = Client()
    exchange = client.ask(1)
    client.say(NOTE, related_to=1)
    assert (exchange.status, exchange.head["content-type"]) == (200, "text/event-stream")
    assert exchange.open
    client.say(QUESTION, related_to=1)
    client.say(Response(1, {}))
    assert exchange.messages == [NOTE, QUESTION, Response(1, {})]
    assert exchange.finished


async def test_whoever_takes_events_only_gets_events() -> None:
    client = Client()
    exchange = client.ask(1, json=False)
    client.say(Response(1, {}))
    assert exchange.head["content-type"] == "text/event-stream"
    assert exchange.messages == [Response(1, {})]
    assert exchange.finished


async def test_whoever_takes_json_only_gets_json() -> None:
    client = Client()
    exchange = client.ask(1, events=False)
    client.say(NOTE, related_to=1)
    client.say(QUESTION, related_to=1)
    assert exchange.status is None
    client.say(Response(1, {}))
    assert exchange.json == lowered(Response(1, {}))
    assert set(map(type, client.listen().messages)) == {Notification, Request}, "the rest waits for a stream"


@pytest.mark.requirement("C25-093")
@pytest.mark.parametrize(
    ("revision", "ids"),
    [
        ("2025-11-25", ["1-1", "1-2"]),
        ("2025-06-18", ["1-1"]),
        ("2025-03-26", ["1-1"]),
        ("2024-11-05", ["1-1"]),
        (None, ["1-1"]),
    ],
)
async def test_only_the_newest_revision_is_primed(revision: str | None, ids: list[str]) -> None:
    client = Client(revision=revision)
    exchange = client.ask(1)
    client.say(NOTE, related_to=1)
    assert exchange.ids == ids
    assert len(exchange.events) == len(ids)
    assert exchange.messages == [NOTE]


async def test_an_id_that_is_in_use() -> None:
    client = Client()
    first = client.ask(1)
    second = client.ask(1)
    assert (second.status, "already in use" in second.json["error"]["message"]) == (400, True)
    assert "id" not in second.json, "that id is the other's"
    client.say(Response(1, {}))
    assert first.json == lowered(Response(1, {}))
    assert client.taken == [Request(1, "tools/call")]
    third = client.ask(1)
    client.say(Response(1, {"again": True}))
    assert third.json["result"] == {"again": True}


async def test_1_and_one_are_two_ids() -> None:
    client = Client()
    number, text = client.ask(1), client.ask("1")
    client.say(NOTE, related_to="1")
    client.say(Response("1", {}))
    client.say(Response(1, {}))
    assert (number.json["id"], number.begun) == (1, False)
    assert text.messages == [NOTE, Response("1", {})]


async def test_too_many_requests() -> None:
    client = Client(HttpLimits(session_posts=2))
    client.ask(1)
    client.ask(2)
    third = client.ask(3)
    assert (third.status, "the limit is 2" in third.json["error"]["message"]) == (503, True)
    assert client.post(NOTE).status == 202, "only requests are counted"
    assert client.post(Response(9, {})).status == 202
    client.say(Response(1, {}))
    assert client.ask(3).status is None
    assert [message.id for message in client.taken if isinstance(message, Request)] == [1, 2, 3]


async def test_what_comes_before_anybody_serves_is_kept() -> None:
    session = HttpSession(b"0", None, codec=CODEC, limits=HttpLimits())
    exchange = FakeExchange()
    session.post(opening(), exchange, takes_json=True, takes_events=True)
    session.post(NOTE, FakeExchange(), takes_json=True, takes_events=True)
    taken: Taken = []
    session.push_to(taken.append)
    assert taken == [opening(), NOTE]


async def test_a_session_that_is_closed_takes_no_requests() -> None:
    """It may still be found for a moment: whoever posts then must not wait for ever."""
    client = Client()
    await client.session.aclose()
    assert client.ask(1).status == 404


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-122")
async def test_the_session_is_named_by_the_answer_to_the_handshake() -> None:
    client = Client(revision=None)
    exchange = FakeExchange()
    exchange.extra = [(b"Mcp-Session-Id", b"abc")]
    client.session.post(opening(), exchange, takes_json=True, takes_events=True)
    client.session.speaks(LATEST)
    client.say(Response(0, opened()))
    assert exchange.head["mcp-session-id"] == "abc"


async def test_a_handshake_that_fails_leaves_no_session() -> None:
    client = Client(revision=None)
    exchange = FakeExchange()
    exchange.extra = [(b"Access-Control-Allow-Origin", b"http://localhost"), (b"Mcp-Session-Id", b"abc")]
    client.session.post(opening(), exchange, takes_json=True, takes_events=True)
    client.say(ErrorResponse(0, ErrorObject(-32602, "no")))
    assert exchange.json["error"]["code"] == -32602
    assert "mcp-session-id" not in exchange.head
    with pytest.raises(ConnectionClosed, match="handshake"):
        await client.session.receive()


async def test_a_page_may_read_why_its_handshake_failed() -> None:
    """Only the session's name is left out: without CORS headers the page would not see the answer."""
    client = Client(revision=None)
    exchange = FakeExchange()
    exchange.extra = [(b"Access-Control-Allow-Origin", b"http://localhost"), (b"Mcp-Session-Id", b"abc")]
    client.session.post(opening(), exchange, takes_json=True, takes_events=True)
    client.say(ErrorResponse(0, ErrorObject(-32602, "no")))
    assert exchange.head.get("access-control-allow-origin") == "http://localhost"


# --- where what goes out goes -----------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-100", "C25-110", "C25-115")
async def test_related_messages_go_on_the_stream_of_their_request() -> None:
    client = Client()
    listening = client.listen()
    one, two = client.ask(1), client.ask(2)
    client.say(note(1), related_to=1)
    client.say(note(2), related_to=2)
    client.say(note(0))
    client.say(QUESTION, related_to=1)
    assert one.messages == [note(1), QUESTION]
    assert two.messages == [note(2)]
    assert listening.messages == [note(0)]


@pytest.mark.requirement("C25-109", "C25-115")
@pytest.mark.parametrize("message", [NOTE, QUESTION])
async def test_one_stream_for_one_message(message: Message) -> None:
    client = Client()
    asking = [client.ask(number) for number in range(3)]
    listening = [client.listen() for _ in range(3)]
    client.say(message)
    assert sum(len(exchange.messages) for exchange in asking + listening) == 1
    assert listening[-1].messages == [message], "the newest that listens"


async def test_the_newest_that_is_there() -> None:
    client = Client()
    old, new = client.listen(), client.listen()
    new.leave()
    client.say(NOTE)
    assert old.messages == [NOTE]


@pytest.mark.requirement("C25-111")
async def test_no_answer_goes_to_whoever_listens() -> None:
    client = Client()
    listening = client.listen()
    asking = client.ask(1)
    client.say(Response(1, {}))
    client.say(Response(2, {}))  # nobody has asked that
    client.say(ErrorResponse(None, ErrorObject(-32600, "no")))
    assert listening.messages == []
    assert asking.json == lowered(Response(1, {}))


async def test_what_is_related_to_a_request_that_is_over_goes_to_whoever_listens() -> None:
    client = Client()
    listening = client.listen()
    client.ask(1)
    client.say(Response(1, {}))
    client.say(NOTE, related_to=1)
    assert listening.messages == [NOTE]


async def test_a_request_of_ours_finds_a_stream_if_nobody_listens() -> None:
    client = Client()
    old, new, newest = client.ask(1), client.ask(2), client.ask(3)
    client.say(NOTE, related_to=1)
    client.say(NOTE, related_to=2)
    client.say(QUESTION)
    assert (old.messages, new.messages) == ([NOTE], [NOTE, QUESTION])
    assert newest.status is None, "none is begun for it: its client may expect plain JSON"


async def test_it_takes_no_stream_that_nobody_reads() -> None:
    client = Client()
    old, new = client.ask(1), client.ask(2)
    client.say(NOTE, related_to=1)
    client.say(NOTE, related_to=2)
    new.leave()
    client.say(QUESTION)
    assert old.messages == [NOTE, QUESTION]


async def test_an_answer_to_the_request_it_was_asked_for() -> None:
    """`related_to` says whose answer it is where the message cannot."""
    client = Client()
    exchange = client.ask(1)
    client.say(ErrorResponse(None, ErrorObject(-32600, "no")), related_to=1)
    assert exchange.json["error"]["message"] == "no"


# --- what waits -------------------------------------------------------------------------------------------------------


async def test_what_waits_goes_to_whoever_listens_next() -> None:
    client = Client()
    client.say(note(1))
    client.say(note(2))
    client.say(QUESTION)
    exchange = client.listen()
    assert sorted(map(repr, exchange.messages)) == sorted(map(repr, [note(1), note(2), QUESTION]))
    assert [message for message in exchange.messages if isinstance(message, Notification)] == [note(1), note(2)]
    assert client.listen().messages == [], "once"


async def test_what_waits_goes_out_as_it_was_sent() -> None:
    """In the order in which things happened: a question may be about what a notification has told."""
    client = Client()
    said: list[Message] = [note(1), QUESTION, note(2)]
    for message in said:
        client.say(message)
    assert client.listen().messages == said


async def test_a_waiting_request_goes_along_with_the_next_stream() -> None:
    client = Client()
    client.say(NOTE)
    client.say(QUESTION)
    plain, streamed = client.ask(1), client.ask(2)
    assert client.taken == [Request(1, "tools/call"), Request(2, "tools/call")]
    client.say(Response(1, {}))
    assert plain.head["content-type"] == "application/json"
    client.say(note(2), related_to=2)
    client.say(Response(2, {}))
    assert streamed.messages == [QUESTION, note(2), Response(2, {})]
    assert client.listen().messages == [NOTE], "what concerns no request waits for its own stream"


async def test_a_waiting_request_makes_a_stream_of_an_answer_that_takes_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It may be what the answer waits for."""
    client = Client(HttpLimits(keep_alive_seconds=15))
    client.say(QUESTION)
    exchange = client.ask(1)
    await trio.sleep(15)
    client.session.tick(trio.current_time())
    assert exchange.messages == [QUESTION]


async def test_waiting_notifications_make_no_stream_of_an_answer() -> None:
    client = Client()
    client.say(NOTE)
    exchange = client.ask(1)
    client.say(Response(1, {}))
    assert exchange.head["content-type"] == "application/json"


async def test_notifications_give_way_to_newer_ones_and_requests_never() -> None:
    client = Client(HttpLimits(waiting=4))
    for number in range(2):
        client.say(Request(number, "ping"))
    for number in range(100):
        client.say(note(number))
    messages = client.listen().messages
    notes = [message for message in messages if isinstance(message, Notification)]
    assert [message for message in messages if isinstance(message, Request)] == [Request(0, "ping"), Request(1, "ping")]
    assert 0 < len(notes) <= 4
    assert notes == [note(number) for number in range(100 - len(notes), 100)]


async def test_too_many_waiting_requests_are_refused_to_whoever_asks() -> None:
    client = Client(HttpLimits(waiting=2))
    client.say(NOTE)
    client.say(Request(0, "ping"))
    client.say(Request(1, "ping"))
    with pytest.raises(LimitReached) as refused:
        client.session.send(Request(2, "ping"))
    assert (refused.value.limit, refused.value.value) == ("waiting", 2)
    assert [message.id for message in client.listen().messages if isinstance(message, Request)] == [0, 1]
    client.say(Request(2, "ping"))


@pytest.mark.parametrize(("id", "gone"), [(71, True), (72, False), ("71", False)])
async def test_a_waiting_request_can_be_taken_back(id: int | str, gone: bool) -> None:
    client = Client()
    client.say(Request(70, "ping"))
    client.say(Request(71, "ping"))
    assert client.session.abandon(id) is gone
    assert len(client.listen().messages) == (1 if gone else 2)
    assert not client.session.abandon(70), "it has left"


async def test_what_is_no_json_is_refused_and_leaves_no_trace() -> None:
    client = Client()
    exchange = client.ask(1)
    for related_to in (None, 1):
        with pytest.raises(TypeError):
            client.session.send(Notification("n", {"x": object()}), related_to=related_to)
    with pytest.raises(TypeError):
        client.session.send(Response(1, {"x": object()}))
    assert exchange.status is None
    client.say(Response(1, {}))
    assert exchange.json == lowered(Response(1, {}))


async def test_whether_a_request_of_ours_has_reached_anybody() -> None:
    client = Client()
    client.say(QUESTION)
    assert not client.session.reaches(70), "it waits"
    listening = client.listen()
    assert client.session.reaches(70)
    listening.leave()
    assert not client.session.reaches(70)
    client.listen(listening.ids[0])
    assert client.session.reaches(70)
    client.ask(1)
    client.say(Request(71, "ping"), related_to=1)
    assert client.session.reaches(71)
    client.session.drop_stream(1, 40)
    assert (client.session.reaches(70), client.session.reaches(71)) == (True, False)
    client.post(Response(71, {}))
    client.session.abandon(70)
    assert client.session._asked == {}, "nothing is kept of what is over"


# --- streams and their clients ----------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-117")
async def test_ids_are_unique_over_all_streams() -> None:
    client = Client()
    exchanges = [client.ask(number) for number in range(50)] + [client.listen() for _ in range(10)]
    for number in range(50):
        client.say(note(number), related_to=number)
        client.say(note(number))
        client.say(Response(number, {}))
    ids = [id for exchange in exchanges for id in exchange.ids]
    assert len(ids) == len(set(ids)) == 50 * 3 + 10 + 50


@pytest.mark.requirement("C25-103", "C25-120")
async def test_a_client_that_has_left_comes_back_for_the_answer() -> None:
    client = Client()
    exchange = client.ask(1)
    client.say(note(1), related_to=1)
    exchange.leave()
    client.say(note(2), related_to=1)
    client.say(Response(1, {}))
    again = client.listen(exchange.ids[-1])
    assert again.messages == [note(2), Response(1, {})]
    assert again.finished


@pytest.mark.requirement("C25-119", "C25-120")
async def test_it_may_come_back_before_the_answer_too() -> None:
    client = Client()
    exchange = client.ask(1)
    client.say(note(1), related_to=1)
    exchange.leave()
    again = client.listen(exchange.ids[0])
    assert again.messages == [note(1)]
    client.say(Response(1, {}))
    assert again.messages == [note(1), Response(1, {})]
    assert again.finished


@pytest.mark.requirement("C25-121")
async def test_exactly_one_stream_is_replayed() -> None:
    client = Client()
    one, two, listening = client.ask(1), client.ask(2), client.listen()
    for number, related in enumerate([1, 2, None] * 5):
        client.say(note(number), related_to=related)
    for exchange in (one, two, listening):
        exchange.leave()
    client.say(note(100), related_to=1)
    client.say(note(200), related_to=2)
    again = client.listen(one.ids[0])
    assert again.messages == [note(number) for number in (0, 3, 6, 9, 12, 100)]
    again = client.listen(two.ids[2])
    assert again.messages == [note(number) for number in (7, 10, 13, 200)]
    again = client.listen(listening.ids[0])
    assert again.messages == [note(number) for number in (2, 5, 8, 11, 14)]


@pytest.mark.requirement("C25-113", "C25-120")
async def test_a_listener_that_comes_back_gets_what_waited_meanwhile() -> None:
    client = Client()
    exchange = client.listen()
    client.say(note(1))
    exchange.leave()
    client.say(note(2))
    client.say(QUESTION)
    again = client.listen(exchange.ids[-1])
    assert again.messages == [note(2), QUESTION] or again.messages == [QUESTION, note(2)]
    client.say(note(3))
    assert again.messages[-1] == note(3)


@pytest.mark.parametrize("id", ["9-1", "1", "", "nonsense", "1-1'", "../1-1"])
async def test_an_event_id_of_no_stream(id: str) -> None:
    client = Client()
    client.listen()
    exchange = client.listen(id)
    assert (exchange.status, exchange.finished) == (400, True)


async def test_a_place_that_was_never_reached() -> None:
    client = Client()
    exchange = client.listen()
    client.say(note(1))
    exchange.leave()
    again = client.listen("1-999999")
    assert (again.status, again.messages) == (200, [])
    client.say(note(2))
    assert again.messages == [note(2)]


async def test_the_answer_is_lost_to_whoever_left_before_a_stream_began() -> None:
    client = Client()
    exchange = client.ask(1)
    exchange.leave()
    client.say(NOTE, related_to=1)
    client.say(Response(1, {}))
    assert client.session.idle
    assert client.listen().messages == [NOTE]


async def test_too_many_listeners() -> None:
    client = Client(HttpLimits(session_streams=2))
    first, second = client.listen(), client.listen()
    third = client.listen()
    assert (third.status, "the limit is 2" in third.json["error"]["message"]) == (409, True)
    assert (first.open, second.open) == (True, True)
    assert client.listen(second.ids[0]).status == 200, "coming back is not one more"
    first.leave()
    assert client.listen().status == 200, "a stream that nobody reads makes room"
    assert client.listen(first.ids[0]).status == 400, "and cannot be come back to any more"


# --- dropping a connection, and not its stream ------------------------------------------------------------------------


@pytest.mark.requirement("C25-094", "C25-096")
@pytest.mark.parametrize(("retry_ms", "told"), [(None, 1000), (40, 40)])
async def test_the_server_drops_a_connection(retry_ms: int | None, told: int) -> None:
    client = Client()
    exchange = client.ask(1)
    client.session.drop_stream(1, retry_ms)
    assert exchange.finished
    assert exchange.ids == ["1-1"], "without an id nobody could come back"
    assert b"retry: %d\n" % told in exchange.body
    client.say(note(1), related_to=1)
    again = client.listen("1-1")
    assert again.messages == [note(1)]
    client.session.drop_stream(1, retry_ms)
    assert again.finished
    client.say(Response(1, {}))
    assert client.listen(again.ids[-1]).messages == [Response(1, {})]


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-03-26", "2024-11-05"])
async def test_it_drops_none_that_could_not_come_back(revision: str) -> None:
    client = Client(revision=revision)
    exchange = client.ask(1)
    client.session.drop_stream(1, 40)
    assert exchange.open
    client.say(Response(1, {}))
    assert exchange.json == lowered(Response(1, {}))


async def test_dropping_what_is_not_there() -> None:
    client = Client()
    client.session.drop_stream(1, 40)
    exchange = client.ask(2, events=False)
    client.session.drop_stream(2, 40)
    assert exchange.open


# --- taking a request back --------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-104")
async def test_the_post_of_a_cancelled_request_ends() -> None:
    client = Client()
    plain, streamed = client.ask(1), client.ask(2)
    client.say(note(1), related_to=2)
    for id in (1, 2, 3):
        client.session.leave(id)
    assert (plain.status, plain.body, plain.finished) == (202, b"", True)
    assert (streamed.messages, streamed.finished) == ([note(1)], True)
    client.say(Response(1, {}))  # too late
    assert plain.body == b""
    assert client.session.idle
    assert client.listen(streamed.ids[-1]).status == 400, "there is nothing to come back for"


async def test_whoever_waits_for_all_answers_hears_of_the_last_being_taken_back() -> None:
    client = Client()
    client.ask(1)
    client.ask(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.session.settle)
        await wait_all_tasks_blocked()
        client.say(Response(1, {}))
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        client.session.leave(2)
        await wait_all_tasks_blocked()
        settled = not nursery.child_tasks
        nursery.cancel_scope.cancel()
    assert settled


# --- time -------------------------------------------------------------------------------------------------------------


async def test_an_answer_that_takes_its_time_becomes_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    client = Client(HttpLimits(keep_alive_seconds=15))
    exchange, only_json = client.ask(1), client.ask(2, events=False)
    await trio.sleep(14)
    client.session.tick(trio.current_time())
    assert exchange.status is None
    await trio.sleep(1)
    client.session.tick(trio.current_time())
    assert (exchange.status, exchange.ids) == (200, ["1-1"])
    assert exchange.flushes
    assert only_json.status is None
    client.say(Response(1, {}))
    assert exchange.messages == [Response(1, {})]


async def test_quiet_streams_are_kept_awake(autojump_clock: trio.testing.MockClock) -> None:
    client = Client(HttpLimits(keep_alive_seconds=15))
    exchange = client.listen()
    for _ in range(3):
        await trio.sleep(15)
        client.session.tick(trio.current_time())
        client.session.tick(trio.current_time())
    assert exchange.body.count(b":\n\n") == 3
    await trio.sleep(14)
    client.say(NOTE)
    await trio.sleep(14)
    client.session.tick(trio.current_time())
    assert exchange.body.count(b":\n\n") == 3, "a stream that was written to is not quiet"


async def test_streams_are_kept_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    client = Client(HttpLimits(resume_seconds=300))
    done, pending, listening = client.ask(1), client.ask(2), client.listen()
    client.say(NOTE, related_to=1)
    client.say(NOTE, related_to=2)
    done.leave()
    pending.leave()
    listening.leave()
    client.say(Response(1, {}))
    await trio.sleep(299)
    client.session.tick(trio.current_time())
    again = client.listen(listening.ids[0])
    assert again.status == 200
    again.leave()
    await trio.sleep(1)
    client.session.tick(trio.current_time())
    assert client.listen(done.ids[0]).status == 400
    assert client.listen(listening.ids[0]).status == 200, "it was come back to since"
    await trio.sleep(10_000)
    client.session.tick(trio.current_time())
    client.say(Response(2, {}))
    assert client.listen(pending.ids[0]).messages == [NOTE, Response(2, {})], "an answer that is due is waited for"


async def test_finished_streams_are_kept_within_bounds() -> None:
    client = Client(HttpLimits(session_streams=3, replay_bytes=1000))
    exchanges = []
    for number in range(10):
        exchanges.append(client.ask(number, json=False))
        exchanges[-1].leave() if number % 2 else None
        client.say(Response(number, {}))
    assert len(client.session._streams) == 3
    assert [client.listen(f"{key}-1").status for key in list(client.session._streams)] == [200] * 3
    big = client.ask(20, json=False)
    client.say(Response(20, {"x": "y" * 2000}))
    assert len(client.session._streams) == 1, "the newest is kept whatever its size"
    assert client.listen(big.ids[0]).messages == [Response(20, {"x": "y" * 2000})]


async def test_whether_it_is_idle(autojump_clock: trio.testing.MockClock) -> None:
    client = Client()
    assert client.session.idle
    exchange = client.ask(1)
    assert not client.session.idle
    client.say(Response(1, {}))
    assert client.session.idle
    listening = client.listen()
    assert not client.session.idle
    await trio.sleep(50)
    listening.leave()
    assert client.session.idle
    assert client.session.seen_at == trio.current_time()
    assert exchange.finished


# --- what is not yet written ------------------------------------------------------------------------------------------


async def test_flush_waits_until_the_client_has_read() -> None:
    client = Client()
    exchange = client.listen(slow=True)
    client.session.send(NOTE)
    assert client.session.backlog > 0
    assert not client.session.try_flush()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.session.flush)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        exchange.drain()
    assert client.session.backlog == 0
    assert client.session.try_flush()


@pytest.mark.parametrize("related_to", [None, 1])
async def test_a_client_that_leaves_has_read_enough(related_to: int | None) -> None:
    client = Client()
    exchange = client.listen(slow=True) if related_to is None else client.ask(1, slow=True)
    client.say(NOTE, related_to=related_to)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.session.flush)
        await wait_all_tasks_blocked()
        exchange.leave()
    assert client.session.backlog == 0


async def test_an_answer_that_is_read_slowly() -> None:
    client = Client()
    exchange = client.ask(1, slow=True)
    client.say(Response(1, {}))
    assert client.session.backlog > 0
    exchange.drain()
    assert client.session.backlog == 0


async def test_coming_back_leaves_nothing_of_the_old_connection() -> None:
    client = Client()
    first = client.listen(slow=True)
    client.say(NOTE)
    client.listen(first.ids[0])
    first.leave()
    client.session.try_flush()
    assert client.session.backlog == 0


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-101", "C25-128")
async def test_the_end_of_a_session() -> None:
    client = Client()
    plain, streamed, listening = client.ask(1), client.ask(2), client.listen()
    client.say(NOTE, related_to=2)
    client.say(Request(71, "ping"))
    client.session.end("enough")
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="enough"):
            await client.session.receive()
    await client.session.aclose()
    await client.session.aclose()
    assert plain.json["id"] == 1
    assert (plain.json["error"]["code"], "enough" in plain.json["error"]["message"]) == (-32603, True)
    last = streamed.messages[-1]
    assert isinstance(last, ErrorResponse)
    assert last.id == 2
    assert streamed.finished
    assert listening.finished
    assert client.session.backlog == 0
    with pytest.raises(ConnectionClosed, match="enough"):
        client.session.send(NOTE)


async def test_the_end_before_the_handshake() -> None:
    client = Client(revision=None)
    exchange = client.post(opening())
    await client.session.aclose()
    assert exchange.json["error"]["code"] == -32603


async def test_the_end_wakes_whoever_waits() -> None:
    client = Client()
    client.listen(slow=True)
    client.say(NOTE)
    client.ask(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.session.flush)
        nursery.start_soon(client.session.settle)
        await wait_all_tasks_blocked()
        await client.session.aclose()


async def test_closing_is_never_cancelled_half_way() -> None:
    client = Client()
    exchange = client.ask(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await client.session.aclose()
    assert exchange.finished


async def test_malformed_answers_are_handed_on() -> None:
    client = Client()
    broken = Malformed(ErrorObject(-32600, "no"), 7, False)
    client.session.deliver(broken)
    assert client.taken == [broken]


def test_its_repr_does_not_give_the_id_away() -> None:
    async def main() -> str:
        return repr(Client().session)

    assert "6789" not in trio.run(main)


async def test_a_question_that_was_taken_back_is_not_replayed() -> None:
    """Whoever comes back for the stream is told that it was taken back, and not asked first."""
    client = Client()
    exchange = client.ask(1)
    client.say(NOTE, related_to=1)
    exchange.leave()
    client.say(QUESTION, related_to=1)
    assert not client.session.reaches(QUESTION.id)
    assert not client.session.abandon(QUESTION.id), "it is on its way, as far as anybody can tell"
    withdrawn = Notification("notifications/cancelled", {"requestId": QUESTION.id})
    client.say(withdrawn, related_to=1)
    assert client.listen(exchange.ids[-1]).messages == [withdrawn]
