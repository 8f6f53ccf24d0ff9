"""The benchmark server on mcp 2.3.0: the low-level Server, in whichever revision it is spoken to.

This release has no tasks, so there is no `job` and no `work` tool.
"""

import asyncio

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.stdio import stdio_server

BIG = "x" * 1_000_000
TEXT_ARGUMENT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}
WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
TOOLS = [
    types.Tool(name="echo", description="Return the text.", input_schema=TEXT_ARGUMENT),
    types.Tool(
        name="big",
        description="Return a million characters.",
        input_schema={"type": "object", "properties": {}},
    ),
    types.Tool(name="ask", description="Ask for a word, and return the text and the word.", input_schema=TEXT_ARGUMENT),
]
SCHEMAS = {tool.name: tool.input_schema for tool in TOOLS}
QUESTION = types.ElicitRequest(params=types.ElicitRequestFormParams(message="Which word?", requested_schema=WORD))


def text_result(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def list_tools(_ctx, _params) -> types.ListToolsResult:
    return types.ListToolsResult(tools=TOOLS)


def ask(params: types.CallToolRequestParams) -> types.CallToolResult | types.InputRequiredResult:
    """Ask; the text goes back and forth in the state, which the boundary below seals."""
    if params.input_responses is None:
        return types.InputRequiredResult(input_requests={"word": QUESTION}, request_state=params.arguments["text"])
    answer = params.input_responses["word"]
    return text_result(f"{params.request_state} {answer.content['word']}")


async def call_tool(_ctx, params: types.CallToolRequestParams) -> types.CallToolResult | types.InputRequiredResult:
    if params.name == "echo":
        return text_result(params.arguments["text"])
    if params.name == "big":
        return text_result(BIG)
    if params.name == "ask":
        return ask(params)
    raise ValueError(f"unknown tool {params.name}")


# With the schemas at hand it need not list the tools at every stateless call to see which arguments are in headers.
server = Server(
    "bench",
    version="1.0",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    get_tool_input_schema=SCHEMAS.get,
)
server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="bench"))


async def main() -> None:
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
