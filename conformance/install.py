"""Install the official suite beside the peers of the interoperability tests.

``python -m conformance.install`` puts the pinned npm package into ``conformance`` below ``.peers/`` or
``$MCP_TASKS_PEERS``, by way of ``tests/peers/install.py``. The suite runs on Node.js 22 or newer. Where ``node`` on the
path is older, one that is new enough is put beside it, which npm has as a package too. It works in a checkout only.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import frozen

__all__ = ["Suite", "ensure", "peers"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "@modelcontextprotocol/conformance"
PINS = {PACKAGE: "0.2.0-alpha.12"}
OLDEST_NODE = 22
NODE_PIN = "24.21.0"


@frozen
class Suite:
    """The installed suite."""

    node: str
    folder: Path
    """Where the package is."""

    def command(self, *arguments: str) -> list[str]:
        """A command line of the suite."""
        return [self.node, str(self.folder / "dist" / "index.js"), *arguments]

    def read_yaml(self, path: Path) -> dict[str, Any]:
        """A YAML file, read as the suite itself reads it."""
        read = "console.log(JSON.stringify(require('yaml').parse(require('fs').readFileSync(process.argv[1], 'utf8'))))"
        told = subprocess.run([self.node, "-e", read, str(path)], cwd=self.folder, check=True, capture_output=True)
        found: dict[str, Any] | None = json.loads(told.stdout)
        return {} if found is None else found


def peers() -> ModuleType:
    """The installer of the tests, as a module. Raises FileNotFoundError outside of a checkout."""
    path = ROOT / "tests" / "peers" / "install.py"
    spec = importlib.util.spec_from_file_location("conformance_peers_install", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ensure() -> Suite:
    """Install what is missing or out of date. Raises the installer's `PeersError` if that cannot be done."""
    shared = peers()
    target = shared.peers_dir() / "conformance"
    node = shared.node()
    pins = dict(PINS)
    if (package := _newer_node(node)) is not None:
        pins[package] = NODE_PIN
        node = str(target / "node_modules" / package / "bin" / "node")

    def install(target: Path) -> None:
        target.mkdir()
        (target / "package.json").write_text(json.dumps({"private": True, "dependencies": pins}, indent=2))
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        shared._run([shared._tool("npm"), "install", "--prefix", str(target), *quiet])

    shared.peers_dir().mkdir(parents=True, exist_ok=True)
    (shared.peers_dir() / ".gitignore").write_text("*\n")
    with shared._lock(shared.peers_dir() / ".lock"):
        shared._build(target, pins, install)
    return Suite(node, target / "node_modules" / PACKAGE)


def _newer_node(node: str) -> str | None:
    """The npm package with a newer Node.js for this machine, if it is needed."""
    tell = "console.log(parseInt(process.versions.node) + ' ' + process.platform + '-' + process.arch)"
    told = subprocess.run([node, "-e", tell], check=True, capture_output=True, text=True).stdout.split()
    return None if int(told[0]) >= OLDEST_NODE else f"node-{told[1]}"


def main() -> int:
    """Install, and say where it is."""
    shared = peers()
    try:
        suite = ensure()
    except shared.PeersError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{suite.folder}: {PINS[PACKAGE]}, on {suite.node}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
