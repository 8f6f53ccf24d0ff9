"""An errand client on fastmcp 4.1 with its tasks (2026-07-28): ``fastmcp_errands.py URL`` or ``-- COMMAND...``.

What it is to do stands in ``MCP_CONFORMANCE``; see README.md. A call that becomes a task is followed to its end by the
SDK, behind the caller's back; where the errand is to give the task up, it is held by the SDK's handle. That SDK does
not listen, and its handles cannot be taken up by another connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from typing import Any

os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)
os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
os.environ.setdefault("FASTMCP_LOG_LEVEL", "WARNING")

import mcp_types as types
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp_tasks import call_tool_task
from mcp import MCPError
from mcp.shared.exceptions import MCPDeprecationWarning

warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

ANSWERS = {"string": "Ada", "integer": 36, "number": 36, "boolean": True}
SLOW_SECONDS = 3.0

Json = dict[str, Any]


async def elicit(message: str, kind: Any, params: Any, context: Any) -> Any:
    """Fill in a form."""
    asked = (getattr(params, "requested_schema", None) or {}).get("properties", {})
    return {name: ANSWERS.get(part.get("type"), "Ada") for name, part in asked.items()}


async def sample(messages: Any, params: Any, context: Any) -> str:
    """Play the model; what it is asked says how that goes."""
    text = messages[-1].content.text
    if text == "fails":
        raise MCPError(-32000, "it broke", {"reason": "on purpose"})
    await asyncio.sleep(SLOW_SECONDS if text == "slow" else 0)
    return f"sampled: {text}"


async def heard(progress: float, total: float | None, message: str | None) -> None:
    """Be told of progress."""


async def call(client: Client[Any], errand: Json) -> Json:
    """One call, as it was told; what is to be printed of it."""
    tool, arguments = errand.get("tool", "play"), errand.get("arguments") or {}
    cancel = errand.get("cancel")
    try:
        if cancel == "call":
            return plain(await asyncio.wait_for(client.call_tool_mcp(tool, arguments), 0.5))
        if cancel:
            task = await call_tool_task(client, tool, arguments, raise_on_error=False)
            if cancel == "working":
                await task.status()
            await task.cancel()
            return {"cancelled": True}
        on_progress = heard if errand.get("progress") else None
        return plain(await client.call_tool_mcp(tool, arguments, progress_handler=on_progress))
    except asyncio.TimeoutError:
        return {"cancelled": True}
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    except Exception as error:  # an answer that the SDK cannot read, say: the caller is told of it, too
        return {"error": {"code": None, "message": str(error)}}


def plain(result: Any) -> Json:
    """The text of a result."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    return {"text": texts[0] if texts else None, "isError": bool(result.is_error)}


def opened(server: list[str]) -> Any:
    """What connects to the server."""
    if server[0].startswith("http"):
        return StreamableHttpTransport(server[0])
    return StdioTransport(command=server[0], args=server[1:], env=dict(os.environ), keep_alive=False)


async def main(server: list[str], errand: Json) -> None:
    """Do an errand, and print what came of it."""
    client = Client(opened(server), mode="auto", sampling_handler=sample, elicitation_handler=elicit, cache=False)
    async with client:
        await client.list_tools_mcp()
        results = await asyncio.gather(*(call(client, errand) for _ in range(int(errand.get("calls") or 1))))
    print(json.dumps(results if len(results) > 1 else results[0]))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--"]
    asyncio.run(main(words, json.loads(os.environ["MCP_CONFORMANCE"])))
