"""The load made by fastmcp 4.1.6: its Client, told to open with the initialize handshake where there is one."""

import asyncio

from asyncio_load import measure_tool
from fastmcp import Client
from load import STATELESS, URL


async def main() -> None:
    async with Client(URL, mode="auto" if STATELESS else "legacy") as client:
        await measure_tool(client.call_tool)


if __name__ == "__main__":
    asyncio.run(main())
