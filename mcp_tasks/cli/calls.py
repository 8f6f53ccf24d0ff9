"""`mcp-tasks tools`, `call` and `tasks ...`: what they do, apart from how they are typed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import frozen

from .._unset import JSON, UNSET, JSONObject
from .._version import __version__
from ..errors import RequestFailed
from ..peer.connection import Connection
from ..peer.handles import SavedTask, TaskHandle
from ..peer.peer import Peer
from ..wire.content import ContentBlock, EmbeddedResource, ResourceLink, TextContent, TextResourceContents
from ..wire.server_features import CallToolParams, CallToolResult, Tool
from ..wire.tasks import Task
from .display import Display, clean
from .exits import Exit, Trouble
from .following import Follower, progress_event, saved_json, wire_json
from .running import Interrupts
from .servers import connected, find_server
from .terminal import Terminal
from .user import User

__all__ = [
    "Session",
    "call_tool",
    "cancel_task",
    "get_task",
    "list_tasks",
    "list_tools",
    "parse_arguments",
    "render",
    "resume_task",
    "task_result",
]


@frozen(kw_only=True)
class Session:
    """What all of these commands have: a server to talk to, a display, and somebody who answers questions."""

    server: str
    config: Path | None
    display: Display
    interrupts: Interrupts
    yes: bool = False
    save: Path | None = None
    revision: str | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[Connection, Terminal]]:
        """Connect to the server, ready to be asked something."""
        peer = Peer("mcp-tasks", __version__, title="mcp-tasks command line")
        terminal = Terminal(self.display)
        User(terminal, self.display, yes=self.yes).attach(peer)
        server = find_server(self.server, self.config)
        async with connected(peer, server, self.display, revision=self.revision) as connection:
            yield connection, terminal


# --- tools ------------------------------------------------------------------------------------------------------------


async def list_tools(session: Session) -> int:
    """Show the server's tools."""
    async with session.connection() as (connection, _):
        async for tool in connection.list_tools():
            session.display.result(wire_json(connection, tool), _described(tool))
    return Exit.OK


def _described(tool: Tool) -> str:
    properties: JSONObject = tool.input_schema.get("properties", {})
    required = tool.input_schema.get("required", [])
    arguments = [name if name in required else f"[{name}]" for name in properties]
    support = _task_support(tool)
    task = "" if support == "forbidden" else f"  (task: {support})"
    summary = "" if tool.description is UNSET else tool.description.strip().partition("\n")[0]
    return clean(" ".join([tool.name, *arguments]) + task + (f"\n    {summary}" if summary else ""))


def _task_support(tool: Tool | None) -> str:
    if tool is None or tool.execution is UNSET or tool.execution.task_support is UNSET:
        return "forbidden"
    return tool.execution.task_support


def parse_arguments(words: Sequence[str], given: str | None, tool: Tool | None) -> JSONObject:
    """Arguments from ``name=value`` words on top of a JSON object. Raises `Trouble`.

    A value is JSON if it can be, unless the tool's schema says that the argument is a string.
    """
    arguments: JSON = {}
    if given is not None:
        try:
            arguments = json.loads(given)
        except ValueError as error:
            raise Trouble(f"--args is no JSON: {error}", Exit.USAGE) from None
        if not isinstance(arguments, dict):
            raise Trouble("--args has to be a JSON object", Exit.USAGE)
    properties: JSONObject = {} if tool is None else tool.input_schema.get("properties", {})
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise Trouble(f"{word!r} is not of the form name=value", Exit.USAGE)
        schema = properties.get(name)
        arguments[name] = value if isinstance(schema, dict) and schema.get("type") == "string" else _value(value)
    return arguments  # type: ignore[no-any-return]


def _value(text: str) -> JSON:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def call_tool(
    session: Session,
    name: str,
    words: Sequence[str],
    given: str | None,
    *,
    as_task: bool,
    ttl: float | None,
) -> int:
    """Call a tool, as a task if that is wished for or demanded, and show its result."""
    display = session.display
    async with session.connection() as (connection, terminal):
        tool = await _find_tool(connection, name)
        arguments = parse_arguments(words, given, tool)
        decides = connection.dialect.stateless  # then it is the server who makes a task of it, or not
        if not as_task and not decides and _task_support(tool) != "required":
            result = await connection.call(
                "tools/call",
                CallToolParams(name=name, arguments=arguments),
                on_progress=lambda said: display.event(progress_event(name, said)),
            )
            return _show_result(session, connection, "tools/call", result)
        follower = Follower(name, display, terminal, session.interrupts)
        params = CallToolParams(name=name, arguments=arguments)
        async with connection.start("tools/call", params, ttl=ttl, on_progress=follower.progress) as handle:
            return await _follow(session, connection, follower, handle)


