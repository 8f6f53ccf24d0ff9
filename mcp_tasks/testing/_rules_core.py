"""What holds of every message: JSON-RPC, progress, cancellation, and the envelope of the stateless revision.

Spec: basic, basic/utilities/progress, basic/utilities/cancellation, basic/transports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .._unset import JSON
from ..dialects.base import Side
from ..framing.mirror import NAMED, decode_value
from ..wire.v2026_07_28 import CLIENT_CAPABILITIES as CAPABILITIES
from ..wire.v2026_07_28 import CLIENT_INFO, SERVER_INFO
from ..wire.v2026_07_28 import PROTOCOL_VERSION as VERSION
from ..wire.v2026_07_28 import SUBSCRIPTION_ID as _SUBSCRIPTION
from ..wire.v2026_07_28 import TASKS_EXTENSION as TASKS
from ._frames import Frame
from ._monitor import OVERTAKEN_SECONDS, Conversation, rule

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z", re.IGNORECASE)
_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_KINDS: Mapping[str, str] = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
    "notifications/resources/updated": "resourceSubscriptions",
    "notifications/tasks": "taskIds",
}
"""What comes by a subscription, and the member of its filter that asks for it."""
_STATUSES: Mapping[int, tuple[str, int]] = {
    -32020: ("C26-206", 400),
    -32021: ("C26-060", 400),
    -32022: ("C26-171", 400),
    -32601: ("C26-172", 404),
}
"""The HTTP status of an error, and the requirement that says so."""
_ASKS = ("elicitation/create", "sampling/createMessage", "roots/list")


def is_time(value: JSON) -> bool:
    """Whether a value is a time as RFC 3339 has it."""
    return isinstance(value, str) and _TIME.match(value) is not None


def _pair(talk: Conversation, frame: Frame, old: str, new: str) -> str:
    return new if talk.modern(frame) else old


# --- requests ---------------------------------------------------------------------------------------------------------


@rule("request")
def request_id(talk: Conversation, frame: Frame) -> None:
    id = frame.object["id"]
    fits = isinstance(id, (int, str)) and not isinstance(id, bool)
    if not talk.modern(frame):
        talk.check("C25-004", fits or id is None, "the id of a request is a string or an integer", frame)
        talk.check("C25-005", id is not None, "the id of a request is not null", frame)
        if talk.session is not None or not talk.crowded:
            fresh = not fits or _is_fresh(talk, frame)
            talk.check("C25-006", fresh, "an id is never used again", frame)
    elif frame.sender is Side.CLIENT:
        talk.check("C26-004", fits or id is None, "the id of a request is a string or an integer", frame)
        talk.check("C26-005", id is not None, "the id of a request is not null", frame)
        if talk.of_one_client(frame):
            free = not fits or talk.open_with(frame.sender, id) is None
            talk.check("C26-006", free, "the id is not that of a request without its answer", frame)


def _is_fresh(talk: Conversation, request: Frame) -> bool:
    """Whether no request of the session had this id. What asked for the era is of none, and what was lost is no use."""
    assert request.id is not None
    earlier = talk.used[request.sender].get(request.id)
    lost = request.id in talk.lost[request.sender]
    return earlier is None or lost or earlier.method == "server/discover" or VERSION in earlier.meta


@rule("request")
def request_envelope(talk: Conversation, frame: Frame) -> None:
    if not talk.modern(frame):
        return
    if frame.sender is Side.SERVER:
        talk.check("C26-113", False, "a server sends no requests", frame)
        if frame.channel:
            talk.check("C26-158", False, "no stream has a request", frame)
        if frame.method in _ASKS:
            talk.check("C26-248", False, "what the client is asked comes in the result of a request", frame)
        return
    talk.check("C26-113", True, "", frame, blamed=Side.SERVER)
    version = frame.meta.get(VERSION)
    talk.check("C26-053", isinstance(version, str), f"_meta has {VERSION}", frame)
    talk.check("C26-054", isinstance(frame.meta.get(CAPABILITIES), dict), f"_meta has {CAPABILITIES}", frame)
    info = frame.meta.get(CLIENT_INFO)
    talk.check("C26-057", isinstance(info, dict), f"_meta has {CLIENT_INFO}", frame)


@rule("request")
def request_headers(talk: Conversation, frame: Frame) -> None:
    if frame.verb != "POST" or not talk.modern(frame) or frame.sender is not Side.CLIENT:
        return
    headers = frame.headers
    accept = headers.get("accept", "")
    both = "application/json" in accept and "text/event-stream" in accept
    talk.check("C26-146", both, "Accept names application/json and text/event-stream", frame)
    version = headers.get("mcp-protocol-version")
    talk.check("C26-168", version is not None, "there is a header MCP-Protocol-Version", frame)
    if version is not None:
        same = version == frame.meta.get(VERSION)
        talk.check("C26-169", same, "MCP-Protocol-Version is what _meta says", frame)
    talk.check("C26-175", headers.get("mcp-method") == frame.method, f"Mcp-Method is {frame.method}", frame)
    method = frame.method or ""
    if method.startswith("tasks/"):
        said = headers.get("mcp-method") == method
        talk.check("X26-103", said, f"Mcp-Method is {method}", frame)
    value = frame.params.get(NAMED.get(method, ""))
    if not isinstance(value, str):
        return
    id = "X26-102" if method.startswith("tasks/") else "C26-176"
    talk.check(id, _decoded(headers.get("mcp-name")) == value, f"Mcp-Name stands for {value!r}", frame)
    if not (value.isascii() and value.isprintable() and value.strip(" ") == value):
        encoded = headers.get("mcp-name", "").startswith("=?base64?")
        talk.check("C26-177", encoded, "Mcp-Name is in the Base64 form", frame)


def _decoded(header: str | None) -> str | None:
    try:
        return None if header is None else decode_value(header)
    except ValueError:
        return None


@rule("request")
def progress_token(talk: Conversation, frame: Frame) -> None:
    if "progressToken" not in frame.meta:
        return
    token = frame.meta["progressToken"]
    fits = isinstance(token, (int, str)) and not isinstance(token, bool)
    talk.check(_pair(talk, frame, "C25-157", "C26-239"), fits, "a token is a string or an integer", frame)
    if not fits:
        return
    earlier = talk.tokens.get((frame.sender, token))
    active = earlier in talk.open[frame.sender]
    talk.check(_pair(talk, frame, "C25-158", "C26-240"), not active, "the token is of no active request", frame)
    if not talk.modern(frame):
        task = None if earlier is None else talk.made.get(earlier)
        running = task is not None and not task.modern and task.over is None
        talk.check("T25-162", not running, "the token is of no task that still runs", frame)


# --- responses --------------------------------------------------------------------------------------------------------


@rule("response")
def response_id(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    modern = talk.modern(frame)
    has_result = "result" in frame.object
    if (modern and frame.sender is Side.CLIENT) or frame.id in talk.repeated[frame.sender.other]:
        return
    asked = talk.used[frame.sender.other]
    answered = frame.id in talk.answered[frame.sender.other] and request is None
    if has_result:
        known = request is not None and type(request.object["id"]) is type(frame.object.get("id"))
        expected = "a request is answered once" if answered else "the id is that of a request"
        talk.check("C26-007" if modern else "C25-007", known, expected, frame)
        shaped = isinstance(frame.object["result"], dict)
        talk.check("C26-008" if modern else "C25-008", shaped, "the result is an object", frame)
        return
    known = request is not None or frame.object.get("id") is None
    if frame.id in asked or frame.object.get("id") is None or request is None:
        expected = "a request is answered once" if answered else "the id is that of a request, or left out"
        talk.check("C26-016" if modern else "C25-010", known, expected, frame)
    error = frame.object["error"]
    code = error.get("code") if isinstance(error, dict) else None
    whole = isinstance(error, dict) and "code" in error and isinstance(error.get("message"), str)
    talk.check("C26-017" if modern else "C25-012", whole, "the error has a code and a message", frame)
    integer = isinstance(code, int) and not isinstance(code, bool)
    talk.check("C26-018" if modern else "C25-013", integer, "the code is an integer", frame)
    if modern:
        talk.check("C26-025", code not in (-32002, -32042), "-32002 and -32042 are gone", frame)
        if frame.sender is Side.SERVER and isinstance(error, dict):
            _stateless_error(talk, frame, error)


def _stateless_error(talk: Conversation, frame: Frame, error: JSON) -> None:
    code, data = error.get("code"), error.get("data")
    if code == -32021:
        listed = isinstance(data, dict) and isinstance(data.get("requiredCapabilities"), dict)
        talk.check("C26-059", listed, "error.data.requiredCapabilities says what is missing", frame)
    elif code == -32022:
        listed = isinstance(data, dict) and isinstance(data.get("supported"), list) and "requested" in data
        talk.check("C26-085", listed, "error.data has supported and requested", frame)
    answers = frame.verb == "POST" and frame.status is not None and not _streams(frame)
    if answers and isinstance(code, int) and code in _STATUSES:
        id, status = _STATUSES[code]
        talk.check(id, frame.status == status, f"{code} has the HTTP status {status}", frame)


def _streams(frame: Frame) -> bool:
    return frame.headers.get("content-type", "").startswith("text/event-stream")


@rule("response")
def http_answer(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.sender is not Side.SERVER or frame.verb != "POST" or not talk.modern(frame):
        return
    if frame.headers:  # which not everybody who shows frames has
        kind = frame.headers.get("content-type", "").partition(";")[0].strip().lower()
        either = kind in ("application/json", "text/event-stream")
        talk.check("C26-153", either, "the answer is application/json or text/event-stream", frame)
    talk.check("C26-158", True, "", frame)


@rule("frame")
def http_stream(talk: Conversation, frame: Frame) -> None:
    if frame.event == "stream" and frame.headers and frame.sender is Side.SERVER and talk.revision == "2026-07-28":
        unbuffered = frame.headers.get("x-accel-buffering", "").lower() == "no"
        talk.check("C26-161", unbuffered, "a stream has X-Accel-Buffering: no", frame)


@rule("response")
def result_envelope(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or frame.error is not None or frame.sender is not Side.SERVER or not talk.modern(frame):
        return
    kind = frame.result.get("resultType")
    talk.check("C26-010", isinstance(kind, str), "the result has a resultType", frame)
    info = frame.meta.get(SERVER_INFO)
    talk.check("C26-061", isinstance(info, dict), f"_meta has {SERVER_INFO}", frame)
    if request.method == "server/discover":
        whole = isinstance(frame.result.get("supportedVersions"), list)
        whole = whole and isinstance(frame.result.get("capabilities"), dict)
        whole = whole and isinstance(frame.result.get("ttlMs"), int) and "cacheScope" in frame.result
        expected = "it has supportedVersions, capabilities, ttlMs and cacheScope"
        talk.check("C26-102", whole, expected, frame)
        talk.check("C26-103", isinstance(info, dict), f"_meta has {SERVER_INFO}", frame)


@rule("response")
def questions_in_a_result(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or "result" not in frame.object or not talk.modern(frame):
        return
    asks = frame.result.get("resultType") == "input_required"
    if request.method not in ("tools/call", "prompts/get", "resources/read"):
        talk.check("C26-253", not asks, f"{request.method} is never answered with questions", frame)
    if not asks:
        return
    result = frame.result
    talk.check("C26-248", True, "", frame)
    some = bool(result.get("inputRequests")) or isinstance(result.get("requestState"), str)
    talk.check("C26-264", some, "there are inputRequests, or a requestState, or both", frame)
    check_questions(talk, frame, result.get("inputRequests"), "C26-265", request)


def check_questions(talk: Conversation, frame: Frame, questions: JSON, id: str, *requests: Frame | None) -> None:
    """Judge a map of questions, of a result or of a task.

    `id` is the requirement that one of `requests` declared what is asked; where one was not seen, that is not judged.
    """
    if not isinstance(questions, dict):
        return
    declared: list[JSON] = [{} if request is None else request.meta.get(CAPABILITIES) for request in requests]
    told = None not in requests and any(isinstance(one, dict) for one in declared)
    for name, question in questions.items():
        shaped = isinstance(question, dict) and "id" not in question and "jsonrpc" not in question
        where = f"inputRequests.{name}"
        talk.check("C26-250", shaped and "method" in question, f"{where} has a method, no id, no jsonrpc", frame)
        method = question.get("method") if isinstance(question, dict) else None
        known = method in _ASKS
        talk.check("C26-256", known, f"{where} is an elicitation, a sampling or a roots request", frame)
        if told and isinstance(method, str):
            able = any(isinstance(one, dict) and method.split("/")[0] in one for one in declared)
            talk.check(id, able, f"{where}: the client declared that it can do this", frame)


# --- notifications ----------------------------------------------------------------------------------------------------


@rule("frame")
def notification_without_id(talk: Conversation, frame: Frame) -> None:
    if frame.method is None or not frame.method.startswith("notifications/"):
        return
    id = _pair(talk, frame, "C25-016", "C26-030")
    talk.check(id, "id" not in frame.object, "a notification has no id", frame)


@rule("notification")
def progress(talk: Conversation, frame: Frame) -> None:
    if frame.method != "notifications/progress":
        return
    token, value = frame.params.get("progressToken"), frame.params.get("progress")
    if not isinstance(token, (int, str)):
        return
    modern = talk.revision == "2026-07-28"
    key = frame.sender.other, token
    before = talk.progress.get(key)
    if isinstance(value, (int, float)):
        grows = before is None or value > before
        talk.check("C26-241" if modern else "C25-160", grows, f"progress grows beyond {before}", frame)
    request = talk.tokens.get(key)
    talk.check("C26-244" if modern else "C25-163", request is not None, "the token is one that was given", frame)
    if request is None:
        return
    task = talk.made.get(request)
    if task is None:
        running = request in talk.open[request.sender] or request in talk.lost[request.sender].values()
        if running or not _overtaken(frame, talk.answered[request.sender].get(request.id or "")):
            talk.check("C26-247" if modern else "C25-167", running, "the request is not answered yet", frame)
    elif task.modern:
        talk.check("X26-101", False, "a task of this revision has no progress", frame)
        talk.check("C26-247", False, "progress ends with the handle of a task", frame)
    else:
        if not _overtaken(frame, task.over):
            talk.check("T25-161", task.over is None, "the task is not over", frame)


def _overtaken(frame: Frame, end: Frame | None) -> bool:
    """Whether a message may have been on its way, by another stream, for longer than what told of the end."""
    return end is not None and end.channel != frame.channel and frame.at <= end.at + OVERTAKEN_SECONDS


@rule("notification")
def cancellation(talk: Conversation, frame: Frame) -> None:
    if frame.method != "notifications/cancelled":
        return
    id = frame.params.get("requestId")
    modern = talk.revision == "2026-07-28"
    if modern and frame.sender is Side.SERVER:
        request = talk.open_with(Side.CLIENT, id)
        listening = request is not None and request.method == _LISTEN
        listening = listening or (isinstance(id, (int, str)) and id in talk.acknowledged)  # and answered since
        talk.check("C26-220", listening, "a server cancels nothing but a listen request", frame)
        return
    named = isinstance(id, (int, str)) and not isinstance(id, bool)
    talk.check("C26-237" if modern else "T25-158", named, "requestId names a request", frame)
    if named and not modern:
        own = id in talk.used[frame.sender]
        talk.check("C25-168", own, "the request is one that its sender made", frame)


@rule("request")
def new_subscription(talk: Conversation, frame: Frame) -> None:
    if frame.method == _LISTEN and frame.id is not None:
        talk.acknowledged.discard(frame.id)


@rule("notification")
def subscription(talk: Conversation, frame: Frame) -> None:
    if frame.sender is not Side.SERVER or talk.revision != "2026-07-28":
        return
    id = frame.meta.get(_SUBSCRIPTION)
    open_ones = [request for request in talk.open[Side.CLIENT] if request.method == _LISTEN]
    here = any(request.channel and request.channel == frame.channel for request in open_ones)
    kind = _KINDS.get(frame.method or "")
    if frame.method == "notifications/cancelled" or not (kind or here or frame.method == _ACKNOWLEDGED):
        return
    expected = f"_meta has {_SUBSCRIPTION}, the id of a listen request"
    named = isinstance(id, (int, str)) and not isinstance(id, bool)
    talk.check("C26-064", named, expected, frame)
    request = next((one for one in open_ones if one.id == id), None)
    ends = talk.withdrawn[Side.CLIENT], talk.answered[Side.CLIENT], talk.lost[Side.CLIENT]
    gone = named and any(id in end for end in ends)
    if request is not None:
        talk.check("C26-286", type(request.object["id"]) is type(id), "with the type that the id had", frame)
        _in_order(talk, frame, request)
    elif not gone:
        talk.check("C26-286", False, "the subscription is an open listen request", frame)
    if kind is not None and not gone:
        asked = [request] if request is not None else open_ones
        wished = any(_filter(one).get(kind) for one in asked)
        talk.check("C26-280", wished, f"a client asked for this by {kind}", frame)
    if frame.method == "notifications/tasks":
        talk.check("X26-095", isinstance(id, (int, str)), expected, frame)


def _in_order(talk: Conversation, frame: Frame, request: Frame) -> None:
    assert request.id is not None
    first = request.id not in talk.acknowledged
    if frame.method == _ACKNOWLEDGED:
        talk.acknowledged.add(request.id)
        _honoured(talk, frame, request)
        if first:
            talk.check("C26-281", True, "", frame)
        return
    expected = "the acknowledgment comes first"
    if first:
        talk.check("C26-281", False, expected, frame)
    talk.check("C26-282", not first, expected, frame)


def _honoured(talk: Conversation, frame: Frame, request: Frame) -> None:
    honoured, asked = frame.params.get("notifications"), _filter(request)
    if not isinstance(honoured, dict):
        talk.check("C26-284", False, "there is a filter in `notifications`", frame)
        return
    for name, value in honoured.items():
        if isinstance(value, list):
            wished = asked.get(name)
            beyond = [one for one in value if not isinstance(wished, list) or one not in wished]
            talk.check("C26-284", not beyond, f"{name} has nothing but what was asked for", frame)
        elif value:
            talk.check("C26-284", asked.get(name), f"{name} was asked for", frame)
        feature = name.removesuffix("ListChanged") if name.endswith("ListChanged") else "resources"
        if value and name in _KINDS.values() and name != "taskIds" and Side.SERVER in talk.capabilities:
            able = talk.announced(Side.SERVER, feature)
            talk.check("C26-284", able, f"{name} is left out where {feature} are not announced", frame)
    talk.check("C26-284", True, "", frame)


def _filter(request: Frame) -> dict[str, JSON]:
    found = request.params.get("notifications")
    return found if isinstance(found, dict) else {}


@rule("response")
def end_of_a_subscription(talk: Conversation, frame: Frame, request: Frame | None) -> None:
    if request is None or request.method != _LISTEN or "result" not in frame.object:
        return
    id = frame.meta.get(_SUBSCRIPTION)
    same = id == request.id and type(id) is type(request.object["id"])
    whole = same and frame.result.get("resultType") == "complete"
    talk.check("C26-290", whole, f"resultType is complete, and _meta has {_SUBSCRIPTION}", frame)
    talk.check("C26-286", same, "with the type that the id had", frame)
    first = request.id not in talk.acknowledged
    talk.check("C26-281", not first, "the acknowledgment comes first", frame)


@rule("frame")
def old_and_new_capabilities(talk: Conversation, frame: Frame) -> None:
    capabilities = frame.result.get("capabilities")
    if not isinstance(capabilities, dict) or "supportedVersions" not in frame.result:
        return
    talk.check("X26-130", "tasks" not in capabilities, "the tasks capability of 2025-11-25 is not announced", frame)
    extensions = capabilities.get("extensions")
    if isinstance(extensions, dict) and TASKS in extensions:
        talk.check("X26-004", extensions[TASKS] == {}, "the settings of the extension are an empty object", frame)
