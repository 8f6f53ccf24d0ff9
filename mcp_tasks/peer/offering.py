"""What a peer offers: tools, resources and prompts as a server, a model, a user and roots as a client.

Decorators and a few settings. All that any of them does is fill the handler table, from which capabilities are derived,
and tell whoever is connected that a list has changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from .._unset import UNSET, JSONObject
from ..cursor import CursorSeal
from ..dialects.base import Cache, Side
from ..errors import InvalidShape, LocalProtocolError
from ..framing.mirror import Mirrored
from ..wire.client_features import (
    ElicitFormParams,
    ElicitResult,
    ElicitUrlParams,
    ListRootsResult,
    Root,
)
from ..wire.content import Annotations, Icon
from ..wire.server_features import CacheScope
from ..wire.utilities import EmptyResult, SetLevelParams
from .contexts import Context
from .functions import awaitable
from .handlers import Handler, HandlerTable, Middleware, Pace, TaskPolicy, check_restartable
from .listening import Subscription
from .prompts import Completer, CompletionSet, PromptSet
from .resources import ResourceSet
from .schemas import validate
from .tools import ToolOptions, ToolSet

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .connection import Connection

__all__ = ["Offering"]

logger = logging.getLogger("mcp_tasks.peer")

F = TypeVar("F", bound=Callable[..., Any])


class Offering:
    """The part of a `Peer` that says what it offers; `cursors` seal positions in its lists."""

    def __init__(self, cursors: CursorSeal, page_size: int) -> None:
        self.table = HandlerTable()
        """What we serve."""
        self.connections: set[Connection] = set()
        """The connections that are open now."""
        self.subscriptions: set[Subscription] = set()
        """What others listen to now."""
        self._tools = ToolSet(cursors, page_size)
        self._resources = ResourceSet(cursors, page_size)
        self._prompts = PromptSet(cursors, page_size)
        self._completions = CompletionSet()
        self._roots: list[Root] | None = None
        self.table.add(Handler(method="logging/setLevel", run=_set_level, lifted=True))

    # --- what we offer as a server --------------------------------------------------------------------------------

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(self, **options: Unpack[ToolOptions]) -> Callable[[F], F]: ...

    def tool(self, function: Any = None, **options: Any) -> Any:
        """Offer a function as a tool: ``@peer.tool`` or ``@peer.tool(task="optional")``.

        Name, description and schemas come from the function. Its parameters are the tool's arguments; one annotated
        with `Context` gets the context. It returns text, content blocks, a `CallToolResult`, or a value of its
        annotated type, which becomes structured content. `ToolError` tells the model what went wrong. With an
        `input_schema` of your own it is called as ``function(ctx, arguments)`` instead. `task` says whether a call
        may, must or must not be run as a task, and `immediate` what the model may be told meanwhile. A task of a
        `restartable` tool that is interrupted with its process is run again by the next one, if the store is durable:
        from its beginning, finding what was answered and what `Context.once` has kept.

        In 2026-07-28 it is we who decide: an optional task becomes one if it is not done after `grace` seconds (the
        limits have the default), a required one always is, and is refused to clients that do not know tasks. There a
        question outside of a task ends the function, which is run again with the answer: with ``rerun=False`` it never
        is, and a question makes it a task instead, or an error for clients that do not know tasks.
        """
        if function is None:
            return lambda function: self._add_tool(function, options)
        return self._add_tool(function, options)

    def _add_tool(self, function: F, options: dict[str, Any]) -> F:
        self._tools.add(function, **options)
        tools = self._tools
        if "tools/list" not in self.table.requests:
            self.table.add(Handler(method="tools/list", run=tools.list, lifted=True))
        if "tools/call" not in self.table.requests:
            self.table.add(
                Handler(
                    method="tools/call",
                    run=tools.call,
                    lifted=True,
                    immediate=tools.immediate,
                    pace=tools.pace,
                    restartable=tools.restartable,
                )
            )
        self._tools_changed()
        return function

    def remove_tool(self, name: str) -> None:
        """No longer offer a tool. Raises KeyError."""
        self._tools.remove(name)
        self._tools_changed()

    def mirrored(self, tool: str) -> Sequence[Mirrored]:
        """The arguments of a tool that clients over HTTP repeat in headers; none if there is no such tool."""
        return self._tools.mirrored(tool)

    def _tools_changed(self) -> None:
        handler = self.table.requests["tools/call"]
        if handler.run == self._tools.call:
            handler.policy = self._tools.policy if self._tools.has_tasks else "forbidden"
        self._list_changed("tools")

    def resource(
        self,
        uri: str,
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
    ) -> Callable[[F], F]:
        """Offer a function as a resource, or as a resource template where `uri` has variables.

        The function takes the variables by name and returns text, bytes, or contents. `size` is in bytes. `cache` says
        how long clients may keep what it returned.
        """

        def add(function: F) -> F:
            resources = self._resources
            resources.add(
                uri,
                function,
                name=name,
                title=title,
                description=description,
                mime_type=mime_type,
                size=size,
                annotations=annotations,
                icons=icons,
                meta=meta,
                cache=cache,
            )
            for method, run in (
                ("resources/list", resources.list),
                ("resources/templates/list", resources.list_templates),
                ("resources/read", resources.read),
                ("resources/subscribe", resources.subscribe),
                ("resources/unsubscribe", resources.unsubscribe),
            ):
                if method not in self.table.requests:
                    self.table.add(Handler(method=method, run=run, lifted=True))
            self._list_changed("resources")
            return function

        return add

    def remove_resource(self, uri: str) -> None:
        """No longer offer a resource or template. Raises KeyError."""
        self._resources.remove(uri)
        self._list_changed("resources")

    async def resource_updated(self, uri: str) -> None:
        """Tell everybody who subscribed to a resource that it has changed."""
        for subscription in list(self.subscriptions):
            subscription.resource_updated(uri, "notifications/resources/updated")
        for connection in list(self.connections):
            if uri in connection.subscriptions:
                if connection.crowded():
                    logger.warning("%r does not read: not told of %s", connection, uri)
                else:
                    connection.announce("notifications/resources/updated", {"uri": uri})
        await trio.lowlevel.checkpoint()

    @overload
    def prompt(self, function: F, /) -> F: ...

    @overload
    def prompt(
        self,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: list[Icon] | None = None,
        meta: JSONObject | None = None,
    ) -> Callable[[F], F]: ...

    def prompt(
        self,
        function: F | None = None,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: list[Icon] | None = None,
        meta: JSONObject | None = None,
    ) -> Any:
        """Offer a function as a prompt: its parameters are texts, it returns text, content, or messages."""

        def add(function: F) -> F:
            self._prompts.add(function, name=name, title=title, description=description, icons=icons, meta=meta)
            if "prompts/list" not in self.table.requests:
                self.table.add(Handler(method="prompts/list", run=self._prompts.list, lifted=True))
            if "prompts/get" not in self.table.requests:
                self.table.add(Handler(method="prompts/get", run=self._prompts.get, lifted=True))
            self._list_changed("prompts")
            return function

        return add if function is None else add(function)

    def remove_prompt(self, name: str) -> None:
        """No longer offer a prompt. Raises KeyError."""
        self._prompts.remove(name)
        self._list_changed("prompts")

    def completion(self, *, prompt: str | None = None, resource: str | None = None) -> Callable[[Completer], Completer]:
        """Have a function suggest values: called with an argument's name, what was typed, and what is settled."""

        def add(completer: Completer) -> Completer:
            self._completions.add(completer, prompt=prompt, resource=resource)
            if "completion/complete" not in self.table.requests:
                self.table.add(Handler(method="completion/complete", run=self._completions.complete, lifted=True))
            return completer

        return add

    # --- what we offer as a client --------------------------------------------------------------------------------

    @overload
    def sampling(self, function: F, /) -> F: ...

    @overload
    def sampling(
        self, *, task: TaskPolicy = "forbidden", restartable: bool = False, tools: bool = False, context: bool = False
    ) -> Callable[[F], F]: ...

    def sampling(
        self,
        function: F | None = None,
        *,
        task: TaskPolicy = "forbidden",
        restartable: bool = False,
        tools: bool = False,
        context: bool = False,
    ) -> Any:
        """Have a function stand for our model: ``async def sample(ctx, params) -> CreateMessageResult``.

        `params` is a `CreateMessageParams`; raise `RequestRejected` when the user says no. `tools` and `context` say
        that it takes tools and the ``includeContext`` values other than none. `restartable` is as with `tool`.
        """
        check_restartable(restartable, task, Pace())

        def add(function: F) -> F:
            run = awaitable(function)
            self.table.add(
                Handler(method="sampling/createMessage", run=run, lifted=True, policy=task, restartable=restartable)
            )
            self.table.sampling_tools = tools
            self.table.sampling_context = context
            return function

        return add if function is None else add(function)

    @overload
    def elicitation(self, function: F, /) -> F: ...

    @overload
    def elicitation(
        self, *, task: TaskPolicy = "forbidden", restartable: bool = False, form: bool = True, url: bool = False
    ) -> Callable[[F], F]: ...

    def elicitation(
        self,
        function: F | None = None,
        *,
        task: TaskPolicy = "forbidden",
        restartable: bool = False,
        form: bool = True,
        url: bool = False,
    ) -> Any:
        """Have a function ask our user: ``async def ask(ctx, params) -> ElicitResult | dict``.

        `params` is an `ElicitFormParams` or, if `url` is set, an `ElicitUrlParams`. A dict is an accepted form; fields
        it leaves out get their defaults (C25-309), and it is checked before it is sent (C25-348). `restartable` is as
        with `tool`.
        """
        check_restartable(restartable, task, Pace())

        def add(function: F) -> F:
            call = awaitable(function)

            async def run(ctx: Context, params: ElicitFormParams | ElicitUrlParams) -> ElicitResult:
                return _elicited(params, await call(ctx, params))

            self.table.add(
                Handler(method="elicitation/create", run=run, lifted=True, policy=task, restartable=restartable)
            )
            self.table.elicit_form = form
            self.table.elicit_url = url
            return function

        return add if function is None else add(function)

    @property
    def roots(self) -> Sequence[Root]:
        """Our roots; setting them (to `Root` objects or ``file`` URIs) announces them and tells who is connected."""
        return () if self._roots is None else tuple(self._roots)

    @roots.setter
    def roots(self, roots: Iterable[Root | str]) -> None:
        given = [Root(uri=root) if isinstance(root, str) else root for root in roots]
        for root in given:
            if not root.uri.startswith("file://"):
                raise LocalProtocolError(f"a root is a file:// URI, not {root.uri!r}")
        first = self._roots is None
        self._roots = given
        if first:
            self.table.add(Handler(method="roots/list", run=self._list_roots, lifted=True))
        self._announce("notifications/roots/list_changed", Side.CLIENT)

    async def _list_roots(self, ctx: Context, params: Any) -> ListRootsResult:
        return ListRootsResult(roots=list(self.roots))

    # --- everything else ------------------------------------------------------------------------------------------

    def handle(
        self,
        method: str,
        *,
        task: TaskPolicy = "forbidden",
        grace: float | None = None,
        rerun: bool = True,
        restartable: bool = False,
    ) -> Callable[[F], F]:
        """Serve any method, extensions included, with ``async def handler(ctx, params: dict) -> dict``.

        Takes the place of what the other decorators have set up for that method. The rest is as with `tool`.
        """

        pace = Pace(grace, rerun)
        check_restartable(restartable, task, pace)

        def add(function: F) -> F:
            run = awaitable(function)
            self.table.add(
                Handler(method=method, run=run, policy=task, pace=pace, restartable=restartable), replace=True
            )
            return function

        return add

    def on(self, method: str) -> Callable[[F], F]:
        """Be told of a notification: ``async def told(connection, params)``, in the order in which they come.

        `params` is a shape where the method is known, else a dict. What it raises is logged.
        """

        def add(function: F) -> F:
            self.table.notifications[method] = awaitable(function)
            return function

        return add

    def middleware(self, function: Middleware) -> Middleware:
        """Put a function around every handled request: ``async def around(ctx, proceed): return await proceed()``.

        The first one added is the outermost. It returns what is answered, and may raise what a handler may.
        """
        self.table.middleware.append(function)
        return function

    def experimental(self, **features: JSONObject) -> None:
        """Announce non-standard features (C25-059)."""
        known = {} if self.table.experimental is UNSET else self.table.experimental
        self.table.experimental = {**known, **features}

    def extension(self, name: str, settings: JSONObject | None = None) -> None:
        """Announce an extension, which has a prefix: ``com.example/sums`` (C26-090). In 2026-07-28."""
        known = {} if self.table.extensions is UNSET else self.table.extensions
        self.table.extensions = {**known, name: {} if settings is None else settings}

    def cache(self, method: str, *, ttl: float, scope: CacheScope = "private") -> None:
        """Say how long clients may keep the results of a method: ``peer.cache("tools/list", ttl=60, scope="public")``.

        `ttl` is seconds, and `scope` says whether a result may be given to others than whom it was for. In 2026-07-28,
        for lists, ``resources/read`` and ``server/discover``; by default nothing is kept.
        """
        self.table.cache[method] = Cache(ttl, scope)

    def _list_changed(self, kind: str) -> None:
        method = f"notifications/{kind}/list_changed"
        self._announce(method, Side.SERVER)
        for subscription in list(self.subscriptions):
            subscription.list_changed(kind, method)

    def _announce(self, method: str, side: Side) -> None:
        for connection in list(self.connections):
            if connection.side is side and connection.opened:
                connection.announce(method)


def _elicited(params: ElicitFormParams | ElicitUrlParams, answer: Any) -> ElicitResult:
    if isinstance(answer, ElicitResult) and (answer.action != "accept" or isinstance(params, ElicitUrlParams)):
        return answer
    if isinstance(params, ElicitUrlParams):
        raise TypeError(f"the answer to a URL elicitation is an ElicitResult, not {type(answer).__name__}")
    content = answer.content if isinstance(answer, ElicitResult) else answer
    if not isinstance(content, dict):
        raise TypeError(f"the answer to a form is an ElicitResult or a dict, not {type(answer).__name__}")
    fields = params.requested_schema.get("properties", {})
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    filled = {**defaults, **content}
    try:
        validate(params.requested_schema, filled, "$.result.content")
    except InvalidShape as wrong:
        raise TypeError(f"the answer does not fit the form: {wrong}") from None
    return ElicitResult(action="accept", content=filled)


async def _set_level(ctx: Context, params: SetLevelParams) -> EmptyResult:
    ctx.connection.log_level = params.level
    return EmptyResult()
