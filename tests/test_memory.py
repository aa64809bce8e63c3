"""Cyclic garbage: what is thrown away is found, among what came lately; what was there before stays apart."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from plugin_bridge import memory


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.myself = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    gc.disable()  # nothing is found unless it is sought
    yield
    gc.enable()
    gc.unfreeze()


def test_what_was_thrown_away_since_is_found_by_a_sweep() -> None:
    memory.settle()
    thrown = weakref.ref(Ring())
    assert thrown() is not None
    memory.sweep()
    assert thrown() is None


def test_what_lives_is_set_apart_and_a_sweep_looks_at_little() -> None:
    kept = [Ring() for _ in range(10_000)]
    memory.settle()
    assert len(gc.get_objects()) < len(kept)
    assert gc.get_freeze_count() > len(kept)


def test_what_was_set_apart_and_thrown_away_is_found_when_it_settles_again() -> None:
    ring = Ring()
    memory.settle()
    thrown = weakref.ref(ring)
    del ring
    memory.sweep()
    assert thrown() is not None
    memory.settle()
    assert thrown() is None
