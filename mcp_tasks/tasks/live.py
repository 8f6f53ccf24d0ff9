"""A task whose work is in this process, and how a record changes: the pieces of the registry that hold no table.

A `Live` is what can be cancelled and waited for; the changes are functions of a record. Nothing here commits anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from attrs import frozen

from .._shape import Shape
from .._unset import JSON, JSONObject, TaskId
from .._workers import Job, Workers
from ..errors import LocalProtocolError, MCPError
from .model import Raised, Returned, Stopped, TaskRecord
from .state import TaskInput

if TYPE_CHECKING:
    from .registry import TaskRegistry

__all__ = [
    "REFUSED",
    "SETTLES",
    "Change",
    "Elsewhere",
    "Fresh",
    "Live",
    "Revived",
    "Work",
    "closed",
    "nobody",
    "sayable",
]

Work: TypeAlias = Callable[[], Awaitable[JSONObject]]


class Elsewhere:
    """A task that somebody here waits for and whose work is in another process."""

    __slots__ = ("_failure", "_latest", "_waiting", "users")

    def __init__(self) -> None:
        self.users = 0
        self._latest: TaskRecord | None = None
        self._failure: MCPError | None = None
        self._waiting = trio.lowlevel.ParkingLot()

    async def after(self, record: TaskRecord) -> TaskRecord:
        """Wait until it is further than this. Raises what it has `failed` with."""
        while self._failure is None:
            if self._latest is not None and self._latest.version > record.version:
                return self._latest
            await self._waiting.park()
        raise self._failure.with_traceback(None)

    def seen(self, record: TaskRecord) -> None:
        """This is what it was a moment ago: whoever waits for that is woken."""
        if self._latest is None or record.version > self._latest.version:
            self._latest = record
            self._waiting.unpark_all()

    def failed(self, failure: MCPError) -> None:
        """There is nothing to wait for any more."""
        self._failure = failure
        self._waiting.unpark_all()


def nobody(record: TaskRecord) -> None:
    """Tell nobody of a change."""


Change: TypeAlias = "tuple[TaskInput | None, Mapping[str, Any]]"
"""What happens to the state, if anything, and the fields that change with it."""


@frozen(eq=False, repr=False)
class Revived(Shape):
    """What is done anew for a task that was interrupted, and what is told of each change to it."""

    work: Work
    on_change: Callable[[TaskRecord], None]
    dismiss: Callable[[], object] = lambda: None
    """To be called if the work is not begun after all."""


class InOrder:
    """Calls an observer with records, each newer than all before it of the same task; others are passed over."""

    __slots__ = ("_latest", "_observer")

    def __init__(self, observer: Callable[[TaskRecord], None]) -> None:
        self._observer = observer
        self._latest: dict[TaskId, int] = {}

    def __call__(self, record: TaskRecord) -> None:
        if record.version > self._latest.get(record.id, -1):
            self._latest[record.id] = record.version
            self._observer(record)


class Live(Job):
    """A task whose work is in this process and not yet over."""

    __slots__ = (
        "_registry",
        "_waiting",
        "expired",
        "home",
        "inherited",
        "leased_at",
        "left",
        "on_change",
        "record",
        "runner",
        "taken",
        "told",
        "work",
    )

    def __init__(self, registry: TaskRegistry, record: TaskRecord, on_change: Callable[[TaskRecord], None]) -> None:
        super().__init__()
        self.record = record
        self.taken = False
        """Whether another process has it now: whatever its work here comes to counts no more."""
        self.runner = record.runner
        """Who we are to it; once somebody else has begun its work, that is in the record."""
        self.told = record.version
        """The version that whoever waits or watches has been told of."""
        self.on_change = on_change
        self.expired = False
        self.inherited: set[str] = set()
        """Questions that are open and that the work has not come to yet: of its run before, or said ahead."""
        self.leased_at = trio.current_time()
        """When it was last certain that the work is ours to do; before that was asked, not after."""
        self.left = False
        """Whether it was stopped to go on elsewhere: what it has asked stays open."""
        self.work: Work | None = None
        self.home: Workers | None = None
        self._registry = registry
        self._waiting: trio.lowlevel.ParkingLot | None = None

    def lost(self, record: TaskRecord) -> bool:
        """Whether the record, as it is now, is somebody else's to go on with."""
        return record.runner not in (self.record.runner, self.runner)

    async def do(self) -> None:
        """Do the work, and settle the task."""
        await self._registry.run(self)

    def leave(self) -> None:
        """Stop the work, if it has begun, so that it goes on in another process."""
        self.left = True
        if self.scope is not None:
            self.scope.cancel()

    async def change(self) -> None:
        """Wait until the record has changed or expired."""
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        await self._waiting.park()

    def changed(self) -> None:
        """Wake all who wait for a change."""
        if self._waiting is not None:
            self._waiting.unpark_all()


def sayable(text: str) -> str:
    """A text with what the wire can carry of it."""
    # A path that is no UTF-8 may be in an error's text; the wire cannot carry it, nor any list with this task in it.
    return text.encode("utf-8", "replace").decode()


def closed(record: TaskRecord, answers: Mapping[str, JSON], given_up: Collection[str] = ()) -> Change | None:
    """The change that answers came, or that questions were given up; None if neither."""
    # With other questions still open the task stays where it is (T25-077).
    if not answers and not given_up:
        return None
    left = {key: asked for key, asked in record.questions.items() if key not in answers and key not in given_up}
    return None if left else TaskInput.ANSWER, {"questions": left, "answers": {**record.answers, **answers}}


def is_used(record: TaskRecord, key: str) -> bool:
    """Whether something was asked or noted under a key, whatever has become of it."""
    return key in record.questions or key in record.answers or REFUSED + key in record.answers


class Fresh:
    """A key that one change is about to use. Nobody else uses keys of this task meanwhile."""

    __slots__ = ("_key", "_was_fresh")

    def __init__(self, key: str) -> None:
        self._key = key
        self._was_fresh = False

    def done(self, record: TaskRecord) -> bool:
        """Whether the change has been made, as is seen only later where a store fails after it has done something.

        Raises `LocalProtocolError` for a key that was used before.
        """
        key = self._key
        if not self._was_fresh and (key in record.questions or key in record.answers):
            raise LocalProtocolError(f"task {record.id}: the key {key!r} was used before")
        self._was_fresh = True
        return is_used(record, key)


REFUSED: Final = "refused:"
"""Before the key of a question in the journal: it will have no answer, for this reason."""

SETTLES: Final = {Returned: TaskInput.RETURN, Raised: TaskInput.RAISE, Stopped: TaskInput.STOP}
"""What each outcome is to the state machine."""
