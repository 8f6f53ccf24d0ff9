"""Run the official suite against our server and our client: ``python -m conformance.official``.

The suite is what `install` installs, run with the requirements of each revision in `REVISIONS`. The server leg drives
the fixture peer, which is started here once and served over HTTP: one process answers to both revisions. For the client
leg the suite starts ``conformance.fixtures.client`` once for every scenario. What has to fail is in
``expected-failures.yml``, and everything else has to pass.

The suite's own exit code is too kind to rely on: it ignores what it does not score, a client that crashed, and a
scenario in which nothing was checked. So the records it leaves of each scenario are judged here, all alike.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from .fixtures.client import PLAYED
from .install import ROOT, Suite, ensure, peers

__all__ = ["REVISIONS", "Trouble", "Verdict", "judge", "main"]

REVISIONS = ["2025-11-25", "2026-07-28"]
LEGS = ["server", "client"]
EXPECTED = ROOT / "conformance" / "expected-failures.yml"
SERVER = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.everything:peer", "--http", "127.0.0.1:0"]
CLIENT = [sys.executable, "-m", "conformance.fixtures.client"]
START_SECONDS = 30.0
END_SECONDS = 10.0
LEG_SECONDS = 900.0

PROOFS = {
    "server-session-lifecycle": "server-session-terminated-returns-404",
    "server-sse-polling": "server-sse-disconnect-resume",
    "tasks-required-task-error": "sep-2663-server-returns-missing-capability-data-shape",
    "initialize": "mcp-client-initialization",
}
"""Checks without which a scenario is content too, with what it does not find noted as information only."""

EMPTY = {"tasks-status-notifications"}
"""Scenarios in which the suite does nothing as yet, which it notes as one check that is skipped."""

NEVER_SENT = {
    "http-standard-headers": {"ClientMcpMethodHeader_initialize", "ClientMcpMethodHeader_notifications_initialized"},
}
"""Names of checks, by scenario, of requests that the scenario's revision does not have: to skip these is right."""

Leg: TypeAlias = tuple[str, str]
"""A revision, and ``server`` or ``client``."""


class Trouble(Exception):
    """The suite could not be run; the message is one line for a human."""


@frozen
class Verdict:
    """What came of one scenario."""

    leg: Leg
    scenario: str
    scored: bool
    fails_as_known: bool
    problems: list[str]
    """Why it has not passed."""
    succeeded: int
    """How many of its checks did."""

    @property
    def unexpected(self) -> bool:
        """Whether it passed though it should fail, or the reverse."""
        return bool(self.problems) != self.fails_as_known

    @property
    def kind(self) -> str:
        """What it is counted as."""
        if self.unexpected:
            return "not as expected"
        if self.problems:
            return "failed as known"
        return "passed" if self.succeeded else "empty"

    def __str__(self) -> str:
        if self.unexpected:
            outcome = "FAILED" if self.problems else "PASSED, though it should fail"
        elif self.problems:
            outcome = "fails, as known"
        else:
            outcome = f"passed ({self.succeeded})" if self.succeeded else "tests nothing, as known"
        revision, leg = self.leg
        return f"{revision}  {leg:6}  {self.scenario:45}  {'required' if self.scored else '-':8}  {outcome}"


# --- running ----------------------------------------------------------------------------------------------------------


