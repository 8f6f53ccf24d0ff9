"""A client on mcp 2.3 that speaks revision 2026-07-28, plays one scenario, checks it and reports what it saw.

Usage: modern_python_client.py [OPTIONS] SCENARIO (URL | -- SERVER COMMAND...)

Run it with the interpreter `install.python_23` names. For the scenarios, the options and the report, and for the
tools that the server has to have, see README.md. That SDK has no tasks.
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
from http_client import ModernRecorder
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import BaseModel

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

ANSWERS = {"name": "Ada", "age": 36}
PLACES = ("eu", "Zürich", " padded ", "=?base64?ZXU=?=")
TOOLS = {"add", "fail", "progress", "ask", "ask_twice", "sample", "tagged", "wait", "cancelled"}

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


class User:
    """Answers the server's questions, and remembers them."""

    def __init__(self, *, declines: bool) -> None:
        self.declines = declines
        self.requests: list[Json] = []

    async def elicit(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Fill in the form with the values we know."""
        self.requests.append({"method": "elicitation/create", "key": context.request_id, "params": plain(params)})
        if self.declines:
            return types.ElicitResult(action="decline")
        asked = getattr(params, "requested_schema", {}).get("properties", {})
        known = {name: value for name, value in ANSWERS.items() if name in asked}
        return types.ElicitResult(action="accept", content=known)

    async def sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        """Play the model: answer the last text of the user."""
        self.requests.append({"method": "sampling/createMessage", "key": context.request_id, "params": plain(params)})
        texts = [said.content.text for said in params.messages if isinstance(said.content, types.TextContent)]
        content = types.TextContent(text=f"sampled: {texts[-1]}")
        return types.CreateMessageResult(role="assistant", content=content, model="peer")


# Scenarios -------------------------------------------------------------------------------------


async def play_discover(client: Client) -> Json:
    """What the server says of itself."""
    assert client.session.discover_result is not None
    discovered = plain(client.session.discover_result)
    assert "2026-07-28" in discovered["supportedVersions"]
    assert "tools" in discovered["capabilities"]
    return {"discover": discovered, "serverInfo": plain(client.server_info) if client.server_info else None}


async def play_tools(client: Client) -> Json:
    """List the tools; call one that works, and one that does not."""
    listed = plain(await client.list_tools())
    assert {tool["name"] for tool in listed["tools"]} >= TOOLS
    add = await attempt(client.call_tool("add", {"a": 1, "b": 2}))
    assert add["result"]["structuredContent"] == {"sum": 3}
    fail = await attempt(client.call_tool("fail", {}))
    assert fail["result"]["isError"] is True
    assert text_of(fail) == "it failed"
    return {"listed": listed, "add": add, "fail": fail}


async def play_ask(client: Client) -> Json:
    """A tool that asks once."""
    outcome = await attempt(client.call_tool("ask", {}))
    assert text_of(outcome) == "hi Ada"
    return {"outcome": outcome}


async def play_ask_twice(client: Client) -> Json:
    """A tool that asks once more when it has been told."""
    outcome = await attempt(client.call_tool("ask_twice", {}))
    assert text_of(outcome) == "Ada is 36"
    return {"outcome": outcome}


async def play_decline(client: Client) -> Json:
    """The user would rather not."""
    outcome = await attempt(client.call_tool("ask", {}))
    assert text_of(outcome) == "you would not tell"
    return {"outcome": outcome}


async def play_sample(client: Client) -> Json:
    """A tool that asks the model."""
    outcome = await attempt(client.call_tool("sample", {"prompt": "hi"}))
    assert text_of(outcome) == "sampled: hi"
    return {"outcome": outcome}


async def play_progress(client: Client) -> Json:
    """A tool that takes three steps."""
    told: list[list[Any]] = []

    async def callback(progress: float, total: float | None, message: str | None) -> None:
        told.append([progress, total, message])

    outcome = await attempt(client.call_tool("progress", {}, progress_callback=callback))
    assert text_of(outcome) == "done"
    return {"outcome": outcome, "progress": told}


async def play_header(client: Client) -> Json:
    """An argument that is in a header, too: before the tool is known from a list, and after."""
    outcomes = []
    for place in PLACES:
        outcomes.append(await attempt(client.call_tool("tagged", {"region": place})))
        assert text_of(outcomes[-1]) == f"region {place}"
        await client.list_tools()
    return {"outcomes": outcomes}


async def play_features(client: Client) -> Json:
    """Resources, prompts and completion."""
    reference = types.PromptReference(name="introduce")
    report = {
        "resources": plain(await client.list_resources()),
        "templates": plain(await client.list_resource_templates()),
        "read": plain(await client.read_resource("peer://greeting")),
        "number": plain(await client.read_resource("peer://number/7")),
        "prompts": plain(await client.list_prompts()),
        "prompt": plain(await client.get_prompt("introduce", {"name": "Ada", "language": "french"})),
        "completion": plain(await client.complete(reference, {"name": "language", "value": "e"})),
    }
    assert report["resources"]["resources"][0]["uri"] == "peer://greeting"
    assert report["read"]["contents"][0]["text"] == "good day"
    assert report["number"]["contents"][0]["text"] == "I am 7"
    assert report["prompt"]["messages"][0]["content"]["text"] == "Introduce Ada in french."
    assert report["completion"]["completion"]["values"] == ["english", "esperanto"]
    return report


async def play_errors(client: Client) -> Json:
    """What goes wrong."""
    report = {
        "tool": await attempt(client.call_tool("nothing", {})),
        "arguments": await attempt(client.call_tool("add", {"a": "x"})),
        "resource": await attempt(client.read_resource("peer://nothing")),
        "prompt": await attempt(client.get_prompt("nothing", {})),
    }
    assert report["resource"]["error"]["code"] == -32602
    return report


async def withdrawn(client: Client) -> int:
    """How many calls of "wait" the server has seen being cancelled."""
    return int(text_of(await attempt(client.call_tool("cancelled", {}))))


async def play_cancel(client: Client) -> Json:
    """Take back a call that has begun; wait until the server has noticed."""
    before = await withdrawn(client)
    with anyio.move_on_after(0.5) as scope:
        await client.call_tool("wait", {"seconds": 600})
    assert scope.cancelled_caught
    while (after := await withdrawn(client)) == before:  # noqa: ASYNC110 (another process is waited for)
        await anyio.sleep(0.05)
    assert after == before + 1
    return {"withdrawn": True}


async def play_listen(client: Client) -> Json:
    """Be told of two changes."""
    async with client.listen(tools_list_changed=True, resource_subscriptions=["peer://greeting"]) as subscription:
        honored = plain(subscription.honored)
        await client.call_tool("announce", {})
        assert isinstance(await anext(subscription), ToolsListChanged)
        await client.call_tool("touch", {})
        assert await anext(subscription) == ResourceUpdated(uri="peer://greeting")
    listed = await client.list_tools()
    return {"honored": honored, "tools": len(listed.tools)}


SCENARIOS: dict[str, Callable[[Client], Awaitable[Json]]] = {
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
    "listen": play_listen,
}


def transport(server: list[str], recorder: ModernRecorder) -> AbstractAsyncContextManager[Any]:
    """What connects to a server that is launched, or to one that is served at a URL."""
    if server[0].startswith("http"):
        return streamable_http_client(server[0], http_client=recorder.client())
    return stdio_client(StdioServerParameters(command=server[0], args=server[1:], env=dict(os.environ)))


async def play(options: argparse.Namespace) -> Json:
    """Connect to the server, play a scenario and report."""
    user = User(declines=options.scenario == "decline")
    recorder = ModernRecorder()
    client = Client(
        transport(options.server, recorder),
        mode=options.mode,
        sampling_callback=user.sample,
        elicitation_callback=user.elicit,
        cache=None,
    )
    report: Json = {"scenario": options.scenario}
    with anyio.fail_after(options.timeout):
        async with client:
            report["version"] = client.protocol_version
            assert report["version"] == "2026-07-28"
            report |= await SCENARIOS[options.scenario](client)
    return report | {"requests": user.requests, "http": recorder.exchanges}


def main() -> None:
    """Parse the command line, play, print."""
    parser = argparse.ArgumentParser(usage="%(prog)s [options] SCENARIO (URL | -- SERVER COMMAND...)")
    parser.add_argument("--timeout", type=float, default=30.0, help="limit for everything (s)")
    parser.add_argument("--mode", default="auto", help="auto: ask the server; 2026-07-28: do not")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("server", nargs="+", help="command line of the server, or its URL")
    print(json.dumps(anyio.run(play, parser.parse_args())))


if __name__ == "__main__":
    main()
