"""Which dialect is spoken: in a handshake, in a request that says it itself, and to a server that has been asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_tasks import (
    HANDSHAKE,
    UNSET,
    V2025_11_25,
    V2026_07_28,
    ConnectionClosed,
    InvalidParams,
    MCPError,
    Refusal,
    RemoteProtocolError,
    RequestFailed,
    UnsupportedRevision,
)
from mcp_tasks.dialects.base import Terms
from mcp_tasks.dialects.select import (
    DIALECTS,
    LATEST,
    LATEST_HANDSHAKE,
    TermsReader,
    accept,
    fallback,
    negotiate,
    offers,
)
from mcp_tasks.wire.jsonrpc import Request
from mcp_tasks.wire.v2026_07_28 import CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROTOCOL_VERSION, REVISION

requirement = pytest.mark.requirement
SESSION = Terms(dialect=V2025_11_25)
ALONE = Terms(dialect=V2026_07_28)
META = {PROTOCOL_VERSION: REVISION, CLIENT_CAPABILITIES: {}}


def read(
    meta: Any, *, reader: TermsReader | None = None, session: Terms = SESSION, opened: bool = False, method: str = "x"
) -> Terms:
    params = UNSET if meta is UNSET else {"_meta": meta}
    return (reader or TermsReader()).read(Request(1, method, params), session, opened=opened)


# --- the table --------------------------------------------------------------------------------------------------------


def test_all_revisions_newest_first() -> None:
    assert list(DIALECTS) == sorted(DIALECTS, reverse=True)
    assert list(DIALECTS) == [REVISION, *HANDSHAKE]
    assert all(dialect.revision == revision for revision, dialect in DIALECTS.items())
    assert [dialect.stateless for dialect in DIALECTS.values()] == [True, False, False, False, False]
    assert (LATEST, LATEST_HANDSHAKE) == (V2026_07_28, V2025_11_25)


@requirement("C25-050", "C25-051", "C25-052", "C26-100")
def test_a_handshake_is_never_about_the_newest() -> None:
    for revision, dialect in HANDSHAKE.items():
        assert negotiate(revision) is dialect
        assert accept(revision) is dialect
    for revision in (REVISION, "", "2030-01-01"):
        assert negotiate(revision) is LATEST_HANDSHAKE
        with pytest.raises(RemoteProtocolError):
            accept(revision)


# --- a server: the terms of a request ---------------------------------------------------------------------------------


@requirement("C26-099", "C26-101")
@pytest.mark.parametrize("session", [SESSION, ALONE], ids=["session", "alone"])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("method", ["tools/list", "initialize", "server/discover", "x"])
def test_a_request_that_names_its_revision_is_read_in_that(session: Terms, opened: bool, method: str) -> None:
    terms = read(META, session=session, opened=opened, method=method)
    assert terms.dialect is V2026_07_28


@requirement("C26-100")
@pytest.mark.parametrize("meta", [UNSET, {}, {"progressToken": 1}, None, 3, []])
def test_any_other_belongs_to_the_session(meta: Any) -> None:
    for opened, method in ((True, "tools/list"), (True, "server/discover"), (False, "initialize"), (False, "ping")):
        assert read(meta, opened=opened, method=method) is SESSION


@requirement("C26-055")
@pytest.mark.parametrize("meta", [UNSET, {}, {"progressToken": 1}, None, 3, []])
def test_where_there_is_no_session_it_has_to_say_its_terms(meta: Any) -> None:
    with pytest.raises(InvalidParams, match=r"\$\.params\._meta"):
        read(meta, session=ALONE, opened=True)
    for method in ("server/discover", "subscriptions/listen", "tasks/update"):
        with pytest.raises(InvalidParams, match=r"\$\.params\._meta"):
            read(meta, method=method)


@requirement("C26-055")
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize(
    "meta",
    [
        {PROTOCOL_VERSION: REVISION},
        {PROTOCOL_VERSION: None, CLIENT_CAPABILITIES: {}},
        {PROTOCOL_VERSION: None},
        {CLIENT_CAPABILITIES: {}},
    ],
)
def test_half_of_what_has_to_be_said_is_refused(meta: Any, opened: bool) -> None:
    with pytest.raises(InvalidParams, match=r"\$\.params\._meta"):
        read(meta, opened=opened)


@requirement("C26-085")
@pytest.mark.parametrize("revision", ["2025-11-25", "2024-11-05", "2030-01-01", ""])
def test_a_revision_that_is_not_read_from_requests(revision: str) -> None:
    for session in (SESSION, ALONE):
        with pytest.raises(UnsupportedRevision) as caught:
            read({**META, PROTOCOL_VERSION: revision}, session=session)
        assert caught.value.data == {"supported": list(DIALECTS), "requested": revision}


@pytest.mark.parametrize("revision", [1, True, [], {}, 1.5])
def test_a_revision_that_is_no_text(revision: Any) -> None:
    with pytest.raises(InvalidParams):
        read({**META, PROTOCOL_VERSION: revision})


@requirement("C26-031")
def test_what_is_said_the_same_is_read_once() -> None:
    reader = TermsReader()
    assert not reader.any
    read({}, reader=reader, opened=True)
    assert not reader.any
    first = read({**META, "progressToken": 1}, reader=reader)
    assert reader.any
    assert read({"progressToken": 2, **META}, reader=reader) is first
    other = read({**META, LOG_LEVEL: "debug"}, reader=reader)
    assert other is not first
    assert (first.log_level, other.log_level) == (None, "debug")
    assert read(META, reader=reader).log_level is None


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, "x", REVISION]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["roots", "sampling", "tools", "elicitation", "extensions", "x"]), inner)
    ),
    max_leaves=6,
)
INFOS = st.just({"name": "a", "version": "1"}) | st.fixed_dictionaries({"name": VALUES, "version": VALUES}) | VALUES
METAS = VALUES | st.fixed_dictionaries(
    {},
    optional={
        PROTOCOL_VERSION: st.just(REVISION) | VALUES,
        CLIENT_CAPABILITIES: st.just({})
        | st.dictionaries(st.sampled_from(["roots", "sampling", "x"]), VALUES)
        | VALUES,
        CLIENT_INFO: INFOS,
        LOG_LEVEL: st.sampled_from(["debug", "error", "loud"]) | VALUES,
    },
)


def verdict(reader: TermsReader, meta: Any, *, opened: bool, session: Terms, method: str) -> Any:
    try:
        terms = read(meta, reader=reader, opened=opened, session=session, method=method)
    except Refusal as refusal:
        return type(refusal), refusal.message, refusal.data
    return terms.dialect, repr(terms.capabilities), repr(terms.info), terms.log_level


@requirement("C26-031", "C26-058")
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(
    metas=st.lists(METAS, min_size=1, max_size=6),
    opened=st.booleans(),
    session=st.sampled_from([SESSION, ALONE]),
    method=st.sampled_from(["x", "tools/call", "server/discover"]),
)
def test_nothing_is_drawn_from_earlier_requests(metas: list[Any], opened: bool, session: Terms, method: str) -> None:
    """Whatever is said is read or refused, with nothing but a `Refusal`, and the same whoever asked before."""
    reader = TermsReader()
    options: dict[str, Any] = {"opened": opened, "session": session, "method": method}
    for meta in [one for one in metas for _ in range(2)]:
        assert verdict(reader, meta, **options) == verdict(TermsReader(), meta, **options)


# --- a client: what an answer says of a server ------------------------------------------------------------------------


@requirement("C26-136", "C26-137")
@pytest.mark.parametrize(
    "failure",
    [
        RequestFailed(-32601, "Method not found"),
        RequestFailed(-32602, "Invalid params"),
        RequestFailed(-32600, "not initialized"),
        RequestFailed(-32000, "anything"),
        RequestFailed(0, ""),
        RemoteProtocolError("no answer"),
        ConnectionClosed("gone"),
    ],
    ids=repr,
)
def test_whatever_a_modern_server_would_not_say_means_an_older_one(failure: MCPError) -> None:
    assert fallback(failure) == "2025-11-25"


@pytest.mark.parametrize(
    ("failure", "verdict"),
    [
        (RequestFailed(-32020, "m"), None),
        (RequestFailed(-32021, "m", {"requiredCapabilities": {}}), None),
        (RequestFailed(-32022, "m"), None),
        (RequestFailed(-32022, "m", {"supported": "2025-11-25"}), None),
        (RequestFailed(-32022, "m", {"supported": ["2030-01-01"]}), None),
        (RequestFailed(-32022, "m", {"supported": ["2024-11-05", "2025-06-18"]}), "2025-06-18"),
        (RequestFailed(-32022, "m", [1]), None),
        (RequestFailed(-32022, "m", {"supported": [1, None, {}]}), None),
    ],
    ids=repr,
)
def test_what_a_modern_error_says(failure: RequestFailed, verdict: str | None) -> None:
    assert fallback(failure) == verdict


@requirement("C26-094")
def test_a_refusal_that_lists_the_revision() -> None:
    assert offers(RequestFailed(-32022, "m", {"supported": ["x", REVISION]}), REVISION)
    for code, data in (
        (-32022, {"supported": ["x"]}),
        (-32022, {"supported": REVISION}),
        (-32022, None),
        (-32022, UNSET),
        (-32602, {"supported": [REVISION]}),
    ):
        assert not offers(RequestFailed(code, "m", data), REVISION)
