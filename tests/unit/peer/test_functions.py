"""Plain functions as handlers: their schema, the check of their arguments, and where they run."""

from __future__ import annotations

import functools
import threading
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest
import trio

from mcp_tasks.errors import InvalidShape, LocalProtocolError
from mcp_tasks.peer.contexts import Context
from mcp_tasks.peer.functions import Signature, awaitable, described, to_json

CONTEXT: Any = object()  # passed on, never looked at


def nothing() -> None: ...


def plain(text: str, count: int = 1, ratio: float = 0.5, on: bool = False) -> str:
    return text


@attrs.frozen
class Point:
    x: int
    y: int = 0


def rich(
    point: Point, kind: Literal["a", "b"], size: Annotated[int, msgspec.Meta(ge=1, le=9)], tags: list[str] | None = None
) -> dict[str, int]:
    return {}


def with_context(ctx: Context, name: str) -> str:
    return name


def with_context_last(name: str, *, context: Context) -> str:
    return name


def untyped(ctx, value):  # type: ignore[no-untyped-def]
    return value


def mutable(items: list[int] = [1, 2], table: dict[str, int] = {}) -> int:  # noqa: B006
    items.append(0)
    return len(items)


@pytest.mark.parametrize(
    ("function", "schema"),
    [
        (nothing, {"type": "object", "properties": {}}),
        (
            plain,
            {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "count": {"type": "integer", "default": 1},
                    "ratio": {"type": "number", "default": 0.5},
                    "on": {"type": "boolean", "default": False},
                },
                "required": ["text"],
                "additionalProperties": False,
            },
        ),
        (
            with_context,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            },
        ),
        (
            with_context_last,
            {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            },
        ),
        (
            untyped,
            {"type": "object", "properties": {"value": {}}, "required": ["value"], "additionalProperties": False},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.requirement("C25-183")
def test_schemas(function: Any, schema: dict[str, Any]) -> None:
    made = Signature(function).schema
    made.setdefault("additionalProperties", False)
    assert made == {"additionalProperties": False, **schema}


def test_a_rich_schema() -> None:
    schema = Signature(rich).schema
    assert schema["properties"]["kind"] == {"enum": ["a", "b"]}
    assert schema["properties"]["size"] == {"type": "integer", "minimum": 1, "maximum": 9}
    assert schema["required"] == ["point", "kind", "size"]
    assert "title" not in schema


def test_the_docstring_describes_the_arguments() -> None:
    def documented(city: str, days: int = 1, unit: str = "C") -> None:
        """Tell the weather.

        In as many words as it takes.

        Args:
            city: where
            days (int): how many
        """

    schema = Signature(documented).schema
    assert described(documented) == "Tell the weather.\n\nIn as many words as it takes."
    assert schema["properties"]["city"] == {"type": "string", "description": "where"}
    assert schema["properties"]["days"] == {"type": "integer", "description": "how many", "default": 1}
    assert schema["properties"]["unit"] == {"type": "string", "default": "C"}


def test_sphinx_docstrings_too() -> None:
    def documented(city: str) -> None:
        """Tell the weather.

        :param str city: where
        """

    assert described(documented) == "Tell the weather."
    assert Signature(documented).schema["properties"]["city"]["description"] == "where"


def test_no_docstring_is_no_description() -> None:
    assert described(nothing) == ""


@pytest.mark.parametrize(
    ("function", "given", "bound"),
    [
        (nothing, {}, {}),
        (plain, {"text": "a"}, {"text": "a", "count": 1, "ratio": 0.5, "on": False}),
        (plain, {"on": True, "text": "a", "ratio": 2}, {"text": "a", "count": 1, "ratio": 2.0, "on": True}),
        (with_context, {"name": "a"}, {"ctx": CONTEXT, "name": "a"}),
        (with_context_last, {"name": "a"}, {"context": CONTEXT, "name": "a"}),
        (untyped, {"value": [None]}, {"ctx": CONTEXT, "value": [None]}),
        (
            rich,
            {"point": {"x": 1}, "kind": "b", "size": 9},
            {"point": Point(1), "kind": "b", "size": 9, "tags": None},
        ),
    ],
)
def test_binding(function: Any, given: dict[str, Any], bound: dict[str, Any]) -> None:
    assert Signature(function).bind(given, CONTEXT, "$") == bound


@pytest.mark.requirement("C25-204")
@pytest.mark.parametrize(
    ("function", "given", "complaint"),
    [
        (plain, {}, "$.args: object missing required field text"),
        (plain, {"text": 1}, "$.args.text: expected str, got int"),
        (plain, {"text": "a", "count": "1"}, "$.args.count: expected int, got str"),
        (plain, {"text": "a", "count": True}, "$.args.count: expected int, got bool"),
        (plain, {"text": "a", "count": 1.5}, "$.args.count: expected int, got float"),
        (plain, {"text": None}, "$.args.text: expected str, got null"),
        (plain, {"text": "a", "more": 1}, "$.args: object contains unknown field more"),
        (nothing, {"a": 1}, "$.args: object contains unknown field a"),
        (rich, {"point": {"x": "1"}, "kind": "a", "size": 1}, "$.args.point.x: expected int, got str"),
        (rich, {"point": {"x": 1}, "kind": "c", "size": 1}, "$.args.kind: invalid enum value 'c'"),
        (rich, {"point": {"x": 1}, "kind": "a", "size": 10}, "$.args.size: expected int <= 9"),
        (
            rich,
            {"point": {"x": 1}, "kind": "a", "size": 1, "tags": ["x", 2]},
            "$.args.tags[1]: expected str, got int",
        ),
    ],
)
def test_wrong_arguments_have_a_path(function: Any, given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidShape) as caught:
        Signature(function).bind(given, CONTEXT, "$.args")
    assert str(caught.value) == complaint


def test_a_mutable_default_is_not_shared() -> None:
    signature = Signature(mutable)
    first = signature.bind({}, CONTEXT, "$")
    assert mutable(**first) == 3
    assert signature.bind({}, CONTEXT, "$") == {"items": [1, 2], "table": {}}


def _variadic(*values: int) -> None: ...


def _keywords(**values: int) -> None: ...


def _positional(value: int, /) -> None: ...


def _unresolved(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def _no_json(value: threading.Thread) -> None: ...


@pytest.mark.parametrize("function", [_variadic, _keywords, _positional, _unresolved, _no_json])
def test_functions_that_cannot_be_handlers(function: Any) -> None:
    with pytest.raises(LocalProtocolError):
        Signature(function)


async def _coroutine(value: int) -> int:
    return value


class _Callable:
    async def __call__(self, value: int) -> int:
        return value


@pytest.mark.parametrize(
    "function", [_coroutine, functools.partial(_coroutine), _Callable()], ids=["function", "partial", "callable"]
)
async def test_a_coroutine_function_runs_as_it_is(function: Any) -> None:
    assert awaitable(function) is function
    assert await function(3) == 3


async def test_any_other_function_runs_in_a_thread() -> None:
    ran_in = []

    def slow(value: int, *, more: int) -> int:
        """Slowly."""
        ran_in.append(threading.get_ident())
        return value + more

    assert await awaitable(slow)(1, more=2) == 3
    assert ran_in != [threading.get_ident()]
    assert awaitable(slow).__doc__ == "Slowly."


async def test_a_thread_is_abandoned_when_its_caller_is_cancelled() -> None:
    go_on, running, ended = threading.Event(), trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def stuck() -> None:
        token.run_sync_soon(running.set)
        go_on.wait()
        ended.set()

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(awaitable(stuck))
            await running.wait()
            scope.cancel()
    assert scope.cancelled_caught
    assert not ended.is_set()
    go_on.set()
    await trio.to_thread.run_sync(ended.wait)


def test_to_json() -> None:
    assert to_json({"points": [Point(1, 2)], 3: b"\0"}) == {"points": [{"x": 1, "y": 2}], "3": "AA=="}
    with pytest.raises(TypeError):
        to_json(object())
