"""The names that the protocol has for what is in ``_meta`` and for extensions, for all who read or write a wire."""

from __future__ import annotations

from mcp_tasks.wire.v2025_11_25 import RELATED_TASK as RELATED
from mcp_tasks.wire.v2026_07_28 import CLIENT_CAPABILITIES as CAPABILITIES
from mcp_tasks.wire.v2026_07_28 import CLIENT_INFO, SERVER_INFO
from mcp_tasks.wire.v2026_07_28 import PROTOCOL_VERSION as VERSION
from mcp_tasks.wire.v2026_07_28 import SUBSCRIPTION_ID as SUBSCRIPTION
from mcp_tasks.wire.v2026_07_28 import TASKS_EXTENSION as TASKS

__all__ = ["CAPABILITIES", "CLIENT_INFO", "RELATED", "SERVER_INFO", "SUBSCRIPTION", "TASKS", "VERSION"]
