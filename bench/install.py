#!/usr/bin/env python3
"""Install the engines we are measured beside: mcp 1.30.0, mcp 2.3.0 and the npm SDK 1.32.2.

The first and the last are those of the interoperability tests, so `tests/peers/install.py` puts
them there; this adds `mcp23` next to them, below `.peers/` or `$MCP_TASKS_PEERS`.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

PINS = ["mcp==2.3.0"]
STAMP = ".stamp"
SHARED = Path(__file__).resolve().parents[1] / "tests" / "peers" / "install.py"


def shared():
    """Return the installer of the tests as a module."""
    spec = importlib.util.spec_from_file_location("mcp_tasks_test_peers", SHARED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install_mcp23(target: Path) -> None:
    """Make the environment anew unless its stamp holds today's pins."""
    stamp = target / STAMP
    if stamp.exists() and stamp.read_text().split() == PINS:
        return
    if target.exists():
        shutil.rmtree(target)
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *PINS], check=True)
    stamp.write_text("\n".join(PINS) + "\n")


def main() -> int:
    peers = shared()
    try:
        peers.ensure()
        install_mcp23(peers.peers_dir() / "mcp23")
    except (peers.PeersError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{peers.peers_dir()}: mcp130, mcp23, npm")
    return 0


if __name__ == "__main__":
    sys.exit(main())
