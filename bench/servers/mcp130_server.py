"""The benchmark server on mcp 1.30.0: the low-level Server with experimental tasks enabled."""

import asyncio

import mcp.types as types
from mcp.server.experimental.task_context import ServerTaskContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

BIG = "x" * 1_000_000
TEXT_ARGUMENT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}
TOOLS = [
    types.Tool(name="echo", description="Return the text.", inputSchema=TEXT_ARGUMENT),
    types.Tool(
        name="big",
        description="Return a million characters.",
        inputSchema={"type": "object", "properties": {}},
    ),
    types.Tool(
        name="job",
        description="Return the text, as a task when asked to.",
        inputSchema=TEXT_ARGUMENT,
        execution=types.ToolExecution(taskSupport="optional"),
    ),
]

server = Server("bench", "1.0")
server.experimental.enable_tasks()


def text_result(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    return TOOLS


@server.call_tool(validate_input=False)
async def call_tool(name: str, arguments: dict) -> types.CallToolResult | types.CreateTaskResult:
    if name == "echo":
        return text_result(arguments["text"])
    if name == "big":
        return text_result(BIG)
    if name == "job":
        task = server.request_context.experimental
        if task.is_task:

            async def work(_: ServerTaskContext) -> types.CallToolResult:
                return text_result(arguments["text"])

            return await task.run_task(work)
        return text_result(arguments["text"])
    raise ValueError(f"unknown tool {name}")


async def main() -> None:
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
