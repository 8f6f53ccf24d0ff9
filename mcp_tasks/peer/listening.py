"""Subscriptions, as a server: a request that stays open, and what is told to whoever made it.

There is no session to push to, so a client keeps a request open and says what it wants to be told of. The first thing
it hears is which of that it will be; then changes, as they happen. A client that does not read holds up nobody: what
it has missed meanwhile it is told once, as it is by then.

Spec: 2026-07-28 basic/patterns/subscriptions (C26-279 to C26-293); SEP-2663 "Notifications" (X26-090 to X26-100).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._unset import JSONObject, TaskId
from ..dialects.base import Topics
from ..errors import ConnectionClosed, LimitReached, TaskNotFound
from ..tasks.model import TaskRecord
from ..wire.jsonrpc import Notification
from ._wait import Bell

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Served

__all__ = ["Subscription", "finish_telling", "listen"]

logger = logging.getLogger("mcp_tasks.peer")


class Subscription:
    """What one client is told of, for as long as its request is open."""

    def __init__(self, connection: Connection, job: Served, topics: Topics) -> None:
        self.topics = topics
        """What it is told of."""
        self.connection = connection
        self.job = job
        self._name = connection.transport.name_of(job.id)
        self._dialect = job.terms.dialect
        self._missed: dict[tuple[str, str], Callable[[], Notification]] = {}  # what could not be told at once
        self._bell = Bell()

    def list_changed(self, kind: str, method: str) -> None:
        """A list has changed: ``tools``, ``prompts`` or ``resources``."""
        if getattr(self.topics, kind):
            self._tell((kind, ""), lambda: self._dialect.tagged(method, {}, self._name))

    def resource_updated(self, uri: str, method: str) -> None:
        """A resource has changed."""
        if uri in self.topics.uris:
            self._tell(("uri", uri), lambda: self._dialect.tagged(method, {"uri": uri}, self._name))

    def task_changed(self, record: TaskRecord) -> None:
        """A task has changed; it is told as asking for it would tell it (X26-094)."""
        self._tell(("task", record.id), lambda: self._dialect.task_notification(record, self._name))

    def _tell(self, key: tuple[str, str], said: Callable[[], Notification]) -> None:
        if self.job.cancelled:
            return  # they have withdrawn it, and its job has not noticed yet (C26-292)
        if self._missed or self.connection.crowded(self.job.id):
            self._missed.pop(key, None)
            self._missed[key] = said
            self._bell.ring()
            return
        try:
            self.connection.post(said(), self.job.id)
        except ConnectionClosed:
            logger.debug("%r: nobody listens any more", self.connection)

    def acknowledge(self) -> None:
        """Say what will be told. The first message, always (C26-281, C26-282)."""
        self.connection.post(self._dialect.lower_acknowledged(self.topics, self._name), self.job.id)

    async def catch_up(self) -> None:
        """Tell what could not be told at once; runs until it is cancelled."""
        while True:
            await self._bell.wait()
            while self._missed and not self.job.cancelled:
                await self.connection.drained(self.job.id)
                if self._missed and not self.job.cancelled:
                    said = self._missed.pop(next(iter(self._missed)))
                    self.connection.post(said(), self.job.id)

    @property
    def result(self) -> JSONObject:
        """What its request is answered with when we end it."""
        return self._dialect.lower_listened(self._name)


async def listen(connection: Connection, topics: Topics, job: Served) -> None:
    """Serve a subscription, until the client or the server ends it."""
    subscription = Subscription(connection, job, await _honoured(connection, topics, job))
    subscription.acknowledge()
    with connection.peer.tasks.watching(subscription.topics.tasks, subscription.task_changed) as tell:
        connection.peer.subscriptions.add(subscription)
        connection.listened_to += 1
        try:
            for id in subscription.topics.tasks:
                # As it is now, for it may have changed since the client last looked.
                try:
                    tell(await connection.peer.tasks.get(id, connection.principal))
                except TaskNotFound:
                    pass  # its time was up just now
            await subscription.catch_up()
        finally:
            connection.listened_to -= 1
            connection.peer.subscriptions.discard(subscription)


def finish_telling(connection: Connection) -> None:
    """End what others listen to on a connection, and say so."""
    for subscription in [one for one in connection.peer.subscriptions if one.connection is connection]:
        connection.peer.subscriptions.discard(subscription)
        try:
            connection.service.finish(subscription)
        except ConnectionClosed:
            return


async def _honoured(connection: Connection, topics: Topics, job: Served) -> Topics:
    # What is not ours to tell is left out (C26-284), and so is what is not theirs to know (X26-098).
    dialect, peer = job.terms.dialect, connection.peer
    limit = connection.limits.subscriptions
    if connection.listened_to >= limit:
        raise LimitReached(f"Too many listen at once, the limit is {limit}", "subscriptions", limit)
    if len(topics.uris) + len(topics.tasks) > limit:
        raise LimitReached(f"Too many subscriptions at once, the limit is {limit}", "subscriptions", limit)
    tasks: set[TaskId] = set()
    if topics.tasks:
        dialect.require_tasks("notifications of tasks", job.terms.capabilities)  # X26-093
        for id in topics.tasks:
            try:
                await peer.tasks.get(id, connection.principal)
            except TaskNotFound:
                continue
            tasks.add(id)
    serves = peer.table.requests
    return Topics(
        tools=topics.tools and "tools/list" in serves,
        prompts=topics.prompts and "prompts/list" in serves,
        resources=topics.resources and "resources/list" in serves,
        uris=topics.uris if "resources/subscribe" in serves else frozenset(),
        tasks=frozenset(tasks),
    )
