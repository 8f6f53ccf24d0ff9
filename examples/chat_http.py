"""A client over HTTP: it leaves a task behind, and takes it up again by another connection, as other processes can."""

import sys

import trio
from chat import peer

from mcp_tasks import open_http


async def main(url: str) -> None:
    async with (
        open_http(url, auth="open-sesame") as transport,
        peer.connect(transport) as forge,
        forge.start("tools/call", {"name": "build", "arguments": {"parts": 2}}, ttl=3600) as task,
    ):
        saved = task.detach()  # plain data: a file or a database can keep it
    print("the connection is over, the task is not")

    async with (
        open_http(url, auth="open-sesame") as transport,
        peer.connect(transport) as forge,
        forge.resume(saved) as task,
    ):
        print((await task.value()).text)  # in a session, here comes the question if nobody has answered it


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/mcp")
