"""Install the official SDKs that the interoperability tests talk to.

Run it with any Python from 3.10 on; it needs only the standard library, plus ``node`` and ``npm``.
It creates these directories below the repository root (or below ``$MCP_TASKS_PEERS``):

* ``.peers/mcp130``      a virtual environment with the Python SDK, the first generation,
* ``.peers/mcp23``       the same with the second generation (the benchmark uses it, too),
* ``.peers/fastmcp414``  the same with FastMCP and its tasks extension,
* ``.peers/npm``         a ``node_modules`` with the TypeScript SDK and its "everything" server,
* ``.peers/npm24``       the same with the second generation of that SDK (the benchmark uses it, too).

Each holds a stamp with the pins it was built from. A matching stamp makes a second run a no-op, a
changed pin rebuilds. Imported as a module, it tells where things are; `ensure` installs them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

PYTHON_PINS = {
    "mcp130": ["mcp==1.30.0"],
    "mcp23": ["mcp==2.3.0"],
    # Every fastmcp-tasks demands the fastmcp of the very same number, and 4.1.4 is the newest that there is of it.
    "fastmcp414": ["fastmcp==4.1.4", "fastmcp-tasks==4.1.4"],
}
NPM_PINS = {
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/server-everything": "2026.8.31",
}
NPM24_PINS = {
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/core": "2.4.0",
    "@modelcontextprotocol/node": "2.1.2",
    "@modelcontextprotocol/server": "2.4.0",
}
TRANSPORTS = ("stdio", "http", "http-json", "http-resumable")
"""Of our servers. Over HTTP answers are streams, or JSON, or streams that a client may come back to."""

ATTEMPTS = 3
STAMP = ".pins.json"
BENCH_STAMP = ".stamp"  # what bench/install.py leaves, which makes the same mcp23 and npm24: one pin a line

Server: TypeAlias = "str | Sequence[str]"
"""What a client is to talk to: the URL of a server, or the command that starts one on stdio."""

Pins: TypeAlias = "list[str] | dict[str, str]"


class PeersError(Exception):
    """The peers cannot be installed; the message is one line for a human."""


def peers_dir() -> Path:
    """The directory holding everything that is installed."""
    override = os.environ.get("MCP_TASKS_PEERS")
    return Path(override).expanduser().resolve() if override else ROOT / ".peers"


def python_130() -> Path:
    """The interpreter of the environment with mcp 1.30."""
    return _python(peers_dir() / "mcp130")


def python_23() -> Path:
    """The interpreter of the environment with mcp 2.3."""
    return _python(peers_dir() / "mcp23")


def python_fastmcp() -> Path:
    """The interpreter of the environment with fastmcp 4.1.4."""
    return _python(peers_dir() / "fastmcp414")


def node_modules() -> Path:
    """The ``node_modules`` with the npm packages."""
    return peers_dir() / "npm" / "node_modules"


def node() -> str:
    """The ``node`` executable."""
    return _tool("node")


def everything_command(transport: str = "stdio") -> list[str]:
    """Command line of the npm "everything" server; `transport` may also be ``http``.

    Over HTTP it would neither tell its port, if it may choose, nor end with its stdin. A preloaded
    module has it do both, as our servers do.
    """
    script = str(node_modules() / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js")
    if transport == "stdio":
        return [node(), script, "stdio"]
    return [node(), "--import", (HERE / "announce.mjs").as_uri(), script, "streamableHttp"]


def npm_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server on the npm SDK; for `transport` see `TRANSPORTS`."""
    return [node(), str(HERE / "npm_server.mjs"), transport, str(peers_dir())]


def python_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server on mcp 1.30; for `transport` see `TRANSPORTS`."""
    return [str(python_130()), str(HERE / "python_server.py"), transport]


def python23_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server on mcp 2.3; for `transport` see `TRANSPORTS`."""
    return [str(python_23()), str(HERE / "python23_server.py"), transport]


def npm_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client on the npm SDK, playing `scenario` against `server`."""
    return [node(), str(HERE / "npm_client.mjs"), *options, str(peers_dir()), scenario, *_server(server)]


def python_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client on mcp 1.30, playing `scenario` against `server`."""
    return [str(python_130()), str(HERE / "python_client.py"), *options, scenario, *_server(server)]


def python23_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client on mcp 2.3, playing `scenario` against `server`."""
    return [str(python_23()), str(HERE / "python23_client.py"), *options, scenario, *_server(server)]


MODERN_TRANSPORTS = ("stdio", "http", "http-json", "http-sse")
"""Of our servers for 2026-07-28. Over HTTP they answer as the SDK likes best, or with JSON, or with streams."""


def modern_python_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server for 2026-07-28 on mcp 2.3; it has no "http-sse"."""
    return [str(python_23()), str(HERE / "modern_python_server.py"), transport]


