"""What belongs to which task, and which tasks belong to a requestor (2025-11-25): ``_meta``, progress and lists."""

from __future__ import annotations

from mcp_tasks.testing import Frame

from ..names import RELATED
from ..scenario import Broken, NotApplicable, scenario
from ..server_session import ServerSession
from ..session import MadeTask, Session, related_to, result_in

_MANY = 110
"""More than are a page almost anywhere."""
_A_FEW = 10
"""More than are a page where pages are small; where they do, it is quicker."""
_AT_ONCE = 10
_PAGES = 200


# --- the task that is meant -------------------------------------------------------------------------------------------


@scenario("T25-096", "T25-100", "T25-101", "T25-103", leg="both", needs="quick")
async def which_task_is_meant(s: Session) -> None:
    """The ``_meta`` of a request names another task than its params do."""
    one, other = await s.make_task("quick"), await s.make_task("quick")
    if RELATED in one.frame.meta:
        named = one.frame.meta[RELATED] == {"taskId": one.id}
        s.judge("T25-100", named, f"{RELATED} in CreateTaskResult is of the task that it made", one.frame)
    else:
        s.skip("T25-100", f"the _meta of CreateTaskResult has no {RELATED}, like that of the example")
    await s.settled(one.id)
    answer = await s.call("tasks/result", {"taskId": one.id})
    if RELATED in answer.meta:
        named = answer.meta[RELATED] == {"taskId": one.id}
        s.judge("T25-096", named, f"{RELATED} is an object with the taskId", answer)
    else:
        s.skip("T25-096", f"the _meta of tasks/result has no {RELATED}")

    params = {"taskId": one.id, "_meta": related_to(other.id)}
    shown = await s.call("tasks/get", params)
    _meant(s, shown, shown.result.get("taskId") == one.id, "tasks/get shows the task of params.taskId")
    answer = await s.call("tasks/result", params)
    related = answer.meta.get(RELATED)
    mixed = isinstance(related, dict) and related.get("taskId") == other.id
    _meant(s, answer, not mixed and "result" in answer.object, "tasks/result gives the result of params.taskId")
    if s.announces("tasks", "cancel"):
        refused = await s.call("tasks/cancel", params)
        _meant(s, refused, refused.error is not None, "tasks/cancel is about params.taskId, whose task has ended")


def _meant(s: Session, frame: Frame, kept: bool, expected: str) -> None:
    # One sentence says what selects the task, the other what does not: it is one thing to see.
    s.judge("T25-101", kept, expected, frame)
    s.judge("T25-103", kept, expected, frame)


# --- progress ---------------------------------------------------------------------------------------------------------


@scenario("T25-108", "T25-159", "T25-160", "T25-161", leg="both", needs="progress")
async def progress_under_one_token(s: Session) -> None:
    """A task reports its progress, by the token that its request came with."""
    token = "a-token-of-4f1c"
    made = await s.make_task("progress", progressToken=token)
    await s.settled(made.id)
    await s.call("tasks/result", {"taskId": made.id})
    told = _progress(s)
    if not told:
        raise NotApplicable("the task reports no progress, which nobody has to")
    others = [frame for frame in told if frame.params.get("progressToken") != token]
    s.judge("T25-160", not others, f"the progress of the task has the token {token}", others[0] if others else None)
    place = s.wire.frames.index(made.frame)
    later = [frame for frame in told if frame not in others and s.wire.frames.index(frame) > place]
    for id in ("T25-108", "T25-159"):
        if later or others:
            expected = "progress goes on under the token after CreateTaskResult"
            s.judge(id, later, expected, (later or others)[0])
        elif _is_all(told[-1]):
            s.skip(id, "there was no more progress to report once the task was made")
        else:
            s.judge(id, False, "progress that has begun does not stop with CreateTaskResult", told[-1])
    s.judge("T25-161", True, "nothing comes once the task is over")  # if something did, the monitor has seen it


def _is_all(frame: Frame) -> bool:
    """Whether a report of progress says that there is no more to do."""
    return "total" in frame.params and frame.params.get("progress") == frame.params["total"]


def _progress(s: Session) -> list[Frame]:
    theirs = s.wire.side.other
    return [frame for frame in s.wire.frames if frame.sender is theirs and frame.method == "notifications/progress"]


# --- lists ------------------------------------------------------------------------------------------------------------


