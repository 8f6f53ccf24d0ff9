"""A client on mcp 1.30 that plays one scenario against a server and reports what it saw.

Usage: python_client.py [OPTIONS] SCENARIO (URL | -- SERVER COMMAND...)

Run it with the interpreter `install.python_130` names, against a server with the tools listed in
README.md, where the options are, too. It prints one JSON object and exits 0, or prints a traceback
and exits 1.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
from http_client import Recorder
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client, types
from mcp.client.experimental.task_handlers import ExperimentalTaskHandlers
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.context import RequestContext
from mcp.shared.experimental.tasks.helpers import cancel_task, is_terminal
from mcp.shared.experimental.tasks.in_memory_task_store import InMemoryTaskStore
from mcp.shared.session import RequestResponder
from pydantic import AnyUrl

warnings.filterwarnings("ignore", message="The experimental tasks API", category=DeprecationWarning)

RELATED_TASK = "io.modelcontextprotocol/related-task"
STATUS = "notifications/tasks/status"
MANY = 120
ANSWERS = {"confirm": True, "name": "Ada", "age": 36, "answer": "of course"}
POLL = 0.05

Json = dict[str, Any]
Context = RequestContext[ClientSession, Any]
Incoming = RequestResponder[types.ServerRequest, types.ClientResult] | types.ServerNotification | Exception


def plain(model: types.BaseModel) -> Json:
    """A model as the JSON that was on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def attempt(call: Awaitable[types.BaseModel]) -> Json:
    """The outcome of a request: ``{"result": ...}`` or ``{"error": {"code", "message", "data"}}``.

    A reply that does not fit the type expected becomes ``{"invalid": ...}``.
    """
    try:
        return {"result": plain(await call)}
    except McpError as error:
        return {"error": plain(error.error)}
    except ValueError as error:
        return {"invalid": str(error)}


