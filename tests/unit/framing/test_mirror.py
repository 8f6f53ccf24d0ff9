"""What headers repeat of a body: the marks in a schema, values there and back, and how the two may differ."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mcp_tasks._unset import UNSET, JSONObject
from mcp_tasks.errors import InvalidShape, LocalProtocolError
from mcp_tasks.framing.mirror import (
    NAMED,
    Mirrored,
    decode_value,
    encode_value,
    mirrored_arguments,
    objection,
    request_fields,
)

SAFE = 2**53 - 1
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
REGION = Mirrored("Region", ("region",))
DEEP = Mirrored("Tenant-Id", ("who", "tenant"))


def schema_of(**properties: Any) -> JSONObject:
    return {"type": "object", "properties": properties}


def marked(header: Any = "Region", kind: Any = "string") -> JSONObject:
    return {"type": kind, "x-mcp-header": header}


def call(**arguments: Any) -> JSONObject:
    return {"name": "t", "arguments": arguments}


def sent(method: str, params: Any, mirrored: tuple[Mirrored, ...] = ()) -> dict[bytes, bytes]:
    """The headers of a request as they arrive: names in lower case, as bytes."""
    return {name.lower().encode(): value.encode("ascii") for name, value in request_fields(method, params, mirrored)}


# --- what a tool declares ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("C26-178")
def test_the_marked_arguments_are_found() -> None:
    schema = schema_of(
        who=schema_of(tenant=marked("Tenant-Id"), note={"type": "string"}),
        region=marked(),
        query={"type": "string"},
        count=marked("Count", "integer"),
        force=marked("Method", "boolean"),
    )
    assert mirrored_arguments(schema) == (
        REGION,
        Mirrored("Count", ("count",)),
        Mirrored("Method", ("force",)),
        DEEP,
    )
    assert [argument.name for argument in mirrored_arguments(schema)][:3] == [
        "Mcp-Param-Region",
        "Mcp-Param-Count",
        "Mcp-Param-Method",  # which is not Mcp-Method
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        schema_of(),
        schema_of(region={"type": "string"}, anything=True, nothing=False),
        {"type": "object", "properties": [1, {"a": "b"}]},
        {"properties": None, "items": [True, [{"type": "string"}]], "$ref": "#/properties/a"},
    ],
)
def test_a_schema_may_have_no_marks(schema: JSONObject) -> None:
    assert mirrored_arguments(schema) == ()


# What is called so but marks nothing: it is a name, or data.
NO_MARKS = {
    "a property's name": schema_of(**{"x-mcp-header": {"type": "number"}}),
    "a nested property's name": schema_of(a=schema_of(**{"x-mcp-header": True})),
    "a pattern": {"patternProperties": {"x-mcp-header": {}}},
    "a definition's name": {"$defs": {"x-mcp-header": {}}, "definitions": {"x-mcp-header": {}}},
    "what depends": {"dependentSchemas": {"x-mcp-header": {}}, "dependencies": {"x-mcp-header": ["a"]}},
    "a default": schema_of(a={"type": "object", "default": {"x-mcp-header": "Region"}}),
    "a constant": schema_of(a={"const": {"x-mcp-header": "Region"}}),
    "a choice": schema_of(a={"enum": [{"x-mcp-header": "Region"}]}),
    "an example": schema_of(a={"examples": [{"x-mcp-header": "Region"}]}),
    "a requirement": {"required": ["x-mcp-header"], "dependentRequired": {"a": ["x-mcp-header"]}},
    "a description": schema_of(a={"type": "string", "description": "x-mcp-header"}),
}


@pytest.mark.requirement("C26-185")
@pytest.mark.parametrize("schema", NO_MARKS.values(), ids=NO_MARKS.keys())
def test_not_all_that_is_called_so_is_a_mark(schema: JSONObject) -> None:
    assert mirrored_arguments(schema) == ()


@pytest.mark.requirement("C26-185")
@pytest.mark.parametrize(
    "name", ["default", "enum", "const", "properties", "$defs", "items", "x-mcp-header", "a.b", ""]
)
def test_a_property_may_be_called_like_a_keyword(name: str) -> None:
    assert mirrored_arguments(schema_of(**{name: marked()})) == (Mirrored("Region", (name,)),)


@pytest.mark.requirement("C26-180")
def test_a_header_has_a_name() -> None:
    with pytest.raises(InvalidShape) as caught:
        mirrored_arguments(schema_of(x=marked("")))
    assert caught.value.path == "$.inputSchema.properties.x.x-mcp-header"


@pytest.mark.requirement("C26-181")
@pytest.mark.parametrize(
    "header",
    [
        *("My Region", "Region:Primary", "Région", "Region\t1", "a\r\nb", "a\n", "\n", "a\0", "a\x7f", " a", "a "),
        *'(),/:;<=>?@[\\]{}"',
        *(None, 5, True, ["Region"], {"name": "Region"}, "a" * 9999 + "\n"),
    ],
)
def test_a_header_has_the_name_of_a_header(header: Any) -> None:
    with pytest.raises(InvalidShape) as caught:
        mirrored_arguments(schema_of(x=marked(header)))
    assert caught.value.path == "$.inputSchema.properties.x.x-mcp-header"
    assert len(caught.value.reason) < 200


@pytest.mark.requirement("C26-181")
@pytest.mark.parametrize("header", ["a", "Region", "X-1_y.z", "!#$%&'*+-.^_`|~", "0"])
def test_any_token_is_such_a_name(header: str) -> None:
    assert mirrored_arguments(schema_of(x=marked(header))) == (Mirrored(header, ("x",)),)


@pytest.mark.requirement("C26-182")
@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (schema_of(a=marked(), b=marked()), "properties.b"),
        (schema_of(a=marked("MyField"), b=marked("myfield")), "properties.b"),
        (schema_of(a=schema_of(c=marked("REGION")), b=marked("region")), "properties.a.properties.c"),
        (schema_of(a=schema_of(x=marked()), b=schema_of(x=marked())), "properties.b.properties.x"),
    ],
)
def test_two_arguments_have_two_headers(schema: JSONObject, where: str) -> None:
    with pytest.raises(InvalidShape, match="already") as caught:
        mirrored_arguments(schema)
    assert caught.value.path == f"$.inputSchema.{where}.x-mcp-header"


@pytest.mark.requirement("C26-183")
@pytest.mark.parametrize(
    "kind", ["number", "object", "array", "null", "String", "", None, 1, ["string"], ["string", "null"], {}]
)
def test_only_three_types_go_into_a_header(kind: Any) -> None:
    with pytest.raises(InvalidShape, match="string, integer, boolean") as caught:
        mirrored_arguments(schema_of(x=marked(kind=kind)))
    assert caught.value.path == "$.inputSchema.properties.x.x-mcp-header"


@pytest.mark.requirement("C26-183")
@pytest.mark.parametrize(
    "schema",
    [
        {"x-mcp-header": "Region"},
        {"x-mcp-header": "Region", "enum": ["a", "b"]},
        {"x-mcp-header": "Region", "anyOf": [{"type": "string"}, {"type": "null"}]},
        {"x-mcp-header": "Region", "$ref": "#/$defs/region"},
    ],
)
def test_the_type_has_to_be_said(schema: JSONObject) -> None:
    with pytest.raises(InvalidShape, match="'type' has to say which"):
        mirrored_arguments(schema_of(x=schema))


# Where a mark is that no chain of properties leads to, and the path that we are told.
ELSEWHERE: dict[str, JSONObject] = {
    "": marked(),
    ".items": {"items": marked()},
    ".items[1]": {"items": [{}, marked()]},
    ".prefixItems[0]": {"prefixItems": [marked()]},
    ".additionalItems": {"additionalItems": marked()},
    ".unevaluatedItems": {"unevaluatedItems": marked()},
    ".contains": {"contains": marked()},
    ".allOf[0]": {"allOf": [marked()]},
    ".anyOf[1]": {"anyOf": [{"type": "null"}, marked()]},
    ".oneOf[0].properties.x": {"oneOf": [schema_of(x=marked())]},
    ".not": {"not": marked()},
    ".if.properties.x": {"if": schema_of(x=marked())},
    ".then": {"then": marked()},
    ".else": {"else": marked()},
    ".additionalProperties": {"additionalProperties": marked()},
    ".unevaluatedProperties": {"unevaluatedProperties": marked()},
    ".propertyNames": {"propertyNames": marked()},
    ".patternProperties['^a']": {"patternProperties": {"^a": marked()}},
    ".dependentSchemas.x": {"dependentSchemas": {"x": marked()}},
    ".dependencies.x": {"dependencies": {"x": marked()}},
    "['$defs'].x": {"$defs": {"x": marked()}},
    ".definitions.x": {"definitions": {"x": marked()}},
    "['$defs'].x.properties.y": {"$defs": {"x": schema_of(y=marked())}},
    ".contentSchema": {"contentSchema": marked()},
    ".x-vendor.more": {"x-vendor": {"more": marked()}},
    ".properties[0]": {"properties": [marked()]},
    ".properties.a.items": schema_of(a={"type": "array", "items": marked()}),
    ".properties.a.items.properties.b": schema_of(a={"items": schema_of(b=marked())}),
    ".properties.a.anyOf[0]": schema_of(a={"anyOf": [marked()]}),
    ".properties['a b'].not": schema_of(**{"a b": {"not": marked()}}),
    ".properties.enum.items": schema_of(enum={"items": marked()}),
}


@pytest.mark.requirement("C26-185", "C26-186")
@pytest.mark.parametrize(("where", "schema"), ELSEWHERE.items())
def test_nothing_but_properties_leads_to_a_mark(where: str, schema: JSONObject) -> None:
    schema = {"type": "object", "properties": {"fine": marked("Fine")}, **schema}
    with pytest.raises(InvalidShape, match="only a property") as caught:
        mirrored_arguments(schema)
    assert caught.value.path == f"$.inputSchema{where}.x-mcp-header"


def nested(levels: int, schema: JSONObject) -> JSONObject:
    for _ in range(levels):
        schema = schema_of(a=schema)
    return schema


def test_a_schema_can_be_deep_but_not_bottomless() -> None:
    assert mirrored_arguments(nested(64, marked())) == (Mirrored("Region", ("a",) * 64),)
    with pytest.raises(InvalidShape, match="deeper"):
        mirrored_arguments(nested(65, marked()))
    with pytest.raises(InvalidShape, match="deeper"):
        mirrored_arguments(nested(50_000, {}))


def test_a_schema_can_be_large_but_not_endless() -> None:
    assert mirrored_arguments(schema_of(**{f"p{n}": {} for n in range(50_000)}, region=marked())) == (REGION,)
    with pytest.raises(InvalidShape, match="schemas in one"):
        mirrored_arguments(schema_of(**{f"p{n}": {} for n in range(150_000)}))
    endless: JSONObject = {}
    endless["anyOf"] = [endless, endless]
    with pytest.raises(InvalidShape, match="schemas in one"):
        mirrored_arguments(endless)


header_names = st.sampled_from(["Region", "region", "Count", "Force", "Tenant", "a b", None])
kinds = st.sampled_from(["string", "string", "integer", "boolean", "number"])
schemas = st.recursive(
    st.sampled_from([None, True, 5, {}]) | st.fixed_dictionaries({"type": kinds, "x-mcp-header": header_names}),
    lambda below: (
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from(["a", "items", "x-mcp-header"]), below)})
        | st.dictionaries(st.sampled_from(["default", "default", "$defs", "items", "anyOf", "a"]), below, max_size=1)
        | st.lists(below, max_size=2)
    ),
    max_leaves=8,
)


@unhurried
@given(schema=st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("abc"), schemas)}))
def test_any_json_is_looked_through(schema: JSONObject) -> None:
    try:
        found = mirrored_arguments(schema)
    except InvalidShape:
        return
    assert len({argument.header.lower() for argument in found}) == len(found)
    for argument in found:
        at: Any = schema
        for name in argument.path:
            at = at["properties"][name]
        assert at["x-mcp-header"] == argument.header
        assert at["type"] in ("string", "integer", "boolean")


# --- values in headers ------------------------------------------------------------------------------------------------

ENCODED = [
    ("us-west1", "us-west1"),
    ("us west 1", "us west 1"),
    ("", ""),
    ("Seattle, WA", "Seattle, WA"),
    ("file:///path/to/file%20name.txt", "file:///path/to/file%20name.txt"),
    ("https://example.com/resource?id=123", "https://example.com/resource?id=123"),
    ("~", "~"),
    ("42", "42"),
    ("true", "true"),
    ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
    ("日本語", "=?base64?5pel5pys6Kqe?="),
    (" padded ", "=?base64?IHBhZGRlZCA=?="),
    (" us-west1", "=?base64?IHVzLXdlc3Qx?="),
    ("us-west1 ", "=?base64?dXMtd2VzdDEg?="),
    (" ", "=?base64?IA==?="),
    ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
    ("line1\r\nline2", "=?base64?bGluZTENCmxpbmUy?="),
    ("\tindented", "=?base64?CWluZGVudGVk?="),
    ("a\tb", "=?base64?YQli?="),
    ("\0", "=?base64?AA==?="),
    ("\x7f", "=?base64?fw==?="),
    ("\xa0", "=?base64?wqA=?="),
    ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ("=?base64??=", "=?base64?PT9iYXNlNjQ/Pz0=?="),
    ("=?base64?=", "=?base64?PT9iYXNlNjQ/PQ==?="),  # it starts and it ends so, though the marks share a letter
    ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
    ("SGVsbG8=?=", "SGVsbG8=?="),
    ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
    ("=?utf-8?b?SGVsbG8=?=", "=?utf-8?b?SGVsbG8=?="),
]


@pytest.mark.requirement("C26-177", "C26-190", "C26-191", "C26-192", "C26-193")
@pytest.mark.parametrize(("value", "header"), ENCODED)
def test_a_string_and_its_header(value: str, header: str) -> None:
    assert encode_value(value) == header
    assert decode_value(header) == value


@pytest.mark.requirement("C26-190")
@pytest.mark.parametrize(
    ("value", "header"),
    [(True, "true"), (False, "false"), (0, "0"), (42, "42"), (-7, "-7"), (SAFE, str(SAFE)), (-SAFE, f"-{SAFE}")],
)
def test_other_values_and_their_headers(value: int | bool, header: str) -> None:
    assert encode_value(value) == header


@pytest.mark.requirement("C26-184")
@pytest.mark.parametrize("value", [SAFE + 1, -SAFE - 1, 2**64, -(10**99)])
def test_an_integer_that_is_not_exact_everywhere_has_no_header(value: int) -> None:
    with pytest.raises(LocalProtocolError, match=re.escape("2**53")):
        encode_value(value)
    with pytest.raises(LocalProtocolError, match=r"argument 'who\.count'"):
        request_fields("tools/call", call(who={"count": value}), (Mirrored("Count", ("who", "count")),))


def test_half_a_surrogate_pair_has_no_header() -> None:
    with pytest.raises(LocalProtocolError, match="surrogate"):
        encode_value("\ud800")


@pytest.mark.requirement("C26-194")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("=?base64?SGVsbG8=?=", "Hello"),
        ("=?base64?dXMtd2VzdDE=?=", "us-west1"),  # need not, but may
        ("=?base64??=", ""),
        ("SGVsbG8=", "SGVsbG8="),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ("=?base64?=", "=?base64?="),
        ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?="),
        ("=?Base64?SGVsbG8=?=", "=?Base64?SGVsbG8=?="),
        ("x=?base64?SGVsbG8=?=", "x=?base64?SGVsbG8=?="),
    ],
)
def test_what_a_header_stands_for(header: str, value: str) -> None:
    assert decode_value(header) == value


BROKEN = [
    "SGVsbG8",
    "SGVsbG8==",
    "SGVsbG8=\n",
    "SGVsbG9=",  # bits that say nothing
    "SGVs!!!bG8=",
    "SGVs bG8=",
    "=",
    "A",
    "_-__",
    "SGVsbG8=?=, =?base64?SGVsbG8=",  # two headers that were joined
    "é",
    "/w==",  # not UTF-8
    "7aCA",  # half a surrogate pair
]


@pytest.mark.requirement("C26-194", "C26-199")
@pytest.mark.parametrize("payload", BROKEN)
def test_broken_base64_stands_for_nothing(payload: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the decoders say
        decode_value(f"=?base64?{payload}?=")


@pytest.mark.requirement("C26-191", "C26-193")
@unhurried
@given(value=st.text() | st.text("=?base64 \t\n~é", max_size=30) | st.text().map(lambda text: f"=?base64?{text}?="))
@example("=?base64?=")
@example("=?base64??=")
def test_any_text_goes_there_and_back(value: str) -> None:
    header = encode_value(value)
    assert re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", header)
    assert decode_value(header) == value


# --- what the client sends --------------------------------------------------------------------------------------------


@pytest.mark.requirement("C26-175", "C26-176", "X26-102", "X26-103")
@pytest.mark.parametrize(
    ("method", "params", "fields"),
    [
        ("tools/list", UNSET, []),
        ("tools/list", {}, []),
        ("tools/list", {"name": "x", "uri": "y", "taskId": "z"}, []),
        ("server/discover", {"_meta": {}}, []),
        ("acme/frobnicate", {"name": "x"}, []),
        ("tools/call", {"name": "lint"}, [("Mcp-Name", "lint")]),
        ("tools/call", {"name": "my-hyphenated-tool", "uri": "no"}, [("Mcp-Name", "my-hyphenated-tool")]),
        ("prompts/get", {"name": "review"}, [("Mcp-Name", "review")]),
        ("resources/read", {"uri": "file:///a%20b", "name": "no"}, [("Mcp-Name", "file:///a%20b")]),
        ("resources/subscribe", {"uri": "file:///a"}, []),
        ("tasks/get", {"taskId": "t-1"}, [("Mcp-Name", "t-1")]),
        ("tasks/update", {"taskId": "t-1", "inputResponses": {}}, [("Mcp-Name", "t-1")]),
        ("tasks/cancel", {"taskId": "t-1"}, [("Mcp-Name", "t-1")]),
        ("tools/call", {"name": "日本語"}, [("Mcp-Name", "=?base64?5pel5pys6Kqe?=")]),
        ("tools/call", {"name": "a\r\nX: y"}, [("Mcp-Name", "=?base64?YQ0KWDogeQ==?=")]),
        ("tools/call", {"name": ""}, [("Mcp-Name", "")]),
        # What will be refused for its params needs no header.
        ("tools/call", UNSET, []),
        ("tools/call", {}, []),
        ("tools/call", {"name": None}, []),
        ("tools/call", {"name": 5}, []),
    ],
)
def test_the_standard_headers(method: str, params: Any, fields: list[tuple[str, str]]) -> None:
    assert request_fields(method, params) == [("Mcp-Method", method), *fields]


@pytest.mark.requirement("C26-190")
@pytest.mark.parametrize("method", ["a\r\nX: y", "métode", " a", "a ", "a\tb", "\0"])
def test_a_method_that_no_header_can_say(method: str) -> None:
    with pytest.raises(LocalProtocolError, match="header"):
        request_fields(method, UNSET)


MIRRORED = (
    REGION,
    DEEP,
    Mirrored("count", ("count",)),
    Mirrored("FORCE", ("force",)),
)


@pytest.mark.requirement("C26-179", "C26-195")
def test_the_arguments_in_headers() -> None:
    params = call(region="us-west1", query="SELECT 1", who={"tenant": "é", "other": 1}, count=42, force=False)
    assert request_fields("tools/call", params, MIRRORED) == [
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "t"),
        ("Mcp-Param-Region", "us-west1"),
        ("Mcp-Param-Tenant-Id", "=?base64?w6k=?="),
        ("Mcp-Param-count", "42"),
        ("Mcp-Param-FORCE", "false"),
    ]


@pytest.mark.requirement("C26-179", "C26-184")
@pytest.mark.parametrize(("value", "header"), [(42.0, "42"), (-0.0, "0"), (float(SAFE), str(SAFE))])
def test_a_whole_number_is_an_integer(value: float, header: str) -> None:
    assert request_fields("tools/call", call(region=value), (REGION,))[2:] == [("Mcp-Param-Region", header)]
    with pytest.raises(LocalProtocolError):
        request_fields("tools/call", call(region=float(2**53)), (REGION,))


@pytest.mark.requirement("C26-196")
@pytest.mark.parametrize(
    "params",
    [
        {"name": "t"},
        {"name": "t", "arguments": None},
        {"name": "t", "arguments": [{"region": "x"}]},
        {"name": "t", "arguments": "region"},
        call(),
        call(region=None, who=None),
        call(who={"tenant": None}),
        call(who={}),
        call(who="tenant"),
        call(who=["tenant"]),
        call(tenant="not there"),
        call(region={"a": 1}, who={"tenant": ["x"]}, count=1.5, force=float("inf")),
    ],
)
def test_what_is_not_there_has_no_header(params: JSONObject) -> None:
    assert request_fields("tools/call", params, MIRRORED) == [("Mcp-Method", "tools/call"), ("Mcp-Name", "t")]
    assert objection("tools/call", params, sent("tools/call", params, MIRRORED), MIRRORED) is None  # C26-201


# --- what the server compares -----------------------------------------------------------------------------------------


@pytest.mark.requirement("C26-203", "C26-204")
@pytest.mark.parametrize(
    ("given", "agrees"),
    [
        (b"tools/list", True),
        (b"  tools/list\t", True),  # RFC 9110 section 5.5
        (None, False),
        (b"", False),
        (b"prompts/list", False),
        (b"TOOLS/LIST", False),
        (b"Tools/List", False),
        (b"tools/list, tools/list", False),
        (b"tools/ list", False),
        (b"=?base64?dG9vbHMvbGlzdA==?=", False),  # only for names and arguments
        (b"tools/list\0", False),
        (b"tools/l\xc3\xafst", False),
    ],
)
def test_the_method(given: bytes | None, agrees: bool) -> None:
    headers = {b"host": b"localhost"} if given is None else {b"mcp-method": given}
    for params in (UNSET, {}, {"cursor": "1"}):
        found = objection("tools/list", params, headers)
        assert (found is None) is agrees
        assert found is None or "Mcp-Method" in found


@pytest.mark.requirement("C26-194", "C26-204", "X26-104")
@pytest.mark.parametrize(("method", "member"), NAMED.items())
@pytest.mark.parametrize(
    ("name", "given", "agrees"),
    [
        ("foo", b"foo", True),
        ("foo", b"  foo \t ", True),
        ("foo", b"=?base64?Zm9v?=", True),
        ("foo", b" =?base64?Zm9v?= ", True),
        ("日本語", b"=?base64?5pel5pys6Kqe?=", True),
        (" foo", b"=?base64?IGZvbw==?=", True),
        ("a\tb", b"a\tb", True),
        ("", b"", True),
        ("", b"=?base64??=", True),
        ("foo, foo", b"foo, foo", True),
        ("=?BASE64?Zm9v?=", b"=?BASE64?Zm9v?=", True),
        ("foo", None, False),
        ("", None, False),
        ("foo", b"", False),
        ("foo", b"bar", False),
        ("foo", b"Foo", False),
        ("foo", b"fo", False),
        ("foo", b"foo, foo", False),
        ("foo", b"=?base64?Zm9v?=, =?base64?Zm9v?=", False),
        ("foo", b"=?base64?YmFy?=", False),
        ("foo", b"=?BASE64?Zm9v?=", False),
        ("foo", b"=?base64?Zm9v", False),
        ("foo", b"=?base64?Zm9?=", False),
        ("foo", b"=?base64?!!!!?=", False),
        ("=?base64?Zm9v?=", b"=?base64?Zm9v?=", False),  # which says foo
        (" foo", b" foo", False),
        ("foo\n", b"foo\n", False),
        ("f\0", b"f\0", False),
        ("é", "é".encode(), False),
        ("é", "é".encode("latin-1"), False),
        ("\x7f", b"\x7f", False),
    ],
)
def test_the_name(method: str, member: str, name: str, given: bytes | None, agrees: bool) -> None:
    headers = {b"mcp-method": method.encode()}
    if given is not None:
        headers[b"mcp-name"] = given
    found = objection(method, {member: name}, headers)
    # Released clients of the tasks extension leave it out; one that is there has to agree all the same.
    assert (found is None) is (agrees or (given is None and member == "taskId"))
    assert found is None or "Mcp-Name" in found


@pytest.mark.requirement("C26-204")
@pytest.mark.parametrize("method", ["tools/list", "resources/subscribe", "acme/call"])
def test_a_name_means_nothing_where_there_is_none(method: str) -> None:
    for name in (b"foo", b"\xff"):
        assert (
            objection(method, {"name": "bar", "uri": "x"}, {b"mcp-method": method.encode(), b"mcp-name": name}) is None
        )


@pytest.mark.parametrize("params", [UNSET, {}, {"name": None}, {"name": 5}, {"name": ["foo"]}])
def test_a_body_without_a_name_is_refused_for_that(params: Any) -> None:
    headers = {b"mcp-method": b"tools/call"}
    assert objection("tools/call", params, headers) is None
    assert objection("tools/call", params, {**headers, b"mcp-name": b"foo"}) is None


def compared(value: Any, given: bytes | None, mirrored: tuple[Mirrored, ...] = (REGION,)) -> str | None:
    headers = {b"mcp-method": b"tools/call", b"mcp-name": b"t", b"mcp-param-query": b"\xff"}
    if given is not None:
        headers[b"mcp-param-region"] = given
    return objection("tools/call", call(region=value), headers, mirrored)


# Whatever the schema says of the argument: the header is compared with what a client would have made of the value.
COMPARED: list[tuple[Any, bytes | None, bool]] = [
    ("us-west1", b"us-west1", True),
    ("us-west1", b"  us-west1  ", True),
    ("us-west1", b"=?base64?dXMtd2VzdDE=?=", True),
    ("Hello", b"=?base64?SGVsbG8=?=", True),
    ("SGVsbG8=", b"SGVsbG8=", True),
    ("=?base64?SGVsbG8=", b"=?base64?SGVsbG8=", True),
    ("", b"", True),
    ("42", b"42", True),
    (42, b"42", True),
    (42, b"42.0", True),
    (42, b"42.000", True),
    (42, b"=?base64?NDI=?=", True),
    (42.0, b"42", True),
    (42.0, b"42.0", True),
    (-7, b"-7", True),
    (0, b"-0", True),
    (SAFE, str(SAFE).encode(), True),
    (2**64, str(2**64).encode(), True),  # not our client's, but the two agree
    (True, b"true", True),
    (False, b"false", True),
    ("true", b"true", True),
    ("us-west1", None, False),
    ("", None, False),
    (42, None, False),
    (42.0, None, False),
    (0, None, False),
    (False, None, False),
    ("us-west1", b"us-west2", False),
    ("us-west1", b"US-WEST1", False),
    ("us-west1", b"us-west1, us-west1", False),
    ("us-west1", b"", False),
    ("Hello", b"=?base64?SGVsbG8?=", False),
    ("Hello", b"=?base64?SGVs!!!bG8=?=", False),
    ("é", "é".encode(), False),
    ("a\nb", b"a\nb", False),
    ("42", b"42.0", False),  # a string is compared as one
    (42, b"43", False),
    (42, b"42.5", False),
    (42, b"42.", False),
    (42, b"+42", False),
    (42, b"4 2", False),
    (42, b"0x2a", False),
    (42, b"4_2", False),
    (42, b"=?base64?2aTZog==?=", False),  # digits, but Arabic ones
    (42, b"", False),
    (42, b"true", False),
    (100, b"1e2", False),
    (42, b"9" * 5000, False),
    (SAFE + 1, str(SAFE + 2).encode(), False),  # the same as a double
    (True, b"True", False),
    (True, b"1", False),
    (1, b"true", False),
    (True, b"false", False),
]


@pytest.mark.requirement("C26-199", "C26-200", "C26-202", "C26-203", "C26-205")
@pytest.mark.parametrize(("value", "given", "agrees"), COMPARED, ids=lambda part: repr(part)[:40])
def test_an_argument(value: Any, given: bytes | None, agrees: bool) -> None:
    found = compared(value, given)
    assert (found is None) is agrees
    assert found is None or ("Mcp-Param-Region" in found and len(found) < 300)


@pytest.mark.requirement("C26-184", "C26-200")
def test_an_integer_that_python_does_not_print() -> None:
    enormous = 10**5000
    assert "..." in str(compared(enormous, b"9" * 5000))
    assert compared(enormous, None) is not None
    with pytest.raises(LocalProtocolError):
        encode_value(enormous)


@pytest.mark.requirement("C26-201")
@pytest.mark.parametrize("value", [None, 1.5, float("nan"), float("inf"), [], ["a"], {}, {"a": 1}])
@pytest.mark.parametrize("given", [None, b"", b"us-west1", b"=?base64?SGVsbG8=?="])
def test_an_argument_that_no_header_says(value: Any, given: bytes | None) -> None:
    assert compared(value, given) is None


@pytest.mark.requirement("C26-199")
@pytest.mark.parametrize("value", [None, 1.5, {}, "x"])
@pytest.mark.parametrize("given", [b"\xff", b"a\0b", b"a\r\nb", b"\x7f", b"=?base64?SGVsbG8?="])
def test_a_known_header_is_well_formed_whatever_the_body_has(value: Any, given: bytes) -> None:
    assert "not allowed" in str(compared(value, given))


@pytest.mark.requirement("C26-198")
def test_an_unknown_header_is_let_be() -> None:
    for value in (b"x", b"\xff", b"=?base64?!?="):
        assert compared("us-west1", value, mirrored=()) is None


@pytest.mark.requirement("C26-200", "C26-202")
def test_an_argument_deep_down() -> None:
    params = call(who={"tenant": "acme"})
    headers = {b"mcp-method": b"tools/call", b"mcp-name": b"t"}
    assert "no Mcp-Param-Tenant-Id" in str(objection("tools/call", params, headers, (REGION, DEEP)))
    assert objection("tools/call", params, {**headers, b"mcp-param-tenant-id": b"acme"}, (REGION, DEEP)) is None
    assert objection("tools/call", params, {**headers, b"mcp-param-tenant-id": b"evil"}, (REGION, DEEP)) is not None


@pytest.mark.requirement("C26-206")
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Header mismatch: there is no Mcp-Method, which repeats what is in the body"),
        ({b"mcp-method": b"a"}, "Header mismatch: Mcp-Method is 'a', but the body has 'tools/call'"),
        (
            {b"mcp-method": b"tools/call", b"mcp-name": b"foo"},
            "Header mismatch: Mcp-Name is 'foo', but the body has 't'",
        ),
        (
            {b"mcp-method": b"tools/call", b"mcp-name": b"\xff"},
            "Header mismatch: Mcp-Name has characters that are not allowed, or is not the Base64 it says it is",
        ),
        (
            {b"mcp-method": b"tools/call", b"mcp-name": b"t", b"mcp-param-region": b"x" * 9000},
            f"Header mismatch: Mcp-Param-Region is '{'x' * 80}...', but the body has '42'",
        ),
    ],
)
def test_what_the_client_is_told(headers: dict[bytes, bytes], message: str) -> None:
    assert objection("tools/call", call(region=42), headers, (REGION,)) == message


# --- both sides -------------------------------------------------------------------------------------------------------

arguments = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(-SAFE, SAFE)  # of which the whole ones are integers
    | st.sampled_from([float("inf"), float("nan")])
    | st.text()
    | st.text("=?base64 \t\n~é", max_size=20)
    | st.lists(st.integers(), max_size=2)
)
wild_calls = st.dictionaries(
    st.sampled_from(["name", "uri", "taskId", "arguments"]),
    arguments | st.dictionaries(st.sampled_from(["region", "who", "tenant"]), arguments),
)
tame_calls = st.fixed_dictionaries(
    {
        "name": st.text(),
        "uri": st.text(),
        "taskId": st.text(),
        "arguments": st.fixed_dictionaries(
            {
                "region": arguments,
                "who": st.fixed_dictionaries({"tenant": arguments}),
                "count": arguments,
                "force": arguments,
            }
        ),
    }
)
calls = wild_calls | tame_calls


@pytest.mark.requirement("C26-175", "C26-176", "C26-179", "C26-195", "C26-200", "C26-204", "X26-102", "X26-104")
@unhurried
@given(
    method=st.sampled_from([*NAMED, "tools/list"]) | st.text("az/=?base64", min_size=1, max_size=12),
    params=st.just(UNSET) | calls,
    mirrored=st.sampled_from([(), MIRRORED]),
)
def test_what_the_client_sends_the_server_takes(method: str, params: Any, mirrored: tuple[Mirrored, ...]) -> None:
    headers = sent(method, params, mirrored)
    assert all(re.fullmatch(rb"([!-~]([ -~]*[!-~])?)?", value) for value in headers.values())
    assert objection(method, params, headers, mirrored) is None
    for name in headers:
        assert objection(method, params, {**headers, name: headers[name] + b"x"}, mirrored) is not None
        if not (name == b"mcp-name" and NAMED.get(method) == "taskId"):
            assert objection(method, params, {k: v for k, v in headers.items() if k != name}, mirrored) is not None


@unhurried
@given(
    params=calls,
    headers=st.dictionaries(
        st.sampled_from([b"mcp-method", b"mcp-name", b"mcp-param-region", b"mcp-param-count", b"mcp-param-tenant-id"]),
        st.binary(max_size=20) | st.sampled_from([b"tools/call", b"42", b"true", b"=?base64?SGk=?="]),
    ),
)
def test_any_headers_can_be_compared(params: JSONObject, headers: dict[bytes, bytes]) -> None:
    found = objection("tools/call", params, headers, MIRRORED)
    assert found is None or found.startswith("Header mismatch: ")
