"""The strict codec: round trips, strictness, paths, and what survives."""

from __future__ import annotations

import enum
import functools
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_tasks._shape import Shape
from mcp_tasks._unset import JSON, UNSET, JSONObject, Unset
from mcp_tasks.codec._leaves import enum_hook
from mcp_tasks.codec._plans import is_union, union_of, without_unset
from mcp_tasks.codec.shapes import ShapeCodec
from mcp_tasks.errors import InvalidShape
from mcp_tasks.wire import v2025_11_25 as v
from mcp_tasks.wire.capabilities import (
    CAPABILITY_SHAPES,
    ClientCapabilities,
    InitializeParams,
    InitializeResult,
    ServerCapabilities,
)
from mcp_tasks.wire.client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitationCompleteParams,
    ElicitFormParams,
    ElicitParams,
    ElicitResult,
    ElicitUrlParams,
    ListRootsResult,
    SamplingMessage,
)
from mcp_tasks.wire.content import (
    CONTENT_SHAPES,
    Annotations,
    BlobResourceContents,
    ContentBlock,
    EmbeddedResource,
    ResourceContents,
    ResourceLink,
    SamplingContent,
    TextContent,
    TextResourceContents,
    ToolResultContent,
    ToolUseContent,
)
from mcp_tasks.wire.server_features import (
    CallToolParams,
    CallToolResult,
    CompleteParams,
    CompleteResult,
    CompletionReference,
    GetPromptParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PromptReference,
    ReadResourceResult,
    Tool,
)
from mcp_tasks.wire.utilities import (
    CancelledParams,
    EmptyResult,
    LogParams,
    PaginatedParams,
    ProgressParams,
    RequestParams,
    SetLevelParams,
)

CODEC = ShapeCodec(renames=v.RENAMES, narrow=v.NARROWED)
LATER = ShapeCodec(
    renames={v.Task: {"ttl_ms": "ttlMs", "poll_interval_ms": "pollIntervalMs"}},
    omit={ElicitUrlParams: {"elicitation_id"}},
)
# attrs makes a second class for the slots; the first one lingers until it is collected.
SHAPES = sorted(
    (
        cls
        for cls in Shape.__subclasses__()
        if attrs.has(cls)
        and cls.__module__.startswith("mcp_tasks.wire.")
        and cls.__module__ not in ("mcp_tasks.wire.jsonrpc", "mcp_tasks.wire.v2026_07_28")
    ),
    key=lambda cls: cls.__name__,
)

# -- full examples: every member of every shape is in at least one of them

META = {"progressToken": 7, "com.example/x": None}
ANNOTATIONS = {"audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2025-01-12T15:00:58Z"}
ICONS = [{"src": "data:,", "mimeType": "image/png", "sizes": ["48x48", "any"], "theme": "dark"}]
RESOURCE = {
    "uri": "file:///a",
    "name": "a",
    "title": "A",
    "description": "d",
    "mimeType": "text/plain",
    "annotations": ANNOTATIONS,
    "size": 12,
    "icons": ICONS,
    "_meta": META,
}
TEXT = {"type": "text", "text": "hi", "annotations": ANNOTATIONS, "_meta": META}
IMAGE = {"type": "image", "data": "AP8=", "mimeType": "image/png", "annotations": ANNOTATIONS, "_meta": META}
AUDIO = {"type": "audio", "data": "AP8=", "mimeType": "audio/wav", "annotations": ANNOTATIONS, "_meta": META}
LINK = {"type": "resource_link", **RESOURCE}
TEXT_CONTENTS = {"uri": "file:///a", "text": "t", "mimeType": "text/plain", "_meta": META}
BLOB_CONTENTS = {"uri": "file:///b", "blob": "AP8=", "mimeType": "image/png", "_meta": META}
EMBEDDED = {"type": "resource", "resource": TEXT_CONTENTS, "annotations": ANNOTATIONS, "_meta": META}
BLOCKS: list[JSONObject] = [TEXT, IMAGE, AUDIO, LINK, EMBEDDED, {"type": "resource", "resource": BLOB_CONTENTS}]
TOOL_USE = {"type": "tool_use", "id": "1", "name": "n", "input": {"a": [None, 1, 1.5, True]}, "_meta": META}
TOOL_RESULT = {
    "type": "tool_result",
    "toolUseId": "1",
    "content": BLOCKS,
    "structuredContent": {"a": None},
    "isError": False,
    "_meta": META,
}
SAMPLING = [TEXT, IMAGE, AUDIO, TOOL_USE, TOOL_RESULT]
TOOL = {
    "name": "n",
    "inputSchema": {"type": "object"},
    "title": "N",
    "description": "d",
    "outputSchema": {"type": "object", "properties": {}},
    "annotations": {
        "title": "t",
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    },
    "execution": {"taskSupport": "optional"},
    "icons": ICONS,
    "_meta": META,
}
WHO = {"name": "n", "version": "1", "title": "N", "description": "d", "websiteUrl": "https://x", "icons": ICONS}
CLIENT_CAPABILITIES = {
    "experimental": {"x": {"y": 1}},
    "roots": {"listChanged": True},
    "sampling": {"context": {}, "tools": {}},
    "elicitation": {"form": {}, "url": {}},
    "tasks": {
        "list": {},
        "cancel": {},
        "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
    },
    "extensions": {"io.modelcontextprotocol/tasks": {}},
}
SERVER_CAPABILITIES = {
    "experimental": {"x": {}},
    "logging": {},
    "completions": {},
    "prompts": {"listChanged": False},
    "resources": {"subscribe": True, "listChanged": True},
    "tools": {"listChanged": True},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
    "extensions": {},
}
TASK: JSONObject = {
    "taskId": "t",
    "status": "input_required",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:40:00Z",
    "ttl": 60000,
    "pollInterval": 1.5,
    "statusMessage": "m",
}
PAGE = {"nextCursor": "c", "_meta": META}
KEPT = {"ttlMs": 5, "cacheScope": "public"}

