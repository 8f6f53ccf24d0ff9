"""What a server owes to the headers of a request, which repeat its body (2026-07-28, HTTP).

Spec: basic/transports/streamable-http, "Request Metadata".
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from mcp_tasks.testing import Frame

from ..names import VERSION
from ..odd_requests import told
from ..scenario import scenario
from ..server_session import ServerSession

_HTTP = ("http",)
_OLDER = "2025-11-25"


def _call(s: ServerSession) -> tuple[str, dict[str, Any]]:
    method, params = s.request_for("quick")
    assert s.stamp is not None
    return method, {**params, "_meta": dict(s.stamp)}


def _encoded(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


def _refused(s: ServerSession, answer: Frame, what: str, *ids: str) -> None:
    refused = answer.code == -32020 and answer.status == 400
    for id in (*ids, "C26-206"):
        s.judge(id, refused, f"{what}: the request is refused with the HTTP status 400 and -32020", answer)


@scenario("C26-204", "C26-206", leg="server", needs="quick", transports=_HTTP)
async def headers_that_say_otherwise(s: ServerSession) -> None:
    """The method or the name in the headers is not that of the body, is missing, or cannot be read."""
    method, params = _call(s)
    name = params["name"]
    wrong: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = [
        ("Mcp-Method names another method", {"mcp-method": "tools/list"}, ("C26-204",)),
        ("Mcp-Name names another tool", {"mcp-name": f"{name}-not"}, ("C26-204",)),
        ("Mcp-Name is another name in Base64", {"mcp-name": _encoded(f"{name}-not")}, ("C26-204",)),
        ("there is no Mcp-Method", {"mcp-method": None}, ()),
        ("there is no Mcp-Name", {"mcp-name": None}, ()),
        ("Mcp-Name is no Base64", {"mcp-name": "=?base64?%%%?="}, ()),
    ]
    for what, headers, ids in wrong:
        _refused(s, await told(s, method, params, headers=headers), what, *ids)


@scenario("C26-170", leg="server", transports=_HTTP)
async def a_version_header_that_says_otherwise(s: ServerSession) -> None:
    """The version in the header is not that of the body."""
    assert s.stamp is not None
    params = {"_meta": {**s.stamp, VERSION: _OLDER}}
    headers = {"mcp-protocol-version": s.era, "mcp-method": "server/discover"}
    answer = await told(s, "server/discover", params, headers=headers)
    # Which is wrong first, that they differ or that the one in the body is not spoken, nobody says.
    speaks = _OLDER in (s.opening.result.get("supportedVersions") or ())
    refused = answer.code == -32020 or (answer.code == -32022 and not speaks)
    expected = f"{s.era} in the header and {_OLDER} in the body are refused with 400 and -32020"
    s.judge("C26-170", refused and answer.status == 400, expected, answer)
    params = {"_meta": dict(s.stamp)}
    answer = await told(s, "server/discover", params, headers={"mcp-protocol-version": _OLDER})
    # A server of two eras may take this for a request of the older one, in which it has no session.
    refused = answer.status == 400 and "result" not in answer.object
    expected = f"{_OLDER} in the header and {s.era} in the body are refused with 400"
    s.judge("C26-170", refused, expected, answer)


@scenario("C26-194", "C26-203", leg="server", needs="quick", transports=_HTTP)
async def headers_in_another_dress(s: ServerSession) -> None:
    """The names of headers in other letters and a name in Base64 are as good; values in other letters are not."""
    method, params = _call(s)
    name = params["name"]
    answer = await told(s, method, params, headers={"mcp-name": _encoded(name)})
    taken = answer.code != -32020 and answer.is_response
    s.judge("C26-194", taken, "Mcp-Name in Base64 is decoded before it is compared", answer)
    dressed = {
        "mcp-method": None,
        "MCP-METHOD": method,
        "mcp-name": None,
        "McP-nAmE": name,
        "mcp-protocol-version": None,
        "MCP-PROTOCOL-VERSION": params["_meta"][VERSION],
    }
    answer = await told(s, method, params, headers=dressed)
    taken = answer.code != -32020 and answer.is_response
    s.judge("C26-203", taken, "the names of headers are the same in capital letters", answer)
    _refused(s, await told(s, method, params, headers={"mcp-method": method.upper()}), method.upper(), "C26-203")
    if (other := name.swapcase()) != name:
        _refused(s, await told(s, method, params, headers={"mcp-name": other}), f"Mcp-Name is {other}", "C26-203")
