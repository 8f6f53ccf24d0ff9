"""The line decoder: one table, fed whole, split at every position, and byte by byte; and any bytes, split anyhow."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks.framing.lines import LineDecoder, Oversized, Truncated

LIMIT = 8
LONG = Oversized(LIMIT)

# name, bytes, frames, what `end` says
TABLE = [
    ("nothing", b"", [], None),
    ("one line", b"abc\n", [b"abc"], None),
    ("many lines", b"a\nbc\ndef\n", [b"a", b"bc", b"def"], None),
    ("CRLF", b"abc\r\nd\r\n", [b"abc", b"d"], None),
    ("only one CR is dropped", b"abc\r\r\n", [b"abc\r"], None),
    ("a CR is no line end", b"a\rb\n", [b"a\rb"], None),
    ("blank lines", b"\n\r\n\na\n\n", [b"a"], None),
    ("spaces are kept", b" \n", [b" "], None),
    ("not UTF-8", b"\xff\xfe\n", [b"\xff\xfe"], None),
    ("a BOM is kept", b"\xef\xbb\xbf{}\n", [b"\xef\xbb\xbf{}"], None),
    ("NUL", b"a\0b\n", [b"a\0b"], None),
    ("other line ends of Unicode", b"\xe2\x80\xa8\x0b\x0c\n", [b"\xe2\x80\xa8\x0b\x0c"], None),
    ("at the limit", b"12345678\n", [b"12345678"], None),
    ("at the limit, with CR", b"12345678\r\n", [b"12345678"], None),
    ("one over the limit", b"123456789\na\n", [LONG, b"a"], None),
    ("one over the limit, with CR", b"123456789\r\na\n", [LONG, b"a"], None),
    ("far over the limit", b"x" * 100 + b"\na\n", [LONG, b"a"], None),
    ("two over the limit", b"x" * 20 + b"\n" + b"y" * 20 + b"\nz\n", [LONG, LONG, b"z"], None),
    ("in order", b"a\n" + b"x" * 20 + b"\nb\n", [b"a", LONG, b"b"], None),
    ("cut", b"a\nbcd", [b"a"], Truncated(3)),
    ("cut at the limit", b"12345678", [], Truncated(8)),
]


def frames_of(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[bytes | Oversized], Truncated | None]:
    decoder = LineDecoder(limit)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames, decoder.end()


@pytest.mark.parametrize(("data", "frames", "end"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
class TestTable:
    def test_whole(self, data: bytes, frames: list[bytes | Oversized], end: Truncated | None) -> None:
        assert frames_of([data]) == (frames, end)

    def test_split_at_every_position(self, data: bytes, frames: list[bytes | Oversized], end: Truncated | None) -> None:
        for at in range(len(data) + 1):
            assert frames_of([data[:at], data[at:]]) == (frames, end), at

    def test_byte_by_byte(self, data: bytes, frames: list[bytes | Oversized], end: Truncated | None) -> None:
        assert frames_of([bytes([byte]) for byte in data]) == (frames, end)


# Few different bytes, so that newlines and lengths around the limit come up all the time.
streams = st.lists(st.sampled_from([b"a", b"bcd", b"\r", b"\n", b"\r\n", b"12345678", b"\xff"]), max_size=40).map(
    b"".join
) | st.binary(max_size=200)


@given(data=streams, cuts=st.lists(st.integers(0, 400), max_size=20), limit=st.integers(1, 12))
def test_any_split_gives_the_same_frames(data: bytes, cuts: list[int], limit: int) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole, whole_end = frames_of([data], limit)
    pieces, pieces_end = frames_of([data[start:stop] for start, stop in pairwise(places)], limit)
    assert pieces == whole
    # How much of an oversized line had come is not kept in one piece or the other; that it was cut is.
    assert (pieces_end is None) == (whole_end is None)


@given(data=streams, limit=st.integers(1, 12))
def test_frames_are_the_lines(data: bytes, limit: int) -> None:
    """The decoder against four lines that are plainly right."""
    expected: list[bytes | Oversized] = []
    for line in data.split(b"\n")[:-1]:
        line = line.removesuffix(b"\r")
        if line:
            expected.append(line if len(line) <= limit else Oversized(limit))
    assert frames_of([data], limit)[0] == expected


def test_an_oversized_line_is_not_kept() -> None:
    decoder = LineDecoder(1000)
    for _ in range(1000):
        assert decoder.feed(b"x" * 1000) == []
        assert sum(map(len, decoder._parts)) <= 1001
    assert decoder.feed(b"\nok\n") == [Oversized(1000), b"ok"]


def test_the_end_of_an_oversized_line() -> None:
    decoder = LineDecoder(4)
    decoder.feed(b"x" * 100)
    assert isinstance(decoder.end(), Truncated)
    assert decoder.end() is None


def test_end_twice() -> None:
    decoder = LineDecoder(4)
    decoder.feed(b"abc")
    assert decoder.end() == Truncated(3)
    assert decoder.end() is None
