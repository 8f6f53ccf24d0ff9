"""The load made by mcp 1.30.0: its ClientSession on its streamable HTTP client."""

import asyncio

from asyncio_load import measure_tool
from load import URL
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    async with streamable_http_client(URL) as (reader, writer, _), ClientSession(reader, writer) as session:
        await session.initialize()
        await measure_tool(session.call_tool)


if __name__ == "__main__":
    asyncio.run(main())
