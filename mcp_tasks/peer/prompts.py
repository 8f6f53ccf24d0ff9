"""The prompts of a peer, and completion for the arguments of prompts and resource templates.

A prompt is a function of texts that returns its messages: plain strings become messages of the user. A completer is a
function of what has been typed that returns suggestions.

Spec: server/prompts (C25-227 to C25-238), server/utilities/completion (C25-239 to C25-250).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import evolve, frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject
from ..cursor import CursorSeal
from ..errors import InvalidParams, InvalidShape, LocalProtocolError
from ..wire.content import AudioContent, EmbeddedResource, Icon, ImageContent, ResourceLink, TextContent
from ..wire.server_features import (
    CompleteParams,
    CompleteResult,
    Completion,
    GetPromptParams,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
)
from ..wire.utilities import PaginatedParams
from .contexts import Context
from .functions import Signature, awaitable, described
from .pages import Pages

__all__ = ["Completer", "CompletionSet", "PromptSet"]

MAX_COMPLETIONS = 100
"""How many suggestions an answer may hold (C25-241)."""

Completer = Callable[..., Any]
"""Called with the argument's name, what has been typed, and the arguments that are settled; returns suggestions."""


@frozen(eq=False, repr=False)
class _Entry(Shape):
    prompt: Prompt
    signature: Signature
    call: Callable[..., Awaitable[Any]]


class PromptSet:
    """The prompts of one peer."""

    def __init__(self, seal: CursorSeal, page_size: int) -> None:
        self._entries: dict[str, _Entry] = {}
        self._pages = Pages("prompts", seal, page_size)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def add(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: list[Icon] | None = None,
        meta: JSONObject | None = None,
    ) -> None:
        """Offer a function as a prompt. Raises `LocalProtocolError`."""
        name = function.__name__ if name is None else name
        if name in self._entries:
            raise LocalProtocolError(f"there is a prompt {name!r} already")
        signature = Signature(function)
        required = signature.schema.get("required", [])
        arguments = []
        for argument, schema in signature.schema.get("properties", {}).items():
            if schema.get("type") != "string" and "enum" not in schema and schema:
                raise LocalProtocolError(f"the prompt {name!r}: its argument {argument!r} has to be text")
            described_as = schema.get("description", UNSET)
            arguments.append(
                PromptArgument(name=argument, description=described_as, required=argument in required or UNSET)
            )
        prompt = Prompt(
            name=name,
            title=UNSET if title is None else title,
            description=(description if description is not None else described(function)) or UNSET,
            arguments=arguments or UNSET,
            icons=UNSET if icons is None else icons,
            meta=UNSET if meta is None else meta,
        )
        self._entries[name] = _Entry(prompt, signature, awaitable(function))
        self._pages.put(name, prompt)

    def remove(self, name: str) -> None:
        """No longer offer a prompt. Raises KeyError."""
        del self._entries[name]
        self._pages.drop(name)

    async def list(self, ctx: Context, params: PaginatedParams) -> ListPromptsResult:
        """Serve ``prompts/list``."""
        prompts, next_cursor = self._pages.page(params.cursor)
        return ListPromptsResult(prompts=prompts, next_cursor=next_cursor)

    async def get(self, ctx: Context, params: GetPromptParams) -> GetPromptResult:
        """Serve ``prompts/get``. Raises `InvalidParams` for an unknown prompt or wrong arguments (C25-233)."""
        entry = self._entries.get(params.name)
        if entry is None:
            raise InvalidParams(f"$.params.name: there is no prompt {params.name!r}")
        given: JSONObject = {} if params.arguments is UNSET else dict(params.arguments)
        try:
            bound = entry.signature.bind(given, ctx, "$.params.arguments")
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None
        value = await entry.call(**bound)
        if isinstance(value, GetPromptResult):
            return value
        said = value if isinstance(value, list) else [value]
        return GetPromptResult(messages=[_message(part) for part in said], description=entry.prompt.description)


def _message(part: Any) -> PromptMessage:
    if isinstance(part, PromptMessage):
        return part
    if isinstance(part, str):
        return PromptMessage(role="user", content=TextContent(text=part))
    if isinstance(part, (TextContent, ImageContent, AudioContent, ResourceLink, EmbeddedResource)):
        return PromptMessage(role="user", content=part)
    raise TypeError(f"a prompt gives text, content or messages, not {type(part).__name__}")


class CompletionSet:
    """The completers of one peer, by what they complete."""

    def __init__(self) -> None:
        self._completers: dict[tuple[str, str], Callable[..., Awaitable[Any]]] = {}

    def add(self, completer: Completer, *, prompt: str | None, resource: str | None) -> None:
        """Have a function complete the arguments of a prompt or of a resource template."""
        if (prompt is None) == (resource is None):
            raise LocalProtocolError("a completer is for a prompt or for a resource template")
        key = ("prompt", prompt) if prompt is not None else ("resource", str(resource))
        self._completers[key] = awaitable(completer)

    async def complete(self, ctx: Context, params: CompleteParams) -> CompleteResult:
        """Serve ``completion/complete``. Raises `InvalidParams` for something that is not completed here (C25-244)."""
        ref = params.ref
        key = ("prompt", ref.name) if isinstance(ref, PromptReference) else ("resource", ref.uri)
        completer = self._completers.get(key)
        if completer is None:
            raise InvalidParams(f"$.params.ref: nothing is completed for the {key[0]} {key[1]!r}")
        known: dict[str, str] = {}
        if params.context is not UNSET and params.context.arguments is not UNSET:
            known = params.context.arguments
        found = await completer(params.argument.name, params.argument.value, known)
        if isinstance(found, Completion):
            if len(found.values) > MAX_COMPLETIONS:
                found = evolve(found, values=found.values[:MAX_COMPLETIONS], has_more=True)
            return CompleteResult(completion=found)
        values = [str(value) for value in found]
        more = len(values) > MAX_COMPLETIONS
        return CompleteResult(completion=Completion(values=values[:MAX_COMPLETIONS], total=len(values), has_more=more))
