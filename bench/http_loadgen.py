"""The load generator over HTTP: Streamable HTTP by hand, over raw sockets.

It knows the wire only: HTTP/1.1 with keep-alive, one POST a message, revision 2025-11-25 with a
session or 2026-07-28 without one, whose requests say in their head what they are and in `_meta` who
asks.  Requests are bytes built beforehand with the id spliced in; ids all have seven digits, so
Content-Length is known beforehand too.  Answers may be JSON or an event stream, with a
Content-Length or in chunks; the head of each is looked up among those seen before (they differ by
their Date, once a second) and read properly when it is new.

Nothing is trusted, as in `loadgen.py`: a call's answer must equal, byte for byte, a template made
of the first one, with its own id and text in place; what looks different is parsed, and one answer
in 256 is parsed anyhow.  So is every answer that asks for something, since what it says has to be
sent back.  A wrong answer ends the run with WrongAnswer.

Each connection has one request in flight: the next is sent when the answer is complete, which for
chunks and event streams is when the response has ended.  All connections of a load share one MCP
session, if there are sessions, as the pool of one client would.  With one connection the generator
asks the socket again and again rather than sleep (see `loadgen.py` for the reason); with more it
sleeps in epoll.
"""

import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import loadgen
from child import Child, PeerStopped, clock, no_collection, time_limit
from loadgen import (
    ASKABLE,
    CLIENT,
    REVISION,
    SAMPLE,
    STATELESS_REVISION,
    WITH_TASKS,
    Load,
    WrongAnswer,
    created_task,
    encode,
    expect_complete,
    expect_outcome,
    expect_text,
    polled_outcome,
    polled_task,
    request_pieces,
    result_of,
    stateless,
)

CHUNK = 1 << 16
SOCKETS = 4096  # a thousand connections need more than the usual limit of open files


@dataclass(frozen=True)
class Head:
    """What the head of a response says."""

    status: int
    length: int | None  # None: the body comes in chunks
    events: bool
    session: str | None


def read_head(data: bytes) -> Head:
    """Read a response head; raise WrongAnswer for what no server should send here."""
    lines = data.decode("latin-1").split("\r\n")
    version, _, status = lines[0].partition(" ")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if version != "HTTP/1.1" or fields.get("connection", "").lower() == "close":
        raise WrongAnswer(f"the connection is not kept: {data[:300]!r}")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        length = None
    elif "content-length" in fields or status.startswith("204"):
        length = int(fields.get("content-length", 0))
    else:
        raise WrongAnswer(f"nothing says where the body ends: {data[:300]!r}")
    kind = fields.get("content-type", "").partition(";")[0]
    if kind not in ("application/json", "text/event-stream") and length != 0 and status.startswith("200"):
        raise WrongAnswer(f"neither JSON nor events: {data[:300]!r}")
    return Head(int(status[:3]), length, kind == "text/event-stream", fields.get("mcp-session-id"))


def unchunk(data: bytes, at: int) -> tuple[bytes, int] | None:
    """Return the body whose chunks begin at `at` and where they end, or None if more must come."""
    pieces = []
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        size = int(data[at:line].partition(b";")[0], 16)
        at = line + 2 + size + 2
        if len(data) < at:
            return None
        if size == 0:
            return b"".join(pieces), at
        pieces.append(data[line + 2 : at - 2])


def answer_among(events: bytes) -> bytes:
    """Return the one message of an event stream that is an answer; a question is a wrong answer."""
    found = None
    for line in events.split(b"\n"):
        if not line.startswith(b"data:") or not (message := line[5:].strip()):
            continue
        if b'"method"' in message and "method" in (parsed := json.loads(message)):
            if "id" in parsed:
                raise WrongAnswer(f"the peer asks us something: {message[:300]!r}")
        elif found is not None:
            raise WrongAnswer(f"two answers in one stream: {events[:600]!r}")
        else:
            found = message
    if found is None:
        raise WrongAnswer(f"a stream without an answer: {events[:300]!r}")
    return found


