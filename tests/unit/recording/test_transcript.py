"""The file of a transcript: what is written is read again, and secrets are not in it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mcp_tasks.recording import (
    Redaction,
    Transcript,
    TranscriptError,
    TranscriptWriter,
    load_transcript,
    parse_transcript,
)
from mcp_tasks.testing import Frame, Side, dump_frame

FRAMES = [
    Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, at=0.0),
    Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 1, "result": {}}, "POST 1", "", 200, "POST", {"x": "y"}, "e1", at=0.25),
    Frame(Side.SERVER, channel="GET 2", event="ended", at=1.5),
    Frame(Side.CLIENT, raw=b"\xff{", at=2.0),
    Frame(Side.CLIENT, [1, None, "ü"], at=3.0),
]


def written(frames: list[Frame], redaction: Redaction | None = None) -> str:
    file = io.StringIO()
    writer = TranscriptWriter(file, "http", redaction)
    for frame in frames:
        writer.write(frame)
    return file.getvalue()


def test_what_is_written_is_read_again() -> None:
    found = parse_transcript(written(FRAMES))
    assert found.transport == "http"
    assert [dump_frame(frame) for frame in found.frames] == [dump_frame(frame) for frame in FRAMES]
    assert parse_transcript(found.text()).text() == found.text()


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_file_that_was_cut_off_is_good_up_to_there(cut: int) -> None:
    whole = written(FRAMES)
    found = parse_transcript(whole[:-cut])
    assert len(found.frames) == len(FRAMES) - 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the first line is not the head"),
        ("{}\n", "the first line is not the head"),
        ("no json\n", "the first line is not the head"),
        ('{"transcript": 2}\n', "format 2 is not known"),
        ('{"transcript": 1}\n{"from": "me", "at": 0}\n', "line 2: no frame: ValueError"),
        ('{"transcript": 1}\n{"from": "client"}\n', "line 2: no frame: KeyError"),
        ('{"transcript": 1}\n\n[]\n', "line 3: no frame: TypeError"),
        ('{"transcript": 1}\nnonsense\n', "line 2: no frame: JSONDecodeError"),
    ],
)
def test_what_is_no_transcript(text: str, says: str) -> None:
    with pytest.raises(TranscriptError, match=re.escape(says)):
        parse_transcript(text)


def nested(depth: int) -> Any:
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


def test_half_of_a_surrogate_pair_is_written() -> None:
    found = Transcript([Frame(Side.CLIENT, {"text": "\ud83d"})])
    text = written(found.frames)
    assert text.encode("utf-8")
    assert parse_transcript(text).frames[0].message == {"text": "\ud83d"}
    assert found.text().encode("utf-8")


def test_what_cannot_be_written_leaves_a_frame_that_says_so() -> None:
    frames = [FRAMES[0], Frame(Side.SERVER, {"deep": nested(100_000)}, "POST 1", at=1.0), FRAMES[1]]
    found = parse_transcript(written(frames)).frames
    assert [frame.object.get("id") for frame in found] == [1, None, 1]
    assert (found[1].sender, found[1].channel, found[1].at) == (Side.SERVER, "POST 1", 1.0)
    assert found[1].event == "a frame that cannot be written: RecursionError"


def test_a_line_that_is_nested_too_deeply() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(TranscriptError, match="line 2: no frame: RecursionError"):
        parse_transcript('{"transcript": 1}\n{"from": "client", "at": 0, "message": ' + deep + "}\n")


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_file_that_was_cut_off_within_a_character(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.jsonl"
    last = '{"at":4,"from":"client","message":"' + "ü" * 9 + '"}'
    path.write_bytes((written(FRAMES) + last).encode()[:-cut])
    assert len(load_transcript(path).frames) == len(FRAMES)


@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"\x80", bytes(range(256)), b""])
def test_a_file_that_is_no_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "binary"
    path.write_bytes(data)
    with pytest.raises(TranscriptError, match=re.escape(str(path))):
        load_transcript(path)


SECRETS: dict[str, Any] = {
    "headers": {"Authorization": "Bearer abcdefghijk", "Cookie": "a=b", "Mcp-Method": "tools/call"},
    "message": {
        "params": {
            "password": "hunter2",
            "apiKey": "k-123",
            "access_token": "t",
            "progressToken": "p1",
            "requestState": "opaque",
            "list": [{"clientSecret": "s"}, "Bearer 0123456789abcdef", "plain"],
            "count": 3,
        }
    },
}


def redacted(rules: Redaction) -> Any:
    frame = Frame(Side.CLIENT, SECRETS["message"], headers=SECRETS["headers"])
    return json.loads(written([frame], rules).splitlines()[1])


def test_secrets_are_left_out() -> None:
    found = redacted(Redaction())
    assert found["headers"] == {"Authorization": "[redacted]", "Cookie": "[redacted]", "Mcp-Method": "tools/call"}
    assert found["message"] == {
        "params": {
            "password": "[redacted]",
            "apiKey": "[redacted]",
            "access_token": "[redacted]",
            "progressToken": "p1",
            "requestState": "opaque",
            "list": [{"clientSecret": "[redacted]"}, "[redacted]", "plain"],
            "count": 3,
        }
    }


def test_more_is_left_out_if_asked_for() -> None:
    found = redacted(Redaction([re.compile("pla.n"), re.compile("opaque")], names=False, values=False))
    assert found["headers"] == SECRETS["headers"]
    params = found["message"]["params"]
    assert (params["requestState"], params["list"][2], params["password"]) == ("[redacted]", "[redacted]", "hunter2")


def test_bytes_are_looked_at_too() -> None:
    line = written([Frame(Side.CLIENT, raw=b'{"token": Bearer abcdefghijklmnop')]).splitlines()[1]
    assert "abcdefghijklmnop" not in line


def test_frames_can_be_left_out() -> None:
    found = Transcript(FRAMES, "http")
    assert found.without(FRAMES[:2]).frames == FRAMES[2:]
    assert found.messages() == [FRAMES[0], FRAMES[1], FRAMES[3]]


NAMES = [
    "password",
    "token",
    "credentials",
    "secretKey",
    "secret_access_key",
    "AWS_SECRET_ACCESS_KEY",
    "api_token",
    "bearerToken",
    "csrfToken",
    "cookie",
    "pwd",
    "client_secret",
    "passphrase",
    "jwt",
    "X-Auth-Token",
    "apikey",
    "api_keys",
    "privateKeyPem",
    "accessToken",
    "DB_PASSWORD",
]
PLAIN = [
    "progressToken",
    "taskId",
    "cursor",
    "nextCursor",
    "requestState",
    "requestId",
    "maxTokens",
    "max_tokens",
    "token_endpoint",
    "author",
    "keyboard",
    "path",
    "bypass",
    "tokens",
    "description",
    "passed",
    "sessions",
    "compass",
]
JWT = "eyJhbGciOiJI.eyJwIjoxfQab.c2lnbmF0dXJl"


@pytest.mark.parametrize("name", NAMES)
def test_a_member_with_a_telling_name(name: str) -> None:
    value = Redaction().value
    assert value({name: "hunter2"}) == {name: "[redacted]"}
    assert value([{"a": {name: 12345}}]) == [{"a": {name: "[redacted]"}}]
    assert value({name: ["hunter2", {"of": "hunter2"}]}) == {name: ["[redacted]", {"of": "[redacted]"}]}
    assert value({name: True, "other": None}) == {name: True, "other": None}
    assert value({"arguments": [{"name": name, "value": "hunter2"}]})["arguments"][0]["value"] == "[redacted]"
    assert Redaction(names=False).value({name: "hunter2"}) == {name: "hunter2"}


@pytest.mark.parametrize("name", PLAIN)
def test_a_member_with_a_name_that_tells_nothing(name: str) -> None:
    found = {name: "hunter2", "b": {name: 5}}
    assert Redaction().value(found) == found


def test_schemas_stay_whole() -> None:
    schema = {
        "type": "object",
        "properties": {"password": {"type": "string"}, "token": True, "tokens": {"type": "array"}},
        "required": ["password"],
    }
    found = {"tools": [{"name": "login", "inputSchema": schema}], "requestedSchema": schema, "content": [schema]}
    assert Redaction().value(found) == found


def test_questions_are_no_members() -> None:
    asked = {"inputRequests": {"password": {"method": "elicitation/create", "params": {"message": "Well?"}}}}
    assert Redaction().value(asked) == asked
    answered = {"inputResponses": {"password": {"action": "accept", "content": {"value": "hunter2"}}}}
    assert Redaction().value(answered) == {
        "inputResponses": {"password": {"action": "accept", "content": {"value": "[redacted]"}}}
    }


def test_names_of_the_protocol_stay_whole() -> None:
    message = {
        "id": JWT,
        "params": {"cursor": JWT, "requestState": JWT, "taskIds": [JWT], "_meta": {"progressToken": JWT}},
        "result": {"nextCursor": JWT, "taskId": JWT},
    }
    frame = Frame(Side.CLIENT, {**message, "method": "tasks/get"}, headers={"mcp-name": JWT})
    found = Redaction().frame(frame)
    assert (found.message, found.headers) == (frame.message, frame.headers)
    assert JWT not in json.dumps(dump_frame(Redaction([re.compile(re.escape(JWT))]).frame(frame)))


def test_headers_with_telling_names() -> None:
    names = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "X-Auth-Token",
        "api-key",
        "x-goog-api-key",
        "mcp-param-apikey",
        "mcp-param-password",
        "Mcp-Param-Api-Key",
        "x-amz-security-token",
        "mcp-session-id",
        "authentication",
    ]
    found = Redaction().frame(Frame(Side.CLIENT, headers={**dict.fromkeys(names, "hunter2"), "mcp-method": "ping"}))
    assert found.headers == {**dict.fromkeys(names, "[redacted]"), "mcp-method": "ping"}


TEXTS = [
    '{"password":"hunter2","v":NaN}',
    '{"a":{"apiKey" : ["hunter2", "hunter2"]},"v":NaN}',
    '{"pin":1,"token": 4422hunter2}',
    '{"password":"hunter2 and no end',
    r'{"text":"{\"password\":\"hunter2\"}"}',
    r'{"password":"a\"hunter2","v":NaN}',
    "grant_type=client_credentials&client_secret=hunter2&scope=a",
    "export AWS_SECRET_ACCESS_KEY='hunter2'; run",
    "https://bob:hunter2@example.org/x",
    "https://example.org/x?access_token=hunter2",
    "Authorization: Basic Ym9iOmh1bnRlcjI=".replace("Ym9iOmh1bnRlcjI=", "aHVudGVyMjpodW50ZXIy"),
    "AKIAIOSFODNN7EXAMPLE",
    "github_pat_11ABCDEFG0123456789abcdefghij",
    "ghs_ABCDEFGHIJKLMNOPQRSTUVWX",
    "glpat-abcdefghijklmnopqrst",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2",
]
LEAKS = re.compile("hunter2|aHVudGVy|AKIA|_pat_|ghs_|glpat|AIza|[A-Z]{24}")


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_bytes_are_looked_into(text: str) -> None:
    assert not LEAKS.search(Redaction().text(text))
    assert not LEAKS.search(Redaction().frame(Frame(Side.CLIENT, raw=text.encode())).raw.decode())
    assert not LEAKS.search(json.dumps(Redaction().value({"text": [text]})))
    assert Redaction(names=False, values=False).text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "basic knowledge of tokens: none",
        "https://example.org/a:b@c?cursor=x&progressToken=1",
        '{"taskId": "a", "nextCursor":"b"}',
        "git@example.org:x/y.git",
        "a = b; token == c",
        "ü" * 1000,
    ],
)
def test_text_without_secrets_stays(text: str) -> None:
    assert Redaction().text(text) == text
