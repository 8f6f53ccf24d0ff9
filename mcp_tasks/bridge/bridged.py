"""The peer of a bridge: the server over again, with its tools, resources, prompts and completion.

What is offered is what the server announces. Each side keeps its own way of doing things. A tool of a session that may
be a task always is one over there, since only then its questions say whose they are; over here it is a task where the
client wants one, or where it takes long. A task of the bridge is one of its own: it has another id, relays what the
server's task says of itself, and cancels that when it is cancelled. A call that is withdrawn here is withdrawn there.
How a question finds whoever made the call is in `flights`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any

import trio

from .._unset import UNSET, JSONObject
from .._version import __version__
from ..dialects.base import Side
from ..errors import (
    CapabilityMissing,
    CapabilityRequired,
    InternalError,
    InvalidShape,
    MCPError,
    MethodNotFound,
    Refusal,
    RequestFailed,
    TaskAlreadySettled,
    TaskCancelled,
)
from ..framing.mirror import Mirrored, mirrored_arguments
from ..limits import Limits
from ..peer._wait import Progress, servants
from ..peer.connection import Connection
from ..peer.contexts import Context
from ..peer.handlers import Handler, TaskPolicy
from ..peer.handles import TaskHandle
from ..peer.peer import Peer
from ..wire.capabilities import ServerCapabilities
from ..wire.server_features import CallToolParams, SubscribeParams, Tool
from ..wire.utilities import LEVELS, EmptyResult, LoggingLevel, LogParams, SetLevelParams
from ..wire.v2026_07_28 import LOG_LEVEL
from .flights import CURRENT, Flight, Flights
from .interest import Interest
from .wording import Wording, related_task

__all__ = ["Bridged"]

logger = logging.getLogger("mcp_tasks.bridge")


class Bridged(Peer):
    """The server over again."""

    def __init__(self, connection: Connection, nursery: trio.Nursery, limits: Limits | None) -> None:
        super().__init__("mcp-tasks-bridge", __version__, instructions=connection.instructions, limits=limits)
        if connection.their_info is not None:
            self.info = connection.their_info
        self._server = connection
        self._flights = Flights(nursery, self.limits)
        self._definitions: dict[str, Tool] = {}
        self._level: LoggingLevel | None = None  # from which on the server has been asked to log, in a session
        self.interest = Interest(self, connection, nursery, self.list_has_changed)
        self._wording = Wording(connection)
        assert isinstance(connection.their_capabilities, ServerCapabilities)
        self._offered = connection.their_capabilities
        self._offer(connection.their_capabilities)

    def _offer(self, theirs: ServerCapabilities) -> None:
        if theirs.tools is not UNSET:
            takes_tasks = self._server.takes_tasks("tools/call")
            self._serve("tools/list", self._list_tools)
            self._serve("tools/call", self._call_tool, policy=self._policy if takes_tasks else "forbidden")
        if theirs.resources is not UNSET:
            self._serve("resources/list", self._pass_on)
            self._serve("resources/templates/list", self._pass_on)
            self._serve("resources/read", self._call)
            if theirs.resources.subscribe is not UNSET and theirs.resources.subscribe is not False:
                self._serve("resources/subscribe", self._subscribe, lifted=True)
                self._serve("resources/unsubscribe", self.interest.unsubscribe, lifted=True)
        if theirs.prompts is not UNSET:
            self._serve("prompts/list", self._pass_on)
            self._serve("prompts/get", self._call)
        if theirs.completions is not UNSET:
            self._serve("completion/complete", self._pass_on)
        del self.table.requests["logging/setLevel"]
        if theirs.logging is not UNSET:
            self._serve("logging/setLevel", self._set_level, lifted=True)
        self.on("notifications/roots/list_changed")(self._roots_changed)

    def _serve(self, method: str, run: Callable[[Context, Any], Awaitable[Any]], **options: Any) -> None:
        self.table.add(Handler(method=method, run=run, **options))

    # --- what is merely passed on ---------------------------------------------------------------------------------

    async def _pass_on(self, ctx: Context, params: JSONObject) -> Any:
        return self._wording.result(ctx, await self._fetched(ctx, params))

    async def _fetched(self, ctx: Context, params: JSONObject) -> JSONObject:
        with _explained():
            result = await self._server.call(ctx.method, self._wording.request(ctx, params))
            self._server.lift_result(ctx.method, result)
        return result

    # --- tools ----------------------------------------------------------------------------------------------------

    async def _list_tools(self, ctx: Context, params: JSONObject) -> Any:
        result = await self._fetched(ctx, params)
        tools = [self._wording.tool(ctx, tool) for tool in result["tools"] if self._can_be_called(tool)]
        return self._wording.result(ctx, result, tools=tools)

    def _can_be_called(self, tool: JSONObject) -> bool:
        try:
            self._server.transport.learn(tool["name"], tool["inputSchema"])
        except InvalidShape as wrong:
            logger.warning("%r: the tool %r is left out: %s", self._server, tool["name"], wrong)  # C26-187
            return False
        return True

    def _policy(self, params: CallToolParams) -> TaskPolicy:
        # One that has to be a task over there can be any call here, as far as the client's era allows: see below.
        return "forbidden" if self._support(params.name) == "forbidden" else "optional"

    def _support(self, name: str) -> TaskPolicy:
        if not self._server.takes_tasks("tools/call"):
            return "forbidden"
        if self._server.dialect.stateless:
            return "optional"
        tool = self._definitions.get(name)
        if tool is None or tool.execution is UNSET or tool.execution.task_support is UNSET:
            return "forbidden"
        return tool.execution.task_support

    def mirrored(self, tool: str) -> tuple[Mirrored, ...]:
        """The arguments of a tool that clients over HTTP repeat in headers; none if there is no such tool."""
        definition = self._definitions.get(tool)
        try:
            return () if definition is None else mirrored_arguments(definition.input_schema)
        except InvalidShape:
            return ()

    async def _call_tool(self, ctx: Context, params: JSONObject) -> Any:
        name = str(params.get("name"))
        support = self._support(name)
        plain = ctx.task_id is None and not ctx.stateless and ctx.method in ctx.connection.task_methods
        if support == "required" and plain:
            raise MethodNotFound(f"{ctx.method} of {name!r} can only be run as a task")
        result = await self._flown(ctx, params, as_task=support != "forbidden")
        definition = self._definitions.get(name)
        declared = UNSET if definition is None else definition.output_schema
        return self._wording.tool_result(ctx, result, declared)

    async def list_has_changed(self, kind: str) -> None:
        """The server says that a list has changed."""
        if kind == "tools":
            await self.learn_tools()
        self._list_changed(kind)

    async def learn_tools(self) -> None:
        """Look up how the server's tools are defined."""
        if self._offered.tools is UNSET:
            return
        try:
            self._definitions = {tool.name: tool async for tool in self._server.list_tools()}
        except MCPError as failure:
            logger.warning("%r: its tools cannot be listed: %s", self._server, failure)

    # --- calls that may take long, and may have questions ---------------------------------------------------------

    async def _call(self, ctx: Context, params: JSONObject) -> Any:
        return self._wording.result(ctx, await self._flown(ctx, params))

    async def _flown(self, ctx: Context, params: JSONObject, *, as_task: bool = False) -> JSONObject:
        connection = ctx.connection
        requestor: object = connection
        if connection.identified:
            requestor = ctx.principal
        elif ctx.stateless:
            requestor = object()  # nobody knows whose it is: somebody else's than any other
        if ctx.stateless and (level := ctx.meta.get(LOG_LEVEL)) is not None:
            try:
                await self._want_level(level)
            except MCPError as failure:
                logger.warning("%r cannot be asked to log: %s", self._server, failure)
        try:
            with _explained():
                result = await self._flights.serve(ctx, requestor, self._flying(ctx, params, as_task=as_task))
                self._server.lift_result(ctx.method, result)
                return result
        except TaskCancelled as cancelled:
            if ctx.task_id is not None:
                try:
                    await self.tasks.cancel(ctx.task_id, ctx.principal, cancelled.message)
                except TaskAlreadySettled:
                    pass
            raise InternalError(cancelled.message) from None  # its id is not theirs

    def _flying(self, ctx: Context, params: JSONObject, *, as_task: bool) -> Callable[[Flight], Awaitable[JSONObject]]:
        server, method, sent = self._server, ctx.method, self._wording.request(ctx, params)
        wants_progress = ctx.progress_token is not None
        may_be_task = ctx.task_id is not None or ctx.stateless
        wish = ctx.params.get("task")
        ttl_ms = wish.get("ttl") if isinstance(wish, dict) and ctx.task_id is not None else None

        async def call(flight: Flight) -> JSONObject:
            def progressed(said: Progress) -> None:
                flight.tell(partial(_progress, said))

            on_progress = progressed if wants_progress else None
            if not as_task:
                return await server.call(method, sent, on_progress=on_progress)
            ttl = None if ttl_ms is None else ttl_ms / 1000
            flight.starting = True
            try:
                async with server.start(method, sent, ttl=ttl, on_progress=on_progress) as handle:
                    flight.starting = False
                    if handle.task is None:
                        return await handle.result()
                    with flight.named(handle.id):
                        return await _followed(flight, handle, tells=may_be_task)
            finally:
                flight.starting = False
                self._flights.moved()

        return call

    # --- what the server asks and tells ---------------------------------------------------------------------------

    async def ask(self, ctx: Context, params: JSONObject) -> Any:
        """Put a question of the server to whoever made the call that it belongs to."""
        method = ctx.method
        asked = self._wording.question(params)
        if asked.get("mode") == "url":
            asked.setdefault("elicitationId", secrets.token_urlsafe(16))  # which one era has to have
        task_id = related_task(ctx.meta)
        flight = CURRENT.get() if ctx.stateless else await self._flights.meant(task_id)
        try:
            if flight is not None:
                return await flight.ask(method, asked)
            if self._flights.busy or task_id is not None:
                raise InternalError(f"{method}: it cannot be told which of several clients is meant")
            session = self._only_session()
            if session is None:
                raise MethodNotFound(f"{method}: there is nobody to ask")
            return await session.call(method, asked or None)
        except CapabilityMissing as missing:
            if ctx.stateless:
                raise CapabilityRequired(str(missing), missing.required) from None
            raise MethodNotFound(str(missing)) from None
        except (Refusal, RequestFailed):
            raise
        except MCPError as failure:
            raise InternalError(f"{method}: {failure}") from failure

    def _sessions(self) -> list[Connection]:
        return [one for one in self.connections if one.opened and not one.dialect.stateless and one.side is Side.SERVER]

    def _only_session(self) -> Connection | None:
        sessions = self._sessions()
        return sessions[0] if len(sessions) == 1 else None

    async def logged(self, said: LogParams) -> None:
        """Hand on what the server has logged: to whoever made the call, or to all sessions if there is no call."""
        name = None if said.logger is UNSET else said.logger
        flight = await self._flights.meant(related_task(said.meta))
        if flight is not None:
            flight.tell(lambda ctx: ctx.relay_log(said.level, said.data, name))
        elif not self._flights.busy:
            for session in self._sessions():
                if not session.crowded():
                    await session.send_log(said.level, said.data, name)

    def completed(self, elicitation_id: str) -> None:
        """Hand on that a user has been where they were sent."""
        ctx = self._flights.visited(elicitation_id)
        if ctx is None or ctx.stateless:
            return
        try:
            ctx.connection.announce("notifications/elicitation/complete", {"elicitationId": elicitation_id})
        except MCPError as failure:
            logger.debug("nobody to tell that %s is complete: %s", elicitation_id, failure)

    async def _roots_changed(self, connection: Connection, params: Any) -> None:
        if not self._server.dialect.stateless:
            await self._server.notify("notifications/roots/list_changed")

    # --- logging --------------------------------------------------------------------------------------------------

    async def _set_level(self, ctx: Context, params: SetLevelParams) -> EmptyResult:
        ctx.connection.log_level = params.level
        with _explained():
            await self._want_level(params.level)
        return EmptyResult()

    async def _want_level(self, level: LoggingLevel) -> None:
        # In a session with the server it is one level for all: that of whoever wants most.
        if self._server.dialect.stateless or self._offered.logging is UNSET:
            return
        before: LoggingLevel = "info" if self._level is None else self._level
        least = min(level, before, key=LEVELS.index)
        if least != self._level:
            await self._server.set_logging_level(least)
            self._level = least

    # --- resources ------------------------------------------------------------------------------------------------

    async def _subscribe(self, ctx: Context, params: SubscribeParams) -> EmptyResult:
        with _explained():
            return await self.interest.subscribe(ctx, params)


async def _followed(flight: Flight, handle: TaskHandle, *, tells: bool) -> JSONObject:
    # The result of a task, and what it says of itself meanwhile.
    async def statuses() -> None:
        said = None
        try:
            async with aclosing(handle.updates()) as updates:
                async for task in updates:
                    if task.status_message is not UNSET and task.status_message != said:
                        said = task.status_message
                        flight.tell(partial(_report, said))
        except MCPError as failure:
            logger.debug("%r: %s", handle, failure)  # whoever waits for the result is told

    async with servants() as nursery:
        if tells:
            nursery.start_soon(statuses)
        return await handle.result()
    raise AssertionError("unreachable")


async def _report(message: str, ctx: Context) -> None:
    if ctx.task_id is not None:
        await ctx.report(message)


async def _progress(said: Progress, ctx: Context) -> None:
    await ctx.progress(said.progress, said.total, said.message)  # one that does not grow is refused, and lost


@contextmanager
def _explained() -> Iterator[None]:
    # What goes wrong between us and the server is no error of the client's, nor one to keep from it.
    try:
        yield
    except (Refusal, RequestFailed):
        raise
    except MCPError as failure:
        raise InternalError(f"The server behind the bridge: {failure}") from failure
