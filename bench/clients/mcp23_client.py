"""The load made by mcp 2.3.0: its Client, told to open with the initialize handshake where there is one."""

import asyncio

from asyncio_load import measure_tool
from load import STATELESS, URL
from mcp import Client


async def main() -> None:
    async with Client(URL, mode="auto" if STATELESS else "legacy") as client:
        await measure_tool(client.call_tool)


if __name__ == "__main__":
    asyncio.run(main())
