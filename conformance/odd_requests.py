"""Requests as no session makes them: without what each request says of its client, with headers that say otherwise.

A session adds what a client owes its server. What is sent here goes out just as it is given; over HTTP the answer is
known by the exchange that it comes in, since a server that refuses a request for its headers may not have read its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_tasks import ConnectionClosed
from mcp_tasks.testing import Frame, HttpClientWire, NothingCame

from .scenario import Broken
from .server_session import ServerSession

__all__ = ["exchanged", "http_wire", "says_what_is_missing", "told"]


def http_wire(s: ServerSession) -> HttpClientWire:
    """The wire of a scenario that is played over HTTP alone."""
    assert isinstance(s.wire, HttpClientWire)
    return s.wire


async def told(
    s: ServerSession,
    method: str,
    params: Mapping[str, Any],
    *,
    id: int | str | None = None,
    headers: Mapping[str, str | None] | None = None,
) -> Frame:
    """Send a request with these params and no others, and wait for the answer. Raises `Broken`.

    Over HTTP `headers` come on top of those that a client sends, and those that are None are left out.
    """
    if id is None:
        id = f"odd-{len(s.wire.frames)}"
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": dict(params)}
    if isinstance(s.wire, HttpClientWire):
        return await exchanged(s, s.wire.post(message, headers=headers).channel, method)
    return await s.outcome(await s.send(message))


async def exchanged(s: ServerSession, channel: str, what: str) -> Frame:
    """Wait for the answer that an exchange brings, which may be a bare status. Raises `Broken`."""

    def arrived() -> Frame | None:
        for frame in s.wire.frames:
            theirs = frame.channel == channel and frame.sender is not s.wire.side
            if theirs and (frame.is_response or frame.event not in ("", "stream", "primed")):
                return frame
        return None

    try:
        found = await s.until(arrived, f"the answer to {what}")
    except NothingCame:
        raise Broken(f"no answer to {what} came within {s.patience:g} seconds") from None
    except ConnectionClosed as closed:
        raise Broken(f"no answer to {what}: {closed}") from None
    assert found is not None
    return found


def says_what_is_missing(s: ServerSession, answer: Frame, capability: str) -> None:
    """Judge the refusal of a request that cannot do without a capability which its client has not declared."""
    data = (answer.error or {}).get("data")
    listed = data.get("requiredCapabilities") if isinstance(data, dict) else None
    names = answer.code == -32021 and isinstance(listed, dict) and capability in listed
    expected = f"it is refused with -32021, and error.data.requiredCapabilities has {capability}"
    s.judge("C26-059", names, expected, answer)
    if s.transport == "http":
        s.judge("C26-060", answer.status == 400, "it is refused with the HTTP status 400", answer)
