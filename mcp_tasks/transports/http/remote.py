"""The server's endpoint as a client addresses it: where it is, who we are, and in which session.

One way for every request, so that none forgets the session, the revision or the token (C25-126, C25-133, C25-372), and
that redirects are followed alike: within the origin, and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urljoin

from ...codec.messages import MessageCodec
from ...errors import (
    ConnectionClosed,
    Forbidden,
    HttpError,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    Unauthorized,
)
from ...wire.jsonrpc import ErrorObject, ErrorResponse
from .auth import parse_challenges
from .pool import Answer, HttpPool, Url

__all__ = ["ERROR_BYTES", "Auth", "RemoteEndpoint"]

Auth = Callable[[], Awaitable[str]]
"""Returns the bearer token to send; asked before each HTTP request."""

ERROR_BYTES = 64 * 1024
"""What is read of an answer that nobody wants."""

_SAID_BYTES = 500  # of what a server says about a failure
_MAX_REDIRECTS = 3
_CODEC = MessageCodec()


def _nothing() -> None:
    pass


class RemoteEndpoint:
    """Where a client's requests go. Raises `LocalProtocolError` for headers that cannot be sent."""

    def __init__(self, url: Url, pool: HttpPool, headers: Mapping[str, str], auth: str | Auth | None) -> None:
        self.session_id: str | None = None
        """What the server names the session by; None if it does not."""
        self.revision: str | None = None
        """What is repeated in each request; None before the handshake, and where that is not done."""
        self._url = url
        self._target = url.target
        self._pool = pool
        self._headers = list(headers.items())
        self._auth = auth
        known = [("Authorization", f"Bearer {auth}")] if isinstance(auth, str) else []
        pool.check([*self._headers, *known])

    def __str__(self) -> str:
        return str(self._url)

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        *fields: tuple[str, str],
        body: bytes = b"",
        opens: bool = False,
        sent: Callable[[], None] = _nothing,
    ) -> AsyncIterator[Answer]:
        """Send a request; the block has the answer. `opens`: it is the first of a session.

        Raises as `HttpPool.request` does; `HttpError` for a redirect that is not followed.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            head = await self._head(fields, opens)
            async with self._pool.request(method, self._target, head, body, sent=sent) as answer:
                if answer.status not in (307, 308):
                    yield answer
                    return
                target = self._redirected(answer)
            self._target = target
        raise HttpError(answer.status, "redirected again and again")

    async def aclose(self) -> None:
        """Close the connections that are idle."""
        await self._pool.aclose()

    async def _head(self, fields: tuple[tuple[str, str], ...], opens: bool) -> list[tuple[str, str]]:
        head = [*self._headers, *fields]
        if not opens:
            if self.session_id is not None:
                head.append(("Mcp-Session-Id", self.session_id))
            if self.revision is not None:
                head.append(("MCP-Protocol-Version", self.revision))
        token = await self.token()
        if token is not None:
            head.append(("Authorization", f"Bearer {token}"))
        return head

    async def token(self) -> str | None:
        """The bearer token that the next request has; not a checkpoint if there is only one."""
        auth = self._auth
        if auth is None or isinstance(auth, str):
            return auth
        try:
            return await auth()
        except MCPError:
            raise
        except Exception as error:
            raise LocalProtocolError(f"there is no token to send: {error!r}") from error

    def _redirected(self, answer: Answer) -> str:
        # Never to another origin: the body, and our token with it, is for this one.
        asked = f"{self._url.scheme}://{self._url.authority}{self._target}"
        try:
            location = Url(urljoin(asked, answer.headers.get("location", "")))
        except (ValueError, LocalProtocolError):
            raise HttpError(answer.status, "redirected to what is no http URL") from None
        if location.origin != self._url.origin:
            raise HttpError(answer.status, f"redirected to another origin, {location.authority}, and not followed")
        return location.target

    async def failure(self, answer: Answer) -> tuple[MCPError, ErrorObject | None]:
        """What an HTTP error means to whoever asked, and the JSON-RPC error that it came with."""
        try:
            body = await answer.read(ERROR_BYTES)
        except (ConnectionClosed, RemoteProtocolError):
            body = b""
        said = body[:_SAID_BYTES].decode("utf-8", "replace").strip()
        error: ErrorObject | None = None
        if answer.kind == "application/json":
            message = _CODEC.decode(body)
            if isinstance(message, ErrorResponse):
                error = message.error
                said = error.message
        if answer.status in (401, 403):
            challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
            return (Unauthorized if answer.status == 401 else Forbidden)(said or "refused", challenges), error
        return HttpError(answer.status, said or "no reason given"), error
