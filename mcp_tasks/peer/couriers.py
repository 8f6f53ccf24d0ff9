"""What a task whose work is in another process asks and says, on its way to its requestor, who is here.

The work has asked, which is a fact of the record. Whichever process the requestor waits at for the result sends it the
question along with that wait, and records the answer, or the error; the work finds it in its journal. Progress and log
messages are no facts: all processes hear them, and the one that has the requestor passes them on.

Spec: 2025-11-25 basic/utilities/tasks "Input Required Status" (T25-073 to T25-078), "Task Progress Notifications".
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._unset import JSONObject, RequestId, TaskId
from ..errors import MCPError, RequestFailed, StoreFailed, TaskAlreadySettled
from ..tasks.model import Question, TaskRecord
from ..wire.jsonrpc import Notification
from ..wire.utilities import LEVELS
from ._wait import Bell, servants
from .links import Link

if TYPE_CHECKING:
    from .connection import Connection
    from .peer import Peer

__all__ = ["pass_on", "settled_anywhere"]

logger = logging.getLogger("mcp_tasks.peer")

_AGAIN_SECONDS = 0.5


async def settled_anywhere(connection: Connection, id: TaskId, request_id: RequestId) -> TaskRecord:
    """Wait, for a request of its requestor, until a task is over whose work is in another process, or may come there.

    Meanwhile its questions are carried to there, and what its work says. Raises `TaskNotFound`, `TaskExpired`.
    """
    peer = connection.peer
    courier = _Courier(connection, id, request_id)
    links: list[Link] = []

    def attach(link: Link) -> None:
        links.append(link)
        link.attach(connection, request_id)

    def looked(record: TaskRecord) -> None:
        # Only its owner may have its questions, so this is the first that is done.
        attach(peer.links.get(id) or peer.awaited.setdefault(id, Link(None)))
        courier.tell(record)
        nursery.start_soon(courier.run)

    async with servants() as nursery:
        try:
            with peer.tasks.watching([id], courier.look) as courier.tell:
                if peer.tasks.is_live(id):
                    record = await peer.tasks.get(id, connection.principal)
                    link = peer.links.get(id)
                    if link is not None and not record.settled:
                        attach(link)
                return await peer.tasks.settled(id, connection.principal, looked)
        finally:
            for link in links:
                link.detach(connection, request_id)
                if not link.used and peer.awaited.get(id) is link:
                    del peer.awaited[id]


class _Courier:
    def __init__(self, connection: Connection, id: TaskId, request_id: RequestId) -> None:
        self._connection = connection
        self._registry = connection.peer.tasks
        self._id = id
        self._request_id = request_id
        self._bell = Bell()
        self._asked: Mapping[str, Question] = {}
        self._under_way: dict[str, trio.CancelScope] = {}
        self.tell: Callable[[TaskRecord], None] = self.look
        """To be told what was read; it may be older than what it has been told."""

    async def run(self) -> None:
        """Carry its questions, and withdraw those that are not asked any more; until it is cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for key in self._under_way.keys() - self._asked.keys():
                    self._under_way.pop(key).cancel()
                for key in self._asked.keys() - self._under_way.keys():
                    scope = self._under_way[key] = trio.CancelScope()
                    nursery.start_soon(self._carry, key, self._asked[key], scope)
                await self._bell.wait()

    def look(self, record: TaskRecord) -> None:
        """It is this by now."""
        if record.settled:
            self._connection.peer.awaited.pop(self._id, None)  # whatever its work has said before comes too late
        self._asked = record.questions
        self._bell.ring()

    async def _look_again(self) -> None:
        self.tell(await self._registry.get(self._id, self._connection.principal))

    async def _carry(self, key: str, question: Question, scope: trio.CancelScope) -> None:
        connection, registry, id = self._connection, self._registry, self._id
        try:
            with scope:
                try:
                    told = await connection.call(
                        question.method, question.params, related_task=id, related_to=self._request_id
                    )
                except RequestFailed as refused:
                    await _recorded(partial(registry.refuse, id, key, refused))
                else:
                    await _recorded(partial(registry.answer, id, {key: connection.dialect.lift_answer(told)}))
                await _recorded(self._look_again)
                # It may have been given up and be asked again: then what was said came in between, and was passed over.
                if self._under_way.get(key) is scope:
                    del self._under_way[key]
                    self._bell.ring()
        except TaskAlreadySettled:
            pass
        except MCPError as failure:
            # It stays open, for whoever waits next.
            logger.info("task %s: its question %r was not carried: %s", id, key, failure)


def pass_on(peer: Peer, id: TaskId, read: Callable[[], JSONObject]) -> None:
    """Tell the requestor of a task what its work has said in another process, if it is here, reads, and wants it.

    What is no further than what the same link has told of before is passed over: another run may have said that.
    """
    link = peer.awaited.get(id) or peer.links.get(id)
    if link is None:
        return
    said = read()
    params: JSONObject = said["params"]
    level = params.get("level")
    try:
        connection, related_to = link.connection, link.related_to
        if level is not None and LEVELS.index(level) < LEVELS.index(connection.log_level):
            return
        if not link.further(params.get("progress")):
            return
        if not connection.crowded(related_to):
            connection.post(Notification(said["method"], params), related_to)
    except MCPError:
        logger.debug("task %s: nobody to tell of %s", id, said["method"])


async def _recorded(record: Callable[[], Awaitable[None]]) -> None:
    # The user has said it once: while the store is away it waits here, for as long as somebody waits for the result.
    while True:
        try:
            return await record()
        except StoreFailed:
            await trio.sleep(_AGAIN_SECONDS)
