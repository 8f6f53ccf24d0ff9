"""The benchmark server on fastmcp 4.1.6 over HTTP; it has no tasks in this revision, so no `job`."""

from asgi import serve
from fastmcp import FastMCP

BIG = "x" * 1_000_000

server = FastMCP("bench", version="1.0")


@server.tool(output_schema=None)
async def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool(output_schema=None)
async def big() -> str:
    """Return a million characters."""
    return BIG


if __name__ == "__main__":
    serve(server.http_app(path="/mcp", json_response=True))
