"""The load made by mcp 2.3.0: its Client, opening with the initialize handshake."""

import asyncio

from asyncio_load import measure_tool
from load import URL
from mcp import Client


async def main() -> None:
    async with Client(URL, mode="legacy") as client:
        await measure_tool(client.call_tool)


if __name__ == "__main__":
    asyncio.run(main())
