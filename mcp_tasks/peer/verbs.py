"""The typed verbs of a connection: what can be asked of the other side, one method each.

All of them go through two generic ones, `call` for a plain request and `start` for a task, and add only types: shapes
in, shapes out, lists as iterators over all pages. Which of them make sense depends on what the other side announced;
`CapabilityMissing` says so before anything is sent.

Spec: server/tools, server/resources, server/prompts, server/utilities, client/*, basic/utilities/ping.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .._unset import UNSET, JSONObject
from ..abc import Transport
from ..dialects.base import Capabilities, Dialect, Report
from ..errors import CapabilityMissing, DeprecatedFeature, InvalidShape, MCPError, RemoteProtocolError, RequestFailed
from ..wire.client_features import CreateMessageResult, ElicitResult, Root
from ..wire.server_features import (
    CallToolParams,
    CallToolResult,
    CompleteParams,
    Completion,
    CompletionArgument,
    CompletionContext,
    CompletionReference,
    GetPromptParams,
    GetPromptResult,
    Prompt,
    ReadResourceParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SubscribeParams,
    Tool,
)
from ..wire.tasks import Task
from ..wire.utilities import LoggingLevel, SetLevelParams
from ._wait import OnProgress
from .pages import Listing
from .questions import Ask, Elicit, ElicitUrl, Sample
from .schemas import validate

if TYPE_CHECKING:
    from .conversation import StandingTopics
    from .handles import TaskHandle

__all__ = ["Verbs"]

logger = logging.getLogger("mcp_tasks.peer")

R = TypeVar("R")
T = TypeVar("T")


class Verbs(ABC):
    """The typed half of a `Connection`."""

    transport: Transport
    standing: StandingTopics
    """The resources that we want to be told of for as long as the connection lasts, without a session."""
    _tools: dict[str, Tool] | None = None
    _tool_changes = 0

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], Any] = {}

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """What is spoken."""

    @property
    @abstractmethod
    def their_capabilities(self) -> Capabilities:
        """What the other side has announced."""

    @abstractmethod
    async def call(self, method: str, params: Any = None, *, on_progress: OnProgress | None = None) -> JSONObject:
        """Send a request and wait for its result."""

    @abstractmethod
    def start(
        self, method: str, params: Any = None, *, ttl: float | None = None, on_progress: OnProgress | None = None
    ) -> TaskHandle:
        """Have a request run as a task."""

    @abstractmethod
    def takes_tasks(self, method: str) -> bool:
        """Whether the other side runs requests of this method as tasks."""

    @abstractmethod
    def lift_result(self, method: str, result: JSONObject) -> Any:
        """A result as its shape."""

    @abstractmethod
    def restamp(self, log_level: str | None = None) -> None:
        """Settle what each request of ours says of us."""

    async def _ask_for_good(self, method: str, key: str, params: Any) -> None:
        # What the other side is to remember; it is asked again if it begins anew.
        await self.call(method, params)
        self._standing[method, key] = params

    async def ask_again(self) -> None:
        """Ask once more for what the other side was to remember, and has forgotten. Failures are logged."""
        for (method, _), params in list(self._standing.items()):
            try:
                await self.call(method, params)
            except MCPError as failure:
                logger.warning("%r: %s could not be asked for again: %s", self, method, failure)

    async def _ask(self, method: str, params: Any = None, on_progress: OnProgress | None = None) -> Any:
        return self.lift_result(method, await self.call(method, params, on_progress=on_progress))

    def _pages(self, method: str, member: str, wanted: Callable[[Any], bool] = lambda entry: True) -> Listing[Any]:
        async def fetch(cursor: str | None) -> tuple[list[Any], str | None]:
            page = await self._ask(method, None if cursor is None else {"cursor": cursor})
            entries = [entry for entry in getattr(page, member) if wanted(entry)]
            return entries, None if page.next_cursor is UNSET else page.next_cursor

        return Listing(method, fetch)

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self.call("ping")

    # --- tools ----------------------------------------------------------------------------------------------------

    def list_tools(self) -> AsyncIterator[Tool]:
        """The server's tools, page after page.

        Over HTTP in 2026-07-28, one whose definition cannot be followed is left out, with a warning (C26-187).
        """
        return self._pages("tools/list", "tools", self._followed)

    def _followed(self, tool: Tool) -> bool:
        try:
            self.transport.learn(tool.name, tool.input_schema)
        except InvalidShape as wrong:
            logger.warning("%r: the tool %r is left out: %s", self, tool.name, wrong)
            return False
        return True

    async def learn_tools(self) -> None:
        """Fetch the definitions of the server's tools anew."""
        self.forget_tools()
        await self._definition("")

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        task: bool | None = None,
        ttl: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> CallToolResult:
        """Call a tool and wait for its result, which may say `is_error`.

        Whether it runs as a task is up to `task`; None makes it one where the tool demands that. Its definition is
        fetched once, for that and to check structured content against the output schema (C25-199, T25-024). Raises
        as `call` does; `CapabilityMissing` also where the tool's definition forbids what `task` says, and
        `RemoteProtocolError` for structured content that does not fit.
        """
        tool = await self._definition(name)
        params = CallToolParams(name=name, arguments=UNSET if arguments is None else dict(arguments))
        as_task = self._as_task(name, tool, task)
        result: CallToolResult
        if as_task and not self.dialect.stateless:
            async with self.start("tools/call", params, ttl=ttl, on_progress=on_progress) as handle:
                result = await handle.value()
        else:
            result = await self._ask("tools/call", params, on_progress)
        if tool is not None and tool.output_schema is not UNSET and not result.is_error:
            if result.structured_content is UNSET:
                raise RemoteProtocolError(f"the tool {name!r} has an output schema, but its result is not structured")
            try:
                validate(tool.output_schema, result.structured_content, "$.result.structuredContent")
            except InvalidShape as wrong:
                raise RemoteProtocolError(f"the tool {name!r}: {wrong}") from None
        return result

    def _as_task(self, name: str, tool: Tool | None, wanted: bool | None) -> bool:
        if self.dialect.stateless:
            if wanted and not self.takes_tasks("tools/call"):
                raise CapabilityMissing(f"the tool {name!r} cannot be run as a task")
            return False  # the server decides, and whatever it decides is followed
        if tool is None or not self.takes_tasks("tools/call"):
            return bool(wanted)  # nothing is known, or there are no tasks at all, which `start` will say
        support = "forbidden" if tool.execution is UNSET else tool.execution.task_support or "forbidden"
        if wanted and support == "forbidden":
            raise CapabilityMissing(f"the tool {name!r} cannot be run as a task")  # T25-018
        if wanted is False and support == "required":
            raise CapabilityMissing(f"the tool {name!r} can only be run as a task")  # T25-022
        return support == "required" if wanted is None else wanted

    def forget_tools(self) -> None:
        """The tool definitions have changed: fetch them again before the next call."""
        self._tools = None
        self._tool_changes += 1

    async def _definition(self, name: str) -> Tool | None:
        tools = self._tools
        if tools is None:
            changes = self._tool_changes
            try:
                tools = {tool.name: tool async for tool in self.list_tools()}
            except RequestFailed:
                tools = {}  # a server that cannot list may still be able to call
            if changes == self._tool_changes:  # else they are out of date already
                self._tools = tools
        return tools.get(name)

    # --- resources, prompts, completion, logging --------------------------------------------------------------------

    def list_resources(self) -> AsyncIterator[Resource]:
        """The server's resources, page after page."""
        return self._pages("resources/list", "resources")

    def list_resource_templates(self) -> AsyncIterator[ResourceTemplate]:
        """The server's resource templates, page after page."""
        return self._pages("resources/templates/list", "resource_templates")

    async def read_resource(self, uri: str) -> ReadResourceResult:
        """The contents of a resource."""
        return await self._ask("resources/read", ReadResourceParams(uri=uri))  # type: ignore[no-any-return]

    async def subscribe(self, uri: str) -> None:
        """Be told when a resource changes, as ``notifications/resources/updated``."""
        if self.dialect.stateless:
            await self.standing.add(uri)
            return
        await self._ask_for_good("resources/subscribe", uri, SubscribeParams(uri=uri))

    async def unsubscribe(self, uri: str) -> None:
        """No longer be told."""
        if self.dialect.stateless:
            await self.standing.discard(uri)
            return
        self._standing.pop(("resources/subscribe", uri), None)
        await self.call("resources/unsubscribe", SubscribeParams(uri=uri))

    def list_prompts(self) -> AsyncIterator[Prompt]:
        """The server's prompts, page after page."""
        return self._pages("prompts/list", "prompts")

    async def get_prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> GetPromptResult:
        """A prompt, filled in."""
        given = UNSET if arguments is None else dict(arguments)
        return await self._ask("prompts/get", GetPromptParams(name=name, arguments=given))  # type: ignore[no-any-return]

    async def complete(
        self, ref: CompletionReference, argument: str, value: str, known: Mapping[str, str] | None = None
    ) -> Completion:
        """Suggestions for an argument of a prompt or resource template, of which `value` has been typed."""
        context = UNSET if known is None else CompletionContext(arguments=dict(known))
        params = CompleteParams(ref=ref, argument=CompletionArgument(argument, value), context=context)
        return (await self._ask("completion/complete", params)).completion  # type: ignore[no-any-return]

    async def set_logging_level(self, level: LoggingLevel) -> None:
        """Have log messages of this level and above sent from now on."""
        if self.dialect.stateless:
            warnings.warn("logging: deprecated from revision 2026-07-28 on", DeprecatedFeature, stacklevel=2)
            self.restamp(level)
            return
        await self._ask_for_good("logging/setLevel", "", SetLevelParams(level=level))

    # --- what a client offers -----------------------------------------------------------------------------------------

    async def ask(
        self,
        question: Ask[T],
        *,
        task: bool = False,
        ttl: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> T:
        """Ask the client something, as a task of the client's if `task` is set."""
        if task:
            async with self.start(question.method, question.params(), ttl=ttl, on_progress=on_progress) as handle:
                return question.read(await handle.value())
        return question.read(await self._ask(question.method, question.params(), on_progress))

    async def create_message(
        self, sample: Sample, *, task: bool = False, ttl: float | None = None
    ) -> CreateMessageResult:
        """Have the client's model say something."""
        return await self.ask(sample, task=task, ttl=ttl)

    async def elicit(
        self, question: Elicit | ElicitUrl, *, task: bool = False, ttl: float | None = None
    ) -> ElicitResult:
        """Have the client ask its user."""
        return await self.ask(question, task=task, ttl=ttl)

    async def list_roots(self) -> list[Root]:
        """The client's roots."""
        return (await self._ask("roots/list")).roots  # type: ignore[no-any-return]

    # --- tasks of theirs ----------------------------------------------------------------------------------------------

    async def get_task(self, id: str) -> Task:
        """How a task of theirs is. Raises as `call` does; an unknown id is a `RequestFailed`."""
        return (await self.look_at(id)).task

    async def look_at(self, id: str) -> Report:
        """All they say of a task of theirs: in 2026-07-28 also its open questions, and how it ended."""
        report = self._lifted_task(self.dialect.lift_task, await self.call(*self.dialect.get_task(id)), id)
        if report.task.task_id != id:
            raise RemoteProtocolError(f"asked for task {id!r}, told of {report.task.task_id!r}")
        return report

    async def cancel_task(self, id: str) -> Task:
        """Cancel a task of theirs, and say how it is then.

        Raises as `call` does; in a session, one that is over is a `RequestFailed`. In 2026-07-28 cancelling is a wish:
        the task may go on for a while, and even end otherwise.
        """
        task = await self.ask_to_cancel(id)
        return await self.get_task(id) if task is None else task

    async def ask_to_cancel(self, id: str) -> Task | None:
        """The same without asking how it is, where the answer does not say it."""
        result = await self.call(*self.dialect.cancel_task(id))
        task = self._lifted_task(self.dialect.lift_cancelled, result, id)
        if task is not None and task.task_id != id:
            raise RemoteProtocolError(f"asked for task {id!r}, told of {task.task_id!r}")
        return task

    async def await_task(self, id: str) -> JSONObject:
        """Wait for the result of a task of theirs, in a session. Raises as `call` does."""
        return self.dialect.lift_outcome(await self.call(*self.dialect.await_task(id)))

    def _lifted_task(self, lift: Callable[[JSONObject], R], result: JSONObject, id: str) -> R:
        try:
            return lift(result)
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"task {id}: {wrong}") from None

    def list_tasks(self) -> AsyncIterator[Task]:
        """The tasks that the other side runs for us, page after page."""

        async def fetch(cursor: str | None) -> tuple[list[Task], str | None]:
            method, params = self.dialect.list_tasks(cursor)
            try:
                return self.dialect.lift_tasks(await self.call(method, params))
            except InvalidShape as wrong:
                raise RemoteProtocolError(f"{method}: {wrong}") from None

        return Listing(self.dialect.list_tasks(None)[0], fetch)
