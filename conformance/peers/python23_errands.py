"""An errand client on mcp 2.3, of either revision: ``python23_errands.py URL`` or ``-- COMMAND...``.

What it is to do stands in ``MCP_CONFORMANCE``; see README.md. That SDK has no tasks, so that a call is a call.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPDeprecationWarning

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

ANSWERS = {"string": "Ada", "integer": 36, "number": 36, "boolean": True}
SLOW_SECONDS = 3.0

Json = dict[str, Any]


async def elicit(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Fill in a form."""
    asked = getattr(params, "requested_schema", {}).get("properties", {})
    content = {name: ANSWERS.get(part.get("type"), "Ada") for name, part in asked.items()}
    return types.ElicitResult(action="accept", content=content)


async def sample(context: Any, params: types.CreateMessageRequestParams) -> Any:
    """Play the model; what it is asked says how that goes."""
    content = params.messages[-1].content
    text = content.text if isinstance(content, types.TextContent) else ""
    if text == "fails":
        return types.ErrorData(code=-32000, message="it broke", data={"reason": "on purpose"})
    await anyio.sleep(SLOW_SECONDS if text == "slow" else 0)
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text=f"sampled: {text}"), model="peer")


async def roots(context: Any) -> types.ListRootsResult:
    """Show no folder."""
    return types.ListRootsResult(roots=[])


async def heard(progress: float, total: float | None, message: str | None) -> None:
    """Be told of progress."""


async def call(client: Client, errand: Json) -> Json:
    """One call, as it was told; what is to be printed of it."""
    tool, arguments = errand.get("tool", "play"), errand.get("arguments") or {}
    try:
        with anyio.move_on_after(0.5 if errand.get("cancel") == "call" else None):
            on_progress = heard if errand.get("progress") else None
            return plain(await client.call_tool(tool, arguments, progress_callback=on_progress))
        return {"cancelled": True}
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    except Exception as error:  # an answer that the SDK cannot read, say: the caller is told of it, too
        return {"error": {"code": None, "message": str(error)}}


def plain(result: Any) -> Json:
    """The text of a result."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return {"text": texts[0] if texts else None, "isError": bool(result.is_error)}


def opened(server: list[str]) -> AbstractAsyncContextManager[Any]:
    """What connects to the server."""
    if server[0].startswith("http"):
        return streamable_http_client(server[0])
    return stdio_client(StdioServerParameters(command=server[0], args=server[1:], env=dict(os.environ)))


async def main(server: list[str], errand: Json) -> None:
    """Do an errand, and print what came of it."""
    results: list[Json] = []
    client = Client(
        opened(server),
        mode="auto" if errand["revision"] >= "2026-07-28" else "legacy",
        sampling_callback=sample,
        elicitation_callback=elicit,
        list_roots_callback=roots,
        cache=None,
    )
    async with client, anyio.create_task_group() as calls:
        await client.list_tools()

        async def one() -> None:
            results.append(await call(client, errand))

        for _ in range(int(errand.get("calls") or 1)):
            calls.start_soon(one)
    print(json.dumps(results if len(results) > 1 else results[0]))


if __name__ == "__main__":
    anyio.run(main, [word for word in sys.argv[1:] if word != "--"], json.loads(os.environ["MCP_CONFORMANCE"]))
