"""A server that is killed again and again, and clients that go on regardless, noting what they see.

When it is killed is decided by what clients have done meanwhile, so nothing here depends on how fast anything is. A
client that loses its server waits until there is one again, as a fact and not for a time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio
from attrs import define, field

from mcp_tasks import (
    Connection,
    ConnectionClosed,
    HttpClientLimits,
    HttpError,
    Peer,
    RequestFailed,
    SavedTask,
    TaskCancelled,
    open_http,
)
from mcp_tasks.wire.client_features import ElicitFormParams

from ._history import (
    TERMINAL,
    Answered,
    Asked,
    CancelAsked,
    Cancelled,
    Created,
    Effect,
    Fact,
    Gone,
    Seen,
    parse_steps,
    violations,
)

ROOT = Path(__file__).parents[2]
ADA = {"action": "accept", "content": {"name": "Ada"}}
GOING = (
    "the store has failed",
    "No answer: the session has ended",
    "it goes on when its receiver is there again",
    "The server is shutting down",
)
QUICK = HttpClientLimits(retry_seconds=0.01, resume_attempts=1)

SEED = int(os.environ.get("MCP_TASKS_SEED", "0")) or random.randrange(1, 2**32)
ERAS = ("2026-07-28", "2026-07-28", "2025-11-25", "2025-11-25")

T = TypeVar("T")


def kills_wanted(default: int) -> int:
    """How many, where the environment does not say."""
    return int(os.environ.get("MCP_TASKS_KILLS", default))


@define(eq=False)
class Slot:
    """A place where one process runs at a time: a server, a front end, a worker."""

    order: dict[str, Any]
    url: str = ""
    up: trio.Event = field(factory=trio.Event)
    _pid: int = 0
    _zygote: trio.Process | None = None
    _lines: _Lines | None = None

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have processes here until cancelled; the first is started at once."""
        async with _process([sys.executable, "-m", "tests.crashes._zygote"]) as self._zygote:
            assert self._zygote.stdout is not None
            self._lines = _Lines(self._zygote.stdout)
            try:
                await self.start()
                task_status.started()
                await trio.sleep_forever()
            finally:
                if self._pid:
                    os.kill(self._pid, signal.SIGKILL)

    async def start(self, *, waits: bool = True) -> None:
        """Start a process, and wait until it is there."""
        assert self._zygote is not None
        assert self._zygote.stdin is not None
        assert self._lines is not None
        await self._zygote.stdin.send_all(json.dumps(self.order).encode() + b"\n")
        self._pid = int(await self._lines.until("pid"))
        if waits:
            self.order["port"] = int(await self._lines.until("listening"))
            self.url = f"http://127.0.0.1:{self.order['port']}/mcp"
            self.up.set()

    async def kill(self, number: signal.Signals) -> None:
        """Kill the process, and wait until it has gone."""
        assert self._lines is not None
        if self.up.is_set():  # else somebody waits for it already
            self.up = trio.Event()
        os.kill(self._pid, number)
        await self._lines.until("dead")


@define(eq=False)
class World:
    """Processes that are killed, and the history of all who saw it."""

    folder: Path
    chance: random.Random
    history: list[Fact] = field(factory=list)
    slots: list[Slot] = field(factory=list)
    kills: int = 0
    _happened: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    orders: int = 0
    over: bool = False

    def slot(self, role: str, store: str, *, lease: float = 0.0) -> Slot:
        """A place for processes of this role: ``alone``, ``front`` or ``worker``."""
        self.slots.append(
            Slot({"role": role, "port": 0, "store": store, "steps": str(self.steps_file), "lease": lease})
        )
        return self.slots[-1]

    @property
    def steps_file(self) -> Path:
        return self.folder / "steps"

    def note(self, fact: Fact) -> None:
        """Note a fact."""
        self.history.append(fact)
        self.happened()

    def happened(self) -> None:
        """Something was done, whatever it was."""
        self._happened.unpark_all()

    async def kill(self, kills: int, *, engine: Callable[[], None] | None = None) -> None:
        """Kill one process after the other and start it again, so many times; now and then the `engine`, too."""
        chance = self.chance
        while self.kills < kills:
            for _ in range(chance.choice((0, 0, 1, 2, 3, 5, 8, 13, 40))):
                await self._happened.park()
            self.kills += 1
            if engine is not None and chance.random() < 0.1:
                await trio.to_thread.run_sync(engine)
                continue
            slot = chance.choice(self.slots)
            # Now and then it is asked to go, and goes in an orderly way.
            await slot.kill(signal.SIGTERM if chance.random() < 0.2 else signal.SIGKILL)
            if chance.random() < 0.2:  # and at once again, while it takes up what was left
                await slot.start(waits=False)
                await slot.kill(signal.SIGKILL)
                self.kills += 1
            await slot.start()
        self.over = True
        self.happened()


