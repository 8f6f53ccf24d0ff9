"""No engine at all: answers the generator's own messages by splicing bytes.

It exists to find the generator's ceiling.  It parses nothing, understands only what loadgen.py
sends, and keeps no task, so no real server can be faster in Python.
"""

import os
import re

HEAD = b'{"jsonrpc":"2.0","id":'
BIG = b"x" * 1_000_000
TASK = b',"result":{"task":{"taskId":"task-'
STAMPS = (
    b'","status":"working","createdAt":"2026-01-01T00:00:00Z",'
    b'"lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":60000,"pollInterval":500}}}\n'
)
NEW_TASK = b',"result":{"resultType":"task","taskId":"task-'
NEW_STAMPS = (
    b'","status":"working","createdAt":"2026-01-01T00:00:00Z",'
    b'"lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":60000,"pollIntervalMs":500}}\n'
)
OLD_TASK = b',"result":{"resultType":"complete","status":"completed","taskId":"'
INITIALIZED = (
    b',"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{}},'
    b'"serverInfo":{"name":"null","version":"0"}}}\n'
)
CONTENT = b',"result":{"content":[{"type":"text","text":"'
COMPLETE = b',"result":{"resultType":"complete","content":[{"type":"text","text":"'
ID = re.compile(rb'"id":(\d+)')


def answer(line: bytes) -> bytes:
    found = ID.search(line)
    if found is None:
        return b""
    request_id = found[1]
    if b'"tasks/result"' in line:
        task_id = line[line.find(b'"taskId":"') + 10 : -3]
        return b"".join(
            (HEAD, request_id, CONTENT, b"text-", task_id[5:], b'"}],"_meta":{'
             b'"io.modelcontextprotocol/related-task":{"taskId":"', task_id, b'"}}}}\n')
        )  # fmt: skip
    if b'"2026-07-28"' in line:
        return stateless_answer(request_id, line)
    if b'"task":{' in line:
        return b"".join((HEAD, request_id, TASK, request_id, STAMPS))
    if b'"tools/call"' in line:
        text = BIG if b'"big"' in line else b"text-" + request_id
        return b"".join((HEAD, request_id, CONTENT, text, b'"}]}}\n'))
    if b'"initialize"' in line:
        return b"".join((HEAD, request_id, INITIALIZED))
    return b"".join((HEAD, request_id, b',"result":{"tools":[]}}\n'))


def stateless_answer(request_id: bytes, line: bytes) -> bytes:
    if b'"tasks/get"' in line:
        at = line.find(b'"taskId":"') + 10
        task_id = line[at : line.find(b'"', at)]
        return b"".join(
            (HEAD, request_id, OLD_TASK, task_id, b'","result":{"content":[{"type":"text","text":"text-',
             task_id[5:], b'"}]}}}\n')
        )  # fmt: skip
    if b'"work"' in line:
        return b"".join((HEAD, request_id, NEW_TASK, request_id, NEW_STAMPS))
    return b"".join((HEAD, request_id, COMPLETE, b"text-", request_id, b'"}]}}\n'))


def send(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def main() -> None:
    rest = b""
    while data := os.read(0, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        send(b"".join(map(answer, lines)))


if __name__ == "__main__":
    main()
