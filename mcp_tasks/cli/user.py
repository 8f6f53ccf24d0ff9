"""The client's side of questions: elicitation and sampling, answered by whoever sits at the terminal.

Both may come as plain requests or as tasks that the server has us run: it is the same handler. With nobody at the
terminal forms are declined, or given their defaults where that was wished for (``--yes``); sampling is rejected. A URL
is shown and never opened, and agreeing to it takes a person.
"""

from __future__ import annotations

import trio

from .._unset import UNSET, JSONObject
from ..errors import RequestRejected
from ..peer.contexts import Context
from ..peer.peer import Peer
from ..wire.client_features import (
    CreateMessageParams,
    CreateMessageResult,
    ElicitFormParams,
    ElicitResult,
    ElicitUrlParams,
    SamplingMessage,
)
from ..wire.content import TextContent
from .display import Display, Event
from .forms import Field, default_content, fields_of
from .terminal import Terminal

__all__ = ["User"]

_HINT = "(Enter takes what is in [brackets]; /decline says no; /cancel or Ctrl-D gives no answer)"
_NO_WORDS = {"/decline": "decline", "/cancel": "cancel"}


class _Unanswered(Exception):
    """The user gave no answer: `action` says how."""

    def __init__(self, action: str) -> None:
        self.action = action


class User:
    """Answers what servers ask. `yes` has forms take their defaults without asking."""

    def __init__(self, terminal: Terminal, display: Display, *, yes: bool = False) -> None:
        self._terminal = terminal
        self._display = display
        self._yes = yes
        self._turn = trio.Lock()  # forms are not mixed with each other

    def attach(self, peer: Peer) -> None:
        """Answer for a peer."""
        peer.elicitation(task="optional", url=True)(self.elicit)
        peer.sampling(task="optional")(self.sample)

    async def elicit(self, ctx: Context, params: ElicitFormParams | ElicitUrlParams) -> ElicitResult:
        """Serve ``elicitation/create``."""
        told: JSONObject = {"message": params.message}
        if isinstance(params, ElicitUrlParams):
            told |= {"mode": "url", "url": params.url}
        else:
            told |= {"mode": "form", "requestedSchema": params.requested_schema}
        who = ctx.connection.peer_name or "the server"
        async with self._turn:
            self._display.event(Event("question", f"? {who} asks: {params.message}", data=told))
            try:
                if isinstance(params, ElicitUrlParams):
                    await self._visit(params)
                    answer = ElicitResult(action="accept")
                else:
                    answer = ElicitResult(action="accept", content=await self._form(params.requested_schema))
            except _Unanswered as none:
                answer = ElicitResult(action="decline" if none.action == "decline" else "cancel")
        given: JSONObject = {} if answer.content is UNSET else {"content": answer.content}
        said = ", ".join(f"{name}={value}" for name, value in given.get("content", {}).items())
        self._display.event(
            Event("answer", f"! {answer.action} {said}".rstrip(), data={"action": answer.action, **given})
        )
        return answer

    async def _visit(self, params: ElicitUrlParams) -> None:
        if not self._terminal.interactive:
            raise _Unanswered("decline")
        self._terminal.tell(f"It wants you to open this page, which is not opened for you: {params.url}")
        while True:
            typed = await self._typed("Do you agree to that, and will you open it? (yes or no): ")
            if typed.lower() in ("y", "yes"):
                return
            if typed.lower() in ("n", "no"):
                raise _Unanswered("decline")

    async def _form(self, schema: JSONObject) -> JSONObject:
        if self._yes:
            content = default_content(schema)
            if content is None:
                self._terminal.tell("declined: it needs more than defaults")
                raise _Unanswered("decline")
            return content
        if not self._terminal.interactive:
            raise _Unanswered("decline")
        self._terminal.tell(_HINT)
        content = {}
        for field in fields_of(schema):
            self._terminal.tell(*field.lines())
            value = await self._value(field)
            if value is not UNSET:
                content[field.name] = value
        return content

    async def _value(self, field: Field) -> object:
        while True:
            typed = await self._typed(field.prompt())
            try:
                return field.parse(typed)
            except ValueError as wrong:
                self._terminal.tell(f"  {wrong}")

    async def sample(self, ctx: Context, params: CreateMessageParams) -> CreateMessageResult:
        """Serve ``sampling/createMessage``: the user plays the model."""
        who = ctx.connection.peer_name or "the server"
        said = "\n".join(f"  {message.role}: {_text(message)}" for message in params.messages)
        async with self._turn:
            self._display.event(
                Event(
                    "sampling",
                    f"? {who} asks your model:\n{said}",
                    data={"messages": [_text(m) for m in params.messages]},
                )
            )
            if not self._terminal.interactive:
                raise RequestRejected("There is nobody to answer")
            if params.system_prompt is not UNSET:
                self._terminal.tell(f"  (as: {params.system_prompt})")
            try:
                reply = await self._typed("Reply in its place (/decline or Ctrl-D says no): ")
            except _Unanswered:
                raise RequestRejected("The user rejected the sampling request") from None
        content = TextContent(text=reply)
        return CreateMessageResult(role="assistant", content=content, model="human", stop_reason="endTurn")

    async def _typed(self, prompt: str) -> str:
        typed = await self._terminal.ask(prompt)
        if typed is None:
            raise _Unanswered("cancel")
        if (action := _NO_WORDS.get(typed.strip())) is not None:
            raise _Unanswered(action)
        return typed.strip()


def _text(message: SamplingMessage) -> str:
    blocks = message.content if isinstance(message.content, list) else [message.content]
    return " ".join(block.text if isinstance(block, TextContent) else f"[{block.type}]" for block in blocks)
