"""Pages and their cursors: nothing twice, nothing left out, whatever comes and goes in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks._unset import UNSET
from mcp_tasks.cursor import CursorSeal
from mcp_tasks.errors import InvalidCursor
from mcp_tasks.peer.pages import Pages


def _filled(count: int, size: int) -> Pages:
    pages = Pages("list", CursorSeal(b"secret"), size)
    for number in range(count):
        pages.put(f"e{number}", number)
    return pages


def _walk(pages: Pages) -> list[list[int]]:
    found, cursor = [], UNSET
    while True:
        page, cursor = pages.page(cursor)
        found.append(page)
        if cursor is UNSET:
            return found


@pytest.mark.requirement("C25-263")
@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (5, [2, 2, 1])])
def test_pages_are_full_and_the_last_has_no_cursor(count: int, sizes: list[int]) -> None:
    walked = _walk(_filled(count, 2))
    assert [len(page) for page in walked] == sizes
    assert [entry for page in walked for entry in page] == list(range(count))


@pytest.mark.requirement("C25-262")
def test_a_cursor_stays_right_while_entries_come_and_go() -> None:
    pages = _filled(6, 2)
    first, cursor = pages.page(UNSET)
    pages.drop("e0")
    pages.drop("e1")  # the very entry the cursor names
    pages.drop("e2")
    pages.put("new", 9)
    second, cursor = pages.page(cursor)
    third, cursor = pages.page(cursor)
    assert (first, second, third, cursor) == ([0, 1], [3, 4], [5, 9], UNSET)


def test_an_entry_that_is_replaced_moves_to_the_end() -> None:
    pages = _filled(3, 10)
    pages.put("e0", 7)
    assert pages.page(UNSET) == ([1, 2, 7], UNSET)


def test_a_cursor_at_the_end_gives_what_came_since() -> None:
    pages = _filled(3, 2)
    _, cursor = pages.page(UNSET)
    pages.drop("e2")
    assert pages.page(cursor) == ([], UNSET)
    pages.put("later", 5)
    assert pages.page(cursor) == ([5], UNSET)


def test_unknown_entries_cannot_be_dropped() -> None:
    with pytest.raises(KeyError):
        _filled(1, 2).drop("nope")


@pytest.mark.requirement("C25-266")
@given(st.text())
def test_a_made_up_cursor_is_none(cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        _filled(3, 2).page(cursor)


@pytest.mark.requirement("C25-265", "C25-266")
def test_a_cursor_is_for_one_list_and_one_secret() -> None:
    _, cursor = _filled(3, 2).page(UNSET)
    assert isinstance(cursor, str)
    for other in (Pages("other", CursorSeal(b"secret"), 2), Pages("list", CursorSeal(), 2)):
        with pytest.raises(InvalidCursor):
            other.page(cursor)
    for index in range(len(cursor)):
        with pytest.raises(InvalidCursor):
            _filled(3, 2).page(cursor[:index] + ("A" if cursor[index] != "A" else "B") + cursor[index + 1 :])


def test_a_sealed_position_that_is_no_number_is_none() -> None:
    seal = CursorSeal(b"secret")
    with pytest.raises(InvalidCursor):
        _filled(3, 2).page(seal.seal("list", "-1"))


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["put", "drop", "page"]), st.integers(0, 5)), max_size=30),
)
def test_whoever_walks_sees_all_that_stayed_and_nothing_twice(size: int, steps: list[tuple[str, int]]) -> None:
    pages = _filled(6, size)
    stayed = {f"e{number}" for number in range(6)}
    alive = {f"e{number}" for number in range(6)}
    seen: list[int] = []
    cursor, started = UNSET, False
    serial = 100
    for step, number in steps:
        name = f"e{number}"
        if step == "put" and name not in alive:
            serial += 1
            pages.put(name, serial)
            alive.add(name)
        elif step == "drop" and name in alive:
            pages.drop(name)
            alive.discard(name)
            stayed.discard(name)
        elif step == "page" and not (started and cursor is UNSET):
            page, cursor = pages.page(cursor)
            started = True
            seen += page
    while not started or cursor is not UNSET:
        page, cursor = pages.page(cursor)
        started = True
        seen += page
    assert len(seen) == len(set(seen))
    assert {int(name[1:]) for name in stayed} <= set(seen)
