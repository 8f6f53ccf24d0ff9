"""The calls of a bridge on their way: each made once, however many requests it takes to learn what it came to.

A *flight* is one call of the server behind a bridge. It has a trio task of its own, because it outlives the request it
is made for: where a question ends a request, the call goes on, is parked under a token that travels with the client,
and is found by it when the request comes again. Whoever serves such a request *attends* its flight: carries the
server's questions to whoever made the call and their answers back, and hands on what the server tells meanwhile.

Whose question is it? In an era without sessions it comes inside an answer, and is put to us in the very task that
waits for that. In a session it names the task it belongs to, or nothing at all; then it can only be meant for the one
requestor who has a call under way. With calls of several requestors under way it is refused, as it is better not
answered than answered by somebody else.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import trio
from attrs import define, field, frozen

from .._unset import JSONObject
from ..errors import InternalError, InvalidParams, MCPError, RequestFailed, UrlElicitationRequired
from ..limits import Limits
from ..peer._wait import Bell, servants
from ..peer.contexts import Context
from ..peer.questions import Ask

__all__ = ["CURRENT", "Flight", "Flights", "Relayed"]

logger = logging.getLogger("mcp_tasks.bridge")

CURRENT: ContextVar[Flight | None] = ContextVar("CURRENT", default=None)
"""The flight whose call is being made in this trio task."""

Saying: TypeAlias = Callable[[Context], Awaitable[None]]
"""Something that the server told, to be said to whoever made the call."""

_VISIT_FIRST = -32042  # how an older server says that the user has to visit a page before the call can be made
_MOST_VISITS = 1_000
_LINGER_SECONDS = 10.0  # in which the server may still ask for a call that was withdrawn
_TURNS = 2  # of the scheduler, in which what was told just before the answer is handled


@frozen(eq=False, repr=False)
class Relayed(Ask[Any]):
    """A question of somebody else's, in the words in which it came."""

    method: str
    wired: JSONObject

    def params(self) -> JSONObject | None:
        return self.wired or None


@define(eq=False)
class _Query:
    """A question on its way to whoever made the call."""

    key: str
    question: Relayed
    scope: trio.CancelScope | None = None
    """Around putting it, while somebody is there."""
    done: trio.Event = field(factory=trio.Event)
    answer: Any = None
    failure: Exception | None = None


