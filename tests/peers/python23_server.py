"""A server on mcp 2.3, for the initialize handshake alone (revision 2025-11-25); that SDK has no tasks for it.

Usage: python23_server.py [TRANSPORT]

Run it with the interpreter `install.python_23` names. For the transports, and for the tools that it
offers, see README.md.
"""

from __future__ import annotations

import base64
import logging
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import jsonschema
import mcp_types as types
from http_server import TRANSPORTS, serve_http
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import SessionMessage

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

Context = ServerRequestContext[Any, Any]
Arguments = dict[str, Any]
Schema = dict[str, Any]

PAGE = 10
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LANGUAGES = ("english", "esperanto", "french", "german")


def text(value: str, *, is_error: bool = False) -> types.CallToolResult:
    """A tool result with one text block."""
    return types.CallToolResult(content=[types.TextContent(text=value)], is_error=is_error)


def form(**properties: str) -> Schema:
    """An object schema whose properties are all required: ``form(confirm="boolean")``."""
    described = {name: {"type": kind} for name, kind in properties.items()}
    return {"type": "object", "properties": described, "required": list(properties)}


# The tools -------------------------------------------------------------------------------------

Run = Callable[[Arguments, Context], Awaitable[types.CallToolResult]]
tools: dict[str, tuple[types.Tool, Run]] = {}


def tool(**properties: str) -> Callable[[Run], Run]:
    """Register a function as a tool of the same name."""

    def register(run: Run) -> Run:
        listed = types.Tool(name=run.__name__, description=run.__doc__, input_schema=form(**properties))
        tools[listed.name] = (listed, run)
        return run

    return register


