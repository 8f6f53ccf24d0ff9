"""Which names a server answers to, and which pages it serves: the table that keeps DNS rebinding out."""

from __future__ import annotations

import pytest

from mcp_tasks.errors import LocalProtocolError
from mcp_tasks.transports.http.hosts import HostRules, is_loopback

pytestmark = pytest.mark.requirement("C25-080")

ON_LOOPBACK = HostRules("127.0.0.1")
ON_LOCALHOST = HostRules("localhost")
ON_IPV6 = HostRules("::1")
UNKNOWN = HostRules(None)
EVERYWHERE = HostRules("0.0.0.0")
ON_NAME = HostRules("mcp.example.org")
ALLOWED = HostRules("127.0.0.1", hosts=["mcp.example.org", "other.example.org:8443"])
BOTH = HostRules(
    "0.0.0.0", hosts=["mcp.example.org"], origins=["https://app.example.org", "HTTP://Old.example.org:81/"]
)
ANY_HOST = HostRules("127.0.0.1", hosts=["*"])
ANY = HostRules("0.0.0.0", hosts=["*"], origins=["*"])


@pytest.mark.parametrize("rules", [ON_LOOPBACK, ON_LOCALHOST, ON_IPV6, UNKNOWN], ids=["v4", "name", "v6", "unknown"])
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8000", True),
        ("LocalHost:8000", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("127.9.9.9:80", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1.nip.io:80", False),
        ("evil.example.localhost", False),
        ("192.168.0.5", False),
        ("192.168.0.5:8000", False),
        ("[fe80::1]", False),
        ("0.0.0.0", False),
        ("", False),
        (":8000", False),
        ("localhost:port", False),
        ("localhost:99999", False),
        ("[::1", False),
        ("::1]", False),
        ("2130706433", False),
        ("*", False),
    ],
)
def test_a_server_of_this_machine_answers_to_this_machine(rules: HostRules, host: str, known: bool) -> None:
    assert (rules.objection(host.encode(), None) is None) is known


@pytest.mark.parametrize(
    ("rules", "host", "known"),
    [
        (EVERYWHERE, "192.168.0.5:8000", True),
        (EVERYWHERE, "[2001:db8::1]:8000", True),
        (EVERYWHERE, "127.0.0.1", True),
        (EVERYWHERE, "localhost", True),
        (EVERYWHERE, "evil.example", False),
        (ON_NAME, "mcp.example.org", True),
        (ON_NAME, "MCP.example.org:443", True),
        (ON_NAME, "www.example.org", False),
        (ON_NAME, "sub.mcp.example.org", False),
        (ALLOWED, "mcp.example.org", True),
        (ALLOWED, "mcp.example.org:1234", True),
        (ALLOWED, "other.example.org:8443", True),
        (ALLOWED, "other.example.org", False),
        (ALLOWED, "other.example.org:1", False),
        (ALLOWED, "localhost", True),
        (BOTH, "mcp.example.org", True),
        (BOTH, "app.example.org", False),
        (ANY_HOST, "whatever.example", True),
        (ANY, "", True),
    ],
)
def test_what_else_a_server_answers_to(rules: HostRules, host: str, known: bool) -> None:
    assert (rules.objection(host.encode(), None) is None) is known


def test_no_host_at_all() -> None:
    assert ON_LOOPBACK.objection(None, None) is not None
    assert ANY.objection(None, None) is None


