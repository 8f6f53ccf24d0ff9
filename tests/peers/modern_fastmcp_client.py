"""A client on fastmcp 4.1 that speaks revision 2026-07-28 with tasks, plays a scenario, checks it and reports.

Usage: modern_fastmcp_client.py [OPTIONS] SCENARIO (URL | -- SERVER COMMAND...)

Run it with the interpreter `install.python_fastmcp` names. For the scenarios, the options and the report, and for the
tools that the server has to have, see README.md. That SDK cannot listen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)
os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
os.environ.setdefault("FASTMCP_LOG_LEVEL", "WARNING")

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp_tasks import call_tool_task
from http_client import ModernRecorder
from mcp import MCPError
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

ANSWERS = {"name": "Ada", "age": 36}
PLACES = ("eu", "Zürich", " padded ", "=?base64?ZXU=?=")
TOOLS = {"add", "fail", "progress", "ask", "ask_twice", "sample", "tagged", "wait", "cancelled"}
TASK_TOOLS = {"slow", "task_ask", "task_fail", "task_error"}
TERMINAL = {"completed", "failed", "cancelled"}

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


def text_of(outcome: Json) -> str:
    """The text of a tool's result."""
    (block,) = outcome["result"]["content"]
    return str(block["text"])


async def call(client: Client[Any], name: str, arguments: Json | None = None, **options: Any) -> Json:
    """Call a tool, to the end even if it becomes a task."""
    return await attempt(client.call_tool_mcp(name, arguments or {}, **options))


class User:
    """Answers the server's questions, and remembers them."""

    def __init__(self, *, declines: bool) -> None:
        self.declines = declines
        self.requests: list[Json] = []

    async def elicit(self, message: str, kind: Any, params: Any, context: Any) -> Any:
        """Fill in the form with the values we know."""
        self.requests.append({"method": "elicitation/create", "key": context.request_id, "params": plain(params)})
        if self.declines:
            return types.ElicitResult(action="decline")
        asked = params.requested_schema.get("properties", {})
        return {name: value for name, value in ANSWERS.items() if name in asked}

    async def sample(self, messages: Any, params: Any, context: Any) -> str:
        """Play the model: answer the last text of the user."""
        self.requests.append({"method": "sampling/createMessage", "params": plain(params)})
        return f"sampled: {messages[-1].content.text}"


# Scenarios -------------------------------------------------------------------------------------


async def play_discover(client: Client[Any]) -> Json:
    """What the server says of itself."""
    assert client.session.discover_result is not None
    discovered = plain(client.session.discover_result)
    assert "2026-07-28" in discovered["supportedVersions"]
    assert "io.modelcontextprotocol/tasks" in discovered["capabilities"]["extensions"]
    return {"discover": discovered, "serverInfo": plain(client.server_info) if client.server_info else None}


async def play_tools(client: Client[Any]) -> Json:
    """List the tools; call one that works, and one that does not."""
    listed = plain(await client.list_tools_mcp())
    assert {tool["name"] for tool in listed["tools"]} >= TOOLS | TASK_TOOLS
    add = await call(client, "add", {"a": 1, "b": 2})
    assert add["result"]["structuredContent"] == {"sum": 3}
    fail = await call(client, "fail")
    assert fail["result"]["isError"] is True
    assert text_of(fail) == "it failed"
    return {"listed": listed, "add": add, "fail": fail}


async def play_ask(client: Client[Any]) -> Json:
    """A tool that asks once."""
    outcome = await call(client, "ask")
    assert text_of(outcome) == "hi Ada"
    return {"outcome": outcome}


async def play_ask_twice(client: Client[Any]) -> Json:
    """A tool that asks once more when it has been told."""
    outcome = await call(client, "ask_twice")
    assert text_of(outcome) == "Ada is 36"
    return {"outcome": outcome}


async def play_decline(client: Client[Any]) -> Json:
    """The user would rather not."""
    outcome = await call(client, "ask")
    assert text_of(outcome) == "you would not tell"
    return {"outcome": outcome}


async def play_sample(client: Client[Any]) -> Json:
    """A tool that asks the model."""
    outcome = await call(client, "sample", {"prompt": "hi"})
    assert text_of(outcome) == "sampled: hi"
    return {"outcome": outcome}


