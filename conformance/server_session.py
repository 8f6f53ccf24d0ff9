"""The judge as a client: a session with a server under test, of either era."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from mcp_tasks.testing import Frame, HttpClientWire, Wire

from .answers import answer_to
from .names import RELATED, TASKS
from .scenario import Broken, NotApplicable
from .session import MadeTask, Session, result_in
from .subjects import Served

__all__ = ["CLIENT_2025", "CLIENT_2026", "JUDGE", "ServerSession", "stamp"]

JUDGE = {"name": "mcp-tasks-conformance", "version": "1"}
CLIENT_2025: Mapping[str, Any] = {
    "roots": {"listChanged": True},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "tasks": {
        "list": {},
        "cancel": {},
        "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
    },
}
"""All that a client of 2025-11-25 can announce."""
CLIENT_2025_PLAIN = {name: value for name, value in CLIENT_2025.items() if name != "tasks"}
"""A client that runs no tasks itself; it may have the server run them all the same."""
CLIENT_2026: Mapping[str, Any] = {
    "roots": {},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "extensions": {TASKS: {}},
}
"""All that a client of 2026-07-28 can declare."""
_PREFIX = "io.modelcontextprotocol/"


class ServerSession(Session):
    """The client's end. `capabilities` and `tools` are what the server has announced."""

    opening: Frame
    """The answer to ``initialize`` or ``server/discover``."""

    def __init__(
        self, wire: Wire, nursery: trio.Nursery, *, declares: Mapping[str, Any] | None = None, **more: Any
    ) -> None:
        super().__init__(wire, nursery, **more)
        everything = CLIENT_2026 if self.era == "2026-07-28" else CLIENT_2025
        self.declares = dict(everything if declares is None else declares)
        self.tools: dict[str, dict[str, Any]] = {}
        self.another: Callable[[str | None], AbstractAsyncContextManager[Served]] | None = None
        self.tokens: tuple[str, str] | None = None
        self._began = trio.current_time()
        for method in ("elicitation/create", "sampling/createMessage", "roots/list"):
            self.on(method, self._answer)
        self.on("ping", {})

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Shake hands, or ask what the server is, and list its tools. Raises `Broken`."""
        if self.era == "2026-07-28":
            self.stamp = stamp(self.declares)
            self.opening = await self.call("server/discover")
            self.capabilities = result_in(self.opening, "server/discover").get("capabilities") or {}
        else:
            wire = self.wire
            opening = {"protocolVersion": self.era, "capabilities": self.declares, "clientInfo": JUDGE}
            self.opening = await self.call("initialize", opening)
            found = result_in(self.opening, "initialize")
            if found.get("protocolVersion") != self.era:
                raise NotApplicable(f"the server speaks {found.get('protocolVersion')}, not {self.era}")
            self.capabilities = found.get("capabilities") or {}
            if isinstance(wire, HttpClientWire):
                wire.revision = self.era
            await self.notify("notifications/initialized")
            if isinstance(wire, HttpClientWire):
                wire.listen()
        if "tools" in self.capabilities:
            await self.list_tools()

    async def list_tools(self) -> None:
        """List the server's tools, all pages of them."""
        params: dict[str, Any] = {}
        for _ in range(100):
            result = await self.result_of("tools/list", params)
            for tool in result.get("tools") or ():
                if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                    self.tools[tool["name"]] = tool
            if result.get("nextCursor") is None:
                return
            params = {"cursor": result["nextCursor"]}

    def task_support(self, tool: str) -> Any:
        """What a listed tool says of being a task (2025-11-25); None if it says nothing."""
        execution = self.tools.get(tool, {}).get("execution")
        return execution.get("taskSupport") if isinstance(execution, dict) else None

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        frame = self.frame_of(request)
        result = answer_to(request["method"], frame.params)
        related = frame.meta.get(RELATED)
        return {**result, "_meta": {RELATED: related}} if related is not None else result

    # --- further sessions -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def other(self) -> AsyncIterator[ServerSession]:
        """Another session with the same server, as somebody else; what is found there counts.

        It is open when the block begins. Raises `NotApplicable` if there is no second identity, and `Broken`.
        """
        if self.tokens is None:
            raise NotApplicable("needs two identities: --auth")
        async with self._further("other", self.tokens[1]) as session:
            yield session

    @asynccontextmanager
    async def again(self) -> AsyncIterator[ServerSession]:
        """Another session with the same server, as who we are in this. Raises `NotApplicable`, `Broken`."""
        async with self._further("again", None if self.tokens is None else self.tokens[0]) as session:
            yield session

    @asynccontextmanager
    async def _further(self, label: str, token: str | None) -> AsyncIterator[ServerSession]:
        if self.another is None:
            raise NotApplicable("over stdio there is one client for each server, and no other session")
        async with self.another(token) as served:
            wire = served.wire
            if isinstance(wire, HttpClientWire):
                wire.label = f"{label} "
            wire.taps.append(self._overhear)
            session = ServerSession(
                wire,
                self._nursery,
                declares=self.declares,
                era=self.era,
                transport=self.transport,
                profile=self.profile,
                patience=self.patience,
            )
            session.another, session.tokens = served.another, self.tokens
            try:
                await session.open()
                yield session
            finally:
                self.findings += session.judged()

    def _overhear(self, frame: Frame) -> None:
        # All that was said in a play stands in one transcript, in the order in which it was said.
        frame.at = trio.current_time() - self._began
        self.wire.frames.append(frame)

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def make_task(self, ability: str, task: Any = None, **meta: Any) -> MadeTask:
        method, params = self.request_for(ability)
        if self.era != "2026-07-28":
            name = params.get("name", "")
            if name in self.tools and self.task_support(name) not in ("optional", "required"):
                raise NotApplicable(f"the tool of `{ability}` says that it is no task")
            return await super().make_task(ability, task, **meta)
        if meta:
            params["_meta"] = meta
        request = await self.begin(method, params)
        frame = await self.through(request)
        result = result_in(frame, method)
        if result.get("resultType") != "task":
            raise NotApplicable(f"the server made no task of `{ability}`")
        if not isinstance(result.get("taskId"), str):
            raise Broken(f"`{ability}` was made a task without a taskId")
        return MadeTask(result["taskId"], result, frame, request)

    async def through(self, request: Frame) -> Frame:
        """Wait for the answer to a request; as often as it is questions, answer them and ask again (2026-07-28)."""
        for _ in range(20):
            frame = await self.outcome(request)
            if frame.result.get("resultType") != "input_required":
                return frame
            params = {name: value for name, value in request.params.items() if name != "_meta"}
            questions = frame.result.get("inputRequests")
            params["inputResponses"] = {
                key: answer_to(question.get("method", ""), question.get("params"))
                for key, question in (questions.items() if isinstance(questions, dict) else ())
                if isinstance(question, dict)
            }
            params.pop("requestState", None)
            if "requestState" in frame.result:
                params["requestState"] = frame.result["requestState"]
            request = await self.begin(request.method or "", params)
        raise Broken("the questions never end")


def stamp(declares: Mapping[str, Any], revision: str = "2026-07-28") -> dict[str, Any]:
    """What each request of the stateless revision says in its ``_meta``."""
    return {
        f"{_PREFIX}protocolVersion": revision,
        f"{_PREFIX}clientCapabilities": dict(declares),
        f"{_PREFIX}clientInfo": JUDGE,
    }
