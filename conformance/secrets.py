"""What must not get into a report: who we are to the program under test.

Reports are shown around. So whatever we were given to identify ourselves with (tokens, headers of a configuration,
what a URL has beside its place) is left out wherever it occurs, said by us or echoed, and so are headers that are
secret by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import evolve

from .verdicts import Play

__all__ = ["HIDDEN", "hide", "of_headers", "of_url"]

HIDDEN = "[redacted]"
_HEADERS = frozenset(
    {"authorization", "cookie", "mcp-session-id", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token"}
)
_SHORTEST = 6
"""Shorter values are no secrets, and would be found everywhere."""


def of_headers(headers: Mapping[str, str]) -> set[str]:
    """The secrets in headers that we were told to send: each value, and what stands behind a scheme such as Bearer."""
    found = set()
    for value in headers.values():
        found |= {value, value.partition(" ")[2]}
    return {value for value in found if len(value) >= _SHORTEST}


def of_url(url: str) -> set[str]:
    """The secrets in a URL: a password, and the values of its query."""
    where = urlsplit(url)
    found = {where.password or "", where.query, *(value for _, value in parse_qsl(where.query))}
    return {value for value in found if len(value) >= _SHORTEST}


def hide(found: Play, secrets: Collection[str]) -> None:
    """Leave secrets out of a play that is over: out of what was said, and what was found."""
    longest_first = sorted(secrets, key=len, reverse=True)
    for frame in found.frames:
        frame.headers = {
            name: HIDDEN if name.lower() in _HEADERS else _without(value, longest_first)
            for name, value in frame.headers.items()
        }
        if longest_first:
            frame.message = _without(frame.message, longest_first)
            for secret in longest_first:
                frame.raw = frame.raw.replace(secret.encode(), HIDDEN.encode())
    if longest_first:
        found.findings = [
            evolve(finding, expected=_without(finding.expected, longest_first)) for finding in found.findings
        ]
        found.trouble = _without(found.trouble, longest_first)
        found.stderr = _without(found.stderr, longest_first)


def _without(value: Any, secrets: Iterable[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, dict):
        return {_without(name, secrets): _without(part, secrets) for name, part in value.items()}
    if isinstance(value, list):
        return [_without(part, secrets) for part in value]
    return value
