"""`python -m mcp_tasks`, which is `mcp-tasks`; see `mcp_tasks.cli`."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    if (plain := _plain_serve(arguments)) is not None:
        # What hosts start again and again: it has no use for the libraries behind the other commands.
        from .cli.serving import serve

        sys.exit(serve(**plain))
    try:
        from .cli.app import run
    except ModuleNotFoundError as missing:
        if missing.name not in ("cyclopts", "rich"):
            raise
        sys.exit(f"mcp-tasks: {missing.name} is not installed; try: pip install 'mcp-tasks[cli]'")
    sys.exit(run(arguments))


def _plain_serve(arguments: list[str]) -> dict[str, Any] | None:
    """What `serve` is given, if it is written as hosts do; None for anything that has to be looked at more closely."""
    if arguments[:1] != ["serve"]:
        return None
    given: dict[str, Any] = {}
    words = iter(arguments[1:])
    for word in words:
        name = {"--http": "http", "--store": "store", "--store-key": "store_key", "--stdio": "stdio"}.get(word)
        if name is None:
            name, value = "target", word
        else:
            value = word if name == "stdio" else next(words, "-")
        if name in given or (value.startswith("-") and name != "stdio"):
            return None
        given[name] = value
    over_stdio = given.pop("stdio", None) is not None
    return given if "target" in given and over_stdio != ("http" in given) else None


if __name__ == "__main__":
    main()
