"""The server that is killed: a tool that is run again and whose steps are guarded, and one that is not run again.

It writes down each step when it is done and when it is kept, in a file that all its lives share.
"""

from __future__ import annotations

import os

from mcp_tasks import Context, Limits, Peer

__all__ = ["make_peer"]

MANY = 1_000_000_000


def make_peer(steps_file: str) -> Peer:
    """The peer; `steps_file` is where it writes down its steps."""
    steps = os.open(steps_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    limits = Limits(task_runs=MANY, running_tasks=MANY, retained_tasks=MANY, poll_interval_ms=1)
    peer = Peer("shop", "1.0", limits=limits)

    def write(kind: str, order: int, step: str) -> None:
        os.write(steps, f"{kind} {order} {step}\n".encode())

    async def step(ctx: Context, order: int, name: str) -> None:
        async def effect() -> str:
            write("effect", order, name)
            return name

        await ctx.once(name, effect)
        write("kept", order, name)

    @peer.tool(task="required", restartable=True)
    async def order(ctx: Context, number: int) -> str:
        """Run again after a crash."""
        await step(ctx, number, "pay")
        await ctx.report("paid")
        form = await ctx.elicit("For whom?", {"name": str}, key="who")
        await step(ctx, number, "ship")
        return f"{number} for {form['name']}"

    @peer.tool(task="required")
    async def fragile(ctx: Context, number: int) -> str:
        """Not run again."""
        await ctx.report("begun")
        form = await ctx.elicit("For whom?", {"name": str}, key="who")
        return f"{number} for {form['name']}"

    return peer
