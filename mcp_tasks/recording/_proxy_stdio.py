"""Recording over stdio: we stand in for the server, start the real one, and pass on every byte as it comes.

Bytes are passed on before anybody looks at them, so that what is recorded is what went by, and a client waits no longer
than one copy of its line takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from ..dialects.base import Side
from ..framing.lines import LineDecoder, Oversized
from ..peer._wait import servants
from ..testing import Frame
from ..testing._wires import read_json
from ..transports.descriptors import open_reader, open_writer
from ..transports.processes import open_process

__all__ = ["record_stdio", "safely"]

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_LINE_BYTES = 256 * 1024 * 1024
_SILENCE_SECONDS = 10.0
"""How long a server may say nothing after the client has left, before it is ended."""


async def record_stdio(
    command: Sequence[str],
    tell: Callable[[Frame], None],
    *,
    env: Mapping[str, str] | None = None,
    stdin: int = 0,
    stdout: int = 1,
) -> int:
    """Be the server on our own standard streams by way of `command`; returns its exit status.

    `tell` is called with every frame of either direction, after it was passed on; what it raises is logged and changes
    nothing. The command's stderr is ours. It ends when the command does, or when the client has closed our stdin and
    the command says nothing for a while, or when it is cancelled; the command is ended if it has not. The status is
    then 128 and the number of the signal, as a shell has it.

    Raises OSError if the command cannot be started.
    """
    began = trio.current_time()
    async with open_process(command, env=env, inherit_env=None, stderr="forward") as process:
        reader, writer = open_reader(stdin), open_writer(stdout)
        their_stdin, their_stdout = process.streams
        patience = trio.CancelScope()
        left = False

        async def to_server() -> None:
            nonlocal left
            left = await _carry(reader, their_stdin, _Recorder(Side.CLIENT, tell, began), lambda: None)
            await their_stdin.aclose()
            wait_on()

        def wait_on() -> None:
            if left:
                patience.deadline = trio.current_time() + _SILENCE_SECONDS

        try:
            async with servants() as nursery:
                nursery.start_soon(to_server)
                with patience:
                    await _carry(their_stdout, writer, _Recorder(Side.SERVER, tell, began), wait_on)
        finally:
            with trio.CancelScope(shield=True):
                await reader.aclose()
                await writer.aclose()
        await process.aclose()
        code = process.returncode or 0
        return 128 - code if code < 0 else code


def safely(tell: Callable[[Frame], None], frame: Frame) -> None:
    """Tell of a frame; what that raises is nothing to the connection that the frame went by on."""
    try:
        tell(frame)
    except Exception:
        logger.exception("a frame could not be told of")


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
        safely(self._tell, frame)


async def _carry(
    source: trio.abc.ReceiveStream, target: trio.abc.SendStream, recorder: _Recorder, passed: Callable[[], None]
) -> bool:
    """Pass on what comes until either stream ends, calling `passed` each time; returns whether it was the source."""
    ended = False
    try:
        while data := await source.receive_some(_CHUNK):
            await target.send_all(data)
            recorder.feed(bytes(data))
            passed()
        ended = True
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    recorder.end()
    return ended
