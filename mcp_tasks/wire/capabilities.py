"""Capabilities and identity: what two parties tell each other before anything else, and the handshake that carries it.

A capability is announced by an object being there; most of those objects are empty. The sets are open: members this
library has no name for are kept in `extra` at every level and written back. `CAPABILITY_SHAPES` lists the shapes in
which the codec forgives a boolean where an object is due, as released peers send that. One class serves every
revision; a member that a revision does not have is simply never set by its dialect. This module may not know which
side we are, which capability a method needs, or the codec.

Spec: basic/lifecycle ("Initialization", "Capability Negotiation"), basic/utilities/tasks ("Capabilities").
"""

from __future__ import annotations

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset
from .content import Icon

__all__ = [
    "CAPABILITY_SHAPES",
    "ClientCapabilities",
    "ElicitationCapability",
    "Implementation",
    "InitializeParams",
    "InitializeResult",
    "PromptsCapability",
    "ResourcesCapability",
    "RootsCapability",
    "SamplingCapability",
    "ServerCapabilities",
    "TaskElicitationCapability",
    "TaskRequestsCapability",
    "TaskSamplingCapability",
    "TaskToolsCapability",
    "TasksCapability",
    "ToolsCapability",
]


@frozen(eq=False, repr=False)
class Implementation(Shape):
    """The name and version of a piece of software; `title` is what people read."""

    name: str
    version: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    website_url: str | Unset = UNSET
    icons: list[Icon] | Unset = UNSET


@frozen(eq=False, repr=False)
class TaskToolsCapability(Shape):
    """Which tool requests may be run as tasks."""

    call: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TaskSamplingCapability(Shape):
    """Which sampling requests may be run as tasks."""

    create_message: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TaskElicitationCapability(Shape):
    """Which elicitation requests may be run as tasks."""

    create: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TaskRequestsCapability(Shape):
    """Which requests may be run as tasks; a server has `tools`, a client the other two."""

    tools: TaskToolsCapability | Unset = UNSET
    sampling: TaskSamplingCapability | Unset = UNSET
    elicitation: TaskElicitationCapability | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TasksCapability(Shape):
    """Task support of a receiver, in the words of revision 2025-11-25."""

    list: JSONObject | Unset = UNSET
    cancel: JSONObject | Unset = UNSET
    requests: TaskRequestsCapability | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class RootsCapability(Shape):
    """The client has roots."""

    list_changed: bool | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class SamplingCapability(Shape):
    """The client has a model; `context` and `tools` say which parameters it takes."""

    context: JSONObject | Unset = UNSET
    tools: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ElicitationCapability(Shape):
    """The client can ask its user; an empty object means `form` alone."""

    form: JSONObject | Unset = UNSET
    url: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ClientCapabilities(Shape):
    """What a client can do."""

    experimental: dict[str, JSONObject] | Unset = UNSET
    roots: RootsCapability | Unset = UNSET
    sampling: SamplingCapability | Unset = UNSET
    elicitation: ElicitationCapability | Unset = UNSET
    tasks: TasksCapability | Unset = UNSET
    extensions: dict[str, JSONObject] | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class PromptsCapability(Shape):
    """The server has prompts."""

    list_changed: bool | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ResourcesCapability(Shape):
    """The server has resources."""

    subscribe: bool | Unset = UNSET
    list_changed: bool | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ToolsCapability(Shape):
    """The server has tools."""

    list_changed: bool | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ServerCapabilities(Shape):
    """What a server can do."""

    experimental: dict[str, JSONObject] | Unset = UNSET
    logging: JSONObject | Unset = UNSET
    completions: JSONObject | Unset = UNSET
    prompts: PromptsCapability | Unset = UNSET
    resources: ResourcesCapability | Unset = UNSET
    tools: ToolsCapability | Unset = UNSET
    tasks: TasksCapability | Unset = UNSET
    extensions: dict[str, JSONObject] | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class InitializeParams(Shape):
    """The client's opening words: ``initialize``."""

    protocol_version: str
    capabilities: ClientCapabilities
    client_info: Implementation
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class InitializeResult(Shape):
    """The server's answer to ``initialize``: the revision it settles on, and who it is."""

    protocol_version: str
    capabilities: ServerCapabilities
    server_info: Implementation
    instructions: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


CAPABILITY_SHAPES: frozenset[type] = frozenset(
    {
        ClientCapabilities,
        ServerCapabilities,
        RootsCapability,
        SamplingCapability,
        ElicitationCapability,
        PromptsCapability,
        ResourcesCapability,
        ToolsCapability,
        TasksCapability,
        TaskRequestsCapability,
        TaskToolsCapability,
        TaskSamplingCapability,
        TaskElicitationCapability,
    }
)
"""The shapes whose object members may arrive as a boolean."""
