"""The public names: a literal list, so that adding one, or losing one, is a decision."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import mcp_tasks
import mcp_tasks.testing

PUBLIC = [
    "HANDSHAKE",
    "JSON",
    "TERMINAL",
    "TRANSITIONS",
    "UNSET",
    "V2024_11_05",
    "V2025_03_26",
    "V2025_06_18",
    "V2025_11_25",
    "V2026_07_28",
    "Ask",
    "Authenticator",
    "BearerAuth",
    "Cache",
    "CapabilityMissing",
    "CapabilityRequired",
    "Challenge",
    "Clock",
    "Connection",
    "ConnectionClosed",
    "Context",
    "DeprecatedFeature",
    "Elicit",
    "ElicitUrl",
    "Forbidden",
    "HttpClientLimits",
    "HttpError",
    "HttpLimits",
    "HttpRequest",
    "HttpServer",
    "Identity",
    "Inbound",
    "InternalError",
    "InvalidCursor",
    "InvalidParams",
    "InvalidRequest",
    "InvalidShape",
    "JSONObject",
    "LimitReached",
    "Limits",
    "LineTransport",
    "Listening",
    "LocalProtocolError",
    "MCPError",
    "MemoryTaskStore",
    "MethodNotFound",
    "Outcome",
    "Peer",
    "Principal",
    "Progress",
    "ProgressToken",
    "ProtocolError",
    "Question",
    "Raised",
    "Refusal",
    "RemoteProtocolError",
    "RequestFailed",
    "RequestId",
    "RequestRejected",
    "ResourceNotFound",
    "Returned",
    "Room",
    "Roots",
    "SQLiteTaskStore",
    "Sample",
    "SavedTask",
    "Side",
    "Stopped",
    "StoreFailed",
    "StoreUnusable",
    "TaskAlreadySettled",
    "TaskCancelled",
    "TaskExpired",
    "TaskHandle",
    "TaskId",
    "TaskInput",
    "TaskNotFound",
    "TaskRecord",
    "TaskRefusal",
    "TaskRegistry",
    "TaskState",
    "TaskStore",
    "ToolError",
    "Topics",
    "Transport",
    "Unanswered",
    "Unauthorized",
    "Unset",
    "UnsupportedRevision",
    "UrlElicitationRequired",
    "__version__",
    "asgi_app",
    "memory_transport_pair",
    "open_http",
    "open_stdio",
    "serve_http",
    "serve_stdio",
]

TESTING = [
    "Cut",
    "Duplicate",
    "Exchange",
    "Fault",
    "Faults",
    "FaultyStream",
    "Frame",
    "Garbage",
    "HttpClientWire",
    "HttpServerWire",
    "LeakError",
    "LineWire",
    "Monitor",
    "NothingCame",
    "Pair",
    "RelayedWire",
    "Remote",
    "Reorder",
    "Side",
    "Split",
    "Stall",
    "Violation",
    "Visit",
    "WatchedTask",
    "Wire",
    "check_leaks",
    "check_task_store",
    "check_transport",
    "differences",
    "dump_frame",
    "open_http_server_wire",
    "open_program",
    "open_relayed_wire",
    "open_server_wire",
    "parse_frame",
    "peer_pair",
    "script_client",
    "script_server",
    "scripted",
    "show_frame",
]


@pytest.mark.parametrize(
    ("module", "names"), [(mcp_tasks, PUBLIC), (mcp_tasks.testing, TESTING)], ids=["top", "testing"]
)
def test_the_public_names_are_these(module: Any, names: list[str]) -> None:
    assert module.__all__ == names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("module", [mcp_tasks, mcp_tasks.testing], ids=["top", "testing"])
def test_every_public_name_is_there(module: Any) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_names_are_sorted() -> None:
    """Constants, classes, functions; each by name, as ruff sorts them."""
    constants, classes, functions = [], [], []
    for name in mcp_tasks.__all__:
        (constants if name.isupper() else classes if name[0].isupper() else functions).append(name)
    assert mcp_tasks.__all__ == sorted(constants) + sorted(classes) + sorted(functions)


def _classes() -> Iterator[type]:
    for module in (mcp_tasks, mcp_tasks.testing):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value):
                yield value


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(kind):
        owner = next((base for base in kind.__mro__ if name in vars(base)), object)
        if name.startswith("_") or owner.__module__.split(".")[0] != "mcp_tasks":
            continue
        if inspect.isroutine(member) or isinstance(member, property):
            yield name, member


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in _classes()])
def test_public_classes_are_documented(kind: type) -> None:
    assert vars(kind).get("__doc__"), "its own docstring, not an inherited one"
    assert [name for name, member in _members(kind) if not inspect.getdoc(member)] == []


@pytest.mark.parametrize("name", [name for name in PUBLIC if inspect.isfunction(getattr(mcp_tasks, name))])
def test_public_functions_are_documented(name: str) -> None:
    assert inspect.getdoc(getattr(mcp_tasks, name))


def test_errors_have_one_root() -> None:
    others = (mcp_tasks.testing.LeakError, mcp_tasks.testing.NothingCame, Warning)
    errors = [kind for kind in _classes() if issubclass(kind, Exception) and not issubclass(kind, others)]
    assert len(errors) > 20
    assert [kind for kind in errors if not issubclass(kind, mcp_tasks.MCPError)] == []


def test_importing_is_quiet_and_frugal() -> None:
    """A program that only connects pays for no schema checker, no command line and no test helper."""
    code = (
        "import sys, mcp_tasks; "
        "print([name for name in ('cryptography', 'jsonschema_rs', 'rich', 'cyclopts', 'pytest', 'trio.testing', "
        "'mcp_tasks.testing') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