def modern_fastmcp_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server for 2026-07-28 on fastmcp 4.1, with tasks; it has no "http-sse"."""
    return [str(python_fastmcp()), str(HERE / "modern_fastmcp_server.py"), transport]


def modern_npm_server_command(transport: str = "stdio") -> list[str]:
    """Command line of our server for 2026-07-28 on the npm SDK 2.4; for `transport` see `MODERN_TRANSPORTS`."""
    return [node(), str(HERE / "modern_npm_server.mjs"), transport, str(peers_dir())]


def modern_python_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client for 2026-07-28 on mcp 2.3, playing `scenario` against `server`."""
    return [str(python_23()), str(HERE / "modern_python_client.py"), *options, scenario, *_server(server)]


def modern_fastmcp_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client for 2026-07-28 on fastmcp 4.1, with tasks, playing `scenario` against `server`."""
    return [str(python_fastmcp()), str(HERE / "modern_fastmcp_client.py"), *options, scenario, *_server(server)]


def modern_npm_client_command(scenario: str, server: Server, *options: str) -> list[str]:
    """Command line of our client for 2026-07-28 on the npm SDK 2.4, playing `scenario` against `server`."""
    return [node(), str(HERE / "modern_npm_client.mjs"), *options, str(peers_dir()), scenario, *_server(server)]


def installed() -> bool:
    """Whether everything is there and built from the current pins."""
    environments = [_stamped(peers_dir() / name, pins) for name, pins in PYTHON_PINS.items()]
    modules = [_stamped(peers_dir() / name, pins) for name, pins in _npm_pins().items()]
    return all(environments) and all(modules)


def ensure() -> None:
    """Install what is missing or out of date; raise `PeersError` if that is impossible."""
    if installed():
        return
    for tool in ("node", "npm"):
        _tool(tool)
    peers_dir().mkdir(parents=True, exist_ok=True)
    (peers_dir() / ".gitignore").write_text("*\n")
    with _lock(peers_dir() / ".lock"):
        for name, pins in PYTHON_PINS.items():
            _build(peers_dir() / name, pins, _install_python)
        for folder, modules in _npm_pins().items():
            _build(peers_dir() / folder, modules, _install_npm)


def _build(target: Path, pins: Pins, install: Callable[[Path], None]) -> None:
    """(Re)create one directory unless its stamp says it is current."""
    if _stamped(target, pins):
        return
    if target.exists():
        shutil.rmtree(target)
    install(target)
    (target / STAMP).write_text(json.dumps(pins))
    (target / BENCH_STAMP).write_text("\n".join(_lines(pins)) + "\n")


def _install_python(target: Path) -> None:
    if not all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        raise PeersError("this Python has no venv/ensurepip (a separate package on some systems)")
    _run([sys.executable, "-m", "venv", str(target)], attempts=1)
    pip = [str(_python(target)), "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", *PYTHON_PINS[target.name]])


def _npm_pins() -> dict[str, dict[str, str]]:
    return {"npm": NPM_PINS, "npm24": NPM24_PINS}


def _install_npm(target: Path) -> None:
    target.mkdir(parents=True)
    manifest = {"private": True, "dependencies": _npm_pins()[target.name]}
    (target / "package.json").write_text(json.dumps(manifest, indent=2))
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    _run([_tool("npm"), "install", "--prefix", str(target), *quiet])


def _stamped(target: Path, pins: Pins) -> bool:
    try:
        return json.loads((target / STAMP).read_text()) == pins
    except (OSError, ValueError):
        pass
    try:
        return (target / BENCH_STAMP).read_text().split() == _lines(pins)
    except OSError:
        return False


def _lines(pins: Pins) -> list[str]:
    return pins if isinstance(pins, list) else [f"{name}@{pin}" for name, pin in pins.items()]


def _python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def _server(server: Server) -> list[str]:
    return [server] if isinstance(server, str) else ["--", *server]


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise PeersError(f"{name} was not found on PATH")
    return path


def _run(command: list[str], *, attempts: int = ATTEMPTS) -> None:
    """Run a command, again after a pause if it fails: networks are flaky."""
    for attempt in range(1, attempts + 1):
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode == 0:
            return
        if attempt < attempts:
            time.sleep(2 * attempt)
    output = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
    name = f"{Path(command[0]).name} {' '.join(command[1:3])}"
    raise PeersError(f"`{name} ...` failed {attempts} time(s): {output[-1]}")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep two simultaneous installs apart, where the platform has `fcntl`."""
    with path.open("w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Install and say where things are."""
    try:
        ensure()
        versions = [*chain(*PYTHON_PINS.values()), *chain(*map(_lines, _npm_pins().values()))]
    except PeersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{peers_dir()}: {', '.join(versions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
