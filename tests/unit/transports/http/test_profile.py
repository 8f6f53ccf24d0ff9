"""Each revision of the handshake has its row of HTTP."""

from __future__ import annotations

import pytest

from mcp_tasks.dialects.v2025_11_25 import HANDSHAKE
from mcp_tasks.transports.http.profile import ASSUMED, PROFILES, opens_session
from mcp_tasks.wire.jsonrpc import ErrorObject, ErrorResponse, Notification, Request, Response


def test_every_revision_has_its_profile() -> None:
    assert PROFILES.keys() == HANDSHAKE.keys()
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
    assert {revision for revision, profile in PROFILES.items() if profile.sends_version} == {"2025-06-18", "2025-11-25"}


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
