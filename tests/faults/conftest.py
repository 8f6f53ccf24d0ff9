"""Faults: nothing of a test may be left, no socket included."""

import os
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """After every test: the descriptors are those of before."""
    if sys.platform != "linux":
        yield
        return
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before
