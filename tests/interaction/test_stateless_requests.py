"""Requests of revision 2026-07-28: each says on what terms it comes, and is served on those and on nothing else."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import (
    Cache,
    Context,
    Elicit,
    ElicitUrl,
    LimitReached,
    Limits,
    Peer,
    RequestFailed,
    ResourceNotFound,
    ToolError,
    UrlElicitationRequired,
)
from mcp_tasks.testing import Remote, scripted
from mcp_tasks.wire.content import EmbeddedResource, ResourceLink, TextResourceContents

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW, OLD = "2026-07-28", "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
CLIENT = "io.modelcontextprotocol/clientInfo"
LEVEL = "io.modelcontextprotocol/logLevel"
SERVER = "io.modelcontextprotocol/serverInfo"
TASKS = "io.modelcontextprotocol/tasks"
SUT = {"name": "sut", "version": "1.0"}
OPENING = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "script", "version": "0"}}
deprecated = pytest.mark.filterwarnings("ignore:.*deprecated from revision")


def stamp(**capabilities: Any) -> dict[str, Any]:
    return {VERSION: NEW, CAPABILITIES: capabilities, CLIENT: {"name": "script", "version": "0"}}


def offering(peer: Peer) -> Peer:
    """Make it serve something of every kind."""

    @peer.tool
    async def echo(text: str = "hi") -> str:
        return text

    @peer.tool
    async def ask(ctx: Context) -> str:
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        return f"hi {answer.content['name']}"

    @peer.tool(task="optional")
    async def slow(ctx: Context) -> str:
        await trio.sleep(60)
        return "done"

    @peer.resource("note:a", name="a")
    async def note() -> str:
        return "a note"

    @peer.resource("page:{number}", name="page")
    async def page(number: str) -> str:
        return number

    @peer.prompt
    async def greet(name: str) -> str:
        return f"Greet {name}."

    @peer.completion(prompt="greet")
    async def names(name: str, value: str, known: Any) -> list[str]:
        return ["Ada", "Bob"]

    return peer


@pytest.fixture
def peer(make_peer: MakePeer) -> Peer:
    return offering(make_peer())


async def refusal(remote: Remote, method: str, params: Any) -> dict[str, Any]:
    """The error that a request is answered with; its ``_meta`` is only what `params` have."""
    await remote.send({"jsonrpc": "2.0", "id": "refuse", "method": method, "params": params})
    response = await remote.response("refuse")
    assert response.keys() == {"jsonrpc", "id", "error"}
    error: dict[str, Any] = response["error"]
    assert error.keys() <= {"code", "message", "data"}
    assert type(error["code"]) is int
    assert type(error["message"]) is str
    assert "\n" not in error["message"]
    return error


def told(remote: Remote, method: str) -> list[dict[str, Any]]:
    return [message["params"] for message in remote.received if message.get("method") == method]


# --- what each request has to say -------------------------------------------------------------------------------------


@requirement("C26-055", "C26-016", "C26-017", "C26-018", "C26-067")
@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "tasks/update"])
@pytest.mark.parametrize(
    "params",
    [{}, {"_meta": {}}, {"_meta": {CAPABILITIES: {}}}, {"_meta": None}, {"_meta": []}, {"_meta": {VERSION: None}}],
    ids=json.dumps,
)
async def test_a_modern_request_that_does_not_say_its_terms_is_refused(peer: Peer, method: str, params: Any) -> None:
    async with scripted(peer, revision=NEW) as remote:
        error = await refusal(remote, method, params)
        assert error["code"] == -32602
        assert error["message"].startswith("$.params._meta")
        assert (await remote.request("server/discover"))["resultType"] == "complete"


@requirement("C26-055")
@pytest.mark.parametrize("method", ["tools/list", "tools/call", "x/unknown", "initialize", "ping", "tasks/get"])
@pytest.mark.parametrize(
    "meta",
    [
        {VERSION: NEW},
        {VERSION: NEW, CAPABILITIES: None},
        {VERSION: NEW, CAPABILITIES: []},
        {VERSION: NEW, CAPABILITIES: "all"},
        {VERSION: NEW, CAPABILITIES: True},
    ],
    ids=lambda meta: json.dumps(list(meta.values())[1:]),
)
async def test_capabilities_have_to_be_declared(peer: Peer, method: str, meta: Any) -> None:
    async with scripted(peer, revision=NEW) as remote:
        error = await refusal(remote, method, {"_meta": meta})
        assert error["code"] == -32602
        assert f"$.params._meta['{CAPABILITIES}']" in error["message"]


@requirement("C26-055")
@pytest.mark.parametrize("opened", [False, True])
async def test_one_that_declares_capabilities_and_no_version_is_a_modern_one_too(peer: Peer, opened: bool) -> None:
    async with scripted(peer, handshake=opened) as remote:
        error = await refusal(remote, "tools/list", {"_meta": {CAPABILITIES: {}}})
        assert error["code"] == -32602
        assert f"$.params._meta['{VERSION}']" in error["message"]


@requirement("C26-055", "C26-413")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (VERSION, 20260728),
        (VERSION, True),
        (VERSION, [NEW]),
        (VERSION, {}),
        (CLIENT, {}),
        (CLIENT, {"name": "x"}),
        (CLIENT, {"name": 1, "version": "0"}),
        (CLIENT, "x"),
        (LEVEL, "loud"),
        (LEVEL, "INFO"),
        (LEVEL, 3),
        (CAPABILITIES, {"extensions": []}),
        (CAPABILITIES, {"extensions": {TASKS: "yes"}}),
        (CAPABILITIES, {"sampling": "yes"}),
        (CAPABILITIES, {"elicitation": {"form": 3}}),
        ("progressToken", 1.5),
        ("progressToken", {}),
        ("progressToken", True),
    ],
)
async def test_a_wrong_member_is_refused_by_its_path(peer: Peer, name: str, value: Any) -> None:
    async with scripted(peer, revision=NEW) as remote:
        error = await refusal(remote, "tools/list", {"_meta": {**stamp(), name: value}})
        assert error["code"] == -32602
        assert error["message"].startswith("$.params._meta")
        assert name in error["message"]


@requirement("C26-052", "C26-065", "C26-062")
@pytest.mark.parametrize(
    "more",
    [
        {"com.example/trace": [1, {}], "x": None, "": 0, "progressToken": "p"},
        {
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "a=b",
            "baggage": "c=d",
        },
        {CLIENT: {"name": "root", "version": "9", "x": 1, "title": "The Root"}},
        {CAPABILITIES: {"com.example/x": 1, "roots": {"x": 1}, "experimental": {"y": {"z": 1}}}},
    ],
)
async def test_what_is_not_known_is_passed_over(peer: Peer, more: Any) -> None:
    async with scripted(peer, revision=NEW) as remote:
        params = {"name": "echo", "other": 1, "_meta": {**stamp(), **more}}
        assert (await remote.request("tools/call", params))["content"] == [{"type": "text", "text": "hi"}]


async def test_who_they_are_need_not_be_said(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as remote:
        remote.stamp = {VERSION: NEW, CAPABILITIES: {}}
        assert (await remote.request("tools/list"))["tools"]


@requirement("C26-085", "C26-088", "C26-024")
@pytest.mark.parametrize("version", ["2026-06-30", "2027-01-01", OLD, "", "DRAFT-2026-v1", " 2026-07-28", "x" * 3000])
async def test_a_version_that_is_not_spoken(peer: Peer, version: str) -> None:
    async with scripted(peer, revision=NEW) as remote:
        for method in ("tools/list", "server/discover", "initialize", "x/unknown"):
            error = await refusal(remote, method, {"_meta": {**stamp(), VERSION: version}})
            assert error["code"] == -32022
            assert error["data"] == {
                "supported": [NEW, OLD, "2025-06-18", "2025-03-26", "2024-11-05"],
                "requested": version,
            }
        assert (await remote.request("tools/list"))["tools"]


@requirement("C26-085", "C26-099", "C26-100")
async def test_a_version_that_is_not_spoken_is_refused_in_a_session_too(peer: Peer) -> None:
    async with scripted(peer) as remote:
        assert (await refusal(remote, "tools/list", {"_meta": {VERSION: "2030-01-01"}}))["code"] == -32022
        assert "resultType" not in await remote.request("tools/list")


# --- nothing is drawn from what came before ---------------------------------------------------------------------------


@requirement("C26-031", "C26-058", "C26-059", "C26-265")
async def test_capabilities_hold_for_one_request(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as remote:
        for _ in range(2):
            remote.stamp = stamp(elicitation={})
            asked = await remote.request("tools/call", {"name": "ask"})
            assert asked["resultType"] == "input_required"
            remote.stamp = stamp()
            error = (await remote.response(await remote.ask("tools/call", {"name": "ask"})))["error"]
            assert error["code"] == -32021
            assert error["data"] == {"requiredCapabilities": {"elicitation": {}}}


@requirement("C26-031", "X26-008")
async def test_the_extension_holds_for_one_request(peer: Peer, autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(peer, revision=NEW) as remote:
        created = await remote.request("tools/call", {"name": "slow"})
        assert created["resultType"] == "task"
        remote.stamp = stamp()
        assert (await remote.request("tools/call", {"name": "slow"}))["resultType"] == "complete"
        error = (await remote.response(await remote.ask("tasks/get", {"taskId": created["taskId"]})))["error"]
        assert error["code"] == -32021


@requirement("C26-031", "C26-055")
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({CLIENT: {"name": "a", "version": "0"}}, {CLIENT: None}),
        ({}, {CLIENT: None}),
        ({}, {LEVEL: None}),
        ({CAPABILITIES: {"roots": True}}, {CAPABILITIES: {"roots": 1}}),
        ({CAPABILITIES: {"sampling": {"tools": True}}}, {CAPABILITIES: {"sampling": {"tools": 1.0}}}),
    ],
)
async def test_a_wrong_request_is_wrong_whatever_came_before(peer: Peer, good: Any, bad: Any) -> None:
    base = {VERSION: NEW, CAPABILITIES: {}}
    async with scripted(peer, revision=NEW) as remote:
        alone = await refusal(remote, "tools/list", {"_meta": {**base, **bad}})
        remote.stamp = {**base, **good}
        assert (await remote.request("tools/list"))["tools"]
        assert await refusal(remote, "tools/list", {"_meta": {**base, **bad}}) == alone
        assert alone["code"] == -32602


@requirement("C26-031", "C26-410")
@deprecated
async def test_the_log_level_holds_for_one_request(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.log("error", "broken")
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        await remote.request("tools/call", {"name": "work", "_meta": {LEVEL: "debug"}})
        assert len(told(remote, "notifications/message")) == 1
        await remote.request("tools/call", {"name": "work"})
        assert len(told(remote, "notifications/message")) == 1


@requirement("C26-031", "C26-033", "C26-325", "C26-363", "C26-382")
async def test_what_is_listed_does_not_depend_on_the_connection(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as one, scripted(peer, revision=NEW) as other:
        await one.request("tools/call", {"name": "echo"})
        for method in ("tools/list", "resources/list", "resources/templates/list", "prompts/list", "server/discover"):
            assert await one.request(method) == await other.request(method)


# --- what each result says --------------------------------------------------------------------------------------------

RESULTS: dict[str, dict[str, Any]] = {
    "server/discover": {},
    "tools/list": {},
    "tools/call": {"name": "echo"},
    "resources/list": {},
    "resources/templates/list": {},
    "resources/read": {"uri": "note:a"},
    "prompts/list": {},
    "prompts/get": {"name": "greet", "arguments": {"name": "Ada"}},
    "completion/complete": {
        "ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "name", "value": ""},
    },
}
KEPT = {"server/discover", "tools/list", "resources/list", "resources/templates/list", "resources/read", "prompts/list"}


@requirement("C26-007", "C26-008", "C26-010", "C26-011", "C26-061", "C26-103", "C26-087")
@requirement("C26-294", "C26-302", "C26-308", "C26-323", "C26-362", "C26-381")
@pytest.mark.parametrize("method", RESULTS)
async def test_every_result_says_what_it_is_who_it_is_from_and_how_long_it_may_be_kept(peer: Peer, method: str) -> None:
    async with scripted(peer, revision=NEW) as remote:
        result = await remote.request(method, RESULTS[method])
        assert result["resultType"] == "complete"
        assert result["_meta"][SERVER] == SUT
        assert "serverInfo" not in result
        hints = {name: result[name] for name in ("ttlMs", "cacheScope") if name in result}
        assert hints == ({"ttlMs": 0, "cacheScope": "private"} if method in KEPT else {})
        assert type(hints.get("ttlMs", 0)) is int


@requirement("C26-061")
async def test_who_we_are_goes_beside_what_a_handler_says_in_meta(make_peer: MakePeer) -> None:
    peer = make_peer("me", "3", title="Me", website_url="https://example.com")

    @peer.handle("x/own")
    async def own(ctx: Context, params: Any) -> Any:
        return {"_meta": {"com.example/a": 1}, "b": 2}

    async with scripted(peer, revision=NEW) as remote:
        info = {"name": "me", "version": "3", "title": "Me", "websiteUrl": "https://example.com"}
        result = await remote.request("x/own")
        assert result == {"resultType": "complete", "b": 2, "_meta": {"com.example/a": 1, SERVER: info}}
        assert await remote.request("x/own") == result


@requirement("C26-009")
async def test_a_result_with_nothing_to_say(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("x/nothing")
    async def nothing(ctx: Context, params: Any) -> None:
        return None

    async with scripted(peer, revision=NEW) as remote:
        assert await remote.request("x/nothing") == {"resultType": "complete", "_meta": {SERVER: SUT}}


@requirement("C26-003", "C26-007", "C26-016")
@pytest.mark.parametrize("id", [1, "1", 0, "", -7, 2**53, "é\u2028", "x" * 500])
async def test_ids_come_back_as_they_were(peer: Peer, id: Any) -> None:
    async with scripted(peer, revision=NEW) as remote:
        for method in ("tools/list", "x/unknown"):
            await remote.ask(method, id=id)
            response = await remote.response(id)
            assert response["id"] == id
            assert type(response["id"]) is type(id)
            assert response["jsonrpc"] == "2.0"


async def test_an_id_may_be_used_again_once_it_was_answered(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as remote:
        for text in ("a", "b", "c"):
            result = await remote.request("tools/call", {"name": "echo", "arguments": {"text": text}}, id="same")
            assert result["content"][0]["text"] == text


@requirement("C26-032")
async def test_one_and_the_text_one_are_served_side_by_side(make_peer: MakePeer) -> None:
    peer, events = make_peer(), {1: trio.Event(), "1": trio.Event()}

    @peer.handle("x/hold")
    async def hold(ctx: Context, params: Any) -> Any:
        await events[params["n"]].wait()
        return {"n": params["n"]}

    async with scripted(peer, revision=NEW) as remote:
        for n in (1, "1"):
            await remote.ask("x/hold", {"n": n}, id=n)
        await remote.quiet()
        events["1"].set()
        assert (await remote.answer("1"))["n"] == "1"
        assert not remote.answered(1)
        events[1].set()
        assert (await remote.answer(1))["n"] == 1


# --- what can be asked ------------------------------------------------------------------------------------------------


@requirement("C26-087", "C26-102", "C26-103", "C26-093", "C26-322", "C26-360", "C26-361", "C26-380", "C26-396")
@requirement("C26-409", "X26-001", "X26-003", "X26-004", "X26-129", "X26-130", "C26-090")
async def test_what_discovery_says(make_peer: MakePeer) -> None:
    peer = offering(make_peer(instructions="Be kind."))
    peer.extension("com.example/sums", {"most": 3})
    peer.experimental(frobs={})
    async with scripted(peer, revision=NEW) as remote:
        assert await remote.request("server/discover") == {
            "resultType": "complete",
            "supportedVersions": [NEW, OLD, "2025-06-18", "2025-03-26", "2024-11-05"],
            "capabilities": {
                "experimental": {"frobs": {}},
                "logging": {},
                "completions": {},
                "prompts": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": True},
                "tools": {"listChanged": True},
                "extensions": {"com.example/sums": {"most": 3}, TASKS: {}},
            },
            "instructions": "Be kind.",
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {SERVER: SUT},
        }


@requirement("C26-102", "X26-007", "X26-131")
async def test_what_is_not_offered_is_not_announced(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def echo() -> str:
        return ""

    async with scripted(peer, revision=NEW) as remote:
        found = await remote.request("server/discover")
        assert found["capabilities"] == {"logging": {}, "tools": {"listChanged": True}}
        assert "instructions" not in found


async def test_discovery_shows_what_is_offered_by_now(make_peer: MakePeer) -> None:
    peer = make_peer()
    async with scripted(peer, revision=NEW) as remote:
        assert (await remote.request("server/discover"))["capabilities"] == {"logging": {}}
        offering(peer)
        found = (await remote.request("server/discover"))["capabilities"]
        assert found.keys() == {"logging", "completions", "prompts", "resources", "tools", "extensions"}
        assert (await remote.response(await remote.ask("tasks/get", {"taskId": "t"})))["error"]["code"] == -32602


@requirement("C26-069", "C26-068", "C26-107", "X26-123", "X26-127", "X26-135")
@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/result",
        "tasks/list",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "x/unknown",
        "notifications/tools/list_changed",
        "tasks/other",
        "tools/Call",
        "",
    ],
)
async def test_methods_that_there_are_none_of(peer: Peer, method: str) -> None:
    valid = {**OPENING, "level": "info", "uri": "note:a", "taskId": "t", "_meta": stamp()}
    peer.roots = ["file:///a"]
    async with scripted(peer, revision=NEW) as remote:
        error = await refusal(remote, method, valid)
        assert error["code"] == -32601
        assert method in error["message"]
        assert (await remote.request("tools/list"))["tools"]


@requirement("C26-068", "C26-394", "C26-399")
@pytest.mark.parametrize("method", [*RESULTS, "tasks/get", "tasks/update", "tasks/cancel"])
async def test_methods_behind_a_capability_that_is_not_announced(make_peer: MakePeer, method: str) -> None:
    params = {**RESULTS.get(method, {"taskId": "t", "inputResponses": {}}), "_meta": stamp(extensions={TASKS: {}})}
    async with scripted(make_peer(), revision=NEW) as remote:
        if method == "server/discover":
            assert await remote.request(method)
        else:
            assert (await refusal(remote, method, params))["code"] == -32601


@requirement("C26-349", "C26-372", "C26-375", "C26-390", "C26-400", "C26-423")
@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("tools/call", {"name": "nobody"}, "nobody"),
        ("tools/call", {"name": ""}, "there is no tool"),
        ("tools/call", {}, "$.params.name"),
        ("tools/call", {"name": 3}, "$.params.name"),
        ("tools/call", {"name": "echo", "arguments": []}, "$.params.arguments"),
        ("resources/read", {"uri": "note:b"}, "note:b"),
        ("resources/read", {}, "$.params.uri"),
        ("prompts/get", {"name": "nobody"}, "nobody"),
        ("prompts/get", {"name": "greet"}, "name"),
        ("prompts/get", {"name": "greet", "arguments": {"name": 3}}, "$.params.arguments.name"),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": ""}},
            "x",
        ),
        ("completion/complete", {"ref": {"type": "x"}, "argument": {"name": "a", "value": ""}}, "$.params.ref"),
        ("completion/complete", {}, "$.params"),
        ("tools/list", {"cursor": "made-up"}, "$.params.cursor"),
        ("prompts/list", {"cursor": ""}, "$.params.cursor"),
        ("resources/list", {"cursor": 3}, "$.params.cursor"),
        ("resources/templates/list", {"cursor": None}, "$.params.cursor"),
        ("subscriptions/listen", {}, "$.params.notifications"),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": 1}}, "$.params.notifications.toolsListChanged"),
        ("tasks/get", {}, "$.params.taskId"),
        ("tasks/cancel", {"taskId": 3}, "$.params.taskId"),
        ("tasks/update", {"taskId": "t"}, "$.params.inputResponses"),
        ("tools/call", {"name": "echo", "inputResponses": []}, "$.params.inputResponses"),
        ("tools/call", {"name": "echo", "inputResponses": None}, "$.params.inputResponses"),
        ("tools/call", {"name": "echo", "inputResponses": {"a": 1}}, "$.params.inputResponses.a"),
        ("tools/call", {"name": "echo", "requestState": 1}, "$.params.requestState"),
        ("prompts/get", {"name": "greet", "requestState": None}, "$.params.requestState"),
    ],
)
async def test_parameters_that_are_wrong(peer: Peer, method: str, params: Any, message: str) -> None:
    async with scripted(peer, revision=NEW) as remote:
        meta = stamp(extensions={TASKS: {}})
        error = await refusal(remote, method, {**params, "_meta": meta})
        assert error["code"] == -32602
        assert message in error["message"]
        assert (await remote.request("tools/list"))["tools"]


@requirement("C26-025", "C26-372")
async def test_a_missing_resource_is_named_and_has_the_number_of_its_era(peer: Peer) -> None:
    @peer.resource("gone:{id}", name="gone")
    async def gone(id: str) -> str:
        raise ResourceNotFound(f"gone:{id}")

    async with scripted(peer) as remote:
        for uri in ("note:b", "gone:1"):
            error = await refusal(remote, "resources/read", {"uri": uri, "_meta": stamp()})
            assert (error["code"], error["data"]) == (-32602, {"uri": uri})
            assert (await refusal(remote, "resources/read", {"uri": uri}))["code"] == -32002


@requirement("C26-025", "C26-024", "C26-373", "C26-391", "C26-401", "C26-019", "X26-106")
@pytest.mark.parametrize("method", ["tools/call", "completion/complete", "x/own", "prompts/get", "resources/read"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestFailed(-32002, "lost", {"a": 1}), -32602),
        (RequestFailed(-32042, "go there", {"a": 1}), -32603),
        (RequestFailed(7, "mine", {"a": 1}), 7),
        (LimitReached("enough", "things", 3), -32603),
        (ValueError("secret"), -32603),
    ],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
async def test_numbers_of_other_revisions_never_leave(
    make_peer: MakePeer, method: str, error: Exception, code: int
) -> None:
    peer = make_peer()

    @peer.handle(method)
    async def fail(ctx: Context, params: Any) -> Any:
        raise error

    async with scripted(peer, revision=NEW) as remote:
        said = await refusal(remote, method, {**RESULTS.get(method, {}), "_meta": stamp()})
        assert said["code"] == code
        if isinstance(error, RequestFailed):
            assert (said["message"], said["data"]) == (error.message, {"a": 1})
        assert "secret" not in said["message"]


@requirement("C26-025", "C26-253")
async def test_a_visit_that_cannot_be_asked_for_is_an_internal_error(make_peer: MakePeer) -> None:
    """Only three methods can be answered with a question; here it would be one more, and -32042 is gone."""
    peer = make_peer()

    @peer.handle("completion/complete")
    async def complete(ctx: Context, params: Any) -> Any:
        raise UrlElicitationRequired(
            [{"mode": "url", "message": "Go", "url": "https://example.com", "elicitationId": "e"}]
        )

    async with scripted(peer, revision=NEW) as remote:
        params = {**RESULTS["completion/complete"], "_meta": stamp(elicitation={"form": {}, "url": {}})}
        assert (await refusal(remote, "completion/complete", params))["code"] == -32603


@requirement("C26-350")
async def test_a_tools_own_failure_is_a_result(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def fail() -> str:
        raise ToolError("out of paper")

    async with scripted(peer, revision=NEW) as remote:
        result = await remote.request("tools/call", {"name": "fail"})
        assert result == {
            "resultType": "complete",
            "content": [{"type": "text", "text": "out of paper"}],
            "isError": True,
            "_meta": {SERVER: SUT},
        }
        wrong = await remote.request("tools/call", {"name": "fail", "arguments": {"x": 1}})
        assert wrong["isError"] is True


@requirement("C26-324", "C26-364", "C26-383")
async def test_lists_may_be_empty_and_change(make_peer: MakePeer) -> None:
    peer = offering(make_peer())
    async with scripted(peer, revision=NEW) as remote:
        assert len((await remote.request("tools/list"))["tools"]) == 3
        for name in ("echo", "ask", "slow"):
            peer.remove_tool(name)
        peer.remove_prompt("greet")
        peer.remove_resource("note:a")
        peer.remove_resource("page:{number}")
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            result = await remote.request(method)
            assert [value for value in result.values() if isinstance(value, list)] == [[]]
            assert result["resultType"] == "complete"


@requirement("C26-343", "C26-346", "C26-347", "C26-365", "C26-378", "C26-389", "C26-398")
async def test_contents_of_every_kind(make_peer: MakePeer) -> None:
    peer = make_peer()
    link = ResourceLink(uri="note:a", name="a")
    embedded = EmbeddedResource(resource=TextResourceContents(uri="note:a", text="a", mime_type="text/plain"))

    @peer.tool
    async def numbers() -> dict[str, int]:
        return {"n": 1}

    @peer.tool
    async def blocks() -> list[ResourceLink | EmbeddedResource]:
        return [link, embedded]

    @peer.resource("many:", mime_type="application/x-bytes")
    async def many() -> list[Any]:
        return ["text", bytes(range(256))]

    @peer.prompt
    async def show() -> EmbeddedResource:
        return embedded

    @peer.completion(prompt="show")
    async def complete(name: str, value: str, known: Any) -> list[str]:
        return [str(n) for n in range(1000)]

    async with scripted(peer, revision=NEW) as remote:
        result = await remote.request("tools/call", {"name": "numbers"})
        assert result["structuredContent"] == {"n": 1}
        assert json.loads(result["content"][0]["text"]) == {"n": 1}
        wired = {"type": "resource", "resource": {"uri": "note:a", "text": "a", "mimeType": "text/plain"}}
        result = await remote.request("tools/call", {"name": "blocks"})
        assert result["content"] == [{"type": "resource_link", "uri": "note:a", "name": "a"}, wired]
        text, blob = (await remote.request("resources/read", {"uri": "many:"}))["contents"]
        assert (text["text"], base64.b64decode(blob["blob"])) == ("text", bytes(range(256)))
        assert (await remote.request("prompts/get", {"name": "show"}))["messages"][0]["content"] == wired
        params = {"ref": {"type": "ref/prompt", "name": "show"}, "argument": {"name": "a", "value": ""}}
        found = (await remote.request("completion/complete", params))["completion"]
        assert (len(found["values"]), found["total"], found["hasMore"]) == (100, 1000, True)


@requirement("X26-128", "C26-333")
@pytest.mark.parametrize("task", [{}, {"ttl": 5}, None, 3, "yes", {"ttl": "x"}])
async def test_a_task_member_means_nothing(peer: Peer, task: Any, autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(peer, revision=NEW) as remote:
        result = await remote.request("tools/call", {"name": "echo", "task": task})
        assert (result["resultType"], result["content"]) == ("complete", [{"type": "text", "text": "hi"}])
        created = await remote.request("tools/call", {"name": "slow", "task": task})
        assert (created["resultType"], created["ttlMs"]) == ("task", 3_600_000)
        listed = {tool["name"]: tool for tool in (await remote.request("tools/list"))["tools"]}
        assert "execution" not in listed["slow"]


@requirement("C26-419", "C26-316", "C26-327", "C26-338")
async def test_lists_come_in_pages(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(page_size=2))
    peer.cache("tools/list", ttl=5, scope="public")
    for name in "edcba":

        @peer.tool(name=name)
        async def tool() -> str:
            return ""

    async with scripted(peer, revision=NEW) as remote:
        names, params, pages = [], {}, []
        while True:
            page = await remote.request("tools/list", params)
            pages.append((page["ttlMs"], page["cacheScope"], page["resultType"]))
            names += [tool["name"] for tool in page["tools"]]
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"]}
        assert sorted(names) == list("abcde")
        assert pages == [(5000, "public", "complete")] * 3


# --- how long results may be kept -------------------------------------------------------------------------------------


@requirement("C26-294", "C26-302", "C26-308", "C26-312")
@pytest.mark.parametrize("method", sorted(KEPT))
@pytest.mark.parametrize(("ttl", "ttl_ms"), [(0, 0), (1.5, 1500), (0.0004, 0), (60, 60_000), (86_400, 86_400_000)])
async def test_a_method_says_how_long_its_results_may_be_kept(peer: Peer, method: str, ttl: float, ttl_ms: int) -> None:
    peer.cache(method, ttl=ttl, scope="public")
    async with scripted(peer, revision=NEW) as remote:
        for asked, params in RESULTS.items():
            result = await remote.request(asked, params)
            hints = {name: result[name] for name in ("ttlMs", "cacheScope") if name in result}
            if asked == method:
                assert hints == {"ttlMs": ttl_ms, "cacheScope": "public"}
                assert type(result["ttlMs"]) is int
            else:
                assert hints == ({"ttlMs": 0, "cacheScope": "private"} if asked in KEPT else {})


@requirement("C26-294", "C26-308")
async def test_a_resource_says_it_for_itself(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.cache("resources/read", ttl=9)

    @peer.resource("a:", cache=Cache(60, "public"))
    async def a() -> str:
        return "a"

    @peer.resource("b:{x}", cache=Cache(1.5))
    async def b(x: str) -> str:
        return "b"

    @peer.resource("c:")
    async def c() -> str:
        return "c"

    hints = {"a:": (60_000, "public"), "b:1": (1500, "private"), "c:": (9000, "private")}
    async with scripted(peer) as remote:
        for uri, expected in hints.items():
            result = await remote.request("resources/read", {"uri": uri, "_meta": stamp()})
            assert (result["ttlMs"], result["cacheScope"]) == expected
            assert (await remote.request("resources/read", {"uri": uri})).keys() == {"contents"}, "not in a session"


@requirement("C26-295")
async def test_a_question_says_nothing_of_keeping(make_peer: MakePeer) -> None:
    peer = make_peer()
    peer.cache("resources/read", ttl=9, scope="public")

    @peer.resource("a:", cache=Cache(60, "public"))
    async def a(ctx: Context) -> str:
        await ctx.elicit("Sure?", {"ok": bool})
        return "a"

    async with scripted(peer, revision=NEW) as remote:
        asked = await remote.request("resources/read", {"uri": "a:"})
        assert asked.keys() == {"resultType", "inputRequests", "requestState", "_meta"}


# --- two eras on one pipe ---------------------------------------------------------------------------------------------


@requirement("C26-099", "C26-100", "C26-101", "C26-093")
async def test_a_session_may_be_opened_after_modern_requests(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as remote:
        assert (await remote.request("tools/list"))["resultType"] == "complete"
        await remote.send({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": OPENING})
        assert (await remote.answer("i"))["protocolVersion"] == OLD
        await remote.notify("notifications/initialized")
        await remote.send({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        assert await remote.answer("p") == {}
        assert (await remote.request("tools/list"))["resultType"] == "complete"


@requirement("C26-099", "C26-100", "C26-101", "C26-032")
async def test_both_eras_side_by_side(make_peer: MakePeer) -> None:
    peer, go_on = offering(make_peer()), trio.Event()

    @peer.tool
    async def hold(ctx: Context) -> str:
        await go_on.wait()
        return ctx.revision

    async with scripted(peer, revision=NEW) as remote:
        await remote.send({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": OPENING})
        await remote.answer("i")
        await remote.notify("notifications/initialized")
        for number in range(6):
            params = {"name": "hold"} | ({"_meta": stamp()} if number % 2 else {})
            await remote.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        await remote.quiet()
        go_on.set()
        for number in range(6):
            result = await remote.answer(number)
            assert result["content"][0]["text"] == (NEW if number % 2 else OLD)
            assert ("resultType" in result, "_meta" in result) == (bool(number % 2),) * 2


@requirement("C26-099", "C26-113", "C26-124", "C26-058")
async def test_a_question_goes_the_way_of_its_request(peer: Peer) -> None:
    """In the session as a request, and outside of it inside the result; on the same connection at the same time."""
    async with scripted(peer) as remote:
        await remote.ask("tools/call", {"name": "ask"}, id="old")
        question = await remote.expect("elicitation/create")
        asked = await remote.request("tools/call", {"name": "ask", "_meta": stamp(elicitation={})})
        assert asked["inputRequests"]["name"]["method"] == "elicitation/create"
        error = await refusal(remote, "tools/call", {"name": "ask", "_meta": stamp()})
        assert error["code"] == -32021, "what the session has announced counts for nothing here"
        await remote.reply(question, {"action": "accept", "content": {"name": "Ada"}})
        assert (await remote.answer("old"))["content"][0]["text"] == "hi Ada"
        assert remote.unread() == []


@requirement("C26-113", "C26-124", "C26-107", "C26-248")
async def test_a_server_never_asks_without_a_session(make_peer: MakePeer) -> None:
    peer, said = make_peer(), []

    @peer.tool
    async def pry(ctx: Context) -> str:
        for method in ("ping", "roots/list", "elicitation/create", "x/own"):
            try:
                await ctx.connection.call(method, {"message": "m", "requestedSchema": {}})
            except Exception as error:
                said.append(type(error).__name__)
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        assert (await remote.request("tools/call", {"name": "pry"}))["content"][0]["text"] == "done"
        assert said == ["LocalProtocolError"] * 4
        assert [message for message in remote.received if "method" in message] == []


@requirement("C26-100")
async def test_before_the_handshake_a_request_of_the_session_is_refused(peer: Peer) -> None:
    async with scripted(peer, revision=NEW) as remote:
        assert await remote.request("tools/list")
        error = await refusal(remote, "tools/list", {})
        assert error["code"] == -32600


@requirement("C26-069")
async def test_a_handshake_that_names_a_modern_version_in_its_meta_is_none(peer: Peer) -> None:
    async with scripted(peer, handshake=False) as remote:
        assert (await refusal(remote, "initialize", {**OPENING, "_meta": stamp()}))["code"] == -32601
        assert (await remote.request("initialize", OPENING))["protocolVersion"] == OLD


async def test_a_handshake_for_the_modern_version_gets_a_counter_offer(peer: Peer) -> None:
    async with scripted(peer, handshake=False) as remote:
        opened = await remote.request("initialize", {**OPENING, "protocolVersion": NEW})
        assert opened["protocolVersion"] == OLD
        assert "extensions" not in opened["capabilities"]


@requirement("X26-124")
async def test_the_extension_enables_nothing_in_a_session(peer: Peer, autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(peer, capabilities={"extensions": {TASKS: {}}}) as remote:
        result = await remote.request("tools/call", {"name": "slow"})
        assert result == {"content": [{"type": "text", "text": "done"}]}
        assert trio.current_time() >= 60


@requirement("C26-029")
@pytest.mark.parametrize(
    "method",
    ["notifications/initialized", "notifications/roots/list_changed", "notifications/progress", "x/any", "tools/call"],
)
async def test_notifications_are_never_answered(peer: Peer, method: str) -> None:
    async with scripted(peer, revision=NEW) as remote:
        for params in ({}, {"_meta": {}}, {"_meta": stamp()}, {"_meta": {VERSION: "1"}}, {"_meta": 3}, []):
            await remote.notify(method, params)
        await remote.quiet()
        assert remote.received == []
        assert await remote.request("tools/list")


# --- logs and progress ------------------------------------------------------------------------------------------------


@requirement("C26-410", "C26-411", "C26-115")
@deprecated
@pytest.mark.parametrize(
    ("level", "count"), [(None, 0), ("debug", 8), ("info", 7), ("warning", 5), ("error", 4), ("emergency", 1)]
)
async def test_logs_of_the_level_that_was_asked_for(make_peer: MakePeer, level: str | None, count: int) -> None:
    peer = make_peer()
    levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

    @peer.tool
    async def work(ctx: Context) -> str:
        for one in levels:
            await ctx.log(one, {"text": one}, "worker")  # type: ignore[arg-type]
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        meta = {} if level is None else {LEVEL: level}
        await remote.request("tools/call", {"name": "work", "_meta": meta})
        assert told(remote, "notifications/message") == [
            {"level": one, "data": {"text": one}, "logger": "worker"} for one in levels[len(levels) - count :]
        ]
        assert "method" not in remote.received[-1], "the answer is the last thing that is said"


@requirement("C26-410")
@deprecated
async def test_a_report_is_a_log_message_if_those_are_wanted(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.report("half way")
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        await remote.request("tools/call", {"name": "work"})
        assert remote.unread() == []
        await remote.request("tools/call", {"name": "work", "_meta": {LEVEL: "info"}})
        assert told(remote, "notifications/message") == [{"level": "info", "data": "half way"}]


@requirement("C26-410", "C26-412")
@deprecated
async def test_the_level_of_a_session_is_not_that_of_a_request(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.log("info", ctx.revision)
        return "done"

    async with scripted(peer) as remote:
        await remote.request("logging/setLevel", {"level": "debug"})
        await remote.request("tools/call", {"name": "work", "_meta": stamp()})
        assert told(remote, "notifications/message") == []
        await remote.request("logging/setLevel", {"level": "error"})
        await remote.request("tools/call", {"name": "work", "_meta": {**stamp(), LEVEL: "info"}})
        await remote.request("tools/call", {"name": "work"})
        assert told(remote, "notifications/message") == [{"level": "info", "data": NEW}]


@requirement("C26-238", "C26-241", "C26-242", "C26-244", "C26-245", "C26-247")
@pytest.mark.parametrize("token", [7, "7", 0, ""])
async def test_progress_goes_under_the_token_of_its_request(make_peer: MakePeer, token: Any) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.progress(1)
        await ctx.progress(1.5, 3, "half")
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        await remote.request("tools/call", {"name": "work"})
        assert remote.unread() == []
        await remote.request("tools/call", {"name": "work", "_meta": {"progressToken": token}})
        said = told(remote, "notifications/progress")
        assert said == [
            {"progressToken": token, "progress": 1},
            {"progressToken": token, "progress": 1.5, "total": 3, "message": "half"},
        ]
        assert {type(one["progressToken"]) for one in said} == {type(token)}
        assert "method" not in remote.received[-1]


@requirement("C26-244", "C26-247", "C26-411")
@deprecated
async def test_nothing_is_said_of_a_request_that_was_answered(make_peer: MakePeer) -> None:
    peer, kept = make_peer(), []

    @peer.tool
    async def work(ctx: Context) -> str:
        kept.append(ctx)
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        await remote.request("tools/call", {"name": "work", "_meta": {"progressToken": 1, LEVEL: "debug"}})
        (context,) = kept
        await context.progress(1)
        await context.log("error", "too late")
        await context.report("too late")
        await remote.quiet()
        assert remote.unread() == []


# --- taking requests back ---------------------------------------------------------------------------------------------


class Worker:
    """A tool that goes on until it is told to end, and talks while it is being stopped."""

    def __init__(self, peer: Peer) -> None:
        self.log: list[str] = []
        self.go_on = trio.Event()
        peer.handle("x/work")(self.work)

    async def work(self, ctx: Context, params: Any) -> Any:
        self.log.append("begun")
        try:
            await self.go_on.wait()
            return {}
        finally:
            with trio.CancelScope(shield=True):
                await ctx.progress(1, message="on the way out")
                await ctx.log("error", "on the way out")
                await ctx.report("on the way out")
            self.log.append("over")


@requirement("C26-126", "C26-127", "C26-229", "C26-230", "C26-244")
@deprecated
@pytest.mark.parametrize("id", [1, "1", 0, ""])
async def test_a_cancelled_request_is_stopped_and_not_heard_of_again(make_peer: MakePeer, id: Any) -> None:
    peer = make_peer()
    worker = Worker(peer)
    async with scripted(peer, revision=NEW) as remote:
        await remote.ask("x/work", {"_meta": {"progressToken": "p", LEVEL: "debug"}}, id=id)
        await remote.quiet()
        await remote.notify("notifications/cancelled", {"requestId": id, "reason": "never mind"})
        await remote.quiet()
        assert worker.log == ["begun", "over"]
        assert remote.received == []
        assert await remote.request("server/discover", id=id)


@requirement("C26-127", "C26-244")
@deprecated
async def test_its_last_words_are_not_those_of_the_next_with_its_id(
    make_peer: MakePeer, autojump_clock: trio.testing.MockClock
) -> None:
    peer = make_peer()

    @peer.handle("x/work")
    async def work(ctx: Context, params: Any) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                await ctx.progress(1)
                await ctx.log("error", "on the way out")

    async with scripted(peer, revision=NEW) as remote:
        params = {"_meta": {"progressToken": "p", LEVEL: "debug"}}
        await remote.ask("x/work", params, id="same")
        await remote.quiet()
        await remote.notify("notifications/cancelled", {"requestId": "same"})
        await remote.ask("x/work", params, id="same")
        await trio.sleep(5)
        assert remote.received == []


@requirement("C26-127", "C26-233")
@deprecated
async def test_one_that_is_cancelled_in_the_same_chunk_is_not_answered(make_peer: MakePeer) -> None:
    peer = make_peer()
    worker = Worker(peer)
    request = {"jsonrpc": "2.0", "id": 1, "method": "x/work", "params": {"_meta": stamp()}}
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "_meta": {}}}
    async with scripted(peer, revision=NEW) as remote:
        worker.go_on.set()
        await remote.send_raw(b"".join(json.dumps(message).encode() + b"\n" for message in (request, notice)))
        await remote.quiet()
        assert remote.received == []


@requirement("C26-231", "C26-236", "C26-233")
@deprecated
@pytest.mark.parametrize(
    "params",
    [
        {"requestId": "nobody"},
        {"requestId": 1},
        {},
        {"requestId": None},
        {"requestId": ["w"]},
        {"requestId": "w", "reason": 3},
        {"requestId": "done"},
        None,
        [],
        "w",
    ],
    ids=json.dumps,
)
async def test_a_cancellation_that_matches_nothing_is_ignored(make_peer: MakePeer, params: Any) -> None:
    peer = make_peer()
    worker = Worker(peer)
    async with scripted(peer, revision=NEW) as remote:
        await remote.request("server/discover", id="done")
        await remote.ask("x/work", id="w")
        await remote.quiet()
        before = [message for message in remote.received if message.get("id") is not None]
        await remote.notify("notifications/cancelled", params)
        await remote.quiet()
        assert [message for message in remote.received if message.get("id") is not None] == before
        assert worker.log == ["begun"]
        worker.go_on.set()
        await remote.answer("w")


@requirement("C26-220")
@deprecated
async def test_a_server_takes_back_nothing(make_peer: MakePeer, autojump_clock: trio.testing.MockClock) -> None:
    peer = make_peer()
    Worker(peer)
    async with scripted(peer, revision=NEW) as remote:
        await remote.ask("x/work", id="w")
        await remote.quiet()
        assert remote.connection is not None
        await remote.connection.aclose()
        await remote.ended()
        assert told(remote, "notifications/cancelled") == []


@requirement("C26-129")
@deprecated
async def test_the_end_of_input_ends_it(make_peer: MakePeer, autojump_clock: trio.testing.MockClock) -> None:
    peer = make_peer()
    worker = Worker(peer)
    async with scripted(peer, revision=NEW) as remote:
        await remote.ask("x/work", id="w")
        await remote.quiet()
        await remote.close()
        await remote.ended()
        assert trio.current_time() <= 2
        await remote.quiet()
        assert worker.log == ["begun", "over"]


# --- questions on the wire --------------------------------------------------------------------------------------------


@requirement("C26-250", "C26-458", "C26-461", "C26-463", "C26-464", "C26-256")
async def test_how_questions_are_worded(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def ask(ctx: Context) -> str:
        await ctx.ask_all({"form": Elicit("Who?", {"name": str}), "visit": ElicitUrl("Go", "https://example.com/a")})
        return "done"

    async with scripted(peer, revision=NEW) as remote:
        assert (await remote.request("tools/call", {"name": "ask"}))["inputRequests"] == {
            "form": {
                "method": "elicitation/create",
                "params": {
                    "mode": "form",
                    "message": "Who?",
                    "requestedSchema": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}},
                        "required": ["name"],
                    },
                },
            },
            "visit": {
                "method": "elicitation/create",
                "params": {"mode": "url", "message": "Go", "url": "https://example.com/a"},
            },
        }


# --- input of every kind ----------------------------------------------------------------------------------------------


@requirement("C26-003", "C26-066", "C26-016", "C26-120", "C26-116")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", None),
        (b"nonsense", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"a":"\xff"}}}', -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', -32600),
        (b"null", -32600),
        (b"3", -32600),
        (b'"x"', -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600),
        (b'{"id":1,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":3}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":3}', None),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}', None),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', None),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}', None),
        (b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}', None),
        (b'{"jsonrpc":"2.0","id":"hold","method":"tools/list"}', -32600),
        (b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":3}', None),
        (b"[" * 400 + b"]" * 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 70_000 + b'"}', None),
    ],
    ids=range(27),
)
async def test_a_message_that_is_none_leaves_the_connection_usable(
    make_peer: MakePeer, line: bytes, code: int | None
) -> None:
    peer, go_on = make_peer(limits=Limits(message_bytes=50_000)), trio.Event()

    @peer.handle("x/hold")
    async def hold(ctx: Context, params: Any) -> Any:
        await go_on.wait()
        return {"held": True}

    async with scripted(peer, revision=NEW) as remote:
        await remote.ask("x/hold", id="hold")
        await remote.quiet()
        await remote.send_raw(line + b"\n")
        await remote.quiet()
        assert len(remote.received) <= 1
        if code is not None:
            assert remote.received[0]["error"]["code"] == code
            assert remote.received[0].get("id") in (None, 1)
        assert not remote.answered("hold")
        go_on.set()
        assert (await remote.answer("hold"))["held"] is True
        assert (await remote.request("server/discover"))["supportedVersions"]


async def test_too_many_requests_at_once(make_peer: MakePeer) -> None:
    peer, go_on = make_peer(limits=Limits(in_flight=3)), trio.Event()

    @peer.handle("x/hold")
    async def hold(ctx: Context, params: Any) -> Any:
        await go_on.wait()
        return {}

    async with scripted(peer, revision=NEW) as remote:
        ids = [await remote.ask("x/hold") for _ in range(4)]
        error = (await remote.response(ids[-1]))["error"]
        assert (error["code"], error["data"]) == (-32603, {"limit": "in_flight", "value": 3})
        go_on.set()
        for id in ids[:-1]:
            await remote.answer(id)
