"""A stream that outlives its connections: ids, what is kept and for whom, what goes first."""

from __future__ import annotations

import pytest

from mcp_tasks.transports.http.streams import EventStream, parse_event_id

from ._wire import FakeExchange

A, B, C, D = (b'"%c"' % letter * 20 for letter in b"abcd")
SIZE = len(b"id: k-2\ndata: ") + len(A) + 2


def stream_of(*data: bytes, primes: bool = True, keep: int = 10_000, lossy: bool = False) -> EventStream:
    stream = EventStream("k", keep_bytes=keep, primes=primes)
    for one in data:
        stream.add(one, lossy=lossy)
    return stream


def carried(stream: EventStream, after: int | None = None) -> FakeExchange:
    exchange = FakeExchange()
    stream.attach(exchange, after)
    return exchange


def data_of(exchange: FakeExchange) -> list[bytes]:
    return [event.data for event in exchange.events if event.data]


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-093", "C25-116")
def test_it_begins_with_an_empty_event_that_has_an_id() -> None:
    exchange = carried(stream_of())
    assert exchange.status == 200
    assert exchange.head["content-type"] == "text/event-stream"
    assert "no-cache" in exchange.head["cache-control"]
    assert exchange.body == b"id: k-1\ndata: \n\n"
    assert exchange.open


def test_older_revisions_see_no_empty_event() -> None:
    stream = stream_of(primes=False)
    exchange = carried(stream)
    assert exchange.body == b""
    stream.add(A, lossy=False)
    assert exchange.ids == ["k-1"]


@pytest.mark.requirement("C25-102", "C25-117", "C25-118")
def test_events_have_their_place_and_the_last_ends_it() -> None:
    stream = stream_of()
    exchange = carried(stream)
    stream.add(A, lossy=True)
    stream.add(B, lossy=False)
    assert exchange.open
    stream.add(C, lossy=False, last=True)
    assert exchange.finished
    assert (stream.over, stream.exchange, stream.attached) == (True, None, False)
    assert (exchange.ids, data_of(exchange)) == (["k-1", "k-2", "k-3", "k-4"], [A, B, C])


def test_events_that_came_before_anybody_was_there() -> None:
    stream = stream_of(A, B)
    exchange = carried(stream)
    assert data_of(exchange) == [A, B]


# --- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-120")
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_who_comes_back_gets_what_it_missed(after: int) -> None:
    stream = stream_of()
    first = carried(stream)
    for data in (A, B, C):
        stream.add(data, lossy=False)
    first.leave()
    second = FakeExchange()
    assert stream.attach(second, after)
    assert data_of(second) == [A, B, C][after - 1 :]
    assert second.ids == first.ids[after:], "the same events have the same ids; there is no second beginning"
    stream.add(D, lossy=False)
    assert data_of(second)[-1] == D


@pytest.mark.requirement("C25-094", "C25-120")
def test_what_was_added_while_nobody_was_there_comes_next() -> None:
    stream = stream_of()
    first = carried(stream)
    stream.add(A, lossy=False)
    first.leave()
    stream.add(B, lossy=False)
    stream.add(C, lossy=False, last=True)
    second = carried(stream, after=2)
    assert data_of(second) == [B, C]
    assert second.finished, "and then the stream is over"
    third = carried(stream, after=1)
    assert data_of(third) == [A, B, C], "it may be asked for again"
    assert third.finished


def test_an_exchange_that_closed_unnoticed_loses_nothing() -> None:
    """The stream has not heard of it yet: what it adds meanwhile is kept."""
    stream = stream_of()
    first = carried(stream)
    first.gone = True
    assert not stream.attached
    stream.add(A, lossy=False)
    assert data_of(carried(stream, after=1)) == [A]


def test_one_exchange_at_a_time() -> None:
    stream = stream_of()
    first = carried(stream)
    second = carried(stream, after=1)
    assert first.finished
    stream.add(A, lossy=False)
    assert (data_of(first), data_of(second)) == ([], [A])


def test_letting_go_is_not_losing() -> None:
    stream = stream_of()
    exchange = carried(stream)
    exchange.lost = lambda: pytest.fail("nobody has left")
    stream.let_go()
    assert exchange.finished
    assert exchange.flushes
    exchange.leave()
    stream.let_go()  # there is nothing to let go


