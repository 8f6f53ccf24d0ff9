"""Scripts for programs that are not in this process: a server that is a command or a URL, a client of any kind.

The script is the same `Remote` that `scripted` gives, over a real pipe or real HTTP, and time is real: what is waited
for fails after `patience` seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

import trio

from .._unset import JSONObject
from ..dialects.select import DIALECTS
from ..peer._wait import servants
from ._faults import Fault
from ._http_client_wire import HttpClientWire
from ._http_server_wire import HttpServerWire, open_http_server_wire
from ._relayed import RelayedWire, open_relayed_wire
from ._scripted import Remote, greet, opening, stamp_of
from ._wires import LineWire, Wire, open_program

__all__ = ["open_server_wire", "script_client", "script_server"]

_PATIENCE_SECONDS = 10.0


@asynccontextmanager
async def open_server_wire(
    target: Sequence[str] | str,
    *,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    fault: Fault | None = None,
) -> AsyncIterator[Wire]:
    """The client's end of a connection with a server that is a command or a URL, and nobody who speaks by it.

    Raises OSError if the command cannot be started, and ValueError for what a target of that kind has no use for. The
    block's own exception leaves as it is.
    """
    if isinstance(target, str) and (env is not None or fault is not None):
        raise ValueError("env and fault are for servers that are commands")
    if not isinstance(target, str) and headers is not None:
        raise ValueError("headers are for servers that are URLs")
    async with servants() as nursery:
        if isinstance(target, str):
            wire = HttpClientWire(target, nursery, headers=headers)
            try:
                yield wire
            finally:
                await wire.aclose()
        else:
            async with open_program(target, nursery, env=env, fault=fault) as (line, _):
                yield line


@asynccontextmanager
async def script_server(
    target: Sequence[str] | str,
    *,
    revision: str = "2025-11-25",
    capabilities: JSONObject | None = None,
    handshake: bool = True,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    fault: Fault | None = None,
    patience: float = _PATIENCE_SECONDS,
) -> AsyncIterator[Remote]:
    """Be a client, by script, of a server that is a command (a list of words) or a URL.

    The script shakes hands first, unless it is told not to, and over HTTP listens. `capabilities` are its own (None:
    all that the revision has); `fault` happens to what it sends over a pipe. Raises OSError if the command cannot be
    started. The block's own exception leaves as it is.
    """
    async with servants() as nursery, open_server_wire(target, env=env, headers=headers, fault=fault) as wire:
        remote = Remote(wire, nursery, patience=patience)
        if DIALECTS[revision].stateless:
            remote.stamp = stamp_of(revision, capabilities)
        elif handshake:
            await remote.request("initialize", opening(revision, capabilities))
            if isinstance(wire, HttpClientWire):
                wire.revision = revision
            await remote.notify("notifications/initialized")
            if isinstance(wire, HttpClientWire):
                wire.listen()
        if isinstance(wire, LineWire):
            wire.start_faults()
        yield remote


@asynccontextmanager
async def script_client(
    transport: Literal["stdio", "http"] = "http",
    *,
    revision: str = "2025-11-25",
    capabilities: JSONObject | None = None,
    handshake: bool = True,
    patience: float = _PATIENCE_SECONDS,
) -> AsyncIterator[Remote]:
    """Be a server, by script, for a client that is any program or any code.

    Over HTTP the client is to connect to `Remote.url`; over stdio it is to start `Remote.command`. Unless the script is
    told not to, it answers the handshake, or the question what it speaks, by itself when that comes.
    """
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(servants())
        wire: HttpServerWire | RelayedWire
        if transport == "http":
            wire = await stack.enter_async_context(open_http_server_wire(nursery))
        else:
            wire = await stack.enter_async_context(open_relayed_wire(nursery))
        remote = Remote(wire, nursery, patience=patience)
        if handshake:
            greet(remote, revision, capabilities)
        yield remote
        await trio.lowlevel.checkpoint()