class Connection:
    """One keep-alive connection to a server; `busy` and `stage` belong to the load that uses it."""

    def __init__(self, server: "HttpServer"):
        self.server = server
        self.socket = socket.create_connection((server.host, server.port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.rest = b""
        self.sent = 0.0
        self.stage: tuple = ()

    def take(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return head and body of the answer when `data` completes it, None otherwise."""
        if self.rest:
            data = self.rest + data
        cut = data.find(b"\r\n\r\n")
        if cut < 0:
            self.rest = data
            return None
        head = self.server.heads.get(data[:cut])
        if head is None:
            head = self.server.heads[data[:cut]] = read_head(data[:cut])
        cut += 4
        if head.length is not None:
            end = cut + head.length
            body = data[cut:end]
            if len(body) < head.length:
                self.rest = data
                return None
        else:
            whole = unchunk(data, cut)
            if whole is None:
                self.rest = data
                return None
            body, end = whole
        if len(data) > end:
            raise WrongAnswer(f"nobody asked for {data[end:][:300]!r}")
        self.rest = b""
        return head, answer_among(body) if head.events else body

    def exchange(self, request: bytes) -> tuple[Head, bytes]:
        """Send one request and wait for its answer, slowly but surely."""
        self.socket.sendall(request)
        while True:
            select.select([self.socket], [], [])
            data = self.socket.recv(CHUNK)
            if not data:
                raise PeerStopped("the peer closed the connection")
            if answer := self.take(data):
                return answer

    def is_open(self) -> bool:
        """Whether the server has kept the connection, and has said nothing unasked."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()


class Sender:
    """Knows how requests look; `lines` is the fixed part of their heads."""

    def __init__(self, server: "HttpServer"):
        self.server = server
        self.lines = server.lines

    def head(self, method: str, params: dict) -> bytes:
        """The head of such a request, without its length."""
        return self.lines

    def params(self, params: dict) -> dict:
        """All that is sent along with such parameters."""
        return params

    def request(self, method: str, params: dict, lengths: list[int]) -> list[bytes]:
        """Return the request cut where "@" stands; `lengths` are those of what fills the gaps of the body.

        The first gap of the body is for the id of the request.
        """
        *before, head = self.head(method, params).split(b"@")
        body = request_pieces(method, self.params(params))
        size = sum(map(len, body)) + sum(lengths)
        return [*before, b"%bContent-Length: %d\r\n\r\n%b" % (head, size, body[0]), *body[1:]]

    def ask(self, connection: Connection, method: str, params: dict | None = None) -> tuple[Head, dict]:
        """Send one plain request and return its result."""
        number = self.server.new_id()
        id_ = b"%d" % number
        head, body = connection.exchange(id_.join(self.request(method, params or {}, [len(id_)])))
        if head.status != 200:
            raise WrongAnswer(f"{method}: {head.status} {body[:400]!r}")
        answer = json.loads(body)
        if answer.get("id") != number or "result" not in answer:
            raise WrongAnswer(f"{method}: {body[:400]!r}")
        return head, answer["result"]


class Session(Sender):
    """An MCP session: its id is in the head of every request."""

    expect = staticmethod(expect_text)

    def __init__(self, server: "HttpServer", connection: Connection):
        """Do the handshake over `connection`."""
        super().__init__(server)
        opening = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": CLIENT}
        head, result = self.ask(connection, "initialize", opening)
        self.ready_after = clock() - server.started
        if result["protocolVersion"] != REVISION:
            raise WrongAnswer(f"the peer wants revision {result['protocolVersion']}")
        if head.session is None:
            raise WrongAnswer("the peer gave no session id")
        self.lines += f"Mcp-Session-Id: {head.session}\r\nMcp-Protocol-Version: {REVISION}\r\n".encode()
        message = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})
        head, body = connection.exchange(b"%bContent-Length: %d\r\n\r\n%b" % (self.lines, len(message), message))
        if head.status != 202:
            raise WrongAnswer(f"initialized was not accepted: {head.status} {body[:300]!r}")


class Stateless(Sender):
    """No session: every request has in its head what it is, and in `_meta` who asks and what that client can do."""

    expect = staticmethod(expect_complete)

    def __init__(self, server: "HttpServer", capabilities: dict | None = None):
        super().__init__(server)
        self.capabilities = capabilities
        self.lines += f"MCP-Protocol-Version: {STATELESS_REVISION}\r\n".encode()

    def head(self, method: str, params: dict) -> bytes:
        lines = f"Mcp-Method: {method}\r\n"
        if name := params.get("name") or params.get("taskId"):
            lines += f"Mcp-Name: {name}\r\n"
        return self.lines + lines.encode()

    def params(self, params: dict) -> dict:
        return stateless(params, self.capabilities)


class HttpServer(Child):
    """A child process that prints its URL as its first line; connections to it are made here."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None):
        raise_socket_limit()
        self.heads: dict[bytes, Head] = {}
        self.last_id = 1_000_000
        self.connections: list[Connection] = []
        super().__init__(argv, env)
        try:
            with time_limit(30):
                self.url = self.process.stdout.readline().decode().strip()
            if not self.url.startswith("http://"):
                raise PeerStopped(f"the peer printed {self.url!r} for a URL")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        parts = urlsplit(self.url)
        self.host, self.port = parts.hostname, parts.port
        self.lines = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        ).encode()

    def ask_to_end(self) -> None:
        self.disconnect()
        super().ask_to_end()

    def interrupt(self, patience: float = 20.0) -> None:
        """End a Python program as ctrl-C would, so that it leaves its profile behind."""
        self.disconnect()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(patience)

    def connect(self) -> Connection:
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    def disconnect(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections = []

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id


def raise_socket_limit() -> None:
    """Allow this process, and so the children it starts, a few thousand open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS if hard == resource.RLIM_INFINITY else min(SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# -- loads ----------------------------------------------------------------------------------

# Given a connection, the answer it got and when, return the next request or None for no more.
Answered = Callable[[Connection, bytes, float], bytes | None]


class Traffic:
    """Some connections, each with one request in flight; all of one session unless another sender is given."""

    def __init__(self, server: HttpServer, width: int, sender: Sender | None = None):
        self.server = server
        self.width = width
        self.connections = [server.connect() for _ in range(width)]
        self.sender = sender or Session(server, self.connections[0])

    def drive(self, seconds: float, limit: float, first: Callable[[Connection], bytes], answered: Answered) -> None:
        """Keep every connection busy until `answered` has no more requests."""
        spinning = self.width == 1 if loadgen.WAIT == "auto" else loadgen.WAIT == "spin"
        pause = 0 if spinning else -1
        with no_collection(), time_limit(limit), select.epoll() as epoll:
            by_number = {}
            for connection in self.connections:
                by_number[connection.socket.fileno()] = connection
                epoll.register(connection.socket, select.EPOLLIN)
            for connection in self.connections:
                request = first(connection)
                connection.sent = clock()
                connection.socket.send(request)
            busy = self.width
            poll, give_way = epoll.poll, os.sched_yield
            while busy:
                ready = poll(pause)
                if not ready:
                    give_way()
                    continue
                for number, _ in ready:
                    connection = by_number[number]
                    data = connection.socket.recv(CHUNK)
                    now = clock()
                    if not data:
                        raise PeerStopped("the peer closed a connection")
                    answer = connection.take(data)
                    if answer is None:
                        continue
                    head, body = answer
                    if head.status != 200:
                        raise WrongAnswer(f"status {head.status}: {body[:400]!r}")
                    request = answered(connection, body, now)
                    if request is None:
                        busy -= 1
                    else:
                        connection.sent = clock()
                        connection.socket.send(request)


class Calls:
    """tools/call of `echo` over `width` connections, each call with a text of its own."""

    def __init__(self, server: HttpServer, width: int, sender: Sender | None = None):
        self.server = server
        self.traffic = Traffic(server, width, sender)
        self.expect = self.traffic.sender.expect
        first = b"%d" % server.new_id()
        call = {"name": "echo", "arguments": {"text": "text-@"}}
        self.request = self.traffic.sender.request("tools/call", call, [len(first)] * 2)
        _, line = self.traffic.connections[0].exchange(first.join(self.request))
        self.expect(line, first, b"text-" + first)
        self.template = line.split(first)
        if len(self.template) != 3:
            raise WrongAnswer(f"the id is expected twice in {line!r}")

    def run(self, seconds: float) -> Load:
        load = Load()
        latencies = load.latencies
        server, request, template, expect = self.server, self.request, self.template, self.expect
        began = clock()
        until = began + seconds

        def start(connection: Connection) -> bytes:
            server.last_id += 1
            connection.stage = request_id = b"%d" % server.last_id
            return request_id.join(request)

        def answered(connection: Connection, line: bytes, now: float) -> bytes | None:
            request_id = connection.stage
            if line != request_id.join(template) or not int(request_id) & SAMPLE:
                expect(line, request_id, b"text-" + request_id)
            if now >= until:
                return None
            latencies.append(now - connection.sent)
            load.seconds = now - began
            return start(connection)

        self.traffic.drive(seconds, seconds + 20, start, answered)
        return load


class Lifecycles:
    """An augmented tools/call of `job`, then tasks/result until its answer, over `width` connections.

    The latency of a life cycle runs from the call to the answer of tasks/result; `created` has
    the time to each CreateTaskResult.
    """

    call = {"name": "job", "arguments": {"text": "text-@"}, "task": {"ttl": 60_000}}  # noqa: RUF012
    fetching = "tasks/result"
    new = b'"status":"working"'  # what every CreateTaskResult says
    done = b'"content":['  # what every outcome says
    read_new = staticmethod(created_task)
    read_outcome = staticmethod(expect_outcome)

    def __init__(self, server: HttpServer, width: int, sender: Sender | None = None):
        self.server = server
        self.traffic = Traffic(server, width, sender)
        self.create = self.traffic.sender.request("tools/call", self.call, [7, 7])
        self.fetch: dict[int, list[bytes]] = {}  # by the length of the task id

    def fetch_for(self, size: int) -> list[bytes]:
        pieces = self.traffic.sender.request(self.fetching, {"taskId": "@"}, [7, size])
        self.fetch[size] = pieces
        return pieces

    def fetch_request(self, request_id: bytes, task_id: bytes) -> bytes:
        head, middle, tail = self.fetch.get(len(task_id)) or self.fetch_for(len(task_id))
        return head + request_id + middle + task_id + tail

    def run(self, seconds: float = 1e9, count: int = 1 << 60, limit: float | None = None) -> Load:
        """Keep life cycles going for `seconds`, or until `count` were started."""
        load = Load()
        server, create, new, done = self.server, self.create, self.new, self.done
        started = 0
        began = clock()
        until = began + seconds

        def start(connection: Connection) -> bytes:
            nonlocal started
            started += 1
            server.last_id += 1
            request_id = b"%d" % server.last_id
            connection.stage = (request_id, request_id, None, clock())
            return request_id.join(create)

        def answered(connection: Connection, line: bytes, now: float) -> bytes | None:
            request_id, call_id, task_id, called = connection.stage
            # A cycle takes two ids, so the lowest bit would choose between its halves.
            sample = not int(call_id) >> 1 & SAMPLE
            parse = sample or b'"id":' + request_id not in line or b'"error":' in line
            asking = True
            if task_id is None:
                at = line.find(b'"taskId":"') + 10
                task_id = line[at : line.find(b'"', at)]
                if parse or at < 10 or new not in line:
                    task_id = self.read_new(line, request_id)["taskId"].encode()
                if now < until:
                    load.created.append(now - called)
            else:
                asking = (
                    parse
                    or b'"text":"text-' + call_id + b'"' not in line
                    or task_id not in line
                    or done not in line
                    or b'"isError":true' in line
                ) and not self.read_outcome(line, request_id, b"text-" + call_id, task_id)
            if asking:
                load.fetches += now < until
                server.last_id += 1
                request_id = b"%d" % server.last_id
                connection.stage = (request_id, call_id, task_id, called)
                return self.fetch_request(request_id, task_id)
            if now >= until:
                return None
            load.latencies.append(now - called)
            load.seconds = now - began
            return start(connection) if started < count else None

        self.traffic.drive(seconds, seconds + 20 if limit is None else limit, start, answered)
        return load


class PolledLifecycles(Lifecycles):
    """The same with the tasks extension: tools/call of `work`, of which the server makes a task, then tasks/get,
    again and again, until it has the outcome."""

    call = {"name": "work", "arguments": {"text": "text-@"}}  # noqa: RUF012
    fetching = "tasks/get"
    new = b'"resultType":"task"'
    done = b'"status":"completed"'
    read_new = staticmethod(polled_task)
    read_outcome = staticmethod(polled_outcome)

    def __init__(self, server: HttpServer, width: int):
        super().__init__(server, width, Stateless(server, WITH_TASKS))

    def fetch_request(self, request_id: bytes, task_id: bytes) -> bytes:
        # The id of the task is in the head, too.
        named, head, middle, tail = self.fetch.get(len(task_id)) or self.fetch_for(len(task_id))
        return b"".join((named, task_id, head, request_id, middle, task_id, tail))


class Rounds:
    """tools/call of `ask`, which is answered with a question, and again with the answer, over `width` connections.

    The latency of such a cycle runs from the first call to the result of the second.
    """

    def __init__(self, server: HttpServer, width: int):
        self.server = server
        self.traffic = Traffic(server, width, Stateless(server, ASKABLE))
        call = {"name": "ask", "arguments": {"text": "text-@"}}
        self.request = self.traffic.sender.request("tools/call", call, [7, 7])
        answer = {"action": "accept", "content": {"word": "word-@"}}
        self.again = {**call, "inputResponses": {"@": answer}, "requestState": "@"}
        self.retries: dict[tuple[int, int], list[bytes]] = {}  # by the lengths of key and state
        self.template: list[bytes] = []

    def retry(self, request_id: bytes, call_id: bytes, key: bytes, state: bytes) -> bytes:
        """The call with the word it asked for; key and state are as JSON has them within quotes."""
        pieces = self.retries.get((len(key), len(state)))
        if pieces is None:
            gaps = [7, 7, len(key), 7, len(state)]
            pieces = self.traffic.sender.request("tools/call", self.again, gaps)
            self.retries[len(key), len(state)] = pieces
        head, text, member, word, sealed, tail = pieces
        return b"".join((head, request_id, text, call_id, member, key, word, request_id, sealed, state, tail))

    def check(self, line: bytes, request_id: bytes, call_id: bytes) -> None:
        """The result must have the text of the first call and the word of the second."""
        sample = not int(request_id) >> 1 & SAMPLE  # a cycle takes two ids
        if self.template and not sample and line == request_id.join(self.template).replace(b"@", call_id, 1):
            return
        text = b"text-%b word-%b" % (call_id, request_id)
        expect_complete(line, request_id, text)
        if not self.template and b"@" not in line:
            self.template = line.replace(call_id, b"@", 1).split(request_id)

    def run(self, seconds: float = 1e9, count: int = 1 << 60, limit: float | None = None) -> Load:
        """Keep cycles going for `seconds`, or until `count` were started."""
        load = Load()
        server, request = self.server, self.request
        started = 0
        began = clock()
        until = began + seconds

        def start(connection: Connection) -> bytes:
            nonlocal started
            started += 1
            server.last_id += 1
            request_id = b"%d" % server.last_id
            connection.stage = (request_id, None, clock())
            return request_id.join(request)

        def answered(connection: Connection, line: bytes, now: float) -> bytes | None:
            request_id, call_id, called = connection.stage
            if call_id is None:
                key, state = asked_word(line, request_id)
                server.last_id += 1
                again = b"%d" % server.last_id
                connection.stage = (again, request_id, called)
                return self.retry(again, request_id, key, state)
            self.check(line, request_id, call_id)
            if now >= until:
                return None
            load.latencies.append(now - called)
            load.seconds = now - began
            return start(connection) if started < count else None

        self.traffic.drive(seconds, seconds + 20 if limit is None else limit, start, answered)
        return load


def asked_word(line: bytes, request_id: bytes) -> tuple[bytes, bytes]:
    """Parse an InputRequiredResult, which must ask for a word; return its key and its state, escaped as in JSON."""
    result = result_of(line, request_id)
    questions = result.get("inputRequests", {})
    if result.get("resultType") != "input_required" or len(questions) != 1 or not result.get("requestState"):
        raise WrongAnswer(f"expected one question, and a state: {line[:600]!r}")
    ((key, question),) = questions.items()
    form = question.get("params", {})
    if (
        question.get("method") != "elicitation/create"
        or form.get("message") != "Which word?"
        or form.get("requestedSchema", {}).get("properties") != {"word": {"type": "string"}}
    ):
        raise WrongAnswer(f"not the question for a word: {line[:600]!r}")
    return json.dumps(key)[1:-1].encode(), json.dumps(result["requestState"])[1:-1].encode()


# -- sessions -------------------------------------------------------------------------------


def open_sessions(server: HttpServer, count: int, connected: bool) -> list[tuple[Session, Connection]]:
    """Open sessions, each over a connection of its own that stays open, or all over the same one."""
    shared = None if connected else server.connect()
    found = []
    with time_limit(60):
        for _ in range(count):
            connection = shared or server.connect()
            found.append((Session(server, connection), connection))
    return found


def expect_alive(server: HttpServer, sessions: list[tuple[Session, Connection]]) -> None:
    """Every connection must be open; the first, the middle and the last session must answer a call."""
    closed = sum(not connection.is_open() for _, connection in sessions)
    if closed:
        raise WrongAnswer(f"{closed} of {len(sessions)} connections were closed by the server")
    if len({session.lines for session, _ in sessions}) != len(sessions):
        raise WrongAnswer("sessions share an id")
    for session, connection in (sessions[0], sessions[len(sessions) // 2], sessions[-1]):
        with time_limit(20):
            _, result = session.ask(connection, "tools/call", {"name": "echo", "arguments": {"text": "still here"}})
        if result["content"][0]["text"] != "still here":
            raise WrongAnswer(f"not an echo: {result}")
