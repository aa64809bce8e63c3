"""Peaks between samples, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_bridge._native import interpolated_peaks


@settings(deadline=None)
@given(channels=st.integers(1, 3), count=st.integers(1, 700), half=st.sampled_from([2, 4, 10]))
def test_each_peak_is_the_largest_of_a_sample_and_what_follows_it(
    channels: int, count: int, half: int
) -> None:
    random = np.random.default_rng(count)
    audio = random.normal(size=(channels, count)).astype(np.float32)
    table = random.normal(size=(3, 2 * half)).astype(np.float32)
    padded = np.pad(audio, ((0, 0), (half - 1, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)[:, :count]
    between = np.einsum("cnt,pt->pcn", windows, table)
    expected = np.abs(np.concatenate([audio[None], between])).max(axis=(0, 1))
    np.testing.assert_allclose(interpolated_peaks(audio, table), expected, atol=1e-5)


def test_other_shapes_and_types_are_refused() -> None:
    audio, table = np.zeros((2, 10), np.float32), np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match="audio must be"):
        interpolated_peaks(audio[0], table)
    with pytest.raises(ValueError, match="multiple of 4"):
        interpolated_peaks(audio, np.zeros((3, 6), np.float32))
    with pytest.raises(TypeError):
        interpolated_peaks(audio.astype(np.float64), table)
