"""Questions of a task whose work is in another process, on their way to its requestor, who is here.

The work has asked, which is a fact of the record. Whichever process the requestor waits at for the result sends it the
question along with that wait, and records the answer, or the error; the work finds it in its journal.

Spec: 2025-11-25 basic/utilities/tasks "Input Required Status" (T25-073 to T25-078).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._unset import RequestId, TaskId
from ..errors import MCPError, RequestFailed, StoreFailed, TaskAlreadySettled
from ..tasks.model import Question, TaskRecord
from ._wait import Bell

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["carry_questions"]

logger = logging.getLogger("mcp_tasks.peer")

_AGAIN_SECONDS = 0.5


async def carry_questions(connection: Connection, id: TaskId, request_id: RequestId) -> None:
    """Carry the questions of a task, and withdraw those that are not asked any more; runs until it is cancelled."""
    registry, bell = connection.peer.tasks, Bell()
    asked: dict[str, Question] = {}
    asking: dict[str, trio.CancelScope] = {}

    def look(record: TaskRecord) -> None:
        asked.clear()
        asked.update(record.questions)
        bell.ring()

    async with trio.open_nursery() as nursery:
        with registry.watching([id], look):
            look(await registry.get(id, connection.principal))
            while True:
                for key in asking.keys() - asked.keys():
                    asking.pop(key).cancel()
                for key in asked.keys() - asking.keys():
                    asking[key] = trio.CancelScope()
                    nursery.start_soon(_carry, connection, id, request_id, key, asked[key], asking[key])
                await bell.wait()


async def _carry(
    connection: Connection, id: TaskId, request_id: RequestId, key: str, question: Question, scope: trio.CancelScope
) -> None:
    registry = connection.peer.tasks
    try:
        with scope:
            try:
                told = await connection.call(question.method, question.params, related_task=id, related_to=request_id)
            except RequestFailed as refused:
                await _recorded(partial(registry.refuse, id, key, refused))
            else:
                await _recorded(partial(registry.answer, id, {key: connection.dialect.lift_answer(told)}))
    except TaskAlreadySettled:
        pass
    except MCPError as failure:
        # It stays open, for whoever waits next.
        logger.info("task %s: its question %r was not carried: %s", id, key, failure)


async def _recorded(record: Callable[[], Awaitable[None]]) -> None:
    # The user has said it once: while the store is away it waits here, for as long as somebody waits for the result.
    while True:
        try:
            return await record()
        except StoreFailed:
            await trio.sleep(_AGAIN_SECONDS)
