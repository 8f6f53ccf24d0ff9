"""A server: three tools, one of which takes long, asks a question midway, and can really be cancelled."""

import trio

from mcp_tasks import Context, Peer, serve_stdio

peer = Peer("forge", "1.0")


@peer.tool
async def lint(path: str) -> str:
    """Check a file."""
    return f"{path}: no complaints"


@peer.tool(task="optional", grace=0)
async def build(ctx: Context, parts: int = 3) -> str:
    """Build something. A task if the client wants one, or, in the newest revision, where it does not end at once."""
    answer = await ctx.elicit("Build what?", {"target": str})
    if not answer.accepted:
        return "nothing was built"
    for part in range(1, parts + 1):
        await ctx.report(f"compiling part {part}")
        await ctx.progress(part, total=parts)
        await trio.sleep(0.05)  # cancelling the task cancels whatever it awaits; cleanup goes into `finally`
    return f"built {answer['target']}"


@peer.tool
async def name_it(ctx: Context, what: str) -> str:
    """Have the client's model think of a name."""
    message = await ctx.sample(f"A name for {what}, please", max_tokens=20)
    return message.text


if __name__ == "__main__":
    trio.run(serve_stdio, peer)
