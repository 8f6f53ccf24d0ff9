"""Recording over stdio: we stand in for the server, start the real one, and pass on every byte as it comes.

Bytes are passed on before anybody looks at them, so that what is recorded is what went by, and a client waits no longer
than one copy of its line takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trio

from ..dialects.base import Side
from ..framing.lines import LineDecoder, Oversized
from ..testing import Frame
from ..testing._wires import read_json
from ..transports.descriptors import open_reader, open_writer
from ..transports.processes import open_process

__all__ = ["record_stdio"]

_CHUNK = 64 * 1024
_LINE_BYTES = 256 * 1024 * 1024


async def record_stdio(
    command: Sequence[str],
    tell: Callable[[Frame], None],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = 0,
    stdout: int = 1,
) -> int:
    """Be the server on our own standard streams by way of `command`; returns its exit status.

    `tell` is called with every frame of either direction, after it was passed on. The command's stderr is ours. It ends
    when the client closes our stdin and the command has ended, or when the command ends by itself.
    """
    began = trio.current_time()
    async with open_process(command, env=env, inherit_env=None, stderr="forward") as process:
        reader, writer = open_reader(stdin), open_writer(stdout)
        try:
            async with trio.open_nursery() as nursery:

                async def to_server() -> None:
                    await _carry(reader, process._send_stream, _Recorder(Side.CLIENT, tell, began))
                    await process._send_stream.aclose()

                nursery.start_soon(to_server)
                await _carry(process._receive_stream, writer, _Recorder(Side.SERVER, tell, began))
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await reader.aclose()
                await writer.aclose()
        await process.aclose()
        return process.returncode or 0


class _Recorder:
    """Makes frames of the bytes of one direction."""

    def __init__(self, sender: Side, tell: Callable[[Frame], None], began: float) -> None:
        self._sender = sender
        self._tell = tell
        self._began = began
        self._lines = LineDecoder(_LINE_BYTES)

    def feed(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if isinstance(line, Oversized):
                frame = Frame(self._sender, event=f"a line of more than {line.limit} bytes")
            else:
                message = read_json(line)
                frame = (
                    Frame(self._sender, message) if isinstance(message, (dict, list)) else Frame(self._sender, raw=line)
                )
            self._say(frame)

    def end(self) -> None:
        rest = self._lines.end()
        self._say(Frame(self._sender, event="ended" if rest is None else f"ended {rest.size} bytes into a line"))

    def _say(self, frame: Frame) -> None:
        frame.at = trio.current_time() - self._began
        self._tell(frame)


async def _carry(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, recorder: _Recorder) -> None:
    try:
        while data := await source.receive_some(_CHUNK):
            await target.send_all(data)
            recorder.feed(bytes(data))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    recorder.end()
