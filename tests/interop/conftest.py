"""The other sides: programs on official SDKs, installed on first use, started for every test and gone after it.

Nothing is skipped. If the SDKs cannot be installed, the tests fail and say why.

Most tests are for stdio and for HTTP. What a fixture starts ends well and by itself, has nothing to complain about on
stderr and, over HTTP, has answered a DELETE when its client is gone.
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
from attrs import define, field

from mcp_tasks import Connection, Context, Peer, RequestRejected, open_http, open_stdio
from mcp_tasks.wire.client_features import CreateMessageResult, ElicitResult
from mcp_tasks.wire.content import TextContent

from ._programs import Program, SdkServer, http_server, sdk_server

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


@pytest.fixture(params=["python-stdio", "npm-stdio", "python-http", "npm-http"])
def sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    """The SDKs that have tasks, one after the other, over stdio and over HTTP."""
    return sdk_server(peers, request.param)


@pytest.fixture(
    params=["python-stdio", "npm-stdio", "python23-stdio", "python-http", "npm-http", "python23-http"],
)
def any_sdk(request: pytest.FixtureRequest, peers: ModuleType) -> SdkServer:
    """All SDKs, for what has nothing to do with tasks."""
    return sdk_server(peers, request.param)


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


@asynccontextmanager
async def over_stdio(peer: Peer, program: Program) -> AsyncIterator[Connection]:
    """Start a server and connect a client to it by its stdin and stdout."""
    async with open_stdio(program.command, stderr="capture") as transport, peer.connect(transport) as connection:
        yield connection
    if program.exits:
        assert transport.returncode == 0, transport.stderr_tail


@asynccontextmanager
async def over_http(peer: Peer, program: Program) -> AsyncIterator[Connection]:
    """Start a server and connect a client to it by HTTP."""
    async with http_server(program.command) as server:
        async with open_http(server.url) as transport, peer.connect(transport) as connection:
            yield connection
        await server.hear("DELETE 200")
        assert server.process.stdin is not None
        await server.process.stdin.aclose()
        assert await server.end() == 0
        if program.exits:
            assert server.whispered() == ""


@pytest.fixture
def connect(caplog: pytest.LogCaptureFixture) -> Connect:
    """Starts a server and connects a client to it, for a minute at most.

    At the end the server has to exit by itself (unless it is known not to), and nothing it has sent may have been
    worth a warning in our log.
    """
    caplog.set_level(logging.WARNING, logger="mcp_tasks")

    @asynccontextmanager
    async def connect(peer: Peer, program: Program) -> AsyncIterator[Connection]:
        with trio.fail_after(SECONDS):
            async with (over_http if program.over_http else over_stdio)(peer, program) as connection:
                yield connection
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