async def play_progress(client: Client[Any]) -> Json:
    """A tool that takes three steps."""
    told: list[list[Any]] = []

    async def handler(progress: float, total: float | None, message: str | None) -> None:
        told.append([progress, total, message])

    outcome = await call(client, "progress", progress_handler=handler)
    assert text_of(outcome) == "done"
    return {"outcome": outcome, "progress": told}


async def play_header(client: Client[Any]) -> Json:
    """An argument that is in a header, too. This SDK does not know which is before it has listed the tools."""
    outcomes = [await call(client, "tagged", {"region": "eu"})]
    await client.list_tools_mcp()
    for place in PLACES:
        outcomes.append(await call(client, "tagged", {"region": place}))
        assert text_of(outcomes[-1]) == f"region {place}"
    return {"outcomes": outcomes}


async def play_features(client: Client[Any]) -> Json:
    """Resources, prompts and completion."""
    reference = types.PromptReference(name="introduce")
    report = {
        "resources": plain(await client.list_resources_mcp()),
        "templates": plain(await client.list_resource_templates_mcp()),
        "read": plain(await client.read_resource_mcp("peer://greeting")),
        "number": plain(await client.read_resource_mcp("peer://number/7")),
        "prompts": plain(await client.list_prompts_mcp()),
        "prompt": plain(await client.get_prompt_mcp("introduce", {"name": "Ada", "language": "french"})),
        "completion": plain(await client.complete_mcp(reference, {"name": "language", "value": "e"})),
    }
    assert report["resources"]["resources"][0]["uri"] == "peer://greeting"
    assert report["read"]["contents"][0]["text"] == "good day"
    assert report["number"]["contents"][0]["text"] == "I am 7"
    assert report["prompt"]["messages"][0]["content"]["text"] == "Introduce Ada in french."
    assert report["completion"]["completion"]["values"] == ["english", "esperanto"]
    return report


async def play_errors(client: Client[Any]) -> Json:
    """What goes wrong."""
    report = {
        "tool": await call(client, "nothing"),
        "arguments": await call(client, "add", {"a": "x"}),
        "resource": await attempt(client.read_resource_mcp("peer://nothing")),
        "prompt": await attempt(client.get_prompt_mcp("nothing", {})),
    }
    assert report["resource"]["error"]["code"] == -32602
    return report


async def withdrawn(client: Client[Any]) -> int:
    """How many calls the server has seen being cancelled."""
    return int(text_of(await call(client, "cancelled")))


async def one_more(client: Client[Any], before: int) -> Json:
    """Wait until the server has noticed."""
    while (after := await withdrawn(client)) == before:  # noqa: ASYNC110 (another process is waited for)
        await asyncio.sleep(0.05)
    assert after == before + 1
    return {"withdrawn": True}


async def play_cancel(client: Client[Any]) -> Json:
    """Take back a call that has begun."""
    before = await withdrawn(client)
    try:
        await asyncio.wait_for(client.call_tool_mcp("wait", {"seconds": 600}), 0.5)
    except asyncio.TimeoutError:
        return await one_more(client, before)
    raise AssertionError("it was over too soon")


# Tasks -----------------------------------------------------------------------------------------


async def play_task(client: Client[Any]) -> Json:
    """A task, driven behind the back of the caller and once more by hand."""
    outcome = await call(client, "slow", {"seconds": 0.3})
    assert text_of(outcome) == "waited"
    task = await call_tool_task(client, "slow", {"seconds": 0.3})
    created = plain(task.create_result)
    assert created["status"] == "working"
    first = plain(await task.status())
    last = plain(await task.wait())
    assert last["status"] == "completed"
    result = await task.result()
    assert result.content[0].text == "waited"
    return {"outcome": outcome, "created": created, "first": first, "last": last}


async def play_task_ask(client: Client[Any]) -> Json:
    """A task that asks midway."""
    outcome = await call(client, "task_ask")
    assert text_of(outcome) == "hi Ada"
    task = await call_tool_task(client, "task_ask", {})
    asked = plain(await task.wait(state="input_required"))
    assert [request["method"] for request in asked["inputRequests"].values()] == ["elicitation/create"]
    result = await task.result()
    assert result.content[0].text == "hi Ada"
    return {"outcome": outcome, "asked": asked, "last": plain(await task.status())}


