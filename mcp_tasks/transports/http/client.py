"""The client's end of a session over HTTP, as a transport: every message is a POST of its own.

A request's POST is answered by JSON or by a stream of events; whichever it is, messages are handed on as they come.
Requests go out side by side. Notifications and answers of ours go one after the other, each accepted before anything
later is sent, so that nothing overtakes them. A stream that is cut is come back to, from the last event that arrived.
If the server has forgotten the session, a new one is begun beneath the connection, and what was refused is sent again:
a 404 says that it was not served.

Spec: basic/transports "Streamable HTTP" (C25-085 to C25-097, C25-106 to C25-134).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urljoin

import trio
from attrs import define

from ..._unset import RequestId
from ...abc import Inbound, Transport, Unanswered
from ...codec.messages import PARSE_ERROR, MessageCodec
from ...errors import (
    ConnectionClosed,
    Forbidden,
    HttpError,
    MCPError,
    RemoteProtocolError,
    Unauthorized,
)
from ...framing.lines import Oversized
from ...framing.sse import Event, EventDecoder
from ...limits import HttpClientLimits, Limits
from ...wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response
from .auth import parse_challenges
from .pool import Answer, HttpPool, Url
from .profile import ASSUMED, PROFILES, HttpProfile, opens_session

__all__ = ["Auth", "HttpClientTransport"]

logger = logging.getLogger("mcp_tasks.http")

Auth = Callable[[], Awaitable[str]]
"""Returns the bearer token to send; asked before each HTTP request."""

_ACCEPT = ("Accept", "application/json, text/event-stream")
_JSON = ("Content-Type", "application/json")
_EVENTS = "text/event-stream"
INTERNAL_ERROR = -32603
_MAX_REDIRECTS = 3
_MAX_PAUSE_SECONDS = 60.0
_SAID_BYTES = 500  # of what a server says about a failure
_ERROR_BYTES = 64 * 1024


@define(eq=False)
class _Posted:
    """A request of ours on its way."""

    message: Request
    scope: trio.CancelScope
    answered: bool = False


class HttpClientTransport(Transport):
    """A client's session with the endpoint at `url`."""

    def __init__(
        self,
        url: Url,
        pool: HttpPool,
        nursery: trio.Nursery,
        *,
        headers: Mapping[str, str] | None = None,
        auth: str | Auth | None = None,
        limits: Limits | None = None,
        http_limits: HttpClientLimits | None = None,
    ) -> None:
        limits = Limits() if limits is None else limits
        self.session_id: str | None = None
        """What the server names the session by; None if it does not."""
        self.profile: HttpProfile = ASSUMED
        self._url = url
        self._pool = pool
        self._nursery = nursery
        self._headers = list((headers or {}).items())
        self._auth = auth
        self._limits = HttpClientLimits() if http_limits is None else http_limits
        self._message_bytes = limits.message_bytes
        self._codec = MessageCodec(json_depth=limits.json_depth)
        self._take: Callable[[Inbound], None] | None = None
        self._early: deque[Inbound] = deque()
        self._posted: dict[RequestId, _Posted] = {}
        self._queue: deque[tuple[Message, bytes]] = deque()
        self._pumping = False
        self._unsent = 0
        self._room = trio.CapacityLimiter(self._limits.requests)
        self._opened = False
        self._opening: Request | None = None
        self._ready: Notification | None = None
        self._renewing = trio.Lock()
        self._listening: trio.CancelScope | None = None
        self._heard = trio.Event()
        self._pump_scope = trio.CancelScope()
        self._progress = trio.lowlevel.ParkingLot()
        self._ended = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<HttpClientTransport {self._url}>"

    # --- Transport ------------------------------------------------------------------------------------------------

    def push_to(self, take: Callable[[Inbound], None]) -> bool:
        self._take = take
        while self._early:
            take(self._early.popleft())
        return True

    async def receive(self) -> Sequence[Inbound]:
        while not self._early:
            if self._ended:
                raise ConnectionClosed("the session has ended")
            await self._progress.park()
        await trio.lowlevel.checkpoint()
        found = list(self._early)
        self._early.clear()
        return found

    def speaks(self, revision: str) -> None:
        self.profile = PROFILES[revision]
        self._opened = True

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        body = self._codec.encode(message)
        if self._closed:
            raise ConnectionClosed("the session has ended")
        self._unsent += len(body)
        if isinstance(message, Request):
            if opens_session(message):
                self._opening = message
            self._posted[message.id] = _Posted(message, trio.CancelScope())
        elif self._opened and self._ready is None and isinstance(message, Notification):
            self._ready = message  # the one that says that we have seen the answer to the handshake
        if self._pumping or not isinstance(message, Request):
            self._queue.append((message, body))
            if not self._pumping:
                self._pumping = True
                self._nursery.start_soon(self._pump)
        else:
            self._nursery.start_soon(self._request, message, body)

    async def flush(self) -> None:
        if self._unsent and not self._closed:
            await self._progress.park()
        else:
            await trio.lowlevel.checkpoint()

    def try_flush(self) -> bool:
        return True  # whoever posts is at it already

    @property
    def backlog(self) -> int:
        return self._unsent

    def abandon(self, id: RequestId) -> bool:
        posted = self._posted.pop(id, None)
        if posted is None:
            return False
        posted.answered = True
        for entry in self._queue:
            if entry[0] is posted.message:
                self._queue.remove(entry)
                self._sent(len(entry[1]))
                return True
        posted.scope.cancel()
        return False

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._ended = True
        self._progress.unpark_all()
        for posted in self._posted.values():
            posted.scope.cancel()
        self._pump_scope.cancel()
        if self._listening is not None:
            self._listening.cancel()
        with trio.move_on_after(self._limits.close_seconds, shield=True):
            if self.session_id is not None:
                try:
                    async with self._pool.request("DELETE", self._url.target, await self._head()) as answer:
                        await answer.read(_ERROR_BYTES)
                except MCPError as error:
                    logger.debug("%r: the session was not ended: %s", self, error)
            await self._pool.aclose()

    # --- sending --------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        # In order: a request begins when everything before it has been accepted, and nothing waits for its answer.
        with trio.CancelScope() as self._pump_scope:
            while self._queue:
                message, body = self._queue.popleft()
                if isinstance(message, Request):
                    self._nursery.start_soon(self._request, message, body)
                    continue
                try:
                    with trio.fail_after(self._limits.notify_seconds):
                        await self._tell_surely(message, body)
                except (MCPError, trio.TooSlowError) as error:
                    logger.warning("%r: the server did not take a message: %s", self, error)
                    if isinstance(message, Response) and isinstance(error, HttpError):
                        # Whoever asked over there waits: a refused answer is a failed one.
                        refused = ErrorResponse(message.id, ErrorObject(INTERNAL_ERROR, f"Answer refused: {error}"))
                        self.send(refused)
                finally:
                    self._sent(len(body))
                if message is self._ready and self._listening is None:
                    await self._listen()
            self._pumping = False

    def _sent(self, size: int) -> None:
        self._unsent -= size
        self._progress.unpark_all()

    async def _tell_surely(self, message: Message, body: bytes) -> None:
        # What somebody waits for is sent again if the connection breaks: a second time it does no harm. Anything else
        # may have been heard, and is not said twice.
        attempts = 0
        while True:
            try:
                await self._tell(message, body)
                return
            except ConnectionClosed:
                awaited = isinstance(message, (Response, ErrorResponse)) or message is self._ready
                if not awaited or attempts == self._limits.resume_attempts:
                    raise
            await trio.sleep(_pause(None, self._limits, attempts))
            attempts += 1

    async def _tell(self, message: Message, body: bytes) -> None:
        # A notification, or an answer of ours.
        session_id = self.session_id
        async with self._pool.request("POST", self._url.target, await self._head(_ACCEPT, _JSON), body) as answer:
            if answer.status // 100 == 2:
                await answer.read(_ERROR_BYTES)
                return
            failure = await self._failure(answer)
        if answer.status == 404 and session_id is not None and message is not self._ready:
            await self._renew(session_id)
            if isinstance(message, (Response, ErrorResponse)):
                return  # whoever asked is gone with the session
            async with self._pool.request("POST", self._url.target, await self._head(_ACCEPT, _JSON), body) as answer:
                if answer.status // 100 == 2:
                    return
                failure = await self._failure(answer)
        raise failure

    async def _request(self, message: Request, body: bytes) -> None:
        posted = self._posted.get(message.id)
        if posted is None:
            self._sent(len(body))
            return
        failure: MCPError | None = None
        unsent = len(body)

        def sent() -> None:
            nonlocal unsent
            self._sent(unsent)
            unsent = 0

        try:
            with posted.scope:
                async with self._room:
                    await self._ask(posted, body, sent)
        except MCPError as error:
            failure = error
        finally:
            sent()
            if self._posted.get(message.id) is posted:
                del self._posted[message.id]
        if not posted.answered:
            if failure is None:
                failure = RemoteProtocolError(f"{message.method}: the server gave no answer")
            self._hand_on(Unanswered(message.id, failure))

    async def _ask(self, posted: _Posted, body: bytes, sent: Callable[[], None]) -> None:
        target = self._url.target
        opens = posted.message is self._opening
        renewed = False
        redirects = 0
        while True:
            session_id = None if opens else self.session_id
            head = await self._head(_ACCEPT, _JSON, opens=opens)
            async with self._pool.request("POST", target, head, body, sent=sent) as answer:
                if answer.status == 200:
                    if opens:
                        self.session_id = _session_id(answer)
                    if answer.kind == _EVENTS:
                        await self._follow(posted, answer)
                    elif answer.kind == "application/json":
                        self._hand_on(self._codec.decode(await answer.read(self._message_bytes)), posted)
                    else:
                        raise RemoteProtocolError(f"the answer is of type {answer.kind!r}, not JSON or events")
                    return
                if answer.status in (307, 308) and redirects < _MAX_REDIRECTS:
                    target = self._redirected(answer)
                    redirects += 1
                    continue
                if answer.status == 404 and session_id is not None and not renewed:
                    await answer.read(_ERROR_BYTES)
                else:
                    raise await self._failure(answer, posted)
            await self._renew(session_id)
            renewed = True

    def _redirected(self, answer: Answer) -> str:
        # Never to another origin: the body, and our token with it, is for this one.
        location = Url(urljoin(str(self._url), answer.headers.get("location", "")))
        if location.origin != self._url.origin:
            raise HttpError(answer.status, f"redirected to another origin, {location.authority}, and not followed")
        return location.target

    async def _head(self, *fields: tuple[str, str], opens: bool = False) -> list[tuple[str, str]]:
        head = [*self._headers, *fields]
        if self.session_id is not None and not opens:
            head.append(("Mcp-Session-Id", self.session_id))
        if self._opened and self.profile.sends_version and not opens:
            head.append(("MCP-Protocol-Version", self.profile.revision))
        if self._auth is not None:
            token = self._auth if isinstance(self._auth, str) else await self._auth()
            head.append(("Authorization", f"Bearer {token}"))
        return head

    async def _failure(self, answer: Answer, posted: _Posted | None = None) -> MCPError:
        # What an HTTP error means to whoever waits; a JSON-RPC error in its body is the answer to their request.
        try:
            body = await answer.read(_ERROR_BYTES)
        except (ConnectionClosed, RemoteProtocolError):
            body = b""
        said = body[:_SAID_BYTES].decode("utf-8", "replace").strip()
        if answer.kind == "application/json":
            message = self._codec.decode(body)
            if isinstance(message, ErrorResponse):
                said = message.error.message
                if posted is not None and answer.status not in (401, 403, 404):
                    self._hand_on(ErrorResponse(posted.message.id, message.error), posted)
        if answer.status in (401, 403):
            challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
            return (Unauthorized if answer.status == 401 else Forbidden)(said or "refused", challenges)
        return HttpError(answer.status, said or "no reason given")

    # --- the session ----------------------------------------------------------------------------------------------

    async def _renew(self, dead_id: str | None) -> None:
        # The server has forgotten the session: begin another one with the handshake of the first (C25-130).
        async with self._renewing:
            if self.session_id != dead_id or self._opening is None or self._ready is None:
                return
            logger.info("%r: the server has forgotten the session; beginning another one", self)
            try:
                self.session_id = await self._reopened(self._opening)
                await self._tell(self._ready, self._codec.encode(self._ready))
            except BaseException:
                self.session_id = dead_id  # so that whoever comes next tries again
                raise
            await self._listen()
        if self.renewed is not None and not self._closed:
            self.renewed()

    async def _reopened(self, opening: Request) -> str | None:
        # The id of a new session, begun with the same handshake.
        found: list[Inbound] = []
        head = await self._head(_ACCEPT, _JSON, opens=True)
        async with self._pool.request("POST", self._url.target, head, self._codec.encode(opening)) as answer:
            if answer.status != 200:
                raise await self._failure(answer)
            id = _session_id(answer)
            if answer.kind == _EVENTS:
                decoder = EventDecoder(self._message_bytes)
                while not found and (data := await answer.chunk()):
                    found += [self._lifted(event) for event in decoder.feed(data) if _has_message(event)]
            else:
                found.append(self._codec.decode(await answer.read(self._message_bytes)))
        result = next((one.result for one in found if isinstance(one, Response)), None)
        if result is None or result.get("protocolVersion") != self.profile.revision:
            raise RemoteProtocolError("the server has forgotten the session, and does not take the same handshake")
        return id

    async def _listen(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
        self._listening = trio.CancelScope()
        self._heard = trio.Event()
        self._nursery.start_soon(self._hear, self._listening)
        # What some servers have to say before anybody listens is lost, so nothing that may come of it is asked before.
        with trio.move_on_after(self._limits.listen_seconds):
            await self._heard.wait()

    async def _hear(self, scope: trio.CancelScope) -> None:
        # The stream that is nobody's answer, for as long as the server offers one.
        with scope:
            decoder = EventDecoder(self._message_bytes)
            try:
                await self._come_back(decoder, None, first=True)
            except HttpError as error:
                level = logging.WARNING if error.status in (401, 403) or error.status >= 500 else logging.DEBUG
                logger.log(level, "%r: the server offers no stream of its own: %s", self, error)
            except (MCPError, OSError) as error:
                logger.warning("%r: its stream is lost: %s", self, error)
            finally:
                self._heard.set()

    # --- receiving ------------------------------------------------------------------------------------------------

    async def _follow(self, posted: _Posted, answer: Answer) -> None:
        # The stream that a POST was answered with, and whatever it takes to see its end.
        decoder = EventDecoder(self._message_bytes)
        cut: MCPError | None = None
        try:
            await self._read_events(answer, decoder, posted)
        except ConnectionClosed as closed:
            cut = closed
        if posted.answered:
            return
        if decoder.last_id is None:
            raise ConnectionClosed(f"{posted.message.method}: the stream ended before the answer") from cut
        await self._come_back(decoder, posted)

    async def _come_back(self, decoder: EventDecoder, posted: _Posted | None, *, first: bool = False) -> None:
        # GET, and GET again, until the answer is there, or for ever if it is nobody's.
        attempts = 0
        pause = 0.0 if first else _pause(decoder, self._limits, 0)
        failure: MCPError = ConnectionClosed("the stream was cut")
        while posted is None or attempts < self._limits.resume_attempts:
            await trio.sleep(pause)
            fields = [("Accept", _EVENTS)]
            if decoder.last_id:
                fields.append(("Last-Event-ID", decoder.last_id))
            decoder = decoder.resumed()
            attempts += 1
            try:
                async with self._pool.request("GET", self._url.target, await self._head(*fields)) as answer:
                    if posted is None:
                        self._heard.set()
                    if answer.status != 200:
                        refusal = await self._failure(answer)
                        if posted is None and decoder.last_id is not None and answer.status == 400:
                            decoder = EventDecoder(self._message_bytes)  # too late for that stream; there are others
                        elif answer.status // 100 != 5:
                            raise refusal
                        failure = refusal
                    elif answer.kind != _EVENTS:
                        raise RemoteProtocolError(f"the stream is of type {answer.kind!r}")
                    else:
                        attempts = 0
                        await self._read_events(answer, decoder, posted)
                        failure = ConnectionClosed("the stream was cut")
            except ConnectionClosed as closed:
                failure = closed
            if posted is not None and posted.answered:
                return
            pause = _pause(decoder, self._limits, attempts)
        assert posted is not None
        raise ConnectionClosed(f"{posted.message.method}: the stream was cut and cannot be resumed: {failure}")

    async def _read_events(self, answer: Answer, decoder: EventDecoder, posted: _Posted | None) -> None:
        while data := await answer.chunk():
            for event in decoder.feed(data):
                if _has_message(event):
                    self._hand_on(self._lifted(event), posted)
            if posted is not None and posted.answered:
                await self._finish(answer)
                return

    async def _finish(self, answer: Answer) -> None:
        # Nothing should follow the answer; a server that ends its stream now lets us use the connection again.
        with trio.move_on_after(0.1):
            try:
                await answer.read(_ERROR_BYTES)
            except MCPError:
                pass

    def _lifted(self, event: Event | Oversized) -> Inbound:
        if isinstance(event, Oversized):
            return Malformed(ErrorObject(PARSE_ERROR, f"Parse error: an event of more than {event.limit} bytes"))
        return self._codec.decode(event.data)

    def _hand_on(self, message: Inbound, posted: _Posted | None = None) -> None:
        if isinstance(message, (Response, ErrorResponse)):
            if message.id is None and posted is not None and isinstance(message, ErrorResponse):
                message = ErrorResponse(posted.message.id, message.error)
            mine = self._posted.get(message.id) if message.id is not None else None
            if mine is not None:
                mine.answered = True
        elif isinstance(message, Malformed) and posted is not None and not posted.answered:
            posted.answered = True
            message = Unanswered(
                posted.message.id, RemoteProtocolError(f"the answer is no response: {message.error.message}")
            )
        if self._closed:
            return
        if self._take is None:
            self._early.append(message)
            self._progress.unpark_all()
        else:
            self._take(message)


def _session_id(answer: Answer) -> str | None:
    id = answer.headers.get("mcp-session-id")
    if id is not None and not (id and all("!" <= letter <= "~" for letter in id)):
        raise RemoteProtocolError("the session id has characters that no session id has")  # C25-124
    return id


def _has_message(event: Event | Oversized) -> bool:
    # The first event of a stream is empty, and only gives us an id to come back with.
    return isinstance(event, Oversized) or (event.type == b"message" and bool(event.data))


def _pause(decoder: EventDecoder | None, limits: HttpClientLimits, attempts: int) -> float:
    # The server's wish is the least we wait (C25-097).
    told = None if decoder is None else decoder.retry_ms
    wished = limits.retry_seconds if told is None else told / 1000
    return max(wished, min(limits.retry_seconds * 2.0 ** min(attempts, 10), _MAX_PAUSE_SECONDS) if attempts else wished)
