"""Whatever a program under test does, a play comes to its end with findings; and who we are is in no report."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from conformance.fixtures import errands, healthy
from conformance.mutants import Edit, Known, Mutant
from conformance.mutation import subject_of
from conformance.runner import play
from conformance.scenario import Scenario, all_scenarios
from conformance.secrets import hide, of_headers, of_url
from conformance.verdicts import Finding, Play
from mcp_tasks.testing import Frame, Side, dump_frame

SCENARIOS = all_scenarios()
VALUES: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], [1], {}, {"a": 1}, [[]], {"a": {"b": []}}, 10**400]


class Nonsense(Edit):
    """In some of what the program says one value becomes another of any kind."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.sane = self.random.choice([0, 2, 4, 6, 8])  # frames at the beginning, which would often be all

    def edit(self, frame: Frame, known: Known) -> Iterable[Frame]:
        self.sane -= 1
        if self.sane < 0 and self.random.random() < 0.3:
            frame.message = self.changed(copy.deepcopy(frame.message))
        return (frame,)

    def changed(self, value: Any) -> Any:
        if self.random.random() < 0.2 or not value:
            return self.random.choice(VALUES)
        if isinstance(value, dict):
            name = self.random.choice(sorted(value))
            return {**value, name: self.changed(value[name])}
        if isinstance(value, list):
            place = self.random.randrange(len(value))
            return [*value[:place], self.changed(value[place]), *value[place + 1 :]]
        return self.random.choice(VALUES)


@pytest.mark.parametrize("leg", ["server", "client"])
@pytest.mark.parametrize("seed", range(20))
def test_nonsense_is_judged_and_nothing_more(leg: str, seed: int) -> None:
    profile = healthy.PROFILE if leg == "server" else errands.PROFILE
    of_leg = [one for one in SCENARIOS if one.leg == leg and "stdio" in one.transports and not one.principals]
    for number, scenario in enumerate(random.Random(seed).sample(of_leg, 10)):
        mutant = Mutant("T25-065", partial(Nonsense, 1000 * seed + number))
        subject = subject_of(leg, "stdio", mutant)  # type: ignore[arg-type]
        found = trio.run(play, subject, scenario, profile, clock=MockClock(autojump_threshold=0))
        judged = {finding.id for finding in found.findings}
        assert set(scenario.judges) <= judged, scenario.name


def test_a_scenario_that_stumbles_fails() -> None:
    """What it did not get to has failed: a program that keeps to the schema does not have it stumble."""

    async def stumble(session: Any) -> None:
        raise TypeError("unhashable")

    scenario = Scenario("stumble", stumble, ("T25-065",), "server", "2025-11-25")
    clock = MockClock(autojump_threshold=0)
    found = trio.run(play, subject_of("server", "stdio"), scenario, healthy.PROFILE, clock=clock)
    [finding] = [one for one in found.findings if one.expected.startswith("could not be judged")]
    assert (finding.id, finding.kept) == ("T25-065", False)
    assert "TypeError: unhashable" in finding.expected


SECRET = "s3cr3t-value"


def test_who_we_are_is_in_no_report() -> None:
    frames = [
        Frame(Side.CLIENT, {"id": 1}, headers={"Authorization": f"Bearer {SECRET}", "X-Own": SECRET, "Accept": "*"}),
        Frame(Side.SERVER, {"error": {"message": f"no {SECRET} here", SECRET: [SECRET]}}, headers={"x-echo": SECRET}),
        Frame(Side.SERVER, raw=f"<{SECRET}>".encode(), headers={"mcp-session-id": "123456"}),
    ]
    found = Play("a", "http", "2025-11-25", frames=frames, trouble=f"at {SECRET}", stderr=SECRET)
    found.findings = [Finding("T25-065", False, f"not {SECRET}", frames[1])]
    hide(found, of_headers({"Authorization": f"Bearer {SECRET}"}))
    said = json.dumps([dump_frame(frame) for frame in frames]) + str(found)
    assert SECRET not in said
    assert "123456" not in said
    assert frames[0].headers["Accept"] == "*"


def test_secrets_of_a_url_and_of_headers() -> None:
    assert of_url("https://ada:enchantress@example.org/mcp?key=numberone&x=1") == {
        "enchantress",
        "numberone",
        "key=numberone&x=1",
    }
    assert of_url("https://example.org/mcp") == set()
    assert of_headers({"a": "Bearer abcdefgh", "b": "short"}) == {"Bearer abcdefgh", "abcdefgh"}
