"""The two id tables: who asked what, what is owed, and what is nobody's business any more."""

from __future__ import annotations

import pytest

from mcp_tasks.errors import ConnectionClosed
from mcp_tasks.jsonrpc.events import Answered, Dropped, Failed, Refused
from mcp_tasks.jsonrpc.session import Session
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Notification, Request, Response

INVALID = ErrorObject(-32600, "Invalid request: $.method: required")


@pytest.fixture
def session() -> Session[str, str]:
    return Session()


def _call(session: Session[str, str], call: str) -> int | str:
    id = session.mint()
    session.called(id, call)
    return id


# --- what we ask ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("C25-004", "C25-005", "C25-006")
def test_ids_are_integers_and_never_used_again(session: Session[str, str]) -> None:
    minted = []
    for number in range(100):
        id = _call(session, "a")
        minted.append(id)
        if number % 2:
            session.receive(Response(id, {}))
        else:
            session.withdraw(id)
    assert all(type(id) is int for id in minted)
    assert len(set(minted)) == 100


@pytest.mark.requirement("C25-007")
def test_an_answer_finds_its_call_whatever_the_order(session: Session[str, str]) -> None:
    first, second = _call(session, "first"), _call(session, "second")
    assert session.receive(Response(second, {"n": 2})) == Answered("second", {"n": 2})
    assert session.receive(Response(first, {"n": 1})) == Answered("first", {"n": 1})
    assert session.calls == {}


def test_an_error_answers_a_call(session: Session[str, str]) -> None:
    id = _call(session, "a")
    error = ErrorObject(-32000, "no", None)
    assert session.receive(ErrorResponse(id, error)) == Failed("a", error)
    assert session.calls == {}


def test_a_call_is_answered_once(session: Session[str, str]) -> None:
    id = _call(session, "a")
    session.receive(Response(id, {}))
    assert isinstance(session.receive(Response(id, {})), Dropped)
    assert isinstance(session.receive(ErrorResponse(id, INVALID)), Dropped)


def test_one_and_the_text_one_are_two_ids(session: Session[str, str]) -> None:
    id = _call(session, "a")
    event = session.receive(Response(str(id), {}))
    assert event == Dropped(f"a response to {str(id)!r}, which is no request of ours")
    assert session.receive(ErrorResponse(str(id), INVALID)) == Dropped(
        f"an error for {str(id)!r}, which is no request of ours"
    )
    assert session.receive(Response(id, {})) == Answered("a", {})


@pytest.mark.requirement("C25-173")
def test_a_late_answer_is_dropped(session: Session[str, str]) -> None:
    id = _call(session, "a")
    assert session.withdraw(id) is True
    assert session.withdraw(id) is False
    assert isinstance(session.receive(Response(id, {})), Dropped)


def test_an_error_without_an_id_is_nobodys(session: Session[str, str]) -> None:
    id = _call(session, "a")
    assert session.receive(ErrorResponse(None, INVALID)) == Dropped(
        "an error without an id: Invalid request: $.method: required (-32600)"
    )
    assert list(session.calls) == [id]


def test_a_malformed_answer_fails_the_call_it_names(session: Session[str, str]) -> None:
    id = _call(session, "a")
    said = ErrorObject(-32600, "Invalid request: $.result: expected object, got null")
    assert session.receive(Malformed(said, id, answerable=False)) == Failed("a", None, said.message)
    assert session.receive(Malformed(said, id, answerable=False)) == Dropped(said.message)


# --- what we are asked ------------------------------------------------------------------------------------------------


def test_a_request_is_served_until_it_is_settled(session: Session[str, str]) -> None:
    request = Request("x", "ping")
    assert session.receive(request) is request
    assert session.served == {"x": None}
    session.serving("x", "job")
    assert session.settle("x", "job") is True
    assert session.settle("x", "job") is False
    assert session.served == {}


def test_a_request_can_be_settled_before_anybody_serves_it(session: Session[str, str]) -> None:
    session.receive(Request("x", "ping"))
    assert session.settle("x", None) is True


