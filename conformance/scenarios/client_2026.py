"""What a client owes a server whose calls become tasks: following them to their end (2026-07-28).

The errand is one call of the tool `play`, which the judge makes a task. What the client prints at the end shows whether
its caller has got what the task came to.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ..client_session import ClientSession, OurTask, tool_result
from ..names import CAPABILITIES, TASKS
from ..scenario import Errand, NotApplicable, scenario
from .questions_2026 import question_for

_OPERATIONS = ("tasks/get", "tasks/update", "tasks/cancel")


@scenario(
    "X26-002",
    "X26-009",
    "X26-031",
    "X26-040",
    "X26-060",
    "X26-061",
    "X26-062",
    "X26-063",
    "X26-064",
    "X26-066",
    "X26-075",
    "X26-117",
    leg="client",
)
async def a_question_midway(s: ClientSession) -> None:
    """The call becomes a task, the task has two questions, and the answers end it, though not at once."""
    call = await s.called()
    questions = {"first": question_for(call, "Your name?"), "second": question_for(call, "Your cat's name?")}
    task = await s.run_task(call)
    s.judge("X26-002", True, "the call declares the extension", call)
    task.questions = questions
    task.move("input_required")
    # What was answered is shown as a question for a while yet, which a server may do, for it may be slow to see.
    s.on("tasks/update", lambda request: _keep(s, task, request))
    answered = await s.until_or_end(lambda: questions.keys() <= _answered(task), "tasks/update for both questions")
    s.judge("X26-031", answered, "the questions are answered by tasks/update", (task.updates or [call])[-1])
    if not answered:
        raise NotApplicable("the questions are not answered")
    several = len(task.updates) > 1
    s.judge("X26-063", several, f"the answers come by {'several updates' if several else 'one'}", task.updates[-1])
    seen = len(task.polls)
    polled = await s.until_or_end(lambda: len(task.polls) >= seen + 3, "tasks/get after the answers")
    s.judge("X26-064", polled, "the task is polled on", (task.polls or [call])[-1])
    given = [key for update in task.updates for key in _answers(update)]
    once = len(given) == len(set(given))
    s.judge("X26-066", once, f"each question is put once, not {given}", task.updates[-1])
    s.judge("X26-075", once, f"each question is answered once, not {given}", task.updates[-1])
    unmarked = [
        answer
        for update in task.updates
        for answer in _answers(update).values()
        if isinstance(answer, dict) and answer.get("resultType") == "task"
    ]
    s.judge("X26-117", not unmarked, "no answer calls itself a task", task.updates[-1])
    s.end(task, "it is done")
    await _got(s, "X26-009", "it is done")


@scenario("X26-064", "X26-066", leg="client")
async def questions_one_by_one(s: ClientSession) -> None:
    """The task has a question, works again, and has another."""
    call = await s.called()
    task = await s.run_task(call)
    for number, text in enumerate(("Your name?", "Your cat's name?"), start=1):
        task.questions = {f"question {number}": question_for(call, text)}
        task.move("input_required")
        if not await s.until_or_end(lambda: not task.questions, f"an answer to question {number}"):
            if task.updates:
                polled = any(poll.at > task.updates[-1].at for poll in task.polls)
                s.judge("X26-064", polled, "the task is polled on after each answer", task.updates[-1])
            raise NotApplicable(f"question {number} is not answered")
    seen = len(task.polls)
    polled = await s.until_or_end(lambda: len(task.polls) >= seen + 2, "tasks/get after the last answer")
    s.judge("X26-064", polled, "the task is polled on after each answer", (task.polls or [call])[-1])
    given = [key for update in task.updates for key in _answers(update)]
    s.judge("X26-066", len(given) == len(set(given)), f"each question is put once, not {given}", task.updates[-1])
    s.end(task)
    await s.printed()


@scenario("X26-025", "X26-040", "X26-047", "X26-049", leg="client")
async def at_the_pace_of_the_server(s: ClientSession) -> None:
    """The task works for a while; how often it wants to be asked for changes meanwhile."""
    call = await s.called()
    task = await s.run_task(call, poll=200)
    polled = await s.until_or_end(lambda: len(task.polls) >= 3, "tasks/get, again and again")
    task.poll = 450  # the next answer says it
    changed = len(task.polls)
    polled = polled and await s.until_or_end(lambda: len(task.polls) >= changed + 2, "tasks/get, still again and again")
    s.judge("X26-047", polled, "the task is polled as long as it works", (task.polls or [call])[-1])
    if not polled:
        raise NotApplicable("the task is not polled any more")
    # A poll that was on its way when the pace changed has not heard of it, so that one is not counted.
    quick, slow = task.polls[:changed], task.polls[changed:]
    wrong = [
        (later, least)
        for polls, least in ((quick, 200), (slow, 450))
        for sooner, later in pairwise(polls)
        if (later.at - sooner.at) * 1000 < 0.75 * least
    ]
    expected = "between two polls there are at least pollIntervalMs, as it was said last"
    if wrong:
        s.judge("X26-025", False, f"{expected}: {wrong[0][1]} ms", wrong[0][0])
    else:
        s.judge("X26-025", True, expected, task.polls[-1])
    s.end(task)
    await s.printed()


@scenario("X26-009", "X26-039", leg="client")
async def over_from_the_start(s: ClientSession) -> None:
    """The task is completed when it is handed out; what it came to has to be asked for."""
    call = await s.called()
    result = s.complete(tool_result("it was quick"))
    task = await s.run_task(call, status="completed", result=result)
    asked = await s.until_or_end(lambda: task.polls, "tasks/get")
    s.judge("X26-039", asked, "the result is asked for by tasks/get", task.polls[0] if task.polls else call)
    await _got(s, "X26-009", "it was quick")


@scenario("X26-031", "X26-039", leg="client")
async def asking_from_the_start(s: ClientSession) -> None:
    """The task waits for input when it is handed out; the questions have to be asked for."""
    call = await s.called()
    task = await s.run_task(call, status="input_required", questions={"at once": question_for(call, "Your name?")})
    asked = await s.until_or_end(lambda: task.polls, "tasks/get")
    s.judge("X26-039", asked, "the questions are asked for by tasks/get", (task.polls or [call])[0])
    if not asked:
        raise NotApplicable("the questions are not asked for")
    await s.until_or_end(lambda: task.updates, "tasks/update")
    s.judge("X26-031", "at once" in _answered(task), "the question is answered", (task.updates or task.polls)[0])
    s.end(task)
    await s.printed()


@scenario("X26-009", leg="client")
async def a_task_that_fails(s: ClientSession) -> None:
    """The task ends with an error, which is what the call ends with."""
    call = await s.called()
    task = await s.run_task(call)
    await s.until(lambda: task.polls, "tasks/get")
    task.error = {"code": -32000, "message": "it broke"}
    task.message = "it broke"
    task.move("failed")
    printed = await s.printed()
    failed = isinstance(printed, dict) and (isinstance(printed.get("error"), dict) or printed.get("isError") is True)
    s.judge("X26-009", failed, f"the caller learns that the task has failed, not {printed!r}")


@scenario("X26-080", "X26-089", leg="client", errand=Errand(cancel="working"))
async def given_up(s: ClientSession) -> None:
    """The caller loses interest while the task works."""
    call = await s.called()
    task = await s.run_task(call)

    def withdrawn() -> bool:
        return any(notice.params.get("requestId") == call.id for notice in s.sent("notifications/cancelled"))

    await s.until_or_end(lambda: task.cancels or withdrawn(), "tasks/cancel")
    if not task.cancels and not withdrawn():
        raise NotApplicable("the client does not cancel the task that it was to give up")
    frame = task.cancels[0] if task.cancels else s.sent("notifications/cancelled")[0]
    s.judge("X26-080", not withdrawn(), "a task is ended by tasks/cancel", frame)
    await s.printed()
    on = any(poll.at > frame.at for poll in task.polls)
    s.judge("X26-089", on, "it polls on after tasks/cancel" if on else "it does not poll on after tasks/cancel")


@scenario("X26-010", leg="client")
async def a_task_in_place_of_a_list(s: ClientSession) -> None:
    """What never becomes a task is answered with one."""
    now = "2026-07-28T00:00:00Z"
    id = "5d1e7f0c92b84a6f8e3d7b60c14fa925"
    seed = {"resultType": "task", "taskId": id, "status": "working", "createdAt": now, "lastUpdatedAt": now}
    s.on("tools/list", {**seed, "ttlMs": 60_000, "pollIntervalMs": 20})
    answered: list[Any] = []
    s.on("tasks/get", lambda request: answered.append(request))

    def moved_on() -> Any:
        return answered or s.unread("tools/call")

    found = await s.until_or_end(moved_on, "tools/call or tasks/get")
    if not s.sent("tools/list"):
        raise NotApplicable("the client lists no tools")
    if found and not answered:
        await s.finish()
        await s.printed()
    frame = s.frame_of(answered[0]) if answered else s.sent("tools/list")[0]
    s.judge("X26-010", not answered, "a CreateTaskResult in answer to tools/list is not valid, and not followed", frame)


@scenario("C26-279", "X26-091", "X26-097", leg="client", errand=Errand(listen=True))
async def listened_to(s: ClientSession) -> None:
    """The client has the server tell of the task, and is told that it is over."""
    s.tells = True
    call = await s.called()
    task = await s.run_task(call, poll=100)
    await s.until(lambda: s.listens or len(task.polls) > 3, "subscriptions/listen")
    if not s.listens:
        s.end(task)
        raise NotApplicable("the client does not listen")
    listening = s.listens[0]
    wanted = listening.params.get("notifications")
    shaped = isinstance(wanted, dict) and all(map(_is_filter, wanted.values()))
    s.judge("C26-279", shaped, "there is a filter `notifications`, of booleans and lists of strings", listening)
    ids = wanted.get("taskIds") if isinstance(wanted, dict) else None
    named = isinstance(ids, list) and task.id in ids
    s.judge("X26-091", named, "notifications.taskIds has the taskId", listening)
    s.end(task, "you were told")
    await s.push(task)
    seen = len(task.polls)
    await s.printed()
    on = len(task.polls) > seen
    s.judge("X26-097", on, "a task that is told of is polled" if on else "a task that is told of is not polled")


@scenario("X26-001", "X26-004", "X26-006", "X26-009", "X26-116", "X26-118", leg="client")
async def an_ordinary_result(s: ClientSession) -> None:
    """The call does not become a task, though it might."""
    call = await s.called()
    declared = call.meta.get(CAPABILITIES)
    extensions = declared.get("extensions") if isinstance(declared, dict) else None
    names = list(extensions) if isinstance(extensions, dict) else []
    alike = [name for name in names if name.casefold().replace("_", "/").endswith("tasks") and name != TASKS]
    if TASKS in names or alike:
        s.judge("X26-001", TASKS in names and not alike, f"the extension is called {TASKS}", call)
    else:
        s.skip("X26-001", "the client does not declare the extension")
    if TASKS in names:
        assert isinstance(extensions, dict)
        s.judge("X26-004", extensions[TASKS] == {}, "the settings of the extension are an empty object", call)
    else:
        s.skip("X26-004", "the client does not declare the extension")
    s.judge("X26-006", "task" not in call.params, "there is no `task` in params", call)
    wanted = s.wants_task(call)
    await s.answer_call(call, "it is no task")
    if wanted:
        await _got(s, "X26-009", "it is no task")
    else:
        await s.printed()
        s.skip("X26-009", "the client does not declare the extension")
    foreign = [frame for frame in s.sent() if _uses_names_of_tasks(frame.method or "")]
    expected = "nothing else is called tasks/... or notifications/tasks/..."
    s.judge("X26-116", not foreign, expected, _first(foreign, call))
    labelled = [frame for frame in s.sent() if _label_elsewhere(frame.message)]
    s.judge("X26-118", not labelled, f"nothing else is labelled {TASKS}", _first(labelled, call))


async def _got(s: ClientSession, id: str, text: str) -> None:
    # Judge whether the caller got this result.
    printed = await s.printed()
    found = isinstance(printed, dict) and printed.get("text") == text
    s.judge(id, found, f"the caller gets the result {text!r}, not {printed!r}")


def _keep(s: ClientSession, task: OurTask, request: dict[str, Any]) -> dict[str, Any]:
    task.updates.append(s.frame_of(request))
    return s.complete({})


def _answers(update: Any) -> dict[str, Any]:
    found = update.params.get("inputResponses")
    return found if isinstance(found, dict) else {}


def _answered(task: OurTask) -> set[str]:
    return {key for update in task.updates for key in _answers(update)}


def _first(frames: list[Any], otherwise: Any) -> Any:
    return frames[0] if frames else otherwise


def _is_filter(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _uses_names_of_tasks(method: str) -> bool:
    return method.startswith("notifications/tasks/") or (method.startswith("tasks/") and method not in _OPERATIONS)


def _label_elsewhere(value: object, path: tuple[str, ...] = ()) -> bool:
    # Whether the extension's label is anywhere but among the extensions that a client declares.
    if isinstance(value, list):
        return any(_label_elsewhere(one, path) for one in value)
    if not isinstance(value, dict):
        return False
    if TASKS in value and path[-1:] != ("extensions",):
        return True
    return any(_label_elsewhere(one, (*path, str(name))) for name, one in value.items())
