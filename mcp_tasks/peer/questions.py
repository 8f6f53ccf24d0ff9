"""What a handler can ask the other side: a form, a visit to a URL, a sample of its model, its roots.

A question knows its method and parameters and how to read the answer. It does not know how it travels: that depends on
whether it is asked in a live request, in a task, or in another era, and the same question serves them all.

Spec: client/elicitation, client/sampling, client/roots.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from attrs import evolve, field, frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject, Unset
from ..errors import InvalidShape, RemoteProtocolError
from ..wire.client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitFormParams,
    ElicitResult,
    ElicitUrlParams,
    ListRootsResult,
    ModelPreferences,
    Root,
    SamplingMessage,
    ToolChoice,
)
from ..wire.content import SamplingContent, TextContent
from ..wire.server_features import Tool
from .schemas import form_schema, validate

__all__ = ["Ask", "Elicit", "ElicitUrl", "Roots", "Sample"]

T = TypeVar("T")


class Ask(Shape, ABC, Generic[T]):
    """A question to the other side; `T` is what an answer is read as."""

    method: str

    @abstractmethod
    def params(self) -> Any:
        """The parameters: a shape, or None."""

    def read(self, answer: Any) -> T:
        """The lifted result as the asker wants it. Raises `RemoteProtocolError` for a wrong answer."""
        return answer  # type: ignore[no-any-return]


@frozen(eq=False, repr=False)
class Elicit(Ask[ElicitResult]):
    """A form for the user.

    `fields` is a mapping of names to Python types (``{"region": str}``), a class with annotated fields (attrs, a
    dataclass, a TypedDict), or a ready JSON Schema with a ``type`` of ``object``. An accepted answer is checked against
    the schema (C25-349) and, like any answer, may be declined or cancelled instead.
    """

    method = "elicitation/create"
    message: str
    fields: Mapping[str, Any] | type

    def params(self) -> ElicitFormParams:
        return ElicitFormParams(message=self.message, requested_schema=form_schema(self.fields), mode="form")

    def read(self, answer: ElicitResult) -> ElicitResult:
        if answer.action != "accept":
            return answer
        content = {} if answer.content is UNSET else answer.content
        try:
            validate(form_schema(self.fields), content, "$.result.content")
        except InvalidShape as wrong:
            raise RemoteProtocolError(f"the answer to {self.message!r} does not fit the form: {wrong}") from None
        return evolve(answer, content=content)


@frozen(eq=False, repr=False)
class ElicitUrl(Ask[ElicitResult]):
    """A page for the user to visit; `accept` means they agreed to, not that they are done."""

    method = "elicitation/create"
    message: str
    url: str
    elicitation_id: str = field(factory=lambda: secrets.token_urlsafe(16))

    def params(self) -> ElicitUrlParams:
        return ElicitUrlParams(message=self.message, url=self.url, elicitation_id=self.elicitation_id)


@frozen(kw_only=True, eq=False, repr=False)
class Sample(Ask[CreateMessageResult]):
    """A message from the other side's model. A plain string among `messages` is a user's text."""

    method = "sampling/createMessage"
    messages: Sequence[SamplingMessage | str] | str = field(kw_only=False)
    max_tokens: int = 1024
    system_prompt: str | Unset = UNSET
    model_preferences: ModelPreferences | Unset = UNSET
    include_context: Literal["none", "thisServer", "allServers"] | Unset = UNSET
    temperature: float | Unset = UNSET
    stop_sequences: list[str] | Unset = UNSET
    metadata: JSONObject | Unset = UNSET
    tools: list[Tool] | Unset = UNSET
    tool_choice: ToolChoice | Unset = UNSET

    def params(self) -> CreateMessageParams:
        given = [self.messages] if isinstance(self.messages, str) else self.messages
        return CreateMessageParams(
            messages=[m if isinstance(m, SamplingMessage) else _from_user(m) for m in given],
            max_tokens=self.max_tokens,
            system_prompt=self.system_prompt,
            model_preferences=self.model_preferences,
            include_context=self.include_context,
            temperature=self.temperature,
            stop_sequences=self.stop_sequences,
            metadata=self.metadata,
            tools=self.tools,
            tool_choice=self.tool_choice,
        )


@frozen(eq=False, repr=False)
class Roots(Ask[list[Root]]):
    """The other side's roots."""

    method = "roots/list"

    def params(self) -> None:
        return None

    def read(self, answer: ListRootsResult) -> list[Root]:
        return answer.roots


def _from_user(text: str | SamplingContent) -> SamplingMessage:
    return SamplingMessage(role="user", content=TextContent(text=text) if isinstance(text, str) else text)
