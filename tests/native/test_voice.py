"""A voice sounds as the plain numpy reference says: reading, loop, envelope, low-pass and gains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

from plugin_bridge._native import add_voice

PHASES, TAPS = 64, 8
OPEN = (0.0, 1.0, 0.0, 1e9, 100.0, 1e9)
"""An envelope that stays up."""
HELD = 1e9


def sinc() -> NDArray[np.float32]:
    offsets = np.arange(-TAPS // 2 + 1, TAPS // 2 + 1)[None, :] - np.linspace(0, 1, PHASES + 1)[:, None]
    table = np.sinc(offsets) * np.cos(offsets * np.pi / (TAPS + 2)) ** 2
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)


FILTER = sinc()


def noise(count: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-20000, 20000, count).astype(np.int16)


def voice(points: NDArray[np.int16], count: int, **changes: Any) -> NDArray[np.float32]:
    """What a voice alone gives, its left channel as it is."""
    given: dict[str, Any] = {
        "loop": (0, 0), "table": FILTER, "step": 1.0, "envelope": OPEN, "held": HELD, "cutoff": 0.5,
        "gains": (1.0, 0.0),
    }  # fmt: skip
    out = np.zeros((2, count), np.float32)
    add_voice(out, 0, count, points, **(given | changes))
    return out


def read(points: NDArray[np.int16], loop: tuple[int, int], step: float, count: int) -> NDArray[np.float64]:
    """Each sample from the row of the filter that is nearest to its position."""
    at = np.arange(count) * step
    whole = np.floor(at).astype(int)
    row = np.floor((at - whole) * PHASES + 0.5).astype(int)
    index = whole[:, None] + np.arange(-TAPS // 2 + 1, TAPS // 2 + 1)
    start, end = loop
    if end > start:
        index = np.where(index < end, index, start + (index - start) % (end - start))
    inside = (index >= 0) & (index < len(points))
    values = np.where(inside, points[index.clip(0, len(points) - 1)] / 32768, 0.0)
    return (values * FILTER[row]).sum(axis=1)


def level(envelope: tuple[float, ...], held: float, count: int) -> NDArray[np.float64]:
    delay, attack, hold, decay, sustain, release = envelope
    time = np.arange(count)
    fall = np.minimum((time - delay - attack - hold).clip(0) / decay * 100, sustain)
    fall += (time - held).clip(0) / release * 100
    return 10 ** (-fall / 20) * ((time - delay) / attack).clip(0, 1)


@settings(deadline=None)
@given(
    size=st.integers(1, 400), start=st.integers(0, 399), length=st.integers(0, 400),
    step=st.floats(0.01, 5.0), count=st.integers(0, 1500),
)  # fmt: skip
def test_a_sample_is_read_at_any_step_round_any_loop(
    size: int, start: int, length: int, step: float, count: int
) -> None:
    loop = (min(start, size), min(start + length, size))
    points = noise(size)
    envelope = (0.0, 1e-9, 0.0, 1e9, 0.0, 1e9)
    heard = voice(points, count, loop=loop, step=step, envelope=envelope)[0]
    expected = read(points, loop, step, count) * level(envelope, HELD, count)
    # Halfway between two rows of the filter either of them will do.
    halfway = np.abs(np.arange(count) * step * PHASES % 1 - 0.5) < 1e-4
    np.testing.assert_allclose(heard[~halfway], expected[~halfway], atol=2e-6)


@settings(deadline=None)
@given(
    envelope=st.tuples(
        st.floats(0, 300), st.floats(0.05, 300), st.floats(0, 300), st.floats(50, 3000), st.floats(0, 100),
        st.floats(50, 3000),
    ),
    held=st.floats(0, 900),
)  # fmt: skip
def test_the_level_follows_the_envelope_through_every_corner(
    envelope: tuple[float, ...], held: float
) -> None:
    points = np.full(2000, 16384, np.int16)
    steady = read(points, (0, 2000), 1.0, 1500)
    heard = voice(points, 1500, loop=(0, 2000), envelope=envelope, held=held)[0]
    np.testing.assert_allclose(heard, steady * level(envelope, held, 1500), atol=1e-5)


def test_two_poles_take_the_height_away() -> None:
    points, cutoff = noise(1000), 0.07
    warped = np.tan(np.pi * cutoff)
    pole = [warped / (warped + 1)] * 2, [1, (warped - 1) / (warped + 1)]
    expected = lfilter(*pole, lfilter(*pole, voice(points, 1000)[0]))
    np.testing.assert_allclose(voice(points, 1000, cutoff=cutoff)[0], expected, atol=1e-5)


def test_a_voice_is_added_from_its_place_on_with_the_gains_of_both_sides() -> None:
    out = np.ones((2, 50), np.float32)
    points = noise(40)
    settings = {"table": FILTER, "step": 1.0, "envelope": OPEN, "held": HELD, "cutoff": 0.5}
    add_voice(out, 10, 30, points, (0, 0), gains=(0.5, -2.0), **settings)
    alone = voice(points, 30)[0]
    assert np.abs(alone[2:]).max() > 0.1
    np.testing.assert_allclose(out[0, 10:40], 1 + 0.5 * alone, atol=1e-6)
    np.testing.assert_allclose(out[1, 10:40], 1 - 2 * alone, atol=1e-6)
    assert (out[:, :10] == 1).all() and (out[:, 40:] == 1).all()


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"loop": (5, 101)}, "loop lies outside"),
        ({"loop": (9, 8)}, "loop lies outside"),
        ({"step": 0.0}, "step must be"),
        ({"step": float("nan")}, "step must be"),
        ({"table": FILTER[:, :6].copy()}, "multiple of 4 taps"),
        ({"table": FILTER[:1]}, "2 rows or more"),
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"cutoff": float("nan")}, "cutoff must be positive"),
        ({"held": -1.0}, "must not be negative"),
        ({"envelope": (0, 0, 0, 1, 0, 1)}, "must be positive"),
        ({"envelope": (0, 1, 0, 1, float("inf"), 1)}, "must not be negative"),
    ],
)
def test_what_cannot_be_played_is_refused(changes: dict[str, Any], about: str) -> None:
    with pytest.raises(ValueError, match=about):
        voice(noise(100), 10, **changes)


def test_a_voice_stays_inside_its_array() -> None:
    rest = (noise(10), (0, 0), FILTER, 1.0, OPEN, HELD, 0.5, (1.0, 1.0))
    out = np.zeros((2, 20), np.float32)
    for at, count in ((0, 21), (20, 1), (21, 0), (5, 2**63)):
        with pytest.raises(ValueError, match="past the end"):
            add_voice(out, at, count, *rest)
    with pytest.raises(ValueError, match=r"shape \(2, n\)"):
        add_voice(np.zeros((3, 20), np.float32), 0, 1, *rest)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        add_voice(out, 0, 1, *rest)
    for wrong in (np.zeros((2, 20)), np.zeros((20, 2), np.float32).T):
        with pytest.raises(TypeError):
            add_voice(wrong, 0, 1, *rest)