EXAMPLES: list[tuple[Any, JSON]] = [
    (InitializeParams, {"protocolVersion": "x", "capabilities": CLIENT_CAPABILITIES, "clientInfo": WHO, "_meta": META}),
    (
        InitializeResult,
        {
            "protocolVersion": "x",
            "capabilities": SERVER_CAPABILITIES,
            "serverInfo": WHO,
            "instructions": "i",
            "_meta": META,
        },
    ),
    (RequestParams, {"_meta": META}),
    (PaginatedParams, {"cursor": "c", "_meta": META}),
    (EmptyResult, {"_meta": META}),
    (EmptyResult, {}),
    (ProgressParams, {"progressToken": "p", "progress": 1, "total": 2.0, "message": "m", "_meta": META}),
    (CancelledParams, {"requestId": 1, "reason": "r", "_meta": META}),
    (SetLevelParams, {"level": "warning", "_meta": META}),
    (LogParams, {"level": "debug", "data": None, "logger": "l", "_meta": META}),
    (ListToolsResult, {"tools": [TOOL], **PAGE, **KEPT}),
    (CallToolParams, {"name": "n", "arguments": {"a": {"b": [1]}}, "_meta": META}),
    (CallToolResult, {"content": BLOCKS, "structuredContent": {"a": 1}, "isError": True, "_meta": META}),
    (ListResourcesResult, {"resources": [RESOURCE], **PAGE, **KEPT}),
    (
        ListResourceTemplatesResult,
        {
            "resourceTemplates": [
                {"uriTemplate": "file:///{a}", **{k: x for k, x in RESOURCE.items() if k not in ("uri", "size")}}
            ],
            **PAGE,
            **KEPT,
        },
    ),
    (v.REQUEST_PARAMS["resources/read"], {"uri": "u", "_meta": META}),
    (v.REQUEST_PARAMS["resources/subscribe"], {"uri": "u", "_meta": META}),
    (v.NOTIFICATION_PARAMS["notifications/resources/updated"], {"uri": "u", "_meta": META}),
    (v.NOTIFICATION_PARAMS["notifications/initialized"], {"_meta": META}),
    (ReadResourceResult, {"contents": [TEXT_CONTENTS, BLOB_CONTENTS], "_meta": META, **KEPT}),
    (
        ListPromptsResult,
        {
            "prompts": [
                {
                    "name": "n",
                    "title": "N",
                    "description": "d",
                    "arguments": [{"name": "a", "title": "A", "description": "d", "required": True}],
                    "icons": ICONS,
                    "_meta": META,
                }
            ],
            **PAGE,
            **KEPT,
        },
    ),
    (GetPromptParams, {"name": "n", "arguments": {"a": "b"}, "_meta": META}),
    (
        GetPromptResult,
        {"messages": [{"role": "user", "content": b} for b in BLOCKS], "description": "d", "_meta": META},
    ),
    (
        CompleteParams,
        {
            "ref": {"type": "ref/prompt", "name": "n", "title": "N"},
            "argument": {"name": "a", "value": "v"},
            "context": {"arguments": {"b": "c"}},
            "_meta": META,
        },
    ),
    (CompleteParams, {"ref": {"type": "ref/resource", "uri": "u"}, "argument": {"name": "a", "value": ""}}),
    (CompleteResult, {"completion": {"values": ["a"], "total": 3, "hasMore": True}, "_meta": META}),
    (
        CreateMessageParams,
        {
            "messages": [
                {"role": "user", "content": SAMPLING, "_meta": META},
                {"role": "assistant", "content": TEXT},
                {"role": "assistant", "content": []},
            ],
            "maxTokens": 100,
            "modelPreferences": {
                "hints": [{"name": "h"}, {}],
                "costPriority": 0,
                "speedPriority": 0.5,
                "intelligencePriority": 1,
            },
            "systemPrompt": "s",
            "includeContext": "thisServer",
            "temperature": 0.1,
            "stopSequences": ["x"],
            "metadata": {"m": 1},
            "tools": [TOOL],
            "toolChoice": {"mode": "required"},
            "_meta": META,
        },
    ),
    (CreateMessageResult, {"role": "assistant", "content": TEXT, "model": "m", "stopReason": "odd", "_meta": META}),
    (CreateMessageResult, {"role": "assistant", "content": [TOOL_USE], "model": "m"}),
    (ElicitParams, {"message": "m", "requestedSchema": {"type": "object", "properties": {}}, "_meta": META}),
    (ElicitParams, {"mode": "form", "message": "m", "requestedSchema": {}}),
    (ElicitParams, {"mode": "url", "message": "m", "url": "https://x", "elicitationId": "e", "_meta": META}),
    (ElicitUrlParams, {"mode": "url", "message": "m", "url": "https://x", "elicitationId": "e"}),
    (ElicitResult, {"action": "accept", "content": {"a": ["b"]}, "_meta": META}),
    (ElicitationCompleteParams, {"elicitationId": "e", "_meta": META}),
    (ListRootsResult, {"roots": [{"uri": "file:///", "name": "r", "_meta": META}], "_meta": META}),
    (v.Task, {**TASK, "_meta": META}),
    (v.Task, {**TASK, "ttl": None}),
    (v.TaskMetadata, {"ttl": 1}),
    (v.RelatedTask, {"taskId": "t"}),
    (v.TaskIdParams, {"taskId": "t", "_meta": META}),
    (v.CreateTaskResult, {"task": TASK, "_meta": META}),
    (v.ListTasksResult, {"tasks": [TASK, {**TASK, "ttl": None}], **PAGE}),
    (v.TaskPayloadResult, {"content": [], "_meta": META}),
]


