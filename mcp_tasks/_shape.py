"""What classes of plain data inherit: comparison, and a repr that leaves out what is not there.

attrs would compile both for each class; with more than a hundred classes that is a good part of this package's import
time, so they are written once. The classes use ``@frozen(eq=False, repr=False)`` for that reason. This module may not
know any of them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ._unset import UNSET

__all__ = ["Shape"]


class Shape:
    """The base of plain data: compares by class and fields, and has no hash, since it may hold JSON."""

    __slots__ = ()

    __attrs_attrs__: ClassVar[Any]

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, a.name) == getattr(other, a.name) for a in self.__attrs_attrs__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ((a.name, getattr(self, a.name)) for a in self.__attrs_attrs__)
        given = (f"{name}={value!r}" for name, value in fields if value is not UNSET and (name != "extra" or value))
        return f"{self.__class__.__name__}({', '.join(given)})"
