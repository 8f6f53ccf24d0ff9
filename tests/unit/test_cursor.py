"""Cursors open where they were made and nowhere else."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_tasks.cursor import CursorSeal
from mcp_tasks.errors import InvalidCursor

SEAL = CursorSeal(b"secret")
requirement = pytest.mark.requirement


@given(st.text(), st.text())
def test_a_cursor_opens_to_the_position_it_was_made_of(scope, position):
    cursor = SEAL.seal(scope, position)
    assert SEAL.open(scope, cursor) == position
    assert CursorSeal(b"secret").open(scope, cursor) == position, "whoever shares the secret shares the list"


@given(st.text(), st.text(), st.text())
@example("a", "b", "1")
@example("1:a", "1", ":a")
@example("ab", "a", "b")
def test_a_cursor_is_one_of_its_own_list_alone(scope, other, position):
    if scope != other:
        with pytest.raises(InvalidCursor):
            SEAL.open(other, SEAL.seal(scope, position))


@requirement("T25-131")
@given(st.text())
@example("")
@example("é")
@example("=")
@example("A")
@example("a b")
def test_what_was_made_up_is_refused(cursor):
    with pytest.raises(InvalidCursor):
        SEAL.open("list", cursor)


@requirement("T25-131")
@given(st.integers(0, 7), st.data())
def test_a_bit_that_was_flipped_is_noticed(bit, data):
    cursor = SEAL.seal("list", "12345")
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << bit
    with pytest.raises(InvalidCursor):
        SEAL.open("list", base64.urlsafe_b64encode(raw).decode().rstrip("="))


def test_another_process_has_another_secret():
    cursor = CursorSeal().seal("list", "1")
    with pytest.raises(InvalidCursor):
        CursorSeal().open("list", cursor)


def test_a_cursor_fits_into_a_url():
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in SEAL.seal("list", "\u2028é/+?" * 10))


def test_list_and_position_cannot_be_cut_in_another_place():
    raw = base64.urlsafe_b64decode(SEAL.seal("ab", "c") + "===")
    forged = base64.urlsafe_b64encode(raw[:-1] + b"bc").decode().rstrip("=")
    with pytest.raises(InvalidCursor):
        SEAL.open("a", forged)