def _name(value: object) -> str:
    return getattr(value, "__name__", "") if isinstance(value, type) else ""


class TestRoundTrip:
    @pytest.mark.parametrize(("shape", "value"), EXAMPLES, ids=_name)
    def test_example(self, shape: Any, value: JSON) -> None:
        lifted = CODEC.lift(value, shape)
        assert CODEC.lower(lifted) == value
        assert CODEC.lift(CODEC.lower(lifted), shape) == lifted

    def test_the_examples_leave_out_no_shape_and_no_field(self) -> None:
        given_fields: dict[type, set[str]] = {}

        def note(value: object) -> None:
            if isinstance(value, list):
                for one in value:
                    note(one)
            elif isinstance(value, Shape):
                seen = given_fields.setdefault(type(value), set())
                for field in attrs.fields(type(value)):
                    member = getattr(value, field.name)
                    if member is not UNSET:
                        seen.add(field.name)
                    note(member)

        for shape, value in EXAMPLES:
            note(CODEC.lift(value, shape))
        expected = {shape: {field.name for field in attrs.fields(shape)} for shape in SHAPES}
        assert given_fields == expected

    def test_types(self) -> None:
        result = CODEC.lift({"content": BLOCKS}, CallToolResult)
        assert [block.type for block in result.content] == [block["type"] for block in BLOCKS]
        assert isinstance(result.content[3], ResourceLink)
        assert isinstance(result.content[4], EmbeddedResource)
        assert isinstance(result.content[4].resource, TextResourceContents)
        assert isinstance(result.content[4].annotations, Annotations)

    def test_a_tag_is_written_first(self) -> None:
        assert list(CODEC.lower(TextContent("a", meta={}))) == ["type", "text", "_meta"]

    def test_status_becomes_the_enum_and_plain_text_again(self) -> None:
        task = CODEC.lift(TASK, v.Task)
        assert task.status is v.TaskStatus.INPUT_REQUIRED
        assert type(CODEC.lower(task)["status"]) is str

    def test_json_is_shared(self) -> None:
        arguments = {"a": [1]}
        params = CODEC.lift({"name": "n", "arguments": arguments}, CallToolParams)
        assert params.arguments is arguments
        assert CODEC.lower(params)["arguments"] is arguments

    def test_content_is_one_block_or_a_list_as_it_came(self) -> None:
        one = CODEC.lift({"role": "user", "content": {"type": "text", "text": "a"}}, SamplingMessage)
        assert one.content == TextContent("a")
        many = CODEC.lift({"role": "user", "content": [{"type": "text", "text": "a"}]}, SamplingMessage)
        assert many.content == [TextContent("a")]

    def test_lists_and_unions_may_be_asked_for(self) -> None:
        assert CODEC.lift([{"type": "text", "text": "a"}], list[ContentBlock]) == [TextContent("a")]
        assert CODEC.lower([TextContent("a")]) == [{"type": "text", "text": "a"}]
        assert CODEC.lift({"type": "ref/prompt", "name": "n"}, CompletionReference) == PromptReference("n")
        assert CODEC.lift({"uri": "u", "blob": ""}, ResourceContents) == BlobResourceContents("u", "")

    def test_lower_hands_back_json(self) -> None:
        value = {"a": 1}
        assert CODEC.lower(value) is value
        assert CODEC.lower(None) is None
        assert CODEC.lower(CallToolResult((TextContent("a"),))) == {  # type: ignore[arg-type]
            "content": [{"type": "text", "text": "a"}]
        }

    @pytest.mark.parametrize("value", [object(), UNSET, {1}, b"x"])
    def test_lower_refuses_what_is_neither(self, value: object) -> None:
        with pytest.raises(TypeError, match="neither a shape nor JSON"):
            CODEC.lower(value)


