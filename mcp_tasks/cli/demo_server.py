"""The server of `mcp-tasks demo`: a forge with one tool for each thing that there is to see."""

from __future__ import annotations

import trio

from .._unset import UNSET
from ..peer.contexts import Context
from ..peer.peer import Peer
from ..peer.questions import Sample
from ..wire.content import TextContent

__all__ = ["peer"]

STEP_SECONDS = 0.15
_CLEANUP_SECONDS = 5.0

peer = Peer("forge", "1.0", description="Builds, ships and polishes; nothing of it real")

_polished: list[str] = []
_swept = trio.Event()


@peer.tool(task="required")
async def build(ctx: Context, target: str) -> str:
    """Build something, in steps."""
    steps = ("fetching", "compiling", "linking", "testing")
    for done, step in enumerate(steps, 1):
        await ctx.report(f"{step} {target}")
        await trio.sleep(STEP_SECONDS)
        await ctx.progress(done, len(steps), step)
    return f"built {target} in {len(steps)} steps"


@peer.tool(task="optional", grace=1.5 * STEP_SECONDS)
async def ship(ctx: Context, target: str) -> str:
    """Ship something to where the user wants it."""
    await ctx.report("packing")
    await trio.sleep(STEP_SECONDS)
    form = {
        "type": "object",
        "properties": {
            "region": {"type": "string", "enum": ["north", "south"], "default": "north"},
            "express": {"type": "boolean", "default": False},
        },
        "required": ["region"],
    }
    answer = await ctx.elicit(f"Where shall {target} go?", form)
    if answer.action != "accept":
        return f"kept {target}: {answer.action}"
    content = {} if answer.content is UNSET else answer.content
    await ctx.report("on its way")
    await trio.sleep(STEP_SECONDS)
    return f"shipped {target} {content['region']}{' by express' if content.get('express') else ''}"


@peer.tool
async def name_it(ctx: Context, target: str) -> str:
    """Name something, by the client's model, as a task that the client runs."""
    question = Sample(f"Think of a name for {target}.")
    async with ctx.connection.start(question.method, question.params()) as handle:
        seen = [task.status.value async for task in handle.updates()]
        message = question.read(await handle.value())
    said = message.content.text if isinstance(message.content, TextContent) else "nothing"
    return f"{target} is called {said} ({' -> '.join(dict.fromkeys(seen))})"


@peer.tool(task="required")
async def polish(ctx: Context, target: str) -> str:
    """Polish something until told to stop, then sweep up."""
    try:
        await ctx.report(f"polishing {target}")
        await trio.sleep_forever()
    finally:
        _polished.append(target)
        _swept.set()
    return "never"


@peer.tool
async def swept() -> str:
    """What was swept up after."""
    with trio.move_on_after(_CLEANUP_SECONDS):
        await _swept.wait()
    return ", ".join(_polished)
