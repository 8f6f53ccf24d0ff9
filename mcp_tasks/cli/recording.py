"""`mcp-tasks record`, `replay` and `shrink`: transcripts of real connections on the command line.

Over standard streams stdout belongs to the protocol, so all that is said to people goes to stderr.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import trio
from attrs import evolve

from ..errors import MCPError
from ..peer._wait import servants
from ..recording import (
    Difference,
    Redaction,
    Transcript,
    TranscriptWriter,
    load_transcript,
    record_http,
    record_stdio,
    replay,
    shrink,
)
from ..testing import (
    Frame,
    HttpClientWire,
    LineWire,
    Monitor,
    Side,
    Violation,
    Wire,
    open_http_server_wire,
    open_program,
)
from ..transports.descriptors import open_reader, open_writer
from .exits import Exit, Trouble, reported
from .servers import ServerCommand, find_server
from .serving import parse_address

__all__ = ["record", "replay_file", "shrink_file"]


def _run(name: str, main: Callable[[], Awaitable[int]], *, debug: bool) -> int:
    return reported(name, partial(trio.run, main), debug=debug)


def redaction(expressions: Sequence[str], keep: bool) -> Redaction:
    """What to leave out of a transcript. Raises `Trouble` for what is no regular expression."""
    try:
        more = [re.compile(expression) for expression in expressions]
    except re.error as error:
        raise Trouble(f"--redact {error.pattern!r}: {error}", Exit.USAGE) from None
    return evolve(Redaction(more), names=not keep, values=not keep)


# --- record -----------------------------------------------------------------------------------------------------------


def record(
    out: Path,
    *,
    command: str | None,
    url: str | None,
    listen: str,
    rules: Redaction,
    monitor: bool,
    debug: bool,
) -> int:
    """Stand between a client and a server and write down what goes by; returns the exit code.

    With `command`, on our standard streams, until the client leaves; the code is the command's. With `url`, over HTTP
    at `listen`. Until a signal in both cases: then the command is ended, and the code is 128 and the signal's number.
    What the file or the monitor cannot take ends no connection; it is said at the end.
    """
    if (command is None) == (url is None):
        raise Trouble("record: say whom: -- COMMAND..., or --url URL", Exit.USAGE)

    async def main() -> int:
        with out.open("w", encoding="utf-8") as file:
            onlooker = _Onlooker(TranscriptWriter(file, "stdio" if url is None else "http", rules), rules, monitor)
            if url is None:
                code = await _until_signal(partial(record_stdio, shlex.split(command or ""), onlooker.tell))
            else:
                code = await _record_http(url, onlooker.tell, listen)
            return onlooker.report() or code

    return _run("record", main, debug=debug)


class _Onlooker:
    """Where frames go: into the file, and before the eyes of a monitor."""

    def __init__(self, writer: TranscriptWriter, rules: Redaction, monitor: bool) -> None:
        self._rules = rules
        self._monitor = Monitor()
        self._places = {"transcript": writer.write, **({"monitor": self._monitor.see} if monitor else {})}
        self._failures: dict[str, list[Exception]] = {}

    def tell(self, frame: Frame) -> None:
        """Take a frame. Raises nothing."""
        for name, place in self._places.items():
            try:
                place(frame)
            except Exception as error:
                self._failures.setdefault(name, []).append(error)

    def report(self) -> int:
        """Say what was broken, and what was missed; returns a code if frames were."""
        for violation in self._monitor.violations:
            print(f"mcp-tasks record: {violation.blamed.value}: {self._shown(violation)}", file=sys.stderr)
        for name, errors in self._failures.items():
            why = f"{type(errors[0]).__name__}: {self._rules.text(str(errors[0]))}"
            print(f"mcp-tasks record: the {name} misses {len(errors)} frames: {why}", file=sys.stderr)
        return Exit.FAILED if self._failures else Exit.OK

    def _shown(self, violation: Violation) -> str:
        try:
            frame = self._rules.frame(violation.frame)
            return str(evolve(violation, expected=self._rules.text(violation.expected), frame=frame))
        except RecursionError:
            return violation.id


async def _until_signal(job: Callable[[], Awaitable[int]]) -> int:
    code = 0

    async def stop_on_signal() -> None:
        nonlocal code
        async for number in signals:
            code = 128 + number
            scope.cancel()

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, trio.CancelScope() as scope:
        async with servants() as nursery:
            nursery.start_soon(stop_on_signal)
            return await job()
    return code


async def _record_http(url: str, tell: Callable[[Frame], None], listen: str) -> int:
    host, port = parse_address(listen)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with servants() as nursery:
            try:
                bound = await nursery.start(partial(record_http, url, tell, host=host, port=port))
            except ValueError as error:
                raise Trouble(str(error), Exit.USAGE) from None
            except OSError as error:
                raise Trouble(f"cannot listen at {listen}: {error.strerror or error}", Exit.USAGE) from None
            where = urlsplit(url)
            server = f"{where.scheme}://{where.netloc.rpartition('@')[2]}{where.path}"  # without what may be secret
            print(f"mcp-tasks: {server} is recorded at {bound}", file=sys.stderr, flush=True)
            async for _ in signals:
                break
    return Exit.OK


# --- replay -----------------------------------------------------------------------------------------------------------


def replay_file(
    file: Path,
    *,
    side: Literal["server", "client"],
    server: str | None,
    http: str | None,
    config: Path | None,
    patience: float,
    ignore: Sequence[str],
    debug: bool,
) -> int:
    """Be one side of a transcript again; returns 0 if the other side did what it had done, 1 if not."""
    if side == "client" and server is None:
        raise Trouble("replay: say against which server: SERVER, or -- COMMAND...", Exit.USAGE)
    if side == "server" and server is not None:
        raise Trouble("replay: as a server we start nobody: the client starts us, or finds us at --http", Exit.USAGE)

    async def main() -> int:
        transcript = load_transcript(file)
        async with servants() as nursery, _wire(side, server, http, config, nursery) as wire:
            found = await replay(transcript, wire, patience=patience, ignored=ignore)
        for difference in found.differences:
            print(_shown(difference), file=sys.stderr)
        verdict = "as it was" if found.same else f"{len(found.differences)} differences"
        print(f"mcp-tasks replay: {found.sent} sent, {found.matched} came, {verdict}", file=sys.stderr)
        return Exit.OK if found.same else Exit.FAILED

    return _run("replay", main, debug=debug)


def _shown(difference: Difference) -> str:
    return f"mcp-tasks replay: {difference}"


@asynccontextmanager
async def _wire(
    side: str, server: str | None, http: str | None, config: Path | None, nursery: trio.Nursery
) -> AsyncIterator[Wire]:
    if side == "client":
        assert server is not None
        found = find_server(server, config)
        if isinstance(found, ServerCommand):
            async with open_program(found.command, nursery, env=found.env) as (wire, _):
                yield wire
        else:
            client = HttpClientWire(found.url, nursery, headers=found.headers)
            yield client
            await client.aclose()
    elif http is not None:
        host, port = parse_address(http)
        async with open_http_server_wire(nursery, host=host, port=port) as served:
            print(f"mcp-tasks: the transcript is served at {served.url}", file=sys.stderr, flush=True)
            yield served
    else:
        line = LineWire(Side.SERVER, open_writer(1), open_reader(0), nursery)
        yield line
        await line.aclose()


# --- shrink -----------------------------------------------------------------------------------------------------------


def shrink_file(file: Path, out: Path, *, violation: str | None, test: str | None, tries: int, debug: bool) -> int:
    """Write the shortest transcript that still shows a failure; returns the exit code.

    A failure is that a monitor sees the requirement `violation` broken in it, or that the command `test`, given a file
    with the candidate as its last argument, does not end with 0.
    """
    if (violation is None) == (test is None):
        raise Trouble("shrink: say what the failure is: --violation ID, or --test COMMAND", Exit.USAGE)

    async def main() -> int:
        with tempfile.TemporaryDirectory() as folder:
            fails = _violates(violation) if violation is not None else _fails(test or "", Path(folder))
            try:
                found = await shrink(transcript, fails, tries=tries)
            except ValueError as error:
                raise Trouble(f"{file}: {error}", Exit.FAILED) from None
        shorter.append(found)
        return Exit.OK

    shorter: list[Transcript] = []
    try:
        transcript = load_transcript(file)
    except (MCPError, OSError) as error:
        raise Trouble(str(error), Exit.USAGE) from None
    code = _run("shrink", main, debug=debug)
    for found in shorter:
        out.write_text(found.text(), encoding="utf-8")
        before, after = len(transcript.messages()), len(found.messages())
        print(f"mcp-tasks shrink: {before} messages became {after}", file=sys.stderr)
    return code


def _violates(id: str) -> Callable[[Transcript], Awaitable[bool]]:
    async def fails(candidate: Transcript) -> bool:
        monitor = Monitor()
        for frame in candidate.frames:
            monitor.see(frame)
        await trio.lowlevel.checkpoint()
        return any(violation.id == id for violation in monitor.violations)

    return fails


def _fails(command: str, folder: Path) -> Callable[[Transcript], Awaitable[bool]]:
    async def fails(candidate: Transcript) -> bool:
        path = folder / "candidate.jsonl"
        path.write_text(candidate.text(), encoding="utf-8")
        words = [*shlex.split(command), str(path)]
        done = await trio.run_process(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return done.returncode != 0

    return fails
