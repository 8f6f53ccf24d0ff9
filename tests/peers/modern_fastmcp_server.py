"""A server on fastmcp 4.1 for revision 2026-07-28 with the tasks extension; it serves the handshake revisions as well.

Usage: modern_fastmcp_server.py [TRANSPORT]

Run it with the interpreter `install.python_fastmcp` names. For the transports, and for what it offers, see README.md.
Tasks are kept in memory. This SDK has no ``subscriptions/listen``, and so no ``announce``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from datetime import timedelta
from typing import Annotated, Any

os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)
os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
os.environ.setdefault("FASTMCP_LOG_LEVEL", "WARNING")

import anyio
import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension
from http_server import serve_app
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

TRANSPORTS = ("stdio", "http", "http-json")
LANGUAGES = ("english", "esperanto", "french", "german")
POLL = timedelta(milliseconds=100)
REQUIRED, OPTIONAL = (TaskConfig(mode=mode, poll_interval=POLL) for mode in ("required", "optional"))

server = FastMCP("mcp-tasks-modern-fastmcp-peer", version="1")
server.add_extension(TasksExtension(url="memory://", minimum_check_interval=timedelta(milliseconds=10)))
withdrawn = 0
"""How many calls of ``wait`` were cancelled."""


def question(message: str, **properties: str) -> types.ElicitRequest:
    """A form whose fields are all required: ``question("Your age?", age="integer")``."""
    described = {name: {"type": kind} for name, kind in properties.items()}
    schema = {"type": "object", "properties": described, "required": list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def ask_for(key: str, message: str, kind: str, state: str | None = None) -> types.InputRequiredResult:
    """What a tool returns that wants to know something and be called once more."""
    return types.InputRequiredResult(input_requests={key: question(message, **{key: kind})}, request_state=state)


def said(ctx: Context, key: str) -> Any:
    """What the user has filled in, or none if this is the first round or the user would not."""
    answer = (ctx.input_responses or {}).get(key)
    accepted = isinstance(answer, types.ElicitResult) and answer.action == "accept"
    return (answer.content or {}).get(key) if accepted else None


def greet(ctx: Context) -> str | types.InputRequiredResult:
    """Ask for a name, then greet."""
    if ctx.input_responses is None:
        return ask_for("name", "Your name?", "string")
    name = said(ctx, "name")
    return "you would not tell" if name is None else f"hi {name}"


# Tools -----------------------------------------------------------------------------------------


class Sum(BaseModel):
    """What ``add`` returns."""

    sum: int


@server.tool
async def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(sum=a + b)


@server.tool(output_schema=None)
async def fail() -> str:
    """End in a tool error."""
    raise ToolError("it failed")


@server.tool(output_schema=None)
async def progress(ctx: Context) -> str:
    """Report progress three times."""
    for step in (1, 2, 3):
        await ctx.report_progress(step, 3, f"step {step}")
    return "done"


@server.tool(output_schema=None)
async def ask(ctx: Context) -> Any:
    """Ask for a name."""
    return greet(ctx)


@server.tool(output_schema=None)
async def ask_twice(ctx: Context) -> Any:
    """Ask for a name and then for an age; the state that goes back and forth holds the name."""
    if ctx.input_responses is None:
        return ask_for("name", "Your name?", "string")
    if ctx.request_state:
        return f"{ctx.request_state} is {said(ctx, 'age')}"
    name = said(ctx, "name")
    return ask_for("age", f"{name}, your age?", "integer", name)


@server.tool(output_schema=None)
async def sample(prompt: str, ctx: Context) -> Any:
    """Ask the client's model."""
    reply = (ctx.input_responses or {}).get("reply")
    if isinstance(reply, types.CreateMessageResult):
        return reply.content.text if isinstance(reply.content, types.TextContent) else ""
    said = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    request = types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[said], max_tokens=100))
    return types.InputRequiredResult(input_requests={"reply": request})


@server.tool(output_schema=None)
async def tagged(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Take an argument that is in a header, too."""
    return f"region {region}"


@server.tool(output_schema=None)
async def wait(seconds: float) -> str:
    """Wait."""
    global withdrawn
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        withdrawn += 1
        raise
    return "waited"


@server.tool(output_schema=None)
async def cancelled() -> str:
    """Tell how many calls of ``wait`` were cancelled."""
    return str(withdrawn)


# Tasks -----------------------------------------------------------------------------------------


@server.tool(task=OPTIONAL, output_schema=None)
async def slow(seconds: float) -> str:
    """Wait, as a task if the client knows tasks."""
    return await wait(seconds)


@server.tool(task=REQUIRED, output_schema=None)
async def task_ask(ctx: Context) -> Any:
    """Ask for a name, as a task."""
    return greet(ctx)


@server.tool(task=REQUIRED, output_schema=None)
async def task_fail() -> str:
    """End in a tool error, as a task."""
    raise ToolError("it failed")


@server.tool(task=REQUIRED, output_schema=None)
async def task_error() -> str:
    """End in a JSON-RPC error, as a task."""
    raise MCPError(-32000, "it broke", {"reason": "broken on purpose"})


# The rest --------------------------------------------------------------------------------------


@server.resource("peer://greeting", name="greeting", mime_type="text/plain")
def greeting() -> str:
    """A resource."""
    return "good day"


@server.resource("peer://number/{number}", name="number", mime_type="text/plain")
def number(number: str) -> str:
    """A template."""
    return f"I am {number}"


@server.prompt
def introduce(name: str, language: str = "english") -> str:
    """A prompt."""
    return f"Introduce {name} in {language}."


@server.completion
async def complete(ref: Any, argument: Any, context: Any) -> list[str]:
    """Complete the language of the prompt."""
    return [language for language in LANGUAGES if language.startswith(argument.value)]


async def main(transport: str) -> None:
    """Serve until stdin ends."""
    if transport == "stdio":
        await server.run_stdio_async(show_banner=False, log_level="CRITICAL")
    else:
        await serve_app(server.http_app(path="/mcp", json_response=transport == "http-json"), lifespan=True)


if __name__ == "__main__":
    (name,) = sys.argv[1:] or TRANSPORTS[:1]
    assert name in TRANSPORTS
    logging.basicConfig(level=logging.WARNING)
    for noisy in ("fastmcp", "fastmcp_tasks", "docket"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # of tools that fail they tell with a traceback
    anyio.run(main, name)
