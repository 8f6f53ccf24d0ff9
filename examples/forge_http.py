"""The forge over HTTP, for whoever shows a token; without `auth`, it would be for everybody on this machine."""

import sys
from functools import partial

import trio
from forge import peer

from mcp_tasks import BearerAuth, Identity, serve_http

TOKENS = {"open-sesame": Identity("ali"), "please": Identity("baba")}


async def verify(token: str) -> Identity | None:
    """Whose token it is. A real one checks its signature, its expiry, and that it was issued for this server."""
    return TOKENS.get(token)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_http, peer, port=port, auth=BearerAuth(verify)))
        print(server.url, flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
