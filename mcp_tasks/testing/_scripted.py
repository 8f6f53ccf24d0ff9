"""A scripted other side: raw JSON on real frames, which may misbehave.

The script plays whoever the peer under test talks to. It speaks wire JSON, so that a test reads like a page of the
specification, and it can send anything at all: other ids, other types, half a line.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from .._unset import JSON, UNSET, JSONObject, RequestId
from ..dialects.base import Side
from ..dialects.select import DIALECTS
from ..errors import ConnectionClosed, RequestFailed
from ..framing.lines import LineDecoder, Oversized
from ..peer._wait import servants
from ..peer.connection import Connection
from ..peer.peer import Peer
from ..transports.lines import LineTransport
from ..transports.memory import MemoryPipe, MemoryReader

__all__ = ["Remote", "scripted"]

_LINE_BYTES = 256 * 1024 * 1024
_PATIENCE_SECONDS = 365 * 86_400.0  # so that a test on a mock clock in which everybody waits fails instead of hanging


class Remote:
    """The scripted side of a connection to the peer under test."""

    def __init__(self, send: MemoryPipe, receive: MemoryPipe, nursery: trio.Nursery) -> None:
        self.connection: Connection | None = None
        """The tested peer's own end, to call its verbs; None until it is there."""
        self.received: list[JSONObject] = []
        """Every message that has come, in order."""
        self.stamp: JSONObject | None = None
        """What each request says of the script in its ``_meta``, where a revision wants that; a test may change it."""
        self._send = send
        self._reading = receive
        self._lines = LineDecoder(_LINE_BYTES)
        self._unread: deque[JSONObject] = deque()
        self._answers: dict[RequestId, JSONObject] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        self._ended = False
        self._next_id = 1
        nursery.start_soon(self._read)

    # --- sending --------------------------------------------------------------------------------------------------

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are; a line ends with a newline of yours."""
        await self._send.send_all(data)

    async def send(self, message: JSON) -> None:
        """Send any JSON value as one line."""
        await self.send_raw(json.dumps(message).encode() + b"\n")

    async def notify(self, method: str, params: JSON = UNSET) -> None:
        """Send a notification."""
        await self.send(_message({"method": method}, params))

    async def ask(self, method: str, params: JSON = UNSET, *, id: JSON = None) -> RequestId:
        """Send a request without waiting for its answer; returns its id.

        It gets the members of `stamp` that its ``_meta`` does not have; send raw messages to have it otherwise.
        """
        if self.stamp is not None:
            given = {} if params is UNSET else params
            params = {**given, "_meta": {**self.stamp, **given.get("_meta", {})}}
        if id is None:
            id = f"r{self._next_id}"
            self._next_id += 1
        await self.send(_message({"id": id, "method": method}, params))
        return id  # type: ignore[no-any-return]

    async def request(self, method: str, params: JSON = UNSET, *, id: JSON = None) -> JSONObject:
        """Send a request and wait for its result. Raises `RequestFailed` for an error."""
        return await self.answer(await self.ask(method, params, id=id))

    async def reply(self, request: JSONObject, result: JSONObject) -> None:
        """Answer a request of the peer under test."""
        await self.send({"jsonrpc": "2.0", "id": request["id"], "result": result})

    async def refuse(self, request: JSONObject, code: int, message: str, data: JSON = UNSET) -> None:
        """Answer a request of the peer under test with an error."""
        error = {"code": code, "message": message} | ({} if data is UNSET else {"data": data})
        await self.send({"jsonrpc": "2.0", "id": request["id"], "error": error})

    async def close(self) -> None:
        """End our sending; the peer under test may go on."""
        await self._send.aclose()

    # --- receiving ------------------------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Wait until everything that can happen without time passing has happened."""
        await trio.testing.wait_all_tasks_blocked()

    async def response(self, id: RequestId) -> JSONObject:
        """Wait for the response to a request, and return all of it. Raises `ConnectionClosed`."""
        while id not in self._answers:
            await self._arrival()
        return self._answers.pop(id)

    async def answer(self, id: RequestId) -> JSONObject:
        """Wait for the result of a request. Raises `RequestFailed` for an error, `ConnectionClosed`."""
        response = await self.response(id)
        if "error" in response:
            error = response["error"]
            raise RequestFailed(error["code"], error["message"], error.get("data", UNSET))
        return response["result"]  # type: ignore[no-any-return]

    def answered(self, id: RequestId) -> bool:
        """Whether the response to a request has come."""
        return id in self._answers

    async def expect(self, method: str) -> JSONObject:
        """Wait for a request or notification of this method; earlier ones of others stay to be expected."""
        while True:
            for message in self._unread:
                if message.get("method") == method:
                    self._unread.remove(message)
                    return message
            await self._arrival()

    def unread(self, method: str | None = None) -> list[JSONObject]:
        """The requests, notifications and stray errors that have come and were not expected yet."""
        return [message for message in self._unread if method is None or message.get("method") == method]

    async def ended(self) -> None:
        """Wait until the peer under test has closed its end."""
        while not self._ended:
            await self._arrived.park()

    async def _arrival(self) -> None:
        if self._ended:
            raise ConnectionClosed("the peer under test has closed its end")
        with trio.move_on_after(_PATIENCE_SECONDS) as waited:
            await self._arrived.park()
        if waited.cancelled_caught:
            raise trio.TooSlowError("nothing has come for a year of the test's clock")

    async def _read(self) -> None:
        while data := await self._reading.receive_some():
            for line in self._lines.feed(data):
                assert not isinstance(line, Oversized)
                message = json.loads(line)
                self.received.append(message)
                if "method" not in message and message.get("id") is not None:
                    self._answers[message["id"]] = message
                else:
                    self._unread.append(message)
                self._arrived.unpark_all()
        self._ended = True
        self._arrived.unpark_all()


