"""Requests that stand for themselves over HTTP, as a transport: each answered on its own POST, and nowhere else.

All requests of one principal come by one of these, whoever its clients are; so that two of them may use the same id, a
request is known by a number of ours in here and gets its own id back at the door. What is said before the answer makes
a stream of it. A client that closes the stream wants no answer any more; nothing is kept for it to come back for.

Spec: 2026-07-28 basic/transports "Streamable HTTP" (C26-139 to C26-167).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import trio
from attrs import define

from ..._unset import Principal, RequestId
from ...abc import Gone
from ...codec.messages import INVALID_REQUEST, PARSE_ERROR, MessageCodec
from ...errors import ConnectionClosed, LocalProtocolError
from ...framing.sse import COMMENT, encode_event
from ...limits import HttpLimits
from ...wire.jsonrpc import ErrorResponse, Message, Notification, Request, Response
from ...wire.v2026_07_28 import HEADER_MISMATCH, MISSING_CAPABILITY, REVISION, UNSUPPORTED_VERSION
from .carrier import Carrier
from .exchange import Exchange
from .streams import STREAM_HEADERS

__all__ = ["StatelessCarrier"]

logger = logging.getLogger("mcp_tasks.http")

_LISTEN = "subscriptions/listen"
_JSON = ((b"Content-Type", b"application/json"),)
_STATUSES: Final[Mapping[int, int]] = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    -32601: 404,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
}
"""The HTTP status of an error that is the whole answer; 200 for all others (C26-060, C26-171, C26-172)."""


@define(eq=False)
class _Post:
    """A request, and what its answer travels by."""

    id: RequestId
    exchange: Exchange
    takes_json: bool
    takes_events: bool
    touched_at: float
    listens: bool
    streams: bool = False


class StatelessCarrier(Carrier):
    """The requests of one principal."""

    revision = REVISION

    def __init__(self, principal: Principal | None, *, codec: MessageCodec, limits: HttpLimits) -> None:
        super().__init__(principal, codec=codec, limits=limits)
        self._posts: dict[RequestId, _Post] = {}
        self._count = 0
        self._listening = 0  # posts that stay open, and are no work

    def __repr__(self) -> str:
        return f"<StatelessCarrier of {self.principal or 'anybody'}, {len(self._posts)} posts>"

    # --- what clients do ------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether there is no request without its answer."""
        return not self._posts

    settled = idle

    def post(self, message: Message, exchange: Exchange, *, takes_json: bool, takes_events: bool) -> None:
        """Take in a message and answer its POST: a request in time, a notification at once."""
        self.seen_at = trio.current_time()
        if isinstance(message, Notification):
            # None is defined, and what is cancelled is cancelled by leaving (C26-155); one of an extension may come.
            if message.method != "notifications/cancelled":
                self.deliver(message)
            exchange.respond(202, ())
            return
        if not isinstance(message, Request):
            exchange.refuse(400, "Invalid request: a client answers nothing here")  # C26-149
            return
        listens, limit = message.method == _LISTEN, self._limits.session_posts
        if listens and not takes_events:
            exchange.refuse(406, f"Not acceptable: {_LISTEN} is answered with events", id=message.id)
            return
        if not listens and len(self._posts) - self._listening >= limit:
            exchange.refuse(503, f"Too many requests at once, the limit is {limit}", id=message.id, code=-32603)
            return
        self._count += 1
        key = self._count
        self._posts[key] = _Post(message.id, exchange, takes_json, takes_events, self.seen_at, listens)
        self._listening += listens
        exchange.lost = lambda: self._left(key)
        exchange.leaving_cancels = True  # C26-221
        try:
            self.deliver(Request(key, message.method, message.params))
        except BaseException:
            self._pop(key)  # whoever carries the exchange answers it
            raise

    def _pop(self, key: RequestId) -> _Post | None:
        post = self._posts.pop(key, None)
        if post is not None:
            self._listening -= post.listens
        return post

    def _left(self, key: RequestId) -> None:
        post = self._pop(key)
        if post is not None:
            self._written(post.exchange)
            self._over()
            self.deliver(Gone(key))  # C26-165

    def _over(self) -> None:
        self.seen_at = trio.current_time()
        if not self._posts:
            self._progress.unpark_all()

    # --- Transport ------------------------------------------------------------------------------------------------

    def name_of(self, id: RequestId) -> RequestId:
        return self._posts[id].id

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        if self._closed:
            raise ConnectionClosed(self._why)
        if isinstance(message, Request):
            raise LocalProtocolError(f"{message.method}: a server asks nothing in revision {REVISION}")  # C26-158
        key = message.id if isinstance(message, (Response, ErrorResponse)) and related_to is None else related_to
        post = None if key is None else self._posts.get(key)
        if post is None:
            logger.debug("%r: nobody is there for a message", self)
            return
        if isinstance(message, Notification):
            if self._begun(post):
                self._add(post, message)
            return
        assert key is not None
        self._answer(key, post, message)

    def _answer(self, key: RequestId, post: _Post, message: Response | ErrorResponse) -> None:
        if isinstance(message, Response):
            message = Response(post.id, message.result)
        else:
            message = ErrorResponse(post.id, message.error)
        body = bytearray()
        self._codec.encode_into(message, body)
        self._pop(key)
        exchange = post.exchange
        exchange.lost = None
        if post.streams:
            exchange.write(encode_event(body))
            exchange.end()  # C26-159
        elif isinstance(message, ErrorResponse):
            exchange.respond(_STATUSES.get(message.error.code, 200), _JSON, body)
        elif post.takes_json:
            exchange.respond(200, _JSON, body)
        else:
            exchange.begin(STREAM_HEADERS)
            exchange.write(encode_event(body))
            exchange.end()
        self._write(exchange)
        self._over()

    def _begun(self, post: _Post) -> bool:
        # Whether there is a stream on which something can be said before the answer.
        if not post.streams and post.takes_events and post.exchange.open:
            post.streams = True
            post.exchange.begin(STREAM_HEADERS)
        return post.streams and post.exchange.open

    def _add(self, post: _Post, message: Notification) -> None:
        data = bytearray()
        self._codec.encode_into(message, data)
        post.exchange.write(encode_event(data))
        post.touched_at = trio.current_time()
        self._soil(post.exchange)

    def backlog_of(self, related_to: RequestId | None) -> int:
        post = None if related_to is None else self._posts.get(related_to)
        return 0 if post is None else post.exchange.backlog

    def overflows(self, limit: int) -> bool:
        return False  # who does not read is one client of many, and let go by its connection when that stalls

    def leave(self, id: RequestId) -> None:
        self._pop(id)

    async def aclose(self) -> None:
        if not self._closed:
            self.end(self._why)
            for key, post in list(self._posts.items()):
                if post.streams:
                    post.exchange.lost = None
                    post.exchange.end()  # without an answer: the client may ask again (C26-070)
                    self._write(post.exchange)
                    self._pop(key)
                else:
                    post.exchange.lost = None
                    post.exchange.refuse(503, f"No answer: {self._why}", id=post.id, code=-32603)
            self._closed = True
            self._posts.clear()
            self._dirty.clear()
            self._busy.clear()
            self._progress.unpark_all()
        await trio.lowlevel.checkpoint()

    # --- time -----------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Keep quiet connections awake: a request that takes long becomes a stream, and a stream gets a comment."""
        quiet = now - self._limits.keep_alive_seconds
        for post in list(self._posts.values()):
            if post.touched_at <= quiet and self._begun(post):
                post.touched_at = now
                post.exchange.write(COMMENT)
                self._write(post.exchange)
