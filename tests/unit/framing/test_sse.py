"""Server-sent events: one table, fed whole, split at every position, and byte by byte; and any bytes, split anyhow."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks.framing import sse
from mcp_tasks.framing.lines import Oversized
from mcp_tasks.framing.sse import COMMENT, Event, EventDecoder, encode_event, encode_retry

LIMIT = 16
LONG = Oversized(LIMIT)
BOM = b"\xef\xbb\xbf"


@frozen
class Seen:
    """What a decoder made of a stream."""

    events: list[Event | Oversized]
    last_id: str | None = None
    retry_ms: int | None = None


def decoded(pieces: list[bytes], limit: int = LIMIT) -> Seen:
    decoder = EventDecoder(limit)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return Seen(events, decoder.last_id, decoder.retry_ms)


TABLE: list[tuple[str, bytes, Seen]] = [
    ("nothing", b"", Seen([])),
    ("one event", b"data: abc\n\n", Seen([Event(b"abc")])),
    ("with an id", b"id: 7\ndata: abc\n\n", Seen([Event(b"abc")], "7")),
    ("CR", b"data: a\r\rdata: b\r\r", Seen([Event(b"a"), Event(b"b")])),
    ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", Seen([Event(b"a"), Event(b"b")])),
    ("mixed line ends", b"data: a\r\n\rdata: b\n\r\n", Seen([Event(b"a"), Event(b"b")])),
    ("LF CR are two", b"data: a\n\rdata: b\n\r", Seen([Event(b"a"), Event(b"b")])),
    ("a BOM", BOM + b"data: a\n\n", Seen([Event(b"a")])),
    ("a BOM alone", BOM, Seen([])),
    ("a BOM elsewhere is a name", b"data: a\n\n" + BOM + b"data: b\n\n", Seen([Event(b"a")])),
    ("part of a BOM is a name", BOM[:2] + b"data: a\n\ndata: b\n\n", Seen([Event(b"b")])),
    ("a BOM in data", b"data: " + BOM + b"\n\n", Seen([Event(BOM)])),
    ("comments", b": hello\n:\ndata: a\n: in between\ndata: b\n\n:\n\n", Seen([Event(b"a\nb")])),
    ("several lines of data", b"data: a\ndata:\ndata: b\n\n", Seen([Event(b"a\n\nb")])),
    ("several lines, CRLF", b"data: a\r\ndata: b\r\n\r\n", Seen([Event(b"a\nb")])),
    ("several lines, CR", b"data: a\rdata: b\r\r", Seen([Event(b"a\nb")])),
    ("without a space", b"data:abc\n\n", Seen([Event(b"abc")])),
    ("one space only is dropped", b"data:  a \n\n", Seen([Event(b" a ")])),
    ("a colon in data", b"data: a: b\n\n", Seen([Event(b"a: b")])),
    ("data without a colon", b"data\n\n", Seen([Event(b"")])),
    ("empty data", b"id: 1\ndata: \n\n", Seen([Event(b"")], "1")),
    ("two lines of empty data", b"data\ndata\n\n", Seen([Event(b"\n")])),
    ("no data is no event", b"id: 1\nevent: x\n\n\n\n", Seen([], "1")),
    ("a type", b"event: ping\ndata: a\n\ndata: b\n\n", Seen([Event(b"a", b"ping"), Event(b"b")])),
    ("the last type counts", b"event: x\ndata: a\nevent: y\n\n", Seen([Event(b"a", b"y")])),
    ("an empty type", b"event: x\nevent:\ndata: a\n\n", Seen([Event(b"a")])),
    ("a type without data is forgotten", b"event: x\n\ndata: a\n\n", Seen([Event(b"a")])),
    ("unknown fields", b"datas: x\nDATA: y\ndata : z\n data: w\nfoo\ndata: a\n\n", Seen([Event(b"a")])),
    ("the id counts with the event only", b"id: 1\ndata: a\n\nid: 2\ndata: b\n", Seen([Event(b"a")], "1")),
    ("an id stays", b"id: 1\ndata: a\n\ndata: b\n\n", Seen([Event(b"a"), Event(b"b")], "1")),
    ("the last id counts", b"id: 1\nid: 2\ndata: a\n\n", Seen([Event(b"a")], "2")),
    ("an empty id takes it back", b"id: 1\ndata: a\n\nid\ndata: b\n\n", Seen([Event(b"a"), Event(b"b")], "")),
    ("an id with NUL", b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", Seen([Event(b"a"), Event(b"b")], "1")),
    ("an id that is no UTF-8", b"id: \xff\ndata: a\n\n", Seen([Event(b"a")], "\N{REPLACEMENT CHARACTER}")),
    ("an id of Unicode", "id: é€\ndata: a\n\n".encode(), Seen([Event(b"a")], "é€")),
    ("retry", b"retry: 1500\n\n", Seen([], retry_ms=1500)),
    ("retry holds at once", b"retry: 1500\n", Seen([], retry_ms=1500)),
    ("retry of nothing", b"retry: 0\n\n", Seen([], retry_ms=0)),
    ("retry without a number", b"retry\nretry:\nretry: 1.5\nretry: -1\nretry: 1 \nretry: +1\nretry:1_0\n\n", Seen([])),
    ("retry of other digits", "retry: ٣\nretry: ²\n\n".encode(), Seen([])),
    ("retry for ever is a day", b"retry: " + b"9" * 60 + b"\n\n", Seen([], retry_ms=86_400_000)),
    ("a bad retry leaves the good one", b"retry: 5\nretry: x\n\n", Seen([], retry_ms=5)),
    ("unicode", "data: é€😀\u2028\n\n".encode(), Seen([Event("é€😀\u2028".encode())])),
    ("not UTF-8", b"data: \xff\xfe\n\n", Seen([Event(b"\xff\xfe")])),
    ("NUL in data", b"data: a\0b\n\n", Seen([Event(b"a\0b")])),
    ("other line ends of Unicode", b"data: a\x0bb\x0cc\xc2\x85\n\n", Seen([Event(b"a\x0bb\x0cc\xc2\x85")])),
    ("cut in the data", b"data: a\n\ndata: b", Seen([Event(b"a")])),
    ("cut before the blank line", b"data: a\n\ndata: b\n", Seen([Event(b"a")])),
    ("at the limit", b"data: " + b"x" * LIMIT + b"\n\n", Seen([Event(b"x" * LIMIT)])),
    (
        "at the limit, in lines",
        b"data: " + b"x" * 8 + b"\ndata: " + b"y" * 7 + b"\n\n",
        Seen([Event(b"x" * 8 + b"\n" + b"y" * 7)]),
    ),
    ("one over", b"data: " + b"x" * (LIMIT + 1) + b"\n\ndata: a\n\n", Seen([LONG, Event(b"a")])),
    (
        "one over, in lines",
        b"data: " + b"x" * 8 + b"\ndata: " + b"y" * 8 + b"\n\ndata: a\n\n",
        Seen([LONG, Event(b"a")]),
    ),
    ("one over, in empty lines", b"data\n" * (LIMIT + 2) + b"\ndata: a\n\n", Seen([LONG, Event(b"a")])),
    ("far over", b"id: 1\ndata: " + b"x" * 500 + b"\n\nid: 2\ndata: a\n\n", Seen([LONG, Event(b"a")], "2")),
    ("far over, then more of it", b"data: " + b"x" * 500 + b"\ndata: y\n: z\n\ndata: a\n\n", Seen([LONG, Event(b"a")])),
    ("far over, CRLF", b"data: " + b"x" * 500 + b"\r\n\r\ndata: a\r\n\r\n", Seen([LONG, Event(b"a")])),
    ("two far over", (b"data: " + b"x" * 500 + b"\n\n") * 2 + b"data: a\n\n", Seen([LONG, LONG, Event(b"a")])),
    ("far over in many lines", b"data: xxxxxxx\n" * 100 + b"\ndata: a\n\n", Seen([LONG, Event(b"a")])),
    ("the id of what was too long counts", b"data: " + b"x" * 500 + b"\nid: 1\n\n", Seen([LONG], "1")),
    (
        "the type of what was too long does not",
        b"event: x\ndata: " + b"x" * 500 + b"\n\ndata: a\n\n",
        Seen([LONG, Event(b"a")]),
    ),
    # What is no data may be long, and is no event for that.
    ("a long comment", b": " + b"x" * 500 + b"\ndata: a\n\n", Seen([Event(b"a")])),
    ("a long comment alone", b": " + b"x" * 500 + b"\n\ndata: a\n\n", Seen([Event(b"a")])),
    ("a long unknown field", b"data: a\nfoo: " + b"x" * 500 + b"\n\n", Seen([Event(b"a")])),
    (
        "a long comment after all data",
        b"data: " + b"x" * LIMIT + b"\n: " + b"y" * 63 + b"\n\n",
        Seen([Event(b"x" * LIMIT)]),
    ),
    (
        "a long id after all data",
        b"data: " + b"x" * LIMIT + b"\nid: " + b"7" * 62 + b"\n\n",
        Seen([Event(b"x" * LIMIT)], "7" * 62),
    ),
]


@pytest.mark.parametrize(("data", "seen"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
class TestTable:
    def test_whole(self, data: bytes, seen: Seen) -> None:
        assert decoded([data]) == seen

    def test_split_at_every_position(self, data: bytes, seen: Seen) -> None:
        for at in range(len(data) + 1):
            assert decoded([data[:at], data[at:]]) == seen, at

    def test_byte_by_byte(self, data: bytes, seen: Seen) -> None:
        assert decoded([bytes([byte]) for byte in data]) == seen

    def test_with_empty_pieces(self, data: bytes, seen: Seen) -> None:
        assert decoded([piece for byte in data for piece in (bytes([byte]), b"")]) == seen


# --- limits -----------------------------------------------------------------------------------------------------------


def kept(decoder: EventDecoder) -> int:
    return len(decoder._buffer) + len(decoder._data or b"")


@pytest.mark.parametrize("line", [b"data: " + b"x" * 994 + b"\n", b"x" * 1000, b": " + b"x" * 997 + b"\n", b"data\n"])
def test_an_oversized_event_is_not_kept(line: bytes) -> None:
    decoder = EventDecoder(1000)
    for _ in range(2000):
        assert decoder.feed(line) == []
        assert kept(decoder) <= 9300
    assert Event(b"ok") in decoder.feed(b"\n\ndata: ok\n\n")


def test_an_oversized_event_costs_no_list_of_lines() -> None:
    decoder = EventDecoder(100)
    decoder.feed(b"data\n" * 10_000)
    assert kept(decoder) <= 101


def test_a_long_line_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it comes: a large event in small pieces would else take for ever."""
    searched = 0

    class Counting:
        def search(self, buffer: bytearray, start: int) -> re.Match[bytes] | None:
            nonlocal searched
            searched += len(buffer) - start
            return line_end.search(buffer, start)

    line_end = sse._LINE_END
    monkeypatch.setattr(sse, "_LINE_END", Counting())
    decoder = EventDecoder(1_000_000)
    for _ in range(900):
        assert decoder.feed(b"data: " + b"x" * 994 if not searched else b"x" * 1000) == []
    assert len(decoder.feed(b"\n\n")) == 1
    assert searched <= 2 * 900_000


