"""`mcp-tasks conformance`: judge a server or a client, draft a profile, and put reports on a page.

The suite itself is the package ``conformance``; it is imported when a command needs it, and not before.
"""

from __future__ import annotations

import json as json_module
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio
from attrs import frozen
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .display import clean, open_display
from .exits import Exit, Trouble
from .running import Interrupts, run_command
from .servers import ServerCommand, find_server

if TYPE_CHECKING:
    from conformance.baseline import Baseline
    from conformance.report import Report
    from conformance.subjects import ClientSubject, ServerSubject
    from conformance.verdicts import Play

__all__ = ["conformance"]

_EPILOGUE = """\
Exit codes: 0 nothing failed that has to be kept; 1 a MUST was not kept, or the baseline is not met: something new \
fails, or something in it no longer does; 2 wrong usage; 3 the program cannot be started or reached, or speaks no \
revision that can be judged; 130 interrupted.
"""
_FAR_TOO_MUCH = 1_000_000
_HELP = "Judge how a server or client keeps the requirements of the protocol, of tasks above all."

conformance = App(name="conformance", help=_HELP, help_epilogue=_EPILOGUE)


@Parameter(name="*")
@frozen(kw_only=True)
class Judging:
    """Options of the commands that judge a program.

    Parameters
    ----------
    profile
        A TOML file that says which tools, or requests, show what; or the name of one that comes along. What it does
        not have is not judged.
    revision
        Judge this revision only, 2025-11-25 or 2026-07-28; by default, each that the program speaks.
    only
        Play only scenarios whose name begins so, or that judge requirements whose id does, such as T25-06; may be
        given several times.
    repeat
        Play each scenario so many times; what is kept in one and not in another is flaky.
    jobs
        Play so many scenarios side by side.
    patience
        How many seconds an answer may take.
    report
        A file to write a report to, by its end: .json, .xml (JUnit), .md or .html; may be given several times.
    baseline
        A TOML file of what is known to fail. What else fails, or no longer does, is an error.
    write_baseline
        Write what fails to this file, for --baseline; reasons that --baseline has are kept.
    name
        What the program is called in reports; by default, what it calls itself.
    json
        Print JSON on stdout, an object for each verdict and one at the end.
    verbose
        Say how each play ended, and what passed.
    timeout
        Give up after so many seconds.
    debug
        Show tracebacks.
    """

    profile: str | None = None
    revision: Literal["2025-11-25", "2026-07-28"] | None = None
    only: list[str] | None = None
    repeat: int = 1
    jobs: int = 2
    patience: float = 10.0
    report: list[Path] | None = None
    baseline: Path | None = None
    write_baseline: Path | None = None
    name: str | None = None
    json: bool = False
    verbose: bool = False
    timeout: float | None = None
    debug: bool = False


_DEFAULTS = Judging()


@Parameter(name="*")
@frozen(kw_only=True)
class Where:
    """Where a server is, in place of SERVER or besides.

    Parameters
    ----------
    url
        Its URL, while it runs.
    command
        Its command line; it may stand at the end, after --. It is started anew for each connection.
    config
        The mcpServers file to find names in; by default .mcp.json, mcp.json and $MCP_CONFIG.
    """

    url: str | None = None
    command: str | None = None
    config: Path | None = None

    def subjects(self, server: str | None) -> list[ServerSubject]:
        """How to reach it, by each transport that it was given for. Raises `Trouble`."""
        from conformance.subjects import Command, Url

        found: list[ServerSubject] = []
        for given in (server, self.command, self.url):
            if given is None:
                continue
            if given is self.command:
                # A command is what it looks like, whatever a file has of that name.
                found.append(Command(_words(given), env=os.environ))
                continue
            one = find_server(given, self.config)
            if isinstance(one, ServerCommand):
                # What somebody has just typed gets our environment, as from a shell.
                env = {**os.environ, **one.env} if one.inherit_env is None else one.env
                found.append(Command(one.command, env=env, cwd=one.cwd))
            else:
                found.append(Url(one.url, headers=one.headers))
        if not found:
            raise Trouble("conformance: say which server: SERVER, --url URL, or -- COMMAND...", Exit.USAGE)
        transports = [one.transport for one in found]
        if len(set(transports)) < len(transports):
            raise Trouble("conformance: one server at a time, over each transport once", Exit.USAGE)
        return found


_BESIDES = Where()


@conformance.command(name="server")
def server_(
    server: str | None = None,
    *,
    auth: tuple[str, str] | None = None,
    where: Where = _BESIDES,
    judging: Judging = _DEFAULTS,
) -> int:
    """Judge a server, over stdio, HTTP, or both if it is given as either.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    auth
        Two bearer tokens, of different users, to see that neither gets at the tasks of the other (over HTTP).
    """
    subjects = where.subjects(server)
    if auth is not None and all(one.transport != "http" for one in subjects):
        raise Trouble("conformance: --auth is for servers over HTTP", Exit.USAGE)
    given = next(one for one in (server, where.command, where.url) if one is not None)
    return _judge("server", given, subjects, judging, auth)


