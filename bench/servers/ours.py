"""The benchmark server on mcp_tasks: five tools, nothing else."""

import trio

from mcp_tasks import Context, Limits, Peer, serve_stdio

BIG = "x" * 1_000_000
# The memory and retention cells keep up to 110,000 tasks for one caller; every other setting
# is the default.  This is the only place that knows the names of the limits.
LIMITS = Limits(retained_tasks=200_000, running_tasks=200_000)

peer = Peer("bench", "1.0", limits=LIMITS)


@peer.tool
async def echo(text: str) -> str:
    """Return the text."""
    return text


@peer.tool
async def big() -> str:
    """Return a million characters."""
    return BIG


@peer.tool(task="optional")
async def job(text: str) -> str:
    """Return the text, as a task when asked to."""
    return text


@peer.tool(task="required")
async def work(text: str) -> str:
    """Return the text, as a task."""
    return text


@peer.tool
async def ask(ctx: Context, text: str) -> str:
    """Ask for a word, and return the text and the word."""
    answer = await ctx.elicit("Which word?", {"word": str})
    return f"{text} {answer.content['word']}"


if __name__ == "__main__":
    trio.run(serve_stdio, peer)
