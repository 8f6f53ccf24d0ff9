"""The state that a server hands to a client to get it back later, sealed.

A request that first needs an answer from the client ends with a ``requestState``; the client repeats the request and
sends that text along. Whatever comes back may be made up, so it is encrypted and authenticated, says until when and
for whose request it is good, and is used up once its request was answered. Every refusal looks the same to the client;
`InvalidState.reason` is for our log. This module knows nothing of what a state holds.

The cipher is AES-256-GCM, which every build of ``cryptography`` has and processors do in hardware; AES-GCM-SIV would
forgive a nonce used twice, but wants OpenSSL 3.2. So no key sees two messages: each is encrypted under a key of its
own, derived from ours and the state's random serial. Two states share a key with a probability of 2^-33 after 2^48 of
them, and only if their random nonces were the same as well would that do harm.

Spec: basic/patterns/mrtr "Server Requirements" (C26-257 to C26-263).
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
import re
import secrets
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec
from attrs import frozen

from ._shape import Shape
from ._unset import JSON, JSONObject
from .clock import Clock
from .errors import InvalidParams, LimitReached

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Bound", "InvalidState", "OpenedState", "StateSeal"]

_KEY_BYTES = 32

# In the open: a version, which key, the serial, the nonce.
_HEAD: Final = struct.Struct(">c8s16s12s")
_VERSION = b"\x01"
# Encrypted: the expiry, whose it is, which request it is of, which seal made it as its how manieth, whether the payload
# is compressed; the payload follows.
_BODY: Final = struct.Struct(">d32s32s8sQ?")
_TAG_BYTES = 16
_COMPRESSED_ABOVE = 1024  # bytes
_PAGE_BITS = 65_536
_TEXT: Final = re.compile("[A-Za-z0-9_-]+")

_NOT_OF_THE_REQUEST: Final = frozenset({"_meta", "inputResponses", "requestState"})
"""Parameters that differ between a request and its repetition."""

_NO_JSON: Final = (TypeError, ValueError, RecursionError)


class InvalidState(InvalidParams):
    """A state that is not good for this request, or not any more.

    The requestor learns no more than that; `reason` is a phrase for the log, such as ``has expired``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("$.params.requestState: not a state of this request")
        self.reason = reason


@frozen(eq=False, repr=False)
class Bound(Shape):
    """What a state is good for: somebody's request.

    `params` may be as they came: what differs in the repetition, such as ``_meta``, is disregarded. The rest has to be
    the very same JSON, except for the order of members; 1, 1.0 and "1" are three different values.
    """

    principal: str
    method: str
    params: JSONObject

    def _digests(self) -> tuple[bytes, bytes]:
        """Of whose it is, and of the request. Raises TypeError, ValueError or RecursionError for what is no JSON."""
        params = {name: value for name, value in self.params.items() if name not in _NOT_OF_THE_REQUEST}
        request = msgspec.json.encode([self.method, params], order="deterministic")
        return hashlib.sha256(self.principal.encode()).digest(), hashlib.sha256(request).digest()


@frozen(eq=False, repr=False)
class OpenedState(Shape):
    """A state that has come back unharmed. `expires_at` is in seconds since the epoch.

    `number` counts the states of the seal that opened it; None if another one has sealed it.
    """

    payload: JSONObject
    serial: bytes
    expires_at: float
    number: int | None = None


