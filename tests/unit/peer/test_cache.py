"""What is fresh is found by the very request it answered; what is stale, changed, or too much is not there."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks._unset import UNSET, JSONObject, Unset
from mcp_tasks.peer.cache import ResultCache
from mcp_tasks.wire.v2026_07_28 import CACHED, REQUEST_PARAMS

requirement = pytest.mark.requirement

TOOLS: JSONObject = {
    "resultType": "complete",
    "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
    "ttlMs": 1000,
    "cacheScope": "public",
}


class Time:
    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> ResultCache:
    return ResultCache(entries=100, size_bytes=1_000_000, now=time)


def _tools(**changes: Any) -> JSONObject:
    return {name: value for name, value in {**TOOLS, **changes}.items() if value is not UNSET}


def _read(uri: str, *inside: str) -> JSONObject:
    contents = [{"uri": shown, "text": "x"} for shown in inside or (uri,)]
    return {"resultType": "complete", "contents": contents, "ttlMs": 1000, "cacheScope": "private"}


def _page(cursor: str | None = None) -> JSONObject:
    return {"_meta": {}, "cursor": cursor} if cursor else {"_meta": {}}


# --- how long ---------------------------------------------------------------------------------------------------------


@requirement("C26-299", "C26-304")
def test_a_result_is_fresh_for_as_long_as_it_says(cache: ResultCache, time: Time) -> None:
    cache.put("tools/list", {}, _tools(ttlMs=1500))
    for seconds, fresh in [(50.0, True), (51.499, True), (51.5, False), (50.0, False)]:  # stale is gone for good
        time.seconds = seconds
        assert cache.get("tools/list", {}) == (_tools(ttlMs=1500) if fresh else None)


@requirement("C26-298", "C26-300", "C26-301")
@pytest.mark.parametrize(
    "ttl_ms", [0, -1, -(10**400), UNSET, None, "1000", 1000.0, 0.5, True, [1000], float("inf"), float("nan")], ids=repr
)
def test_what_may_not_be_kept_is_not(cache: ResultCache, ttl_ms: Any) -> None:
    cache.put("tools/list", {}, _tools(ttlMs=ttl_ms))
    assert cache.get("tools/list", {}) is None


@requirement("C26-299")
@pytest.mark.parametrize("ttl_ms", [2**31, 2**53 + 1, 2**64, 10**400], ids=["31", "53", "64", "400"])
def test_a_very_long_time_is_a_long_time(cache: ResultCache, time: Time, ttl_ms: int) -> None:
    cache.put("tools/list", {}, _tools(ttlMs=ttl_ms))
    time.seconds += 24 * 86_400
    assert cache.get("tools/list", {}) == _tools(ttlMs=ttl_ms)


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="integers of any length can be written")
def test_a_number_that_cannot_be_written_keeps_its_result_out(cache: ResultCache) -> None:
    cache.put("tools/list", {}, _tools(ttlMs=10**5000))
    assert cache.get("tools/list", {}) is None


@requirement("C26-295")
@pytest.mark.parametrize("kind", ["input_required", "task", "else", None, 1])
def test_only_complete_results_are_kept(cache: ResultCache, kind: Any) -> None:
    cache.put("resources/read", {"uri": "a:b"}, {**_read("a:b"), "resultType": kind})
    assert cache.get("resources/read", {"uri": "a:b"}) is None


def test_a_result_without_a_type_is_complete(cache: ResultCache) -> None:
    cache.put("tools/list", {}, _tools(resultType=UNSET))
    assert cache.get("tools/list", {}) == _tools(resultType=UNSET)


@requirement("C26-308")
@pytest.mark.parametrize(
    ("scope", "kept"), [("public", True), ("private", True), (UNSET, True), ("", False), ("shared", False), ([], False)]
)
def test_a_scope_that_we_do_not_know_keeps_a_result_out(cache: ResultCache, scope: Any, kept: bool) -> None:
    cache.put("tools/list", {}, _tools(cacheScope=scope))
    assert (cache.get("tools/list", {}) is not None) is kept


@requirement("C26-310")
def test_one_cache_knows_nothing_of_another(cache: ResultCache, time: Time) -> None:
    cache.put("tools/list", {}, _tools(cacheScope="private"))
    assert ResultCache(entries=100, size_bytes=1_000_000, now=time).get("tools/list", {}) is None


# --- which request ----------------------------------------------------------------------------------------------------


@requirement("C26-294")
@pytest.mark.parametrize("method", sorted(REQUEST_PARAMS))
def test_results_of_some_methods_only_are_kept(cache: ResultCache, method: str) -> None:
    cache.put(method, {}, TOOLS)  # a task has a ttlMs as well
    assert (cache.get(method, {}) is not None) is (method in CACHED)


ALL_DIFFERENT: list[JSONObject] = [
    {},
    {"cursor": "a"},
    {"cursor": "b"},
    {"cursor": 1},
    {"cursor": 1.0},
    {"cursor": "1"},
    {"cursor": True},
    {"cursor": None},
    {"cursor": {"a": {}}},
    {"cursor": "a", "more": {}},
    {"meta": {}},
]


@requirement("C26-296")
def test_a_result_serves_no_other_request(cache: ResultCache) -> None:
    for number, params in enumerate(ALL_DIFFERENT):
        for method in ("tools/list", "prompts/list"):
            cache.put(method, params, _tools(number=number, method=method))
    for number, params in enumerate(ALL_DIFFERENT):
        for method in ("tools/list", "prompts/list"):
            assert cache.get(method, params) == _tools(number=number, method=method)
        assert cache.get("resources/list", params) is None


def test_order_and_meta_do_not_matter_nor_whether_nothing_is_there(cache: ResultCache) -> None:
    cache.put("tools/list", {"_meta": {"progressToken": 1}, "a": 1, "b": {"c": 1, "d": 2}}, TOOLS)
    assert cache.get("tools/list", {"b": {"d": 2, "c": 1}, "a": 1, "_meta": {}}) == TOOLS
    assert cache.get("tools/list", {"b": {"d": 2, "c": 1, "_meta": {}}, "a": 1}) is None
    cache.put("prompts/list", UNSET, TOOLS)
    assert cache.get("prompts/list", {}) == cache.get("prompts/list", {"_meta": {}}) == TOOLS


@requirement("C26-297")
@pytest.mark.parametrize("extra", [{"inputResponses": {}}, {"requestState": "x"}, {"requestState": None}], ids=str)
def test_what_depends_on_answers_stays_out(cache: ResultCache, extra: JSONObject) -> None:
    plain = {"uri": "a:b"}
    cache.put("resources/read", {**plain, **extra}, _read("a:b"))
    assert cache.get("resources/read", {**plain, **extra}) is None
    assert cache.get("resources/read", plain) is None
    cache.put("resources/read", plain, _read("a:b"))
    assert cache.get("resources/read", {**plain, **extra}) is None
    assert cache.get("resources/read", plain) == _read("a:b")


@pytest.mark.parametrize("value", ["\ud800", object()], ids=["surrogate", "object"])
def test_what_is_no_json_is_not_kept(cache: ResultCache, value: Any) -> None:
    cache.put("tools/list", {"cursor": value}, TOOLS)
    assert cache.get("tools/list", {"cursor": value}) is None
    cache.put("tools/list", {}, _tools(more=value))
    assert cache.get("tools/list", {}) is None


# --- copies -----------------------------------------------------------------------------------------------------------


def test_nobody_can_change_what_is_kept(cache: ResultCache) -> None:
    given = {**TOOLS, "tools": [{"name": "t"}]}
    cache.put("tools/list", {}, given)
    given["tools"].append({"name": "u"})
    for _ in range(2):
        got = cache.get("tools/list", {})
        assert got is not None
        assert got["tools"] == [{"name": "t"}]
        got["tools"][0]["name"] = "changed"
        del got["ttlMs"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=4)


@given(json_objects, json_objects)
def test_a_kept_result_is_as_it_came(params: JSONObject, result: JSONObject) -> None:
    cache = ResultCache(entries=1, size_bytes=1_000_000, now=lambda: 0.0)
    result = {**result, **TOOLS}
    cache.put("tools/list", {"params": params}, result)
    assert cache.get("tools/list", {"params": params}) == result


# --- what has changed -------------------------------------------------------------------------------------------------


@requirement("C26-311", "C26-315")
def test_a_change_makes_all_pages_of_that_list_stale(cache: ResultCache) -> None:
    for method in ("tools/list", "prompts/list"):
        for cursor in (None, "2", "3"):
            cache.put(method, _page(cursor), TOOLS)
    cache.changed("tools/list")
    assert [cache.get("tools/list", _page(cursor)) for cursor in (None, "2", "3")] == [None, None, None]
    assert [cache.get("prompts/list", _page(cursor)) for cursor in (None, "2", "3")] == [TOOLS, TOOLS, TOOLS]


@requirement("C26-313", "C26-314")
def test_each_page_has_a_time_of_its_own(cache: ResultCache, time: Time) -> None:
    cache.put("tools/list", _page(), _tools(ttlMs=5000))
    time.seconds += 1
    cache.put("tools/list", _page("2"), _tools(ttlMs=1000))
    time.seconds += 1
    assert cache.get("tools/list", _page()) is not None
    assert cache.get("tools/list", _page("2")) is None


@requirement("C26-311")
@pytest.mark.parametrize(
    ("uri", "forgotten"),
    [
        ("file:///a", {"file:///a", "file:///"}),
        ("file:///a/b", {"file:///a/b", "file:///a", "file:///"}),
        ("file:///a/b?c", {"file:///a/b", "file:///a", "file:///"}),
        ("file:///a/b/c/d", {"file:///a/b", "file:///a", "file:///"}),
        ("file:///ab", {"file:///ab", "file:///"}),
        ("file:///dir/one", {"file:///dir", "file:///", "custom:of-dir"}),
        ("file:///", {"file:///"}),
        ("custom:x", set()),
        ("", set()),
    ],
)
def test_an_update_makes_whatever_shows_the_resource_stale(cache: ResultCache, uri: str, forgotten: set[str]) -> None:
    kept = {"file:///a": (), "file:///a/b": (), "file:///ab": (), "file:///": (), "file:///dir": ()}
    for name, inside in {**kept, "custom:of-dir": ("file:///dir/one", "file:///dir/two")}.items():
        cache.put("resources/read", {"uri": name}, _read(name, *inside))
    cache.put("resources/list", {}, TOOLS)
    cache.updated(uri)
    names = [*kept, "custom:of-dir"]
    assert {name for name in names if cache.get("resources/read", {"uri": name}) is None} == forgotten
    assert cache.get("resources/list", {}) == TOOLS


@requirement("C26-311")
def test_an_update_is_of_all_requests_for_that_resource(cache: ResultCache) -> None:
    cache.put("resources/read", {"uri": "a:b", "more": 1}, _read("a:b"))
    cache.updated("a:b")
    assert cache.get("resources/read", {"uri": "a:b", "more": 1}) is None


@pytest.mark.parametrize("contents", [None, 1, {}, [1], [{}], [{"uri": 1}]], ids=str)
def test_contents_of_another_shape_are_no_resources(cache: ResultCache, contents: Any) -> None:
    result = {**_read("a:b"), "contents": contents}
    cache.put("resources/read", {"uri": "a:b"}, result)
    cache.put("resources/read", UNSET, result)
    cache.updated("a:c")
    assert cache.get("resources/read", {"uri": "a:b"}) == cache.get("resources/read", UNSET) == result
    cache.updated("a:b")
    assert cache.get("resources/read", {"uri": "a:b"}) is None


def test_all_can_be_forgotten(cache: ResultCache) -> None:
    cache.put("tools/list", {}, TOOLS)
    cache.put("resources/read", {"uri": "a:b"}, _read("a:b"))
    cache.clear()
    assert cache.get("tools/list", {}) is cache.get("resources/read", {"uri": "a:b"}) is None
    assert cache._size == 0


def test_a_newer_result_takes_the_place_even_if_it_may_not_be_kept(cache: ResultCache) -> None:
    cache.put("tools/list", {}, TOOLS)
    cache.put("tools/list", {}, _tools(tools=[]))
    assert cache.get("tools/list", {}) == _tools(tools=[])
    cache.put("tools/list", {}, _tools(ttlMs=0))
    assert cache.get("tools/list", {}) is None
    assert cache._size == 0


@requirement("C26-311")
@pytest.mark.parametrize("change", ["changed", "updated", "clear"])
def test_an_answer_from_before_a_change_is_not_kept(cache: ResultCache, change: str) -> None:
    generation = cache.generation
    cache.put("tools/list", {}, TOOLS, generation=generation)
    assert cache.get("tools/list", {}) == TOOLS
    if change == "changed":
        cache.changed("tools/list")
    elif change == "updated":
        cache.updated("a:b")
    else:
        cache.clear()
    cache.put("tools/list", {}, TOOLS, generation=generation)
    assert cache.get("tools/list", {}) is None
    cache.put("tools/list", {}, TOOLS, generation=cache.generation)
    assert cache.get("tools/list", {}) == TOOLS


# --- how much ---------------------------------------------------------------------------------------------------------


def _kept(cache: ResultCache, count: int) -> list[int]:
    """Which pages are kept; to look counts as use."""
    return [number for number in range(count) if cache.get("tools/list", _page(str(number))) is not None]


def test_what_was_not_used_for_longest_makes_room(time: Time) -> None:
    cache = ResultCache(entries=3, size_bytes=1_000_000, now=time)
    for number in range(3):
        cache.put("tools/list", _page(str(number)), TOOLS)
    assert cache.get("tools/list", _page("0")) == TOOLS
    cache.put("tools/list", _page("1"), TOOLS)  # kept anew
    cache.put("tools/list", _page("3"), TOOLS)
    assert _kept(cache, 4) == [0, 1, 3]


def test_results_take_no_more_bytes_than_they_may(time: Time) -> None:
    cache = ResultCache(entries=1000, size_bytes=10_000, now=time)
    for number in range(100):
        cache.put("tools/list", _page(str(number)), _tools(more="x" * 2000))
        assert cache._size <= 10_000
    assert _kept(cache, 100) == [96, 97, 98, 99]
    cache.put("tools/list", _page("96"), _tools(more="x" * 7000))
    assert _kept(cache, 100) == [96, 99]
    cache.put("tools/list", _page("97"), _tools(more="x" * 10_000))
    assert _kept(cache, 100) == [96, 99], "what does not fit at all drives nothing out"
    cache.put("tools/list", _page("98" + "x" * 10_000), TOOLS)
    assert _kept(cache, 100) == [96, 99], "parameters count too"


def test_many_small_entries_count_for_what_they_take_in_memory(time: Time) -> None:
    cache = ResultCache(entries=1000, size_bytes=10_000, now=time)
    cache.put("resources/read", {"uri": "a:b"}, _read("a:b", *(f"a:{number}" for number in range(50))))
    assert cache.get("resources/read", {"uri": "a:b"}) is None


def test_what_is_known_to_be_too_long_is_not_looked_at(time: Time) -> None:
    cache = ResultCache(entries=10, size_bytes=10_000, now=time)
    cache.put("tools/list", {}, TOOLS, size_bytes=10_000)
    assert cache.get("tools/list", {}) == TOOLS
    cache.put("tools/list", {}, TOOLS, size_bytes=10_001)
    assert cache.get("tools/list", {}) is None


@pytest.mark.parametrize(("entries", "size_bytes"), [(0, 1_000_000), (10, 0)])
def test_nothing_can_be_kept_at_all(time: Time, entries: int, size_bytes: int) -> None:
    cache = ResultCache(entries=entries, size_bytes=size_bytes, now=time)
    cache.put("tools/list", {}, TOOLS)
    assert cache.get("tools/list", {}) is None


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "changed", "updated", "wait", "clear"]), st.integers(0, 5))))
def test_the_sizes_add_up_whatever_happens(steps: list[tuple[str, int]]) -> None:
    time = Time()
    cache = ResultCache(entries=3, size_bytes=2000, now=time)
    for step, number in steps:
        params: JSONObject | Unset = {"uri": f"a:{number}"}
        if step == "put":
            cache.put("resources/read", params, {**_read(f"a:{number}"), "more": "x" * 200 * number})
        elif step == "get":
            cache.get("resources/read", params)
        elif step == "changed":
            cache.changed("resources/read" if number == 0 else "tools/list")
        elif step == "updated":
            cache.updated(f"a:{number}")
        elif step == "wait":
            time.seconds += number / 5
        elif number == 0:
            cache.clear()
        assert cache._size == sum(kept.size for kept in cache._kept.values()) <= 2000
        assert len(cache._kept) <= 3
