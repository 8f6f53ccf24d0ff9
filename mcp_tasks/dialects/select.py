"""Which dialect is spoken, on a connection or in a request. Pure: what was said goes in, a verdict comes out.

A server speaks both eras side by side: a request that names its revision is answered in that one, anything else belongs
to the session that a handshake began. A client finds out which era a server is of, by asking what it speaks.

Spec: basic/lifecycle "Version Negotiation" of 2025-11-25 (C25-048 to C25-055); basic/versioning of 2026-07-28 (C26-085
to C26-101), and its compatibility matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from .._unset import UNSET
from ..errors import InvalidParams, MCPError, RemoteProtocolError, RequestFailed, UnsupportedRevision
from ..wire.jsonrpc import Request
from ..wire.v2026_07_28 import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    HEADER_MISMATCH,
    LOG_LEVEL,
    MISSING_CAPABILITY,
    PROTOCOL_VERSION,
    UNSUPPORTED_VERSION,
)
from ._common import QUESTION_GATES
from .base import Dialect, Terms
from .v2025_11_25 import HANDSHAKE, V2025_11_25
from .v2026_07_28 import V2026_07_28

__all__ = [
    "DIALECTS",
    "LATEST",
    "LATEST_HANDSHAKE",
    "QUESTION_GATES",
    "TermsReader",
    "accept",
    "fallback",
    "negotiate",
    "offers",
]

LATEST: Final = V2026_07_28
LATEST_HANDSHAKE: Final = V2025_11_25

DIALECTS: Final[Mapping[str, Dialect]] = {V2026_07_28.revision: V2026_07_28, **HANDSHAKE}
"""All revisions that are spoken, newest first."""

_MOST_KNOWN = 64
_LONGEST_KNOWN = 4096  # bytes; whoever says more is read anew
_SAID: Final = (PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL)
_as_json: Final = msgspec.json.Encoder().encode
_MODERN_ONLY: Final = frozenset({"server/discover", "subscriptions/listen", "tasks/update"})
_MODERN_ERRORS: Final = frozenset({HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION})


def negotiate(wanted: str, supported: Sequence[str] = tuple(HANDSHAKE)) -> Dialect:
    """For a server: the dialect to answer ``initialize`` in, which may be a counter-offer (C25-050 to C25-052)."""
    return HANDSHAKE[wanted if wanted in supported else supported[0]]


def accept(offered: str, supported: Sequence[str] = tuple(HANDSHAKE)) -> Dialect:
    """For a client: the dialect of the server's answer.

    Raises `RemoteProtocolError` if we do not speak it; the connection has to end then (C25-054).
    """
    if offered not in supported:
        raise RemoteProtocolError(f"the server speaks revision {offered!r}, we speak {', '.join(supported)}")
    return HANDSHAKE[offered]


class TermsReader:
    """For a server: on what terms each request of a connection comes.

    Remembers what was said, since the same client says the same each time; nothing is drawn from it (C26-031).
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Terms] = {}

    @property
    def any(self) -> bool:
        """Whether any request has named its own terms."""
        return bool(self._known)

    def read(self, request: Request, session: Terms, *, opened: bool) -> Terms:
        """The terms of one request: its own, or those of the session.

        Raises `UnsupportedRevision` and `InvalidParams`.
        """
        params = request.params
        meta = None if params is UNSET else params.get("_meta")
        if type(meta) is not dict or (version := meta.get(PROTOCOL_VERSION)) is None:
            named = type(meta) is dict and (PROTOCOL_VERSION in meta or CLIENT_CAPABILITIES in meta)
            if not named and not session.dialect.stateless and (opened or request.method not in _MODERN_ONLY):
                return session
            return LATEST.lift_terms(request)  # says what is missing (C26-055)
        # Compared as JSON: to Python true equals 1, and what is refused for the one would pass for the other.
        said = _as_json({name: meta[name] for name in _SAID if name in meta})
        known = self._known.get(said)
        if known is not None:
            return known
        if type(version) is not str:
            raise InvalidParams(f"$.params._meta.{PROTOCOL_VERSION}: expected string")
        dialect = DIALECTS.get(version)
        if dialect is None or not dialect.stateless:
            raise UnsupportedRevision(version, list(DIALECTS))
        terms = dialect.lift_terms(request)
        if len(self._known) >= _MOST_KNOWN or len(said) > _LONGEST_KNOWN:
            self._known.clear()
        self._known[said] = terms
        return terms


def fallback(failure: MCPError) -> str | None:
    """For a client whose probe has failed: the revision to shake hands in, or None if the server is a modern one.

    Whatever a modern server would not say means an older one (C26-136, C26-137), and so does a modern one's list in
    which there is only that.
    """
    if not isinstance(failure, RequestFailed) or failure.code not in _MODERN_ERRORS:
        return LATEST_HANDSHAKE.revision
    data = failure.data
    supported = data.get("supported") if failure.code == UNSUPPORTED_VERSION and isinstance(data, dict) else None
    return next((one for one in HANDSHAKE if one in supported), None) if isinstance(supported, list) else None


def offers(failure: RequestFailed, revision: str) -> bool:
    """Whether a server that refuses a revision lists this one among those it speaks."""
    data = failure.data
    if failure.code != UNSUPPORTED_VERSION or not isinstance(data, dict):
        return False
    supported = data.get("supported")
    return isinstance(supported, list) and revision in supported