class TestUnsetAndNull:
    def test_absent_is_unset_and_not_written(self) -> None:
        params = CODEC.lift({"name": "n"}, CallToolParams)
        assert (params.arguments, params.meta) == (UNSET, UNSET)
        assert CODEC.lower(params) == {"name": "n"}

    def test_required_null_is_written(self) -> None:
        task = CODEC.lift({**TASK, "ttl": None}, v.Task)
        assert task.ttl_ms is None
        assert CODEC.lower(task)["ttl"] is None
        assert CODEC.lower(LogParams("info", None)) == {"level": "info", "data": None}

    def test_required_null_is_required(self) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.ttl: required$"):
            CODEC.lift({k: x for k, x in TASK.items() if k != "ttl"}, v.Task)

    @pytest.mark.parametrize("member", ["arguments", "_meta", "name"])
    def test_null_is_not_absence(self, member: str) -> None:
        with pytest.raises(InvalidShape, match=r"got null$"):
            CODEC.lift({"name": "n", member: None}, CallToolParams)

    def test_false_zero_and_empty_are_written(self) -> None:
        value: JSON = {"content": [], "structuredContent": {}, "isError": False, "_meta": {}}
        assert CODEC.lower(CODEC.lift(value, CallToolResult)) == value


# -- strictness

_LEAVES: dict[str, tuple[Any, dict[str, JSON], str]] = {
    "string": (CallToolParams, {"name": "n"}, "name"),
    "boolean": (CallToolResult, {"content": []}, "isError"),
    "number": (CreateMessageParams, {"messages": [], "maxTokens": 1}, "temperature"),
    "object": (CallToolParams, {"name": "n"}, "arguments"),
    "array": (CallToolResult, {"content": []}, "content"),
    "string or integer": (ProgressParams, {"progressToken": 1, "progress": 1}, "progressToken"),
    "integer or string": (CancelledParams, {}, "requestId"),
    "number or null": (v.Task, TASK, "ttl"),
}
_VALUES: dict[str, list[JSON]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [0, 1, -5],
    "number": [1.0, 0.5],
    "string": ["", "1", "true", "null"],
    "array": [[]],
    "object": [{}],
}
_ALSO = {"number": {"integer"}, "number or null": {"integer", "number", "null"}}


