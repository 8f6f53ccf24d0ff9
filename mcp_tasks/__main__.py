"""`python -m mcp_tasks`, which is `mcp-tasks`; see `mcp_tasks.cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    match sys.argv[1:]:
        case ["serve", target, "--stdio"] | ["serve", "--stdio", target] if not target.startswith("-"):
            # What hosts start again and again: it has no use for the libraries behind the other commands.
            from .cli.serving import serve

            sys.exit(serve(target))
        case ["serve", target, "--http", address] if not target.startswith("-"):
            from .cli.serving import serve

            sys.exit(serve(target, http=address))
        case arguments:
            try:
                from .cli.app import run
            except ModuleNotFoundError as missing:
                if missing.name not in ("cyclopts", "rich"):
                    raise
                sys.exit(f"mcp-tasks: {missing.name} is not installed; try: pip install 'mcp-tasks[cli]'")
            sys.exit(run(arguments))


if __name__ == "__main__":
    main()
