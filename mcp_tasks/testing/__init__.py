"""Testing helpers for whoever uses or extends mcp-tasks: joined peers, a scripted other side, checks, and leaks.

Nothing here sleeps or depends on speed: use `trio.testing.MockClock` (pytest-trio's ``autojump_clock``) for time, and
`Remote.quiet` or `trio.testing.wait_all_tasks_blocked` for "everything that can happen has happened".
"""

from ._checks import check_task_store, check_transport
from ._leaks import LeakError, check_leaks
from ._pair import Pair, peer_pair
from ._scripted import Remote, scripted

__all__ = [
    "LeakError",
    "Pair",
    "Remote",
    "check_leaks",
    "check_task_store",
    "check_transport",
    "peer_pair",
    "scripted",
]
