"""No engine at all: answers what benchmark clients send, over raw sockets, with one json.loads a message.

It has two uses: to find the generator's own ceiling, and to be the server that every SDK's client
is measured against.  It knows initialize, tools/list, `echo`, and `job` as a task, and for whoever
speaks 2026-07-28 server/discover, `ask` and `work`; it answers 202 to notifications, 405 to GET and
200 to DELETE, keeps nothing, and splices its answers.  Usage: null_http.py [REVISION], the only one
that it speaks then, so that no client measures another than it should.
"""

import json
import select
import socket
import sys

ONLY = sys.argv[1] if len(sys.argv) > 1 else None
SESSION = b"0123456789abcdef0123456789abcdef"
OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: "
    + SESSION
    + b"\r\nContent-Length: %d\r\n\r\n"
)
OK_STATELESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nMcp-Session-Id: " + SESSION + b"\r\nContent-Length: 0\r\n\r\n"
NO_STREAM = b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST, DELETE\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
ENDED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
RESULT = b'{"jsonrpc":"2.0","id":%b,"result":%b}'
INITIALIZED = b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"null","version":"0"}}'
TOOLS = (
    b'{"tools":[{"name":"echo","description":"Return the text.","inputSchema":{"type":"object",'
    b'"properties":{"text":{"type":"string"}},"required":["text"]}}]}'
)
TEXT = b'{"content":[{"type":"text","text":%b}]}'
TASK_TEXT = (
    b'{"content":[{"type":"text","text":"%b"}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"task-%b"}}}'
)
TASK = (
    b'{"task":{"taskId":"task-%b","status":"working","createdAt":"2026-01-01T00:00:00Z",'
    b'"lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":60000,"pollInterval":500}}'
)
VERSION = "io.modelcontextprotocol/protocolVersion"
SERVER = b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"null","version":"0"}}'
LASTING = b'"resultType":"complete","ttlMs":3600000,"cacheScope":"public",'
DISCOVERED = b"{%b" % LASTING + b'"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},%b}' % SERVER
STATELESS_TOOLS = b"{%b%b" % (LASTING, TOOLS[1:])
STATELESS_TEXT = b'{"resultType":"complete","content":[{"type":"text","text":%b}],' + SERVER + b"}"
QUESTION = (
    b'{"resultType":"input_required","inputRequests":{"word":{"method":"elicitation/create","params":{'
    b'"mode":"form","message":"Which word?","requestedSchema":{"type":"object",'
    b'"properties":{"word":{"type":"string"}},"required":["word"]}}}},"requestState":"a state of no use",%b}' % SERVER
)
NEW_TASK = (
    b'{"resultType":"task","taskId":"task-%b","status":"working","createdAt":"2026-01-01T00:00:00Z",'
    b'"lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":60000,"pollIntervalMs":500}'
)
OLD_TASK = (
    b'{"resultType":"complete","taskId":"task-%b","status":"completed","createdAt":"2026-01-01T00:00:00Z",'
    b'"lastUpdatedAt":"2026-01-01T00:00:00Z","ttlMs":60000,"pollIntervalMs":500,'
    b'"result":{"resultType":"complete","content":[{"type":"text","text":"%b"}]}}'
)


def stateless_result(method: str, params: dict) -> bytes:
    if method == "tools/call":
        name, text = params["name"], params["arguments"]["text"]
        if name == "work":
            return NEW_TASK % text.encode()
        if name == "ask":
            if "inputResponses" not in params:
                return QUESTION
            text += " " + params["inputResponses"]["word"]["content"]["word"]
        return STATELESS_TEXT % json.dumps(text).encode()
    if method == "tasks/get":
        text = params["taskId"][5:].encode()
        return OLD_TASK % (text, text)
    return DISCOVERED if method == "server/discover" else STATELESS_TOOLS


def result_of(message: dict) -> bytes:
    method = message["method"]
    if method == "tools/call":
        params = message["params"]
        text = params["arguments"]["text"]
        return TASK % text.encode() if "task" in params else TEXT % json.dumps(text).encode()
    if method == "tasks/result":
        text = message["params"]["taskId"][5:].encode()
        return TASK_TEXT % (text, text)
    if method == "initialize":
        return INITIALIZED
    return TOOLS if method == "tools/list" else b"{}"


def answer(body: bytes) -> bytes:
    message = json.loads(body)
    if "id" not in message or "method" not in message:
        return ACCEPTED
    request_id = json.dumps(message["id"]).encode()
    params = message.get("params") or {}
    revision = params.get("_meta", {}).get(VERSION, "2025-11-25")
    if ONLY and revision != ONLY:
        return REFUSED
    if revision == "2026-07-28":
        content = RESULT % (request_id, stateless_result(message["method"], params))
        return OK_STATELESS % len(content) + content
    content = RESULT % (request_id, result_of(message))
    return OK % len(content) + content


class Client:
    """A connection, and what it has sent so far of a request."""

    heads: dict[bytes, tuple[bytes, int]] = {}  # noqa: RUF012 - one for all, since clients repeat themselves

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.rest = b""

    def read_head(self, head: bytes) -> tuple[bytes, int]:
        length = 0
        if len(self.heads) > 1_000:  # some have the id of a task in them
            self.heads.clear()
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"transfer-encoding":
                raise ValueError("this server wants a Content-Length")
        found = self.heads[head] = (head.partition(b" ")[0], length)
        return found

    def received(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        while (cut := data.find(b"\r\n\r\n")) >= 0:
            method, length = self.heads.get(data[:cut]) or self.read_head(data[:cut])
            end = cut + 4 + length
            if len(data) < end:
                break
            if method == b"POST":
                self.sock.send(answer(data[cut + 4 : end]))
            else:
                self.sock.send(ENDED if method == b"DELETE" else NO_STREAM)
            data = data[end:]
        self.rest = data


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    door = listener.fileno()
    clients: dict[int, Client] = {}
    while True:
        for number, _ in epoll.poll():
            if number == door:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[sock.fileno()] = Client(sock)
                epoll.register(sock, select.EPOLLIN)
                continue
            client = clients[number]
            try:
                data = client.sock.recv(1 << 16)
                if data:
                    client.received(data)
                    continue
            except OSError:
                pass
            epoll.unregister(client.sock)
            client.sock.close()
            del clients[number]


if __name__ == "__main__":
    main()
