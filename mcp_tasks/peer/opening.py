"""How a connection begins: with a handshake, or with the question what the server speaks.

A client that is not told asks first, since that is safe with every server: a modern one answers, an older one refuses
or stays silent, and is shaken hands with. What was found out is remembered for as long as the peer lives, per origin.

Spec: 2025-11-25 basic/lifecycle; 2026-07-28 server/discover and basic/versioning (C26-085 to C26-105, C26-134 to
C26-138, C26-209 to C26-211).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from .._unset import UNSET, JSONObject
from ..dialects.base import Open, Side, Terms
from ..dialects.select import DIALECTS, LATEST, LATEST_HANDSHAKE, accept, fallback, negotiate, offers
from ..errors import (
    ConnectionClosed,
    Forbidden,
    HttpError,
    InvalidRequest,
    InvalidShape,
    LocalProtocolError,
    MCPError,
    RemoteProtocolError,
    RequestFailed,
    Unauthorized,
)
from ..wire.capabilities import ClientCapabilities, InitializeParams, InitializeResult

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["answer_discovery", "answer_handshake", "open_connection"]

logger = logging.getLogger("mcp_tasks.peer")

_BUSY = frozenset({408, 425, 429, 502, 503, 504})  # HTTP statuses that say nothing about what is spoken
_MOST_VERDICTS = 1_000


async def open_connection(connection: Connection, revision: str | None) -> None:
    """As a client, find out what the server speaks, unless told, and begin in that.

    Raises `RequestFailed`, `RemoteProtocolError`, `ConnectionClosed`, and `LocalProtocolError` for a revision that is
    not spoken here.
    """
    if revision is not None:
        if revision not in DIALECTS:
            raise LocalProtocolError(f"{revision!r} is not spoken here: {', '.join(DIALECTS)}")
        await _begin(connection, revision)
        return
    verdicts, origin = connection.peer.verdicts, connection.transport.origin
    known = None if origin is None else verdicts.get(origin)
    if known is not None and not DIALECTS[known].stateless:
        try:
            await _begin(connection, known)
            return
        except (Unauthorized, Forbidden, LocalProtocolError):
            raise
        except MCPError as failure:
            if connection.closed:
                raise
            logger.info("%r is not what it was: %s", connection, failure)
    found, sure = await _probed(connection)
    if found is not None:
        try:
            await _begin(connection, found)
        except RequestFailed as refused:
            # It was only slow to answer, and now knows us as one that speaks the newest.
            if not offers(refused, LATEST.revision):
                raise
            await _discover(connection)
    if origin is not None and sure:
        if len(verdicts) >= _MOST_VERDICTS:
            del verdicts[next(iter(verdicts))]
        verdicts[origin] = connection.revision


async def _begin(connection: Connection, revision: str) -> None:
    if DIALECTS[revision].stateless:
        await _discover(connection)
    else:
        await _shake_hands(connection, revision)


async def _probed(connection: Connection) -> tuple[str | None, bool]:
    # The revision to shake hands in; None if the server has said what it speaks, and is being spoken to. And whether
    # that will be so the next time, too: a server may only have been slow, or out of order.
    try:
        with trio.fail_after(connection.limits.probe_seconds):
            try:
                await _discover(connection)
            except RequestFailed as refused:
                if not offers(refused, LATEST.revision):
                    raise
                await _discover(connection)  # it does speak that (C26-094)
    except trio.TooSlowError:
        logger.info("%r: no answer to what it speaks", connection)
        return LATEST_HANDSHAKE.revision, False
    except (Unauthorized, Forbidden, ConnectionClosed, LocalProtocolError):
        raise
    except _SpeaksOther as other:
        if other.older is None:
            raise  # whoever says what it speaks is no older server (C26-135)
        return other.older, True
    except RemoteProtocolError as failure:
        logger.info("%r: %s", connection, failure)
        return LATEST_HANDSHAKE.revision, True
    except MCPError as failure:
        status = failure.status if isinstance(failure, HttpError) else 200
        if status in _BUSY:
            raise
        revision = fallback(failure)
        if revision is None:
            raise
        logger.info("%r does not say what it speaks (%s): shaking hands", connection, failure)
        return revision, status < 500
    return None, True


class _SpeaksOther(RemoteProtocolError):
    # A server that says what it speaks, which is not what it was asked in; `older` of that begins with a handshake.
    def __init__(self, versions: Sequence[str]) -> None:
        super().__init__(f"the server speaks {', '.join(versions)}, and not {LATEST.revision}")
        self.older = next((one for one in DIALECTS if one in versions), None)


async def _discover(connection: Connection) -> None:
    dialect = LATEST
    connection.terms = Terms(dialect=dialect)
    connection.announce_ourselves()
    method, params = dialect.discover()
    # Not taken back when it is too slow: a server that does not know the question may not know that word either.
    result = await connection.caller.call(method, params, cancellable=False)
    try:
        versions, capabilities, info, instructions = dialect.lift_discovered(result)
    except InvalidShape as wrong:
        raise RemoteProtocolError(f"{method}: {wrong}") from None
    if dialect.revision not in versions:
        raise _SpeaksOther(versions)
    connection.terms = Terms(dialect=dialect, capabilities=capabilities, info=info)
    connection.instructions = instructions
    connection.ready()


async def _shake_hands(connection: Connection, revision: str) -> None:
    connection.terms = Terms(dialect=DIALECTS[revision])
    connection.announce_ourselves()
    ours = connection.capabilities
    assert isinstance(ours, ClientCapabilities)
    opening = InitializeParams(protocol_version=revision, capabilities=ours, client_info=connection.peer.info)
    result = await connection.caller.call("initialize", opening, cancellable=False)
    try:
        answer: InitializeResult = connection.dialect.lift_result("initialize", result)
    except InvalidShape as wrong:
        raise RemoteProtocolError(f"initialize: {wrong}") from None
    dialect = accept(answer.protocol_version)
    connection.terms = Terms(dialect=dialect, capabilities=answer.capabilities, info=answer.server_info)
    # What was announced stands, but the revision they chose may not have all of it.
    connection.task_methods &= dialect.announced_tasks(connection.offers(), connection.side)
    connection.instructions = None if answer.instructions is UNSET else answer.instructions
    connection.ready()
    await connection.notify("notifications/initialized")


def answer_handshake(connection: Connection, asked: Open) -> JSONObject:
    """As a server, answer the handshake. Raises `InvalidRequest` for a second one."""
    if connection.opened or connection.side is Side.CLIENT:
        raise InvalidRequest("initialize: the connection has been initialized")
    dialect = negotiate(asked.revision)
    connection.terms = Terms(dialect=dialect, capabilities=asked.capabilities, info=asked.info)
    connection.announce_ourselves()
    connection.opened = True
    connection.transport.speaks(dialect.revision)
    instructions = connection.peer.instructions
    return dialect.lower_result(
        "initialize",
        InitializeResult(
            protocol_version=dialect.revision,
            capabilities=connection.capabilities,  # type: ignore[arg-type]
            server_info=connection.peer.info,
            instructions=UNSET if instructions is None else instructions,
        ),
    )


def answer_discovery(connection: Connection, terms: Terms) -> JSONObject:
    """As a server, say what we speak and can do."""
    capabilities = terms.dialect.capabilities(connection.offers(), connection.side)
    return terms.dialect.lower_discovered(list(DIALECTS), capabilities, connection.peer.instructions)