class TestStrictness:
    @pytest.mark.parametrize("kind", _VALUES)
    @pytest.mark.parametrize("expected", _LEAVES)
    def test_table(self, expected: str, kind: str) -> None:
        shape, base, member = _LEAVES[expected]
        accepted = set(expected.split(" or ")) | _ALSO.get(expected, set())
        for value in _VALUES[kind]:
            given_value = {**base, member: value}
            if kind in accepted:
                back = CODEC.lower(CODEC.lift(given_value, shape))[member]
                assert back == value
                assert type(back) is type(value)
            else:
                with pytest.raises(InvalidShape) as caught:
                    CODEC.lift(given_value, shape)
                reason = caught.value.reason
                kinds = {" or ".join(sorted(expected.split(" or "))), expected}
                kinds |= {" or ".join(reversed(expected.split(" or ")))}
                assert caught.value.path == f"$.{member}"
                assert reason in {f"expected {one}, got {kind}" for one in kinds}

    @pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", []])
    @pytest.mark.parametrize("shape", SHAPES, ids=_name)
    def test_a_shape_is_an_object(self, shape: type, value: JSON) -> None:
        with pytest.raises(InvalidShape, match=r"^\$: expected object, got "):
            CODEC.lift(value, shape)

    def test_text_is_no_array(self) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.audience: expected array, got string$"):
            CODEC.lift({"audience": "user"}, Annotations)


_PATHS: list[tuple[Any, JSON, str, str]] = [
    (CallToolParams, {}, "$.params.name", "required"),
    (CallToolParams, {"name": 5}, "$.params.name", "expected string, got integer"),
    (CallToolParams, {"name": "n", "_meta": []}, "$.params._meta", "expected object, got array"),
    (
        CreateMessageParams,
        {
            "maxTokens": 1,
            "messages": [{"role": "user", "content": TEXT}] * 2 + [{"role": "user", "content": {"type": "foo"}}],
        },
        "$.params.messages[2].content.type",
        "unknown content type 'foo'",
    ),
    (
        CreateMessageParams,
        {"maxTokens": 1, "messages": [{"role": "user", "content": [TEXT, LINK]}]},
        "$.params.messages[0].content[1].type",
        "unknown content type 'resource_link'",
    ),
    (
        CreateMessageParams,
        {"maxTokens": 1, "messages": [{"role": "system", "content": TEXT}]},
        "$.params.messages[0].role",
        "expected one of 'user', 'assistant'",
    ),
    (SamplingMessage, {"role": "user", "content": "hi"}, "$.params.content", "expected object, got string"),
    (CallToolResult, {"content": [{}]}, "$.params.content[0].type", "required"),
    (CallToolResult, {"content": [{"type": 1}]}, "$.params.content[0].type", "expected string, got integer"),
    (CallToolResult, {"content": [{"type": []}]}, "$.params.content[0].type", "expected string, got array"),
    (CallToolResult, {"content": [{"type": "text"}]}, "$.params.content[0].text", "required"),
    (CallToolResult, {"content": [TEXT, 5]}, "$.params.content[1]", "expected object, got integer"),
    (
        CallToolResult,
        {"content": [{**TEXT, "annotations": {"audience": ["user", "x"]}}]},
        "$.params.content[0].annotations.audience[1]",
        "expected one of 'user', 'assistant'",
    ),
    (
        CallToolResult,
        {"content": [{"type": "resource", "resource": {"uri": "u"}}]},
        "$.params.content[0].resource",
        "required: 'text' or 'blob'",
    ),
    (
        CallToolResult,
        {"content": [], "structuredContent": []},
        "$.params.structuredContent",
        "expected object, got array",
    ),
    (TextContent, {"type": "image", "text": "t"}, "$.params.type", "expected 'text'"),
    (TextContent, {"text": "t"}, "$.params.type", "required"),
    (GetPromptParams, {"name": "n", "arguments": {"a": 1}}, "$.params.arguments.a", "expected string, got integer"),
    (
        GetPromptParams,
        {"name": "n", "arguments": {"a b": 1}},
        "$.params.arguments['a b']",
        "expected string, got integer",
    ),
    (
        CompleteParams,
        {"ref": {"type": "ref/x"}, "argument": {}},
        "$.params.ref.type",
        "expected one of 'ref/prompt', 'ref/resource'",
    ),
    (
        CompleteParams,
        {"ref": {"type": "ref/resource", "uri": "u"}, "argument": {"name": "n"}},
        "$.params.argument.value",
        "required",
    ),
    (ElicitParams, {"mode": "voice", "message": "m"}, "$.params.mode", "expected one of 'form', 'url'"),
    (ElicitParams, {"mode": None, "message": "m"}, "$.params.mode", "expected string, got null"),
    (ElicitParams, {"message": "m"}, "$.params.requestedSchema", "required"),
    (ElicitParams, {"mode": "url", "message": "m", "url": "u"}, "$.params.elicitationId", "required"),
    (v.CreateTaskResult, {"task": {**TASK, "ttl": "1"}}, "$.params.task.ttl", "expected number or null, got string"),
    (
        v.CreateTaskResult,
        {"task": {**TASK, "status": "done"}},
        "$.params.task.status",
        "expected one of 'working', 'input_required', 'completed', 'failed', 'cancelled'",
    ),
    (v.Task, {**TASK, "status": None}, "$.params.status", "expected string, got null"),
    (
        InitializeParams,
        {"protocolVersion": "x", "clientInfo": WHO, "capabilities": {"tasks": {"requests": {"sampling": []}}}},
        "$.params.capabilities.tasks.requests.sampling",
        "expected object, got array",
    ),
]


