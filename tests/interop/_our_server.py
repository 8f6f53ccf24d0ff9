"""Our server as a program of its own, for what the command line has no option for, and the fixture no tool.

Run it as ``python -m tests.interop._our_server``; it says what ``mcp-tasks serve --http`` says, and ends like it. It
serves the peer of conformance.fixtures.everything to whoever has one of its tokens, and there are more tools.
"""

from __future__ import annotations

import signal
import sys
from functools import partial

import trio

from conformance.fixtures.everything import peer
from mcp_tasks import BearerAuth, Context, HttpServer, Identity, Principal, serve_http

TOKENS = {"token-of-ada": "ada", "token-of-grace": "grace"}


@peer.tool
async def announce() -> str:
    """Change the list of tools, of which all clients are told."""
    peer.tool(name="announced")(announce)
    return "announced"


@peer.tool
async def drop_stream(ctx: Context, steps: int) -> str:
    """Close the stream of this request, then report progress and answer all the same.

    Args:
        steps: How often to report.
    """
    await ctx.drop_stream(retry=0.1)
    for step in range(1, steps + 1):
        await ctx.progress(step, steps)
    return "dropped"


async def verify(token: str) -> Identity | None:
    """Whose token it is."""
    return Identity(Principal(TOKENS[token])) if token in TOKENS else None


async def main() -> int:
    """Serve until a signal comes; returns the exit code."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with peer, trio.open_nursery() as nursery:
            server: HttpServer = await nursery.start(partial(serve_http, peer, auth=BearerAuth(verify)))
            print(f"mcp-tasks: {peer.info.name} is served at {server.url}", file=sys.stderr, flush=True)
            number = await anext(signals)
            await server.aclose()
    return 128 + number


if __name__ == "__main__":
    sys.exit(trio.run(main))
