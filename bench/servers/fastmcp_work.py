"""The benchmark server on fastmcp 4.1.4 with fastmcp-tasks 4.1.4, the newest two that go together: one task tool.

Usage: fastmcp_work.py stdio|http
"""

import asyncio
import sys

from fastmcp import FastMCP
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension

server = FastMCP("bench", version="1.0")
# Its worker runs ten tasks at once unless told otherwise; up to 32 are asked for.
server.add_extension(TasksExtension(url="memory://", concurrency=32))


@server.tool(task=TaskConfig(mode="required"), output_schema=None)
async def work(text: str) -> str:
    """Return the text, as a task."""
    return text


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        asyncio.run(server.run_stdio_async(show_banner=False, log_level="WARNING"))
    else:
        from asgi import serve

        serve(server.http_app(path="/mcp", json_response=True))