def _message(members: JSONObject, params: JSON) -> JSONObject:
    return {"jsonrpc": "2.0", **members} | ({} if params is UNSET else {"params": params})


@asynccontextmanager
async def scripted(
    peer: Peer,
    *,
    side: Side = Side.SERVER,
    revision: str = "2025-11-25",
    capabilities: JSONObject | None = None,
    handshake: bool = True,
    principal: str | None = None,
    identified: bool = True,
    tap: Callable[[bytes], list[bytes]] | None = None,
) -> AsyncIterator[Remote]:
    """Put `peer` to the test as `side`, with a script at the other end.

    The script shakes hands first, with these capabilities of its own (None: all that revision has), unless it is told
    not to; where there is no handshake it says them in each request, or when it is asked. `principal` is whom the peer
    takes the script to be, and `identified` whether a server can tell by that one client from another. The connection
    ends with the block, whose exception leaves as it is.
    """
    there, back = MemoryPipe(tap=tap), MemoryPipe(tap=tap)
    transport = LineTransport(back, MemoryReader(there), limits=peer.limits)
    async with servants() as nursery:
        remote = Remote(there, back, nursery)
        if side is Side.SERVER:
            remote.connection = await nursery.start(_served, peer, transport, principal, identified)
            if DIALECTS[revision].stateless:
                remote.stamp = _stamp(revision, capabilities)
            elif handshake:
                await remote.request("initialize", _opening(revision, capabilities))
                await remote.notify("notifications/initialized")
                await remote.connection.wait_ready()
            yield remote
        else:
            finished = trio.Event()
            opened: Connection | None
            if handshake:
                connecting = _connecting(peer, transport, revision, principal, finished)
                nursery.start_soon(_shake, remote, revision, capabilities)
                opened = await nursery.start(connecting)
                if not DIALECTS[revision].stateless:
                    await remote.expect("notifications/initialized")
                remote.connection = opened
            else:
                nursery.start_soon(_quietly, _connecting(peer, transport, revision, principal, finished))
            yield remote
            finished.set()
        await there.aclose()


async def _served(
    peer: Peer,
    transport: LineTransport,
    principal: str | None,
    identified: bool,
    *,
    task_status: trio.TaskStatus[Connection],
) -> None:
    await peer.serve(transport, principal=principal, identified=identified, task_status=task_status)


def _connecting(
    peer: Peer, transport: LineTransport, revision: str, principal: str | None, finished: trio.Event
) -> Callable[..., Any]:
    """The client end as something to start in a nursery."""

    async def connected(*, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED) -> None:
        async with peer.connect(transport, revision=revision, principal=principal) as connection:
            task_status.started(connection)
            await finished.wait()

    return connected


async def _quietly(connected: Callable[..., Any]) -> None:
    try:
        await connected()
    except (ConnectionClosed, RequestFailed):
        pass


async def _shake(remote: Remote, revision: str, capabilities: JSONObject | None) -> None:
    if DIALECTS[revision].stateless:
        discovered = {
            "resultType": "complete",
            "supportedVersions": [revision],
            "capabilities": ALL_STATELESS_SERVER_CAPABILITIES if capabilities is None else capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "script", "version": "0"}},
        }
        await remote.reply(await remote.expect("server/discover"), discovered)
        return
    opening = await remote.expect("initialize")
    await remote.reply(
        opening,
        {
            "protocolVersion": revision,
            "capabilities": ALL_SERVER_CAPABILITIES if capabilities is None else capabilities,
            "serverInfo": {"name": "script", "version": "0"},
        },
    )


def _stamp(revision: str, capabilities: JSONObject | None) -> JSONObject:
    return {
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientCapabilities": (
            ALL_STATELESS_CLIENT_CAPABILITIES if capabilities is None else capabilities
        ),
        "io.modelcontextprotocol/clientInfo": {"name": "script", "version": "0"},
    }


def _opening(revision: str, capabilities: JSONObject | None) -> JSONObject:
    return {
        "protocolVersion": revision,
        "capabilities": ALL_CLIENT_CAPABILITIES if capabilities is None else capabilities,
        "clientInfo": {"name": "script", "version": "0"},
    }


ALL_CLIENT_CAPABILITIES: JSONObject = {
    "roots": {"listChanged": True},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "tasks": {
        "list": {},
        "cancel": {},
        "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
    },
}
"""Everything a client of revision 2025-11-25 can announce."""

ALL_STATELESS_CLIENT_CAPABILITIES: JSONObject = {
    "roots": {},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "extensions": {"io.modelcontextprotocol/tasks": {}},
}
"""Everything a client of revision 2026-07-28 can declare, the tasks extension included."""

ALL_STATELESS_SERVER_CAPABILITIES: JSONObject = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "extensions": {"io.modelcontextprotocol/tasks": {}},
}
"""Everything a server of revision 2026-07-28 can announce, the tasks extension included."""

ALL_SERVER_CAPABILITIES: JSONObject = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
}
"""Everything a server of revision 2025-11-25 can announce."""
