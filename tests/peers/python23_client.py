"""A client on mcp 2.3 that opens with the initialize handshake, plays one scenario and reports what it saw.

Usage: python23_client.py [OPTIONS] SCENARIO (URL | -- SERVER COMMAND...)

Run it with the interpreter `install.python_23` names. It is python_client.py once more, without
tasks, which this SDK has none of: the scenarios, the options and the report are those of README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import mcp_types as types
from http_client import Recorder
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

ANSWERS = {"confirm": True, "name": "Ada", "age": 36}

Json = dict[str, Any]


def plain(model: BaseModel) -> Json:
    """A model as the JSON that was on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def attempt(call: Awaitable[BaseModel]) -> Json:
    """The outcome of a request: ``{"result": ...}``, ``{"error": ...}`` or ``{"invalid": ...}``."""
    try:
        return {"result": plain(await call)}
    except MCPError as error:
        return {"error": plain(error.error)}
    except ValueError as error:
        return {"invalid": str(error)}


class Callbacks:
    """Answers the server's questions, and remembers them and the notifications."""

    def __init__(self) -> None:
        self.notifications: list[Json] = []
        self.requests: list[Json] = []
        self.changed = anyio.Event()
        """Set when the list of tools has changed."""

    async def message(self, message: Any) -> None:
        """Keep a notification."""
        said = {"exception": repr(message)} if isinstance(message, Exception) else plain(message)
        self.notifications.append(said)
        if said.get("method") == "notifications/tools/list_changed":
            self.changed.set()

    async def elicit(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Fill in the form with the values we know."""
        self.requests.append({"method": "elicitation/create", "params": plain(params)})
        asked = getattr(params, "requested_schema", {}).get("properties", {})
        known = {name: value for name, value in ANSWERS.items() if name in asked}
        return types.ElicitResult(action="accept", content=known)

    async def sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        """Play the model: answer the last text of the user."""
        self.requests.append({"method": "sampling/createMessage", "params": plain(params)})
        texts = [said.content.text for said in params.messages if isinstance(said.content, types.TextContent)]
        content = types.TextContent(text=f"sampled: {texts[-1]}")
        return types.CreateMessageResult(role="assistant", content=content, model="peer")


# Scenarios -------------------------------------------------------------------------------------


async def play_plain(client: Client) -> Json:
    """List the tools and call one."""
    tools = await client.list_tools()
    return {
        "tools": {tool.name: tool.execution.task_support if tool.execution else None for tool in tools.tools},
        "greet": await attempt(client.call_tool("greet", {"name": "Ada"})),
    }


async def play_features(client: Client) -> Json:
    """Resources, prompts, completion and logging."""
    report: Json = {"level": await attempt(client.set_logging_level("debug")), "resources": [], "read": []}
    cursor, pages = None, 0
    while cursor or not pages:
        listed = await client.list_resources(cursor=cursor)
        report["resources"] += [resource.uri for resource in listed.resources]
        cursor, pages = listed.next_cursor, pages + 1
    for uri in [*report["resources"][:2], "peer://nothing"]:
        report["read"].append(await attempt(client.read_resource(uri)))
    templates = await client.list_resource_templates()
    prompts = await client.list_prompts()
    reference = types.PromptReference(name="introduce")
    return report | {
        "pages": pages,
        "templates": [template.uri_template for template in templates.resource_templates],
        "prompts": [prompt.name for prompt in prompts.prompts],
        "prompt": await attempt(client.get_prompt("introduce", {"name": "Ada", "language": "french"})),
        "completion": await attempt(client.complete(reference, {"name": "language", "value": "e"})),
        "logged": await attempt(client.call_tool("progress_job", {"steps": 2})),
    }


async def play_plain_questions(client: Client) -> Json:
    """Calls that ask, one after the other."""
    return {
        "confirm": await attempt(client.call_tool("confirm_delete", {"filename": "a.txt"})),
        "multi": await attempt(client.call_tool("multi_input", {})),
        "sampling": await attempt(client.call_tool("sample_job", {"prompt": "hi"})),
    }


async def play_announced(client: Client, callbacks: Callbacks) -> Json:
    """A notification that belongs to no request."""
    outcome = await attempt(client.call_tool("announce", {}))
    await callbacks.changed.wait()
    return {"outcome": outcome}


async def play_plain_errors(client: Client) -> Json:
    """Calls that fail."""
    return {
        "error": await attempt(client.call_tool("protocol_error_job", {})),
        "unknown": await attempt(client.call_tool("nothing", {})),
        "missing": await attempt(client.call_tool("greet", {})),
    }


async def call_with_progress(client: Client, name: str) -> Json:
    """A call of a tool that takes three steps."""
    values: list[float] = []

    async def callback(progress: float, total: float | None, message: str | None) -> None:
        values.append(progress)

    call = client.call_tool(name, {"steps": 3}, progress_callback=callback)
    return {"plain": await attempt(call), "plain_progress": values}


async def play_withdrawn(client: Client) -> Json:
    """Take back a call that has begun, and make another one."""
    with anyio.CancelScope() as scope:

        async def enough(progress: float, total: float | None, message: str | None) -> None:
            scope.cancel()

        arguments = {"steps": 10_000, "seconds_per_step": 0.02}
        await client.call_tool("progress_job", arguments, progress_callback=enough)
    greet = await attempt(client.call_tool("greet", {"name": "Ada"}))
    return {"withdrawn": scope.cancelled_caught, "greet": greet}


SCENARIOS: dict[str, Callable[[Client], Awaitable[Json]]] = {
    "plain": play_plain,
    "features": play_features,
    "plain-questions": play_plain_questions,
    "plain-errors": play_plain_errors,
    "plain-progress": lambda client: call_with_progress(client, "progress_job"),
    "dropped-stream": lambda client: call_with_progress(client, "drop_stream"),
    "withdrawn": play_withdrawn,
}


def transport(server: list[str], recorder: Recorder) -> AbstractAsyncContextManager[Any]:
    """What connects to a server that is launched, or to one that is served at a URL."""
    if server[0].startswith("http"):
        return streamable_http_client(server[0], http_client=recorder.client())
    return stdio_client(StdioServerParameters(command=server[0], args=server[1:], env=dict(os.environ)))


async def play(options: argparse.Namespace) -> Json:
    """Connect to the server, play a scenario and report."""
    name = options.scenario
    callbacks = Callbacks()
    recorder = Recorder(get_stream=options.get_stream, token=options.token)
    client = Client(
        transport(options.server, recorder),
        mode="legacy",
        sampling_callback=callbacks.sample,
        elicitation_callback=callbacks.elicit,
        message_handler=callbacks.message,
        cache=None,
    )
    report: Json = {"scenario": name}
    with anyio.fail_after(options.timeout):
        async with client:
            assert client.session.initialize_result is not None
            report["initialize"] = plain(client.session.initialize_result)
            report |= await (play_announced(client, callbacks) if name == "announced" else SCENARIOS[name](client))
        if recorder.exchanges:
            report["http"] = recorder.exchanges
            report["afterwards"] = await recorder.status_afterwards(options.server[0])
    report["requests"] = callbacks.requests
    report["notifications"] = callbacks.notifications
    return report


def main() -> None:
    """Parse the command line, play, print."""
    parser = argparse.ArgumentParser(usage="%(prog)s [options] SCENARIO (URL | -- SERVER COMMAND...)")
    parser.add_argument("--timeout", type=float, default=30.0, help="limit for everything (s)")
    parser.add_argument("--no-get-stream", dest="get_stream", action="store_false", help="open none, over HTTP")
    parser.add_argument("--token", help="a bearer token to send along, over HTTP")
    parser.add_argument("scenario", choices=[*SCENARIOS, "announced"])
    parser.add_argument("server", nargs="+", help="command line of the server, or its URL")
    print(json.dumps(anyio.run(play, parser.parse_args())))


if __name__ == "__main__":
    main()
