"""The clock follows trio's, and timestamps are those of RFC 3339."""

import time
from datetime import datetime, timezone

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from mcp_tasks.clock import Clock, timestamp

requirement = pytest.mark.requirement


async def test_it_starts_at_its_epoch_and_follows_trio(autojump_clock):
    await trio.sleep(7)
    clock = Clock(1000.0)
    assert clock.now() == 1000
    await trio.sleep(2.5)
    assert clock.now() == 1002.5


async def test_by_default_it_starts_at_the_time_of_day(autojump_clock):
    before = time.time()
    clock = Clock()
    now = clock.now()
    assert before <= now <= time.time()
    await trio.sleep(3600)
    assert clock.now() == pytest.approx(now + 3600)


async def test_the_computers_clock_may_be_set_meanwhile(autojump_clock, monkeypatch):
    clock = Clock()
    now = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() == now


async def test_a_deadline_is_reached_when_the_time_has_come(autojump_clock):
    clock = Clock(1000.0)
    await trio.sleep(3)
    with trio.CancelScope(deadline=clock.deadline(1005.0)):
        await trio.sleep_forever()
    assert clock.now() == pytest.approx(1005)


@requirement("T25-080")
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_760_000_000.0, "2025-10-09T08:53:20.000Z"),
        (1_760_000_000.5, "2025-10-09T08:53:20.500Z"),
        (951_782_400.0, "2000-02-29T00:00:00.000Z"),
        (4_102_444_799.75, "2099-12-31T23:59:59.750Z"),
    ],
)
def test_timestamps_are_utc_with_milliseconds(seconds, text):
    assert timestamp(seconds) == text


@requirement("T25-080")
@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_timestamps_can_be_read_and_are_in_order(one, other):
    read = datetime.strptime(timestamp(one), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert abs(read.timestamp() - one) <= 0.0011
    assert (timestamp(one) <= timestamp(other)) or one > other