# --- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-119", "C25-097")
def test_the_next_connection_knows_where_to_go_on() -> None:
    decoder = EventDecoder(LIMIT)
    decoder.feed(b"id: 3\nretry: 250\ndata: a\n\nid: 4\ndata: half an ev")
    fresh = decoder.resumed()
    assert (fresh.last_id, fresh.retry_ms) == ("3", 250)
    assert fresh.feed(BOM + b"data: b\n\n") == [Event(b"b")], "nothing of the half event is left"
    assert (fresh.last_id, fresh.retry_ms) == ("3", 250)
    assert fresh.feed(b"data: " + b"x" * (LIMIT + 1) + b"\n\n") == [LONG], "the limit is the same"
    fresh.feed(b"id: 9\n\n")
    assert (fresh.last_id, decoder.last_id) == ("9", "3")


# --- the encoder ------------------------------------------------------------------------------------------------------


def test_what_is_written() -> None:
    assert encode_event(b'{"a":1}', "s-1") == b'id: s-1\ndata: {"a":1}\n\n'
    assert encode_event(b"", "s-1") == b"id: s-1\ndata: \n\n"
    assert encode_retry(1500) == b"retry: 1500\n\n"


@pytest.mark.requirement("C25-093", "C25-096", "C25-116")
def test_what_is_written_is_read() -> None:
    stream = [encode_event(b"", "s-1"), COMMENT, encode_event(bytearray(b"{}"), "s-2"), COMMENT, encode_retry(40)]
    assert decoded(stream) == Seen([Event(b""), Event(b"{}")], "s-2", 40)


