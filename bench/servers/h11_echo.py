"""No engine at all: h11 over trio in the straightforward way, and an echo.

One task and one h11.Connection a socket, a body collected and decoded, the text put into a
JSON-RPC result, in the headers a session would have, if it is asked in one.  It shows what HTTP alone
costs in Python; it checks nothing, keeps nothing, and is no MCP server.
"""

import json

import h11
import trio

SESSION = "0123456789abcdef0123456789abcdef"
INITIALIZED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "h11", "version": "0"},
}
TOOLS = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "big")]}


def answer(body: bytes) -> tuple[int, bytes, bool]:
    """Return the status and the body that answer a message, and whether it is one of a session."""
    message = json.loads(body)
    if "id" not in message:
        return 202, b"", True
    session = "_meta" not in message["params"]
    match message["method"]:
        case "tools/call":
            result = {"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}
        case "initialize":
            result = INITIALIZED
        case _:
            result = TOOLS
    if not session:
        result = {**result, "resultType": "complete"}
    return 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(), session


class Client:
    """A connection as h11's documentation wraps one."""

    def __init__(self, stream: trio.SocketStream):
        self.stream = stream
        self.http = h11.Connection(h11.SERVER)

    async def next_event(self):
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self.stream.receive_some(1 << 16))

    async def serve(self) -> None:
        while isinstance(await self.next_event(), h11.Request):
            body = b""
            while isinstance(event := await self.next_event(), h11.Data):
                body += event.data
            status, content, session = answer(body)
            headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
            if session:
                headers.append(("Mcp-Session-Id", SESSION))
            data = self.http.send(h11.Response(status_code=status, headers=headers))
            data += self.http.send(h11.Data(data=content)) + self.http.send(h11.EndOfMessage())
            await self.stream.send_all(data)
            self.http.start_next_cycle()


async def serve_client(stream: trio.SocketStream) -> None:
    try:
        async with stream:
            await Client(stream).serve()
    except trio.BrokenResourceError:
        pass  # the generator closes its connections without a word


async def main() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=2048)
    port = listeners[0].socket.getsockname()[1]
    print(f"http://127.0.0.1:{port}/mcp", flush=True)
    await trio.serve_listeners(serve_client, listeners)


if __name__ == "__main__":
    trio.run(main)