class Flight:
    """One call of the server behind the bridge. `requestor` is equal for calls of the same requestor."""

    def __init__(
        self, flights: Flights, token: str, requestor: object, call: Callable[[Flight], Awaitable[Any]]
    ) -> None:
        self.token = token
        self.requestor = requestor
        self.task_id: str | None = None
        """The server's task, once it has made one of the call."""
        self.starting = False
        """Whether it is about to."""
        self._flights = flights
        self._call = call
        self._queries: dict[str, _Query] = {}  # not answered yet
        self._asked = 0
        self._said: deque[Saying] = deque(maxlen=flights.limits.progress_backlog)
        self._outcome: JSONObject | Exception | None = None
        self._bell = Bell()
        self._taken = trio.Event()
        self._again = False
        self._attended = False
        self._scope = trio.CancelScope()

    @property
    def airborne(self) -> bool:
        """Whether the call is under way."""
        return self._outcome is None and not self._scope.cancel_called

    @property
    def withdrawn(self) -> bool:
        """Whether it was taken back before its end."""
        return self._scope.cancel_called

    # --- towards the server ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make the call; lasts until somebody has taken what it came to, or nobody comes back for that in time."""
        CURRENT.set(self)
        try:
            with self._scope:
                while True:
                    try:
                        outcome: JSONObject | Exception = await self._call(self)
                    except Exception as failure:
                        outcome = failure
                    for _ in range(_TURNS):
                        await trio.lowlevel.checkpoint()
                    self._outcome = outcome
                    self._bell.ring()
                    self._flights.moved()
                    await self._taken.wait()
                    if not self._again:
                        return
                    self._again, self._taken, self._outcome = False, trio.Event(), None
        finally:
            if self._outcome is None:
                self._outcome = InternalError("The call was given up")
                self._bell.ring()
            self._flights.landed(self)

    @contextmanager
    def named(self, task_id: str) -> Iterator[None]:
        """A block in which the server has made a task of the call, so that its questions are known by its id."""
        with self._flights.named(self, task_id):
            yield

    def tell(self, saying: Saying) -> None:
        """Have something said to whoever made the call, when they can be told; the oldest goes if there is too much."""
        self._said.append(saying)
        self._bell.ring()

    async def ask(self, method: str, params: JSONObject) -> Any:
        """Ask whoever made the call, however often they have to come back for that.

        Returns the answer as a shape, and raises what `Context.ask` does. Cancelled, it takes the question back.
        """
        self._asked += 1
        key = f"ask-{self._asked}"
        query = self._queries[key] = _Query(key, Relayed(method, params))
        self._bell.ring()
        try:
            await query.done.wait()
        finally:
            self._queries.pop(key, None)
            if query.scope is not None:
                query.scope.cancel()
        if query.failure is not None:
            raise query.failure
        return query.answer

    # --- towards whoever made the call ----------------------------------------------------------------------------

    async def attend(self, ctx: Context) -> JSONObject:
        """Serve a request for this call until the call is over, and return or raise what it came to.

        Cancelled, it gives the call up; but where the request was ended by a question it waits for the answer.
        """
        if self._attended:
            raise InvalidParams("$.params.requestState: the request is being served")
        self._attended = True
        self._scope.deadline = float("inf")
        self._flights.unparked(self)
        if self._again:
            self._outcome = None
            self._taken.set()
        try:
            outcome = await self._carry_all(ctx)
        except BaseException:
            self._attended = False
            if self._queries and ctx.stateless and ctx.task_id is None:
                self._park()
            else:
                self._scope.cancel()
            raise
        self._attended = False
        if visits := _visits(outcome):
            if ctx.stateless and ctx.task_id is None:
                # Here it is a question like any other, after which the call is made anew.
                self._again = True
                self._park()
                raise UrlElicitationRequired(visits)
            for one in visits:
                self._flights.visits(one, ctx)
        self._taken.set()
        if isinstance(outcome, Exception):
            raise outcome.with_traceback(None)
        return outcome

    async def _carry_all(self, ctx: Context) -> JSONObject | Exception:
        asked: set[str] = set()
        async with servants() as nursery:
            while True:
                for key, query in self._queries.items():
                    if key not in asked:
                        asked.add(key)
                        nursery.start_soon(self._carry, ctx, query)
                while self._said:
                    try:
                        await self._said.popleft()(ctx)
                    except MCPError as failure:
                        logger.debug("%s: something the server told is lost: %s", ctx.method, failure)
                if self._outcome is not None:
                    return self._outcome
                await self._bell.wait()
        raise AssertionError("unreachable")

    async def _carry(self, ctx: Context, query: _Query) -> None:
        self._flights.visits(query.question.wired, ctx)
        with trio.CancelScope() as query.scope:
            try:
                query.answer = await ctx.ask(query.key, query.question)
            except Exception as failure:
                query.failure = failure
            query.done.set()

    def _park(self) -> None:
        self._scope.deadline = trio.current_time() + self._flights.limits.state_seconds
        self._flights.parked(self)

    def give_up(self) -> None:
        """Take the call back."""
        self._scope.cancel()


def _visits(outcome: JSONObject | Exception) -> list[JSONObject]:
    if not isinstance(outcome, RequestFailed) or outcome.code != _VISIT_FIRST or not isinstance(outcome.data, dict):
        return []
    found = outcome.data.get("elicitations")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


