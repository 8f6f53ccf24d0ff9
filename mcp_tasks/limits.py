"""How much of everything one peer accepts. All limits are finite unless the user says otherwise.

Units are in the names: ``_ms`` milliseconds as on the wire, ``_bytes`` bytes; anything else is a count.
Spec: basic/utilities/tasks "Resource Management", which asks receivers to document these numbers.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt

from ._shape import Shape

__all__ = ["Limits"]


@frozen(kw_only=True, eq=False, repr=False)
class Limits(Shape):
    """The limits of one `Peer`; pass another one to change them.

    What the other side sees when one is hit: a request beyond `in_flight` or a task beyond `running_tasks` or
    `retained_tasks` is refused with an error that names the limit; a `ttl` is clamped; a message that is too long or
    too deep is answered with a parse error or an invalid request and skipped; a connection whose unread backlog
    passes `max_backlog_bytes` is closed.
    """

    running_tasks: int = field(default=1_000, validator=gt(0))
    """Unfinished tasks of one principal."""
    retained_tasks: int = field(default=10_000, validator=gt(0))
    """Tasks of one principal that have not expired, finished ones included."""
    default_ttl_ms: int = field(default=3_600_000, validator=gt(0))
    """The lifetime of a task whose requestor asked for none: one hour from its creation."""
    max_ttl_ms: int = field(default=86_400_000, validator=gt(0))
    """The longest lifetime that is granted: one day. Nobody is granted "for ever"."""
    poll_interval_ms: int = field(default=1_000, validator=gt(0))
    """How often a requestor is asked to poll."""
    in_flight: int = field(default=1_024, validator=gt(0))
    """Requests of one connection that are being served at once."""
    message_bytes: int = field(default=64 * 1024 * 1024, validator=gt(0))
    """One message on the wire."""
    json_depth: int = field(default=128, validator=ge(2))
    """Arrays and objects within each other, the message itself included."""
    backlog_bytes: int = field(default=1024 * 1024, validator=gt(0))
    """What may wait to be read by the other side before senders wait too."""
    max_backlog_bytes: int = field(default=256 * 1024 * 1024, validator=gt(0))
    """What may wait to be read before the other side counts as dead."""
    page_size: int = field(default=100, validator=gt(0))
    """Entries in one page of a list."""
    subscriptions: int = field(default=1_000, validator=gt(0))
    """Resources that one connection may be told about."""
    notices: int = field(default=10_000, validator=gt(0))
    """Received notifications that wait for a handler; the oldest is dropped, with a warning, when more arrive."""
    progress_backlog: int = field(default=1_000, validator=gt(0))
    """Progress reports that wait for one caller; the oldest is dropped when more arrive."""
