"""Which names we answer to, and which web pages may talk to us: the defence against DNS rebinding.

A page in a browser can make requests to any address, ours included, once its own name resolves to it. Two headers give
it away: ``Host`` then has that name, and ``Origin`` the page's. So we answer to names that we know, and to bare IP
addresses, which nobody can make resolve to something else; and we serve pages of origins that were named, and of this
machine if we serve this machine only.

Spec: basic/transports "Security Warning" (C25-080 to C25-083).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from ...errors import LocalProtocolError

__all__ = ["HostRules", "is_loopback"]

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_REMEMBERED = 256


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class HostRules:
    """What a server that listens on `bound` answers to.

    `hosts` are names, with or without a port, or ``*`` for all; `origins` are like ``https://example.org``, or ``*``.
    """

    def __init__(
        self, bound: str | None, *, hosts: Collection[str] | None = None, origins: Collection[str] | None = None
    ) -> None:
        self._local = bound is None or is_loopback(bound)
        if isinstance(hosts, str) or isinstance(origins, str):
            raise LocalProtocolError("allowed_hosts and allowed_origins are lists of names, not one name")
        self._hosts = {host.lower() for host in hosts or ()}
        self._origins = {origin.lower().rstrip("/") for origin in origins or ()}
        if bound is not None:
            self._hosts.add(bound.lower())
        self._seen: dict[tuple[bytes | None, bytes | None], str | None] = {}

    def objection(self, host: bytes | None, origin: bytes | None) -> str | None:
        """Why a request with these headers is not served; None if it may be."""
        key = host, origin
        if key in self._seen:
            return self._seen[key]
        found = self._object(host, origin)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = found
        return found

    def _object(self, host: bytes | None, origin: bytes | None) -> str | None:
        name = (host or b"").decode("latin-1").lower()
        if "*" not in self._hosts and not self._knows_host(name):
            return f"This server does not go by the name {name!r} (it can be told to: allowed_hosts)"
        if origin is not None and not self._knows_origin(origin.decode("latin-1").lower(), name):
            return f"Pages of {origin.decode('latin-1')!r} may not use this server (they can be let: allowed_origins)"
        return None

    def _knows_host(self, host: str) -> bool:
        if host in self._hosts:
            return True
        name = _name_of(host)
        if name is None:
            return False
        if name in self._hosts or f"[{name}]" in self._hosts:
            return True
        if name in ("localhost", "localhost."):
            return True  # which browsers resolve themselves
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._local

    def _knows_origin(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        name = _name_of(authority)
        if name is None or scheme not in ("http", "https"):
            return False
        # A page that came from this very server, or from this machine to a server that is for this machine only. A
        # name that is let pass with all others proves nothing: it is just what a rebound page has.
        return (authority == host and self._knows_host(host)) or (self._local and is_loopback(name))


def _name_of(authority: str) -> str | None:
    # The host of HOST or HOST:PORT; None if it is neither.
    match = _AUTHORITY.fullmatch(authority)
    return None if match is None or int(match[2] or 0) > 65535 else match[1].strip("[]")
