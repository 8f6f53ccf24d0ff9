"""Run the official suite against our server and our client: ``python -m conformance.official``.

The suite is what `install` installs, run with the requirements of 2025-11-25. The server leg drives the fixture peer,
which is started here and served over HTTP; for the client leg the suite starts ``conformance.fixtures.client`` once for
every scenario. What has to fail is in ``expected-failures.yml``, and everything else has to pass.

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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from .fixtures.client import PLAYED
from .install import ROOT, Suite, ensure, peers

__all__ = ["Trouble", "Verdict", "judge", "main"]

REVISION = "2025-11-25"
EXPECTED = ROOT / "conformance" / "expected-failures.yml"
SERVER = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.everything:peer", "--http", "127.0.0.1:0"]
CLIENT = [sys.executable, "-m", "conformance.fixtures.client"]
START_SECONDS = 30.0
END_SECONDS = 10.0
LEG_SECONDS = 900.0

PROOFS = {
    "server-session-lifecycle": "server-session-terminated-returns-404",
    "server-sse-polling": "server-sse-disconnect-resume",
    "initialize": "mcp-client-initialization",
}
"""Checks without which a scenario is content too, with what it does not find noted as information only."""


class Trouble(Exception):
    """The suite could not be run; the message is one line for a human."""


@frozen
class Verdict:
    """What came of one scenario."""

    leg: str
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

    def __str__(self) -> str:
        if self.unexpected:
            outcome = "FAILED" if self.problems else "PASSED, though it should fail"
        else:
            outcome = "fails, as known" if self.problems else f"passed ({self.succeeded})"
        return f"{self.leg:6}  {self.scenario:38}  {'required' if self.scored else '-':8}  {outcome}"


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


def run(suite: Suite, leg: str, scenarios: list[str], whole: bool, results: Path) -> int:
    """Run a leg of the suite, as a whole or one scenario; returns its exit code. Its records go below `results`."""
    results.mkdir()
    selection = ["--requirements", REVISION] if whole else ["--scenario", *scenarios, "--spec-version", REVISION]
    common = [*selection, "--expected-failures", str(EXPECTED), "--output-dir", str(results)]
    if leg == "client":
        return _logged(suite.command(leg, "--command", shlex.join(CLIENT), *common), results)
    with served(results / "server.log") as url:
        code = _logged(suite.command(leg, "--url", url, *common), results)
    for line in (results / "server.log").read_text().splitlines()[1:]:
        print(f"the server said: {line}")
    return code


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
    succeeded = {check["id"] for check in checks if check["status"] == "SUCCESS"}
    problems = [_problem(check) for check in checks if check["status"] in ("FAILURE", "WARNING", "SKIPPED")]
    if not succeeded:
        problems.append("nothing was found to be right")
    elif (proof := PROOFS.get(scenario)) is not None and proof not in succeeded:
        problems.append(f"{proof}: not put to the test")
    if leg == "client" and PLAYED.format(scenario) not in (records[-1] / "stdout.txt").read_text():
        problems.append(f"the client did not play to the end; it said: {_last_line(records[-1] / 'stderr.txt')}")
    return problems, sum(check["status"] == "SUCCESS" for check in checks)


def _problem(check: dict[str, Any]) -> str:
    said = check.get("errorMessage") or check.get("details", {}).get("message") or check["description"]
    return f"{check['id']}: {check['status'].lower()}: {said}"


def _last_line(path: Path) -> str:
    return (path.read_text().strip().splitlines() or ["nothing"])[-1]


# --- all of it --------------------------------------------------------------------------------------------------------


def examine(suite: Suite, legs: Iterable[str], only: str | None, results: Path) -> bool:
    """Run, judge and report; returns whether all is as it should be. Raises `Trouble`."""
    required = suite.read_yaml(suite.folder / "requirements" / f"{REVISION}.yaml")
    expected = suite.read_yaml(EXPECTED)
    verdicts: list[Verdict] = []
    well = True
    for leg in legs:
        unscored = [entry["scenario"] for entry in required["not_scored"] if entry["leg"] == leg]
        scenarios = [name for name in [*required[leg], *unscored] if only in (None, name)]
        if not scenarios:
            continue
        code = run(suite, leg, scenarios, only is None, results / leg)
        for name in scenarios:
            problems, succeeded = judge(leg, name, results / leg)
            known = name in expected.get(leg, [])
            verdicts.append(Verdict(leg, name, name in required[leg], known, problems, succeeded))
        if code and not any(verdict.unexpected for verdict in verdicts if verdict.leg == leg):
            print(f"The suite ended with code {code} on the {leg}: see suite.log")
            well = False
    if not verdicts:
        raise Trouble(f"no scenario is called {only!r}")
    for verdict in verdicts:
        print(verdict)
        if verdict.unexpected:
            well = False
            for problem in verdict.problems:
                print(f"        {problem}")
    unexpected = sum(verdict.unexpected for verdict in verdicts)
    failed = sum(verdict.fails_as_known and not verdict.unexpected for verdict in verdicts)
    print(
        f"{len(verdicts)} scenarios: {len(verdicts) - failed - unexpected} passed, {failed} failed as known, "
        f"{unexpected} not as expected"
    )
    return well


def main() -> int:
    """Parse the command line and run; returns the exit code: 0, 1 if anything is not as expected, 2 for trouble."""
    parser = argparse.ArgumentParser(prog="python -m conformance.official", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--leg", choices=["server", "client"], help="only this leg")
    parser.add_argument("--scenario", help="only this scenario")
    parser.add_argument("--results", type=Path, help="where to leave the records; a new folder, or none if all is well")
    options = parser.parse_args()
    legs = ["server", "client"] if options.leg is None else [options.leg]
    results = Path(tempfile.mkdtemp(prefix="conformance-")) if options.results is None else options.results
    results.mkdir(parents=True, exist_ok=True)
    shared = peers()
    code = 2
    try:
        code = 0 if examine(ensure(), legs, options.scenario, results) else 1
    except (Trouble, shared.PeersError, FileExistsError) as trouble:
        print(f"conformance.official: {trouble}", file=sys.stderr)
    if options.results is None and (code == 0 or not any(results.iterdir())):
        shutil.rmtree(results)
    else:
        print(f"The records are in {results}")
    return code


if __name__ == "__main__":
    sys.exit(main())
