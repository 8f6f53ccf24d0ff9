"""A server on mcp 1.30, with that SDK's experimental tasks (revision 2025-11-25).

Usage: python_server.py [TRANSPORT]

Run it with the interpreter `install.python_130` names. For the transports, and for the tools that it
offers, see README.md.

Where the SDK offers a choice, it takes what the protocol asks for: the SDK's own `call_tool`
decorator turns every exception into an ``isError`` result, its ``tasks/result`` cannot end in a
JSON-RPC error, and its ``tasks/cancel`` leaves the work running (and the end of that work then
kills the server). Those three handlers are therefore written here, on the SDK's building blocks.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import anyio
import jsonschema
from http_server import TRANSPORTS, serve_http
from mcp import types
from mcp.server.experimental.task_context import ServerTaskContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.shared.exceptions import McpError
from mcp.shared.experimental.tasks.helpers import cancel_task, is_terminal
from mcp.shared.experimental.tasks.in_memory_task_store import InMemoryTaskStore
from mcp.shared.experimental.tasks.message_queue import InMemoryTaskMessageQueue, QueuedMessage

warnings.filterwarnings("ignore", message="The experimental tasks API", category=DeprecationWarning)
# What this release complains of though all is as it should be: a session is deleted whose GET stream is open; the
# answer to a question of a task has an id that is no number.
BAD_ALARMS = ("Error in standalone SSE writer", "Response ID 'question-")
for module in (None, StreamableHTTPServerTransport.__module__):
    logging.getLogger(module).addFilter(lambda record: not record.getMessage().startswith(BAD_ALARMS))

Schema = dict[str, Any]
Arguments = dict[str, Any]


class Store(InMemoryTaskStore):
    """The SDK's store, with bounded waits.

    The original keeps one event per task, so a second ``tasks/result`` for the same task, or an
    update in an unlucky moment, leaves a waiter asleep for ever. Its callers re-check on waking.
    """

    async def wait_for_update(self, task_id: str) -> None:
        with anyio.move_on_after(0.05):
            await super().wait_for_update(task_id)


class Queue(InMemoryTaskMessageQueue):
    """The SDK's queue of questions, with ids that differ.

    The SDK builds a question's JSON-RPC id from the address of a temporary object, so that two
    questions of one task mostly get the same id.
    """

    numbers = itertools.count(1)

    async def enqueue(self, task_id: str, message: QueuedMessage) -> None:
        if isinstance(message.message, types.JSONRPCRequest):
            fresh = f"question-{next(self.numbers)}"
            request = message.message.model_copy(update={"id": fresh})
            message = replace(message, message=request, original_request_id=fresh)
        await super().enqueue(task_id, message)


class ChangingServer(Server[Any, Any]):
    """A server that announces that its tools may change."""

    def create_initialization_options(self, *args: Any, **kwargs: Any) -> InitializationOptions:
        return super().create_initialization_options(NotificationOptions(tools_changed=True))


server = ChangingServer("mcp-tasks-python-peer", version="1")
support = server.experimental.enable_tasks(Store(), Queue())
jobs: dict[str, anyio.CancelScope] = {}
errors: dict[str, types.ErrorData] = {}


class Peer(Protocol):
    """What a tool may ask of the client, as part of a plain call or of a task."""

    session: ServerSession
    drop_stream: Callable[[], Awaitable[None]] | None
    """Only if streams can be resumed."""

    async def elicit(self, message: str, schema: Schema) -> types.ElicitResult: ...

    async def sample(self, prompt: str) -> str: ...

    async def progress(self, done: int, total: int) -> None: ...


class PlainPeer:
    """Asks directly, while the ``tools/call`` request is open."""

    def __init__(self) -> None:
        context = server.request_context
        self.session: ServerSession = context.session
        self._request_id = context.request_id
        self._token = context.meta.progressToken if context.meta else None
        self.drop_stream = context.close_sse_stream

    async def elicit(self, message: str, schema: Schema) -> types.ElicitResult:
        return await self.session.elicit_form(message, schema, self._request_id)

    async def sample(self, prompt: str) -> str:
        reply = await self.session.create_message(
            user_says(prompt), max_tokens=100, related_request_id=self._request_id
        )
        return text_of(reply)

    async def progress(self, done: int, total: int) -> None:
        await self._progress(done, total, str(self._request_id))

    async def _progress(self, done: int, total: int, related_request_id: str | None) -> None:
        if self._token is not None:
            message = f"step {done}"
            await self.session.send_progress_notification(self._token, done, total, message, related_request_id)


class TaskPeer(PlainPeer):
    """Asks through the task, so that questions wait for the client's ``tasks/result``."""

    task: ServerTaskContext

    async def elicit(self, message: str, schema: Schema) -> types.ElicitResult:
        return await self.task.elicit(message, schema)

    async def sample(self, prompt: str) -> str:
        return text_of(await self.task.create_message(user_says(prompt), max_tokens=100))

    async def progress(self, done: int, total: int) -> None:
        # The request that made the task has been answered: nothing can go the way its answer went.
        await self._progress(done, total, None)


