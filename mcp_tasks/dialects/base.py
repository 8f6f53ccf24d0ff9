"""What an era has to be able to say: the contract of a `Dialect`.

A dialect has four pure duties. *Membership*: which messages exist, by direction. *Lift*: wire to core, where a
request becomes a verb and a failure an exception. *Lower*: core to wire, where a record becomes a status. *Rules*: a
few frozen answers, such as which capability a message needs. It does no I/O, owns no state, and is shared by all
connections that speak it; a generation is a module that can be deleted. `Side` is who we are on a connection.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from attrs import frozen

from .._shape import Shape
from .._unset import UNSET, JSONObject, ProgressToken, RequestId, TaskId, Unset
from ..errors import Refusal, RequestFailed
from ..tasks.model import Call, Page, TaskRecord, TaskVerb
from ..wire.capabilities import ClientCapabilities, Implementation, ServerCapabilities
from ..wire.jsonrpc import ErrorObject, Notification, Request
from ..wire.tasks import Task

__all__ = [
    "Capabilities",
    "Dialect",
    "Incoming",
    "Initialized",
    "Notice",
    "Offers",
    "Open",
    "Ping",
    "Progressed",
    "Side",
    "TaskChanged",
    "Told",
    "Withdrawn",
]


class Side(enum.Enum):
    """Who we are on one connection. Requestor and receiver are roles of a request and say nothing of this."""

    __hash__ = object.__hash__  # members are unique, and looked up for every message

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        """Who the other one is."""
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


Capabilities: TypeAlias = ClientCapabilities | ServerCapabilities


@frozen(kw_only=True, eq=False, repr=False)
class Offers(Shape):
    """What a peer can do for the other side, as its handler table says it: the facts that capabilities are made of."""

    methods: AbstractSet[str] = frozenset()
    """Every method with a handler."""
    task_methods: AbstractSet[str] = frozenset()
    """Those that may be run as a task."""
    list_tasks: bool = False
    """Whether we can tell requestors apart, so that each may list its own tasks (T25-141)."""
    sampling_tools: bool = False
    sampling_context: bool = False
    elicit_form: bool = True
    elicit_url: bool = False
    experimental: JSONObject | Unset = UNSET


# --- what an incoming request can be, apart from a `Call` and a task verb -----------------------------------------


@frozen(eq=False, repr=False)
class Open(Shape):
    """The handshake: what they asked for and who they are."""

    revision: str
    capabilities: ClientCapabilities
    info: Implementation


@frozen(eq=False, repr=False)
class Ping(Shape):
    """Are you there?"""


Incoming: TypeAlias = Call | TaskVerb | Open | Ping


# --- what an incoming notification can be ----------------------------------------------------------------------------


@frozen(eq=False, repr=False)
class Withdrawn(Shape):
    """They no longer want the answer to a request of theirs."""

    request_id: RequestId
    reason: str


@frozen(eq=False, repr=False)
class Progressed(Shape):
    """How far a request of ours has come; `total` and `message` are None where nothing was said."""

    token: ProgressToken
    progress: float
    total: float | None
    message: str | None


@frozen(eq=False, repr=False)
class TaskChanged(Shape):
    """A task of theirs, as it is now."""

    task: Task


@frozen(eq=False, repr=False)
class Initialized(Shape):
    """They are ready for requests."""


@frozen(eq=False, repr=False)
class Told(Shape):
    """Anything else: a notification for the user's handlers, with its parameters lifted where the method is known."""

    method: str
    params: Any


Notice: TypeAlias = Withdrawn | Progressed | TaskChanged | Initialized | Told


