"""One session of the handshake revisions over HTTP, as a transport: which message goes on which stream.

What the client posts is pushed to whoever serves the session. What goes out belongs to a stream: an answer to the POST
that asked for it, whatever concerns a request to that request's stream, the rest to a stream that the client keeps
open. An answer that nothing precedes is plain JSON; otherwise its POST becomes a stream of events. Requests of ours
for which no stream is open wait for one, they are never dropped; notifications wait too, and give way to newer ones.

A stream outlives its connections for a while, so that the client can come back for what it has missed.

Spec: basic/transports "Streamable HTTP" (C25-085 to C25-121).
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque

import trio
from attrs import define

from ..._unset import Principal, RequestId
from ...abc import Inbound
from ...codec.messages import MessageCodec
from ...errors import ConnectionClosed, LimitReached
from ...limits import HttpLimits
from ...wire.jsonrpc import ErrorObject, ErrorResponse, Malformed, Message, Notification, Request, Response
from .carrier import Carrier
from .exchange import Exchange
from .profile import ASSUMED, PROFILES, HttpProfile
from .streams import EventStream, parse_event_id

__all__ = ["SESSION_ID", "HttpSession"]

logger = logging.getLogger("mcp_tasks.http")

INTERNAL_ERROR = -32603
_MOST_KEPT = 4  # times what one stream may keep, for all that nobody reads
SESSION_ID = b"Mcp-Session-Id"
_JSON = ((b"Content-Type", b"application/json"),)


@define(eq=False)
class _Post:
    """A request of the client's, and what its answer travels by."""

    exchange: Exchange
    takes_json: bool
    takes_events: bool
    since: float
    stream: EventStream | None = None

    @property
    def can_stream(self) -> bool:
        """Whether something other than the answer can be sent along."""
        if self.stream is not None:
            return self.stream.attached or self.stream.primed  # without an id nobody can come back for it
        return self.takes_events and self.exchange.open


