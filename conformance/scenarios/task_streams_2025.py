"""What tasks are over Streamable HTTP (2025-11-25): the rules for messages and streams are those of everything else."""

from __future__ import annotations

from ..client_session import ClientSession
from ..scenario import scenario
from ..server_session import ServerSession

_HTTP = ("http",)


@scenario("T25-038", "T25-072", leg="server", needs="quick", transports=_HTTP)
async def a_task_over_http(s: ServerSession) -> None:
    """A task is made, shown, and its result taken, each by a POST of its own."""
    made = await s.make_task("quick")
    shown = await s.get(made.id)
    await s.settled(made.id)
    await s.call("tasks/result", {"taskId": made.id})
    plain = not shown.headers.get("content-type", "").startswith("text/event-stream")
    s.judge("T25-072", plain, "tasks/get is answered by JSON, not by a stream", shown)
    requests = {frame.id: frame for frame in s.wire.frames if frame.is_request and frame.sender is s.wire.side}
    for answer in s.wire.frames:
        request = requests.get(answer.id) if answer.is_response and answer.sender is not s.wire.side else None
        if request is None or (request is not made.request and not (request.method or "").startswith("tasks/")):
            continue
        own = answer.channel == request.channel
        s.judge("T25-038", own, f"the answer to {request.method} comes by the exchange that asked", answer)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip()
        fits = answer.status == 200 and kind in ("application/json", "text/event-stream")
        s.judge("T25-038", fits, "its status is 200, and it is JSON or a stream of events", answer)


@scenario("T25-038", leg="client", needs="quick", transports=_HTTP)
async def a_task_of_a_client_over_http(s: ClientSession) -> None:
    """A client runs a task: each of its answers is a POST of its own."""
    made = await s.make_task("quick")
    await s.settled(made.id)
    await s.call("tasks/result", {"taskId": made.id})
    http = s.over_http
    channels: set[str] = set()
    for answer in (frame for frame in s.wire.frames if frame.is_response and frame.sender is not s.wire.side):
        alone = answer.verb == "POST" and answer.channel not in channels
        s.judge("T25-038", alone, "each answer is a POST of its own", answer)
        channels.add(answer.channel)
        accept = answer.headers.get("accept", "")
        both = "application/json" in accept and "text/event-stream" in accept
        s.judge("T25-038", both, "Accept names application/json and text/event-stream", answer)
        session = None if http is None else http.session_id
        known = session is None or answer.headers.get("mcp-session-id") == session
        s.judge("T25-038", known, "the session is named", answer)
        version = answer.headers.get("mcp-protocol-version")
        s.judge("T25-038", version == s.era, "MCP-Protocol-Version is what was agreed on", answer)
