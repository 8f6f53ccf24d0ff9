"""Who is asking: bearer tokens, the challenges that refuse them, and reading those again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks._unset import Principal
from mcp_tasks.errors import Challenge, Forbidden, Unauthorized
from mcp_tasks.transports.http.auth import (
    ANONYMOUS,
    BearerAuth,
    Identity,
    challenge_headers,
    lower_challenge,
    parse_challenges,
)

from ._wire import FakeExchange

ADA = Identity(Principal("ada"), frozenset({"read", "write"}))
METADATA = "https://mcp.example.org/.well-known/oauth-protected-resource"


async def verify(token: str) -> Identity | None:
    return {"good": ADA, "poor": Identity(Principal("bob"), frozenset({"read"}))}.get(token)


def asked(authorization: str | None) -> FakeExchange:
    return FakeExchange(headers={} if authorization is None else {"Authorization": authorization})


@pytest.mark.requirement("C25-142")
@pytest.mark.parametrize("value", ["Bearer good", "bearer good", "BEARER  good ", "Bearer \t good"])
async def test_a_good_token(value: str) -> None:
    assert await BearerAuth(verify).authenticate(asked(value)) == ADA


@pytest.mark.parametrize(
    "value", [None, "", "Bearer", "Bearer ", "Basic good", "good", "Bearergood", "Token good", "Bearer: good"]
)
async def test_no_token(value: str | None) -> None:
    """RFC 6750 section 3.1: whoever has not tried is told no error code."""
    with pytest.raises(Unauthorized) as refused:
        await BearerAuth(verify, realm="mcp").authenticate(asked(value))
    assert refused.value.challenges == [Challenge("Bearer", {"realm": "mcp"})]


@pytest.mark.requirement("C25-361")
@pytest.mark.parametrize("value", ["Bearer bad", "Bearer good, Bearer good", "Bearer goodx", "Bearer Good"])
async def test_a_bad_token(value: str) -> None:
    auth = BearerAuth(verify, scopes=["read"], resource_metadata=METADATA)
    with pytest.raises(Unauthorized) as refused:
        await auth.authenticate(asked(value))
    assert refused.value.status == 401
    assert refused.value.challenges == [
        Challenge("Bearer", {"resource_metadata": METADATA, "scope": "read", "error": "invalid_token"})
    ]
    assert value.partition(" ")[2] not in str(refused.value), "a token is not repeated"


@pytest.mark.requirement("C25-375", "C25-379")
async def test_a_token_that_may_not_do_it() -> None:
    auth = BearerAuth(verify, scopes=["read", "write"], resource_metadata=METADATA)
    assert await auth.authenticate(asked("Bearer good")) == ADA
    with pytest.raises(Forbidden) as refused:
        await auth.authenticate(asked("Bearer poor"))
    assert refused.value.status == 403
    assert "write" in refused.value.message
    assert refused.value.challenges == [
        Challenge("Bearer", {"resource_metadata": METADATA, "scope": "read write", "error": "insufficient_scope"})
    ]


async def test_what_verify_raises_is_raised() -> None:
    async def broken(token: str) -> Identity | None:
        raise OSError("the directory is away")

    with pytest.raises(OSError, match="away"):
        await BearerAuth(broken).authenticate(asked("Bearer good"))


async def test_a_token_that_is_no_ascii_reaches_verify_as_it_came() -> None:
    tokens: list[str] = []

    def remembering(take: Callable[[str], Any]) -> Callable[[str], Awaitable[Identity | None]]:
        async def verify(token: str) -> Identity | None:
            take(token)
            return ADA

        return verify

    await BearerAuth(remembering(tokens.append)).authenticate(asked("Bearer t\xe9"))
    assert tokens == ["t\xe9"]


@pytest.mark.parametrize("principal", ["", ANONYMOUS])
def test_a_principal_is_somebody(principal: str) -> None:
    """What belongs to nobody belongs to whoever knows its id: nobody may be given that name by mistake."""
    with pytest.raises(ValueError, match="somebody"):
        Identity(principal)


# --- challenges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Bearer", [Challenge("Bearer")]),
        ('Bearer realm="mcp"', [Challenge("Bearer", {"realm": "mcp"})]),
        ("Bearer realm=mcp", [Challenge("Bearer", {"realm": "mcp"})]),
        ('Bearer realm="a, b=\\"c\\" \\\\ d"', [Challenge("Bearer", {"realm": 'a, b="c" \\ d'})]),
        ('bearer Realm = "a" ,SCOPE="b c"', [Challenge("bearer", {"realm": "a", "scope": "b c"})]),
        ('Bearer realm=""', [Challenge("Bearer", {"realm": ""})]),
        (
            'Basic realm="x", Bearer realm="y", error="invalid_token"',
            [Challenge("Basic", {"realm": "x"}), Challenge("Bearer", {"realm": "y", "error": "invalid_token"})],
        ),
        ('Negotiate, Bearer scope="a"', [Challenge("Negotiate"), Challenge("Bearer", {"scope": "a"})]),
        ('Negotiate oYH1MIHyoA==, Bearer scope="a"', [Challenge("Negotiate"), Challenge("Bearer", {"scope": "a"})]),
        (", , Bearer a=b, , ", [Challenge("Bearer", {"a": "b"})]),
        (
            f'Bearer resource_metadata="{METADATA}"',
            [Challenge("Bearer", {"resource_metadata": METADATA})],
        ),
        (
            'Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"',
            [
                Challenge("Newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
                Challenge("Basic", {"realm": "simple"}),
            ],
        ),
    ],
)
def test_challenges_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="open',
        'Bearer realm="a" error="b"',
        "Bearer =",
        "=",
        '"',
        "Bearer realm=",
        "é",
        'Bearer é="a"',
        "\\",
        "Bearer a=b c",
    ],
)
def test_what_cannot_be_read_is_left_out(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme in ("Bearer", "realm", "a", "c")


@given(header=st.text(st.sampled_from('Bearer,=" \\\t;a1é/'), max_size=60) | st.text(max_size=60))
def test_no_header_is_raised_about(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme


def test_a_long_header_is_read_in_time() -> None:
    """Nothing here goes over the text again and again."""
    long = 100_000
    for header in (
        *("a," * long, "a=" * long, '"' * long, " " * long, "a" * long),
        *("Bearer " + 'a="b", ' * long, "Bearer a=" + "b" * long),
        *("Bearer" + " " * long + "=", 'Bearer a="' + "\\" * long),
    ):
        parse_challenges(header)


tokens = st.text("!#$%&'*+.^_`|~0123456789abcxyz-", min_size=1, max_size=8)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
challenges_of_any_kind = st.builds(Challenge, tokens, st.dictionaries(tokens, texts, max_size=4))


@given(challenges=st.lists(challenges_of_any_kind, min_size=1, max_size=4))
def test_what_is_written_is_read(challenges: list[Challenge]) -> None:
    """One header each, which may be joined by commas on the way."""
    headers = challenge_headers(challenges)
    assert {name for name, _ in headers} == {b"WWW-Authenticate"}
    assert parse_challenges(", ".join(value.decode("latin-1") for _, value in headers)) == challenges


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\0", "a\x7f", "日本", "\u2028", "é"])
def test_a_challenge_stays_on_its_line(value: str) -> None:
    """The challenge may say what a user's function says."""
    written = lower_challenge(Challenge("Bearer", {"error_description": value}))
    assert not set(written) & {0, 10, 13, 127}
    [read] = parse_challenges(written.decode("latin-1"))
    assert read.params.keys() == {"error_description"}