class _Marks:
    """Which of our own states are used up: a bit for each, on pages that go when all on them has expired.

    So remembering takes little, however many clients there are, and nobody can fill it up for others.
    """

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._until: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number // _PAGE_BITS)
        return page is not None and bool(page[number % _PAGE_BITS // 8] >> number % 8 & 1)

    def add(self, number: int, expires_at: float) -> None:
        """Mark a state as used up."""
        at = number // _PAGE_BITS
        page = self._pages.get(at)
        if page is None:
            page = self._pages[at] = bytearray(_PAGE_BITS // 8)
        page[number % _PAGE_BITS // 8] |= 1 << number % 8
        self._until[at] = max(expires_at, self._until.get(at, 0.0))

    def forget(self, now: float) -> None:
        """Let go of the pages on which everything has expired."""
        for at in [at for at, until in self._until.items() if until <= now]:
            del self._pages[at], self._until[at]


class StateSeal:
    """Seals states, opens them, and remembers which were used.

    `keys` are of 32 random bytes each: the first one seals, any of them opens, and without any there is a random one,
    so that states end with this process. To change keys where several processes share them, first append the new one
    everywhere, then move it to the front, and drop the old one when `ttl` seconds are over. Raises ValueError for keys
    of another length, and for times and sizes that are not positive.

    A state is good for `ttl` seconds. That it is used once only holds within this process, and since its start:
    processes that share keys share no memory, and have to see to that by what else they share. Of states that another
    process has sealed up to `remembered` are remembered at once. Methods that look at `clock` must be called within a
    trio run; nothing here checkpoints.
    """

    def __init__(
        self,
        keys: Sequence[bytes] = (),
        *,
        ttl: float = 600.0,
        clock: Clock,
        remembered: int = 100_000,
        max_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        if not all(isinstance(key, bytes) and len(key) == _KEY_BYTES for key in keys):
            raise ValueError(f"every key has to be {_KEY_BYTES} bytes")
        if not (0 < ttl < float("inf") and remembered > 0 and max_bytes > 0):
            raise ValueError("ttl, remembered and max_bytes have to be positive, and finite")
        ring = list(keys) or [secrets.token_bytes(_KEY_BYTES)]
        self._keys = {_key_id(key): key for key in ring}
        self._sealing = _key_id(ring[0])
        self._ttl = ttl
        self._clock = clock
        self._remembered = remembered
        self._max_bytes = max_bytes
        self._max_text = -(-(_HEAD.size + _BODY.size + max_bytes + _TAG_BYTES) * 4 // 3)
        self._maker = secrets.token_bytes(8)
        self._count = 0
        self._claimed: dict[bytes, OpenedState] = {}
        self._marks = _Marks()
        # Of states that others have sealed, those that are used up: until they expire.
        self._spent: set[bytes] = set()
        self._expiries: list[tuple[float, bytes]] = []  # a heap

    def seal(self, payload: JSONObject, bound: Bound) -> str:
        """A text that opens to `payload`, for `bound` alone; it fits into a URL.

        Raises `LimitReached` if the payload is longer than `max_bytes` as JSON, and TypeError, ValueError or
        RecursionError if something is no JSON.
        """
        data = msgspec.json.encode(payload)
        if len(data) > self._max_bytes:
            raise LimitReached("The state of this request is too long", "request_state_bytes", self._max_bytes)
        compressed = len(data) > _COMPRESSED_ABOVE and len(packed := _pack(data)) < len(data)
        self._count += 1
        expires_at = self._clock.now() + self._ttl
        body = _BODY.pack(expires_at, *bound._digests(), self._maker, self._count, compressed)
        body += packed if compressed else data
        serial, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        head = _HEAD.pack(_VERSION, self._sealing, serial, nonce)
        return _to_text(head + _cipher(self._keys[self._sealing], serial).encrypt(nonce, body, head))

    def open(self, text: str, bound: Bound) -> OpenedState:
        """What was sealed. Raises `InvalidState`, whatever is wrong with `text` (C26-258, C26-260).

        That alone does not use it up; see `claim`.
        """
        raw = self._from_text(text)
        head, sealed = raw[: _HEAD.size], raw[_HEAD.size :]
        if len(sealed) < _BODY.size + _TAG_BYTES:
            raise InvalidState("is cut off")
        version, key_id, serial, nonce = _HEAD.unpack(head)
        key = self._keys.get(key_id)
        if version != _VERSION or key is None:
            raise InvalidState("was sealed with a key that we do not have")
        body = _decrypt(_cipher(key, serial), nonce, sealed, head)
        expires_at, principal, request, maker, count, compressed = _BODY.unpack_from(body)
        # "verify each on receipt": the principal, the expiry, the request (C26-262)
        if self._clock.now() >= expires_at:
            raise InvalidState("has expired")
        try:
            ours, this = bound._digests()
        except _NO_JSON:
            raise InvalidState("came with parameters that are no JSON") from None
        if not hmac.compare_digest(principal, ours):
            raise InvalidState("belongs to somebody else")
        if not hmac.compare_digest(request, this):
            raise InvalidState("belongs to another request")
        data = body[_BODY.size :]
        payload = _payload(_unpack(data, self._max_bytes) if compressed else data)
        return OpenedState(payload, serial, expires_at, count if maker == self._maker else None)

    def claim(self, opened: OpenedState) -> None:
        """Begin to use a state, before its request is served; `spend` or `release` comes next (C26-263).

        Raises `InvalidState` if it was used, is being used, or has expired meanwhile; `LimitReached` if it is another
        process's and so many of those are remembered that one would have to be forgotten before it expires. To refuse
        a client for a while does less harm than to let another use a state twice.
        """
        now = self._clock.now()
        self._forget(now)
        if now >= opened.expires_at:  # so what has just been forgotten cannot come back
            raise InvalidState("has expired")
        if opened.serial in self._claimed:
            raise InvalidState("is being used")
        if opened.serial in self._spent if opened.number is None else opened.number in self._marks:
            raise InvalidState("was used before")
        if opened.number is None and len(self._spent) >= self._remembered:
            raise LimitReached("Too many requests with a state", "request_states", self._remembered)
        self._claimed[opened.serial] = opened

    def spend(self, opened: OpenedState) -> None:
        """The answer has left: the state is used up. Does nothing for one that `opened` has not claimed."""
        if self._claimed.get(opened.serial) is not opened:
            return
        del self._claimed[opened.serial]
        if opened.number is not None:
            self._marks.add(opened.number, opened.expires_at)
        else:
            self._spent.add(opened.serial)
            heapq.heappush(self._expiries, (opened.expires_at, opened.serial))

    def release(self, opened: OpenedState) -> None:
        """The request was cancelled before it was answered: the client may send the state again.

        Does nothing for one that `opened` has not claimed, so whoever was refused cannot free it for another try.
        """
        if self._claimed.get(opened.serial) is opened:
            del self._claimed[opened.serial]

    def _forget(self, now: float) -> None:
        self._marks.forget(now)
        while self._expiries and self._expiries[0][0] <= now:
            self._spent.discard(heapq.heappop(self._expiries)[1])

    def _from_text(self, text: JSON) -> bytes:
        if not isinstance(text, str) or len(text) > self._max_text:
            raise InvalidState("is no text, or too long")
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if _TEXT.fullmatch(text) else b""
        except ValueError:
            raw = b""
        # The last character may have bits that decoding drops: one state is one text.
        if not raw or _to_text(raw) != text:
            raise InvalidState("is no base64")
        return raw


def _key_id(key: bytes) -> bytes:
    """A name for a key, which says nothing of it."""
    return hashlib.sha256(b"mcp_tasks state, key id\0" + key).digest()[:8]


def _cipher(key: bytes, serial: bytes) -> AESGCM:
    """The cipher of one state. The derivation is HKDF-Expand (RFC 5869), of which one block is enough."""
    return _aesgcm()(hmac.digest(key, b"mcp_tasks state, AES-256-GCM\0" + serial + b"\x01", "sha256"))


@lru_cache(maxsize=1)
def _aesgcm() -> type[AESGCM]:
    # Here, since it takes longer to import than all of this package, and most peers seal nothing.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM


def _decrypt(cipher: AESGCM, nonce: bytes, sealed: bytes, head: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, sealed, head)
    except InvalidTag:
        raise InvalidState("was tampered with") from None


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _pack(data: bytes) -> bytes:
    # Huffman codes alone. Part of a payload comes from the client, which sees how long the text is: were repetitions
    # shortened as well, it could guess at what else is in there until the text gets shorter.
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return packer.compress(data) + packer.flush()


def _unpack(packed: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = unpacker.decompress(packed, most + 1)
    except zlib.error:
        raise InvalidState("has a payload that is not compressed as it says") from None
    if len(data) > most:
        raise InvalidState("has a payload that is too long")
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidState("has a payload that is not compressed as it says")
    return data


def _payload(data: bytes) -> JSONObject:
    try:
        payload = msgspec.json.decode(data)
    except _NO_JSON:
        payload = None
    if not isinstance(payload, dict):
        raise InvalidState("has a payload that is no JSON object")
    return payload
