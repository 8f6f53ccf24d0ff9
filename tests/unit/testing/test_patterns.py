"""What a script expects, and how it says what came instead."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from mcp_tasks import Peer, RequestFailed
from mcp_tasks.testing import NothingCame, Side, differences, scripted


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (1, 1),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": int, "b": str, "c": ..., "d": lambda d: d > 3}, {"a": 1, "b": "x", "c": None, "d": 4}),
        ([{"a": 1}, ...], [{"a": 1, "b": 2}, 5]),
        (float, 1.5),
        (bool, True),
        (..., {}),
    ],
)
def test_what_fits(pattern: Any, value: Any) -> None:
    assert differences(pattern, value) == []


def more_than_three(value: int) -> bool:
    return value > 3


@pytest.mark.parametrize(
    ("pattern", "value", "says"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "$.a.b: expected 1, came 2"),
        ({"a": 1}, {}, "$.a: expected 1, is not there"),
        ({"a": int}, {"a": "1"}, '$.a: expected int, came "1"'),
        ({"a": int}, {"a": True}, "$.a: expected int, came true"),
        ({"a": 1}, {"a": True}, "$.a: expected 1, came true"),
        ({"a": ...}, {}, "$.a: expected anything, is not there"),
        ({"a": more_than_three}, {"a": 3}, "$.a: more_than_three does not hold of 3"),
        ([1, 2], [1], "$: expected 2 items, came 1"),
        ([1, {"a": 2}], [1, {"a": 3}], "$[1].a: expected 2, came 3"),
        ({"a": {}}, {"a": []}, "$.a: expected {}, came []"),
    ],
)
def test_what_does_not(pattern: Any, value: Any, says: str) -> None:
    assert differences(pattern, value) == [says]


async def test_what_came_instead_is_said(autojump_clock: object) -> None:
    async with scripted(Peer("mine", "1.0"), side=Side.CLIENT) as server:
        assert server.connection is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.connection.ping)
            with pytest.raises(NothingCame) as caught:
                await server.expect("ping", {"never": 1})
            assert caught.value.instead == server.unread("ping")
            assert "$.params: expected" in str(caught.value)
            await server.reply(await server.expect("ping"), {})


async def test_standing_answers(autojump_clock: Any) -> None:
    """At once, later on the clock, as errors, or never."""
    async with scripted(Peer("mine", "1.0"), side=Side.CLIENT) as server:
        connection = server.connection
        assert connection is not None
        server.on("ping", {}, delay=30)
        began = trio.current_time()
        await connection.ping()
        assert trio.current_time() - began == pytest.approx(30)

        def refuse(request: Any) -> None:
            raise RequestFailed(-32000, "no", {"why": request["method"]})

        server.on("ping", refuse)
        with pytest.raises(RequestFailed) as caught:
            await connection.ping()
        assert (caught.value.code, caught.value.data) == (-32000, {"why": "ping"})

        server.on("ping", None)
        with trio.move_on_after(1_000) as waited:
            await connection.ping()
        assert waited.cancelled_caught


async def test_holding(autojump_clock: Any) -> None:
    async with scripted(Peer("mine", "1.0"), side=Side.CLIENT) as server:
        connection = server.connection
        assert connection is not None
        server.on("ping", {})
        done: list[int] = []

        async def ping() -> None:
            await connection.ping()
            done.append(1)

        async with trio.open_nursery() as nursery:
            with server.holding("ping") as held:
                nursery.start_soon(ping)
                await server.quiet()
                assert len(held) == 1
                assert done == []
            await server.quiet()
            assert done == [1]
