"""What an era has to be able to say: the contract of a `Dialect`.

A dialect has four pure duties. *Membership*: which messages exist, by direction. *Lift*: wire to core, where a
request becomes a verb and a failure an exception. *Lower*: core to wire, where a record becomes a status. *Rules*: a
few frozen answers, such as which capability a message needs. It does no I/O, owns no state, and is shared by all
connections that speak it; a generation is a module that can be deleted. `Side` is who we are on a connection.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from attrs import field, frozen
from attrs.validators import ge, in_

from .._shape import Shape
from .._unset import UNSET, JSONObject, ProgressToken, RequestId, TaskId, Unset
from ..errors import LocalProtocolError, Refusal, RequestFailed
from ..tasks.model import EMPTY, Call, Page, Question, TaskRecord, TaskVerb
from ..wire.capabilities import ClientCapabilities, Implementation, ServerCapabilities
from ..wire.jsonrpc import ErrorObject, Notification, Request
from ..wire.server_features import CacheScope
from ..wire.tasks import Task

__all__ = [
    "Acknowledged",
    "Asked",
    "Cache",
    "Capabilities",
    "Dialect",
    "Discover",
    "Incoming",
    "Initialized",
    "Listen",
    "Notice",
    "Offers",
    "Open",
    "Ping",
    "Progressed",
    "Report",
    "Side",
    "TaskChanged",
    "Terms",
    "Told",
    "Topics",
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
    extensions: JSONObject | Unset = UNSET


@frozen(kw_only=True, eq=False, repr=False)
class Terms(Shape):
    """What holds for one request of theirs: in a session for all of them, else as the request itself says."""

    dialect: Dialect
    capabilities: Capabilities = field(factory=ClientCapabilities)
    """What they have announced."""
    info: Implementation | None = None
    """Who they say they are."""
    log_level: str | None = None
    """From which level on they want log messages, if this request says so."""


@frozen(eq=False, repr=False)
class Cache(Shape):
    """How long a result may be kept, in seconds from its arrival, and by whom: ``public`` is anybody."""

    ttl: float = field(default=0.0, validator=ge(0))
    scope: CacheScope = field(default="private", validator=in_(("public", "private")))


@frozen(kw_only=True, eq=False, repr=False)
class Topics(Shape):
    """What a client wants to be told of: changes to lists, to resources, to tasks."""

    tools: bool = False
    prompts: bool = False
    resources: bool = False
    uris: frozenset[str] = frozenset()
    tasks: frozenset[TaskId] = frozenset()

    def __bool__(self) -> bool:
        return self.tools or self.prompts or self.resources or bool(self.uris) or bool(self.tasks)


@frozen(eq=False, repr=False)
class Asked(Shape):
    """Their answer: they have to know more first. The request is to be repeated with the answers, and with `state`."""

    questions: Mapping[str, Question]
    state: str | None


@frozen(eq=False, repr=False)
class Report(Shape):
    """All they say of a task: open questions, and how it ended if it says so itself."""

    task: Task
    questions: Mapping[str, Question] = EMPTY
    outcome: JSONObject | RequestFailed | None = None


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


@frozen(eq=False, repr=False)
class Discover(Shape):
    """What do you speak, and what can you do?"""


@frozen(eq=False, repr=False)
class Listen(Shape):
    """Tell me of these from now on."""

    topics: Topics


Incoming: TypeAlias = Call | TaskVerb | Open | Ping | Discover | Listen


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

    report: Report

    @property
    def task(self) -> Task:
        """What it says of the task itself."""
        return self.report.task


@frozen(eq=False, repr=False)
class Initialized(Shape):
    """They are ready for requests."""


@frozen(eq=False, repr=False)
class Told(Shape):
    """Anything else: a notification for the user's handlers, with its parameters lifted where the method is known."""

    method: str
    params: Any


@frozen(eq=False, repr=False)
class Acknowledged(Shape):
    """They will tell us of these."""

    topics: Topics


Notice: TypeAlias = Withdrawn | Progressed | TaskChanged | Initialized | Acknowledged | Told


