"""The strict codec of the wire shapes: JSON values to attrs shapes (`lift`) and back (`lower`), by way of cattrs.

What cattrs does by default is too kind for a protocol (it makes "5" of 5, "None" of None, 1 of True), so every hook
here is our own and strict; cattrs generates the functions that walk a shape. Names are camelCased by rule (``meta`` is
``_meta``); what differs by revision (a name, a narrower type, a field that is not there) is handed to the constructor.
Unions are settled by their tag, by the member that only one side has, or by JSON type; never by trying one after the
other. Functions are made when a shape is first met.

Lifting is on the hot path, so it is done twice if need be: first by the generated functions, which know nothing of
where they are, and only on failure again by a slow walk that finds the path. This module may not know methods,
revisions, messages or bytes.

Spec: the conventions of basic/index, and schema.ts of any revision.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, overload

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn_from_attrs, make_dict_unstructure_fn_from_attrs, override

from .._unset import JSON, UNSET, Unset
from ..errors import InvalidShape
from ..wire.content import CONTENT_SHAPES
from ._leaves import (
    SCALARS,
    Fault,
    Hook,
    anything,
    boolean,
    enum_hook,
    expected,
    integer,
    literal_hook,
    null,
    number,
    object_,
    one_of,
    scalar_union_hook,
    string,
)
from ._plans import Member, Plans, forgive, is_union, union_of, without_unset

__all__ = ["ShapeCodec"]

T = TypeVar("T")
Lower = Callable[[Any], Any]


class ShapeCodec:
    """Lifts and lowers shapes, in the spelling of one revision.

    `renames` maps a shape's fields to wire names that the rule does not give, `omit` names fields that do not exist
    here (neither read nor written), `narrow` gives fields another type than their class does; a narrowed type without
    `Unset` makes the member required when lifting. A codec holds no state but its caches and may be shared freely.
    """

    def __init__(
        self,
        *,
        renames: Mapping[type, Mapping[str, str]] | None = None,
        omit: Mapping[type, Collection[str]] | None = None,
        narrow: Mapping[type, Mapping[str, Any]] | None = None,
    ) -> None:
        plans = Plans(renames or {}, omit or {}, narrow or {})
        self._plans = plans
        converter = Converter(detailed_validation=False, prefer_attrib_converters=False)
        self._lifter = _Lifter(plans, converter)
        self._lowerer = _Lowerer(plans, converter)
        self._tracer: _Tracer | None = None
        self._lifts: dict[Any, Hook] = {}
        self._lowers = self._lowerer.table

    @overload
    def lift(self, value: JSON, shape: type[T], path: str = "$") -> T: ...
    @overload
    def lift(self, value: JSON, shape: Any, path: str = "$") -> Any: ...
    def lift(self, value: JSON, shape: Any, path: str = "$") -> Any:
        """Make a shape of a JSON value; the shape may be a union such as ``ElicitParams``, or a list of shapes.

        Objects that are plain JSON (arguments, schemas, ``_meta``) are shared with `value`, not copied. Raises
        `InvalidShape`, whose path starts with `path`, and nothing else.
        """
        hook = self._lifts.get(shape)
        if hook is None:
            hook = self._lifts[shape] = self._lifter.hook(shape)
        try:
            return hook(value, shape)
        except Exception as exc:
            self._explain(value, shape, path, exc)

    def lower(self, value: object) -> JSON:
        """Make a JSON value of a shape, or of a list of shapes; what is JSON already is handed back as it is.

        A field that is `UNSET` is not written, a required null is. Plain JSON in the shape is shared, not copied.
        Raises TypeError for an object that is neither a shape nor JSON.
        """
        return self._lowers[value.__class__](value)

    def _explain(self, value: JSON, shape: Any, path: str, cause: Exception) -> NoReturn:
        if self._tracer is None:
            self._tracer = _Tracer(self._plans, Converter(detailed_validation=False))
        try:
            self._tracer.hook(shape)(value, shape)
        except Fault as fault:
            raise InvalidShape(path + fault.where(), fault.reason) from None
        raise cause  # the two walks disagree: our own mistake, which tests/unit/codec/test_shapes.py would show


# -- lifting


def _has_origin(origin: Any) -> Callable[[Any], bool]:
    return lambda type_: get_origin(type_) is origin


class _Bodies(dict[type, Hook]):
    """Functions for the inside of a shape, its tag aside; made when first asked for."""

    def __init__(self, make: Callable[[type], Hook]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, cls: type) -> Hook:
        body = self[cls] = self._make(cls)
        return body


class _Lifter:
    """The hooks of a converter that lifts, as fast as can be, and says little of what went wrong."""

    def __init__(self, plans: Plans, converter: Converter) -> None:
        self._plans = plans
        self._converter = converter
        self._bodies = _Bodies(self._body)
        for type_, leaf in ((str, string), (bool, boolean), (int, integer), (float, number)):
            converter.register_structure_hook(type_, leaf)
        for predicate, factory in (
            (attrs.has, self._shape_hook),
            (is_union, self._union_hook),
            (_has_origin(Literal), literal_hook),
            (_has_origin(list), self._list_hook),
            (_has_origin(dict), self._dict_hook),
            (lambda t: t is Any, lambda _: anything),
        ):
            converter.register_structure_hook_factory(predicate, factory)

    def hook(self, type_: Any) -> Hook:
        """The function for a value that has to be of this type."""
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return enum_hook(type_)  # not by cattrs, which sees the str in it first
        return self._converter.get_structure_hook(type_)

    # What follows is overridden by the tracer.

    def _body(self, cls: type) -> Hook:
        plan = self._plans[cls]
        fields: list[Any] = []
        overrides: dict[str, Any] = {}
        for member in plan.members:
            attribute = member.attribute
            default = attrs.NOTHING if member.required else UNSET
            fields.append(attribute.evolve(type=member.type, default=default, kw_only=True))
            overrides[attribute.name] = override(rename=member.wire, struct_hook=self._member_hook(member))
        inner: Hook = make_dict_structure_fn_from_attrs(
            fields,
            cls,
            self._converter,
            _cattrs_forbid_extra_keys=False,
            _cattrs_use_linecache=False,
            _cattrs_detailed_validation=False,
            **overrides,
        )
        names = plan.names
        all_known = names.issuperset

        def lift_closed(value: Any, _: Any) -> Any:
            if isinstance(value, dict):
                return inner(value, cls)
            raise expected("object", value)

        def lift_open(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise expected("object", value)
            shape: Any = inner(value, cls)
            if not all_known(value):
                extra = shape.extra
                for name in value:
                    if name not in names:
                        extra[name] = value[name]
            return shape

        def lift_forgiving(value: Any, _: Any) -> Any:
            return lift_open(forgive(value, plan) if isinstance(value, dict) else value, cls)

        if plan.forgiven:
            return lift_forgiving
        return lift_open if plan.open else lift_closed

    def _list_hook(self, type_: Any) -> Hook:
        (item,) = get_args(type_)
        hook = self._late(item)

        def lift_list(value: Any, _: Any) -> Any:
            if isinstance(value, list):
                return [hook(one, item) for one in value]
            raise expected("array", value)

        return lift_list

    def _dict_hook(self, type_: Any) -> Hook:
        item = get_args(type_)[1]
        if item is Any:
            return object_
        hook = self._late(item)

        def lift_dict(value: Any, _: Any) -> Any:
            if isinstance(value, dict):
                return {key: hook(one, item) for key, one in value.items()}
            raise expected("object", value)

        return lift_dict

    # From here on, both walks are the same.

    def _member_hook(self, member: Member) -> Hook:
        return self.hook(member.type) if member.required else self._late(member.type)

    def _late(self, type_: Any) -> Hook:
        """A hook that makes the function of a shape only when there is a value for it."""
        if not attrs.has(type_) or self._plans[type_].constants:
            return self.hook(type_)
        bodies = self._bodies
        return lambda value, _: bodies[type_](value, type_)

    def _shape_hook(self, cls: Any) -> Hook:
        body = self._bodies[cls]
        constants = self._plans[cls].constants
        if not constants:
            return body

        def lift_tagged(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise expected("object", value)
            for name, constant in constants.items():
                if name not in value:
                    raise Fault("required", name)
                if value[name] != constant:
                    raise Fault(f"expected {constant!r}", name)
            return body(value, cls)

        return lift_tagged

    def _union_hook(self, type_: Any) -> Hook:
        options = get_args(without_unset(type_)[0]) or (without_unset(type_)[0],)
        if len(options) == 1:
            return self.hook(options[0])
        if Any in options:
            return anything
        if all(option in SCALARS for option in options):
            return scalar_union_hook(options)
        for option in options:
            # "One or an array of them", or null: settled by the JSON type.
            if get_origin(option) is list or option is type(None):
                apart = list if get_origin(option) is list else type(None)
                return self._apart_hook(apart, option, union_of([o for o in options if o is not option]))
        if all(attrs.has(option) for option in options):
            if any(self._plans[option].constants for option in options):
                return self._tagged_hook(options)
            return self._telltale_hook(options)
        raise TypeError(f"no rule settles {type_}")

    def _apart_hook(self, apart: type, option: Any, rest: Any) -> Hook:
        one = null if option is type(None) else self.hook(option)
        other = self.hook(rest)

        def lift_apart(value: Any, _: Any) -> Any:
            return one(value, option) if isinstance(value, apart) else other(value, rest)

        return lift_apart

    def _tagged_hook(self, options: Collection[type]) -> Hook:
        """Shapes told apart by a member of constant value.

        One shape may have that member as an optional field instead; then it is meant where the member is missing.
        """
        (tag_name,) = {name for option in options for name in self._plans[option].constants}
        shapes: dict[str, type] = {}
        fallback: type | None = None
        for option in options:
            plan = self._plans[option]
            if plan.constants:
                shapes[plan.constants[tag_name]] = option
            else:
                fallback = option
                for member in plan.members:
                    if member.wire == tag_name:
                        shapes.update(dict.fromkeys(get_args(member.type), option))
        unknown = "unknown content type {!r}" if CONTENT_SHAPES.issuperset(options) else one_of(sorted(shapes))
        met: dict[str, Hook] = {}
        bodies = self._bodies

        def lift_tagged(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise expected("object", value)
            tag = value.get(tag_name)
            hook = met.get(tag) if isinstance(tag, str) else None
            return hook(value, None) if hook is not None else meet(value)

        def meet(value: dict[str, Any]) -> Any:
            if tag_name in value:
                tag = value[tag_name]
                if not isinstance(tag, str):
                    raise expected("string", tag, tag_name)
                shape = shapes.get(tag)
                if shape is None:
                    raise Fault(unknown.format(tag), tag_name)
                met[tag] = bodies[shape]
            elif fallback is None:
                raise Fault("required", tag_name)
            else:
                shape = fallback
            return bodies[shape](value, shape)

        return lift_tagged

    def _telltale_hook(self, options: Collection[type]) -> Hook:
        """Shapes without a tag, told apart by a required member that no other of them has; the first one found wins."""
        telltales: dict[str, type] = {}
        for option in options:
            others = {name for other in options if other is not option for name in self._plans[other].names}
            for member in self._plans[option].members:
                if member.required and member.wire not in others:
                    telltales[member.wire] = option
        reason = "required: " + " or ".join(map(repr, telltales))
        bodies = self._bodies

        def lift_untagged(value: Any, _: Any) -> Any:
            if not isinstance(value, dict):
                raise expected("object", value)
            for name, shape in telltales.items():
                if name in value:
                    return bodies[shape](value, shape)
            raise Fault(reason)

        return lift_untagged


class _Tracer(_Lifter):
    """The same hooks on a converter that lifts nothing: it goes the same way, slowly, and notes where it stumbles."""

    def _body(self, cls: type) -> Hook:
        plan = self._plans[cls]
        hooks = [(member.wire, self._member_hook(member), member.required) for member in plan.members]

        def trace_shape(value: Any, _: Any) -> None:
            if not isinstance(value, dict):
                raise expected("object", value)
            if plan.forgiven:
                value = forgive(value, plan)
            for wire, hook, required in hooks:
                if wire in value:
                    _trace(hook, value[wire], wire)
                elif required:
                    raise Fault("required", wire)

        return trace_shape

    def _list_hook(self, type_: Any) -> Hook:
        (item,) = get_args(type_)
        hook = self._late(item)

        def trace_list(value: Any, _: Any) -> None:
            if not isinstance(value, list):
                raise expected("array", value)
            for index, one in enumerate(value):
                _trace(hook, one, index)

        return trace_list

    def _dict_hook(self, type_: Any) -> Hook:
        hook = self._late(get_args(type_)[1])

        def trace_dict(value: Any, _: Any) -> None:
            if not isinstance(value, dict):
                raise expected("object", value)
            for key, one in value.items():
                _trace(hook, one, key)

        return trace_dict


def _trace(hook: Hook, value: Any, key: str | int) -> None:
    try:
        hook(value, None)
    except Fault as fault:
        fault.trail.append(key)
        raise


# -- lowering


def _as_it_is(value: Any) -> Any:
    return value


def _enum_value(value: enum.Enum) -> Any:
    return value.value


class _LowerTable(dict[type, Lower]):
    """How to lower a value, by its class; made when first asked for."""

    def __init__(self, make: Callable[[type], Lower]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, cls: type) -> Lower:
        lower = self[cls] = self._make(cls)
        return lower


class _Lowerer:
    """The hooks of a converter that lowers: by the class of a value where it may be a shape, else as it is."""

    def __init__(self, plans: Plans, converter: Converter) -> None:
        self._plans = plans
        self._converter = converter
        self.table = _LowerTable(self._make)

    def _make(self, cls: type) -> Lower:
        table = self.table
        if attrs.has(cls):
            return self._shape(cls)
        if issubclass(cls, (list, tuple)):
            return lambda value: [table[one.__class__](one) for one in value]
        if issubclass(cls, enum.Enum) and cls is not Unset:
            return _enum_value
        if issubclass(cls, (str, int, float, dict, type(None))):
            return _as_it_is
        raise TypeError(f"{cls.__name__} is neither a shape nor JSON")

    def _shape(self, cls: type) -> Lower:
        plan = self._plans[cls]
        first = plan.members[0].attribute if plan.members else attrs.fields(cls)[0]
        # A constant is a class attribute, which generated code reads like any field.
        fields: list[Any] = [
            first.evolve(name=name, alias=name, default=attrs.NOTHING, type=str) for name in plan.constants
        ]
        overrides: dict[str, Any] = {}
        for member in plan.members:
            fields.append(member.attribute.evolve(type=member.type))
            overrides[member.attribute.name] = override(
                rename=member.wire, omit_if_default=True, unstruct_hook=self._member(member.type)
            )
        inner: Lower = make_dict_unstructure_fn_from_attrs(
            fields, cls, self._converter, _cattrs_use_linecache=False, **overrides
        )
        if not plan.open:
            return inner

        def lower_open(shape: Any) -> Any:
            value = inner(shape)
            if shape.extra:
                for name, member in shape.extra.items():
                    value.setdefault(name, member)
            return value

        return lower_open

    def _member(self, type_: Any) -> Lower:
        table = self.table
        if isinstance(type_, type) and issubclass(type_, enum.Enum):
            return _enum_value
        if attrs.has(type_):
            return lambda value: table[value.__class__](value)
        options = get_args(type_) if is_union(type_) else ()
        if any(attrs.has(option) or get_origin(option) is list for option in options):
            return lambda value: table[value.__class__](value)
        if any(get_origin(option) is dict and attrs.has(get_args(option)[1]) for option in (type_, *options)):
            return lambda value: {key: table[one.__class__](one) for key, one in value.items()}
        if get_origin(type_) is list and self._member(get_args(type_)[0]) is not _as_it_is:
            return lambda value: [table[one.__class__](one) for one in value]
        return _as_it_is
