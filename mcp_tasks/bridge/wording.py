"""What a bridge changes in what it hands on: as little as the two eras allow.

Requests and results go through as the JSON they are. Left out is what a message says of the connection it goes by,
which is another one here than there; what one era does not have; and nothing else.
"""

from __future__ import annotations

from typing import Any

from .._unset import UNSET, JSONObject
from ..peer.connection import Connection
from ..peer.contexts import Context
from ..wire.capabilities import ServerCapabilities
from ..wire.v2025_11_25 import RELATED_TASK
from ..wire.v2025_11_25 import REVISION as WITH_SESSION
from ..wire.v2026_07_28 import CLIENT_CAPABILITIES as CAPABILITIES
from ..wire.v2026_07_28 import CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION, SERVER_INFO, TASKS_EXTENSION
from ..wire.v2026_07_28 import REVISION as WITHOUT_SESSION

__all__ = ["Wording", "is_bare", "related_task"]

_OF_THE_CONNECTION = frozenset(
    {"progressToken", RELATED_TASK, PROTOCOL_VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL, SERVER_INFO}
)
_OF_THE_REQUEST = frozenset({"_meta", "task", "inputResponses", "requestState"})
_OF_THE_RESULT = frozenset({"_meta", "resultType"})
_CACHE_HINTS = frozenset({"ttlMs", "cacheScope"})


class Wording:
    """Words what goes to one server, and what comes from it."""

    def __init__(self, server: Connection) -> None:
        self._server = server
        theirs = server.their_capabilities
        self._logs = isinstance(theirs, ServerCapabilities) and theirs.logging is not UNSET

    def request(self, ctx: Context, params: JSONObject) -> JSONObject:
        """The parameters of a client's request, for the server."""
        sent = _without(params, _OF_THE_REQUEST)
        meta = _without(ctx.meta, _OF_THE_CONNECTION)
        if self._server.dialect.stateless:
            meta |= self._in_the_name_of(ctx)
        return {**sent, "_meta": meta} if meta else sent

    def _in_the_name_of(self, ctx: Context) -> JSONObject:
        # Without a session the server can be told, with each request, what the very client that makes it can do.
        can: JSONObject
        if ctx.stateless:
            can, level = dict(ctx.meta[CAPABILITIES]), ctx.meta.get(LOG_LEVEL)
        else:
            client, dialect = ctx.connection, self._server.dialect
            can = dialect.lower_stamp(client.their_capabilities, client.peer.info, log_level=None)[CAPABILITIES]
            level = client.log_level if self._logs else None
        # That every client can follow a task is our doing.
        can["extensions"] = {**(can.get("extensions") or {}), TASKS_EXTENSION: {}}
        return {CAPABILITIES: can} | ({} if level is None else {LOG_LEVEL: level})

    def question(self, params: JSONObject) -> JSONObject:
        """The parameters of the server's question, for a client."""
        asked = _without(params, _OF_THE_REQUEST)
        if meta := _without(params.get("_meta") or {}, _OF_THE_CONNECTION):
            asked["_meta"] = meta
        return asked

    def result(self, ctx: Context, result: JSONObject, **changed: Any) -> Any:
        """A result of the server, for the client that made the request, with some members changed."""
        left_out = _OF_THE_RESULT if ctx.stateless else _OF_THE_RESULT | _CACHE_HINTS
        told = _without(result, left_out) | changed
        if meta := _without(result.get("_meta") or {}, _OF_THE_CONNECTION):
            told["_meta"] = meta
        if ctx.revision in (WITH_SESSION, WITHOUT_SESSION):
            return told
        return self._server.lift_result(ctx.method, told)  # an older revision leaves out what it does not have

    def tool(self, ctx: Context, tool: JSONObject) -> JSONObject:
        """The definition of a tool, for a client: what is said of tasks, and of results, follows its era."""
        if ctx.stateless:
            return _without(tool, frozenset({"execution"}))
        if not self._server.dialect.stateless:
            return tool
        tool = dict(tool)
        if self._server.takes_tasks("tools/call"):
            tool["execution"] = {"taskSupport": "optional"}
        if is_bare(tool.get("outputSchema")):
            tool["outputSchema"] = _boxed_schema(tool["outputSchema"])
        return tool

    def tool_result(self, ctx: Context, result: JSONObject, output_schema: Any) -> Any:
        """The result of a tool with that output schema, for a client."""
        if not ctx.stateless and "structuredContent" in result:
            structured = result["structuredContent"]
            if is_bare(output_schema) or not isinstance(structured, dict):  # there it has to be an object
                return self.result(ctx, result, structuredContent={"result": structured})
        return self.result(ctx, result)


def related_task(meta: Any) -> str | None:
    """The task that a message of a session says it belongs to."""
    related = meta.get(RELATED_TASK) if isinstance(meta, dict) else None
    id = related.get("taskId") if isinstance(related, dict) else None
    return id if isinstance(id, str) else None


def is_bare(schema: Any) -> bool:
    """Whether what a schema describes need not be an object."""
    return isinstance(schema, dict) and schema.get("type") != "object"


def _boxed_schema(schema: JSONObject) -> JSONObject:
    boxed = dict(schema)
    definitions = {name: boxed.pop(name) for name in ("$defs", "definitions") if name in boxed}
    return {"type": "object", "properties": {"result": boxed}, "required": ["result"]} | definitions


def _without(members: JSONObject, names: frozenset[str]) -> JSONObject:
    return {name: value for name, value in members.items() if name not in names}
