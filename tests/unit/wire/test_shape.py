"""What every wire shape does by itself: comparison, repr, bytes; and what the package exports."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from mcp_tasks._shape import Shape
from mcp_tasks._unset import UNSET
from mcp_tasks.wire import capabilities, client_features, content, server_features, tasks, utilities, v2025_11_25
from mcp_tasks.wire.content import AudioContent, BlobResourceContents, ImageContent, TextContent

MODULES = [content, capabilities, utilities, server_features, client_features, tasks, v2025_11_25]
# attrs makes a second class for the slots; the first one lingers until it is collected.
SHAPES = sorted(
    (
        cls
        for cls in Shape.__subclasses__()
        if attrs.has(cls)
        and cls.__module__.startswith("mcp_tasks.wire.")
        and cls.__module__ != "mcp_tasks.wire.jsonrpc"
    ),
    key=lambda cls: cls.__name__,
)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_names_exist(module: object) -> None:
    for name in module.__all__:  # type: ignore[attr-defined]
        assert hasattr(module, name)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_shape_is_frozen_has_slots_and_says_what_it_is(shape: type) -> None:
    fields = attrs.fields(shape)
    assert "__dict__" not in dir(shape)
    assert shape.__doc__
    assert not {"__eq__", "__repr__", "__hash__"} & vars(shape).keys(), "write @frozen(eq=False, repr=False)"
    for field in fields:
        assert field.default in (attrs.NOTHING, UNSET) or field.name == "extra"


def test_comparison() -> None:
    assert TextContent("a") == TextContent("a")
    assert TextContent("a") != TextContent("b")
    assert TextContent("a") != TextContent("a", extra={"x": 1})
    assert TextContent("a") != "a"
    assert server_features.SubscribeParams("u") != server_features.ReadResourceParams("u")


def test_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(TextContent("a"))


def test_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        TextContent("a").text = "b"  # type: ignore[misc]


def test_repr_leaves_out_what_is_not_there() -> None:
    assert repr(TextContent("a")) == "TextContent(text='a')"
    assert repr(TextContent("a", meta={}, extra={"x": 1})) == "TextContent(text='a', meta={}, extra={'x': 1})"


def test_copies() -> None:
    value = TextContent("a", extra={"x": 1})
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == attrs.evolve(value, text="a") == value


def test_match() -> None:
    match TextContent("a"):
        case TextContent(text, annotations):
            assert (text, annotations) == ("a", UNSET)


@pytest.mark.parametrize(
    "value",
    [
        ImageContent.from_bytes(b"\0\xff", "image/png"),
        AudioContent.from_bytes(b"\0\xff", "audio/wav"),
        BlobResourceContents.from_bytes("file:///x", b"\0\xff", "image/png"),
    ],
)
def test_bytes(value: ImageContent | AudioContent | BlobResourceContents) -> None:
    assert value.to_bytes() == b"\0\xff"
    assert (value.blob if isinstance(value, BlobResourceContents) else value.data) == "AP8="


def test_bytes_that_are_not_base64() -> None:
    with pytest.raises(ValueError, match=r".+"):
        ImageContent("!!!!", "image/png").to_bytes()


def test_types_are_known_without_an_instance() -> None:
    assert TextContent.type == "text"
    assert TextContent("a").type == "text"
    assert {shape.type for shape in content.CONTENT_SHAPES} == {  # type: ignore[attr-defined]
        "text",
        "image",
        "audio",
        "resource_link",
        "resource",
        "tool_use",
        "tool_result",
    }
