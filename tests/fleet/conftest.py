"""A real Redis server, on loopback and with nothing in it, for the tests of stores that are shared."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define


@define
class Redis:
    """A server, which can be stopped, and started again where it was."""

    port: int
    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        command = ["redis-server", *options, "--appendfsync", "always", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        said = ""
        while "Ready to accept connections" not in said:
            line = self.process.stdout.readline()
            assert line, f"redis-server has ended: {said}"
            said += line

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()
        self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


@pytest.fixture(scope="module")  # no longer: elsewhere, a child that is left fails a test
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        assert "CI" not in os.environ, "CI has redis-server"
        pytest.skip("there is no redis-server here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Redis(port, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis(redis_server: Redis) -> Redis:
    """The server, running; whatever a test before has done to it."""
    if redis_server.process is None:
        redis_server.start()
    return redis_server


@pytest.fixture(autouse=True)
def no_child_is_left() -> None:
    """The server stays from one test to the next."""


@pytest.fixture
def fresh_prefix(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Names of stores in which there is nothing."""
    count = 0

    def fresh() -> str:
        nonlocal count
        count += 1
        return f"{request.node.name}-{os.getpid()}-{count}"

    return fresh
