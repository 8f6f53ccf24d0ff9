"""Streamable HTTP: the endpoint and its sessions, the server on h11, the ASGI adapter, and the client."""
