"""What a recorder between a client and a server costs: the same calls with and without it, in turns.

    python bench/recorder.py             # 5 rounds, a minute; writes the table in README.md
    python bench/recorder.py --quick     # to see that it works; writes nothing

Our server answers `echo` one call at a time, over stdio and over HTTP (one connection), straight and by way of
`mcp-tasks record`. A call's time runs from before the write to after the read that completed the answer.
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from child import clock, no_collection
from common import with_repository, write_readme

HERE = Path(__file__).parent
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "0"},
}
Call = Callable[[bytes], bytes]


def message(method: str, params: dict, id: int | None = None) -> bytes:
    found = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(found if id is None else {**found, "id": id}).encode()


@contextlib.contextmanager
def over_stdio(python: str, record: str | None) -> Iterator[Call]:
    server = [python, str(HERE / "servers" / "ours.py")]
    command = server if record is None else [python, "-m", "mcp_tasks", "record", record, "--", *server]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **with_repository()}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def call(data: bytes) -> bytes:
            process.stdin.write(data + b"\n")
            process.stdin.flush()
            return process.stdout.readline() if b'"id"' in data else b""

        yield call
        process.stdin.close()


@contextlib.contextmanager
def over_http(python: str, record: str | None) -> Iterator[Call]:
    env = {**os.environ, **with_repository()}
    with contextlib.ExitStack() as stack:
        command = [python, str(HERE / "servers" / "ours_http.py")]
        serving = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env))
        stack.callback(serving.terminate)
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        if record is not None:
            command = [python, "-m", "mcp_tasks", "record", record, "--url", url]
            recording = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env))
            stack.callback(recording.terminate)
            assert recording.stderr is not None
            url = recording.stderr.readline().split()[-1]
        where = urlsplit(url)
        line = http.client.HTTPConnection(where.hostname or "", where.port)
        stack.callback(line.close)
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}

        def call(data: bytes) -> bytes:
            line.request("POST", where.path, data, headers)
            answer = line.getresponse()
            if session := answer.getheader("mcp-session-id"):
                headers.update({"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"})
            return answer.read()

        yield call


def measured(call: Call, calls: int) -> tuple[float, float]:
    """Median and 99th percentile of a call, in microseconds."""
    call(message("initialize", INITIALIZE, 0))
    call(message("notifications/initialized", {}))
    times = []
    with no_collection():
        for number in range(1, calls + calls // 4 + 1):
            data = message("tools/call", {"name": "echo", "arguments": {"text": f"t{number}"}}, number)
            began = clock()
            answer = call(data)
            took = clock() - began
            assert f'"t{number}"'.encode() in answer, answer
            if number > calls // 4:  # the first are warm-up
                times.append(took * 1e6)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    rounds, calls = (1, 300) if options.quick else (options.rounds, options.calls)
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, opened in (("stdio", over_stdio), ("HTTP", over_http)):
                for recorded in (False, True) if number % 2 else (True, False):
                    record = str(Path(folder) / "out.jsonl") if recorded else None
                    with opened(options.python, record) as call:
                        found.setdefault((name, recorded), []).append(measured(call, calls))
    lines = [
        "| | straight, p50 | recorded, p50 | added, p50 | straight, p99 | recorded, p99 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ("stdio", "HTTP"):
        straight, recorded = found[name, False], found[name, True]
        added = [b[0] - a[0] for a, b in zip(straight, recorded, strict=True)]
        shown = [
            show([one[0] for one in straight]),
            show([one[0] for one in recorded]),
            show(added),
            show([one[1] for one in straight]),
            show([one[1] for one in recorded]),
        ]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    text = "\n".join([f"{rounds} rounds of {calls} calls; µs; median of the rounds (lowest..highest).", "", *lines])
    print(text)
    if not options.quick:
        write_readme("recorder", text)
    return 0


def show(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}..{max(values):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
