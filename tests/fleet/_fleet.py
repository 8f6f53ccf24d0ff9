"""Peers that share a store on a real server, each with connections of its own, in one process."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
from attrs import define, field

from mcp_tasks import (
    Context,
    JSONObject,
    Limits,
    Peer,
    RequestFailed,
    StoreFailed,
    ToolError,
)
from mcp_tasks.testing import Remote, scripted

pytest.importorskip("glide", reason="the extra valkey is not installed")

from mcp_tasks.tasks.valkey import ValkeyTaskStore, open_valkey

from .conftest import Redis

OLD, NEW = "2025-11-25", "2026-07-28"
ADA = "ada"
NAMED = {"action": "accept", "content": {"name": "Ada"}}
LEASE = 0.6
requirement = pytest.mark.requirement


@define
class Fleet:
    """Peers that share a store, and what their handlers have done, wherever."""

    redis: Redis
    prefix: str
    nursery: trio.Nursery
    lease_seconds: float = 30.0
    limits: Limits = field(factory=lambda: Limits(poll_interval_ms=1))
    log: list[tuple[str, str]] = field(factory=list)
    """Who has done what."""
    go: trio.Event = field(factory=trio.Event)
    peers: list[Peer] = field(factory=list)
    dead: set[str] = field(factory=set)
    leaving: dict[str, trio.Event] = field(factory=dict)
    gone: dict[str, trio.Event] = field(factory=dict)

    async def join(self, name: str, *, works: bool) -> Peer:
        """Another one."""
        self.leaving[name], self.gone[name] = trio.Event(), trio.Event()
        peer = await self.nursery.start(self._run, name, works)
        assert isinstance(peer, Peer)
        return peer

    async def leave(self, name: str) -> None:
        """It leaves in an orderly way."""
        self.leaving[name].set()
        await self.gone[name].wait()

    async def end(self) -> None:
        """All leave."""
        for name in self.leaving:
            await self.leave(name)

    async def _run(self, name: str, works: bool, *, task_status: trio.TaskStatus[Peer]) -> None:
        async with open_valkey(self.redis.url, prefix=self.prefix, lease_seconds=self.lease_seconds) as store:
            self._can_die(name, store)
            async with self._peer(name, store, works) as peer:
                task_status.started(peer)
                await self.leaving[name].wait()
        self.gone[name].set()

    def _peer(self, name: str, store: ValkeyTaskStore, works: bool) -> Peer:
        peer = Peer(name, "1.0", limits=self.limits)
        peer.use_store(store, works=works)
        self.peers.append(peer)

        async def order(ctx: Context, what: str) -> str:
            async def pay() -> str:
                self.log.append((name, "paid"))
                return "receipt"

            self.log.append((name, "begun"))
            try:
                receipt = await ctx.once("pay", pay)
                await ctx.report("paid")
                try:
                    form = await ctx.elicit("For whom?", {"name": str})
                except RequestFailed as refused:
                    await self.go.wait()
                    raise ToolError(f"nobody says: {refused.message} {refused.code}") from None
                await self.go.wait()
                return f"{what} for {form['name']}, {receipt}"
            finally:
                self.log.append((name, "left"))

        peer.tool(task="required", restartable=True)(order)
        peer.tool(task="required", name="fragile")(order)
        peer.tool(task="optional", name="maybe", grace=1000)(order)
        peer.tool(name="plain")(order)
        return peer

    def _can_die(self, name: str, store: ValkeyTaskStore) -> None:
        # What a process that was stopped looks like to the others: nothing comes of it any more.
        def mortal(method: Callable[..., Any]) -> Callable[..., Any]:
            async def called(*args: Any) -> Any:
                if name in self.dead:
                    raise StoreFailed("dead")
                return await method(*args)

            return called

        reading, writing = ("get", "records", "abandoned", "wait_for_work"), ("create", "replace", "remove")
        for method in (*reading, *writing, "beat", "release", "took", "claim", "unclaim"):
            setattr(store, method, mortal(getattr(store, method)))

    def who(self, what: str) -> list[str]:
        return [name for name, done in self.log if done == what]


FleetTest: TypeAlias = Callable[..., Awaitable[None]]


def gives(
    open_fleet: Callable[[Redis, str], AbstractAsyncContextManager[Fleet]],
) -> Callable[[FleetTest], FleetTest]:
    """Give a test such a fleet, within its own trio task; afterwards nothing of it may be left."""

    def giving(test: FleetTest) -> FleetTest:
        @functools.wraps(test)
        async def run(redis: Redis, fresh_prefix: Callable[[], str], **options: Any) -> None:
            with trio.fail_after(60):
                async with open_fleet(redis, fresh_prefix()) as fleet:
                    await test(fleet, **options)
                    await fleet.end()
            check_leaks_of(fleet)

        ours = inspect.signature(run, follow_wrapped=False).parameters.values()
        theirs = [one for one in inspect.signature(test).parameters.values() if one.name != "fleet"]
        given = [one.replace(kind=one.KEYWORD_ONLY) for one in [*list(ours)[:2], *theirs]]
        run.__signature__ = inspect.Signature(given)  # type: ignore[attr-defined]
        return run

    return giving


@gives
@asynccontextmanager
async def with_fleet(redis: Redis, prefix: str) -> AsyncIterator[Fleet]:
    async with trio.open_nursery() as nursery:
        yield Fleet(redis, prefix, nursery)


def check_leaks_of(fleet: Fleet) -> None:
    for peer in fleet.peers:
        assert (peer.tasks.live, peer.links, peer.awaited, list(peer.connections)) == (0, {}, {}, []), peer
        assert (peer.tasks.watched, peer.tasks.others.told, peer.tasks.others._elsewhere) == ({}, {}, {}), peer


@asynccontextmanager
async def client(peer: Peer, revision: str = NEW) -> AsyncIterator[Remote]:
    async with scripted(peer, revision=revision, principal=ADA) as remote:
        yield remote


async def begin(remote: Remote, name: str = "order") -> str:
    params: JSONObject = {"name": name, "arguments": {} if name == "both" else {"what": "a lamp"}}
    if remote.stamp is None:
        params["task"] = {}
    created = await remote.request("tools/call", params)
    return str(created["task"]["taskId"] if remote.stamp is None else created["taskId"])


async def until(remote: Remote, id: str, status: str) -> JSONObject:
    while (task := await remote.request("tasks/get", {"taskId": id}))["status"] != status:
        await trio.lowlevel.checkpoint()
    return task


async def answer(remote: Remote, id: str) -> None:
    (key,) = (await until(remote, id, "input_required"))["inputRequests"]
    await remote.request("tasks/update", {"taskId": id, "inputResponses": {key: NAMED}})
