"""Loudness reaches its target, true peaks keep the limit, tails end in silence, files hold the sound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_bridge.errors import BridgeError
from plugin_bridge.render.encoding import check_formats, decode, encode, encode_below
from plugin_bridge.render.mastering import integrated_loudness, limiter_gain, master, true_peak
from plugin_bridge.render.piano import Audio
from plugin_bridge.render.settings import FORMATS, Output
from plugin_bridge.render.tails import cut, cut_point, ring_out

RATE = 44100


def tone(hertz: float, seconds: float = 2.0, level: float = 0.5, phase: float = 0.0) -> Audio:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE + phase)
    return np.tile(wave.astype(np.float32), (2, 1))


def clicks(seconds: float = 4.0) -> Audio:
    """A quiet tone with a short loud knock each half second: far more peak than loudness."""
    audio = tone(300, seconds, 0.02)
    for start in range(0, audio.shape[1] - 100, RATE // 2):
        audio[:, start : start + 30] += 0.9 * np.hanning(30).astype(np.float32)
    return audio


def test_the_peak_between_samples_is_found() -> None:
    between = tone(RATE / 4, level=1.0, phase=math.pi / 4)  # all samples at -3 dB, the wave at 0 dB
    assert 20 * math.log10(float(np.abs(between).max())) == pytest.approx(-3.01, abs=0.01)
    middle = cut(between, between.shape[1], RATE)
    assert true_peak(middle) == pytest.approx(0.0, abs=0.15)


def test_loudness_is_that_of_the_standard() -> None:
    """A 997 Hz sine of 0 dBFS in one channel is -3.01 LKFS (BS.1770-4); in both 3 dB more."""
    sine = np.tile(np.sin(2 * np.pi * 997 * np.arange(RATE * 5) / RATE).astype(np.float32), (2, 1))
    assert integrated_loudness(sine, RATE) == pytest.approx(0.0, abs=0.1)
    assert integrated_loudness(sine[:1], RATE) == pytest.approx(-3.01, abs=0.1)


@pytest.mark.parametrize("target", [-30.0, -23.0, -16.0])
def test_what_needs_no_limiting_is_only_turned_up_or_down(target: float) -> None:
    audio = tone(440)
    done = master(audio, RATE, target, -1.0)
    assert integrated_loudness(audio * done.gain, RATE) == pytest.approx(target, abs=0.01)
    assert done.limited == 0
    assert np.ptp(done.gain) == 0


def test_limited_sound_still_reaches_its_loudness_and_keeps_the_peak() -> None:
    audio = clicks()
    done = master(audio, RATE, -22.0, -1.0)
    result = audio * done.gain
    assert done.limited > 1
    assert integrated_loudness(result, RATE) == pytest.approx(-22.0, abs=0.5)
    assert done.loudness == pytest.approx(-22.0, abs=0.5)
    top = true_peak(result)
    assert top is not None and top <= -1.0


@given(
    st.lists(st.floats(0, 4, width=32), min_size=1, max_size=400),
    st.sampled_from([-6.0, -1.0, 0.0]),
)
def test_no_peak_passes_the_limiter(peaks: list[float], ceiling: float) -> None:
    values = np.array(peaks, np.float32)
    gain = limiter_gain(values, 1000, ceiling)
    assert (gain <= 1).all()
    assert (values * gain <= 10 ** (ceiling / 20) * (1 + 1e-5)).all()


def test_silence_and_very_short_sounds_have_no_loudness() -> None:
    for audio in (np.zeros((2, RATE), np.float32), tone(440, 0.2)):
        done = master(audio, RATE, -16.0, -1.0)
        assert done.loudness is None
    assert master(np.zeros((2, RATE), np.float32), RATE, -16.0, -1.0).true_peak is None


def test_ringing_goes_on_until_it_is_silent_or_the_limit_is_reached() -> None:
    level = 1.0

    def step(count: int) -> Audio:
        nonlocal level
        level *= 0.1
        return np.full((2, count), level, np.float32)

    first = np.ones((2, 10), np.float32)
    assert ring_out(first, step, RATE, 30.0).shape[1] == 10 + 4 * RATE // 2  # 0.1, 0.01, 0.001, 0.0001
    assert ring_out(first, lambda n: np.ones((2, n), np.float32), RATE, 1.3).shape[1] == 10 + round(
        1.3 * RATE
    )


def test_the_cut_comes_when_all_that_follows_is_60_db_down() -> None:
    time = np.arange(RATE * 8) / RATE
    fading = np.tile((10 ** (-time * 20 / 20)).astype(np.float32), (2, 1))  # 20 dB a second
    assert cut_point(fading, RATE, 1.0, 10.0) / RATE == pytest.approx(3.03, abs=0.01)
    assert cut_point(fading, RATE, 5.0, 10.0) == 5 * RATE
    assert cut_point(fading, RATE, 1.0, 0.5) == round(1.5 * RATE)


def test_what_is_cut_begins_and_ends_at_zero() -> None:
    kept = cut(np.ones((2, RATE), np.float32), RATE // 2, RATE)
    assert kept[0, 0] == 0 == kept[0, -1]
    assert np.abs(np.diff(kept[0])).max() < 0.03
    assert kept[0, RATE // 4] == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_holds_the_sound(name: str, channels: int) -> None:
    audio = tone(440, 1.0)[:channels]
    back = decode(encode(audio, RATE, name))
    assert back.shape[0] == channels
    bits = FORMATS[name].bits
    if bits is None:
        spectrum = np.abs(np.fft.rfft(back[0][: RATE // 2] * np.hanning(RATE // 2)))
        assert spectrum.argmax() * 2 == 440
    else:
        assert np.abs(back - audio).max() <= 2.0 ** -min(bits - 2, 22)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "ogg"])
def test_the_same_sound_is_the_same_file(name: str) -> None:
    assert encode(tone(440), RATE, name) == encode(tone(440), RATE, name)


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_compression_does_not_push_peaks_past_the_limit(name: str) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (2, RATE)).astype(np.float32)
    noise *= np.float32(10 ** (-1 / 20) / 10 ** ((true_peak(noise) or 0) / 20))
    top = true_peak(decode(encode_below(noise, RATE, name, -1.0)))
    assert top is not None and top <= -1.0


def test_a_format_that_cannot_hold_the_rate_is_refused_by_name() -> None:
    with pytest.raises(BridgeError, match="format mp3 cannot be written at 96000 Hz"):
        check_formats(Output(formats=("mp3",), sample_rate=96000))
    check_formats(Output(formats=("wav24", "flac"), sample_rate=96000))


@pytest.mark.parametrize(
    ("settings", "about"),
    [
        ({"formats": ("wav12",)}, "format 'wav12' is not one of wav16"),
        ({"formats": ("wav16", "wav24")}, "one of a kind"),
        ({"formats": ()}, "give at least one"),
        ({"sample_rate": 100}, "sample rate 100 is not 8000 to 192000 Hz"),
        ({"channels": 3}, "channels 3 is not 1 to 2"),
        ({"loudness": 3.0}, "loudness 3 is not -50 to -5 LUFS"),
        ({"peak": 1.0}, "peak 1 is not -20 to 0 dBTP"),
        ({"tail": float("nan")}, "tail nan"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], about: str) -> None:
    with pytest.raises(BridgeError, match=about):
        Output(**settings)
