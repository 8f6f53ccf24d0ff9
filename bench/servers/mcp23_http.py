"""The benchmark server on mcp 2.3.0 over HTTP: the stdio one's Server as an application."""

from asgi import serve
from mcp23_server import server

if __name__ == "__main__":
    serve(server.streamable_http_app(json_response=True))