class TestPaths:
    @pytest.mark.parametrize(("shape", "value", "path", "reason"), _PATHS, ids=[row[2] for row in _PATHS])
    def test_table(self, shape: Any, value: JSON, path: str, reason: str) -> None:
        with pytest.raises(InvalidShape) as caught:
            CODEC.lift(value, shape, "$.params")
        assert (caught.value.path, caught.value.reason) == (path, reason)

    def test_the_first_of_two_faults_is_told(self) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.name: required$"):
            CODEC.lift({"arguments": 5}, CallToolParams)


class TestUnknownMembers:
    OPEN = frozenset(shape for shape in SHAPES if "extra" in attrs.fields_dict(shape))

    def test_who_keeps_them(self) -> None:
        results = {shape for shape in SHAPES if shape.__name__.endswith("Result")}
        assert (
            results
            | CAPABILITY_SHAPES
            | CONTENT_SHAPES
            | {
                Annotations,
                TextResourceContents,
                BlobResourceContents,
                v.Task,
            }
            == self.OPEN
        )

    @pytest.mark.parametrize(("shape", "value"), EXAMPLES, ids=_name)
    def test_top_level(self, shape: Any, value: dict[str, JSON]) -> None:
        unknown = {**value, "com.example/odd": [None], "even": 5}
        lifted = CODEC.lift(unknown, shape)
        if "extra" in attrs.fields_dict(type(lifted)):
            assert CODEC.lower(lifted) == unknown
            assert set(lifted.extra) >= {"com.example/odd", "even"}
        else:
            assert CODEC.lower(lifted) == value

    def test_nested(self) -> None:
        value: JSON = {
            "content": [{**block, "odd": 1} for block in BLOCKS] + [{**TEXT, "annotations": {"odd": 1}}],
            "resultType": "complete",
        }
        lifted = CODEC.lift(value, CallToolResult)
        assert CODEC.lower(lifted) == value
        assert lifted.extra == {"resultType": "complete"}

    def test_a_tag_is_not_an_unknown_member(self) -> None:
        assert CODEC.lift(TEXT, TextContent).extra == {}

    def test_extra_never_hides_a_field(self) -> None:
        assert CODEC.lower(TextContent("a", extra={"text": "b", "type": "c"})) == {"type": "text", "text": "a"}

    def test_a_task_member_of_params_is_ignored(self) -> None:
        params = CODEC.lift({"name": "n", "task": {"ttl": 5}}, CallToolParams)
        assert CODEC.lower(params) == {"name": "n"}


