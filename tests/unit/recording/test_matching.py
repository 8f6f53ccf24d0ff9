"""Names that are made anew each time stand for each other; everything else has to be the same."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_tasks.recording import Matcher
from mcp_tasks.testing import Side

TASK = {"taskId": "old", "status": "working", "createdAt": "2025-11-25T00:00:00Z", "ttl": None}


def test_names_are_paired_where_they_are_first_seen() -> None:
    matcher = Matcher()
    assert matcher.matches(
        {"result": {"task": TASK}}, {"result": {"task": {**TASK, "taskId": "new", "createdAt": "x"}}}
    )
    assert matcher.today({"params": {"taskId": "old"}}) == {"params": {"taskId": "new"}}
    assert matcher.matches({"taskId": "old"}, {"taskId": "new"})
    assert not matcher.matches({"taskId": "old"}, {"taskId": "other"})
    assert not matcher.matches({"taskId": "another"}, {"taskId": "new"})


def test_nothing_is_learnt_from_what_does_not_match() -> None:
    matcher = Matcher()
    assert not matcher.matches({"taskId": "old", "status": "working"}, {"taskId": "new", "status": "failed"})
    assert matcher.today({"taskId": "old"}) == {"taskId": "old"}
    assert matcher.accept({"taskId": "old", "status": "working"}, {"taskId": "new", "status": "failed"}) == [
        "$.status: was 'working', is 'failed'"
    ]
    assert matcher.today({"taskId": "old"}) == {"taskId": "new"}


def test_ids_of_different_types_are_different_names() -> None:
    matcher = Matcher()
    assert matcher.pair("progressToken", 1, "1")
    assert matcher.today({"progressToken": 1}) == {"progressToken": "1"}
    assert matcher.today({"progressToken": "1"}) == {"progressToken": "1"}
    assert matcher.pair("progressToken", "1", 1)


def test_keys_of_questions_are_told_by_what_they_ask() -> None:
    matcher = Matcher()
    recorded = {"inputRequests": {"a": {"method": "x"}, "b": {"method": "y"}}}
    live = {"inputRequests": {"k2": {"method": "y"}, "k1": {"method": "x"}}}
    assert matcher.matches(recorded, live)
    assert matcher.today({"inputResponses": {"a": 1, "b": 2}}) == {"inputResponses": {"k1": 1, "k2": 2}}
    assert matcher.matches({"inputResponses": {"a": {}}}, {"inputResponses": {"k1": {}}})
    assert not matcher.matches({"inputResponses": {"a": {}}}, {"inputResponses": {"k2": {}}})


@pytest.mark.parametrize(
    ("recorded", "live", "says"),
    [
        ({"a": 1}, {"a": 2}, "$.a: was 1, is 2"),
        ({"a": 1}, {"a": True}, "$.a: was 1, is True"),
        ({"a": 1}, {}, "$.a: was 1, is not there"),
        ({}, {"a": 1}, "$.a: was not there, is 1"),
        ({"a": [1]}, {"a": [1, 2]}, "$.a: had 1 items, has 2"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "$.a[0].b: was 1, is 2"),
        ({"inputRequests": {"a": {"m": 1}}}, {"inputRequests": {"b": {"m": 2}}}, "$.inputRequests.a: is not there"),
    ],
)
def test_differences_have_a_path(recorded: Any, live: Any, says: str) -> None:
    assert says in Matcher().differences(recorded, live)


def test_what_was_redacted_is_not_compared() -> None:
    assert Matcher().matches({"secret": "[redacted]"}, {"secret": "x"})


def test_more_can_be_ignored() -> None:
    assert Matcher(frozenset({"pid"})).matches({"pid": 1}, {"pid": 2})
    assert Matcher(frozenset({"pid"})).matches({"pid": 1}, {})


def test_lists_of_task_ids() -> None:
    matcher = Matcher()
    assert matcher.matches({"taskIds": ["a", "b"]}, {"taskIds": ["x", "y"]})
    assert matcher.today({"taskIds": ["b"], "text": "a"}) == {"taskIds": ["y"], "text": "a"}


def test_names_of_different_kinds_and_sides_have_nothing_to_do_with_each_other() -> None:
    matcher = Matcher()
    assert matcher.matches({"progressToken": 1}, {"progressToken": 7})
    assert matcher.matches({"requestId": 1}, {"requestId": 9})
    for side, live in ((Side.CLIENT, "a"), (Side.SERVER, "b")):
        request = {"method": "x", "params": {"_meta": {"progressToken": 1}}}
        assert matcher.matches(request, {"method": "x", "params": {"_meta": {"progressToken": live}}}, by=side)
    progress = {"method": "notifications/progress", "params": {"progressToken": 1}}
    assert matcher.today(progress, by=Side.SERVER)["params"] == {"progressToken": "a"}
    assert matcher.today(progress, by=Side.CLIENT)["params"] == {"progressToken": "b"}


def test_a_subscription_is_named_by_the_request_of_the_client() -> None:
    matcher = Matcher()
    matcher.pair_requests(Side.CLIENT, 1, "live")
    meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": 1}}
    assert matcher.today({"method": "notifications/tasks", "params": meta}, by=Side.SERVER)["params"] == {
        "_meta": {"io.modelcontextprotocol/subscriptionId": "live"}
    }
    cancelled = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    assert matcher.today(cancelled, by=Side.SERVER)["params"] == {"requestId": "live"}


@pytest.mark.parametrize("place", ["arguments", "content", "structuredContent", "inputSchema", "com.example/own"])
@pytest.mark.parametrize("member", ["cursor", "taskId", "timestamp", "createdAt"])
def test_what_belongs_to_a_program_is_compared_and_sent_as_it_is(place: str, member: str) -> None:
    matcher = Matcher()
    assert not matcher.matches({"params": {place: [{member: "a"}]}}, {"params": {place: [{member: "b"}]}})
    assert matcher.matches({"taskId": "prod", "nextCursor": "prod"}, {"taskId": "t9", "nextCursor": "c17"})
    own = {"params": {place: {member: "prod", "inputRequests": {"prod": 1}, "stage": "prod"}}}
    assert matcher.today(own) == own
    assert not matcher.matches({"params": {place: {"stage": "prod"}}}, {"params": {place: {"stage": "c17"}}})


def test_the_data_of_an_error_names_questions() -> None:
    error = {"error": {"data": {"elicitations": [{"elicitationId": "a"}]}}}
    assert Matcher().matches(error, {"error": {"data": {"elicitations": [{"elicitationId": "b"}]}}})
    assert not Matcher().matches({"error": {"data": {"taskId": "a"}}}, {"error": {"data": {"taskId": "b"}}})


@pytest.mark.parametrize(
    ("recorded", "live", "same"),
    [
        ("use [redacted] now", "use Bearer abc now", True),
        ("use [redacted] now", "use Bearer abc later", False),
        ("a [redacted] b [redacted] c", "a 1 b 2 c", True),
        ("a [redacted] b [redacted] c", "a 1 c", False),
        ("ab[redacted]ba", "aba", False),
        ("[redacted] x", "y x", True),
        ("no [redacted]", "yes", False),
    ],
)
def test_text_that_was_redacted_in_part(recorded: str, live: str, same: bool) -> None:
    assert (
        Matcher().matches({"result": {"content": [{"text": recorded}]}}, {"result": {"content": [{"text": live}]}})
        is same
    )