class HttpSession(Carrier):
    """One client's session; the server's end of it. `id` is what the client names it by.

    `salt` begins the keys of its streams, so that an event id of another session is none of this one.
    """

    def __init__(
        self, id: bytes, principal: Principal | None, *, codec: MessageCodec, limits: HttpLimits, salt: str = ""
    ) -> None:
        super().__init__(principal, codec=codec, limits=limits)
        self.id = id
        self.profile: HttpProfile = ASSUMED
        self.opened = False
        """Whether the handshake has been answered."""
        self._posts: dict[RequestId, _Post] = {}
        self._streams: OrderedDict[str, EventStream] = OrderedDict()  # all that can be come back to
        self._listening: list[EventStream] = []  # those of GET, the newest last
        self._salt = salt
        self._count = 0
        self._waiting: deque[Message] = deque()  # for a stream to go on
        self._questions = 0  # how many of those are requests
        # Requests of ours without an answer: the stream that each went on, and its place there.
        self._asked: dict[RequestId, tuple[EventStream, int]] = {}

    def __repr__(self) -> str:
        return f"<HttpSession {self.id[:6].decode()}..., {len(self._posts)} posts, {len(self._listening)} listening>"

    # --- what the client does -------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing is going on: no request without its answer, and nobody listening."""
        return not self._posts and not any(stream.attached for stream in self._listening)

    @property
    def settled(self) -> bool:
        """Whether every request has its answer."""
        return not self._posts

    def post(self, message: Message, exchange: Exchange, *, takes_json: bool, takes_events: bool) -> None:
        """Take in a message and answer its POST: a notification or response at once, a request in time."""
        if self._closed:
            exchange.refuse(404, f"There is no such session any more: {self._why}")
            return
        self.seen_at = trio.current_time()
        if not isinstance(message, Request):
            self.deliver(message)
            exchange.respond(202, ())
            return
        if message.id in self._posts:
            exchange.refuse(400, f"Invalid request: $.id: {message.id!r} is already in use")
            return
        if len(self._posts) >= self._limits.session_posts:
            exchange.refuse(503, f"Too many requests at once, the limit is {self._limits.session_posts}")
            return
        self._posts[message.id] = _Post(exchange, takes_json, takes_events, self.seen_at)
        try:
            self.deliver(message)
        except BaseException:
            self._posts.pop(message.id, None)  # whoever carries the exchange answers it
            raise

    def listen(self, exchange: Exchange, last_event_id: str | None) -> None:
        """Answer a GET: with a new stream, or with the rest of the one that `last_event_id` is of."""
        if self._closed:
            exchange.refuse(404, f"There is no such session any more: {self._why}")
            return
        self.seen_at = trio.current_time()
        if last_event_id is not None:
            self._resume(exchange, last_event_id)
            return
        if len(self._listening) >= self._limits.session_streams:
            for stream in self._listening:
                if not stream.attached:
                    self._forget(stream)
                    break
            else:
                exchange.refuse(409, f"Too many streams, the limit is {self._limits.session_streams}")
                return
        stream = self._new_stream()
        self._listening.append(stream)
        self._carry(stream, exchange, None)
        self._send_waiting(stream)
        self._write(exchange)

    def _resume(self, exchange: Exchange, last_event_id: str) -> None:
        named = parse_event_id(last_event_id)
        stream = None if named is None else self._streams.get(named[0])
        if named is None or stream is None or stream.ends_at(named[1]):
            exchange.refuse(400, "There is no such stream (any more) to come back to")
            return
        if not self._carry(stream, exchange, named[1]):
            logger.warning("%r: a client came back too late: some of its events are gone", self)
        if stream in self._listening:
            self._send_waiting(stream)
        elif self._questions and not stream.over:
            self._send_waiting(stream, questions_only=True)
        self._write(exchange)

    def deliver(self, message: Inbound) -> None:
        """Hand a message to whoever serves the session."""
        if isinstance(message, (Response, ErrorResponse, Malformed)) and message.id is not None:
            self._asked.pop(message.id, None)
        super().deliver(message)

    # --- Transport ------------------------------------------------------------------------------------------------

    def speaks(self, revision: str) -> None:
        self.profile = PROFILES[revision]
        self.opened = True

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        if self._closed:
            raise ConnectionClosed(self._why)
        if isinstance(message, (Response, ErrorResponse)):
            self._answer(message, related_to)
            return
        data = bytearray()
        self._codec.encode_into(message, data)
        stream = self._route(message, related_to)
        if stream is not None:
            self._put(stream, message, data)
            self._touched(stream)
        elif isinstance(message, Request):
            if self._questions >= self._limits.waiting:
                raise LimitReached("Too many requests wait for the client to listen", "waiting", self._limits.waiting)
            self._questions += 1
            self._waiting.append(message)
        else:
            self._waiting.append(message)
            if len(self._waiting) - self._questions > self._limits.waiting:
                oldest = next(one for one in self._waiting if isinstance(one, Notification))
                self._waiting.remove(oldest)
                logger.debug("%r: nobody listens: dropped a %s", self, oldest.method)

    def _put(self, stream: EventStream, message: Message, data: bytearray) -> None:
        place = stream.add(data, lossy=isinstance(message, Notification))
        if isinstance(message, Request):
            self._asked[message.id] = stream, place

    def _answer(self, message: Response | ErrorResponse, related_to: RequestId | None) -> None:
        id = message.id if related_to is None else related_to
        post = None if id is None else self._posts.get(id)
        data = bytearray()
        self._codec.encode_into(message, data)
        if post is None:
            logger.debug("%r: nobody waits for the answer to %r", self, id)
            return
        assert id is not None
        del self._posts[id]
        if not self._posts:
            self._progress.unpark_all()
        exchange, stream = post.exchange, post.stream
        self.seen_at = trio.current_time()
        if not self.opened:
            exchange.extra = [field for field in exchange.extra if field[0] != SESSION_ID]  # there is none to name
            self.end("the handshake failed")
        if stream is None and post.takes_json:
            exchange.lost = None
            exchange.respond(200, _JSON, data)
            self._write(exchange)
            return
        if stream is None:
            if not exchange.open:
                logger.debug("%r: the client left before the answer to %r", self, id)
                return
            stream = self._open(post)
        carrier = stream.exchange
        stream.add(data, lossy=False, last=True)
        stream.touched_at = self.seen_at
        if carrier is not None:
            self._write(carrier)
        self._keep_within_bounds()

    def backlog_of(self, related_to: RequestId | None) -> int:
        if not self._dirty and not self._busy:
            return 0
        stream = self._route(None, related_to)
        exchange = None if stream is None else stream.exchange
        return 0 if exchange is None else exchange.backlog

    def began(self, related_to: RequestId) -> bool:
        post = self._posts.get(related_to)
        return post is not None and post.stream is not None

    def abandon(self, id: RequestId) -> bool:
        for message in self._waiting:
            if isinstance(message, Request) and message.id == id:
                self._waiting.remove(message)
                self._questions -= 1
                return True
        went = self._asked.pop(id, None)
        if went is not None:
            stream, place = went
            stream.take_back(place)  # whoever comes back for the stream should not be asked any more
        return False

    def reaches(self, id: RequestId) -> bool:
        went = self._asked.get(id)
        if went is not None:
            return went[0].attached
        return not any(isinstance(message, Request) and message.id == id for message in self._waiting)

    def drop_stream(self, related_to: RequestId, retry_ms: int | None) -> None:
        post = self._posts.get(related_to)
        # A client that was given no event id could not come back.
        if post is not None and post.can_stream and self.profile.primes:
            stream = self._open(post)
            stream.let_go(self._limits.retry_ms if retry_ms is None else retry_ms)
            stream.touched_at = trio.current_time()

    def leave(self, id: RequestId) -> None:
        post = self._posts.pop(id, None)
        if post is None:
            return
        if not self._posts:
            self._progress.unpark_all()
        if post.stream is not None:
            self._forget(post.stream)
        elif post.exchange.open:
            post.exchange.lost = None
            post.exchange.respond(202, ())
            self._write(post.exchange)

    async def aclose(self) -> None:
        if not self._closed:
            self.end(self._why)
            for id in list(self._posts):
                # They were served, in part at least: a 404 would have them sent again.
                self._answer(ErrorResponse(id, ErrorObject(INTERNAL_ERROR, f"No answer: {self._why}")), id)
            self._closed = True
            for stream in self._streams.values():
                stream.let_go()
            self._posts.clear()
            self._streams.clear()
            self._listening.clear()
            self._waiting.clear()
            self._questions = 0
            self._dirty.clear()
            self._busy.clear()
            self._progress.unpark_all()
        await trio.lowlevel.checkpoint()

    # --- time -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Keep quiet connections awake, and forget streams that nobody has come back to."""
        quiet = now - self._limits.keep_alive_seconds
        for post in list(self._posts.values()):
            if post.stream is None and post.since <= quiet and post.can_stream:
                self._open(post)  # the answer takes its time: from now on the client can come back for it
                self._write(post.exchange)
        gone = any(not stream.attached and stream.touched_at <= quiet for stream, _ in self._asked.values())
        if gone and self.cut is not None:
            self.cut()  # nobody has come back for what we asked there
        for stream in list(self._streams.values()):
            if stream.attached:
                if stream.written_at <= quiet:
                    stream.written_at = now
                    stream.stay_awake()
            elif stream.touched_at <= now - self._limits.resume_seconds and not self._awaited(stream):
                self._forget(stream)

    def _awaited(self, stream: EventStream) -> bool:
        # A stream whose answer is still to come stays for as long as its request is being served.
        return any(post.stream is stream for post in self._posts.values())

    # --- streams --------------------------------------------------------------------------------------------------

    def _route(self, message: Message | None, related_to: RequestId | None) -> EventStream | None:
        # The one stream that a message goes on (C25-115); None if it has to wait. Without a message it is only looked
        # where one would go, and no stream is begun for it.
        if related_to is not None:
            post = self._posts.get(related_to)
            if post is not None and post.can_stream:
                return self._open(post) if message is not None else post.stream
        for stream in reversed(self._listening):
            if stream.attached:
                return stream
        if isinstance(message, Request):
            for post in reversed(self._posts.values()):
                if post.stream is not None and post.stream.attached:
                    return post.stream
        return None

    def _open(self, post: _Post) -> EventStream:
        if post.stream is None:
            post.stream = self._new_stream()
            self._carry(post.stream, post.exchange, None)
            if self._questions:
                self._send_waiting(post.stream, questions_only=True)
        return post.stream

    def _new_stream(self) -> EventStream:
        self._count += 1
        key = f"{self._salt}{self._count:x}"
        stream = EventStream(key, keep_bytes=self._limits.replay_bytes, primes=self.profile.primes)
        self._streams[stream.key] = stream
        return stream

    def _carry(self, stream: EventStream, exchange: Exchange, after: int | None) -> bool:
        before = stream.exchange
        complete = stream.attach(exchange, after)
        if before is not None:
            self._written(before)
        stream.touched_at = stream.written_at = trio.current_time()

        def lost() -> None:
            if stream.exchange is exchange:
                stream.exchange = None
                stream.touched_at = self.seen_at = trio.current_time()
            self._written(exchange)
            self._keep_within_bounds()

        exchange.lost = lost
        self._soil(exchange)
        return complete

    def _touched(self, stream: EventStream) -> None:
        exchange = stream.exchange
        if exchange is not None:
            stream.written_at = trio.current_time()
            self._soil(exchange)

    def _forget(self, stream: EventStream) -> None:
        stream.let_go()
        self._streams.pop(stream.key, None)
        if stream in self._listening:
            self._listening.remove(stream)

    def _keep_within_bounds(self) -> None:
        # Finished streams are kept for clients that come back, the newest for longest.
        finished = [stream for stream in self._streams.values() if stream.over]
        size = sum(stream.kept_bytes for stream in finished)
        while len(finished) > 1 and (len(finished) > self._limits.session_streams or size > self._limits.replay_bytes):
            oldest = finished.pop(0)
            size -= oldest.kept_bytes
            self._forget(oldest)
        left = [stream for stream in self._streams.values() if not stream.attached]
        if sum(stream.kept_bytes for stream in left) > _MOST_KEPT * self._limits.replay_bytes:
            for stream in left:
                stream.shed()

    def _send_waiting(self, stream: EventStream, *, questions_only: bool = False) -> None:
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            if questions_only and not isinstance(message, Request):
                self._waiting.append(message)
                continue
            data = bytearray()
            self._codec.encode_into(message, data)
            self._put(stream, message, data)
        self._questions = 0
        self._touched(stream)
        self.try_flush()
