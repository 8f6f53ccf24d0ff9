"""What the command line does with the suite: find out what a program speaks, play what was asked for, and report.

The words that are typed, and the codes that a command ends with, are in `mcp_tasks.cli.judging`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata, resources
from pathlib import Path

import trio
from attrs import field, frozen

from .baseline import Baseline
from .client_session import ClientSession
from .drafting import draft, to_toml
from .ledger import ERAS, Leg, Row, load_ledger
from .profile import Profile, ProfileError, load_profile, parse_profile
from .report import Report, called, make_report
from .runner import PATIENCE_SECONDS, play, play_all, probe
from .scenario import Broken, Scenario, all_scenarios
from .subjects import ClientSubject, ServerSubject
from .verdicts import Play

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = [
    "Orders",
    "UnknownPattern",
    "Unreachable",
    "choose",
    "draft_profile",
    "find_profile",
    "judge",
    "shipped_profiles",
    "spoken",
    "suite_version",
]

REVISIONS = tuple(sorted(set(ERAS.values())))
_ID = re.compile(r"[TXC]2[56]-\d*")


class Unreachable(Exception):
    """There is no program to judge: it cannot be started, does not answer, or speaks no revision that was asked for."""


class UnknownPattern(Exception):
    """What should be played is neither a requirement nor a scenario."""


@frozen(kw_only=True)
class Orders:
    """What to play, and how."""

    leg: Leg
    given: str
    """The program, as it was given."""
    name: str | None = None
    """What it is called in the report; None for what it calls itself, if it does."""
    profile: Profile = field(factory=Profile)
    revision: str | None = None
    """The only one to judge; None for all that the program speaks."""
    only: Sequence[str] = ()
    """What scenarios, or requirements, begin with; empty for all of them."""
    repeat: int = 1
    jobs: int = 2
    patience: float = PATIENCE_SECONDS
    tokens: tuple[str, str] | None = None
    baseline: Baseline | None = None


@frozen
class Choice:
    """The scenarios to be played, and the requirements to be reported on: those that begin so, or all."""

    scenarios: list[Scenario]
    wanted: tuple[str, ...] = ()


def choose(scenarios: Sequence[Scenario], rows: dict[str, Row], leg: Leg, only: Sequence[str]) -> Choice:
    """What to play for what was asked for. Raises `UnknownPattern`.

    A requirement that no scenario judges by itself is seen in any exchange, so for that one its era is played.
    """
    of_leg = [one for one in scenarios if one.leg == leg]
    if not only:
        return Choice(of_leg)
    chosen: list[Scenario] = []
    wanted: list[str] = []
    everything = False
    for pattern in only:
        is_id = _ID.match(pattern) is not None
        if is_id:
            ids = [id for id in rows if id.startswith(pattern) and leg in rows[id].legs]
            found = [one for one in of_leg if set(ids) & set(one.judges)]
            watched = {rows[id].era for id in ids if not any(id in one.judges for one in of_leg)}
            found += [one for one in of_leg if one.era in watched]
            wanted.append(pattern)
            known = bool(ids)
        else:
            found = [one for one in of_leg if one.name.startswith(pattern)]
            # Whatever is seen in those is worth telling.
            everything, known = True, bool(found)
        if not known or not pattern:
            raise UnknownPattern(f"{pattern}: no scenario and no requirement of a {leg} begins so")
        chosen += found
    return Choice([one for one in of_leg if one in chosen], () if everything else tuple(wanted))


async def judge(
    subjects: Sequence[ServerSubject | ClientSubject],
    orders: Orders,
    tell: Callable[[Play, int, int], None] = lambda play, done, of: None,
) -> Report:
    """Judge one program, over each of the transports that it is reached by.

    `tell` hears of each play, and how many of how many are done. Raises `Unreachable`, and `UnknownPattern`.
    """
    rows, scenarios = load_ledger(), all_scenarios()
    choice = choose(scenarios, rows, orders.leg, orders.only)
    pairs = [(subject, await spoken(subject, orders)) for subject in subjects]
    of = orders.repeat * sum(
        one.era in eras and subject.transport in one.transports for subject, eras in pairs for one in choice.scenarios
    )
    if not of:
        raise UnknownPattern("there is nothing to play: no scenario of that choice is of this transport and revision")
    plays: list[Play] = []
    done = 0

    def heard(found: Play) -> None:
        nonlocal done
        done += 1
        tell(found, done, of)

    for subject, eras in pairs:
        with _reaching(subject.transport):
            plays += await play_all(
                subject,
                choice.scenarios,
                orders.profile,
                leg=orders.leg,
                eras=eras,
                repeat=orders.repeat,
                jobs=orders.jobs,
                patience=orders.patience,
                tell=heard,
                tokens=orders.tokens,
            )
    report = make_report(
        orders.name or called(plays, orders.leg).get("name") or orders.given,
        orders.leg,
        sorted({era for _, eras in pairs for era in eras}),
        orders.profile.name,
        plays,
        rows,
        scenarios,
        suite=suite_version(),
        whole=not orders.only,
        wanted=choice.wanted,
    )
    return report if orders.baseline is None else orders.baseline.applied(report)


async def spoken(subject: ServerSubject | ClientSubject, orders: Orders) -> list[str]:
    """The revisions to judge a program in. Raises `Unreachable` if there are none."""
    with _reaching(subject.transport):
        if isinstance(subject, ServerSubject):
            asked = REVISIONS if orders.revision is None else (orders.revision,)
            probes = [await probe(subject, era, patience=orders.patience, tokens=orders.tokens) for era in asked]
            eras = [found.era for found in probes if found.trouble is None]
            if not eras:
                said = [_with_stderr(f"{found.era}: {found.trouble}", found) for found in probes]
                raise Unreachable(f"the server speaks no revision that can be judged. {'; '.join(said)}")
            return eras
        eras, troubles = [], []
        for era in REVISIONS if orders.revision is None else (orders.revision,):
            found = await play(subject, _errand(era), orders.profile, patience=orders.patience)
            if found.trouble is None:
                eras.append(era)
            else:
                troubles.append(_with_stderr(f"{era}: {found.trouble}", found))
        if not eras:
            raise Unreachable(f"the client did no errand over {subject.transport}: {'; '.join(troubles)}")
        return eras


def _errand(era: str) -> Scenario:
    """The simplest that a client can be sent for: whoever does it speaks that revision."""

    async def opened(session: ClientSession) -> None:
        call = await session.come("tools/call", {"name": "play"})
        await session.answer_call(call)

    return Scenario("probe", opened, (), "client", era)


def _with_stderr(trouble: str, found: Play) -> str:
    last = found.stderr.strip().splitlines()[-1:]
    return f"{trouble} (stderr: {last[0].strip()})" if last else trouble


@contextmanager
def _reaching(transport: str) -> Iterator[None]:
    """What a program that cannot be started comes to, out of however many nurseries."""
    try:
        yield
    except OSError as error:
        raise Unreachable(_worded(error)) from error
    except BaseExceptionGroup as group:
        lost = _first(group, OSError)
        if lost is None:
            raise
        raise Unreachable(_worded(lost)) from group
    except Broken as error:
        raise Unreachable(f"over {transport}: {error}") from error


def _worded(error: OSError) -> str:
    said = error.strerror or str(error)
    return said if error.filename is None or str(error.filename) in said else f"{error.filename}: {said}"


def _first(group: BaseExceptionGroup[BaseException], kind: type[OSError]) -> OSError | None:
    matched, rest = group.split(kind)
    _, others = (None, None) if rest is None else rest.split(trio.Cancelled)
    if matched is None or others is not None:
        return None
    error: BaseException = matched
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, kind) else None


def suite_version() -> str:
    """The version of the suite, which is that of the project."""
    return metadata.version("mcp-tasks")


async def draft_profile(subject: ServerSubject, *, probe: bool, patience: float = PATIENCE_SECONDS) -> str:
    """A draft of a profile of a server, as TOML. Raises `Unreachable`."""
    eras = await spoken(subject, Orders(leg="server", given="server", patience=patience))
    with _reaching(subject.transport):
        return to_toml(await draft(subject, eras, probe=probe, patience=patience))


# --- profiles -----------------------------------------------------------------------------------------------------


def shipped_profiles() -> dict[str, str]:
    """The profiles that come along, by name, as TOML."""
    folder = resources.files("conformance") / "profiles"
    files = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in files
        if file.name.endswith(".toml")
    }


def find_profile(given: str | None) -> Profile:
    """The profile in a file, or one that comes along, by its name; an empty one for None. Raises `ProfileError`."""
    if given is None:
        return Profile("none")
    shipped = shipped_profiles()
    if given in shipped and not Path(given).is_file():
        return parse_profile(shipped[given], given)
    try:
        return load_profile(Path(given))
    except OSError as error:
        known = ", ".join(shipped)
        raise ProfileError(f"{given}: {error.strerror} (there are {known}, or any file)") from None
