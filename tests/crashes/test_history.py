"""The checker of histories finds what it is there for: each violation, planted into a history that is right."""

from __future__ import annotations

import pytest

from ._history import (
    Answered,
    Asked,
    CancelAsked,
    Cancelled,
    Created,
    Effect,
    Fact,
    Gone,
    Kept,
    Seen,
    parse_steps,
    violations,
)

RIGHT: list[Fact] = [
    Created("a", "order", 1),
    Created("b", "fragile", 2),
    Created("c", "order", 3),
    Seen("a", "working"),
    Asked("a", "who"),
    Answered("a", "who"),
    CancelAsked("c"),
    Cancelled("c", for_certain=True),
    Seen("c", "cancelled", "by request"),
    Seen("b", "failed", "The task was interrupted: its receiver has ended"),
    Seen("a", "completed", "1 for Ada"),
    Seen("a", "completed", "1 for Ada"),
]
STEPS = [Effect(1, "pay"), Effect(1, "pay"), Kept(1, "pay"), Effect(1, "ship"), Kept(1, "ship"), Effect(2, "pay")]


def test_what_is_right_is_right() -> None:
    assert violations(RIGHT, STEPS) == []


@pytest.mark.parametrize(
    ("at", "planted", "said"),
    [
        (12, Gone("a"), "a: was acknowledged, and is lost"),
        (12, Seen("a", "failed", "x"), "a: was completed with 1 for Ada, then failed with x"),
        (12, Seen("a", "working"), "a: was completed with 1 for Ada, then working with None"),
        (12, Seen("a", "completed", "1 for Bob"), "a: was completed with 1 for Ada, then completed with 1 for Bob"),
        (6, Asked("a", "who"), "a: who was answered, and is asked again"),
        (3, Created("a", "order", 9), "a: two tasks have this id"),
        (12, Created("d", "order", 4), "d: never came to an end: None"),
    ],
)
def test_what_is_planted_is_found(at: int, planted: Fact, said: str) -> None:
    assert said in violations([*RIGHT[:at], planted, *RIGHT[at:]], STEPS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (Seen("c", "cancelled", "by request"), Seen("c", "working"), "c: never came to an end"),
        (CancelAsked("c"), Seen("c", "working"), "c: nobody has cancelled it"),
        (
            Seen("c", "cancelled", "by request"),
            Seen("c", "completed", "3 for Ada"),
            "c: was cancelled, and is completed",
        ),
        (Created("b", "fragile", 2), Created("b", "order", 2), "b: order has failed: The task was interrupted"),
        (
            Seen("b", "failed", "The task was interrupted: its receiver has ended"),
            Seen("b", "failed", "Internal error"),
            "b: fragile has failed: Internal error",
        ),
        (Created("a", "order", 1), Created("a", "order", 7), "a: came to '1 for Ada', which is not what was ordered"),
    ],
)
def test_what_is_exchanged_is_found(old: Fact, new: Fact, said: str) -> None:
    found = violations([new if fact == old else fact for fact in RIGHT], STEPS)
    assert any(one.startswith(said) for one in found), found


def test_an_orderly_end_cancels_what_is_not_run_again() -> None:
    ended = Seen("b", "cancelled", "The task was interrupted: its receiver is shutting down")
    assert violations([Created("b", "fragile", 2), ended]) == []
    assert violations([Created("b", "order", 2), ended]) == ["b: order is cancelled: " + (ended.outcome or "")]


def test_a_step_that_was_kept_is_not_done_again() -> None:
    assert violations(RIGHT, [*STEPS, Effect(1, "pay")]) == ["order 1: pay was done again after it was kept"]
    assert violations(RIGHT, [*STEPS, Effect(2, "pay")]) == [], "a crash between doing and keeping is the one exception"


def test_what_servers_write_is_read() -> None:
    assert parse_steps("effect 1 pay\nkept 1 pay\n") == [Effect(1, "pay"), Kept(1, "pay")]
