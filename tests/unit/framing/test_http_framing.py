"""HTTP as a server sees it: requests whole, split at every position, and byte by byte; and answers that h11 reads."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeAlias

import h11
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks.errors import LocalProtocolError
from mcp_tasks.framing.http import (
    CONTINUE,
    LAST_CHUNK,
    BodyEnd,
    Broken,
    Headers,
    RememberedHeads,
    RequestHead,
    RequestReader,
    chunk,
    head,
)

HEADER_BYTES = 300


@frozen
class Got:
    """One request that came whole."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes = b""
    keeps_alive: bool = True
    chunks: bool = True


Found: TypeAlias = "list[Got | int]"  # an int is the status that a broken request is refused with


def requests_of(pieces: list[bytes], heads: RememberedHeads | None = None) -> Found:
    """What a connection that sends these pieces, and then no more, has asked for."""
    reader = RequestReader(HEADER_BYTES, heads)
    waiting = [*pieces, b""]
    found: Found = []
    request: RequestHead | None = None
    body = b""
    while True:
        event = reader.next()
        if isinstance(event, RequestHead):
            request, body = event, b""
        elif isinstance(event, bytes):
            body += event
        elif isinstance(event, BodyEnd):
            assert request is not None
            found.append(
                Got(request.method, request.target, request.headers, body, request.keeps_alive, request.chunks)
            )
            request = None
            reader.restart()
        elif isinstance(event, Broken):
            assert event.reason
            assert isinstance(reader.next(), Broken), "nothing can follow"
            return [*found, event.status]
        elif reader.ended:
            assert request is None, "a request that is cut is broken"
            return found
        else:
            data = waiting.pop(0)
            if data or not waiting:
                reader.feed(data)


HOST = {b"host": b"h"}


def post(more: dict[bytes, bytes], body: bytes = b"", **facts: bool) -> Got:
    return Got(b"POST", b"/mcp", {**HOST, **more}, body, **facts)


GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
GOT = Got(b"GET", b"/", HOST)
FIVE = b"POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
GOT_FIVE = post({b"content-length": b"5"}, b"hello")
CHUNKED = b"POST /mcp HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
TE = {b"transfer-encoding": b"chunked"}

