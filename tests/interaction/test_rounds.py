"""Multi round-trip requests: a question ends the request, its answer comes with the next, the handler runs again."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from mcp_tasks import (
    Clock,
    Context,
    Elicit,
    ElicitUrl,
    Limits,
    Peer,
    Roots,
    Sample,
    UrlElicitationRequired,
)
from mcp_tasks.testing import Remote, scripted

MakePeer = Callable[..., Peer]
requirement = pytest.mark.requirement

NEW = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER = "io.modelcontextprotocol/serverInfo"
TASKS = "io.modelcontextprotocol/tasks"
ASKABLE = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}, "context": {}}, "roots": {}}
"""Everything that a client can be asked, without tasks."""
INVALID_STATE = "$.params.requestState: not a state of this request"
MOCK = trio.testing.MockClock


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


@asynccontextmanager
async def client(peer: Peer, capabilities: Any = ASKABLE, **options: Any) -> AsyncIterator[Remote]:
    async with scripted(peer, revision=NEW, capabilities=capabilities, **options) as remote:
        yield remote


async def call(remote: Remote, name: str = "work", asked: Any = None, answers: Any = None, **params: Any) -> Any:
    """Call a tool; `asked` is what it was answered with before, and `answers` are the answers to that."""
    return await remote.request("tools/call", params_of(name, asked, answers, **params))


async def refused(remote: Remote, name: str = "work", asked: Any = None, answers: Any = None, **params: Any) -> Any:
    """The error that a call is answered with."""
    id = await remote.ask("tools/call", params_of(name, asked, answers, **params))
    return (await remote.response(id))["error"]


def params_of(name: str, asked: Any, answers: Any, **params: Any) -> dict[str, Any]:
    retry = {} if asked is None else {"requestState": asked["requestState"]}
    if answers is not None:
        retry["inputResponses"] = answers
    return {"name": name, **params, **retry}


def text(result: Any) -> str:
    assert result["resultType"] == "complete", result
    (content,) = result["content"]
    return content["text"]  # type: ignore[no-any-return]


def keys(asked: Any) -> list[str]:
    assert asked["resultType"] == "input_required", asked
    return sorted(asked["inputRequests"])


@pytest.fixture
def runs() -> list[str]:
    """What the handler has done, over all rounds."""
    return []


@pytest.fixture
def peer(make_peer: MakePeer, runs: list[str]) -> Peer:
    """Its tool asks for a name, and greets."""
    peer = make_peer(clock=Clock(1_760_000_000.0))

    @peer.tool
    async def work(ctx: Context, n: int = 0) -> str:
        runs.append("run")
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        runs.append("answered")
        return f"hi {answer.content['name']}" if answer.action == "accept" else answer.action

    return peer


# --- one round --------------------------------------------------------------------------------------------------------


@requirement("C26-010", "C26-011", "C26-061", "C26-248", "C26-250", "C26-252", "C26-255", "C26-256", "C26-257")
@requirement("C26-264", "C26-328", "C26-457", "C26-115")
async def test_one_question(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        asked = await call(remote)
        state = asked.pop("requestState")
        assert type(state) is str
        assert asked == {
            "resultType": "input_required",
            "inputRequests": {
                "name": {
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
                }
            },
            "_meta": {SERVER: {"name": "sut", "version": "1.0"}},
        }
        result = await call(remote, "work", {"requestState": state}, {"name": accept(name="Ada")})
        assert text(result) == "hi Ada"
        assert runs == ["run", "run", "answered"]


@requirement("C26-475")
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_an_answer_may_be_no(peer: Peer, action: str) -> None:
    async with client(peer) as remote:
        assert text(await call(remote, "work", await call(remote), {"name": {"action": action}})) == action


@requirement("C26-252", "C26-366", "C26-384")
@pytest.mark.parametrize(
    ("method", "params", "found"),
    [
        ("prompts/get", {"name": "greet"}, lambda result: result["messages"][0]["content"]["text"]),
        ("resources/read", {"uri": "note:"}, lambda result: result["contents"][0]["text"]),
    ],
)
async def test_prompts_and_resources_ask_too(make_peer: MakePeer, method: str, params: Any, found: Any) -> None:
    peer = make_peer()

    async def greet(ctx: Context) -> str:
        answer = await ctx.elicit("Who?", {"name": str})
        return f"hi {answer.content['name']}"

    peer.prompt(greet)
    peer.resource("note:")(greet)
    async with client(peer) as remote:
        asked = await remote.request(method, params)
        assert keys(asked) == ["elicit-1"]
        answers = {"elicit-1": accept(name="Ada")}
        retry = {**params, "inputResponses": answers, "requestState": asked["requestState"]}
        result = await remote.request(method, retry)
        assert result["resultType"] == "complete"
        assert found(result) == "hi Ada"


@requirement("C26-253")
@pytest.mark.parametrize(
    ("method", "params"),
    [
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": ""}},
        ),
        ("tools/list", {}),
        ("resources/list", {}),
        ("x/own", {}),
    ],
)
async def test_nothing_else_can_ask(make_peer: MakePeer, method: str, params: Any) -> None:
    peer = make_peer()

    @peer.handle(method)
    async def ask(ctx: Context, params: Any) -> Any:
        await ctx.elicit("Who?", {"name": str})
        return {}

    async with client(peer) as remote:
        error = (await remote.response(await remote.ask(method, params)))["error"]
        assert error["code"] == -32603
        given = {**params, "inputResponses": {"elicit-1": accept(name="Ada")}, "requestState": "x"}
        assert (await remote.response(await remote.ask(method, given)))["error"]["code"] == -32603


@requirement("C26-248", "C26-256")
@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
async def test_questions_of_every_kind(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        roots = await ctx.roots()
        reply = await ctx.sample("Hello?")
        visit = await ctx.elicit_url("Go", "https://example.com")
        return f"{roots[0].uri} {reply.model} {visit.action}"

    answers: dict[str, Any] = {
        "roots-1": {"roots": [{"uri": "file:///a"}]},
        "sample-1": {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"},
        "elicit-url-1": {"action": "accept"},
    }
    async with client(peer) as remote:
        result = await call(remote)
        for key, method in zip(answers, ("roots/list", "sampling/createMessage", "elicitation/create"), strict=True):
            assert keys(result) == [key]
            assert result["inputRequests"][key]["method"] == method
            result = await call(remote, "work", result, {key: answers[key]})
        assert text(result) == "file:///a m accept"


# --- several questions ------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(make_peer: MakePeer, runs: list[str]) -> Peer:
    """Its tools ask two things at once, each in its way."""
    peer = make_peer()
    questions = {"a": Elicit("A?", {"x": int}), "b": Elicit("B?", {"x": int})}

    @peer.tool
    async def together(ctx: Context) -> str:
        runs.append("run")
        found = await ctx.ask_all(questions)
        return str(sum(answer.content["x"] for answer in found.values()))

    @peer.tool
    async def nursery(ctx: Context) -> str:
        runs.append("run")
        found = []

        async def ask(key: str) -> None:
            found.append((await ctx.ask(key, questions[key])).content["x"])

        async with trio.open_nursery() as nursery:
            for key in questions:
                nursery.start_soon(ask, key)
        return str(sum(found))

    return peer


@requirement("C26-255", "C26-267")
@pytest.mark.parametrize("tool", ["together", "nursery"])
async def test_what_is_asked_at_once_costs_one_round(pair: Peer, tool: str, runs: list[str]) -> None:
    async with client(pair) as remote:
        asked = await call(remote, tool)
        assert keys(asked) == ["a", "b"]
        assert text(await call(remote, tool, asked, {"a": accept(x=1), "b": accept(x=2)})) == "3"
        assert runs == ["run"] * 2


@requirement("C26-278", "C26-266", "C26-267")
@pytest.mark.parametrize("tool", ["together", "nursery"])
async def test_answers_that_are_missing_are_asked_for_again(pair: Peer, tool: str) -> None:
    async with client(pair) as remote:
        asked = await call(remote, tool)
        for answers in (None, {}, {"c": accept(x=7)}):
            asked = await call(remote, tool, asked, answers)
            assert keys(asked) == ["a", "b"]
        asked = await call(remote, tool, asked, {"b": accept(x=2)})
        assert keys(asked) == ["a"], "what is known is not asked again"
        assert text(await call(remote, tool, asked, {"a": accept(x=1)})) == "3"


@requirement("C26-277")
async def test_answers_to_what_was_not_asked_are_passed_over(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        answers = {"name": accept(name="Ada"), "other": accept(name="Bob"), "": {}, "x": {"nonsense": [1]}}
        assert text(await call(remote, "work", await call(remote), answers)) == "hi Ada"


@requirement("C26-277", "C26-258")
async def test_an_extra_answer_is_not_kept_for_a_later_question(make_peer: MakePeer) -> None:
    """Else a client could answer what it has not been asked yet."""
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        first = await ctx.ask("first", Elicit("First?", {"x": int}))
        second = await ctx.ask("second", Elicit("Second?", {"x": int}))
        return f"{first.content['x']} {second.content['x']}"

    async with client(peer) as remote:
        asked = await call(remote, "work", await call(remote), {"first": accept(x=1), "second": accept(x=9)})
        assert keys(asked) == ["second"]
        assert text(await call(remote, "work", asked, {"second": accept(x=2), "first": accept(x=9)})) == "1 2"


async def test_questions_one_after_the_other_cost_a_round_each(make_peer: MakePeer, runs: list[str]) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        runs.append("run")
        return "".join([(await ctx.elicit(f"{n}?", {"x": str})).content["x"] for n in range(5)])

    async with client(peer) as remote:
        asked, states = await call(remote), set()
        for n in range(5):
            assert keys(asked) == [f"elicit-{n + 1}"]
            states.add(asked["requestState"])
            asked = await call(remote, "work", asked, {f"elicit-{n + 1}": accept(x=str(n))})
        assert text(asked) == "01234"
        assert len(states) == 5
        assert len(runs) == 6


async def test_an_effect_that_must_not_be_repeated_is_not(make_peer: MakePeer) -> None:
    peer, effects = make_peer(), []

    @peer.tool
    async def work(ctx: Context) -> str:
        async def effect() -> Any:
            effects.append("done")
            return {"number": len(effects)}

        first = await ctx.once("first", effect)
        await ctx.elicit("One?", {})
        second = await ctx.once("second", effect)
        await ctx.elicit("Two?", {})
        return f"{first['number']} {second['number']}"

    async with client(peer) as remote:
        asked = await call(remote)
        assert len(effects) == 1
        asked = await call(remote, "work", asked, {"elicit-1": accept()})
        assert len(effects) == 2
        assert text(await call(remote, "work", asked, {"elicit-2": accept()})) == "1 2"
        assert len(effects) == 2


@requirement("C26-258", "C26-259")
async def test_a_client_cannot_answer_for_an_effect(make_peer: MakePeer) -> None:
    peer, effects = make_peer(), []

    @peer.tool
    async def work(ctx: Context) -> str:
        async def effect() -> Any:
            effects.append("done")
            return {"paid": True}

        await ctx.elicit("Sure?", {})
        return str((await ctx.once("pay", effect))["paid"])

    async with client(peer) as remote:
        forged = {"pay": {"paid": False}, "elicit-1": accept()}
        assert text(await call(remote, "work", None, forged)) == "True"
        assert text(await call(remote, "work", await call(remote), forged)) == "True"
        assert effects == ["done"] * 2


@requirement("C26-278")
async def test_answers_without_a_state_are_good_for_what_is_asked(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        assert text(await call(remote, "work", None, {"name": accept(name="Ada")})) == "hi Ada"
        assert runs == ["run", "answered"]
        assert keys(await call(remote, "work", None, {"nom": accept(name="Ada")})) == ["name"]


async def test_a_question_that_the_handler_gave_up_is_not_asked(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        async def impatient() -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await ctx.ask("given-up", Elicit("A?", {}))

        await impatient()
        await ctx.ask("wanted", Elicit("B?", {}))
        return "done"

    async with client(peer) as remote:
        asked = await call(remote)
        assert keys(asked) == ["wanted"]
        assert text(await call(remote, "work", asked, {"wanted": accept()})) == "done"


# --- what is in the way -----------------------------------------------------------------------------------------------


@requirement("C26-275", "C26-276", "C26-258")
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({}, "$.params.inputResponses.name"),
        ({"action": "maybe"}, "$.params.inputResponses.name.action"),
        ({"action": 3}, "$.params.inputResponses.name.action"),
        ({"action": "accept", "content": 3}, "$.params.inputResponses.name.content"),
        ({"action": "accept", "content": {"name": {}}}, "$.params.inputResponses.name"),
        ({"action": "accept", "content": {"name": 3}}, "$.params.inputResponses.name"),
        ({"action": "accept", "content": {}}, "$.params.inputResponses.name"),
        ({"action": "accept"}, "$.params.inputResponses.name"),
        ({"roots": []}, "$.params.inputResponses.name"),
        (3, "$.params.inputResponses.name"),
        (None, "$.params.inputResponses.name"),
        ([], "$.params.inputResponses.name"),
    ],
)
async def test_an_answer_of_the_wrong_shape(
    peer: Peer, answer: Any, path: str, with_state: bool, runs: list[str]
) -> None:
    async with client(peer) as remote:
        asked = await call(remote) if with_state else None
        error = await refused(remote, "work", asked, {"name": answer})
        assert error["code"] == -32602
        assert error["message"].startswith(path)
        assert "answered" not in runs
        again = await call(remote)
        assert text(await call(remote, "work", again, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-059", "C26-265", "C26-456", "C26-427", "C26-430", "C26-454", "C26-499", "C26-024")
@pytest.mark.parametrize("kind", ["tool", "prompt", "resource"])
@pytest.mark.parametrize(
    ("question", "declared", "required"),
    [
        (Elicit("Who?", {}), {}, {"elicitation": {}}),
        (Elicit("Who?", {}), {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
        (ElicitUrl("Go", "https://a.b"), {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (ElicitUrl("Go", "https://a.b"), {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}),
        (Sample("Hi"), {"elicitation": {}}, {"sampling": {}}),
        (Sample("Hi", tools=[]), {"sampling": {}}, {"sampling": {"tools": {}}}),
        (Sample("Hi", include_context="thisServer"), {"sampling": {"tools": {}}}, {"sampling": {"context": {}}}),
        (Roots(), {"sampling": {}, "elicitation": {}}, {"roots": {}}),
    ],
)
async def test_a_capability_that_was_not_declared(
    make_peer: MakePeer, kind: str, question: Any, declared: Any, required: Any
) -> None:
    peer = make_peer()

    async def work(ctx: Context) -> str:
        await ctx.ask("question", question)
        return "done"

    peer.tool(work)
    peer.prompt(work)
    peer.resource("note:")(work)
    method, params = {
        "tool": ("tools/call", {"name": "work"}),
        "prompt": ("prompts/get", {"name": "work"}),
        "resource": ("resources/read", {"uri": "note:"}),
    }[kind]
    async with client(peer, declared) as remote:
        error = (await remote.response(await remote.ask(method, params)))["error"]
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": required}


@requirement("C26-454")
async def test_an_empty_elicitation_capability_means_forms(peer: Peer) -> None:
    async with client(peer, {"elicitation": {}}) as remote:
        assert keys(await call(remote)) == ["name"]


@requirement("C26-058", "C26-059")
async def test_the_retry_has_to_declare_it_again_only_for_what_is_asked_then(pair: Peer) -> None:
    async with client(pair) as remote:
        asked = await call(remote, "together")
        none = {CAPABILITIES: {}}
        error = await refused(remote, "together", asked, {"a": accept(x=1)}, _meta=none)
        assert error["code"] == -32021
        asked = await call(remote, "together")
        answers = {"a": accept(x=1), "b": accept(x=2)}
        assert text(await call(remote, "together", asked, answers, _meta=none)) == "3"


@requirement("C26-267")
@pytest.mark.parametrize("limit", [1, 3])
async def test_rounds_have_an_end(make_peer: MakePeer, limit: int) -> None:
    peer = make_peer(limits=Limits(rounds=limit))

    @peer.tool
    async def work(ctx: Context) -> str:
        while True:
            await ctx.elicit("Again?", {})

    async with client(peer) as remote:
        asked = await call(remote)
        for n in range(1, limit):
            asked = await call(remote, "work", asked, {f"elicit-{n}": accept()})
        error = await refused(remote, "work", asked, {f"elicit-{limit}": accept()})
        assert error["code"] == -32603
        assert error["data"] == {"limit": "rounds", "value": limit}


async def test_not_answering_has_an_end_too(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(rounds=2))

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.elicit("Well?", {})
        return "done"

    async with client(peer) as remote:
        asked = await call(remote, "work", await call(remote))
        assert (await refused(remote, "work", asked))["code"] == -32603


async def test_using_a_key_twice_in_one_run_is_our_mistake(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.handle("prompts/get")
    async def get(ctx: Context, params: Any) -> Any:
        await ctx.ask("key", Elicit("A?", {}))
        await ctx.ask("key", Elicit("B?", {}))

    async with client(peer) as remote:
        asked = await remote.request("prompts/get", {"name": "p"})
        retry = {"name": "p", "requestState": asked["requestState"], "inputResponses": {"key": accept()}}
        assert (await remote.response(await remote.ask("prompts/get", retry)))["error"]["code"] == -32603


# --- the state --------------------------------------------------------------------------------------------------------


async def check_refused(remote: Remote, state: str, **params: Any) -> None:
    error = await refused(remote, "work", {"requestState": state}, {"name": accept(name="Ada")}, **params)
    assert (error["code"], error["message"]) == (-32602, INVALID_STATE)
    assert "data" not in error


@requirement("C26-258", "C26-259", "C26-260")
async def test_a_state_that_was_tampered_with(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        asked = await call(remote)
        state = asked["requestState"]
        raw = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
        runs.clear()
        for place in range(len(raw)):
            flipped = bytearray(raw)
            flipped[place] ^= 1 << place % 8
            await check_refused(remote, base64.urlsafe_b64encode(flipped).decode().rstrip("="))
        assert runs == [], "no handler has seen any of that"
        assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-258", "C26-260")
async def test_a_state_that_was_cut_or_is_somebodys_invention(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        asked, other = await call(remote), await call(remote)
        state = asked["requestState"]
        runs.clear()
        for length in range(0, len(state), 3):
            await check_refused(remote, state[:length])
        for text_ in (state + "A", state + "=", state + state, " " + state, state[1:], "é", "\x00", "{}", "null"):
            await check_refused(remote, text_)
        await check_refused(remote, state[:40] + other["requestState"][40:])
        assert runs == []
        assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-262", "C26-258", "C26-260", "C26-081", "C26-082")
async def test_a_state_is_its_principals_alone(peer: Peer, runs: list[str]) -> None:
    async with client(peer, principal="ada") as ada, client(peer, principal="bob") as bob, client(peer) as nobody:
        asked = await call(ada)
        for other in (bob, nobody):
            await check_refused(other, asked["requestState"])
        assert runs == ["run"]
        assert text(await call(ada, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-033", "C26-262")
async def test_a_principal_may_answer_on_another_connection(peer: Peer) -> None:
    async with client(peer, principal="ada") as one:
        asked = await call(one)
    async with client(peer, principal="ada") as other:
        assert text(await call(other, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-262", "C26-260")
async def test_a_state_is_good_for_its_request_alone(peer: Peer) -> None:
    @peer.tool
    async def other(ctx: Context, n: int = 0) -> str:
        return str(await ctx.ask("name", Elicit("Who?", {"name": str})))

    async with client(peer) as remote:
        asked = await call(remote, arguments={"n": 1})
        state, answers = asked["requestState"], {"name": accept(name="Ada")}
        for params in ({}, {"arguments": {"n": 2}}, {"arguments": {"n": 1.0}}, {"arguments": {"n": 1}, "more": 1}):
            await check_refused(remote, state, **params)
        error = await refused(remote, "other", asked, answers, arguments={"n": 1})
        assert error["message"] == INVALID_STATE
        assert text(await call(remote, "work", asked, answers, arguments={"n": 1})) == "hi Ada"


@requirement("C26-262", "C26-260")
async def test_a_state_is_good_for_its_method_alone(peer: Peer) -> None:
    @peer.prompt(name="work")
    async def work(ctx: Context) -> str:
        return str(await ctx.ask("name", Elicit("Who?", {"name": str})))

    async with client(peer) as remote:
        asked = await call(remote)
        id = await remote.ask("prompts/get", params_of("work", asked, {"name": accept(name="Ada")}))
        error = (await remote.response(id))["error"]
        assert (error["code"], error["message"]) == (-32602, INVALID_STATE)


async def test_meta_may_differ_in_the_retry(peer: Peer) -> None:
    async with client(peer) as remote:
        asked = await call(remote, _meta={"progressToken": 1, "a": 1})
        answers = {"name": accept(name="Ada")}
        assert text(await call(remote, "work", asked, answers, _meta={"progressToken": 2})) == "hi Ada"


@requirement("C26-262", "C26-260")
@pytest.mark.parametrize(("after", "good"), [(599.9, True), (600.1, False)])
async def test_a_state_has_its_time(peer: Peer, after: float, good: bool, mock_clock: MOCK) -> None:
    async with client(peer) as remote:
        asked = await call(remote)
        mock_clock.jump(after)
        if good:
            assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"
        else:
            await check_refused(remote, asked["requestState"])
            assert keys(await call(remote)) == ["name"]


@requirement("C26-262")
async def test_the_time_of_a_state_is_ours_to_choose(make_peer: MakePeer, mock_clock: MOCK) -> None:
    peer = make_peer(limits=Limits(state_seconds=5))

    @peer.tool
    async def work(ctx: Context) -> str:
        return str((await ctx.ask("name", Elicit("Who?", {}))).action)

    async with client(peer) as remote:
        asked = await call(remote)
        mock_clock.jump(4)
        asked = await call(remote, "work", asked)
        mock_clock.jump(4)
        asked = await call(remote, "work", asked)  # each round begins it anew
        mock_clock.jump(6)
        await check_refused(remote, asked["requestState"])


@requirement("C26-263")
async def test_a_state_is_used_up_by_the_answer(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        asked = await call(remote)
        assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"
        runs.clear()
        await check_refused(remote, asked["requestState"])
        assert runs == []


@requirement("C26-263")
async def test_a_state_is_used_up_by_the_next_question(pair: Peer) -> None:
    async with client(pair) as remote:
        first = await call(remote, "together")
        second = await call(remote, "together", first, {"a": accept(x=1)})
        error = await refused(remote, "together", first, {"a": accept(x=9)})
        assert error["message"] == INVALID_STATE
        assert text(await call(remote, "together", second, {"b": accept(x=2)})) == "3"


@requirement("C26-263")
async def test_a_state_is_used_by_one_request_at_a_time(make_peer: MakePeer, runs: list[str]) -> None:
    peer, go_on = make_peer(), trio.Event()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.ask("name", Elicit("Who?", {}))
        runs.append("paid")
        await go_on.wait()
        return "done"

    async with client(peer) as remote:
        asked = await call(remote)
        id = await remote.ask("tools/call", params_of("work", asked, {"name": accept()}))
        await remote.quiet()
        await check_refused(remote, asked["requestState"])
        go_on.set()
        assert text(await remote.answer(id)) == "done"
        assert runs == ["paid"]


@requirement("C26-263")
async def test_two_requests_with_one_state_in_one_chunk(peer: Peer, runs: list[str]) -> None:
    async with client(peer) as remote:
        asked = await call(remote)
        ids = [await remote.ask("tools/call", params_of("work", asked, {"name": accept(name=n)})) for n in ("A", "B")]
        responses = [await remote.response(id) for id in ids]
        assert sorted("error" in response for response in responses) == [False, True]
        assert runs.count("answered") == 1


@requirement("C26-263", "C26-126", "C26-127", "C26-230")
async def test_a_retry_that_was_cancelled_may_be_made_again(make_peer: MakePeer, runs: list[str]) -> None:
    peer, go_on = make_peer(), trio.Event()

    @peer.tool
    async def work(ctx: Context) -> str:
        await ctx.ask("name", Elicit("Who?", {}))
        try:
            await go_on.wait()
            return "done"
        except trio.Cancelled:
            runs.append("cancelled")
            raise

    async with client(peer) as remote:
        asked = await call(remote)
        for _ in range(2):
            id = await remote.ask("tools/call", params_of("work", asked, {"name": accept()}))
            await remote.quiet()
            await remote.notify("notifications/cancelled", {"requestId": id})
            await remote.quiet()
            assert not remote.answered(id)
        assert runs == ["cancelled"] * 2
        go_on.set()
        assert text(await call(remote, "work", asked, {"name": accept()})) == "done"
        await check_refused_as(remote, asked)


async def check_refused_as(remote: Remote, asked: Any) -> None:
    error = await refused(remote, "work", asked, {"name": accept()})
    assert (error["code"], error["message"]) == (-32602, INVALID_STATE)


@requirement("C26-033", "C26-262")
async def test_keys_are_changed_while_clients_are_on_their_way(make_peer: MakePeer) -> None:
    old, new = b"o" * 32, b"n" * 32

    def process(*state_keys: bytes) -> Peer:
        peer = make_peer(state_keys=state_keys)

        @peer.tool
        async def work(ctx: Context) -> str:
            return f"hi {(await ctx.ask('name', Elicit('Who?', {'name': str}))).content['name']}"

        return peer

    async def asked_by(peer: Peer) -> Any:
        async with client(peer, principal="ada") as remote:
            return await call(remote)

    async def opened_by(peer: Peer, asked: Any) -> None:
        async with client(peer, principal="ada") as remote:
            assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"

    async def refused_by(peer: Peer, asked: Any) -> None:
        async with client(peer, principal="ada") as remote:
            await check_refused(remote, asked["requestState"])

    await opened_by(process(old), await asked_by(process(old)))
    await opened_by(process(old, new), await asked_by(process(old)))
    await opened_by(process(old, new), await asked_by(process(new, old)))
    await opened_by(process(new, old), await asked_by(process(old, new)))
    await refused_by(process(new), await asked_by(process(old, new)))
    await refused_by(process(old), await asked_by(process(new, old)))
    await refused_by(process(), await asked_by(process()))


# --- handlers and rounds ----------------------------------------------------------------------------------------------


async def test_cleaning_up_happens_in_each_round_and_before_the_answer(make_peer: MakePeer, runs: list[str]) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        runs.append("begin")
        try:
            await ctx.elicit("Well?", {})
            return "done"
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            runs.append("end")

    async with client(peer) as remote:
        asked = await call(remote)
        assert runs == ["begin", "end"]
        assert text(await call(remote, "work", asked, {"elicit-1": accept()})) == "done"
        assert runs == ["begin", "end"] * 2


async def test_middleware_is_around_each_round(peer: Peer, runs: list[str]) -> None:
    @peer.middleware
    async def around(ctx: Context, proceed: Any) -> Any:
        runs.append(f"in {ctx.method}")
        try:
            return await proceed()
        finally:
            runs.append("out")

    async with client(peer) as remote:
        asked = await call(remote)
        assert runs == ["in tools/call", "run", "out"]
        await call(remote, "work", asked, {"name": accept(name="Ada")})
        assert runs[3:] == ["in tools/call", "run", "answered", "out"]


async def test_middleware_may_ask_as_well(peer: Peer) -> None:
    @peer.middleware
    async def around(ctx: Context, proceed: Any) -> Any:
        await ctx.ask("allowed", Elicit("May it?", {}))
        return await proceed()

    async with client(peer) as remote:
        asked = await call(remote)
        assert keys(asked) == ["allowed"]
        asked = await call(remote, "work", asked, {"allowed": accept()})
        assert keys(asked) == ["name"]
        assert text(await call(remote, "work", asked, {"name": accept(name="Ada")})) == "hi Ada"


@requirement("C26-126", "C26-127")
async def test_a_round_is_cancelled(make_peer: MakePeer, runs: list[str]) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        try:
            await trio.sleep_forever()
        finally:
            runs.append("over")
        return ""

    async with client(peer) as remote:
        id = await remote.ask("tools/call", {"name": "work"})
        await remote.quiet()
        await remote.notify("notifications/cancelled", {"requestId": id})
        await remote.quiet()
        assert runs == ["over"]
        assert remote.received == []


async def test_many_rounds_at_once(peer: Peer) -> None:
    async with client(peer) as remote:
        asked = [await call(remote, arguments={"n": n}) for n in range(20)]
        assert len({one["requestState"] for one in asked}) == 20
        for n in reversed(range(20)):
            answers = {"name": accept(name=str(n))}
            assert text(await call(remote, "work", asked[n], answers, arguments={"n": n})) == f"hi {n}"


async def test_a_long_journal_travels(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work(ctx: Context) -> str:
        first = await ctx.elicit("Text?", {"text": str})
        await ctx.elicit("Sure?", {})
        return str(len(first.content["text"]))

    async with client(peer) as remote:
        asked = await call(remote, "work", await call(remote), {"elicit-1": accept(text="é" * 200_000)})
        assert text(await call(remote, "work", asked, {"elicit-2": accept()})) == "200000"


# --- visits that are required -----------------------------------------------------------------------------------------


def visit(url: str, **more: Any) -> dict[str, Any]:
    return {"mode": "url", "message": f"Go to {url}", "url": url, "elicitationId": "e", **more}


@requirement("C26-025", "C26-463", "C26-464")
async def test_a_visit_that_is_required_becomes_a_question(make_peer: MakePeer) -> None:
    peer, been = make_peer(), []

    @peer.tool
    async def work() -> str:
        if not been:
            raise UrlElicitationRequired([visit("https://a.example"), visit("https://b.example")])
        return "done"

    async with client(peer) as remote:
        asked = await call(remote)
        assert asked["inputRequests"] == {
            f"url-{number}": {
                "method": "elicitation/create",
                "params": {"mode": "url", "message": f"Go to {url}", "url": url},
            }
            for number, url in enumerate(("https://a.example", "https://b.example"), 1)
        }
        been.append("there")
        answers = {key: {"action": "accept"} for key in asked["inputRequests"]}
        assert text(await call(remote, "work", asked, answers)) == "done"


@requirement("C26-059", "C26-456")
async def test_a_visit_needs_a_client_that_can_make_it(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool
    async def work() -> str:
        raise UrlElicitationRequired([visit("https://a.example")])

    async with client(peer, {"elicitation": {}}) as remote:
        error = await refused(remote)
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"elicitation": {"url": {}}}})


async def test_who_never_goes_there_is_not_asked_for_ever(make_peer: MakePeer) -> None:
    peer = make_peer(limits=Limits(rounds=2))

    @peer.tool
    async def work() -> str:
        raise UrlElicitationRequired([visit("https://a.example")])

    async with client(peer) as remote:
        asked = await call(remote)
        asked = await call(remote, "work", asked, {"url-1": {"action": "decline"}})
        assert (await refused(remote, "work", asked))["code"] == -32603


# --- what must not run twice ------------------------------------------------------------------------------------------


@pytest.fixture
def once(make_peer: MakePeer, runs: list[str]) -> Peer:
    peer = make_peer()

    @peer.tool(rerun=False)
    async def work(ctx: Context) -> str:
        runs.append("run")
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        runs.append("answered")
        return f"hi {answer.content['name']}"

    return peer


@requirement("X26-011", "X26-012", "C26-059")
async def test_its_question_needs_a_task(once: Peer, runs: list[str]) -> None:
    async with client(once) as remote:
        error = await refused(remote)
        assert (error["code"], error["data"]) == (-32021, {"requiredCapabilities": {"extensions": {TASKS: {}}}})
        assert runs == ["run"]


@requirement("X26-005", "X26-016", "X26-052")
async def test_its_question_is_asked_in_a_task(once: Peer, runs: list[str], autojump_clock: MOCK) -> None:
    async with client(once, {**ASKABLE, "extensions": {TASKS: {}}}) as remote:
        created = await call(remote)
        assert created["resultType"] == "task"
        assert trio.current_time() < 0.1, "at once, and not after a grace"
        await remote.quiet()
        task = {"taskId": created["taskId"]}
        assert (await remote.request("tasks/get", task))["status"] == "input_required"
        await remote.request("tasks/update", {**task, "inputResponses": {"name": accept(name="Ada")}})
        await remote.quiet()
        done = await remote.request("tasks/get", task)
        assert (done["status"], text(done["result"])) == ("completed", "hi Ada")
        assert runs == ["run", "answered"]


@pytest.mark.parametrize("declared", [ASKABLE, {**ASKABLE, "extensions": {TASKS: {}}}], ids=["plain", "tasks"])
@pytest.mark.parametrize(
    ("method", "params"),
    [("prompts/get", {"name": "p"}), ("resources/read", {"uri": "r:"})],
    ids=["prompt", "resource"],
)
async def test_where_there_are_no_tasks_it_cannot_ask(
    make_peer: MakePeer, runs: list[str], method: str, params: Any, declared: Any
) -> None:
    peer = make_peer()

    @peer.handle(method, rerun=False)
    async def work(ctx: Context, params: Any) -> Any:
        runs.append("run")
        await ctx.ask("name", Elicit("Who?", {"name": str}))
        return {}

    async with client(peer, declared) as remote:
        id = await remote.ask(method, params)
        await remote.quiet()
        assert remote.answered(id)
        assert (await remote.response(id))["error"]["code"] == -32603
        assert runs == ["run"]


async def test_a_visit_does_not_make_it_run_twice_either(make_peer: MakePeer, runs: list[str]) -> None:
    peer = make_peer()

    @peer.tool(rerun=False)
    async def work() -> str:
        runs.append("run")
        raise UrlElicitationRequired([visit("https://a.example")])

    for declared in (ASKABLE, {**ASKABLE, "extensions": {TASKS: {}}}):
        async with client(peer, declared) as remote:
            assert (await refused(remote))["code"] == -32603
    assert runs == ["run"] * 2


async def test_without_a_question_it_is_a_plain_call(make_peer: MakePeer) -> None:
    peer = make_peer()

    @peer.tool(rerun=False)
    async def work() -> str:
        return "done"

    for declared in (ASKABLE, {**ASKABLE, "extensions": {TASKS: {}}}):
        async with client(peer, declared) as remote:
            assert text(await call(remote)) == "done"
