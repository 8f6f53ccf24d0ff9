"""A scripted other side: raw JSON on real frames, which may misbehave.

The script plays whoever the peer under test talks to. It speaks wire JSON, so that a test reads like a page of the
specification, and it can send anything at all: other ids, other types, half a line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, TypeVar

import trio
import trio.testing

from .._unset import JSON, UNSET, JSONObject, RequestId
from ..dialects.base import Side
from ..dialects.select import DIALECTS
from ..errors import ConnectionClosed, RequestFailed
from ..peer._wait import servants
from ..peer.connection import Connection
from ..peer.peer import Peer
from ..transports.lines import LineTransport
from ..transports.memory import MemoryPipe, MemoryReader
from ..wire.v2026_07_28 import CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION, SERVER_INFO, TASKS_EXTENSION
from ._faults import Fault, FaultyStream
from ._frames import Frame
from ._http_server_wire import HttpServerWire
from ._monitor import Monitor
from ._patterns import NothingCame, differences
from ._relayed import RelayedWire
from ._wires import LineWire, Wire

__all__ = ["Remote", "scripted"]

_PATIENCE_SECONDS = 365 * 86_400.0  # so that a test on a mock clock in which everybody waits fails instead of hanging

V = TypeVar("V")
Answer: TypeAlias = "JSONObject | Callable[[JSONObject], JSONObject | None] | None"


class Remote:
    """The scripted side of a connection to whatever is under test.

    Written for one connection; over HTTP that is one client or one server, however many exchanges it has.
    """

    def __init__(self, wire: Wire, nursery: trio.Nursery, *, patience: float = _PATIENCE_SECONDS) -> None:
        self.connection: Connection | None = None
        """The tested peer's own end, to call its verbs; None until it is there, or where it is not in this process."""
        self.wire = wire
        self.monitor: Monitor | None = None
        """What looks on, where something does."""
        self.received: list[JSONObject] = []
        """Every message that has come, in order."""
        self.stamp: JSONObject | None = None
        """What each request says of the script in its ``_meta``, where a revision wants that; a test may change it."""
        self.patience = patience
        """How many seconds something that is waited for may take to come."""
        self._unread: deque[JSONObject] = deque()
        self._answers: dict[RequestId, JSONObject] = {}
        self._frames: dict[int, Frame] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        self._ended: str | None = None
        self._next_id = 1
        self._automatic: dict[str, tuple[Answer, float]] = {}
        self._held: dict[str, list[JSONObject]] = {}
        self._nursery = nursery
        nursery.start_soon(self._read)

    @property
    def url(self) -> str:
        """Where a client finds the script, which is a server over HTTP. Raises AttributeError where it is none."""
        if isinstance(self.wire, HttpServerWire):
            return self.wire.url
        raise AttributeError("this script is no server over HTTP")

    @property
    def command(self) -> list[str]:
        """What a client has to start to talk to the script, which is a server over stdio."""
        if isinstance(self.wire, RelayedWire):
            return self.wire.command
        raise AttributeError("this script is no server over stdio")

    # --- sending --------------------------------------------------------------------------------------------------

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are; a line ends with a newline of yours. Raises `NothingCame` if nobody takes them."""
        with self._patient("somebody who takes what is sent"):
            await self.wire.send_raw(data)

    async def send(self, message: JSON) -> Frame:
        """Send any JSON value as a message. Raises `NothingCame` if nobody takes it."""
        with self._patient("somebody who takes what is sent"):
            frame = await self.wire.send(message)
        return frame  # noqa: RET504 - behind the block, which raises if it was not reached in time

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
        """End our sending; over a pipe, the peer under test may go on."""
        await (self.wire.end_sending() if isinstance(self.wire, LineWire) else self.wire.aclose())

    # --- receiving ------------------------------------------------------------------------------------------------

    async def quiet(self) -> None:
        """Wait until everything that can happen without time passing has happened."""
        await trio.testing.wait_all_tasks_blocked()

    async def response(self, id: RequestId) -> JSONObject:
        """Wait for the response to a request, and return all of it. Raises `ConnectionClosed`, `NothingCame`."""
        await self.until(lambda: id in self._answers, f"a response to {id!r}")
        return self._answers.pop(id)

    async def answer(self, id: RequestId) -> JSONObject:
        """Wait for the result of a request. Raises `RequestFailed` for an error, `ConnectionClosed`, `NothingCame`."""
        response = await self.response(id)
        if "error" in response:
            error = response["error"]
            raise RequestFailed(error["code"], error["message"], error.get("data", UNSET))
        return response["result"]  # type: ignore[no-any-return]

    def answered(self, id: RequestId) -> bool:
        """Whether the response to a request has come."""
        return id in self._answers

    async def expect(self, method: str, params: JSON = UNSET) -> JSONObject:
        """Wait for a request or notification of this method; earlier ones of others stay to be expected.

        With `params`, for one that has these among its own: objects are compared by the members given here, and a value
        may be a type, or a function that says whether it will do. Raises `ConnectionClosed`, and `NothingCame`, which
        says how what did come differs.
        """
        pattern = _message({"method": method}, params)
        del pattern["jsonrpc"]

        def matching() -> JSONObject | None:
            return next((one for one in self._unread if not differences(pattern, one)), None)

        found = await self.until(matching, f"a {method}", pattern)
        assert found is not None
        self._unread.remove(found)
        return found

    def unread(self, method: str | None = None) -> list[JSONObject]:
        """The requests, notifications and stray errors that have come and were not expected yet."""
        return [message for message in self._unread if method is None or message.get("method") == method]

    def frame_of(self, message: JSONObject) -> Frame:
        """The frame that a received message came in: by which channel, with which headers. Raises KeyError."""
        return self._frames[id(message)]

    def on(self, method: str, answer: Answer, *, delay: float = 0.0) -> None:
        """From now on answer requests of this method, and take notifications of it, without being told each time.

        `answer` is the result, or a function from the message to the result; None drops them. The answer comes after
        `delay` seconds of the test's clock. A `RequestFailed` that the function raises is answered as that error.
        """
        self._automatic[method] = answer, delay

    @contextmanager
    def holding(self, method: str) -> Iterator[list[JSONObject]]:
        """Keep what comes of this method until the block is over; only then is it answered or can be expected."""
        held = self._held.setdefault(method, [])
        try:
            yield held
        finally:
            del self._held[method]
            for message in held:
                self._take(message)

    async def until(self, condition: Callable[[], V], what: str, pattern: JSONObject | None = None) -> V:
        """Wait until a condition is true of what has come, and return what it is.

        Raises `ConnectionClosed` where nothing more can come, and `NothingCame` where nothing has for `patience`.
        """
        while not (found := condition()):
            if self._ended is not None:
                raise ConnectionClosed(f"waiting for {what}: {self._ended}")
            with trio.move_on_after(self.patience) as waited:
                await self._arrived.park()
            if waited.cancelled_caught:
                raise NothingCame(what, pattern, list(self._unread))
        return found

    async def ended(self) -> None:
        """Wait until the peer under test has closed its end. Raises `NothingCame` if it does not."""
        with self._patient("the end of the connection"):
            while self._ended is None:
                await self._arrived.park()

    @contextmanager
    def _patient(self, what: str) -> Iterator[None]:
        with trio.move_on_after(self.patience) as waited:
            yield
        if waited.cancelled_caught:
            raise NothingCame(what, None, list(self._unread))

    async def _read(self) -> None:
        try:
            while True:
                frame = await self.wire.receive()
                if isinstance(frame.message, dict):
                    self.received.append(frame.message)
                    self._frames[id(frame.message)] = frame
                    self._take(frame.message)
                self._arrived.unpark_all()
        except ConnectionClosed as closed:
            self._ended = str(closed)
            self._arrived.unpark_all()

    def _take(self, message: JSONObject) -> None:
        frame = self._frames[id(message)]
        method = frame.method  # None where that is no string
        if "method" not in message and frame.id is not None:
            self._answers[frame.id] = message
        elif method is not None and method in self._held:
            self._held[method].append(message)
        elif method is not None and method in self._automatic:
            self._nursery.start_soon(self._behave, message, *self._automatic[method])
        else:
            self._unread.append(message)
        self._arrived.unpark_all()

    async def _behave(self, request: JSONObject, answer: Answer, delay: float) -> None:
        if delay:
            await trio.sleep(delay)
        try:
            result = answer(request) if callable(answer) else answer
            if result is not None and "id" in request:
                await self.reply(request, result)
        except RequestFailed as failed:
            await self.refuse(request, failed.code, failed.message, failed.data)
        except ConnectionClosed:
            pass  # whoever asked has left


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
    fault: Fault | None = None,
) -> AsyncIterator[Remote]:
    """Put `peer` to the test as `side`, with a script at the other end.

    The script shakes hands first, with these capabilities of its own (None: all that revision has), unless it is
    told not to; where there is no handshake it says them in each request, or when it is asked. `principal` is whom
    the peer takes the script to be, and `identified` whether a server can tell by that one client from another.
    `tap` sees the bytes of both directions, `fault` happens to those that the script sends once it has shaken
    hands. The connection ends with the block, whose exception leaves as it is.
    """
    there, back = MemoryPipe(tap=tap), MemoryPipe(tap=tap)
    transport = LineTransport(back, MemoryReader(there), limits=peer.limits)
    async with servants() as nursery:
        sending = there if fault is None else FaultyStream(there, fault, healthy=True)
        wire = LineWire(side.other, sending, MemoryReader(back), nursery)
        remote = Remote(wire, nursery)
        if side is Side.SERVER:
            remote.connection = await nursery.start(_served, peer, transport, principal, identified)
            if DIALECTS[revision].stateless:
                remote.stamp = stamp_of(revision, capabilities)
            elif handshake:
                await remote.request("initialize", opening(revision, capabilities))
                await remote.notify("notifications/initialized")
                await remote.connection.wait_ready()
            wire.start_faults()
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
            wire.start_faults()
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
    method = "server/discover" if DIALECTS[revision].stateless else "initialize"
    await remote.reply(await remote.expect(method), greeting(revision, capabilities))


def greet(remote: Remote, revision: str, capabilities: JSONObject | None) -> None:
    """Have a script that is a server answer the handshake of this revision, or the question what it speaks."""
    method = "server/discover" if DIALECTS[revision].stateless else "initialize"
    other = "initialize" if DIALECTS[revision].stateless else "server/discover"
    remote.on(method, greeting(revision, capabilities))

    def refuse(request: JSONObject) -> None:
        raise RequestFailed(-32601, f"Method not found: {other}")

    remote.on(other, refuse)


def greeting(revision: str, capabilities: JSONObject | None) -> JSONObject:
    """What a server answers to the handshake, or to the question what it speaks."""
    info = {"name": "script", "version": "0"}
    if not DIALECTS[revision].stateless:
        announced = ALL_SERVER_CAPABILITIES if capabilities is None else capabilities
        return {"protocolVersion": revision, "capabilities": announced, "serverInfo": info}
    return {
        "resultType": "complete",
        "supportedVersions": [revision],
        "capabilities": ALL_STATELESS_SERVER_CAPABILITIES if capabilities is None else capabilities,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {SERVER_INFO: info},
    }


def stamp_of(revision: str, capabilities: JSONObject | None) -> JSONObject:
    """What a client says of itself in each request where there is no handshake."""
    return {
        PROTOCOL_VERSION: revision,
        CLIENT_CAPABILITIES: (ALL_STATELESS_CLIENT_CAPABILITIES if capabilities is None else capabilities),
        CLIENT_INFO: {"name": "script", "version": "0"},
    }


def opening(revision: str, capabilities: JSONObject | None) -> JSONObject:
    """The params of ``initialize``."""
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
    "extensions": {TASKS_EXTENSION: {}},
}
"""Everything a client of revision 2026-07-28 can declare, the tasks extension included."""

ALL_STATELESS_SERVER_CAPABILITIES: JSONObject = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True},
    "completions": {},
    "logging": {},
    "extensions": {TASKS_EXTENSION: {}},
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
