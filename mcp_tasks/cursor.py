"""Opaque, tamper-proof positions in a list.

A cursor names the last entry that was handed out, not a number of entries, so it stays right while entries come and
go. It is sealed with a key of the process and bound to what list it belongs to and whose it is: a cursor that was
edited, made up, or handed to someone else is none.

Spec: server/utilities/pagination (C25-262, C25-266), basic/utilities/tasks (T25-109 to T25-111, T25-131).
"""

from __future__ import annotations

import base64
import hmac
import secrets

from ._unset import Cursor
from .errors import InvalidCursor

__all__ = ["CursorSeal"]

_TAG_BYTES = 12


class CursorSeal:
    """Makes cursors and opens them; `secret` lets several processes share a list."""

    def __init__(self, secret: bytes | None = None) -> None:
        self._secret = secrets.token_bytes(32) if secret is None else secret

    def rekey(self, secret: bytes) -> None:
        """Use another secret from now on; cursors that were handed out before are none any more."""
        self._secret = secret

    def seal(self, scope: str, position: str) -> Cursor:
        """A cursor for the entries after `position` of the list `scope`."""
        text = position.encode()
        return base64.urlsafe_b64encode(self._tag(scope, text) + text).decode().rstrip("=")

    def open(self, scope: str, cursor: Cursor) -> str:
        """The position in a cursor of the list `scope`. Raises `InvalidCursor`."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            tag, text = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
            position = text.decode()
        except ValueError:
            raise InvalidCursor from None
        if not hmac.compare_digest(tag, self._tag(scope, text)):
            raise InvalidCursor
        return position

    def _tag(self, scope: str, text: bytes) -> bytes:
        return hmac.digest(self._secret, f"{len(scope)}:{scope}:".encode() + text, "sha256")[:_TAG_BYTES]
