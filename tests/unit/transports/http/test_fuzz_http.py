"""What must hold whatever bytes come: the targets of ``fuzz/``, with what Hypothesis makes of their seeds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def _load() -> ModuleType:
    path = Path(__file__).parents[4] / "fuzz" / "targets.py"
    spec = importlib.util.spec_from_file_location("fuzz_targets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


targets = _load()

EXAMPLES = {"requests": 300, "events": 300, "headers": 300, "messages": 300, "endpoint": 40, "answers": 40}


def test_every_target_has_seeds_and_examples() -> None:
    assert targets.TARGETS.keys() == targets.SEEDS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", targets.TARGETS)
def test_seeds(name: str) -> None:
    for seed in [b"", *targets.SEEDS[name]]:
        targets.TARGETS[name](seed)


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with some bytes left out and some words put in."""
    words = st.sampled_from(targets.TOKENS) | st.binary(max_size=8)
    edits = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 20), words), max_size=6)

    def edit(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, word in edits:
            place %= len(seed) + 1
            seed = seed[:place] + word + seed[place + length :]
        return seed

    return st.builds(edit, st.sampled_from(seeds), edits)


@pytest.mark.parametrize("name", targets.TARGETS)
def test_whatever_comes(name: str) -> None:
    @settings(max_examples=EXAMPLES[name], deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=mutated(targets.SEEDS[name]) | st.binary(max_size=300))
    def holds(data: bytes) -> None:
        targets.TARGETS[name](data)

    holds()
