"""Payloads at rest: as they are, or sealed, so that whoever has the file has no more than ids, times and sizes.

The cipher is AES-256-GCM, from ``cryptography``. Each task has a key of its own, derived from ours and its id, so that
random nonces stay far below what one key is good for, however many tasks there are; which part of a task it is, is
authenticated along with a payload. What this does not do: somebody who can write to the file can put an older payload
in the place of a newer one of the same task.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .._unset import TaskId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Box", "PlainBox", "SealedBox", "box_for"]

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class PlainBox:
    """Keeps payloads as they are."""

    sealed = False

    def put(self, id: TaskId | str, part: str, payload: bytes) -> bytes:
        """A payload as it is kept; `part` says which of the task's."""
        return payload

    def take(self, id: TaskId | str, part: str, kept: bytes) -> bytes:
        """The payload that was kept. Raises ValueError if it is none of that task and part."""
        return kept

    def name(self, principal: str) -> str:
        """What a principal's tasks are found by."""
        return principal


class SealedBox(PlainBox):
    """Seals payloads with `key`, of 32 random bytes. Raises ValueError for any other."""

    sealed = True

    def __init__(self, key: bytes) -> None:
        if not (isinstance(key, bytes) and len(key) == _KEY_BYTES):
            raise ValueError(f"the key has to be {_KEY_BYTES} bytes")
        self._payloads = hmac.digest(key, b"mcp_tasks store, payloads", "sha256")
        self._names = hmac.digest(key, b"mcp_tasks store, principals", "sha256")
        self._ciphers = lru_cache(maxsize=4096)(self._cipher)

    def _cipher(self, id: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(self._payloads, id.encode(), "sha256"))

    def put(self, id: TaskId | str, part: str, payload: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers(id).encrypt(nonce, payload, part.encode())

    def take(self, id: TaskId | str, part: str, kept: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._ciphers(id).decrypt(kept[:_NONCE_BYTES], kept[_NONCE_BYTES:], part.encode())
        except InvalidTag:
            raise ValueError(
                f"what is kept of {id!r} as {part!r} was sealed with another key, or tampered with"
            ) from None

    def name(self, principal: str) -> str:
        return hmac.digest(self._names, principal.encode(), "sha256").hex()


Box = PlainBox
"""Either of them."""


def box_for(key: bytes | None) -> Box:
    """The one for a key, or for none. Raises ValueError for a key of the wrong length."""
    return PlainBox() if key is None else SealedBox(key)
