"""Drafts a profile of a server: which of its tools may show what, by their names, descriptions and schemas.

A tool's ``taskSupport`` is a fact, its name a guess, and the draft says which is which. When told to, tools that look
harmless are called once, as a plain call, and what they do is a fact too. Whoever uses the draft reads it first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import trio
from attrs import define, field

from .answers import answer_to
from .names import SERVER_INFO
from .profile import ABILITIES, Profile
from .runner import PATIENCE_SECONDS, play
from .scenario import Scenario
from .server_session import CLIENT_2025, CLIENT_2026, ServerSession
from .subjects import ServerSubject
from .verdicts import Play

__all__ = ["Draft", "Tool", "arguments_for", "draft", "looks_harmless", "to_toml"]

SLOW_SECONDS = 2.0
"""From here on a tool is slow; see `ABILITIES`."""
_QUICK_SECONDS = 1.0
_WISHED_SECONDS = 3
"""What a tool that can be told how long to take is told."""

_GUESSES: Mapping[str, str] = {
    "samples_as_task": r"sampl\w*[-_ ]as[-_ ]task|task.*(sampl|elicit)|bidirectional",
    "asks_both": r"asks?[-_ ]?both|two questions at once",
    "asks_twice": r"asks?[-_ ]?twice|two questions|multi[-_ ]?step.*(form|elicit)",
    "asks": r"elicit|confirm|\basks?\b|user input|approval|input[-_ ]?required",
    "samples": r"sampl|\bllm\b|language model",
    "is_error": r"is[-_ ]?error|tool[-_ ]?error|returns? an error",
    "fails": r"\bfails?\b|failing|\bthrows?\b|\berror\b|protocol[-_ ]?error",
    "progress": r"progress|long[-_ ]?running|steps",
    "slow": r"slow|sleep|\bwait|delay|long[-_ ]?running|simulat",
    "quick": r"echo|greet|hello|\badd\b|\bsum\b|get[-_ ]sum|quick|ping|reverse|now|time|version",
}
"""What in a name or description speaks for an ability."""
_PLAIN: Mapping[str, Mapping[str, Any]] = {
    era: {name: value for name, value in declared.items() if name not in ("tasks", "extensions")}
    for era, declared in (("2025-11-25", CLIENT_2025), ("2026-07-28", CLIENT_2026))
}
"""A client with no tasks is shown what a tool does by itself: its questions and its progress."""
_UNSAFE = re.compile(
    r"delete|remove|drop|destroy|write|update|edit|create|insert|send|post|publish|deploy|exec|shell|command|\brun\b"
    r"|kill|stop|shut|reset|pay|buy|order|transfer|upload|install|\bmove\b|rename|chmod|commit|push|merge|env",
    re.IGNORECASE,
)
_SECONDS = re.compile(r"sec|duration|delay|time|wait|\bfor\b", re.IGNORECASE)
_MILLISECONDS = re.compile(r"ms$|milli", re.IGNORECASE)


@define
class Tool:
    """A tool as the server lists it, and what it did when it was called."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(factory=dict)
    support: str = "forbidden"
    """Its ``taskSupport`` of 2025-11-25."""
    annotations: Mapping[str, Any] = field(factory=dict)
    shows: list[str] | None = None
    """The abilities that it was seen to have; None if it was not called."""
    seen: str = ""
    """What it did, in words."""

    @property
    def words(self) -> str:
        """What a guess goes by."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).replace("_", " ").replace("-", " ") + " " + self.name


@define
class Draft:
    """What was seen of a server."""

    name: str
    tools: list[Tool]
    tasks: bool
    """Whether it announces tasks of 2025-11-25."""


# --- looking --------------------------------------------------------------------------------------------------------


async def draft(
    subject: ServerSubject,
    eras: Iterable[str],
    *,
    probe: bool = False,
    patience: float = PATIENCE_SECONDS,
    tokens: tuple[str, str] | None = None,
) -> Draft:
    """Look at a server, in each of the eras that it speaks; `probe` calls tools that look harmless."""
    found = Draft("server", [], False)
    known: dict[str, Tool] = {}

    async def look(session: ServerSession) -> None:
        info = session.opening.result.get("serverInfo") or session.opening.meta.get(SERVER_INFO)
        if isinstance(info, dict) and isinstance(info.get("name"), str):
            found.name = info["name"]
        found.tasks |= session.announces("tasks", "requests", "tools", "call")
        for name, listed in session.tools.items():
            tool = known.setdefault(name, _tool(name, listed))
            if session.era == "2025-11-25":
                tool.support = _tool(name, listed).support

    async def called(session: ServerSession) -> None:
        for tool in known.values():
            arguments = arguments_for(tool)
            if arguments is not None and tool.name in session.tools and looks_harmless(tool):
                await _watch(session, tool, arguments)

    async def one(era: str, part: Any) -> Play:
        scenario = Scenario("draft", part, (), "server", era, declares=_PLAIN[era])
        return await play(subject, scenario, Profile(), patience=patience, tokens=tokens)

    eras = list(eras)
    for era in eras:
        await one(era, look)
    if probe:
        # In the newer era questions come with the answer, so that they can be counted.
        await one(eras[-1], called)
    found.tools = list(known.values())
    return found


def _tool(name: str, listed: Mapping[str, Any]) -> Tool:
    def table(value: Any) -> Mapping[str, Any]:
        return value if isinstance(value, dict) else {}

    support = table(listed.get("execution")).get("taskSupport")
    description = listed.get("description")
    return Tool(
        name,
        description if isinstance(description, str) else "",
        table(listed.get("inputSchema")),
        support if support in ("optional", "required") else "forbidden",
        table(listed.get("annotations")),
    )


def looks_harmless(tool: Tool) -> bool:
    """Whether a tool may be called to see what it does: it says that it only reads, or nothing speaks against it."""
    if tool.annotations.get("readOnlyHint") is True:
        return True
    if tool.annotations.get("destructiveHint") is True:
        return False
    return _UNSAFE.search(f"{tool.words} {tool.description}") is None


def arguments_for(tool: Tool) -> dict[str, Any] | None:
    """Arguments that fit the schema of a tool, if that is simple enough: only those that have to be there.

    One that says how long to take is told, too, whether it has to be or not.
    """
    properties = tool.schema.get("properties", {})
    required = tool.schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return None
    found: dict[str, Any] = {}
    lasting = re.search(_GUESSES["slow"], tool.words, re.IGNORECASE) is not None
    for name, schema in properties.items():
        if not isinstance(schema, dict):
            continue
        if lasting and schema.get("type") in ("number", "integer") and _SECONDS.search(name):
            found[name] = _WISHED_SECONDS * (1000 if _MILLISECONDS.search(name) else 1)
        elif name in required:
            value = _value(schema)
            if value is None:
                return None
            found[name] = value
    return found if set(required) <= found.keys() else None


def _value(schema: Mapping[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    for part in ("enum", "examples"):
        if isinstance(schema.get(part), list) and schema[part]:
            return schema[part][0]
    match schema.get("type"):
        case "string":
            shortest = schema.get("minLength", 0)
            if "pattern" in schema or "format" in schema:
                return None
            return "hello".ljust(shortest if isinstance(shortest, int) else 0, "o")
        case "integer" | "number":
            lowest = schema.get("minimum", 1)
            return lowest if isinstance(lowest, (int, float)) and lowest > 1 else 1
        case "boolean":
            return False
        case "array":
            return [] if not schema.get("minItems") else None
        case "object":
            return {} if not schema.get("required") else None
    return None


async def _watch(session: ServerSession, tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Call a tool, and note what happens until it has answered. A task is followed to its end."""
    before = len(session.wire.frames)
    began = trio.current_time()
    token = f"draft-{before}"
    params: dict[str, Any] = {"name": tool.name, "arguments": dict(arguments), "_meta": {"progressToken": token}}
    if tool.support == "required" and session.era == "2025-11-25":
        params["task"] = {}
    rounds: list[int] = []
    with trio.move_on_after(session.patience) as limit:
        frame = await session.call("tools/call", params)
        while frame.result.get("resultType") == "input_required":
            questions = frame.result.get("inputRequests") or {}
            rounds.append(len(questions))
            params["inputResponses"] = {
                key: answer_to(one.get("method", ""), one.get("params") or {}) for key, one in questions.items()
            }
            if "requestState" in frame.result:
                params["requestState"] = frame.result["requestState"]
            frame = await session.call("tools/call", params)
        result, error = frame.result, frame.error
        handle = result if result.get("resultType") == "task" else result.get("task")
        if isinstance(handle, dict) and isinstance(handle.get("taskId"), str):
            last = await session.settled(handle["taskId"])
            result, error = last.get("result") or {}, last.get("error")
    if limit.cancelled_caught:
        tool.shows, tool.seen = [], f"did not end within {session.patience:g} seconds"
        return
    heard = [one for one in session.wire.frames[before:] if one.sender is not session.wire.side]
    rounds += [
        len(one.result["inputRequests"])
        for one in heard
        if one.result.get("status") == "input_required" and isinstance(one.result.get("inputRequests"), dict)
    ][:1]
    asked = [one for one in heard if "elicitation/create" in json.dumps(one.object)]
    sampled = [one for one in heard if "sampling/createMessage" in json.dumps(one.object)]
    progressed = [one for one in heard if one.method == "notifications/progress"]
    _conclude(tool, trio.current_time() - began, rounds, len(asked), len(sampled), len(progressed), result, error)