GOOD: list[tuple[str, bytes, Found]] = [
    ("nothing", b"", []),
    ("no body", GET, [GOT]),
    ("a body", FIVE, [GOT_FIVE]),
    ("an empty body", FIVE.replace(b"5\r\n\r\nhello", b"0\r\n\r\n"), [post({b"content-length": b"0"})]),
    ("three, pipelined", FIVE + GET + FIVE, [GOT_FIVE, GOT, GOT_FIVE]),
    ("more than the body is the next request", FIVE + b"!!" + GET, [GOT_FIVE, Got(b"!!GET", b"/", HOST)]),
    ("chunks", CHUNKED + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n" + GET, [post(TE, b"hello"), GOT]),
    ("no chunks", CHUNKED + b"0\r\n\r\n" + GET, [post(TE), GOT]),
    ("a chunk with an extension", CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n", [post(TE, b"hello")]),
    ("a hexadecimal chunk", CHUNKED + b"00A\r\n0123456789\r\n0\r\n\r\n", [post(TE, b"0123456789")]),
    ("trailers", CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n" + GET, [post(TE, b"hello"), GOT]),
    ("a chunk with a request in it", CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GET), GET), [post(TE, GET)]),
    ("names are lower case, values are stripped", b"GET / HTTP/1.1\r\nHOST:  h \t\r\n\r\n", [GOT]),
    (
        "several headers of one name",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n",
        [Got(b"GET", b"/", {**HOST, b"a": b"1, 3", b"b": b"2"})],
    ),
    ("an empty header", b"GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n", [Got(b"GET", b"/", {**HOST, b"a": b""})]),
    (
        "a header of latin-1",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: \xe9\r\n\r\n",
        [Got(b"GET", b"/", {**HOST, b"a": b"\xe9"})],
    ),
    ("the same length twice", FIVE.replace(b": 5", b": 5, 5"), [GOT_FIVE]),
    ("an absolute target", b"GET http://h/x?y HTTP/1.1\r\nHost: other\r\n\r\n", [Got(b"GET", b"/x?y", HOST)]),
    ("a method of their own", b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", [Got(b"BREW", b"/", HOST)]),
    (
        "close",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n",
        [Got(b"GET", b"/", {**HOST, b"connection": b"Close"}, keeps_alive=False)],
    ),
    (
        "close among others",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n",
        [Got(b"GET", b"/", {**HOST, b"connection": b"foo, close"}, keeps_alive=False)],
    ),
    ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", [Got(b"GET", b"/", {}, keeps_alive=False, chunks=False)]),
    (
        "HTTP/1.0 that would keep alive",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        [Got(b"GET", b"/", {b"connection": b"keep-alive"}, keeps_alive=False, chunks=False)],
    ),
]

BAD: list[tuple[str, bytes, Found]] = [
    # Request smuggling: whoever stands between us and a proxy must not be able to make us see other requests.
    ("two lengths", FIVE.replace(b"5\r\n\r\n", b"5\r\nContent-Length: 6\r\n\r\n"), [400]),
    ("two lengths in one", FIVE.replace(b": 5", b": 5, 6"), [400]),
    ("a length with a sign", FIVE.replace(b": 5", b": +5"), [400]),
    ("a negative length", FIVE.replace(b": 5", b": -5"), [400]),
    ("a hexadecimal length", FIVE.replace(b": 5", b": 0x5"), [400]),
    ("a length of other digits", FIVE.replace(b": 5", b": \xd9\xa5"), [400]),
    ("a length with an underscore", FIVE.replace(b": 5", b": 0_5"), [400]),
    ("no length", FIVE.replace(b": 5", b": "), [400]),
    ("a length of a hundred digits", FIVE.replace(b": 5", b": " + b"5" * 100), [400]),
    ("unknown encoding", CHUNKED.replace(b"chunked", b"gzip, chunked"), [501]),
    ("chunked twice", CHUNKED.replace(b"chunked", b"chunked, chunked"), [501]),
    ("almost chunked", CHUNKED.replace(b"chunked", b"xchunked") + b"0\r\n\r\n", [501]),
    ("identity", CHUNKED.replace(b"chunked", b"identity"), [501]),
    ("two encodings", CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), [501]),
    ("a chunk without a size", CHUNKED + b"\r\nhello\r\n0\r\n\r\n", [400]),
    ("a chunk size that is none", CHUNKED + b"5x\r\nhello\r\n0\r\n\r\n", [400]),
    ("a chunk size with a sign", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", [400]),
    ("a chunk size with 0x", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", [400]),
    ("a chunk size of a mile", CHUNKED + b"f" * 21 + b"\r\nhello\r\n0\r\n\r\n", [400]),
    ("a chunk longer than its size", CHUNKED + b"5\r\nhello!!\r\n0\r\n\r\n", [400]),
    ("a chunk size with a bare LF", CHUNKED + b"5\nhello\r\n0\r\n\r\n", [400]),
    ("a header with a space before the colon", b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", [400]),
    ("a header with a space in its name", b"GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", [400]),
    ("a header without a name", b"GET / HTTP/1.1\r\nHost: h\r\n: c\r\n\r\n", [400]),
    ("a header without a colon", b"GET / HTTP/1.1\r\nHost: h\r\nabc\r\n\r\n", [400]),
    ("a fold before any header", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", [400]),
    ("NUL in a header", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", [400]),
    ("CR in a header", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", [400]),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", [400]),
    ("two hosts", b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", [400]),
    ("no version", b"GET /\r\nHost: h\r\n\r\n", [400]),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", [400]),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", [400]),
    ("no HTTP, after a good one", GET + b"what?\r\n\r\n", [GOT, 400]),
    # The end of the stream, in the midst of things.
    ("cut in the first line", b"GET / HT", [400]),
    ("cut in a header", b"GET / HTTP/1.1\r\nHost:", [400]),
    ("cut before the blank line", b"GET / HTTP/1.1\r\nHost: h\r\n", [400]),
    ("cut in the body", FIVE[:-1], [400]),
    ("cut before the body", FIVE[:-5], [400]),
    ("cut in a chunk's size", CHUNKED + b"5", [400]),
    ("cut in a chunk", CHUNKED + b"5\r\nhel", [400]),
    ("cut after a chunk", CHUNKED + b"5\r\nhello\r\n", [400]),
    ("cut in the last chunk", CHUNKED + b"5\r\nhello\r\n0\r\n", [400]),
    ("cut after a good one", FIVE + b"GET", [GOT_FIVE, 400]),
    # Too much.
    ("a head that is too long", b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * HEADER_BYTES + b"\r\n\r\n", [431]),
    ("a first line that is too long", b"GET /" + b"x" * HEADER_BYTES + b" HTTP/1.1\r\nHost: h\r\n\r\n", [431]),
    ("a head without an end", b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * HEADER_BYTES, [431]),
    ("a chunk head that is too long", CHUNKED + b"5;" + b"x" * HEADER_BYTES + b"\r\nhello\r\n0\r\n\r\n", [431]),
]


@pytest.mark.parametrize(("data", "found"), [row[1:] for row in GOOD + BAD], ids=[row[0] for row in GOOD + BAD])
class TestTable:
    def test_whole(self, data: bytes, found: Found) -> None:
        if found != [431]:  # what is there already need not be refused for its size
            assert requests_of([data]) == found

    def test_split_at_every_position(self, data: bytes, found: Found) -> None:
        for at in range(len(data) + 1 if found != [431] else 0):
            assert requests_of([data[:at], data[at:]]) == found, at

    def test_byte_by_byte(self, data: bytes, found: Found) -> None:
        assert requests_of([bytes([byte]) for byte in data]) == found

    def test_a_second_time(self, data: bytes, found: Found) -> None:
        """That a head is known changes nothing about it."""
        heads = RememberedHeads()
        for _ in range(3):
            if found != [431]:
                assert requests_of([data], heads) == found
            assert requests_of([bytes([byte]) for byte in data], heads) == found


def test_a_blank_line_before_a_request_is_ignored() -> None:
    """RFC 9112 section 2.2: at least one; old clients end a body with one."""
    assert requests_of([b"\r\n" + FIVE + b"\r\n" + GET]) == [GOT_FIVE, GOT]


def test_a_bare_LF_ends_a_line_and_hides_nothing() -> None:
    """h11 takes it for CRLF, as RFC 9112 section 2.2 lets it. What counts is where the next request begins."""
    data = FIVE.replace(b"\r\n", b"\n") + GET
    assert requests_of([data]) == [GOT_FIVE, GOT]


@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n\n", b"\n\r\n"], ids=["LF LF", "CRLF LF", "LF CRLF"])
def test_a_head_that_ends_in_a_bare_LF_ends_there_the_second_time_too(blank: bytes) -> None:
    """The body has a blank line of its own: it is not where the head ends."""
    data = b"POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Length: 6" + blank + b"ab\r\n\r\n"
    expected: Found = [post({b"content-length": b"6"}, b"ab\r\n\r\n")] * 2 + [GOT]
    heads = RememberedHeads()
    for _ in range(2):
        assert requests_of([data, data, GET], heads) == expected


def test_a_folded_header_is_one_header() -> None:
    """RFC 9112 section 5.2: refused, or unfolded to a space. It is never a header of its own."""
    [got] = requests_of([b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n Content-Length: 5\r\n\r\n"])
    assert got == Got(b"GET", b"/", {**HOST, b"a": b"b Content-Length: 5"})


def test_length_and_chunks() -> None:
    """RFC 9112 section 6.3: refused, or read by its chunks alone, and never by the length."""
    data = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"5\r\nhello\r\n0\r\n\r\n" + GET
    assert requests_of([data]) == [400] or requests_of([data]) == [
        post({**TE, b"content-length": b"3"}, b"hello"),
        GOT,
    ]


@given(
    data=st.sampled_from([row[1] for row in GOOD + BAD]) | st.binary(max_size=100), cuts=st.lists(st.integers(0, 400))
)
def test_no_bytes_are_raised_about(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:stop] for start, stop in pairwise(places)]
    for found in requests_of(pieces):
        assert isinstance(found, Got) or found in (400, 431, 501)
    heads = RememberedHeads()
    assert requests_of(pieces, heads) == requests_of(pieces, heads)


@given(
    bodies=st.lists(st.tuples(st.binary(max_size=80), st.booleans()), max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
)
def test_any_requests_come_out_as_they_went_in(bodies: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    """Against h11's own client, with lengths and with chunks, cut anyhow."""
    data = b""
    expected: Found = []
    for body, chunked in bodies:
        client = h11.Connection(h11.CLIENT)
        extra = (b"transfer-encoding", b"chunked") if chunked else (b"content-length", b"%d" % len(body))
        request = h11.Request(method="POST", target="/mcp", headers=[("Host", "h"), extra])
        data += (client.send(request) or b"") + (client.send(h11.Data(data=body)) or b"")
        data += client.send(h11.EndOfMessage()) or b""
        expected.append(post(dict([extra]), body))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    heads = RememberedHeads()
    for _ in range(2):
        assert requests_of([data[start:stop] for start, stop in pairwise(places)], heads) == expected
        assert requests_of([data], heads) == expected


# --- around the requests ----------------------------------------------------------------------------------------------


def read_head(reader: RequestReader) -> RequestHead:
    event = reader.next()
    assert isinstance(event, RequestHead)
    return event


@pytest.mark.parametrize(
    ("version", "expect", "waits"),
    [
        (b"1.1", b"100-continue", True),
        (b"1.1", b"100-Continue", True),
        (b"1.1", b"x", False),
        (b"1.0", b"100-continue", False),
    ],
)
def test_who_waits_to_be_told_to_go_on(version: bytes, expect: bytes, waits: bool) -> None:
    reader = RequestReader(1000)
    reader.feed(b"POST / HTTP/%b\r\nHost: h\r\nContent-Length: 2\r\nExpect: %b\r\n\r\n" % (version, expect))
    read_head(reader)
    assert reader.wants_continue is waits
    assert reader.next() is None
    reader.feed(b"hi")
    assert reader.next() == b"hi"
    assert not reader.wants_continue, "it has not waited"


def test_what_comes_after_the_request_that_is_served() -> None:
    reader = RequestReader(1000)
    reader.feed(FIVE + GET[:3])
    read_head(reader)
    assert (reader.next(), reader.next()) == (b"hello", BodyEnd())
    assert (reader.unread, reader.ended) == (3, False)
    assert reader.next() is None, "the next one is for later"
    reader.feed(GET[3:])
    assert reader.unread == len(GET)
    reader.restart()
    assert read_head(reader).method == b"GET"
    assert reader.next() == BodyEnd()
    assert (reader.unread, reader.ended) == (0, False)
    reader.feed(b"")
    assert reader.ended
    reader.restart()
    assert reader.ended, "that the client sends nothing more is known to the next request too"
    assert reader.next() is None


def test_more_after_the_end_is_not_raised_about() -> None:
    reader = RequestReader(1000)
    reader.feed(GET[:5])
    reader.next()
    reader.feed(b"")
    reader.feed(GET[5:])
    assert isinstance(reader.next(), Broken)
    assert reader.ended


def test_a_body_is_handed_on_as_it_comes() -> None:
    for heads in (None, known_heads(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")):
        reader = RequestReader(100, heads)
        reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        read_head(reader)
        for _ in range(999):
            reader.feed(b"x" * 1000)
            assert reader.next() == b"x" * 1000
            assert (reader.next(), reader.unread) == (None, 0)
        reader.feed(b"x" * 1000 + GET)
        assert reader.next() == b"x" * 1000
        assert (reader.next(), reader.unread) == (BodyEnd(), len(GET))


# --- heads that are known ---------------------------------------------------------------------------------------------


def known_heads(*heads: bytes) -> RememberedHeads:
    """What has seen these heads before."""
    known = RememberedHeads()
    for data in heads:
        reader = RequestReader(10_000, known)
        reader.feed(data)
        read_head(reader)
    return known


def is_known(heads: RememberedHeads, data: bytes) -> bool:
    return heads.find(data) is not None


def test_a_head_that_came_before_is_known() -> None:
    heads = known_heads(FIVE)
    assert is_known(heads, FIVE)
    assert is_known(heads, FIVE + GET)
    assert not is_known(heads, FIVE[:-9]), "its end is not there yet"
    assert not is_known(heads, FIVE.replace(b"5", b"6"))
    assert not is_known(heads, b"")


@pytest.mark.parametrize(
    "data",
    [
        GET,
        CHUNKED,
        FIVE.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        FIVE.replace(b"Host", b"Connection: close\r\nHost"),
        FIVE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        FIVE.replace(b"Host", b"A: " + b"x" * 3000 + b"\r\nHost"),
    ],
    ids=["GET", "chunks", "continue", "close", "HTTP/1.0", "no length", "long"],
)
def test_what_is_not_remembered(data: bytes) -> None:
    assert not is_known(known_heads(data), data)


def test_not_too_many_are_remembered() -> None:
    heads = RememberedHeads(limit=10)
    for number in range(100):
        reader = RequestReader(1000, heads)
        reader.feed(FIVE.replace(b"/mcp", b"/%d" % number))
        read_head(reader)
        assert len(heads._known) <= 10
    assert is_known(heads, FIVE.replace(b"/mcp", b"/99"))


# --- answers ----------------------------------------------------------------------------------------------------------


def answer_of(data: bytes, *, method: str = "GET", ended: bool = False) -> tuple[h11.Response, bytes, h11.Connection]:
    """What h11's client makes of an answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    if ended:
        client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return response, body, client


tokens = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=10).map(str.encode)
reserved = {b"content-length", b"transfer-encoding", b"connection", b"date"}
values = st.binary(max_size=30).map(lambda value: bytes(byte for byte in value if byte > 0x20 and byte != 0x7F))
some_headers = st.lists(st.tuples(tokens.filter(lambda name: name.lower() not in reserved), values), max_size=5)
statuses = st.sampled_from([200, 202, 400, 404, 413, 431, 500, 503, 299])


@given(status=statuses, headers=some_headers, body=st.binary(max_size=100), keeps_alive=st.booleans())
def test_an_answer_of_known_length(
    status: int, headers: list[tuple[bytes, bytes]], body: bytes, keeps_alive: bool
) -> None:
    data = head(status, headers, length=len(body), keeps_alive=keeps_alive) + body
    response, read, client = answer_of(data)
    assert (response.status_code, response.http_version, read) == (status, b"1.1", body)
    found = [(name, value) for name, value in response.headers if name not in reserved]
    assert found == [(name.lower(), value) for name, value in headers]
    assert client.their_state is (h11.DONE if keeps_alive else h11.CLOSED) or not keeps_alive
    assert (client.our_state is h11.MUST_CLOSE) is not keeps_alive


@given(pieces=st.lists(st.binary(min_size=1, max_size=100), max_size=5), keeps_alive=st.booleans())
def test_a_stream_in_chunks(pieces: list[bytes], keeps_alive: bool) -> None:
    data = head(200, [], length=None, keeps_alive=keeps_alive) + b"".join(map(chunk, pieces)) + LAST_CHUNK
    response, read, client = answer_of(data)
    assert (response.status_code, read) == (200, b"".join(pieces))
    assert (client.our_state is h11.MUST_CLOSE) is not keeps_alive


def test_a_stream_without_chunks_ends_with_the_connection() -> None:
    data = head(200, [(b"A", b"b")], length=None, keeps_alive=False, chunks=False) + b"hello"
    response, read, _ = answer_of(data, ended=True)
    assert (dict(response.headers)[b"a"], read) == (b"b", b"hello")


def test_an_answer_without_a_body() -> None:
    data = head(204, [], length=0, keeps_alive=True)
    assert b"Content-Length" not in data, "RFC 9110 section 8.6"
    response, read, client = answer_of(data)
    assert (response.status_code, read, client.their_state) == (204, b"", h11.DONE)


def test_an_answer_to_HEAD_has_the_length_of_the_body_that_is_not_there() -> None:
    response, read, client = answer_of(head(404, [], length=9, keeps_alive=True), method="HEAD")
    assert (dict(response.headers)[b"content-length"], read, client.their_state) == (b"9", b"", h11.DONE)


def test_continue_is_no_answer() -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("Host", "h"), ("Content-Length", "0")]))
    client.receive_data(CONTINUE)
    event = client.next_event()
    assert isinstance(event, h11.InformationalResponse)
    assert event.status_code == 100


def test_the_reason_is_said() -> None:
    assert head(431, [], length=0, keeps_alive=True).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert head(299, [], length=0, keeps_alive=True).startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize(
    "value", [b"a\r\nSet-Cookie: x", b"a\nb", b"a\rb", b"a\0b", b"\n"], ids=["CRLF", "LF", "CR", "NUL", "only LF"]
)
def test_a_header_cannot_break_out_of_its_line(value: bytes) -> None:
    headers: Headers = [(b"A", b"b"), (b"WWW-Authenticate", value)]
    with pytest.raises(LocalProtocolError, match="WWW-Authenticate"):
        head(200, headers, length=0, keeps_alive=True)


def test_the_date_is_that_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 784111777.0  # the example of RFC 9110 section 5.6.7
    monkeypatch.setattr("time.time", lambda: now)
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in head(200, [], length=0, keeps_alive=True)
    now += 0.9
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" in head(200, [], length=0, keeps_alive=True)
    now += 0.2
    assert b"\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n" in head(200, [], length=0, keeps_alive=True)