@contextmanager
def served(log: Path) -> Iterator[str]:
    """Our server, in a process of its own: gives its URL. Raises `Trouble` if it does not start, or end, well."""
    with log.open("w") as sink:
        process = subprocess.Popen(SERVER, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
    try:
        yield _url(process, log)
    finally:
        process.terminate()
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if code not in (0, 128 + signal.SIGTERM):
        raise Trouble(f"the server ended with code {code}; it said: {_last_line(log)}")


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said, complete, _ = log.read_text().partition("\n")
        if complete and "http://" in said:
            return said[said.index("http://") :].split()[0]
        time.sleep(0.05)
    raise Trouble(f"the server does not start; it said: {_last_line(log)}")


@contextmanager
def _opponent(leg: str, results: Path) -> Iterator[list[str]]:
    # Options that tell the suite what it is to be run against.
    if leg == "client":
        yield ["--command", shlex.join(CLIENT)]
        return
    log = results / "server.log"
    with served(log) as url:
        yield ["--url", url]
    for line in log.read_text().splitlines()[1:]:
        print(f"the server said: {line}")


def run(
    suite: Suite, leg: Leg, opponent: list[str], scenario: str | None, expected: dict[str, list[str]], results: Path
) -> int:
    """Run a leg of the suite, as a whole or one scenario; returns its exit code. Its records go below `results`."""
    results.mkdir()
    revision, side = leg
    failures = results / "expected-failures.yml"
    failures.write_text(json.dumps(expected))  # the suite takes one revision at a time, and JSON is YAML
    # To force is to run also what is on no revision's timeline, as `--requirements` does: extensions.
    one = ["--scenario", str(scenario), "--spec-version", revision, "--force"]
    selection = ["--requirements", revision] if scenario is None else one
    options = [*opponent, *selection, "--expected-failures", str(failures), "--output-dir", str(results)]
    return _logged(suite.command(side, *options), results)


def _logged(command: list[str], results: Path) -> int:
    with (results / "suite.log").open("w") as log:
        try:
            return subprocess.run(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=LEG_SECONDS,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise Trouble(f"the suite does not come to an end within {LEG_SECONDS:g} seconds") from None


# --- judging ----------------------------------------------------------------------------------------------------------


def judge(leg: str, scenario: str, results: Path) -> tuple[list[str], int]:
    """Why a scenario has not passed, and how many of its checks succeeded, from what the suite left of it."""
    name = f"server-{scenario}" if leg == "server" else scenario
    # A time follows the name, and names are beginnings of other names.
    records = sorted(results.glob(f"{name}-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T*"))
    if not records or not (records[-1] / "checks.json").exists():
        return ["it left no record: see suite.log"], 0
    checks: list[dict[str, Any]] = json.loads((records[-1] / "checks.json").read_text())
    if scenario in EMPTY:
        # Should it begin to test something, it is to be judged like any other.
        return ([] if [check["status"] for check in checks] == ["SKIPPED"] else ["it is not empty any more"]), 0
    succeeded = {check["id"] for check in checks if check["status"] == "SUCCESS"}
    problems = [_problem(check) for check in checks if not _is_well(scenario, check)]
    if not succeeded:
        problems.append("nothing was found to be right")
    elif (proof := PROOFS.get(scenario)) is not None and proof not in succeeded:
        problems.append(f"{proof}: not put to the test")
    if leg == "client" and PLAYED.format(scenario) not in (records[-1] / "stdout.txt").read_text():
        problems.append(f"the client did not play to the end; it said: {_last_line(records[-1] / 'stderr.txt')}")
    return problems, sum(check["status"] == "SUCCESS" for check in checks)


def _is_well(scenario: str, check: dict[str, Any]) -> bool:
    if check["status"] == "SKIPPED" and check.get("name") in NEVER_SENT.get(scenario, ()):
        return True
    return check["status"] not in ("FAILURE", "WARNING", "SKIPPED")


def _problem(check: dict[str, Any]) -> str:
    said = check.get("errorMessage") or check.get("details", {}).get("message") or check["description"]
    return f"{check['id']}: {check['status'].lower()}: {said}"


def _last_line(path: Path) -> str:
    return (path.read_text().strip().splitlines() or ["nothing"])[-1]


# --- all of it --------------------------------------------------------------------------------------------------------


@frozen
class Part:
    """What is to be run of one leg."""

    leg: Leg
    scenarios: list[str]
    scored: list[str]
    expected: list[str]
    """What has to fail."""


def plan(suite: Suite, revisions: Iterable[str], sides: Iterable[str], only: str | None) -> list[Part]:
    """What there is to run, by leg. Raises `Trouble` if it is nothing."""
    expected = suite.read_yaml(EXPECTED)
    parts: list[Part] = []
    for revision in revisions:
        required = suite.read_yaml(suite.folder / "requirements" / f"{revision}.yaml")
        for side in sides:
            unscored = [entry["scenario"] for entry in required["not_scored"] if entry["leg"] == side]
            scenarios = [name for name in [*required[side], *unscored] if only in (None, name)]
            if scenarios:
                failing = expected.get(revision, {}).get(side, [])
                parts.append(Part((revision, side), scenarios, required[side], failing))
    if not parts:
        raise Trouble(f"no scenario is called {only!r}")
    return parts


def examine(suite: Suite, parts: Iterable[Part], only: str | None, results: Path) -> bool:
    """Run, judge and report; returns whether all is as it should be. Raises `Trouble`."""
    verdicts: list[Verdict] = []
    well = True
    for side in LEGS:
        here = [part for part in parts if part.leg[1] == side]
        if not here:
            continue
        (results / side).mkdir()
        with _opponent(side, results / side) as opponent:
            for part in here:
                records = results / side / part.leg[0]
                code = run(suite, part.leg, opponent, only, {side: part.expected}, records)
                found = [_verdict(part, name, records) for name in part.scenarios]
                verdicts += found
                if code and not any(verdict.unexpected for verdict in found):
                    print(f"The suite ended with code {code} on the {side}, {part.leg[0]}: see suite.log")
                    well = False
    for verdict in verdicts:
        print(verdict)
        if verdict.unexpected:
            well = False
            for problem in verdict.problems:
                print(f"        {problem}")
    kinds = Counter(verdict.kind for verdict in verdicts)
    counts = [f"{kinds[kind]} {kind}" for kind in ("passed", "empty", "failed as known") if kinds[kind]]
    counts.append(f"{kinds['not as expected']} not as expected")
    print(f"{len(verdicts)} scenarios: {', '.join(counts)}")
    return well


def _verdict(part: Part, scenario: str, records: Path) -> Verdict:
    problems, succeeded = judge(part.leg[1], scenario, records)
    return Verdict(part.leg, scenario, scenario in part.scored, scenario in part.expected, problems, succeeded)


def main() -> int:
    """Parse the command line and run; returns the exit code: 0, 1 if anything is not as expected, 2 for trouble."""
    parser = argparse.ArgumentParser(prog="python -m conformance.official", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--revision", choices=REVISIONS, help="only this revision")
    parser.add_argument("--leg", choices=LEGS, help="only this leg")
    parser.add_argument("--scenario", help="only this scenario")
    parser.add_argument("--results", type=Path, help="where to leave the records; a new folder, or none if all is well")
    options = parser.parse_args()
    revisions = REVISIONS if options.revision is None else [options.revision]
    legs = LEGS if options.leg is None else [options.leg]
    results = Path(tempfile.mkdtemp(prefix="conformance-")) if options.results is None else options.results
    results.mkdir(parents=True, exist_ok=True)
    shared = peers()
    code = 2
    try:
        suite = ensure()
        parts = plan(suite, revisions, legs, options.scenario)
        code = 0 if examine(suite, parts, options.scenario, results) else 1
    except (Trouble, shared.PeersError, FileExistsError) as trouble:
        print(f"conformance.official: {trouble}", file=sys.stderr)
    if options.results is None and (code == 0 or not any(results.iterdir())):
        shutil.rmtree(results)
    else:
        print(f"The records are in {results}")
    return code


if __name__ == "__main__":
    sys.exit(main())
