"""The benchmark server on mcp 2.3.0: the low-level Server, opened by the initialize handshake.

This release has no tasks for the 2025-11-25 revision, so there is no `job` tool.
"""

import asyncio

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

BIG = "x" * 1_000_000
TOOLS = [
    types.Tool(
        name="echo",
        description="Return the text.",
        input_schema={
            "type": "object",
            "properties": {"text": {"type": "string"}},
            "required": ["text"],
        },
    ),
    types.Tool(
        name="big",
        description="Return a million characters.",
        input_schema={"type": "object", "properties": {}},
    ),
]


def text_result(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def list_tools(_ctx, _params) -> types.ListToolsResult:
    return types.ListToolsResult(tools=TOOLS)


async def call_tool(_ctx, params: types.CallToolRequestParams) -> types.CallToolResult:
    if params.name == "echo":
        return text_result(params.arguments["text"])
    if params.name == "big":
        return text_result(BIG)
    raise ValueError(f"unknown tool {params.name}")


server = Server("bench", version="1.0", on_list_tools=list_tools, on_call_tool=call_tool)


async def main() -> None:
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
