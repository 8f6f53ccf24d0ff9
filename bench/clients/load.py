"""The load that every Python client makes: calls of `echo`, one after the other or several at once.

Usage of the programs that import this: CLIENT URL WINDOW WARM_UP SECONDS REVISION.  They print one
line of JSON: how many calls, the seconds they took, and the processor time of this process meanwhile.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable

URL = sys.argv[1]
WINDOW = int(sys.argv[2])
WARM_UP, SECONDS = map(float, sys.argv[3:5])
STATELESS = sys.argv[5] == "2026-07-28"

Echo = Callable[[str], Awaitable[str]]  # calls the tool, returns the text of its result
Job = Callable[[], Awaitable[None]]


async def measure(echo: Echo, together: Callable[[list[Job]], Awaitable[object]]) -> None:
    """Warm up, measure, print; `together` runs jobs concurrently until all are done."""
    await spell(echo, together, WARM_UP)
    print(json.dumps(await spell(echo, together, SECONDS)), flush=True)


async def spell(echo: Echo, together, seconds: float) -> dict[str, float]:
    calls = 0
    clock = time.perf_counter
    used, began = time.process_time(), clock()
    until = began + seconds

    async def job() -> None:
        nonlocal calls
        while clock() < until:
            calls += 1
            text = f"text-{calls}"
            said = await echo(text)
            if said != text:
                raise SystemExit(f"expected {text}, got {said}")

    await together([job] * WINDOW)
    return {"calls": calls, "seconds": clock() - began, "cpu": time.process_time() - used}
