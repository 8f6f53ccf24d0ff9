"""The front doors: serve a peer on our own standard streams or over HTTP, open a server that is a command or a URL.

One line each, over the transports; whoever wants something else uses `Peer.serve` and `Peer.connect` with a transport
of their own.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack

import trio

from .limits import HttpLimits
from .peer._wait import servants
from .peer.connection import Connection
from .peer.peer import Peer
from .transports.http.auth import Authenticator
from .transports.http.endpoint import Endpoint, ServeSession
from .transports.http.hosts import HostRules
from .transports.http.server import HttpServer
from .transports.http.session import HttpSession
from .transports.stdio import open_process as open_stdio
from .transports.stdio import own_stdio

__all__ = ["open_stdio", "serve_http", "serve_stdio"]

ANONYMOUS = "anonymous"
"""Who owns the tasks of requestors that do not say who they are: whoever knows a task's id may have it."""


async def serve_stdio(peer: Peer, *, task_status: trio.TaskStatus[Connection] = trio.TASK_STATUS_IGNORED) -> None:
    """Be a server on standard input and output, until the client closes its end.

    Nothing else reaches standard output meanwhile: what is printed goes to standard error. Cancelled, it answers no
    more, cancels what runs, and gives the streams back as they were.
    """
    async with own_stdio(limits=peer.limits) as transport:
        await peer.serve(transport, task_status=task_status)


async def serve_http(
    peer: Peer | Mapping[str, Peer],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    path: str = "/mcp",
    ssl_context: ssl.SSLContext | None = None,
    auth: Authenticator | None = None,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] | None = None,
    limits: HttpLimits | None = None,
    task_status: trio.TaskStatus[HttpServer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Be a server over HTTP, for any number of clients, until cancelled or until `HttpServer.aclose` is called.

    ``server = await nursery.start(partial(serve_http, peer, port=8000))`` returns once it listens; `HttpServer.url`
    is where. Several peers can be served under several paths: ``serve_http({"/a": one, "/b": another})``.

    It listens on this machine only unless `host` says otherwise, answers to the names in `allowed_hosts` besides its
    own address, and serves web pages of `allowed_origins` besides those of this machine; ``"*"`` lets everything pass.
    With `auth`, tasks and sessions belong to whom it names; without, tasks belong to whoever knows their ids, and
    cannot be listed. Tasks live as long as the server does, or as the block ``async with peer:`` if there is one
    around it. Raises OSError if it cannot listen. Cancelled, it ends all connections and tasks at once; `aclose` lets
    requests be answered first.
    """
    peers = {path: peer} if isinstance(peer, Peer) else dict(peer)
    limits = HttpLimits() if limits is None else limits
    listeners = await trio.open_tcp_listeners(port, host=host)
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        for one in {id(one): one for one in peers.values()}.values():
            if one.home is None:
                await stack.enter_async_context(one)
        nursery = await stack.enter_async_context(servants())
        hosts = HostRules(host, hosts=allowed_hosts, origins=allowed_origins)
        endpoints = {
            where: Endpoint(
                _sessions_of(one), nursery, hosts=hosts, auth=auth, limits=one.limits, http_limits=limits
            )
            for where, one in peers.items()
        }
        server = HttpServer(endpoints, nursery, limits)
        nursery.start_soon(server.keep_time)
        await server.listen(listeners, ssl_context=ssl_context, task_status=task_status)


def _sessions_of(peer: Peer) -> ServeSession:
    async def serve(session: HttpSession) -> None:
        known = session.principal is not None
        await peer.serve(session, principal=session.principal or ANONYMOUS, identified=known)

    return serve
