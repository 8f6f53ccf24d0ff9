"""What a server offers: tools, resources, prompts, and the completion of their arguments.

The things listed, and the parameters and results of the requests that list and use them. Parameter shapes ignore
members they do not know, and have no field for task augmentation, which is the dialect's business; result shapes keep
unknown members in `extra`. Schemas, arguments and structured content stay the JSON they are: checking one against
another is not done here. This module may not know the methods' names, revisions or the codec.

Spec: server/tools, server/resources, server/prompts, server/utilities/completion.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, Cursor, JSONObject, Unset
from .content import Annotations, ContentBlock, Icon, Number, ResourceContents, Role, TextContent

__all__ = [
    "CacheScope",
    "CallToolParams",
    "CallToolResult",
    "CompleteParams",
    "CompleteResult",
    "Completion",
    "CompletionArgument",
    "CompletionContext",
    "CompletionReference",
    "GetPromptParams",
    "GetPromptResult",
    "ListPromptsResult",
    "ListResourceTemplatesResult",
    "ListResourcesResult",
    "ListToolsResult",
    "Prompt",
    "PromptArgument",
    "PromptMessage",
    "PromptReference",
    "ReadResourceParams",
    "ReadResourceResult",
    "Resource",
    "ResourceTemplate",
    "ResourceTemplateReference",
    "ResourceUpdatedParams",
    "SubscribeParams",
    "TaskSupport",
    "Tool",
    "ToolAnnotations",
    "ToolExecution",
]

CacheScope: TypeAlias = Literal["public", "private"]
"""Who may be given a result that is kept: anybody, or only whom it was for. `ttl_ms` is for how long (2026-07-28)."""

# -- tools

TaskSupport: TypeAlias = Literal["forbidden", "optional", "required"]
"""Whether a tool may, must or must not be called as a task."""


@frozen(eq=False, repr=False)
class ToolAnnotations(Shape):
    """Hints on how a tool behaves. They are claims of the server, not promises."""

    title: str | Unset = UNSET
    read_only_hint: bool | Unset = UNSET
    destructive_hint: bool | Unset = UNSET
    idempotent_hint: bool | Unset = UNSET
    open_world_hint: bool | Unset = UNSET


@frozen(eq=False, repr=False)
class ToolExecution(Shape):
    """How a tool wants to be run; without `task_support`, not as a task."""

    task_support: TaskSupport | Unset = UNSET


@frozen(eq=False, repr=False)
class Tool(Shape):
    """A tool, with JSON Schemas for what goes in and what comes out."""

    name: str
    input_schema: JSONObject
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    output_schema: JSONObject | Unset = UNSET
    annotations: ToolAnnotations | Unset = UNSET
    execution: ToolExecution | Unset = UNSET
    icons: list[Icon] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ListToolsResult(Shape):
    """A page of tools."""

    tools: list[Tool]
    next_cursor: Cursor | Unset = UNSET
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class CallToolParams(Shape):
    """Which tool to call, with what."""

    name: str
    arguments: JSONObject | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class CallToolResult(Shape):
    """What a tool gave back; with `is_error`, the content tells the model what went wrong.

    `structured_content` is an object up to revision 2025-11-25 and any JSON from 2026-07-28 on.
    """

    content: list[ContentBlock]
    structured_content: JSON | Unset = UNSET
    is_error: bool | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @property
    def text(self) -> str:
        """The texts among the content, one below the other."""
        return "\n".join(block.text for block in self.content if isinstance(block, TextContent))


# -- resources


@frozen(eq=False, repr=False)
class Resource(Shape):
    """Something that can be read; `size` is in bytes, before base64."""

    uri: str
    name: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    mime_type: str | Unset = UNSET
    annotations: Annotations | Unset = UNSET
    size: Number | Unset = UNSET
    icons: list[Icon] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ResourceTemplate(Shape):
    """A family of resources; `uri_template` is one of RFC 6570."""

    uri_template: str
    name: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    mime_type: str | Unset = UNSET
    annotations: Annotations | Unset = UNSET
    icons: list[Icon] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ListResourcesResult(Shape):
    """A page of resources."""

    resources: list[Resource]
    next_cursor: Cursor | Unset = UNSET
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ListResourceTemplatesResult(Shape):
    """A page of resource templates."""

    resource_templates: list[ResourceTemplate]
    next_cursor: Cursor | Unset = UNSET
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ReadResourceParams(Shape):
    """Which resource to read."""

    uri: str
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ReadResourceResult(Shape):
    """The contents of a resource, which may have several parts."""

    contents: list[ResourceContents]
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class SubscribeParams(Shape):
    """Which resource to be told of, or no longer: subscribing and unsubscribing look the same."""

    uri: str
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ResourceUpdatedParams(Shape):
    """Which resource has changed; it may lie below the one subscribed to."""

    uri: str
    meta: JSONObject | Unset = UNSET


# -- prompts


@frozen(eq=False, repr=False)
class PromptArgument(Shape):
    """An argument that a prompt takes."""

    name: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    required: bool | Unset = UNSET


@frozen(eq=False, repr=False)
class Prompt(Shape):
    """A prompt, or a template of one."""

    name: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    arguments: list[PromptArgument] | Unset = UNSET
    icons: list[Icon] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class PromptMessage(Shape):
    """One message of a prompt; unlike in sampling, its content is one block and may be a resource."""

    role: Role
    content: ContentBlock


@frozen(eq=False, repr=False)
class ListPromptsResult(Shape):
    """A page of prompts."""

    prompts: list[Prompt]
    next_cursor: Cursor | Unset = UNSET
    ttl_ms: Number | Unset = UNSET
    cache_scope: CacheScope | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class GetPromptParams(Shape):
    """Which prompt to fill in, with what; arguments are text."""

    name: str
    arguments: dict[str, str] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class GetPromptResult(Shape):
    """A prompt, filled in."""

    messages: list[PromptMessage]
    description: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


# -- completion


@frozen(eq=False, repr=False)
class PromptReference(Shape):
    """The prompt whose argument is being completed."""

    type: ClassVar[Literal["ref/prompt"]] = "ref/prompt"

    name: str
    title: str | Unset = UNSET


@frozen(eq=False, repr=False)
class ResourceTemplateReference(Shape):
    """The resource template whose variable is being completed."""

    type: ClassVar[Literal["ref/resource"]] = "ref/resource"

    uri: str


CompletionReference: TypeAlias = PromptReference | ResourceTemplateReference


@frozen(eq=False, repr=False)
class CompletionArgument(Shape):
    """The argument being completed, and what has been typed of it."""

    name: str
    value: str


@frozen(eq=False, repr=False)
class CompletionContext(Shape):
    """What is known already: the arguments that have been settled."""

    arguments: dict[str, str] | Unset = UNSET


@frozen(eq=False, repr=False)
class CompleteParams(Shape):
    """What to complete."""

    ref: CompletionReference
    argument: CompletionArgument
    context: CompletionContext | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class Completion(Shape):
    """Up to a hundred suggestions, and how many there would be."""

    values: list[str]
    total: Number | Unset = UNSET
    has_more: bool | Unset = UNSET


@frozen(eq=False, repr=False)
class CompleteResult(Shape):
    """The answer to a completion request."""

    completion: Completion
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)
