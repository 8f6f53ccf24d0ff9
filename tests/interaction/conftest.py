"""Sides: the peer under test as receiver or as requestor of tasks, being server or client, with a script opposite.

A rule of tasks holds whoever receives. A test takes `receiver` or `requestor` and runs once for each request that can
be a task: a tool call of a server, a sample and an elicitation of a client, or the reverse.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

from mcp_tasks import Ask, Clock, Context, Elicit, JSONObject, Peer, Side
from mcp_tasks.testing import Remote, scripted

EPOCH = 1_760_000_000.0
STATUS = "notifications/tasks/status"
RELATED = "io.modelcontextprotocol/related-task"


@frozen
class Kind:
    """A request that can be a task: who receives it, and valid JSON for it."""

    receiver: Side
    method: str
    params: JSONObject
    results: Sequence[JSONObject]


@frozen
class Lookup(Ask[JSONObject]):
    """What a client may ask a server in the midst of a task."""

    method = "tools/call"

    def params(self) -> JSONObject:
        return {"name": "lookup"}


TOOL = Kind(
    Side.SERVER,
    "tools/call",
    {"name": "work", "arguments": {"n": 1}},
    [{"content": [{"type": "text", "text": text}]} for text in ("done", "other")],
)
SAMPLE = Kind(
    Side.CLIENT,
    "sampling/createMessage",
    {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 10},
    [{"role": "assistant", "content": {"type": "text", "text": text}, "model": "m"} for text in ("done", "other")],
)
ELICIT = Kind(
    Side.CLIENT,
    "elicitation/create",
    {"message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}},
    [{"action": "accept", "content": {"name": "Ada"}}, {"action": "decline"}],
)
KINDS = [pytest.param(kind, id=f"{kind.receiver.value}-{kind.method.split('/')[0]}") for kind in (TOOL, SAMPLE, ELICIT)]


class Job:
    """One run of the work. It goes on until it is told how to end."""

    def __init__(self, context: Context, params: JSONObject) -> None:
        self.context = context
        self.params = params
        self.over = False
        self._told = trio.Event()
        self._end: JSONObject | Exception = {}

    def finish(self, result: JSONObject) -> None:
        self._end = result
        self._told.set()

    def fail(self, error: Exception) -> None:
        self._end = error
        self._told.set()

    async def run(self) -> JSONObject:
        try:
            await self._told.wait()
            if isinstance(self._end, Exception):
                raise self._end
            return self._end
        finally:
            self.over = True


@define
class Receiver:
    """The peer under test as the receiver of one kind of request; each request becomes a `Job`."""

    kind: Kind
    peer: Peer
    jobs: list[Job] = field(factory=list)

    @property
    def method(self) -> str:
        return self.kind.method

    @property
    def params(self) -> JSONObject:
        return self.kind.params

    @property
    def result(self) -> JSONObject:
        return self.kind.results[0]

    @property
    def other_result(self) -> JSONObject:
        return self.kind.results[1]

    @property
    def question(self) -> Ask[Any]:
        """Something its work may ask the requestor."""
        return Elicit("Which?", {"name": str}) if self.kind.receiver is Side.SERVER else Lookup()

    @property
    def answer(self) -> JSONObject:
        """A right answer to that."""
        return ELICIT.results[0] if self.kind.receiver is Side.SERVER else TOOL.results[0]

    def does(self, function: Callable[..., Any], *, task: Any = "optional") -> None:
        """Do this instead."""
        self.peer.handle(self.method, task=task)(function)

    async def work(self, context: Context, params: JSONObject) -> JSONObject:
        job = Job(context, params)
        self.jobs.append(job)
        return await job.run()

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Remote]:
        return scripted(self.peer, side=self.kind.receiver, **options)

    async def create(self, remote: Remote, **wish: Any) -> JSONObject:
        """Have it make a task, whose work has begun; returns the task as it was answered."""
        created = await remote.request(self.method, {**self.params, "task": wish})
        await remote.quiet()
        return created["task"]

    async def get(self, remote: Remote, task: JSONObject) -> JSONObject:
        return await remote.request("tasks/get", {"taskId": task["taskId"]})

    async def fetch(self, remote: Remote, task: JSONObject) -> JSONObject:
        return await remote.request("tasks/result", {"taskId": task["taskId"]})

    async def cancel(self, remote: Remote, task: JSONObject) -> JSONObject:
        return await remote.request("tasks/cancel", {"taskId": task["taskId"]})

    async def begin_fetch(self, remote: Remote, task: JSONObject) -> Any:
        """Ask for the result and go on; returns the request's id once it had every chance to be answered."""
        id = await remote.ask("tasks/result", {"taskId": task["taskId"]})
        await remote.quiet()
        return id

    def statuses(self, remote: Remote) -> list[str]:
        """The statuses that were pushed so far."""
        return [message["params"]["status"] for message in remote.received if message.get("method") == STATUS]


@define
class Requestor:
    """The peer under test as the requestor of one kind of request; the script is the receiver."""

    kind: Kind
    peer: Peer

    @property
    def method(self) -> str:
        return self.kind.method

    @property
    def params(self) -> JSONObject:
        return self.kind.params

    @property
    def result(self) -> JSONObject:
        return self.kind.results[0]

    def connect(self, **options: Any) -> AbstractAsyncContextManager[Remote]:
        return scripted(self.peer, side=self.kind.receiver.other, **options)

    def task(self, status: str = "working", **members: Any) -> JSONObject:
        """A task as the script words it."""
        return {
            "taskId": "t-1",
            "status": status,
            "createdAt": "2025-11-25T10:30:00Z",
            "lastUpdatedAt": "2025-11-25T10:30:00Z",
            "ttl": 60000,
            "pollInterval": 1000,
            **members,
        }

    async def accept(self, remote: Remote, status: str = "working", **members: Any) -> JSONObject:
        """Wait for the request, and answer with a task; returns the request."""
        request = await remote.expect(self.method)
        await remote.reply(request, {"task": self.task(status, **members)})
        return request


@pytest.fixture(params=KINDS)
def receiving(request: pytest.FixtureRequest, make_peer: Callable[..., Peer]) -> Callable[..., Receiver]:
    """Makes receivers: ``receiving(task="required", limits=...)``."""

    def make(*, task: Any = "optional", **options: Any) -> Receiver:
        receiver = Receiver(request.param, make_peer(clock=Clock(EPOCH), **options))
        receiver.does(receiver.work, task=task)
        return receiver

    return make


@pytest.fixture
def receiver(receiving: Callable[..., Receiver]) -> Receiver:
    return receiving()


@pytest.fixture(params=KINDS)
def requestor(request: pytest.FixtureRequest, make_peer: Callable[..., Peer]) -> Requestor:
    return Requestor(request.param, make_peer())