@tool(name="string")
async def greet(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Say hello."""
    return text(f"hello {args['name']}")


@tool()
async def failing_job(args: Arguments, ctx: Context) -> types.CallToolResult:
    """End in a tool error."""
    return text("the job failed", is_error=True)


@tool()
async def protocol_error_job(args: Arguments, ctx: Context) -> types.CallToolResult:
    """End in a JSON-RPC error."""
    raise MCPError(-32000, "the job broke", {"reason": "broken on purpose"})


async def ask(ctx: Context, message: str, schema: Schema) -> types.ElicitResult:
    """Ask the user, while the request is being served."""
    return await ctx.session.elicit_form(message, schema, ctx.request_id)


@tool(filename="string")
async def confirm_delete(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Ask for confirmation, then claim to delete."""
    answer = await ask(ctx, f"Delete {args['filename']}?", form(confirm="boolean"))
    confirmed = answer.action == "accept" and bool((answer.content or {}).get("confirm"))
    return text(f"{'deleted' if confirmed else 'kept'} {args['filename']}")


@tool()
async def multi_input(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Ask for a name and an age at once."""
    answers: dict[str, object] = {}

    async def ask_for(key: str, kind: str) -> None:
        answer = await ask(ctx, f"Your {key}?", form(**{key: kind}))
        answers[key] = (answer.content or {}).get(key, answer.action)

    async with anyio.create_task_group() as group:
        group.start_soon(ask_for, "name", "string")
        group.start_soon(ask_for, "age", "integer")
    return text(f"{answers['name']} is {answers['age']}")


@tool(prompt="string")
async def sample_job(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Ask the client's model midway."""
    said = types.SamplingMessage(role="user", content=types.TextContent(text=args["prompt"]))
    reply = await ctx.session.create_message([said], max_tokens=100, related_request_id=ctx.request_id)
    return text(reply.content.text if isinstance(reply.content, types.TextContent) else "")


@tool(steps="integer")
async def progress_job(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Report progress, and log at the level "info", after each step."""
    for step in range(1, args["steps"] + 1):
        await anyio.sleep(0.02)
        await ctx.session.report_progress(step, args["steps"], f"step {step}")
        if LEVELS.index("info") >= LEVELS.index(level):
            await ctx.session.send_log_message("info", f"step {step}", related_request_id=ctx.request_id)
    return text(f"{args['steps']} steps")


@tool()
async def announce(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Say that the list of tools has changed."""
    await ctx.session.send_tool_list_changed()
    return text("announced")


@tool(steps="integer")
async def drop_stream(args: Arguments, ctx: Context) -> types.CallToolResult:
    """Close the stream of this request, then report progress and answer all the same."""
    if ctx.close_sse_stream is not None:
        await anyio.sleep(0.05)  # this SDK closes streams, too, that have not even begun
        await ctx.close_sse_stream()
    for step in range(1, args["steps"] + 1):
        await ctx.session.report_progress(step, args["steps"], f"step {step}")
    return text("there is nothing to drop" if ctx.close_sse_stream is None else "dropped")


# The protocol ----------------------------------------------------------------------------------

level: types.LoggingLevel = "warning"


async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """Answer ``tools/list``."""
    return types.ListToolsResult(tools=[listed for listed, _ in tools.values()])


async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Answer ``tools/call``."""
    if params.name not in tools:
        raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
    listed, run = tools[params.name]
    arguments = params.arguments or {}
    try:
        jsonschema.validate(arguments, listed.input_schema)
    except jsonschema.ValidationError as error:
        raise MCPError(types.INVALID_PARAMS, error.message) from None
    return await run(arguments, ctx)


async def list_resources(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    """Answer ``resources/list``: 23 of them, ten at a time."""
    start = int((params.cursor if params else None) or 0)
    entries = [types.Resource(uri=f"peer://number/{number}", name=f"number {number}") for number in range(1, 24)]
    more = str(start + PAGE) if start + PAGE < len(entries) else None
    return types.ListResourcesResult(resources=entries[start : start + PAGE], next_cursor=more)


async def list_templates(
    ctx: Context, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    """Answer ``resources/templates/list``."""
    template = types.ResourceTemplate(uri_template="peer://blob/{number}", name="blob")
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """Answer ``resources/read``."""
    kind, _, number = params.uri.removeprefix("peer://").partition("/")
    if not number.isdecimal():
        raise MCPError(-32002, "Resource not found", {"uri": params.uri})
    if kind == "blob":
        blob = base64.b64encode(bytes([int(number)])).decode()
        return types.ReadResourceResult(contents=[types.BlobResourceContents(uri=params.uri, blob=blob)])
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text=f"I am {number}")])


async def list_prompts(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    """Answer ``prompts/list``."""
    arguments = [types.PromptArgument(name="name", required=True), types.PromptArgument(name="language")]
    return types.ListPromptsResult(prompts=[types.Prompt(name="introduce", arguments=arguments)])


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Answer ``prompts/get``."""
    arguments = params.arguments or {}
    said = f"Introduce {arguments['name']} in {arguments.get('language', 'english')}."
    message = types.PromptMessage(role="user", content=types.TextContent(text=said))
    return types.GetPromptResult(messages=[message])


async def complete(ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    """Answer ``completion/complete``."""
    values = [language for language in LANGUAGES if language.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values))


async def set_level(ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Answer ``logging/setLevel``."""
    global level
    level = params.level
    return types.EmptyResult()


class ChangingServer(Server[Any]):
    """A server that announces that its tools may change."""

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> InitializationOptions:
        return super().create_initialization_options(NotificationOptions(tools_changed=True))


server = ChangingServer(
    "mcp-tasks-python23-peer",
    version="1",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_completion=complete,
    on_set_logging_level=set_level,
)


# That SDK speaks a newer revision as well, of which this server is to know nothing. Over HTTP it is enough to refuse to
# tell; on stdio the SDK may not even see the question, for then it would refuse the handshake that follows.

UNKNOWN = types.ErrorData(code=types.METHOD_NOT_FOUND, message="Method not found")


async def refuse(ctx: Context, call_next: Any) -> Any:
    """Do not tell which revisions are spoken."""
    if ctx.method == "server/discover":
        raise MCPError.from_error_data(UNKNOWN)
    return await call_next(ctx)


async def sieve(read: Any, write: Any, passed: Any) -> None:
    """Pass messages on, and answer what is not to be told."""
    async with passed:
        async for said in read:
            request = getattr(said, "message", None)
            if getattr(request, "method", None) == "server/discover":
                error = types.JSONRPCError(jsonrpc="2.0", id=request.id, error=UNKNOWN)
                await write.send(SessionMessage(error))
            else:
                await passed.send(said)


async def main(transport: str) -> None:
    """Serve until stdin ends."""
    if transport != "stdio":
        server.middleware.append(refuse)
        await serve_http(server, transport)
        return
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        passed, older = anyio.create_memory_object_stream[Any](0)
        group.start_soon(sieve, read, write, passed)
        await server.run(older, write, server.create_initialization_options())


if __name__ == "__main__":
    (name,) = sys.argv[1:] or TRANSPORTS[:1]
    assert name in TRANSPORTS
    logging.basicConfig(level=logging.WARNING)
    anyio.run(main, name)
