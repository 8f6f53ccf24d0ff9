"""The README's examples are files in `examples/`, shown as they are; here they run for real."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from mcp_tasks import HttpLimits, Limits

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SHOWN = re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", README, re.DOTALL)


def run(*command: str, cwd: Path = ROOT) -> str:
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_the_examples_are_shown() -> None:
    shown = ["forge.py", "chat.py", "forge_http.py", "chat_http.py", "test_forge.py"]
    assert [name for name, _ in SHOWN] == [f"examples/{name}" for name in shown]
    assert sorted(shown) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize(("name", "text"), SHOWN, ids=[name for name, _ in SHOWN])
def test_the_readme_shows_the_example_as_it_is(name: str, text: str) -> None:
    """On a difference: copy the file into the README."""
    assert text == (ROOT / name).read_text()


def test_the_client_drives_the_server() -> None:
    lines = run(sys.executable, "examples/chat.py").splitlines()
    assert lines[:3] == ["hull.c: no complaints", "? Build what?", "built a boat"]
    assert lines[-3:] == ["completed", "built a boat", "Argo"]


def test_a_task_outlives_its_session_over_http() -> None:
    command = [sys.executable, "examples/forge_http.py", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            lines = run(sys.executable, "examples/chat_http.py", url).splitlines()
        finally:
            server.terminate()
    assert lines == ["? Build what?", "the connection is over, the task is not", "built a boat"]


def test_the_example_of_a_test_passes() -> None:
    arguments = ("-q", "-c", str(ROOT / "setup.cfg"), "--rootdir", str(ROOT), "-p", "no:cacheprovider")
    assert "2 passed" in run(sys.executable, "-m", "pytest", *arguments, "test_forge.py", cwd=ROOT / "examples")


def test_the_table_of_limits_is_complete_and_right() -> None:
    """T25-149, T25-150: the limits are documented."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", README, re.MULTILINE))
    assert {name: int(value.replace(",", "")) for name, value in rows.items()} == attrs.asdict(Limits())


def test_the_table_of_http_limits_is_complete_and_right() -> None:
    rows = dict(re.findall(r"^\| `HttpLimits\.(\w+)` \| ([\d,]+) \|", README, re.MULTILINE))
    assert {name: float(value.replace(",", "")) for name, value in rows.items()} == attrs.asdict(HttpLimits())