def user_says(prompt: str) -> list[types.SamplingMessage]:
    """A conversation of one user message."""
    content = types.TextContent(type="text", text=prompt)
    return [types.SamplingMessage(role="user", content=content)]


def text_of(reply: types.CreateMessageResult) -> str:
    """The text the model wrote."""
    return reply.content.text if isinstance(reply.content, types.TextContent) else ""


def text(value: str, *, is_error: bool = False) -> types.CallToolResult:
    """A tool result with one text block."""
    content = [types.TextContent(type="text", text=value)]
    return types.CallToolResult(content=content, isError=is_error)


def form(**properties: str) -> Schema:
    """An object schema whose properties are all required: ``form(confirm="boolean")``."""
    described = {name: {"type": kind} for name, kind in properties.items()}
    return {"type": "object", "properties": described, "required": list(properties)}


# The tools -------------------------------------------------------------------------------------

Run = Callable[[Arguments, Peer], Awaitable[types.CallToolResult]]
TaskSupport = Literal["forbidden", "optional", "required"]


@dataclass(frozen=True)
class Entry:
    """A tool as listed, and the function behind it."""

    tool: types.Tool
    run: Run


tools: dict[str, Entry] = {}


def tool(task_support: TaskSupport, **properties: str) -> Callable[[Run], Run]:
    """Register a function as a tool of the same name."""

    def register(run: Run) -> Run:
        listed = types.Tool(
            name=run.__name__,
            description=run.__doc__,
            inputSchema=form(**properties),
            execution=types.ToolExecution(taskSupport=task_support),
        )
        tools[listed.name] = Entry(listed, run)
        return run

    return register


