"""Testing helpers for whoever uses or extends mcp-tasks: joined peers, a scripted other side, checks, and leaks.

Nothing here sleeps or depends on speed: use `trio.testing.MockClock` (pytest-trio's ``autojump_clock``) for time, and
`Remote.quiet` or `trio.testing.wait_all_tasks_blocked` for "everything that can happen has happened".
"""

from ..dialects.base import Side
from ._checks import check_task_store, check_transport
from ._faults import Cut, Duplicate, Fault, Faults, FaultyStream, Garbage, Reorder, Split, Stall
from ._frames import Frame, dump_frame, parse_frame, show_frame
from ._http_client_wire import Exchange, HttpClientWire
from ._http_server_wire import HttpServerWire, Visit, open_http_server_wire
from ._leaks import LeakError, check_leaks
from ._monitor import Monitor, Violation, WatchedTask
from ._pair import Pair, peer_pair
from ._patterns import NothingCame, differences
from ._programs import open_server_wire, script_client, script_server
from ._relayed import RelayedWire, open_relayed_wire
from ._scripted import Remote, scripted
from ._wires import LineWire, Wire, open_program

__all__ = [
    "Cut",
    "Duplicate",
    "Exchange",
    "Fault",
    "Faults",
    "FaultyStream",
    "Frame",
    "Garbage",
    "HttpClientWire",
    "HttpServerWire",
    "LeakError",
    "LineWire",
    "Monitor",
    "NothingCame",
    "Pair",
    "RelayedWire",
    "Remote",
    "Reorder",
    "Side",
    "Split",
    "Stall",
    "Violation",
    "Visit",
    "WatchedTask",
    "Wire",
    "check_leaks",
    "check_task_store",
    "check_transport",
    "differences",
    "dump_frame",
    "open_http_server_wire",
    "open_program",
    "open_relayed_wire",
    "open_server_wire",
    "parse_frame",
    "peer_pair",
    "script_client",
    "script_server",
    "scripted",
    "show_frame",
]