async def play_task_decline(client: Client[Any]) -> Json:
    """A task that asks someone who will not tell."""
    outcome = await call(client, "task_ask")
    assert text_of(outcome) == "you would not tell"
    return {"outcome": outcome}


async def play_task_cancel(client: Client[Any]) -> Json:
    """A task that is cancelled, and one that is over by then."""
    before = await withdrawn(client)
    task = await call_tool_task(client, "slow", {"seconds": 600}, raise_on_error=False)
    await asyncio.sleep(0.3)
    await task.cancel()
    last = plain(await task.wait())
    assert last["status"] == "cancelled"
    noticed = await one_more(client, before)
    done = await call_tool_task(client, "slow", {"seconds": 0.3})
    await done.result()
    await done.cancel()
    return noticed | {"last": last, "done": plain(await done.status()), "outcome": str(await task.result())}


async def play_task_fail(client: Client[Any]) -> Json:
    """A task that ends in a tool error: it is completed."""
    outcome = await call(client, "task_fail")
    assert outcome["result"]["isError"] is True
    assert text_of(outcome) == "it failed"
    task = await call_tool_task(client, "task_fail", {})
    last = plain(await task.wait())
    assert last["status"] == "completed"
    assert last["result"]["isError"] is True
    return {"outcome": outcome, "last": last}


async def play_task_error(client: Client[Any]) -> Json:
    """A task that ends in a JSON-RPC error: it has failed."""
    outcome = await call(client, "task_error")
    task = await call_tool_task(client, "task_error", {})
    last = plain(await task.wait())
    assert last["status"] == "failed"
    assert last["error"] == {"code": -32000, "message": "it broke", "data": {"reason": "broken on purpose"}}
    return {"outcome": outcome, "last": last}


SCENARIOS: dict[str, Callable[[Client[Any]], Awaitable[Json]]] = {
    "discover": play_discover,
    "tools": play_tools,
    "ask": play_ask,
    "ask_twice": play_ask_twice,
    "decline": play_decline,
    "sample": play_sample,
    "progress": play_progress,
    "header": play_header,
    "features": play_features,
    "errors": play_errors,
    "cancel": play_cancel,
    "task": play_task,
    "task_ask": play_task_ask,
    "task_decline": play_task_decline,
    "task_cancel": play_task_cancel,
    "task_fail": play_task_fail,
    "task_error": play_task_error,
}


def transport(server: list[str], recorder: ModernRecorder) -> Any:
    """What connects to a server that is launched, or to one that is served at a URL."""
    if server[0].startswith("http"):
        return StreamableHttpTransport(server[0], httpx_client_factory=lambda **options: recorder.client())
    return StdioTransport(command=server[0], args=server[1:], env=dict(os.environ), keep_alive=False)


async def play(options: argparse.Namespace) -> Json:
    """Connect to the server, play a scenario and report."""
    user = User(declines="decline" in options.scenario)
    recorder = ModernRecorder()
    client = Client(
        transport(options.server, recorder),
        mode=options.mode,
        sampling_handler=user.sample,
        elicitation_handler=user.elicit,
        cache=False,
    )
    report: Json = {"scenario": options.scenario}

    async def whole() -> None:
        async with client:
            report["version"] = client.protocol_version
            assert report["version"] == "2026-07-28"
            report.update(await SCENARIOS[options.scenario](client))

    await asyncio.wait_for(whole(), options.timeout)
    return report | {"requests": user.requests, "http": recorder.exchanges}


def main() -> None:
    """Parse the command line, play, print."""
    parser = argparse.ArgumentParser(usage="%(prog)s [options] SCENARIO (URL | -- SERVER COMMAND...)")
    parser.add_argument("--timeout", type=float, default=30.0, help="limit for everything (s)")
    parser.add_argument("--mode", default="auto", help="auto: ask the server; 2026-07-28: do not")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("server", nargs="+", help="command line of the server, or its URL")
    print(json.dumps(asyncio.run(play(parser.parse_args()))))


if __name__ == "__main__":
    main()