@conformance.command(name="client")
def client_(
    *,
    command: str,
    transport: Literal["stdio", "http", "both"] = "both",
    judging: Judging = _DEFAULTS,
) -> int:
    """Judge a client: a program that does errands, as the README of the suite says.

    Parameters
    ----------
    command
        Its command line; it may stand at the end, after --. It is started for each scenario, with the URL of its server
        as the last argument, or with -- and a command to start; $MCP_CONFORMANCE says what to do.
    transport
        What to have it talk over.
    """
    from conformance.subjects import ClientProgram

    words = _words(command)
    over = ("stdio", "http") if transport == "both" else (transport,)
    subjects = [ClientProgram(words, transport=one) for one in over]
    return _judge("client", command, subjects, judging, None)


@conformance.command(name="profile")
def profile_(
    server: str | None = None,
    *,
    probe: bool = False,
    patience: float = 10.0,
    debug: bool = False,
    where: Where = _BESIDES,
) -> int:
    """Draft a profile of a server, as TOML on stdout: which of its tools may show what the suite wants to see.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    probe
        Call tools that look harmless to see what they do. Without it, nothing is called.
    patience
        How many seconds an answer may take.
    debug
        Show tracebacks.
    """
    subject = where.subjects(server)[0]

    async def main(interrupts: Interrupts) -> int:
        from conformance.cli import draft_profile

        with _told():
            print(await draft_profile(subject, probe=probe, patience=patience), end="")
        return Exit.OK

    return run_command(main, open_display(json=False), debug=debug)


@conformance.command(name="walk")
def walk_(
    server: str | None = None,
    *,
    profile: str | None = None,
    revision: Literal["2025-11-25", "2026-07-28"] = "2025-11-25",
    walks: int = 50,
    steps: int = 15,
    seed: int | None = None,
    ignore: list[str] | None = None,
    transcript: Path | None = None,
    patience: float = 10.0,
    where: Where = _BESIDES,
) -> int:
    """Do task operations on a server in any order, and compare what comes of them with a model; 1 if it differs.

    The shortest walk that shows a difference is looked for, and told with all that was said.

    Parameters
    ----------
    server
        A command line, a URL, or a name from the configuration.
    profile
        A TOML file that says which tools show what, or the name of one that comes along.
    revision
        The revision to speak.
    walks
        How many walks to try.
    steps
        How many steps they have at most.
    seed
        A number that makes them the same each time.
    ignore
        A requirement that is known to be broken; may be given several times.
    transcript
        Where to write what was said on that walk, for `mcp-tasks replay`.
    patience
        How many seconds an answer may take.
    """
    from conformance.cli import Orders, Unreachable, find_profile, spoken
    from conformance.profile import ProfileError
    from conformance.walk import explain, walk

    subject = where.subjects(server)[0]
    try:
        known = find_profile(profile)
    except (ProfileError, OSError) as error:
        raise Trouble(str(error), Exit.USAGE) from None
    with _told():
        orders = Orders(leg="server", given="", revision=revision, patience=patience)
        try:
            trio.run(spoken, subject, orders)
        except Unreachable as error:
            raise Trouble(str(error), Exit.SERVER) from None
        found = walk(
            subject,
            known,
            era=revision,
            walks=walks,
            steps=steps,
            seed=seed,
            patience=patience,
            ignore=ignore or (),
        )
    if found is None:
        print(f"{walks} walks, and everything was as it should be")
        return Exit.OK
    print(explain(found))
    if transcript is not None:
        from ..recording import Transcript

        transcript.write_text(Transcript(list(found.frames), subject.transport).text(), encoding="utf-8")
    return Exit.FAILED


@conformance.command(name="page")
def page_(out: Path, reports: Annotated[list[Path], Parameter(show_default=False)], /) -> int:
    """Make one report of several that were written as .json: one page, for one, with all programs side by side.

    Parameters
    ----------
    out
        What to write: a file that ends in .html, .md or .xml.
    reports
        The reports, as JSON.
    """
    from conformance.report import load_report, write_report

    try:
        with _told():
            write_report(out, *(load_report(path) for path in reports))
    except OSError as error:
        raise Trouble(f"conformance: {error.filename}: {error.strerror}", Exit.USAGE) from None
    return Exit.OK


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Trouble(f"--command is no command line: {error}: {command}", Exit.USAGE) from None
    if not words:
        raise Trouble("--command is empty", Exit.USAGE)
    return words


