"""The tasks extension of 2026-07-28: what becomes a task, and how that is looked at, answered, cancelled and lost."""

import json
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
    InvalidParams,
    Limits,
    MemoryTaskStore,
    Peer,
    RequestFailed,
    ResourceNotFound,
    Room,
    Side,
    TaskRecord,
    ToolError,
    UrlElicitationRequired,
)
from mcp_tasks.testing import Remote, scripted

MakePeer = Callable[..., Peer]
Mock = trio.testing.MockClock
requirement = pytest.mark.requirement

EPOCH, EPOCH_TEXT = 1_760_000_000.0, "2025-10-09T08:53:20.000Z"
NEW, OLD = "2026-07-28", "2025-11-25"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
LEVEL = "io.modelcontextprotocol/logLevel"
SERVER = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
RELATED = "io.modelcontextprotocol/related-task"
TASKS = "io.modelcontextprotocol/tasks"
EXTENSION = {TASKS: {}}
REQUIRED = {"requiredCapabilities": {"extensions": EXTENSION}}
WITHOUT = {"elicitation": {"form": {}, "url": {}}}
"""The capabilities of a client that can be asked and knows no tasks."""
META = {SERVER: {"name": "sut", "version": "1.0"}}
COMPLETE = {"resultType": "complete", "_meta": META}
"""The answer that there is nothing to say."""
TASK_MEMBERS = {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"}


class SlowStore(MemoryTaskStore):
    """A store that takes a second to create a record."""

    async def create(self, record: TaskRecord, room: Room | None = None) -> None:
        await trio.sleep(1)
        await super().create(record, room)


@asynccontextmanager
async def client(peer: Peer, **options: Any) -> AsyncIterator[Remote]:
    async with scripted(peer, revision=NEW, **options) as remote:
        yield remote


async def call(remote: Remote, name: str = "work", **params: Any) -> Any:
    return await remote.request("tools/call", {"name": name, **params})


async def create(remote: Remote, name: str = "work", **params: Any) -> str:
    """Call a tool that becomes a task; returns its id once the work has begun."""
    created = await call(remote, name, **params)
    assert created["resultType"] == "task", created
    await remote.quiet()
    return created["taskId"]  # type: ignore[no-any-return]


async def get(remote: Remote, id: str) -> Any:
    task = await remote.request("tasks/get", {"taskId": id})
    assert task["resultType"] == "complete"
    assert task["taskId"] == id
    return task


async def update(remote: Remote, id: str, **answers: Any) -> Any:
    """Answer a task's questions; returns the task once that had every effect."""
    assert await remote.request("tasks/update", {"taskId": id, "inputResponses": answers}) == COMPLETE
    await remote.quiet()
    return await get(remote, id)


async def cancel(remote: Remote, id: str) -> Any:
    return await remote.request("tasks/cancel", {"taskId": id})


async def refusal(remote: Remote, method: str, params: Any) -> Any:
    return (await remote.response(await remote.ask(method, params)))["error"]


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


def text(result: Any) -> str:
    (content,) = result["content"]
    return content["text"]  # type: ignore[no-any-return]


def said(remote: Remote) -> list[Any]:
    """The requests and notifications that have come."""
    return [message for message in remote.received if "method" in message]


class Work:
    """A tool that goes on until it is told how to end."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        self.runs = 0
        self.over = 0
        self._told = trio.Event()
        self._end: Any = None
        options.setdefault("task", "required")
        peer.tool(name="work", **options)(self.run)

    def finish(self, end: Any = "done") -> None:
        self._end = end
        self._told.set()

    async def run(self) -> str:
        self.runs += 1
        try:
            await self._told.wait()
            if isinstance(self._end, Exception):
                raise self._end
            return self._end  # type: ignore[no-any-return]
        finally:
            self.over += 1


@pytest.fixture
def peer(make_peer: MakePeer) -> Peer:
    return make_peer(clock=Clock(EPOCH))


@pytest.fixture
def work(peer: Peer) -> Work:
    return Work(peer)


@pytest.fixture
def asking(peer: Peer) -> Peer:
    """Its tool asks two things at once, and then a third."""

    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        found = await ctx.ask_all({"a": Elicit("A?", {"x": int}), "b": Elicit("B?", {"x": int})})
        last = await ctx.ask("c", Elicit("C?", {"x": int}))
        return str([found["a"].content["x"], found["b"].content["x"], last.content["x"]])

    return peer


@requirement("X26-078", "X26-079")
async def test_what_is_asked_together_is_seen_together(asking: Peer) -> None:
    """In one change of the task, so that no look at it comes in between."""
    store, seen = asking.tasks.store, list[set[str]]()
    replace = store.replace

    async def noted(new: TaskRecord) -> bool:
        seen.append(set(new.questions))
        return await replace(new)

    store.replace = noted  # type: ignore[method-assign]
    async with client(asking) as remote:
        id = await create(remote)
        assert set((await get(remote, id))["inputRequests"]) == {"a", "b"}
        assert seen == [{"a", "b"}]
        await remote.request("tasks/cancel", {"taskId": id})


async def test_what_is_asked_together_is_given_up_together(peer: Peer, autojump_clock: Mock) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        with trio.move_on_after(5):
            await ctx.ask_all({"a": Elicit("A?", {"x": int}), "b": Elicit("B?", {"x": int})})
        await trio.sleep(5)
        return "without"

    async with client(peer) as remote:
        id = await create(remote)
        await trio.sleep(6)
        assert (await get(remote, id))["status"] == "working"
        await trio.sleep(5)
        assert (await get(remote, id))["result"]["content"][0]["text"] == "without"


# --- what becomes a task ----------------------------------------------------------------------------------------------


@requirement("X26-016", "X26-018", "X26-019", "X26-020", "X26-021", "X26-022", "X26-037", "X26-038")
@requirement("X26-041", "X26-051", "X26-057", "X26-032", "X26-017")
async def test_a_required_task_is_answered_with_a_flat_task_at_once(peer: Peer, work: Work) -> None:
    async with client(peer) as remote:
        created = await call(remote)
        assert created == {
            "resultType": "task",
            "taskId": created["taskId"],
            "status": "working",
            "createdAt": EPOCH_TEXT,
            "lastUpdatedAt": EPOCH_TEXT,
            "ttlMs": 3_600_000,
            "pollIntervalMs": 1000,
            "_meta": META,
        }
        assert type(created["ttlMs"]) is int
        assert await get(remote, created["taskId"]) == {**created, "resultType": "complete"}


@requirement("X26-032", "X26-038")
async def test_the_new_task_says_nothing_of_its_outcome(peer: Peer) -> None:
    @peer.tool(task="required")
    async def at_once() -> str:
        return "done"

    async with client(peer) as remote:
        created = await call(remote, "at_once")
        assert created.keys() == {"resultType", "_meta", *TASK_MEMBERS}
        await remote.quiet()
        assert (await get(remote, created["taskId"]))["status"] == "completed"


@requirement("X26-120", "X26-019")
async def test_ids_are_ours_unique_and_not_guessable(peer: Peer, work: Work) -> None:
    async with client(peer) as remote:
        ids = [await create(remote, taskId="mine", arguments={}) for _ in range(20)]
        assert len(set(ids)) == 20
        assert all(len(id) >= 32 for id in ids)
        assert all(len({id[place] for id in ids}) > 1 for place in range(32))


@requirement("X26-005", "X26-007", "X26-008")
@pytest.mark.parametrize(
    ("seconds", "kind"), [(0, "complete"), (0.99, "complete"), (1.01, "task"), (50, "task")], ids=str
)
async def test_an_optional_task_becomes_one_after_a_grace(
    peer: Peer, seconds: float, kind: str, autojump_clock: Mock
) -> None:
    runs = []

    @peer.tool(task="optional")
    async def work() -> str:
        runs.append("run")
        await trio.sleep(seconds)
        return "done"

    async with client(peer) as remote:
        result = await call(remote)
        assert result["resultType"] == kind
        assert trio.current_time() == pytest.approx(min(seconds, 1))
        if kind == "task":
            assert (await get(remote, result["taskId"]))["status"] == "working"
            await trio.sleep(seconds)
            result = (await get(remote, result["taskId"]))["result"]
        assert text(result) == "done"
        assert runs == ["run"], "the work goes on where it was"


@requirement("X26-005")
@pytest.mark.parametrize("grace", [0, 3.0])
@pytest.mark.parametrize("own", [True, False], ids=["its own", "of the limits"])
async def test_the_grace_is_ours_to_choose(make_peer: MakePeer, grace: float, own: bool, autojump_clock: Mock) -> None:
    peer = make_peer(limits=Limits(grace_seconds=99 if own else grace))
    options: Any = {"grace": grace} if own else {}

    @peer.tool(task="optional", **options)
    async def work() -> str:
        await trio.sleep(grace + 0.01)
        return "done"

    @peer.tool(task="optional", **options)
    async def quick() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    async with client(peer) as remote:
        assert (await call(remote))["resultType"] == "task"
        assert trio.current_time() == pytest.approx(grace)
        assert (await call(remote, "quick"))["resultType"] == "complete", "what does not wait is done at once"


@requirement("X26-007", "X26-131")
async def test_what_is_no_task_is_never_one(peer: Peer, autojump_clock: Mock) -> None:
    Work(peer)

    @peer.tool
    async def plain() -> str:
        await trio.sleep(1000)
        return "done"

    async with client(peer) as remote:
        assert text(await call(remote, "plain", task={})) == "done"


@requirement("X26-005", "X26-007", "X26-008", "X26-125")
@pytest.mark.parametrize(
    "capabilities",
    [
        {},
        {"extensions": {}},
        {"extensions": {"com.example/tasks": {}}},
        {"tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}},
    ],
)
async def test_a_client_that_knows_no_tasks_waits(peer: Peer, capabilities: Any, autojump_clock: Mock) -> None:
    @peer.tool(task="optional")
    async def work() -> str:
        await trio.sleep(1000)
        return "done"

    async with client(peer, capabilities=capabilities) as remote:
        result = await call(remote)
        assert (result["resultType"], text(result)) == ("complete", "done")
        assert peer.tasks.live == 0


@requirement("X26-011", "X26-012", "X26-125", "X26-108")
@pytest.mark.parametrize("capabilities", [{}, {"tasks": {"requests": {"tools": {"call": {}}}}}])
async def test_a_required_task_is_refused_to_a_client_that_knows_none(
    peer: Peer, work: Work, capabilities: Any
) -> None:
    async with client(peer, capabilities=capabilities) as remote:
        error = await refusal(remote, "tools/call", {"name": "work"})
        assert (error["code"], error["data"]) == (-32021, REQUIRED)
        assert "tools/call" in error["message"]
        assert work.runs == 0


@requirement("X26-014")
@pytest.mark.parametrize("policy", ["optional", "required"])
async def test_nothing_but_a_tool_call_becomes_a_task(make_peer: MakePeer, policy: Any, autojump_clock: Mock) -> None:
    peer = make_peer()
    for method in ("prompts/get", "resources/read", "x/own", "completion/complete"):

        @peer.handle(method, task=policy)
        async def slow(ctx: Context, params: Any) -> Any:
            await trio.sleep(1000)
            return {"contents": [], "messages": [], "completion": {"values": []}}

    async with client(peer) as remote:
        for method, params in (
            ("prompts/get", {"name": "p"}),
            ("resources/read", {"uri": "r:"}),
            ("x/own", {}),
            (
                "completion/complete",
                {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "", "value": ""}},
            ),
        ):
            assert (await remote.request(method, params))["resultType"] == "complete"
        assert "extensions" not in (await remote.request("server/discover"))["capabilities"]


# --- how a task looks -------------------------------------------------------------------------------------------------


@requirement("X26-028", "X26-054", "X26-033", "X26-113", "X26-115", "X26-057", "X26-032", "X26-036")
async def test_a_completed_task_has_its_result(peer: Peer, work: Work) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        work.finish()
        await remote.quiet()
        task = await get(remote, id)
        assert task.keys() == {"resultType", "_meta", "result", *TASK_MEMBERS}
        assert task["status"] == "completed"
        assert task["result"] == {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}
        assert await get(remote, id) == task


@requirement("X26-028", "X26-029", "X26-113", "X26-115")
@pytest.mark.parametrize("error", [ToolError("no paper"), ValueError("secret")])
async def test_a_tool_that_failed_is_completed(peer: Peer, work: Work, error: Exception) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        work.finish(error)
        await remote.quiet()
        task = await get(remote, id)
        assert (task["status"], task["result"]["isError"]) == ("completed", True)
        assert "error" not in task
        assert "secret" not in text(task["result"])


@requirement("X26-029", "X26-034", "X26-056", "X26-110", "X26-111", "X26-112", "X26-114", "X26-032", "X26-106")
@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        (RequestFailed(7, "mine", {"a": 1}), 7, {"a": 1}),
        (RequestFailed(-32002, "old"), -32602, None),
        (RequestFailed(-32042, "old"), -32603, None),
        (InvalidParams("wrong"), -32602, None),
        (ResourceNotFound("r:x"), -32602, {"uri": "r:x"}),
        (UrlElicitationRequired([{"url": "https://a.b"}]), -32603, {"elicitations": [{"url": "https://a.b"}]}),
    ],
    ids=range(6),
)
async def test_an_error_makes_it_failed(peer: Peer, work: Work, error: Any, code: int, data: Any) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        work.finish(error)
        await remote.quiet()
        task = await get(remote, id)
        assert task.keys() == {"resultType", "_meta", "error", "statusMessage", *TASK_MEMBERS}
        assert task["status"] == "failed"
        assert task["error"] == {"code": code, "message": error.message} | ({} if data is None else {"data": data})
        assert task["statusMessage"] == error.message


@requirement("X26-106", "X26-110")
async def test_an_accident_makes_it_failed_and_says_nothing(peer: Peer) -> None:
    @peer.handle("tools/call", task="required")
    async def work(ctx: Context, params: Any) -> Any:
        raise ValueError("secret")

    async with client(peer) as remote:
        task = await get(remote, await create(remote))
        assert (task["status"], task["error"]["code"]) == ("failed", -32603)
        assert "secret" not in str(task)


@requirement("X26-021", "X26-018", "X26-050")
async def test_timestamps_follow_the_status(peer: Peer, autojump_clock: Mock) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        await trio.sleep(2)
        await ctx.report("half way")
        await trio.sleep(2)
        return "done"

    async with client(peer) as remote:
        id = await create(remote)
        seen = []
        for _ in range(3):
            await trio.sleep(1.5)
            task = await get(remote, id)
            assert task["createdAt"] == EPOCH_TEXT
            seen.append((task["status"], task.get("statusMessage"), task["lastUpdatedAt"][-7:]))
        assert seen == [
            ("working", None, "20.000Z"),
            ("working", "half way", "22.000Z"),
            ("completed", "half way", "24.000Z"),
        ]


@requirement("X26-100", "X26-101", "C26-247")
@pytest.mark.filterwarnings("ignore:.*deprecated from revision")
@pytest.mark.parametrize("policy", ["required", "optional"])
async def test_progress_and_logs_are_not_sent_for_tasks(peer: Peer, policy: Any, autojump_clock: Mock) -> None:
    @peer.tool(task=policy)
    async def work(ctx: Context) -> str:
        for n in range(3):
            await ctx.progress(n)
            await ctx.log("error", n)
            await trio.sleep(1)
        await ctx.report("nearly")
        return "done"

    async with client(peer) as remote:
        id = await create(remote, _meta={"progressToken": "p", LEVEL: "debug"})
        before = len(said(remote))
        await trio.sleep(5)
        assert (await get(remote, id))["statusMessage"] == "nearly"
        assert len(said(remote)) == before
        assert before == (0 if policy == "required" else 2), "only while it was a plain call"


# --- questions --------------------------------------------------------------------------------------------------------


@requirement("X26-052", "X26-053", "X26-067", "X26-032", "X26-050", "C26-250")
async def test_open_questions_are_listed_at_each_look(asking: Peer) -> None:
    async with client(asking) as remote:
        id = await create(remote)
        task = await get(remote, id)
        assert task.keys() == {"resultType", "_meta", "inputRequests", *TASK_MEMBERS}
        assert task["status"] == "input_required"
        form = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
        assert task["inputRequests"] == {
            key: {
                "method": "elicitation/create",
                "params": {"mode": "form", "message": f"{key.upper()}?", "requestedSchema": form},
            }
            for key in "ab"
        }
        assert await get(remote, id) == task
        assert said(remote) == []


@requirement("X26-071", "X26-072", "X26-078", "X26-079", "X26-035", "X26-052", "X26-068")
async def test_answers_come_in_one_update_or_in_several(asking: Peer) -> None:
    async with client(asking) as remote:
        for updates in ([{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}], [{"b": 2}, {}, {"a": 1}]):
            id, left = await create(remote), {"a", "b"}
            for answers in updates:
                task = await update(remote, id, **{key: accept(x=x) for key, x in answers.items()})
                left -= answers.keys()
                assert task["status"] == "input_required"
                assert task["inputRequests"].keys() == (left or {"c"})
            task = await update(remote, id, c=accept(x=3))
            assert (task["status"], text(task["result"])) == ("completed", "[1, 2, 3]")


@requirement("X26-076", "X26-077", "X26-069")
async def test_answers_that_nobody_waits_for_are_passed_over(asking: Peer) -> None:
    async with client(asking) as remote:
        id = await create(remote)
        nonsense = {"": {}, "never": {"x": [1]}, "c": accept(x=7)}
        task = await update(remote, id, **nonsense)
        assert task["inputRequests"].keys() == {"a", "b"}
        await update(remote, id, a=accept(x=1), **nonsense)
        task = await update(remote, id, a=accept(x=9), b=accept(x=2))
        assert task["inputRequests"].keys() == {"c"}
        task = await update(remote, id, a=accept(x=9), b={"nonsense": 1}, c=accept(x=3))
        assert text(task["result"]) == "[1, 2, 3]", "the first answer counts"
        assert await update(remote, id, c=accept(x=9)) == task


@requirement("X26-077")
@pytest.mark.parametrize("end", ["done", RequestFailed(1, "no"), None], ids=["completed", "failed", "cancelled"])
async def test_an_update_of_a_task_that_is_over_is_acknowledged(peer: Peer, work: Work, end: Any) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        if end is None:
            await cancel(remote, id)
        else:
            work.finish(end)
        await remote.quiet()
        task = await get(remote, id)
        assert await update(remote, id, a=accept(x=1), b={}) == task


@requirement("X26-108", "C26-275")
@pytest.mark.parametrize(
    ("answers", "path"),
    [
        ({"a": {}}, "$.params.inputResponses.a"),
        ({"a": {"action": "perhaps"}}, "$.params.inputResponses.a.action"),
        ({"a": 3}, "$.params.inputResponses.a"),
        ({"never": None}, "$.params.inputResponses.never"),
        ([], "$.params.inputResponses"),
        (None, "$.params.inputResponses"),
        ({"b": accept(x=2), "a": {"roots": []}}, "$.params.inputResponses.a"),
    ],
)
async def test_an_answer_of_the_wrong_shape_is_refused_and_changes_nothing(
    asking: Peer, answers: Any, path: str
) -> None:
    async with client(asking) as remote:
        id = await create(remote)
        before = await get(remote, id)
        error = await refusal(remote, "tasks/update", {"taskId": id, "inputResponses": answers})
        assert error["code"] == -32602
        assert error["message"].startswith(path)
        await remote.quiet()
        assert await get(remote, id) == before
        task = await update(remote, id, a=accept(x=1), b=accept(x=2))
        assert task["inputRequests"].keys() == {"c"}


@requirement("C26-475")
async def test_no_is_an_answer(peer: Peer) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        return str((await ctx.elicit("Sure?", {"x": int})).action)

    async with client(peer) as remote:
        for action in ("decline", "cancel"):
            task = await update(remote, await create(remote), **{"elicit-1": {"action": action}})
            assert text(task["result"]) == action


@requirement("X26-070", "C26-059", "X26-110", "C26-265")
async def test_a_task_that_asks_for_what_was_not_declared_fails(peer: Peer) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        return str(await ctx.elicit("Well?", {}))

    async with client(peer, capabilities={"extensions": EXTENSION}) as remote:
        task = await get(remote, await create(remote))
        assert task["status"] == "failed"
        assert task["error"]["code"] == -32021
        assert task["error"]["data"] == {"requiredCapabilities": {"elicitation": {}}}


@requirement("X26-070", "X26-053")
async def test_what_may_be_asked_is_what_the_call_declared(asking: Peer) -> None:
    """The specification does not say whose capabilities count; so all open questions are listed at each look."""
    async with client(asking) as remote:
        id = await create(remote)
        remote.stamp = {VERSION: NEW, CAPABILITIES: {"extensions": EXTENSION}}
        assert (await get(remote, id))["inputRequests"].keys() == {"a", "b"}


async def test_a_question_that_was_given_up_is_no_longer_listed(peer: Peer, autojump_clock: Mock) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        with trio.move_on_after(5):
            await ctx.ask("a", Elicit("A?", {}))
        await trio.sleep(5)
        return str((await ctx.ask("b", Elicit("B?", {}))).action)

    async with client(peer) as remote:
        id = await create(remote)
        assert (await get(remote, id))["inputRequests"].keys() == {"a"}
        await trio.sleep(6)
        task = await get(remote, id)
        assert (task["status"], "inputRequests" in task) == ("working", False)
        await trio.sleep(6)
        task = await update(remote, id, a=accept())
        assert task["inputRequests"].keys() == {"b"}
        assert (await update(remote, id, b=accept()))["status"] == "completed"


@requirement("X26-043", "X26-044", "X26-045", "C26-247")
async def test_what_asks_first_is_asked_first_and_may_be_a_task_then(peer: Peer, autojump_clock: Mock) -> None:
    runs = []

    @peer.tool(task="optional", grace=0)
    async def work(ctx: Context) -> str:
        runs.append("run")
        first = await ctx.ask("first", Elicit("First?", {"x": int}))
        runs.append("first")
        await trio.sleep(10)
        second = await ctx.ask("second", Elicit("Second?", {"x": int}))
        return f"{first.content['x']} {second.content['x']}"

    async with client(peer) as remote:
        asked = await call(remote)
        assert (asked["resultType"], list(asked["inputRequests"])) == ("input_required", ["first"])
        assert peer.tasks.live == 0
        retry = {"requestState": asked["requestState"], "inputResponses": {"first": accept(x=1)}}
        id = await create(remote, **retry)
        assert (await get(remote, id))["status"] == "working"
        await trio.sleep(11)
        assert (await get(remote, id))["inputRequests"].keys() == {"second"}
        task = await update(remote, id, second=accept(x=2))
        assert text(task["result"]) == "1 2"
        assert runs == ["run", "run", "first"]
        error = await refusal(remote, "tools/call", {"name": "work", **retry})
        assert error["code"] == -32602, "the task has used it up"


@requirement("X26-043")
async def test_a_question_after_the_grace_goes_into_the_task(peer: Peer, autojump_clock: Mock) -> None:
    runs = []

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        runs.append("run")
        await trio.sleep(3)
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        return f"{answer.content['name']} {ctx.task_id}"

    async with client(peer) as remote:
        id = await create(remote)
        await trio.sleep(3)
        task = await update(remote, id, name=accept(name="Ada"))
        assert text(task["result"]) == f"Ada {id}"
        assert runs == ["run"]


@requirement("X26-043")
async def test_a_question_within_the_grace_is_a_round(peer: Peer, autojump_clock: Mock) -> None:
    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await trio.sleep(0.5)
        return str((await ctx.ask("name", Elicit("Who?", {}))).action)

    async with client(peer) as remote:
        assert (await call(remote))["resultType"] == "input_required"
        assert peer.tasks.live == 0


@requirement("X26-005")
@pytest.mark.parametrize("turns", range(7))
@pytest.mark.parametrize("grace", [0, 1.0])
async def test_a_question_that_was_given_up_does_not_keep_it_from_being_one(
    peer: Peer, turns: int, grace: float, autojump_clock: Mock
) -> None:
    @peer.tool(task="optional", grace=grace)
    async def work(ctx: Context) -> str:
        for _ in range(turns):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope() as scope:
            scope.cancel()
            await ctx.ask("a", Elicit("A?", {}))
        await trio.sleep(100)
        return "done"

    async with client(peer) as remote:
        id = await create(remote)
        assert trio.current_time() == pytest.approx(grace)
        await trio.sleep(100)
        assert text((await get(remote, id))["result"]) == "done"


@requirement("X26-043", "X26-045")
async def test_what_was_noted_before_it_became_a_task_is_not_done_again(peer: Peer, autojump_clock: Mock) -> None:
    effects = []

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        async def effect() -> str:
            effects.append("done")
            await trio.sleep(0.8)
            return "noted"

        notes = [await ctx.once(f"effect-{n}", effect) for n in range(3)]
        return " ".join(notes)

    async with client(peer) as remote:
        id = await create(remote)
        await trio.sleep(3)
        assert text((await get(remote, id))["result"]) == "noted noted noted"
        assert effects == ["done"] * 3


@requirement("X26-041", "X26-042")
@pytest.mark.parametrize("after", ["return", "ask", "once", "progress", "visit", "fail"])
async def test_what_happens_while_the_task_is_being_made(make_peer: MakePeer, after: str, autojump_clock: Mock) -> None:
    """The store takes from the first second to the second; the handler goes on in the midst of that."""
    peer = make_peer(store=SlowStore())

    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        await trio.sleep(1.5)
        match after:
            case "ask":
                await ctx.ask("a", Elicit("A?", {}))
            case "once":
                await ctx.once("b", trio.lowlevel.checkpoint)
            case "progress":
                await ctx.progress(1)
            case "visit":
                raise UrlElicitationRequired([{"url": "https://a.b", "message": "Go"}])
            case "fail":
                raise RequestFailed(7, "no")
        return "done"

    async with client(peer) as remote:
        id = await create(remote)
        assert trio.current_time() == pytest.approx(2)
        task = await get(remote, id)
        if after == "ask":
            assert (task["status"], list(task["inputRequests"])) == ("input_required", ["a"])
            task = await update(remote, id, a=accept())
        if after in ("visit", "fail"):
            assert task["error"]["code"] == (7 if after == "fail" else -32603)
        else:
            assert text(task["result"]) == "done"


# --- cancelling -------------------------------------------------------------------------------------------------------


@requirement("X26-055", "X26-081", "X26-082", "X26-084", "X26-085", "X26-032", "X26-036")
async def test_cancelling_a_task(peer: Peer, work: Work) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        assert await cancel(remote, id) == COMPLETE
        await remote.quiet()
        assert work.over == 1
        task = await get(remote, id)
        assert task.keys() == {"resultType", "_meta", "statusMessage", *TASK_MEMBERS}
        assert task["status"] == "cancelled"
        assert await cancel(remote, id) == COMPLETE
        work.finish()
        await remote.quiet()
        assert await get(remote, id) == task


@requirement("X26-084", "X26-036")
@pytest.mark.parametrize("end", ["done", ToolError("no"), RequestFailed(1, "no")], ids=["done", "isError", "failed"])
async def test_cancelling_what_is_over_changes_nothing(peer: Peer, work: Work, end: Any) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        work.finish(end)
        await remote.quiet()
        task = await get(remote, id)
        for _ in range(2):
            assert await cancel(remote, id) == COMPLETE
        assert await get(remote, id) == task


@requirement("X26-081", "X26-036")
async def test_cancelling_a_task_that_asks(asking: Peer) -> None:
    async with client(asking) as remote:
        id = await create(remote)
        assert await cancel(remote, id) == COMPLETE
        await remote.quiet()
        task = await get(remote, id)
        assert (task["status"], "inputRequests" in task) == ("cancelled", False)
        assert await update(remote, id, a=accept(x=1)) == task


async def test_cancelling_one_that_was_promoted(peer: Peer, autojump_clock: Mock) -> None:
    work = Work(peer, task="optional")
    async with client(peer) as remote:
        id = await create(remote)
        await cancel(remote, id)
        await remote.quiet()
        assert work.over == 1
        assert (await get(remote, id))["status"] == "cancelled"


@requirement("X26-036", "X26-086")
async def test_work_that_ends_well_in_spite_of_it_stays_cancelled(peer: Peer, autojump_clock: Mock) -> None:
    @peer.tool(task="required")
    async def work() -> str:
        try:
            await trio.sleep_forever()
        finally:
            return "too late"  # noqa: B012

    async with client(peer) as remote:
        id = await create(remote)
        await cancel(remote, id)
        await remote.quiet()
        assert (await get(remote, id))["status"] == "cancelled"


async def test_taking_back_the_request_does_not_cancel_its_task(peer: Peer, work: Work) -> None:
    async with client(peer) as remote:
        created = await remote.request("tools/call", {"name": "work"}, id="call")
        await remote.notify("notifications/cancelled", {"requestId": "call"})
        await remote.notify("notifications/cancelled", {"requestId": created["taskId"]})
        await remote.quiet()
        assert (await get(remote, created["taskId"]))["status"] == "working"


# --- before there is a task -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_taking_back_the_request_within_the_grace(peer: Peer, end: str, autojump_clock: Mock) -> None:
    work = Work(peer, task="optional")
    async with client(peer) as remote:
        await remote.ask("tools/call", {"name": "work"}, id="call")
        await trio.sleep(0.5)
        if end == "cancel":
            await remote.notify("notifications/cancelled", {"requestId": "call"})
            await trio.sleep(5)
            assert remote.received == []
        else:
            await remote.close()
            await trio.sleep(5)
        assert (work.runs, work.over) == (1, 1)
        assert peer.tasks.live == 0


@pytest.mark.parametrize("policy", ["optional", "required"])
@pytest.mark.parametrize("end", ["cancel", "close", "drop"])
@pytest.mark.parametrize("principal", [None, "ada"])
async def test_taking_back_the_request_while_the_task_is_being_made(
    make_peer: MakePeer, policy: Any, end: str, principal: str | None, autojump_clock: Mock
) -> None:
    """The client never learns its id, so nobody could ever look at it or cancel it."""
    store = SlowStore()
    peer = make_peer(store=store)
    work = Work(peer, task=policy)
    async with peer, client(peer, principal=principal) as remote:
        await remote.ask("tools/call", {"name": "work"}, id="call")
        await trio.sleep(1.5 if policy == "optional" else 0.5)
        assert remote.connection is not None
        match end:
            case "cancel":
                await remote.notify("notifications/cancelled", {"requestId": "call"})
            case "close":
                await remote.close()
            case "drop":
                await remote.connection.aclose()
        await trio.sleep(10)
        # Who only stops sending may still read, and here the answer is soon enough.
        assert remote.answered("call") is (end == "close")
        if end != "close":
            assert peer.tasks.live == 0
            assert work.over == work.runs
            assert all(record.settled for record in store.records())
    assert work.over == work.runs
    assert peer.tasks.live == 0


# --- whose it is ------------------------------------------------------------------------------------------------------

VERBS: dict[str, dict[str, Any]] = {"tasks/get": {}, "tasks/update": {"inputResponses": {}}, "tasks/cancel": {}}


@requirement("X26-105", "X26-074", "X26-083", "X26-108")
@pytest.mark.parametrize("method", VERBS)
@pytest.mark.parametrize("id", ["", "nobody", "é" * 100, "../x", "0" * 32])
async def test_an_id_that_nobody_has(peer: Peer, work: Work, method: str, id: str) -> None:
    async with client(peer) as remote:
        error = await refusal(remote, method, {"taskId": id, **VERBS[method]})
        assert error["code"] == -32602
        assert id in error["message"]


@requirement("X26-121", "X26-105", "C26-081")
@pytest.mark.parametrize("method", VERBS)
async def test_a_foreign_task_is_as_if_it_were_not(peer: Peer, work: Work, method: str) -> None:
    async with peer, client(peer, principal="ada") as ada, client(peer, principal="bob") as bob, client(peer) as nobody:
        id = await create(ada)
        for other in (bob, nobody):
            foreign = await refusal(other, method, {"taskId": id, **VERBS[method]})
            unknown = await refusal(other, method, {"taskId": "unknown", **VERBS[method]})
            assert foreign["message"].replace(id, "unknown") == unknown["message"]
            assert foreign["code"] == unknown["code"] == -32602
            assert foreign.keys() == unknown.keys()
        assert (await get(ada, id))["status"] == "working"


@requirement("X26-107", "X26-012", "X26-125")
@pytest.mark.parametrize("method", VERBS)
@pytest.mark.parametrize("capabilities", [{}, {"tasks": {"list": {}, "cancel": {}}}, {"extensions": {"x.y/z": {}}}])
async def test_who_has_not_declared_it_is_refused_before_the_id_is_looked_at(
    peer: Peer, work: Work, method: str, capabilities: Any
) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        remote.stamp = {VERSION: NEW, CAPABILITIES: capabilities}
        errors = [await refusal(remote, method, {"taskId": one, **VERBS[method]}) for one in (id, "nobody")]
        assert errors[0] == errors[1]
        assert (errors[0]["code"], errors[0]["data"]) == (-32021, REQUIRED)
        assert work.over == 0


@requirement("X26-123", "X26-127")
@pytest.mark.parametrize("method", ["tasks/result", "tasks/list"])
async def test_what_is_gone(peer: Peer, work: Work, method: str) -> None:
    async with client(peer) as remote:
        id = await create(remote)
        assert (await refusal(remote, method, {"taskId": id}))["code"] == -32601


@requirement("C26-033", "X26-121")
async def test_a_principal_finds_its_task_on_another_connection(peer: Peer, work: Work) -> None:
    async with peer:
        async with client(peer, principal="ada") as remote:
            id = await create(remote)
        async with client(peer, principal="ada") as remote:
            assert (await get(remote, id))["status"] == "working"
            work.finish()
            await remote.quiet()
            assert (await get(remote, id))["status"] == "completed"


# --- its time ---------------------------------------------------------------------------------------------------------


@requirement("X26-022", "X26-026", "X26-059", "X26-109")
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("policy", ["optional", "required"])
async def test_a_task_that_is_past_its_time_is_gone(
    make_peer: MakePeer, finished: bool, policy: Any, autojump_clock: Mock
) -> None:
    peer = make_peer(limits=Limits(default_ttl_ms=5000, grace_seconds=0))
    work = Work(peer, task=policy)
    async with client(peer) as remote:
        id = await create(remote)
        if finished:
            work.finish()
        await trio.sleep(4.9)
        assert (await get(remote, id))["ttlMs"] == 5000
        await trio.sleep(0.2)
        await remote.quiet()
        assert (await refusal(remote, "tasks/get", {"taskId": id}))["code"] == -32602
        assert work.over == 1


@pytest.mark.parametrize("limit", ["running_tasks", "retained_tasks"])
async def test_what_has_no_room_to_become_a_task_goes_on(make_peer: MakePeer, limit: str, autojump_clock: Mock) -> None:
    peer = make_peer(limits=Limits(**{limit: 1}))  # type: ignore[arg-type]
    work = Work(peer, task="optional")
    async with client(peer) as remote:
        id = await create(remote)
        call = await remote.ask("tools/call", {"name": "work"})
        await trio.sleep(100)
        assert (work.runs, work.over) == (2, 0)
        work.finish()
        assert text(await remote.answer(call)) == "done"
        await cancel(remote, id)


@requirement("X26-106")
@pytest.mark.parametrize("limit", ["running_tasks", "retained_tasks"])
async def test_too_many_tasks(make_peer: MakePeer, limit: str, autojump_clock: Mock) -> None:
    peer = make_peer(limits=Limits(**{limit: 2}))  # type: ignore[arg-type]
    work = Work(peer, task="required")
    async with client(peer) as remote:
        ids = [await create(remote) for _ in range(2)]
        error = await refusal(remote, "tools/call", {"name": "work"})
        assert (error["code"], error["data"]) == (-32603, {"limit": limit, "value": 2})
        await remote.quiet()
        assert work.over == work.runs - 2, "what was refused is not going on in secret"
        for id in ids:
            await cancel(remote, id)


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["optional", "required"])
async def test_a_task_ends_with_a_connection_that_cannot_come_back(
    peer: Peer, policy: Any, autojump_clock: Mock
) -> None:
    work = Work(peer, task=policy)
    async with client(peer) as remote:
        await create(remote)
    assert work.over == 1
    assert peer.tasks.live == 0


@pytest.mark.parametrize("policy", ["optional", "required"])
@pytest.mark.parametrize("asks", [False, True])
async def test_a_task_ends_with_the_server(peer: Peer, policy: Any, asks: bool, autojump_clock: Mock) -> None:
    over = []

    @peer.tool(task=policy)
    async def work(ctx: Context) -> str:
        try:
            await trio.sleep(2)
            if asks:
                await ctx.elicit("Well?", {})
            await trio.sleep_forever()
        finally:
            over.append("over")
        return ""

    async with peer, client(peer, principal="ada") as remote:
        id = await create(remote)
        await trio.sleep(3)
    assert over == ["over"]
    record = await peer.tasks.store.get(id)  # type: ignore[arg-type]
    assert record is not None
    assert record.state.value == "stopped"
    async with client(peer, principal="ada") as remote:
        assert (await get(remote, id))["status"] == "cancelled"


# --- both eras on one registry ----------------------------------------------------------------------------------------


@asynccontextmanager
async def both(peer: Peer, **options: Any) -> AsyncIterator[tuple[Remote, Remote]]:
    """The same principal twice: in a session, and without."""
    async with (
        peer,
        scripted(peer, revision=OLD, principal="ada", **options) as old,
        client(peer, principal="ada") as new,
    ):
        yield old, new


async def create_old(remote: Remote) -> str:
    created = await remote.request("tools/call", {"name": "work", "task": {"ttl": 60_000}})
    await remote.quiet()
    return created["task"]["taskId"]  # type: ignore[no-any-return]


ENDS = [
    pytest.param("done", "completed", "completed", id="done"),
    pytest.param(ToolError("no paper"), "failed", "completed", id="isError"),
    pytest.param(RequestFailed(7, "no", {"a": 1}), "failed", "failed", id="error"),
    pytest.param(ResourceNotFound("r:x"), "failed", "failed", id="not found"),
]


@requirement("X26-126", "X26-132", "X26-028", "X26-115")
@pytest.mark.parametrize(("end", "in_old", "in_new"), ENDS)
@pytest.mark.parametrize("made_in", [OLD, NEW])
async def test_a_task_reads_right_in_either_era(
    peer: Peer, work: Work, end: Any, in_old: str, in_new: str, made_in: str
) -> None:
    async with both(peer) as (old, new):
        id = await (create_old(old) if made_in == OLD else create(new))
        task, plain = await get(new, id), await old.request("tasks/get", {"taskId": id})
        assert task["status"] == plain["status"] == "working"
        assert (task["ttlMs"], plain["ttl"]) == ((60_000, 60_000) if made_in == OLD else (3_600_000, 3_600_000))
        assert not plain.keys() & {"ttlMs", "pollIntervalMs", "resultType", "result"}
        assert not task.keys() & {"ttl", "pollInterval", "task"}
        work.finish(end)
        await new.quiet()
        task, plain = await get(new, id), await old.request("tasks/get", {"taskId": id})
        assert (task["status"], plain["status"]) == (in_new, in_old)
        outcome = await old.response(await old.ask("tasks/result", {"taskId": id}))
        if isinstance(end, str):
            assert outcome["result"] == {
                "content": [{"type": "text", "text": "done"}],
                "_meta": {RELATED: {"taskId": id}},
            }
            assert task["result"] == {"resultType": "complete", "content": [{"type": "text", "text": "done"}]}
        elif in_new == "completed":
            assert outcome["result"]["isError"] is task["result"]["isError"] is True
            assert text(outcome["result"]) == text(task["result"]) == "no paper"
        else:
            codes = (-32002, -32602) if isinstance(end, ResourceNotFound) else (7, 7)
            assert (outcome["error"]["code"], task["error"]["code"]) == codes
            assert outcome["error"]["data"] == task["error"]["data"]


@requirement("X26-126")
@pytest.mark.parametrize("made_in", [OLD, NEW])
async def test_a_task_is_cancelled_from_either_era(peer: Peer, work: Work, made_in: str) -> None:
    async with both(peer) as (old, new):
        id = await (create_old(old) if made_in == OLD else create(new))
        if made_in == OLD:
            assert await cancel(new, id) == COMPLETE
        else:
            assert (await old.request("tasks/cancel", {"taskId": id}))["status"] == "cancelled"
        await new.quiet()
        assert work.over == 1
        assert (await get(new, id))["status"] == "cancelled"
        assert await cancel(new, id) == COMPLETE
        assert (await refusal(old, "tasks/cancel", {"taskId": id}))["code"] == -32602


@requirement("X26-126", "X26-132", "C26-464")
async def test_a_task_made_in_a_session_is_answered_without_one(peer: Peer) -> None:
    @peer.tool(task="optional")
    async def work(ctx: Context) -> str:
        visit = await ctx.ask("visit", ElicitUrl("Go", "https://a.example"))
        answer = await ctx.ask("name", Elicit("Who?", {"name": str}))
        return f"{visit.action} {answer.content['name']}"

    async with both(peer) as (old, new):
        id = await create_old(old)
        sent = await old.expect("elicitation/create")
        task = await get(new, id)
        assert task["inputRequests"] == {
            "visit": {
                "method": "elicitation/create",
                "params": {"mode": "url", "message": "Go", "url": "https://a.example"},
            }
        }
        assert "elicitationId" in sent["params"]
        task = await update(new, id, visit={"action": "accept"})
        assert task["inputRequests"].keys() == {"name"}
        taken_back = await old.expect("notifications/cancelled")
        assert taken_back["params"]["requestId"] == sent["id"]
        await old.reply(sent, {"action": "decline"})
        await update(new, id, name=accept(name="Ada"))
        result = await old.request("tasks/result", {"taskId": id})
        assert text(result) == "accept Ada", "the first answer counts"


@requirement("X26-126", "X26-132")
async def test_a_task_made_without_a_session_is_answered_in_one(peer: Peer) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        return str((await ctx.ask("name", Elicit("Who?", {"name": str}))).content["name"])

    async with both(peer) as (old, new):
        id = await create(new)
        assert said(old) == said(new) == []
        waiting = await old.ask("tasks/result", {"taskId": id})
        sent = await old.expect("elicitation/create")
        assert sent["params"]["_meta"] == {RELATED: {"taskId": id}}
        assert (await get(new, id))["inputRequests"].keys() == {"name"}
        await old.reply(sent, accept(name="Ada"))
        assert text(await old.answer(waiting)) == "Ada"
        assert (await get(new, id))["status"] == "completed"
        assert said(new) == []


@requirement("X26-126")
async def test_who_cannot_be_asked_in_the_session_is_waited_for_elsewhere(peer: Peer) -> None:
    @peer.tool(task="required")
    async def work(ctx: Context) -> str:
        return str((await ctx.ask("name", Elicit("Who?", {"name": str}))).content["name"])

    async with both(peer, capabilities={}) as (old, new):
        id = await create(new)
        waiting = await old.ask("tasks/result", {"taskId": id})
        await old.quiet()
        assert not old.answered(waiting)
        await update(new, id, name=accept(name="Ada"))
        assert text(await old.answer(waiting)) == "Ada"
        assert [one for one in said(old) if one["method"] == "elicitation/create"] == []


async def test_both_eras_on_one_connection_share_its_tasks(peer: Peer, work: Work) -> None:
    async with scripted(peer, revision=OLD) as remote:
        id = await create_old(remote)
        modern = {"_meta": {VERSION: NEW, CAPABILITIES: {"extensions": EXTENSION}}}
        assert (await remote.request("tasks/get", {"taskId": id, **modern}))["status"] == "working"
        made = await remote.request("tools/call", {"name": "work", **modern})
        listed = [task["taskId"] for task in (await remote.request("tasks/list"))["tasks"]]
        assert listed == [id, made["taskId"]]
        work.finish(ToolError("no"))
        await remote.quiet()
        for one in listed:
            assert (await remote.request("tasks/get", {"taskId": one, **modern}))["status"] == "completed"
            assert (await remote.request("tasks/get", {"taskId": one}))["status"] == "failed"


# --- the other side ---------------------------------------------------------------------------------------------------


@requirement("X26-036")
async def test_an_answer_that_was_overtaken_by_the_end_is_no_contradiction(
    make_peer: MakePeer, autojump_clock: Mock
) -> None:
    """We are the client: how the task was is answered, then its end is told, and both are read at once."""
    task = {"taskId": "t", "createdAt": EPOCH_TEXT, "lastUpdatedAt": EPOCH_TEXT, "ttlMs": None, "pollIntervalMs": 1000}
    result: dict[str, Any] = {"content": []}
    found = []
    async with scripted(make_peer(), side=Side.CLIENT, revision=NEW) as remote, trio.open_nursery() as nursery:

        async def call_it() -> None:
            assert remote.connection is not None
            found.append(await remote.connection.call("tools/call", {"name": "work"}))

        nursery.start_soon(call_it)
        created = {"resultType": "task", "status": "working", **task}
        await remote.reply(await remote.expect("tools/call"), created)
        meta = {"_meta": {SUBSCRIPTION: (await remote.expect("subscriptions/listen"))["id"]}}
        acknowledged = {"notifications": {"taskIds": ["t"]}, **meta}
        await remote.notify("notifications/subscriptions/acknowledged", acknowledged)
        looked = await remote.expect("tasks/get")
        messages = (
            {"id": looked["id"], "result": {"resultType": "complete", "status": "working", **task}},
            {"method": "notifications/tasks", "params": {**task, "status": "completed", "result": result, **meta}},
        )
        lines = [json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n" for message in messages]
        await remote.send_raw(b"".join(lines))
    assert found == [result]
