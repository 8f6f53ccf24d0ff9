"""The MCP endpoint: what each method, header and body is answered with, whoever carries the bytes.

The checks come in an order that gives nothing away and costs little: Host and Origin, method, who is asking, all other
headers, and only then is the body read. Sessions are found by their id *and* their principal, so that somebody else's
session looks as if it did not exist.

A request that names its revision stands for itself, beside the sessions: its headers then have to say what its body
says, and are compared in an order from what costs least to what tells most.

Spec: basic/transports "Streamable HTTP" of 2025-11-25 (C25-079 to C25-136) and of 2026-07-28 (C26-139 to C26-214).
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..._unset import UNSET, JSONObject, Principal, Unset
from ...codec.messages import MessageCodec
from ...errors import Forbidden, Unauthorized
from ...framing.mirror import Mirrored, objection
from ...limits import HttpLimits, Limits
from ...wire.jsonrpc import Malformed, Message, Request
from ...wire.v2026_07_28 import CLIENT_CAPABILITIES, HEADER_MISMATCH, PROTOCOL_VERSION, UNSUPPORTED_VERSION
from .auth import Authenticator, challenge_headers
from .carrier import Carrier
from .exchange import Exchange
from .hosts import HostRules
from .profile import PROFILES, STATELESS, names_revision, opens_session
from .session import SESSION_ID, HttpSession
from .stateless import StatelessCarrier

__all__ = ["Endpoint", "ServeSession"]

logger = logging.getLogger("mcp_tasks.http")

ServeSession = Callable[[Carrier], Awaitable[None]]
MirroredArguments = Callable[[str], Sequence[Mirrored]]

_ALLOW = (b"Allow", b"GET, POST, DELETE, OPTIONS")
_CORS_HEADERS = (
    b"Authorization, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name"
)
_MAKES_ROOM_SECONDS = 60.0  # a session that was idle for so long may be ended for a new one
_REMEMBERED = 256
_VERSIONS = frozenset(revision.encode() for revision in PROFILES)
_STATELESS = frozenset(revision.encode() for revision in STATELESS)
_INVALID_PARAMS = -32602


class Endpoint:
    """One peer under one path. `serve` is called for each session and serves it until it ends."""

    def __init__(
        self,
        serve: ServeSession,
        nursery: trio.Nursery,
        *,
        hosts: HostRules,
        auth: Authenticator | None = None,
        limits: Limits | None = None,
        http_limits: HttpLimits | None = None,
        mirrored: MirroredArguments = lambda tool: (),
    ) -> None:
        limits = Limits() if limits is None else limits
        self.limits = HttpLimits() if http_limits is None else http_limits
        self.body_bytes = limits.message_bytes
        self.auth = auth
        self.sessions: dict[bytes, HttpSession] = {}
        """The sessions that are alive, by their ids."""
        self.carriers: dict[Principal | None, StatelessCarrier] = {}
        """What carries requests that stand for themselves, by whose they are."""
        self.closing = False
        """Whether new sessions are refused, because the server is about to shut down."""
        self._serve = serve
        self._mirrored = mirrored
        self._nursery = nursery
        self._hosts = hosts
        self._codec = MessageCodec(json_depth=limits.json_depth)
        self._accepts: dict[bytes, tuple[bool, bool]] = {}

    # --- before the body ------------------------------------------------------------------------------------------

    async def admit(self, exchange: Exchange) -> Principal | None:
        """Look at the head of a request, and say whose it is; whatever is wrong with it has been answered then.

        A checkpoint only where there is an authenticator, and as far as that is one.
        """
        if not self._check(exchange):
            return None
        principal = None if self.auth is None else await self._identify(exchange)
        if not exchange.finished:
            self._check_headers(exchange, principal)
        return principal

    def _check(self, exchange: Exchange) -> bool:
        headers = exchange.headers
        origin = headers.get(b"origin")
        objection = self._hosts.objection(headers.get(b"host"), origin)
        if objection is not None:
            exchange.refuse(403, objection)
            return False
        if origin is not None:
            exchange.extra = (
                (b"Access-Control-Allow-Origin", origin),
                (b"Access-Control-Expose-Headers", SESSION_ID),
                (b"Vary", b"Origin"),
            )
        method = exchange.method
        if method in (b"POST", b"GET", b"DELETE"):
            return True
        if method == b"OPTIONS":
            exchange.respond(204, [_ALLOW, *(self._preflight() if origin is not None else ())])
        else:
            exchange.refuse(405, f"There is no {method.decode('latin-1')} here", headers=[_ALLOW])
        return False

    def _preflight(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"Access-Control-Allow-Methods", _ALLOW[1]),
            (b"Access-Control-Allow-Headers", _CORS_HEADERS),
            (b"Access-Control-Max-Age", b"600"),
        ]

    async def _identify(self, exchange: Exchange) -> Principal | None:
        assert self.auth is not None
        try:
            return Principal((await self.auth.authenticate(exchange)).principal)
        except (Unauthorized, Forbidden) as refusal:
            exchange.refuse(refusal.status, refusal.message, headers=challenge_headers(refusal.challenges))
        except Exception:
            logger.exception("%s could not be authenticated", exchange.client)
            exchange.refuse(500, "Internal error", code=-32603)
        return None

    def _check_headers(self, exchange: Exchange, principal: Principal | None) -> None:
        headers = exchange.headers
        version = headers.get(b"mcp-protocol-version")
        posted = exchange.method == b"POST"
        if version is not None and version not in _VERSIONS and not posted:
            exchange.refuse(400, _unspoken(version))
            return
        if version in _STATELESS and not posted:
            exchange.refuse(405, f"There is only POST in revision {version.decode()}", headers=[(b"Allow", b"POST")])
            return
        takes_json, takes_events = self._accepted(headers.get(b"accept", b"*/*"))
        if posted:
            kind = headers.get(b"content-type", b"")
            if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
                exchange.refuse(415, "Content-Type: expected application/json")
                return
            if not (takes_json or takes_events):
                exchange.refuse(406, "Accept: expected application/json, text/event-stream")
                return
            if _SESSION_KEY not in headers or version not in _SESSION_VERSIONS:
                return  # it may be the one that a session begins with
        elif exchange.method == b"GET" and not takes_events:
            exchange.refuse(406, "Accept: expected text/event-stream")
            return
        self._session(exchange, principal)

    # --- the request ----------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange, principal: Principal | None, body: bytes | bytearray) -> None:
        """Answer a request that has been admitted, now or later. Never waits."""
        if exchange.method == b"POST":
            self._post(exchange, principal, body)
            return
        session = self._session(exchange, principal)
        if session is None:
            return
        if exchange.method == b"GET":
            last = exchange.headers.get(b"last-event-id")
            session.listen(exchange, None if last is None else last.decode("latin-1"))
        else:
            self._end(session, "the client has ended the session")
            exchange.respond(204, ())

    def _post(self, exchange: Exchange, principal: Principal | None, body: bytes | bytearray) -> None:
        message = self._codec.decode(body)
        if isinstance(message, Malformed):
            self._malformed(exchange, principal, message)
            return
        version, named = exchange.headers.get(b"mcp-protocol-version"), names_revision(message)
        if named is not None or version not in _SESSION_VERSIONS:
            self._stand_alone(exchange, principal, message, version, named)
            return
        if _SESSION_KEY in exchange.headers:
            session = self._session(exchange, principal)
        elif opens_session(message):
            session = self._new_session(exchange, principal)
        else:
            exchange.refuse(400, "Mcp-Session-Id is missing: a session begins with initialize")
            return
        if session is not None:
            takes_json, takes_events = self._accepted(exchange.headers.get(b"accept", b"*/*"))
            session.post(message, exchange, takes_json=takes_json, takes_events=takes_events)

    def _stand_alone(
        self,
        exchange: Exchange,
        principal: Principal | None,
        message: Message,
        version: bytes | None,
        named: str | None,
    ) -> None:
        # In this order: version header against body, its support, other headers, what every request has to say.
        headers = exchange.headers
        if not isinstance(message, Request):
            if version is not None and version not in _VERSIONS:
                exchange.refuse(400, _unspoken(version))
                return
        else:
            params = message.params
            said = "" if version is None else version.decode("latin-1")
            if named is not None and said != named:
                what = f"MCP-Protocol-Version: {said!r}, but the body says {named!r}" if said else _VERSION_MISSING
                exchange.refuse(400, what, code=HEADER_MISMATCH, id=message.id)
                return
            if said not in PROFILES or (named is not None and named not in STATELESS):
                data = {"supported": list(PROFILES), "requested": said}
                exchange.refuse(400, _unspoken(said.encode()), code=UNSUPPORTED_VERSION, id=message.id, data=data)
                return
            if named is not None:
                name = params.get("name") if params is not UNSET and message.method == "tools/call" else None
                mirrored = self._mirrored(name) if isinstance(name, str) else ()
                wrong = objection(message.method, params, headers, mirrored)
                if wrong is not None:
                    exchange.refuse(400, wrong, code=HEADER_MISMATCH, id=message.id)
                    return
            wrong = _lacks(params)
            if wrong is not None:
                exchange.refuse(400, wrong, code=_INVALID_PARAMS, id=message.id)
                return
        carrier = self._carrier(exchange, principal)
        if carrier is not None:
            takes_json, takes_events = self._accepted(headers.get(b"accept", b"*/*"))
            carrier.post(message, exchange, takes_json=takes_json, takes_events=takes_events)

    def _carrier(self, exchange: Exchange, principal: Principal | None) -> StatelessCarrier | None:
        carrier = self.carriers.get(principal)
        if carrier is None:
            if self.closing or (len(self.carriers) >= self.limits.sessions and not self._retire_one()):
                why = "the server is shutting down" if self.closing else "there are too many requestors"
                exchange.refuse(503, f"Not now: {why}", headers=[(b"Retry-After", b"10")])
                return None
            carrier = StatelessCarrier(principal, codec=self._codec, limits=self.limits)
            self.carriers[principal] = carrier
            self._nursery.start_soon(self._run, carrier)
        return carrier

    def _retire_one(self) -> bool:
        idle = min((one for one in self.carriers.values() if one.idle), key=lambda one: one.seen_at, default=None)
        if idle is not None:
            self._end(idle, "there are too many requestors")
        return idle is not None

    def _malformed(self, exchange: Exchange, principal: Principal | None, message: Malformed) -> None:
        session = self.sessions.get(exchange.headers.get(_SESSION_KEY, b""))
        if message.id is not None and not message.answerable and session is not None and session.principal == principal:
            session.deliver(message)  # if it was to be an answer, whoever waits for it learns that it is none
        exchange.refuse(400, message.error.message, code=message.error.code, id=message.id)

    def _accepted(self, accept: bytes) -> tuple[bool, bool]:
        found = self._accepts.get(accept)
        if found is None:
            kinds = {kind.partition(b";")[0].strip().lower() for kind in accept.split(b",")}
            found = (
                not kinds.isdisjoint((b"application/json", b"application/*", b"*/*")),
                not kinds.isdisjoint((b"text/event-stream", b"text/*", b"*/*")),
            )
            if len(self._accepts) >= _REMEMBERED:
                self._accepts.clear()
            self._accepts[accept] = found
        return found

    # --- sessions -------------------------------------------------------------------------------------------------

    def _session(self, exchange: Exchange, principal: Principal | None) -> HttpSession | None:
        id = exchange.headers.get(_SESSION_KEY)
        if id is None:
            exchange.refuse(400, "Mcp-Session-Id is missing: a session begins with initialize")
            return None
        session = self.sessions.get(id)
        if session is None or session.principal != principal:
            exchange.refuse(404, "There is no such session (any more)", code=-32001)
            return None
        return session

    def _new_session(self, exchange: Exchange, principal: Principal | None) -> HttpSession | None:
        if self.closing or not self._room(principal):
            why = "the server is shutting down" if self.closing else "there are too many"
            exchange.refuse(503, f"No new session: {why}", headers=[(b"Retry-After", b"10")])
            return None
        id = secrets.token_hex(16).encode()
        session = HttpSession(id, principal, codec=self._codec, limits=self.limits, salt=secrets.token_hex(3))
        self.sessions[id] = session
        exchange.extra = (*exchange.extra, (SESSION_ID, id))
        self._nursery.start_soon(self._run, session)
        return session

    def _room(self, principal: Principal | None) -> bool:
        # Whether there may be another session; one that has been idle for long makes room for it, of the same
        # principal if that has too many, else of whoever has most.
        limits = self.limits
        if len(self.sessions) < min(limits.sessions, limits.principal_sessions):
            return True
        counts = Counter(session.principal for session in self.sessions.values())
        if principal is not None and counts[principal] >= limits.principal_sessions:
            return self._make_room(principal)
        return len(self.sessions) < limits.sessions or any(self._make_room(one) for one, _ in counts.most_common())

    def _make_room(self, principal: Principal | None) -> bool:
        long_ago = trio.current_time() - _MAKES_ROOM_SECONDS
        idle = [one for one in self.sessions.values() if one.principal == principal and one.idle]
        oldest = min(idle, key=lambda session: session.seen_at, default=None)
        if oldest is None or oldest.seen_at > long_ago:
            return False
        self._end(oldest, "too many sessions: it had been idle for the longest time")
        return True

    async def _run(self, session: Carrier) -> None:
        try:
            await self._serve(session)
        except Exception:
            logger.exception("%r failed", session)
        finally:
            self._forget(session)
            with trio.CancelScope(shield=True):
                await session.aclose()

    def _forget(self, session: Carrier) -> None:
        if isinstance(session, HttpSession):
            self.sessions.pop(session.id, None)
        elif self.carriers.get(session.principal) is session:
            del self.carriers[session.principal]

    def _end(self, session: Carrier, why: str) -> None:
        self._forget(session)  # at once: whoever still names it gets a 404 (C25-129)
        session.end(why)

    def _all(self) -> list[Carrier]:
        return [*self.sessions.values(), *self.carriers.values()]

    async def settle(self) -> None:
        """Wait until every request has its answer; those that stay open until somebody ends them get theirs now."""
        for session in self._all():
            if session.closing is not None:
                session.closing()
        for session in self._all():
            await session.settle()

    def end_sessions(self, why: str) -> None:
        """End them all."""
        for session in self._all():
            self._end(session, why)

    def tick(self, now: float) -> None:
        """Look after what depends on time: quiet streams, and sessions that nobody uses."""
        over = now - self.limits.session_idle_seconds
        for session in self._all():
            if session.idle and session.seen_at <= over:
                self._end(session, "the session was idle for too long")
            else:
                session.tick(now)


_SESSION_KEY = SESSION_ID.lower()
_SESSION_VERSIONS = frozenset({None, *(_VERSIONS - _STATELESS)})
_VERSION_MISSING = "MCP-Protocol-Version: required, since the body names a revision"


def _unspoken(version: bytes) -> str:
    return f"MCP-Protocol-Version: {version.decode('latin-1')!r} is not spoken here, only {', '.join(PROFILES)}"


def _lacks(params: JSONObject | Unset) -> str | None:
    # What every request has to say of whoever sends it (C26-055, C26-056); what it says is for others to read.
    meta = None if params is UNSET else params.get("_meta")
    if not isinstance(meta, dict):
        return "$.params._meta: " + ("required" if meta is None else "expected object")
    missing = [key for key in (PROTOCOL_VERSION, CLIENT_CAPABILITIES) if key not in meta]
    if missing:
        return f"$.params._meta.{missing[0]}: required"
    return None if isinstance(meta[PROTOCOL_VERSION], str) else f"$.params._meta.{PROTOCOL_VERSION}: expected string"