@contextmanager
def _told() -> Iterator[None]:
    """Whatever the suite cannot go on for, as the one line and the exit code that it comes to."""
    from conformance.baseline import BaselineError
    from conformance.cli import UnknownPattern, Unreachable
    from conformance.profile import ProfileError
    from conformance.report import ReportError

    try:
        yield
    except Unreachable as error:
        raise Trouble(f"conformance: {error}", Exit.SERVER) from error
    except (BaselineError, ProfileError, ReportError, UnknownPattern) as error:
        raise Trouble(f"conformance: {error}", Exit.USAGE) from error


def _judge(
    leg: Literal["server", "client"],
    given: str,
    subjects: Sequence[ServerSubject | ClientSubject],
    judging: Judging,
    tokens: tuple[str, str] | None,
) -> int:
    from conformance.cli import Orders, find_profile, judge

    for option in ("repeat", "jobs", "patience"):
        if not 0 < getattr(judging, option) < _FAR_TOO_MUCH:
            raise Trouble(f"conformance: --{option} is a number above 0", Exit.USAGE)
    with _told():
        _check_reports(judging)
        orders = Orders(
            leg=leg,
            given=given,
            name=judging.name,
            profile=find_profile(judging.profile),
            revision=judging.revision,
            only=judging.only or (),
            repeat=judging.repeat,
            jobs=judging.jobs,
            patience=judging.patience,
            tokens=tokens,
            baseline=_baseline(judging.baseline),
        )

    async def main(interrupts: Interrupts) -> int:
        with _told():
            with _progress(judging) as tell:
                report = await judge(subjects, orders, tell)
            _show(report, judging)
            _write(report, judging, orders.baseline)
        # What was just written is what is known.
        return Exit.OK if report.ok or judging.write_baseline is not None else Exit.FAILED

    return run_command(main, open_display(json=judging.json), timeout=judging.timeout, debug=judging.debug)


def _check_reports(judging: Judging) -> None:
    # Before a run of minutes, not after it.
    from conformance.report import FORMATS, ReportError

    for path in judging.report or ():
        if path.suffix not in FORMATS:
            raise ReportError(f"{path}: the name of a report ends in {', '.join(FORMATS)}")
        if path.suffix == ".html":
            import conformance.report.page  # noqa: F401 - says by itself that it needs jinja2


def _baseline(path: Path | None) -> Baseline | None:
    from conformance.baseline import BaselineError, load_baseline
    from conformance.ledger import load_ledger

    if path is None:
        return None
    try:
        return load_baseline(path, load_ledger())
    except OSError as error:
        raise BaselineError(f"{path}: {error.strerror}") from None


@contextmanager
def _progress(judging: Judging) -> Iterator[Callable[[Play, int, int], None]]:
    """Says on stderr how far the suite has got: a bar on a terminal, a line for each play to whoever wants that."""
    console = Console(stderr=True)
    if not console.is_terminal or judging.json:

        def line(play: Play, done: int, of: int) -> None:
            if judging.verbose:
                print(_told_play(play, done, of), file=sys.stderr, flush=True)

        yield line
        return
    # Refreshed when there is news and at no other time, so that no thread draws beside us.
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True,
        auto_refresh=False,
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=None)

        def advance(play: Play, done: int, of: int) -> None:
            if judging.verbose:
                bar.console.print(_told_play(play, done, of), markup=False, highlight=False)
            bar.update(task, completed=done, total=of, description=clean(play.scenario), refresh=True)

        yield advance


def _told_play(play: Play, done: int, of: int) -> str:
    broken = sorted({finding.id for finding in play.findings if finding.kept is False})
    ending = clean(f"{play.trouble}") if play.trouble else "ok"
    found = f"; not kept: {', '.join(broken)}" if broken else ""
    return f"[{done}/{of}] {play.name}, {play.seconds:.2f} s: {ending}{found}"


def _show(report: Report, judging: Judging) -> None:
    if judging.json:
        for one in report.results:
            about: dict[str, Any] = {
                name: getattr(one, name)
                for name in ("id", "transport", "verdict", "level", "era", "says", "why", "link")
            }
            if one.known is not None:
                about["known"] = one.known
            print(json_module.dumps({"event": "verdict", **about}))
        ending = {"ok": report.ok, "counts": dict(report.counts()), "failed": [one.key for one in report.failures]}
        print(json_module.dumps({"event": "finished", **ending, "stale": report.stale}), flush=True)
        return
    from conformance.report.terminal import print_report

    print_report(report, Console(highlight=False), verbose=judging.verbose)


def _write(report: Report, judging: Judging, baseline: Baseline | None) -> None:
    from conformance.baseline import write_baseline
    from conformance.report import ReportError, write_report

    try:
        for path in judging.report or ():
            write_report(path, report)
        if judging.write_baseline is not None:
            judging.write_baseline.write_text(write_baseline(report, baseline), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{error.filename}: {error.strerror}") from None
