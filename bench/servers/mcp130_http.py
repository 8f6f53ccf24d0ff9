"""The benchmark server on mcp 1.30.0 over HTTP: the stdio one's Server behind the session manager."""

import contextlib

from asgi import serve
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp130_server import server
from starlette.applications import Starlette
from starlette.routing import Route

manager = StreamableHTTPSessionManager(server, json_response=True)


class Endpoint:
    """An instance is an ASGI application to starlette; a function would be taken for a handler."""

    async def __call__(self, scope, receive, send) -> None:
        await manager.handle_request(scope, receive, send)


@contextlib.asynccontextmanager
async def lifespan(_app):
    async with manager.run():
        yield


if __name__ == "__main__":
    serve(Starlette(routes=[Route("/mcp", endpoint=Endpoint())], lifespan=lifespan))