@pytest.mark.requirement("C25-006", "C25-010")
def test_a_duplicate_id_is_refused_and_the_first_goes_on(session: Session[str, str]) -> None:
    session.receive(Request("x", "a"))
    session.serving("x", "job")
    event = session.receive(Request("x", "b"))
    assert event == Refused(ErrorResponse(None, ErrorObject(-32600, "Invalid request: $.id: 'x' is already in use")))
    assert session.served == {"x": "job"}


def test_both_sides_may_use_the_same_id(session: Session[str, str]) -> None:
    id = _call(session, "ours")
    session.receive(Request(id, "theirs"))
    session.serving(id, "job")
    assert session.receive(Response(id, {})) == Answered("ours", {})
    assert session.served == {id: "job"}


def test_requests_one_and_text_one_are_served_side_by_side(session: Session[str, str]) -> None:
    session.receive(Request(1, "a"))
    session.receive(Request("1", "b"))
    session.serving(1, "number")
    session.serving("1", "text")
    assert session.abandon("1") == "text"
    assert session.served == {1: "number"}


@pytest.mark.requirement("C25-171", "C25-172")
def test_an_abandoned_request_is_not_answered(session: Session[str, str]) -> None:
    session.receive(Request("x", "a"))
    session.serving("x", "job")
    assert session.abandon("x") == "job"
    assert session.settle("x", "job") is False
    assert session.abandon("x") is None
    assert session.abandon("never heard of") is None


def test_after_a_cancellation_the_id_belongs_to_whoever_uses_it_next(session: Session[str, str]) -> None:
    session.receive(Request("x", "a"))
    session.serving("x", "old")
    session.abandon("x")
    session.receive(Request("x", "b"))
    session.serving("x", "new")
    assert session.settle("x", "old") is False
    assert session.settle("x", None) is False
    assert session.settle("x", "new") is True


def test_settling_goes_by_identity() -> None:
    session: Session[str, list[int]] = Session()
    session.receive(Request("x", "a"))
    mine: list[int] = []
    session.serving("x", mine)
    assert session.settle("x", []) is False  # equal, and another one's
    assert session.settle("x", mine) is True


@pytest.mark.requirement("C25-015")
def test_a_notification_passes_and_leaves_no_trace(session: Session[str, str]) -> None:
    notification = Notification("a")
    assert session.receive(notification) is notification
    assert session.served == {}


def test_a_malformed_request_is_refused_under_its_id(session: Session[str, str]) -> None:
    assert session.receive(Malformed(INVALID, 7)) == Refused(ErrorResponse(7, INVALID))
    assert session.receive(Malformed(INVALID)) == Refused(ErrorResponse(None, INVALID))


def test_a_malformed_request_with_an_id_in_use_is_refused_without_one(session: Session[str, str]) -> None:
    session.receive(Request(7, "a"))
    assert session.receive(Malformed(INVALID, 7)) == Refused(ErrorResponse(None, INVALID))
    assert session.settle(7, None) is True


@pytest.mark.requirement("C25-015")
def test_a_malformed_notification_is_not_refused(session: Session[str, str]) -> None:
    assert session.receive(Malformed(INVALID, None, answerable=False)) == Dropped(INVALID.message)


# --- the end ----------------------------------------------------------------------------------------------------------


def test_closing_hands_out_what_is_left(session: Session[str, str]) -> None:
    _call(session, "a")
    _call(session, "b")
    session.receive(Request(1, "x"))
    session.receive(Request(2, "y"))
    session.serving(2, "job")
    assert session.close() == (["a", "b"], ["job"])  # nobody has begun to serve 1
    assert session.closed
    assert (session.calls, session.served) == ({}, {})
    assert session.settle(2, "job") is False
    assert session.close() == ([], [])


def test_nothing_is_called_after_the_end(session: Session[str, str]) -> None:
    session.close()
    with pytest.raises(ConnectionClosed):
        session.called(session.mint(), "a")
    assert isinstance(session.receive(Response(1, {})), Dropped)