class TestBooleanCapabilities:
    def test_true_is_an_empty_object_and_false_is_absent(self) -> None:
        value: JSON = {
            "logging": True,
            "completions": False,
            "tools": True,
            "prompts": False,
            "tasks": {"list": True, "cancel": False, "requests": {"tools": {"call": True}}},
            "experimental": {"a": True, "b": False, "c": {"d": True}},
        }
        assert CODEC.lower(CODEC.lift(value, ServerCapabilities)) == {
            "logging": {},
            "tools": {},
            "tasks": {"list": {}, "requests": {"tools": {"call": {}}}},
            "experimental": {"a": {}, "c": {"d": True}},
        }
        assert value["logging"] is True, "the value that was given is not changed"

    def test_sampling_and_elicitation(self) -> None:
        value = {"sampling": {"tools": True}, "elicitation": {"url": False, "form": True}, "roots": True}
        assert CODEC.lower(CODEC.lift(value, ClientCapabilities)) == {
            "sampling": {"tools": {}},
            "elicitation": {"form": {}},
            "roots": {},
        }

    def test_a_boolean_member_stays_one(self) -> None:
        value = {"tools": {"listChanged": False}, "resources": {"subscribe": True}}
        assert CODEC.lower(CODEC.lift(value, ServerCapabilities)) == value

    def test_an_unknown_boolean_stays_one(self) -> None:
        assert CODEC.lower(CODEC.lift({"odd": True}, ServerCapabilities)) == {"odd": True}

    @pytest.mark.parametrize("value", [None, 1, "yes", []])
    def test_nothing_else_is_forgiven(self, value: JSON) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.logging: expected object, got "):
            CODEC.lift({"logging": value}, ServerCapabilities)
        with pytest.raises(InvalidShape, match=r"^\$\.experimental\.x: expected object, got "):
            CODEC.lift({"experimental": {"x": value}}, ServerCapabilities)

    def test_nowhere_else(self) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.arguments: expected object, got boolean$"):
            CODEC.lift({"name": "n", "arguments": True}, CallToolParams)


class TestRevisions:
    def test_renames(self) -> None:
        task = CODEC.lift(TASK, v.Task)
        lowered = LATER.lower(task)
        assert (lowered["ttlMs"], lowered["pollIntervalMs"]) == (60000, 1.5)
        assert "ttl" not in lowered
        assert LATER.lift(lowered, v.Task) == task

    def test_a_name_of_another_revision_is_an_unknown_member(self) -> None:
        with pytest.raises(InvalidShape, match=r"^\$\.ttlMs: required$"):
            LATER.lift(TASK, v.Task)
        assert CODEC.lift({**TASK, "ttlMs": 1}, v.Task).extra == {"ttlMs": 1}

    def test_omit(self) -> None:
        value = {"mode": "url", "message": "m", "url": "u", "elicitationId": "e"}
        params = LATER.lift(value, ElicitUrlParams)
        assert params.elicitation_id is UNSET
        assert LATER.lower(ElicitUrlParams("m", "u", "e")) == {"mode": "url", "message": "m", "url": "u"}

    def test_a_required_field_cannot_be_omitted(self) -> None:
        with pytest.raises(TypeError, match=r"CallToolParams\.name has no default"):
            ShapeCodec(omit={CallToolParams: {"name"}}).lower(CallToolParams("n"))

    def test_omit_of_a_member_that_tells_shapes_apart(self) -> None:
        older = ShapeCodec(omit={ElicitFormParams: {"mode"}})
        assert older.lower(ElicitFormParams("m", {}, "form")) == {"message": "m", "requestedSchema": {}}
        assert older.lift({"message": "m", "requestedSchema": {}}, ElicitParams) == ElicitFormParams("m", {})

    def test_narrow(self) -> None:
        value: JSON = {"content": [], "structuredContent": [1]}
        assert LATER.lift(value, CallToolResult).structured_content == [1]
        assert LATER.lift({"content": [], "structuredContent": None}, CallToolResult).structured_content is None
        with pytest.raises(InvalidShape):
            CODEC.lift(value, CallToolResult)


# -- generated values

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_OBJECTS = st.dictionaries(st.text(max_size=3), _JSON, max_size=2)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(allow_nan=False),
    type(None): st.none(),
    Any: _JSON,
    JSONObject: _OBJECTS,
}


