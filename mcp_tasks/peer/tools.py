"""The tools of a peer: declaring them, listing them, calling them.

`ToolSet` serves ``tools/list`` and ``tools/call`` for tools made of plain functions. A tool's name, description and
schemas come from its function; arguments are checked before it runs and structured results before they leave. What a
tool raises as `ToolError` is told to the caller as a result with ``isError``; anything unexpected becomes a text with a
reference to the log.

Spec: server/tools (C25-180 to C25-204), basic/utilities/tasks "Tool-Level Negotiation".
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

import msgspec
from attrs import frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject
from ..cursor import CursorSeal
from ..errors import (
    CapabilityMissing,
    InvalidParams,
    InvalidShape,
    LocalProtocolError,
    Refusal,
    RequestFailed,
    ToolError,
)
from ..framing.mirror import Mirrored, mirrored_arguments
from ..wire.content import AudioContent, EmbeddedResource, Icon, ImageContent, ResourceLink, TextContent
from ..wire.server_features import (
    CallToolParams,
    CallToolResult,
    ListToolsResult,
    Tool,
    ToolAnnotations,
    ToolExecution,
)
from ..wire.utilities import PaginatedParams
from .contexts import Context
from .deliveries import OutOfReach
from .functions import Signature, awaitable, described, to_json
from .handlers import Pace, TaskPolicy, check_restartable
from .pages import Pages
from .schemas import check_schema, type_schema, validate

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ToolOptions", "ToolSet"]

logger = logging.getLogger("mcp_tasks.peer")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_WITHOUT_SCHEMA = (Any, str, None, type(None), NoReturn, CallToolResult)
_BLOCKS = (TextContent, ImageContent, AudioContent, ResourceLink, EmbeddedResource)


@frozen(eq=False, repr=False)
class _Entry(Shape):
    tool: Tool
    run: Callable[[Context, JSONObject], Awaitable[CallToolResult]]
    policy: TaskPolicy
    immediate: str | None
    pace: Pace
    restartable: bool
    mirrored: Sequence[Mirrored]


class ToolOptions(TypedDict, total=False):
    """What may be said of a tool beside its function; `Peer.tool` tells what each means."""

    name: str
    title: str
    description: str
    task: TaskPolicy
    grace: float
    rerun: bool
    restartable: bool
    immediate: str
    input_schema: JSONObject
    output_schema: JSONObject
    annotations: ToolAnnotations
    icons: list[Icon]
    meta: JSONObject


class ToolSet:
    """The tools of one peer."""

    def __init__(self, seal: CursorSeal, page_size: int) -> None:
        self._entries: dict[str, _Entry] = {}
        self._pages = Pages("tools", seal, page_size)

    @property
    def has_tasks(self) -> bool:
        """Whether any tool may be run as a task."""
        return any(entry.policy != "forbidden" or not entry.pace.repeats for entry in self._entries.values())

    def add(self, function: Callable[..., Any], **options: Unpack[ToolOptions]) -> None:
        """Offer a function as a tool; see `Peer.tool`. Raises `LocalProtocolError`."""
        name = options.get("name", function.__name__)
        input_schema, output_schema = options.get("input_schema"), options.get("output_schema")
        task = options.get("task", "forbidden")
        if not _NAME.fullmatch(name):
            raise LocalProtocolError(f"{name!r} is no tool name: up to 128 letters, digits, and any of _ . -")
        if name in self._entries:
            raise LocalProtocolError(f"there is a tool {name!r} already")
        if input_schema is None:
            signature = Signature(function)
            input_schema = signature.schema
            output = _Output(signature.returns, output_schema)
            run = _typed(function, signature, output)
        else:
            check_schema(input_schema, f"the input schema of {name!r}")
            if input_schema.get("type") != "object":
                raise LocalProtocolError(f"the input schema of {name!r} has to be of type object")
            output = _Output(Any, output_schema)
            run = _untyped(function, input_schema, output)
        if output_schema is not None:
            check_schema(output_schema, f"the output schema of {name!r}")
        tool = Tool(
            name=name,
            input_schema=input_schema,
            title=options.get("title", UNSET),
            description=options.get("description") or described(function) or UNSET,
            output_schema=UNSET if output.schema is None else output.schema,
            annotations=options.get("annotations", UNSET),
            execution=UNSET if task == "forbidden" else ToolExecution(task_support=task),
            icons=options.get("icons", UNSET),
            meta=options.get("meta", UNSET),
        )
        pace, restartable = Pace(options.get("grace"), options.get("rerun", True)), options.get("restartable", False)
        check_restartable(restartable, task, pace)
        try:
            mirrored = mirrored_arguments(input_schema)
        except InvalidShape as wrong:
            raise LocalProtocolError(f"the input schema of {name!r}: {wrong}") from None
        self._entries[name] = _Entry(tool, run, task, options.get("immediate"), pace, restartable, mirrored)
        self._pages.put(name, tool)

    def remove(self, name: str) -> None:
        """No longer offer a tool. Raises KeyError."""
        del self._entries[name]
        self._pages.drop(name)

    async def list(self, ctx: Context, params: PaginatedParams) -> ListToolsResult:
        """Serve ``tools/list``."""
        tools, next_cursor = self._pages.page(params.cursor)
        return ListToolsResult(tools=tools, next_cursor=next_cursor)

    async def call(self, ctx: Context, params: CallToolParams) -> CallToolResult:
        """Serve ``tools/call``. Raises `InvalidParams` for an unknown tool (C25-200)."""
        entry = self._find(params)
        try:
            return await entry.run(ctx, {} if params.arguments is UNSET else params.arguments)
        except CapabilityMissing as failure:
            if ctx.stateless:
                raise  # the client is told which capability it could have declared (C26-059)
            return _failed(str(failure))
        except (ToolError, InvalidShape) as failure:
            return _failed(str(failure))  # the model may do better next time (C25-201)
        except (Refusal, RequestFailed, OutOfReach):
            raise
        except Exception as error:
            reference = secrets.token_hex(4)
            logger.error("the tool %r failed, reference %s", params.name, reference, exc_info=error)
            return _failed(f"The tool failed unexpectedly (reference {reference})")

    def policy(self, params: CallToolParams) -> TaskPolicy:
        """Whether the tool may be run as a task. Raises `InvalidParams` for an unknown tool."""
        return self._find(params).policy

    def pace(self, params: CallToolParams) -> Pace:
        """How the tool is run where we decide what becomes a task."""
        return self._find(params).pace

    def restartable(self, params: CallToolParams) -> bool:
        """Whether a task of the tool is run again after its process has ended under it."""
        return self._find(params).restartable

    def mirrored(self, name: str) -> Sequence[Mirrored]:
        """The arguments of a tool that are repeated in headers; none if there is no such tool."""
        entry = self._entries.get(name)
        return () if entry is None else entry.mirrored

    def immediate(self, params: CallToolParams) -> str | None:
        """What the model may be told while the task runs."""
        return self._find(params).immediate

    def _find(self, params: CallToolParams) -> _Entry:
        entry = self._entries.get(params.name)
        if entry is None:
            raise InvalidParams(f"$.params.name: there is no tool {params.name!r}")
        return entry


class _Output:
    """How what a function returns becomes a result."""

    def __init__(self, returns: Any, schema: JSONObject | None) -> None:
        self.schema = schema
        self._declared = schema
        self._kind: Any = None
        self._wrapped = False
        if schema is not None or returns in _WITHOUT_SCHEMA or _is_content(returns):
            return
        self._kind = returns
        schema = type_schema(returns)
        if schema.get("type") != "object":
            # Structured content is an object in this revision (C25-196): anything else goes into one.
            definitions = schema.pop("$defs", None)
            schema = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
            if definitions:
                schema["$defs"] = definitions
            self._wrapped = True
        self.schema = schema

    def result(self, value: Any) -> CallToolResult:
        """The result for a returned value. Raises TypeError or ValueError if it is not what was promised."""
        if type(value) is str and self._kind is None:
            return CallToolResult(content=[TextContent(text=value)])
        if isinstance(value, CallToolResult):
            if self._declared is not None and not value.is_error:
                validate(self._declared, value.structured_content or {}, "$.structuredContent")
            return value
        if value is None and self._kind is None:
            return CallToolResult(content=[])
        if isinstance(value, _BLOCKS):
            return CallToolResult(content=[value])
        if isinstance(value, (list, tuple)) and value and all(isinstance(block, _BLOCKS) for block in value):
            return CallToolResult(content=list(value))
        structured = to_json(value)
        if self._kind is not None:
            msgspec.convert(structured, self._kind, str_keys=True)
        if self._declared is not None:
            validate(self._declared, structured, "$.structuredContent")
        if self._wrapped:
            structured = {"result": structured}
        text = structured if isinstance(structured, str) else msgspec.json.encode(structured).decode()
        if self.schema is None and not isinstance(structured, dict):
            return CallToolResult(content=[TextContent(text=text)])
        # Repeated as text for clients that know no structured content (C25-197).
        return CallToolResult(content=[TextContent(text=text)], structured_content=structured)


def _is_content(kind: Any) -> bool:
    if kind in _BLOCKS:
        return True
    arguments = getattr(kind, "__args__", ())
    return bool(arguments) and all(_is_content(argument) for argument in arguments)


def _typed(
    function: Callable[..., Any], signature: Signature, output: _Output
) -> Callable[[Context, JSONObject], Awaitable[CallToolResult]]:
    call = awaitable(function)

    async def run(ctx: Context, arguments: JSONObject) -> CallToolResult:
        bound = signature.bind(arguments, ctx, "$.params.arguments")
        return _checked(output, await call(**bound))

    return run


def _untyped(
    function: Callable[..., Any], schema: JSONObject, output: _Output
) -> Callable[[Context, JSONObject], Awaitable[CallToolResult]]:
    call = awaitable(function)

    async def run(ctx: Context, arguments: JSONObject) -> CallToolResult:
        validate(schema, arguments, "$.params.arguments")
        return _checked(output, await call(ctx, arguments))

    return run


def _checked(output: _Output, value: Any) -> CallToolResult:
    try:
        return output.result(value)
    except (InvalidShape, msgspec.ValidationError) as wrong:
        # Our own mistake and nothing the caller could mend: it must not look like a complaint about arguments.
        raise TypeError(f"the tool returned what its output schema forbids: {wrong}") from None


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=True)