@tool("forbidden", name="string")
async def greet(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Say hello."""
    return text(f"hello {args['name']}")


@tool("optional", seconds="number")
async def slow_compute(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Wait, then say done."""
    await anyio.sleep(args["seconds"])
    return text("done")


@tool("required")
async def failing_job(args: Arguments, peer: Peer) -> types.CallToolResult:
    """End in a tool error."""
    return text("the job failed", is_error=True)


@tool("optional")
async def protocol_error_job(args: Arguments, peer: Peer) -> types.CallToolResult:
    """End in a JSON-RPC error."""
    data = {"reason": "broken on purpose"}
    raise McpError(types.ErrorData(code=-32000, message="the job broke", data=data))


@tool("optional", filename="string")
async def confirm_delete(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Ask for confirmation, then claim to delete."""
    answer = await peer.elicit(f"Delete {args['filename']}?", form(confirm="boolean"))
    confirmed = answer.action == "accept" and bool((answer.content or {}).get("confirm"))
    return text(f"{'deleted' if confirmed else 'kept'} {args['filename']}")


@tool("optional")
async def multi_input(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Ask for a name and an age at once."""
    answers: dict[str, object] = {}

    async def ask(key: str, kind: str) -> None:
        try:
            answer = await peer.elicit(f"Your {key}?", form(**{key: kind}))
        except McpError as error:
            answers[key] = error.error.message
        else:
            answers[key] = (answer.content or {}).get(key, answer.action)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "name", "string")
        group.start_soon(ask, "age", "integer")
    return text(f"{answers['name']} is {answers['age']}")


@tool("optional", prompt="string")
async def sample_job(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Ask the client's model midway."""
    await anyio.sleep(0.02)
    return text(await peer.sample(args["prompt"]))


@tool("optional", steps="integer")
async def progress_job(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Report progress after each step."""
    for step in range(1, args["steps"] + 1):
        await anyio.sleep(0.02)
        await peer.progress(step, args["steps"])
    return text(f"{args['steps']} steps")


@tool("forbidden", prompt="string")
async def drive_sampling(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Have the client sample as a task of its own, and poll that."""
    reply = await peer.session.experimental.create_message_as_task(user_says(args["prompt"]), max_tokens=100)
    return text(text_of(reply))


@tool("forbidden", message="string")
async def drive_elicitation(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Have the client elicit a confirmation as a task of its own, and poll that."""
    answer = await peer.session.experimental.elicit_as_task(args["message"], form(confirm="boolean"))
    content = json.dumps(answer.content, separators=(",", ":"))
    return text(f"{answer.action} {content}")


@tool("forbidden")
async def announce(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Say that the list of tools has changed."""
    await peer.session.send_tool_list_changed()
    return text("announced")


@tool("forbidden", steps="integer")
async def drop_stream(args: Arguments, peer: Peer) -> types.CallToolResult:
    """Close the stream of this request, then report progress and answer all the same."""
    if peer.drop_stream is not None:
        await anyio.sleep(0.05)  # this SDK closes streams, too, that have not even begun
        await peer.drop_stream()
    for step in range(1, args["steps"] + 1):
        await peer.progress(step, args["steps"])
    return text("there is nothing to drop" if peer.drop_stream is None else "dropped")


# The protocol ----------------------------------------------------------------------------------


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    """Answer ``tools/list``."""
    return [entry.tool for entry in tools.values()]


async def call_tool(request: types.CallToolRequest) -> types.ServerResult:
    """Answer ``tools/call``, at once or with a task."""
    entry = tools.get(request.params.name)
    if entry is None:
        raise invalid(f"Unknown tool: {request.params.name}")
    arguments = request.params.arguments or {}
    experimental = server.request_context.experimental
    experimental.validate_for_tool(entry.tool)
    try:
        jsonschema.validate(arguments, entry.tool.inputSchema)
    except jsonschema.ValidationError as error:
        raise invalid(error.message) from None
    if not experimental.is_task:
        return types.ServerResult(await entry.run(arguments, PlainPeer()))
    peer = TaskPeer()

    async def work(task: ServerTaskContext) -> types.CallToolResult:
        peer.task = task
        return await run_job(task, lambda: entry.run(arguments, peer))

    return types.ServerResult(await experimental.run_task(work))


async def run_job(task: ServerTaskContext, run: Callable[[], Awaitable[types.CallToolResult]]) -> types.CallToolResult:
    """Run a tool as a task that can be cancelled, expire, fail, or end in a JSON-RPC error."""
    scope = jobs[task.task_id] = anyio.CancelScope()
    result, failure = types.CallToolResult(content=[]), None
    try:
        with scope:
            result = await run()
    except Exception as error:  # raised again below, if the task still counts
        failure = error
    finally:
        del jobs[task.task_id]
    stored = await support.store.get_task(task.task_id)
    if stored is None or is_terminal(stored.status):
        # Purged or cancelled. The SDK looks at this copy, and would try to end the task again.
        task.task.status = "cancelled"
        return result
    if isinstance(failure, McpError):
        errors[task.task_id] = failure.error
    if failure:
        raise failure
    if result.isError:
        await support.store.store_result(task.task_id, result)
        await task.fail("the tool reported an error")
    return result


server.request_handlers[types.CallToolRequest] = call_tool


@server.experimental.get_task_result()
async def get_task_result(request: types.GetTaskPayloadRequest) -> types.GetTaskPayloadResult:
    """Answer ``tasks/result``, with the task's own JSON-RPC error if it ended in one."""
    context = server.request_context
    result = await support.handler.handle(request, context.session, context.request_id)
    if error := errors.get(request.params.taskId):
        raise McpError(error)
    return result


@server.experimental.cancel_task()
async def cancel(request: types.CancelTaskRequest) -> types.CancelTaskResult:
    """Answer ``tasks/cancel``, stop the work and drop its undelivered questions."""
    result = await cancel_task(support.store, request.params.taskId)
    await support.queue.clear(request.params.taskId)
    if scope := jobs.get(request.params.taskId):
        scope.cancel()
    return result


def invalid(message: str) -> McpError:
    """An "invalid params" error."""
    return McpError(types.ErrorData(code=types.INVALID_PARAMS, message=message))


async def serve_stdio() -> None:
    """Serve stdin and stdout until stdin ends; the SDK would wait for running tasks first."""
    async with stdio_server() as (read, write), anyio.create_task_group() as group:
        send, receive = anyio.create_memory_object_stream[Any](0)

        async def forward() -> None:
            async for message in read:
                await send.send(message)
            group.cancel_scope.cancel()

        group.start_soon(forward)
        await server.run(receive, write, server.create_initialization_options())


async def main(transport: str) -> None:
    """Serve, whatever the transport."""
    if transport == "stdio":
        await serve_stdio()
        return
    # The SDK has one group of tasks at a time: that of the session that began last, gone when any session ends.
    async with support.run():
        support.run = contextlib.nullcontext
        await serve_http(server, transport)
        support.task_group.cancel_scope.cancel()


if __name__ == "__main__":
    (name,) = sys.argv[1:] or TRANSPORTS[:1]
    assert name in TRANSPORTS
    anyio.run(main, name)
