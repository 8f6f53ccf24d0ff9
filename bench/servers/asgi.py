"""What the Python SDKs' HTTP servers share: uvicorn, as they run it themselves, on a free port.

Two settings differ from uvicorn's defaults: no access log, and an idle connection is kept for ten
minutes instead of five seconds, so that idle sessions can be measured with their connections.
"""

import socket

import uvicorn

KEEP_ALIVE_S = 600


def serve(app) -> None:
    """Print the URL, then serve until a signal."""
    # With the protocol named, as asyncio's own listeners have it: on others it leaves Nagle's algorithm on, and
    # every answer (a head, then a body) would wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=KEEP_ALIVE_S)
    uvicorn.Server(config).run(sockets=[listener])