class Dialect(ABC):
    """One era. Lifting methods raise `Refusal` for the other side's mistakes and `InvalidShape` where noted."""

    revision: str

    # --- membership and lifting: what they say to us

    @abstractmethod
    def lift_request(self, request: Request, side: Side, task_methods: AbstractSet[str]) -> Incoming:
        """What a request asks of us, who are `side` and have announced tasks for `task_methods`.

        Raises `MethodNotFound` for a method of this protocol that is not for us in this era, `InvalidParams` with a
        path. A method of no era becomes a `Call`: an extension may have a handler for it.
        """

    @abstractmethod
    def lift_params(self, method: str, params: JSONObject) -> Any:
        """The parameters of a known method as its shape, those of any other as they are. Raises `InvalidParams`."""

    @abstractmethod
    def lift_notification(self, notification: Notification, side: Side) -> Notice | None:
        """What a notification says; None if it is not for us in this era. Raises `InvalidShape`."""

    @abstractmethod
    def lift_result(self, method: str, result: JSONObject) -> Any:
        """The result of our request as its shape, that of an unknown method as it is. Raises `InvalidShape`."""

    @abstractmethod
    def lift_created(self, result: JSONObject) -> Task | None:
        """The task that was made of our request; None if the result is the request's own. Raises `InvalidShape`."""

    @abstractmethod
    def lift_immediate(self, result: JSONObject) -> str | None:
        """What the model may be told meanwhile, from the same answer."""

    @abstractmethod
    def lift_task(self, result: JSONObject) -> Task:
        """The task in an answer to `get_task` or `cancel_task`. Raises `InvalidShape`."""

    @abstractmethod
    def lift_tasks(self, result: JSONObject) -> tuple[list[Task], str | None]:
        """A page of tasks and the next cursor. Raises `InvalidShape`."""

    @abstractmethod
    def lift_outcome(self, result: JSONObject) -> JSONObject:
        """The result inside an answer to `await_task`, as the plain request would have been answered."""

    # --- lowering: what we say to them

    @abstractmethod
    def lower_call(
        self,
        params: Any,
        *,
        ttl_ms: int | Unset | None = UNSET,
        token: ProgressToken | None = None,
        related: TaskId | None = None,
    ) -> JSONObject | Unset:
        """The parameters of a request of ours. `ttl_ms` (None: as they like) asks for a task."""

    @abstractmethod
    def lower_result(self, method: str, result: Any, related: TaskId | None = None) -> JSONObject:
        """The result of a request we served. Raises `InvalidShape` if it is not what the method promises."""

    @abstractmethod
    def lower_error(self, error: Refusal | RequestFailed) -> ErrorObject:
        """An error with the number that this era has for it."""

    @abstractmethod
    def lower_created(self, record: TaskRecord, immediate: str | None) -> JSONObject:
        """The answer to a request that became a task; `immediate` is a provisional result for the model."""

    @abstractmethod
    def lower_task(self, record: TaskRecord) -> JSONObject:
        """The answer that says how a task is."""

    @abstractmethod
    def lower_page(self, page: Page) -> JSONObject:
        """The answer that lists tasks."""

    @abstractmethod
    def lower_outcome(self, record: TaskRecord) -> JSONObject:
        """How a settled task ended: its result. Raises the error it ended in."""

    @abstractmethod
    def task_notification(self, record: TaskRecord) -> Notification:
        """The notification that a task has changed."""

    @abstractmethod
    def progress_notification(
        self, token: ProgressToken, progress: float, total: float | None, message: str | None, related: TaskId | None
    ) -> Notification:
        """How far a request of theirs has come."""

    @abstractmethod
    def log_notification(self, level: str, data: Any, logger: str | None, related: TaskId | None) -> Notification:
        """A log message."""

    @abstractmethod
    def cancel_notification(self, id: RequestId, reason: str) -> Notification:
        """We no longer want the answer to a request of ours."""

    @abstractmethod
    def get_task(self, id: str) -> tuple[str, JSONObject]:
        """Method and parameters that ask how a task is; likewise the next three."""

    @abstractmethod
    def await_task(self, id: str) -> tuple[str, JSONObject]: ...

    @abstractmethod
    def cancel_task(self, id: str) -> tuple[str, JSONObject]: ...

    @abstractmethod
    def list_tasks(self, cursor: str | None) -> tuple[str, JSONObject]: ...

    # --- rules

    @abstractmethod
    def capabilities(self, offers: Offers, side: Side) -> Capabilities:
        """What we announce as `side`."""

    @abstractmethod
    def announced_tasks(self, offers: Offers, side: Side) -> AbstractSet[str]:
        """The methods for which `capabilities` announces tasks."""

    @abstractmethod
    def require(self, method: str, params: Any, theirs: Capabilities, side: Side, *, as_task: bool = False) -> None:
        """Check a message of ours, who are `side`, before it is sent.

        Raises `LocalProtocolError` if this era does not have it in this direction, and `CapabilityMissing` if they
        have not announced what it needs. Methods of no era pass.
        """

    @abstractmethod
    def takes_tasks(self, method: str, theirs: Capabilities) -> bool:
        """Whether they have announced that they run requests of this method as tasks."""

    @abstractmethod
    def check_asked(self, call: Call, ours: Capabilities) -> None:
        """Refuse what they may not ask of us because we have not announced it. Raises `InvalidParams`."""
