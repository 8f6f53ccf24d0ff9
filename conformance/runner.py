"""Plays scenarios: each in a session of its own, with a bound on its time, and keeps what was found.

Whatever goes wrong in a play stays in it. What a scenario wanted to judge and did not get to has failed, with the
reason; only where the program cannot be brought there is it not applicable.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from mcp_tasks import MCPError
from mcp_tasks.testing import NothingCame

from .client_session import ClientSession
from .ledger import Leg
from .profile import Profile
from .scenario import Broken, NotApplicable, Scenario
from .secrets import hide
from .server_session import ServerSession
from .session import Session
from .subjects import ClientSubject, ServerSubject
from .verdicts import Finding, Play

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = ["PATIENCE_SECONDS", "Unjudged", "eras_of", "play", "play_all", "probe"]

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""How long an answer may take."""
_PLAY_PATIENCES = 6
"""How long a play may take, as so many times the patience with one answer."""


class Unjudged(Exception):
    """A scenario came to its end without judging what it says it judges: a fault of the suite's own."""


@asynccontextmanager
async def _session(
    subject: ServerSubject | ClientSubject,
    scenario: Scenario,
    profile: Profile,
    patience: float,
    found: Play,
    tokens: tuple[str, str] | None,
) -> AsyncIterator[Session]:
    """The session of one play. What happens in the block does not leave it."""
    async with trio.open_nursery() as nursery:
        session: Session
        more = {"era": scenario.era, "transport": subject.transport, "profile": profile, "patience": patience}
        if isinstance(subject, ServerSubject):
            async with subject.open(nursery, token=None if tokens is None else tokens[0]) as served:
                session = ServerSession(served.wire, nursery, declares=scenario.declares, **more)
                session.another, session.tokens = served.another, tokens
                found.frames = served.wire.frames
                yield session
                found.stderr = served.stderr()
        else:
            async with subject.open(nursery, scenario.errand, scenario.era) as served:
                session = ClientSession(
                    served.wire,
                    nursery,
                    errand=scenario.errand,
                    declares=scenario.declares,
                    **more,
                )
                session.finished = served.finished
                found.frames = served.wire.frames
                yield session
                found.stderr = served.stderr()
        nursery.cancel_scope.cancel()


async def play(
    subject: ServerSubject | ClientSubject,
    scenario: Scenario,
    profile: Profile,
    *,
    patience: float = PATIENCE_SECONDS,
    number: int = 0,
    tokens: tuple[str, str] | None = None,
) -> Play:
    """Play a scenario once. Raises `Unjudged`, and OSError if the program cannot be started.

    With `tokens`, a server is talked to under the identity that the first stands for; the second is somebody else's.
    """
    found = Play(scenario.name, subject.transport, scenario.era, number)
    missing = [ability for ability in scenario.needs if profile.find(ability) is None]
    lacking = ""
    if missing:
        lacking = f"needs {', '.join(f'`{ability}`' for ability in missing)}"
    elif scenario.principals and tokens is None:
        lacking = "needs two identities: --auth"
    if lacking:
        found.findings = [Finding(id, None, lacking) for id in scenario.judges]
        return found
    began = trio.current_time()
    try:
        await _play(subject, scenario, profile, patience, found, tokens)
    except (Unjudged, OSError):
        raise
    except Exception as fault:
        if lost := _os_error(fault):
            raise lost from None
        # Beside the scenario somebody stumbled over what came; the rows that are still open go with it.
        _stumbled(found, scenario, fault)
    found.seconds = trio.current_time() - began
    hide(found, subject.secrets(tokens) if isinstance(subject, ServerSubject) else ())
    return found


