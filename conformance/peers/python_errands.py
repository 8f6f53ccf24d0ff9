"""An errand client on mcp 1.30 (revision 2025-11-25): ``python_errands.py URL`` or ``-- COMMAND...``.

What it is to do stands in ``MCP_CONFORMANCE``; see README.md. Calls and polls go by the SDK's own methods, and so do
the tasks that it runs for a server, as far as the SDK has any: their handlers, which it leaves to its users, are those
of tests/peers/python_client.py.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "peers"))

import anyio
import anyio.abc
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.experimental.tasks.helpers import is_terminal
from python_client import Callbacks, ClientTasks, play_model, unknown

warnings.filterwarnings("ignore", message="The experimental tasks API", category=DeprecationWarning)

Json = dict[str, Any]
SLOW_SECONDS = 3.0
TOKENS = itertools.count(1)
FAILS = types.ErrorData(code=-32000, message="it broke", data={"reason": "on purpose"})


def said(params: types.CreateMessageRequestParams) -> str:
    """The last text, which says what kind of answer is wanted."""
    content = params.messages[-1].content
    return content.text if isinstance(content, types.TextContent) else ""


class Hosted(ClientTasks):
    """Tasks for the server. What the model is asked says how the task is to go."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        super().__init__(group)
        self.errors: dict[str, types.ErrorData] = {}

    async def sample(self, context: Any, params: Any, task: types.TaskMetadata) -> types.CreateTaskResult:
        created = await self.store.create_task(task)

        async def work() -> None:
            await anyio.sleep(SLOW_SECONDS if said(params) == "slow" else 0)
            current = await self.store.get_task(created.taskId)
            if current is None or is_terminal(current.status):
                return
            if said(params) == "fails":
                self.errors[created.taskId] = FAILS
                await self.store.update_task(created.taskId, status="failed", status_message=FAILS.message)
            else:
                await self.store.store_result(created.taskId, play_model(params))
                await self.store.update_task(created.taskId, status="completed")

        self.group.start_soon(work)
        return types.CreateTaskResult(task=created)

    async def result(self, context: Any, params: Any) -> Any:
        while task := await self.store.get_task(params.taskId):
            if is_terminal(task.status):
                break
            await anyio.sleep(0.05)
        if task is not None and (error := self.errors.get(params.taskId)):
            return error
        return unknown(params.taskId) if task is None else await super().result(context, params)


class Answers(Callbacks):
    """Answers to plain questions."""

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> Any:
        if said(params) == "fails":
            return FAILS
        await anyio.sleep(SLOW_SECONDS if said(params) == "slow" else 0)
        return await super().sample(context, params)


async def heard(progress: float, total: float | None, message: str | None) -> None:
    """Be told of progress."""


async def call(session: ClientSession, errand: Json, as_task: bool) -> Json:
    """One call, as it was told; what is to be printed of it."""
    tool, arguments = errand.get("tool", "play"), errand.get("arguments") or {}
    cancel = errand.get("cancel")
    try:
        if as_task:
            return await call_as_task(session, tool, arguments, errand)
        with anyio.move_on_after(0.5 if cancel == "call" else None):
            return plain(
                await session.call_tool(tool, arguments, progress_callback=heard if errand.get("progress") else None)
            )
        return {"cancelled": True}
    except McpError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    except Exception as error:  # an answer that the SDK cannot read, say: the caller is told of it, too
        return {"error": {"code": None, "message": str(error)}}


async def call_as_task(session: ClientSession, tool: str, arguments: Json, errand: Json) -> Json:
    """A call that is a task, polled until it is over or has questions, which come once the result is asked for."""
    tasks = session.experimental
    cancel = errand.get("cancel")
    options = {} if errand.get("ttl") is None else {"ttl": errand["ttl"]}
    if errand.get("progress"):
        options["meta"] = {"progressToken": f"token-{next(TOKENS)}"}
    task_id = (await tasks.call_tool_as_task(tool, arguments, **options)).task.taskId
    allowed = capabilities_of(session)
    if errand.get("list_tasks") and allowed.list is not None:
        page = await tasks.list_tasks()
        while page.nextCursor:
            page = await tasks.list_tasks(page.nextCursor)
    if allowed.cancel is None:
        cancel = None
    if cancel == "task":
        await tasks.cancel_task(task_id)
        return {"cancelled": True}
    async for task in tasks.poll_task(task_id):
        if cancel:
            await tasks.cancel_task(task_id)
            return {"cancelled": True}
        if task.status == "input_required":
            break
    return plain(await tasks.get_task_result(task_id, types.CallToolResult))


def capabilities_of(session: ClientSession) -> types.ServerTasksCapability:
    """What the server can do with tasks."""
    capabilities = session.get_server_capabilities()
    return (capabilities and capabilities.tasks) or types.ServerTasksCapability()


def wants_task(session: ClientSession, tools: list[types.Tool], errand: Json) -> bool:
    """Whether the call is to be a task: what the server and the tool say goes before the errand."""
    requests = capabilities_of(session).requests
    if not (requests and requests.tools and requests.tools.call):
        return False
    support = next(
        (tool.execution.taskSupport for tool in tools if tool.name == errand["tool"] and tool.execution), None
    )
    return support == "required" or (support == "optional" and bool(errand.get("task")))


def plain(result: types.CallToolResult) -> Json:
    """The text of a result."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return {"text": texts[0] if texts else None, "isError": result.isError}


@asynccontextmanager
async def opened(server: list[str]) -> AsyncIterator[tuple[Any, Any]]:
    """A connection with the server."""
    if server[0].startswith("http"):
        async with streamable_http_client(server[0]) as (read, write, _):
            yield read, write
    else:
        async with stdio_client(StdioServerParameters(command=server[0], args=server[1:], env=dict(os.environ))) as two:
            yield two


async def main(server: list[str], errand: Json) -> None:
    """Do an errand, and print what came of it."""
    answers, results = Answers(), []
    async with opened(server) as (read, write), anyio.create_task_group() as group:
        tasks = Hosted(group)
        session = ClientSession(
            read,
            write,
            sampling_callback=answers.sample,
            elicitation_callback=answers.elicit,
            message_handler=answers.message,
            experimental_task_handlers=tasks.handlers(),
        )
        async with session, anyio.create_task_group() as calls:
            await session.initialize()
            as_task = wants_task(session, (await session.list_tools()).tools, errand)

            async def one() -> None:
                results.append(await call(session, errand, as_task))

            for _ in range(int(errand.get("calls") or 1)):
                calls.start_soon(one)
        group.cancel_scope.cancel()
    print(json.dumps(results if len(results) > 1 else results[0]))


if __name__ == "__main__":
    anyio.run(main, [word for word in sys.argv[1:] if word != "--"], json.loads(os.environ["MCP_CONFORMANCE"]))
