"""Content: what messages, prompts and tool results are made of, and the resource contents inside it.

Plain values without behaviour, the same in every revision. A constant of a class (``type``) is a member that every
value of it has on the wire; nobody passes it. Members this library has no name for are kept in `extra` and written
back, since content is often only handed on. A member that is not there is `UNSET`, never None. This module may not
know methods, revisions or the codec: how a field is spelled in JSON, and what is refused, is the codec's business.

Spec: server/tools ("Tool Result"), server/prompts ("Data Types"), client/sampling, basic/index ("Icons", "_meta").
"""

from __future__ import annotations

import base64
from typing import ClassVar, Literal, TypeAlias

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset

__all__ = [
    "CONTENT_SHAPES",
    "Annotations",
    "AudioContent",
    "BlobResourceContents",
    "ContentBlock",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "Number",
    "ResourceContents",
    "ResourceLink",
    "Role",
    "SamplingContent",
    "TextContent",
    "TextResourceContents",
    "ToolResultContent",
    "ToolUseContent",
]

Number: TypeAlias = int | float
"""A JSON number, kept as it came; a boolean is none."""

Role: TypeAlias = Literal["user", "assistant"]


@frozen(eq=False, repr=False)
class Icon(Shape):
    """A picture for a user interface: a URL or a ``data:`` URI, which may come from anywhere and deserves distrust."""

    src: str
    mime_type: str | Unset = UNSET
    sizes: list[str] | Unset = UNSET
    theme: Literal["light", "dark"] | Unset = UNSET


@frozen(eq=False, repr=False)
class Annotations(Shape):
    """Hints on how to use a piece of content; `priority` runs from 0 to 1, `last_modified` is an ISO 8601 time."""

    audience: list[Role] | Unset = UNSET
    priority: Number | Unset = UNSET
    last_modified: str | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class TextResourceContents(Shape):
    """A resource's contents, or a part of them, as text."""

    uri: str
    text: str
    mime_type: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class BlobResourceContents(Shape):
    """A resource's contents, or a part of them, as bytes; `blob` is the base64 text that travels."""

    uri: str
    blob: str
    mime_type: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @classmethod
    def from_bytes(cls, uri: str, data: bytes, mime_type: str | Unset = UNSET) -> BlobResourceContents:
        """Make the contents of raw bytes."""
        return cls(uri, base64.b64encode(data).decode("ascii"), mime_type)

    def to_bytes(self) -> bytes:
        """The raw bytes. Raises ValueError if `blob` is not base64."""
        return base64.b64decode(self.blob, validate=True)


ResourceContents: TypeAlias = TextResourceContents | BlobResourceContents
"""Told apart by which of ``text`` and ``blob`` is there; the wire has no tag for it."""


@frozen(eq=False, repr=False)
class TextContent(Shape):
    """Text for or from a model."""

    type: ClassVar[Literal["text"]] = "text"

    text: str
    annotations: Annotations | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ImageContent(Shape):
    """A picture for or from a model; `data` is the base64 text that travels."""

    type: ClassVar[Literal["image"]] = "image"

    data: str
    mime_type: str
    annotations: Annotations | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, mime_type: str) -> ImageContent:
        """Make an image of raw bytes."""
        return cls(base64.b64encode(data).decode("ascii"), mime_type)

    def to_bytes(self) -> bytes:
        """The raw bytes. Raises ValueError if `data` is not base64."""
        return base64.b64decode(self.data, validate=True)


@frozen(eq=False, repr=False)
class AudioContent(Shape):
    """Sound for or from a model; `data` is the base64 text that travels."""

    type: ClassVar[Literal["audio"]] = "audio"

    data: str
    mime_type: str
    annotations: Annotations | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, mime_type: str) -> AudioContent:
        """Make a recording of raw bytes."""
        return cls(base64.b64encode(data).decode("ascii"), mime_type)

    def to_bytes(self) -> bytes:
        """The raw bytes. Raises ValueError if `data` is not base64."""
        return base64.b64decode(self.data, validate=True)


@frozen(eq=False, repr=False)
class ResourceLink(Shape):
    """A pointer to a resource that can be read; it need not be in the list of resources."""

    type: ClassVar[Literal["resource_link"]] = "resource_link"

    uri: str
    name: str
    title: str | Unset = UNSET
    description: str | Unset = UNSET
    mime_type: str | Unset = UNSET
    annotations: Annotations | Unset = UNSET
    size: Number | Unset = UNSET
    icons: list[Icon] | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class EmbeddedResource(Shape):
    """A resource's contents within a message."""

    type: ClassVar[Literal["resource"]] = "resource"

    resource: ResourceContents
    annotations: Annotations | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


ContentBlock: TypeAlias = TextContent | ImageContent | AudioContent | ResourceLink | EmbeddedResource
"""What prompts and tool results are made of."""


@frozen(eq=False, repr=False)
class ToolUseContent(Shape):
    """A model's wish to call a tool; `id` ties the result to it."""

    type: ClassVar[Literal["tool_use"]] = "tool_use"

    id: str
    name: str
    input: JSONObject
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


@frozen(eq=False, repr=False)
class ToolResultContent(Shape):
    """What came of a tool use, told to the model.

    `structured_content` is an object up to revision 2025-11-25 and any JSON from 2026-07-28 on.
    """

    type: ClassVar[Literal["tool_result"]] = "tool_result"

    tool_use_id: str
    content: list[ContentBlock]
    structured_content: JSON | Unset = UNSET
    is_error: bool | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)


SamplingContent: TypeAlias = TextContent | ImageContent | AudioContent | ToolUseContent | ToolResultContent
"""What a model is given, and gives back."""

CONTENT_SHAPES: frozenset[type] = frozenset(
    {
        TextContent,
        ImageContent,
        AudioContent,
        ResourceLink,
        EmbeddedResource,
        ToolUseContent,
        ToolResultContent,
    }
)
"""The shapes that a ``type`` member tells apart as content."""
