"""The load made by mcp_tasks, told to open with the initialize handshake where there is one."""

import load
import trio

from mcp_tasks import Peer, open_http


async def together(jobs: list[load.Job]) -> None:
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(job)


async def main() -> None:
    revision = None if load.STATELESS else "2025-11-25"
    peer = Peer("bench", "1.0")
    async with open_http(load.URL) as transport, peer.connect(transport, revision=revision) as server:

        async def echo(text: str) -> str:
            return (await server.call_tool("echo", {"text": text})).text

        await load.measure(echo, together)


if __name__ == "__main__":
    trio.run(main)