def _conclude(
    tool: Tool,
    seconds: float,
    rounds: list[int],
    asked: int,
    sampled: int,
    progressed: int,
    result: Mapping[str, Any],
    error: Mapping[str, Any] | None,
) -> None:
    shows: list[str] = []
    seen: list[str] = [f"took {seconds:.1f} s"]
    if asked:
        shows.append("asks_both" if max(rounds, default=0) > 1 else "asks_twice" if asked > 1 else "asks")
        seen.append("asked the user")
    if sampled:
        shows.append("samples")
        seen.append("asked the model")
    if progressed > 1:
        shows.append("progress")
        seen.append("reported progress")
    if error is not None:
        seen.append(f"ended with the error {error.get('code')}")
        shows += [] if error.get("code") in (-32601, -32602, -32003, -32021) else ["fails"]
    elif result.get("isError") is True:
        seen.append("ended with a result that has isError")
        shows.append("is_error")
    elif seconds >= SLOW_SECONDS:
        shows.append("slow")
    elif seconds < _QUICK_SECONDS and not shows:
        shows.append("quick")
    tool.shows, tool.seen = shows, ", ".join(seen)


# --- writing --------------------------------------------------------------------------------------------------------


def _candidates(found: Draft, ability: str) -> list[tuple[Tool, str]]:
    """The tools that may show an ability, the likeliest first, each with the reason."""
    usable = [tool for tool in found.tools if arguments_for(tool) is not None]
    # As it may be a task for most of them, those that can be go first.
    usable.sort(key=lambda tool: tool.support == "forbidden")
    if ability == "required":
        return [(tool, "its taskSupport is required") for tool in usable if tool.support == "required"]
    if ability == "forbidden":
        plain = [tool for tool in usable if tool.support == "forbidden"]
        plain.sort(key=lambda tool: not _likely(tool, "quick"))
        return [(tool, "it is no task") for tool in plain if found.tasks and _safe(tool)]
    if ability == "many":
        return []
    # Of those that were seen to have it, the ones that go by such a name first; a tool that also has others is less it.
    seeing = [tool for tool in usable if tool.shows and ability in tool.shows]
    seeing.sort(key=lambda tool: (tool.support == "forbidden", not _likely(tool, ability), len(tool.shows or ())))
    seen = [(tool, f"seen: it {tool.seen}") for tool in seeing]
    if seen or any(tool.shows is not None for tool in found.tools):
        guessed = [tool for tool in usable if tool.shows is None and _likely(tool, ability)]
    else:
        guessed = [tool for tool in usable if _likely(tool, ability)]
    return [*seen, *((tool, "a guess, by its name or description") for tool in guessed if _safe(tool))]


