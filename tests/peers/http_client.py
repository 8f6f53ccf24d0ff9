"""Watching what a client on either generation of the Python SDK does over HTTP."""

from __future__ import annotations

import json
from typing import Any

try:
    import httpx2 as httpx  # what mcp 2.3 uses
except ModuleNotFoundError:
    import httpx

Json = dict[str, Any]

PING = {"jsonrpc": "2.0", "id": "afterwards", "method": "ping"}


class Recorder(httpx.AsyncHTTPTransport):
    """Keeps what was exchanged; may answer GET with 405, as a server does that has no such stream."""

    def __init__(self, *, get_stream: bool, token: str | None) -> None:
        super().__init__()
        self.exchanges: list[Json] = []
        self._get_stream = get_stream
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and keep what matters of the answer."""
        if request.method == "GET" and not self._get_stream:
            return httpx.Response(405, request=request)
        response = await super().handle_async_request(request)
        self._headers.update({name: value for name, value in request.headers.items() if name.startswith("mcp-")})
        exchange = {"method": request.method, "status": response.status_code}
        if kind := response.headers.get("content-type"):
            exchange["type"] = kind.partition(";")[0]
        if last := request.headers.get("last-event-id"):
            exchange["lastEventId"] = last
        self.exchanges.append(exchange)
        return response

    def client(self) -> httpx.AsyncClient:
        """What the SDK is to use; the limits are those of the SDK."""
        return httpx.AsyncClient(transport=self, timeout=httpx.Timeout(30, read=300), headers=dict(self._headers))

    async def status_afterwards(self, url: str) -> int:
        """How the server answers to the session that has been deleted."""
        accept = "application/json, text/event-stream"
        async with httpx.AsyncClient() as client:
            response = await client.post(url, json=PING, headers={**self._headers, "accept": accept})
        return response.status_code


class ModernRecorder(Recorder):
    """Keeps of each exchange of revision 2026-07-28 also what was asked, by which id and under which headers."""

    def __init__(self) -> None:
        super().__init__(get_stream=True, token=None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, and keep what matters of both ways."""
        sent = json.loads(request.content) if request.content else {}
        params = sent.get("params", {})
        exchange = {
            "method": request.method,
            "rpc": sent.get("method"),
            "id": sent.get("id"),
            "headers": {name: value for name, value in request.headers.items() if name.startswith("mcp-")},
            "meta": sorted(params.get("_meta", {})),
            "mrtr": {name: params[name] for name in ("inputResponses", "requestState") if name in params},
        }
        self.exchanges.append(exchange)
        response = await super(Recorder, self).handle_async_request(request)
        exchange["status"] = response.status_code
        exchange["type"] = response.headers.get("content-type", "").partition(";")[0]
        return response
