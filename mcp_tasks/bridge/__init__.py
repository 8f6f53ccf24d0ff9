"""A bridge: a server of one era, served to clients of both."""

from __future__ import annotations

from .opening import Upstream, bridge

__all__ = ["Upstream", "bridge"]
