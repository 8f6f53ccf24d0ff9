"""Who is asking: from an HTTP request to a principal.

An `Authenticator` looks at every request (C25-142), sessions or not: a session id is never proof of anything (C25-143).
`BearerAuth` does it with tokens that the user's own function verifies, and answers 401 and 403 as RFC 6750 wants, so
that a client can find out where to get a token (C25-361, C25-362, C25-375, C25-379).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from attrs import field, frozen

from ..._shape import Shape
from ...errors import Challenge, Forbidden, Unauthorized
from .exchange import HttpRequest

__all__ = [
    "ANONYMOUS",
    "Authenticator",
    "BearerAuth",
    "Identity",
    "challenge_headers",
    "lower_challenge",
    "parse_challenges",
]


ANONYMOUS = "(anonymous)"
"""Who owns the tasks of requestors that do not say who they are: whoever knows a task's id may have it."""


@frozen(eq=False, repr=False)
class Identity(Shape):
    """Who a request comes from: `principal` owns tasks and sessions, `scopes` are what it may do."""

    principal: str = field()
    scopes: frozenset[str] = field(default=frozenset(), converter=frozenset)

    @principal.validator
    def _names_somebody(self, attribute: Any, value: str) -> None:
        if not value or value == ANONYMOUS:
            raise ValueError(f"a principal is somebody, not {value!r}")


class Authenticator(ABC):
    """Turns a request into an identity."""

    @abstractmethod
    async def authenticate(self, request: HttpRequest) -> Identity:
        """Say who it is. Raises `Unauthorized` (answered with 401) or `Forbidden` (403)."""


class BearerAuth(Authenticator):
    """Takes ``Authorization: Bearer TOKEN``.

    `verify` returns whose token it is, or None if it is not (any more) one for this server: checking signature,
    expiry and audience is its job (C25-374, C25-377). Every request needs all of `scopes`. `resource_metadata` is the
    URL of the protected resource metadata (RFC 9728), which clients are pointed to.
    """

    def __init__(
        self,
        verify: Callable[[str], Awaitable[Identity | None]],
        *,
        scopes: Collection[str] = (),
        realm: str | None = None,
        resource_metadata: str | None = None,
    ) -> None:
        self._verify = verify
        self._scopes = tuple(scopes)
        self._params: dict[str, str] = {}
        if realm is not None:
            self._params["realm"] = realm
        if resource_metadata is not None:
            self._params["resource_metadata"] = resource_metadata
        if self._scopes:
            self._params["scope"] = " ".join(self._scopes)

    async def authenticate(self, request: HttpRequest) -> Identity:
        scheme, _, token = request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            # No error code: the client has not tried (RFC 6750 section 3.1).
            raise Unauthorized("Authorization required", [self._challenge()])
        identity = await self._verify(token)
        if identity is None:
            raise Unauthorized("The token is not valid", [self._challenge(error="invalid_token")])
        if missing := [scope for scope in self._scopes if scope not in identity.scopes]:
            raise Forbidden(
                f"The token lacks the scope {' '.join(missing)}", [self._challenge(error="insufficient_scope")]
            )
        return identity

    def _challenge(self, **more: str) -> Challenge:
        return Challenge("Bearer", {**self._params, **more})


# --- challenges on the wire (RFC 9110 section 11.6.1) -----------------------------------------------------------------

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAM = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)', re.ASCII)
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*,|$)", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*\s*(?:,|$)", re.ASCII)


def lower_challenge(challenge: Challenge) -> bytes:
    """A challenge as a ``WWW-Authenticate`` header has it."""
    params = ", ".join(f"{name}={_quoted(value)}" for name, value in challenge.params.items())
    return f"{challenge.scheme} {params}".strip().encode("latin-1", "replace")


def _quoted(value: str) -> str:
    clean = "".join(letter if letter.isprintable() else " " for letter in value)
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a ``WWW-Authenticate`` header. What cannot be read is left out; nothing is raised."""
    found: list[Challenge] = []
    position = 0
    while (scheme := _SCHEME.match(header, position)) is not None:
        params: dict[str, str] = {}
        position = scheme.end()
        while (param := _PARAM.match(header, position)) is not None:
            name, quoted, plain = param.groups()
            params[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            position = param.end()
        if not params and (token := _TOKEN68.match(header, position)) is not None and "=" in token.group():
            position = token.end()
        found.append(Challenge(scheme[1], params))
    return found


def challenge_headers(challenges: Collection[Challenge]) -> list[tuple[bytes, bytes]]:
    """The ``WWW-Authenticate`` headers for these challenges."""
    return [(b"WWW-Authenticate", lower_challenge(challenge)) for challenge in challenges]
