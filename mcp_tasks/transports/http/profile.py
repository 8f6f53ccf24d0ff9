"""What each revision wants of HTTP: the facts that differ, as data.

The endpoint and the client look things up here and never compare revisions. `tests/unit/transports/http` holds that
every revision of the handshake has its row.

Spec: basic/transports "Streamable HTTP" of 2025-03-26, 2025-06-18 and 2025-11-25.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ..._shape import Shape
from ...wire.jsonrpc import ErrorResponse, Message, Notification, Request, Response
from ...wire.v2026_07_28 import PROTOCOL_VERSION

__all__ = ["ASSUMED", "PROFILES", "STATELESS", "HttpProfile", "names_revision", "opens_session", "says_ready"]


@frozen(kw_only=True, eq=False, repr=False)
class HttpProfile(Shape):
    """HTTP in one revision."""

    revision: str
    sends_version: bool
    """Whether the client repeats the revision in ``MCP-Protocol-Version`` (C25-133)."""
    stateless: bool = False
    """Whether each request stands for itself: no session, nothing to come back to, and leaving is cancelling."""
    primes: bool = False
    """Whether a stream begins with an empty event that has an id, so that the client can come back (C25-093).

    Clients of older revisions take it for a message.
    """


PROFILES: Final = {
    profile.revision: profile
    for profile in (
        HttpProfile(revision="2026-07-28", sends_version=True, stateless=True),
        HttpProfile(revision="2025-11-25", sends_version=True, primes=True),
        HttpProfile(revision="2025-06-18", sends_version=True, primes=False),
        HttpProfile(revision="2025-03-26", sends_version=False, primes=False),
        HttpProfile(revision="2024-11-05", sends_version=False, primes=False),
    )
}

STATELESS: Final = frozenset(profile.revision for profile in PROFILES.values() if profile.stateless)
"""The revisions without sessions."""

ASSUMED: Final = PROFILES["2025-03-26"]
"""What is spoken until the handshake, and by whoever says nothing (C25-135)."""


def opens_session(message: Message) -> bool:
    """Whether a message is the one that a session begins with."""
    return isinstance(message, Request) and message.method == "initialize"


def names_revision(message: Message) -> str | None:
    """The revision that a message itself names; None if it belongs to a session, or to nothing."""
    params = None if isinstance(message, (Response, ErrorResponse)) else message.params
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(PROTOCOL_VERSION) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def says_ready(message: Message) -> bool:
    """Whether a message is the one that ends the handshake."""
    return isinstance(message, Notification) and message.method == "notifications/initialized"
