"""Starts servers faster than Python starts: it has imported everything, and forks one for each line on its input.

A line is JSON: the port, the store, the file for steps. It answers with the pid; the server's own first line, on the
same output, says that it listens. A server is a process of its own, and may be killed like any other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial

import trio

from mcp_tasks import SQLiteTaskStore, serve_http
from tests.crashes._peer import make_peer


async def _serve(port: int, store: str, steps: str) -> None:
    with SQLiteTaskStore(store) as kept:
        peer = make_peer(steps)
        peer.use_store(kept)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve_http, peer, port=port))
            os.write(1, f"listening {server.address[1]}\n".encode())
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()


def main() -> None:
    """Fork a server for each line, and collect those that have ended."""
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                trio.run(_serve, order["port"], order["store"], order["steps"])
            finally:
                os._exit(1)
        os.write(1, f"pid {pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, f"dead {pid}\n".encode())


if __name__ == "__main__":
    main()
