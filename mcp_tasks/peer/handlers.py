"""The handler table: which methods a peer serves, how, and whether they may be tasks.

Filling the table is all a user does to offer something; what is announced to the other side is derived from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any, Literal, TypeAlias

from attrs import define, field, frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject, Unset
from ..dialects.base import Cache, Offers
from ..errors import LocalProtocolError
from .contexts import Context

__all__ = ["Handler", "HandlerTable", "Middleware", "NotificationHandler", "Pace", "TaskPolicy", "check_restartable"]

TaskPolicy: TypeAlias = Literal["forbidden", "optional", "required"]
"""Whether a request may, must or must not be run as a task."""

Run: TypeAlias = Callable[[Context, Any], Awaitable[Any]]
NotificationHandler: TypeAlias = Callable[..., Awaitable[None]]
"""Called as ``handler(connection, params)``."""

Middleware: TypeAlias = Callable[[Context, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Called around every handled request as ``await middleware(ctx, proceed)``; it returns what is to be answered."""


@frozen(eq=False, repr=False)
class Pace(Shape):
    """How a handler is run where it is up to the server what becomes a task.

    An optional task becomes one if it is not done after `grace` seconds (None: as the limits say). One that does not
    `repeat` must not be run twice for one request: its questions are asked in a task.
    """

    grace: float | None = None
    repeats: bool = True


def check_restartable(restartable: bool, task: TaskPolicy, pace: Pace) -> None:
    """Raise `LocalProtocolError` where it makes no sense to run a task again after a crash."""
    if restartable and not pace.repeats:
        raise LocalProtocolError("restartable: what must not run twice cannot be run again")
    if restartable and task == "forbidden":
        raise LocalProtocolError("restartable: what is never a task is not kept")


@define(kw_only=True, eq=False, repr=False)
class Handler(Shape):
    """How one method is served.

    `run` gets the context and the parameters: as a shape if `lifted`, else as the JSON object they came in. `policy`
    says whether this may be a task; a function of the parameters where that depends on them, as it does for tools.
    """

    method: str
    run: Run
    lifted: bool = False
    policy: TaskPolicy | Callable[[Any], TaskPolicy] = "forbidden"
    immediate: Callable[[Any], str | None] = field(default=lambda params: None)
    """A provisional result for the model, sent with the new task."""
    pace: Pace | Callable[[Any], Pace] = field(factory=lambda: Pace())
    """How it is run where the server decides what becomes a task."""
    restartable: bool | Callable[[Any], bool] = False
    """Whether a task is run again, with its journal, when its process has ended under it."""

    def restarts(self, params: Any) -> bool:
        """Whether a task of these parameters is run again after its process has ended under it."""
        return self.restartable(params) if callable(self.restartable) else self.restartable

    @property
    def may_be_task(self) -> bool:
        """Whether any request of this method can become a task."""
        return self.policy != "forbidden"


@define(eq=False, repr=False)
class HandlerTable(Shape):
    """What a peer serves. Empty at first; may be added to while connections are open."""

    requests: dict[str, Handler] = field(factory=dict)
    notifications: dict[str, NotificationHandler] = field(factory=dict)
    middleware: list[Middleware] = field(factory=list)
    sampling_tools: bool = False
    sampling_context: bool = False
    elicit_form: bool = True
    elicit_url: bool = False
    experimental: JSONObject | Unset = UNSET
    extensions: JSONObject | Unset = UNSET
    cache: dict[str, Cache] = field(factory=dict)
    """How long the results of a method may be kept, where it is not said for each."""
    made_tasks: set[str] = field(factory=set)
    """The methods of which tasks were made."""

    def task_methods(self) -> AbstractSet[str]:
        """The methods whose requests may be tasks, or have been before their handlers were taken away."""
        return self.made_tasks | {method for method, handler in self.requests.items() if handler.may_be_task}

    def add(self, handler: Handler, *, replace: bool = False) -> None:
        """Serve a method. Raises `LocalProtocolError` if it is served already and `replace` is not set."""
        if handler.method in self.requests and not replace:
            raise LocalProtocolError(f"{handler.method} has a handler already")
        self.requests[handler.method] = handler

    def offers(self, *, list_tasks: bool) -> Offers:
        """The facts that capabilities are made of."""
        return Offers(
            methods=self.requests.keys(),
            task_methods=frozenset(m for m, handler in self.requests.items() if handler.may_be_task),
            list_tasks=list_tasks,
            sampling_tools=self.sampling_tools,
            sampling_context=self.sampling_context,
            elicit_form=self.elicit_form,
            elicit_url=self.elicit_url,
            experimental=self.experimental,
            extensions=self.extensions,
        )
