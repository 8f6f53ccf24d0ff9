"""What all tests share: the marker that cites requirements, and peers that are checked for leaks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mcp_tasks import Peer
from mcp_tasks.testing import check_leaks


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the rows of the requirements ledger that a test proves")


@pytest.fixture
def make_peer() -> Iterator[Callable[..., Peer]]:
    """Makes peers; when the test is over, nothing of them may be left."""
    peers: list[Peer] = []

    def make(name: str = "sut", version: str = "1.0", **options: Any) -> Peer:
        peer = Peer(name, version, **options)
        peers.append(peer)
        return peer

    yield make
    check_leaks(*peers)
