"""Plain functions as handlers: what they take, what they give, and running them.

A coroutine function runs as it is; any other runs in a worker thread, which is abandoned when the request is
cancelled. A parameter annotated with `Context` gets the context. Arguments are checked and converted by msgspec against
the annotations, so that a wrong one is an error with a path before the function is called.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio

from .._unset import JSON, JSONObject
from ..errors import InvalidShape, LocalProtocolError
from .contexts import Context
from .schemas import type_schema

__all__ = ["Signature", "awaitable", "described"]


def awaitable(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """`function` as something to await: itself, or a thread that runs it."""
    target = function.func if isinstance(function, functools.partial) else function
    if inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None)):  # noqa: B004
        return function

    @functools.wraps(function)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        return await trio.to_thread.run_sync(functools.partial(function, *args, **kwargs), abandon_on_cancel=True)

    return in_thread


def described(function: Callable[..., Any]) -> str:
    """The description of a function: its docstring without the part that lists its arguments."""
    text = inspect.getdoc(function) or ""
    return re.split(r"\n\s*(?:Args|Arguments|Parameters|Returns|Raises|Yields):?\s*\n|\n\s*:param ", text)[0].strip()


class Signature:
    """What a function takes, as a schema and as a check; and what it gives."""

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__name__", repr(function))
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise LocalProtocolError(f"{name}: an annotation cannot be resolved: {error}") from None
        self.returns: Any = hints.pop("return", Any)
        self.context: str | None = None
        self.names: list[str] = []
        fields: list[Any] = []
        documented = _argument_docs(inspect.getdoc(function) or "")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise LocalProtocolError(f"{name}: arguments come by name, {parameter} does not")
            kind = hints.get(parameter.name, Any)
            if kind is Context or (kind is Any and parameter.name == "ctx"):
                self.context = parameter.name
                continue
            if text := documented.get(parameter.name):
                kind = typing.Annotated[kind, msgspec.Meta(description=text)]
            self.names.append(parameter.name)
            field = (parameter.name, kind)
            fields.append(field if parameter.default is parameter.empty else (*field, _default(parameter.default)))
        fields.sort(key=len)  # those without a default first, as a class wants them
        try:
            self._arguments = msgspec.defstruct(f"{name}_arguments", fields, forbid_unknown_fields=True, kw_only=True)
        except (TypeError, ValueError) as error:
            raise LocalProtocolError(f"{name}: {error}") from None
        self.schema: JSONObject = type_schema(self._arguments)
        self.schema.pop("title", None)

    def bind(self, arguments: JSONObject, context: Context, path: str) -> dict[str, Any]:
        """The keyword arguments to call the function with. Raises `InvalidShape`."""
        try:
            checked = msgspec.convert(arguments, self._arguments)
        except msgspec.ValidationError as error:
            raise _with_path(error, path) from None
        bound = {name: getattr(checked, name) for name in self.names}
        if self.context is not None:
            bound[self.context] = context
        return bound


def _default(value: Any) -> Any:
    # msgspec wants a factory for what could be shared by mistake.
    if isinstance(value, (list, dict, set)) and value:
        return msgspec.field(default_factory=lambda: type(value)(value))
    return value


def _with_path(error: msgspec.ValidationError, path: str) -> InvalidShape:
    reason, _, where = str(error).partition(" - at `$")
    reason = reason.replace("`", "")
    return InvalidShape(path + where.rstrip("`"), reason[:1].lower() + reason[1:])


def _argument_docs(text: str) -> dict[str, str]:
    found = dict(re.findall(r"^\s*:param (?:[\w\[\], |.]+ )?(\w+):\s*(.+)$", text, re.MULTILINE))
    section = re.search(r"^(?:Args|Arguments):\s*\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
    if section:
        for name, said in re.findall(r"^[ \t]+(\w+)(?: \([^)]*\))?:\s*(.+)$", section[1], re.MULTILINE):
            found.setdefault(name, said.strip())
    return found


def to_json(value: Any) -> JSON:
    """A value of any type that msgspec knows, as JSON. Raises TypeError."""
    return msgspec.to_builtins(value, str_keys=True)
