"""What a client does in an era without sessions: ask until there is an answer, and listen.

A server that has to know more answers with questions. They are put to our own handlers, as if they had been requests,
and the request is repeated with the answers, under a new id, as often as it takes but not without end. What a server
would have pushed comes by a request of ours that stays open; it is opened again when it is lost.

Spec: 2026-07-28 basic/patterns/mrtr (C26-248 to C26-274), basic/patterns/subscriptions (C26-279 to C26-293).
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from .._unset import JSONObject, RequestId, Unset
from ..dialects.base import Asked, Told, Topics
from ..errors import (
    ConnectionClosed,
    HttpError,
    InvalidShape,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    RequestFailed,
)
from ..tasks.model import Question
from ..wire.v2026_07_28 import HEADER_MISMATCH
from ._wait import Bell, OnProgress, gather

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Listening", "StandingTopics", "answer_each", "ask", "ask_and_answer", "passing"]

logger = logging.getLogger("mcp_tasks.peer")

_INTERNAL_ERROR = -32603
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 60.0


async def ask_and_answer(
    connection: Connection, method: str, params: object, *, on_progress: OnProgress | None = None
) -> JSONObject:
    """Send a request, do whatever it takes, and return its result; that of a task it may have become, too.

    Raises as `Connection.call` does, and whatever our own handlers raise when they are asked.
    """
    wired = connection.dialect.lower_call(params)
    if method in connection.dialect.cached:
        identity = await connection.transport.identity()
        if (kept := connection.cache.get(method, wired, identity)) is not None:
            await trio.lowlevel.checkpoint()
            return kept
    result = await ask(connection, method, wired, on_progress=on_progress)
    task = connection.lift_created(method, result)
    if task is not None:
        async with connection.adopt(method, task) as handle:
            return await handle.result()
    return result


async def ask(
    connection: Connection,
    method: str,
    wired: JSONObject | Unset,
    *,
    on_progress: OnProgress | None = None,
    orphaned: Callable[[JSONObject], None] | None = None,
) -> JSONObject:
    """Send a request, answering what the server asks first, until there is a result or a task, and keep what may be."""
    dialect, limit = connection.dialect, connection.limits.rounds
    keeps, generation = method in dialect.cached, connection.cache.generation
    identity = await connection.transport.identity() if keeps else None
    request, refreshed = wired, False
    if orphaned is None and method in dialect.augmentable:
        orphaned = connection.cancel_orphan
    for _ in range(limit + 1):
        try:
            result = await connection.caller.call(method, request, on_progress=on_progress, orphaned=orphaned)
        except RequestFailed as failure:
            if failure.code != HEADER_MISMATCH or method != "tools/call" or refreshed:
                raise
            # What we repeat in headers follows the tool's definition, which may have changed (C26-197).
            refreshed = True
            connection.outdated("notifications/tools/list_changed")
            await connection.learn_tools()
            continue
        asked = _asked(connection, method, result)
        if asked is None:
            # Under what was asked last: what depends on answers is not kept (C26-297). Nor is what was asked while the
            # token changed: there is no saying whose it is (C26-310).
            if keeps and identity == await connection.transport.identity():
                connection.cache.put(method, request, result, identity, generation=generation)
            return result
        answers = await answer_each(connection, asked.questions)
        request = dialect.lower_retry(wired, answers, asked.state)
    raise RemoteProtocolError(f"{method}: the server asks again and again, {limit} times is the limit")


def _asked(connection: Connection, method: str, result: JSONObject) -> Asked | None:
    try:
        asked = connection.dialect.lift_asked(result)
    except InvalidShape as wrong:
        raise RemoteProtocolError(f"{method}: {wrong}") from None
    if asked is not None and method not in connection.dialect.takes_input:
        raise RemoteProtocolError(f"{method}: the server answers with questions, which this method cannot have")
    return asked


async def answer_each(connection: Connection, questions: Mapping[str, Question]) -> dict[str, JSONObject]:
    """The answers to several questions, by key; they are put side by side. Raises what a handler raises, unwrapped."""
    answer = connection.service.answer
    return await gather({key: partial(answer, question) for key, question in questions.items()})


def passing(failure: MCPError) -> bool:
    """Whether the same may work in a moment."""
    if isinstance(failure, HttpError):
        return failure.passing
    return not isinstance(failure, RequestFailed) or failure.code == _INTERNAL_ERROR


class Listening(AsyncIterator[Told]):
    """A subscription of ours; from `Connection.listen`. Iterate over it for what the server tells.

    Entering the block waits for the server to say what it will tell. When the subscription is lost it is made again,
    less and less often, and what may have been missed is fetched anew where it had been kept. Notifications also go to
    the handlers of `Peer.on`. With too many waiting the oldest is dropped.
    """

    def __init__(self, connection: Connection, topics: Topics, *, keeps: int | None = None) -> None:
        self._keeps = connection.limits.notices if keeps is None else keeps
        self.wanted = topics
        """What we want to be told of."""
        self.topics: Topics = Topics()
        """What the server tells us of; nothing while the subscription is lost."""
        self._connection = connection
        self._told: deque[Told] = deque()
        self._bell = Bell()
        self._known = trio.Event()
        self._failure: MCPError | None = None
        self._id: RequestId | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._since = math.inf  # when the server began to tell
        self._scope: trio.CancelScope | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Called when the subscription has been acknowledged, or is lost."""

    @property
    def failed(self) -> bool:
        """Whether it was given up."""
        return self._failure is not None

    @property
    def working(self) -> bool:
        """Whether the server is telling us."""
        return bool(self.topics)

    async def __aenter__(self) -> Listening:
        """Raises as `Connection.call` does if the server does not take the subscription."""
        connection = self._connection
        await connection.may_ask()
        if not connection.dialect.stateless:
            raise LocalProtocolError(f"there are no such subscriptions in revision {connection.revision}")
        self._scope = trio.CancelScope()
        connection.nursery.start_soon(self._listen, self._scope)
        try:
            await self._known.wait()
        except BaseException:
            self._scope.cancel()
            raise
        if self._failure is not None and not self.topics:
            raise self._failure
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it, as leaving the block does."""
        if self._scope is not None:
            self._scope.cancel()

    async def __anext__(self) -> Told:
        while not self._told:
            if self._failure is not None:
                raise self._failure
            await self._bell.wait()
        return self._told.popleft()

    # --- what the connection has for it

    def acknowledged(self, topics: Topics) -> None:
        """The server says what it will tell."""
        self._since = trio.current_time()
        self.topics = topics
        if self._known.is_set():
            self._missed()
        self._known.set()
        self.on_change()

    def put(self, notice: Told) -> None:
        """The server tells something."""
        if not self._keeps:
            return
        if len(self._told) >= self._keeps:
            dropped = self._told.popleft()
            logger.warning("%r: nobody reads what it listens to: dropped a %s", self._connection, dropped.method)
        self._told.append(notice)
        self._bell.ring()

    def ended(self, reason: str) -> None:
        """The server has ended the subscription, without an answer."""
        if self._id is not None and (call := self._connection.session.calls.get(self._id)) is not None:
            self._connection.session.withdraw(self._id)
            call.failure = ConnectionClosed(f"the server has ended the subscription: {reason}")
            call.bell.ring()

    # --- inside

    def _minted(self, id: RequestId) -> None:
        self._forget()
        self._id = id
        self._connection.listenings[id] = self

    def _forget(self) -> None:
        if self._id is not None:
            self._connection.listenings.pop(self._id, None)
            self._id = None

    def _missed(self) -> None:
        # What was kept may have changed while nobody told us.
        connection, topics = self._connection, self.topics
        for there, method in ((topics.tools, "tools"), (topics.prompts, "prompts"), (topics.resources, "resources")):
            if there:
                connection.outdated(f"notifications/{method}/list_changed")
        for uri in topics.uris:
            connection.outdated("notifications/resources/updated", {"uri": uri})

    async def _listen(self, scope: trio.CancelScope) -> None:
        connection = self._connection
        method, params = connection.dialect.listen(self.wanted)
        try:
            with scope:
                while True:
                    try:
                        await connection.caller.call(method, params, on_mint=self._minted)
                        if not self._known.is_set():
                            raise RemoteProtocolError(f"{method}: ended without having begun")
                        logger.info("%r: the server has ended a subscription", connection)
                    except (ConnectionClosed, HttpError) as lost:
                        over = connection.closed or connection.half_closed
                        if over or not self._known.is_set() or not passing(lost):
                            raise
                        logger.info("%r: a subscription is lost: %s", connection, lost)
                    self.topics = Topics()
                    self.on_change()
                    # One that has lasted was worth having again at once; a server that ends each soon is spared.
                    if trio.current_time() - self._since > self._pause:
                        self._pause = _FIRST_PAUSE_SECONDS
                    self._since = math.inf
                    await trio.sleep(self._pause)
                    self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        except MCPError as failure:
            if self._known.is_set() and not connection.closed:  # else what has ended is the connection
                logger.warning("%r: a subscription is lost for good: %s", connection, failure)
            self._failure = failure
        finally:
            self._forget()
            self.topics = Topics()
            self._known.set()
            self._bell.ring()
            self.on_change()


class StandingTopics:
    """The resources that a connection wants to be told of until it ends, by one subscription at a time.

    When they change, a new subscription takes the place of the old one, which is given up once the new one is there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._uris: frozenset[str] = frozenset()
        self._listening: Listening | None = None
        self._changing = trio.Lock()

    async def add(self, uri: str) -> None:
        """Be told of one more. Raises as `Connection.call` does, and `RemoteProtocolError` if the server will not."""
        await self._change(lambda uris: uris | {uri})

    async def discard(self, uri: str) -> None:
        """No longer be told of one."""
        await self._change(lambda uris: uris - {uri})

    async def _change(self, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        async with self._changing:
            uris = change(self._uris)
            if uris == self._uris and (self._listening is None or not self._listening.failed):
                return
            before, after = self._listening, None
            if uris:
                after = Listening(self._connection, Topics(uris=uris), keeps=0)
                await after.__aenter__()
                if left_out := uris - after.topics.uris:
                    after.close()
                    raise RemoteProtocolError(f"the server does not tell of {min(left_out)!r}")
            self._listening, self._uris = after, uris
            if before is not None:
                before.close()
