"""A server to talk to, and a network for the client, both in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import trio

from ._wire import Network, Site


@pytest.fixture
async def make_site(nursery: trio.Nursery) -> AsyncIterator[Callable[..., Site]]:
    """Makes servers: ``make_site(HttpLimits(...), auth=...)``."""
    sites: list[Site] = []

    def make(*arguments: object, **options: object) -> Site:
        sites.append(Site(nursery, *arguments, **options))  # type: ignore[arg-type]
        return sites[-1]

    yield make
    for site in sites:
        for socket in site.sockets:
            socket.socket.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Whatever connects by `trio.open_tcp_stream` connects to the test; no proxy is in the environment."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    found = Network()
    monkeypatch.setattr(trio, "open_tcp_stream", found.connect)
    yield found
    found.close()
