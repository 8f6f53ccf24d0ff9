"""How much of everything one peer accepts. All limits are finite unless the user says otherwise.

Units are in the names: ``_ms`` milliseconds as on the wire, ``_bytes`` bytes; anything else is a count.
Spec: basic/utilities/tasks "Resource Management", which asks receivers to document these numbers.
"""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt

from ._shape import Shape

__all__ = ["HttpClientLimits", "HttpLimits", "Limits"]


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
    task_runs: int = field(default=10, validator=gt(0))
    """How often a restartable task is begun: one that is interrupted every time may be what brings its process down."""
    tasks_at_once: int = field(default=100, validator=gt(0))
    """With how many tasks that have something to do one process of several takes no new ones of the others.

    What waits for an answer is beyond that, and so is what was made there or is left by one that has died.
    """
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
    """Resources that one connection may be told about; and requests that listen, on one connection.

    Over HTTP without sessions that is one principal, or all together who do not say who they are.
    """
    notices: int = field(default=10_000, validator=gt(0))
    """Received notifications that wait for a handler; the oldest is dropped, with a warning, when more arrive."""
    grace_seconds: float = field(default=1.0, validator=ge(0))
    """How long an optional task may take before it becomes one, where the server decides (2026-07-28)."""
    rounds: int = field(default=16, validator=gt(0))
    """How often one request may be answered with questions, and how often we answer and repeat one."""
    state_seconds: float = field(default=600.0, validator=gt(0))
    """How long the answers to such questions may take."""
    probe_seconds: float = field(default=5.0, validator=gt(0))
    """How long a server may take to say what it speaks, before we take it for one that knows no such question."""
    cached_results: int = field(default=256, validator=ge(0))
    """Results that a client keeps for as long as the server said."""
    cached_bytes: int = field(default=8 * 1024 * 1024, validator=ge(0))
    """Their size."""
    progress_backlog: int = field(default=1_000, validator=gt(0))
    """Progress reports that wait for one caller; the oldest is dropped when more arrive."""


@frozen(kw_only=True, eq=False, repr=False)
class HttpLimits(Shape):
    """The limits of one HTTP endpoint; those of `Limits` hold besides, `message_bytes` for the body among them.

    What a client sees when one is hit: 431 for a head that is too long, 413 for a body, 408 for one that is too slow,
    503 beyond a number of connections, sessions or requests, 409 beyond a number of streams. A session that has ended
    is 404. Times are seconds unless they say otherwise.
    """

    connections: int = field(default=4_096, validator=gt(0))
    """Open at once."""
    header_bytes: int = field(default=64 * 1024, validator=gt(0))
    """The head of one request."""
    request_seconds: float = field(default=30.0, validator=gt(0))
    """How long nothing of a request may arrive, and its head take altogether; its body may take twenty times that."""
    idle_seconds: float = field(default=75.0, validator=gt(0))
    """How long a connection may stay open between two requests."""
    stall_seconds: float = field(default=60.0, validator=gt(0))
    """How long a client may go without reading anything of what we have for it."""
    sessions: int = field(default=10_000, validator=gt(0))
    """Alive at once, and as many principals that have none.

    Beyond it, one that has been idle for a minute makes room, or else a new one is refused.
    """
    principal_sessions: int = field(default=1_000, validator=gt(0))
    """Of those, how many of one principal, where there are principals."""
    session_idle_seconds: float = field(default=3_600.0, validator=gt(0))
    """How long a session lives without requests and listeners."""
    session_posts: int = field(default=1_024, validator=gt(0))
    """Requests of one session that wait for their answers; without sessions, of one principal.

    Those that listen do not count.
    """
    session_streams: int = field(default=16, validator=gt(0))
    """Streams that one session may listen on, and finished ones that it may come back for."""
    waiting: int = field(default=256, validator=gt(0))
    """Messages of one session that wait until the client listens."""
    replay_bytes: int = field(default=1024 * 1024, validator=gt(0))
    """What one stream keeps for a client that comes back."""
    resume_seconds: float = field(default=300.0, validator=gt(0))
    """How long a client may stay away before its stream is forgotten."""
    retry_ms: int = field(default=1_000, validator=gt(0))
    """When a client is to come back whose connection we drop."""
    keep_alive_seconds: float = field(default=15.0, validator=gt(0))
    """After how long a quiet stream gets a comment, and an answer that takes its time becomes a stream."""
    grace_seconds: float = field(default=5.0, validator=gt(0))
    """How long a server that shuts down waits for the requests it is serving."""


@frozen(kw_only=True, eq=False, repr=False)
class HttpClientLimits(Shape):
    """The limits of one HTTP client. Times are seconds; how long to wait for answers is up to trio's deadlines."""

    requests: int = field(default=128, validator=gt(0))
    """Requests that are under way at once; more wait. Answers and notifications of ours never do."""
    idle_connections: int = field(default=32, validator=gt(0))
    """Connections that are kept for later requests."""
    idle_seconds: float = field(default=30.0, validator=gt(0))
    """How long they are."""
    connect_seconds: float = field(default=30.0, validator=gt(0))
    """How long it may take to get a connection, TLS included."""
    notify_seconds: float = field(default=30.0, validator=gt(0))
    """How long the server may take to accept a notification or an answer of ours."""
    header_bytes: int = field(default=64 * 1024, validator=gt(0))
    """The head of one answer."""
    listen_seconds: float = field(default=2.0, validator=gt(0))
    """How long the first requests wait until the stream that the server may offer is there."""
    resume_attempts: int = field(default=5, validator=gt(0))
    """How often in a row we come back in vain to a stream that was cut; each success starts the count anew."""
    retry_seconds: float = field(default=1.0, validator=gt(0))
    """When we come back to a stream, if the server did not say; doubled after each attempt in vain, up to a minute."""
    close_seconds: float = field(default=2.0, validator=gt(0))
    """How long it may take to tell the server that the session is over."""
