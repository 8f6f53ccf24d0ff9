"""The resources of a peer: declaring them, listing them, reading them, watching them.

A resource is a function of no arguments under a URI, or a function of the variables of a URI template. Templates are
those of RFC 6570 as far as a URI can be matched back: ``{name}`` stands for one path segment, ``{+name}`` or
``{name*}`` for any number. A function returns text, bytes, or ready contents.

Spec: server/resources (C25-212 to C25-226).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from attrs import evolve, frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject
from ..cursor import CursorSeal
from ..dialects.base import Cache
from ..errors import InvalidParams, InvalidShape, LimitReached, LocalProtocolError, ResourceNotFound
from ..wire.content import Annotations, BlobResourceContents, Icon, ResourceContents, TextResourceContents
from ..wire.server_features import (
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SubscribeParams,
)
from ..wire.utilities import EmptyResult, PaginatedParams
from .contexts import Context
from .functions import Signature, awaitable, described
from .pages import Pages

__all__ = ["ResourceSet"]

_VARIABLE = re.compile(r"\{(\+?)(\w+)(\*?)\}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@frozen(eq=False, repr=False)
class _Entry(Shape):
    signature: Signature
    call: Callable[..., Awaitable[Any]]
    mime_type: str | None
    cache: Cache | None
    pattern: re.Pattern[str] | None = None


class ResourceSet:
    """The resources and resource templates of one peer."""

    def __init__(self, seal: CursorSeal, page_size: int) -> None:
        self._fixed: dict[str, _Entry] = {}
        self._templates: dict[str, _Entry] = {}
        self._resource_pages = Pages("resources", seal, page_size)
        self._template_pages = Pages("resource templates", seal, page_size)

    def add(
        self,
        uri: str,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
        annotations: Annotations | None = None,
        icons: list[Icon] | None = None,
        meta: JSONObject | None = None,
        cache: Cache | None = None,
    ) -> None:
        """Offer a function as a resource, or as a template if `uri` has variables. Raises `LocalProtocolError`."""
        if not _SCHEME.match(uri):
            raise LocalProtocolError(f"{uri!r} is no URI: it has no scheme")
        if uri in self._fixed or uri in self._templates:
            raise LocalProtocolError(f"there is a resource {uri!r} already")
        signature = Signature(function)
        variables = {match[2] for match in _VARIABLE.finditer(uri)}
        if variables != set(signature.names):
            raise LocalProtocolError(f"{uri!r}: the function has to take {sorted(variables)}, not {signature.names}")
        common: dict[str, Any] = {
            "name": function.__name__ if name is None else name,
            "title": UNSET if title is None else title,
            "description": (description if description is not None else described(function)) or UNSET,
            "mime_type": UNSET if mime_type is None else mime_type,
            "annotations": UNSET if annotations is None else annotations,
            "icons": UNSET if icons is None else icons,
            "meta": UNSET if meta is None else meta,
        }
        entry = _Entry(signature, awaitable(function), mime_type, cache, _pattern(uri) if variables else None)
        if variables:
            self._templates[uri] = entry
            self._template_pages.put(uri, ResourceTemplate(uri_template=uri, **common))
        else:
            self._fixed[uri] = entry
            known = UNSET if size is None else size
            self._resource_pages.put(uri, Resource(uri=uri, size=known, **common))

    def remove(self, uri: str) -> None:
        """No longer offer a resource or template. Raises KeyError."""
        if uri in self._templates:
            del self._templates[uri]
            self._template_pages.drop(uri)
        else:
            del self._fixed[uri]
            self._resource_pages.drop(uri)

    async def list(self, ctx: Context, params: PaginatedParams) -> ListResourcesResult:
        """Serve ``resources/list``."""
        resources, next_cursor = self._resource_pages.page(params.cursor)
        return ListResourcesResult(resources=resources, next_cursor=next_cursor)

    async def list_templates(self, ctx: Context, params: PaginatedParams) -> ListResourceTemplatesResult:
        """Serve ``resources/templates/list``."""
        templates, next_cursor = self._template_pages.page(params.cursor)
        return ListResourceTemplatesResult(resource_templates=templates, next_cursor=next_cursor)

    async def read(self, ctx: Context, params: ReadResourceParams) -> ReadResourceResult:
        """Serve ``resources/read``. Raises `ResourceNotFound`."""
        entry, variables = self._find(params.uri)
        try:
            bound = entry.signature.bind(variables, ctx, "$.params.uri")
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None
        result = _contents(params.uri, entry.mime_type, await entry.call(**bound))
        if entry.cache is None or result.ttl_ms is not UNSET:
            return result
        return evolve(result, ttl_ms=round(entry.cache.ttl * 1000), cache_scope=entry.cache.scope)

    async def subscribe(self, ctx: Context, params: SubscribeParams) -> EmptyResult:
        """Serve ``resources/subscribe``. Raises `ResourceNotFound`."""
        self._find(params.uri)
        connection = ctx.connection
        limit = connection.limits.subscriptions
        if params.uri not in connection.subscriptions and len(connection.subscriptions) >= limit:
            raise LimitReached(f"Too many subscriptions, the limit is {limit}", "subscriptions", limit)
        connection.subscriptions.add(params.uri)
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: SubscribeParams) -> EmptyResult:
        """Serve ``resources/unsubscribe``."""
        ctx.connection.subscriptions.discard(params.uri)
        return EmptyResult()

    def _find(self, uri: str) -> tuple[_Entry, JSONObject]:
        if (entry := self._fixed.get(uri)) is not None:
            return entry, {}
        for entry in self._templates.values():
            if entry.pattern is not None and (match := entry.pattern.fullmatch(uri)):
                return entry, {name: unquote(text) for name, text in match.groupdict().items()}
        raise ResourceNotFound(uri)


def _pattern(template: str) -> re.Pattern[str]:
    parts, end = [], 0
    for match in _VARIABLE.finditer(template):
        any_number = match[1] or match[3]
        parts.append(re.escape(template[end : match.start()]))
        parts.append(f"(?P<{match[2]}>{'.+' if any_number else '[^/?#]+'})")
        end = match.end()
    return re.compile("".join(parts) + re.escape(template[end:]))


def _contents(uri: str, mime_type: str | None, value: Any) -> ReadResourceResult:
    if isinstance(value, ReadResourceResult):
        return value
    kind = UNSET if mime_type is None else mime_type
    contents: list[ResourceContents] = []
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, str):
            contents.append(TextResourceContents(uri=uri, mime_type=kind, text=part))
        elif isinstance(part, (bytes, bytearray)):
            contents.append(BlobResourceContents.from_bytes(uri, bytes(part), mime_type=kind))
        elif isinstance(part, (TextResourceContents, BlobResourceContents)):
            contents.append(part)
        else:
            raise TypeError(f"a resource gives text, bytes or contents, not {type(part).__name__}")
    return ReadResourceResult(contents=contents)