class Dialect(ABC):
    """One era. Lifting methods raise `Refusal` for the other side's mistakes and `InvalidShape` where noted."""

    revision: str
    stateless: bool = False
    """Whether there is no handshake: each request says on what terms it comes, and only clients ask."""
    takes_input: AbstractSet[str] = frozenset()
    """The requests that may be answered with questions."""
    augmentable: AbstractSet[str] = frozenset()
    """The requests that may be answered with a task that was not asked for."""
    cached: AbstractSet[str] = frozenset()
    """The requests whose results say how long they may be kept."""
    awaits: bool = True
    """Whether the result of a task is asked for, and waited for, by a request of its own."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.revision}>"

    # --- membership and lifting: what they say to us

    def lift_terms(self, request: Request) -> Terms:
        """On what terms a request comes, where that stands in it.

        Raises `UnsupportedRevision`, and `InvalidParams` where it is not said.
        """
        raise self._unknown("terms of a request")

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

    def lift_asked(self, result: JSONObject) -> Asked | None:
        """What they have to know before they answer; None if this is the answer. Raises `InvalidShape`."""
        return None

    @abstractmethod
    def lift_task(self, result: JSONObject) -> Report:
        """What an answer to `get_task` says. Raises `InvalidShape`."""

    def lift_cancelled(self, result: JSONObject) -> Task | None:
        """The task in an answer to `cancel_task`; None where that is a mere acknowledgement. Raises `InvalidShape`."""
        return None

    def lift_discovered(self, result: JSONObject) -> tuple[list[str], Capabilities, Implementation | None, str | None]:
        """What a server speaks and can do, who it is, and its instructions. Raises `InvalidShape`."""
        raise self._unknown("discovery")

    def subscription_of(self, members: JSONObject | Unset) -> RequestId | None:
        """Which subscription of ours the parameters of a notification, or a result, belong to."""
        return None

    @abstractmethod
    def lift_tasks(self, result: JSONObject) -> tuple[list[Task], str | None]:
        """A page of tasks and the next cursor. Raises `InvalidShape`."""

    def lift_answer(self, result: JSONObject) -> JSONObject:
        """The result of a question of ours, without what only says to which task it belongs."""
        return result

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
        stamp: JSONObject | None = None,
    ) -> JSONObject | Unset:
        """The parameters of a request of ours. `ttl_ms` (None: as they like) asks for a task.

        `stamp` is what goes into the ``_meta`` of each request of ours.
        """

    def lower_stamp(self, capabilities: Capabilities, info: Implementation, *, log_level: str | None) -> JSONObject:
        """What each request of ours says of us, as members of its ``_meta``."""
        return {}

    def lower_retry(
        self, params: JSONObject | Unset, answers: Mapping[str, JSONObject], state: str | None
    ) -> JSONObject:
        """The parameters of a request that is repeated, with answers to what they asked."""
        raise self._unknown("a retry")

    def lower_asked(self, questions: Mapping[str, Question], state: str | None) -> JSONObject:
        """The answer that we have to know more first."""
        raise self._unknown("a question inside a result")

    def complete(self, method: str, result: JSONObject, info: JSONObject | None, cache: Cache | None) -> JSONObject:
        """A result as it leaves: with whatever each result of this era has to say beside what was asked."""
        return result

    def lower_info(self, info: Implementation) -> JSONObject | None:
        """Who we are, as each result of ours says it; None if it does not."""
        return None

    def lower_discovered(
        self, supported: Sequence[str], capabilities: Capabilities, instructions: str | None
    ) -> JSONObject:
        """What we speak and can do."""
        raise self._unknown("discovery")

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

    def lower_cancelled(self, record: TaskRecord) -> JSONObject:
        """The answer to `Cancel`."""
        return self.lower_task(record)

    @abstractmethod
    def lower_page(self, page: Page) -> JSONObject:
        """The answer that lists tasks."""

    @abstractmethod
    def lower_outcome(self, record: TaskRecord) -> JSONObject:
        """How a settled task ended: its result. Raises the error it ended in."""

    @abstractmethod
    def task_notification(self, record: TaskRecord, subscription: RequestId | None = None) -> Notification:
        """The notification that a task has changed; to a subscription, where there is such a thing."""

    def lower_acknowledged(self, topics: Topics, subscription: RequestId) -> Notification:
        """The notification that we will tell of these."""
        raise self._unknown("a subscription")

    def lower_listened(self, subscription: RequestId) -> JSONObject:
        """The answer that ends a subscription."""
        raise self._unknown("a subscription")

    def tagged(self, method: str, params: JSONObject, subscription: RequestId) -> Notification:
        """A notification that goes to a subscription."""
        raise self._unknown("a subscription")

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

    def update_task(self, id: str, answers: Mapping[str, JSONObject]) -> tuple[str, JSONObject]:
        """Method and parameters that answer questions of a task."""
        raise self._unknown("answers to a task")

    def listen(self, topics: Topics) -> tuple[str, JSONObject]:
        """Method and parameters that ask to be told of these."""
        raise self._unknown("a subscription")

    def discover(self) -> tuple[str, JSONObject]:
        """Method and parameters that ask a server what it speaks and can do."""
        raise self._unknown("discovery")

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

    def runs_tasks_for(self, theirs: Capabilities) -> bool:
        """Whether we may make a task of a request on these terms, unasked."""
        return False

    def require_tasks(self, what: str, theirs: Capabilities) -> None:
        """Refuse what concerns tasks from whoever has not declared them, where that is said in each request.

        Raises `CapabilityRequired`.
        """
        return

    def check_question(self, method: str, params: JSONObject, theirs: Capabilities, side: Side) -> None:
        """Check what is to be asked inside a result or a task. Raises as `require` does."""
        raise self._unknown("a question inside a result")

    def check_answers(self, answers: Mapping[str, JSONObject], questions: Mapping[str, str], path: str) -> None:
        """Check answers to questions of these methods, by key. Raises `InvalidParams`, the path below `path`."""
        raise self._unknown("answers inside a request")

    def _unknown(self, what: str) -> LocalProtocolError:
        return LocalProtocolError(f"there is no such thing as {what} in revision {self.revision}")
