"""The file of a transcript: what is written is read again, and secrets are not in it."""

from __future__ import annotations

import io
import json
import re

import pytest

from mcp_tasks.recording import Redaction, Transcript, TranscriptError, TranscriptWriter, parse_transcript
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


SECRETS = {
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


def redacted(rules: Redaction) -> dict[str, object]:
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
    params = found["message"]["params"]  # type: ignore[index]
    assert (params["requestState"], params["list"][2], params["password"]) == ("[redacted]", "[redacted]", "hunter2")


def test_bytes_are_looked_at_too() -> None:
    line = written([Frame(Side.CLIENT, raw=b'{"token": Bearer abcdefghijklmnop')]).splitlines()[1]
    assert "abcdefghijklmnop" not in line


def test_frames_can_be_left_out() -> None:
    found = Transcript(FRAMES, "http")
    assert found.without(FRAMES[:2]).frames == FRAMES[2:]
    assert found.messages() == [FRAMES[0], FRAMES[1], FRAMES[3]]