def _likely(tool: Tool, ability: str) -> bool:
    if tool.name.lower().replace("-", "_") == ability:
        return True
    if ability not in _GUESSES:
        return False
    guess = re.compile(_GUESSES[ability], re.IGNORECASE)
    return guess.search(tool.words) is not None or (ability != "quick" and guess.search(tool.description) is not None)


def _safe(tool: Tool) -> bool:
    return tool.shows is not None or looks_harmless(tool)


def to_toml(found: Draft) -> str:
    """The draft as TOML: what was found, and in comments what else there may be and what was not."""
    lines = [
        f"# A draft: read it before you use it. {len(found.tools)} tools were looked at.",
        f"name = {_string(found.name)}",
    ]
    missing = []
    for ability, meaning in ABILITIES.items():
        candidates = _candidates(found, ability)
        # A tool of that very name is it, wherever it stands.
        candidates.sort(key=lambda one: (not one[1].startswith("seen"), one[0].name.replace("-", "_") != ability))
        if not candidates:
            missing.append((ability, meaning))
            continue
        tool, why = candidates[0]
        lines += ["", f"# It {meaning}: {why}."]
        if others := [other.name for other, _ in candidates[1:4]]:
            lines.append(f"# Or: {', '.join(_comment(name) for name in others)}.")
        lines += [f"[abilities.{ability}]", f"tool = {_string(tool.name)}"]
        if arguments := arguments_for(tool):
            lines.append(f"arguments = {_inline(arguments)}")
    if missing:
        lines += ["", "# Not found:"]
        lines += [f"# {ability}: {meaning}." for ability, meaning in missing]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace").decode()


def _inline(value: Any) -> str:
    """A JSON value as TOML has it; what is null has no place there."""
    if isinstance(value, dict):
        parts = [f"{_key(name)} = {_inline(one)}" for name, one in value.items() if one is not None]
        return f"{{ {', '.join(parts)} }}" if parts else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(one) for one in value if one is not None)}]"
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _string(name)
