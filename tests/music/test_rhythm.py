"""Metrical positions: the sixteenth within the bar, or unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.music.clip import Beat
from plugin_bridge.music.rhythm import LONGEST_BAR, METRE_SIZE, UNKNOWN, metrical_positions, steady_beats


def positions(times: list[float], beats: tuple[Beat, ...]) -> list[int]:
    return metrical_positions(np.array(times, np.float64), beats).tolist()


def test_four_four_at_120_counts_sixteen_sixteenths_and_begins_again() -> None:
    beats = steady_beats(120, 8)
    assert positions([i * 0.125 for i in range(33)], beats) == [*range(1, 17), *range(1, 17), 1]


def test_a_moment_is_told_as_the_nearest_sixteenth() -> None:
    beats = steady_beats(120, 8)
    assert positions([0.06, 0.065, 0.12, 1.95], beats) == [1, 2, 2, 1]


def test_a_swung_or_late_note_before_the_bar_line_belongs_to_the_next_bar() -> None:
    assert positions([1.99], steady_beats(120, 8)) == [1]


def test_six_eight_counts_twelve_sixteenths() -> None:
    beats = tuple(Beat(i * 0.25, i % 6, 6, 2) for i in range(13))
    assert positions([i * 0.125 for i in range(13)], beats) == [*range(1, 13), 1]


def test_a_pickup_bar_counts_from_its_place_in_the_bar() -> None:
    beats = tuple(Beat(i * 0.5, (i + 3) % 4) for i in range(9))
    assert positions([0.0, 0.5, 1.0], beats) == [13, 1, 5]


def test_tempo_changes_move_the_grid() -> None:
    beats = (Beat(0.0, 0), Beat(0.5, 1), Beat(1.5, 2), Beat(2.5, 3))
    assert positions([0.25, 1.0, 2.0], beats) == [3, 7, 11]


def test_beyond_one_beat_outside_the_beats_nothing_is_known() -> None:
    beats = steady_beats(60, 4, start=10.0)
    last = beats[-1].time
    found = positions([8.9, 9.1, last + 0.9, last + 1.1], beats)
    assert found[0] == found[3] == UNKNOWN
    assert found[1] == 13  # the beat before a downbeat is the last of its bar
    assert found[2] != UNKNOWN


@pytest.mark.parametrize("beats", [(), (Beat(0.0, 0),)])
def test_without_two_beats_all_is_unknown(beats: tuple[Beat, ...]) -> None:
    assert positions([0.0, 1.0], beats) == [UNKNOWN, UNKNOWN]


def test_shapes_are_kept() -> None:
    assert metrical_positions(np.zeros((2, 3)), steady_beats(120, 2)).shape == (2, 3)
    assert metrical_positions(np.zeros(0), steady_beats(120, 2)).shape == (0,)


def test_long_bars_end_in_one_position() -> None:
    beats = tuple(Beat(i * 0.5, i % 12, 12) for i in range(13))
    assert positions([8 * 0.5, 11 * 0.5], beats) == [LONGEST_BAR, LONGEST_BAR]


@given(
    st.lists(st.floats(-100, 100), max_size=20),
    st.lists(
        st.tuples(
            st.floats(0, 50), st.integers(0, 63), st.integers(1, 64), st.sampled_from([1, 2, 4, 8, 16])
        ),
        max_size=12,
    ),
)
def test_ids_stay_in_range_for_any_beats(
    times: list[float], table: list[tuple[float, int, int, int]]
) -> None:
    beats = tuple(Beat(*row) for row in sorted(table))
    found = metrical_positions(np.array(times, np.float64), beats)
    assert found.dtype == np.uint8
    assert (found < METRE_SIZE).all()


@given(st.floats(20, 300), st.floats(0.1, 60), st.integers(1, 12), st.floats(-5, 5))
def test_steady_beats_cover_what_was_asked(tempo: float, seconds: float, bar: int, start: float) -> None:
    beats = steady_beats(tempo, seconds, beats_in_bar=bar, start=start)
    assert beats[0].time == start
    assert beats[-1].time >= start + seconds
    assert [beat.number for beat in beats] == [i % bar for i in range(len(beats))]
    np.testing.assert_allclose(np.diff([beat.time for beat in beats]), 60 / tempo, rtol=1e-6)
