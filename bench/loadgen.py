"""The load generator: one client for every peer, over the two pipes of a child process.

It knows the wire only: one JSON message per line, in revision 2025-11-25 or, where a load is said
to be stateless, in 2026-07-28, which has no handshake and says in each request who asks.  Requests
are bytes built beforehand with the id spliced in; ids all have seven digits.  Answers are recognised
without parsing them, yet each one is verified:

* calls: the first answer is parsed and checked, and becomes a template; every later answer must
  equal that template, byte for byte, with its own id and its own text in place;
* tasks: every answer must carry the id of an outstanding request, no error, and the words that
  belong to it (the state `working`, or the text of that very task); where tasks are polled, an
  answer without that text is parsed, and must be about that very task at work;
* big results: head, tail and every byte of the million between are compared.

An answer that looks different is parsed; if it is good JSON for the same thing it counts, if not
the run stops with WrongAnswer.  On top, one answer in 256 is parsed in full.  Times are taken
with perf_counter just before the write and just after the read that completed the answer.

How it waits for answers is part of the measurement.  With one request in flight, and for big
results, it asks the pipe again and again instead of sleeping in read() (and gives way to others
on its core each time it asked in vain): a sleeping client on
another core adds its own wake-up (tens of microseconds in a virtual machine) to every answer, and
where the scheduler happens to place it then decides the figure.  With many in flight the pipe is
seldom empty, and a plain blocking read leaves the core to the threads of the peer.
`WAIT = "block"` or `"spin"` forces one of the two everywhere.
"""

import fcntl
import json
import os
import subprocess
from array import array
from dataclasses import dataclass, field

from child import Child, PeerStopped, clock, no_collection, time_limit

REVISION = "2025-11-25"
STATELESS_REVISION = "2026-07-28"
SAMPLE = 255  # an answer is parsed in full when the low bits of its id are all zero
CHUNK = 1 << 16
BIG_TEXT = b"x" * 1_000_000
BIG_PIPE = 1 << 20  # for big results: what an unprivileged process may ask for
WAIT = "auto"
CLIENT = {"name": "loadgen", "version": "1"}
RELATED_TASK = "io.modelcontextprotocol/related-task"
TASKS_EXTENSION = "io.modelcontextprotocol/tasks"
ASKABLE = {"elicitation": {"form": {}}}
WITH_TASKS = {"extensions": {TASKS_EXTENSION: {}}}


class WrongAnswer(Exception):
    """The peer answered something that is not the success we asked for."""


@dataclass
class Load:
    """What one timed load gave: latencies in seconds, and the time they took together."""

    seconds: float = 0.0
    latencies: array = field(default_factory=lambda: array("d"))
    created: array = field(default_factory=lambda: array("d"))
    notifications: int = 0
    fetches: int = 0

    @property
    def rate(self) -> float:
        if not self.latencies:
            raise PeerStopped("not one answer in the time given")
        return len(self.latencies) / self.seconds


