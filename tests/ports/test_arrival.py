"""Arrival times: what the backend measured, whatever the delay of the thread that fetched it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.ports.arrival import TRUSTED_DELAY, ArrivalClock


def test_a_late_fetch_does_not_make_a_note_late() -> None:
    clock = ArrivalClock()
    clock.stamp(0.0, 10.0)
    assert clock.stamp(0.1, 10.103) == pytest.approx(10.1, abs=2e-4)


def test_an_early_fetch_corrects_a_first_message_that_was_late() -> None:
    clock = ArrivalClock()
    clock.stamp(0.0, 10.005)  # arrived at 10.0
    assert clock.stamp(0.1, 10.1) == 10.1
    assert clock.stamp(0.1, 10.209) == pytest.approx(10.2, abs=2e-4)


def test_a_delta_that_the_backend_lost_is_noticed() -> None:
    clock = ArrivalClock()
    clock.stamp(0.0, 10.0)
    assert clock.stamp(0.01, 12.0) == 12.0


def test_after_a_restart_the_next_message_arrives_when_fetched() -> None:
    clock = ArrivalClock()
    clock.stamp(0.0, 10.0)
    clock.restart()
    assert clock.stamp(0.01, 10.04) == 10.04


def test_a_backend_clock_that_runs_slow_is_followed() -> None:
    clock = ArrivalClock()
    clock.stamp(0.0, 0.0)
    errors = [abs(clock.stamp(0.5 * (1 - 1e-4), 0.5 * k) - 0.5 * k) for k in range(1, 2000)]
    assert max(errors) < 0.001


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 0.04)), min_size=1, max_size=60),
    st.floats(-1e-4, 1e-4),
)
def test_times_are_in_order_and_never_ahead_nor_far_behind(
    rows: list[tuple[float, float]], drift: float
) -> None:
    clock = ArrivalClock()
    true, fetched, previous = 0.0, 0.0, float("-inf")
    for gap, delay in rows:
        true += gap
        fetched = max(fetched, true + delay)
        stamped = clock.stamp(gap * (1 + drift), fetched)
        assert previous <= stamped <= fetched
        assert stamped >= fetched - TRUSTED_DELAY - 1e-9
        previous = stamped
