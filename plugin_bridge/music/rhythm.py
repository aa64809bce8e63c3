"""The metrical position: where in the bar a moment lies, in sixteenths, or unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from plugin_bridge.music.clip import Beat

UNKNOWN = 0
LONGEST_BAR = 32
"""Sixteenths; positions in longer bars are all told as the last one."""
METRE_SIZE = LONGEST_BAR + 1
"""Ids of metrical positions: 0 unknown, 1 to 32 the sixteenth within the bar, counted from 1."""


def metrical_positions(times: NDArray[np.float64], beats: Sequence[Beat]) -> NDArray[np.uint8]:
    """The sixteenth nearest to each of `times` (seconds, any shape), as ids from 1; 0 where unknown.

    Unknown is whatever lies more than one beat before the first or after the last beat.
    """
    if len(beats) < 2:
        return np.zeros(times.shape, np.uint8)
    beat_times = np.array([beat.time for beat in beats])
    lengths = np.maximum(np.diff(beat_times), 1e-6)
    index = np.clip(np.searchsorted(beat_times, times, side="right") - 1, 0, len(beats) - 2)
    passed = (times - beat_times[index]) / lengths[index]
    sixteenths = np.array([beat.sixteenths for beat in beats])
    first = np.array([beat.number * beat.sixteenths for beat in beats])
    in_bar = np.array([beat.beats_in_bar * beat.sixteenths for beat in beats])
    position = first[index] + np.floor(passed * sixteenths[index] + 0.5).astype(np.int64)
    position = np.mod(position, np.maximum(in_bar[index], 1))
    ids = np.minimum(position, LONGEST_BAR - 1) + 1
    return np.where((passed >= -1.0) & (passed <= 2.0), ids, UNKNOWN).astype(np.uint8)


def steady_metre(tempo: float, beats_in_bar: int = 4) -> Callable[[float], int]:
    """The metrical position at a steady `tempo` from 0 s on, for as long as it takes."""
    sixteenth = 15.0 / tempo
    in_bar = 4 * beats_in_bar
    return lambda seconds: min(round(seconds / sixteenth) % in_bar, LONGEST_BAR - 1) + 1


def steady_beats(
    tempo: float, seconds: float, *, beats_in_bar: int = 4, start: float = 0.0
) -> tuple[Beat, ...]:
    """Beats at `tempo` (beats a minute) from `start` until past `start + seconds`."""
    length = 60.0 / tempo
    count = int(np.ceil(seconds / length)) + 2
    return tuple(Beat(start + i * length, i % beats_in_bar, beats_in_bar) for i in range(count))