def percentile(values: array, share: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Server(Child):
    """A child process spoken to over blocking pipes."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None):
        super().__init__(argv, env, stdin=subprocess.PIPE)
        self.reader = self.process.stdout.fileno()
        self.writer = self.process.stdin.fileno()
        self.read = self.read_blocking
        self.rest = b""
        self.last_id = 1_000_000
        self.ready_after = 0.0

    def ask_to_end(self) -> None:
        self.process.stdin.close()

    # -- slow but plain requests -------------------------------------------------------------

    def wait_by(self, spinning: bool) -> None:
        """Choose how `read` waits, unless WAIT has chosen already."""
        spinning = spinning if WAIT == "auto" else WAIT == "spin"
        os.set_blocking(self.reader, not spinning)
        self.read = self.read_spinning if spinning else self.read_blocking

    def read_blocking(self) -> bytes:
        data = os.read(self.reader, CHUNK)
        if not data:
            raise PeerStopped("the peer closed its output")
        return data

    def read_spinning(self) -> bytes:
        read, reader, give_way = os.read, self.reader, os.sched_yield
        while True:
            try:
                data = read(reader, CHUNK)
            except BlockingIOError:
                give_way()
                continue
            if not data:
                raise PeerStopped("the peer closed its output")
            return data

    def write(self, data: bytes) -> None:
        sent = os.write(self.writer, data)
        while sent < len(data):
            sent += os.write(self.writer, data[sent:])

    def read_line(self) -> bytes:
        pieces = [self.rest]
        while b"\n" not in pieces[-1]:
            pieces.append(self.read())
        line, _, self.rest = b"".join(pieces).partition(b"\n")
        return line

    def answer(self, request_id: int) -> bytes:
        """Return the next line that is not a notification; it must answer `request_id`."""
        while True:
            line = self.read_line()
            message = json.loads(line)
            if "method" in message and "id" not in message:
                continue
            if message.get("id") != request_id:
                raise WrongAnswer(f"expected id {request_id}, got {line[:300]!r}")
            return line

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def request(self, method: str, params: dict | None = None) -> dict:
        """Send one request and return its result."""
        request_id = self.new_id()
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params or {}}
        self.write(encode(message))
        answer = json.loads(self.answer(request_id))
        if "result" not in answer:
            raise WrongAnswer(f"{method}: {answer}")
        return answer["result"]

    def initialize(self) -> dict:
        """Do the handshake; `ready_after` is then the time from spawn to its result."""
        opening = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": CLIENT}
        result = self.request("initialize", opening)
        self.ready_after = clock() - self.started
        if result["protocolVersion"] != REVISION:
            raise WrongAnswer(f"the peer wants revision {result['protocolVersion']}")
        self.write(encode({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        return result


def encode(message: dict) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def request_pieces(method: str, params: dict) -> list[bytes]:
    """Return the request cut where its id belongs; `pieces` joined by an id is the message.

    "@" in a string of `params` is replaced by the id too.
    """
    message = {"jsonrpc": "2.0", "id": "@", "method": method, "params": params}
    return encode(message).replace(b'"@"', b"@", 1).split(b"@")


def tool_call(name: str, arguments: dict, **more) -> list[bytes]:
    return request_pieces("tools/call", {"name": name, "arguments": arguments, **more})


def stateless(params: dict, capabilities: dict | None = None) -> dict:
    """The parameters with what every request of the stateless revision says of its client."""
    said = {
        "io.modelcontextprotocol/protocolVersion": STATELESS_REVISION,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
        "io.modelcontextprotocol/clientInfo": CLIENT,
    }
    return {**params, "_meta": said}


def result_of(line: bytes, request_id: bytes) -> dict:
    """Parse an answer, which must be a success for the right id, and return its result."""
    message = json.loads(line)
    result = message.get("result")
    if (
        message.get("jsonrpc") != "2.0"
        or message.get("id") != int(request_id)
        or "error" in message
        or not isinstance(result, dict)
    ):
        raise WrongAnswer(f"no result for id {request_id!r}: {line[:400]!r}")
    return result


def is_text(result: dict, text: bytes) -> bool:
    """Whether a tool's result is a success with this text and nothing else."""
    content = [{"type": "text", "text": text.decode()}]
    return not result.get("isError") and result.get("content") == content


def expect_text(line: bytes, request_id: bytes, text: bytes, task_id: bytes | None = None) -> None:
    """Parse an answer in full: the right id, no error, this text, and this related task."""
    result = result_of(line, request_id)
    good = is_text(result, text)
    if good and task_id is not None:
        good = result["_meta"][RELATED_TASK]["taskId"] == task_id.decode()
    if not good:
        raise WrongAnswer(f"expected text {text[:40]!r} for id {request_id!r}: {line[:400]!r}")


def expect_complete(line: bytes, request_id: bytes, text: bytes) -> None:
    """The same in the stateless revision, where a result says that it is one."""
    result = result_of(line, request_id)
    if result.get("resultType") != "complete" or not is_text(result, text):
        raise WrongAnswer(f"expected text {text[:40]!r} for id {request_id!r}: {line[:400]!r}")


def expect_echo(line: bytes, request_id: bytes, text: bytes) -> None:
    """Parse a request that came back from `cat`."""
    message = json.loads(line)
    if message["id"] != int(request_id) or message["params"]["arguments"]["text"] != text.decode():
        raise WrongAnswer(f"not our request: {line[:400]!r}")


def created_task(line: bytes, request_id: bytes) -> dict:
    """Parse a CreateTaskResult in full and return its task, which must be a new one."""
    message = json.loads(line)
    if message.get("id") != int(request_id) or "task" not in message.get("result", {}):
        raise WrongAnswer(f"expected a CreateTaskResult for {request_id!r}: {line[:400]!r}")
    task = message["result"]["task"]
    if task["status"] != "working" or "ttl" not in task or not task["createdAt"]:
        raise WrongAnswer(f"not a new task: {line[:400]!r}")
    return task


def expect_outcome(line: bytes, request_id: bytes, text: bytes, task_id: bytes) -> bool:
    """Parse an answer of tasks/result, which must be this text; there is no other end."""
    expect_text(line, request_id, text, task_id)
    return True


def polled_task(line: bytes, request_id: bytes) -> dict:
    """Parse a CreateTaskResult of the tasks extension in full and return its task."""
    task = result_of(line, request_id)
    new = task.get("resultType") == "task" and task.get("status") in ("working", "completed")
    if not new or "ttlMs" not in task or not task.get("createdAt") or "result" in task:
        raise WrongAnswer(f"not a new task: {line[:400]!r}")
    return task


def polled_outcome(line: bytes, request_id: bytes, text: bytes, task_id: bytes) -> bool:
    """Parse an answer of tasks/get in full: whether this task is completed, with this text, or still at work."""
    task = result_of(line, request_id)
    good = task.get("resultType") == "complete" and task.get("taskId") == task_id.decode()
    if good and task.get("status") == "working" and "result" not in task:
        return False
    if not good or task.get("status") != "completed" or not is_text(task.get("result", {}), text):
        raise WrongAnswer(f"expected {task_id!r} with text {text[:40]!r}: {line[:600]!r}")
    return True


def is_notification(line: bytes) -> bool:
    """Whether a line can be passed over; raise WrongAnswer for a request from the peer."""
    if b'"method"' not in line:
        return False
    message = json.loads(line)
    if "method" in message and "id" in message:
        raise WrongAnswer(f"the peer asks us something: {line[:300]!r}")
    return "method" in message


# -- loads ----------------------------------------------------------------------------------


class Calls:
    """tools/call of `echo` with `window` requests in flight, each with a text of its own."""

    def __init__(self, server: Server, window: int, echoed: bool = False, handshake: bool = True):
        """`echoed`: the peer is `cat`, which sends the request itself back (for the ceiling)."""
        self.server = server
        self.window = window
        self.echoed = echoed
        self.expect = expect_echo if echoed else expect_text if handshake else expect_complete
        call = {"name": "echo", "arguments": {"text": "text-@"}}
        self.request = request_pieces("tools/call", call if handshake else stateless(call))
        first = b"%d" % server.new_id()
        server.write(first.join(self.request))
        line = server.read_line() if echoed else server.answer(int(first))
        self.expect(line, first, b"text-" + first)
        self.template = line.split(first)
        if len(self.template) != 3:
            raise WrongAnswer(f"the id is expected twice in {line!r}")
        self.at = len(self.template[0])

    def run(self, seconds: float) -> Load:
        self.server.wait_by(spinning=self.window == 1)
        with no_collection(), time_limit(seconds + 20):
            return self.sequential(seconds) if self.window == 1 else self.windowed(seconds)

    def check(self, line: bytes, request_id: bytes) -> None:
        if line != request_id.join(self.template) or not int(request_id) & SAMPLE:
            self.expect(line, request_id, b"text-" + request_id)

    def sequential(self, seconds: float) -> Load:
        load = Load()
        latencies = load.latencies
        server, request = self.server, self.request
        template = [*self.template[:-1], self.template[-1] + b"\n"]
        read, write, writer = server.read, os.write, server.writer
        number = server.last_id
        began = clock()
        until = began + seconds
        ended = began
        while ended < until:
            number += 1
            request_id = b"%d" % number
            before = clock()
            write(writer, request_id.join(request))
            line = read()
            ended = clock()
            if line != request_id.join(template) or not number & SAMPLE or server.rest:
                server.rest += line
                answer = server.answer(number) if not self.echoed else server.read_line()
                if len(answer) + 1 != len(line):  # it came in pieces, or behind a notification
                    ended = clock()
                self.expect(answer, request_id, b"text-" + request_id)
            latencies.append(ended - before)
        server.last_id = number
        load.seconds = ended - began
        return load

    def windowed(self, seconds: float) -> Load:
        load = Load()
        latencies = load.latencies
        server, request, template, at = self.server, self.request, self.template, self.at
        read, send = server.read, server.write
        until_id = at + 7
        outstanding: dict[bytes, float] = {}
        take = outstanding.pop
        number = server.last_id
        began = ended = clock()
        until = began + seconds
        batch = []
        for _ in range(self.window):
            number += 1
            batch.append(b"%d" % number)
        outstanding.update(dict.fromkeys(batch, began))
        send(b"".join([i.join(request) for i in batch]))
        rest, server.rest = server.rest, b""
        while outstanding:
            data = read()
            now = clock()
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            batch = []
            for line in lines:
                request_id = line[at:until_id]
                if line != request_id.join(template):
                    if is_notification(line):
                        load.notifications += 1
                        continue
                    request_id = b"%d" % json.loads(line)["id"]
                    self.expect(line, request_id, b"text-" + request_id)
                sent = take(request_id, None)
                if sent is None:
                    raise WrongAnswer(f"nobody asked for {line[:300]!r}")
                if now < until:
                    latencies.append(now - sent)
                    ended = now
                    number += 1
                    if not number & SAMPLE:
                        self.check(line, request_id)
                    batch.append(b"%d" % number)
            if batch:
                payload = b"".join([i.join(request) for i in batch])
                now = clock()
                for request_id in batch:
                    outstanding[request_id] = now
                send(payload)
        server.last_id = number
        load.seconds = ended - began
        return load


class Lifecycles:
    """An augmented tools/call of `job`, then tasks/result until its answer, `window` at once.

    The latency of a life cycle runs from the call to the answer of tasks/result; `created` has
    the time to each CreateTaskResult.  With `fetch=False` the life cycle ends at the
    CreateTaskResult, which is how many tasks are made quickly; `task_ids` then has their ids.
    """

    new = b'"status":"working"'  # what every CreateTaskResult says
    done = b'"content":['  # what every outcome says
    read_new = staticmethod(created_task)
    read_outcome = staticmethod(expect_outcome)

    def __init__(self, server: Server, window: int, ttl_ms: int = 60_000, fetch: bool = True):
        self.server = server
        self.window = window
        self.fetch = fetch
        self.ttl_ms = ttl_ms
        self.create = tool_call("job", {"text": "text-@"}, task={"ttl": ttl_ms})
        self.fetch_result = request_pieces("tasks/result", {"taskId": "@"})
        self.task_ids: list[str] = []
        self.given_ttl_ms: float | None = None

    def run(self, seconds: float = 1e9, count: int = 1 << 60, limit: float | None = None) -> Load:
        """Keep `window` life cycles going for `seconds`, or until `count` were started."""
        self.server.wait_by(spinning=self.window == 1)
        with no_collection(), time_limit(seconds + 20 if limit is None else limit):
            return self.loop(seconds, count)

    def loop(self, seconds: float, count: int) -> Load:
        load = Load()
        server, create, fetch = self.server, self.create, self.fetch
        new, done = self.new, self.done
        head, middle, tail = self.fetch_result
        read, send = server.read, server.write
        # request id -> (time of the call, id of the call, task id or None while it is created)
        outstanding: dict[bytes, tuple[float, bytes, bytes | None]] = {}
        take = outstanding.pop
        number = server.last_id
        began = ended = clock()
        until = began + seconds
        started = min(self.window, count)
        out = []
        for _ in range(started):
            number += 1
            request_id = b"%d" % number
            outstanding[request_id] = (began, request_id, None)
            out.append(request_id.join(create))
        send(b"".join(out))
        rest, server.rest = server.rest, b""
        while outstanding:
            data = read()
            now = clock()
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            out = []
            fresh = []
            for line in lines:
                at = line.rfind(b'"id":') + 5
                request_id = line[at : at + 7]
                entry = take(request_id, None) if at > 4 else None
                if entry is None:
                    if is_notification(line):
                        load.notifications += 1
                        continue
                    request_id = b"%d" % json.loads(line)["id"]
                    entry = take(request_id, None)
                    if entry is None:
                        raise WrongAnswer(f"nobody asked for {line[:300]!r}")
                if b'"error":' in line:
                    raise WrongAnswer(f"an error: {line[:400]!r}")
                called, call_id, task_id = entry
                sample = not number & SAMPLE
                if task_id is None:
                    at = line.find(b'"taskId":"') + 10
                    task_id = line[at : line.find(b'"', at)]
                    if at < 10 or new not in line or sample:
                        task = self.read_new(line, request_id)
                        self.given_ttl_ms = task.get("ttl")
                        task_id = task["taskId"].encode()
                    if now < until:
                        load.created.append(now - called)
                    asking = fetch
                    if not fetch:
                        self.task_ids.append(task_id.decode())
                else:
                    asking = (
                        b'"text":"text-' + call_id + b'"' not in line
                        or task_id not in line
                        or done not in line
                        or b'"isError":true' in line
                        or sample
                    ) and not self.read_outcome(line, request_id, b"text-" + call_id, task_id)
                if asking:
                    load.fetches += now < until
                    number += 1
                    request_id = b"%d" % number
                    outstanding[request_id] = (called, call_id, task_id)
                    out.append(head + request_id + middle + task_id + tail)
                    continue
                if now < until:
                    load.latencies.append(now - called)
                    ended = now
                    if started < count:
                        started += 1
                        number += 1
                        request_id = b"%d" % number
                        fresh.append(request_id)
                        out.append(request_id.join(create))
            if out:
                now = clock()
                for request_id in fresh:
                    outstanding[request_id] = (now, request_id, None)
                send(b"".join(out))
        server.last_id = number
        load.seconds = ended - began
        return load


class PolledLifecycles(Lifecycles):
    """The same with the tasks extension: tools/call of `work`, of which the server makes a task, then tasks/get,
    again and again, until it has the outcome."""

    new = b'"resultType":"task"'
    done = b'"status":"completed"'
    read_new = staticmethod(polled_task)
    read_outcome = staticmethod(polled_outcome)

    def __init__(self, server: Server, window: int):
        super().__init__(server, window)
        call = {"name": "work", "arguments": {"text": "text-@"}}
        self.create = request_pieces("tools/call", stateless(call, WITH_TASKS))
        self.fetch_result = request_pieces("tasks/get", stateless({"taskId": "@"}, WITH_TASKS))


def big_calls(server: Server, window: int, seconds: float) -> Load:
    """tools/call of `big`, a text of a million characters, `window` requests in flight.

    The peer's output pipe is made a megabyte wide, so that it, and not the default pipe of
    64 KB, is what is measured.
    """
    load = Load()
    request = tool_call("big", {})
    first = b"%d" % server.new_id()
    server.write(first.join(request))
    line = server.answer(int(first))
    expect_text(line, first, BIG_TEXT)
    text_at = line.find(BIG_TEXT)
    text_end = text_at + len(BIG_TEXT)
    template = (line[:text_at] + b"@" + line[text_end:]).replace(first, b"#")
    head, tail = template.split(b"@")
    size = len(line)
    outstanding: dict[bytes, float] = {}
    number = server.last_id
    if server.rest:
        raise WrongAnswer(f"nobody asked for {server.rest[:300]!r}")
    # Answers are read into one buffer and compared where they lie: no copy, no allocation.
    buffer = bytearray((window + 1) * (size + BIG_PIPE))
    view = memoryview(buffer)
    filled = 0
    fcntl.fcntl(server.reader, fcntl.F_SETPIPE_SZ, BIG_PIPE)
    server.wait_by(spinning=True)
    with no_collection(), time_limit(seconds + 20):
        began = ended = clock()
        until = began + seconds
        for _ in range(window):
            number += 1
            outstanding[b"%d" % number] = clock()
            server.write((b"%d" % number).join(request))
        while outstanding:
            try:
                got = os.readv(server.reader, (view[filled:],))
            except BlockingIOError:
                os.sched_yield()
                continue
            if not got:
                raise PeerStopped("the peer closed its output")
            newline = buffer.find(b"\n", filled, filled + got)
            filled += got
            if newline < 0:
                continue
            now = clock()
            while newline >= 0:
                where = buffer.find(b'"id":', 0, text_at) if b"#" in head else -1
                if where < 0:
                    where = buffer.rfind(b'"id":', text_end, newline)
                request_id = bytes(buffer[where + 5 : where + 5 + len(first)])
                if not (
                    newline == size
                    and buffer.startswith(head.replace(b"#", request_id))
                    and buffer.startswith(BIG_TEXT, text_at)
                    and buffer.endswith(tail.replace(b"#", request_id), 0, newline)
                ):
                    request_id = b"%d" % json.loads(buffer[:newline])["id"]
                    expect_text(bytes(buffer[:newline]), request_id, BIG_TEXT)
                sent = outstanding.pop(request_id, None)
                if sent is None:
                    raise WrongAnswer(f"nobody asked for {bytes(buffer[:300])!r}")
                filled -= newline + 1
                view[:filled] = view[newline + 1 : newline + 1 + filled]
                newline = buffer.find(b"\n", 0, filled)
                if now < until:
                    load.latencies.append(now - sent)
                    ended = now
                    number += 1
                    outstanding[b"%d" % number] = clock()
                    server.write((b"%d" % number).join(request))
    server.last_id = number
    load.seconds = ended - began
    return load


def repeated(server: Server, method: str, params: dict, seconds: float, check) -> Load:
    """One plain request after the other; `check(result)` raises or returns the next params.

    Built and parsed with json inside the loop but outside the timed part of each request, so
    the latencies are good and the rate is not: use the latencies.
    """
    load = Load()
    server.wait_by(spinning=True)
    with no_collection(), time_limit(seconds + 20):
        began = clock()
        until = began + seconds
        while clock() < until:
            number = server.new_id()
            data = encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            before = clock()
            server.write(data)
            line = server.read_line()
            after = clock()
            while is_notification(line):
                line = server.read_line()
                after = clock()
            message = json.loads(line)
            if message.get("id") != number or "result" not in message:
                raise WrongAnswer(f"{method}: {line[:400]!r}")
            load.latencies.append(after - before)
            params = check(message["result"])
        load.seconds = clock() - began
    return load
