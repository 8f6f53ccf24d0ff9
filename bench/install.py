#!/usr/bin/env python3
"""Install the engines we are measured beside, below `.peers/` or `$MCP_TASKS_PEERS`.

Most are those of the interoperability tests, so `tests/peers/install.py` puts them there: mcp 1.30.0,
fastmcp 4.1.4 with its tasks, the npm SDK 1.32.2, and also `mcp23` and `npm24`, which are made here
if they are not there yet.  This adds `fastmcp` next to them.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_PINS = {"mcp23": ["mcp==2.3.0"], "fastmcp": ["fastmcp==4.1.6"]}
# From its second generation on the npm SDK is several packages; `node` is its adapter for node:http, with a
# version of its own.
NPM_PINS = {
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/core": "2.4.0",
    "@modelcontextprotocol/node": "2.1.2",
    "@modelcontextprotocol/server": "2.4.0",
}
# fastmcp asks for a certifi (2026.10.19) that not every index has. Over plain http no certificate is read, so its
# requirements are installed with that one bound left out.
LOOSENED = {"fastmcp": ("fastmcp-slim[client,server]==4.1.6", "certifi")}
REQUIREMENTS = """
import sys
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
asked, free = Requirement(sys.argv[1]), sys.argv[2]
for text in requires(asked.name):
    found = Requirement(text)
    if found.marker is None or any(found.marker.evaluate({"extra": extra}) for extra in asked.extras):
        extras = f"[{','.join(found.extras)}]" if found.extras else ""
        print(found.name if found.name == free else f"{found.name}{extras}{found.specifier}")
"""
STAMP = ".stamp"
SHARED = Path(__file__).resolve().parents[1] / "tests" / "peers" / "install.py"


def shared():
    """Return the installer of the tests as a module."""
    spec = importlib.util.spec_from_file_location("mcp_tasks_test_peers", SHARED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(target: Path, pins: list[str], install) -> None:
    """Make a folder anew with `install(target)` unless its stamp holds today's pins."""
    stamp = target / STAMP
    if stamp.exists() and stamp.read_text().split() == pins:
        return
    if target.exists():
        shutil.rmtree(target)
    install(target)
    stamp.write_text("\n".join(pins) + "\n")


def install_python(target: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    python = str(target / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pins = PYTHON_PINS[target.name]
    if target.name in LOOSENED:
        package, free = LOOSENED[target.name]
        subprocess.run([*pip, "--no-deps", *pins, package.replace("[client,server]", "")], check=True)
        told = subprocess.run([python, "-c", REQUIREMENTS, package, free], check=True, capture_output=True, text=True)
        pins = told.stdout.split()
    subprocess.run([*pip, *pins], check=True)


def install_npm(target: Path) -> None:
    target.mkdir(parents=True)
    (target / "package.json").write_text(json.dumps({"private": True, "dependencies": NPM_PINS}, indent=2))
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(["npm", "install", "--prefix", str(target), *quiet], check=True)


def main() -> int:
    peers = shared()
    try:
        peers.ensure()
        folder = peers.peers_dir()
        for name, pins in PYTHON_PINS.items():
            build(folder / name, pins, install_python)
        build(folder / "npm24", [f"{name}@{pin}" for name, pin in NPM_PINS.items()], install_npm)
    except (peers.PeersError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: mcp130, fastmcp414, npm, {', '.join(PYTHON_PINS)}, npm24")
    return 0


if __name__ == "__main__":
    sys.exit(main())
