"""A client: it runs the forge's tools, as tasks or not, and lends it a user and a model."""

import sys
from pathlib import Path

import trio

from mcp_tasks import Context, Peer, open_stdio
from mcp_tasks.wire.client_features import CreateMessageParams, CreateMessageResult, ElicitFormParams
from mcp_tasks.wire.content import TextContent

FORGE = [sys.executable, str(Path(__file__).with_name("forge.py"))]

peer = Peer("chat", "1.0")


@peer.elicitation
async def ask_the_user(ctx: Context, form: ElicitFormParams) -> dict[str, str]:
    """Answer a form. A real client shows it to somebody."""
    print(f"? {form.message}")
    return {"target": "a boat"}


@peer.sampling(task="optional")  # in a session, the server may have this run as a task of ours
async def sample(ctx: Context, request: CreateMessageParams) -> CreateMessageResult:
    """Answer for the model. A real client asks one."""
    return CreateMessageResult(role="assistant", content=TextContent(text="Argo"), model="oracle-1")


async def main() -> None:
    async with open_stdio(FORGE) as transport, peer.connect(transport) as forge:
        result = await forge.call_tool("lint", {"path": "hull.c"})
        print(result.text)

        # One call hides the task, its questions and its polling; leaving the scope early cancels it over there.
        with trio.move_on_after(60):
            result = await forge.call_tool("build", {"parts": 2}, task=True)
            print(result.text)

        # Or watch it. `task.detach()` would let it go on; without that, leaving the block cancels what still runs.
        async with forge.start("tools/call", {"name": "build", "arguments": {"parts": 2}}, ttl=3600) as task:
            async for snapshot in task.updates():
                print(snapshot.status)
            print((await task.value()).text)

        print((await forge.call_tool("name_it", {"what": "the boat"})).text)


if __name__ == "__main__":
    trio.run(main)
