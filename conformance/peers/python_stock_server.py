"""A server on mcp 1.30 as that SDK's own documentation has one made: ``python_stock_server.py [stdio|http]``.

``enable_tasks``, the ``call_tool`` decorator and ``run_task``, and nothing of ours in between; tests/peers has a server
on the same SDK that goes around what is wrong with these. Its tools are called like the abilities of a profile.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "peers"))

import anyio
from http_server import serve_http
from mcp import types
from mcp.server.experimental.task_context import ServerTaskContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import McpError

warnings.filterwarnings("ignore", message="The experimental tasks API", category=DeprecationWarning)

SUPPORT = {
    "quick": types.TASK_OPTIONAL,
    "slow": types.TASK_OPTIONAL,
    "fails": types.TASK_OPTIONAL,
    "is_error": types.TASK_OPTIONAL,
    "asks": types.TASK_REQUIRED,
    "asks_twice": types.TASK_REQUIRED,
    "samples": types.TASK_REQUIRED,
    "forbidden": types.TASK_FORBIDDEN,
    "required": types.TASK_REQUIRED,
}
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

server: Server[Any, Any] = Server("stock-python", version="1")
server.experimental.enable_tasks()


def text(value: str, *, is_error: bool = False) -> types.CallToolResult:
    """A tool result with one text block."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=value)], isError=is_error)


async def run(name: str, task: ServerTaskContext | None) -> types.CallToolResult:
    """What a tool does."""
    if name == "slow":
        await anyio.sleep(3)
    elif name == "fails":
        raise McpError(types.ErrorData(code=-32000, message="it broke", data={"reason": "on purpose"}))
    elif name == "is_error":
        return text("it went wrong", is_error=True)
    elif name.startswith("asks"):
        assert task is not None
        for _ in range(2 if name == "asks_twice" else 1):
            answer = await task.elicit("Your name?", NAME)
        return text(f"{answer.action} {answer.content}")
    elif name == "samples":
        assert task is not None
        said = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="Say something"))
        reply = await task.create_message([said], max_tokens=20)
        return text(reply.model)
    return text("done")


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    """Answer ``tools/list``."""
    schema = {"type": "object", "properties": {}}
    return [
        types.Tool(name=name, inputSchema=schema, execution=types.ToolExecution(taskSupport=support))
        for name, support in SUPPORT.items()
    ]


@server.call_tool()
async def call_tool(name: str, arguments: dict[str, Any]) -> types.CallToolResult | types.CreateTaskResult:
    """Answer ``tools/call``."""
    experimental = server.request_context.experimental
    experimental.validate_task_mode(SUPPORT[name])
    if not experimental.is_task:
        return await run(name, None)

    async def work(task: ServerTaskContext) -> types.CallToolResult:
        return await run(name, task)

    return await experimental.run_task(work)


async def main(transport: str) -> None:
    """Serve until stdin ends."""
    if transport == "http":
        await serve_http(server, "http")
        return
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(main, *(sys.argv[1:] or ["stdio"]))
