"""The other sides: programs on official SDKs, installed on first use, started for every test and gone after it.

Nothing is skipped. If the SDKs cannot be installed, the tests fail and say why.
"""

from __future__ import annotations

import glob
import importlib.util
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pytest
import trio
from attrs import define, field, frozen

from mcp_tasks import Connection, Context, Peer, RequestRejected, open_stdio
from mcp_tasks.wire.client_features import CreateMessageResult, ElicitResult
from mcp_tasks.wire.content import TextContent

SECONDS = 60.0
"""No test takes longer."""

RELATED = "io.modelcontextprotocol/related-task"


# --- installed programs -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def peers() -> ModuleType:
    """The module tests/peers/install.py, with everything installed."""
    path = Path(__file__).parents[1] / "peers" / "install.py"
    spec = importlib.util.spec_from_file_location("interop_peers_install", path)
    assert spec is not None
    assert spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    install.ensure()
    return install


@frozen(kw_only=True)
class SdkServer:
    """A server on an official SDK with the tools of tests/peers/README.md, and how it differs from the other one."""

    command: list[str]
    name: str
    poll_interval_ms: int
    """What it asks for. The Python SDK has no choice here."""
    echoes_prefix: bool
    """Whether its error messages begin with "MCP error CODE: "; those of tasks that failed do not."""
    refused_task: tuple[int, str]
    """How a call fails that had the client run a task, which ended in -1 "the user said no": code, end of message."""


@pytest.fixture(params=["python", "npm"])
def sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    """Both SDKs, one after the other."""
    if request.param == "python":
        return SdkServer(
            command=peers.python_server_command(),
            name="mcp-tasks-python-peer",
            poll_interval_ms=500,
            echoes_prefix=False,
            refused_task=(-1, "the user said no"),
        )
    return SdkServer(
        command=peers.npm_server_command(),
        name="mcp-tasks-npm-peer",
        poll_interval_ms=100,
        echoes_prefix=True,
        refused_task=(-32603, " failed"),
    )


# --- our side of it ---------------------------------------------------------------------------------------------------


@define(eq=False)
class User:
    """The person and the model behind a client: answers as the tests on the other side do, and remembers."""

    answers: dict[str, Any] = field(factory=lambda: {"confirm": True, "name": "Ada", "age": 36})
    declines: bool = False
    refuses: bool = False
    forms: list[Any] = field(factory=list)
    samples: list[Any] = field(factory=list)
    related: list[str | None] = field(factory=list)
    """For each question, the task that it said it belongs to."""
    hosted: list[bool] = field(factory=list)
    """For each question, whether it ran as a task of ours."""
    together: int = 1
    """No form is answered before there are so many."""
    enough: trio.Event = field(factory=trio.Event)
    asked: trio.Event = field(factory=trio.Event)
    """Set when the first form has come."""

    async def elicit(self, ctx: Context, params: Any) -> Any:
        self.note(ctx)
        self.forms.append(params)
        self.asked.set()
        if len(self.forms) >= self.together:
            self.enough.set()
        await self.enough.wait()
        if self.refuses:
            raise RequestRejected("the user said no")
        if self.declines:
            return ElicitResult(action="decline")
        asked = getattr(params, "requested_schema", {}).get("properties", {})
        return {name: value for name, value in self.answers.items() if name in asked}

    async def sample(self, ctx: Context, params: Any) -> CreateMessageResult:
        self.note(ctx)
        self.samples.append(params)
        if self.refuses:
            raise RequestRejected("the user said no")
        said = params.messages[-1].content
        return CreateMessageResult(role="assistant", content=TextContent(text=f"sampled: {said.text}"), model="peer")

    def note(self, ctx: Context) -> None:
        related = ctx.meta.get(RELATED)
        self.related.append(related["taskId"] if isinstance(related, dict) else None)
        self.hosted.append(ctx.task_id is not None)


@pytest.fixture
def user() -> User:
    return User()


@pytest.fixture
def client(make_peer: Callable[..., Peer], user: User) -> Peer:
    """A client with a user and a model, neither of them for tasks."""
    peer = make_peer("interop-client")
    peer.elicitation(user.elicit)
    peer.sampling(user.sample)
    return peer


@pytest.fixture
def hosting_client(make_peer: Callable[..., Peer], user: User) -> Peer:
    """A client that runs elicitation and sampling as tasks, if it is asked to."""
    peer = make_peer("interop-host")
    peer.elicitation(task="optional")(user.elicit)
    peer.sampling(task="optional")(user.sample)
    return peer


Connect: TypeAlias = "Callable[..., AbstractAsyncContextManager[Connection]]"


@pytest.fixture
def connect(caplog: pytest.LogCaptureFixture) -> Connect:
    """Starts a server and connects a client to it, for a minute at most.

    At the end the server has to exit by itself (unless it is known not to), and nothing it has sent may have been
    worth a warning in our log.
    """
    caplog.set_level(logging.WARNING, logger="mcp_tasks")

    @asynccontextmanager
    async def connect(peer: Peer, command: list[str], *, exits: bool = True) -> AsyncIterator[Connection]:
        with trio.fail_after(SECONDS):
            async with open_stdio(command, stderr="capture") as transport, peer.connect(transport) as connection:
                yield connection
            if exits:
                assert transport.returncode == 0, transport.stderr_tail
            assert [record.getMessage() for record in caplog.records if record.name.startswith("mcp_tasks")] == []

    return connect


# --- nothing is left --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_children_left() -> Iterator[None]:
    """No process is left: not even one that a worker thread has started."""
    yield
    if sys.platform == "linux":
        left = [pid for path in glob.glob("/proc/self/task/*/children") for pid in Path(path).read_text().split()]
        assert left == []
