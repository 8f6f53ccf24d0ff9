"""The benchmark server on fastmcp 4.1.6 over HTTP; it has no tasks by itself, so no `job` and no `work`."""

import mcp_types as types
from asgi import serve
from fastmcp import Context, FastMCP

BIG = "x" * 1_000_000

WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
QUESTION = types.ElicitRequest(params=types.ElicitRequestFormParams(message="Which word?", requested_schema=WORD))

server = FastMCP("bench", version="1.0")


@server.tool(output_schema=None)
async def echo(text: str) -> str:
    """Return the text."""
    return text


@server.tool(output_schema=None)
async def big() -> str:
    """Return a million characters."""
    return BIG


@server.tool(output_schema=None)
async def ask(text: str, ctx: Context) -> str | types.InputRequiredResult:
    """Ask for a word, and return the text and the word; the text goes back and forth in the state, sealed."""
    if ctx.input_responses is None:
        return types.InputRequiredResult(input_requests={"word": QUESTION}, request_state=text)
    answer = ctx.input_responses["word"]
    return f"{ctx.request_state} {answer.content['word']}"


if __name__ == "__main__":
    serve(server.http_app(path="/mcp", json_response=True))