@pytest.mark.requirement("C25-081")
@pytest.mark.parametrize(
    ("rules", "host", "origin", "served"),
    [
        # Pages of this machine, on a server for this machine.
        (ON_LOOPBACK, "localhost:8000", "http://localhost:3000", True),
        (ON_LOOPBACK, "localhost:8000", "https://127.0.0.1", True),
        (ON_LOOPBACK, "localhost:8000", "http://[::1]:3000", True),
        (ON_LOOPBACK, "localhost:8000", "HTTP://LOCALHOST:3000", True),
        # The pages that the rules are about.
        (ON_LOOPBACK, "localhost:8000", "http://evil.example", False),
        (ON_LOOPBACK, "evil.example:8000", "http://evil.example:8000", False),
        (ON_LOOPBACK, "localhost:8000", "http://localhost.evil.example", False),
        (ON_LOOPBACK, "localhost:8000", "http://localhost@evil.example", False),
        (ON_LOOPBACK, "localhost:8000", "http://127.0.0.1.evil.example", False),
        (ON_LOOPBACK, "localhost:8000", "http://192.168.0.5", False),
        (ON_LOOPBACK, "localhost:8000", "null", False),
        (ON_LOOPBACK, "localhost:8000", "", False),
        (ON_LOOPBACK, "localhost:8000", "localhost", False),
        (ON_LOOPBACK, "localhost:8000", "file://localhost", False),
        (ON_LOOPBACK, "localhost:8000", "http://[::1", False),
        (ON_LOOPBACK, "localhost:8000", "http://localhost, http://evil.example", False),
        (ON_LOOPBACK, "localhost:8000", "*", False),
        # A page of the very server.
        (EVERYWHERE, "192.168.0.5:8000", "http://192.168.0.5:8000", True),
        (EVERYWHERE, "192.168.0.5:8000", "http://192.168.0.5:9000", False),
        (EVERYWHERE, "192.168.0.5:8000", "http://192.168.0.6:8000", False),
        (EVERYWHERE, "192.168.0.5:8000", "http://localhost:3000", False),
        (ON_NAME, "mcp.example.org", "https://mcp.example.org", True),
        # Those that were named.
        (BOTH, "mcp.example.org", "https://app.example.org", True),
        (BOTH, "mcp.example.org", "https://APP.example.org", True),
        (BOTH, "mcp.example.org", "http://old.example.org:81", True),
        (BOTH, "mcp.example.org", "http://app.example.org", False),
        (BOTH, "mcp.example.org", "https://app.example.org:444", False),
        (BOTH, "mcp.example.org", "https://app.example.org.evil.example", False),
        (BOTH, "mcp.example.org", "https://mcp.example.org", True),
        (ANY, "mcp.example.org", "http://evil.example", True),
        (ANY, "mcp.example.org", "null", True),
    ],
)
def test_which_pages_are_served(rules: HostRules, host: str, origin: str, served: bool) -> None:
    assert (rules.objection(host.encode(), origin.encode()) is None) is served


@pytest.mark.requirement("C25-081")
def test_any_host_is_not_any_page() -> None:
    """Where every name is answered to, that a page has the same name as we proves nothing: it is rebinding itself."""
    assert ANY_HOST.objection(b"evil.example", b"http://evil.example") is not None


def test_the_objection_says_what_can_be_done() -> None:
    host, origin = ON_LOOPBACK.objection(b"me.example", None), ON_LOOPBACK.objection(b"localhost", b"http://it.example")
    assert host is not None
    assert "'me.example'" in host
    assert "allowed_hosts" in host
    assert origin is not None
    assert "'http://it.example'" in origin
    assert "allowed_origins" in origin


@pytest.mark.parametrize(
    "host", [b"\xff\xfe", b"a" * 1000, b"\xd9\xa5", b"[::1]:\xb2", b"[v1.x]", b"\xe2\x84\x80", b"//", b"a/b"]
)
def test_odd_hosts_are_not_raised_about(host: bytes) -> None:
    for rules in (ON_LOOPBACK, EVERYWHERE):
        assert rules.objection(host, None) is not None
        assert rules.objection(b"127.0.0.1", b"http://x" + host) is not None


def test_the_memory_of_verdicts_is_bounded() -> None:
    rules = HostRules("127.0.0.1")
    for number in range(2000):
        assert rules.objection(b"evil-%d.example" % number, None) is not None
        assert rules.objection(b"localhost:%d" % number, None) is None
        assert len(rules._seen) <= 256
    assert rules.objection(b"evil-1999.example", None) is not None, "remembered, it is the same"


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("localhost", True),
        ("Localhost.", True),
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_what_this_machine_is(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


@pytest.mark.parametrize("names", [{"hosts": "example.org"}, {"origins": "https://example.org"}])
def test_one_name_is_no_list_of_names(names: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError, match="lists of names"):
        HostRules("127.0.0.1", **names)  # type: ignore[arg-type]
