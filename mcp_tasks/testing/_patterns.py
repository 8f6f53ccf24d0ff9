"""What a script expects, compared with what came: a pattern of JSON, and the differences by path."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from .._unset import JSON, JSONObject

__all__ = ["NothingCame", "differences"]


def differences(pattern: JSON, value: JSON, path: str = "$") -> list[str]:
    """How `value` is not what `pattern` says, each with its path; empty if it is.

    Of an object only the members in the pattern count. A type stands for any value of it (True is no int), a function
    for whatever it is true of, and ``...`` for anything that is there.
    """
    if pattern is ...:
        return []
    if isinstance(pattern, type):
        fits = isinstance(value, pattern) and not (isinstance(value, bool) and pattern in (int, float))
        return [] if fits else [f"{path}: expected {pattern.__name__}, came {_show(value)}"]
    if callable(pattern):
        return [] if pattern(value) else [f"{path}: {_name(pattern)} does not hold of {_show(value)}"]
    if isinstance(pattern, dict) and isinstance(value, dict):
        found: list[str] = []
        for name, part in pattern.items():
            if name in value:
                found += differences(part, value[name], f"{path}.{name}")
            else:
                found.append(f"{path}.{name}: expected {_show(part)}, is not there")
        return found
    if isinstance(pattern, list) and isinstance(value, list):
        if len(pattern) != len(value):
            return [f"{path}: expected {len(pattern)} items, came {len(value)}"]
        pairs = enumerate(zip(pattern, value, strict=True))
        return [difference for number, (a, b) in pairs for difference in differences(a, b, f"{path}[{number}]")]
    if pattern == value and isinstance(pattern, bool) == isinstance(value, bool):
        return []
    return [f"{path}: expected {_show(pattern)}, came {_show(value)}"]


class NothingCame(AssertionError):
    """What was expected did not come. Says how each message that came instead differs from it."""

    def __init__(self, what: str, pattern: JSONObject | None, instead: Sequence[JSONObject]) -> None:
        lines = [f"waited for {what}, in vain" + ("; nothing else came" if not instead else "; instead came:")]
        for message in instead:
            lines.append(f"  {_show(message)}")
            if pattern is not None and message.get("method") == pattern.get("method"):
                lines += [f"    {difference}" for difference in differences(pattern, message)]
        super().__init__("\n".join(lines))
        self.instead = list(instead)


def _show(value: JSON) -> str:
    if isinstance(value, type):
        return value.__name__
    if value is ...:
        return "anything"
    if callable(value):
        return _name(value)
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 200 else text[:197] + "..."


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", repr(function))
