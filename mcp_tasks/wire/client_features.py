"""What a client offers: sampling from its model, asking its user, and its roots.

Parameters and results of the requests a server sends, and the values in them. Parameter shapes ignore members they do
not know, and have no field for task augmentation, which is the dialect's business; result shapes keep unknown members
in `extra`. A requested schema stays the JSON it is: whether it keeps to the subset that elicitation allows is checked
elsewhere. This module may not know the methods' names, revisions or the codec.

Spec: client/sampling, client/elicitation, client/roots.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from attrs import field, frozen

from .._shape import Shape
from .._unset import JSON, UNSET, JSONObject, Unset
from .content import Number, Role, SamplingContent, TextContent
from .server_features import Tool

__all__ = [
    "CreateMessageParams",
    "CreateMessageResult",
    "ElicitAction",
    "ElicitFormParams",
    "ElicitParams",
    "ElicitResult",
    "ElicitUrlParams",
    "ElicitationCompleteParams",
    "ListRootsResult",
    "ModelHint",
    "ModelPreferences",
    "Root",
    "SamplingMessage",
    "ToolChoice",
]

# -- sampling


@frozen(eq=False, repr=False)
class ModelHint(Shape):
    """A part of the name of a model that would do."""

    name: str | Unset = UNSET


@frozen(eq=False, repr=False)
class ModelPreferences(Shape):
    """What matters in a model; hints go before priorities, which run from 0 to 1."""

    hints: list[ModelHint] | Unset = UNSET
    cost_priority: Number | Unset = UNSET
    speed_priority: Number | Unset = UNSET
    intelligence_priority: Number | Unset = UNSET


@frozen(eq=False, repr=False)
class ToolChoice(Shape):
    """Whether the model may, must or must not use tools; without `mode`, it may."""

    mode: Literal["auto", "required", "none"] | Unset = UNSET


@frozen(eq=False, repr=False)
class SamplingMessage(Shape):
    """One message to or from a model; its content is a block or a list of them, kept as it came."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class CreateMessageParams(Shape):
    """What to sample."""

    messages: list[SamplingMessage]
    max_tokens: Number
    model_preferences: ModelPreferences | Unset = UNSET
    system_prompt: str | Unset = UNSET
    include_context: Literal["none", "thisServer", "allServers"] | Unset = UNSET
    temperature: Number | Unset = UNSET
    stop_sequences: list[str] | Unset = UNSET
    metadata: JSONObject | Unset = UNSET
    tools: list[Tool] | Unset = UNSET
    tool_choice: ToolChoice | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class CreateMessageResult(Shape):
    """What the model said; `stop_reason` is an open set (``endTurn``, ``stopSequence``, ``maxTokens``, ``toolUse``)."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    model: str
    stop_reason: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @property
    def text(self) -> str:
        """The texts among the content, one below the other."""
        blocks = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(block.text for block in blocks if isinstance(block, TextContent))


# -- elicitation

ElicitAction: TypeAlias = Literal["accept", "decline", "cancel"]


@frozen(eq=False, repr=False)
class ElicitFormParams(Shape):
    """A form for the user. `mode` may be left out, as it has to be before revision 2025-11-25."""

    message: str
    requested_schema: JSONObject
    mode: Literal["form"] | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ElicitUrlParams(Shape):
    """A URL for the user to visit. `elicitation_id` is required in revision 2025-11-25 and gone from 2026-07-28 on."""

    mode: ClassVar[Literal["url"]] = "url"

    message: str
    url: str
    elicitation_id: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET


ElicitParams: TypeAlias = ElicitFormParams | ElicitUrlParams
"""Told apart by ``mode``; without one it is a form."""


@frozen(eq=False, repr=False)
class ElicitResult(Shape):
    """What the user did; `content` is there when a form was accepted."""

    action: ElicitAction
    content: JSONObject | Unset = UNSET
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether the user agreed; otherwise they declined, or made no choice."""
        return self.action == "accept"

    def __getitem__(self, name: str) -> JSON:
        """What the user put into a field of the form. Raises KeyError if nothing was."""
        if self.content is UNSET:
            raise KeyError(name)
        return self.content[name]


@frozen(eq=False, repr=False)
class ElicitationCompleteParams(Shape):
    """An elicitation by URL has come to its end, out of band."""

    elicitation_id: str
    meta: JSONObject | Unset = UNSET


# -- roots


@frozen(eq=False, repr=False)
class Root(Shape):
    """A place the server may work in; a ``file://`` URI for now."""

    uri: str
    name: str | Unset = UNSET
    meta: JSONObject | Unset = UNSET


@frozen(eq=False, repr=False)
class ListRootsResult(Shape):
    """All roots; this list has no pages."""

    roots: list[Root]
    meta: JSONObject | Unset = UNSET
    extra: dict[str, JSON] = field(factory=dict)
