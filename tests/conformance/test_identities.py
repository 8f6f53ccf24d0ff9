"""Two identities: what is played with them and without, and what of it stands in the transcript."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from conformance.fixtures import healthy
from conformance.mutation import TOKENS, subject_of
from conformance.runner import eras_of, play
from conformance.scenario import Scenario, all_scenarios
from conformance.subjects import LocalHttp, ServerSubject

ERAS = ["2025-11-25", "2026-07-28"]


def named(name: str) -> Scenario:
    return next(scenario for scenario in all_scenarios() if scenario.name == name)


def server(transport: Literal["stdio", "http"], *, principals: bool = True) -> ServerSubject:
    subject = subject_of("server", transport, principals=principals)
    assert isinstance(subject, ServerSubject)
    return subject


@pytest.mark.parametrize("scenario", [one for one in all_scenarios() if one.principals], ids=lambda one: one.name)
async def test_without_identities_there_is_nothing_to_judge(scenario: Scenario) -> None:
    found = await play(server("http", principals=False), scenario, healthy.PROFILE)
    assert {finding.id for finding in found.findings} == set(scenario.judges)
    assert all(finding.kept is None and "--auth" in finding.expected for finding in found.findings)
    assert found.frames == ()


def test_over_stdio_there_is_nobody_else() -> None:
    async def run() -> None:
        found = await play(server("stdio"), named("a_task_of_somebody_else"), healthy.PROFILE, tokens=TOKENS)
        assert {finding.kept for finding in found.findings if finding.id == "T25-142"} == {None}

    trio.run(run, clock=MockClock(autojump_threshold=0))


async def test_both_sessions_are_judged_and_stand_in_one_transcript() -> None:
    found = await play(server("http"), named("a_task_of_somebody_else"), healthy.PROFILE, tokens=TOKENS)
    assert found.trouble is None
    assert all(finding.kept for finding in found.findings if finding.id in ("T25-137", "T25-142", "T25-143"))
    asked = {frame.channel.rpartition("POST")[0]: frame for frame in found.frames if frame.verb and frame.is_request}
    assert set(asked) == {"", "other ", "again "}
    assert all(TOKENS[0] not in str(frame.headers) and TOKENS[1] not in str(frame.headers) for frame in found.frames)
    times = [frame.at for frame in found.frames]
    assert max(abs(one - other) for one, other in zip(times, sorted(times), strict=True)) < 0.1


async def test_who_shows_a_token_finds_out_what_is_spoken() -> None:
    assert await eras_of(server("http"), tokens=TOKENS) == ERAS
    assert await eras_of(server("http")) == []
    assert await eras_of(LocalHttp(healthy.healthy)) == ERAS
