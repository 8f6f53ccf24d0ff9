"""Starts servers faster than Python starts: it has imported everything, and forks one for each line on its input.

A line is JSON: the role, the port, the store, the file for steps. It answers with the pid; the server's own first line,
on the same output, says that it listens. A server is a process of its own, and may be killed like any other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio

from mcp_tasks import Peer, SQLiteTaskStore, serve_http
from tests.crashes._peer import make_peer


async def _work(peer: Peer) -> None:
    async with peer:
        os.write(1, b"listening 0\n")
        await trio.sleep_forever()


async def _serve(order: dict[str, Any]) -> None:
    peer = make_peer(order["steps"])
    async with AsyncExitStack() as stack:
        if order["role"] == "alone":
            peer.use_store(stack.enter_context(SQLiteTaskStore(order["store"])))
        else:
            from mcp_tasks.tasks.valkey import open_valkey

            opening = open_valkey(order["store"], lease_seconds=order["lease"], answer_seconds=1.0)
            peer.use_store(await stack.enter_async_context(opening), works=order["role"] == "worker")
        async with trio.open_nursery() as nursery:
            if order["role"] == "worker":
                nursery.start_soon(_work, peer)
            else:
                server = await nursery.start(partial(serve_http, peer, port=order["port"]))
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
                trio.run(_serve, order)
            finally:
                os._exit(1)
        os.write(1, f"pid {pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, f"dead {pid}\n".encode())


if __name__ == "__main__":
    main()