async def pages_of_tasks(s: Session, cursor: str | None = None) -> list[Frame]:
    """The answers to ``tasks/list``, page by page. Raises `Broken` if they never end."""
    pages: list[Frame] = []
    for _ in range(_PAGES):
        page = await s.call("tasks/list", {} if cursor is None else {"cursor": cursor})
        pages.append(page)
        cursor = result_in(page, "tasks/list").get("nextCursor")
        if not isinstance(cursor, str):
            return pages
    raise Broken(f"tasks/list has more than {_PAGES} pages")


def ids_in(page: Frame) -> list[str]:
    """The ids of the tasks in an answer to ``tasks/list``."""
    tasks = page.result.get("tasks")
    return [task["taskId"] for task in tasks or () if isinstance(task, dict) and isinstance(task.get("taskId"), str)]


async def make_many(s: Session, count: int) -> list[MadeTask]:
    """Make so many tasks of `many`, or as many as can be had."""
    made = [await s.make_task("many")]
    method, params = s.request_for("many")
    while len(made) < count:
        begun = [await s.begin(method, {**params, "task": {}}) for _ in range(min(_AT_ONCE, count - len(made)))]
        for request in begun:
            answer = await s.outcome(request)
            task = answer.result.get("task")
            if not isinstance(task, dict) or not isinstance(task.get("taskId"), str):
                return made
            made.append(MadeTask(task["taskId"], task, answer, request))
    return made


async def tasks_in_pages(s: Session) -> tuple[list[MadeTask], list[Frame]]:
    """Tasks of `many`, and the pages that list them: as many as make two pages, if so many can be had."""
    made = await make_many(s, _A_FEW)
    pages = await pages_of_tasks(s)
    if len(pages) == 1 and len(made) == _A_FEW:
        try:
            made += await make_many(s, _MANY - _A_FEW)
        except Broken:
            return made, pages  # there may be a limit
        pages = await pages_of_tasks(s)
    return made, pages


@scenario("T25-109", "T25-110", "T25-112", "T25-131", leg="both", needs="many")
async def a_list_of_many_tasks(s: Session) -> None:
    """There are more tasks than go into a page."""
    s.require("tasks", "list")
    made, pages = await tasks_in_pages(s)
    sizes = [len(ids_in(page)) for page in pages]
    if len(pages) > 1:
        s.judge("T25-109", True, f"the tasks come in {len(pages)} pages", pages[0])
    elif len(made) < _MANY:
        s.skip("T25-109", f"only {len(made)} tasks could be had")
    else:
        s.judge("T25-109", False, f"{sizes[0]} tasks come in more than one page", pages[0])
    listed = {id for page in pages for id in ids_in(page)}
    lost = [one for one in made if one.id not in listed]
    there: list[MadeTask] = []
    for start in range(0, len(lost), _AT_ONCE):
        begun = [(one, await s.begin("tasks/get", {"taskId": one.id})) for one in lost[start : start + _AT_ONCE]]
        there += [one for one, request in begun if (await s.outcome(request)).error is None]
    s.judge("T25-112", not there, f"every task that can be had is listed: {len(there)} are not", pages[-1])
    # A last page that is as full as the first looks like one that should not have been the last.
    cut = bool(there) and sizes[-1] == max(sizes)
    s.judge("T25-110", not cut, "there is a nextCursor as long as there are more tasks", pages[-1])
    refused = await s.call("tasks/list", {"cursor": "no-such-cursor-4f1c"})
    code = refused.code
    s.judge("T25-131", code == -32602, "a cursor that is none is -32602", refused)


@scenario("T25-016", "T25-163", leg="server", era="2025-11-25")
async def tools_that_may_be_tasks(s: ServerSession) -> None:
    """The tools are listed."""
    s.require("tools")
    saying = sorted(name for name, tool in s.tools.items() if "execution" in tool)
    if saying:
        odd = [name for name in saying if not isinstance(s.tools[name]["execution"], dict)]
        expected = f"execution is an object: {', '.join(odd) or 'of all tools that have it'}"
        s.judge("T25-016", not odd, expected, s.wire.frames[-1])
    else:
        s.skip("T25-016", "no tool has execution")
    s.judge("T25-163", saying, f"{len(saying)} of {len(s.tools)} tools have execution", s.wire.frames[-1])