async def _find_tool(connection: Connection, name: str) -> Tool | None:
    try:
        tools = {tool.name: tool async for tool in connection.list_tools()}
    except RequestFailed:
        return None  # a server that cannot list may still be able to call
    if name not in tools:
        raise Trouble(f"the server has no tool {name!r}; it has {', '.join(tools) or 'none'}", Exit.USAGE)
    return tools[name]


async def _follow(session: Session, connection: Connection, follower: Follower, handle: TaskHandle) -> int:
    result = await follower.follow(handle)
    if follower.detached is None:
        assert result is not None
        return _show_result(session, connection, handle.method, result)
    saved = saved_json(follower.detached, session.server)
    if session.save is not None:
        try:
            session.save.write_text(json.dumps(saved) + "\n", encoding="utf-8")
        except OSError as error:
            session.display.note(f"mcp-tasks: {session.save}: {error.strerror}")
    session.display.result({"event": "detached", "saved": saved}, json.dumps(saved))
    return Exit.DETACHED


def _show_result(session: Session, connection: Connection, method: str, result: JSONObject) -> int:
    value = connection.lift_result(method, result)
    failed = isinstance(value, CallToolResult) and value.is_error is True
    text = render(value) if isinstance(value, CallToolResult) else json.dumps(result, ensure_ascii=False)
    session.display.result({"event": "result", "result": result}, text, failed=failed)
    return Exit.FAILED if failed else Exit.OK


def render(result: CallToolResult) -> str:
    """A tool's result as text: its texts, or its structured content if it has no others."""
    shown = [_shown(block) for block in result.content]
    if not shown and result.structured_content is not UNSET:
        shown = [json.dumps(result.structured_content, ensure_ascii=False)]
    return clean("\n".join(shown))


def _shown(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case EmbeddedResource(resource=TextResourceContents() as contents):
            return contents.text
        case EmbeddedResource():
            return f"[{block.resource.uri}]"
        case _:
            return f"[{block.type} {block.mime_type}, {len(block.to_bytes())} bytes]"


# --- tasks ------------------------------------------------------------------------------------------------------------


async def list_tasks(session: Session) -> int:
    """Show the tasks that the server keeps for us."""
    async with session.connection() as (connection, _):
        async for task in connection.list_tasks():
            _show_task(session, connection, task)
    return Exit.OK


async def get_task(session: Session, id: str) -> int:
    """Show how a task is."""
    async with session.connection() as (connection, _):
        _show_task(session, connection, await connection.get_task(id))
    return Exit.OK


async def cancel_task(session: Session, id: str) -> int:
    """Cancel a task."""
    async with session.connection() as (connection, _):
        _show_task(session, connection, await connection.cancel_task(id))
    return Exit.OK


async def task_result(session: Session, id: str) -> int:
    """Wait for the result of a task, and show it."""
    async with session.connection() as (connection, _):
        if connection.dialect.awaits:
            result = await connection.await_task(id)
        else:
            saved = SavedTask(connection.peer_name, connection.revision, id, "tools/call")
            async with connection.resume(saved) as handle:
                try:
                    result = await handle.result()
                finally:
                    handle.detach()  # whoever only waits does not cancel
        return _show_result(session, connection, "tools/call", result)


async def resume_task(session: Session, saved: SavedTask | str) -> int:
    """Take up a task again, by what was saved or by its id alone, and follow it to its end."""
    async with session.connection() as (connection, terminal):
        if isinstance(saved, str):
            saved = SavedTask(connection.peer_name, connection.revision, saved, "tools/call")
        follower = Follower(saved.id, session.display, terminal, session.interrupts)
        async with connection.resume(saved, on_progress=follower.progress) as handle:
            return await _follow(session, connection, follower, handle)


def _show_task(session: Session, connection: Connection, task: Task) -> None:
    message = "" if task.status_message is UNSET else clean(task.status_message)
    text = f"{task.task_id}  {task.status.value:<14}  {task.last_updated_at}  {message}"
    session.display.result(wire_json(connection, task), text.rstrip())
