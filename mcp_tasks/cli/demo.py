"""`mcp-tasks demo`: a server in a process of its own, and tasks in both directions over its pipes.

Everything that is shown is checked as well, so the exit code says whether this installation works.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeAlias

import trio

from .._unset import UNSET, JSONObject
from .._version import __version__
from ..errors import TaskCancelled
from ..peer._wait import Progress
from ..peer.connection import Connection
from ..peer.contexts import Context
from ..peer.peer import Peer
from ..wire.client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitFormParams,
    ElicitResult,
    ElicitUrlParams,
)
from ..wire.content import TextContent
from ..wire.server_features import CallToolResult
from ..wire.tasks import Task, TaskStatus
from ..wire.v2025_11_25 import RELATED_TASK
from .calls import render
from .display import Display, Event
from .exits import Exit, Trouble
from .following import progress_event, task_event
from .running import Interrupts
from .servers import ServerCommand, connected
from .terminal import Terminal
from .user import User

__all__ = ["demo"]

LIMIT_SECONDS = 30.0
"""How long all of it may take, unless somebody is asked."""

_COMMAND = (sys.executable, "-m", "mcp_tasks", "serve", "mcp_tasks.cli.demo_server:peer", "--stdio")
_THINKING_SECONDS = 0.2

Part: TypeAlias = "Callable[[Connection], Awaitable[str]]"


async def demo(interrupts: Interrupts, *, display: Display, ask: bool) -> int:
    """Run the demo; returns the exit code. Raises `Trouble` for the first thing that is not as it should be."""
    terminal = Terminal(display)
    if ask and not terminal.interactive:
        raise Trouble("--ask needs a terminal to ask on", Exit.USAGE)
    client = Peer("demo", __version__)
    with trio.move_on_after(float("inf") if ask else LIMIT_SECONDS) as limit:
        show = _Show(display, User(terminal, display, yes=not ask), by_hand=ask)
        client.elicitation(show.elicit)
        client.sampling(task="optional")(show.sample)
        for revision, parts in show.parts.items():
            forge = ServerCommand(name="forge", command=_COMMAND)
            async with connected(client, forge, display, revision=revision) as connection:
                told = {"peer": connection.peer_name, "revision": connection.revision}
                display.event(Event("connected", f"{connection!r}, through the pipes of a process", data=told))
                await show.all(connection, parts)
    if limit.cancelled_caught:
        raise Trouble(f"the demo took longer than {LIMIT_SECONDS:g} seconds", Exit.TIMEOUT)
    display.event(Event("finished", "\nAll is as it should be.", data={"ok": True}))
    return Exit.OK


class _Show:
    """The parts of the demo, by the revision they are in."""

    def __init__(self, display: Display, user: User, *, by_hand: bool) -> None:
        self._display = display
        self._user = user
        self._by_hand = by_hand
        self._asking: list[JSONObject] = []
        self._hosted: list[str] = []
        self._number = 0
        self.parts: Mapping[str, Sequence[tuple[str, Part]]] = {
            "2025-11-25": (
                ("The server runs a task for us, and tells how far it is", self._progress),
                ("The server's task asks us something midway", self._question),
                ("The server has us run a task: a sample of our model", self._hosting),
                ("We cancel a task of the server's, and it sweeps up", self._cancelling),
            ),
            "2026-07-28": (
                ("The same server without a session: it asks first, and makes a task of what takes long", self._rounds),
            ),
        }

    async def all(self, connection: Connection, parts: Sequence[tuple[str, Part]]) -> None:
        for title, part in parts:
            self._number = number = self._number + 1
            self._display.event(Event("part", f"\n{number}. {title}", data={"number": number, "title": title}))
            said = await part(connection)
            self._display.event(Event("done", f"   => {said}", data={"number": number, "result": said}))

    async def _progress(self, connection: Connection) -> str:
        said, seen, steps = await self._run(connection, "build", {"target": "a bell"})
        _expect("built a bell in 4 steps", said)
        _expect([1, 2, 3, 4], steps)
        _expect((TaskStatus.WORKING, TaskStatus.COMPLETED), (seen[0].status, seen[-1].status))
        return said

    async def _question(self, connection: Connection) -> str:
        said, seen, _ = await self._run(connection, "ship", {"target": "the bell"})
        _expect([seen[0].task_id], [related["taskId"] for related in self._asking])
        if not self._by_hand:
            _expect("shipped the bell north", said)
        return said

    async def _rounds(self, connection: Connection) -> str:
        self._asking.clear()
        said, seen, _ = await self._run(connection, "ship", {"target": "another bell"})
        _expect(1, len(self._asking))
        if not self._by_hand:
            _expect("shipped another bell north", said)
        _expect((TaskStatus.WORKING, TaskStatus.COMPLETED), (seen[0].status, seen[-1].status))
        return said

    async def _hosting(self, connection: Connection) -> str:
        said = render(await connection.call_tool("name_it", {"target": "the bell"}))
        _expect(1, len(self._hosted))
        _expect("the bell is called Emmanuel (working -> completed)", said)
        return said

    async def _cancelling(self, connection: Connection) -> str:
        label = "polish"
        async with connection.start("tools/call", {"name": "polish", "arguments": {"target": "the bell"}}) as handle:
            async with aclosing(handle.updates()) as updates:
                async for task in updates:
                    self._display.event(task_event(label, task))
                    if task.status_message is not UNSET:  # it has begun
                        break
            self._display.event(task_event(label, await handle.cancel()))
            try:
                await handle.value()
            except TaskCancelled as cancelled:
                ended = str(cancelled)
            else:
                raise Trouble("the cancelled task has a result", Exit.SERVER)
        swept = render(await connection.call_tool("swept"))
        _expect("the bell", swept)
        return f"{ended}; its cleanup ran, for {swept}"

    async def _run(
        self, connection: Connection, tool: str, arguments: JSONObject
    ) -> tuple[str, list[Task], list[float]]:
        """Run a tool as a task; returns what it said, what was seen of the task, and the progress."""
        steps: list[float] = []
        seen: list[Task] = []

        def progressed(said: Progress) -> None:
            steps.append(said.progress)
            self._display.event(progress_event(tool, said))

        params = {"name": tool, "arguments": arguments}
        async with connection.start("tools/call", params, ttl=60, on_progress=progressed) as handle:
            async for task in handle.updates():
                seen.append(task)
                self._display.event(task_event(tool, task))
            result: CallToolResult = await handle.value()
        return render(result), seen, steps

    async def elicit(self, ctx: Context, params: ElicitFormParams | ElicitUrlParams) -> ElicitResult:
        """Serve ``elicitation/create``, and remember which task it was for."""
        self._asking.append(ctx.meta.get(RELATED_TASK, {"taskId": None}))
        return await self._user.elicit(ctx, params)

    async def sample(self, ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        """Serve ``sampling/createMessage``, slowly enough to be watched."""
        if ctx.task_id is None:
            raise Trouble("the server did not ask for a task", Exit.SERVER)
        self._hosted.append(ctx.task_id)
        label, told = "our sampling", {"taskId": ctx.task_id}
        self._display.event(Event("status", f"{'working':<16}thinking", label, told | {"status": "working"}))
        await ctx.report("thinking")
        await trio.sleep(_THINKING_SECONDS)
        self._display.event(Event("status", "completed", label, told | {"status": "completed"}))
        return CreateMessageResult(role="assistant", content=TextContent(text="Emmanuel"), model="demo")


def _expect(wanted: object, got: object) -> None:
    if got != wanted:
        raise Trouble(f"the demo went wrong: expected {wanted!r}, got {got!r}", Exit.SERVER)
