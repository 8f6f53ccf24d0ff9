"""The load made by fastmcp 4.1.6: its Client, opening with the initialize handshake."""

import asyncio

from asyncio_load import measure_tool
from fastmcp import Client
from load import URL


async def main() -> None:
    async with Client(URL, mode="legacy") as client:
        await measure_tool(client.call_tool)


if __name__ == "__main__":
    asyncio.run(main())
