"""What a server lets its client keep for a while: results, until they go stale.

One cache belongs to one connection. Whose token a request had is part of what its result is kept under, as a token may
change meanwhile: a ``private`` result never crosses over (C26-310), and for us ``public`` makes no difference.
Nothing is fetched here: a stale result is simply not there, and is asked for again on next use (C26-304, C26-305).

Spec: server/utilities/caching (C26-294 to C26-319).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec
from attrs import frozen

from .._unset import UNSET, JSONObject, Unset
from ..wire.v2026_07_28 import CACHED

__all__ = ["ResultCache"]

_READ = "resources/read"
_LONGEST_MS = 10 * 365 * 86_400_000  # outlives any connection; an integer on the wire may be more than a float can hold
_OVERHEAD = 256  # bytes in memory besides the JSON text, of an entry and of each URI: roughly
_NO_JSON: Final = (TypeError, ValueError, RecursionError)

_Key: TypeAlias = tuple[str, bytes, bytes]


@frozen(eq=False)
class _Kept:
    """A result as JSON text, so that its size is known and nobody can change it."""

    text: bytes
    stale_at: float
    uris: frozenset[str]  # what a read result shows
    size: int


class ResultCache:
    """Fresh results by request; what was not used for longest makes room.

    There are at most `entries` of them, which take some `size_bytes`; zero of either keeps nothing. `now` tells
    seconds, as `trio.current_time` does.
    """

    def __init__(self, *, entries: int, size_bytes: int, now: Callable[[], float]) -> None:
        self._entries = entries
        self._size_bytes = size_bytes
        self._now = now
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()  # the least recently used first
        self._size = 0
        self._generation = 0

    @property
    def generation(self) -> int:
        """Changes with every `changed`, `updated` and `clear`; see `put`."""
        return self._generation

    def get(self, method: str, params: JSONObject | Unset, identity: str | None = None) -> JSONObject | None:
        """The fresh result of that very request, or None; a copy, which the caller may change.

        `params` are as on the wire, but ``_meta`` is disregarded. `identity` is what tells who we are.
        """
        key = _key(method, params, identity)
        kept = self._kept.get(key) if key is not None else None
        if key is None or kept is None:
            return None
        if self._now() >= kept.stale_at:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        result: JSONObject = msgspec.json.decode(kept.text)
        return result

    def put(
        self,
        method: str,
        params: JSONObject | Unset,
        result: JSONObject,
        identity: str | None = None,
        *,
        size_bytes: int | None = None,
        generation: int | None = None,
    ) -> None:
        """Keep a result that has just been received, if its hints and its size allow.

        It takes the place of an earlier one in any case. `size_bytes` is its length on the wire, where that is known:
        what is too long is then not even looked at. `generation` is what it was when the request was sent: if
        something was found to have changed since, the answer may be from before that, and is not kept.
        """
        key = _key(method, params, identity)
        if key is None:
            return
        self._drop(key)
        ttl_ms = _ttl_ms(result)
        if (
            ttl_ms <= 0
            or (generation is not None and generation != self._generation)
            or (size_bytes is not None and size_bytes > self._size_bytes)
        ):
            return
        try:
            text = msgspec.json.encode(result)
        except _NO_JSON:
            return
        uris = frozenset(_uris(params, result)) if method == _READ else frozenset[str]()
        size = _OVERHEAD * (1 + len(uris)) + len(key[2]) + len(text)
        if size > self._size_bytes:
            return
        self._kept[key] = _Kept(text, self._now() + ttl_ms / 1000, uris, size)
        self._size += size
        while len(self._kept) > self._entries or self._size > self._size_bytes:
            self._drop(next(iter(self._kept)))

    def changed(self, method: str) -> None:
        """Forget all pages of a list: it has changed, or one of its cursors was refused (C26-311, C26-315)."""
        self._forget(key for key in self._kept if key[0] == method)

    def updated(self, uri: str) -> None:
        """Forget what was read of this resource, or of one that it is a part of (C26-311).

        "This might be a sub-resource of the one that the client actually subscribed to."
        """
        self._forget(key for key, kept in self._kept.items() if any(_is_within(uri, shown) for shown in kept.uris))

    def clear(self) -> None:
        """Forget everything."""
        self._forget(iter(self._kept))

    def _forget(self, keys: Iterator[_Key]) -> None:
        self._generation += 1
        for key in list(keys):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size


def _key(method: str, params: JSONObject | Unset, identity: str | None) -> _Key | None:
    """What a result is kept under; None for a request whose result is never kept (C26-296, C26-297)."""
    # Other results have a ``ttlMs`` too, tasks for one, and there it means something else.
    if method not in CACHED:
        return None
    salient = {} if params is UNSET else {name: value for name, value in params.items() if name != "_meta"}
    # "MUST NOT be cached, as they depend on inputs that are not part of the cache key"
    if "inputResponses" in salient or "requestState" in salient:
        return None
    try:
        whose = b"" if identity is None else hashlib.sha256(identity.encode(errors="replace")).digest()
        return method, whose, msgspec.json.encode(salient, order="deterministic")
    except _NO_JSON:
        return None


def _ttl_ms(result: JSONObject) -> int:
    """How long the result may be kept; 0 for not at all (C26-295, C26-298 to C26-301).

    A scope that we have never heard of keeps it out; none at all counts as ``private``.
    """
    ttl_ms = result.get("ttlMs")
    if (
        type(ttl_ms) is not int  # true is no number
        or result.get("resultType", "complete") != "complete"
        or result.get("cacheScope", "private") not in ("public", "private")
    ):
        return 0
    return min(ttl_ms, _LONGEST_MS)


def _uris(params: JSONObject | Unset, result: JSONObject) -> Iterator[str]:
    """The resources that a read result shows: the one that was asked for, and those inside."""
    contents = result.get("contents")
    entries = contents if isinstance(contents, list) else []
    for entry in [{} if params is UNSET else params, *entries]:
        uri = entry.get("uri") if isinstance(entry, dict) else None
        if isinstance(uri, str):
            yield uri


def _is_within(uri: str, whole: str) -> bool:
    return uri == whole or (uri.startswith(whole) and (whole.endswith("/") or uri[len(whole)] in "/?#"))