@pytest.mark.requirement("C25-096", "C25-113")
def test_the_client_is_told_when_to_come_back() -> None:
    stream = stream_of()
    exchange = carried(stream)
    stream.let_go(1234)
    assert exchange.body.endswith(b"retry: 1234\n\n")
    assert exchange.finished
    assert not stream.over


def test_staying_awake_is_no_event() -> None:
    stream = stream_of()
    stream.stay_awake()
    exchange = carried(stream)
    before = exchange.events
    stream.stay_awake()
    assert exchange.body.endswith(b":\n\n")
    assert exchange.events == before
    assert exchange.flushes == 1


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_what_was_sent_goes_first_the_oldest_first() -> None:
    stream = stream_of(keep=3 * SIZE)
    first = carried(stream)
    for data in (A, B, C, D):
        stream.add(data, lossy=False)
    assert stream.kept_bytes == 3 * SIZE
    assert data_of(first) == [A, B, C, D], "it was all sent"
    first.leave()
    late = FakeExchange()
    assert not stream.attach(late, 1), "some of it is gone"
    assert data_of(late) == [B, C, D]
    assert stream.attach(FakeExchange(), 2), "all that this one has missed is there"


def test_then_notifications_that_nobody_reads() -> None:
    stream = stream_of(keep=2 * SIZE)
    stream.add(A, lossy=True)
    stream.add(B, lossy=False)
    stream.add(C, lossy=True)
    assert stream.kept_bytes <= 2 * SIZE
    stream.add(D, lossy=False)
    assert data_of(carried(stream)) == [B, D]


def test_the_newest_notifications_are_kept() -> None:
    stream = stream_of(keep=2 * SIZE)
    for number in range(100):
        stream.add(b"%-20d" % number + b" " * 40, lossy=True)
        assert stream.kept_bytes <= 2 * SIZE
    assert [int(data) for data in data_of(carried(stream))][-1] == 99


def test_requests_and_answers_stay() -> None:
    stream = stream_of(A, B, C, keep=SIZE)
    stream.add(D, lossy=False, last=True)
    assert data_of(carried(stream)) == [A, B, C, D]


def test_the_last_event_stays_whatever_its_size() -> None:
    stream = stream_of(keep=10)
    first = carried(stream)
    stream.add(A, lossy=False, last=True)
    assert first.finished
    assert data_of(carried(stream, after=1)) == [A]


def test_what_is_being_read_is_bounded_too() -> None:
    stream = stream_of(keep=3 * SIZE)
    carried(stream)
    for _ in range(1000):
        stream.add(A, lossy=False)
        assert stream.kept_bytes <= 3 * SIZE + 20


def test_what_was_counted_is_what_is_there() -> None:
    stream = stream_of(keep=3 * SIZE)
    exchange = carried(stream)
    for number in range(60):
        stream.add(A * (number % 3), lossy=number % 2 == 0)
        if number % 10 == 5:
            exchange.leave()
            stream.let_go()
        elif number % 10 == 9:
            exchange = carried(stream, after=number)
        assert stream.kept_bytes == sum(len(event.data) for event in stream._kept)


def test_that_a_notification_was_dropped_unsent_is_known() -> None:
    """`attach` says whether some of what the client has missed is gone."""
    stream = stream_of(keep=2 * SIZE)
    first = carried(stream)
    first.leave()
    for data in (A, B, C):
        stream.add(data, lossy=True)
    assert not stream.attach(FakeExchange(), 1)


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-118")
@pytest.mark.parametrize(
    ("text", "named"), [("k-1", ("k", 1)), ("1a-0", ("1a", 0)), ("zz-999999999999", ("zz", 999_999_999_999))]
)
def test_an_id_says_where_it_belongs(text: str, named: tuple[str, int]) -> None:
    assert parse_event_id(text) == named


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "k",
        "k-",
        "-1",
        "k-1 ",
        " k-1",
        "k-1\n",
        "K-1",
        "k--1",
        "k-1.0",
        "k-٣",
        "k-1234567890123",
        "x" * 17 + "-1",
        "k-1-1",
        "\u212a-1",
    ],
)
def test_an_id_that_we_never_made(text: str) -> None:
    assert parse_event_id(text) is None
