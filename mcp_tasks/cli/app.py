"""The commands as they are typed: names, options, help. What they do is in the modules beside this one."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from attrs import frozen
from cyclopts import App, CycloptsError, Parameter

from .._version import __version__
from ..errors import StoreFailed, StoreUnusable
from . import calls
from .bridging import serve_bridge
from .calls import Session
from .demo import demo as run_demo
from .display import open_display
from .exits import Exit, Trouble, trouble
from .following import load_saved
from .judging import conformance
from .running import Command, Interrupts, run_command
from .serving import DRAIN_SECONDS
from .serving import serve as run_server
from .serving import work as run_worker

__all__ = ["app", "run"]

_WITH_COMMAND = ("record", "replay", "conformance")
_EPILOGUE = """\
SERVER is a command line ("python server.py"), a URL ("https://example.org/mcp"), or a name from an mcpServers JSON \
file. A command of several words may also stand at the end, after --.

Exit codes: 0 ok; 1 the tool or task failed; 2 wrong usage; 3 no connection, or the server broke the protocol; \
4 timed out; 5 the task was cancelled; 6 detached; 130 interrupted.
"""

app = App(
    name="mcp-tasks",
    version=__version__,
    help="Talk to Model Context Protocol servers, with tasks in both directions.",
    help_epilogue=_EPILOGUE,
    default_parameter=Parameter(negative=()),
)
tasks = App(name="tasks", help="Look after the tasks of a server that keeps them (many end with the connection).")
app.command(tasks)
app.command(conformance)


@Parameter(name="*")
@frozen(kw_only=True)
class Common:
    """Options of every command that talks to a server.

    Parameters
    ----------
    config
        The mcpServers file to find names in; by default .mcp.json, mcp.json and $MCP_CONFIG.
    timeout
        Give up after so many seconds.
    json
        Print JSON on stdout, one object per line.
    debug
        Show tracebacks.
    revision
        The revision to speak, such as 2025-11-25; by default the server is asked what it speaks.
    """

    config: Path | None = None
    timeout: float | None = None
    json: bool = False
    debug: bool = False
    revision: str | None = None

    def run(
        self,
        server: str,
        command: Callable[[Session], Awaitable[int]],
        *,
        yes: bool = False,
        save: Path | None = None,
    ) -> int:
        """Run a command with a server."""
        display = open_display(json=self.json)

        async def main(interrupts: Interrupts) -> int:
            session = Session(
                server=server,
                config=self.config,
                display=display,
                interrupts=interrupts,
                yes=yes,
                save=save,
                revision=self.revision,
            )
            return await command(session)

        return run_command(main, display, timeout=self.timeout, debug=self.debug)


_DEFAULTS = Common()
Yes = Annotated[bool, Parameter(name=["--yes", "-y"])]


@app.command
def tools(server: str, *, common: Common = _DEFAULTS) -> int:
    """List the tools of a server.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    """
    return common.run(server, calls.list_tools)


@app.command
def call(
    server: str,
    tool: str,
    arguments: Annotated[list[str] | None, Parameter(show_default=False, allow_leading_hyphen=False)] = None,
    /,
    *,
    args: str | None = None,
    task: bool = False,
    ttl: float | None = None,
    yes: Yes = False,
    save: Path | None = None,
    common: Common = _DEFAULTS,
) -> int:
    """Call a tool; questions are asked here, and Ctrl-C lets you cancel a task or detach from it.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    tool
        The tool's name.
    arguments
        Its arguments as name=value; a value is JSON if it can be.
    args
        Its arguments as one JSON object; name=value goes before it.
    task
        Run it as a task, with its status and progress. Done anyway where the tool demands it; in revision
        2026-07-28 the server decides.
    ttl
        How many seconds the task is to be kept, from its creation.
    yes
        Answer forms with their defaults, without asking.
    save
        Where to save the task on detaching, for `tasks resume --file`.
    """
    command = partial(
        calls.call_tool, name=tool, words=arguments or (), given=args, as_task=task or ttl is not None, ttl=ttl
    )
    return common.run(server, command, yes=yes, save=save)


@tasks.command(name="list")
def list_(server: str, *, common: Common = _DEFAULTS) -> int:
    """List our tasks."""
    return common.run(server, calls.list_tasks)


@tasks.command
def get(server: str, id: str, *, common: Common = _DEFAULTS) -> int:
    """Show how a task is."""
    return common.run(server, partial(calls.get_task, id=id))


@tasks.command
def result(server: str, id: str, *, yes: Yes = False, common: Common = _DEFAULTS) -> int:
    """Wait for the result of a task."""
    return common.run(server, partial(calls.task_result, id=id), yes=yes)


@tasks.command
def cancel(server: str, id: str, *, common: Common = _DEFAULTS) -> int:
    """Cancel a task."""
    return common.run(server, partial(calls.cancel_task, id=id))


@tasks.command
def resume(
    server: str | None = None,
    id: str | None = None,
    *,
    file: Path | None = None,
    yes: Yes = False,
    save: Path | None = None,
    common: Common = _DEFAULTS,
) -> int:
    """Follow a task again, given its ID or --file.

    Parameters
    ----------
    server
        By default, the one that the file names.
    file
        What `call --save` has written.
    yes
        Answer forms with their defaults, without asking.
    save
        Where to save the task on detaching again.
    """
    if (id is None) == (file is None):
        raise Trouble("give either an ID or --file", Exit.USAGE)
    saved, from_file = (str(id), None) if file is None else load_saved(file)
    server = server or from_file
    if server is None:
        raise Trouble(f"{file} names no server: give one", Exit.USAGE)
    return common.run(server, partial(calls.resume_task, saved=saved), yes=yes, save=save)


@app.command
def demo(*, ask: bool = False, json: bool = False, debug: bool = False) -> int:
    """Show tasks in both directions, with a server that comes along.

    Parameters
    ----------
    ask
        Have its question asked here instead of answering it by itself.
    json
        Print one JSON object per event.
    debug
        Show tracebacks.
    """
    display = open_display(json=json, lines=sys.stdout)
    command: Command = partial(run_demo, display=display, ask=ask)
    return run_command(command, display, debug=debug)


@app.command
def serve(
    target: str,
    *,
    stdio: bool = False,
    http: str | None = None,
    store: str | None = None,
    store_key: str | None = None,
    front: bool = False,
    drain: float = DRAIN_SECONDS,
    debug: bool = False,
) -> int:
    """Serve a peer of your own, on standard input and output or over HTTP.

    Parameters
    ----------
    target
        Where the Peer is, as module:attribute; modules of the current directory count.
    stdio
        Over standard input and output.
    http
        Over HTTP at HOST:PORT, under the path /mcp; port 0 picks a free one, and stderr says which.
    store
        Where to keep tasks, so that they outlive this process: a file, which is made if it is not there, or the
        redis:// or valkey:// URL of a server that others share.
    store_key
        A file with 32 random bytes, to encrypt with what is kept.
    front
        Leave the work of tasks to workers that share the store.
    drain
        For how many seconds SIGTERM waits for tasks that no other process can go on with, over HTTP.
    debug
        Log everything to stderr.
    """
    if stdio == (http is not None):
        raise Trouble("serve: say over what: --stdio, or --http HOST:PORT", Exit.USAGE)
    return run_server(target, http=http, store=store, store_key=store_key, front=front, drain=drain, debug=debug)


@app.command
def worker(
    target: str,
    *,
    store: str,
    store_key: str | None = None,
    at_once: int | None = None,
    drain: float = DRAIN_SECONDS,
    debug: bool = False,
) -> int:
    """Do the work of tasks that servers of the same peer have made, until SIGINT or SIGTERM.

    Parameters
    ----------
    target
        Where the Peer is, as module:attribute; modules of the current directory count.
    store
        The redis:// or valkey:// URL of the server where the tasks are.
    store_key
        A file with 32 random bytes, to encrypt with what is kept.
    at_once
        How many tasks to do at the same time; by default as the peer's limits say.
    drain
        For how many seconds SIGTERM waits for tasks that are not run again; others are left to other workers at once.
    debug
        Log everything to stderr.
    """
    return run_worker(target, store=store, store_key=store_key, at_once=at_once, drain=drain, debug=debug)


stores = App(name="store", help="Look into what tasks are kept in, and tidy it up.")
app.command(stores)


@stores.command
def inspect(
    file: Path,
    id: str | None = None,
    *,
    principal: str | None = None,
    unfinished: bool = False,
    key: str | None = None,
    json: bool = False,
) -> int:
    """List the tasks in a file, or show one with all that is kept of it. A server may have the file open.

    Parameters
    ----------
    file
        The file.
    id
        The task to show.
    principal
        List those of this one only.
    unfinished
        List those only that are not over.
    key
        The file with the key, if it is encrypted.
    json
        One JSON object per line.
    """
    from . import storing

    return storing.inspect(file, id, principal=principal, unfinished=unfinished, key=key, json=json)


@stores.command
def stats(store: str, *, key: str | None = None, json: bool = False) -> int:
    """Say how many tasks there are in a store, and how those who share it are doing. Servers may have it open.

    Parameters
    ----------
    store
        A file, or the redis:// or valkey:// URL of a server.
    key
        The file with the key, if it is encrypted.
    json
        As a JSON object.
    """
    from . import storing

    return storing.stats(store, key=key, json=json)


@stores.command
def vacuum(file: Path) -> int:
    """Remove what has expired, and make the file as small as it can be. No server may have it open.

    Parameters
    ----------
    file
        The file.
    """
    from . import storing

    return storing.tidy_up(file)


@stores.command
def export(file: Path, *, key: str | None = None) -> int:
    """Write all tasks with all that is kept of them to standard output, a JSON object per line.

    Parameters
    ----------
    file
        The file.
    key
        The file with the key, if it is encrypted.
    """
    from . import storing

    return storing.export(file, key=key)


@app.command(name="bridge")
def bridge_(
    server: str,
    *,
    stdio: bool = False,
    http: str | None = None,
    config: Path | None = None,
    revision: str | None = None,
    debug: bool = False,
) -> int:
    """Serve another server to clients of both eras: 2025-11-25 with its tasks, and 2026-07-28.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    stdio
        Over standard input and output; the default.
    http
        Over HTTP at HOST:PORT, under the path /mcp; port 0 picks a free one, and stderr says which.
    config
        The mcpServers file to find names in; by default .mcp.json, mcp.json and $MCP_CONFIG.
    revision
        The revision to speak with the server, such as 2025-11-25; by default it is asked what it speaks.
    debug
        Log everything to stderr.
    """
    if stdio and http is not None:
        raise Trouble("bridge: over one of --stdio and --http HOST:PORT", Exit.USAGE)
    return serve_bridge(server, http=http, config=config, revision=revision, debug=debug)


@app.command(name="record")
def record_(
    out: Path,
    *,
    command: str | None = None,
    url: str | None = None,
    listen: str = "127.0.0.1:0",
    redact: list[str] | None = None,
    keep_secrets: bool = False,
    monitor: bool = False,
    debug: bool = False,
) -> int:
    """Stand between a client and a server, and write a transcript of all that goes by.

    Parameters
    ----------
    out
        The file to write, as JSON lines.
    command
        The server's command line; it may stand at the end, after --. A client starts us in its place.
    url
        The server's URL; a client goes to --listen in its place.
    listen
        HOST:PORT to listen at; port 0 picks a free one, and stderr says which.
    redact
        A regular expression for what else to leave out; may be given several times.
    keep_secrets
        Leave out nothing else: by default secret headers, members with telling names, and tokens are.
    monitor
        Say on stderr, at the end, which requirements either side broke.
    debug
        Show tracebacks.
    """
    from . import recording

    rules = recording.redaction(redact or (), keep_secrets)
    return recording.record(out, command=command, url=url, listen=listen, rules=rules, monitor=monitor, debug=debug)


@app.command(name="replay")
def replay_(
    file: Path,
    server: str | None = None,
    *,
    as_: Annotated[Literal["server", "client"], Parameter(name="--as")] = "server",
    command: str | None = None,
    http: str | None = None,
    config: Path | None = None,
    patience: float = 10.0,
    ignore: list[str] | None = None,
    debug: bool = False,
) -> int:
    """Be one side of a transcript again, and see whether the other side does what it did; 1 if it does not.

    Parameters
    ----------
    file
        The transcript.
    server
        As a client: a command line, a URL, or a name from the configuration.
    as_
        Which side to be. A server is on standard input and output, unless --http says otherwise.
    command
        The server's command line; it may stand at the end, after --.
    http
        As a server: HOST:PORT to listen at; port 0 picks a free one, and stderr says which.
    config
        The mcpServers file to find names in; by default .mcp.json, mcp.json and $MCP_CONFIG.
    patience
        How many seconds to wait for what should come next.
    ignore
        The name of a member not to compare; may be given several times.
    debug
        Show tracebacks.
    """
    from . import recording

    return recording.replay_file(
        file,
        side=as_,
        server=command if server is None else server,
        http=http,
        config=config,
        patience=patience,
        ignore=ignore or (),
        debug=debug,
    )


@app.command(name="shrink")
def shrink_(
    file: Path,
    out: Path,
    *,
    violation: str | None = None,
    test: str | None = None,
    tries: int = 500,
    debug: bool = False,
) -> int:
    """Make a transcript as short as it can be while it still shows a failure.

    Parameters
    ----------
    file
        The transcript.
    out
        Where to write the shorter one.
    violation
        The failure is that this requirement is broken in it, such as T25-064.
    test
        The failure is that this command, given the file as its last argument, does not end with 0.
    tries
        How often to try at most.
    debug
        Show tracebacks.
    """
    from . import recording

    return recording.shrink_file(file, out, violation=violation, test=test, tries=tries, debug=debug)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        code = app(_with_command(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as wrong:
        print(f"mcp-tasks: {' '.join(str(wrong).split())} (see mcp-tasks --help)", file=sys.stderr)
        return Exit.USAGE
    except (Trouble, StoreUnusable, StoreFailed, ModuleNotFoundError) as wrong:
        if (known := trouble(wrong)) is None:
            raise
        print(f"mcp-tasks: {known}", file=sys.stderr)
        return known.exit
    return code if isinstance(code, int) else Exit.OK


def _with_command(arguments: Sequence[str]) -> list[str]:
    """The arguments with the words after ``--`` put where SERVER belongs, as one, or behind ``--command``."""
    if "--" not in arguments:
        return list(arguments)
    at = list(arguments).index("--")
    own, command = list(arguments[:at]), arguments[at + 1 :]
    if own[:1] and own[0] in _WITH_COMMAND:
        return [*own, "--command", shlex.join(command)]
    own.insert(2 if own[:1] == ["tasks"] else 1, shlex.join(command))
    return own
