"""The benchmark server on mcp_tasks over HTTP: the peer of the stdio one."""

from functools import partial

import trio
from ours import peer

from mcp_tasks import serve_http


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_http, peer, port=0))
        print(server.url, flush=True)


if __name__ == "__main__":
    trio.run(main)
