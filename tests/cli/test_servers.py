"""What SERVER means: names from files, variables, command lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mcp_tasks.cli.exits import Exit, Trouble
from mcp_tasks.cli.servers import expand, find_server
from mcp_tasks.transports.stdio import DEFAULT_ENV


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCP_CONFIG", raising=False)
    monkeypatch.setenv("WHERE", "here")
    monkeypatch.delenv("NOWHERE", raising=False)


def write(path: str, **servers: object) -> Path:
    Path(path).write_text(json.dumps({"mcpServers": servers}))
    return Path(path)


def test_a_command_line() -> None:
    server = find_server("python 'my server.py' --fast")
    assert server.command == ["python", "my server.py", "--fast"]
    assert server.inherit_env is None


def test_a_name_from_a_file() -> None:
    write(
        "mcp.json", forge={"command": "${WHERE}/forge", "args": ["${NOWHERE:-x}"], "env": {"A": "${WHERE}"}, "cwd": "/"}
    )
    server = find_server("forge")
    assert server.command == ["here/forge", "x"]
    assert server.env == {"A": "here"}
    assert server.cwd == "/"
    assert server.inherit_env == DEFAULT_ENV


def test_the_order_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    write("mcp.json", a={"command": "second"}, b={"command": "second"})
    write(".mcp.json", a={"command": "first"})
    write("other.json", a={"command": "third"}, c={"command": "third"})
    monkeypatch.setenv("MCP_CONFIG", "other.json")
    assert [find_server(name).command[0] for name in "abcd"] == ["first", "second", "third", "d"]
    assert find_server("a", Path("other.json")).command == ["third"]
    assert find_server("b", Path("other.json")).command == ["b"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (5, "forge: expected an object"),
        ({}, "command: expected a string"),
        ({"command": "x", "args": "y"}, "args: expected a list of strings"),
        ({"command": "x", "env": {"A": 1}}, "env: expected an object of strings"),
        ({"command": "x", "cwd": 1}, "cwd: expected a string"),
        ({"command": "${NOWHERE}"}, "the environment has no NOWHERE"),
        ({"url": 5}, "url: expected a string"),
        ({"url": "https://example.org", "headers": {"A": 1}}, "headers: expected an object of strings"),
        ({"url": "https://example.org/${NOWHERE}"}, "the environment has no NOWHERE"),
    ],
)
def test_wrong_entries(entry: object, said: str) -> None:
    write("mcp.json", forge=entry)
    with pytest.raises(Trouble, match=said) as trouble:
        find_server("forge")
    assert trouble.value.exit is Exit.USAGE


def test_wrong_servers(tmp_path: Path) -> None:
    Path("broken.json").write_text("{")
    Path("list.json").write_text("[]")
    for given, config, said in (
        ("x", Path("missing.json"), "No such file"),
        ("x", Path("broken.json"), "is no JSON"),
        ("x", Path("list.json"), "expected an object of servers"),
        ("'x", None, "no command line"),
        ("", None, "empty"),
    ):
        with pytest.raises(Trouble, match=said):
            find_server(given, config)


def test_what_is_expanded_is_not_looked_at_again() -> None:
    assert expand("${A} $A ${B:-${A}", {"A": "${B}"}) == "${B} $A ${A"
    assert expand("${A:-none}", {"A": ""}) == "none"
    with pytest.raises(KeyError):
        expand("${A}", {})
