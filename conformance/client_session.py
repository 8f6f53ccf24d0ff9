"""The judge as a server: a session with a client under test, of either era, while it does its errand.

It offers a few tools that the client is sent to call, and answers everything else as a server should. What happens to
the call is the scenario's: it waits for it, answers it, or does to it what a bad server might.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import trio
from attrs import define, field

from mcp_tasks import UNSET, ConnectionClosed, RequestFailed
from mcp_tasks.testing import Frame, HttpServerWire, LineWire, NothingCame, RelayedWire, Wire

from .names import CAPABILITIES, RELATED, SERVER_INFO, SUBSCRIPTION, TASKS
from .scenario import Broken, Errand, NotApplicable
from .session import Session

__all__ = ["SERVER_2025", "SERVER_2026", "ClientSession", "OurTask"]

JUDGE = {"name": "mcp-tasks-conformance", "version": "1"}
SERVER_2025: Mapping[str, Any] = {
    "tools": {"listChanged": True},
    "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}},
}
"""What the judge announces as a server of 2025-11-25, unless a scenario says otherwise."""
SERVER_2026: Mapping[str, Any] = {"tools": {"listChanged": True}, "extensions": {TASKS: {}}}
"""The same of 2026-07-28."""
_STATELESS = "2026-07-28"
_FAREWELL_SECONDS = 1.0
_HANGING_UP_SECONDS = 2.0
"""How long the end of a pipe may take to be seen once its client has ended."""
_LAST_WORDS_SECONDS = 0.1
"""The same where it is not to be seen: what was said last is in our buffers by then, and only has to be read."""
_SERVER_INFO = {"_meta": {SERVER_INFO: JUDGE}}
_OTHER_TOOLS: Mapping[str, Any] = {  # of 2025-11-25: what they say of being a task
    "forbidden": {"execution": {"taskSupport": "forbidden"}},
    "required": {"execution": {"taskSupport": "required"}},
    "silent": {},
}
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}


@define
class OurTask:
    """A task that the judge runs, or says it runs. `state` is worded by `ClientSession.worded`."""

    id: str
    request: Frame
    status: str = "working"
    created: datetime = field(factory=lambda: datetime.now(timezone.utc))
    updated: datetime | None = None
    ttl: int | None = 600_000
    poll: int | None = 50
    message: str | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    questions: dict[str, Any] = field(factory=dict)
    polls: list[Frame] = field(factory=list)
    """Every ``tasks/get`` that came for it."""
    updates: list[Frame] = field(factory=list)
    cancels: list[Frame] = field(factory=list)
    waits: list[Frame] = field(factory=list)
    """Every ``tasks/result``."""

    def move(self, status: str) -> None:
        """Change its status, and the time at which that happened."""
        self.status = status
        self.updated = datetime.now(timezone.utc) + timedelta(milliseconds=1)


class ClientSession(Session):
    """The server's end. `tools` are those that the client is shown, by name."""

    def __init__(
        self,
        wire: Wire,
        nursery: trio.Nursery,
        *,
        errand: Errand,
        declares: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(wire, nursery, **more)
        everything = SERVER_2026 if self.era == _STATELESS else SERVER_2025
        self.declares = dict(everything if declares is None else declares)
        self.errand = errand
        self.more_meta: dict[str, Any] = {}
        """What the ``_meta`` of results of 2026-07-28 has besides."""
        self.finished: Callable[[], Awaitable[str]] | None = None
        self.tools: dict[str, dict[str, Any]] = {
            "play": {"name": "play", "description": "What the errand is about", "inputSchema": _SCHEMA}
        }
        self.tasks: dict[str, OurTask] = {}
        if self.era != _STATELESS:
            self.tools["play"]["execution"] = {"taskSupport": "optional" if errand.task else "forbidden"}
            for name, execution in _OTHER_TOOLS.items():
                self.tools[name] = {"name": name, "description": "What an errand may be about", "inputSchema": _SCHEMA}
                self.tools[name] |= execution
        self.on("ping", {})
        self.on("initialize", self._initialize)
        self.on("server/discover", self._discover)
        self.on("tools/list", self._list)
        self.on("tasks/get", self._get)
        self.on("tasks/update", self._update)
        self.on("tasks/cancel", self._cancel)
        self.listens: list[Frame] = []
        """Every ``subscriptions/listen`` that came, all of them acknowledged."""
        self.tells = False
        """Whether the judge tells of the tasks that it is asked to tell of (2026-07-28); else of nothing."""
        self.on("subscriptions/listen", self._listen)

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Wait until the client has come, and is one of this era. Raises `NotApplicable`, `Broken`.

        Once it has ended, nobody waits for it any longer: whatever is waited for then raises as for a connection that
        has ended.
        """
        self._nursery.start_soon(self._see_the_end)
        if self.era != _STATELESS:
            await self.come("notifications/initialized")

    @property
    def gone(self) -> bool:
        """Whether the client has ended, or has closed its connection: nothing more comes from it."""
        return self._ended is not None

    async def _see_the_end(self) -> None:
        if self.finished is None:
            return
        await self.finished()
        wire = self.wire
        seen = isinstance(wire, LineWire) or (isinstance(wire, RelayedWire) and wire.starts > 0)
        with trio.move_on_after(_HANGING_UP_SECONDS if seen else _LAST_WORDS_SECONDS):
            while not (self.gone or self._hung_up()):
                await self._arrived.park()
        if self._ended is None:
            self._ended = "the client has ended"
        self.wake()

    def _hung_up(self) -> bool:
        # A client that starts its server anew has hung up before, so only the last that was seen of it counts.
        theirs = self.sent()
        return isinstance(self.wire, RelayedWire) and bool(theirs) and theirs[-1].event == "closed"

    def complete(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """A result as this era has it."""
        if self.era != _STATELESS:
            return dict(result)
        found = {"resultType": "complete", **_SERVER_INFO, **result}
        return {**found, "_meta": {**found["_meta"], **self.more_meta}}

    def _initialize(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if self.era == _STATELESS:
            requested = self.frame_of(request).params.get("protocolVersion")
            unsupported = {"supported": [_STATELESS], "requested": requested}
            raise RequestFailed(-32022, "this server speaks 2026-07-28", unsupported)
        announced = self.frame_of(request).params.get("capabilities")
        self.capabilities = announced if isinstance(announced, dict) else {}
        return {"protocolVersion": self.era, "capabilities": self.declares, "serverInfo": JUDGE}

    def _discover(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.era != _STATELESS:
            raise RequestFailed(-32601, "Method not found: server/discover")
        found = {"supportedVersions": [self.era], "capabilities": self.declares, "ttlMs": 0, "cacheScope": "private"}
        return self.complete(found)

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        cache = {"ttlMs": 0, "cacheScope": "private"} if self.era == _STATELESS else {}
        return self.complete({"tools": list(self.tools.values()), **cache})

    # --- the errand -----------------------------------------------------------------------------------------------

    async def called(self, tool: str = "play") -> Frame:
        """Wait for the call that the client was sent to make. Raises `Broken` if none comes."""
        return await self.come("tools/call", {"name": tool})

    async def answer_call(self, call: Frame, text: str = "done", **more: Any) -> None:
        """Answer a call with a plain result."""
        await self.reply(call.object, self.complete(tool_result(text, **more)))

    async def printed(self) -> Any:
        """Wait until the client has ended, and return the JSON it printed last; UNSET if there was none.

        Raises `Broken` if it does not end.
        """
        if self.finished is None:
            return UNSET
        with trio.move_on_after(self.patience):
            for line in reversed((await self.finished()).splitlines()):
                try:
                    return json.loads(line)
                except ValueError:
                    continue
            return UNSET
        raise Broken(f"the client did not end within {self.patience:g} seconds")

    async def finish(self) -> None:
        """Answer the calls that are still open, and those that still come, so that the client can end by itself."""
        self.on("tools/call", self.complete(tool_result("done")))
        for message in self.unread("tools/call"):
            self._unread.remove(message)
            await self.answer_call(self.frame_of(message))
        if self.finished is not None:
            with trio.move_on_after(_FAREWELL_SECONDS):
                await self.finished()

    # --- tasks that the judge runs --------------------------------------------------------------------------------

    async def run_task(self, call: Frame, id: str = "0f3c5a9e7b2d4c18a6e0d1f29b3c7a55", **state: Any) -> OurTask:
        """Answer a call with a new task. Raises `NotApplicable` if the client does not want one."""
        if not self.wants_task(call):
            raise NotApplicable("the client does not ask for tasks")
        task = OurTask(id, call, **state)
        self.tasks[id] = task
        created = self.worded(task, created=True)
        await self.reply(call.object, created)
        return task

    def wants_task(self, call: Frame) -> bool:
        """Whether a call may be answered with a task."""
        if self.era != _STATELESS:
            return "task" in call.params
        declared = call.meta.get(CAPABILITIES)
        extensions = declared.get("extensions") if isinstance(declared, dict) else None
        return isinstance(extensions, dict) and TASKS in extensions

    def worded(self, task: OurTask, *, created: bool = False) -> dict[str, Any]:
        """A task as this era words it: as it is made, or as ``tasks/get`` shows it."""
        modern = self.era == _STATELESS
        found: dict[str, Any] = {
            "taskId": task.id,
            "status": task.status,
            "createdAt": _time(task.created),
            "lastUpdatedAt": _time(task.updated or task.created),
            "ttlMs" if modern else "ttl": task.ttl,
        }
        if task.poll is not None:
            found["pollIntervalMs" if modern else "pollInterval"] = task.poll
        if task.message is not None:
            found["statusMessage"] = task.message
        if not modern:
            return {"task": found} if created else found
        if created:
            return {"resultType": "task", **found, **_SERVER_INFO}
        if task.status == "input_required":
            found["inputRequests"] = task.questions
        elif task.status == "completed":
            found["result"] = task.result
        elif task.status == "failed":
            found["error"] = task.error
        return self.complete(found)

    def end(self, task: OurTask, text: str = "done") -> None:
        """Complete a task with a result."""
        task.result = self.complete(tool_result(text))
        task.move("completed")

    async def release(self, task: OurTask) -> None:
        """Answer every ``tasks/result`` that waits for a task (2025-11-25)."""
        while waits := self.unread("tasks/result"):
            for request in waits:
                self._unread.remove(request)
                task.waits.append(self.frame_of(request))
                if task.error is not None:
                    await self.refuse(request, task.error["code"], task.error["message"])
                else:
                    meta = {"_meta": {RELATED: {"taskId": task.id}}}
                    await self.reply(request, {**(task.result or tool_result("done")), **meta})

    def _task(self, request: dict[str, Any]) -> OurTask:
        task = self.tasks.get(str(self.frame_of(request).params.get("taskId")))
        if task is None:
            raise RequestFailed(-32602, "There is no such task")
        return task

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._task(request)
        task.polls.append(self.frame_of(request))
        return self.worded(task)

    def _update(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._task(request)
        task.updates.append(self.frame_of(request))
        answers = self.frame_of(request).params.get("inputResponses")
        for key in answers if isinstance(answers, dict) else ():
            task.questions.pop(key, None)
        if task.status == "input_required" and not task.questions:
            task.move("working")
        return self.complete({})

    def _cancel(self, request: dict[str, Any]) -> dict[str, Any]:
        task = self._task(request)
        task.cancels.append(self.frame_of(request))
        if self.era == _STATELESS:
            if task.status not in ("completed", "failed"):
                task.move("cancelled")
            return self.complete({})
        if task.status in ("completed", "failed", "cancelled"):
            raise RequestFailed(-32602, f"The task is already {task.status}")
        task.move("cancelled")
        return self.worded(task)

    # --- rounds of questions, and subscriptions (2026-07-28) --------------------------------------------------------

    async def ask_back(self, call: Frame, questions: Mapping[str, Any] | None, state: str | None = None) -> None:
        """Answer a call with questions, or a state that is to be given back, or both."""
        result: dict[str, Any] = {"resultType": "input_required", **_SERVER_INFO}
        if questions is not None:
            result["inputRequests"] = dict(questions)
        if state is not None:
            result["requestState"] = state
        await self.reply(call.object, result)

    def _listen(self, request: dict[str, Any]) -> None:
        if self.era != _STATELESS:
            raise RequestFailed(-32601, "Method not found: subscriptions/listen")
        frame = self.frame_of(request)
        self.listens.append(frame)
        wanted = frame.params.get("notifications")
        ids = wanted.get("taskIds") if isinstance(wanted, dict) else None
        honoured = {"taskIds": ids} if self.tells and isinstance(ids, list) else {}
        told = "notifications/subscriptions/acknowledged"
        self._nursery.start_soon(self._tell, frame, told, {"notifications": honoured})

    async def push(self, task: OurTask) -> None:
        """Tell whoever listens for a task how it is."""
        for frame in self.listens:
            wanted = frame.params.get("notifications")
            ids = wanted.get("taskIds") if isinstance(wanted, dict) else None
            if isinstance(ids, list) and task.id in ids:
                told = self.worded(task)
                del told["resultType"]
                await self._tell(frame, "notifications/tasks", told)

    async def _tell(self, listening: Frame, method: str, params: Mapping[str, Any]) -> None:
        told = {**params, "_meta": {SUBSCRIPTION: listening.object["id"]}}
        message = {"jsonrpc": "2.0", "method": method, "params": told}
        try:
            await self.wire.send(message, channel=listening.channel or None)
        except ConnectionClosed:
            pass  # they no longer listen

    async def until_or_end(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until a condition is true, the client has ended, or our patience has; returns what it then is."""
        try:
            with trio.move_on_after(self.patience):  # whatever else comes meanwhile
                await self.until(condition, what)
        except (ConnectionClosed, NothingCame):
            pass
        return condition()

    def sent(self, *methods: str) -> list[Frame]:
        """All that the client has said by now, in order; of these methods, where some are named."""
        theirs = [frame for frame in self.wire.frames if frame.sender is not self.wire.side]
        return [frame for frame in theirs if not methods or frame.method in methods]

    @property
    def over_http(self) -> HttpServerWire | None:
        """The wire, where it is HTTP."""
        return self.wire if isinstance(self.wire, HttpServerWire) else None


def tool_result(text: str, **more: Any) -> dict[str, Any]:
    """The result of a tool."""
    return {"content": [{"type": "text", "text": text}], **more}


def _time(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
