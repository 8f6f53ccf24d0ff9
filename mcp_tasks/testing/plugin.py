"""A pytest plugin: scripts and monitors as fixtures, for tests of any client or server on trio.

It is there as soon as mcp-tasks is installed beside pytest. Tests are coroutines run on trio, by pytest-trio or any
other plugin. Every connection is watched: where the program under test breaks a MUST of the specification, the test
fails at its end, and where it does not follow a SHOULD, there is an `AdviceWarning`, unless the test takes the
violations out of `Monitor.violations`.

    async def test_my_server(mcp_server):
        async with mcp_server(["python", "my_server.py"], revision="2025-11-25") as client:
            created = await client.request("tools/call", {"name": "build", "task": {}})
            assert created["task"]["status"] == "working"
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..peer.peer import Peer
    from . import Monitor, Remote

__all__ = ["AdviceWarning", "Opened", "mcp_client", "mcp_monitor", "mcp_peer", "mcp_server"]

Opened = Callable[..., "AbstractAsyncContextManager[Remote]"]
"""The type of the fixtures: called with what to talk to, they open a watched script."""


class AdviceWarning(pytest.PytestWarning):
    """The program under test does not do what the specification says it SHOULD; it may have its reasons."""


class _Watch:
    """The monitors of one test."""

    def __init__(self) -> None:
        self.monitors: list[Monitor] = []

    def over(self, remote: Remote) -> Remote:
        """Have a monitor look on at a script's connection, which judges whoever is at the other end."""
        from . import Monitor

        monitor = Monitor(judges=remote.wire.side.other)
        for frame in remote.wire.frames:
            monitor.see(frame)
        remote.wire.taps.append(monitor.see)
        remote.monitor = monitor
        self.monitors.append(monitor)
        return remote

    def check(self) -> None:
        """Fail if a MUST was broken, and warn of each SHOULD that was not followed."""
        violations = [violation for monitor in self.monitors for violation in monitor.violations]
        broken = [str(violation) for violation in violations if violation.level == "MUST"]
        if broken:
            pytest.fail("the program under test broke the protocol:\n" + "\n".join(broken), pytrace=False)
        for violation in violations:
            warnings.warn(AdviceWarning(str(violation)), stacklevel=2)


@pytest.fixture
def mcp_watch() -> Iterator[_Watch]:
    """What looks on at the connections of this test; fails it at its end if the program under test broke a MUST."""
    watch = _Watch()
    yield watch
    watch.check()


@pytest.fixture
def mcp_monitor(mcp_watch: _Watch) -> Monitor:
    """A monitor for a connection of your own: show it every frame (`Monitor.see`), or tap a wire with it."""
    from . import Monitor

    monitor = Monitor()
    mcp_watch.monitors.append(monitor)
    return monitor


@pytest.fixture
def mcp_peer(mcp_watch: _Watch) -> Opened:
    """`scripted`, watched: talk by script to a `Peer` of yours, in memory and on a virtual clock if you like.

    What the peer leaves behind (a task that cannot expire, a waiter) fails the test, too.
    """

    @asynccontextmanager
    async def opened(peer: Peer, **options: Any) -> AsyncIterator[Remote]:
        from . import check_leaks, scripted

        async with scripted(peer, **options) as remote:
            yield mcp_watch.over(remote)
        check_leaks(peer)

    return opened


@pytest.fixture
def mcp_server(mcp_watch: _Watch) -> Opened:
    """`script_server`, watched: talk by script, as a client, to a server that is a command or a URL."""

    @asynccontextmanager
    async def opened(target: Sequence[str] | str, **options: Any) -> AsyncIterator[Remote]:
        from . import script_server

        async with script_server(target, **options) as remote:
            yield mcp_watch.over(remote)

    return opened


@pytest.fixture
def mcp_client(mcp_watch: _Watch) -> Opened:
    """`script_client`, watched: be a server, by script, for a client that is to find it at `url` or by `command`."""

    @asynccontextmanager
    async def opened(transport: Any = "http", **options: Any) -> AsyncIterator[Remote]:
        from . import script_client

        async with script_client(transport, **options) as remote:
            yield mcp_watch.over(remote)

    return opened
