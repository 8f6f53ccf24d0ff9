"""Which dialect is spoken on a connection. Pure: what was said goes in, a verdict comes out.

Spec: basic/lifecycle "Version Negotiation" (C25-048 to C25-055).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RemoteProtocolError
from .base import Dialect
from .v2025_11_25 import HANDSHAKE, V2025_11_25

__all__ = ["LATEST_HANDSHAKE", "accept", "negotiate"]

LATEST_HANDSHAKE = V2025_11_25


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