# --- anything ---------------------------------------------------------------------------------------------------------

cuts = st.lists(st.integers(0, 500), max_size=20)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(bounds)]


one_line = st.binary(max_size=60).map(lambda data: data.translate(None, b"\r\n"))
ids = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@given(events=st.lists(st.tuples(one_line, ids), max_size=8), places=cuts, comments=st.booleans())
def test_any_events_come_out_as_they_went_in(
    events: list[tuple[bytes, str]], places: list[int], comments: bool
) -> None:
    between = COMMENT if comments else b""
    stream = b"".join(encode_event(data, id) + between for data, id in events)
    seen = decoded(cut(stream, places), limit=60)
    assert seen == Seen([Event(data) for data, _ in events], events[-1][1] if events else None)


fields = st.lists(
    st.sampled_from(
        [
            *(b"data", b"data:", b"data: ", b"id: ", b"event: ", b"retry: ", b":", b"1", b"ab", b"x" * 20),
            *(b"\0", b"\xff", BOM, b"\n", b"\r", b"\r\n", b"\n\n"),
        ]
    ),
    max_size=40,
).map(b"".join)


@given(data=fields | st.binary(max_size=200), places=cuts)
def test_any_bytes_split_anyhow_give_the_same(data: bytes, places: list[int]) -> None:
    """At a limit that nothing here reaches: a stream means the same however it comes."""
    assert decoded(cut(data, places), limit=1000) == decoded([data], limit=1000)


@given(data=fields | st.binary(max_size=400), places=cuts, limit=st.integers(1, 30))
def test_no_bytes_are_raised_about_or_kept(data: bytes, places: list[int], limit: int) -> None:
    decoder = EventDecoder(limit)
    for piece in cut(data, places):
        for event in decoder.feed(piece):
            assert isinstance(event, Oversized) or len(event.data) <= limit
        assert kept(decoder) <= 2 * limit + 500, "no more than the limit, and a line that is no data"
    assert decoder.feed(b"\n\ndata:!\n\n")[-1] == Event(b"!"), "it always finds its way back"


def plainly(data: bytes) -> list[Event]:
    """The standard's own words, for a whole stream: "Interpreting an event stream"."""
    found, lines, type = [], [], b""
    data = data.removeprefix(BOM)
    whole = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    for line in whole:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if lines:
                found.append(Event(b"\n".join(lines), type or b"message"))
            lines, type = [], b""
        elif name == b"data":
            lines.append(value)
        elif name == b"event":
            type = value
    return found


@given(data=fields)
def test_events_are_what_the_standard_says(data: bytes) -> None:
    assert decoded([data], limit=1000).events == plainly(data)