def judge(world: World, kills: int) -> None:
    """Say what has happened, and fail if something should not have; or if nothing was put to the test."""
    steps = parse_steps(world.steps_file.read_text())
    counts = {kind.__name__: sum(isinstance(f, kind) for f in world.history) for kind in (Created, Answered, Cancelled)}
    effects = sum(isinstance(step, Effect) for step in steps)
    print(f"{world.kills} kills, {counts}, {effects} steps")
    found = violations(world.history, steps)
    told = [str(fact) for fact in world.history if any(f"{fact.id}:" in violation for violation in found)]
    told += [str(step) for step in steps if any(f"order {step.order}:" in violation for violation in found)]
    assert not found, "\n".join([*found, "What was seen of them:", *told])
    assert world.kills >= kills
    assert counts["Created"] > kills / 4
    assert counts["Answered"]


class Client:
    """Somebody who orders, answers, looks and cancels, in one of the two eras, and is not put off."""

    def __init__(self, world: World, slot: Slot, revision: str) -> None:
        self.world = world
        self._slot = slot
        self._revision = revision
        self._peer = Peer("client", "1.0")
        self._peer.elicitation(self._answer)
        self._connection: Connection
        self._ids: list[Created] = []

    async def _answer(self, ctx: Any, form: ElicitFormParams) -> dict[str, str]:
        self.world.happened()
        return {"name": "Ada"}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Order until it is over, then see that all has come to an end, and has stayed so."""
        async with (
            open_http(self._slot.url, http_limits=QUICK) as transport,
            self._peer.connect(transport, revision=self._revision) as self._connection,
        ):
            task_status.started()
            chance = self.world.chance
            while not self.world.over:
                created = await self._tried(self._order)
                if chance.random() < 0.1:
                    await self._cancel(created)
                if chance.random() < 0.8:
                    await self._follow(created)
            for created in self._ids:
                await self._follow(created)
            for created in self._ids:
                await self._follow(created)  # what is over is there to be read, and is as it was

    async def _tried(self, do: Callable[[], Awaitable[T]]) -> T:
        while True:
            await self._slot.up.wait()
            try:
                return await do()
            except (ConnectionClosed, HttpError):
                await trio.lowlevel.checkpoint()
            except RequestFailed as failure:
                # What a server says that goes in an orderly way.
                if not any(said in failure.message for said in GOING):
                    raise
                await trio.lowlevel.checkpoint()

    async def _order(self) -> Created:
        world = self.world
        world.orders += 1
        order, tool = world.orders, world.chance.choice(["order", "order", "fragile"])
        world.happened()
        params = {"name": tool, "arguments": {"number": order}}
        async with self._connection.start("tools/call", params, ttl=86_400) as task:
            task.detach()
            created = Created(task.id, tool, order)
        self._ids.append(created)
        world.note(created)
        return created

    async def _cancel(self, created: Created) -> None:
        self.world.note(CancelAsked(created.id))
        try:
            await self._tried(lambda: self._connection.ask_to_cancel(created.id))
        except RequestFailed as refused:
            if "is already" not in str(refused):  # in a session, what is over cannot be cancelled
                raise
        else:
            self.world.note(Cancelled(created.id, for_certain=self._revision == "2025-11-25"))

    async def _follow(self, created: Created) -> None:
        try:
            if self._revision == "2025-11-25":
                await self._tried(lambda: self._wait(created.id))
            else:
                while not await self._tried(lambda: self._look(created.id)):
                    pass
        except RequestFailed as refused:
            if "not found" not in str(refused):
                raise
            self.world.note(Gone(created.id))

    async def _wait(self, id: str) -> None:
        # In a session: by its result, on the way to which questions come.
        saved = SavedTask(self._connection.peer_name, self._revision, id, "tools/call")  # type: ignore[arg-type]
        async with self._connection.resume(saved) as task:
            task.detach()
            try:
                outcome = str((await task.value()).text)
            except RequestFailed as failure:
                if "not found" in str(failure) or any(said in failure.message for said in GOING):
                    raise
                outcome = failure.message
            except TaskCancelled as cancelled:
                outcome = cancelled.message
            status = (await task.status()).status
        self.world.note(Seen(id, str(status), outcome))

    async def _look(self, id: str) -> bool:
        report = await self._connection.look_at(id)  # type: ignore[arg-type]
        status, outcome = str(report.task.status), None
        if isinstance(report.outcome, RequestFailed):
            outcome = report.outcome.message
        elif report.outcome is not None:
            outcome = str(report.outcome["content"][0]["text"])
        elif status in TERMINAL:
            outcome = str(report.task.status_message)
        self.world.note(Seen(id, status, outcome))
        for key in report.questions:
            self.world.note(Asked(id, key))
            await self._connection.call(*self._connection.dialect.update_task(id, {key: ADA}))  # type: ignore[arg-type]
            self.world.note(Answered(id, key))
        return status in TERMINAL


@asynccontextmanager
async def _process(command: list[str]) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            process.kill()
            await process.wait()


class _Lines:
    """What a process says, a line at a time."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def until(self, word: str) -> str:
        """The value of the next line that begins with a word."""
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if not newline:
                data = await self._stream.receive_some()
                assert data, f"the server has ended before it said {word!r}"
                self._rest += data
                continue
            self._rest = rest
            kind, _, value = line.decode().partition(" ")
            if kind == word:
                return value
