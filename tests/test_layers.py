"""The floors: a module imports from its own and lower floors only, and a few neighbours not at all.

It reads the imports, so that the drawing in the documentation stays true. Imports for the type checker alone count for
the rules between neighbours, but not for the floors: they are what lets two modules name each other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mcp_tasks"

FLOORS: list[set[str]] = [
    {"errors", "_shape", "_unset", "_workers", "limits", "clock", "cursor", "seal", "trace", "_version"},
    {"wire"},
    {"codec", "framing"},
    {"jsonrpc", "abc"},
    {"tasks"},
    {"dialects"},
    {"peer"},
    {"transports"},
    {"serve", "http", "bridge", "telemetry", "__main__", "cli", "testing", "recording"},
]
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS) for part in parts}

MAX_LINES = 600
DATA = {"wire/server_features.py", "wire/v2025_11_25.py"}  # tables and shapes, one after the other


@frozen
class Import:
    """One imported module, from where."""

    importer: str
    module: str
    line: int
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def _part(module: str) -> str:
    """The part of the package that a module belongs to: ``mcp_tasks.wire.tasks`` is in ``wire``."""
    return module.split(".")[1] if "." in module else "__init__"


def _module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, importer: str, *, is_package: bool) -> Iterator[Import]:
    """Every module that a source imports, however deep in it; ``from x import y`` may name a module ``x.y``."""
    tree = ast.parse(source)
    typed = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, node.lineno, node in typed)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = importer.split(".") if is_package else importer.split(".")[:-1]
                package = package[: len(package) - (node.level - 1)]
                base = ".".join([*package, base] if base else package)
            for alias in node.names:
                # ``from . import x`` and ``from mcp_tasks import wire`` name modules
                names_module = (ROOT / Path(*base.split("."), f"{alias.name}.py")).exists() or (
                    ROOT / Path(*base.split("."), alias.name)
                ).is_dir()
                yield Import(importer, f"{base}.{alias.name}" if names_module else base, node.lineno, node in typed)


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def _all_imports(folder: Path) -> list[Import]:
    return [
        found
        for path in _sources(folder)
        for found in imports_of(path.read_text(), _module_name(path), is_package=path.name == "__init__.py")
    ]


INNER = [found for found in _all_imports(PACKAGE) if found.module.split(".")[0] == "mcp_tasks"]


def breaks_the_floors(found: Import) -> bool:
    importer, imported = _part(found.importer), _part(found.module)
    if importer == "__init__" or found.for_types:
        return False  # the top only hands names on
    return imported == "__init__" or FLOOR_OF[imported] > FLOOR_OF[importer]


def breaks_a_sideways_rule(found: Import) -> bool:
    importer, imported = _part(found.importer), _part(found.module)
    if importer == "tasks":
        return imported != "tasks" and FLOOR_OF.get(imported) != 0
    if importer == "transports":
        return imported in ("peer", "tasks", "dialects")
    if importer == "dialects":
        if imported == "peer":
            return True
        return _era(found.importer) != _era(found.module) and None not in (_era(found.importer), _era(found.module))
    if importer == "wire":
        return _era(found.importer) is None and _era(found.module) is not None
    return False


def _era(module: str) -> str | None:
    match = re.search(r"\.v(\d{4}_\d\d_\d\d)", module)
    return match[1] if match else None


def breaks_the_public_rule(found: Import) -> bool:
    """What a program outside may import: the public names, the testing helpers, and the shapes."""
    if found.module.split(".")[0] != "mcp_tasks":
        return False
    return found.module != "mcp_tasks" and not re.match(r"mcp_tasks\.(testing|wire)(\.[a-z]\w*)*$", found.module)


# --- the rules, kept --------------------------------------------------------------------------------------------------


def test_every_part_has_a_floor() -> None:
    parts = {_part(_module_name(path)) for path in _sources(PACKAGE)} - {"__init__"}
    assert parts <= FLOOR_OF.keys()


def test_imports_go_down() -> None:
    assert len(INNER) > 100
    assert [str(found) for found in INNER if breaks_the_floors(found)] == []


def test_neighbours_do_not_know_each_other() -> None:
    assert [str(found) for found in INNER if breaks_a_sideways_rule(found)] == []


def test_the_conformance_runner_uses_public_names_only() -> None:
    found = _all_imports(ROOT / "conformance")
    assert any(one.module == "mcp_tasks" for one in found)
    assert [str(one) for one in found if breaks_the_public_rule(one)] == []


def test_the_top_only_hands_names_on() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    docstring, *rest = body
    assert isinstance(docstring, ast.Expr)
    for node in rest:
        if isinstance(node, ast.Try):
            assert all(isinstance(inner, ast.ImportFrom) for inner in node.body)
        elif isinstance(node, ast.If):
            # Names that are imported when they are first asked for: the type checker sees them at once.
            assert ast.unparse(node.test) == "TYPE_CHECKING"
            assert all(isinstance(inner, ast.ImportFrom) for inner in node.body)
            assert [inner.name for inner in node.orelse if isinstance(inner, ast.FunctionDef)] == ["__getattr__"]
            assert len(node.orelse) == 1
        elif isinstance(node, ast.Assign):
            assert ast.unparse(node.targets[0]) == "__all__"
        else:
            assert isinstance(node, ast.ImportFrom), ast.unparse(node)


WIRE_WORD = re.compile(
    r"[a-z]+[A-Z]\w*|_meta|input_required|\w+/\w+|modelcontextprotocol|jsonrpc", re.ASCII
)  # camel case, and what only the wire says


def wire_words(source: str) -> list[str]:
    """The string constants of a source that are words of the wire, and its JSON-RPC error numbers."""
    tree = ast.parse(source)
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    words = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node not in prose
        and isinstance(node.value, str)
        and WIRE_WORD.fullmatch(node.value)
    ]
    numbers = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and 32000 <= node.value <= 32768
    ]
    return sorted(words) + numbers


@pytest.mark.parametrize("path", _sources(PACKAGE / "tasks"), ids=lambda path: path.name)
def test_the_task_engine_has_no_word_of_the_wire(path: Path) -> None:
    assert wire_words(path.read_text()) == []


@pytest.mark.parametrize("path", _sources(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    source = path.read_text()
    if str(path.relative_to(PACKAGE)) not in DATA:
        assert len(source.splitlines()) <= MAX_LINES
    opening = ast.get_docstring(ast.parse(source))
    assert opening or path.name == "_version.py", "a module opens with a paragraph that says what it is"


def test_files_of_tests_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


# --- the rules can be broken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("importer", "source", "broken"),
    [
        ("mcp_tasks.errors", "from ._unset import JSON", False),
        ("mcp_tasks.errors", "from .wire.jsonrpc import Request", True),
        ("mcp_tasks.wire.tasks", "from ..codec import shapes", True),
        ("mcp_tasks.wire.tasks", "from .. import codec", True),
        ("mcp_tasks.wire.tasks", "import mcp_tasks", True),
        ("mcp_tasks.wire.tasks", "def f():\n    import mcp_tasks.peer.peer", True),
        ("mcp_tasks.peer.calls", "from .connection import Connection", False),
        ("mcp_tasks.peer.calls", "from ..transports.memory import x", True),
        ("mcp_tasks.codec.x", "if TYPE_CHECKING:\n    from ..peer.peer import Peer", False),
        ("mcp_tasks.codec.x", "if TYPE_CHECKING:\n    pass\nelse:\n    from ..peer.peer import Peer", True),
    ],
)
def test_the_floor_rule_sees(importer: str, source: str, broken: bool) -> None:
    found = list(imports_of(source, importer, is_package=False))
    assert found
    assert any(breaks_the_floors(one) for one in found) is broken


@pytest.mark.parametrize(
    ("importer", "source", "broken"),
    [
        ("mcp_tasks.tasks.registry", "from ..errors import MCPError", False),
        ("mcp_tasks.tasks.registry", "from .model import Call", False),
        ("mcp_tasks.tasks.registry", "from ..wire.tasks import Task", True),
        ("mcp_tasks.tasks.registry", "if TYPE_CHECKING:\n    from ..wire.tasks import Task", True),
        ("mcp_tasks.transports.lines", "from ..abc import Transport", False),
        ("mcp_tasks.transports.lines", "from ..tasks.model import Call", True),
        ("mcp_tasks.transports.lines", "from ..dialects import base", True),
        ("mcp_tasks.dialects.v2025_11_25", "from ..wire import v2025_11_25", False),
        ("mcp_tasks.dialects.v2025_11_25", "from ..wire import v2026_07_28", True),
        ("mcp_tasks.dialects.v2026_07_28", "from ..wire import v2025_11_25", True),
        ("mcp_tasks.dialects.v2026_07_28", "from .v2025_11_25 import x", True),
        ("mcp_tasks.dialects.select", "from .v2025_11_25 import x", False),
        ("mcp_tasks.dialects.base", "if TYPE_CHECKING:\n    from ..peer.peer import Peer", True),
        ("mcp_tasks.wire.content", "from .v2025_11_25 import REVISION", True),
    ],
)
def test_the_sideways_rule_sees(importer: str, source: str, broken: bool) -> None:
    assert any(breaks_a_sideways_rule(one) for one in imports_of(source, importer, is_package=False)) is broken


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("from mcp_tasks import Peer", False),
        ("from mcp_tasks.testing import scripted", False),
        ("from mcp_tasks.wire.content import TextContent", False),
        ("import attrs", False),
        ("from mcp_tasks.peer.peer import Peer", True),
        ("from mcp_tasks import peer", True),
        ("from mcp_tasks._shape import Shape", True),
        ("import mcp_tasks.codec.messages", True),
    ],
)
def test_the_public_rule_sees(source: str, broken: bool) -> None:
    assert any(breaks_the_public_rule(one) for one in imports_of(source, "conformance.x", is_package=False)) is broken


def test_words_of_the_wire_are_seen() -> None:
    assert wire_words('x = {"taskId": 1}\ny = "tools/call"\nz = "_meta"\nn = -32602\nw = "input_required"') == [
        "_meta",
        "input_required",
        "taskId",
        "tools/call",
        "32602",
    ]
    assert wire_words('"""taskId"""\nx = "some prose about tools/call"\ny = "state"\nn = 1000') == []
