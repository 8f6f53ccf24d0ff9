"""What both eras have in common: reading capabilities, what a question needs, and which error has which number.

Pure functions; whatever differs by revision is handed in. Methods that only one era has are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from .._unset import UNSET, JSONObject
from ..errors import (
    CapabilityMissing,
    InternalError,
    InvalidCursor,
    InvalidParams,
    InvalidRequest,
    InvalidShape,
    LimitReached,
    LocalProtocolError,
    MethodNotFound,
    Refusal,
    RequestFailed,
    RequestRejected,
    StoreFailed,
    TaskCancelled,
    TaskRefusal,
)
from ..tasks.model import TaskRecord
from ..tasks.state import TaskState
from ..wire.client_features import CreateMessageParams, ElicitFormParams, ElicitUrlParams
from ..wire.jsonrpc import ErrorObject
from ._checks import check_requested_schema, check_tool_exchange
from .base import Capabilities, Side

__all__ = [
    "NUMBERS",
    "QUESTION_GATES",
    "SERVER_GATES",
    "announced",
    "check_asked",
    "check_elicitation",
    "check_sampling",
    "first_text",
    "lower_error",
    "missing",
    "only_if",
    "status_of",
    "takes_forms",
]

NUMBERS: Final[Mapping[type[Refusal], int]] = {
    InvalidRequest: -32600,
    MethodNotFound: -32601,
    InvalidParams: -32602,
    InvalidCursor: -32602,
    TaskRefusal: -32602,
    InternalError: -32603,
    LimitReached: -32603,
    StoreFailed: -32603,
    TaskCancelled: -32603,
    RequestRejected: -1,
}
"""The numbers that mean the same in every revision."""

SERVER_GATES: Final[Mapping[str, tuple[str, ...]]] = {
    "tools/list": ("tools",),
    "tools/call": ("tools",),
    "resources/list": ("resources",),
    "resources/templates/list": ("resources",),
    "resources/read": ("resources",),
    "prompts/list": ("prompts",),
    "prompts/get": ("prompts",),
    "completion/complete": ("completions",),
}
"""What a server must have announced before it may be sent a method: a path into its capabilities."""

QUESTION_GATES: Final[Mapping[str, tuple[str, ...]]] = {
    "sampling/createMessage": ("sampling",),
    "elicitation/create": ("elicitation",),
    "roots/list": ("roots",),
}
"""The same for what a client may be asked."""


def announced(capabilities: Any, path: tuple[str, ...]) -> bool:
    """Whether there is something at this path of a capability object."""
    for name in path:
        capabilities = getattr(capabilities, name, UNSET)
        if capabilities is UNSET or capabilities is False:
            return False
    return True


def takes_forms(theirs: Capabilities) -> bool:
    """Whether a client can be asked by a form: an empty object means forms only (C25-301, C26-454)."""
    return announced(theirs, ("elicitation", "form")) or (
        announced(theirs, ("elicitation",)) and not announced(theirs, ("elicitation", "url"))
    )


def missing(what: str, receiver: Side, gate: tuple[str, ...]) -> NoReturn:
    """Raise `CapabilityMissing`."""
    required: JSONObject = {}
    for name in reversed(gate):
        required = {name: required}
    raise CapabilityMissing(f"{what}: the {receiver.value} has not announced {'.'.join(gate)}", required)


def check_sampling(asked: CreateMessageParams, theirs: Capabilities, *, gates_context: bool) -> None:
    """Check that a client may be asked for this sample. Raises `CapabilityMissing`, `LocalProtocolError`."""
    if (asked.tools is not UNSET or asked.tool_choice is not UNSET) and not announced(theirs, ("sampling", "tools")):
        missing("sampling with tools", Side.CLIENT, ("sampling", "tools"))
    wants_context = asked.include_context in ("thisServer", "allServers") and gates_context
    if wants_context and not announced(theirs, ("sampling", "context")):
        missing("sampling with context", Side.CLIENT, ("sampling", "context"))  # C25-273, C26-430
    try:
        check_tool_exchange(asked.messages)
    except InvalidShape as wrong:
        raise LocalProtocolError(str(wrong)) from None


def check_elicitation(asked: ElicitFormParams | ElicitUrlParams, theirs: Capabilities) -> None:
    """Check that a client may be asked so. Raises `CapabilityMissing`, `LocalProtocolError`."""
    if isinstance(asked, ElicitUrlParams):
        if not announced(theirs, ("elicitation", "url")):
            missing("elicitation in URL mode", Side.CLIENT, ("elicitation", "url"))
        return
    if not takes_forms(theirs):
        missing("elicitation in form mode", Side.CLIENT, ("elicitation", "form"))
    try:
        check_requested_schema(asked.requested_schema)
    except InvalidShape as wrong:
        raise LocalProtocolError(str(wrong)) from None


def check_asked(method: str, params: JSONObject, lifted: Callable[[], Any], ours: Capabilities) -> None:
    """Refuse what we may not be asked because we have not announced it. Raises `InvalidParams`."""
    if method == "sampling/createMessage":
        if ("tools" in params or "toolChoice" in params) and not announced(ours, ("sampling", "tools")):
            raise InvalidParams("$.params.tools: sampling.tools has not been announced")
        try:
            check_tool_exchange(lifted().messages)
        except InvalidShape as wrong:
            raise InvalidParams(str(wrong)) from None
    elif method == "elicitation/create":
        url = params.get("mode") == "url"
        if not (announced(ours, ("elicitation", "url")) if url else takes_forms(ours)):
            raise InvalidParams(f"$.params.mode: {'url' if url else 'form'} mode has not been announced")


def lower_error(error: Refusal | RequestFailed, numbers: Mapping[type[Refusal], int]) -> ErrorObject:
    """An error with its number; one that has none is an internal error."""
    if isinstance(error, RequestFailed):
        return ErrorObject(error.code, error.message, error.data)
    for kind in type(error).__mro__:
        if (number := numbers.get(kind)) is not None:
            return ErrorObject(number, error.message, error.data)
    return ErrorObject(NUMBERS[InternalError], error.message, error.data)


_STATUSES: Final[Mapping[TaskState, str]] = {
    TaskState.WORKING: "working",
    TaskState.INPUT_REQUIRED: "input_required",
    TaskState.RETURNED: "completed",
    TaskState.RAISED: "failed",
    TaskState.STOPPED: "cancelled",
}


def status_of(record: TaskRecord) -> str:
    """The status of a task, as far as the eras agree."""
    return _STATUSES[record.state]


def first_text(result: JSONObject) -> str | None:
    """The beginning of the first text in a tool's result."""
    for block in result.get("content") or ():
        if isinstance(block, dict) and block.get("type") == "text":
            return str(block.get("text"))[:500]
    return None


def only_if(condition: bool, value: Any) -> Any:
    """The value, or nothing at all."""
    return value if condition else UNSET
