"""`load.py` for the clients that run on asyncio."""

import asyncio
from collections.abc import Awaitable, Callable

import load


async def together(jobs: list[load.Job]) -> None:
    await asyncio.gather(*(job() for job in jobs))


async def measure_tool(call_tool: Callable[..., Awaitable]) -> None:
    """Measure a `call_tool(name, arguments)` that returns a result with content."""

    async def echo(text: str) -> str:
        return (await call_tool("echo", {"text": text})).content[0].text

    await load.measure(echo, together)
