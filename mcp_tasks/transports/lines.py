"""Messages as lines over any pair of byte streams: pipes, sockets, or memory.

Everything the stdio transport promises about lines is here; what is particular to processes is not. Outgoing messages
are encoded straight into one buffer, and a flush writes whatever has gathered there at once, so that many messages cost
one system call. Incoming bytes are cut into lines and decoded as they come; a line that is no message is handed on as
`Malformed`, and the next one is as good as any.

Spec: basic/transports "stdio".
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from .._unset import RequestId
from ..abc import Inbound, Transport
from ..codec.messages import PARSE_ERROR, MessageCodec
from ..errors import ConnectionClosed
from ..framing.lines import LineDecoder, Oversized, Truncated
from ..limits import Limits
from ..wire.jsonrpc import ErrorObject, Malformed, Message

__all__ = ["LineTransport"]

_CHUNK = 256 * 1024


class LineTransport(Transport):
    """A transport over `send_stream` and `receive_stream`, which it owns and closes."""

    def __init__(
        self,
        send_stream: trio.abc.SendStream,
        receive_stream: trio.abc.ReceiveStream,
        *,
        limits: Limits | None = None,
    ) -> None:
        limits = Limits() if limits is None else limits
        self._send_stream = send_stream
        self._receive_stream = receive_stream
        self._codec = MessageCodec(json_depth=limits.json_depth)
        self._lines = LineDecoder(limits.message_bytes)
        self._queued = bytearray()
        self._writing = 0
        self._torn = False
        self._over = False

    async def receive(self) -> Sequence[Inbound]:
        while True:
            try:
                data = await self._receive_stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosed(f"the stream is broken: {error}") from None
            if not data:
                return self._ended()
            if frames := self._lines.feed(bytes(data)):
                decode = self._codec.decode
                return [decode(frame) if isinstance(frame, bytes) else _malformed(frame) for frame in frames]

    def _ended(self) -> Sequence[Inbound]:
        # A line without an end was no message, and may have been cut: it is not acted on.
        rest = None if self._over else self._lines.end()
        self._over = True
        if rest is None:
            raise ConnectionClosed("the other side has closed the stream")
        return [_malformed(rest)]

    def send(self, message: Message, *, related_to: RequestId | None = None) -> None:
        self._codec.encode_into(message, self._queued)
        self._queued += b"\n"

    async def flush(self) -> None:
        if self._writing:
            raise trio.BusyResourceError("another task is flushing")
        if self._queued:
            if self._torn:
                # A message was cut off within: whatever followed would be read as its rest.
                self._queued.clear()
                raise ConnectionClosed("writing was given up in the middle of a message")
            data, self._queued = self._queued, bytearray()
            self._writing = len(data)
            self._torn = True
            try:
                await self._send_stream.send_all(data)
                self._torn = False
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosed(f"the stream is broken: {error}") from None
            finally:
                self._writing = 0

    def try_flush(self) -> bool:
        write = getattr(self._send_stream, "write_nowait", None)
        if write is None or self._writing or self._torn:
            return False
        try:
            written = write(self._queued)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return False  # the next flush says so
        del self._queued[:written]
        return not self._queued

    @property
    def backlog(self) -> int:
        return self._writing + len(self._queued)

    async def aclose(self) -> None:
        try:
            await self._send_stream.aclose()
        finally:
            await self._receive_stream.aclose()


def _malformed(frame: Oversized | Truncated) -> Malformed:
    if isinstance(frame, Oversized):
        return Malformed(ErrorObject(PARSE_ERROR, f"Parse error: a message of more than {frame.limit} bytes"))
    return Malformed(ErrorObject(PARSE_ERROR, f"Parse error: the stream ended {frame.size} bytes into a message"))