@functools.cache
def shapes_of(type_: Any) -> st.SearchStrategy[Any]:
    """Values for a field, built from nothing but its type."""
    if type_ in _SCALARS:
        return _SCALARS[type_]
    if get_origin(type_) is Literal:
        return st.sampled_from(get_args(type_))
    if get_origin(type_) is list:
        return st.lists(st.deferred(lambda: shapes_of(get_args(type_)[0])), max_size=2)
    if get_origin(type_) is dict:
        return st.dictionaries(st.text(max_size=3), shapes_of(get_args(type_)[1]), max_size=2)
    if is_union(type_):
        return st.one_of([shapes_of(option) for option in get_args(type_)])
    if type_ is Unset:
        return st.just(UNSET)
    if issubclass(type_, enum.Enum):
        return st.sampled_from(type_)
    attrs.resolve_types(type_)
    fields = {}
    for field in attrs.fields(type_):
        narrowed = v.NARROWED.get(type_, {}).get(field.name, field.type)
        if field.name == "extra":
            # Not a name the shape has itself: text of this length is none of them.
            fields["extra"] = st.dictionaries(st.text(max_size=1), _JSON, max_size=1)
        else:
            fields[field.name] = shapes_of(narrowed)
    return st.builds(type_, **fields)


class TestGenerated:
    @pytest.mark.parametrize("shape", SHAPES, ids=_name)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_round_trip(self, shape: type, data: st.DataObject) -> None:
        value = data.draw(shapes_of(shape))
        wire = CODEC.lower(value)
        lifted: Any = CODEC.lift(wire, shape)
        assert lifted == value
        assert CODEC.lower(lifted) == wire

    @pytest.mark.parametrize("shape", [*SHAPES, ElicitParams, ContentBlock, SamplingContent], ids=_name)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_a_broken_value_is_told_with_a_path_or_lifted(self, shape: Any, data: st.DataObject) -> None:
        """Put any JSON in the place of any part of a good value: `InvalidShape` or a shape, and nothing else."""
        wire: JSON = CODEC.lower(data.draw(shapes_of(shape)))
        broken = data.draw(_breakage(wire))
        try:
            lifted: Any = CODEC.lift(broken, shape, "$.here")
        except InvalidShape as fault:
            assert str(fault).startswith("$.here")  # noqa: PT017 -- there need not be one
            return
        assert isinstance(lifted, Shape)


@st.composite
def _breakage(draw: st.DrawFn, value: JSON) -> JSON:
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 4)) == 0:
            return {name: member for name, member in value.items() if name != key}
        return {**value, key: draw(_breakage(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(_breakage(value[index])), *value[index + 1 :]]
    return draw(_JSON)


class TestTools:
    def test_of_the_codec_itself(self) -> None:
        assert without_unset(str | Unset) == (str, True)
        assert without_unset(str) == (str, False)
        assert union_of([str]) is str
        assert enum_hook(v.TaskStatus)("failed", None) is v.TaskStatus.FAILED

    def test_a_union_without_a_rule_is_our_own_mistake(self) -> None:
        with pytest.raises(TypeError, match="no rule settles"):
            CODEC.lift({}, union_of([Tool, dict[str, str]]))

    def test_tool_content(self) -> None:
        assert CODEC.lift(TOOL_USE, SamplingContent) == CODEC.lift(TOOL_USE, ToolUseContent)
        assert CODEC.lift(TOOL_RESULT, SamplingContent) == CODEC.lift(TOOL_RESULT, ToolResultContent)
        assert isinstance(CODEC.lift({"message": "m", "requestedSchema": {}}, ElicitParams), ElicitFormParams)

    @pytest.mark.parametrize(
        ("type_", "good", "bad"),
        [
            (int, [1, -5], [True, 1.0, "1", None]),
            (float, [1, 1.5], [True, "1", None]),
            (str, ["1"], [1, None]),
            (bool, [True], [1, "true", None]),
            (Any, [None, 1, {"a": []}], []),
        ],
    )
    def test_plain_types(self, type_: Any, good: list[JSON], bad: list[JSON]) -> None:
        for value in good:
            assert CODEC.lift(value, type_) == value
        for value in bad:
            with pytest.raises(InvalidShape, match=r"^\$: expected "):
                CODEC.lift(value, type_)

    def test_a_shape_or_null(self) -> None:
        assert CODEC.lift(None, union_of([v.RelatedTask, type(None)])) is None
        assert CODEC.lift({"taskId": "t"}, union_of([v.RelatedTask, type(None)])) == v.RelatedTask("t")
        assert CODEC.lift({"a": 1}, union_of([JSONObject, Unset])) == {"a": 1}
        assert CODEC.lower([v.TaskStatus.FAILED]) == ["failed"]
