"""A server on mcp 2.3 for revision 2026-07-28; it serves the handshake revisions as well.

Usage: modern_python_server.py [TRANSPORT]

Run it with the interpreter `install.python_23` names. For the transports, and for what it offers, see README.md. That
SDK has no tasks.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

import anyio
from http_server import serve_app
from mcp.server.mcpserver import Context, MCPServer, Resolve, Sample
from mcp_types import (
    CallToolResult,
    Completion,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

TRANSPORTS = ("stdio", "http", "http-json")
LANGUAGES = ("english", "esperanto", "french", "german")

server = MCPServer("mcp-tasks-modern-python-peer", version="1", log_level="WARNING")
withdrawn = 0
"""How many calls of ``wait`` were cancelled."""


def question(message: str, **properties: str) -> ElicitRequest:
    """A form whose fields are all required: ``question("Your age?", age="integer")``."""
    described = {name: {"type": kind} for name, kind in properties.items()}
    schema = {"type": "object", "properties": described, "required": list(properties)}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def said(ctx: Context[Any, Any], key: str) -> Any:
    """What the user has filled in, or none if this is the first round or the user would not."""
    answer = (ctx.input_responses or {}).get(key)
    accepted = isinstance(answer, ElicitResult) and answer.action == "accept"
    return (answer.content or {}).get(key) if accepted else None


# Tools -----------------------------------------------------------------------------------------


class Sum(BaseModel):
    """What ``add`` returns."""

    sum: int


@server.tool()
async def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(sum=a + b)


@server.tool(structured_output=False)
async def fail() -> CallToolResult:
    """End in a tool error."""
    return CallToolResult(content=[TextContent(text="it failed")], is_error=True)


@server.tool(structured_output=False)
async def progress(ctx: Context[Any, Any]) -> str:
    """Report progress three times."""
    for step in (1, 2, 3):
        await ctx.report_progress(step, 3, f"step {step}")
    return "done"


@server.tool(structured_output=False)
async def ask(ctx: Context[Any, Any]) -> str | InputRequiredResult:
    """Ask for a name."""
    if ctx.input_responses is None:
        return InputRequiredResult(input_requests={"name": question("Your name?", name="string")})
    name = said(ctx, "name")
    return "you would not tell" if name is None else f"hi {name}"


@server.tool(structured_output=False)
async def ask_twice(ctx: Context[Any, Any]) -> str | InputRequiredResult:
    """Ask for a name and then for an age; the state that goes back and forth holds the name."""
    if ctx.input_responses is None:
        return InputRequiredResult(input_requests={"name": question("Your name?", name="string")}, request_state="")
    if ctx.request_state:
        return f"{ctx.request_state} is {said(ctx, 'age')}"
    name = said(ctx, "name")
    return InputRequiredResult(
        input_requests={"age": question(f"{name}, your age?", age="integer")}, request_state=name
    )


async def sampled(prompt: str) -> Sample:
    """What the client's model is to be asked."""
    return Sample([SamplingMessage(role="user", content=TextContent(text=prompt))], max_tokens=100)


@server.tool(structured_output=False)
async def sample(prompt: str, reply: Annotated[CreateMessageResult, Resolve(sampled)]) -> str:
    """Ask the client's model."""
    return reply.content.text if isinstance(reply.content, TextContent) else ""


@server.tool(structured_output=False)
async def tagged(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that is in a header, too."""
    return f"region {region}"


@server.tool(structured_output=False)
async def wait(seconds: float) -> str:
    """Wait."""
    global withdrawn
    try:
        await anyio.sleep(seconds)
    except anyio.get_cancelled_exc_class():
        withdrawn += 1
        raise
    return "waited"


@server.tool(structured_output=False)
async def cancelled() -> str:
    """Tell how many calls of ``wait`` were cancelled."""
    return str(withdrawn)


@server.tool(structured_output=False)
async def announce(ctx: Context[Any, Any]) -> str:
    """Say that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "announced"


@server.tool(structured_output=False)
async def touch(ctx: Context[Any, Any]) -> str:
    """Say that the resource has changed."""
    await ctx.notify_resource_updated("peer://greeting")
    return "touched"


# The rest --------------------------------------------------------------------------------------


@server.resource("peer://greeting", name="greeting", mime_type="text/plain")
def greeting() -> str:
    """A resource."""
    return "good day"


@server.resource("peer://number/{number}", name="number", mime_type="text/plain")
def number(number: str) -> str:
    """A template."""
    return f"I am {number}"


@server.prompt()
def introduce(name: str, language: str = "english") -> str:
    """A prompt."""
    return f"Introduce {name} in {language}."


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    """Complete the language of the prompt."""
    return Completion(values=[language for language in LANGUAGES if language.startswith(argument.value)])


async def main(transport: str) -> None:
    """Serve until stdin ends."""
    if transport == "stdio":
        await server.run_stdio_async()
    else:
        app = server.streamable_http_app(json_response=transport == "http-json")
        await serve_app(app, lifespan=True)


if __name__ == "__main__":
    (name,) = sys.argv[1:] or TRANSPORTS[:1]
    assert name in TRANSPORTS
    logging.basicConfig(level=logging.WARNING)
    for noisy in ("mcp.server.runner", "mcp.server._streamable_http_modern", "mcp.shared.jsonrpc_dispatcher"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # to this SDK an unknown prompt is an internal error
    anyio.run(main, name)