class Flights:
    """The calls of one bridge that are under way, or wait for somebody to come back."""

    def __init__(self, nursery: trio.Nursery, limits: Limits) -> None:
        self.limits = limits
        self._nursery = nursery
        self._flights: dict[str, Flight] = {}  # the latest last
        self._parked: OrderedDict[str, Flight] = OrderedDict()
        self._by_task: dict[str, Flight] = {}
        self._visits: OrderedDict[str, Context] = OrderedDict()
        self._withdrawn: deque[tuple[float, object]] = deque(maxlen=limits.in_flight)
        self._moved = trio.lowlevel.ParkingLot()

    async def serve(self, ctx: Context, requestor: object, call: Callable[[Flight], Awaitable[Any]]) -> JSONObject:
        """Serve a request by making a call, or by going on with the one that was made when it came before."""
        token, fresh = secrets.token_hex(16), True
        if ctx.stateless and ctx.task_id is None:

            async def mint() -> str:
                return token

            known = await ctx.once("bridge", mint)
            token, fresh = known, known == token
        flight = self._flights.get(token)
        if flight is None:
            if not fresh:
                raise InvalidParams("$.params.requestState: the call that this goes on with has ended; make it anew")
            flight = self._flights[token] = Flight(self, token, requestor, call)
            self._nursery.start_soon(flight.run)
        return await flight.attend(ctx)

    # --- whose question is it -------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether any call is under way."""
        return any(flight.airborne for flight in self._flights.values())

    async def meant(self, task_id: str | None) -> Flight | None:
        """In a session: the call that something the server says belongs to; None if nobody can tell.

        `task_id` is the task that it names.
        """
        while task_id is not None and task_id not in self._by_task:
            if not any(flight.starting for flight in self._flights.values()):
                return None
            await self._moved.park()  # the answer that tells of the task may lie behind what it says
        if task_id is not None:
            return self._by_task[task_id]
        under_way = [flight for flight in self._flights.values() if flight.airborne]
        under_way = [flight for flight in under_way if flight.task_id is None] or under_way
        requestors = [flight.requestor for flight in under_way] + self._lingering()
        if not under_way or any(requestor != requestors[0] for requestor in requestors):
            return None
        return under_way[-1]

    def _lingering(self) -> list[object]:
        # Whose call was withdrawn a moment ago: the server may not know yet, and ask.
        now = trio.current_time()
        while self._withdrawn and self._withdrawn[0][0] + _LINGER_SECONDS < now:
            self._withdrawn.popleft()
        return [requestor for _, requestor in self._withdrawn]

    def visited(self, elicitation_id: str) -> Context | None:
        """For whom a user was sent to a page."""
        return self._visits.get(elicitation_id)

    # --- what flights say -----------------------------------------------------------------------------------------

    def moved(self) -> None:
        """Something is known of a call that was not known before."""
        self._moved.unpark_all()

    @contextmanager
    def named(self, flight: Flight, task_id: str) -> Iterator[None]:
        """A block in which a task of the server's stands for a flight."""
        self._by_task[task_id], flight.task_id = flight, task_id
        self.moved()
        try:
            yield
        finally:
            flight.task_id = None
            self._by_task.pop(task_id, None)

    def parked(self, flight: Flight) -> None:
        """Its requestor has to come back; with too many such, the one that has waited longest is given up."""
        self._parked[flight.token] = flight
        if len(self._parked) > self.limits.in_flight:
            _, oldest = self._parked.popitem(last=False)
            oldest.give_up()

    def unparked(self, flight: Flight) -> None:
        """Its requestor has come back."""
        self._parked.pop(flight.token, None)

    def landed(self, flight: Flight) -> None:
        """It is over."""
        self._flights.pop(flight.token, None)
        self.unparked(flight)
        if flight.withdrawn:
            self._withdrawn.append((trio.current_time(), flight.requestor))
        self.moved()

    def visits(self, question: JSONObject, ctx: Context) -> None:
        """A question is about to be put; if it sends a user to a page, remember whose."""
        id = question.get("elicitationId")
        if isinstance(id, str):
            self._visits[id] = ctx
            if len(self._visits) > _MOST_VISITS:
                self._visits.popitem(last=False)
