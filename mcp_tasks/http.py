"""The front doors over HTTP: serve peers, open a server that is a URL; and the names that go with them.

`mcp_tasks` hands these names on, and imports this module when one of them is first asked for: a server on standard
streams starts the sooner for it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from .errors import LocalProtocolError
from .limits import HttpClientLimits, HttpLimits, Limits
from .peer._wait import servants
from .peer.peer import Peer
from .transports.http.asgi import AsgiEndpoints
from .transports.http.auth import ANONYMOUS, Authenticator, BearerAuth, Identity
from .transports.http.carrier import Carrier
from .transports.http.client import HttpClientTransport
from .transports.http.endpoint import Endpoint, ServeSession
from .transports.http.exchange import HttpRequest
from .transports.http.hosts import HostRules
from .transports.http.pool import HttpPool, Url
from .transports.http.remote import Auth
from .transports.http.server import HttpServer, keep_time

__all__ = [
    "Authenticator",
    "BearerAuth",
    "HttpRequest",
    "HttpServer",
    "Identity",
    "asgi_app",
    "open_http",
    "serve_http",
]


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
    http_limits: HttpLimits | None = None,
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
    limits = HttpLimits() if http_limits is None else http_limits
    hosts = HostRules(host, hosts=allowed_hosts, origins=allowed_origins)
    peers = _by_path(peer, path)
    listeners = await trio.open_tcp_listeners(port, host=host)
    async with AsyncExitStack() as stack:
        for listener in listeners:
            stack.push_async_callback(listener.aclose)
        nursery, endpoints = await stack.enter_async_context(_opened(peers, hosts, auth, limits))
        server = HttpServer(endpoints, nursery, limits)
        nursery.start_soon(server.keep_time)
        await server.listen(listeners, ssl_context=ssl_context, task_status=task_status)


def asgi_app(
    peer: Peer | Mapping[str, Peer],
    *,
    path: str = "/mcp",
    auth: Authenticator | None = None,
    allowed_hosts: Collection[str] | None = None,
    allowed_origins: Collection[str] | None = None,
    http_limits: HttpLimits | None = None,
) -> AsgiEndpoints:
    """The same as an ASGI application, for a server that runs trio and sends lifespan events, such as Hypercorn.

    Everything is as with `serve_http` but listening, TLS, slow clients and the number of connections, which are the
    ASGI server's business. It answers to this machine's names and those in `allowed_hosts`.
    """
    limits = HttpLimits() if http_limits is None else http_limits
    hosts = HostRules(None, hosts=allowed_hosts, origins=allowed_origins)
    peers = _by_path(peer, path)

    @asynccontextmanager
    async def opened() -> AsyncIterator[dict[bytes, Endpoint]]:
        async with _opened(peers, hosts, auth, limits) as (nursery, endpoints):
            nursery.start_soon(keep_time, endpoints.values(), limits)
            yield endpoints

    return AsgiEndpoints(opened, limits)


def _by_path(peer: Peer | Mapping[str, Peer], path: str) -> Mapping[str, Peer]:
    peers = {path: peer} if isinstance(peer, Peer) else dict(peer)
    for one in peers:
        if not one.startswith("/"):
            raise LocalProtocolError(f"a path begins with a slash, not {one!r}")
    if not peers:
        raise LocalProtocolError("there is no peer to serve")
    return peers


@asynccontextmanager
async def _opened(
    peers: Mapping[str, Peer], hosts: HostRules, auth: Authenticator | None, limits: HttpLimits
) -> AsyncIterator[tuple[trio.Nursery, dict[bytes, Endpoint]]]:
    # Where tasks live, then where sessions do: sessions end first.
    async with AsyncExitStack() as stack:
        for peer in {id(peer): peer for peer in peers.values()}.values():
            if peer.home is None:
                await stack.enter_async_context(peer)
        nursery = await stack.enter_async_context(servants())
        yield (
            nursery,
            {
                path.encode(): Endpoint(
                    _sessions_of(peer),
                    nursery,
                    hosts=hosts,
                    auth=auth,
                    limits=peer.limits,
                    http_limits=limits,
                    mirrored=peer.mirrored,
                )
                for path, peer in peers.items()
            },
        )


def _sessions_of(peer: Peer) -> ServeSession:
    async def serve(session: Carrier) -> None:
        principal = session.principal
        known = principal is not None
        await peer.serve(session, principal=ANONYMOUS if principal is None else principal, identified=known)

    return serve


@asynccontextmanager
async def open_http(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    auth: str | Auth | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    http_limits: HttpClientLimits | None = None,
    trust_env: bool = True,
) -> AsyncIterator[HttpClientTransport]:
    """Open a server that is an http or https URL: ``async with open_http(url) as transport``, for `Peer.connect`.

    `headers` go with every request. `auth` is a bearer token, or an async function that returns one and is asked for
    each request. TLS is verified, by `ssl_context` if there is one. Proxies are those of the environment
    (``HTTPS_PROXY``, ``NO_PROXY`` and so on) unless `trust_env` is false. Raises `LocalProtocolError` for what is no
    URL; that a server cannot be reached, or wants to know who we are (`Unauthorized`, `Forbidden`), is raised by
    whatever is asked of it. A call that fails so leaves the connection as it is: the next may do better.
    """
    where = Url(url)
    http_limits = HttpClientLimits() if http_limits is None else http_limits
    pool = HttpPool(where, ssl_context=ssl_context, limits=http_limits, trust_env=trust_env)
    async with servants() as nursery:
        transport = HttpClientTransport(
            where, pool, nursery, headers=headers, auth=auth, limits=limits, http_limits=http_limits
        )
        try:
            yield transport
        finally:
            await transport.aclose()
