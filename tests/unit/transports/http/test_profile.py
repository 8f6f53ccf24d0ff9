"""Each revision has its row of HTTP."""

from __future__ import annotations

import pytest

from mcp_tasks.dialects.select import DIALECTS
from mcp_tasks.transports.http.profile import ASSUMED, PROFILES, STATELESS, names_revision, opens_session
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Message, Notification, Request, Response
from mcp_tasks.wire.v2026_07_28 import PROTOCOL_VERSION


def test_every_revision_has_its_profile() -> None:
    assert list(PROFILES) == list(DIALECTS)
    assert all(profile.revision == revision for revision, profile in PROFILES.items())


@pytest.mark.requirement("C25-135")
def test_what_is_assumed() -> None:
    assert ASSUMED.revision == "2025-03-26"


@pytest.mark.requirement("C25-093")
def test_only_the_newest_begins_streams_with_an_empty_event() -> None:
    """Clients of older revisions would take it for a message."""
    assert [revision for revision, profile in PROFILES.items() if profile.primes] == ["2025-11-25"]


@pytest.mark.requirement("C25-133")
def test_who_repeats_the_revision() -> None:
    """The header came with 2025-06-18."""
    senders = {revision for revision, profile in PROFILES.items() if profile.sends_version}
    assert senders == {"2025-06-18", "2025-11-25", "2026-07-28"}


def test_who_has_no_sessions() -> None:
    assert {revision for revision, profile in PROFILES.items() if profile.stateless} == STATELESS
    assert {revision for revision, dialect in DIALECTS.items() if dialect.stateless} == STATELESS


@pytest.mark.parametrize(
    ("message", "revision"),
    [
        (Request(1, "x", {"_meta": {PROTOCOL_VERSION: "2026-07-28"}}), "2026-07-28"),
        (Notification("x", {"_meta": {PROTOCOL_VERSION: "1"}}), "1"),
        (Request(1, "x", {"_meta": {PROTOCOL_VERSION: 1}}), None),
        (Request(1, "x", {"_meta": []}), None),
        (Request(1, "x"), None),
        (Response(1, {"_meta": {PROTOCOL_VERSION: "2026-07-28"}}), None),
    ],
)
def test_messages_that_name_their_revision(message: Message, revision: str | None) -> None:
    assert names_revision(message) == revision


def test_what_a_session_begins_with() -> None:
    assert opens_session(Request(1, "initialize"))
    for message in (
        Request(1, "ping"),
        Notification("initialize"),
        Notification("notifications/initialized"),
        Response(1, {}),
        ErrorResponse(1, ErrorObject(-1, "initialize")),
    ):
        assert not opens_session(message)
