"""What all tests share: the marker that cites requirements, and peers that are checked for leaks."""

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from mcp_tasks import Peer
from mcp_tasks.testing import check_leaks


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "patience(seconds): how long a test may take that takes long")
    config.addinivalue_line("markers", "requirement(*ids): the rows of the requirements ledger that a test proves")


HANGS_AFTER = 180  # seconds; no test depends on it, it only makes one that waits for ever fail


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that hangs fails instead: whoever waits for a message that never comes waits for ever."""
    if not hasattr(signal, "SIGALRM"):
        return (yield)
    before = signal.signal(signal.SIGALRM, _hangs)
    patience = item.get_closest_marker("patience")
    signal.alarm(HANGS_AFTER if patience is None else patience.args[0])
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hangs(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("the test hangs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What a test has logged may hold lone surrogates, which xdist cannot send from its workers."""
    report: Any = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report  # type: ignore[no-any-return]


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


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    """After every test: no process that it started is still there."""
    yield
    check_leaks()