async def _play(
    subject: ServerSubject | ClientSubject,
    scenario: Scenario,
    profile: Profile,
    patience: float,
    found: Play,
    tokens: tuple[str, str] | None,
) -> None:
    unjudged: BaseException | None = None
    async with _session(subject, scenario, profile, patience, found, tokens) as session:
        kept: bool | None = None
        why = ""
        seconds = _PLAY_PATIENCES * patience
        with trio.move_on_after(seconds) as limit:
            try:
                await session.open()
                await scenario.play(session)
                if isinstance(session, ClientSession):
                    await session.finish()
            except NotApplicable as reason:
                why = str(reason)
            except (Broken, NothingCame, MCPError) as trouble:
                kept, why = False, f"could not be judged: {trouble}"
                found.trouble = str(trouble)
            except Exception as fault:
                # What came was so odd that the scenario stumbled over it; a program that keeps to the schema is not.
                kept, why = False, _worded(fault)
                found.trouble = why
                logger.warning("%s stumbled", scenario.name, exc_info=fault)
            else:
                why = ""
        if limit.cancelled_caught:
            kept, why = False, f"could not be judged: the scenario took more than {seconds:g} seconds"
            found.trouble = why
        findings = session.judged()
        judged = {finding.id for finding in findings}
        left = [id for id in scenario.judges if id not in judged]
        if left and not why:
            unjudged = Unjudged(f"{scenario.name} judges {', '.join(left)} by its head, and did not")
        found.findings = [*findings, *(Finding(id, kept, why) for id in left)]
    if unjudged is not None:
        raise unjudged


def _worded(fault: Exception) -> str:
    return f"could not be judged: the suite stumbled over what came: {type(fault).__name__}: {fault}"


def _stumbled(found: Play, scenario: Scenario, fault: Exception) -> None:
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    logger.warning("%s stumbled", scenario.name, exc_info=fault)
    found.trouble = _worded(fault)
    judged = {finding.id for finding in found.findings}
    found.findings += [Finding(id, False, found.trouble) for id in scenario.judges if id not in judged]


def _os_error(fault: BaseException) -> OSError | None:
    """The error that kept a program from being started, out of however many nurseries."""
    while isinstance(fault, ExceptionGroup) and len(fault.exceptions) == 1:
        fault = fault.exceptions[0]
    return fault if isinstance(fault, OSError) else None


async def probe(
    subject: ServerSubject, era: str, *, patience: float = PATIENCE_SECONDS, tokens: tuple[str, str] | None = None
) -> Play:
    """Open a session of an era and do nothing; the trouble says why it was none."""

    async def ask(session: Session) -> None:
        await trio.lowlevel.checkpoint()

    found = await play(subject, Scenario("probe", ask, (), "server", era), Profile(), patience=patience, tokens=tokens)
    if found.trouble is None and not _spoken(found, era):
        found.trouble = "it speaks another revision"
    return found


async def eras_of(
    subject: ServerSubject, *, patience: float = PATIENCE_SECONDS, tokens: tuple[str, str] | None = None
) -> list[str]:
    """Which eras a server speaks: it is asked for each, by a connection of its own."""
    plays = [await probe(subject, era, patience=patience, tokens=tokens) for era in ("2025-11-25", "2026-07-28")]
    return [found.era for found in plays if found.trouble is None]


def _spoken(found: Play, era: str) -> bool:
    for frame in found.frames:
        versions = frame.result.get("supportedVersions")
        if frame.result.get("protocolVersion") == era or (isinstance(versions, list) and era in versions):
            return True
    return False


async def play_all(
    subject: ServerSubject | ClientSubject,
    scenarios: Iterable[Scenario],
    profile: Profile,
    *,
    leg: Leg,
    eras: Sequence[str],
    repeat: int = 1,
    jobs: int = 2,
    patience: float = PATIENCE_SECONDS,
    tell: Callable[[Play], None] = lambda play: None,
    tokens: tuple[str, str] | None = None,
) -> list[Play]:
    """Play all scenarios of a leg that are of one of these eras and of the subject's transport, several side by side.

    Returns the plays in the order of the scenarios, whoever was done first.
    """
    wanted = [
        (scenario, number)
        for scenario in scenarios
        if scenario.leg == leg and scenario.era in eras and subject.transport in scenario.transports
        for number in range(repeat)
    ]
    done: dict[int, Play] = {}
    limiter = trio.CapacityLimiter(jobs)

    async def one(place: int, scenario: Scenario, number: int) -> None:
        async with limiter:
            done[place] = await play(subject, scenario, profile, patience=patience, number=number, tokens=tokens)
            tell(done[place])

    try:
        async with trio.open_nursery() as nursery:
            for place, (scenario, number) in enumerate(wanted):
                nursery.start_soon(partial(one, place, scenario, number))
    except ExceptionGroup as group:
        failures = [error for error in group.exceptions if not isinstance(error, trio.Cancelled)]
        if len(failures) == 1:
            raise failures[0] from None
        raise
    return [done[place] for place in sorted(done)]
