"""Our server for clients of revision 2026-07-28, as a program of its own: the tools of tests/peers/README.md.

Run it as ``python -m tests.interop._our_modern_server`` for HTTP, which says where on stderr and ends on SIGTERM, or
with ``--stdio``. It serves the handshake revisions as well; nothing here knows which one is spoken.
"""

from __future__ import annotations

import signal
import sys
import warnings
from functools import partial
from typing import Annotated, Any

import msgspec
import trio

from mcp_tasks import UNSET, Context, HttpServer, Peer, RequestFailed, ToolError, serve_http, serve_stdio

LANGUAGES = ("english", "esperanto", "french", "german")

peer = Peer("mcp-tasks-modern", "1")
withdrawn = 0
"""How many calls of ``wait`` and ``slow`` were cancelled."""


class Sum(msgspec.Struct):
    """What ``add`` returns."""

    sum: int


def filled_in(answer: Any, name: str) -> Any:
    """A field of a form, or none if the user would not."""
    return answer.content.get(name) if answer.action == "accept" and answer.content is not UNSET else None


# --- tools ------------------------------------------------------------------------------------------------------------


@peer.tool
async def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(a + b)


@peer.tool
async def fail() -> str:
    """End in a tool error."""
    raise ToolError("it failed")


@peer.tool
async def progress(ctx: Context) -> str:
    """Report progress three times."""
    for step in (1, 2, 3):
        await ctx.progress(step, 3, f"step {step}")
    return "done"


@peer.tool
async def ask(ctx: Context) -> str:
    """Ask for a name."""
    name = filled_in(await ctx.elicit("Your name?", {"name": str}, key="name"), "name")
    return "you would not tell" if name is None else f"hi {name}"


@peer.tool
async def ask_twice(ctx: Context) -> str:
    """Ask for a name and then for an age."""
    name = filled_in(await ctx.elicit("Your name?", {"name": str}, key="name"), "name")
    age = filled_in(await ctx.elicit(f"{name}, your age?", {"age": int}, key="age"), "age")
    return f"{name} is {age}"


@peer.tool
async def sample(ctx: Context, prompt: str) -> str:
    """Ask the client's model."""
    reply: Any = await ctx.sample(prompt, max_tokens=100, key="reply")
    return str(reply.content.text)


@peer.tool
async def tagged(region: Annotated[str, msgspec.Meta(extra_json_schema={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that is in a header, too."""
    return f"region {region}"


@peer.tool
async def wait(seconds: float) -> str:
    """Wait."""
    global withdrawn
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        withdrawn += 1
        raise
    return "waited"


@peer.tool
async def cancelled() -> str:
    """Tell how many calls were cancelled."""
    return str(withdrawn)


@peer.tool
async def announce() -> str:
    """Change the list of tools."""
    peer.tool(name="announced")(announce)
    return "announced"


@peer.tool
async def touch() -> str:
    """Say that the resource has changed."""
    await peer.resource_updated("peer://greeting")
    return "touched"


# --- tasks ------------------------------------------------------------------------------------------------------------


@peer.tool(task="optional", grace=0.1)
async def slow(seconds: float) -> str:
    """Wait, as a task if it takes long and the client knows tasks."""
    return await wait(seconds)


@peer.tool(task="required")
async def task_ask(ctx: Context) -> str:
    """Ask for a name, as a task."""
    return await ask(ctx)


@peer.tool(task="required")
async def task_fail() -> str:
    """End in a tool error, as a task."""
    raise ToolError("it failed")


@peer.tool(task="required")
async def task_error() -> str:
    """End in a JSON-RPC error, as a task."""
    raise RequestFailed(-32000, "it broke", {"reason": "broken on purpose"})


# --- the rest ---------------------------------------------------------------------------------------------------------


@peer.resource("peer://greeting", mime_type="text/plain")
async def greeting() -> str:
    """A resource."""
    return "good day"


@peer.resource("peer://number/{number}", mime_type="text/plain")
async def numbered(number: str) -> str:
    """A template."""
    return f"I am {number}"


@peer.prompt
async def introduce(name: str, language: str = "english") -> str:
    """A prompt."""
    return f"Introduce {name} in {language}."


@peer.completion(prompt="introduce")
async def complete_language(argument: str, typed: str, known: dict[str, str]) -> list[str]:
    """Complete the language of the prompt."""
    return [language for language in LANGUAGES if language.startswith(typed)]


async def over_http() -> int:
    """Serve until a signal comes; returns the exit code."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with peer, trio.open_nursery() as nursery:
            server: HttpServer = await nursery.start(partial(serve_http, peer))
            print(f"mcp-tasks: {peer.info.name} is served at {server.url}", file=sys.stderr, flush=True)
            number = await anext(signals)
            await server.aclose()
    return 128 + number


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # sampling is deprecated, and this module is the main one
    if sys.argv[1:] == ["--stdio"]:
        trio.run(serve_stdio, peer)
    else:
        sys.exit(trio.run(over_http))
