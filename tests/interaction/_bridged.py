"""A server that shows all that a bridge has to carry, the user at its client, and the bridge between them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
import trio.testing
from attrs import define, field

from mcp_tasks import (
    Connection,
    Context,
    Peer,
    RequestFailed,
    ToolError,
)
from mcp_tasks.bridge import Upstream, bridge
from mcp_tasks.testing import check_leaks, peer_pair
from mcp_tasks.wire.client_features import CreateMessageResult, ElicitResult
from mcp_tasks.wire.content import TextContent
from mcp_tasks.wire.server_features import ToolAnnotations

OLD, NEW = "2025-11-25", "2026-07-28"
EXTENSION = "io.modelcontextprotocol/tasks"
STRICT = "ignore::mcp_tasks.DeprecatedFeature"


@define
class Notes:
    """What has happened in the server."""

    ran: list[str] = field(factory=list)
    ended: list[str] = field(factory=list)
    begun: trio.Event = field(factory=trio.Event)


def make_server(peer: Peer, notes: Notes) -> Peer:
    @peer.tool(
        title="Echo", annotations=ToolAnnotations(read_only_hint=True), meta={"org.example/colour": "red"}, name="echo"
    )
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    @peer.tool
    async def add(a: int, b: int) -> int:
        return a + b

    @peer.tool
    async def fail() -> str:
        raise ToolError("it broke")

    @peer.tool
    async def refuse() -> str:
        raise RequestFailed(-32050, "out of order", {"until": "noon"})

    @peer.tool
    async def steps(ctx: Context) -> str:
        for step in (1, 2, 3):
            await ctx.progress(step, total=3, message=f"step {step}")
        return "done"

    @peer.tool
    async def greet(ctx: Context) -> str:
        notes.ran.append("greet")
        answer = await ctx.elicit("Who?", {"name": str})
        return f"hello {answer['name']}" if answer.accepted else f"no: {answer.action}"

    @peer.tool
    async def greet_two(ctx: Context) -> str:
        notes.ran.append("greet_two")
        one = await ctx.elicit("Who?", {"name": str})
        other = await ctx.elicit("And who?", {"name": str})
        return f"hello {one['name']} and {other['name']}"

    @peer.tool
    async def write(ctx: Context) -> str:
        return (await ctx.sample("a poem", max_tokens=7, system_prompt="be brief")).text

    @peer.tool
    async def look_around(ctx: Context) -> str:
        return ", ".join(root.uri for root in await ctx.roots())

    @peer.tool
    async def sign_in(ctx: Context) -> str:
        return (await ctx.elicit_url("Sign in, please", "https://example.org/in")).action

    @peer.tool
    async def chat(ctx: Context) -> str:
        await ctx.log("warning", "about to chat", "chatter")
        return "chatted"

    @peer.tool
    async def wait(ctx: Context) -> str:
        notes.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            notes.ended.append("wait")
        return "never"

    @peer.tool(task="optional")
    async def build(ctx: Context, ask: bool = False) -> str:
        notes.ran.append("build")
        await trio.sleep(3)
        await ctx.report("hammering")
        await ctx.progress(1, total=2)
        await trio.sleep(3)
        if ask:
            answer = await ctx.elicit("Paint it?", {"colour": str})
            return f"a {answer['colour']} boat"
        return "a boat"

    @peer.tool(task="optional")
    async def wait_long(ctx: Context) -> str:
        notes.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            notes.ended.append("wait_long")
        return "never"

    @peer.resource("memo:one", mime_type="text/plain")
    async def one() -> str:
        """The first memo."""
        return "first"

    @peer.resource("memo:{name}")
    async def other(name: str) -> str:
        return name

    @peer.prompt
    async def rhyme(word: str) -> str:
        """Ask for a rhyme."""
        return f"what rhymes with {word}?"

    @peer.completion(prompt="rhyme")
    async def complete(argument: str, value: str, known: dict[str, str]) -> list[str]:
        return [f"{value}ing", f"{value}ed"]

    return peer


@define
class User:
    """Who sits at the client."""

    names: list[str] = field(factory=lambda: ["Ada", "Bea"])
    asked: list[Any] = field(factory=list)

    def attach(self, peer: Peer) -> Peer:
        peer.elicitation(url=True)(self.elicit)
        peer.sampling(self.sample)
        peer.roots = ["file:///home"]
        return peer

    async def elicit(self, ctx: Context, params: Any) -> Any:
        self.asked.append(params)
        if hasattr(params, "url"):
            return ElicitResult(action="accept")
        return {name: self.names.pop(0) for name in params.requested_schema["properties"]}

    async def sample(self, ctx: Context, params: Any) -> CreateMessageResult:
        self.asked.append(params)
        return CreateMessageResult(role="assistant", content=TextContent(text="roses"), model="m")


@asynccontextmanager
async def bridged(server: Peer, revision: str, **options: Any) -> AsyncIterator[Peer]:
    """The peer of a bridge to a server, over frames in memory."""
    upstream = Upstream()
    async with peer_pair(upstream, server, revision=revision) as pair, bridge(pair.client, **options) as peer:
        yield peer
    check_leaks(upstream, peer)


Eras: TypeAlias = tuple[str, str]
EVERY_WAY = [(OLD, NEW), (NEW, OLD), (OLD, OLD), (NEW, NEW)]


@asynccontextmanager
async def through(server: Peer, client: Peer, eras: Eras, **options: Any) -> AsyncIterator[Connection]:
    """A client's connection to a bridge to a server."""
    there, here = eras
    async with bridged(server, there, **options) as peer, peer_pair(client, peer, revision=here) as pair:
        yield pair.client


async def text_of(connection: Connection, name: str, **arguments: Any) -> str:
    return (await connection.call_tool(name, arguments)).text
