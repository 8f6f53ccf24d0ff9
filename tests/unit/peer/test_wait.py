"""The bell and the nursery for servants: what wakes whom, and which exception leaves."""

# ruff: noqa: PT012  (what a block raises on its way out is what is tested)
from __future__ import annotations

import sys
from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from mcp_tasks.peer._wait import Bell, Progress, ProgressInbox, servants

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


# --- Bell -------------------------------------------------------------------------------------------------------------


async def test_a_ring_wakes_the_one_who_waits() -> None:
    bell, woken = Bell(), []

    async def wait() -> None:
        await bell.wait()
        woken.append(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert woken == []
        bell.ring()
        await wait_all_tasks_blocked()
        assert woken == [1]


async def test_rings_that_nobody_waits_for_count_as_one() -> None:
    bell = Bell()
    for _ in range(3):
        bell.ring()
    with assert_checkpoints():
        await bell.wait()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bell.wait()
    assert scope.cancelled_caught


async def test_a_cancelled_wait_has_heard_nothing() -> None:
    bell = Bell()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bell.wait)
            await wait_all_tasks_blocked()
            scope.cancel()
    bell.ring()  # kept: it is for whoever waits next
    await bell.wait()


async def test_rung_twice_at_once_and_waited_for_again() -> None:
    bell, heard = Bell(), []

    async def listen() -> None:
        for number in range(2):
            await bell.wait()
            heard.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        bell.ring()
        bell.ring()  # the first woke the listener, the second waits for it
        await wait_all_tasks_blocked()
    assert heard == [0, 1]


# --- servants ---------------------------------------------------------------------------------------------------------


async def test_servants_end_with_the_block() -> None:
    ended = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    async with servants() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
    assert ended == [1, 1]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])])
async def test_an_exception_of_the_block_leaves_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with servants() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error
    assert caught.value is error


async def _crash(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def test_a_servants_exception_cancels_the_block_and_leaves_unwrapped() -> None:
    error, cancelled = OSError("theirs"), False
    with pytest.raises(OSError, match="theirs") as caught:
        async with servants() as nursery:
            nursery.start_soon(_crash, error)
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled = True
                raise
    assert caught.value is error
    assert cancelled


async def test_when_both_fail_the_blocks_exception_leaves() -> None:
    with pytest.raises(ValueError, match="mine") as caught:
        async with servants() as nursery:
            nursery.start_soon(_crash, OSError("theirs"))
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise ValueError("mine") from None
    assert caught.value.__suppress_context__


async def test_several_servants_that_fail_leave_as_a_group() -> None:
    async def crash_on_cancel() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("second")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with servants() as nursery:
            nursery.start_soon(crash_on_cancel)
            await wait_all_tasks_blocked()
            nursery.start_soon(_crash, OSError("first"))
            await trio.sleep_forever()
    assert {type(error) for error in caught.value.exceptions} == {KeyError, OSError}


async def test_a_servant_that_fails_once_the_block_is_over() -> None:
    async def crash_on_cancel() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("late")

    with pytest.raises(KeyError, match="late"):
        async with servants() as nursery:
            nursery.start_soon(crash_on_cancel)
            await wait_all_tasks_blocked()


async def test_cancelled_from_outside() -> None:
    """The cancellation belongs to whoever cancelled: neither swallowed nor wrapped."""
    with trio.CancelScope() as scope:
        async with servants() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
        raise AssertionError("not reached")
    assert scope.cancelled_caught


async def test_cancelled_within() -> None:
    """A scope within the block catches what it cancelled, and the block goes on."""
    async with servants() as nursery:
        nursery.start_soon(trio.sleep_forever)
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_a_crash_while_cancelled_from_outside() -> None:
    async def crash_on_cancel() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("on the way out")

    with pytest.raises((KeyError, BaseExceptionGroup)) as caught, trio.CancelScope() as scope:
        async with servants() as nursery:
            nursery.start_soon(crash_on_cancel)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert "on the way out" in repr(caught.value)


async def test_closed_as_a_generator() -> None:
    """What `aclose` throws into a suspended block: GeneratorExit has to leave, and the servants end all the same."""
    ended = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    manager = servants()
    nursery = await manager.__aenter__()
    nursery.start_soon(serve)
    await wait_all_tasks_blocked()
    closing = GeneratorExit()
    with pytest.raises(GeneratorExit) as caught:
        raise_it = await manager.__aexit__(GeneratorExit, closing, None)
        assert not raise_it
        raise closing
    assert caught.value is closing
    assert ended == [1]


async def test_nested() -> None:
    order = []

    async def serve(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            order.append(name)

    with pytest.raises(ValueError, match="mine"):
        async with servants() as outer:
            outer.start_soon(serve, "outer")
            async with servants() as inner:
                inner.start_soon(serve, "inner")
                await wait_all_tasks_blocked()
                raise ValueError("mine")
    assert order == ["inner", "outer"]


async def test_a_crash_outside_goes_through_the_inner_block() -> None:
    with pytest.raises(OSError, match="theirs"):
        async with AsyncExitStack() as stack:
            outer = await stack.enter_async_context(servants())
            await stack.enter_async_context(servants())
            outer.start_soon(_crash, OSError("theirs"))
            await trio.sleep_forever()


# --- progress ---------------------------------------------------------------------------------------------------------


async def test_progress_is_delivered_in_order_and_the_oldest_goes() -> None:
    heard: list[Progress] = []
    inbox = ProgressInbox(heard.append, 2)
    for number in range(4):
        inbox.put(Progress(number))
    await inbox.deliver()
    await inbox.deliver()
    assert heard == [Progress(2), Progress(3)]


async def test_a_coroutine_function_is_awaited() -> None:
    heard: list[float] = []

    async def hear(item: Progress) -> None:
        await trio.lowlevel.checkpoint()
        heard.append(item.progress)

    inbox = ProgressInbox(hear, 10)
    inbox.put(Progress(0.5, 1, "half"))
    await inbox.deliver()
    assert heard == [0.5]


async def test_what_the_callback_raises_is_raised_where_it_is_delivered() -> None:
    def hear(item: Progress) -> None:
        raise ValueError(item.message)

    inbox = ProgressInbox(hear, 10)
    inbox.put(Progress(1, message="no"))
    with pytest.raises(ValueError, match="no"):
        await inbox.deliver()
