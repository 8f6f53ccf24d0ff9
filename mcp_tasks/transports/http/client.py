"""The client's end of a session over HTTP, as a transport: every message is a POST of its own.

A request's POST is answered by JSON or by a stream of events; whichever it is, messages are handed on as they come.
Requests go out side by side. Notifications and answers of ours go one after the other, each accepted before anything
later is sent, so that nothing overtakes them. A stream that is cut is come back to, from the last event that arrived.
If the server has forgotten the session, a new one is begun beneath the connection, and what was refused is sent again:
a 404 says that it was not served.

A request that names its revision stands for itself: it goes without a session, its headers repeat what it says, and its
stream is the only place where its answer can come. To stop waiting is to close that stream.

Spec: basic/transports "Streamable HTTP" of 2025-11-25 (C25-085 to C25-097, C25-106 to C25-134) and of 2026-07-28
(C26-145 to C26-206).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio
from attrs import define

from ..._unset import UNSET, JSONObject, RequestId
from ...abc import Inbound, Transport, Unanswered
from ...codec.messages import PARSE_ERROR, MessageCodec
from ...errors import (
    ConnectionClosed,
    HttpError,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
)
from ...framing.lines import Oversized
from ...framing.mirror import Mirrored, mirrored_arguments, request_fields
from ...framing.sse import Event, EventDecoder
from ...limits import HttpClientLimits, Limits
from ...wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response
from .pool import Answer, HttpPool, Url
from .profile import ASSUMED, PROFILES, STATELESS, HttpProfile, names_revision, opens_session, says_ready
from .remote import ERROR_BYTES, Auth, RemoteEndpoint

__all__ = ["HttpClientTransport"]

logger = logging.getLogger("mcp_tasks.http")

_ACCEPT = ("Accept", "application/json, text/event-stream")
_JSON = ("Content-Type", "application/json")
_EVENTS = "text/event-stream"
INTERNAL_ERROR = -32603
_BUSY = frozenset({429, 502, 503, 504})  # nobody has looked at the request, whatever the answer says of it
_MAX_PAUSE_SECONDS = 60.0
_LEAST_PAUSE_SECONDS = 0.1


@define(eq=False)
class _Posted:
    """A request of ours on its way."""

    message: Request
    scope: trio.CancelScope
    answered: bool = False
    has_room: bool = False
    stands_alone: bool = False


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
        self.profile: HttpProfile = ASSUMED
        self._remote = RemoteEndpoint(url, pool, headers or {}, auth)
        self._nursery = nursery
        self._limits = HttpClientLimits() if http_limits is None else http_limits
        self._message_bytes = limits.message_bytes
        self._codec = MessageCodec(json_depth=limits.json_depth)
        self._take: Callable[[Inbound], None] | None = None
        self._early: deque[Inbound] = deque()
        self._posted: dict[RequestId, _Posted] = {}
        self._queue: deque[tuple[Message, bytes]] = deque()
        self._pumping = False
        self._unsent = 0  # bytes, of all that was ever taken
        self._taken = 0
        self._room = trio.CapacityLimiter(self._limits.requests)
        self._opened = False
        self._opening: Request | None = None
        self._ready: Notification | None = None
        self._renewing = trio.Lock()
        self._listening: trio.CancelScope | None = None
        self._heard = trio.Event()
        self._listened: str | None = None  # the session in which the server has offered a stream of its own
        self._pump_scope = trio.CancelScope()
        self._progress = trio.lowlevel.ParkingLot()
        self._messages = 0  # that have come in events
        self._mirrored: dict[str, Sequence[Mirrored]] = {}
        self._closed = False
        self.origin = str(url)

    def __repr__(self) -> str:
        return f"<HttpClientTransport {self._remote}>"

    async def identity(self) -> str | None:
        return await self._remote.token()

    @property
    def session_id(self) -> str | None:
        """What the server names the session by; None if it does not."""
        return self._remote.session_id

    # --- Transport ------------------------------------------------------------------------------------------------

    def push_to(self, take: Callable[[Inbound], None]) -> bool:
        self._take = take
        while self._early:
            take(self._early.popleft())
        return True

    async def receive(self) -> Sequence[Inbound]:
        while not self._early:
            if self._closed:
                raise ConnectionClosed("the session has ended")
            await self._progress.park()
        await trio.lowlevel.checkpoint()
        found = list(self._early)
        self._early.clear()
        return found

    def speaks(self, revision: str) -> None:
        self.profile = PROFILES[revision]
        self._remote.revision = revision if self.profile.sends_version else None
        self._opened = True

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        body = self._codec.encode(message)
        if self._closed:
            raise ConnectionClosed("the session has ended")
        self._unsent += len(body)
        self._taken += len(body)
        if isinstance(message, Request):
            if opens_session(message):
                self._opening = message
            alone = names_revision(message) in STATELESS
            self._posted[message.id] = _Posted(message, trio.CancelScope(), stands_alone=alone)
        elif isinstance(message, Notification) and says_ready(message):
            self._ready = message
        if self._pumping or not isinstance(message, Request):
            self._queue.append((message, body))
            if not self._pumping:
                self._pumping = True
                self._nursery.start_soon(self._pump)
        else:
            self._nursery.start_soon(self._request, message, body)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        everything = self._taken
        while self._taken - self._unsent < everything and not self._closed:
            await self._progress.park()
        if self._closed:
            raise ConnectionClosed("the session has ended")

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
        return posted.stands_alone  # closing its stream says so

    def learn(self, tool: str, input_schema: JSONObject) -> None:
        if self.profile.stateless:
            self._mirrored.pop(tool, None)
            self._mirrored[tool] = mirrored_arguments(input_schema)

    async def aclose(self) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        self._progress.unpark_all()
        for posted in self._posted.values():
            posted.scope.cancel()
        self._pump_scope.cancel()
        if self._listening is not None:
            self._listening.cancel()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self._limits.close_seconds):
                if self.session_id is not None:
                    try:
                        async with self._remote.ask("DELETE") as answer:
                            await answer.read(ERROR_BYTES)
                    except MCPError as error:
                        logger.debug("%r: the session was not ended: %s", self, error)
            await self._remote.aclose()

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
                    if isinstance(message, Response) and isinstance(error, HttpError) and not self._closed:
                        # Whoever asked over there waits: a refused answer is a failed one.
                        refused = ErrorResponse(message.id, ErrorObject(INTERNAL_ERROR, f"Answer refused: {error}"))
                        self.send(refused)
                except Exception:  # the last wall: what comes next is somebody else's
                    logger.exception("%r: a message could not be sent", self)
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
        for again in (True, False):
            async with self._remote.ask("POST", _ACCEPT, _JSON, body=body) as answer:
                if answer.status // 100 == 2:
                    await answer.read(ERROR_BYTES)
                    return
                failure, _ = await self._remote.failure(answer)
            if answer.status != 404 or session_id is None or message is self._ready or not again:
                raise failure
            await self._renew(session_id)
            if isinstance(message, (Response, ErrorResponse)):
                return  # whoever asked is gone with the session

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
                await self._room.acquire_on_behalf_of(posted)
                posted.has_room = True
                await self._ask(posted, body, sent)
        except MCPError as error:
            failure = error
        except Exception as error:  # the last wall: the other requests go on
            logger.exception("%r: a request could not be sent", self)
            failure = LocalProtocolError(f"the request could not be sent: {error!r}")
        finally:
            sent()
            self._make_room(posted)
            if self._posted.get(message.id) is posted:
                del self._posted[message.id]
        if not posted.answered:
            if failure is None:
                failure = RemoteProtocolError(f"{message.method}: the server gave no answer")
            self._hand_on(Unanswered(message.id, failure))

    def _make_room(self, posted: _Posted) -> None:
        if posted.has_room:
            posted.has_room = False
            self._room.release_on_behalf_of(posted)

    async def _ask_alone(self, posted: _Posted, body: bytes, sent: Callable[[], None]) -> None:
        message = posted.message
        params = {} if message.params is UNSET else message.params
        name = params.get("name") if message.method == "tools/call" else None
        mirrored = self._mirrored.get(name, ()) if isinstance(name, str) else ()
        fields = [
            ("MCP-Protocol-Version", names_revision(message) or ""),
            *request_fields(message.method, params, mirrored),
        ]
        async with self._remote.ask("POST", _ACCEPT, _JSON, *fields, body=body, opens=True, sent=sent) as answer:
            if answer.status == 200:
                await self._take_answer(posted, answer, False)
                return
            failure, error = await self._remote.failure(answer)
        if error is None or answer.status in (401, 403) or answer.status in _BUSY:
            raise failure
        self._hand_on(ErrorResponse(message.id, error))

    async def _ask(self, posted: _Posted, body: bytes, sent: Callable[[], None]) -> None:
        if posted.stands_alone:
            await self._ask_alone(posted, body, sent)
            return
        opens = posted.message is self._opening
        for again in (True, False):
            session_id = None if opens else self.session_id
            async with self._remote.ask("POST", _ACCEPT, _JSON, body=body, opens=opens, sent=sent) as answer:
                if answer.status == 200:
                    await self._take_answer(posted, answer, opens)
                    return
                failure, error = await self._remote.failure(answer)
            if answer.status != 404 or session_id is None or not again:
                if error is not None and answer.status not in (401, 403, 404):
                    self._hand_on(ErrorResponse(posted.message.id, error))  # they did answer, after a fashion
                    return
                raise failure
            await self._renew(session_id)

    async def _take_answer(self, posted: _Posted, answer: Answer, opens: bool) -> None:
        if opens:
            self._remote.session_id = _session_id(answer)
        if answer.kind == _EVENTS:
            self._make_room(posted)  # a question may come on it, and whoever answers may have to ask the server
            await self._follow(posted, answer)
        elif answer.kind == "application/json":
            message = self._codec.decode(await answer.read(self._message_bytes))
            if isinstance(message, Malformed):
                raise RemoteProtocolError(f"the answer is no response: {message.error.message}")
            self._hand_on(message, posted)
        else:
            raise RemoteProtocolError(f"the answer is of type {answer.kind!r}, not JSON or events")

    # --- the session ----------------------------------------------------------------------------------------------

    async def _renew(self, dead_id: str | None) -> None:
        # The server has forgotten the session: begin another one with the handshake of the first (C25-130).
        async with self._renewing:
            if self.session_id != dead_id or self._opening is None or self._ready is None:
                return
            logger.info("%r: the server has forgotten the session; beginning another one", self)
            try:
                self._remote.session_id = await self._reopened(self._opening)
                await self._tell(self._ready, self._codec.encode(self._ready))
            except BaseException:
                self._remote.session_id = dead_id  # so that whoever comes next tries again
                raise
            await self._listen()
        if self.renewed is not None and not self._closed:
            self.renewed()

    async def _reopened(self, opening: Request) -> str | None:
        # The id of a new session, begun with the same handshake.
        found: list[Inbound] = []
        async with self._remote.ask("POST", _ACCEPT, _JSON, body=self._codec.encode(opening), opens=True) as answer:
            if answer.status != 200:
                raise (await self._remote.failure(answer))[0]
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
        forgotten = False
        session_id = self.session_id
        with scope:
            try:
                await self._come_back(EventDecoder(self._message_bytes), None, first=True)
            except HttpError as error:
                forgotten = error.status == 404 and session_id is not None and self._listened == session_id
                level = logging.WARNING if error.status in (401, 403) or error.status >= 500 else logging.DEBUG
                logger.log(level, "%r: the server offers no stream of its own: %s", self, error)
            except MCPError as error:
                logger.warning("%r: its stream is lost: %s", self, error)
            except Exception:  # the last wall
                logger.exception("%r: its stream is lost", self)
            finally:
                self._heard.set()
        if forgotten and not self._closed:
            await self._renew_in_time(session_id)

    async def _renew_in_time(self, dead_id: str | None) -> None:
        # Nobody has asked for anything: as long as it takes, then.
        attempts = 0
        while self.session_id == dead_id and not self._closed:
            try:
                await self._renew(dead_id)
            except MCPError as error:
                for_now = isinstance(error, ConnectionClosed) or (isinstance(error, HttpError) and error.passing)
                if not for_now:
                    logger.warning("%r: no other session could be begun: %s", self, error)
                    return
                attempts += 1
                await trio.sleep(_pause(None, self._limits, attempts))

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
        if posted.stands_alone or not decoder.last_id:  # C26-164
            raise ConnectionClosed(f"{posted.message.method}: the stream ended before the answer") from cut
        await self._come_back(decoder, posted)

    async def _come_back(self, decoder: EventDecoder, posted: _Posted | None, *, first: bool = False) -> None:
        # GET, and GET again, until the answer is there, or for ever if it is nobody's.
        attempts = 0
        pause = 0.0 if first else _pause(decoder, self._limits, 0)
        session_id = self.session_id
        failure: MCPError = ConnectionClosed("the stream was cut")
        while posted is None or attempts < self._limits.resume_attempts:
            await trio.sleep(pause)
            if posted is not None and self.session_id != session_id:
                # Its ids mean something else in the new session.
                raise ConnectionClosed(f"{posted.message.method}: the session has ended, and the stream with it")
            fields = [("Accept", _EVENTS)]
            if decoder.last_id:
                fields.append(("Last-Event-ID", decoder.last_id))
            decoder = decoder.resumed()
            attempts += 1
            before = self._messages
            try:
                async with self._remote.ask("GET", *fields) as answer:
                    if posted is None:
                        self._heard.set()
                    if answer.status != 200:
                        refusal, _ = await self._remote.failure(answer)
                        if posted is None and decoder.last_id is not None and answer.status == 400:
                            decoder = EventDecoder(self._message_bytes)  # too late for that stream; there are others
                        elif not (isinstance(refusal, HttpError) and refusal.passing):
                            raise refusal
                        failure = refusal
                    elif answer.kind != _EVENTS:
                        raise RemoteProtocolError(f"the stream is of type {answer.kind!r}")
                    else:
                        attempts = 0
                        if posted is None:
                            self._listened = session_id
                        await self._read_events(answer, decoder, posted)
                        failure = ConnectionClosed("the stream was cut")
            except ConnectionClosed as closed:
                failure = closed
            if posted is not None and posted.answered:
                return
            # One that has nothing to say does not want us at once, whatever it tells us.
            least = _LEAST_PAUSE_SECONDS if self._messages == before else 0.0
            pause = max(_pause(decoder, self._limits, attempts), least)
        assert posted is not None
        raise ConnectionClosed(f"{posted.message.method}: the stream was cut and cannot be resumed: {failure}")

    async def _read_events(self, answer: Answer, decoder: EventDecoder, posted: _Posted | None) -> None:
        while data := await answer.chunk():
            for event in decoder.feed(data):
                if _has_message(event):
                    self._messages += 1
                    self._hand_on(self._lifted(event), posted)
            if posted is not None and posted.answered:
                await self._finish(answer)
                return

    async def _finish(self, answer: Answer) -> None:
        # Nothing should follow the answer; a server that ends its stream now lets us use the connection again.
        with trio.move_on_after(0.1):
            try:
                await answer.read(ERROR_BYTES)
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
        elif (
            isinstance(message, Malformed)
            and posted is not None
            and not posted.answered
            and _may_answer(message, posted)
        ):
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


def _may_answer(message: Malformed, posted: _Posted | None) -> bool:
    # Whether what is no message was to be the answer, or nobody can tell any more.
    if posted is None or posted.answered:
        return False
    return message.id == posted.message.id or message.error.code == PARSE_ERROR