class Callbacks:
    """Answers the server's plain questions, and remembers them and the notifications."""

    def __init__(self) -> None:
        self.notifications: list[Json] = []
        self.requests: list[Json] = []
        self._news = anyio.Event()

    async def message(self, message: Incoming) -> None:
        """Keep a notification (the SDK hands over requests and failures here, too)."""
        if isinstance(message, Exception):
            self.notifications.append({"exception": repr(message)})
        elif isinstance(message, types.ServerNotification):
            self.notifications.append(plain(message))
        self._news.set()
        self._news = anyio.Event()

    async def told(self, something: Callable[[Json], bool]) -> None:
        """Wait for a notification."""
        while not any(map(something, self.notifications)):
            await self._news.wait()

    async def told_the_end(self, task_id: str) -> None:
        """Wait until a notification has told that a task is over."""

        def end(said: Json) -> bool:
            params = said.get("params", {})
            return said.get("method") == STATUS and params["taskId"] == task_id and is_terminal(params["status"])

        await self.told(end)

    async def elicit(self, context: Context, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Fill in the form."""
        self._note("elicitation/create", context, params)
        return fill_in(params)

    async def sample(self, context: Context, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        """Play the model."""
        self._note("sampling/createMessage", context, params)
        return play_model(params)

    def _note(self, method: str, context: Context, params: types.BaseModel) -> None:
        related = (plain(context.meta) if context.meta else {}).get(RELATED_TASK)
        request: Json = {"method": method, "params": plain(params)}
        self.requests.append(request | ({"relatedTask": related} if related else {}))


def fill_in(params: types.ElicitRequestParams) -> types.ElicitResult:
    """Answer a form with the values we know."""
    asked = getattr(params, "requestedSchema", {}).get("properties", {})
    known = {name: value for name, value in ANSWERS.items() if name in asked}
    return types.ElicitResult(action="accept", content=known)


def play_model(params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    """Answer the last text of the user."""
    said = ""
    for message in params.messages:
        if message.role == "user" and isinstance(message.content, types.TextContent):
            said = message.content.text
    content = types.TextContent(type="text", text=f"sampled: {said}")
    return types.CreateMessageResult(role="assistant", content=content, model="peer")


class ClientTasks:
    """Client-hosted tasks: the server asks for a task and polls it.

    The SDK runs these handlers inside its reader, so none may wait for another message.
    """

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self.group = group
        self.store = InMemoryTaskStore()
        self.requests: list[Json] = []

    def handlers(self) -> ExperimentalTaskHandlers:
        """The handlers to give to the session; they determine the capabilities announced."""
        return ExperimentalTaskHandlers(
            get_task=self.get,
            get_task_result=self.result,
            list_tasks=self.list,
            cancel_task=self.cancel,
            augmented_sampling=self.sample,
            augmented_elicitation=self.elicit,
        )

    async def sample(
        self, context: Context, params: types.CreateMessageRequestParams, task: types.TaskMetadata
    ) -> types.CreateTaskResult:
        """Sample in the background."""
        self._note("sampling/createMessage", params)
        return await self._start(task, "working", play_model(params))

    async def elicit(
        self, context: Context, params: types.ElicitRequestParams, task: types.TaskMetadata
    ) -> types.CreateTaskResult:
        """Elicit in the background."""
        self._note("elicitation/create", params)
        return await self._start(task, "input_required", fill_in(params))

    async def get(self, context: Context, params: types.GetTaskRequestParams) -> types.GetTaskResult | types.ErrorData:
        """Answer ``tasks/get``."""
        self._note("tasks/get", params)
        task = await self.store.get_task(params.taskId)
        return unknown(params.taskId) if task is None else types.GetTaskResult(**task.model_dump())

    async def result(
        self, context: Context, params: types.GetTaskPayloadRequestParams
    ) -> types.GetTaskPayloadResult | types.ErrorData:
        """Answer ``tasks/result``, once the task is over."""
        self._note("tasks/result", params)
        while task := await self.store.get_task(params.taskId):
            if is_terminal(task.status):
                break
            await anyio.sleep(POLL)
        outcome = await self.store.get_result(params.taskId)
        if task is None or outcome is None:
            return unknown(params.taskId)
        related = {"_meta": {RELATED_TASK: {"taskId": params.taskId}}}
        return types.GetTaskPayloadResult.model_validate(plain(outcome) | related)

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListTasksResult:
        """Answer ``tasks/list``."""
        self._note("tasks/list", params or types.PaginatedRequestParams())
        tasks, cursor = await self.store.list_tasks(params.cursor if params else None)
        return types.ListTasksResult(tasks=tasks, nextCursor=cursor)

    async def cancel(
        self, context: Context, params: types.CancelTaskRequestParams
    ) -> types.CancelTaskResult | types.ErrorData:
        """Answer ``tasks/cancel``."""
        self._note("tasks/cancel", params)
        try:
            return await cancel_task(self.store, params.taskId)
        except McpError as error:
            return error.error

    async def _start(
        self, metadata: types.TaskMetadata, status: types.TaskStatus, outcome: types.Result
    ) -> types.CreateTaskResult:
        task = await self.store.create_task(metadata)

        async def work() -> None:
            for step in (status, "completed"):
                await anyio.sleep(2 * POLL)
                current = await self.store.get_task(task.taskId)
                if current is None or is_terminal(current.status):
                    return
                if step == "completed":
                    await self.store.store_result(task.taskId, outcome)
                await self.store.update_task(task.taskId, status=step)

        self.group.start_soon(work)
        return types.CreateTaskResult(task=task)

    def _note(self, method: str, params: types.BaseModel) -> None:
        self.requests.append({"method": method, "params": plain(params)})


def unknown(task_id: str) -> types.ErrorData:
    """The error for a task that is not there (or has nothing to show)."""
    return types.ErrorData(code=types.INVALID_PARAMS, message=f"Task not found: {task_id}")


# Scenarios -------------------------------------------------------------------------------------


async def run_task(session: ClientSession, name: str, arguments: Json, meta: Json | None = None) -> Json:
    """Drive a tool as a task to its end.

    ``statuses`` holds each status once, in order. ``tasks/result`` is called as soon as the task
    is over or wants input, because that call is what delivers the questions.
    """
    tasks = session.experimental
    created = await tasks.call_tool_as_task(name, arguments, meta=meta)
    task_id = created.task.taskId
    statuses = [created.task.status]

    async def poll() -> types.GetTaskResult:
        task = await tasks.get_task(task_id)
        if task.status != statuses[-1]:
            statuses.append(task.status)
        return task

    while True:
        task = await poll()
        if is_terminal(task.status) or task.status == "input_required":
            break
        await anyio.sleep(POLL)
    outcome = await attempt(tasks.get_task_result(task_id, types.CallToolResult))
    task = await poll()
    report = {"created": plain(created), "statuses": statuses, "outcome": outcome}
    return report | {"task": plain(task)}


async def play_plain(session: ClientSession) -> Json:
    """List the tools and call one."""
    tools = await session.list_tools()
    return {
        "tools": {tool.name: tool.execution.taskSupport if tool.execution else None for tool in tools.tools},
        "greet": await attempt(session.call_tool("greet", {"name": "Ada"})),
    }


async def play_features(session: ClientSession) -> Json:
    """Resources, prompts, completion and logging."""
    report: Json = {"level": await attempt(session.set_logging_level("debug")), "resources": [], "read": []}
    cursor, pages = None, 0
    while cursor or not pages:
        listed = await session.list_resources(params=types.PaginatedRequestParams(cursor=cursor))
        report["resources"] += [str(resource.uri) for resource in listed.resources]
        cursor, pages = listed.nextCursor, pages + 1
    for uri in [*report["resources"][:2], "peer://nothing"]:
        report["read"].append(await attempt(session.read_resource(AnyUrl(uri))))
    templates = await session.list_resource_templates()
    prompts = await session.list_prompts()
    reference = types.PromptReference(type="ref/prompt", name="introduce")
    argument = {"name": "language", "value": "e"}
    return report | {
        "pages": pages,
        "templates": [template.uriTemplate for template in templates.resourceTemplates],
        "prompts": [prompt.name for prompt in prompts.prompts],
        "prompt": await attempt(session.get_prompt("introduce", {"name": "Ada", "language": "french"})),
        "completion": await attempt(session.complete(reference, argument)),
        "logged": await attempt(session.call_tool("progress_job", {"steps": 2})),
    }


async def play_plain_questions(session: ClientSession) -> Json:
    """Plain calls that ask, one after the other."""
    return {
        "confirm": await attempt(session.call_tool("confirm_delete", {"filename": "a.txt"})),
        "multi": await attempt(session.call_tool("multi_input", {})),
        "sampling": await attempt(session.call_tool("sample_job", {"prompt": "hi"})),
    }


async def play_announced(session: ClientSession, callbacks: Callbacks) -> Json:
    """A notification that belongs to no request."""
    outcome = await attempt(session.call_tool("announce", {}))
    await callbacks.told(lambda said: said.get("method") == "notifications/tools/list_changed")
    return {"outcome": outcome}


async def play_plain_errors(session: ClientSession) -> Json:
    """Plain calls that fail."""
    return {
        "error": await attempt(session.call_tool("protocol_error_job", {})),
        "unknown": await attempt(session.call_tool("nothing", {})),
        "missing": await attempt(session.call_tool("greet", {})),
    }


async def call_with_progress(session: ClientSession, name: str) -> Json:
    """A plain call of a tool that takes three steps."""
    values: list[float] = []

    async def callback(progress: float, total: float | None, message: str | None) -> None:
        values.append(progress)

    call = session.call_tool(name, {"steps": 3}, progress_callback=callback)
    return {"plain": await attempt(call), "plain_progress": values}


async def play_driven(session: ClientSession) -> Json:
    """A task that the SDK polls by itself, as often as the server says."""
    tasks = session.experimental
    created = await tasks.call_tool_as_task("slow_compute", {"seconds": 0.05})
    task_id = created.task.taskId
    statuses = [task.status async for task in tasks.poll_task(task_id)]
    outcome = await attempt(tasks.get_task_result(task_id, types.CallToolResult))
    return {"created": plain(created), "statuses": statuses, "outcome": outcome}


async def play_pages(session: ClientSession) -> Json:
    """More tasks than fit in a page."""
    tasks = session.experimental
    made, listed, pages = [], [], 0
    for _ in range(MANY):
        created = await tasks.call_tool_as_task("slow_compute", {"seconds": 0})
        made.append(created.task.taskId)
    cursor = None
    while cursor or not pages:
        page = await tasks.list_tasks(cursor)
        listed += [task.taskId for task in page.tasks]
        cursor, pages = page.nextCursor, pages + 1
    return {"made": made, "listed": listed, "pages": pages}


async def play_lifecycle(session: ClientSession) -> Json:
    """A task that just takes a while; ``outcome`` is fetched while it is running."""
    tasks = session.experimental
    created = await tasks.call_tool_as_task("slow_compute", {"seconds": 0.05})
    task_id = created.task.taskId
    first = await tasks.get_task(task_id)
    outcome = await attempt(tasks.get_task_result(task_id, types.CallToolResult))
    last = await tasks.get_task(task_id)
    return {
        "created": plain(created),
        "statuses": [created.task.status, first.status, last.status],
        "outcome": outcome,
        "task": plain(last),
        "listed": await attempt(tasks.list_tasks()),
    }


async def play_cancel(session: ClientSession) -> Json:
    """Cancel a long task, twice, and ask for its result nevertheless."""
    tasks = session.experimental
    created = await tasks.call_tool_as_task("slow_compute", {"seconds": 60})
    task_id = created.task.taskId
    return {
        "created": plain(created),
        "cancel": await attempt(tasks.cancel_task(task_id)),
        "get": await attempt(tasks.get_task(task_id)),
        "cancel_again": await attempt(tasks.cancel_task(task_id)),
        "outcome": await attempt(tasks.get_task_result(task_id, types.CallToolResult)),
    }


async def play_progress(session: ClientSession) -> Json:
    """Progress of a plain call (through the SDK's callback) and of a task (as notifications)."""
    report = await call_with_progress(session, "progress_job")
    meta = {"progressToken": "of-the-task"}
    return report | await run_task(session, "progress_job", {"steps": 3}, meta)


async def play_unknown_task(session: ClientSession) -> Json:
    """Ask about a task that does not exist."""
    tasks = session.experimental
    return {
        "get": await attempt(tasks.get_task("no-such-task")),
        "result": await attempt(tasks.get_task_result("no-such-task", types.CallToolResult)),
        "cancel": await attempt(tasks.cancel_task("no-such-task")),
    }


Scenario = Callable[[ClientSession], Awaitable[Json]]


def as_task(name: str, **arguments: Any) -> Scenario:
    """The scenario that drives one tool as a task."""
    return lambda session: run_task(session, name, arguments)


async def play_receive_sampling_task(session: ClientSession) -> Json:
    """Have the server create a sampling task here."""
    return {"outcome": await attempt(session.call_tool("drive_sampling", {"prompt": "hi"}))}


async def play_receive_elicitation_task(session: ClientSession) -> Json:
    """Have the server create an elicitation task here."""
    return {"outcome": await attempt(session.call_tool("drive_elicitation", {"message": "ok?"}))}


SCENARIOS: dict[str, Scenario] = {
    "plain": play_plain,
    "features": play_features,
    "plain-questions": play_plain_questions,
    "plain-errors": play_plain_errors,
    "plain-progress": lambda session: call_with_progress(session, "progress_job"),
    "dropped-stream": lambda session: call_with_progress(session, "drop_stream"),
    "driven": play_driven,
    "pages": play_pages,
    "lifecycle": play_lifecycle,
    "cancel": play_cancel,
    "question": as_task("confirm_delete", filename="a.txt"),
    "multi": as_task("multi_input"),
    "sampling": as_task("sample_job", prompt="hi"),
    "is-error": as_task("failing_job"),
    "protocol-error": as_task("protocol_error_job"),
    "progress": play_progress,
    "unknown-task": play_unknown_task,
    "receive-sampling-task": play_receive_sampling_task,
    "receive-elicitation-task": play_receive_elicitation_task,
}


@asynccontextmanager
async def connected(server: list[str], recorder: Recorder) -> AsyncIterator[Any]:
    """The streams to a server that is launched, or to one that is served at a URL."""
    if server[0].startswith("http"):
        async with recorder.client() as client, streamable_http_client(server[0], http_client=client) as streams:
            yield streams[:2]
        return
    parameters = StdioServerParameters(command=server[0], args=server[1:], env=dict(os.environ))
    async with stdio_client(parameters) as streams:
        yield streams


async def play(options: argparse.Namespace) -> Json:
    """Connect to the server, play a scenario and report."""
    name = options.scenario
    callbacks = Callbacks()
    recorder = Recorder(get_stream=options.get_stream, token=options.token)
    report: Json = {"scenario": name}
    with anyio.fail_after(options.timeout):
        async with connected(options.server, recorder) as streams, anyio.create_task_group() as group:
            hosted = ClientTasks(group) if name.startswith("receive-") else None
            session = ClientSession(
                *streams,
                sampling_callback=callbacks.sample,
                elicitation_callback=callbacks.elicit,
                message_handler=callbacks.message,
                experimental_task_handlers=hosted.handlers() if hosted else None,
            )
            async with session:
                report["initialize"] = plain(await session.initialize())
                report |= await (
                    play_announced(session, callbacks) if name == "announced" else SCENARIOS[name](session)
                )
                if options.await_push and "created" in report:
                    await callbacks.told_the_end(report["created"]["task"]["taskId"])
            group.cancel_scope.cancel()
        if recorder.exchanges:
            report["http"] = recorder.exchanges
            report["afterwards"] = await recorder.status_afterwards(options.server[0])
    report["requests"] = (hosted or callbacks).requests
    report["notifications"] = callbacks.notifications
    return report


def main() -> None:
    """Parse the command line, play, print."""
    parser = argparse.ArgumentParser(usage="%(prog)s [options] SCENARIO (URL | -- SERVER COMMAND...)")
    parser.add_argument("--timeout", type=float, default=30.0, help="limit for everything (s)")
    parser.add_argument("--no-get-stream", dest="get_stream", action="store_false", help="open none, over HTTP")
    parser.add_argument("--await-push", action="store_true", help="wait until the end of the task was pushed")
    parser.add_argument("--token", help="a bearer token to send along, over HTTP")
    parser.add_argument("scenario", choices=[*SCENARIOS, "announced"])
    parser.add_argument("server", nargs="+", help="command line of the server, or its URL")
    print(json.dumps(anyio.run(play, parser.parse_args())))


if __name__ == "__main__":
    main()
